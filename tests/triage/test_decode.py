"""What the driver writes after a code is taken apart, and nothing that it could write raises."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from triage import catalog, decode
from triage.decode_nvlink import LONGEST


@pytest.mark.parametrize(
    ("text", "old", "new"),
    [
        ("GPU recovery action changed from 0x0 (None) to 0x2 (Node Reboot Required)", "none", "reboot"),
        (
            "GPU recovery action changed from 0x1 (GPU Reset Required) to 0x4 (Drain and Reset)",
            "reset",
            "drain-and-reset",
        ),
        ("recovery action 0x0 -> 0x2 (OS Reboot)", "none", "reboot"),
        ("GPU recovery action ... 0x1 (GPU Reset Required)", None, "reset"),
    ],
)
def test_a_recovery_action_is_named(text: str, old: str | None, new: str) -> None:
    """In the wording of any generation; the number decides."""
    found = decode.recovery(text)

    assert found is not None
    assert found.new is not None
    assert (old, new) == (found.old.word if found.old else None, found.new.word)


def test_every_recovery_action_is_decoded_in_all_its_wordings() -> None:
    """Walks the data."""
    for action in catalog.recovery_actions().values():
        for text in action.texts or ("Whatever it will be called",):
            line = f"GPU recovery action changed from 0x0 (None) to 0x{action.value:x} ({text})"
            found = decode.recovery(line)
            assert found is not None
            assert (action, text) == (found.new, found.text)
            assert {"recovery": action.word} == decode.fields(154, line)


def test_a_recovery_action_that_is_not_listed_keeps_its_number() -> None:
    """A newer driver may bring one."""
    found = decode.recovery("GPU recovery action changed from 0x0 (None) to 0x9 (Something New)")

    assert found is not None
    assert (9, None, "Something New") == (found.value, found.new, found.text)
    assert {} == decode.fields(154, "GPU recovery action changed from 0x0 (None) to 0x9 (Something New)")


def test_a_contained_error_names_its_place_and_whether_a_reset_is_needed() -> None:
    """And the second word is not taken for the first."""
    found = decode.containment("Contained: LTC TAG (0x4, 0x1). physAddr: 0x123456000 RST: No, D-RST: Yes")

    assert decode.Containment(True, "LTC TAG", (4, 1), 0x123456000, False, True) == found


def test_an_uncontained_error_without_flags_does_not_say_that_no_reset_is_needed() -> None:
    """Older drivers print none."""
    assert decode.Containment(False, "LTC TAG", (2, 0), None, None, None) == decode.containment(
        "Uncontained: LTC TAG (0x2,0x0)"
    )
    assert {"containment": "uncontained", "unit": "GSP"} == decode.fields(95, "Uncontained: GSP")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "Graphics SM Warp Exception on (GPC 7, TPC 4, SM 0): Out Of Range Address",
            ("warp", 7, 4, 0, "Out Of Range Address", None),
        ),
        (
            "Graphics SM Global Exception on (GPC 0, TPC 1, SM 1): Multiple Warp Errors",
            ("global", 0, 1, 1, "Multiple Warp Errors", None),
        ),
        (
            "Graphics SM Warp Exception on (GPC 2, TPC 0): Illegal Instruction",
            ("warp", 2, 0, None, "Illegal Instruction", None),
        ),
        (
            "Graphics Exception: ESR 0x505730=0xc040009",
            ("graphics", None, None, None, "ESR 0x505730=0xc040009", "0x505730"),
        ),
        (
            "Graphics Exception: ESR 0x405840=0xa0040800",
            ("graphics", None, None, None, "ESR 0x405840=0xa0040800", None),
        ),
    ],
)
def test_an_exception_names_the_unit_that_raised_it(text: str, expected: tuple[object, ...]) -> None:
    """GPC, TPC and SM where the driver printed them, else the register that one unit has for itself."""
    assert expected == decode.shader_exception(text)


def test_a_memory_fault_is_taken_apart() -> None:
    """The address comes in two halves."""
    fault = decode.mmu_fault(
        "Ch 00000008, intr 00000000. MMU Fault: ENGINE GRAPHICS GPC1 GPCCLIENT_T1_3 faulted @ 0x7e9f_4f200000. "
        "Fault is of type FAULT_PDE ACCESS_TYPE_VIRT_READ"
    )

    assert decode.MmuFault("GRAPHICS", "GPCCLIENT_T1_3", 1, 0x7E9F4F200000, "FAULT_PDE", "ACCESS_TYPE_VIRT_READ") == (
        fault
    )


def test_an_address_next_to_null_is_marked() -> None:
    """A null pointer is a program's mistake; zero itself must not be read as no address."""
    text = (
        "Ch 00000023, intr 0. MMU Fault: ENGINE CE0 HUBCLIENT_CE0 faulted @ {}_00000000. "
        "Fault is of type FAULT_PTE ACCESS_TYPE_VIRT_WRITE"
    )
    near, far = (decode.fields(31, text.format(high)) for high in ("0x0", "0x2"))

    assert ("yes", "no") == (near["near_null"], far["near_null"])
    assert ("CE0", "FAULT_PTE", "ACCESS_TYPE_VIRT_WRITE") == (near["engine"], near["fault_type"], near["access"])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "Timeout after 45s of waiting for RPC response from GPU3 GSP! Expected function 76 (GSP_RM_CONTROL) (0x1)",
            (45, 76, "GSP_RM_CONTROL"),
        ),
        (
            "Timeout waiting for RPC from GSP! Expected function 103 (GSP_RM_ALLOC) (0x0 0x0).",
            (None, 103, "GSP_RM_ALLOC"),
        ),
        ("Timeout waiting for RPC from GSP! Expected function GSP_RM_FREE (0x0 0x0).", (None, None, "GSP_RM_FREE")),
    ],
)
def test_a_time_out_of_the_gsp_names_the_function(text: str, expected: tuple[object, ...]) -> None:
    """In the wording of any generation of drivers."""
    assert expected == decode.rpc_timeout(text)


def test_an_escaped_memory_error_is_counted_by_place() -> None:
    """Xid 140."""
    text = "An uncorrectable ECC error detected (possible firmware handling failure) DRAM:1, LTC:0, MMU:2, PCIE:3"
    assert decode.EccEscape(1, 0, 2, 3) == decode.ecc_escape(text)


def test_every_stage_and_status_of_a_failed_initialisation_is_named() -> None:
    """Walks the data."""
    for stage in catalog.init_stages().values():
        for status in (0x0F, 0xFFFF):
            found = decode.init_failure(f"NVRM: RmInitAdapter failed! (0x{stage.code:x}:0x{status:x}:1375)")
            assert (stage, 1375) == (found and found.stage, found and found.source_line)
    for status_code in catalog.init_statuses().values():
        found = decode.init_failure(f"RmInitAdapter failed! (0x22:0x{status_code.code:x}:631)")
        assert status_code == (found and found.status)

    assert (22, 151) == (len(catalog.init_stages()), len(catalog.init_statuses()))
    assert all(stage.hint for stage in catalog.init_stages().values())


def test_an_unlisted_stage_keeps_its_number() -> None:
    """A newer driver may have more of them."""
    assert decode.InitFailure(0x99, None, 0xF0F0F, None, 7) == decode.init_failure("(0x99:0xf0f0f:7)")


def test_every_switch_error_is_decoded_from_its_line() -> None:
    """Walks the data."""
    for entry in catalog.sxids().values():
        text = entry.texts[0] if entry.texts else "something"
        found = decode.sxid(
            f"nvidia-nvswitch2: SXid (PCI:0000:07:00.0): {entry.code:05d}, Fatal, Link 47 {text} (First)"
        )
        assert decode.Sxid(entry.code, entry, True, 47, text, True) == found

    assert 400 == len(catalog.sxids())


def test_further_lines_of_a_switch_error_have_no_severity_of_their_own() -> None:
    """Their number of severity is an internal one."""
    found = decode.sxid(
        "nvidia-nvswitch1: SXid (PCI:0000:aa:00.0): 24007, Severity 1 Engine instance 12 Sub-engine instance 00"
    )

    assert found is not None
    assert (24007, None, None) == (found.code, found.fatal, found.link)


# Whatever comes

WORDS = (
    "0x7e9f_4f20 0x 0xffffffffffffffff 0X1 Contained: Uncontained: RST: Yes D-RST: No physAddr: Link -1 link 14( "
    "RLW_SRC_TRACK Nonfatal Fatal XC1 i0 XC GPU recovery action changed from to -> (None) MMU Fault: ENGINE GRAPHICS "
    "faulted @ Fault is of type Graphics SM Warp Exception on (GPC 7, TPC SM ٣): Expected function 76 (GSP_RM) "
    "SXid (PCI:0000): 20034, Severity Data { GPU-I:05 caused by previous Xid ( ) , . DRAM:1, \x00 \ud800 \u202e"
)
PIECES = st.sampled_from(WORDS.split(" "))
TEXTS = st.one_of(
    st.text(max_size=300), st.lists(PIECES, max_size=40).map(" ".join), st.lists(PIECES, max_size=40).map("".join)
)


@given(code=st.integers(0, 10**6), text=TEXTS, version=st.one_of(st.none(), st.text(max_size=12)))
def test_nothing_raises_on_any_text(code: int, text: str, version: str | None) -> None:
    """Garbage is None, and fields are words of the list."""
    decode.xid(code, text, version)
    found = decode.fields(code, text)
    assert found.keys() <= decode.FIELDS
    assert all(isinstance(value, str) and value for value in found.values())
    for read in (decode.init_failure, decode.sxid):
        read(text)


@given(code=st.sampled_from([13, 31, 74, 94, 95, 119, 140, *range(144, 151), 154]), text=TEXTS)
def test_nothing_raises_on_any_text_of_the_codes_that_have_a_form(code: int, text: str) -> None:
    """The same where the patterns have something to bite on."""
    decode.xid(code, text)
    decode.fields(code, text)


@pytest.mark.parametrize(
    "unit", ["RLW ", "0x1 ", "Contained: ", "Graphics Exception: ", "(", "GPC 1, ", "link ", "SXid ("]
)
def test_a_text_of_any_length_takes_little(unit: str) -> None:
    """Only the beginning is looked at, so a megabyte is decoded as its first two thousand characters."""
    text = unit * (1 << 18)
    for code in (13, 31, 74, 94, 119, 140, 145, 154):
        assert decode.xid(code, text[:LONGEST]) == decode.xid(code, text)
