"""YAML is read as a person and a YAML 1.2 editor read it, each value with its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from triage.rulebook.model import Place
from triage.rulebook.problems import Problem
from triage.rulebook.yamlload import MAX_BYTES, MAX_DEPTH, Document, parse, read


def parsed(text: str) -> Document:
    problems: list[Problem] = []
    document = parse(text, "f.yaml", problems)
    assert [] == problems
    assert document is not None
    return document


def complaints(text: str) -> list[str]:
    problems: list[Problem] = []
    parse(text, "f.yaml", problems)
    return [str(problem) for problem in problems]


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("true", True),
        ("false", False),
        ("yes", "yes"),
        ("no", "no"),
        ("on", "on"),
        ("off", "off"),
        ("True", "True"),
        ("null", None),
        ("~", None),
        ("", None),
        ("79", 79),
        ("-3", -3),
        ("0", 0),
        ("0.80", 0.8),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("12:30:00", "12:30:00"),
        ("190:20:30", "190:20:30"),
        ("2024-01-01", "2024-01-01"),
        ("2024-01-01T00:00:00Z", "2024-01-01T00:00:00Z"),
        ("10m", "10m"),
        ("-2s", "-2s"),
        ("0s", "0s"),
        ("570.124.06", "570.124.06"),
        ("'79'", "79"),
        ('"true"', "true"),
        ("<<", "<<"),
        ("=", "="),
        ("gruß", "gruß"),
    ],
)
def test_a_word_is_what_it_looks_like(written: str, value: object) -> None:
    """Only true and false are booleans, only plain decimals are numbers, and nothing is a date."""
    found = parsed(f"a: {written}").root["a"]
    assert value == found
    assert type(value) is type(found)


@pytest.mark.parametrize("written", ["012", "0x1f", "0b10", "0o17", "1_000", ".inf", "-.inf", ".nan"])
def test_a_number_that_readers_disagree_about_is_refused(written: str) -> None:
    """YAML 1.1 and 1.2 read these as different values, or as no number one could compare."""
    message = f"f.yaml:1:4: number '{written}' is not plain decimal; quote it if it is text"
    assert [message] == complaints(f"a: {written}")
    assert written == parsed(f"a: '{written}'").root["a"]


def test_every_value_knows_its_place() -> None:
    document = parsed("# comment\na: 1\nb:\n  - x\n  - {c: é, d: [1, 2]}\n")
    assert Place("f.yaml", 2, 1) == document.place()
    assert Place("f.yaml", 2, 4) == document.place("a")
    assert Place("f.yaml", 4, 5) == document.place("b", 0)
    assert Place("f.yaml", 5, 9) == document.place("b", 1, "c")
    assert Place("f.yaml", 5, 19) == document.place("b", 1, "d", 1)
    assert Place("f.yaml", 5, 5) == document.place("b", 1, "missing")


def test_a_key_that_stands_twice_is_reported_with_both_places() -> None:
    text = "a: 1\nb: {c: 1}\na: {x: [2]}\n"
    assert ["f.yaml:3:1: key 'a' stands twice; first at f.yaml:1:1"] == complaints(text)


def test_the_first_of_two_equal_keys_is_kept_and_the_rest_still_read() -> None:
    problems: list[Problem] = []
    document = parse("a: 1\na: {x: [2]}\nb: 3\n", "f.yaml", problems)
    assert document is not None
    assert {"a": 1, "b": 3} == document.root


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: &x 1\n", "f.yaml:1:4: tags and anchors are not allowed; write the plain value"),
        ("a: !!python/object:os.system {}\n", "f.yaml:1:4: tags and anchors are not allowed; write the plain value"),
        ("&k a: 1\n", "f.yaml:1:1: tags and anchors are not allowed; write the plain value"),
        ("!!str a: 1\n", "f.yaml:1:1: tags and anchors are not allowed; write the plain value"),
        ("a: !x [1]\n", "f.yaml:1:4: tags and anchors are not allowed; write the plain value"),
        ("a: *x\n", "f.yaml:1:4: alias '*x' is not allowed; write the value out"),
        ("? [1, 2]\n: 3\n", "f.yaml:1:3: a key must be a word, not a list, mapping or alias"),
        ("? {a: 1}\n: 3\n", "f.yaml:1:3: a key must be a word, not a list, mapping or alias"),
        ("a: 1\n---\nb: 1\n", "f.yaml:2:1: a second document is not allowed; one file holds one document"),
        ("", "f.yaml:1:1: is empty"),
        ("# only a comment\n", "f.yaml:1:1: is empty"),
        ("a: 'x\n", "f.yaml:2:1: is not valid YAML: while scanning a quoted scalar, found unexpected end of stream"),
        ("a: b: c\n", "f.yaml:1:5: is not valid YAML: mapping values are not allowed in this context"),
    ],
)
def test_what_a_rule_file_does_not_need_is_refused(text: str, message: str) -> None:
    assert [message] == complaints(text)


def test_a_control_character_is_refused_where_it_stands() -> None:
    (message,) = complaints("a: 1\nb: x\x07y\n")
    assert message.startswith("f.yaml:2:")
    assert "control characters are not allowed" in message


def test_aliases_cannot_blow_a_file_up() -> None:
    """The classic bomb of nested aliases is as long in memory as on disk, and refused."""
    levels = ["l0: &l0 [x, x, x, x, x, x, x, x, x, x]"]
    levels += [f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 10)}]" for n in range(1, 30)]
    assert 30 + 290 == len(complaints("\n".join(levels)))


@pytest.mark.parametrize("opening", ["[", "{a: ", "- "])
def test_deep_nesting_is_refused_without_recursion(opening: str) -> None:
    (message,) = complaints(opening * 200_000)
    # libyaml has a limit of its own, for it reads brackets ahead.
    assert f"is nested deeper than {MAX_DEPTH} levels" in message or "exceeded maximum nesting depth" in message


def test_nesting_up_to_the_limit_is_read() -> None:
    assert parsed("[" * MAX_DEPTH + "]" * MAX_DEPTH)
    assert [f"f.yaml:1:{MAX_DEPTH + 2}: is nested deeper than {MAX_DEPTH} levels"] == complaints(
        "[" * (MAX_DEPTH + 2) + "]" * (MAX_DEPTH + 2)
    )


def test_several_mistakes_are_reported_at_once() -> None:
    assert 3 == len(complaints("a: &x 1\nb: 012\na: 2\n"))


def from_disk(file: Path) -> list[str]:
    problems: list[Problem] = []
    read(file, "f.yaml", problems)
    return [str(problem) for problem in problems]


def test_a_file_that_is_too_large_is_not_parsed(tmp_path: Path) -> None:
    file = tmp_path / "f.yaml"
    file.write_bytes(b"#" * MAX_BYTES)
    assert ["f.yaml:1:1: is empty"] == from_disk(file)
    file.write_bytes(b"#" * (MAX_BYTES + 1))
    assert ["f.yaml:1:1: is larger than 1 MiB; split it"] == from_disk(file)


def test_bytes_that_are_not_utf8_are_reported_where_they_stand(tmp_path: Path) -> None:
    file = tmp_path / "f.yaml"
    file.write_bytes(b"a: 1\nb: x\xff\n")
    assert ["f.yaml:2:5: is not UTF-8; save it as UTF-8"] == from_disk(file)


def test_a_byte_order_mark_is_ignored(tmp_path: Path) -> None:
    file = tmp_path / "f.yaml"
    file.write_bytes(b"\xef\xbb\xbfa: 1\n")
    assert [] == from_disk(file)


def test_a_file_that_is_not_there_is_a_problem_and_not_an_exception(tmp_path: Path) -> None:
    assert ["f.yaml:1:1: cannot be read: No such file or directory"] == from_disk(tmp_path / "none.yaml")
    assert ["f.yaml:1:1: cannot be read: Is a directory"] == from_disk(tmp_path)


def test_the_parser_without_libyaml_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """PyYAML may be built without its C part; values and places must not depend on it."""
    import yaml

    from triage.rulebook import yamlload

    text = "a: [1, 'x', {b: no}]\nc: >-\n  folded\n  text\nd: 1\nd: 2\n"
    fast: list[Problem] = []
    slow: list[Problem] = []
    one = parse(text, "f.yaml", fast)
    monkeypatch.setattr(yamlload, "_Parser", yaml.SafeLoader)
    other = parse(text, "f.yaml", slow)
    assert one is not None
    assert other is not None
    assert one.root == other.root
    assert fast == slow
    assert one.place("a", 2, "b") == other.place("a", 2, "b")
