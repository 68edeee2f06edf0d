/* The consumer: the library's simple one, without a group, so that the broker has nothing to do but
 * answer fetches. Offsets must follow each other: what is made here has no gaps. */
#include <inttypes.h>

#include "base/mem.h"
#include "bench/load/peer.h"
#include "bench/load_rdkafka/rd.h"
#include "record/crc32c.h"

enum { READ_MAX = 10000, POLL_MS = 500, WATERMARK_MS = 30000 };

struct consume_run {
    const struct rd_options *options;
    rd_kafka_t *client;
    rd_kafka_topic_t *topic;
    rd_kafka_queue_t *queue;
    int64_t next[RD_PARTITIONS_MAX];
    int64_t wanted; /* records */
    struct rd_counts counts;
};

static void find_range(struct consume_run *run, int32_t partition)
{
    int64_t low;
    int64_t high;
    rd_kafka_resp_err_t err = rd_kafka_query_watermark_offsets(
        run->client, run->options->topic, partition, &low, &high, WATERMARK_MS);
    if (err != RD_KAFKA_RESP_ERR_NO_ERROR) {
        die("offsets of partition %d: %s", partition, rd_kafka_err2str(err));
    }
    run->next[partition] = low;
    run->wanted += high - low;
}

/* What acks=1 has acknowledged can be read, and is counted here, only when the followers have it.
 */
static void find_ranges(struct consume_run *run)
{
    uint64_t start = now_ns();
    do {
        run->wanted = 0;
        for (int32_t i = 0; i < run->options->partitions; i++) {
            find_range(run, i);
        }
        if (now_ns() - start > RD_SILENCE_MS * 1000000ull) {
            die("%" PRId64 " records are there to read, not %" PRId64, run->wanted,
                run->options->expected);
        }
    } while (run->wanted < run->options->expected);
}

static void take_record(struct consume_run *run, const rd_kafka_message_t *message)
{
    if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
        return;
    }
    if (message->err != RD_KAFKA_RESP_ERR_NO_ERROR) {
        if (run->counts.errors++ == 0) {
            run->counts.first_error = message->err;
        }
        return;
    }
    if (message->offset != run->next[message->partition]) {
        die("partition %d: offset %" PRId64 " came in the place of %" PRId64, message->partition,
            message->offset, run->next[message->partition]);
    }
    run->next[message->partition]++;
    run->counts.records++;
    run->counts.bytes += (int64_t)message->len;
    run->counts.checksum += crc32c((struct bytes){message->payload, message->len});
}

/* The library waits until there are as many as asked for, so more than what is left never is. */
static ssize_t take_some(struct consume_run *run, rd_kafka_message_t **messages)
{
    int64_t left = run->wanted - run->counts.records;
    ssize_t count = rd_kafka_consume_batch_queue(run->queue, POLL_MS, messages,
                                                 left < READ_MAX ? (size_t)left : READ_MAX);
    for (ssize_t i = 0; i < count; i++) {
        take_record(run, messages[i]);
        rd_kafka_message_destroy(messages[i]);
    }
    return count;
}

static void run_open(struct consume_run *run)
{
    run->client = rd_client(RD_KAFKA_CONSUMER, run->options);
    run->topic = rd_topic(run->client, run->options);
    run->queue = rd_kafka_queue_new(run->client);
    find_ranges(run);
}

static void run_close(struct consume_run *run)
{
    for (int32_t i = 0; i < run->options->partitions; i++) {
        rd_kafka_consume_stop(run->topic, i);
    }
    rd_kafka_queue_destroy(run->queue);
    rd_kafka_topic_destroy(run->topic);
    rd_kafka_destroy(run->client);
}

int rd_consume(const struct rd_options *options)
{
    struct consume_run *run = mem_new(struct consume_run);
    struct rd_clock clock;
    rd_kafka_message_t **messages = mem_zalloc(READ_MAX, sizeof(rd_kafka_message_t *));
    run->options = options;
    run_open(run);
    rd_clock_start(&clock);
    for (int32_t i = 0; i < options->partitions; i++) {
        if (rd_kafka_consume_start_queue(run->topic, i, run->next[i], run->queue) != 0) {
            die("partition %d: %s", i, rd_kafka_err2str(rd_kafka_last_error()));
        }
    }
    uint64_t heard = now_ns();
    while (run->counts.records < run->wanted && run->counts.errors == 0) {
        ssize_t count = take_some(run, messages);
        heard = count > 0 ? now_ns() : heard;
        if (now_ns() - heard > RD_SILENCE_MS * 1000000ull) {
            die("nothing more comes behind %" PRId64 " records of %" PRId64, run->counts.records,
                run->wanted);
        }
    }
    int status = rd_report("consume", &clock, &run->counts, run->wanted);
    run_close(run);
    mem_free(messages);
    mem_free(run);
    return status;
}
