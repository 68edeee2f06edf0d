/* log.h: the program's log: text as Kafka's log4j prints it, or JSON lines.
 *
 *   [2026-11-23 08:00:00,123] INFO leader elected: tp=orders-0 epoch=3 (kafka.controller)
 *   {"ts":"2026-11-23T08:00:00.123Z","level":"INFO","logger":"kafka.controller",
 *    "event":"leader elected","detail":"tp=orders-0 epoch=3"}    (one line)
 *
 * A line is an event with fields: log_info("kafka.controller", "leader elected", "tp=%s epoch=%d",
 * ...). The first argument is the logger's name as Kafka spells it, so that KAFKA_LOG4J_LOGGERS
 * keeps working. State changes at info, surprises at warn, nothing per request; what may repeat
 * goes through log_limited(), which counts instead of repeating.
 *
 * Threads: any; a line is written with one write(2). This is the only process-wide mutable state.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

enum log_level { LOG_TRACE, LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR, LOG_FATAL, LOG_OFF };

enum log_format { LOG_FORMAT_TEXT, LOG_FORMAT_JSON };

/* Loggers with a level of their own; more are refused by log_set_level. */
enum { LOG_LOGGERS_MAX = 64 };

void log_set_format(enum log_format format);
void log_set_fd(int fd);

/* Level of a logger and those below it ("kafka.server" covers "kafka.server.X"); "root" for the
 * rest. */
MUST_USE enum err log_set_level(const char *logger, enum log_level level);

/* Back to what its parent says. ERR_NOT_FOUND if it had no level of its own. */
MUST_USE enum err log_reset_level(const char *logger);

enum log_level log_get_level(const char *logger);
bool log_level_parse(const char *text, enum log_level *level);
const char *log_level_name(enum log_level level);

/* Takes every line that passes its level instead of the file: tests and the simulator, which stamp
 * with their own time. While one is set, log_limited() leaves nothing out, so that what is logged
 * depends on no clock. NULL: back to the file. Set while no other thread logs. */
typedef void log_sink_fn(void *arg, enum log_level level, const char *logger, const char *event,
                         const char *detail);
void log_set_sink(log_sink_fn *fn, void *arg);

/* One line, or nothing when the logger's level is above. What does not fit into 4 KiB is cut. */
void log_write(enum log_level level, const char *logger, const char *event, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

#define log_debug(logger, event, ...) log_write(LOG_DEBUG, logger, event, __VA_ARGS__)
#define log_info(logger, event, ...)  log_write(LOG_INFO, logger, event, __VA_ARGS__)
#define log_warn(logger, event, ...)  log_write(LOG_WARN, logger, event, __VA_ARGS__)
#define log_error(logger, event, ...) log_write(LOG_ERROR, logger, event, __VA_ARGS__)

/* State of one rate-limited message: at most one line a minute, later ones say how many were left
 * out. */
struct log_limit {
    _Atomic int64_t next_ms;
    _Atomic uint32_t skipped;
};

/* Returns true when the message is to be written now, and sets *skipped to the number left out
 * since. */
bool log_limit_pass(struct log_limit *limit, uint32_t *skipped);

#define log_limited(limit, level, logger, event, format, ...)                                      \
    do {                                                                                           \
        uint32_t log_skipped_;                                                                     \
        if (log_limit_pass((limit), &log_skipped_)) {                                              \
            log_write(level, logger, event, format " repeated=%u", __VA_ARGS__, log_skipped_);     \
        }                                                                                          \
    } while (0)
