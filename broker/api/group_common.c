#include "api/group_common.h"

#include <string.h>

#include "api/broker.h"
#include "api/client.h"
#include "api/find_coordinator.h"

struct part *group_coordinator(struct req *req, struct str group_id, enum err *err)
{
    static const char topic_name[] = "__consumer_offsets";
    *err = ERR_NOT_COORDINATOR;
    const struct meta_topic *topic =
        meta_find(meta_reader_now(&req->netloop->meta), str_of(topic_name));
    if (topic == NULL) {
        return NULL;
    }
    int32_t index = coordinator_partition(group_id, topic->partitions_count);
    struct part *part = parts_find(&req->netloop->parts, str_of(topic_name), index);
    if (part != NULL) {
        *err = ERR_OK;
    }
    return part;
}

struct str group_client_host(struct req *req)
{
    return str_of(arena_printf(&req->arena, "/%s", conn_peer_host(req->client->conn)));
}

struct str group_client_id(struct req *req)
{
    return req->client_id.ptr != NULL ? req->client_id : STR("");
}

static void on_done(struct group_call *call)
{
    struct group_req *group = container_of(call, struct group_req, call);
    struct arena arena = call->arena;
    req_reply(group->req, group->response);
    arena_fini(&arena);
}

void group_req_submit(struct group_req *group, struct req *req, struct part *part,
                      void (*copy)(struct group_call *call, const struct grp_reply *reply))
{
    group->req = req;
    group->call.loop = req->netloop->loop;
    group->call.copy = copy;
    group->call.done = on_done;
    group_call_submit(part, &group->call);
}

struct str group_copy_str(struct group_call *call, struct str s)
{
    return arena_str(&call->arena, s);
}

struct bytes group_copy_bytes(struct group_call *call, struct bytes b)
{
    if (b.data == NULL) {
        return b;
    }
    uint8_t *copy = arena_alloc(&call->arena, b.size);
    memcpy(copy, b.data, b.size);
    return (struct bytes){copy, b.size};
}
