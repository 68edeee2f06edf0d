#include <criterion/criterion.h>

#include "controller/assign.h"

enum { BROKERS_MAX = 10, PARTITIONS_MAX = 64 };

/* Places and compares with text: "0:1,2 1:2,3". */
static void assert_placed(const struct znode_ids *placed, int32_t first, int32_t count,
                          const char *wanted)
{
    struct buf out = {0};
    for (int32_t p = 0; p < count; p++) {
        buf_printf(&out, "%s%d:", p > 0 ? " " : "", first + p);
        for (int32_t i = 0; i < placed[p].count; i++) {
            buf_printf(&out, "%s%d", i > 0 ? "," : "", placed[p].ids[i]);
        }
    }
    buf_put_byte(&out, 0);
    cr_assert_str_eq((const char *)out.data, wanted);
    buf_fini(&out);
}

/* With a fixed start the placement is the one in the documentation of Kafka's AdminUtils: round
 * robin leaders, and a shift of the second replicas that grows by one each time round. */
Test(assign, follows_kafkas_example_without_racks)
{
    struct arena arena = {0};
    struct rng rng;
    rng_seed(&rng, 1);
    struct assign_broker brokers[] = {
        {4, STR_NULL}, {0, STR_NULL}, {2, STR_NULL}, {3, STR_NULL}, {1, STR_NULL}};
    struct znode_ids placed[10];
    struct assign_request request = {
        .brokers = brokers,
        .brokers_count = 5,
        .partitions_count = 10,
        .replication_factor = 3,
        .partition_first = 0,
        .first_replica_of_0 = 0,
    };
    cr_assert_eq(assign_replicas(&arena, &rng, &request, placed, NULL), ERR_OK);
    assert_placed(
        placed, 0, 10,
        "0:0,1,2 1:1,2,3 2:2,3,4 3:3,4,0 4:4,0,1 5:0,2,3 6:1,3,4 7:2,4,0 8:3,0,1 9:4,1,2");
    arena_fini(&arena);
}

/* Brokers of three racks are interleaved, and no two replicas of a partition share a rack: the
 * example in Kafka's documentation, racks 0-5: rack1={0,3}... */
Test(assign, spreads_over_racks)
{
    struct arena arena = {0};
    struct rng rng;
    rng_seed(&rng, 1);
    struct assign_broker brokers[] = {{0, STR("rack1")}, {1, STR("rack3")}, {2, STR("rack3")},
                                      {3, STR("rack2")}, {4, STR("rack2")}, {5, STR("rack1")}};
    struct znode_ids placed[6];
    struct assign_request request = {
        .brokers = brokers,
        .brokers_count = 6,
        .partitions_count = 6,
        .replication_factor = 3,
        .partition_first = 0,
        .first_replica_of_0 = 0,
    };
    cr_assert_eq(assign_replicas(&arena, &rng, &request, placed, NULL), ERR_OK);
    assert_placed(placed, 0, 6, "0:0,3,1 1:3,1,5 2:1,5,4 3:5,4,2 4:4,2,0 5:2,0,3");
    arena_fini(&arena);
}

/* Partitions added later go on where the topic's first ones left off. */
Test(assign, added_partitions_continue)
{
    struct arena arena = {0};
    struct rng rng;
    rng_seed(&rng, 1);
    struct assign_broker brokers[] = {{1, STR_NULL}, {2, STR_NULL}, {3, STR_NULL}};
    struct znode_ids placed[3];
    struct assign_request request = {
        .brokers = brokers,
        .brokers_count = 3,
        .partitions_count = 3,
        .replication_factor = 2,
        .partition_first = 2,
        .first_replica_of_0 = 2,
    };
    cr_assert_eq(assign_replicas(&arena, &rng, &request, placed, NULL), ERR_OK);
    assert_placed(placed, 2, 3, "2:1,3 3:2,3 4:3,1");
    arena_fini(&arena);
}

/* What cannot be placed is refused in Kafka's words. */
Test(assign, refuses_what_cannot_be)
{
    struct arena arena = {0};
    struct rng rng;
    rng_seed(&rng, 1);
    struct assign_broker brokers[] = {{1, STR_NULL}, {2, STR("r")}};
    struct znode_ids placed[1];
    struct errmsg msg;
    struct assign_request request = {brokers, 1, 1, 2, 0, -1};
    cr_assert_eq(assign_replicas(&arena, &rng, &request, placed, &msg),
                 ERR_INVALID_REPLICATION_FACTOR);
    cr_assert_str_eq(msg.text, "Replication factor: 2 larger than available brokers: 1.");
    request.replication_factor = 0;
    cr_assert_eq(assign_replicas(&arena, &rng, &request, placed, &msg),
                 ERR_INVALID_REPLICATION_FACTOR);
    request.replication_factor = 1;
    request.partitions_count = 0;
    cr_assert_eq(assign_replicas(&arena, &rng, &request, placed, &msg), ERR_INVALID_PARTITIONS);
    request.partitions_count = 1;
    request.brokers_count = 2;
    cr_assert_eq(assign_replicas(&arena, &rng, &request, placed, &msg), ERR_INVALID_REQUEST);
    arena_fini(&arena);
}

static int32_t rack_of(const struct assign_broker *brokers, int32_t count, int32_t id)
{
    for (int32_t i = 0; i < count; i++) {
        if (brokers[i].id == id) {
            return brokers[i].rack.ptr != NULL ? brokers[i].rack.ptr[0] : -1;
        }
    }
    cr_assert(false, "placed on a broker that does not exist");
    return -1;
}

/* For random clusters: replicas distinct, racks not repeated before all are used, leaders even to
 * within one. */
Test(assign, properties_hold_for_random_clusters)
{
    static const char *const racks[] = {"a", "b", "c"};
    struct rng rng;
    rng_seed(&rng, 42);
    for (int round = 0; round < 500; round++) {
        struct arena arena = {0};
        struct assign_broker brokers[BROKERS_MAX];
        struct znode_ids placed[PARTITIONS_MAX];
        int32_t leaders[BROKERS_MAX] = {0};
        bool with_racks = rng_below(&rng, 2) == 0;
        int32_t count = 1 + (int32_t)rng_below(&rng, BROKERS_MAX);
        int32_t racks_seen = 0;
        for (int32_t i = 0; i < count; i++) {
            int rack = (int)rng_below(&rng, 3);
            brokers[i] =
                (struct assign_broker){i * 3 + 1, with_racks ? str_of(racks[rack]) : STR_NULL};
            racks_seen |= 1 << rack;
        }
        int32_t racks_count = __builtin_popcount((unsigned)racks_seen);
        int32_t factor = 1 + (int32_t)rng_below(&rng, (uint64_t)count);
        int32_t partitions = 1 + (int32_t)rng_below(&rng, PARTITIONS_MAX);
        struct assign_request request = {brokers, count, partitions, factor, 0, -1};
        cr_assert_eq(assign_replicas(&arena, &rng, &request, placed, NULL), ERR_OK);
        for (int32_t p = 0; p < partitions; p++) {
            unsigned used = 0;
            cr_assert_eq(placed[p].count, factor);
            leaders[(placed[p].ids[0] - 1) / 3]++;
            for (int32_t i = 0; i < factor; i++) {
                for (int32_t j = 0; j < i; j++) {
                    cr_assert_neq(placed[p].ids[i], placed[p].ids[j]);
                }
                int32_t rack = rack_of(brokers, count, placed[p].ids[i]);
                if (with_racks) {
                    cr_assert(i >= racks_count || (used & 1u << (rack - 'a')) == 0);
                    used |= 1u << (rack - 'a');
                }
            }
        }
        for (int32_t i = 1; i < count; i++) {
            cr_assert_leq(abs(leaders[i] - leaders[0]), 1);
        }
        arena_fini(&arena);
    }
}
