/* zk.h: a ZooKeeper session, through a table that tests replace.
 *
 * Two implementations: zk_client (libzookeeper-mt) and zk_mem (a ZooKeeper in memory for tests and
 * the simulator: sessions, ephemerals, sequence nodes, versions, multis, one-shot watches, lost
 * replies).
 *
 * All calls are asynchronous. Results, watches and session events arrive on the loop that the
 * session was opened on, in the order ZooKeeper delivered them. Arguments are copied before a call
 * returns.
 *
 * Unknown is a result: after ERR_ZK_CONNECTION_LOSS the operation may or may not have happened;
 * callers re-read. After ERR_ZK_SESSION_EXPIRED the session is dead: close it and open a new one.
 * Other errors: ERR_NOT_FOUND (no node), ERR_EXISTS, ERR_ZK_BAD_VERSION, ERR_ZK_NOT_EMPTY,
 * ERR_ZK_OTHER.
 *
 * Watches are one-shot: they mean "read again". Re-arming is re-reading.
 *
 * Paths are relative to the chroot of the connect string.
 * Threads: the session's loop only. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"
#include "rt/loop.h"

struct zk;

struct zk_stat {
    int64_t czxid;
    int64_t mzxid;
    int64_t ctime_ms;
    int64_t mtime_ms;
    int64_t ephemeral_owner; /* session id, 0 for persistent nodes */
    int32_t version;
    int32_t children_count;
};

enum zk_session_event {
    ZK_SESSION_CONNECTED,    /* also after a reconnection; watches are still set */
    ZK_SESSION_DISCONNECTED, /* operations fail with ERR_ZK_CONNECTION_LOSS until connected again */
    ZK_SESSION_EXPIRED,      /* for good */
    ZK_SESSION_AUTH_FAILED,
};

enum zk_watch_event { ZK_NODE_CREATED, ZK_NODE_DELETED, ZK_NODE_CHANGED, ZK_CHILDREN_CHANGED };

enum zk_create_flags { ZK_PERSISTENT = 0, ZK_EPHEMERAL = 1, ZK_SEQUENCE = 2 };

/* One step of a multi; either all happen or none. */
enum zk_op_kind { ZK_OP_CREATE, ZK_OP_SET, ZK_OP_DELETE, ZK_OP_CHECK };

struct zk_op {
    enum zk_op_kind kind;
    const char *path;
    struct bytes data; /* data.data == NULL: a node without data (Kafka writes such) */
    int32_t version;   /* SET, DELETE, CHECK; -1: any */
    int flags;         /* CREATE */
};

struct zk_op_result {
    enum err err;        /* of this step; steps after the failed one say ERR_ZK_OTHER */
    struct zk_stat stat; /* after SET; after CREATE where the server tells, else zero */
    struct str path;     /* after CREATE: the name made (sequence nodes) */
};

/* One node of many. */
struct zk_read {
    enum err err; /* ERR_OK, ERR_NOT_FOUND, ERR_ZK_OTHER */
    struct bytes data;
    struct zk_stat stat;
};

struct zk_result {
    enum err err;
    struct bytes data;          /* get */
    struct zk_stat stat;        /* get, exists, set */
    const struct str *children; /* children, sorted by name */
    int32_t children_count;
    struct str path;                    /* create: the path made */
    const struct zk_op_result *results; /* multi */
    int32_t results_count;
    const struct zk_read *reads; /* get_many, in the order of the paths */
    int32_t reads_count;
};

/* `result` and what it points to live until the callback returns. */
typedef void zk_result_fn(void *arg, const struct zk_result *result);

struct zk_events {
    void (*on_session)(void *arg, enum zk_session_event event);
    void (*on_watch)(void *arg, enum zk_watch_event event, struct str path);
};

struct zk_ops {
    void (*get)(struct zk *zk, const char *path, bool watch, zk_result_fn *fn, void *arg);
    /* Data of many nodes, much cheaper than a get() of each. It may take another way to the server:
     * nothing is promised of its order among other calls, but that what is read is not older than
     * any stat that a result of this session has told. */
    void (*get_many)(struct zk *zk, const char *const *paths, int32_t count, zk_result_fn *fn,
                     void *arg);
    void (*exists)(struct zk *zk, const char *path, bool watch, zk_result_fn *fn, void *arg);
    void (*children)(struct zk *zk, const char *path, bool watch, zk_result_fn *fn, void *arg);
    void (*create)(struct zk *zk, const char *path, struct bytes data, int flags, zk_result_fn *fn,
                   void *arg);
    void (*set)(struct zk *zk, const char *path, struct bytes data, int32_t version,
                zk_result_fn *fn, void *arg);
    void (*remove)(struct zk *zk, const char *path, int32_t version, zk_result_fn *fn, void *arg);
    void (*multi)(struct zk *zk, const struct zk_op *ops, int32_t count, zk_result_fn *fn,
                  void *arg);
    int64_t (*session_id)(struct zk *zk);
    /* What the server granted; 0 before the first connection. */
    int32_t (*session_timeout_ms)(struct zk *zk);
    /* Ends the session (its ephemerals go at once) and frees. Callbacks of operations under way are
     * called with ERR_CLOSED before it returns; none comes later. */
    void (*close)(struct zk *zk);
};

struct zk {
    const struct zk_ops *ops;
};

/* What get_many() means, by a get() of each. */
void zk_get_each(struct zk *zk, const char *const *paths, int32_t count, zk_result_fn *fn,
                 void *arg);

/* How to open sessions: what struct env carries. */
struct zk_factory {
    /* `loop` receives everything. Never fails at once: a connect string that cannot be parsed or
     * resolved shows as a session that does not connect, with log lines that say why. */
    struct zk *(*open)(struct zk_factory *factory, struct loop *loop, const char *connect,
                       int32_t session_timeout_ms, const struct zk_events *events, void *arg);
};

/* The real one, over libzookeeper-mt. Creates the chroot when it is missing. Resolves names again
 * after a disconnection (ZooKeeper's address may have changed), but not on every call. */
struct zk_factory *zk_client_factory(void);

/* The process is about to end, and the loops may not turn any more: end every session, from any
 * thread, and wait for it at most so long each. The broker is gone for everybody else at once, not
 * only when its sessions time out. The process must end then: no session may be used. */
void zk_client_end_all(int64_t wait_ms);
