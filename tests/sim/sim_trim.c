#include "sim_trim.h"

#include <inttypes.h>

#include "base/mem.h"
#include "base/must.h"
#include "sim_model.h"
#include "sim_parts.h"

enum { TIMEOUT_MS = 3000 };

struct trim {
    struct sim_client client; /* first */
    int trims;                /* left */
    int part;
    int64_t offset;
    struct loop_timer pause;
};

static struct trim *of_client(struct sim_client *client)
{
    return (struct trim *)client;
}

/* They take the whole of the safety phase. */
static void wait(struct trim *trim)
{
    struct sim_client *client = &trim->client;
    int64_t gap_ms = client->sim->options.faults_ns / SIM_MS / client->sim->options.trims;
    if (!client->stopped) {
        loop_timer_set(client->loop, &trim->pause,
                       loop_now_ms(client->loop) + 1 +
                           (int64_t)rng_below(&client->rng, (uint64_t)(2 * gap_ms)));
    }
}

/* A leader that has just begun may not know yet what is committed. */
static bool is_expected(enum err err)
{
    return err == ERR_OK || err == ERR_CLOSED || err == ERR_OFFSET_OUT_OF_RANGE ||
           err_retriable(err);
}

static void on_deleted(struct sim_client *client, void *arg, enum err err, const void *body)
{
    struct trim *trim = of_client(client);
    const struct delete_records_response *reply = body;
    int64_t low = -1;
    (void)arg;
    if (err == ERR_OK) {
        must(reply->topics_count == 1 && reply->topics[0].partitions_count == 1);
        err = err_from_wire(reply->topics[0].partitions[0].error_code);
        low = reply->topics[0].partitions[0].low_watermark;
    }
    sim_trace_line(&client->sim->trace, client->name, "partition %d up to %" PRId64 ": %s",
                   trim->part, trim->offset, err_name(err));
    if (!is_expected(err)) {
        sim_fail(client->sim, "%s is told %s", client->name, err_name(err));
    } else if (err == ERR_OK && low < trim->offset) {
        sim_fail(client->sim,
                 "M11: %s is told that partition %d begins at %" PRId64 ", after it deleted up to "
                 "%" PRId64,
                 client->name, trim->part, low, trim->offset);
    }
    wait(trim);
}

static void delete_records(struct trim *trim, int leader)
{
    struct sim_client *client = &trim->client;
    struct delete_records_request request;
    struct delete_records_request_delete_records_topic topic;
    struct delete_records_request_delete_records_partition part;
    char name[16];
    int index;
    int64_t end = sim_model_acked_end(client->sim->model, trim->part, leader);
    sim_part_name(client->sim, trim->part, name, &index);
    codec_init(&delete_records_request_desc, &request);
    codec_init(&delete_records_request_delete_records_topic_desc, &topic);
    codec_init(&delete_records_request_delete_records_partition_desc, &part);
    trim->offset =
        rng_one_in(&client->rng, 2) ? end : (int64_t)rng_below(&client->rng, (uint64_t)(end + 1));
    sim_model_trimmed(client->sim->model, trim->part, trim->offset);
    part.partition_index = index;
    part.offset = trim->offset;
    topic.name = str_of(name);
    topic.partitions = &part;
    topic.partitions_count = 1;
    request.topics = &topic;
    request.topics_count = 1;
    request.timeout_ms = TIMEOUT_MS;
    sim_client_call(client, leader, API_DELETE_RECORDS, sim_client_version(client, 0, 2), &request,
                    on_deleted, NULL);
}

static void on_leader(struct sim_client *client, const struct sim_leader *leader)
{
    struct trim *trim = of_client(client);
    if (leader->broker < 0 || client->sim->calm_since_ns > 0) {
        wait(trim);
        return;
    }
    trim->trims--;
    delete_records(trim, leader->broker);
}

static void on_pause(struct loop_timer *timer)
{
    struct trim *trim = container_of(timer, struct trim, pause);
    struct sim_client *client = &trim->client;
    if (client->stopped || client->sim->failed || trim->trims == 0 ||
        client->sim->calm_since_ns > 0) {
        return;
    }
    trim->part = (int)rng_below(&client->rng, (uint64_t)sim_parts_count(client->sim));
    sim_client_find_leader(client, trim->part, on_leader);
}

static void trim_start(struct sim_client *client)
{
    wait(of_client(client));
}

/* It is there for the faults only. */
static bool trim_done(struct sim_client *client)
{
    return client->sim->calm_since_ns > 0;
}

static void trim_free(struct sim_client *client)
{
    loop_timer_cancel(&of_client(client)->pause);
}

static const struct sim_client_kind trim_kind = {trim_start, trim_done, trim_free};

void sim_trim_new(struct sim *sim, int trims)
{
    struct trim *trim = mem_new(struct trim);
    trim->trims = trims;
    loop_timer_init(&trim->pause, on_pause);
    sim_client_init(&trim->client, sim, &trim_kind, "trimmer");
}
