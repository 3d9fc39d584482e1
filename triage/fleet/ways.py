"""How one node is asked: the command that runs here for it, by ssh or by srun, and what its failure means.

Host keys are always checked, and no password is ever asked for.  What a node
says when it fails is data: it is looked at for what failed and shown cleaned.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence

from probes.carry import BEGIN, END, FAILED
from probes.named import NamedTuple
from triage.fleet import model

SSH = "ssh"
SLURM = "slurm"

Argv = Callable[[str], Sequence[str]]
"""The command for a node."""

NODE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:-]{0,252}\Z")
"""What may be a node: never an option of ssh or srun, nor a path."""

MOST_OUTPUT = 48 << 20
"""Bytes of a node that are kept: a capture of the largest kernel log that travels, in base64, and room."""

SLURM_MARGIN = 2.0
"""Seconds before the deadline at which srun is told to end, so that it can take its job away."""

_SSH_OPTIONS = (
    "-T", "-a", "-x", "-oBatchMode=yes", "-oStrictHostKeyChecking=yes", "-oNumberOfPasswordPrompts=0",
    "-oClearAllForwardings=yes", "-oPermitLocalCommand=no", "-oUpdateHostKeys=no", "-oRequestTTY=no",
)  # fmt: skip


class Raw(NamedTuple):
    """What came from a node: `status` is the exit status of the command for it, None if there is none."""

    output: bytes
    errors: bytes
    status: int | None
    timed_out: bool
    too_much: bool
    took: float


class Asked(NamedTuple):
    """What is run on a node.

    `seconds` is what the probes may take there, `python` the interpreter that
    runs them; `installed` says that a gpu-triage that stands there is asked first.
    """

    seconds: float
    python: str = "python3"
    installed: bool = True


def remote(asked: Asked) -> str:
    """Return the shell command of a node: a gpu-triage that is installed there, else its Python with our probes.

    It is one line of plain sh that any login shell can pass on: no quote, no exclamation mark within.
    """
    tool = (
        f"if command -v gpu-triage >/dev/null 2>&1 && command -v base64 >/dev/null 2>&1; then echo {BEGIN}; "
        f"gpu-triage collect -o - --deadline {asked.seconds:g} </dev/null | base64; echo {END}; exit 0; fi; "
    )
    return (
        f"sh -c '{tool if asked.installed else ''}"
        f"command -v {asked.python} >/dev/null 2>&1 || {{ echo {FAILED} no-python; exit 0; }}; "
        f"exec {asked.python} -I -'"
    )


def ssh_options(connect: float, *, config: str | None = None, user: str | None = None) -> list[str]:
    """Return the options of ssh, those that keep it safe first: the first value of an option is the one that counts."""
    words = [*_SSH_OPTIONS, f"-oConnectTimeout={max(1, math.ceil(connect))}"]
    if config is not None:
        words += ["-F", config]
    if user is not None:
        words += ["-l", user]
    return words


def ssh(command: str, options: Sequence[str]) -> Argv:
    """Return how ssh is called for a node."""
    return lambda node: ["ssh", *options, "--", node, command]


def srun(command: str, deadline: float, *, partition: str | None = None) -> Argv:
    """Return how srun is called for a node: a job of its own, which takes one processor and is not waited for long."""
    patience = max(1, math.floor(deadline / 3))
    words = [
        "timeout", "--signal=TERM", "--kill-after=1", f"{max(1.0, deadline - SLURM_MARGIN):g}",
        "srun", "--quiet", "--ntasks=1", "--nodes=1", "--cpus-per-task=1", "--mem=0", "--job-name=gpu-triage-sweep",
        f"--immediate={patience}", f"--time={max(1, math.ceil(deadline / 60))}", "--unbuffered", "--input=0",
        *([f"--partition={partition}"] if partition is not None else []),
    ]  # fmt: skip
    return lambda node: [*words, f"--nodelist={node}", "sh", "-c", command]


_MEANINGS: tuple[tuple[str, str, str], ...] = (
    (
        r"REMOTE HOST IDENTIFICATION HAS CHANGED|[Hh]ost key for \S+ has changed",
        model.HOST_KEY,
        "its host key is not the known one; find out why before you trust it, then: ssh-keygen -R NODE",
    ),
    (
        r"Host key verification failed|No \S+ host key is known",
        model.HOST_KEY,
        "its host key is not known; add it to known_hosts once it is verified",
    ),
    (
        r"Permission denied|Too many authentication failures",
        model.REFUSED,
        "ssh: permission denied; is your key there?",
    ),
    (r"Could not resolve hostname", model.UNREACHABLE, "its name cannot be resolved"),
    (r"during banner exchange", model.TIMED_OUT, "it takes connections, but its sshd says nothing"),
    (r"[Tt]imed out", model.UNREACHABLE, "ssh: the connection timed out"),
    (r"Connection refused", model.UNREACHABLE, "ssh: connection refused"),
    (r"No route to host|Network is unreachable", model.UNREACHABLE, "ssh: no route to it"),
    (r"Connection (closed|reset)|kex_exchange_identification", model.UNREACHABLE, "ssh: it closed the connection"),
    (
        r"Unable to allocate resources|Requested nodes are busy|nodes required for job are DOWN",
        model.REFUSED,
        "Slurm gave no place on it in time: it is busy, down or drained; try --via ssh",
    ),
    (r"Unable to contact slurm controller|slurm_load", model.UNREACHABLE, "the Slurm controller does not answer"),
    (r"Invalid node name|[Ii]nvalid partition", model.REFUSED, "Slurm does not know it in this partition"),
)
_TABLE = [(re.compile(pattern), state, reason) for pattern, state, reason in _MEANINGS]
MOST_ERRORS = 4096
"""Bytes of what a command says on standard error that are looked at."""


def meaning(errors: bytes) -> tuple[str, str] | None:
    """Return what became of the question to a node if ssh or srun said it, None if it said nothing that is known."""
    said = errors[-MOST_ERRORS:].decode("utf-8", "replace")
    return next(((state, reason) for pattern, state, reason in _TABLE if pattern.search(said)), None)
