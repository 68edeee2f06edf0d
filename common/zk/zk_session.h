/* zk_session.h: what the files of the client over libzookeeper-mt share: zk_client.c has a
 * session's life, its threads and what it delivers; zk_op.c has single operations, zk_op_many.c the
 * read of many nodes, zk_watches.c what is watched. Nobody else includes it.
 *
 * Three threads meet here. libzookeeper's own two call back; their callbacks copy what they were
 * given, queue it at the session and wake the loop, nothing else. The loop delivers and submits.
 * And each session has a keeper, which does what may block: resolving names inside zookeeper_init,
 * making the chroot, and zookeeper_close, which must not run in a callback and waits for the
 * library's threads.
 *
 * C1 A struct zk_op_call belongs to the library from submission until its callback has run, and to
 * the loop from then on. An op that has not called back when zookeeper_close() returns never will:
 * the keeper frees it. C2 The loop calls zoo_*() only while !closed, and the keeper closes the
 * handle only when closed: the two never overlap. C3 The session, and what is left of its ops, is
 * freed by the last of the keeper, a wake and a close() that are under way, and a reader of many
 * nodes (zk_many.h), to which C1 applies as it does to the library. */
#ifndef BARNABAS_ZK_SESSION_H
#define BARNABAS_ZK_SESSION_H

#include <pthread.h>
#include <zookeeper/zookeeper.h>

#include "base/arena.h"
#include "base/list.h"
#include "zk/zk.h"
#include "zk/zk_many.h"

struct zk_session {
    struct zk zk;     /* first */
    struct list link; /* in `all` */
    struct loop *loop;
    struct zk_events events;
    void *arg;
    char *connect; /* without chroot */
    char *chroot;  /* "" or "/x/y" */
    char *servers; /* the addresses that the library has; the keeper's */
    int32_t asked_timeout_ms;
    struct loop_msg wake;
    struct list ops; /* submitted, not delivered; the loop's, and the keeper's once closed */
    bool usable;     /* CONNECTED was delivered, nothing else since; the loop's */

    /* The loop's as well: reads of many nodes. */
    struct zk_many_host many_host;
    struct zk_many *many;       /* NULL until it is needed */
    struct list many_asked;     /* in this turn, of struct zk_op_call */
    struct loop_task many_send; /* at its end */
    int64_t zxid_told;          /* the newest change that a result's stat has told of */

    /* The loop's as well: what is watched. */
    struct zk_watched *watched; /* by path */
    size_t watched_bytes;
    bool watches_lost; /* the library has been made to forget them */

    pthread_mutex_t
        lock; /* guards what follows; a leaf, except that loop_post() is called inside */
    pthread_cond_t changed;
    zhandle_t *handle;   /* NULL until the keeper has made it */
    zhandle_t *given_up; /* closed before it was ever connected: its events do not count */
    bool answered;       /* has been connected */
    struct list inbox;   /* of struct zk_delivery */
    enum zk_session_event last_event; /* repeated ones are dropped; starts as DISCONNECTED */
    int64_t session_id;
    int32_t timeout_ms;
    bool wake_posted;
    bool closed;
    bool ended; /* by zk_client_end_all(): the process is about to end */
    bool keeper_done;
    int refs; /* the keeper, a wake under way, a close() under way, a reader of many nodes */
};

enum zk_delivery_kind { DELIVER_RESULT, DELIVER_WATCH, DELIVER_SESSION };

/* Something for the loop. A result is embedded in its op. */
struct zk_delivery {
    struct list link;
    enum zk_delivery_kind kind;
    enum zk_watch_event watch;
    enum zk_session_event session;
    char *path;
};

struct zk_op_call {
    struct list link; /* session->ops */
    struct zk_delivery delivery;
    struct zk_session *session;
    struct arena arena;
    zk_result_fn *fn;
    void *arg;
    struct zk_result result;
    int32_t count; /* multi: */
    zoo_op_t *zoo_ops;
    zoo_op_result_t *zoo_results;
    const char **paths; /* as asked for */
    struct zk_many_read many;
    bool refused;   /* many: to be read node by node */
    int watch_kind; /* zk_watch_kind: that it sets; 0: none */
    const char *watch_path;
    bool watch_absent; /* also on a node that is not there */
};

enum zk_watch_kind { ZK_WATCH_DATA = 1, ZK_WATCH_CHILDREN = 2 };

/* @locks session. For the loop: what has come from one of the library's threads, or a result. */
void zk_session_post(struct zk_session *session, struct zk_delivery *delivery);

/* @loop What struct zk_ops asks for, each with the meaning that it has there. */
void zk_op_get(struct zk *zk, const char *path, bool watch, zk_result_fn *fn, void *arg);
void zk_op_exists(struct zk *zk, const char *path, bool watch, zk_result_fn *fn, void *arg);
void zk_op_children(struct zk *zk, const char *path, bool watch, zk_result_fn *fn, void *arg);
void zk_op_create(struct zk *zk, const char *path, struct bytes data, int flags, zk_result_fn *fn,
                  void *arg);
void zk_op_set(struct zk *zk, const char *path, struct bytes data, int32_t version,
               zk_result_fn *fn, void *arg);
void zk_op_remove(struct zk *zk, const char *path, int32_t version, zk_result_fn *fn, void *arg);
void zk_op_multi(struct zk *zk, const struct zk_op *ops, int32_t count, zk_result_fn *fn,
                 void *arg);

/* zk_op_many.c. */
void zk_op_get_many(struct zk *zk, const char *const *paths, int32_t count, zk_result_fn *fn,
                    void *arg);
/* @loop Once for each session, and when it is closed. */
void zk_op_many_init(struct zk_session *session);
void zk_op_many_close(struct zk_session *session);
/* @loop Instead of delivering an op that was refused. */
void zk_op_many_each(struct zk_op_call *op);
/* @loop A result is about to be delivered. */
void zk_op_note_zxid(struct zk_session *session, const struct zk_result *result);

/* zk_watches.c, @loop: a result, or a watch event, is about to be delivered; the connection is
 * lost; it is back, and everybody has been told so. */
void zk_watches_note(struct zk_session *session, const struct zk_op_call *op);
void zk_watches_fired(struct zk_session *session, enum zk_watch_event event, const char *path);
void zk_watches_disconnected(struct zk_session *session);
void zk_watches_connected(struct zk_session *session);
void zk_watches_free(struct zk_session *session);

/* What a new op has in common; and the handle to submit it to, NULL when operations cannot be sent
 * now: then the op has its result. zk_op_done(): it has one, from any thread. */
struct zk_op_call *zk_op_new(struct zk *zk, zk_result_fn *fn, void *arg);
zhandle_t *zk_op_handle(struct zk_op_call *op);
void zk_op_done(struct zk_op_call *op, int rc);

/* @any A reference less; the last one frees the session (C3). */
void zk_session_unref(struct zk_session *session);

/* Out of its session's list and away: delivered, or never to be. */
void zk_op_free(struct zk_op_call *op);

#endif
