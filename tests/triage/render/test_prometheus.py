"""The metrics of a report: their names are a promise, and the checker of Prometheus finds nothing wrong."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from typing import Any

import pytest

from triage.render.prometheus import escaped, to_prometheus

Golden = Callable[[str, str], None]


def checked(text: str, promtool: str) -> tuple[int, str]:
    done = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


def test_names_and_labels_are_as_promised(full: dict[str, Any], golden: Golden, promtool: str) -> None:
    text = to_prometheus(full, seconds=1.25)

    golden("report.prom", text)
    assert (0, "") == checked(text, promtool)


def test_a_report_that_can_say_nothing_claims_no_success(unknown: dict[str, Any], promtool: str) -> None:
    """An alert on the age of the last success then fires, and no GPU counts as well."""
    text = to_prometheus({**unknown, "complete": False})

    assert "last_success" not in text
    assert 'gpu_triage_status{state="unknown"} 1' in text
    assert 'gpu_triage_gpus{state="ok"} 0' in text
    assert (0, "") == checked(text, promtool)


@pytest.mark.parametrize(
    "name", ['a"b', "back\\slash", "line\nend", 'x"} 1\ngpu_triage_status{state="ok"', "\udcff", "\x1b[2J\x00\r", "名"]
)
def test_no_name_breaks_out_of_its_label(full: dict[str, Any], promtool: str, name: str) -> None:
    """Names of products and rules are foreign text."""
    gpu = {**full["gpus"][0], "uuid": None, "serial": name, "name": name}
    full["gpus"] = [gpu]
    full["incidents"] = [{**i, "where": {**i["where"], "gpu": gpu}} for i in full["incidents"]]
    lines = to_prometheus(full).split("\n")

    assert (0, "") == checked("\n".join(lines), promtool)
    assert all(line.startswith(("# ", "gpu_triage_")) for line in lines if line)
    assert 4 == sum(line.startswith("gpu_triage_status{") for line in lines)


def test_what_was_escaped_can_be_read_back() -> None:
    """By the rules of the text format: a backslash stands before a backslash, a quote and an n."""
    assert r"a\\nb\n\"c\"" == escaped('a\\nb\n"c"')


def test_a_gpu_in_two_incidents_has_one_state_the_worst(full: dict[str, Any], promtool: str) -> None:
    """And two incidents of one rule on one GPU are one sample."""
    first = {**full["incidents"][0], "state": "open"}
    worse, milder = {**first, "severity": "critical"}, {**first, "severity": "warning", "fingerprint": "other"}
    gpu = first["where"]["gpu"]
    text = to_prometheus({**full, "incidents": [milder, worse], "gpus": [gpu, gpu]})

    assert 1 == text.count('state="critical"} 1\ngpu_triage_gpu_state')
    assert '"} 2\n' in text.partition("# TYPE gpu_triage_gpu_incident gauge\n")[2]
    assert (0, "") == checked(text, promtool)


def test_what_is_acknowledged_or_over_makes_no_gpu_bad(full: dict[str, Any]) -> None:
    """Alerts stop when somebody has taken it on."""
    over = [{**incident, "state": "acknowledged"} for incident in full["incidents"]]

    assert "gpu_triage_gpu_incident" not in to_prometheus({**full, "incidents": over})
