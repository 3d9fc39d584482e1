"""Turns log records into signals, driven by the patterns of the rulebook.

All patterns that may apply to a record are asked at once by one RE2 set, so a
record that means nothing costs one pass whatever the number of patterns; only
the patterns that hit are run again for their groups.  RE2 matches in time
linear in the text, so no line can stall a sweep.

A pattern is matched from the start of the message: text that a program smuggled
into the middle of a kernel line (a process name, say) forges nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import re2

from probes.model import LogRecord
from probes.pci import normal_address
from triage.crash import Crashes
from triage.model import Signal
from triage.rulebook.model import Rulebook, Seen, SignalPattern, XidEntry
from triage.timeline import FOLDED

MESSAGE_LIMIT = 16384
"""Characters of a message that are looked at; records are cut there when read."""

REMEMBERED = 2048
"""Messages whose signals are remembered, for what comes again and again."""
REMEMBERED_LENGTH = 512

_SPACE = re.compile(r"\s+")
_NVRM_AGAIN = re.compile(r"(?<=.)\s+NVRM:\s+")


_Told = tuple[str, str | None, Mapping[str, str]]


class _Set(NamedTuple):
    automaton: Any
    patterns: tuple[tuple[SignalPattern, Any], ...]


def signal_name(pattern_id: str) -> str:
    """Return the name a pattern gives its signals: `xid` for `xid#bare`, a second spelling of it."""
    return pattern_id.partition("#")[0]


def own_codes(rulebook: Rulebook) -> frozenset[int]:
    """Return the Xids that open an incident of a rule by their number; the others need a rule that takes the rest."""
    return frozenset(
        code
        for rule in rulebook.rules
        for clause in rule.trigger.any
        if isinstance(clause, Seen) and not clause.select.where
        for code in clause.select.xids
    )


def flat(message: str) -> str:
    """Join the lines of a record into one, dropping the `NVRM:` that the driver repeats on each."""
    if "\n" in message or "  " in message:
        message = _SPACE.sub(" ", message)
        message = _NVRM_AGAIN.sub(" ", message)
    return message.strip()[:MESSAGE_LIMIT]


class Scanner:
    """The compiled patterns of one rulebook.  `plain` counts the records that meant nothing."""

    def __init__(self, rulebook: Rulebook) -> None:
        self._xids = rulebook.xids
        self._own = own_codes(rulebook)
        self._modules = rulebook.modules
        self._kernel = _compile(tuple(p for p in rulebook.signals if p.source != "service"))
        self._service = _compile(tuple(p for p in rulebook.signals if p.source != "kernel"))
        self._pasted = _compile(rulebook.signals)
        self.plain = 0
        self._told: dict[tuple[bool, bool, str | None, str], list[_Told]] = {}
        self._adopted: list[Signal] = []
        self.crashes = Crashes(self._modules)
        """The crash that `scan` is putting together, if there is one."""

    def scan(self, records: Iterable[LogRecord]) -> Iterator[Signal]:
        """Yield the signals of these records in their order, crashes put together from their lines."""
        crashes = self.crashes = Crashes(self._modules)
        for record in records:
            yield from self._taken_over()
            signals = self.match(record)
            if not signals:
                self.plain += 1
            yield from crashes.feed(record, signals)
            for signal in signals:
                if not signal.name.startswith("crash."):
                    yield signal
        yield from self._taken_over()
        yield from crashes.close()

    def adopt(self, signals: Iterable[Signal], plain: int) -> None:
        """Take over what another scanner found in a log of its own; `scan` yields it in its place."""
        self._adopted.extend(signal._replace(order=0, last_order=FOLDED) for signal in signals)
        self.plain += plain

    def _taken_over(self) -> Iterator[Signal]:
        if self._adopted:
            adopted, self._adopted = self._adopted, []
            yield from adopted

    def match(self, record: LogRecord) -> list[Signal]:
        """Return the signals of one record on its own."""
        chosen = self._pasted if record.pasted else self._kernel if record.kernel else self._service
        text = flat(record.message)
        if not text:
            return []
        # A storm says the same over and over.
        key = (record.kernel, record.pasted, record.identifier, text)
        found = self._told.get(key)
        if found is None:
            found = [*self._search(chosen, record, text)]
            if found and len(text) <= REMEMBERED_LENGTH:
                if len(self._told) >= REMEMBERED:
                    self._told.clear()
                self._told[key] = found
        return [Signal(name, pci, fields, record) for name, pci, fields in found]

    def _search(self, chosen: _Set, record: LogRecord, text: str) -> Iterator[_Told]:
        try:
            hits = chosen.automaton.Match(text)
        except UnicodeEncodeError:  # lone surrogates never belong to a pattern
            text = text.encode("utf-8", "replace").decode()
            hits = chosen.automaton.Match(text)
        for index in sorted(hits or ()):
            pattern, regex = chosen.patterns[index]
            if pattern.programs and record.identifier not in pattern.programs and not record.pasted:
                continue
            fields = _fields(pattern.match, text) if text.isascii() else _groups(regex.match(text))
            if fields is None:  # the set and the single pattern are the same engine
                continue
            yield signal_name(pattern.id), _address(pattern, fields), self._known(fields)

    def _known(self, fields: dict[str, str]) -> Mapping[str, str]:
        """Add what the catalogue knows of a code and what its text says, so that rules can ask for either."""
        if "xid" in fields:
            return self._known_xid(fields)
        if "sxid" in fields:
            from triage import decode  # here, because most logs have no such line and need not pay for it

            return fields | decode.switch_fields(int(fields["sxid"][:6]))
        return fields

    def _known_xid(self, fields: dict[str, str]) -> Mapping[str, str]:
        from triage import decode

        number = int(fields["xid"][:6])
        entry: XidEntry | None = self._xids.get(number)
        fields["known"] = "no" if entry is None else "yes"
        fields["own_rule"] = "yes" if number in self._own else "no"
        if entry is not None:
            fields["group"] = entry.group
            fields["bucket"] = entry.bucket
        for name, value in decode.fields(number, fields.get("text", "")).items():
            fields.setdefault(name, value)
        return fields


def _address(pattern: SignalPattern, fields: Mapping[str, str]) -> str | None:
    if pattern.device is None or pattern.device not in fields:
        return None
    text = fields[pattern.device]
    if pattern.device == "gpu_id":  # nvidia-drm prints bus << 8 | slot, the domain above 16 bits
        number = int(text, 16)
        return f"{number >> 16:04x}:{number >> 8 & 0xFF:02x}:{number & 0xFF:02x}.0"
    return normal_address(text)


def _groups(match: Any) -> dict[str, str] | None:
    """The named groups that took part in a match, if there is one."""
    return match and {name: value for name, value in match.groupdict().items() if value is not None}


def _fields(pattern: str, text: str) -> dict[str, str] | None:
    """The named groups of ASCII text; by bytes, which is several times as fast."""
    regex, names = _by_bytes(pattern)
    match = regex.match(text.encode())
    if match is None:
        return None
    spans = ((name, match.span(group)) for name, group in names)
    return {name: text[start:end] for name, (start, end) in spans if start >= 0}


@lru_cache(maxsize=1024)
def _by_bytes(pattern: str) -> tuple[Any, tuple[tuple[str, int], ...]]:
    regex = re2.compile(pattern.encode(), options=_options())
    return regex, tuple((name.decode(), group) for name, group in regex.groupindex.items())


def _options() -> Any:
    options = re2.Options()
    options.log_errors = False
    options.dot_nl = True
    options.max_mem = 64 << 20
    return options


@lru_cache(maxsize=6)  # two rulebooks at once, as `rules replay` has them, at three sets each
def _compile(patterns: tuple[SignalPattern, ...]) -> _Set:
    options = _options()
    automaton = re2.Set.MatchSet(options)
    kept = []
    for pattern in patterns:
        automaton.Add(pattern.match)
        kept.append((pattern, re2.compile(pattern.match, options=options)))
    automaton.Compile()
    return _Set(automaton, tuple(kept))
