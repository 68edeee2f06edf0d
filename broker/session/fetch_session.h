/* fetch_session.h: incremental fetch (KIP-227): the broker remembers which partitions a client
 * fetches, the client sends only what changed, the reply holds only partitions with news.
 *
 * One cache per network loop. A client keeps its connection, so its session is where its requests
 * arrive, and moves with it (api/balance.h); one that comes back on another loop gets
 * FETCH_SESSION_ID_NOT_FOUND and starts a new session, as after any eviction.
 *
 * A session in use by a request that waits is pinned: it is neither evicted nor freed until
 * released.
 *
 * A follower's session may hold thousands of partitions of which a few have news at a time. So it
 * remembers which to look at: a partition is dirty from when the request says something about it,
 * or the partition does (its mark, wait.h), until its reader has found nothing more to say and
 * calls fetch_item_clean(). Every FETCH_LOOK_MS all are looked at.
 *
 * Limits: max.incremental.fetch.session.cache.slots, of all caches together, for connections gather
 * on few loops. At the limit an entry of the same cache that was idle for two minutes goes, else
 * one of lesser value (consumer before follower, fewer partitions before more) that is older than
 * that; if there is none, the fetch is answered without a session, and consumers are for
 * FETCH_SESSION_SEARCH_MS: each of their fetches would look through the whole cache again. A
 * follower is let in beyond the limit, while its cache has fewer followers than an equal part of
 * it: without a session each of its fetches would be about all of its partitions. A session that a
 * fetch makes larger than FETCH_SESSION_PARTITIONS_MAX goes, and the fetch gets INVALID_REQUEST.
 * All sessions together have about FETCH_SESSIONS_PARTITIONS_MAX partitions, of 350 bytes each, but
 * for those of followers: at the limit a consumer's fetch is answered without a session, and one
 * that adds partitions to its session loses it. So it is with a topic's name that is longer than
 * FETCH_SESSION_NAME_MAX, which no topic can have.
 *
 * Threads: the loop's. Source: FetchSession.scala of Kafka 3.9; rules in the table of KIP-227. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"
#include "base/list.h"
#include "base/rng.h"
#include "base/uuid.h"
#include "wait/wait.h"

struct fetch_session;
struct fetch_sessions;

enum {
    /* As often as a follower with nothing to do asks (replica.fetch.wait.max.ms): what the leader
     * knows of a quiet follower's progress is never older than it was without this. */
    FETCH_LOOK_MS = 500,
};

enum {
    FETCH_SESSION_EVICTION_MS = 120000,
    FETCH_SESSION_SEARCH_MS = 1000,
    FETCH_SESSION_PARTITIONS_MAX = 100000,
    FETCH_SESSIONS_PARTITIONS_MAX = 1000000,
    FETCH_SESSION_NAME_MAX = 249,
    FETCH_EPOCH_FINAL = -1,
    FETCH_EPOCH_INITIAL = 0,
};

/* How many sessions there may be, and partitions in them, shared by the caches. */
struct fetch_session_slots {
    int32_t max;
    int32_t caches_count;
    int64_t partitions_max;
    _Atomic int32_t used;
    _Atomic int64_t partitions;
};

/* One partition that a request asks for. */
struct fetch_want {
    struct str topic;     /* empty when the request names ids */
    struct uuid topic_id; /* zero when it names topics */
    int32_t partition;
    int32_t current_leader_epoch;
    int32_t last_fetched_epoch;
    int32_t max_bytes;
    int64_t fetch_offset;
    int64_t log_start_offset; /* a follower's own; -1 */
    int64_t flushed_offset;   /* a follower's: below it everything is on its disk; -1: not told */
};

/* One partition of a fetch in work: of a session, or of a request without one. */
struct fetch_item {
    struct list link;
    struct fetch_want want;
    /* What the client was last told; -1: nothing. */
    int64_t sent_hw;
    int64_t sent_log_start;
    void *entry; /* the cache's */

    /* In a session: */
    struct list dirty_link; /* linked: to be looked at */
    struct wait_mark mark;  /* armed: its partition will tell */
    struct fetch_session *session;
    /* Its reader's notes, of when it last looked. */
    struct fetch_noted {
        int32_t role;
        int32_t leader_epoch;
        int64_t bytes;    /* that it could give, as far as counted */
        bool out_of_sync; /* the follower is not in the ISR */
    } noted;
};

/* A fetch in work. items is a list of struct fetch_item, in the order to serve. */
struct fetch_context {
    struct list *items;
    int32_t items_count;
    struct fetch_session *session; /* pinned; NULL for a request without one */
    bool incremental;
    int32_t session_id; /* for the reply; 0: none */
    struct list own;    /* backs `items` without a session */
};

struct fetch_session_request {
    int32_t session_id;
    int32_t session_epoch;
    bool uses_ids;     /* version 13 and later */
    bool follower;     /* from a replica that is who it says it is: privileged */
    const void *owner; /* whose connection it comes by: fetch_sessions_take() */
    const struct fetch_want *wants;
    int32_t wants_count;
    const struct fetch_want *forgotten; /* only topic, topic_id and partition count */
    int32_t forgotten_count;
};

/* `slots` and `rng` are the caller's and outlive it. */
struct fetch_sessions *fetch_sessions_new(struct fetch_session_slots *slots, struct rng *rng);
void fetch_sessions_free(struct fetch_sessions *cache);

/* Find or make what the request refers to. A partition that it names again counts once, as it was
 * named last. `items_memory` has room for wants_count items and lives
 * as long as the context: it is used for a request without a session. Errors:
 * FETCH_SESSION_ID_NOT_FOUND, INVALID_FETCH_SESSION_EPOCH, FETCH_SESSION_TOPIC_ID_ERROR. */
MUST_USE enum err fetch_context_begin(struct fetch_sessions *cache,
                                      const struct fetch_session_request *request,
                                      struct fetch_item *items_memory, int64_t now_ms,
                                      struct fetch_context *out);

/* Is there something to say about this item? Call once per item while the reply is made; remembers
 * what was told. `has_data` items go to the end of the session's order. Always true without a
 * session or for a full fetch. */
bool fetch_context_include(struct fetch_context *context, struct fetch_item *item, bool failed,
                           bool has_data, bool other_news, int64_t hw, int64_t log_start);

/* Those to look at, into `out` (room for all the session's items, or NULL to count only): dirty
 * ones, or all when the time has come or the request began the session. */
int32_t fetch_context_dirty(struct fetch_context *context, bool all, struct fetch_item **out);

/* Is it time to look at all? Says so once per FETCH_LOOK_MS. */
bool fetch_context_look(struct fetch_context *context, int64_t now_ms);

void fetch_item_dirty(struct fetch_item *item);
void fetch_item_clean(struct fetch_item *item);

/* While the request waits: fn is called when the partition of a session's item has news. */
typedef void fetch_woken_fn(void *arg, struct fetch_item *item, struct wait_source *source);
void fetch_context_wait(struct fetch_context *context, fetch_woken_fn *fn, void *arg);

/* The reply has been made, or never will be: unpin. */
void fetch_context_end(struct fetch_context *context);

/* A consumer's connection goes to another loop, and the session that it last used with it: out of
 * one cache, and into the other. NULL: it has none, or a request uses it, or it is a follower's,
 * whose partitions tell this loop of their news. It keeps its slot on the way. Giving takes the
 * session; where another one has its id it is gone, as after an eviction. */
struct fetch_session *fetch_sessions_take(struct fetch_sessions *cache, const void *owner);
void fetch_sessions_give(struct fetch_sessions *cache, struct fetch_session *session);

/* A connection has ended, or goes to another loop: the sessions of a follower end with it. A
 * follower begins another on its next connection, and would leave this one, with thousands of
 * partitions, until the cache is full. */
void fetch_sessions_drop(struct fetch_sessions *cache, const void *owner);

int32_t fetch_sessions_count(const struct fetch_sessions *cache);
