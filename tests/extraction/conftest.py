"""The fixtures of `tests/extractors`: one thread for the networks, and `extract` without processes."""

from tests.extractors.conftest import inline, one_thread

__all__ = ["inline", "one_thread"]
