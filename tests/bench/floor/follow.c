/* A follower's side: one connection to the leader, one fetch of all partitions under way on it. The
 * next one is sent when what came is written: that is how the leader learns of it. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "bench/floor/floor.h"
#include "codec/api.h"
#include "codec/codec.h"
#include "record/batch.h"

enum {
    VERSION = 12,
    CORRELATION = 1,
    MAX_WAIT_MS = 50,       /* so late, at most, is a new topic asked for */
    BYTES_MAX = 1024 * 1024 /* of an answer: so much stays in the processor's cache */
};

struct upstream {
    int fd;
    bool asked;
    uint8_t *in;
    size_t in_size;
    size_t in_capacity;
    struct buf request;
    struct arena arena;
};

struct upstream *upstream_connect(struct server *server, uint16_t port)
{
    struct upstream *upstream = mem_new(struct upstream);
    struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(port)};
    int on = 1;
    upstream->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (upstream->fd < 0 || connect(upstream->fd, (struct sockaddr *)&to, sizeof(to)) != 0) {
        floor_end("connect");
    }
    setsockopt(upstream->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = upstream};
    if (epoll_ctl(server->epoll, EPOLL_CTL_ADD, upstream->fd, &event) != 0) {
        floor_end("epoll_ctl");
    }
    upstream->in_capacity = FLOOR_RECEIVE_BYTES;
    upstream->in = mem_alloc(upstream->in_capacity);
    return upstream;
}

/* ---- asking ---- */

static void fill_topic(const struct topic *topic, struct arena *arena,
                       struct fetch_request_fetch_topic *out)
{
    out->topic = str_of(topic->name);
    out->partitions = codec_array(&fetch_request_fetch_partition_desc, arena, topic->parts_count);
    out->partitions_count = topic->parts_count;
    for (int32_t i = 0; i < topic->parts_count; i++) {
        out->partitions[i].partition = i;
        out->partitions[i].fetch_offset = topic->parts[i]->offset_end;
        out->partitions[i].partition_max_bytes = BYTES_MAX;
    }
}

static int32_t count_copied(const struct server *server)
{
    int32_t count = 0;
    list_for_each (link, &server->topics) {
        count += container_of(link, struct topic, link)->replicas > 1 ? 1 : 0;
    }
    return count;
}

static void encode(struct server *server, int32_t topics, struct buf *out)
{
    struct arena *arena = &server->upstream->arena;
    struct fetch_request request;
    arena_reset(arena);
    codec_init(&fetch_request_desc, &request);
    request.replica_id = server->id;
    request.max_wait_ms = MAX_WAIT_MS;
    request.min_bytes = 1;
    request.max_bytes = BYTES_MAX;
    request.topics = codec_array(&fetch_request_fetch_topic_desc, arena, topics);
    list_for_each (link, &server->topics) {
        const struct topic *topic = container_of(link, struct topic, link);
        if (topic->replicas > 1) {
            fill_topic(topic, arena, &request.topics[request.topics_count++]);
        }
    }
    buf_clear(out);
    buf_put_be32(out, 0);
    codec_encode_request_header(API_FETCH, VERSION, CORRELATION, STR("follower"), out);
    if (codec_encode(&fetch_request_desc, VERSION, &request, out) != ERR_OK) {
        floor_end("encode");
    }
    be32_put(out->data, (uint32_t)(out->size - 4));
}

void upstream_ask(struct server *server)
{
    struct upstream *upstream = server->upstream;
    int32_t topics = count_copied(server);
    if (upstream->asked || topics == 0) {
        return;
    }
    encode(server, topics, &upstream->request);
    if (send(upstream->fd, upstream->request.data, upstream->request.size, MSG_NOSIGNAL) !=
        (ssize_t)upstream->request.size) {
        floor_end("send to the leader"); /* blocking, and small */
    }
    upstream->asked = true;
}

/* ---- taking ---- */

static void take_part(struct server *server, struct str topic,
                      const struct fetch_response_partition_data *data)
{
    struct part *part = part_find(server, topic, data->partition_index);
    if (part == NULL || data->error_code == err_wire(ERR_UNKNOWN_TOPIC_OR_PARTITION)) {
        return; /* one of us has deleted it already */
    }
    if (data->error_code != 0) {
        floor_end("the leader answers an error");
    }
    if (data->records.size > 0 && !part_append(server, part, data->records)) {
        floor_end("batches of the leader");
    }
    part->offset_hw =
        data->high_watermark < part->offset_end ? data->high_watermark : part->offset_end;
}

static void take_answer(struct server *server, struct bytes frame)
{
    struct fetch_response reply;
    int32_t correlation;
    size_t used;
    struct arena *arena = &server->upstream->arena;
    arena_reset(arena);
    if (codec_decode_response_header(API_FETCH, VERSION, frame, &correlation, &used) != ERR_OK ||
        correlation != CORRELATION ||
        codec_decode(&fetch_response_desc, VERSION,
                     (struct bytes){frame.data + used, frame.size - used}, arena, &reply,
                     NULL) != ERR_OK ||
        reply.error_code != 0) {
        floor_end("an answer of the leader");
    }
    for (int32_t i = 0; i < reply.responses_count; i++) {
        for (int32_t j = 0; j < reply.responses[i].partitions_count; j++) {
            take_part(server, reply.responses[i].topic, &reply.responses[i].partitions[j]);
        }
    }
}

void upstream_on_event(struct server *server)
{
    struct upstream *upstream = server->upstream;
    ssize_t got = recv(upstream->fd, upstream->in + upstream->in_size,
                       upstream->in_capacity - upstream->in_size, 0);
    if (got <= 0) {
        floor_end("the leader has gone");
    }
    upstream->in_size += (size_t)got;
    size_t size = upstream->in_size >= 4 ? 4 + (size_t)be32_get(upstream->in) : 0;
    if (size > upstream->in_capacity) {
        upstream->in_capacity = size;
        upstream->in = mem_realloc(upstream->in, size);
    }
    if (size == 0 || upstream->in_size < size) {
        return;
    }
    take_answer(server, (struct bytes){upstream->in + 4, size - 4});
    upstream->in_size = 0; /* one at a time */
    upstream->asked = false;
    upstream_ask(server);
}
