/* group_fan.h: one request that asks several coordinators of this broker, and is answered when all
 * of them have answered.
 *
 *   group_fan_start(): ask(0) ask(1) ... -> coordinators' actors: answer() -> finish()
 *
 * Questions have an index, by which `ask` and `answer` find what belongs to them in the request's
 * arena; no two share anything, so the actors need no lock.
 *
 * Threads: the client's loop; `answer` runs in a coordinator's actor.
 * Limits:  GROUP_FAN_ASKS_MAX questions are under way at once, the others wait for them; when the
 *          answers take more than GROUP_ANSWER_MAX_BYTES no more of them are copied, and the
 *          connection is closed. */
#pragma once

#include <stdatomic.h>

#include "api/req.h"
#include "groups/groups.h"

enum { GROUP_FAN_ASKS_MAX = 32 };

struct group_fan;

struct group_fan_ops {
    /* Fill in the event, which is zero but for what is said here, and return the coordinator's
     * partition (borrowed); or write down the answer and return NULL. */
    struct part *(*ask)(struct group_fan *fan, int32_t index, struct grp_event *event);
    /* In the actor: what is needed of the reply is copied into call->arena, which lives until
     * `finish` returns. */
    void (*answer)(struct group_fan *fan, int32_t index, struct group_call *call,
                   const struct grp_reply *reply);
    /* All is answered: ends in req_reply(). Not called when the answers are too large. */
    void (*finish)(struct group_fan *fan);
};

struct group_ask;

struct group_fan {
    struct req *req;
    const struct group_fan_ops *ops;
    void *state; /* the handler's, usually in the request's arena */
    int32_t count;
    int32_t next;                  /* the first question that was not asked yet */
    int32_t waiting;               /* asked and not answered */
    _Atomic int64_t answers_bytes; /* of what has been copied; the actors add to it */
    int32_t asks_count;
    struct group_ask *asks;
};

/* Ask `count` questions. The fan is made here and dies after `finish`. */
void group_fan_start(struct req *req, const struct group_fan_ops *ops, int32_t count, void *state);
