"""What the camera sees: a speaker's looks, the room behind, and the head that moves and talks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from imer.core.seeding import generator
from imer.demo.expressions import EXPRESSIONS
from imer.demo.face import HEIGHT, WIDTH, face_rig
from imer.demo.script import Line

FRAME_RATE = 25
FRAME_WIDTH, FRAME_HEIGHT = 320, 240
JAW_STEPS, ONSET_STEPS = 6, 3  # faces are drawn for so many openings of the mouth and strengths of the expression
ONSET_S = 0.4  # the expression builds up over this time
HABITS = ("smile", "frown", "brows_together", "inner_brows_up", "brows_up", "lids_low", "squint")
NECK = (WIDTH / 2, HEIGHT * 0.92)  # the head turns about this point of the portrait


@dataclass(frozen=True)
class Look:
    """What stays the same about a speaker."""

    mirrored: bool
    stretch: float  # width of the face over its height, relative to the portrait
    zoom: float
    tint: NDArray[np.float32]  # gain of red, green and blue
    gamma: float
    brow_strength: float


def look_of(speaker: str, seed: int) -> Look:
    """Return what a speaker looks like, drawn once from the seed and the name."""
    rng = generator(seed, "demo", "look", speaker)
    return Look(
        mirrored=bool(rng.integers(2)),
        stretch=float(rng.uniform(0.93, 1.07)),
        zoom=float(rng.uniform(0.94, 1.08)),
        tint=(rng.uniform(0.8, 1.08) * rng.uniform(0.94, 1.06, 3)).astype(np.float32),
        gamma=float(rng.uniform(0.8, 1.25)),
        brow_strength=float(rng.uniform(0.35, 0.9)),
    )


def room(session: str, seed: int) -> NDArray[np.uint8]:
    """The wall behind the speakers of a session [240, 320, 3]: two colours and a few soft shapes."""
    rng = generator(seed, "demo", "room", session)
    y, x = np.mgrid[0:FRAME_HEIGHT, 0:FRAME_WIDTH].astype(np.float32)
    colours = rng.uniform(70, 195, (2, 1)) + rng.uniform(-30, 30, (2, 3))
    slope = (y / FRAME_HEIGHT)[..., None]
    wall = (1 - slope) * colours[0] + slope * colours[1]
    for _ in range(4):
        centre, size = rng.uniform((0, 0), (FRAME_WIDTH, FRAME_HEIGHT)), rng.uniform(25, 70)
        distance = np.maximum(np.abs(x - centre[0]), np.abs(y - centre[1]) * rng.uniform(0.6, 1.6))
        soft = 1 / (1 + np.exp((distance - size) / 3.0))
        wall += soft[..., None] * rng.uniform(-28, 28, 3)
    wall += 2.0 * rng.standard_normal(wall.shape)
    return np.clip(wall, 0, 255).astype(np.uint8)


@cache
def silhouette() -> NDArray[np.uint8]:
    """Where the person is in the portrait [HEIGHT, WIDTH], 0 to 255: all that the wall behind does not reach."""
    from scipy.ndimage import binary_erosion, binary_fill_holes, binary_opening, gaussian_filter, label

    portrait = face_rig().portrait
    smooth = np.stack([gaussian_filter(portrait[..., c], 1.0) for c in range(3)], axis=-1)
    grey = (smooth.min(axis=-1) > 120) & (smooth.max(axis=-1) - smooth.min(axis=-1) < 42)  # skin and hair are warmer
    areas, _ = label(grey)
    edges = np.unique(np.concatenate([areas[: HEIGHT // 2, 0], areas[: HEIGHT // 2, -1], areas[0]]))
    wall = np.isin(areas, edges[edges > 0])
    person = binary_erosion(binary_fill_holes(binary_opening(~wall, iterations=3)), iterations=1)
    return (255 * gaussian_filter(person.astype(np.float32), 1.0)).astype(np.uint8)


def frames(line: Line, mouth: NDArray[np.float32], seed: int) -> Iterator[NDArray[np.uint8]]:
    """Yield the frames [240, 320, 3] of a line: one per value of `mouth` (0 closed to 1 wide open)."""
    wall = room(line.session, seed)
    if "visual" in line.absent:
        flicker = generator(seed, "demo", "flicker", line.utterance_id)
        for _ in mouth:
            yield np.clip(wall.astype(np.int16) + flicker.integers(-2, 3), 0, 255).astype(np.uint8)
        return
    look = look_of(line.speaker, seed)
    rng = generator(seed, "demo", "acting", line.utterance_id)
    expression = _weights(line, rng)
    blinks = _blinks(len(mouth), rng)
    sway = _sway(len(mouth), rng)
    behind, drawn = Image.fromarray(wall), {}
    for index, opening in enumerate(mouth):
        onset = min(ONSET_STEPS, 1 + int(index / FRAME_RATE / ONSET_S * ONSET_STEPS))
        key = (onset, round(float(opening) * JAW_STEPS), bool(blinks[index]))
        if key not in drawn:
            drawn[key] = _draw(expression, look, *key)
        yield np.asarray(_placed(drawn[key], behind, look, sway[index]))


def _weights(line: Line, rng: np.random.Generator) -> dict[str, float]:
    """The cue's expression at the line's intensity, and the small habits of a face that is never quite still."""
    strength = 0.1 + 0.85 * line.intensity
    weights = {action: strength * weight for action, weight in EXPRESSIONS[line.cues["visual"]].items()}
    for habit in HABITS:
        weights[habit] = weights.get(habit, 0.0) + 0.10 * float(rng.standard_normal())
    return weights


def _blinks(n_frames: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """A blink of three frames every two or three seconds."""
    blinks = np.zeros(n_frames, bool)
    start = int(rng.integers(10, 60))
    while start < n_frames:
        blinks[start : start + 3] = True
        start += int(rng.integers(50, 90))
    return blinks


def _sway(n_frames: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Head motion [T, 3]: shift right and down in pixels, and turn in degrees."""
    t = np.arange(n_frames)[:, None] / FRAME_RATE
    speed, phase = rng.uniform(0.2, 0.9, 3), rng.uniform(0, 2 * np.pi, 3)
    size, rest = np.array([5.0, 3.0, 2.5]), rng.uniform((-12, -3, -2), (12, 5, 2))
    return rest + size * np.sin(2 * np.pi * speed * t + phase)


def _draw(expression: dict[str, float], look: Look, onset: int, jaw: int, blink: bool) -> Image.Image:
    weights = {action: weight * onset / ONSET_STEPS for action, weight in expression.items()}
    weights["jaw"] = jaw / JAW_STEPS
    if blink:
        # Lids that hang already have less far to go; sent farther, the warp would fold over itself.
        weights["blink"] = float(np.clip(1 - 0.6 * weights.get("lids_low", 0) - 0.3 * weights.get("squint", 0), 0.2, 1))
    picture = face_rig().draw(weights, look.brow_strength).astype(np.float32) / 255
    picture = np.clip(picture**look.gamma * look.tint, 0, 1) * 255
    cut_out = np.dstack([picture.astype(np.uint8), silhouette()])
    return Image.fromarray(cut_out[:, ::-1] if look.mirrored else cut_out)


def _placed(person: Image.Image, behind: Image.Image, look: Look, motion: NDArray[np.float64]) -> Image.Image:
    """Put the person before the wall, moved and turned; PIL asks where each frame pixel comes from."""
    right, down, degrees = motion
    cos, sin = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    across, along = 1 / (look.zoom * look.stretch), 1 / look.zoom
    anchor_x, anchor_y = FRAME_WIDTH / 2 + right, FRAME_HEIGHT + 6 + down
    a, b, d, e = cos * across, sin * across, -sin * along, cos * along
    c = NECK[0] - a * anchor_x - b * anchor_y
    f = NECK[1] - d * anchor_x - e * anchor_y
    moved = person.transform(
        (FRAME_WIDTH, FRAME_HEIGHT), Image.Transform.AFFINE, (a, b, c, d, e, f), Image.Resampling.BILINEAR
    )
    frame = behind.copy()
    frame.paste(moved, (0, 0), moved)
    return frame
