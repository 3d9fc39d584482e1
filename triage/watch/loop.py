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
from typing import TYPE_CHECKING, Any

from probes.moment import moment
from triage import __version__
from triage.cli.exits import DONE, INTERRUPTED, Refused
from triage.history.store import Store
from triage.report import iso
from triage.rulebook.model import Rulebook
from triage.watch import telling
from triage.watch.clocks import Clocks
from triage.watch.counters import Counters
from triage.watch.happenings import Happenings
from triage.watch.judge import Judge
from triage.watch.log import Log
from triage.watch.notify import Notify
from triage.watch.options import Options
from triage.watch.out import Delivery, Gone, Out
from triage.watch.pace import Pace
from triage.watch.reload import Reload
from triage.watch.serve import Server

if TYPE_CHECKING:
    from triage.alert.outlet import Outlet

Json = dict[str, Any]

TICK = 5.0
"""Seconds between two looks at clocks and driver where nothing else wakes the loop."""
FIRST = 3.0
"""Seconds for which the first decision waits for the counters."""
DRAIN = 5.0
"""Seconds that the end may take."""
ALERTS = 4.0
"""Seconds that alerts may take at the end, which are then still sent."""
AGAIN = 5.0
"""Seconds after which what could not be put into the queue of alerts is tried again."""


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
        self._reload: Reload | None = None
        self._dirty = False  # whether there is something to decide
        self._decided = False  # whether it has ever been decided
        self._pace = Pace()
        self._delivery = Delivery(out)
        self._known: set[str] = set()
        self._clocks = Clocks()
        with self._judge.open() as memory:
            assert memory.store is not None
            self._been = telling.cursor(memory.store.db)
            self._history_notices = list(memory.notices)
        self._seen = moment()
        self._log = Log(self._judge, options, self._been, self._seen.boot)
        self._happenings = Happenings(self._judge, options.children, self._seen.boot) if options.events else None
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
        self._log.catch_up()
        self._counters.tick()
        self._say_watching()

    def _turn(self) -> None:
        """Wait for whatever comes first, and do what there is to do."""
        ready = self._wait(self._timeout())
        if self._wake.fileno() in ready:
            self._woke()
        self._look_around()
        looked = time.monotonic()
        self._dirty |= self._log.read()
        self._hear(looked)
        swept = self._counters.take()
        if swept is not None:
            self._judge.counted(swept.readings, swept.sources, swept.began)
            self._dirty = True
        if self._may_decide():
            self._decide()
        elif self._out.busy and self._out.fd in ready:
            self._deliver()
        if self._server is not None:
            self._server.serve(ready)
        if self._happenings is not None and self._decided:
            self._happenings.listen()
        self._counters.tick()
        if self._outlet is not None:
            self._outlet.tick()
        self._notify.alive()

    def _hear(self, looked: float) -> None:
        """Take what NVML's events tell, and look at the counters if they tell anything."""
        if self._happenings is not None:
            if self._happenings.take(self._log.readable):
                self._counters.ask()
            self._dirty |= self._happenings.tell(looked)

    # --- waiting -----------------------------------------------------------------------------------------------

    def _wait(self, seconds: float) -> set[int]:
        """Wait for at most so long; return the descriptors that are ready."""
        poll = select.poll()
        readable = [self._wake.fileno(), self._counters.descriptor, *self._log.descriptors]
        if self._happenings is not None:
            readable += self._happenings.descriptors
        if self._reload is not None:
            readable.append(self._reload.descriptor)
        if self._outlet is not None:
            readable += self._outlet.descriptors
        for fd in readable:
            poll.register(fd, select.POLLIN)
        if self._out.busy:
            poll.register(self._out.fd, select.POLLOUT)
        for fd, mask in self._server.wants() if self._server is not None else ():
            poll.register(fd, mask)
        return {fd for fd, _ in poll.poll(max(0.0, seconds) * 1000)}

    def _timeout(self) -> float:
        """Return for how long nothing is to be done but what a descriptor asks for."""
        now = time.monotonic()
        until = [
            now + TICK,
            self._counters.due,
            self._log.due,
            self._keep_again,
            None if self._notify.period is None else now + self._notify.period,
            None if self._happenings is None else self._happenings.due,
            None if self._server is None else self._server.due(),
            None if self._outlet is None else self._outlet.due,
        ]
        if self._dirty:
            until.append(self._pace.not_before if self._decided else self._began + FIRST)
        return min(due for due in until if due is not None) - now

    def _woke(self) -> None:
        try:
            self._wake.recv(4096)
        except BlockingIOError:
            return
        if signal.SIGHUP in self._signals:
            self._signals.discard(signal.SIGHUP)
            if self._reload is not None:
                self._reload.close()
            elif self._decided:  # before, it has not said that it is ready either
                self._notify.reloading()
            self._reload = Reload(self._options.check_rules())
            if self._outlet is not None:
                self._outlet.reload()

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
                if self._decided:
                    self._notify.say("READY=1")

    def _anew(self) -> None:
        """Ask everything of the driver once more."""
        if self._happenings is not None:
            self._happenings.anew()
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
            self._log.again()

    # --- deciding and telling ----------------------------------------------------------------------------------

    def _may_decide(self) -> bool:
        now = time.monotonic()
        self._dirty |= self._keep_again is not None and now >= self._keep_again
        if not self._decided:
            waited = now >= self._began + FIRST
            return waited or (self._log.past_is_read and self._judge.has_readings)
        return self._dirty and now >= self._pace.not_before

    def _decide(self) -> None:
        began = time.monotonic()
        first, self._decided = not self._decided, True
        self._dirty = False
        for _ in range(3):  # with the open file, with the file opened anew, without it
            with self._judge.open() as memory:
                been_here = self._been is not None
                said = self._judge.decide(memory, self._log.source, self._log.cursor, been_here=been_here)
                if said is not None:
                    self._send(memory.store, said)
                    break
        if said is not None:
            self._show(said)
            if first:
                self._notify.say("READY=1")
            self._look_at_new(said)
        self._pace.decided(began, time.monotonic())

    def _look_at_new(self, said: Json) -> None:
        """What has just opened is worth a look at the counters."""
        opened = {i["fingerprint"] for i in said["incidents"] if i["state"] == "open"}
        if opened - self._known:
            self._counters.ask()
        self._known = opened

    def _show(self, said: Json) -> None:
        count = sum(incident["state"] == "open" for incident in said["incidents"])
        self._notify.status(f"{said['status']}: {count} open incident{'' if count == 1 else 's'}")
        if self._server is not None:
            self._server.show(said, self._log.figures)

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
            self._log.read()
            if self._log.past_is_read:
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
        if self._happenings is not None:
            self._happenings.close()
        self._counters.close()
        self._log.close()
        if self._server is not None:
            self._server.close()
        self._judge.close()
        self._out.close()
        self._wake.close()
        self._woken.close()
