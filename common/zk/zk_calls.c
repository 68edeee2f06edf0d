#include "zk/zk_calls.h"

#include "base/arena.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/must.h"

#define LOGGER "kafka.zookeeper.ZooKeeperClient"

enum call_kind {
    CALL_GET,
    CALL_GET_MANY,
    CALL_EXISTS,
    CALL_CHILDREN,
    CALL_CREATE,
    CALL_SET,
    CALL_REMOVE,
    CALL_MULTI,
};

struct call {
    struct list link;
    struct zk_calls *calls; /* NULL: nobody wants the result any more */
    struct arena arena;     /* holds the arguments */
    enum call_kind kind;
    const char *path;
    struct bytes data;
    int32_t version;
    int flags;
    bool watch;
    struct zk_op *ops;
    int32_t ops_count;
    const char **paths;
    int32_t paths_count;
    zk_call_fn *fn;
    void *arg;
    int32_t lost; /* attempts that were */
    bool once;
    bool in_flight;
    struct loop_timer retry;
    struct loop_task refuse; /* made without a session */
};

static void call_free(struct call *call)
{
    list_remove(&call->link);
    loop_timer_cancel(&call->retry);
    loop_task_cancel(&call->refuse);
    arena_fini(&call->arena);
    mem_free(call);
}

static void call_finish(struct call *call, const struct zk_result *result)
{
    zk_call_fn *fn = call->fn;
    void *arg = call->arg;
    bool repeated = call->lost > 0;
    call_free(call);
    fn(arg, result, repeated);
}

/* How much of a request a server has to take. */
static size_t call_bytes(const struct call *call)
{
    size_t bytes = call->data.size;
    for (int32_t i = 0; i < call->ops_count; i++) {
        bytes += call->ops[i].data.size;
    }
    return bytes;
}

/* Has it been lost so often, and is so large, that it was most likely refused each time? */
static bool call_is_too_large(const struct call *call)
{
    size_t bytes = call_bytes(call);
    if (bytes < ZK_CALLS_LARGE_BYTES || call->lost < ZK_CALLS_LARGE_TRIES) {
        return false;
    }
    log_warn(LOGGER, "giving up a request that ZooKeeper does not answer",
             "path=%s bytes=%zu; most likely it is larger than its jute.maxbuffer",
             call->ops_count > 0 ? call->ops[call->ops_count - 1].path : call->path, bytes);
    return true;
}

static void call_on_result(void *arg, const struct zk_result *result)
{
    struct call *call = arg;
    must(call->in_flight);
    call->in_flight = false;
    if (call->calls == NULL) {
        call_free(call);
        return;
    }
    if (result->err != ERR_ZK_CONNECTION_LOSS || call->once) {
        call_finish(call, result);
        return;
    }
    call->lost++;
    if (call_is_too_large(call)) {
        call_finish(call, &(struct zk_result){.err = ERR_ZK_OTHER});
        return;
    }
    struct loop *loop = call->calls->loop;
    loop_timer_set(loop, &call->retry, loop_now_ms(loop) + ZK_CALLS_RETRY_MS);
}

static void call_send(struct call *call)
{
    struct zk *zk = call->calls->zk;
    call->in_flight = true;
    switch (call->kind) {
    case CALL_GET:
        zk->ops->get(zk, call->path, call->watch, call_on_result, call);
        break;
    case CALL_GET_MANY:
        zk->ops->get_many(zk, call->paths, call->paths_count, call_on_result, call);
        break;
    case CALL_EXISTS:
        zk->ops->exists(zk, call->path, call->watch, call_on_result, call);
        break;
    case CALL_CHILDREN:
        zk->ops->children(zk, call->path, call->watch, call_on_result, call);
        break;
    case CALL_CREATE:
        zk->ops->create(zk, call->path, call->data, call->flags, call_on_result, call);
        break;
    case CALL_SET:
        zk->ops->set(zk, call->path, call->data, call->version, call_on_result, call);
        break;
    case CALL_REMOVE:
        zk->ops->remove(zk, call->path, call->version, call_on_result, call);
        break;
    case CALL_MULTI:
        zk->ops->multi(zk, call->ops, call->ops_count, call_on_result, call);
        break;
    }
}

static void call_on_retry(struct loop_timer *timer)
{
    call_send(container_of(timer, struct call, retry));
}

static void call_on_refuse(struct loop_task *task)
{
    struct call *call = container_of(task, struct call, refuse);
    call_finish(call, &(struct zk_result){.err = ERR_ZK_SESSION_EXPIRED});
}

static struct bytes copy_bytes(struct arena *arena, struct bytes data)
{
    struct str copy = arena_str(arena, (struct str){(const char *)data.data, data.size});
    return (struct bytes){(const uint8_t *)copy.ptr, copy.size};
}

static struct call *call_new(struct zk_calls *calls, enum call_kind kind, const char *path,
                             zk_call_fn *fn, void *arg)
{
    loop_assert_here(calls->loop);
    struct call *call = mem_new(struct call);
    call->calls = calls;
    call->kind = kind;
    call->path = arena_cstr(&call->arena, str_of(path));
    call->fn = fn;
    call->arg = arg;
    loop_timer_init(&call->retry, call_on_retry);
    loop_task_init(&call->refuse, call_on_refuse);
    list_push_back(&calls->pending, &call->link);
    return call;
}

static void call_start(struct call *call)
{
    if (call->calls->zk == NULL) {
        loop_defer(call->calls->loop, &call->refuse);
    } else {
        call_send(call);
    }
}

void zk_calls_init(struct zk_calls *calls, struct loop *loop)
{
    calls->loop = loop;
    calls->zk = NULL;
    list_init(&calls->pending);
}

void zk_calls_set_session(struct zk_calls *calls, struct zk *zk)
{
    struct list *link;
    while ((link = list_pop_front(&calls->pending)) != NULL) {
        struct call *call = container_of(link, struct call, link);
        if (call->in_flight) {
            call->calls = NULL; /* freed by its result, which always comes */
        } else {
            call_free(call);
        }
    }
    calls->zk = zk;
}

void zk_calls_fini(struct zk_calls *calls)
{
    zk_calls_set_session(calls, NULL);
}

static void start_read(struct zk_calls *calls, enum call_kind kind, const char *path, bool watch,
                       zk_call_fn *fn, void *arg)
{
    struct call *call = call_new(calls, kind, path, fn, arg);
    call->watch = watch;
    call_start(call);
}

void zk_calls_get(struct zk_calls *calls, const char *path, bool watch, zk_call_fn *fn, void *arg)
{
    start_read(calls, CALL_GET, path, watch, fn, arg);
}

void zk_calls_get_many(struct zk_calls *calls, const char *const *paths, int32_t count,
                       zk_call_fn *fn, void *arg)
{
    struct call *call = call_new(calls, CALL_GET_MANY, "", fn, arg);
    must(count > 0);
    call->paths = arena_array(&call->arena, const char *, (size_t)count);
    call->paths_count = count;
    for (int32_t i = 0; i < count; i++) {
        call->paths[i] = arena_cstr(&call->arena, str_of(paths[i]));
    }
    call_start(call);
}

void zk_calls_exists(struct zk_calls *calls, const char *path, bool watch, zk_call_fn *fn,
                     void *arg)
{
    start_read(calls, CALL_EXISTS, path, watch, fn, arg);
}

void zk_calls_children(struct zk_calls *calls, const char *path, bool watch, zk_call_fn *fn,
                       void *arg)
{
    start_read(calls, CALL_CHILDREN, path, watch, fn, arg);
}

void zk_calls_create(struct zk_calls *calls, const char *path, struct bytes data, int flags,
                     zk_call_fn *fn, void *arg)
{
    struct call *call = call_new(calls, CALL_CREATE, path, fn, arg);
    call->data = copy_bytes(&call->arena, data);
    call->flags = flags;
    call_start(call);
}

void zk_calls_set(struct zk_calls *calls, const char *path, struct bytes data, int32_t version,
                  zk_call_fn *fn, void *arg)
{
    struct call *call = call_new(calls, CALL_SET, path, fn, arg);
    call->data = copy_bytes(&call->arena, data);
    call->version = version;
    call_start(call);
}

void zk_calls_remove(struct zk_calls *calls, const char *path, int32_t version, zk_call_fn *fn,
                     void *arg)
{
    struct call *call = call_new(calls, CALL_REMOVE, path, fn, arg);
    call->version = version;
    call_start(call);
}

static void start_multi(struct zk_calls *calls, const struct zk_op *ops, int32_t count, bool once,
                        zk_call_fn *fn, void *arg)
{
    struct call *call = call_new(calls, CALL_MULTI, "", fn, arg);
    call->once = once;
    must(count > 0);
    call->ops = arena_array(&call->arena, struct zk_op, (size_t)count);
    call->ops_count = count;
    for (int32_t i = 0; i < count; i++) {
        call->ops[i] = ops[i];
        call->ops[i].path = arena_cstr(&call->arena, str_of(ops[i].path));
        call->ops[i].data = copy_bytes(&call->arena, ops[i].data);
    }
    call_start(call);
}

void zk_calls_multi(struct zk_calls *calls, const struct zk_op *ops, int32_t count, zk_call_fn *fn,
                    void *arg)
{
    start_multi(calls, ops, count, false, fn, arg);
}

void zk_calls_once(struct zk_calls *calls, const struct zk_op *op, zk_call_fn *fn, void *arg)
{
    start_multi(calls, op, 1, true, fn, arg);
}
