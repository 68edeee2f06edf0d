/* zk_op.c: single operations of a session over libzookeeper-mt: how they are handed to the library,
 * and how what it answers is copied for the loop. See zk_session.h for who owns an op when (C1,
 * C2). */
#include <stdlib.h>

#include "base/mem.h"
#include "base/must.h"
#include "zk/zk_session.h"

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

/* ---- On the library's threads: results. */

/* The result is complete: hand the op to the loop. */
void zk_op_done(struct zk_op_call *op, int rc)
{
    struct zk_session *session = op->session;
    op->result.err = err_of(rc);
    pthread_mutex_lock(&session->lock);
    if (!session->closed) {
        zk_session_post(session, &op->delivery);
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
    struct zk_op_call *op = (struct zk_op_call *)data;
    if (rc == ZOK) {
        op->result.stat = stat_of(stat);
        if (value != NULL && value_len >= 0) {
            struct str copy = arena_str(&op->arena, (struct str){value, (size_t)value_len});
            op->result.data = (struct bytes){(const uint8_t *)copy.ptr, copy.size};
        }
    }
    zk_op_done(op, rc);
}

static void on_stat(int rc, const struct Stat *stat, const void *data)
{
    struct zk_op_call *op = (struct zk_op_call *)data;
    if (rc == ZOK) {
        op->result.stat = stat_of(stat);
    }
    zk_op_done(op, rc);
}

static int compare_names(const void *a, const void *b)
{
    return str_cmp(*(const struct str *)a, *(const struct str *)b);
}

static void on_children(int rc, const struct String_vector *strings, const struct Stat *stat,
                        const void *data)
{
    struct zk_op_call *op = (struct zk_op_call *)data;
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
    zk_op_done(op, rc);
}

static void on_created(int rc, const char *value, const void *data)
{
    struct zk_op_call *op = (struct zk_op_call *)data;
    if (rc == ZOK) {
        op->result.path = arena_str(&op->arena, str_of(value));
    }
    zk_op_done(op, rc);
}

static void on_removed(int rc, const void *data)
{
    zk_op_done((struct zk_op_call *)data, rc);
}

/* In a multi the library may leave the chroot in front of the path that was made. */
static struct str made_path(const struct zk_op_call *op, int32_t index)
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
static enum err step_err(const struct zk_op_call *op, int32_t i, int32_t failed)
{
    if (i > failed) {
        return ERR_ZK_OTHER;
    }
    return i < failed ? ERR_OK : err_of(op->zoo_results[i].err);
}

static void on_multi(int rc, const void *data)
{
    struct zk_op_call *op = (struct zk_op_call *)data;
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
    zk_op_done(op, rc);
}

/* ---- On the loop: submission. */

struct zk_op_call *zk_op_new(struct zk *zk, zk_result_fn *fn, void *arg)
{
    struct zk_session *session = (struct zk_session *)zk;
    loop_assert_here(session->loop);
    must(!session->closed);
    struct zk_op_call *op = mem_new(struct zk_op_call);
    op->session = session;
    op->fn = fn;
    op->arg = arg;
    op->delivery.kind = DELIVER_RESULT;
    list_init(&op->delivery.link);
    list_push_back(&session->ops, &op->link);
    return op;
}

zhandle_t *zk_op_handle(struct zk_op_call *op)
{
    struct zk_session *session = op->session;
    pthread_mutex_lock(&session->lock);
    zhandle_t *handle = session->handle;
    bool expired = session->last_event == ZK_SESSION_EXPIRED;
    pthread_mutex_unlock(&session->lock);
    if (!session->usable) {
        zk_op_done(op, expired ? ZSESSIONEXPIRED : ZCONNECTIONLOSS);
        return NULL;
    }
    must(handle != NULL);
    return handle;
}

/* What a zoo_*() call returned: when it did not take the op, no callback will come. */
static void op_submitted(struct zk_op_call *op, int rc)
{
    if (rc != ZOK) {
        zk_op_done(op, rc);
    }
}

static void sets_watch(struct zk_op_call *op, enum zk_watch_kind kind, const char *path)
{
    op->watch_kind = (int)kind;
    op->watch_path = arena_cstr(&op->arena, str_of(path));
}

void zk_op_get(struct zk *zk, const char *path, bool watch, zk_result_fn *fn, void *arg)
{
    struct zk_op_call *op = zk_op_new(zk, fn, arg);
    if (watch) {
        sets_watch(op, ZK_WATCH_DATA, path);
    }
    zhandle_t *handle = zk_op_handle(op);
    if (handle != NULL) {
        op_submitted(op, zoo_aget(handle, path, watch ? 1 : 0, on_data, op));
    }
}

void zk_op_exists(struct zk *zk, const char *path, bool watch, zk_result_fn *fn, void *arg)
{
    struct zk_op_call *op = zk_op_new(zk, fn, arg);
    if (watch) {
        sets_watch(op, ZK_WATCH_DATA, path);
        op->watch_absent = true;
    }
    zhandle_t *handle = zk_op_handle(op);
    if (handle != NULL) {
        op_submitted(op, zoo_aexists(handle, path, watch ? 1 : 0, on_stat, op));
    }
}

void zk_op_children(struct zk *zk, const char *path, bool watch, zk_result_fn *fn, void *arg)
{
    struct zk_op_call *op = zk_op_new(zk, fn, arg);
    if (watch) {
        sets_watch(op, ZK_WATCH_CHILDREN, path);
    }
    zhandle_t *handle = zk_op_handle(op);
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

void zk_op_create(struct zk *zk, const char *path, struct bytes data, int flags, zk_result_fn *fn,
                  void *arg)
{
    struct zk_op_call *op = zk_op_new(zk, fn, arg);
    zhandle_t *handle = zk_op_handle(op);
    if (handle != NULL) {
        op_submitted(op, zoo_acreate(handle, path, (const char *)data.data, data_len(data),
                                     &ZOO_OPEN_ACL_UNSAFE, zoo_flags(flags), on_created, op));
    }
}

void zk_op_set(struct zk *zk, const char *path, struct bytes data, int32_t version,
               zk_result_fn *fn, void *arg)
{
    struct zk_op_call *op = zk_op_new(zk, fn, arg);
    zhandle_t *handle = zk_op_handle(op);
    if (handle != NULL) {
        op_submitted(op, zoo_aset(handle, path, (const char *)data.data, data_len(data), version,
                                  on_stat, op));
    }
}

void zk_op_remove(struct zk *zk, const char *path, int32_t version, zk_result_fn *fn, void *arg)
{
    struct zk_op_call *op = zk_op_new(zk, fn, arg);
    zhandle_t *handle = zk_op_handle(op);
    if (handle != NULL) {
        op_submitted(op, zoo_adelete(handle, path, version, on_removed, op));
    }
}

/* Everything a zoo_op points to must live until the callback: it goes to the op's arena. */
static void fill_step(struct zk_op_call *op, int32_t index, const struct zk_op *step)
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

void zk_op_multi(struct zk *zk, const struct zk_op *ops, int32_t count, zk_result_fn *fn, void *arg)
{
    struct zk_op_call *op = zk_op_new(zk, fn, arg);
    zhandle_t *handle = zk_op_handle(op);
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
        zk_op_done(op, ZCONNECTIONLOSS);
        return;
    }
    op_submitted(op, zoo_amulti(handle, count, op->zoo_ops, op->zoo_results, on_multi, op));
}

void zk_op_free(struct zk_op_call *op)
{
    list_remove(&op->link);
    arena_fini(&op->arena);
    mem_free(op);
}
