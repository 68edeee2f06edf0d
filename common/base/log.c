#include "base/log.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/must.h"

enum { LOG_LINE_MAX = 4096, LOG_NAME_MAX = 128, LOG_LIMIT_PERIOD_MS = 60000 };

struct log_override {
    char name[LOG_NAME_MAX];
    enum log_level level;
};

/* Guards `overrides`; readers take it too, but only when at least one override exists. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct log_override overrides[LOG_LOGGERS_MAX];
static _Atomic int override_count;
static _Atomic int root_level = LOG_INFO;
static _Atomic int out_format = LOG_FORMAT_TEXT;
static _Atomic int out_fd = STDOUT_FILENO;

static log_sink_fn *sink_fn;
static void *sink_arg;

static const char *const level_names[] = {"TRACE", "DEBUG", "INFO", "WARN",
                                          "ERROR", "FATAL", "OFF"};

void log_set_format(enum log_format format)
{
    atomic_store(&out_format, (int)format);
}

void log_set_fd(int fd)
{
    atomic_store(&out_fd, fd);
}

void log_set_sink(log_sink_fn *fn, void *arg)
{
    sink_fn = fn;
    sink_arg = arg;
}

bool log_level_parse(const char *text, enum log_level *level)
{
    for (int i = LOG_TRACE; i <= LOG_OFF; i++) {
        if (strcasecmp(text, level_names[i]) == 0) {
            *level = (enum log_level)i;
            return true;
        }
    }
    return false;
}

const char *log_level_name(enum log_level level)
{
    must(level <= LOG_OFF);
    return level_names[level];
}

static bool is_root(const char *logger)
{
    return strcmp(logger, "root") == 0;
}

/* With the lock held. */
static int override_find(const char *logger)
{
    for (int i = 0; i < atomic_load(&override_count); i++) {
        if (strcmp(overrides[i].name, logger) == 0) {
            return i;
        }
    }
    return -1;
}

enum err log_set_level(const char *logger, enum log_level level)
{
    if (is_root(logger)) {
        atomic_store(&root_level, (int)level);
        return ERR_OK;
    }
    if (strlen(logger) >= LOG_NAME_MAX) {
        return ERR_INVALID;
    }
    enum err err = ERR_OK;
    pthread_mutex_lock(&lock);
    int i = override_find(logger);
    int count = atomic_load(&override_count);
    if (i < 0 && count == LOG_LOGGERS_MAX) {
        err = ERR_NO_MEMORY;
    } else if (i < 0) {
        memcpy(overrides[count].name, logger, strlen(logger) + 1);
        overrides[count].level = level;
        atomic_store(&override_count, count + 1);
    } else {
        overrides[i].level = level;
    }
    pthread_mutex_unlock(&lock);
    return err;
}

enum err log_reset_level(const char *logger)
{
    pthread_mutex_lock(&lock);
    int i = override_find(logger);
    if (i >= 0) {
        int last = atomic_load(&override_count) - 1;
        overrides[i] = overrides[last];
        atomic_store(&override_count, last);
    }
    pthread_mutex_unlock(&lock);
    return i >= 0 ? ERR_OK : ERR_NOT_FOUND;
}

/* Does the override `name` cover `logger`: the same, or a parent up to a dot? */
static bool covers(const char *name, const char *logger)
{
    size_t size = strlen(name);
    return strncmp(name, logger, size) == 0 && (logger[size] == '\0' || logger[size] == '.');
}

enum log_level log_get_level(const char *logger)
{
    enum log_level level = (enum log_level)atomic_load_explicit(&root_level, memory_order_relaxed);
    if (atomic_load_explicit(&override_count, memory_order_relaxed) == 0 || is_root(logger)) {
        return level;
    }
    size_t longest = 0;
    pthread_mutex_lock(&lock);
    for (int i = 0; i < atomic_load(&override_count); i++) {
        size_t size = strlen(overrides[i].name);
        if (size >= longest && covers(overrides[i].name, logger)) {
            longest = size;
            level = overrides[i].level;
        }
    }
    pthread_mutex_unlock(&lock);
    return level;
}

/* A line under construction; what does not fit is cut. */
struct line {
    char text[LOG_LINE_MAX];
    size_t size;
};

__attribute__((format(printf, 2, 3))) static void line_add(struct line *line, const char *format,
                                                           ...)
{
    va_list args;
    va_start(args, format);
    int n = vsnprintf(line->text + line->size, sizeof(line->text) - line->size, format, args);
    va_end(args);
    must(n >= 0);
    size_t room = sizeof(line->text) - 1 - line->size;
    line->size += (size_t)n < room ? (size_t)n : room;
}

/* What closes a JSON line must always fit behind the last value. */
enum { JSON_CLOSING = 8, JSON_ESCAPE_MAX = 6 };

/* The inside of a JSON string. Bytes that are not UTF-8 (clients choose their names) become U+FFFD.
 * What does not fit is cut between characters. */
static void line_add_json(struct line *line, const char *text)
{
    size_t size = strlen(text);
    size_t used;
    for (size_t i = 0; i < size; i += used) {
        const uint8_t *at = (const uint8_t *)text + i;
        (void)utf8_next(at, size - i, &used);
        if (line->size + JSON_ESCAPE_MAX + JSON_CLOSING > sizeof(line->text)) {
            return;
        }
        if (*at == '"' || *at == '\\') {
            line_add(line, "\\%c", *at);
        } else if (*at < 0x20) {
            line_add(line, "\\u%04x", (unsigned)*at);
        } else if (*at >= 0x80 && used == 1) {
            line_add(line, "\\ufffd");
        } else {
            line_add(line, "%.*s", (int)used, (const char *)at);
        }
    }
}

static void line_text(struct line *line, enum log_level level, const char *logger,
                      const char *event, const char *detail)
{
    struct timeval now;
    struct tm parts;
    char stamp[32];
    gettimeofday(&now, NULL);
    localtime_r(&now.tv_sec, &parts);
    strftime(stamp, sizeof(stamp), "%Y-%m-%d %H:%M:%S", &parts);
    line_add(line, "[%s,%03d] %s %s%s%s (%s)", stamp, (int)(now.tv_usec / 1000), level_names[level],
             event, detail[0] != '\0' ? ": " : "", detail, logger);
    /* A message is one line whatever a client put into it. */
    for (size_t i = 0; i < line->size; i++) {
        if ((unsigned char)line->text[i] < 0x20) {
            line->text[i] = ' ';
        }
    }
}

static void line_json(struct line *line, enum log_level level, const char *logger,
                      const char *event, const char *detail)
{
    struct timeval now;
    struct tm parts;
    char stamp[32];
    gettimeofday(&now, NULL);
    gmtime_r(&now.tv_sec, &parts);
    strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%S", &parts);
    line_add(line, "{\"ts\":\"%s.%03dZ\",\"level\":\"%s\",\"logger\":\"%s\",\"event\":\"", stamp,
             (int)(now.tv_usec / 1000), level_names[level], logger);
    line_add_json(line, event);
    line_add(line, "\",\"detail\":\"");
    line_add_json(line, detail);
    line_add(line, "\"}");
}

void log_write(enum log_level level, const char *logger, const char *event, const char *format, ...)
{
    if (level < log_get_level(logger)) {
        return;
    }
    char detail[LOG_LINE_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(detail, sizeof(detail), format, args);
    va_end(args);
    if (sink_fn != NULL) {
        sink_fn(sink_arg, level, logger, event, detail);
        return;
    }
    struct line line = {.size = 0};
    if (atomic_load(&out_format) == LOG_FORMAT_JSON) {
        line_json(&line, level, logger, event, detail);
    } else {
        line_text(&line, level, logger, event, detail);
    }
    if (line.size > sizeof(line.text) - 1) {
        line.size = sizeof(line.text) - 1;
    }
    line.text[line.size] = '\n';
    /* A log that cannot be written (a closed pipe, a full disk) must not stop the broker. */
    ssize_t written = write(atomic_load(&out_fd), line.text, line.size + 1);
    (void)written;
}

static int64_t monotonic_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

bool log_limit_pass(struct log_limit *limit, uint32_t *skipped)
{
    if (sink_fn != NULL) {
        *skipped = 0;
        return true;
    }
    int64_t now = monotonic_ms();
    int64_t next = atomic_load(&limit->next_ms);
    if (now < next ||
        !atomic_compare_exchange_strong(&limit->next_ms, &next, now + LOG_LIMIT_PERIOD_MS)) {
        atomic_fetch_add(&limit->skipped, 1);
        return false;
    }
    *skipped = atomic_exchange(&limit->skipped, 0);
    return true;
}
