#include "sim_mover.h"

#include <stdio.h>

#include "base/mem.h"
#include "base/must.h"
#include "sim_parts.h"
#include "znode/path.h"
#include "znode/znode.h"

enum { BACKOFF_MS = 100, PAUSE_MS = 1500, REQUEST_TIMEOUT_MS = 3000 };

struct mover {
    struct sim_client client; /* first */
    int moves;
    int made;
    int32_t target[SIM_NODES_MAX];
    struct loop_timer pause;
};

static struct mover *of_client(struct sim_client *client)
{
    return (struct mover *)client;
}

static void wait_ms(struct mover *mover, int64_t ms)
{
    struct sim_client *client = &mover->client;
    if (!client->stopped) {
        loop_timer_set(client->loop, &mover->pause,
                       loop_now_ms(client->loop) + ms +
                           (int64_t)rng_below(&client->rng, (uint64_t)ms + 1));
    }
}

static bool is_expected(enum err err)
{
    switch (err) {
    case ERR_OK:
    case ERR_CLOSED:
    case ERR_NOT_CONTROLLER:
    case ERR_UNKNOWN_TOPIC_OR_PARTITION:
    case ERR_INVALID_REPLICA_ASSIGNMENT: /* a broker of the target is down */
    case ERR_NO_REASSIGNMENT_IN_PROGRESS:
        return true;
    default:
        return false;
    }
}

static void on_moved(struct sim_client *client, void *arg, enum err err, const void *body)
{
    struct mover *mover = of_client(client);
    const struct alter_partition_reassignments_response *reply = body;
    (void)arg;
    if (err == ERR_OK) {
        err = err_from_wire(reply->error_code);
    }
    if (err == ERR_OK) {
        must(reply->responses_count == 1 && reply->responses[0].partitions_count == 1);
        err = err_from_wire(reply->responses[0].partitions[0].error_code);
    }
    sim_trace_line(&client->sim->trace, client->name, "told %s", err_name(err));
    if (!is_expected(err)) {
        sim_fail(client->sim, "%s is told %s", client->name, err_name(err));
    }
    mover->made++;
    wait_ms(mover, rng_one_in(&client->rng, 2) ? 1 : PAUSE_MS);
}

/* Some of the brokers, in any order. */
static int draw_target(struct mover *mover)
{
    struct rng *rng = &mover->client.rng;
    int nodes = mover->client.sim->options.nodes_count;
    int count = 1 + (int)rng_below(rng, (uint64_t)nodes);
    for (int i = 0; i < nodes; i++) {
        int at = (int)rng_below(rng, (uint64_t)i + 1);
        mover->target[i] = mover->target[at];
        mover->target[at] = i + 1;
    }
    return count;
}

/* The topic and partition that are next. */
static int draw_part(struct mover *mover, char name[16])
{
    struct sim_client *client = &mover->client;
    int index = 0;
    if (client->sim->options.admin_cycles > 0 && rng_one_in(&client->rng, 4)) {
        snprintf(name, 16, "x%d", (int)rng_below(&client->rng, 2));
    } else {
        int parts = sim_parts_count(client->sim);
        sim_part_name(client->sim, (int)rng_below(&client->rng, (uint64_t)parts), name, &index);
    }
    return index;
}

/* The older way: an order in ZooKeeper, unless there are some. */
static void order(struct mover *mover)
{
    struct sim_client *client = &mover->client;
    struct buf json = {0};
    char name[16];
    int index = draw_part(mover, name);
    struct znode_tp tp = {str_of(name), index, {mover->target, draw_target(mover)}};
    if (!zk_mem_peek(client->sim->zk, PATH_REASSIGN, NULL, NULL)) {
        znode_reassign_encode(&(struct znode_tps){&tp, 1}, &json);
        buf_put_byte(&json, 0);
        sim_trace_line(&client->sim->trace, client->name, "orders %s", (const char *)json.data);
        zk_mem_poke(client->sim->zk, PATH_REASSIGN, (const char *)json.data);
        buf_fini(&json);
    }
    mover->made++;
    wait_ms(mover, PAUSE_MS);
}

bool sim_mover_orders_left(struct sim *sim)
{
    return zk_mem_peek(sim->zk, PATH_REASSIGN, NULL, NULL);
}

static void move(struct mover *mover, int controller)
{
    struct sim_client *client = &mover->client;
    struct alter_partition_reassignments_request request;
    struct alter_partition_reassignments_request_reassignable_topic topic;
    struct alter_partition_reassignments_request_reassignable_partition partition;
    char name[16];
    int index = draw_part(mover, name);
    codec_init(&alter_partition_reassignments_request_desc, &request);
    codec_init(&alter_partition_reassignments_request_reassignable_topic_desc, &topic);
    codec_init(&alter_partition_reassignments_request_reassignable_partition_desc, &partition);
    bool cancel = rng_one_in(&client->rng, 4);
    partition.partition_index = index;
    partition.replicas = cancel ? NULL : mover->target;
    partition.replicas_count = cancel ? -1 : draw_target(mover);
    topic.name = str_of(name);
    topic.partitions = &partition;
    topic.partitions_count = 1;
    request.topics = &topic;
    request.topics_count = 1;
    request.timeout_ms = REQUEST_TIMEOUT_MS;
    sim_trace_line(&client->sim->trace, client->name, "%s %s-%d to %d of [%d,%d,%d,%d,%d]",
                   cancel ? "cancels" : "moves", name, index, cancel ? 0 : partition.replicas_count,
                   mover->target[0], mover->target[1], mover->target[2], mover->target[3],
                   mover->target[4]);
    sim_client_call(client, controller, API_ALTER_PARTITION_REASSIGNMENTS, 0, &request, on_moved,
                    NULL);
}

static void on_metadata(struct sim_client *client, void *arg, enum err err, const void *body)
{
    struct mover *mover = of_client(client);
    const struct metadata_response *reply = body;
    (void)arg;
    if (client->stopped) {
        return;
    }
    if (err != ERR_OK || sim_node_by_id(client->sim, reply->controller_id) == NULL) {
        wait_ms(mover, BACKOFF_MS);
        return;
    }
    if (rng_one_in(&client->rng, 6)) {
        order(mover);
    } else {
        move(mover, reply->controller_id);
    }
}

static void on_pause(struct loop_timer *timer)
{
    struct mover *mover = container_of(timer, struct mover, pause);
    struct sim_client *client = &mover->client;
    struct metadata_request request;
    if (client->stopped || client->sim->failed || mover->made >= mover->moves) {
        return;
    }
    codec_init(&metadata_request_desc, &request);
    sim_client_call(client, sim_client_any_broker(client), API_METADATA,
                    sim_client_version(client, 1, 12), &request, on_metadata, NULL);
}

static void mover_start(struct sim_client *client)
{
    wait_ms(of_client(client), PAUSE_MS);
}

static bool mover_done(struct sim_client *client)
{
    return of_client(client)->made >= of_client(client)->moves;
}

static void mover_free(struct sim_client *client)
{
    loop_timer_cancel(&of_client(client)->pause);
}

static const struct sim_client_kind mover_kind = {mover_start, mover_done, mover_free};

void sim_mover_new(struct sim *sim, int moves)
{
    struct mover *mover = mem_new(struct mover);
    mover->moves = moves;
    loop_timer_init(&mover->pause, on_pause);
    sim_client_init(&mover->client, sim, &mover_kind, "mover");
}
