#include "sim_grow.h"

#include <stdio.h>

#include "base/mem.h"
#include "base/must.h"
#include "sim_client.h"

enum { BACKOFF_MS = 200, REQUEST_TIMEOUT_MS = 3000 };

struct grow {
    struct sim_client client; /* first */
    int topic;                /* the one in work; those before it are done */
    char name[16];
    struct loop_timer pause;
};

static struct grow *of_client(struct sim_client *client)
{
    return (struct grow *)client;
}

static void wait_ms(struct grow *grow, int64_t ms)
{
    struct sim_client *client = &grow->client;
    if (!client->stopped) {
        loop_timer_set(client->loop, &grow->pause,
                       loop_now_ms(client->loop) + 1 +
                           (int64_t)rng_below(&client->rng, (uint64_t)ms + 1));
    }
}

/* On average the whole of the safety phase is for growing. */
static int64_t gap_ms(const struct grow *grow)
{
    const struct sim_options *options = &grow->client.sim->options;
    return options->faults_ns / SIM_MS / (options->topics_count * options->partitions_count);
}

static bool is_expected(enum err err)
{
    return err == ERR_OK || err == ERR_CLOSED || err_retriable(err) ||
           err == ERR_INVALID_PARTITIONS ||         /* an earlier attempt has happened */
           err == ERR_REASSIGNMENT_IN_PROGRESS ||   /* of one that is there already */
           err == ERR_INVALID_REPLICATION_FACTOR || /* too few brokers are up */
           err == ERR_NOT_CONTROLLER;
}

static void on_grown(struct sim_client *client, void *arg, enum err err, const void *body)
{
    struct grow *grow = of_client(client);
    const struct create_partitions_response *reply = body;
    (void)arg;
    if (err == ERR_OK) {
        must(reply->results_count == 1);
        err = err_from_wire(reply->results[0].error_code);
    }
    sim_trace_line(&client->sim->trace, client->name, "%s: %s", grow->name, err_name(err));
    if (!is_expected(err)) {
        sim_fail(client->sim, "%s is told %s for %s", client->name, err_name(err), grow->name);
    }
    wait_ms(grow, err == ERR_OK ? gap_ms(grow) : BACKOFF_MS);
}

static void add_partitions(struct grow *grow, int controller, int count)
{
    struct sim_client *client = &grow->client;
    struct create_partitions_request request;
    struct create_partitions_request_create_partitions_topic topic;
    codec_init(&create_partitions_request_desc, &request);
    codec_init(&create_partitions_request_create_partitions_topic_desc, &topic);
    topic.name = str_of(grow->name);
    topic.count = count;
    topic.assignments_count = -1;
    request.topics = &topic;
    request.topics_count = 1;
    request.timeout_ms = REQUEST_TIMEOUT_MS;
    sim_client_call(client, controller, API_CREATE_PARTITIONS, sim_client_version(client, 0, 3),
                    &request, on_grown, NULL);
}

static void on_metadata(struct sim_client *client, void *arg, enum err err, const void *body)
{
    struct grow *grow = of_client(client);
    const struct metadata_response *reply = body;
    int wanted = client->sim->options.partitions_count;
    (void)arg;
    if (client->stopped) {
        return;
    }
    if (err != ERR_OK || reply->topics_count != 1 || reply->topics[0].error_code != 0 ||
        reply->topics[0].partitions_count == 0 ||
        sim_node_by_id(client->sim, reply->controller_id) == NULL) {
        wait_ms(grow, BACKOFF_MS);
        return;
    }
    int count = reply->topics[0].partitions_count;
    if (count >= wanted) {
        grow->topic++;
        wait_ms(grow, gap_ms(grow));
        return;
    }
    int more = 1 + (int)rng_below(&client->rng, (uint64_t)(wanted - count));
    add_partitions(grow, reply->controller_id, count + more);
}

static void on_pause(struct loop_timer *timer)
{
    struct grow *grow = container_of(timer, struct grow, pause);
    struct sim_client *client = &grow->client;
    struct metadata_request request;
    struct metadata_request_metadata_request_topic topic;
    if (client->stopped || client->sim->failed ||
        grow->topic == client->sim->options.topics_count) {
        return;
    }
    snprintf(grow->name, sizeof(grow->name), "t%d", grow->topic);
    codec_init(&metadata_request_desc, &request);
    codec_init(&metadata_request_metadata_request_topic_desc, &topic);
    topic.name = str_of(grow->name);
    request.topics = &topic;
    request.topics_count = 1;
    sim_client_call(client, sim_client_any_broker(client), API_METADATA,
                    sim_client_version(client, 4, 12), &request, on_metadata, NULL);
}

static void grow_start(struct sim_client *client)
{
    wait_ms(of_client(client), BACKOFF_MS);
}

static bool grow_done(struct sim_client *client)
{
    return of_client(client)->topic == client->sim->options.topics_count;
}

static void grow_free(struct sim_client *client)
{
    loop_timer_cancel(&of_client(client)->pause);
}

static const struct sim_client_kind grow_kind = {grow_start, grow_done, grow_free};

void sim_grow_new(struct sim *sim)
{
    struct grow *grow = mem_new(struct grow);
    loop_timer_init(&grow->pause, on_pause);
    sim_client_init(&grow->client, sim, &grow_kind, "grower");
}
