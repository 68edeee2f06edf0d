/* net_tcp.c: real sockets. Non-blocking, TCP_NODELAY; libevent says when they are ready, nothing
 * more: its buffers would read 4 KiB at a time (see the design notes of this folder). */
#include <arpa/inet.h>
#include <errno.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/must.h"
#include "net/net.h"

#define LOGGER "kafka.network.SocketServer"

enum {
    SEND_COPY_BYTES = 64 * 1024, /* per call, for files without a descriptor */
    ACCEPT_PER_TURN = 64,
    ACCEPT_PAUSE_MS = 100, /* when descriptors have run out */
    /* Of the descriptors this part, or so many, are not for those who connect: a log whose next
     * file cannot be opened has failed, and its directory with it. */
    KEPT_PART = 8,
    KEPT_MAX = 1024,
};

struct net_tcp {
    struct net net;
    struct net_tcp_options options;
};

/* An address as short as it goes: every connection has one. */
struct short_address {
    uint8_t bytes[sizeof(struct in6_addr)];
    uint16_t port;
    uint16_t family; /* 0: not known */
};

struct tcp_stream {
    struct net_stream stream; /* first */
    int fd;                   /* -1 while a name is being resolved, or when connecting failed */
    uint8_t wanted;
    bool assigned;
    bool connecting;
    bool failed : 1;   /* every recv and send says ERR_CLOSED */
    bool outgoing : 1; /* it is part of a struct outgoing */
    struct event event;
    struct short_address peer;
    uint32_t expected; /* SO_RCVLOWAT; 0: never set, as 1 */
};

/* A stream that we make. */
struct outgoing {
    struct tcp_stream tcp;      /* first */
    struct loop_task fail_task; /* tells a failed connect outside of connect() */
    struct resolve *resolve;
};

_Static_assert(sizeof(struct tcp_stream) <= 200,
               "every connection pays for this (128 are libevent's)");

struct tcp_listener {
    struct net_tcp *net;
    struct loop *loop;
    int fd;
    int fd_end; /* from here on descriptors are for others */
    struct event *event;
    net_accept_fn *fn;
    void *arg;
    struct loop_timer pause;
};

struct tcp_accepted {
    struct net_accepted accepted; /* first */
    struct short_address peer;
    int fd;
};

static struct tcp_stream *of_stream(struct net_stream *stream)
{
    return (struct tcp_stream *)stream;
}

/* An IPv4 address inside of an IPv6 one becomes what it is. */
static struct short_address shorten(const struct sockaddr_storage *address)
{
    struct short_address out = {.family = address->ss_family};
    if (address->ss_family == AF_INET) {
        const struct sockaddr_in *in = (const void *)address;
        memcpy(out.bytes, &in->sin_addr, sizeof(in->sin_addr));
        out.port = ntohs(in->sin_port);
    } else if (address->ss_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const void *)address;
        out.port = ntohs(in6->sin6_port);
        if (IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr)) {
            out.family = AF_INET;
            memcpy(out.bytes, &in6->sin6_addr.s6_addr[12], sizeof(struct in_addr));
        } else {
            memcpy(out.bytes, &in6->sin6_addr, sizeof(in6->sin6_addr));
        }
    }
    return out;
}

/* Java writes all eight groups, however many of them are zero. */
static void write_groups(const struct short_address *peer, struct net_name *out)
{
    size_t size = 0;
    for (size_t i = 0; i < sizeof(peer->bytes); i += 2) {
        size +=
            (size_t)snprintf(out->text + size, sizeof(out->text) - size, "%s%x", i > 0 ? ":" : "",
                             (unsigned)peer->bytes[i] << 8 | peer->bytes[i + 1]);
    }
}

static void tcp_peer(const struct net_stream *stream, bool with_port, struct net_name *out)
{
    const struct short_address *peer = &((const struct tcp_stream *)stream)->peer;
    bool v6 = peer->family == AF_INET6;
    char text[INET6_ADDRSTRLEN] = "?";
    if (peer->family == AF_INET || v6) {
        inet_ntop(peer->family, peer->bytes, text, sizeof(text));
    }
    if (with_port) {
        snprintf(out->text, sizeof(out->text), v6 ? "[%s]:%u" : "%s:%u", text, peer->port);
    } else if (v6) {
        write_groups(peer, out);
    } else {
        snprintf(out->text, sizeof(out->text), "%s", text);
    }
}

static void set_option(int fd, int level, int option, int value)
{
    /* Best effort: a socket without it still works. */
    (void)setsockopt(fd, level, option, &value, sizeof(value));
}

static void socket_tune(const struct net_tcp *net, int fd)
{
    set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    if (net->options.send_buffer_bytes > 0) {
        set_option(fd, SOL_SOCKET, SO_SNDBUF, net->options.send_buffer_bytes);
    }
    if (net->options.receive_buffer_bytes > 0) {
        set_option(fd, SOL_SOCKET, SO_RCVBUF, net->options.receive_buffer_bytes);
    }
}

/* ---- streams ---- */

static ssize_t recv_parts(int fd, const struct iovec *parts, int count)
{
    if (count == 1) {
        return recv(fd, parts[0].iov_base, parts[0].iov_len, 0);
    }
    struct msghdr msg = {.msg_iov = (struct iovec *)(uintptr_t)parts, .msg_iovlen = (size_t)count};
    return recvmsg(fd, &msg, 0);
}

static enum err tcp_recv(struct net_stream *stream, const struct iovec *parts, int count,
                         size_t *got)
{
    struct tcp_stream *tcp = of_stream(stream);
    *got = 0;
    if (tcp->failed) {
        return ERR_CLOSED;
    }
    ssize_t n;
    do {
        n = recv_parts(tcp->fd, parts, count);
    } while (n < 0 && errno == EINTR);
    if (n > 0) {
        *got = (size_t)n;
        return ERR_OK;
    }
    return n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK) ? ERR_AGAIN : ERR_CLOSED;
}

static enum err sent_result(ssize_t n, size_t *sent)
{
    *sent = 0;
    if (n >= 0) {
        *sent = (size_t)n;
        return ERR_OK;
    }
    return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR ? ERR_AGAIN : ERR_CLOSED;
}

static enum err tcp_send(struct net_stream *stream, const struct iovec *parts, int count, bool more,
                         size_t *sent)
{
    struct tcp_stream *tcp = of_stream(stream);
    if (tcp->failed) {
        *sent = 0;
        return ERR_CLOSED;
    }
    int flags = MSG_NOSIGNAL | (more ? MSG_MORE : 0);
    if (count == 1) {
        return sent_result(send(tcp->fd, parts[0].iov_base, parts[0].iov_len, flags), sent);
    }
    struct msghdr msg = {.msg_iov = (struct iovec *)(uintptr_t)parts, .msg_iovlen = (size_t)count};
    return sent_result(sendmsg(tcp->fd, &msg, flags), sent);
}

static enum err send_file_copy(struct net_stream *stream, struct fs_file *file, int64_t offset,
                               size_t size, size_t *sent)
{
    size_t chunk = size < SEND_COPY_BYTES ? size : SEND_COPY_BYTES;
    uint8_t *copy = mem_alloc(chunk);
    size_t got;
    *sent = 0;
    enum err err = fs_pread(file, copy, chunk, offset, &got);
    if (err == ERR_OK && got == 0) {
        err = ERR_CORRUPT;
    }
    if (err == ERR_OK) {
        struct iovec part = {copy, got};
        err = tcp_send(stream, &part, 1, false, sent);
    }
    mem_free(copy);
    return err;
}

static enum err tcp_send_file(struct net_stream *stream, struct fs_file *file, int64_t offset,
                              size_t size, size_t *sent)
{
    struct tcp_stream *tcp = of_stream(stream);
    *sent = 0;
    if (tcp->failed) {
        return ERR_CLOSED;
    }
    int fd = fs_fd(file);
    if (fd < 0) {
        return send_file_copy(stream, file, offset, size, sent);
    }
    off_t at = offset;
    ssize_t n = sendfile(tcp->fd, fd, &at, size);
    if (n == 0 && size > 0) {
        return ERR_CORRUPT; /* the file ends here */
    }
    return sent_result(n, sent);
}

static void tcp_on_event(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    struct tcp_stream *tcp = arg;
    int ready = 0;
    if ((what & EV_READ) != 0) {
        ready |= NET_READABLE;
    }
    if ((what & EV_WRITE) != 0) {
        ready |= NET_WRITABLE;
    }
    if (tcp->connecting) {
        int error = 0;
        socklen_t size = sizeof(error);
        getsockopt(tcp->fd, SOL_SOCKET, SO_ERROR, &error, &size);
        tcp->connecting = false;
        tcp->failed = error != 0;
        ready = tcp->failed ? NET_READABLE : ready;
    }
    tcp->stream.on_ready(&tcp->stream, ready);
}

static void tcp_want(struct net_stream *stream, int ready)
{
    struct tcp_stream *tcp = of_stream(stream);
    bool usable = tcp->fd >= 0 && !tcp->failed;
    if (ready == tcp->wanted && usable) {
        return;
    }
    if (tcp->assigned) {
        event_del(&tcp->event);
    }
    tcp->wanted = (uint8_t)ready;
    tcp->assigned = usable && ready != 0;
    if (tcp->assigned) {
        short what = (short)(EV_PERSIST | ((ready & NET_READABLE) != 0 ? EV_READ : 0) |
                             ((ready & NET_WRITABLE) != 0 ? EV_WRITE : 0));
        event_assign(&tcp->event, loop_event_base(stream->loop), tcp->fd, what, tcp_on_event, tcp);
        event_add(&tcp->event, NULL);
    }
}

static void resolve_abandon(struct resolve *resolve);

static struct outgoing *outgoing_of(struct tcp_stream *tcp)
{
    must(tcp->outgoing);
    return (struct outgoing *)tcp;
}

/* The kernel makes the window as large as it has to be, so what is expected can come. */
static void tcp_expect(struct net_stream *stream, size_t bytes)
{
    struct tcp_stream *tcp = of_stream(stream);
    uint32_t expected = bytes < INT32_MAX ? (uint32_t)bytes : INT32_MAX;
    uint32_t before = tcp->expected > 0 ? tcp->expected : 1;
    if (tcp->fd >= 0 && expected != before) {
        tcp->expected = expected;
        set_option(tcp->fd, SOL_SOCKET, SO_RCVLOWAT, (int)expected);
    }
}

static void tcp_close(struct net_stream *stream)
{
    struct tcp_stream *tcp = of_stream(stream);
    if (tcp->assigned) {
        event_del(&tcp->event);
    }
    if (tcp->fd >= 0) {
        close(tcp->fd);
    }
    if (tcp->outgoing) {
        loop_task_cancel(&outgoing_of(tcp)->fail_task);
        resolve_abandon(outgoing_of(tcp)->resolve);
    }
    mem_free(tcp);
}

static const struct net_stream_ops tcp_stream_ops = {
    .recv = tcp_recv,
    .send = tcp_send,
    .send_file = tcp_send_file,
    .want = tcp_want,
    .expect = tcp_expect,
    .peer = tcp_peer,
    .close = tcp_close,
};

static void on_fail_task(struct loop_task *task)
{
    struct tcp_stream *tcp = &container_of(task, struct outgoing, fail_task)->tcp;
    tcp->stream.on_ready(&tcp->stream, NET_READABLE);
}

static void stream_init(struct tcp_stream *tcp, struct loop *loop, int fd)
{
    tcp->stream.ops = &tcp_stream_ops;
    tcp->stream.loop = loop;
    tcp->fd = fd;
}

static struct tcp_stream *stream_new_outgoing(struct loop *loop)
{
    struct outgoing *outgoing = mem_new(struct outgoing);
    stream_init(&outgoing->tcp, loop, -1);
    outgoing->tcp.outgoing = true;
    loop_task_init(&outgoing->fail_task, on_fail_task);
    return &outgoing->tcp;
}

/* ---- connecting: the name is looked up on a thread of its own, connections are few ---- */

/* A look-up. A resolver may take many seconds, longer than the stream and the loop live. Its thread
 * holds it, and so does the loop until the message has reached it or will never come. */
struct resolve {
    struct loop_msg msg;
    struct net_tcp *net;
    struct loop *loop;
    struct tcp_stream *tcp; /* the loop's; NULL: closed while the message was under way */
    struct net_address to;
    struct sockaddr_storage address;
    socklen_t address_size;
    bool found;
    atomic_int holders;
    pthread_mutex_t lock; /* guards what follows; loop_post() is called inside */
    bool posted;
    bool abandoned; /* closed before it was posted */
};

static void resolve_put(struct resolve *resolve)
{
    int before = atomic_fetch_sub_explicit(&resolve->holders, 1, memory_order_acq_rel);
    must(before > 0);
    if (before == 1) {
        pthread_mutex_destroy(&resolve->lock);
        mem_free(resolve);
    }
}

static void resolve_abandon(struct resolve *resolve)
{
    if (resolve == NULL) {
        return;
    }
    pthread_mutex_lock(&resolve->lock);
    resolve->tcp = NULL;
    resolve->abandoned = !resolve->posted;
    pthread_mutex_unlock(&resolve->lock);
}

/* On any thread: the look-up is over. */
static void resolve_post(struct resolve *resolve)
{
    pthread_mutex_lock(&resolve->lock);
    bool abandoned = resolve->abandoned;
    if (!abandoned) {
        resolve->posted = true;
        loop_post(resolve->loop, &resolve->msg);
    }
    pthread_mutex_unlock(&resolve->lock);
    if (abandoned) {
        resolve_put(resolve); /* for the loop */
    }
    resolve_put(resolve);
}

static void stream_fail(struct tcp_stream *tcp)
{
    tcp->failed = true;
    loop_defer(tcp->stream.loop, &outgoing_of(tcp)->fail_task);
}

static void stream_connect(struct net_tcp *net, struct tcp_stream *tcp,
                           const struct sockaddr_storage *address, socklen_t size)
{
    int fd = socket(address->ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        stream_fail(tcp);
        return;
    }
    socket_tune(net, fd);
    tcp->fd = fd;
    tcp->peer = shorten(address);
    if (connect(fd, (const struct sockaddr *)address, size) != 0 && errno != EINPROGRESS) {
        stream_fail(tcp);
        return;
    }
    tcp->connecting = true;
    int wanted = tcp->wanted | NET_WRITABLE;
    tcp->wanted = 0;
    tcp_want(&tcp->stream, wanted);
}

static bool resolve_now(struct resolve *resolve, int flags)
{
    char port[8];
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = flags};
    struct addrinfo *list = NULL;
    snprintf(port, sizeof(port), "%u", resolve->to.port);
    if (getaddrinfo(resolve->to.host, port, &hints, &list) != 0) {
        return false;
    }
    /* The first of IPv4 when there is one: names like localhost often have both, servers often one.
     */
    const struct addrinfo *best = list;
    for (const struct addrinfo *i = list; i != NULL; i = i->ai_next) {
        if (i->ai_family == AF_INET) {
            best = i;
            break;
        }
    }
    memcpy(&resolve->address, best->ai_addr, best->ai_addrlen);
    resolve->address_size = best->ai_addrlen;
    freeaddrinfo(list);
    return true;
}

static void on_resolved(struct loop_msg *msg)
{
    struct resolve *resolve = container_of(msg, struct resolve, msg);
    struct tcp_stream *tcp = resolve->tcp;
    if (tcp != NULL) {
        outgoing_of(tcp)->resolve = NULL;
        if (resolve->found) {
            stream_connect(resolve->net, tcp, &resolve->address, resolve->address_size);
        } else {
            stream_fail(tcp);
        }
    }
    resolve_put(resolve);
}

static void *resolve_thread(void *arg)
{
    struct resolve *resolve = arg;
    resolve->found = resolve_now(resolve, 0);
    resolve_post(resolve);
    return NULL;
}

static void resolve_start(struct net_tcp *net, struct tcp_stream *tcp, const struct net_address *to)
{
    struct resolve *resolve = mem_new(struct resolve);
    *resolve = (struct resolve){.net = net, .loop = tcp->stream.loop, .tcp = tcp, .to = *to};
    resolve->msg.fn = on_resolved;
    atomic_init(&resolve->holders, 2);
    must(pthread_mutex_init(&resolve->lock, NULL) == 0);
    outgoing_of(tcp)->resolve = resolve;
    if (resolve_now(resolve, AI_NUMERICHOST | AI_NUMERICSERV)) {
        resolve->found = true;
        resolve_post(resolve);
        return;
    }
    pthread_t thread;
    if (pthread_create(&thread, NULL, resolve_thread, resolve) != 0) {
        resolve_post(resolve);
        return;
    }
    pthread_detach(thread);
}

static struct net_stream *tcp_connect(struct net *net, struct loop *loop,
                                      const struct net_address *to)
{
    struct tcp_stream *tcp = stream_new_outgoing(loop);
    resolve_start((struct net_tcp *)net, tcp, to);
    return &tcp->stream;
}

/* ---- listening ---- */

static void on_pause_over(struct loop_timer *timer)
{
    struct tcp_listener *listener = container_of(timer, struct tcp_listener, pause);
    event_add(listener->event, NULL);
}

static void accept_later(struct tcp_listener *listener, const char *why)
{
    static struct log_limit limit;
    log_limited(&limit, LOG_ERROR, LOGGER, "cannot accept connections",
                "%s; raise the limit of open files (ulimit -n)", why);
    event_del(listener->event);
    loop_timer_set(listener->loop, &listener->pause, loop_now_ms(listener->loop) + ACCEPT_PAUSE_MS);
}

static void accept_failed(struct tcp_listener *listener, int error)
{
    if (error != EMFILE && error != ENFILE && error != ENOBUFS && error != ENOMEM) {
        return; /* the peer gave up meanwhile, or nobody waits */
    }
    accept_later(listener, strerror(error));
}

/* The system gives the lowest descriptor that is free. */
static int accepted_end(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur > INT32_MAX) {
        return INT32_MAX;
    }
    rlim_t kept = limit.rlim_cur / KEPT_PART;
    return (int)(limit.rlim_cur - (kept < KEPT_MAX ? kept : KEPT_MAX));
}

static void on_accept(evutil_socket_t fd, short what, void *arg)
{
    (void)what;
    struct tcp_listener *listener = arg;
    for (int i = 0; i < ACCEPT_PER_TURN; i++) {
        struct sockaddr_storage address = {0};
        socklen_t size = sizeof(address);
        int peer =
            accept4((int)fd, (struct sockaddr *)&address, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (peer < 0) {
            accept_failed(listener, errno);
            return;
        }
        if (peer >= listener->fd_end) {
            close(peer);
            accept_later(listener, "what descriptors are left is for the logs");
            return;
        }
        socket_tune(listener->net, peer);
        struct tcp_accepted *accepted = mem_new(struct tcp_accepted);
        accepted->fd = peer;
        accepted->peer = shorten(&address);
        listener->fn(listener->arg, &accepted->accepted);
    }
}

static struct net_stream *tcp_adopt(struct net *net, struct loop *loop,
                                    struct net_accepted *accepted)
{
    (void)net;
    struct tcp_accepted *tcp_accepted = (struct tcp_accepted *)accepted;
    struct tcp_stream *tcp = mem_new(struct tcp_stream);
    struct sockaddr_storage local = {0};
    socklen_t size = sizeof(local);
    stream_init(tcp, loop, tcp_accepted->fd);
    tcp->peer = tcp_accepted->peer;
    if (getsockname(tcp->fd, (struct sockaddr *)&local, &size) == 0) {
        tcp->stream.local_port = shorten(&local).port;
    }
    mem_free(accepted);
    return &tcp->stream;
}

static void tcp_refuse(struct net *net, struct net_accepted *accepted)
{
    (void)net;
    close(((struct tcp_accepted *)accepted)->fd);
    mem_free(accepted);
}

/* A bound and listening socket, or -1 with errno. */
static int listen_at(const struct addrinfo *at, int backlog)
{
    int fd = socket(at->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -1;
    }
    set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    if (at->ai_family == AF_INET6) {
        set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, 0);
    }
    if (bind(fd, at->ai_addr, at->ai_addrlen) != 0 || listen(fd, backlog) != 0) {
        int error = errno;
        close(fd);
        errno = error;
        return -1;
    }
    return fd;
}

/* The first of the addresses that can be had, IPv4 before IPv6: "localhost" is both on most
 * machines, and Java, and so its clients and Kafka, and our own brokers (resolve_now()) take the
 * one of IPv4. A port that somebody has is not to be looked for elsewhere. */
static int listen_any(const struct addrinfo *list, int backlog)
{
    int fd = -1;
    errno = EADDRNOTAVAIL;
    for (int round = 0; round < 2; round++) {
        for (const struct addrinfo *i = list; i != NULL; i = i->ai_next) {
            bool its_round = (i->ai_family == AF_INET) == (round == 0);
            if (its_round && fd < 0 && errno != EADDRINUSE) {
                fd = listen_at(i, backlog);
            }
        }
    }
    return fd;
}

/* Of one family (AF_UNSPEC: whatever the host has); -1 with errno. */
static int listen_family(const struct net_address *at, int family, int backlog)
{
    char port[8];
    struct addrinfo hints = {
        .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE, .ai_family = family};
    struct addrinfo *list = NULL;
    snprintf(port, sizeof(port), "%u", at->port);
    if (getaddrinfo(at->host[0] == '\0' ? NULL : at->host, port, &hints, &list) != 0) {
        errno = EADDRNOTAVAIL;
        return -1;
    }
    int fd = listen_any(list, backlog);
    int error = errno;
    freeaddrinfo(list);
    errno = error;
    return fd;
}

/* An empty host is every interface: IPv6, which takes IPv4 too, or IPv4 alone on a machine that has
 * no IPv6. */
static int listen_socket(const struct net_address *at, int backlog)
{
    if (at->host[0] != '\0') {
        return listen_family(at, AF_UNSPEC, backlog);
    }
    int fd = listen_family(at, AF_INET6, backlog);
    return fd >= 0 || errno == EADDRINUSE ? fd : listen_family(at, AF_INET, backlog);
}

static void explain_listen(const struct net_address *at, int error, struct errmsg *msg)
{
    const char *host = at->host[0] != '\0' ? at->host : "0.0.0.0";
    if (error == EADDRINUSE) {
        errmsg_set(
            msg,
            "error[E-LISTENER-01]: port %u on %s is taken by another process.\n"
            "  Stop that process (ss -ltnp 'sport = :%u' shows it), or choose another port in "
            "`listeners`, for example:\n      listeners=PLAINTEXT://:%u",
            at->port, host, at->port, (unsigned)at->port + 1);
        return;
    }
    errmsg_set(
        msg,
        "error[E-LISTENER-02]: cannot listen on %s:%u: %s.\n"
        "  The host in `listeners` must be an address of this machine, or empty for all, for "
        "example:\n      listeners=PLAINTEXT://:%u",
        host, at->port, strerror(error), at->port);
}

static enum err tcp_listen(struct net *net, struct loop *loop, const struct net_address *at,
                           int backlog, net_accept_fn *fn, void *arg, struct net_listener **out,
                           uint16_t *port, struct errmsg *msg)
{
    int fd = listen_socket(at, backlog);
    if (fd < 0) {
        int error = errno;
        explain_listen(at, error, msg);
        return err_from_errno(error);
    }
    struct sockaddr_storage local = {0};
    socklen_t size = sizeof(local);
    must(getsockname(fd, (struct sockaddr *)&local, &size) == 0);
    *port = shorten(&local).port;
    struct tcp_listener *listener = mem_new(struct tcp_listener);
    listener->net = (struct net_tcp *)net;
    listener->loop = loop;
    listener->fd = fd;
    listener->fd_end = accepted_end();
    listener->fn = fn;
    listener->arg = arg;
    loop_timer_init(&listener->pause, on_pause_over);
    listener->event =
        event_new(loop_event_base(loop), fd, EV_READ | EV_PERSIST, on_accept, listener);
    must(listener->event != NULL);
    event_add(listener->event, NULL);
    *out = (struct net_listener *)listener;
    return ERR_OK;
}

static void tcp_unlisten(struct net_listener *handle)
{
    struct tcp_listener *listener = (struct tcp_listener *)handle;
    loop_timer_cancel(&listener->pause);
    event_free(listener->event);
    close(listener->fd);
    mem_free(listener);
}

static const struct net_ops tcp_ops = {
    .listen = tcp_listen,
    .unlisten = tcp_unlisten,
    .adopt = tcp_adopt,
    .refuse = tcp_refuse,
    .connect = tcp_connect,
};

struct net *net_tcp_new(const struct net_tcp_options *options)
{
    struct net_tcp *net = mem_new(struct net_tcp);
    net->net.ops = &tcp_ops;
    net->options = *options;
    return &net->net;
}

void net_tcp_free(struct net *net)
{
    mem_free(net);
}
