"""Records that come as objects: /dev/kmsg, `journalctl -o json`, `journalctl -o export`.

Whether the kernel wrote a record is taken from what the source proves: the
facility that only root can set, and `_TRANSPORT`, which no program can.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Optional

from probes.model import LogRecord
from probes.records_text import LINE_CAP, TEXT_CAP, Tally, as_it_stood, decode, message, writer

_new = tuple.__new__
_ESCAPED = re.compile(rb"\\x([0-9a-fA-F]{2})")
# Printable, without escapes or fields, and short: such a record is taken as it stands, and nearly all are such.
_USUAL = re.compile(rb"(\d{1,4}),(\d{1,20}),(\d{1,20}),[a-z+-]{1,8};([ -\[\]-~]{0,%d})\n?" % (TEXT_CAP - 64))
_EXPORTED = (
    "MESSAGE", "PRIORITY", "SYSLOG_FACILITY", "SYSLOG_IDENTIFIER", "SYSLOG_PID", "_PID", "_TRANSPORT", "_HOSTNAME",
    "_BOOT_ID", "_COMM", "_SOURCE_MONOTONIC_TIMESTAMP", "__MONOTONIC_TIMESTAMP", "__REALTIME_TIMESTAMP",
)  # fmt: skip


def unescape(text: str) -> str:
    r"""The text of a /dev/kmsg record with its `\xNN` bytes put back."""
    if "\\x" not in text:
        return text
    raw = _ESCAPED.sub(lambda found: bytes([int(found[1], 16)]), text.encode("utf-8", "replace"))
    return raw.decode("utf-8", "replace")


def parse_kmsg(raw: bytes, *, boot_time: Optional[float], origin: str, boot: Optional[str] = None) -> LogRecord:
    """One record as read from /dev/kmsg; its `line` is the sequence number.

    Args:
        raw: `priority,sequence,microseconds,flags[,...];text`, then ` KEY=value` lines.
        boot_time: epoch seconds at which the monotonic clock was zero, if known.
        origin: what it was read from.
        boot: the id of the boot, if known.

    A record that is not so formed is kept as it stands, without a time: one bad
    record must not end a watch.
    """
    usual = _USUAL.fullmatch(raw)
    if usual is not None:
        level, number, microseconds, said = usual.groups()
        monotonic, priority = int(microseconds) / 1e6, int(level)
        at = None if boot_time is None else boot_time + monotonic
        text, line, stood = said.decode().rstrip(), int(number), raw.decode().rstrip("\n")
        # as `_make` does it, but for two calls less; there are thousands of them
        return _new(
            LogRecord,
            (text, at, monotonic, boot, priority & 7, None, None, None, True, False, priority > 7, origin, line, stood),
        )
    prefix, semicolon, body = raw[:LINE_CAP].partition(b";")
    first = decode(raw[:LINE_CAP]).partition("\n")[0]
    fields = prefix.split(b",")
    if not semicolon or len(fields) < 4 or not all(field.isdigit() and len(field) < 21 for field in fields[:3]):
        return LogRecord(message(first), boot=boot, origin=origin, text=as_it_stood(first))
    priority, sequence, microseconds = (int(field) for field in fields[:3])
    text = decode(_ESCAPED.sub(lambda found: bytes([int(found[1], 16)]), body.split(b"\n", 1)[0]))
    monotonic = microseconds / 1e6
    return LogRecord(
        message(text),
        at=None if boot_time is None else boot_time + monotonic,
        monotonic=monotonic,
        boot=boot,
        level=priority & 7,
        injected=priority > 7,
        origin=origin,
        line=sequence,
        text=as_it_stood(first),
    )


def _text(value: Any) -> str:
    """A journal field as text: a string, an array of byte numbers, several values (the last), or nothing."""
    if isinstance(value, bytes):
        return decode(value)
    if isinstance(value, list):
        if all(isinstance(number, int) and 0 <= number <= 255 for number in value):
            return decode(bytes(value))
        return _text(value[-1]) if not isinstance(value[-1], list) else ""
    return value if isinstance(value, str) else ""


def _number(value: Any) -> Optional[int]:
    text = _text(value)
    return int(text) if text.isdecimal() and len(text) < 21 else None


def journal_record(
    fields: Mapping[str, Any], *, origin: str, line: int = 0, tally: Optional[Tally] = None
) -> LogRecord:
    """One journal object as a record.  `text` is its message: the object as it stood says little to a person."""
    transport = _text(fields.get("_TRANSPORT"))
    identifier = _text(fields.get("SYSLOG_IDENTIFIER")) or _text(fields.get("_COMM")) or None
    kernel = transport == "kernel"
    if not transport and tally is not None:
        tally.unproven += 1
    text = _text(fields.get("MESSAGE"))
    pid = _number(fields.get("SYSLOG_PID"))
    if kernel and identifier not in (None, "kernel"):
        # journald takes `NVRM:` for the name of a program where the facility is not the kernel's.
        text = f"{identifier}[{pid}]: {text}" if pid is not None else f"{identifier}: {text}"
        identifier = "kernel"
    realtime = _number(fields.get("__REALTIME_TIMESTAMP"))
    monotonic = _number(fields.get("_SOURCE_MONOTONIC_TIMESTAMP"))
    if monotonic is None:
        monotonic = _number(fields.get("__MONOTONIC_TIMESTAMP"))
    level = _number(fields.get("PRIORITY"))
    shown = message(text, tally)
    return LogRecord(
        shown,
        at=None if realtime is None else realtime / 1e6,
        monotonic=None if monotonic is None else monotonic / 1e6,
        boot=_text(fields.get("_BOOT_ID")) or None,
        level=level if level is not None and level < 8 else None,
        identifier=None if identifier is None else writer(message(identifier[:255])),
        pid=pid if kernel or pid is not None else _number(fields.get("_PID")),
        host=message(_text(fields.get("_HOSTNAME"))[:255]) or None,
        kernel=kernel,
        injected=kernel and bool(_number(fields.get("SYSLOG_FACILITY"))),
        origin=origin,
        line=line,
        text=as_it_stood(shown.partition("\n")[0]),
    )


def parse_journal_json(
    line: str, origin: str, *, number: int = 0, tally: Optional[Tally] = None
) -> Optional[LogRecord]:
    """One line of `journalctl -o json`, or None if it is no journal object."""
    import json

    try:
        fields = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(fields, dict) or not ("MESSAGE" in fields or "__REALTIME_TIMESTAMP" in fields):
        return None
    return journal_record(fields, origin=origin, line=number, tally=tally)


class ExportBlock:
    """One block of `journalctl -o export`, taken line by line.

    A field is `NAME=value`, or `NAME` alone, eight bytes of length (little
    endian), that many bytes, and a newline; what looks like a field inside
    such bytes is none.
    """

    def __init__(self, first: bytes, line: int) -> None:
        self.line = line
        self._fields: dict[str, Any] = {}
        self._name: Optional[str] = None
        self._kept = b""
        self._seen = -1
        self.take(first)

    def take(self, raw: bytes) -> bool:
        """Take one raw line; false once the block has ended with the empty line."""
        line = raw[:-1] if raw.endswith(b"\n") else raw
        if self._name is not None:
            self._take_bytes(line, getattr(raw, "full", len(line)))
            return True
        if not line.strip(b"\r"):
            return False
        name, equals, value = line.partition(b"=")
        key = name.decode("ascii", "replace")
        if not equals:
            self._name, self._kept, self._seen = key, b"", -1
        elif key in _EXPORTED:
            self._fields[key] = value[:LINE_CAP]
        return True

    def _take_bytes(self, line: bytes, full: int) -> None:
        if len(self._kept) < LINE_CAP:
            self._kept += line if self._seen < 0 else b"\n" + line
        self._seen += 1 + full
        if self._seen < 8:  # a byte of the length was the newline itself
            return
        size = int.from_bytes(self._kept[:8], "little")
        if self._seen >= 8 + size:
            if self._name in _EXPORTED:
                self._fields[str(self._name)] = self._kept[8:]
            self._name = None

    def record(self, origin: str, tally: Optional[Tally] = None) -> LogRecord:
        """The record of a block that has ended."""
        return journal_record(self._fields, origin=origin, line=self.line, tally=tally)
