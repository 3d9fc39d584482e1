"""What another rulebook would have said is told incident by incident, with what moved it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from triage.render.fitting import difference_json, difference_text
from triage.replay import Difference, Replay
from triage.rulebook.load import load
from triage.rulebook.model import Rulebook

SHIPPED = load()
OFF_BUS = "NVRM: Xid (PCI:0000:4e:00): 79, GPU has fallen off the bus."


def powered(points: int) -> Rulebook:
    """The shipped rulebook, in which a lost GPU speaks for power so much."""
    return SHIPPED._replace(
        rules=tuple(
            rule._replace(trigger=rule.trigger._replace(points={"hardware.power": points}))
            if rule.id == "gpu-off-bus"
            else rule
            for rule in SHIPPED.rules
        )
    )


def without(name: str) -> Rulebook:
    return SHIPPED._replace(rules=tuple(rule for rule in SHIPPED.rules if rule.id != name))


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "kern.log"
    path.write_text(f"{OFF_BUS}\n")
    return path


def one(old: Rulebook, new: Rulebook, path: Path) -> Difference:
    (difference,) = Replay(old, new, [str(path)])
    return difference


def test_the_same_rulebook_changes_nothing(log: Path) -> None:
    run = Replay(SHIPPED, SHIPPED, [str(log)])

    assert [] == list(run)
    assert (1, []) == (run.logs, run.unread)


def test_another_verdict_is_told_with_what_moved_it(log: Path) -> None:
    found = one(powered(1), powered(7), log)

    assert ("verdict", "gpu-off-bus", "0000:4e:00.0") == found[1:4]
    assert found.after is not None
    assert found.after.startswith("critical hardware.power 0.")
    text = difference_text(found)
    assert f"verdict    {log}: gpu-off-bus on 0000:4e:00.0: critical undetermined (" in text
    assert "trigger: seen; hardware.power +1 -> +7" in text


def test_a_change_of_confidence_or_of_what_leads_is_told_apart(log: Path) -> None:
    assert "confidence" == one(powered(2), powered(3), log).what
    assert "leads" == one(powered(0), powered(2), log).what


def test_an_incident_that_only_one_of_them_sees_is_new_or_gone(log: Path) -> None:
    gone = [d for d in Replay(SHIPPED, without("gpu-off-bus"), [str(log)]) if d.rule == "gpu-off-bus"]
    new = [d for d in Replay(without("gpu-off-bus"), SHIPPED, [str(log)]) if d.rule == "gpu-off-bus"]

    assert [("gone", None)] == [(d.what, d.after) for d in gone]
    assert [("new", None)] == [(d.what, d.before) for d in new]


def test_a_corpus_is_replayed_case_by_case_and_a_folder_file_by_file(log: Path, tmp_path: Path) -> None:
    corpus = tmp_path / "sub" / "corpus.jsonl"
    corpus.parent.mkdir()
    rows = [{"id": "a", "log": OFF_BUS, "cause": "platform"}, {"id": "b", "log": None, "cause": "platform"}]
    corpus.write_text("".join(json.dumps(row) + "\n" for row in rows))
    run = Replay(powered(1), powered(7), [str(tmp_path)])

    assert [str(log), "a"] == [difference.case for difference in run]
    assert 2 == run.logs


def test_what_cannot_be_read_is_named_and_the_rest_is_replayed(log: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.jsonl").write_text("{\n")
    (tmp_path / "empty").mkdir()
    asked = [str(tmp_path / "nowhere"), str(tmp_path / "bad.jsonl"), str(tmp_path / "empty"), str(log)]
    run = Replay(powered(1), powered(7), asked)

    assert 1 == len(list(run))
    assert 3 == len(run.unread)
    assert ["nowhere: no such file; check the path", "bad.jsonl", "empty: the folder holds no files"] == [
        run.unread[0].rpartition("/")[2],
        run.unread[1].rpartition("/")[2].partition(":")[0],
        run.unread[2].rpartition("/")[2],
    ]


def test_a_difference_is_told_as_json(log: Path) -> None:
    found = difference_json(one(powered(1), powered(7), log))

    assert ("verdict", "gpu-off-bus") == (found["what"], found["rule"])
    assert {"hardware.power": 7} == found["moved"][0]["after"]["points"]
    json.dumps(found)
