#include "sim_control.h"

#include <string.h>

#include "api/broker.h"
#include "base/mem.h"
#include "base/must.h"
#include "control/control.h"
#include "peer/peer.h"
#include "server/server.h"
#include "sim.h"

struct sim_control {
    struct sim *sim;
    struct rng rng;
    int after;
    sim_control_fn *fn; /* NULL: nothing is to happen */
    void *arg;
    uint64_t late_one_in;
    int64_t late_ns;
    struct list late; /* of struct late that wait */
};

/* A message on its way to arrive once more. */
struct late {
    struct list link;
    struct sim_control *control;
    struct sim_event event;
    struct loop_msg msg;
    struct sim_node *to;
    int life;
    struct buf request;
};

struct sim_control *sim_control_new(struct sim *sim)
{
    struct sim_control *control = mem_new(struct sim_control);
    control->sim = sim;
    rng_seed(&control->rng, rng_next(&sim->rng));
    list_init(&control->late);
    return control;
}

static void late_free(struct late *late)
{
    buf_fini(&late->request);
    mem_free(late);
}

void sim_control_calm(struct sim_control *control)
{
    struct list *item;
    control->fn = NULL;
    control->late_one_in = 0;
    while ((item = list_pop_front(&control->late)) != NULL) {
        struct late *late = container_of(item, struct late, link);
        sim_time_cancel(&control->sim->time, &late->event);
        late_free(late);
    }
}

void sim_control_free(struct sim_control *control)
{
    sim_control_calm(control);
    mem_free(control);
}

void sim_control_at(struct sim_control *control, int after, sim_control_fn *fn, void *arg)
{
    control->after = after;
    control->fn = fn;
    control->arg = arg;
}

void sim_control_set_late(struct sim_control *control, uint64_t one_in, int64_t late_ns)
{
    control->late_one_in = one_in;
    control->late_ns = late_ns;
}

/* ---- late ones ---- */

/* Nobody waits for the answer any more. */
static void on_answer(void *arg, struct bytes response)
{
    (void)arg;
    (void)response;
}

/* On the receiver's control loop. */
static void on_arrived(struct loop_msg *msg)
{
    struct late *late = container_of(msg, struct late, msg);
    struct sim_node *node = late->to;
    if (!node->died && node->state == NODE_UP) {
        struct broker *broker = server_broker(node->server);
        sim_trace_line(&node->sim->trace, node->name, "is sent an old control message again");
        broker->control_request(broker->control_apply,
                                (struct bytes){late->request.data, late->request.size}, on_answer,
                                NULL);
    }
    late_free(late);
}

static void on_late(struct sim_event *event)
{
    struct late *late = container_of(event, struct late, event);
    list_remove(&late->link);
    if (late->to->state != NODE_UP || late->to->lives != late->life) {
        late_free(late);
        return;
    }
    late->msg.fn = on_arrived;
    loop_post(server_broker(late->to->server)->control, &late->msg);
}

/* Only what the controller says to brokers. */
static bool is_for_broker(struct bytes request)
{
    const Barnabas__Control__Request *unpacked;
    struct arena arena = {0};
    bool is = control_request_unpack(&arena, request, &unpacked, NULL) == ERR_OK &&
              !control_kind_is_for_controller((int)unpacked->kind);
    arena_fini(&arena);
    return is;
}

static void send_again(struct sim_control *control, int to, struct bytes request)
{
    struct sim_node *node = sim_node_by_id(control->sim, to);
    if (node == NULL || !rng_one_in(&control->rng, control->late_one_in) ||
        !is_for_broker(request)) {
        return;
    }
    struct late *late = mem_new(struct late);
    late->control = control;
    late->to = node;
    late->life = node->lives;
    late->event.fn = on_late;
    buf_put(&late->request, request.data, request.size);
    list_push_back(&control->late, &late->link);
    sim_time_after(&control->sim->time, &late->event,
                   (int64_t)rng_below(&control->rng, (uint64_t)control->late_ns));
}

/* ---- what the linker sends here (CMakeLists.txt) ---- */

static void before_send(struct sim *sim, int to, struct bytes request)
{
    struct sim_control *control = sim->control;
    struct sim_node *from = sim_speaking_node(sim);
    if (control == NULL || from == NULL) {
        return;
    }
    send_again(control, to, request);
    if (control->fn != NULL && control->after-- == 0) {
        sim_control_fn *fn = control->fn;
        control->fn = NULL;
        fn(control->arg, from, to);
    }
}

void __real_peers_send(struct peers *peers, int32_t broker_id, const char *host, uint16_t port,
                       struct bytes request, peer_done_fn *fn, void *arg);
void __wrap_peers_send(struct peers *peers, int32_t broker_id, const char *host, uint16_t port,
                       struct bytes request, peer_done_fn *fn, void *arg);

void __wrap_peers_send(struct peers *peers, int32_t broker_id, const char *host, uint16_t port,
                       struct bytes request, peer_done_fn *fn, void *arg)
{
    if (sim_running() != NULL) {
        before_send(sim_running(), broker_id, request);
    }
    __real_peers_send(peers, broker_id, host, port, request, fn, arg);
}
