/* load.c: where the static layer comes from: a file, the environment by the rules of the Docker
 * image,
 * --override; and the checks of a start. Later sources win in that order. */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/mem.h"
#include "config/config_internal.h"
#include "config/listeners.h"
#include "config/properties.h"

#define LOGGER "kafka.server.KafkaConfig"

enum { FILE_MAX = 16 << 20 };

struct loading {
    struct config *config;
    struct errmsg *msg;
    enum err err;
    const char *origin;
};

/* One pair of the static layer. */
static void take_pair(void *arg, const char *name, const char *value, int line)
{
    struct loading *loading = arg;
    enum config_key key = config_find(name);
    if (loading->err != ERR_OK) {
        return;
    }
    if (key == KEY_COUNT) {
        config_set_extra(loading->config, LAYER_STATIC, name, value);
        return;
    }
    const struct config_info *info = config_info(key);
    loading->err = config_check_value(info->name, info->type, info->minimum, value, loading->msg);
    if (loading->err == ERR_OK) {
        config_set_layer(loading->config, LAYER_STATIC, key, value);
    } else if (line > 0) {
        size_t used = strlen(loading->msg->text);
        snprintf(loading->msg->text + used, sizeof(loading->msg->text) - used, "\n  (%s, line %d)",
                 loading->origin, line);
    }
}

static enum err load_file(struct loading *loading, const char *path)
{
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        errmsg_set(
            loading->msg,
            "error[E-CONFIG-02]: cannot read the configuration %s: %s.\n  Give the path of a "
            "file such as the sample deploy/server.properties.",
            path, strerror(errno));
        return ERR_NOT_FOUND;
    }
    struct buf content = {0};
    size_t got;
    do {
        uint8_t *to = buf_extend(&content, 65536);
        got = fread(to, 1, 65536, file);
        content.size -= 65536 - got;
    } while (got > 0 && content.size < FILE_MAX);
    fclose(file);
    loading->origin = path;
    properties_parse((struct bytes){content.data, content.size}, take_pair, loading);
    buf_fini(&content);
    return loading->err;
}

/* ---- the environment ---- */

static bool is_excluded(const char *name)
{
    static const char *const names[] = {"KAFKA_VERSION",
                                        "KAFKA_OPTS",
                                        "KAFKA_JMX_OPTS",
                                        "KAFKA_JVM_PERFORMANCE_OPTS",
                                        "KAFKA_GC_LOG_OPTS",
                                        "KAFKA_LOG4J_ROOT_LOGLEVEL",
                                        "KAFKA_LOG4J_LOGGERS",
                                        "KAFKA_TOOLS_LOG4J_LOGLEVEL",
                                        "KAFKA_ZOOKEEPER_CLIENT_CNXN_SOCKET",
                                        "KAFKA_HEAP_OPTS",
                                        "KAFKA_LOG4J_OPTS",
                                        "KAFKA_JMX_PORT",
                                        "KAFKA_JMX_HOSTNAME",
                                        "KAFKA_CUB_ZK_TIMEOUT",
                                        "KAFKA_DATA_DIRS"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(names[i], name) == 0) {
            return true;
        }
    }
    return false;
}

/* KAFKA_LISTENER_NAME_X__Y -> listener.name.x_y: a lone underscore is a dot, two are one, three a
 * dash. */
static void env_key(const char *name, char *key, size_t size)
{
    size_t out = 0;
    const char *at = name + strlen("KAFKA_");
    bool first = true;
    while (*at != '\0' && out + 2 < size) {
        if (*at != '_') {
            key[out++] = (char)tolower((unsigned char)*at++);
            first = false;
            continue;
        }
        size_t run = strspn(at, "_");
        bool alone = run == 1 && !first && at[1] != '\0';
        at += run;
        first = false;
        if (alone) {
            key[out++] = '.';
            continue;
        }
        while (run > 0 && out + 2 < size) {
            key[out++] = run >= 3 ? '-' : '_';
            run -= run >= 3 ? 3 : run >= 2 ? 2 : 1;
        }
    }
    key[out] = '\0';
}

static void take_log_levels(const char *text)
{
    char *copy = mem_strdup(text);
    char *save = NULL;
    for (char *item = strtok_r(copy, ",", &save); item != NULL; item = strtok_r(NULL, ",", &save)) {
        enum log_level level;
        char *equals = strchr(item, '=');
        while (isspace((unsigned char)*item)) {
            item++;
        }
        if (equals != NULL && log_level_parse(equals + 1, &level)) {
            *equals = '\0';
            enum err err = log_set_level(item, level);
            (void)err; /* too many: the rest keeps its level */
        }
    }
    mem_free(copy);
}

static void take_variable(struct loading *loading, const char *name, const char *value)
{
    char key[256];
    enum log_level level;
    if (strcmp(name, "KAFKA_LOG4J_ROOT_LOGLEVEL") == 0 && log_level_parse(value, &level)) {
        enum err err = log_set_level("root", level);
        (void)err;
    } else if (strcmp(name, "KAFKA_LOG4J_LOGGERS") == 0) {
        take_log_levels(value);
    }
    if (is_excluded(name)) {
        return;
    }
    if (strncmp(value, "tcp://", 6) == 0) {
        log_warn(LOGGER, "ignoring a variable",
                 "%s=%s looks like a Kubernetes service link, not a setting", name, value);
        return;
    }
    env_key(name, key, sizeof(key));
    take_pair(loading, key, value, 0);
}

static enum err load_environment(struct loading *loading, const char *const *environment)
{
    loading->origin = "environment";
    for (const char *const *at = environment; *at != NULL && loading->err == ERR_OK; at++) {
        const char *equals = strchr(*at, '=');
        if (strncmp(*at, "KAFKA_", 6) == 0 && equals != NULL) {
            char *name = mem_strndup(*at, (size_t)(equals - *at));
            take_variable(loading, name, equals + 1);
            mem_free(name);
        }
    }
    return loading->err;
}

/* What the image fills in when it starts from the environment alone. */
static enum err image_defaults(struct loading *loading)
{
    struct config *config = loading->config;
    const char *advertised = config->layers[LAYER_STATIC][KEY_advertised_listeners];
    if (config->layers[LAYER_STATIC][KEY_zookeeper_connect] == NULL) {
        errmsg_set(
            loading->msg,
            "error[E-CONFIG-04]: KAFKA_ZOOKEEPER_CONNECT is required.\n  The broker finds its "
            "cluster there, for example:\n      KAFKA_ZOOKEEPER_CONNECT=zookeeper:2181");
        return ERR_INVALID_CONFIG;
    }
    if (advertised == NULL) {
        errmsg_set(
            loading->msg,
            "error[E-CONFIG-04]: KAFKA_ADVERTISED_LISTENERS is required.\n  It is what clients "
            "are told to connect to, for example:\n      "
            "KAFKA_ADVERTISED_LISTENERS=PLAINTEXT://localhost:9092");
        return ERR_INVALID_CONFIG;
    }
    if (config->layers[LAYER_STATIC][KEY_listeners] == NULL) {
        char *listeners = listeners_bind_all(advertised);
        config_set_layer(config, LAYER_STATIC, KEY_listeners, listeners);
        mem_free(listeners);
    }
    if (config->layers[LAYER_STATIC][KEY_log_dirs] == NULL) {
        config_set_layer(config, LAYER_STATIC, KEY_log_dirs, "/var/lib/kafka/data");
    }
    return ERR_OK;
}

static enum err load_overrides(struct loading *loading, const char *const *overrides, int count)
{
    loading->origin = "--override";
    for (int i = 0; i < count && loading->err == ERR_OK; i++) {
        const char *equals = strchr(overrides[i], '=');
        if (equals == NULL) {
            errmsg_set(loading->msg,
                       "error[E-CONFIG-03]: --override %s has no value.\n  Write key=value, for "
                       "example:\n      --override broker.id=1",
                       overrides[i]);
            return ERR_INVALID_CONFIG;
        }
        char *name = mem_strndup(overrides[i], (size_t)(equals - overrides[i]));
        take_pair(loading, name, equals + 1, 0);
        mem_free(name);
    }
    return loading->err;
}

/* ---- checks across keys ---- */

static enum err refuse(struct errmsg *msg, const char *what, const char *why)
{
    errmsg_set(msg, "error[E-CONFIG-05]: %s\n  %s", what, why);
    return ERR_INVALID_CONFIG;
}

static enum err check_id(const struct config *config, struct errmsg *msg)
{
    int64_t id = config_long(config, KEY_broker_id);
    int64_t reserved = config_long(config, KEY_reserved_broker_max_id);
    bool generate = config_bool(config, KEY_broker_id_generation_enable);
    if (!generate && id < 0) {
        return refuse(msg, "broker.id is missing.",
                      "With broker.id.generation.enable=false every broker needs its own, for "
                      "example:\n      broker.id=1");
    }
    if (generate && id > reserved) {
        return refuse(msg, "broker.id is greater than reserved.broker.max.id.",
                      "Larger ids are generated by ZooKeeper. Take a smaller one, or raise "
                      "reserved.broker.max.id, or set broker.id.generation.enable=false.");
    }
    if (config_is_set(config, KEY_node_id) &&
        config_long(config, KEY_node_id) != config_long(config, KEY_broker_id)) {
        return refuse(msg, "node.id and broker.id differ.",
                      "In ZooKeeper mode a broker has one id: set broker.id alone.");
    }
    return ERR_OK;
}

static enum err check_refused(const struct config *config, struct errmsg *msg)
{
    const char *roles = config_str(config, KEY_process_roles);
    if (roles != NULL && roles[0] != '\0') {
        return refuse(msg, "process.roles is set: that is KRaft mode.",
                      "Barnabas is coordinated by ZooKeeper. Remove process.roles and set "
                      "zookeeper.connect, or use Kafka 4 for KRaft.");
    }
    if (config_bool(config, KEY_zookeeper_ssl_client_enable)) {
        return refuse(
            msg, "zookeeper.ssl.client.enable=true cannot be honoured.",
            "The ZooKeeper client of Debian has no TLS, and silently using plain text would "
            "be worse. Remove the key, and protect that connection by the network.");
    }
    if (config_bool(config, KEY_remote_log_storage_system_enable)) {
        return refuse(msg, "remote.log.storage.system.enable=true cannot be honoured.",
                      "Tiered storage is not implemented. Remove the key.");
    }
    const char *authorizer = config_str(config, KEY_authorizer_class_name);
    if (authorizer != NULL && authorizer[0] != '\0') {
        return refuse(
            msg, "authorizer.class.name cannot be honoured yet.",
            "Starting without the access control that you asked for would be worse. Remove "
            "the key to run without.");
    }
    return ERR_OK;
}

static enum err check_relations(const struct config *config, struct errmsg *msg)
{
    if (config_str(config, KEY_zookeeper_connect) == NULL) {
        return refuse(msg, "zookeeper.connect is missing.",
                      "The broker finds its cluster there, for example:\n      "
                      "zookeeper.connect=localhost:2181");
    }
    if (config_roll_ms(config) < 1) {
        return refuse(msg, "log.roll.ms must be at least 1.",
                      "For example:\n      log.roll.ms=604800000");
    }
    int64_t retention = config_retention_ms(config);
    if (retention == 0) {
        return refuse(msg, "log.retention must be -1 (for ever) or at least 1 ms.",
                      "For example:\n      log.retention.hours=168");
    }
    int64_t wait = config_long(config, KEY_replica_fetch_wait_max_ms);
    if (wait > config_long(config, KEY_replica_socket_timeout_ms) ||
        wait > config_long(config, KEY_replica_lag_time_max_ms)) {
        return refuse(msg, "replica.fetch.wait.max.ms is too long.",
                      "It must not exceed replica.socket.timeout.ms nor replica.lag.time.max.ms.");
    }
    int64_t queued = config_long(config, KEY_queued_max_request_bytes);
    if (queued > 0 && queued < config_long(config, KEY_socket_request_max_bytes)) {
        return refuse(msg, "queued.max.request.bytes is smaller than socket.request.max.bytes.",
                      "A request of the largest size could never be read. Raise it, or set -1.");
    }
    int count;
    char **dirs = config_log_dirs(config, &count);
    for (int i = 0; i < count; i++) {
        mem_free(dirs[i]);
    }
    mem_free(dirs);
    if (count == 0) {
        return refuse(msg, "log.dirs names no directory.",
                      "For example:\n      log.dirs=/var/lib/kafka/data");
    }
    return ERR_OK;
}

static enum err check_listeners(const struct config *config, struct errmsg *msg)
{
    struct listeners listeners;
    enum err err = listeners_parse(config, &listeners, msg);
    if (err == ERR_OK) {
        listeners_fini(&listeners);
    }
    return err;
}

enum err config_check_relations(const struct config *config, struct errmsg *msg)
{
    enum err err = check_refused(config, msg);
    if (err == ERR_OK) {
        err = check_id(config, msg);
    }
    if (err == ERR_OK) {
        err = check_relations(config, msg);
    }
    return err == ERR_OK ? check_listeners(config, msg) : err;
}

enum err config_load(const struct config_load_options *options, struct config **out,
                     struct errmsg *msg)
{
    struct loading loading = {.config = config_new(), .msg = msg};
    enum err err = ERR_OK;
    if (options->file != NULL) {
        err = load_file(&loading, options->file);
    }
    if (err == ERR_OK && options->environ_ != NULL) {
        err = load_environment(&loading, options->environ_);
    }
    if (err == ERR_OK) {
        err = load_overrides(&loading, options->overrides, options->overrides_count);
    }
    if (err == ERR_OK && options->file == NULL && options->environ_ != NULL) {
        err = image_defaults(&loading);
    }
    if (err == ERR_OK) {
        err = config_check_relations(loading.config, msg);
    }
    if (err != ERR_OK) {
        config_put(loading.config);
        return err;
    }
    *out = loading.config;
    return ERR_OK;
}

enum err config_from_pairs(const struct config_pair *pairs, int count, struct config **out,
                           struct errmsg *msg)
{
    struct loading loading = {.config = config_new(), .msg = msg};
    for (int i = 0; i < count; i++) {
        take_pair(&loading, pairs[i].name, pairs[i].value, 0);
    }
    if (loading.err == ERR_OK) {
        loading.err = config_check_relations(loading.config, msg);
    }
    if (loading.err != ERR_OK) {
        config_put(loading.config);
        return loading.err;
    }
    *out = loading.config;
    return ERR_OK;
}

/* ---- what was unusual ---- */

static void list_keys(const struct config *config, enum config_class class, struct buf *names)
{
    for (int key = 0; key < KEY_COUNT; key++) {
        const struct config_info *info = config_info((enum config_key)key);
        const char *value = config->layers[LAYER_STATIC][key];
        bool same = value != NULL && info->value != NULL && strcmp(value, info->value) == 0;
        if (info->class == class && value != NULL && !same) {
            buf_printf(names, "%s%s", names->size > 0 ? ", " : "", info->name);
        }
    }
}

static void warn_keys(const struct config *config, enum config_class class, const char *event)
{
    struct buf names = {0};
    list_keys(config, class, &names);
    if (names.size > 0) {
        log_warn(LOGGER, event, "%.*s", (int)names.size, names.data);
    }
    buf_fini(&names);
}

void config_log_warnings(const struct config *config)
{
    warn_keys(config, CONFIG_ACCEPTED, "settings that are not implemented yet and have no effect");
    warn_keys(config, CONFIG_KRAFT_ONLY, "settings without effect in ZooKeeper mode");
    for (int i = 0; i < config->extras_count; i++) {
        const char *name = config->extras[i].name;
        const char *near = config_nearest(name);
        if (strncmp(name, "listener.name.", 14) == 0) {
            continue;
        }
        log_warn(LOGGER, "unknown setting", "%s is not a Kafka broker setting%s%s%s", name,
                 near != NULL ? "; did you mean " : "", near != NULL ? near : "",
                 near != NULL ? "?" : "");
    }
}
