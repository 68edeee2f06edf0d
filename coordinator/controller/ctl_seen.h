/* ctl_seen.h: which write of a topic's node the machine knows of, by ZooKeeper's transaction id.
 *
 * A watch fires for our own writes, too. Reading a topic means reading the state of all its
 * partitions; while thousands of them move, each with writes of its own, that is not done for what
 * is known already.
 *
 * Threads: the loop. Embedded in ctl_io. Zero-initialised it is empty. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"

struct ctl_seen_topic;

struct ctl_seen {
    struct ctl_seen_topic *topics;
};

void ctl_seen_note(struct ctl_seen *seen, struct str topic, int64_t mzxid);
bool ctl_seen_is(const struct ctl_seen *seen, struct str topic, int64_t mzxid);
void ctl_seen_forget(struct ctl_seen *seen, struct str topic);
void ctl_seen_clear(struct ctl_seen *seen);
