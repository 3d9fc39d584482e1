"""Many nodes asked at once, by ClusterShell: so many at a time, each under its own deadline, each heard only so far.

What a node sends is kept up to a bound and judged by nobody here.  A node that
says too much is cut off, and one that closes its output but does not end is not
waited for.  Where a topology names gateways, they pass the question on.
"""

from __future__ import annotations

import contextlib
import logging
import shlex
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ClusterShell.Event import EventHandler
from ClusterShell.NodeSet import NodeSet
from ClusterShell.Task import Task, task_self
from ClusterShell.Topology import TopologyError
from ClusterShell.Worker.EngineClient import EngineClientEOF
from ClusterShell.Worker.Exec import ExecClient, ExecWorker

from probes.named import NamedTuple
from triage.fleet.ways import MOST_OUTPUT, Argv, Raw

MOST_ERRORS = 16 << 10
ENDING = 0.3
"""Seconds that a command may take to end once it has closed its output."""
ABORTING = 0.05
"""Seconds that a command may take to end when it is told to."""
AGAIN = 0.25
"""Seconds after which Ctrl-C is raised once more if it was not heard."""


class Unusable(Exception):
    """The nodes cannot be asked at all; the text says why and what would help."""


class Gateways(NamedTuple):
    """ClusterShell's tree: the file that describes it, the shell command for all nodes, the options of ssh."""

    topology: Path
    command: str
    options: Sequence[str]
    connect: float


def reach(
    nodes: Sequence[str],
    argv: Argv,
    script: bytes,
    *,
    deadline: float,
    fanout: int,
    heard: Callable[[str, Raw], None],
    most: int = MOST_OUTPUT,
    gateways: Gateways | None = None,
) -> None:
    """Run the command for each node, give it the script, and tell what came as soon as a node has ended.

    Every node is told exactly once, unless this is interrupted.

    Args:
        nodes: their names.
        argv: the command for one.
        script: what its standard input gets.
        deadline: seconds for a node, from when it is asked.
        fanout: how many are asked at the same time.
        heard: is called with each node and what came of it.
        most: bytes of a node's output that are kept.
        gateways: the tree through which nodes are reached, None to reach each from here.

    Raises:
        KeyboardInterrupt: after every command was ended.
        Unusable: if the topology is none.
    """
    logging.getLogger("ClusterShell").addHandler(logging.NullHandler())
    logging.getLogger("ClusterShell").propagate = False
    task = task_self()
    for name in ("stdout_msgtree", "stderr_msgtree"):
        task.set_default(name, False)  # or it would keep all that comes a second time
    task.set_info("fanout", fanout)
    listener = _Listener(heard, most)
    if gateways is not None:
        worker = _by_tree(task, nodes, gateways, listener, deadline)
    else:
        worker = _Worker(NodeSet.fromlist(nodes), listener, deadline, command="%h", stderr=True)
        worker.argv, worker.most = argv, most
        task.schedule(worker)
    worker.write(script)
    worker.set_write_eof()
    pressed = _Pressed()
    before = signal.signal(signal.SIGINT, pressed)
    task.timer(AGAIN, pressed, interval=AGAIN, autoclose=True)
    try:
        task.resume()
    except KeyboardInterrupt:
        with contextlib.suppress(Exception):  # its loop was left in the middle; what matters is that the children end
            worker.abort()
        raise
    finally:
        signal.signal(signal.SIGINT, before)
        task.abort()
    listener.rest(nodes, worker)


def _by_tree(task: Task, nodes: Sequence[str], tree: Gateways, listener: _Listener, deadline: float) -> Any:
    task.set_info("ssh_options", shlex.join(tree.options))
    task.set_info("connect_timeout", tree.connect)
    try:
        task.load_topology(str(tree.topology))
    except TopologyError as error:
        raise Unusable(f"{tree.topology}: {' '.join(str(error).split())}; see ClusterShell's topology.conf") from None
    return task.shell(
        tree.command, nodes=NodeSet.fromlist(nodes), handler=listener, timeout=deadline, stderr=True, tree=True
    )


class _Pressed(EventHandler):  # type: ignore[misc]  # ClusterShell carries no types
    """Ctrl-C, raised again until it is heard: raised while a child is started or an object goes it may get lost."""

    def __init__(self) -> None:
        self.once = False

    def __call__(self, _number: int, _frame: object) -> None:
        self.once = True
        raise KeyboardInterrupt

    def ev_timer(self, timer: object) -> None:
        """Raise it once more."""
        if self.once:
            raise KeyboardInterrupt


class _Client(ExecClient):  # type: ignore[misc]
    """The command for one node, heard only so far."""

    seen = 0

    def _build_cmd(self) -> tuple[list[str], None]:
        return list(self.worker.argv(self.key)), None

    def _read(self, sname: str, size: int = 65536) -> bytes:
        if self.seen > self.worker.most:
            self.worker.eh.too_much.add(self.key)
            self.popen.kill()
            raise EngineClientEOF
        data: bytes = super()._read(sname, size)
        self.seen += len(data)
        return data

    def _readlines(self, sname: str) -> Any:
        yield self._read(sname)  # in pieces as they come: a line may be as long as its node likes

    def _close(self, abort: bool, timeout: bool) -> None:
        if self.popen.poll() is None:
            heard = self.worker.eh
            (heard.late if timeout else heard.dropped if abort else heard.lingering).add(self.key)
            if abort:
                self.popen.terminate()  # so that srun can take its job away
            until = time.monotonic() + (ABORTING if abort else ENDING)
            while self.popen.poll() is None and time.monotonic() < until:
                time.sleep(0.005)
        if self.popen.poll() is None:
            self.popen.kill()
        super()._close(abort, timeout)


class _Worker(ExecWorker):  # type: ignore[misc]
    SHELL_CLASS = _Client
    argv: Argv
    most: int

    def _on_node_timeout(self, node: str) -> None:
        super()._on_node_timeout(node)
        self.eh.end(node, None)


class _Heard:
    def __init__(self) -> None:
        self.began = time.monotonic()
        self.output: list[bytes] = []
        self.size = 0
        self.errors = b""


class _Listener(EventHandler):  # type: ignore[misc]
    """Gathers what each node says, and tells it when the node has ended."""

    def __init__(self, told: Callable[[str, Raw], None], most: int) -> None:
        self._told = told
        self._most = most
        self._open: dict[str, _Heard] = {}
        self._ended: set[str] = set()
        self.too_much: set[str] = set()
        self.late: set[str] = set()
        self.lingering: set[str] = set()  # they closed their output and did not end
        self.dropped: set[str] = set()  # they were ended because somebody pressed Ctrl-C

    def ev_pickup(self, worker: Any, node: str) -> None:
        """The command for a node has been started."""
        self._open[node] = _Heard()

    def ev_read(self, worker: Any, node: str, sname: str, msg: bytes) -> None:
        """A node said something."""
        heard = self._open.setdefault(node, _Heard())
        # By a tree it comes in lines without their ends; from here in pieces, and then nothing may be put in between.
        piece = bytes(msg) if isinstance(worker, _Worker) else bytes(msg) + b"\n"
        if sname == "stderr":
            heard.errors = (heard.errors + piece)[-MOST_ERRORS:]
            return
        heard.size += len(piece)
        if heard.size > self._most:
            self.too_much.add(node)
            heard.output.clear()
        else:
            heard.output.append(piece)

    def ev_hup(self, worker: Any, node: str, rc: int) -> None:
        """The command for a node has ended."""
        self.end(node, rc)

    def end(self, node: str, status: int | None) -> None:
        """Tell what came from a node, once."""
        if node in self.dropped or node in self._ended:
            return
        self._ended.add(node)
        heard = self._open.pop(node, None) or _Heard()
        took = time.monotonic() - heard.began
        output = b"" if node in self.too_much else b"".join(heard.output)
        if node in self.late or node in self.lingering:
            status = None  # what is left of it is how it was killed
        self._told(node, Raw(output, heard.errors, status, node in self.late, node in self.too_much, took))

    def rest(self, nodes: Sequence[str], worker: Any) -> None:
        """Tell the nodes of which nothing was told: those of a gateway that timed out or was not reached."""
        self.late |= {str(node) for keys in worker.iter_keys_timeout() for node in NodeSet(str(keys))}
        for node in nodes:
            self.end(node, None)
