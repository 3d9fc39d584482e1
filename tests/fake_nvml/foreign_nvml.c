/*
 * Another libnvidia-ml.so.1, as strangers write them for their own tests: with the names from before 2018 only,
 * few functions, and careless where a caller would not look.  What it does not fill, it says to have answered.
 */
#include <string.h>

typedef int nvmlReturn_t;
typedef struct card { int number; } *nvmlDevice_t;
typedef struct { char busId[16]; unsigned int domain, bus, device, pciDeviceId, pciSubSystemId, reserved[4]; } nvmlPciInfo_v2_t;
typedef struct {
    unsigned int fieldId, scopeId;
    long long timestamp, latencyUsec;
    int valueType, nvmlReturn;
    unsigned long long value;
} nvmlFieldValue_t;

enum { SUCCESS = 0, INVALID_ARGUMENT = 2, UNHEARD_OF = 4711 };
static struct card cards[3] = {{0}, {1}, {2}};

nvmlReturn_t nvmlInit_v2(void) { return SUCCESS; }
nvmlReturn_t nvmlDeviceGetCount(unsigned int *out) { *out = 3; return SUCCESS; }
nvmlReturn_t nvmlSystemGetDriverVersion(char *out, unsigned int size) { return strncpy(out, "390.157", size), SUCCESS; }

nvmlReturn_t nvmlDeviceGetHandleByIndex(unsigned int index, nvmlDevice_t *out)
{
    if (index >= 3)
        return INVALID_ARGUMENT;
    *out = &cards[index];
    return SUCCESS;
}

/* GPU 0 tells its address as text, GPU 1 in numbers and with a domain of 32 bits, GPU 2 not at all. */
nvmlReturn_t nvmlDeviceGetPciInfo_v2(nvmlDevice_t card, nvmlPciInfo_v2_t *out)
{
    memset(out, 0, sizeof *out);
    if (card->number == 0)
        strcpy(out->busId, "0000:3b:00.0");
    if (card->number == 1)
        out->domain = 0x10001, out->bus = 0x86, out->device = 3;
    return SUCCESS;
}

nvmlReturn_t nvmlDeviceGetName(nvmlDevice_t card, char *out, unsigned int size) { (void)card; memset(out, 'X', size); return SUCCESS; }
nvmlReturn_t nvmlDeviceGetUUID(nvmlDevice_t card, char *out, unsigned int size) { strncpy(out, "Card:?", size); out[5] = (char)('A' + card->number); return SUCCESS; }
nvmlReturn_t nvmlDeviceGetSerial(nvmlDevice_t card, char *out, unsigned int size) { (void)card; (void)size; *out = 0; return SUCCESS; }
nvmlReturn_t nvmlDeviceGetPowerUsage(nvmlDevice_t card, unsigned int *out) { (void)card; (void)out; return UNHEARD_OF; }
nvmlReturn_t nvmlDeviceGetTemperature(nvmlDevice_t card, int sensor, unsigned int *out) { (void)sensor; *out = 40u + (unsigned int)card->number; return SUCCESS; }
nvmlReturn_t nvmlDeviceGetRemappedRows(nvmlDevice_t card, unsigned int *corrected, unsigned int *uncorrected, unsigned int *pending, unsigned int *failed)
{
    *corrected = *uncorrected = *pending = 0;
    *failed = card->number == 1;
    return SUCCESS;
}

/* It knows one field, the temperature of the memory, and leaves the others as it found them. */
nvmlReturn_t nvmlDeviceGetFieldValues(nvmlDevice_t card, int count, nvmlFieldValue_t *values)
{
    (void)card;
    for (int i = 0; i < count; i++)
        if (values[i].fieldId == 82)
            values[i].timestamp = 1, values[i].valueType = 1, values[i].value = 55;
    return SUCCESS;
}
