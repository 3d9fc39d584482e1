"""The lines around the evidence are found again, wherever they stand."""

from __future__ import annotations

import gzip
import json
import random
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest

from triage.cli.reports import from_logs, load_rulebook
from triage.context import Stretch, read, stretches
from triage.schema import REPORT
from triage.streams import BLOCK
from triage.window import Window

XID = "2025-11-26T13:00:00Z n1 kernel: NVRM: Xid (PCI:0000:01:00): 79, pid=1, GPU has fallen off the bus."


def test_stretches_that_touch_are_one() -> None:
    assert [Stretch(1, 4), Stretch(10, 17)] == stretches([2, 12, 15, 12], 2)


@pytest.mark.parametrize("seed", range(6))
def test_any_lines_are_found_in_a_log_of_many_blocks(seed: int, tmp_path: Path) -> None:
    chosen = random.Random(seed)
    lines = [f"{n} " + "x" * chosen.choice((0, 80, 80, 4000)) for n in range(1, 6001)]
    path = tmp_path / "log"
    path.write_text("\n".join(lines) + chosen.choice(("", "\n")))
    assert path.stat().st_size > 2 * BLOCK
    wanted = stretches(chosen.sample(range(1, 6001), 40), chosen.randrange(4))
    numbers = [n for s in wanted for n in range(s.first, min(s.last, 6000) + 1)]
    found = dict(read(str(path), wanted))
    assert numbers == list(found)
    assert all(int(text.split()[0]) == n for n, text in found.items())


def report(path: Path, around: int = 1, **more: Any) -> dict[str, Any]:
    made = from_logs(load_rulebook(None, []), [str(path)], now=1764165600.0, tz_offset=0.0, around=around, **more)
    jsonschema.validate(made, json.loads(REPORT.read_text()))
    return made


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_an_incident_gets_the_lines_before_and_after(pack: Any, tmp_path: Path) -> None:
    path = tmp_path / "kern.log"
    before = [f"2025-11-26T12:59:{n:02d}Z n1 kernel: usb 1-1: line {n}" for n in range(60)]
    path.write_bytes(pack("\n".join([*before, XID, "2025-11-26T13:00:01Z n1 kernel: \x1b[31mlast\u202e"]).encode()))
    (incident,) = report(path)["incidents"]
    (stretch,) = incident["context"]
    assert [(60, False), (61, True), (62, False)] == [(e["line"], e["evidence"]) for e in stretch["lines"]]
    assert stretch["lines"][0]["text"].endswith("line 59")
    assert all(ord(letter) >= 32 and letter != "\u202e" for e in stretch["lines"] for letter in e["text"])


def test_nothing_is_added_where_nothing_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "kern.log"
    path.write_text(XID + "\n")
    (incident,) = report(path, 0)["incidents"]
    assert "context" not in incident


def test_the_lines_of_a_window_are_those_of_the_window(tmp_path: Path) -> None:
    lines = [f"2025-11-26T{h:02d}:{m:02d}:{s:02d}Z n1 kernel: usb 1-1: x" for h in range(13) for m in range(60)
             for s in range(0, 60, 2)]  # fmt: skip
    path = tmp_path / "kern.log"
    path.write_text("\n".join([*lines, XID]) + "\n")
    made = report(path, window=Window(1764165600.0 - 3600 - 60, None))
    (stretch,) = made["incidents"][0]["context"]
    assert stretch["lines"][1]["text"].startswith(XID[:60])
    assert "T12:59:58Z" in stretch["lines"][0]["text"]


def test_a_log_that_is_gone_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "kern.log"
    path.write_text(XID + "\n")
    import triage.context

    original = triage.context.add

    def late(*given: Any) -> list[str]:
        path.unlink()
        return original(*given)

    monkeypatch.setattr(triage.context, "add", late)
    made = report(path)
    assert [] == made["incidents"][0]["context"]
    assert any("cannot be read (No such file" in notice for notice in made["notices"])
