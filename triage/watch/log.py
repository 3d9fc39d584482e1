"""The kernel log as a watch takes it in: what came while it was down, what comes, and what of it was lost."""

from __future__ import annotations

import time
from typing import Any

from probes.follow import Follower, Gap
from probes.model import Source
from triage.report import iso
from triage.watch import before
from triage.watch.judge import Judge
from triage.watch.options import Options
from triage.watch.telling import UNNUMBERED, Cursor

CRASH_QUIET = 0.3
"""Seconds of silence after which a crash is complete."""


class Log:
    """Feeds a judge with what the kernel logs, and notes for it what was lost or cannot be read."""

    def __init__(self, judge: Judge, options: Options, been: Cursor | None, boot: str) -> None:
        """Open the log of this boot; `been` is how far the last watch came."""
        self._judge, self._options, self._been, self._boot = judge, options, been, boot
        here = been is not None and been.boot == boot and been.seq != UNNUMBERED
        self._follower = self._open(been.seq if been is not None and here else None)
        self._was_readable = True
        self._last_line = 0.0
        self._lost = 0

    @property
    def descriptors(self) -> list[int]:
        """What to wait on; empty while it cannot be read."""
        return self._follower.descriptors

    @property
    def readable(self) -> bool:
        """Whether it is being read."""
        return self._follower.readable

    @property
    def past_is_read(self) -> bool:
        """Whether all is read that there was when it was opened, as far as it can be read."""
        return self._follower.caught_up or not self._follower.readable

    @property
    def source(self) -> Source:
        """What is read, and what is wrong with it."""
        return self._follower.source

    @property
    def cursor(self) -> Cursor | None:
        """How far it was read."""
        if self._follower.last is None and not self._follower.readable:
            return None
        seq = UNNUMBERED if self._follower.last is None else self._follower.last
        return Cursor(self._boot, seq, self._follower.source.end or time.time())

    @property
    def due(self) -> float | None:
        """When to read without anything to be read (seconds of CLOCK_MONOTONIC): a crash is complete by then."""
        return self._last_line + CRASH_QUIET if self._judge.crash_underway else None

    @property
    def figures(self) -> dict[str, tuple[str, list[Any]]]:
        """Its counters, as metrics."""
        read, lost = self._follower.records, self._lost
        return {
            "gpu_triage_kernel_records_total": ("Records of the kernel log that were read.", [({}, read)]),
            "gpu_triage_kernel_records_lost_total": (
                "Records of the kernel log that were overwritten before they could be read.",
                [({}, lost)],
            ),
        }

    def catch_up(self) -> None:
        """Take in what an earlier boot still logged after the watch of that time had ended."""
        been = self._been
        if been is None or not been.boot or been.boot == self._boot:
            return
        records = before.earlier(been, self._options.journal, self._options.pstore)
        self._judge.feed(records)
        self._judge.close_crash()
        if not records:
            self._judge.note(
                "not-watched",
                f"the node was rebooted, and neither journal nor pstore tells what the kernel logged after"
                f" {iso(been.at)}",
                since=iso(been.at),
            )

    def read(self) -> bool:
        """Take in what has come; whether there is something to decide."""
        news = self._say_whether_readable()
        past_was_read = self._follower.caught_up
        records = self._follower.read()
        gaps, self._follower.gaps = self._follower.gaps, []
        for gap in gaps:
            self._say_lost(gap)
            news = True
        if records:
            self._last_line = time.monotonic()
            news |= self._judge.feed(records)
            for gap in gaps:
                after = next((record for record in records if record.line > gap.last), None)
                if after is not None:
                    self._judge.missed(after)
        elif self._judge.crash_underway and time.monotonic() >= self._last_line + CRASH_QUIET:
            news |= self._judge.close_crash()
        return news or (self._follower.caught_up and not past_was_read)

    def again(self) -> None:
        """Read all of it once more, for a judge that has forgotten it."""
        last = self._follower.last
        self._follower.close()
        self._follower = self._open(last)

    def close(self) -> None:
        """Let go of it."""
        self._follower.close()

    def _open(self, after: int | None) -> Follower:
        return Follower(self._options.kmsg, after=after, journal=self._options.journal)

    def _say_whether_readable(self) -> bool:
        """Tell that it can be read again, or not any more; whether there was that to tell."""
        if self._follower.readable == self._was_readable:
            return False
        self._was_readable = self._follower.readable
        what, says = (
            ("log-readable", "it is read again") if self._was_readable else ("log-unreadable", "it is not read")
        )
        self._judge.note(what, f"kernel log: {self._follower.source.reason or says}")
        return True

    def _say_lost(self, gap: Gap) -> None:
        self._lost += gap.lost
        self._judge.note(
            "records-lost",
            f"{gap.lost} kernel records ({gap.first} to {gap.last}) were overwritten before they could be read",
            lost=gap.lost,
            since=iso(gap.since),
            until=iso(gap.until),
        )
