"""Faces on their way through a network, in full batches whichever utterances they are of.

On a GPU ten faces take as long as a hundred, and a short clip has ten. So faces wait until there is a batch of them, or
until an utterance needs its rows. What a face yields never depends on the others of its batch; the network sees to that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np


class Described:
    """The rows of some faces: there once all batches that hold them have gone through the network."""

    def __init__(self, run: Callable[[], None], n_faces: int) -> None:
        self._run, self._n_faces = run, n_faces
        self._rows: list[np.ndarray] = []
        self._failure: Exception | None = None

    @property
    def ready(self) -> bool:
        return self._failure is not None or len(self._rows) == self._n_faces

    def add(self, row_D: np.ndarray) -> None:
        self._rows.append(row_D)

    def fail(self, failure: Exception) -> None:
        self._failure = failure

    def rows(self) -> np.ndarray:
        """Return the rows [n, D]; faces that still wait go through the network now.

        Raises
        ------
        Exception
            What the network raised on a batch that held one of these faces.
        """
        if not self.ready:
            self._run()
        if self._failure is not None:
            raise self._failure
        return np.stack(self._rows)


class FaceQueue:
    """Puts uint8 RGB faces [160, 160, 3] through `embed`, `batch_faces` at a time, in the order in which they come."""

    def __init__(self, embed: Callable[[list[np.ndarray]], np.ndarray], batch_faces: int) -> None:
        self._embed, self._batch_faces = embed, batch_faces
        self._waiting: list[tuple[np.ndarray, Described]] = []

    def add(self, faces: Sequence[np.ndarray]) -> Described:
        """Take some faces of one utterance; return their rows, which may not be there yet."""
        described = Described(self.run, len(faces))
        self._waiting.extend((face, described) for face in faces)
        while len(self._waiting) >= self._batch_faces:
            self._run_batch()
        return described

    def run(self) -> None:
        """Put everything that waits through the network."""
        while self._waiting:
            self._run_batch()

    def _run_batch(self) -> None:
        batch, self._waiting = self._waiting[: self._batch_faces], self._waiting[self._batch_faces :]
        try:
            rows_ND = self._embed([face for face, _ in batch])
        except Exception as failure:  # noqa: BLE001 - it is raised where the rows are asked for
            for _, described in batch:
                described.fail(failure)
            return
        for (_, described), row_D in zip(batch, rows_ND, strict=True):
            described.add(row_D)
