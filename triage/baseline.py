"""What a plain lookup of the Xid would have answered, to hold our verdicts against.

The first Xid of a log (on the GPU asked about, where the case names one) is looked up in
what is published, as `rules/catalog/` records it:

    vendor   the cause column of NVIDIA's older table where exactly one is marked, else the
             immediate bucket of its catalogue where that names a cause
    gpud     the suggested repair actions of leptonai/gpud
    dcgm     the subsystem under which DCGM's health check 4.6 files the code
    group    our own sorting of the codes, the first cause of each group's name: the best
             that a table can do

An answer may be several cause classes where a table does not tell them apart (an
inspection of the hardware); it is right if one of them is accepted.  Lookups have no
confidence, so no figure about confidence applies to them.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from probes.named import NamedTuple
from probes.pci import normal_address, same_device
from triage.catalog import XidDetails, xid_details
from triage.evaluate import NOW, Case, is_known
from triage.figures import Figures, Outcome, figures
from triage.intake import Intake
from triage.model import UNDETERMINED
from triage.rulebook.model import Rulebook
from triage.scanner import Scanner


class Entry(NamedTuple):
    """What the catalogue records of one Xid."""

    bucket: str
    group: str
    details: XidDetails | None


Answer = tuple[str, ...]

HARDWARE = ("hardware", "platform", "fabric", "power-thermal")
"""What an inspection of the hardware may find."""
LEGACY: Mapping[str, Answer] = {
    "hardware": ("hardware", "fabric"),
    "gpu-memory": ("hardware",),
    "driver": ("driver",),
    "application": ("application",),
    "bus": ("platform",),
    "system-memory": ("platform",),
    "thermal": ("power-thermal",),
}
"""The cause columns of the vendor's older table."""
BUCKETS: Mapping[str, Answer] = {
    "IGNORE": ("none",),
    "RESTART_APP": ("application",),
    "UPDATE_SWFW": ("firmware", "configuration"),
    "CHECK_MECHANICALS": ("platform", "power-thermal"),
    "CHECK_UVM": ("driver",),
    "WORKFLOW_NVLINK_ERR": ("fabric",),
    "WORKFLOW_NVLINK5_ERR": ("fabric",),
    "WORKFLOW_XID_48": ("hardware",),
}
"""Immediate buckets that name a cause.  A reset, a reboot or a support ticket names none."""
ACTIONS: Mapping[frozenset[str], Answer] = {
    frozenset({"IgnoreNoActionRequired"}): ("none",),
    frozenset({"CheckUserAppAndGPU"}): ("application",),
    frozenset({"HardwareInspection"}): HARDWARE,
    frozenset({"RebootSystem", "HardwareInspection"}): HARDWARE,
    frozenset({"RebootSystem"}): ("driver", "firmware"),
}
"""gpud's actions and what each would mend."""
SUBSYSTEMS: Mapping[str, Answer] = {
    "mem": ("hardware",),
    "all": HARDWARE,
    "inforom": ("hardware", "firmware"),
    "pcie": ("platform",),
    "nvlink": ("fabric",),
    "power": ("power-thermal",),
    "thermal": ("power-thermal",),
}
"""The subsystems of DCGM's health check."""
GROUPS: tuple[tuple[str, Answer], ...] = (
    ("app", ("application",)),
    ("engine_or_app", ("application",)),
    ("driver", ("driver",)),
    ("display", ("driver",)),
    ("memory_hw", ("hardware",)),
    ("gpu_init_hw", ("hardware",)),
    ("security_hw", ("hardware",)),
    ("hw", ("hardware",)),
    ("inforom", ("hardware", "firmware")),
    ("firmware", ("firmware",)),
    ("gsp_firmware", ("firmware",)),
    ("pcie", ("platform",)),
    ("nvlink", ("fabric",)),
    ("c2c", ("fabric",)),
    ("power", ("power-thermal",)),
    ("cc_software", ("configuration",)),
    ("vgpu_software", ("configuration",)),
    ("info", ("none",)),
    ("test", ("none",)),
)
"""Beginnings of the groups in `catalog/xid.yaml` that name a cause first."""


def vendor(entry: Entry) -> Answer:
    """Return the cause that the vendor's tables name for a code, nothing if none or several."""
    marked = [column for column in (entry.details and entry.details.legacy) or () if column in LEGACY]
    return LEGACY[marked[0]] if len(marked) == 1 else BUCKETS.get(entry.bucket, ())


def gpud(entry: Entry) -> Answer:
    """Return what gpud's actions would mend."""
    return ACTIONS.get(frozenset(entry.details.gpud_actions), ()) if entry.details else ()


def dcgm(entry: Entry) -> Answer:
    """Return what the subsystem is under which DCGM files a code."""
    filed = (entry.details and entry.details.dcgm) or ""
    return SUBSYSTEMS.get(filed.partition("/")[2].partition(":")[0], ())


def group(entry: Entry) -> Answer:
    """Return the first cause that our own sorting of the codes names."""
    return next((answer for start, answer in GROUPS if entry.group.startswith(start)), ())


NO_CONFIDENCE: Mapping[str, Any] = {
    "confident_wrong": None,
    "calibration_error": None,
    "brier": None,
    "log_loss": None,
    "bins": (),
}
TABLES: Mapping[str, Callable[[Entry], Answer]] = {"vendor": vendor, "gpud": gpud, "dcgm": dcgm, "group": group}


def first_xid(scanner: Scanner, case: Case) -> int | None:
    """Return the first Xid of a case's log, that of its GPU first."""
    intake = Intake(["-"], now=NOW, stdin=io.BytesIO((case["log"] or "").encode("utf-8", "surrogateescape")))
    xids = [signal for signal in scanner.scan(intake) if signal.name == "xid"]
    address = normal_address(case["gpu_bdf"]) if case.get("gpu_bdf") else None
    here = [signal for signal in xids if address and same_device(signal.pci, address)]
    return next((int(signal.fields["xid"]) for signal in here or xids), None)


def compare(rulebook: Rulebook, cases: Iterable[Case]) -> dict[str, Figures]:
    """Return the figures of each lookup over the same cases."""
    scanner = Scanner(rulebook)
    details = xid_details()
    known = {code: Entry(xid.bucket, xid.group, details.get(code)) for code, xid in rulebook.xids.items()}
    outcomes: dict[str, list[Outcome]] = {name: [] for name in TABLES}
    for case in cases:
        code = first_xid(scanner, case)
        for name, table in TABLES.items():
            answer = table(known[code]) if code is not None and code in known else ()
            outcomes[name].append(_outcome(case, answer))
    return {name: figures(said)._replace(**NO_CONFIDENCE) for name, said in outcomes.items()}


def _outcome(case: Case, answer: Answer) -> Outcome:
    accepted = (case["cause"], *(case.get("secondary_causes") or ()))
    hit = any(cause in accepted for cause in answer)
    if not case["log"]:
        result = "skipped"
    elif not answer:
        result = "right" if case["cause"] == "unknown" else "open"
    else:
        result = "right" if hit else "wrong"
    said = "/".join(answer) or UNDETERMINED
    grade = case.get("basis_grade") or "C"
    return Outcome(case["id"], case["cause"], accepted, is_known(case), grade, result, said, said, 0.0, hit, "", ())
