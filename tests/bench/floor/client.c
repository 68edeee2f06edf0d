#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "bench/floor/floor.h"
#include "codec/api.h"
#include "codec/codec.h"

/* So much that was sent is kept before what follows is moved to the front. */
enum { SENT_BYTES_MAX = 64 * 1024 };

static void watch(struct server *server, struct client *client, int op, bool writable)
{
    struct epoll_event event = {.events = EPOLLIN | (writable ? EPOLLOUT : 0u), .data.ptr = client};
    if (epoll_ctl(server->epoll, op, client->fd, &event) != 0) {
        floor_end("epoll_ctl");
    }
    client->blocked = writable;
}

struct client *client_new(struct server *server, int fd)
{
    struct client *client = mem_new(struct client);
    client->fd = fd;
    list_init(&client->unreleased);
    list_init(&client->fetch.link);
    watch(server, client, EPOLL_CTL_ADD, false);
    return client;
}

void client_free(struct server *server, struct client *client)
{
    (void)server;
    fetch_forget(&client->fetch);
    list_remove(&client->unreleased);
    for (size_t i = client->ranges_from; i < client->ranges_count; i++) {
        topic_put(client->ranges[i].part->topic);
    }
    for (size_t i = client->acks_from; i < client->acks_count; i++) {
        topic_put(client->acks[i].part->topic);
    }
    close(client->fd);
    buf_fini(&client->out);
    mem_free(client->fetch.wanted);
    mem_free(client->ranges);
    mem_free(client->acks);
    mem_free(client->in);
    mem_free(client);
}

/* ---- sending ---- */

/* False: the socket takes no more for now. That its peer has gone shows when receiving. */
static bool send_memory(struct client *client, size_t to, int flags)
{
    while (client->out_at < to) {
        ssize_t sent = send(client->fd, client->out.data + client->out_at, to - client->out_at,
                            MSG_NOSIGNAL | flags);
        if (sent < 0) {
            return false;
        }
        client->out_at += (size_t)sent;
    }
    return true;
}

static bool send_range(struct client *client, struct range *range)
{
    while (range->left > 0) {
        ssize_t sent = sendfile(client->fd, range->part->fd, &range->file_at, range->left);
        if (sent <= 0) {
            return false;
        }
        range->left -= (size_t)sent;
    }
    topic_put(range->part->topic);
    client->ranges_from++;
    return true;
}

static bool send_ready(struct client *client)
{
    while (client->ranges_from < client->ranges_count &&
           client->ranges[client->ranges_from].at <= client->out_ready) {
        struct range *range = &client->ranges[client->ranges_from];
        if (!send_memory(client, range->at, MSG_MORE) || !send_range(client, range)) {
            return false;
        }
    }
    return send_memory(client, client->out_ready, 0);
}

/* Forget what was sent. */
static void compact(struct client *client)
{
    size_t sent = client->out_at;
    if (sent < client->out.size && sent < SENT_BYTES_MAX) {
        return;
    }
    memmove(client->out.data, client->out.data + sent, client->out.size - sent);
    client->out.size -= sent;
    client->out_at = 0;
    client->out_ready -= sent;
    size_t kept = 0;
    for (size_t i = client->ranges_from; i < client->ranges_count; i++) {
        client->ranges[kept] = client->ranges[i];
        client->ranges[kept++].at -= sent;
    }
    client->ranges_from = 0;
    client->ranges_count = kept;
    kept = 0;
    for (size_t i = client->acks_from; i < client->acks_count; i++) {
        client->acks[kept] = client->acks[i];
        client->acks[kept++].release -= sent;
    }
    client->acks_from = 0;
    client->acks_count = kept;
}

void client_flush(struct server *server, struct client *client)
{
    if (client->out.size == 0 && client->ranges_from == client->ranges_count) {
        return;
    }
    bool blocked = !send_ready(client);
    compact(client);
    if (blocked != client->blocked) {
        watch(server, client, EPOLL_CTL_MOD, blocked);
    }
}

size_t reply_begin(struct client *client, int16_t api_key, int16_t version, int32_t correlation)
{
    size_t start = client->out.size;
    buf_put_be32(&client->out, 0);
    codec_encode_response_header(api_key, version, correlation, &client->out);
    return start;
}

void reply_end(struct client *client, size_t start, size_t more)
{
    be32_put(client->out.data + start, (uint32_t)(client->out.size - start - 4 + more));
    if (client->acks_from == client->acks_count) {
        client->out_ready = client->out.size;
    } else {
        client->acks[client->acks_count - 1].release = client->out.size;
    }
}

void reply_range(struct client *client, struct range range)
{
    if (client->ranges_count == client->ranges_capacity) {
        client->ranges_capacity += 16;
        client->ranges = mem_realloc(client->ranges, client->ranges_capacity * sizeof(range));
    }
    range.part->topic->uses++;
    client->ranges[client->ranges_count++] = range;
}

void reply_wait(struct server *server, struct client *client, struct part *part)
{
    if (client->acks_count == client->acks_capacity) {
        client->acks_capacity += 16;
        client->acks = mem_realloc(client->acks, client->acks_capacity * sizeof(*client->acks));
    }
    size_t release = client->acks_from < client->acks_count
                         ? client->acks[client->acks_count - 1].release
                         : client->out_ready;
    part->topic->uses++;
    client->acks[client->acks_count++] = (struct ack){part, part->offset_end, release};
    if (!list_linked(&client->unreleased)) {
        list_push_back(&server->unreleased, &client->unreleased);
    }
}

void client_release(struct server *server, struct client *client)
{
    size_t ready = client->out_ready;
    while (client->acks_from < client->acks_count) {
        const struct ack *ack = &client->acks[client->acks_from];
        if (ack->part->offset_hw < ack->offset) {
            break;
        }
        client->out_ready = ack->release;
        client->acks_from++;
        topic_put(ack->part->topic);
    }
    if (client->acks_from == client->acks_count) {
        list_remove(&client->unreleased);
    }
    if (client->out_ready > ready) {
        client_flush(server, client);
    }
}

/* ---- receiving ---- */

/* False: the peer does not speak as it should. */
static bool on_frame(struct server *server, struct client *client, struct bytes frame)
{
    _Alignas(16) uint8_t memory[4096]; /* enough for most: no allocation per request */
    struct arena arena = {.at = memory, .left = sizeof(memory)};
    struct request_header_view header;
    union {
        struct produce_request produce;
        struct fetch_request fetch;
    } body;
    if (codec_decode_request_header(frame, &header) != ERR_OK) {
        return false;
    }
    struct request request = {header.api_key, header.api_version, header.correlation_id, &arena};
    struct bytes in = {frame.data + header.used, frame.size - header.used};
    bool known = true;
    if (header.api_key != API_PRODUCE && header.api_key != API_FETCH) {
        known = on_admin(server, client, &request, in);
    } else if (!floor_speaks(header.api_key, header.api_version) ||
               codec_decode(api_find(header.api_key)->request, header.api_version, in, &arena,
                            &body, NULL) != ERR_OK) {
        known = false;
    } else if (header.api_key == API_PRODUCE) {
        on_produce(server, client, &request, &body.produce);
    } else {
        on_fetch(server, client, &request, &body.fetch);
    }
    arena_fini(&arena);
    return known;
}

/* Work off the whole frames of `data`, up to one that must wait. How much was used; SIZE_MAX: the
 * peer speaks something else. *frame_size is that of the frame that is left. */
static size_t take_frames(struct server *server, struct client *client, struct bytes data,
                          size_t *frame_size)
{
    size_t at = 0;
    *frame_size = 0;
    while (data.size - at >= 4 && !client->fetch.waits) {
        size_t size = be32_get(data.data + at);
        if (data.size - at < 4 + size) {
            *frame_size = 4 + size;
            break;
        }
        if (!on_frame(server, client, (struct bytes){data.data + at + 4, size})) {
            fprintf(stderr, "floor: a request of API %d, version %d\n",
                    size >= 4 ? be16_get(data.data + at + 4) : -1,
                    size >= 4 ? be16_get(data.data + at + 6) : -1);
            return SIZE_MAX;
        }
        at += 4 + size;
    }
    return at;
}

/* Keep what is left. Who has a buffer keeps it: its frames are large. */
static void keep(struct client *client, struct bytes left, size_t frame_size)
{
    size_t needed = frame_size > left.size ? frame_size : left.size + 4;
    needed = needed > FLOOR_RECEIVE_BYTES ? needed : FLOOR_RECEIVE_BYTES;
    if (left.size == 0 && client->in_capacity == 0) {
        return;
    }
    if (client->in != NULL) {
        memmove(client->in, left.data, left.size);
    }
    if (client->in_capacity < needed) {
        bool first = client->in == NULL;
        client->in_capacity = needed;
        client->in = mem_realloc(client->in, needed);
        if (first) {
            memcpy(client->in, left.data, left.size);
        }
    }
    client->in_size = left.size;
}

static void work_off(struct server *server, struct client *client, struct bytes data)
{
    size_t frame_size;
    size_t used = take_frames(server, client, data, &frame_size);
    if (used == SIZE_MAX) {
        client_free(server, client);
        return;
    }
    keep(client, (struct bytes){data.data + used, data.size - used}, frame_size);
    client_flush(server, client);
}

void client_go_on(struct server *server, struct client *client)
{
    work_off(server, client, (struct bytes){client->in, client->in_size});
}

void client_on_event(struct server *server, struct client *client, uint32_t events)
{
    if ((events & EPOLLOUT) != 0) {
        client_flush(server, client);
    }
    if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) == 0) {
        return;
    }
    uint8_t *at = client->in == NULL ? server->shared : client->in;
    size_t capacity = client->in == NULL ? FLOOR_RECEIVE_BYTES : client->in_capacity;
    ssize_t got = recv(client->fd, at + client->in_size, capacity - client->in_size, 0);
    if (got < 0 && errno == EAGAIN) {
        return;
    }
    if (got <= 0) {
        client_free(server, client);
        return;
    }
    work_off(server, client, (struct bytes){at, client->in_size + (size_t)got});
}
