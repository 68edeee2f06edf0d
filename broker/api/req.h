/* req.h: one request of a client, from its frame to its reply.
 *
 * A request owns its frame (everything decoded points into it), an arena (decoded arrays, what a
 * handler makes) and its encoded reply. Replies leave in the order of the requests, however they
 * finish.
 *
 * A handler runs on the client's loop and ends in exactly one of req_reply(), req_reply_spliced(),
 * req_drop() or req_close(), now or later, on that loop. Until then it may park the request
 * anywhere; when the client goes away meanwhile, `on_cancel` is called if set (and the request
 * dies), else the request stays until its handler answers, and the answer is thrown away.
 *
 * Threads: the client's loop. */
#pragma once

#include "base/arena.h"
#include "base/err.h"
#include "codec/api.h"
#include "codec/codec.h"
#include "codec/messages.h"
#include "fs/fs.h"
#include "rt/loop.h"

struct broker;
struct client;
struct netloop;

/* A range of a file in a reply. `release` is called when its last byte has left, or never will. */
struct req_file {
    struct fs_file *file;
    int64_t position;
    size_t size;
    void (*release)(void *arg);
    void *arg;
};

/* Where in the encoded reply the bytes of a records field belong. */
struct req_splice {
    size_t out_offset;
    struct req_file file;
    struct bytes memory; /* used when file.file is NULL */
};

struct req {
    struct list link; /* in client.requests, in order of arrival */
    struct client *client;
    struct netloop *netloop;
    struct broker *broker;
    const struct api_info *api;
    int16_t version;
    int32_t correlation_id;
    struct str client_id;
    const void *body; /* decoded; the handler knows its type */
    uint8_t *frame;   /* spare_frame_give */
    size_t frame_bytes;
    int64_t charged_bytes; /* of the loop's budget */
    bool frame_charged;    /* the frame is part of that */
    struct arena arena;
    int64_t received_ms;
    void (*on_cancel)(struct req *req);
    void *state; /* the handler's own, usually in the arena */

    /* The reply, once encoded. */
    bool answered;
    bool no_reply;
    bool close_after;
    struct buf out;
    struct req_splice *splices;
    int32_t splices_count;
    int64_t unread_bytes; /* of that and the arena, counted while they wait to be sent */
};

/* Encode and queue. `body` is the response struct of the request's API; it must fit the version:
 * anything else is a bug of ours, told in the log, and the connection is closed. */
void req_reply(struct req *req, const void *body);

/* As req_reply, for messages with `records` fields: files[i] supplies the bytes of the i-th such
 * field whose size is not zero, in wire order; a file of NULL means the bytes are in the field
 * itself. */
void req_reply_spliced(struct req *req, const void *body, const struct req_file *files,
                       int32_t count);

/* A body that is encoded already, behind a plain response header (control messages). Copied. */
void req_reply_raw(struct req *req, struct bytes body);

/* No reply at all (acks=0). */
void req_drop(struct req *req);

/* Close the connection after what is before this request has been answered. */
void req_close(struct req *req);

/* Until when a request may wait, on the loop's clock: for as long as its client said, or not at all
 * where the connection has gone meanwhile, for then nobody would end the wait sooner. */
int64_t req_wait_until(const struct req *req, int32_t timeout_ms);

/* Arena helpers that handlers use all the time. */
#define req_new(req, type)          arena_new(&(req)->arena, type)
#define req_array(req, type, count) arena_array(&(req)->arena, type, (size_t)(count))
