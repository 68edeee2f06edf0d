/* net.h: byte streams and listeners, through a table that tests replace.
 *
 * net_tcp is the real one (non-blocking sockets, libevent for readiness only); the simulator has
 * its own. A stream belongs to one loop from net_ops.connect() or net_ops.adopt() on; all its calls
 * and its callback happen there.
 *
 * Readiness is level-triggered: on_ready is called again while data waits and reading is wanted. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "base/err.h"
#include "fs/fs.h"
#include "rt/loop.h"

struct net;
struct net_stream;
struct net_listener;

struct net_address {
    char host[256]; /* name or literal; empty: all interfaces */
    uint16_t port;
};

enum net_ready { NET_READABLE = 1, NET_WRITABLE = 2 };

/* The text of an address. */
struct net_name {
    char text[64];
};

struct net_stream_ops {
    /* Bytes received (> 0) into the parts, in their order; ERR_AGAIN when none are there,
     * ERR_CLOSED at the end or on a reset. */
    enum err (*recv)(struct net_stream *stream, const struct iovec *parts, int count, size_t *got);
    /* May take less than offered; ERR_AGAIN when it takes nothing. `more`: something follows at
     * once. */
    enum err (*send)(struct net_stream *stream, const struct iovec *parts, int count, bool more,
                     size_t *sent);
    /* As send, out of a file: sendfile where fs_fd() >= 0, else read and send. ERR_CORRUPT when the
     * file ends before offset + size: then the connection must be closed, its peer was promised
     * more. */
    enum err (*send_file)(struct net_stream *stream, struct fs_file *file, int64_t offset,
                          size_t size, size_t *sent);
    /* Which of enum net_ready to be called back for. */
    void (*want)(struct net_stream *stream, int ready);
    /* Be called back as readable only once so many bytes are there (or the peer has ended); 1 until
     * said otherwise. A wish: more calls than that do no harm. */
    void (*expect)(struct net_stream *stream, size_t bytes);
    /* Who is at the other end: with its port, "10.0.0.5:51514" or "[::1]:51514", for messages;
     * without, "10.0.0.5" or "0:0:0:0:0:0:0:1": Java's InetAddress text without its leading slash.
     * Asked for rarely, so no connection carries the text. */
    void (*peer)(const struct net_stream *stream, bool with_port, struct net_name *out);
    /* Closes and frees at once; no callback follows. */
    void (*close)(struct net_stream *stream);
};

struct net_stream {
    const struct net_stream_ops *ops;
    struct loop *loop;
    /* After connect() and want(NET_WRITABLE): NET_WRITABLE alone says that it is connected;
     * NET_READABLE that it failed, and recv and send say ERR_CLOSED. */
    void (*on_ready)(struct net_stream *stream, int ready);
    void *arg; /* for on_ready */
    uint16_t local_port;
};

/* A connection that was accepted but belongs to no loop yet; give it to net_ops.adopt(). */
struct net_accepted {
    struct loop_msg msg; /* for the way to its loop; the accepter's until adopted */
};

typedef void net_accept_fn(void *arg, struct net_accepted *accepted);

struct net_ops {
    /* Bind and listen on `loop`. Port 0 picks one; *port is the port bound. `msg` names host, port
     * and what to do when it is taken. The callback runs on `loop`. */
    enum err (*listen)(struct net *net, struct loop *loop, const struct net_address *at,
                       int backlog, net_accept_fn *fn, void *arg, struct net_listener **out,
                       uint16_t *port, struct errmsg *msg);
    void (*unlisten)(struct net_listener *listener);
    /* On the loop that the stream is to belong to. */
    struct net_stream *(*adopt)(struct net *net, struct loop *loop, struct net_accepted *accepted);
    void (*refuse)(struct net *net, struct net_accepted *accepted);
    /* Begin to connect on the current loop; names are resolved on a thread of the implementation's.
     */
    struct net_stream *(*connect)(struct net *net, struct loop *loop, const struct net_address *to);
};

struct net {
    const struct net_ops *ops;
};

/* Options of real sockets; -1 leaves the system's default. */
struct net_tcp_options {
    int send_buffer_bytes;
    int receive_buffer_bytes;
};

struct net *net_tcp_new(const struct net_tcp_options *options);
void net_tcp_free(struct net *net);
