/* InitProducerId: an id for an idempotent producer. Source: Kafka 3.9 in ZooKeeper mode.
 *
 * Transactional ids come with the transaction coordinator; until then they are answered with
 * COORDINATOR_NOT_AVAILABLE, as where no coordinator can be found. */
#include "admin/producer_ids.h"
#include "api/broker.h"
#include "api/control_call.h"
#include "api/handlers.h"

struct init_call {
    struct control_call call;
    struct producer_ids_waiter waiter;
    enum err err;
    int64_t producer_id;
};

static void reply(struct req *req, enum err err, int64_t producer_id)
{
    struct init_producer_id_response response;
    codec_init(&init_producer_id_response_desc, &response);
    response.error_code = err_wire(err);
    response.producer_id = err == ERR_OK ? producer_id : -1;
    response.producer_epoch = err == ERR_OK ? 0 : -1;
    req_reply(req, &response);
}

static void on_taken(struct producer_ids_waiter *waiter, enum err err, int64_t producer_id)
{
    struct init_call *init = container_of(waiter, struct init_call, waiter);
    init->err = err;
    init->producer_id = producer_id;
    control_call_finish(&init->call);
}

static void on_control(struct control_call *call)
{
    struct init_call *init = container_of(call, struct init_call, call);
    init->waiter.done = on_taken;
    producer_ids_take(call->req->broker->producer_ids, &init->waiter);
}

static void on_done(struct control_call *call)
{
    struct init_call *init = container_of(call, struct init_call, call);
    reply(call->req, init->err, init->producer_id);
}

void api_init_producer_id(struct req *req)
{
    const struct init_producer_id_request *request = req->body;
    if (request->transactional_id.ptr != NULL) {
        bool empty = request->transactional_id.size == 0;
        reply(req, empty ? ERR_INVALID_REQUEST : ERR_COORDINATOR_NOT_AVAILABLE, -1);
        return;
    }
    if ((request->producer_id < 0) != (request->producer_epoch < 0)) {
        reply(req, ERR_INVALID_REQUEST, -1);
        return;
    }
    struct init_call *init = req_new(req, struct init_call);
    control_call_start(&init->call, req, on_control, on_done);
}
