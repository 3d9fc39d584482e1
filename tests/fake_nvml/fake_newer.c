/*
 * The part of the fake NVML that newer drivers, MIG, confidential computing and
 * boards with fans have, and what monitors of utilisation ask.
 */
#include "scenario.h"

static nvmlReturn_t versioned(unsigned int version, size_t size, unsigned int number)
{
    return version == ((unsigned int)size | number << 24) ? SUCCESS : ARGUMENT_VERSION_MISMATCH;
}

/* A value that this GPU has only if the scenario says so. */
#define MAYBE(key) if (unsupported_unless(gpu, key)) return NOT_SUPPORTED

static int unsupported_unless(int gpu, const char *key)
{
    char text[512];
    text_of(gpu, key, "unsupported", text, sizeof text);
    return !strcmp(text, "unsupported");
}

#define MAYBE_UINT(function, key) \
    API function(nvmlDevice_t device, unsigned int *out) { DEVICE(device); MAYBE(key); return give_uint(act, gpu, key, 0, out); }

/* ---- memory ------------------------------------------------------------------- */

typedef struct { unsigned int version, entryCount; void *entries; } nvmlEccSramUnique_t;

API nvmlDeviceGetSramUniqueUncorrectedEccErrorCounts(nvmlDevice_t device, nvmlEccSramUnique_t *out)
{
    DEVICE(device);
    nvmlReturn_t code = versioned(out->version, sizeof *out, 1);
    if (code)
        return code;
    MAYBE("sram.unique");
    code = give_uint(act, gpu, "sram.unique", 0, &out->entryCount);
    return code ? code : out->entryCount ? INSUFFICIENT_SIZE : SUCCESS;
}

typedef struct { unsigned int corrActive, corrInactive, uncActive, uncInactive, pending, failure; } nvmlRemappedRowsInfo_t;

API nvmlDeviceGetRemappedRows_v2(nvmlDevice_t device, nvmlRemappedRowsInfo_t *out)
{
    DEVICE(device);
    MAYBE("rows.corrected.inactive");
    memset(out, 0, sizeof *out);
    nvmlReturn_t code = give_uint(act, gpu, "rows.corrected.inactive", 0, &out->corrInactive);
    return code ? code : give_uint(act, gpu, "rows.uncorrected.inactive", 0, &out->uncInactive);
}

typedef struct { unsigned int active, inactive, pending, full, none; } nvmlBankRemapper_t;

API nvmlDeviceGetBankRemapperStatus_v1(nvmlDevice_t device, nvmlBankRemapper_t *out)
{
    DEVICE(device);
    MAYBE("banks.active");
    nvmlReturn_t code = give_uint(act, gpu, "banks.active", 0, &out->active);
    code = code ? code : give_uint(act, gpu, "banks.inactive", 0, &out->inactive);
    code = code ? code : give_uint(act, gpu, "banks.pending", 0, &out->pending);
    code = code ? code : give_uint(act, gpu, "banks.groups.full", 64, &out->full);
    return code ? code : give_uint(act, gpu, "banks.groups.none", 0, &out->none);
}

typedef struct { unsigned int version, channel, tpc; } nvmlRepairStatus_t;

API nvmlDeviceGetRepairStatus(nvmlDevice_t device, nvmlRepairStatus_t *out)
{
    DEVICE(device);
    nvmlReturn_t code = versioned(out->version, sizeof *out, 1);
    code = code ? code : give_uint(act, gpu, "repair.channel", 0, &out->channel);
    return code ? code : give_uint(act, gpu, "repair.tpc", 0, &out->tpc);
}

typedef struct { unsigned int version, flag; } nvmlUnrepairableMemory_t;

API nvmlDeviceGetUnrepairableMemoryFlag_v1(nvmlDevice_t device, nvmlUnrepairableMemory_t *out)
{
    DEVICE(device);
    nvmlReturn_t code = versioned(out->version, sizeof *out, 1);
    return code ? code : give_uint(act, gpu, "memory.unrepairable", 0, &out->flag);
}

/* ---- firmware and place ---------------------------------------------------------- */

API nvmlDeviceGetGspFirmwareMode(nvmlDevice_t device, unsigned int *enabled, unsigned int *otherwise)
{
    DEVICE(device);
    nvmlReturn_t code = give_uint(act, gpu, "gsp.mode", 1, enabled);
    return code ? code : give_uint(act, gpu, "gsp.mode.default", 1, otherwise);
}

API nvmlDeviceGetInforomConfigurationChecksum(nvmlDevice_t device, unsigned int *out) { DEVICE(device); return give_uint(act, gpu, "inforom.checksum", 0x1a2b3c4d, out); }
API nvmlDeviceGetIrqNum(nvmlDevice_t device, unsigned int *out) { DEVICE(device); return give_uint(act, gpu, "irq", 120 + gpu, out); }
MAYBE_UINT(nvmlDeviceGetBBXTimeData_v1, "lifetime")

typedef struct { unsigned int version; unsigned char guid[16], chassis[16], slot, tray, host, peer, module; } nvmlPlatformInfo_t;

API nvmlDeviceGetPlatformInfo(nvmlDevice_t device, nvmlPlatformInfo_t *out)
{
    DEVICE(device);
    nvmlReturn_t code = versioned(out->version, sizeof *out, 2);
    char text[512];
    if (code)
        return code;
    MAYBE("platform.chassis");
    if (act.garbage) {
        fill_garbage(out, sizeof *out);
        return SUCCESS;
    }
    snprintf((char *)out->chassis, sizeof out->chassis, "%.15s", text_of(gpu, "platform.chassis", "", text, sizeof text));
    out->slot = (unsigned char)number_of(gpu, "platform.slot", 0);
    out->tray = (unsigned char)number_of(gpu, "platform.tray", 0);
    out->host = (unsigned char)number_of(gpu, "platform.host", 0);
    out->peer = (unsigned char)number_of(gpu, "platform.peer", 0);
    out->module = (unsigned char)number_of(gpu, "platform.module", gpu + 1);
    return SUCCESS;
}

/* ---- heat, power, fans --------------------------------------------------------------- */

typedef struct { unsigned int version; int margin; } nvmlMarginTemperature_t;

API nvmlDeviceGetMarginTemperature(nvmlDevice_t device, nvmlMarginTemperature_t *out)
{
    DEVICE(device);
    nvmlReturn_t code = versioned(out->version, sizeof *out, 1);
    return code ? code : give_uint(act, gpu, "temperature.margin", 49, (unsigned int *)&out->margin);
}

typedef struct { unsigned int count; struct { int controller, least, most, now, target; } sensor[3]; } nvmlThermalSettings_t;

API nvmlDeviceGetThermalSettings(nvmlDevice_t device, unsigned int sensor, nvmlThermalSettings_t *out)
{
    DEVICE(device);
    (void)sensor;
    memset(out, 0, sizeof *out);
    out->count = (unsigned int)number_of(gpu, "thermal.sensors", 1);
    if (!out->count)
        return SUCCESS;
    out->sensor[0].target = 1;
    return give_uint(act, gpu, "temperature", 38, (unsigned int *)&out->sensor[0].now);
}

UINT(nvmlDeviceGetPowerSource, "power.source", 0)
MAYBE_UINT(nvmlDeviceGetNumFans, "fans")

API nvmlDeviceGetFanSpeed_v2(nvmlDevice_t device, unsigned int fan, unsigned int *out)
{
    DEVICE(device);
    char key[32];
    MAYBE("fans");
    if (fan >= number_of(gpu, "fans", 0))
        return INVALID_ARGUMENT;
    snprintf(key, sizeof key, "fan.%u.speed", fan);
    return give_uint(act, gpu, key, 30, out);
}

MAYBE_UINT(nvmlDeviceGetFanSpeed, "fans")

typedef struct { unsigned int version, fan, speed; } nvmlFanSpeedInfo_t;

API nvmlDeviceGetFanSpeedRPM(nvmlDevice_t device, nvmlFanSpeedInfo_t *out)
{
    DEVICE(device);
    nvmlReturn_t code = versioned(out->version, sizeof *out, 1);
    if (code)
        return code;
    MAYBE("fans");
    return give_uint(act, gpu, "fan.rpm", 1800, &out->speed);
}

typedef struct { unsigned int fault, listed; struct { unsigned int domain, mask; } list[32]; } nvmlClkMonStatus_t;

API nvmlDeviceGetClkMonStatus(nvmlDevice_t device, nvmlClkMonStatus_t *out)
{
    DEVICE(device);
    memset(out, 0, sizeof *out);
    return give_uint(act, gpu, "clock.fault", 0, &out->fault);
}

typedef struct { unsigned long long reference, violation; } nvmlViolationTime_t;

API nvmlDeviceGetViolationStatus(nvmlDevice_t device, unsigned int policy, nvmlViolationTime_t *out)
{
    DEVICE(device);
    char key[32];
    if (policy > 11)
        return INVALID_ARGUMENT;
    snprintf(key, sizeof key, "violation.policy.%u", policy);
    out->reference = 0;
    return give_ulong(act, gpu, key, 0, &out->violation);
}

UINT(nvmlDeviceGetGpuMaxPcieLinkGeneration, "pcie.generation.gpu-max", 5)

/* ---- MIG ------------------------------------------------------------------------------- */

#define MIGS 7
static struct device migs[MAX_GPUS][MIGS];

UINT(nvmlDeviceGetMaxMigDeviceCount, "mig.most", MIGS)

API nvmlDeviceGetMigDeviceHandleByIndex(nvmlDevice_t device, unsigned int index, nvmlDevice_t *out)
{
    DEVICE(device);
    if (index >= MIGS)
        return INVALID_ARGUMENT;
    if (index >= number_of(gpu, "mig.devices", 0))
        return NOT_FOUND;
    migs[gpu][index] = (struct device){(unsigned int)gpu, index + 1};
    *out = &migs[gpu][index];
    return SUCCESS;
}

API nvmlDeviceGetGpuInstanceId(nvmlDevice_t device, unsigned int *out) { DEVICE(device); (void)gpu; *out = device->mig; return device->mig ? SUCCESS : NOT_SUPPORTED; }
API nvmlDeviceGetComputeInstanceId(nvmlDevice_t device, unsigned int *out) { DEVICE(device); (void)gpu; *out = 0; return device->mig ? SUCCESS : NOT_SUPPORTED; }

typedef struct { unsigned int multiprocessors, copy, decoder, encoder, jpeg, ofa, gpu_slices, compute_slices; unsigned long long megabytes; } nvmlDeviceAttributes_t;

API nvmlDeviceGetAttributes_v2(nvmlDevice_t device, nvmlDeviceAttributes_t *out)
{
    DEVICE(device);
    char key[64];
    if (!device->mig)
        return NOT_SUPPORTED;
    memset(out, 0, sizeof *out);
    nvmlReturn_t code = give_uint(act, gpu, key_of(device, "multiprocessors", key, sizeof key), 16, &out->multiprocessors);
    code = code ? code : give_uint(act, gpu, key_of(device, "slices.gpu", key, sizeof key), 1, &out->gpu_slices);
    return code ? code : give_uint(act, gpu, key_of(device, "slices.compute", key, sizeof key), 1, &out->compute_slices);
}

API nvmlDeviceIsMigDeviceHandle(nvmlDevice_t device, unsigned int *out) { DEVICE(device); (void)gpu; *out = device->mig != 0; return SUCCESS; }

/* ---- the node ------------------------------------------------------------------------- */

typedef struct { unsigned int environment, feature, devtools; } nvmlConfComputeSystemState_t;

API nvmlSystemGetConfComputeState(nvmlConfComputeSystemState_t *out)
{
    ENTER(-1);
    nvmlReturn_t code = give_uint(act, -1, "confidential.environment", 0, &out->environment);
    code = code ? code : give_uint(act, -1, "confidential.feature", 0, &out->feature);
    return code ? code : give_uint(act, -1, "confidential.devtools", 0, &out->devtools);
}

API nvmlSystemGetConfComputeGpusReadyState(unsigned int *out) { ENTER(-1); return give_uint(act, -1, "confidential.ready", 0, out); }

typedef struct { unsigned int mask; char uuid[80]; unsigned long long handle; unsigned char *buffer; unsigned int size; } nvmlGetCPER_t;

/* Answers the question for the size of what waits, which is all that is asked of it. */
API nvmlSystemGetCPER_v1(nvmlGetCPER_t *out)
{
    ENTER(-1);
    if (out->mask != 1 || out->buffer || out->size)
        return INVALID_ARGUMENT;
    nvmlReturn_t code = give_uint(act, -1, "error-records", 0, &out->size);
    return code ? code : out->size ? INSUFFICIENT_SIZE : SUCCESS;
}

/* ---- what monitors of utilisation ask --------------------------------------------------- */

API nvmlSystemGetProcessName(unsigned int pid, char *out, unsigned int size) { ENTER(-1); snprintf(out, size, "process-%u", pid); return SUCCESS; }
API nvmlDeviceGetTotalEnergyConsumption(nvmlDevice_t device, unsigned long long *out) { DEVICE(device); return give_ulong(act, gpu, "energy", 123456789, out); }
UINT(nvmlDeviceGetPowerManagementLimit, "power.limit", 700000)
UINT(nvmlDeviceGetDisplayActive, "display.active", 0)
UINT(nvmlDeviceGetDisplayMode, "display.mode", 0)
UINT(nvmlDeviceGetComputeMode, "compute.mode", 0)
API nvmlDeviceGetDriverModel_v2(nvmlDevice_t device, unsigned int *current, unsigned int *pending) { DEVICE(device); (void)gpu, (void)current, (void)pending; return NOT_SUPPORTED; }
API nvmlDeviceGetDriverModel(nvmlDevice_t device, unsigned int *current, unsigned int *pending) { DEVICE(device); (void)gpu, (void)current, (void)pending; return NOT_SUPPORTED; }
UINT(nvmlDeviceGetBoardId, "board", 0)
UINT(nvmlDeviceGetNumGpuCores, "cores", 16896)
UINT(nvmlDeviceGetMemoryBusWidth, "memory.bus-width", 5120)
UINT(nvmlDeviceGetBrand, "brand", 14)
UINT(nvmlDeviceGetArchitecture, "architecture", 9)

static nvmlReturn_t give_utilization(struct behaviour act, int gpu, const char *key, unsigned int *out, unsigned int *period)
{
    *period = 167000;
    return give_uint(act, gpu, key, 0, out);
}

API nvmlDeviceGetEncoderUtilization(nvmlDevice_t device, unsigned int *out, unsigned int *period) { DEVICE(device); return give_utilization(act, gpu, "encoder", out, period); }
API nvmlDeviceGetDecoderUtilization(nvmlDevice_t device, unsigned int *out, unsigned int *period) { DEVICE(device); return give_utilization(act, gpu, "decoder", out, period); }
API nvmlDeviceGetJpgUtilization(nvmlDevice_t device, unsigned int *out, unsigned int *period) { DEVICE(device); return give_utilization(act, gpu, "jpeg", out, period); }
API nvmlDeviceGetOfaUtilization(nvmlDevice_t device, unsigned int *out, unsigned int *period) { DEVICE(device); return give_utilization(act, gpu, "ofa", out, period); }

API nvmlDeviceGetCudaComputeCapability(nvmlDevice_t device, int *major, int *minor) { DEVICE(device); (void)gpu; *major = 9; *minor = 0; return SUCCESS; }

typedef struct { unsigned long long total, free, used; } nvmlBAR1Memory_t;
API nvmlDeviceGetBAR1MemoryInfo(nvmlDevice_t device, nvmlBAR1Memory_t *out)
{
    DEVICE(device);
    nvmlReturn_t code = give_ulong(act, gpu, "bar1.total", 137438953472ll, &out->total);
    out->used = 2 << 20;
    out->free = out->total - out->used;
    return code;
}

typedef struct { unsigned int version; unsigned long long total, reserved, free, used; } nvmlMemory_v2_t;
API nvmlDeviceGetMemoryInfo_v2(nvmlDevice_t device, nvmlMemory_v2_t *out)
{
    DEVICE(device);
    nvmlReturn_t code = versioned(out->version, sizeof *out, 2);
    code = code ? code : give_ulong(act, gpu, "memory.total", 85520809984ll, &out->total);
    code = code ? code : give_ulong(act, gpu, "memory.used", 4194304, &out->used);
    out->reserved = 0;
    out->free = out->total - out->used;
    return code;
}

/* A real one measures for 20 ms. */
API nvmlDeviceGetPcieThroughput(nvmlDevice_t device, unsigned int counter, unsigned int *out) { DEVICE(device); (void)counter; return give_uint(act, gpu, "pcie.throughput", 0, out); }

typedef struct { unsigned int pid; unsigned long long at; unsigned int sm, memory, encoder, decoder; } nvmlProcessUtilizationSample_t;
API nvmlDeviceGetProcessUtilization(nvmlDevice_t device, nvmlProcessUtilizationSample_t *out, unsigned int *count, unsigned long long since)
{
    DEVICE(device);
    (void)gpu, (void)out, (void)since;
    *count = 0;
    return SUCCESS;
}
