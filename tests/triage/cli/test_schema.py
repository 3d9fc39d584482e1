"""`schema report` prints the file that ships."""

from __future__ import annotations

import json

import jsonschema  # type: ignore[import-untyped]

from tests.triage.cli.conftest import Run
from triage.schema import REPORT


def test_the_schema_that_is_printed_is_the_one_that_ships(run: Run) -> None:
    """Byte for byte, and it is a schema."""
    done = run("schema", "report")

    assert (0, "") == (done.returncode, done.stderr)
    assert REPORT.read_text(encoding="utf-8") == done.stdout
    jsonschema.Draft202012Validator.check_schema(json.loads(done.stdout))
