"""Every question that is put to NVML, as tables: what to call, and what to name the answers.

`nvml_child` walks them; `nvml` knows from them which readings a GPU that
stopped answering still owes.  What is asked by field ids stands in
`probes.nvml_fields`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Optional, Union

from probes.nvml_fields import C2C_LINKS, FIELDS, NVLINK_ERRORS, NVLINKS, RECOVERY_ACTION
from probes.nvml_shapes import CELSIUS, LANES, MARGIN, SWITCH, WATTS, Call, Field, Link, Out, Step, ways

__all__ = [
    "BRIEFLY",
    "BRIEF_CALLS",
    "BRIEF_FALLBACKS",
    "BRIEF_FIELDS",
    "BRIEF_OWED",
    "CALLS",
    "FALLBACKS",
    "FIELDS",
    "MIG_CALLS",
    "NODE_CALLS",
    "NUMBERS",
    "OWED",
    "RECOVERY_ACTION",
    "Call",
    "Field",
    "Link",
    "Out",
]

FABRIC_STATE = {1: "not-started", 2: "in-progress", 3: "completed"}
FABRIC_HEALTH = {1: "healthy", 2: "unhealthy", 3: "limited-capacity"}
FABRIC_FAULT = {
    1: "none",
    2: "wrong-system-guid",
    3: "wrong-chassis-serial",
    4: "no-partition",
    5: "too-few-nvlinks",
    6: "incompatible-firmware",
    7: "invalid-location",
    8: "invalid-gpu-state",
}
POWER_SOURCE = {0: "ac", 1: "battery", 2: "undersized"}
CC_ENVIRONMENT = {0: "unavailable", 1: "simulation", 2: "production"}
_MASK_FLAG: Mapping[int, Union[str, bool]] = {1: True, 2: False}


def _simple(
    function: str,
    name: str,
    unit: str,
    *args: Step,
    scale: Optional[float] = None,
    limits: Optional[tuple[float, float]] = None,
) -> Call:
    return Call(ways(function), (Out(name, unit, scale=scale, limits=limits),), args)


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


def _sram(pick: str, name: str) -> Out:
    return Out(f"gpu.ecc.sram.{name}", "count", pick=pick)


def _violation(policy: str, name: str) -> Call:
    out = Out(f"gpu.violation.{name}", "seconds", pick="violationTime", scale=1e-9)
    return Call(ways("nvmlDeviceGetViolationStatus"), (out,), (f"NVML_PERF_POLICY_{policy}",))


def _fabric(name: str, shift: int) -> Out:
    return Out(f"gpu.fabric.{name}", "flag", "healthMask", mask=0x3, shift=shift, words=_MASK_FLAG, needs="state")


CALLS: tuple[Call, ...] = (
    # nvidia-smi -q: VBIOS Version, Inforom Version, GSP Firmware Version
    _simple("nvmlDeviceGetVbiosVersion", "gpu.vbios", "text"),
    _simple("nvmlDeviceGetInforomImageVersion", "gpu.inforom", "text"),
    _simple("nvmlDeviceGetGspFirmwareVersion", "gpu.gsp-firmware", "text"),
    Call(
        ways("nvmlDeviceGetGspFirmwareMode"),
        (
            Out("gpu.gsp.mode", "text", pick=0, words=SWITCH),
            Out("gpu.gsp.mode.default", "text", pick=1, words=SWITCH),
        ),
    ),
    Call(ways("nvmlDeviceValidateInforom"), (Out("gpu.inforom.valid", "flag", no="CORRUPTED_INFOROM"),)),
    Call(ways("nvmlDeviceGetInforomConfigurationChecksum"), (Out("gpu.inforom.checksum", "text", form="hex"),)),
    _simple("nvmlDeviceGetModuleId", "gpu.module-id", "count"),
    _simple("nvmlDeviceGetIrqNum", "gpu.irq", "count"),
    Call(ways("nvmlDeviceGetBBXTimeData_v1"), (Out("gpu.lifetime", "seconds", pick="timeRun"),)),
    Call(
        (("nvmlDeviceGetPlatformInfo", "c_nvmlPlatformInfo_v2_t"),),
        (
            Out("gpu.platform.chassis", "text", pick="chassisSerialNumber"),
            Out("gpu.platform.slot", "count", pick="slotNumber", form="byte"),
            Out("gpu.platform.tray", "count", pick="trayIndex", form="byte"),
            Out("gpu.platform.host", "count", pick="hostId", form="byte"),
            Out("gpu.platform.peer-type", "count", pick="peerType", form="byte"),
            Out("gpu.platform.module", "count", pick="moduleId", form="byte"),
        ),
    ),
    # nvidia-smi -q -d ECC
    Call(
        ways("nvmlDeviceGetEccMode"),
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
        (
            Out("gpu.sram.threshold-exceeded", "flag", pick="bThresholdExceeded"),
            _sram("volatileUncParity", "parity.volatile"),
            _sram("volatileUncSecDed", "sec-ded.volatile"),
            _sram("volatileCor", "corrected.volatile"),
            _sram("aggregateUncParity", "parity.aggregate"),
            _sram("aggregateUncSecDed", "sec-ded.aggregate"),
            _sram("aggregateCor", "corrected.aggregate"),
            _sram("aggregateUncBucketL2", "l2.aggregate"),
            _sram("aggregateUncBucketSm", "sm.aggregate"),
            _sram("aggregateUncBucketPcie", "pcie.aggregate"),
            _sram("aggregateUncBucketMcu", "mcu.aggregate"),
            _sram("aggregateUncBucketOther", "other.aggregate"),
        ),
    ),
    Call(
        (("nvmlDeviceGetSramUniqueUncorrectedEccErrorCounts", "c_nvmlEccSramUniqueUncorrectedErrorCounts_v1_t"),),
        (Out("gpu.sram.unique-uncorrected", "count", pick="entryCount"),),
        sized=True,
    ),
    # nvidia-smi -q -d ROW_REMAPPER
    Call(
        ways("nvmlDeviceGetRemappedRows"),
        (
            Out("gpu.rows.corrected", "count", pick=0),
            Out("gpu.rows.uncorrected", "count", pick=1),
            Out("gpu.rows.pending", "flag", pick=2),
            Out("gpu.rows.failure", "flag", pick=3),
        ),
    ),
    Call(
        (("nvmlDeviceGetRemappedRows_v2", "c_nvmlRemappedRowsInfo_v2_t"),),
        (
            Out("gpu.rows.corrected.inactive", "count", pick="corrInactiveRemaps"),
            Out("gpu.rows.uncorrected.inactive", "count", pick="uncInactiveRemaps"),
        ),
    ),
    Call(
        (("nvmlDeviceGetBankRemapperStatus_v1", "c_nvmlEccBankRemapperStatus_v1_t"),),
        (
            Out("gpu.banks.active", "count", pick="activeRemappings"),
            Out("gpu.banks.inactive", "count", pick="inactiveRemappings"),
            Out("gpu.banks.pending", "flag", pick="bPending"),
            Out("gpu.banks.groups.full", "count", pick=("histogram", "maxSpareGroupCount")),
            Out("gpu.banks.groups.none", "count", pick=("histogram", "noSpareGroupCount")),
        ),
    ),
    Call(
        ways("nvmlDeviceGetRowRemapperHistogram"),
        (
            Out("gpu.rows.banks.max", "count", pick="max"),
            Out("gpu.rows.banks.high", "count", pick="high"),
            Out("gpu.rows.banks.partial", "count", pick="partial"),
            Out("gpu.rows.banks.low", "count", pick="low"),
            Out("gpu.rows.banks.none", "count", pick="none"),
        ),
    ),
    Call(
        ways("nvmlDeviceGetRepairStatus"),
        (
            Out("gpu.repair.channel-pending", "flag", pick=0),
            Out("gpu.repair.tpc-pending", "flag", pick=1),
        ),
    ),
    _simple("nvmlDeviceGetUnrepairableMemoryFlag_v1", "gpu.memory.unrepairable", "flag"),
    # nvidia-smi -q -d TEMPERATURE,POWER,CLOCK,PERFORMANCE
    Call(
        ways("nvmlDeviceGetTemperatureV", "nvmlDeviceGetTemperature"),
        (Out("gpu.temperature", "celsius", limits=CELSIUS),),
        ("NVML_TEMPERATURE_GPU",),
    ),
    _simple(
        "nvmlDeviceGetTemperatureThreshold",
        "gpu.temperature.slowdown",
        "celsius",
        "NVML_TEMPERATURE_THRESHOLD_SLOWDOWN",
        limits=CELSIUS,
    ),
    _simple(
        "nvmlDeviceGetTemperatureThreshold",
        "gpu.temperature.shutdown",
        "celsius",
        "NVML_TEMPERATURE_THRESHOLD_SHUTDOWN",
        limits=CELSIUS,
    ),
    _simple(
        "nvmlDeviceGetTemperatureThreshold",
        "gpu.temperature.memory.max",
        "celsius",
        "NVML_TEMPERATURE_THRESHOLD_MEM_MAX",
        limits=CELSIUS,
    ),
    _simple("nvmlDeviceGetMarginTemperature", "gpu.temperature.margin", "celsius", limits=MARGIN),
    Call(
        # a structure of its own for each question: the bindings keep theirs, with what the last GPU said
        (("nvmlDeviceGetThermalSettings", "c_nvmlGpuThermalSettings_t"),),
        (Out("gpu.temperature.sensor", "celsius", ("sensor", 0, "currentTemp"), limits=CELSIUS, needs="count"),),
        (0,),
    ),
    _simple("nvmlDeviceGetPowerUsage", "gpu.power", "watts", scale=1e-3, limits=WATTS),
    _simple("nvmlDeviceGetEnforcedPowerLimit", "gpu.power.limit", "watts", scale=1e-3, limits=WATTS),
    Call(ways("nvmlDeviceGetPowerSource"), (Out("gpu.power.source", "text", words=POWER_SOURCE),)),
    _simple("nvmlDeviceGetPerformanceState", "gpu.performance-state", "count", limits=(0.0, 15.0)),
    Call(
        (("nvmlDeviceGetClkMonStatus", "nvmlClkMonStatus_t"),),
        (Out("gpu.clock.fault", "flag", pick="bGlobalStatus"),),
    ),
    _simple("nvmlDeviceGetNumFans", "gpu.fans", "count", limits=(0.0, 16.0)),
    _simple("nvmlDeviceGetFanSpeedRPM", "gpu.fan.rpm", "rpm", limits=(0.0, 100_000.0)),
    _simple("nvmlDeviceGetClockInfo", "gpu.clock.sm", "hertz", "NVML_CLOCK_SM", scale=1_000_000),
    _simple("nvmlDeviceGetMaxClockInfo", "gpu.clock.sm.max", "hertz", "NVML_CLOCK_SM", scale=1_000_000),
    Call(
        ways("nvmlDeviceGetCurrentClocksEventReasons", "nvmlDeviceGetCurrentClocksThrottleReasons"),
        (
            Out("gpu.idle", "flag", mask=0x1),
            Out("gpu.slowdown.application-clocks", "flag", mask=0x2),
            Out("gpu.slowdown.sw-power-cap", "flag", mask=0x4),
            Out("gpu.slowdown.hw", "flag", mask=0x8),
            Out("gpu.slowdown.sync-boost", "flag", mask=0x10),
            Out("gpu.slowdown.sw-thermal", "flag", mask=0x20),
            Out("gpu.slowdown.hw-thermal", "flag", mask=0x40),
            Out("gpu.slowdown.power-brake", "flag", mask=0x80),
            Out("gpu.slowdown.display-clocks", "flag", mask=0x100),
            Out("gpu.slowdown.board-limit", "flag", mask=0x200),
            Out("gpu.slowdown.reliability", "flag", mask=0x400),
        ),
    ),
    Call(
        ways("nvmlDeviceGetUtilizationRates"),
        (Out("gpu.utilization", "ratio", pick="gpu", scale=1e-2, limits=(0.0, 1.0)),),
    ),
    Call(
        ways("nvmlDeviceGetMemoryInfo"),
        (Out("gpu.memory.total", "bytes", pick="total"), Out("gpu.memory.used", "bytes", pick="used")),
    ),
    # nvidia-smi -q: GPU Link Info
    _simple("nvmlDeviceGetPcieReplayCounter", "gpu.pcie.replays", "count"),
    _simple("nvmlDeviceGetCurrPcieLinkGeneration", "gpu.pcie.generation", "count", limits=LANES),
    _simple("nvmlDeviceGetMaxPcieLinkGeneration", "gpu.pcie.generation.max", "count", limits=LANES),
    _simple("nvmlDeviceGetGpuMaxPcieLinkGeneration", "gpu.pcie.generation.gpu-max", "count", limits=LANES),
    _simple("nvmlDeviceGetCurrPcieLinkWidth", "gpu.pcie.width", "count", limits=LANES),
    _simple("nvmlDeviceGetMaxPcieLinkWidth", "gpu.pcie.width.max", "count", limits=LANES),
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
            _fabric("degraded-bandwidth", 0),
            _fabric("route-recovery", 2),
            _fabric("route-unhealthy", 4),
            _fabric("access-timeout-recovery", 6),
            Out("gpu.fabric.fault", "text", "healthMask", mask=0xF, shift=8, words=FABRIC_FAULT, needs="state"),
        ),
    ),
    # nvidia-smi -q: Persistence Mode, MIG Mode, Processes
    _simple("nvmlDeviceGetPersistenceMode", "gpu.persistence", "flag"),
    Call(
        ways("nvmlDeviceGetMigMode"),
        (
            Out("gpu.mig.mode", "text", pick=0, words=SWITCH),
            Out("gpu.mig.mode.pending", "text", pick=1, words=SWITCH),
        ),
    ),
    Call(
        ways("nvmlDeviceGetComputeRunningProcesses_v3", "nvmlDeviceGetComputeRunningProcesses_v2"),
        (Out("gpu.processes", "count"),),
        many=True,
    ),
    Call(
        ways("nvmlDeviceGetGraphicsRunningProcesses_v3", "nvmlDeviceGetGraphicsRunningProcesses_v2"),
        (Out("gpu.processes.graphics", "count"),),
        many=True,
    ),
    Call(ways("nvmlDeviceGetMPSComputeRunningProcesses_v3"), (Out("gpu.processes.mps", "count"),), many=True),
)

# What is asked only where neither a call nor a field said it, because it is older or was taken back.
FALLBACKS: tuple[Call, ...] = (
    _violation("POWER", "power"),
    _violation("THERMAL", "thermal"),
    _violation("BOARD_LIMIT", "board-limit"),
    _violation("RELIABILITY", "reliability"),
    Call(
        ways("nvmlDeviceGetRetiredPages_v2", "nvmlDeviceGetRetiredPages"),
        (Out("gpu.pages.retired.single-bit", "count"),),
        ("NVML_PAGE_RETIREMENT_CAUSE_MULTIPLE_SINGLE_BIT_ECC_ERRORS",),
        many=True,
    ),
    Call(
        ways("nvmlDeviceGetRetiredPages_v2", "nvmlDeviceGetRetiredPages"),
        (Out("gpu.pages.retired.double-bit", "count"),),
        ("NVML_PAGE_RETIREMENT_CAUSE_DOUBLE_BIT_ECC_ERROR",),
        many=True,
    ),
    _simple("nvmlDeviceGetRetiredPagesPendingStatus", "gpu.pages.pending", "flag"),
)

# What each MIG device of a GPU is asked; its readings are those of an entity of its own.
MIG_CALLS: tuple[Call, ...] = (
    _simple("nvmlDeviceGetGpuInstanceId", "mig.gpu-instance", "count"),
    _simple("nvmlDeviceGetComputeInstanceId", "mig.compute-instance", "count"),
    Call(
        ways("nvmlDeviceGetAttributes_v2"),
        (
            Out("mig.slices.gpu", "count", pick="gpuInstanceSliceCount"),
            Out("mig.slices.compute", "count", pick="computeInstanceSliceCount"),
            Out("mig.multiprocessors", "count", pick="multiprocessorCount"),
        ),
    ),
    Call(
        ways("nvmlDeviceGetMemoryInfo"),
        (Out("mig.memory.total", "bytes", pick="total"), Out("mig.memory.used", "bytes", pick="used")),
    ),
    # of a split GPU only its MIG devices tell volatile errors, and only those that are not of its DRAM
    Call(
        ways("nvmlDeviceGetMemoryErrorCounter"),
        (Out("mig.ecc.sram.uncorrected.volatile", "count"),),
        ("NVML_MEMORY_ERROR_TYPE_UNCORRECTED", "NVML_VOLATILE_ECC", "NVML_MEMORY_LOCATION_SRAM"),
    ),
    Call(
        ways("nvmlDeviceGetComputeRunningProcesses_v3", "nvmlDeviceGetComputeRunningProcesses_v2"),
        (Out("mig.processes", "count"),),
        many=True,
    ),
)

# The readings of the node, and how NVML answers them.
NODE_CALLS: tuple[Call, ...] = (
    _simple("nvmlSystemGetDriverVersion", "driver.version", "text"),
    _simple("nvmlSystemGetNVMLVersion", "nvml.version", "text"),
    Call(
        ways("nvmlSystemGetCudaDriverVersion_v2", "nvmlSystemGetCudaDriverVersion"),
        (Out("cuda.version", "text", form="cuda-version"),),
    ),
    Call(
        ways("nvmlSystemGetConfComputeState"),
        (
            Out("confidential.environment", "text", pick="environment", words=CC_ENVIRONMENT),
            Out("confidential.feature", "text", pick="ccFeature", words=SWITCH),
            Out("confidential.devtools", "text", pick="devToolsMode", words=SWITCH),
        ),
    ),
    _simple("nvmlSystemGetConfComputeGpusReadyState", "confidential.ready", "flag"),
)
# Asked apart, because it wants to be told what is asked for: the bytes of platform error records that wait.
CPER = Out("nvml.error-records", "bytes", pick="bufferSize")
CPER_CALL = "nvmlSystemGetCPER_v1"

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
BRIEF_OWED = tuple(
    owed
    for owed in OWED
    if owed[0]
    in {
        *("gpu.state", "gpu.responsive", "gpu.name"),
        *(out.name for call in BRIEF_CALLS for out in call.outs),
        *(field.out.name for field in BRIEF_FIELDS),
    }
)
