"""The report keeps its shape, its words and its promises about foreign text."""

from __future__ import annotations

import copy
import json
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes.model import Entity, LogRecord, Missing, Reading
from tests.triage.samples import NOW, XID_79, assessment, off_bus, report_of, timeout
from triage.model import Evidence, Incident, Verdict
from triage.report import MOST_TEXT, bearing, iso, text, to_report
from triage.schema import REPORT

SCHEMA: dict[str, Any] = json.loads(REPORT.read_text(encoding="utf-8"))


def closed(node: Any) -> Any:
    """Return the schema with every object closed, so that a field it does not know is an error."""
    if isinstance(node, list):
        return [closed(item) for item in node]
    if not isinstance(node, dict):
        return node
    shut = {name: closed(value) for name, value in node.items()}
    if "properties" in node and node.get("type") == "object" and "allOf" not in node:
        shut["additionalProperties"] = False
    return shut


def with_evidence(*evidence: Evidence) -> dict[str, Any]:
    """Return the only incident of a report with this evidence."""
    incident: dict[str, Any] = report_of(assessment(off_bus()._replace(evidence=evidence)))["incidents"][0]
    return incident


def witness(record: LogRecord) -> dict[str, Any]:
    """Return the evidence that this record becomes."""
    item: dict[str, Any] = with_evidence(Evidence("e", "g", "seen", {}, {}, "Why.", record=record))["evidence"][0]
    return item


def test_the_schema_is_a_valid_schema() -> None:
    """Consumers can load it."""
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("name", ["full", "quiet", "unknown"])
def test_every_report_follows_the_schema_and_the_schema_knows_every_field(
    name: str, request: pytest.FixtureRequest
) -> None:
    """A field that is added without being typed is noticed here."""
    report = request.getfixturevalue(name)

    jsonschema.validate(report, SCHEMA)
    jsonschema.validate(report, closed(SCHEMA))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("status",), "fine"),
        (("incidents", 0, "severity"), "fatal"),
        (("incidents", 0, "verdict", "family"), "gremlins"),
        (("incidents", 0, "evidence", 0, "state"), "maybe"),
        (("incidents", 0, "next", 0, "risk"), "explodes"),
        (("incidents", 0, "opened_at"), "2026-08-22 14:02:31"),
        (("incidents", 0, "verdict", "by_family", "hardware"), 1.5),
        (("incidents", 0, "evidence", 0, "points", "gremlins.mine"), 1),
        (("schema_version",), 2),
        (("sources", 0, "readable"), "yes"),
    ],
)
def test_the_schema_refuses_what_is_not_promised(path: tuple[Any, ...], value: Any, full: dict[str, Any]) -> None:
    """The lists are closed and the types are checked."""
    broken = copy.deepcopy(full)
    place: Any = broken
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value

    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(broken, SCHEMA)


def test_the_schema_lets_additions_through(full: dict[str, Any]) -> None:
    """A newer program may say more without breaking an older consumer."""
    full["incidents"][0]["mood"] = "calm"

    jsonschema.validate(full, SCHEMA)


def test_the_json_form_of_a_report_is_golden(full: dict[str, Any], golden: Any) -> None:
    """Names and shape are an API."""
    golden("report.json", json.dumps(full, indent=2) + "\n")


@pytest.mark.parametrize(
    ("expected", "at"),
    [
        ("2026-08-22T14:02:40.000Z", NOW),
        ("1970-01-01T00:00:00.000Z", 0.0),
        ("1969-12-31T23:59:59.500Z", -0.5),
        ("2026-08-22T14:02:41.000Z", NOW + 0.9996),
        (None, None),
        (None, float("nan")),
        (None, float("inf")),
        (None, 1e18),
        (None, -1e300),
        (None, 3e11),
    ],
)
def test_times_are_utc_with_milliseconds_or_null(expected: str | None, at: float | None) -> None:
    """A time that cannot be one is unknown, not an error and not 1970."""
    assert expected == iso(at)


@given(st.text(st.characters(), max_size=700))
def test_foreign_text_is_bounded_and_can_be_encoded(foreign: str) -> None:
    """Whatever a log holds fits into JSON, also its lone surrogates."""
    kept = text(foreign)

    assert kept is not None
    assert len(kept) <= MOST_TEXT
    kept.encode("utf-8")


def test_foreign_text_that_is_text_stays_what_it_is() -> None:
    """The JSON carries the real line; making it harmless is for whoever draws it."""
    assert "\x1b[31mred\u202e é 🙂" == text("\x1b[31mred\u202e é 🙂")
    assert "a\ufffdb" == text("a\udcffb")
    assert "🙂" == text("\ud83d\ude42")


def test_a_long_log_line_is_cut_and_says_so() -> None:
    """A 10 MB line costs the reader 512 characters."""
    shown = witness(LogRecord("x" * 10_000_000))["source"]["text"]

    assert ("x" * 509 + "...") == shown


def test_a_log_line_says_where_it_stands() -> None:
    """Origin, line, time and the text itself."""
    item = witness(LogRecord(XID_79, at=NOW, monotonic=12.5, origin="kern.log", line=7, text=f"<4>{XID_79}"))

    assert "2026-08-22T14:02:40.000Z" == item["at"]
    assert ("log", "kern.log", 7, f"<4>{XID_79}") == tuple(
        item["source"][key] for key in ("kind", "origin", "line", "text")
    )
    assert item["source"]["monotonic"] is None


def test_a_log_line_without_wall_time_keeps_the_time_since_boot() -> None:
    """What is known is said, what is not known is null."""
    item = witness(LogRecord(f"{XID_79}\nsecond line", monotonic=12.5))

    assert item["at"] is None
    assert (12.5, XID_79, None) == tuple(item["source"][key] for key in ("monotonic", "text", "line"))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (61, (61, None)),
        (True, (True, None)),
        ("Not Ready", ("Not Ready", None)),
        (Missing("lost"), (None, "lost")),
        (float("nan"), (None, "error:not-finite")),
        (float("-inf"), (None, "error:not-finite")),
    ],
)
def test_a_reading_that_is_unknown_is_null_with_a_reason(value: Any, expected: tuple[Any, ...]) -> None:
    """Unknown is never zero, and no number is one that JSON cannot carry."""
    reading = Reading(Entity("gpu"), "gpu.temperature", value, "celsius", NOW)
    item = with_evidence(Evidence("hot", "heat", "seen", {}, {}, "Hot.", reading=reading))["evidence"][0]

    assert expected == (item["source"]["value"], item["source"]["missing"])
    assert "2026-08-22T14:02:40.000Z" == item["at"]
    json.dumps(item, allow_nan=False)


def test_unknown_evidence_says_what_it_would_be_worth(full: dict[str, Any]) -> None:
    """Reason and weight are what decides whether to go and look."""
    item = next(item for item in full["incidents"][0]["evidence"] if item["id"] == "bmc-power")

    assert ("unknown", {"hardware.gpu": 4}, "no-permission", {}, None) == tuple(
        item[key] for key in ("state", "would_be", "reason", "points", "bearing")
    )


@pytest.mark.parametrize(
    ("expected", "points"),
    [
        ("for", {"hardware.link": 4}),
        ("for", {"workload": -4}),
        ("against", {"hardware.gpu": -1}),
        ("against", {"driver.module": 2}),
        ("for", {"hardware.link": 3, "driver.module": 1}),
        ("neutral", {"hardware.link": 2, "driver.module": 1}),
        ("against", {"hardware.link": 1, "driver.module": 7}),
        ("neutral", {}),
        ("neutral", {"hardware.gpu": 1, "hardware.link": 1, "driver.module": 1, "workload": 1}),
        ("neutral", {"hardware.fabric": 4}),
    ],
)
def test_points_bear_on_a_family_as_they_move_it(expected: str, points: dict[str, int]) -> None:
    """To oppose every rival is to speak for it; to lift a rival is to speak against it."""
    by_leaf = {"hardware.gpu": 0.4, "hardware.link": 0.3, "driver.module": 0.2, "workload": 0.1}

    assert expected == bearing(points, by_leaf, "hardware")


def test_the_leading_cause_is_named_while_undetermined() -> None:
    """An open verdict still says who is ahead, and by which part."""
    verdict = report_of(assessment(timeout()))["incidents"][0]["verdict"]

    assert ("undetermined", None, "undetermined") == (verdict["family"], verdict["leaf"], verdict["words"])
    assert {
        "family": "hardware",
        "leaf": "hardware.gpu",
        "title": "GPU board, its memory or silicon",
        "confidence": 0.52,
    } == verdict["leading"]


def test_the_leading_cause_is_the_verdict_when_decided(full: dict[str, Any]) -> None:
    """Consumers read one place, whatever came out."""
    verdict = full["incidents"][0]["verdict"]

    assert ("hardware", "hardware.link", 0.97) == tuple(
        verdict["leading"][key] for key in ("family", "leaf", "confidence")
    )
    assert "very likely" == verdict["words"]


def test_an_incident_without_any_known_cause_still_makes_a_report() -> None:
    """An empty rulebook is no reason to crash."""
    bare: Incident = off_bus()._replace(verdict=Verdict("undetermined", None, 0.0, {}, {}))
    report = to_report(assessment(bare), generated_at=NOW, tool_version="1")

    jsonschema.validate(report, SCHEMA)
    assert report["incidents"][0]["verdict"]["leading"]["leaf"] is None


def test_an_incident_of_the_node_has_no_gpu(full: dict[str, Any]) -> None:
    """Null says: not one GPU; a GPU of unknown address is an object of nulls."""
    assert full["incidents"][1]["where"] == {"node": "gpu-0417", "gpu": None}


def test_the_same_assessment_gives_the_same_bytes() -> None:
    """Reports can be compared."""
    assert json.dumps(report_of(assessment(off_bus(), timeout()))) == json.dumps(
        report_of(assessment(off_bus(), timeout()))
    )
