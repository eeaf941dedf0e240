"""Features relative to their speaker depend on what is seen of this speaker, and on nothing else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from imer.batches.corpus import Corpus
from imer.batches.dialogues import Resident
from imer.batches.speakers import (
    PRIOR_UTTERANCES,
    speaker_doubts,
    speaker_numbers,
    speaker_relative_modalities,
    within_speakers,
)
from imer.core.errors import UsageError
from tests.batches.small import small_corpus


def _case(seed: int, n: int = 40, n_speakers: int = 5) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(seed)
    values = torch.from_numpy(rng.normal(size=(n, 3)).astype(np.float32))
    return values, torch.from_numpy(rng.random(n) < 0.7), torch.from_numpy(rng.integers(-1, n_speakers, n))


@given(st.integers(0, 2**32 - 1))
def test_it_is_the_mean_and_the_spread_with_some_usual_utterances_added(seed: int) -> None:
    values, seen, speaker = _case(seed)
    relative = within_speakers(values, seen, speaker).numpy()
    k = PRIOR_UTTERANCES
    for s in range(5):
        rows = np.flatnonzero(seen.numpy() & (speaker.numpy() == s))
        own = values.numpy()[rows].astype(np.float64)
        if not len(rows):
            continue
        variance = (own.var(axis=0) * len(rows) + k) / (len(rows) + k)
        usual = own.sum(axis=0) / (len(rows) + k)
        assert np.allclose(relative[rows], (own - usual) / np.sqrt(variance), atol=1e-5)
    unknown = (speaker == -1).numpy()
    assert np.array_equal(relative[unknown], values.numpy()[unknown])


@given(st.integers(0, 2**32 - 1), st.integers(0, 4))
def test_what_is_hidden_and_who_else_speaks_change_nothing(seed: int, s: int) -> None:
    values, seen, speaker = _case(seed)
    mine = seen & (speaker == s)
    others = torch.where(mine[:, None], values, torch.full_like(values, 1e6))
    others[~mine & (torch.arange(len(values)) % 2 == 0)] = float("nan")
    assert torch.equal(within_speakers(values, seen, speaker)[mine], within_speakers(others, seen, speaker)[mine])


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1), st.floats(-3, 3), st.floats(0.3, 3))
def test_a_speaker_of_many_utterances_may_be_anybody(seed: int, shift: float, scale: float) -> None:
    """With many utterances, a voice that is higher and livelier throughout comes out nearly as if it were not."""
    rng = np.random.default_rng(seed)
    values = torch.from_numpy(rng.normal(size=(5000, 2)).astype(np.float32))
    seen, speaker = torch.ones(5000, dtype=torch.bool), torch.zeros(5000, dtype=torch.int64)
    plain = within_speakers(values, seen, speaker)
    changed = within_speakers(values * scale + shift, seen, speaker)
    assert torch.allclose(plain, changed, atol=0.06)


def test_nobody_seen() -> None:
    values, seen, speaker = _case(0)
    assert torch.equal(within_speakers(values, torch.zeros_like(seen), speaker), values)


def _with_speakers(corpus: Corpus, names: list[str]) -> Corpus:
    return replace(corpus, speakers=np.array(names, dtype=object))


def test_speakers_are_numbered_and_the_unknown_are_not() -> None:
    corpus = _with_speakers(small_corpus([2, 3]), ["b", "", "a", "b", ""])
    assert speaker_numbers(corpus).tolist() == [1, -1, 0, 1, -1]
    assert speaker_numbers(_with_speakers(corpus, ["b", "c", "a", "b", "c"])).tolist() == [1, 2, 0, 1, 2]


def test_only_what_the_batches_show_counts() -> None:
    corpus = _with_speakers(small_corpus([3, 3]), ["s"] * 6)
    place = Resident.place(corpus, corpus.features, corpus.target_N, torch.device("cpu"), ("audio",))
    observed = torch.ones(6, 2, dtype=torch.bool)
    shown = place.as_seen([np.array([[0, 1, -1]]), np.array([[2]])], observed)
    alone = within_speakers(
        place.features["audio"][:3], torch.ones(3, dtype=torch.bool), torch.zeros(3, dtype=torch.int64)
    )
    assert torch.equal(shown.features["audio"][:3], alone)
    assert shown.features["text"] is place.features["text"]
    assert replace(place, within=()).as_seen([], observed).features is place.features


def test_which_modalities_are_meant() -> None:
    corpus = small_corpus([4, 4])
    assert speaker_relative_modalities(corpus, ()) == ()
    assert speaker_relative_modalities(corpus, ("all",)) == ("audio", "text")
    assert speaker_relative_modalities(corpus, ("text",)) == ("text",)
    with pytest.raises(UsageError, match="did you mean 'audio'"):
        speaker_relative_modalities(corpus, ("adio",))
    with pytest.raises(UsageError, match="no utterance has a speaker"):
        speaker_relative_modalities(_with_speakers(corpus, [""] * 8), ("audio",))


def test_where_it_promises_little_is_said() -> None:
    corpus = small_corpus([6, 6, 6])
    varied = replace(corpus, target_N=np.tile([0, 1, 2], 6))
    assert speaker_doubts(varied) == []
    said = speaker_doubts(_with_speakers(varied, ["", *(f"s{i // 2}" for i in range(17))]))
    assert said[0].startswith("1 of 18 utterances have no speaker")
    assert said[1].startswith("half of the speakers have 2 utterances or fewer")
    speaker_N = speaker_numbers(corpus)
    (alike,) = speaker_doubts(replace(corpus, target_N=speaker_N))
    assert alike.startswith("3 of 3 speakers have one class of emotion only")
    values = replace(corpus, task="regression", target_N=speaker_N.astype(float))
    assert speaker_doubts(values) == []


def test_a_role_is_no_person() -> None:
    calls = small_corpus([4] * 12, speakers=[["agent", f"c{d}", "agent", f"c{d}"] for d in range(12)])
    assert any(sentence.startswith("agent speaks in most dialogues") for sentence in speaker_doubts(calls))
    friends = small_corpus([4] * 12, speakers=[[f"p{d % 2}", f"p{2 + d % 2}"] * 2 for d in range(12)])
    assert not any("speaks in most dialogues" in sentence for sentence in speaker_doubts(friends))
