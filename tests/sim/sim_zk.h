/* sim_zk.h: ZooKeeper as one broker's machine sees it.
 *
 * Passes everything to the ensemble in memory (zk_mem), and looks at what goes by: every write of a
 * partition's state is held against the rules of fencing (sim_watch.h). When the machine dies its
 * session loses its connection, so that the ensemble ends it after its timeout.
 *
 * Threads: one. */
#pragma once

#include "base/list.h"
#include "zk/zk.h"
#include "zk/zk_mem.h"

struct sim_node;

struct sim_zk {
    struct zk_factory factory; /* first */
    struct sim_node *node;
    struct list sessions; /* of struct sim_session that are open */
    bool dead;
    /* Called once, behind the machine's next operation (or multi). NULL: not. */
    void (*stumble)(void *arg, struct sim_node *node);
    bool stumble_at_multi;
    void *arg;
};

void sim_zk_init(struct sim_zk *zk, struct sim_node *node);

/* The session's id, or 0 while there is none. */
int64_t sim_zk_session_id(const struct sim_zk *zk);

/* The machine is gone. */
void sim_zk_end(struct sim_zk *zk);
