"""Which files of a folder are logs, in which order, and which of them are pieces of one.

A plain folder is its files by name.  Known by what they hold: the records that
a crashed kernel left in pstore (each a few KiB, newest text first), the folders
of kdump and of systemd-pstore, and a sosreport.
"""

from __future__ import annotations

import os
import re
import zlib
from collections.abc import Iterator, Sequence
from glob import escape, glob

from probes.model import LogRecord
from probes.named import NamedTuple
from probes.records import Tally, parse_lines
from triage.streams import Damaged, blocks, lines

MOST_PART = 4 << 20
"""Bytes of one pstore record; a backend's are 1 to 64 KiB."""
MOST_FOLDERS = 1000

PART = re.compile(
    r"dmesg-(?:efi|efi_pstore|efi-pstore|erst|ramoops|nvram|pstore_blk|pstore_zone|blk|mtdpstore)-(\w+?)(\.enc\.z)?\Z"
)
_HEAD = re.compile(
    rb"\s*(?:Panic|Oops|Emerg|Emergency|Restart|Halt|Poweroff|Shutdown|Unknown)#(\d{1,9}) Part(\d{1,9})\s*\n"
)
_NO_LOG = re.compile(r"vmcore(?!-dmesg)|dump\.\d|kexec-dmesg\.log\Z|kdump_lock\Z|linux-image|.*\.crash\Z")
"""What stands beside the log of a crash: the memory image, the log of the kernel that saved it."""
_SOS_JOURNAL = (("-1", "*journalctl*--boot_-1"), ("0", "*journalctl*--boot"), ("0", "*journalctl*-k*--boot"))
_SOS_LOGS = ("var/log/kern.log*", "var/log/messages*", "var/log/syslog*")
_SOS_MORE = (
    "var/crash/*/vmcore-dmesg*", "var/crash/*/dmesg*", "sos_commands/nvidia/nvidia-smi*-q*",
    "sos_commands/pci/lspci*v*", "var/log/fabricmanager.log*",
)  # fmt: skip


class One(NamedTuple):
    """A file that is a log by itself."""

    path: str


class Parts(NamedTuple):
    """Pieces of what a crashed kernel left."""

    folder: str
    paths: Sequence[str]


class Boots(NamedTuple):
    """The journals of one machine, oldest boot first, each a file."""

    folder: str
    paths: Sequence[tuple[str, str]]
    """Boot, path."""


Item = One | Parts | Boots


def plan(folder: str) -> list[Item]:
    """Return what a folder holds, in reading order.

    Raises:
        OSError: if it cannot be listed.
    """
    entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    names = [entry.name for entry in entries if entry.is_file()]
    folders = [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
    if any(os.path.basename(path) == "sos_commands" for path in folders):
        return _sosreport(folder)
    items = _files(folder, names)
    if not items:
        for inner in folders[:MOST_FOLDERS]:
            items += _crash(inner)
    return items


def _files(folder: str, names: Sequence[str]) -> list[Item]:
    parts = [name for name in names if PART.match(name)]
    items: list[Item] = []
    if parts:
        items.append(Parts(folder, [os.path.join(folder, name) for name in parts]))
    crash = any(name.startswith(("vmcore-dmesg", "dmesg.")) for name in names)
    for name in names:
        if name in parts or (parts and name == "dmesg.txt"):  # systemd puts the parts together beside them
            continue
        if not (crash and _NO_LOG.match(name)):
            items.append(One(os.path.join(folder, name)))
    return items


def _crash(folder: str) -> list[Item]:
    """What a folder below the one that was given holds, if it is of a crash."""
    try:
        names = sorted(entry.name for entry in os.scandir(folder) if entry.is_file())
    except OSError:
        return []
    if any(name.startswith(("vmcore-dmesg", "dmesg.")) or PART.match(name) for name in names):
        return _files(folder, names)
    return []


def _sosreport(folder: str) -> list[Item]:
    """The journal if there is one, else the log files, else the ring buffer: they hold the same lines."""
    root = escape(folder)
    found: dict[str, str] = {}
    for boot, pattern in _SOS_JOURNAL:
        for path in sorted(glob(os.path.join(root, "sos_commands/logs", pattern))):
            found.setdefault(boot, path)
    items: list[Item] = []
    if found:
        items.append(Boots(folder, [(boot, found[boot]) for boot in sorted(found, key=int)]))
    else:
        logs = [path for pattern in _SOS_LOGS for path in sorted(glob(os.path.join(root, pattern)), reverse=True)]
        items += [One(path) for path in logs or glob(os.path.join(root, "sos_commands/kernel/dmesg*"))[:1]]
    for pattern in _SOS_MORE:
        items += [One(path) for path in sorted(glob(os.path.join(root, pattern))) if os.path.isfile(path)]
    return items


class _Dump(NamedTuple):
    """One dump of the kernel's log: when it was made, the how manieth it was, and its text in order."""

    stamp: float | None
    number: int
    text: bytes


def dumps(paths: Sequence[str]) -> tuple[list[_Dump], list[str]]:
    """Put the parts of each dump together; what could not be read is named."""
    grouped: dict[tuple[float, int], list[tuple[int, bytes]]] = {}
    unread = []
    for path in paths:
        try:
            content = _content(path)
        except (OSError, Damaged, zlib.error) as error:
            unread.append(f"{os.path.basename(path)} ({getattr(error, 'strerror', None) or error})")
            continue
        stamp, part, count = _of_name(os.path.basename(path))
        head = _HEAD.match(content)
        if head:
            count, part = int(head[1]), int(head[2])
        grouped.setdefault((stamp, count), []).append((part, content))
    found = []
    for (stamp, count), parts in sorted(grouped.items()):
        text = b"\n".join(content for _, content in sorted(parts, key=lambda each: -each[0]))
        found.append(_Dump(stamp or None, count, text))
    return found, unread


def _content(path: str) -> bytes:
    with open(path, "rb") as file:
        if path.endswith(".enc.z"):  # the kernel had no memory left to unpack it
            return zlib.decompressobj(-15).decompress(file.read(MOST_PART), MOST_PART)
        content = b""
        for block in blocks(file):
            content += block
            if len(content) >= MOST_PART:
                break
    return content[:MOST_PART]


def _of_name(name: str) -> tuple[float, int, int]:
    """Time, part and count that an EFI variable's number is made of: (time * 100 + part) * 1000 + count."""
    found = PART.match(name)
    digits = found[1] if found else ""
    if not (digits.isdecimal() and 11 <= len(digits) <= 18 and name.startswith("dmesg-efi")):
        return 0.0, 0, 0
    number = int(digits)
    return float(number // 100_000), number // 1000 % 100, number % 1000


def pstore_records(
    found: Sequence[_Dump], *, origin: str, year_hint: float, tz_offset: float, tally: Tally
) -> Iterator[LogRecord]:
    """Yield the records of these dumps as one log.

    The dump of an oops and that of the panic after it hold the same lines, of
    which each is yielded once.  A dump that shares no line with the one before
    is of another boot.  Where the time of the dump is known, its last line was
    written then.
    """
    seen: set[tuple[float | None, str]] = set()
    boot = 0
    for dump in found:
        records = list(
            parse_lines(lines(iter((dump.text,))), origin=origin, year_hint=year_hint, tz_offset=tz_offset, tally=tally)
        )
        keys = [(record.monotonic, record.message) for record in records]
        if not seen.intersection(keys):
            boot += 1
            seen.clear()
        last = max((record.monotonic for record in records if record.monotonic is not None), default=None)
        for key, record in zip(keys, records, strict=True):
            if key in seen:
                continue
            if record.at is None and record.monotonic is not None and last is not None and dump.stamp is not None:
                record = record._replace(at=dump.stamp - (last - record.monotonic))
            yield record._replace(boot=f"#{boot}")
        seen.update(keys)
