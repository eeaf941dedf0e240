"""Features relative to who speaks: what is left of them when the speaker's own mean and spread are taken away.

A voice is high or low, a face wide or narrow, long before it is angry. Where a speaker is known and has several
utterances, these tell how the speaker usually is. Nothing but features is looked at, so that it can be done for people whom no
model has met; but an answer then depends on the other utterances of its speaker that are answered with it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

import numpy as np
import torch
from torch import Tensor

from imer.batches.corpus import Corpus
from imer.batches.roles import speak_nearly_everywhere
from imer.core.errors import UsageError, did_you_mean, listed

ALL = "all"  # stands for all modalities
# A speaker counts as usual (mean 0, variance 1 of the standardised features) with the weight of so many utterances:
# of one with few utterances little is believed.
PRIOR_UTTERANCES = 5.0
FEW_UTTERANCES = 5  # of a speaker: less is known of the speaker than was assumed
UNKNOWN = -1


def speaker_relative_modalities(corpus: Corpus, named: tuple[str, ...]) -> tuple[str, ...]:
    """Return the modalities whose features are taken relative to the speaker.

    Raises
    ------
    UsageError
        A name is no modality of the corpus, or the corpus has no speakers.
    """
    if not named:
        return ()
    for name in named:
        if name not in (ALL, *corpus.modalities):
            raise UsageError(
                f"data.within_speaker names {name!r}, which is no modality that is learnt from; "
                f"{did_you_mean(name, [ALL, *corpus.modalities])}"
            )
    if not (corpus.speakers != "").any():
        raise UsageError(
            "data.within_speaker needs to know who speaks, and no utterance has a speaker; name them in the manifest's column "
            "speaker."
        )
    return named_modalities(named, corpus.modalities)


def named_modalities(named: Collection[str], modalities: Iterable[str]) -> tuple[str, ...]:
    """Return which of the modalities are named, one by one or as `all`, in their own order."""
    return tuple(name for name in modalities if name in named or ALL in named)


def speaker_numbers(corpus: Corpus) -> np.ndarray:
    """Return int64 [N]: which speaker of the corpus it is, −1 where that is not known."""
    names, number_N = np.unique(corpus.speakers.astype(str), return_inverse=True)
    if len(names) and names[0] == "":
        number_N = number_N - 1
    return number_N.astype(np.int64)


def numbers_by_appearance(person_BU: np.ndarray) -> np.ndarray:
    """Number the speakers of each row of a table [B, U] by first appearance: 0 for the first, 1 for the next.

    >>> numbers_by_appearance(np.array([[7, 3, 7], [3, 3, 7]]))
    array([[0, 1, 0],
           [0, 0, 1]])
    """
    n_rows, length = person_BU.shape
    voice_BU = (
        np.arange(n_rows)[:, None] * (person_BU.max() + 2) + person_BU
    )  # one number for each row and person, from −1
    _, first_K, which = np.unique(voice_BU, return_index=True, return_inverse=True)
    order = np.argsort(first_K)  # row by row, and by appearance within a row
    row_K = first_K[order] // length
    rank_K = np.empty(len(order), dtype=np.int64)
    rank_K[order] = np.arange(len(order)) - np.searchsorted(row_K, row_K)
    return rank_K[which.reshape(person_BU.shape)]


def within_speakers(values_ND: Tensor, seen_N: Tensor, speaker_N: Tensor) -> Tensor:
    """Return features [N, D] relative to the mean and the spread of what is seen of their speaker.

    values_ND   standardised over the training part; what is not seen has no say, and what it becomes means nothing
    seen_N      bool
    speaker_N   as `speaker_numbers`; features of nobody known stay as they are
    """
    counted_N = seen_N & (speaker_N != UNKNOWN)
    rows, speaker_R = counted_N.nonzero()[:, 0], speaker_N[counted_N]
    n_speakers = int(speaker_R.max()) + 1 if len(rows) else 0
    count_S1 = torch.bincount(speaker_R, minlength=n_speakers)[:, None].to(values_ND.dtype)
    values_RD = values_ND[rows]

    def sums(of_RD: Tensor) -> Tensor:
        return of_RD.new_zeros(n_speakers, of_RD.shape[1]).index_add_(0, speaker_R, of_RD)

    total_SD = sums(values_RD)
    own_SD = total_SD / count_S1.clamp(min=1)
    variance_SD = (sums((values_RD - own_SD[speaker_R]) ** 2) + PRIOR_UTTERANCES) / (count_S1 + PRIOR_UTTERANCES)
    usual_SD = total_SD / (count_S1 + PRIOR_UTTERANCES)
    relative_ND = values_ND.clone()
    relative_ND[rows] = (values_RD - usual_SD[speaker_R]) / variance_SD.sqrt()[speaker_R]
    return relative_ND


def speaker_doubts(corpus: Corpus) -> list[str]:
    """Say where features relative to the speaker promise little: few utterances, unknown speakers, roles, one class each."""
    speaker_N = speaker_numbers(corpus)
    known_N = speaker_N != UNKNOWN
    said = []
    if not known_N.all():
        said.append(
            f"{int((~known_N).sum())} of {corpus.n} utterances have no speaker; their features are taken as they are."
        )
    counts = np.bincount(speaker_N[known_N])
    median = float(np.median(counts[counts > 0])) if known_N.any() else 0.0
    if known_N.any() and median < FEW_UTTERANCES:
        said.append(
            f"half of the speakers have {median:g} utterances or fewer: too few to know how somebody usually sounds or looks."
        )
    if roles := speak_nearly_everywhere(corpus):
        said.append(
            f"{listed(roles, 3)} speaks in most dialogues; if that is a role such as agent or client, and not one person, name "
            "the person in each."
        )
    if corpus.task == "classification":
        labelled = known_N & corpus.labelled_N
        pairs = np.unique(np.stack([speaker_N[labelled], corpus.target_N[labelled]]), axis=1)
        several = np.flatnonzero(np.bincount(speaker_N[labelled]) >= FEW_UTTERANCES)
        alike = int((np.bincount(pairs[0])[several] == 1).sum()) if len(several) else 0
        if 2 * alike > len(several):
            said.append(
                f"{alike} of {len(several)} speakers have one class of {corpus.label} only: features relative to the speaker "
                "cannot tell such speakers apart."
            )
    return said
