"""`schema` prints the files that ship."""

from __future__ import annotations

import json

import jsonschema  # type: ignore[import-untyped]
import pytest

from tests.triage.cli.conftest import Run
from triage.schema import SCHEMAS


@pytest.mark.parametrize("name", SCHEMAS)
def test_the_schema_that_is_printed_is_the_one_that_ships(name: str, run: Run) -> None:
    """Byte for byte, and it is a schema."""
    done = run("schema", name)

    assert (0, "") == (done.returncode, done.stderr)
    assert SCHEMAS[name].read_text(encoding="utf-8") == done.stdout
    jsonschema.Draft202012Validator.check_schema(json.loads(done.stdout))


def test_what_is_told_of_codes_fits_its_schema(run: Run) -> None:
    """Through the command, as a program would read it."""
    told = json.loads(run("xid", "79", "--sxid", "20034", "--format", "json").stdout)

    jsonschema.Draft202012Validator(json.loads(SCHEMAS["xid"].read_text())).validate(told)
