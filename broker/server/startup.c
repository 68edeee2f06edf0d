/* startup.c: the steps of a start, in Kafka's order (3.9, ZooKeeper mode), each on the control
 * loop, each beginning the next when it is done. The first that fails ends it with a text for
 * people. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "admin/admin_host.h"
#include "admin/admin_service.h"
#include "admin/meta_wait.h"
#include "admin/producer_ids.h"
#include "api/client.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/must.h"
#include "server/server_internal.h"

#define LOGGER "kafka.server.KafkaServer"

enum {
    READY_TEXT_MAX = 256,
    METADATA_LATE_MS = 1000, /* the controller has said nothing for so long: say why we wait */
    READ_AGAIN_MS = 100,
    RECOVERY_THREADS_MAX = 64,
};

static void fail(struct server *server, enum err err, const char *text)
{
    server_started(server, err, text);
}

static const struct config *config_now(struct server *server)
{
    return config_cell_get(&server->config);
}

/* As many as num.recovery.threads.per.data.dir, if somebody says so: Kafka's default of 1 would
 * leave the other cores idle. */
static int recovery_threads(const struct env *env, const struct config *config)
{
    long count = sysconf(_SC_NPROCESSORS_ONLN);
    if (config_is_set(config, KEY_num_recovery_threads_per_data_dir)) {
        count = config_int(config, KEY_num_recovery_threads_per_data_dir);
    }
    count = count > RECOVERY_THREADS_MAX ? RECOVERY_THREADS_MAX : count;
    return !env->threads ? 0 : count < 1 ? 1 : (int)count;
}

/* ---- 1: the directories, so that a wrong or locked one is told before anything else ---- */

static enum err open_dirs(struct server *server, struct errmsg *msg)
{
    struct broker *broker = &server->broker;
    const struct config *config = config_now(server);
    struct logs_options options = {
        .fs = broker->env.fs,
        .clock = broker->env.clock,
        .workers = broker->workers,
        .recovery_threads = recovery_threads(&broker->env, config),
        .flush_threads = broker->env.threads,
        .dirs = (const char *const *)server->log_dirs,
        .dirs_count = server->log_dirs_count,
        .producer_expiration_ms = config_long(config, KEY_producer_id_expiration_ms),
        .boot_id = broker->env.boot_id,
        .on_dir_failed = server_on_dir_failed,
        .on_put_aside = server_on_put_aside,
        .arg = server,
    };
    config_put(config);
    enum err err = logs_open(&options, &broker->logs, msg);
    if (err == ERR_OK && server->watchdog != NULL) {
        watchdog_start(server->watchdog);
    }
    return err;
}

/* ---- 2: ZooKeeper ---- */

static void on_identified(struct session_host *host, struct str cluster_id);
static void on_registered(struct session_host *host, int64_t broker_epoch);
static void on_failed(struct session_host *host, enum err err, const char *text);
static void on_settled(struct session_host *host);
static void on_lost(struct session_host *host);
static void on_contact(struct session_host *host, bool there);
static void on_waiting(struct session_host *host, const char *line);

void startup_begin(struct server *server)
{
    struct errmsg msg = {""};
    enum err err = open_dirs(server, &msg);
    if (err != ERR_OK) {
        fail(server, err, msg.text);
        return;
    }
    struct rng rng;
    char proposed[UUID_TEXT_SIZE + 1];
    rng_seed(&rng, server->broker.env.seed);
    uuid_format(uuid_random(&rng), proposed);
    const struct config *config = config_now(server);
    struct session_options options = {
        .connect = config_str(config, KEY_zookeeper_connect),
        .session_timeout_ms = config_int(config, KEY_zookeeper_session_timeout_ms),
        .connection_timeout_ms = (int32_t)config_zookeeper_connection_timeout_ms(config),
        .proposed_cluster_id = str_of(proposed),
    };
    server->session_host = (struct session_host){.identified = on_identified,
                                                 .registered = on_registered,
                                                 .failed = on_failed,
                                                 .settled = on_settled,
                                                 .lost = on_lost,
                                                 .contact = on_contact,
                                                 .waiting = on_waiting};
    server->session =
        session_new(server->broker.control, server->broker.env.zk, &options, &server->session_host);
    server->session_open = true;
    config_put(config);
    session_start(server->session);
}

static void on_failed(struct session_host *host, enum err err, const char *text)
{
    fail(container_of(host, struct server, session_host), err, text);
}

static void on_waiting(struct session_host *host, const char *line)
{
    (void)host;
    log_warn(LOGGER, "waiting", "%s", line);
}

/* ---- 3: who we are ---- */

static void read_configs(struct server *server);

static void explain_cluster(struct server *server, const char *stored, struct str cluster_id,
                            struct errmsg *msg)
{
    const struct config *config = config_now(server);
    errmsg_set(
        msg,
        "error[E-DATA-01]: %s belongs to another cluster.\n"
        "  stored cluster.id  %s   (meta.properties)\n"
        "  ZooKeeper says     %.*s   (%s/cluster/id)\n"
        "  Usual cause: ZooKeeper's data was lost, or zookeeper.connect names another ensemble. "
        "Restore ZooKeeper's data or correct the address; to give these messages up, use an "
        "empty directory in log.dirs.",
        server->log_dirs[0], stored, STR_ARG(cluster_id),
        config_str(config, KEY_zookeeper_connect));
    config_put(config);
}

static enum err check_identity(struct server *server, struct str cluster_id, struct errmsg *msg)
{
    struct broker *broker = &server->broker;
    int32_t stored_id;
    const char *stored_cluster;
    enum err err = logs_stored_identity(broker->logs, &stored_id, &stored_cluster, msg);
    if (err != ERR_OK) {
        return err;
    }
    if (stored_cluster[0] != '\0' && !str_is(cluster_id, stored_cluster)) {
        explain_cluster(server, stored_cluster, cluster_id, msg);
        return ERR_INCONSISTENT_CLUSTER_ID;
    }
    if (broker->id >= 0 && stored_id >= 0 && stored_id != broker->id) {
        errmsg_set(msg,
                   "error[E-DATA-02]: %s is broker %d's, but broker.id=%d.\n"
                   "  Set broker.id=%d, or point log.dirs at this broker's own directory.",
                   server->log_dirs[0], stored_id, broker->id, stored_id);
        return ERR_INVALID;
    }
    if (broker->id < 0) {
        broker->id = stored_id;
    }
    snprintf(broker->cluster_id, sizeof(broker->cluster_id), "%.*s", STR_ARG(cluster_id));
    return ERR_OK;
}

static void on_generated(void *arg, enum err err, int32_t broker_id)
{
    struct server *server = arg;
    if (err != ERR_OK) {
        fail(server, err, "error[E-ZK-03]: ZooKeeper gave no broker id.");
        return;
    }
    server->broker.id = broker_id;
    read_configs(server);
}

static void on_identified(struct session_host *host, struct str cluster_id)
{
    struct server *server = container_of(host, struct server, session_host);
    struct errmsg msg = {""};
    server->zookeeper_ms = loop_now_ms(server->broker.control);
    enum err err = check_identity(server, cluster_id, &msg);
    if (err != ERR_OK) {
        fail(server, err, msg.text);
        return;
    }
    if (server->broker.id >= 0) {
        read_configs(server);
        return;
    }
    const struct config *config = config_now(server);
    session_generate_id(server->session, config_int(config, KEY_reserved_broker_max_id),
                        on_generated, server);
    config_put(config);
}

/* ---- 4: dynamic configuration of brokers, then of topics ---- */

static void load_logs(struct server *server);

/* The session ended while we read: begin to read again, until there is another. */
static void on_read_timer(struct loop_timer *timer)
{
    read_configs(container_of(timer, struct server, read_timer));
}

static bool read_again(struct server *server, enum err err)
{
    if (err != ERR_ZK_SESSION_EXPIRED) {
        return false;
    }
    if (!server->stopping) {
        loop_timer_init(&server->read_timer, on_read_timer);
        loop_timer_set(server->broker.control, &server->read_timer,
                       loop_now_ms(server->broker.control) + READ_AGAIN_MS);
    }
    return true;
}

static void on_topic_configs(void *arg, enum err err, const struct admin_entity *entities,
                             int32_t count)
{
    struct server *server = arg;
    if (read_again(server, err)) {
        return;
    }
    if (err != ERR_OK) {
        fail(server, err,
             "error[E-ZK-04]: the topics' configuration could not be read from ZooKeeper.");
        return;
    }
    for (int32_t i = 0; i < count; i++) {
        topic_configs_take(server->topic_configs, entities[i].name, &entities[i].config);
    }
    load_logs(server);
}

/* Nothing is bound yet: listeners that are set in ZooKeeper, for this broker, count from here on.
 */
static void take_listeners(struct server *server)
{
    const struct config *config = config_now(server);
    struct errmsg msg;
    listeners_fini(&server->listeners);
    must(listeners_parse(config, &server->listeners, &msg) == ERR_OK);
    config_put(config);
}

static void on_broker_configs(void *arg, enum err err, const struct admin_entity *entities,
                              int32_t count)
{
    struct server *server = arg;
    if (read_again(server, err)) {
        return;
    }
    if (err != ERR_OK) {
        fail(server, err,
             "error[E-ZK-04]: the brokers' configuration could not be read from ZooKeeper.");
        return;
    }
    for (int32_t i = 0; i < count; i++) {
        server_take_broker_config(server, entities[i].name, &entities[i].config);
    }
    take_listeners(server);
    admin_read_configs(session_admin(server->session), "topics", on_topic_configs, server);
}

static void read_configs(struct server *server)
{
    struct errmsg msg = {""};
    struct broker *broker = &server->broker;
    enum err err = logs_set_identity(broker->logs, broker->id, broker->cluster_id, &msg);
    if (err != ERR_OK) {
        fail(server, err, msg.text);
        return;
    }
    admin_read_configs(session_admin(server->session), "brokers", on_broker_configs, server);
}

/* ---- 5: the logs, on a worker ---- */

static void join(struct server *server);

static void config_of(void *arg, struct str topic, struct topic_config *out)
{
    struct server *server = arg;
    topic_configs_get(server->topic_configs, topic, out);
}

static void on_load(struct work *work)
{
    struct server *server = container_of(work, struct server, load_work);
    server->load_err = logs_load(server->broker.logs, config_of, server, &server->load_msg);
}

/* Where the last directory failed while its logs were loaded nobody has heard of it:
 * on_dir_failure() has an eye on what runs. */
static void on_loaded(struct work *work)
{
    struct server *server = container_of(work, struct server, load_work);
    server->logs_loaded = server->load_err == ERR_OK;
    if (server->load_err != ERR_OK) {
        fail(server, server->load_err, server->load_msg.text);
    } else if (!server_any_dir_left(server)) {
        fail(server, ERR_KAFKA_STORAGE_ERROR,
             "error[E-DATA-09]: every log directory has failed; what each lacks is said above.");
    } else if (!server->stopping) {
        join(server);
    }
}

static void load_logs(struct server *server)
{
    server->load_work =
        (struct work){.run = on_load, .done = on_loaded, .loop = server->broker.control};
    worker_submit(server->broker.workers, &server->load_work);
}

/* ---- 6: sockets: bound now, so that the ports are known; served when all is ready ---- */

static void on_adopt(struct loop_msg *msg);

struct handover {
    struct loop_msg msg;
    struct netloop *netloop;
    struct listener *listener;
    struct net_accepted *accepted;
};

static void on_adopt(struct loop_msg *msg)
{
    struct handover *handover = container_of(msg, struct handover, msg);
    struct netloop *netloop = handover->netloop;
    client_new(netloop, handover->listener, handover->accepted);
    netloop_watch_idle(netloop);
    mem_free(handover);
}

static void on_accept(void *arg, struct net_accepted *accepted)
{
    struct listener *listener = arg;
    struct broker *broker = listener->broker;
    struct netloop *best = balance_place(broker);
    atomic_fetch_add(&best->placed, 1);
    struct handover *handover = mem_new(struct handover);
    *handover = (struct handover){.netloop = best, .listener = listener, .accepted = accepted};
    handover->msg.fn = on_adopt;
    loop_post(best->loop, &handover->msg);
}

static enum err bind_listeners(struct server *server, struct errmsg *msg)
{
    struct broker *broker = &server->broker;
    const struct config *config = config_now(server);
    int backlog = config_int(config, KEY_socket_listen_backlog_size);
    enum err err = ERR_OK;
    config_put(config);
    broker->listeners = mem_zalloc((size_t)server->listeners.count, sizeof(*broker->listeners));
    for (int i = 0; i < server->listeners.count && err == ERR_OK; i++) {
        const struct listener_config *from = &server->listeners.items[i];
        struct listener *listener = &broker->listeners[i];
        struct net_address at = {.port = from->port};
        bool any = strcmp(from->host, "0.0.0.0") == 0;
        snprintf(at.host, sizeof(at.host), "%s", any ? "" : from->host);
        snprintf(listener->name, sizeof(listener->name), "%s", from->name);
        listener->security_protocol = (int16_t)from->protocol;
        listener->internal = i == server->listeners.inter_broker;
        listener->broker = broker;
        err =
            broker->env.net->ops->listen(broker->env.net, broker->control, &at, backlog, on_accept,
                                         listener, &listener->handle, &listener->port, msg);
        if (err == ERR_OK) {
            broker->listeners_count++;
        }
    }
    return err;
}

void server_close_listeners(struct server *server)
{
    struct broker *broker = &server->broker;
    for (int i = 0; i < broker->listeners_count; i++) {
        if (broker->listeners[i].handle != NULL) {
            broker->env.net->ops->unlisten(broker->listeners[i].handle);
            broker->listeners[i].handle = NULL;
        }
    }
}

/* ---- 7: registration, the parts that work from then on ---- */

static struct str advertised_host(const struct listener_config *listener, struct arena *arena)
{
    char name[256] = "localhost";
    if (listener->advertised_host[0] != '\0') {
        return str_of(listener->advertised_host);
    }
    gethostname(name, sizeof(name) - 1);
    return arena_str(arena, str_of(name));
}

static void describe_self(struct server *server, struct arena *arena, struct znode_broker *out)
{
    struct broker *broker = &server->broker;
    const struct config *config = config_now(server);
    struct znode_endpoint *endpoints =
        arena_array(arena, struct znode_endpoint, (size_t)server->listeners.count);
    *out = (struct znode_broker){.endpoints = endpoints,
                                 .jmx_port = -1,
                                 .rack = STR_NULL,
                                 .unclean = logs_suspect(broker->logs)};
    for (int i = 0; i < server->listeners.count; i++) {
        const struct listener_config *listener = &server->listeners.items[i];
        if (!listener->advertised) {
            continue;
        }
        uint16_t port = listener->advertised_port;
        endpoints[out->endpoints_count++] = (struct znode_endpoint){
            .listener = str_of(listener->name),
            .host = advertised_host(listener, arena),
            .port = port != 0 ? port : broker->listeners[i].port,
            .security = (enum znode_security)listener->protocol,
        };
    }
    if (config_str(config, KEY_broker_rack) != NULL) {
        out->rack = arena_str(arena, str_of(config_str(config, KEY_broker_rack)));
    }
    config_put(config);
}

static void maybe_ready(struct server *server);

static void on_configs_loaded(struct config_changes_host *host)
{
    struct server *server = container_of(host, struct server, changes_host);
    server->configs_loaded = true;
    maybe_ready(server);
}

/* Has the controller spoken to us in our present registration? */
static bool knows_cluster(const struct server *server)
{
    return server->metadata_epoch >= atomic_load(&server->broker.epoch);
}

static void on_metadata(void *arg, int64_t broker_epoch)
{
    struct server *server = arg;
    meta_waits_kick(&server->broker.meta_waits);
    if (broker_epoch > server->metadata_epoch) {
        server->metadata_epoch = broker_epoch;
        loop_timer_cancel(&server->metadata_timer);
        maybe_ready(server);
    }
}

static void make_replicator(struct server *server)
{
    struct broker *broker = &server->broker;
    const struct config *config = config_now(server);
    struct loop **loops = mem_zalloc((size_t)broker->netloops_count, sizeof(struct loop *));
    for (int i = 0; i < broker->netloops_count; i++) {
        loops[i] = broker->netloops[i].loop;
    }
    struct replicator_options options = {
        .control = broker->control,
        .loops = loops,
        .loops_count = broker->netloops_count,
        .spread = !broker->env.threads,
        .net = broker->env.net,
        .meta = &broker->meta,
        .parts = &broker->parts,
        .listener = server->listeners.items[server->listeners.inter_broker].name,
        .epoch = &broker->epoch,
        .throttle = &broker->throttles.follower,
        .my_id = broker->id,
        .peers = server->peers,
        .driver = server->driver,
    };
    broker->replicator = replicator_new(&options, config);
    mem_free(loops);
    config_put(config);
}

static void make_moves(struct server *server)
{
    struct broker *broker = &server->broker;
    const struct config *config = config_now(server);
    int32_t threads = config_is_set(config, KEY_num_replica_alter_log_dirs_threads)
                          ? config_int(config, KEY_num_replica_alter_log_dirs_threads)
                          : server->log_dirs_count;
    struct moves_options options = {
        .control = broker->control,
        .loops_count = broker->netloops_count,
        .workers = broker->workers,
        .logs = broker->logs,
        .parts = &broker->parts,
        .topic_configs = broker->topic_configs,
        .throttle = &broker->throttles.move,
        .at_once = threads,
    };
    struct loop **loops = mem_zalloc((size_t)broker->netloops_count, sizeof(struct loop *));
    for (int i = 0; i < broker->netloops_count; i++) {
        loops[i] = broker->netloops[i].loop;
    }
    options.loops = loops;
    broker->moves = moves_new(&options);
    mem_free(loops);
    config_put(config);
}

static void make_parts(struct server *server)
{
    struct broker *broker = &server->broker;
    const struct config *config = config_now(server);
    broker->control_apply = control_apply_new(broker, on_metadata, server);
    struct admin_host admin_host = {.control = broker->control,
                                    .meta = &broker->meta,
                                    .config = &server->config,
                                    .seed = broker->env.seed ^ 0x61};
    broker->admin = admin_service_new(&admin_host, session_admin(server->session));
    meta_waits_init(&broker->meta_waits, broker->control, &broker->meta);
    broker->producer_ids = producer_ids_new(session_admin(server->session), broker->id);
    server->peers = peers_new(broker->control, broker->env.net, broker->id,
                              config_long(config, KEY_controller_socket_timeout_ms));
    config_put(config);
    server_make_controller(server);
    make_replicator(server);
    make_moves(server);
    server->changes_host =
        (struct config_changes_host){.changed = server_config_changed, .loaded = on_configs_loaded};
    server->changes = config_changes_new(broker->control, &server->changes_host);
    broker->config_changes = server->changes;
}

static void join(struct server *server)
{
    struct errmsg msg = {""};
    enum err err = bind_listeners(server, &msg);
    if (err != ERR_OK) {
        fail(server, err, msg.text);
        return;
    }
    struct arena arena = {0};
    struct znode_broker self;
    make_parts(server);
    describe_self(server, &arena, &self);
    session_join(server->session, server->broker.id, &self, server->driver, server->changes);
    arena_fini(&arena);
}

/* While we were away, others may have been given what we led, and what we know of the cluster may
 * be wrong: clients wait until the controller has told us again. (Kafka goes on answering them; a
 * producer that believes such an answer can be cut off for good by the sequence numbers it finds.)
 * In a stop nothing of the kind comes any more, and what is answered then is true. */
static void on_lost(struct session_host *host)
{
    struct server *server = container_of(host, struct server, session_host);
    if (!server->stopping) {
        gate_close(server);
    }
    server->registered = false;
}

static void on_contact(struct session_host *host, bool there)
{
    struct server *server = container_of(host, struct server, session_host);
    atomic_store(&server->broker.cut_off, !there);
}

static void on_metadata_late(struct loop_timer *timer)
{
    (void)timer;
    log_warn(
        LOGGER, "waiting",
        "for the cluster's controller to say what there is; clients are answered then. When the "
        "last controller died, another is elected as soon as its ZooKeeper session has ended.");
}

static void on_registered(struct session_host *host, int64_t broker_epoch)
{
    struct server *server = container_of(host, struct server, session_host);
    if (server->serving) { /* the first time the line at the end of the start says it */
        log_info(LOGGER, "registered again", "broker=%d epoch=%lld", server->broker.id,
                 (long long)broker_epoch);
    }
    server->broker_epoch = broker_epoch;
    control_apply_set_broker_epoch(server->broker.control_apply, broker_epoch);
    server->registered = true;
    if (!knows_cluster(server)) {
        server->metadata_timer.fn = on_metadata_late;
        loop_timer_set(server->broker.control, &server->metadata_timer,
                       loop_now_ms(server->broker.control) + METADATA_LATE_MS);
    }
    maybe_ready(server);
}

/* The controller counts on none of our replicas for what they may have lost. */
static void on_settled(struct session_host *host)
{
    struct server *server = container_of(host, struct server, session_host);
    if (!server->stopping) {
        logs_trust(server->broker.logs);
    }
}

/* ---- 8: ready ---- */

static void describe_listener(const struct server *server, int index, struct buf *line)
{
    const struct listener_config *from = &server->listeners.items[index];
    const struct listener *bound = &server->broker.listeners[index];
    uint16_t port = from->advertised_port != 0 ? from->advertised_port : bound->port;
    struct arena arena = {0};
    buf_printf(line, "%s%s bound to %s:%u, ", index > 0 ? "; " : "", from->name,
               from->host[0] != '\0' ? from->host : "*", bound->port);
    if (from->advertised) {
        buf_printf(line, "clients are told %.*s:%u", STR_ARG(advertised_host(from, &arena)), port);
    } else {
        buf_put_text(line, "clients are not told of it");
    }
    buf_put_text(line, bound->internal ? " (also for brokers)" : "");
    arena_fini(&arena);
}

static void log_start(struct server *server)
{
    struct broker *broker = &server->broker;
    struct buf line = {0};
    for (int i = 0; i < broker->listeners_count; i++) {
        describe_listener(server, i, &line);
    }
    log_info(LOGGER, "listeners", "%.*s", (int)line.size, line.data);
    buf_clear(&line);
    for (int i = 0; i < server->log_dirs_count; i++) {
        int64_t total = 0;
        int64_t usable = 0;
        enum err err = fs_space(broker->env.fs, server->log_dirs[i], &total, &usable);
        (void)err;
        buf_printf(&line, "%s%s (%lld MB free)", i > 0 ? "; " : "", server->log_dirs[i],
                   (long long)(usable >> 20));
    }
    log_info(LOGGER, "log dirs", "%.*s", (int)line.size, line.data);
    buf_fini(&line);
}

static void maybe_ready(struct server *server)
{
    bool known = server->registered && server->configs_loaded && knows_cluster(server);
    struct broker *broker = &server->broker;
    if (!known || server->stopping || atomic_load(&broker->ready)) {
        return;
    }
    gate_open(server);
    if (server->serving) {
        return; /* after a session that was lost */
    }
    char text[READY_TEXT_MAX];
    server->serving = true;
    upkeep_start(replicas_upkeep(control_apply_replicas(broker->control_apply)));
    replicator_start(broker->replicator);
    log_start(server);
    int64_t now = clock_mono_ms(broker->env.clock);
    snprintf(text, sizeof(text), "broker %d (epoch %lld) of cluster %s is ready in %lld ms",
             broker->id, (long long)server->broker_epoch, broker->cluster_id,
             (long long)(now - server->start_ms));
    server_started(server, ERR_OK, text);
    /* With many partitions a start needs twice the memory that stays in use: logs being opened,
     * states read from ZooKeeper, the controller's requests. */
    trimmer_soon(&broker->trimmer);
}
