/* zk_many.c: see zk_many.h. Plain blocking calls on a thread of its own: a start of a controller
 * needs it once, for a few tens of milliseconds. */
#include "zk/zk_many.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/must.h"
#include "rt/clock.h"
#include "zk/zk_wire.h"

#define LOGGER "kafka.zookeeper.ZooKeeperClient"

enum {
    PACKET_PATHS_MAX = 500,
    PACKET_BYTES_MAX = 256 << 10, /* far below ZooKeeper's limit of 1 MiB */
    PACKETS_MAX = 4,              /* under way: the next is there when one is answered */
    FAILURES_MAX = 3,
};

struct zk_many {
    struct zk_many_host *host;
    struct zk_many_options options;
    pthread_mutex_t lock; /* guards what follows; a leaf */
    pthread_cond_t changed;
    struct list queue; /* added, not seen by the thread */
    struct sockaddr_storage address;
    socklen_t address_size;
    int32_t place; /* how often the address has changed */
    int fd;        /* the thread's; here so that close() can end what it waits for; -1: none */
    int failures;
    bool running;
    bool idle; /* waits for more */
    bool closed;
};

/* Where in the list of reads: the node `at` of `read`. */
struct cursor {
    struct zk_many_read *read; /* NULL: before the first */
    int32_t at;
};

/* What the thread has. */
struct reader {
    struct zk_many *many;
    struct list reads; /* in order; done ones are taken out */
    struct cursor send;
    int32_t packets[PACKETS_MAX]; /* how many nodes each asks for, a ring */
    int32_t packets_sent;
    int32_t packets_got;
    int fd;
    bool whole;     /* all that was sent are whole frames, the connect request the first */
    int64_t proved; /* M1 */
    int32_t place;  /* of the server, M1 */
    struct buf out;
    struct buf in;
};

/* ---- Bytes in and out. False: the connection is of no use any more. */

static bool send_all(struct reader *reader)
{
    size_t at = 0;
    reader->whole = false;
    while (at < reader->out.size) {
        ssize_t sent = send(reader->fd, reader->out.data + at, reader->out.size - at, MSG_NOSIGNAL);
        if (sent < 0 && errno != EINTR) {
            return false;
        }
        at += sent > 0 ? (size_t)sent : 0;
    }
    buf_clear(&reader->out);
    reader->whole = true;
    return true;
}

static bool receive(struct reader *reader, size_t size)
{
    buf_clear(&reader->in);
    uint8_t *at = buf_extend(&reader->in, size);
    while (size > 0) {
        ssize_t got = recv(reader->fd, at, size, 0);
        if (got == 0 || (got < 0 && errno != EINTR)) {
            return false;
        }
        at += got > 0 ? got : 0;
        size -= got > 0 ? (size_t)got : 0;
    }
    return true;
}

static bool receive_frame(struct reader *reader, struct bytes *out)
{
    if (!receive(reader, sizeof(uint32_t))) {
        return false;
    }
    uint32_t size = be32_get(reader->in.data);
    if (size > ZK_WIRE_FRAME_MAX || !receive(reader, size)) {
        return false;
    }
    *out = (struct bytes){reader->in.data, reader->in.size};
    return true;
}

/* ---- The connection. */

static void disconnect(struct reader *reader)
{
    if (reader->fd < 0) {
        return;
    }
    pthread_mutex_lock(&reader->many->lock);
    reader->many->fd = -1;
    pthread_mutex_unlock(&reader->many->lock);
    close(reader->fd);
    reader->fd = -1;
}

/* M3. `wait` for the server's word that it has heard. */
static void take_leave(struct reader *reader, bool wait)
{
    if (reader->fd >= 0 && reader->whole) {
        struct bytes frame;
        buf_clear(&reader->out);
        zk_wire_put_close(&reader->out, 0);
        bool gone = send_all(reader) && wait && receive_frame(reader, &frame);
        (void)gone; /* we have said so */
    }
    disconnect(reader);
}

static bool open_socket(struct reader *reader)
{
    struct zk_many *many = reader->many;
    int32_t answer_ms = many->options.answer_ms;
    struct timeval patience = {answer_ms / 1000, answer_ms % 1000 * 1000};
    int on = 1;
    pthread_mutex_lock(&many->lock);
    struct sockaddr_storage address = many->address;
    socklen_t size = many->address_size;
    bool closed = many->closed;
    reader->place = many->place;
    reader->fd = closed ? -1 : socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    many->fd = reader->fd;
    pthread_mutex_unlock(&many->lock);
    return reader->fd >= 0 &&
           setsockopt(reader->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) == 0 &&
           setsockopt(reader->fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience)) == 0 &&
           setsockopt(reader->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) == 0 &&
           connect(reader->fd, (const struct sockaddr *)&address, size) == 0;
}

/* The newest that one of them needs. */
static int64_t newest_zxid(const struct reader *reader)
{
    int64_t zxid = 0;
    list_for_each (link, &reader->reads) {
        int64_t one = container_of(link, struct zk_many_read, link)->zxid;
        zxid = one > zxid ? one : zxid;
    }
    return zxid;
}

static bool open_connection(struct reader *reader)
{
    struct bytes frame;
    int64_t zxid = newest_zxid(reader);
    take_leave(reader, true);
    reader->whole = false;
    reader->packets_sent = 0;
    reader->packets_got = 0;
    reader->proved = zxid;
    if (!open_socket(reader)) {
        return false;
    }
    buf_clear(&reader->out);
    zk_wire_put_connect(&reader->out, zxid, reader->many->options.session_timeout_ms);
    return send_all(reader) && receive_frame(reader, &frame) && zk_wire_get_connect(frame);
}

/* ---- Asking. */

static struct zk_many_read *read_after(const struct reader *reader, const struct zk_many_read *read)
{
    struct list *next = read != NULL ? read->link.next : reader->reads.next;
    return next != &reader->reads ? container_of(next, struct zk_many_read, link) : NULL;
}

/* M1: may the read go over this connection? */
static bool is_fresh(const struct reader *reader, const struct zk_many_read *read)
{
    return read->zxid <= reader->proved && read->place <= reader->place;
}

/* The next node to ask for; NULL: none, or not yet (M1). */
static const char *next_path(struct reader *reader)
{
    struct cursor *send = &reader->send;
    if (send->read == NULL || send->at == send->read->count) {
        struct zk_many_read *next = read_after(reader, send->read);
        if (next == NULL || !is_fresh(reader, next)) {
            return NULL;
        }
        *send = (struct cursor){next, 0};
    }
    return send->read->paths[send->at++];
}

static bool ask(struct reader *reader)
{
    const char *path = next_path(reader);
    if (path == NULL) {
        return true;
    }
    int32_t count = 0;
    buf_clear(&reader->out);
    size_t begin = zk_wire_begin_reads(&reader->out, reader->packets_sent);
    while (path != NULL) {
        zk_wire_put_read(&reader->out, path);
        count++;
        bool full = count == PACKET_PATHS_MAX || reader->out.size >= PACKET_BYTES_MAX;
        path = full ? NULL : next_path(reader);
    }
    zk_wire_end_reads(&reader->out, begin);
    reader->packets[reader->packets_sent++ % PACKETS_MAX] = count;
    return send_all(reader);
}

static bool ask_all(struct reader *reader)
{
    int32_t before = -1;
    while (before != reader->packets_sent &&
           reader->packets_sent - reader->packets_got < PACKETS_MAX) {
        before = reader->packets_sent;
        if (!ask(reader)) {
            return false;
        }
    }
    return true;
}

/* ---- Being answered. */

static bool fill(struct zk_many_read *read, struct zk_read *node, struct bytes *rest)
{
    int32_t rc;
    struct bytes data;
    if (!zk_wire_get_read(rest, &rc, &data, &node->stat)) {
        return false;
    }
    node->err = rc == 0 ? ERR_OK : rc == ZK_WIRE_NO_NODE ? ERR_NOT_FOUND : ERR_ZK_OTHER;
    node->data = (struct bytes){NULL, 0};
    if (data.data != NULL) {
        struct str copy = arena_str(read->arena, (struct str){(const char *)data.data, data.size});
        node->data = (struct bytes){(const uint8_t *)copy.ptr, copy.size};
    }
    return true;
}

/* One packet's answer: of the first read that is not done, from node `*got` on, and so on. */
static bool take_answer(struct reader *reader, int32_t *got)
{
    struct zk_wire_header header;
    struct bytes frame;
    struct bytes rest;
    if (!receive_frame(reader, &frame) || !zk_wire_get_header(frame, &header, &rest) ||
        header.xid != reader->packets_got || header.rc != 0) {
        return false;
    }
    int32_t left = reader->packets[reader->packets_got % PACKETS_MAX];
    reader->packets_got++;
    for (; left > 0; left--) {
        struct zk_many_read *read = read_after(reader, NULL);
        must(read != NULL);
        if (!fill(read, &read->nodes[*got], &rest)) {
            return false;
        }
        if (++*got == read->count) {
            *got = 0;
            if (reader->send.read == read) {
                reader->send = (struct cursor){NULL, 0}; /* all that is left is to be asked for */
            }
            list_remove(&read->link);
            reader->many->host->done(reader->many->host, read, true);
        }
    }
    reader->proved = header.zxid > reader->proved ? header.zxid : reader->proved;
    return zk_wire_at_end(rest);
}

/* ---- The thread. */

static struct timespec from_now(int64_t ms)
{
    int64_t at_ms = clock_mono_ms(clock_system()) + ms;
    return (struct timespec){at_ms / 1000, at_ms % 1000 * 1000000};
}

/* Take what was added; when there is nothing at all, wait a while for it. False: that is all. */
static bool take_more(struct reader *reader)
{
    struct zk_many *many = reader->many;
    struct timespec until = from_now(many->options.linger_ms);
    int rc = 0;
    pthread_mutex_lock(&many->lock);
    many->idle = true;
    while (list_empty(&reader->reads) && list_empty(&many->queue) && !many->closed && rc == 0) {
        rc = pthread_cond_timedwait(&many->changed, &many->lock, &until);
    }
    list_splice_back(&reader->reads, &many->queue);
    bool more = !list_empty(&reader->reads) && !many->closed;
    many->idle = !more;
    pthread_mutex_unlock(&many->lock);
    return more;
}

/* One step; *got: of the first read, what has been answered. */
static bool step(struct reader *reader, int32_t *got)
{
    bool under_way = reader->packets_sent > reader->packets_got;
    const struct zk_many_read *first = read_after(reader, NULL);
    if (!under_way && (reader->fd < 0 || !is_fresh(reader, first)) && !open_connection(reader)) {
        return false;
    }
    return ask_all(reader) && take_answer(reader, got);
}

/* M2 */
static void give_up(struct reader *reader)
{
    struct zk_many *many = reader->many;
    take_leave(reader, false);
    pthread_mutex_lock(&many->lock);
    list_splice_back(&reader->reads, &many->queue);
    many->failures++;
    bool closed = many->closed;
    pthread_mutex_unlock(&many->lock);
    struct list *link;
    if (!closed) {
        log_info(LOGGER, "reading node by node", "ZooKeeper did not answer a read of many");
    }
    while (!closed && (link = list_pop_front(&reader->reads)) != NULL) {
        many->host->done(many->host, container_of(link, struct zk_many_read, link), false);
    }
    reader->send = (struct cursor){NULL, 0};
}

/* False when something was added just now. */
static bool may_end(struct zk_many *many)
{
    pthread_mutex_lock(&many->lock);
    bool end = many->closed || list_empty(&many->queue);
    many->running = !end;
    pthread_mutex_unlock(&many->lock);
    return end;
}

static void *many_main(void *arg)
{
    struct reader reader = {.many = arg, .fd = -1};
    struct zk_many_host *host = reader.many->host;
    list_init(&reader.reads);
    do {
        int32_t got = 0;
        while (take_more(&reader)) {
            if (!step(&reader, &got)) {
                give_up(&reader);
                got = 0;
            }
        }
        take_leave(&reader, true);
    } while (!may_end(reader.many));
    while (list_pop_front(&reader.reads) != NULL) {
    }
    buf_fini(&reader.out);
    buf_fini(&reader.in);
    host->over(host);
    return NULL;
}

/* ---- Interface. */

struct zk_many *zk_many_new(struct zk_many_host *host, const struct zk_many_options *options)
{
    struct zk_many *many = mem_new(struct zk_many);
    pthread_condattr_t attr;
    many->host = host;
    many->options = *options;
    many->fd = -1;
    list_init(&many->queue);
    must(pthread_mutex_init(&many->lock, NULL) == 0);
    must(pthread_condattr_init(&attr) == 0);
    must(pthread_condattr_setclock(&attr, CLOCK_MONOTONIC) == 0);
    must(pthread_cond_init(&many->changed, &attr) == 0);
    pthread_condattr_destroy(&attr);
    return many;
}

static void start_thread(struct zk_many *many)
{
    pthread_attr_t attr;
    pthread_t thread;
    must(pthread_attr_init(&attr) == 0);
    must(pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED) == 0);
    must(pthread_create(&thread, &attr, many_main, many) == 0);
    pthread_attr_destroy(&attr);
}

bool zk_many_add(struct zk_many *many, struct zk_many_read *read, const struct sockaddr *address,
                 socklen_t address_size)
{
    must(read->count > 0);
    must(address_size <= sizeof(many->address));
    pthread_mutex_lock(&many->lock);
    bool refused = many->closed || many->failures >= FAILURES_MAX;
    bool start = !refused && !many->running;
    if (!refused) {
        bool same = many->address_size == address_size &&
                    memcmp(&many->address, address, address_size) == 0;
        memcpy(&many->address, address, address_size);
        many->address_size = address_size;
        many->place += same ? 0 : 1;
        read->place = many->place;
        list_push_back(&many->queue, &read->link);
        many->running = true;
        pthread_cond_broadcast(&many->changed);
    }
    pthread_mutex_unlock(&many->lock);
    if (start) {
        many->host->begin(many->host);
        start_thread(many);
    }
    return !refused;
}

bool zk_many_running(struct zk_many *many)
{
    pthread_mutex_lock(&many->lock);
    bool running = many->running;
    pthread_mutex_unlock(&many->lock);
    return running;
}

void zk_many_close(struct zk_many *many)
{
    pthread_mutex_lock(&many->lock);
    many->closed = true;
    if (many->fd >= 0 && !many->idle) {
        shutdown(many->fd, SHUT_RD); /* what is waited for; M3 is still to be said */
    }
    pthread_cond_broadcast(&many->changed);
    pthread_mutex_unlock(&many->lock);
}

void zk_many_free(struct zk_many *many)
{
    if (many == NULL) {
        return;
    }
    must(!many->running);
    while (list_pop_front(&many->queue) != NULL) {
    }
    pthread_mutex_destroy(&many->lock);
    pthread_cond_destroy(&many->changed);
    mem_free(many);
}
