/* frame_fuzz.c: everything a stranger's bytes meet before a handler: framing, request header, the
 * decoder of every request that is served, control messages.
 *
 * Input: one byte of options (bit 0: the inter-broker listener; the rest: how many bytes one
 * receive brings, 0: all), then the bytes of a connection. What must hold:
 *   - frames come out whole and in order, whatever pieces the bytes come in;
 *   - a frame that is not taken costs no more memory than twice its bytes and a block of the
 *     request's arena;
 *   - what was decoded is of an API and a version that is served. */
#include <string.h>

#include "api/broker.h"
#include "api/client.h"
#include "api/dispatch.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/must.h"
#include "control/control.h"
#include "support/fake_stream.h"

enum { FRAME_MAX = 1 << 20, ARENA_BLOCK = 2048 };

struct peer {
    struct client client; /* as much of it as decoding looks at */
    struct listener listener;
    struct bytes in;   /* the bytes of the connection */
    size_t frames_end; /* of those frames that came out */
    bool over;
};

/* The frame is where the bytes say that it is. */
static void check_frame(struct peer *peer, const uint8_t *frame, size_t size)
{
    size_t at = peer->frames_end;
    must(peer->in.size - at >= 4 + size);
    must(be32_get(peer->in.data + at) == size);
    must(size == 0 || memcmp(peer->in.data + at + 4, frame, size) == 0);
    peer->frames_end = at + 4 + size;
}

static void check_control(struct req *req)
{
    const Barnabas__Control__Request *request;
    const struct bytes *body = req->body;
    if (control_request_unpack(&req->arena, *body, &request, NULL) == ERR_OK) {
        must(request != NULL);
    }
}

static void check_request(struct peer *peer, struct req *req)
{
    enum err err = dispatch_decode(req);
    if (err != ERR_OK) {
        must(arena_size(&req->arena) <= 2 * req->frame_bytes + ARENA_BLOCK);
        peer->over = true;
        return;
    }
    must(req->api != NULL);
    if (req->api->request == NULL) {
        must(peer->listener.internal);
        check_control(req);
        return;
    }
    bool served = dispatch_serves(req->api->key, req->version);
    must(served || req->api->key == API_API_VERSIONS);
    must((req->body != NULL) == served);
}

static enum conn_verdict on_frame_size(struct conn *conn, int32_t size, const uint8_t *first4)
{
    (void)conn, (void)first4;
    return size < 0 || size > FRAME_MAX ? CONN_REFUSE : CONN_ACCEPT;
}

static void on_frame(struct conn *conn, uint8_t *frame, size_t size)
{
    struct peer *peer = conn_arg(conn);
    struct req req = {.client = &peer->client, .frame = frame, .frame_bytes = size};
    check_frame(peer, frame, size);
    check_request(peer, &req);
    arena_fini(&req.arena);
    mem_free(frame);
    if (peer->over) {
        conn_finish(conn);
    }
}

static void on_closed(struct conn *conn, enum err why)
{
    struct peer *peer = conn_arg(conn);
    (void)why;
    conn_free(conn);
    peer->client.conn = NULL;
}

static const struct conn_events events = {
    .on_frame_size = on_frame_size,
    .on_frame = on_frame,
    .on_closed = on_closed,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1) {
        return 0;
    }
    struct clock_manual clock;
    clock_manual_init(&clock, 0);
    must(log_set_level("root", LOG_OFF) == ERR_OK);
    struct loop *loop = loop_new("fuzz", 0, &clock.clock);
    struct fake_stream fake;
    fake_stream_init(&fake, loop);
    struct peer peer = {.listener = {.name = "FUZZ", .internal = (data[0] & 1) != 0}};
    peer.in = (struct bytes){data + 1, size - 1};
    peer.client.listener = &peer.listener;
    fake.recv_max = data[0] >> 1 > 0 ? data[0] >> 1 : SIZE_MAX;
    fake.eof = true;
    buf_put(&fake.in, peer.in.data, peer.in.size);
    peer.client.conn = conn_new(&fake.stream, &events, &peer);
    while (peer.client.conn != NULL) {
        bool moved = loop_turn(loop);
        moved = fake_stream_step(&fake) || moved;
        must(moved);
    }
    must(fake.closed);
    fake_stream_fini(&fake);
    loop_free(loop);
    return 0;
}
