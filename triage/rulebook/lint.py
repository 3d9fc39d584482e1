"""Says what is wrong with a rulebook that loads: what a reviewer would ask for.

Each check has an id, which messages carry:

    regex             RE2 refuses a regular expression
    example           an example does not match, or a counterexample does
    single-case       a regular expression names one machine, device, process or day
    unknown-field     `where` asks for a field that no such signal has
    unknown-xid       an Xid is not in the catalogue (an entry of the group `undocumented` marks it)
    sentence          a `why` or `says` is not one sentence of at most 140 characters
    reference         strong or decisive evidence has no reference
    group             evidence shares a group that is another's own
    tests             a stable rule lacks a test: favourite, rival or undetermined
    no-action         nothing says what to do for a verdict (a warning, except for undetermined)
    unused-signal     no rule and no code uses a signal (a warning)
    unweighed         no rule weighs the bugs of a row of the table of driver bugs
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import re2

from triage.decode import DCGM_FIELDS, FIELDS, SWITCH_FIELDS
from triage.rulebook.literals import single_cases
from triage.rulebook.load import MADE_IN_CODE
from triage.rulebook.model import (
    Absent,
    Clause,
    Count,
    Fact,
    KnownBug,
    Place,
    Points,
    Rule,
    Rulebook,
    Seen,
    Select,
    Sequence,
    SignalPattern,
    Spread,
)
from triage.rulebook.problems import Problem, did_you_mean, shown
from triage.scanner import flat, signal_name

SENTENCE_LIMIT = 140
"""Characters of a `why`: two lines of a narrow terminal."""

ADDED_TO_XIDS = frozenset({"known", "group", "bucket", "own_rule"}) | FIELDS
"""Fields that the scanner adds to an Xid: from the catalogue, from the rules and from its text."""
ADDED_TO = {"xid": ADDED_TO_XIDS, "sxid": SWITCH_FIELDS, "dcgm": DCGM_FIELDS}
"""Fields that the scanner adds to a signal that has a group of this name."""

_READ_BY_CODE = re.compile(r"\(\?P<(?:fact_\w+|uuid|serial)>")
"""Groups that make a signal useful without any rule: what they say goes into the inventory."""
_SENTENCE = re.compile(r"[A-Z0-9\"'(].*[.?!]\Z", re.DOTALL)
_NEXT_SENTENCE = re.compile(r"[a-z)\"'][.?!] +[A-Z]")


def lint(rulebook: Rulebook) -> list[Problem]:
    """Everything that a reviewer would ask to be changed, in file order."""
    problems: list[Problem] = []
    for check in _RULEBOOK_CHECKS:
        problems.extend(check(rulebook))
    for rule in rulebook.rules:
        for rule_check in _RULE_CHECKS:
            problems.extend(rule_check(rule, rulebook))
    return sorted(problems)


def selects(clause: Clause) -> tuple[Select, ...]:
    """The selections in a clause."""
    if isinstance(clause, (Seen, Count, Absent, Spread)):
        return (clause.select,)
    if isinstance(clause, Sequence):
        return (clause.first, clause.then)
    return ()


def clauses(rule: Rule) -> Iterator[tuple[Clause, Place]]:
    """All clauses of a rule, each with the closest place that is known."""
    for clause in rule.trigger.any:
        yield clause, rule.place
    for suppress in rule.suppress:
        yield suppress.clause, rule.place
    for item in rule.evidence:
        yield item.clause, item.place


def compiled(regex: str) -> Any:
    """A pattern as the scanner compiles it.

    Raises:
        re2.error: if RE2 refuses it; the text says why.
    """
    options = re2.Options()
    options.log_errors = False
    options.dot_nl = True
    return re2.compile(regex, options=options)


def favourite(rule: Rule, rulebook: Rulebook) -> str:
    """The family that leads when nothing but the trigger is known."""
    odds: dict[str, float] = {}
    for cause in rulebook.causes.values():
        weight = cause.prior * 2.0 ** rule.trigger.points.get(cause.leaf, 0)
        odds[cause.family] = odds.get(cause.family, 0.0) + weight
    return max(odds, key=lambda family: odds[family])


def _error(place: Place, check: str, message: str) -> Problem:
    return Problem(place, message, "error", check)


def _warning(place: Place, check: str, message: str) -> Problem:
    return Problem(place, message, "warning", check)


# Checks of the whole


def _signals(rulebook: Rulebook) -> Iterator[Problem]:
    for pattern in rulebook.signals:
        yield from _regex(pattern.match, pattern.place, f"'match' of {pattern.id}")
        try:
            regex = compiled(pattern.match)
        except re2.error:
            continue  # reported by _regex
        for example in pattern.examples:
            if not regex.match(flat(example)):
                yield _error(pattern.place, "example", f"{pattern.id} does not match its example {shown(example)}")
        for example in pattern.counterexamples:
            if regex.match(flat(example)):
                yield _error(pattern.place, "example", f"{pattern.id} matches its counterexample {shown(example)}")
        if "/" not in pattern.id:  # a rule's own pattern says what the rule's `why` says
            yield from _sentence(pattern.says, pattern.place, f"'says' of {pattern.id}")


def _unused(rulebook: Rulebook) -> Iterator[Problem]:
    used = {name for rule in rulebook.rules for name in rule.explains}
    for rule in rulebook.rules:
        for clause, _ in clauses(rule):
            for select in selects(clause):
                used.update(select.signals)
                if select.xids:
                    used.add("xid")
    for bug in rulebook.bugs:
        used.update(*(select.signals for select in bug.shows), bug.beside.select.signals if bug.beside else ())
    for pattern in rulebook.signals:
        name = signal_name(pattern.id)
        head = name.startswith(tuple(f"{made}." for made in MADE_IN_CODE))
        if name not in used and not head and not _READ_BY_CODE.search(pattern.match):
            yield _warning(pattern.place, "unused-signal", f"no rule uses the signal {shown(name)}")


def _bugs(rulebook: Rulebook) -> Iterator[Problem]:
    """A row of the table of driver bugs is held to what a rule is held to, and some rule must weigh it."""
    fields = _fields(rulebook.signals)
    weighed = {c.leaf for rule in rulebook.rules for c, _ in clauses(rule) if isinstance(c, KnownBug)}
    for bug in rulebook.bugs:
        yield from _sentence(bug.fault, bug.place, f"'fault' of {bug.id}")
        yield from _regex(bug.gpu or "", bug.place, f"'gpu' of {bug.id}")
        for select in (*bug.shows, *([bug.beside.select] if bug.beside else [])):
            for field, regex in select.where.items():
                yield from _regex(regex, bug.place, f"'where' for {field}")
            yield from _known_fields(select, None, fields, bug.place)
            yield from _known_xids(select.xids, rulebook, bug.place)
        if not weighed & {bug.leaf, bug.leaf.partition(".")[0]}:
            yield _error(bug.place, "unweighed", f"no rule weighs the known bugs of {bug.leaf}")


# Checks of one rule


def _clauses(rule: Rule, rulebook: Rulebook) -> Iterator[Problem]:
    fields = _fields(rulebook.signals)
    for clause, place in clauses(rule):
        for select in selects(clause):
            for field, regex in select.where.items():
                yield from _regex(regex, place, f"'where' for {field}")
            yield from _known_fields(select, rule, fields, place)
            yield from _known_xids(select.xids, rulebook, place)
        if isinstance(clause, Fact):
            for glob in clause.globs:
                for what, text in single_cases(re.escape(glob)):
                    yield _error(place, "single-case", f"{shown(text)} in 'fact' is {what}: it fits one case only")
    codes = [name.removeprefix("xid-") for name in rule.explains if name.startswith("xid-")]
    yield from _known_xids([int(code) for code in codes if code.isdecimal()], rulebook, rule.place)


def _regex(regex: str, place: Place, what: str) -> Iterator[Problem]:
    try:
        compiled(regex)
    except re2.error as error:
        reason = error.args[0] if error.args else error
        reason = reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)
        yield _error(place, "regex", f"RE2 refuses {what}: {reason}")
        return
    for kind, text in single_cases(regex):
        yield _error(place, "single-case", f"{shown(text)} in {what} is {kind}: it fits one case only")


def _fields(patterns: Iterable[SignalPattern]) -> Mapping[str, frozenset[str]]:
    """The fields of each signal, by name."""
    fields: dict[str, frozenset[str]] = {}
    for pattern in patterns:
        name = signal_name(pattern.id)
        groups = frozenset(re.findall(r"\(\?P<(\w+)>", pattern.match))
        fields[name] = fields.get(name, frozenset()) | groups.union(*(ADDED_TO.get(group, ()) for group in groups))
    return fields


def _known_fields(
    select: Select, rule: Rule | None, fields: Mapping[str, frozenset[str]], place: Place
) -> Iterator[Problem]:
    names = set(select.signals) | ({"xid"} if select.xids else set())
    if select.trigger and rule is not None:
        for clause in rule.trigger.any:
            for opening in selects(clause):
                names.update(opening.signals, {"xid"} if opening.xids else set())
    if names & MADE_IN_CODE:
        return
    known = frozenset[str]().union(*(fields.get(name, frozenset()) for name in names))
    for field in select.where:
        if field not in known:
            message = f"no field {shown(field)} in {', '.join(sorted(names))}{did_you_mean(field, known)}"
            yield _error(place, "unknown-field", message)


def _known_xids(codes: Iterable[int], rulebook: Rulebook, place: Place) -> Iterator[Problem]:
    for code in codes:
        if code not in rulebook.xids:
            remedy = "add it there, with the group undocumented if no source names it"
            yield _error(place, "unknown-xid", f"Xid {code} is not in catalog/xid.yaml; {remedy}")


def _sentences(rule: Rule, _: Rulebook) -> Iterator[Problem]:
    yield from _sentence(rule.trigger.why, rule.place, "'why' of the trigger")
    for suppress in rule.suppress:
        yield from _sentence(suppress.why, rule.place, "'why' of a suppression")
    for item in rule.evidence:
        yield from _sentence(item.why, item.place, f"'why' of {item.id}")
        if item.otherwise is not None:
            yield from _sentence(item.otherwise.why, item.place, f"'why' of {item.id}, otherwise,")


def _sentence(text: str, place: Place, what: str) -> Iterator[Problem]:
    if len(text) > SENTENCE_LIMIT:
        yield _error(place, "sentence", f"{what} has {len(text)} characters; {SENTENCE_LIMIT} are allowed")
    if not _SENTENCE.match(text) or "\n" in text or _NEXT_SENTENCE.search(text):
        yield _error(place, "sentence", f"{what} is not one sentence from capital to full stop: {shown(text)}")


def _references(rule: Rule, rulebook: Rulebook) -> Iterator[Problem]:
    def needs(points: Points) -> bool:
        return any(abs(value) >= rulebook.strong for value in points.values())

    if needs(rule.trigger.points) and not rule.trigger.ref:
        yield _error(rule.place, "reference", "the trigger is strong or decisive and needs a 'ref'")
    for item in rule.evidence:
        otherwise = item.otherwise.points if item.otherwise else {}
        if not item.ref and (needs(item.points) or needs(otherwise)):
            yield _error(item.place, "reference", f"evidence '{item.id}' is strong or decisive and needs a 'ref'")


def _groups(rule: Rule, _: Rulebook) -> Iterator[Problem]:
    own = {item.id for item in rule.evidence if item.group == item.id}
    for item in rule.evidence:
        if item.group in own and item.group != item.id:
            message = f"'{item.id}' joins the group that '{item.group}' has for itself; name the group in both"
            yield _error(item.place, "group", message)


def _tests(rule: Rule, rulebook: Rulebook) -> Iterator[Problem]:
    if rule.status != "stable":
        return
    verdicts = {test.expect.verdict for test in rule.tests}
    first = favourite(rule, rulebook)
    if first not in verdicts:
        yield _error(rule.place, "tests", f"a stable rule needs a test whose verdict is its favourite, {first}")
    leaves = {test.expect.leaf for test in rule.tests if test.expect.verdict == first and test.expect.leaf}
    rivals = verdicts - {first, "undetermined", "none"}
    if not rivals and len(leaves) < 2 and not _alone(rule, rulebook, first, verdicts):
        yield _error(rule.place, "tests", f"a stable rule needs a test whose verdict is a rival of {first}")
    if "undetermined" not in verdicts:
        yield _error(rule.place, "tests", "a stable rule needs a test that stays undetermined")


def _alone(rule: Rule, rulebook: Rulebook, family: str, verdicts: Iterable[str]) -> bool:
    """Nothing in the rule speaks for another family, and a test shows where it does not apply instead."""
    supported = {leaf for item in rule.evidence for leaf, points in item.points.items() if points > 0}
    return "none" in verdicts and {rulebook.causes[leaf].family for leaf in supported} <= {family}


def _actions(rule: Rule, rulebook: Rulebook) -> Iterator[Problem]:
    named = {action.for_ for action in rule.actions}
    if "undetermined" not in named:
        yield _error(rule.place, "no-action", "no action is for 'undetermined'")
    for leaf in sorted(_favoured(rule, rulebook)):
        if leaf not in named and rulebook.causes[leaf].family not in named:
            yield _warning(rule.place, "no-action", f"strong evidence speaks for {leaf}, but no action is for it")


def _favoured(rule: Rule, rulebook: Rulebook) -> set[str]:
    """The leaves that something in the rule supports strongly."""
    sides = [rule.trigger.points, *(item.points for item in rule.evidence)]
    sides += [item.otherwise.points for item in rule.evidence if item.otherwise]
    return {leaf for points in sides for leaf, value in points.items() if value >= rulebook.strong}


_RULEBOOK_CHECKS: tuple[Callable[[Rulebook], Iterator[Problem]], ...] = (_signals, _unused, _bugs)
_RULE_CHECKS: tuple[Callable[[Rule, Rulebook], Iterator[Problem]], ...] = (
    _clauses,
    _sentences,
    _references,
    _groups,
    _tests,
    _actions,
)
