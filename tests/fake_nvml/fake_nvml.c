/*
 * A libnvidia-ml.so.1 without a GPU: it speaks NVML's binary interface and
 * answers from a scenario, so that the real bindings can be tested against a
 * driver that hangs, crashes, loses a GPU or is older than the bindings.
 *
 * The scenario is the file named by FAKE_NVML_SCENARIO.  It is looked at anew on
 * every call, so it may be replaced while a program runs.  One `key = value` a line:
 *
 *   gpus = 8                              number of GPUs (default 1)
 *   driver.version = 580.65.06            values of the node
 *   gpu.3.temperature = 91                a value of one GPU
 *   gpu.*.power = 250000                  ... of every GPU not named itself
 *   gpu.3.field.82 = 75                   a field value; `.82.7` with scope 7
 *   gpu.3.field.82 = !NOT_SUPPORTED       ... or the error of that field
 *   do.nvmlInitWithFlags = NO_PERMISSION  how a call behaves
 *   gpu.3.do.nvmlDeviceGetName = hang     ... for one GPU
 *   gpu.3.do.* = GPU_IS_LOST              ... for every call on it
 *   event = 1 3 8 79                      event number 1: GPU 3, type 8, data 79
 *
 * Later lines win, a named GPU beats `*`, a named function beats `*`.  A
 * behaviour is words: an error's name without NVML_ERROR_, `value:N` (N for
 * every number and text that the call gives), `delay_ms:N`,
 * `hang` (for ever), `crash` (SIGSEGV), `abort` (SIGABRT), `kill` (SIGKILL, as the kernel
 * does for its memory), `garbage` (nonsense in the outputs),
 * `block:PATH` (open PATH for writing: on a frozen file system the process
 * stays uninterruptible, as behind a stuck driver), `print:WORD` (write WORD to
 * standard output, as a library should not).
 *
 * Layouts and numbers follow the public nvml.h as nvidia-ml-py mirrors it.
 */
#include "scenario.h"

static struct device devices[MAX_GPUS];

/* ---- the system ---------------------------------------------------------- */

API nvmlInitWithFlags(unsigned int flags) { (void)flags; ENTER(-1); return SUCCESS; }
API nvmlInit_v2(void) { ENTER(-1); return SUCCESS; }
API nvmlShutdown(void) { ENTER(-1); return SUCCESS; }
API nvmlSystemGetDriverVersion(char *out, unsigned int size) { ENTER(-1); return give_text(act, -1, "driver.version", "580.65.06", out, size); }
API nvmlSystemGetNVMLVersion(char *out, unsigned int size) { ENTER(-1); return give_text(act, -1, "nvml.version", "13.580.65.06", out, size); }
API nvmlSystemGetCudaDriverVersion_v2(int *out) { ENTER(-1); return give_uint(act, -1, "cuda.version", 13000, (unsigned int *)out); }
API nvmlSystemGetCudaDriverVersion(int *out) { ENTER(-1); return give_uint(act, -1, "cuda.version", 13000, (unsigned int *)out); }
API nvmlDeviceGetCount_v2(unsigned int *out) { ENTER(-1); *out = act.garbage ? 0xffffffffu : gpu_count(); return SUCCESS; }

__attribute__((visibility("default"))) const char *nvmlErrorString(nvmlReturn_t code)
{
    for (size_t i = 0; i < sizeof RETURNS / sizeof *RETURNS; i++)
        if (RETURNS[i].code == code)
            return RETURNS[i].name;
    return "Unknown";
}

/* ---- identity --------------------------------------------------------------- */

static const char *default_pci(int gpu, char *out, size_t size)
{
    snprintf(out, size, "00000000:%02X:00.0", 0x10 + gpu);
    return out;
}

API nvmlDeviceGetHandleByIndex_v2(unsigned int index, nvmlDevice_t *out)
{
    ENTER((int)index);
    if (index >= gpu_count())
        return INVALID_ARGUMENT;
    devices[index].index = index;
    *out = &devices[index];
    return SUCCESS;
}

typedef struct {
    char busIdLegacy[16];
    unsigned int domain, bus, device, pciDeviceId, pciSubSystemId;
    char busId[32];
} nvmlPciInfo_t;

API nvmlDeviceGetPciInfo_v3(nvmlDevice_t device, nvmlPciInfo_t *out)
{
    DEVICE(device);
    char otherwise[32], text[512];
    unsigned int function = 0;
    memset(out, 0, sizeof *out);
    if (act.garbage) {
        fill_garbage(out, sizeof *out);
        return SUCCESS;
    }
    text_of(gpu, "pci", default_pci(gpu, otherwise, sizeof otherwise), text, sizeof text);
    sscanf(text, "%x:%x:%x.%x", &out->domain, &out->bus, &out->device, &function);
    snprintf(out->busId, sizeof out->busId, "%.31s", text);
    snprintf(out->busIdLegacy, sizeof out->busIdLegacy, "%04X:%02X:%02X.0", out->domain & 0xffff, out->bus & 0xff, out->device & 0xff);
    out->pciDeviceId = (unsigned int)number_of(gpu, "pci.device-id", 0x233010de);
    out->pciSubSystemId = 0x16c110de;
    return SUCCESS;
}

API nvmlDeviceGetUUID(nvmlDevice_t device, char *out, unsigned int size)
{
    DEVICE(device);
    char otherwise[64];
    if (device->mig) {
        snprintf(otherwise, sizeof otherwise, "MIG-00000000-0000-4000-8000-%04d%08u", gpu, device->mig - 1);
        return give_text(act, gpu, "mig.uuid", otherwise, out, size);
    }
    snprintf(otherwise, sizeof otherwise, "GPU-00000000-0000-4000-8000-%012d", gpu);
    return give_text(act, gpu, "uuid", otherwise, out, size);
}

API nvmlDeviceGetSerial(nvmlDevice_t device, char *out, unsigned int size)
{
    DEVICE(device);
    char otherwise[32];
    snprintf(otherwise, sizeof otherwise, "165492300%04d", gpu);
    return give_text(act, gpu, "serial", otherwise, out, size);
}

API nvmlDeviceGetMinorNumber(nvmlDevice_t device, unsigned int *out) { DEVICE(device); return give_uint(act, gpu, "minor", gpu, out); }
API nvmlDeviceGetIndex(nvmlDevice_t device, unsigned int *out) { DEVICE(device); *out = (unsigned int)gpu; return SUCCESS; }
API nvmlDeviceGetModuleId(nvmlDevice_t device, unsigned int *out) { DEVICE(device); return give_uint(act, gpu, "module-id", gpu + 1, out); }
API nvmlDeviceGetName(nvmlDevice_t device, char *out, unsigned int size)
{
    DEVICE(device);
    char key[64];
    const char *name = device->mig ? "NVIDIA H100 80GB HBM3 MIG 1g.10gb" : "NVIDIA H100 80GB HBM3";
    return give_text(act, gpu, key_of(device, "name", key, sizeof key), name, out, size);
}
TEXT(nvmlDeviceGetBoardPartNumber, "part-number", "692-2G520-0200-000")
TEXT(nvmlDeviceGetVbiosVersion, "vbios", "96.00.89.00.01")
TEXT(nvmlDeviceGetInforomImageVersion, "inforom", "G520.0200.00.05")
API nvmlDeviceGetGspFirmwareVersion(nvmlDevice_t device, char *out) { DEVICE(device); return give_text(act, gpu, "gsp", "580.65.06", out, 0x40); }
API nvmlDeviceValidateInforom(nvmlDevice_t device) { DEVICE(device); return SUCCESS; }

/* ---- memory errors -------------------------------------------------------------- */

static const char *const TYPES[] = {"corrected", "uncorrected"};
static const char *const LIFETIMES[] = {"volatile", "aggregate"};
static const char *const LOCATIONS[] = {"l1", "l2", "dram", "register", "texture", "shm", "cbu", "sram"};

API nvmlDeviceGetEccMode(nvmlDevice_t device, unsigned int *current, unsigned int *pending)
{
    DEVICE(device);
    nvmlReturn_t code = give_uint(act, gpu, "ecc.mode", 1, current);
    return code ? code : give_uint(act, gpu, "ecc.pending", *current, pending);
}

API nvmlDeviceGetTotalEccErrors(nvmlDevice_t device, unsigned int type, unsigned int lifetime, unsigned long long *out)
{
    DEVICE(device);
    char key[64];
    if (type > 1 || lifetime > 1)
        return INVALID_ARGUMENT;
    snprintf(key, sizeof key, "ecc.%s.%s", TYPES[type], LIFETIMES[lifetime]);
    return give_ulong(act, gpu, key, 0, out);
}

API nvmlDeviceGetMemoryErrorCounter(nvmlDevice_t device, unsigned int type, unsigned int lifetime, unsigned int location, unsigned long long *out)
{
    DEVICE(device);
    char key[64];
    if (type > 1 || lifetime > 1 || location > 7)
        return INVALID_ARGUMENT;
    snprintf(key, sizeof key, "ecc.%s.%s.%s", LOCATIONS[location], TYPES[type], LIFETIMES[lifetime]);
    char whole[96];
    return give_ulong(act, gpu, key_of(device, key, whole, sizeof whole), 0, out);
}

typedef struct {
    unsigned int version;
    unsigned long long aggregateUncParity, aggregateUncSecDed, aggregateCor, volatileUncParity, volatileUncSecDed, volatileCor;
    unsigned long long aggregateUncBucketL2, aggregateUncBucketSm, aggregateUncBucketPcie, aggregateUncBucketMcu, aggregateUncBucketOther;
    unsigned int bThresholdExceeded;
} nvmlEccSramErrorStatus_t;

API nvmlDeviceGetSramEccErrorStatus(nvmlDevice_t device, nvmlEccSramErrorStatus_t *out)
{
    DEVICE(device);
    if (out->version != (sizeof *out | 1u << 24))
        return ARGUMENT_VERSION_MISMATCH;
    if (unsupported(gpu, "sram.threshold-exceeded"))
        return NOT_SUPPORTED;
    if (act.garbage) {
        fill_garbage(out, sizeof *out);
        return SUCCESS;
    }
#define SRAM(member, key) out->member = (unsigned long long)number_of(gpu, "sram." key, 0)
    SRAM(aggregateUncParity, "aggregate.parity");
    SRAM(aggregateUncSecDed, "aggregate.sec-ded");
    SRAM(aggregateCor, "aggregate.corrected");
    SRAM(volatileUncParity, "volatile.parity");
    SRAM(volatileUncSecDed, "volatile.sec-ded");
    SRAM(volatileCor, "volatile.corrected");
    SRAM(aggregateUncBucketL2, "aggregate.l2");
    SRAM(aggregateUncBucketSm, "aggregate.sm");
    SRAM(aggregateUncBucketPcie, "aggregate.pcie");
    SRAM(aggregateUncBucketMcu, "aggregate.mcu");
    SRAM(aggregateUncBucketOther, "aggregate.other");
    out->bThresholdExceeded = (unsigned int)number_of(gpu, "sram.threshold-exceeded", 0);
    return SUCCESS;
}

API nvmlDeviceGetRemappedRows(nvmlDevice_t device, unsigned int *corrected, unsigned int *uncorrected, unsigned int *pending, unsigned int *failure)
{
    DEVICE(device);
    nvmlReturn_t code = give_uint(act, gpu, "rows.corrected", 0, corrected);
    code = code ? code : give_uint(act, gpu, "rows.uncorrected", 0, uncorrected);
    code = code ? code : give_uint(act, gpu, "rows.pending", 0, pending);
    return code ? code : give_uint(act, gpu, "rows.failure", 0, failure);
}

API nvmlDeviceGetRowRemapperHistogram(nvmlDevice_t device, unsigned int out[5])
{
    DEVICE(device);
    static const char *const LEFT[] = {"rows.banks.max", "rows.banks.high", "rows.banks.partial", "rows.banks.low", "rows.banks.none"};
    nvmlReturn_t code = SUCCESS;
    for (int i = 0; i < 5 && !code; i++)
        code = give_uint(act, gpu, LEFT[i], i ? 0 : 640, &out[i]);
    return code;
}

/* The retired pages of a cause: `count` of them at made-up addresses. */
API nvmlDeviceGetRetiredPages_v2(nvmlDevice_t device, unsigned int cause, unsigned int *count, unsigned long long *addresses, unsigned long long *times)
{
    DEVICE(device);
    const char *key = cause ? "pages.double-bit" : "pages.single-bit";
    if (cause > 1)
        return INVALID_ARGUMENT;
    if (unsupported(gpu, key))
        return NOT_SUPPORTED;
    unsigned int have = (unsigned int)number_of(gpu, key, 0), room = *count;
    *count = have;
    if (have && (!addresses || room < have))
        return INSUFFICIENT_SIZE;
    for (unsigned int i = 0; i < have; i++) {
        addresses[i] = 0x1000ull * (i + 1);
        if (times)
            times[i] = 1700000000ull + i;
    }
    return SUCCESS;
}

API nvmlDeviceGetRetiredPages(nvmlDevice_t device, unsigned int cause, unsigned int *count, unsigned long long *addresses)
{
    ENTER(device ? (int)device->index : -1);
    return nvmlDeviceGetRetiredPages_v2(device, cause, count, addresses, NULL);
}
UINT(nvmlDeviceGetRetiredPagesPendingStatus, "pages.pending", 0)

/* ---- heat, power, clocks --------------------------------------------------------- */

API nvmlDeviceGetTemperature(nvmlDevice_t device, unsigned int sensor, unsigned int *out)
{
    DEVICE(device);
    return sensor ? INVALID_ARGUMENT : give_uint(act, gpu, "temperature", 38, out);
}

typedef struct { unsigned int version, sensorType; int temperature; } nvmlTemperature_t;

API nvmlDeviceGetTemperatureV(nvmlDevice_t device, nvmlTemperature_t *out)
{
    DEVICE(device);
    if (out->version != (sizeof *out | 1u << 24))
        return ARGUMENT_VERSION_MISMATCH;
    return out->sensorType ? INVALID_ARGUMENT : give_uint(act, gpu, "temperature", 38, (unsigned int *)&out->temperature);
}

API nvmlDeviceGetTemperatureThreshold(nvmlDevice_t device, unsigned int which, unsigned int *out)
{
    DEVICE(device);
    switch (which) {
    case 0: return give_uint(act, gpu, "temperature.shutdown", 92, out);
    case 1: return give_uint(act, gpu, "temperature.slowdown", 89, out);
    case 2: return give_uint(act, gpu, "temperature.memory.max", 95, out);
    case 3: return give_uint(act, gpu, "temperature.max", 87, out);
    default: return NOT_SUPPORTED;
    }
}

UINT(nvmlDeviceGetPowerUsage, "power", 71500)
UINT(nvmlDeviceGetEnforcedPowerLimit, "power.limit", 700000)
UINT(nvmlDeviceGetPerformanceState, "pstate", 0)

static nvmlReturn_t clock_of(struct behaviour act, int gpu, const char *prefix, unsigned int type, long long otherwise, unsigned int *out)
{
    static const char *const CLOCKS[] = {"graphics", "sm", "memory", "video"};
    char key[64];
    if (type > 3)
        return INVALID_ARGUMENT;
    snprintf(key, sizeof key, "%s.%s", prefix, CLOCKS[type]);
    return give_uint(act, gpu, key, otherwise, out);
}

API nvmlDeviceGetClockInfo(nvmlDevice_t device, unsigned int type, unsigned int *out) { DEVICE(device); return clock_of(act, gpu, "clock", type, 1980, out); }
API nvmlDeviceGetMaxClockInfo(nvmlDevice_t device, unsigned int type, unsigned int *out) { DEVICE(device); return clock_of(act, gpu, "clock.max", type, 1980, out); }
API nvmlDeviceGetCurrentClocksEventReasons(nvmlDevice_t device, unsigned long long *out) { DEVICE(device); return give_ulong(act, gpu, "clock.reasons", 1, out); }
API nvmlDeviceGetCurrentClocksThrottleReasons(nvmlDevice_t device, unsigned long long *out) { DEVICE(device); return give_ulong(act, gpu, "clock.reasons", 1, out); }

typedef struct { unsigned int gpu, memory; } nvmlUtilization_t;
typedef struct { unsigned long long total, free, used; } nvmlMemory_t;

API nvmlDeviceGetUtilizationRates(nvmlDevice_t device, nvmlUtilization_t *out)
{
    DEVICE(device);
    nvmlReturn_t code = give_uint(act, gpu, "utilization", 0, &out->gpu);
    return code ? code : give_uint(act, gpu, "utilization.memory", 0, &out->memory);
}

API nvmlDeviceGetMemoryInfo(nvmlDevice_t device, nvmlMemory_t *out)
{
    DEVICE(device);
    char key[64];
    long long total = device->mig ? 10468982784ll : 85520809984ll;
    nvmlReturn_t code = give_ulong(act, gpu, key_of(device, "memory.total", key, sizeof key), total, &out->total);
    code = code ? code : give_ulong(act, gpu, key_of(device, "memory.used", key, sizeof key), 4194304, &out->used);
    out->free = out->total - out->used;
    return code;
}

/* ---- links ------------------------------------------------------------------------ */

UINT(nvmlDeviceGetCurrPcieLinkGeneration, "pcie.generation", 5)
UINT(nvmlDeviceGetCurrPcieLinkWidth, "pcie.width", 16)
UINT(nvmlDeviceGetMaxPcieLinkGeneration, "pcie.generation.max", 5)
UINT(nvmlDeviceGetMaxPcieLinkWidth, "pcie.width.max", 16)
UINT(nvmlDeviceGetPcieReplayCounter, "pcie.replays", 0)

static long long link_count(int gpu) { return number_of(gpu, "nvlink.links", 18); }

static long long link_state(int gpu, unsigned int link)
{
    char key[64];
    snprintf(key, sizeof key, "nvlink.%u.active", link);
    return number_of(gpu, key, 1);
}

API nvmlDeviceGetNvLinkState(nvmlDevice_t device, unsigned int link, unsigned int *out)
{
    DEVICE(device);
    char key[64];
    if (link >= link_count(gpu))
        return INVALID_ARGUMENT;
    snprintf(key, sizeof key, "nvlink.%u.active", link);
    return give_uint(act, gpu, key, 1, out);
}

static const char *const LINK_ERRORS[] = {"replay", "recovery", "crc-flit", "crc-data", "ecc"};

static long long link_errors(int gpu, unsigned int link, const char *what)
{
    char key[64];
    snprintf(key, sizeof key, "nvlink.%u.%s", link, what);
    return number_of(gpu, key, 0);
}

API nvmlDeviceGetNvLinkErrorCounter(nvmlDevice_t device, unsigned int link, unsigned int counter, unsigned long long *out)
{
    DEVICE(device);
    if (link >= link_count(gpu) || counter > 4)
        return INVALID_ARGUMENT;
    *out = (unsigned long long)link_errors(gpu, link, LINK_ERRORS[counter]);
    return SUCCESS;
}

typedef struct {
    unsigned int version;
    unsigned char clusterUuid[16];
    nvmlReturn_t status;
    unsigned int cliqueId, state, healthMask;
    unsigned char healthSummary;
} nvmlGpuFabricInfoV_t;

API nvmlDeviceGetGpuFabricInfoV(nvmlDevice_t device, nvmlGpuFabricInfoV_t *out)
{
    DEVICE(device);
    unsigned int version = out->version >> 24;
    if (version < 2 || version > 3)
        return ARGUMENT_VERSION_MISMATCH;
    if (unsupported(gpu, "fabric.state"))
        return NOT_SUPPORTED;
    memset(out->clusterUuid, 0, sizeof out->clusterUuid);
    out->status = (nvmlReturn_t)number_of(gpu, "fabric.status", 0);
    out->cliqueId = 0;
    out->state = act.garbage ? 0xa5a5a5a5u : (unsigned int)number_of(gpu, "fabric.state", 3);
    out->healthMask = (unsigned int)number_of(gpu, "fabric.health-mask", 0);
    if (version == 3)
        out->healthSummary = (unsigned char)number_of(gpu, "fabric.health", 1);
    return SUCCESS;
}

/* ---- field values -------------------------------------------------------------------- */

typedef struct {
    unsigned int fieldId, scopeId;
    long long timestamp, latencyUsec;
    unsigned int valueType;
    nvmlReturn_t nvmlReturn;
    union { double d; unsigned int ui; unsigned long long ull; long long sll; int si; } value;
} nvmlFieldValue_t;

enum { UNSIGNED_INT = 1, UNSIGNED_LONG_LONG = 3, SIGNED_INT = 5 };

static long long sum_of_links(int gpu, const char *what)
{
    long long sum = 0;
    for (unsigned int link = 0; link < link_count(gpu); link++)
        sum += link_errors(gpu, link, what);
    return sum;
}

/* What a healthy H100 answers, where the scenario does not set the field itself; -1: not supported. */
static long long default_field(int gpu, unsigned int field, unsigned int scope)
{
    switch (field) {
    case 29: return unsupported(gpu, "pages.single-bit") ? -1 : number_of(gpu, "pages.single-bit", 0);
    case 30: return unsupported(gpu, "pages.double-bit") ? -1 : number_of(gpu, "pages.double-bit", 0);
    case 31: return unsupported(gpu, "pages.pending") ? -1 : number_of(gpu, "pages.pending", 0);
    case 38: return sum_of_links(gpu, "crc-flit");
    case 45: return sum_of_links(gpu, "crc-data");
    case 52: return sum_of_links(gpu, "replay");
    case 59: return sum_of_links(gpu, "recovery");
    case 160: return sum_of_links(gpu, "ecc");
    case 74: return number_of(gpu, "violation.power", 0);
    case 75: return number_of(gpu, "violation.thermal", 0);
    case 82: return unsupported(gpu, "temperature.memory") ? -1 : number_of(gpu, "temperature.memory", 44);
    case 91: return link_count(gpu);
    case 94: return number_of(gpu, "pcie.replays", 0);
    case 1: return number_of(gpu, "ecc.mode", 1);
    case 3: return number_of(gpu, "ecc.corrected.volatile", 0);
    case 4: return number_of(gpu, "ecc.uncorrected.volatile", 0);
    case 5: return number_of(gpu, "ecc.corrected.aggregate", 0);
    case 6: return number_of(gpu, "ecc.uncorrected.aggregate", 0);
    case 10: case 12: case 14: case 77: case 79: case 95: return 0;
    case 142: return number_of(gpu, "rows.corrected", 0);
    case 143: return number_of(gpu, "rows.uncorrected", 0);
    case 144: return number_of(gpu, "rows.pending", 0);
    case 145: return number_of(gpu, "rows.failure", 0);
    case 164: return scope < link_count(gpu) ? 26562 : -1;
    case 165: return scope < link_count(gpu) ? link_state(gpu, scope) : -1;
    case 170: return number_of(gpu, "c2c.links", 0);
    case 169: case 173: case 174: case 175: case 176: case 177: case 178: case 179: case 180: case 181: case 182: case 183: return 0;
    case 186: return number_of(gpu, "power", 71500);
    case 197: case 198: return 1 << 20;
    case 161: return scope < link_count(gpu) ? link_errors(gpu, scope, "replay") : -1;
    case 162: return scope < link_count(gpu) ? link_errors(gpu, scope, "recovery") : -1;
    case 163: return scope < link_count(gpu) ? link_errors(gpu, scope, "crc-flit") + link_errors(gpu, scope, "crc-data") : -1;
    case 230: return number_of(gpu, "recovery-action", 0);
    default: return -1;
    }
}

API nvmlDeviceGetFieldValues(nvmlDevice_t device, int count, nvmlFieldValue_t *values)
{
    DEVICE(device);
    for (int i = 0; i < count; i++) {
        nvmlFieldValue_t *value = &values[i];
        char key[64], scoped[64], text[512];
        snprintf(key, sizeof key, "field.%u", value->fieldId);
        snprintf(scoped, sizeof scoped, "field.%u.%u", value->fieldId, value->scopeId);
        value->timestamp = (long long)time(NULL) * 1000000;
        value->latencyUsec = 1;
        value->nvmlReturn = SUCCESS;
        value->valueType = UNSIGNED_LONG_LONG;
        if (act.garbage) {
            value->valueType = 0xa5a5u;
            value->value.ull = ~0ull;
            continue;
        }
        text_of(gpu, scoped, "", text, sizeof text);
        if (!*text)
            text_of(gpu, key, "", text, sizeof text);
        if (*text == '!') {
            value->nvmlReturn = return_named(text + 1);
        } else if (*text) {
            value->value.sll = strtoll(text, NULL, 0);
            if (*text == '-')
                value->valueType = SIGNED_INT;
        } else {
            long long number = default_field(gpu, value->fieldId, value->scopeId);
            value->value.ull = (unsigned long long)number;
            if (number < 0)
                value->nvmlReturn = NOT_SUPPORTED;
        }
    }
    return SUCCESS;
}

/* ---- processes and modes ----------------------------------------------------------------- */

typedef struct { unsigned int pid; unsigned long long usedGpuMemory; unsigned int gpuInstanceId, computeInstanceId; } nvmlProcessInfo_t;

/* `processes = 4242:1048576 4243` are process ids with their bytes of GPU memory; `mig.0.processes` those of a MIG device. */
static nvmlReturn_t give_processes(struct behaviour act, nvmlDevice_t device, const char *what, unsigned int *count, nvmlProcessInfo_t *out)
{
    char key[64], text[512], *rest = text;
    unsigned int room = *count, n = 0;
    key_of(device, what, key, sizeof key);
    text_of((int)device->index, key, "", text, sizeof text);
    for (char *word = strtok_r(rest, " ,", &rest); word; word = strtok_r(NULL, " ,", &rest), n++) {
        char *colon = strchr(word, ':');
        if (out && n < room)
            out[n] = (nvmlProcessInfo_t){(unsigned int)strtoul(word, NULL, 10), colon ? strtoull(colon + 1, NULL, 10) : 0, ~0u, ~0u};
    }
    *count = act.garbage ? 0x7fffffffu : n;
    return n > room || !out ? (n ? INSUFFICIENT_SIZE : SUCCESS) : SUCCESS;
}

#define PROCESSES(function, what) \
    API function(nvmlDevice_t device, unsigned int *count, nvmlProcessInfo_t *out) { DEVICE(device); (void)gpu; return give_processes(act, device, what, count, out); }
PROCESSES(nvmlDeviceGetComputeRunningProcesses_v3, "processes")
PROCESSES(nvmlDeviceGetGraphicsRunningProcesses_v3, "processes.graphics")
PROCESSES(nvmlDeviceGetMPSComputeRunningProcesses_v3, "processes.mps")

API nvmlDeviceGetMigMode(nvmlDevice_t device, unsigned int *current, unsigned int *pending)
{
    DEVICE(device);
    nvmlReturn_t code = give_uint(act, gpu, "mig.mode", 0, current);
    return code ? code : give_uint(act, gpu, "mig.pending", *current, pending);
}

UINT(nvmlDeviceGetPersistenceMode, "persistence", 1)

/* ---- events ---------------------------------------------------------------------------------- */

typedef struct { nvmlDevice_t device; unsigned long long eventType, eventData; unsigned int gpuInstanceId, computeInstanceId; } nvmlEventData_t;

API nvmlEventSetCreate(nvmlEventSet_t *out) { ENTER(-1); *out = calloc(1, sizeof **out); return SUCCESS; }
API nvmlEventSetFree(nvmlEventSet_t set) { ENTER(-1); free(set); return SUCCESS; }
API nvmlDeviceGetSupportedEventTypes(nvmlDevice_t device, unsigned long long *out) { DEVICE(device); return give_ulong(act, gpu, "events", 0x1f, out); }

API nvmlDeviceRegisterEvents(nvmlDevice_t device, unsigned long long types, nvmlEventSet_t set)
{
    DEVICE(device);
    set->mask[gpu] |= types;
    return SUCCESS;
}

struct waiting { nvmlEventSet_t set; nvmlEventData_t *out; int found; };

static void match_event(const char *key, const char *value, void *with)
{
    struct waiting *waiting = with;
    long number;
    unsigned int gpu;
    unsigned long long type, data;
    if (waiting->found || strcmp(key, "event") || sscanf(value, "%ld %u %lli %lli", &number, &gpu, (long long *)&type, (long long *)&data) != 4)
        return;
    if (number <= waiting->set->delivered || gpu >= MAX_GPUS || !(waiting->set->mask[gpu] & type))
        return;
    devices[gpu].index = gpu;
    *waiting->out = (nvmlEventData_t){&devices[gpu], type, data, ~0u, ~0u};
    waiting->set->delivered = number;
    waiting->found = 1;
}

API nvmlEventSetWait_v2(nvmlEventSet_t set, nvmlEventData_t *out, unsigned int timeout_ms)
{
    ENTER(-1);
    struct waiting waiting = {set, out, 0};
    /* A driver sleeps until there is something; how often this one looks is a matter for whoever measures. */
    const char *set_tick = getenv("FAKE_NVML_EVENT_TICK_MS");
    unsigned int step = set_tick && atoi(set_tick) > 0 ? (unsigned int)atoi(set_tick) : 10;
    for (unsigned int waited = 0;; waited += step) {
        struct timespec tick = {step / 1000, step % 1000 * 1000000L};
        read_scenario();
        each_line(match_event, &waiting);
        if (waiting.found)
            return SUCCESS;
        if (waited >= timeout_ms)
            return TIMEOUT;
        nanosleep(&tick, NULL);
    }
}
