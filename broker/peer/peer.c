#include "peer/peer.h"

#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "base/mem.h"
#include "base/must.h"
#include "control/control.h"
#include "net/conn.h"

enum { PEER_FRAME_MAX = CONTROL_MESSAGE_MAX + 1024 };

/* One request under way or waiting. */
struct peer_call {
    struct list link;
    peer_done_fn *fn;
    void *arg;
    int32_t correlation_id;
    int64_t deadline_ms;
    struct buf frame;
    bool sent; /* the frame has left: the connection looks at its bytes no more */
};

struct peer {
    UT_hash_handle hh;
    int32_t broker_id;
    struct net_address address;
    struct peers *peers;
    struct conn *conn; /* NULL: none */
    bool connected;
    struct list calls; /* oldest first; replies come in this order */
    struct loop_timer timer;
};

struct peers {
    struct loop *loop;
    struct net *net;
    int32_t my_id;
    int64_t timeout_ms;
    int32_t next_correlation_id;
    struct peer *by_id;
    struct list failed; /* of struct peer_call: their callbacks are due */
    struct loop_task fail_task;
};

static void call_free(struct peer_call *call)
{
    buf_fini(&call->frame);
    mem_free(call);
}

static void peers_on_fail(struct loop_task *task)
{
    struct peers *peers = container_of(task, struct peers, fail_task);
    struct list *link;
    while ((link = list_pop_front(&peers->failed)) != NULL) {
        struct peer_call *call = container_of(link, struct peer_call, link);
        call->fn(call->arg, ERR_CLOSED, (struct bytes){0});
        call_free(call);
    }
}

struct peers *peers_new(struct loop *loop, struct net *net, int32_t my_id, int64_t timeout_ms)
{
    struct peers *peers = mem_new(struct peers);
    peers->loop = loop;
    peers->net = net;
    peers->my_id = my_id;
    peers->timeout_ms = timeout_ms;
    list_init(&peers->failed);
    loop_task_init(&peers->fail_task, peers_on_fail);
    return peers;
}

/* Drop the connection; what waits fails in a later turn. */
static void peer_break(struct peer *peer)
{
    if (peer->conn != NULL) {
        conn_free(peer->conn);
        peer->conn = NULL;
    }
    peer->connected = false;
    loop_timer_cancel(&peer->timer);
    if (!list_empty(&peer->calls)) {
        list_splice_back(&peer->peers->failed, &peer->calls);
        loop_defer(peer->peers->loop, &peer->peers->fail_task);
    }
}

static void peer_watch_timeout(struct peer *peer)
{
    if (list_empty(&peer->calls)) {
        loop_timer_cancel(&peer->timer);
        return;
    }
    struct peer_call *oldest = container_of(peer->calls.next, struct peer_call, link);
    loop_timer_set(peer->peers->loop, &peer->timer, oldest->deadline_ms);
}

static void peer_on_timer(struct loop_timer *timer)
{
    peer_break(container_of(timer, struct peer, timer));
}

static void on_frame_sent(void *arg)
{
    struct peer_call *call = arg;
    call->sent = true;
}

static void peer_queue_frame(struct peer *peer, struct peer_call *call)
{
    outq_put_mem(conn_outq(peer->conn), call->frame.data, call->frame.size, on_frame_sent, call);
}

static void peer_on_connected(struct conn *conn)
{
    struct peer *peer = conn_arg(conn);
    peer->connected = true;
    list_for_each (link, &peer->calls) {
        peer_queue_frame(peer, container_of(link, struct peer_call, link));
    }
    conn_flush(conn);
}

static enum conn_verdict peer_on_frame_size(struct conn *conn, int32_t size, const uint8_t *first4)
{
    (void)conn;
    (void)first4;
    return size >= 4 && size <= PEER_FRAME_MAX ? CONN_ACCEPT : CONN_REFUSE;
}

static void peer_on_frame(struct conn *conn, uint8_t *frame, size_t size)
{
    struct peer *peer = conn_arg(conn);
    struct peer_call *call =
        list_empty(&peer->calls) ? NULL : container_of(peer->calls.next, struct peer_call, link);
    /* Nobody can have answered what has not left yet. */
    if (call == NULL || !call->sent || (int32_t)be32_get(frame) != call->correlation_id) {
        mem_free(frame);
        peer_break(peer);
        return;
    }
    list_remove(&call->link);
    peer_watch_timeout(peer);
    call->fn(call->arg, ERR_OK, (struct bytes){frame + 4, size - 4});
    call_free(call);
    mem_free(frame);
}

static void peer_on_drained(struct conn *conn)
{
    (void)conn;
}

static void peer_on_closed(struct conn *conn, enum err why)
{
    (void)why;
    peer_break(conn_arg(conn));
}

static const struct conn_events peer_events = {
    .on_frame_size = peer_on_frame_size,
    .on_frame = peer_on_frame,
    .on_drained = peer_on_drained,
    .on_connected = peer_on_connected,
    .on_closed = peer_on_closed,
};

static struct peer *peer_find(struct peers *peers, int32_t broker_id)
{
    struct peer *peer;
    HASH_FIND_INT(peers->by_id, &broker_id, peer);
    return peer;
}

static struct peer *peer_make(struct peers *peers, int32_t broker_id, const char *host,
                              uint16_t port)
{
    struct peer *peer = peer_find(peers, broker_id);
    if (peer == NULL) {
        peer = mem_new(struct peer);
        peer->broker_id = broker_id;
        peer->peers = peers;
        list_init(&peer->calls);
        loop_timer_init(&peer->timer, peer_on_timer);
        HASH_ADD_INT(peers->by_id, broker_id, peer);
    } else if (peer->address.port != port || strcmp(peer->address.host, host) != 0) {
        peer_break(peer);
    }
    snprintf(peer->address.host, sizeof(peer->address.host), "%s", host);
    peer->address.port = port;
    return peer;
}

/* Size, request header version 1, body. */
static void call_encode(struct peer_call *call, int32_t my_id, struct bytes body)
{
    char client_id[32];
    snprintf(client_id, sizeof(client_id), "broker-%d", my_id);
    struct buf *frame = &call->frame;
    buf_put_be32(frame, 0);
    buf_put_be16(frame, CONTROL_API_KEY);
    buf_put_be16(frame, CONTROL_API_VERSION);
    buf_put_be32(frame, (uint32_t)call->correlation_id);
    buf_put_be16(frame, (uint16_t)strlen(client_id));
    buf_put_text(frame, client_id);
    buf_put(frame, body.data, body.size);
    be32_put(frame->data, (uint32_t)(frame->size - 4));
}

void peers_send(struct peers *peers, int32_t broker_id, const char *host, uint16_t port,
                struct bytes request, peer_done_fn *fn, void *arg)
{
    must(request.size <= CONTROL_MESSAGE_MAX);
    struct peer *peer = peer_make(peers, broker_id, host, port);
    struct peer_call *call = mem_new(struct peer_call);
    call->fn = fn;
    call->arg = arg;
    call->correlation_id = peers->next_correlation_id;
    peers->next_correlation_id = (peers->next_correlation_id + 1) & INT32_MAX;
    call->deadline_ms = loop_now_ms(peers->loop) + peers->timeout_ms;
    call_encode(call, peers->my_id, request);
    list_push_back(&peer->calls, &call->link);
    peer_watch_timeout(peer);
    if (peer->conn == NULL) {
        struct net_stream *stream =
            peers->net->ops->connect(peers->net, peers->loop, &peer->address);
        peer->conn = conn_new(stream, &peer_events, peer);
    } else if (peer->connected) {
        peer_queue_frame(peer, call);
        conn_flush(peer->conn);
    }
}

void peers_disconnect(struct peers *peers, int32_t broker_id)
{
    struct peer *peer = peer_find(peers, broker_id);
    if (peer != NULL) {
        peer_break(peer);
    }
}

void peers_free(struct peers *peers)
{
    struct peer *peer;
    struct peer *next;
    HASH_ITER (hh, peers->by_id, peer, next) {
        peer_break(peer);
        HASH_DEL(peers->by_id, peer);
        mem_free(peer);
    }
    loop_task_cancel(&peers->fail_task);
    peers_on_fail(&peers->fail_task);
    mem_free(peers);
}
