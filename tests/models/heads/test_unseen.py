import logging

import pytest
import torch

from imer.core.errors import UsageError
from imer.models.heads.prototypes import unit
from tests.models.heads.builders import all_directions, comparer, every_case, features

SHARED = {"unseen": "shared_fallback", "unseen_minimum": 50}


def train_cases(comparing: torch.nn.Module, counts: dict[str, int]) -> None:
    for name, count in counts.items():
        comparing.count_C[comparing.cases.code_of(name)] = count
    comparing.eval()


def expect(comparing: torch.nn.Module, case: str, directions: dict[str, torch.Tensor]) -> None:
    """The case's scores are the mean cosine to the given directions."""
    code = comparing.cases.code_of(case)
    observed = comparing.cases.members_CM[code].expand(6, -1)
    x = features(comparing, 6)
    wanted = torch.stack([unit(x[m]) @ unit(w).T for m, w in directions.items()]).mean(0)
    assert torch.allclose(comparing(x, observed).cosine_K, wanted, atol=1e-6)


def row(comparing: torch.nn.Module, block: str, case: str) -> torch.Tensor:
    table = comparing.prototypes
    found = [d for code, b, d in all_directions(table) if b == block and code == comparing.cases.code_of(case)]
    return found[0]


def test_unseen_case_reads_its_smallest_trained_superset() -> None:  # E.24
    comparing = comparer(**SHARED)
    train_cases(comparing, {"audio+text+visual": 500, "audio+text": 60, "audio+visual": 90, "text": 50, "visual": 49})
    expect(comparing, "audio", {"audio": row(comparing, "audio", "audio+visual")})  # two pairs: the commoner one
    expect(comparing, "visual", {"visual": row(comparing, "visual", "audio+visual")})  # 49 are too few
    expect(comparing, "text", {"text": row(comparing, "text", "text")})  # 50 are enough
    whole = {m: row(comparing, m, "audio+text+visual") for m in ("text", "visual")}
    expect(comparing, "text+visual", whole)


def test_without_a_superset_the_mean_of_the_trained_cases() -> None:  # E.24
    comparing = comparer(**SHARED)
    train_cases(comparing, {"audio": 100, "text": 100, "audio+text": 100, "visual": 100})
    mean_audio = row(comparing, "audio", "audio") + row(comparing, "audio", "audio+text")
    expect(comparing, "audio+visual", {"audio": mean_audio, "visual": row(comparing, "visual", "visual")})


def test_block_never_trained_reads_the_shared_direction() -> None:  # E.24
    comparing = comparer(sharing="delta", **SHARED)
    with torch.no_grad():
        for offset in comparing.prototypes.offset.values():
            offset.normal_()
    train_cases(comparing, {"audio": 100})
    base = comparing.prototypes.base("text")
    assert base is not None
    expect(comparing, "text", {"text": base})


def test_training_always_reads_its_own() -> None:
    comparing = comparer(**SHARED)
    train_cases(comparing, {"audio+text+visual": 500})
    comparing.train()
    expect(comparing, "audio", {"audio": row(comparing, "audio", "audio")})


@pytest.mark.parametrize("unseen", ["own", "error"])
def test_a_case_reads_its_own_where_it_is_to_have_no_stand_in(unseen: str) -> None:
    comparing = comparer(unseen=unseen)
    train_cases(comparing, {"audio+text+visual": 500})
    expect(comparing, "audio", {"audio": row(comparing, "audio", "audio")})


def test_choice_survives_saving_whatever_mode_it_was_saved_in() -> None:
    comparing, other = comparer(**SHARED), comparer(seed=5, **SHARED).eval()
    train_cases(comparing, {"audio+text+visual": 500, "text": 90})
    x, observed = features(comparing, 21), every_case()
    expected = comparing(x, observed).cosine_K
    comparing.train()
    other.load_state_dict(comparing.state_dict())
    assert torch.equal(other(x, observed).cosine_K, expected)


def test_rare_cases_are_said_once_or_refused(caplog: pytest.LogCaptureFixture) -> None:
    comparing = comparer(**SHARED)
    train_cases(comparing, {"audio+text+visual": 500, "text": 90})
    with caplog.at_level(logging.WARNING):
        comparing.check_cases(torch.tensor([[False, True, False], [True, True, True]]))
        assert not caplog.records
        comparing.check_cases(every_case())
        comparing.check_cases(every_case())
    assert len(caplog.records) == 1
    assert "audio+visual" in caplog.text
    comparer(unseen="own").check_cases(every_case())
    assert len(caplog.records) == 1
    strict = comparer(unseen="error")
    with pytest.raises(UsageError, match="mixed missing rates"):
        strict.check_cases(every_case())
