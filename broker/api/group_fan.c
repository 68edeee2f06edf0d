#include "api/group_fan.h"

#include "api/broker.h"
#include "api/group_common.h"
#include "api/limits.h"
#include "base/mem.h"
#include "base/must.h"

/* One place for a question under way; used again for the next. */
struct group_ask {
    struct group_call call; /* its arena gathers the answers of all its questions */
    struct group_fan *fan;
    int32_t index;
    size_t counted_bytes; /* of the arena, in fan->answers_bytes */
};

static void on_reply(struct group_call *call, const struct grp_reply *reply)
{
    struct group_ask *ask = container_of(call, struct group_ask, call);
    struct group_fan *fan = ask->fan;
    if (atomic_load(&fan->answers_bytes) > GROUP_ANSWER_MAX_BYTES) {
        return; /* too much already: what was said is not told, so it is not copied either */
    }
    fan->ops->answer(fan, ask->index, call, reply);
    size_t bytes = arena_size(&call->arena);
    atomic_fetch_add(&fan->answers_bytes, (int64_t)(bytes - ask->counted_bytes));
    ask->counted_bytes = bytes;
}

/* Send the next question that a coordinator must answer; false: there is none. */
static bool ask_next(struct group_fan *fan, struct group_ask *ask)
{
    while (fan->next < fan->count) {
        ask->index = fan->next++;
        ask->call.event = (struct grp_event){0};
        struct part *part = fan->ops->ask(fan, ask->index, &ask->call.event);
        if (part != NULL) {
            fan->waiting++;
            group_call_submit(part, &ask->call);
            return true;
        }
    }
    return false;
}

/* The answers must live until the reply is encoded, and the request may be gone after it. */
static void finish(struct group_fan *fan)
{
    must(fan->waiting == 0);
    must(fan->next == fan->count);
    int64_t bytes = atomic_load(&fan->answers_bytes);
    if (bytes > GROUP_ANSWER_MAX_BYTES) {
        group_answer_too_large(fan->req, bytes);
    } else {
        fan->ops->finish(fan);
    }
    for (int32_t i = 0; i < fan->asks_count; i++) {
        arena_fini(&fan->asks[i].call.arena);
    }
    mem_free(fan->asks);
    mem_free(fan);
}

static void on_done(struct group_call *call)
{
    struct group_ask *ask = container_of(call, struct group_ask, call);
    struct group_fan *fan = ask->fan;
    fan->waiting--;
    if (atomic_load(&fan->answers_bytes) > GROUP_ANSWER_MAX_BYTES) {
        fan->next = fan->count; /* nothing more is asked */
    }
    if (!ask_next(fan, ask) && fan->waiting == 0) {
        finish(fan);
    }
}

void group_fan_start(struct req *req, const struct group_fan_ops *ops, int32_t count, void *state)
{
    struct group_fan *fan = mem_new(struct group_fan);
    atomic_init(&fan->answers_bytes, 0);
    fan->req = req;
    fan->ops = ops;
    fan->state = state;
    fan->count = count;
    fan->asks_count = count < GROUP_FAN_ASKS_MAX ? count : GROUP_FAN_ASKS_MAX;
    fan->asks = mem_zalloc((size_t)fan->asks_count, sizeof(*fan->asks));
    for (int32_t i = 0; i < fan->asks_count; i++) {
        struct group_ask *ask = &fan->asks[i];
        ask->fan = fan;
        ask->call.loop = req->netloop->loop;
        ask->call.copy = on_reply;
        ask->call.done = on_done;
        if (!ask_next(fan, ask)) {
            break;
        }
    }
    if (fan->waiting == 0) {
        finish(fan);
    }
}
