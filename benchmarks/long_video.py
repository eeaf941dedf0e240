"""Does a long video need more memory than a short one? An hour beside ten seconds, all three modalities, one worker.

    python benchmarks/long_video.py [--minutes 60] [--fps 5] [--folder DIR] [--json figures.json]

The video is the first clip of `extract_clips.py`, its packets repeated with later and later timestamps; it is one utterance.
Peak memory is that of the largest process, imports and models included.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

import av
from extract_clips import make_clips, make_weights
from extract_throughput import measure

SECONDS = 10.0  # of the clip that is repeated
GOAL_MIB = 1536


def repeat(source: Path, target: Path, times: int) -> None:
    """Write a video that shows and sounds the same again and again, without encoding anything."""
    with av.open(str(target), "w") as made:
        with av.open(str(source)) as once:
            streams = {stream.index: made.add_stream_from_template(stream) for stream in once.streams}
            lengths = dict.fromkeys(streams, 0)
            for packet in once.demux():
                if packet.dts is not None:
                    lengths[packet.stream.index] += packet.duration or 0
        for number in range(times):
            with av.open(str(source)) as once:
                for packet in once.demux():
                    if packet.dts is None or packet.pts is None:
                        continue
                    ahead = number * lengths[packet.stream.index]
                    packet.dts, packet.pts = packet.dts + ahead, packet.pts + ahead
                    packet.stream = streams[packet.stream.index]
                    made.mux(packet)


def manifest_of(video: Path) -> Path:
    """Write a manifest of one utterance, the whole file."""
    path = video.with_suffix(".csv")
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["utterance_id", "media", "text"], [video.stem, video.name, "It goes on and on."]])
    return path


def main() -> int:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=int, default=60)
    parser.add_argument("--fps", type=float, default=5.0)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--json", type=Path)
    choice = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=choice.folder) as name:
        folder = Path(name)
        make_clips(folder, 1, SECONDS)
        short, weights = (folder / "0.mp4").rename(folder / "short.mp4"), folder / "weights.pt"
        make_weights(weights)
        repeat(short, folder / "long.mp4", round(choice.minutes * 60 / SECONDS))
        runs = []
        for video in (short, folder / "long.mp4"):
            command = [
                sys.executable, "-m", "imer", "extract", str(manifest_of(video)), "-o", str(video.with_suffix(".h5")),
                "--visual", "facenet", "--face-weights", str(weights), "--fps", str(choice.fps), "--workers", "1", "--json",
                "-q",
            ]  # fmt: skip
            runs.append(measure(video.stem, command))
            media_s = SECONDS if video == short else choice.minutes * 60.0
            run = runs[-1]
            print(
                f"{run.name:6}{media_s:8.0f} s of video{run.wall_s:8.1f} s wall{run.cpu_s:8.1f} CPU s"
                f"{run.peak_mib:8.0f} MiB at most (goal: {GOAL_MIB})",
                flush=True,
            )
    if choice.json:
        choice.json.write_text(json.dumps([asdict(run) for run in runs], indent=1) + "\n")
    return int(runs[-1].peak_mib > GOAL_MIB)


if __name__ == "__main__":
    sys.exit(main())
