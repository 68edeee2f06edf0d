/* new_topics.h: the configuration of topics that are new to this broker, read before their logs are
 * made, and when it hears of them.
 *
 * A topic's configuration is written to ZooKeeper before the topic, and nobody is notified: whoever
 * makes a log reads it, as Kafka's brokers do. From then on change notifications keep it current.
 *
 * What is known of a topic's name may be what a deleted topic of that name had: its configuration
 * goes after its deletion was told, and until then a notification, or a read that was under way,
 * brings it back. So a topic that appears is read in any case.
 *
 * Threads: the control loop. */
#pragma once

#include "base/err.h"
#include "control/control.h"
#include "meta/meta.h"

struct broker;

/* An error: the ZooKeeper session ended meanwhile. */
typedef void new_topics_fn(void *arg, enum err err);

/* Read what is needed for the request's partitions that have no log here yet. `fn` is called from
 * inside when nothing is. `request` must live until then. */
void new_topics_read(struct broker *broker, const Barnabas__Control__LeaderAndIsr *request,
                     new_topics_fn *fn, void *arg);

/* After an UpdateMetadata has been applied: read what its topics were created with, for the
 * controller in this broker wants to know, whether or not a replica is to live here. `before`: what
 * this broker knew; NULL: not everything yet, and what the session began with is as new. */
void new_topics_heard(struct broker *broker, const struct meta *before,
                      const Barnabas__Control__UpdateMetadata *update);
