"""Words to sound: the espeak-ng synthesiser through ctypes.

espeak-ng is free software under the GPL-3. It comes with the package `espeakng-loader`, which only the `demo` extra
installs; nothing else in `imer` needs it. It runs in a process of its own: the library keeps its state in globals
(even the sound of a sentence depends a little on the sentences before it), so a fresh process that speaks the
same list from its beginning is what makes a corpus repeatable. A few voice variants (f2, f3, f5 among them) still differ
by a little noise from run to run; the corpus uses none of these.
"""

from __future__ import annotations

import ctypes
import multiprocessing
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from imer.core.errors import ImerError, MissingDependency

SAMPLE_RATE_HZ = 22050  # what espeak-ng gives
_SYNCHRONOUS, _CHARACTERS_UTF8, _NO_EXIT = 2, 1, 0x8000  # constants of speak_lib.h
_PARAMETERS = {"rate_wpm": 1, "pitch": 3, "pitch_range": 4}


@dataclass(frozen=True)
class Speech:
    """What to say and how.

    `rate_wpm` is in words per minute (80 to 450); `pitch` and `pitch_range` (0 to 100) are espeak-ng's own scales, on
    which 50 is ordinary speech.
    """

    text: str
    voice: str = "en-us"
    rate_wpm: int = 175
    pitch: int = 50
    pitch_range: int = 50


def require_synthesiser() -> tuple[str, str]:
    """Return the paths of the espeak-ng library and of its voices.

    Raises
    ------
    MissingDependency
        The package `espeakng-loader` is not installed.
    """
    try:
        import espeakng_loader
    except ImportError as error:
        raise MissingDependency(
            "The demo's speech synthesiser (espeakng-loader, GPL-3) is not installed; run: pip install 'imer[demo]'"
        ) from error
    return str(espeakng_loader.get_library_path()), str(espeakng_loader.get_data_path())


def speak_all(speeches: Sequence[Speech]) -> list[NDArray[np.int16]]:
    """Return the waveform [samples] of each speech at 22,050 Hz, mono; the same list gives the same samples.

    Raises
    ------
    MissingDependency
        The synthesiser is not installed.
    """
    paths = require_synthesiser()
    fresh = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=1, mp_context=fresh) as pool:
        return pool.submit(_speak_all, paths, list(speeches)).result()


def _speak_all(paths: tuple[str, str], speeches: list[Speech]) -> list[NDArray[np.int16]]:
    """Run in the synthesiser's own process."""
    library = ctypes.CDLL(paths[0])
    pieces: list[NDArray[np.int16]] = []

    def collect(samples: ctypes._Pointer[ctypes.c_short], count: int, _events: int | None) -> int:
        if count > 0 and samples:
            pieces.append(np.ctypeslib.as_array(samples, (count,)).copy())
        return 0

    callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)(collect)
    library.espeak_Synth.argtypes = [
        ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint, ctypes.c_int, ctypes.c_uint, ctypes.c_uint,
        ctypes.c_void_p, ctypes.c_void_p,
    ]  # fmt: skip
    rate_hz = library.espeak_Initialize(_SYNCHRONOUS, 0, paths[1].encode(), _NO_EXIT)
    if rate_hz != SAMPLE_RATE_HZ:
        raise ImerError(f"espeak-ng did not start: expected a sample rate of {SAMPLE_RATE_HZ}, found {rate_hz}.")
    library.espeak_SetSynthCallback(callback)
    waveforms = []
    for speech in speeches:
        pieces.clear()
        if library.espeak_SetVoiceByName(speech.voice.encode()) != 0:
            raise ImerError(f"espeak-ng has no voice {speech.voice!r}.")
        for name, number in _PARAMETERS.items():
            library.espeak_SetParameter(number, getattr(speech, name), 0)
        text = speech.text.encode() + b"\0"
        if library.espeak_Synth(text, len(text), 0, 0, 0, _CHARACTERS_UTF8, None, None) != 0:
            raise ImerError(f"espeak-ng could not say {speech.text!r}.")
        library.espeak_Synchronize()
        waveforms.append(np.concatenate(pieces))
    return waveforms
