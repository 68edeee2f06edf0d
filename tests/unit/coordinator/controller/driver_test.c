/* The controller's driver between ZooKeeper and brokers: topics, leaders, brokers that come and go.
 */
#include "driver_fixture.h"

Test(ctl_driver, a_topic_gets_leaders_and_everybody_hears_of_them)
{
    struct cluster c;
    cluster_init(&c, 3, 1);
    cluster_join(&c);
    pass(&c.w, 100);
    create_topic(&c, "t0");
    pass(&c.w, 100);
    expect_everybody_live(&c);
    expect_led(&c, "t0");
    struct arena arena = {0};
    struct znode_state state = read_state(&c, &arena, "t0", 1);
    cr_assert_eq(state.leader, 1);
    cr_assert_eq(state.leader_epoch, 0);
    cr_assert_eq(state.isr.count, 3);
    arena_fini(&arena);
    cluster_fini(&c);
}

Test(ctl_driver, a_deleted_topic_leaves_no_node_and_no_file)
{
    struct cluster c;
    cluster_init(&c, 3, 1);
    cluster_join(&c);
    create_topic(&c, "t0");
    create_topic(&c, "t1");
    pass(&c.w, 200);
    delete_topic(&c, "t0");
    pass(&c.w, 200);
    expect_gone(&c, "t0");
    expect_led(&c, "t1");
    create_topic(&c, "t0"); /* the same name, another topic */
    pass(&c.w, 200);
    expect_led(&c, "t0");
    cluster_fini(&c);
}

/* Whichever operation of the controller is lost, before or after it happened, from its election to
 * the end of a deletion: the outcome is the same. */
Test(ctl_driver, every_operation_may_be_lost, .timeout = 120)
{
    for (int loss = ZK_MEM_LOSE_REPLY; loss <= ZK_MEM_LOSE_REQUEST; loss++) {
        for (int32_t k = 0; k < OPERATIONS_MAX; k++) {
            struct cluster c;
            cluster_init(&c, 2, 1);
            create_topic(&c, "t0");
            create_topic(&c, "t1");
            member_join(&c.members[0]);
            zk_mem_lose(c.w.mem, session_of(&c.members[0].client), (enum zk_mem_loss)loss, k);
            pass(&c.w, 300);
            member_join(&c.members[1]);
            pass(&c.w, 300);
            delete_topic(&c, "t1");
            pass(&c.w, QUIET_MS);
            expect_everybody_live(&c);
            cr_assert_eq(ctl_driver_epoch(c.members[0].driver), 1, "operation %d", k);
            expect_led(&c, "t0");
            expect_gone(&c, "t1");
            cluster_fini(&c);
        }
    }
}

/* A topic was deleted, the reply got lost, and before it was asked for again somebody made another
 * topic of that name and marked it as well: the repetition took the new mark away. */
Test(ctl_driver, a_lost_reply_does_not_cost_a_new_topic_its_deletion, .timeout = 120)
{
    bool hit = false;
    for (int32_t k = 0; k < OPERATIONS_MAX; k++) {
        struct cluster c;
        bool remade = false;
        cluster_init(&c, 2, 1);
        cluster_join(&c);
        create_topic(&c, "t0");
        pass(&c.w, 300);
        zk_mem_lose(c.w.mem, session_of(&active(&c)->client), ZK_MEM_LOSE_REPLY, k);
        delete_topic(&c, "t0");
        for (int ms = 0; ms < QUIET_MS; ms++) {
            pass(&c.w, 1);
            if (!remade && !node_exists(&c, PATH_DELETE_TOPICS, "t0")) {
                remade = true;
                create_topic(&c, "t0");
                delete_topic(&c, "t0");
            }
        }
        hit = hit || remade;
        expect_gone(&c, "t0");
        cluster_fini(&c);
    }
    cr_assert(hit);
}

/* Its mark was taken away by hand while it was being deleted; then the reply to its deletion got
 * lost, and before that was asked for again somebody made another topic of that name: the
 * repetition took its nodes. */
Test(ctl_driver, a_lost_reply_does_not_cost_a_new_topic_its_nodes, .timeout = 120)
{
    bool hit = false;
    for (int32_t k = 0; k < OPERATIONS_MAX; k++) {
        struct cluster c;
        bool remade = false;
        cluster_init(&c, 2, 1);
        c.delay_ms = 50;
        cluster_join(&c);
        create_topic(&c, "t0");
        pass(&c.w, 1000);
        delete_topic(&c, "t0");
        run(&c.w);
        zk_mem_poke_remove(c.w.mem, PATH_DELETE_TOPICS "/t0");
        zk_mem_lose(c.w.mem, session_of(&active(&c)->client), ZK_MEM_LOSE_REPLY, k);
        for (int ms = 0; ms < QUIET_MS; ms++) {
            pass(&c.w, 1);
            if (!remade && !node_exists(&c, PATH_TOPICS, "t0")) {
                remade = true;
                create_topic(&c, "t0");
            }
        }
        hit = hit || remade;
        expect_led(&c, "t0");
        cluster_fini(&c);
    }
    cr_assert(hit);
}

/* The leader's broker dies: the next one in sync leads, with a larger epoch, also when the dead one
 * was the controller. */
Test(ctl_driver, leaders_move_off_a_dead_broker)
{
    for (int dead = 0; dead < 3; dead++) {
        struct cluster c;
        cluster_init(&c, 3, 1);
        cluster_join(&c);
        create_topic(&c, "t0");
        pass(&c.w, 200);
        zk_mem_expire(c.w.mem, session_of(&c.members[dead].client));
        pass(&c.w, 200);
        struct arena arena = {0};
        struct znode_state state = read_state(&c, &arena, "t0", 0);
        cr_assert_eq(state.leader, dead == 0 ? 2 : 1);
        cr_assert_eq(state.leader_epoch, 1);
        cr_assert_eq(state.isr.count, 2);
        cr_assert_not(in_ids(state.isr, dead + 1));
        arena_fini(&arena);
        client_close(&c.members[dead].client);
        member_join(&c.members[dead]);
        pass(&c.w, 200);
        expect_everybody_live(&c);
        expect_led(&c, "t0");
        cluster_fini(&c);
    }
}

/* States that change together are written together. One of them is not as the controller believes:
 * the others are written all the same, and it once it has been read again. */
Test(ctl_driver, one_state_that_somebody_changed_does_not_hold_up_the_others)
{
    static const char path[] = "/brokers/topics/t0/partitions/0/state";
    struct cluster c;
    struct buf data = {0};
    cluster_init(&c, 3, 1);
    cluster_join(&c);
    create_topic(&c, "t0");
    pass(&c.w, 200);
    cr_assert(zk_mem_peek(c.w.mem, path, &data, NULL));
    buf_put_byte(&data, 0);
    zk_mem_poke(c.w.mem, path, (char *)data.data);
    struct member *dead = active(&c) == &c.members[0] ? &c.members[1] : &c.members[0];
    zk_mem_expire(c.w.mem, session_of(&dead->client));
    pass(&c.w, 200);
    struct arena arena = {0};
    for (int32_t p = 0; p < 2; p++) {
        struct znode_state state = read_state(&c, &arena, "t0", p);
        cr_assert_eq(state.isr.count, 2, "partition %d", p);
        cr_assert_neq(state.leader, dead == &c.members[0] ? 1 : 2);
    }
    arena_fini(&arena);
    buf_fini(&data);
    client_close(&dead->client);
    member_join(dead);
    pass(&c.w, 200);
    expect_led(&c, "t0");
    cluster_fini(&c);
}

/* A broker that restarts before anybody saw it gone has lost what it knew: it is told everything
 * again, and it does not stay the leader. */
Test(ctl_driver, a_broker_that_bounces_is_told_everything_again)
{
    struct cluster c;
    cluster_init(&c, 3, 1);
    cluster_join(&c);
    create_topic(&c, "t0");
    pass(&c.w, 200);
    struct member *controller = active(&c);
    struct member *m = controller == &c.members[0] ? &c.members[1] : &c.members[0];
    bounce(m);
    pass(&c.w, 200);
    expect_everybody_live(&c);
    expect_led(&c, "t0");
    cluster_fini(&c);
}

/* Nothing of its registration changes but the mark; its broker's session stays its owner. */
Test(ctl_driver, takes_the_mark_of_an_unclean_start_off_a_registration)
{
    static const char before[] =
        "{\"version\":5,\"host\":\"h\",\"port\":9002,\"endpoints\":[\"PLAINTEXT://h:9002\"],"
        "\"jmx_port\":-1,\"timestamp\":\"17\",\"rack\":\"r\","
        "\"listener_security_protocol_map\":{\"PLAINTEXT\":\"PLAINTEXT\"},\"features\":{}%s}";
    struct cluster c;
    char text[400];
    struct buf data = {0};
    struct zk_stat stat;
    cluster_init(&c, 2, 1);
    member_join(&c.members[0]);
    run(&c.w);
    snprintf(text, sizeof(text), before, ",\"unclean_start\":true");
    zk_mem_poke(c.w.mem, "/brokers/ids/2", text);
    run(&c.w);
    cr_assert(zk_mem_peek(c.w.mem, "/brokers/ids/2", &data, &stat));
    buf_put_byte(&data, 0);
    snprintf(text, sizeof(text), before, "");
    cr_assert_str_eq((char *)data.data, text);
    cr_assert_eq(stat.version, 1);
    buf_fini(&data);
    cluster_fini(&c);
}

/* Deleted and made again between two looks: the node is there each time, but it is another topic,
 * and its partitions need states of their own. */
Test(ctl_driver, a_topic_made_again_at_once_is_another_topic)
{
    struct cluster c;
    cluster_init(&c, 2, 1);
    cluster_join(&c);
    create_topic(&c, "t0");
    pass(&c.w, 200);
    expect_led(&c, "t0");
    zk_mem_poke_remove(c.w.mem, "/brokers/topics/t0/partitions/0/state");
    zk_mem_poke_remove(c.w.mem, "/brokers/topics/t0/partitions/0");
    zk_mem_poke_remove(c.w.mem, "/brokers/topics/t0/partitions/1/state");
    zk_mem_poke_remove(c.w.mem, "/brokers/topics/t0/partitions/1");
    zk_mem_poke_remove(c.w.mem, "/brokers/topics/t0/partitions");
    zk_mem_poke_remove(c.w.mem, "/brokers/topics/t0");
    create_topic(&c, "t0");
    pass(&c.w, 500);
    expect_led(&c, "t0");
    cluster_fini(&c);
}

/* The controller's session ends while it reads the list of brokers, and the answers that say so
 * come before that news: brokers that could not be read are not dead. */
Test(ctl_driver, a_session_that_ends_while_brokers_are_read_is_not_their_death)
{
    struct cluster c;
    cluster_init(&c, 3, 1);
    cluster_join(&c);
    create_topic(&c, "t0");
    pass(&c.w, 200);
    struct member *controller = active(&c);
    int disconnects = controller->disconnects;
    /* The list, then broker 1, 2, 3: the answer about the last is lost. */
    zk_mem_lose(c.w.mem, session_of(&controller->client), ZK_MEM_LOSE_REPLY, 3);
    zk_mem_poke(c.w.mem, "/brokers/ids/no_broker", "");
    run(&c.w);
    controller->client.on_expired = NULL;
    zk_mem_expire(c.w.mem, session_of(&controller->client));
    pass(&c.w, 200);
    cr_assert_eq(controller->disconnects, disconnects);
    controller->client.on_expired = on_expired;
    on_expired(&controller->client);
    cluster_fini(&c);
}
