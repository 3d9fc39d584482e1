"""The bytes of an input as bounded blocks and lines, whatever compresses it.

Compression is told by the first bytes, not by the name.  Nothing here holds
more than a few blocks, a line's cap and the decompressor's window, so neither
a bomb nor a line of any length fills the memory.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any, BinaryIO

from probes.named import NamedTuple
from probes.records import CutLine
from probes.records_text import LINE_CAP

BLOCK = 1 << 20
"""Bytes read at a time, and at most unpacked at a time."""
WINDOW = 256 << 20
"""Bytes of memory that unpacking xz may take; `xz -9` needs 65 MiB."""
_TOLD = 8
"""Bytes by which a stream is told; the file may end before."""
_UNSURE = 0b1110_0010
"""Flags of a gzip header (RFC 1952, section 2.3.1): its own checksum, and what is reserved and must be zero."""
_ZSTD_STEP = 64
"""Bytes given to zstd at a time: each four of them may become 128 KiB."""


class Damaged(Exception):
    """The compressed input cannot be unpacked any further.  The text says why, in a few words."""


class _Gzip:
    """ISA-L where it is installed, else zlib, with the interface that bz2 and lzma share."""

    def __init__(self) -> None:
        self._stream: Any = None

    eof = property(lambda self: self._stream.eof)
    unused_data = property(lambda self: self._stream.unused_data)
    needs_input = property(lambda self: not self._stream.unconsumed_tail)

    def decompress(self, data: bytes, most: int) -> bytes:
        if self._stream is None:
            self._stream = _inflate(data)
        unpacked: bytes = self._stream.decompress(self._stream.unconsumed_tail + data, most)
        return unpacked


def _inflate(head: bytes) -> Any:
    """What unpacks the gzip stream that begins so.  zlib takes two to three times as long."""
    import zlib

    # Of headers with these flags ISA-L makes what depends on how their bytes arrive.
    if not any(flags & _UNSURE for flags in head[3:4]):
        with contextlib.suppress(ImportError):
            from isal import isal_zlib

            return isal_zlib.decompressobj(wbits=31)
    return zlib.decompressobj(wbits=31)


class _Zstandard:
    """The zstandard package with the interface that bz2 and lzma share."""

    def __init__(self) -> None:
        import zstandard

        self._stream = zstandard.ZstdDecompressor().decompressobj()
        self._rest = b""
        self._step = 1  # a frame that came whole would be read by other code, which takes other damage for sound

    eof = property(lambda self: self._stream.eof)
    unused_data = property(lambda self: self._stream.unused_data + self._rest)
    needs_input = property(lambda self: not self._rest)

    def decompress(self, data: bytes, most: int) -> bytes:
        data, place, unpacked = self._rest + data, 0, []
        while place < len(data) and most > 0 and not self._stream.eof:
            unpacked.append(self._stream.decompress(data[place : place + self._step]))
            place += self._step
            self._step = _ZSTD_STEP
            most -= len(unpacked[-1])
        self._rest = data[place:]
        return b"".join(unpacked)


def _bzip2() -> Any:
    import bz2

    return bz2.BZ2Decompressor()


def _xz() -> Any:
    import lzma

    return lzma.LZMADecompressor(memlimit=WINDOW)


def _zstd() -> Any:
    try:
        from compression import zstd  # type: ignore[import-not-found, unused-ignore]  # from Python 3.14 on
    except ImportError:
        return _Zstandard()
    return zstd.ZstdDecompressor()


class Compression(NamedTuple):
    """How a stream of this kind begins, and what unpacks one."""

    name: str
    magic: bytes
    new: Callable[[], Any]


KINDS = (
    Compression("gzip", b"\x1f\x8b\x08", _Gzip),
    Compression("xz", b"\xfd7zXZ\x00", _xz),
    Compression("bzip2", b"BZh", _bzip2),
    Compression("zstd", b"\x28\xb5\x2f\xfd", _zstd),
)


def _some(file: BinaryIO) -> bytes:
    """What can be read now, at most a block; empty only at the end."""
    read: Callable[[int], bytes | None] = getattr(file, "read1", file.read)
    return read(BLOCK) or b""


def _at_least(file: BinaryIO, data: bytes, size: int) -> bytes:
    """`data` and what follows it, so that `size` bytes are there unless the file ends before."""
    while len(data) < size:
        more = _some(file)
        if not more:
            break
        data += more
    return data


def blocks(file: BinaryIO) -> Iterator[bytes]:
    """The content of a file in blocks of about 1 MiB, unpacked if it is compressed.

    Raises:
        Damaged: the compressed data is broken or breaks off; all blocks before were yielded.
        OSError: reading failed.
    """
    head = _at_least(file, b"", _TOLD)
    for kind in KINDS:
        if head.startswith(kind.magic):
            yield from _unpacked(file, head, kind)
            return
    while head:
        yield head
        head = _some(file)


def _unpacked(file: BinaryIO, data: bytes, kind: Compression) -> Iterator[bytes]:
    try:
        stream = kind.new()
    except ImportError:
        raise Damaged(f"it is compressed with {kind.name}, and the Python package for that is not installed") from None
    while True:
        try:
            unpacked = stream.decompress(data, BLOCK)
        except Exception as error:  # zlib, lzma and zstandard have errors of their own, derived from nothing narrower
            raise Damaged(f"the {kind.name} data is damaged ({str(error)[:100]})") from None
        for place in range(0, len(unpacked), BLOCK):
            yield unpacked[place : place + BLOCK]
        data = b""
        if stream.eof:
            data = stream.unused_data.lstrip(b"\0")  # padding
            while not data:
                data = _some(file)
                if not data:
                    return
                data = data.lstrip(b"\0")
            data = _at_least(file, data, _TOLD)
            if not data.startswith(kind.magic):
                raise Damaged(f"what follows the {kind.name} stream is none")
            stream = kind.new()
        elif stream.needs_input:
            data = _some(file)
            if not data:
                raise Damaged("the compressed stream ends early")


def as_utf8(parts: Iterable[bytes]) -> Iterator[bytes]:
    """Blocks of UTF-16 text as UTF-8, if the first begins with its mark; other blocks as they are."""
    import codecs

    decoder = None
    for number, part in enumerate(parts):
        if number == 0 and part[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
            decoder = codecs.getincrementaldecoder("utf-16")("replace")
        yield part if decoder is None else decoder.decode(part).encode("utf-8", "replace")


def lines(parts: Iterable[bytes]) -> Iterator[bytes]:
    """The lines of a stream of blocks, without their newline; of a very long one the start, as a `CutLine`."""
    kept, full = b"", 0  # the start of the open line, and how long it is so far
    for part in parts:
        whole = part.split(b"\n")
        whole[0], full = line_start(kept + whole[0]), full + len(whole[0])
        kept = whole.pop()
        for number, line in enumerate(whole):
            yield cut_line(line, len(line) if number else full)
        if whole:
            full = len(kept)
        kept = line_start(kept)
    if full:
        yield cut_line(kept, full)


def line_start(line: bytes) -> bytes:
    """As much of a line as is kept; the hole of NULs that a crash leaves in a file does not count."""
    return line if len(line) <= LINE_CAP else line.lstrip(b"\0")[:LINE_CAP]


def cut_line(line: bytes, full: int) -> bytes:
    """A line as it is handed on, `full` bytes long as it stood."""
    if full <= LINE_CAP:
        return line
    cut = CutLine(line_start(line))
    cut.full = full
    return cut
