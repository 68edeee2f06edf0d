/* replicator.h: this broker's side of replication: a fetcher for each leader that it follows, and
 * the way of its own leaders' wishes to the controller.
 *
 * Threads: the control loop, except replicator_host(), whose function runs in actors.
 * Where to start reading: README.md. */
#pragma once

#include "config/config.h"
#include "partition/parts.h"
#include "replica/controller_link.h"
#include "rt/throttle.h"

struct replicator;

struct replicator_options {
    struct loop *control;
    struct loop *const *loops; /* for fetchers: a leader's first on the first, and so on; copied */
    int loops_count;
    bool spread; /* leaders' first ones, too, have different loops (api/balance.h says why not) */
    struct net *net;
    struct meta_cell *meta;
    struct parts *parts;
    const char *listener; /* the inter-broker one; must outlive it */
    const _Atomic int64_t *epoch;
    struct throttle *throttle; /* what throttled replicas fetch; must outlive it */
    int32_t my_id;
    struct peers *peers;
    struct ctl_driver *driver;
};

struct replicator *replicator_new(const struct replicator_options *options,
                                  const struct config *config);

/* Where partitions send their wishes. */
struct part_host *replicator_host(struct replicator *replicator);

/* `part` follows `leader_id` in that epoch; -1 or ourselves: it follows nobody. */
void replicator_follow(struct replicator *replicator, struct part *part, int32_t leader_id,
                       int32_t leader_epoch);

/* Other values of what may change while a broker runs. */
void replicator_configure(struct replicator *replicator, const struct config *config);

/* Look every half replica.lag.time.max.ms for followers that fell behind. */
void replicator_start(struct replicator *replicator);

/* Ask the controller to move our leaderships away before a stop. `fn` when it has, or after
 * controlled.shutdown.max.retries times controlled.shutdown.retry.backoff.ms. */
void replicator_hand_over(struct replicator *replicator, void (*fn)(void *arg), void *arg);

/* End all fetchers; `fn` when nothing is under way any more. */
void replicator_stop(struct replicator *replicator, void (*fn)(void *arg), void *arg);
void replicator_free(struct replicator *replicator);
