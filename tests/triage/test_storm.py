"""A storm is one incident with a count, a rate, and how many were in it."""

from __future__ import annotations

import io
from typing import BinaryIO, cast

from probes.model import LogRecord
from triage.assess import assess
from triage.cli.reports import load_rulebook
from triage.intake import Intake
from triage.model import Repeats, Signal
from triage.storm import ALL, EACH, Burst, Crowds, names, repeats

NOW = 1764165600.0


def storm(lines: int, processes: int, step: float = 0.01) -> bytes:
    return b"".join(
        b"[%12.6f] NVRM: Xid (PCI:0000:41:00): 31, pid=%d, name=python3, Ch 00000008, intr 00000000. MMU Fault: ENGINE "
        b"GRAPHICS GPCCLIENT_T1_0 faulted @ 0x7f20_%08x. Fault is of type FAULT_PDE ACCESS_TYPE_VIRT_READ\n"
        % (100 + n * step, 1000 + n % processes, n % 50)
        for n in range(lines)
    )


def told(data: bytes) -> Repeats | None:
    intake = Intake(["-"], now=NOW, stdin=cast("BinaryIO", io.BytesIO(data)))
    found = assess(load_rulebook(None, []), intake, (), (), node=None, now=NOW)
    (incident,) = found.incidents
    return incident.repeats


def test_a_storm_has_its_lines_its_time_and_who_was_in_it() -> None:
    found = told(storm(2001, 7))
    assert found is not None
    assert (2001, 7, 50, True) == (found.lines, found.processes, found.addresses, found.exact)
    assert found.seconds is not None
    assert abs(20.0 - found.seconds) < 0.001
    assert found.per_second is not None
    assert 100 < found.per_second < 101


def test_a_storm_of_programs_of_ever_other_names_is_one_incident_with_all_its_lines() -> None:
    """Else whoever names processes could have lines dropped."""
    lines = storm(3000, 3000).splitlines(keepends=True)
    found = told(b"".join(line.replace(b"python3", b"job%d" % n) for n, line in enumerate(lines)))
    assert found is not None
    assert (3000, EACH, False) == (found.lines, found.processes, found.exact)


def test_the_names_of_all_that_were_folded_are_known() -> None:
    burst, crowds = Burst(signal(0, 0), None, None), Crowds()
    for number, fields in enumerate(({"pid": "1", "name": "a"}, {"pid": "2", "name": "b"}, {"pid": "3"}, {})):
        crowds.add(burst, signal(number, 1)._replace(fields=fields))
    assert ("a", "b", "3") == names(burst.signal()._replace(fields={"pid": "1", "name": "a"}))
    assert () == names(signal(9, 1)._replace(fields={}))


def test_one_line_is_no_storm() -> None:
    assert told(storm(1, 1)) is None


def test_more_processes_than_are_told_apart_are_at_least_so_many() -> None:
    found = told(storm(EACH + 200, EACH + 100))
    assert found is not None
    assert (EACH, False) == (found.processes, found.exact)


def signal(pid: int, count: int = 1) -> Signal:
    return Signal("xid", None, {"pid": str(pid)}, LogRecord("x"), count=count)


def test_memory_does_not_grow_with_the_number_of_storms() -> None:
    crowds = Crowds()
    bursts = [Burst(signal(0), None, None) for _ in range(ALL // 100 + 10)]
    for burst in bursts:
        for pid in range(120):
            crowds.add(burst, signal(pid))
    assert ALL == sum(len(burst.signal().processes) for burst in bursts)
    assert bursts[-1].signal().many
    crowds.forget(bursts[0])
    fresh = Burst(signal(0), None, None)
    crowds.add(fresh, signal(1))
    assert (("1",), False) == (fresh.signal().processes, fresh.signal().many)


def test_what_was_counted_elsewhere_is_put_together() -> None:
    crowds = Crowds()
    first = signal(1, 4)._replace(processes=("1", "2"))
    burst = Burst(first, None, None)
    crowds.add(burst, first)
    crowds.add(burst, signal(2, 3)._replace(processes=("2", "3"), many=True))
    found = burst.signal()
    assert (("1", "2", "3"), 7, True) == (found.processes, found.count, found.many)


def test_unknown_processes_count_as_none_and_clocks_that_are_missing_as_unknown() -> None:
    nobody = Signal("xid", None, {"pid": "'<unknown>'"}, LogRecord("x"), count=3)
    assert Repeats(3, None, 0, 0, True) == repeats([nobody])
