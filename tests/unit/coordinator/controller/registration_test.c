/* How a broker enters the cluster, over a ZooKeeper in memory. */
#include "controller/registration.h"

#include "zk_fixture.h"
#include "znode/path.h"

enum { OPERATIONS_MAX = 40 };

static const char proposed[] = "abcdefghijklmnopqrstuv";
static const char another[] = "0123456789012345678901";

/* ---- Set-up and ids. */

struct setup_result {
    bool done;
    enum err err;
    char cluster_id[32];
    int32_t broker_id;
};

static void on_setup(void *arg, enum err err, struct str cluster_id, const char *text)
{
    struct setup_result *r = arg;
    cr_assert(!r->done, "told twice");
    r->done = true;
    r->err = err;
    snprintf(r->cluster_id, sizeof(r->cluster_id), "%.*s", STR_ARG(cluster_id));
    cr_assert((err == ERR_OK) == (text[0] == '\0'), "%s", text);
}

static void on_id(void *arg, enum err err, int32_t broker_id)
{
    struct setup_result *r = arg;
    r->done = true;
    r->err = err;
    r->broker_id = broker_id;
}

static void setup(struct world *w, struct client *client, const char *id, struct setup_result *r)
{
    *r = (struct setup_result){0};
    registration_setup(w->loop, client->zk, str_of(id), on_setup, r);
    pass(w, 1000);
    cr_assert(r->done);
}

Test(registration_setup, makes_kafkas_top_level_nodes_and_a_cluster_id)
{
    static const char *const nodes[] = {
        "/consumers",
        "/brokers/ids",
        "/brokers/topics",
        "/config/changes",
        "/admin/delete_topics",
        "/brokers/seqid",
        "/config/topics",
        "/isr_change_notification",
        "/latest_producer_id_block",
        "/config/clients",
        "/log_dir_event_notification",
        "/config/users",
        "/config/brokers",
        "/config/ips",
    };
    struct world w;
    struct client client = {0};
    struct setup_result r;
    world_init(&w, 1);
    client_open(&client, &w);
    setup(&w, &client, proposed, &r);
    cr_assert_eq(r.err, ERR_OK);
    cr_assert_str_eq(r.cluster_id, proposed);
    for (size_t i = 0; i < sizeof(nodes) / sizeof(nodes[0]); i++) {
        cr_assert_str_eq(node_text(&w, nodes[i]), "", "%s", nodes[i]);
    }
    cr_assert_str_eq(node_text(&w, PATH_CLUSTER_ID),
                     "{\"version\":\"1\",\"id\":\"abcdefghijklmnopqrstuv\"}");
    setup(&w, &client, another, &r); /* the first one's stays */
    cr_assert_str_eq(r.cluster_id, proposed);
    client_close(&client);
    world_fini(&w);
}

Test(registration_setup, every_operation_may_be_lost)
{
    for (int loss = ZK_MEM_LOSE_REPLY; loss <= ZK_MEM_LOSE_REQUEST; loss++) {
        for (int32_t k = 0; k < OPERATIONS_MAX; k++) {
            struct world w;
            struct client client = {0};
            struct setup_result r;
            world_init(&w, 1);
            client_open(&client, &w);
            zk_mem_lose(w.mem, session_of(&client), (enum zk_mem_loss)loss, k);
            setup(&w, &client, proposed, &r);
            cr_assert_eq(r.err, ERR_OK, "operation %d", k);
            cr_assert_str_eq(r.cluster_id, proposed, "operation %d", k);
            cr_assert_str_eq(node_text(&w, "/config/ips"), "", "operation %d", k);
            client_close(&client);
            world_fini(&w);
        }
    }
}

Test(registration_setup, a_cluster_id_that_cannot_be_read_is_an_error)
{
    struct world w;
    struct client client = {0};
    struct setup_result r;
    world_init(&w, 1);
    zk_mem_poke(w.mem, PATH_CLUSTER_ID, "hello");
    client_open(&client, &w);
    setup(&w, &client, proposed, &r);
    cr_assert_eq(r.err, ERR_MALFORMED);
    client_close(&client);
    world_fini(&w);
}

Test(registration_generate_id, numbers_begin_above_the_reserved_ones)
{
    struct world w;
    struct client client = {0};
    struct setup_result r;
    world_init(&w, 1);
    client_open(&client, &w);
    setup(&w, &client, proposed, &r);
    for (int32_t i = 1; i <= 3; i++) {
        registration_generate_id(w.loop, client.zk, 1000, on_id, &r);
        run(&w);
        cr_assert_eq(r.err, ERR_OK);
        cr_assert_eq(r.broker_id, 1000 + i);
    }
    client_close(&client);
    world_fini(&w);
}

/* ---- Being registered. */

struct member {
    struct client client;
    struct registration_host host;
    struct registration *reg;
    int registered;
    int settled;
    int64_t epoch;
    int waits;
    char line[512];
    int refusals;
    enum err refused_err;
    char refused[1024];
    int gone;
};

static void on_registered(struct registration_host *host, int64_t broker_epoch)
{
    struct member *m = container_of(host, struct member, host);
    m->registered++;
    m->epoch = broker_epoch;
}

static void on_settled(struct registration_host *host)
{
    container_of(host, struct member, host)->settled++;
}

static void on_waiting(struct registration_host *host, const char *line)
{
    struct member *m = container_of(host, struct member, host);
    m->waits++;
    snprintf(m->line, sizeof(m->line), "%s", line);
}

static void on_refused(struct registration_host *host, enum err err, const char *text)
{
    struct member *m = container_of(host, struct member, host);
    m->refusals++;
    m->refused_err = err;
    snprintf(m->refused, sizeof(m->refused), "%s", text);
}

static void on_gone(struct registration_host *host)
{
    struct member *m = container_of(host, struct member, host);
    m->gone++;
    registration_session_lost(m->reg);
}

static void on_watch(struct client *client, enum zk_watch_event event, struct str path)
{
    registration_on_watch(container_of(client, struct member, client)->reg, event, path);
}

static void on_expired(struct client *client)
{
    registration_session_lost(container_of(client, struct member, client)->reg);
}

static void member_init(struct member *m, struct world *w, int32_t id, int32_t port)
{
    struct znode_endpoint endpoint = {STR("PLAINTEXT"), STR("localhost"), port, ZNODE_PLAINTEXT};
    struct znode_broker broker = {.endpoints = &endpoint, .endpoints_count = 1, .jmx_port = -1};
    *m = (struct member){0};
    m->host =
        (struct registration_host){on_registered, on_settled, on_waiting, on_refused, on_gone};
    m->client.on_watch = on_watch;
    m->client.on_expired = on_expired;
    m->reg = registration_new(w->loop, id, &broker, &m->host);
    client_open(&m->client, w);
}

static void member_fini(struct member *m)
{
    registration_free(m->reg);
    client_close(&m->client);
}

static void start(struct world *w, struct member *m)
{
    registration_start(m->reg, m->client.zk);
    run(w);
}

static void world_with_setup(struct world *w)
{
    struct client client = {0};
    struct setup_result r;
    world_init(w, 1);
    client_open(&client, w);
    setup(w, &client, proposed, &r);
    client_close(&client);
    run(w);
}

Test(registration, writes_kafkas_node_and_its_czxid_is_the_epoch)
{
    struct world w;
    struct member m;
    world_with_setup(&w);
    member_init(&m, &w, 1, 9092);
    start(&w, &m);
    struct zk_stat stat = node_stat(&w, "/brokers/ids/1");
    cr_assert_eq(m.registered, 1);
    cr_assert_eq(m.epoch, stat.czxid);
    cr_assert_eq(registration_epoch(m.reg), stat.czxid);
    cr_assert_eq(stat.version, 1, "created without data, then set");
    cr_assert_eq(stat.ephemeral_owner, session_of(&m.client));
    cr_assert(
        strstr(node_text(&w, "/brokers/ids/1"), "\"endpoints\":[\"PLAINTEXT://localhost:9092\"]"));
    member_fini(&m);
    world_fini(&w);
}

/* Whichever operation is lost, before or after it happened: registered once, with the epoch that
 * the node has. */
Test(registration, every_operation_may_be_lost)
{
    for (int loss = ZK_MEM_LOSE_REPLY; loss <= ZK_MEM_LOSE_REQUEST; loss++) {
        for (int32_t k = 0; k < 6; k++) {
            struct world w;
            struct member m, other;
            world_with_setup(&w);
            member_init(&other, &w, 2, 9093);
            start(&w, &other);
            member_init(&m, &w, 1, 9092);
            zk_mem_lose(w.mem, session_of(&m.client), (enum zk_mem_loss)loss, k);
            registration_start(m.reg, m.client.zk);
            pass(&w, 1000);
            cr_assert_eq(m.registered, 1, "operation %d", k);
            cr_assert_eq(m.epoch, node_stat(&w, "/brokers/ids/1").czxid, "operation %d", k);
            cr_assert_eq(m.waits + m.refusals, 0);
            member_fini(&m);
            member_fini(&other);
            world_fini(&w);
        }
    }
}

Test(registration, a_new_session_registers_again_with_a_larger_epoch)
{
    struct world w;
    struct member m;
    world_with_setup(&w);
    member_init(&m, &w, 1, 9092);
    start(&w, &m);
    int64_t first = m.epoch;
    zk_mem_expire(w.mem, session_of(&m.client));
    run(&w);
    cr_assert_eq(registration_epoch(m.reg), -1);
    client_close(&m.client);
    client_open(&m.client, &w);
    start(&w, &m);
    cr_assert_eq(m.registered, 2);
    cr_assert_gt(m.epoch, first);
    cr_assert_eq(node_stat(&w, "/brokers/ids/1").ephemeral_owner, session_of(&m.client));
    member_fini(&m);
    world_fini(&w);
}

/* A broker that crashed comes back before its session has expired: it waits, says so once, and goes
 * on as soon as the old node is gone. */
Test(registration, waits_for_its_own_former_life)
{
    struct world w;
    struct member old, m;
    world_with_setup(&w);
    member_init(&old, &w, 1, 9092);
    start(&w, &old);
    zk_mem_disconnect(w.mem, session_of(&old.client)); /* crashed */
    member_init(&m, &w, 1, 9092);
    start(&w, &m);
    cr_assert_eq(m.registered, 0);
    cr_assert_eq(m.waits, 1);
    cr_assert_str_eq(m.line, "waiting: broker id 1 is still registered by an earlier session "
                             "(localhost:9092). It expires in <= 6 s; continuing then.");
    pass(&w, SESSION_TIMEOUT_MS + 100);
    cr_assert_eq(m.registered, 1);
    cr_assert_eq(m.waits, 1);
    cr_assert_eq(m.epoch, node_stat(&w, "/brokers/ids/1").czxid);
    member_fini(&m);
    member_fini(&old);
    world_fini(&w);
}

/* The id is another live broker's: its session does not end, so that we are refused, with its
 * address. Not at once when it should be over: half a second of a short one was left for ZooKeeper
 * to end it, and on a busy machine brokers that were started again after a crash gave up. */
Test(registration, the_id_of_a_live_broker_is_refused)
{
    struct world w;
    struct member live, m;
    world_with_setup(&w);
    member_init(&live, &w, 1, 9092);
    start(&w, &live);
    member_init(&m, &w, 1, 9099);
    start(&w, &m);
    pass(&w, SESSION_TIMEOUT_MS + REGISTRATION_GRACE_MIN_MS - 100);
    cr_assert_eq(m.refusals, 0);
    pass(&w, 200);
    cr_assert_eq(m.refusals, 1);
    cr_assert_eq(m.refused_err, ERR_DUPLICATE_BROKER_REGISTRATION);
    cr_assert(strstr(m.refused, "error[E-BROKER-01]: broker id 1 belongs to another live broker "
                                "(localhost:9092)."),
              "%s", m.refused);
    cr_assert_eq(live.registered, 1);
    cr_assert_eq(m.registered, 0);
    member_fini(&m);
    member_fini(&live);
    world_fini(&w);
}

Test(registration, an_address_of_another_broker_is_refused)
{
    struct world w;
    struct member live, m;
    world_with_setup(&w);
    member_init(&live, &w, 1, 9092);
    start(&w, &live);
    member_init(&m, &w, 2, 9092);
    start(&w, &m);
    cr_assert_eq(m.refused_err, ERR_INVALID);
    cr_assert(strstr(m.refused, "error[E-LISTENER-03]: broker 2 advertises localhost:9092, which "
                                "broker 1 already advertises."),
              "%s", m.refused);
    cr_assert_str_eq(node_text(&w, "/brokers/ids/2"), "(none)");
    member_fini(&m);
    member_fini(&live);
    world_fini(&w);
}

/* ZooKeeper shows the node of a session of ours that it has declared dead (ZOOKEEPER-2985): it is
 * removed, not waited for. */
Test(registration, a_node_of_our_own_previous_session_is_replaced)
{
    struct world w;
    struct member m;
    struct client first;
    world_with_setup(&w);
    member_init(&m, &w, 1, 9092);
    start(&w, &m);
    int64_t epoch = m.epoch;
    registration_session_lost(m.reg);
    first = m.client; /* still there, with its node */
    client_open(&m.client, &w);
    start(&w, &m);
    cr_assert_eq(m.registered, 2);
    cr_assert_eq(m.waits, 0);
    cr_assert_gt(m.epoch, epoch);
    cr_assert_eq(node_stat(&w, "/brokers/ids/1").ephemeral_owner, session_of(&m.client));
    first.on_watch = NULL;
    first.zk->ops->close(first.zk);
    run(&w);
    member_fini(&m);
    world_fini(&w);
}

/* Somebody removed /brokers/ids by hand: it is made again. Without that, creating below it and
 * looking at it would take turns as fast as ZooKeeper answers, for ever. */
Test(registration, a_missing_parent_is_made_again)
{
    struct world w;
    struct member m;
    world_with_setup(&w);
    zk_mem_poke_remove(w.mem, "/brokers/ids");
    zk_mem_poke_remove(w.mem, "/brokers/topics");
    zk_mem_poke_remove(w.mem, "/brokers/seqid");
    zk_mem_poke_remove(w.mem, "/brokers");
    member_init(&m, &w, 1, 9092);
    start(&w, &m);
    cr_assert_eq(m.registered, 1);
    cr_assert_eq(m.epoch, node_stat(&w, "/brokers/ids/1").czxid);
    member_fini(&m);
    world_fini(&w);
}

/* A node that ZooKeeper does not let us read, or make, was taken for the end of the session: the
 * broker waited for ever, or asked as fast as ZooKeeper answered, and said nothing. */
Test(registration, what_zookeeper_forbids_is_refused_and_named)
{
    static const char *const paths[] = {"/brokers/ids", "/brokers/ids/1"};
    for (size_t i = 0; i < 2; i++) {
        for (int held = 0; held < 2; held++) {
            struct world w;
            struct member m, old;
            world_with_setup(&w);
            member_init(&old, &w, 1, 9092);
            if (held != 0) {
                start(&w, &old);
            }
            zk_mem_forbid(w.mem, paths[i]);
            member_init(&m, &w, 1, 9092);
            start(&w, &m);
            cr_assert_eq(m.refusals, 1, "%s", paths[i]);
            cr_assert_eq(m.refused_err, ERR_ZK_OTHER);
            cr_assert(strstr(m.refused, "error[E-ZK-06]: "), "%s", m.refused);
            cr_assert(strstr(m.refused, paths[i]), "%s", m.refused);
            cr_assert_eq(m.registered + m.waits, 0);
            member_fini(&m);
            member_fini(&old);
            world_fini(&w);
        }
    }
}

/* The next session is one of an ensemble that has lost its data, or of another cluster's. It knows
 * no topic, or topics of the same names with other ids: to the broker all its own would be deleted.
 */
Test(registration, another_cluster_in_the_next_session_is_refused)
{
    static const char *const others[] = {NULL, "{\"version\":\"1\",\"id\":\"another\"}"};
    for (size_t i = 0; i < 2; i++) {
        struct world w;
        struct member m;
        world_with_setup(&w);
        member_init(&m, &w, 1, 9092);
        start(&w, &m);
        cr_assert_eq(m.registered, 1);
        zk_mem_expire(w.mem, session_of(&m.client));
        run(&w);
        client_close(&m.client);
        zk_mem_poke_remove(w.mem, PATH_CLUSTER_ID);
        if (others[i] != NULL) {
            zk_mem_poke(w.mem, PATH_CLUSTER_ID, others[i]);
        }
        client_open(&m.client, &w);
        start(&w, &m);
        cr_assert_eq(m.registered, 1);
        cr_assert_eq(m.refusals, 1);
        cr_assert_eq(m.refused_err, ERR_INCONSISTENT_CLUSTER_ID);
        cr_assert(strstr(m.refused, "error[E-ZK-07]: "), "%s", m.refused);
        cr_assert(strstr(m.refused, proposed), "%s", m.refused);
        cr_assert_str_eq(node_text(&w, "/brokers/ids/1"), "(none)");
        member_fini(&m);
        world_fini(&w);
    }
}

/* The end of a session is none of that: the next one begins anew. */
Test(registration, a_session_that_ends_meanwhile_refuses_nothing)
{
    for (int turns = 0; turns < 10; turns++) {
        struct world w;
        struct member m;
        world_with_setup(&w);
        member_init(&m, &w, 1, 9092);
        registration_start(m.reg, m.client.zk);
        for (int i = 0; i < turns; i++) {
            loop_turn(w.loop);
        }
        zk_mem_expire(w.mem, session_of(&m.client));
        run(&w);
        cr_assert_eq(m.refusals, 0, "%d turns: %s", turns, m.refused);
        client_close(&m.client);
        client_open(&m.client, &w);
        start(&w, &m);
        cr_assert_eq(registration_epoch(m.reg), node_stat(&w, "/brokers/ids/1").czxid);
        member_fini(&m);
        world_fini(&w);
    }
}

/* The mark of an unclean start stays, over sessions, until somebody takes it out of the node. */
Test(registration, is_unclean_until_the_controller_says_otherwise)
{
    struct world w;
    struct member m;
    struct znode_endpoint endpoint = {STR("PLAINTEXT"), STR("localhost"), 9092, ZNODE_PLAINTEXT};
    struct znode_broker broker = {
        .endpoints = &endpoint, .endpoints_count = 1, .jmx_port = -1, .unclean = true};
    struct buf data = {0};
    world_with_setup(&w);
    member_init(&m, &w, 1, 9092);
    registration_free(m.reg);
    m.reg = registration_new(w.loop, 1, &broker, &m.host);
    start(&w, &m);
    zk_mem_expire(w.mem, session_of(&m.client));
    run(&w);
    client_close(&m.client);
    client_open(&m.client, &w);
    start(&w, &m);
    cr_assert_eq(m.settled, 0);
    cr_assert(zk_mem_peek(w.mem, "/brokers/ids/1", &data, NULL));
    buf_put_byte(&data, 0);
    cr_assert_not_null(strstr((char *)data.data, "\"unclean_start\":true"));
    broker.unclean = false;
    buf_clear(&data);
    znode_broker_encode(&broker, &data);
    buf_put_byte(&data, 0);
    zk_mem_poke(w.mem, "/brokers/ids/1", (char *)data.data);
    run(&w);
    cr_assert_eq(m.settled, 1);
    zk_mem_expire(w.mem, session_of(&m.client));
    run(&w);
    client_close(&m.client);
    client_open(&m.client, &w);
    start(&w, &m);
    buf_clear(&data);
    cr_assert(zk_mem_peek(w.mem, "/brokers/ids/1", &data, NULL));
    buf_put_byte(&data, 0);
    cr_assert_null(strstr((char *)data.data, "unclean_start"));
    cr_assert_eq(m.settled, 1);
    buf_fini(&data);
    member_fini(&m);
    world_fini(&w);
}

Test(registration, nothing_is_told_after_the_session_is_lost)
{
    for (int turns = 0; turns < 6; turns++) {
        struct world w;
        struct member m, other;
        world_with_setup(&w);
        member_init(&other, &w, 2, 9093);
        start(&w, &other);
        member_init(&m, &w, 1, 9092);
        registration_start(m.reg, m.client.zk);
        for (int i = 0; i < turns; i++) {
            loop_turn(w.loop);
        }
        int told = m.registered;
        registration_session_lost(m.reg);
        pass(&w, 500);
        cr_assert_eq(m.registered, told);
        member_fini(&m);
        member_fini(&other);
        world_fini(&w);
    }
}

/* The session goes on, for what else is to be done in it; and the node does not come back. */
Test(registration, a_broker_that_withdraws_leaves_before_its_session_ends)
{
    struct world w;
    struct member m;
    world_with_setup(&w);
    member_init(&m, &w, 1, 9092);
    registration_withdraw(m.reg); /* not in a session yet: nothing */
    start(&w, &m);
    registration_withdraw(m.reg);
    run(&w);
    cr_assert_str_eq(node_text(&w, "/brokers/ids/1"), "(none)");
    cr_assert_eq(m.registered, 1);
    cr_assert_eq(m.gone, 0);
    member_fini(&m);
    world_fini(&w);
}

/* Its node was removed by somebody else: the controller took it for dead, and it did not know. It
 * says so also when another process has registered with its id meanwhile. */
Test(registration, says_so_when_its_node_is_gone)
{
    for (int other = 0; other < 2; other++) {
        struct world w;
        struct member m, next;
        world_with_setup(&w);
        member_init(&m, &w, 1, 9092);
        start(&w, &m);
        if (other == 1) {
            member_init(&next, &w, 1, 9093);
            start(&w, &next);
        }
        cr_assert_eq(m.gone, 0);
        zk_mem_poke_remove(w.mem, "/brokers/ids/1");
        run(&w);
        cr_assert_eq(m.gone, 1);
        cr_assert_eq(m.registered, 1);
        if (other == 1) {
            cr_assert_eq(next.registered, 1);
            member_fini(&next);
        }
        member_fini(&m);
        world_fini(&w);
    }
}

/* The node went, the reply got lost, and the broker that had waited for the id registered: the
 * removal was repeated, and took away its node. */
Test(registration, a_withdrawal_that_is_repeated_leaves_the_next_brokers_node_alone)
{
    for (int loss = ZK_MEM_LOSE_REPLY; loss <= ZK_MEM_LOSE_REQUEST; loss++) {
        struct world w;
        struct member m, next;
        world_with_setup(&w);
        member_init(&m, &w, 1, 9092);
        start(&w, &m);
        member_init(&next, &w, 1, 9093);
        start(&w, &next);
        cr_assert_eq(next.waits, 1);
        zk_mem_lose(w.mem, session_of(&m.client), (enum zk_mem_loss)loss, 0);
        registration_withdraw(m.reg);
        pass(&w, 1000);
        cr_assert_eq(next.registered, 1);
        cr_assert_eq(node_stat(&w, "/brokers/ids/1").ephemeral_owner, session_of(&next.client));
        member_fini(&m);
        member_fini(&next);
        world_fini(&w);
    }
}
