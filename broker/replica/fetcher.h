/* fetcher.h: brings one leader broker's partitions here: fetch, append, fetch again.
 *
 * One connection, one request at a time, over all partitions that follow this leader, in a fetch
 * session so that idle partitions cost nothing on the wire:
 *
 *   [changes] -> request -> response -> a step in each partition's actor -> all done -> [changes]
 * ..
 *
 * What a step did (where our log ends now, in which epoch) is the next request's question; so a
 * reply to acks=all producers needs no more than the follower's next fetch. A partition that fails
 * waits alone, longer each time; a connection that breaks is made anew, with a new session. When a
 * partition is added while the leader holds our fetch, the connection is dropped rather than
 * waiting for it (FETCHER_PATIENCE_MS).
 *
 * Threads: the loop it was given; fetcher_add(), fetcher_remove() and fetcher_stop() from the
 * control loop. Ownership: holds a reference to each of its partitions. Source: Kafka 3.9 in
 * ZooKeeper mode (AbstractFetcherThread). */
#pragma once

#include <stdatomic.h>

#include "meta/meta.h"
#include "net/net.h"
#include "partition/part.h"
#include "rt/throttle.h"

enum {
    /* So long may a held fetch keep a new partition waiting. */
    FETCHER_PATIENCE_MS = 20,
    /* The first pause after a partition or a connection failed; it doubles up to
     * replica.fetch.backoff.ms. */
    FETCHER_BACKOFF_MIN_MS = 20,
    /* So often does a throttled partition look whether it may go on: the limit may change. */
    FETCHER_THROTTLE_LOOK_MS = 500,
};

struct fetcher;

struct fetcher_options {
    struct loop *loop;
    struct net *net;
    struct meta_cell *meta;       /* where leaders are found */
    const char *listener;         /* the inter-broker one */
    const _Atomic int64_t *epoch; /* of our registration */
    struct throttle *throttle;    /* of partitions that are throttled and not in sync */
    int32_t my_id;
    int32_t leader_id;
    int32_t number;              /* among the leader's fetchers */
    int32_t wait_max_ms;         /* replica.fetch.wait.max.ms */
    int32_t min_bytes;           /* replica.fetch.min.bytes */
    int32_t response_max_bytes;  /* replica.fetch.response.max.bytes */
    int32_t partition_max_bytes; /* replica.fetch.max.bytes */
    int32_t backoff_max_ms;      /* replica.fetch.backoff.ms */
    int32_t timeout_ms;          /* replica.socket.timeout.ms */
};

/* `listener` must outlive it; the rest is copied. */
struct fetcher *fetcher_new(const struct fetcher_options *options);

/* From now on fetch `part` in this leader epoch. */
void fetcher_add(struct fetcher *fetcher, struct part *part, int32_t leader_epoch);
void fetcher_remove(struct fetcher *fetcher, struct part *part);

/* Close the connection and let the partitions go; `done` is posted to `to` when nothing is under
 * way any more. Only fetcher_free() may follow. */
void fetcher_stop(struct fetcher *fetcher, struct loop *to, struct loop_msg *done);
void fetcher_free(struct fetcher *fetcher);
