"""Turns files that fit their schema into the values of `triage.rulebook.model`.

Every name that a rule uses, of a cause, a signal, another rule, a reference or
a piece of its own evidence, is looked up, and an unknown one is reported where
it stands, with the name that was probably meant.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from probes.named import NamedTuple
from triage.rulebook.model import (
    Absent,
    Action,
    Clause,
    Count,
    Delta,
    Expect,
    Fact,
    Given,
    Item,
    KnownBug,
    Metric,
    Otherwise,
    Place,
    Points,
    Reference,
    Rule,
    RuleTest,
    Seen,
    Select,
    Sequence,
    SignalPattern,
    Spread,
    Suppress,
    Trigger,
)
from triage.rulebook.problems import Problem, did_you_mean, shown
from triage.rulebook.yamlload import Document, Map, Value, at

UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
"""Seconds in each unit of a duration."""

LOOK_BEFORE, LOOK_AFTER, FOLD = "10m", "2m", "3m"
"""What a rule gets that does not say how far it looks, and a count that does not say what it folds."""


class Names(NamedTuple):
    """What may be named: the words and their points, causes, families, signals and rules."""

    words: Mapping[str, int]
    causes: Collection[str]
    families: frozenset[str]
    signals: frozenset[str]
    rules: frozenset[str]


def seconds(duration: str) -> float:
    """The seconds of a duration such as `90s`, `10m` or `-6d`."""
    unit = duration.lstrip("-0123456789.")
    return float(duration[: len(duration) - len(unit)]) * UNITS[unit]


class RuleReader:
    """Reads one rule file; `signals` are the patterns that its `log` clauses bring along."""

    def __init__(self, path: str, names: Names, problems: list[Problem]) -> None:
        self.signals: list[SignalPattern] = []
        self._path = path
        self._names = names
        self._problems = problems
        self._rule = ""
        self._same = "gpu"
        self._evidence: frozenset[str] = frozenset()
        self._references: frozenset[str] = frozenset()

    def rule(self, document: Document) -> Rule:
        """The rule of a file that fits its schema.  Unknown names are added to the problems."""
        root: Map = document.root
        self._rule = root["id"]
        self._same = root["scope"]
        references = tuple(Reference(r["id"], r["title"], r["url"]) for r in root.get("references", ()))
        self._references = self._distinct(root.get("references", ()), "reference")
        self._evidence = self._distinct(root.get("evidence", ()), "evidence")
        if "trigger" in self._evidence:
            self._report(self._id_place(root["evidence"], "trigger"), "evidence must not be called 'trigger'")
        look = root.get("look", {})
        return Rule(
            id=root["id"],
            version=int(root["version"]),
            title=root["title"],
            status=root["status"],
            severity=root["severity"],
            scope=root["scope"],
            summary=root["summary"],
            references=references,
            trigger=self._trigger(root["trigger"]),
            look_before=seconds(look.get("before", LOOK_BEFORE)),
            look_after=seconds(look.get("after", LOOK_AFTER)),
            explains=self._explains(root),
            suppress=tuple(
                Suppress(self._clause(entry, f"suppress-{n}"), entry["why"])
                for n, entry in enumerate(root.get("suppress", ()), 1)
            ),
            evidence=tuple(
                self._item(entry, at(self._path, mark)) for entry, mark in _members(root.get("evidence", ()))
            ),
            actions=tuple(self._action(entry) for entry in root["actions"]),
            tests=tuple(self._test(entry, at(self._path, mark)) for entry, mark in _members(root.get("tests", ()))),
            place=document.place(),
            lasts=seconds(root["lasts"]) if "lasts" in root else None,
            yields=root.get("yields", False),
        )

    def _report(self, place: Place, message: str) -> None:
        self._problems.append(Problem(place, message))

    def _unknown(self, what: str, name: str, known: Collection[str], place: Place) -> None:
        self._report(place, f"unknown {what} {shown(name)}{did_you_mean(name, known)}")

    def _value_place(self, holder: Map, key: str, index: int | None = None) -> Place:
        """Where the value of a key stands, or that member of it if it is a list."""
        value = holder[key]
        if index is not None and isinstance(value, list):
            return at(self._path, value.marks[index])  # type: ignore[attr-defined]  # a Seq
        return at(self._path, holder.value_marks[key])

    def _id_place(self, listed: Value, name: str) -> Place:
        return next(self._value_place(entry, "id") for entry in listed if entry["id"] == name)

    def _distinct(self, listed: Value, what: str) -> frozenset[str]:
        first: dict[str, Place] = {}
        for entry in listed:
            place = self._value_place(entry, "id")
            if entry["id"] in first:
                self._report(place, f"{what} '{entry['id']}' exists already; first at {first[entry['id']]}")
            first.setdefault(entry["id"], place)
        return frozenset(first)

    def _look_up(self, holder: Map, key: str, what: str, known: Collection[str]) -> tuple[str, ...]:
        """The names under a key, a single one or a list, each of which must be known."""
        names = _several(holder.get(key, ()))
        for index, name in enumerate(names):
            if name not in known:
                self._unknown(what, name, known, self._value_place(holder, key, index))
        return names

    def points(self, holder: Map) -> Points:
        """What `supports` and `opposes` say, a family meaning each of its leaves unless the leaf stands there too."""
        sides = [self._side(holder, "supports", 1), self._side(holder, "opposes", -1)]
        both = sides[0].keys() & sides[1].keys()
        if both:
            place = self._value_place(holder, "opposes")
            self._report(place, f"supports and opposes both name {', '.join(sorted(both))}")
        return sides[0] | sides[1]

    def _side(self, holder: Map, key: str, sign: int) -> dict[str, int]:
        points: dict[str, int] = {}
        named: Map | Mapping[str, str] = holder.get(key, {})
        causes, families = self._names.causes, self._names.families
        for cause, word in sorted(named.items(), key=lambda pair: pair[0].count(".")):  # leaves override families
            if not causes:
                continue  # the file of causes is broken, which is reported there
            if cause not in causes and cause not in families:
                place = at(self._path, holder[key].key_marks[cause])
                self._unknown("cause", cause, {*causes, *families}, place)
            for leaf in causes:
                if leaf == cause or leaf.startswith(f"{cause}."):
                    points[leaf] = sign * self._names.words[word]
        return points

    def _trigger(self, entry: Map) -> Trigger:
        clauses = entry.get("any", (entry,))
        return Trigger(
            any=tuple(self._clause(clause, f"trigger-{n}", opening=True) for n, clause in enumerate(clauses, 1)),
            points=self.points(entry),
            why=entry["why"],
            ref=self._look_up(entry, "ref", "reference", self._references),
        )

    def _item(self, entry: Map, place: Place) -> Item:
        other = entry.get("otherwise")
        return Item(
            id=entry["id"],
            group=entry["group"] if "group" in entry else entry["id"],
            clause=self._clause(entry, entry["id"]),
            points=self.points(entry),
            why=entry["why"],
            ref=self._look_up(entry, "ref", "reference", self._references),
            otherwise=None if other is None else Otherwise(self.points(other), other["why"]),
            severity=entry.get("severity"),
            place=place,
            settle=entry.get("settle"),
        )

    def _explains(self, root: Map) -> tuple[str, ...]:
        known = self._names.signals | self._names.rules
        for index, name in enumerate(root.get("explains", ())):
            code = name.removeprefix("xid-")
            if name not in known and not (name.startswith("xid-") and code.isdecimal()):
                self._unknown("signal or rule", name, known, self._value_place(root, "explains", index))
        return tuple(root.get("explains", ()))

    def _action(self, entry: Map) -> Action:
        self.cause(entry, "for", {"undetermined"})
        return Action(entry["for"], entry["do"], entry["risk"])

    def cause(self, entry: Map, key: str, others: Collection[str], families_only: bool = False) -> None:
        """Check that a key names a cause or a family, or one of some other words."""
        if not self._names.causes:
            return
        known = {*self._names.families, *others} | (set() if families_only else {*self._names.causes})
        if entry[key] not in known:
            what = "verdict" if families_only else "cause"
            self._unknown(what, entry[key], known, self._value_place(entry, key))

    # Clauses

    def _clause(self, holder: Map, name: str, opening: bool = False) -> Clause:
        """The one clause of a trigger, a suppression or a piece of evidence; `name` is what it is called."""
        kind = next(kind for kind in _CLAUSES if kind in holder)
        entry: Map = holder[kind]
        if opening and isinstance(entry.get("of"), (str, list)) and "trigger" in _several(entry["of"]):
            self._report(self._value_place(entry, "of"), "a trigger cannot be opened by 'trigger' itself")
        if kind == "log":
            return self._log(entry, name, holder.get("why", name))
        return _CLAUSES[kind](self, entry)

    def select(self, entry: Map) -> Select:
        """The signals that a selection means; unknown names are added to the problems."""
        names = self._look_up(entry, "of", "signal", self._names.signals | {"trigger"})
        return Select(
            signals=tuple(name for name in names if name != "trigger"),
            xids=tuple(map(int, _several(entry.get("xid", ())))),
            trigger="trigger" in names,
            where=dict(entry.get("where", {})),
        )

    def seen(self, entry: Map, select: Select | None = None) -> Seen:
        """A selection near something."""
        return Seen(
            select=self.select(entry) if select is None else select,
            same=entry.get("same", self._same),
            when=entry.get("when", "near"),
            within=seconds(entry["within"]) if "within" in entry else None,
            at_least=int(entry.get("at_least", 1)),
        )

    def _log(self, entry: Map, name: str, says: str) -> Seen:
        select = self.select(entry)
        source = entry.get("source", "kernel")
        if "match" not in entry:
            if source != "kernel":
                place = self._value_place(entry, "source")
                self._report(place, "'source' belongs to 'match'; a signal says itself who may write it")
            return self.seen(entry, select)
        match: str = entry["match"]
        device = entry.get("device", "pci" if "(?P<pci>" in match else None)
        if device is not None and f"(?P<{device}>" not in match:
            self._report(self._value_place(entry, "device"), f"'match' has no group named {shown(device)}")
        if "programs" in entry and source == "kernel":
            self._report(self._value_place(entry, "programs"), "'programs' needs 'source' to be service or any")
        pattern = SignalPattern(
            id=f"{self._rule}/{name}",
            match=match,
            source=source,
            programs=tuple(entry.get("programs", ())),
            device=device,
            says=says,
            examples=(),
            counterexamples=(),
            place=self._value_place(entry, "match"),
        )
        self.signals.append(pattern)
        return self.seen(entry, select._replace(signals=(*select.signals, pattern.id)))

    def _metric(self, entry: Map) -> Metric:
        return Metric(entry["of"], entry.get("at_least"), entry.get("at_most"), _text(entry.get("is")))

    def _delta(self, entry: Map) -> Delta:
        return Delta(entry["of"], seconds(entry["over"]), entry.get("at_least"), entry.get("at_most"))

    def _count(self, entry: Map) -> Count:
        return Count(
            select=self.select(entry),
            over=seconds(entry["over"]),
            fold=seconds(entry.get("fold", FOLD)),
            at_least=_whole(entry.get("at_least")),
            at_most=_whole(entry.get("at_most")),
            same=entry.get("same", self._same),
        )

    def _sequence(self, entry: Map) -> Sequence:
        then = entry["then"]
        return Sequence(
            first=self.select(entry["first"]),
            then=Select(trigger=True) if isinstance(then, str) else self.select(then),
            within=seconds(entry["within"]),
            same=entry.get("same", self._same),
            at_least=int(entry.get("at_least", 1)),
        )

    def _absent(self, entry: Map) -> Absent:
        return Absent(self.select(entry), seconds(entry["over"]), entry.get("same", self._same))

    def _spread(self, entry: Map) -> Spread:
        return Spread(
            select=self.select(entry),
            across=entry["across"],
            over=seconds(entry["over"]),
            within=entry.get("within"),
            alike=tuple(entry.get("alike", ())),
            at_least=_whole(entry.get("at_least")),
            at_most=_whole(entry.get("at_most")),
            lift=entry.get("lift"),
        )

    def _fact(self, entry: Map) -> Fact:
        ((name, globs),) = entry.items()
        return Fact(name, _several(globs))

    def _known_bug(self, entry: Map) -> KnownBug:
        self.cause(entry, "leaf", ())
        return KnownBug(entry["leaf"])

    # Tests

    def _test(self, entry: Map, place: Place) -> RuleTest:
        fleet: Map | dict[str, bool] = entry.get("fleet", {})
        for name in fleet:
            if name not in self._evidence:
                self._unknown("evidence", name, self._evidence, at(self._path, entry["fleet"].key_marks[name]))
        expect: Map = entry["expect"]
        self.cause(expect, "verdict", {"undetermined", "none"}, families_only=True)
        if "leaf" in expect and self._names.causes and expect["leaf"] not in self._names.causes:
            self._unknown("cause", expect["leaf"], self._names.causes, self._value_place(expect, "leaf"))
        return RuleTest(
            name=entry["name"],
            given=tuple(_given(given) for given in entry["given"]),
            fleet=dict(fleet),
            unknown=self._look_up(entry, "unknown", "evidence", self._evidence),
            expect=Expect(
                verdict=expect["verdict"],
                leaf=expect.get("leaf"),
                at_least=expect.get("at_least"),
                uses=self._look_up(expect, "uses", "evidence", self._evidence | {"trigger"}),
                ask=self._look_up(expect, "ask", "evidence", self._evidence),
                severity=expect.get("severity"),
            ),
            place=place,
        )


_CLAUSES: Mapping[str, Callable[[RuleReader, Any], Clause]] = {
    "log": RuleReader.seen,  # never called: `_log` also needs the name
    "signal": RuleReader.seen,
    "metric": RuleReader._metric,
    "delta": RuleReader._delta,
    "count": RuleReader._count,
    "sequence": RuleReader._sequence,
    "absent": RuleReader._absent,
    "spread": RuleReader._spread,
    "fact": RuleReader._fact,
    "known_bug": RuleReader._known_bug,
}


def _given(entry: Map) -> Given:
    value = entry.get("value")
    return Given(
        at=seconds(entry["at"]),
        line=entry.get("line"),
        source=entry.get("source", "kernel"),
        metric=entry.get("metric"),
        value=_text(value) if isinstance(value, bool) else value,
        pci=entry.get("gpu"),
    )


def _members(listed: Value) -> list[tuple[Any, Any]]:
    return list(zip(listed, listed.marks, strict=True)) if listed else []


def _several(value: Value) -> tuple[Any, ...]:
    """One value or a list of them, as a tuple."""
    return tuple(value) if isinstance(value, (list, tuple)) else (value,)


def _text(value: str | bool | None) -> str | None:
    """A word as it stands; `true` and `false` as words."""
    return str(value).lower() if isinstance(value, bool) else value


def _whole(value: float | None) -> int | None:
    return None if value is None else int(value)
