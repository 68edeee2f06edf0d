/* gate.h: are clients served, or do they wait?
 *
 * They wait (client_must_hold() in api/client.c) until the controller has told us what there is; in
 * the time between a session that was lost and the next; and after the process has stood still for
 * six tenths of a session timeout or more, until ZooKeeper has answered something in our session,
 * for it may have ended and others may lead (api/pulse.h). Kafka serves them then, and sends a
 * consumer that is further than it knows back to the beginning. Where ZooKeeper is away for another
 * session timeout we serve on, as Kafka does from the start.
 *
 * Threads: the control loop. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "rt/loop.h"

struct server;

struct gate {
    struct loop_timer beat;
    bool watching;
    bool doubting; /* closed, because we stood still */
    bool asking;   /* ZooKeeper has not answered yet */
    bool missed;   /* we stood still while closed for another reason */
    int64_t doubt_ms;
    int64_t asked_ms;
    int32_t timeout_ms; /* of the session: as granted last */
};

void gate_init(struct server *server);

/* Run what was held, serve what comes; and watch from now on whether we stand still. Where we have
 * since gate_close(), all that begins when ZooKeeper has answered. */
void gate_open(struct server *server);

/* Hold what comes. */
void gate_close(struct server *server);

/* A stop begins: whether we stand still does not matter any more. If we just have, ZooKeeper is
 * asked once; without an answer those who wait are not answered (api/drain.h). */
void gate_rest(struct server *server);
