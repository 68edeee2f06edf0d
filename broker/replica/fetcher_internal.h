/* fetcher_internal.h: a fetcher from the inside: fetcher.c (its cycle and connection),
 * fetcher_request.c (what it asks), fetcher_response.c (what it makes of the answer). */
#pragma once

#include "base/arena.h"
#include "base/hash.h"
#include "net/conn.h"
#include "replica/fetcher.h"

enum { FETCHER_FETCH_VERSION = 17, FETCHER_LIST_VERSION = 9 };

/* What a partition has to ask next. */
enum follow_want {
    FOLLOW_FETCH,
    FOLLOW_LATEST,   /* out of range: where does the leader's log end? */
    FOLLOW_EARLIEST, /* ... and where does it begin? */
    FOLLOW_FAILED,   /* our disk: nothing until the controller says something new */
};

/* What a fetch says about a partition; in a session only differences are sent. */
struct follow_place {
    int64_t offset;
    int64_t log_start;
    int64_t flushed; /* in flush mode: below it everything is on our disk; else -1 */
    int32_t leader_epoch;
    int32_t last_epoch;
};

struct follow_key {
    struct uuid topic_id;
    int32_t index;
};

/* One partition that follows. */
struct follow {
    UT_hash_handle hh;
    struct list link; /* in fetcher.news or fetcher.quiet */
    struct follow_key key;
    struct part *part;
    struct follow_place place;
    struct follow_place sent; /* what the session knows; meaningful with in_session */
    bool in_session;
    enum follow_want want;
    int64_t retry_ms; /* not before; 0: now */
    int32_t backoff_ms;
    int64_t leader_hw; /* as last taken over */
    int64_t leader_log_start;
};

/* A partition that has left while the session knows it. */
struct forgotten {
    struct list link;
    struct follow_key key;
};

enum fetcher_request { REQUEST_NONE, REQUEST_FETCH, REQUEST_LATEST, REQUEST_EARLIEST };

struct fetcher_step {
    struct part_replicate replicate;
    struct fetcher *fetcher;
    struct follow *follow;
};

struct fetcher {
    struct fetcher_options options;
    struct list changes; /* of struct change, waiting for the cycle to end */
    struct follow *by_key;
    struct list news;  /* follows to be looked at before the next request */
    struct list quiet; /* those about which the session knows all: idle ones cost nothing */
    struct conn *conn;
    bool connected;
    int64_t connect_ms;       /* not before */
    int64_t connect_until_ms; /* while there is a connection that is not made yet */
    int32_t connect_backoff_ms;
    int32_t correlation_id;
    char client_id[48];
    struct buf out; /* the request under way */

    enum fetcher_request in_flight;
    int64_t sent_ms;
    int32_t session_id;
    int32_t session_epoch; /* 0: begin a session */
    struct list forgotten;

    /* The response in work. */
    uint8_t *frame;
    struct arena arena;
    int32_t steps_left;

    struct loop_timer timer;    /* the next thing to do, or the request's timeout */
    struct loop_timer patience; /* a change waits for a held fetch */
    struct loop_msg stop_msg;
    struct loop *stop_to;
    struct loop_msg *stop_done;
    bool stopping;
};

/* Ready to be asked about, in that way? */
bool follow_ready(const struct follow *follow, enum follow_want want, int64_t now_ms);

/* Something about it has changed. */
void follow_touch(struct fetcher *fetcher, struct follow *follow);

/* Wait before asking again. */
void follow_back_off(struct fetcher *fetcher, struct follow *follow);

/* The session is lost: everything must be said again. */
void fetcher_session_reset(struct fetcher *fetcher);

/* A partition leaves, and the session is to be told. */
void fetcher_session_forget(struct fetcher *fetcher, const struct follow *follow);

/* It comes back before the session was told: the session still has it. A request that both asks
 * about a partition and forgets it would make the leader forget it (KIP-227: forgetting comes
 * last). */
void fetcher_session_recall(struct fetcher *fetcher, struct follow *follow);

/* What kind of request is due now; REQUEST_NONE: nothing is. *next_ms: when to look again. */
enum fetcher_request fetcher_due(struct fetcher *fetcher, int64_t now_ms, int64_t *next_ms);

/* Write the request into fetcher.out. */
void fetcher_encode(struct fetcher *fetcher, enum fetcher_request request, int64_t now_ms);

/* Take the response in fetcher.frame (`size` bytes): starts steps, counted in steps_left. An error:
 * break the connection. */
MUST_USE enum err fetcher_take(struct fetcher *fetcher, enum fetcher_request request, size_t size);

/* A step is done. */
void fetcher_step_done(struct fetcher *fetcher);
