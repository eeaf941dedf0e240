"""Text comes back from whatever form it was saved in, without the mark; what is neither form is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imer.media.encoding import decoded

FORMS = ("utf-8", "utf-8-sig", "utf-16")  # the last writes its mark


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\ufeff")), st.sampled_from(FORMS))
def test_every_form_is_read(text: str, form: str) -> None:
    assert decoded(text.encode(form)) == text


@pytest.mark.parametrize("content", ["für".encode("cp1252"), b"\xff\xfea"])
def test_other_forms_are_refused(content: bytes) -> None:
    with pytest.raises(UnicodeDecodeError):
        decoded(content)
