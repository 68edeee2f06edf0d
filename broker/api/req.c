#include "api/req.h"

#include <string.h>

#include "api/client.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/must.h"

#define LOGGER "kafka.server.KafkaApis"

struct splice_context {
    struct req *req;
    const struct req_file *files;
    int32_t files_count;
    int32_t used;
};

static void splice_add(void *arg, const struct bytes *field, size_t out_offset)
{
    struct splice_context *context = arg;
    struct req *req = context->req;
    if (field->size == 0) {
        return;
    }
    must(context->used < context->files_count);
    struct req_splice *splice = &req->splices[req->splices_count++];
    splice->out_offset = out_offset;
    splice->file = context->files[context->used++];
    splice->memory = *field;
    must(splice->file.file == NULL || splice->file.size == field->size);
}

/* Room for the frame's size, then the response header. */
static void reply_begin(struct req *req)
{
    must(!req->answered);
    buf_put_be32(&req->out, 0);
    codec_encode_response_header(req->api->key, req->version, req->correlation_id, &req->out);
}

static void reply_end(struct req *req)
{
    size_t size = req->out.size - 4;
    for (int32_t i = 0; i < req->splices_count; i++) {
        const struct req_splice *splice = &req->splices[i];
        size += splice->file.file != NULL ? splice->file.size : splice->memory.size;
    }
    must(size <= INT32_MAX);
    be32_put(req->out.data, (uint32_t)size);
    req->answered = true;
    client_answered(req);
}

/* A bug of ours, which whoever asks so must not be able to end the broker with: some text that is
 * longer than a string can be, most likely. */
static void reply_fail(struct req *req)
{
    static struct log_limit limit;
    log_limited(&limit, LOG_ERROR, LOGGER, "an answer cannot be said in its version",
                "api=%s version=%d; connection closed", req->api->name, req->version);
    buf_clear(&req->out);
    req_close(req);
}

void req_reply(struct req *req, const void *body)
{
    reply_begin(req);
    enum err err = codec_encode(req->api->response, req->version, body, &req->out);
    if (err == ERR_OK) {
        reply_end(req);
    } else {
        reply_fail(req);
    }
}

void req_reply_spliced(struct req *req, const void *body, const struct req_file *files,
                       int32_t count)
{
    struct splice_context context = {.req = req, .files = files, .files_count = count};
    req->splices = req_array(req, struct req_splice, count);
    reply_begin(req);
    enum err err = codec_encode_spliced(req->api->response, req->version, body, &req->out,
                                        splice_add, &context);
    must(err == ERR_OK);
    must(context.used == count);
    reply_end(req);
}

void req_reply_raw(struct req *req, struct bytes body)
{
    must(!req->answered);
    buf_put_be32(&req->out, 0);
    buf_put_be32(&req->out, (uint32_t)req->correlation_id);
    buf_put(&req->out, body.data, body.size);
    reply_end(req);
}

void req_drop(struct req *req)
{
    must(!req->answered);
    req->answered = true;
    req->no_reply = true;
    client_answered(req);
}

void req_close(struct req *req)
{
    must(!req->answered);
    req->close_after = true;
    req_drop(req);
}

int64_t req_wait_until(const struct req *req, int32_t timeout_ms)
{
    return req->client->conn == NULL ? req->received_ms : req->received_ms + timeout_ms;
}
