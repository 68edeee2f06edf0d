#include "api/group_common.h"

#include <string.h>

#include "api/broker.h"
#include "api/client.h"
#include "api/find_coordinator.h"
#include "api/limits.h"
#include "api/names.h"
#include "base/log.h"

#define LOGGER "kafka.server.KafkaApis"

#define OFFSETS_TOPIC STR("__consumer_offsets")

struct part *group_partition(struct req *req, int32_t index)
{
    return parts_find(&req->netloop->parts, OFFSETS_TOPIC, index);
}

struct part *group_coordinator(struct req *req, struct str group_id, enum err *err)
{
    int32_t partitions = groups_partitions_count(req->broker->groups);
    struct part *part =
        partitions > 0 ? group_partition(req, coordinator_partition(group_id, partitions)) : NULL;
    *err = part != NULL ? ERR_OK : ERR_NOT_COORDINATOR;
    return part;
}

bool group_request_fits(struct req *req, int64_t items)
{
    static struct log_limit limit;
    struct net_name peer;
    if (items <= GROUP_ITEMS_MAX) {
        return true;
    }
    log_limited(
        &limit, LOG_WARN, LOGGER, "a request about groups is too large",
        "%s asks for %lld groups or partitions at once, the limit is %d; connection closed.",
        conn_peer(req->client->conn, &peer), (long long)items, GROUP_ITEMS_MAX);
    req_close(req);
    return false;
}

void group_answer_too_large(struct req *req, int64_t bytes)
{
    static struct log_limit limit;
    log_limited(&limit, LOG_WARN, LOGGER, "an answer about groups is too large",
                "client %.*s asked for what takes %lld bytes and more, the limit is %d; connection "
                "closed.",
                STR_ARG(group_client_id(req)), (long long)bytes, GROUP_ANSWER_MAX_BYTES);
    req_close(req);
}

struct str *group_distinct(struct req *req, const struct str *names, int32_t count,
                           int32_t *distinct_count)
{
    const bool *again = names_again(&req->arena, names, count);
    struct str *distinct = req_array(req, struct str, count);
    *distinct_count = 0;
    for (int32_t i = 0; i < count; i++) {
        if (!again[i]) {
            distinct[(*distinct_count)++] = names[i];
        }
    }
    return distinct;
}

struct str group_client_host(struct req *req)
{
    struct net_name host;
    return str_of(arena_printf(&req->arena, "/%s", conn_peer_host(req->client->conn, &host)));
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

static void on_kept(struct group_call *call)
{
    client_forget_frame(container_of(call, struct group_req, call)->req);
}

void group_req_submit_patient(struct group_req *group, struct req *req, struct part *part,
                              void (*copy)(struct group_call *call, const struct grp_reply *reply))
{
    group->call.kept = on_kept;
    group_req_submit(group, req, part, copy);
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
