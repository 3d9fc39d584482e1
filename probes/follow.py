"""The kernel log as it grows, and what of it was lost.

/dev/kmsg is followed where it may be read: it wakes whoever waits, and its
sequence numbers tell a gap.  Elsewhere `journalctl -f` is.  Nothing here waits:
`descriptors` are what to wait on, and `read` returns what has come.  Nothing is
told twice, also where the log ends and is opened again.
"""

from __future__ import annotations

import errno
import os
import re
import time
from collections.abc import Sequence
from typing import Optional

from probes import bounded
from probes.kernel_log import KMSG, boot_id, boot_time
from probes.model import LogRecord, Source
from probes.named import NamedTuple
from probes.records_journal import parse_kmsg

MOST = 2000
"""Records that one read returns, so that whoever follows a storm also gets to do something else."""
AGAIN = 5.0
"""Seconds after which a log that ended or failed is opened again."""

_RECORD = 8192
_REFUSED = (errno.EPERM, errno.EACCES)
_BOOT = re.compile(r"[0-9a-f]{32}")
_LONGEST = 1 << 20
_CURSOR = re.compile(rb'"__CURSOR" ?: ?"([0-9A-Za-z=;_-]+)"')


class Gap(NamedTuple):
    """Records that were overwritten before they could be read: how many, and between which times (epoch seconds)."""

    lost: int
    first: int
    last: int
    since: Optional[float]
    until: Optional[float]


class Follower:
    """The kernel log of this boot from its oldest record on; close it, or use it in a `with`.

    Args:
        kmsg: the device.
        after: the sequence number of the last record that was read before, in this boot; what is missing since
            is a gap.
        journal: further words for journalctl; tests name a folder.
    """

    def __init__(self, kmsg: str = KMSG, *, after: Optional[int] = None, journal: Sequence[str] = ()) -> None:
        """Open the log; that it cannot be is told by `source`."""
        self.gaps: list[Gap] = []
        self.caught_up = False  # whether all that there was when it was opened has been read
        self.last: Optional[int] = after
        self.records = 0
        self._kmsg, self._journal = kmsg, tuple(journal)
        self._boot = boot_id()
        self._fd: Optional[int] = None
        self._program: Optional[bounded.Process] = None
        self._listener: Optional[bounded.Listener] = None
        self._rest = b""
        self._line = 0
        self._place: Optional[str] = None  # of the journal's last record that was told
        self._told: Optional[int] = None  # and of the device's, when it ended
        self._began: Optional[float] = None
        self._last_at: Optional[float] = None
        self._from_boot = False
        self._missed = 0
        self._reason: Optional[str] = None
        self._retry = 0.0
        self._open()

    def __enter__(self) -> Follower:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def descriptors(self) -> list[int]:
        """What to wait on; empty while the log cannot be read."""
        if self._fd is not None:
            return [self._fd]
        if self._program is not None and self._program.stdout is not None:
            return [self._program.stdout.fileno()]
        return []

    @property
    def readable(self) -> bool:
        """Whether the log is being read."""
        return bool(self.descriptors)

    @property
    def source(self) -> Source:
        """What is read, how far back it reaches, and what is wrong with it."""
        origin = self._kmsg if self._program is None else "journalctl -k -b -f"
        reasons = [self._reason] if self._reason else []
        if self._missed:
            reasons.append(f"{self._missed} records were overwritten before they could be read")
        return Source(
            "kernel-log",
            origin,
            self.readable,
            self._began,
            time.time() if self.readable else self._last_at,
            self.records,
            from_boot=self._from_boot and not self._missed,
            reason="; ".join(reasons) or None,
        )

    def read(self, most: int = MOST) -> list[LogRecord]:
        """Return the records that have come, oldest first; `gaps` gets what was lost before them."""
        if not self.readable:
            if time.monotonic() < self._retry:
                return []
            self._open()
        if self._fd is not None:
            return self._read_kmsg(most)
        return self._read_journal()

    def close(self) -> None:
        """Let go of the log."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
        if self._program is not None:
            bounded.end(self._program)
            self._program = None

    def _open(self) -> None:
        self._retry = time.monotonic() + AGAIN
        try:
            self._fd = os.open(self._kmsg, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            self._reason = None
            return
        except OSError as failure:
            remedy = "; run as root or grant CAP_SYSLOG" if failure.errno in _REFUSED else ""
            self._reason = f"{(failure.strerror or str(failure)).lower()} reading {self._kmsg}{remedy}"
        program = bounded.find_program("journalctl")
        if program is None:
            self._reason += "; journalctl is not installed"
            return
        words = [program, "-k", "-b", "-f", "-n", "all", "-o", "json", "--no-pager", "--quiet", *self._journal]
        if self._place is not None:
            words.append(f"--after-cursor={self._place}")
        try:
            self._program = bounded.start(words)
        except OSError as failure:
            self._reason += f"; journalctl: {(failure.strerror or str(failure)).lower()}"
            return
        self._listener = bounded.Listener(self._program)
        self._rest = b""
        self.caught_up = True  # a program that follows does not say where the past ends

    def _read_kmsg(self, most: int) -> list[LogRecord]:
        assert self._fd is not None
        zero, found = boot_time(), list[LogRecord]()
        while len(found) < most:
            try:
                raw = os.read(self._fd, _RECORD)
            except BlockingIOError:
                self.caught_up = True
                break
            except OSError as failure:
                # EPIPE: overrun, the next read goes on at the oldest record left.  EINVAL: one too long, which is gone.
                if failure.errno in (errno.EPIPE, errno.EINVAL):
                    continue
                self._ended(f"{(failure.strerror or str(failure)).lower()} reading {self._kmsg}")
                break
            if not raw:
                self._ended(f"{self._kmsg} ended")
                break
            record = parse_kmsg(raw, boot_time=zero, origin=self._kmsg, boot=self._boot)
            if record.monotonic is None:
                found.append(record)
                continue
            if self._told is not None and record.line <= self._told:
                continue
            if self._began is None:
                self._began, self._from_boot = record.at, record.line == 0
            # What was read before this follower began is read again for what it means to later ones.
            if self.last is None or record.line > self.last:
                if self.last is not None and record.line > self.last + 1:
                    self._lost(self.last + 1, record)
                self.last = record.line
            self._last_at = record.at
            found.append(record)
        self.records += len(found)
        return found

    def _lost(self, first: int, record: LogRecord) -> None:
        lost = record.line - first
        self._missed += lost
        self.gaps.append(Gap(lost, first, record.line - 1, self._last_at, record.at))

    def _read_journal(self) -> list[LogRecord]:
        from probes.records import parse_journal_json

        if self._program is None or self._listener is None:
            return []
        chunk = self._listener.wait(0.0)
        *lines, self._rest = (self._rest + chunk.output).split(b"\n")
        self._rest = self._rest[:_LONGEST]
        found: list[LogRecord] = []
        for line in lines:
            self._line += 1
            text = line.decode("utf-8", "replace")
            record = parse_journal_json(text, "journalctl -k -b -f", number=self._line)
            if record is not None:
                self._began = record.at if self._began is None else self._began
                self._last_at = record.at
                found.append(record)
                place = _CURSOR.search(line)
                self._place = place.group(1).decode() if place is not None else self._place
        if chunk.ended:
            said = " ".join(chunk.errors.decode("utf-8", "replace").split())[-200:]
            self._ended(f"journalctl ended{': ' + said if said else ''}")
        self.records += len(found)
        return found

    def _ended(self, reason: str) -> None:
        self.close()
        self._told = self.last
        self._reason = reason
        self._retry = time.monotonic() + AGAIN


def of_boot(boot: str, since: Optional[float], deadline: float, journal: Sequence[str] = ()) -> list[LogRecord]:
    """The kernel's records of another boot that the journal kept, from a time on; none if it has none.

    Args:
        boot: the id of the boot, as the journal writes it.
        since: UTC epoch seconds.
        deadline: seconds.
        journal: further words for journalctl.
    """
    from probes.records import parse_journal_json

    program = bounded.find_program("journalctl")
    if program is None or not _BOOT.fullmatch(boot):
        return []
    words = [program, "-k", "-b", boot, "-o", "json", "--no-pager", "--quiet", *journal]
    if since is not None:
        words.append(f"--since=@{int(since)}")
    origin = f"journalctl -k -b {boot[:8]}"
    run = bounded.Run(words, time.monotonic() + deadline, 64 << 20)
    found = []
    for number, line in enumerate(run.lines(), 1):
        record = parse_journal_json(line.decode("utf-8", "replace"), origin, number=number)
        if record is not None:
            found.append(record._replace(boot=record.boot or boot))
    return found
