"""What ships for other programs is checked by those programs."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.needed import missing
from triage.render import prometheus
from triage.watch import log

ROOT = Path(__file__).parent.parent
RULES = ROOT / "contrib" / "prometheus"
NAME = re.compile(r"\bgpu_triage_[a-z_]+")


def promtool_says(promtool: str, *words: str) -> tuple[int, str]:
    done = subprocess.run([promtool, *words], cwd=RULES, capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


def test_the_alerts_fire_when_they_should_and_only_then(promtool: str) -> None:
    """By the unit tests beside them, on the real engine."""
    code, said = promtool_says(promtool, "check", "rules", "gpu-triage.rules.yml")
    assert 0 == code, said
    code, said = promtool_says(promtool, "test", "rules", "gpu-triage.rules.test.yml")

    assert 0 == code, said


def test_the_rules_use_only_metrics_that_there_are() -> None:
    """A metric that was renamed would silence its alert."""
    sources = Path(prometheus.__file__).read_text() + Path(log.__file__).read_text()
    written = set(NAME.findall(sources))
    lines = (RULES / "gpu-triage.rules.yml").read_text().splitlines()
    used = {name for line in lines if "expr:" in line for name in NAME.findall(line)}

    recorded = {name for name in used if f"rule:{name}:" in "".join(lines) or f"instance:{name}:" in "".join(lines)}
    assert used
    assert set() == used - written - recorded


def test_systemd_finds_nothing_wrong_with_the_units(tmp_path: Path) -> None:
    """The program stands elsewhere here, and there is no manual page in a checkout; nothing else is changed."""
    if shutil.which("systemd-analyze") is None:
        missing("systemd-analyze is missing; install the Debian package systemd")
    units = sorted((ROOT / "contrib" / "systemd").iterdir())
    for unit in units:
        text = unit.read_text().replace("/usr/bin/gpu-triage", sys.executable)
        (tmp_path / unit.name).write_text(re.sub(r"^Documentation=.*\n", "", text, flags=re.MULTILINE))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", *(tmp_path / unit.name for unit in units)],
        capture_output=True,
        text=True,
    )

    assert (0, "") == (done.returncode, done.stdout + done.stderr)
    assert 3 == len(units)


@pytest.mark.parametrize(("unit", "most"), [("gpu-triage-check.service", 4.0), ("gpu-triage-watch.service", 4.0)])
def test_the_units_leave_little_to_whoever_takes_them_over(unit: str, most: float) -> None:
    """By the score of systemd-analyze security, and the devices that are asked stay reachable."""
    if shutil.which("systemd-analyze") is None:
        missing("systemd-analyze is missing; install the Debian package systemd")
    path = ROOT / "contrib" / "systemd" / unit
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=yes", "--no-pager", path], capture_output=True, text=True
    )
    score = re.search(r"Overall exposure level for \S+: ([0-9.]+)", done.stdout)

    assert score is not None, done.stderr
    assert float(score[1]) <= most
    assert not re.search(
        r"^(PrivateDevices|ProtectClock|DeviceAllow|ProtectKernelLogs)=", path.read_text(), re.MULTILINE
    )
