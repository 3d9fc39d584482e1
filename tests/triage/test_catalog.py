"""The catalogue is whole: every code is told, every row is read, and a line with any of them is an incident."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

from probes.model import LogRecord
from tests.triage.test_decode_nvlink import everyone
from triage import catalog
from triage.assess import assess
from triage.model import SEVERITIES, Incident
from triage.rulebook.load import RULES, RulebookError, load
from triage.rulebook.model import Rulebook
from triage.rulebook.shape import SCHEMAS

FILES = (
    "dcgm",
    "in-tree",
    "nvlink-registers",
    "nvlink5",
    "recovery-actions",
    "rminit",
    "sxid",
    "xid-buckets",
    "xid-details",
)
UNLISTED = (177, 184, 186, 999, 9999)
"""Codes that no source names: the gap in NVIDIA's numbers, the next ones, and far ones."""


@cache
def rulebook() -> Rulebook:
    return load()


def incidents(line: str) -> tuple[Incident, ...]:
    """Return what is concluded from one line of a kernel log."""
    return assess(rulebook(), [LogRecord(line)], (), (), node=None, now=0.0).incidents


def complaint(line: str, code: int | None = None) -> str | None:
    """Return what is wrong with what becomes of a line; None if it is an incident with a severity and a step.

    With a code an incident must name that Xid; a line that says `Fatal` must not be called informational.
    """
    found = incidents(line)
    if not found:
        return f"{line}: no incident"
    if code is not None and not any(re.search(rf"\bXid (?:\d+, )*{code}\b", one.summary) for one in found):
        return f"{line}: no incident names it"
    for incident in found:
        if incident.severity not in SEVERITIES:
            return f"{line}: {incident.rule} has the severity {incident.severity}"
        if not incident.next or not all(step.do and step.risk for step in incident.next):
            return f"{line}: {incident.rule} gives nothing to do"
        if re.search(r"\bFatal\b", line) and incident.severity == "info":
            return f"{line}: {incident.rule} calls a fatal line informational"
    return None


# Every code and every row


def test_every_xid_becomes_an_incident_with_a_severity_and_something_to_do() -> None:
    """Those that nobody has heard of included."""
    line = "NVRM: Xid (PCI:0000:4e:00): {}, pid='<unknown>', name=<unknown>, Ch 00000010"
    codes = [*sorted(rulebook().xids), *UNLISTED]

    assert [] == [wrong for code in codes if (wrong := complaint(line.format(code), code))]


def test_every_row_of_the_nvlink_table_becomes_an_incident_as_bad_as_its_line_says() -> None:
    """In the line of either generation of drivers."""
    lines = {(f"NVRM: Xid (PCI:0000:4e:00): {row.xid}, {text}", row.xid) for row, _, text, _ in everyone()}

    assert [] == [wrong for line, code in sorted(lines) if (wrong := complaint(line, code))]


def test_every_switch_error_becomes_an_incident_as_bad_as_its_line_says() -> None:
    """The line's own word outranks the tables, so every second one is given as fatal, whatever it is listed as."""
    line = "nvidia-nvswitch2: SXid (PCI:0000:07:00.0): {:05d}, {}, Link 47 {}"
    lines = [
        line.format(entry.code, ("Fatal", "Non-fatal")[place % 2], entry.texts[0] if entry.texts else "error")
        for place, entry in enumerate(catalog.sxids().values())
    ]

    assert [] == [wrong for line in lines if (wrong := complaint(line))]


def test_every_stage_and_status_of_a_failed_initialisation_becomes_an_incident() -> None:
    """Also with numbers that the tables do not have."""
    pairs = [(stage, 0xFFFF) for stage in [*catalog.init_stages(), 0x99]]
    pairs += [(0x22, status) for status in [*catalog.init_statuses(), 0xABC]]
    line = "NVRM: GPU 0000:01:00.0: RmInitAdapter failed! (0x{:x}:0x{:x}:1770)"

    assert [] == [wrong for pair in pairs if (wrong := complaint(line.format(*pair)))]


def test_every_recovery_action_becomes_an_incident() -> None:
    """One that the catalogue does not have yet included."""
    line = "NVRM: Xid (PCI:0000:4e:00): 154, GPU recovery action changed from 0x0 (None) to 0x{:x} (Whatever)"

    assert [] == [wrong for value in range(10) if (wrong := complaint(line.format(value), 154))]


# The data itself


def test_the_catalogue_has_every_number() -> None:
    """As many entries as the sources have, and the two files on Xids speak of the same codes."""
    assert {*range(1, 177), 185} == set(rulebook().xids) == set(catalog.xid_details())
    assert list(range(8)) == list(catalog.recovery_actions())
    assert 17 == len(catalog.register_bits())
    assert 400 == len(catalog.sxids())
    assert set(range(144, 151)) == {row.xid for row in catalog.nvlink_rows()}


@pytest.mark.parametrize("name", FILES)
def test_every_file_says_where_it_comes_from(name: str) -> None:
    """Public addresses only."""
    assert catalog.sources(name)
    assert all(address.startswith("https://") for address in catalog.sources(name))


def test_every_catalogue_file_has_a_schema_and_is_read() -> None:
    """None lies about unread."""
    files = {file.stem for file in (RULES / "catalog").glob("*.yaml")}

    assert {*FILES, "driver-bugs", "modules", "xid"} == files
    assert set(FILES) <= {file.name.removesuffix(".v1.json") for file in SCHEMAS.glob("*.v1.json")}


def test_no_number_is_listed_twice() -> None:
    """A second entry would silently hide the first."""
    for name, listed, key in (("xid-details", "xids", "code"), ("sxid", "sxids", "code"), ("rminit", "stages", "code")):
        numbers = [entry[key] for entry in catalog.document(name)[listed]]
        assert len(set(numbers)) == len(numbers), name
    assert 151 == len({entry["code"] for entry in catalog.document("rminit")["statuses"]})


def test_every_word_for_what_to_do_is_explained_in_plain_words() -> None:
    """Whichever table uses it; and no explanation is left over."""
    used = {xid.bucket for xid in rulebook().xids.values() if xid.bucket}
    used |= {details.investigate for details in catalog.xid_details().values() if details.investigate}
    for row in catalog.nvlink_rows():
        used |= {row.bucket, row.investigate} | ({row.worse_bucket} if row.worse_bucket else set())
    used |= {entry.nvsentinel for entry in catalog.sxids().values() if entry.nvsentinel}

    assert used == set(catalog.buckets())


def test_every_xid_has_a_meaning_and_those_in_use_a_title() -> None:
    """A code that is only a number helps nobody."""
    assert all(len(entry.meaning) > 5 for entry in rulebook().xids.values() if entry.group != "unused")
    assert all(details.title for details in catalog.xid_details().values() if details.applies)


@pytest.mark.parametrize(
    ("code", "part"),
    [
        (31, "arXiv 2503.11901"),
        (32, "blames the quality of the PCIe link"),
        (63, "gpud calls it fatal and asks for a reboot"),
        (94, "asks only for a restart of the program; gpud calls it fatal"),
        (95, "older A100 guide asks for a reboot"),
        (110, "cannot clear it"),
        (119, "regression of the driver"),
    ],
)
def test_the_known_contradictions_between_sources_are_told(code: int, part: str) -> None:
    """A reader who trusts one source should learn of the other."""
    assert part in " ".join(catalog.xid_details()[code].contradictions)


@pytest.mark.parametrize("code", [11004, 12028, 19084, 20012])
def test_switch_errors_that_two_guides_rate_differently_are_told(code: int) -> None:
    """Not fatal in the Fabric Manager guide, fatal in NVSentinel."""
    assert (
        "Fabric Manager guide calls it not fatal; NVSentinel calls it fatal" in catalog.sxids()[code].contradictions[0]
    )


def test_what_contradicts_is_in_the_data_that_it_speaks_of() -> None:
    """A sentence about gpud or DCGM stands only where the file records what they say."""
    for details in catalog.xid_details().values():
        for text in details.contradictions:
            assert "gpud calls it fatal" not in text or "Fatal" == details.gpud, details
            assert "only a warning" not in text or "Warning" == details.gpud, details
            assert "DCGM" not in text or details.dcgm, details


# Reading the files


def test_a_file_that_does_not_fit_is_refused_with_its_place(tmp_path: Path) -> None:
    """In the same words as a rule file."""
    text = (catalog.CATALOG / "sxid.yaml").read_text()
    (tmp_path / "sxid.yaml").write_text(text.replace("class: link-signal", "class: link-signals", 1))
    with pytest.raises(
        RulebookError, match=r"rules/catalog/sxid\.yaml:\d+:\d+: 'class' in SXid .*did you mean"
    ) as refused:
        catalog.document("sxid", tmp_path)
    assert 1 == len(refused.value.problems)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    """With what the system says."""
    with pytest.raises(RulebookError, match=r"rules/catalog/sxid\.yaml:1:1: cannot be read: No such file"):
        catalog.document("sxid", tmp_path)


def test_what_was_read_is_kept_and_believed_only_of_the_same_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is the same whether it was kept or not; a changed file, or a kept one that was tampered with, is read anew."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    own = tmp_path / "own"
    own.mkdir()
    text = (catalog.CATALOG / "rminit.yaml").read_text()
    (own / "rminit.yaml").write_text(text)
    read = catalog.document.__wrapped__
    first = read("rminit", own)
    kept = tmp_path / "cache" / "gpu-triage" / "catalog-rminit"
    good = kept.read_bytes()
    monkeypatch.setattr(catalog, "_read", lambda name, directory: pytest.fail("the kept one is not used"))
    assert first == read("rminit", own)
    monkeypatch.undo()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for bad in (good[:-1] + bytes([good[-1] ^ 1]), good[:70], b""):
        kept.write_bytes(bad)
        assert first == read("rminit", own)
        assert good == kept.read_bytes()
    (own / "rminit.yaml").write_text(text.replace("statuses:", "states:", 1))
    with pytest.raises(RulebookError):
        read("rminit", own)
    assert good == kept.read_bytes()
