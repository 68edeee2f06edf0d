/* client.h: one client's connection: frames in, requests in order, replies in order.
 *
 * Kafka answers a connection's requests strictly in order and works on one at a time. We keep the
 * order of replies, and let two-stage requests (dispatch.c says which: produce, offset commit and
 * sync) start while others of these before them only wait. Any other request begins when all
 * before it have been answered, for it tells how things are, and holds its connection until it has
 * been answered itself. What a client has written it then reads: while an append is under way only
 * further produces begin.
 *
 * A connection may go on on another loop (api/balance.h) when all that it asked has been answered
 * and the answers have left. A consumer's fetch session goes with it.
 *
 * Threads: everything on the connection's loop. Limits: api/limits.h. */
#pragma once

#include "api/req.h"
#include "net/conn.h"
#include "rt/budget.h"

struct listener;

struct client {
    struct list link;  /* in netloop.clients */
    struct conn *conn; /* NULL once closed */
    struct netloop *netloop;
    const struct listener *listener;
    struct list requests;  /* of struct req, oldest first; the head is the next to be answered */
    struct loop_task turn; /* at its end: sends what was answered during it, begins `held` */
    /* Decoded, but must wait: the broker is not ready, or for requests before it. */
    struct req *held;
    struct client_waiter *waiter; /* for the budget; NULL: not waiting */
    int32_t granted_bytes;        /* reserved for the frame that is being read; 0: none */
    int16_t requests_count;
    uint8_t appending; /* produce requests whose appends are under way */
    bool blocked : 1;  /* a single-stage request is in work */
    bool closing : 1;
    bool freed : 1;
    bool stays : 1;  /* a follower's: its fetch session is its loop's, and what it waits for, too */
    bool moving : 1; /* nothing more is read until it is on another loop */
};

/* Take an accepted connection over. */
void client_new(struct netloop *netloop, const struct listener *listener,
                struct net_accepted *accepted);

/* The broker is ready: run what was held. */
void client_release(struct client *client);

/* Has everything been answered that can be, and nothing come or gone since then? */
bool client_is_quiet(const struct client *client, int64_t since_ms);

/* Close it if nothing has come or gone for longer than that (0: however long), and what it asked
 * only waits; or if others wait for the memory of a frame that does not come; or if it does not
 * read its answers, as too many others. */
void client_check_idle(struct client *client, int64_t idle_max_ms);

/* Close now; requests in work are cancelled or orphaned. */
void client_close(struct client *client);

/* Free the requests that the loop keeps; when it ends. */
void client_drop_spare(struct netloop *netloop);

/* A produce request has begun to append, and has appended: see above. */
void client_append_begin(struct client *client);
void client_append_end(struct client *client);

/* A request takes so much memory more, which the budget is to know of until the request ends. */
void client_charge(struct req *req, int64_t bytes);

/* And so much less again. */
void client_uncharge(struct req *req, int64_t bytes);

/* A request that waits for others, and whose frame nobody needs any more, gives back the memory of
 * it: body and client_id are gone. */
void client_forget_frame(struct req *req);

/* Only of the frame: what was decoded stays, but must not point into it any more; client_id is
 * gone. */
void client_drop_frame(struct req *req);

/* req.c says that a request has been answered. */
void client_answered(struct req *req);
