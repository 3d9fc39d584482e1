"""A message through Apprise, in a process of its own: foreign code, bounded in time, memory and where it connects.

What it is to send comes by standard input, for words of a command and the
environment can be seen by others.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

from triage.alert.post import Outcome, forbidden

Json = dict[str, Any]

MOST_MEMORY = 512 << 20
"""Bytes of address space: what a peer answers without end is not kept."""
GRACE = 5.0
"""Seconds beyond its time-outs after which it is killed."""
MISSING = "Apprise is not installed: python3 -m pip install 'gpu-triage[alert]'"
_START = "from triage.alert.by_apprise import main; main()"
_TAKEN, _NOT_TAKEN, _REFUSED, _MISSING = 0, 11, 12, 13
_ANSWERS = {
    _TAKEN: Outcome(taken=True, reached=True),
    _NOT_TAKEN: Outcome(why="Apprise could not deliver it", reached=True),
    _REFUSED: Outcome(refused=True, why="Apprise does not know such an address"),
    _MISSING: Outcome(refused=True, why=MISSING),
}


def send(url: str, message: Json, timeout: float, *, allow_link_local: bool) -> Outcome:
    """Send title and text to an address of Apprise, and say what became of it."""
    path = os.pathsep.join(os.path.abspath(entry) for entry in sys.path if entry)
    told = json.dumps({**message, "url": url, "timeout": timeout, "allow_link_local": allow_link_local}).encode()
    try:
        done = subprocess.run(
            [sys.executable, "-c", _START],
            input=told,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": path},
            cwd="/",
            start_new_session=True,
            timeout=timeout + GRACE,
        )
    except subprocess.TimeoutExpired:
        return Outcome(why=f"Apprise did not end within {timeout + GRACE:g} s", reached=True)
    except OSError as error:
        return Outcome(why=f"Apprise could not be started: {(error.strerror or '').lower()}")
    return _ANSWERS.get(done.returncode, Outcome(why=f"Apprise failed ({done.returncode})", reached=True))


def main() -> None:
    """Send what standard input says; the exit code tells what became of it."""
    import resource
    import signal

    resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, MOST_MEMORY))
    told = json.load(sys.stdin.buffer)
    signal.alarm(int(told["timeout"] + GRACE) + 1)  # should whoever waits for us be gone by then
    if not told["allow_link_local"]:
        sys.addaudithook(_look)
    try:
        import apprise
    except ImportError:
        sys.exit(_MISSING)
    notifier = apprise.Apprise()
    url = told["url"]
    bounds = f"cto={told['timeout'] / 2:g}&rto={told['timeout'] / 2:g}&redirect=no"
    if not notifier.add(f"{url}{'&' if '?' in url else '?'}{bounds}"):
        sys.exit(_REFUSED)
    # text: whoever shows it must not take what a log says for markup.
    taken = notifier.notify(
        title=told["title"], body=told["body"], notify_type=told["type"], body_format=apprise.NotifyFormat.TEXT
    )
    sys.stdout.flush()
    os._exit(_TAKEN if taken else _NOT_TAKEN)


def _look(event: str, args: tuple[Any, ...]) -> None:
    """Refuse to connect to addresses that nothing is sent to."""
    if event == "socket.connect" and isinstance(args[1], tuple) and forbidden(str(args[1][0])):
        raise ConnectionRefusedError("an address of the own link or of a metadata service")
