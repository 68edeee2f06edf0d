/* listeners.h: what to bind, and what to tell clients. Source: Kafka 3.9, SocketServerConfigs.
 * Threads: any. */
#pragma once

#include "config/config.h"

enum { LISTENERS_MAX = 16 }; /* more are refused */

enum security_protocol {
    SECURITY_PLAINTEXT,
    SECURITY_SSL,
    SECURITY_SASL_PLAINTEXT,
    SECURITY_SASL_SSL
};

struct listener_config {
    char name[64]; /* upper case */
    enum security_protocol protocol;
    char host[256]; /* to bind; "": all interfaces */
    uint16_t port;  /* to bind; 0: any */
    bool advertised;
    char advertised_host[256]; /* "": the machine's name */
    uint16_t advertised_port;  /* 0: the one bound */
};

struct listeners {
    struct listener_config items[LISTENERS_MAX];
    int count;
    int inter_broker; /* index of the listener that brokers use */
};

MUST_USE enum err listeners_parse(const struct config *config, struct listeners *out,
                                  struct errmsg *msg);
void listeners_fini(struct listeners *listeners);

/* `pairs` are to be the broker's own dynamic layer over `config`. When what they say of listeners
 * cannot be served (they may be of another life, with TLS), that is left out, as Kafka does: the
 * new count is returned, and *msg says why. */
int listeners_leave_out(const struct config *config, struct config_pair *pairs, int count,
                        struct errmsg *msg);

const char *security_protocol_name(enum security_protocol protocol);

/* `listeners` for an advertised list: every host replaced by 0.0.0.0. Fresh memory. */
char *listeners_bind_all(const char *advertised);
