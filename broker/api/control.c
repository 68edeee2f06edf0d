/* The private API: control messages, from the controller to this broker or from a broker to the
 * controller that this broker is. Only the inter-broker listener carries it (dispatch.c). */
#include <string.h>

#include "api/broker.h"
#include "api/control_call.h"
#include "api/handlers.h"
#include "control/control.h"
#include "controller/ctl_driver.h"

struct control_request {
    struct control_call call;
    struct bytes body;
    struct buf response;
};

static void on_response(void *arg, struct bytes response)
{
    struct control_request *control = arg;
    buf_put(&control->response, response.data, response.size);
    control_call_finish(&control->call);
}

static void on_control(struct control_call *call)
{
    struct control_request *control = container_of(call, struct control_request, call);
    struct broker *broker = call->req->broker;
    const Barnabas__Control__Request *request;
    struct arena arena = {0};
    enum err err = control_request_unpack(&arena, control->body, &request, NULL);
    if (err == ERR_OK && control_kind_is_for_controller((int)request->kind)) {
        ctl_driver_request(broker->ctl_driver, request, on_response, control);
    } else {
        broker->control_request(broker->control_apply, control->body, on_response, control);
    }
    arena_fini(&arena);
}

static void on_done(struct control_call *call)
{
    struct control_request *control = container_of(call, struct control_request, call);
    struct bytes response = {control->response.data, control->response.size};
    struct buf taken = control->response;
    req_reply_raw(call->req, response);
    buf_fini(&taken);
}

void api_control(struct req *req)
{
    struct control_request *control = req_new(req, struct control_request);
    control->body = *(const struct bytes *)req->body;
    control_call_start(&control->call, req, on_control, on_done);
}
