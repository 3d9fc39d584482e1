"""nvidia-bug-report.log: its sections, and what each says.

Used are the kernel's ring buffer, the excerpts of older logs and of the boots
before, `nvidia-smi --query`, lspci, the files of /proc and the fabric manager's
log.  The rest (X server logs, dumps in base64) is passed over without being
kept, and that is said.  All kernel lines become one log, boots told apart and
each line once, although the report holds most of them two or three times.
"""

from __future__ import annotations

import re
from calendar import timegm
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from statistics import median

from probes.model import LogRecord, Reading
from probes.named import NamedTuple
from probes.records import Tally, parse_lines
from triage.found import Found
from triage.sections import lspci, proc, smi, smi_text

BEGINS = re.compile(rb"^_{40,}\s*\nStart of NVIDIA bug report log file", re.M)
"""The banner with the rule above it.  Both stand at the start of their lines, where no logged text can."""

MOST_KEPT = 96 << 20
"""Bytes of all sections that are used; a whole report is seldom longer than 50 MB, most of it not used."""
MOST_SECTION = 48 << 20
SLACK = 5.0
"""Seconds by which two clocks of one boot may differ."""

_RULE = re.compile(rb"[> ]*_{40,}\s*\Z")
_FILE = re.compile(rb"\*\*\* (/\S{1,300})( does not exist| is not readable| is a directory)?\s*\Z")
_EXCERPT = re.compile(rb"  (?:(/var/log/\S{1,100})|journalctl -b (-\d)):\s*\Z")
_DATE = re.compile(
    r"(?:(\d{1,2}) )?(?:([A-Z][a-z]{2})[a-z]*)[ ,]+(?:(\d{1,2})[ ,]+)?(?:(\d{4})[ ,]+)?(\d{1,2}):(\d\d):(\d\d)"
    r"(?: ([AP]M))?(?: ([A-Z]{1,5}|[+-]\d{2}(?::?\d{2})?))?(?: (\d{4}))?"
)
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_ZONES = {
    "UTC": 0, "GMT": 0, "Z": 0, "WET": 0, "CET": 1, "CEST": 2, "EET": 2, "EEST": 3, "MSK": 3, "JST": 9, "KST": 9,
    "EST": -5, "EDT": -4, "CDT": -5, "MST": -7, "MDT": -6, "PST": -8, "PDT": -7,
}  # fmt: skip
"""Hours east of UTC of the zones whose abbreviation means one thing."""
_OF_THE_SCRIPT = (b"*** ls: ", b"No NVIDIA kernel messages", b"No suitable log")
_PROC_FILES = ("/proc/driver/nvidia/", "/proc/modules", "/proc/meminfo")
_SERVICE_LOGS = ("/var/log/fabricmanager.log", "/var/log/nvidia-imex.log")


class Piece(NamedTuple):
    """Lines of the report that are used.  `first` is the number of the first of them, counted from one."""

    title: str
    first: int
    lines: list[bytes]


class Report:
    """The sections of one report; iterate over `take` first."""

    def __init__(self) -> None:
        self.head: list[str] = []
        self.pieces: list[Piece] = []
        self.unused = 0
        self.x_logs = 0
        self.cut = False
        self._kept = 0
        self._here = 0

    def take(self, raw: Iterable[bytes]) -> None:
        """Read a report to its end, keeping what is used of it."""
        section, fresh = 0, False
        open_: Piece | None = None
        for number, line in enumerate(raw, 1):
            if _RULE.match(line):
                section, fresh, open_ = section + 1, True, None
                continue
            if section == 1:
                if len(self.head) < 40:
                    self.head.append(line.strip().decode("utf-8", "replace"))
                continue
            file = _FILE.match(line)
            if file:
                fresh = False
                open_ = None if file[2] else self._open(file[1].decode("ascii", "replace"), number + 1)
            elif fresh and line.strip():
                fresh = False
                open_ = self._open(line.strip().decode("utf-8", "replace"), number + 1)
            elif open_ is not None and open_.title.startswith("Scanning"):
                excerpt = _EXCERPT.match(line)
                if excerpt:
                    name = excerpt[1].decode("ascii", "replace") if excerpt[1] else f"journal{excerpt[2].decode()}"
                    open_ = self._piece(f"Scanning {name}", number + 1)
                else:
                    self._keep(open_, line)
            elif open_ is not None:
                self._keep(open_, line)

    def _open(self, title: str, first: int) -> Piece | None:
        if _used(title):
            return self._piece(title, first)
        self.unused += 1
        if "Xorg" in title or "XFree86" in title:
            self.x_logs += 1
        return None

    def _piece(self, title: str, first: int) -> Piece:
        self._here = 0
        piece = Piece(title, first, [])
        self.pieces.append(piece)
        return piece

    def _keep(self, piece: Piece, line: bytes) -> None:
        size = len(line) + 64
        if self._kept + size > MOST_KEPT or self._here + size > MOST_SECTION:
            self.cut = True
            return
        self._kept += size
        self._here += size
        # What the script says itself is no content, but keeps its place in the count of lines.
        piece.lines.append(b"" if line.startswith(_OF_THE_SCRIPT) else line)


def _used(title: str) -> bool:
    if title.startswith(("dmesg", "Scanning kernel log files")):
        return True
    if title.startswith("/"):
        program = title.split(" ")[0].rpartition("/")[2]
        if program in ("lspci", "nvidia-smi"):
            return True
        return title.startswith(_PROC_FILES) or title in _SERVICE_LOGS
    return False


def read(
    raw: Iterable[bytes], found: Found, *, year_hint: float, tz_offset: float, tally: Tally
) -> Iterator[LogRecord]:
    """Yield the kernel's and the services' records of a report, and fill `found` with the rest.

    Args:
        raw: its lines, unpacked.
        found: where readings, sources and notices go.
        year_hint: epoch seconds by which stamps without a year are dated, if the report does not say when it is of.
        tz_offset: seconds east of UTC of stamps, likewise.
        tally: counts what had to be cut.
    """
    report = Report()
    try:
        report.take(raw)
    finally:
        _say(report, found)
    at, zone = _when(report.head, tz_offset)
    found.taken_at = year_hint if at is None else at
    clock = _Clock(found.origin, found.taken_at, tz_offset if zone is None else zone, tally)
    _readings(report, found)
    yield from _services(report, clock)
    yield from _one_log(report, clock)


class _Clock(NamedTuple):
    origin: str
    taken_at: float
    tz_offset: float
    tally: Tally

    def records(self, piece: Piece, origin: str | None = None) -> list[LogRecord]:
        mine = Tally()
        parsed = parse_lines(
            piece.lines,
            origin=origin or self.origin,
            year_hint=self.taken_at,
            tz_offset=self.tz_offset,
            tally=mine,
        )
        numbered = [record._replace(line=piece.first - 1 + record.line) for record in parsed]
        self.tally.cut += mine.cut
        self.tally.not_text += mine.not_text
        return numbered


def _say(report: Report, found: Found) -> None:
    other = report.unused - report.x_logs
    found.notices.append(
        f"{found.origin}: an nvidia-bug-report; {len(report.pieces)} sections were read, "
        f"{report.x_logs} logs of the X server and {other} other sections were not"
    )
    if report.cut:
        found.notices.append(f"{found.origin}: a section was longer than {MOST_SECTION >> 20} MiB and was cut")


def _when(head: Sequence[str], tz_offset: float) -> tuple[float | None, float | None]:
    """When the report is of, and the zone of its machine, as `date` printed them."""
    line = next((line for line in head if line.startswith("Date: ")), "")
    found = _DATE.search(line)
    if not found or found[2] not in _MONTHS:
        return None, None
    day, year = found[1] or found[3], found[4] or found[10]
    if day is None or year is None or not 0 < int(day) < 32 or int(year) < 1990:
        return None, None
    hour = int(found[5]) % 12 + (12 if found[8] == "PM" else 0) if found[8] else int(found[5])
    if hour > 23:
        return None, None
    zone = _zone(found[9])
    moment = timegm((int(year), _MONTHS.index(found[2]) + 1, int(day), hour, int(found[6]), int(found[7])))
    return moment - (tz_offset if zone is None else zone), zone


def _zone(text: str | None) -> float | None:
    if not text:
        return None
    if text[0] in "+-":
        digits = text[1:].replace(":", "").ljust(4, "0")
        return (int(digits[:2]) * 3600.0 + int(digits[2:]) * 60.0) * (-1 if text[0] == "-" else 1)
    hours = _ZONES.get(text)
    return None if hours is None else hours * 3600.0


def _readings(report: Report, found: Found) -> None:
    at = found.taken_at or 0.0
    host, of_proc = proc.uname(next((line[7:] for line in report.head if line.startswith("uname: ")), ""), at)
    found.node = host
    of_lspci: list[Reading] = []
    log, said = smi_text.Log(), []
    asked = False
    for piece in report.pieces:
        title = piece.title
        if title.startswith("/proc/"):
            text = _text(piece)
            if title.endswith("/version") and "nvidia" in title:
                of_proc += proc.driver(text, at)
            elif title.endswith("/information"):
                of_proc += proc.gpu(title, text, at)
            elif title == "/proc/modules":
                of_proc += proc.modules(text, at)
            elif title == "/proc/meminfo":
                of_proc += proc.memory(text, at)
        elif "lspci" in title and not title.rstrip().endswith(" -t"):
            of_lspci += lspci.readings((line.decode("utf-8", "replace") for line in piece.lines), at)
        elif "nvidia-smi" in title:
            asked = True
            log.inside = False
            said += [line.decode("utf-8", "replace") for line in smi_text.around(piece.lines, log) if line]
    found.add("proc", of_proc, "there are no files of /proc in the report")
    if of_lspci:
        found.add("lspci", of_lspci)
    of_smi = log.readings(at) + smi.refusals("\n".join(said[:2000]), at)
    reason = "nvidia-smi printed nothing" if asked else "nvidia-smi is not in the report (--safe-mode leaves it out)"
    found.add("nvidia-smi", of_smi, f"{reason}; run nvidia-smi -q")


def _text(piece: Piece) -> str:
    return b"\n".join(piece.lines).decode("utf-8", "replace")


def _services(report: Report, clock: _Clock) -> Iterator[LogRecord]:
    for piece in report.pieces:
        if piece.title in _SERVICE_LOGS:
            yield from clock.records(piece, f"{clock.origin} {piece.title}")


def _one_log(report: Report, clock: _Clock) -> Iterator[LogRecord]:
    """The kernel's lines of all sections, each once, oldest boot first."""
    ring: list[LogRecord] = []
    boots: dict[str, list[LogRecord]] = {}
    files: list[tuple[str, list[LogRecord]]] = []
    for piece in report.pieces:
        if piece.title.startswith("dmesg"):
            ring += [record for record in clock.records(piece) if record.monotonic is not None or record.at is not None]
        elif piece.title.startswith("Scanning journal"):
            boots[piece.title[len("Scanning journal") :]] = clock.records(piece)
        elif piece.title.startswith("Scanning /"):
            files.append((piece.title.rpartition("/")[2], clock.records(piece)))
    # The same boot in the journal: it reaches further back, and it knows the time of day.
    seen, zero = boots.pop("-0", []), None
    if ring:
        zero = _zero(ring, seen)
        if zero is not None:
            ring = [record if record.at is not None else _at(record, zero) for record in ring]
        seen = _not_in(seen, ring)
    current = _merged(seen, ring) if zero is not None else [*seen, *ring]
    known = [*current, *(record for boot in boots.values() for record in boot)]
    older: list[LogRecord] = []
    for name, records in files:
        for record in _not_in(records, known):
            known.append(record)
            if zero is not None and record.at is not None and record.at >= zero - SLACK:
                current = _merged([record], current)
            else:
                older.append(record._replace(boot=f"{name} {record.boot}"))
    yield from older
    for boot in sorted(boots, key=int):
        yield from (record._replace(boot=boot) for record in boots[boot])
    yield from (record._replace(boot="0") for record in current)


def _at(record: LogRecord, zero: float) -> LogRecord:
    return record if record.monotonic is None else record._replace(at=zero + record.monotonic)


def _zero(ring: Sequence[LogRecord], seen: Sequence[LogRecord]) -> float | None:
    """When the ring's clock was zero, from the lines that the journal has too."""
    times: dict[str, list[float]] = {}
    for record in seen:
        if record.at is not None:
            times.setdefault(record.message, []).append(record.at)
    gaps = [
        times[record.message][0] - record.monotonic
        for record in ring
        if record.monotonic is not None and len(times.get(record.message, ())) == 1
    ]
    return median(gaps) if gaps else None


def _not_in(records: Sequence[LogRecord], known: Sequence[LogRecord]) -> list[LogRecord]:
    """Records that are not among the known ones: of a message that stands there n times the last n are."""
    left = Counter(record.message for record in known)
    kept = []
    for record in reversed(records):
        if left[record.message] > 0:
            left[record.message] -= 1
        else:
            kept.append(record)
    kept.reverse()
    return kept


def _merged(one: Sequence[LogRecord], other: Sequence[LogRecord]) -> list[LogRecord]:
    """Two logs of one boot as one, by the time of day; what has none stays where it stood."""
    timed: list[tuple[float, int, LogRecord]] = []
    for log in (one, other):
        at = float("-inf")
        for record in log:
            at = record.at if record.at is not None else at
            timed.append((at, len(timed), record))
    timed.sort(key=lambda entry: entry[:2])
    return [record for _, _, record in timed]
