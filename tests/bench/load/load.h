/* load.h: what the loads share: options, batches made beforehand, the report.
 *
 *   produce   keeps `depth` requests in flight on each connection until `requests` are answered
 *   consume   reads every partition from its start to its end
 *   latency   sends batches by a fixed schedule, whether or not answers come (an open loop: waiting
 *             counts from when a batch was due), and reads them back by long poll
 *   follow    consumers in long polls at the end of the log, while it is produced by a schedule
 *   crowd     a probe alone, among many idle connections, and while some of them are active
 *   await     looks at a cluster until all partitions of some topics are served
 *   gaps      one small producer per partition, and how long each could not write
 *   members   a consumer group of `connections` members joins, and `requests` of them leave, one
 *             after another
 *
 * The report is one line of JSON. The status is 0 only when every record was acknowledged, or
 * read, exactly once, in order, with the checksum it was made with. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "bench/load/hist.h"

struct load_options {
    const char *host;
    uint16_t port;
    const char *brokers; /* "ID=PORT,..." of a cluster; NULL: the one at `port` has all leaders */
    int32_t replicas;    /* await: an ISR of so many at least */
    const char *topic;
    int32_t partitions;
    int32_t connections;
    int32_t active; /* crowd: of the connections */
    int32_t depth;
    int16_t acks;
    int32_t batch_records;
    int32_t record_bytes; /* of a record's value */
    int64_t requests;
    int32_t fetch_bytes; /* max bytes of a fetch, of a partition and of a whole answer */
    int32_t rate;        /* batches a second */
    double seconds;
    bool meet; /* see load_meet() */
};

/* One Produce request, ready to be sent. */
struct load_frame {
    struct buf bytes;   /* the whole frame */
    size_t batch_at;    /* where the batch begins */
    size_t batch_bytes; /* its size */
    uint32_t crc;       /* the batch's checksum */
    int32_t partition;
};

enum { LOAD_CORRELATION = 7, LOAD_PRODUCE_VERSION = 9, LOAD_FETCH_VERSION = 12 };

/* `variant` makes the content differ. */
void load_frame_make(const struct load_options *options, int32_t partition, uint32_t variant,
                     struct load_frame *out);
void load_frame_free(struct load_frame *frame);

/* What a run did, beside its times. */
struct load_counts {
    int64_t requests;
    int64_t records;
    int64_t bytes;     /* of batches */
    uint64_t checksum; /* the sum of all batches' CRC-32C, whatever their order */
};

/* Time and processor time from here on. */
struct load_clock {
    uint64_t start_ns;
    uint64_t start_cpu_ns;
};

/* Where --meet 1 asks for it: all is connected and made, so say "ready" and wait for a line.
 * Whoever measures the broker does so from here on, and not what all that took. */
void load_meet(const struct load_options *options);

void load_clock_start(struct load_clock *clock);
void load_clock_used(const struct load_clock *clock, double *seconds, double *cpu_seconds);

/* Print the report, times (in ns) of any name in between; those that are NULL or empty are not. */
void load_report_begin(const char *mode, const struct load_clock *clock,
                       const struct load_counts *counts);
void load_report_times(const char *name, const struct hist *hist);
void load_report_end(const struct load_clock *clock);

/* All of it, where times of answers and from end to end are all there is. */
void load_report(const char *mode, const struct load_clock *clock, const struct load_counts *counts,
                 const struct hist *hist, const struct hist *end_to_end);

/* The answer to a Produce request of one partition: its base offset; dies on an error. */
int64_t load_produce_answer(struct bytes frame, const struct load_frame *asked);

int load_produce(const struct load_options *options);
int load_consume(const struct load_options *options);
int load_latency(const struct load_options *options);
int load_await(const struct load_options *options);
int load_gaps(const struct load_options *options);
int load_follow(const struct load_options *options);
int load_crowd(const struct load_options *options);
int load_members(const struct load_options *options);
