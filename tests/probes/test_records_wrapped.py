"""Lines that a collector wrapped are read as the lines they were."""

from __future__ import annotations

import pytest

from probes.model import LogRecord
from probes.records import parse_lines
from probes.records_wrapped import unwrapped

XID = "NVRM: Xid (PCI:0000:01:00): 79, pid=1, GPU has fallen off the bus."


def read(line: str) -> LogRecord:
    (record,) = parse_lines([line.encode() + b"\n"], origin="-", year_hint=1.7e9)
    return record


@pytest.mark.parametrize(
    ("line", "at", "monotonic"),
    [
        (f"MESSAGE={XID}", None, None),
        (f'level=info msg="[   67.5] {XID}\\n"', None, 67.5),
        (f'time="2024-01-01T00:00:00Z" level=info msg="[   67.5] {XID}"', 1704067200.0, 67.5),
        (f"2024-01-01T00:00:00Z stdout F [   67.5] {XID}", 1704067200.0, 67.5),
        (f'{{"log":"[   67.5] {XID}\\n","stream":"stdout","time":"2024-01-01T00:00:00Z"}}', 1704067200.0, 67.5),
    ],
)
def test_a_kernel_line_comes_out_of_its_wrapping_with_its_times(
    line: str, at: float | None, monotonic: float | None
) -> None:
    record = read(line)
    assert (XID, at, monotonic, True) == (record.message, record.at, record.monotonic, record.kernel)


def test_a_program_in_a_container_is_no_kernel() -> None:
    record = read("2024-01-01T00:00:00Z stderr F RuntimeError: CUDA error: out of memory")
    assert ("CUDA error: out of memory", False) == (record.message, record.kernel)


@pytest.mark.parametrize(
    "line",
    ['{"log": 5}', '{"log":', '{"log":"\\ud800', "level=info no quotes", 'level=info msg="never closed', "plain", ""],
)
def test_what_is_no_wrapping_stays_as_it_is(line: str) -> None:
    assert line == unwrapped(line)
