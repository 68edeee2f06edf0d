/* sim.h: a whole cluster in one thread: brokers, ZooKeeper, network, disks, clients, and the
 * scheduler that decides from a seed what happens next.
 *
 *   - sim_run.c: one run from a seed: set up, safety phase with faults, liveness phase, audit
 *   - sim_sched.c: picks the next of all loops, worker pools and events
 *   - sim_node.c: a broker: start, crash, restart, stop
 *   - sim_client.c: connections and requests of a simulated client; sim_producer.c, sim_consumer.c
 *   - sim_model.c: what clients were told, and the checks against it; sim_watch.c: what brokers
 *     show of themselves; sim_commit.c: what is committed; sim_audit.c: disks at the end
 *   - sim_faults.c: what goes wrong, and when
 *
 * A simulation owns everything below it and touches nothing outside; several may exist, but only
 * one thread at a time may run one. */
#pragma once

#include "base/list.h"
#include "base/rng.h"
#include "sim_bugs.h"
#include "sim_disk.h"
#include "sim_hop.h"
#include "sim_net.h"
#include "sim_time.h"
#include "sim_trace.h"
#include "sim_zk.h"
#include "zk/zk_mem.h"

enum {
    SIM_NODES_MAX = 5,
    SIM_CLIENTS_MAX = 32,
    SIM_PARTS_MAX = 24,
    SIM_OFFSETS_PARTS = 2,
    SIM_LOOPS_MAX = 4
};

struct server;
struct config;
struct sim_model;
struct sim_watch;
struct sim_commit;
struct sim_control;
struct sim_faults;
struct sim_client;
struct sim_group;

/* What a run looks like; drawn from the seed by sim_options_draw(). */
struct sim_options {
    uint64_t seed;
    enum sim_bug bug;
    int nodes_count;
    int topics_count;
    int partitions_count; /* per topic */
    bool grows;           /* topics have one partition at first */
    int producers_count;
    int records_per_producer;
    int members_count; /* of a consumer group */
    bool restless;     /* they join again and again */
    int admin_cycles;  /* topics made and deleted meanwhile */
    int lives;         /* of a topic that is made anew under its name, with records in it */
    int moves;         /* of partitions to other brokers, and cancellations of them */
    int trims;         /* so often records of a partition are deleted */
    int retention_ms;  /* log.retention.ms; 0: for ever */
    bool relapses; /* crashes at delicate moments: when names change, or when it has just started
                      again */
    int64_t faults_ns;    /* length of the safety phase */
    uint32_t faults;      /* of enum sim_fault, one bit each */
    int64_t fault_gap_ns; /* on average between two faults */
    bool replicated;      /* topics get several replicas (of which one leads and holds the data) */
    int replicas_count;   /* 1 unless replicated */
    int min_insync;       /* min.insync.replicas */
    int lag_ms;           /* replica.lag.time.max.ms */
    bool flush;           /* log.flush.interval.messages=1: nothing acknowledged may be lost */
    int loops_count;      /* network loops of each broker */
    uint64_t hop_one_in;  /* so often a connection that was served goes to another; 0: never */
    int idle_max_ms;      /* connections.max.idle.ms */
    bool slow;            /* weights of the scheduler differ much */
    bool print_ghosts;    /* what is left of a broker after its end, too */
    bool print_zk;        /* every operation on ZooKeeper, too */
    FILE *print;          /* every line of the trace; NULL: none */
    FILE *tail;           /* the last lines of a run that failed; NULL: none */
};

enum sim_node_state {
    NODE_DOWN,
    NODE_STARTING,
    NODE_UP,
    NODE_STOPPING,
};

/* One broker's machine. */
struct sim_node {
    struct sim *sim;
    int id; /* broker.id: 1, 2, ... */
    char name[24];
    enum sim_node_state state;
    int lives;            /* starts so far */
    struct fs_sim *image; /* outlives the lives */
    struct sim_disk disk; /* of this life */
    struct sim_zk zk;
    struct sim_clock clock;
    struct sim_hop hop;
    struct server *server; /* NULL when down */
    bool died;             /* in the middle of a turn: the scheduler clears it away */
    bool stopped;          /* the orderly stop is through */
    bool start_failed;
    bool disk_is_bad; /* now: it may fail to start */
    bool gave_up;     /* its server says that it cannot go on */
    char start_text[512];
    bool crashed;        /* the life before ended so */
    bool power_was_lost; /* since the last start that got through */
    int boots;           /* of the machine: its power was lost so often */
    char boot_id[32];
    struct sim_event again; /* starts it again */
};

/* Something that the scheduler can run. */
struct sim_actor {
    struct loop *loop; /* or */
    struct worker_pool *pool;
    struct sim_node *node; /* NULL: a client's */
    uint32_t tag;          /* says which, in the trace's hash */
};

struct sim {
    struct sim_options options;
    struct sim_time time;
    struct rng rng; /* of the scheduler and the set-up */
    struct sim_trace trace;
    struct sim_net *net;
    struct zk_mem *zk;
    struct sim_clock *zk_clock;
    struct sim_node nodes[SIM_NODES_MAX];
    struct sim_client *clients[SIM_CLIENTS_MAX];
    int clients_count;
    struct sim_model *model;
    struct sim_watch *watch;
    struct sim_commit *commit;
    struct sim_group *group;
    struct sim_faults *faults;
    struct sim_control *control;
    struct sim_event zk_tick;
    /* Until then these rest (paused by a fault), by tag. */
    int64_t paused_until_ns[256];
    uint8_t weights[256];
    const char *speaking; /* whose code runs: for the log lines */
    uint64_t steps;
    uint64_t hops;         /* connections that have gone to another loop */
    int64_t calm_since_ns; /* when the faults ended; 0: not yet */
    bool zk_down;          /* new sessions are not connected */
    bool ending;           /* brokers that are down stay down */
    bool failed;
    char failure[1024];
};

/* The run has shown a bug; the first counts. */
void sim_fail(struct sim *sim, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* ---- sim_sched.c */

/* One step: a turn of one loop, one piece of work, one event; or time moves on to the next. */
void sim_step(struct sim *sim);

/* Step until `done` or the time is over; false in the latter case and when the run has failed. */
bool sim_until(struct sim *sim, int64_t limit_ns, bool (*done)(struct sim *sim));

/* A node's loops and pool do nothing until then. */
void sim_pause_node(struct sim *sim, struct sim_node *node, int64_t until_ns);
void sim_pause_pool(struct sim *sim, struct sim_node *node, int64_t until_ns);
void sim_resume_all(struct sim *sim);

/* ---- sim_node.c */

void sim_node_init(struct sim_node *node, struct sim *sim, int id);
void sim_node_fini(struct sim_node *node);
void sim_node_start(struct sim_node *node);

/* The process ends, or the power: now, or in the middle of what it does when it has made
 * `after_changes` more changes to its disk. */
void sim_node_crash(struct sim_node *node, bool power);
void sim_node_crash_later(struct sim_node *node, bool power, int64_t after_changes);

/* It is down, and starts again after so long, unless the run is at its end. */
void sim_node_return(struct sim_node *node, int64_t after_ms);

/* A clean stop: state is NODE_DOWN when it is through. */
void sim_node_stop(struct sim_node *node);

/* After every step that ran on the node: has it died, stopped, failed to start? */
void sim_node_settle(struct sim_node *node);

/* Whose code runs; NULL: no broker's. */
struct sim_node *sim_speaking_node(struct sim *sim);

/* NULL when there is no such broker. */
struct sim_node *sim_node_by_id(struct sim *sim, int id);

/* ---- sim_run.c */

struct sim_result {
    bool failed;
    char failure[1024];
    uint64_t hash;
    uint64_t steps;
    int64_t simulated_ns;
    int64_t acked;    /* records */
    int64_t consumed; /* records */
    uint64_t hops;    /* of connections between loops */
    int faults;
    int crashes;
};

void sim_options_draw(struct sim_options *options, uint64_t seed);

/* Make it a run in which a group rebalances all the time, and little else happens. */
void sim_options_group(struct sim_options *options);

/* Two brokers that need each other: what is acknowledged is on both, and on no disk yet. */
void sim_options_pair(struct sim_options *options);

/* Disks that must bear it alone: nothing has a replica, everything is deleted soon, and machines
 * fail when names change. */
void sim_options_disks(struct sim_options *options);

/* After changes by hand: leave out what does not go together. */
void sim_options_settle(struct sim_options *options);

/* A cluster that starts, without any phase: for tests that lead it by hand. */
struct sim *sim_new(const struct sim_options *options);
void sim_free(struct sim *sim);

/* All phases. */
void sim_run(const struct sim_options *options, struct sim_result *result);

/* For who prints what happened when the program is about to die in a run. */
struct sim *sim_running(void);
