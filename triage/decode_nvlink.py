"""Takes apart what the driver writes about NVLink: the registers of Xids 144 to 150 and of Xid 74.

Functions of a text and of the tables in `rules/catalog/`; nothing raises,
whatever the text.  `triage.decode` has the other codes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache, lru_cache

from probes.named import NamedTuple
from triage import catalog
from triage.catalog import NvlinkRow, RegisterBits

LONGEST = 2048
"""Characters of a text that are looked at; the longest message of the driver has a quarter of it."""
NVLINK5 = range(144, 151)
"""The Xids of the NVLink of Blackwell, which the tables of `rules/catalog/nvlink5.yaml` decode."""

_HEX = re.compile(r"\b0x([0-9a-fA-F]{1,16})\b")
_NVLINK5 = re.compile(
    r"\s{0,4}(?P<unit>[A-Za-z][A-Za-z0-9_/ ]{0,39}?)\s{1,8}(?:Link[ -])?(?P<severity>(?:Non-?)?fatal)\b"
    r"(?:\s{1,8}XC ?(?P<xc>\d))?(?:\s{1,4}i ?(?P<injected>\d{1,3}))?(?:\s{1,4}Link (?P<link>-?\d{1,4}))?",
    re.IGNORECASE,
)
_LINK74 = re.compile(r"\blink (\d{1,4})\b", re.IGNORECASE)


class Nvlink5(NamedTuple):
    """An Xid 144 to 150.

    `severity` is the line's own word (fatal, nonfatal), which outranks that of
    the rows.  `rows` are those that fit; `exact` is false where the line has no
    registers, or registers that no row lists, and only its unit could be looked
    up.  `driver` is which generation's table fits: `before 575`, `575 or later`
    or `either`.  `worse` says that a register asks for the rows' second bucket.
    """

    unit: str
    severity: str
    cross_contained: bool | None
    injected: bool | None
    link: int | None
    registers: tuple[int, ...]
    rows: tuple[NvlinkRow, ...]
    exact: bool
    driver: str | None
    worse: bool
    notes: tuple[str, ...]


class SetBit(NamedTuple):
    """One bit that is set in a register (counted from 1) of an Xid 74; `means` is None if no source names it."""

    register: int
    bit: int
    means: RegisterBits | None


class Nvlink74(NamedTuple):
    """An Xid 74: the link, the seven registers and the bits set in them.  `trained` is false if training failed."""

    link: int | None
    registers: tuple[int, ...]
    bits: tuple[SetBit, ...]
    kinds: tuple[str, ...]
    trained: bool


def nvlink5(code: int, text: str, version: str | None = None) -> Nvlink5 | None:
    """Decode the text of an Xid 144 to 150; None if it is not of that form.

    With a driver `version` its table is asked first.  Without one both are: they
    exclude each other for all but one unit.
    """
    match = _NVLINK5.match(text[:LONGEST])
    if match is None or code not in NVLINK5:
        return None
    unit = match["unit"].strip()
    severity = "nonfatal" if match["severity"].lower().startswith("non") else "fatal"
    registers = tuple(int(value, 16) for value in _HEX.findall(text[match.end() : LONGEST])[:8])
    rows, exact, driver, worse, notes = _rows(code, unit, registers[:2], version)
    if exact and severity == "nonfatal" and all(row.severity != "nonfatal" for row in rows):
        notes += ("The line says nonfatal where the table says fatal; the line's own word counts.",)
    return Nvlink5(
        unit,
        severity,
        None if match["xc"] is None else match["xc"] != "0",
        None if match["injected"] is None else int(match["injected"]) != 0,
        None if match["link"] is None else int(match["link"]),
        registers,
        rows,
        exact,
        driver,
        worse,
        notes,
    )


@lru_cache(maxsize=4096)  # storms repeat a few registers thousands of times
def _rows(
    code: int, unit: str, registers: tuple[int, ...], version: str | None
) -> tuple[tuple[NvlinkRow, ...], bool, str | None, bool, tuple[str, ...]]:
    table = [row for row in catalog.nvlink_rows() if row.xid == code]
    named = [row for row in table if unit.upper() in (row.unit.upper(), row.old_unit.upper())]
    if not registers:
        note = "The line has no registers, so only its unit could be looked up."
        return tuple(named), False, None, False, (note,)
    notes: list[str] = []
    fits = {
        "before 575": [row for row in table if _fits(registers[0], row.old, row.worse_old)],
        "575 or later": [row for row in table if _fits(registers[0], row.new, row.worse_new)],
    }
    branch = _branch(version)
    asked = [] if branch is None else ["575 or later" if branch >= 575 else "before 575"]
    fitting = [driver for driver in fits if fits[driver]]
    chosen = [driver for driver in asked if driver in fitting] or fitting
    if not chosen:
        notes.append(f"The first register (0x{registers[0]:08x}) fits no row of either generation of drivers.")
        return tuple(named), False, None, False, tuple(notes)
    if asked and chosen != asked:
        notes.append(
            f"Driver {version} should print another form; the register fits the table for drivers {chosen[0]}."
        )
    elif len(chosen) > 1:
        notes.append(
            "The register fits the tables of both generations of drivers; give the version to tell them apart."
        )
    rows = [row for row in table if any(row in fits[driver] for driver in chosen)]
    of_unit = [row for row in rows if row in named]
    if of_unit:
        rows = of_unit
    else:
        other = " or ".join(dict.fromkeys(row.unit for row in rows))
        notes.append(f"The line names {unit}; its first register is that of {other}.")
    exact = [row for row in rows if len(registers) > 1 and _has_status(row, registers[1])]
    if not exact:
        what = f"0x{registers[1]:08x} is not listed" if len(registers) > 1 else "is not in the line"
        notes.append(f"The error status {what}, so all rows of this unit are possible.")
    worse = any(bits is not None and bits.fit(registers[0]) for row in exact for bits in (row.worse_old, row.worse_new))
    driver = chosen[0] if len(chosen) == 1 else "either"
    return tuple(exact or rows), bool(exact), driver, worse, tuple(notes)


def _fits(register: int, usual: catalog.Bits, worse: catalog.Bits | None) -> bool:
    return usual.fit(register) or (worse is not None and worse.fit(register))


def _has_status(row: NvlinkRow, status: int) -> bool:
    """Whether a row's status is in a register: a bit of it for units that have one bit an error, else all of it."""
    if not row.statuses or status in row.statuses:
        return True
    return row.xid < 149 and any(status & bit for bit in row.statuses)


def _branch(version: str | None) -> int | None:
    head = (version or "").strip().lstrip("vrR").partition(".")[0]
    return int(head) if head.isdecimal() and head.isascii() and len(head) < 6 else None


def nvlink74(text: str) -> Nvlink74 | None:
    """Decode the text of an Xid 74; None if it names neither link nor registers."""
    text = text[:LONGEST]
    link = _LINK74.search(text)
    registers = tuple(int(value, 16) for value in _HEX.findall(text[link.end() if link else 0 :])[:7])
    if link is None and not registers:
        return None
    trained = "failed to train" not in text.lower()
    if not trained:
        registers = ()
    meanings, unused = _registers()
    bits = tuple(
        SetBit(place, bit, meanings.get((place, bit)))
        for place, register in enumerate(registers, 1)
        if place not in unused
        for bit in range(32)
        if register >> bit & 1
    )
    kinds = dict.fromkeys("unlisted" if bit.means is None else bit.means.kind for bit in bits)
    return Nvlink74(int(link[1]) if link else None, registers, bits, tuple(kinds), trained)


@cache
def _registers() -> tuple[Mapping[tuple[int, int], RegisterBits], frozenset[int]]:
    """Return what each bit of each register of an Xid 74 means, and the registers that tell nothing."""
    listed = catalog.register_bits()
    meanings = {(entry.register, bit): entry for entry in listed for bit in entry.bits}
    return meanings, frozenset(entry.register for entry in listed if not entry.bits)


def action(row: NvlinkRow, worse: bool) -> str:
    """Return the bucket that a row asks for."""
    return row.worse_bucket if worse and row.worse_bucket is not None else row.bucket
