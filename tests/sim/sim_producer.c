#include "sim_producer.h"

#include <stdio.h>

#include "base/mem.h"
#include "base/must.h"
#include "record/batch_builder.h"
#include "sim_model.h"
#include "sim_parts.h"
#include "sim_record.h"

enum {
    UNDER_WAY_MAX = 5,
    BATCH_RECORDS_MAX = 8,
    RECORD_BYTES_MAX = 1200,
    BACKOFF_MS = 50,
    TIMEOUT_MS = 3000,
};

struct batch {
    int64_t first; /* number of its first record */
    int count;
    int32_t sequence;
    struct buf bytes;
};

struct producer {
    struct sim_client client; /* first */
    int number;
    int part;
    int64_t records;
    int window;   /* batches under way at most */
    int lives;    /* of all brokers, when it was last acknowledged something */
    int64_t next; /* record */
    int64_t producer_id;
    int16_t producer_epoch;
    int32_t next_sequence;
    struct sim_leader leader;
    struct batch under_way[UNDER_WAY_MAX]; /* oldest first */
    int under_way_count;
    int sent;       /* of these, with the present leader, in this round */
    uint64_t round; /* answers of earlier ones do not count */
    bool known;     /* this leader has acknowledged something in this round */
    struct loop_timer pause;
    int64_t not_before_ms; /* the next new batch: spreads them over the safety phase */
    bool asking;
};

struct sending {
    struct producer *producer;
    uint64_t round;
    int64_t first;
    int broker;
};

static void go_on(struct producer *producer);

static struct producer *of_client(struct sim_client *client)
{
    return (struct producer *)client;
}

static void on_pause(struct loop_timer *timer)
{
    go_on(container_of(timer, struct producer, pause));
}

/* Try again a little later, from the leader on. */
static void start_over(struct producer *producer)
{
    struct sim_client *client = &producer->client;
    int64_t wait_ms = BACKOFF_MS + (int64_t)rng_below(&client->rng, BACKOFF_MS);
    producer->round++;
    producer->sent = 0;
    producer->known = false;
    producer->leader.broker = -1;
    if (!client->stopped) {
        loop_timer_set(client->loop, &producer->pause, loop_now_ms(client->loop) + wait_ms);
    }
}

/* ---- its id ---- */

static void on_producer_id(struct sim_client *client, void *arg, enum err err, const void *body)
{
    struct producer *producer = of_client(client);
    const struct init_producer_id_response *reply = body;
    (void)arg;
    producer->asking = false;
    if (err != ERR_OK || reply->error_code != 0) {
        start_over(producer);
        return;
    }
    producer->producer_id = reply->producer_id;
    producer->producer_epoch = reply->producer_epoch;
    producer->next_sequence = 0;
    go_on(producer);
}

static void ask_for_id(struct producer *producer)
{
    struct init_producer_id_request request;
    struct sim_client *client = &producer->client;
    codec_init(&init_producer_id_request_desc, &request);
    request.transactional_id = STR_NULL;
    request.transaction_timeout_ms = 60000;
    producer->asking = true;
    sim_client_call(client, sim_client_any_broker(client), API_INIT_PRODUCER_ID,
                    sim_client_version(client, 0, 4), &request, on_producer_id, NULL);
}

static void on_leader(struct sim_client *client, const struct sim_leader *leader)
{
    struct producer *producer = of_client(client);
    producer->asking = false;
    if (leader->broker < 0) {
        start_over(producer);
        return;
    }
    producer->leader = *leader;
    go_on(producer);
}

/* ---- batches ---- */

static void make_batch(struct producer *producer, struct batch *batch)
{
    struct sim_client *client = &producer->client;
    struct batch_options options = batch_options_default();
    struct batch_builder builder;
    struct buf value = {0};
    int64_t left = producer->records - producer->next;
    int count = 1 + (int)rng_below(&client->rng, BATCH_RECORDS_MAX);
    *batch = (struct batch){.first = producer->next, .sequence = producer->next_sequence};
    batch->count = count < left ? count : (int)left;
    options.producer_id = producer->producer_id;
    options.producer_epoch = producer->producer_epoch;
    options.base_sequence = batch->sequence;
    options.codec = (enum compress_codec)rng_below(&client->rng, 5);
    batch_builder_init(&builder, &options);
    for (int i = 0; i < batch->count; i++) {
        size_t size = SIM_RECORD_MIN + (size_t)rng_below(&client->rng, RECORD_BYTES_MAX);
        buf_clear(&value);
        sim_record_make(&value, sim_record_id(producer->number, batch->first + i), size);
        batch_builder_add(&builder, clock_wall_ms(&client->clock.clock), (struct bytes){0},
                          (struct bytes){value.data, value.size}, NULL, 0);
    }
    must(batch_builder_finish(&builder, &batch->bytes) == ERR_OK);
    batch_builder_fini(&builder);
    buf_fini(&value);
    producer->next += batch->count;
    producer->next_sequence += batch->count;
}

static void drop_first(struct producer *producer)
{
    buf_fini(&producer->under_way[0].bytes);
    producer->under_way_count--;
    producer->sent--;
    for (int i = 0; i < producer->under_way_count; i++) {
        producer->under_way[i] = producer->under_way[i + 1];
    }
}

/* The broker knows too little of us: begin anew under another id. */
static void give_up(struct producer *producer)
{
    while (producer->under_way_count > 0) {
        struct batch *first = &producer->under_way[0];
        sim_model_abandoned(producer->client.sim->model, producer->number, first->first,
                            first->count);
        drop_first(producer);
    }
    producer->producer_id = -1;
    start_over(producer);
}

/* ---- answers ---- */

static int count_lives(const struct sim *sim)
{
    int lives = 0;
    for (int i = 0; i < sim->options.nodes_count; i++) {
        lives += sim->nodes[i].lives;
    }
    return lives;
}

/* Kafka's snapshots of producers hold the newest batch of each only. So when a broker restarts
 * while several batches are under way and had all been appended, it may not recognise the oldest of
 * them. */
static bool snapshot_forgot(const struct producer *producer)
{
    return producer->under_way_count > 1 && count_lives(producer->client.sim) != producer->lives;
}

static void refused(struct producer *producer, enum err err, int broker)
{
    struct sim_client *client = &producer->client;
    bool forgot = err == ERR_OUT_OF_ORDER_SEQUENCE_NUMBER || err == ERR_UNKNOWN_PRODUCER_ID;
    sim_trace_line(&client->sim->trace, client->name, "is refused by broker %d: %s", broker,
                   err_name(err));
    if (forgot && sim_part_leader(client->sim, producer->part) != broker) {
        /* It was deposed and has not heard of that: it lacks what others have acknowledged since.
         * Clients that remember the newest leader epoch would not have asked it. */
        start_over(producer);
        return;
    }
    if (forgot &&
        (sim_model_may_forget(client->sim->model, producer->part) || snapshot_forgot(producer))) {
        give_up(producer);
        return;
    }
    if (forgot || !err_retriable(err)) {
        sim_fail(client->sim, "%s is told %s by broker %d, which nothing that happened explains",
                 client->name, err_name(err), broker);
        return;
    }
    start_over(producer);
}

static void accepted(struct producer *producer, int broker, int64_t offset)
{
    struct sim_client *client = &producer->client;
    struct batch *first = &producer->under_way[0];
    sim_trace_line(&client->sim->trace, client->name,
                   "records %lld..%lld are at offset %lld of broker %d", (long long)first->first,
                   (long long)first->first + first->count - 1, (long long)offset, broker);
    sim_model_acked(client->sim->model, producer->part, broker, offset, producer->number,
                    first->first, first->count);
    producer->known = true;
    producer->lives = count_lives(client->sim);
    drop_first(producer);
    go_on(producer);
}

static void on_produced(struct sim_client *client, void *arg, enum err err, const void *body)
{
    struct producer *producer = of_client(client);
    struct sending *sending = arg;
    const struct produce_response *reply = body;
    bool current = sending->round == producer->round;
    int64_t first = sending->first;
    int broker = sending->broker;
    mem_free(sending);
    if (!current) {
        return;
    }
    if (err != ERR_OK) {
        start_over(producer);
        return;
    }
    must(producer->under_way_count > 0);
    must(producer->under_way[0].first == first);
    must(reply->responses_count == 1);
    must(reply->responses[0].partition_responses_count == 1);
    const struct produce_response_partition_produce_response *part =
        &reply->responses[0].partition_responses[0];
    if (part->error_code == 0) {
        accepted(producer, broker, part->base_offset);
    } else {
        refused(producer, err_from_wire(part->error_code), broker);
    }
}

static void send_batch(struct producer *producer, const struct batch *batch)
{
    struct sim_client *client = &producer->client;
    struct produce_request request;
    struct produce_request_topic_produce_data topic;
    struct produce_request_partition_produce_data part;
    struct sending *sending = mem_new(struct sending);
    char name[16];
    int index;
    sim_part_name(client->sim, producer->part, name, &index);
    codec_init(&produce_request_desc, &request);
    codec_init(&produce_request_topic_produce_data_desc, &topic);
    codec_init(&produce_request_partition_produce_data_desc, &part);
    part.index = index;
    part.records = (struct bytes){batch->bytes.data, batch->bytes.size};
    topic.name = str_of(name);
    topic.partition_data = &part;
    topic.partition_data_count = 1;
    request.transactional_id = STR_NULL;
    request.acks = -1;
    request.timeout_ms = TIMEOUT_MS;
    request.topic_data = &topic;
    request.topic_data_count = 1;
    *sending = (struct sending){producer, producer->round, batch->first, producer->leader.broker};
    producer->sent++;
    sim_client_call(client, producer->leader.broker, API_PRODUCE, sim_client_version(client, 7, 11),
                    &request, on_produced, sending);
}

/* ---- the machine ---- */

/* Often at once, so that several are under way; on average so that all take the safety phase. */
static int64_t gap_ms(struct producer *producer)
{
    struct sim_client *client = &producer->client;
    int64_t batches = 1 + producer->records * 2 / BATCH_RECORDS_MAX;
    int64_t average_ms = client->sim->options.faults_ns / SIM_MS / batches;
    return rng_one_in(&client->rng, 2)
               ? 0
               : (int64_t)rng_below(&client->rng, (uint64_t)(4 * average_ms + 1));
}

/* Make a batch and send it, if it is time for it. */
static void send_new(struct producer *producer)
{
    struct sim_client *client = &producer->client;
    int64_t now_ms = loop_now_ms(client->loop);
    if (now_ms >= producer->not_before_ms) {
        make_batch(producer, &producer->under_way[producer->under_way_count]);
        send_batch(producer, &producer->under_way[producer->under_way_count++]);
        producer->not_before_ms = now_ms + gap_ms(producer);
    }
    loop_timer_set(client->loop, &producer->pause, producer->not_before_ms);
}

static void go_on(struct producer *producer)
{
    struct sim_client *client = &producer->client;
    if (client->stopped || client->sim->failed || producer->asking ||
        (producer->under_way_count == 0 && producer->next == producer->records)) {
        return;
    }
    if (producer->producer_id < 0) {
        ask_for_id(producer);
        return;
    }
    if (producer->leader.broker < 0) {
        producer->asking = true;
        sim_client_find_leader(client, producer->part, on_leader);
        return;
    }
    int window = producer->known ? producer->window : 1;
    while (producer->sent < producer->under_way_count && producer->sent < window) {
        send_batch(producer, &producer->under_way[producer->sent]);
    }
    if (producer->under_way_count < window && producer->next < producer->records) {
        send_new(producer);
    }
}

static void producer_start(struct sim_client *client)
{
    go_on(of_client(client));
}

static bool producer_done(struct sim_client *client)
{
    struct producer *producer = of_client(client);
    return producer->next == producer->records && producer->under_way_count == 0;
}

static void producer_free(struct sim_client *client)
{
    struct producer *producer = of_client(client);
    loop_timer_cancel(&producer->pause);
    while (producer->under_way_count > 0) {
        drop_first(producer);
    }
}

static const struct sim_client_kind producer_kind = {producer_start, producer_done, producer_free};

void sim_producer_new(struct sim *sim, int number, int part, int records)
{
    struct producer *producer = mem_new(struct producer);
    char name[24];
    must(number < SIM_PRODUCERS_MAX);
    snprintf(name, sizeof(name), "producer-%d", number);
    producer->number = number;
    producer->part = part;
    producer->records = records;
    producer->window = number % 2 == 0 ? 1 : UNDER_WAY_MAX;
    producer->producer_id = -1;
    producer->leader.broker = -1;
    loop_timer_init(&producer->pause, on_pause);
    sim_client_init(&producer->client, sim, &producer_kind, name);
}
