/* dispatch.h: from a frame to the handler of its API.
 *
 * The table in dispatch.c is the whole list of what this broker serves; what is not in it is not
 * offered.
 *
 * Threads: the client's loop. */
#pragma once

#include "api/req.h"

/* Decode header and body of a frame just received. Anything but ERR_OK: the connection is to be
 * closed without an answer (an unknown API, a version not offered, a malformed body), as Kafka
 * does. */
MUST_USE enum err dispatch_decode(struct req *req);

/* Call the handler. */
/* A control message: the controller's, or for the controller. */
bool dispatch_is_control(const struct req *req);

void dispatch_run(struct req *req);

/* May the next such request of the connection start while this one is waiting? */
bool dispatch_is_two_stage(int16_t api_key);

/* One served API, for ApiVersions. */
struct dispatch_range {
    int16_t key;
    int16_t version_min;
    int16_t version_max;
};

/* The i-th of them, in ascending order of keys. */
int32_t dispatch_count(void);
struct dispatch_range dispatch_range_at(int32_t index);

/* Does the table hold this version of this API? */
bool dispatch_serves(int16_t key, int16_t version);
