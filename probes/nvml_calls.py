"""What each GPU is asked by calls of NVML, as a table: what to call, and what to name the answers.

`probes.nvml_gpu` walks it.  What is asked by field ids stands in
`probes.nvml_fields`, what is asked of the node in `probes.nvml_node`, and what
a GPU owes in `probes.nvml_owed`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Union

from probes.nvml_shapes import CELSIUS, LANES, MARGIN, SWITCH, WATTS, Call, Out, simple, ways

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
_MASK_FLAG: Mapping[int, Union[str, bool]] = {1: True, 2: False}


def _ecc_total(kind: str, lifetime: str) -> Call:
    return simple(
        "nvmlDeviceGetTotalEccErrors",
        f"gpu.ecc.{kind}.{lifetime}",
        "count",
        f"NVML_MEMORY_ERROR_TYPE_{kind.upper()}",
        f"NVML_{lifetime.upper()}_ECC",
    )


def _ecc_at(location: str, lifetime: str) -> Call:
    return simple(
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
    simple("nvmlDeviceGetVbiosVersion", "gpu.vbios", "text"),
    simple("nvmlDeviceGetInforomImageVersion", "gpu.inforom", "text"),
    simple("nvmlDeviceGetGspFirmwareVersion", "gpu.gsp-firmware", "text"),
    Call(
        ways("nvmlDeviceGetGspFirmwareMode"),
        (
            Out("gpu.gsp.mode", "text", pick=0, words=SWITCH),
            Out("gpu.gsp.mode.default", "text", pick=1, words=SWITCH),
        ),
    ),
    Call(ways("nvmlDeviceValidateInforom"), (Out("gpu.inforom.valid", "flag", no="CORRUPTED_INFOROM"),)),
    Call(ways("nvmlDeviceGetInforomConfigurationChecksum"), (Out("gpu.inforom.checksum", "text", form="hex"),)),
    simple("nvmlDeviceGetModuleId", "gpu.module-id", "count"),
    simple("nvmlDeviceGetIrqNum", "gpu.irq", "count"),
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
    simple("nvmlDeviceGetUnrepairableMemoryFlag_v1", "gpu.memory.unrepairable", "flag"),
    # nvidia-smi -q -d TEMPERATURE,POWER,CLOCK,PERFORMANCE
    Call(
        ways("nvmlDeviceGetTemperatureV", "nvmlDeviceGetTemperature"),
        (Out("gpu.temperature", "celsius", limits=CELSIUS),),
        ("NVML_TEMPERATURE_GPU",),
    ),
    simple(
        "nvmlDeviceGetTemperatureThreshold",
        "gpu.temperature.slowdown",
        "celsius",
        "NVML_TEMPERATURE_THRESHOLD_SLOWDOWN",
        limits=CELSIUS,
    ),
    simple(
        "nvmlDeviceGetTemperatureThreshold",
        "gpu.temperature.shutdown",
        "celsius",
        "NVML_TEMPERATURE_THRESHOLD_SHUTDOWN",
        limits=CELSIUS,
    ),
    simple(
        "nvmlDeviceGetTemperatureThreshold",
        "gpu.temperature.memory.max",
        "celsius",
        "NVML_TEMPERATURE_THRESHOLD_MEM_MAX",
        limits=CELSIUS,
    ),
    simple("nvmlDeviceGetMarginTemperature", "gpu.temperature.margin", "celsius", limits=MARGIN),
    Call(
        # a structure of its own for each question: the bindings keep theirs, with what the last GPU said
        (("nvmlDeviceGetThermalSettings", "c_nvmlGpuThermalSettings_t"),),
        (Out("gpu.temperature.sensor", "celsius", ("sensor", 0, "currentTemp"), limits=CELSIUS, needs="count"),),
        (0,),
    ),
    simple("nvmlDeviceGetPowerUsage", "gpu.power", "watts", scale=1e-3, limits=WATTS),
    simple("nvmlDeviceGetEnforcedPowerLimit", "gpu.power.limit", "watts", scale=1e-3, limits=WATTS),
    Call(ways("nvmlDeviceGetPowerSource"), (Out("gpu.power.source", "text", words=POWER_SOURCE),)),
    simple("nvmlDeviceGetPerformanceState", "gpu.performance-state", "count", limits=(0.0, 15.0)),
    Call(
        (("nvmlDeviceGetClkMonStatus", "nvmlClkMonStatus_t"),),
        (Out("gpu.clock.fault", "flag", pick="bGlobalStatus"),),
    ),
    simple("nvmlDeviceGetNumFans", "gpu.fans", "count", limits=(0.0, 16.0)),
    simple("nvmlDeviceGetFanSpeedRPM", "gpu.fan.rpm", "rpm", limits=(0.0, 100_000.0)),
    simple("nvmlDeviceGetClockInfo", "gpu.clock.sm", "hertz", "NVML_CLOCK_SM", scale=1_000_000),
    simple("nvmlDeviceGetMaxClockInfo", "gpu.clock.sm.max", "hertz", "NVML_CLOCK_SM", scale=1_000_000),
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
    simple("nvmlDeviceGetPcieReplayCounter", "gpu.pcie.replays", "count"),
    simple("nvmlDeviceGetCurrPcieLinkGeneration", "gpu.pcie.generation", "count", limits=LANES),
    simple("nvmlDeviceGetMaxPcieLinkGeneration", "gpu.pcie.generation.max", "count", limits=LANES),
    simple("nvmlDeviceGetGpuMaxPcieLinkGeneration", "gpu.pcie.generation.gpu-max", "count", limits=LANES),
    simple("nvmlDeviceGetCurrPcieLinkWidth", "gpu.pcie.width", "count", limits=LANES),
    simple("nvmlDeviceGetMaxPcieLinkWidth", "gpu.pcie.width.max", "count", limits=LANES),
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
    simple("nvmlDeviceGetPersistenceMode", "gpu.persistence", "flag"),
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
    simple("nvmlDeviceGetRetiredPagesPendingStatus", "gpu.pages.pending", "flag"),
)
