"""The process that sends what is in the queue, apart from whoever fills it, so that no peer holds that one up.

A thread for each target.  It lives as long as its standard input stays open; a
byte there says that there is something new.  On standard output it tells, one
JSON object a line, what people should know.  Only one process sends at a time.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from triage.alert import config
from triage.alert.config import Target
from triage.alert.courier import Courier
from triage.alert.queue import Queue, open_queue
from triage.alert.steps import KINDS, LINGER
from triage.alert.turn import Turn
from triage.history.place import Unavailable

IDLE = 5.0
"""Seconds after which the queue is looked into even if nobody said that it changed."""
PATIENCE = 10.0
"""Seconds for which a target waits for the file."""
DRAIN = 3.0
"""Seconds that the end may take."""
_POLL = 0.1

Tell = Callable[[str, str], None]


class Sender:
    """Sends what is in the queue of a directory to these targets, for as long as it is wanted."""

    def __init__(
        self, directory: Path, targets: Sequence[Target], tell: Tell, clock: Callable[[], float] = time.time
    ) -> None:
        self._directory, self._targets, self._tell, self._clock = directory, targets, tell, clock
        self._wakers = {target.name: threading.Event() for target in targets}
        self._until: float | None = None
        self._threads: list[threading.Thread] = []

    def begin(self, digest: int) -> None:
        """Note which targets there are, and begin to send.

        Raises:
            Unavailable: if the queue cannot be used.
        """
        with open_queue(self._directory, patience=PATIENCE) as queue:
            for notice in queue.notices:
                self._tell("alerts-queue", notice)
            queue.targets([target.name for target in self._targets], digest, self._clock())
        node = os.uname().nodename
        for target in self._targets:
            courier = Courier(target, node, self._clock, self._tell)
            thread = threading.Thread(target=self._work, args=(courier,), name=target.name, daemon=True)
            self._threads.append(thread)
            thread.start()

    def wake(self) -> None:
        """Look into the queue now."""
        for waker in self._wakers.values():
            waker.set()

    def settle(self) -> None:
        """Forget what everybody knows."""
        try:
            with open_queue(self._directory, patience=PATIENCE) as queue:
                forget(queue, self._targets, self._clock())
        except Unavailable as error:
            self._tell("alerts-queue", str(error))

    def finish(self, seconds: float) -> bool:
        """Let what is due still be sent, but no longer than this; whether all of it was."""
        until = time.monotonic() + seconds
        self._until = until
        self.wake()
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def _work(self, courier: Courier) -> None:
        waker, said = self._wakers[courier.target.name], ""
        while True:
            waker.clear()
            try:
                with open_queue(self._directory, patience=PATIENCE) as queue:
                    again = courier.turn(queue)
                    while again > self._clock() and self._until is None:
                        forget(queue, self._targets, self._clock())
                        if waker.wait(min(IDLE, again - self._clock())):
                            waker.clear()
                        again = courier.turn(queue)
            except Exception as error:  # a mistake of ours must not silence a target
                again = self._clock() + IDLE
                says = str(error) if isinstance(error, Unavailable) else f"internal error, {type(error).__name__}"
                if says != said:
                    said = says
                    self._tell("alerts-queue", f"target {courier.target.name}: {says}")
            if self._until is not None:
                pause = again - self._clock()
                if pause > self._until - time.monotonic():
                    return
                time.sleep(max(0.0, pause))
            else:
                waker.wait(max(0.0, min(IDLE, again - self._clock())))


def forget(queue: Queue, targets: Sequence[Target], now: float) -> None:
    """Forget what everybody knows, but not yet what Alertmanager has to hear again."""
    lingering: list[str] = []
    if any(KINDS[target.kind].renews for target in targets):
        lingering = [i.fingerprint for i in queue.incidents() if i.state == "resolved" and now < i.at + LINGER]
    queue.settle(lingering)


def digest_of(path: Path) -> int:
    """Return a number that is another one for another configuration."""
    return int.from_bytes(hashlib.sha256(path.read_bytes()).digest()[:6], "big")


def main(given: Sequence[str]) -> NoReturn:
    """Send until standard input ends: the state directory, and the file that says where to."""
    directory, path = Path(given[0]), Path(given[1])
    # Who stops us closes our input; until then what was put down last is still to be sent.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    try:
        sender = Sender(directory, config.load(path), tell)
        turn = Turn(directory)
        while not turn.take():
            if ended(_POLL):
                os._exit(0)
        sender.begin(digest_of(path))
        while not ended(60.0):
            sender.wake()
        sender.finish(DRAIN)
        sender.settle()
    except Exception as error:  # whoever started us tells it, and starts us again
        tell("alerts-off", f"alerts cannot be sent: {error}".partition("\n")[0])
        os._exit(1)
    os._exit(0)


def ended(seconds: float) -> bool:
    """Wait until there is something new, or so long; whether nobody wants us any more."""
    if not select.select([0], [], [], seconds)[0]:
        return False
    return not os.read(0, 65536)


def tell(what: str, says: str) -> None:
    """Tell whoever started us; if that one does not listen, nobody does."""
    line = json.dumps({"what": what, "says": says}) + "\n"
    with contextlib.suppress(OSError):
        os.write(1, line.encode())


if __name__ == "__main__":
    main(sys.argv[1:])
