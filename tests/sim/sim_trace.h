/* sim_trace.h: what happened in a run: lines for people, and a hash that says whether two runs were
 * the same.
 *
 * Every line and every choice of the scheduler goes into the hash. The last lines are kept, and
 * printed when the run fails; with `print` every line is, as it comes:
 *
 *      12.345678  broker-1   leader elected: tp=t-0 epoch=3 (kafka.controller)
 *
 * Threads: one. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "sim_time.h"

enum { SIM_TRACE_LINES = 60, SIM_TRACE_LINE_MAX = 400 };

struct sim_trace {
    const struct sim_time *time;
    FILE *print; /* NULL: keep only */
    uint64_t hash;
    bool muted; /* nothing is written or printed any more: the run has failed */
    uint64_t lines_count;
    char lines[SIM_TRACE_LINES][SIM_TRACE_LINE_MAX];
};

void sim_trace_init(struct sim_trace *trace, const struct sim_time *time, FILE *print);

void sim_trace_line(struct sim_trace *trace, const char *who, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* A line that is printed, or not, and changes nothing else. */
void sim_trace_note(struct sim_trace *trace, const char *who, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* A choice that has no line. */
void sim_trace_mix(struct sim_trace *trace, uint64_t value);

/* The lines that are kept, oldest first. */
void sim_trace_tail(const struct sim_trace *trace, FILE *to);
