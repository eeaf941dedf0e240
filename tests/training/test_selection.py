"""Which epoch is kept, and what is said of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from imer.training.listener import Listener
from tests.training.small import quick


@pytest.mark.parametrize(("select", "judged"), [("val", "validation"), ("test_best", "the test part")])
def test_the_part_is_named_by_which_an_epoch_was_selected(
    store: Path, tmp_path: Path, select: str, judged: str
) -> None:
    said: list[str] = []
    quick(store, tmp_path / "run", f"train.select={select}", listener=Listener(note=said.append))
    (sentence,) = (one for one in said if one.startswith("selected epoch"))
    assert f" on {judged}: " in sentence
