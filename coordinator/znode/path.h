/* path.h: where Kafka 3.9 keeps its things in ZooKeeper. Source: kafka.zk.ZkData.
 *
 * The functions print into an arena. Names must be legal topic names and so on: they are not
 * escaped. Threads: any. */
#pragma once

#include <stdint.h>

#include "base/arena.h"
#include "base/bytes.h"

#define PATH_BROKER_IDS        "/brokers/ids"
#define PATH_BROKER_SEQID      "/brokers/seqid"
#define PATH_TOPICS            "/brokers/topics"
#define PATH_CONTROLLER        "/controller"
#define PATH_CONTROLLER_EPOCH  "/controller_epoch"
#define PATH_CLUSTER_ID        "/cluster/id"
#define PATH_CONFIG            "/config"
#define PATH_CONFIG_TOPICS     "/config/topics"
#define PATH_CONFIG_BROKERS    "/config/brokers"
#define PATH_CONFIG_CHANGES    "/config/changes"
#define PATH_DELETE_TOPICS     "/admin/delete_topics"
#define PATH_PREFERRED         "/admin/preferred_replica_election"
#define PATH_REASSIGN          "/admin/reassign_partitions"
#define PATH_ISR_CHANGES       "/isr_change_notification"
#define PATH_LOG_DIR_EVENTS    "/log_dir_event_notification"
#define PATH_PRODUCER_ID_BLOCK "/latest_producer_id_block"
#define PATH_FEATURE           "/feature"

/* The name under which the default entity of a type is kept. */
#define PATH_DEFAULT_ENTITY "<default>"

char *path_broker_id(struct arena *arena, int32_t broker_id);
char *path_topic(struct arena *arena, struct str topic);
char *path_partitions(struct arena *arena, struct str topic);
char *path_partition(struct arena *arena, struct str topic, int32_t partition);
char *path_partition_state(struct arena *arena, struct str topic, int32_t partition);
char *path_delete_topic(struct arena *arena, struct str topic);
/* /config/<type>/<name>; `type` is "topics", "brokers", ... */
char *path_config(struct arena *arena, const char *type, struct str name);

/* The part of `path` behind `parent` and a '/', when `path` is a direct child of it; else null. */
struct str path_child(struct str path, const char *parent);
