"""Loads `rules/` into one checked `Rulebook`, or says everything that is wrong with it.

    rules/causes.yaml            the causes, their priors, the worth of the four words
    rules/signals/*.yaml         what lines mean
    rules/catalog/xid.yaml       what is publicly known of each Xid
    rules/catalog/modules.yaml   whose code a symbol is
    rules/catalog/driver-bugs.yaml  which driver versions have which fault (it may be absent)
    rules/calibration.yaml       what confidence is shown for a computed one (it may be absent)
    rules/*.yaml                 one rule each, named after its id

Files are first held against their schemas; what can then be relied on is
converted and every name in it looked up.  Regular expressions are not compiled
here: the scanner does that once for all, and `triage.rulebook.lint` checks each.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timezone
from itertools import pairwise
from pathlib import Path

from probes.named import NamedTuple
from triage.rulebook import bugs, convert, overlay
from triage.rulebook.folders import RULES
from triage.rulebook.model import Cause, Place, Rulebook, SignalPattern, XidEntry
from triage.rulebook.problems import Problem, RulebookError, shown
from triage.rulebook.shape import check, schema
from triage.rulebook.yamlload import Document, Map, Value, at, read

__all__ = ["RULES", "RulebookError", "load"]

MADE_IN_CODE = frozenset({"crash"})
"""Signals that no pattern makes: `triage.crash` puts them together from several lines."""

CALIBRATION = "calibration.yaml"
"""A file that may be absent: then confidence is shown as computed."""
DRIVER_BUGS = "catalog/driver-bugs.yaml"
"""Another one: then no fault is known of any driver version."""

DECODED_WITH = ("dcgm.yaml", "in-tree.yaml", "nvlink-registers.yaml", "nvlink5.yaml", "recovery-actions.yaml")
"""Shipped catalogues that the scanner reads on demand; the digest covers them, for rules ask for what they say."""

NO_CAUSE = frozenset({"undetermined", "none", "trigger"})
"""Words that mean something else where a cause may be named."""


class _Files(NamedTuple):
    """The parsed files; a None could not be read, and what fails its schema is in `broken`."""

    causes: Document | None
    modules: Document | None
    xids: Document | None
    signals: tuple[Document, ...]
    rules: Mapping[str, Document | None]
    broken: frozenset[str]
    digest: str
    calibration: Document | None = None
    bugs: Document | None = None


def load(root: Path | None = None, overlays: Sequence[Path] = (), now: float | None = None) -> Rulebook:
    """Load the rulebook of a directory; without one, that of the program.

    Args:
        root: a directory laid out like `rules/`.
        overlays: folders of site rules, applied in this order.
        now: epoch seconds, by which a change of a site has expired; the clock's if not said.

    Raises:
        RulebookError: if anything is wrong, with every problem and its place.
    """
    problems: list[Problem] = []
    files = _read(RULES if root is None else root, problems)
    sites = [overlay.read_site(folder, problems) for folder in overlays]
    if sites:
        files = _with_sites(files, sites, problems)
    words, causes, verdict = _causes(files, problems)
    signals = list(_signals(files, problems))
    names = convert.Names(
        words=words,
        causes=causes,
        families=frozenset(cause.family for cause in causes.values()),
        signals=MADE_IN_CODE.union(pattern.id.partition("#")[0] for pattern in signals) | _signal_names(files),
        rules=frozenset(files.rules),
    )
    rules = []
    for stem, document in files.rules.items():
        if document is None or document.path in files.broken:
            continue
        converter = convert.RuleReader(document.path, names, problems)
        rule = converter.rule(document)
        rules.append(rule)
        signals.extend(converter.signals)
        if rule.id != stem:
            problems.append(
                Problem(document.place("id"), f"'id' is '{rule.id}', but the file is named {stem}.yaml; rename one")
            )
    xids = _xids(files, problems)
    modules = _modules(files, problems)
    calibration = _calibration(files, problems)
    told = files.bugs
    known = () if told is None or told.path in files.broken else bugs.read_bugs(told, names, problems)
    today = datetime.fromtimestamp(time.time() if now is None else now, timezone.utc).date()
    site = overlay.changed(rules, sites, names, today, problems)
    if problems:
        raise RulebookError(problems)
    return Rulebook(
        causes=causes,
        at_least=verdict["at_least"],
        independent_groups=int(verdict["independent_groups"]),
        cap=verdict["cap"],
        signals=tuple(signals),
        rules=site.rules,
        xids=xids,
        digest=files.digest,
        modules=modules,
        decisive=words["decisive"],
        strong=words["strong"],
        words=words,
        origins=site.origins,
        notices=site.notices,
        calibration=calibration,
        bugs=known,
    )


def _with_sites(files: _Files, sites: Sequence[overlay.Site], problems: list[Problem]) -> _Files:
    """Add the rules and signals of sites to those of the program."""
    digest = hashlib.sha256(files.digest.encode())
    for site in sites:
        digest.update(site.digest)
    return files._replace(
        signals=(*files.signals, *(document for site in sites for document in site.signals)),
        rules={**files.rules, **overlay.added(files.rules, sites, problems)},
        broken=files.broken.union(*(site.broken for site in sites)),
        digest=digest.hexdigest(),
    )


def _read(root: Path, problems: list[Problem]) -> _Files:
    digest = hashlib.sha256()
    broken = set()

    def one(file: Path, kind: str) -> Document | None:
        relative = file.relative_to(root).as_posix()
        path = f"{root.name}/{relative}" if root.name else relative
        data, document = read(file, path, problems)
        digest.update(b"%s\0%d\0" % (relative.encode("utf-8", "surrogateescape"), len(data)))
        digest.update(data)
        if document is not None:
            found = check(document, schema(kind))
            if found:
                broken.add(path)
                problems.extend(found)
        return document

    # In the order of their relative paths, which the digest needs.
    paths = {"catalog/modules.yaml": "modules.v1", "catalog/xid.yaml": "xid.v1", "causes.yaml": "causes.v1"}
    paths.update((file.name, "rule.v1") for file in root.glob("*.yaml") if file.name not in paths)
    optional = ((CALIBRATION, "calibration.v1"), (DRIVER_BUGS, "driver-bugs.v1"))
    paths.update((name, kind) for name, kind in optional if (root / name).is_file())
    paths.update((f"signals/{file.name}", "signals.v1") for file in (root / "signals").glob("*.yaml"))
    if not root.is_dir():
        raise RulebookError([Problem(Place(str(root), 1, 1), "is not a directory; name the folder of a rulebook")])
    parsed = {path: one(root / path, kind) for path, kind in sorted(paths.items())}
    for name in DECODED_WITH:
        digest.update((RULES / "catalog" / name).read_bytes())
    return _Files(
        causes=parsed["causes.yaml"],
        modules=parsed["catalog/modules.yaml"],
        xids=parsed["catalog/xid.yaml"],
        signals=tuple(
            document for path, document in parsed.items() if paths[path] == "signals.v1" and document is not None
        ),
        rules={path.removesuffix(".yaml"): parsed[path] for path in parsed if paths[path] == "rule.v1"},
        broken=frozenset(broken),
        digest=digest.hexdigest(),
        calibration=parsed.get(CALIBRATION),
        bugs=parsed.get(DRIVER_BUGS),
    )


def _causes(
    files: _Files, problems: list[Problem]
) -> tuple[Mapping[str, int], Mapping[str, Cause], Mapping[str, float]]:
    """The points of the words, the causes, and when a verdict is given; as much as could be read."""
    document = files.causes
    if document is None or document.path in files.broken:
        return {}, {}, {}
    root = document.root
    words = {word: int(root["points"][word]) for word in ("weak", "moderate", "strong", "decisive")}
    if list(words.values()) != sorted(set(words.values())):
        problems.append(Problem(document.place("points"), "points must rise: weak, moderate, strong, decisive"))
    causes = {}
    for leaf, entry in root["causes"].items():
        family, _, rest = leaf.partition(".")
        causes[leaf] = Cause(leaf, family, float(entry["prior"]), entry["owner"], entry["title"])
        place = at(document.path, root["causes"].key_marks[leaf])
        if family in NO_CAUSE:
            problems.append(Problem(place, f"'{family}' has a meaning of its own and cannot be a cause"))
        if rest and family in root["causes"]:
            problems.append(Problem(place, f"'{family}' is a cause of its own and cannot be a family as well"))
    total = sum(cause.prior for cause in causes.values())
    if abs(total - 1.0) > 1e-6:
        problems.append(Problem(document.place("causes"), f"the priors of all causes make {total:.4g}, not 1"))
    return words, causes, root["verdict"]


def _signals(files: _Files, problems: list[Problem]) -> Iterator[SignalPattern]:
    first: dict[str, Place] = {}
    for document in files.signals:
        if document.path in files.broken:
            continue
        for index, entry in enumerate(document.root["signals"]):
            pattern = _pattern(document, index)
            place = document.place("signals", index, "id")
            if pattern.id in first:
                problems.append(Problem(place, f"signal '{pattern.id}' exists already; first at {first[pattern.id]}"))
            elif pattern.id.startswith("xid-") or pattern.id in NO_CAUSE | MADE_IN_CODE:
                problems.append(Problem(place, f"signal '{pattern.id}' would be confused with a name that is taken"))
            first.setdefault(pattern.id, place)
            if pattern.device is not None and f"(?P<{pattern.device}>" not in pattern.match:
                where = document.place("signals", index, "device")
                problems.append(Problem(where, f"'match' has no group named {shown(pattern.device)}"))
            if entry.get("programs") and pattern.source == "kernel":
                where = document.place("signals", index, "programs")
                problems.append(Problem(where, "'programs' needs 'source' to be service or any"))
            yield pattern


def _pattern(document: Document, index: int) -> SignalPattern:
    """The pattern that stands at this index of a signals file."""
    entry = document.root["signals"][index]
    return SignalPattern(
        id=entry["id"],
        match=entry["match"],
        source=entry.get("source", "kernel"),
        programs=tuple(entry.get("programs", ())),
        device=entry.get("device"),
        says=entry["says"],
        examples=tuple(entry["examples"]),
        counterexamples=tuple(entry.get("counterexamples", ())),
        place=document.place("signals", index),
        rest=entry.get("rest", False),
    )


def _signal_names(files: _Files) -> frozenset[str]:
    """Names in files that fail their schema, so that one mistake there is not reported as many unknown names."""
    found = set()
    for document in files.signals:
        listed: Value = document.root.get("signals") if isinstance(document.root, Map) else None
        for entry in listed if isinstance(listed, list) else ():
            if isinstance(entry, Map) and isinstance(entry.get("id"), str):
                found.add(entry["id"].partition("#")[0])
    return frozenset(found)


def _xids(files: _Files, problems: list[Problem]) -> Mapping[int, XidEntry]:
    document = files.xids
    if document is None or document.path in files.broken:
        return {}
    xids: dict[int, XidEntry] = {}
    for index, entry in enumerate(document.root["xids"]):
        code = int(entry["code"])
        if code in xids:
            problems.append(Problem(document.place("xids", index, "code"), f"Xid {code} is listed twice"))
        xids[code] = XidEntry(code, entry["mnemonic"], entry["meaning"], entry["bucket"], entry["group"])
    return xids


def _modules(files: _Files, problems: list[Problem]) -> Mapping[str, str]:
    document = files.modules
    if document is None or document.path in files.broken:
        return {}
    modules: dict[str, str] = {}
    for module, prefixes in document.root["modules"].items():
        for index, prefix in enumerate(prefixes):
            if prefix in modules:
                place = document.place("modules", module, index)
                problems.append(Problem(place, f"{shown(prefix)} belongs to {modules[prefix]} already"))
            modules[prefix] = module
    return modules


def _calibration(files: _Files, problems: list[Problem]) -> tuple[tuple[float, float], ...]:
    document = files.calibration
    if document is None or document.path in files.broken:
        return ()
    knots = [(float(knot["raw"]), float(knot["shown"])) for knot in document.root["table"]]
    for index, (one, other) in enumerate(pairwise(knots), 1):
        if other[0] <= one[0] or other[1] < one[1]:
            place = document.place("table", index)
            problems.append(Problem(place, "the table must rise: more computed is never shown as less"))
    return tuple(knots)
