"""What one node's capture, log or bug report says, as the answer of that node.

Each path is one node's; what cannot be read is an answer too, with its reason.
Many paths are read by several processes, and come back in the order given.
"""

from __future__ import annotations

import os
import stat
import sys
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from pathlib import Path
from typing import Any

from probes.model import LogRecord, Missing, Reading
from triage import __version__
from triage.fleet.model import ANSWERED, FAILED, Answer, Part
from triage.model import Assessment
from triage.report import text, to_report
from triage.rulebook.model import Rulebook
from triage.worker import end_with_parent

MOST_FACT = 256
"""Characters of a fact."""
PARAMETER = "kernel.parameter."
"""What the kernel was told at its start: those that are flags are facts of a node too."""
FEW = 8
"""Paths that one process reads as fast as several, for each of those must load the rules."""

_rulebook: Rulebook | None = None


def read_all(
    paths: Sequence[str],
    rulebook: Rulebook,
    *,
    root: Path | None,
    overlays: Sequence[Path],
    now: float,
    tz_offset: float,
    jobs: int | None = None,
    cluster: str | None = None,
) -> Iterator[Answer]:
    """Read every path as one node's, by up to `jobs` processes (as many as processors if None), or by a cluster.

    Args:
        paths: files or folders.
        rulebook: what to judge by; `root` and `overlays` say where another process finds the same.
        root: the directory of the rulebook, None for the built-in one.
        overlays: folders of site rules.
        now: UTC epoch seconds.
        tz_offset: seconds east of UTC of times without a zone.
        jobs: most processes.
        cluster: the address of a Dask scheduler, whose workers see the paths too.

    Raises:
        NoCluster: if that cannot be used.
    """
    if cluster is not None:
        yield from _by_cluster(cluster, paths, rulebook, now, tz_offset)
        return
    workers = min(jobs or os.cpu_count() or 1, max(1, len(paths) // FEW))
    if workers == 1:
        yield from (read_one(path, rulebook, now=now, tz_offset=tz_offset) for path in paths)
        return
    told = 0
    with ProcessPoolExecutor(workers, initializer=load_rules, initargs=(root, tuple(overlays))) as pool:
        try:
            for answer in pool.map(partial(read_in_worker, now=now, tz_offset=tz_offset), paths, chunksize=4):
                told += 1
                yield answer
        except BrokenProcessPool:
            # Which of them it was cannot be told; those that were not answered may be read again.
            why = "the process that read it ended (out of memory?); read it by itself: gpu-triage explain FILE"
            yield from (Answer(_stem(path), FAILED, why) for path in paths[told:])


def _by_cluster(
    cluster: str, paths: Sequence[str], rulebook: Rulebook, now: float, tz_offset: float
) -> Iterator[Answer]:
    """Have the workers of a cluster read, a few paths ahead of what is asked for; what they cannot is read here."""
    from triage.fast_cluster import connected

    client = connected(cluster)
    try:
        book = client.scatter(rulebook, broadcast=True)
        ahead = 4 * max(1, len(client.nthreads()))
        asked: deque[tuple[str, Any]] = deque()
        # a worker stands in another folder
        for path in [*map(os.path.abspath, paths), *[None] * ahead]:
            if path is not None:
                asked.append((path, client.submit(read_one, path, book, now=now, tz_offset=tz_offset, pure=False)))
            if asked and (path is None or len(asked) > ahead):
                due, future = asked.popleft()
                try:
                    answer: Answer = future.result()
                    known = answer.state != FAILED
                except Exception:  # whatever befell the worker
                    known = False
                # what a worker cannot see this machine may
                yield answer if known else read_one(due, rulebook, now=now, tz_offset=tz_offset)
    finally:
        client.close(timeout=5)


def load_rules(root: Path | None, overlays: Sequence[Path]) -> None:
    """Load the rulebook of this process, for `read_in_worker`."""
    from triage.rulebook.cache import load

    end_with_parent()
    global _rulebook
    _rulebook = load(root, overlays)


def read_in_worker(path: str, *, now: float, tz_offset: float) -> Answer:
    """Read one path by the rulebook of this process."""
    assert _rulebook is not None
    return read_one(path, _rulebook, now=now, tz_offset=tz_offset)


def read_one(path: str, rulebook: Rulebook, *, now: float, tz_offset: float) -> Answer:
    """Read one node's capture, log, bug report or folder of these; its name is what it says, else the file's.

    Whatever is wrong with it is its answer, so that one node does not keep the others from being read.
    """
    try:
        mode = os.stat(path).st_mode
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
            return Answer(_stem(path), FAILED, "neither a file nor a folder; give a capture, a log or a folder of them")
        return _read(path, rulebook, now, tz_offset)
    except OSError as error:
        return Answer(_stem(path), FAILED, f"{error.strerror or error}")
    except Exception as error:  # a mistake of ours
        what = " ".join(str(error).split())[:200]
        return Answer(_stem(path), FAILED, f"internal error, {type(error).__name__}: {what}; please report it")


def _read(path: str, rulebook: Rulebook, now: float, tz_offset: float) -> Answer:
    from triage.assess import assess
    from triage.fastscan import FastIntake

    hosts: dict[str, int] = {}

    def watched(records: Iterator[LogRecord]) -> Iterator[LogRecord]:
        for record in records:
            if record.host is not None:
                hosts[record.host] = hosts.get(record.host, 0) + 1
            yield record

    with FastIntake([path], rulebook=rulebook, now=now, tz_offset=tz_offset) as intake:
        found = assess(
            rulebook,
            watched(iter(intake)),
            lambda: intake.readings,
            lambda: intake.sources,
            node=lambda: intake.node or _most(hosts) or _stem(path),
            now=lambda: now if intake.taken_at is None else intake.taken_at,
            notices=lambda: intake.notices,
            history=lambda: intake.history,  # type: ignore[return-value,arg-type]
            begin=intake.begin,
        )
        taken_at, readings = intake.taken_at, intake.readings
    return answer_of(found, readings, taken_at, rulebook, now=now)


def answer_of(
    found: Assessment, readings: Sequence[Reading], taken_at: float | None, rulebook: Rulebook, *, now: float
) -> Answer:
    """Return what was concluded of one node as its answer."""
    node = text(found.node, MOST_FACT) or "-"
    if not any(source.readable for source in found.sources):
        reasons = [source.reason for source in found.sources if source.reason]
        return Answer(node, FAILED, text(reasons[0]) if reasons else "nothing in it could be read")
    heard = [(s.start, s.end) for s in found.sources if s.readable and s.kind == "kernel-log"]
    known = [(start, end) for start, end in heard if start is not None and end is not None]
    report = to_report(found, generated_at=taken_at or now, tool_version=__version__, causes=rulebook.causes)
    return Answer(
        node=node,
        state=ANSWERED,
        at=taken_at if taken_at is not None else max((end for _, end in known), default=None),
        status=found.status,
        facts={name: value[:MOST_FACT] for name, value in found.facts.items()} | _parameters(readings),
        gpus=_parts(found, readings),
        incidents=tuple(report["incidents"]),
        heard=(min(start for start, _ in known), max(end for _, end in known)) if known else None,
        notices=tuple(notice for notice in report["notices"] if notice),
    )


class Lean:
    """Makes answers small, for a report of tens of thousands: no numbers, and what many say is kept once."""

    def __init__(self) -> None:
        """Nothing was said yet."""
        self._said: dict[tuple[tuple[str, str], ...], Mapping[str, str]] = {}
        self._words: dict[str, str] = {}

    def __call__(self, answer: Answer) -> Answer:
        """Return the same answer without its numbers."""
        gpus = tuple(
            part._replace(name=self._word(part.name), facts=self._once(part.facts), numbers={}) for part in answer.gpus
        )
        return answer._replace(facts=self._once(answer.facts), gpus=gpus)

    def _once(self, facts: Mapping[str, str]) -> Mapping[str, str]:
        key = tuple(facts.items())
        if key not in self._said:
            own = tuple((sys.intern(name), self._words.setdefault(value, value)) for name, value in key)
            self._said[own] = dict(own)
        return self._said[key]

    def _word(self, word: str | None) -> str | None:
        return None if word is None else self._words.setdefault(word, word)


def _parameters(readings: Sequence[Reading]) -> dict[str, str]:
    return {
        reading.name: "set" if reading.value else "not set"
        for reading in readings
        if reading.name.startswith(PARAMETER) and isinstance(reading.value, bool)
    }


def _parts(found: Assessment, readings: Sequence[Reading]) -> tuple[Part, ...]:
    facts: dict[str | None, dict[str, str]] = {}
    numbers: dict[str | None, dict[str, float]] = {}
    for reading in readings:
        if reading.entity.kind != "gpu" or isinstance(reading.value, Missing):
            continue
        if isinstance(reading.value, str):
            facts.setdefault(reading.entity.pci, {})[reading.name] = reading.value[:MOST_FACT]
        else:
            numbers.setdefault(reading.entity.pci, {})[reading.name] = float(reading.value)
    return tuple(
        Part(d.pci, d.uuid, d.serial, d.index, d.name, facts.get(d.pci, {}), numbers.get(d.pci, {})) for d in found.gpus
    )


def _most(hosts: Mapping[str, int]) -> str | None:
    return max(sorted(hosts), key=hosts.__getitem__, default=None)


def called(answer: Answer, name: str) -> Answer:
    """Return the answer of a node under the name by which it was asked, whatever it calls itself."""
    incidents = tuple({**each, "where": {**(each.get("where") or {}), "node": name}} for each in answer.incidents)
    return answer._replace(node=name, incidents=incidents)


def _stem(path: str) -> str:
    name = os.path.basename(os.path.normpath(path))
    return name.partition(".")[0] or name
