"""The one loop of a watch: waits for the kernel log, NVML's events, the counters, signals and clients, one at a time.

It never waits for any of them alone, decides as soon as a line means something,
and less often the longer deciding takes, so that a storm is counted and not
answered line by line.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from probes.follow import Follower, Gap
from probes.model import LogRecord
from probes.moment import moment
from probes.nvml_events import Event, Events
from triage import __version__
from triage.cli.exits import DONE, INTERRUPTED, Refused
from triage.history.store import Store
from triage.report import iso
from triage.rulebook.model import Rulebook
from triage.watch import before, telling
from triage.watch.clocks import Clocks
from triage.watch.counters import Counters
from triage.watch.judge import Judge
from triage.watch.notify import Notify
from triage.watch.out import Delivery, Gone, Out
from triage.watch.reload import Reload
from triage.watch.serve import Server
from triage.watch.telling import Cursor

if TYPE_CHECKING:
    from triage.alert.outlet import Outlet

Json = dict[str, Any]

TICK = 5.0
"""Seconds between two looks at clocks and driver where nothing else wakes the loop."""
FIRST = 3.0
"""Seconds for which the first decision waits for the counters."""
SHARE = 2.0
"""Decisions are paid for by pauses of so many times their length."""
BURST = 0.5
"""Seconds of such pauses that may be owed, so that a few lines in a row are each answered at once."""
CRASH_QUIET = 0.3
"""Seconds of silence after which a crash is complete."""
TOLD_TWICE = 2.0
"""Seconds that the kernel log gets to tell an Xid that NVML told of."""
EVENTS_AGAIN = 60.0
"""Seconds after which NVML's events are asked for once more."""
SOON = 10.0
"""Least seconds between two readings of the counters that lines of the log ask for."""
DRAIN = 5.0
"""Seconds that the end may take."""
ALERTS = 4.0
"""Seconds that alerts may take at the end, which are then still sent."""
AGAIN = 5.0
"""Seconds after which what could not be put into the queue of alerts is tried again."""


class Options(NamedTuple):
    """What a watch is asked for.

    `every` are the seconds between two readings of all counters, `often` between those of what shows a GPU in
    trouble; `listen` is where metrics are served; `events`
    whether NVML's events are listened to; `alerts` the file that says who is alerted.
    """

    directory: Path | None
    children: Path | None
    every: float
    often: float
    events: bool
    listen: tuple[str, int] | None
    load: Callable[[], Rulebook]
    check_rules: Callable[[], tuple[str, ...]]
    kmsg: str
    journal: tuple[str, ...] = ()
    pstore: tuple[Path, ...] = before.PSTORE
    alerts: Path | None = None


_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Watch:
    """A running watch."""

    def __init__(self, rulebook: Rulebook, options: Options, out: Out, notify: Notify) -> None:
        """Open what is followed; nothing is decided yet."""
        self._options, self._out, self._notify = options, out, notify
        self._wake, self._woken = socket.socketpair()
        for end in (self._wake, self._woken):
            end.setblocking(False)
        self._signals: set[int] = set()
        self._judge = Judge(rulebook, options.directory)
        self._counters = Counters(options.every, options.often, options.children)
        self._server = Server(options.listen) if options.listen else None
        self._events: Events | None = None
        self._events_again = 0.0
        self._expected: list[tuple[float, Event]] = []
        self._reload: Reload | None = None
        self._dirty = False
        self._decided = False
        self._not_before = self._debt = self._debt_at = 0.0
        self._last_line = 0.0
        self._delivery = Delivery(out)
        self._asked_soon = 0.0
        self._known: set[str] = set()
        self._lost_so_far = 0
        self._log_readable = True
        self._clocks = Clocks()
        with self._judge.open() as memory:
            assert memory.store is not None
            self._been = telling.cursor(memory.store.db)
            self._history_notices = list(memory.notices)
        self._seen = moment()
        here = self._been is not None and self._been.boot == self._seen.boot
        after = self._been.seq if here and self._been else None
        self._follower = Follower(options.kmsg, after=after, journal=options.journal)
        self._outlet: Outlet | None = None
        self._keep_again: float | None = None
        if options.alerts is not None and options.directory is not None:
            from triage.alert.outlet import Outlet  # which most do without

            self._outlet = Outlet(options.directory, options.alerts, self._noted)
        self._began = time.monotonic()

    def run(self) -> int:
        """Watch until SIGTERM (0) or SIGINT (130) or until nobody reads what is told (0)."""
        for number in _SIGNALS:  # until the process has ended: a second SIGTERM must not spoil what the first began
            signal.signal(number, self._signal)
        signal.set_wakeup_fd(self._woken.fileno(), warn_on_full_buffer=False)
        try:
            self._begin()
            while not self._signals & {signal.SIGTERM, signal.SIGINT}:
                self._turn()
            self._drain()
        except Gone:
            pass
        finally:
            signal.set_wakeup_fd(-1)
            self._close()
        return INTERRUPTED if signal.SIGINT in self._signals else DONE

    def _signal(self, number: int, _frame: object) -> None:
        if number == signal.SIGINT and number in self._signals:
            os._exit(INTERRUPTED)
        self._signals.add(number)

    def _begin(self) -> None:
        for says in self._history_notices:
            self._judge.note("history", says)
        self._catch_up()
        self._counters.tick()
        self._say_watching()

    def _turn(self) -> None:
        """Wait for whatever comes first, and do what there is to do."""
        ready = self._wait(self._timeout())
        if self._wake.fileno() in ready:
            self._woke()
        self._look_around()
        self._read_log()
        if self._events is not None:
            for event in self._events.wait(0.0):
                self._happened(event)
        swept = self._counters.take()
        if swept is not None:
            self._judge.counted(swept.readings, swept.sources, swept.began)
            self._dirty = True
        self._told_by_nvml_only()
        if self._may_decide():
            self._decide()
        elif self._out.busy and self._out.fd in ready:
            self._deliver()
        if self._server is not None:
            self._server.serve(ready)
        self._hear_events()
        self._counters.tick()
        if self._outlet is not None:
            self._outlet.tick()
        self._notify.alive()

    # --- waiting -----------------------------------------------------------------------------------------------

    def _wait(self, seconds: float) -> set[int]:
        poll = select.poll()
        for fd in (self._wake.fileno(), self._counters.descriptor, *self._follower.descriptors):
            poll.register(fd, select.POLLIN)
        for fd in self._events.descriptors if self._events is not None else ():
            poll.register(fd, select.POLLIN)
        if self._out.busy:
            poll.register(self._out.fd, select.POLLOUT)
        if self._reload is not None:
            poll.register(self._reload.descriptor, select.POLLIN)
        for fd in self._outlet.descriptors if self._outlet is not None else ():
            poll.register(fd, select.POLLIN)
        for fd, mask in self._server.wants() if self._server is not None else ():
            poll.register(fd, mask)
        return {fd for fd, _ in poll.poll(max(0.0, seconds) * 1000)}

    def _timeout(self) -> float:
        now = time.monotonic()
        until = [now + TICK, self._counters.due]
        if self._notify.period is not None:
            until.append(now + self._notify.period)
        if self._dirty:
            until.append(self._not_before if self._decided else self._began + FIRST)
        if self._judge.crash_underway:
            until.append(self._last_line + CRASH_QUIET)
        until += [due for due, _ in self._expected]
        if self._server is not None and (hung := self._server.due()) is not None:
            until.append(hung)
        if self._outlet is not None and (again := self._outlet.due) is not None:
            until.append(again)
        if self._keep_again is not None:
            until.append(self._keep_again)
        return min(until) - now

    def _woke(self) -> None:
        try:
            self._wake.recv(4096)
        except BlockingIOError:
            return
        if signal.SIGHUP in self._signals:
            self._signals.discard(signal.SIGHUP)
            if self._reload is not None:
                self._reload.close()
            self._reload = Reload(self._options.check_rules())
            if self._outlet is not None:
                self._outlet.reload()

    # --- the log -----------------------------------------------------------------------------------------------

    def _catch_up(self) -> None:
        """Read what an earlier boot still logged after the watch of that time had ended."""
        if self._been is None or not self._been.boot or self._been.boot == self._seen.boot:
            return
        records = before.earlier(self._been, self._options.journal, self._options.pstore)
        self._judge.feed(records)
        self._judge.close_crash()
        if not records:
            self._judge.note(
                "not-watched",
                f"the node was rebooted, and neither journal nor pstore tells what the kernel logged after"
                f" {iso(self._been.at)}",
                since=iso(self._been.at),
            )

    def _read_log(self) -> None:
        if self._follower.readable != self._log_readable:
            self._log_readable = self._follower.readable
            what, says = (
                ("log-readable", "it is read again") if self._log_readable else ("log-unreadable", "it is not read")
            )
            self._judge.note(what, f"kernel log: {self._follower.source.reason or says}")
            self._dirty = True
        caught_up = self._follower.caught_up
        records = self._follower.read()
        gaps, self._follower.gaps = self._follower.gaps, []
        for gap in gaps:
            self._lost(gap)
        if records:
            self._last_line = time.monotonic()
            self._dirty |= self._judge.feed(records)
            for gap in gaps:
                after = next((record for record in records if record.line > gap.last), None)
                if after is not None:
                    self._judge.missed(after)
        elif self._judge.crash_underway and time.monotonic() >= self._last_line + CRASH_QUIET:
            self._dirty |= self._judge.close_crash()
        self._dirty |= self._follower.caught_up and not caught_up

    def _lost(self, gap: Gap) -> None:
        self._lost_so_far += gap.lost
        self._judge.note(
            "records-lost",
            f"{gap.lost} kernel records ({gap.first} to {gap.last}) were overwritten before they could be read",
            lost=gap.lost,
            since=iso(gap.since),
            until=iso(gap.until),
        )
        self._dirty = True

    # --- NVML's events -----------------------------------------------------------------------------------------

    def _hear_events(self) -> None:
        """Listen to events, unless it is not wanted or was tried a short while ago."""
        if not self._options.events or (self._events is not None and self._events.listening):
            return
        now = time.monotonic()
        if now < self._events_again or not self._decided:
            return
        if self._events is not None:
            self._events.close()
        self._events_again = now + EVENTS_AGAIN
        self._events = Events(state_dir=self._options.children)

    def _happened(self, event: Event) -> None:
        """An event asks for the counters; an Xid is expected in the kernel log too."""
        self._ask_soon()
        if event.kind == "xid":
            grace = TOLD_TWICE if self._follower.readable else 0.0
            self._expected = [*self._expected[-999:], (time.monotonic() + grace, event)]

    def _told_by_nvml_only(self) -> None:
        """Take an Xid from NVML that the kernel log does not tell, because it cannot be read or lost it."""
        now = time.monotonic()
        due = [event for until, event in self._expected if until <= now]
        self._expected = [(until, event) for until, event in self._expected if until > now]
        for event in due:
            pci = event.gpu.pci if event.gpu is not None else None
            if self._judge.knows_xid(pci, event.data, event.at - 15.0):
                continue
            where = (pci or "0000:00:00.0").rpartition(".")[0]
            text = f"NVRM: Xid (PCI:{where}): {event.data}, told by an NVML event and not by the kernel log"
            record = LogRecord(text, event.at, None, self._seen.boot, origin="nvml-events", text=text)
            self._dirty |= self._judge.feed([record])

    def _ask_soon(self) -> None:
        now = time.monotonic()
        if now >= self._asked_soon + SOON:
            self._asked_soon = now
            self._counters.soon()
        else:
            self._counters.soon(self._asked_soon + SOON - now)

    # --- the node ----------------------------------------------------------------------------------------------

    def _look_around(self) -> None:
        """See whether the driver was loaded anew, the clock was set or the machine slept; take new rules."""
        before, self._seen = self._seen, moment()
        if before.load != self._seen.load:
            says = "the nvidia module was loaded" if self._seen.load else "the nvidia module was unloaded"
            self._judge.note("driver-loaded" if self._seen.load else "driver-unloaded", says)
            self._anew()
        slept, jumped = self._clocks.moved()
        if slept:
            self._judge.note("suspended", f"the machine slept for {slept:.0f} s", seconds=round(slept, 3))
            self._anew()
        if jumped:
            self._judge.note("clock-jumped", f"the wall clock was set by {jumped:+.0f} s", seconds=round(jumped, 3))
            self._dirty = True
        if self._reload is not None:
            problem = self._reload.done()
            if problem is not None:
                self._reload = None
                self._take_rules(problem)

    def _anew(self) -> None:
        """Ask everything of the driver once more."""
        if self._events is not None:
            self._events.close()
            self._events_again = 0.0
        self._counters.soon()
        self._dirty = True

    def _take_rules(self, problem: str) -> None:
        rulebook = None
        if not problem:
            try:
                rulebook = self._options.load()
            except Refused as refused:
                problem = refused.message
        self._dirty = True
        if rulebook is None:
            first = problem.strip().splitlines()[0] if problem.strip() else "they could not be read"
            self._judge.note("rules-kept", f"the new rules are not used, the old ones stay: {first}")
            return
        same = rulebook.digest == self._judge.rulebook.digest
        self._judge.note(
            "rules-loaded",
            "the rules are as they were" if same else "new rules are used from here on",
            rules=rulebook.digest,
        )
        if not same:
            self._judge.use(rulebook)
            last = self._follower.last
            self._follower.close()
            self._follower = Follower(self._options.kmsg, after=last, journal=self._options.journal)

    # --- deciding and telling ----------------------------------------------------------------------------------

    def _may_decide(self) -> bool:
        now = time.monotonic()
        self._dirty |= self._keep_again is not None and now >= self._keep_again
        if not self._decided:
            waited = now >= self._began + FIRST
            return (self._follower.caught_up or not self._follower.readable or waited) and (
                waited or self._judge.has_readings
            )
        return self._dirty and now >= self._not_before

    def _decide(self) -> None:
        began = time.monotonic()
        first, self._decided = not self._decided, True
        self._dirty = False
        for _ in range(2):  # the second time without the file, if there is anything wrong with that
            with self._judge.open() as memory:
                said = self._judge.decide(
                    memory, self._follower.source, self._cursor(), been_here=self._been is not None
                )
                if said is not None:
                    self._send(memory.store, said)
                    break
        if said is not None:
            self._show(said)
            if first:
                self._notify.say("READY=1")
            self._look_at_new(said)
        now = time.monotonic()
        self._debt = max(0.0, self._debt - (began - self._debt_at)) + SHARE * (now - began)
        self._debt_at = now
        self._not_before = now + max(0.0, self._debt - BURST)

    def _cursor(self) -> Cursor | None:
        last = self._follower.last
        return None if last is None else Cursor(self._seen.boot, last, self._follower.source.end or time.time())

    def _look_at_new(self, said: Json) -> None:
        """What has just opened is worth a look at the counters."""
        opened = {i["fingerprint"] for i in said["incidents"] if i["state"] == "open"}
        if opened - self._known:
            self._ask_soon()
        self._known = opened

    def _show(self, said: Json) -> None:
        count = sum(incident["state"] == "open" for incident in said["incidents"])
        self._notify.status(f"{said['status']}: {count} open incident{'' if count == 1 else 's'}")
        if self._server is not None:
            self._server.show(said, self._figures())

    def _figures(self) -> dict[str, tuple[str, list[Any]]]:
        """The counters of the watch itself."""
        return {
            f"gpu_triage_kernel_records{name}_total": (f"Records of the kernel log that were {says}.", [({}, value)])
            for name, says, value in (
                ("", "read", self._follower.records),
                ("_lost", "overwritten before they could be read", self._lost_so_far),
            )
        }

    def _deliver(self) -> None:
        with self._judge.open() as memory:
            self._send(memory.store)

    def _send(self, store: Store | None, said: Json | None = None) -> None:
        if store is not None and not self._delivery.send(store, lambda: self._keep(store, said)):
            self._dirty = True  # the next decision finds out what is wrong with the file

    def _keep(self, store: Store, said: Json | None) -> bool:
        """Put down what is to be alerted; whether nothing is left to be put down."""
        if self._outlet is not None and said is not None:
            kept = self._outlet.take(said, store)
            self._keep_again = None if kept else time.monotonic() + AGAIN
        return self._keep_again is None

    def _noted(self, what: str, says: str) -> None:
        """Tell with the next decision what people should know of alerts."""
        self._judge.note(what, says)
        self._dirty = True

    def _say_watching(self) -> None:
        body = {
            "kind": "watching",
            "at": iso(time.time()),
            "node": self._judge.node,
            "tool": {"name": "gpu-triage", "version": __version__},
            "rules": self._judge.rulebook.digest,
            "after": None if self._been is None else iso(self._been.at),
        }
        self._out.write(telling.line(json.dumps(body), None))

    def _drain(self) -> None:
        """Read what there is, decide once more, tell it."""
        until = time.monotonic() + DRAIN
        while time.monotonic() < until:
            self._read_log()
            if self._follower.caught_up or not self._follower.readable:
                break
        self._judge.close_crash()
        self._decide()
        while self._out.busy and time.monotonic() < until:
            select.select([], [self._out.fd], [], 0.1)
            self._deliver()
        end = {"kind": "end", "at": iso(time.time()), "complete": not self._out.busy}
        self._out.write(telling.line(json.dumps(end), None))

    def _close(self) -> None:
        self._notify.close()
        if self._outlet is not None:
            self._outlet.close(ALERTS)
        if self._reload is not None:
            self._reload.close()
        if self._events is not None:
            self._events.close()
        self._counters.close()
        self._follower.close()
        if self._server is not None:
            self._server.close()
        self._judge.close()
        self._out.close()
        self._wake.close()
        self._woken.close()
