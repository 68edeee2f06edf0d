#include "sim_trace.h"

#include <stdarg.h>
#include <string.h>

#include "base/bytes.h"

#define HASH_START UINT64_C(0xcbf29ce484222325)
#define HASH_PRIME UINT64_C(0x100000001b3)

void sim_trace_init(struct sim_trace *trace, const struct sim_time *time, FILE *print)
{
    memset(trace, 0, sizeof(*trace));
    trace->time = time;
    trace->print = print;
    trace->hash = HASH_START;
}

void sim_trace_mix(struct sim_trace *trace, uint64_t value)
{
    trace->hash = (trace->hash ^ value) * HASH_PRIME;
    trace->hash ^= trace->hash >> 29;
}

void sim_trace_line(struct sim_trace *trace, const char *who, const char *format, ...)
{
    if (trace->muted) {
        return;
    }
    char *line = trace->lines[trace->lines_count++ % SIM_TRACE_LINES];
    int64_t us = trace->time->now_ns / 1000;
    int head = snprintf(line, SIM_TRACE_LINE_MAX, "%5lld.%06lld  %-10s ", (long long)(us / 1000000),
                        (long long)(us % 1000000), who);
    va_list args;
    va_start(args, format);
    vsnprintf(line + head, SIM_TRACE_LINE_MAX - (size_t)head, format, args);
    va_end(args);
    sim_trace_mix(trace, bytes_hash(line, strlen(line), 0));
    if (trace->print != NULL) {
        fprintf(trace->print, "%s\n", line);
    }
}

void sim_trace_note(struct sim_trace *trace, const char *who, const char *format, ...)
{
    int64_t us = trace->time->now_ns / 1000;
    if (trace->print == NULL || trace->muted) {
        return;
    }
    fprintf(trace->print, "%5lld.%06lld  %-10s ", (long long)(us / 1000000),
            (long long)(us % 1000000), who);
    va_list args;
    va_start(args, format);
    vfprintf(trace->print, format, args);
    va_end(args);
    fputc('\n', trace->print);
}

void sim_trace_tail(const struct sim_trace *trace, FILE *to)
{
    uint64_t first =
        trace->lines_count > SIM_TRACE_LINES ? trace->lines_count - SIM_TRACE_LINES : 0;
    for (uint64_t i = first; i < trace->lines_count; i++) {
        fprintf(to, "%s\n", trace->lines[i % SIM_TRACE_LINES]);
    }
}
