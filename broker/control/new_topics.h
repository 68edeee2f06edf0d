/* new_topics.h: the configuration of topics that are new to this broker, read before their logs are
 * made.
 *
 * A topic's configuration is written to ZooKeeper before the topic, and nobody is notified: whoever
 * makes a log reads it, as Kafka's brokers do. From then on change notifications keep it current.
 *
 * Threads: the control loop. */
#pragma once

#include "base/err.h"
#include "control/control.h"

struct broker;

/* An error: the ZooKeeper session ended meanwhile. */
typedef void new_topics_fn(void *arg, enum err err);

/* Read what is needed for the request's partitions that have no log here yet. `fn` is called from
 * inside when nothing is. `request` must live until then. */
void new_topics_read(struct broker *broker, const Barnabas__Control__LeaderAndIsr *request,
                     new_topics_fn *fn, void *arg);
