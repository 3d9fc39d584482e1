"""NVLink's registers are decoded to the rows and bits of the vendor's tables, all of them, for every driver."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from triage import catalog, decode_nvlink
from triage.catalog import Bits, NvlinkRow

ALL = 0xFFFFFFFF
CUT = "RLW_SRC_TRACK Nonfatal XC1 i0 Link 17 (0x04084507 0x00000004 0x00000000 0x00000000 0x00000000 0x00000000"


def row_of(code: int, text: str, version: str | None = None) -> NvlinkRow:
    """Return the one row that an NVLink 5 text is decoded to."""
    found = decode_nvlink.nvlink5(code, text, version)
    assert found is not None
    assert found.exact
    (row,) = found.rows
    return row


# Xids 144 to 150


def test_an_nvlink_line_is_decoded_to_its_row_and_its_parts() -> None:
    """The form of drivers before 575: a link that went down for a reason that the vendor calls hardware."""
    text = "NETIR_LINK_EVT Fatal XC0 i0 Link 08 (0x004505c6 0x00000000 0x00000000 0x00000000 0x00000000 0x00000000)"
    found = decode_nvlink.nvlink5(149, text)

    assert found is not None
    assert ("NETIR_LINK_EVT", "fatal", False, False, 8) == found[:5]
    assert (0x004505C6, 0, 0, 0, 0, 0) == found.registers
    assert ("before 575", True, ()) == (found.driver, found.exact, found.notes)
    assert [("NETIR_LINK_DOWN", "HW", "INVESTIGATE_LINK_SI")] == [(r.unit, r.by, r.investigate) for r in found.rows]


@pytest.mark.parametrize(
    ("code", "text", "driver", "unit", "by", "bucket"),
    [
        (145, CUT, "575 or later", "RLW_SRC_TRACK", "HW/SW", "XID_154_EVAL"),
        (
            145,
            "RLW_SRC_TRACK Nonfatal XC1 i0 Link 12 (0x040988e2 0x00000008)",
            "before 575",
            "RLW_SRC_TRACK",
            "HW/SW",
            "XID_154_EVAL",
        ),
        (
            149,
            "NETIR_BER_EVENT Nonfatal XC0 i0 Link 01 (0x00082226 0x00000001 0x0)",
            "before 575",
            "NETIR_BER_EVENT",
            "HW",
            "IGNORE",
        ),
        (149, "NETIR Fatal XC0 i0 Link -1 (0x000fe406 0x00000000)", "before 575", "NETIR_INT", "HW/SW", "RESET_GPU"),
        (
            149,
            "NETIR_LINK_EVT  Fatal   XC0 i0 Link 01 (0x021425c6 0x0)",
            "before 575",
            "NETIR_LINK_DOWN",
            "HW/SW",
            "RESET_GPU",
        ),
        (144, "SAW_MVB Nonfatal XC0 i0 Link 0 (0x00000001 0x00000008 0x0)", "575 or later", "SAW_MVB", "HW", "IGNORE"),
    ],
)
def test_lines_seen_in_public_logs_are_decoded(
    code: int, text: str, driver: str, unit: str, by: str, bucket: str
) -> None:
    """Both generations of drivers, doubled blanks, a line cut short, a link that is none."""
    found = decode_nvlink.nvlink5(code, text)

    assert found is not None
    assert [(unit, by, bucket)] == [(row.unit, row.by, decode_nvlink.action(row, found.worse)) for row in found.rows]
    assert driver == found.driver


def synthetic(row: NvlinkRow, bits: Bits, unit: str, filler: int, status: int) -> str:
    """Return the text of a line whose registers match a row, every bit that does not matter set to `filler`."""
    register = bits.value | (filler & ~bits.mask & ALL)
    word = "Nonfatal" if row.severity == "nonfatal" else "Fatal"
    return f"{unit} {word} XC0 i0 Link 03 (0x{register:08x} 0x{status:08x} 0x00000000 0x00000000 0x00000000 0x00000000)"


def everyone() -> Iterable[tuple[NvlinkRow, str, str, bool]]:
    """Yield every row with every text that must be decoded to it, for both generations of drivers."""
    for row in catalog.nvlink_rows():
        forms = [("570.124.06", row.old_unit, row.old, False), ("580.95.05", row.unit, row.new, False)]
        if row.worse_old is not None and row.worse_new is not None:
            forms += [("570.124.06", row.old_unit, row.worse_old, True), ("580.95.05", row.unit, row.worse_new, True)]
        for version, unit, bits, worse in forms:
            for filler in (0, ALL):
                for status in row.statuses or (0, 0x12345678):
                    yield row, version, synthetic(row, bits, unit, filler, status), worse


def test_every_row_of_the_table_is_decoded_from_a_line_of_either_generation() -> None:
    """With the driver's version and without it; rows that share a pattern agree on everything but the pipe's number."""
    seen = set()
    for row, version, text, worse in everyone():
        for given_version in (version, None):
            found = decode_nvlink.nvlink5(row.xid, text, given_version)
            assert found is not None, text
            assert row in found.rows, (row, text, found)
            assert found.exact
            assert worse == found.worse
            assert 1 == len({other._replace(unit="", new=row.new, worse_new=row.worse_new) for other in found.rows})
            assert not any("another form" in note for note in found.notes)
            seen.add(row)

    assert 95 == len(catalog.nvlink_rows()) == len(seen)


def test_the_second_pattern_of_a_row_asks_for_its_second_bucket() -> None:
    """A receive error that may be ignored needs a reset if the register says so."""
    calm, worse = (
        decode_nvlink.nvlink5(145, f"RLW_RXPIPE Nonfatal XC0 i0 Link 11 (0x000000{low} 0x00000004)")
        for low in ("06", "86")
    )

    assert calm is not None
    assert worse is not None
    assert ["IGNORE"] == [decode_nvlink.action(row, calm.worse) for row in calm.rows]
    assert ["RESET_GPU"] == [decode_nvlink.action(row, worse.worse) for row in worse.rows]


def test_the_version_decides_where_both_forms_fit() -> None:
    """Only the unit of Xid 150 looks alike in both."""
    text = "MSE_WATCHDOG Fatal XC0 i0 Link 00 (0x00000000 0x00000000)"
    either, old, new = (decode_nvlink.nvlink5(150, text, version) for version in (None, "570.172.08", "R580"))

    assert either is not None
    assert old is not None
    assert new is not None
    assert ("either", "before 575", "575 or later") == (either.driver, old.driver, new.driver)
    assert "give the version" in either.notes[0]
    assert () == old.notes == new.notes


def test_a_register_that_contradicts_the_version_is_believed_and_said() -> None:
    """The register cannot be mistaken; the version may be of another boot."""
    found = decode_nvlink.nvlink5(145, CUT, "550.54.15")

    assert found is not None
    assert "575 or later" == found.driver
    assert ("Driver 550.54.15 should print another form; the register fits the table for drivers 575 or later.",) == (
        found.notes
    )


@pytest.mark.parametrize(
    ("text", "note"),
    [
        ("NETIR_LINK_DOWN Fatal XC0 i0 Link 14", "has no registers"),
        ("NETIR_LINK_EVT Fatal XC 1 i 1 Link 01 [0x0000000a]", "fits no row of either generation"),
        ("SAW_MVB Fatal XC0 i0 Link 1 (0x00000001)", "is not in the line"),
        ("SAW_MVB Fatal XC0 i0 Link 1 (0x00000001 0x00001000)", "0x00001000 is not listed"),
    ],
)
def test_a_line_without_usable_registers_names_all_rows_of_its_unit(text: str, note: str) -> None:
    """What it could be is better than nothing, and it is said that it is not exact."""
    found = decode_nvlink.nvlink5(149 if "NETIR" in text else 144, text)

    assert found is not None
    assert not found.exact
    assert len(found.rows) > 1
    assert note in found.notes[-1]


def test_a_unit_that_contradicts_its_register_is_said() -> None:
    """The register decides."""
    found = decode_nvlink.nvlink5(145, "RLW_CTRL Fatal XC0 i0 Link 1 (0x00000007 0x00000001)")

    assert found is not None
    assert ["RLW_SRC_TRACK"] == [row.unit for row in found.rows]
    assert "The line names RLW_CTRL; its first register is that of RLW_SRC_TRACK." in found.notes


def test_the_lines_own_severity_outranks_the_table() -> None:
    """And that they differ is said."""
    found = decode_nvlink.nvlink5(144, "SAW_MVB Nonfatal XC0 i0 Link 1 (0x00000001 0x00000002)")

    assert found is not None
    assert ("nonfatal", "fatal") == (found.severity, found.rows[0].severity)
    assert "the line's own word counts" in found.notes[-1]


def test_several_error_bits_at_once_are_several_rows() -> None:
    """The units of Xids 144 to 148 have one bit for each error; those of 149 and 150 count."""
    both = decode_nvlink.nvlink5(144, "SAW_MVB Fatal XC0 i0 Link 1 (0x00000001 0x00000003)")

    assert both is not None
    assert [(1,), (2,)] == [row.statuses for row in both.rows]
    assert (3,) == row_of(149, "NETIR_BER_EVENT Nonfatal XC0 i0 Link 1 (0x00000013 0x00000003)").statuses


def test_other_texts_are_not_taken_for_nvlink_lines() -> None:
    """Xid 137 speaks of the same units in another form."""
    assert decode_nvlink.nvlink5(145, "RLW_RXPIPE interrupt hit on link 11 on GPU0: PRIV Error") is None
    assert decode_nvlink.nvlink5(137, CUT) is None


# Xid 74


def test_the_bits_of_an_nvlink_error_are_named() -> None:
    """Each set bit with its class, and when it asks for what."""
    found = decode_nvlink.nvlink74("NVLink: fatal error detected on link 14(0x0, 0x0, 0x10000, 0x0, 0x0, 0x0, 0x0)")

    assert found is not None
    assert (14, True) == (found.link, found.trained)
    ((register, bit, means),) = found.bits
    assert (3, 16) == (register, bit)
    assert means is not None
    assert ("unexpected", "repeated") == (means.kind, means.when)


def test_every_bit_of_the_registers_is_decoded_to_its_class() -> None:
    """Walks the data: each listed bit alone gives its class; bits of unused registers give nothing."""
    for entry in catalog.register_bits():
        for bit in entry.bits or range(32):
            registers = ["0x0"] * 7
            registers[entry.register - 1] = f"0x{1 << bit:x}"
            found = decode_nvlink.nvlink74(f"NVLink: fatal error detected on link 2({', '.join(registers)})")
            assert found is not None
            assert ([(entry.register, bit, entry)] if entry.bits else []) == [tuple(b) for b in found.bits]

    assert {1, 2, 3, 4, 5, 6, 7} == {entry.register for entry in catalog.register_bits()}


def test_a_bit_that_no_source_names_is_kept_as_such() -> None:
    """Unknown is not benign."""
    found = decode_nvlink.nvlink74("NVLink: fatal error detected on link 2(0x80000000, 0x0, 0x0, 0x0, 0x0, 0x0, 0x0)")

    assert found is not None
    assert ("unlisted",) == found.kinds


def test_a_link_that_could_not_be_trained_has_no_registers() -> None:
    """The address of its peer is none."""
    found = decode_nvlink.nvlink74("NVLink: failed to train link 3 to remote PCI:0000:86:00")

    assert found is not None
    assert (3, (), False) == (found.link, found.registers, found.trained)
