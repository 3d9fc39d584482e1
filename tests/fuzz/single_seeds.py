"""What fuzzing of one parser starts from."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
_SECTIONS = ROOT / "tests" / "triage" / "sections" / "data"
_KMSG = (
    b"6,339,5140900,-;NET: Registered PF_NETLINK/PF_ROUTE protocol family\n SUBSYSTEM=pci\n DEVICE=+pci:0000:4e:00.0\n",
    b"3,1234,98765432,c,caller=T77;NVRM: Xid (PCI:0000:4e:00): 79, GPU has\\x0a fallen off the bus.\n",
    b"12,1,2,-;user text \\xc3\\xa4\n",
)
_JOURNAL = (
    b'{"__REALTIME_TIMESTAMP":"1700000000000000","__MONOTONIC_TIMESTAMP":"5000000","_BOOT_ID":"0123456789abcdef012345'
    b'6789abcdef","_TRANSPORT":"kernel","PRIORITY":"3","MESSAGE":"NVRM: Xid (PCI:0000:4e:00): 79, GPU has fallen"}\n',
    b'{"_TRANSPORT":"syslog","SYSLOG_IDENTIFIER":"sshd","_PID":"7","_HOSTNAME":"n","MESSAGE":[78,86,82,77,58,32,255]}\n',
    b"__CURSOR=s=1\n__REALTIME_TIMESTAMP=1700000000000000\n_TRANSPORT=kernel\nMESSAGE\n\5\0\0\0\0\0\0\0a\nb\nc\n\n",
)
_TEXT = b"[    1.000000] NVRM: loading\n" * 40
_STREAMS = (
    _TEXT, gzip.compress(_TEXT, mtime=0), bz2.compress(_TEXT), lzma.compress(_TEXT),
    gzip.compress(_TEXT, mtime=0) + b"\0" * 9 + gzip.compress(b"again\n", mtime=0),
    b"\x28\xb5\x2f\xfd\x04\x00\x59\x00\x00hello\nworld\x09\x3a\x7c\x4a",  # zstd
)  # fmt: skip
_SITES = (
    b"extends: xid-79\nset:\n  evidence:\n    bus:\n      supports: {hardware.link: strong}\nwhy: ours\n",
    b"extends: xid-79\ndisable: true\nuntil: 2027-01-01\nwhy: ours\n",
)
_SEARCHES = (b"(Xid|sxid).*79\n[    1.000000] NVRM: Xid (PCI:0000:4e:00): 79, pid=1", b"[\nNov  3 11:00:00 n kernel: x")
_CODES = (b"79", b"0x4f, 31 and sxid 24007", b"(0x61:0x0:1234)")


def _logs() -> Iterator[bytes]:
    for path in sorted((ROOT / "tests" / "incidents").glob("*.jsonl")):
        for line in path.read_text("utf-8").splitlines():
            yield (json.loads(line)["log"] or "").encode("utf-8", "surrogateescape")


def _lines_of_xids() -> list[bytes]:
    return [line for log in _logs() for line in log.splitlines() if b"Xid" in line]


def _decoded() -> Iterator[bytes]:
    for line in _lines_of_xids()[::4]:
        code = line.partition(b"): ")[2].partition(b",")[0]
        yield bytes([int(code) & 255 if code.isdigit() else 79]) + line.partition(b", ")[2]


def seeds(name: str) -> Iterator[bytes]:
    """Yield the seeds of a target of `single`."""
    if name in ("kmsg", "journal"):
        yield from _KMSG if name == "kmsg" else _JOURNAL
    elif name == "crash":
        yield from list(_logs())[::4]
    elif name in ("smi_text", "smi_xml", "report", "pci"):
        glob = {"smi_text": "smi-*.txt", "smi_xml": "*.xml", "report": "*.log", "pci": "lspci*"}[name]
        yield from (path.read_bytes() for path in sorted(_SECTIONS.glob(glob)))
    elif name == "captured":
        yield gzip.decompress((ROOT / "tests" / "fixtures" / "h200-healthy-redacted.tar.gz").read_bytes())
    elif name == "streams":
        yield from _STREAMS
    elif name == "site":
        yield from _SITES
        yield from (path.read_bytes() for path in sorted((ROOT / "rules").glob("*.yaml"))[::12])
    elif name == "search":
        yield from _SEARCHES
    elif name == "pasted":
        yield from (*_CODES, *_lines_of_xids()[::20])
    elif name == "decoded":
        yield from _decoded()
