#include "api/client.h"

#include <inttypes.h>
#include <string.h>

#include "api/broker.h"
#include "api/dispatch.h"
#include "api/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/must.h"
#include "net/spare.h"
#include "session/fetch_session.h"

#define LOGGER "kafka.network.Processor"

/* Made when a connection must wait for memory: few do, and each idle one would carry it. */
struct client_waiter {
    struct budget_waiter waiter;
    struct client *client;
};

/* On its way to another loop. */
struct client_move {
    struct loop_msg msg;
    struct client *client;
    struct fetch_session *session; /* its own; NULL: it has none */
};

_Static_assert(sizeof(struct client) <= 104, "every connection pays for this");

/* A listener that brokers share with clients, as where there is one only, is the clients': else
 * queued.max.request.bytes would mean nothing. */
static struct budget_lease *client_lease(struct client *client)
{
    bool brokers_only = client->listener->internal && client->netloop->broker->listeners_count > 1;
    return brokers_only ? &client->netloop->internal_memory : &client->netloop->client_memory;
}

/* One that was kept, or a fresh one. */
static struct req *req_make(struct client *client)
{
    struct netloop *netloop = client->netloop;
    struct req *req;
    if (netloop->spare_requests_count > 0) {
        req = netloop->spare_requests[--netloop->spare_requests_count];
        mem_wanted(req, sizeof(*req));
        *req = (struct req){.arena = req->arena, .out = req->out};
    } else {
        req = mem_new(struct req);
    }
    req->client = client;
    req->netloop = netloop;
    req->broker = netloop->broker;
    return req;
}

static void req_end(struct req *req)
{
    buf_fini(&req->out);
    arena_fini(&req->arena);
    mem_free(req);
}

static void req_uncharge(struct req *req, int64_t bytes)
{
    must(bytes <= req->charged_bytes);
    if (bytes > 0) {
        budget_release(client_lease(req->client), bytes);
        req->charged_bytes -= bytes;
    }
}

/* What has been answered is not asked again. */
static void req_drop_frame(struct req *req)
{
    if (req->frame != NULL) {
        req_uncharge(req, req->frame_charged ? (int64_t)req->frame_bytes : 0);
        spare_frame_give(req->frame, req->frame_bytes);
        req->frame = NULL;
    }
}

/* Nor is what was decoded of it needed: that counts no more. */
static void req_forget_frame(struct req *req)
{
    req_drop_frame(req);
    req_uncharge(req, req->charged_bytes);
}

void client_forget_frame(struct req *req)
{
    must(!req->answered);
    req->body = NULL;
    req->client_id = STR_NULL;
    req_forget_frame(req);
}

void client_drop_frame(struct req *req)
{
    must(!req->answered);
    req->client_id = STR_NULL;
    req_drop_frame(req);
}

/* The answer is on its way out, and takes memory until it has left. */
static void req_count_unread(struct req *req)
{
    int64_t bytes = (int64_t)(req->out.capacity + arena_size(&req->arena));
    if (bytes > CLIENT_FREE_FRAME_BYTES) {
        atomic_fetch_add(&req->broker->unread_bytes, bytes);
        req->unread_bytes = bytes;
    }
}

static void req_free(struct req *req)
{
    struct netloop *netloop = req->netloop;
    if (req->unread_bytes > 0) {
        atomic_fetch_sub(&req->broker->unread_bytes, req->unread_bytes);
        req->unread_bytes = 0;
    }
    req_forget_frame(req);
    bool small = arena_size(&req->arena) <= CLIENT_SPARE_ARENA_BYTES &&
                 req->out.capacity <= CLIENT_SPARE_REPLY_BYTES;
    if (!small || netloop->spare_requests_count == CLIENT_SPARE_REQUESTS_MAX) {
        req_end(req);
        return;
    }
    arena_reset(&req->arena);
    buf_clear(&req->out);
    mem_unwanted(req, sizeof(*req));
    netloop->spare_requests[netloop->spare_requests_count++] = req;
}

void client_drop_spare(struct netloop *netloop)
{
    while (netloop->spare_requests_count > 0) {
        struct req *req = netloop->spare_requests[--netloop->spare_requests_count];
        mem_wanted(req, sizeof(*req));
        req_end(req);
    }
}

/* The client's memory goes when nothing refers to it: no connection, no request. */
static void client_maybe_free(struct client *client)
{
    if (client->conn != NULL || client->requests_count > 0 || client->freed) {
        return;
    }
    client->freed = true;
    loop_task_cancel(&client->turn);
    client->netloop->clients_count--;
    atomic_fetch_sub(&client->netloop->placed, 1);
    list_remove(&client->link);
    mem_free(client);
}

static void req_unlink(struct req *req)
{
    list_remove(&req->link);
    req->client->requests_count--;
}

static void splices_release(struct req *req)
{
    for (int32_t i = 0; i < req->splices_count; i++) {
        if (req->splices[i].file.release != NULL) {
            req->splices[i].file.release(req->splices[i].file.arg);
        }
    }
    req->splices_count = 0;
}

/* Throw away a request that has no connection any more. */
static void req_discard(struct req *req)
{
    struct client *client = req->client;
    splices_release(req);
    req_unlink(req);
    req_free(req);
    client_maybe_free(client);
}

void client_close(struct client *client)
{
    if (client->conn == NULL) {
        return;
    }
    conn_free(client->conn);
    client->conn = NULL;
    client->closing = true;
    if (client->waiter != NULL) {
        budget_wait_cancel(&client->waiter->waiter);
        mem_free(client->waiter);
        client->waiter = NULL;
    }
    if (client->granted_bytes > 0) {
        budget_release(client_lease(client), client->granted_bytes);
        client->granted_bytes = 0;
    }
    if (client->held != NULL) {
        client->held->answered = true; /* it has not begun, so nobody else would end it */
        client->held = NULL;
    }
    client->requests_count++; /* keeps the client while its requests go */
    list_for_each_safe (link, &client->requests) {
        struct req *req = container_of(link, struct req, link);
        if (!req->answered && req->on_cancel != NULL) {
            req->on_cancel(req);
            req->answered = true;
        }
        if (req->answered) {
            req_discard(req);
        }
    }
    fetch_sessions_drop(client->netloop->fetch_sessions, client);
    client->requests_count--;
    client_maybe_free(client);
}

/* Does a request only wait for news, or for what will not come? */
static bool req_only_waits(const struct req *req)
{
    return req->on_cancel != NULL || req == req->client->held;
}

static bool client_only_waits(const struct client *client)
{
    list_for_each (link, &client->requests) {
        if (!req_only_waits(container_of(link, struct req, link))) {
            return false;
        }
    }
    return true;
}

bool client_is_quiet(const struct client *client, int64_t since_ms)
{
    return client->conn != NULL && !conn_queued(client->conn) &&
           conn_last_active_ms(client->conn) <= since_ms && client_only_waits(client);
}

static int64_t client_silent_ms(const struct client *client)
{
    return loop_now_ms(client->netloop->loop) - conn_last_active_ms(client->conn);
}

static bool client_idle(const struct client *client, int64_t idle_max_ms)
{
    return idle_max_ms > 0 && client_silent_ms(client) > idle_max_ms && client_only_waits(client);
}

/* Is its frame behind the pace at which it comes whole in CLIENT_SLOW_FRAME_MS? */
static bool client_trickles(const struct client *client)
{
    struct conn_arriving frame = conn_arriving(client->conn);
    return frame.age_ms > CLIENT_SILENT_FRAME_MS &&
           (uint64_t)frame.got_bytes * CLIENT_SLOW_FRAME_MS <
               (uint64_t)frame.size_bytes * frame.age_ms;
}

/* Does it keep memory, which others wait for, for a frame that does not come? */
static bool client_hoards(struct client *client)
{
    return client->granted_bytes > 0 && !client->moving &&
           budget_wanted(client_lease(client)->budget) &&
           (client_silent_ms(client) > CLIENT_SILENT_FRAME_MS || client_trickles(client));
}

/* Does it take nothing of its answers, where all that is not taken has become too much? */
static bool client_is_deaf(const struct client *client)
{
    struct broker *broker = client->netloop->broker;
    return conn_queued_bytes(client->conn) > CLIENT_FREE_FRAME_BYTES &&
           client_silent_ms(client) > CLIENT_UNREAD_MS &&
           atomic_load(&broker->unread_bytes) > broker->client_memory.total_bytes;
}

static void report_deaf(struct client *client)
{
    static struct log_limit limit;
    struct net_name name;
    log_limited(&limit, LOG_WARN, LOGGER, "answers are not read",
                "[W-NET-04] %s has taken nothing of %zu bytes for %" PRId64
                " ms on listener %s, and what all clients do not take is %" PRId64
                " bytes, more than queued.max.request.bytes; connection closed.",
                conn_peer(client->conn, &name), conn_queued_bytes(client->conn),
                client_silent_ms(client), client->listener->name,
                atomic_load(&client->netloop->broker->unread_bytes));
}

static void report_hoarder(struct client *client)
{
    static struct log_limit limit;
    struct net_name name;
    struct conn_arriving frame = conn_arriving(client->conn);
    log_limited(&limit, LOG_WARN, LOGGER, "a frame does not come",
                "[W-NET-03] %s announced a request of %" PRId32
                " bytes on listener %s, and %" PRIu32 " of them have come in %" PRIu32
                " ms, none in the last %" PRId64
                ", while others wait for memory (queued.max.request.bytes); connection closed.",
                conn_peer(client->conn, &name), client->granted_bytes, client->listener->name,
                frame.got_bytes, frame.age_ms, client_silent_ms(client));
}

/* Of its frame at least `got_min` bytes must have come, if others wait for the memory. */
static void client_check(struct client *client, int64_t idle_max_ms, uint32_t got_min)
{
    if (client->conn == NULL ||
        (!client_idle(client, idle_max_ms) && !client_hoards(client) && !client_is_deaf(client))) {
        return;
    }
    int16_t requests = client->requests_count++; /* keeps the client: its peer may have gone */
    conn_look(client->conn);
    client->requests_count--;
    if (client->conn == NULL) {
        client_maybe_free(client);
        return;
    }
    /* Or the frame has come, and the next has begun. */
    bool same = client->requests_count == requests;
    bool late = same && client->granted_bytes > 0 && budget_wanted(client_lease(client)->budget) &&
                conn_arriving(client->conn).got_bytes < got_min;
    if (late || client_hoards(client)) {
        report_hoarder(client);
        client_close(client);
    } else if (client_is_deaf(client)) {
        report_deaf(client);
        client_close(client);
    } else if (client_idle(client, idle_max_ms)) {
        client_close(client);
    }
}

void client_check_idle(struct client *client, int64_t idle_max_ms)
{
    client_check(client, idle_max_ms, 0);
}

static void release_reply(void *arg)
{
    struct req *req = arg;
    req_free(req);
}

/* Hand one encoded reply to the out-queue; the request is freed when its last fragment has left. */
static void client_send(struct client *client, struct req *req)
{
    struct outq *outq = conn_outq(client->conn);
    size_t from = 0;
    /* The peer may take very long to read the answer, or never do. */
    req_drop_frame(req);
    if (req->splices_count == 0) {
        if (arena_size(&req->arena) > CLIENT_SPARE_ARENA_BYTES) {
            arena_fini(&req->arena);
        }
        req_forget_frame(req);
    }
    req_count_unread(req);
    for (int32_t i = 0; i < req->splices_count; i++) {
        struct req_splice *splice = &req->splices[i];
        if (splice->out_offset > from) {
            outq_put_mem(outq, req->out.data + from, splice->out_offset - from, NULL, NULL);
        }
        from = splice->out_offset;
        if (splice->file.file != NULL) {
            outq_put_file(outq, splice->file.file, splice->file.position, splice->file.size,
                          splice->file.release, splice->file.arg);
        } else {
            outq_put_mem(outq, splice->memory.data, splice->memory.size, splice->file.release,
                         splice->file.arg);
        }
    }
    req->splices_count = 0;
    /* Fragments are released in order, so the request lives as long as anything before its last
     * byte. A reply that ends in a file range gets an empty last fragment to carry the release. */
    outq_put_mem(outq, req->out.data + from, req->out.size - from, release_reply, req);
}

/* May another request begin beside those in work? */
static bool client_has_room(const struct client *client)
{
    int64_t work_bytes = 0;
    int64_t free_bytes = 0;
    if (client->requests_count < CLIENT_REQUESTS_MIN) {
        return true;
    }
    list_for_each (link, &client->requests) {
        const struct req *req = container_of(link, struct req, link);
        work_bytes += (int64_t)req->frame_bytes + CLIENT_REQUEST_BYTES;
        free_bytes += (req->frame_charged ? 0 : (int64_t)req->frame_bytes) + CLIENT_REQUEST_BYTES;
    }
    return work_bytes < CLIENT_WORK_MAX_BYTES && free_bytes < CLIENT_FREE_MAX_BYTES;
}

/* May the next request be read? */
static bool client_may_read(const struct client *client)
{
    return !client->blocked && !client->closing && client->waiter == NULL && !client->moving &&
           client_has_room(client) && conn_queued_bytes(client->conn) <= CLIENT_OUTQ_MAX_BYTES;
}

static void client_regulate(struct client *client)
{
    bool may = client_may_read(client);
    if (may && conn_paused(client->conn)) {
        conn_resume(client->conn);
    } else if (!may && !conn_paused(client->conn)) {
        conn_pause(client->conn);
    }
}

/* ---- to another loop ---- */

static void client_on_moved(struct loop_msg *msg)
{
    struct client_move *move = container_of(msg, struct client_move, msg);
    struct client *client = move->client;
    struct netloop *netloop = client->netloop;
    list_push_back(&netloop->clients, &client->link);
    netloop->clients_count++;
    client->moving = false;
    if (move->session != NULL) {
        fetch_sessions_give(netloop->fetch_sessions, move->session);
    }
    mem_free(move);
    if (client->granted_bytes > 0) {
        budget_charge(client_lease(client), client->granted_bytes);
    }
    if (netloop->closed) {
        client_close(client);
        return;
    }
    netloop_watch_idle(netloop);
    client_regulate(client);
}

/* Everything has been answered, and nothing of it is left here but the connection, perhaps with a
 * frame of which a part has come. */
static bool client_can_move(const struct client *client)
{
    return client->requests_count == 0 && client->waiter == NULL && !client->closing &&
           !conn_queued(client->conn);
}

/* From a task of the loop's, so that no callback of the connection is under way. Afterwards the
 * client is another thread's. */
static void client_go(struct client *client)
{
    struct netloop *from = client->netloop;
    struct netloop *to = from->balance.to;
    struct client_move *move = mem_new(struct client_move);
    must(client->held == NULL);
    must(client->appending == 0);
    if (client->granted_bytes > 0) {
        budget_release(client_lease(client), client->granted_bytes);
    }
    loop_task_cancel(&client->turn);
    list_remove(&client->link);
    from->clients_count--;
    atomic_fetch_sub(&from->placed, 1);
    atomic_fetch_add(&to->placed, 1);
    client->netloop = to;
    move->msg.fn = client_on_moved;
    move->client = client;
    move->session = fetch_sessions_take(from->fetch_sessions, client);
    fetch_sessions_drop(from->fetch_sessions, client);
    conn_move(client->conn, to->loop);
    loop_post(to->loop, &move->msg);
}

/* It has just been served. */
static void client_settle(struct client *client)
{
    if (!client->moving && !client->stays && !client->closing) {
        client->moving = balance_leaves(client->netloop);
    }
    const struct netloop *netloop = client->netloop;
    if (client->moving && (netloop->balance.to == netloop || netloop->draining)) {
        client->moving = false; /* no loop has less to do any more, or the broker stops */
    }
    bool go = client->moving && client_can_move(client);
    client_regulate(client);
    if (go) {
        client_go(client);
    }
}

/* Send what has been answered, oldest first, then see whether to read on. */
static void client_flush(struct client *client)
{
    bool finish = false;
    while (!list_empty(&client->requests) && !finish) {
        struct req *req = container_of(client->requests.next, struct req, link);
        if (!req->answered) {
            break;
        }
        finish = req->close_after;
        req_unlink(req);
        if (req->no_reply) {
            req_free(req);
        } else {
            client_send(client, req);
        }
    }
    if (finish) {
        client->closing = true;
        conn_finish(client->conn);
        return;
    }
    client->requests_count++; /* the flush may find the peer gone */
    conn_flush(client->conn);
    client->requests_count--;
    if (client->conn == NULL) {
        client_maybe_free(client);
    } else {
        client_settle(client);
    }
}

void client_answered(struct req *req)
{
    struct client *client = req->client;
    if (client->conn == NULL) {
        req_discard(req);
        return;
    }
    if (!dispatch_is_two_stage(req->api->key)) {
        client->blocked = false;
    }
    loop_defer(client->netloop->loop, &client->turn);
}

/* What the first bytes of something that is not Kafka look like, or NULL. */
static const char *foreign_protocol(int32_t size)
{
    uint8_t head[4];
    be32_put(head, (uint32_t)size);
    if (head[0] == 0x16 && head[1] == 0x03) {
        return "TLS";
    }
    static const char *const methods[] = {"GET ", "POST", "HEAD", "PUT ", "DELE", "OPTI", "PRI "};
    for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
        if (memcmp(head, methods[i], 4) == 0) {
            return "HTTP";
        }
    }
    return NULL;
}

static void report_bad_frame(struct client *client, int32_t size, int32_t size_max)
{
    /* One for each kind: a port scanner must not hide the client that was set up wrongly. */
    static struct log_limit tls_limit;
    static struct log_limit http_limit;
    static struct log_limit size_limit;
    const char *protocol = foreign_protocol(size);
    struct net_name name;
    const char *peer = conn_peer(client->conn, &name);
    if (protocol != NULL) {
        log_limited(
            protocol[0] == 'T' ? &tls_limit : &http_limit, LOG_WARN, LOGGER, "wrong protocol",
            "[W-NET-01] %s speaks %s to listener %s, which expects Kafka's protocol in plain "
            "text; connection closed. Point the client at the right port, or remove its TLS "
            "or HTTP settings.",
            peer, protocol, client->listener->name);
    } else {
        log_limited(&size_limit, LOG_WARN, LOGGER, "bad frame size",
                    "[W-NET-02] %s announced a request of %" PRId32
                    " bytes on listener %s; allowed are 0 to %" PRId32
                    " (socket.request.max.bytes); connection closed.",
                    peer, size, client->listener->name, size_max);
    }
}

static void client_on_granted(struct budget_waiter *waiter)
{
    struct client_waiter *granted = container_of(waiter, struct client_waiter, waiter);
    struct client *client = granted->client;
    client->granted_bytes = (int32_t)waiter->need_bytes;
    client->waiter = NULL;
    mem_free(granted);
    conn_resume(client->conn);
    /* Or a row of such connections would pass the memory on. */
    client_check(client, 0, CLIENT_FREE_FRAME_BYTES);
}

static enum conn_verdict client_on_frame_size(struct conn *conn, int32_t size,
                                              const uint8_t *first4)
{
    struct client *client = conn_arg(conn);
    (void)first4; /* the size itself */
    const struct config *config = config_reader_now(&client->netloop->config);
    int32_t size_max = config_int(config, KEY_socket_request_max_bytes);
    if (size < 0 || size > size_max) {
        report_bad_frame(client, size, size_max);
        return CONN_REFUSE;
    }
    if (size <= CLIENT_FREE_FRAME_BYTES || client->granted_bytes > 0) {
        return CONN_ACCEPT;
    }
    if (budget_reserve(client_lease(client), size)) {
        client->granted_bytes = size;
        return CONN_ACCEPT;
    }
    client->waiter = mem_new(struct client_waiter);
    client->waiter->client = client;
    client->waiter->waiter.granted = client_on_granted;
    budget_wait(client_lease(client), &client->waiter->waiter, size);
    return CONN_WAIT;
}

static void client_run(struct client *client, struct req *req)
{
    client->blocked = !dispatch_is_two_stage(req->api->key);
    dispatch_run(req);
}

/* Have all requests before this one been answered? */
static bool client_is_next(const struct client *client, const struct req *req)
{
    const struct list *link = client->requests.next;
    while (container_of(link, struct req, link)->answered) {
        link = link->next;
    }
    return link == &req->link;
}

/* A broker that has just started does not know the cluster yet, and one that stood still does not
 * know what it still leads. Answered now, a client would be told what is not so; only the
 * controller's messages, which say what there is, are let through. */
static bool broker_serves(const struct req *req)
{
    struct broker *broker = req->broker;
    bool ready = !pulse_missed(&broker->pulse, loop_now_ms(req->netloop->loop)) &&
                 atomic_load_explicit(&broker->ready, memory_order_acquire);
    return ready || dispatch_is_control(req);
}

/* What a client has written it must be able to read: only more produces overtake appends.
 * And what is asked behind a request that waits is answered when that is, so it begins then: a
 * producer that got metadata three seconds old went back to a leader that had been one. */
static bool client_must_hold(const struct client *client, const struct req *req)
{
    if (!broker_serves(req)) {
        return true;
    }
    if (client->appending > 0 && req->api->key != API_PRODUCE) {
        return true;
    }
    return !dispatch_is_two_stage(req->api->key) && !client_is_next(client, req);
}

void client_release(struct client *client)
{
    struct req *req = client->held;
    if (req == NULL || client_must_hold(client, req)) {
        return;
    }
    client->held = NULL;
    client_run(client, req);
    if (client->conn != NULL) {
        client_regulate(client);
    }
}

void client_append_begin(struct client *client)
{
    must(client->appending < CLIENT_REQUESTS_MAX);
    client->appending++;
}

void client_append_end(struct client *client)
{
    must(client->appending > 0);
    client->appending--;
    if (client->appending == 0 && client->held != NULL) {
        loop_defer(client->netloop->loop, &client->turn);
    }
}

/* At the end of the turn. */
static void client_on_turn(struct loop_task *task)
{
    struct client *client = container_of(task, struct client, turn);
    if (client->conn == NULL) {
        return;
    }
    client_release(client);
    client_flush(client);
}

void client_charge(struct req *req, int64_t bytes)
{
    budget_charge(client_lease(req->client), bytes);
    req->charged_bytes += bytes;
}

void client_uncharge(struct req *req, int64_t bytes)
{
    req_uncharge(req, bytes);
}

/* A decoded array may take many times the bytes that it came in, and lives as long as the request.
 */
static void client_charge_decoded(struct req *req)
{
    size_t decoded = arena_size(&req->arena);
    if (decoded > CLIENT_FREE_FRAME_BYTES) {
        client_charge(req, (int64_t)decoded);
    }
}

static void client_on_frame(struct conn *conn, uint8_t *frame, size_t size)
{
    struct client *client = conn_arg(conn);
    struct req *req = req_make(client);
    req->frame = frame;
    req->frame_bytes = size;
    req->charged_bytes = client->granted_bytes;
    req->frame_charged = client->granted_bytes > 0;
    req->received_ms = loop_now_ms(client->netloop->loop);
    client->granted_bytes = 0;
    list_push_back(&client->requests, &req->link);
    client->requests_count++;
    enum err err = dispatch_decode(req);
    client_charge_decoded(req);
    if (err != ERR_OK) {
        req->answered = true;
        req->no_reply = true;
        req->close_after = true;
        client->blocked = true;
        loop_defer(client->netloop->loop, &client->turn);
    } else if (client_must_hold(client, req)) {
        must(client->held == NULL); /* nothing is read while one is held */
        client->held = req;
        client->blocked = true;
    } else {
        client_run(client, req);
    }
    if (client->conn != NULL) {
        client_regulate(client);
    }
}

static void client_on_drained(struct conn *conn)
{
    struct client *client = conn_arg(conn);
    client_regulate(client);
    if (client->moving) {
        loop_defer(client->netloop->loop, &client->turn);
    }
}

static void client_on_closed(struct conn *conn, enum err why)
{
    (void)why;
    client_close(conn_arg(conn));
}

static const struct conn_events client_events = {
    .on_frame_size = client_on_frame_size,
    .on_frame = client_on_frame,
    .on_drained = client_on_drained,
    .on_closed = client_on_closed,
};

void client_new(struct netloop *netloop, const struct listener *listener,
                struct net_accepted *accepted)
{
    struct client *client = mem_new(struct client);
    client->netloop = netloop;
    client->listener = listener;
    list_init(&client->link);
    list_init(&client->requests);
    loop_task_init(&client->turn, client_on_turn);
    struct net *net = netloop->broker->env.net;
    struct net_stream *stream = net->ops->adopt(net, netloop->loop, accepted);
    list_push_back(&netloop->clients, &client->link);
    netloop->clients_count++;
    client->conn = conn_new(stream, &client_events, client);
}
