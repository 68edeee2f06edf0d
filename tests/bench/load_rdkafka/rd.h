/* rd.h: the neutral load: librdkafka as Debian has it, with its own defaults for what no option
 * says, so that what a broker costs is not told by a client of ours alone.
 *
 *   - produce: sends `records` records, as many to each partition in turn as are handed over at
 *     once, and waits for every delivery report
 *   - consume: reads every partition from its start to the end that it had when the run began,
 * which is when there were `expected` records in all
 *
 * Values are made before the clock starts and are not copied: what the generator adds to the
 * library is a call per thousand records. Retries are off: what a broker refuses must be seen here,
 * not repaired. The report is one line of JSON, as bench_load's; the status is 0 only when every
 * record was delivered, or read, without an error and in order.
 *
 * Threads: one of ours, next to the library's own. */
#pragma once

#include <librdkafka/rdkafka.h>
#include <stdbool.h>
#include <stdint.h>

enum {
    RD_SETTINGS_MAX = 32,
    RD_PARTITIONS_MAX = 1024,
    RD_CHUNK = 1000,       /* records handed over at once */
    RD_WINDOW = 400000,    /* records without a delivery report; the library's queue holds more */
    RD_VALUES = 65521,     /* different values: a prime, so that no partition gets few of them */
    RD_SILENCE_MS = 60000, /* so long without anything ends the run */
    RD_THREADS_MAX = 64,
};

struct rd_options {
    const char *brokers; /* "HOST:PORT,..." */
    const char *topic;
    const char *codec;
    const char *acks;
    const char *linger_ms;
    const char *batch_bytes;
    int32_t partitions;
    int64_t records;
    int64_t expected;
    int32_t record_bytes;
    const char *settings[RD_SETTINGS_MAX]; /* "KEY=VALUE" of the library's own */
    int settings_count;
};

/* What a run did. */
struct rd_counts {
    int64_t records;
    int64_t errors;
    int64_t bytes;     /* of values, as they were before any compression */
    uint64_t checksum; /* the sum of the values' CRC-32C, whatever their order */
    rd_kafka_resp_err_t first_error;
};

/* Processor time of a thread. */
struct rd_thread {
    long id;
    uint64_t cpu_ns;
};

/* Time and processor time from here on. */
struct rd_clock {
    uint64_t start_ns;
    struct rd_thread threads[RD_THREADS_MAX];
    int threads_count;
};

/* A producer or a consumer with those options' settings; dies where the library refuses them. */
rd_kafka_t *rd_client(rd_kafka_type_t type, const struct rd_options *options);

/* The topic, once its metadata say that it has so many partitions; dies where it has not. */
rd_kafka_topic_t *rd_topic(rd_kafka_t *client, const struct rd_options *options);

/* Values of text that compresses as events in JSON do, one behind the other. */
uint8_t *rd_values_new(int32_t record_bytes);

void rd_clock_start(struct rd_clock *clock);

/* Print the report; the status to end with: 1 when there were errors, or other counts than wanted.
 */
int rd_report(const char *mode, const struct rd_clock *clock, const struct rd_counts *counts,
              int64_t wanted);

int rd_produce(const struct rd_options *options);
int rd_consume(const struct rd_options *options);
