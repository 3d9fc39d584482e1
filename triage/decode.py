"""Takes apart what the driver writes after a code: units, registers, addresses, actions.

Everything here is a function of a text (and of the catalogue, which is data).
Nothing raises, whatever the text: what cannot be read is None.  Texts are cut
to `LONGEST`, and no pattern here can take more than linear time.  NVLink has
registers of its own and a module of its own, `triage.decode_nvlink`.

`fields` is what the scanner adds to an Xid, so that rules can ask for it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import TypeAlias

from probes.named import NamedTuple
from triage import catalog
from triage.catalog import InitCode, RecoveryAction, SxidEntry
from triage.decode_nvlink import LONGEST, NVLINK5, Nvlink5, Nvlink74, action, nvlink5, nvlink74

NEAR_NULL = 1 << 16
"""Addresses below this are what a null pointer and a small offset make: Linux maps nothing there by default."""

FIELDS = frozenset(
    {"unit", "link", "nvlink_severity", "hw_sw", "nvlink_action", "nvlink_investigate", "peer_is_source"}
    | {"cross_contained", "injected", "nvlink_bits", "containment", "reset_needed", "drain_reset_needed"}
    | {"gpc_tpc_sm", "exception", "engine", "fault_type", "access", "near_null", "recovery", "rpc"}
)
"""The names of all fields that `fields` can add."""
SWITCH_FIELDS = frozenset({"sxid_known", "sxid_class", "sxid_guide"})
"""The names of all fields that `switch_fields` can add."""


DCGM_FIELDS = frozenset({"dcgm_name", "dcgm_kind", "dcgm_severity"})
"""The names of all fields that `dcgm_fields` can add."""


class RecoveryChange(NamedTuple):
    """An Xid 154.  An action is None if its number is not in the catalogue."""

    old_value: int | None
    old: RecoveryAction | None
    value: int
    new: RecoveryAction | None
    text: str | None


class InitFailure(NamedTuple):
    """`RmInitAdapter failed!`: how far the driver came, and with what it ended."""

    stage_value: int
    stage: InitCode | None
    status_value: int
    status: InitCode | None
    source_line: int | None


class Sxid(NamedTuple):
    """A line of an NVSwitch error.  `fatal` is the line's own word; further lines of one event have none."""

    code: int
    entry: SxidEntry | None
    fatal: bool | None
    link: int | None
    text: str
    first: bool


class Containment(NamedTuple):
    """An Xid 94 or 95: whether the error stayed with one program, where it was, and whether a reset is needed."""

    contained: bool
    unit: str
    arguments: tuple[int, ...]
    address: int | None
    reset: bool | None
    drain_and_reset: bool | None


class ShaderException(NamedTuple):
    """An Xid 13.  `kind` is warp, global or graphics; the unit is known for the first two.

    `register` is the address of the error register that a graphics exception names,
    if it is one that each unit of the GPU has for itself.
    """

    kind: str
    gpc: int | None
    tpc: int | None
    sm: int | None
    reason: str | None
    register: str | None = None


class MmuFault(NamedTuple):
    """An Xid 31."""

    engine: str
    client: str | None
    gpc: int | None
    address: int | None
    fault: str | None
    access: str | None


class RpcTimeout(NamedTuple):
    """An Xid 119: how long the driver waited, and for the answer to which function."""

    seconds: int | None
    function: int | None
    name: str | None


class EccEscape(NamedTuple):
    """An Xid 140: how many uncorrectable errors the driver itself found, by place."""

    dram: int
    ltc: int
    mmu: int
    pcie: int


Decoded: TypeAlias = (
    Nvlink5 | Nvlink74 | RecoveryChange | Containment | ShaderException | MmuFault | RpcTimeout | EccEscape
)

_HEX = re.compile(r"\b0x([0-9a-fA-F]{1,16})\b")
_RECOVERY = re.compile(
    r"recovery action (?:changed from )?(?:0x(?P<old>[0-9a-f]{1,8})(?: \([^()]{0,60}\))? (?:to|->) )?"
    r"(?:\.{3} )?0x(?P<new>[0-9a-f]{1,8})(?: \((?P<text>[^()]{0,60})\))?",
    re.IGNORECASE,
)
_CONTAINED = re.compile(
    r"(?P<kept>Contained|Uncontained): (?P<unit>[A-Za-z][A-Za-z0-9 ]{0,39})(?: ?\((?P<arguments>[^()]{0,80})\))?",
    re.IGNORECASE,
)
_ADDRESS = re.compile(r"physAddr: 0x([0-9a-f]{1,16})", re.IGNORECASE)
_RESET = re.compile(r"(?<!D-)\bRST: (Yes|No)\b", re.IGNORECASE)
_DRAIN = re.compile(r"\bD-RST: (Yes|No)\b", re.IGNORECASE)
_SM = re.compile(
    r"Graphics SM (?P<kind>Warp|Global) Exception on \(GPC (?P<gpc>\d{1,3}), TPC (?P<tpc>\d{1,3})"
    r"(?:, SM (?P<sm>\d{1,3}))?\): ?(?P<reason>.{0,120})"
)
# The units' own registers lie at 0x500000 and up, a window for each GPC, and in it one for each TPC and SM.
_UNIT_REGISTER = re.compile(r"ESR (0x5[0-9a-f]{5})=")
_GRAPHICS = re.compile(r"Graphics (?:SM )?Exception: ?(?P<reason>.{0,160})")
_FAULT = re.compile(
    r"MMU Fault: ENGINE (?P<engine>[A-Za-z0-9_]{1,40})(?: (?P<gpc>GPC\d{1,3}))?(?: (?P<client>[A-Za-z0-9_]{1,60}))?"
    r" faulted @ 0x(?P<high>[0-9a-f]{1,16})(?:_(?P<low>[0-9a-f]{1,8}))?"
    r"(?:\. Fault is of type (?P<fault>[A-Z0-9_]{1,60})(?: (?P<access>[A-Z0-9_]{1,60}))?)?",
    re.IGNORECASE,
)
_RPC = re.compile(
    r"Expected function (?:(?P<number>\d{1,6})(?: \((?P<name>[A-Z0-9_]{1,60})\))?|(?P<only>[A-Z0-9_]{1,60}))"
)
_WAITED = re.compile(r"Timeout after (\d{1,6})s\b")
_ESCAPE = re.compile(r"DRAM:(\d{1,9}), LTC:(\d{1,9}), MMU:(\d{1,9}), PCIE:(\d{1,9})")
_INIT = re.compile(r"\((0x[0-9a-f]{1,8}):(0x[0-9a-f]{1,8})(?::(\d{1,6}))?\)", re.IGNORECASE)
_SXID = re.compile(r"SXid \([^()]{0,40}\): (?P<code>\d{1,6}), (?P<text>.{0,400})")
_SXID_TEXT = re.compile(r"(?P<fatal>Fatal|Non-fatal), (?:Link (?P<link>\d{1,3}) ?)?(?P<text>.*)")


def recovery(text: str) -> RecoveryChange | None:
    """Decode the text of an Xid 154."""
    match = _RECOVERY.search(text[:LONGEST])
    if match is None:
        return None
    actions = catalog.recovery_actions()
    old = None if match["old"] is None else int(match["old"], 16)
    value = int(match["new"], 16)
    return RecoveryChange(old, None if old is None else actions.get(old), value, actions.get(value), match["text"])


def init_failure(text: str) -> InitFailure | None:
    """Decode the numbers of `RmInitAdapter failed! (0x62:0x40:2168)`."""
    match = _INIT.search(text[:LONGEST])
    if match is None:
        return None
    stage, status = int(match[1], 16), int(match[2], 16)
    return InitFailure(
        stage,
        catalog.init_stages().get(stage),
        status,
        catalog.init_statuses().get(status),
        int(match[3]) if match[3] else None,
    )


def sxid(text: str) -> Sxid | None:
    """Decode a line of an NVSwitch error."""
    match = _SXID.search(text[:LONGEST])
    if match is None:
        return None
    code = int(match["code"])
    said = _SXID_TEXT.match(match["text"])
    rest = (said["text"] if said else match["text"]).strip()
    return Sxid(
        code,
        catalog.sxids().get(code),
        None if said is None else said["fatal"] == "Fatal",
        int(said["link"]) if said and said["link"] else None,
        rest.removesuffix("(First)").rstrip(),
        rest.endswith("(First)"),
    )


def containment(text: str) -> Containment | None:
    """Decode the text of an Xid 94 or 95."""
    text = text[:LONGEST]
    match = _CONTAINED.search(text)
    if match is None:
        return None
    address = _ADDRESS.search(text)
    return Containment(
        contained=match["kept"].lower() == "contained",
        unit=match["unit"].strip(),
        arguments=tuple(int(value, 16) for value in _HEX.findall(match["arguments"] or "")),
        address=int(address[1], 16) if address else None,
        reset=_yes(_RESET.search(text)),
        drain_and_reset=_yes(_DRAIN.search(text)),
    )


def _yes(match: re.Match[str] | None) -> bool | None:
    return None if match is None else match[1].lower() == "yes"


def shader_exception(text: str) -> ShaderException | None:
    """Decode the text of an Xid 13."""
    text = text[:LONGEST]
    match = _SM.search(text)
    if match is not None:
        gpc, tpc, sm = (None if match[name] is None else int(match[name]) for name in ("gpc", "tpc", "sm"))
        return ShaderException(match["kind"].lower(), gpc, tpc, sm, match["reason"].strip() or None)
    match = _GRAPHICS.search(text)
    if match is None:
        return None
    own = _UNIT_REGISTER.search(text)
    return ShaderException("graphics", None, None, None, match["reason"].strip() or None, own and own[1])


def mmu_fault(text: str) -> MmuFault | None:
    """Decode the text of an Xid 31.  The driver prints the address as two halves, `0x7e9f_4f200000`."""
    match = _FAULT.search(text[:LONGEST])
    if match is None:
        return None
    high, low = int(match["high"], 16), match["low"]
    return MmuFault(
        engine=match["engine"],
        client=match["client"],
        gpc=int(match["gpc"][3:]) if match["gpc"] else None,
        address=high if low is None else high << 32 | int(low, 16),
        fault=match["fault"],
        access=match["access"],
    )


def rpc_timeout(text: str) -> RpcTimeout | None:
    """Decode the text of an Xid 119, in the wording of any generation of drivers."""
    text = text[:LONGEST]
    match = _RPC.search(text)
    if match is None:
        return None
    waited = _WAITED.search(text)
    name = match["name"] or match["only"]
    function = int(match["number"]) if match["number"] else None
    return RpcTimeout(int(waited[1]) if waited else None, function, name)


def ecc_escape(text: str) -> EccEscape | None:
    """Decode the text of an Xid 140."""
    match = _ESCAPE.search(text[:LONGEST])
    return None if match is None else EccEscape(*(int(number) for number in match.groups()))


_BY_CODE: Mapping[int, Callable[[str], Decoded | None]] = {
    13: shader_exception,
    31: mmu_fault,
    74: nvlink74,
    94: containment,
    95: containment,
    119: rpc_timeout,
    140: ecc_escape,
    154: recovery,
}


def xid(code: int, text: str, version: str | None = None) -> Decoded | None:
    """Decode the text of an Xid; None if the code has no form of its own or the text is not of it."""
    if code in NVLINK5:
        return nvlink5(code, text, version)
    read = _BY_CODE.get(code)
    return None if read is None else read(text)


def fields(code: int, text: str) -> dict[str, str]:
    """Return what rules can ask of an Xid beyond its text, as words; nothing that is not known."""
    decoded = xid(code, text)
    found: Mapping[str, str | int | bool | None] = {}
    if isinstance(decoded, Nvlink5):
        found = {
            "unit": decoded.unit,
            "nvlink_severity": decoded.severity,
            "cross_contained": decoded.cross_contained,
            "injected": decoded.injected,
            "link": decoded.link,
            "hw_sw": agreed(row.by for row in decoded.rows),
            "nvlink_action": agreed(action(row, decoded.worse) for row in decoded.rows),
            "nvlink_investigate": agreed(row.investigate for row in decoded.rows),
            "peer_is_source": agreed("yes" if row.peer_is_source else "no" for row in decoded.rows),
        }
    elif isinstance(decoded, Nvlink74):
        found = {"link": decoded.link, "nvlink_bits": ",".join(decoded.kinds) or None}
    elif isinstance(decoded, Containment):
        found = {
            "containment": "contained" if decoded.contained else "uncontained",
            "unit": decoded.unit,
            "reset_needed": decoded.reset,
            "drain_reset_needed": decoded.drain_and_reset,
        }
    elif isinstance(decoded, ShaderException):
        place = None
        if decoded.gpc is not None:
            place = "/".join(str(part) for part in (decoded.gpc, decoded.tpc, decoded.sm) if part is not None)
        found = {"exception": decoded.kind, "gpc_tpc_sm": place, "unit": place or decoded.register}
    elif isinstance(decoded, MmuFault):
        found = {
            "engine": decoded.engine,
            "fault_type": decoded.fault,
            "access": decoded.access,
            "near_null": None if decoded.address is None else decoded.address < NEAR_NULL,
        }
    elif isinstance(decoded, RecoveryChange):
        found = {"recovery": decoded.new.word if decoded.new else None}
    elif isinstance(decoded, RpcTimeout):
        found = {"rpc": decoded.name}
    return {name: _word(value) for name, value in found.items() if value is not None}


def agreed(words: Iterable[str]) -> str | None:
    """Return the word that all share; None if they differ or there are none."""
    distinct = set(words)
    return distinct.pop() if len(distinct) == 1 else None


def switch_fields(code: int) -> dict[str, str]:
    """Return what rules can ask of an NVSwitch error beyond its line: its kind, and how the guide rates it."""
    entry = catalog.sxids().get(code)
    if entry is None:
        return {"sxid_known": "no"}
    rated = {} if entry.guide is None else {"sxid_guide": entry.guide}
    return {"sxid_known": "yes", "sxid_class": entry.kind, **rated}


def _word(value: str | int | bool) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


def dcgm_fields(code: str, text: str) -> Mapping[str, str]:
    """Return what the catalogue knows of a finding of DCGM: by its number, or by its text where that is `-`."""
    known = catalog.dcgm_errors()
    if code.isdecimal():
        entry = known.get(int(code[:6]))
    else:
        cut = text[:LONGEST]
        places = [
            (match.start(), each.code)
            for each in known.values()
            if each.text is not None and (match := re.search(each.text, cut)) is not None
        ]
        entry = known[min(places)[1]] if places else None  # what stands first is what DCGM met first
    if entry is None:
        return {"dcgm_kind": "unknown"}
    return {"dcgm_name": entry.name, "dcgm_kind": entry.kind, "dcgm_severity": entry.severity}
