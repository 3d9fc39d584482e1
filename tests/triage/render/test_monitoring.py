"""Each monitor gets the line that it reads, and nothing foreign breaks its form."""

from __future__ import annotations

import re
from typing import Any

import pytest

from triage.render.monitoring import npd_exit, to_checkmk, to_nagios, to_npd

CHECKMK = re.compile(r'[0-3] "GPU triage" critical=\d+\|warning=\d+\|info=\d+ [^|\n]+\n')


def test_nagios_splits_the_first_line_once_and_reads_its_counts(full: dict[str, Any]) -> None:
    first, *rest = to_nagios(full).splitlines()

    assert first.startswith("GPU-TRIAGE CRITICAL: ")
    assert "critical=1 warning=1 info=0" == first.partition("|")[2].strip()
    assert 1 == first.count("|")
    assert ["CRITICAL", "WARNING"] == [line.partition(":")[0] for line in rest]


def test_checkmk_reads_state_name_metrics_and_text(full: dict[str, Any], quiet: dict[str, Any]) -> None:
    assert CHECKMK.fullmatch(to_checkmk(full))
    assert ("2", "0") == (to_checkmk(full)[0], to_checkmk(quiet)[0])


def test_node_problem_detector_gets_one_short_line_and_its_own_exit_codes(full: dict[str, Any]) -> None:
    line = to_npd(full)

    assert 1 == line.count("\n")
    assert len(line) <= 81
    assert [0, 1, 1, 2] == [npd_exit(status) for status in ("ok", "warning", "critical", "unknown")]


@pytest.mark.parametrize("foreign", ["a|b=9999", "x\ny", "\x1b[2J", "名" * 300])
def test_what_a_user_names_forges_neither_data_nor_a_line(full: dict[str, Any], foreign: str) -> None:
    full["incidents"] = [{**incident, "summary": foreign, "title": foreign} for incident in full["incidents"]]

    assert CHECKMK.fullmatch(to_checkmk(full))
    assert 1 == to_nagios(full).count("|")
    assert 3 == to_nagios(full).count("\n")
    assert 1 == to_npd(full).count("\n")
    assert to_nagios(full).isascii()
