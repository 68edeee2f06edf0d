/* load.c: where the static layer comes from: a file, the environment by the rules of the Docker
 * image, --override; later sources win in that order. And what is told of it at a start. */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/log.h"
#include "base/mem.h"
#include "config/config_internal.h"
#include "config/listeners.h"
#include "config/properties.h"

#define LOGGER              "kafka.server.KafkaConfig"
#define LOG_FORMAT_VARIABLE "BARNABAS_LOG_FORMAT"

enum { FILE_MAX = 16 << 20 };

struct loading {
    struct config *config;
    struct errmsg *msg;
    enum err err;
    const char *origin;
};

/* Where the value that was refused stands, behind the message. */
static void add_origin(struct loading *loading, const char *what, int line)
{
    size_t used = strlen(loading->msg->text);
    char *end = loading->msg->text + used;
    size_t room = sizeof(loading->msg->text) - used;
    if (line > 0) {
        snprintf(end, room, "\n  (%s, line %d)", what, line);
    } else {
        snprintf(end, room, "\n  (%s)", what);
    }
}

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
        add_origin(loading, loading->origin, line);
    }
}

/* All of it, or why not: errno. A directory can be opened, and not read; Docker makes one where the
 * file to be mounted is missing. */
static bool read_file(const char *path, struct buf *content)
{
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        return false;
    }
    size_t got;
    errno = 0;
    do {
        uint8_t *to = buf_extend(content, 65536);
        got = fread(to, 1, 65536, file);
        content->size -= 65536 - got;
    } while (got > 0 && content->size < FILE_MAX);
    int why = ferror(file) ? errno : got > 0 ? EFBIG : 0;
    fclose(file);
    errno = why;
    return why == 0;
}

static enum err load_file(struct loading *loading, const char *path)
{
    struct buf content = {0};
    if (!read_file(path, &content)) {
        errmsg_set(
            loading->msg,
            "error[E-CONFIG-02]: cannot read the configuration %s: %s.\n  Give the path of a "
            "file such as the sample deploy/server.properties.",
            path, strerror(errno));
        buf_fini(&content);
        return ERR_NOT_FOUND;
    }
    loading->origin = path;
    properties_parse((struct bytes){content.data, content.size}, take_pair, loading);
    buf_fini(&content);
    return loading->err;
}

/* ---- the environment ---- */

/* Variables that are no settings. The image, too, keeps most of them out of the file. */
static bool is_excluded(const char *name)
{
    static const char *const names[] = {"KAFKA_VERSION",
                                        "KAFKA_LOG4J_ROOT_LOGLEVEL",
                                        "KAFKA_LOG4J_LOGGERS",
                                        "KAFKA_TOOLS_LOG4J_LOGLEVEL",
                                        "KAFKA_ZOOKEEPER_CLIENT_CNXN_SOCKET",
                                        "KAFKA_CUB_ZK_TIMEOUT",
                                        "KAFKA_DATA_DIRS"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(names[i], name) == 0) {
            return true;
        }
    }
    return false;
}

/* Variables for the Java machine. */
static bool is_for_java(const char *name)
{
    static const char *const names[] = {"KAFKA_OPTS", "KAFKA_HEAP_OPTS", "KAFKA_LOG4J_OPTS",
                                        "KAFKA_JVM_PERFORMANCE_OPTS", "KAFKA_GC_LOG_OPTS"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(names[i], name) == 0) {
            return true;
        }
    }
    return strncmp(name, "KAFKA_JMX_", 10) == 0;
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

static void take_log_variable(const char *name, const char *value)
{
    enum log_level level;
    if (strcmp(name, "KAFKA_LOG4J_ROOT_LOGLEVEL") == 0 && log_level_parse(value, &level)) {
        enum err err = log_set_level("root", level);
        (void)err;
    } else if (strcmp(name, "KAFKA_LOG4J_LOGGERS") == 0) {
        take_log_levels(value);
    }
}

static void note(char **list, const char *name)
{
    char *longer = *list == NULL ? mem_strdup(name) : mem_printf("%s, %s", *list, name);
    mem_free(*list);
    *list = longer;
}

static void take_variable(struct loading *loading, const char *name, const char *value, bool links)
{
    char key[256];
    take_log_variable(name, value);
    if (is_excluded(name)) {
        return;
    }
    /* Kubernetes describes a service called "kafka" to every container in variables of these forms.
     */
    bool link =
        links && (strncmp(name, "KAFKA_SERVICE_", 14) == 0 || strncmp(name, "KAFKA_PORT", 10) == 0);
    if (link || strncmp(value, "tcp://", 6) == 0) {
        note(&loading->config->ignored_links, name);
    } else if (is_for_java(name)) {
        note(&loading->config->ignored_java, name);
    } else {
        env_key(name, key, sizeof(key));
        take_pair(loading, key, value, 0);
    }
}

/* Is there a service link, KAFKA_PORT=tcp://..., so that its companions are links too? */
static bool has_links(const char *const *environment)
{
    for (const char *const *at = environment; *at != NULL; at++) {
        if (strncmp(*at, "KAFKA_PORT=tcp://", 17) == 0) {
            return true;
        }
    }
    return false;
}

/* Kafka leaves the log's form to log4j, whose files mean nothing here. */
static void take_log_format(struct loading *loading, const char *value)
{
    if (strcasecmp(value, "text") == 0) {
        log_set_format(LOG_FORMAT_TEXT);
    } else if (strcasecmp(value, "json") == 0) {
        log_set_format(LOG_FORMAT_JSON);
    } else {
        errmsg_set(loading->msg,
                   "error[E-CONFIG-06]: the log has no such format.\n  " LOG_FORMAT_VARIABLE
                   "=%.200s\n  It must be text, lines as Kafka's, or json, an object in a line.",
                   value);
        loading->err = ERR_INVALID_CONFIG;
    }
}

static enum err load_environment(struct loading *loading, const char *const *environment)
{
    loading->origin = "environment";
    bool links = has_links(environment);
    for (const char *const *at = environment; *at != NULL && loading->err == ERR_OK; at++) {
        const char *equals = strchr(*at, '=');
        if (strncmp(*at, LOG_FORMAT_VARIABLE "=", sizeof(LOG_FORMAT_VARIABLE)) == 0) {
            take_log_format(loading, equals + 1);
        }
        if (strncmp(*at, "KAFKA_", 6) == 0 && equals != NULL) {
            char *name = mem_strndup(*at, (size_t)(equals - *at));
            take_variable(loading, name, equals + 1, links);
            if (loading->err != ERR_OK) {
                add_origin(loading, name, 0);
            }
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
        if (loading->err != ERR_OK) {
            add_origin(loading, "--override", 0);
        }
        mem_free(name);
    }
    return loading->err;
}

/* node.id alone means broker.id. */
static void adopt_node_id(struct config *config)
{
    const char *node_id = config->layers[LAYER_STATIC][KEY_node_id];
    if (node_id != NULL && config->layers[LAYER_STATIC][KEY_broker_id] == NULL) {
        config_set_layer(config, LAYER_STATIC, KEY_broker_id, node_id);
    }
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
    adopt_node_id(loading.config);
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
    adopt_node_id(loading.config);
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

/* One line for all: a file of another product must not drown the rest. */
static void warn_unknown(const struct config *config)
{
    struct buf names = {0};
    for (int i = 0; i < config->extras_count; i++) {
        const char *name = config->extras[i].name;
        const char *near = config_nearest(name);
        if (strncmp(name, "listener.name.", 14) == 0) {
            continue;
        }
        buf_printf(&names, "%s%s", names.size > 0 ? ", " : "", name);
        if (near != NULL) {
            buf_printf(&names, " (did you mean %s?)", near);
        }
    }
    if (names.size > 0) {
        log_warn(LOGGER, "not Kafka broker settings, ignored", "%.*s", (int)names.size, names.data);
    }
    buf_fini(&names);
}

void config_log_warnings(const struct config *config)
{
    warn_keys(config, CONFIG_ACCEPTED, "settings that are not implemented yet and have no effect");
    warn_keys(config, CONFIG_KRAFT_ONLY, "settings without effect in ZooKeeper mode");
    warn_unknown(config);
    if (config->ignored_links != NULL) {
        log_warn(LOGGER, "ignoring variables of a Kubernetes service link",
                 "%s; call the service other than \"kafka\", or set enableServiceLinks: false",
                 config->ignored_links);
    }
    if (config->ignored_java != NULL) {
        log_info(LOGGER, "no Java here, ignoring", "%s", config->ignored_java);
    }
    if (config->layers[LAYER_STATIC][KEY_log_dirs] == NULL &&
        config->layers[LAYER_STATIC][KEY_log_dir] == NULL) {
        log_warn(LOGGER, "log.dirs is not set",
                 "messages are kept in %s, which the system may empty; set log.dirs",
                 config_info(KEY_log_dir)->value);
    }
}
