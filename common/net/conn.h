/* conn.h: a connection of length-framed messages: int32 size, then that many bytes.
 *
 * Receiving: the 4-byte size goes into a small buffer; the owner is asked (on_frame_size) and
 * reserves memory or refuses; then the bytes are received straight into the frame's own buffer.
 * Small frames that arrive together are taken from one shared receive buffer of the loop, so that a
 * busy connection costs one recv for many frames and an idle one holds no buffer. Sending: through
 * an outq; the owner appends fragments and calls conn_flush().
 *
 * A connection with nothing under way holds neither buffer nor queue: ten thousand idle ones are to
 * cost half a kilobyte each.
 *
 * The owner decides when to read: conn_pause() stops at once, within a frame too, conn_resume()
 * goes on from there (with bytes already buffered first).
 *
 * Threads: the stream's loop. */
#pragma once

#include "net/net.h"
#include "net/outq.h"

struct conn;

enum conn_verdict {
    CONN_ACCEPT, /* read the frame into fresh memory */
    CONN_WAIT,   /* not now: the connection is paused; conn_resume() asks again */
    CONN_REFUSE, /* close the connection */
};

struct conn_events {
    /* `size` may be negative or absurd: the peer sent it. `first4` are the bytes it came in, enough
     * to recognise other protocols. */
    enum conn_verdict (*on_frame_size)(struct conn *conn, int32_t size, const uint8_t *first4);
    /* A whole frame (without its size). `frame` is the callee's now: spare_frame_give() (spare.h)
     * or mem_free(). */
    void (*on_frame)(struct conn *conn, uint8_t *frame, size_t size);
    /* The out-queue has drained below what stopped reading, or completely. */
    void (*on_drained)(struct conn *conn);
    /* Connected. Set on the connecting side only: conn_new() tells by it which side this is. */
    void (*on_connected)(struct conn *conn);
    /* The peer left, connecting failed, or an error occurred (ERR_OK after conn_finish). Called
     * once, and nothing is called afterwards: the connection is unusable. Call conn_free() here or
     * later. */
    void (*on_closed)(struct conn *conn, enum err why);
};

/* Takes the stream. `arg` is conn_arg(). */
struct conn *conn_new(struct net_stream *stream, const struct conn_events *events, void *arg);

/* Closes at once, releases what was queued; on_closed is not called. Allowed inside callbacks. */
void conn_free(struct conn *conn);

void *conn_arg(const struct conn *conn);
struct loop *conn_loop(const struct conn *conn);
/* The peer's address with and without its port (net.h), as text: written to `out`, which is
 * returned as a string. */
const char *conn_peer(const struct conn *conn, struct net_name *out);
const char *conn_peer_host(const struct conn *conn, struct net_name *out);

/* To append to, then conn_flush(). It is there only while something is queued: ask again after
 * that. */
struct outq *conn_outq(struct conn *conn);
/* Is anything queued? And how many bytes of memory (not of files) are? */
bool conn_queued(const struct conn *conn);
size_t conn_queued_bytes(const struct conn *conn);

void conn_pause(struct conn *conn);
void conn_resume(struct conn *conn);
bool conn_paused(const struct conn *conn);

/* The frame that is arriving: of how many bytes how many are there, and for how long they have been
 * taken. All zero when none is. */
struct conn_arriving {
    uint32_t size_bytes;
    uint32_t got_bytes;
    uint32_t age_ms;
};
struct conn_arriving conn_arriving(const struct conn *conn);

/* Send what is queued, now as far as possible, the rest when the socket takes it. on_closed may be
 * called before this returns: the connection may be gone then. */
void conn_flush(struct conn *conn);

/* Send up to OUTQ_LONG_TURN_BYTES at a time from now on, or OUTQ_TURN_BYTES again: for a follower
 * that is in sync, whom producers wait for. */
void conn_long_turns(struct conn *conn, bool on);

/* Send what is queued, then close (on_closed follows with ERR_OK). */
void conn_finish(struct conn *conn);

/* Leave for another loop: nothing may be queued to be sent, and none of its callbacks may be under
 * way. From now on it is the other loop's, where conn_resume() lets it read on: in the middle of a
 * frame, where it was. */
void conn_move(struct conn *conn, struct loop *loop);

/* Monotonic time of the last byte received or sent: for connections.max.idle.ms. Of a large frame
 * that comes slowly the stream does not tell each time (net.h, expect): before a connection is
 * taken for idle, conn_look() takes what has come, if anything has. Outside of its callbacks; any
 * of them may follow. */
int64_t conn_last_active_ms(const struct conn *conn);
void conn_look(struct conn *conn);
