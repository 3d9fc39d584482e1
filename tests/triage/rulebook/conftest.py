"""A small rulebook to break: two rules and their signals, beside the shipped causes and catalogue."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from triage.rulebook.load import RULES, RulebookError, load

SIGNALS = r"""schema: 1
signals:
  - id: xid
    match: 'NVRM: Xid \((?P<pci>[^)]*)\): (?P<xid>\d+), (?P<text>.*)'
    device: pci
    says: The driver reported an Xid.
    examples: ["NVRM: Xid (PCI:0000:b3:00): 79, GPU has fallen off the bus."]
  - id: aer-fatal
    match: 'pcieport (?P<pci>\S+): AER: Uncorrectable \(Fatal\)'
    device: pci
    says: A PCIe port logged a fatal bus error.
    examples: ["pcieport 0000:4d:01.0: AER: Uncorrectable (Fatal) error received"]
    counterexamples: ["pcieport 0000:4d:01.0: AER: Corrected error received"]
"""

OFF_BUS = r"""schema: 1
id: gpu-off-bus
version: 3
title: GPU stopped answering on the PCIe bus
status: stable
severity: critical
scope: gpu
summary: The driver lost contact with the GPU; what surrounds the event decides.
references:
  - {id: xid, title: "NVIDIA Xid catalogue, entry 79", url: "https://docs.nvidia.com/deploy/xid-errors/"}
  - {id: aer, title: "Linux PCIe AER guide", url: "https://docs.kernel.org/PCI/pcieaer-howto.html"}
trigger:
  log: {xid: 79}
  opposes: {workload: strong}
  why: A job cannot by itself take a GPU off the bus.
  ref: [xid]
look: {before: 10m, after: 2m}
explains: [xid-45, aer-fatal, compute-exception]
evidence:
  - id: aer-before
    signal: {of: aer-fatal, same: pci-path, when: before, within: 90s}
    group: bus
    supports: {hardware.link: strong, hardware.gpu: moderate}
    why: The port above this GPU logged an uncorrectable bus error.
    ref: [aer]
    otherwise: {opposes: {hardware.link: weak}, why: AER was readable and silent.}
  - id: replays-climbing
    delta: {of: gpu.pcie.replays, at_least: 100, over: 1h}
    group: bus
    supports: {hardware.link: moderate}
    why: The link had been retrying before it failed.
  - id: seen-before-here
    count: {of: trigger, at_least: 2, over: 7d}
    group: history
    supports: {hardware.gpu: moderate, hardware.link: moderate}
    opposes: {driver: moderate}
    why: The same GPU has done this before.
  - id: hot
    metric: {of: gpu.temperature, at_least: 92}
    supports: {site: moderate}
    why: The GPU was above its limit when contact was lost.
    severity: warning
  - id: bmc-power
    log: {source: service, programs: [ipmievd], match: '(?i)power (?P<what>supply|fault)'}
    group: power
    supports: {hardware: weak, hardware.power: strong}
    why: The management controller logged a power event.
    ref: [xid]
    settle: Read the event log of the management controller.
actions:
  - {for: hardware.link, do: Reseat the riser and the GPU., risk: needs-hands}
  - {for: hardware, do: Open an RMA., risk: needs-hands}
  - {for: driver, do: Hold the rollout., risk: none}
  - {for: undetermined, do: Collect a bug report before anyone reboots the node., risk: none}
tests:
  - name: bus error, second time this week
    given:
      - {at: -6d, line: "NVRM: Xid (PCI:0000:4e:00): 79, GPU has fallen off the bus."}
      - {at: -2s, source: "service:ipmievd", line: power supply failed}
      - {at: 0s, line: "NVRM: Xid (PCI:0000:4e:00): 79, GPU has fallen off the bus."}
      - {at: -60s, metric: gpu.temperature, value: 61, gpu: "0000:4e:00.0"}
    fleet: {replays-climbing: false}
    unknown: [hot]
    expect: {verdict: hardware, leaf: hardware.link, at_least: 0.95, uses: [seen-before-here, trigger]}
  - name: a rival
    given: [{at: 0s, line: "NVRM: Xid (PCI:0000:4e:00): 79, gone"}]
    expect: {verdict: site, severity: warning}
  - name: nothing readable stays open
    given: [{at: 0s, line: "NVRM: Xid (PCI:0000:4e:00): 79, gone"}]
    unknown: [aer-before]
    expect: {verdict: undetermined, ask: [aer-before]}
"""

EXCEPTION = r"""schema: 1
id: compute-exception
version: 1
title: Kernel fault on the GPU while a job ran
status: test
severity: warning
scope: node
summary: Xid 13 or 31 usually means the job read or wrote where it should not.
references:
  - {id: xid, title: "NVIDIA Xid catalogue, entries 13 and 31", url: "https://docs.nvidia.com/deploy/xid-errors/"}
trigger:
  any:
    - log: {xid: [13, 31], where: {text: 'Exception|Fault'}}
    - log: {match: 'nvidia-uvm: fatal'}
    - metric: {of: gpu.fault, is: true}
  supports: {workload: moderate}
  why: Most faults of this kind are bugs in the program.
suppress:
  - {fact: {job.tag: fault-injection}, why: Chaos jobs fault on purpose.}
evidence:
  - id: follows-the-job
    spread: {of: trigger, across: gpu, within: node, alike: [job.id], at_least: 2, over: 24h}
    group: follows
    supports: {workload: moderate}
    why: One job faulted on several GPUs.
  - id: ecc-before
    sequence: {first: {xid: [48, 63]}, then: trigger, within: 10m}
    group: memory
    supports: {hardware.gpu: decisive}
    why: The GPU reported a memory error shortly before the fault.
    ref: [xid]
  - id: quiet-bus
    absent: {of: [aer-fatal], over: 24h}
    opposes: {hardware.link: weak}
    why: Nothing was said about the bus all day.
  - id: known-driver
    fact: {driver.version: ['570.124.*', '570.133.*']}
    supports: {driver.module: weak}
    why: This driver version is known for it.
actions:
  - {for: hardware.gpu, do: Drain the GPU., risk: restarts-job}
  - {for: undetermined, do: Wait for a second fault., risk: none}
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A valid rulebook in a directory of its own."""
    root = tmp_path / "rules"
    (root / "signals").mkdir(parents=True)
    (root / "catalog").mkdir()
    shutil.copy(RULES / "causes.yaml", root)
    for name in ("xid.yaml", "modules.yaml"):
        shutil.copy(RULES / "catalog" / name, root / "catalog")
    (root / "signals" / "gpu.yaml").write_text(SIGNALS)
    (root / "gpu-off-bus.yaml").write_text(OFF_BUS)
    (root / "compute-exception.yaml").write_text(EXCEPTION)
    return root


Broken = Callable[..., list[str]]


@pytest.fixture
def broken(root: Path) -> Broken:
    """Replace text in a file and return what `load` then complains about."""

    def messages(file: str, *changes: tuple[str, str]) -> list[str]:
        path = root / file
        text = path.read_text()
        for old, new in changes:
            assert 1 == text.count(old), f"{old!r} stands {text.count(old)} times"
            text = text.replace(old, new)
        path.write_text(text)
        with pytest.raises(RulebookError) as caught:
            load(root)
        assert str(caught.value).splitlines() == [str(problem) for problem in caught.value.problems]
        return [str(problem) for problem in caught.value.problems]

    return messages
