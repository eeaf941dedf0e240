"""A face that changes its expression: one portrait, warped.

The portrait is scikit-image's `astronaut` (Eileen Collins, NASA, public domain), whose face a detector finds because
it is a real one. It smiles with open lips, so it is first warped to a neutral face with closed lips; every
expression is then a weighted sum of *actions* (corners of the mouth up, inner brows down, …), in the manner of the
Facial Action Coding System: each action says where some of the landmarks go, and a thin-plate spline says where
the skin between them goes. Fields are computed once a process; a frame costs one small image warp.

Coordinates are pixels of the enlarged portrait, x to the right and y down, unless said otherwise.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imer.core.errors import MissingDependency
from imer.demo.expressions import ACTIONS, AT_REST, LANDMARKS, PAINTED, Shift

FloatArray = NDArray[np.float32]

# The part of the portrait that is used: its upper left corner and size in portrait pixels, and the enlargement.
PORTRAIT_LEFT, PORTRAIT_TOP, PORTRAIT_WIDTH, PORTRAIT_HEIGHT = 93.0, 4.0, 262.0, 200.0
SCALE = 1.4
WIDTH, HEIGHT = round(PORTRAIT_WIDTH * SCALE), round(PORTRAIT_HEIGHT * SCALE)
FACE_BOX = (160.0, 66.0, 292.0, 198.0)  # left, top, right, bottom in portrait pixels: nothing outside it ever moves

LIP_UPPER = ("left_corner", "upper_lip_left", "upper_lip", "upper_lip_right", "right_corner")
LIP_LOWER = ("left_corner", "lower_lip_left", "lower_lip", "lower_lip_right", "right_corner")
BROW_COLOUR = (84.0, 56.0, 36.0)
MOUTH_COLOUR = (58.0, 18.0, 20.0)
LIP_COLOUR = (186.0, 118.0, 116.0)
TEETH_COLOUR = (232.0, 224.0, 212.0)


@dataclass(frozen=True)
class Rig:
    """The face at rest and the field of each action over the face box (h×w pixels of the enlarged portrait)."""

    portrait: FloatArray  # [HEIGHT, WIDTH, 3], 0 to 255, at rest
    fields: dict[str, FloatArray]  # action → [h, w, 2]: the shift in x and y of what lies there at rest
    grid: FloatArray  # [h, w, 2]: x and y of each pixel of the face box
    box: tuple[slice, slice]  # rows and columns of the face box

    def landmarks(self, weights: dict[str, float]) -> dict[str, FloatArray]:
        """Where the landmarks are under these weights: name → (x, y)."""
        places = {name: _place(name) for name in LANDMARKS}
        for action, weight in weights.items():
            for name, shift in ACTIONS.get(action, {}).items():
                places[name] = places[name] + np.float32(weight * SCALE) * np.array(shift, np.float32)
        return places

    def draw(self, weights: dict[str, float], brow_strength: float = 0.6) -> NDArray[np.uint8]:
        """Return the portrait [HEIGHT, WIDTH, 3] with this expression (weights of `ACTIONS` and of `PAINTED`)."""
        from scipy.ndimage import map_coordinates

        shift = np.zeros_like(self.grid)
        for action, weight in weights.items():
            if action not in PAINTED:
                shift += np.float32(weight) * self.fields[action]
        # A field says where the skin at rest goes; a warp asks where the skin seen here came from. One step of the
        # fixed-point iteration source = here − shift(source) is accurate to a fraction of a pixel.
        top, left = self.box[0].start, self.box[1].start
        guess = self.grid - shift - np.array([left, top], np.float32)
        shift = np.stack(
            [
                map_coordinates(shift[..., axis], [guess[..., 1], guess[..., 0]], order=1, mode="nearest")
                for axis in (0, 1)
            ],
            axis=-1,
        )
        source = self.grid - shift
        face = np.stack(
            [
                map_coordinates(self.portrait[..., colour], [source[..., 1], source[..., 0]], order=1, mode="nearest")
                for colour in range(3)
            ],
            axis=-1,
        )
        places = self.landmarks(weights)
        _paint_brows(face, self.grid, places, brow_strength, weights.get("furrow", 0.0))
        _paint_mouth(face, self.grid, places, weights.get("show_teeth", 0.0))
        drawn = self.portrait.copy()
        drawn[self.box] = face
        return np.clip(drawn + 0.5, 0, 255).astype(np.uint8)


def _place(name: str) -> FloatArray:
    """A landmark of the face at rest, in pixels of the enlarged portrait."""
    x, y = LANDMARKS[name]
    shift_x, shift_y = AT_REST.get(name, (0.0, 0.0))
    return np.array([(x + shift_x - PORTRAIT_LEFT) * SCALE, (y + shift_y - PORTRAIT_TOP) * SCALE], np.float32)


def _anchors(box: tuple[slice, slice]) -> FloatArray:
    """Points on the edge of the face box, which hold the rest of the picture still: [12, 2]."""
    rows, columns = box
    xs = np.linspace(columns.start, columns.stop, 4, dtype=np.float32)
    ys = np.linspace(rows.start, rows.stop, 4, dtype=np.float32)
    edge = [(x, y) for x in xs for y in ys if x in (xs[0], xs[-1]) or y in (ys[0], ys[-1])]
    return np.array(edge, np.float32)


def require_portrait() -> FloatArray:
    """Return the whole portrait, RGB from 0 to 255, float32 [height, width, 3].

    Raises
    ------
    MissingDependency
        The package `scikit-image`, which has it, is not installed.
    """
    try:
        from skimage import data
    except ImportError as error:
        raise MissingDependency(
            "The demo's portrait comes with scikit-image, which is not installed; run: pip install 'imer[demo]'"
        ) from error
    return np.asarray(data.astronaut(), dtype=np.float32)


@cache
def face_rig() -> Rig:
    """Load the portrait, bring it to rest and compute the field of every action (once a process, about a second)."""
    from scipy.interpolate import RBFInterpolator
    from scipy.ndimage import gaussian_filter, map_coordinates

    portrait = require_portrait()
    ys = (np.arange(HEIGHT, dtype=np.float32) / SCALE + PORTRAIT_TOP)[:, None] + np.zeros((1, WIDTH), np.float32)
    xs = (np.arange(WIDTH, dtype=np.float32) / SCALE + PORTRAIT_LEFT)[None, :] + np.zeros((HEIGHT, 1), np.float32)
    left, top, right, bottom = FACE_BOX
    rows = slice(round((top - PORTRAIT_TOP) * SCALE), round((bottom - PORTRAIT_TOP) * SCALE))
    columns = slice(round((left - PORTRAIT_LEFT) * SCALE), round((right - PORTRAIT_LEFT) * SCALE))
    box = (rows, columns)
    grid_y, grid_x = np.mgrid[rows, columns].astype(np.float32)
    grid = np.stack([grid_x, grid_y], axis=-1)
    # Every field fades out towards the edge of the box, so that no seam shows there.
    fade = np.minimum.reduce(
        [grid_x - columns.start, columns.stop - 1 - grid_x, grid_y - rows.start, rows.stop - 1 - grid_y]
    )
    fade = np.clip(fade / (8 * SCALE), 0, 1)[..., None]

    anchors = _anchors(box)
    at_rest = np.array([_place(name) for name in LANDMARKS])

    def field(points: FloatArray, shifts: FloatArray) -> FloatArray:
        spline = RBFInterpolator(
            np.concatenate([points, anchors]),
            np.concatenate([shifts, np.zeros_like(anchors)]),
            kernel="thin_plate_spline",
        )
        values = spline(grid.reshape(-1, 2)).reshape(grid.shape)
        return (values * fade).astype(np.float32)

    def shifts_of(action: Shift) -> FloatArray:
        return np.array([action.get(name, (0.0, 0.0)) for name in LANDMARKS], np.float32) * np.float32(SCALE)

    _hide_teeth(portrait, gaussian_filter)
    to_smile = field(at_rest, -shifts_of(AT_REST))
    xs[box] += to_smile[..., 0] / SCALE
    ys[box] += to_smile[..., 1] / SCALE
    neutral = np.stack(
        [map_coordinates(portrait[..., c], [ys, xs], order=3, mode="nearest") for c in range(3)], axis=-1
    )
    fields = {name: field(at_rest, shifts_of(action)) for name, action in ACTIONS.items()}
    _soften_folds(neutral, grid, box, gaussian_filter)
    return Rig(neutral.astype(np.float32), fields, grid, box)


def _hide_teeth(portrait: FloatArray, blur: Callable[..., Any]) -> None:
    """Give the portrait's teeth the colour of the lips: squeezed between closed lips they would glitter."""
    rows, columns = slice(134, 160), slice(200, 248)
    mouth = portrait[rows, columns]
    y, x = np.mgrid[rows, columns].astype(np.float32)
    upper, lower = (
        np.interp(x[0], *np.array([LANDMARKS[name] for name in lip]).T).astype(np.float32)
        for lip in (LIP_UPPER, LIP_LOWER)
    )
    weight = np.clip(y - upper + 2.4, 0, 1) * np.clip(lower - y + 2.4, 0, 1) * (lower > upper)
    _blend(mouth, LIP_COLOUR, blur(weight, 0.7).astype(np.float32))


def _soften_folds(portrait: FloatArray, grid: FloatArray, box: tuple[slice, slice], blur: Callable[..., Any]) -> None:
    """Fade the folds from nose to mouth: they belong to the portrait's smile and would smile on a sad face too."""
    face = portrait[box]
    smooth = np.stack([blur(face[..., colour], 4.5) for colour in range(3)], axis=-1)
    weight = np.zeros(grid.shape[:2], np.float32)
    for corner, nostril, side in (("left_corner", "left_nostril", -1), ("right_corner", "right_nostril", 1)):
        start, end = _place(nostril), _place(corner)
        for step in np.linspace(0.1, 1.0, 8):
            centre = start + step * (end - start) + np.array([side * 6.5 * SCALE, 0.0], np.float32)
            distance2 = ((grid - centre) ** 2).sum(axis=-1)
            weight = np.maximum(weight, np.exp(-distance2 / (2 * (3.2 * SCALE) ** 2)))
    portrait[box] = face + 0.85 * weight[..., None] * (smooth - face)


def _blend(face: FloatArray, colour: tuple[float, float, float], weight: FloatArray) -> None:
    """Paint `colour` over the face [h, w, 3] with weight [h, w] between 0 and 1."""
    face += weight[..., None] * (np.array(colour, np.float32) - face)


def _stroke(grid: FloatArray, points: list[FloatArray], width: float) -> FloatArray:
    """Weight [h, w] of a soft stroke of this width (pixels) along the curve through two or three points."""
    knots, fine = np.linspace(0, 1, len(points)), np.linspace(0, 1, 24)
    coefficients = np.polynomial.polynomial.polyfit(knots, np.array(points), len(points) - 1)
    curve = np.polynomial.polynomial.polyval(fine, coefficients).T.astype(np.float32)
    weight = np.zeros(grid.shape[:2], np.float32)
    # Only the pixels near the curve are looked at: a stroke is a small part of the face.
    low = np.floor(curve.min(axis=0) - 2 * width - grid[0, 0]).astype(int).clip(0)
    high = np.ceil(curve.max(axis=0) + 2 * width - grid[0, 0]).astype(int).clip(0)
    near = (slice(low[1], high[1]), slice(low[0], high[0]))
    taper = width * (0.55 + 0.45 * np.sin(np.pi * (0.15 + 0.7 * fine))).astype(np.float32)
    distance2 = ((grid[near][:, :, None, :] - curve) ** 2).sum(axis=-1)
    weight[near] = np.exp(-distance2 / (2 * (taper / 2) ** 2)).max(axis=-1)
    return weight


def _paint_brows(
    face: FloatArray, grid: FloatArray, places: dict[str, FloatArray], strength: float, furrow: float
) -> None:
    for side in ("left", "right"):
        points = [places[f"{side}_brow_{part}"] for part in ("outer", "mid", "inner")]
        _blend(face, BROW_COLOUR, strength * _stroke(grid, points, 2.2 * SCALE))
        if furrow > 0:
            inner = places[f"{side}_brow_inner"]
            towards = np.array([1.6 if side == "left" else -1.6, 0.0], np.float32) * SCALE
            line = [inner + towards + np.array([0, -5 * SCALE], np.float32), inner + towards]
            _blend(face, (140.0, 96.0, 80.0), 0.6 * furrow * _stroke(grid, line, 1.2 * SCALE))


def _paint_mouth(face: FloatArray, grid: FloatArray, places: dict[str, FloatArray], teeth: float) -> None:
    """Paint what shows between the lips: the dark of the mouth, and the upper teeth as far as `teeth` says."""
    from scipy.interpolate import PchipInterpolator

    x, y = grid[..., 0], grid[..., 1]
    upper_points = np.array([places[name] for name in LIP_UPPER])
    lower_points = np.array([places[name] for name in LIP_LOWER])
    column = x[0]
    upper = PchipInterpolator(upper_points[:, 0], upper_points[:, 1], extrapolate=True)(column).astype(np.float32)
    lower = PchipInterpolator(lower_points[:, 0], lower_points[:, 1], extrapolate=True)(column).astype(np.float32)
    inside = (column > upper_points[0, 0]) & (column < upper_points[-1, 0])
    upper, lower = np.where(inside, upper, 0.0), np.where(inside, np.maximum(lower, upper + 0.8), 0.0)
    depth = np.clip(y - upper + 0.5, 0, 1) * np.clip(lower - y + 0.5, 0, 1) * inside
    _blend(face, MOUTH_COLOUR, (0.85 * depth).astype(np.float32))
    gap = lower - upper
    edge = upper + np.minimum(0.8 * gap, 5.0 * SCALE) * teeth
    band = depth * np.clip(edge - y + 0.5, 0, 1) * np.clip((gap - 1.0) / SCALE, 0, 1)
    _blend(face, TEETH_COLOUR, (0.9 * band).astype(np.float32))
