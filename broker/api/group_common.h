/* group_common.h: what the handlers of the group APIs share: finding the coordinator, copying
 * answers.
 *
 * Threads: the client's loop, but for the copy functions, which run in the coordinator's actor and
 * touch only the call's own arena. */
#pragma once

#include "api/req.h"
#include "groups/groups.h"

/* A request to one coordinator, whose answer is the reply. */
struct group_req {
    struct group_call call;
    struct req *req;
    void *response; /* the wire's struct, in call.arena */
};

/* The local partition of __consumer_offsets that holds the group, borrowed; else NULL and the
 * error. */
struct part *group_coordinator(struct req *req, struct str group_id, enum err *err);

/* The index-th partition of __consumer_offsets if it lives here, borrowed, else NULL. */
struct part *group_partition(struct req *req, int32_t index);

/* False, and the connection is being closed, when a request asks for more than GROUP_ITEMS_MAX
 * groups or partitions. */
bool group_request_fits(struct req *req, int64_t items);

/* The answer would take so much memory: the connection is closed. */
void group_answer_too_large(struct req *req, int64_t bytes);

/* Names in the order given, each once; in the request's arena. */
struct str *group_distinct(struct req *req, const struct str *names, int32_t count,
                           int32_t *distinct_count);

/* "/10.0.0.5": the client's address as Java prints it, in the request's arena. */
struct str group_client_host(struct req *req);

/* The request's client id; "" when it had none. */
struct str group_client_id(struct req *req);

/* Send `call.event` to the coordinator; `copy` fills call.arena, and the struct that `response`
 * then points to is encoded as the reply. */
void group_req_submit(struct group_req *group, struct req *req, struct part *part,
                      void (*copy)(struct group_call *call, const struct grp_reply *reply));

/* The same for a request that may wait for other members for as long as its client has said: it
 * keeps no memory of its frame then, so the reply must not need any. */
void group_req_submit_patient(struct group_req *group, struct req *req, struct part *part,
                              void (*copy)(struct group_call *call, const struct grp_reply *reply));

/* Copies into the call's arena; a null string or null bytes stay null. */
struct str group_copy_str(struct group_call *call, struct str s);
struct bytes group_copy_bytes(struct group_call *call, struct bytes b);
