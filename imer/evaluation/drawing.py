"""What all plots share: colours that colour-blind readers can tell apart, a quiet style, PNG without a display.

Drawn with matplotlib's Agg canvas directly, so that no display and no global state is needed. Colours are Okabe and
Ito's; lines also differ in marker and dash.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from io import BytesIO
from typing import TYPE_CHECKING, Any

from imer.metrics.definitions import TITLES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

logging.getLogger("matplotlib").setLevel(logging.ERROR)  # where it may keep its cache is nothing that users can act on
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
DASHES = ("-", "--", ":", "-.")
GREY = "#595959"
_EDGE_IN, _HANDLE_IN, _LETTER_IN = 0.2, 0.75, 0.08  # of a legend of 10 points
_DPI = 150
_STYLE = {
    "font.size": 10, "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "axes.axisbelow": True,
    "grid.color": "#e3e3e3", "grid.linewidth": 0.8, "axes.edgecolor": "#777777", "legend.frameon": False,
}  # fmt: skip
# Fonts with Chinese, Japanese and Korean letters, as systems call them: the usual font has none.
_EAST_ASIAN = (
    "Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans CJK KR", "Noto Sans SC", "Noto Sans JP", "Noto Sans KR",
    "Source Han Sans SC", "WenQuanYi Micro Hei", "WenQuanYi Zen Hei", "Droid Sans Fallback", "PingFang SC", "Hiragino Sans",
    "Apple SD Gothic Neo", "Microsoft YaHei", "SimHei", "Yu Gothic", "Malgun Gothic", "Arial Unicode MS",
)  # fmt: skip
INTERVAL = "95 % interval over dialogues"
RATE_AXIS = "realised missing rate (share of hidden modality cells)"
_UNITS = {
    "mae": "MAE (label units, lower is better)",
    "corr": "Corr (Pearson r)",
    "ccc": "CCC (−1–1, higher is better)",
}


def axis_title(metric: str) -> str:
    """Return a metric's axis label with its unit."""
    return _UNITS.get(metric, f"{TITLES[metric]} (0–1, higher is better)")


def drawn(draw: Callable[[Figure], None], width_in: float, height_in: float) -> bytes:
    """Return the PNG that `draw` makes on an empty figure."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with matplotlib.rc_context({**_STYLE, "font.family": _fonts()}), warnings.catch_warnings():
        # Letters that no font here has become boxes.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure = Figure(figsize=(width_in, height_in), layout="constrained")
        FigureCanvasAgg(figure)
        draw(figure)
        buffer = BytesIO()
        # No software field: the same results give the same bytes whatever the version of matplotlib says of itself.
        figure.savefig(buffer, format="png", dpi=_DPI, metadata={"Software": None})
    return buffer.getvalue()


def _fonts() -> list[str]:
    """Return the usual font, and which of those with more letters are installed: each letter is of the first that has it."""
    from matplotlib.font_manager import fontManager

    installed = set(fontManager.get_font_names())
    return ["sans-serif", *(name for name in _EAST_ASIAN if name in installed)]


def legend_below(figure: Figure, axes: Axes) -> None:
    """Put the legend of these axes below the whole figure, in as many columns as its longest entry leaves room for."""
    handles, labels = axes.get_legend_handles_labels()
    width_in = figure.get_figwidth() - 2 * _EDGE_IN
    room = int(width_in / (max(map(len, labels)) * _LETTER_IN + _HANDLE_IN)) if labels else 1
    figure.legend(handles, labels, loc="outside lower center", ncols=max(min(len(labels), room, 4), 1))


def line_look(index: int) -> dict[str, Any]:
    """Return colour, marker and dash of the index-th line: no two of the first 28 are alike."""
    round_, place = divmod(index, len(COLOURS))
    return {"color": COLOURS[place], "marker": MARKERS[place], "linestyle": DASHES[round_ % len(DASHES)]}
