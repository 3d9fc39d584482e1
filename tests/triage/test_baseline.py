"""A plain lookup is judged by the same rules as we are, and answers only where its table does."""

from __future__ import annotations

from typing import Any

import pytest

from triage.baseline import TABLES, Entry, compare, dcgm, first_xid, gpud, group, vendor
from triage.catalog import XidDetails, xid_details
from triage.evaluate import LEAVES
from triage.rulebook.load import load
from triage.scanner import Scanner

RULEBOOK = load()
SCANNER = Scanner(RULEBOOK)


def entry(bucket: str = "", name: str = "", **details: Any) -> Entry:
    given = dict.fromkeys(XidDetails._fields, None) | {"gpud_actions": (), "ignored_by": (), "contradictions": ()}
    return Entry(bucket, name, XidDetails(**{**given, **details}))


@pytest.mark.parametrize(
    ("expected", "given"),
    [
        (("driver",), entry("CONTACT_SUPPORT", legacy=("driver",))),
        (("application",), entry("RESTART_APP", legacy=("driver", "application"))),
        ((), entry("RESET_GPU", legacy=("hardware", "driver", "bus"))),
        ((), entry()),
        (("none",), Entry("IGNORE", "", None)),
    ],
)
def test_the_vendor_answers_where_one_column_is_marked_or_the_bucket_names_a_cause(
    expected: tuple[str, ...], given: Entry
) -> None:
    assert expected == vendor(given)


def test_the_other_tables_answer_what_they_say() -> None:
    assert ("application",) == gpud(entry(gpud_actions=("CheckUserAppAndGPU",)))
    assert () == gpud(entry(gpud_actions=("CheckUserAppAndGPU", "HardwareInspection")))
    assert ("platform",) == dcgm(entry(dcgm="WARN/pcie: labelled PCIe replay error"))
    assert () == dcgm(entry())
    assert ("hardware",) == group(entry(name="memory_hw_contained"))
    assert () == group(entry(name="consequence"))


def test_every_answer_is_a_cause_class() -> None:
    """A class that no case can have would never be right."""
    details = xid_details()
    answers = {
        cause
        for code, xid in RULEBOOK.xids.items()
        for table in TABLES.values()
        for cause in table(Entry(xid.bucket, xid.group, details.get(code)))
    }

    assert answers
    assert answers <= LEAVES.keys()


def test_each_table_answers_for_some_of_the_catalogue() -> None:
    """Or the catalogue was renamed under it."""
    details = xid_details()
    entries = [Entry(xid.bucket, xid.group, details.get(code)) for code, xid in RULEBOOK.xids.items()]

    assert all(sum(bool(table(given)) for given in entries) > 15 for table in TABLES.values())


def test_the_first_xid_of_the_gpu_in_question_is_looked_up() -> None:
    log = (
        "NVRM: Xid (PCI:0000:4e:00): 79, GPU has fallen off the bus.\nNVRM: Xid (PCI:0000:9d:00): 31, pid=1, MMU Fault"
    )

    assert 79 == first_xid(SCANNER, {"id": "a", "log": log})
    assert 31 == first_xid(SCANNER, {"id": "a", "log": log, "gpu_bdf": "0000:9d:00.0"})
    assert first_xid(SCANNER, {"id": "a", "log": "usb 1-1: new device"}) is None


def test_lookups_are_counted_as_verdicts_are_but_have_no_confidence() -> None:
    cases: list[dict[str, Any]] = [
        {"id": "a", "log": "NVRM: Xid (PCI:0000:4e:00): 48, DBE", "cause": "hardware", "basis_grade": "A"},
        {"id": "b", "log": "NVRM: Xid (PCI:0000:4e:00): 48, DBE", "cause": "driver", "basis_grade": "A"},
        {"id": "c", "log": "usb 1-1: new device", "cause": "driver", "basis_grade": "A"},
        {"id": "d", "log": "usb 1-1: new device", "cause": "unknown", "basis_grade": "D"},
        {"id": "e", "log": None, "cause": "driver", "basis_grade": "A"},
    ]
    found = compare(RULEBOOK, cases)["vendor"]

    assert (3, 2, 1, 1, 1) == (found.known, found.decided, found.right, found.wrong, found.skipped)
    assert (1.0, None, None) == (found.unknown_left_open, found.calibration_error, found.confident_wrong)
