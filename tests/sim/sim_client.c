#include "sim_client.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/must.h"
#include "sim_parts.h"

enum { PORT = 9092, FRAME_MAX = 8 << 20, TIMEOUT_MS = 4000, WATCH_MS = 500 };

struct call {
    struct list link;
    int16_t key;
    int16_t version;
    int32_t correlation_id;
    int64_t since_ms;
    sim_reply_fn *fn;
    void *arg;
    struct buf frame;
};

struct wire {
    struct list link;
    struct sim_client *client;
    int broker;
    uint64_t number;
    struct conn *conn;
    bool connected;
    struct list calls; /* oldest first */
};

static void call_free(struct call *call)
{
    buf_fini(&call->frame);
    mem_free(call);
}

/* ---- wires ---- */

/* Ends it; what waited is told, which may make a new wire to the same broker. */
static void wire_break(struct wire *wire)
{
    struct sim_client *client = wire->client;
    struct list calls;
    struct list *item;
    list_init(&calls);
    list_splice_back(&calls, &wire->calls);
    list_remove(&wire->link);
    conn_free(wire->conn);
    mem_free(wire);
    while ((item = list_pop_front(&calls)) != NULL) {
        struct call *call = container_of(item, struct call, link);
        call->fn(client, call->arg, ERR_CLOSED, NULL);
        call_free(call);
    }
}

static void wire_send(struct wire *wire, struct call *call)
{
    outq_put_mem(conn_outq(wire->conn), call->frame.data, call->frame.size, NULL, NULL);
}

static void on_connected(struct conn *conn)
{
    struct wire *wire = conn_arg(conn);
    wire->connected = true;
    list_for_each (item, &wire->calls) {
        wire_send(wire, container_of(item, struct call, link));
    }
    conn_flush(conn);
}

static enum conn_verdict on_frame_size(struct conn *conn, int32_t size, const uint8_t *first4)
{
    struct wire *wire = conn_arg(conn);
    (void)first4;
    if (size < 4 || size > FRAME_MAX) {
        sim_fail(wire->client->sim, "%s is sent a frame of %d bytes by broker %d",
                 wire->client->name, size, wire->broker);
        return CONN_REFUSE;
    }
    return CONN_ACCEPT;
}

/* Decode what came for a call and tell. */
static void call_answer(struct sim_client *client, struct call *call, struct bytes frame)
{
    const struct api_info *api = api_find(call->key);
    struct arena arena = {0};
    int32_t correlation_id;
    size_t used;
    enum err err =
        codec_decode_response_header(call->key, call->version, frame, &correlation_id, &used);
    void *body = codec_array(api->response, &arena, 1);
    if (err == ERR_OK) {
        struct bytes rest = {frame.data + used, frame.size - used};
        err = codec_decode(api->response, call->version, rest, &arena, body, NULL);
    }
    if (err != ERR_OK || correlation_id != call->correlation_id) {
        sim_fail(client->sim, "%s cannot read the answer to %s version %d", client->name, api->name,
                 call->version);
        err = ERR_CLOSED;
    }
    call->fn(client, call->arg, err, err == ERR_OK ? body : NULL);
    arena_fini(&arena);
}

static void on_frame(struct conn *conn, uint8_t *frame, size_t size)
{
    struct wire *wire = conn_arg(conn);
    struct list *item = list_pop_front(&wire->calls);
    if (item == NULL) {
        sim_fail(wire->client->sim, "%s is sent an answer that it did not ask for",
                 wire->client->name);
    } else {
        struct call *call = container_of(item, struct call, link);
        call_answer(wire->client, call, (struct bytes){frame, size});
        call_free(call);
    }
    mem_free(frame);
}

static void on_drained(struct conn *conn)
{
    (void)conn;
}

static void on_closed(struct conn *conn, enum err why)
{
    (void)why;
    wire_break(conn_arg(conn));
}

static const struct conn_events wire_events = {
    .on_frame_size = on_frame_size,
    .on_frame = on_frame,
    .on_drained = on_drained,
    .on_connected = on_connected,
    .on_closed = on_closed,
};

static struct wire *wire_find(struct sim_client *client, int broker)
{
    list_for_each (item, &client->wires) {
        struct wire *wire = container_of(item, struct wire, link);
        if (wire->broker == broker) {
            return wire;
        }
    }
    return NULL;
}

static struct wire *wire_make(struct sim_client *client, int broker)
{
    struct wire *wire = wire_find(client, broker);
    if (wire != NULL) {
        return wire;
    }
    struct net_address to = {.port = PORT};
    snprintf(to.host, sizeof(to.host), "broker-%d", broker);
    wire = mem_new(struct wire);
    wire->client = client;
    wire->broker = broker;
    wire->number = ++client->wires_made;
    list_init(&wire->calls);
    list_push_back(&client->wires, &wire->link);
    wire->conn =
        conn_new(client->net->ops->connect(client->net, client->loop, &to), &wire_events, wire);
    return wire;
}

uint64_t sim_client_connection(struct sim_client *client, int broker)
{
    struct wire *wire = wire_find(client, broker);
    return wire != NULL ? wire->number : 0;
}

void sim_client_hang_up(struct sim_client *client, int broker)
{
    struct wire *wire = wire_find(client, broker);
    if (wire != NULL) {
        wire_break(wire);
    }
}

/* ---- requests ---- */

void sim_client_call(struct sim_client *client, int broker, int16_t key, int16_t version,
                     const void *message, sim_reply_fn *fn, void *arg)
{
    const struct api_info *api = api_find(key);
    struct wire *wire = wire_make(client, broker);
    struct call *call = mem_new(struct call);
    must(!client->stopped);
    call->key = key;
    call->version = version;
    call->correlation_id = client->next_correlation_id++;
    call->since_ms = loop_now_ms(client->loop);
    call->fn = fn;
    call->arg = arg;
    buf_put_be32(&call->frame, 0);
    codec_encode_request_header(key, version, call->correlation_id, str_of(client->name),
                                &call->frame);
    must(codec_encode(api->request, version, message, &call->frame) == ERR_OK);
    be32_put(call->frame.data, (uint32_t)(call->frame.size - 4));
    list_push_back(&wire->calls, &call->link);
    if (wire->connected) {
        wire_send(wire, call);
        conn_flush(wire->conn);
    }
    if (!loop_timer_pending(&client->watch)) {
        loop_timer_set(client->loop, &client->watch, loop_now_ms(client->loop) + WATCH_MS);
    }
}

static bool wire_is_late(const struct wire *wire, int64_t now_ms)
{
    if (list_empty(&wire->calls)) {
        return false;
    }
    const struct call *oldest = container_of(wire->calls.next, struct call, link);
    return now_ms - oldest->since_ms > wire->client->timeout_ms;
}

static void on_watch(struct loop_timer *timer)
{
    struct sim_client *client = container_of(timer, struct sim_client, watch);
    int64_t now_ms = loop_now_ms(client->loop);
    bool waiting = false;
    for (int i = 1; i <= client->sim->options.nodes_count; i++) {
        struct wire *wire = wire_find(client, i);
        if (wire != NULL && wire_is_late(wire, now_ms)) {
            sim_trace_line(&client->sim->trace, client->name, "gives up on broker %d", i);
            wire_break(wire);
        } else if (wire != NULL) {
            waiting = waiting || !list_empty(&wire->calls);
        }
    }
    if (waiting && !client->stopped) {
        loop_timer_set(client->loop, timer, now_ms + WATCH_MS);
    }
}

int sim_client_any_broker(struct sim_client *client)
{
    return 1 + (int)rng_below(&client->rng, (uint64_t)client->sim->options.nodes_count);
}

int16_t sim_client_version(struct sim_client *client, int16_t low, int16_t high)
{
    return (int16_t)(low + (int16_t)rng_below(&client->rng, (uint64_t)(high - low + 1)));
}

/* ---- who leads ---- */

struct asking {
    int part;
    sim_leader_fn *fn;
};

static const struct metadata_response_metadata_response_partition *
find_partition(const struct metadata_response_metadata_response_topic *topic, int index)
{
    for (int32_t i = 0; i < topic->partitions_count; i++) {
        if (topic->partitions[i].partition_index == index && topic->partitions[i].error_code == 0) {
            return &topic->partitions[i];
        }
    }
    return NULL;
}

static void on_metadata(struct sim_client *client, void *arg, enum err err, const void *body)
{
    struct asking *asking = arg;
    const struct metadata_response *reply = body;
    struct sim_leader leader = {.broker = -1, .epoch = -1};
    char topic[16];
    int index;
    sim_part_name(client->sim, asking->part, topic, &index);
    if (err == ERR_OK && reply->topics_count == 1 && reply->topics[0].error_code == 0 &&
        str_is(reply->topics[0].name, topic)) {
        const struct metadata_response_metadata_response_partition *found =
            find_partition(&reply->topics[0], index);
        if (found != NULL && sim_node_by_id(client->sim, found->leader_id) != NULL) {
            leader.broker = found->leader_id;
            leader.epoch = found->leader_epoch;
            leader.topic_id = reply->topics[0].topic_id;
            leader.has_topic_id = !uuid_is_zero(leader.topic_id);
        }
    }
    sim_leader_fn *fn = asking->fn;
    mem_free(asking);
    fn(client, &leader);
}

void sim_client_find_leader(struct sim_client *client, int part, sim_leader_fn *fn)
{
    struct asking *asking = mem_new(struct asking);
    struct metadata_request request;
    struct metadata_request_metadata_request_topic topic;
    char name[16];
    int index;
    asking->part = part;
    asking->fn = fn;
    sim_part_name(client->sim, part, name, &index);
    codec_init(&metadata_request_desc, &request);
    codec_init(&metadata_request_metadata_request_topic_desc, &topic);
    topic.name = str_of(name);
    request.topics = &topic;
    request.topics_count = 1;
    sim_client_call(client, sim_client_any_broker(client), API_METADATA,
                    sim_client_version(client, 4, 12), &request, on_metadata, asking);
}

/* ---- life ---- */

static void on_begin(struct loop_msg *msg)
{
    struct sim_client *client = container_of(msg, struct sim_client, begin);
    client->kind->start(client);
}

void sim_client_init(struct sim_client *client, struct sim *sim, const struct sim_client_kind *kind,
                     const char *name)
{
    client->kind = kind;
    client->sim = sim;
    snprintf(client->name, sizeof(client->name), "%s", name);
    client->net = sim_net_host(sim->net, name);
    sim_clock_init(&client->clock, &sim->time);
    client->loop = loop_new(name, -1, &client->clock.clock);
    rng_seed(&client->rng, rng_next(&sim->rng));
    list_init(&client->wires);
    loop_timer_init(&client->watch, on_watch);
    client->timeout_ms = TIMEOUT_MS;
    client->begin.fn = on_begin;
    loop_post(client->loop, &client->begin);
    must(sim->clients_count < SIM_CLIENTS_MAX);
    sim->clients[sim->clients_count++] = client;
}

struct loop *sim_client_loop(struct sim_client *client)
{
    return client->loop;
}

void sim_client_stop(struct sim_client *client)
{
    client->stopped = true;
    loop_timer_cancel(&client->watch);
    while (!list_empty(&client->wires)) {
        wire_break(container_of(client->wires.next, struct wire, link));
    }
}

void sim_client_free(struct sim_client *client)
{
    sim_client_stop(client);
    client->kind->free(client);
    while (loop_turn(client->loop)) {
    }
    loop_free(client->loop);
    mem_free(client);
}
