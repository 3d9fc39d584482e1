"""What Slurm says of nodes, and the two things it can be told: take a node out (drain), take it back (resume).

Every question ends: a controller that is down keeps its clients for seconds.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Sequence

from probes.named import NamedTuple
from triage.fleet.names import fold
from triage.render.safe import safe

PATIENCE = 20.0
"""Seconds for a question; a client gives up on a controller that is down after nine."""
MARK = "gpu-triage:"
"""How the reasons begin that this program gives, and by which it knows its own."""
MOST_REASON = 200
_STARTS = ("idle", "mixed", "allocated", "completing", "planned")
"""States in which Slurm starts a job, once there is room."""


class Unusable(Exception):
    """Slurm cannot be asked; the text says why and what would help."""


class State(NamedTuple):
    """What Slurm says of a node: its state (`idle`, `drained`, `down*` ...) and the reason somebody gave for it."""

    node: str
    state: str
    reason: str

    @property
    def starts(self) -> bool:
        """Whether a job can start on it."""
        return self.state.rstrip("+") in _STARTS  # any other mark (* ~ # ! % $ @ ^ -) says that it does not, or not yet


def states(*, partition: str | None = None, nodes: str | None = None) -> list[State]:
    """Return the state of each node of a partition or a set, in Slurm's order.

    Raises:
        Unusable: if Slurm does not tell, or knows none of them.
    """
    words = ["sinfo", "--noheader", "--Node", "--format=%N|%T|%E"]
    words += [f"--partition={partition}"] if partition is not None else []
    words += [f"--nodes={nodes}"] if nodes is not None else []
    found: dict[str, State] = {}
    for line in run(words).splitlines():
        node, state, reason = (*line.split("|", 2), "", "")[:3]
        if node.strip() and state:
            found.setdefault(node.strip(), State(node.strip(), state.strip(), "" if reason == "none" else reason))
    if not found:
        raise Unusable(f"Slurm has no node in {partition or nodes}; see sinfo")
    return list(found.values())


def drain_commands(nodes: Iterable[str], reason: str) -> list[list[str]]:
    """Return the commands that take nodes out; jobs on them end first."""
    why = f"Reason={MARK} {reason}"[: MOST_REASON + 7]
    return [["scontrol", "update", f"NodeName={fold(nodes)}", "State=DRAIN", why]]


def resume_commands(nodes: Iterable[str]) -> list[list[str]]:
    """Return the commands that take nodes back."""
    return [["scontrol", "update", f"NodeName={fold(nodes)}", "State=RESUME"]]


def carry_out(words: Sequence[str]) -> None:
    """Run one of these commands.

    Raises:
        Unusable: if Slurm refuses.
    """
    run(words)


def run(words: Sequence[str], *, where: str = "Slurm's commands are", asks: str = "does slurmctld run?") -> str:
    """Run a command of a scheduler and return what it printed.

    Raises:
        Unusable: if it is not there, does not end, or fails.
    """
    try:
        done = subprocess.run(
            words, stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE, errors="replace", check=False
        )
    except FileNotFoundError:
        raise Unusable(f"{words[0]} is not installed here; run this where {where}") from None
    except OSError as error:
        raise Unusable(f"{words[0]}: {error.strerror or error}") from None
    except subprocess.TimeoutExpired:
        raise Unusable(f"{words[0]} did not end within {PATIENCE:.0f} seconds; {asks}") from None
    if done.returncode != 0:
        said = safe(" ".join(done.stderr.split()))[:300] or f"exit {done.returncode}"
        raise Unusable(f"{words[0]}: {said}")
    return done.stdout
