/* bench_floor: what no broker can do without, as the denominator of scripts/bench: receive, check
 * the CRC-32C, write at the end of a file, answer; send a header and a range of the file; park a
 * fetch that finds nothing. One thread, no files but the logs, no index but in memory, no error
 * handling but to end. It speaks just enough of the protocol for bench_load: Produce 9, Fetch 12,
 * ListOffsets 5; topics appear when they are named.
 *
 *   bench_floor FOLDER     prints "port N" when it listens on loopback */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/mem.h"
#include "codec/api.h"
#include "codec/codec.h"
#include "codec/messages.h"
#include "record/batch.h"

enum { RECEIVE_BYTES = 256 * 1024, PARTS_MAX = 4096, EVENTS_MAX = 256 };

/* Where a batch is. */
struct place {
    int64_t offset;
    int64_t position;
};

struct part {
    char name[256]; /* topic-partition */
    int fd;
    int64_t size_bytes;
    int64_t offset_end;
    struct place *places;
    size_t places_count;
    size_t places_capacity;
};

struct client {
    int fd;
    uint8_t *in;
    size_t in_size;
    size_t in_capacity;
    struct buf out;
    size_t out_at;
    /* A range of this one's file belongs at `out` + split. */
    const struct part *file;
    size_t split;
    off_t file_at;
    size_t file_left;
    bool blocked;
    /* A fetch that found nothing yet. */
    bool parked;
    struct part *wanted;
    int32_t correlation_id;
    int64_t wanted_offset;
    int32_t wanted_bytes;
};

struct server {
    const char *folder;
    int epoll;
    struct part parts[PARTS_MAX];
    int parts_count;
    struct client *parked[EVENTS_MAX * 16];
    int parked_count;
    bool appended; /* in this turn */
};

static void end(const char *what)
{
    perror(what);
    exit(1);
}

static struct part *part_of(struct server *server, struct str topic, int32_t partition)
{
    char name[256];
    snprintf(name, sizeof(name), "%.*s-%d", STR_ARG(topic), partition);
    for (int i = 0; i < server->parts_count; i++) {
        if (strcmp(server->parts[i].name, name) == 0) {
            return &server->parts[i];
        }
    }
    if (server->parts_count == PARTS_MAX) {
        end("partitions");
    }
    struct part *part = &server->parts[server->parts_count++];
    memcpy(part->name, name, sizeof(name));
    char *path = mem_printf("%s/%s", server->folder, name);
    part->fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (part->fd < 0) {
        end(path);
    }
    mem_free(path);
    return part;
}

/* ---- sending ---- */

static void watch(struct server *server, struct client *client, int op, bool writable)
{
    struct epoll_event event = {.events = EPOLLIN | (writable ? EPOLLOUT : 0u), .data.ptr = client};
    if (epoll_ctl(server->epoll, op, client->fd, &event) != 0) {
        end("epoll_ctl");
    }
    client->blocked = writable;
}

/* False: the socket takes no more for now. */
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

static bool send_file(struct client *client)
{
    while (client->file_left > 0) {
        ssize_t sent = sendfile(client->fd, client->file->fd, &client->file_at, client->file_left);
        if (sent <= 0) {
            return false;
        }
        client->file_left -= (size_t)sent;
    }
    return true;
}

static bool send_some(struct client *client)
{
    if (client->file_left > 0 &&
        (!send_memory(client, client->split, MSG_MORE) || !send_file(client))) {
        return false;
    }
    if (!send_memory(client, client->out.size, 0)) {
        return false;
    }
    buf_clear(&client->out);
    client->out_at = 0;
    return true;
}

static void flush(struct server *server, struct client *client)
{
    bool blocked = client->out.size > 0 && !send_some(client);
    if (blocked != client->blocked) {
        watch(server, client, EPOLL_CTL_MOD, blocked);
    }
}

static size_t reply_begin(struct client *client, int16_t key, int16_t version, int32_t correlation)
{
    size_t start = client->out.size;
    buf_put_be32(&client->out, 0);
    codec_encode_response_header(key, version, correlation, &client->out);
    return start;
}

static void reply_end(struct client *client, size_t start, size_t more)
{
    be32_put(client->out.data + start, (uint32_t)(client->out.size - start - 4 + more));
}

static void must_encode(enum err err)
{
    if (err != ERR_OK) {
        end("encode");
    }
}

/* ---- the three requests ---- */

static void part_append(struct part *part, struct bytes records)
{
    struct batch_header header;
    if (batch_read_header(records, &header) != ERR_OK || batch_check_crc(records) != ERR_OK) {
        end("batch");
    }
    batch_patch_offset_epoch((uint8_t *)(uintptr_t)records.data, part->offset_end, 0);
    if (pwrite(part->fd, records.data, records.size, part->size_bytes) != (ssize_t)records.size) {
        end("pwrite");
    }
    if (part->places_count == part->places_capacity) {
        part->places_capacity = part->places_capacity > 0 ? part->places_capacity * 2 : 1024;
        part->places = mem_realloc(part->places, part->places_capacity * sizeof(*part->places));
    }
    part->places[part->places_count++] = (struct place){part->offset_end, part->size_bytes};
    part->size_bytes += (int64_t)records.size;
    part->offset_end += header.record_count;
}

static void on_produce(struct server *server, struct client *client, int32_t correlation,
                       const struct produce_request *request)
{
    const struct produce_request_topic_produce_data *topic = &request->topic_data[0];
    struct part *part = part_of(server, topic->name, topic->partition_data[0].index);
    struct produce_response reply;
    struct produce_response_topic_produce_response topic_reply;
    struct produce_response_partition_produce_response part_reply;
    codec_init(&produce_response_desc, &reply);
    codec_init(&produce_response_topic_produce_response_desc, &topic_reply);
    codec_init(&produce_response_partition_produce_response_desc, &part_reply);
    part_reply.index = topic->partition_data[0].index;
    part_reply.base_offset = part->offset_end;
    part_append(part, topic->partition_data[0].records);
    server->appended = true;
    if (request->acks == 0) {
        return;
    }
    topic_reply.name = topic->name;
    topic_reply.partition_responses = &part_reply;
    topic_reply.partition_responses_count = 1;
    reply.responses = &topic_reply;
    reply.responses_count = 1;
    size_t start = reply_begin(client, API_PRODUCE, 9, correlation);
    must_encode(codec_encode(&produce_response_desc, 9, &reply, &client->out));
    reply_end(client, start, 0);
}

static int64_t position_of(const struct part *part, int64_t offset)
{
    size_t low = 0;
    size_t high = part->places_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (part->places[middle].offset <= offset) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low > 0 ? part->places[low - 1].position : 0;
}

static void on_records(void *arg, const struct bytes *field, size_t out_offset)
{
    size_t *split = arg;
    (void)field;
    *split = out_offset;
}

static void fetch_answer(struct client *client)
{
    struct part *part = client->wanted;
    struct fetch_response reply;
    struct fetch_response_fetchable_topic_response topic;
    struct fetch_response_partition_data data;
    codec_init(&fetch_response_desc, &reply);
    codec_init(&fetch_response_fetchable_topic_response_desc, &topic);
    codec_init(&fetch_response_partition_data_desc, &data);
    int64_t from = position_of(part, client->wanted_offset);
    int64_t size = part->size_bytes - from;
    size = size < client->wanted_bytes ? size : client->wanted_bytes;
    char *dash = strrchr(part->name, '-');
    topic.topic = (struct str){part->name, (size_t)(dash - part->name)};
    topic.partitions = &data;
    topic.partitions_count = 1;
    data.partition_index = (int32_t)strtol(dash + 1, NULL, 10);
    data.high_watermark = part->offset_end;
    data.last_stable_offset = part->offset_end;
    data.records = (struct bytes){(const uint8_t *)"", (size_t)size};
    reply.responses = &topic;
    reply.responses_count = 1;
    size_t start = reply_begin(client, API_FETCH, 12, client->correlation_id);
    must_encode(codec_encode_spliced(&fetch_response_desc, 12, &reply, &client->out, on_records,
                                     &client->split));
    reply_end(client, start, (size_t)size);
    client->file = part;
    client->file_at = from;
    client->file_left = (size_t)size;
    client->parked = false;
}

/* One partition, the first: a floor has no sessions, so bench_load names it every time. */
static void on_fetch(struct server *server, struct client *client, int32_t correlation,
                     const struct fetch_request *request)
{
    const struct fetch_request_fetch_topic *topic = &request->topics[0];
    client->wanted = part_of(server, topic->topic, topic->partitions[0].partition);
    client->wanted_offset = topic->partitions[0].fetch_offset;
    client->wanted_bytes = topic->partitions[0].partition_max_bytes;
    client->correlation_id = correlation;
    if (client->wanted_offset < client->wanted->offset_end) {
        fetch_answer(client);
        return;
    }
    client->parked = true;
    server->parked[server->parked_count++] = client;
}

/* After a turn that appended: answer who waits for what has come. (Nobody waits for ever here: the
 * load produces until its consumer is done.) */
static void wake_parked(struct server *server)
{
    int kept = 0;
    for (int i = 0; i < server->parked_count; i++) {
        struct client *client = server->parked[i];
        if (client->wanted_offset < client->wanted->offset_end) {
            fetch_answer(client);
            flush(server, client);
        } else {
            server->parked[kept++] = client;
        }
    }
    server->parked_count = kept;
    server->appended = false;
}

static void on_list_offsets(struct server *server, struct client *client, int32_t correlation,
                            const struct list_offsets_request *request)
{
    const struct list_offsets_request_list_offsets_topic *wanted = &request->topics[0];
    struct list_offsets_response reply;
    struct list_offsets_response_list_offsets_topic_response topic;
    struct list_offsets_response_list_offsets_partition_response part;
    codec_init(&list_offsets_response_desc, &reply);
    codec_init(&list_offsets_response_list_offsets_topic_response_desc, &topic);
    codec_init(&list_offsets_response_list_offsets_partition_response_desc, &part);
    part.partition_index = wanted->partitions[0].partition_index;
    part.offset = part_of(server, wanted->name, part.partition_index)->offset_end;
    topic.name = wanted->name;
    topic.partitions = &part;
    topic.partitions_count = 1;
    reply.topics = &topic;
    reply.topics_count = 1;
    size_t start = reply_begin(client, API_LIST_OFFSETS, 5, correlation);
    must_encode(codec_encode(&list_offsets_response_desc, 5, &reply, &client->out));
    reply_end(client, start, 0);
}

/* ---- receiving ---- */

static void on_frame(struct server *server, struct client *client, struct bytes frame)
{
    _Alignas(16) uint8_t memory[2048];
    struct arena arena = {.at = memory, .left = sizeof(memory)};
    struct request_header_view header;
    union {
        struct produce_request produce;
        struct fetch_request fetch;
        struct list_offsets_request list;
    } body;
    if (codec_decode_request_header(frame, &header) != ERR_OK ||
        codec_decode(api_find(header.api_key)->request, header.api_version,
                     (struct bytes){frame.data + header.used, frame.size - header.used}, &arena,
                     &body, NULL) != ERR_OK) {
        end("request");
    }
    if (header.api_key == API_PRODUCE) {
        on_produce(server, client, header.correlation_id, &body.produce);
    } else if (header.api_key == API_FETCH) {
        on_fetch(server, client, header.correlation_id, &body.fetch);
    } else if (header.api_key == API_LIST_OFFSETS) {
        on_list_offsets(server, client, header.correlation_id, &body.list);
    } else {
        end("api");
    }
    arena_fini(&arena);
}

static void client_gone(struct server *server, struct client *client)
{
    int kept = 0;
    for (int i = 0; i < server->parked_count; i++) {
        if (server->parked[i] != client) {
            server->parked[kept++] = server->parked[i];
        }
    }
    server->parked_count = kept;
    close(client->fd);
    buf_fini(&client->out);
    mem_free(client->in);
    mem_free(client);
}

static void consume(struct server *server, struct client *client)
{
    size_t at = 0;
    size_t needed = RECEIVE_BYTES;
    while (client->in_size - at >= 4) {
        size_t size = be32_get(client->in + at);
        if (client->in_size - at < 4 + size) {
            needed = 4 + size > needed ? 4 + size : needed;
            break;
        }
        on_frame(server, client, (struct bytes){client->in + at + 4, size});
        at += 4 + size;
    }
    client->in_size -= at;
    memmove(client->in, client->in + at, client->in_size);
    if (client->in_capacity < needed) {
        client->in_capacity = needed;
        client->in = mem_realloc(client->in, needed);
    }
}

static void on_event(struct server *server, struct client *client, uint32_t events)
{
    if ((events & EPOLLOUT) != 0) {
        flush(server, client);
    }
    if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) == 0) {
        return;
    }
    if (client->in == NULL) {
        client->in_capacity = RECEIVE_BYTES;
        client->in = mem_alloc(client->in_capacity);
    }
    ssize_t got =
        recv(client->fd, client->in + client->in_size, client->in_capacity - client->in_size, 0);
    if (got == 0 || (got < 0 && errno != EAGAIN)) {
        client_gone(server, client);
        return;
    }
    client->in_size += got > 0 ? (size_t)got : 0;
    consume(server, client);
    flush(server, client);
}

static int listen_here(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(at);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&at, size) != 0 || listen(fd, 4096) != 0 ||
        getsockname(fd, (struct sockaddr *)&at, &size) != 0) {
        end("listen");
    }
    printf("port %u\n", ntohs(at.sin_port));
    fflush(stdout);
    return fd;
}

static void accept_all(struct server *server, int listener)
{
    int fd;
    int on = 1;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        struct client *client = mem_new(struct client);
        client->fd = fd;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        watch(server, client, EPOLL_CTL_ADD, false);
    }
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: bench_floor FOLDER\n");
        return 2;
    }
    struct server *server = mem_new(struct server);
    struct epoll_event events[EVENTS_MAX];
    server->folder = argv[1];
    server->epoll = epoll_create1(EPOLL_CLOEXEC);
    int listener = listen_here();
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    if (epoll_ctl(server->epoll, EPOLL_CTL_ADD, listener, &event) != 0) {
        end("epoll_ctl");
    }
    for (;;) {
        int count = epoll_wait(server->epoll, events, EVENTS_MAX, -1);
        for (int i = 0; i < count; i++) {
            if (events[i].data.ptr == NULL) {
                accept_all(server, listener);
            } else {
                on_event(server, events[i].data.ptr, events[i].events);
            }
        }
        if (server->appended) {
            wake_parked(server);
        }
    }
}
