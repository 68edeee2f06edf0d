/* admin_service.h: what a broker does in ZooKeeper on behalf of clients, on the control loop:
 * creating topics that are asked for, and what the handlers of the admin APIs share.
 *
 * Threads: admin_auto_create() and the rules from any; the rest on the control loop. */
#pragma once

#include "base/bytes.h"
#include "base/err.h"
#include "base/rng.h"
#include "controller/admin.h"
#include "controller/assign.h"
#include "meta/meta.h"

struct admin_host;
struct admin_service;

/* Automatic creations under way at once; more are told to ask again. */
enum { ADMIN_AUTO_CREATE_MAX = 1000, TOPIC_NAME_MAX_BYTES = 249, TOPIC_REPLICAS_MAX = 64 };

struct admin_service *admin_service_new(const struct admin_host *host, struct admin *admin);
void admin_service_free(struct admin_service *service);
struct admin *admin_service_admin(struct admin_service *service);
struct rng *admin_service_rng(struct admin_service *service);

/* Letters, digits, '.', '_' and '-', 1 to 249 of them, and neither "." nor "..". */
bool topic_name_valid(struct str name);

/* Do the names differ, but only in '.' and '_'? Their metrics would have the same name. */
bool topic_names_collide(struct str a, struct str b);

/* A topic whose name differs from `name` only in '.' and '_', or NULL. */
const struct meta_topic *topic_name_collision(const struct meta *meta, struct str name);

/* Does the metadata show a leader for each of the partitions 0..count-1? */
bool topic_is_led(const struct meta *meta, struct str name, int32_t count);

/* Somebody asked for a topic that is not there. What the asker is to be told: LEADER_NOT_AVAILABLE
 * (it is being made), INVALID_REPLICATION_FACTOR (too few brokers), INVALID_TOPIC_EXCEPTION (only
 * '.' and '_' differ from another's name, or it can be no name). */
MUST_USE enum err admin_auto_create(struct admin_service *service, struct str name,
                                    const struct meta *meta);

/* What it will be: the internal topics have settings of their own. Placed in the arena, but for the
 * name. @in control */
MUST_USE enum err admin_auto_plan(struct admin_service *service, struct arena *arena,
                                  const struct meta *meta, struct str name, struct admin_topic *out,
                                  struct errmsg *msg);

/* Replicas for new partitions among the live brokers of `meta`. Placed in the arena. */
MUST_USE enum err admin_assign(struct admin_service *service, struct arena *arena,
                               const struct meta *meta, const struct assign_request *wanted,
                               struct znode_ids *placed, struct errmsg *msg);
