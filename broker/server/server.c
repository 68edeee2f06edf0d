#include "server/server.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "admin/admin_service.h"
#include "admin/meta_wait.h"
#include "admin/producer_ids.h"
#include "api/client.h"
#include "api/drain.h"
#include "api/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/must.h"
#include "server/server_internal.h"
#include "session/fetch_session.h"

#define LOGGER "kafka.server.KafkaServer"

enum { WORKERS_MIN = 2, WORKERS_MAX = 8, READERS = 2 };

/* ---- network loops ---- */

static void on_idle_timer(struct loop_timer *timer)
{
    struct netloop *netloop = container_of(timer, struct netloop, idle_timer);
    int64_t max_ms = config_long(config_reader_now(&netloop->config), KEY_connections_max_idle_ms);
    list_for_each_safe (link, &netloop->clients) {
        client_check_idle(container_of(link, struct client, link), max_ms);
    }
    if (netloop->clients_count > 0) {
        netloop_watch_idle(netloop);
    }
}

static void netloop_init(struct server *server, int index)
{
    struct broker *broker = &server->broker;
    struct netloop *netloop = &broker->netloops[index];
    char name[24];
    snprintf(name, sizeof(name), "network-%d", index);
    netloop->broker = broker;
    netloop->loop = loop_new(name, index, broker->env.clock);
    list_init(&netloop->clients);
    rng_seed(&netloop->rng, broker->env.seed + (uint64_t)index + 1);
    netloop->fetch_sessions = fetch_sessions_new(&broker->fetch_slots, &netloop->rng);
    meta_reader_init(&netloop->meta, &broker->meta);
    parts_reader_init(&netloop->parts, &broker->parts);
    config_reader_init(&netloop->config, &server->config);
    budget_lease_init(&netloop->client_memory, &broker->client_memory, netloop->loop);
    budget_lease_init(&netloop->internal_memory, &broker->internal_memory, netloop->loop);
    loop_timer_init(&netloop->idle_timer, on_idle_timer);
}

static void netloop_fini(struct netloop *netloop)
{
    must(netloop->clients_count == 0);
    client_drop_spare(netloop);
    fetch_sessions_free(netloop->fetch_sessions);
    meta_reader_fini(&netloop->meta);
    parts_reader_fini(&netloop->parts);
    config_reader_fini(&netloop->config);
    budget_lease_fini(&netloop->client_memory);
    budget_lease_fini(&netloop->internal_memory);
}

/* ---- assembly ---- */

/* As many as num.network.threads, if somebody says so: Kafka's default of 3 suits its threads, not
 * ours. */
static int loops_wanted(const struct env *env, const struct config *config)
{
    long cores = env->threads ? sysconf(_SC_NPROCESSORS_ONLN) : 2;
    if (config_is_set(config, KEY_num_network_threads)) {
        cores = config_int(config, KEY_num_network_threads);
    }
    return cores < 1 ? 1 : cores > LOOP_INDEX_MAX ? LOOP_INDEX_MAX : (int)cores;
}

static void grp_config_from(const struct config *config, struct grp_config *out)
{
    grp_config_default(out);
    out->session_timeout_min_ms = config_int(config, KEY_group_min_session_timeout_ms);
    out->session_timeout_max_ms = config_int(config, KEY_group_max_session_timeout_ms);
    out->group_size_max = config_int(config, KEY_group_max_size);
    out->initial_rebalance_delay_ms = config_int(config, KEY_group_initial_rebalance_delay_ms);
    out->offset_metadata_max = config_int(config, KEY_offset_metadata_max_bytes);
    out->offsets_retention_ms = config_long(config, KEY_offsets_retention_minutes) * 60000;
    out->retention_check_interval_ms = config_long(config, KEY_offsets_retention_check_interval_ms);
    out->batch_bytes_max = config_int(config, KEY_message_max_bytes);
    /* The leader's own log is all that acks of 1 and 0 wait for. */
    out->commit_acks = config_int(config, KEY_offsets_commit_required_acks) == -1 ? -1 : 0;
    out->commit_timeout_ms = config_int(config, KEY_offsets_commit_timeout_ms);
    out->compression = (int8_t)config_int(config, KEY_offsets_topic_compression_codec);
    out->memory_bytes_max = GROUP_MEMORY_PART_MAX_BYTES;
    out->group_bytes_max = GROUP_MAX_BYTES;
}

static void budgets_init(struct broker *broker, const struct config *config)
{
    int64_t queued = config_long(config, KEY_queued_max_request_bytes);
    budget_init(&broker->client_memory, queued > 0 ? queued : BUDGET_CLIENT_DEFAULT_BYTES);
    budget_init(&broker->internal_memory, BUDGET_INTERNAL_DEFAULT_BYTES);
}

struct server *server_new(const struct env *env, const struct config *config)
{
    struct server *server = mem_new(struct server);
    struct broker *broker = &server->broker;
    struct errmsg msg;
    broker->env = *env;
    if (broker->env.seed == 0) {
        struct rng rng;
        rng_seed_random(&rng);
        broker->env.seed = rng_next(&rng);
    }
    config_cell_init(&server->config, config_hold(config));
    must(listeners_parse(config, &server->listeners, &msg) == ERR_OK);
    broker->config = &server->config;
    broker->id = config_int(config, KEY_broker_id);
    meta_cell_init(&broker->meta);
    parts_init(&broker->parts);
    budgets_init(broker, config);
    throttles_init(server);
    broker->control = loop_new("control", -1, env->clock);
    broker->netloops_count = loops_wanted(env, config);
    int workers = broker->netloops_count / 4;
    workers = workers < WORKERS_MIN ? WORKERS_MIN : workers > WORKERS_MAX ? WORKERS_MAX : workers;
    broker->workers = worker_pool_new("worker", env->threads ? workers : 0);
    trimmer_init(&broker->trimmer, broker->control, broker->workers);
    broker->readers = worker_pool_new("reader", env->threads ? READERS : 0);
    broker->fetch_slots = (struct fetch_session_slots){
        .max = config_int(config, KEY_max_incremental_fetch_session_cache_slots),
        .caches_count = broker->netloops_count,
        .partitions_max = FETCH_SESSIONS_PARTITIONS_MAX,
    };
    broker->netloops = mem_zalloc((size_t)broker->netloops_count, sizeof(*broker->netloops));
    for (int i = 0; i < broker->netloops_count; i++) {
        netloop_init(server, i);
    }
    server->topic_configs = topic_configs_new(&server->config);
    broker->topic_configs = server->topic_configs;
    atomic_init(&broker->feature_epoch, -1);
    server->metadata_epoch = -1;
    loop_timer_init(&server->metadata_timer, NULL);
    gate_init(server);
    atomic_init(&broker->epoch, -1);
    struct groups_options groups = {.workers = broker->workers,
                                    .loop = broker->control,
                                    .load_bytes = config_int(config, KEY_offsets_load_buffer_size),
                                    .memory_bytes_max = GROUP_MEMORY_MAX_BYTES,
                                    .seed = broker->env.seed ^ 0x67};
    grp_config_from(config, &groups.config);
    broker->groups = groups_new(&groups);
    server->log_dirs = config_log_dirs(config, &server->log_dirs_count);
    if (env->threads) {
        server_watch(server);
    }
    return server;
}

void server_free(struct server *server)
{
    struct broker *broker = &server->broker;
    for (int i = 0; i < broker->netloops_count; i++) {
        loop_stop(broker->netloops[i].loop);
    }
    loop_stop(broker->control);
    worker_pool_free(broker->readers);
    worker_pool_free(broker->workers);
    trimmer_fini(&broker->trimmer);
    watchdog_end(server->watchdog);
    logs_free(broker->logs);
    /* By hand from here on: what is still on its way to a loop is delivered. */
    parts_fini(&broker->parts);
    for (bool more = true; more;) {
        more = loop_turn(broker->control);
        for (int i = 0; i < broker->netloops_count; i++) {
            more = loop_turn(broker->netloops[i].loop) || more;
        }
    }
    for (int i = 0; i < broker->netloops_count; i++) {
        netloop_fini(&broker->netloops[i]);
    }
    for (bool more = true; more;) {
        more = loop_turn(broker->control);
    }
    for (int i = 0; i < broker->netloops_count; i++) {
        loop_free(broker->netloops[i].loop);
    }
    loop_free(broker->control);
    groups_free(broker->groups);
    throttles_fini(server);
    topic_configs_free(server->topic_configs);
    meta_cell_fini(&broker->meta);
    config_cell_fini(&server->config);
    for (int i = 0; i < server->log_dirs_count; i++) {
        mem_free(server->log_dirs[i]);
    }
    mem_free(server->log_dirs);
    watchdog_free(server->watchdog);
    drain_free(server->drain);
    mem_free(broker->listeners);
    mem_free(broker->netloops);
    mem_free(server);
}

struct broker *server_broker(struct server *server)
{
    return &server->broker;
}

uint16_t server_port(const struct server *server, const char *listener)
{
    for (int i = 0; i < server->broker.listeners_count; i++) {
        if (strcmp(server->broker.listeners[i].name, listener) == 0) {
            return server->broker.listeners[i].port;
        }
    }
    return 0;
}

/* ---- start and stop ---- */

void server_started(struct server *server, enum err err, const char *text)
{
    server_done_fn *fn = server->start_fn;
    server->start_fn = NULL;
    if (fn != NULL) {
        fn(server->start_arg, err, text);
    } else if (err != ERR_OK) {
        log_error(LOGGER, "cannot go on", "%s", text);
        if (server->fatal_fn != NULL) {
            server->fatal_fn(server->fatal_arg, err, text);
        }
    }
}

static void on_start(struct loop_msg *msg)
{
    startup_begin(container_of(msg, struct server, start_msg));
}

static void on_stop(struct loop_msg *msg)
{
    shutdown_begin(container_of(msg, struct server, stop_msg));
}

void server_start(struct server *server, server_done_fn *fn, void *arg)
{
    struct broker *broker = &server->broker;
    server->start_fn = fn;
    server->start_arg = arg;
    server->start_ms = clock_mono_ms(broker->env.clock);
    server->start_msg.fn = on_start;
    if (broker->env.threads) {
        enum err err = loop_start(broker->control);
        for (int i = 0; i < broker->netloops_count && err == ERR_OK; i++) {
            err = loop_start(broker->netloops[i].loop);
        }
        if (err != ERR_OK) {
            server->no_threads = true;
            server_started(server, err, "error[E-START-01]: cannot start a thread.");
            return;
        }
    }
    loop_post(broker->control, &server->start_msg);
}

void server_on_fatal(struct server *server, server_done_fn *fn, void *arg)
{
    server->fatal_fn = fn;
    server->fatal_arg = arg;
}

void server_on_stuck(struct server *server, void (*fn)(void *arg), void *arg)
{
    server->stuck_fn = fn;
    server->stuck_arg = arg;
}

bool server_hangs(const struct server *server)
{
    return server->watchdog != NULL && watchdog_hung(server->watchdog);
}

void server_stop(struct server *server, server_done_fn *fn, void *arg)
{
    if (server->no_threads) {
        fn(arg, ERR_OK, "");
        return;
    }
    server->stop_fn = fn;
    server->stop_arg = arg;
    server->stop_msg.fn = on_stop;
    loop_post(server->broker.control, &server->stop_msg);
}

/* ---- what was deleted is removed later ---- */

static void on_aside(struct loop_msg *msg)
{
    struct server *server = container_of(msg, struct server, aside_msg);
    atomic_store(&server->aside_posted, false);
    if (!server->stopping && server->broker.control_apply != NULL) {
        upkeep_put_aside(replicas_upkeep(control_apply_replicas(server->broker.control_apply)));
    }
}

void server_on_put_aside(void *arg)
{
    struct server *server = arg;
    if (!atomic_exchange(&server->aside_posted, true)) {
        server->aside_msg.fn = on_aside;
        loop_post(server->broker.control, &server->aside_msg);
    }
}

/* ---- dynamic configuration ---- */

static struct config_pair *pairs_of(const struct znode_config *config, int *count)
{
    struct buf texts = {0};
    *count = config->pairs_count;
    size_t head = (size_t)config->pairs_count * sizeof(struct config_pair);
    for (int32_t i = 0; i < config->pairs_count; i++) {
        buf_put(&texts, config->pairs[i].key.ptr, config->pairs[i].key.size);
        buf_put_byte(&texts, 0);
        buf_put(&texts, config->pairs[i].value.ptr, config->pairs[i].value.size);
        buf_put_byte(&texts, 0);
    }
    struct config_pair *pairs = mem_alloc(head + texts.size);
    char *text = (char *)(pairs + config->pairs_count);
    if (texts.size > 0) {
        memcpy(text, texts.data, texts.size);
    }
    for (int32_t i = 0; i < config->pairs_count; i++) {
        pairs[i].name = text;
        text += strlen(text) + 1;
        pairs[i].value = text;
        text += strlen(text) + 1;
    }
    buf_fini(&texts);
    return pairs;
}

void server_apply_dynamic(struct server *server, bool mine, const struct znode_config *config)
{
    int count;
    struct config_pair *pairs = pairs_of(config, &count);
    const struct config *now = config_cell_get(&server->config);
    struct errmsg msg = {""};
    int kept = mine ? listeners_leave_out(now, pairs, count, &msg) : count;
    if (kept < count) {
        log_error(LOGGER, "listeners that are set in ZooKeeper are ignored", "%s", msg.text);
    }
    config_cell_set(
        &server->config,
        config_with_layer(now, mine ? SOURCE_DYNAMIC_BROKER : SOURCE_DYNAMIC_DEFAULT, pairs, kept));
    config_put(now);
    mem_free(pairs);
}
