/* fetch_nearest.h: consumers read from the replica that is nearest to them (KIP-392).
 *
 * Where replica.selector.class says so, the leader answers a consumer that names another rack than
 * the leader's with "read from that follower": an in-sync one in the consumer's rack, alive, with a
 * listener as the consumer's, that has the record. The consumer asks there from then on, and comes
 * back now and then. Followers serve up to their own high watermark.
 *
 * Threads: the client's loop; who is in sync is asked in the partitions' actors, and only where the
 * metadata has a candidate. Source: Kafka 3.9, RackAwareReplicaSelector. */
#pragma once

#include "api/fetch_read.h"

struct fetch_nearest {
    void (*done)(struct fetch_nearest *nearest);
    int32_t left; /* partitions not yet answered, plus one while they are being asked */
    bool found;   /* some partition is better read elsewhere */
};

/* Does this broker send consumers to the nearest replica? */
bool fetch_nearest_enabled(struct req *req);

/* Look for a better replica for each partition that was read: its `preferred` is set, and what was
 * read is let go. `done` when all have been asked; false, and nothing is started, when there is
 * nothing to ask. */
bool fetch_nearest_start(struct fetch_nearest *nearest, struct req *req, struct fetch_read *reads,
                         int32_t count, void (*done)(struct fetch_nearest *nearest));
