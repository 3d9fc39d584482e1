"""What NVML is asked of the node, and of the devices that a GPU is split into (MIG), as tables."""

from __future__ import annotations

from probes.nvml_shapes import SWITCH, Call, Out, simple, ways

CC_ENVIRONMENT = {0: "unavailable", 1: "simulation", 2: "production"}

# What each MIG device of a GPU is asked; its readings are those of an entity of its own.
MIG_CALLS: tuple[Call, ...] = (
    simple("nvmlDeviceGetGpuInstanceId", "mig.gpu-instance", "count"),
    simple("nvmlDeviceGetComputeInstanceId", "mig.compute-instance", "count"),
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
    simple("nvmlSystemGetDriverVersion", "driver.version", "text"),
    simple("nvmlSystemGetNVMLVersion", "nvml.version", "text"),
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
    simple("nvmlSystemGetConfComputeGpusReadyState", "confidential.ready", "flag"),
)
# Asked apart, because it wants to be told what is asked for: the bytes of platform error records that wait.
CPER = Out("nvml.error-records", "bytes", pick="bufferSize")
CPER_CALL = "nvmlSystemGetCPER_v1"
