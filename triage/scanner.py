"""Turns log records into signals, driven by the patterns of the rulebook.

All patterns that may apply to a record are asked at once by one RE2 set, so a
record that means nothing costs one pass whatever the number of patterns; only
the patterns that hit are run again for their groups.  RE2 matches in time
linear in the text, so no line can stall a sweep.

The set takes some 20 ms to compile and as long again to get going, more than all
else that a health check does.  So where the rulebook tells the phrases of its
signals, the first records are sieved by those, and only the patterns whose
phrase is there are asked.

A pattern is matched from the start of the message: text that a program smuggled
into the middle of a kernel line (a process name, say) forges nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

import re2

from probes.model import LogRecord
from probes.pci import normal_address
from triage.crash import Crashes
from triage.model import Signal
from triage.rulebook.model import Rulebook, Seen, Sieve, SignalPattern, XidEntry
from triage.timeline import FOLDED

MESSAGE_LIMIT = 16384
"""Characters of a message that are looked at; records are cut there when read."""

REMEMBERED = 2048
"""Messages whose signals are remembered, for what comes again and again."""
REMEMBERED_LENGTH = 512

_SPACE = re.compile(r"\s+")
_NVRM_AGAIN = re.compile(r"(?<=.)\s+NVRM:\s+")


SIEVED = 5000
"""Texts with a phrase in them after which compiling the set is worth its time."""

SHORT, LONG = 5, 10
"""Characters of a line's beginning by which its patterns are looked up; of many no more is known than `NVRM: `."""

_Told = tuple[str, str | None, Mapping[str, str]]


class _Set:
    """The patterns for one kind of record; what is compiled of them is what was needed."""

    def __init__(self, patterns: tuple[SignalPattern, ...], sieves: tuple[Sieve, ...]) -> None:
        self.patterns = patterns
        self._sieve = _Sieves(sieves) if sieves else None
        self._sieved = 0
        self._automaton: Any = None
        self._regexes: dict[int, Any] = {}

    def hits(self, text: str) -> Sequence[int]:
        """Return the places of all patterns that match, in order; there may be some among them that do not."""
        if self._sieve is not None and self._sieved < SIEVED:
            places = self._sieve.places(text)
            self._sieved += bool(places)
            return places
        if self._automaton is None:
            self._automaton = re2.Set.MatchSet(_options())
            for pattern in self.patterns:
                self._automaton.Add(pattern.match)
            self._automaton.Compile()
        return sorted(self._automaton.Match(text) or ())

    def match(self, place: int, text: str) -> Any:
        """Return the match of one pattern, if there is one."""
        if place not in self._regexes:
            self._regexes[place] = re2.compile(self.patterns[place].match, options=_options())
        return self._regexes[place].match(text)


class _Sieves:
    """Finds the patterns that a text may be of: it begins as theirs do, if that is known, and holds their phrases.

    Where all beginnings of a pattern are known and long enough it is looked up by them, else by its phrases.
    """

    def __init__(self, sieves: tuple[Sieve, ...]) -> None:
        self._sieves = sieves
        self._begin: dict[str, list[int]] = {}
        owners: dict[tuple[str, bool], list[int]] = {}
        for place, sieve in enumerate(sieves):
            keys = {opening[: LONG if len(opening) >= LONG else SHORT] for opening in sieve.openings}
            if keys and len(min(keys, key=len)) >= SHORT:
                for key in keys:
                    self._begin.setdefault(key, []).append(place)
            else:
                for phrase in sieve.phrases:
                    owners.setdefault(phrase, []).append(place)
        self._owners = tuple(owners.values())
        self._phrases = re2.Set.SearchSet(_options())
        for text, caseless in owners:
            self._phrases.Add(f"(?i:{re2.escape(text)})" if caseless else re2.escape(text))
        self._phrases.Compile()

    def places(self, text: str) -> list[int]:
        """Return the places of those patterns in order."""
        found = {*self._begin.get(text[:SHORT], ()), *self._begin.get(text[:LONG], ())}
        for phrase in self._phrases.Match(text.encode()) or ():
            found.update(self._owners[phrase])
        return sorted(place for place in found if _passes(self._sieves[place], text)) if found else []


def _passes(sieve: Sieve, text: str) -> bool:
    phrases, openings, further = sieve
    return (
        (not openings or text.startswith(openings)) and (not further or _holds(text, further)) and _holds(text, phrases)
    )


def _holds(text: str, phrases: Sequence[tuple[str, bool]]) -> bool:
    for phrase, caseless in phrases:  # noqa: SIM110 - twice as fast as `any`
        if phrase in (text.casefold() if caseless else text):
            return True
    return False


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
    """The compiled patterns of one rulebook.  `plain` counts the records that meant nothing.

    `sets` holds what other scanners have compiled of this rulebook, and gets what this one compiles.
    """

    def __init__(self, rulebook: Rulebook, sets: dict[str, _Set] | None = None) -> None:
        self._xids = rulebook.xids
        self._own = own_codes(rulebook)
        self._modules = rulebook.modules
        self._rulebook = rulebook
        self._sets = {} if sets is None else sets
        self.plain = 0
        self._told: dict[tuple[bool, bool, str | None, str], list[_Told]] = {}
        self._adopted: list[Signal] = []
        self.crashes = Crashes(self._modules)
        """The crash that `scan` is putting together, if there is one."""

    def scan(self, records: Iterable[LogRecord]) -> Iterator[Signal]:
        """Yield the signals of these records in their order, crashes put together from their lines."""
        self.crashes = Crashes(self._modules)
        for record in records:
            signals = self.match(record)
            if signals or self._adopted or not self.crashes.idle(record):
                yield from self._feed(record, signals)
            else:
                self.plain += 1
        yield from self._taken_over()
        yield from self.crashes.close()

    def feed(self, record: LogRecord) -> Iterator[Signal]:
        """Yield the signals that this record completes; a crash comes once it is over, or `crashes` is closed."""
        return self._feed(record, self.match(record))

    def _feed(self, record: LogRecord, signals: list[Signal]) -> Iterator[Signal]:
        if self._adopted:
            yield from self._taken_over()
        crashes = self.crashes
        if not signals:
            self.plain += 1
        if crashes.idle(record) and not any(signal.name.startswith("crash.") for signal in signals):
            yield from signals
            return
        yield from crashes.feed(record, signals)
        for signal in signals:
            if not signal.name.startswith("crash."):
                yield signal

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
        text = flat(record.message)
        # A storm says the same over and over.
        key = (record.kernel, record.pasted, record.identifier, text)
        found = self._told.get(key)
        if found is None:
            found = self._read(record, text) if text else []
            if found and len(text) <= REMEMBERED_LENGTH:
                if len(self._told) >= REMEMBERED:
                    self._told.clear()
                self._told[key] = found
        return [Signal(name, pci, fields, record) for name, pci, fields in found]

    def _read(self, record: LogRecord, text: str) -> list[_Told]:
        """What the patterns make of a record."""
        kind = "pasted" if record.pasted else "kernel" if record.kernel else "service"
        chosen = self._sets.get(kind) or self._set(kind)
        try:
            hits = chosen.hits(text)
        except UnicodeEncodeError:  # lone surrogates never belong to a pattern
            text = text.encode("utf-8", "replace").decode()
            hits = chosen.hits(text)
        if not hits:
            return []
        for rest in (False, True):  # those that take the rest only if no other takes it
            fit = (index for index in hits if chosen.patterns[index].rest == rest)
            told = [one for index in fit if (one := self._tell(chosen, record, text, index)) is not None]
            if told:
                return told
        return []

    def _set(self, kind: str) -> _Set:
        unfit = {"kernel": "service", "service": "kernel"}.get(kind)
        signals, sieves = self._rulebook.signals, self._rulebook.sieves
        fit = [place for place, pattern in enumerate(signals) if pattern.source != unfit]
        found = self._sets[kind] = _compile(
            tuple(signals[place] for place in fit), tuple(sieves[place] for place in fit) if sieves else ()
        )
        return found

    def _tell(self, chosen: _Set, record: LogRecord, text: str, index: int) -> _Told | None:
        """What one pattern makes of a record, if it reads it."""
        pattern = chosen.patterns[index]
        if pattern.programs and record.identifier not in pattern.programs and not record.pasted:
            return None
        fields = _fields(pattern.match, text) if text.isascii() else _groups(chosen.match(index, text))
        if fields is None:  # it was only sieved
            return None
        return signal_name(pattern.id), _address(pattern, fields), self._known(fields)

    def _known(self, fields: dict[str, str]) -> Mapping[str, str]:
        """Add what the catalogue knows of a code and what its text says, so that rules can ask for either."""
        if "xid" in fields:
            return self._known_xid(fields)
        if "sxid" in fields:
            from triage import decode  # here, because most logs have no such line and need not pay for it

            return fields | decode.switch_fields(int(fields["sxid"][:6]))
        if "dcgm" in fields:
            from triage import decode

            return {**fields, **decode.dcgm_fields(fields["dcgm"], fields.get("text", ""))}
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
def _compile(patterns: tuple[SignalPattern, ...], sieves: tuple[Sieve, ...]) -> _Set:
    return _Set(patterns, sieves)
