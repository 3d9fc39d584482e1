"""Lines come out whole and in order, however the blocks fall."""

from __future__ import annotations

import gzip
import io
import random
import sys
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes.records import CutLine
from probes.records_text import LINE_CAP
from triage.streams import BLOCK, Damaged, blocks, lines


@given(st.lists(st.binary(max_size=12)))
def test_lines_do_not_depend_on_the_blocks(parts: list[bytes]) -> None:
    whole = b"".join(parts)
    expected = whole.split(b"\n")
    if not expected[-1]:
        expected.pop()

    assert expected == list(lines(parts))


def test_of_a_long_line_the_start_and_the_length_are_kept() -> None:
    parts = [b"a\n" + b"x" * BLOCK, b"y" * BLOCK, b"z\nb", b"\n", b"w" * LINE_CAP + b"v\n", b"u" * LINE_CAP + b"\n"]
    found = list(lines(parts))

    assert [1, LINE_CAP, 1, LINE_CAP, LINE_CAP] == [len(line) for line in found]
    assert [2 * BLOCK + 1, LINE_CAP + 1] == [line.full for line in found if isinstance(line, CutLine)]


def test_a_hole_in_a_file_does_not_hide_the_line_after_it() -> None:
    parts = [b"\0" * BLOCK, b"\0" * BLOCK, b"text\n", b"\0" * BLOCK + b"more\n"]

    assert [b"text", b"more"] == [bytes(line) for line in lines(parts)]


def test_a_pipe_that_gives_a_byte_at_a_time_is_read() -> None:
    class Trickle(io.BytesIO):
        def read1(self, size: int | None = -1, /) -> bytes:
            return super().read1(1)

    assert b"[1.0] a\n" == b"".join(blocks(Trickle(b"[1.0] a\n")))


def unpacked(data: bytes, *, fast: bool, monkeypatch: pytest.MonkeyPatch) -> tuple[bytes, bool]:
    """What comes of gzip data, by ISA-L or without it, and whether it broke off."""
    with monkeypatch.context() as patch:
        if not fast:
            patch.setitem(sys.modules, "isal", None)
        parts: list[bytes] = []
        try:
            parts.extend(blocks(io.BytesIO(data)))
        except Damaged:
            return b"".join(parts), True
        return b"".join(parts), False


@pytest.mark.parametrize("seed", range(10))
def test_gzip_comes_out_the_same_with_the_fast_decoder_and_without(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = random.Random(seed)
    text = b"".join(b"%d: %d\n" % (n, chosen.randrange(1000)) for n in range(400_000))
    packed = gzip.compress(text[: len(text) // 2], 1) + gzip.compress(text[len(text) // 2 :], 6) + b"\0" * 100
    assert (text, False) == unpacked(packed, fast=True, monkeypatch=monkeypatch)
    assert (text, False) == unpacked(packed, fast=False, monkeypatch=monkeypatch)

    short = packed[: chosen.randrange(20, len(packed) - 200)]
    whole, broke = unpacked(short, fast=True, monkeypatch=monkeypatch)
    other, broke_too = unpacked(short, fast=False, monkeypatch=monkeypatch)
    assert broke
    assert broke_too
    assert text.startswith(whole)
    assert text.startswith(other)
    assert abs(len(whole) - len(other)) < 300  # the last symbols; the line that was open is left out anyway


@pytest.mark.parametrize("fast", [True, False])
def test_damaged_gzip_gives_what_stands_before_the_damage(fast: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    text = random.Random(1).randbytes(4 << 20)
    packed = bytearray(gzip.compress(text))
    packed[3 << 20 : (3 << 20) + 64] = b"\xff" * 64
    whole, broke = unpacked(bytes(packed), fast=fast, monkeypatch=monkeypatch)
    assert broke
    assert len(whole) >= 1 << 20
    assert text[: 1 << 20] == whole[: 1 << 20]


@pytest.mark.parametrize("size", [1, 7, 1 << 20])
def test_a_gzip_header_with_flags_that_nobody_may_set_is_damage_however_it_arrives(size: int) -> None:
    """ISA-L takes them, and then reads one thing from a file and another from a pipe."""
    packed = bytearray(gzip.compress(b"one line\n"))
    packed[3] |= 0x80

    with pytest.raises(Damaged, match="unknown header flags"):
        list(blocks(in_pieces(bytes(packed), size)))


@pytest.mark.parametrize("size", [1, 7, 1 << 20])
def test_the_checksum_of_a_gzip_header_is_held_against_it_however_it_arrives(size: int) -> None:
    packed = gzip.compress(b"one line\n", mtime=0)
    head = packed[:3] + b"\x02" + packed[4:10]
    right = (zlib.crc32(head) & 0xFFFF).to_bytes(2, "little")

    assert b"one line\n" == b"".join(blocks(in_pieces(head + right + packed[10:], size)))
    with pytest.raises(Damaged, match="header crc mismatch"):
        list(blocks(in_pieces(head + b"no" + packed[10:], size)))


def in_pieces(data: bytes, size: int) -> io.BytesIO:
    class Pieces(io.BytesIO):
        def read1(self, _most: int | None = -1) -> bytes:
            return self.read(size)

    return Pieces(data)
