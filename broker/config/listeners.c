#include "config/listeners.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "config/values.h"

static const char *const protocol_names[] = {"PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"};

const char *security_protocol_name(enum security_protocol protocol)
{
    return protocol_names[protocol];
}

void listeners_fini(struct listeners *listeners)
{
    listeners->count = 0;
}

/* One "NAME://host:port". */
struct endpoint {
    char name[64];
    char host[256];
    uint16_t port;
};

/* The next item of a comma-separated list; false at its end. */
static bool next_item(const char **at, struct str *item)
{
    do {
        if (**at == '\0') {
            return false;
        }
        size_t size = strcspn(*at, ",");
        *item = config_trim((struct str){*at, size});
        *at += size + ((*at)[size] == ',');
    } while (item->size == 0);
    return true;
}

static enum err bad_endpoint(const char *key, struct str item, struct errmsg *msg)
{
    errmsg_set(msg,
               "error[E-LISTENER-04]: an entry of %s cannot be read.\n  %.*s\n  It must be "
               "NAME://host:port, for example:\n      %s=PLAINTEXT://localhost:9092",
               key, STR_ARG(item), key);
    return ERR_INVALID_CONFIG;
}

/* The characters that Kafka allows in a host: those of names and addresses, IPv6's among them. */
static bool is_host(const char *host)
{
    static const char marks[] = "-%._:";
    for (; *host != '\0'; host++) {
        unsigned char c = (unsigned char)*host;
        if (c >= 128 || (!isalnum(c) && strchr(marks, c) == NULL)) {
            return false;
        }
    }
    return true;
}

static enum err parse_endpoint(const char *key, struct str item, struct endpoint *out,
                               struct errmsg *msg)
{
    char text[400];
    if (item.size >= sizeof(text)) {
        return bad_endpoint(key, item, msg);
    }
    memcpy(text, item.ptr, item.size);
    text[item.size] = '\0';
    char *slashes = strstr(text, "://");
    char *colon = strrchr(text, ':');
    if (slashes == NULL || colon <= slashes || slashes == text ||
        (size_t)(slashes - text) >= sizeof(out->name)) {
        return bad_endpoint(key, item, msg);
    }
    for (char *c = text; c < slashes; c++) {
        out->name[c - text] = (char)toupper((unsigned char)*c);
    }
    out->name[slashes - text] = '\0';
    char *end;
    long port = strtol(colon + 1, &end, 10);
    if (end == colon + 1 || *end != '\0' || port < 0 || port > 65535) {
        return bad_endpoint(key, item, msg);
    }
    out->port = (uint16_t)port;
    *colon = '\0';
    const char *host = slashes + 3;
    size_t size = strlen(host);
    if (size >= 2 && host[0] == '[' && host[size - 1] == ']') {
        host++;
        size -= 2;
    }
    if (size >= sizeof(out->host)) {
        return bad_endpoint(key, item, msg);
    }
    memcpy(out->host, host, size);
    out->host[size] = '\0';
    return is_host(out->host) ? ERR_OK : bad_endpoint(key, item, msg);
}

static struct listener_config *find(struct listeners *listeners, const char *name)
{
    for (int i = 0; i < listeners->count; i++) {
        if (strcmp(listeners->items[i].name, name) == 0) {
            return &listeners->items[i];
        }
    }
    return NULL;
}

static bool is_protocol(struct str text, const char *name)
{
    return text.size == strlen(name) && strncasecmp(text.ptr, name, text.size) == 0;
}

/* The protocol that listener.security.protocol.map gives a name. */
static enum err find_protocol(const struct config *config, const char *name,
                              enum security_protocol *out, struct errmsg *msg)
{
    const char *map = config_str(config, KEY_listener_security_protocol_map);
    struct str item;
    while (map != NULL && next_item(&map, &item)) {
        const char *colon = memchr(item.ptr, ':', item.size);
        size_t size = colon != NULL ? (size_t)(colon - item.ptr) : 0;
        if (colon == NULL || size != strlen(name) || strncasecmp(item.ptr, name, size) != 0) {
            continue;
        }
        struct str protocol = config_trim((struct str){colon + 1, item.size - size - 1});
        for (int i = 0; i <= SECURITY_SASL_SSL; i++) {
            if (is_protocol(protocol, protocol_names[i])) {
                *out = (enum security_protocol)i;
                return ERR_OK;
            }
        }
    }
    errmsg_set(
        msg,
        "error[E-LISTENER-05]: listener %s has no security protocol.\n"
        "  listener.security.protocol.map=%s\n  Every listener's name must be in that map, for "
        "example:\n      listener.security.protocol.map=%s:PLAINTEXT",
        name, config_str(config, KEY_listener_security_protocol_map), name);
    return ERR_INVALID_CONFIG;
}

static enum err add_listener(const struct config *config, struct str item, struct listeners *out,
                             struct errmsg *msg)
{
    struct endpoint endpoint;
    enum err err = parse_endpoint("listeners", item, &endpoint, msg);
    if (err != ERR_OK) {
        return err;
    }
    if (find(out, endpoint.name) != NULL || out->count == LISTENERS_MAX) {
        errmsg_set(msg,
                   "error[E-LISTENER-06]: listener %s is there twice (or there are more than %d).\n"
                   "  Every listener needs a name of its own; map names to protocols with "
                   "listener.security.protocol.map.",
                   endpoint.name, LISTENERS_MAX);
        return ERR_INVALID_CONFIG;
    }
    for (int i = 0; i < out->count; i++) {
        if (endpoint.port != 0 && out->items[i].port == endpoint.port &&
            strcmp(out->items[i].host, endpoint.host) == 0) {
            errmsg_set(
                msg,
                "error[E-LISTENER-07]: listeners %s and %s have the same port %u.\n  Give each "
                "a port of its own.",
                out->items[i].name, endpoint.name, endpoint.port);
            return ERR_INVALID_CONFIG;
        }
    }
    struct listener_config *listener = &out->items[out->count++];
    *listener = (struct listener_config){.port = endpoint.port};
    memcpy(listener->name, endpoint.name, sizeof(listener->name));
    memcpy(listener->host, endpoint.host, sizeof(listener->host));
    err = find_protocol(config, endpoint.name, &listener->protocol, msg);
    if (err == ERR_OK && listener->protocol != SECURITY_PLAINTEXT) {
        errmsg_set(
            msg,
            "error[E-LISTENER-08]: listener %s wants %s, which this version does not offer.\n"
            "  Only PLAINTEXT listeners are implemented yet; serving it in plain text would be "
            "worse.",
            listener->name, protocol_names[listener->protocol]);
        return ERR_INVALID_CONFIG;
    }
    return err;
}

static enum err advertise(struct str item, struct listeners *out, struct errmsg *msg)
{
    struct endpoint endpoint;
    enum err err = parse_endpoint("advertised.listeners", item, &endpoint, msg);
    if (err != ERR_OK) {
        return err;
    }
    if (strcmp(endpoint.host, "0.0.0.0") == 0) {
        errmsg_set(
            msg,
            "error[E-LISTENER-09]: 0.0.0.0 cannot be advertised.\n  advertised.listeners tells "
            "clients where to connect: name the host that they can reach, for example:\n      "
            "advertised.listeners=%s://localhost:%u",
            endpoint.name, endpoint.port);
        return ERR_INVALID_CONFIG;
    }
    struct listener_config *listener = find(out, endpoint.name);
    if (listener == NULL) {
        errmsg_set(msg,
                   "error[E-LISTENER-10]: advertised listener %s is not in `listeners`.\n  Add it "
                   "there, for example:\n      listeners=%s://:%u",
                   endpoint.name, endpoint.name, endpoint.port);
        return ERR_INVALID_CONFIG;
    }
    if (listener->advertised) {
        errmsg_set(
            msg,
            "error[E-LISTENER-13]: advertised.listeners names %s twice.\n  Clients are told one "
            "address for each listener: keep one of them.",
            endpoint.name);
        return ERR_INVALID_CONFIG;
    }
    listener->advertised = true;
    memcpy(listener->advertised_host, endpoint.host, sizeof(listener->advertised_host));
    listener->advertised_port = endpoint.port;
    return ERR_OK;
}

/* Without advertised.listeners, what is bound is advertised. */
static void advertise_bound(struct listeners *out)
{
    for (int i = 0; i < out->count; i++) {
        struct listener_config *listener = &out->items[i];
        bool any = strcmp(listener->host, "0.0.0.0") == 0;
        listener->advertised = true;
        snprintf(listener->advertised_host, sizeof(listener->advertised_host), "%s",
                 any ? "" : listener->host);
        listener->advertised_port = listener->port;
    }
}

static enum err choose_inter_broker(const struct config *config, struct listeners *out,
                                    struct errmsg *msg)
{
    char name[64];
    bool named = config_is_set(config, KEY_inter_broker_listener_name);
    if (named && config_is_set(config, KEY_security_inter_broker_protocol)) {
        errmsg_set(msg, "error[E-LISTENER-11]: both inter.broker.listener.name and "
                        "security.inter.broker.protocol are set.\n  Keep only one of them.");
        return ERR_INVALID_CONFIG;
    }
    const char *wanted = config_str(config, named ? KEY_inter_broker_listener_name
                                                  : KEY_security_inter_broker_protocol);
    snprintf(name, sizeof(name), "%s", wanted);
    for (char *c = name; *c != '\0'; c++) {
        *c = (char)toupper((unsigned char)*c);
    }
    const struct listener_config *listener = find(out, name);
    if (listener == NULL || !listener->advertised) {
        errmsg_set(
            msg,
            "error[E-LISTENER-12]: brokers are to use listener %s, which is not advertised.\n"
            "  Set inter.broker.listener.name to one of `advertised.listeners`, for example:\n"
            "      inter.broker.listener.name=%s",
            name, out->count > 0 ? out->items[0].name : "PLAINTEXT");
        return ERR_INVALID_CONFIG;
    }
    out->inter_broker = (int)(listener - out->items);
    return ERR_OK;
}

static enum err check_control_plane(const struct config *config, struct listeners *listeners,
                                    struct errmsg *msg)
{
    const char *name = config_str(config, KEY_control_plane_listener_name);
    if (name == NULL) {
        return ERR_OK;
    }
    const struct listener_config *inter_broker = &listeners->items[listeners->inter_broker];
    for (int i = 0; i < listeners->count; i++) {
        const struct listener_config *listener = &listeners->items[i];
        if (strcasecmp(listener->name, name) == 0 && listener->advertised &&
            listener != inter_broker) {
            return ERR_OK;
        }
    }
    errmsg_set(
        msg,
        "error[E-LISTENER-14]: control.plane.listener.name=%s cannot be used.\n  It must be one "
        "of `advertised.listeners`, and not %s, which brokers use among each other.",
        name, inter_broker->name);
    return ERR_INVALID_CONFIG;
}

enum err listeners_parse(const struct config *config, struct listeners *out, struct errmsg *msg)
{
    *out = (struct listeners){0};
    const char *text = config_str(config, KEY_listeners);
    struct str item;
    enum err err = ERR_OK;
    while (err == ERR_OK && next_item(&text, &item)) {
        err = add_listener(config, item, out, msg);
    }
    const char *advertised = config_str(config, KEY_advertised_listeners);
    if (err == ERR_OK && (advertised == NULL || advertised[0] == '\0')) {
        advertise_bound(out);
    } else {
        while (err == ERR_OK && next_item(&advertised, &item)) {
            err = advertise(item, out, msg);
        }
    }
    if (err == ERR_OK) {
        err = choose_inter_broker(config, out, msg);
    }
    return err == ERR_OK ? check_control_plane(config, out, msg) : err;
}

/* ---- what ZooKeeper says ---- */

static bool is_of_listeners(const struct config_pair *pair)
{
    enum config_key key = config_find(pair->name);
    return key == KEY_listeners || key == KEY_advertised_listeners ||
           key == KEY_listener_security_protocol_map;
}

static bool can_be_served(const struct config *config, struct errmsg *msg)
{
    struct listeners listeners;
    bool good = listeners_parse(config, &listeners, msg) == ERR_OK;
    if (good) {
        listeners_fini(&listeners);
    }
    return good;
}

int listeners_leave_out(const struct config *config, struct config_pair *pairs, int count,
                        struct errmsg *msg)
{
    int others = 0;
    for (int i = 0; i < count; i++) {
        others += is_of_listeners(&pairs[i]) ? 0 : 1;
    }
    if (others == count) {
        return count;
    }
    struct config *next = config_with_layer(config, SOURCE_DYNAMIC_BROKER, pairs, count);
    bool good = can_be_served(next, msg);
    config_put(next);
    int kept = 0;
    for (int i = 0; !good && i < count; i++) {
        if (!is_of_listeners(&pairs[i])) {
            pairs[kept++] = pairs[i];
        }
    }
    return good ? count : kept;
}

/* ---- for the image ---- */

char *listeners_bind_all(const char *advertised)
{
    struct buf out = {0};
    struct str item;
    while (next_item(&advertised, &item)) {
        struct endpoint endpoint;
        struct errmsg msg;
        if (parse_endpoint("advertised.listeners", item, &endpoint, &msg) == ERR_OK) {
            buf_printf(&out, "%s%s://0.0.0.0:%u", out.size > 0 ? "," : "", endpoint.name,
                       endpoint.port);
        } else {
            /* Kept as it is: the check of `listeners` will explain it. */
            buf_printf(&out, "%s%.*s", out.size > 0 ? "," : "", STR_ARG(item));
        }
    }
    buf_put_byte(&out, 0);
    return (char *)out.data;
}
