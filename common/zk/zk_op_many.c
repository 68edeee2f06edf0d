/* zk_op_many.c: the read of many nodes of a session over libzookeeper-mt. What is asked for in one
 * turn of the loop goes together: of hundreds in a packet (zk_many.h) when that is worth a
 * connection, and else, or when it did not work, node by node. */
#include <stdlib.h>

#include "base/mem.h"
#include "base/must.h"
#include "zk/zk_session.h"

enum { WORTH_A_CONNECTION = 16 }; /* nodes */

/* ---- On the reader's thread. */

static struct zk_session *session_of(struct zk_many_host *host)
{
    return container_of(host, struct zk_session, many_host);
}

static void on_done(struct zk_many_host *host, struct zk_many_read *read, bool ok)
{
    struct zk_op_call *op = container_of(read, struct zk_op_call, many);
    must(op->session == session_of(host));
    op->refused = !ok;
    op->result.reads = read->nodes;
    op->result.reads_count = read->count;
    zk_op_done(op, ZOK);
}

static void on_over(struct zk_many_host *host)
{
    zk_session_unref(session_of(host));
}

/* ---- On the loop. */

static void on_begin(struct zk_many_host *host)
{
    struct zk_session *session = session_of(host);
    pthread_mutex_lock(&session->lock);
    session->refs++;
    pthread_mutex_unlock(&session->lock);
}

void zk_op_note_zxid(struct zk_session *session, const struct zk_result *result)
{
    int64_t zxid = result->stat.mzxid;
    for (int32_t i = 0; i < result->results_count; i++) {
        zxid = result->results[i].stat.mzxid > zxid ? result->results[i].stat.mzxid : zxid;
    }
    for (int32_t i = 0; i < result->reads_count; i++) {
        zxid = result->reads[i].stat.mzxid > zxid ? result->reads[i].stat.mzxid : zxid;
    }
    session->zxid_told = zxid > session->zxid_told ? zxid : session->zxid_told;
}

void zk_op_many_each(struct zk_op_call *op)
{
    zk_get_each(&op->session->zk, op->paths, op->count, op->fn, op->arg);
}

static void read_each(struct zk_op_call *op)
{
    op->refused = true;
    zk_op_done(op, ZOK);
}

static void fill_read(struct zk_op_call *op)
{
    size_t count = (size_t)op->count;
    op->many.count = op->count;
    op->many.zxid = op->session->zxid_told;
    op->many.arena = &op->arena;
    op->many.nodes = arena_array(&op->arena, struct zk_read, count);
    op->many.paths = arena_array(&op->arena, const char *, count);
    for (size_t i = 0; i < count; i++) {
        const char *path = strcmp(op->paths[i], "/") == 0 ? "" : op->paths[i];
        const char *whole = arena_printf(&op->arena, "%s%s", op->session->chroot, path);
        op->many.paths[i] = whole[0] != '\0' ? whole : "/";
    }
}

static void read_many(struct zk_op_call *op, const struct sockaddr *address, socklen_t size)
{
    struct zk_session *session = op->session;
    if (session->many == NULL) {
        struct zk_many_options options = {.session_timeout_ms =
                                              session->zk.ops->session_timeout_ms(&session->zk),
                                          .answer_ms = ZK_MANY_ANSWER_MS,
                                          .linger_ms = ZK_MANY_LINGER_MS};
        session->many = zk_many_new(&session->many_host, &options);
    }
    fill_read(op);
    if (!zk_many_add(session->many, &op->many, address, size)) {
        read_each(op);
    }
}

static bool worth_it(struct zk_session *session)
{
    int32_t count = 0;
    list_for_each (link, &session->many_asked) {
        count += container_of(link, struct zk_op_call, many.link)->count;
    }
    return count >= WORTH_A_CONNECTION || (session->many != NULL && zk_many_running(session->many));
}

static void on_send(struct loop_task *task)
{
    struct zk_session *session = container_of(task, struct zk_session, many_send);
    struct sockaddr_storage address;
    bool known = worth_it(session);
    struct list *link;
    while ((link = list_pop_front(&session->many_asked)) != NULL) {
        struct zk_op_call *op = container_of(link, struct zk_op_call, many.link);
        socklen_t size = sizeof(address);
        zhandle_t *handle = zk_op_handle(op);
        if (handle == NULL) {
            continue;
        }
        struct sockaddr *at = (struct sockaddr *)&address;
        known = known && zookeeper_get_connected_host(handle, at, &size) != NULL;
        if (known) {
            read_many(op, at, size);
        } else {
            read_each(op);
        }
    }
}

void zk_op_get_many(struct zk *zk, const char *const *paths, int32_t count, zk_result_fn *fn,
                    void *arg)
{
    struct zk_op_call *op = zk_op_new(zk, fn, arg);
    must(count > 0);
    op->count = count;
    op->paths = arena_array(&op->arena, const char *, (size_t)count);
    for (int32_t i = 0; i < count; i++) {
        op->paths[i] = arena_cstr(&op->arena, str_of(paths[i]));
    }
    list_push_back(&op->session->many_asked, &op->many.link);
    loop_defer(op->session->loop, &op->session->many_send);
}

void zk_op_many_init(struct zk_session *session)
{
    session->many_host = (struct zk_many_host){on_begin, on_done, on_over};
    list_init(&session->many_asked);
    loop_task_init(&session->many_send, on_send);
}

void zk_op_many_close(struct zk_session *session)
{
    loop_task_cancel(&session->many_send);
    if (session->many != NULL) {
        zk_many_close(session->many);
    }
}
