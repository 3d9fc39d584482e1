"""What is publicly known of NVIDIA's codes beyond the few words that every rule needs.

    xid-details.yaml         who says what of an Xid, and where they contradict each other
    xid-buckets.yaml         what the vendor's words for "what to do" mean
    nvlink5.yaml             the rows of Xids 144 to 150
    nvlink-registers.yaml    the bits of an Xid 74
    recovery-actions.yaml    the numbers of an Xid 154
    rminit.yaml              the stages and statuses of a failed initialisation
    sxid.yaml                NVSwitch errors
    dcgm.yaml                what DCGM calls its findings
    in-tree.yaml             the modules of the kernel's own tree

(driver-bugs.yaml is loaded with the rulebook, because rules weigh it.)

These are facts about hardware and driver that ship with the program, whichever
rulebook is used.  Each file is read once, when somebody first asks for it, so
that a sweep of a healthy node reads none of them; what was read is kept in the
user's cache (`triage.kept`), because YAML takes far longer to read than a log.
"""

from __future__ import annotations

import marshal
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from probes.named import NamedTuple
from triage import __version__, kept
from triage.rulebook.folders import RULES
from triage.rulebook.problems import Problem, RulebookError

CATALOG = RULES / "catalog"


class XidDetails(NamedTuple):
    """What else is said of an Xid.

    `applies` and `legacy` are None where the source has no row for the code.
    `gpud`, `dcgm` and `ignored_by` are what other tools make of it.
    """

    code: int
    title: str | None
    header_name: str | None
    since: str | None
    investigate: str | None
    recovery_since: str | None
    applies: tuple[str, ...] | None
    legacy: tuple[str, ...] | None
    gpud: str | None
    gpud_actions: tuple[str, ...]
    dcgm: str | None
    ignored_by: tuple[str, ...]
    contradictions: tuple[str, ...]


class Bits(NamedTuple):
    """Which bits of a register must be what: `value` where `mask` has ones."""

    mask: int
    value: int

    def fit(self, register: int) -> bool:
        """Whether a register has these bits."""
        return register & self.mask == self.value


class NvlinkRow(NamedTuple):
    """One row of Xids 144 to 150.

    `old` and `new` are the first register before and from driver 575,
    `statuses` the values of the second register (none: any).  `worse_*` ask for
    `worse_bucket` instead of `bucket`.  `by` is the vendor's HW/SW column.
    """

    xid: int
    unit: str
    old_unit: str
    old: Bits
    new: Bits
    statuses: tuple[int, ...]
    bucket: str
    worse_old: Bits | None
    worse_new: Bits | None
    worse_bucket: str | None
    investigate: str
    severity: str
    severity_mark: str
    by: str
    local: str | None
    remote: str | None
    peer_is_source: bool


class RegisterBits(NamedTuple):
    """Bits of one register of an Xid 74, counted from 1, that mean the same; none if the register is not used."""

    register: int
    bits: tuple[int, ...]
    kind: str
    when: str | None
    do: str | None


class RecoveryAction(NamedTuple):
    """One recovery action of an Xid 154; `texts` are what log lines called it."""

    value: int
    word: str
    name: str
    texts: tuple[str, ...]
    since: str
    means: str
    risk: str
    nvsentinel: str | None
    dcgm: str | None


class InitCode(NamedTuple):
    """A stage or a status of `RmInitAdapter failed!`."""

    code: int
    name: str
    hint: str | None


class SxidEntry(NamedTuple):
    """One NVSwitch error.  `lr10` and `ls10` are how the driver rates it on the switches of A100 and H100 systems."""

    code: int
    symbol: str | None
    unit: str
    texts: tuple[str, ...]
    kind: str
    lr10: str | None
    ls10: str | None
    guide: str | None
    impact: str | None
    recovery: str | None
    nvsentinel: str | None
    nvsentinel_fatal: bool | None
    ignored_by: tuple[str, ...]
    contradictions: tuple[str, ...]


class DcgmEntry(NamedTuple):
    """One finding of DCGM.  `kind` and `says` are ours; `text` finds its message, where no number is printed."""

    code: int
    name: str
    severity: str
    category: str
    kind: str
    says: str
    text: str | None
    unused: bool


@cache
def document(name: str, directory: Path = CATALOG) -> Mapping[str, Any]:
    """Return a catalogue file as plain data, held against its schema.

    Raises:
        RulebookError: if it cannot be read or does not fit, with every place.
    """
    folder, key = kept.folder(), _key(directory / f"{name}.yaml", RULES / "schema" / f"{name}.v1.json")
    body = None if folder is None or key is None else kept.read(folder, f"catalog-{name}")
    root: Any = None if body is None or key is None or not body.startswith(key) else _unpacked(body[len(key) :])
    if not isinstance(root, dict):
        root = _read(name, directory)
        if folder is not None and key is not None:
            kept.write(folder, f"catalog-{name}", key + marshal.dumps(root))
    found: Mapping[str, Any] = root
    return found


def _key(*paths: Path) -> bytes | None:
    """What a kept file begins with: the hash of what it was made of, and by what; None if that cannot be read."""
    digest = kept.digest(f"{__version__}\0{sys.version}\0".encode())
    try:
        for path in paths:
            data = path.read_bytes()
            digest.update(b"%d\0" % len(data) + data)
    except OSError:
        return None
    key: bytes = digest.digest()
    return key


def _unpacked(body: bytes) -> Any:
    try:
        return marshal.loads(body)
    except (ValueError, TypeError, EOFError):
        return None


def _read(name: str, directory: Path) -> dict[str, Any]:
    problems: list[Problem] = []
    from triage.rulebook.shape import check, schema  # here, because most lines need no catalogue
    from triage.rulebook.yamlload import read

    _, parsed = read(directory / f"{name}.yaml", f"rules/catalog/{name}.yaml", problems)
    if parsed is not None:
        problems.extend(check(parsed, schema(f"{name}.v1")))
    if problems or parsed is None:
        raise RulebookError(problems)
    root: dict[str, Any] = _plain(parsed.root)
    return root


def _plain(value: Any) -> Any:
    """The same without the places that its mappings and lists remember."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list) else value


def sources(name: str) -> tuple[str, ...]:
    """Return the web addresses that a catalogue file was collected from."""
    return tuple(document(name)["source"])


@cache
def xid_details() -> Mapping[int, XidDetails]:
    """Return what else is said of each Xid."""
    return {entry["code"]: _details(entry) for entry in document("xid-details")["xids"]}


@cache
def buckets() -> Mapping[str, str]:
    """Return the vendor's words for what to do, and what each means in plain words."""
    return dict(document("xid-buckets")["buckets"])


@cache
def nvlink_rows() -> tuple[NvlinkRow, ...]:
    """Return the rows of Xids 144 to 150, in the order of the vendor's table."""
    return tuple(_nvlink_row(entry) for entry in document("nvlink5")["rows"])


@cache
def register_bits() -> tuple[RegisterBits, ...]:
    """Return the bits of an Xid 74."""
    return tuple(
        RegisterBits(e["register"], tuple(e["bits"]), e["class"], e.get("when"), e.get("do"))
        for e in document("nvlink-registers")["bits"]
    )


@cache
def recovery_actions() -> Mapping[int, RecoveryAction]:
    """Return the recovery actions by number."""
    return {
        e["value"]: RecoveryAction(
            e["value"],
            e["word"],
            e["name"],
            tuple(e["texts"]),
            e["since"],
            e["means"],
            e["risk"],
            e.get("nvsentinel"),
            e.get("dcgm"),
        )
        for e in document("recovery-actions")["actions"]
    }


@cache
def init_stages() -> Mapping[int, InitCode]:
    """Return the stages of a failed initialisation by number."""
    return _init_codes("stages")


@cache
def init_statuses() -> Mapping[int, InitCode]:
    """Return the statuses (NV_STATUS) of the driver by number."""
    return _init_codes("statuses")


@cache
def sxids() -> Mapping[int, SxidEntry]:
    """Return the NVSwitch errors by number."""
    return {entry["code"]: _sxid(entry) for entry in document("sxid")["sxids"]}


@cache
def dcgm_errors() -> Mapping[int, DcgmEntry]:
    """Return the findings of DCGM by number."""
    return {
        e["code"]: DcgmEntry(
            e["code"],
            e["name"],
            e["severity"],
            e["category"],
            e["kind"],
            e["says"],
            e.get("text"),
            e.get("unused", False),
        )
        for e in document("dcgm")["errors"]
    }


@cache
def in_tree() -> frozenset[str]:
    """Return the names of the modules of the kernel's own tree, with underscores."""
    return frozenset(document("in-tree")["names"].split())


def _details(entry: Mapping[str, Any]) -> XidDetails:
    return XidDetails(
        code=entry["code"],
        title=entry.get("title"),
        header_name=entry.get("header_name"),
        since=entry.get("since"),
        investigate=entry.get("investigate"),
        recovery_since=entry.get("recovery_since"),
        applies=tuple(entry["applies"]) if "applies" in entry else None,
        legacy=tuple(entry["legacy"]) if "legacy" in entry else None,
        gpud=entry.get("gpud"),
        gpud_actions=tuple(entry.get("gpud_actions", ())),
        dcgm=entry.get("dcgm"),
        ignored_by=tuple(entry.get("ignored_by", ())),
        contradictions=tuple(entry.get("contradictions", ())),
    )


def _bits(pattern: str) -> Bits:
    mask = int("".join("0" if bit == "-" else "1" for bit in pattern), 2)
    return Bits(mask, int(pattern.replace("-", "0"), 2))


def _nvlink_row(entry: Mapping[str, Any]) -> NvlinkRow:
    worse = entry.get("worse")
    status: str = entry["status"]
    return NvlinkRow(
        xid=entry["xid"],
        unit=entry["unit"],
        old_unit=entry.get("old_unit", entry["unit"]),
        old=_bits(entry["old"]),
        new=_bits(entry["new"]),
        statuses=() if status == "any" else tuple(int(value, 16) for value in status.split("/")),
        bucket=entry["bucket"],
        worse_old=_bits(worse["old"]) if worse else None,
        worse_new=_bits(worse["new"]) if worse else None,
        worse_bucket=worse["bucket"] if worse else None,
        investigate=entry["investigate"],
        severity=entry["severity"],
        severity_mark=entry.get("severity_mark", ""),
        by=entry["by"],
        local=entry.get("local"),
        remote=entry.get("remote"),
        peer_is_source=entry.get("peer_is_source", False),
    )


def _init_codes(which: str) -> Mapping[int, InitCode]:
    entries = document("rminit")[which]
    return {int(e["code"], 16): InitCode(int(e["code"], 16), e["name"], e.get("hint")) for e in entries}


def _sxid(entry: Mapping[str, Any]) -> SxidEntry:
    both = entry.get("severity")
    return SxidEntry(
        code=entry["code"],
        symbol=entry.get("symbol"),
        unit=entry["unit"],
        texts=tuple(entry.get("texts", ())),
        kind=entry["class"],
        lr10=entry.get("lr10", both),
        ls10=entry.get("ls10", both),
        guide=entry.get("guide"),
        impact=entry.get("impact"),
        recovery=entry.get("recovery"),
        nvsentinel=entry.get("nvsentinel"),
        nvsentinel_fatal=entry.get("nvsentinel_fatal"),
        ignored_by=tuple(entry.get("ignored_by", ())),
        contradictions=tuple(entry.get("contradictions", ())),
    )
