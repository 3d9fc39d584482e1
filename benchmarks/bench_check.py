"""How long a health check takes from a cold start, against bare Python, nvitop and gpustat, in one run.

All ask the same fake libnvidia-ml.so.1 (tests/fake_nvml, real binary interface,
eight GPUs of 18 NVLinks each), which answers at once: what is measured is each
program's own time, not a driver's.  The kernel log is one made here, bound over
/dev/kmsg in a mount namespace where that is allowed, so that figures of two
machines compare.  Programs take turns; every figure is a median of whole
processes, start and end included.

    python benchmarks/bench_check.py [--rounds N] [--gpus N] [--records N] [--strict]
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.fake_nvml import Scenario, build  # noqa: E402

BARE = "python -c pass"
CHECK = "gpu-triage check"
FIRST = "gpu-triage check, rules not compiled"
NVITOP = "nvitop -1"
GPUSTAT = "gpustat"
INSIDE = "GPU_TRIAGE_BENCH_KMSG"

# What a node with a driver logs when it boots and while it is well.
PLAIN = (
    "usb 1-1.{a}: new high-speed USB device number {b} using xhci_hcd",
    "pci 0000:{c:02x}:00.0: BAR 0: assigned [mem 0x{b:08x}-0x{b:08x} 64bit pref]",
    "pci 0000:{c:02x}:00.0: PME# supported from D0 D3hot",
    "ACPI: \\_SB_.PC0{a}.BR{c:02x}: _PRT",
    "EXT4-fs (nvme0n1p{a}): mounted filesystem with ordered data mode. Opts: (null)",
    "IPv6: ADDRCONF(NETDEV_CHANGE): veth{b:x}: link becomes ready",
    "docker0: port {a}(veth{b:x}) entered forwarding state",
    'audit: type=1400 audit(1700000000.{b}:{a}): apparmor="STATUS" operation="profile_load" pid={b} comm="apparmor"',
    "mlx5_core 0000:{c:02x}:00.0: firmware version: 28.39.{b}",
    "perf: interrupt took too long ({b} > {a}), lowering kernel.perf_event_max_sample_rate to {b}",
    "nvme nvme{a}: {c}/0/0 default/read/poll queues",
    "systemd[1]: Finished Load Kernel Module efi_pstore.",
)
DRIVER = (
    "nvidia: module license 'NVIDIA' taints kernel.",
    "nvidia-nvlink: Nvlink Core is being initialized, major device number 510",
    "NVRM: loading NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release Build  (root@build)",
    "nvidia-modeset: Loading NVIDIA UNIX Open Kernel Mode Setting Driver for x86_64  580.65.06",
    "[drm] [nvidia-drm] [GPU ID 0x00001000] Loading driver",
    "nvidia-uvm: Loaded the UVM driver, major device number 508.",
)


class Times(NamedTuple):
    """Of one program: wall and processor time of each run, in milliseconds."""

    wall: list[float]
    cpu: list[float]


def main() -> int:
    """Build, warm up, take turns, and print."""
    parsed = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parsed.add_argument("--rounds", type=int, default=21, help="runs of each program (default: 21)")
    parsed.add_argument("--gpus", type=int, default=8)
    parsed.add_argument("--records", type=int, default=2000, help="records of the made kernel log (default: 2000)")
    parsed.add_argument("--strict", action="store_true", help="exit 1 if a target is missed")
    args = parsed.parse_args()
    inside = os.environ.get(INSIDE)
    with tempfile.TemporaryDirectory(prefix="bench-check-") as folder:
        if inside is None and _bound(Path(folder), args.records):
            return subprocess.call(
                [
                    "unshare",
                    "--mount",
                    "sh",
                    "-c",
                    'mount --bind "$0" /dev/kmsg && exec "$@"',
                    f"{folder}/kmsg",
                    sys.executable,
                    *sys.argv,
                ],
                env={**os.environ, INSIDE: str(args.records)},
            )
        return measure(args, Path(folder), inside)


def _bound(folder: Path, records: int) -> bool:
    """Make a kernel log, and say whether it can stand in for this machine's."""
    r = random.Random(7)
    up = 0.0
    with open(folder / "kmsg", "w", encoding="ascii") as file:
        for number in range(records):
            up += r.expovariate(10.0)
            text = DRIVER[number % len(DRIVER)] if number % 100 < len(DRIVER) else r.choice(PLAIN)
            said = text.format(a=r.randrange(9), b=r.randrange(1, 99999), c=r.randrange(256))
            file.write(f"6,{number},{int(up * 1e6)},-;{said}\n")
    if os.geteuid() != 0 or not shutil.which("unshare"):
        return False
    trial = ["unshare", "--mount", "sh", "-c", 'mount --bind "$0" /dev/kmsg', str(folder / "kmsg")]
    return subprocess.run(trial, capture_output=True).returncode == 0


def measure(args: argparse.Namespace, folder: Path, inside: str | None) -> int:
    """Let the programs take turns and print what came of it."""
    scenario = Scenario(folder / "scenario", args.gpus)
    env = {name: value for name, value in os.environ.items() if name not in ("PYTHONDONTWRITEBYTECODE", INSIDE)}
    env |= scenario.env(build(folder / "library"))
    env |= {
        "PYTHONPYCACHEPREFIX": str(folder / "pycache"),
        "XDG_CACHE_HOME": str(folder / "cache"),
        "GPU_TRIAGE_STATE_DIR": str(folder / "state"),
    }
    programs = _programs()
    for words in programs.values():
        for _ in range(2):
            _run(words, env)
    times = {name: Times([], []) for name in programs}
    for _ in range(args.rounds):
        for name, words in programs.items():
            if name == FIRST:
                shutil.rmtree(folder / "cache")
            wall, cpu = _run(words, env)
            times[name].wall.append(wall)
            times[name].cpu.append(cpu)
    calls = {name: _calls(words, env, folder / "calls") for name, words in programs.items() if name != BARE}
    log = f"a made kernel log of {inside} records" if inside else "THE KERNEL LOG OF THIS MACHINE"
    print(f"{args.gpus} fake GPUs, {log}, {args.rounds} runs each in turns, Python {sys.version.split()[0]}")
    return _report(times, calls) if args.strict else _report(times, calls) * 0


def _programs() -> dict[str, list[str]]:
    here = Path(sys.executable).parent
    command = here / "gpu-triage"
    check = [str(command)] if command.exists() else [sys.executable, "-m", "triage"]
    programs = {BARE: [sys.executable, "-c", "pass"], CHECK: [*check, "check", "--format", "json"]}
    programs[FIRST] = programs[CHECK]
    for name in (NVITOP, GPUSTAT):
        peer, *rest = name.split()
        if (here / peer).exists():
            programs[name] = [str(here / peer), *rest]
        else:
            print(f"SKIPPED: {peer} is not installed beside this Python: pip install nvitop gpustat", file=sys.stderr)
    return programs


def _run(words: Sequence[str], env: Mapping[str, str]) -> tuple[float, float]:
    """Wall and processor time of one run and all that it started, in milliseconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.perf_counter()
    done = subprocess.run(words, env=env, capture_output=True, cwd="/")
    wall = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode not in (0, 1) or b"Traceback" in done.stderr:
        raise SystemExit(f"{' '.join(words)} failed: {(done.stderr or done.stdout)[-500:].decode(errors='replace')}")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return wall * 1e3, cpu * 1e3


def _calls(words: Sequence[str], env: Mapping[str, str], file: Path) -> Counter[str]:
    file.unlink(missing_ok=True)
    _run(words, {**env, "FAKE_NVML_CALLS": str(file)})
    return Counter(file.read_text().split())


def _report(times: Mapping[str, Times], calls: Mapping[str, Counter[str]]) -> int:
    bare = statistics.median(times[BARE].wall)
    print(f"{'':38}{'wall ms':>9}{'least':>8}{'x bare':>8}{'cpu ms':>9}{'NVML calls':>12}")
    for name, (wall, cpu) in times.items():
        made = f"{calls[name].total()}" if name in calls else ""
        middle = statistics.median(wall)
        print(f"{name:38}{middle:9.1f}{min(wall):8.1f}{middle / bare:8.1f}{statistics.median(cpu):9.1f}{made:>12}")
    check = statistics.median(times[CHECK].wall)
    common = ", ".join(f"{function} {count}" for function, count in calls[CHECK].most_common(4))
    print(f"most called by {CHECK}: {common}")
    targets = {f"{CHECK} is at most 10 x bare Python": check <= 10 * bare}
    if NVITOP in times:
        targets[f"{CHECK} is no slower than {NVITOP}"] = check <= statistics.median(times[NVITOP].wall)
    if GPUSTAT in times:
        targets[f"{CHECK} is at least 3 times as fast as {GPUSTAT}"] = check * 3 <= statistics.median(
            times[GPUSTAT].wall
        )
    for target, met in targets.items():
        print(f"{'met   ' if met else 'MISSED'} {target}")
    return 0 if all(targets.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
