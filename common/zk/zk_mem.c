#include "zk/zk_mem.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/list.h"
#include "base/mem.h"
#include "base/must.h"
#include "base/rng.h"
#include "zk/zk_tree.h"

struct zk_mem {
    struct zk_factory factory;
    pthread_mutex_t lock; /* guards everything below and in the sessions, but not callbacks */
    struct clock *clock;
    struct rng rng;
    struct zk_tree *tree;
    struct list sessions; /* all that were opened and not yet freed */
    int64_t next_session_id;
    uint64_t lose_one_in;
    char *forbidden; /* absolute */
};

enum watch_kind { WATCH_DATA, WATCH_CHILDREN };

struct watch {
    struct list link;
    enum watch_kind kind;
    char *path; /* absolute */
};

enum delivery_kind { DELIVER_RESULT, DELIVER_WATCH, DELIVER_SESSION };

/* Something for a session's loop. All it points to is in its arena. */
struct delivery {
    struct list link;
    struct arena arena;
    enum delivery_kind kind;
    struct zk_result result;
    zk_result_fn *fn;
    void *arg;
    enum zk_watch_event watch;
    struct str path;
    enum zk_session_event session;
};

struct session {
    struct zk zk; /* first */
    struct list link;
    struct zk_mem *mem;
    struct loop *loop;
    struct zk_events events;
    void *arg;
    char *chroot; /* "" or "/x/y" */
    int64_t id;
    int32_t timeout_ms;
    bool alive;     /* the ensemble has not ended it */
    bool connected; /* as the client knows it */
    bool closed;    /* by the client: freed when its wake has run */
    int64_t disconnected_ms;
    struct list watches;
    struct list inbox;   /* of deliveries, in order */
    struct list held;    /* watch events that wait for a reconnection */
    struct list unheard; /* results of operations that were sent while `silent` */
    struct loop_msg wake;
    bool wake_posted;
    bool delivering;
    bool silent; /* what it sends does not arrive */
    bool lose_armed;
    enum zk_mem_loss lose;
    int32_t lose_after;
};

/* ---- Delivery. */

static void delivery_free(struct delivery *delivery)
{
    arena_fini(&delivery->arena);
    mem_free(delivery);
}

static void deliveries_free(struct list *list)
{
    struct list *link;
    while ((link = list_pop_front(list)) != NULL) {
        delivery_free(container_of(link, struct delivery, link));
    }
}

static void session_wake(struct session *session)
{
    if (!session->wake_posted && !session->closed) {
        session->wake_posted = true;
        loop_post(session->loop, &session->wake);
    }
}

static struct delivery *delivery_new(enum delivery_kind kind)
{
    struct delivery *delivery = mem_new(struct delivery);
    delivery->kind = kind;
    return delivery;
}

static void deliver(struct session *session, struct delivery *delivery)
{
    list_push_back(&session->inbox, &delivery->link);
    session_wake(session);
}

static void deliver_session(struct session *session, enum zk_session_event event)
{
    struct delivery *delivery = delivery_new(DELIVER_SESSION);
    delivery->session = event;
    deliver(session, delivery);
}

static void session_free(struct session *session)
{
    list_remove(&session->link);
    deliveries_free(&session->inbox);
    deliveries_free(&session->held);
    deliveries_free(&session->unheard);
    mem_free(session->chroot);
    mem_free(session);
}

static void deliver_call(struct session *session, const struct delivery *delivery)
{
    switch (delivery->kind) {
    case DELIVER_RESULT:
        delivery->fn(delivery->arg, &delivery->result);
        break;
    case DELIVER_WATCH:
        session->events.on_watch(session->arg, delivery->watch, delivery->path);
        break;
    case DELIVER_SESSION:
        session->events.on_session(session->arg, delivery->session);
        break;
    }
}

static int32_t list_length(const struct list *list)
{
    int32_t length = 0;
    list_for_each (link, list) {
        length++;
    }
    return length;
}

/* Deliver what is there now; what the callbacks cause comes in a later turn. */
static void session_on_wake(struct loop_msg *msg)
{
    struct session *session = container_of(msg, struct session, wake);
    struct zk_mem *mem = session->mem;
    pthread_mutex_lock(&mem->lock);
    session->wake_posted = false;
    session->delivering = true;
    for (int32_t n = list_length(&session->inbox); n > 0 && !session->closed; n--) {
        struct list *link = list_pop_front(&session->inbox);
        if (link == NULL) { /* a callback disconnected us */
            break;
        }
        struct delivery *delivery = container_of(link, struct delivery, link);
        pthread_mutex_unlock(&mem->lock);
        deliver_call(session, delivery);
        delivery_free(delivery);
        pthread_mutex_lock(&mem->lock);
    }
    session->delivering = false;
    if (session->closed) {
        if (!session->alive && !session->wake_posted) {
            session_free(session);
        }
    } else if (!list_empty(&session->inbox)) {
        session_wake(session);
    }
    pthread_mutex_unlock(&mem->lock);
}

/* ---- Watches. */

/* The path as the session sees it; null when it lies outside its chroot. */
static struct str strip_chroot(const struct session *session, const char *path)
{
    size_t size = strlen(session->chroot);
    if (strncmp(path, session->chroot, size) != 0) {
        return STR_NULL;
    }
    return path[size] != '\0' ? str_of(path + size) : STR("/");
}

static void watch_free(struct watch *watch)
{
    list_remove(&watch->link);
    mem_free(watch->path);
    mem_free(watch);
}

static void watch_add(struct session *session, enum watch_kind kind, const char *path)
{
    list_for_each (link, &session->watches) {
        struct watch *watch = container_of(link, struct watch, link);
        if (watch->kind == kind && strcmp(watch->path, path) == 0) {
            return;
        }
    }
    struct watch *watch = mem_new(struct watch);
    watch->kind = kind;
    watch->path = mem_strdup(path);
    list_push_back(&session->watches, &watch->link);
}

/* Take the session's watch of this kind on this path; was there one? */
static bool watch_take(struct session *session, enum watch_kind kind, const char *path)
{
    list_for_each_safe (link, &session->watches) {
        struct watch *watch = container_of(link, struct watch, link);
        if (watch->kind == kind && strcmp(watch->path, path) == 0) {
            watch_free(watch);
            return true;
        }
    }
    return false;
}

static void watch_fire(struct session *session, enum zk_watch_event event, const char *path)
{
    struct delivery *delivery = delivery_new(DELIVER_WATCH);
    delivery->watch = event;
    delivery->path = arena_str(&delivery->arena, strip_chroot(session, path));
    if (session->connected) {
        deliver(session, delivery);
    } else {
        list_push_back(&session->held, &delivery->link);
    }
}

/* What one change means to one session: at most one event for the node, one for its parent. */
static void session_see(struct session *session, const struct zk_change *change, const char *parent)
{
    bool data = watch_take(session, WATCH_DATA, change->path);
    bool children =
        change->event == ZK_NODE_DELETED && watch_take(session, WATCH_CHILDREN, change->path);
    if (data || children) {
        watch_fire(session, change->event, change->path);
    }
    if (change->event != ZK_NODE_CHANGED && watch_take(session, WATCH_CHILDREN, parent)) {
        watch_fire(session, ZK_CHILDREN_CHANGED, parent);
    }
}

/* Tell all sessions, and free the list. */
static void publish(struct zk_mem *mem, struct zk_changes *changes)
{
    for (int32_t i = 0; i < changes->count; i++) {
        char *parent = zk_parent_path(changes->items[i].path);
        list_for_each (link, &mem->sessions) {
            session_see(container_of(link, struct session, link), &changes->items[i], parent);
        }
        mem_free(parent);
    }
    zk_changes_fini(changes);
}

/* ---- Operations. */

enum request_kind { REQUEST_GET, REQUEST_EXISTS, REQUEST_CHILDREN, REQUEST_CHANGE };

struct request {
    enum request_kind kind;
    const char *path; /* reads */
    bool watch;
    const struct zk_op *ops; /* changes */
    int32_t ops_count;
    bool multi; /* report each result */
};

static char *absolute(struct arena *arena, const struct session *session, const char *path)
{
    if (strcmp(path, "/") == 0 && session->chroot[0] != '\0') {
        return arena_printf(arena, "%s", session->chroot);
    }
    return arena_printf(arena, "%s%s", session->chroot, path);
}

static void read_node(struct session *session, const struct request *request, const char *path,
                      struct delivery *delivery)
{
    struct zk_result *result = &delivery->result;
    const struct zk_node *node = zk_tree_find(session->mem->tree, path);
    if (node == NULL) {
        result->err = ERR_NOT_FOUND;
        if (request->watch && request->kind == REQUEST_EXISTS) {
            watch_add(session, WATCH_DATA, path);
        }
        return;
    }
    result->stat = node->stat;
    if (request->watch) {
        watch_add(session, request->kind == REQUEST_CHILDREN ? WATCH_CHILDREN : WATCH_DATA, path);
    }
    if (request->kind == REQUEST_GET && node->data != NULL) {
        struct str copy = arena_str(&delivery->arena, (struct str){(char *)node->data, node->size});
        result->data = (struct bytes){(const uint8_t *)copy.ptr, copy.size};
    }
    if (request->kind == REQUEST_CHILDREN) {
        struct str *names = zk_tree_children(session->mem->tree, path, &result->children_count);
        struct str *copies =
            arena_array(&delivery->arena, struct str, (size_t)result->children_count + 1);
        for (int32_t i = 0; i < result->children_count; i++) {
            copies[i] = arena_str(&delivery->arena, names[i]);
            mem_free((char *)names[i].ptr);
        }
        mem_free(names);
        result->children = copies;
    }
}

static bool is_forbidden(const struct zk_mem *mem, const char *path)
{
    return mem->forbidden != NULL && strcmp(mem->forbidden, path) == 0;
}

/* As the tree does it, but for the step that nobody may take: the steps before it are undone. */
static enum err apply(struct session *session, const struct zk_op *ops, int32_t count,
                      struct zk_op_result *results, struct zk_changes *changes)
{
    struct zk_mem *mem = session->mem;
    for (int32_t i = 0; i < count; i++) {
        if (is_forbidden(mem, ops[i].path)) {
            for (int32_t j = 0; j < count; j++) {
                results[j] = (struct zk_op_result){.err = j < i ? ERR_OK : ERR_ZK_OTHER};
            }
            return ERR_ZK_OTHER;
        }
    }
    return zk_tree_apply(mem->tree, ops, count, session->id, clock_wall_ms(mem->clock), results,
                         changes);
}

static void change_tree(struct session *session, const struct request *request,
                        struct delivery *delivery)
{
    struct zk_mem *mem = session->mem;
    size_t count = (size_t)request->ops_count;
    struct zk_op *ops = arena_array(&delivery->arena, struct zk_op, count);
    struct zk_op_result *results = arena_array(&delivery->arena, struct zk_op_result, count);
    struct zk_changes changes = {0};
    for (size_t i = 0; i < count; i++) {
        ops[i] = request->ops[i];
        ops[i].path = absolute(&delivery->arena, session, request->ops[i].path);
    }
    delivery->result.err = apply(session, ops, request->ops_count, results, &changes);
    publish(mem, &changes);
    for (size_t i = 0; i < count; i++) {
        char *made = (char *)results[i].path.ptr;
        if (made != NULL) {
            results[i].path = arena_str(&delivery->arena, strip_chroot(session, made));
            mem_free(made);
        }
    }
    if (request->multi) {
        delivery->result.results = results;
        delivery->result.results_count = request->ops_count;
    } else {
        delivery->result.stat = results[0].stat;
        delivery->result.path = results[0].path;
    }
}

/* Is this operation to be lost, and how? */
static bool take_loss(struct session *session, enum zk_mem_loss *loss)
{
    struct zk_mem *mem = session->mem;
    if (session->lose_armed && session->lose_after-- == 0) {
        session->lose_armed = false;
        *loss = session->lose;
        return true;
    }
    if (rng_one_in(&mem->rng, mem->lose_one_in)) {
        *loss = rng_below(&mem->rng, 2) == 0 ? ZK_MEM_LOSE_REPLY : ZK_MEM_LOSE_REQUEST;
        return true;
    }
    return false;
}

static void execute(struct session *session, const struct request *request,
                    struct delivery *delivery)
{
    if (request->kind == REQUEST_CHANGE) {
        change_tree(session, request, delivery);
        return;
    }
    const char *path = absolute(&delivery->arena, session, request->path);
    if (is_forbidden(session->mem, path)) {
        delivery->result.err = ERR_ZK_OTHER;
    } else {
        read_node(session, request, path, delivery);
    }
}

static void submit(struct zk *zk, const struct request *request, zk_result_fn *fn, void *arg)
{
    struct session *session = (struct session *)zk;
    struct zk_mem *mem = session->mem;
    enum zk_mem_loss loss = ZK_MEM_LOSE_REQUEST;
    pthread_mutex_lock(&mem->lock);
    must(!session->closed);
    struct delivery *delivery = delivery_new(DELIVER_RESULT);
    delivery->fn = fn;
    delivery->arg = arg;
    if (!session->connected) {
        delivery->result.err = ERR_ZK_CONNECTION_LOSS;
    } else if (session->silent) {
        list_push_back(&session->unheard, &delivery->link);
        pthread_mutex_unlock(&mem->lock);
        return;
    } else if (!session->alive) {
        delivery->result.err = ERR_ZK_SESSION_EXPIRED;
    } else {
        bool lost = take_loss(session, &loss);
        if (!lost || loss == ZK_MEM_LOSE_REPLY) {
            execute(session, request, delivery);
        }
        if (lost) {
            delivery->result = (struct zk_result){.err = ERR_ZK_CONNECTION_LOSS};
        }
    }
    deliver(session, delivery);
    pthread_mutex_unlock(&mem->lock);
}

static void mem_get(struct zk *zk, const char *path, bool watch, zk_result_fn *fn, void *arg)
{
    submit(zk, &(struct request){.kind = REQUEST_GET, .path = path, .watch = watch}, fn, arg);
}

static void mem_exists(struct zk *zk, const char *path, bool watch, zk_result_fn *fn, void *arg)
{
    submit(zk, &(struct request){.kind = REQUEST_EXISTS, .path = path, .watch = watch}, fn, arg);
}

static void mem_children(struct zk *zk, const char *path, bool watch, zk_result_fn *fn, void *arg)
{
    submit(zk, &(struct request){.kind = REQUEST_CHILDREN, .path = path, .watch = watch}, fn, arg);
}

static void submit_one(struct zk *zk, const struct zk_op *op, zk_result_fn *fn, void *arg)
{
    submit(zk, &(struct request){.kind = REQUEST_CHANGE, .ops = op, .ops_count = 1}, fn, arg);
}

static void mem_create(struct zk *zk, const char *path, struct bytes data, int flags,
                       zk_result_fn *fn, void *arg)
{
    struct zk_op op = {.kind = ZK_OP_CREATE, .path = path, .data = data, .flags = flags};
    submit_one(zk, &op, fn, arg);
}

static void mem_set(struct zk *zk, const char *path, struct bytes data, int32_t version,
                    zk_result_fn *fn, void *arg)
{
    struct zk_op op = {.kind = ZK_OP_SET, .path = path, .data = data, .version = version};
    submit_one(zk, &op, fn, arg);
}

static void mem_remove(struct zk *zk, const char *path, int32_t version, zk_result_fn *fn,
                       void *arg)
{
    submit_one(zk, &(struct zk_op){.kind = ZK_OP_DELETE, .path = path, .version = version}, fn,
               arg);
}

static void mem_multi(struct zk *zk, const struct zk_op *ops, int32_t count, zk_result_fn *fn,
                      void *arg)
{
    struct request request = {.kind = REQUEST_CHANGE, .multi = true};
    request.ops = ops;
    request.ops_count = count;
    submit(zk, &request, fn, arg);
}

static int64_t mem_session_id(struct zk *zk)
{
    return ((struct session *)zk)->id;
}

static int32_t mem_session_timeout_ms(struct zk *zk)
{
    return ((struct session *)zk)->timeout_ms;
}

/* ---- Sessions. */

/* The ensemble ends the session. */
static void session_end(struct session *session)
{
    struct zk_changes changes = {0};
    must(session->alive);
    session->alive = false;
    while (!list_empty(&session->watches)) {
        watch_free(container_of(session->watches.next, struct watch, link));
    }
    deliveries_free(&session->held);
    zk_tree_remove_owned(session->mem->tree, session->id, &changes);
    publish(session->mem, &changes);
}

static void mem_close(struct zk *zk)
{
    struct session *session = (struct session *)zk;
    struct zk_mem *mem = session->mem;
    struct list results;
    pthread_mutex_lock(&mem->lock);
    must(!session->closed);
    session->closed = true;
    /* Closed while disconnected, the ensemble does not hear of it until the timeout: see
     * zk_mem_tick(). */
    if (session->alive && session->connected) {
        session_end(session);
    }
    session->disconnected_ms =
        session->connected ? clock_mono_ms(mem->clock) : session->disconnected_ms;
    session->connected = false;
    list_init(&results);
    list_splice_back(&results, &session->inbox);
    list_splice_back(&results, &session->unheard);
    pthread_mutex_unlock(&mem->lock);
    struct list *link;
    while ((link = list_pop_front(&results)) != NULL) {
        struct delivery *delivery = container_of(link, struct delivery, link);
        if (delivery->kind == DELIVER_RESULT) {
            delivery->fn(delivery->arg, &(struct zk_result){.err = ERR_CLOSED});
        }
        delivery_free(delivery);
    }
    pthread_mutex_lock(&mem->lock);
    if (!session->alive && !session->wake_posted && !session->delivering) {
        session_free(session);
    }
    pthread_mutex_unlock(&mem->lock);
}

static const struct zk_ops mem_ops = {
    .get = mem_get,
    .get_many = zk_get_each,
    .exists = mem_exists,
    .children = mem_children,
    .create = mem_create,
    .set = mem_set,
    .remove = mem_remove,
    .multi = mem_multi,
    .session_id = mem_session_id,
    .session_timeout_ms = mem_session_timeout_ms,
    .close = mem_close,
};

/* Make a path and its parents, ignoring those that exist. */
static void make_path(struct zk_mem *mem, const char *path)
{
    char *partial = mem_strdup(path);
    for (size_t i = 1; i <= strlen(path); i++) {
        if (path[i] == '/' || path[i] == '\0') {
            struct zk_op op = {.kind = ZK_OP_CREATE, .path = partial};
            struct zk_op_result result;
            struct zk_changes changes = {0};
            partial[i] = '\0';
            enum err err =
                zk_tree_apply(mem->tree, &op, 1, 0, clock_wall_ms(mem->clock), &result, &changes);
            must(err == ERR_OK || err == ERR_EXISTS);
            mem_free((char *)result.path.ptr);
            publish(mem, &changes);
            partial[i] = path[i];
        }
    }
    mem_free(partial);
}

static struct zk *mem_open(struct zk_factory *factory, struct loop *loop, const char *connect,
                           int32_t session_timeout_ms, const struct zk_events *events, void *arg)
{
    struct zk_mem *mem = (struct zk_mem *)factory;
    struct session *session = mem_new(struct session);
    const char *chroot = strchr(connect, '/');
    session->zk.ops = &mem_ops;
    session->mem = mem;
    session->loop = loop;
    session->events = *events;
    session->arg = arg;
    session->chroot = mem_strdup(chroot != NULL && chroot[1] != '\0' ? chroot : "");
    session->timeout_ms = session_timeout_ms;
    session->alive = true;
    session->connected = true;
    session->wake.fn = session_on_wake;
    list_init(&session->watches);
    list_init(&session->inbox);
    list_init(&session->held);
    list_init(&session->unheard);
    pthread_mutex_lock(&mem->lock);
    session->id = mem->next_session_id++;
    list_push_back(&mem->sessions, &session->link);
    if (session->chroot[0] != '\0') {
        make_path(mem, session->chroot);
    }
    deliver_session(session, ZK_SESSION_CONNECTED);
    pthread_mutex_unlock(&mem->lock);
    return &session->zk;
}

struct zk_mem *zk_mem_new(struct clock *clock, uint64_t seed)
{
    struct zk_mem *mem = mem_new(struct zk_mem);
    mem->factory.open = mem_open;
    mem->clock = clock;
    mem->tree = zk_tree_new();
    mem->next_session_id = 0x1000;
    rng_seed(&mem->rng, seed);
    list_init(&mem->sessions);
    must(pthread_mutex_init(&mem->lock, NULL) == 0);
    return mem;
}

void zk_mem_free(struct zk_mem *mem)
{
    if (mem == NULL) {
        return;
    }
    list_for_each_safe (link, &mem->sessions) {
        struct session *session = container_of(link, struct session, link);
        must(session->closed);
        if (session->alive) {
            session_end(session);
        }
        session_free(session);
    }
    zk_tree_free(mem->tree);
    mem_free(mem->forbidden);
    pthread_mutex_destroy(&mem->lock);
    mem_free(mem);
}

struct zk_factory *zk_mem_factory(struct zk_mem *mem)
{
    return &mem->factory;
}

/* ---- Faults. */

static struct session *find_session(struct zk_mem *mem, int64_t session_id)
{
    list_for_each (link, &mem->sessions) {
        struct session *session = container_of(link, struct session, link);
        if (session->id == session_id && !session->closed) {
            return session;
        }
    }
    return NULL;
}

/* Results on their way are lost, watch events wait. */
static void session_disconnect(struct session *session)
{
    session->connected = false;
    session->silent = false;
    session->disconnected_ms = clock_mono_ms(session->mem->clock);
    list_splice_back(&session->inbox, &session->unheard);
    list_for_each_safe (link, &session->inbox) {
        struct delivery *delivery = container_of(link, struct delivery, link);
        if (delivery->kind == DELIVER_RESULT) {
            delivery->result = (struct zk_result){.err = ERR_ZK_CONNECTION_LOSS};
        } else if (delivery->kind == DELIVER_WATCH) {
            list_remove(link);
            list_push_back(&session->held, link);
        }
    }
    deliver_session(session, ZK_SESSION_DISCONNECTED);
}

void zk_mem_disconnect(struct zk_mem *mem, int64_t session_id)
{
    pthread_mutex_lock(&mem->lock);
    struct session *session = find_session(mem, session_id);
    if (session != NULL && session->connected && session->alive) {
        session_disconnect(session);
    }
    pthread_mutex_unlock(&mem->lock);
}

void zk_mem_reconnect(struct zk_mem *mem, int64_t session_id)
{
    pthread_mutex_lock(&mem->lock);
    struct session *session = find_session(mem, session_id);
    if (session != NULL && !session->connected) {
        session->connected = true;
        deliver_session(session, session->alive ? ZK_SESSION_CONNECTED : ZK_SESSION_EXPIRED);
        list_splice_back(&session->inbox, &session->held);
    }
    pthread_mutex_unlock(&mem->lock);
}

void zk_mem_expire(struct zk_mem *mem, int64_t session_id)
{
    pthread_mutex_lock(&mem->lock);
    struct session *session = find_session(mem, session_id);
    if (session != NULL && session->alive) {
        bool connected = session->connected;
        if (connected) {
            session_disconnect(session);
            session->connected = true;
        }
        session_end(session);
        if (connected) {
            deliver_session(session, ZK_SESSION_EXPIRED);
        }
    }
    pthread_mutex_unlock(&mem->lock);
}

void zk_mem_tick(struct zk_mem *mem)
{
    pthread_mutex_lock(&mem->lock);
    int64_t now_ms = clock_mono_ms(mem->clock);
    list_for_each_safe (link, &mem->sessions) {
        struct session *session = container_of(link, struct session, link);
        if (session->alive && !session->connected &&
            now_ms - session->disconnected_ms >= session->timeout_ms) {
            session_end(session);
        }
        if (session->closed && !session->alive && !session->wake_posted && !session->delivering) {
            session_free(session);
        }
    }
    pthread_mutex_unlock(&mem->lock);
}

void zk_mem_lose(struct zk_mem *mem, int64_t session_id, enum zk_mem_loss loss, int32_t after)
{
    pthread_mutex_lock(&mem->lock);
    struct session *session = find_session(mem, session_id);
    if (session != NULL) {
        session->lose_armed = true;
        session->lose = loss;
        session->lose_after = after;
    }
    pthread_mutex_unlock(&mem->lock);
}

void zk_mem_silence(struct zk_mem *mem, int64_t session_id, bool silent)
{
    pthread_mutex_lock(&mem->lock);
    struct session *session = find_session(mem, session_id);
    if (session != NULL) {
        session->silent = silent;
    }
    pthread_mutex_unlock(&mem->lock);
}

void zk_mem_forbid(struct zk_mem *mem, const char *path)
{
    pthread_mutex_lock(&mem->lock);
    mem_free(mem->forbidden);
    mem->forbidden = path != NULL ? mem_strdup(path) : NULL;
    pthread_mutex_unlock(&mem->lock);
}

void zk_mem_set_loss_rate(struct zk_mem *mem, uint64_t one_in)
{
    pthread_mutex_lock(&mem->lock);
    mem->lose_one_in = one_in;
    pthread_mutex_unlock(&mem->lock);
}

/* ---- Looking. */

int32_t zk_mem_sessions(struct zk_mem *mem)
{
    int32_t count = 0;
    pthread_mutex_lock(&mem->lock);
    list_for_each (link, &mem->sessions) {
        count += container_of(link, struct session, link)->alive ? 1 : 0;
    }
    pthread_mutex_unlock(&mem->lock);
    return count;
}

int64_t zk_mem_zxid(struct zk_mem *mem)
{
    pthread_mutex_lock(&mem->lock);
    int64_t zxid = zk_tree_zxid(mem->tree);
    pthread_mutex_unlock(&mem->lock);
    return zxid;
}

static void dump_node(const struct zk_node *node, struct buf *out)
{
    buf_printf(out, "%s = ", node->path);
    for (size_t i = 0; i < node->size && node->data != NULL; i++) {
        buf_put_byte(out, node->data[i] >= ' ' ? node->data[i] : '?');
    }
    buf_printf(out, "%s (v%d)%s\n", node->data == NULL ? "null" : "", node->stat.version,
               node->stat.ephemeral_owner != 0 ? " (ephemeral)" : "");
}

void zk_mem_dump(struct zk_mem *mem, const char *path, struct buf *out)
{
    int32_t count;
    pthread_mutex_lock(&mem->lock);
    const struct zk_node **nodes = zk_tree_list(mem->tree, path, &count);
    for (int32_t i = 0; i < count; i++) {
        dump_node(nodes[i], out);
    }
    mem_free(nodes);
    pthread_mutex_unlock(&mem->lock);
}

bool zk_mem_peek(struct zk_mem *mem, const char *path, struct buf *out, struct zk_stat *stat)
{
    pthread_mutex_lock(&mem->lock);
    const struct zk_node *node = zk_tree_find(mem->tree, path);
    if (node != NULL) {
        if (out != NULL) {
            buf_put(out, node->data, node->size);
        }
        if (stat != NULL) {
            *stat = node->stat;
        }
    }
    pthread_mutex_unlock(&mem->lock);
    return node != NULL;
}

static void apply_from_outside(struct zk_mem *mem, const struct zk_op *op)
{
    struct zk_op_result result;
    struct zk_changes changes = {0};
    enum err err = zk_tree_apply(mem->tree, op, 1, 0, clock_wall_ms(mem->clock), &result, &changes);
    must(err == ERR_OK);
    mem_free((char *)result.path.ptr);
    publish(mem, &changes);
}

void zk_mem_poke(struct zk_mem *mem, const char *path, const char *data)
{
    struct zk_op op = {.kind = ZK_OP_SET, .path = path, .version = -1};
    op.data = (struct bytes){(const uint8_t *)data, data != NULL ? strlen(data) : 0};
    pthread_mutex_lock(&mem->lock);
    if (zk_tree_find(mem->tree, path) == NULL) {
        char *parent = zk_parent_path(path);
        if (strcmp(parent, "/") != 0) {
            make_path(mem, parent);
        }
        mem_free(parent);
        op.kind = ZK_OP_CREATE;
    }
    apply_from_outside(mem, &op);
    pthread_mutex_unlock(&mem->lock);
}

void zk_mem_poke_remove(struct zk_mem *mem, const char *path)
{
    pthread_mutex_lock(&mem->lock);
    apply_from_outside(mem, &(struct zk_op){.kind = ZK_OP_DELETE, .path = path, .version = -1});
    pthread_mutex_unlock(&mem->lock);
}
