/* zk_client.c: sessions over libzookeeper-mt.
 *
 * Three threads meet here. libzookeeper's own two call back; their callbacks copy what they were
 * given, queue it at the session and wake the loop, nothing else. The loop delivers and submits.
 * And each session has a keeper, which does what may block: resolving names inside zookeeper_init,
 * making the chroot, and zookeeper_close, which must not run in a callback and waits for the
 * library's threads.
 *
 * C1 A struct op belongs to the library from submission until its callback has run, and to the loop
 * from then on. An op that has not called back when zookeeper_close() returns never will: the
 * keeper frees it. C2 The loop calls zoo_*() only while !closed, and the keeper closes the handle
 * only when closed: the two never overlap. C3 The session, and what is left of its ops, is freed by
 * the last of the keeper, a wake and a close() that are under way. */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <zookeeper/zookeeper.h>

#include "base/arena.h"
#include "base/list.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/must.h"
#include "zk/zk.h"

enum {
    KEEPER_RETRY_MS = 1000, /* after names did not resolve */
    /* The first session: a ZooKeeper that is just beginning to listen now and then accepts a
     * connection and never answers on it, and the library would wait for two thirds of the
     * session's timeout. So long is waited before another connection is tried; twice as long each
     * time. */
    FIRST_ANSWER_MS = 2000,
    CHROOT_TIMEOUT_MS = 3000, /* of the session that only makes the chroot */
    CLOSE_WAIT_MS = 500,      /* close() waits so long for the server to take the ephemerals down */
};

struct session {
    struct zk zk;     /* first */
    struct list link; /* in `all` */
    struct loop *loop;
    struct zk_events events;
    void *arg;
    char *connect; /* without chroot */
    char *chroot;  /* "" or "/x/y" */
    int32_t asked_timeout_ms;
    struct loop_msg wake;
    struct list ops; /* submitted, not delivered; the loop's, and the keeper's once closed */
    bool usable;     /* CONNECTED was delivered, nothing else since; the loop's */

    pthread_mutex_t
        lock; /* guards what follows; a leaf, except that loop_post() is called inside */
    pthread_cond_t changed;
    zhandle_t *handle;   /* NULL until the keeper has made it */
    zhandle_t *given_up; /* closed before it was ever connected: its events do not count */
    bool answered;       /* has been connected */
    struct list inbox;   /* of struct delivery */
    enum zk_session_event last_event; /* repeated ones are dropped; starts as DISCONNECTED */
    int64_t session_id;
    int32_t timeout_ms;
    bool wake_posted;
    bool closed;
    bool ended; /* by zk_client_end_all(): the process is about to end */
    bool keeper_done;
    int refs; /* the keeper, a wake under way, a close() under way */
};

/* Every session of the process, for zk_client_end_all(). */
static struct {
    pthread_mutex_t lock; /* a leaf, but for a session's lock */
    struct list sessions;
} all = {PTHREAD_MUTEX_INITIALIZER, {&all.sessions, &all.sessions}};

enum delivery_kind { DELIVER_RESULT, DELIVER_WATCH, DELIVER_SESSION };

/* Something for the loop. A result is embedded in its op. */
struct delivery {
    struct list link;
    enum delivery_kind kind;
    enum zk_watch_event watch;
    enum zk_session_event session;
    char *path;
};

struct op {
    struct list link; /* session->ops */
    struct delivery delivery;
    struct session *session;
    struct arena arena;
    zk_result_fn *fn;
    void *arg;
    struct zk_result result;
    int32_t count; /* multi: */
    zoo_op_t *zoo_ops;
    zoo_op_result_t *zoo_results;
    const char **paths; /* as asked for */
};

/* ---- What the library writes to its log. */

/* It repeats a refused connection many times a second: once a minute is enough. */
static void on_library_log(const char *line)
{
    static struct log_limit errors;
    static struct log_limit warnings;
    const char *mark = strstr(line, ":ZOO_");
    const char *text = mark != NULL ? strchr(mark, '@') : NULL;
    text = text != NULL ? strstr(text, ": ") : NULL;
    text = text != NULL ? text + 2 : line;
    if (mark != NULL && strncmp(mark, ":ZOO_ERROR", 10) == 0) {
        log_limited(&errors, LOG_WARN, "org.apache.zookeeper", "ZooKeeper connection", "\"%s\"",
                    text);
    } else if (mark != NULL && strncmp(mark, ":ZOO_WARN", 9) == 0) {
        log_limited(&warnings, LOG_WARN, "org.apache.zookeeper", "ZooKeeper client", "\"%s\"",
                    text);
    } else {
        log_debug("org.apache.zookeeper", "ZooKeeper client", "\"%s\"", text);
    }
}

static enum err err_of(int rc)
{
    switch (rc) {
    case ZOK:
        return ERR_OK;
    case ZNONODE:
        return ERR_NOT_FOUND;
    case ZNODEEXISTS:
        return ERR_EXISTS;
    case ZBADVERSION:
        return ERR_ZK_BAD_VERSION;
    case ZNOTEMPTY:
        return ERR_ZK_NOT_EMPTY;
    case ZCONNECTIONLOSS:
    case ZOPERATIONTIMEOUT:
    case ZSESSIONMOVED:
    case ZTHROTTLEDOP:
        return ERR_ZK_CONNECTION_LOSS;
    case ZSESSIONEXPIRED:
    case ZINVALIDSTATE: /* the handle is past use */
        return ERR_ZK_SESSION_EXPIRED;
    case ZCLOSING:
        return ERR_CLOSED;
    default:
        return ERR_ZK_OTHER;
    }
}

/* ---- From the library's threads to the loop. */

/* @locks session */
static void post(struct session *session, struct delivery *delivery)
{
    list_push_back(&session->inbox, &delivery->link);
    if (!session->wake_posted) {
        session->wake_posted = true;
        session->refs++;
        loop_post(session->loop, &session->wake);
    }
}

static void on_session_event(struct session *session, zhandle_t *handle, int state)
{
    enum zk_session_event event = ZK_SESSION_DISCONNECTED;
    if (state == ZOO_CONNECTED_STATE) {
        event = ZK_SESSION_CONNECTED;
        session->answered = true;
        pthread_cond_broadcast(&session->changed);
        session->session_id = zoo_client_id(handle)->client_id;
        session->timeout_ms = zoo_recv_timeout(handle);
    } else if (state == ZOO_EXPIRED_SESSION_STATE) {
        event = ZK_SESSION_EXPIRED;
    } else if (state == ZOO_AUTH_FAILED_STATE) {
        event = ZK_SESSION_AUTH_FAILED;
    }
    if (event == session->last_event) {
        return;
    }
    session->last_event = event;
    struct delivery *delivery = mem_new(struct delivery);
    delivery->kind = DELIVER_SESSION;
    delivery->session = event;
    post(session, delivery);
}

static void on_node_event(struct session *session, int type, const char *path)
{
    enum zk_watch_event event;
    if (type == ZOO_CREATED_EVENT) {
        event = ZK_NODE_CREATED;
    } else if (type == ZOO_DELETED_EVENT) {
        event = ZK_NODE_DELETED;
    } else if (type == ZOO_CHANGED_EVENT) {
        event = ZK_NODE_CHANGED;
    } else if (type == ZOO_CHILD_EVENT) {
        event = ZK_CHILDREN_CHANGED;
    } else {
        return;
    }
    struct delivery *delivery = mem_new(struct delivery);
    delivery->kind = DELIVER_WATCH;
    delivery->watch = event;
    delivery->path = mem_strdup(path);
    post(session, delivery);
}

static void on_watch(zhandle_t *handle, int type, int state, const char *path, void *context)
{
    struct session *session = context;
    pthread_mutex_lock(&session->lock);
    if (!session->closed && handle != session->given_up) {
        session->handle = handle; /* may be earlier than zookeeper_init's return */
        if (type == ZOO_SESSION_EVENT) {
            on_session_event(session, handle, state);
        } else {
            on_node_event(session, type, path);
        }
    }
    pthread_mutex_unlock(&session->lock);
}

/* The result is complete: hand the op to the loop. */
static void op_done(struct op *op, int rc)
{
    struct session *session = op->session;
    op->result.err = err_of(rc);
    pthread_mutex_lock(&session->lock);
    if (!session->closed) {
        post(session, &op->delivery);
    }
    pthread_mutex_unlock(&session->lock);
}

static struct zk_stat stat_of(const struct Stat *stat)
{
    if (stat == NULL) {
        return (struct zk_stat){0};
    }
    return (struct zk_stat){
        .czxid = stat->czxid,
        .mzxid = stat->mzxid,
        .ctime_ms = stat->ctime,
        .mtime_ms = stat->mtime,
        .ephemeral_owner = stat->ephemeralOwner,
        .version = stat->version,
        .children_count = stat->numChildren,
    };
}

static void on_data(int rc, const char *value, int value_len, const struct Stat *stat,
                    const void *data)
{
    struct op *op = (struct op *)data;
    if (rc == ZOK) {
        op->result.stat = stat_of(stat);
        if (value != NULL && value_len >= 0) {
            struct str copy = arena_str(&op->arena, (struct str){value, (size_t)value_len});
            op->result.data = (struct bytes){(const uint8_t *)copy.ptr, copy.size};
        }
    }
    op_done(op, rc);
}

static void on_stat(int rc, const struct Stat *stat, const void *data)
{
    struct op *op = (struct op *)data;
    if (rc == ZOK) {
        op->result.stat = stat_of(stat);
    }
    op_done(op, rc);
}

static int compare_names(const void *a, const void *b)
{
    return str_cmp(*(const struct str *)a, *(const struct str *)b);
}

static void on_children(int rc, const struct String_vector *strings, const struct Stat *stat,
                        const void *data)
{
    struct op *op = (struct op *)data;
    if (rc == ZOK) {
        int32_t count = strings != NULL ? strings->count : 0;
        struct str *names = arena_array(&op->arena, struct str, (size_t)count + 1);
        for (int32_t i = 0; i < count; i++) {
            names[i] = arena_str(&op->arena, str_of(strings->data[i]));
        }
        qsort(names, (size_t)count, sizeof(*names), compare_names);
        op->result.children = names;
        op->result.children_count = count;
        op->result.stat = stat_of(stat);
    }
    op_done(op, rc);
}

static void on_created(int rc, const char *value, const void *data)
{
    struct op *op = (struct op *)data;
    if (rc == ZOK) {
        op->result.path = arena_str(&op->arena, str_of(value));
    }
    op_done(op, rc);
}

static void on_removed(int rc, const void *data)
{
    op_done((struct op *)data, rc);
}

/* In a multi the library may leave the chroot in front of the path that was made. */
static struct str made_path(const struct op *op, int32_t index)
{
    const char *made = op->zoo_results[index].value;
    const char *chroot = op->session->chroot;
    size_t asked_size = strlen(op->paths[index]);
    if (made != NULL && strncmp(made, op->paths[index], asked_size) != 0 &&
        strncmp(made, chroot, strlen(chroot)) == 0) {
        made += strlen(chroot);
    }
    return str_of(made);
}

/* The error of step `i`, when step `failed` failed. */
static enum err step_err(const struct op *op, int32_t i, int32_t failed)
{
    if (i > failed) {
        return ERR_ZK_OTHER;
    }
    return i < failed ? ERR_OK : err_of(op->zoo_results[i].err);
}

static void on_multi(int rc, const void *data)
{
    struct op *op = (struct op *)data;
    /* Unless the server judged the steps, the library has not filled the results in. */
    if (rc == ZOK || rc < ZAPIERROR) {
        struct zk_op_result *results =
            arena_array(&op->arena, struct zk_op_result, (size_t)op->count);
        int32_t failed = op->count;
        for (int32_t i = op->count; i-- > 0;) {
            int step = op->zoo_results[i].err;
            failed = step != ZOK && step != ZRUNTIMEINCONSISTENCY ? i : failed;
        }
        for (int32_t i = 0; i < op->count; i++) {
            results[i].err = step_err(op, i, failed);
            if (rc == ZOK && op->zoo_ops[i].type == ZOO_SETDATA_OP) {
                results[i].stat = stat_of(op->zoo_results[i].stat);
            }
            if (rc == ZOK && op->zoo_ops[i].type == ZOO_CREATE_OP) {
                results[i].path = arena_str(&op->arena, made_path(op, i));
            }
        }
        op->result.results = results;
        op->result.results_count = op->count;
    }
    op_done(op, rc);
}

/* ---- On the loop: delivery. */

static void op_free(struct op *op)
{
    list_remove(&op->link);
    arena_fini(&op->arena);
    mem_free(op);
}

static void session_free(struct session *session)
{
    struct list *link;
    pthread_mutex_lock(&all.lock);
    list_remove(&session->link);
    pthread_mutex_unlock(&all.lock);
    while ((link = list_pop_front(&session->inbox)) != NULL) {
        struct delivery *delivery = container_of(link, struct delivery, link);
        if (delivery->kind != DELIVER_RESULT) { /* results are freed with their ops */
            mem_free(delivery->path);
            mem_free(delivery);
        }
    }
    while (!list_empty(&session->ops)) {
        op_free(container_of(session->ops.next, struct op, link));
    }
    pthread_mutex_destroy(&session->lock);
    pthread_cond_destroy(&session->changed);
    mem_free(session->connect);
    mem_free(session->chroot);
    mem_free(session);
}

static void session_unref(struct session *session)
{
    pthread_mutex_lock(&session->lock);
    must(session->refs > 0);
    bool last = --session->refs == 0;
    pthread_mutex_unlock(&session->lock);
    if (last) {
        session_free(session); /* C3 */
    }
}

static void deliver(struct session *session, struct delivery *delivery)
{
    if (delivery->kind == DELIVER_RESULT) {
        struct op *op = container_of(delivery, struct op, delivery);
        list_remove(&op->link);
        op->fn(op->arg, &op->result);
        op_free(op);
        return;
    }
    if (delivery->kind == DELIVER_WATCH) {
        session->events.on_watch(session->arg, delivery->watch, str_of(delivery->path));
    } else {
        session->usable = delivery->session == ZK_SESSION_CONNECTED;
        session->events.on_session(session->arg, delivery->session);
    }
    mem_free(delivery->path);
    mem_free(delivery);
}

static void on_wake(struct loop_msg *msg)
{
    struct session *session = container_of(msg, struct session, wake);
    struct list batch;
    list_init(&batch);
    pthread_mutex_lock(&session->lock);
    session->wake_posted = false;
    list_splice_back(&batch, &session->inbox);
    while (!session->closed && !list_empty(&batch)) {
        struct delivery *delivery = container_of(list_pop_front(&batch), struct delivery, link);
        pthread_mutex_unlock(&session->lock);
        deliver(session, delivery);
        pthread_mutex_lock(&session->lock);
    }
    list_splice_back(&session->inbox, &batch); /* closed by a callback: session_free() has them */
    pthread_mutex_unlock(&session->lock);
    session_unref(session);
}

/* ---- On the loop: submission. */

static struct op *op_new(struct zk *zk, zk_result_fn *fn, void *arg)
{
    struct session *session = (struct session *)zk;
    loop_assert_here(session->loop);
    must(!session->closed);
    struct op *op = mem_new(struct op);
    op->session = session;
    op->fn = fn;
    op->arg = arg;
    op->delivery.kind = DELIVER_RESULT;
    list_init(&op->delivery.link);
    list_push_back(&session->ops, &op->link);
    return op;
}

/* NULL when operations cannot be sent now; then the op has its result. */
static zhandle_t *op_handle(struct op *op)
{
    struct session *session = op->session;
    pthread_mutex_lock(&session->lock);
    zhandle_t *handle = session->handle;
    bool expired = session->last_event == ZK_SESSION_EXPIRED;
    pthread_mutex_unlock(&session->lock);
    if (!session->usable) {
        op_done(op, expired ? ZSESSIONEXPIRED : ZCONNECTIONLOSS);
        return NULL;
    }
    must(handle != NULL);
    return handle;
}

/* What a zoo_*() call returned: when it did not take the op, no callback will come. */
static void op_submitted(struct op *op, int rc)
{
    if (rc != ZOK) {
        op_done(op, rc);
    }
}

static void client_get(struct zk *zk, const char *path, bool watch, zk_result_fn *fn, void *arg)
{
    struct op *op = op_new(zk, fn, arg);
    zhandle_t *handle = op_handle(op);
    if (handle != NULL) {
        op_submitted(op, zoo_aget(handle, path, watch ? 1 : 0, on_data, op));
    }
}

static void client_exists(struct zk *zk, const char *path, bool watch, zk_result_fn *fn, void *arg)
{
    struct op *op = op_new(zk, fn, arg);
    zhandle_t *handle = op_handle(op);
    if (handle != NULL) {
        op_submitted(op, zoo_aexists(handle, path, watch ? 1 : 0, on_stat, op));
    }
}

static void client_children(struct zk *zk, const char *path, bool watch, zk_result_fn *fn,
                            void *arg)
{
    struct op *op = op_new(zk, fn, arg);
    zhandle_t *handle = op_handle(op);
    if (handle != NULL) {
        op_submitted(op, zoo_aget_children2(handle, path, watch ? 1 : 0, on_children, op));
    }
}

/* -1 is the library's length of null data. */
static int data_len(struct bytes data)
{
    must(data.size <= INT32_MAX);
    return data.data != NULL ? (int)data.size : -1;
}

static int zoo_flags(int flags)
{
    return ((flags & ZK_EPHEMERAL) != 0 ? ZOO_EPHEMERAL : 0) |
           ((flags & ZK_SEQUENCE) != 0 ? ZOO_SEQUENCE : 0);
}

static void client_create(struct zk *zk, const char *path, struct bytes data, int flags,
                          zk_result_fn *fn, void *arg)
{
    struct op *op = op_new(zk, fn, arg);
    zhandle_t *handle = op_handle(op);
    if (handle != NULL) {
        op_submitted(op, zoo_acreate(handle, path, (const char *)data.data, data_len(data),
                                     &ZOO_OPEN_ACL_UNSAFE, zoo_flags(flags), on_created, op));
    }
}

static void client_set(struct zk *zk, const char *path, struct bytes data, int32_t version,
                       zk_result_fn *fn, void *arg)
{
    struct op *op = op_new(zk, fn, arg);
    zhandle_t *handle = op_handle(op);
    if (handle != NULL) {
        op_submitted(op, zoo_aset(handle, path, (const char *)data.data, data_len(data), version,
                                  on_stat, op));
    }
}

static void client_remove(struct zk *zk, const char *path, int32_t version, zk_result_fn *fn,
                          void *arg)
{
    struct op *op = op_new(zk, fn, arg);
    zhandle_t *handle = op_handle(op);
    if (handle != NULL) {
        op_submitted(op, zoo_adelete(handle, path, version, on_removed, op));
    }
}

/* Everything a zoo_op points to must live until the callback: it goes to the op's arena. */
static void fill_step(struct op *op, int32_t index, const struct zk_op *step)
{
    enum { SEQUENCE_DIGITS = 16 };
    zoo_op_t *zoo = &op->zoo_ops[index];
    const char *path = arena_cstr(&op->arena, str_of(step->path));
    struct str copy =
        arena_str(&op->arena, (struct str){(const char *)step->data.data, step->data.size});
    op->paths[index] = path;
    switch (step->kind) {
    case ZK_OP_CREATE: {
        size_t room = strlen(op->session->chroot) + strlen(path) + SEQUENCE_DIGITS;
        zoo_create_op_init(zoo, path, copy.ptr, data_len(step->data), &ZOO_OPEN_ACL_UNSAFE,
                           zoo_flags(step->flags), arena_zalloc(&op->arena, room, 1), (int)room);
        break;
    }
    case ZK_OP_SET:
        zoo_set_op_init(zoo, path, copy.ptr, data_len(step->data), step->version,
                        arena_new(&op->arena, struct Stat));
        break;
    case ZK_OP_DELETE:
        zoo_delete_op_init(zoo, path, step->version);
        break;
    case ZK_OP_CHECK:
        zoo_check_op_init(zoo, path, step->version);
        break;
    }
}

static void client_multi(struct zk *zk, const struct zk_op *ops, int32_t count, zk_result_fn *fn,
                         void *arg)
{
    struct op *op = op_new(zk, fn, arg);
    zhandle_t *handle = op_handle(op);
    if (handle == NULL) {
        return;
    }
    must(count > 0);
    op->count = count;
    op->zoo_ops = arena_array(&op->arena, zoo_op_t, (size_t)count);
    op->zoo_results = arena_array(&op->arena, zoo_op_result_t, (size_t)count);
    op->paths = arena_array(&op->arena, const char *, (size_t)count);
    for (int32_t i = 0; i < count; i++) {
        fill_step(op, i, &ops[i]);
    }
    /* On a handle that is lost for good, zoo_amulti() frees pointers that nobody has set, some of
     * which were ours (3.8.0). A handle is lost only by the answer to a new connection, so
     * while this one lasts it is safe; without one nothing could be sent anyhow. */
    if (zoo_state(handle) != ZOO_CONNECTED_STATE) {
        op_done(op, ZCONNECTIONLOSS);
        return;
    }
    op_submitted(op, zoo_amulti(handle, count, op->zoo_ops, op->zoo_results, on_multi, op));
}

static int64_t client_session_id(struct zk *zk)
{
    struct session *session = (struct session *)zk;
    pthread_mutex_lock(&session->lock);
    int64_t id = session->session_id;
    pthread_mutex_unlock(&session->lock);
    return id;
}

static int32_t client_session_timeout_ms(struct zk *zk)
{
    struct session *session = (struct session *)zk;
    pthread_mutex_lock(&session->lock);
    int32_t timeout_ms = session->timeout_ms;
    pthread_mutex_unlock(&session->lock);
    return timeout_ms;
}

/* ---- Opening and closing. */

static struct timespec from_now(int64_t ms)
{
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    int64_t ns = at.tv_nsec + ms % 1000 * 1000000;
    at.tv_sec += ms / 1000 + ns / 1000000000;
    at.tv_nsec = ns % 1000000000;
    return at;
}

/* @locks session. Waits for one of two flags, `ms` at most. */
static void wait_for(struct session *session, const bool *flag, const bool *other, int64_t ms)
{
    struct timespec until = from_now(ms);
    int rc = 0;
    while (!*flag && !*other && rc == 0) { /* a wake-up may mean nothing */
        rc = pthread_cond_timedwait(&session->changed, &session->lock, &until);
    }
}

static void client_close(struct zk *zk)
{
    struct session *session = (struct session *)zk;
    pthread_mutex_lock(&session->lock);
    must(!session->closed);
    session->closed = true;
    session->refs++;
    pthread_cond_broadcast(&session->changed);
    pthread_mutex_unlock(&session->lock);
    list_for_each (link, &session->ops) {
        struct op *op = container_of(link, struct op, link);
        op->fn(op->arg, &(struct zk_result){.err = ERR_CLOSED});
    }
    pthread_mutex_lock(&session->lock);
    /* Connected, it takes a few milliseconds, and then the ephemerals are known to be gone. */
    if (session->usable) {
        wait_for(session, &session->keeper_done, &session->keeper_done, CLOSE_WAIT_MS);
    }
    pthread_mutex_unlock(&session->lock);
    session_unref(session);
}

static const struct zk_ops client_ops = {
    .get = client_get,
    .exists = client_exists,
    .children = client_children,
    .create = client_create,
    .set = client_set,
    .remove = client_remove,
    .multi = client_multi,
    .session_id = client_session_id,
    .session_timeout_ms = client_session_timeout_ms,
    .close = client_close,
};

static zhandle_t *make_handle(struct session *session, const char *connect, int32_t timeout_ms,
                              watcher_fn watcher)
{
    static struct log_limit limit;
    zhandle_t *handle = zookeeper_init2(connect, watcher, timeout_ms, NULL, session,
                                        ZOO_NO_LOG_CLIENTENV, on_library_log);
    if (handle == NULL) {
        log_limited(&limit, LOG_WARN, "kafka.zookeeper.ZooKeeperClient",
                    "ZooKeeper address does not resolve", "zookeeper.connect=%s reason=\"%s\"",
                    connect, strerror(errno));
        return NULL;
    }
    /* Resolve names after a lost connection, and never else. */
    must(zoo_set_servers_resolution_delay(handle, -1) == ZOK);
    return handle;
}

/* Sleeps `ms`, less when the session is closed. Returns false when it is. */
static bool pause_unless_closed(struct session *session, int64_t ms)
{
    pthread_mutex_lock(&session->lock);
    if (ms > 0) {
        wait_for(session, &session->closed, &session->closed, ms);
    }
    bool go_on = !session->closed;
    pthread_mutex_unlock(&session->lock);
    return go_on;
}

static void ignore_event(zhandle_t *handle, int type, int state, const char *path, void *context)
{
    (void)handle, (void)type, (void)state, (void)path, (void)context;
}

/* Every level of the chroot; false when the connection failed on the way. */
static bool make_levels(zhandle_t *handle, const char *chroot)
{
    char *partial = mem_strdup(chroot);
    bool made = true;
    for (size_t i = 1; made && i <= strlen(chroot); i++) {
        if (chroot[i] == '/' || chroot[i] == '\0') {
            partial[i] = '\0';
            int rc = zoo_create(handle, partial, NULL, -1, &ZOO_OPEN_ACL_UNSAFE, 0, NULL, 0);
            made = rc == ZOK || rc == ZNODEEXISTS;
            partial[i] = chroot[i];
        }
    }
    mem_free(partial);
    return made;
}

/* The library expects the chroot to exist; make it through a session that has none. */
static void make_chroot(struct session *session)
{
    int64_t pause_ms = 0;
    int32_t timeout_ms = session->asked_timeout_ms < CHROOT_TIMEOUT_MS ? session->asked_timeout_ms
                                                                       : CHROOT_TIMEOUT_MS;
    while (pause_unless_closed(session, pause_ms)) {
        zhandle_t *handle = make_handle(session, session->connect, timeout_ms, ignore_event);
        bool made = handle != NULL && make_levels(handle, session->chroot);
        if (handle != NULL) {
            zookeeper_close(handle);
        }
        if (made) {
            return;
        }
        pause_ms = KEEPER_RETRY_MS;
    }
}

/* False when the time is over and nobody has answered. */
static bool wait_answered(struct session *session, int64_t ms)
{
    pthread_mutex_lock(&session->lock);
    wait_for(session, &session->answered, &session->closed, ms);
    bool over = !session->answered && !session->closed;
    pthread_mutex_unlock(&session->lock);
    return !over;
}

/* Close a handle that nobody has answered; nothing was ever asked through it, for calls wait until
 * the session is connected. False when the answer came just now. */
static bool give_up(struct session *session, zhandle_t *handle)
{
    pthread_mutex_lock(&session->lock);
    bool late = session->answered;
    if (!late) {
        session->given_up = handle;
        session->handle = NULL;
    }
    pthread_mutex_unlock(&session->lock);
    if (!late) {
        zookeeper_close(handle);
        /* It says nothing any more, and the next handle may get its address. */
        pthread_mutex_lock(&session->lock);
        session->given_up = NULL;
        pthread_mutex_unlock(&session->lock);
    }
    return !late;
}

/* The session's handle, connected; or whatever there is when the session is closed first, maybe
 * NULL. */
static zhandle_t *connect_first(struct session *session, const char *connect)
{
    int64_t pause_ms = 0;
    int64_t patience_ms = FIRST_ANSWER_MS;
    zhandle_t *handle = NULL;
    while (handle == NULL && pause_unless_closed(session, pause_ms)) {
        pause_ms = KEEPER_RETRY_MS;
        handle = make_handle(session, connect, session->asked_timeout_ms, on_watch);
        if (handle != NULL && !wait_answered(session, patience_ms)) {
            handle = give_up(session, handle) ? NULL : handle;
            patience_ms *= 2;
            pause_ms = 0;
        }
    }
    return handle;
}

static void *keeper_main(void *arg)
{
    struct session *session = arg;
    char *connect = mem_printf("%s%s", session->connect, session->chroot);
    if (session->chroot[0] != '\0') {
        make_chroot(session);
    }
    zhandle_t *handle = connect_first(session, connect);
    pthread_mutex_lock(&session->lock);
    while (!session->closed && !session->ended) {
        pthread_cond_wait(&session->changed, &session->lock);
    }
    pthread_mutex_unlock(&session->lock);
    if (handle != NULL) {
        zookeeper_close(handle); /* C2 */
    }
    mem_free(connect);
    pthread_mutex_lock(&session->lock);
    session->keeper_done = true;
    bool used = !session->closed; /* ended: whoever opened it does not know */
    pthread_cond_broadcast(&session->changed);
    pthread_mutex_unlock(&session->lock);
    if (!used) {
        session_unref(session);
    }
    return NULL;
}

static void start_keeper(struct session *session)
{
    pthread_attr_t attr;
    pthread_t thread;
    must(pthread_attr_init(&attr) == 0);
    must(pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED) == 0);
    must(pthread_create(&thread, &attr, keeper_main, session) == 0);
    pthread_attr_destroy(&attr);
}

static void init_lock(struct session *session)
{
    pthread_condattr_t attr;
    must(pthread_mutex_init(&session->lock, NULL) == 0);
    must(pthread_condattr_init(&attr) == 0);
    must(pthread_condattr_setclock(&attr, CLOCK_MONOTONIC) == 0);
    must(pthread_cond_init(&session->changed, &attr) == 0);
    pthread_condattr_destroy(&attr);
}

static struct zk *client_open(struct zk_factory *factory, struct loop *loop, const char *connect,
                              int32_t session_timeout_ms, const struct zk_events *events, void *arg)
{
    (void)factory;
    struct session *session = mem_new(struct session);
    const char *chroot = strchr(connect, '/');
    session->zk.ops = &client_ops;
    session->loop = loop;
    session->events = *events;
    session->arg = arg;
    session->connect =
        chroot != NULL ? mem_strndup(connect, (size_t)(chroot - connect)) : mem_strdup(connect);
    session->chroot = mem_strdup(chroot != NULL && chroot[1] != '\0' ? chroot : "");
    session->asked_timeout_ms = session_timeout_ms;
    session->wake.fn = on_wake;
    session->last_event = ZK_SESSION_DISCONNECTED;
    session->refs = 1; /* the keeper's */
    list_init(&session->ops);
    list_init(&session->inbox);
    init_lock(session);
    pthread_mutex_lock(&all.lock);
    list_push_back(&all.sessions, &session->link);
    pthread_mutex_unlock(&all.lock);
    start_keeper(session);
    return &session->zk;
}

/* The keepers close their handles, which the loops may have no part in: theirs do nothing any more,
 * or their next call finds the handle gone, in a process that ends. */
void zk_client_end_all(int64_t wait_ms)
{
    pthread_mutex_lock(&all.lock);
    list_for_each (link, &all.sessions) {
        struct session *session = container_of(link, struct session, link);
        pthread_mutex_lock(&session->lock);
        session->ended = true;
        pthread_cond_broadcast(&session->changed);
        pthread_mutex_unlock(&session->lock);
    }
    list_for_each (link, &all.sessions) {
        struct session *session = container_of(link, struct session, link);
        pthread_mutex_lock(&session->lock);
        if (session->answered) {
            wait_for(session, &session->keeper_done, &session->keeper_done, wait_ms);
        }
        pthread_mutex_unlock(&session->lock);
    }
    pthread_mutex_unlock(&all.lock);
}

struct zk_factory *zk_client_factory(void)
{
    static struct zk_factory factory = {client_open};
    zoo_set_debug_level(ZOO_LOG_LEVEL_WARN);
    return &factory;
}
