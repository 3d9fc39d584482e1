"""What a code or a line means, as text for a person; rendered from the object of `triage.catalog_entry`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from triage.render.layout import Look, fill
from triage.render.words import RISKS, number

Json = dict[str, Any]

MOST_ROWS = 3
"""Rows of a table that are shown where a line fits several; the JSON form has all."""
MOST_TELLS = 6
"""Pieces of evidence shown for one rule, the strongest first; the JSON form has all."""
LABEL = 26
"""Columns of the label of a line that has one."""

GUIDE = {
    "fatal": "fatal",
    "non-fatal": "not fatal",
    "always-fatal": "always fatal",
    "other-notable": "worth knowing",
}
LEGACY = {"system-memory": "host memory", "gpu-memory": "GPU memory"}
RATED = {
    "nonfatal": "not fatal",
    "print-only": "only printed",
    "fatal-link": "fatal for the link",
    "fatal-if-contained": "fatal where errors are contained to the link",
    "fatal-if-contained-device": "fatal where errors are contained to the switch",
    "always-fatal-device": "always fatal, for the whole switch",
    "fatal-link/nonfatal/print-only": "depends on the kind: fatal for the link, not fatal, or only printed",
}


def render(told: Json, look: Look) -> str:
    """Return everything that is told, a blank line between the blocks."""
    blocks = [_line(line, look) for line in told["lines"]]
    blocks += [_verdict(verdict, look) for verdict in told["verdicts"]]
    blocks += [_xid(entry, look) for entry in told["xids"]]
    blocks += [_sxid(entry, look) for entry in told["sxids"]]
    blocks += [_init(entry, look) for entry in told["init_failures"]]
    blocks += [_dcgm(entry, look) for entry in told["dcgm"]]
    blocks += [fill(look, [("", notice)]) for notice in told["notices"]]
    return "\n".join("\n".join(block) + "\n" for block in blocks if block)


def _line(line: Json, look: Look) -> list[str]:
    device = [("", f"on {line['device']}")] if line["device"] else []
    lines = fill(look, [("strong", line["signal"]), *device])
    lines += fill(look, [("", line["says"])], "  ") if line["says"] else []
    fields = ", ".join(f"{name} {value}" for name, value in line["fields"].items())
    lines += fill(look, [("faint", fields)], "  ", "    ") if fields else []
    if "gi" in line["fields"]:
        part = f", compute instance {line['fields']['ci']}" if "ci" in line["fields"] else ""
        lines += _labelled(look, "MIG", f"GPU instance {line['fields']['gi']}{part}")
    if "prev" in line["fields"]:
        lines += _labelled(look, "the driver says", f"caused by the Xid {line['fields']['prev']} before it")
    if line["decoded"] is not None:
        for label, text in _FORMS[line["decoded"]["form"]](line["decoded"]):
            lines += _labelled(look, label, text)
    return lines


def _verdict(verdict: Json, look: Look) -> list[str]:
    family = verdict["leaf"] or verdict["family"]
    share = f"({number(verdict['confidence'])})" if verdict["family"] != "undetermined" else ""
    lines = fill(look, [("strong", "WHAT THESE LINES ALONE SAY"), (verdict["severity"], f"({verdict['severity']})")])
    lead = ", ".join(f"{name} {number(share)}" for name, share in list(verdict["by_family"].items())[:3])
    lines += _labelled(look, verdict["rule"], f"{family} {share}".rstrip() + f"; {lead}")
    for why in verdict["because"]:
        lines += _labelled(look, "because", why)
    for step in verdict["next"]:
        lines += _labelled(look, "do", f"{step['do']} ({RISKS[step['risk']]}; {step['owner']})")
    for text in verdict["settle"]:
        lines += _labelled(look, "would settle it", text)
    return lines


def _xid(entry: Json, look: Look) -> list[str]:
    name = f"Xid {entry['code']}"
    if not entry["known"]:
        return [*_unknown(name, entry, look), *_rules(entry, look)]
    title = entry["title"] or entry["mnemonic"] or ""
    lines = fill(look, [("strong", name), ("strong", title)] if title else [("strong", name)])
    lines += fill(look, [("", _sentence(entry["meaning"]))], "  ")
    names = [entry["mnemonic"] or "", f"kind: {entry['group']}" if entry["group"] else "", _applies(entry["applies"])]
    lines += fill(look, [("faint", "; ".join(part for part in names if part))], "  ", "    ")
    lines += ["", *fill(look, [("strong", "WHO SAYS WHAT")])]
    for label, bucket in (("NVIDIA, at once", "bucket"), ("NVIDIA, to find out", "investigate")):
        if entry[bucket] and (bucket == "bucket" or entry[bucket] != entry["bucket"]):
            lines += _labelled(look, label, f"{entry[bucket]}: {entry[bucket + '_means']}")
    if entry["legacy"] is not None:
        marked = ", ".join(LEGACY.get(word, word) for word in entry["legacy"]) or "nothing marked"
        lines += _labelled(look, "NVIDIA, possible causes", marked)
    if entry["recovery_since"]:
        lines += _labelled(look, "NVIDIA, Xid 154", f"says what to do from {entry['recovery_since']} on")
    lines += _others(entry, look)
    if entry["rows"]:
        units = ", ".join(dict.fromkeys(row["unit"] for row in entry["rows"]))
        many = f"{len(entry['rows'])} rows" if len(entry["rows"]) > 1 else "1 row"
        lines += _labelled(look, "NVIDIA, by unit", f"{many} ({units}); paste the whole line to learn which")
    for action in entry["actions"]:
        lines += _labelled(look, f"{action['value']} {action['word']}", f"{action['means']} ({RISKS[action['risk']]})")
    return [*lines, *_contradictions(entry, look), *_driver_bugs(entry, look), *_rules(entry, look)]


def _sxid(entry: Json, look: Look) -> list[str]:
    name = f"SXid {entry['code']}"
    if not entry["known"]:
        return [*_unknown(name, entry, look), *_rules(entry, look)]
    texts = " / ".join(entry["texts"][:2])
    lines = fill(look, [("strong", name), ("strong", texts or entry["unit"])])
    lines += fill(look, [("", entry["class_means"])], "  ")
    names = [entry["symbol"] or "", f"NVSwitch {entry['unit']}", f"kind: {entry['class']}"]
    lines += fill(look, [("faint", "; ".join(part for part in names if part))], "  ", "    ")
    lines += ["", *fill(look, [("strong", "WHO SAYS WHAT")])]
    for label, switch in (("driver, A100 switch", "lr10"), ("driver, H100 switch", "ls10")):
        if entry["driver"][switch]:
            lines += _labelled(look, label, RATED[entry["driver"][switch]])
    if entry["guide"]:
        said = [f"{GUIDE[entry['guide']]}.", entry["impact"] or "", entry["recovery"] or ""]
        lines += _labelled(look, "Fabric Manager guide", " ".join(part for part in said if part))
    lines += _others(entry, look)
    lines += _labelled(look, "the line itself", "its word Fatal or Non-fatal counts more than any of these")
    return [*lines, *_contradictions(entry, look), *_rules(entry, look)]


def _init(entry: Json, look: Look) -> list[str]:
    lines = fill(look, [("strong", "RmInitAdapter failed"), ("", "The driver could not initialise a GPU.")])
    for which in ("stage", "status"):
        said = entry[which]
        name = f"{said['code']} {said['name'] or 'is not in the tables'}"
        lines += _labelled(look, which, f"{name}: {said['hint']}" if said["hint"] else name)
    return [*lines, *_rules(entry, look)]


DCGM_SEVERITY = {
    "none": "nothing",
    "monitor": "watch it; the GPU can go on working",
    "isolate": "take the GPU out of service",
    "triage": "find out what it is",
    "config": "change a setting",
    "reset": "drain and reset the GPU",
    "unknown": "it does not say",
}


def _dcgm(entry: Json, look: Look) -> list[str]:
    name = f"DCGM error {entry['code']}"
    if not entry["known"]:
        return [*_unknown(name, entry, look), *_rules(entry, look)]
    lines = fill(look, [("strong", name), ("strong", entry["name"])])
    lines += fill(look, [("", entry["meaning"])], "  ")
    kind = f"kind: {entry['kind_of_fault']}; DCGM sorts it under {entry['category']}"
    lines += fill(look, [("faint", kind + ("; no longer used" if entry["unused"] else ""))], "  ", "    ")
    lines += ["", *fill(look, [("strong", "WHO SAYS WHAT")])]
    lines += _labelled(look, "DCGM", DCGM_SEVERITY[entry["severity"]])
    return [*lines, *_rules(entry, look)]


def _unknown(name: str, entry: Json, look: Look) -> list[str]:
    lines = fill(look, [("strong", name), ("", "is not in the catalogue: nothing public is known.")])
    near = " and ".join(str(code) for code in entry["nearest"])
    return [*lines, *fill(look, [("", f"The nearest known: {near}.")], "  ")] if near else lines


def _others(entry: Json, look: Look) -> list[str]:
    return [line for other in entry["others"] for line in _labelled(look, other["tool"], other["says"])]


def _contradictions(entry: Json, look: Look) -> list[str]:
    if not entry["contradictions"]:
        return []
    lines = ["", *fill(look, [("strong", "WHERE THEY CONTRADICT EACH OTHER")])]
    return lines + [line for text in entry["contradictions"] for line in fill(look, [("", text)], "  - ", "    ")]


def _driver_bugs(entry: Json, look: Look) -> list[str]:
    if not entry["driver_bugs"]:
        return []
    lines = ["", *fill(look, [("strong", "KNOWN DRIVER BUGS THAT SHOW LIKE THIS")])]
    for bug in entry["driver_bugs"]:
        fixed = ", ".join(version for version in bug["fixed"].values() if version != "never")
        never = ", ".join(branch for branch, version in bug["fixed"].items() if version == "never")
        said = [bug["fault"], f"Never fixed in {never}." if never else "", bug["sources"][0]]
        lines += _labelled(look, f"fixed in {fixed}", " ".join(part for part in said if part))
    return lines


def _rules(entry: Json, look: Look) -> list[str]:
    lines = ["", *fill(look, [("strong", "WHAT OUR RULES WEIGH")])]
    if not entry["rules"]:
        return [*lines, *fill(look, [("", "No rule is triggered by it.")], "  ")]
    for rule in entry["rules"]:
        said = [("", "rule"), ("strong", rule["id"]), (rule["severity"], f"({rule['severity']})"), ("", rule["title"])]
        lines += fill(look, said, "  ", "    ")
        before = ", ".join(f"{family} {number(share)}" for family, share in rule["before_evidence"].items())
        lines += _labelled(look, "before any evidence", before)
        for step in rule["first"]:
            lines += _labelled(look, "do first", f"{step['do']} ({RISKS[step['risk']]})")
        for tell in rule["tells_apart"][:MOST_TELLS]:
            lines += _labelled(look, f"for {tell['speaks_for'][0]}", tell["if"])
    return lines


def _applies(applies: list[str] | None) -> str:
    if applies is None:
        return ""
    return f"on {', '.join(applies)}" if applies else "on no current data-centre GPU"


def _sentence(text: str) -> str:
    return text if text.endswith((".", "?", "!")) else f"{text}."


def _labelled(look: Look, label: str, text: str) -> list[str]:
    """Return a label and a text in two columns; below each other where the screen is narrow or the label long."""
    if look.width < 3 * LABEL or len(label) >= LABEL:
        return fill(look, [("faint", f"{label}:"), ("", text)], "  ", "    ")
    return fill(look, [("", text)], f"  {label.ljust(LABEL)}", " " * (LABEL + 2))


# What a line says, by the form it was decoded to: pairs of a label and a text

_Said = Iterator[tuple[str, str]]


def _nvlink5(value: Json) -> _Said:
    parts = [f"unit {value['unit']}", f"the line says {value['severity']}"]
    if value["link"] is not None:
        parts.append("no one link" if value["link"] < 0 else f"link {value['link']}")
    if value["cross_contained"] is not None:
        parts.append(f"cross-contained {_yes(value['cross_contained'])}")
    if value["injected"]:
        parts.append("injected on purpose")
    yield "decoded", ", ".join(parts)
    for row in value["rows"][:MOST_ROWS]:
        mark = row["severity_mark"] or ""
        yield "table", f"{row['unit']}: {_BY[row['by']]}; rated {row['severity']}{mark}"
        which = "worse" if value["worse"] and row["worse_bucket"] else "bucket"
        bucket = row["worse_bucket"] if which == "worse" else row["bucket"]
        yield "NVIDIA, at once", f"{bucket}: {row[which + '_means']}"
        yield "NVIDIA, to find out", f"{row['investigate']}: {row['investigate_means']}"
        effects = [f"here {row['local'] or 'nothing'}", f"at the other end {row['remote'] or 'nothing'}"]
        yield "effect", "; ".join(effects)
        if row["peer_is_source"]:
            yield "source", "the other end of the link"
    if len(value["rows"]) > MOST_ROWS:
        yield "and", f"{len(value['rows']) - MOST_ROWS} more rows of the table that it could be"
    if value["driver"] in ("before 575", "575 or later"):
        yield "registers", f"in the form of drivers {value['driver']}"
    for note in value["notes"]:
        yield "note", note


_BY = {
    "HW": "NVIDIA says hardware",
    "SW": "NVIDIA says software",
    "HW/SW": "NVIDIA says hardware or software",
    "FW": "NVIDIA says firmware",
    "NA": "NVIDIA names nobody",
}


def _nvlink74(value: Json) -> _Said:
    link = "a link" if value["link"] is None else f"link {value['link']}"
    yield "decoded", f"{link}{'' if value['trained'] else ' could not be trained'}"
    for bit in value["bits"]:
        if bit["class"] is None:
            yield f"register {bit['register']}", f"bit {bit['bit']}: no source names it"
        else:
            do = f"; {bit['do']} ({bit['when']})" if bit["do"] else ""
            yield f"register {bit['register']}", f"bit {bit['bit']}: {bit['class']}{do}"


def _recovery(value: Json) -> _Said:
    new = value["new"]
    if new is None:
        yield "decoded", f"recovery action 0x{value['value']:x} is not in the catalogue"
        return
    before = value["old"]["word"] if value["old"] else "not said"
    yield "decoded", f"from {before} to {new['word']} ({new['name']}, since {new['since']})"
    yield "do", f"{new['means']} ({RISKS[new['risk']]})"
    others = [("NVSentinel", new["nvsentinel"]), ("DCGM health check", new["dcgm"])]
    yield from ((tool, says) for tool, says in others if says)


def _containment(value: Json) -> _Said:
    kept = "contained to one program" if value["contained"] else "not contained: other programs may have bad data"
    yield "decoded", f"{kept}; in {value['unit']}"
    if value["reset"] is not None:
        drain = "" if value["drain_and_reset"] is None else f"; drain and reset: {_yes(value['drain_and_reset'])}"
        yield "the driver says", f"reset needed: {_yes(value['reset'])}{drain}"
    if value["address"] is not None:
        yield "address", f"0x{value['address']:x}"


def _shader(value: Json) -> _Said:
    place = [f"{name.upper()} {value[name]}" for name in ("gpc", "tpc", "sm") if value[name] is not None]
    yield "decoded", f"{value['kind']} exception" + (f" on {', '.join(place)}" if place else "")
    if value["reason"]:
        yield "reason", value["reason"]


def _mmu(value: Json) -> _Said:
    where = [value["engine"], "" if value["gpc"] is None else f"GPC {value['gpc']}", value["client"] or ""]
    yield "decoded", f"engine {', '.join(part for part in where if part)}"
    if value["address"] is not None:
        from triage.decode import NEAR_NULL

        near = ": next to null, as from a null pointer" if value["address"] < NEAR_NULL else ""
        yield "address", f"0x{value['address']:x}{near}"
    if value["fault"]:
        yield "fault", f"{value['fault']} {value['access'] or ''}".rstrip()


def _rpc(value: Json) -> _Said:
    waited = "" if value["seconds"] is None else f" for {value['seconds']} s"
    yield "decoded", f"the driver waited{waited} for the answer to {value['name'] or value['function']}"


def _escape(value: Json) -> _Said:
    yield "decoded", ", ".join(f"{name.upper()} {value[name]}" for name in ("dram", "ltc", "mmu", "pcie"))


def _sxid_line(value: Json) -> _Said:
    fatal = {True: "the switch says fatal", False: "the switch says not fatal", None: "further data of an event"}
    link = "" if value["link"] is None else f", link {value['link']}"
    first = ", marked as the first of its event" if value["first"] else ""
    yield "decoded", f"{fatal[value['fatal']]}{link}{first}"


def _nothing(value: Json) -> _Said:
    return iter(())


def _yes(value: bool) -> str:
    return "yes" if value else "no"


_FORMS: Mapping[str, Callable[[Json], _Said]] = {
    "Nvlink5": _nvlink5,
    "Nvlink74": _nvlink74,
    "RecoveryChange": _recovery,
    "Containment": _containment,
    "ShaderException": _shader,
    "MmuFault": _mmu,
    "RpcTimeout": _rpc,
    "EccEscape": _escape,
    "Sxid": _sxid_line,
    "InitFailure": _nothing,  # told in a block of its own
}
