#include "api/control_call.h"

#include "api/broker.h"

static void on_there(struct loop_msg *msg)
{
    struct control_call *call = container_of(msg, struct control_call, there);
    call->run(call);
}

static void on_back(struct loop_msg *msg)
{
    struct control_call *call = container_of(msg, struct control_call, back);
    call->done(call);
}

void control_call_start(struct control_call *call, struct req *req,
                        void (*run)(struct control_call *), void (*done)(struct control_call *))
{
    *call = (struct control_call){.req = req, .run = run, .done = done};
    call->there.fn = on_there;
    call->back.fn = on_back;
    loop_post(req->broker->control, &call->there);
}

void control_call_finish(struct control_call *call)
{
    loop_assert_here(call->req->broker->control);
    loop_post(call->req->netloop->loop, &call->back);
}
