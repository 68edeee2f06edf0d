#include "sim_zk.h"

#include <string.h>

#include "base/mem.h"
#include "base/must.h"
#include "sim.h"
#include "sim_watch.h"

enum { OPS_MAX = 4096 };

struct sim_session {
    struct zk zk; /* first */
    struct list link;
    struct sim_zk *owner;
    struct zk *under;
    const struct zk_events *events;
    void *arg;
};

/* An operation whose result is to be printed. */
struct printed {
    struct sim_session *session;
    const char *what;
    char *path;
    zk_result_fn *fn;
    void *arg;
};

static void on_printed(void *arg, const struct zk_result *result)
{
    struct printed *printed = arg;
    struct sim_node *node = printed->session->owner->node;
    sim_trace_note(&node->sim->trace, node->name, "zookeeper: %s %s -> %s", printed->what,
                   printed->path, err_name(result->err));
    printed->fn(printed->arg, result);
    mem_free(printed->path);
    mem_free(printed);
}

/* Changes neither what happens nor the trace's hash. */
static void print(struct zk *zk, const char *what, const char *path, zk_result_fn **fn, void **arg)
{
    struct sim_session *session = (struct sim_session *)zk;
    if (session->owner->node->sim->options.print_zk) {
        struct printed *printed = mem_new(struct printed);
        *printed = (struct printed){session, what, mem_strdup(path), *fn, *arg};
        *fn = on_printed;
        *arg = printed;
    }
}

static struct sim_session *session_of(struct zk *zk)
{
    return (struct sim_session *)zk;
}

static struct zk *under_of(struct zk *zk)
{
    return session_of(zk)->under;
}

/* An operation is under way: what was to happen now? */
static void stumble(struct zk *zk, bool multi)
{
    struct sim_zk *owner = session_of(zk)->owner;
    if (owner->stumble != NULL && (multi || !owner->stumble_at_multi)) {
        void (*fn)(void *arg, struct sim_node *node) = owner->stumble;
        owner->stumble = NULL;
        fn(owner->arg, owner->node);
    }
}

static void session_get(struct zk *zk, const char *path, bool watch, zk_result_fn *fn, void *arg)
{
    print(zk, watch ? "get and watch" : "get", path, &fn, &arg);
    under_of(zk)->ops->get(under_of(zk), path, watch, fn, arg);
    stumble(zk, false);
}

static void session_exists(struct zk *zk, const char *path, bool watch, zk_result_fn *fn, void *arg)
{
    print(zk, watch ? "exists and watch" : "exists", path, &fn, &arg);
    under_of(zk)->ops->exists(under_of(zk), path, watch, fn, arg);
    stumble(zk, false);
}

static void session_children(struct zk *zk, const char *path, bool watch, zk_result_fn *fn,
                             void *arg)
{
    print(zk, watch ? "children and watch" : "children", path, &fn, &arg);
    under_of(zk)->ops->children(under_of(zk), path, watch, fn, arg);
    stumble(zk, false);
}

/* ---- changes: looked at before and after ---- */

static bool is_state(const char *path)
{
    size_t size = strlen(path);
    return strncmp(path, "/brokers/topics/", 16) == 0 && size > 6 &&
           strcmp(path + size - 6, "/state") == 0;
}

struct before {
    struct buf old; /* data of the state node; empty: there was none */
    bool watched;
};

static void look_before(struct zk_mem *mem, const struct zk_op *op, struct before *before)
{
    *before = (struct before){.watched = is_state(op->path) &&
                                         (op->kind == ZK_OP_SET || op->kind == ZK_OP_CREATE)};
    if (before->watched) {
        (void)zk_mem_peek(mem, op->path, &before->old, NULL);
    }
}

static void look_after(struct sim_session *session, const struct zk_op *op, struct before *before,
                       bool accepted)
{
    if (before->watched && accepted) {
        struct sim_node *node = session->owner->node;
        sim_watch_state_written(node->sim->watch, node, op->path,
                                (struct bytes){before->old.data, before->old.size}, op->data);
    }
    buf_fini(&before->old);
}

/* The broken broker of SIM_BUG_NO_FENCING takes any controller epoch. */
static void weaken_checks(struct zk_op *ops, int32_t count)
{
    for (int32_t i = 0; i < count && sim_bug_on(SIM_BUG_NO_FENCING); i++) {
        if (ops[i].kind == ZK_OP_CHECK && strcmp(ops[i].path, "/controller_epoch") == 0) {
            ops[i].version = -1;
        }
    }
}

static void session_multi(struct zk *zk, const struct zk_op *ops, int32_t count, zk_result_fn *fn,
                          void *arg)
{
    struct sim_session *session = session_of(zk);
    struct zk_mem *mem = session->owner->node->sim->zk;
    struct zk_op *all = mem_zalloc((size_t)count + 1, sizeof(*all));
    struct before *before = mem_zalloc((size_t)count + 1, sizeof(*before));
    must(count <= OPS_MAX);
    memcpy(all, ops, (size_t)count * sizeof(*all));
    for (int32_t i = 0; i < count; i++) {
        look_before(mem, &ops[i], &before[i]);
    }
    int64_t zxid = zk_mem_zxid(mem);
    weaken_checks(all, count);
    print(zk, "multi", count > 1 ? ops[1].path : count > 0 ? ops[0].path : "", &fn, &arg);
    under_of(zk)->ops->multi(under_of(zk), all, count, fn, arg);
    bool accepted = zk_mem_zxid(mem) != zxid;
    for (int32_t i = 0; i < count; i++) {
        look_after(session, &ops[i], &before[i], accepted);
    }
    mem_free(before);
    mem_free(all);
    stumble(zk, true);
}

static void session_create(struct zk *zk, const char *path, struct bytes data, int flags,
                           zk_result_fn *fn, void *arg)
{
    print(zk, "create", path, &fn, &arg);
    under_of(zk)->ops->create(under_of(zk), path, data, flags, fn, arg);
}

static void session_set(struct zk *zk, const char *path, struct bytes data, int32_t version,
                        zk_result_fn *fn, void *arg)
{
    struct sim_session *session = session_of(zk);
    struct zk_mem *mem = session->owner->node->sim->zk;
    struct zk_op op = {.kind = ZK_OP_SET, .path = path, .data = data, .version = version};
    struct before before;
    look_before(mem, &op, &before);
    int64_t zxid = zk_mem_zxid(mem);
    print(zk, "set", path, &fn, &arg);
    under_of(zk)->ops->set(under_of(zk), path, data, version, fn, arg);
    look_after(session, &op, &before, zk_mem_zxid(mem) != zxid);
}

static void session_remove(struct zk *zk, const char *path, int32_t version, zk_result_fn *fn,
                           void *arg)
{
    print(zk, "remove", path, &fn, &arg);
    under_of(zk)->ops->remove(under_of(zk), path, version, fn, arg);
}

static int64_t session_id(struct zk *zk)
{
    return under_of(zk)->ops->session_id(under_of(zk));
}

static int32_t session_timeout_ms(struct zk *zk)
{
    return under_of(zk)->ops->session_timeout_ms(under_of(zk));
}

static void session_close(struct zk *zk)
{
    struct sim_session *session = session_of(zk);
    session->under->ops->close(session->under);
    list_remove(&session->link);
    mem_free(session);
}

static const struct zk_ops session_ops = {
    .get = session_get,
    .get_many = zk_get_each,
    .exists = session_exists,
    .children = session_children,
    .create = session_create,
    .set = session_set,
    .remove = session_remove,
    .multi = session_multi,
    .session_id = session_id,
    .session_timeout_ms = session_timeout_ms,
    .close = session_close,
};

static void on_session(void *arg, enum zk_session_event event)
{
    struct sim_session *session = arg;
    session->events->on_session(session->arg, event);
}

static void on_watch(void *arg, enum zk_watch_event event, struct str path)
{
    struct sim_session *session = arg;
    struct sim_node *node = session->owner->node;
    if (node->sim->options.print_zk) {
        sim_trace_note(&node->sim->trace, node->name, "zookeeper: watch %d on %.*s", (int)event,
                       STR_ARG(path));
    }
    session->events->on_watch(session->arg, event, path);
}

static const struct zk_events session_events = {on_session, on_watch};

static struct zk *sim_open(struct zk_factory *factory, struct loop *loop, const char *connect,
                           int32_t timeout_ms, const struct zk_events *events, void *arg)
{
    struct sim_zk *owner = (struct sim_zk *)factory;
    struct zk_factory *under = zk_mem_factory(owner->node->sim->zk);
    struct sim_session *session = mem_new(struct sim_session);
    session->zk.ops = &session_ops;
    session->owner = owner;
    session->under = under->open(under, loop, connect, timeout_ms, &session_events, session);
    session->events = events;
    session->arg = arg;
    list_push_back(&owner->sessions, &session->link);
    if (owner->dead || owner->node->sim->zk_down) {
        zk_mem_disconnect(owner->node->sim->zk, session_id(&session->zk));
    }
    return &session->zk;
}

void sim_zk_init(struct sim_zk *zk, struct sim_node *node)
{
    *zk = (struct sim_zk){.factory = {.open = sim_open}, .node = node};
    list_init(&zk->sessions);
}

int64_t sim_zk_session_id(const struct sim_zk *zk)
{
    if (list_empty(&zk->sessions)) {
        return 0;
    }
    return session_id(&container_of(zk->sessions.prev, struct sim_session, link)->zk);
}

void sim_zk_end(struct sim_zk *zk)
{
    zk->dead = true;
    list_for_each (item, &zk->sessions) {
        struct sim_session *session = container_of(item, struct sim_session, link);
        zk_mem_disconnect(zk->node->sim->zk, session_id(&session->zk));
    }
}
