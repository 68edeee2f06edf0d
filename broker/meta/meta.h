/* meta.h: what this broker knows of the cluster: brokers, topics, partitions, leaders.
 *
 * An immutable, counted snapshot, replaced whole by the control loop when the controller sends an
 * update, read by every loop. Topics are counted on their own and shared between snapshots, so an
 * update costs two arrays of pointers and the topics it changes.
 *
 * Threads: struct meta_edit on the control loop only (one at a time); meta_cell_get() from any; a
 * snapshot may be read by anyone who holds it. Source: ZkMetadataCache of Kafka 3.9; UpdateMetadata
 * is a delta of partitions and the full set of live brokers. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/uuid.h"

/* The leader that says "this partition is being deleted". */
enum { META_LEADER_NONE = -1, META_LEADER_DURING_DELETE = -2 };

struct meta_endpoint {
    const char *listener; /* upper case */
    const char *host;
    int32_t port;
    int16_t security_protocol; /* 0 PLAINTEXT, 1 SSL, 2 SASL_PLAINTEXT, 3 SASL_SSL */
};

struct meta_broker {
    int32_t id;
    int64_t epoch;    /* of its registration; -1: unknown */
    const char *rack; /* NULL: none */
    const struct meta_endpoint *endpoints;
    int32_t endpoints_count;
};

struct meta_partition {
    int32_t index;
    int32_t leader; /* META_LEADER_NONE: none */
    int32_t leader_epoch;
    int32_t partition_epoch; /* data version of the state znode */
    int32_t controller_epoch;
    const int32_t *replicas;
    const int32_t *isr;
    const int32_t *offline;
    int32_t replicas_count;
    int32_t isr_count;
    int32_t offline_count;
};

/* Immutable. Partitions are sorted by index; an index may be missing while a topic is being made.
 */
struct meta_topic {
    _Atomic int32_t count;
    struct str name;
    struct uuid id; /* zero: none */
    int32_t partitions_count;
    struct meta_partition *partitions;
};

/* Immutable. */
struct meta {
    _Atomic int32_t count;
    int32_t controller_id; /* -1: unknown */
    int32_t brokers_count;
    const struct meta_broker *brokers; /* sorted by id */
    struct meta_brokers_block *block;  /* owns brokers[]; shared between snapshots */
    int32_t topics_count;
    struct meta_topic **by_name; /* sorted by name */
    struct meta_topic **by_id;   /* the topics with an id, sorted by it */
    int32_t by_id_count;
};

/* NULL when unknown. */
const struct meta_topic *meta_find(const struct meta *meta, struct str name);
const struct meta_topic *meta_find_id(const struct meta *meta, struct uuid id);
const struct meta_partition *meta_topic_partition(const struct meta_topic *topic, int32_t index);
const struct meta_broker *meta_find_broker(const struct meta *meta, int32_t id);
/* The broker's endpoint on that listener, or NULL. */
const struct meta_endpoint *meta_broker_endpoint(const struct meta_broker *broker,
                                                 const char *listener);

/* Where the current snapshot is published. */
struct meta_cell {
    pthread_mutex_t lock; /* a leaf: guards `current` against its replacement while it is counted */
    struct meta *current;
    _Atomic uint64_t generation; /* grows with every replacement */
};

void meta_cell_init(struct meta_cell *cell);
void meta_cell_fini(struct meta_cell *cell);
struct meta *meta_cell_get(struct meta_cell *cell);
void meta_put(struct meta *meta);

/* A reader's copy of the current snapshot, refreshed when the generation has moved: one atomic load
 * per request instead of a lock. Belongs to one loop. */
struct meta_reader {
    struct meta_cell *cell;
    struct meta *meta;
    uint64_t generation;
};

void meta_reader_init(struct meta_reader *reader, struct meta_cell *cell);
void meta_reader_fini(struct meta_reader *reader);
/* Valid until the next call on this reader; take meta_hold() to keep it longer. */
const struct meta *meta_reader_now(struct meta_reader *reader);
struct meta *meta_hold(const struct meta *meta);

/* One replacement under construction. */
struct meta_edit;

struct meta_edit *meta_edit_begin(struct meta_cell *cell);
void meta_edit_controller(struct meta_edit *edit, int32_t controller_id);
/* Replace all brokers; everything is copied. */
void meta_edit_brokers(struct meta_edit *edit, const struct meta_broker *brokers, int32_t count);
/* Add or replace one partition of a topic, made when missing. A zero `id` keeps the one known. */
void meta_edit_partition(struct meta_edit *edit, struct str topic, struct uuid id,
                         const struct meta_partition *partition);
/* Forget one partition; a topic goes with its last one. */
void meta_edit_remove(struct meta_edit *edit, struct str topic, int32_t partition);
/* Publish and free the edit. */
void meta_edit_commit(struct meta_edit *edit);
