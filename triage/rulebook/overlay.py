"""Site rules: what a site changes in the rulebook without editing a shipped file.

A folder of site rules is laid out like `rules/`.  A file that says `extends: RULE`
changes that rule (`set:`) or opens no incident of it until a day (`disable:`); any
other `*.yaml` is a whole rule of the site's own, and `signals/*.yaml` are its
signals.  A change whose last day has passed is not applied, and says so.  Every
active file is named in a notice, so that no verdict differs silently between sites.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

from probes.named import NamedTuple
from triage.rulebook.convert import Names, RuleReader, seconds
from triage.rulebook.model import Clause, Delta, Item, Metric, Place, Points, Rule
from triage.rulebook.problems import Problem, did_you_mean, shown
from triage.rulebook.shape import check, schema
from triage.rulebook.yamlload import Document, Map, at, read

LIMITS = ("at_least", "at_most", "within", "over", "fold")
"""The thresholds of a clause that `set` may change; durations but for the first two."""


class Site(NamedTuple):
    """The files of one folder that could be parsed, by what they are."""

    rules: Mapping[str, Document]
    signals: tuple[Document, ...]
    changes: tuple[Document, ...]
    broken: frozenset[str]
    digest: bytes


class Changed(NamedTuple):
    """The rules with what sites change: where each changed or added one comes from, and what to tell."""

    rules: tuple[Rule, ...]
    origins: Mapping[str, str]
    notices: tuple[str, ...]


def read_site(folder: Path, problems: list[Problem]) -> Site:
    """Read one folder of site rules; whatever is wrong is added to the problems."""
    rules: dict[str, Document] = {}
    signals: list[Document] = []
    changes: list[Document] = []
    broken: set[str] = set()
    digest = hashlib.sha256()
    if not folder.is_dir():
        problems.append(Problem(Place(str(folder), 1, 1), "is not a directory; name the folder of site rules"))
    for place in (folder, folder / "signals"):
        _trusted(place, problems)
    for file in [*sorted(folder.glob("*.yaml")), *sorted((folder / "signals").glob("*.yaml"))]:
        path = str(file)
        if not _trusted(file, problems):
            continue
        data, document = read(file, path, problems)
        digest.update(b"%s\0%d\0" % (os.fsencode(path), len(data)))
        digest.update(data)
        if document is None:
            continue
        is_signals = file.parent != folder
        is_change = not is_signals and isinstance(document.root, Map) and "extends" in document.root
        found = check(document, schema("signals.v1" if is_signals else "overlay.v1" if is_change else "rule.v1"))
        if found:
            broken.add(path)
            problems.extend(found)
        if is_signals:
            signals.append(document)
        elif is_change:
            changes.append(document)
        else:
            rules[file.stem] = document
    return Site(rules, tuple(signals), tuple(changes), frozenset(broken), digest.digest())


def _trusted(path: Path, problems: list[Problem]) -> bool:
    """Refuse what anybody on the machine could have written, where root would act on it."""
    if os.geteuid() != 0:
        return True
    try:
        mode = path.stat().st_mode
    except OSError:
        return True  # it is not there, or reading it will say why not
    if not mode & stat.S_IWOTH:
        return True
    message = "anyone may write it, so anyone could change what root is told; refused: chmod o-w"
    problems.append(Problem(Place(str(path), 1, 1), message))
    return False


def added(shipped: Iterable[str], sites: Sequence[Site], problems: list[Problem]) -> dict[str, Document]:
    """Return the rules that sites add, by id; one that a shipped rule or another site has is a problem."""
    known = dict.fromkeys(shipped, "the rules that come with gpu-triage")
    found: dict[str, Document] = {}
    for site in sites:
        for stem, document in site.rules.items():
            if stem in known:
                remedy = f"to change it, write `extends: {stem}` with `set:` or `disable:`, in a file of any name"
                place = document.place("id")
                problems.append(Problem(place, f"rule '{stem}' exists already, in {known[stem]}; {remedy}"))
                continue
            known[stem] = document.path
            found[stem] = document
    return found


def changed(
    rules: Sequence[Rule], sites: Sequence[Site], names: Names, today: date, problems: list[Problem]
) -> Changed:
    """Apply what the sites change, in their order."""
    now = {rule.id: rule for rule in rules}
    own = {stem: document for site in sites for stem, document in site.rules.items()}
    origins = {stem: f"added by {document.path}" for stem, document in own.items() if stem in now}
    notices = [f"site rules: {own[stem].path} adds rule {stem}" for stem in origins]
    for site in sites:
        notices += [f"site rules: {document.path} adds signals" for document in site.signals]
        for document in site.changes:
            if document.path in site.broken:
                continue
            target: str = document.root["extends"]
            if target not in {rule.id for rule in rules}:
                message = f"unknown rule {shown(target)}{did_you_mean(target, now)}"
                problems.append(Problem(document.place("extends"), message))
                continue
            notices.append(_one(document, target, now, names, today, origins, problems))
    return Changed(tuple(now[rule.id] for rule in rules if rule.id in now), origins, tuple(notices))


def _one(
    document: Document,
    target: str,
    now: dict[str, Rule],
    names: Names,
    today: date,
    origins: dict[str, str],
    problems: list[Problem],
) -> str:
    """Apply one file and return the notice that tells of it."""
    root: Map = document.root
    disable: Map | None = root.get("disable")
    holder = root if disable is None else disable
    until = _day(document, holder, problems)
    says = f"site rules: {document.path} " + ("disables" if disable is not None else "changes") + f" rule {target}"
    if until is not None and until < today:
        return f"{says}: not applied, its last day was {until}; renew the date or remove the file"
    if target not in now:
        return f"{says}: not applied, another file disables the rule"
    if disable is not None:
        del now[target]
    else:
        now[target] = _set(now[target], root["set"], document.path, names, problems)
        origins[target] = f"changed by {document.path}"
    return f"{says}{f' until {until}' if until else ''}: {holder['why']}"


def _day(document: Document, holder: Map, problems: list[Problem]) -> date | None:
    if "until" not in holder:
        return None
    try:
        return date.fromisoformat(holder["until"])
    except ValueError:
        place = at(document.path, holder.value_marks["until"])
        problems.append(Problem(place, f"there is no day {shown(holder['until'])}"))
        return None


def _set(rule: Rule, new: Map, path: str, names: Names, problems: list[Problem]) -> Rule:
    reader = RuleReader(path, names._replace(words={**names.words, "none": 0}), problems)
    look: Mapping[str, str] = new.get("look", {})
    rule = rule._replace(
        severity=new.get("severity", rule.severity),
        lasts=seconds(new["lasts"]) if "lasts" in new else rule.lasts,
        look_before=seconds(look["before"]) if "before" in look else rule.look_before,
        look_after=seconds(look["after"]) if "after" in look else rule.look_after,
    )
    if "trigger" in new:
        points = _merged(rule.trigger.points, reader.points(new["trigger"]))
        rule = rule._replace(trigger=rule.trigger._replace(points=points))
    items: Map | Mapping[str, Any] = new.get("evidence", {})
    known = [item.id for item in rule.evidence]
    for name in items:
        if name not in known:
            place = at(path, new["evidence"].key_marks[name])
            problems.append(Problem(place, f"unknown evidence {shown(name)} of {rule.id}{did_you_mean(name, known)}"))
    evidence = tuple(
        _item(item, items[item.id], path, reader, problems) if item.id in items else item for item in rule.evidence
    )
    return rule._replace(evidence=evidence)


def _merged(old: Points, new: Points) -> Points:
    return {leaf: value for leaf, value in {**old, **new}.items() if value}


def _item(item: Item, new: Map, path: str, reader: RuleReader, problems: list[Problem]) -> Item:
    item = item._replace(
        points=_merged(item.points, reader.points(new)),
        severity=new.get("severity", item.severity),
        clause=_limits(item, new, path, problems),
    )
    if "otherwise" not in new:
        return item
    if item.otherwise is None:
        place = at(path, new.key_marks["otherwise"])
        problems.append(Problem(place, f"evidence '{item.id}' has no 'otherwise' to change"))
        return item
    points = _merged(item.otherwise.points, reader.points(new["otherwise"]))
    return item._replace(otherwise=item.otherwise._replace(points=points))


def _limits(item: Item, new: Map, path: str, problems: list[Problem]) -> Clause:
    """Return the clause with its thresholds changed; only one that the rule itself sets can be."""
    clause: Any = item.clause
    for name in LIMITS:
        if name not in new:
            continue
        old = getattr(clause, name, None)
        if not isinstance(old, (int, float)):  # `Spread.within` is a word
            has = [other for other in LIMITS if isinstance(getattr(clause, other, None), (int, float))]
            remedy = f"; it has {' and '.join(has)}" if has else ""
            message = f"evidence '{item.id}' has no threshold '{name}'{remedy}"
            problems.append(Problem(at(path, new.key_marks[name]), message))
            continue
        value = seconds(new[name]) if isinstance(new[name], str) else new[name]
        measures = isinstance(clause, (Metric, Delta)) or name not in ("at_least", "at_most")
        if not measures and value != int(value):
            message = f"'{name}' of evidence '{item.id}' counts events; {value} is not a whole number"
            problems.append(Problem(at(path, new.value_marks[name]), message))
            continue
        clause = clause._replace(**{name: float(value) if measures else int(value)})
    result: Clause = clause
    return result
