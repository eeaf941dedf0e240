"""Who says what, how, and what is really felt: the script of the demo corpus.

What a speaker feels (the label) is drawn first; then each modality, on its own, shows it or fails to. A modality that
fails either stays *flat* (a poker face, plain words), or shows the emotion it is typically mistaken for: a voice
tells excitement but hardly delight from rage; a face tells pleasure but hardly hurt from rage; words are often just
plain. The failures of the three are independent, so that any one modality is a poor witness and the three together
are a good one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from imer.core.errors import UsageError
from imer.core.seeding import generator
from imer.core.types import MODALITIES
from imer.demo.sentences import sentence

EMOTIONS = ("angry", "happy", "neutral", "sad")
VALENCE = {"angry": -0.9, "happy": 1.0, "neutral": 0.0, "sad": -0.6}  # sentiment = 3 · valence · intensity + noise
SENTIMENT_NOISE = 0.35
FLAT = "neutral"  # a flat modality shows what a neutral speaker shows
MISTAKEN_FOR = {
    "audio": {"angry": "happy", "happy": "angry", "neutral": "sad", "sad": "neutral"},
    "text": {"angry": "sad", "happy": "neutral", "neutral": "happy", "sad": "angry"},
    "visual": {"angry": "sad", "happy": "neutral", "neutral": "happy", "sad": "angry"},
}
FLAT_PROBABILITY = {"audio": 0.05, "text": 0.35, "visual": 0.08}
MISTAKEN_PROBABILITY = {"audio": 0.28, "text": 0.04, "visual": 0.27}
PERSISTENCE = 0.45  # probability that the next utterance of a dialogue keeps the emotion
ABSENT_SHARE = 0.04  # of the utterances, per modality: no transcript, a muted track, nobody in view

MAX_SESSIONS, MIN_SESSIONS = 20, 3
UTTERANCES_PER_SESSION = 28
DIALOGUE_LENGTH = 7
MIN_UTTERANCES = 12


@dataclass(frozen=True)
class Line:
    """One utterance of the script. `cues` says what each modality shows; `absent` which of them the clip lacks."""

    utterance_id: str
    dialogue_id: str
    position: int
    speaker: str
    session: str
    split: str
    emotion: str
    sentiment: float  # from −3 to 3
    intensity: float  # from 0.55 to 1: how strongly the cues are acted
    cues: dict[str, str]
    words: str
    absent: frozenset[str] = frozenset()

    @property
    def transcript(self) -> str:
        return "" if "text" in self.absent else self.words


def write_script(n_utterances: int, seed: int) -> list[Line]:
    """Write `n_utterances` lines of dialogue, with splits that share neither dialogues nor speakers.

    Raises
    ------
    UsageError
        Fewer utterances than fill three sessions are asked for.
    """
    if n_utterances < MIN_UTTERANCES:
        raise UsageError(f"A demo corpus has at least {MIN_UTTERANCES} utterances, not {n_utterances}.")
    n_sessions = int(np.clip(n_utterances // UTTERANCES_PER_SESSION, MIN_SESSIONS, MAX_SESSIONS))
    splits = _splits(n_sessions)
    decks = {split: _deck(generator(seed, "demo", "emotions", split)) for split in set(splits)}
    lines: list[Line] = []
    for number, size in enumerate(_parts(n_utterances, n_sessions)):
        lines += _session(number + 1, size, splits[number], decks[splits[number]], seed)
    return _with_absences(lines, generator(seed, "demo", "absent"))


def unseen_lines(seed: int) -> list[Line]:
    """One line per emotion by a speaker of no split, for `imer predict`: every modality shows what is felt."""
    lines = []
    for position, emotion in enumerate(EMOTIONS):
        rng = generator(seed, "demo", "unseen", emotion)
        cues = dict.fromkeys(MODALITIES, emotion)
        lines.append(_line("unseen", "unseen", position, "unseen_a", "", emotion, cues, rng, f"unseen_{emotion}"))
    return lines


def _parts(total: int, n: int) -> list[int]:
    """Split a total into n whole parts as equal as they can be, the larger ones first."""
    return [total // n + (i < total % n) for i in range(n)]


def _splits(n_sessions: int) -> list[str]:
    held_out = max(1, round(0.2 * n_sessions))
    return ["train"] * (n_sessions - 2 * held_out) + ["val"] * held_out + ["test"] * held_out


def _deck(rng: np.random.Generator) -> Iterator[str]:
    """Deal emotions for ever, every four cards one of each, so that no class is missing from a small split."""
    while True:
        for index in rng.permutation(len(EMOTIONS)):
            yield EMOTIONS[index]


def _session(number: int, size: int, split: str, deck: Iterator[str], seed: int) -> list[Line]:
    session = f"s{number:02d}"
    lines = []
    n_dialogues = max(1, round(size / DIALOGUE_LENGTH))
    for index, length in enumerate(_parts(size, n_dialogues)):
        dialogue = f"{session}_d{index + 1:02d}"
        rng = generator(seed, "demo", dialogue)
        emotion, voice = next(deck), int(rng.integers(2))
        for position in range(length):
            if position > 0:
                emotion = emotion if rng.random() < PERSISTENCE else next(deck)
                voice = voice if rng.random() < 0.2 else 1 - voice
            cues = {modality: _cue(modality, emotion, rng) for modality in MODALITIES}
            speaker, name = f"{session}_{'ab'[voice]}", f"{dialogue}_u{position + 1:02d}"
            lines.append(_line(session, dialogue, position, speaker, split, emotion, cues, rng, name))
    return lines


def _cue(modality: str, emotion: str, rng: np.random.Generator) -> str:
    chance = rng.random()
    if chance < FLAT_PROBABILITY[modality]:
        return FLAT
    if chance < FLAT_PROBABILITY[modality] + MISTAKEN_PROBABILITY[modality]:
        return MISTAKEN_FOR[modality][emotion]
    return emotion


def _line(
    session: str,
    dialogue: str,
    position: int,
    speaker: str,
    split: str,
    emotion: str,
    cues: dict[str, str],
    rng: np.random.Generator,
    name: str,
) -> Line:
    intensity = float(rng.uniform(0.55, 1.0))
    sentiment = 3 * VALENCE[emotion] * intensity + SENTIMENT_NOISE * rng.standard_normal()
    words = sentence(cues["text"], rng)
    rounded = round(float(np.clip(sentiment, -3, 3)), 1) + 0.0  # never "-0.0"
    return Line(name, dialogue, position, speaker, session, split, emotion, rounded, intensity, cues, words)


def _with_absences(lines: list[Line], rng: np.random.Generator) -> list[Line]:
    """Take one modality away from a few utterances, never two from the same."""
    n_each = max(1, round(ABSENT_SHARE * len(lines)))
    chosen = rng.permutation(len(lines))[: n_each * len(MODALITIES)]
    lines = list(lines)
    for order, index in enumerate(chosen):
        modality = MODALITIES[order % len(MODALITIES)]
        lines[index] = replace(lines[index], absent=frozenset({modality}))
    return lines
