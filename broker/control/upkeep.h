/* upkeep.h: what a broker does for its logs now and then: retention, checkpoints, syncs of records
 * that have waited for flush.ms, removal of what was deleted.
 *
 * Each has a timer; the last two only run when there is something to do.
 *
 * Threads: the control loop. What concerns one partition is posted to its actor. */
#pragma once

#include "config/topic_config.h"

struct broker;
struct replicas;
struct upkeep;

struct upkeep *upkeep_new(struct broker *broker, struct replicas *replicas);
void upkeep_free(struct upkeep *upkeep);

void upkeep_start(struct upkeep *upkeep);
void upkeep_stop(struct upkeep *upkeep);

/* A partition has this configuration now: how often are syncs to be looked for? */
void upkeep_heard(struct upkeep *upkeep, const struct topic_config *config);

/* Something was put aside, to be removed after a while. */
void upkeep_put_aside(struct upkeep *upkeep);
