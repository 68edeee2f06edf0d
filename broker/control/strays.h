/* strays.h: copies of partitions that are not this broker's any more.
 *
 * A broker that is taken out of a partition's replicas is told to delete its copy. It may miss
 * that: it was down, or the controller changed in between, and the next one does not know who was a
 * replica once. But the metadata names the replicas of every partition, and all of it is told anew
 * after either; so what a broker has and is not among the replicas of is found here.
 *
 * A log is a stray when the metadata speaks of its partition, and
 *   - it is of the same topic (by id), others lead it and are in sync, and we are neither among its
 *     replicas nor in its ISR; or its topic is being deleted, and we are not among its replicas; or
 *   - the topic of that name has another id by now, and we are not among its replicas. (Where we
 *     are, LeaderAndIsr finds the old log; see replicas.c.) Mostly ours was deleted; but ZooKeeper
 *     may have lost it, and somebody made it anew: records are not deleted then, but set aside.
 * A log of which nobody speaks stays: it may be all that is left. Likewise one with records that
 * has no topic id.
 *
 * Threads: the control loop. */
#pragma once

#include "base/arena.h"
#include "control/control.h"
#include "log/logs.h"

/* What is to be stopped, and deleted or set aside, here after this message, in `arena`; NULL:
 * nothing. */
const Barnabas__Control__StopReplica *strays_find(struct arena *arena, struct logs *logs,
                                                  int32_t broker_id,
                                                  const Barnabas__Control__UpdateMetadata *update);
