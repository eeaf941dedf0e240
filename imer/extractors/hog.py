"""Histograms of oriented gradients of two regions of an aligned face: eyes with brows, and mouth with nose wings."""

from __future__ import annotations

import numpy as np

ORIENTATIONS = 8
CELL = 16  # pixels
# Regions of the 160×160 face: (name, top, left, rows of cells, columns of cells).
REGIONS = (("eyes", 26, 24, 3, 7), ("mouth", 88, 32, 4, 6))
N_CELLS = sum(rows * columns for _, _, _, rows, columns in REGIONS)
_FLOOR = 0.02  # of gradient per pixel: below it a cell is flat skin and is not amplified


def cell_names() -> list[str]:
    """Return the cells' names in the order of the descriptor."""
    return [f"{name}_r{r}c{c}" for name, _, _, rows, columns in REGIONS for r in range(rows) for c in range(columns)]


def hog(face: np.ndarray) -> np.ndarray:
    """Return the descriptor [45 · 8] of a grey aligned face [160, 160] in 0…1.

    Each gradient votes for the two nearest of 8 unsigned orientations by its size. A cell is divided by the mean
    energy of its 3×3 neighbourhood, which takes out lighting, and not by its own, which would take out wrinkles.
    """
    row_gradient, column_gradient = np.gradient(face)
    size = np.hypot(row_gradient, column_gradient)
    turn = (np.arctan2(row_gradient, column_gradient) / np.pi % 1.0) * ORIENTATIONS
    low = np.floor(turn).astype(np.intp)
    high_share = turn - low
    planes = np.zeros((ORIENTATIONS, *face.shape), dtype=np.float64)
    rows, columns = np.indices(face.shape)
    planes[low % ORIENTATIONS, rows, columns] = size * (1.0 - high_share)
    planes[(low + 1) % ORIENTATIONS, rows, columns] += size * high_share
    return np.concatenate([_cells(planes, *region[1:]).ravel() for region in REGIONS]).astype(np.float32)


def _cells(planes: np.ndarray, top: int, left: int, rows: int, columns: int) -> np.ndarray:
    """Return the normalised histograms [rows, columns, 8] of a region."""
    part = planes[:, top : top + rows * CELL, left : left + columns * CELL]
    histograms = part.reshape(ORIENTATIONS, rows, CELL, columns, CELL).mean(axis=(2, 4)).transpose(1, 2, 0)
    energy = np.pad((histograms**2).sum(axis=2), 1, mode="edge")
    around = sum(energy[r : r + rows, c : c + columns] for r in range(3) for c in range(3)) / 9.0
    return histograms / np.sqrt(around + _FLOOR**2)[:, :, None]
