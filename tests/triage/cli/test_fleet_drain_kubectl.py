"""`fleet drain` and `fleet resume` through kubectl, on a stand-in that keeps nodes as a cluster does.

A cluster needs more than a test may start; the stand-in answers with kubectl's own exit codes and words.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.triage.cli.conftest import Run

KUBECTL = """#!{python}
import json, pathlib, sys
path = pathlib.Path({path!r})
nodes = json.loads(path.read_text())
words = [word for word in sys.argv[1:] if not word.startswith("--request-timeout")]
def gone(name):
    sys.exit(f'Error from server (NotFound): nodes "{{name}}" not found')
if words[0] == "get":
    if nodes == "down":
        sys.exit("The connection to the server localhost:8080 was refused - did you specify the right host or port?")
    print(json.dumps({{"kind": "List", "items": nodes}}))
elif words[0] in ("cordon", "uncordon", "annotate"):
    named = [w for w in words[1:] if w not in ("--overwrite", "node") and not w.startswith("gpu-triage/")]
    for name in named:
        node = next((n for n in nodes if n["metadata"]["name"] == name), None) or gone(name)
        if words[0] == "cordon":
            node["spec"]["unschedulable"] = True
        elif words[0] == "uncordon":
            node["spec"].pop("unschedulable", None)
        else:
            (what,) = [w for w in words if w.startswith("gpu-triage/")]
            notes = node["metadata"].setdefault("annotations", {{}})
            if what.endswith("-"):
                notes.pop(what[:-1], None)
            else:
                notes.update([what.split("=", 1)])
    path.write_text(json.dumps(nodes))
else:
    sys.exit(f"error: unknown command {{words[0]!r}} for \\"kubectl\\"")
"""


class Cluster:
    """The nodes g1 to g3, of which g3 is cordoned by somebody."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "nodes.json"
        nodes: list[dict[str, Any]] = [{"metadata": {"name": f"g{n}"}, "spec": {}} for n in (1, 2, 3)]
        nodes[2]["spec"]["unschedulable"] = True
        self.path.write_text(json.dumps(nodes))
        program = folder / "bin" / "kubectl"
        program.parent.mkdir()
        program.write_text(KUBECTL.format(python=sys.executable, path=str(self.path)))
        program.chmod(0o755)
        self.env = {"PATH": f"{program.parent}:/usr/bin:/bin"}

    def out(self) -> dict[str, str]:
        """The reason of each node that is cordoned."""
        nodes = json.loads(self.path.read_text())
        return {
            node["metadata"]["name"]: node["metadata"].get("annotations", {}).get("gpu-triage/reason", "")
            for node in nodes
            if node["spec"].get("unschedulable")
        }


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    return Cluster(tmp_path)


WORDS = ("--reason", "gpu-off-bus; $(reboot)", "--via", "kubectl")


def test_nodes_are_cordoned_with_the_reason_and_given_back(cluster: Cluster, run: Run) -> None:
    """One that somebody else cordoned keeps that, and is not given back; the reason is a word, never a command."""
    applied = run("fleet", "drain", "-w", "g[1-3]", *WORDS, "--apply", env=cluster.env)
    out = cluster.out()
    back = run("fleet", "resume", "-w", "g[1-3]", "--via", "kubectl", "--apply", env=cluster.env)

    assert (0, 0) == (applied.returncode, back.returncode), applied.stderr + back.stderr
    assert {"g1": "gpu-triage: gpu-off-bus; $(reboot)", "g2": "gpu-triage: gpu-off-bus; $(reboot)", "g3": ""} == out
    assert "g3: drained already; left as it is" in applied.stderr
    assert {"g3": ""} == cluster.out()


def test_nothing_is_done_unless_it_is_told_to_and_never_on_more_nodes_than_allowed(cluster: Cluster, run: Run) -> None:
    run("fleet", "drain", "-w", "g[1-2]", *WORDS, env=cluster.env)
    many = run("fleet", "drain", "-w", "g[1-2]", *WORDS, "--apply", "--max-nodes", "1", env=cluster.env)

    assert 2 == many.returncode
    assert {"g3": ""} == cluster.out()


def test_a_node_that_the_cluster_does_not_know_is_told_and_the_others_are_cordoned(cluster: Cluster, run: Run) -> None:
    done = run("fleet", "drain", "-w", "g[1,9]", *WORDS, "--apply", env=cluster.env)

    assert 4 == done.returncode
    assert "g9: Kubernetes does not know it; not drained" in done.stderr
    assert {"g1", "g3"} == cluster.out().keys()


def test_a_cluster_that_does_not_answer_is_told_in_one_line(cluster: Cluster, run: Run) -> None:
    cluster.path.write_text('"down"')
    down = run("fleet", "drain", "-w", "g1", *WORDS, "--apply", env=cluster.env)
    cluster.path.write_text('{"items": 3}')
    odd = run("fleet", "drain", "-w", "g1", *WORDS, "--apply", env=cluster.env)
    none = run("fleet", "drain", "-w", "g1", *WORDS, "--apply", env={"PATH": "/nonexistent"})

    assert (3, 3, 3) == (down.returncode, odd.returncode, none.returncode)
    assert "was refused" in down.stderr
    assert "something else than nodes" in odd.stderr
    assert "kubectl is not installed here; run this where kubectl and its configuration are" in none.stderr
    assert {1} == {len(each.stderr.splitlines()) for each in (down, odd, none)}
