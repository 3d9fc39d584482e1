"""Logs in object stores and archives are read like any other."""

from __future__ import annotations

import gzip
import io
import sys
import tarfile
import zipfile
from pathlib import Path

import fsspec  # type: ignore[import-untyped]
import pytest

from triage.intake import Intake
from triage.remote import is_address

NOW = 1764165600.0
LOG = b"2025-11-26T12:00:00Z n1 kernel: NVRM: Xid (PCI:0000:01:00): 79, pid=1, GPU has fallen off the bus.\n"


@pytest.fixture
def store() -> object:
    files = fsspec.filesystem("memory")
    files.store.clear()
    for name, data in (("day/a.log", LOG), ("day/b.log.gz", gzip.compress(LOG)), ("other.txt", LOG)):
        with files.open(f"/{name}", "wb") as file:
            file.write(data)
    return files


def read(*paths: str) -> tuple[int, list[tuple[str, str | None]]]:
    intake = Intake(paths, now=NOW)
    return len(list(intake)), [(source.origin, source.reason) for source in intake.sources]


@pytest.mark.usefixtures("store")
def test_an_address_and_a_pattern_of_addresses_are_read_in_order() -> None:
    assert (1, [("memory://other.txt", None)]) == read("memory://other.txt")
    wanted = [("memory:///day/a.log", None), ("memory:///day/b.log.gz", None)]
    assert (2, wanted) == read("memory://day/*.log*")


@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_the_members_of_an_archive_are_read_without_unpacking_it(kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"crash.{kind}"
    if kind == "tar":
        with tarfile.open(path, "w") as archive:
            for name in ("var/a.log", "var/b.log"):
                entry = tarfile.TarInfo(name)
                entry.size = len(LOG)
                archive.addfile(entry, io.BytesIO(LOG))
    else:
        with zipfile.ZipFile(path, "w") as packed:
            for name in ("var/a.log", "var/b.log"):
                packed.writestr(name, LOG)
    wanted = [(f"{kind}://var/a.log::{path}", None), (f"{kind}://var/b.log::{path}", None)]
    assert (2, wanted) == read(f"{kind}://var/*.log::{path}")
    assert (1, wanted[:1]) == read(wanted[0][0])


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("memory://none.log", "no such file; check the address"),
        ("memory://none/*.log", "nothing matches it; check the pattern"),
        ("nostore://x/y.log", "cannot be opened"),
        ("tar://a.log::/no/such.tar", "no such file; check the address"),
    ],
)
def test_what_cannot_be_read_says_why_and_the_others_are_read(path: str, said: str) -> None:
    number, sources = read(path, "memory://other.txt")
    assert 1 == number
    assert [None] == [reason for _, reason in sources[1:]]
    assert said in str(sources[0][1])


def test_without_the_package_the_remedy_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fsspec", None)
    for path in ("memory://a.log", "memory://*.log"):
        _, ((_, reason),) = read(path)
        assert "pip install 'gpu-triage[remote]'" in str(reason)


@pytest.mark.parametrize("path", ["a.log", "/var/log/x", "./s3:/x", "s3:/x", "C:\\x", "a b://c", "://x", "-"])
def test_a_name_of_a_file_is_no_address(path: str) -> None:
    assert not is_address(path)
