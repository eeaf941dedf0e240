"""Plots with letters that the usual font lacks."""

from __future__ import annotations

from pathlib import Path

import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib.figure import Figure
from matplotlib.font_manager import fontManager

from imer.evaluation.drawing import drawn


def font_with(letter: str, family: str, path: Path) -> Path:
    """Write a font that has one letter, a triangle."""
    pen = TTGlyphPen(None)
    pen.moveTo((0, 0))
    pen.lineTo((500, 900))
    pen.lineTo((1000, 0))
    pen.closePath()
    font = FontBuilder(1000, isTTF=True)
    font.setupGlyphOrder([".notdef", "letter"])
    font.setupCharacterMap({ord(letter): "letter"})
    font.setupGlyf({".notdef": TTGlyphPen(None).glyph(), "letter": pen.glyph()})
    font.setupHorizontalMetrics({".notdef": (500, 0), "letter": (1000, 0)})
    font.setupHorizontalHeader(ascent=900, descent=-100)
    font.setupNameTable({"familyName": family, "styleName": "Regular"})
    font.setupOS2()
    font.setupPost()
    font.save(path)
    return path


def plot(title: str) -> bytes:
    def draw(figure: Figure) -> None:
        figure.subplots().set_title(title)

    return drawn(draw, 2.0, 1.5)


def test_a_font_that_is_installed_has_the_letters_that_the_usual_one_lacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fontManager, "ttflist", [font for font in fontManager.ttflist if font.name == "DejaVu Sans"])
    boxes, latin = plot("喜 joy"), plot("joy")
    fontManager.addfont(font_with("喜", "Hiragino Sans", tmp_path / "some.ttf"))
    assert plot("喜 joy") != boxes
    assert plot("joy") == latin
