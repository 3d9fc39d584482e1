"""The kernel log of this boot, from the best source that may be read.

/dev/kmsg is tried first, because it tells sequence numbers (so that a gap is
seen) and facilities (so that what a program wrote is not taken for the
kernel's); then the journal, then dmesg.  The source says which one it was, how
far back it reaches, and why a better one could not be read.
"""

from __future__ import annotations

import errno
import os
import re
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Optional

from probes import bounded
from probes.model import LogRecord, Source

KMSG = "/dev/kmsg"
# The longest record the kernel hands out is 8 KiB (CONSOLE_EXT_LOG_MAX); a shorter buffer gets EINVAL and loses it.
_RECORD = 8192
# What is kept of a log, newest first.  Kernel rings hold 128 KiB to a few MiB; a long boot's journal may hold more.
MAX_RECORDS = 100_000
MAX_OUTPUT = 256 << 20
_BOOT_BEGINS = 2.0  # seconds after boot by which a log that starts with the boot has its first record

_Parse = Callable[[Iterable[bytes]], Iterator[LogRecord]]
_REMEDY = "run as root or grant CAP_SYSLOG"
_RECORD_START = re.compile(rb"\n(?=[0-9])")


def boot_time() -> float:
    """Epoch seconds at which the kernel's log clock was zero.

    It is CLOCK_REALTIME less CLOCK_MONOTONIC: the stamps of the kernel log do
    not count time spent suspended, and neither does that clock.  `btime` of
    /proc/stat counts it, and is cut to whole seconds.
    """
    return time.clock_gettime(time.CLOCK_REALTIME) - time.clock_gettime(time.CLOCK_MONOTONIC)


def boot_id() -> Optional[str]:
    """The id of this boot as the journal writes it, or None."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read().strip().replace("-", "")
    except OSError:
        return None


def read_boot(deadline: float, *, kmsg: str = KMSG, programs: bool = True) -> tuple[list[LogRecord], Source]:
    """The records of this boot, oldest first, and what was read, within `deadline` seconds.

    Args:
        deadline: seconds.
        kmsg: the device to read; tests name another file.
        programs: whether journalctl and dmesg may be asked where the device cannot be read.

    A source that is not readable has no records, and its reason names every one that was tried.
    """
    until = time.monotonic() + deadline
    refused: list[str] = []
    readers = (_read_kmsg, _read_journal, _read_dmesg) if programs else (_read_kmsg,)
    for reader in readers:
        log = _Kept()
        origin = reader(log, until, kmsg)
        if log.records:
            if log.note:
                refused.append(log.note)
            return list(log.records), _source(origin, log, refused)
        refused.append(log.note or f"{origin} holds no record")
    now = time.time()
    return [], Source("kernel-log", kmsg, False, now, now, reason="; ".join(refused))


class _Kept:
    """The newest records of a log, and what is to be said of it."""

    def __init__(self) -> None:
        self.records: deque[LogRecord] = deque(maxlen=MAX_RECORDS)
        self.seen = 0
        self.from_boot = False
        self.whole = True  # without a gap
        self.to_now = True  # read to its end
        self.note = ""

    def take(self, records: Iterable[LogRecord]) -> None:
        for record in records:
            self.seen += 1
            self.records.append(record)

    def say(self, note: str) -> None:
        self.note = f"{self.note}; {note}" if self.note else note


def _source(origin: str, log: _Kept, refused: list[str]) -> Source:
    lost = log.seen - len(log.records)
    if lost:
        refused = [*refused, f"only the newest {len(log.records)} of {log.seen} records were kept"]
    start = next((record.at for record in log.records if record.at is not None), None)
    last = next((record.at for record in reversed(log.records) if record.at is not None), None)
    return Source(
        "kernel-log",
        origin,
        True,
        start,
        time.time() if log.to_now else last,
        len(log.records),
        from_boot=log.from_boot and log.whole and not lost,
        reason="; ".join(refused) or None,
    )


def _read_kmsg(log: _Kept, until: float, path: str) -> str:
    from probes.records_journal import parse_kmsg

    zero, boot, take = boot_time(), boot_id(), log.records.append
    expected: Optional[int] = None
    try:
        for raw in _raw_records(path, until, log):
            record = parse_kmsg(raw, boot_time=zero, origin=path, boot=boot)
            take(record)
            log.seen += 1
            if record.monotonic is None:
                continue  # not formed as a record: it has no sequence number
            line = record.line
            if expected is None:
                log.from_boot = line == 0
            elif line > expected:
                log.whole = False
                log.say(f"records {expected} to {line - 1} of {path} were overwritten before they could be read")
            expected = line + 1
    except OSError as failure:
        remedy = f"; {_REMEDY}" if failure.errno in (errno.EPERM, errno.EACCES) else ""
        log.say(f"{_reason(failure)} reading {path}{remedy}")
    return path


def _raw_records(path: str, until: float, log: _Kept) -> Iterator[bytes]:
    """The records of a kmsg device, one by one, until there are no more for now."""
    rest = b""
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        while True:
            if time.monotonic() >= until:
                log.to_now = False
                log.say(f"{path} could not be read to its end in time")
                break
            try:
                data = os.read(fd, _RECORD)
            except BlockingIOError:
                break
            except BrokenPipeError:  # overrun: the next read goes on at the oldest record that is left
                continue
            except OSError as failure:
                if failure.errno != errno.EINVAL:
                    raise
                continue  # a record longer than the kernel says there can be; the sequence shows the gap
            if not data:
                break
            # The device gives one record a read; a file or a pipe in its place may give many, or a part.
            *whole, rest = _RECORD_START.split(rest + data)
            yield from whole
            if rest.endswith(b"\n") and len(data) < _RECORD:
                yield rest
                rest = b""
    finally:
        os.close(fd)
    if rest:
        yield rest


def _read_journal(log: _Kept, until: float, _: str) -> str:
    from probes.records import parse_journal_json

    def records(lines: Iterable[bytes]) -> Iterator[LogRecord]:
        for number, line in enumerate(lines, 1):
            record = parse_journal_json(line.decode("utf-8", "replace"), origin, number=number)
            if record is not None:
                yield record

    origin = "journalctl -k -b"
    if _run(log, until, ["journalctl", "-k", "-b", "-o", "json", "--no-pager", "--quiet"], records):
        first = log.records[0].monotonic
        log.from_boot = first is not None and first < _BOOT_BEGINS
    return origin


def _read_dmesg(log: _Kept, until: float, _: str) -> str:
    from probes.records import parse_lines

    zero, boot = boot_time(), boot_id()

    def records(lines: Iterable[bytes]) -> Iterator[LogRecord]:
        for record in parse_lines(lines, origin="dmesg", year_hint=time.time()):
            at = record.at
            if at is None and record.monotonic is not None:
                at = zero + record.monotonic
            yield record._replace(at=at, boot=boot)

    if _run(log, until, ["dmesg", "--raw"], records):
        first = log.records[0].monotonic
        log.from_boot = first is not None and first < _BOOT_BEGINS
    return "dmesg"


def _run(log: _Kept, until: float, argv: list[str], parse: _Parse) -> bool:
    """Let a program write its log; false, with a note, if nothing came of it."""
    name = argv[0]
    program = bounded.find_program(name)
    if program is None:
        log.say(f"{name} is not installed")
        return False
    run = bounded.Run([program, *argv[1:]], until, MAX_OUTPUT)
    try:
        log.take(parse(run.lines()))
    except OSError as failure:
        log.say(f"{name}: {_reason(failure)}")
    if run.cut:
        log.to_now = False
        log.say(f"{name}: {run.cut}")
    if not log.records and not run.cut:
        said = " ".join(run.errors.decode("utf-8", "replace").split())[-200:]
        remedy = f"; {_REMEDY}" if re.search(r"permission|permitted", said) else ""
        log.say(f"{name}: {said or 'no kernel record'}{remedy}")
    return bool(log.records)


def _reason(failure: OSError) -> str:
    return (failure.strerror or str(failure)).lower()
