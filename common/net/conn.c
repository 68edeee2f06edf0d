#include "net/conn.h"

#include <string.h>

#include "base/bytes.h"
#include "base/mem.h"
#include "base/must.h"
#include "net/spare.h"

enum {
    SIZE_BYTES = 4,
    /* A frame from this size on is received straight into its own memory: where the last one was so
       large, only the head of the next goes through the shared buffer, and is copied. */
    LARGE_FRAME_BYTES = 32 * 1024,
    LARGE_HEAD_BYTES = 4096,
    /* After so many bytes the other connections of the loop get their turn. */
    RECEIVE_TURN_BYTES = 512 * 1024,
    /* Of what is still to come of a frame so much is waited for at once; less than the minimum is
       not worth two system calls. */
    EXPECT_MIN_BYTES = 16 * 1024,
    EXPECT_MAX_BYTES = 256 * 1024,
};

/* Bytes received but not consumed when the connection was paused. */
struct leftover {
    size_t size;
    size_t at;
    uint8_t bytes[];
};

struct conn {
    struct net_stream *stream;
    const struct conn_events *events;
    void *arg;
    struct outq *outq; /* NULL: nothing is queued */
    int64_t last_active_ms;

    /* The frame that is arriving. */
    uint8_t head[SIZE_BYTES];
    uint8_t head_bytes; /* of the size that are there */
    bool large : 1;     /* it, or the last one when there is none, has LARGE_FRAME_BYTES or more */
    bool long_turns : 1;
    uint16_t depth; /* of our own calls that lead to callbacks */
    uint8_t *frame; /* NULL until its size was accepted */
    uint32_t frame_size;
    uint32_t frame_bytes; /* that are there */

    struct leftover *left;

    uint32_t frame_since_ms; /* when its size was accepted, on the loop's clock; it wraps around */
    bool client : 1;         /* we connect: not connected yet */
    bool paused : 1;
    bool reading : 1; /* the stream tells us when it is readable; may be set while paused: see
                         conn_pause */
    bool blocked : 1; /* the stream took less than it was offered */
    bool asking : 1;  /* on_frame_size said CONN_WAIT */
    bool finishing : 1;
    bool failed : 1; /* on_closed was called: nothing more comes from us */
    bool dead : 1;   /* freed inside a callback: the outermost frame of ours frees the memory */
    struct loop_task resume; /* reads what is left, or goes on sending */
};

/* With the stream and what the owner keeps, an idle connection is to stay below 512 bytes. */
_Static_assert(sizeof(struct conn) <= 104, "every connection pays for this");

/* A thread reads for one connection at a time into the buffer that they share; what a paused one
 * could not take is copied out. */
static _Thread_local bool receive_buffer_busy;

static void conn_release(struct conn *conn)
{
    mem_free(conn);
}

static struct loop *loop_of(const struct conn *conn)
{
    return conn->stream->loop;
}

static void conn_enter(struct conn *conn)
{
    conn->depth++;
    must(conn->depth > 0);
}

/* False when the connection was freed meanwhile: do not touch it any more. */
static bool conn_leave(struct conn *conn)
{
    conn->depth--;
    if (conn->dead) {
        if (conn->depth == 0) {
            conn_release(conn);
        }
        return false;
    }
    return true;
}

void conn_free(struct conn *conn)
{
    must(!conn->dead);
    conn->dead = true;
    loop_task_cancel(&conn->resume);
    conn->stream->ops->close(conn->stream);
    conn->stream = NULL;
    outq_free(conn->outq);
    conn->outq = NULL;
    mem_free(conn->frame);
    mem_free(conn->left);
    conn->frame = NULL;
    conn->left = NULL;
    if (conn->depth == 0) {
        conn_release(conn);
    }
}

/* Has something been put off that the stream will not tell of again? */
static bool conn_missed(const struct conn *conn)
{
    return conn->left != NULL || conn->asking || !conn->reading;
}

/* May bytes be taken from the stream and given to the owner? */
static bool conn_reads(const struct conn *conn)
{
    return !conn->dead && !conn->failed && !conn->paused && !conn->finishing;
}

static void conn_want(struct conn *conn)
{
    int ready = 0;
    if (conn->failed) {
        return;
    }
    if (conn_reads(conn)) {
        conn->reading = true;
    }
    if (conn->client || conn->blocked) {
        ready |= NET_WRITABLE;
    }
    if (!conn->client && conn->reading && !conn->finishing) {
        ready |= NET_READABLE;
    }
    conn->stream->ops->want(conn->stream, ready);
}

/* The owner hears of it, once, and usually frees us. */
static void conn_failed(struct conn *conn, enum err why)
{
    must(!conn->failed);
    conn->failed = true;
    loop_task_cancel(&conn->resume);
    conn->stream->ops->want(conn->stream, 0);
    conn->events->on_closed(conn, why);
}

/* ---- receiving ---- */

/* The size is complete: ask the owner. False: stop consuming. */
static bool conn_ask(struct conn *conn)
{
    int32_t size = (int32_t)be32_get(conn->head);
    switch (conn->events->on_frame_size(conn, size, conn->head)) {
    case CONN_ACCEPT:
        must(size >= 0);
        conn->asking = false;
        conn->frame_size = (uint32_t)size;
        conn->large = size >= LARGE_FRAME_BYTES;
        conn->frame = spare_frame_take((size_t)size);
        conn->frame_bytes = 0;
        conn->frame_since_ms = (uint32_t)loop_now_ms(loop_of(conn));
        return true;
    case CONN_WAIT:
        conn->asking = true;
        conn->paused = true;
        return false;
    case CONN_REFUSE:
        if (!conn->dead) {
            conn_failed(conn, ERR_INVALID);
        }
        return false;
    }
    return false;
}

static void conn_deliver(struct conn *conn)
{
    uint8_t *frame = conn->frame;
    size_t size = conn->frame_size;
    conn->frame = NULL;
    conn->head_bytes = 0;
    conn->events->on_frame(conn, frame, size);
}

static size_t take(uint8_t *to, size_t have, size_t want, const uint8_t *from, size_t size)
{
    size_t n = want - have < size ? want - have : size;
    memcpy(to + have, from, n);
    return n;
}

/* Consume bytes until they run out or the owner stops us; returns how many were consumed. */
static size_t conn_consume(struct conn *conn, const uint8_t *data, size_t size)
{
    size_t used = 0;
    while (conn_reads(conn)) {
        if (conn->frame == NULL) {
            size_t n = take(conn->head, conn->head_bytes, SIZE_BYTES, data + used, size - used);
            conn->head_bytes = (uint8_t)(conn->head_bytes + n);
            used += n;
            if (conn->head_bytes < SIZE_BYTES || !conn_ask(conn)) {
                break;
            }
        }
        size_t n = take(conn->frame, conn->frame_bytes, conn->frame_size, data + used, size - used);
        conn->frame_bytes += (uint32_t)n;
        used += n;
        if (conn->frame_bytes < conn->frame_size) {
            break;
        }
        conn_deliver(conn);
    }
    return used;
}

static void conn_keep(struct conn *conn, const uint8_t *data, size_t size)
{
    if (size == 0) {
        return;
    }
    must(conn->left == NULL);
    conn->left = mem_alloc(sizeof(*conn->left) + size);
    *conn->left = (struct leftover){.size = size};
    memcpy(conn->left->bytes, data, size);
}

/* Consume what was kept from before a pause. */
static void conn_consume_left(struct conn *conn)
{
    if (conn->left == NULL) {
        return;
    }
    /* Out of the struct while the owner is called back: it may free us. */
    struct leftover *left = conn->left;
    conn->left = NULL;
    left->at += conn_consume(conn, left->bytes + left->at, left->size - left->at);
    if (!conn->dead && left->at < left->size) {
        conn->left = left;
        return;
    }
    mem_free(left);
}

/* Is a frame arriving that is a turn's worth? The turn ends with it: before the next one asks for
 * memory this one has been dealt with and given its own back, so that the next, most likely, gets
 * the same, which the processor's cache still holds. */
static bool conn_fills_turn(const struct conn *conn)
{
    return conn->frame != NULL && conn->frame_size >= RECEIVE_TURN_BYTES;
}

/* Where the next bytes go. Those of a large frame straight into it; what comes behind, into the
 * shared buffer: the head of the next frame, most likely, so that one call does for a frame. Of a
 * frame that fills a turn nothing is taken but itself. */
struct receive {
    struct iovec parts[2];
    int count;
    size_t direct; /* bytes of the first part, when it is a frame's */
    size_t wanted;
};

static struct receive receive_plan(const struct conn *conn, uint8_t *shared)
{
    struct receive plan = {.count = 0};
    if (conn->large && conn->frame != NULL) {
        plan.direct = conn->frame_size - conn->frame_bytes;
        plan.parts[plan.count++] = (struct iovec){conn->frame + conn->frame_bytes, plan.direct};
    }
    plan.wanted = plan.direct;
    if (!conn_fills_turn(conn)) {
        size_t room = conn->large ? LARGE_HEAD_BYTES : SPARE_RECEIVE_BYTES;
        plan.parts[plan.count++] = (struct iovec){shared, room};
        plan.wanted += room;
    }
    return plan;
}

/* The connection may be freed meanwhile. */
static void received(struct conn *conn, const struct receive *plan, size_t got)
{
    const uint8_t *shared = plan->parts[plan->count - 1].iov_base;
    size_t direct = got < plan->direct ? got : plan->direct;
    if (plan->direct > 0) {
        conn->frame_bytes += (uint32_t)direct;
        if (conn->frame_bytes == conn->frame_size) {
            conn_deliver(conn);
        }
    }
    if (got > direct) {
        size_t used = conn_consume(conn, shared, got - direct);
        if (!conn->dead) {
            conn_keep(conn, shared + used, got - direct - used);
        }
    }
}

/* *more: as much as was asked for came, so there may be more, and the turn goes on. */
static enum err receive_some(struct conn *conn, size_t *got, bool *more)
{
    must(!receive_buffer_busy);
    struct receive plan = receive_plan(conn, spare_receive_buffer());
    struct net_stream *stream = conn->stream;
    enum err err = stream->ops->recv(stream, plan.parts, plan.count, got);
    if (err != ERR_OK) {
        return err;
    }
    *more = *got == plan.wanted && !conn_fills_turn(conn);
    receive_buffer_busy = true;
    received(conn, &plan, *got);
    receive_buffer_busy = false;
    return ERR_OK;
}

/* A large frame that comes in pieces: one call for many of them. Else each that arrives wakes us,
 * and where sender and receiver share a processor, each is a change between them. */
static void conn_expect(struct conn *conn)
{
    size_t rest = conn->frame != NULL ? conn->frame_size - conn->frame_bytes : 0;
    size_t wanted = rest < EXPECT_MIN_BYTES ? 1 : rest < EXPECT_MAX_BYTES ? rest : EXPECT_MAX_BYTES;
    conn->stream->ops->expect(conn->stream, wanted);
}

static void conn_read(struct conn *conn)
{
    size_t total = 0;
    bool more = true; /* else the socket is empty, most likely: save the call that says so */
    conn_consume_left(conn);
    while (more && conn_reads(conn) && conn->left == NULL && total < RECEIVE_TURN_BYTES) {
        size_t got = 0;
        enum err err = receive_some(conn, &got, &more);
        if (conn->dead) {
            return;
        }
        if (err == ERR_AGAIN) {
            break;
        }
        if (err != ERR_OK) {
            conn_failed(conn, err);
            return;
        }
        conn->last_active_ms = loop_now_ms(loop_of(conn));
        total += got;
    }
    if (!conn->dead && !conn->client) {
        conn_expect(conn);
        conn_want(conn);
    }
}

void conn_look(struct conn *conn)
{
    must(conn->depth == 0);
    if (!conn->client && conn_reads(conn)) {
        conn_enter(conn);
        conn_read(conn);
        (void)conn_leave(conn);
    }
}

/* ---- sending ---- */

/* An empty queue is given back: most connections send nothing most of the time. */
static enum err conn_send_queued(struct conn *conn, bool *yielded)
{
    *yielded = false;
    if (conn->outq == NULL) {
        return ERR_OK;
    }
    size_t before = outq_total_bytes(conn->outq);
    size_t turn_bytes = conn->long_turns ? OUTQ_LONG_TURN_BYTES : OUTQ_TURN_BYTES;
    enum err err = outq_flush(conn->outq, conn->stream, turn_bytes, yielded);
    if (outq_total_bytes(conn->outq) < before) {
        conn->last_active_ms = loop_now_ms(loop_of(conn));
    }
    if (err == ERR_OK) {
        spare_outq_give(conn->outq);
        conn->outq = NULL;
    }
    return err;
}

static void conn_send(struct conn *conn)
{
    bool yielded;
    enum err err = conn_send_queued(conn, &yielded);
    if (err == ERR_OK && conn->finishing) {
        conn_failed(conn, ERR_OK);
        return;
    }
    if (err != ERR_OK && err != ERR_AGAIN) {
        conn_failed(conn, err);
        return;
    }
    if (yielded) {
        loop_defer_turn(loop_of(conn), &conn->resume);
    }
    conn->blocked = err == ERR_AGAIN && !yielded;
    conn_want(conn);
}

void conn_flush(struct conn *conn)
{
    if (conn->client || conn->failed || !conn_queued(conn)) {
        return;
    }
    conn_enter(conn);
    conn_send(conn);
    (void)conn_leave(conn);
}

void conn_finish(struct conn *conn)
{
    conn->finishing = true;
    if (conn->failed) {
        return;
    }
    loop_defer(loop_of(conn), &conn->resume);
}

/* ---- events ---- */

static void conn_connected(struct conn *conn)
{
    conn->client = false;
    conn->blocked = conn_queued(conn); /* what was queued meanwhile goes when next writable */
    conn_want(conn);
    if (conn->events->on_connected != NULL) {
        conn->events->on_connected(conn);
    }
}

/* Send, and tell the owner that there is room again. */
static void conn_send_on(struct conn *conn)
{
    conn_send(conn);
    if (!conn->dead && !conn->failed && !conn->finishing && conn->events->on_drained != NULL) {
        conn->events->on_drained(conn);
    }
}

static void conn_on_ready(struct net_stream *stream, int ready)
{
    struct conn *conn = stream->arg;
    conn_enter(conn);
    /* While it connects, readable means that it failed: recv says so. */
    if (conn->client && (ready & NET_READABLE) != 0) {
        conn_read(conn);
        ready &= ~NET_READABLE;
    }
    if (!conn->dead && !conn->failed && (ready & NET_WRITABLE) != 0) {
        if (conn->client) {
            conn_connected(conn);
        } else {
            conn_send_on(conn);
        }
    }
    if (!conn->dead && !conn->failed && (ready & NET_READABLE) != 0) {
        if (!conn_reads(conn)) {
            conn->reading = false; /* until conn_resume() */
            conn_want(conn);
        } else {
            conn_read(conn);
        }
    }
    (void)conn_leave(conn);
}

static void conn_on_resume(struct loop_task *task)
{
    struct conn *conn = container_of(task, struct conn, resume);
    conn_enter(conn);
    if (conn_queued(conn) || conn->finishing) {
        conn_send_on(conn);
    }
    if (conn_reads(conn) && !conn->client && conn_missed(conn)) {
        if (conn->asking) {
            conn->asking = !conn_ask(conn);
        }
        if (conn_reads(conn)) {
            conn_read(conn);
        }
    }
    (void)conn_leave(conn);
}

struct conn *conn_new(struct net_stream *stream, const struct conn_events *events, void *arg)
{
    struct conn *conn = mem_new(struct conn);
    conn->stream = stream;
    conn->events = events;
    conn->arg = arg;
    conn->last_active_ms = loop_now_ms(loop_of(conn));
    conn->client = events->on_connected != NULL;
    loop_task_init(&conn->resume, conn_on_resume);
    stream->on_ready = conn_on_ready;
    stream->arg = conn;
    conn_want(conn);
    return conn;
}

void *conn_arg(const struct conn *conn)
{
    return conn->arg;
}

struct loop *conn_loop(const struct conn *conn)
{
    return loop_of(conn);
}

const char *conn_peer(const struct conn *conn, struct net_name *out)
{
    conn->stream->ops->peer(conn->stream, true, out);
    return out->text;
}

const char *conn_peer_host(const struct conn *conn, struct net_name *out)
{
    conn->stream->ops->peer(conn->stream, false, out);
    return out->text;
}

struct outq *conn_outq(struct conn *conn)
{
    if (conn->outq == NULL) {
        conn->outq = spare_outq_take();
    }
    return conn->outq;
}

bool conn_queued(const struct conn *conn)
{
    return conn->outq != NULL && !outq_empty(conn->outq);
}

size_t conn_queued_bytes(const struct conn *conn)
{
    return conn->outq != NULL ? outq_mem_bytes(conn->outq) : 0;
}

void conn_long_turns(struct conn *conn, bool on)
{
    conn->long_turns = on;
}

bool conn_paused(const struct conn *conn)
{
    return conn->paused;
}

struct conn_arriving conn_arriving(const struct conn *conn)
{
    if (conn->frame == NULL) {
        return (struct conn_arriving){0};
    }
    return (struct conn_arriving){
        .size_bytes = conn->frame_size,
        .got_bytes = conn->frame_bytes,
        .age_ms = (uint32_t)loop_now_ms(loop_of(conn)) - conn->frame_since_ms,
    };
}

int64_t conn_last_active_ms(const struct conn *conn)
{
    return conn->last_active_ms;
}

/* The stream is not told: a client that waits for its answer sends nothing meanwhile, so most
 * pauses end before anything is readable, and two system calls are saved. If something is,
 * conn_on_ready() tells the stream. */
void conn_pause(struct conn *conn)
{
    conn->paused = true;
}

/* Reading goes on from the run list: never from inside the owner's call. */
void conn_resume(struct conn *conn)
{
    if (!conn->paused || conn->failed) {
        return;
    }
    conn->paused = false;
    if (conn_missed(conn)) {
        loop_defer(loop_of(conn), &conn->resume);
    }
}

void conn_move(struct conn *conn, struct loop *loop)
{
    must(conn->depth == 0);
    must(!conn->client);
    must(!conn->failed);
    must(!conn->finishing);
    must(!conn_queued(conn));
    loop_task_cancel(&conn->resume);
    conn->paused = true;
    conn->reading = false;
    conn->blocked = false;
    conn->stream->ops->want(conn->stream, 0);
    conn->stream->loop = loop;
}
