"""An archive is written the same way every time and read without trusting a byte."""

from __future__ import annotations

import contextlib
import io
import tarfile
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from triage import archive
from triage.archive import END, Reader, Unsound, packed, safe_name

SMALL = 700


def parts(data: bytes, size: int = SMALL) -> Iterator[bytes]:
    return iter([data[place : place + size] for place in range(0, len(data), size)])


def contents(data: bytes, size: int = SMALL) -> dict[str, bytes]:
    reader = Reader(parts(data, size))
    return {member.name: b"".join(reader.content()) for member in reader}


def why(data: bytes) -> str:
    with pytest.raises(Unsound) as caught:
        contents(data)
    return str(caught.value)


def made(*members: tarfile.TarInfo, content: bytes = b"x", form: int = tarfile.USTAR_FORMAT) -> bytes:
    """An archive as another program writes it."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as tar:
        for member in members:
            member.size = len(content) if member.isreg() else 0
            tar.addfile(member, io.BytesIO(content) if member.isreg() else None)
    return out.getvalue()


def named(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


@pytest.mark.parametrize("size", [1, 511, 512, 513, 1 << 20])
def test_what_was_written_is_read_back_whatever_the_blocks(size: int) -> None:
    files = {"a.json": b"", "files/proc/x": b"1" * 512, "b": bytes(range(256)) * 5}
    data = b"".join(packed(name, content, 5) for name, content in files.items()) + END

    assert files == contents(data, size)


def test_other_programs_can_read_it() -> None:
    """Mode 0600, nobody's, at the time that was said."""
    with tarfile.open(fileobj=io.BytesIO(packed("a/b", b"xyz", 1700000000) + END)) as tar:
        (info,) = tar.getmembers()
        inner = tar.extractfile(info)
        assert inner is not None
        assert b"xyz" == inner.read()

    assert ("a/b", 0o600, 0, 0, "", 1700000000) == (
        info.name, info.mode, info.uid, info.gid, info.uname, info.mtime,
    )  # fmt: skip


def test_an_archive_that_was_packed_anew_is_read() -> None:
    """With folders, `./` before each name, and extended headers."""
    info = named("./files/x")
    info.pax_headers = {"comment": "packed again"}
    data = made(named("./files", tarfile.DIRTYPE), info, form=tarfile.PAX_FORMAT)

    assert {"files/x": b"x"} == contents(data)


@pytest.mark.parametrize(
    "member",
    [
        named("x", tarfile.SYMTYPE, "/etc/passwd"),
        named("x", tarfile.LNKTYPE, "y"),
        named("x", tarfile.CHRTYPE),
        named("x", tarfile.BLKTYPE),
        named("x", tarfile.FIFOTYPE),
    ],
    ids=["symlink", "link", "character device", "block device", "fifo"],
)
def test_a_link_or_a_device_ends_the_reading(member: tarfile.TarInfo) -> None:
    assert "link or a device" in why(made(named("a"), member))


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a/../../x", "a//b", "", "x\\y", "a\x1b[2J", "a/./b", "é"])
def test_a_name_that_leads_elsewhere_ends_the_reading(name: str) -> None:
    assert safe_name(name) is None
    if name:
        with pytest.raises(Unsound):
            contents(made(named(name)))


def test_damage_is_noticed() -> None:
    data = packed("a", b"x" * 600, 0) + END

    assert "damaged" in why(data[:10] + b"y" + data[11:])
    assert "ends early" in why(data[:700])
    assert "no end mark" in why(data[: -len(END)])
    assert "ends early" in why(b"")


def test_too_much_of_anything_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MOST_MEMBERS", 3)
    monkeypatch.setattr(archive, "MOST_TOTAL", 1 << 20)

    assert "more than 3 files" in why(b"".join(packed(str(n), b"", 0) for n in range(5)) + END)
    assert "more than 1 MiB" in why(b"".join(packed(str(n), b"x" * (1 << 19), 0) for n in range(3)) + END)
    large = bytearray(packed("a", b"", 0))
    large[124:136] = b"77777777777\0"
    large[148:156] = b" " * 8
    large[148:156] = b"%06o\0 " % sum(large[:512])
    assert "too large" in why(bytes(large) + END)


def test_a_bomb_is_told_by_how_far_it_unpacks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "RATIO_FROM", 1 << 16)
    data = packed("a", b"\0" * (1 << 20), 0) + END
    reader = Reader(parts(data, 1 << 12), lambda: 100)

    with pytest.raises(Unsound, match="times its size"):
        [list(reader.content()) for _ in reader]


def test_a_member_that_is_not_read_is_passed_over() -> None:
    data = packed("a", b"x" * 5000, 0) + packed("b", b"y", 0) + END

    assert ["a", "b"] == [member.name for member in Reader(parts(data))]


@pytest.mark.parametrize("name", ["../x", "/x", "x" * 101, "a\nb"])
def test_what_could_not_be_read_back_is_not_written(name: str) -> None:
    with pytest.raises(ValueError, match="name"):
        packed(name, b"", 0)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=3000), st.integers(0, 3000), st.integers(1, 4000))
def test_no_bytes_raise_anything_else(noise: bytes, place: int, size: int) -> None:
    sound = packed("manifest.json", b"{}", 0) + packed("files/a", b"x" * 700, 0) + END
    reader = Reader(parts(sound[:place] + noise + sound[place + len(noise) :], size))
    with contextlib.suppress(Unsound):
        for member in reader:
            assert safe_name(member.name) == member.name
            list(reader.content())
