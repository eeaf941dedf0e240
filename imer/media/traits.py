"""What is known of an open container before it is read, and how far that can be trusted."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import av
import av.container

from imer.media import probe
from imer.media.clock import JOINABLE, is_joined

_REORDERING = ("h264", "hevc")  # codecs whose frames FFmpeg cannot put in order in a container without their times


@dataclass(frozen=True)
class Traits:
    """What a container declares, and how it is to be read.

    duration_s   None where it declares none
    inexact      that is often a guess
    origin_s     what the file calls its first moment
    seamless     nothing is missing between its packets unless it was lost
    unordered    frames come with times that are out of order
    joined       its time stamps start over: two recordings are in one file
    cut          its last page is not whole
    seeks        times after a seek are right
    """

    duration_s: float | None
    inexact: bool
    origin_s: float
    seamless: bool
    unordered: bool
    joined: bool
    cut: bool
    seeks: bool

    @classmethod
    def of(cls, container: av.container.InputContainer, path: Path) -> Traits:
        """Return the traits of an open container.

        Raises
        ------
        MediaError
            The file cannot be opened once more to look through its time stamps.
        """
        name, video = container.format.name, probe.video_stream(container)
        duration_s = probe.declared_duration_s(container)
        if duration_s is not None and name == "wav":
            duration_s *= probe.promised_share(path)
        codec = video.codec_context.name if video is not None and probe.is_known(video) else ""
        joined = name in JOINABLE and is_joined(path)
        return cls(
            duration_s=duration_s,
            inexact=name in probe.INEXACT_DURATION and not probe.counts_frames(path),
            origin_s=(container.start_time or 0) / av.time_base,
            seamless=name in probe.SEAMLESS,
            unordered=name == "avi" and codec in _REORDERING,
            joined=joined,
            cut=name == "ogg" and probe.ends_within_page(path),
            seeks=not joined and probe.seeks_exactly(container),
        )
