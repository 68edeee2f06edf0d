/* znode.h: the JSON in Kafka's znodes <-> structs.
 *
 * Decoding is total: any bytes give a value or ERR_MALFORMED with an explanation in *msg (may be
 * NULL). Unknown keys are ignored, older versions of a format are read, numbers and lists are
 * checked for range. What is decoded lives in the arena. Encoding appends compact JSON, keys in the
 * order that Kafka's documentation of the formats gives; all text must be UTF-8 (what is not, is
 * replaced).
 *
 * Every number that Kafka writes as a string (timestamps, id blocks) is a string here too.
 * Limits: a znode of more than ZNODE_SIZE_MAX is refused before it is parsed; nesting is bounded by
 * jansson.
 *
 * Threads: any. Source of the formats: kafka.zk.ZkData, kafka.cluster.Broker, Kafka 3.9. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/bytes.h"
#include "base/err.h"
#include "base/uuid.h"

/* Kafka raises ZooKeeper's jute.maxbuffer to this; no legal node is larger. */
enum { ZNODE_SIZE_MAX = 4 << 20 };

/* A list of broker ids. */
struct znode_ids {
    const int32_t *ids;
    int32_t count;
};

/* ---- /brokers/ids/<id>: reads versions 1 to 5, writes 5. */

/* Kafka's ids of security protocols, also used on the wire. */
enum znode_security {
    ZNODE_PLAINTEXT = 0,
    ZNODE_SSL = 1,
    ZNODE_SASL_PLAINTEXT = 2,
    ZNODE_SASL_SSL = 3,
};

struct znode_endpoint {
    struct str listener; /* upper case */
    struct str host;     /* an IPv6 address without its brackets */
    int32_t port;
    enum znode_security security;
};

struct znode_broker {
    const struct znode_endpoint *endpoints;
    int32_t endpoints_count;
    int32_t jmx_port;     /* -1: none */
    int64_t timestamp_ms; /* when it registered; 0 when the node does not say */
    struct str rack;      /* null: none */
    /* "unclean_start", ours alone: its logs may lack what it had acknowledged. Written only when
     * true; the controller takes it away when no partition counts on the broker any more. */
    bool unclean;
};

/* "host" and "port" are made from the first PLAINTEXT endpoint; null and -1 without one. */
void znode_broker_encode(const struct znode_broker *broker, struct buf *out);
MUST_USE enum err znode_broker_decode(struct arena *arena, struct bytes data,
                                      struct znode_broker *broker, struct errmsg *msg);

/* "PLAINTEXT" and so on; the id of a name, or false. */
const char *znode_security_name(enum znode_security security);
bool znode_security_parse(struct str name, enum znode_security *security);

/* ---- /brokers/topics/<t>: reads versions 1 to 3, writes 3. */

struct znode_partition {
    int32_t index;
    struct znode_ids replicas; /* during a reassignment: target, then those to be removed */
    struct znode_ids adding;
    struct znode_ids removing;
};

struct znode_topic {
    struct uuid id;                           /* zero: none */
    const struct znode_partition *partitions; /* by ascending index; indexes need not be dense */
    int32_t partitions_count;
};

void znode_topic_encode(const struct znode_topic *topic, struct buf *out);
MUST_USE enum err znode_topic_decode(struct arena *arena, struct bytes data,
                                     struct znode_topic *topic, struct errmsg *msg);

/* ---- /brokers/topics/<t>/partitions/<p>/state: version 1. */

struct znode_state {
    int32_t leader; /* -1: none */
    int32_t leader_epoch;
    int32_t controller_epoch; /* of the controller that decided this */
    struct znode_ids isr;
    bool recovering; /* leader_recovery_state 1 */
    /* "eligible_replicas", ours alone: not in the ISR, but they hold everything that is committed
     * (KIP-966). Written only when there are some. */
    struct znode_ids eligible;
};

void znode_state_encode(const struct znode_state *state, struct buf *out);
MUST_USE enum err znode_state_decode(struct arena *arena, struct bytes data,
                                     struct znode_state *state, struct errmsg *msg);

/* ---- /controller (versions 1 and 2), /controller_epoch (a plain integer). */

struct znode_controller {
    int32_t broker_id;
    int64_t timestamp_ms;
    int32_t kraft_epoch; /* -1 or absent: a ZooKeeper controller */
};

void znode_controller_encode(const struct znode_controller *controller, struct buf *out);
MUST_USE enum err znode_controller_decode(struct bytes data, struct znode_controller *controller,
                                          struct errmsg *msg);
void znode_controller_epoch_encode(int32_t epoch, struct buf *out);
MUST_USE enum err znode_controller_epoch_decode(struct bytes data, int32_t *epoch,
                                                struct errmsg *msg);

/* ---- /config/<type>/<name>: version 1. All values are strings. */

struct znode_pair {
    struct str key;
    struct str value;
};

struct znode_config {
    const struct znode_pair *pairs; /* in the node's order */
    int32_t pairs_count;
};

void znode_config_encode(const struct znode_config *config, struct buf *out);
/* A node without data, or with "config" absent, is an empty configuration, as in Kafka. */
MUST_USE enum err znode_config_decode(struct arena *arena, struct bytes data,
                                      struct znode_config *config, struct errmsg *msg);

/* ---- /config/changes/config_change_<n>: reads versions 1 and 2, writes 2. */

/* `entity_path` as in "topics/foo", "brokers/<default>", "users/alice/clients/c1". Version 1 is
 * turned into such a path. */
void znode_config_change_encode(struct str entity_path, struct buf *out);
MUST_USE enum err znode_config_change_decode(struct arena *arena, struct bytes data,
                                             struct str *entity_path, struct errmsg *msg);

/* ---- /cluster/id: version "1" (a string). */

void znode_cluster_id_encode(struct str id, struct buf *out);
MUST_USE enum err znode_cluster_id_decode(struct arena *arena, struct bytes data, struct str *id,
                                          struct errmsg *msg);

/* ---- /latest_producer_id_block: version 1. */

struct znode_producer_block {
    int32_t broker_id;
    int64_t first; /* "block_start" */
    int64_t last;  /* "block_end", inclusive; the block is [first, last] */
};

void znode_producer_block_encode(const struct znode_producer_block *block, struct buf *out);
MUST_USE enum err znode_producer_block_decode(struct bytes data, struct znode_producer_block *block,
                                              struct errmsg *msg);

/* ---- /feature: version 2, status 1, no finalized features: what a ZooKeeper cluster has. */

void znode_feature_encode(struct buf *out);

/* ---- /admin/preferred_replica_election and /admin/reassign_partitions: version 1. */

struct znode_tp {
    struct str topic;
    int32_t partition;
    struct znode_ids replicas; /* reassignment only */
};

struct znode_tps {
    const struct znode_tp *items;
    int32_t count;
};

void znode_preferred_encode(const struct znode_tps *tps, struct buf *out);
MUST_USE enum err znode_preferred_decode(struct arena *arena, struct bytes data,
                                         struct znode_tps *tps, struct errmsg *msg);
void znode_reassign_encode(const struct znode_tps *tps, struct buf *out);
MUST_USE enum err znode_reassign_decode(struct arena *arena, struct bytes data,
                                        struct znode_tps *tps, struct errmsg *msg);

/* ---- /log_dir_event_notification/log_dir_event_<n>: version 1, event 1 (a directory failed). */

void znode_log_dir_event_encode(int32_t broker_id, struct buf *out);
MUST_USE enum err znode_log_dir_event_decode(struct bytes data, int32_t *broker_id,
                                             struct errmsg *msg);
