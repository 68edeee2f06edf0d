/* The client over libzookeeper where the server goes away, stands still, refuses, or is not there.
 */
#include <poll.h>
#include <zookeeper/zookeeper.h>

#include "support/zk_server.h"
#include "zk_suite_fixture.h"

/* Skips the test where no server can be started. */
static void server_world_init(struct world *w, struct zk_server *server)
{
    if (zk_server_missing() != NULL) {
        cr_skip_test("zk_client against a server: %s", zk_server_missing());
    }
    cr_assert(zk_server_start(server));
    *w = (struct world){.loop = loop_new("test", -1, clock_system()),
                        .factory = zk_client_factory()};
    snprintf(w->connect, sizeof(w->connect), "127.0.0.1:%d", server->port);
}

static void server_world_fini(struct world *w, struct zk_server *server)
{
    world_fini(w);
    loop_free(w->loop);
    zk_server_stop(server);
}

/* A request that ZooKeeper does not take, a topic of 50,000 partitions with three replicas each for
 * one: it ends the connection instead of answering. The call was repeated for ever, and each time
 * whatever else was under way was lost with it. */
Test(zk_client, a_call_that_is_too_large_for_the_server_is_given_up)
{
    enum { HUGE_BYTES = 1250 * 1000 };
    struct zk_server server;
    struct world w;
    server_world_init(&w, &server);
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
    server_world_fini(&w, &server);
}

/* A server that goes away and comes back: operations fail meanwhile, the session, its ephemerals
 * and its watches live on. One that comes back without its memory: the session has expired. */
Test(zk_client, session_survives_a_restart_of_the_server)
{
    struct zk_server server;
    struct world w;
    server_world_init(&w, &server);
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
    server_world_fini(&w, &server);
}

/* Another server, as it were, on the same port: it knows no session, and has seen more than anybody
 * who comes from the one before. Those who wait for it turn a loop of their own. */
static void replace_by_a_newer_one(struct world *w, struct zk_server *server)
{
    enum { CHANGES = 5 };
    struct world other = {.loop = loop_new("other", -1, clock_system()), .factory = w->factory};
    snprintf(other.connect, sizeof(other.connect), "%s", w->connect);
    zk_server_kill(server);
    zk_server_forget(server);
    cr_assert(zk_server_restart(server));
    struct client *c = client_new(&other);
    for (int i = 0; i < CHANGES; i++) {
        char path[16];
        snprintf(path, sizeof(path), "/%d", i);
        cr_assert_eq(create(c, path, NULL, 0).err, ERR_OK);
    }
    world_fini(&other);
    loop_free(other.loop);
}

/* The client hears that its session is over, and all that follows fails. */
Test(zk_client, hears_of_expiry)
{
    struct zk_server server;
    struct world w;
    server_world_init(&w, &server);
    struct client *c = client_new(&w);
    replace_by_a_newer_one(&w, &server);
    run_until(&w, flag_set, &c->expired);
    cr_assert(!c->connected);
    cr_assert_eq(get(c, "/0", false).err, ERR_ZK_SESSION_EXPIRED);
    server_world_fini(&w, &server);
}

/* Several steps at once are asked for when the library knows that the session is over and we have
 * not heard it yet, as after a SIGSTOP. The library, which then frees what is not its own (3.8.0,
 * zoo_amulti), must not be asked. Found by tests/faults: the broker's memory was corrupt. */
Test(zk_client, asks_for_nothing_in_a_session_that_is_over)
{
    enum { ASKED_MAX = 500, PAUSE_MS = 10 };
    static struct reply replies[ASKED_MAX];
    struct zk_server server;
    struct world w;
    server_world_init(&w, &server);
    struct client *c = client_new(&w);
    replace_by_a_newer_one(&w, &server);
    for (int i = 0; i < ASKED_MAX; i++) { /* and the loop does not turn */
        const struct zk_op steps[] = {{.kind = ZK_OP_CHECK, .path = "/brokers", .version = -1},
                                      {.kind = ZK_OP_DELETE, .path = "/a", .version = -1},
                                      {.kind = ZK_OP_DELETE, .path = "/b", .version = -1}};
        c->zk->ops->multi(c->zk, steps, 3, on_reply, &replies[i]);
        poll(NULL, 0, PAUSE_MS);
    }
    for (int i = 0; i < ASKED_MAX; i++) {
        run_until(&w, flag_set, &replies[i].done);
        cr_assert_neq(replies[i].err, ERR_OK);
    }
    run_until(&w, flag_set, &c->expired);
    server_world_fini(&w, &server);
}

/* A controller watches every topic. When their paths did not fit into one of ZooKeeper's requests,
 * a connection that was lost never came back: the library sets all watches at once, ZooKeeper ends
 * the connection, and so on for ever, in a session that each of them renews. */
Test(zk_client, comes_back_with_more_watches_than_a_request_holds)
{
    enum { WATCHES = 1200, NAME_SIZE = 1000 };
    static struct reply replies[WATCHES];
    struct zk_server server;
    struct world w;
    server_world_init(&w, &server);
    struct client *c = client_new(&w);
    struct zk_calls calls;
    struct reply after = {0};
    for (int i = 0; i < WATCHES; i++) {
        char path[NAME_SIZE + 1];
        snprintf(path, sizeof(path), "/%0*d", NAME_SIZE - 1, i);
        c->zk->ops->exists(c->zk, path, true, on_reply, &replies[i]);
    }
    for (int i = 0; i < WATCHES; i++) {
        run_until(&w, flag_set, &replies[i].done);
        cr_assert_eq(replies[i].err, ERR_NOT_FOUND);
    }
    zk_server_kill(&server);
    run_until(&w, flag_set, &c->disconnected);
    cr_assert(zk_server_restart(&server));
    zk_calls_init(&calls, w.loop);
    zk_calls_set_session(&calls, c->zk);
    zk_calls_exists(&calls, "/", false, on_call, &after);
    wait_for(c, &after);
    cr_assert_eq(after.err, ERR_OK);
    buf_put_byte(&c->events, 0); /* whoever watches reads again */
    int told = 0;
    for (const char *at = (char *)c->events.data; (at = strstr(at, "changed /")) != NULL; at++) {
        told++;
    }
    cr_assert_eq(told, WATCHES);
    zk_calls_fini(&calls);
    server_world_fini(&w, &server);
}

static void hear_nothing(zhandle_t *handle, int type, int state, const char *path, void *context)
{
    (void)handle, (void)type, (void)state, (void)path, (void)context;
}

/* Where several use a ZooKeeper, each may be given a node in a folder that it may only read. A
 * broker wanted to make it nevertheless, for ever, and said that no ZooKeeper answers; Kafka's
 * looks whether it is there. */
Test(zk_client, works_in_a_chroot_that_it_could_not_have_made)
{
    struct zk_server server;
    struct world w;
    server_world_init(&w, &server);
    zoo_set_debug_level(ZOO_LOG_LEVEL_ERROR);
    zhandle_t *handle = zookeeper_init(w.connect, hear_nothing, SESSION_TIMEOUT_MS, NULL, NULL, 0);
    cr_assert_not_null(handle);
    int rc = zoo_create(handle, "/shared", NULL, -1, &ZOO_OPEN_ACL_UNSAFE, 0, NULL, 0);
    cr_assert_eq(rc, ZOK, "%s", zerror(rc));
    rc = zoo_create(handle, "/shared/kafka", NULL, -1, &ZOO_OPEN_ACL_UNSAFE, 0, NULL, 0);
    cr_assert_eq(rc, ZOK, "%s", zerror(rc));
    rc = zoo_set_acl(handle, "/shared", -1, &ZOO_READ_ACL_UNSAFE);
    cr_assert_eq(rc, ZOK, "%s", zerror(rc));
    cr_assert_eq(zoo_create(handle, "/shared/kafka", NULL, -1, &ZOO_OPEN_ACL_UNSAFE, 0, NULL, 0),
                 ZNOAUTH);
    snprintf(w.connect, sizeof(w.connect), "127.0.0.1:%d/shared/kafka", server.port);
    struct client *c = client_new(&w);
    cr_assert_eq(create(c, "/a", "1", 0).err, ERR_OK);
    struct Stat stat;
    rc = zoo_exists(handle, "/shared/kafka/a", 0, &stat);
    cr_assert_eq(rc, ZOK, "%s", zerror(rc));
    zookeeper_close(handle);
    server_world_fini(&w, &server);
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
