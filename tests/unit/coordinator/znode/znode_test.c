#include <criterion/criterion.h>

#include "base/mem.h"
#include "base/rng.h"
#include "znode/path.h"
#include "znode/znode.h"

static struct bytes text(const char *s)
{
    return (struct bytes){(const uint8_t *)s, strlen(s)};
}

static void assert_text(struct buf *out, const char *wanted)
{
    buf_put_byte(out, 0);
    cr_assert_str_eq((const char *)out->data, wanted);
    buf_fini(out);
}

static const char broker_v5[] =
    "{\"version\":5,\"host\":\"h1\",\"port\":9092,\"endpoints\":[\"INTERNAL://[::1]:29092\","
    "\"EXTERNAL://h1:9092\"],\"jmx_port\":-1,\"timestamp\":\"1700000000123\",\"rack\":\"r\\\"1\","
    "\"listener_security_protocol_map\":{\"INTERNAL\":\"SSL\",\"EXTERNAL\":\"PLAINTEXT\"},"
    "\"features\":{}}";

/* The registration of a broker reads back what it wrote; host and port are those of the first
 * PLAINTEXT listener; an IPv6 address gets its brackets. */
Test(znode_broker, version_5_round_trips)
{
    struct arena arena = {0};
    struct buf out = {0};
    struct znode_endpoint endpoints[] = {
        {STR("INTERNAL"), STR("::1"), 29092, ZNODE_SSL},
        {STR("EXTERNAL"), STR("h1"), 9092, ZNODE_PLAINTEXT},
    };
    struct znode_broker broker = {endpoints, 2, -1, 1700000000123, STR("r\"1"), false};
    znode_broker_encode(&broker, &out);
    assert_text(&out, broker_v5);

    struct znode_broker got;
    cr_assert_eq(znode_broker_decode(&arena, text(broker_v5), &got, NULL), ERR_OK);
    cr_assert_eq(got.endpoints_count, 2);
    cr_assert(str_is(got.endpoints[0].host, "::1"));
    cr_assert_eq(got.endpoints[0].security, ZNODE_SSL);
    cr_assert_eq(got.endpoints[1].port, 9092);
    cr_assert_eq(got.timestamp_ms, 1700000000123);
    cr_assert(str_is(got.rack, "r\"1"));
    arena_fini(&arena);
}

/* Without a PLAINTEXT listener the old fields say so in Kafka's way. */
Test(znode_broker, without_plaintext_host_is_null)
{
    struct buf out = {0};
    struct znode_endpoint endpoint = {STR("S"), STR("h"), 1, ZNODE_SASL_SSL};
    struct znode_broker broker = {&endpoint, 1, 9999, 5, STR_NULL, false};
    znode_broker_encode(&broker, &out);
    assert_text(&out, "{\"version\":5,\"host\":null,\"port\":-1,\"endpoints\":[\"S://h:1\"],"
                      "\"jmx_port\":9999,\"timestamp\":\"5\",\"listener_security_protocol_map\":"
                      "{\"S\":\"SASL_SSL\"},\"features\":{}}");
}

/* Nodes that older brokers wrote are understood. */
Test(znode_broker, reads_versions_1_and_2)
{
    struct arena arena = {0};
    struct znode_broker got;
    cr_assert_eq(znode_broker_decode(
                     &arena, text("{\"version\":1,\"host\":\"a\",\"port\":1,\"timestamp\":\"7\"}"),
                     &got, NULL),
                 ERR_OK);
    cr_assert_eq(got.endpoints_count, 1);
    cr_assert(str_is(got.endpoints[0].listener, "PLAINTEXT"));
    cr_assert_eq(znode_broker_decode(&arena,
                                     text("{\"version\":2,\"host\":\"a\",\"port\":1,\"jmx_port\":2,"
                                          "\"timestamp\":\"7\",\"endpoints\":[\"SSL://a:3\"]}"),
                                     &got, NULL),
                 ERR_OK);
    cr_assert_eq(got.endpoints[0].security, ZNODE_SSL);
    cr_assert_eq(got.jmx_port, 2);
    arena_fini(&arena);
}

/* A topic reads back what it wrote; moves are listed only for the partitions that move. */
Test(znode_topic, version_3_round_trips)
{
    static const char json[] =
        "{\"version\":3,\"topic_id\":\"AQIDBAUGBwgJCgsMDQ4PEA\",\"partitions\":{\"0\":[1,2],"
        "\"1\":[2,3,1]},\"adding_replicas\":{\"1\":[1]},\"removing_replicas\":{}}";
    struct arena arena = {0};
    struct buf out = {0};
    struct znode_topic topic;
    cr_assert_eq(znode_topic_decode(&arena, text(json), &topic, NULL), ERR_OK);
    cr_assert_eq(topic.partitions_count, 2);
    cr_assert_eq(topic.id.raw[15], 16);
    cr_assert_eq(topic.partitions[1].replicas.count, 3);
    cr_assert_eq(topic.partitions[1].adding.ids[0], 1);
    cr_assert_eq(topic.partitions[0].adding.count, 0);
    znode_topic_encode(&topic, &out);
    assert_text(&out, json);
    arena_fini(&arena);
}

/* Partitions come by number whatever their order in the node; version 1 has neither id nor moves.
 */
Test(znode_topic, version_1_is_sorted_by_partition)
{
    struct arena arena = {0};
    struct znode_topic topic;
    cr_assert_eq(znode_topic_decode(&arena,
                                    text("{\"version\":1,\"partitions\":{\"10\":[1],\"2\":[1]}}"),
                                    &topic, NULL),
                 ERR_OK);
    cr_assert(uuid_is_zero(topic.id));
    cr_assert_eq(topic.partitions[0].index, 2);
    cr_assert_eq(topic.partitions[1].index, 10);
    arena_fini(&arena);
}

/* What a person may get wrong by hand is named, not believed. */
Test(znode_topic, refuses_nonsense_with_a_reason)
{
    static const char *const cases[][2] = {
        {"", "no document"},
        {"[]", "not a JSON object"},
        {"{\"partitions\":[]}", "\"partitions\" is not an object"},
        {"{\"partitions\":{\"x\":[1]}}", "\"x\" is not a partition number"},
        {"{\"partitions\":{\"01\":[1]}}", "\"01\" is not a partition number"},
        {"{\"partitions\":{\"0\":[1,1]}}", "names a broker twice"},
        {"{\"partitions\":{\"0\":[-1]}}", "not a number in range"},
        {"{\"partitions\":{\"0\":[4294967296]}}", "not a number in range"},
        {"{\"partitions\":{},\"topic_id\":\"short\"}", "topic_id"},
        {"{\"partitions\":{\"0\":[1]}", "expected"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct arena arena = {0};
        struct znode_topic topic;
        struct errmsg msg = {""};
        cr_assert_eq(znode_topic_decode(&arena, text(cases[i][0]), &topic, &msg), ERR_MALFORMED);
        cr_assert(strstr(msg.text, cases[i][1]) != NULL, "%s: %s", cases[i][0], msg.text);
        arena_fini(&arena);
    }
}

/* The state of a partition, with and without the field that only a recovering leader has. */
Test(znode_state, round_trips)
{
    static const char *const cases[] = {
        "{\"controller_epoch\":4,\"leader\":1,\"version\":1,\"leader_epoch\":9,\"isr\":[1,2]}",
        "{\"controller_epoch\":4,\"leader\":-1,\"version\":1,\"leader_epoch\":9,\"isr\":[],"
        "\"leader_recovery_state\":1}",
    };
    for (size_t i = 0; i < 2; i++) {
        struct arena arena = {0};
        struct buf out = {0};
        struct znode_state state;
        cr_assert_eq(znode_state_decode(&arena, text(cases[i]), &state, NULL), ERR_OK);
        cr_assert_eq(state.leader_epoch, 9);
        cr_assert_eq(state.recovering, i == 1);
        znode_state_encode(&state, &out);
        assert_text(&out, cases[i]);
        arena_fini(&arena);
    }
}

/* An epoch that cannot rise any more was raised all the same: it became negative, was written like
 * that, and ended the controller. */
Test(znode_state, an_epoch_that_cannot_rise_is_damage)
{
    static const char *const cases[] = {
        "{\"controller_epoch\":4,\"leader\":1,\"version\":1,\"leader_epoch\":2147483647,\"isr\":[1]}",
        "{\"controller_epoch\":2147483647,\"leader\":1,\"version\":1,\"leader_epoch\":4,\"isr\":[1]}",
    };
    for (size_t i = 0; i < 2; i++) {
        struct arena arena = {0};
        struct znode_state state;
        cr_assert_eq(znode_state_decode(&arena, text(cases[i]), &state, NULL), ERR_MALFORMED);
        arena_fini(&arena);
    }
    int32_t epoch;
    cr_assert_eq(znode_controller_epoch_decode(text("2147483647"), &epoch, NULL), ERR_MALFORMED);
    cr_assert_eq(znode_controller_epoch_decode(text("2147483646"), &epoch, NULL), ERR_OK);
}

/* What is ours alone stands behind what is Kafka's, and only where it says something. */
Test(znode_state, with_eligible_replicas_round_trips)
{
    static const int32_t isr[] = {1};
    static const int32_t eligible[] = {3, 2};
    struct znode_state state = {.leader = 1,
                                .leader_epoch = 4,
                                .controller_epoch = 2,
                                .isr = {isr, 1},
                                .eligible = {eligible, 2}};
    struct arena arena = {0};
    struct buf out = {0};
    struct errmsg msg;
    znode_state_encode(&state, &out);
    buf_put_byte(&out, 0);
    cr_assert_str_eq((char *)out.data,
                     "{\"controller_epoch\":2,\"leader\":1,\"version\":1,\"leader_epoch\":4,"
                     "\"isr\":[1],\"eligible_replicas\":[3,2]}");
    cr_assert_eq(znode_state_decode(&arena, (struct bytes){out.data, out.size - 1}, &state, &msg),
                 ERR_OK);
    cr_assert_eq(state.eligible.count, 2);
    cr_assert_eq(state.eligible.ids[0], 3);
    static const char bad[] = "{\"controller_epoch\":2,\"leader\":1,\"version\":1,"
                              "\"leader_epoch\":4,\"isr\":[1],\"eligible_replicas\":[3,3]}";
    cr_assert_eq(znode_state_decode(&arena, (struct bytes){(const uint8_t *)bad, sizeof(bad) - 1},
                                    &state, &msg),
                 ERR_MALFORMED);
    buf_fini(&out);
    arena_fini(&arena);
}

Test(znode_broker, an_unclean_start_round_trips)
{
    static const struct znode_endpoint endpoint = {STR("PLAINTEXT"), STR("h"), 9092,
                                                   ZNODE_PLAINTEXT};
    struct znode_broker broker = {
        .endpoints = &endpoint, .endpoints_count = 1, .jmx_port = -1, .unclean = true};
    struct arena arena = {0};
    struct buf out = {0};
    struct errmsg msg;
    znode_broker_encode(&broker, &out);
    cr_assert_eq(znode_broker_decode(&arena, (struct bytes){out.data, out.size}, &broker, &msg),
                 ERR_OK);
    cr_assert(broker.unclean);
    buf_put_byte(&out, 0);
    cr_assert_not_null(strstr((char *)out.data, "\"features\":{},\"unclean_start\":true}"));
    buf_fini(&out);
    arena_fini(&arena);
}

/* The controller's two nodes. */
Test(znode_controller, round_trips)
{
    struct buf out = {0};
    struct znode_controller controller = {3, 1700000000000, -1};
    znode_controller_encode(&controller, &out);
    struct znode_controller got;
    cr_assert_eq(znode_controller_decode((struct bytes){out.data, out.size}, &got, NULL), ERR_OK);
    cr_assert_eq(got.broker_id, 3);
    cr_assert_eq(got.timestamp_ms, 1700000000000);
    assert_text(&out, "{\"version\":2,\"brokerid\":3,\"timestamp\":\"1700000000000\","
                      "\"kraftControllerEpoch\":-1}");
    int32_t epoch;
    cr_assert_eq(znode_controller_epoch_decode(text("17"), &epoch, NULL), ERR_OK);
    cr_assert_eq(epoch, 17);
    cr_assert_eq(znode_controller_epoch_decode(text("17x"), &epoch, NULL), ERR_MALFORMED);
    cr_assert_eq(znode_controller_epoch_decode(text("-1"), &epoch, NULL), ERR_MALFORMED);
    cr_assert_eq(znode_controller_epoch_decode(text("99999999999"), &epoch, NULL), ERR_MALFORMED);
}

/* Configurations keep their order and survive every character; a node without data is empty. */
Test(znode_config, round_trips_and_reads_null)
{
    static const char json[] = "{\"version\":1,\"config\":{\"retention.ms\":\"1000\","
                               "\"note\":\"a\\\"b\\\\c\\n\\u0001\xc3\xa4\"}}";
    struct arena arena = {0};
    struct buf out = {0};
    struct znode_config config;
    cr_assert_eq(znode_config_decode(&arena, text(json), &config, NULL), ERR_OK);
    cr_assert_eq(config.pairs_count, 2);
    cr_assert(str_is(config.pairs[1].value, "a\"b\\c\n\x01\xc3\xa4"));
    znode_config_encode(&config, &out);
    assert_text(&out, json);
    cr_assert_eq(znode_config_decode(&arena, (struct bytes){NULL, 0}, &config, NULL), ERR_OK);
    cr_assert_eq(config.pairs_count, 0);
    cr_assert_eq(znode_config_decode(&arena, text("{\"config\":{\"a\":1}}"), &config, NULL),
                 ERR_MALFORMED);
    arena_fini(&arena);
}

/* Bytes that are not UTF-8 cannot make a document that nobody can read. */
Test(znode_config, replaces_bytes_that_are_not_utf8)
{
    struct buf out = {0};
    struct znode_pair pair = {STR("k"), {"a\xff\xc3", 3}};
    struct znode_config config = {&pair, 1};
    znode_config_encode(&config, &out);
    assert_text(&out, "{\"version\":1,\"config\":{\"k\":\"a\xef\xbf\xbd\xef\xbf\xbd\"}}");
}

/* Both versions of a change notification name the entity by its path. */
Test(znode_config_change, reads_both_versions)
{
    struct arena arena = {0};
    struct buf out = {0};
    struct str path;
    cr_assert_eq(
        znode_config_change_decode(
            &arena, text("{\"version\":2,\"entity_path\":\"users/a/clients/b\"}"), &path, NULL),
        ERR_OK);
    cr_assert(str_is(path, "users/a/clients/b"));
    cr_assert_eq(znode_config_change_decode(
                     &arena,
                     text("{\"version\":1,\"entity_type\":\"topics\",\"entity_name\":\"t\"}"),
                     &path, NULL),
                 ERR_OK);
    cr_assert(str_is(path, "topics/t"));
    znode_config_change_encode(STR("brokers/<default>"), &out);
    assert_text(&out, "{\"version\":2,\"entity_path\":\"brokers/<default>\"}");
    arena_fini(&arena);
}

/* Numbers that Kafka keeps as strings are strings. */
Test(znode_small, producer_block_cluster_id_and_events_round_trip)
{
    struct arena arena = {0};
    struct buf out = {0};
    struct znode_producer_block block = {2, 1000, 1999};
    znode_producer_block_encode(&block, &out);
    struct znode_producer_block got;
    cr_assert_eq(znode_producer_block_decode((struct bytes){out.data, out.size}, &got, NULL),
                 ERR_OK);
    cr_assert_eq(got.last, 1999);
    assert_text(&out,
                "{\"version\":1,\"broker\":2,\"block_start\":\"1000\",\"block_end\":\"1999\"}");
    cr_assert_eq(znode_producer_block_decode(
                     text("{\"broker\":1,\"block_start\":\"5\",\"block_end\":\"4\"}"), &got, NULL),
                 ERR_MALFORMED);

    struct str id;
    znode_cluster_id_encode(STR("AQIDBAUGBwgJCgsMDQ4PEA"), &out);
    cr_assert_eq(znode_cluster_id_decode(&arena, (struct bytes){out.data, out.size}, &id, NULL),
                 ERR_OK);
    cr_assert(str_is(id, "AQIDBAUGBwgJCgsMDQ4PEA"));
    assert_text(&out, "{\"version\":\"1\",\"id\":\"AQIDBAUGBwgJCgsMDQ4PEA\"}");

    int32_t broker;
    znode_log_dir_event_encode(7, &out);
    cr_assert_eq(znode_log_dir_event_decode((struct bytes){out.data, out.size}, &broker, NULL),
                 ERR_OK);
    cr_assert_eq(broker, 7);
    buf_fini(&out);
    arena_fini(&arena);
}

/* The two requests that tools leave in ZooKeeper. */
Test(znode_tps, preferred_and_reassign_round_trip)
{
    static const char reassign[] =
        "{\"version\":1,\"partitions\":[{\"topic\":\"t\",\"partition\":3,\"replicas\":[1,2]}]}";
    struct arena arena = {0};
    struct buf out = {0};
    struct znode_tps tps;
    cr_assert_eq(znode_reassign_decode(&arena, text(reassign), &tps, NULL), ERR_OK);
    cr_assert_eq(tps.items[0].replicas.count, 2);
    znode_reassign_encode(&tps, &out);
    assert_text(&out, reassign);
    znode_preferred_encode(&tps, &out);
    assert_text(&out, "{\"version\":1,\"partitions\":[{\"topic\":\"t\",\"partition\":3}]}");
    cr_assert_eq(znode_preferred_decode(&arena, text("{\"partitions\":[1]}"), &tps, NULL),
                 ERR_MALFORMED);
    arena_fini(&arena);
}

static enum err decode_all(struct arena *arena, struct bytes data)
{
    struct znode_broker broker;
    struct znode_topic topic;
    struct znode_state state;
    struct znode_config config;
    struct znode_tps tps;
    struct errmsg msg;
    int ok = 0;
    ok += znode_broker_decode(arena, data, &broker, &msg) == ERR_OK;
    ok += znode_topic_decode(arena, data, &topic, &msg) == ERR_OK;
    ok += znode_state_decode(arena, data, &state, &msg) == ERR_OK;
    ok += znode_config_decode(arena, data, &config, &msg) == ERR_OK;
    ok += znode_reassign_decode(arena, data, &tps, &msg) == ERR_OK;
    return ok > 0 ? ERR_OK : ERR_MALFORMED;
}

/* Broken documents are refused or read, never crash: every prefix, and random changes of one byte.
 */
Test(znode_all, survive_every_cut_and_random_damage)
{
    struct rng rng;
    rng_seed(&rng, 1);
    for (size_t cut = 0; cut < sizeof(broker_v5); cut++) {
        struct arena arena = {0};
        uint8_t *copy = mem_alloc(cut + 1);
        memcpy(copy, broker_v5, cut);
        (void)decode_all(&arena, (struct bytes){copy, cut});
        mem_free(copy);
        arena_fini(&arena);
    }
    for (int i = 0; i < 2000; i++) {
        struct arena arena = {0};
        char damaged[sizeof(broker_v5)];
        memcpy(damaged, broker_v5, sizeof(broker_v5));
        damaged[rng_below(&rng, sizeof(broker_v5) - 1)] = (char)rng_next(&rng);
        (void)decode_all(&arena, (struct bytes){(uint8_t *)damaged, sizeof(damaged) - 1});
        arena_fini(&arena);
    }
}

/* Paths are Kafka's, and a child is recognised only directly below its parent. */
Test(path, builds_and_takes_apart)
{
    struct arena arena = {0};
    cr_assert_str_eq(path_broker_id(&arena, 3), "/brokers/ids/3");
    cr_assert_str_eq(path_partition_state(&arena, STR("t"), 7),
                     "/brokers/topics/t/partitions/7/state");
    cr_assert_str_eq(path_config(&arena, "brokers", STR(PATH_DEFAULT_ENTITY)),
                     "/config/brokers/<default>");
    cr_assert(str_is(path_child(STR("/brokers/topics/t"), PATH_TOPICS), "t"));
    cr_assert(path_child(STR("/brokers/topics"), PATH_TOPICS).ptr == NULL);
    cr_assert(path_child(STR("/brokers/topics/t/partitions"), PATH_TOPICS).ptr == NULL);
    cr_assert(path_child(STR("/brokers/topicsX/t"), PATH_TOPICS).ptr == NULL);
    arena_fini(&arena);
}
