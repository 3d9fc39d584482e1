"""What NVML's events tell is told of the kernel log's own account, wherever the watch was held up."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from probes.model import Entity, LogRecord
from probes.moment import moment
from probes.nvml_events import Event
from triage.rulebook.cache import load
from triage.watch.happenings import TOLD_TWICE, Happenings
from triage.watch.judge import Judge

XID = "NVRM: Xid (PCI:0000:11:00): 79, pid=811, name=python, GPU has fallen off the bus."
HELD = 100.0
"""When a watch that was held up for long had last looked into the kernel log."""
LATER = HELD + 10 * TOLD_TWICE


def expecting(monkeypatch: pytest.MonkeyPatch) -> tuple[Judge, Happenings]:
    """A watch to which an event has told an Xid just before it was held up."""
    monkeypatch.setattr("triage.watch.happenings.time", SimpleNamespace(monotonic=lambda: HELD))
    judge = Judge(load(None, ()), None)
    made = Happenings(judge, None, moment().boot)
    event = Event(Entity("gpu", "0000:11:00.0"), "xid", 79, moment().at)
    told: Any = SimpleNamespace(wait=lambda _: [event])
    made._events = told
    assert made.take(log_readable=True)
    return judge, made


def test_an_xid_that_came_while_it_was_held_up_is_the_logs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its time is over when the log has been looked into, not when it could have been."""
    judge, made = expecting(monkeypatch)
    assert not made.tell(HELD)
    now = moment()
    judge.feed([LogRecord(XID, at=now.at, monotonic=now.monotonic, boot=now.boot, origin="/dev/kmsg", line=1)])

    assert not made.tell(LATER)
    assert made.due is None
    judge.close()


def test_an_xid_that_the_log_does_not_tell_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    judge, made = expecting(monkeypatch)

    assert made.tell(LATER)
    assert judge.knows_xid("0000:11:00.0", 79, 0.0)
    judge.close()
