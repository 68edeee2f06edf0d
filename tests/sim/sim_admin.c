/* sim_admin.c: makes topics and deletes them.
 *
 * An attempt to make one whose answer was lost may happen late, even after the topic was made by
 * another attempt and deleted: a broker asks ZooKeeper again for as long as its own answers are
 * lost, be it the controller or not any more, as Kafka's do. So a topic that comes back after that
 * is deleted once more at the end; one that goes on to be there is a failure. */
#include "sim_admin.h"

#include <stdio.h>

#include "base/mem.h"
#include "base/must.h"

enum { NAMES = 2, BACKOFF_MS = 100, PAUSE_MS = 2000, REQUEST_TIMEOUT_MS = 3000, UNKNOWN_MAX = 20 };

struct admin_client {
    struct sim_client client; /* first */
    int cycles;
    int cycle;
    bool deleting;
    bool unsure; /* an attempt of this step may have happened */
    int unknown; /* so often in a row it was told that it need not do anything */
    bool late;   /* an attempt to make a topic was lost: it may still happen */
    int again;   /* the topic that has come back and is being deleted; -1: none */
    char topic[16];
    struct loop_timer pause;
};

static struct admin_client *of_client(struct sim_client *client)
{
    return (struct admin_client *)client;
}

static void wait_ms(struct admin_client *admin, int64_t ms)
{
    struct sim_client *client = &admin->client;
    if (!client->stopped) {
        loop_timer_set(client->loop, &admin->pause,
                       loop_now_ms(client->loop) + ms +
                           (int64_t)rng_below(&client->rng, (uint64_t)ms + 1));
    }
}

static void step_done(struct admin_client *admin)
{
    sim_trace_line(&admin->client.sim->trace, admin->client.name, "%s is %s", admin->topic,
                   admin->deleting ? "deleted" : "made");
    admin->unsure = false;
    admin->unknown = 0;
    admin->cycle += admin->deleting && admin->again < 0 ? 1 : 0;
    admin->again = -1;
    admin->deleting = !admin->deleting;
    wait_ms(admin, rng_one_in(&admin->client.rng, 2) ? 1 : PAUSE_MS);
}

/* What the controller says, or ERR_CLOSED. */
static void answered(struct admin_client *admin, enum err err)
{
    enum err already = admin->deleting ? ERR_UNKNOWN_TOPIC_OR_PARTITION : ERR_TOPIC_ALREADY_EXISTS;
    /* What was taken for ours when it was made may have been the one before, on its way out. */
    admin->unknown = err == already ? admin->unknown + 1 : 0;
    if (err == ERR_OK || (err == already && (admin->unsure || admin->again >= 0)) ||
        admin->unknown > UNKNOWN_MAX) {
        step_done(admin);
        return;
    }
    bool lost = err == ERR_CLOSED || err == ERR_REQUEST_TIMED_OUT;
    bool expected = lost || err == already || err == ERR_NOT_CONTROLLER ||
                    err == ERR_INVALID_REPLICATION_FACTOR || err_retriable(err);
    sim_trace_line(&admin->client.sim->trace, admin->client.name, "%s: %s", admin->topic,
                   err_name(err));
    if (!expected) {
        sim_fail(admin->client.sim, "%s is told %s for %s", admin->client.name, err_name(err),
                 admin->topic);
    }
    admin->unsure = admin->unsure || lost || (err != already && err_retriable(err));
    admin->late = admin->late || (admin->unsure && !admin->deleting);
    wait_ms(admin, BACKOFF_MS);
}

static void on_created(struct sim_client *client, void *arg, enum err err, const void *body)
{
    const struct create_topics_response *reply = body;
    (void)arg;
    if (err == ERR_OK) {
        must(reply->topics_count == 1);
        err = err_from_wire(reply->topics[0].error_code);
    }
    answered(of_client(client), err);
}

static void create_topic(struct admin_client *admin, int controller)
{
    struct sim_client *client = &admin->client;
    struct create_topics_request request;
    struct create_topics_request_creatable_topic topic;
    codec_init(&create_topics_request_desc, &request);
    codec_init(&create_topics_request_creatable_topic_desc, &topic);
    topic.name = str_of(admin->topic);
    topic.num_partitions = 1 + (int32_t)rng_below(&client->rng, 3);
    topic.replication_factor =
        (int16_t)(1 + rng_below(&client->rng, (uint64_t)client->sim->options.nodes_count));
    request.topics = &topic;
    request.topics_count = 1;
    request.timeout_ms = REQUEST_TIMEOUT_MS;
    sim_client_call(client, controller, API_CREATE_TOPICS, sim_client_version(client, 2, 7),
                    &request, on_created, NULL);
}

static void on_deleted(struct sim_client *client, void *arg, enum err err, const void *body)
{
    const struct delete_topics_response *reply = body;
    (void)arg;
    if (err == ERR_OK) {
        must(reply->responses_count == 1);
        err = err_from_wire(reply->responses[0].error_code);
    }
    answered(of_client(client), err);
}

static void delete_topic(struct admin_client *admin, int controller)
{
    struct sim_client *client = &admin->client;
    struct delete_topics_request request;
    struct str name = str_of(admin->topic);
    codec_init(&delete_topics_request_desc, &request);
    request.topic_names = &name;
    request.topic_names_count = 1;
    request.timeout_ms = REQUEST_TIMEOUT_MS;
    sim_client_call(client, controller, API_DELETE_TOPICS, sim_client_version(client, 1, 5),
                    &request, on_deleted, NULL);
}

static void on_metadata(struct sim_client *client, void *arg, enum err err, const void *body)
{
    struct admin_client *admin = of_client(client);
    const struct metadata_response *reply = body;
    (void)arg;
    if (client->stopped) {
        return;
    }
    if (err != ERR_OK || sim_node_by_id(client->sim, reply->controller_id) == NULL) {
        wait_ms(admin, BACKOFF_MS);
        return;
    }
    snprintf(admin->topic, sizeof(admin->topic), "x%d",
             admin->again >= 0 ? admin->again : admin->cycle % NAMES);
    if (admin->deleting) {
        delete_topic(admin, reply->controller_id);
    } else {
        create_topic(admin, reply->controller_id);
    }
}

/* A topic that is there; -1: none. */
static int topic_left(struct sim *sim)
{
    for (int i = 0; i < NAMES; i++) {
        char path[40];
        snprintf(path, sizeof(path), "/brokers/topics/x%d", i);
        if (zk_mem_peek(sim->zk, path, NULL, NULL)) {
            return i;
        }
    }
    return -1;
}

/* Everything has been made and deleted. Has something come back? */
static bool look_again(struct admin_client *admin)
{
    if (admin->again < 0) {
        admin->again = admin->late ? topic_left(admin->client.sim) : -1;
        admin->deleting = admin->again >= 0;
    }
    if (admin->late && !admin->deleting) {
        wait_ms(admin, PAUSE_MS);
    }
    return admin->deleting;
}

static void on_pause(struct loop_timer *timer)
{
    struct admin_client *admin = container_of(timer, struct admin_client, pause);
    struct sim_client *client = &admin->client;
    struct metadata_request request;
    if (client->stopped || client->sim->failed ||
        (admin->cycle == admin->cycles && !look_again(admin))) {
        return;
    }
    codec_init(&metadata_request_desc, &request);
    sim_client_call(client, sim_client_any_broker(client), API_METADATA,
                    sim_client_version(client, 1, 12), &request, on_metadata, NULL);
}

static void admin_start(struct sim_client *client)
{
    wait_ms(of_client(client), BACKOFF_MS);
}

static bool admin_done(struct sim_client *client)
{
    return of_client(client)->cycle == of_client(client)->cycles;
}

static void admin_free(struct sim_client *client)
{
    loop_timer_cancel(&of_client(client)->pause);
}

static const struct sim_client_kind admin_kind = {admin_start, admin_done, admin_free};

void sim_admin_new(struct sim *sim, int cycles)
{
    struct admin_client *admin = mem_new(struct admin_client);
    admin->cycles = cycles;
    admin->again = -1;
    loop_timer_init(&admin->pause, on_pause);
    sim_client_init(&admin->client, sim, &admin_kind, "admin");
}

bool sim_admin_topics_left(struct sim *sim)
{
    return topic_left(sim) >= 0;
}
