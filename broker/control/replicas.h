/* replicas.h: the partitions that live on this broker: made, led, followed, stopped, deleted, and
 * given their configuration.
 *
 * Threads: the control loop. What concerns one partition is posted to its actor and reported back.
 */
#pragma once

#include "config/topic_config.h"
#include "control/control.h"
#include "log/logs.h"

struct broker;
struct replicas;
struct upkeep;

/* `response` is borrowed for the call. */
typedef void replicas_done_fn(void *arg, Barnabas__Control__Response *response);

struct replicas *replicas_new(struct broker *broker);
void replicas_free(struct replicas *replicas);

/* Partitions that live here and are of an earlier topic, whose name the request gives to another
 * one: to be stopped before it is carried out, and their logs set aside. In `arena`; NULL: there is
 * none. */
const Barnabas__Control__StopReplica *
replicas_find_former(struct replicas *replicas, struct arena *arena,
                     const Barnabas__Control__LeaderAndIsr *request);

/* One request at a time: the next only after `fn`. */
void replicas_lead(struct replicas *replicas, const Barnabas__Control__LeaderAndIsr *request,
                   replicas_done_fn *fn, void *arg);
void replicas_stop(struct replicas *replicas, const Barnabas__Control__StopReplica *request,
                   replicas_done_fn *fn, void *arg);

/* What is done for the logs now and then. */
struct upkeep *replicas_upkeep(struct replicas *replicas);

/* The configuration of a topic (null: of every topic) has changed. */
void replicas_configure(struct replicas *replicas, struct str topic);

/* A log directory went offline: so do the partitions in it. */
void replicas_dir_failed(struct replicas *replicas, const char *dir);

/* For logs_checkpoint() and logs_close(). */
int64_t replicas_high_watermark(void *arg, struct logs_entry *entry);
