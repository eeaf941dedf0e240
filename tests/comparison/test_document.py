"""A report in three formats: nothing lost, nothing injected."""

from html.parser import HTMLParser

from imer.comparison.document import (
    Grid,
    Heading,
    Paragraph,
    Picture,
    as_html,
    as_latex_document,
    as_markdown_document,
)

BLOCKS = [
    Heading("Part <1>"),
    Paragraph("5 % & more_text"),
    Grid((["run", "ua"], [["<script>alert(1)</script>", "0.5"]]), "A caption."),
    Picture("report-curve.png", b"\x89PNG fake bytes", "A curve"),
]


def test_html_is_one_file_and_escapes_names():
    html = as_html("Title", BLOCKS)
    opened, sources = [], []

    class Reader(HTMLParser):
        def handle_starttag(self, tag, attrs):
            opened.append(tag)
            sources.extend(value for name, value in attrs if name in ("src", "href"))

    Reader().feed(html)
    assert "script" not in opened
    assert {"h1", "h2", "table", "img"} <= set(opened)
    assert len(sources) == 1
    assert sources[0].startswith("data:image/png;base64,")


def test_markdown_refers_to_the_plots():
    text = as_markdown_document("Title", BLOCKS)
    assert text.startswith("# Title\n\n## Part <1>\n")
    assert "![A curve](report-curve.png)" in text
    assert "| run | ua |\n| --- | ---: |" in text
    assert "![A curve](my%20report-curve.png)" in as_markdown_document(
        "T", [Picture("my report-curve.png", b"", "A curve")]
    )


def test_latex_escapes_text():
    text = as_latex_document("Title", BLOCKS)
    assert r"5 \% \& more\_text" in text
    assert r"\includegraphics[width=\linewidth]{report-curve.png}" in text
    assert r"\toprule" in text
