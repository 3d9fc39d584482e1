"""Names of nodes, folded as Slurm and ClusterShell write them: `gpu-[2201-2238,2240]`.

Names come out of logs, so nothing here ever writes a set out: whether a name
is in one is found by comparing, however large its ranges are.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator

_NUMBERED = re.compile(r"^(.*?)(\d{1,18})(\D*)$", re.DOTALL)
_SET = re.compile(r"([^\[\],]*)(?:\[([0-9,-]{1,65536})\])?([^\[\],]*)(?:,|$)")
_PARTS = re.compile(r"(\d+)")


def natural(name: str) -> list[tuple[int, int, str]]:
    """Return what puts `gpu9` before `gpu10`."""
    return [(0, int(part[:18]), part) if part.isdecimal() else (1, 0, part) for part in _PARTS.split(name)]


def folded(names: Iterable[str]) -> str:
    """Return the names as one text; those that differ in their last number alone stand together."""
    groups: dict[tuple[str, str], set[str]] = {}
    alone: list[str] = []
    for name in set(names):
        match = None if "[" in name or "]" in name or "," in name else _NUMBERED.match(name)
        if match is None:
            alone.append(name)
        else:
            groups.setdefault((match[1], match[3]), set()).add(match[2])
    told = [(natural(name), name) for name in alone]
    for (start, end), numbers in groups.items():
        runs = list(_runs(sorted(numbers, key=lambda digits: (int(digits), len(digits)))))
        first = runs[0].partition("-")[0]
        text = f"{start}{runs[0]}{end}" if len(numbers) == 1 else f"{start}[{','.join(runs)}]{end}"
        told.append((natural(f"{start}{first}{end}"), text))
    return ",".join(text for _, text in sorted(told))


def _runs(numbers: Iterable[str]) -> Iterator[str]:
    """Yield `7` or `0003-0009`; numbers belong to one run only if they are written to the same width."""
    first = last = ""
    for digits in numbers:
        if last and int(digits) == int(last) + 1 and digits == f"{int(digits):0{len(last)}d}":
            last = digits
            continue
        if last:
            yield first if first == last else f"{first}-{last}"
        first = last = digits
    if last:
        yield first if first == last else f"{first}-{last}"


def matcher(text: str) -> Callable[[str], bool] | None:
    """Return what tells whether a name is in a folded set; None if the text is none."""
    if "[" not in text and "," not in text:
        return None
    tests: list[tuple[str, list[tuple[int, int, int]] | None, str]] = []
    place = 0
    while place < len(text):
        match = _SET.match(text, place)
        if match is None or match.end() == place:
            return None
        if match[2] is None:
            tests.append((match[1], None, ""))
        else:
            ranges = [_range(part) for part in match[2].split(",")]
            if None in ranges:
                return None
            tests.append((match[1], [each for each in ranges if each is not None], match[3]))
        place = match.end()
    return lambda name: any(_in(name, *test) for test in tests)


def _range(text: str) -> tuple[int, int, int] | None:
    """Return first, last and the width they are written to (0 if they are not padded)."""
    first, dash, last = text.partition("-")
    if not first.isdecimal() or (dash and not last.isdecimal()) or max(len(first), len(last)) > 18:
        return None
    last = last or first
    return int(first), int(last), len(first) if first.startswith("0") and len(first) > 1 else 0


def _in(name: str, start: str, ranges: list[tuple[int, int, int]] | None, end: str) -> bool:
    if ranges is None:
        return name == start
    digits = name[len(start) : len(name) - len(end)]
    if not (name.startswith(start) and name.endswith(end) and digits.isdecimal() and len(digits) <= 18):
        return False
    padded = digits.startswith("0") and len(digits) > 1
    return any(
        low <= int(digits) <= high and (len(digits) == width if width else not padded) for low, high, width in ranges
    )
