"""The small reader and a full implementation of JSON Schema agree on what a file may hold."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.triage.rulebook.conftest import EXCEPTION, OFF_BUS, SIGNALS
from tests.triage.test_catalog import FILES
from triage.rulebook.load import RULES
from triage.rulebook.shape import ANNOTATIONS, KEYWORDS, SCHEMAS, check, schema
from triage.rulebook.yamlload import Document, parse, read

CATALOG = (*FILES, "driver-bugs")
NAMES = (
    *(f"{name}.v1" for name in CATALOG),
    "calibration.v1",
    "causes.v1",
    "early.v1",
    "fleet.v1",
    "modules.v1",
    "overlay.v1",
    "rule.v1",
    "signals.v1",
    "xid.v1",
)
SHIPPED = [
    (RULES / "causes.yaml", "causes.v1"),
    (RULES / "calibration.yaml", "calibration.v1"),
    (RULES / "fleet" / "hypotheses.yaml", "fleet.v1"),
    (RULES / "fleet" / "early.yaml", "early.v1"),
    (RULES / "catalog" / "modules.yaml", "modules.v1"),
    (RULES / "catalog" / "xid.yaml", "xid.v1"),
    *((file, "rule.v1") for file in sorted(RULES.glob("*.yaml")) if file.stem not in ("causes", "calibration")),
    *((file, "signals.v1") for file in sorted((RULES / "signals").glob("*.yaml"))),
    *((RULES / "catalog" / f"{name}.yaml", f"{name}.v1") for name in CATALOG),
]
SMALL_XIDS = (
    "schema: 1\nsource: ['https://x.org/a']\n"
    "xids: [{code: 79, mnemonic: A_B, meaning: Lost, bucket: '', group: pcie}]\n"
)
SMALL_MODULES = "schema: 1\nmodules: {nvidia: [nv_, rm_]}\n"
SMALL_OVERLAY = """schema: 1
extends: gpu-off-bus
why: Ours.
until: 2027-01-01
set:
  severity: info
  lasts: 2h
  look: {before: 1h}
  trigger: {supports: {site: weak}}
  evidence:
    hot: {at_least: 85.5, within: 2s, supports: {site: none}, otherwise: {opposes: {hardware: weak}}}
"""
DISABLE = "schema: 1\nextends: gpu-off-bus\ndisable: {why: Ours., until: 2027-01-01}\n"
SMALL_CALIBRATION = "schema: 1\nsource: x\ntable: [{raw: 0.5, shown: 0.6}, {raw: 0.9, shown: 0.9}]\n"
SOUND = [
    (SMALL_OVERLAY, "overlay.v1"),
    (DISABLE, "overlay.v1"),
    (SMALL_CALIBRATION, "calibration.v1"),
    (OFF_BUS, "rule.v1"),
    (EXCEPTION, "rule.v1"),
    (SIGNALS, "signals.v1"),
    ((RULES / "causes.yaml").read_text(), "causes.v1"),
    (SMALL_XIDS, "xid.v1"),
    (SMALL_MODULES, "modules.v1"),
]
"""Texts that fit, to be spoilt."""
ODD: list[Any] = [
    None,
    True,
    False,
    0,
    1,
    -1,
    1.5,
    2.0,
    99999,
    "",
    "x",
    "X y.",
    "10m",
    "-1s",
    "79",
    [],
    ["a", "a"],
    [1],
    {},
]
"""Values of every type, at and beyond the limits."""


def document(text: str) -> Document:
    found = parse(text, "f.yaml", [])
    assert found is not None
    return found


def agree(text: str, name: str) -> list[str]:
    """Return our messages, after making sure that a full implementation judges alike."""
    found = document(text)
    ours = [str(problem) for problem in check(found, schema(name))]
    theirs = list(jsonschema.Draft7Validator(schema(name)).iter_errors(found.root))
    assert bool(theirs) == bool(ours), f"ours: {ours}; theirs: {[error.message for error in theirs]}; text: {text}"
    return ours


@pytest.mark.parametrize(("file", "name"), SHIPPED, ids=lambda value: getattr(value, "name", value))
def test_both_accept_every_shipped_file(file: Path, name: str) -> None:
    _, found = read(file, file.name, [])
    assert found is not None
    assert [] == check(found, schema(name))
    jsonschema.Draft7Validator(schema(name)).validate(found.root)


@pytest.mark.parametrize(("text", "name"), SOUND, ids=[f"{name}-{n}" for n, (_, name) in enumerate(SOUND)])
def test_both_accept_what_is_sound(text: str, name: str) -> None:
    assert [] == agree(text, name)


def test_a_number_so_large_that_one_less_is_the_same_breaks_the_upper_bound_only() -> None:
    told = agree("tests: [{name: A, given: [], expect: {at_least: 1.0e+300}}]", "rule.v1")
    assert any(message.endswith("is 1e+300, more than 1") for message in told), told
    assert [] == [message for message in told if "not more than" in message]


def paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths to every value in a tree."""
    yield path
    if isinstance(value, dict):
        for key, member in value.items():
            yield from paths(member, (*path, key))
    elif isinstance(value, list):
        for index, member in enumerate(value):
            yield from paths(member, (*path, index))


def spoilt(tree: Any, path: tuple[Any, ...], how: str, odd: object) -> Any:
    """A copy of a tree in which the value at a path is replaced, removed, or given an unknown key."""
    tree = copy.deepcopy(tree)
    if not path:
        return odd
    holder = tree
    for step in path[:-1]:
        holder = holder[step]
    if how == "replace":
        holder[path[-1]] = odd
    elif how == "remove":
        del holder[path[-1]]
    elif isinstance(holder, dict):
        holder["supportz"] = odd
    else:
        holder.append(odd)
    return tree


@settings(max_examples=400, deadline=None, derandomize=True)
@given(st.data())
def test_both_judge_alike_what_has_been_spoilt(data: st.DataObject) -> None:
    """Any value of a sound file replaced by any other, removed, or joined by an unknown one."""
    text, name = data.draw(st.sampled_from(SOUND))
    tree = json.loads(json.dumps(document(text).root))
    path = data.draw(st.sampled_from(list(paths(tree))))
    how = data.draw(st.sampled_from(["replace", "remove", "add"]))
    agree(json.dumps(spoilt(tree, path, how, data.draw(st.sampled_from(ODD)))), name)


@pytest.mark.parametrize("name", NAMES)
def test_a_schema_is_a_sound_draft_07_schema(name: str) -> None:
    assert "http://json-schema.org/draft-07/schema#" == schema(name)["$schema"]
    assert f"{name}.json" == schema(name)["$id"]
    jsonschema.Draft7Validator.check_schema(schema(name))


def subschemas(value: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every schema within a schema, with where it stands."""
    yield path, value
    for key in ("properties", "definitions"):
        for name, below in value.get(key, {}).items():
            yield from subschemas(below, f"{path}/{key}/{name}")
    for key in ("items", "additionalProperties", "propertyNames"):
        if isinstance(value.get(key), dict):
            yield from subschemas(value[key], f"{path}/{key}")


@pytest.mark.parametrize("name", NAMES)
def test_a_schema_uses_only_what_the_small_reader_knows(name: str) -> None:
    """A keyword that it does not know would be checked in the editor and silently ignored here."""
    for path, below in subschemas(schema(name)):
        assert set(below) <= KEYWORDS | ANNOTATIONS, path
        if "$ref" in below:
            assert below.keys() <= {"$ref", "description"}, path
            assert below["$ref"].removeprefix("#/definitions/") in schema(name)["definitions"], path
        for choice in (*below.get("oneOf", ()), *below.get("anyOf", ())):
            assert ["required"] == list(choice), path


@pytest.mark.parametrize("name", NAMES)
def test_no_mapping_takes_unknown_keys(name: str) -> None:
    """A misspelt key must be an error: either keys are listed, or their form and their values are prescribed."""
    for path, below in subschemas(schema(name)):
        if "object" in (below.get("type"), *(below["type"] if isinstance(below.get("type"), list) else ())):
            assert "title" in below, path
            if below["additionalProperties"] is not False:
                assert isinstance(below["additionalProperties"], dict), path
                assert "pattern" in below["propertyNames"], path


@pytest.mark.parametrize("name", NAMES)
def test_an_editor_is_told_what_each_key_and_each_word_means(name: str) -> None:
    definitions = schema(name).get("definitions", {})
    for path, below in subschemas(schema(name)):
        if "enum" in below and len(below["enum"]) > 1:
            assert len(below["enum"]) == len(below["markdownEnumDescriptions"]), path
        for key, member in below.get("properties", {}).items():
            target = definitions.get(member.get("$ref", "").removeprefix("#/definitions/"), {})
            assert "description" in {**target, **member}, f"{path}/{key}"


@pytest.mark.parametrize("file", sorted(SCHEMAS.glob("*.json")), ids=lambda file: str(file.name))
def test_a_schema_file_is_one_that_is_used(file: Path) -> None:
    assert file.name.removesuffix(".json") in NAMES


@pytest.mark.parametrize(("file", "name"), SHIPPED, ids=lambda value: getattr(value, "name", value))
def test_the_first_line_of_a_shipped_file_binds_its_schema_for_editors(file: Path, name: str) -> None:
    first = file.read_text().splitlines()[0]
    assert first.startswith("# yaml-language-server: $schema=")
    assert SCHEMAS / f"{name}.json" == (file.parent / first.partition("=")[2]).resolve()
