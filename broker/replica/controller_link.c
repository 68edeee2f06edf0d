#include "replica/controller_link.h"

#include "base/mem.h"
#include "base/must.h"

struct call {
    struct list link;
    struct controller_link *to;
    controller_link_fn *fn;
    void *arg;
    struct loop_task task; /* an answer that is there already */
    enum err err;
    struct buf request; /* to ourselves */
    struct buf response;
};

void controller_link_init(struct controller_link *link)
{
    list_init(&link->calls);
}

static void call_free(struct call *call)
{
    list_remove(&call->link);
    loop_task_cancel(&call->task);
    buf_fini(&call->request);
    buf_fini(&call->response);
    mem_free(call);
}

void controller_link_fini(struct controller_link *link)
{
    list_for_each_safe (at, &link->calls) {
        call_free(container_of(at, struct call, link));
    }
}

static void call_report(struct call *call, enum err err, struct bytes bytes)
{
    struct arena arena = {0};
    const Barnabas__Control__Response *response = NULL;
    if (err == ERR_OK) {
        err = control_response_unpack(&arena, bytes, &response, NULL);
    }
    call->fn(call->arg, err, err == ERR_OK ? response : NULL);
    arena_fini(&arena);
    call_free(call);
}

static void on_peer(void *arg, enum err err, struct bytes response)
{
    call_report(arg, err, response);
}

static void on_answer(struct loop_task *task)
{
    struct call *call = container_of(task, struct call, task);
    call_report(call, call->err, (struct bytes){call->response.data, call->response.size});
}

static void answer_later(struct call *call, enum err err)
{
    call->err = err;
    loop_task_init(&call->task, on_answer);
    loop_defer(call->to->loop, &call->task);
}

/* The driver may answer from inside the call. */
static void on_local(void *arg, struct bytes response)
{
    struct call *call = arg;
    buf_put(&call->response, response.data, response.size);
    answer_later(call, ERR_OK);
}

static void ask_peer(struct controller_link *link, int32_t controller_id, struct call *call)
{
    struct meta *meta = meta_cell_get(link->meta);
    const struct meta_broker *broker = meta_find_broker(meta, controller_id);
    const struct meta_endpoint *endpoint =
        broker != NULL ? meta_broker_endpoint(broker, link->listener) : NULL;
    if (endpoint != NULL) {
        struct bytes request = {call->request.data, call->request.size};
        peers_send(link->peers, controller_id, endpoint->host, (uint16_t)endpoint->port, request,
                   on_peer, call);
    } else {
        answer_later(call, ERR_CLOSED);
    }
    meta_put(meta);
}

void controller_link_ask(struct controller_link *link, Barnabas__Control__Request *request,
                         controller_link_fn *fn, void *arg)
{
    struct meta *meta = meta_cell_get(link->meta);
    int32_t controller_id = meta->controller_id;
    struct call *call = mem_new(struct call);
    meta_put(meta);
    control_set(request, broker_id, link->my_id);
    control_set(request, broker_epoch, atomic_load(link->epoch));
    call->to = link;
    call->fn = fn;
    call->arg = arg;
    loop_task_init(&call->task, on_answer);
    list_push_back(&link->calls, &call->link);
    control_request_pack(request, &call->request);
    if (controller_id == link->my_id) {
        ctl_driver_request(link->driver, request, on_local, call);
    } else {
        ask_peer(link, controller_id, call);
    }
}
