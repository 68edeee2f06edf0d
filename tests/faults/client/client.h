/* client.h: the clients that go on while a cluster is broken, each a process of its own that writes
 * down what it did and saw.
 *
 *   faults_client writer|probe|reader|group|ends|final BOOTSTRAP TOPIC PARTITIONS [RATE [FIRST]]
 *
 *   - writer: an idempotent producer with acks=all, RATE records a second to the partitions in
 *     turn. When librdkafka gives it up, or at a line "next" on the standard input, another
 *     incarnation goes on; FIRST is the first one's number.
 *   - probe: one such producer for each partition, RATE records a second each, which learns at once
 *     that a partition can be written to. The first ones have the numbers from FIRST on.
 *   - reader: reads every partition from its beginning, without a group.
 *   - group: a member of a consumer group that commits what it has read.
 *   - ends: asks where each partition ends, again and again.
 *   - final: reads every partition to its end, once.
 *
 * All but `final` go on until their standard input ends. What they write is one line for each
 * *run*: records that are neighbours in number and in offset, and in time. So ten million records
 * are a few ten thousand lines. Times are microseconds of CLOCK_MONOTONIC; runs are
 *
 *   ack|unknown|failed|read|final FIRST_US LAST_US PARTITION OFFSET WRITER NUMBER COUNT
 *
 * unknown: no acknowledgement, it may be there or not. failed: the client says that it is not
 * there. OFFSET is -1 where the client does not know it. The other lines:
 *
 *   - began US WRITER: an incarnation of the writer.
 *   - sent US PARTITION WRITER COUNT: an incarnation has ended; it used the numbers below COUNT.
 *   - end US US PARTITION OFFSET: asked, answered: the latest offset.
 *   - commit US US PARTITION OFFSET: asked, answered: the offset is committed.
 *   - committed US US PARTITION OFFSET: asked, answered: the group's offset.
 *   - garbled US PARTITION OFFSET: a record that no writer made.
 *   - refused US PARTITION OFFSET: a reader was told that there is no such offset.
 *   - error US TEXT: an error that the client does not get over by itself.
 */
#ifndef FAULTS_CLIENT_H
#define FAULTS_CLIENT_H

#include <stdbool.h>
#include <stdint.h>

#include <librdkafka/rdkafka.h>

#define PARTITIONS_MAX 64
#define VALUE_BYTES    100
#define BATCH_MAX      1000
#define WAIT_MS        50
#define FLUSH_MS       90000
#define AGAIN_US       100000 /* before a producer that was given up is followed by another */
#define FINAL_MS       90000

struct options {
    const char *bootstrap;
    const char *topic;
    int32_t partition_count;
    int64_t rate_per_second;
    uint32_t writer_first;
};

/* What a value says of itself. */
struct stamp {
    uint32_t writer;
    int32_t partition;
    uint64_t number;
};

enum run_kind { RUN_ACK, RUN_UNKNOWN, RUN_FAILED, RUN_READ, RUN_FINAL, RUN_KINDS };

int64_t now_us(void);

/* Ends the process with a line on the standard error. */
_Noreturn void die(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Has the standard input ended? A line that came is copied to `line` (emptied when none did). */
bool told_to_stop(char *line, int size);

void value_make(char value[VALUE_BYTES], const struct stamp *stamp);

/* False when the bytes are not, to the last one, what value_make() made for some stamp. */
bool value_read(const void *value, size_t size, struct stamp *out);

/* One record more for the runs of its kind; a run is written when something else begins, and at
 * runs_end(). */
void runs_add(enum run_kind kind, const struct stamp *stamp, int64_t offset);
void runs_end(void);

/* A consumer's settings; `more` are pairs of key and value, ended by one of NULL. Then the
 * consumer, which takes them. */
rd_kafka_conf_t *consumer_conf(const struct options *options, const char *group,
                               const char *const (*more)[2]);
rd_kafka_t *consumer_of(rd_kafka_conf_t *conf_take);

/* A list with every partition of the topic at `offset`. The caller's, to destroy. */
rd_kafka_topic_partition_list_t *all_partitions(const struct options *options, int64_t offset);

/* A configuration from pairs, ended by one of NULL. */
rd_kafka_conf_t *conf_of(const char *const (*pairs)[2]);
void conf_set(rd_kafka_conf_t *conf, const char *key, const char *value);

/* Takes a consumed record down as `kind`, or as garbled. */
void take_down(enum run_kind kind, const rd_kafka_message_t *message);

void writer_main(const struct options *options);
void probe_main(const struct options *options);
void reader_main(const struct options *options);
void group_main(const struct options *options);
void ends_main(const struct options *options);
void final_main(const struct options *options);

#endif
