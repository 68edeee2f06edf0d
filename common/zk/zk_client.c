/* zk_client.c: sessions over libzookeeper-mt: events and results on their way to the loop, and the
 * keeper, which opens and closes. Read zk_session.h first. */
#include <errno.h>
#include <stdio.h>
#include <time.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/must.h"
#include "zk/zk_connect.h"
#include "zk/zk_session.h"

#define LOGGER "kafka.zookeeper.ZooKeeperClient"

enum {
    /* After names did not resolve; and from one look at them to the next while the connection is
     * lost. */
    KEEPER_RETRY_MS = 1000,
    /* The first session: a ZooKeeper that is just beginning to listen now and then accepts a
     * connection and never answers on it, and the library would wait for two thirds of the
     * session's timeout. So long is waited before another connection is tried; twice as long each
     * time. */
    FIRST_ANSWER_MS = 2000,
    CHROOT_TIMEOUT_MS = 3000, /* of the session that only makes the chroot */
    CLOSE_WAIT_MS = 500,      /* close() waits so long for the server to take the ephemerals down */
};

/* Every session of the process, for zk_client_end_all(). */
static struct {
    pthread_mutex_t lock; /* a leaf, but for a session's lock */
    struct list sessions;
} all = {PTHREAD_MUTEX_INITIALIZER, {&all.sessions, &all.sessions}};

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

/* ---- From the library's threads to the loop. */

void zk_session_post(struct zk_session *session, struct zk_delivery *delivery)
{
    list_push_back(&session->inbox, &delivery->link);
    if (!session->wake_posted) {
        session->wake_posted = true;
        session->refs++;
        loop_post(session->loop, &session->wake);
    }
}

static void on_session_event(struct zk_session *session, zhandle_t *handle, int state)
{
    enum zk_session_event event = ZK_SESSION_DISCONNECTED;
    if (state == ZOO_CONNECTED_STATE) {
        event = ZK_SESSION_CONNECTED;
        session->answered = true;
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
    pthread_cond_broadcast(&session->changed);
    struct zk_delivery *delivery = mem_new(struct zk_delivery);
    delivery->kind = DELIVER_SESSION;
    delivery->session = event;
    zk_session_post(session, delivery);
}

static void on_node_event(struct zk_session *session, int type, const char *path)
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
    struct zk_delivery *delivery = mem_new(struct zk_delivery);
    delivery->kind = DELIVER_WATCH;
    delivery->watch = event;
    delivery->path = mem_strdup(path);
    zk_session_post(session, delivery);
}

static void on_watch(zhandle_t *handle, int type, int state, const char *path, void *context)
{
    struct zk_session *session = context;
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

/* ---- On the loop: delivery. */

static void session_free(struct zk_session *session)
{
    struct list *link;
    pthread_mutex_lock(&all.lock);
    list_remove(&session->link);
    pthread_mutex_unlock(&all.lock);
    while ((link = list_pop_front(&session->inbox)) != NULL) {
        struct zk_delivery *delivery = container_of(link, struct zk_delivery, link);
        if (delivery->kind != DELIVER_RESULT) { /* results are freed with their ops */
            mem_free(delivery->path);
            mem_free(delivery);
        }
    }
    zk_many_free(session->many);
    zk_watches_free(session);
    while (!list_empty(&session->ops)) {
        zk_op_free(container_of(session->ops.next, struct zk_op_call, link));
    }
    pthread_mutex_destroy(&session->lock);
    pthread_cond_destroy(&session->changed);
    mem_free(session->connect);
    mem_free(session->chroot);
    mem_free(session->servers);
    mem_free(session);
}

void zk_session_unref(struct zk_session *session)
{
    pthread_mutex_lock(&session->lock);
    must(session->refs > 0);
    bool last = --session->refs == 0;
    pthread_mutex_unlock(&session->lock);
    if (last) {
        session_free(session); /* C3 */
    }
}

static void deliver_session(struct zk_session *session, enum zk_session_event event)
{
    session->usable = event == ZK_SESSION_CONNECTED;
    if (event == ZK_SESSION_DISCONNECTED) {
        zk_watches_disconnected(session);
    }
    session->events.on_session(session->arg, event);
    if (event == ZK_SESSION_CONNECTED) {
        zk_watches_connected(session);
    }
}

static void deliver(struct zk_session *session, struct zk_delivery *delivery)
{
    if (delivery->kind == DELIVER_RESULT) {
        struct zk_op_call *op = container_of(delivery, struct zk_op_call, delivery);
        list_remove(&op->link);
        if (op->refused) {
            zk_op_many_each(op);
        } else {
            zk_op_note_zxid(session, &op->result);
            zk_watches_note(session, op);
            op->fn(op->arg, &op->result);
        }
        zk_op_free(op);
        return;
    }
    if (delivery->kind == DELIVER_WATCH) {
        zk_watches_fired(session, delivery->watch, delivery->path);
        session->events.on_watch(session->arg, delivery->watch, str_of(delivery->path));
    } else {
        deliver_session(session, delivery->session);
    }
    mem_free(delivery->path);
    mem_free(delivery);
}

static void on_wake(struct loop_msg *msg)
{
    struct zk_session *session = container_of(msg, struct zk_session, wake);
    struct list batch;
    list_init(&batch);
    pthread_mutex_lock(&session->lock);
    session->wake_posted = false;
    list_splice_back(&batch, &session->inbox);
    while (!session->closed && !list_empty(&batch)) {
        struct zk_delivery *delivery =
            container_of(list_pop_front(&batch), struct zk_delivery, link);
        pthread_mutex_unlock(&session->lock);
        deliver(session, delivery);
        pthread_mutex_lock(&session->lock);
    }
    list_splice_back(&session->inbox, &batch); /* closed by a callback: session_free() has them */
    pthread_mutex_unlock(&session->lock);
    zk_session_unref(session);
}

static int64_t client_session_id(struct zk *zk)
{
    struct zk_session *session = (struct zk_session *)zk;
    pthread_mutex_lock(&session->lock);
    int64_t id = session->session_id;
    pthread_mutex_unlock(&session->lock);
    return id;
}

static int32_t client_session_timeout_ms(struct zk *zk)
{
    struct zk_session *session = (struct zk_session *)zk;
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
static void wait_for(struct zk_session *session, const bool *flag, const bool *other, int64_t ms)
{
    struct timespec until = from_now(ms);
    int rc = 0;
    while (!*flag && !*other && rc == 0) { /* a wake-up may mean nothing */
        rc = pthread_cond_timedwait(&session->changed, &session->lock, &until);
    }
}

static void client_close(struct zk *zk)
{
    struct zk_session *session = (struct zk_session *)zk;
    pthread_mutex_lock(&session->lock);
    must(!session->closed);
    session->closed = true;
    session->refs++;
    pthread_cond_broadcast(&session->changed);
    pthread_mutex_unlock(&session->lock);
    zk_op_many_close(session);
    list_for_each (link, &session->ops) {
        struct zk_op_call *op = container_of(link, struct zk_op_call, link);
        op->fn(op->arg, &(struct zk_result){.err = ERR_CLOSED});
    }
    pthread_mutex_lock(&session->lock);
    /* Connected, it takes a few milliseconds, and then the ephemerals are known to be gone. */
    if (session->usable) {
        wait_for(session, &session->keeper_done, &session->keeper_done, CLOSE_WAIT_MS);
    }
    pthread_mutex_unlock(&session->lock);
    zk_session_unref(session);
}

static const struct zk_ops client_ops = {
    .get = zk_op_get,
    .get_many = zk_op_get_many,
    .exists = zk_op_exists,
    .children = zk_op_children,
    .create = zk_op_create,
    .set = zk_op_set,
    .remove = zk_op_remove,
    .multi = zk_op_multi,
    .session_id = client_session_id,
    .session_timeout_ms = client_session_timeout_ms,
    .close = client_close,
};

/* `chroot`: "" for none. */
static zhandle_t *make_handle(struct zk_session *session, const char *chroot, int32_t timeout_ms,
                              watcher_fn watcher)
{
    static struct log_limit limit;
    char *servers = zk_connect_resolve(session->connect);
    if (servers == NULL) {
        return NULL;
    }
    char *connect = mem_printf("%s%s", servers, chroot);
    zhandle_t *handle = zookeeper_init2(connect, watcher, timeout_ms, NULL, session,
                                        ZOO_NO_LOG_CLIENTENV, on_library_log);
    int error = errno;
    mem_free(connect);
    if (handle == NULL) {
        log_limited(&limit, LOG_WARN, LOGGER, "ZooKeeper cannot be connected to",
                    "zookeeper.connect=%s%s reason=\"%s\"", session->connect, session->chroot,
                    strerror(error));
        mem_free(servers);
        return NULL;
    }
    mem_free(session->servers);
    session->servers = servers;
    /* What it looks up are numbers: while it is connected it need not. */
    must(zoo_set_servers_resolution_delay(handle, -1) == ZOK);
    return handle;
}

/* Sleeps `ms`, less when the session is closed. Returns false when it is. */
static bool pause_unless_closed(struct zk_session *session, int64_t ms)
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

/* Every level of the chroot, as far as the connection lasts. */
static int make_levels(zhandle_t *handle, const char *chroot)
{
    char *partial = mem_strdup(chroot);
    int rc = ZOK;
    for (size_t i = 1; rc == ZOK && i <= strlen(chroot); i++) {
        if (chroot[i] == '/' || chroot[i] == '\0') {
            partial[i] = '\0';
            rc = zoo_create(handle, partial, NULL, -1, &ZOO_OPEN_ACL_UNSAFE, 0, NULL, 0);
            rc = rc == ZNODEEXISTS ? ZOK : rc;
            partial[i] = chroot[i];
        }
    }
    mem_free(partial);
    return rc;
}

/* Whether it is there, made if need be. Where somebody has made it for a broker that may make
 * nothing above it, ZooKeeper says of each level that it is not allowed, not that it exists. */
static bool has_chroot(zhandle_t *handle, const char *chroot)
{
    static struct log_limit limit;
    struct Stat stat;
    int rc = zoo_exists(handle, chroot, 0, &stat);
    rc = rc == ZNONODE ? make_levels(handle, chroot) : rc;
    if (rc == ZNOAUTH || rc == ZBADARGUMENTS) {
        log_limited(&limit, LOG_WARN, LOGGER, "the chroot of zookeeper.connect cannot be made",
                    "path=%s reason=\"%s\"", chroot, zerror(rc));
    }
    return rc == ZOK;
}

/* The library expects the chroot to exist; make it through a session that has none. */
static void make_chroot(struct zk_session *session)
{
    int64_t pause_ms = 0;
    int32_t timeout_ms = session->asked_timeout_ms < CHROOT_TIMEOUT_MS ? session->asked_timeout_ms
                                                                       : CHROOT_TIMEOUT_MS;
    while (pause_unless_closed(session, pause_ms)) {
        zhandle_t *handle = make_handle(session, "", timeout_ms, ignore_event);
        bool made = handle != NULL && has_chroot(handle, session->chroot);
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
static bool wait_answered(struct zk_session *session, int64_t ms)
{
    pthread_mutex_lock(&session->lock);
    wait_for(session, &session->answered, &session->closed, ms);
    bool over = !session->answered && !session->closed;
    pthread_mutex_unlock(&session->lock);
    return !over;
}

/* Close a handle that nobody has answered; nothing was ever asked through it, for calls wait until
 * the session is connected. False when the answer came just now. */
static bool give_up(struct zk_session *session, zhandle_t *handle)
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
static zhandle_t *connect_first(struct zk_session *session)
{
    int64_t pause_ms = 0;
    int64_t patience_ms = FIRST_ANSWER_MS;
    zhandle_t *handle = NULL;
    while (handle == NULL && pause_unless_closed(session, pause_ms)) {
        pause_ms = KEEPER_RETRY_MS;
        handle = make_handle(session, session->chroot, session->asked_timeout_ms, on_watch);
        if (handle != NULL && !wait_answered(session, patience_ms)) {
            handle = give_up(session, handle) ? NULL : handle;
            patience_ms *= 2;
            pause_ms = 0;
        }
    }
    return handle;
}

/* @locks session. */
static bool is_away(const struct zk_session *session)
{
    return session->last_event == ZK_SESSION_DISCONNECTED && !session->closed && !session->ended;
}

/* Waits until the connection has been lost for a while: the library comes back by itself, if it
 * can. False: until the session is closed, or ended. */
static bool wait_away(struct zk_session *session)
{
    bool away = false;
    pthread_mutex_lock(&session->lock);
    while (!away && !session->closed && !session->ended) {
        if (is_away(session)) {
            wait_for(session, &session->closed, &session->ended, KEEPER_RETRY_MS);
            away = is_away(session);
        } else {
            pthread_cond_wait(&session->changed, &session->lock);
        }
    }
    pthread_mutex_unlock(&session->lock);
    return away;
}

static void ignore_stat(int rc, const struct Stat *stat, const void *data)
{
    (void)rc, (void)stat, (void)data;
}

/* The servers' names may mean other addresses by now. While it is connected the library would end
 * the connection for new ones. */
static void look_names_up(struct zk_session *session, zhandle_t *handle)
{
    char *servers = zk_connect_resolve(session->connect);
    pthread_mutex_lock(&session->lock);
    bool away = is_away(session);
    pthread_mutex_unlock(&session->lock);
    bool same = servers == NULL || strcmp(servers, session->servers) == 0;
    if (!away || same || zoo_set_servers(handle, servers) != ZOK) {
        mem_free(servers);
        return;
    }
    mem_free(session->servers);
    session->servers = servers;
    /* Its thread may be waiting for one of the old ones, for a third of the session's time: any
     * request wakes it. */
    int rc = zoo_aexists(handle, "/", 0, ignore_stat, NULL);
    (void)rc; /* in a session that is over there is nobody to wake */
}

static void *keeper_main(void *arg)
{
    struct zk_session *session = arg;
    if (session->chroot[0] != '\0') {
        make_chroot(session);
    }
    zhandle_t *handle = connect_first(session);
    while (wait_away(session)) {
        look_names_up(session, handle);
    }
    if (handle != NULL) {
        zookeeper_close(handle); /* C2 */
    }
    pthread_mutex_lock(&session->lock);
    session->keeper_done = true;
    bool used = !session->closed; /* ended: whoever opened it does not know */
    pthread_cond_broadcast(&session->changed);
    pthread_mutex_unlock(&session->lock);
    if (!used) {
        zk_session_unref(session);
    }
    return NULL;
}

static void start_keeper(struct zk_session *session)
{
    pthread_attr_t attr;
    pthread_t thread;
    must(pthread_attr_init(&attr) == 0);
    must(pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED) == 0);
    must(pthread_create(&thread, &attr, keeper_main, session) == 0);
    pthread_attr_destroy(&attr);
}

static void init_lock(struct zk_session *session)
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
    struct zk_session *session = mem_new(struct zk_session);
    session->zk.ops = &client_ops;
    session->loop = loop;
    session->events = *events;
    session->arg = arg;
    zk_connect_parse(connect, &session->connect, &session->chroot);
    session->asked_timeout_ms = session_timeout_ms;
    session->wake.fn = on_wake;
    session->last_event = ZK_SESSION_DISCONNECTED;
    session->refs = 1; /* the keeper's */
    list_init(&session->ops);
    list_init(&session->inbox);
    zk_op_many_init(session);
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
        struct zk_session *session = container_of(link, struct zk_session, link);
        pthread_mutex_lock(&session->lock);
        session->ended = true;
        pthread_cond_broadcast(&session->changed);
        pthread_mutex_unlock(&session->lock);
    }
    list_for_each (link, &all.sessions) {
        struct zk_session *session = container_of(link, struct zk_session, link);
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
