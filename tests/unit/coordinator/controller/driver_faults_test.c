/* Controllers that resign, and everything at once: brokers, topics and sessions come and go. */
#include "controller/ctl_io.h"
#include "driver_fixture.h"

/* ---- Resigning. */

static void on_resigned(void *arg)
{
    *(bool *)arg = true;
}

/* Whoever resigns for its shutdown ends without the office, whatever was under way. */
Test(ctl_driver, who_resigns_does_not_reign_again)
{
    for (int turns = 0; turns < 30; turns++) {
        struct cluster c;
        bool resigned = false;
        cluster_init(&c, 1, 1);
        member_join(&c.members[0]);
        for (int i = 0; i < turns; i++) {
            loop_turn(c.w.loop);
        }
        ctl_driver_resign(c.members[0].driver, on_resigned, &resigned);
        pass(&c.w, 500);
        cr_assert(resigned, "after %d turns", turns);
        cr_assert_null(active(&c), "after %d turns", turns);
        cr_assert_eq(ctl_driver_epoch(c.members[0].driver), -1, "after %d turns", turns);
        cr_assert_str_eq(node_text(&c.w, PATH_CONTROLLER), "(none)");
        cluster_fini(&c);
    }
}

/* ---- Everything at once. */

struct wish {
    bool exists;
    bool gone; /* neither it nor its mark is there: it may be made, also at once */
};

static void see(struct cluster *c, struct wish *wishes)
{
    for (int32_t t = 0; t < TOPICS_MAX; t++) {
        char name[] = {'t', (char)('0' + t), '\0'};
        wishes[t].gone =
            !node_exists(c, PATH_TOPICS, name) && !node_exists(c, PATH_DELETE_TOPICS, name);
    }
}

static void disturb(struct cluster *c, struct wish *wishes)
{
    struct member *m = &c->members[rng_below(&c->rng, (uint64_t)c->count)];
    int32_t t = (int32_t)rng_below(&c->rng, TOPICS_MAX);
    char name[] = {'t', (char)('0' + t), '\0'};
    switch (rng_below(&c->rng, 4)) {
    case 0:
        bounce(m);
        break;
    case 1:
        zk_mem_disconnect(c->w.mem, session_of(&m->client));
        pass(&c->w, (int64_t)rng_below(&c->rng, 50) * 10);
        zk_mem_reconnect(c->w.mem, session_of(&m->client));
        break;
    default:
        if (wishes[t].gone) {
            create_topic(c, name);
            wishes[t].exists = true;
        } else if (wishes[t].exists) {
            delete_topic(c, name);
            wishes[t].exists = false;
        }
    }
}

static void rejoin_expired(struct cluster *c)
{
    for (int32_t i = 0; i < c->count; i++) {
        if (c->members[i].client.expired) {
            client_close(&c->members[i].client);
            member_join(&c->members[i]);
        }
    }
}

/* Brokers and controllers come and go, requests and replies get lost, topics are made and deleted:
 * never two controllers with a say; and once it is quiet, what was asked for is so, everywhere. */
Test(ctl_driver, everything_asked_for_is_so_in_the_end, .timeout = 240)
{
    for (uint64_t seed = 1; seed <= 40; seed++) {
        struct cluster c;
        struct wish wishes[TOPICS_MAX] = {{false, false}};
        cluster_init(&c, 3, seed);
        c.delay_ms = seed % 2 == 0 ? 40 : 300;
        zk_mem_set_loss_rate(c.w.mem, seed % 2 == 0 ? 12 : 4);
        cluster_join(&c);
        see(&c, wishes);
        for (int round = 0; round < 40; round++) {
            disturb(&c, wishes);
            pass(&c.w, (int64_t)rng_below(&c.rng, 20) * 10);
            see(&c, wishes);
            rejoin_expired(&c);
        }
        zk_mem_set_loss_rate(c.w.mem, 0);
        pass(&c.w, 2 * QUIET_MS);
        expect_everybody_live(&c);
        for (int32_t t = 0; t < TOPICS_MAX; t++) {
            char name[] = {'t', (char)('0' + t), '\0'};
            if (wishes[t].exists) {
                expect_led(&c, name);
            } else {
                expect_gone(&c, name);
            }
        }
        cluster_fini(&c);
    }
}

/* A read that fails although the session lives, for a permission is missing: its event never came,
 * and the controller was loading for ever, without a word that anybody would have noticed. */
Test(ctl_driver, goes_on_once_it_may_read_what_it_was_not_allowed_to)
{
    static const char *const paths[] = {
        "/brokers/ids",
        "/brokers/ids/1",
        "/brokers/topics",
        "/brokers/topics/t0",
        "/brokers/topics/t0/partitions/1/state",
        "/admin/delete_topics",
        "/admin/preferred_replica_election",
        "/admin/reassign_partitions",
    };
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        struct cluster c;
        cluster_init(&c, 1, 1);
        zk_mem_poke(c.w.mem, "/brokers/topics/t0/partitions/1/state",
                    "{\"controller_epoch\":1,\"leader\":1,\"version\":1,\"leader_epoch\":7,"
                    "\"isr\":[1]}");
        create_topic(&c, "t0");
        cluster_join(&c);
        zk_mem_forbid(c.w.mem, paths[i]);
        zk_mem_poke_remove(c.w.mem, "/controller"); /* another reign begins */
        run(&c.w);
        zk_mem_poke(c.w.mem, "/admin/preferred_replica_election",
                    "{\"version\":1,\"partitions\":[]}");
        pass(&c.w, 3 * CTL_IO_AGAIN_MS);
        zk_mem_forbid(c.w.mem, NULL);
        pass(&c.w, CTL_IO_AGAIN_MS + 100);
        cr_assert_not_null(active(&c), "%s", paths[i]);
        expect_led(&c, "t0");
        cr_assert_str_eq(node_text(&c.w, "/admin/preferred_replica_election"), "(none)", "%s",
                         paths[i]);
        cluster_fini(&c);
    }
}

/* A failure of a log directory that cannot be read is kept until it can be. */
Test(ctl_driver, keeps_the_failure_of_a_log_directory_that_it_may_not_read)
{
    static const char path[] = "/log_dir_event_notification/log_dir_event_0000000000";
    struct cluster c;
    cluster_init(&c, 1, 1);
    cluster_join(&c);
    zk_mem_forbid(c.w.mem, path);
    zk_mem_poke(c.w.mem, path, "{\"version\":1,\"broker\":1,\"event\":1}");
    pass(&c.w, 2 * CTL_IO_AGAIN_MS);
    cr_assert_str_neq(node_text(&c.w, path), "(none)");
    zk_mem_forbid(c.w.mem, NULL);
    pass(&c.w, CTL_IO_AGAIN_MS + 100);
    cr_assert_str_eq(node_text(&c.w, path), "(none)");
    cluster_fini(&c);
}

/* A topic that a new controller may not read held up all others: it never came to the end of
 * loading, and no partition got another leader. */
Test(ctl_driver, one_topic_that_it_may_not_read_does_not_keep_it_from_reigning)
{
    static const char *const paths[] = {
        "/brokers/topics/t0",
        "/brokers/topics/t0/partitions/1/state",
    };
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        struct cluster c;
        cluster_init(&c, 2, 1);
        create_topic(&c, "t0");
        create_topic(&c, "t1");
        cluster_join(&c);
        zk_mem_forbid(c.w.mem, paths[i]);
        bounce(active(&c)); /* another one reigns, and sees a broker die and return */
        pass(&c.w, QUIET_MS);
        rejoin_expired(&c);
        pass(&c.w, QUIET_MS);
        cr_assert_not_null(active(&c), "%s", paths[i]);
        create_topic(&c, "t2");
        pass(&c.w, QUIET_MS);
        expect_led(&c, "t1");
        expect_led(&c, "t2");
        zk_mem_forbid(c.w.mem, NULL);
        pass(&c.w, CTL_IO_AGAIN_MS + QUIET_MS);
        expect_led(&c, "t0");
        cluster_fini(&c);
    }
}

/* Of a topic that it may not look at it took away the configuration and the mark, and believed that
 * it was gone: it came back as a topic without files. */
Test(ctl_driver, a_topic_that_it_may_not_look_at_stays_marked_for_deletion)
{
    static const char *const paths[] = {
        "/brokers/topics/t0",
        "/brokers/topics/t0/partitions/1",
    };
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        struct cluster c;
        cluster_init(&c, 1, 1);
        create_topic(&c, "t0");
        cluster_join(&c);
        zk_mem_forbid(c.w.mem, paths[i]);
        delete_topic(&c, "t0");
        pass(&c.w, QUIET_MS);
        cr_assert(node_exists(&c, PATH_DELETE_TOPICS, "t0"), "%s", paths[i]);
        cr_assert(node_exists(&c, PATH_TOPICS, "t0"), "%s", paths[i]);
        zk_mem_forbid(c.w.mem, NULL);
        pass(&c.w, QUIET_MS);
        expect_gone(&c, "t0");
        cluster_fini(&c);
    }
}

/* It is tried again, all the same, after a while: nobody tells when the permission is there. */
Test(ctl_driver, makes_a_state_as_soon_as_it_may)
{
    struct cluster c;
    cluster_init(&c, 1, 1);
    cluster_join(&c);
    zk_mem_forbid(c.w.mem, "/brokers/topics/t0/partitions/1");
    create_topic(&c, "t0");
    pass(&c.w, CTL_IO_AGAIN_MS / 2);
    zk_mem_forbid(c.w.mem, NULL);
    int64_t zxid = zk_mem_zxid(c.w.mem);
    pass(&c.w, CTL_IO_AGAIN_MS / 4);
    cr_assert_eq(zk_mem_zxid(c.w.mem), zxid, "at once");
    pass(&c.w, CTL_IO_AGAIN_MS);
    expect_led(&c, "t0");
    cluster_fini(&c);
}

/* A folder that somebody removed was watched no more: what was asked for once it was there again
 * was not heard of until another controller was elected. */
Test(ctl_driver, looks_into_a_folder_that_was_removed_and_made_again)
{
    static const char event[] = "/log_dir_event_notification/log_dir_event_0000000000";
    struct cluster c;
    cluster_init(&c, 1, 1);
    create_topic(&c, "t0");
    cluster_join(&c);
    pass(&c.w, QUIET_MS);
    zk_mem_poke_remove(c.w.mem, "/admin/delete_topics");
    zk_mem_poke_remove(c.w.mem, "/log_dir_event_notification");
    run(&c.w);
    zk_mem_poke(c.w.mem, event, "{\"version\":1,\"broker\":1,\"event\":1}");
    delete_topic(&c, "t0");
    pass(&c.w, QUIET_MS);
    expect_gone(&c, "t0");
    cr_assert_str_eq(node_text(&c.w, event), "(none)");
    cluster_fini(&c);
}
