"""One line for monitoring: the worst first, and nothing foreign that could break it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from triage.render.oneline import MOST, status_line


def test_the_status_lines_are_golden(
    full: dict[str, Any], quiet: dict[str, Any], unknown: dict[str, Any], golden: Callable[[str, str], None]
) -> None:
    """Critical, ok and unknown."""
    golden("status_lines.txt", "".join(f"{status_line(report)}\n" for report in (full, quiet, unknown)))


def test_the_first_eighty_characters_hold_verdict_and_gpu(full: dict[str, Any]) -> None:
    """Where monitoring cuts, enough is left."""
    assert "GPU-TRIAGE CRITICAL: HARDWARE 0.97 GPU 3 0000:4e:00.0" == status_line(full)[:53]


def test_foreign_text_cannot_forge_performance_data(full: dict[str, Any]) -> None:
    """There is one bar, and it is ours; there is one line, and it ends at its end."""
    full["incidents"][0]["title"] = "lost | critical=0\nGPU-TRIAGE OK: fine \x1b[2J" + "x" * 1000
    line = status_line(full)

    assert 1 == line.count("|")
    assert line.isprintable()
    assert line.endswith(" | critical=1 warning=1 info=0")
    assert len(line) < MOST + 80


def test_a_closed_incident_is_not_why_a_node_is_red(full: dict[str, Any]) -> None:
    """A fault is over when it is over."""
    full["incidents"][0]["state"] = "closed"
    full["status"] = "warning"

    assert status_line(full).startswith("GPU-TRIAGE WARNING: UNDETERMINED (hardware 0.52) the node:")


def test_unknown_says_what_was_not_read_and_what_was(unknown: dict[str, Any]) -> None:
    """Unknown is never a bare word."""
    line = status_line(unknown)

    assert "not-installed: no NVIDIA driver on this machine" in line
    assert "read: kernel-log" in line


def test_unknown_without_any_source_gives_the_notice(unknown: dict[str, Any]) -> None:
    """Then something went wrong before reading, and that is the reason."""
    unknown["sources"] = []
    unknown["notices"] = ["no answer within 20 s"]

    assert status_line(unknown).startswith("GPU-TRIAGE UNKNOWN: no answer within 20 s |")
