/* sim_disk.h: what one life of a broker sees of its disk.
 *
 * Stands between the broker and the file system that outlives it (fs_sim). It can end that life in
 * the middle of a turn: at the k-th operation the disk is as it is at that moment, everything later
 * says ERR_IO and changes nothing, and on_end() sees to it that network and ZooKeeper take nothing
 * any more either (sim_node.c). What a broker would still do after its end never happens.
 *
 * Threads: one. */
#pragma once

#include "base/list.h"
#include "base/rng.h"
#include "fs/fs.h"
#include "fs/fs_sim.h"
#include "sim_time.h"

struct sim_disk {
    struct fs fs; /* first: what the broker gets */
    struct fs_sim *image;
    const struct sim_time *time;
    bool dead;
    bool power_lost; /* how: with the page cache */
    int64_t dies_in; /* operations that change something, until the end; -1: none is planned */
    bool dies_with_power;
    /* A life may end soon after a name was made or changed; so often, 0: never. */
    uint64_t fragile_one_in;
    bool fragile_power;        /* half of these take the power, too */
    void (*on_end)(void *arg); /* at once, from inside the operation */
    void *arg;
    uint64_t changes; /* operations that changed something */
    /* Every operation costs its caller this much time, and until then all the time that is left:
     * the scheduler lets it stand still (sim_sched.c). */
    int64_t cost_ns;
    int64_t hangs_until_ns;
    int64_t owed_ns;
    bool cold; /* a third of what is read is not in memory: loops must not wait for it */
    struct rng rng;
    bool watched;     /* the simulator itself reads: that costs nothing and does not fail */
    int64_t fails_in; /* writes and reads until one says ERR_IO; -1: none is planned */
    /* A broken broker (sim_bugs.h): it acknowledges what is still in its own memory. */
    int64_t buffered_ns;  /* how long; 0: not broken */
    struct list buffered; /* of struct buffered_write */
};

void sim_disk_init(struct sim_disk *disk, struct fs_sim *image, const struct sim_time *time);

/* The life is over: the process (the page cache stays) or the power. */
void sim_disk_end(struct sim_disk *disk, bool power);

/* All files must be closed. */
void sim_disk_fini(struct sim_disk *disk);
