/* config_follow.c: a configuration in ZooKeeper, of this broker, of all brokers or of a topic,
 * takes effect: at the start, and whenever it changes. On the control loop. */
#include <stdio.h>

#include "base/mem.h"
#include "server/server_internal.h"

void server_take_broker_config(struct server *server, struct str name,
                               const struct znode_config *config)
{
    char mine[16];
    snprintf(mine, sizeof(mine), "%d", server->broker.id);
    if (str_is(name, "<default>")) {
        server_apply_dynamic(server, false, config);
    } else if (str_is(name, mine)) {
        server_apply_dynamic(server, true, config);
    }
    throttles_configure(server);
}

void server_config_changed(struct config_changes_host *host, struct str type, struct str name,
                           const struct znode_config *config)
{
    struct server *server = container_of(host, struct server, changes_host);
    static const struct znode_config none;
    if (str_is(type, "topics") && config == NULL) {
        topic_configs_forget(server->topic_configs, name);
    }
    config = config != NULL ? config : &none;
    if (str_is(type, "topics")) {
        if (config != &none) {
            topic_configs_take(server->topic_configs, name, config);
        }
        int count;
        struct config_pair *pairs = topic_configs_pairs(server->topic_configs, name, &count);
        server_tell_controller(server, name, pairs, count);
        mem_free(pairs);
        replicas_configure(control_apply_replicas(server->broker.control_apply), name);
    } else if (str_is(type, "brokers")) {
        server_take_broker_config(server, name, config);
        const struct config *now = config_cell_get(&server->config);
        server_tell_controller_defaults(server, now);
        replicator_configure(server->broker.replicator, now);
        config_put(now);
        replicas_configure(control_apply_replicas(server->broker.control_apply), STR_NULL);
    }
}
