"""What a single line of a log says: its time, its message, the signals in it, and whether a search finds it."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from probes.records import parse_lines
from triage.rulebook.model import Rulebook

_ISO = re.compile(
    r"^\d{4}-\d\d-\d\d[T ](\d\d:\d\d:\d\d)(?:[.,](\d{1,3})\d*)?(?:Z|[+-]\d\d:?\d\d)? (\S+) ([^\s:\[]+)(?:\[\d+\])?: "
)
_SYSLOG = re.compile(
    r"^(?:<\d{1,3}>)?[A-Z]\w\w [ \d]\d (\d\d:\d\d:\d\d)(?:\.(\d{1,3})\d*)? (\S+) ([^\s:\[]+)(?:\[\d+\])?: "
)
_UPTIME = re.compile(r"^(?:<\d{1,3}>)?\[ {0,6}(\d{1,8}\.\d{3})\d{3}\] ")
_OWN = re.compile(r"^\d{4}-\d\d-\d\dT(\d\d:\d\d:\d\d)\.(\d{3})Z ([^\s:]+): ")
_VOLATILE = re.compile(rb"0[xX][0-9a-fA-F_]+|\b[0-9a-fA-F]{6,}\b|\d+")
_SHAPE_MOST = 300
_GROUP = re.compile(r"\(\?P<(\w+)>")


class Parts(NamedTuple):
    """A line as a person reads it: when (a time of day, or seconds since boot) and what."""

    stamp: str
    message: str


def parts(text: str) -> Parts:
    """Return the time and the message of a line; what is no log line is all message."""
    for shape in (_OWN, _ISO, _SYSLOG):
        match = shape.match(text)
        if match is not None:
            stamp = match[1] if match[2] is None else f"{match[1]}.{match[2]:<03}"
            program = match[match.lastindex or 3]
            rest = text[match.end() :]
            if program == "kernel":
                inner = _UPTIME.match(rest)
                return Parts(stamp, rest[inner.end() :] if inner else rest)
            return Parts(stamp, f"{program}: {rest}")
    match = _UPTIME.match(text)
    return Parts("", text) if match is None else Parts(match[1], text[match.end() :])


def shape(raw: bytes) -> bytes:
    """Return a line without what changes from repeat to repeat: numbers, addresses, its time."""
    return _VOLATILE.sub(b"#", raw[:_SHAPE_MOST])


def decoded(raw: bytes) -> str:
    """Return the text of a line; what is no UTF-8 becomes a mark."""
    return raw.rstrip(b"\r").decode("utf-8", "replace")


class Search(NamedTuple):
    """A search: `line` tests one line, `chunk` whether any of many may pass."""

    asked: str
    chunk: Callable[[bytes], bool]
    line: Callable[[bytes], bool]
    pattern: Any
    literal: bool = False


def search_for(asked: str) -> Search:
    """Return the search for a pattern; in small letters it disregards case, and if it is no regex it is text.

    It is matched in time linear in the text, whatever is asked.
    """
    import re2

    options = re2.Options()
    options.log_errors = False
    options.encoding = re2.Options.Encoding.LATIN1
    options.case_sensitive = asked != asked.lower()
    wanted = asked.encode("utf-8", "replace")
    literal = False
    try:
        pattern = re2.compile(wanted, options=options)
    except re2.error:
        pattern, literal = re2.compile(re2.escape(wanted), options=options), True
    test = _tester(pattern)
    return Search(asked, test, test, pattern, literal)


def _tester(pattern: Any) -> Callable[[bytes], bool]:
    return lambda data: pattern.search(data) is not None


class Signals:
    """Finds the lines that mean something to the rulebook: first roughly in many, then exactly in one."""

    def __init__(self, rulebook: Rulebook) -> None:
        import re2

        from triage.scanner import Scanner

        self._scanner = Scanner(rulebook)
        # The first spelling of a signal says what it is; `xid#bare` is another spelling of `xid`.
        self._says = {pattern.id.partition("#")[0]: pattern.says for pattern in reversed(rulebook.signals)}
        self._groups: dict[str, set[str]] = {}
        for pattern in rulebook.signals:
            self._groups.setdefault(pattern.id.partition("#")[0], set()).update(_GROUP.findall(pattern.match))
        options = re2.Options()
        options.log_errors = False
        options.encoding = re2.Options.Encoding.LATIN1
        options.max_mem = 256 << 20
        self._any = re2.Set.SearchSet(options)
        for pattern in rulebook.signals:
            self._any.Add(f"(?m:{pattern.match})")  # `$` is the end of any line here
        self._any.Compile()

    def chunk(self, data: bytes) -> bool:
        """Return whether any of many lines may hold a signal."""
        while b"  " in data:  # as the scanner does before it looks
            data = data.replace(b"  ", b" ")
        return bool(self._any.Match(data))

    def line(self, raw: bytes) -> bool:
        """Return whether a line holds a signal."""
        return self.chunk(raw) and bool(self.of(raw))

    def of(self, raw: bytes) -> list[tuple[str, str, dict[str, str]]]:
        """Return the signals of one line: name, what it says, and what it names."""
        found = []
        for record in parse_lines([raw], origin="-", year_hint=time.time()):
            for signal in self._scanner.match(record):
                own = self._groups.get(signal.name, ())
                fields = {name: value for name, value in signal.fields.items() if name in own}
                found.append((signal.name, self._says.get(signal.name, ""), fields))
        return found


def when(raw: bytes, year_hint: float) -> float | None:
    """Return the time of a line in epoch seconds, else in seconds since boot, None if it has none."""
    for record in parse_lines([raw], origin="-", year_hint=year_hint):
        return record.at if record.at is not None else record.monotonic
    return None
