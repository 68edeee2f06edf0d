#include "sim_renew.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/mem.h"
#include "base/must.h"
#include "record/batch_builder.h"
#include "sim_client.h"
#include "sim_model.h"
#include "sim_record.h"

enum {
    LIVES_MAX = 32,
    BATCHES_MAX = 6,
    RECORDS_MAX = 4, /* of a batch */
    PAUSE_MS = 100,
    CHECKPOINT_MS = 6000,
    TIMEOUT_MS = 3000,
    OFFSETS_MAX = 512,
    INFLATED_MAX = 1 << 20,
};

#define TOPIC "r0"

enum renew_step {
    RENEW_MAKE,
    RENEW_WRITE,
    RENEW_READ,
    RENEW_TRIM, /* where records are deleted: all of them, before the topic is */
    RENEW_DELETE,
};

struct renew {
    struct sim_client client; /* first */
    int lives;
    int life; /* 1, 2, ...: which is written now */
    enum renew_step step;
    struct uuid ids[LIVES_MAX + 1]; /* of each life; zero: not known yet */
    bool dirty[LIVES_MAX + 1];      /* the outcome of one of its batches is not known */
    int leader;
    int controller;
    int batches_left;
    int64_t next_number;
    int64_t acked[OFFSETS_MAX]; /* record number by offset, in this life; -1: none */
    int64_t acked_end;
    int64_t read_offset;
    struct loop_timer pause;
};

static struct renew *of_client(struct sim_client *client)
{
    return (struct renew *)client;
}

static void wait_ms(struct renew *renew, int64_t ms)
{
    struct sim_client *client = &renew->client;
    if (!client->stopped) {
        loop_timer_set(client->loop, &renew->pause,
                       loop_now_ms(client->loop) + 1 +
                           (int64_t)rng_below(&client->rng, (uint64_t)ms + 1));
    }
}

static void begin_life(struct renew *renew, struct uuid id)
{
    struct sim_client *client = &renew->client;
    renew->life++;
    renew->ids[renew->life] = id;
    renew->step = RENEW_WRITE;
    renew->batches_left = 1 + (int)rng_below(&client->rng, BATCHES_MAX);
    renew->next_number = 0;
    renew->acked_end = 0;
    renew->read_offset = 0;
    for (int i = 0; i < OFFSETS_MAX; i++) {
        renew->acked[i] = -1;
    }
    sim_trace_line(&client->sim->trace, client->name, TOPIC " lives for time %d", renew->life);
}

/* The life that had this id; 0: none of ours. */
static int life_of(const struct renew *renew, struct uuid id)
{
    for (int i = 1; i <= renew->life; i++) {
        if (uuid_eq(renew->ids[i], id)) {
            return i;
        }
    }
    return 0;
}

/* ---- making and deleting ---- */

/* What came of it the metadata will tell. */
static void on_ordered(struct sim_client *client, void *arg, enum err err, const void *body)
{
    (void)arg;
    (void)err;
    (void)body;
    wait_ms(of_client(client), PAUSE_MS);
}

static void make_topic(struct renew *renew)
{
    struct sim_client *client = &renew->client;
    struct create_topics_request request;
    struct create_topics_request_creatable_topic topic;
    codec_init(&create_topics_request_desc, &request);
    codec_init(&create_topics_request_creatable_topic_desc, &topic);
    topic.name = STR(TOPIC);
    topic.num_partitions = 1;
    topic.replication_factor = (int16_t)client->sim->options.replicas_count;
    request.topics = &topic;
    request.topics_count = 1;
    request.timeout_ms = TIMEOUT_MS;
    sim_client_call(client, renew->controller, API_CREATE_TOPICS, sim_client_version(client, 2, 7),
                    &request, on_ordered, NULL);
}

static void delete_topic(struct renew *renew, struct uuid id)
{
    struct sim_client *client = &renew->client;
    struct delete_topics_request request;
    struct delete_topics_request_delete_topic_state topic;
    codec_init(&delete_topics_request_desc, &request);
    codec_init(&delete_topics_request_delete_topic_state_desc, &topic);
    topic.topic_id = id;
    topic.name = STR_NULL;
    request.topics = &topic;
    request.topics_count = 1;
    request.timeout_ms = TIMEOUT_MS;
    sim_client_call(client, renew->controller, API_DELETE_TOPICS, 6, &request, on_ordered, NULL);
}

/* ---- writing ---- */

static void written(struct renew *renew, int64_t offset, int64_t first, int count)
{
    struct sim *sim = renew->client.sim;
    sim_trace_line(&sim->trace, renew->client.name,
                   "records %" PRId64 "..%" PRId64 " of life %d are at offset %" PRId64
                   " of broker %d",
                   first, first + count - 1, renew->life, offset, renew->leader);
    if (offset < 0 || offset + count > OFFSETS_MAX) {
        sim_fail(sim, "R2: %s is told offset %" PRId64 " in life %d of " TOPIC, renew->client.name,
                 offset, renew->life);
        return;
    }
    for (int i = 0; i < count; i++) {
        renew->acked[offset + i] = first + i;
    }
    renew->acked_end = offset + count > renew->acked_end ? offset + count : renew->acked_end;
    renew->batches_left--;
    renew->step = renew->batches_left > 0 ? RENEW_WRITE : RENEW_READ;
}

struct writing {
    int64_t first;
    int count;
};

static void on_written(struct sim_client *client, void *arg, enum err err, const void *body)
{
    struct renew *renew = of_client(client);
    const struct produce_response *reply = body;
    struct writing writing = *(struct writing *)arg;
    mem_free(arg);
    if (err != ERR_OK) {
        renew->dirty[renew->life] = true;
    } else {
        must(reply->responses_count == 1);
        must(reply->responses[0].partition_responses_count == 1);
        const struct produce_response_partition_produce_response *part =
            &reply->responses[0].partition_responses[0];
        err = err_from_wire(part->error_code);
        if (err == ERR_OK) {
            written(renew, part->base_offset, writing.first, writing.count);
        } else {
            renew->dirty[renew->life] = true; /* NOT_ENOUGH_REPLICAS_AFTER_APPEND and the like */
        }
    }
    wait_ms(renew, err == ERR_OK ? 10 : PAUSE_MS);
}

static void build(struct renew *renew, int count, struct buf *out)
{
    struct batch_options options = batch_options_default();
    struct batch_builder builder;
    batch_builder_init(&builder, &options);
    for (int i = 0; i < count; i++) {
        struct buf value = {0};
        sim_record_make(&value, sim_record_id(renew->life, renew->next_number + i), 100);
        batch_builder_add(&builder, clock_wall_ms(&renew->client.clock.clock), (struct bytes){0},
                          (struct bytes){value.data, value.size}, NULL, 0);
        buf_fini(&value);
    }
    must(batch_builder_finish(&builder, out) == ERR_OK);
    batch_builder_fini(&builder);
}

static void write_batch(struct renew *renew)
{
    struct sim_client *client = &renew->client;
    struct produce_request request;
    struct produce_request_topic_produce_data topic;
    struct produce_request_partition_produce_data part;
    struct buf batch = {0};
    struct writing *writing = mem_new(struct writing);
    *writing = (struct writing){renew->next_number, 1 + (int)rng_below(&client->rng, RECORDS_MAX)};
    build(renew, writing->count, &batch);
    renew->next_number += writing->count;
    codec_init(&produce_request_desc, &request);
    codec_init(&produce_request_topic_produce_data_desc, &topic);
    codec_init(&produce_request_partition_produce_data_desc, &part);
    part.records = (struct bytes){batch.data, batch.size};
    topic.name = STR(TOPIC);
    topic.partition_data = &part;
    topic.partition_data_count = 1;
    request.transactional_id = STR_NULL;
    request.acks = -1;
    request.timeout_ms = TIMEOUT_MS;
    request.topic_data = &topic;
    request.topic_data_count = 1;
    sim_client_call(client, renew->leader, API_PRODUCE, sim_client_version(client, 7, 11), &request,
                    on_written, writing);
    buf_fini(&batch);
}

/* ---- reading ---- */

static void check_record(struct renew *renew, int64_t offset, uint64_t id)
{
    struct sim *sim = renew->client.sim;
    int life = (int)(id >> 40);
    int64_t number = (int64_t)(id & 0xffffffffffu);
    int64_t acked = offset < OFFSETS_MAX ? renew->acked[offset] : -1;
    bool known = life >= 1 && life <= renew->life;
    if (!known || (life != renew->life && !renew->dirty[life])) {
        sim_fail(sim,
                 "R1: life %d of " TOPIC " has record %" PRId64 " of life %d at offset %" PRId64,
                 renew->life, number, life, offset);
    } else if (acked >= 0 && (life != renew->life || number != acked)) {
        sim_fail(sim,
                 "R2: life %d of " TOPIC " has record %d:%" PRId64 " at offset %" PRId64
                 ", where %" PRId64 " was acknowledged",
                 renew->life, life, number, offset, acked);
    }
}

static void read_batches(struct renew *renew, struct bytes records)
{
    struct buf inflated = {0};
    struct batch_header header;
    while (batch_read_header(records, &header) == ERR_OK &&
           batch_size_bytes(&header) <= records.size) {
        struct record_iter it;
        struct record record;
        size_t size = batch_size_bytes(&header);
        enum err err =
            record_iter_init(&it, (struct bytes){records.data, size}, INFLATED_MAX, &inflated);
        while (err == ERR_OK && record_iter_next(&it, &record)) {
            check_record(renew, record.offset, sim_record_read(record.value));
        }
        renew->read_offset = batch_last_offset(&header) + 1;
        records = (struct bytes){records.data + size, records.size - size};
    }
    buf_fini(&inflated);
}

static void on_fetched(struct sim_client *client, void *arg, enum err err, const void *body)
{
    struct renew *renew = of_client(client);
    const struct fetch_response *reply = body;
    (void)arg;
    if (err == ERR_OK && reply->error_code == 0 && reply->responses_count == 1 &&
        reply->responses[0].partitions_count == 1) {
        const struct fetch_response_partition_data *part = &reply->responses[0].partitions[0];
        err = err_from_wire(part->error_code);
        if (err == ERR_OK) {
            read_batches(renew, part->records);
        } else if (err == ERR_OFFSET_OUT_OF_RANGE) {
            sim_fail(client->sim,
                     "R2: offset %" PRId64 " in life %d of " TOPIC
                     " is out of range, but records up to %" PRId64 " were acknowledged",
                     renew->read_offset, renew->life, renew->acked_end);
        }
    }
    enum renew_step then = client->sim->options.trims > 0 ? RENEW_TRIM : RENEW_DELETE;
    renew->step = renew->read_offset >= renew->acked_end ? then : RENEW_READ;
    wait_ms(renew, PAUSE_MS);
}

static void fetch(struct renew *renew)
{
    struct sim_client *client = &renew->client;
    struct fetch_request request;
    struct fetch_request_fetch_topic topic;
    struct fetch_request_fetch_partition part;
    codec_init(&fetch_request_desc, &request);
    codec_init(&fetch_request_fetch_topic_desc, &topic);
    codec_init(&fetch_request_fetch_partition_desc, &part);
    part.fetch_offset = renew->read_offset;
    part.current_leader_epoch = -1;
    part.partition_max_bytes = 20000;
    topic.topic_id = renew->ids[renew->life];
    topic.partitions = &part;
    topic.partitions_count = 1;
    request.max_wait_ms = 100;
    request.min_bytes = 1;
    request.max_bytes = 50000;
    request.topics = &topic;
    request.topics_count = 1;
    request.rack_id = STR("");
    sim_client_call(client, renew->leader, API_FETCH, sim_client_version(client, 13, 17), &request,
                    on_fetched, NULL);
}

/* ---- deleting records ---- */

/* Whether it happened or not; the checkpoints get some time to say so. */
static void on_trimmed(struct sim_client *client, void *arg, enum err err, const void *body)
{
    struct renew *renew = of_client(client);
    (void)arg;
    (void)body;
    sim_trace_line(&client->sim->trace, client->name, "records of life %d are deleted: %s",
                   renew->life, err_name(err));
    renew->step = RENEW_DELETE;
    wait_ms(renew, rng_one_in(&client->rng, 2) ? PAUSE_MS : CHECKPOINT_MS);
}

static void trim(struct renew *renew)
{
    struct sim_client *client = &renew->client;
    struct delete_records_request request;
    struct delete_records_request_delete_records_topic topic;
    struct delete_records_request_delete_records_partition part;
    codec_init(&delete_records_request_desc, &request);
    codec_init(&delete_records_request_delete_records_topic_desc, &topic);
    codec_init(&delete_records_request_delete_records_partition_desc, &part);
    part.offset = -1;
    topic.name = STR(TOPIC);
    topic.partitions = &part;
    topic.partitions_count = 1;
    request.topics = &topic;
    request.topics_count = 1;
    request.timeout_ms = TIMEOUT_MS;
    sim_client_call(client, renew->leader, API_DELETE_RECORDS, sim_client_version(client, 0, 2),
                    &request, on_trimmed, NULL);
}

/* ---- what is next ---- */

/* The topic as one broker knows it; that may be old news. */
struct seen {
    struct uuid id; /* zero: it knows none */
    int leader;     /* -1 */
};

static void next_make(struct renew *renew, const struct seen *seen)
{
    if (uuid_is_zero(seen->id)) {
        make_topic(renew);
    } else if (life_of(renew, seen->id) == 0) {
        begin_life(renew, seen->id);
        wait_ms(renew, 1);
    } else {
        delete_topic(renew, seen->id); /* the first order may have been lost */
    }
}

static void next_delete(struct renew *renew, const struct seen *seen)
{
    if (uuid_eq(seen->id, renew->ids[renew->life])) {
        delete_topic(renew, seen->id);
        return;
    }
    sim_trace_line(&renew->client.sim->trace, renew->client.name, "life %d of " TOPIC " is over",
                   renew->life);
    renew->step = RENEW_MAKE;
    wait_ms(renew, 1);
}

static void next(struct renew *renew, const struct seen *seen)
{
    bool led = seen->leader > 0 && uuid_eq(seen->id, renew->ids[renew->life]);
    renew->leader = seen->leader;
    switch (renew->step) {
    case RENEW_MAKE:
        next_make(renew, seen);
        return;
    case RENEW_DELETE:
        next_delete(renew, seen);
        return;
    case RENEW_WRITE:
    case RENEW_READ:
    case RENEW_TRIM:
        break;
    }
    if (!led) {
        wait_ms(renew, PAUSE_MS);
    } else if (renew->step == RENEW_WRITE) {
        write_batch(renew);
    } else if (renew->step == RENEW_TRIM) {
        trim(renew);
    } else {
        fetch(renew);
    }
}

static void on_metadata(struct sim_client *client, void *arg, enum err err, const void *body)
{
    struct renew *renew = of_client(client);
    const struct metadata_response *reply = body;
    struct seen seen = {.leader = -1};
    (void)arg;
    if (client->stopped) {
        return;
    }
    if (err != ERR_OK || reply->topics_count != 1 ||
        sim_node_by_id(client->sim, reply->controller_id) == NULL) {
        wait_ms(renew, PAUSE_MS);
        return;
    }
    renew->controller = reply->controller_id;
    if (reply->topics[0].error_code == 0) {
        seen.id = reply->topics[0].topic_id;
        bool led = reply->topics[0].partitions_count == 1 &&
                   sim_node_by_id(client->sim, reply->topics[0].partitions[0].leader_id) != NULL;
        seen.leader = led ? reply->topics[0].partitions[0].leader_id : -1;
    }
    next(renew, &seen);
}

static void on_pause(struct loop_timer *timer)
{
    struct renew *renew = container_of(timer, struct renew, pause);
    struct sim_client *client = &renew->client;
    struct metadata_request request;
    struct metadata_request_metadata_request_topic topic;
    bool over = renew->life == renew->lives && renew->step == RENEW_MAKE;
    if (client->stopped || client->sim->failed || over) {
        return;
    }
    codec_init(&metadata_request_desc, &request);
    codec_init(&metadata_request_metadata_request_topic_desc, &topic);
    topic.name = STR(TOPIC);
    request.topics = &topic;
    request.topics_count = 1;
    request.allow_auto_topic_creation = false;
    sim_client_call(client, sim_client_any_broker(client), API_METADATA,
                    sim_client_version(client, 10, 12), &request, on_metadata, NULL);
}

static void renew_start(struct sim_client *client)
{
    wait_ms(of_client(client), PAUSE_MS);
}

static bool renew_done(struct sim_client *client)
{
    const struct renew *renew = of_client(client);
    return renew->life == renew->lives && renew->step == RENEW_MAKE;
}

static void renew_free(struct sim_client *client)
{
    loop_timer_cancel(&of_client(client)->pause);
}

static const struct sim_client_kind renew_kind = {renew_start, renew_done, renew_free};

void sim_renew_new(struct sim *sim, int lives)
{
    struct renew *renew = mem_new(struct renew);
    must(lives <= LIVES_MAX);
    renew->lives = lives;
    loop_timer_init(&renew->pause, on_pause);
    sim_client_init(&renew->client, sim, &renew_kind, "renewer");
}
