"""The rows of a sweep: what leads goes by the scale of the label, and nothing is left out of the file."""

from __future__ import annotations

from typing import Any

from imer.experiments.tables import all_rows, headline_rows
from imer.metrics.compute import METRICS

ENTRY: dict[str, Any] = {
    "method": "mlp", "trained": "mixed", "protocol": "nested", "missing_rate": 0.5, "realised_rate": 0.5, "pattern": None,
    "seeds": 2, "n": 65,
    "metrics": {name: {"mean": 0.1 * i, "sd": 0.01} for i, name in enumerate(METRICS["regression"])},
}  # fmt: skip


def test_of_ratings_mae_and_ccc_stand_first() -> None:
    columns, rows = headline_rows([ENTRY], "regression", [1.0, 5.0])
    assert columns[-2:] == ["mae", "ccc"]
    assert rows[0][-2:] == ["0.600 ± 0.010", "0.800 ± 0.010"]
    columns, rows = all_rows([ENTRY], "regression", [1.0, 5.0])
    assert columns[8:12] == ["mae", "mae sd", "ccc", "ccc sd"]
    assert rows[0][8:12] == ["0.6000", "0.0100", "0.8000", "0.0100"]
    assert sorted(columns) == sorted(all_rows([ENTRY], "regression", [-3.0, 3.0])[0])


def test_of_sentiment_everything_stands_where_it_stood() -> None:
    assert headline_rows([ENTRY], "regression", [-3.0, 3.0])[0][-2:] == ["acc2_non0", "mae"]
    columns, _ = all_rows([ENTRY], "regression", [-3.0, 3.0])
    assert columns[8::2] == list(METRICS["regression"])
