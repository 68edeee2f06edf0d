/* One suite of behaviour, run against the ZooKeeper in memory and, where a server can be started,
 * against a real one through libzookeeper: what the first promises must be what the second does. */
#include "support/zk_server.h"
#include "zk_suite_fixture.h"

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
    /* At once, not when the session would have come to its end. A real server is waited for, but
     * not for ever, so it may be on its way yet. */
    int64_t closed_ms = clock_mono_ms(clock_system());
    run_until(w, has_heard, b);
    cr_assert_lt(clock_mono_ms(clock_system()) - closed_ms, SESSION_TIMEOUT_MS);
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
        struct world w;
        mem_world_init(&w, i % 2 == 0 ? "mem" : "mem/ch/root");
        cases[i / 2].fn(&w);
        mem_world_fini(&w);
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
