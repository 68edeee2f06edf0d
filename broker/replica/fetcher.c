#include "replica/fetcher.h"

#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/must.h"
#include "replica/fetcher_internal.h"

#define LOGGER "kafka.server.ReplicaFetcherThread"

/* From the control loop. */
struct change {
    struct loop_msg msg;
    struct list link;
    struct fetcher *fetcher;
    struct part *part;
    int32_t leader_epoch;
    bool add;
};

static void fetcher_run(struct fetcher *fetcher);

static int64_t now_of(const struct fetcher *fetcher)
{
    return loop_now_ms(fetcher->options.loop);
}

/* ---- the connection ---- */

/* Drop it; what was asked is asked again. */
static void disconnect(struct fetcher *fetcher)
{
    if (fetcher->conn != NULL) {
        conn_free(fetcher->conn);
        fetcher->conn = NULL;
    }
    fetcher->connected = false;
    fetcher->in_flight = REQUEST_NONE;
    loop_timer_cancel(&fetcher->patience);
    fetcher_session_reset(fetcher);
}

static void on_broken(struct fetcher *fetcher, const char *why)
{
    static struct log_limit limit;
    log_limited(&limit, LOG_WARN, LOGGER, "fetching from a leader failed",
                "leader=%d partitions=%u reason=\"%s\" retry_ms=%d", fetcher->options.leader_id,
                HASH_COUNT(fetcher->by_key), why, fetcher->connect_backoff_ms);
    disconnect(fetcher);
    int32_t doubled = fetcher->connect_backoff_ms * 2;
    fetcher->connect_ms = now_of(fetcher) + fetcher->connect_backoff_ms;
    fetcher->connect_backoff_ms =
        doubled < fetcher->options.backoff_max_ms ? doubled : fetcher->options.backoff_max_ms;
    fetcher_run(fetcher);
}

static void on_connected(struct conn *conn)
{
    struct fetcher *fetcher = conn_arg(conn);
    fetcher->connected = true;
    fetcher_run(fetcher);
}

/* The leader keeps to our limits, except that the first batch comes whole however large it is. */
static enum conn_verdict on_frame_size(struct conn *conn, int32_t size, const uint8_t *first4)
{
    (void)conn;
    (void)first4;
    return size >= 4 ? CONN_ACCEPT : CONN_REFUSE;
}

static void cycle_end(struct fetcher *fetcher)
{
    mem_free(fetcher->frame);
    fetcher->frame = NULL;
    arena_reset(&fetcher->arena);
    fetcher_run(fetcher);
}

static void on_frame(struct conn *conn, uint8_t *frame, size_t size)
{
    struct fetcher *fetcher = conn_arg(conn);
    enum fetcher_request request = fetcher->in_flight;
    if (request == REQUEST_NONE) {
        mem_free(frame);
        on_broken(fetcher, "a response that nobody asked for");
        return;
    }
    fetcher->in_flight = REQUEST_NONE;
    fetcher->connect_backoff_ms = FETCHER_BACKOFF_MIN_MS;
    loop_timer_cancel(&fetcher->patience);
    must(fetcher->frame == NULL);
    fetcher->frame = frame;
    fetcher->steps_left = 1;
    enum err err = fetcher_take(fetcher, request, size);
    if (err != ERR_OK) {
        on_broken(fetcher, err_text(err));
    }
    fetcher_step_done(fetcher);
}

static void on_drained(struct conn *conn)
{
    (void)conn;
}

static void on_closed(struct conn *conn, enum err why)
{
    on_broken(conn_arg(conn), err_text(why));
}

static const struct conn_events events = {
    .on_frame_size = on_frame_size,
    .on_frame = on_frame,
    .on_drained = on_drained,
    .on_connected = on_connected,
    .on_closed = on_closed,
};

/* The leader's address; false when the cluster's metadata has none (yet). */
static bool find_leader(struct fetcher *fetcher, struct net_address *address)
{
    struct meta *meta = meta_cell_get(fetcher->options.meta);
    const struct meta_broker *broker = meta_find_broker(meta, fetcher->options.leader_id);
    const struct meta_endpoint *endpoint =
        broker != NULL ? meta_broker_endpoint(broker, fetcher->options.listener) : NULL;
    if (endpoint != NULL) {
        snprintf(address->host, sizeof(address->host), "%s", endpoint->host);
        address->port = (uint16_t)endpoint->port;
    }
    meta_put(meta);
    return endpoint != NULL;
}

static void connect_to_leader(struct fetcher *fetcher)
{
    struct net_address address = {.port = 0};
    int64_t now = now_of(fetcher);
    if (now < fetcher->connect_ms) {
        loop_timer_set(fetcher->options.loop, &fetcher->timer, fetcher->connect_ms);
        return;
    }
    if (!find_leader(fetcher, &address)) {
        on_broken(fetcher, "the leader is not among the live brokers");
        return;
    }
    struct net *net = fetcher->options.net;
    struct net_stream *stream = net->ops->connect(net, fetcher->options.loop, &address);
    fetcher->conn = conn_new(stream, &events, fetcher);
    fetcher->connect_until_ms = now + fetcher->options.timeout_ms;
    loop_timer_set(fetcher->options.loop, &fetcher->timer, fetcher->connect_until_ms);
}

/* ---- the partitions ---- */

static struct follow_key key_of(const struct part *part)
{
    struct follow_key key;
    memset(&key, 0, sizeof(key));
    key.topic_id = part->topic_id;
    key.index = part->index;
    return key;
}

static struct follow *find(struct fetcher *fetcher, const struct follow_key *key)
{
    struct follow *follow;
    HASH_FIND(hh, fetcher->by_key, key, sizeof(*key), follow);
    return follow;
}

static void let_go(struct fetcher *fetcher, struct follow *follow)
{
    fetcher_session_forget(fetcher, follow);
    HASH_DEL(fetcher->by_key, follow);
    list_remove(&follow->link);
    part_put(follow->part);
    mem_free(follow);
}

static void take_up(struct fetcher *fetcher, struct part *part, int32_t leader_epoch)
{
    struct follow_key key = key_of(part);
    struct follow *follow = find(fetcher, &key);
    if (follow == NULL) {
        follow = mem_new(struct follow);
        follow->key = key;
        follow->part = part_get(part);
        HASH_ADD(hh, fetcher->by_key, key, sizeof(follow->key), follow);
        list_push_back(&fetcher->news, &follow->link);
        fetcher_session_recall(fetcher, follow);
    }
    follow_touch(fetcher, follow);
    /* Nobody but us changes a follower's log. */
    follow->place = (struct follow_place){
        .offset = plog_offset_end(part->log),
        .log_start = plog_log_start(part->log),
        .flushed = part_flushes(part) ? plog_recovery_point(part->log) : -1,
        .leader_epoch = leader_epoch,
        .last_epoch = epochs_latest(plog_epochs(part->log)),
    };
    follow->want = FOLLOW_FETCH;
    follow->retry_ms = 0;
    follow->backoff_ms = FETCHER_BACKOFF_MIN_MS;
    follow->leader_hw = -1;
    follow->leader_log_start = -1;
}

static void change_free(struct change *change)
{
    part_put(change->part);
    mem_free(change);
}

static void apply_changes(struct fetcher *fetcher)
{
    struct list *link;
    while ((link = list_pop_front(&fetcher->changes)) != NULL) {
        struct change *change = container_of(link, struct change, link);
        struct follow_key key = key_of(change->part);
        struct follow *follow = find(fetcher, &key);
        if (follow != NULL && (!change->add || follow->part != change->part)) {
            let_go(fetcher, follow);
        }
        if (change->add) {
            take_up(fetcher, change->part, change->leader_epoch);
        }
        change_free(change);
    }
}

static bool busy(const struct fetcher *fetcher)
{
    return fetcher->in_flight != REQUEST_NONE || fetcher->steps_left > 0;
}

static void on_change(struct loop_msg *msg)
{
    struct change *change = container_of(msg, struct change, msg);
    struct fetcher *fetcher = change->fetcher;
    if (fetcher->stopping) {
        change_free(change);
        return;
    }
    list_push_back(&fetcher->changes, &change->link);
    if (!busy(fetcher)) {
        fetcher_run(fetcher);
    } else if (change->add && fetcher->in_flight == REQUEST_FETCH &&
               !loop_timer_pending(&fetcher->patience)) {
        loop_timer_set(fetcher->options.loop, &fetcher->patience,
                       now_of(fetcher) + FETCHER_PATIENCE_MS);
    }
}

/* The leader holds our fetch while partitions wait to be asked about. Bytes that came since we
 * asked say that it is answering; then it is soon over. */
static void on_patience(struct loop_timer *timer)
{
    struct fetcher *fetcher = container_of(timer, struct fetcher, patience);
    bool held = fetcher->in_flight == REQUEST_FETCH && fetcher->conn != NULL &&
                conn_last_active_ms(fetcher->conn) <= fetcher->sent_ms;
    if (held && !list_empty(&fetcher->changes)) {
        disconnect(fetcher);
        fetcher_run(fetcher);
    }
}

static void post_change(struct fetcher *fetcher, struct part *part, int32_t leader_epoch, bool add)
{
    struct change *change = mem_new(struct change);
    change->msg.fn = on_change;
    change->fetcher = fetcher;
    change->part = part_get(part);
    change->leader_epoch = leader_epoch;
    change->add = add;
    list_init(&change->link);
    loop_post(fetcher->options.loop, &change->msg);
}

void fetcher_add(struct fetcher *fetcher, struct part *part, int32_t leader_epoch)
{
    post_change(fetcher, part, leader_epoch, true);
}

void fetcher_remove(struct fetcher *fetcher, struct part *part)
{
    post_change(fetcher, part, -1, false);
}

/* ---- the cycle ---- */

static void send_request(struct fetcher *fetcher, enum fetcher_request request)
{
    int64_t now = now_of(fetcher);
    buf_clear(&fetcher->out);
    fetcher_encode(fetcher, request, now);
    fetcher->in_flight = request;
    fetcher->sent_ms = now;
    loop_timer_set(fetcher->options.loop, &fetcher->timer, now + fetcher->options.timeout_ms);
    outq_put_mem(conn_outq(fetcher->conn), fetcher->out.data, fetcher->out.size, NULL, NULL);
    conn_flush(fetcher->conn);
}

/* Do what is to be done next, if the last thing is done. */
static void fetcher_run(struct fetcher *fetcher)
{
    if (fetcher->stopping || busy(fetcher)) {
        return;
    }
    apply_changes(fetcher);
    loop_timer_cancel(&fetcher->timer);
    if (fetcher->by_key == NULL) {
        disconnect(fetcher);
        return;
    }
    if (fetcher->conn == NULL) {
        connect_to_leader(fetcher);
        return;
    }
    if (!fetcher->connected) {
        loop_timer_set(fetcher->options.loop, &fetcher->timer, fetcher->connect_until_ms);
        return;
    }
    int64_t next_ms;
    enum fetcher_request request = fetcher_due(fetcher, now_of(fetcher), &next_ms);
    if (request != REQUEST_NONE) {
        send_request(fetcher, request);
    } else if (next_ms != INT64_MAX) {
        loop_timer_set(fetcher->options.loop, &fetcher->timer, next_ms);
    }
}

static void on_timer(struct loop_timer *timer)
{
    struct fetcher *fetcher = container_of(timer, struct fetcher, timer);
    bool waiting =
        fetcher->in_flight != REQUEST_NONE || (fetcher->conn != NULL && !fetcher->connected);
    if (waiting) {
        on_broken(fetcher, "no answer in time");
    } else {
        fetcher_run(fetcher);
    }
}

static void stopped(struct fetcher *fetcher)
{
    struct follow *follow;
    struct follow *next;
    HASH_ITER (hh, fetcher->by_key, follow, next) {
        let_go(fetcher, follow);
    }
    fetcher_session_reset(fetcher);
    loop_post(fetcher->stop_to, fetcher->stop_done);
}

void fetcher_step_done(struct fetcher *fetcher)
{
    must(fetcher->steps_left > 0);
    if (--fetcher->steps_left > 0) {
        return;
    }
    cycle_end(fetcher);
    if (fetcher->stopping) {
        stopped(fetcher);
    }
}

/* ---- life ---- */

struct fetcher *fetcher_new(const struct fetcher_options *options)
{
    struct fetcher *fetcher = mem_new(struct fetcher);
    fetcher->options = *options;
    snprintf(fetcher->client_id, sizeof(fetcher->client_id), "broker-%d-fetcher-%d", options->my_id,
             options->number);
    fetcher->connect_backoff_ms = FETCHER_BACKOFF_MIN_MS;
    list_init(&fetcher->changes);
    list_init(&fetcher->news);
    list_init(&fetcher->quiet);
    list_init(&fetcher->forgotten);
    loop_timer_init(&fetcher->timer, on_timer);
    loop_timer_init(&fetcher->patience, on_patience);
    return fetcher;
}

static void on_stop(struct loop_msg *msg)
{
    struct fetcher *fetcher = container_of(msg, struct fetcher, stop_msg);
    struct list *link;
    fetcher->stopping = true;
    loop_timer_cancel(&fetcher->timer);
    disconnect(fetcher);
    while ((link = list_pop_front(&fetcher->changes)) != NULL) {
        change_free(container_of(link, struct change, link));
    }
    if (fetcher->steps_left == 0) {
        stopped(fetcher);
    }
}

void fetcher_stop(struct fetcher *fetcher, struct loop *to, struct loop_msg *done)
{
    fetcher->stop_to = to;
    fetcher->stop_done = done;
    fetcher->stop_msg.fn = on_stop;
    loop_post(fetcher->options.loop, &fetcher->stop_msg);
}

void fetcher_free(struct fetcher *fetcher)
{
    must(fetcher->by_key == NULL);
    must(fetcher->conn == NULL);
    buf_fini(&fetcher->out);
    arena_fini(&fetcher->arena);
    mem_free(fetcher);
}
