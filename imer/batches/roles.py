"""Names that stand for a part in a talk (agent, client) and not for a person."""

from __future__ import annotations

from collections import Counter

from imer.batches.corpus import Corpus

ROLE_SHARE, ROLE_DIALOGUES = 0.6, 10  # of the dialogues, where there are so many: hardly anybody speaks in more


def speak_nearly_everywhere(corpus: Corpus) -> list[str]:
    """Return speakers of most dialogues: the most of a television series' friends speak in half of its scenes."""
    pairs = {
        (speaker, dialogue) for speaker, dialogue in zip(corpus.speakers, corpus.dialogue_ids, strict=True) if speaker
    }
    n_dialogues = len(set(corpus.dialogue_ids.tolist()))
    counts = Counter(speaker for speaker, _ in pairs)
    return [name for name, n in counts.most_common() if n > ROLE_SHARE * n_dialogues and n_dialogues >= ROLE_DIALOGUES]
