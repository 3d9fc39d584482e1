"""The shapes in which kernel log lines come, one pattern each.

`Shapes.match` takes one line without indentation and says what its prefix
claims, or None if it has none.  Only the tag `kernel` makes a syslog or
journal line a kernel record: what a program wrote into its own line stays the
program's, whatever it looks like.
"""

from __future__ import annotations

import re
from functools import cached_property
from typing import Callable, Optional

from probes.named import NamedTuple
from probes.records_text import MESSAGE_CAP
from probes.records_time import Clock

_USER = 8
"""The first priority of syslog that is not the kernel's own (RFC 5424: facility * 8 + severity, the kernel's is 0)."""


class Head(NamedTuple):
    """What the prefix of a line says, and the text after it.

    `record` is false where the line carries no stamp of its own kind and is
    only a program's `tag[pid]:`; such a line does not take continuations.
    """

    message: str
    at: Optional[float] = None
    monotonic: Optional[float] = None
    level: Optional[int] = None
    identifier: Optional[str] = None
    pid: Optional[int] = None
    host: Optional[str] = None
    kernel: bool = True
    pasted: bool = False
    injected: bool = False
    record: bool = True


def _proven(head: Optional[Head], priority: Optional[str]) -> Optional[Head]:
    """What a program sent under the kernel's name; only the priority of syslog tells, where the log keeps it."""
    if head is not None and head.identifier == "kernel" and priority and int(priority) >= _USER:
        return head._replace(kernel=False)
    return head


_LEVELS = {
    "emerg": 0, "panic": 0, "fatal": 0, "alert": 1, "crit": 2, "critical": 2, "err": 3, "error": 3,
    "warn": 4, "warning": 4, "notice": 5, "info": 6, "debug": 7,
}  # fmt: skip

_FACILITY = r"(?:kern|user|mail|daemon|auth|syslog|lpr|news|uucp|cron|authpriv|ftp|res\d{1,2}|local[0-7])"
_CLOCK = r"(\d\d:\d\d:\d\d)(?:[.,](\d{1,9}))?"
_DATE = r"(\d{4}-\d\d-\d\d)"
_ZONE = r"(Z|[+-]\d\d(?::?\d\d)?)"
_MONTH = r"([^\W\d_]{2,9}\.?|\d{1,2}[月월])"
_DELTA = r"(?:\s*<\s*\+?[\d.]{1,20}>)?"
_CALLER = r"(?:\s?\[\s*[TC]\d{1,8}\])?"

_TAGGED = re.compile(
    r"(?:([^\s\[\]:]{1,255}(?::[^\s\[\]:]{1,64}){0,8})\s{1,4})?"  # host, an IPv6 address too
    r"(?:([^\[\]:]{1,64}?)\[(\d{1,10})\]|([^\s\[\]:]{1,64})):(?:\s(.*)|$)",
    re.S,
)
_KERNEL_TAG = re.compile(r"(?:NVRM|nvidia[\w-]*|pcieport|nouveau|amdgpu|mlx5_\w+|watchdog|BUG|INFO|RIP|mce|EDAC|ACPI)$")
_UPTIME = re.compile(r"\[\s*(\d{1,10})\.(\d{1,9})\]" + _CALLER + r"\s?")
_CARRIED = re.compile(r"std(?:out|err) [FP] ")
"""What a container's runtime puts before a line (Kubernetes CRI)."""
_REPEATED = re.compile(r"message repeated \d+ times: \[ ?(.*)\]$", re.S)
_OCTAL = re.compile(r"#(0[0-3][0-7]|177)")
_JOURNAL_HOST = re.compile(
    r"(?:([^\s\[\]:]{1,255}) )?(?:(kernel)|([\w.@/-]{1,64})\[(\d{1,10})\]): "
    r"(?!segfault at|trap |general protection)(.*)",
    re.S,
)
_BARE_TAG = re.compile(r"([\w.@/-]{1,48})\[(\d{1,10})\]: (?!segfault at|trap |general protection)(.*)", re.S)


_X_SERVER = {"(EE)", "(WW)", "(II)", "(--)", "(**)", "(==)", "(++)", "(!!)", "(NI)", "(DB)", "(??)"}
"""What the X server puts before what it says, behind a time since boot in thousandths; the kernel's has six digits."""


def _seconds(whole: str, digits: str) -> float:
    return float(f"{whole}.{digits}")


def _one_blank_less(text: str) -> str:
    return text[1:] if text[:1] == " " else text


def _kernel_text(text: str) -> tuple[str, Optional[float]]:
    """The message of a syslog `kernel:` line, and the time since boot that it may begin with."""
    if text.startswith("message repeated "):
        repeated = _REPEATED.match(text)
        if repeated:
            text = repeated[1]
    uptime = _UPTIME.match(text)
    return (text[uptime.end() :], _seconds(uptime[1], uptime[2])) if uptime else (text, None)


class _Shape:
    """A pattern that is compiled when it is first asked for: most logs are of one shape."""

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern

    @cached_property
    def match(self) -> Callable[[str], Optional[re.Match[str]]]:
        """What matches a text from its beginning."""
        return re.compile(self._pattern, re.S).match


class Shapes:
    """The shapes of one source.  The shape that matched last is tried first."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.tagged = False
        """Whether some line carried a syslog tag: from then on a tag is needed to be the kernel."""
        self._x_server = False  # some line was the X server's own
        self._last: Optional[tuple[_Shape, Callable[[re.Match[str]], Optional[Head]]]] = None
        self._table = [(_Shape(pattern), build) for pattern, build in self._patterns()]
        self._stamps = self._table[:5]

    def match(self, text: str) -> Optional[Head]:
        """What the prefix of `text` says, or None if it has none that is known."""
        last = self._last
        if last is not None:
            found = last[0].match(text)
            if found:
                head = last[1](found)
                if head is not None:
                    return head
        for shape in self._table:
            if shape is last:
                continue
            found = shape[0].match(text)
            if found:
                head = shape[1](found)
                if head is not None:
                    self._last = shape
                    return head
        return None

    def _patterns(self) -> list[tuple[str, Callable[[re.Match[str]], Optional[Head]]]]:
        # Likeliest first.  The first five are the stamps that `dmesg -x` and printk put a level before.
        return [
            (r"\[\s*(\d{1,10})\.(\d{1,9})" + _DELTA + r"\]" + _CALLER + r"(.*)", self._uptime),
            (r"\[?[^\W\d_]{2,5}\.? " + _MONTH + r"\s{1,2}(\d{1,2}) " + _CLOCK + r" (\d{4})" + _DELTA + r"\](.*)",
             self._ctime),
            (r"(?:<(\d{1,3})>)?" + _DATE + r"([T ])" + _CLOCK + r"\s?" + _ZONE + r"?[:,]?\s+(.*)", self._iso),
            (r"\[([^\W\d_]{2,5}\.?)\s?(\d{1,2}) (\d\d:\d\d)\](.*)", self._minute),
            (r"\[(?:\s*\+|<\s*)(\d{1,10})\.(\d{1,9})>?\](.*)", self._delta),
            (r"(?:<(\d{1,3})>)?" + _MONTH + r"\s{1,2}(\d{1,2})\s(?:(\d{4})\s)?" + _CLOCK + r"\s+(.*)", self._syslog),
            (r"(\d{1,4}),\d{1,20},(\d{1,20}),([^,;]{0,8})(?:,[^;]{0,200})?;(.*)", self._kmsg),
            (r"(" + _FACILITY + r")\s*[:.](\w{1,8})\s*: ?(.*)", self._decoded),
            (r"<(\d{1,3})>1 (?:" + _DATE + r"T" + _CLOCK + _ZONE + r"|-) (\S+) (\S+) (\S+) \S+ (.*)", self._rfc5424),
            (r"<(\d{1,3})>(?!1 [\d-]|\w{2,9}\.?\s{1,2}\d{1,2}\s|\d{4}-\d\d-\d\d[T ])(?: (?=\[))?(.*)", self._printk),
            (r"kernel:(?: |(?=\[\s*\d))(.*)", self._bare_kernel),
            (r"([^\s\[\]:<>]{1,255}) kernel: (.*)", self._host_kernel),
            (r"[^\W\d_]{2,5}\.? " + _DATE + r" " + _CLOCK + r" ([A-Z]{2,5}|[+-]\d\d(?::?\d\d)?) (.*)", self._full),
            (r"(\d{9,11})\.(\d{1,9}) (.*)", self._unix),
            (r"(?:(\S{1,255}): )?(" + _FACILITY + r"): +(\w{1,8}): \[" + _DATE + r"T" + _CLOCK + _ZONE + r"\]: ?(.*)",
             self._talos),
            (r"\[" + _MONTH + r" (\d{1,2}) (\d{4}) " + _CLOCK + r"\] \[(\w{1,10})\] \[tid (\d{1,10})\] (.*)",
             self._fabric_manager),
            (r"(\d{1,10})\.(\d{3,9})\]" + _CALLER + r"(.*)", self._uptime),
            (r"\[\s*[TC]\d{1,8}\](.*)", self._caller),
            (r"\[" + _DATE + r"[T ]" + _CLOCK + r"\s?" + _ZONE + r"?\]:?(?:\s+|(?=\[\s*\d))(.*)", self._bracketed),
            (_CLOCK + r"\s+(.*)", self._clock_only),
            (r"(?=\S{0,255}/)[\w.@+/-]{2,255}:(?:\d{1,9}:)?(.*)", self._found_by_grep),
        ]  # fmt: skip

    # dmesg and printk

    def _uptime(self, found: re.Match[str]) -> Optional[Head]:
        text = _one_blank_less(found[3])
        mono = _seconds(found[1], found[2])
        if len(found[2]) == 3 and (self._x_server or not text or text[:4] in _X_SERVER):
            self._x_server = True
            return Head(text, monotonic=mono, identifier="Xorg", kernel=False)
        journal = _JOURNAL_HOST.match(text)
        if journal is None:
            return Head(text, monotonic=mono)
        host, kernel, tag, pid, rest = journal.groups()
        if kernel:
            return Head(rest, monotonic=mono, identifier="kernel", host=host)
        if host:  # journalctl -o short-monotonic; `[..] systemd[1]: ..` alone is the ring buffer
            return Head(rest, monotonic=mono, identifier=tag, pid=int(pid), host=host, kernel=False)
        return Head(text, monotonic=mono)

    def _ctime(self, found: re.Match[str]) -> Optional[Head]:
        month, day, clock, _, year, rest = found.groups()
        head = Head(_one_blank_less(rest), at=self.clock.in_year(int(year), month, day, clock))
        journal = _JOURNAL_HOST.match(head.message)
        if journal and journal[2]:  # a collector put host and tag behind the stamp of `dmesg -T`
            return head._replace(message=journal[5], identifier="kernel", host=journal[1])
        return head

    def _minute(self, found: re.Match[str]) -> Optional[Head]:
        return Head(_one_blank_less(found[4]), at=self.clock.yearless(found[1], found[2], found[3]))

    def _delta(self, found: re.Match[str]) -> Optional[Head]:
        last = self.clock.last
        return Head(_one_blank_less(found[3]), at=None if last is None else last + _seconds(found[1], found[2]))

    def _caller(self, found: re.Match[str]) -> Optional[Head]:
        return Head(_one_blank_less(found[1]))

    def _decoded(self, found: re.Match[str]) -> Optional[Head]:
        facility, level, text = found.groups()
        if level not in _LEVELS:
            return None
        return self._stamped(text)._replace(level=_LEVELS[level], injected=facility != "kern")

    def _printk(self, found: re.Match[str]) -> Optional[Head]:
        priority = int(found[1])
        head = self._stamped(found[2])
        return head._replace(level=priority & 7, injected=priority > 7)

    def _stamped(self, text: str) -> Head:
        """A line after its level: with a stamp of dmesg's or with none."""
        for pattern, build in self._stamps:
            found = pattern.match(text)
            if found:
                return build(found) or Head(text)
        return Head(text)

    def _kmsg(self, found: re.Match[str]) -> Optional[Head]:
        from probes.records_journal import unescape

        priority = int(found[1])
        return Head(
            unescape(found[4]),
            monotonic=int(found[2]) / 1e6,
            level=priority & 7,
            injected=priority > 7,
            record=found[3] != "+",
        )

    # syslog and the journal as text

    def _tagged(self, at: Optional[float], text: str, level: Optional[int] = None) -> Optional[Head]:
        """A line `[host] tag[pid]: message`; without any tag, a paste if no line so far had one."""
        found = _TAGGED.match(text)
        if "#" in text:
            text = _OCTAL.sub(lambda octal: chr(int(octal[1], 8)), text[: 4 * MESSAGE_CAP])
            found = _TAGGED.match(text) if found else None
        if found:
            host, tag, pid, lone, rest = found.groups("")
            tag = tag or lone
            if tag == "kernel" and not pid:
                self.tagged = True
                rest, uptime = _kernel_text(rest)
                return Head(rest, at, uptime, level, tag, None, host or None)
            if self.tagged or pid or host or not _KERNEL_TAG.match(tag):
                self.tagged = True
                return Head(rest, at, None, level, tag, int(pid) if pid else None, host or None, False)
        elif ":" not in text:
            return None
        if self.tagged:
            return Head(text, at, level=level, kernel=False)
        text, uptime = _kernel_text(text)
        return Head(text, at, uptime, level, pasted=True)

    def _syslog(self, found: re.Match[str]) -> Optional[Head]:
        priority, month, day, year, clock, digits, text = found.groups()
        if year:
            at = self.clock.in_year(int(year), month, day, clock)
        else:
            at = self.clock.yearless(month, day, clock, digits)
        return _proven(self._tagged(at, text, int(priority) & 7 if priority else None), priority)

    def _iso(self, found: re.Match[str]) -> Optional[Head]:
        priority, date, middle, clock, digits, zone, text = found.groups()
        at = self.clock.on_date(date, clock, digits, zone)
        level = int(priority) & 7 if priority else None
        if middle == "T" and zone and found.string[found.end(4) : found.end(4) + 1] == ",":
            caller = _CALLER_FIRST.match(text)  # dmesg --time-format=iso
            text = text[caller.end() :] if caller else text
            return Head(text, at, level=level, injected=bool(priority) and int(priority) > 7)
        carried = _CARRIED.match(text)
        if carried:
            message, monotonic = _kernel_text(text[carried.end() :])
            if monotonic is not None:
                return Head(message, at, monotonic)
            text = message
        return _proven(self._tagged(at, text, level), priority)

    def _full(self, found: re.Match[str]) -> Optional[Head]:
        date, clock, digits, zone, text = found.groups()
        return self._tagged(self.clock.on_date(date, clock, digits, zone), text)

    def _unix(self, found: re.Match[str]) -> Optional[Head]:
        return self._tagged(_seconds(found[1], found[2]), found[3])

    def _rfc5424(self, found: re.Match[str]) -> Optional[Head]:
        priority, date, clock, digits, zone, host, app, pid, text = found.groups()
        at = self.clock.on_date(date, clock, digits, zone) if date else None
        self.tagged = True
        head = Head(
            "", at, None, int(priority) & 7, app, int(pid) if pid.isdecimal() and len(pid) < 11 else None,
            None if host == "-" else host, app == "kernel" and int(priority) < _USER,
        )  # fmt: skip
        text = _OCTAL.sub(lambda octal: chr(int(octal[1], 8)), _after_data(text)[: 4 * MESSAGE_CAP])
        text, uptime = _kernel_text(text) if head.kernel else (text, None)
        return head._replace(message=text, monotonic=uptime)

    def _bare_kernel(self, found: re.Match[str]) -> Optional[Head]:
        text, uptime = _kernel_text(found[1])
        return Head(text, monotonic=uptime, identifier="kernel")

    def _host_kernel(self, found: re.Match[str]) -> Optional[Head]:
        text, uptime = _kernel_text(found[2])
        return Head(text, monotonic=uptime, identifier="kernel", host=found[1])

    # what wrappers print

    def _talos(self, found: re.Match[str]) -> Optional[Head]:
        host, facility, level, date, clock, digits, zone, text = found.groups()
        at = self.clock.on_date(date, clock, digits, zone)
        return Head(text, at, level=_LEVELS.get(level), host=host, injected=facility != "kern")

    def _found_by_grep(self, found: re.Match[str]) -> Optional[Head]:
        """A line of a log behind the name of its file, as `grep` prints it for several files."""
        for pattern, build in self._table[:6]:  # those that begin with a stamp
            line = pattern.match(found[1])
            head = build(line) if line else None
            if head is not None:
                return head
        return None

    def _fabric_manager(self, found: re.Match[str]) -> Optional[Head]:
        month, day, year, clock, _, level, tid, text = found.groups()
        at = self.clock.in_year(int(year), month, day, clock)
        return Head(text, at, None, _LEVELS.get(level.lower()), "fabricmanager", int(tid), kernel=False)

    def _bracketed(self, found: re.Match[str]) -> Optional[Head]:
        date, clock, digits, zone, text = found.groups()
        text, uptime = _kernel_text(text)  # some collectors put their own time before the kernel's
        return Head(text, self.clock.on_date(date, clock, digits, zone), uptime, pasted=True)

    def _clock_only(self, found: re.Match[str]) -> Optional[Head]:
        journal = _JOURNAL_HOST.match(found[3])
        if journal is None:
            return Head(found[3], pasted=True)
        host, kernel, tag, pid, rest = journal.groups()
        rest, uptime = _kernel_text(rest) if kernel else (rest, None)
        return Head(rest, None, uptime, None, kernel or tag, int(pid) if pid else None, host, bool(kernel))


_CALLER_FIRST = re.compile(r"\[\s*[TC]\d{1,8}\]\s?")


def _after_data(text: str) -> str:
    """The message of an RFC 5424 line after its structured data (`-` or `[id name="value"]...`)."""
    if text[:1] == "-":
        return text[1:].lstrip(" ").lstrip("\ufeff")
    while text[:1] == "[":
        end, quoted = 1, False
        while end < len(text) and (quoted or text[end] != "]"):
            if text[end] == "\\":
                end += 1
            elif text[end] == '"':
                quoted = not quoted
            end += 1
        text = text[end + 1 :]
    return text.lstrip(" ").lstrip("\ufeff")


def bare_tag(text: str) -> Optional[Head]:
    """A program's line that begins with `tag[pid]:` alone; the kernel's own `comm[pid]: segfault at` is none."""
    found = _BARE_TAG.match(text)
    if not found:
        return None
    return Head(found[3], identifier=found[1], pid=int(found[2]), kernel=False, record=False)
