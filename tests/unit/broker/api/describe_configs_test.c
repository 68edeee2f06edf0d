/* DescribeConfigs of this broker, which nothing but its configuration is needed for: what is asked
 * for very often. */
#include "client_fixture.h"

enum { VERSION = 4, HEAD_BYTES = 9, BROKER = 4, MANY = 5000 };

static void begin(void)
{
    world_init();
    broker.id = 1;
}

TestSuite(describe_configs, .init = begin, .fini = world_fini);

/* The same broker, `count` times. */
static void put_describe(struct fake_stream *fake, int count)
{
    static struct describe_configs_request_describe_configs_resource resources[MANY];
    struct describe_configs_request request = {.resources = resources,
                                               .resources_count = count,
                                               .include_synonyms = true,
                                               .include_documentation = true};
    for (int i = 0; i < count; i++) {
        resources[i] = (struct describe_configs_request_describe_configs_resource){
            .resource_type = BROKER, .resource_name = STR("1"), .configuration_keys_count = -1};
    }
    put_request(fake, API_DESCRIBE_CONFIGS, VERSION, 1, &request);
}

/* As in Kafka: one result for each that is asked for, in that order. */
Test(describe_configs, what_is_asked_for_twice_is_answered_twice)
{
    struct arena arena = {0};
    struct fake_stream *fake = connection();
    put_describe(fake, 2);
    settle();
    struct describe_configs_response *reply =
        codec_array(&describe_configs_response_desc, &arena, 1);
    struct bytes body = {fake->out.data + HEAD_BYTES, fake->out.size - HEAD_BYTES};
    cr_assert_eq(codec_decode(&describe_configs_response_desc, VERSION, body, &arena, reply, NULL),
                 ERR_OK);
    cr_assert_eq(reply->results_count, 2);
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(reply->results[i].error_code, 0);
        cr_assert(str_is(reply->results[i].resource_name, "1"));
        cr_assert_gt(reply->results[i].configs_count, 200);
    }
    arena_fini(&arena);
}

/* Ten bytes ask for 50,000; with another spelling of the broker's id ("01", " 1") so they did even
 * where what was named twice was answered once. */
Test(describe_configs, an_answer_that_would_take_all_memory_is_not_made, .timeout = 100)
{
    struct fake_stream *fake = connection();
    put_describe(fake, MANY);
    settle();
    cr_assert(fake->closed);
    cr_assert_eq(fake->out.size, 0);
    cr_assert_eq(logged("client me asks for 5000 resources at once"), 1);
}
