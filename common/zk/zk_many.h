/* zk_many.h: reads thousands of nodes over a connection of its own, hundreds of them in a packet.
 *
 * libzookeeper sends one packet for each read, and a server takes 30 us and more for each packet;
 * of hundreds of reads in one it takes 3 us for each (3.8.0). A controller that begins reads the
 * state of every partition, so this is most of the time until partitions are served again.
 *
 * The connection goes to the server that the session is connected to, and has a session of its own,
 * which holds nothing and sees no watches. It is opened when something is to be read and closed
 * when nothing has been for a while.
 *
 * M1  What is read is not older than the change `zxid` of the read: the server lets nobody in who
 *     has seen more than itself, and it never goes back. A read that needs a newer one than what
 *     the connection has proved (by the zxid that it was opened with, or that a reply told) waits,
 *     and when there is nothing to wait for the connection is opened anew. So does a read that was
 *     added when the session had gone to another server: a watch may have told it of a change that
 *     the one before has not seen.
 * M2  Whatever goes wrong (no connection, an older server, bytes that make no sense, silence)
 *     ends in done(ok = false), and the caller reads node by node. After a few times nothing is
 *     tried any more.
 * M3  Its session ends with the connection, not by its timeout: the server is told so, whatever has
 *     gone wrong. Where it cannot be told (the connection is gone, or a request was sent in part),
 *     the session stays in ZooKeeper until its timeout. It holds no node and no watch, so nobody
 *     sees it but for the server's count.
 *
 * Threads: zk_many_add() and zk_many_close() on the session's loop; done() and over() on a thread
 * of its own, which lives as long as the connection. */
#pragma once

#include <sys/socket.h>

#include "base/arena.h"
#include "base/list.h"
#include "zk/zk.h"

/* A read of several nodes. It belongs to the caller, who leaves it alone until done(). */
struct zk_many_read {
    struct list link;
    const char **paths; /* absolute */
    int32_t count;
    int64_t zxid;          /* M1 */
    int32_t place;         /* M1; set by zk_many_add() */
    struct arena *arena;   /* of the data that is read */
    struct zk_read *nodes; /* `count` of them, filled in */
};

struct zk_many_host {
    /* @loop A thread is about to begin. What it uses lasts until over(). */
    void (*begin)(struct zk_many_host *host);
    void (*done)(struct zk_many_host *host, struct zk_many_read *read, bool ok);
    /* The thread is about to end and touches nothing any more. */
    void (*over)(struct zk_many_host *host);
};

struct zk_many;

enum { ZK_MANY_ANSWER_MS = 3000, ZK_MANY_LINGER_MS = 300 };

struct zk_many_options {
    int32_t session_timeout_ms;
    int32_t answer_ms; /* without a byte for so long: it is given up */
    int32_t linger_ms; /* nothing to do for so long: it is closed */
};

struct zk_many *zk_many_new(struct zk_many_host *host, const struct zk_many_options *options);

/* False: not any more, it is to be read node by node. `address`: of the session's server. */
MUST_USE bool zk_many_add(struct zk_many *many, struct zk_many_read *read,
                          const struct sockaddr *address, socklen_t address_size);

/* Is the thread there, so that even a small read is better added? */
bool zk_many_running(struct zk_many *many);

/* The thread ends soon, without done() for what it has; nothing is added any more. It waits for no
 * answer, and for a server that takes no bytes for `answer_ms` at most. */
void zk_many_close(struct zk_many *many);

/* When no thread is there. */
void zk_many_free(struct zk_many *many);
