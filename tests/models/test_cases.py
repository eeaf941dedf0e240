import pytest
import torch

from imer.core.errors import UsageError
from imer.models.cases import CaseTable


@pytest.mark.parametrize("n_modalities", [2, 3, 4, 5])
def test_every_set_of_modalities_has_its_own_code_and_name(n_modalities: int) -> None:
    table = CaseTable(("audio", "text", "visual", "gaze", "heart")[:n_modalities])
    codes = table.codes(table.members_CM)
    assert codes.tolist() == list(range(2**n_modalities))
    names = [table.name(code) for code in range(1, table.n_cases)]
    assert len(set(names)) == len(names) == 2**n_modalities - 1
    assert [table.code_of(name) for name in names] == list(range(1, table.n_cases))


def test_values_per_case_are_linear_in_what_is_missing_and_can_be_named() -> None:
    table = CaseTable(("audio", "text", "visual"))
    values = table.per_case(0.1, 0.2, {"text+audio": 0.5})
    by_size = {7: 0.1, 5: 0.15, 6: 0.15, 1: 0.2, 2: 0.2, 4: 0.2, 3: 0.5}
    for code, expected in by_size.items():
        assert values[code].item() == pytest.approx(expected)


def test_unknown_modality_is_named_in_the_error() -> None:
    with pytest.raises(UsageError, match=r"'txt'.*text"):
        CaseTable(("audio", "text")).code_of("txt+audio")


def test_any_leading_shape() -> None:
    observed = torch.rand(2, 5, 3) > 0.5
    codes = CaseTable(("audio", "text", "visual")).codes(observed)
    assert codes.shape == (2, 5)
    assert codes[1, 4] == sum(1 << u for u in range(3) if observed[1, 4, u])
