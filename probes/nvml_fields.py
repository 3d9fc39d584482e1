"""What is asked of NVML through nvmlDeviceGetFieldValues, which answers many questions in one call.

Times are nanoseconds, temperatures marked `limit` are degrees left to that
limit.  The numbers of some fields meant something else in older branches
(CLOCKS_EVENT_REASON and PWR_SMOOTHING before 580), hence `since`.
"""

from __future__ import annotations

from typing import Optional

from probes.nvml_shapes import CELSIUS, MARGIN, PERCENT, SWITCH, WATTS, Field, Link, Out

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


def _count(constant: str, name: str, since: int = 0) -> Field:
    return Field(f"NVML_FI_DEV_{constant}", Out(name, "count"), since)


def _flag(constant: str, name: str, since: int = 0) -> Field:
    return Field(f"NVML_FI_DEV_{constant}", Out(name, "flag"), since)


def _seconds(constant: str, name: str, since: int = 0) -> Field:
    return Field(f"NVML_FI_DEV_{constant}", Out(name, "seconds", scale=1e-9), since)


def _margin(constant: str, name: str) -> Field:
    return Field(f"NVML_FI_DEV_TEMPERATURE_{constant}_TLIMIT", Out(name, "celsius", limits=MARGIN))


FIELDS: tuple[Field, ...] = (
    Field("NVML_FI_DEV_GET_GPU_RECOVERY_ACTION", Out("gpu.recovery-action", "text", words=RECOVERY_ACTION), 565),
    # before the recovery action there were these two; 570 and later answer them no more
    _flag("RESET_STATUS", "gpu.reset-needed", 560),
    _flag("DRAIN_AND_RESET_STATUS", "gpu.drain-and-reset-advised", 560),
    # memory errors; most of them stand in for calls
    Field("NVML_FI_DEV_ECC_CURRENT", Out("gpu.ecc.mode", "text", words=SWITCH)),
    _count("ECC_SBE_VOL_TOTAL", "gpu.ecc.corrected.volatile"),
    _count("ECC_DBE_VOL_TOTAL", "gpu.ecc.uncorrected.volatile"),
    _count("ECC_SBE_AGG_TOTAL", "gpu.ecc.corrected.aggregate"),
    _count("ECC_DBE_AGG_TOTAL", "gpu.ecc.uncorrected.aggregate"),
    _count("ECC_DBE_VOL_DEV", "gpu.ecc.dram.uncorrected.volatile"),
    _count("ECC_DBE_VOL_L2", "gpu.ecc.l2.uncorrected.volatile"),
    _count("ECC_DBE_VOL_REG", "gpu.ecc.register.uncorrected.volatile"),
    _count("REMAPPED_COR", "gpu.rows.corrected"),
    _count("REMAPPED_UNC", "gpu.rows.uncorrected"),
    _flag("REMAPPED_PENDING", "gpu.rows.pending"),
    _flag("REMAPPED_FAILURE", "gpu.rows.failure"),
    _count("REMAPPED_ROWS_COR_INACTIVE", "gpu.rows.corrected.inactive", 610),
    _count("REMAPPED_ROWS_UNC_INACTIVE", "gpu.rows.uncorrected.inactive", 610),
    _count("ACTIVE_BANK_REMAPPINGS", "gpu.banks.active", 610),
    _count("INACTIVE_BANK_REMAPPINGS", "gpu.banks.inactive", 610),
    _flag("PENDING_BANK_REMAPPING", "gpu.banks.pending", 610),
    _count("BANK_REMAPPER_HISTOGRAM_MAX", "gpu.banks.groups.full", 610),
    _count("BANK_REMAPPER_HISTOGRAM_NONE", "gpu.banks.groups.none", 610),
    _count("RETIRED_SBE", "gpu.pages.retired.single-bit"),
    _count("RETIRED_DBE", "gpu.pages.retired.double-bit"),
    _flag("RETIRED_PENDING", "gpu.pages.pending"),
    # heat and power
    Field("NVML_FI_DEV_MEMORY_TEMP", Out("gpu.temperature.memory", "celsius", limits=CELSIUS)),
    _margin("SHUTDOWN", "gpu.temperature.limit.shutdown"),
    _margin("SLOWDOWN", "gpu.temperature.limit.slowdown"),
    _margin("MEM_MAX", "gpu.temperature.limit.memory"),
    _margin("GPU_MAX", "gpu.temperature.limit.gpu"),
    Field("NVML_FI_DEV_POWER_INSTANT", Out("gpu.power.instant", "watts", scale=1e-3, limits=WATTS)),
    Field("NVML_FI_DEV_EDPP_MULTIPLIER", Out("gpu.power.peak-share", "ratio", scale=1e-2), 590),
    Field(
        "NVML_FI_PWR_SMOOTHING_HW_CIRCUITRY_PERCENT_LIFETIME_REMAINING",
        Out("gpu.power.smoothing.life", "ratio", scale=1e-2, limits=PERCENT),
        580,
    ),
    _seconds("PERF_POLICY_POWER", "gpu.violation.power"),
    _seconds("PERF_POLICY_THERMAL", "gpu.violation.thermal"),
    _seconds("PERF_POLICY_BOARD_LIMIT", "gpu.violation.board-limit"),
    _seconds("PERF_POLICY_RELIABILITY", "gpu.violation.reliability"),
    _seconds("CLOCKS_EVENT_REASON_SW_THERM_SLOWDOWN", "gpu.violation.sw-thermal", 580),
    _seconds("CLOCKS_EVENT_REASON_HW_THERM_SLOWDOWN", "gpu.violation.hw-thermal", 580),
    _seconds("CLOCKS_EVENT_REASON_HW_POWER_BRAKE_SLOWDOWN", "gpu.violation.power-brake", 580),
    # PCIe
    _count("PCIE_REPLAY_COUNTER", "gpu.pcie.replays"),
    _count("PCIE_REPLAY_ROLLOVER_COUNTER", "gpu.pcie.replay-rollovers"),
    _count("PCIE_L0_TO_RECOVERY_COUNTER", "gpu.pcie.recoveries", 525),
    _count("PCIE_COUNT_CORRECTABLE_ERRORS", "gpu.pcie.errors.corrected", 535),
    _count("PCIE_COUNT_NON_FATAL_ERROR", "gpu.pcie.errors.nonfatal", 535),
    _count("PCIE_COUNT_FATAL_ERROR", "gpu.pcie.errors.fatal", 535),
    _count("PCIE_COUNT_UNSUPPORTED_REQ", "gpu.pcie.errors.unsupported-request", 535),
    _count("PCIE_COUNT_RECEIVER_ERROR", "gpu.pcie.errors.receiver", 535),
    _count("PCIE_COUNT_BAD_TLP", "gpu.pcie.errors.bad-tlp", 535),
    _count("PCIE_COUNT_BAD_DLLP", "gpu.pcie.errors.bad-dllp", 535),
    _count("PCIE_COUNT_NAKS_RECEIVED", "gpu.pcie.errors.naks-received", 535),
    _count("PCIE_COUNT_NAKS_SENT", "gpu.pcie.errors.naks-sent", 535),
    _count("PCIE_COUNT_LCRC_ERROR", "gpu.pcie.errors.lcrc", 535),
    _count("PCIE_COUNT_LANE_ERROR", "gpu.pcie.errors.lane", 535),
    # nvmlDeviceGetPcieThroughput measures for 20 ms a call; these two only count
    Field("NVML_FI_DEV_PCIE_COUNT_TX_BYTES", Out("gpu.pcie.sent", "bytes"), 550),
    Field("NVML_FI_DEV_PCIE_COUNT_RX_BYTES", Out("gpu.pcie.received", "bytes"), 550),
    # how many links there are
    Field("NVML_FI_DEV_NVLINK_LINK_COUNT", Out("gpu.nvlink.links", "count", limits=(0.0, 64.0))),
    Field("NVML_FI_DEV_C2C_LINK_COUNT", Out("gpu.c2c.links", "count", limits=(0.0, 64.0)), 535),
)


def _link(constant: str, name: str, since: int = 570, each: bool = True) -> Link:
    return Link(f"NVML_FI_DEV_NVLINK_{constant}", Out(f"gpu.nvlink.{name}", "count"), since, "sum", each)


def _ber(constant: str, name: str, since: int = 570) -> Link:
    return Link(
        f"NVML_FI_DEV_NVLINK_COUNT_{constant}",
        Out(f"gpu.nvlink.ber.{name}", "ratio", form="ber"),
        since,
        "most",
        each=name != "raw",  # the line has errors all the time, which is what the codes are there for
    )


NVLINK_STATE = Link("NVML_FI_DEV_NVLINK_GET_STATE", Out("gpu.nvlink.active", "flag"), 535, "least", each=False)
NVLINKS: tuple[Link, ...] = (
    Link(
        "NVML_FI_DEV_NVLINK_GET_SPEED",
        Out("gpu.nvlink.speed", "bytes-per-second", scale=1e6),
        535,
        "least",
        each=False,
    ),
    _link("COUNT_MALFORMED_PACKET_ERRORS", "errors.malformed-packet"),
    _link("COUNT_BUFFER_OVERRUN_ERRORS", "errors.buffer-overrun"),
    _link("COUNT_RCV_ERRORS", "errors.receive"),
    _link("COUNT_RCV_REMOTE_ERRORS", "errors.receive-remote"),
    _link("COUNT_RCV_GENERAL_ERRORS", "errors.receive-general"),
    _link("COUNT_LOCAL_LINK_INTEGRITY_ERRORS", "errors.link-integrity"),
    _link("COUNT_XMIT_DISCARDS", "errors.discards"),
    _link("COUNT_EFFECTIVE_ERRORS", "errors.effective"),
    _link("COUNT_SYMBOL_ERRORS", "errors.symbol"),
    _link("COUNT_LINK_RECOVERY_EVENTS", "recovery.events"),
    _link("COUNT_LINK_RECOVERY_SUCCESSFUL_EVENTS", "recovery.successes"),
    _link("COUNT_LINK_RECOVERY_FAILED_EVENTS", "recovery.failures"),
    _ber("EFFECTIVE_BER", "effective"),
    _ber("SYMBOL_BER", "symbol"),
    _ber("RAW_BER_V2", "raw", 595),
    # blocks by how many symbols had to be corrected, the last one is 15 and more
    *(_link(f"COUNT_FEC_HISTORY_{number}", f"fec.{number}", each=number == 15) for number in range(16)),
)

C2C_LINKS: tuple[Link, ...] = (
    Link("NVML_FI_DEV_C2C_LINK_GET_STATUS", Out("gpu.c2c.active", "flag"), 535, "least", each=False),
    Link("NVML_FI_DEV_C2C_LINK_ERROR_INTR", Out("gpu.c2c.errors.interrupts", "count"), 570),
    Link("NVML_FI_DEV_C2C_LINK_ERROR_REPLAY", Out("gpu.c2c.errors.replays", "count"), 570),
    Link("NVML_FI_DEV_C2C_LINK_ERROR_REPLAY_B2B", Out("gpu.c2c.errors.replays-in-a-row", "count"), 570),
)

# The NVLink error counters that each generation tells in its own way: the field with
# the link as its scope, the fields that hold the sum over all links, and the counters
# of nvmlDeviceGetNvLinkErrorCounter.
NVLINK_ERRORS: tuple[tuple[str, Optional[str], tuple[str, ...], tuple[str, ...]], ...] = (
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
    (
        "gpu.nvlink.errors.ecc",
        None,
        ("NVML_FI_DEV_NVLINK_ECC_DATA_ERROR_COUNT_TOTAL",),
        ("NVML_NVLINK_ERROR_DL_ECC_DATA",),
    ),
)
