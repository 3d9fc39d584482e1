"""What is no log or cannot be read, and what to give or do instead."""

from __future__ import annotations

import re

from triage.streams import Damaged

_LOOKED_AT = 1 << 16
"""Bytes of an input by which text and binary data are told apart."""
_FOREIGN_SHARE = 0.15
"""Share of bytes that are no text above which an input without log lines is binary."""

_LOG_LINE = re.compile(rb"\[ {0,6}\d{1,8}\.\d{6}\]|kernel: |NVRM: |nvidia-nvswitch\d|Linux version \d")
_OTHER_FILES = (
    (b"LPKSHHRH", 0, "a journal file; export it: journalctl --file FILE -o export"),
    (b"KDUMP   ", 0, "a crash dump; give the vmcore-dmesg.txt beside it, or: makedumpfile --dump-dmesg FILE OUT"),
    (b"\x7fELF", 0, "a program or crash dump; of a dump: makedumpfile --dump-dmesg FILE OUT"),
    (b"PK\x03\x04", 0, "a zip archive; unpack it and give the log inside"),
    (b"7z\xbc\xaf\x27\x1c", 0, "a 7z archive; unpack it and give the log inside"),
    (b"ustar", 257, "a tar archive; unpack it and give the log inside"),
    (b"\x04\x22\x4d\x18", 0, "compressed with lz4; unpack it first: lz4 -d FILE"),
    (b"\x1f\x9d", 0, "compressed with compress; unpack it first: gunzip FILE"),
)


def unfit(first: bytes) -> str | None:
    """Why an input that begins like this is no log, with a remedy; None if it may be one."""
    if not first:
        return "empty; check that the log was written"
    for magic, place, what in _OTHER_FILES:
        if first.startswith(magic, place):
            return what
    if first[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return None  # UTF-16, which is converted
    sample = first[:_LOOKED_AT]
    foreign = sample.count(0) + sample.decode("utf-8", "replace").count("\ufffd")
    if foreign > _FOREIGN_SHARE * len(sample) and not _LOG_LINE.search(first):
        return "binary data without log lines; give the text that dmesg or journalctl prints"
    return None


def broken(error: Damaged | OSError) -> str:
    """Return why reading ended before the end."""
    return str(error) if isinstance(error, Damaged) else f"reading failed ({error.strerror or error})"


def refused(error: OSError | ValueError) -> str:
    """Return why something could not be opened, with a remedy."""
    if isinstance(error, FileNotFoundError):
        return "no such file; check the path"
    if isinstance(error, PermissionError):
        return "no permission to read it; run as root, or as a member of its group (adm, systemd-journal)"
    return f"cannot be opened ({getattr(error, 'strerror', None) or error})"


SPEAKS_OF_IT = re.compile(
    r"NVRM|nv_?peer|nvidia|nvml|\bs?xid\b|\bg(?:pu|sp)\b|rminit|cuda|nccl|inforom|pcie|\baer\b|\bdpc\b|nouveau|nvkm"
    r"|amdgpu|radeon|\bkfd\b|i915|\bxe\b|habana|neuron|mlx\d|infiniband|\bib\b|nvme|\bmce\b|edac|hardware error|dmar"
    r"|amd-vi|iommu|smmu|acpi|vfio|kernel|\bbug\b|oops|panic|\brip\b|call trace|watchdog|lockup|blocked for more|rcu"
    r"|segfault|out of memory|oom|killed process|\birq\b|firmware|fabric|module|\bsymbol\b"
    r"|[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]|\+0x[0-9a-f]+/0x",
    re.I,
)
"""Words by which a line without any stamp can be a kernel's or a job's after all."""
