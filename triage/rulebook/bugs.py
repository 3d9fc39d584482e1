"""Reads the table of faults that some driver versions have, `rules/catalog/driver-bugs.yaml`."""

from __future__ import annotations

from triage.rulebook.convert import Names, RuleReader
from triage.rulebook.model import DriverBug, Seen
from triage.rulebook.problems import Problem
from triage.rulebook.versions import NEVER, branch, numbers
from triage.rulebook.yamlload import Document, Map


def read_bugs(document: Document, names: Names, problems: list[Problem]) -> tuple[DriverBug, ...]:
    """Return the rows of a file that fits its schema.  What is wrong with them is added to the problems."""
    reader = RuleReader(document.path, names, problems)
    first: dict[str, int] = {}
    bugs = []
    for index, entry in enumerate(document.root["bugs"]):
        place = document.place("bugs", index, "id")
        if entry["id"] in first:
            problems.append(Problem(place, f"driver bug '{entry['id']}' exists already"))
        first.setdefault(entry["id"], index)
        bug = _bug(entry, reader, document, index)
        bugs.append(bug)
        problems.extend(Problem(document.place("bugs", index, "fixed"), wrong) for wrong in _wrong(bug))
    return tuple(bugs)


def _bug(entry: Map, reader: RuleReader, document: Document, index: int) -> DriverBug:
    reader.cause(entry, "leaf", ())
    return DriverBug(
        id=entry["id"],
        fault=entry["fault"],
        leaf=entry["leaf"],
        shows=tuple(reader.select(shown) for shown in entry["shows"]),
        beside=_beside(entry["beside"], reader) if "beside" in entry else None,
        since=dict(entry.get("since", {})),
        fixed=dict(entry["fixed"]),
        flavour=entry.get("flavour"),
        gpu=entry.get("gpu"),
        do=entry["do"],
        sources=tuple(entry["sources"]),
        examples=tuple(entry["examples"]),
        place=document.place("bugs", index),
    )


def _beside(entry: Map, reader: RuleReader) -> Seen:
    return reader.seen(entry)._replace(same=entry.get("same", "node"))


def _wrong(bug: DriverBug) -> list[str]:
    """Return what is wrong with a row beyond its form, in words."""
    found = []
    for name, versions in (("fixed", bug.fixed), ("since", bug.since)):
        found += [
            f"'{name}' has {version} for branch {of} in driver bug '{bug.id}'"
            for of, version in versions.items()
            if version != NEVER and branch(version) != of
        ]
    if any(select.trigger for select in (*bug.shows, *([bug.beside.select] if bug.beside else []))):
        found.append(f"driver bug '{bug.id}' belongs to no rule, so 'trigger' means nothing in it")
    if all(version == NEVER for version in bug.fixed.values()):
        found.append(f"driver bug '{bug.id}' is fixed nowhere; a row names the version that fixed it")
    for of, version in bug.since.items():
        fixed = bug.fixed.get(of)
        if fixed is None:
            found.append(f"'since' names branch {of}, of which 'fixed' says nothing, in driver bug '{bug.id}'")
        elif fixed != NEVER and numbers(version) >= numbers(fixed):
            found.append(f"driver bug '{bug.id}' begins in {version}, which is not before its fix in {fixed}")
    return found
