"""A file as numbered lines."""

from __future__ import annotations

import gzip
import os
import threading
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tui.logfile import LINE_MOST, STEP, LogFile


def never() -> bool:
    return False


def opened(path: Path, data: bytes) -> LogFile:
    path.write_bytes(data)
    file = LogFile(str(path))
    file.index(never)
    return file


def split(data: bytes) -> list[bytes]:
    lines = data.split(b"\n")
    return lines[:-1] if not lines[-1] else lines


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, 3000), st.integers(1, 40)), max_size=60), st.booleans(), st.data())
def test_lines_are_those_that_newlines_make(
    tmp_path: Path, shapes: list[tuple[int, int]], ends: bool, data: st.DataObject
) -> None:
    content = b"\n".join(b"%d " % n + b"x" * size for n, (size, times) in enumerate(shapes) for _ in range(times))
    content += b"\n" * ends
    expected = split(content)
    with closing(opened(tmp_path / "log", content)) as file:
        assert len(expected) == file.count
        for _ in range(5):
            first = data.draw(st.integers(0, max(0, len(expected) - 1)))
            assert expected[first : first + 30] == file.lines(first, 30)


def test_a_line_longer_than_all_blocks_is_one_line_and_is_cut(tmp_path: Path) -> None:
    file = opened(tmp_path / "log", b"one\n" + b"y" * (STEP * 70) + b"\nthree\n")

    assert 3 == file.count
    assert [b"one", b"y" * LINE_MOST, b"three"] == file.lines(0, 9)
    assert b"" == file.line(3)
    file.close()


def test_the_index_stays_small(tmp_path: Path) -> None:
    file = opened(tmp_path / "log", b"line\n" * 400_000)

    assert 400_000 == file.count
    assert len(file._starts) <= 2 + (400_000 * 5) // STEP
    file.close()


def test_an_index_that_is_stopped_goes_on_where_it_was(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"line\n" * 200_000)
    file = LogFile(str(path))
    asked = iter([False, True])

    file.index(lambda: next(asked))
    assert 0 < file.count < 200_000
    assert not file.done
    assert 0 < file.share < 1
    file.index(never)

    assert 200_000 == file.count
    assert (True, 1.0) == (file.done, file.share)
    file.close()


def test_what_is_appended_is_found_when_asked_again(tmp_path: Path) -> None:
    path = tmp_path / "log"
    file = opened(path, b"one\ntwo\nthr")
    assert [b"one", b"two", b"thr"] == file.lines(0, 9)

    with path.open("ab") as more:
        more.write(b"ee\nfour\n")
    file.index(never)

    assert [b"one", b"two", b"three", b"four"] == file.lines(0, 9)
    file.close()


@pytest.mark.parametrize("forward", [True, False])
def test_the_nearest_line_that_passes_is_found(tmp_path: Path, forward: bool) -> None:
    lines = [b"hit" if n % 50_000 == 7 else b"line %d" % n for n in range(180_000)]
    file = opened(tmp_path / "log", b"\n".join(lines))
    has = lambda data: b"hit" in data  # noqa: E731

    found = file.find(60_000, forward, has, has, never)

    assert (100_007 if forward else 50_007) == found
    assert 50_007 == file.find(50_007, forward, has, has, never)
    assert None is file.find(150_008, True, has, has, never)
    assert None is file.find(6, False, has, has, never)
    assert None is file.find(0, True, has, has, lambda: True)
    file.close()


def test_all_lines_that_pass_are_listed(tmp_path: Path) -> None:
    lines = [b"hit" if n % 1000 == 3 else b"line %d" % n for n in range(30_000)]
    file = opened(tmp_path / "log", b"\n".join(lines))
    has = lambda data: b"hit" in data  # noqa: E731

    pieces = list(file.each(has, has, never))

    assert [n for n in range(30_000) if n % 1000 == 3] == [hit for _, hits in pieces for hit in hits]
    file.close()


def test_a_compressed_log_is_counted_as_it_is_unpacked(tmp_path: Path) -> None:
    file = opened(tmp_path / "log.gz", gzip.compress(b"one\ntwo\n"))

    assert [b"one", b"two"] == file.lines(0, 9)
    file.close()


def test_utf16_is_shown_as_text(tmp_path: Path) -> None:
    file = opened(tmp_path / "log", "één\ntwee\n".encode("utf-16"))

    assert ["één".encode(), b"twee"] == file.lines(0, 9)
    file.close()


def test_a_pipe_is_read_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writer = threading.Thread(target=lambda: path.write_bytes(b"one\ntwo\n"))
    writer.start()
    file = LogFile(str(path))
    writer.join()
    file.index(never)

    assert [b"one", b"two"] == file.lines(0, 9)
    file.close()


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"[Ii]s a (folder|directory)"):
        LogFile(str(tmp_path))


def test_a_closed_file_ends_and_reads_no_other(tmp_path: Path) -> None:
    file = opened(tmp_path / "log", b"one\n" * 100_000)
    file.close()

    assert [] == file.lines(99_000, 5)
    file.index(never)
    assert None is file.find(0, True, bool, bool, never)
