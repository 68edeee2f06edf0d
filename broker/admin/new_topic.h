/* new_topic.h: what a topic that is to be created will be: its replicas and its configuration,
 * worked out and checked by the rules of Kafka's controller.
 *
 * In two halves, since between them the caller looks at the topics that exist: Kafka reports a bad
 * name or an impossible placement before a topic that exists already, a bad assignment or
 * configuration after.
 *
 * Threads: the control loop. Source: Kafka 3.9 in ZooKeeper mode. */
#pragma once

#include "admin/admin_service.h"
#include "config/topic_config.h"

/* A topic of more would not fit into its znode (1 MiB). */
enum { NEW_TOPIC_PARTITIONS_MAX = 50000 };

struct new_topic_assignment {
    int32_t index;
    const int32_t *ids;
    int32_t ids_count;
};

/* As a client asks for it. */
struct new_topic_wish {
    struct str name;
    int32_t partitions_count;   /* -1: the default */
    int32_t replication_factor; /* -1: the default */
    const struct new_topic_assignment *assignments;
    int32_t assignments_count; /* 0: place them */
    const struct znode_pair *configs;
    int32_t configs_count;
};

/* Place the replicas, check the name. Everything in *out is in the arena or the wish's; its id is
 * random. INVALID_CONFIG (a null value), INVALID_REQUEST, INVALID_PARTITIONS,
 * INVALID_REPLICATION_FACTOR, INVALID_TOPIC_EXCEPTION. */
MUST_USE enum err new_topic_plan(struct admin_service *service, struct arena *arena,
                                 const struct meta *meta, const struct config *config,
                                 const struct new_topic_wish *wish, struct admin_topic *out,
                                 struct errmsg *msg);

/* May it be created beside these (sorted)? TOPIC_ALREADY_EXISTS, INVALID_TOPIC_EXCEPTION (only '.'
 * and '_' differ from another's name). */
MUST_USE enum err new_topic_check_name(struct str name, const struct str *existing, int32_t count,
                                       struct errmsg *msg);

/* The assignment and the configuration. INVALID_REPLICA_ASSIGNMENT, INVALID_CONFIG. */
MUST_USE enum err new_topic_check(struct arena *arena, const struct admin_topic *topic,
                                  struct errmsg *msg);
