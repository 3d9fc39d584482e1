"""How quickly the screens answer: a fleet of 10,000 nodes with 8 GPUs, and a log of 2 GB; beside a plain DataTable.

The program runs in a pseudo-terminal of its own, as on a person's screen; what
is timed is from a key (or from the start of the process) to the bytes that show
what it did.  While keys are pressed, a new picture of the fleet lands every 5
seconds.  The DataTable shows the same rows in the same columns, and is filled
anew when a picture lands, which is how it is meant to be used.

    python benchmarks/bench_tui.py [--nodes N] [--log-mib MIB] [--seconds S]
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import json
import os
import pty
import re
import select
import signal
import sqlite3
import statistics
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from tui.fleet import picture

ROOT = Path(__file__).parent.parent
FIGURES = (
    ("first paint", "s", 2),
    ("key to echo, median", "ms", 1),
    ("key to echo, p99", "ms", 1),
    ("slowest key", "ms", 1),
    ("memory", "MiB", 0),
)
SIZE = (200, 50)
LANDING = 5.0
NEEDED = {"first paint": 1.0, "key to echo, p99": 0.050, "memory": 300.0, "log: first screen": 1.0, "next Xid": 0.200}
ESCAPES = re.compile(rb"\x1b\[[0-9;?]*[a-zA-Z]|\x1b[()][A-Z0-9]|\x1b.")


class Terminal:
    """A program in a pseudo-terminal; what it wrote since the last look, without its escapes."""

    def __init__(self, words: Sequence[str], environ: dict[str, str]) -> None:
        self.started = time.perf_counter()
        parent, child = pty.openpty()
        fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", SIZE[1], SIZE[0], 0, 0))
        self.process = subprocess.Popen(
            [sys.executable, *words], stdin=child, stdout=child, stderr=child, cwd=ROOT, start_new_session=True,
            env={**os.environ, "TERM": "xterm-256color", "NO_COLOR": "1", "LC_ALL": "C.UTF-8"} | environ,
        )  # fmt: skip
        os.close(child)
        self._fd = parent
        self._raw = b""

    @property
    def seen(self) -> bytes:
        """What was written since the last key, without escapes."""
        return ESCAPES.sub(b"", self._raw)

    def press(self, keys: str) -> float:
        """Press keys and return when."""
        self._raw = b""
        at = time.perf_counter()
        os.write(self._fd, keys.encode())
        return at

    def until(self, wanted: bytes, limit: float = 60.0) -> float:
        """Read until this stands in what is written, and return when it did."""
        end = time.perf_counter() + limit
        while True:
            left = end - time.perf_counter()
            if left <= 0:
                raise SystemExit(f"never seen: {wanted!r}\n{self.seen[-2000:]!r}")
            if select.select([self._fd], [], [], left)[0]:
                self._raw += os.read(self._fd, 1 << 16)
                at = time.perf_counter()
                if wanted in self.seen:
                    return at

    def drain(self) -> None:
        """Read what is there."""
        while select.select([self._fd], [], [], 0.05)[0]:
            os.read(self._fd, 1 << 16)

    @property
    def memory(self) -> float:
        """The most memory that the process itself held, in MiB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+)", status)[1]) / 1024  # type: ignore[index]

    def close(self) -> None:
        with contextlib.suppress(OSError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        os.close(self._fd)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--nodes", type=int, default=10_000)
    parser.add_argument("--log-mib", type=int, default=2048)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--show", choices=("table", "plain"))
    parser.add_argument("--store", action="append", type=Path, default=[])
    args = parser.parse_args()
    if args.show:
        (show_fleet if args.show == "table" else show_plain)(args.store)
        return
    with tempfile.TemporaryDirectory() as folder:
        stores = make_stores(Path(folder), args.nodes)
        print(f"a fleet of {args.nodes:,} nodes, 8 GPUs each; a new picture lands every {LANDING:g} s")
        print("  (ours is timed to the line that says where the cursor is, a DataTable to the first byte of an answer)")
        ours = fleet("table", stores, args.seconds, args.nodes)
        plain = fleet("plain", stores, args.seconds, args.nodes)
        for name, unit, places in FIGURES:
            scale = 1000.0 if unit == "ms" else 1.0
            tell(name, ours[name], plain[name], unit, places, scale)
        log(Path(folder), args.log_mib)


def tell(name: str, ours: float, plain: float | None, unit: str, places: int, scale: float) -> None:
    """Print a figure, beside the plain one, and whether it is what is needed."""
    needed = NEEDED.get(name)
    met = "" if needed is None else f"  (needed: {needed * scale:g} {unit}: {'met' if ours <= needed else 'NOT MET'})"
    beside = "" if plain is None else f"  DataTable {plain * scale:9,.{places}f} {unit}, {plain / ours:6.1f} times ours"
    print(f"  {name:<22} {ours * scale:9,.{places}f} {unit}{beside}{met}")


def make_stores(folder: Path, nodes: int) -> list[Path]:
    """Write two pictures of a generated fleet that differ in which nodes are worst."""
    from tests.generated_fleet import SWEEPS, fleet
    from tests.triage.fleet.places import DAY, rulebook
    from tui.fleet.sweep import put

    made = fleet(nodes)
    well = {"gpu.responsive": 1.0}
    answers = [
        answer._replace(gpus=tuple(part._replace(numbers=well, facts={**part.facts, "gpu.state": "ok"})
                                   for part in answer.gpus))
        for answer in made.answers
    ]  # fmt: skip
    last, before = SWEEPS[-1] * DAY, SWEEPS[-2] * DAY
    stores = []
    for name, until in (("first", last), ("second", before)):
        own = [answer for answer in answers if (answer.at or 0.0) <= until]
        paths = [f"{answer.node}.tar.gz" for answer in own]
        began = time.perf_counter()
        put(folder / f"{name}.db", own, paths, [], rulebook(), made.places, last, "bench")
        print(
            f"the picture of {len(own):,} answers took {time.perf_counter() - began:.1f} s to make (in a child process)"
        )
        stores.append(folder / f"{name}.db")
    _order_alike(*stores)
    return stores


def _order_alike(first: Path, second: Path) -> None:
    """Put the nodes of the second picture in the order of the first, so that it is known where a key leads."""
    known = picture.load(first)
    assert known is not None
    with contextlib.closing(sqlite3.connect(second)) as db, db:
        rows = {json.loads(body)[0]: body for (body,) in db.execute("SELECT body FROM row WHERE kind = 'node'")}
        db.execute("DELETE FROM row WHERE kind = 'node'")
        # A node that vanished from the fleet in between is in the first alone.
        ordered = ((place, rows.get(row.node) or json.dumps(row)) for place, row in enumerate(known.nodes))
        db.executemany("INSERT INTO row VALUES('node', ?, ?, NULL)", ordered)


def fleet(kind: str, stores: Sequence[Path], seconds: float, nodes: int) -> dict[str, float]:
    """Open a list of nodes, press keys for a while, and return what was measured."""
    words = [__file__, "--show", kind, *(word for store in stores for word in ("--store", str(store)))]
    terminal = Terminal(words, {"PYTHONPATH": str(ROOT)})
    try:
        paint = terminal.until(b"gpu0") - terminal.started
        known = picture.load(stores[0])
        shown = nodes if known is None else len(known.nodes)  # some vanished before the last sweep
        terminal.until(f"{shown:,}".encode() if kind == "table" else b"gpu0", 60.0)
        if kind == "table":
            terminal.press("n")
        time.sleep(2.0)  # until all of the first paint is out
        terminal.drain()
        times, place, end = [], 1, time.perf_counter() + seconds
        while time.perf_counter() < end:
            place += 1
            at = terminal.press("\x1b[B")
            # The heading says where the cursor is; of a DataTable the first answer counts, whatever it is.
            echo = f"at {place:,} ".encode() if kind == "table" else b""
            times.append(terminal.until(echo, 30.0) - at)
            time.sleep(0.03)
        times.sort()
        return {
            "first paint": paint,
            "key to echo, median": statistics.median(times),
            "key to echo, p99": times[int(len(times) * 0.99)],
            "slowest key": times[-1],
            "memory": terminal.memory,
        }
    finally:
        terminal.close()


def show_fleet(stores: Sequence[Path]) -> None:
    """Show the fleet's own screen on pictures that land one after another."""
    from triage.cli.reports import load_rulebook
    from tui.fleet.picture import Picture
    from tui.fleet.source import FleetSource
    from tui.look import Look
    from tui.run import run
    from tui.source import Failed

    class Landing(FleetSource):
        """Loads the pictures in turn, as a sweep that ends every few seconds would have them loaded."""

        def snapshots(self, stop: threading.Event, again: threading.Event) -> Iterator[Picture | Failed]:
            turn = 0
            while not stop.is_set():
                found = picture.load(stores[turn % len(stores)])
                assert found is not None
                yield found
                turn += 1
                stop.wait(LANDING)

    with tempfile.TemporaryDirectory() as folder:
        run(Landing([str(ROOT)], Path(folder)), Look("plain", True), lambda: load_rulebook(None))


def show_plain(stores: Sequence[Path]) -> None:
    """Show the same rows in a DataTable, filled anew when a picture lands."""
    from textual.app import App
    from textual.widgets import DataTable

    from tui.fleet.lists import NODES, Nodes

    class Plain(App[None]):
        def compose(self):  # type: ignore[no-untyped-def]
            yield DataTable(cursor_type="row")

        def on_mount(self) -> None:
            self.turn = 0
            table = self.query_one(DataTable)
            for column in NODES:
                table.add_column(column.title, width=column.width or 40)
            self.land()
            self.set_interval(LANDING, self.land)
            table.focus()

        def land(self) -> None:
            found = picture.load(stores[self.turn % len(stores)])
            assert found is not None
            self.turn += 1
            rows = Nodes(found, time.time)
            table = self.query_one(DataTable)
            place = table.cursor_row
            table.clear()
            table.add_rows([text for _, text in rows.row(number).cells] for number in range(len(rows)))
            table.move_cursor(row=place)

    Plain().run()


def log(folder: Path, mib: int) -> None:
    """Open a large log, and go from Xid to Xid."""
    from benchmarks.bench_scan import make

    path, part = folder / "kern.log", folder / "part.log"
    make(part, 16 << 20, 0.0, "syslog")
    piece = part.read_bytes()
    xid = b"Nov 28 23:59:59 node17 kernel: [999999.000001] NVRM: Xid (PCI:0000:4e:00): 79, pid=1, GPU has fallen off.\n"
    copies = max(1, (mib << 20) // len(piece))
    rows: list[int] = []
    lines = piece.count(b"\n")
    with path.open("wb") as file:
        for number in range(copies):
            file.write(piece)
            if number in (0, copies // 2, copies - 1):
                rows.append((number + 1) * lines + len(rows) + 1)
                file.write(xid)
    print(f"a log of {path.stat().st_size / 2**30:.2f} GiB, {copies * lines:,} lines, {len(rows)} Xids")
    terminal = Terminal(["-m", "triage", "tui", str(path)], {"PYTHONPATH": str(ROOT)})
    try:
        terminal.until(b"can be looked at: l")
        opened = terminal.until(b"? help") - terminal.started if b"? help" not in terminal.seen else 0.0
        at = terminal.press("l")
        first = terminal.until(b"line 1, ") - at
        tell("log: first screen", first, None, "s", 2, 1.0)
        at = terminal.press("G")
        print(f"  (the node's screen stood after {opened:.2f} s; the last line, which needs the whole index, after "
              f"{terminal.until(f'line {copies * lines + len(rows):,}'.encode()) - at:.1f} s)")  # fmt: skip
        terminal.press("g")
        terminal.until(b"line 1, ")
        times = []
        for key, row in (*(("x", row) for row in rows), *(("X", row) for row in reversed(rows[:-1]))):
            at = terminal.press(key)
            times.append(terminal.until(f"line {row:,}, ".encode()) - at)
        tell("next Xid", max(times), None, "ms", 0, 1000.0)
        tell("memory", terminal.memory, None, "MiB", 0, 1.0)
    finally:
        terminal.close()


if __name__ == "__main__":
    main()
