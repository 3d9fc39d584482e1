/*
 * What all parts of the fake NVML share: the scenario, how a call behaves, and
 * how a value is given.  See fake_nvml.c for what a scenario says.
 */
#pragma once
#pragma GCC diagnostic ignored "-Wunused-function"
#pragma GCC diagnostic ignored "-Wunused-const-variable"
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

typedef unsigned int nvmlReturn_t;
typedef struct device { unsigned int index, mig; } *nvmlDevice_t; /* mig: 0 is the whole GPU, else its MIG device + 1 */
typedef struct event_set { unsigned long long mask[64]; long delivered; } *nvmlEventSet_t;

enum { SUCCESS = 0, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6, INSUFFICIENT_SIZE = 7, TIMEOUT = 10,
       GPU_IS_LOST = 15, ARGUMENT_VERSION_MISMATCH = 25, UNKNOWN = 999 };

#define MAX_GPUS 64
#define API __attribute__((visibility("default"))) nvmlReturn_t

/* ---- the scenario ---------------------------------------------------- */

static const struct { const char *name; nvmlReturn_t code; } RETURNS[] = {
    {"SUCCESS", 0}, {"UNINITIALIZED", 1}, {"INVALID_ARGUMENT", 2}, {"NOT_SUPPORTED", 3}, {"NO_PERMISSION", 4},
    {"ALREADY_INITIALIZED", 5}, {"NOT_FOUND", 6}, {"INSUFFICIENT_SIZE", 7}, {"INSUFFICIENT_POWER", 8},
    {"DRIVER_NOT_LOADED", 9}, {"TIMEOUT", 10}, {"IRQ_ISSUE", 11}, {"LIBRARY_NOT_FOUND", 12},
    {"FUNCTION_NOT_FOUND", 13}, {"CORRUPTED_INFOROM", 14}, {"GPU_IS_LOST", 15}, {"RESET_REQUIRED", 16},
    {"OPERATING_SYSTEM", 17}, {"LIB_RM_VERSION_MISMATCH", 18}, {"IN_USE", 19}, {"MEMORY", 20}, {"NO_DATA", 21},
    {"VGPU_ECC_NOT_SUPPORTED", 22}, {"INSUFFICIENT_RESOURCES", 23}, {"FREQ_NOT_SUPPORTED", 24},
    {"ARGUMENT_VERSION_MISMATCH", 25}, {"DEPRECATED", 26}, {"NOT_READY", 27}, {"GPU_NOT_FOUND", 28},
    {"INVALID_STATE", 29}, {"RESET_TYPE_NOT_SUPPORTED", 30}, {"UNKNOWN", 999},
};

static nvmlReturn_t return_named(const char *name)
{
    for (size_t i = 0; i < sizeof RETURNS / sizeof *RETURNS; i++)
        if (!strcmp(RETURNS[i].name, name))
            return RETURNS[i].code;
    fprintf(stderr, "fake nvml: no return code is named %s\n", name);
    abort();
}

static char *trim(char *text)
{
    while (*text == ' ' || *text == '\t')
        text++;
    size_t n = strlen(text);
    while (n && strchr(" \t\r\n", text[n - 1]))
        text[--n] = 0;
    return text;
}

/* The scenario as it was read last: the file is replaced as a whole, so its inode and time tell whether to read it again. */
static struct { struct stat of; char *text; struct { char *key, *value; } lines[512]; int count; } scenario;

static void read_scenario(void)
{
    const char *path = getenv("FAKE_NVML_SCENARIO");
    struct stat now;
    if (path && scenario.text && !stat(path, &now) && now.st_ino == scenario.of.st_ino && now.st_size == scenario.of.st_size
        && !memcmp(&now.st_mtim, &scenario.of.st_mtim, sizeof now.st_mtim))
        return;
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0 || fstat(fd, &now)) {
        fprintf(stderr, "fake nvml: cannot read the scenario FAKE_NVML_SCENARIO=%s\n", path ? path : "");
        abort();
    }
    free(scenario.text);
    scenario.text = calloc(1, (size_t)now.st_size + 1);
    scenario.of = now;
    scenario.count = 0;
    if (read(fd, scenario.text, (size_t)now.st_size) < 0)
        abort();
    close(fd);
    char *rest = scenario.text;
    for (char *line = strtok_r(rest, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        char *equals = strchr(line, '=');
        if (line[0] == '#' || !equals || scenario.count == sizeof scenario.lines / sizeof *scenario.lines)
            continue;
        *equals = 0;
        scenario.lines[scenario.count].key = trim(line);
        scenario.lines[scenario.count++].value = trim(equals + 1);
    }
}

/* Calls `visit` for each line of the scenario as it stood when this call was made. */
static void each_line(void (*visit)(const char *key, const char *value, void *with), void *with)
{
    if (!scenario.text)
        read_scenario();
    for (int i = 0; i < scenario.count; i++)
        visit(scenario.lines[i].key, scenario.lines[i].value, with);
}

#define KEYS 4
struct search { const char *keys[KEYS]; char found[KEYS][512]; int have[KEYS]; };

static void match_line(const char *key, const char *value, void *with)
{
    struct search *search = with;
    for (int i = 0; i < KEYS && search->keys[i]; i++)
        if (!strcmp(key, search->keys[i])) {
            snprintf(search->found[i], sizeof search->found[i], "%s", value);
            search->have[i] = 1;
        }
}

/* Copies the value of the first of `search->keys` that the scenario has. */
static int look_up(struct search *search, char *out, size_t size)
{
    each_line(match_line, search);
    for (int i = 0; i < KEYS; i++)
        if (search->have[i]) {
            snprintf(out, size, "%s", search->found[i]);
            return 1;
        }
    return 0;
}

/* The number that the call which is being answered gives for all that it tells, if it behaves so. */
static struct { int have; long long number; } forced;

/* The text of `key` for a GPU (or for the node, gpu < 0), or `otherwise`. */
static const char *text_of(int gpu, const char *key, const char *otherwise, char *out, size_t size)
{
    if (forced.have && strcmp(key, "gpus")) {
        snprintf(out, size, "%lld", forced.number);
        return out;
    }
    char exact[192], any[192];
    struct search search = {.keys = {NULL}};
    if (gpu < 0)
        snprintf(exact, sizeof exact, "%s", key);
    else
        snprintf(exact, sizeof exact, "gpu.%d.%s", gpu, key);
    snprintf(any, sizeof any, "gpu.*.%s", key);
    search.keys[0] = exact;
    search.keys[1] = gpu < 0 ? NULL : any;
    if (!look_up(&search, out, size))
        snprintf(out, size, "%s", otherwise);
    return out;
}

static long long number_of(int gpu, const char *key, long long otherwise)
{
    char text[512];
    text_of(gpu, key, "", text, sizeof text);
    return *text ? strtoll(text, NULL, 0) : otherwise;
}

static unsigned int gpu_count(void)
{
    long long n = number_of(-1, "gpus", 1);
    return n < 0 ? 0 : n > MAX_GPUS ? MAX_GPUS : (unsigned int)n;
}

/* ---- how a call behaves ----------------------------------------------- */

struct behaviour { nvmlReturn_t code; int garbage; };

static void forever(void)
{
    for (;;)
        pause();
}

/* FAKE_NVML_CALLS names a file to which each call appends its name. */
static void note_call(const char *function)
{
    const char *path = getenv("FAKE_NVML_CALLS");
    int fd = path ? open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600) : -1;
    if (fd >= 0) {
        dprintf(fd, "%s\n", function);
        close(fd);
    }
}

static struct behaviour behave(int gpu, const char *function)
{
    char keys[KEYS][192], words[512];
    struct search search = {.keys = {NULL}};
    struct behaviour result = {SUCCESS, 0};
    int n = 0;
    note_call(function);
    read_scenario();
    forced.have = 0;
    if (gpu >= 0) {
        snprintf(keys[n++], sizeof keys[0], "gpu.%d.do.%s", gpu, function);
        snprintf(keys[n++], sizeof keys[0], "gpu.%d.do.*", gpu);
        snprintf(keys[n++], sizeof keys[0], "gpu.*.do.%s", function);
    }
    snprintf(keys[n++], sizeof keys[0], "do.%s", function);
    for (int i = 0; i < n; i++)
        search.keys[i] = keys[i];
    if (!look_up(&search, words, sizeof words))
        return result;
    char *rest = words;
    for (char *word = strtok_r(rest, " ,", &rest); word; word = strtok_r(NULL, " ,", &rest)) {
        if (!strncmp(word, "delay_ms:", 9)) {
            long ms = strtol(word + 9, NULL, 10);
            struct timespec pause_for = {ms / 1000, ms % 1000 * 1000000L};
            nanosleep(&pause_for, NULL);
        } else if (!strncmp(word, "value:", 6)) {
            forced.have = 1;
            forced.number = strtoll(word + 6, NULL, 0);
        } else if (!strcmp(word, "hang")) {
            forever();
        } else if (!strncmp(word, "block:", 6)) {
            close(open(word + 6, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
        } else if (!strncmp(word, "print:", 6)) {
            printf("%s\n", word + 6);
            fflush(stdout);
        } else if (!strcmp(word, "crash")) {
            *(volatile int *)0 = 0;
        } else if (!strcmp(word, "kill")) {
            raise(SIGKILL);
        } else if (!strcmp(word, "abort")) {
            abort();
        } else if (!strcmp(word, "garbage")) {
            result.garbage = 1;
        } else {
            result.code = return_named(word);
        }
    }
    return result;
}

#define ENTER(gpu)                                  \
    struct behaviour act = behave((gpu), __func__); \
    if (act.code)                                   \
    return act.code
#define DEVICE(handle)                                        \
    if (!(handle) || (handle)->index >= gpu_count())          \
        return INVALID_ARGUMENT;                              \
    int gpu = (int)(handle)->index;                           \
    ENTER(gpu)

/* A value that stands for "this GPU does not have it". */
static int unsupported(int gpu, const char *key)
{
    char text[512];
    return !strcmp(text_of(gpu, key, "", text, sizeof text), "unsupported");
}

/* The key of a value: of a MIG device it is told from its GPU's as `mig.0.memory.used`. */
static const char *key_of(nvmlDevice_t device, const char *key, char *out, size_t size)
{
    if (device->mig)
        snprintf(out, size, "mig.%u.%s", device->mig - 1, key);
    else
        snprintf(out, size, "%s", key);
    return out;
}

/* Random-looking bytes, the same each time: invalid UTF-8, an escape, no end. */
static void fill_garbage(void *out, size_t size)
{
    static const unsigned char noise[] = {0xff, 0x1b, '[', '2', 'J', 0xc3, 0x28, 0x80, 0xfe, 0x07};
    for (size_t i = 0; i < size; i++)
        ((unsigned char *)out)[i] = noise[i % sizeof noise];
}

static nvmlReturn_t give_text(struct behaviour act, int gpu, const char *key, const char *otherwise, char *out, unsigned int size)
{
    char text[512];
    if (act.garbage) {
        fill_garbage(out, size);
        return SUCCESS;
    }
    text_of(gpu, key, otherwise, text, sizeof text);
    if (!strcmp(text, "unsupported"))
        return NOT_SUPPORTED;
    if (strlen(text) >= size)
        return INSUFFICIENT_SIZE;
    memcpy(out, text, strlen(text) + 1);
    return SUCCESS;
}

static nvmlReturn_t give_uint(struct behaviour act, int gpu, const char *key, long long otherwise, unsigned int *out)
{
    if (unsupported(gpu, key))
        return NOT_SUPPORTED;
    *out = (unsigned int)number_of(gpu, key, otherwise);
    if (act.garbage)
        *out = 0xffffffffu;
    return SUCCESS;
}

static nvmlReturn_t give_ulong(struct behaviour act, int gpu, const char *key, long long otherwise, unsigned long long *out)
{
    if (unsupported(gpu, key))
        return NOT_SUPPORTED;
    *out = (unsigned long long)number_of(gpu, key, otherwise);
    if (act.garbage)
        *out = ~0ull;
    return SUCCESS;
}

#define UINT(function, key, otherwise) \
    API function(nvmlDevice_t device, unsigned int *out) { DEVICE(device); return give_uint(act, gpu, key, otherwise, out); }
#define TEXT(function, key, otherwise) \
    API function(nvmlDevice_t device, char *out, unsigned int size) { DEVICE(device); return give_text(act, gpu, key, otherwise, out, size); }
