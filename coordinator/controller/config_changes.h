/* config_changes.h: hears of changed configurations, in every broker.
 *
 * Whoever changes an entity writes /config/<type>/<name> and then a sequence node under
 * /config/changes. A notification only says where to look: the entity is read again, so losing,
 * repeating or reordering notifications is harmless. Notifications older than
 * CONFIG_CHANGES_KEEP_MS are purged by whoever sees them. After each session start all entities of
 * types "topics" and "brokers" are loaded.
 *
 * Threads: the loop. Source: kafka.common.ZkNodeChangeNotificationListener. */
#pragma once

#include "rt/loop.h"
#include "zk/zk.h"
#include "znode/znode.h"

enum { CONFIG_CHANGES_KEEP_MS = 15 * 60 * 1000 };

struct config_changes;

struct config_changes_host {
    /* This is what the entity's configuration is now; NULL when its node is gone. `type`
     * is "topics", "brokers", "users", "clients", "ips"; `name` the rest of its path ("<default>"
     * for the default entity, "alice/clients/c1" for a nested one). Also called for entities that
     * are as before. Borrowed for the call. */
    void (*changed)(struct config_changes_host *host, struct str type, struct str name,
                    const struct znode_config *config);
    /* All entities have been told once in this session. */
    void (*loaded)(struct config_changes_host *host);
};

struct config_changes *config_changes_new(struct loop *loop, struct config_changes_host *host);

/* At start, and with every new session. */
void config_changes_start(struct config_changes *changes, struct zk *zk);

typedef void config_changes_read_fn(void *arg, enum err err);

/* Read one entity now and tell the host, then call `fn` (may be NULL): for a topic that was not
 * there when the session began, since nobody notifies of what a topic is created with.
 * ERR_ZK_SESSION_EXPIRED, then maybe from inside the call; other errors leave the host untold. */
void config_changes_read(struct config_changes *changes, struct str type, struct str name,
                         config_changes_read_fn *fn, void *arg);

/* The session expired or is about to be closed: nothing is called back until the next start. */
void config_changes_session_lost(struct config_changes *changes);

/* Every watch event of the session goes here; true when it was for this module. */
bool config_changes_on_watch(struct config_changes *changes, enum zk_watch_event event,
                             struct str path);
void config_changes_free(struct config_changes *changes);
