#include "bench/load/peer.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "codec/api.h"
#include "codec/codec.h"
#include "codec/messages.h"

enum { RECEIVE_BYTES = 256 * 1024, CALL_CORRELATION = 1, CALL_TIMEOUT_MS = 30000 };

void die(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fprintf(stderr, "load: ");
    vfprintf(stderr, format, args);
    fprintf(stderr, "\n");
    va_end(args);
    exit(1);
}

uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

bool peer_try_connect(struct peer *peer, const char *host, uint16_t port)
{
    char service[8];
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_family = AF_INET};
    struct addrinfo *list;
    snprintf(service, sizeof(service), "%u", port);
    *peer = (struct peer){.fd = -1};
    if (getaddrinfo(host, service, &hints, &list) != 0) {
        die("unknown host %s", host);
    }
    peer->fd = socket(list->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (peer->fd < 0) {
        die("socket: %m");
    }
    int failed = connect(peer->fd, list->ai_addr, list->ai_addrlen);
    freeaddrinfo(list);
    if (failed != 0) {
        close(peer->fd);
        peer->fd = -1;
        return false;
    }
    int on = 1;
    setsockopt(peer->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (fcntl(peer->fd, F_SETFL, O_NONBLOCK) != 0) {
        die("fcntl: %m");
    }
    return true;
}

void peer_connect(struct peer *peer, const char *host, uint16_t port)
{
    if (!peer_try_connect(peer, host, port)) {
        die("cannot connect to %s:%u: %m", host, port);
    }
}

void peer_close(struct peer *peer)
{
    close(peer->fd);
    mem_free(peer->in);
}

/* Bytes of the first frame that are still to come, as far as is known. */
static size_t frame_missing(const struct peer *peer)
{
    size_t have = peer->in_size - peer->in_from;
    if (have < 4) {
        return 4 - have;
    }
    size_t whole = 4 + (size_t)be32_get(peer->in + peer->in_from);
    return whole > have ? whole - have : 0;
}

/* Make room behind what is there: for the rest of the frame, and more where it costs nothing. */
static void make_room(struct peer *peer)
{
    size_t have = peer->in_size - peer->in_from;
    if (have == 0) {
        peer->in_from = 0;
        peer->in_size = 0;
    }
    size_t missing = frame_missing(peer);
    size_t wanted = missing > RECEIVE_BYTES ? missing : RECEIVE_BYTES;
    if (peer->in_capacity - peer->in_size >= missing && missing > 0) {
        return;
    }
    if (peer->in_from > 0) {
        memmove(peer->in, peer->in + peer->in_from, have);
        peer->in_from = 0;
        peer->in_size = have;
    }
    if (peer->in_capacity < have + wanted) {
        peer->in_capacity = have + wanted;
        peer->in = mem_realloc(peer->in, peer->in_capacity);
    }
}

enum peer_got peer_try_receive(struct peer *peer)
{
    make_room(peer);
    ssize_t got = recv(peer->fd, peer->in + peer->in_size, peer->in_capacity - peer->in_size, 0);
    if (got > 0) {
        peer->in_size += (size_t)got;
        return PEER_SOME;
    }
    return got < 0 && (errno == EAGAIN || errno == EINTR) ? PEER_NOTHING : PEER_BROKEN;
}

bool peer_receive(struct peer *peer)
{
    enum peer_got got = peer_try_receive(peer);
    if (got == PEER_BROKEN) {
        die("the broker broke the connection");
    }
    return got == PEER_SOME;
}

bool peer_next(struct peer *peer, struct bytes *frame)
{
    size_t have = peer->in_size - peer->in_from;
    if (have < 4) {
        return false;
    }
    size_t size = be32_get(peer->in + peer->in_from);
    if (have < 4 + size) {
        return false;
    }
    *frame = (struct bytes){peer->in + peer->in_from + 4, size};
    peer->in_from += 4 + size;
    return true;
}

struct bytes peer_body(struct bytes frame, int16_t api_key, int16_t version, int32_t correlation_id)
{
    int32_t got;
    size_t used;
    if (codec_decode_response_header(api_key, version, frame, &got, &used) != ERR_OK) {
        die("malformed response header");
    }
    if (got != correlation_id) {
        die("response %d where %d was due", got, correlation_id);
    }
    return (struct bytes){frame.data + used, frame.size - used};
}

void frame_put(struct buf *out, int16_t api_key, int16_t version, int32_t correlation_id,
               const void *body)
{
    size_t start = out->size;
    buf_put_be32(out, 0);
    codec_encode_request_header(api_key, version, correlation_id, STR("load"), out);
    if (codec_encode(api_find(api_key)->request, version, body, out) != ERR_OK) {
        die("cannot encode %s %d", api_find(api_key)->name, version);
    }
    be32_put(out->data + start, (uint32_t)(out->size - start - 4));
}

static void wait_for(int fd, short events)
{
    struct pollfd wait = {.fd = fd, .events = events};
    if (poll(&wait, 1, CALL_TIMEOUT_MS) <= 0) {
        die("no answer in %d s", CALL_TIMEOUT_MS / 1000);
    }
}

void peer_send_all(struct peer *peer, const void *data, size_t size)
{
    for (size_t at = 0; at < size;) {
        ssize_t sent = send(peer->fd, (const uint8_t *)data + at, size - at, MSG_NOSIGNAL);
        if (sent > 0) {
            at += (size_t)sent;
        } else if (errno == EAGAIN) {
            wait_for(peer->fd, POLLOUT);
        } else {
            die("send: %m");
        }
    }
}

bool peer_try_call(struct peer *peer, const struct buf *frame, int timeout_ms, struct bytes *answer)
{
    uint64_t deadline = now_ns() + (uint64_t)timeout_ms * 1000000u;
    if (send(peer->fd, frame->data, frame->size, MSG_NOSIGNAL) != (ssize_t)frame->size) {
        return false; /* small requests only: there is always room for one */
    }
    while (!peer_next(peer, answer)) {
        struct pollfd wait = {.fd = peer->fd, .events = POLLIN};
        (void)poll(&wait, 1, 10);
        if (peer_try_receive(peer) == PEER_BROKEN || now_ns() > deadline) {
            return false;
        }
    }
    return true;
}

void peer_call(struct peer *peer, int16_t api_key, int16_t version, const void *body,
               struct arena *arena, void *reply)
{
    struct buf out = {0};
    struct bytes frame;
    frame_put(&out, api_key, version, CALL_CORRELATION, body);
    peer_send_all(peer, out.data, out.size);
    buf_fini(&out);
    while (!peer_next(peer, &frame)) {
        wait_for(peer->fd, POLLIN);
        peer_receive(peer);
    }
    struct bytes in = peer_body(frame, api_key, version, CALL_CORRELATION);
    if (codec_decode(api_find(api_key)->response, version, in, arena, reply, NULL) != ERR_OK) {
        die("malformed %s response", api_find(api_key)->name);
    }
}

int64_t peer_end_offset(struct peer *peer, const char *topic, int32_t partition)
{
    enum { VERSION = 5, LATEST = -1 };
    struct arena arena = {0};
    struct list_offsets_request request;
    struct list_offsets_request_list_offsets_topic topics;
    struct list_offsets_request_list_offsets_partition partitions;
    struct list_offsets_response reply;
    codec_init(&list_offsets_request_desc, &request);
    codec_init(&list_offsets_request_list_offsets_topic_desc, &topics);
    codec_init(&list_offsets_request_list_offsets_partition_desc, &partitions);
    partitions.partition_index = partition;
    partitions.timestamp = LATEST;
    topics.name = str_of(topic);
    topics.partitions = &partitions;
    topics.partitions_count = 1;
    request.replica_id = -1;
    request.topics = &topics;
    request.topics_count = 1;
    peer_call(peer, API_LIST_OFFSETS, VERSION, &request, &arena, &reply);
    if (reply.topics_count != 1 || reply.topics[0].partitions_count != 1 ||
        reply.topics[0].partitions[0].error_code != 0) {
        die("ListOffsets of %s-%d failed with error %d", topic, partition,
            reply.topics_count == 1 ? reply.topics[0].partitions[0].error_code : -1);
    }
    int64_t end = reply.topics[0].partitions[0].offset;
    arena_fini(&arena);
    return end;
}
