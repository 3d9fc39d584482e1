"""Every question that is put to NVML, as one table: what to call, and what to name the answers.

Functions, constants and field ids are named, never numbered: they are looked
up in the bindings at run time, and what the bindings or the driver do not have
becomes a reading that is `not-supported`.  `nvml_child` walks the table;
`nvml` knows from it which readings a GPU that stopped answering still owes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Optional, Union


class Out(NamedTuple):
    """One reading made of a call's result.

    `pick` is the place in a list or the attribute of a structure; None takes
    the result whole.  `mask` keeps those bits only, `scale` turns NVML's unit
    into `unit`, `words` names the values of an enumeration; `form` says of a
    number that is text how to write it: `return-code` or `cuda-version`.  A
    number outside `limits` is no reading but what a dying device answers.
    Where the attribute `needs` is zero, the result says that it does not apply.
    """

    name: str
    unit: str
    pick: Union[int, str, None] = None
    mask: Optional[int] = None
    scale: Optional[float] = None
    words: Optional[Mapping[int, str]] = None
    limits: Optional[tuple[float, float]] = None
    form: Optional[str] = None
    needs: Optional[str] = None


class Call(NamedTuple):
    """One NVML call on a GPU.

    `ways` are (function, structure to be filled or "") to be tried in this
    order until one exists in both the bindings and the driver.  `args` are
    names of constants.  `many` returns a list whose length is the answer.
    """

    ways: tuple[tuple[str, str], ...]
    outs: tuple[Out, ...]
    args: tuple[str, ...] = ()
    many: bool = False


class Field(NamedTuple):
    """One field value; `since` is the first driver branch in which its id means this."""

    constant: str
    out: Out
    since: int = 0


SWITCH = {0: "off", 1: "on"}
FABRIC_STATE = {1: "not-started", 2: "in-progress", 3: "completed"}
FABRIC_HEALTH = {1: "healthy", 2: "unhealthy", 3: "limited-capacity"}
RECOVERY_ACTION = {
    0: "none",
    1: "gpu-reset",
    2: "node-reboot",
    3: "drain-p2p",
    4: "drain-and-reset",
    5: "recover-imex-domain",
    6: "bus-reset",
    7: "system-reboot",
}

_CELSIUS = (0.0, 200.0)
_WATTS = (0.0, 10_000.0)
_LANES = (0.0, 64.0)


def _way(*functions: str) -> tuple[tuple[str, str], ...]:
    return tuple((function, "") for function in functions)


def _simple(
    function: str,
    name: str,
    unit: str,
    *args: str,
    scale: Optional[float] = None,
    limits: Optional[tuple[float, float]] = None,
) -> Call:
    return Call(_way(function), (Out(name, unit, scale=scale, limits=limits),), args)


def _ecc_total(kind: str, lifetime: str) -> Call:
    return _simple(
        "nvmlDeviceGetTotalEccErrors",
        f"gpu.ecc.{kind}.{lifetime}",
        "count",
        f"NVML_MEMORY_ERROR_TYPE_{kind.upper()}",
        f"NVML_{lifetime.upper()}_ECC",
    )


def _ecc_at(location: str, lifetime: str) -> Call:
    return _simple(
        "nvmlDeviceGetMemoryErrorCounter",
        f"gpu.ecc.{location}.uncorrected.{lifetime}",
        "count",
        "NVML_MEMORY_ERROR_TYPE_UNCORRECTED",
        f"NVML_{lifetime.upper()}_ECC",
        f"NVML_MEMORY_LOCATION_{location.upper()}",
    )


CALLS: tuple[Call, ...] = (
    # nvidia-smi -q: VBIOS Version, Inforom Version, GSP Firmware Version
    _simple("nvmlDeviceGetVbiosVersion", "gpu.vbios", "text"),
    _simple("nvmlDeviceGetInforomImageVersion", "gpu.inforom", "text"),
    _simple("nvmlDeviceGetGspFirmwareVersion", "gpu.gsp-firmware", "text"),
    # nvidia-smi -q -d ECC
    Call(
        _way("nvmlDeviceGetEccMode"),
        (
            Out("gpu.ecc.mode", "text", pick=0, words=SWITCH),
            Out("gpu.ecc.mode.pending", "text", pick=1, words=SWITCH),
        ),
    ),
    _ecc_total("corrected", "volatile"),
    _ecc_total("uncorrected", "volatile"),
    _ecc_total("corrected", "aggregate"),
    _ecc_total("uncorrected", "aggregate"),
    _ecc_at("dram", "volatile"),
    _ecc_at("dram", "aggregate"),
    _ecc_at("sram", "volatile"),
    _ecc_at("sram", "aggregate"),
    Call(
        (("nvmlDeviceGetSramEccErrorStatus", "c_nvmlEccSramErrorStatus_v1_t"),),
        (Out("gpu.sram.threshold-exceeded", "flag", pick="bThresholdExceeded"),),
    ),
    # nvidia-smi -q -d ROW_REMAPPER
    Call(
        _way("nvmlDeviceGetRemappedRows"),
        (
            Out("gpu.rows.corrected", "count", pick=0),
            Out("gpu.rows.uncorrected", "count", pick=1),
            Out("gpu.rows.pending", "flag", pick=2),
            Out("gpu.rows.failure", "flag", pick=3),
        ),
    ),
    Call(
        _way("nvmlDeviceGetRowRemapperHistogram"),
        (
            Out("gpu.rows.banks.low", "count", pick="low"),
            Out("gpu.rows.banks.none", "count", pick="none"),
        ),
    ),
    Call(
        _way("nvmlDeviceGetRepairStatus"),
        (
            Out("gpu.repair.channel-pending", "flag", pick=0),
            Out("gpu.repair.tpc-pending", "flag", pick=1),
        ),
    ),
    _simple("nvmlDeviceGetUnrepairableMemoryFlag_v1", "gpu.memory.unrepairable", "flag"),
    # nvidia-smi -q -d TEMPERATURE,POWER,CLOCK,PERFORMANCE
    Call(
        _way("nvmlDeviceGetTemperatureV", "nvmlDeviceGetTemperature"),
        (Out("gpu.temperature", "celsius", limits=_CELSIUS),),
        ("NVML_TEMPERATURE_GPU",),
    ),
    _simple(
        "nvmlDeviceGetTemperatureThreshold",
        "gpu.temperature.slowdown",
        "celsius",
        "NVML_TEMPERATURE_THRESHOLD_SLOWDOWN",
        limits=_CELSIUS,
    ),
    _simple(
        "nvmlDeviceGetTemperatureThreshold",
        "gpu.temperature.shutdown",
        "celsius",
        "NVML_TEMPERATURE_THRESHOLD_SHUTDOWN",
        limits=_CELSIUS,
    ),
    _simple(
        "nvmlDeviceGetTemperatureThreshold",
        "gpu.temperature.memory.max",
        "celsius",
        "NVML_TEMPERATURE_THRESHOLD_MEM_MAX",
        limits=_CELSIUS,
    ),
    _simple("nvmlDeviceGetPowerUsage", "gpu.power", "watts", scale=1e-3, limits=_WATTS),
    _simple("nvmlDeviceGetEnforcedPowerLimit", "gpu.power.limit", "watts", scale=1e-3, limits=_WATTS),
    _simple("nvmlDeviceGetClockInfo", "gpu.clock.sm", "hertz", "NVML_CLOCK_SM", scale=1_000_000),
    _simple("nvmlDeviceGetMaxClockInfo", "gpu.clock.sm.max", "hertz", "NVML_CLOCK_SM", scale=1_000_000),
    Call(
        _way("nvmlDeviceGetCurrentClocksEventReasons", "nvmlDeviceGetCurrentClocksThrottleReasons"),
        (
            Out("gpu.idle", "flag", mask=0x1),
            Out("gpu.slowdown.sw-power-cap", "flag", mask=0x4),
            Out("gpu.slowdown.hw", "flag", mask=0x8),
            Out("gpu.slowdown.sw-thermal", "flag", mask=0x20),
            Out("gpu.slowdown.hw-thermal", "flag", mask=0x40),
            Out("gpu.slowdown.power-brake", "flag", mask=0x80),
        ),
    ),
    Call(
        _way("nvmlDeviceGetUtilizationRates"),
        (Out("gpu.utilization", "ratio", pick="gpu", scale=1e-2, limits=(0.0, 1.0)),),
    ),
    Call(
        _way("nvmlDeviceGetMemoryInfo"),
        (Out("gpu.memory.total", "bytes", pick="total"), Out("gpu.memory.used", "bytes", pick="used")),
    ),
    # nvidia-smi -q: GPU Link Info
    _simple("nvmlDeviceGetPcieReplayCounter", "gpu.pcie.replays", "count"),
    _simple("nvmlDeviceGetCurrPcieLinkGeneration", "gpu.pcie.generation", "count", limits=_LANES),
    _simple("nvmlDeviceGetMaxPcieLinkGeneration", "gpu.pcie.generation.max", "count", limits=_LANES),
    _simple("nvmlDeviceGetCurrPcieLinkWidth", "gpu.pcie.width", "count", limits=_LANES),
    _simple("nvmlDeviceGetMaxPcieLinkWidth", "gpu.pcie.width.max", "count", limits=_LANES),
    Call(
        (
            ("nvmlDeviceGetGpuFabricInfoV", "c_nvmlGpuFabricInfo_v3_t"),
            ("nvmlDeviceGetGpuFabricInfoV", "c_nvmlGpuFabricInfo_v2_t"),
            ("nvmlDeviceGetGpuFabricInfo", "c_nvmlGpuFabricInfo_t"),
        ),
        (
            Out("gpu.fabric.state", "text", pick="state", words=FABRIC_STATE),
            Out("gpu.fabric.status", "text", pick="status", form="return-code", needs="state"),
            Out("gpu.fabric.health", "text", pick="healthSummary", words=FABRIC_HEALTH, needs="state"),
        ),
    ),
    # nvidia-smi -q: Persistence Mode, MIG Mode, Processes
    _simple("nvmlDeviceGetPersistenceMode", "gpu.persistence", "flag"),
    Call(
        _way("nvmlDeviceGetMigMode"),
        (
            Out("gpu.mig.mode", "text", pick=0, words=SWITCH),
            Out("gpu.mig.mode.pending", "text", pick=1, words=SWITCH),
        ),
    ),
    Call(
        _way("nvmlDeviceGetComputeRunningProcesses_v3", "nvmlDeviceGetComputeRunningProcesses_v2"),
        (Out("gpu.processes", "count"),),
        many=True,
    ),
)

# Read in one nvmlDeviceGetFieldValues.  Times are nanoseconds.  The ids of the
# CLOCKS_EVENT_REASON fields above 250 were renumbered in the 580 branch.
FIELDS: tuple[Field, ...] = (
    Field("NVML_FI_DEV_GET_GPU_RECOVERY_ACTION", Out("gpu.recovery-action", "text", words=RECOVERY_ACTION), 565),
    Field("NVML_FI_DEV_RETIRED_SBE", Out("gpu.pages.retired.single-bit", "count")),
    Field("NVML_FI_DEV_RETIRED_DBE", Out("gpu.pages.retired.double-bit", "count")),
    Field("NVML_FI_DEV_RETIRED_PENDING", Out("gpu.pages.pending", "flag")),
    Field("NVML_FI_DEV_MEMORY_TEMP", Out("gpu.temperature.memory", "celsius", limits=_CELSIUS)),
    Field("NVML_FI_DEV_PERF_POLICY_POWER", Out("gpu.violation.power", "seconds", scale=1e-9)),
    Field("NVML_FI_DEV_PERF_POLICY_THERMAL", Out("gpu.violation.thermal", "seconds", scale=1e-9)),
    Field(
        "NVML_FI_DEV_CLOCKS_EVENT_REASON_HW_THERM_SLOWDOWN",
        Out("gpu.violation.hw-thermal", "seconds", scale=1e-9),
        580,
    ),
    Field(
        "NVML_FI_DEV_CLOCKS_EVENT_REASON_HW_POWER_BRAKE_SLOWDOWN",
        Out("gpu.violation.power-brake", "seconds", scale=1e-9),
        580,
    ),
    Field("NVML_FI_DEV_PCIE_REPLAY_ROLLOVER_COUNTER", Out("gpu.pcie.replay-rollovers", "count")),
    Field("NVML_FI_DEV_PCIE_L0_TO_RECOVERY_COUNTER", Out("gpu.pcie.recoveries", "count"), 525),
    Field("NVML_FI_DEV_PCIE_COUNT_CORRECTABLE_ERRORS", Out("gpu.pcie.errors.corrected", "count"), 535),
    Field("NVML_FI_DEV_PCIE_COUNT_NON_FATAL_ERROR", Out("gpu.pcie.errors.nonfatal", "count"), 535),
    Field("NVML_FI_DEV_PCIE_COUNT_FATAL_ERROR", Out("gpu.pcie.errors.fatal", "count"), 535),
    Field("NVML_FI_DEV_NVLINK_LINK_COUNT", Out("gpu.nvlink.links", "count", limits=(0.0, 64.0))),
)

# The NVLink error counters: the field with the link as its scope, the fields
# that hold the sum over all links, and the counters of nvmlDeviceGetNvLinkErrorCounter.
NVLINK_ERRORS: tuple[tuple[str, str, tuple[str, ...], tuple[str, ...]], ...] = (
    (
        "gpu.nvlink.errors.crc",
        "NVML_FI_DEV_NVLINK_ERROR_DL_CRC",
        ("NVML_FI_DEV_NVLINK_CRC_FLIT_ERROR_COUNT_TOTAL", "NVML_FI_DEV_NVLINK_CRC_DATA_ERROR_COUNT_TOTAL"),
        ("NVML_NVLINK_ERROR_DL_CRC_FLIT", "NVML_NVLINK_ERROR_DL_CRC_DATA"),
    ),
    (
        "gpu.nvlink.errors.replay",
        "NVML_FI_DEV_NVLINK_ERROR_DL_REPLAY",
        ("NVML_FI_DEV_NVLINK_REPLAY_ERROR_COUNT_TOTAL",),
        ("NVML_NVLINK_ERROR_DL_REPLAY",),
    ),
    (
        "gpu.nvlink.errors.recovery",
        "NVML_FI_DEV_NVLINK_ERROR_DL_RECOVERY",
        ("NVML_FI_DEV_NVLINK_RECOVERY_ERROR_COUNT_TOTAL",),
        ("NVML_NVLINK_ERROR_DL_RECOVERY",),
    ),
)

# The readings of the node, and how NVML answers them.
NODE_CALLS: tuple[Call, ...] = (
    _simple("nvmlSystemGetDriverVersion", "driver.version", "text"),
    _simple("nvmlSystemGetNVMLVersion", "nvml.version", "text"),
    Call(
        _way("nvmlSystemGetCudaDriverVersion_v2", "nvmlSystemGetCudaDriverVersion"),
        (Out("cuda.version", "text", form="cuda-version"),),
    ),
)

# Every reading a GPU owes, in order; a GPU that does not answer owes them still.
OWED: tuple[tuple[str, str], ...] = (
    ("gpu.state", "text"),
    ("gpu.responsive", "flag"),
    ("gpu.name", "text"),
    *((out.name, out.unit) for call in CALLS for out in call.outs),
    *((field.out.name, field.out.unit) for field in FIELDS),
    *((name, "count") for name, _, _, _ in NVLINK_ERRORS),
)
