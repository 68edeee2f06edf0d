/* controller_link.h: how a broker asks the controller: it may be another broker, or this one.
 *
 * Threads: the control loop. */
#pragma once

#include <stdatomic.h>

#include "control/control.h"
#include "controller/ctl_driver.h"
#include "meta/meta.h"
#include "peer/peer.h"

struct controller_link {
    struct loop *loop;
    struct peers *peers;
    struct ctl_driver *driver; /* ours, for when we are the controller */
    struct meta_cell *meta;    /* who and where it is */
    const char *listener;      /* the inter-broker one */
    int32_t my_id;
    const _Atomic int64_t *epoch; /* of our registration */
    struct list calls;            /* under way */
};

void controller_link_init(struct controller_link *link);

/* After peers and driver are gone: what was under way there is forgotten without a callback. */
void controller_link_fini(struct controller_link *link);

/* `response` lives until the callback returns; NULL with an error: no controller is known, or the
 * way to it broke. An error that the controller itself reports is in the response. */
typedef void controller_link_fn(void *arg, enum err err,
                                const Barnabas__Control__Response *response);

/* The sender and its epoch are filled in. The callback comes later, never from inside. */
void controller_link_ask(struct controller_link *link, Barnabas__Control__Request *request,
                         controller_link_fn *fn, void *arg);
