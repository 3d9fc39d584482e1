"""Lines come out whole and in order, however the blocks fall."""

from __future__ import annotations

import io

from hypothesis import given
from hypothesis import strategies as st

from probes.records import CutLine
from probes.records_text import LINE_CAP
from triage.streams import BLOCK, blocks, lines


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
