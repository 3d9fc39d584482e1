"""Lint says what a reviewer would ask for, where it stands."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from triage.rulebook.lint import favourite, lint
from triage.rulebook.literals import single_cases
from triage.rulebook.load import load

BUS, EXCEPTION, SIGNALS = "gpu-off-bus.yaml", "compute-exception.yaml", "signals/gpu.yaml"
Linted = Callable[..., list[str]]


@pytest.fixture
def linted(root: Path) -> Linted:
    """Replace text in a file and return what lint then says."""

    def messages(file: str, *changes: tuple[str, str]) -> list[str]:
        path = root / file
        text = path.read_text()
        for old, new in changes:
            assert 1 == text.count(old), f"{old!r} stands {text.count(old)} times"
            text = text.replace(old, new)
        path.write_text(text)
        return [f"{p.place}: {p.severity}: {p.message} [{p.id}]" for p in lint(load(root))]

    return messages


def test_nothing_is_wrong_with_a_sound_rulebook(root: Path) -> None:
    assert [] == lint(load(root))


@pytest.mark.parametrize("field", ["known", "own_rule", "hw_sw", "nvlink_severity", "containment", "gpc_tpc_sm"])
def test_rules_may_ask_for_what_the_scanner_adds_to_an_xid(field: str, linted: Linted) -> None:
    """From the catalogue, from the rules and from the text."""
    assert [] == linted(EXCEPTION, ("where: {text: 'Exception|Fault'}", f"where: {{{field}: 'y'}}"))


@pytest.mark.parametrize(
    ("file", "old", "new", "messages"),
    [
        (
            SIGNALS,
            "AER: Uncorrectable \\(Fatal\\)'",
            "AER: Uncorrectable (?=Fatal)'",
            [
                "rules/signals/gpu.yaml:8:5: error: RE2 refuses 'match' of aer-fatal: "
                "invalid perl operator: (?= [regex]",
            ],
        ),
        (
            SIGNALS,
            "AER: Uncorrectable \\(Fatal\\)'",
            "AER: (Uncorrectable|Corrected)'",
            [
                "rules/signals/gpu.yaml:8:5: error: aer-fatal matches its counterexample "
                "'pcieport 0000:4d:01.0: AER: Corrected error received' [example]"
            ],
        ),
        (
            SIGNALS,
            "match: 'NVRM: Xid",
            "match: 'NVRM Xid",
            [
                "rules/signals/gpu.yaml:3:5: error: xid does not match its example "
                "'NVRM: Xid (PCI:0000:b3:00): 79, GPU has fallen off the bus.' [example]"
            ],
        ),
        (
            SIGNALS,
            "match: 'pcieport (?P<pci>\\S+):",
            "match: 'pcieport (?P<pci>0000:4d:01\\.0):",
            [
                "rules/signals/gpu.yaml:8:5: error: '0000:4d:01.0' in 'match' of aer-fatal is a PCI address: "
                "it fits one case only [single-case]"
            ],
        ),
        (
            SIGNALS,
            "says: A PCIe port logged a fatal bus error.",
            "says: fatal bus error",
            [
                "rules/signals/gpu.yaml:8:5: error: 'says' of aer-fatal is not one sentence from capital to full "
                "stop: 'fatal bus error' [sentence]"
            ],
        ),
        (
            EXCEPTION,
            "where: {text: 'Exception|Fault'}",
            "where: {txt: '(?<!x)Fault'}",
            [
                "rules/compute-exception.yaml:1:1: error: RE2 refuses 'where' for txt: "
                "invalid perl operator: (?<! [regex]",
                "rules/compute-exception.yaml:1:1: error: no field 'txt' in xid; did you mean 'text'? [unknown-field]",
            ],
        ),
        (
            EXCEPTION,
            "absent: {of: [aer-fatal], over: 24h}",
            "absent: {of: trigger, where: {driver: x, known: y}, over: 24h}",
            ["rules/compute-exception.yaml:32:5: error: no field 'driver' in compute-exception/trigger-2, xid"],
        ),
        (
            EXCEPTION,
            "xid: [48, 63]",
            "xid: [48, 999]",
            [
                "rules/compute-exception.yaml:26:5: error: Xid 999 is not in catalog/xid.yaml; add it there, with "
                "the group undocumented if no source names it [unknown-xid]"
            ],
        ),
        (
            BUS,
            "explains: [xid-45,",
            "explains: [xid-9999,",
            ["rules/gpu-off-bus.yaml:1:1: error: Xid 9999 is not in catalog/xid.yaml;"],
        ),
        (
            EXCEPTION,
            "['570.124.*', '570.133.*']",
            "['GPU-660d987e-5b28-3bf6-2a2d-1d5ecae7f6df']",
            [
                "rules/compute-exception.yaml:36:5: error: '660d987e-5b28-3bf6-2a2d-1d5ecae7f6df' in 'fact' is a "
                "UUID: it fits one case only [single-case]"
            ],
        ),
        (
            BUS,
            "why: The GPU was above its limit when contact was lost.",
            "why: the GPU was above its limit",
            [
                "rules/gpu-off-bus.yaml:38:5: error: 'why' of hot is not one sentence from capital to full stop: "
                "'the GPU was above its limit' [sentence]"
            ],
        ),
        (
            BUS,
            "why: A job cannot by itself take a GPU off the bus.",
            "why: A job cannot do it. It never could.",
            ["rules/gpu-off-bus.yaml:1:1: error: 'why' of the trigger is not one sentence from capital to full stop"],
        ),
        (
            BUS,
            "why: AER was readable and silent.",
            f"why: A{'a' * 140}.",
            ["rules/gpu-off-bus.yaml:20:5: error: 'why' of aer-before, otherwise, has 142 characters; 140 are allowed"],
        ),
        (
            BUS,
            "    ref: [aer]\n",
            "",
            [
                "rules/gpu-off-bus.yaml:20:5: error: evidence 'aer-before' is strong or decisive and needs a 'ref' "
                "[reference]"
            ],
        ),
        (
            BUS,
            "  ref: [xid]\nlook",
            "look",
            ["rules/gpu-off-bus.yaml:1:1: error: the trigger is strong or decisive and needs a 'ref' [reference]"],
        ),
        (
            BUS,
            "    group: history\n",
            "    group: hot\n",
            [
                "rules/gpu-off-bus.yaml:32:5: error: 'seen-before-here' joins the group that 'hot' has for itself; "
                "name the group in both [group]"
            ],
        ),
        (
            BUS,
            "expect: {verdict: hardware, leaf: hardware.link, at_least: 0.95,",
            "expect: {verdict: site,",
            [
                "rules/gpu-off-bus.yaml:1:1: error: a stable rule needs a test whose verdict is its favourite, "
                "hardware [tests]"
            ],
        ),
        (
            BUS,
            "expect: {verdict: site, severity: warning}",
            "expect: {verdict: hardware}",
            ["rules/gpu-off-bus.yaml:1:1: error: a stable rule needs a test whose verdict is a rival of hardware"],
        ),
        (
            BUS,
            "expect: {verdict: site, severity: warning}",
            "expect: {verdict: hardware, leaf: hardware.power}",
            [],
        ),
        (
            BUS,
            "expect: {verdict: undetermined, ask: [aer-before]}",
            "expect: {verdict: none}",
            ["rules/gpu-off-bus.yaml:1:1: error: a stable rule needs a test that stays undetermined [tests]"],
        ),
        (
            BUS,
            "  - {for: undetermined, do: Collect a bug report before anyone reboots the node., risk: none}\n",
            "",
            ["rules/gpu-off-bus.yaml:1:1: error: no action is for 'undetermined' [no-action]"],
        ),
        (
            EXCEPTION,
            "{for: hardware.gpu,",
            "{for: hardware.link,",
            [
                "rules/compute-exception.yaml:1:1: warning: strong evidence speaks for hardware.gpu, but no action "
                "is for it [no-action]"
            ],
        ),
        (
            SIGNALS,
            "  - id: aer-fatal\n",
            "  - {id: other, match: other, says: Another line., examples: [other]}\n  - id: aer-fatal\n",
            ["rules/signals/gpu.yaml:8:5: warning: no rule uses the signal 'other' [unused-signal]"],
        ),
    ],
)
def test_each_fault_is_reported_where_it_stands(
    linted: Linted, file: str, old: str, new: str, messages: list[str]
) -> None:
    found = linted(file, (old, new))
    assert len(messages) == len(found), "\n".join(found)
    for message, said in zip(messages, found, strict=True):
        assert said.startswith(message)


def test_a_rule_that_speaks_for_one_family_only_needs_no_rival_but_a_case_it_leaves_alone(linted: Linted) -> None:
    """Where nothing could make a rival win, the test to ask for is one where the rule does not open."""
    alone = (
        ("status: test", "status: stable"),
        ("  supports: {workload: moderate}\n  why", "  supports: {hardware.gpu: moderate}\n  why"),
        ("    supports: {workload: moderate}\n    why", "    supports: {hardware.gpu: moderate}\n    why"),
        ("    supports: {driver.module: weak}\n", "    opposes: {driver.module: weak}\n"),
        (
            "actions:\n",
            "tests:\n"
            "  - {name: one, given: [{at: 0s, line: x}], expect: {verdict: hardware}}\n"
            "  - {name: two, given: [{at: 0s, line: x}], expect: {verdict: undetermined}}\n"
            "  - {name: three, given: [{at: 0s, line: x}], expect: {verdict: none}}\n"
            "actions:\n",
        ),
    )
    assert [] == linted(EXCEPTION, *alone)


def test_a_rule_under_trial_needs_no_tests(linted: Linted) -> None:
    assert [] == linted(BUS, ("status: stable", "status: experimental"), ("  - name: a rival\n", "  - name: rival\n"))
    assert [] == [m for m in linted(BUS, ("verdict: undetermined,", "verdict: site,")) if "[tests]" in m]


def test_the_favourite_is_what_leads_when_only_the_trigger_is_known(root: Path) -> None:
    rulebook = load(root)
    assert {"gpu-off-bus": "hardware", "compute-exception": "hardware"} == {
        rule.id: favourite(rule, rulebook) for rule in rulebook.rules
    }
    exception = rulebook.rules[0]
    decided = exception._replace(trigger=exception.trigger._replace(points={"workload": 4}))
    assert "workload" == favourite(decided, rulebook)


def test_the_heads_of_crashes_and_the_sources_of_facts_count_as_used(linted: Linted) -> None:
    assert [] == linted(
        SIGNALS,
        (
            "  - id: aer-fatal\n",
            "  - {id: crash.oops, match: Oops, says: The kernel oopsed., examples: [Oops]}\n"
            "  - {id: boot, match: 'Linux version (?P<fact_kernel_release>\\S+)', says: It started., "
            "examples: [Linux version 6.1]}\n"
            "  - id: aer-fatal\n",
        ),
    )


@pytest.mark.parametrize(
    ("regex", "what", "text"),
    [
        (r"pcieport 0000:4d:01\.0", "a PCI address", "0000:4d:01.0"),
        (r"PCI:0000:4e:00\)", "a PCI address", "0000:4e:00"),
        (r"GPU-660d987e-5b28-3bf6-2a2d-1d5ecae7f6df", "a UUID", "660d987e-5b28-3bf6-2a2d-1d5ecae7f6df"),
        (r"serial number is 0325015054694", "a serial number", "0325015054694"),
        (r"on node017 ", "a host name", "node017"),
        (r"gpu4\.rack2\.example\.com", "a host name", "gpu4.rack2.example.com"),
        (r"2025-06-06", "a date", "2025-06-06"),
        (r"Jun 16 21:24", "a date", "Jun 16"),
        (r"at 21:24:15 ", "a date", "21:24:15"),
        (r"pid=8111,", "a process number", "pid=8111"),
        (r"python\[81234\]:", "a process number", "[81234]"),
        (r"at 0x7f00399189d7", "an address in memory", "0x7f00399189d7"),
        (r"RIP: ffffffffc0a1b2c3", "an address in memory", "ffffffffc0a1b2c3"),
    ],
)
def test_what_fits_one_case_only_is_found_in_a_regular_expression(regex: str, what: str, text: str) -> None:
    assert [(what, text)] == list(single_cases(regex))


@pytest.mark.parametrize(
    "regex",
    [
        r"(?P<pci>[0-9a-fA-F]{4,8}:[0-9a-fA-F]{2}:[0-9a-fA-F]{2}\.[0-7])",
        r"failed with status 0x0000000f",
        r"pid=(?P<pid>\d+), name=[^,]*",
        r"\[ ?(?:0|6|7)\] ?RxErr",
        r"\[14\] ?CmpltTO",
        r"GPU-[0-9a-f-]{36}",
        r"\d{4}-\d{2}-\d{2}T\d\d:\d\d:\d\d",
        r"drivers/gpu/drm/nouveau/nvkm\.c",
        r"nvidia-fabricmanager\.service: .*status=1/FAILURE",
        r"version 570\.124\.06",
        r"[Ee]rror 802\b|CUDA_ERROR_SYSTEM_NOT_READY",
        r"NVRM: .*deadbeef",
    ],
)
def test_what_fits_many_cases_is_left_alone(regex: str) -> None:
    assert [] == list(single_cases(regex))
