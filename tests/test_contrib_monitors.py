"""What ships for node-problem-detector, Kubernetes, cron, the node exporter and Grafana, checked as those would."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests import kernel_ring
from tests.fake_nvml import Scenario
from tests.needed import missing
from tests.patience import WITHIN, until
from tests.ports import free_port
from triage.render import prometheus
from triage.watch import log

ROOT = Path(__file__).parent.parent
CONTRIB = ROOT / "contrib"


@pytest.fixture
def program(tmp_path: Path, fake_nvml: Path, scenario: Callable[[int], Scenario]) -> tuple[Path, Scenario]:
    """This program as it would stand on a node with two GPUs, and what those answer."""
    gpus = scenario(2)
    path = tmp_path / "gpu-triage"
    path.write_text(
        f"#!/bin/sh\nexport LD_LIBRARY_PATH={fake_nvml} FAKE_NVML_SCENARIO={gpus.path}\n"
        f"export GPU_TRIAGE_STATE_DIR={tmp_path}/state PYTHONPATH={ROOT} GPU_TRIAGE_CONFIG=\n"
        f'exec {sys.executable} -m triage "$@"\n'
    )
    path.chmod(0o755)
    return path, gpus


# node-problem-detector ----------------------------------------------------------------------------------------------

NPD = json.loads((CONTRIB / "node-problem-detector" / "gpu-triage-monitor.json").read_text())
NPD_KEYS = {"plugin", "pluginConfig", "source", "metricsReporting", "conditions", "rules"}
NPD_PLUGIN_KEYS = {
    "invoke_interval", "timeout", "max_output_length", "concurrency", "enable_message_change_based_condition_update",
    "skip_initial_status",
}  # fmt: skip
"""What CustomPluginConfig of node-problem-detector reads (pkg/custompluginmonitor/types/config.go)."""


def seconds(text: str) -> float:
    return float(text[:-1]) * {"s": 1, "m": 60}[text[-1]]


def test_the_monitor_is_one_that_node_problem_detector_takes() -> None:
    assert set(NPD) == NPD_KEYS
    assert "custom" == NPD["plugin"]
    assert set(NPD["pluginConfig"]) <= NPD_PLUGIN_KEYS
    conditions = {condition["type"]: condition for condition in NPD["conditions"]}
    for rule in NPD["rules"]:
        assert {"type", "condition", "reason", "path", "args", "timeout"} == set(rule)
        assert rule["condition"] in conditions
        assert rule["reason"] != conditions[rule["condition"]]["reason"]
        # It refuses a rule whose time is longer than that of all, and calls unknown what is cut off.
        assert seconds(rule["timeout"]) <= seconds(NPD["pluginConfig"]["timeout"])
        assert seconds(rule["timeout"]) < seconds(NPD["pluginConfig"]["invoke_interval"])
        assert float(rule["args"][rule["args"].index("--deadline") + 1]) < seconds(rule["timeout"])


@pytest.mark.parametrize(("fault", "code"), [("", 0), ("lost", 1), ("library", 2)])
def test_the_plugin_answers_as_node_problem_detector_expects(
    program: tuple[Path, Scenario], fault: str, code: int
) -> None:
    """0 well, 1 a problem, 2 unknown; one line, short enough."""
    path, gpus = program
    kernel_ring.flush()
    if fault == "lost":
        gpus.gpu(1).lost()
    if fault == "library":
        path.write_text(path.read_text().replace("LD_LIBRARY_PATH=", "LD_LIBRARY_PATH=/nowhere"))
    (rule,) = NPD["rules"]

    done = subprocess.run([path, *rule["args"]], capture_output=True, text=True, timeout=seconds(rule["timeout"]))

    assert code == done.returncode, done.stdout
    assert 1 == done.stdout.count("\n")
    assert len(done.stdout.rstrip("\n")) <= NPD["pluginConfig"]["max_output_length"]


# Kubernetes ---------------------------------------------------------------------------------------------------------


def test_the_manifest_holds_together() -> None:
    """A name that is used is one that is there; the node is mounted for reading alone, but for the history."""
    text = (CONTRIB / "kubernetes" / "gpu-triage-npd.yaml").read_text()
    objects = {each["kind"]: each for each in yaml.safe_load_all(text)}

    name = objects["ServiceAccount"]["metadata"]["name"]
    binding, pod = objects["ClusterRoleBinding"], objects["DaemonSet"]["spec"]["template"]
    assert {name} == {binding["subjects"][0]["name"], binding["roleRef"]["name"], pod["spec"]["serviceAccountName"]}
    assert objects["DaemonSet"]["spec"]["selector"]["matchLabels"] == pod["metadata"]["labels"]
    (container,) = pod["spec"]["containers"]
    mounts = {mount["name"]: mount for mount in container["volumeMounts"]}
    assert set(mounts) == {volume["name"] for volume in pod["spec"]["volumes"]}
    hosts = {volume["name"] for volume in pod["spec"]["volumes"] if "hostPath" in volume}
    assert {"state"} == {each for each in hosts if not mounts[each].get("readOnly")}
    assert any("gpu-triage-monitor.json" in word for word in container["args"])
    assert {"get", "patch", "create", "update"} >= {v for r in objects["ClusterRole"]["rules"] for v in r["verbs"]}
    assert "secrets" not in json.dumps(objects["ClusterRole"])


# cron ---------------------------------------------------------------------------------------------------------------


def test_the_crontab_says_nothing_while_all_is_well_and_tells_what_is_not(program: tuple[Path, Scenario]) -> None:
    path, gpus = program
    kernel_ring.flush()
    (line,) = [each for each in (CONTRIB / "cron" / "gpu-triage").read_text().splitlines() if each.startswith("*")]
    times, user, command = line.split(maxsplit=6)[:5], line.split()[5], line.split(maxsplit=6)[6]
    words = shlex.split(command.replace("/usr/bin/gpu-triage", str(path)))

    assert (["*/5", "*", "*", "*", "*"], "root") == (times, user)
    assert "%" not in command  # to cron a new line
    well = subprocess.run(words, capture_output=True, text=True, timeout=90)
    assert (0, "", "") == (well.returncode, well.stdout, well.stderr)
    gpus.gpu(1).lost()
    ill = subprocess.run(words, capture_output=True, text=True, timeout=90)
    assert 2 == ill.returncode
    assert ill.stdout.startswith("GPU-TRIAGE CRITICAL")


# the node exporter --------------------------------------------------------------------------------------------------


@pytest.fixture
def node_exporter(tmp_path: Path) -> Iterator[tuple[Path, int]]:
    """Debian's node exporter with its textfile collector alone: the folder, and the port."""
    found = shutil.which("prometheus-node-exporter")
    if found is None:
        missing("the node exporter is missing; install the Debian package prometheus-node-exporter")
    assert found is not None
    folder = tmp_path / "textfile"
    folder.mkdir()
    port = free_port()
    words = [
        found, f"--web.listen-address=127.0.0.1:{port}", "--collector.disable-defaults", "--collector.textfile",
        f"--collector.textfile.directory={folder}",
    ]  # fmt: skip
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            yield folder, port
        finally:
            process.kill()


def scraped(port: int) -> str:
    def answered() -> str:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=WITHIN) as answer:
                return str(answer.read().decode())
        except OSError:
            return ""

    return until(answered)


def test_the_node_exporter_reads_the_textfile(node_exporter: tuple[Path, int], program: tuple[Path, Scenario]) -> None:
    folder, port = node_exporter
    words = [str(program[0]), "check", "--format", "prometheus", "--output", str(folder / "gpu-triage.prom")]
    subprocess.run(words, timeout=120, check=False)

    text = scraped(port)

    assert "\nnode_textfile_scrape_error 0\n" in text
    assert re.search(r'^gpu_triage_gpus\{state="ok"\} 2$', text, re.MULTILINE)
    assert re.search(r"^gpu_triage_sweep_last_success_timestamp_seconds \d", text, re.MULTILINE)


# Grafana ------------------------------------------------------------------------------------------------------------

BOARD: dict[str, Any] = json.loads((CONTRIB / "grafana" / "gpu-triage.json").read_text())
METRIC = re.compile(r"\bgpu_triage_[a-z_]+")


def queries() -> list[str]:
    return [target["expr"].replace("$node", ".*") for panel in BOARD["panels"] for target in panel["targets"]]


def test_the_dashboard_asks_only_for_metrics_that_there_are() -> None:
    sources = Path(prometheus.__file__).read_text() + Path(log.__file__).read_text()
    written = set(METRIC.findall(sources))

    assert queries()
    assert set() == {name for query in queries() for name in METRIC.findall(query)} - written


def test_prometheus_understands_every_query_of_the_dashboard(promtool: str, tmp_path: Path) -> None:
    rules = [{"record": f"q{number}", "expr": query} for number, query in enumerate(queries())]
    (tmp_path / "rules.yml").write_text(json.dumps({"groups": [{"name": "board", "rules": rules}]}))

    done = subprocess.run([promtool, "check", "rules", tmp_path / "rules.yml"], capture_output=True, text=True)

    assert 0 == done.returncode, done.stdout + done.stderr
    assert f"{len(rules)} rules found" in done.stdout


def test_panels_have_names_and_do_not_lie_on_one_another() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in BOARD["panels"]:
        grid = panel["gridPos"]
        across, down = range(grid["x"], grid["x"] + grid["w"]), range(grid["y"], grid["y"] + grid["h"])
        cells = {(x, y) for x in across for y in down}
        assert not cells & taken
        assert max(x for x, _ in cells) < 24
        taken |= cells
        assert panel["title"]
        assert panel["description"].endswith(".")
    assert len(BOARD["panels"]) == len({panel["id"] for panel in BOARD["panels"]})
