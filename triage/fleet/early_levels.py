"""Levels that stand away from those of the peers at each of the last readings."""

from __future__ import annotations

from collections.abc import Mapping
from math import log10
from statistics import median

from triage.fleet.early_past import Past
from triage.fleet.early_values import MODEL, Seen, Sign, Signs

DEVIATION = 1.4826
"""A median deviation in standard deviations of a normal law."""


def compare(by_gpu: Mapping[str, Past], sign: Sign, signs: Signs) -> tuple[list[Seen], int, int, str]:
    """Return the GPUs that stand away, the comparisons made, and how many GPUs were left out and why."""
    groups: dict[tuple[str, ...], dict[str, float]] = {}
    for gpu, past in by_gpu.items():
        for back, (numbers, facts) in enumerate(past.last(sign.times)):
            level = _level(numbers, facts, sign)
            if level is not None:
                name, value, peers = level
                groups.setdefault((str(back), name, *peers), {})[gpu] = value
    far: dict[str, list[tuple[float, float, float, str, int]]] = {}
    judged: set[str] = set()
    for key, members in groups.items():
        if len(members) < signs.peers:
            continue
        middle = median(members.values())
        floor = sign.least if sign.logarithm else abs(middle) * sign.least
        spread = max(DEVIATION * median(abs(value - middle) for value in members.values()), floor / sign.far)
        for gpu, value in members.items():
            judged.add(gpu)
            off = (middle - value) if sign.kind == "below" else (value - middle)
            if spread > 0 and off >= floor and off / spread >= sign.far:
                far.setdefault(gpu, []).append((off / spread, value, middle, key[1], len(members)))
    found = []
    for gpu, times in far.items():
        if len(times) < sign.times:
            continue
        distance = min(each[0] for each in times)
        _, value, middle, name, count = times[0]
        past = by_gpu[gpu]
        at, node, facts = past.latest[-1]
        value, middle = (10**value, 10**middle) if sign.logarithm else (value, middle)
        job = f" of {sign.beside} {facts[sign.beside]}" if sign.beside else ""
        says = (
            f"{sign.named} {value:.3g}, and {middle:.3g} is usual among {count} GPUs{job};"
            f" {distance:.1f} robust deviations away in each of {sign.times} readings"
        )
        found.append(Seen(sign, name, gpu, node, "peers", at, value, middle, None, distance, says))
    needs = f" busy and with {sign.beside} known" if sign.beside else ""
    return found, len(judged), len(by_gpu) - len(judged), f"not told, or fewer than {signs.peers} peers{needs}"


def _level(
    numbers: Mapping[str, float], facts: Mapping[str, str], sign: Sign
) -> tuple[str, float, tuple[str, ...]] | None:
    name = next((name for name in sign.of if name in numbers), None)
    if name is None or (sign.busy is not None and numbers.get("gpu.utilization", 0.0) < sign.busy):
        return None
    value = numbers[name]
    peers: tuple[str, ...] = (facts.get(MODEL, ""),)
    if sign.beside is not None:
        fact = facts.get(sign.beside)
        if fact is None:
            return None
        peers = (*peers, fact)
    return name, log10(max(value, sign.no_less)) if sign.logarithm else value, peers
