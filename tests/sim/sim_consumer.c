/* sim_consumer.c: reads one partition from its start, and once more after the last fault.
 *
 * Half of them keep a fetch session, as Kafka's own consumers do: then a request says only what has
 * changed, and an answer without the partition says that there is no news. F1: a session lasts as
 * long as the connection that it was used by, wherever in the broker that is served; nobody evicts
 * so few. One whose connection broke is tried on the next one now and then, and may be unknown. */
#include "sim_consumer.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/mem.h"
#include "base/must.h"
#include "record/batch.h"
#include "record/record.h"
#include "sim_model.h"
#include "sim_parts.h"
#include "sim_record.h"

enum { BACKOFF_MS = 60, WAIT_MS = 400, INFLATED_MAX = 1 << 20 };

struct session {
    int32_t id; /* 0: none */
    int32_t epoch;
    int broker;
    uint64_t connection; /* that it was used by last */
    bool by_id;
    int64_t offset; /* the broker has been told to read from there; -1: say it again */
};

struct consumer {
    struct sim_client client; /* first */
    int part;
    int64_t offset; /* next to read */
    int disk;       /* who leads; 0: not known yet */
    int64_t hw;     /* as told last */
    bool again;     /* after the last fault it has begun anew: everything must be readable */
    struct sim_leader leader;
    bool keeps_sessions;
    struct session session;
    struct loop_timer pause;
};

struct asked {
    bool whole; /* not within a session */
    bool same_connection;
};

static void go_on(struct consumer *consumer);

static struct consumer *of_client(struct sim_client *client)
{
    return (struct consumer *)client;
}

static void on_pause(struct loop_timer *timer)
{
    go_on(container_of(timer, struct consumer, pause));
}

static void start_over(struct consumer *consumer)
{
    struct sim_client *client = &consumer->client;
    consumer->leader.broker = -1;
    consumer->session.offset = -1;
    if (!client->stopped) {
        loop_timer_set(client->loop, &consumer->pause,
                       loop_now_ms(client->loop) + BACKOFF_MS +
                           (int64_t)rng_below(&client->rng, BACKOFF_MS));
    }
}

static void on_leader(struct sim_client *client, const struct sim_leader *leader)
{
    struct consumer *consumer = of_client(client);
    if (leader->broker < 0) {
        start_over(consumer);
        return;
    }
    consumer->disk = leader->broker;
    consumer->leader = *leader;
    go_on(consumer);
}

/* ---- what was fetched ---- */

static void read_record(struct consumer *consumer, const struct record *record)
{
    struct sim_client *client = &consumer->client;
    uint64_t id = sim_record_read(record->value);
    if (record->offset < consumer->offset) {
        return; /* the batch began before what we asked for */
    }
    if (id == 0 || record->offset != consumer->offset) {
        sim_fail(client->sim, "%s reads %s at offset %" PRId64 " of broker %d, expected %" PRId64,
                 client->name, id == 0 ? "a damaged record" : "a record", record->offset,
                 consumer->disk, consumer->offset);
        return;
    }
    sim_model_read(client->sim->model, consumer->part, consumer->disk, record->offset, id);
    consumer->offset = record->offset + 1;
}

/* The whole batches at the start of `records`; a last one may be cut. */
static void read_batches(struct consumer *consumer, struct bytes records)
{
    struct sim *sim = consumer->client.sim;
    struct buf inflated = {0};
    struct batch_header header;
    while (!sim->failed && batch_read_header(records, &header) == ERR_OK &&
           batch_size_bytes(&header) <= records.size) {
        struct record_iter it;
        struct record record;
        size_t size = batch_size_bytes(&header);
        enum err err =
            record_iter_init(&it, (struct bytes){records.data, size}, INFLATED_MAX, &inflated);
        while (err == ERR_OK && record_iter_next(&it, &record)) {
            read_record(consumer, &record);
        }
        if (err != ERR_OK || record_iter_end(&it) != ERR_OK) {
            sim_fail(sim, "%s reads a batch at offset %" PRId64 " that is damaged",
                     consumer->client.name, header.base_offset);
        }
        records = (struct bytes){records.data + size, records.size - size};
    }
    buf_fini(&inflated);
}

static void fetched(struct consumer *consumer, const struct fetch_response_partition_data *part)
{
    struct sim_client *client = &consumer->client;
    enum err err = err_from_wire(part->error_code);
    if (err == ERR_OFFSET_OUT_OF_RANGE) {
        struct sim_model *model = client->sim->model;
        if (!sim_model_may_forget(model, consumer->part) &&
            consumer->offset >= sim_model_trimmed_end(model, consumer->part)) {
            sim_fail(client->sim, "%s is told that offset %" PRId64 " of broker %d is out of range",
                     client->name, consumer->offset, consumer->disk);
        }
        consumer->offset = sim_part_log_start(client->sim, consumer->part, consumer->disk);
    }
    if (err != ERR_OK) {
        start_over(consumer);
        return;
    }
    sim_model_high_watermark(client->sim->model, consumer->part, consumer->disk,
                             part->high_watermark);
    consumer->hw = part->high_watermark;
    int64_t before = consumer->offset;
    read_batches(consumer, part->records);
    if (consumer->offset > before && consumer->offset > part->high_watermark) {
        sim_fail(client->sim, "%s reads up to %" PRId64 ", beyond the high watermark %" PRId64,
                 client->name, consumer->offset, part->high_watermark);
    }
    go_on(consumer);
}

/* The session that the request was part of is not known any more. */
static void session_lost(struct consumer *consumer, const struct asked *asked, enum err err)
{
    struct sim_client *client = &consumer->client;
    if (asked->same_connection) {
        sim_fail(client->sim, "F1: %s keeps its connection to broker %d, but not its session: %s",
                 client->name, consumer->session.broker, err_name(err));
    }
}

/* False: the answer is of no use. */
static bool session_goes_on(struct consumer *consumer, const struct asked *asked,
                            const struct fetch_response *reply)
{
    struct session *session = &consumer->session;
    enum err err = err_from_wire(reply->error_code);
    if (!asked->whole &&
        (err == ERR_FETCH_SESSION_ID_NOT_FOUND || err == ERR_INVALID_FETCH_SESSION_EPOCH)) {
        session_lost(consumer, asked, err);
    }
    if (err == ERR_OK && consumer->keeps_sessions && reply->session_id == 0) {
        sim_fail(consumer->client.sim, "F1: %s is given no session", consumer->client.name);
    }
    if (err != ERR_OK) {
        session->id = 0;
        return false;
    }
    session->id = reply->session_id;
    session->epoch = asked->whole ? 1 : session->epoch + 1;
    return true;
}

static void on_fetched(struct sim_client *client, void *arg, enum err err, const void *body)
{
    struct consumer *consumer = of_client(client);
    const struct fetch_response *reply = body;
    struct asked *asked = arg;
    bool whole = asked->whole;
    bool good = err == ERR_OK && session_goes_on(consumer, asked, reply);
    mem_free(asked);
    if (good && !whole && reply->responses_count == 0) {
        go_on(consumer);
    } else if (good && reply->responses_count == 1 && reply->responses[0].partitions_count == 1) {
        fetched(consumer, &reply->responses[0].partitions[0]);
    } else {
        start_over(consumer);
    }
}

/* Go on with the session that there is, or begin one, or none. */
static struct asked *session_ask(struct consumer *consumer, struct fetch_request *request)
{
    struct sim_client *client = &consumer->client;
    struct session *session = &consumer->session;
    const struct sim_leader *leader = &consumer->leader;
    struct asked *asked = mem_new(struct asked);
    bool usable = session->id != 0 && session->broker == leader->broker &&
                  (!session->by_id || leader->has_topic_id);
    uint64_t connection = sim_client_connection(client, leader->broker);
    if (!usable || (connection != session->connection && rng_one_in(&client->rng, 2))) {
        *session = (struct session){
            .broker = leader->broker,
            .by_id = leader->has_topic_id && rng_one_in(&client->rng, 2),
            .offset = -1,
        };
    }
    asked->whole = session->id == 0;
    asked->same_connection = connection != 0 && connection == session->connection;
    request->session_id = session->id;
    request->session_epoch = !consumer->keeps_sessions ? -1 : asked->whole ? 0 : session->epoch;
    if (!asked->whole && session->offset == consumer->offset && !rng_one_in(&client->rng, 3)) {
        request->topics_count = 0;
    }
    session->offset = consumer->offset;
    return asked;
}

static void fetch(struct consumer *consumer)
{
    struct sim_client *client = &consumer->client;
    struct fetch_request request;
    struct fetch_request_fetch_topic topic;
    struct fetch_request_fetch_partition part;
    char name[16];
    int index;
    sim_part_name(client->sim, consumer->part, name, &index);
    codec_init(&fetch_request_desc, &request);
    codec_init(&fetch_request_fetch_topic_desc, &topic);
    codec_init(&fetch_request_fetch_partition_desc, &part);
    part.partition = index;
    part.fetch_offset = consumer->offset;
    part.current_leader_epoch = rng_one_in(&client->rng, 2) ? consumer->leader.epoch : -1;
    part.partition_max_bytes = 1 + (int32_t)rng_below(&client->rng, 20000);
    topic.topic = str_of(name);
    topic.topic_id = consumer->leader.topic_id;
    topic.partitions = &part;
    topic.partitions_count = 1;
    request.max_wait_ms = (int32_t)rng_below(&client->rng, WAIT_MS);
    request.min_bytes = 1 + (int32_t)rng_below(&client->rng, 3000);
    request.max_bytes = 1 + (int32_t)rng_below(&client->rng, 50000);
    request.topics = &topic;
    request.topics_count = 1;
    request.rack_id = STR("");
    struct asked *asked = session_ask(consumer, &request);
    int16_t by_name_min = consumer->keeps_sessions ? 7 : 4;
    int16_t version = consumer->session.by_id ? sim_client_version(client, 13, 17)
                                              : sim_client_version(client, by_name_min, 12);
    sim_client_call(client, consumer->leader.broker, API_FETCH, version, &request, on_fetched,
                    asked);
    consumer->session.connection = sim_client_connection(client, consumer->leader.broker);
}

/* ---- the machine ---- */

static void go_on(struct consumer *consumer)
{
    struct sim_client *client = &consumer->client;
    if (client->stopped || client->sim->failed) {
        return;
    }
    if (client->sim->calm_since_ns > 0 && !consumer->again) {
        consumer->again = true;
        consumer->offset = 0;
    }
    if (consumer->leader.broker < 0) {
        sim_client_find_leader(client, consumer->part, on_leader);
        return;
    }
    fetch(consumer);
}

static void consumer_start(struct sim_client *client)
{
    go_on(of_client(client));
}

/* It has read, once more, all that was acknowledged on the disk that leads now. */
static bool consumer_done(struct sim_client *client)
{
    struct consumer *consumer = of_client(client);
    return consumer->again && consumer->disk != 0 && consumer->leader.broker >= 0 &&
           consumer->offset >= consumer->hw &&
           consumer->offset >=
               sim_model_acked_end(client->sim->model, consumer->part, consumer->disk);
}

static void consumer_free(struct sim_client *client)
{
    loop_timer_cancel(&of_client(client)->pause);
}

static const struct sim_client_kind consumer_kind = {consumer_start, consumer_done, consumer_free};

void sim_consumer_new(struct sim *sim, int number, int part)
{
    struct consumer *consumer = mem_new(struct consumer);
    char name[24];
    snprintf(name, sizeof(name), "consumer-%d", number);
    consumer->part = part;
    consumer->leader.broker = -1;
    loop_timer_init(&consumer->pause, on_pause);
    sim_client_init(&consumer->client, sim, &consumer_kind, name);
    consumer->keeps_sessions = rng_one_in(&consumer->client.rng, 2);
}
