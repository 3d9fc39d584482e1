r"""The report as metrics in the text format of Prometheus.

    gpu_triage_gpu_state{gpu="GPU-5b1e...",state="critical"} 1

One identity names a GPU (UUID, else serial, else PCI address); what else it is
called stands once in `gpu_triage_gpu_info`.  Temperatures and counters are the
business of DCGM and its exporter, and are not repeated.  Labels hold foreign
text: `\`, `"` and line ends are escaped, everything else is as it is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

Json = dict[str, Any]
Labels = Mapping[str, str]
Sample = tuple[Labels, float]

STATES = ("ok", "warning", "critical", "unknown")
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_ORDER = {"info": 0, "warning": 1, "critical": 2}
_ESCAPES = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})


def to_prometheus(
    report: Json,
    *,
    seconds: float | None = None,
    counters: Mapping[str, tuple[str, Sequence[Sample]]] | None = None,
) -> str:
    """Return the metrics of a report.

    Args:
        report: as `triage.report.to_report` made it.
        seconds: how long the sweep took.
        counters: further counters, by name: what they say, and their samples.
    """
    lines: list[str] = []

    def family(name: str, says: str, samples: Iterable[Sample], kind: str = "gauge") -> None:
        made = [_sample(name, labels, value) for labels, value in samples]
        if made:
            lines.extend([f"# HELP {name} {says}", f"# TYPE {name} {kind}", *made])

    opened = [incident for incident in report["incidents"] if incident["state"] == "open"]
    family(
        "gpu_triage_status",
        "Whether the node is in this state: 1, or 0.",
        [({"state": state}, float(report["status"] == state)) for state in STATES],
    )
    family(
        "gpu_triage_sweep_last_success_timestamp_seconds",
        "When the node was last looked at and something could be said.",
        [({}, _epoch(report["generated_at"]))] if report["complete"] else [],
    )
    family(
        "gpu_triage_sweep_duration_seconds",
        "How long the last look took.",
        [({}, seconds)] if seconds is not None else [],
    )
    family(
        "gpu_triage_source_readable",
        "Whether a source could be read: 1, or 0.",
        _unique(({"source": source["kind"]}, float(source["readable"])) for source in report["sources"]),
    )
    states = _gpu_states(report, opened)
    counted = Counter(states.values())
    family("gpu_triage_gpus", "GPUs in each state.", [({"state": state}, counted[state]) for state in STATES])
    family(
        "gpu_triage_gpu_state",
        "Whether a GPU is in this state: 1, or 0.",
        [({"gpu": gpu, "state": s}, float(state == s)) for gpu, state in states.items() for s in STATES],
    )
    family(
        "gpu_triage_gpu_info",
        "What a GPU is called; always 1.",
        _unique(
            ({"gpu": identity(gpu), **{key: str(gpu[key] or "") for key in ("pci", "serial", "name")}}, 1.0)
            for gpu in report["gpus"]
        ),
    )
    family(
        "gpu_triage_gpu_incident",
        "Open incidents by GPU (node: of the node as a whole) and rule.",
        _summed(({"gpu": _where(i), "rule": i["rule"]["id"]}, 1.0) for i in opened),
    )
    groups = Counter((i["verdict"]["family"], i["severity"]) for i in opened)
    family(
        "gpu_triage_incidents_open",
        "Open incidents by what is to blame and how bad they are.",
        [
            ({"family": family_, "severity": severity}, float(groups[family_, severity]))
            for family_ in _families(groups)
            for severity in _ORDER
        ],
    )
    labels = {"version": report["tool"]["version"], "sha256": report["tool"].get("rules", "")}
    family("gpu_triage_rules_info", "The program and the rules that judge; always 1.", [(labels, 1.0)])
    for name, (says, samples) in (counters or {}).items():
        family(name, says, samples, "counter")
    return "".join(f"{line}\n" for line in lines)


def identity(gpu: Mapping[str, Any]) -> str:
    """Return the one name of a GPU."""
    return str(gpu["uuid"] or gpu["serial"] or gpu["pci"] or f"index {gpu['index']}")


def escaped(text: str) -> str:
    """Return foreign text as the value of a label."""
    return text.encode("utf-8", "replace").decode().translate(_ESCAPES)


def _gpu_states(report: Json, opened: Sequence[Json]) -> dict[str, str]:
    """The state of each GPU: the worst that is open there, unknown if NVML could not be read, else ok."""
    nvml = [source["readable"] for source in report["sources"] if source["kind"] == "nvml"]
    healthy = "ok" if nvml and all(nvml) else "unknown"
    states = {identity(gpu): healthy for gpu in report["gpus"]}
    for incident in sorted(opened, key=lambda i: _ORDER[i["severity"]]):
        if incident["where"]["gpu"] is not None and incident["severity"] != "info":
            states[_where(incident)] = incident["severity"]
    return states


def _where(incident: Json) -> str:
    gpu = incident["where"]["gpu"]
    return "node" if gpu is None else identity(gpu)


def _families(groups: Counter[tuple[str, str]]) -> list[str]:
    usual = ("hardware", "driver", "system", "workload", "site", "benign", "undetermined")
    return [*usual, *sorted({family for family, _ in groups} - set(usual))]


def _unique(samples: Iterable[Sample]) -> list[Sample]:
    """Of samples with the same labels the least one, for one name twice is no exposition."""
    found: dict[tuple[tuple[str, str], ...], float] = {}
    for labels, value in samples:
        key = tuple(labels.items())
        found[key] = min(value, found.get(key, value))
    return [(dict(key), value) for key, value in found.items()]


def _summed(samples: Iterable[Sample]) -> list[Sample]:
    found: Counter[tuple[tuple[str, str], ...]] = Counter()
    for labels, value in samples:
        found[tuple(labels.items())] += int(value)
    return [(dict(key), float(value)) for key, value in found.items()]


def _sample(name: str, labels: Labels, value: float) -> str:
    inside = ",".join(f'{key}="{escaped(text)}"' for key, text in labels.items())
    return f"{name}{{{inside}}} {value:.15g}" if inside else f"{name} {value:.15g}"


def _epoch(at: str) -> float:
    return datetime.fromisoformat(at.replace("Z", "+00:00")).timestamp()
