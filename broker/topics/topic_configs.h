/* topic_configs.h: the values that topics set for themselves, and the dynamic values of brokers, as
 * ZooKeeper has them.
 *
 * Threads: changed on the control loop; topic_configs_get() and topic_configs_pairs() from any (a
 * lock that nobody holds for long; not on the path of records). */
#pragma once

#include "config/topic_config.h"
#include "znode/znode.h"

struct topic_configs;

struct topic_configs *topic_configs_new(struct config_cell *config);
void topic_configs_free(struct topic_configs *configs);

/* A topic's own values are now these, maybe none: from now on they are known. */
void topic_configs_set(struct topic_configs *configs, struct str topic,
                       const struct config_pair *pairs, int count);

/* The same, from the topic's znode. */
void topic_configs_take(struct topic_configs *configs, struct str topic,
                        const struct znode_config *config);

/* Have its values been set since it was last forgotten? What a topic was created with is read once,
 * then changes are heard of. */
bool topic_configs_known(struct topic_configs *configs, struct str topic);

/* The topic was deleted. */
void topic_configs_forget(struct topic_configs *configs, struct str topic);

/* Every topic that has values of its own; not to be called back from inside. */
typedef void topic_configs_fn(void *arg, struct str topic, const struct config_pair *pairs,
                              int count);
void topic_configs_each(struct topic_configs *configs, topic_configs_fn *fn, void *arg);

/* The configuration in force. */
void topic_configs_get(struct topic_configs *configs, struct str topic, struct topic_config *out);

/* Which throttles its own values name for this broker's replica of a partition. */
void topic_configs_throttled(struct topic_configs *configs, struct str topic, int32_t index,
                             int32_t broker_id, bool *leader, bool *follower);

/* A copy of a topic's own values; the names and values are in one block with the array (mem_free).
 */
struct config_pair *topic_configs_pairs(struct topic_configs *configs, struct str topic,
                                        int *count);
