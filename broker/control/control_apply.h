/* control_apply.h: what this broker does when the controller speaks.
 *
 * LeaderAndIsr makes and leads (or follows) partitions, StopReplica stops and deletes them,
 * UpdateMetadata replaces what clients are told. Requests of a deposed controller and those meant
 * for an earlier life of this broker are refused as Kafka does: STALE_CONTROLLER_EPOCH,
 * STALE_BROKER_EPOCH. Until this life is registered, it cannot tell, and they wait.
 *
 * Threads: the control loop. Source: Kafka 3.9 in ZooKeeper mode. */
#pragma once

#include "api/broker.h"
#include "base/bytes.h"
#include "base/err.h"

struct control_apply;
struct replicas;

/* `on_metadata` is called after each new snapshot of the metadata, with the registration
 * in which we have now been told everything, or -1 when more is to come. */
struct control_apply *control_apply_new(struct broker *broker,
                                        void (*on_metadata)(void *arg, int64_t broker_epoch),
                                        void *arg);
void control_apply_free(struct control_apply *apply);

/* For a stop: no request is carried out from now on, all are refused, but for what clients are to
 * be told (UpdateMetadata). `fn` when none is with the partitions any more, maybe from inside. */
void control_apply_stop(struct control_apply *apply, void (*fn)(void *arg), void *arg);

/* The replicas of this broker. */
struct replicas *control_apply_replicas(struct control_apply *apply);

/* The epoch of our registration: requests made for an older one are refused. */
void control_apply_set_broker_epoch(struct control_apply *apply, int64_t broker_epoch);

/* Answer one packed request from a controller; exactly one reply, from inside the call or later.
 * Requests are worked off one after the other: a later one starts when the one before has been
 * answered. */
void control_apply_request(struct control_apply *apply, struct bytes request, control_reply_fn *fn,
                           void *arg);
