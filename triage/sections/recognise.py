"""What an input is, told by how it begins, and who reads it.

A log is what none of these is.  Where text counts, it must stand at the start
of a line and be shaped as the tool prints it, so that no line that a program
logged makes its log into something else.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from probes.model import LogRecord
from probes.named import NamedTuple
from probes.records import Tally, parse_lines
from triage.found import Found
from triage.streams import as_utf8, lines

LOOKED_AT = 64 << 10
"""Bytes of the start by which an input is told; prose may stand before a paste."""

_XML = re.compile(rb"\s*(?:\xef\xbb\xbf)?<(?:\?xml[ ]|!DOCTYPE nvidia_smi_log|nvidia_smi_log|!--)")
_SMI_TEXT = re.compile(rb"^[ \t>|]*={4,}NVSMI LOG={4,}\s*$", re.M)
_SMI_REFUSED = re.compile(
    rb"(?:NVIDIA-SMI has failed because|Failed to initialize NVML: |NVIDIA-SMI couldn't find |"
    rb"Unable to determine the device handle for )"
)


_DCGM = re.compile(rb'^\s*\{\s*"(?:DCGM (?:GPU )?Diagnostic|iterations|body)"\s*:', re.M)


class Given(NamedTuple):
    """What a reader is given besides the content.

    `packed_size` tells how many bytes were read of the input as it stands on
    the disk; `counted` passes lines on and takes notice where the input breaks
    off; `year_hint` and `tz_offset` are those of `parse_lines`.
    """

    found: Found
    year_hint: float
    tz_offset: float
    tally: Tally
    packed_size: Callable[[], int]
    counted: Callable[[Iterator[bytes]], Iterator[bytes]]


Reader = Callable[[Iterator[bytes], Given], Iterator[LogRecord]]


def reader_of(first: bytes) -> Reader | None:
    """Return who reads an input that begins like this; None if it is a log, or nothing that is known."""
    from triage.capture import begins_capture

    if begins_capture(first):
        return _capture
    start = first[:LOOKED_AT]
    if b"nvidia_smi_log" in start and _XML.match(start):
        return _smi_xml
    if b"Start of NVIDIA bug report" in start:
        from triage.sections import bug_report  # here, because few inputs are one and it takes long to load

        if bug_report.BEGINS.search(start):
            return _bug_report
    if b"NVSMI LOG" in start and _SMI_TEXT.search(start):
        return _smi_text
    if dcgm_json(start):
        return _dcgm
    from triage.sections import lspci

    if lspci.BEGINS.match(start):
        return _lspci
    return None


def _capture(parts: Iterator[bytes], given: Given) -> Iterator[LogRecord]:
    from triage.capture import read

    return read(parts, given.found, packed_size=given.packed_size)


def _bug_report(parts: Iterator[bytes], given: Given) -> Iterator[LogRecord]:
    from triage.sections import bug_report

    raw = given.counted(lines(as_utf8(parts)))
    return bug_report.read(raw, given.found, year_hint=given.year_hint, tz_offset=given.tz_offset, tally=given.tally)


def _smi_text(parts: Iterator[bytes], given: Given) -> Iterator[LogRecord]:
    """nvidia-smi's output; what stands around it is read as a log."""
    from triage.sections import smi, smi_text

    found, log = given.found, smi_text.Log()
    said: list[bytes] = []

    def rest() -> Iterator[bytes]:
        for line in smi_text.around(given.counted(lines(as_utf8(parts))), log):
            if _SMI_REFUSED.match(line):
                said.append(line[:500])
            yield line

    records = 0
    for record in parse_lines(
        rest(), origin=found.origin, year_hint=given.year_hint, tz_offset=given.tz_offset, tally=given.tally
    ):
        if record.pasted and not _is_log(record):
            continue  # prose around a paste
        records += 1
        yield record
    found.whole = not records
    found.taken_at = log.taken_at(given.tz_offset) or given.year_hint
    refused = smi.refusals(b"\n".join(said).decode("utf-8", "replace"), found.taken_at)
    found.add("nvidia-smi", log.readings(found.taken_at) + refused, "it holds no output of nvidia-smi -q")
    if log.repeated:
        found.notices.append(f"{found.origin}: nvidia-smi printed a GPU more than once; the last time counts")


def _is_log(record: LogRecord) -> bool:
    shape = r"NVRM: |nvidia-\w+: |(?:watchdog: )?BUG: |pcieport |mce: "
    refused = _SMI_REFUSED.match(record.message.encode("utf-8", "replace"))
    return refused is not None or re.match(shape, record.message) is not None


def _smi_xml(parts: Iterator[bytes], given: Given) -> Iterator[LogRecord]:
    from triage.sections import smi_xml

    found, log = given.found, smi_xml.Log()
    broken = log.feed(line + b"\n" for line in given.counted(lines(as_utf8(parts))))
    found.whole = True
    found.taken_at = log.taken_at(given.tz_offset) or given.year_hint
    readings = log.readings(found.taken_at)
    if broken is not None and readings:
        found.notices.append(f"{found.origin}: {broken}; what stood before that was used")
    found.add("nvidia-smi", readings, f"{broken or 'it names no GPU'}; run nvidia-smi -q -x again")
    if broken is not None and readings:
        found.sources[-1] = found.sources[-1]._replace(reason=broken)
    yield from ()


def dcgm_json(start: bytes) -> bool:
    """Whether dcgmi printed this: a result of its diagnostic, or its watches' report."""
    told = b'"test_categories"' in start or b'"Overall Health"' in start
    return told and _DCGM.search(start) is not None


def _dcgm(parts: Iterator[bytes], given: Given) -> Iterator[LogRecord]:
    """What `dcgmi diag --json` or `dcgmi health --json` printed; it tells no time and no PCI address."""
    from probes import dcgm, dcgm_diag

    found, at = given.found, given.year_hint
    text, more = bytearray(), False
    for part in as_utf8(parts):
        more = more or len(text) > dcgm_diag.LARGEST
        text += b"" if more else part
    said = text[: dcgm_diag.LARGEST].decode("utf-8", "replace")
    found.whole, found.taken_at = True, at
    result = dcgm_diag.parse(said)
    if result is not None:
        found.add("dcgm-diag", dcgm_diag.readings(result, at, {}), result.failure or "it holds no test")
        yield from dcgm_diag.records(result, at, {}, found.origin)
        return
    health = dcgm.printed(said, at, {})
    found.add("dcgm", health[0] if health else (), "it is cut off or was not understood; write it anew")
    yield from health[1] if health else ()


def _lspci(parts: Iterator[bytes], given: Given) -> Iterator[LogRecord]:
    from triage.sections import lspci

    found = given.found
    raw = given.counted(lines(as_utf8(parts)))
    found.whole = True
    found.taken_at = given.year_hint
    readings = lspci.readings((line.decode("utf-8", "replace") for line in raw), given.year_hint)
    found.add("lspci", readings, "it names no NVIDIA device; run lspci -vvv as root")
    yield from ()
