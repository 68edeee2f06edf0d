/* controller_host.c: the controller in this process, as far as it needs a broker around it: its
 * requests on their way out, to other brokers and to our own, and the configuration that it judges
 * by. On the control loop. */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "config/values.h"
#include "server/server_internal.h"

#define LOGGER "kafka.server.KafkaServer"

/* ---- requests on their way out ---- */

struct outgoing {
    struct server *server;
    uint64_t cmd_id;
    struct loop_task local; /* to ourselves: no socket */
    struct buf request;
};

static void on_sent(void *arg, enum err err, struct bytes response)
{
    struct outgoing *outgoing = arg;
    struct server *server = outgoing->server;
    uint64_t cmd_id = outgoing->cmd_id;
    buf_fini(&outgoing->request);
    mem_free(outgoing);
    if (server->driver != NULL) {
        ctl_driver_sent(server->driver, cmd_id, err, response);
    }
}

static void on_local_reply(void *arg, struct bytes response)
{
    on_sent(arg, ERR_OK, response);
}

static void on_local(struct loop_task *task)
{
    struct outgoing *outgoing = container_of(task, struct outgoing, local);
    if (outgoing->server->driver == NULL) { /* stopped meanwhile */
        on_sent(outgoing, ERR_CLOSED, (struct bytes){0});
        return;
    }
    struct bytes request = {outgoing->request.data, outgoing->request.size};
    control_apply_request(outgoing->server->broker.control_apply, request, on_local_reply,
                          outgoing);
}

static void ctl_send(struct ctl_host *host, int32_t broker_id,
                     const struct znode_endpoint *endpoints, int32_t endpoints_count, int kind,
                     struct bytes request, uint64_t cmd_id)
{
    (void)kind;
    struct server *server = container_of(host, struct server, ctl_host);
    struct outgoing *outgoing = mem_new(struct outgoing);
    outgoing->server = server;
    outgoing->cmd_id = cmd_id;
    if (broker_id == server->broker.id) {
        buf_put(&outgoing->request, request.data, request.size);
        loop_task_init(&outgoing->local, on_local);
        loop_defer(server->broker.control, &outgoing->local);
        return;
    }
    const char *wanted = server->listeners.items[server->listeners.inter_broker].name;
    for (int32_t i = 0; i < endpoints_count; i++) {
        if (str_is(endpoints[i].listener, wanted)) {
            char *hostname = str_dup(endpoints[i].host);
            peers_send(server->peers, broker_id, hostname, (uint16_t)endpoints[i].port, request,
                       on_sent, outgoing);
            mem_free(hostname);
            return;
        }
    }
    log_warn(LOGGER, "a broker lacks our inter-broker listener", "broker=%d listener=%s", broker_id,
             wanted);
    mem_free(outgoing);
    ctl_driver_sent(server->driver, cmd_id, ERR_CLOSED, (struct bytes){0});
}

static void ctl_disconnect(struct ctl_host *host, int32_t broker_id)
{
    struct server *server = container_of(host, struct server, ctl_host);
    peers_disconnect(server->peers, broker_id);
}

static void ctl_changed(struct ctl_host *host, int32_t controller_id, int32_t epoch)
{
    struct server *server = container_of(host, struct server, ctl_host);
    struct meta_edit *edit = meta_edit_begin(&server->broker.meta);
    (void)epoch; /* the driver has said it */
    /* The last one may stand still, and never answer. */
    if (server->controller_id != controller_id && server->controller_id != server->broker.id) {
        peers_disconnect(server->peers, server->controller_id);
    }
    server->controller_id = controller_id;
    meta_edit_controller(edit, controller_id);
    meta_edit_commit(edit);
}

/* ---- what it judges by ---- */

static void ctl_config_from(struct server *server, struct ctl_config *out)
{
    const struct config *config = config_cell_get(&server->config);
    *out = (struct ctl_config){
        .broker_id = server->broker.id,
        .unclean_default = config_bool(config, KEY_unclean_leader_election_enable),
        .min_insync_default = config_int(config, KEY_min_insync_replicas),
        .delete_topics = config_bool(config, KEY_delete_topic_enable),
        .auto_rebalance = config_bool(config, KEY_auto_leader_rebalance_enable),
        .rebalance_check_ms =
            config_duration_ms(config, KEY_leader_imbalance_check_interval_seconds, 1000),
        .imbalance_percentage = config_int(config, KEY_leader_imbalance_per_broker_percentage),
        .seed = server->broker.env.seed,
    };
    config_put(config);
}

void server_tell_controller(struct server *server, struct str topic,
                            const struct config_pair *pairs, int count)
{
    const char *unclean = topic_config_own(pairs, count, TOPIC_unclean_leader_election_enable);
    const char *min_insync = topic_config_own(pairs, count, TOPIC_min_insync_replicas);
    ctl_driver_set_unclean(server->driver, topic,
                           unclean != NULL ? config_parse_bool(unclean) : -1);
    ctl_driver_set_min_insync(server->driver, topic,
                              min_insync != NULL ? (int32_t)strtol(min_insync, NULL, 10) : 0);
}

void server_tell_controller_defaults(struct server *server, const struct config *config)
{
    ctl_driver_set_unclean(server->driver, STR_NULL,
                           config_bool(config, KEY_unclean_leader_election_enable));
    ctl_driver_set_min_insync(server->driver, STR_NULL,
                              config_int(config, KEY_min_insync_replicas));
}

/* Before it may be elected: by what it does not know yet it would judge wrongly. */
static void tell_first(void *arg, struct str topic, const struct config_pair *pairs, int count)
{
    server_tell_controller(arg, topic, pairs, count);
}

void server_make_controller(struct server *server)
{
    struct ctl_config config;
    ctl_config_from(server, &config);
    server->controller_id = -1;
    server->ctl_host = (struct ctl_host){
        .send = ctl_send, .disconnect = ctl_disconnect, .controller_changed = ctl_changed};
    server->driver = ctl_driver_new(server->broker.control, &config, &server->ctl_host);
    server->broker.ctl_driver = server->driver;
    topic_configs_each(server->topic_configs, tell_first, server);
}
