"""The lines of a log around those that evidence rests on, read again when somebody asks for them.

Nothing of a log is kept while it is read.  Its lines are found again by their
number: whole blocks are passed over by counting their newlines, and only those
near a wanted line are taken apart; so it costs one more passage over the file,
packed or not, and the memory of a block.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from probes.named import NamedTuple
from probes.records_text import as_it_stood, decode, plain
from triage.report import text
from triage.streams import Damaged, as_utf8, blocks, line_start

Json = dict[str, Any]

MOST = 50
"""Lines that may be asked for before and after a line."""
LONGEST = 4096
"""Characters of a line that are shown."""


class Stretch(NamedTuple):
    """Lines of a log that follow each other: the first and the last number."""

    first: int
    last: int


def stretches(numbers: Iterable[int], around: int) -> list[Stretch]:
    """Return the stretches that hold these lines and so many before and after each, in order and none twice."""
    found: list[Stretch] = []
    for number in sorted(set(numbers)):
        first, last = max(1, number - around), number + around
        if found and first <= found[-1].last + 1:
            found[-1] = Stretch(found[-1].first, last)
        else:
            found.append(Stretch(first, last))
    return found


def read(path: str, wanted: Sequence[Stretch], first_byte: int = 0) -> Iterator[tuple[int, str]]:
    """Yield the number and the text of the lines of these stretches, which must be in order.

    Lines are counted from `first_byte` of the file.  A file that breaks off gives what stands before.

    Raises:
        OSError: if the file cannot be opened or read.
    """
    todo = list(reversed(wanted))
    number, rest = 1, b""  # the number of the line that is open, and its start
    with open(path, "rb") as file:
        file.seek(first_byte)
        try:
            for part in as_utf8(blocks(file)):
                if not todo:
                    return
                newlines = part.count(b"\n")
                if number + newlines < todo[-1].first:
                    number += newlines
                    rest = line_start(part[part.rfind(b"\n") + 1 :] if newlines else rest + part)
                    continue
                *whole, rest = (rest + part).split(b"\n")
                for line in whole:
                    if todo and todo[-1].first <= number:
                        yield number, _text(line)
                        if number >= todo[-1].last:
                            todo.pop()
                    number += 1
                rest = line_start(rest)
        except Damaged:
            return
    if rest and todo and todo[-1].first <= number <= todo[-1].last:
        yield number, _text(rest)


def _text(line: bytes) -> str:
    return as_it_stood(plain(decode(line[:LONGEST])).rstrip("\r\n"))


def add(report: Json, around: int, files: Mapping[str, tuple[str, int]]) -> list[str]:
    """Give each incident of a report the lines around its evidence, as `context`; return what could not be read.

    Args:
        report: as `triage.report` makes it.
        around: lines before and after each.
        files: of each origin that can be read again, its path and the byte from which its lines are counted.
    """
    wanted: dict[str, set[int]] = {}
    for incident in report["incidents"]:
        for origin, number in lines_of(incident):
            wanted.setdefault(origin, set()).add(number)
    known: dict[str, dict[int, str]] = {}
    failed = []
    for origin, numbers in wanted.items():
        if origin not in files:
            failed.append(f"{_name(origin)}: the lines around the evidence cannot be read again; save it to a file")
            continue
        path, first_byte = files[origin]
        try:
            known[origin] = dict(read(path, stretches(numbers, around), first_byte))
        except OSError as error:
            failed.append(f"{_name(origin)}: the lines around the evidence cannot be read ({error.strerror or error})")
    for incident in report["incidents"]:
        incident["context"] = list(_of(incident, around, known))
    return failed


def lines_of(incident: Json) -> set[tuple[str, int]]:
    """Return origin and number of the log lines that the evidence of an incident rests on."""
    sources = (item["source"] for item in incident["evidence"] if item["state"] == "seen")
    return {(s["origin"], s["line"]) for s in sources if s is not None and s["kind"] == "log" and s["line"]}


def _of(incident: Json, around: int, known: Mapping[str, Mapping[int, str]]) -> Iterator[Json]:
    own: dict[str, set[int]] = {}
    for origin, number in lines_of(incident):
        own.setdefault(origin, set()).add(number)
    for origin in sorted(own.keys() & known.keys()):
        for stretch in stretches(own[origin], around):
            texts = known[origin]
            numbers = [number for number in range(stretch.first, stretch.last + 1) if number in texts]
            yield {
                "origin": origin,
                "lines": [{"line": n, "evidence": n in own[origin], "text": text(texts[n])} for n in numbers],
            }


def _name(origin: str) -> str:
    return "standard input" if origin == "-" else origin
