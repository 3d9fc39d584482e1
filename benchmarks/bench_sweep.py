"""How long a sweep of 128 nodes takes, beside `clush` at the same work and at a trivial command of the same length.

The nodes are real sshd on loopback, eight of them odd: three are dead, two
hang, one has a forged host key, one prints 100 MB, one has no Python.  The
nodes that answer are timed without the odd ones, for both programs in turn, in
the same run.  Two measures of `clush`:

    same work    it pipes the same script to the same Python of the same nodes
    same length  it runs a command that keeps a node busy as long as a probe does: `python3 -c` with a loop

Needs root, openssh-server and the extra `fleet`.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests import ssh_fleet  # noqa: E402
from tests.ssh_fleet import SshFleet  # noqa: E402
from triage.fleet import pack  # noqa: E402

ODD = {
    "n001": ssh_fleet.DEAD,
    "n002": ssh_fleet.DEAD,
    "n003": ssh_fleet.DEAD,
    "n004": ssh_fleet.STOPPED,
    "n005": "hangs",
    "n006": ssh_fleet.FORGED,
    "n007": "floods",
    "n008": ssh_fleet.BARE,
}
EXPECTED = {
    **dict.fromkeys(("n001", "n002", "n003"), "unreachable"),
    **dict.fromkeys(("n004", "n005"), "timed-out"),
    "n006": "host-key",
    "n007": "too-much-output",
    "n008": "no-python",
}
TARGET = 1.5
FANOUT = 64
BUSY = "import time\nend = time.process_time() + {seconds}\nwhile time.process_time() < end:\n    pass\nprint('done')\n"


def main() -> int:
    parsed = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parsed.add_argument("--nodes", type=int, default=128)
    parsed.add_argument("--rounds", type=int, default=3)
    args = parsed.parse_args()
    why = ssh_fleet.needed()
    if why is not None:
        print(f"not run: {why}")
        return 0
    names = [f"n{number:03}" for number in range(1, args.nodes + 1)]
    with tempfile.TemporaryDirectory() as scratch, SshFleet(Path(scratch) / "fleet", names, ODD) as fleet:
        wrong = _odd(fleet, names, Path(scratch))
        ratio = _timed(fleet, [name for name in names if name not in ODD], Path(scratch), args.rounds)
    said = "met" if ratio <= TARGET else "MISSED"
    print(f"target: at most {TARGET} x clush at a trivial command of the same length: {said}")
    return int(bool(wrong) or ratio > TARGET)


def _odd(fleet: SshFleet, names: list[str], scratch: Path) -> dict[str, str]:
    """Sweep all, and return the nodes of which something else was said than is true."""
    took, states = _sweep(fleet, names, scratch / "odd", "--deadline", "30")
    wrong = {node: state for node, state in states.items() if EXPECTED.get(node, "answered") != state}
    print(f"{len(names)} nodes, {len(ODD)} of them odd: {took:.1f} s, wrong: {wrong or 'none'}")
    return wrong


def _timed(fleet: SshFleet, names: list[str], scratch: Path, rounds: int) -> float:
    script = scratch / "script.py"
    script.write_bytes(pack.script(20.0))
    cpu = _cpu_of_one(script)
    busy = scratch / "busy.py"
    busy.write_text(BUSY.format(seconds=cpu))
    ours, work, length = [], [], []
    for number in range(rounds):
        took, states = _sweep(fleet, names, scratch / f"round{number}", "--no-report")
        assert set(states.values()) == {"answered"}, states
        ours.append(took)
        work.append(_clush(fleet, names, script))
        length.append(_clush(fleet, names, busy))
    for what, times in (("fleet sweep", ours), ("clush, same work", work), ("clush, same length", length)):
        rate = len(names) / statistics.median(times)
        print(
            f"{what:20} {statistics.median(times):6.2f} s  ({rate:.0f} nodes/s; {', '.join(f'{t:.2f}' for t in times)})"
        )
    print(
        f"a probe takes {cpu * 1000:.0f} ms of a processor; fan-out {FANOUT}, {os.cpu_count()} processors for all nodes"
    )
    middle = statistics.median(ours)
    print(f"ratio to clush at the same work {middle / statistics.median(work):.2f}")
    ratio = middle / statistics.median(length)
    print(f"ratio to clush at a trivial command of the same length {ratio:.2f}")
    return ratio


def _cpu_of_one(script: Path) -> float:
    """Seconds of a processor that one probe takes, less what starting a Python takes, which the other does as well."""
    return max(0.0, _cpu(script.read_bytes()) - _cpu(b"pass\n"))


def _cpu(script: bytes) -> float:
    times = []
    for _ in range(5):
        before = os.times()
        subprocess.run(["python3", "-I", "-"], input=script, stdout=subprocess.DEVNULL, check=True, cwd="/")
        after = os.times()
        times.append(after.children_user + after.children_system - before.children_user - before.children_system)
    return statistics.median(times)


def _sweep(fleet: SshFleet, names: list[str], folder: Path, *more: str) -> tuple[float, dict[str, str]]:
    words = ["-w", ",".join(names), "--ssh-config", str(fleet.config), "--fanout", str(FANOUT), "-o", str(folder)]
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "triage", "fleet", "sweep", *words, *more], cwd=ROOT, capture_output=True, text=True
    )
    took = time.monotonic() - began
    assert done.returncode in (0, 4), done.stderr
    told = json.loads((folder / "sweep.json").read_text())
    return took, {each["node"]: each["state"] for each in told["nodes"]}


def _clush(fleet: SshFleet, names: list[str], script: Path) -> float:
    options = f"-F {fleet.config} -oStrictHostKeyChecking=yes -T -a -x"
    words = [sys.executable, "-m", "ClusterShell.CLI.Clush", "-f", str(FANOUT), "-o", options, "-w", ",".join(names)]
    began = time.monotonic()
    with script.open("rb") as file:
        done = subprocess.run([*words, "-b", "-q", "python3 -I -"], stdin=file, capture_output=True, check=False)
    took = time.monotonic() - began
    assert done.returncode == 0, done.stderr[-2000:]
    return took


if __name__ == "__main__":
    sys.exit(main())
