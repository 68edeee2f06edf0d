/* writer.c: the idempotent producers that never stop: the writer, and the probes. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "client.h"

#define ERRORS_MAX 400

struct writer {
    const struct options *options;
    const char *const (*settings)[2];
    int32_t partition_first, partition_count;
    rd_kafka_t *kafka; /* of this incarnation */
    uint32_t incarnation, incarnation_step;
    uint64_t numbers[PARTITIONS_MAX]; /* the next one of each partition */
    int64_t started_us, count;
    bool told[ERRORS_MAX]; /* by code: each kind of error is told once */
};

/* A delivery that failed, other than by giving the producer up. */
static void tell_once(struct writer *writer, rd_kafka_resp_err_t err)
{
    int index = (int)err - RD_KAFKA_RESP_ERR__BEGIN;
    bool ours = err == RD_KAFKA_RESP_ERR__PURGE_QUEUE || err == RD_KAFKA_RESP_ERR__PURGE_INFLIGHT;
    if (!ours && index >= 0 && index < ERRORS_MAX && !writer->told[index]) {
        writer->told[index] = true;
        printf("error %" PRId64 " writer %" PRIu32 " delivery failed: %s\n", now_us(),
               writer->incarnation, rd_kafka_err2name(err));
    }
}

/* The number travels as the message's opaque pointer; a writer's handle serves its own incarnation
 * only. */
static void on_delivery(rd_kafka_t *kafka, const rd_kafka_message_t *message, void *arg)
{
    (void)kafka;
    struct writer *writer = arg;
    struct stamp stamp = {.writer = writer->incarnation,
                          .partition = message->partition,
                          .number = (uint64_t)(uintptr_t)message->_private};
    if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
        runs_add(RUN_ACK, &stamp, message->offset >= 0 ? message->offset : -1);
        return;
    }
    tell_once(writer, message->err);
    bool surely_not = rd_kafka_message_status(message) == RD_KAFKA_MSG_STATUS_NOT_PERSISTED;
    runs_add(surely_not ? RUN_FAILED : RUN_UNKNOWN, &stamp, -1);
}

static void begin(struct writer *writer)
{
    rd_kafka_conf_t *conf = conf_of(writer->settings);
    conf_set(conf, "bootstrap.servers", writer->options->bootstrap);
    conf_set(conf, "enable.idempotence", "true");
    conf_set(conf, "message.timeout.ms", "120000");
    conf_set(conf, "reconnect.backoff.ms", "20");
    conf_set(conf, "reconnect.backoff.max.ms", "200");
    conf_set(conf, "retry.backoff.ms", "10");
    conf_set(conf, "topic.metadata.refresh.fast.interval.ms", "20");
    rd_kafka_conf_set_dr_msg_cb(conf, on_delivery);
    rd_kafka_conf_set_opaque(conf, writer);
    char why[200];
    writer->kafka = rd_kafka_new(RD_KAFKA_PRODUCER, conf, why, sizeof(why));
    if (writer->kafka == NULL) {
        die("no producer: %s", why);
    }
    memset(writer->numbers, 0, sizeof(writer->numbers));
    writer->started_us = now_us();
    writer->count = 0;
    printf("began %" PRId64 " %" PRIu32 "\n", writer->started_us, writer->incarnation);
}

static bool given_up(const struct writer *writer)
{
    char why[300];
    rd_kafka_resp_err_t err = rd_kafka_fatal_error(writer->kafka, why, sizeof(why));
    if (err != RD_KAFKA_RESP_ERR_NO_ERROR) {
        printf("error %" PRId64 " writer %" PRIu32 " given up: %s: %s\n", now_us(),
               writer->incarnation, rd_kafka_err2name(err), why);
    }
    return err != RD_KAFKA_RESP_ERR_NO_ERROR;
}

/* What is still under way after `wait_ms` gets unknown. */
static void end(struct writer *writer, int wait_ms)
{
    if (rd_kafka_flush(writer->kafka, wait_ms) != RD_KAFKA_RESP_ERR_NO_ERROR) {
        rd_kafka_purge(writer->kafka, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
        rd_kafka_flush(writer->kafka, 10000);
    }
    if (wait_ms > 0) {
        (void)given_up(writer); /* while it waited: is told here */
    }
    for (int32_t i = 0; i < writer->partition_count; i++) {
        int32_t partition = writer->partition_first + i;
        printf("sent %" PRId64 " %" PRId32 " %" PRIu32 " %" PRIu64 "\n", now_us(), partition,
               writer->incarnation, writer->numbers[partition]);
    }
    rd_kafka_destroy(writer->kafka);
    runs_end();
}

static bool send_one(struct writer *writer)
{
    int32_t partition =
        writer->partition_first + (int32_t)(writer->count % writer->partition_count);
    struct stamp stamp = {writer->incarnation, partition, writer->numbers[partition]};
    char value[VALUE_BYTES];
    value_make(value, &stamp);
    rd_kafka_resp_err_t err = rd_kafka_producev(
        writer->kafka, RD_KAFKA_V_TOPIC(writer->options->topic), RD_KAFKA_V_PARTITION(partition),
        RD_KAFKA_V_VALUE(value, VALUE_BYTES), RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
        RD_KAFKA_V_OPAQUE((void *)(uintptr_t)stamp.number), RD_KAFKA_V_END);
    if (err != RD_KAFKA_RESP_ERR_NO_ERROR) {
        return false; /* nothing was taken: the queue is full, or the producer is given up */
    }
    writer->numbers[partition]++;
    writer->count++;
    return true;
}

static void another(struct writer *writer)
{
    end(writer, 0);
    writer->incarnation += writer->incarnation_step;
    begin(writer);
}

/* What is due; `next`: with another incarnation. */
static void turn(struct writer *writer, bool next)
{
    /* Where its topic is not there, the next one is given up at once, too: without a pause they
     * would follow each other as fast as they can, and take the processors from all others. */
    bool again = now_us() - writer->started_us >= AGAIN_US && given_up(writer);
    if (again || next) {
        another(writer);
    }
    int64_t due = (now_us() - writer->started_us) * writer->options->rate_per_second / 1000000;
    while (writer->count < due && send_one(writer)) {
    }
    rd_kafka_poll(writer->kafka, 2);
}

static void write_on(struct writer *writers, int32_t count)
{
    for (int32_t i = 0; i < count; i++) {
        begin(&writers[i]);
    }
    char line[32];
    while (!told_to_stop(line, sizeof(line))) {
        for (int32_t i = 0; i < count; i++) {
            turn(&writers[i], strcmp(line, "next\n") == 0);
        }
    }
    for (int32_t i = 0; i < count; i++) {
        end(&writers[i], FLUSH_MS);
    }
}

void writer_main(const struct options *options)
{
    static const char *const settings[][2] = {{"linger.ms", "5"},
                                              {"socket.timeout.ms", "10000"},
                                              {"queue.buffering.max.messages", "400000"},
                                              {NULL, NULL}};
    static struct writer writer;
    writer = (struct writer){.options = options,
                             .settings = settings,
                             .partition_count = options->partition_count,
                             .incarnation = options->writer_first,
                             .incarnation_step = 1};
    write_on(&writer, 1);
}

/* The writer learns late that somebody leads: it asks for metadata behind its produce requests,
 * which a broker answers in order, and does not ask another broker before that; and librdkafka
 * doubles the time between two questions as long as nobody leads. So each partition has a producer
 * of its own, which asks ten times a second and waits for no answer long. */
void probe_main(const struct options *options)
{
    static const char *const settings[][2] = {{"linger.ms", "0"},
                                              {"request.timeout.ms", "1000"},
                                              {"socket.timeout.ms", "1500"},
                                              {"topic.metadata.refresh.interval.ms", "100"},
                                              {NULL, NULL}};
    static struct writer writers[PARTITIONS_MAX];
    for (int32_t partition = 0; partition < options->partition_count; partition++) {
        writers[partition] =
            (struct writer){.options = options,
                            .settings = settings,
                            .partition_first = partition,
                            .partition_count = 1,
                            .incarnation = options->writer_first + (uint32_t)partition,
                            .incarnation_step = (uint32_t)options->partition_count};
    }
    write_on(writers, options->partition_count);
}
