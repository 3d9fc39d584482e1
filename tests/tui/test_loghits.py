"""Hits of a search: found once, then at once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from threading import Event, Thread

import pytest

from tests.patience import WITHIN
from tui import loghits
from tui.logfile import LogFile
from tui.loghits import Hits
from tui.loglines import Search, search_for

ROWS = (0, 9_000, 9_001, 40_000, 59_999)


def never() -> bool:
    return False


@pytest.fixture
def file(tmp_path: Path) -> Iterator[LogFile]:
    """Sixty thousand lines, some of them with an Xid."""
    path = tmp_path / "log"
    lines = [f"[{n:6d}.000000] nothing of note happened here" for n in range(60_000)]
    for row in ROWS:
        lines[row] = f"[{row:6d}.000000] NVRM: Xid (PCI:0000:4e:00): 79"
    path.write_text("\n".join(lines) + "\n")
    opened = LogFile(str(path))
    opened.index(never)
    yield opened
    opened.close()


@pytest.mark.parametrize("known", ["nothing", "a part", "all"])
def test_the_nearest_hit_is_the_same_whatever_is_known_already(file: LogFile, known: str) -> None:
    hits = Hits(file, search_for("Xid"))
    if known == "a part":
        hits.collect(lambda: len(hits) >= 2)
        assert 2 <= len(hits) < len(ROWS)
    elif known == "all":
        hits.collect(never)
    assert hits.done is (known == "all")

    forward = {0: 0, 1: 9_000, 9_001: 9_001, 9_002: 40_000, 40_001: 59_999}
    backward = {0: 0, 8_999: 0, 9_000: 9_000, 39_999: 9_001, 59_998: 40_000, 59_999: 59_999}
    assert forward == {start: hits.next(start, True, never) for start in forward}
    assert backward == {start: hits.next(start, False, never) for start in backward}
    assert hits.next(60_000, True, never) is None


def test_what_is_known_is_not_looked_for_in_the_file(file: LogFile) -> None:
    whole = search_for("Xid")
    asked: list[int] = []

    def line(raw: bytes) -> bool:
        asked.append(1)
        return whole.line(raw)

    hits = Hits(file, Search("Xid", whole.chunk, line, whole.pattern))
    hits.collect(never)
    asked.clear()

    assert 59_999 == hits.next(40_001, True, never)
    assert hits.next(60_000, True, never) is None
    assert [] == asked
    assert (2, None) == (hits.place(9_000), hits.place(9_002))


def test_a_hit_nearby_is_there_before_the_whole_file_was_looked_through(
    file: LogFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody at the end of a large log does not wait for its beginning."""
    inside, go_on = Event(), Event()

    def each(*_: object) -> Iterator[tuple[int, list[int]]]:
        inside.set()
        assert go_on.wait(WITHIN)
        yield 60_000, list(ROWS)

    monkeypatch.setattr(file, "each", each)
    monkeypatch.setattr(loghits, "FAR", 1_000)  # of the 60,000 lines here
    hits = Hits(file, search_for("Xid"))
    thread = Thread(target=hits.collect, args=(never,))
    thread.start()
    assert inside.wait(WITHIN)
    try:
        assert 40_000 == hits.next(59_998, False, never)
        assert 59_999 == hits.next(40_001, True, never)
        assert not hits.done
    finally:
        go_on.set()
        thread.join()
