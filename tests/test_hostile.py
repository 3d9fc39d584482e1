"""What users, nodes and names may contain, and what happens to it: the cases that belong to no one module."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import shutil
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import confined
from triage.history.place import Unavailable, private_file

ROOT = Path(__file__).parents[1]
XID = "NVRM: Xid (PCI:0000:4e:00): 79, pid=811, name=python, GPU has fallen off the bus."
Done = subprocess.CompletedProcess[str]
Run = Callable[..., Done]


@pytest.fixture
def run(tmp_path: Path, warm_cache: Path) -> Run:
    shutil.copytree(warm_cache, tmp_path / "cache")
    environ = {**os.environ, "GPU_TRIAGE_STATE_DIR": str(tmp_path / "state"), "XDG_CACHE_HOME": str(tmp_path / "cache")}

    def call(*words: str, within: tuple[str, ...] | list[str] = (), seconds: int = 60) -> Done:
        def bound() -> None:
            resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))

        done = subprocess.run(
            [*within, sys.executable, "-m", "triage", *words],
            cwd=ROOT,
            env=environ,
            capture_output=True,
            encoding="utf-8",
            timeout=120,
            preexec_fn=bound,
        )
        assert "internal error" not in done.stderr
        assert "Traceback" not in done.stderr
        return done

    return call


def journal(**fields: str) -> str:
    """One record as `journalctl -o json` prints it, its values as they stand."""
    told = {
        "_TRANSPORT": '"kernel"',
        "MESSAGE": json.dumps(XID),
        "__REALTIME_TIMESTAMP": '"1733200000000000"',
        **fields,
    }
    return "{" + ",".join(f'"{name}":{value}' for name, value in told.items()) + "}"


DEEP = 100_000
SWALLOWED = (
    journal(__REALTIME_TIMESTAMP="1e999"), journal(__REALTIME_TIMESTAMP="9" * 100_000), journal(_PID="-1e400"),
    journal(__MONOTONIC_TIMESTAMP='"' + "9" * 5000 + '"'), journal(PRIORITY="NaN"),
    journal(_BOOT_ID="[" * DEEP + "]" * DEEP),
    '{"MESSAGE":' * DEEP + "1" + "}" * DEEP, '{"log":' + "[" * DEEP, '{"log":{"log":' * 5000 + "1" + "}" * 10000,
)  # fmt: skip
"""Lines that another program may write to a log, or have a logger write."""


def test_numbers_and_depths_that_no_json_should_have_hide_no_line_after_them(run: Run, tmp_path: Path) -> None:
    log = tmp_path / "journal.json"
    log.write_text("\n".join((*SWALLOWED, journal())) + "\n")
    docker = tmp_path / "docker.log"
    lines = [f"kernel: usb 1-{n}: new high-speed USB device" for n in range(30)] + [f"kernel: {XID}"]
    wrapped = [json.dumps({"log": f"{line}\n", "time": "2024-12-03T04:26:40.5Z"}) for line in lines]
    docker.write_text("\n".join((*wrapped[:30], *SWALLOWED, *wrapped[30:])) + "\n")

    for path in (log, docker):
        told = json.loads(run("explain", "--format", "json", str(path)).stdout)
        assert ["0000:4e:00.0"] == [each["where"]["gpu"]["pci"] for each in told["incidents"]], path
        json.dumps(told, allow_nan=False)


@pytest.mark.parametrize("suffix", ["json", "yaml"])
def test_an_inventory_that_is_too_deep_is_refused_in_one_line(run: Run, tmp_path: Path, suffix: str) -> None:
    inventory = tmp_path / f"inventory.{suffix}"
    inventory.write_text("[" * DEEP)
    done = run("fleet", "report", "--inventory", str(inventory), "examples")

    assert (2, 1) == (done.returncode, len(done.stderr.splitlines()))
    assert f"inventory.{suffix}" in done.stderr


BLOW_UP = ("(a+)+$", "(a|a)*$", "(a*)*b$", "^(([a-z])+.)+[A-Z]([a-z])+$", "(.*a){20}$", r"(x+x+)+y")
"""What a backtracking engine takes longer for than the universe has, on a line of a few dozen letters."""


def test_a_pattern_that_would_take_a_backtracking_engine_for_ever_takes_its_line_and_goes_on(
    run: Run, tmp_path: Path
) -> None:
    """Within a few seconds of processor time for all of them, on lines made for them."""
    site = tmp_path / "site"
    (site / "signals").mkdir(parents=True)
    (site / "signals" / "site.yaml").write_text(
        "schema: 1\nsignals:\n"
        + "".join(
            f"  - id: site-blow-up-{number}\n    match: 'NVRM: {pattern}'\n    says: It would.\n    examples: ['x']\n"
            for number, pattern in enumerate(BLOW_UP)
        )
    )
    log = tmp_path / "kern.log"
    lines = [f"[ {number}.0] NVRM: {'a' * 4000}{'x' * 4000}!" for number in range(50)]
    log.write_text("\n".join([*lines, f"[ 99.0] {XID}"]) + "\n")
    done = run("explain", "--format", "json", "--rules-overlay", str(site), str(log), seconds=30)

    assert 0 == done.returncode, done.stderr
    assert ["gpu-off-bus"] == [each["rule"]["id"] for each in json.loads(done.stdout)["incidents"]]


def test_a_zip_archive_is_refused_without_being_unpacked(run: Run, tmp_path: Path) -> None:
    """Whatever its members are named and however far they unpack."""
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as bomb:
        bomb.writestr("../../../../tmp/kern.log", f"[1.0] {XID}\n" * (1 << 18))
    done = run("explain", str(path))

    assert 3 == done.returncode
    assert "a zip archive; unpack it and give the log inside" in " ".join(done.stdout.split())
    assert ["bomb.zip"] == [each.name for each in tmp_path.iterdir() if each.name not in ("state", "cache")]


HOST = 'a\x1b]0;b\x07\x1b[2J"} 9\n[red]c\u202e'
"""A name that the kernel takes: OSC, a clearing of the screen, the end of a label, a line, markup, right to left."""


@pytest.mark.parametrize("form", ["text", "json", "ndjson", "prometheus", "nagios", "checkmk", "ecs"])
def test_a_host_name_that_is_hostile_reaches_nobody_raw(run: Run, form: str) -> None:
    """The name is really the machine's, in a namespace of its own."""
    within = confined.mounted("true")
    within[1:1] = ["--uts"]
    within[-2] = "printf '%s' " + "'" + HOST + "' > /proc/sys/kernel/hostname\n" + within[-2]
    done = run("check", "--no-history", "--format", form, within=within)

    assert not [sign for sign in done.stdout if sign in "\x1b\x07\u202e" or (sign < " " and sign != "\n")]
    if form in ("json", "ndjson", "ecs"):
        for line in [done.stdout] if form == "json" else done.stdout.splitlines():
            json.loads(line)
    if form == "prometheus":
        assert all(line.startswith(("#", "gpu_triage_")) for line in done.stdout.splitlines())
        assert '"} 9' not in done.stdout.replace('\\"', "")


@contextlib.contextmanager
def swapping(path: Path, victim: Path) -> Iterator[None]:
    """An attacker who may write beside `path` and makes it a link, a file, nothing, as fast as he can."""
    stop = threading.Event()

    def swap() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            scratch = path.with_name(f"swap-{number % 2}")
            with contextlib.suppress(OSError):
                scratch.symlink_to(victim)
                os.replace(scratch, path)
            with contextlib.suppress(OSError):
                path.unlink()

    attacker = threading.Thread(target=swap)
    attacker.start()
    try:
        yield
    finally:
        stop.set()
        attacker.join()


def test_who_swaps_the_metrics_for_a_link_while_root_writes_them_gets_no_other_file_written(tmp_path: Path) -> None:
    from triage.cli.exits import Refused
    from triage.cli.replace import replace

    victim = tmp_path / "shadow"
    victim.write_text("root:x\n")
    folder = tmp_path / "textfiles"
    folder.mkdir(mode=0o777)
    with swapping(folder / "gpu-triage.prom", victim):
        for _ in range(300):
            with contextlib.suppress(Refused):
                replace(folder / "gpu-triage.prom", "metrics\n")

    assert "root:x\n" == victim.read_text()


def test_who_swaps_a_private_file_for_a_link_while_it_is_made_gets_no_other_file_opened(tmp_path: Path) -> None:
    """The lock of cron's sweeps, the history and the queue are opened so."""
    victim = tmp_path / "shadow"
    victim.write_text("root:x\n")
    victim.chmod(0o644)
    folder = tmp_path / "state"
    folder.mkdir(mode=0o700)
    with swapping(folder / "check.lock", victim):
        for _ in range(300):
            with contextlib.suppress(Unavailable, OSError):
                private_file(folder / "check.lock")

    assert ("root:x\n", 0o644) == (victim.read_text(), victim.stat().st_mode & 0o777)


def test_a_link_in_the_place_of_a_lock_or_a_cache_is_not_followed(run: Run, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / "state").mkdir(mode=0o700)
    (tmp_path / "state" / "check.lock").symlink_to(victim)
    shutil.rmtree(tmp_path / "cache")
    (tmp_path / "cache").symlink_to(tmp_path / "nowhere")
    done = run("check", "--quiet", "--format", "json")

    assert done.returncode in (0, 1, 2, 3)
    assert "precious" == victim.read_text()
    assert (tmp_path / "state" / "check.lock").is_symlink()
    assert not (tmp_path / "nowhere").exists()


WATCHER = """
import sys
heard = []
def hook(event, args):
    if event.startswith("socket."):
        heard.append((event, [str(each) for each in args[1:]]))
sys.addaudithook(hook)
import triage.cli.dispatch as dispatch
for words in {runs!r}:
    dispatch.main(words)
print("HEARD", heard, file=sys.stderr)
"""


def test_neither_an_import_nor_a_plain_run_opens_a_socket(tmp_path: Path) -> None:
    """Python itself tells of each; whoever wants the network names it: --alert, --listen, --store, an address."""
    runs = [["check"], ["explain", "examples/double-bit-error.log"], ["xid", "79"], ["rules", "list"], ["doctor"]]
    done = subprocess.run(
        [sys.executable, "-c", WATCHER.format(runs=runs)],
        cwd=ROOT,
        env={**os.environ, "GPU_TRIAGE_STATE_DIR": str(tmp_path / "state")},
        capture_output=True,
        encoding="utf-8",
        timeout=120,
    )

    assert "HEARD []" == done.stderr.splitlines()[-1]


def test_a_sweep_lives_where_a_socket_is_death(run: Run, tmp_path: Path) -> None:
    """The kernel would end it, or a child of it, at the first one."""
    deny = confined.build(tmp_path)
    done = run("check", "--no-history", "--format", "json", within=confined.deadly(deny, ("socket", "connect", "bind")))
    told: dict[str, Any] = json.loads(done.stdout)

    assert {"kernel-log", "host"} <= {each["kind"] for each in told["sources"] if each["readable"]}
