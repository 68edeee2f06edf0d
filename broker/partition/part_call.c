/* part_call.c: the way of a call into a partition's actor and back to its loop. */
#include "partition/part_internal.h"

static void call_finish(struct part_call *call)
{
    struct part *part = call->part;
    call->done(call);
    part_put(part);
}

static void on_back(struct loop_msg *msg)
{
    call_finish(container_of(msg, struct part_call, back));
}

static void on_back_here(struct loop_task *task)
{
    call_finish(container_of(task, struct part_call, back_here));
}

void part_call_init(struct part *part, struct part_call *call,
                    void (*fn)(struct actor *actor, struct actor_msg *msg), size_t cost_bytes)
{
    call->part = part_get(part);
    call->msg = (struct actor_msg){.fn = fn, .cost_bytes = (uint32_t)cost_bytes};
}

void part_call_answer(struct part_call *call)
{
    if (call->loop == NULL) {
        call_finish(call);
    } else if (call->loop == loop_current()) {
        loop_task_init(&call->back_here, on_back_here);
        loop_defer(call->loop, &call->back_here);
    } else {
        call->back.fn = on_back;
        loop_post(call->loop, &call->back);
    }
}
