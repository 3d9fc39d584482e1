"""Incidents as a report gives them, made by hand."""

from __future__ import annotations

import json
from typing import Any

from triage.alert.states import Change
from triage.report import iso
from triage.watch.telling import stand

Json = dict[str, Any]
START = 1_795_000_000.0


def body(
    name: str = "one", state: str = "open", severity: str = "critical", family: str = "hardware", at: float = START
) -> Json:
    """An incident of node gpu-0417."""
    over = state == "resolved"
    shares = {family: 0.97} if family != "undetermined" else {"hardware": 0.6, "driver": 0.4}
    decided = family != "undetermined"
    return {
        "fingerprint": f"gpu-0417/1650123004410/{name}",
        "state": state,
        "severity": severity,
        "opened_at": iso(at),
        "last_seen_at": iso(at),
        "seen": 1,
        "where": {
            "node": "gpu-0417",
            "gpu": {
                "pci": "0000:4e:00.0",
                "uuid": "GPU-5b1e0c52",
                "serial": "1650123004410",
                "index": 3,
                "name": "NVIDIA H100",
            },
        },
        "title": "GPU stopped answering on the PCIe bus",
        "summary": "GPU stopped answering on the PCIe bus on GPU 0000:4e:00.0 (Xid 79)",
        "rule": {"id": "gpu-off-bus", "version": 3},
        "verdict": {
            "family": family,
            "leaf": f"{family}.link" if decided else None,
            "confidence": 0.97 if decided else 0.6,
            "words": "very likely" if decided else "undetermined",
            "leading": {"family": family if decided else "hardware", "leaf": None, "title": None, "confidence": 0.97},
            "by_family": shares,
            "by_leaf": {},
        },
        "evidence": [
            {"id": "aer", "state": "seen", "bearing": "for", "why": "The port above this GPU logged a bus error."},
            {"id": "oops", "state": "seen", "bearing": "against", "why": "The driver stumbled in its own code."},
            {"id": "bmc", "state": "unknown", "bearing": None, "why": "The power supplies reported nothing."},
        ],
        "explains": ["Xid 45 on the same GPU"],
        "settle": [],
        "next": [{"do": "Reseat the riser and the GPU.", "risk": "needs-hands", "owner": "data-centre hands"}],
        "history": {
            "present": not over,
            "first_opened_at": iso(at),
            "reopened": 0,
            "resolved_at": iso(at + 60) if over else None,
            "resolved_why": "the node was rebooted and it did not come back" if over else None,
            "acknowledged": None
            if state != "acknowledged"
            else {"at": iso(at), "reason": "ticket 4711", "until": None},
        },
    }


def change(told: Json) -> Change:
    return Change(told["fingerprint"], json.dumps(stand(told)), told)
