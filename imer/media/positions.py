"""The order of the utterances in a dialogue."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace

from imer.core.errors import counted, listed
from imer.core.types import Utterance

logger = logging.getLogger(__name__)


def with_positions(utterances: Sequence[Utterance], given: Mapping[str, int | None]) -> tuple[Utterance, ...]:
    """Give every utterance its place in its dialogue, by what the manifest says (utterance_id → number, or None).

    A dialogue without any number is counted by start time where all its utterances have one, else in the order of rows; so
    is one that has numbers for some of its utterances only, since theirs say nothing about the others.
    """
    dialogues: dict[str, list[Utterance]] = {}
    for utterance in utterances:
        dialogues.setdefault(utterance.dialogue_id, []).append(utterance)
    position: dict[str, int] = {}
    joined = [
        u.utterance_id for u in utterances if u.dialogue_id == u.utterance_id and len(dialogues[u.dialogue_id]) > 1
    ]
    in_part: list[str] = []
    shared: list[str] = []
    for name, members in dialogues.items():
        numbers = [number for u in members if (number := given[u.utterance_id]) is not None]
        if len(numbers) == len(members):
            position |= {u.utterance_id: number for u, number in zip(members, numbers, strict=True)}
            if len(set(numbers)) < len(numbers):
                shared.append(name)
            continue
        if numbers:
            in_part.append(name)
        if all(u.start_s is not None for u in members):
            members = sorted(members, key=lambda u: u.start_s or 0.0)
        position |= {u.utterance_id: number for number, u in enumerate(members)}
    if joined:
        logger.warning(
            "%s the name of a dialogue (%s); one without a dialogue_id is taken as a part of that dialogue.",
            counted(len(joined), "utterance bears", "utterances bear"), listed(joined, 3),
        )  # fmt: skip
    if in_part:
        logger.warning(
            "only some utterances of %s have a position (%s): they go by start time, or in the order of the rows.",
            counted(len(in_part), "dialogue", "dialogues"), listed(in_part, 3),
        )  # fmt: skip
    if shared:
        logger.warning(
            "utterances of %s share a position (%s); they stay in the order of the rows.",
            counted(len(shared), "dialogue", "dialogues"), listed(shared, 3),
        )  # fmt: skip
    return tuple(replace(u, position=position[u.utterance_id]) for u in utterances)
