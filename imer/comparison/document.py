"""A report as a list of blocks, and its three renderings: self-contained HTML, Markdown and LaTeX."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from urllib.parse import quote

from imer.evaluation.tables import UNDEFINED, Table, as_latex, as_markdown, latex_text


@dataclass(frozen=True)
class Heading:
    """A heading; level 2 opens a section, 3 a part of one."""

    text: str
    level: int = 2


@dataclass(frozen=True)
class Paragraph:
    """Running text."""

    text: str


@dataclass(frozen=True)
class Grid:
    """A table with a caption that says how to read it."""

    table: Table
    caption: str = ""


@dataclass(frozen=True)
class Picture:
    """A plot; `name` is its file name where it cannot be embedded."""

    name: str
    png: bytes
    caption: str


Block = Heading | Paragraph | Grid | Picture

_CSS = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1c1c1c; max-width: 1100px; margin: 2em auto; padding: 0 1.2em; }
h1 { font-size: 1.7em; } h2 { font-size: 1.25em; margin-top: 2.2em; border-bottom: 1px solid #ddd; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; margin: .6em 0; }
th, td { padding: .25em .7em; text-align: right; border-bottom: 1px solid #e4e4e4; white-space: nowrap; }
th { border-bottom: 2px solid #888; } td.text, th.text { text-align: left; white-space: normal; }
caption, figcaption { caption-side: bottom; text-align: left; color: #555; font-size: .9em; padding: .3em 0; }
img { max-width: 100%; height: auto; } figure { margin: 1em 0; }
"""


def as_html(title: str, blocks: Sequence[Block]) -> str:
    """Return one HTML file with the plots inside it; it loads nothing from anywhere."""
    body = "\n".join(_html_block(block) for block in blocks)
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{escape(title)}</title>'
    return (
        f'<!doctype html>\n<html lang="en">\n<head>{head}<style>{_CSS}</style></head>\n'
        f"<body>\n<h1>{escape(title)}</h1>\n{body}\n</body>\n</html>\n"
    )


def _html_block(block: Block) -> str:
    if isinstance(block, Heading):
        return f"<h{block.level}>{escape(block.text)}</h{block.level}>"
    if isinstance(block, Paragraph):
        return f"<p>{escape(block.text)}</p>"
    if isinstance(block, Grid):
        return _html_table(block)
    data = base64.b64encode(block.png).decode()
    caption = escape(block.caption)
    return (
        f'<figure><img alt="{caption}" src="data:image/png;base64,{data}"><figcaption>{caption}</figcaption></figure>'
    )


def _html_table(block: Grid) -> str:
    columns, rows = block.table
    textual = [any(_is_text(row[i]) for row in rows) for i in range(len(columns))]

    def cells(row: Sequence[str], tag: str) -> str:
        marks = (' class="text"' if text else "" for text in textual)
        return "".join(f"<{tag}{mark}>{escape(cell)}</{tag}>" for cell, mark in zip(row, marks, strict=True))

    caption = f"<caption>{escape(block.caption)}</caption>" if block.caption else ""
    lines = "\n".join(f"<tr>{cells(row, 'td')}</tr>" for row in rows)
    return (
        f'<div class="scroll"><table>{caption}<thead><tr>{cells(columns, "th")}</tr></thead>\n'
        f"<tbody>\n{lines}\n</tbody></table></div>"
    )


def _is_text(cell: str) -> bool:
    return any(character.isalpha() for character in cell) and cell != UNDEFINED


def as_markdown_document(title: str, blocks: Sequence[Block]) -> str:
    """Return Markdown; pictures are referred to by their file names."""
    parts = [f"# {title}"]
    for block in blocks:
        if isinstance(block, Heading):
            parts.append("#" * block.level + " " + block.text)
        elif isinstance(block, Paragraph):
            parts.append(block.text)
        elif isinstance(block, Grid):
            parts.append(as_markdown(block.table).rstrip("\n"))
            if block.caption:
                parts.append(f"*{block.caption}*")
        else:
            parts.append(f"![{block.caption}]({quote(block.name)})")  # a blank would end the name
    return "\n\n".join(parts) + "\n"


def as_latex_document(title: str, blocks: Sequence[Block]) -> str:
    """Return LaTeX to `\\input`: sections and booktabs tables; pictures by their file names (package graphicx)."""
    parts = [f"% {title}. Needs \\usepackage{{booktabs,graphicx}} and UTF-8 input."]
    sections = {2: "section", 3: "subsection"}
    for block in blocks:
        if isinstance(block, Heading):
            parts.append(f"\\{sections.get(block.level, 'subsubsection')}*{{{latex_text(block.text)}}}")
        elif isinstance(block, Paragraph):
            parts.append(latex_text(block.text))
        elif isinstance(block, Grid):
            parts.append(as_latex(block.table, block.caption).rstrip("\n"))
        else:
            parts.append(
                "\\begin{figure}\n\\centering\n"
                f"\\includegraphics[width=\\linewidth]{{{block.name}}}\n"
                f"\\caption{{{latex_text(block.caption)}}}\n\\end{{figure}}"
            )
    return "\n\n".join(parts) + "\n"
