/* control_call.h: a request that needs the control loop: ZooKeeper, the controller, the set of
 * partitions.
 *
 *   client's loop: control_call_start() -> control loop: run() ... control_call_finish() ->
 * client's loop: done(), which answers the request.
 *
 * The call lives in the request's arena (embed it in the handler's own struct). Between start and
 * done the request and its arena belong to the control loop: the handler's loop does not touch
 * them.
 *
 * Limits: none of its own; each call is an admitted request. */
#pragma once

#include "api/req.h"

struct control_call {
    struct req *req;
    struct loop_msg there;
    struct loop_msg back;
    void (*run)(struct control_call *call);
    void (*done)(struct control_call *call);
};

void control_call_start(struct control_call *call, struct req *req,
                        void (*run)(struct control_call *), void (*done)(struct control_call *));

/* @control loop: exactly once per call. */
void control_call_finish(struct control_call *call);
