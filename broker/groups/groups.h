/* groups.h: group coordinators, one per partition of __consumer_offsets that this broker leads.
 *
 * Each lives in the actor of its partition: a request is posted there, runs to completion, and its
 * answer comes back to the client's loop. Loading reads the partition's log on a worker, chunk by
 * chunk, and feeds it to the machine in the actor.
 *
 * Threads: groups_attach() on the control loop; group_call_submit() on a network loop;
 * everything else in the partitions' actors. */
#pragma once

#include "group/group_driver.h"
#include "partition/parts.h"
#include "rt/worker.h"

struct groups;

/* The most that is read of a log at once while loading, whatever offsets.load.buffer.size allows:
 * larger chunks would only hold the actor longer. */
enum { GROUPS_LOAD_CHUNK_BYTES = 1 << 20 };

struct groups_options {
    struct grp_config config;
    struct worker_pool *workers;
    struct loop *loop;       /* where timers and completions of loading run */
    int32_t load_bytes;      /* offsets.load.buffer.size */
    size_t memory_bytes_max; /* of all coordinators together, as grp_config.memory_bytes_max of one;
                                0: none */
    uint64_t seed;
};

struct groups *groups_new(const struct groups_options *options);

/* After every partition has been closed: `fn` on `options.loop` when no chunk is with a worker any
 * more. Nothing may be led again. */
void groups_stop(struct groups *groups, void (*fn)(void *arg), void *arg);
void groups_free(struct groups *groups);

/* A replica of __consumer_offsets has come to this broker: give it a coordinator, which wakes up
 * when the partition becomes leader and dies with it. */
void groups_attach(struct groups *groups, struct part *part);

/* How many partitions __consumer_offsets has; 0 while that is not known: then no group has a place.
 * Set on the control loop, read from any. */
void groups_set_partitions_count(struct groups *groups, int32_t count);
int32_t groups_partitions_count(const struct groups *groups);

/* A topic is gone from the cluster: the coordinators here forget its offsets. On the control loop.
 */
void groups_topic_deleted(struct parts *parts, struct str topic);

/* One request to one coordinator. Embedded in the caller's own struct; lives until `done`. */
struct group_call {
    struct actor_msg msg;
    struct grp_event event; /* borrowed memory of it lives until `kept` or `done` */
    struct part *part;
    struct loop *loop;
    struct loop_msg done_msg;
    struct loop_msg kept_msg;
    struct arena arena; /* the answer is copied here in the actor */
    /* In the actor: copy what is needed of the reply into call->arena. */
    void (*copy)(struct group_call *call, const struct grp_reply *reply);
    /* On `loop`, before `done`, when the request waits for others; perhaps NULL. From then on the
     * memory of `event` is not needed. */
    void (*kept)(struct group_call *call);
    /* On `loop`. The arena is the callee's to free (arena_fini). */
    void (*done)(struct group_call *call);
};

/* The partition is referenced until `done`. When it has no coordinator, the reply says
 * NOT_COORDINATOR. */
void group_call_submit(struct part *part, struct group_call *call);
