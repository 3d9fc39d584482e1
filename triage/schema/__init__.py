"""The JSON Schemas of what this program prints, as files beside this one."""

from __future__ import annotations

from pathlib import Path

REPORT = Path(__file__).parent / "report.v1.json"
XID = Path(__file__).parent / "xid.v1.json"
FLEET = Path(__file__).parent / "fleet-report.v1.json"
EARLY = Path(__file__).parent / "fleet-early.v1.json"
DOCTOR = Path(__file__).parent / "doctor.v1.json"
INCIDENTS = Path(__file__).parent / "incidents.v1.json"
WATCH = Path(__file__).parent / "watch.v1.json"
ECS = Path(__file__).parent / "ecs.v1.json"
ALERT = Path(__file__).parent / "alert.v1.json"
ALERT_QUEUE = Path(__file__).parent / "alert-queue.v1.json"
ALERTS = Path(__file__).parents[1] / "alert" / "config.v1.json"
_OF_A_STORE = ("fleet-nodes", "fleet-incidents", "fleet-changes", "fleet-diff", "fleet-sweeps")
SCHEMAS = {
    "report": REPORT,
    "xid": XID,
    "fleet-report": FLEET,
    "fleet-early": EARLY,
    "doctor": DOCTOR,
    "incidents": INCIDENTS,
    "watch": WATCH,
    "ecs": ECS,
    "alert": ALERT,
    "alert-queue": ALERT_QUEUE,
    "alerts": ALERTS,
    **{name: Path(__file__).parent / f"{name}.v1.json" for name in _OF_A_STORE},
}
