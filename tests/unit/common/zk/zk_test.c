/* One suite of behaviour, run against the ZooKeeper in memory and, where a server can be started,
 * against a real one through libzookeeper: what the first promises must be what the second does. */
#include <criterion/criterion.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>

#include "base/arena.h"
#include "base/mem.h"
#include "support/zk_server.h"
#include "zk/zk.h"
#include "zk/zk_calls.h"
#include "zk/zk_mem.h"

enum { SESSIONS_MAX = 4, WAIT_MS = 30000, SESSION_TIMEOUT_MS = 1500 };

/* One session and what it heard. */
struct client {
    struct zk *zk;
    struct world *world;
    bool connected;
    bool disconnected;
    bool expired;
    struct buf events; /* "created /a;" */
};

struct world {
    struct zk_factory *factory;
    struct zk_mem *mem; /* NULL: a real one */
    char connect[128];
    struct loop *loop;
    struct client clients[SESSIONS_MAX];
    int clients_count;
};

static void on_session(void *arg, enum zk_session_event event)
{
    struct client *client = arg;
    client->connected = event == ZK_SESSION_CONNECTED;
    client->disconnected = client->disconnected || event == ZK_SESSION_DISCONNECTED;
    client->expired = client->expired || event == ZK_SESSION_EXPIRED;
}

static void on_watch(void *arg, enum zk_watch_event event, struct str path)
{
    static const char *const names[] = {"created", "deleted", "changed", "children"};
    struct client *client = arg;
    buf_printf(&client->events, "%s %.*s;", names[event], STR_ARG(path));
}

/* Turn the loop until a condition holds; fails after WAIT_MS. */
static void run_until(struct world *w, bool (*done)(void *arg), void *arg)
{
    int64_t deadline_ms = clock_mono_ms(clock_system()) + WAIT_MS;
    while (!done(arg)) {
        if (!loop_turn(w->loop)) {
            sched_yield();
        }
        cr_assert_lt(clock_mono_ms(clock_system()), deadline_ms, "timed out");
    }
}

static bool flag_set(void *arg)
{
    return *(bool *)arg;
}

static struct client *client_new(struct world *w)
{
    static const struct zk_events events = {on_session, on_watch};
    struct client *client = &w->clients[w->clients_count++];
    client->world = w;
    client->zk =
        w->factory->open(w->factory, w->loop, w->connect, SESSION_TIMEOUT_MS, &events, client);
    run_until(w, flag_set, &client->connected);
    return client;
}

static void client_close(struct client *client)
{
    client->zk->ops->close(client->zk);
    client->zk = NULL;
    buf_fini(&client->events);
}

static void world_fini(struct world *w)
{
    for (int i = 0; i < w->clients_count; i++) {
        if (w->clients[i].zk != NULL) {
            client_close(&w->clients[i]);
        }
    }
    while (loop_turn(w->loop)) {
    }
}

/* ---- Synchronous calls for tests: the result is copied. */

struct reply {
    bool done;
    enum err err;
    struct zk_stat stat;
    bool null;
    char data[256];
    char path[128];
    char children[256];  /* "a,b,c" */
    char results[256];   /* "OK,NOT_FOUND" by name */
    struct zk_stat last; /* stat of the last step of a multi */
    struct buf *order;   /* appended to when the result comes */
    char mark;
};

static void on_reply(void *arg, const struct zk_result *result)
{
    struct reply *reply = arg;
    reply->done = true;
    reply->err = result->err;
    reply->stat = result->stat;
    reply->null = result->data.data == NULL;
    snprintf(reply->data, sizeof(reply->data), "%.*s", (int)result->data.size,
             result->data.data != NULL ? (const char *)result->data.data : "");
    snprintf(reply->path, sizeof(reply->path), "%.*s", STR_ARG(result->path));
    size_t at = 0;
    for (int32_t i = 0; i < result->children_count; i++) {
        at += (size_t)snprintf(reply->children + at, sizeof(reply->children) - at, "%s%.*s",
                               i > 0 ? "," : "", STR_ARG(result->children[i]));
    }
    at = 0;
    for (int32_t i = 0; i < result->results_count; i++) {
        at += (size_t)snprintf(reply->results + at, sizeof(reply->results) - at, "%s%s",
                               i > 0 ? "," : "", err_text(result->results[i].err));
        reply->last = result->results[i].stat;
        if (result->results[i].path.ptr != NULL) {
            snprintf(reply->path, sizeof(reply->path), "%.*s", STR_ARG(result->results[i].path));
        }
    }
    if (reply->order != NULL) {
        buf_put_byte(reply->order, (uint8_t)reply->mark);
    }
}

static void wait_for(struct client *c, struct reply *reply)
{
    run_until(c->world, flag_set, &reply->done);
}

static struct bytes text(const char *s)
{
    return (struct bytes){(const uint8_t *)s, s != NULL ? strlen(s) : 0};
}

static struct reply create(struct client *c, const char *path, const char *data, int flags)
{
    struct reply reply = {0};
    c->zk->ops->create(c->zk, path, text(data), flags, on_reply, &reply);
    wait_for(c, &reply);
    return reply;
}

static struct reply set(struct client *c, const char *path, const char *data, int32_t version)
{
    struct reply reply = {0};
    c->zk->ops->set(c->zk, path, text(data), version, on_reply, &reply);
    wait_for(c, &reply);
    return reply;
}

static struct reply get(struct client *c, const char *path, bool watch)
{
    struct reply reply = {0};
    c->zk->ops->get(c->zk, path, watch, on_reply, &reply);
    wait_for(c, &reply);
    return reply;
}

static struct reply exists(struct client *c, const char *path, bool watch)
{
    struct reply reply = {0};
    c->zk->ops->exists(c->zk, path, watch, on_reply, &reply);
    wait_for(c, &reply);
    return reply;
}

static struct reply children(struct client *c, const char *path, bool watch)
{
    struct reply reply = {0};
    c->zk->ops->children(c->zk, path, watch, on_reply, &reply);
    wait_for(c, &reply);
    return reply;
}

static struct reply erase(struct client *c, const char *path, int32_t version)
{
    struct reply reply = {0};
    c->zk->ops->remove(c->zk, path, version, on_reply, &reply);
    wait_for(c, &reply);
    return reply;
}

static struct reply multi(struct client *c, const struct zk_op *ops, int32_t count)
{
    struct reply reply = {0};
    c->zk->ops->multi(c->zk, ops, count, on_reply, &reply);
    wait_for(c, &reply);
    return reply;
}

static void expect_events(struct client *c, const char *wanted)
{
    buf_put_byte(&c->events, 0);
    cr_assert_str_eq((const char *)c->events.data, wanted);
    buf_clear(&c->events);
}

/* ---- The suite. */

static void case_nodes(struct world *w)
{
    struct client *c = client_new(w);
    cr_assert_eq(get(c, "/a", false).err, ERR_NOT_FOUND);
    cr_assert_eq(create(c, "/a/b", "x", 0).err, ERR_NOT_FOUND);
    struct reply made = create(c, "/a", "one", 0);
    cr_assert_eq(made.err, ERR_OK);
    cr_assert_str_eq(made.path, "/a");
    cr_assert_eq(create(c, "/a", "two", 0).err, ERR_EXISTS);
    struct reply got = get(c, "/a", false);
    cr_assert_str_eq(got.data, "one");
    cr_assert_eq(got.stat.version, 0);
    cr_assert_eq(got.stat.ephemeral_owner, 0);
    cr_assert_eq(set(c, "/a", "two", 5).err, ERR_ZK_BAD_VERSION);
    struct reply changed = set(c, "/a", "two", 0);
    cr_assert_eq(changed.err, ERR_OK);
    cr_assert_eq(changed.stat.version, 1);
    cr_assert_eq(changed.stat.czxid, got.stat.czxid);
    cr_assert_gt(changed.stat.mzxid, got.stat.mzxid);
    cr_assert_eq(create(c, "/a/b", NULL, 0).err, ERR_OK);
    cr_assert_eq(erase(c, "/a", -1).err, ERR_ZK_NOT_EMPTY);
    cr_assert_eq(erase(c, "/a/b", 7).err, ERR_ZK_BAD_VERSION);
    cr_assert_eq(erase(c, "/a/b", 0).err, ERR_OK);
    cr_assert_eq(erase(c, "/a", 1).err, ERR_OK);
    cr_assert_eq(erase(c, "/a", -1).err, ERR_NOT_FOUND);
}

/* Kafka writes nodes without data: null is not the same as empty. */
static void case_null_data(struct world *w)
{
    struct client *c = client_new(w);
    struct zk_op ops[] = {
        {ZK_OP_CREATE, "/multi", {NULL, 0}, 0, 0},
        {ZK_OP_CREATE, "/multi-empty", {(const uint8_t *)"", 0}, 0, 0},
    };
    create(c, "/null", NULL, 0);
    create(c, "/empty", "", 0);
    cr_assert_eq(multi(c, ops, 2).err, ERR_OK);
    cr_assert(get(c, "/null", false).null);
    cr_assert(!get(c, "/empty", false).null);
    cr_assert(get(c, "/multi", false).null);
    cr_assert(!get(c, "/multi-empty", false).null);
    set(c, "/empty", NULL, -1);
    cr_assert(get(c, "/empty", false).null);
}

static void case_children(struct world *w)
{
    struct client *c = client_new(w);
    cr_assert_eq(children(c, "/p", false).err, ERR_NOT_FOUND);
    create(c, "/p", NULL, 0);
    cr_assert_str_eq(children(c, "/p", false).children, "");
    create(c, "/p/b", NULL, 0);
    create(c, "/p/a", NULL, 0);
    create(c, "/p/a/deep", NULL, 0);
    create(c, "/p/c", NULL, 0);
    cr_assert_str_eq(children(c, "/p", false).children, "a,b,c");
    cr_assert_eq(exists(c, "/p", false).stat.children_count, 3);
}

static void case_sequence(struct world *w)
{
    struct client *c = client_new(w);
    create(c, "/s", NULL, 0);
    cr_assert_str_eq(create(c, "/s/n_", NULL, ZK_SEQUENCE).path, "/s/n_0000000000");
    create(c, "/s/plain", NULL, 0);
    erase(c, "/s/plain", -1);
    cr_assert_str_eq(create(c, "/s/n_", NULL, ZK_SEQUENCE).path, "/s/n_0000000002");
    struct zk_op op = {ZK_OP_CREATE, "/s/m_", {NULL, 0}, 0, ZK_SEQUENCE};
    cr_assert_str_eq(multi(c, &op, 1).path, "/s/m_0000000003");
}

static void case_ephemeral(struct world *w)
{
    struct client *a = client_new(w);
    struct client *b = client_new(w);
    cr_assert_neq(a->zk->ops->session_id(a->zk), b->zk->ops->session_id(b->zk));
    cr_assert_gt(a->zk->ops->session_timeout_ms(a->zk), 0);
    create(a, "/e", "mine", ZK_EPHEMERAL);
    struct reply seen = exists(b, "/e", true);
    cr_assert_eq(seen.stat.ephemeral_owner, a->zk->ops->session_id(a->zk));
    cr_assert_eq(create(a, "/e/child", NULL, 0).err, ERR_ZK_OTHER);
    client_close(a);
    /* close() waits for the server, so b, asking after it, cannot see the node any more. */
    cr_assert_eq(exists(b, "/e", false).err, ERR_NOT_FOUND);
    expect_events(b, "deleted /e;");
}

static void case_multi(struct world *w)
{
    struct client *c = client_new(w);
    struct zk_op good[] = {
        {ZK_OP_CREATE, "/m", text("1"), 0, 0},   {ZK_OP_SET, "/m", text("2"), 0, 0},
        {ZK_OP_CREATE, "/m/k", {NULL, 0}, 0, 0}, {ZK_OP_CHECK, "/m", {NULL, 0}, 1, 0},
        {ZK_OP_SET, "/m/k", text("x"), 0, 0},
    };
    struct reply done = multi(c, good, 5);
    cr_assert_eq(done.err, ERR_OK);
    /* Everything in one transaction: the last SET tells the czxid of a node made in it. */
    cr_assert_eq(done.last.czxid, get(c, "/m", false).stat.czxid);
    cr_assert_eq(done.last.version, 1);
    cr_assert_str_eq(get(c, "/m", false).data, "2");
    struct zk_op bad[] = {
        {ZK_OP_SET, "/m", text("3"), -1, 0},
        {ZK_OP_DELETE, "/m/k", {NULL, 0}, -1, 0},
        {ZK_OP_CHECK, "/m", {NULL, 0}, 77, 0},
        {ZK_OP_CREATE, "/n", {NULL, 0}, 0, 0},
    };
    done = multi(c, bad, 4);
    cr_assert_eq(done.err, ERR_ZK_BAD_VERSION);
    char wanted[256];
    snprintf(wanted, sizeof(wanted), "%s,%s,%s,%s", err_text(ERR_OK), err_text(ERR_OK),
             err_text(ERR_ZK_BAD_VERSION), err_text(ERR_ZK_OTHER));
    cr_assert_str_eq(done.results, wanted);
    cr_assert_str_eq(get(c, "/m", false).data, "2");
    cr_assert_eq(exists(c, "/m/k", false).err, ERR_OK);
    cr_assert_eq(exists(c, "/n", false).err, ERR_NOT_FOUND);
    struct zk_op missing[] = {
        {ZK_OP_CHECK, "/nowhere", {NULL, 0}, 0, 0},
        {ZK_OP_CREATE, "/n", {NULL, 0}, 0, 0},
    };
    cr_assert_eq(multi(c, missing, 2).err, ERR_NOT_FOUND);
    struct zk_op exists_already[] = {{ZK_OP_CREATE, "/m", {NULL, 0}, 0, 0}};
    cr_assert_eq(multi(c, exists_already, 1).err, ERR_EXISTS);
}

static void case_data_watch(struct world *w)
{
    struct client *a = client_new(w);
    struct client *b = client_new(w);
    create(a, "/w", "0", 0);
    get(b, "/w", true);
    set(a, "/w", "1", -1);
    set(a, "/w", "2", -1);
    /* The event comes before any result that shows the change, and only once. */
    cr_assert_str_eq(get(b, "/w", false).data, "2");
    expect_events(b, "changed /w;");
    exists(b, "/w", true);
    erase(a, "/w", -1);
    cr_assert_eq(get(b, "/w", true).err, ERR_NOT_FOUND);
    expect_events(b, "deleted /w;");
    /* get() of a missing node sets no watch, exists() does. */
    create(a, "/w", "3", 0);
    get(b, "/w", false);
    expect_events(b, "");
    erase(a, "/w", -1);
    cr_assert_eq(exists(b, "/w", true).err, ERR_NOT_FOUND);
    create(a, "/w", "4", 0);
    get(b, "/w", false);
    expect_events(b, "created /w;");
}

static void case_child_watch(struct world *w)
{
    struct client *a = client_new(w);
    struct client *b = client_new(w);
    create(a, "/d", NULL, 0);
    children(b, "/d", true);
    set(a, "/d", "data is not children", -1);
    create(a, "/d/1", NULL, 0);
    create(a, "/d/2", NULL, 0);
    cr_assert_str_eq(children(b, "/d", true).children, "1,2");
    expect_events(b, "children /d;");
    set(a, "/d/1", "x", -1);
    erase(a, "/d/1", -1);
    cr_assert_str_eq(children(b, "/d", false).children, "2");
    expect_events(b, "children /d;");
    erase(a, "/d/2", -1);
    /* A node watched for data and for children goes with one event. */
    children(b, "/d", true);
    get(b, "/d", true);
    erase(a, "/d", -1);
    exists(b, "/d", false);
    expect_events(b, "deleted /d;");
}

/* A multi fires the watches of all it changed, and none when it fails. */
static void case_multi_watch(struct world *w)
{
    struct client *a = client_new(w);
    create(a, "/x", NULL, 0);
    children(a, "/x", true);
    get(a, "/x", true);
    struct zk_op bad[] = {{ZK_OP_CREATE, "/x/1", {NULL, 0}, 0, 0},
                          {ZK_OP_CHECK, "/x", {NULL, 0}, 9, 0}};
    multi(a, bad, 2);
    expect_events(a, "");
    struct zk_op good[] = {{ZK_OP_CREATE, "/x/1", {NULL, 0}, 0, 0},
                           {ZK_OP_SET, "/x", text("v"), -1, 0}};
    multi(a, good, 2);
    exists(a, "/x", false);
    expect_events(a, "children /x;changed /x;");
}

/* Many operations under way at once are answered in their order. */
static void case_order(struct world *w)
{
    enum { COUNT = 20 };
    struct client *c = client_new(w);
    struct reply replies[COUNT] = {{0}};
    struct buf order = {0};
    create(c, "/o", NULL, 0);
    for (int i = 0; i < COUNT; i++) {
        replies[i].order = &order;
        replies[i].mark = (char)('a' + i);
        if (i % 2 == 0) {
            c->zk->ops->set(c->zk, "/o", text("v"), i / 2, on_reply, &replies[i]);
        } else {
            c->zk->ops->get(c->zk, "/o", false, on_reply, &replies[i]);
        }
    }
    wait_for(c, &replies[COUNT - 1]);
    buf_put_byte(&order, 0);
    cr_assert_str_eq((const char *)order.data, "abcdefghijklmnopqrst");
    cr_assert_eq(replies[COUNT - 1].stat.version, COUNT / 2);
    buf_fini(&order);
}

/* close() answers what is under way with ERR_CLOSED before it returns. */
static void case_close(struct world *w)
{
    struct client *c = client_new(w);
    struct reply reply = {0};
    c->zk->ops->get(c->zk, "/", false, on_reply, &reply);
    client_close(c);
    cr_assert(reply.done);
    cr_assert_eq(reply.err, ERR_CLOSED);
}

/* Calls of zk_calls end exactly once, with and without a session. */
static void on_call(void *arg, const struct zk_result *result, bool repeated)
{
    struct reply *reply = arg;
    cr_assert(!reply->done);
    on_reply(reply, result);
    reply->mark = repeated ? 'r' : 'f';
}

static void case_calls(struct world *w)
{
    struct client *c = client_new(w);
    struct zk_calls calls;
    struct reply refused = {0}, made = {0}, dropped = {0};
    zk_calls_init(&calls, w->loop);
    zk_calls_get(&calls, "/k", false, on_call, &refused);
    cr_assert(!refused.done);
    wait_for(c, &refused);
    cr_assert_eq(refused.err, ERR_ZK_SESSION_EXPIRED);
    zk_calls_set_session(&calls, c->zk);
    zk_calls_create(&calls, "/k", text("v"), 0, on_call, &made);
    wait_for(c, &made);
    cr_assert_eq(made.err, ERR_OK);
    cr_assert_eq(made.mark, 'f');
    zk_calls_get(&calls, "/k", false, on_call, &dropped);
    zk_calls_fini(&calls);
    cr_assert_str_eq(get(c, "/k", false).data, "v");
    cr_assert(!dropped.done);
}

/* Many nodes at once: so few that they are read one by one, and more than go into one packet. */
struct many {
    bool done;
    enum err err;
    struct buf text; /* "v0(0) v1(1) -", data and version; '-' for no node, '0' for no data */
};

static void on_many(void *arg, const struct zk_result *result)
{
    struct many *many = arg;
    many->done = true;
    many->err = result->err;
    buf_clear(&many->text);
    for (int32_t i = 0; i < result->reads_count; i++) {
        const struct zk_read *read = &result->reads[i];
        if (read->err == ERR_NOT_FOUND) {
            buf_printf(&many->text, "- ");
        } else if (read->data.data == NULL) {
            buf_printf(&many->text, "0 ");
        } else {
            cr_assert_eq(read->err, ERR_OK);
            cr_assert_geq(read->stat.mzxid, read->stat.czxid);
            buf_printf(&many->text, "%.*s(%d) ", (int)read->data.size,
                       (const char *)read->data.data, read->stat.version);
        }
    }
}

/* Every third of them is not there. */
static bool is_missing(int32_t i)
{
    return i % 3 == 2;
}

static void expect_many(struct client *c, int32_t count, int32_t version)
{
    struct arena arena = {0};
    struct many many = {0};
    struct buf wanted = {0};
    const char **paths = arena_array(&arena, const char *, (size_t)count + 2);
    for (int32_t i = 0; i < count; i++) {
        paths[i] = arena_printf(&arena, "/many/n%d", i);
        if (is_missing(i)) {
            buf_printf(&wanted, "- ");
        } else {
            buf_printf(&wanted, "v%d(%d) ", i, version);
        }
    }
    paths[count] = "/many";
    paths[count + 1] = "/";
    buf_put_text(&wanted, "0 ");
    c->zk->ops->get_many(c->zk, paths, count + 1, on_many, &many);
    run_until(c->world, flag_set, &many.done);
    cr_assert_eq(many.err, ERR_OK);
    buf_put_byte(&wanted, 0);
    buf_put_byte(&many.text, 0);
    cr_assert_str_eq((char *)many.text.data, (char *)wanted.data);
    many.done = false;
    c->zk->ops->get_many(c->zk, &paths[count + 1], 1, on_many, &many);
    run_until(c->world, flag_set, &many.done);
    cr_assert_eq(many.err, ERR_OK);
    buf_fini(&wanted);
    buf_fini(&many.text);
    arena_fini(&arena);
}

static void case_many(struct world *w)
{
    enum { FEW = 5, MANY = 1100 };
    struct client *c = client_new(w);
    char path[32];
    char data[32];
    create(c, "/many", NULL, 0);
    for (int32_t i = 0; i < MANY; i++) {
        snprintf(path, sizeof(path), "/many/n%d", i);
        snprintf(data, sizeof(data), "v%d", i);
        if (!is_missing(i)) {
            cr_assert_eq(create(c, path, data, 0).err, ERR_OK);
        }
    }
    expect_many(c, FEW, 0);
    expect_many(c, MANY, 0);
    for (int32_t i = 0; i < MANY; i++) {
        snprintf(path, sizeof(path), "/many/n%d", i);
        snprintf(data, sizeof(data), "v%d", i);
        if (!is_missing(i)) {
            cr_assert_eq(set(c, path, data, -1).err, ERR_OK);
        }
    }
    expect_many(c, MANY, 1); /* on whatever connection, not older than what we have been told */
    expect_many(c, FEW, 1);
    struct many cut = {0};
    const char *root = "/";
    c->zk->ops->get_many(c->zk, &root, 1, on_many, &cut);
    client_close(c);
    cr_assert(cut.done);
    cr_assert_eq(cut.err, ERR_CLOSED);
}

typedef void case_fn(struct world *w);

static const struct {
    const char *name;
    case_fn *fn;
} cases[] = {
    {"nodes", case_nodes},
    {"null data", case_null_data},
    {"children", case_children},
    {"sequence", case_sequence},
    {"ephemeral", case_ephemeral},
    {"multi", case_multi},
    {"data watch", case_data_watch},
    {"child watch", case_child_watch},
    {"multi watch", case_multi_watch},
    {"order", case_order},
    {"close", case_close},
    {"calls", case_calls},
    {"many", case_many},
};

enum { CASES_COUNT = sizeof(cases) / sizeof(cases[0]) };

/* The ZooKeeper in memory keeps the promises of zk.h, with and without a chroot. */
Test(zk_mem, behaves_like_zookeeper)
{
    for (int i = 0; i < 2 * CASES_COUNT; i++) {
        struct clock_manual clock;
        clock_manual_init(&clock, 1000);
        struct world w = {.loop = loop_new("test", -1, &clock.clock)};
        w.mem = zk_mem_new(&clock.clock, 1);
        w.factory = zk_mem_factory(w.mem);
        snprintf(w.connect, sizeof(w.connect), "mem%s", i % 2 == 0 ? "" : "/ch/root");
        cases[i / 2].fn(&w);
        world_fini(&w);
        cr_assert_eq(zk_mem_sessions(w.mem), 0);
        loop_free(w.loop);
        zk_mem_free(w.mem);
    }
}

/* The client of libzookeeper keeps the same promises with a real server; each case has a chroot of
 * its own, which must be made. */
Test(zk_client, behaves_like_zk_mem)
{
    struct zk_server server;
    if (zk_server_missing() != NULL) {
        cr_skip_test("zk_client against a server: %s", zk_server_missing());
    }
    cr_assert(zk_server_start(&server));
    struct loop *loop = loop_new("test", -1, clock_system());
    for (int i = 0; i < CASES_COUNT; i++) {
        struct world w = {.loop = loop, .factory = zk_client_factory()};
        snprintf(w.connect, sizeof(w.connect), "127.0.0.1:%d/case/%d", server.port, i);
        cases[i].fn(&w);
        world_fini(&w);
    }
    loop_free(loop);
    zk_server_stop(&server);
}

/* A request that ZooKeeper does not take, a topic of 50,000 partitions with three replicas each for
 * one: it ends the connection instead of answering. The call was repeated for ever, and each time
 * whatever else was under way was lost with it. */
Test(zk_client, a_call_that_is_too_large_for_the_server_is_given_up)
{
    enum { HUGE_BYTES = 1250 * 1000 };
    struct zk_server server;
    if (zk_server_missing() != NULL) {
        cr_skip_test("zk_client against a server: %s", zk_server_missing());
    }
    cr_assert(zk_server_start(&server));
    struct world w = {.loop = loop_new("test", -1, clock_system()), .factory = zk_client_factory()};
    snprintf(w.connect, sizeof(w.connect), "127.0.0.1:%d", server.port);
    struct client *c = client_new(&w);
    struct zk_calls calls;
    uint8_t *bytes = mem_zalloc(HUGE_BYTES, 1);
    struct zk_op step = {ZK_OP_CREATE, "/huge", {bytes, HUGE_BYTES}, 0, ZK_PERSISTENT};
    struct reply huge = {0}, after = {0};
    zk_calls_init(&calls, w.loop);
    zk_calls_set_session(&calls, c->zk);
    zk_calls_multi(&calls, &step, 1, on_call, &huge);
    wait_for(c, &huge);
    cr_assert_eq(huge.err, ERR_ZK_OTHER);
    cr_assert_eq(huge.mark, 'r');
    zk_calls_exists(&calls, "/huge", false, on_call, &after);
    wait_for(c, &after);
    cr_assert_eq(after.err, ERR_NOT_FOUND);
    zk_calls_fini(&calls);
    mem_free(bytes);
    world_fini(&w);
    loop_free(w.loop);
    zk_server_stop(&server);
}

/* A server that goes away and comes back: operations fail meanwhile, the session, its ephemerals
 * and its watches live on. One that comes back without its memory: the session has expired. */
Test(zk_client, session_survives_a_restart_of_the_server)
{
    struct zk_server server;
    if (zk_server_missing() != NULL) {
        cr_skip_test("zk_client against a server: %s", zk_server_missing());
    }
    cr_assert(zk_server_start(&server));
    struct world w = {.loop = loop_new("test", -1, clock_system()), .factory = zk_client_factory()};
    snprintf(w.connect, sizeof(w.connect), "127.0.0.1:%d", server.port);
    struct client *c = client_new(&w);
    int64_t id = c->zk->ops->session_id(c->zk);
    create(c, "/e", NULL, ZK_EPHEMERAL);
    exists(c, "/later", true);
    zk_server_kill(&server);
    run_until(&w, flag_set, &c->disconnected);
    cr_assert_eq(get(c, "/e", false).err, ERR_ZK_CONNECTION_LOSS);
    cr_assert(zk_server_restart(&server));
    run_until(&w, flag_set, &c->connected);
    cr_assert_eq(c->zk->ops->session_id(c->zk), id);
    cr_assert_eq(get(c, "/e", false).stat.ephemeral_owner, id);
    create(c, "/later", NULL, 0);
    get(c, "/later", false);
    expect_events(c, "created /later;");
    world_fini(&w);
    loop_free(w.loop);
    zk_server_stop(&server);
}

static bool time_passed(void *arg)
{
    return clock_mono_ms(clock_system()) >= *(int64_t *)arg;
}

static bool expired_or_connected(void *arg)
{
    struct client *client = arg;
    return client->expired || client->connected;
}

/* A server that stands still for longer than the session timeout ends the session when it goes on,
 * unless the client is quicker: then once more. The client hears of it, and all that follows fails.
 */
Test(zk_client, hears_of_expiry)
{
    enum { TRIES_MAX = 5, STILL_MAX_MS = 10000 };
    struct zk_server server;
    if (zk_server_missing() != NULL) {
        cr_skip_test("zk_client against a server: %s", zk_server_missing());
    }
    cr_assert(zk_server_start(&server));
    struct world w = {.loop = loop_new("test", -1, clock_system()), .factory = zk_client_factory()};
    snprintf(w.connect, sizeof(w.connect), "127.0.0.1:%d", server.port);
    struct client *c = client_new(&w);
    int64_t still_ms = c->zk->ops->session_timeout_ms(c->zk) * 2;
    cr_assert_lt(still_ms, STILL_MAX_MS);
    for (int i = 0; i < TRIES_MAX && !c->expired; i++) {
        int64_t until_ms = clock_mono_ms(clock_system()) + still_ms;
        cr_assert_eq(kill(server.pid, SIGSTOP), 0);
        run_until(&w, time_passed, &until_ms);
        cr_assert(!c->connected);
        cr_assert_eq(kill(server.pid, SIGCONT), 0);
        run_until(&w, expired_or_connected, c);
    }
    cr_assert(c->expired);
    cr_assert_eq(get(c, "/e", false).err, ERR_ZK_SESSION_EXPIRED);
    world_fini(&w);
    loop_free(w.loop);
    zk_server_stop(&server);
}

/* Several steps at once are asked for when the library knows that the session is over and we have
 * not heard it yet, as after a SIGSTOP. The library, which then frees what is not its own (3.8.0,
 * zoo_amulti), must not be asked. Found by tests/faults: the broker's memory was corrupt. */
Test(zk_client, asks_for_nothing_in_a_session_that_is_over)
{
    enum { ASKED_MAX = 1000, PAUSE_MS = 10, TRIES_MAX = 5 };
    static struct reply replies[ASKED_MAX];
    struct zk_server server;
    if (zk_server_missing() != NULL) {
        cr_skip_test("zk_client against a server: %s", zk_server_missing());
    }
    cr_assert(zk_server_start(&server));
    struct world w = {.loop = loop_new("test", -1, clock_system()), .factory = zk_client_factory()};
    snprintf(w.connect, sizeof(w.connect), "127.0.0.1:%d", server.port);
    struct client *c = client_new(&w);
    int64_t still_ms = c->zk->ops->session_timeout_ms(c->zk) * 2;
    int asked = 0;
    for (int i = 0; i < TRIES_MAX && !c->expired; i++) {
        int64_t on_ms = clock_mono_ms(clock_system()) + still_ms, next_ms = on_ms;
        cr_assert_eq(kill(server.pid, SIGSTOP), 0);
        while (!time_passed(&on_ms)) { /* and the loop does not turn */
            sched_yield();
        }
        cr_assert_eq(kill(server.pid, SIGCONT), 0);
        for (int k = 0; k < ASKED_MAX / TRIES_MAX; k++) {
            const struct zk_op steps[] = {{.kind = ZK_OP_CHECK, .path = "/brokers", .version = -1},
                                          {.kind = ZK_OP_DELETE, .path = "/a", .version = -1},
                                          {.kind = ZK_OP_DELETE, .path = "/b", .version = -1}};
            c->zk->ops->multi(c->zk, steps, 3, on_reply, &replies[asked++]);
            for (next_ms += PAUSE_MS; !time_passed(&next_ms); sched_yield()) {
            }
        }
        for (int k = 0; k < asked; k++) {
            run_until(&w, flag_set, &replies[k].done);
        }
    }
    cr_assert(c->expired);
    world_fini(&w);
    loop_free(w.loop);
    zk_server_stop(&server);
}

/* A server that is not there: opening does not fail or block, and closing does not either. */
Test(zk_client, opens_and_closes_without_a_server)
{
    struct world w = {.loop = loop_new("test", -1, clock_system()), .factory = zk_client_factory()};
    static const struct zk_events events = {on_session, on_watch};
    struct client *c = &w.clients[0];
    struct reply reply = {0};
    c->world = &w;
    c->zk =
        w.factory->open(w.factory, w.loop, "127.0.0.1:1/chroot", SESSION_TIMEOUT_MS, &events, c);
    c->zk->ops->get(c->zk, "/", false, on_reply, &reply);
    wait_for(c, &reply);
    cr_assert_eq(reply.err, ERR_ZK_CONNECTION_LOSS);
    cr_assert(!c->connected);
    c->zk->ops->close(c->zk);
    while (loop_turn(w.loop)) {
    }
    loop_free(w.loop);
}

/* ---- Faults, which only the memory can have. */

static void mem_world(struct world *w, struct clock_manual *clock)
{
    clock_manual_init(clock, 1000);
    *w = (struct world){.loop = loop_new("test", -1, &clock->clock), .connect = "mem"};
    w->mem = zk_mem_new(&clock->clock, 1);
    w->factory = zk_mem_factory(w->mem);
}

static void mem_world_fini(struct world *w)
{
    world_fini(w);
    zk_mem_tick(w->mem);
    loop_free(w->loop);
    zk_mem_free(w->mem);
}

/* A lost reply leaves the operation done, a lost request leaves it undone; the caller cannot tell.
 */
Test(zk_mem_faults, lost_replies_and_lost_requests)
{
    struct clock_manual clock;
    struct world w;
    mem_world(&w, &clock);
    struct client *c = client_new(&w);
    int64_t id = c->zk->ops->session_id(c->zk);
    zk_mem_lose(w.mem, id, ZK_MEM_LOSE_REPLY, 0);
    cr_assert_eq(create(c, "/a", NULL, 0).err, ERR_ZK_CONNECTION_LOSS);
    cr_assert_eq(create(c, "/a", NULL, 0).err, ERR_EXISTS);
    zk_mem_lose(w.mem, id, ZK_MEM_LOSE_REQUEST, 1);
    cr_assert_eq(exists(c, "/a", false).err, ERR_OK);
    cr_assert_eq(create(c, "/b", NULL, 0).err, ERR_ZK_CONNECTION_LOSS);
    cr_assert_eq(create(c, "/b", NULL, 0).err, ERR_OK);
    mem_world_fini(&w);
}

/* zk_calls repeats what was lost, and says so. */
Test(zk_mem_faults, calls_are_repeated_until_the_answer_is_known)
{
    struct clock_manual clock;
    struct world w;
    mem_world(&w, &clock);
    struct client *c = client_new(&w);
    struct zk_calls calls;
    struct reply made = {0};
    zk_calls_init(&calls, w.loop);
    zk_calls_set_session(&calls, c->zk);
    zk_mem_lose(w.mem, c->zk->ops->session_id(c->zk), ZK_MEM_LOSE_REPLY, 0);
    zk_calls_create(&calls, "/a", text("v"), 0, on_call, &made);
    while (loop_turn(w.loop)) {
    }
    cr_assert(!made.done);
    clock_manual_advance(&clock, (int64_t)(ZK_CALLS_RETRY_MS + 20) * 1000000);
    wait_for(c, &made);
    cr_assert_eq(made.err, ERR_EXISTS);
    cr_assert_eq(made.mark, 'r');
    zk_calls_fini(&calls);
    mem_world_fini(&w);
}

/* Only what the server may have refused for its size is given up, and not at the first loss: the
 * limit is the server's to set. */
Test(zk_mem_faults, only_a_large_call_is_given_up)
{
    enum { LARGE_BYTES = ZK_CALLS_LARGE_BYTES + 1 };
    struct clock_manual clock;
    struct world w;
    mem_world(&w, &clock);
    struct client *c = client_new(&w);
    struct zk_calls calls;
    struct reply small = {0}, large = {0};
    uint8_t *bytes = mem_zalloc(LARGE_BYTES, 1);
    zk_calls_init(&calls, w.loop);
    zk_calls_set_session(&calls, c->zk);
    zk_mem_set_loss_rate(w.mem, 1);
    zk_calls_create(&calls, "/small", text("v"), 0, on_call, &small);
    zk_calls_create(&calls, "/large", (struct bytes){bytes, LARGE_BYTES}, 0, on_call, &large);
    for (int i = 0; i < 2 * ZK_CALLS_LARGE_TRIES; i++) {
        cr_assert_eq(large.done, i >= ZK_CALLS_LARGE_TRIES);
        while (loop_turn(w.loop)) {
        }
        clock_manual_advance(&clock, (int64_t)(ZK_CALLS_RETRY_MS + 20) * 1000000);
    }
    cr_assert_eq(large.err, ERR_ZK_OTHER);
    cr_assert(!small.done);
    zk_calls_fini(&calls);
    mem_free(bytes);
    mem_world_fini(&w);
}

/* A disconnected session loses results but not watches, keeps its ephemerals for the timeout, and
 * hears of its end only when it is back. */
Test(zk_mem_faults, disconnection_and_expiry)
{
    struct clock_manual clock;
    struct world w;
    mem_world(&w, &clock);
    struct client *a = client_new(&w);
    struct client *b = client_new(&w);
    int64_t id = a->zk->ops->session_id(a->zk);
    struct reply lost = {0};
    create(a, "/e", NULL, ZK_EPHEMERAL);
    exists(a, "/w", true);
    exists(b, "/e", true);
    a->zk->ops->create(a->zk, "/done", (struct bytes){NULL, 0}, 0, on_reply, &lost);
    zk_mem_disconnect(w.mem, id);
    wait_for(a, &lost);
    cr_assert_eq(lost.err, ERR_ZK_CONNECTION_LOSS);
    cr_assert_eq(exists(b, "/done", false).err, ERR_OK);
    cr_assert(a->disconnected);
    create(b, "/w", NULL, 0);
    zk_mem_tick(w.mem);
    zk_mem_reconnect(w.mem, id);
    run_until(&w, flag_set, &a->connected);
    exists(a, "/w", false);
    expect_events(a, "created /w;");
    zk_mem_disconnect(w.mem, id);
    clock_manual_advance(&clock, (int64_t)SESSION_TIMEOUT_MS * 1000000);
    zk_mem_tick(w.mem);
    cr_assert_eq(exists(b, "/e", false).err, ERR_NOT_FOUND);
    expect_events(b, "deleted /e;");
    cr_assert_eq(exists(a, "/w", false).err, ERR_ZK_CONNECTION_LOSS);
    cr_assert(!a->expired);
    zk_mem_reconnect(w.mem, id);
    run_until(&w, flag_set, &a->expired);
    cr_assert_eq(exists(a, "/w", false).err, ERR_ZK_SESSION_EXPIRED);
    mem_world_fini(&w);
}

/* The dump is sorted text, for assertions. */
Test(zk_mem_faults, dump_and_poke)
{
    struct clock_manual clock;
    struct world w;
    mem_world(&w, &clock);
    struct client *c = client_new(&w);
    struct buf out = {0};
    children(c, "/", true);
    zk_mem_poke(w.mem, "/a/b", "{}");
    create(c, "/a/a", NULL, ZK_EPHEMERAL);
    expect_events(c, "children /;");
    zk_mem_dump(w.mem, "/a", &out);
    buf_put_byte(&out, 0);
    cr_assert_str_eq((const char *)out.data,
                     "/a = null (v0)\n/a/a = null (v0) (ephemeral)\n/a/b = {} (v0)\n");
    buf_fini(&out);
    zk_mem_poke_remove(w.mem, "/a/b");
    cr_assert(!zk_mem_peek(w.mem, "/a/b", NULL, NULL));
    mem_world_fini(&w);
}
