"""The fast way through a large log says what the slow one says, whatever the log."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import random
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from triage import fast_files, fast_parts
from triage.fast_files import ManyIntake
from triage.fastscan import FastIntake
from triage.hyperscan_db import finder, phrases
from triage.intake import Intake
from triage.model import Signal
from triage.patterns import Needle, Untranslatable, brief, needles
from triage.rulebook.load import load
from triage.rulebook.model import Rulebook
from triage.scanner import Scanner, flat
from triage.timeline import Spans, build

pytest.importorskip("hyperscan")
pytest.importorskip("numpy")

NOW = 1700000000.0
INCIDENTS = Path(__file__).parents[1] / "incidents"
RULEBOOK: Rulebook = load(None, ())


@pytest.fixture(autouse=True, scope="module")
def _no_cache_of_the_user(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


class Pieces(io.RawIOBase):
    """A stream that gives its bytes in pieces of these sizes, over and over."""

    def __init__(self, data: bytes, sizes: Sequence[int]) -> None:
        self._data, self._sizes, self._place, self._turn = data, sizes, 0, 0

    def readable(self) -> bool:
        return True

    def read1(self, _most: int) -> bytes:
        piece = self._data[self._place : self._place + self._sizes[self._turn % len(self._sizes)]]
        self._place += len(piece)
        self._turn += 1
        return piece


def told(intake: Intake, scanner: Scanner, spans: Spans) -> tuple[Any, ...]:
    timeline = build(scanner.scan(spans.watch(intake)), spans)
    return timeline, intake.sources, intake.notices, scanner.plain


def slow(data: bytes, sizes: Sequence[int] = (1 << 20,)) -> tuple[Any, ...]:
    return told(Intake(["-"], now=NOW, stdin=Pieces(data, sizes)), Scanner(RULEBOOK), Spans())  # type: ignore[arg-type]


def fast(data: bytes, sizes: Sequence[int] = (1 << 20,), slow_start: int = 0) -> tuple[Any, ...]:
    stdin: Any = Pieces(data, sizes)
    intake = FastIntake(["-"], rulebook=RULEBOOK, now=NOW, stdin=stdin, cache=None, slow_start=slow_start)
    scanner, spans = Scanner(RULEBOOK), Spans()
    intake.begin(scanner, spans)
    return told(intake, scanner, spans)


def agree(data: bytes, sizes: Sequence[int] = (1 << 20,), slow_start: int = 0) -> None:
    expected, found = slow(data, sizes), fast(data, sizes, slow_start)
    assert expected[1:] == found[1:]
    assert expected[0].spans == found[0].spans
    assert expected[0] == found[0]


# --- logs ----------------------------------------------------------------------------------------------------------

DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


def _clock(at: float) -> str:
    second = int(at)
    return f"{second // 3600 % 24:02d}:{second // 60 % 60:02d}:{second % 60:02d}"


def _day(at: float) -> int:
    return 1 + int(at) // 86400 % 28


SHAPES: dict[str, Callable[[float, float, str], str]] = {
    "dmesg": lambda at, up, text: f"[{up:12.6f}] {text}",
    "dmesg with caller": lambda at, up, text: f"[{up:12.6f}][{'T' + str(int(up) % 3000):>6}] {text}",
    "console": lambda at, up, text: f"<{int(up) % 8}>[{up:12.6f}] {text}",
    "dmesg -T": lambda at, up, text: f"[{DAYS[_day(at) % 7]} Nov {_day(at):2d} {_clock(at)} 2023] {text}",
    "dmesg iso": lambda at, up, text: f"2023-11-{_day(at):02d}T{_clock(at)},{int(at * 1e6) % 1000000:06d}+01:00 {text}",
    "syslog": lambda at, up, text: f"Nov {_day(at):2d} {_clock(at)} node17 kernel: [{up:12.6f}] {text}",
    "journal": lambda at, up, text: f"Nov {_day(at):02d} {_clock(at)} node17 kernel: {text}",
    "iso": lambda at, up, text: (
        f"2023-11-{_day(at):02d}T{_clock(at)}.{int(at * 1e6) % 1000000:06d}+00:00 node17 kernel: [{up:12.6f}] {text}"
    ),
    "short-monotonic": lambda at, up, text: f"[{up:12.6f}] node17 kernel: {text}",
    "kmsg": lambda at, up, text: f"6,{int(up * 10)},{int(up * 1e6)},-;{text}",
    "paste": lambda at, up, text: text,
}
NOISE = (
    "usb 1-1.4: new high-speed USB device number 5 using xhci_hcd",
    "docker0: port 3(veth12ab) entered blocking state",
    "TCP: request_sock_TCP: Possible SYN flooding on port 80. Sending cookies.  Check SNMP counters.",
    "audit: type=1400 audit(1700000000.15456:4): apparmor=\"ALLOWED\" operation=\"open\" comm=\"python3\"",
    "IPv6: ADDRCONF(NETDEV_CHANGE): veth300f: link becomes ready",
)  # fmt: skip
TELLING = (
    "NVRM: Xid (PCI:0000:4e:00): 79, pid='<unknown>', name=<unknown>, GPU has fallen off the bus.",
    "NVRM: Xid (PCI:0000:4e:00): 31, pid=4711, name=python3, Ch 00000008, intr 00000000. MMU Fault",
    "NVRM:  Xid  (PCI:0000:4e:00):  79,  GPU  has fallen off the bus.",
    "pcieport 0000:4a:02.0: AER: Corrected error received: 0000:4e:00.0",
    "pcieport 0000:4a:02.0: AER: Corrected  error  received: 0000:4e:00.0",
    "Linux version 6.1.0-18-amd64 (debian) #1 SMP",
    "BUG: unable to handle page fault for address: ffffa0",
    "watchdog: BUG: soft lockup - CPU#3 stuck for 22s! [python3:4711]",
    "RIP: 0010:nv_open+0x12/0x40 [nvidia]",
    " nv_ioctl+0x1b/0x80 [nvidia]",
    "note: python3[4711] exited with irqs disabled",
    "message repeated 3 times: [ NVRM: Xid (PCI:0000:4e:00): 79, GPU has fallen off the bus.]",
    "systemd[1]: Started something of a user",
    "node18 systemd[1]: Started NVRM: Xid (PCI:0000:4e:00): 79, forged",
    "node17 kernel: NVRM: Xid (PCI:0000:4e:00): 79, GPU has fallen off the bus.",
    "python3[4711]: segfault at 0 ip 00007f in libcuda.so.1[7f]",
    "GPU 0 has a total capacity of 80 GiB",
    "xe 0000:03:00.0: [drm] GPU  HANG: ecode 12",
)  # fmt: skip
STRANGE = (
    "",
    "   ",
    "no prefix at all",
    "    indented NVRM: Xid (PCI:0000:4e:00): 79, forged",
    "NVRM: Xid (PCI:0000:4e:00): 62, pasted into the middle",
    "-- Boot 0123456789abcdef0123456789abcdef --",
    "-- Reboot --",
    "Nov  7 11:11:11 node99 sshd[77]: Accepted publickey",
    "Nov  7 11:11:11 node99 kernel: another host",
    "[99999999.999999] a clock that is far ahead",
    "[    0.000001] a clock that falls",
    '{"MESSAGE": "NVRM: Xid (PCI:0000:4e:00): 79, x", "_TRANSPORT": "kernel",'
    ' "__REALTIME_TIMESTAMP": "1699999000000000"}',
    "__CURSOR=s=1\n__REALTIME_TIMESTAMP=1699999000000000\n_TRANSPORT=kernel"
    "\nMESSAGE=NVRM: Xid (PCI:0000:4e:00): 79, y\n",
    "__CURSOR=left open",
    "Feb 30 25:61:61 node17 kernel: no such time",
    "...",
    "Oops#1 Part2",
)  # fmt: skip
MUTATIONS: tuple[Callable[[str, random.Random], str], ...] = (
    lambda line, r: line + "\r",
    lambda line, r: line.replace(" ", "  ", 2),
    lambda line, r: line[: r.randrange(len(line) + 1)],
    lambda line, r: line[r.randrange(len(line) + 1) :],
    lambda line, r: "\x00" * r.randrange(9) + line,
    lambda line, r: line + "#012 NVRM: Xid (PCI:0000:4e:00): 63, row",
    lambda line, r: line.replace("e", "\u00e9", 1),
    lambda line, r: line.replace(" ", "\x1b[1m ", 1),
    lambda line, r: line.replace("X", "\x1b[0mX", 1),
    lambda line, r: line.replace(r.choice(" XR1:"), "\x7f", 1),
    lambda line, r: line + "\x7f",
    lambda line, r: line.replace("1", "x", 1),
    lambda line, r: " " + line,
    lambda line, r: "> " + line,
    lambda line, r: line + "\t" + line,
    lambda line, r: line + " x" * r.choice((300, 5000)),
    lambda line, r: line.replace("[", "<", 1),
    lambda line, r: line.replace("node17", "node18"),
    lambda line, r: line.replace("kernel:", "app[12]:"),
)


def log(seed: int, size: int, shapes: Sequence[str], share: float, strange: float, jumps: float) -> bytes:
    """A log of `size` lines: `share` of them tell something, `strange` are broken, at `jumps` a clock turns."""
    r = random.Random(seed)
    shape = SHAPES[r.choice(shapes)]
    at, up = 1699000000.0, r.choice((0.0, 3.5, 900.0, 99990.0, 9999990.0))
    end = "\r\n" if r.random() < 0.2 else "\n"
    lines: list[str] = []
    while len(lines) < size:
        step = r.expovariate(r.choice((0.01, 1.0, 50.0)))
        at, up = at + step, up + step
        if r.random() < jumps:
            at += r.choice((0.0, -400.0, -200.0, 90000.0, 3e6))
            up = max(0.0, up + r.choice((0.0, -3.0, -5.0, -6.0, -1e9)))
        if r.random() < jumps:
            shape = SHAPES[r.choice(shapes)]
        text = r.choice(TELLING if r.random() < share else NOISE)
        line = r.choice(STRANGE) if r.random() < strange else shape(at, up, text)
        if r.random() < strange:
            line = r.choice(MUTATIONS)(line, r)
        lines.append(line)
    text = end.join(lines) + (end if r.random() < 0.8 else "")
    return text.encode("utf-8", "surrogatepass") + (b"\xff\xfe" if r.random() < strange else b"")


# --- the property --------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(
    seed=st.integers(0, 1 << 32),
    shapes=st.lists(st.sampled_from(sorted(SHAPES)), min_size=1, max_size=3),
    share=st.sampled_from((0.0, 0.02, 0.3)),
    strange=st.sampled_from((0.0, 0.02, 0.3)),
    jumps=st.sampled_from((0.0, 0.01, 0.1)),
    sizes=st.lists(st.integers(1, 40000), min_size=1, max_size=4),
)
def test_any_log_of_any_shape_is_read_as_by_the_slow_way(
    seed: int, shapes: list[str], share: float, strange: float, jumps: float, sizes: list[int]
) -> None:
    agree(log(seed, 400, shapes, share, strange, jumps), sizes)


def _shape_of(text: str) -> str:
    for line in text.splitlines():
        for shape, pattern in (
            ("dmesg", r"\[ *\d+\.\d{6}\] "),
            ("dmesg -T", r"\[\w{3} \w{3} "),
            ("console", r"<\d>\["),
            ("syslog", r"\w{3} [ \d]\d \d\d:\d\d:\d\d \S+ kernel: \["),
            ("journal", r"\w{3} [ \d]\d \d\d:\d\d:\d\d "),
            ("iso", r"\d{4}-\d\d-\d\dT"),
        ):
            if re.match(pattern, line):
                return shape
    return "dmesg"


def embedded(text: str, noise: int) -> bytes:
    """A log in the midst of `noise` lines of its shape, most of them before it."""
    r = random.Random(len(text))
    shape = SHAPES[_shape_of(text)]
    first = re.search(r"\[ *(\d+)\.\d{6}\]", text)
    up, at = (float(first[1]) if first else 5000.0), 1690000000.0
    before = [shape(at + i, up * i / noise, r.choice(NOISE)) for i in range(noise * 2 // 3)]
    after = [shape(at + noise + i, up + 1e5 + i, r.choice(NOISE)) for i in range(noise - len(before))]
    return "\n".join((*before, text, *after)).encode("utf-8", "surrogatepass") + b"\n"


def incidents() -> Iterator[tuple[str, str]]:
    for path in sorted(INCIDENTS.glob("*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            case = json.loads(line)
            yield case["id"], case["log"]


def test_every_incident_known_is_found_in_the_midst_of_noise_as_by_the_slow_way() -> None:
    for name, text in incidents():
        data = embedded(text, 450)
        assert slow(data) == fast(data), name


def test_a_log_without_anything_in_it_is_hardly_read() -> None:
    data = "".join(f"[{i:12.6f}] {NOISE[i % len(NOISE)]}\n" for i in range(9000)).encode()
    intake = FastIntake(["-"], rulebook=RULEBOOK, now=NOW, stdin=io.BytesIO(data), slow_start=0)
    scanner, spans = Scanner(RULEBOOK), Spans()
    intake.begin(scanner, spans)
    told(intake, scanner, spans)
    assert 9000 == intake.sources[0].records
    assert intake.passed > 8950


@pytest.mark.parametrize("share", [0.0, 0.02])
def test_lines_longer_than_a_block_and_holes_of_nuls_are_cut_alike(share: float) -> None:
    noise = log(5, 300, ["dmesg"], share, 0.0, 0.0)
    long = (
        b"[ 5000.000001] "
        + b"x" * 300_000
        + b"\n"
        + b"\0" * 400_000
        + b"[ 5000.000002] NVRM: Xid (PCI:0000:4e:00): 79, x\n"
    )
    for sizes in ((1 << 20,), (70_000, 3), (262_144, 1, 262_143)):
        agree(noise + long + noise + b"[ 5000.000003] " + b"y" * 9000 + b"\n" + noise, sizes)


@pytest.mark.parametrize("packed", ["gzip", "bz2", "lzma"])
def test_packed_logs_and_logs_that_break_off_are_read_alike(tmp_path: Path, packed: str) -> None:
    data = __import__(packed).compress(log(7, 3000, ["syslog"], 0.01, 0.01, 0.001))
    agree(data)
    agree(data[: len(data) // 2])


def test_a_storm_is_one_signal_with_a_count() -> None:
    lines = [
        f"[{100 + i / 1000:12.6f}] NVRM: Xid (PCI:0000:4e:00): 31, pid={i}, name=python3, Ch {i:08x}, intr 00000000."
        f" MMU Fault: ENGINE GRAPHICS GPCCLIENT_T1_0 faulted @ 0x7f{i % 256:02x}_{i:08x}. Fault is of type FAULT_PDE\n"
        for i in range(1, 3000)
    ]
    data = "".join(lines).encode()
    agree(data)
    (signal,) = fast(data)[0].signals
    assert 2999 == signal.count
    assert (1, 2999) == (signal.record.line, round((signal.last_monotonic - 100) * 1000))


# --- what is searched for -------------------------------------------------------------------------------------------


def test_every_example_of_a_signal_holds_a_phrase_however_wide_its_blanks_are() -> None:
    wanted = phrases([signal.match for signal in RULEBOOK.signals], ("NVRM:",))
    r = random.Random(3)
    for signal in RULEBOOK.signals:
        for example in (e for e in signal.examples if e.isascii()):
            for _ in range(5):
                line = re.sub(" ", lambda _: " " * r.choice((1, 1, 2, 3)), example)
                if re2_match(signal.match, flat(line)):
                    assert any(needle_in(needle, line) for needle in wanted), (signal.id, line)


def needle_in(needle: Needle, line: str) -> bool:
    return needle.text.lower() in line.lower() if needle.caseless else needle.text in line


def re2_match(pattern: str, text: str) -> bool:
    import re2

    options = re2.Options()
    options.dot_nl = True
    return re2.compile(pattern, options=options).match(text) is not None


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("NVRM: Xid", {"NVRM"}),
        ("(?:alpha|bravo) .+y?(?P<n>charlie|elta)", {"alpha", "bravo"}),
        ("(?:alpha|bravo)? .+y?(?P<n>charlie|elta)", {"charlie", "elta"}),
        (r"(?i:Throttled) \d+", {"Throttled"}),
        (r"a\[b\] .*nouveau\w*", {"nouveau"}),
        (r"the wurlitzer was lost", {"wurlitzer"}),
        (r"the zither was lost", {"zither was lost"}),
        (r"ivpu \d+", {"ivpu "}),
    ],
)
def test_the_phrases_of_a_pattern_are_those_that_must_be_there(pattern: str, expected: set[str]) -> None:
    assert expected == {needle.text for needle in needles(pattern)}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Data Link Protocol", "Data Link P"),
        ("Out Of Memory", "Out Of Mem"),
        ("has fallen off", "has fallen off"),
        ("Xid", "Xid"),
    ],
)
def test_a_phrase_is_searched_for_without_an_end_that_is_like_others(text: str, expected: str) -> None:
    assert Needle(expected) == brief(Needle(text))


@pytest.mark.parametrize("pattern", [r"\pL+", "(?s)NVRM: x", ".*", "ab?", r"\Qabc\E", "(?:abc|)", "a{,3}bcd"])
def test_a_pattern_that_need_not_hold_any_phrase_is_refused(pattern: str) -> None:
    with pytest.raises(Untranslatable):
        needles(pattern)


def test_a_rulebook_that_cannot_be_searched_for_is_read_slowly_and_says_so() -> None:
    data = log(9, 300, ["dmesg"], 0.05, 0.0, 0.0)
    odd = RULEBOOK._replace(signals=(*RULEBOOK.signals, RULEBOOK.signals[0]._replace(id="odd", match=r"\pL+ Xid")))
    intake = FastIntake(["-"], rulebook=odd, now=NOW, stdin=io.BytesIO(data), slow_start=0)
    scanner, spans = Scanner(odd), Spans()
    intake.begin(scanner, spans)
    timeline, sources, notices, _ = told(intake, scanner, spans)
    expected = told(Intake(["-"], now=NOW, stdin=io.BytesIO(data)), Scanner(odd), Spans())
    assert expected[:2] == (timeline, sources)
    assert "large logs are read slowly, with the same result: a signal pattern cannot be searched for" in notices[-1]


@pytest.mark.parametrize("package", ["hyperscan", "numpy"])
def test_without_the_engine_a_log_is_read_slowly_and_says_so(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    data = log(9, 300, ["dmesg"], 0.05, 0.0, 0.0)
    expected = slow(data)
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(sys.modules, "triage.fast_blocks", raising=False)
    found = fast(data)
    assert expected[0] == found[0]
    notice = f"large logs are read slowly, with the same result: the Python package {package} is not installed"
    assert (*expected[2], notice) == found[2]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="threads are counted in /proc")
def test_numpy_is_loaded_without_threads_and_leaves_the_environment_alone() -> None:
    """A thread for each processor, which spins at first, would cost more than reading a hundred megabytes."""
    code = (
        "import os, sys\nfrom triage.fastscan import FastIntake\nfrom triage.rulebook.load import load\n"
        "before = dict(os.environ)\n"
        "assert FastIntake([], rulebook=load(None, ()), now=1.0).usable() and 'numpy' in sys.modules\n"
        "assert before == dict(os.environ)\nprint(len(os.listdir('/proc/self/task')))"
    )
    said = subprocess.run((sys.executable, "-c", code), capture_output=True, text=True, timeout=120, check=True)
    assert "1" == said.stdout.strip()


# --- the cache ------------------------------------------------------------------------------------------------------

WANTED = ("NVRM: Xid", "pcieport .*AER")


def places(folder: Path) -> list[int]:
    found: list[int] = []
    finder(WANTED, ("exited with",), folder)(
        b"x NVRM: Xid y AER: exited with", lambda _i, _s, end, _f, _c: found.append(end)
    )
    return found


def test_a_database_is_kept_for_this_user_alone_and_used_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "cache"
    expected = places(folder)
    (file,) = folder.iterdir()
    assert (0o700, 0o600) == (folder.stat().st_mode & 0o777, file.stat().st_mode & 0o777)
    monkeypatch.setattr("triage.hyperscan_db.phrases", lambda *_: pytest.fail("it was made again"))
    assert expected == places(folder) != []


def test_a_database_that_was_touched_or_that_others_may_write_is_made_again(tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    expected = places(folder)
    (file,) = folder.iterdir()
    good = file.read_bytes()
    for bad in (good[:-1] + bytes([good[-1] ^ 1]), good[:40], b"", hashlib.sha256(b"junk").digest() + b"junk"):
        file.write_bytes(bad)
        assert expected == places(folder)
        assert good == file.read_bytes()
    file.chmod(0o666)
    assert expected == places(folder)
    assert 0o600 == file.stat().st_mode & 0o777
    file.rename(tmp_path / "elsewhere")
    file.symlink_to(tmp_path / "elsewhere")
    assert expected == places(folder)
    assert not file.is_symlink()
    assert [file] == list(folder.iterdir())


def test_a_cache_that_cannot_be_written_costs_only_time(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert places(tmp_path / "cache") == places(tmp_path / "file" / "cache")


# --- several files --------------------------------------------------------------------------------------------------


def test_several_processes_say_what_one_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("triage.fastscan.LARGE", 1)
    crash = (
        b"[ 9000.000001] BUG: unable to handle page fault for address: ffffa0\n"
        b"[ 9000.000002] RIP: 0010:nv_open+0x1/0x2 [nvidia]\n"
    )
    texts = {
        "a.log": log(1, 3000, ["syslog"], 0.02, 0.01, 0.01),
        "b.log": log(2, 3000, ["dmesg"], 0.02, 0.0, 0.0) + b"\n" + crash,  # a crash that may go on in the next
        "c.log": log(3, 3000, ["dmesg"], 0.02, 0.01, 0.001),
        "d.log.gz": gzip.compress(log(4, 3000, ["iso"], 0.02, 0.01, 0.001)),
        "e.log": b"\x7fELF" + bytes(9000),
    }
    for name, text in texts.items():
        (tmp_path / name).write_bytes(text)
    paths = [str(tmp_path / name) for name in (*texts, "a.log", "missing.log")]
    expected = told(Intake(paths, now=NOW), Scanner(RULEBOOK), Spans())
    monkeypatch.setattr(ManyIntake, "_takes_back", lambda *_: False)  # what is handed out is waited for
    with ManyIntake(paths, rulebook=RULEBOOK, now=NOW, jobs=2) as intake:
        scanner, spans = Scanner(RULEBOOK), Spans()
        adopted: list[int] = []

        def adopt(signals: Sequence[Signal], plain: int) -> None:
            adopted.append(plain)
            Scanner.adopt(scanner, signals, plain)

        monkeypatch.setattr(scanner, "adopt", adopt)
        intake.begin(scanner, spans)
        assert expected == told(intake, scanner, spans)
    assert 2 <= len(adopted) < 4, "b ends in a crash, and c may go on with it: both are read here"


@pytest.mark.parametrize("kernel", ["", "[{:12.6f}] "])
def test_a_stamp_without_a_year_may_fall_into_the_year_before_in_the_middle_of_a_stretch(kernel: str) -> None:
    """A day after now is the last that a log can be of; what is later on that day was written a year ago."""
    begins = (
        f"Nov 15 22:{10 + s // 60:02d}:{s % 60:02d} node17 kernel: {kernel.format(100.0 + s)}" for s in range(600)
    )
    agree("".join(f"{begin}eth0: link up\n" for begin in begins).encode(), (9000, 500_000))


def test_an_hour_that_is_none_in_the_middle_of_a_stretch() -> None:
    lines = (f"Nov  3 {hour:02d}:00:00 node17 kernel: eth0: link up\n" for hour in range(100) for _ in range(9))
    agree("".join(lines).encode(), (3000,))


# --- one file in parts ----------------------------------------------------------------------------------------------


class Here:
    """An executor that does at once, in this process, what it is given to do."""

    def __init__(self, _processes: int, _context: Any, _begin: Any, given: Sequence[Any]) -> None:
        fast_files._given[:] = given

    def submit(self, work: Callable[..., Any], *args: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(work(*args))
        return future

    def shutdown(self, **_: Any) -> None:
        """Nothing goes on."""


def in_parts(path: Path, *, processes: bool = False) -> tuple[tuple[Any, ...], int]:
    """What is made of one log read in parts, and how many of those were taken over as they were found."""
    joined: list[bool] = []
    real = fast_parts.join

    def join(*given: Any) -> bool:
        joined.append(real(*given))
        return joined[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("triage.fastscan.LARGE", 1)
        patch.setattr("triage.fast_parts.LEAST", 4096)
        patch.setattr("triage.fast_parts.PARTS", 8)
        patch.setattr("triage.fast_parts.join", join)
        patch.setattr(ManyIntake, "_takes_back", lambda *_: False)  # what is handed out is waited for
        if not processes:
            patch.setattr("triage.fast_files.ProcessPoolExecutor", Here)
        with ManyIntake([str(path)], rulebook=RULEBOOK, now=NOW, jobs=3, slow_start=0) as intake:
            scanner, spans = Scanner(RULEBOOK), Spans()
            intake.begin(scanner, spans)
            return told(intake, scanner, spans), sum(joined)


def one(path: Path) -> tuple[Any, ...]:
    return told(Intake([str(path)], now=NOW), Scanner(RULEBOOK), Spans())


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(
    seed=st.integers(0, 1 << 32),
    shapes=st.lists(st.sampled_from(sorted(SHAPES)), min_size=1, max_size=2),
    share=st.sampled_from((0.0, 0.02, 0.3)),
    strange=st.sampled_from((0.0, 0.002, 0.1)),
    jumps=st.sampled_from((0.0, 0.001, 0.02)),
)
def test_any_log_in_parts_is_read_as_by_one_process(
    tmp_path_factory: pytest.TempPathFactory, seed: int, shapes: list[str], share: float, strange: float, jumps: float
) -> None:
    path = tmp_path_factory.mktemp("parts") / "log"
    path.write_bytes(log(seed, 700, shapes, share, strange, jumps))
    assert one(path) == in_parts(path)[0]


@pytest.mark.parametrize("shape", ["dmesg", "syslog", "journal", "iso", "dmesg -T"])
def test_the_parts_of_a_log_of_one_shape_are_read_by_other_processes(tmp_path: Path, shape: str) -> None:
    path = tmp_path / "log"
    for share, least in ((0.0, 7), (0.05, 1)):  # a crash goes on across many a cut
        path.write_bytes(log(11, 900, [shape], share, 0.0, 0.0))
        found, joined = in_parts(path, processes=shape == "syslog")
        assert one(path) == found
        assert joined >= least


def test_incidents_are_found_wherever_a_log_is_cut(tmp_path: Path) -> None:
    path = tmp_path / "log"
    for name, text in list(incidents())[::4]:
        path.write_bytes(embedded(text, 200))
        assert one(path) == in_parts(path)[0], name


def test_a_storm_that_goes_on_in_every_part_is_one_signal(tmp_path: Path) -> None:
    path = tmp_path / "log"
    lines = (
        f"[{100 + i / 100:12.6f}] NVRM: Xid (PCI:0000:4e:00): 31, pid={i % 1300}, name=python3, Ch 00000008, MMU Fault:"
        f" faulted @ 0x7f_{i:08x}. Fault is of type FAULT_PDE\n"
        for i in range(3000)
    )
    path.write_text("".join(lines))
    found, joined = in_parts(path)
    assert one(path) == found
    (signal,) = found[0].signals
    assert (7, 3000, 1000, True) == (joined, signal.count, len(signal.processes), signal.many)


def test_a_second_that_is_there_twice_across_a_cut_counts_once(tmp_path: Path) -> None:
    """Two copies of the same records, as where a console and a log are written to one file."""
    path = tmp_path / "log"
    half = b"".join(
        b"[%12.6f] NVRM: Xid (PCI:0000:4e:00): 79, pid=%d, GPU has fallen off the bus.\n" % (100 + i / 1000, i)
        for i in range(400)
    )
    path.write_bytes(half + half)
    assert one(path) == in_parts(path)[0]


def test_a_log_that_cannot_be_cut_is_read_by_one_process(tmp_path: Path) -> None:
    path = tmp_path / "log.gz"
    path.write_bytes(gzip.compress(log(4, 900, ["iso"], 0.02, 0.0, 0.0), 0))  # its lines stand in it as they are
    assert fast_parts.cuts(str(path), NOW) is None
    assert (one(path), 0) == in_parts(path)
