"""The readings that every GPU owes, whether or not it answers, and which of them are worth asking often.

`probes.nvml` knows from this what a GPU that stopped answering still owes.
"""

from __future__ import annotations

from probes.nvml_calls import CALLS, FALLBACKS
from probes.nvml_fields import C2C_LINKS, FIELDS, NVLINK_ERRORS, NVLINKS
from probes.nvml_shapes import Call

# Every reading a GPU owes, in order; a GPU that does not answer owes them still.
OWED: tuple[tuple[str, str], ...] = tuple(
    dict(
        (
            ("gpu.state", "text"),
            ("gpu.responsive", "flag"),
            ("gpu.name", "text"),
            *((out.name, out.unit) for call in CALLS for out in call.outs),
            *((field.out.name, field.out.unit) for field in FIELDS),
            ("gpu.fan.speed", "ratio"),
            ("gpu.mig.devices", "count"),
            *((name, "count") for name, _, _, _ in NVLINK_ERRORS),
            *((link.out.name, link.out.unit) for link in (*NVLINKS, *C2C_LINKS)),
        )
    ).items()
)
# Where each stands among them, which is shorter to say than its name.
NUMBERS = {owed: number for number, owed in enumerate(OWED)}

BRIEFLY = "brief"
"""The word that asks the child for a brief sweep."""

# What shows a GPU in trouble, and is worth asking often; everything else is asked when the whole table is.
_OFTEN = frozenset(
    (
        "gpu.recovery-action",
        "gpu.ecc.uncorrected.volatile",
        "gpu.sram.threshold-exceeded",
        "gpu.rows.pending",
        "gpu.rows.failure",
        "gpu.pages.pending",
        "gpu.temperature",
        "gpu.slowdown.hw-thermal",
    )
)


def _often(calls: tuple[Call, ...]) -> tuple[Call, ...]:
    return tuple(call for call in calls if any(out.name in _OFTEN for out in call.outs))


BRIEF_CALLS, BRIEF_FALLBACKS = _often(CALLS), _often(FALLBACKS)
BRIEF_FIELDS = tuple(field for field in FIELDS if field.out.name in _OFTEN)
# All that a brief sweep asks comes of those: with one flag of a call come the others.
_BRIEF = frozenset(
    (
        *("gpu.state", "gpu.responsive", "gpu.name"),
        *(out.name for call in BRIEF_CALLS for out in call.outs),
        *(field.out.name for field in BRIEF_FIELDS),
    )
)
BRIEF_OWED = tuple(owed for owed in OWED if owed[0] in _BRIEF)
