/* moves.h: replicas that change their log directory (AlterReplicaLogDirs).
 *
 * Limits: as many at once as `at_once` says, the others wait in line; one per partition.
 *
 * Threads: the control loop. Source: Kafka 3.9 in ZooKeeper mode
 * (ReplicaManager.alterReplicaLogDirs, ReplicaAlterLogDirsThread). Where to start reading:
 * README.md. */
#pragma once

#include "log/logs.h"
#include "partition/parts.h"
#include "rt/throttle.h"
#include "topics/topic_configs.h"

struct moves;

struct moves_options {
    struct loop *control;
    struct loop *const *loops; /* all that read partitions; copied */
    int loops_count;
    struct worker_pool *workers;
    struct logs *logs;
    struct parts *parts;
    struct topic_configs *topic_configs;
    struct throttle *throttle; /* of what is copied */
    int32_t at_once;
};

struct moves *moves_new(const struct moves_options *options);

/* None may be under way: see moves_stop(). */
void moves_free(struct moves *moves);

/* The replica is to be in `dir`. It may be there, or on its way there or elsewhere: then it takes
 * another way. As Kafka answers: ERR_INVALID_TOPIC_EXCEPTION (no directory can have so long a
 * name), ERR_LOG_DIR_NOT_FOUND (not one of log.dirs), ERR_KAFKA_STORAGE_ERROR (that directory, or
 * the replica's own, has failed), ERR_REPLICA_NOT_AVAILABLE (not here: remembered for when it is
 * made; or here and not told its role yet: to be asked again). */
MUST_USE enum err moves_request(struct moves *moves, struct str topic, int32_t index,
                                struct str dir);

/* The partition has been told its role: go on with a move that an earlier run has begun. */
void moves_resume(struct moves *moves, struct str topic, int32_t index);

/* A log directory has failed. */
void moves_dir_failed(struct moves *moves, const char *dir);

/* Begin nothing more, and call `fn` when nothing is under way. What is not finished is gone on with
 * at the next start. */
void moves_stop(struct moves *moves, void (*fn)(void *arg), void *arg);
