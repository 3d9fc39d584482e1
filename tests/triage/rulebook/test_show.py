"""`rules list` and `rules show` say in plain words what stands in the files."""

from __future__ import annotations

from pathlib import Path

import pytest

from triage.rulebook.load import load
from triage.rulebook.show import WIDTH, duration, list_text, show_text


def test_the_list_has_one_aligned_line_for_each_rule(root: Path) -> None:
    assert (
        "RULE               VERSION  STATUS  SEVERITY  SCOPE  TITLE\n"
        "compute-exception  1        test    warning   node   Kernel fault on the GPU while a job ran\n"
        "gpu-off-bus        3        stable  critical  gpu    GPU stopped answering on the PCIe bus\n"
    ) == list_text(load(root))


def test_a_rule_is_shown_whole(root: Path) -> None:
    assert """\
compute-exception: Kernel fault on the GPU while a job ran
version 1, test, warning, about one node

Xid 13 or 31 usually means the job read or wrote where it should not.

OPENS ON
  Xid 13 or 31 where text ~ 'Exception|Fault'
  a line of the kernel that matches 'nvidia-uvm: fatal'
  gpu.fault is true
    Most faults of this kind are bugs in the program.
    for workload +2

UNLESS
  job.tag matches fault-injection
    Chaos jobs fault on purpose.

EVIDENCE, from 10m before to 2m after
  follows-the-job [follows]
    the trigger over at least 2 GPUs of this node with the same job.id in 1d
    One job faulted on several GPUs.
    for workload +2
  ecc-before [memory]
    Xid 48 or 63, then the trigger within 10m on this node
    The GPU reported a memory error shortly before the fault.
    for hardware.gpu +7
  quiet-bus
    no signal aer-fatal on this node for 1d
    Nothing was said about the bus all day.
    against hardware.link -1
  known-driver
    driver.version matches 570.124.* or 570.133.*
    This driver version is known for it.
    for driver.module +1

WHAT TO DO
  hardware.gpu (restarts-job, data-centre hands)
    Drain the GPU.
  undetermined (none)
    Wait for a second fault.

REFERENCES
  NVIDIA Xid catalogue, entries 13 and 31 (ecc-before)
    https://docs.nvidia.com/deploy/xid-errors/

0 tests; file rules/compute-exception.yaml
""" == show_text(load(root), "compute-exception")


def test_the_rest_of_the_language_has_words_too(root: Path) -> None:
    shown = show_text(load(root), "gpu-off-bus")
    for words in (
        "    signal aer-fatal on the way to this GPU before the trigger, within 90s\n",
        "    else: AER was readable and silent.\n      against hardware.link -1\n",
        "    gpu.pcie.replays rose by at least 100 over 1h\n",
        "    the trigger on the same GPU: at least 2 in 7d, 3m folded into one\n",
        "  hot, then warning\n    gpu.temperature is at least 92\n",
        "    a line of ipmievd that matches '(?i)power (?P<what>supply|fault)' on the same GPU\n",
        "    if unread: Read the event log of the management controller.\n",
        "  driver (none, platform)\n",
        "\n3 tests; file rules/gpu-off-bus.yaml\n",
    ):
        assert words in shown


def test_every_shipped_rule_can_be_shown_within_the_width() -> None:
    rulebook = load()
    for rule in rulebook.rules:
        for line in show_text(rulebook, rule.id).splitlines():
            assert len(line) <= WIDTH or " " not in line.strip(), line


def test_a_rule_that_does_not_exist_is_a_key_error(root: Path) -> None:
    with pytest.raises(KeyError, match="none"):
        show_text(load(root), "none")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.25, "250ms"), (10.0, "10s"), (90.0, "90s"), (600.0, "10m"), (5400.0, "90m"), (86400.0, "1d"), (0.0, "0s")],
)
def test_durations_are_written_as_in_a_rule_file(seconds: float, text: str) -> None:
    assert text == duration(seconds)
