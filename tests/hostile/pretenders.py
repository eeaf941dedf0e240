"""What is no media file but has a media file's name; and files that name other files, addresses and protocols."""

from __future__ import annotations

import base64
import gzip
import io
import json
import struct
import tarfile
import zipfile
from pathlib import Path

from tests.hostile.case import Case, Make, World, content

REFUSED = {"audio": "E-OPEN", "visual": "E-OPEN"}
_EPOCH = (1980, 1, 1, 0, 0, 0)


def _zip() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(zipfile.ZipInfo("talk.mp4", _EPOCH), b"\x00" * 4000)
    return buffer.getvalue()


def _zip_bomb() -> bytes:
    """Thirty kilobytes that are thirty megabytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo("talk.wav", _EPOCH), b"\x00" * (30 << 20), zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def _tar() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("../../talk.wav"), io.BytesIO())
    return buffer.getvalue()


def _png() -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.new("RGB", (64, 64), (200, 120, 90)).save(buffer, "PNG")
    return buffer.getvalue()


PLAIN: dict[str, bytes] = {
    "text.mp4": b"this is not a film\n" * 40,
    "text.wav": b"this is not a sound\n",
    "page.mp4": b"<!DOCTYPE html><html><head><title>404</title></head><body>Not Found</body></html>\n",
    "answer.mp4": json.dumps({"error": "quota exceeded", "code": 403}).encode(),
    "table.wav": b"utterance_id,media\nu1,talk.mp4\n",
    "archive.mp4": _zip(),
    "bomb.mp4": _zip_bomb(),
    "packed.wav": gzip.compress(b"RIFF" + b"\x00" * 4000, mtime=0),
    "archive.wav": _tar(),
    # Protocol 0, and it would run a program if anyone loaded it.
    "pickle.mp4": b"cos\nsystem\n(S'touch pickled'\ntR.",
    "paper.mp4": b"%PDF-1.4\n1 0 obj<</Type/Catalog>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n",
    "picture.mp4": _png(),
    "drawing.mp4": b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/hostname"/></svg>',
    "program.mp4": b"\x7fELF\x02\x01\x01" + b"\x00" * 200,
    "script.wav": b"#!/bin/sh\ntouch executed\n",
    "entities.mp4": b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/hostname">]><a>&x;</a>',
    "store.mp4": b"\x89HDF\r\n\x1a\n" + b"\x00" * 500,
    "database.wav": b"SQLite format 3\x00" + b"\x00" * 500,
    "subtitles.mp4": b"1\n00:00:00,000 --> 00:00:02,000\nhello\n",
    "styled.mkv": b"[Script Info]\nScriptType: v4.00+\n[Events]\nDialogue: 0,0:00:00.00,0:00:02.00,,,,,,,hi\n",
    "zeros.mp4": b"\x00" * 100_000,
    "ones.wav": b"\xff" * 100_000,
    "riff.wav": b"RIFF\xff\xff\xff\x7fWAVE",
    "box.mp4": b"\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00mp42isom",
    "ebml.mkv": b"\x1aE\xdf\xa3\x01\x00\x00\x00\x00\x00\x00\x1f",
    "id3.mp3": b"ID3\x04\x00\x00\x7f\x7f\x7f\x7f" + b"\x00" * 3000,  # a tag that says 256 MB
    "metadata.mp4": b";FFMETADATA1\ntitle=x\n",
    "y4m.mp4": b"YUV4MPEG2 W2 H2 F25:1 Ip A1:1 C420\nFRAME\n" + b"\x80" * 6,
    "filter.mp4": b"movie=/etc/hostname\n",
    "torrent.mp4": b"d8:announce20:http://127.0.0.1/anne",
    "lfs.mp4": b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 1048576\n",
}


def _naming(template: str) -> Make:
    """A text that may name the clip outside ({outside}), one inside ({inside}) and a server ({server})."""

    def make(path: Path, world: World) -> None:
        inside = path.with_name("inside.mkv")
        inside.write_bytes(world.originals["mkv"])
        path.write_text(
            template.format(
                outside=world.canary,
                inside=inside.name,
                server=f"127.0.0.1:{world.port}",
                port=world.port,
                data=base64.b64encode(world.originals["mp3"]).decode(),
            )
        )

    return make


_HLS = "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n{}\n#EXT-X-ENDLIST\n"
_DASH = (
    '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" mediaPresentationDuration="PT2S" '
    'profiles="urn:mpeg:dash:profile:isoff-on-demand:2011"><Period><AdaptationSet mimeType="video/mp4">'
    '<Representation id="1" bandwidth="1"><BaseURL>{}</BaseURL></Representation></AdaptationSet></Period></MPD>'
)
_SDP = "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio {port} RTP/AVP 0\n"
_IMF = (
    '<?xml version="1.0"?><AssetMap xmlns="http://www.smpte-ra.org/schemas/429-9/2007/AM"><AssetList><Asset><ChunkList>'
    "<Chunk><Path>{outside}</Path></Chunk></ChunkList></Asset></AssetList></AssetMap>"
)
NAMING: dict[str, str] = {
    "inside.m3u8": _HLS.format("{inside}"),
    "inside.mp4": _HLS.format("{inside}"),
    "outside.m3u8": _HLS.format("{outside}"),
    "outside.ts": _HLS.format("{outside}"),
    "file.m3u8": _HLS.format("file://{outside}"),
    "http.m3u8": _HLS.format("http://{server}/a.ts"),
    "http.mp4": _HLS.format("http://{server}/a.ts"),
    "https.m3u8": _HLS.format("https://{server}/a.ts"),
    "concat.m3u8": _HLS.format("concat:http://{server}/head|file://{outside}"),
    "subfile.m3u8": _HLS.format("subfile,,start,0,end,64,,:{outside}"),
    "data.m3u8": _HLS.format("data:audio/mpeg;base64,{data}"),
    "crypto.m3u8": _HLS.format("crypto+file://{outside}"),
    "key.m3u8": '#EXTM3U\n#EXT-X-KEY:METHOD=AES-128,URI="http://{server}/key"\n#EXTINF:2,\n{inside}\n#EXT-X-ENDLIST\n',
    "master.m3u8": "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nhttp://{server}/low.m3u8\n",
    "mark.m3u8": "\ufeff" + _HLS.format("{inside}"),
    "inside.ffconcat": "ffconcat version 1.0\nfile {inside}\n",
    "inside-concat.mp4": "ffconcat version 1.0\nfile {inside}\n",
    "outside.ffconcat": "ffconcat version 1.0\nfile '{outside}'\n",
    "http.ffconcat": "ffconcat version 1.0\nfile 'http://{server}/a.mp4'\n",
    "session.sdp": _SDP,
    "session.mp4": _SDP,
    "dash.mpd": _DASH.format("http://{server}/a.mp4"),
    "dash.mp4": _DASH.format("{inside}"),
    "imf.xml": _IMF,
    "list.pls": "[playlist]\nFile1=http://{server}/a.mp3\nNumberOfEntries=1\n",
    "list.m3u": "{outside}\n",
    "list.xspf": "<playlist><trackList><track><location>http://{server}/a</location></track></trackList></playlist>",
    "redirect.asx": '<asx version="3.0"><entry><ref href="http://{server}/a.wmv"/></entry></asx>',
    "redirect.wmv": "[Reference]\r\nRef1=http://{server}/a.wmv?MSWMExt=.asf\r\n",
    "redirect.ram": "rtsp://{server}/a.rm\n",
    "redirect.mov": "RTSPtextrtsp://{server}/a.mov\n",
    "smil.mp4": '<smil><body><video src="http://{server}/a.mp4"/></body></smil>',
    "vobsub.idx": "# VobSub index file, v7 (do not modify this line!)\nid: en, index: 0\ntimestamp: 00:00:00:000, filepos: 0\n",
    "script.avs": 'AviSource("{outside}")\n',
    "script.vpy": "import os\nos.system('touch executed')\n",
    "lavfi.mp4": "movie={outside}\n",
    "devices.txt": "/dev/video0\n",
}  # fmt: skip


def _reference_movie(path: Path, world: World) -> None:
    """A QuickTime file whose `moov` only refers to another (rmra/rdrf)."""
    target = str(world.canary).encode() + b"\x00"
    rdrf = struct.pack(">I4sI4sI", 20 + len(target), b"rdrf", 0, b"url ", len(target)) + target
    rmda = struct.pack(">I4s", 8 + len(rdrf), b"rmda") + rdrf
    rmra = struct.pack(">I4s", 8 + len(rmda), b"rmra") + rmda
    path.write_bytes(
        struct.pack(">I4s4sI", 16, b"ftyp", b"qt  ", 0) + struct.pack(">I4s", 8 + len(rmra), b"moov") + rmra
    )


def _outside_samples(path: Path, world: World) -> None:
    """A QuickTime file that says that its samples lie in a file outside (an `alis` data reference)."""
    whole = world.originals["mov"]
    target = str(world.canary).encode()[-250:]
    alias = struct.pack(">IHH", 0, 0, 2) + struct.pack(">H", 0) + b"\x04Disk".ljust(28, b"\x00") + b"\x00" * 12
    alias += bytes([min(len(target), 63)]) + target[:63].ljust(63, b"\x00") + b"\x00" * 16
    alias += struct.pack(">hh", 1, 1) + b"\x00" * 16
    tail = struct.pack(">HH", 2, len(target)) + target + b"\x00" * (len(target) % 2)
    tail += struct.pack(">HH", 18, len(target)) + target + b"\x00" * (len(target) % 2)
    alias += tail + struct.pack(">HH", 0xFFFF, 0)
    entry = struct.pack(">I4sI", 12 + len(alias), b"alis", 0) + alias
    path.write_bytes(_grown(whole, b"url ", entry))


def _grown(data: bytes, kind: bytes, entry: bytes) -> bytes:
    """Replace every `kind` box of a file whose index comes last by `entry`, and correct the sizes around it."""
    out = bytearray()
    at = 0
    while at + 8 <= len(data):
        size, name = struct.unpack(">I4s", data[at : at + 8])
        size = size or len(data) - at
        body = data[at + 8 : at + size]
        if name in (b"moov", b"trak", b"mdia", b"minf", b"dinf"):
            body = _grown(body, kind, entry)
        elif name == b"dref":
            body = body[:8] + _grown(body[8:], kind, entry)
        if name == kind:
            out += entry
        else:
            out += struct.pack(">I4s", 8 + len(body), name) + body
        at += size
    return bytes(out)


def cases() -> list[Case]:
    fast = {"text.mp4", "zeros.mp4", "bomb.mp4", "box.mp4", "id3.mp3"}
    out = [Case("pretender", name, content(data), **REFUSED, fast=name in fast) for name, data in PLAIN.items()]
    out += [Case("playlist", name, _naming(text), **REFUSED, fast=True) for name, text in NAMING.items()]
    out.append(Case("playlist", "reference.mov", _reference_movie, **REFUSED, fast=True))
    out.append(Case("playlist", "alias.mov", _outside_samples, "E-TRUNCATED|E-OPEN", "E-TRUNCATED|E-OPEN", fast=True))
    return out
