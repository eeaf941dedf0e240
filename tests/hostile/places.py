"""What a manifest may name that is no ordinary file in its folder, odd names, odd segments, odd texts, broken rows."""

from __future__ import annotations

import os
from pathlib import Path

from tests.hostile.case import Case, Make, World, nothing

ROW = "E-ROW"  # the row itself is refused: neither modality has a verdict
GOOD = {"audio": "ok", "visual": "no_stream"}
LOST = {"audio": "E-NOFILE", "visual": "E-NOFILE"}


def good(path: Path, world: World) -> None:
    """A good file, whatever it is called."""
    path.write_bytes(world.originals["flac"])


def link(target: str) -> Make:
    """A symbolic link; {outside} is the folder beyond the root, {here} the link's own."""

    def make(path: Path, world: World) -> None:
        good(path.with_name("linked.flac"), world)
        path.symlink_to(target.format(outside=world.outside, here=path.parent, canary=world.canary))

    return make


def _unreadable(path: Path, world: World) -> None:
    good(path, world)
    path.chmod(0)


def _locked_folder(path: Path, world: World) -> None:
    path.parent.mkdir(exist_ok=True)
    good(path, world)
    path.parent.chmod(0)


def _hard_link(path: Path, world: World) -> None:
    good(path.with_name("linked.flac"), world)
    os.link(path.with_name("linked.flac"), path)


def _socket(path: Path, _: World) -> None:
    import socket

    folder = os.open(path.parent, os.O_RDONLY)  # the address of a socket must be short: it is made from its folder
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(f"/proc/self/fd/{folder}/{path.name}")
    finally:
        os.close(folder)


NAMES = (
    " space before.flac", "two  spaces.flac", "tab\there.flac", "new\nline.flac", "car\rriage.flac", "quote'.flac",
    'double".flac',    "semi;colon.flac", "comma,.flac", "back\\slash.flac",
    "$(touch executed).flac", "`touch executed`.flac", "-rf.flac",
    "--help.flac",    "*.flac", "frame%03d.flac", "a|b.flac", "a#b?c=d.flac",
    "#hash.flac", "caf\u00e9.flac", "cafe\u0301.flac",
    "\u97f3\u58f0.flac",    "\u0627\u0644\u0635\u0648\u062a.flac", "\u202egnp.flac",
    "\U0001f600\u200d.flac", "=cmd().flac", "~root.flac", "nul.flac",
    "n" * 250 + ".flac", "no suffix", ".hidden", "UPPER.FLAC", "dots..flac", "zero\u200bwidth.flac", "\u2028separator.flac",
    "colon:name.flac", "http:name.flac", "Concat:a.flac",
)  # fmt: skip
REFUSED_NAMES = (
    "file:a.flac",
    "concat:a.flac",
    "data:a.flac",
    "subfile:a.flac",
    "pipe:0",
    "crypto:a.flac",
    "a://b.flac",
)
PROTOCOLS = (  # refused as rows: they are addresses, or lie outside
    "http://127.0.0.1:{port}/a.wav", "https://127.0.0.1:{port}/a.wav", "ftp://127.0.0.1:{port}/a.wav",
    "rtsp://127.0.0.1:{port}/a", "rtmp://127.0.0.1:{port}/a", "tcp://127.0.0.1:{port}", "udp://127.0.0.1:{port}",
    "file://{canary}", "cache:http://127.0.0.1:{port}/a", "hls+http://127.0.0.1:{port}/a.m3u8", "tls://127.0.0.1:{port}",
    "data:audio/wav;base64,UklGRg==", "HTTP://127.0.0.1:{port}/a.wav", "//127.0.0.1:{port}/a.wav",
    "crypto:{canary}", "subfile:{canary}", "concat:{canary}|{canary}", "file:{canary}", "pipe:0",
)  # fmt: skip
PROTOCOL_NAMES = (  # taken for what a path may be: names of files below the root, which are not there
    "concatf:{canary}", "subfile,,start,0,end,64,,:{canary}", "tee:{canary}", "md5:", "fd:", "unix:/tmp/x",
    "async:{canary}", "crypto+file:{canary}", "\\\\127.0.0.1\\share\\a.wav",
)  # fmt: skip
SEGMENTS: dict[str, tuple[str, str, str]] = {
    # name → (start, end, verdict of the audio of a clip of two seconds)
    "whole": ("", "", "ok"),
    "first half": ("", "1", "ok"),
    "second half": ("1", "", "ok"),
    "beyond the end": ("1", "9999", "ok"),
    "to the end of time": ("0", "1e300", "ok"),
    "after the end": ("5", "6", "too_short"),
    "long after the end": ("1000000", "1000001", "too_short"),
    "at the end of time": ("1e300", "", "too_short"),
    "beyond 64 bits": ("1e13", "1e14", "too_short"),
    "nearly nothing": ("1", "1.000001", "too_short"),
    "59 ms": ("1", "1.059", "too_short"),
    "tiny numbers": ("1e-300", "2", "ok"),
    "many digits": ("0.5000000000000000000000001", "1.5", "ok"),
    "minus zero": ("-0.0", "2", "ok"),
    "backwards": ("1.5", "0.5", ROW),
    "empty": ("1", "1", ROW),
    "end 0": ("", "0", ROW),
    "before the start": ("-1", "1", ROW),
    "not a number": ("nan", "", ROW),
    "infinite": ("0", "inf", ROW),
    "minus infinite": ("-inf", "1", ROW),
    "words": ("one", "two", ROW),
    "minutes": ("0:30", "1:00", ROW),
    "comma": ("0,5", "1,5", ROW),
    "too many digits": ("0" * 5000 + "1", "", "ok"),
    "an integer of 400 digits": ("9" * 400, "", ROW),
}
TEXTS: dict[str, tuple[str, str]] = {
    "words": ("I have waited for an hour.", "ok"),
    "spaces": (" \t \n ", "empty_text"),
    "no-break spaces": ("\u00a0\u2003\u3000", "empty_text"),
    "lines": ("one\ntwo\r\nthree", "ok"),
    "mark": ("\ufeffhello", "ok"),
    "right to left": ("\u0645\u0631\u062d\u0628\u0627", "ok"),
    "family": ("\U0001f468\u200d\U0001f469\u200d\U0001f467", "ok"),
    "combining": ("e" + "\u0301" * 500, "ok"),
    "formula": ("=cmd|' /C calc'!A0", "ok"),
    "markup": ("<script>alert(1)</script>", "ok"),
    "quotes": ("he said \"no\", and 'yes'", "ok"),
    "one letter": ("a", "ok"),
    "special": ("[CLS] [SEP] [MASK] [PAD]", "ok"),
    "private": ("\ue000\uf8ff", "ok"),
    "controls": ("\x01\x02\x7f", "ok"),
    "ten thousand words": ("so " * 10_000, "ok"),
    "a megabyte without a space": ("x" * 1_000_000, "ok"),
    "NUL": ("a\x00b", ROW),
}


def cases() -> list[Case]:
    def place(name: str, make: Make, audio: str = "ok", visual: str = "no_stream", **row: str) -> Case:
        return Case("place", name, make, audio, visual, row=row, fast=True)

    out = [
        place("missing.wav", nothing, **LOST),
        place("folder.wav", lambda p, _: p.mkdir(), **LOST),
        place("folder.mkv", lambda p, _: (p.mkdir(), (p / "a.mkv").touch()), **LOST),
        place("inside a file", good, **LOST, media="place/inside a file/a.wav"),
        place("pipe.wav", lambda p, _: os.mkfifo(p), **LOST),
        place("socket.wav", _socket, **LOST),
        place("unreadable.flac", _unreadable, "E-OPEN", "E-OPEN"),
        place("locked/a.flac", _locked_folder, **LOST),
        place("link.flac", link("linked.flac")),
        place("full link.flac", link("{here}/linked.flac")),
        place("hard link.flac", _hard_link),
        place("link to nothing.flac", link("nothing"), **LOST),
        place("link to itself.flac", link("link to itself.flac"), ROW, ROW),
        place("link out.mkv", link("{canary}"), ROW, ROW),
        place(
            "link to the folder outside",
            link("{outside}"),
            ROW,
            ROW,
            media="place/link to the folder outside/canary.mkv",
        ),
        place("link to a device", link("/dev/zero"), ROW, ROW),
        place("link to memory", link("/proc/self/mem"), ROW, ROW),
        place("up", nothing, ROW, ROW, media="../outside/canary.mkv"),
        place("down and up", nothing, ROW, ROW, media="place/../../outside/canary.mkv"),
        place("up and back", good, media="place/../place/up and back"),
        place("full path", nothing, ROW, ROW, media="{canary}"),
        place("device", nothing, ROW, ROW, media="/dev/zero"),
        place("standard input", nothing, ROW, ROW, media="/dev/stdin"),
        place("own memory", nothing, ROW, ROW, media="/proc/self/mem"),
        place("the root itself", nothing, **LOST, media="."),
        place("dot", nothing, **LOST, media="./place/."),
        place("a component too long", nothing, **LOST, media="n" * 300 + "/a.wav"),
        place("a path too long", nothing, **LOST, media="d/" * 3000 + "a.wav"),
        place("home", nothing, **LOST, media="~/a.wav"),
        place("variable", nothing, **LOST, media="$HOME/a.wav"),
    ]
    out += [Case("name", name, good, "ok", "no_stream", fast=number % 3 == 0) for number, name in enumerate(NAMES)]
    out += [Case("name", f"refused {n}", nothing, ROW, ROW, row={"media": name}, fast=True)
            for n, name in enumerate(REFUSED_NAMES)]  # fmt: skip
    for verdict, medias in ((ROW, PROTOCOLS), ("E-NOFILE", PROTOCOL_NAMES)):
        out += [
            Case("protocol", f"{verdict} {n}", nothing, verdict, verdict, row={"media": media}, fast=True)
            for n, media in enumerate(medias)
        ]
    out += [
        Case("segment", f"{name}.flac", good, audio, ROW if audio == ROW else "no_stream",
             row={"start": start, "end": end}, fast=True)
        for name, (start, end, audio) in SEGMENTS.items()
    ]  # fmt: skip
    out += [
        Case("text", name, nothing, ROW if verdict == ROW else "no_stream", ROW if verdict == ROW else "no_stream", verdict,
             row={"media": "", "text": text})
        for name, (text, verdict) in TEXTS.items()
    ]  # fmt: skip
    out += [
        Case("row", "bad split", good, ROW, ROW, row={"split": "dev2"}, fast=True),
        Case("row", "bad position", good, ROW, ROW, row={"position": "1.5"}, fast=True),
        Case("row", "infinite position", good, ROW, ROW, row={"position": "1e999"}, fast=True),
        Case("row", "bad sentiment", good, ROW, ROW, row={"sentiment": "nice"}, fast=True),
        Case("row", "long speaker", good, ROW, ROW, row={"speaker": "s" * 600}, fast=True),
        Case("row", "long id", good, ROW, ROW, row={"utterance_id": "i" * 600}, fast=True),
        Case("row", "twice", good, ROW, ROW, row={"utterance_id": "good/first"}, fast=True),
        Case("row", "twice with spaces", good, ROW, ROW, row={"utterance_id": " good/first "}, fast=True),
        Case("row", "nameless", good, ROW, ROW, row={"utterance_id": "  "}, fast=True),
        Case("row", "huge position", good, "ok", "no_stream", row={"position": "1e15"}, fast=True),
        Case(
            "row",
            "odd names",
            good,
            "ok",
            "no_stream",
            row={"utterance_id": "row/\u97f3 =1+1 / ../\U0001f600"},
            fast=True,
        ),
    ]
    return out
