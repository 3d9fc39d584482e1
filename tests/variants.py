"""The same incident as other machines would have logged it: emitters and disturbances for the incident library."""

from __future__ import annotations

import gzip
import io
import json
import random
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from probes.model import LogRecord
from triage.evaluate import NOW
from triage.intake import Intake
from triage.scanner import Scanner
from triage.timeline import Spans, Timeline, build

BASE = NOW - 90 * 86400.0
"""The moment at which the last line of a re-stamped log stands: within a year, so that RFC 3164 can be dated."""
BOOT = 40.0
"""Seconds after boot of the first line where a log does not say: beyond what counts as the start of the boot."""
HOST = "host1"
NOISE = (
    "usb 1-1: new high-speed USB device number {n} using xhci_hcd",
    "audit: type=1400 audit(0.000:{n}): apparmor=STATUS operation=profile_load",
    "systemd[1]: Started Session {n} of User root.",
    "EXT4-fs (sda{n}): mounted filesystem with ordered data mode. Quota mode: none.",
    "docker0: port {n}(veth0) entered forwarding state",
    "perf: interrupt took too long ({n} > 2500), lowering kernel.perf_event_max_sample_rate to 50000",
)
"""Kernel lines that mean nothing to any rule."""


class Read(NamedTuple):
    """What intake and scanner made of a log; `meaning` says of each record whether any pattern knows it."""

    records: tuple[LogRecord, ...]
    timeline: Timeline
    meaning: tuple[bool, ...]

    @property
    def plain(self) -> int:
        """Lines that mean nothing, in the boot that has most."""
        return max((span.plain for span in self.timeline.spans.values()), default=0)


def read(scanner: Scanner, data: bytes) -> Read:
    """Read a log the way `explain -` does."""
    records = tuple(Intake(["-"], now=NOW, stdin=io.BytesIO(data)))
    spans = Spans()
    timeline = build(scanner.scan(spans.watch(records)), spans)
    return Read(records, timeline, tuple(bool(scanner.match(record)) for record in records))


def stamped(records: Sequence[LogRecord]) -> list[LogRecord] | None:
    """Give every record both clocks, keeping all gaps, or None where the log does not say them for each."""
    if len({record.boot for record in records}) != 1:
        return None  # one axis of seconds since boot cannot hold two boots
    for clock in ("monotonic", "at"):
        times: list[float] = [t for t in (getattr(record, clock) for record in records) if t is not None]
        if len(times) == len(records) and times == sorted(times):
            first, last = times[0], times[-1]
            start = first if clock == "monotonic" else BOOT
            return [
                record._replace(monotonic=start + t - first, at=BASE + t - last)
                for record, t in zip(records, times, strict=True)
            ]
    return None


def _lines(record: LogRecord, indent: str) -> str:
    return record.message.replace("\n", f"\n{indent}")


def _mono(record: LogRecord) -> float:
    assert record.monotonic is not None
    return record.monotonic


def _utc(record: LogRecord, form: str) -> str:
    assert record.at is not None
    return time.strftime(form, time.gmtime(record.at))


def _micros(record: LogRecord) -> str:
    assert record.at is not None
    return f"{int(record.at % 1 * 1e6):06d}"


def _tag(record: LogRecord) -> str:
    if record.kernel:
        return "kernel"
    pid = f"[{record.pid}]" if record.pid is not None else ""
    return f"{record.identifier or 'app'}{pid}"


def dmesg(record: LogRecord) -> str:
    """`[  12.345678] text`."""
    return f"[{_mono(record):12.6f}] {_lines(record, ' ' * 15)}"


def dmesg_wall(record: LogRecord) -> str:
    """`dmesg -T`."""
    return f"[{_utc(record, '%a %b %e %H:%M:%S %Y')}] {_lines(record, ' ' * 27)}"


def dmesg_iso(record: LogRecord) -> str:
    """`dmesg --time-format iso`."""
    return f"{_utc(record, '%Y-%m-%dT%H:%M:%S')},{_micros(record)}+00:00 {_lines(record, ' ' * 33)}"


def kmsg(record: LogRecord) -> str:
    """A copy of /dev/kmsg."""
    escaped = record.message.replace("\\", "\\x5c").replace("\n", "\\x0a")
    level = record.level if record.level is not None else 6
    return f"{level},{record.line},{int(_mono(record) * 1e6)},-;{escaped}"


def rfc3164(record: LogRecord) -> str:
    """The traditional syslog file."""
    return f"{_utc(record, '%b %e %H:%M:%S')} {HOST} {_tag(record)}: {record.message.replace(chr(10), '#012')}"


def rfc3339(record: LogRecord) -> str:
    """The high-precision file format of rsyslog."""
    when = f"{_utc(record, '%Y-%m-%dT%H:%M:%S')}.{_micros(record)}+00:00"
    return f"{when} {HOST} {_tag(record)}: {record.message.replace(chr(10), '#012')}"


def rfc5424(record: LogRecord) -> str:
    """The newer syslog protocol."""
    pid = record.pid if record.pid is not None and not record.kernel else "-"
    app = "kernel" if record.kernel else record.identifier or "app"
    level = (0 if record.kernel else 8) + (record.level if record.level is not None else 6)
    when = f"{_utc(record, '%Y-%m-%dT%H:%M:%S')}.{_micros(record)}Z"
    return f"<{level}>1 {when} {HOST} {app} {pid} - - {record.message.replace(chr(10), '#012')}"


def journal_json(record: LogRecord) -> str:
    """`journalctl -o json`."""
    assert record.at is not None
    fields = {
        "__REALTIME_TIMESTAMP": str(int(record.at * 1e6)),
        "__MONOTONIC_TIMESTAMP": str(int(_mono(record) * 1e6)),
        "_BOOT_ID": "0" * 31 + "1",
        "_HOSTNAME": HOST,
        "_TRANSPORT": "kernel" if record.kernel else "syslog",
        "SYSLOG_IDENTIFIER": "kernel" if record.kernel else record.identifier or "app",
        "MESSAGE": record.message,
    }
    if record.pid is not None and not record.kernel:
        fields["_PID"] = str(record.pid)
    return json.dumps(fields)


def bare(record: LogRecord) -> str:
    """Pasted without any prefix."""
    return record.message


ONLY_KERNEL: dict[str, Callable[[LogRecord], str]] = {
    "dmesg": dmesg,
    "dmesg -T": dmesg_wall,
    "dmesg iso": dmesg_iso,
    "kmsg": kmsg,
}
ALL_RECORDS: dict[str, Callable[[LogRecord], str]] = {
    "rfc3164": rfc3164,
    "rfc3339": rfc3339,
    "rfc5424": rfc5424,
    "journal json": journal_json,
}


def written(records: Sequence[LogRecord], form: Callable[[LogRecord], str]) -> bytes:
    """Write a log in this form."""
    return "".join(f"{form(record)}\n" for record in records).encode()


def noisy(records: Sequence[LogRecord], seed: str, most: int) -> list[LogRecord]:
    """Put lines that mean nothing between the others, each stamped like the one before it."""
    dice = random.Random(seed)
    found = list(records)
    for number in range(most):
        place = dice.randrange(1, len(found) + 1)
        before = found[place - 1]
        text = dice.choice(NOISE).format(n=number + 1)
        found.insert(place, before._replace(message=text, kernel=True, identifier=None, pid=None, pasted=False))
    return found


def cut_off(read: Read, records: Sequence[LogRecord]) -> list[LogRecord]:
    """Break off within the line after the last one that means anything."""
    last = max(place for place, means in enumerate(read.meaning) if means)
    if "crash" in read.timeline.by_name:
        last = len(records) - 1  # a crash is read from lines that no pattern knows on their own
    rest = records[last + 1].message if last + 1 < len(records) else NOISE[0].format(n=1)
    half = records[last]._replace(message=rest.partition("\n")[0][: len(rest) // 3] or "x", kernel=True)
    return [*records[: last + 1], half]


def skewed(records: Sequence[LogRecord], meaning: Sequence[bool], window: float) -> list[LogRecord]:
    """Swap neighbours that stand within so many seconds of each other, where only one of the two means anything."""
    found = list(records)
    place = 0
    while place < len(found) - 1:
        one, other = found[place], found[place + 1]
        assert one.at is not None
        assert other.at is not None
        if other.at - one.at <= window and meaning[place] != meaning[place + 1]:
            found[place], found[place + 1] = other, one
            place += 2
        else:
            place += 1
    return found


def crlf(text: str) -> bytes:
    """As saved by a Windows editor."""
    return text.replace("\n", "\r\n").encode("utf-8", "surrogateescape")


def gzipped(text: str) -> bytes:
    """As logrotate leaves it."""
    return gzip.compress(text.encode("utf-8", "surrogateescape"), mtime=0)
