"""What a service tells systemd about itself: sd_notify(3), a datagram to the socket that NOTIFY_SOCKET names.

Nothing here fails or waits: without systemd it does nothing.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import MutableMapping

MOST = 16
"""Messages that are kept for a manager that does not read."""


class Notify:
    """The service manager, if one listens.  Children do not inherit its address."""

    def __init__(self, environment: MutableMapping[str, str] = os.environ) -> None:
        """Take the address and the watchdog's time from the environment."""
        address = environment.pop("NOTIFY_SOCKET", "")
        pid = environment.pop("WATCHDOG_PID", "")
        micros = environment.pop("WATCHDOG_USEC", "")
        mine = not pid or pid == str(os.getpid())
        self.period = int(micros) / 2e6 if micros.isdecimal() and int(micros) and mine else None
        """Seconds between two signs of life: half of what the watchdog waits; None if there is none."""
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) if address else None
        if self._socket is not None:
            self._socket.setblocking(False)
        self._due = 0.0
        self._status = ""
        self._unsaid: list[bytes] = []

    def say(self, *words: str) -> None:
        """Send assignments such as `READY=1`; what finds the queue full is sent with the next sign of life."""
        if self._socket is not None:
            self._unsaid = [*self._unsaid[1 - MOST :], "\n".join(words).encode()]
            self._send()

    def status(self, text: str) -> None:
        """Show one line in `systemctl status`, if it is another than before."""
        text = " ".join(text.split())[:200]
        if text != self._status:
            self._status = text
            self.say(f"STATUS={text}")

    def reloading(self) -> None:
        """Say that what it goes by is read anew; `READY=1` says that it is done."""
        micros = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self.say("RELOADING=1", f"MONOTONIC_USEC={micros}")

    def alive(self) -> None:
        """Give a sign of life, when one is due."""
        self._send()
        if self.period is not None and time.monotonic() >= self._due and not self._unsaid:
            self._due = time.monotonic() + self.period
            self.say("WATCHDOG=1")

    def close(self) -> None:
        """Say that it stops, and nothing more."""
        self.say("STOPPING=1")
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _send(self) -> None:
        while self._unsaid and self._socket is not None:
            try:
                self._socket.sendto(self._unsaid[0], self._address)
            except BlockingIOError:
                return
            except OSError:  # it went away
                self._unsaid.clear()
                return
            del self._unsaid[0]
