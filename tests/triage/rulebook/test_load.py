"""A rulebook loads whole, or everything wrong with it is said with its place."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.triage.rulebook.conftest import Broken
from triage.rulebook.convert import seconds
from triage.rulebook.load import RULES, RulebookError, load
from triage.rulebook.model import (
    Absent,
    Action,
    Count,
    Delta,
    Expect,
    Fact,
    Given,
    Metric,
    Otherwise,
    Place,
    Reference,
    Rule,
    Seen,
    Select,
    Sequence,
    Spread,
    Suppress,
)
from triage.rulebook.problems import did_you_mean, shown

BUS, EXCEPTION, SIGNALS = "gpu-off-bus.yaml", "compute-exception.yaml", "signals/gpu.yaml"


def rules(root: Path) -> dict[str, Rule]:
    return {rule.id: rule for rule in load(root).rules}


def test_the_shipped_rulebook_loads() -> None:
    rulebook = load()
    assert rulebook == load(RULES)
    assert 177 == len(rulebook.xids)
    assert "Xid" not in rulebook.xids[79].meaning
    assert sorted(rule.id for rule in rulebook.rules) == sorted(
        file.stem for file in RULES.glob("*.yaml") if file.name not in ("causes.yaml", "calibration.yaml")
    )
    assert (1, 2, 4, 7) == (1, 2, rulebook.strong, rulebook.decisive)


def test_a_rule_becomes_typed_values(root: Path) -> None:
    rule = rules(root)["gpu-off-bus"]
    assert ("gpu-off-bus", 3, "stable", "critical", "gpu") == rule[:2] + rule[3:6]
    assert Place("rules/gpu-off-bus.yaml", 1, 1) == rule.place
    assert (600.0, 120.0) == (rule.look_before, rule.look_after)
    assert ("xid-45", "aer-fatal", "compute-exception") == rule.explains
    assert (
        Reference("aer", "Linux PCIe AER guide", "https://docs.kernel.org/PCI/pcieaer-howto.html")
        == (rule.references[1])
    )
    assert (Seen(Select(xids=(79,))),) == rule.trigger.any
    assert {"workload": -4} == rule.trigger.points
    assert Action("hardware.link", "Reseat the riser and the GPU.", "needs-hands") == rule.actions[0]


def test_evidence_becomes_typed_values(root: Path) -> None:
    found = {item.id: item for item in rules(root)["gpu-off-bus"].evidence}
    before = found["aer-before"]
    assert Seen(Select(("aer-fatal",)), "pci-path", "before", 90.0) == before.clause
    assert {"hardware.link": 4, "hardware.gpu": 2} == before.points
    assert Otherwise({"hardware.link": -1}, "AER was readable and silent.") == before.otherwise
    assert ("bus", ("aer",), None, None) == (before.group, before.ref, before.severity, before.settle)
    assert Place("rules/gpu-off-bus.yaml", 20, 5) == before.place
    assert Delta("gpu.pcie.replays", 3600.0, at_least=100) == found["replays-climbing"].clause
    assert Count(Select(trigger=True), 604800.0, 180.0, 2) == found["seen-before-here"].clause
    assert ("hot", "warning") == (found["hot"].group, found["hot"].severity)
    assert Metric("gpu.temperature", at_least=92) == found["hot"].clause
    assert "Read the event log of the management controller." == found["bmc-power"].settle


def test_the_other_clauses_become_typed_values(root: Path) -> None:
    rule = rules(root)["compute-exception"]
    found = {item.id: item.clause for item in rule.evidence}
    assert (
        Spread(Select(trigger=True), "gpu", 86400.0, within="node", alike=("job.id",), at_least=2)
        == found["follows-the-job"]
    )
    assert Sequence(Select(xids=(48, 63)), Select(trigger=True), 600.0, "node") == found["ecc-before"]
    assert Absent(Select(("aer-fatal",)), 86400.0, "node") == found["quiet-bus"]
    assert Fact("driver.version", ("570.124.*", "570.133.*")) == found["known-driver"]
    assert (Suppress(Fact("job.tag", ("fault-injection",)), "Chaos jobs fault on purpose."),) == rule.suppress
    assert Seen(Select(xids=(13, 31), where={"text": "Exception|Fault"}), "node") == rule.trigger.any[0]
    assert Metric("gpu.fault", is_="true") == rule.trigger.any[2]
    assert (600.0, 120.0) == (rule.look_before, rule.look_after)


def test_a_family_means_each_of_its_leaves_unless_the_leaf_is_named_too(root: Path) -> None:
    found = {item.id: item.points for item in rules(root)["gpu-off-bus"].evidence}
    hardware = {f"hardware.{leaf}": 1 for leaf in ("gpu", "link", "fabric", "power", "host")}
    assert hardware | {"hardware.power": 4} == found["bmc-power"]
    assert -2 == found["seen-before-here"]["driver.module"] == found["seen-before-here"]["driver.firmware"]


def test_a_log_clause_with_a_pattern_brings_a_signal_of_its_own(root: Path) -> None:
    rulebook = load(root)
    own = {pattern.id: pattern for pattern in rulebook.signals if "/" in pattern.id}
    assert {"gpu-off-bus/bmc-power", "compute-exception/trigger-2"} == own.keys()
    power = own["gpu-off-bus/bmc-power"]
    assert ("(?i)power (?P<what>supply|fault)", "service", ("ipmievd",)) == power[1:4]
    assert (None, "The management controller logged a power event.") == (power.device, power.says)
    clause = next(item.clause for item in rulebook.rules[1].evidence if item.id == "bmc-power")
    assert Seen(Select(("gpu-off-bus/bmc-power",))) == clause


def test_a_group_named_pci_is_the_device_of_a_rules_own_pattern(root: Path) -> None:
    file = root / EXCEPTION
    file.write_text(file.read_text().replace("nvidia-uvm: fatal", r"nvidia-uvm: (?P<pci>\S+) fatal"))
    assert ["pci"] == [p.device for p in load(root).signals if p.id == "compute-exception/trigger-2"]


def test_the_tests_of_a_rule_become_typed_values(root: Path) -> None:
    first, second, _ = rules(root)["gpu-off-bus"].tests
    line = "NVRM: Xid (PCI:0000:4e:00): 79, GPU has fallen off the bus."
    assert (
        Given(-518400.0, line),
        Given(-2.0, "power supply failed", "service:ipmievd"),
        Given(0.0, line),
        Given(-60.0, metric="gpu.temperature", value=61, pci="0000:4e:00.0"),
    ) == first.given
    assert {"replays-climbing": False} == first.fleet
    assert ("hot",) == first.unknown
    assert Expect("hardware", "hardware.link", 0.95, ("seen-before-here", "trigger")) == first.expect
    assert "warning" == second.expect.severity
    assert Place("rules/gpu-off-bus.yaml", 56, 5) == first.place


@pytest.mark.parametrize(
    ("written", "value"),
    [("90s", 90.0), ("10m", 600.0), ("2h", 7200.0), ("7d", 604800.0), ("250ms", 0.25), ("-6d", -518400.0), ("0s", 0.0)],
)
def test_durations_are_seconds(written: str, value: float) -> None:
    assert value == seconds(written)


def test_the_digest_changes_with_any_byte_and_any_name(root: Path) -> None:
    """Same rules, same digest; a changed comment, a moved signal or a renamed file is another rulebook."""
    digests = [load(root).digest]
    assert digests[0] == load(root).digest
    assert 64 == len(digests[0])
    with (root / BUS).open("a") as file:
        file.write("# a comment\n")
    digests.append(load(root).digest)
    (root / SIGNALS).rename(root / "signals" / "other.yaml")
    digests.append(load(root).digest)
    assert 3 == len(set(digests))


def test_the_digest_does_not_depend_on_where_the_rules_lie(root: Path, tmp_path: Path) -> None:
    digest = load(root).digest
    (tmp_path / "moved").mkdir()
    root.rename(tmp_path / "moved" / "elsewhere")
    assert digest == load(tmp_path / "moved" / "elsewhere").digest


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        # Shape
        (
            BUS,
            "    supports: {site: moderate}",
            "    supportz: {site: moderate}",
            "rules/gpu-off-bus.yaml:40:5: unknown key 'supportz' in evidence 'hot'; did you mean 'supports'?",
        ),
        (
            BUS,
            "title: GPU stopped",
            "titl: GPU stopped",
            "rules/gpu-off-bus.yaml:1:1: missing key 'title' in rule 'gpu-off-bus'",
        ),
        (
            BUS,
            "    metric: {of: gpu.temperature, at_least: 92}",
            "    severity: info",
            "rules/gpu-off-bus.yaml:38:5: evidence 'hot' needs exactly one of log, signal, metric, delta, count, "
            "sequence, absent, spread, fact or known_bug, not none",
        ),
        (
            BUS,
            "    severity: warning\n",
            "    severity: warning\n    fact: {driver.version: '5*'}\n",
            "rules/gpu-off-bus.yaml:38:5: evidence 'hot' needs exactly one of log, signal, metric, delta, count, "
            "sequence, absent, spread, fact or known_bug, not metric and fact",
        ),
        (
            BUS,
            "of: gpu.temperature, at_least: 92",
            "of: gpu.temperature, at_least: 92, at_most: 99",
            "rules/gpu-off-bus.yaml:39:13: metric clause needs exactly one of at_least, at_most or is, "
            "not at_least and at_most",
        ),
        (
            BUS,
            "of: gpu.temperature, at_least: 92",
            "of: gpu.temperature, at_least: hot",
            "rules/gpu-off-bus.yaml:39:45: 'at_least' in metric clause must be a number, not text",
        ),
        (
            BUS,
            "severity: critical",
            "severity: criticl",
            "rules/gpu-off-bus.yaml:6:11: 'severity' in rule 'gpu-off-bus' is 'criticl', not one of info, warning, "
            "critical; did you mean 'critical'?",
        ),
        (
            BUS,
            "supports: {hardware.link: strong, hardware.gpu: moderate}",
            "supports: {hardware.link: strongly}",
            "rules/gpu-off-bus.yaml:23:31: 'hardware.link' in points is 'strongly', not one of weak, moderate, strong, "
            "decisive; did you mean 'strong'?",
        ),
        (
            BUS,
            "look: {before: 10m,",
            "look: {before: 10 minutes,",
            "rules/gpu-off-bus.yaml:17:16: 'before' in look '10 minutes' is not a duration such as 90s, 10m, 2h or 7d",
        ),
        (
            BUS,
            "look: {before: 10m,",
            "look: {before: 600,",
            "rules/gpu-off-bus.yaml:17:16: 'before' in look must be text, not 600; quote it",
        ),
        (
            BUS,
            "  log: {xid: 79}",
            "  log: {xid: 0}",
            "rules/gpu-off-bus.yaml:13:14: 'xid' in log clause is 0, less than 1",
        ),
        (
            BUS,
            "  log: {xid: 79}",
            "  log: {xid: [79, 79]}",
            "rules/gpu-off-bus.yaml:13:19: 79 stands twice in 'xid' in log clause",
        ),
        (
            BUS,
            "  log: {xid: 79}",
            "  log: {xid: []}",
            "rules/gpu-off-bus.yaml:13:14: 'xid' in log clause is an empty list",
        ),
        (
            BUS,
            "  log: {xid: 79}",
            "  log: {same: gpu}",
            "rules/gpu-off-bus.yaml:13:8: log clause needs at least one of xid, of or match, not none",
        ),
        (
            BUS,
            "  log: {xid: 79}",
            "  log: {xid: yes}",
            "rules/gpu-off-bus.yaml:13:14: 'xid' in log clause must be a whole number or a list, not text",
        ),
        (
            BUS,
            "  log: {xid: 79}",
            "  log: {xid: 79, programs: [x]}",
            "rules/gpu-off-bus.yaml:13:18: 'programs' needs match beside it in log clause",
        ),
        (
            BUS,
            "    fleet: {replays-climbing: false}",
            "    fleet: {replays-climbing: no}",
            "rules/gpu-off-bus.yaml:62:31: 'replays-climbing' in fleet must be true or false, not text",
        ),
        (
            BUS,
            "      - {at: -6d, line: ",
            "      - {at: -6d, value: 1, line: ",
            "rules/gpu-off-bus.yaml:58:19: 'value' needs metric beside it in given",
        ),
        (
            EXCEPTION,
            "{driver.version: ['570.124.*', '570.133.*']}",
            "{driver.version: 570.124}",
            "rules/compute-exception.yaml:37:28: 'driver.version' in fact clause must be text or a list, "
            "not 570.124; quote it",
        ),
        (
            EXCEPTION,
            "{driver.version: ['570.124.*', '570.133.*']}",
            "{driver.version: '5*', kernel.release: '6*'}",
            "rules/compute-exception.yaml:37:11: 'fact' in fact clause has 2 keys, not 1",
        ),
        (
            EXCEPTION,
            "schema: 1",
            "schema: 2",
            "rules/compute-exception.yaml:1:9: 'schema' in rule 'compute-exception' is 2, not 1",
        ),
        (
            SIGNALS,
            '    examples: ["NVRM: Xid (PCI:0000:b3:00): 79, GPU has fallen off the bus."]\n',
            "",
            "rules/signals/gpu.yaml:3:5: missing key 'examples' in signal 'xid'",
        ),
        (
            "causes.yaml",
            "strong: 4",
            "strong: 4.5",
            "rules/causes.yaml:4:40: 'strong' in points must be a whole number, not 4.5",
        ),
        # Names
        (
            BUS,
            "opposes: {driver: moderate}",
            "opposes: {drivers: moderate}",
            "rules/gpu-off-bus.yaml:36:15: unknown cause 'drivers'; did you mean 'driver'?",
        ),
        (
            BUS,
            "opposes: {workload: strong}",
            "opposes: {hardware.gpus: strong}",
            "rules/gpu-off-bus.yaml:14:13: unknown cause 'hardware.gpus'; did you mean 'hardware.gpu'?",
        ),
        (
            BUS,
            "signal: {of: aer-fatal,",
            "signal: {of: [xid, aer-fatle],",
            "rules/gpu-off-bus.yaml:21:24: unknown signal 'aer-fatle'; did you mean 'aer-fatal'?",
        ),
        (
            BUS,
            "explains: [xid-45, aer-fatal, compute-exception]",
            "explains: [xid-45, compute-exceptions]",
            "rules/gpu-off-bus.yaml:18:20: unknown signal or rule 'compute-exceptions'; "
            "did you mean 'compute-exception'?",
        ),
        (
            BUS,
            "    ref: [aer]",
            "    ref: [xid, ear]",
            "rules/gpu-off-bus.yaml:25:16: unknown reference 'ear'; did you mean 'aer'?",
        ),
        (
            BUS,
            "{for: driver, do",
            "{for: driverr, do",
            "rules/gpu-off-bus.yaml:53:11: unknown cause 'driverr'; did you mean 'driver'?",
        ),
        (
            BUS,
            "fleet: {replays-climbing: false}",
            "fleet: {replays-climb: false}",
            "rules/gpu-off-bus.yaml:62:13: unknown evidence 'replays-climb'; did you mean 'replays-climbing'?",
        ),
        (
            BUS,
            "unknown: [hot]",
            "unknown: [ho]",
            "rules/gpu-off-bus.yaml:63:15: unknown evidence 'ho'; did you mean 'hot'?",
        ),
        (
            BUS,
            "ask: [aer-before]",
            "ask: [hot, zzz]",
            "rules/gpu-off-bus.yaml:71:48: unknown evidence 'zzz'",
        ),
        (
            BUS,
            "uses: [seen-before-here, trigger]",
            "uses: [seen-before-there]",
            "rules/gpu-off-bus.yaml:64:77: unknown evidence 'seen-before-there'; did you mean 'seen-before-here'?",
        ),
        (
            BUS,
            "{verdict: site,",
            "{verdict: hardware.link,",
            "rules/gpu-off-bus.yaml:67:23: unknown verdict 'hardware.link'; did you mean 'hardware'?",
        ),
        (
            BUS,
            "leaf: hardware.link,",
            "leaf: hardware,",
            "rules/gpu-off-bus.yaml:64:39: unknown cause 'hardware'; did you mean 'hardware.gpu'?",
        ),
        # Twice, or contradictory
        (
            BUS,
            "  - id: hot",
            "  - id: aer-before",
            "rules/gpu-off-bus.yaml:38:9: evidence 'aer-before' exists already; first at rules/gpu-off-bus.yaml:20:9",
        ),
        (
            BUS,
            "  - {id: aer, title",
            "  - {id: xid, title",
            "rules/gpu-off-bus.yaml:11:10: reference 'xid' exists already; first at rules/gpu-off-bus.yaml:10:10",
        ),
        (
            BUS,
            "opposes: {driver: moderate}",
            "opposes: {hardware: moderate}",
            "rules/gpu-off-bus.yaml:36:14: supports and opposes both name hardware.gpu, hardware.link",
        ),
        (
            BUS,
            "  - id: hot",
            "  - id: trigger",
            "rules/gpu-off-bus.yaml:38:9: evidence must not be called 'trigger'",
        ),
        (
            BUS,
            "id: gpu-off-bus",
            "id: gpu-lost",
            "rules/gpu-off-bus.yaml:2:5: 'id' is 'gpu-lost', but the file is named gpu-off-bus.yaml; rename one",
        ),
        (
            BUS,
            "  log: {xid: 79}",
            "  signal: {of: [xid, trigger]}",
            "rules/gpu-off-bus.yaml:13:16: a trigger cannot be opened by 'trigger' itself",
        ),
        (
            BUS,
            "  log: {xid: 79}",
            "  log: {xid: 79, source: any}",
            "rules/gpu-off-bus.yaml:13:26: 'source' belongs to 'match'; a signal says itself who may write it",
        ),
        (
            BUS,
            "source: service, programs: [ipmievd]",
            "programs: [ipmievd]",
            "rules/gpu-off-bus.yaml:44:21: 'programs' needs 'source' to be service or any",
        ),
        (
            BUS,
            "source: service, programs: [ipmievd]",
            "device: where",
            "rules/gpu-off-bus.yaml:44:19: 'match' has no group named 'where'",
        ),
        (
            SIGNALS,
            "  - id: aer-fatal",
            "  - id: xid",
            "rules/signals/gpu.yaml:8:9: signal 'xid' exists already; first at rules/signals/gpu.yaml:3:9",
        ),
        (
            SIGNALS,
            "  - id: xid",
            "  - id: xid-79",
            "rules/signals/gpu.yaml:3:9: signal 'xid-79' would be confused with a name that is taken",
        ),
        (
            SIGNALS,
            "    device: pci\n    says: The driver",
            "    device: bus\n    says: The driver",
            "rules/signals/gpu.yaml:5:13: 'match' has no group named 'bus'",
        ),
        (
            "causes.yaml",
            "prior: 0.12",
            "prior: 0.22",
            "rules/causes.yaml:9:3: the priors of all causes make 1.1, not 1",
        ),
        (
            "causes.yaml",
            "strong: 4,",
            "strong: 2,",
            "rules/causes.yaml:4:9: points must rise: weak, moderate, strong, decisive",
        ),
        (
            "causes.yaml",
            "  workload:  ",
            "  site.job:  ",
            "rules/causes.yaml:18:3: 'site' is a cause of its own and cannot be a family as well",
        ),
        ("catalog/xid.yaml", "code: 2,", "code: 1,", "rules/catalog/xid.yaml:12:12: Xid 1 is listed twice"),
        (
            "catalog/modules.yaml",
            "amdgpu: [amdgpu_",
            "amdgpu: [i915_",
            "rules/catalog/modules.yaml:16:10: 'i915_' belongs to amdgpu already",
        ),
        # YAML
        (
            BUS,
            "scope: gpu\n",
            "scope: gpu\nscope: node\n",
            "rules/gpu-off-bus.yaml:8:1: key 'scope' stands twice; first at rules/gpu-off-bus.yaml:7:1",
        ),
    ],
)
def test_each_mistake_is_reported_where_it_stands(broken: Broken, file: str, old: str, new: str, message: str) -> None:
    problems = broken(file, (old, new))
    assert message in problems


def test_all_mistakes_of_all_files_are_reported_in_order(broken: Broken, root: Path) -> None:
    (root / "rack-hot.yaml").write_text("schema: 1\nid: rack-hot\nsupportz: 1\n")
    problems = broken(BUS, ("status: stable", "status: stablee"), ("    ref: [aer]", "    ref: 7"))
    assert [
        "rules/gpu-off-bus.yaml:5:9",
        "rules/gpu-off-bus.yaml:25:10",
        "rules/rack-hot.yaml:1:1",
        "rules/rack-hot.yaml:3:1",
    ] == list(dict.fromkeys(problem.split(": ")[0] for problem in problems))


def test_one_broken_file_does_not_make_its_names_unknown_elsewhere(broken: Broken) -> None:
    """A signal whose file fails is still there to be named by rules."""
    assert [
        "rules/signals/gpu.yaml:8:5: missing key 'says' in signal 'aer-fatal'",
        "rules/signals/gpu.yaml:11:5: unknown key 'say' in signal 'aer-fatal'; did you mean 'says'?",
    ] == broken(SIGNALS, ("says: A PCIe", "say: A PCIe"))


def test_broken_causes_do_not_make_every_cause_unknown(broken: Broken) -> None:
    (problem,) = broken("causes.yaml", ("cap: 0.97", "cap: 97"))
    assert "rules/causes.yaml:7:55: 'cap' in verdict is 97, more than 1" == problem


def test_a_missing_file_is_named(root: Path) -> None:
    (root / "catalog" / "xid.yaml").unlink()
    with pytest.raises(RulebookError, match=r"\Arules/catalog/xid\.yaml:1:1: cannot be read: No such file"):
        load(root)


def test_a_missing_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(RulebookError, match="none:1:1: is not a directory"):
        load(tmp_path / "none")


def test_messages_quote_hostile_text_safely(broken: Broken) -> None:
    """A key from a file that someone sent cannot move the cursor of whoever lints it."""
    (problem,) = broken(BUS, ("look:", '"\\e[2J\\n' + "x" * 100 + '": 1\nlook:'))
    assert f"unknown key '?[2J?{'x' * 52}...'" in problem


def test_nothing_is_suggested_for_a_word_that_nothing_is_like() -> None:
    assert "" == did_you_mean("zzz", ["supports", "opposes"])
    assert "'a'" == shown("a")


def test_loading_does_not_import_what_makes_check_slow(root: Path) -> None:
    """`check` loads the rulebook each time, so that must not cost a schema library or a spell checker."""
    code = (
        "import sys; from pathlib import Path; from triage.rulebook.load import load; load(Path(sys.argv[1]));"
        "print(*sorted({'jsonschema', 'difflib', 're2', 'rich', 'textual', 'dataclasses', 'logging', 'asyncio',"
        " 'inspect', 'argparse'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(root)], capture_output=True, text=True, check=True, cwd=RULES.parent
    )
    assert "" == done.stdout.strip()
