"""Good files that were cut short, hit by single bits, overwritten, or given another's name."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np

from tests.hostile.case import Case, Make, World, content
from tests.hostile.encode import SOUND_ONLY

PERCENT = tuple(range(10, 100, 10))
# format → verdicts after 0, 1, 7 and 100 bytes; after 10 %, 20 %, … 90 %; without the last byte. Half a second may be
# missing at the end (a player would not notice either), so that of two seconds the loss of a third must be seen.
# O: E-OPEN, T: E-TRUNCATED, D: E-DAMAGED, k: ok; * stands for any of the three codes.
CUT: dict[str, str] = {
    "wav": "OOOT TTTTTTTkk k",
    "mp3": "OOOO TTTTTTTkk k",
    "flac": "ODOO ****TTTkk k",
    "ogg": "OOOO OOOOTTTTT T",  # pages of a second: without its last byte a whole page is gone
    "m4a": "OOOO OOOOOOOOO k",  # the index comes last
    "mp4": "OOOO *****TTkk k",  # the index comes first
    "mkv": "OOOO TTTTTTTTk k",
    "webm": "OOOO TTTTTTTkk k",
    "avi": "OOOO OTTTTTTTk k",
    "mov": "OOOO OOOOOOOOO k",  # the index comes last
    "ts": "OOOO kkkkkkkkk k",  # nothing in it says how long it should be
    "flv": "OOOO TTTTTTTTk k",
}
LETTERS = {"O": "E-OPEN", "T": "E-TRUNCATED", "D": "E-DAMAGED", "k": "ok", "*": "E-OPEN|E-TRUNCATED|E-DAMAGED"}
# Bits that flip: (bits, audio, visual). Random damage may cost a packet, a stream, or nothing that can be heard or seen.
FLIPS = (
    (1, "ok|E-TRUNCATED", "ok|E-TRUNCATED"),
    (1, "ok|E-TRUNCATED", "ok|E-TRUNCATED"),
    (3, "ok|E-TRUNCATED|E-DAMAGED", "ok|E-TRUNCATED|E-DAMAGED"),
    (10, "ok|E-TRUNCATED|E-DAMAGED", "ok|E-TRUNCATED|E-DAMAGED"),
    (50, "ok|E-TRUNCATED|E-DAMAGED|E-OPEN", "ok|no_face|E-TRUNCATED|E-DAMAGED|E-OPEN"),
)
# What a file is → what it is called.
MISNAMED = {"mp4": "wav", "wav": "mp4", "mp3": "wav", "flac": "mp3", "ogg": "flac", "m4a": "avi", "mkv": "mp4", "webm": "mkv",
            "avi": "mp3", "mov": "txt", "ts": "m3u8", "flv": "jpg"}  # fmt: skip


def cut(kind: str, n_bytes: int | None = None, percent: int = 0, less: int = 0) -> Make:
    def make(path: Path, world: World) -> None:
        whole = world.originals[kind]
        end = n_bytes if n_bytes is not None else len(whole) * percent // 100 if percent else len(whole) - less
        path.write_bytes(whole[:end])

    return make


def flipped(kind: str, seed: int, n_bits: int) -> Make:
    def make(path: Path, world: World) -> None:
        whole = bytearray(world.originals[kind])
        chance = random.Random(f"{kind}-{seed}")
        for _ in range(n_bits):
            place = chance.randrange(len(whole) * 8)
            whole[place // 8] ^= 1 << place % 8
        path.write_bytes(bytes(whole))

    return make


def overwritten(kind: str) -> Make:
    """A twentieth of the file, in its middle, is zeros: a block that the disk has lost."""

    def make(path: Path, world: World) -> None:
        whole = bytearray(world.originals[kind])
        length = len(whole) // 20
        whole[len(whole) // 2 : len(whole) // 2 + length] = bytes(length)
        path.write_bytes(bytes(whole))

    return make


def _visual(kind: str, verdict: str) -> str:
    """What the visual is where the audio is `verdict`: the same, but a file of sound that opens has no picture."""
    if kind not in SOUND_ONLY or verdict == "E-OPEN":
        return verdict
    return "no_stream|E-OPEN" if "E-OPEN" in verdict else "no_stream"


def cases() -> list[Case]:
    out = []
    for kind, letters in CUT.items():
        cuts = [
            *((f"{n}B", cut(kind, n_bytes=n)) for n in (0, 1, 7, 100)),
            *((f"{p}%", cut(kind, percent=p)) for p in PERCENT),
            ("end", cut(kind, less=1)),
        ]
        for (label, make), letter in zip(cuts, letters.replace(" ", ""), strict=True):
            verdict = LETTERS[letter]
            fast = label in ("0B", "100B") or (label == "50%" and kind in ("wav", "ogg", "mkv"))
            out.append(Case("cut", f"{kind}-{label}.{kind}", make, verdict, _visual(kind, verdict), fast=fast))
        for seed, (n_bits, audio, visual) in enumerate(FLIPS):
            if kind == "wav":  # a bit of raw sound is only a click
                audio = "ok"
            make = flipped(kind, seed, n_bits)
            visual = _visual(kind, visual) if kind in SOUND_ONLY else visual
            out.append(Case("flipped", f"{kind}-{seed}.{kind}", make, audio, visual))
        lost = "ok" if kind == "wav" else "ok|E-TRUNCATED|E-DAMAGED"
        out.append(Case("overwritten", f"{kind}.{kind}", overwritten(kind), lost, _visual(kind, lost)))
        noise = np.random.default_rng(sum(map(ord, kind))).integers(0, 256, 4000, dtype=np.uint8).tobytes()
        verdict = "E-DAMAGED" if kind == "flac" else "E-OPEN"  # a demuxer that goes by the name alone
        out.append(Case("noise", f"noise.{kind}", content(noise), verdict, _visual(kind, verdict), fast=True))
        name = f"{kind} as.{MISNAMED[kind]}"
        out.append(Case("misnamed", name, cut(kind), "ok", _visual(kind, "ok")))
    return out
