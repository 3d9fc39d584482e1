"""What is told of a code or a line: one object of plain values, from which every form of output is rendered.

It says what the code is, who says what of it and where they contradict each
other, and what the rules of this program weigh.  `triage/schema/xid.v1.json`
describes it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from probes.model import LogRecord
from triage import catalog, decode
from triage.catalog import InitCode, NvlinkRow, SxidEntry
from triage.decode_nvlink import SetBit
from triage.model import Assessment, Signal
from triage.rulebook.model import Item, Rule, Rulebook, Seen
from triage.scanner import own_codes

Json = dict[str, Any]

SCHEMA_VERSION = 1
LARGEST_XID = 9999
"""The largest number that a catalogue may hold; the largest known one has a fiftieth of it."""
LEAST_SHARE = 0.05
"""Probability from which a family is told as a candidate."""


def told(
    rulebook: Rulebook,
    *,
    lines: Sequence[Signal] = (),
    found: Assessment | None = None,
    xids: Iterable[int] = (),
    sxids: Iterable[int] = (),
    init: Iterable[decode.InitFailure] = (),
    dcgm: Iterable[int] = (),
    notices: Sequence[str] = (),
    version: str | None = None,
) -> Json:
    """Return everything that is told of these lines and codes.

    `found` is what was concluded from the lines; `version` the driver's, if known.
    """
    read = [_line(signal, rulebook, version) for signal in lines]
    by_code = {int(s.fields["xid"][:6]): s for s in reversed(lines) if "xid" in s.fields}
    by_sxid = {int(s.fields["sxid"][:6]): s for s in reversed(lines) if "sxid" in s.fields}
    codes = dict.fromkeys([*xids, *reversed(by_code)])
    switch_codes = dict.fromkeys([*sxids, *reversed(by_sxid)])
    dcgm_codes = dict.fromkeys([*dcgm, *(code for code in map(_dcgm_of, lines) if code is not None)])
    failures = [*init, *(f for f in (_init_of(s) for s in lines) if f is not None)]
    return {
        "schema_version": SCHEMA_VERSION,
        "kind": "xid",
        "lines": read,
        "verdicts": [] if found is None else [_verdict(incident) for incident in found.incidents],
        "xids": [xid_entry(code, rulebook, by_code.get(code)) for code in codes],
        "sxids": [sxid_entry(code, rulebook, by_sxid.get(code)) for code in switch_codes],
        "init_failures": [_init(failure, rulebook) for failure in dict.fromkeys(failures)],
        "dcgm": [dcgm_entry(code, rulebook) for code in dcgm_codes],
        "notices": list(notices),
    }


def xid_entry(code: int, rulebook: Rulebook, signal: Signal | None = None) -> Json:
    """Return what is told of an Xid; with a signal the rules that its line opens, else those of a bare code."""
    entry = rulebook.xids.get(code)
    details = catalog.xid_details().get(code)
    vendor: Json = {
        "bucket": entry.bucket if entry else None,
        "bucket_means": _means(entry.bucket if entry else None),
        "investigate": details.investigate if details else None,
        "investigate_means": _means(details.investigate if details else None),
        "applies": _listed(details.applies if details else None),
        "legacy": _listed(details.legacy if details else None),
        "recovery_since": details.recovery_since if details else None,
        "header_name": details.header_name if details else None,
        "since": details.since if details else None,
    }
    return {
        "code": code,
        "known": entry is not None,
        "nearest": [] if entry else _nearest(code, rulebook.xids),
        "mnemonic": entry.mnemonic or None if entry else None,
        "title": details.title if details else None,
        "meaning": entry.meaning if entry else None,
        "group": entry.group if entry else None,
        **vendor,
        "others": _others(details) if details else [],
        "contradictions": list(details.contradictions) if details else [],
        "rows": [_row(row) for row in catalog.nvlink_rows() if row.xid == code and signal is None],
        "actions": [_plain(a) for a in catalog.recovery_actions().values() if code == 154 and signal is None],
        "driver_bugs": _driver_bugs(code, rulebook),
        "rules": _rules(signal or _bare_xid(code, rulebook), rulebook),
        "sources": list(catalog.sources("xid-details")) if details else [],
    }


def _driver_bugs(code: int, rulebook: Rulebook) -> list[Json]:
    """Return the known bugs of driver versions that show as this Xid; what else they need stands in their rows."""
    return [
        {
            "id": bug.id,
            "fault": bug.fault,
            "leaf": bug.leaf,
            "fixed": dict(bug.fixed),
            "since": dict(bug.since),
            "flavour": bug.flavour,
            "gpu": bug.gpu,
            "do": bug.do,
            "sources": list(bug.sources),
        }
        for bug in rulebook.bugs
        if any(code in select.xids for select in bug.shows)
    ]


def sxid_entry(code: int, rulebook: Rulebook, signal: Signal | None = None) -> Json:
    """Return what is told of an NVSwitch error."""
    known = catalog.sxids()
    entry = known.get(code)
    nothing = SxidEntry(code, None, "", (), "", None, None, None, None, None, None, None, (), ())
    told_of = entry or nothing
    others = []
    if told_of.nvsentinel:
        fatal = "fatal" if told_of.nvsentinel_fatal else "not fatal"
        others.append({"tool": "NVSentinel", "says": f"{fatal}; {told_of.nvsentinel}: {_means(told_of.nvsentinel)}"})
    others += [{"tool": name, "says": "on its list of harmless lines"} for name in told_of.ignored_by]
    return {
        "code": code,
        "known": entry is not None,
        "nearest": [] if entry else _nearest(code, known),
        "symbol": told_of.symbol,
        "unit": told_of.unit or None,
        "texts": list(told_of.texts),
        "class": told_of.kind or None,
        "class_means": CLASSES.get(told_of.kind),
        "driver": {"lr10": told_of.lr10, "ls10": told_of.ls10},
        "guide": told_of.guide,
        "impact": told_of.impact,
        "recovery": told_of.recovery,
        "others": others,
        "contradictions": list(told_of.contradictions),
        "rules": _rules(signal or _bare("sxid", {"sxid": str(code)}), rulebook),
        "sources": list(catalog.sources("sxid")) if entry else [],
    }


CLASSES: Mapping[str, str] = {
    "ecc-uncorrectable": "An uncorrectable memory error inside the switch.",
    "ecc-corrected": "Corrected memory errors inside the switch passed a limit.",
    "parity": "A parity error inside the switch.",
    "protocol": "A protocol error, or one inside the switch.",
    "flow-control": "Buffers or credits ran over.",
    "routing-or-privilege": "A packet with a route, address or privilege that is not allowed.",
    "link-signal": "The signal or the training of a link: connector, cable, baseboard, or the other end.",
    "link-state": "The state or training of a link.",
    "firmware": "A microcontroller or firmware of the switch.",
    "timeout": "The other end did not answer in time.",
    "heat": "The switch is hot.",
    "optics-or-cable": "An optical module or cable.",
    "poison": "Data marked as bad passed through; the fault is where it was marked.",
    "host-interface": "The switch's connection to the host.",
    "unknown": "Only its number is known.",
}
"""What our sorting of the NVSwitch errors means."""


def dcgm_entry(code: int, rulebook: Rulebook) -> Json:
    """Return what is told of a finding of DCGM."""
    known = catalog.dcgm_errors()
    entry = known.get(code)
    fields = {"by": "diag", "status": "fail", "test": "test", "dcgm": str(code), "text": ""}
    return {
        "code": code,
        "known": entry is not None,
        "nearest": [] if entry else _nearest(code, known),
        "name": entry.name if entry else None,
        "meaning": entry.says if entry else None,
        "kind_of_fault": entry.kind if entry else None,
        "severity": entry.severity if entry else None,
        "category": entry.category if entry else None,
        "unused": entry.unused if entry else False,
        "rules": _rules(_bare("dcgm-error", {**fields, **decode.dcgm_fields(str(code), "")}), rulebook),
        "sources": list(catalog.sources("dcgm")) if entry else [],
    }


def _dcgm_of(signal: Signal) -> int | None:
    """Return the number of a finding of DCGM; one that was known by its text has that of its name."""
    name = signal.fields.get("dcgm_name")
    return next((code for code, entry in catalog.dcgm_errors().items() if entry.name == name), None) if name else None


def _line(signal: Signal, rulebook: Rulebook, version: str | None) -> Json:
    says = next((p.says for p in rulebook.signals if p.id.partition("#")[0] == signal.name), None)
    return {
        "signal": signal.name,
        "says": says,
        "device": signal.pci,
        "fields": dict(signal.fields),
        "decoded": _decoded(signal, version),
    }


def _decoded(signal: Signal, version: str | None) -> Json | None:
    value: Any = None
    if "xid" in signal.fields:
        value = decode.xid(int(signal.fields["xid"][:6]), signal.fields.get("text", ""), version)
    elif "sxid" in signal.fields:
        value = decode.sxid(signal.record.message)
    else:
        value = _init_of(signal)
    return None if value is None else _plain(value)


def _init_of(signal: Signal) -> decode.InitFailure | None:
    if "stage" not in signal.fields or "status" not in signal.fields:
        return None
    line = signal.fields.get("source_line")
    numbers = (signal.fields["stage"], signal.fields["status"], *([line] if line else []))
    return decode.init_failure(f"({':'.join(numbers)})")


def _plain(value: Any) -> Any:
    """Return a decoded value as plain ones; the type's name tells which it is."""
    if isinstance(value, NvlinkRow):
        return _row(value)
    if isinstance(value, SetBit):
        means = value.means
        return {
            "register": value.register,
            "bit": value.bit,
            "class": means.kind if means else None,
            "when": means.when if means else None,
            "do": means.do if means else None,
        }
    if isinstance(value, (InitCode, catalog.RecoveryAction)):
        return {name: _plain(member) for name, member in value._asdict().items()}
    if isinstance(value, SxidEntry):
        return value.code
    if hasattr(value, "_asdict"):
        return {"form": type(value).__name__, **{name: _plain(member) for name, member in value._asdict().items()}}
    return [_plain(member) for member in value] if isinstance(value, tuple) else value


def _row(row: NvlinkRow) -> Json:
    statuses = [f"0x{status:08x}" for status in row.statuses]
    return {
        "unit": row.unit,
        "old_unit": row.old_unit,
        "statuses": statuses,
        "by": row.by,
        "severity": row.severity,
        "severity_mark": row.severity_mark or None,
        "bucket": row.bucket,
        "bucket_means": _means(row.bucket),
        "worse_bucket": row.worse_bucket,
        "worse_means": _means(row.worse_bucket),
        "investigate": row.investigate,
        "investigate_means": _means(row.investigate),
        "local": row.local,
        "remote": row.remote,
        "peer_is_source": row.peer_is_source,
    }


def _init(failure: decode.InitFailure, rulebook: Rulebook) -> Json:
    fields = {"stage": f"0x{failure.stage_value:x}", "status": f"0x{failure.status_value:x}"}
    return {
        "stage": {"code": f"0x{failure.stage_value:x}", **_named(failure.stage)},
        "status": {"code": f"0x{failure.status_value:x}", **_named(failure.status)},
        "source_line": failure.source_line,
        "rules": _rules(_bare("rminit-failed", fields), rulebook),
        "sources": list(catalog.sources("rminit")),
    }


def _named(code: InitCode | None) -> Json:
    return {"name": code.name if code else None, "hint": code.hint if code else None}


def _means(bucket: str | None) -> str | None:
    return catalog.buckets().get(bucket) if bucket else None


def _listed(words: tuple[str, ...] | None) -> list[str] | None:
    return None if words is None else list(words)


def _others(details: catalog.XidDetails) -> list[Json]:
    others = []
    if details.gpud:
        others.append({"tool": "gpud", "says": "; ".join([details.gpud, ", ".join(details.gpud_actions)]).rstrip("; ")})
    if details.dcgm:
        others.append({"tool": "DCGM health check 4.6", "says": details.dcgm})
    names = {"k8s-device-plugin": "Kubernetes device plugin", "gcm": "gcm"}
    others += [{"tool": names[name], "says": "leaves it to the program"} for name in details.ignored_by]
    return others


def _nearest(code: int, known: Iterable[int]) -> list[int]:
    """Return the known codes next to an unknown one, below and above."""
    below = [other for other in known if other < code]
    above = [other for other in known if other > code]
    return [*([max(below)] if below else []), *([min(above)] if above else [])]


def _bare(name: str, fields: Mapping[str, str]) -> Signal:
    return Signal(name, None, fields, LogRecord(""))


def _bare_xid(code: int, rulebook: Rulebook) -> Signal:
    """Return what the scanner would make of a line that has nothing but this code."""
    entry = rulebook.xids.get(code)
    own = "yes" if code in own_codes(rulebook) else "no"
    fields = {"xid": str(code), "known": "no" if entry is None else "yes", "own_rule": own}
    if entry is not None:
        fields |= {"group": entry.group, "bucket": entry.bucket}
    return _bare("xid", fields)


def _rules(signal: Signal, rulebook: Rulebook) -> list[Json]:
    from triage.clauses import selected
    from triage.timeline import Timeline, by_name

    alone = Timeline((signal,), by_name((signal,)), {}, ())
    return [
        _rule(rule, rulebook)
        for rule in rulebook.rules
        if any(isinstance(clause, Seen) and selected(clause.select, alone) for clause in rule.trigger.any)
    ]


def _rule(rule: Rule, rulebook: Rulebook) -> Json:
    from triage.verdict import families, probabilities

    shares = families(probabilities(rule.trigger.points, rulebook), rulebook)
    return {
        "id": rule.id,
        "title": rule.title,
        "severity": rule.severity,
        "favourite": next(iter(shares)),
        "before_evidence": {family: round(share, 2) for family, share in shares.items() if share >= LEAST_SHARE},
        "weighs": sorted({leaf for item in rule.evidence for leaf, points in item.points.items() if points > 0}),
        "first": [{"do": a.do, "risk": a.risk} for a in rule.actions if a.for_ == "undetermined"],
        "tells_apart": _tells(rule.evidence),
        "settle": list(dict.fromkeys(item.settle for item in rule.evidence if item.settle)),
    }


def _tells(evidence: Sequence[Item]) -> list[Json]:
    """Return for each cause the piece of evidence that speaks for it most, the strongest first."""
    best: dict[str, tuple[int, str]] = {}
    for item in evidence:
        for leaf, points in item.points.items():
            if points > best.get(leaf, (0, ""))[0]:
                best[leaf] = (points, item.why)
    ranked = sorted(best.items(), key=lambda pair: (-pair[1][0], pair[0]))
    by_why: dict[str, Json] = {}
    for leaf, (points, why) in ranked:
        told_of = by_why.setdefault(why, {"if": why, "speaks_for": [], "points": points})
        told_of["speaks_for"].append(leaf)
    return list(by_why.values())


def _verdict(incident: Any) -> Json:
    """Return what these lines alone say; the rest of the log may change it."""
    return {
        "rule": incident.rule,
        "summary": incident.summary,
        "severity": incident.severity,
        "family": incident.verdict.family,
        "leaf": incident.verdict.leaf,
        "confidence": round(incident.verdict.confidence, 4),
        "by_family": {name: round(share, 4) for name, share in incident.verdict.by_family.items()},
        "because": [e.why for e in incident.evidence if e.state == "seen" and e.counted],
        "explains": list(incident.explains),
        "next": [{"do": step.do, "risk": step.risk, "owner": step.owner} for step in incident.next],
        "settle": list(incident.settle),
    }
