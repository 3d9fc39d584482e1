"""What ships for other programs is checked by those programs."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from triage.render import prometheus
from triage.watch import loop

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
    sources = Path(prometheus.__file__).read_text() + Path(loop.__file__).read_text()
    written = set(NAME.findall(sources)) | {"gpu_triage_kernel_records_total", "gpu_triage_kernel_records_lost_total"}
    lines = (RULES / "gpu-triage.rules.yml").read_text().splitlines()
    used = {name for line in lines if "expr:" in line for name in NAME.findall(line)}

    recorded = {name for name in used if f"rule:{name}:" in "".join(lines) or f"instance:{name}:" in "".join(lines)}
    assert used
    assert set() == used - written - recorded
