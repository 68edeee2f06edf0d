/* reader.c: those that read: one that follows, a member of a group, one that asks for the ends, and
 * the last reading. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "client.h"

#define GROUP           "faults-group"
#define COMMIT_EVERY_US 100000

static int consume(rd_kafka_t *kafka, rd_kafka_message_t **messages)
{
    rd_kafka_queue_t *queue = rd_kafka_queue_get_consumer(kafka);
    ssize_t count = rd_kafka_consume_batch_queue(queue, WAIT_MS, messages, BATCH_MAX);
    rd_kafka_queue_destroy(queue);
    return count > 0 ? (int)count : 0;
}

static rd_kafka_t *follow(const struct options *options, const char *group,
                          const char *const (*more)[2])
{
    rd_kafka_t *kafka = consumer_of(consumer_conf(options, group, more));
    rd_kafka_poll_set_consumer(kafka);
    rd_kafka_topic_partition_list_t *list = all_partitions(options, 0);
    rd_kafka_assign(kafka, list);
    rd_kafka_topic_partition_list_destroy(list);
    return kafka;
}

/* An offset out of range is never right here: nothing is deleted, and what was read stays. */
static void tell_refusal(const rd_kafka_message_t *message)
{
    if (message->err == RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET ||
        message->err == RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE) {
        printf("refused %" PRId64 " %" PRId32 " %" PRId64 "\n", now_us(), message->partition,
               message->offset);
    }
}

void reader_main(const struct options *options)
{
    static const char *const settings[][2] = {{"auto.offset.reset", "error"}, {NULL, NULL}};
    rd_kafka_t *kafka = follow(options, "faults-reader", settings);
    rd_kafka_message_t *messages[BATCH_MAX];
    char line[32];
    while (!told_to_stop(line, sizeof(line))) {
        int count = consume(kafka, messages);
        for (int i = 0; i < count; i++) {
            if (messages[i]->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
                take_down(RUN_READ, messages[i]);
            } else {
                tell_refusal(messages[i]);
            }
            rd_kafka_message_destroy(messages[i]);
        }
    }
    rd_kafka_destroy(kafka);
}

void final_main(const struct options *options)
{
    static const char *const settings[][2] = {
        {"auto.offset.reset", "error"}, {"enable.partition.eof", "true"}, {NULL, NULL}};
    rd_kafka_t *kafka = follow(options, "faults-final", settings);
    rd_kafka_message_t *messages[BATCH_MAX];
    bool ended[PARTITIONS_MAX] = {false};
    int32_t ended_count = 0;
    int64_t deadline_us = now_us() + (int64_t)FINAL_MS * 1000;
    while (ended_count < options->partition_count) {
        if (now_us() > deadline_us) {
            die("only %" PRId32 " partitions of %" PRId32 " can be read to their end", ended_count,
                options->partition_count);
        }
        int count = consume(kafka, messages);
        for (int i = 0; i < count; i++) {
            if (messages[i]->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
                take_down(RUN_FINAL, messages[i]);
            } else if (messages[i]->err == RD_KAFKA_RESP_ERR__PARTITION_EOF &&
                       !ended[messages[i]->partition]) {
                ended[messages[i]->partition] = true;
                ended_count++;
            } else {
                tell_refusal(messages[i]);
            }
            rd_kafka_message_destroy(messages[i]);
        }
    }
    rd_kafka_destroy(kafka);
}

void ends_main(const struct options *options)
{
    static const char *const settings[][2] = {{NULL, NULL}};
    rd_kafka_t *kafka = consumer_of(consumer_conf(options, "faults-ends", settings));
    char line[32];
    while (!told_to_stop(line, sizeof(line))) {
        for (int32_t partition = 0; partition < options->partition_count; partition++) {
            int64_t low, high, asked_us = now_us();
            if (rd_kafka_query_watermark_offsets(kafka, options->topic, partition, &low, &high,
                                                 1000) == RD_KAFKA_RESP_ERR_NO_ERROR) {
                printf("end %" PRId64 " %" PRId64 " %" PRId32 " %" PRId64 "\n", asked_us, now_us(),
                       partition, high);
            }
        }
        rd_kafka_poll(kafka, WAIT_MS);
    }
    rd_kafka_destroy(kafka);
}

/* ---- the member of a group */

struct member {
    rd_kafka_t *kafka;
    const struct options *options;
    int64_t positions[PARTITIONS_MAX]; /* to commit; -1: nothing */
    int64_t looked_us;
};

static void forget_positions(struct member *member)
{
    memset(member->positions, 0xff, sizeof(member->positions));
}

/* What was read before a rebalance is another member's to commit after it. */
static void on_rebalance(rd_kafka_t *kafka, rd_kafka_resp_err_t err,
                         rd_kafka_topic_partition_list_t *partitions, void *arg)
{
    forget_positions(arg);
    rd_kafka_assign(kafka, err == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS ? partitions : NULL);
}

static void commit(struct member *member)
{
    rd_kafka_topic_partition_list_t *list =
        rd_kafka_topic_partition_list_new(member->options->partition_count);
    for (int32_t partition = 0; partition < member->options->partition_count; partition++) {
        if (member->positions[partition] >= 0) {
            rd_kafka_topic_partition_list_add(list, member->options->topic, partition)->offset =
                member->positions[partition];
        }
    }
    forget_positions(member);
    int64_t asked_us = now_us();
    if (list->cnt > 0 && rd_kafka_commit(member->kafka, list, 0) == RD_KAFKA_RESP_ERR_NO_ERROR) {
        for (int i = 0; i < list->cnt; i++) {
            if (list->elems[i].err == RD_KAFKA_RESP_ERR_NO_ERROR) {
                printf("commit %" PRId64 " %" PRId64 " %" PRId32 " %" PRId64 "\n", asked_us,
                       now_us(), list->elems[i].partition, list->elems[i].offset);
            }
        }
    }
    rd_kafka_topic_partition_list_destroy(list);
}

static void look(struct member *member)
{
    rd_kafka_topic_partition_list_t *list =
        all_partitions(member->options, RD_KAFKA_OFFSET_INVALID);
    int64_t asked_us = now_us();
    if (rd_kafka_committed(member->kafka, list, 2000) == RD_KAFKA_RESP_ERR_NO_ERROR) {
        for (int i = 0; i < list->cnt; i++) {
            if (list->elems[i].err == RD_KAFKA_RESP_ERR_NO_ERROR) {
                int64_t offset = list->elems[i].offset >= 0 ? list->elems[i].offset : -1;
                printf("committed %" PRId64 " %" PRId64 " %" PRId32 " %" PRId64 "\n", asked_us,
                       now_us(), list->elems[i].partition, offset);
            }
        }
    }
    rd_kafka_topic_partition_list_destroy(list);
    member->looked_us = now_us();
}

void group_main(const struct options *options)
{
    static struct member member;
    static const char *const settings[][2] = {{"auto.offset.reset", "earliest"},
                                              {"session.timeout.ms", "6000"},
                                              {"heartbeat.interval.ms", "500"},
                                              {NULL, NULL}};
    rd_kafka_conf_t *conf = consumer_conf(options, GROUP, settings);
    rd_kafka_conf_set_rebalance_cb(conf, on_rebalance);
    rd_kafka_conf_set_opaque(conf, &member);
    member = (struct member){.kafka = consumer_of(conf), .options = options, .looked_us = now_us()};
    forget_positions(&member);
    rd_kafka_poll_set_consumer(member.kafka);
    rd_kafka_topic_partition_list_t *topics = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(topics, options->topic, RD_KAFKA_PARTITION_UA);
    rd_kafka_subscribe(member.kafka, topics);
    rd_kafka_topic_partition_list_destroy(topics);
    rd_kafka_message_t *messages[BATCH_MAX];
    char line[32];
    while (!told_to_stop(line, sizeof(line))) {
        int count = consume(member.kafka, messages);
        for (int i = 0; i < count; i++) {
            if (messages[i]->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
                take_down(RUN_READ, messages[i]);
                member.positions[messages[i]->partition] = messages[i]->offset + 1;
            }
            rd_kafka_message_destroy(messages[i]);
        }
        if (now_us() - member.looked_us > COMMIT_EVERY_US) {
            commit(&member);
            look(&member);
        }
    }
    look(&member);
    rd_kafka_consumer_close(member.kafka);
    rd_kafka_destroy(member.kafka);
}
