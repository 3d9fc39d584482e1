"""`schema` prints the files that ship."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
from referencing import Registry, Resource

from tests.triage.cli.conftest import Run
from tests.triage.cli.test_check import LOST, WELL
from triage.schema import SCHEMAS


def fits(name: str, told: str) -> Any:
    """The parsed output, which the schema of this name lets pass; one schema may name another beside it."""
    files = {path.name: json.loads(path.read_text(encoding="utf-8")) for path in SCHEMAS.values()}
    registry: Any = Registry().with_resources((file, Resource.from_contents(body)) for file, body in files.items())
    found = json.loads(told)
    jsonschema.Draft202012Validator(files[SCHEMAS[name].name], registry=registry).validate(found)
    return found


@pytest.mark.parametrize("name", SCHEMAS)
def test_the_schema_that_is_printed_is_the_one_that_ships(name: str, run: Run) -> None:
    """Byte for byte, and it is a schema."""
    done = run("schema", name)

    assert (0, "") == (done.returncode, done.stderr)
    assert SCHEMAS[name].read_text(encoding="utf-8") == done.stdout
    jsonschema.Draft202012Validator.check_schema(json.loads(done.stdout))


def test_what_is_told_of_codes_fits_its_schema(run: Run) -> None:
    """Through the command, as a program would read it."""
    fits("xid", run("xid", "79", "--sxid", "20034", "--format", "json").stdout)


def test_what_the_doctor_says_fits_its_schema(run: Run, tmp_path: Path) -> None:
    """On this machine, whatever can be read on it."""
    told = run("doctor", "--format", "json", "--deadline", "10", "--state-dir", str(tmp_path / "s")).stdout

    assert {"readable", "absent"} <= {source["state"] for source in fits("doctor", told)["sources"]}


def test_what_is_remembered_of_incidents_fits_its_schema(run: Run, run_with_node: Run, tmp_path: Path) -> None:
    """Listed, shown, acknowledged, resolved and back again."""
    state = ("--state-dir", str(tmp_path / "s"))

    def told(*words: str) -> Any:
        return fits("incidents", run("incidents", *words, "--format", "json", *state).stdout)

    run_with_node(WELL, "check", *state)
    assert [] == told("list")["incidents"]
    run_with_node(LOST, "check", *state)
    assert ["open"] == [incident["state"] for incident in told("list")["incidents"]]
    assert "acknowledged" == told("ack", "gpu-off-bus", "--reason", "ticket 4711", "--until", "7d")["done"]
    assert "resolved" == told("resolve", "gpu-off-bus", "--reason", "riser reseated")["done"]
    assert ["resolved"] == [incident["state"] for incident in told("list", "--all")["incidents"]]
    shown = told("show", "gpu-off-bus")
    assert {"opened", "acknowledged", "resolved"} <= {event["kind"] for event in shown["events"]}


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("doctor", {"well": "yes"}),
        ("doctor", {"sources": [{"source": "nvml", "state": "fine"}]}),
        ("incidents", {"kind": "incident", "incidents": []}),
        ("incidents", {"kind": "incidents", "incidents": [{"fingerprint": "x"}]}),
    ],
)
def test_what_is_not_so_formed_does_not_fit(name: str, wrong: dict[str, Any]) -> None:
    """A schema that lets everything pass is none."""
    good = {"schema_version": 1, "generated_at": "2026-01-01T00:00:00Z", "kind": name, "incidents": [], "sources": []}
    good |= {"tool": {"name": "gpu-triage", "version": "1"}, "node": None, "well": True}
    fits(name, json.dumps(good))

    with pytest.raises(jsonschema.ValidationError):
        fits(name, json.dumps(good | wrong))
