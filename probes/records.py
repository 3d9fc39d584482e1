"""Kernel log lines of every shape as records, one at a time.

`parse_lines` takes the raw lines of one source and yields its records in
order; memory stays bounded whatever the input, and no input raises.  Shapes may
mix from line to line.  A line without a prefix continues the record before it,
except where it plainly is a kernel message of its own; where nothing had a
prefix so far, every line is taken at its word (`pasted`).

What a program wrote never becomes a kernel record: lines that continue its
record stay in it, whatever they look like.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Optional

from probes.model import LogRecord
from probes.records_journal import ExportBlock, parse_journal_json, parse_kmsg, unescape
from probes.records_shapes import Head, Shapes, bare_tag
from probes.records_text import (
    CONTINUATION_CAP,
    CUT,
    LINE_CAP,
    MESSAGE_CAP,
    CutLine,
    Tally,
    as_it_stood,
    clean,
    decode,
    message,
    plain,
    writer,
)
from probes.records_time import Clock
from probes.records_wrapped import unwrapped

__all__ = ["CutLine", "Tally", "parse_journal_json", "parse_kmsg", "parse_lines"]

_CLOCK_NOISE = 5.0
"""Seconds by which the time since boot may fall within one boot: consoles interleave, CPUs race to print."""

_HOST_CAP = 1024
"""Hosts of one file whose boots are told apart."""

# Messages that are their own record although the line has no prefix.  Each needs more than the fifteen characters
# that a process name, which the kernel prints as it is, could put after a newline.
_OWN_RECORD = re.compile(
    r"NVRM: (?:loading NVIDIA|Xid \([^)]{4,40}\): \d|GPU (?:at )?(?:PCI:)?[0-9a-f]{4,8}:[0-9a-f]{2}:)"
    r"|NVRM: (?:nvAssert|nvCheck)\w+: "
    r"|nvidia-nvswitch\d{1,3}: SXid \(|nvidia-modeset: (?:ERROR|WARNING): "
    r"|BUG: (?:unable to handle |kernel NULL pointer|soft lockup - |workqueue lockup|KASAN: |Bad page )"
    r"|watchdog: (?:BUG: soft lockup|Watchdog detected)|NMI watchdog: Watchdog|Kernel panic - not syncing"
    r"|INFO: (?:task \S{1,40}:\d+ blocked|rcu_\w+ )|rcu: INFO: rcu_|kernel BUG at \S{1,200}:\d"
    r"|Oops: [\w: ]{1,40}\[#\d|general protection fault|RIP: (?:0010:)?[\w.]{1,200}\+0x"
    r"|WARNING: CPU: \d|-{12}\[ cut here|mce: \[Hardware Error\]|Call [Tt]race:$"
    r"|(?:Out of memory|Memory cgroup out of memory): Kill"
    r"|[a-z][\w-]{1,30} [0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7][: ]"
)
_KERNEL_TAG = re.compile(r"(?<!\S)(?:NVRM|nvidia-nvswitch\d{1,3}|nvidia-(?:modeset|nvlink|uvm|peermem|drm)): ")
_TIME_TAKEN_OUT = re.compile(r"\[ {1,14}\] (?=\S)")
"""What is left of a time that somebody took out of the kernel's lines, as the messages of patches have it."""
_ON_TERMINAL = re.compile(r"\s*kernel:(?=[A-Za-z][\w-]{0,40}[:\s(])")
"""How syslogd begins a line of the kernel's that it writes on terminals."""
_PROGRAM = re.compile(r"(?<!\S)([\w.@/-]{1,48})\[(\d{1,10})\]: ")
_TRACE_LINE = re.compile(r"(?:\? )?[\w.$]{1,200}\+0x[0-9a-f]+/0x[0-9a-f]+|</?(?:TASK|IRQ|NMI|SOFTIRQ|EOE|ENTRY|#DF)>")
_TRACE_START = re.compile(r"(?:Call [Tt]race|Backtrace|Stack trace):?$|</?(?:TASK|IRQ|NMI)>")
_UNFINISHED = re.compile(
    r"(?:[,:(=&|-]|\b(?:a|an|and|at|by|for|from|has|in|is|of|on|or|the|this|to|while|with|with the))$"
)
_TAGGED_WORD = re.compile(r"\S{1,64}:(?:\s|$)|\S{1,64} (?:\S{1,64}: |[0-9a-f]{4}:[0-9a-f]{2}:)|[\w.@/-]{1,64}\[\d")
_MARKER = re.compile(
    r"-- (?:Boot ([0-9a-f]{32})|(Reboot)|(?:Logs|Journal) begins? at .*|No entries|Subject: .*)(?: --)?$"
)
_PART = re.compile(r"(?:Panic|Oops|Emergency|Restart|Halt|Poweroff|Shutdown)#\d+ Part\d+$")
_ELISION = re.compile(r"(?:\.{3,}|…|\[(?:\.{3}|…|snip)\]|<snip>|--+)$")
_EXPORT = re.compile(rb"__(?:CURSOR|REALTIME_TIMESTAMP)=")
_KMSG_FIELD = re.compile(r" [A-Z_]{1,32}=")
_QUOTED = " \t>|"


class _Boots:
    """The boots of one source, told apart per host."""

    def __init__(self) -> None:
        self._count = 0
        self._highest: dict[Optional[str], float] = {}
        self._names: dict[Optional[str], str] = {}
        self._id: Optional[str] = None
        self._host: Optional[str] = None

    def marker(self, boot_id: Optional[str]) -> None:
        """A journal's own line says that another boot begins."""
        self._id = boot_id
        self._names.clear()
        self._highest.clear()

    def forget_time(self) -> None:
        """What follows is not later than what came before (a part of a crash record)."""
        self._highest.clear()

    def of(self, head: Head) -> str:
        """The boot a line belongs to."""
        host = head.host or self._host
        if self._host is None and head.host and None in self._names:
            self._names[host] = self._names.pop(None)
            if None in self._highest:
                self._highest[host] = self._highest.pop(None)
        self._host = host
        name, highest = self._names.get(host), self._highest.get(host)
        now = head.monotonic if head.kernel else None
        begins = name is None
        if now is not None and highest is not None and now < highest - _CLOCK_NOISE:
            begins = True
        elif head.kernel and head.message.startswith("Linux version "):
            # The first lines of a boot may come before its version.
            begins = begins or now is None or highest is None or highest > 1.0
        if now is not None:
            self._highest[host] = now if begins or highest is None else max(now, highest)
        if begins or name is None:
            if len(self._names) >= _HOST_CAP:
                self._names.clear()
                self._highest = {host: now} if now is not None else {}
            self._count += 1
            name = self._names[host] = f"#{self._count}"
        return self._id or name


def _wrapped_by_mail(previous: str, line: str) -> bool:
    """Whether a mail program broke one line into these two (at 66 to 80 columns, within a sentence)."""
    first = line.split(" ", 1)[0]
    return (
        50 <= len(previous) <= 80
        and len(previous) + 1 + len(first) > 68
        and previous[-1] not in ".:;!?)]>\"'"
        and not line[0].isupper()
        and line[0] not in "[<("
        and (line.startswith("0x") or not _TAGGED_WORD.match(line))
    )


def _continues_indented(previous: str, line: str, joined: bool) -> bool:
    """Whether an indented line of a paste goes on with the one before."""
    unfinished = _UNFINISHED.search(previous[-40:]) is not None
    if _TRACE_LINE.match(line):
        return unfinished
    return joined or unfinished or (len(previous) >= 60 and previous[-1] not in ".!?)]>\"'")


def _pasted(line: str) -> Head:
    """A line without a prefix, taken at its word: the message starts at the kernel's tag, if one stands in it."""
    line = _TIME_TAKEN_OUT.sub("", line, count=1) if line.startswith("[ ") else line
    shown = _ON_TERMINAL.match(line)
    line = line[shown.end() :] if shown is not None else line
    own = bare_tag(line.lstrip())
    if own is not None:
        return own
    tag = _KERNEL_TAG.search(line[:256])
    if tag is None or not line[: tag.start()].strip():
        return Head(line, pasted=True, record=False)
    program = _PROGRAM.search(line[: tag.start()])
    if program is not None:
        return Head(line, identifier=program[1], pid=int(program[2]), kernel=False, pasted=True, record=False)
    return Head(line[tag.start() :], pasted=True, record=False)


class _Reader:
    """The state of one source between two lines: the open record, its shape, its boot."""

    def __init__(self, origin: str, clock: Clock, tally: Tally) -> None:
        self._origin = origin
        self._clock = clock
        self._tally = tally
        self._shapes = Shapes(clock)
        self._boots = _Boots()
        self._number = 0
        self._prefixed = False  # some line had a prefix
        self._indent: Optional[int] = None  # of the least indented line that starts a record
        self._export: Optional[ExportBlock] = None
        self._ready: Optional[LogRecord] = None  # complete, nothing can continue it
        self._head: Optional[Head] = None
        self._boot: Optional[str] = None
        self._line = 0
        self._text = ""
        self._parts: list[str] = []
        self._size = 0
        self._cut = False
        # of a paste
        self._previous = ""
        self._level = 0
        self._joined = False
        self._trace = False

    def feed(self, raw: bytes) -> Optional[LogRecord]:
        """Take a line; return the record that it completes, if any."""
        self._number += 1
        if self._export is not None or (raw.startswith(b"__") and _EXPORT.match(raw)):
            return self._feed_export(raw)
        line = unwrapped(plain(decode(raw[:LINE_CAP], self._tally)).rstrip("\r\n"))
        if self._number == 1:
            line = line.lstrip("\ufeff")
        bare = line.strip()
        if not bare:
            self._previous = ""
            return None
        long = len(raw) >= LINE_CAP
        if bare[0] == "{" and line[0] == "{":
            record = parse_journal_json(line, self._origin, number=self._number, tally=self._tally)
            if record is not None:
                self._prefixed = True
                return self._swap(record)
        if bare[0] == "-" and line[0] == "-":
            marker = _MARKER.match(bare)
            if marker:
                if marker[1] or marker[2]:
                    self._boots.marker(marker[1])
                return self._close()
        return self._feed_text(line, bare, long)

    def close(self) -> Iterator[LogRecord]:
        """The records that were still open at the end, in their order."""
        block, self._export = self._export, None
        for record in (
            self._close(),
            self._close(),
            None if block is None else block.record(self._origin, self._tally),
        ):
            if record is not None:
                yield record

    def _feed_export(self, raw: bytes) -> Optional[LogRecord]:
        if self._export is None:
            self._prefixed = True
            self._export = ExportBlock(raw, self._number)
            return None
        if self._export.take(raw):
            return None
        record, self._export = self._export.record(self._origin, self._tally), None
        return self._swap(record)

    def _feed_text(self, line: str, bare: str, long: bool) -> Optional[LogRecord]:
        text = line.lstrip()
        indent = len(line) - len(text)
        open_ = self._head
        foreign = open_ is not None and open_.record and not open_.kernel
        head = None
        if not (foreign and indent > (self._indent or 0)):
            head = self._shapes.match(text)
            if head is None and bare[0] in ">|" and not foreign:
                head = self._shapes.match(text.lstrip(_QUOTED))
        if head is not None:
            self._indent = indent if self._indent is None else min(indent, self._indent)
            if not head.record and open_ is not None:  # the rest of a line that printk began
                self._continue(head.message, "")
                return None
            self._prefixed = True
            if head.pasted:
                stamped = _pasted(head.message)
                head = head._replace(message=stamped.message, kernel=head.kernel and stamped.kernel)
            return self._open(head, line, long)
        if _ELISION.match(bare) or (open_ is not None and _KMSG_FIELD.match(line) and "," in self._text[:24]):
            return None
        if _PART.match(bare):
            self._boots.forget_time()
            return self._close()
        if not self._prefixed:
            return self._feed_paste(line, bare, indent, long)
        if open_ is None:
            head = _pasted(bare)
            return self._open(head._replace(record=True, kernel=head.kernel and not self._shapes.tagged), line, long)
        if open_.kernel and _OWN_RECORD.match(bare):
            head = open_._replace(message=bare, level=None, pasted=True, record=True)
            return self._open(head, line, long)
        self._continue(bare, "\n")
        return None

    def _feed_paste(self, line: str, bare: str, indent: int, long: bool) -> Optional[LogRecord]:
        self._indent = indent if self._indent is None else min(indent, self._indent)
        deeper = indent - self._indent
        previous, self._previous = self._previous, bare
        level, self._level = self._level == deeper, deeper
        joins = False
        if not deeper and not _TRACE_LINE.match(bare):
            self._trace = False
        if _TRACE_START.match(bare):
            self._trace = True
        elif deeper:
            joins = not self._trace and bool(previous) and _continues_indented(previous, bare, self._joined)
        else:
            joins = level and bool(previous) and _wrapped_by_mail(previous, bare)
        if joins and self._head is not None and not _OWN_RECORD.match(bare):
            self._joined = True
            self._continue(bare, "\n")
            return None
        self._joined = False
        return self._open(_pasted(line[self._indent :]), line, long)

    def _open(self, head: Head, line: str, long: bool) -> Optional[LogRecord]:
        """Begin a record with `head`; return the one before."""
        done = self._close()
        self._head = head
        self._boot = self._boots.of(head)
        if head.at is not None:
            self._clock.last = head.at
        self._line = self._number
        self._text = as_it_stood(line)
        message = head.message[: 2 * MESSAGE_CAP]
        if "\\x0a" in message and head.kernel and message.startswith(("NVRM", "nvidia")):
            message = unescape(message)  # a record of several lines, as /dev/kmsg writes it
        self._parts = [message]
        self._size = len(message)
        self._cut = long
        return done

    def _continue(self, text: str, glue: str) -> None:
        """Add a line to the open record, unless it is full: then the rest is cut."""
        if len(self._parts) >= CONTINUATION_CAP or self._size + len(text) > MESSAGE_CAP:
            self._cut = True
            self._size = MESSAGE_CAP
            return
        if glue:
            self._parts[-1] = self._parts[-1].rstrip()
        self._parts.append(glue + text)
        self._size += len(text) + len(glue)

    def _swap(self, record: LogRecord) -> Optional[LogRecord]:
        """Keep a complete record for the next turn; return the one before."""
        done = self._close()
        self._ready = record
        return done

    def _close(self) -> Optional[LogRecord]:
        """The record that was open, if any."""
        if self._ready is not None:
            record, self._ready = self._ready, None
            return record
        head = self._head
        if head is None:
            return None
        self._head = None
        text = "".join(self._parts) if len(self._parts) > 1 else self._parts[0]
        if self._cut and len(text) < MESSAGE_CAP:
            self._tally.cut += 1
            text = text.rstrip() + CUT
        return LogRecord(
            message(text, self._tally),
            head.at,
            head.monotonic,
            self._boot,
            head.level,
            None if head.identifier is None else writer(clean(head.identifier)),
            head.pid,
            None if head.host is None else clean(head.host),
            head.kernel,
            head.pasted,
            head.injected,
            self._origin,
            self._line,
            self._text,
        )


def parse_lines(
    lines: Iterable[bytes],
    *,
    origin: str,
    year_hint: float,
    tz_offset: float = 0.0,
    tally: Optional[Tally] = None,
) -> Iterator[LogRecord]:
    """The records of one source, in order.

    Args:
        lines: raw lines, with or without their newline.  A `CutLine` is the start of a longer one.
        origin: the file or device that the records shall name.
        year_hint: epoch seconds; the log is not younger.  Stamps without a year get the latest year that does not put
            them more than a day later.
        tz_offset: seconds east of UTC of stamps that name no zone.
        tally: counts what had to be cut or could not be read.

    Times that a line does not hold stay None: raw dmesg lines have only the time since boot.
    """
    tally = Tally() if tally is None else tally
    reader = _Reader(origin, Clock(year_hint, tz_offset, tally), tally)
    for raw in lines:
        record = reader.feed(raw)
        if record is not None:
            yield record
    yield from reader.close()
