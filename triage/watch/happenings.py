"""What NVML's events tell a watch: that the counters are worth a look, and an Xid that the kernel log does not tell."""

from __future__ import annotations

import time
from pathlib import Path

from probes.model import LogRecord
from probes.nvml_events import Event, Events
from triage.watch.judge import Judge

TOLD_TWICE = 2.0
"""Seconds that the kernel log gets to tell an Xid that NVML told of."""
AGAIN = 60.0
"""Seconds after which NVML's events are asked for once more."""
EARLIER = 15.0
"""Seconds by which the kernel log may have told an Xid before NVML did."""
MOST = 1000
"""Xids that are waited for in the kernel log at a time."""


class Happenings:
    """Listens to NVML's events for a judge."""

    def __init__(self, judge: Judge, children: Path | None, boot: str) -> None:
        """Do not listen yet; `children` is where children that hang are noted."""
        self._judge, self._children, self._boot = judge, children, boot
        self._events: Events | None = None
        self._again = 0.0
        self._expected: list[tuple[float, Event]] = []  # Xids, and until when the kernel log may tell them too

    @property
    def descriptors(self) -> list[int]:
        """What to wait on."""
        return [] if self._events is None else self._events.descriptors

    @property
    def due(self) -> float | None:
        """When the kernel log has had its time for the first Xid (seconds of CLOCK_MONOTONIC), None without one."""
        return min((until for until, _ in self._expected), default=None)

    def listen(self) -> None:
        """Begin to listen, unless it listens or was tried a short while ago."""
        now = time.monotonic()
        if (self._events is not None and self._events.listening) or now < self._again:
            return
        if self._events is not None:
            self._events.close()
        self._again = now + AGAIN
        self._events = Events(state_dir=self._children)

    def take(self, log_readable: bool) -> bool:
        """Take what has come, and expect its Xids in the kernel log too; whether anything has come."""
        events = [] if self._events is None else self._events.wait(0.0)
        for event in events:
            if event.kind == "xid":
                grace = TOLD_TWICE if log_readable else 0.0
                self._expected = [*self._expected[1 - MOST :], (time.monotonic() + grace, event)]
        return bool(events)

    def tell(self, looked: float) -> bool:
        """Feed the judge with Xids that the kernel log did not tell in time; whether there is something to decide.

        `looked` is when it was last looked into (seconds of CLOCK_MONOTONIC): what has come since may be it.
        """
        due = [event for until, event in self._expected if until <= looked]
        self._expected = [(until, event) for until, event in self._expected if until > looked]
        news = False
        for event in due:
            pci = event.gpu.pci if event.gpu is not None else None
            if self._judge.knows_xid(pci, event.data, event.at - EARLIER):
                continue
            where = (pci or "0000:00:00.0").rpartition(".")[0]
            text = f"NVRM: Xid (PCI:{where}): {event.data}, told by an NVML event and not by the kernel log"
            record = LogRecord(text, event.at, None, self._boot, origin="nvml-events", text=text)
            news |= self._judge.feed([record])
        return news

    def anew(self) -> None:
        """Listen anew as soon as it can be, for the driver is another."""
        if self._events is not None:
            self._events.close()
            self._again = 0.0

    def close(self) -> None:
        """Stop listening."""
        if self._events is not None:
            self._events.close()
