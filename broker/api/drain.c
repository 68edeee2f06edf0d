#include "api/drain.h"

#include "api/broker.h"
#include "api/client.h"
#include "base/mem.h"
#include "base/must.h"

/* One network loop's part. */
struct drain_loop {
    struct loop_msg there;
    struct loop_msg back;
    struct loop_timer timer;
    int64_t deadline_ms;
    struct drain *drain;
    struct netloop *netloop;
};

struct drain {
    struct broker *broker;
    void (*fn)(void *arg);
    void *arg;
    int loops_left; /* the control loop's */
    struct drain_loop loops[];
};

static void on_loop_back(struct loop_msg *msg)
{
    struct drain *drain = container_of(msg, struct drain_loop, back)->drain;
    must(drain->loops_left > 0);
    if (--drain->loops_left == 0) {
        drain->fn(drain->arg);
    }
}

static void look(struct drain_loop *loop)
{
    struct netloop *netloop = loop->netloop;
    int64_t now_ms = loop_now_ms(netloop->loop);
    bool late = now_ms >= loop->deadline_ms;
    bool open = false;
    list_for_each_safe (link, &netloop->clients) {
        struct client *client = container_of(link, struct client, link);
        if (late || client_is_quiet(client, now_ms - DRAIN_QUIET_MS)) {
            client_close(client);
        } else {
            open = open || client->conn != NULL; /* without one, its requests end by themselves */
        }
    }
    if (open) {
        loop_timer_set(netloop->loop, &loop->timer, now_ms + DRAIN_LOOK_MS);
    } else {
        netloop->closed = true;
        loop->back.fn = on_loop_back;
        loop_post(loop->drain->broker->control, &loop->back);
    }
}

static void on_timer(struct loop_timer *timer)
{
    look(container_of(timer, struct drain_loop, timer));
}

static void on_there(struct loop_msg *msg)
{
    struct drain_loop *loop = container_of(msg, struct drain_loop, there);
    struct netloop *netloop = loop->netloop;
    loop_timer_cancel(&netloop->idle_timer);
    netloop->draining = true;
    loop_timer_init(&loop->timer, on_timer);
    loop->deadline_ms = loop_now_ms(netloop->loop) + DRAIN_MAX_MS;
    look(loop);
}

struct drain *drain_begin(struct broker *broker, void (*fn)(void *arg), void *arg)
{
    int count = broker->netloops_count;
    struct drain *drain = mem_zalloc(1, sizeof(*drain) + (size_t)count * sizeof(struct drain_loop));
    drain->broker = broker;
    drain->fn = fn;
    drain->arg = arg;
    drain->loops_left = count;
    for (int i = 0; i < count; i++) {
        struct drain_loop *loop = &drain->loops[i];
        loop->drain = drain;
        loop->netloop = &broker->netloops[i];
        loop->there.fn = on_there;
        loop_post(loop->netloop->loop, &loop->there);
    }
    return drain;
}

void drain_free(struct drain *drain)
{
    mem_free(drain);
}
