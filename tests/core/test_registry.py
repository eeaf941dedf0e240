"""What can be named, and what is said of a name that cannot be used."""

from __future__ import annotations

import pytest

from imer.core import registry
from imer.core.errors import MissingDependency, UsageError


def test_an_unknown_name_is_told_with_the_nearest_one() -> None:
    with pytest.raises(UsageError, match=r"There is no model called 'cmop'; did you mean 'comp'\?"):
        registry.resolve("models", "cmop")


@pytest.mark.parametrize("target", ["no_such_package.models:Model", "imer.models.comp.model:NoSuchModel"])
def test_what_a_name_stands_for_may_not_be_there(target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.MODELS, "elsewhere", registry.Entry("elsewhere", target))
    with pytest.raises(MissingDependency, match="The model elsewhere needs"):
        registry.resolve("models", "elsewhere")
