/* DescribeConfigs of what is asked for very often: of this broker, and of a topic whose own values
 * are in a ZooKeeper that counts who reads. */
#include "client_fixture.h"

#include "admin/admin_host.h"
#include "admin/admin_service.h"
#include "zk/zk_mem.h"

enum { VERSION = 4, HEAD_BYTES = 9, TOPIC = 2, BROKER = 4, MANY = 5000 };

static struct zk_mem *mem;
static struct zk *zk;
static struct admin *admin;
static const struct zk_ops *ops;
static struct zk_ops counting;
static int reads;

static void count_get(struct zk *of, const char *path, bool watch, zk_result_fn *fn, void *arg)
{
    reads++;
    ops->get(of, path, watch, fn, arg);
}

static void on_session(void *arg, enum zk_session_event event)
{
    (void)arg, (void)event;
}

static void on_watch(void *arg, enum zk_watch_event event, struct str path)
{
    (void)arg, (void)event, (void)path;
}

/* The topic that there is. */
static void tell_metadata(void)
{
    static const int32_t me[] = {1};
    struct meta_partition partition = {
        .leader = 1, .replicas = me, .replicas_count = 1, .isr = me, .isr_count = 1};
    struct meta_edit *edit = meta_edit_begin(&broker.meta);
    meta_edit_partition(edit, STR("orders"), (struct uuid){{7}}, &partition);
    meta_edit_commit(edit);
}

static void begin(void)
{
    static const struct zk_events events = {on_session, on_watch};
    world_init();
    mem = zk_mem_new(&test_clock.clock, 1);
    struct zk_factory *factory = zk_mem_factory(mem);
    zk = factory->open(factory, netloop.loop, "any", 6000, &events, NULL);
    settle();
    ops = zk->ops;
    counting = *ops;
    counting.get = count_get;
    zk->ops = &counting;
    zk_mem_poke(mem, "/config/topics/orders",
                "{\"version\":1,\"config\":{\"retention.ms\":\"5\"}}");
    broker.id = 1;
    broker.control = netloop.loop;
    meta_cell_init(&broker.meta);
    meta_reader_init(&netloop.meta, &broker.meta);
    tell_metadata();
    admin = admin_new(netloop.loop);
    admin_set_session(admin, zk);
    struct admin_host host = {.control = netloop.loop, .meta = &broker.meta};
    broker.admin = admin_service_new(&host, admin);
}

static void end(void)
{
    admin_set_session(admin, NULL);
    zk->ops->close(zk);
    settle();
    admin_service_free(broker.admin);
    admin_free(admin);
    zk_mem_free(mem);
    meta_reader_fini(&netloop.meta);
    meta_cell_fini(&broker.meta);
    world_fini();
}

TestSuite(describe_configs, .init = begin, .fini = end);

/* The same, `count` times. */
static void put_describe(struct fake_stream *fake, int8_t type, const char *name, int count)
{
    static struct describe_configs_request_describe_configs_resource resources[MANY];
    struct describe_configs_request request = {.resources = resources,
                                               .resources_count = count,
                                               .include_synonyms = true,
                                               .include_documentation = true};
    for (int i = 0; i < count; i++) {
        resources[i] = (struct describe_configs_request_describe_configs_resource){
            .resource_type = type, .resource_name = str_of(name), .configuration_keys_count = -1};
    }
    put_request(fake, API_DESCRIBE_CONFIGS, VERSION, 1, &request);
}

static struct describe_configs_response *answer(struct arena *arena, const struct fake_stream *fake)
{
    struct describe_configs_response *reply =
        codec_array(&describe_configs_response_desc, arena, 1);
    struct bytes body = {fake->out.data + HEAD_BYTES, fake->out.size - HEAD_BYTES};
    cr_assert_gt(fake->out.size, HEAD_BYTES);
    cr_assert_eq(codec_decode(&describe_configs_response_desc, VERSION, body, arena, reply, NULL),
                 ERR_OK);
    return reply;
}

/* As in Kafka: one result for each that is asked for, in that order. */
Test(describe_configs, what_is_asked_for_twice_is_answered_twice)
{
    struct arena arena = {0};
    struct fake_stream *fake = connection();
    put_describe(fake, BROKER, "1", 2);
    settle();
    struct describe_configs_response *reply = answer(&arena, fake);
    cr_assert_eq(reply->results_count, 2);
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(reply->results[i].error_code, 0);
        cr_assert(str_is(reply->results[i].resource_name, "1"));
        cr_assert_gt(reply->results[i].configs_count, 200);
    }
    arena_fini(&arena);
}

static struct str value_of(const struct describe_configs_response_describe_configs_result *result,
                           const char *name)
{
    for (int32_t i = 0; i < result->configs_count; i++) {
        if (str_is(result->configs[i].name, name)) {
            return result->configs[i].value;
        }
    }
    return STR_NULL;
}

/* A request of some kilobytes asked ZooKeeper a thousand times. */
Test(describe_configs, a_topic_is_read_once_however_often_it_is_asked_for)
{
    enum { TIMES = 100 };
    struct arena arena = {0};
    struct fake_stream *fake = connection();
    put_describe(fake, TOPIC, "orders", TIMES);
    settle();
    struct describe_configs_response *reply = answer(&arena, fake);
    cr_assert_eq(reads, 1);
    cr_assert_eq(reply->results_count, TIMES);
    for (int i = 0; i < TIMES; i++) {
        cr_assert(str_is(value_of(&reply->results[i], "retention.ms"), "5"), "result %d", i);
    }
    arena_fini(&arena);
}

Test(describe_configs, of_a_topic_that_is_not_there_nothing_is_read)
{
    struct arena arena = {0};
    struct fake_stream *fake = connection();
    put_describe(fake, TOPIC, "payments", 3);
    settle();
    struct describe_configs_response *reply = answer(&arena, fake);
    cr_assert_eq(reads, 0);
    cr_assert_eq(reply->results[2].error_code, err_wire(ERR_UNKNOWN_TOPIC_OR_PARTITION));
    arena_fini(&arena);
}

static const struct describe_configs_response_describe_configs_resource_result *
entry_of(const struct describe_configs_response_describe_configs_result *result, const char *name)
{
    const struct describe_configs_response_describe_configs_resource_result *found = NULL;
    for (int32_t i = 0; i < result->configs_count; i++) {
        if (str_is(result->configs[i].name, name)) {
            cr_assert_null(found, "%s is there twice", name);
            found = &result->configs[i];
        }
    }
    return found;
}

static void set_key(enum config_source source, const char *name, const char *value)
{
    struct config_pair pair = {name, value};
    const struct config *now = config_cell_get(&config);
    config_cell_set(&config, config_with_layer(now, source, &pair, 1));
    config_put(now);
}

static void set_dynamic(enum config_source source, const char *value)
{
    set_key(source, "listener.name.x.max.connections", value);
}

/* What is set for all brokers was told with this broker's own value, where it has one. */
Test(describe_configs, what_a_broker_sets_for_itself_is_not_set_for_all)
{
    struct arena arena = {0};
    set_dynamic(SOURCE_DYNAMIC_DEFAULT, "5");
    set_dynamic(SOURCE_DYNAMIC_BROKER, "6");
    struct fake_stream *fake = connection();
    put_describe(fake, BROKER, "", 1);
    settle();
    struct describe_configs_response *reply = answer(&arena, fake);
    const struct describe_configs_response_describe_configs_resource_result *entry =
        entry_of(&reply->results[0], "listener.name.x.max.connections");
    cr_assert_not_null(entry);
    cr_expect(str_is(entry->value, "5"));
    cr_expect_eq(entry->config_source, SOURCE_DYNAMIC_DEFAULT);
    cr_expect_eq(entry->synonyms_count, 1);
    arena_fini(&arena);
}

Test(describe_configs, a_key_of_a_listener_has_its_value_of_each_layer)
{
    struct arena arena = {0};
    set_dynamic(SOURCE_DYNAMIC_DEFAULT, "5");
    set_dynamic(SOURCE_DYNAMIC_BROKER, "6");
    struct fake_stream *fake = connection();
    put_describe(fake, BROKER, "1", 1);
    settle();
    struct describe_configs_response *reply = answer(&arena, fake);
    const struct describe_configs_response_describe_configs_resource_result *entry =
        entry_of(&reply->results[0], "listener.name.x.max.connections");
    cr_assert_not_null(entry);
    cr_expect(str_is(entry->value, "6"));
    cr_expect_eq(entry->config_source, SOURCE_DYNAMIC_BROKER);
    cr_assert_eq(entry->synonyms_count, 2);
    cr_expect(str_is(entry->synonyms[1].value, "5"));
    arena_fini(&arena);
}

/* The configuration is told as if it had been in the file. */
static void set_static(const struct config_pair *pairs, int count)
{
    struct config *fresh;
    struct errmsg msg;
    cr_assert_eq(config_from_pairs(pairs, count, &fresh, &msg), ERR_OK, "%s", msg.text);
    config_cell_set(&config, fresh);
}

/* Passwords for ZooKeeper, and the one for delegation tokens by its old name, were told to anybody
 * who asked. */
Test(describe_configs, no_password_is_told)
{
    static const struct config_pair pairs[] = {
        {"zookeeper.connect", "z:1"},
        {"zookeeper.ssl.keystore.password", "hush-1"},
        {"zookeeper.ssl.truststore.password", "hush-2"},
        {"delegation.token.master.key", "hush-3"},
        {"delegation.token.secret.key", "hush-4"},
        {"password.encoder.secret", "hush-5"},
        {"ssl.keystore.password", "hush-6"},
    };
    struct arena arena = {0};
    set_static(pairs, sizeof(pairs) / sizeof(pairs[0]));
    struct fake_stream *fake = connection();
    put_describe(fake, BROKER, "1", 1);
    settle();
    struct describe_configs_response *reply = answer(&arena, fake);
    for (size_t i = 1; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
        const struct describe_configs_response_describe_configs_resource_result *entry =
            entry_of(&reply->results[0], pairs[i].name);
        cr_assert_not_null(entry, "%s", pairs[i].name);
        cr_expect(entry->is_sensitive, "%s", pairs[i].name);
    }
    cr_expect_null(memmem(fake->out.data, fake->out.size, "hush-", 5));
    arena_fini(&arena);
}

/* They were told without their packages. */
Test(describe_configs, java_classes_are_told_by_their_whole_names)
{
    struct arena arena = {0};
    struct fake_stream *fake = connection();
    put_describe(fake, BROKER, "1", 1);
    settle();
    struct describe_configs_response *reply = answer(&arena, fake);
    const struct describe_configs_response_describe_configs_resource_result *entry =
        entry_of(&reply->results[0], "principal.builder.class");
    cr_assert_not_null(entry);
    cr_expect(str_is(entry->value, "org.apache.kafka.common.security.authenticator."
                                   "DefaultKafkaPrincipalBuilder"));
    arena_fini(&arena);
}

/* Kafka's internal keys, and those that it knows only as dynamic ones, were told to everybody. */
Test(describe_configs, keys_that_kafka_hides_are_told_where_they_are_set)
{
    struct arena arena = {0};
    set_key(SOURCE_DYNAMIC_BROKER, "leader.replication.throttled.rate", "1000");
    struct fake_stream *fake = connection();
    put_describe(fake, BROKER, "1", 1);
    settle();
    struct describe_configs_response *reply = answer(&arena, fake);
    cr_expect_null(entry_of(&reply->results[0], "unstable.api.versions.enable"));
    cr_expect_null(entry_of(&reply->results[0], "follower.replication.throttled.rate"));
    cr_expect_not_null(entry_of(&reply->results[0], "leader.replication.throttled.rate"));
    cr_expect_not_null(entry_of(&reply->results[0], "num.partitions"));
    arena_fini(&arena);
}

/* Ten bytes ask for 50,000; with another spelling of the broker's id ("01", " 1") so they did even
 * where what was named twice was answered once. */
Test(describe_configs, an_answer_that_would_take_all_memory_is_not_made, .timeout = 100)
{
    struct fake_stream *fake = connection();
    put_describe(fake, BROKER, "1", MANY);
    settle();
    cr_assert(fake->closed);
    cr_assert_eq(fake->out.size, 0);
    cr_assert_eq(logged("client me asks for 5000 resources at once"), 1);
}
