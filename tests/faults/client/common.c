/* common.c: what the clients share: time, values, runs, librdkafka's settings. */
#include <inttypes.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "client.h"

/* A pause longer than this ends a run, so that the pauses can be read from the runs. */
#define RUN_PAUSE_US 10000

int64_t now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

_Noreturn void die(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fputs("faults_client: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    exit(1);
}

bool told_to_stop(char *line, int size)
{
    struct pollfd in = {.fd = STDIN_FILENO, .events = POLLIN};
    line[0] = '\0';
    if (poll(&in, 1, 0) <= 0) {
        return false;
    }
    ssize_t n = read(STDIN_FILENO, line, (size_t)size - 1);
    line[n > 0 ? n : 0] = '\0';
    return n <= 0;
}

/* ---- values */

static int filler(uint64_t number, int at)
{
    return 'a' + (int)((number + (uint64_t)at) % 26);
}

void value_make(char value[VALUE_BYTES], const struct stamp *stamp)
{
    int at = snprintf(value, VALUE_BYTES, "w%" PRIu32 ":%" PRId32 ":%" PRIu64 " ", stamp->writer,
                      stamp->partition, stamp->number);
    for (; at < VALUE_BYTES; at++) {
        value[at] = (char)filler(stamp->number, at);
    }
}

bool value_read(const void *value, size_t size, struct stamp *out)
{
    char text[VALUE_BYTES + 1];
    if (size != VALUE_BYTES) {
        return false;
    }
    memcpy(text, value, VALUE_BYTES);
    text[VALUE_BYTES] = '\0';
    int end = 0;
    if (sscanf(text, "w%" SCNu32 ":%" SCNd32 ":%" SCNu64 "%n", &out->writer, &out->partition,
               &out->number, &end) != 3) {
        return false;
    }
    char made[VALUE_BYTES];
    value_make(made, out);
    return memcmp(made, value, VALUE_BYTES) == 0;
}

/* ---- runs */

struct run {
    struct stamp first;
    int64_t offset, count, first_us, last_us;
};

static struct run runs[RUN_KINDS][PARTITIONS_MAX];
static const char *const run_names[RUN_KINDS] = {"ack", "unknown", "failed", "read", "final"};

static void run_write(enum run_kind kind, int32_t partition)
{
    struct run *run = &runs[kind][partition];
    if (run->count > 0) {
        printf("%s %" PRId64 " %" PRId64 " %" PRId32 " %" PRId64 " %" PRIu32 " %" PRIu64 " %" PRId64
               "\n",
               run_names[kind], run->first_us, run->last_us, partition, run->offset,
               run->first.writer, run->first.number, run->count);
    }
    run->count = 0;
}

static bool run_goes_on(const struct run *run, const struct stamp *stamp, int64_t offset,
                        int64_t now)
{
    int64_t offset_next = run->offset < 0 ? -1 : run->offset + run->count;
    return run->count > 0 && run->first.writer == stamp->writer &&
           run->first.number + (uint64_t)run->count == stamp->number && offset == offset_next &&
           now - run->last_us <= RUN_PAUSE_US;
}

void runs_add(enum run_kind kind, const struct stamp *stamp, int64_t offset)
{
    struct run *run = &runs[kind][stamp->partition];
    int64_t now = now_us();
    if (!run_goes_on(run, stamp, offset, now)) {
        run_write(kind, stamp->partition);
        *run = (struct run){.first = *stamp, .offset = offset, .first_us = now};
    }
    run->count++;
    run->last_us = now;
}

void runs_end(void)
{
    for (int kind = 0; kind < RUN_KINDS; kind++) {
        for (int32_t partition = 0; partition < PARTITIONS_MAX; partition++) {
            run_write((enum run_kind)kind, partition);
        }
    }
    if (fflush(stdout) != 0) {
        die("what was seen cannot be written");
    }
}

void take_down(enum run_kind kind, const rd_kafka_message_t *message)
{
    struct stamp stamp;
    if (value_read(message->payload, message->len, &stamp) &&
        stamp.partition == message->partition) {
        runs_add(kind, &stamp, message->offset);
    } else {
        printf("garbled %" PRId64 " %" PRId32 " %" PRId64 "\n", now_us(), message->partition,
               message->offset);
    }
}

/* ---- librdkafka */

void conf_set(rd_kafka_conf_t *conf, const char *key, const char *value)
{
    char why[200];
    if (rd_kafka_conf_set(conf, key, value, why, sizeof(why)) != RD_KAFKA_CONF_OK) {
        die("%s=%s: %s", key, value, why);
    }
}

rd_kafka_conf_t *conf_of(const char *const (*pairs)[2])
{
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    conf_set(conf, "log_level", "0");
    for (; (*pairs)[0] != NULL; pairs++) {
        conf_set(conf, (*pairs)[0], (*pairs)[1]);
    }
    return conf;
}

rd_kafka_conf_t *consumer_conf(const struct options *options, const char *group,
                               const char *const (*more)[2])
{
    rd_kafka_conf_t *conf = conf_of(more);
    conf_set(conf, "bootstrap.servers", options->bootstrap);
    conf_set(conf, "group.id", group);
    conf_set(conf, "enable.auto.commit", "false");
    conf_set(conf, "check.crcs", "true");
    conf_set(conf, "socket.timeout.ms", "10000");
    conf_set(conf, "reconnect.backoff.max.ms", "500");
    conf_set(conf, "topic.metadata.refresh.fast.interval.ms", "100");
    conf_set(conf, "topic.metadata.refresh.interval.ms", "1000");
    conf_set(conf, "fetch.error.backoff.ms", "50");
    conf_set(conf, "fetch.wait.max.ms", "100");
    conf_set(conf, "queued.max.messages.kbytes", "8192");
    return conf;
}

rd_kafka_t *consumer_of(rd_kafka_conf_t *conf)
{
    char why[200];
    rd_kafka_t *kafka = rd_kafka_new(RD_KAFKA_CONSUMER, conf, why, sizeof(why));
    if (kafka == NULL) {
        die("no consumer: %s", why);
    }
    return kafka;
}

rd_kafka_topic_partition_list_t *all_partitions(const struct options *options, int64_t offset)
{
    rd_kafka_topic_partition_list_t *list =
        rd_kafka_topic_partition_list_new(options->partition_count);
    for (int32_t partition = 0; partition < options->partition_count; partition++) {
        rd_kafka_topic_partition_list_add(list, options->topic, partition)->offset = offset;
    }
    return list;
}
