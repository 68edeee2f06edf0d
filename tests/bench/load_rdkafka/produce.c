/* The producer: a chunk for each partition in turn, as long as fewer than RD_WINDOW records wait
 * for their delivery reports, which come as events, many records in each. The first error ends the
 * run. */
#include "base/mem.h"
#include "bench/load/peer.h"
#include "bench/load_rdkafka/rd.h"
#include "record/crc32c.h"

struct produce_run {
    const struct rd_options *options;
    rd_kafka_t *client;
    rd_kafka_topic_t *topic;
    rd_kafka_queue_t *events;
    uint8_t *values;
    uint32_t *crcs; /* of each value */
    int64_t sent;
    int64_t reported;
    int64_t next_value;
    struct rd_counts counts;
};

static void count_error(struct produce_run *run, rd_kafka_resp_err_t err)
{
    if (run->counts.errors++ == 0) {
        run->counts.first_error = err;
    }
}

static void take_reports(struct produce_run *run, rd_kafka_event_t *event)
{
    size_t size = (size_t)run->options->record_bytes;
    const rd_kafka_message_t *message;
    while ((message = rd_kafka_event_message_next(event)) != NULL) {
        run->reported++;
        if (message->err != RD_KAFKA_RESP_ERR_NO_ERROR) {
            count_error(run, message->err);
            continue;
        }
        run->counts.records++;
        run->counts.bytes += (int64_t)message->len;
        run->counts.checksum +=
            run->crcs[(size_t)((const uint8_t *)message->payload - run->values) / size];
    }
}

/* True when there was an event. */
static bool take_event(struct produce_run *run, int timeout_ms)
{
    rd_kafka_event_t *event = rd_kafka_queue_poll(run->events, timeout_ms);
    if (event == NULL) {
        return false;
    }
    if (rd_kafka_event_type(event) == RD_KAFKA_EVENT_DR) {
        take_reports(run, event);
    } else if (rd_kafka_event_type(event) == RD_KAFKA_EVENT_ERROR) {
        count_error(run, rd_kafka_event_error(event));
    }
    rd_kafka_event_destroy(event);
    return true;
}

static void send_chunk(struct produce_run *run, int32_t partition)
{
    rd_kafka_message_t messages[RD_CHUNK];
    int64_t left = run->options->records - run->sent;
    int count = left < RD_CHUNK ? (int)left : RD_CHUNK;
    for (int i = 0; i < count; i++) {
        messages[i] = (rd_kafka_message_t){
            .payload = run->values + run->next_value * run->options->record_bytes,
            .len = (size_t)run->options->record_bytes,
        };
        run->next_value = (run->next_value + 1) % RD_VALUES;
    }
    int taken = rd_kafka_produce_batch(run->topic, partition, 0, messages, count);
    run->sent += count;
    for (int i = 0; taken < count && i < count; i++) {
        if (messages[i].err != RD_KAFKA_RESP_ERR_NO_ERROR) {
            run->reported++;
            count_error(run, messages[i].err);
        }
    }
}

static void run_open(struct produce_run *run)
{
    size_t size = (size_t)run->options->record_bytes;
    run->values = rd_values_new(run->options->record_bytes);
    run->crcs = mem_zalloc(RD_VALUES, sizeof(*run->crcs));
    for (size_t i = 0; i < RD_VALUES; i++) {
        run->crcs[i] = crc32c((struct bytes){run->values + i * size, size});
    }
    run->client = rd_client(RD_KAFKA_PRODUCER, run->options);
    run->topic = rd_topic(run->client, run->options);
    run->events = rd_kafka_queue_get_main(run->client);
}

static void run_close(struct produce_run *run)
{
    if (run->reported < run->sent) {
        rd_kafka_purge(run->client, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
    }
    rd_kafka_queue_destroy(run->events);
    rd_kafka_topic_destroy(run->topic);
    rd_kafka_destroy(run->client);
    mem_free(run->crcs);
    mem_free(run->values);
}

int rd_produce(const struct rd_options *options)
{
    struct produce_run run = {.options = options};
    struct rd_clock clock;
    int32_t partition = 0;
    run_open(&run);
    rd_clock_start(&clock);
    while (run.reported < options->records && run.counts.errors == 0) {
        if (run.sent < options->records && run.sent - run.reported < RD_WINDOW) {
            send_chunk(&run, partition);
            partition = (partition + 1) % options->partitions;
            while (take_event(&run, 0)) {
            }
        } else if (!take_event(&run, RD_SILENCE_MS)) {
            die("%ld records are without a delivery report", (long)(run.sent - run.reported));
        }
    }
    int status = rd_report("produce", &clock, &run.counts, options->records);
    run_close(&run);
    return status;
}
