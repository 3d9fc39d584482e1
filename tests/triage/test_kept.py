"""What is kept in the user's cache is believed only if nobody else could have written it and not a bit is wrong."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from threading import Thread

import pytest

from triage import kept

BODY = b"something that took long to make" * 100


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A cache with one thing in it."""
    made = tmp_path / "cache"
    assert kept.write(made, "a", BODY)
    return made


def test_what_was_kept_is_read_back(folder: Path) -> None:
    """And only the user may read it."""
    assert BODY == kept.read(folder, "a")
    assert 0o600 == (folder / "a").stat().st_mode & 0o777
    assert 0o700 == folder.stat().st_mode & 0o777
    assert kept.read(folder, "b") is None


def _changed(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def _linked(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


def _piped(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _open_to_all(path: Path) -> None:
    path.chmod(0o666)


def _folder_open_to_all(path: Path) -> None:
    path.parent.chmod(0o770)


def _folder_linked(path: Path) -> None:
    real = path.parent.with_name("real")
    path.parent.rename(real)
    path.parent.symlink_to(real, target_is_directory=True)


def _empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize(
    "spoil",
    [_changed, _cut, _linked, _piped, _open_to_all, _folder_open_to_all, _folder_linked, _empty],
)
def test_what_may_not_be_ours_is_not_believed(spoil: Callable[[Path], None], folder: Path) -> None:
    """It is as if nothing had been kept, and nothing waits or raises."""
    spoil(folder / "a")

    assert kept.read(folder, "a") is None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
@pytest.mark.parametrize("whose", ["file", "folder"])
def test_what_belongs_to_somebody_else_is_not_believed(whose: str, folder: Path) -> None:
    """Root must not read what a user put there for it."""
    os.chown(folder / "a" if whose == "file" else folder, 65534, 65534)

    assert kept.read(folder, "a") is None
    assert whose == "file" or not kept.write(folder, "b", BODY)


def test_a_link_is_replaced_and_not_followed(folder: Path, tmp_path: Path) -> None:
    """What it points to stays as it was."""
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (folder / "a").unlink()
    (folder / "a").symlink_to(victim)

    assert kept.write(folder, "a", BODY)
    assert BODY == kept.read(folder, "a")
    assert "mine" == victim.read_text()


def test_of_two_writers_one_stays_whole(folder: Path) -> None:
    """Whoever reads meanwhile reads one or the other."""
    bodies = [bytes([number]) * 100_000 for number in range(4)]
    writers = [Thread(target=lambda body=body: [kept.write(folder, "a", body) for _ in range(20)]) for body in bodies]
    for writer in writers:
        writer.start()
    read = [kept.read(folder, "a") for _ in range(200)]
    for writer in writers:
        writer.join()

    assert set(read) <= {BODY, *bodies}
    assert kept.read(folder, "a") in bodies
    assert ["a"] == [entry.name for entry in folder.iterdir()]


def test_a_place_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    """There is just no cache."""
    blocked = tmp_path / "file"
    blocked.touch()

    assert not kept.write(blocked / "cache", "a", BODY)
    assert kept.read(blocked / "cache", "a") is None


@pytest.mark.parametrize(
    ("cache", "home", "expected"),
    [
        ("/x/cache", "/h", Path("/x/cache/gpu-triage")),
        ("", "/h", Path("/h/.cache/gpu-triage")),
        ("relative", "/h", Path("/h/.cache/gpu-triage")),
        ("", "nowhere", None),
    ],
)
def test_the_folder_is_where_the_users_cache_is(
    cache: str, home: str, expected: Path | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the XDG specification says; a relative path counts for nothing."""
    monkeypatch.setenv("XDG_CACHE_HOME", cache)
    monkeypatch.setenv("HOME", home)

    assert expected == kept.folder()
