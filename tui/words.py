"""Words that several screens say the same way."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping

from triage.render.words import RISKS, number
from tui.facts import SEVERITIES, WORDS, Evidence, Gpu, Incident, Verdict, Witness
from tui.text import Span, age

UNDETERMINED = "undetermined"
DAY = 86400.0

_PREFIX = re.compile(
    r"^(?:\d{1,4},\d+,\d+,[^;]{0,40};)?(?:.{0,100}? kernel: )?(?:<\d{1,3}>)?(?:\[ {0,6}\d{1,8}\.\d{6}\] )?"
)


def severity(name: str) -> Span:
    """Return a severity as four letters in its style."""
    return name, WORDS.get(name, name[:4].upper())


def badness(name: str, state: str) -> int:
    """Return how bad an incident of this severity is: the worst have the least, and what is over has the most."""
    known = SEVERITIES.index(name) if name in SEVERITIES else len(SEVERITIES)
    return known if state == "open" else len(SEVERITIES) + 1


def place(gpu: Gpu | None, *, short: bool = False) -> str:
    """Return which GPU, as far as it is known."""
    if gpu is None:
        return "node"
    address = gpu.pci or gpu.uuid or gpu.serial
    index = "" if gpu.index is None else f"g{gpu.index}"
    if short and address and address.startswith("0000:"):
        address = address[5:]
    return " ".join(filter(None, (index, address))) or "some GPU"


def verdict_short(verdict: Verdict) -> Span:
    """Return the family, or while undetermined the one ahead in brackets."""
    if verdict.family == UNDETERMINED:
        lead = verdict.lead_family
        return "unknown", "UNDETERMINED" if lead == UNDETERMINED else f"({lead}?)"
    return "strong", verdict.lead_leaf or verdict.family


def verdict_long(verdict: Verdict) -> list[Span]:
    """Return the verdict in words with its number and the cause that is named."""
    named = verdict.lead_title or verdict.lead_leaf or ""
    sure = "?" if verdict.confidence is None else number(verdict.confidence)
    if verdict.family == UNDETERMINED:
        ahead = f"{verdict.lead_family} is ahead with {sure}, too little to decide"
        return [("unknown strong", "UNDETERMINED"), ("", f"  {ahead}")]
    return [("strong", f"{verdict.family.upper()}, {verdict.words} ({sure})"), ("", f"  {named}")]


def points(moved: Mapping[str, int], family: str) -> str:
    """Return what evidence moves, causes of the family first: `+4 hardware.link -2 driver.module`."""
    ranked = sorted(moved.items(), key=lambda pair: (_family(pair[0]) != family, -abs(pair[1]), pair[0]))
    return " ".join(f"{value:+d} {leaf}" for leaf, value in ranked)


def _family(leaf: str) -> str:
    return leaf.partition(".")[0]


def points_short(item: Evidence, family: str, most: int = 1) -> str:
    """Return the moves of an item that matter most for a family: `+4 link +2 gpu`."""
    moved = item.would_be if item.state == "unknown" else item.points
    ours = {leaf: value for leaf, value in moved.items() if _family(leaf) == family}
    ranked = sorted((ours or moved).items(), key=lambda pair: (-abs(pair[1]), pair[0]))
    return " ".join(f"{value:+d} {leaf.partition('.')[2] or leaf}" for leaf, value in ranked[:most]) or "0"


def risk(name: str) -> Span:
    """Return what a step risks, in words."""
    return "ok" if name == "none" else "warning", RISKS.get(name, name)


def clock(at: float | None, *, day: bool = False, millis: bool = False) -> str:
    """Return UTC as `14:02:31`, with the day `2026-08-22 14:02:31`, or `?`."""
    if at is None:
        return "?"
    try:
        moment = time.gmtime(at)
    except (ValueError, OverflowError, OSError):
        return "?"
    text = time.strftime("%Y-%m-%d %H:%M:%S" if day else "%H:%M:%S", moment)
    return f"{text}.{int(at % 1 * 1000):03d}" if millis else text


def moment(at: float, old: float, roomy: bool) -> str:
    """Return when data are from and how old they are: `14:02:31Z, 38s ago`, with the day once they are older than one.

    `old` is seconds; where there is little room the day is told without the time.
    """
    if old <= DAY:
        return f"{clock(at)}Z, {age(old)} ago"
    return f"{clock(at, day=True)[: None if roomy else 10]}Z, {age(old)} ago"


def witness_words(witness: Witness) -> str:
    """Return what a witness says: the message of a line, or a reading with its unit."""
    if witness.kind == "log":
        return message(witness.text)
    if witness.value is None:
        return f"{witness.name} = unknown ({witness.missing})"
    unit = "" if witness.unit in ("text", "flag", "count") else f" {witness.unit}"
    value = {True: "yes", False: "no"}[witness.value] if isinstance(witness.value, bool) else witness.value
    return f"{witness.name} = {value}{unit}"


def witness_place(witness: Witness, at: float | None) -> str:
    """Return where a witness stands."""
    if witness.kind != "log":
        return f"read {clock(at, day=True)}"
    where = "standard input" if witness.origin == "-" else witness.origin or "?"
    if witness.line is not None:
        where += f":{witness.line}"
    if witness.injected:
        where += " (written to /dev/kmsg by root, not by the kernel)"
    return where


def message(text: str) -> str:
    """Return a log line without its time, host and program, which stand beside it."""
    return text[_PREFIX.match(text).end() :] or text  # type: ignore[union-attr]  # it matches the empty text


def since(incident: Incident) -> float | None:
    """Return when it was last seen, else when it opened."""
    return incident.last_seen_at if incident.last_seen_at is not None else incident.opened_at


def swing(verdict: Verdict, would_be: Mapping[str, int]) -> tuple[str, float] | None:
    """Return the family that would lead, and with what share, were this seen too; None if nothing is known.

    About: members of one group do not add up in the rulebook, here they do.
    """
    moved = {leaf: share * 2.0 ** would_be.get(leaf, 0) for leaf, share in verdict.by_leaf.items()}
    whole = sum(moved.values())
    if whole <= 0 or not would_be:
        return None
    families: dict[str, float] = {}
    for leaf, share in moved.items():
        family = _family(leaf)
        families[family] = families.get(family, 0.0) + share / whole
    return max(families.items(), key=lambda pair: pair[1])
