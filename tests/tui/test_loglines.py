"""What one line of a log says."""

from __future__ import annotations

import pytest

from tests.tui import samples
from tui.loglines import Parts, Signals, decoded, parts, search_for, shape, when


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Nov 07 15:39:12 host1 kernel: NVRM: loading", Parts("15:39:12", "NVRM: loading")),
        ("Nov  7 15:39:12 host1 kernel: [  12.014918] NVRM: loading", Parts("15:39:12", "NVRM: loading")),
        ("2026-08-22T14:02:29.871000+00:00 h kernel: [7.871000] a b", Parts("14:02:29.871", "a b")),
        ("2026-08-22T14:02:29.871Z kernel: a b", Parts("14:02:29.871", "a b")),
        ("2026-08-22 14:02:29,5 h slurmd[4012]: job 1", Parts("14:02:29.500", "slurmd: job 1")),
        ("[   12.014918] NVRM: API mismatch", Parts("12.014", "NVRM: API mismatch")),
        ("no log line at all", Parts("", "no log line at all")),
        ("", Parts("", "")),
    ],
)
def test_a_line_is_a_time_and_a_message(text: str, expected: Parts) -> None:
    assert expected == parts(text)


def test_lines_that_differ_in_numbers_alone_have_one_shape() -> None:
    assert shape(b"[ 12.01] Xid 45, Ch 00000008") == shape(b"[ 13.99] Xid 45, Ch 0000000b")
    assert shape(b"veth at 0xdeadbeef") == shape(b"veth at 0x12")
    assert shape(b"eth0: up") != shape(b"eth0: down")


def test_small_letters_find_either_and_capitals_only_themselves() -> None:
    assert search_for("xid").line(b"NVRM: Xid 79")
    assert not search_for("XID").line(b"NVRM: Xid 79")
    assert search_for("xid.*(79|119)").line(b"Xid: 119")
    assert not search_for("xid.*(79|119)").line(b"Xid: 31")


def test_what_is_no_regular_expression_is_text() -> None:
    found = search_for("[  12.01")

    assert found.literal
    assert found.line(b"[  12.014918] NVRM")


def test_a_costly_pattern_ends() -> None:
    assert not search_for("(a+)+$").line(b"a" * 16_000 + b"!")


def test_text_that_is_no_utf8_is_marked() -> None:
    assert "a\ufffdb" == decoded(b"a\xffb\r")


def test_signals_are_found_first_in_many_lines_and_then_in_one() -> None:
    signals = Signals(samples.rulebook())
    lines = samples.LOG.encode().splitlines()
    holds = [n for n, line in enumerate(lines) if signals.line(line)]

    assert signals.chunk(samples.LOG.encode())
    assert not signals.chunk(b"\n".join(lines[:20]))
    assert [20, 22, *range(23, 35), 36] == holds
    assert all(signals.chunk(lines[n]) for n in holds)
    assert [("xid", "The driver reported an Xid.", "79")] == [
        (name, says, fields["xid"]) for name, says, fields in signals.of(lines[22])
    ]


def test_a_word_that_a_program_smuggled_into_a_line_is_no_signal() -> None:
    assert not Signals(samples.rulebook()).line(b"Aug 22 14:02:31 h evil: NVRM: Xid (PCI:0000:4e:00): 79, gone")


def test_a_line_has_a_time_or_none() -> None:
    assert samples.NOW - 40 == when(b"2026-08-22T14:02:29.000000+00:00 h kernel: x", samples.NOW)
    assert 12.5 == when(b"[   12.500000] x", samples.NOW)
    assert None is when(b"x", samples.NOW)
