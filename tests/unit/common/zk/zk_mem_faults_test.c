/* Faults, which only the ZooKeeper in memory can have, and what zk_calls makes of them. */
#include "zk_suite_fixture.h"

/* So long that what zk_calls repeats is asked for again. */
static void pass_retry(struct world *w)
{
    mem_world_pass(w, ZK_CALLS_RETRY_MS + 20);
}

static void turn(struct world *w)
{
    while (loop_turn(w->loop)) {
    }
}

/* A lost reply leaves the operation done, a lost request leaves it undone; the caller cannot tell.
 */
Test(zk_mem_faults, lost_replies_and_lost_requests)
{
    struct world w;
    mem_world_init(&w, "mem");
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
    struct world w;
    mem_world_init(&w, "mem");
    struct client *c = client_new(&w);
    struct zk_calls calls;
    struct reply made = {0};
    zk_calls_init(&calls, w.loop);
    zk_calls_set_session(&calls, c->zk);
    zk_mem_lose(w.mem, c->zk->ops->session_id(c->zk), ZK_MEM_LOSE_REPLY, 0);
    zk_calls_create(&calls, "/a", text("v"), 0, on_call, &made);
    turn(&w);
    cr_assert(!made.done);
    pass_retry(&w);
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
    struct world w;
    mem_world_init(&w, "mem");
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
        turn(&w);
        pass_retry(&w);
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
    struct world w;
    mem_world_init(&w, "mem");
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
    mem_world_pass(&w, SESSION_TIMEOUT_MS);
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
    struct world w;
    mem_world_init(&w, "mem");
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

/* A change that might hit what somebody else has made meanwhile: the caller is told, and looks. */
Test(zk_mem_faults, a_change_that_is_asked_for_once_is_not_repeated)
{
    for (int loss = ZK_MEM_LOSE_REPLY; loss <= ZK_MEM_LOSE_REQUEST; loss++) {
        struct world w;
        mem_world_init(&w, "mem");
        struct client *c = client_new(&w);
        struct zk_calls calls;
        struct zk_op step = {ZK_OP_CREATE, "/a", text("v"), 0, ZK_PERSISTENT};
        struct reply made = {0};
        zk_calls_init(&calls, w.loop);
        zk_calls_set_session(&calls, c->zk);
        zk_mem_lose(w.mem, c->zk->ops->session_id(c->zk), (enum zk_mem_loss)loss, 0);
        zk_calls_once(&calls, &step, on_call, &made);
        wait_for(c, &made);
        cr_assert_eq(made.err, ERR_ZK_CONNECTION_LOSS);
        pass_retry(&w);
        turn(&w);
        cr_assert_eq(exists(c, "/a", false).err,
                     loss == ZK_MEM_LOSE_REPLY ? ERR_OK : ERR_NOT_FOUND);
        zk_calls_fini(&calls);
        mem_world_fini(&w);
    }
}
