"""How text files are encoded: UTF-8, or UTF-16 with its mark, as Excel's "Unicode Text" writes it."""

from __future__ import annotations

import codecs


def decoded(content: bytes) -> str:
    """Return the text of a file, without a mark at its beginning. Raises UnicodeDecodeError where it is neither."""
    is_wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return content.decode("utf-16" if is_wide else "utf-8-sig")
