"""Fits the points of evidence to labelled incidents, a word at a time, and says what it is worth.

What a log answers does not depend on what the answers are worth, so every log is read
once and then only weighed.  The search changes one word of one piece of evidence for one
cause at a time, whichever gains most, and stops when nothing gains.  The objective is
the log loss of the accepted leaves over all cases with a known cause, plus `PENALTY` for
every step that a word has moved from where a person set it.

A change is refused that rests on fewer than `least` distinct threads, whose gain vanishes
when any single thread is left out, that turns a word into its opposite, or that would let
one item decide alone.  Cases of one thread are never split between fitting and testing.
Rules do not share points, so each is fitted alone, and one whose fitted points do no
better on its cases that were held out keeps the points that a person gave it.
Everything is deterministic.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from math import log

from probes.named import NamedTuple
from triage.evaluate import Case, distinct, explain_text, is_known, judged, looked_at, reweighed, wanted_leaves
from triage.figures import FLOOR, Figures, Outcome, figures
from triage.model import Assessment
from triage.rulebook.model import Item, Place, Points, Rule, Rulebook

FOLDS = 5
LEAST = 4
"""Distinct threads that a change must help."""
PENALTY = 0.5
"""Log loss (nats, summed over cases) that each step of a word from its hand-set place costs."""
HELPED = 0.01
"""Nats by which the loss of a case must fall for the change to have helped it."""

Slot = tuple[str, str]
"""A piece of evidence and which of its answers: `seen` or `otherwise`."""
Weights = dict[Slot, dict[str, int]]


class Study(NamedTuple):
    """A case and what was read in its log."""

    case: Case
    assessment: Assessment


class Change(NamedTuple):
    """One proposed change: `incidents` distinct threads are better for it, by `gain` nats after the penalty."""

    place: Place
    rule: str
    item: str
    side: str
    leaf: str
    old: int
    new: int
    incidents: int
    gain: float


class Fold(NamedTuple):
    """The figures of cases that were held out, as the rules are and as fitted to the rest."""

    before: Figures
    after: Figures


class Fitted(NamedTuple):
    """The outcome of a fit; `held_out` is over all folds, each case judged by weights that never saw it.

    `gains` is by how much the log loss of each fitted rule's cases fell while they
    were held out; only rules where it did are in `changes` and in the figures, the
    others are in `refused`.
    """

    folds: tuple[Fold, ...]
    held_out: Fold
    all_cases: Fold
    changes: tuple[Change, ...]
    rulebook: Rulebook
    refused: tuple[Change, ...] = ()
    gains: Mapping[str, float] = {}


class _Sample(NamedTuple):
    """What counts of one case: the answers that its incident gives, and where the truth is."""

    thread: str
    slots: tuple[Slot, ...]
    wanted: frozenset[str]


def studies(rulebook: Rulebook, cases: Iterable[Case]) -> list[Study]:
    """Read every distinct log once."""
    return [Study(case, explain_text(rulebook, case["log"])) for case in distinct(cases) if case["log"]]


def outcomes(rulebook: Rulebook, read: Iterable[Study]) -> list[Outcome]:
    """Judge what was read with the points of this rulebook, which must ask the same questions."""
    return [judged(study.case, reweighed(study.assessment, rulebook)) for study in read]


def fit(rulebook: Rulebook, read: Sequence[Study], *, folds: int = FOLDS, least: int = LEAST) -> Fitted:
    """Fit and cross-validate."""
    groups = split([thread(study.case) for study in read], folds)
    held = [[study for study, group in zip(read, groups, strict=True) if group == n] for n in range(folds)]
    fitted = [
        search(rulebook, [study for study, group in zip(read, groups, strict=True) if group != n], least)[0]
        for n in range(folds)
    ]
    gains: dict[str, float] = defaultdict(float)
    for one, cases in zip(fitted, held, strict=True):
        for rule, gain in _gains(rulebook, one, cases):
            gains[rule] += gain
    kept = {rule for rule, gain in gains.items() if gain > 0}
    before = [outcomes(rulebook, cases) for cases in held]
    after = [outcomes(_only(rulebook, one, kept), cases) for one, cases in zip(fitted, held, strict=True)]
    best, changes = search(rulebook, read, least)
    best = _only(rulebook, best, kept)
    return Fitted(
        tuple(Fold(figures(one), figures(other)) for one, other in zip(before, after, strict=True)),
        Fold(figures(o for fold in before for o in fold), figures(o for fold in after for o in fold)),
        Fold(figures(outcomes(rulebook, read)), figures(outcomes(best, read))),
        tuple(change for change in changes if change.rule in kept),
        best,
        tuple(change for change in changes if change.rule not in kept),
        dict(gains),
    )


def _only(rulebook: Rulebook, fitted: Rulebook, kept: Container[str]) -> Rulebook:
    """Return the rulebook with the fitted points of these rules."""
    pairs = zip(rulebook.rules, fitted.rules, strict=True)
    return rulebook._replace(rules=tuple(new if old.id in kept else old for old, new in pairs))


def _gains(rulebook: Rulebook, fitted: Rulebook, held: Iterable[Study]) -> Iterator[tuple[str, float]]:
    """Yield by how much the log loss of each case falls that has a known cause, and by which rule it was judged."""
    for study in held:
        one, other = (reweighed(study.assessment, rules) for rules in (rulebook, fitted))
        incident = looked_at(one, study.case.get("gpu_bdf"))
        before, after = judged(study.case, one), judged(study.case, other)
        if incident is not None and before.known and before.named is not None and after.named is not None:
            yield incident.rule, log(max(after.named, FLOOR)) - log(max(before.named, FLOOR))


def thread(case: Case) -> str:
    """Return what tells where a case comes from: its web address, else its id."""
    url = str(case.get("url") or "")
    return url if url.startswith("http") and not url.endswith("...") else str(case["id"])


def split(threads: Sequence[str], folds: int) -> list[int]:
    """Return the fold of each case: threads are dealt out in the order of their hashes."""
    order = sorted(set(threads), key=lambda text: hashlib.sha256(text.encode()).digest())
    number = {text: place % folds for place, text in enumerate(order)}
    return [number[text] for text in threads]


def search(rulebook: Rulebook, read: Iterable[Study], least: int) -> tuple[Rulebook, tuple[Change, ...]]:
    """Return the rulebook with fitted points, and what was changed, the largest gain first."""
    samples: dict[str, list[_Sample]] = defaultdict(list)
    for study in read:
        incident = looked_at(study.assessment, study.case.get("gpu_bdf"))
        if incident is not None and is_known(study.case):
            slots = tuple(
                (e.id, "otherwise" if e.state == "quiet" else "seen") for e in incident.evidence if e.state != "unknown"
            )
            samples[incident.rule].append(_Sample(thread(study.case), slots, wanted_leaves(study.case)))
    rules = []
    changes: list[Change] = []
    for rule in rulebook.rules:
        if len({sample.thread for sample in samples[rule.id]}) < least:
            rules.append(rule)
            continue
        fitting = _Fitting(rulebook, rule, samples[rule.id], least)
        changes += fitting.run()
        rules.append(weighed(rule, fitting.weights))
    changes.sort(key=lambda change: (-change.gain, change[:5]))
    return rulebook._replace(rules=tuple(rules)), tuple(changes)


def weights_of(rule: Rule) -> Weights:
    """Return the points of a rule by piece of evidence and answer."""
    found: Weights = {("trigger", "seen"): dict(rule.trigger.points)}
    for item in rule.evidence:
        found[item.id, "seen"] = dict(item.points)
        if item.otherwise is not None:
            found[item.id, "otherwise"] = dict(item.otherwise.points)
    return found


def weighed(rule: Rule, weights: Mapping[Slot, Points]) -> Rule:
    """Return the rule with these points."""

    def one(item: Item) -> Item:
        other = item.otherwise
        if other is not None:
            other = other._replace(points=dict(weights[item.id, "otherwise"]))
        return item._replace(points=dict(weights[item.id, "seen"]), otherwise=other)

    trigger = rule.trigger._replace(points=dict(weights["trigger", "seen"]))
    return rule._replace(trigger=trigger, evidence=tuple(one(item) for item in rule.evidence))


class _Fitting:
    """The search over one rule; rules do not share points, so each is fitted on its own."""

    def __init__(self, rulebook: Rulebook, rule: Rule, samples: Sequence[_Sample], least: int) -> None:
        self.weights = weights_of(rule)
        self._hand = weights_of(rule)
        self._rule = rule
        self._least = least
        self._items = {item.id: item for item in rule.evidence}
        self._groups = {"trigger": "trigger", **{item.id: item.group for item in rule.evidence}}
        self._priors = {leaf: cause.prior for leaf, cause in rulebook.causes.items()}
        words = sorted(rulebook.words.values())
        self._ladder = [*(-value for value in reversed(words)), 0, *words]
        self._strong = rulebook.strong
        self._decisive = rulebook.decisive
        self._samples = samples
        self._odds = [self._all_odds(sample) for sample in samples]

    def run(self) -> list[Change]:
        """Change words until nothing gains, and return what is different then."""
        while True:
            best: tuple[float, Slot, str, int] | None = None
            for slot, leaf, value in self._candidates():
                gain = self._gain(slot, leaf, value)
                if gain is not None and (best is None or gain > best[0] + 1e-9):
                    best = (gain, slot, leaf, value)
            if best is None:
                return list(self._changes())
            _, slot, leaf, value = best
            self.weights[slot] = _with(self.weights[slot], leaf, value)
            self._odds = [self._all_odds(sample) for sample in self._samples]

    def _candidates(self) -> Iterator[tuple[Slot, str, int]]:
        for slot in self.weights:
            item = self._items.get(slot[0])
            referenced = bool(item.ref if item is not None else self._rule.trigger.ref)
            for leaf in self._priors:
                hand, now = self._hand[slot].get(leaf, 0), self.weights[slot].get(leaf, 0)
                for value in self._ladder:
                    if value == now or value * hand < 0:
                        continue
                    if value != hand and (
                        abs(value) >= self._decisive or (abs(value) >= self._strong and not referenced)
                    ):
                        continue
                    yield slot, leaf, value

    def _gain(self, slot: Slot, leaf: str, value: int) -> float | None:
        """Return by how much the objective improves, or None if it does not or rests on too little."""
        old = self.weights[slot].get(leaf, 0)
        hand = self._hand[slot].get(leaf, 0)
        penalty = PENALTY * (self._steps(hand, value) - self._steps(hand, old))
        gains: dict[str, float] = defaultdict(float)
        for sample, odds in zip(self._samples, self._odds, strict=True):
            if slot in sample.slots:
                gains[sample.thread] += self._moved(sample, odds, slot, leaf, value)
        total = sum(gains.values()) - penalty
        helped = sum(gain > HELPED for gain in gains.values())
        if total <= 1e-6 or helped < self._least:
            # Going back towards what a person set needs no witnesses.
            return total if total > 1e-6 and self._steps(hand, value) < self._steps(hand, old) else None
        return total if total - max(gains.values()) > 0 else None

    def _moved(self, sample: _Sample, odds: Mapping[str, float], slot: Slot, leaf: str, value: int) -> float:
        """Return by how much the loss of one sample falls."""
        new = self._odds_of(sample, leaf, slot, value)
        total = sum(odds.values())
        named = sum(odds[wanted] for wanted in sample.wanted if wanted in odds)
        shift = new - odds[leaf]
        was = max(named / total, FLOOR)
        now = max((named + (shift if leaf in sample.wanted else 0.0)) / (total + shift), FLOOR)
        return log(now) - log(was)

    def _all_odds(self, sample: _Sample) -> dict[str, float]:
        return {leaf: self._odds_of(sample, leaf) for leaf in self._priors}

    def _odds_of(self, sample: _Sample, leaf: str, slot: Slot | None = None, value: int = 0) -> float:
        """Return the odds of a leaf, as `triage.verdict` adds them up, one word changed if asked."""
        best: dict[str, int] = {}
        for active in sample.slots:
            points = value if active == slot else self.weights.get(active, {}).get(leaf, 0)
            group = self._groups[active[0]]
            if abs(points) > abs(best.get(group, 0)):
                best[group] = points
        return self._priors[leaf] * 2.0 ** sum(best.values())

    def _steps(self, one: int, other: int) -> int:
        return abs(self._ladder.index(one) - self._ladder.index(other))

    def _changes(self) -> Iterator[Change]:
        """Yield each word that ended elsewhere, with what it is worth given all the others."""
        fitted = {slot: dict(points) for slot, points in self.weights.items()}
        for slot, points in fitted.items():
            for leaf in self._priors:
                old, new = self._hand[slot].get(leaf, 0), points.get(leaf, 0)
                if old == new:
                    continue
                self.weights[slot] = _with(points, leaf, old)
                gains: dict[str, float] = defaultdict(float)
                for sample in self._samples:
                    if slot in sample.slots:
                        gains[sample.thread] += self._moved(sample, self._all_odds(sample), slot, leaf, new)
                self.weights[slot] = points
                helped = sum(gain > HELPED for gain in gains.values())
                gain = sum(gains.values()) - PENALTY * self._steps(old, new)
                item = self._items.get(slot[0])
                place = self._rule.place if item is None else item.place
                yield Change(place, self._rule.id, slot[0], slot[1], leaf, old, new, helped, gain)


def _with(points: Mapping[str, int], leaf: str, value: int) -> dict[str, int]:
    return {name: number for name, number in {**points, leaf: value}.items() if number}
