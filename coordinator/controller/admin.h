/* admin.h: what a broker writes to ZooKeeper on behalf of clients: topics, configurations, id
 * blocks.
 *
 * Asynchronous; each function calls back exactly once, from the loop, never from inside the call.
 * Lost connections are waited out: an operation whose outcome was unknown is repeated and
 * recognises its own earlier success. When the session ends first: ERR_ZK_SESSION_EXPIRED or
 * ERR_CLOSED (tell the client something retriable). Arguments are copied. What is written here is
 * not fenced by the controller's epoch, as in Kafka: any broker may do it, and the controller sees
 * it by its watches.
 *
 * Threads: the loop. Validation of names, counts and configurations is the caller's. */
#pragma once

#include "rt/loop.h"
#include "zk/zk.h"
#include "znode/znode.h"

struct admin;

struct admin *admin_new(struct loop *loop);

/* The session to work in; NULL between sessions (operations then fail with ERR_ZK_SESSION_EXPIRED;
 * those under way are told so at once). */
void admin_set_session(struct admin *admin, struct zk *zk);
void admin_free(struct admin *admin);

/* `text` explains an error to the client; "" without one. */
typedef void admin_done_fn(void *arg, enum err err, const char *text);

struct admin_topic {
    struct str name;
    struct uuid id;
    const struct znode_partition *partitions; /* indexes 0..count-1, no adding, no removing */
    int32_t partitions_count;
    struct znode_config config;
};

/* The topic's configuration and the topic itself, in one step: both are there, or neither changed.
 * The controller then makes its partitions. ERR_TOPIC_ALREADY_EXISTS, also while it is being
 * deleted. */
void admin_create_topic(struct admin *admin, const struct admin_topic *topic, admin_done_fn *fn,
                        void *arg);

/* Mark it for deletion; the controller deletes it. Marked already is success.
 * ERR_UNKNOWN_TOPIC_OR_PARTITION. */
void admin_delete_topic(struct admin *admin, struct str topic, admin_done_fn *fn, void *arg);

/* Add partitions with these replicas; the first gets index `count_before`. ERR_INVALID_PARTITIONS
 * when the topic has another number of partitions than that by now; ERR_UNKNOWN_TOPIC_OR_PARTITION;
 * ERR_INVALID_TOPIC_EXCEPTION while it is being deleted; ERR_REASSIGNMENT_IN_PROGRESS. */
void admin_create_partitions(struct admin *admin, struct str topic, int32_t count_before,
                             const struct znode_ids *replicas, int32_t added_count,
                             admin_done_fn *fn, void *arg);

/* `version` of the node, -1 when there is none (then `config` is empty). */
typedef void admin_config_fn(void *arg, enum err err, const struct znode_config *config,
                             int32_t version);

/* `type` is "topics" or "brokers" ("users", ...); `name` an entity of it or PATH_DEFAULT_ENTITY. */
void admin_read_config(struct admin *admin, const char *type, struct str name, admin_config_fn *fn,
                       void *arg);

/* Replace an entity's configuration and notify all brokers. `version` is what admin_read_config()
 * gave, or -2 for whatever is there. ERR_ZK_BAD_VERSION: somebody else was faster, read again. */
enum { ADMIN_VERSION_ANY = -2 };
void admin_write_config(struct admin *admin, const char *type, struct str name,
                        const struct znode_config *config, int32_t version, admin_done_fn *fn,
                        void *arg);

struct admin_entity {
    struct str name;
    struct znode_config config;
};

typedef void admin_configs_fn(void *arg, enum err err, const struct admin_entity *entities,
                              int32_t count);

/* Every entity of a type, sorted by name: what a broker needs before it loads its logs. A node that
 * cannot be parsed counts as empty, with a line in the log. */
void admin_read_configs(struct admin *admin, const char *type, admin_configs_fn *fn, void *arg);

/* `names` sorted; borrowed for the call. */
typedef void admin_names_fn(void *arg, enum err err, const struct str *names, int32_t count);

/* Names of all topics, from ZooKeeper (the metadata cache may lag). */
void admin_read_topics(struct admin *admin, admin_names_fn *fn, void *arg);

typedef void admin_topic_fn(void *arg, enum err err, const struct znode_topic *topic);

/* One topic's node as it is now. ERR_UNKNOWN_TOPIC_OR_PARTITION. */
void admin_read_topic(struct admin *admin, struct str topic, admin_topic_fn *fn, void *arg);

/* Tell the controller that log directories of this broker have failed. `fn` when it is written. */
void admin_report_dir_failure(struct admin *admin, int32_t broker_id, admin_done_fn *fn, void *arg);

typedef void admin_producer_ids_fn(void *arg, enum err err, int64_t first, int64_t count);

/* A block of producer ids that nobody else has: [first, first + count). */
enum { ADMIN_PRODUCER_BLOCK = 1000 };
void admin_allocate_producer_ids(struct admin *admin, int32_t broker_id, admin_producer_ids_fn *fn,
                                 void *arg);
