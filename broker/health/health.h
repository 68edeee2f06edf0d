/* health.h: is a broker ready? Asked from outside, as a client would, by `barnabasd healthcheck`.
 *
 * Ready means: it accepts a connection, answers a Metadata request, and knows a controller and at
 * least one broker. It does so only after it has registered itself and the controller has told it
 * about the cluster, so that a client that comes next finds everything.
 *
 * For containers and scripts that have neither curl nor a Kafka client. Blocks its caller; nothing
 * here belongs to a running broker.
 *
 * Threads: any. */
#pragma once

#include <stdint.h>

#include "config/config.h"

enum {
    HEALTH_TIMEOUT_MS = 3000,
    HEALTH_RESPONSE_MAX = 1 << 20, /* larger answers are not those of a broker */
};

struct health_target {
    char host[256];
    uint16_t port;
};

struct health_report {
    int32_t brokers_count;
    int32_t controller_id;
};

/* Where the broker of this configuration listens without encryption; loopback where it listens on
 * every interface. ERR_NOT_FOUND: nowhere, or on a port that the system chooses. */
MUST_USE enum err health_find_target(const struct config *config, struct health_target *out,
                                     struct errmsg *msg);

/* Ask, for at most `timeout_ms` altogether. Anything but ERR_OK: not ready, and *msg says why. */
MUST_USE enum err health_ask(const struct health_target *target, int timeout_ms,
                             struct health_report *out, struct errmsg *msg);
