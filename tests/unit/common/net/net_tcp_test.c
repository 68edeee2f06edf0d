/* Real sockets on loopback, two loops with threads: a server that echoes frames, and clients. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/mem.h"
#include "net/conn.h"
#include "support/lookup.h"

enum { FRAME_MAX = 8 << 20, FILE_BYTES = 3 << 20 };

struct world {
    struct net *net;
    struct loop *server;
    struct loop *client;
    struct net_listener *listener;
    struct net_address address;
    struct fs_file *file; /* sent behind every echo when set */
    char path[64];
    int open; /* connections of the server; the server's loop */
};

static struct world world;

/* ---- running something on a loop, and waiting for it */

struct errand {
    struct loop_msg msg;
    void (*fn)(void *arg);
    void *arg;
    sem_t done;
};

static void on_errand(struct loop_msg *msg)
{
    struct errand *errand = container_of(msg, struct errand, msg);
    errand->fn(errand->arg);
    sem_post(&errand->done);
}

static void run_on(struct loop *loop, void (*fn)(void *arg), void *arg)
{
    struct errand errand = {.fn = fn, .arg = arg};
    errand.msg.fn = on_errand;
    sem_init(&errand.done, 0, 0);
    loop_post(loop, &errand.msg);
    sem_wait(&errand.done);
    sem_destroy(&errand.done);
}

/* ---- names, which are looked up here and nowhere else: what a name server says, and when, is not
 * ours to know */

static sem_t slow_answers;       /* one for each look-up of a slow name */
static sem_t look_ups_over;      /* and one from each thread that looked one up, at its end */
static pthread_key_t looks_slow; /* tells of that end */

/* Ours comes before the library's. */
int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints,
                struct addrinfo **list)
{
    bool is_name = name != NULL && strstr(name, "host") != NULL;
    if (!is_name || (hints->ai_flags & AI_NUMERICHOST) != 0) {
        return lookup_really(name, service, hints, list);
    }
    if (strcmp(name, "both-host") == 0) {
        int rc = lookup_really("::1", service, hints, list);
        return rc == 0 ? lookup_really("127.0.0.1", service, hints, &(*list)->ai_next) : rc;
    }
    if (strncmp(name, "slow-", 5) == 0) {
        pthread_setspecific(looks_slow, &look_ups_over);
        sem_wait(&slow_answers);
    }
    return strstr(name, "no-such-host") != NULL ? EAI_NONAME
                                                : lookup_really("127.0.0.1", service, hints, list);
}

static void on_look_up_over(void *arg)
{
    sem_post(arg);
}

/* ---- the server */

static enum conn_verdict on_size(struct conn *conn, int32_t size, const uint8_t *first4)
{
    (void)conn, (void)first4;
    return size >= 0 && size <= FRAME_MAX ? CONN_ACCEPT : CONN_REFUSE;
}

struct echo {
    uint8_t size[4];
    uint8_t *frame;
};

static void echo_free(void *arg)
{
    struct echo *echo = arg;
    mem_free(echo->frame);
    mem_free(echo);
}

static void server_on_frame(struct conn *conn, uint8_t *frame, size_t size)
{
    struct echo *echo = mem_new(struct echo);
    size_t file_size = world.file != NULL ? FILE_BYTES : 0;
    echo->frame = frame;
    be32_put(echo->size, (uint32_t)(size + file_size));
    outq_put_mem(conn_outq(conn), echo->size, 4, NULL, NULL);
    if (file_size > 0) {
        outq_put_file(conn_outq(conn), world.file, 0, file_size, NULL, NULL);
    }
    outq_put_mem(conn_outq(conn), frame, size, echo_free, echo);
    conn_flush(conn);
}

static void server_on_closed(struct conn *conn, enum err why)
{
    (void)why;
    conn_free(conn);
    world.open--;
}

static const struct conn_events server_events = {
    .on_frame_size = on_size,
    .on_frame = server_on_frame,
    .on_closed = server_on_closed,
};

static struct net_name accepted_peer_host;

static void on_accept(void *arg, struct net_accepted *accepted)
{
    (void)arg;
    loop_assert_here(world.server);
    struct net_stream *stream = world.net->ops->adopt(world.net, world.server, accepted);
    struct net_name name;
    stream->ops->peer(stream, false, &accepted_peer_host);
    stream->ops->peer(stream, true, &name);
    cr_assert(strncmp(name.text, "127.0.0.1:", 10) == 0 || strncmp(name.text, "[::1]:", 6) == 0,
              "%s", name.text);
    cr_assert_eq(stream->local_port, world.address.port);
    conn_new(stream, &server_events, NULL);
    world.open++;
}

static void listen_now(void *arg)
{
    (void)arg;
    struct errmsg msg;
    enum err err = world.net->ops->listen(world.net, world.server, &world.address, 16, on_accept,
                                          NULL, &world.listener, &world.address.port, &msg);
    cr_assert_eq(err, ERR_OK, "%s", msg.text);
}

static void unlisten_now(void *arg)
{
    (void)arg;
    world.net->ops->unlisten(world.listener);
    world.listener = NULL;
}

static void world_init(void)
{
    struct net_tcp_options options = {-1, -1};
    world.net = net_tcp_new(&options);
    world.server = loop_new("server", 0, clock_system());
    world.client = loop_new("client", 1, clock_system());
    snprintf(world.address.host, sizeof(world.address.host), "127.0.0.1");
    cr_assert_eq(loop_start(world.server), ERR_OK);
    cr_assert_eq(loop_start(world.client), ERR_OK);
    run_on(world.server, listen_now, NULL);
    cr_assert_neq(world.address.port, 0);
}

static void get_open(void *arg)
{
    *(int *)arg = world.open;
}

/* All connections are the clients', who have closed them; the server notices. */
static void world_fini(void)
{
    int open;
    if (world.listener != NULL) {
        run_on(world.server, unlisten_now, NULL);
    }
    do {
        run_on(world.server, get_open, &open);
    } while (open > 0);
    loop_stop(world.client);
    loop_stop(world.server);
    while (loop_turn(world.client) || loop_turn(world.server)) {
    }
    if (world.file != NULL) {
        fs_close(world.file);
        unlink(world.path);
    }
    loop_free(world.client);
    loop_free(world.server);
    net_tcp_free(world.net);
}

/* ---- a client */

struct client {
    struct conn *conn;
    struct net_address to;
    uint8_t head[4];
    const uint8_t *request;
    size_t request_size;
    uint8_t *reply;
    size_t reply_size;
    bool connected;
    enum err closed_why;
    sem_t heard; /* a reply came, or the end */
};

static void client_on_connected(struct conn *conn)
{
    struct client *client = conn_arg(conn);
    client->connected = true;
    outq_put_mem(conn_outq(conn), client->head, 4, NULL, NULL);
    outq_put_mem(conn_outq(conn), client->request, client->request_size, NULL, NULL);
    conn_flush(conn);
}

static void client_on_frame(struct conn *conn, uint8_t *frame, size_t size)
{
    struct client *client = conn_arg(conn);
    client->reply = frame;
    client->reply_size = size;
    sem_post(&client->heard);
}

static void client_on_closed(struct conn *conn, enum err why)
{
    struct client *client = conn_arg(conn);
    client->closed_why = why;
    conn_free(conn);
    client->conn = NULL;
    sem_post(&client->heard);
}

static const struct conn_events client_events = {
    .on_frame_size = on_size,
    .on_frame = client_on_frame,
    .on_connected = client_on_connected,
    .on_closed = client_on_closed,
};

static void connect_now(void *arg)
{
    struct client *client = arg;
    struct net_stream *stream = world.net->ops->connect(world.net, world.client, &client->to);
    client->conn = conn_new(stream, &client_events, client);
}

static void close_now(void *arg)
{
    struct client *client = arg;
    if (client->conn != NULL) {
        conn_free(client->conn);
        client->conn = NULL;
    }
}

static void client_start(struct client *client, const char *host, const void *request, size_t size)
{
    *client = (struct client){.to = world.address, .request = request, .request_size = size};
    snprintf(client->to.host, sizeof(client->to.host), "%s", host);
    be32_put(client->head, (uint32_t)size);
    sem_init(&client->heard, 0, 0);
    run_on(world.client, connect_now, client);
}

static void client_end(struct client *client)
{
    run_on(world.client, close_now, client);
    mem_free(client->reply);
    sem_destroy(&client->heard);
}

static void echoes(const char *host, size_t size)
{
    struct client client;
    uint8_t *request = mem_alloc(size);
    for (size_t i = 0; i < size; i++) {
        request[i] = (uint8_t)(i * 31 >> 3);
    }
    client_start(&client, host, request, size);
    sem_wait(&client.heard);
    cr_assert(client.connected);
    cr_assert_not_null(client.reply);
    cr_assert_eq(client.reply_size, size);
    cr_assert_eq(memcmp(client.reply, request, size), 0);
    client_end(&client);
    mem_free(request);
}

Test(net_tcp, frames_of_every_size_come_back, .init = world_init, .fini = world_fini, .timeout = 60)
{
    static const size_t sizes[] = {0, 1, 100, 65535, 262144, 1000000, FRAME_MAX};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        echoes("127.0.0.1", sizes[i]);
    }
    cr_assert_str_eq(accepted_peer_host.text, "127.0.0.1");
}

Test(net_tcp, connects_to_a_name, .init = world_init, .fini = world_fini, .timeout = 60)
{
    echoes("localhost", 1000);
}

/* "localhost" means ::1 first and then 127.0.0.1 to most machines: a broker that listened there was
 * found by no Java client, and by none of our own brokers, which all take the second. */
Test(net_tcp, listens_where_clients_of_a_name_with_both_families_connect, .init = world_init,
     .fini = world_fini, .timeout = 60)
{
    run_on(world.server, unlisten_now, NULL);
    world.address.port = 0;
    snprintf(world.address.host, sizeof(world.address.host), "both-host");
    run_on(world.server, listen_now, NULL);
    echoes("127.0.0.1", 1000);
    echoes("both-host", 1000);
}

/* Files go by sendfile, between memory before and behind. */
Test(net_tcp, a_file_in_the_middle, .init = world_init, .fini = world_fini, .timeout = 60)
{
    struct client client;
    uint8_t *content = mem_alloc(FILE_BYTES);
    for (int i = 0; i < FILE_BYTES; i++) {
        content[i] = (uint8_t)(i * 7 >> 5);
    }
    snprintf(world.path, sizeof(world.path), "/tmp/barnabas-net-XXXXXX");
    int fd = mkstemp(world.path);
    cr_assert_geq(fd, 0);
    cr_assert_eq(write(fd, content, FILE_BYTES), FILE_BYTES);
    close(fd);
    cr_assert_eq(fs_open(fs_posix(), world.path, FS_READ, &world.file), ERR_OK);
    client_start(&client, "127.0.0.1", "tail", 4);
    sem_wait(&client.heard);
    cr_assert_eq(client.reply_size, FILE_BYTES + 4);
    cr_assert_eq(memcmp(client.reply, content, FILE_BYTES), 0);
    cr_assert_eq(memcmp(client.reply + FILE_BYTES, "tail", 4), 0);
    client_end(&client);
    mem_free(content);
}

/* Nobody listens: told as the end, never as connected. */
Test(net_tcp, a_refused_connect, .init = world_init, .fini = world_fini, .timeout = 60)
{
    struct client client;
    struct sockaddr_in held = {.sin_family = AF_INET};
    socklen_t size = sizeof(held);
    held.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0); /* so that nobody else listens there either */
    cr_assert_eq(bind(fd, (struct sockaddr *)&held, size), 0);
    cr_assert_eq(getsockname(fd, (struct sockaddr *)&held, &size), 0);
    world.address.port = ntohs(held.sin_port);
    client_start(&client, "127.0.0.1", "x", 1);
    sem_wait(&client.heard);
    cr_assert(!client.connected);
    cr_assert_eq(client.closed_why, ERR_CLOSED);
    client_end(&client);
    close(fd);
}

Test(net_tcp, a_name_that_does_not_exist, .init = world_init, .fini = world_fini, .timeout = 60)
{
    struct client client;
    client_start(&client, "no-such-host.invalid", "x", 1);
    sem_wait(&client.heard);
    cr_assert(!client.connected);
    cr_assert_eq(client.closed_why, ERR_CLOSED);
    client_end(&client);
}

enum { SLOW = 8 };

static void slow_init(void)
{
    sem_init(&slow_answers, 0, 0);
    sem_init(&look_ups_over, 0, 0);
    cr_assert_eq(pthread_key_create(&looks_slow, on_look_up_over), 0);
    world_init();
}

static void slow_fini(void)
{
    world_fini();
    for (int i = 0; i < SLOW; i++) {
        sem_post(&slow_answers);
    }
    for (int i = 0; i < SLOW; i++) {
        sem_wait(&look_ups_over);
    }
    pthread_key_delete(looks_slow);
    sem_destroy(&slow_answers);
    sem_destroy(&look_ups_over);
}

/* Closed while the name is being looked up, and the loop gone before the answer is there. */
Test(net_tcp, closing_does_not_wait_for_the_resolver, .init = slow_init, .fini = slow_fini,
     .timeout = 60)
{
    struct client clients[SLOW];
    for (int i = 0; i < SLOW; i++) {
        client_start(&clients[i], i % 2 == 0 ? "slow-host" : "slow-no-such-host", "x", 1);
        client_end(&clients[i]);
    }
}

/* The answer comes at that very moment, sometimes before and sometimes behind. */
Test(net_tcp, connections_closed_while_the_resolver_answers, .init = world_init, .fini = world_fini,
     .timeout = 60)
{
    enum { COUNT = 100 };
    for (int i = 0; i < COUNT; i++) {
        struct client client;
        client_start(&client, i % 2 == 0 ? "localhost" : "no-such-host.invalid", "x", 1);
        client_end(&client);
    }
}

/* Many connections come and go, closed at any moment of their lives. */
Test(net_tcp, connections_closed_at_any_time, .init = world_init, .fini = world_fini, .timeout = 60)
{
    enum { COUNT = 200 };
    static uint8_t request[300000];
    for (int i = 0; i < COUNT; i++) {
        struct client client;
        client_start(&client, "127.0.0.1", request, (size_t)(i % 4) * 100000);
        if (i % 3 == 0) {
            sem_wait(&client.heard);
        }
        client_end(&client);
    }
}

/* ---- descriptors */

/* Connects, and waits until it has been let in, -1: or turned away. */
static int crowd_connect(const struct sockaddr_in *to, int already)
{
    int open = already;
    uint8_t byte;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -1;
    }
    cr_assert_eq(connect(fd, (const struct sockaddr *)to, sizeof(*to)), 0);
    while (open == already) {
        run_on(world.server, get_open, &open);
        if (recv(fd, &byte, 1, MSG_DONTWAIT) == 0) {
            close(fd);
            return -1;
        }
    }
    return fd;
}

/* Clients took the last descriptor. Then a checkpoint could not be written, which counts as a disk
 * that fails: the log directory went offline, and the broker ended. */
Test(net_tcp, clients_leave_descriptors_for_files, .init = world_init, .fini = world_fini,
     .timeout = 60)
{
    enum { LIMIT = 256, FILES = 20 };
    int crowd[LIMIT];
    int files[FILES];
    int count = 0;
    struct rlimit limit = {.rlim_cur = LIMIT, .rlim_max = LIMIT};
    run_on(world.server, unlisten_now, NULL);
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    run_on(world.server, listen_now, NULL);
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(world.address.port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    do {
        crowd[count] = crowd_connect(&to, count);
    } while (crowd[count] >= 0 && ++count < LIMIT);
    for (int i = 0; i < FILES; i++) {
        files[i] = open("/dev/null", O_RDONLY | O_CLOEXEC);
        cr_assert_geq(files[i], 0, "file %d beside %d clients", i, count);
    }
    for (int i = 0; i < FILES; i++) {
        close(files[i]);
    }
    for (int i = 0; i < count; i++) {
        close(crowd[i]);
    }
}

/* ---- a stream that is told how much to expect */

enum { EXPECTED_BYTES = 300000, PIECES = 30, SEGMENT_MAX = 65536 };

struct expecting {
    struct net_stream *stream;
    size_t first; /* bytes of the first receive */
    size_t bytes;
    enum err end;
    sem_t ended;
};

static struct expecting expecting;

static void expecting_on_ready(struct net_stream *stream, int ready)
{
    static uint8_t room[2 * EXPECTED_BYTES];
    struct iovec part = {room, sizeof(room)};
    size_t got;
    (void)ready;
    enum err err = stream->ops->recv(stream, &part, 1, &got);
    if (expecting.first == 0) {
        expecting.first = got;
    }
    expecting.bytes += got;
    if (err != ERR_OK && err != ERR_AGAIN) {
        expecting.end = err;
        stream->ops->close(stream);
        sem_post(&expecting.ended);
    }
}

static void on_accept_expecting(void *arg, struct net_accepted *accepted)
{
    (void)arg;
    expecting.stream = world.net->ops->adopt(world.net, world.server, accepted);
    expecting.stream->on_ready = expecting_on_ready;
    expecting.stream->ops->expect(expecting.stream, EXPECTED_BYTES);
    expecting.stream->ops->want(expecting.stream, NET_READABLE);
}

static void relisten_expecting(void *arg)
{
    struct errmsg msg;
    (void)arg;
    unlisten_now(NULL);
    cr_assert_eq(world.net->ops->listen(world.net, world.server, &world.address, 16,
                                        on_accept_expecting, NULL, &world.listener,
                                        &world.address.port, &msg),
                 ERR_OK, "%s", msg.text);
}

static void nothing(void *arg)
{
    (void)arg;
}

/* Sends that much in pieces, none of which waits for the next, and lets the server's loop look
 * after each. */
static void send_in_pieces(size_t size)
{
    int on = 1;
    static const uint8_t data[EXPECTED_BYTES];
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(world.address.port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    memset(&expecting, 0, sizeof(expecting));
    sem_init(&expecting.ended, 0, 0);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    cr_assert_eq(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)), 0);
    cr_assert_eq(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
    for (size_t at = 0; at < size; at += size / PIECES) {
        cr_assert_eq(send(fd, data + at, size / PIECES, 0), (ssize_t)(size / PIECES));
        run_on(world.server, nothing, NULL);
    }
    close(fd);
    sem_wait(&expecting.ended);
    sem_destroy(&expecting.ended);
}

/* Not called for pieces; but the end is told at once, whatever was expected. Linux tells earlier
 * when its window has no room for another segment as large as the largest so far
 * (tcp_epollin_ready), which a busy machine makes of several pieces: then the last segment is
 * missing. */
Test(net_tcp, what_is_expected_comes_at_once, .init = world_init, .fini = world_fini, .timeout = 60)
{
    run_on(world.server, relisten_expecting, NULL);
    send_in_pieces(EXPECTED_BYTES);
    cr_assert_geq(expecting.first, EXPECTED_BYTES - SEGMENT_MAX, "%zu", expecting.first);
    cr_assert_eq(expecting.bytes, EXPECTED_BYTES);
    cr_assert_eq(expecting.end, ERR_CLOSED);
    send_in_pieces(3000);
    cr_assert_eq(expecting.bytes, 3000);
    cr_assert_eq(expecting.end, ERR_CLOSED);
}

/* The message names the port and what to do. */
static void listen_twice(void *arg)
{
    (void)arg;
    struct net_listener *listener;
    uint16_t port;
    struct errmsg msg;
    char named[16];
    cr_assert_neq(world.net->ops->listen(world.net, world.server, &world.address, 16, on_accept,
                                         NULL, &listener, &port, &msg),
                  ERR_OK);
    snprintf(named, sizeof(named), "port %u", world.address.port);
    cr_assert_not_null(strstr(msg.text, named), "%s", msg.text);
    cr_assert_not_null(strstr(msg.text, "is taken by another process"), "%s", msg.text);
    struct net_address elsewhere = {.host = "203.0.113.1", .port = 0};
    cr_assert_neq(world.net->ops->listen(world.net, world.server, &elsewhere, 16, on_accept, NULL,
                                         &listener, &port, &msg),
                  ERR_OK);
    cr_assert_not_null(strstr(msg.text, "cannot listen on 203.0.113.1"), "%s", msg.text);
}

Test(net_tcp, a_taken_port_is_explained, .init = world_init, .fini = world_fini, .timeout = 60)
{
    run_on(world.server, listen_twice, NULL);
}

/* All interfaces: an IPv6 socket that takes IPv4 too, whose peers are written as IPv4. */
static void relisten_everywhere(void *arg)
{
    (void)arg;
    unlisten_now(NULL);
    world.address.host[0] = '\0';
    world.address.port = 0;
    listen_now(NULL);
}

Test(net_tcp, an_empty_host_is_every_interface, .init = world_init, .fini = world_fini,
     .timeout = 60)
{
    run_on(world.server, relisten_everywhere, NULL);
    echoes("127.0.0.1", 1000);
    cr_assert_str_eq(accepted_peer_host.text, "127.0.0.1");
}

static bool has_ipv6(void)
{
    struct sockaddr_in6 at = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    int fd = socket(AF_INET6, SOCK_STREAM, 0);
    bool has = fd >= 0 && bind(fd, (struct sockaddr *)&at, sizeof(at)) == 0;
    close(fd);
    return has;
}

/* DescribeGroups told "/::1" of a member at which Kafka tells all groups. */
Test(net_tcp, an_ipv6_peer_is_written_as_java_writes_it, .init = world_init, .fini = world_fini,
     .timeout = 60)
{
    if (!has_ipv6()) {
        cr_skip_test("this machine has no IPv6");
    }
    run_on(world.server, relisten_everywhere, NULL);
    echoes("::1", 1000);
    cr_assert_str_eq(accepted_peer_host.text, "0:0:0:0:0:0:0:1");
}
