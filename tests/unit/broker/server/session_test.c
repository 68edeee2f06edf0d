/* A broker's sessions, one after another, over a ZooKeeper in memory, on a loop driven by hand. */
#include "server/session.h"

#include <criterion/criterion.h>

#include "zk/zk_mem.h"

enum { TURNS_MAX = 100000 };

struct world {
    struct clock_manual clock;
    struct loop *loop;
    struct zk_mem *mem;
    struct session_host host;
    struct ctl_host ctl_host;
    struct config_changes_host changes_host;
    struct ctl_driver *driver;
    struct config_changes *changes;
    struct session *session;
    bool join_when_lost;
    bool in_contact;
    int identified;
    int lost;
    int registered;
};

static void join(struct world *w)
{
    struct znode_endpoint endpoint = {STR("PLAINTEXT"), STR("h"), 9092, ZNODE_PLAINTEXT};
    struct znode_broker self = {
        .endpoints = &endpoint, .endpoints_count = 1, .jmx_port = -1, .rack = STR_NULL};
    session_join(w->session, 1, &self, w->driver, w->changes);
}

static void on_identified(struct session_host *host, struct str cluster_id)
{
    struct world *w = container_of(host, struct world, host);
    cr_assert_gt(cluster_id.size, 0);
    w->identified++;
}

static void on_registered(struct session_host *host, int64_t broker_epoch)
{
    (void)broker_epoch;
    container_of(host, struct world, host)->registered++;
}

static void on_lost(struct session_host *host)
{
    struct world *w = container_of(host, struct world, host);
    w->lost++;
    if (w->join_when_lost) {
        w->join_when_lost = false;
        join(w);
    }
}

static void on_contact(struct session_host *host, bool there)
{
    container_of(host, struct world, host)->in_contact = there;
}

static void on_failed(struct session_host *host, enum err err, const char *text)
{
    (void)host;
    cr_assert(false, "%s: %s", err_name(err), text);
}

static void on_settled(struct session_host *host)
{
    (void)host;
}

static void on_waiting(struct session_host *host, const char *line)
{
    (void)host;
    (void)line;
}

static void on_send(struct ctl_host *host, int32_t broker_id,
                    const struct znode_endpoint *endpoints, int32_t endpoints_count, int kind,
                    struct bytes request, uint64_t cmd_id)
{
    (void)broker_id, (void)endpoints, (void)endpoints_count, (void)kind, (void)request;
    ctl_driver_sent(container_of(host, struct world, ctl_host)->driver, cmd_id, ERR_CLOSED,
                    (struct bytes){0});
}

static void on_disconnect(struct ctl_host *host, int32_t broker_id)
{
    (void)host;
    (void)broker_id;
}

static void on_controller(struct ctl_host *host, int32_t controller_id, int32_t epoch)
{
    (void)host;
    (void)controller_id;
    (void)epoch;
}

static void on_changed(struct config_changes_host *host, struct str type, struct str name,
                       const struct znode_config *config)
{
    (void)host, (void)type, (void)name, (void)config;
}

static void on_loaded(struct config_changes_host *host)
{
    (void)host;
}

static void begin(struct world *w)
{
    *w = (struct world){.host = {.identified = on_identified,
                                 .registered = on_registered,
                                 .settled = on_settled,
                                 .lost = on_lost,
                                 .contact = on_contact,
                                 .failed = on_failed,
                                 .waiting = on_waiting},
                        .ctl_host = {on_send, on_disconnect, on_controller},
                        .changes_host = {on_changed, on_loaded}};
    struct ctl_config config = {.broker_id = 1, .rebalance_check_ms = 300000};
    struct session_options options = {.connect = "memory",
                                      .session_timeout_ms = 6000,
                                      .connection_timeout_ms = 6000,
                                      .proposed_cluster_id = STR("abcdefghijklmnopqrstuv")};
    clock_manual_init(&w->clock, 1700000000000);
    clock_manual_advance(&w->clock, 1000000000);
    w->loop = loop_new("test", -1, &w->clock.clock);
    w->mem = zk_mem_new(&w->clock.clock, 1);
    w->driver = ctl_driver_new(w->loop, &config, &w->ctl_host);
    w->changes = config_changes_new(w->loop, &w->changes_host);
    w->session = session_new(w->loop, zk_mem_factory(w->mem), &options, &w->host);
    session_start(w->session);
}

static void run(struct world *w)
{
    int turns = 0;
    while (loop_turn(w->loop)) {
        cr_assert_lt(++turns, TURNS_MAX, "it never comes to rest");
    }
}

/* The sessions of a ZooKeeper in memory are numbered; there is one at a time. */
static void expire(struct world *w)
{
    for (int64_t id = 0x1000; id < 0x1010; id++) {
        zk_mem_expire(w->mem, id);
    }
    run(w);
}

static void end(struct world *w)
{
    session_close(w->session);
    run(w);
    config_changes_free(w->changes);
    ctl_driver_free(w->driver);
    session_free(w->session);
    run(w);
    zk_mem_free(w->mem);
    loop_free(w->loop);
}

/* In the cluster, and again, with another session, after the first has ended. */
Test(session, registers_again_in_every_session)
{
    struct world w;
    begin(&w);
    run(&w);
    cr_assert_eq(w.identified, 1);
    join(&w);
    run(&w);
    cr_assert_eq(w.registered, 1);
    expire(&w);
    cr_assert_eq(w.lost, 1);
    cr_assert_eq(w.identified, 1);
    cr_assert_eq(w.registered, 2);
    end(&w);
}

/* Somebody removed its node: to the controller it was dead, and it did not know. It stayed out of
 * the cluster, thinking that it led, until it was restarted. */
Test(session, registers_again_when_its_registration_was_removed)
{
    struct world w;
    begin(&w);
    run(&w);
    join(&w);
    run(&w);
    zk_mem_poke_remove(w.mem, "/brokers/ids/1");
    run(&w);
    cr_assert_eq(w.lost, 1);
    cr_assert_eq(w.registered, 2);
    cr_assert(w.in_contact);
    cr_assert(zk_mem_peek(w.mem, "/brokers/ids/1", NULL, NULL));
    end(&w);
}

/* Who has no connection may have been replaced (api/fetch_read.c asks). */
Test(session, tells_whether_it_is_in_contact)
{
    struct world w;
    begin(&w);
    cr_assert(!w.in_contact);
    run(&w);
    cr_assert(w.in_contact);
    join(&w);
    run(&w);
    zk_mem_disconnect(w.mem, 0x1000);
    run(&w);
    cr_assert(!w.in_contact);
    zk_mem_reconnect(w.mem, 0x1000);
    run(&w);
    cr_assert(w.in_contact);
    cr_assert_eq(w.lost, 0);
    end(&w);
}

/* Nothing that it sends reaches ZooKeeper, whose watch events still come: to the library that was
 * contact, for as long as they did, although the session may have ended and others may lead. */
Test(session, is_not_in_contact_with_who_does_not_hear_it)
{
    struct world w;
    begin(&w);
    run(&w);
    join(&w);
    run(&w);
    zk_mem_silence(w.mem, 0x1000, true);
    for (int ms = 0; ms < 5000; ms += 500) { /* more than three fifths of its time */
        clock_manual_advance(&w.clock, 500 * 1000000LL);
        zk_mem_poke(w.mem, "/config/changes/x", "");
        zk_mem_poke_remove(w.mem, "/config/changes/x");
        run(&w);
    }
    cr_assert(!w.in_contact);
    zk_mem_disconnect(w.mem, 0x1000);
    run(&w);
    zk_mem_reconnect(w.mem, 0x1000);
    run(&w);
    cr_assert(w.in_contact);
    for (int ms = 0; ms < 60000; ms += 500) { /* and as long as it is heard, whatever happens */
        clock_manual_advance(&w.clock, 500 * 1000000LL);
        run(&w);
        cr_assert(w.in_contact);
    }
    cr_assert_eq(w.lost, 0);
    end(&w);
}

/* The logs had been loaded just when the session had expired and the next one was not connected
 * yet: the broker registered in the dead one and, once connected, a second time, which ended it. */
Test(session, joins_in_the_next_one_when_the_present_one_is_over)
{
    struct world w;
    begin(&w);
    run(&w);
    w.join_when_lost = true;
    expire(&w);
    cr_assert_eq(w.lost, 1);
    cr_assert_eq(w.registered, 1);
    end(&w);
}

/* The session of a broker that was stopping expired, and it registered once more: it was given
 * partitions to lead, or the controller's office, and refused all for as long as it closed its
 * logs. */
Test(session, who_has_left_does_not_come_back_with_the_next_session)
{
    struct world w;
    begin(&w);
    run(&w);
    join(&w);
    run(&w);
    session_withdraw(w.session);
    run(&w);
    expire(&w);
    cr_assert_eq(w.lost, 1);
    cr_assert_eq(w.registered, 1);
    end(&w);
}

/* Nor was it stopped where it was about to register, for the first time or again. */
Test(session, who_leaves_before_it_is_registered_does_not_come)
{
    for (int again = 0; again < 2; again++) {
        struct world w;
        begin(&w);
        run(&w);
        join(&w);
        if (again == 1) {
            run(&w);
            for (int64_t id = 0x1000; id < 0x1010; id++) {
                zk_mem_expire(w.mem, id);
            }
            while (w.lost == 0) {
                cr_assert(loop_turn(w.loop));
            }
        }
        session_withdraw(w.session);
        run(&w);
        cr_assert_eq(w.registered, again);
        end(&w);
    }
}
