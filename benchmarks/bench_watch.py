"""How soon a line of the kernel log is an incident on standard output, and what a watch costs while nothing happens.

Lines are written to the real /dev/kmsg (root only) of this machine, on whose
eight GPUs (tests/fake_nvml, real binary interface) nothing else happens.  Each
opens an incident of its own.  A node has few GPUs, so a watch gets so many lines,
then the ring is filled with plain ones and a fresh watch takes its place.  The time is that from before the write
until the whole line of the incident was read from the pipe.

Idle: processor time and memory of the watch and all its children together (RSS,
and PSS, which counts what they share once), NVML's events and counters included.

With --beside PROGRAM, the path of nvitop-exporter, that polls the same GPUs at the same time
and as often; what a poll costs each is told.  The watch reads some 1,700 values of 8 GPUs each time, and judges them.

With --alert, alerts go to somebody who takes connections and never says a word, and to somebody who is not there;
the process that sends them counts as a child.

    python benchmarks/bench_watch.py [--lines N] [--idle SECONDS] [--alert] [--beside PROGRAM] [--strict]
"""

from __future__ import annotations

import argparse
import json
import os
import random
import select
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests import kernel_ring  # noqa: E402
from tests.fake_nvml import Scenario, build  # noqa: E402

KMSG = "/dev/kmsg"
EACH = 8
"""Lines that one watch gets: one for each GPU of a node."""
GPUS = 8
POLL = 5.0
"""Seconds between two polls of the watch and of its peer, where they are compared."""
TARGET_P99 = 0.1
TARGET_CORE = 0.005
TARGET_RSS = 60 << 10
_TICKS = os.sysconf("SC_CLK_TCK")


def main() -> int:
    parsed = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parsed.add_argument("--lines", type=int, default=500)
    parsed.add_argument("--idle", type=float, default=180.0)
    parsed.add_argument("--alert", action="store_true", help="alert somebody who never answers")
    parsed.add_argument("--beside", metavar="PROGRAM", default=shutil.which("nvitop-exporter"))
    parsed.add_argument("--strict", action="store_true", help="exit 1 if a target is missed")
    args = parsed.parse_args()
    if not os.access(KMSG, os.R_OK | os.W_OK):
        print(f"{KMSG} cannot be read and written here; run it as root of a machine with a kernel log", file=sys.stderr)
        return 2
    missed = False
    with tempfile.TemporaryDirectory(prefix="bench-watch-") as scratch:
        folder = Path(scratch)
        env = Scenario(folder / "scenario", GPUS).env(build(folder / "lib"))
        # A driver sleeps until something happens; the fake one otherwise looks a hundred times a second.
        env["FAKE_NVML_EVENT_TICK_MS"] = "1000"
        silent = socket.create_server(("127.0.0.1", 0), backlog=128)
        env["GPU_TRIAGE_ALERTS"] = str(alerts(folder, silent.getsockname()[1])) if args.alert else ""
        delays: list[float] = []
        while len(delays) < args.lines:
            delays += latencies(folder / f"state-{len(delays)}", env, min(EACH, args.lines - len(delays)))
        if delays:
            ranked = sorted(delays)
            p99 = ranked[min(len(ranked) - 1, int(len(ranked) * 0.99))]
            missed |= p99 > TARGET_P99
            figures = (statistics.median(delays), ranked[int(len(ranked) * 0.95)], p99, ranked[-1])
            median, most, nearly_all, worst = (f"{figure * 1000:.1f} ms" for figure in figures)
            print(f"{len(delays)} lines: median {median}, p95 {most}, p99 {nearly_all}, worst {worst}")
        if args.idle:
            core, *kib = idle(folder / "state-idle", env, args.idle)
            missed |= core > TARGET_CORE or kib[0] > TARGET_RSS
            rss, all_rss, all_pss = (f"{size / 1024:.1f} MiB" for size in kib)
            print(f"idle for {args.idle:.0f} s with {GPUS} GPUs: {core * 100:.2f} % of a core")
            print(f"  RSS {rss}, with children {all_rss}, PSS of all {all_pss}")
        silent.close()
        if args.idle:
            beside(folder / "state-beside", env, args.beside, args.idle)
    return 1 if missed and args.strict else 0


def alerts(folder: Path, port: int) -> Path:
    """Write down whom to alert: one who says nothing, one who is not there."""
    (folder / "key").write_text("no secret")
    path = folder / "alerts.yaml"
    hook = f"webhook: {{url: 'http://127.0.0.1:%d/', secret: {{file: {folder / 'key'}}}}}"
    path.write_text(f"targets:\n  - {{name: silent, {hook % port}}}\n  - {{name: away, {hook % 9}}}\n")
    return path


def started(state: Path, env: dict[str, str]) -> subprocess.Popen[bytes]:
    words = [sys.executable, "-m", "triage", "watch", "--state-dir", str(state)]
    return subprocess.Popen(words, env={**os.environ, **env}, cwd=ROOT, stdout=subprocess.PIPE)


def latencies(state: Path, env: dict[str, str], lines: int) -> list[float]:
    """Let one watch see so many lines; return how long each took."""
    kernel_ring.flush()
    process = started(state, env)
    assert process.stdout is not None
    out = process.stdout.fileno()
    rest = b""
    found = []
    time.sleep(1.2)
    try:
        for _ in range(lines):
            pci = f"{random.randrange(0x1000, 0xFFFF):04x}:{random.randrange(256):02x}:{random.randrange(32):02x}"
            text = f"<3>NVRM: Xid (PCI:{pci}): 79, pid=811, name=python, GPU has fallen off the bus.\n".encode()
            kmsg = os.open(KMSG, os.O_WRONLY)
            began = time.monotonic()
            os.write(kmsg, text)
            os.close(kmsg)
            wanted = pci.encode()
            while True:
                if not select.select([out], [], [], 10.0)[0]:
                    raise SystemExit(f"no incident of {pci} within 10 s")
                *whole, rest = (rest + os.read(out, 1 << 16)).split(b"\n")
                if any(b'"event":"open"' in line and wanted in line for line in whole):
                    break
            found.append(time.monotonic() - began)
            time.sleep(random.uniform(0.05, 0.25))
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
    return found


def idle(state: Path, env: dict[str, str], seconds: float) -> tuple[float, int, int, int]:
    """Let a watch do nothing; return its share of a core, and KiB: its RSS, that with its children, and their PSS."""
    kernel_ring.flush()
    process = started(state, env)
    assert process.stdout is not None
    time.sleep(5)
    before, began = used(process.pid), time.monotonic()
    rss: list[tuple[int, int, int]] = []
    while time.monotonic() < began + seconds:
        time.sleep(1.0)
        rss.append(memory(process.pid))
    share = (used(process.pid) - before) / (time.monotonic() - began)
    process.terminate()
    lines = process.stdout.read().splitlines()
    process.stdout.close()
    if process.wait() != 0 or json.loads(lines[-1])["kind"] != "end":
        raise SystemExit("the idle watch did not end well")
    return share, *(max(values) for values in zip(*rss, strict=True))


def beside(state: Path, env: dict[str, str], program: str | None, seconds: float) -> None:
    """Let a watch and a public exporter poll the same GPUs as often, and print what a poll costs each of them."""
    if program is None or not os.access(program, os.X_OK):
        print("NOT COMPARED: nvitop-exporter is not installed (pip install nvitop-exporter; --beside PATH)")
        return
    port = free_port()
    silent = state.with_name("kmsg")
    os.mkfifo(silent)
    held = os.open(silent, os.O_RDWR | os.O_CLOEXEC)
    exporter = [program, "--bind-address", "127.0.0.1", "--port", str(port), "--interval", str(POLL)]
    words = [sys.executable, "-m", "triage", "watch", "--no-events", "--kmsg", str(silent), "--state-dir"]
    polls = {
        "gpu-triage, all counters": [*words, f"{state}-all", "--every", str(POLL), "--often", "86400"],
        "gpu-triage, what shows trouble": [*words, f"{state}-brief", "--every", "86400", "--often", str(POLL)],
        "nvitop-exporter": exporter,
    }
    quiet = subprocess.DEVNULL
    started = {
        name: subprocess.Popen(each, env={**os.environ, **env}, cwd=ROOT, stdout=quiet, stderr=quiet)
        for name, each in polls.items()
    }
    try:
        time.sleep(10)
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            text = answer.read().decode()
        if text.count('uuid="') < GPUS:
            raise SystemExit("nvitop-exporter does not see the GPUs")
        before, began = {name: used(process.pid) for name, process in started.items()}, time.monotonic()
        time.sleep(seconds)
        count = (time.monotonic() - began) / POLL
        for name, process in started.items():
            cost = (used(process.pid) - before[name]) / count * 1000
            print(f"{name}: {cost:.1f} ms of a core for each poll, RSS {memory(process.pid)[0] / 1024:.1f} MiB")
    finally:
        for process in started.values():
            process.terminate()
            process.wait()
        os.close(held)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def used(pid: int) -> float:
    """Return the processor seconds of a process, its children that live and those that it has waited for."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    total = sum(map(int, fields[11:15])) / _TICKS
    return total + sum(used(child) for child in children(pid))


def children(pid: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                stat = (entry / "stat").read_text()
            except OSError:
                continue
            if int(stat.rpartition(")")[2].split()[1]) == pid:
                found.append(int(entry.name))
    return found


def memory(pid: int) -> tuple[int, int, int]:
    mine = [(rollup(member)) for member in (pid, *children(pid))]
    return mine[0][0], sum(rss for rss, _ in mine), sum(pss for _, pss in mine)


def rollup(pid: int) -> tuple[int, int]:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:  # it has just ended
        return 0, 0
    values = {line.split(":")[0]: int(line.split()[1]) for line in lines[1:]}
    return values["Rss"], values["Pss"]


if __name__ == "__main__":
    sys.exit(main())
