/* Reassignments by the controller's driver: every operation may be lost, and so may the controller.
 */
#include "driver_fixture.h"

struct answer {
    int count;
    enum err err;
};

static void on_reassigned(void *arg, enum err err, const struct ctl_reassigned *results,
                          int32_t count)
{
    struct answer *answer = arg;
    answer->count++;
    answer->err = err != ERR_OK ? err : results[0].err;
    cr_assert(err != ERR_OK || count == 1);
}

/* The line in the node, and who has files. */
static void expect_replicas(struct cluster *c, const char *topic, int32_t p, const int32_t *ids,
                            int32_t count)
{
    struct arena arena = {0};
    struct buf data = {0};
    struct znode_topic node = {0};
    cr_assert(zk_mem_peek(c->w.mem, path_topic(&arena, str_of(topic)), &data, NULL));
    cr_assert_eq(znode_topic_decode(&arena, (struct bytes){data.data, data.size}, &node, NULL),
                 ERR_OK);
    cr_assert_eq(node.partitions[p].replicas.count, count);
    cr_assert_arr_eq(node.partitions[p].replicas.ids, ids, (size_t)count * sizeof(*ids));
    cr_assert_eq(node.partitions[p].adding.count + node.partitions[p].removing.count, 0);
    struct znode_state state = read_state(c, &arena, topic, p);
    cr_assert(in_ids(node.partitions[p].replicas, state.leader));
    for (int32_t i = 0; i < state.isr.count; i++) {
        cr_assert(in_ids(node.partitions[p].replicas, state.isr.ids[i]));
    }
    for (int32_t i = 0; i < c->count; i++) {
        const struct told *told = told_of(&c->members[i], topic, p);
        cr_assert_eq(told->hosted, in_ids(node.partitions[p].replicas, i + 1), "%s-%d at %d", topic,
                     p, i + 1);
        cr_assert_eq(told->leader, state.leader);
    }
    buf_fini(&data);
    arena_fini(&arena);
}

/* Whichever operation is lost, before or after it happened: the partitions end up where they were
 * to go, by request and by an order in ZooKeeper, the files of the others are gone, and so is the
 * order. Whoever asked is told, and told the truth. */
Test(ctl_driver, every_operation_of_a_reassignment_may_be_lost, .timeout = 120)
{
    static const int32_t first[] = {3, 2};
    static const int32_t second[] = {2};
    for (int loss = ZK_MEM_LOSE_REPLY; loss <= ZK_MEM_LOSE_REQUEST; loss++) {
        for (int32_t k = 0; k < OPERATIONS_MAX; k++) {
            struct cluster c;
            struct answer answer = {0};
            cluster_init(&c, 3, 1);
            cluster_join(&c);
            create_topic(&c, "t0");
            pass(&c.w, 300);
            struct member *controller = active(&c);
            struct ctl_reassign item = {STR("t0"), 0, false, {first, 2}};
            zk_mem_lose(c.w.mem, session_of(&controller->client), (enum zk_mem_loss)loss, k);
            ctl_driver_reassign(controller->driver, &item, 1, on_reassigned, &answer);
            zk_mem_poke(c.w.mem, PATH_REASSIGN,
                        "{\"version\":1,\"partitions\":[{\"topic\":\"t0\",\"partition\":1,"
                        "\"replicas\":[2]}]}");
            pass(&c.w, QUIET_MS);
            cr_assert_eq(answer.count, 1, "operation %d", k);
            cr_assert_eq(answer.err, ERR_OK, "operation %d", k);
            expect_replicas(&c, "t0", 0, first, 2);
            expect_replicas(&c, "t0", 1, second, 1);
            cr_assert_str_eq(node_text(&c.w, PATH_REASSIGN), "(none)", "operation %d", k);
            cluster_fini(&c);
        }
    }
}

/* The controller dies after any number of turns: the next one goes on. A request that was not
 * answered may have been taken or not. */
Test(ctl_driver, a_reassignment_survives_its_controller)
{
    static const int32_t target[] = {3, 2};
    static const int32_t all[] = {1, 2, 3};
    for (int turns = 0; turns < 40; turns++) {
        struct cluster c;
        struct answer answer = {0};
        cluster_init(&c, 3, 1);
        cluster_join(&c);
        create_topic(&c, "t0");
        pass(&c.w, 300);
        struct ctl_reassign item = {STR("t0"), 0, false, {target, 2}};
        ctl_driver_reassign(active(&c)->driver, &item, 1, on_reassigned, &answer);
        for (int i = 0; i < turns; i++) {
            loop_turn(c.w.loop);
        }
        bounce(active(&c));
        pass(&c.w, QUIET_MS);
        struct buf data = {0};
        cr_assert(zk_mem_peek(c.w.mem, "/brokers/topics/t0", &data, NULL));
        buf_put_byte(&data, 0);
        bool moved = strstr((char *)data.data, "\"0\":[3,2]") != NULL;
        buf_fini(&data);
        cr_assert_eq(answer.count, 1);
        cr_assert(moved || answer.err == ERR_NOT_CONTROLLER, "after %d turns", turns);
        if (moved) {
            expect_replicas(&c, "t0", 0, target, 2);
        } else {
            expect_replicas(&c, "t0", 0, all, 3);
        }
        cluster_fini(&c);
    }
}
