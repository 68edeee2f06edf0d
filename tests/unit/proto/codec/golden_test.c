/* Bytes that were made by another implementation of the protocol. */
#include <criterion/criterion.h>

#include "codec/codec.h"
#include "codec/desc.h"
#include "codec/messages.h"

static struct arena arena;
static struct buf out;

static void fini(void)
{
    arena_fini(&arena);
    buf_fini(&out);
}

TestSuite(codec_golden, .fini = fini);

static uint8_t hex_digit(char c)
{
    return (uint8_t)(c <= '9' ? c - '0' : c - 'a' + 10);
}

/* The message encodes to these bytes, and the bytes decode to an equal message. */
static void check(const struct msg_desc *desc, int16_t version, const void *msg, const char *hex)
{
    struct buf want = {0};
    for (const char *at = hex; *at != '\0'; at += 2) {
        buf_put_byte(&want, (uint8_t)(hex_digit(at[0]) << 4 | hex_digit(at[1])));
    }
    buf_clear(&out);
    cr_assert_eq(codec_encode(desc, version, msg, &out), ERR_OK, "%s %d", desc->name, version);
    cr_assert_eq(out.size, want.size, "%s %d: %zu bytes", desc->name, version, out.size);
    cr_assert_eq(memcmp(out.data, want.data, want.size), 0, "%s %d", desc->name, version);
    void *back = arena_alloc(&arena, desc->size);
    struct bytes in = {want.data, want.size};
    cr_assert_eq(codec_decode(desc, version, in, &arena, back, NULL), ERR_OK);
    cr_assert(codec_equal(desc, msg, back), "%s %d: decoded", desc->name, version);
    buf_fini(&want);
}

Test(codec_golden, api_versions)
{
    struct api_versions_request request = {STR("librdkafka"), STR("2.0.2")};
    check(&api_versions_request_desc, 3, &request, "0b6c696272646b61666b6106322e302e3200");

    struct api_versions_response_api_version keys[] = {{0, 0, 11}, {18, 0, 4}};
    struct api_versions_response response;
    codec_init(&api_versions_response_desc, &response);
    response.api_keys = keys;
    response.api_keys_count = 2;
    response.finalized_features_epoch = 7;
    check(&api_versions_response_desc, 3, &response,
          "00000300000000000b0000120000000400000000000101080000000000000007");
    response.error_code = 35;
    response.api_keys++;
    response.api_keys_count = 1;
    response.finalized_features_epoch = -1;
    check(&api_versions_response_desc, 0, &response, "002300000001001200000004");
}

Test(codec_golden, metadata)
{
    struct metadata_request request;
    codec_init(&metadata_request_desc, &request);
    request.topics_count = -1;
    check(&metadata_request_desc, 1, &request, "ffffffff");

    request.topics = codec_array(&metadata_request_metadata_request_topic_desc, &arena, 1);
    request.topics_count = 1;
    for (uint8_t i = 0; i < 16; i++) {
        request.topics[0].topic_id.raw[i] = i;
    }
    request.topics[0].name = STR_NULL;
    request.allow_auto_topic_creation = false;
    request.include_topic_authorized_operations = true;
    check(&metadata_request_desc, 12, &request, "02000102030405060708090a0b0c0d0e0f0000000100");
}

Test(codec_golden, produce_request)
{
    struct produce_request_partition_produce_data partition = {2, {(const uint8_t *)"\1\2\3", 3}};
    struct produce_request_topic_produce_data topic = {STR("registred_user"), &partition, 1};
    struct produce_request request = {
        .acks = -1, .timeout_ms = 30000, .topic_data = &topic, .topic_data_count = 1};
    check(&produce_request_desc, 7, &request,
          "ffffffff0000753000000001000e7265676973747265645f7573657200000001000000020000000301"
          "0203");
}

Test(codec_golden, fetch)
{
    struct fetch_request request;
    codec_init(&fetch_request_desc, &request);
    request.max_wait_ms = 500;
    request.min_bytes = 1;
    request.max_bytes = 52428800;
    request.isolation_level = 1;
    request.topics = codec_array(&fetch_request_fetch_topic_desc, &arena, 1);
    request.topics_count = 1;
    request.topics->topic = STR("t");
    request.topics->partitions = codec_array(&fetch_request_fetch_partition_desc, &arena, 1);
    request.topics->partitions_count = 1;
    request.topics->partitions->fetch_offset = 42;
    request.topics->partitions->partition_max_bytes = 1048576;
    check(&fetch_request_desc, 4, &request,
          "ffffffff000001f4000000010320000001000000010001740000000100000000000000000000002a0010"
          "0000");

    struct fetch_response_partition_data *data =
        codec_array(&fetch_response_partition_data_desc, &arena, 1);
    *data = (struct fetch_response_partition_data){
        .partition_index = 1,
        .error_code = 6,
        .high_watermark = 10,
        .last_stable_offset = 9,
        .log_start_offset = 3,
        .diverging_epoch = {4, 8},
        .current_leader = {-1, -1},
        .snapshot_id = {-1, -1},
        .aborted_transactions_count = -1,
        .preferred_read_replica = -1,
        .records = {(const uint8_t *)"", 0},
    };
    struct fetch_response_fetchable_topic_response topic = {
        .topic = STR("t"), .partitions = data, .partitions_count = 1};
    struct fetch_response response = {.session_id = 5, .responses = &topic, .responses_count = 1};
    check(&fetch_response_desc, 12, &response,
          "0000000000000000000502027402000000010006000000000000000a00000000000000090000000000000003"
          "00ffffffff0101000d000000040000000000000008000000");
}

Test(codec_golden, groups)
{
    struct join_group_request_join_group_request_protocol protocol = {STR("range"),
                                                                      {(const uint8_t *)"\0\1", 2}};
    struct join_group_request join;
    codec_init(&join_group_request_desc, &join);
    join.group_id = STR("g");
    join.session_timeout_ms = 10000;
    join.rebalance_timeout_ms = 60000;
    join.group_instance_id = STR("static-1");
    join.protocol_type = STR("consumer");
    join.protocols = &protocol;
    join.protocols_count = 1;
    check(&join_group_request_desc, 5, &join,
          "000167000027100000ea60000000087374617469632d310008636f6e73756d657200000001000572616e6765"
          "000000020001");

    struct offset_fetch_request fetch;
    codec_init(&offset_fetch_request_desc, &fetch);
    fetch.groups = codec_array(&offset_fetch_request_offset_fetch_request_group_desc, &arena, 1);
    fetch.groups_count = 1;
    fetch.groups[0].group_id = STR("g");
    fetch.groups[0].topics_count = -1;
    fetch.require_stable = true;
    check(&offset_fetch_request_desc, 8, &fetch, "02026700000100");
}

Test(codec_golden, records_of_consumer_offsets)
{
    struct offset_commit_key key = {STR("g"), STR("t"), 3};
    check(&offset_commit_key_desc, 1, &key, "00016700017400000003");
    struct offset_commit_value value;
    codec_init(&offset_commit_value_desc, &value);
    value.offset = 1234;
    value.leader_epoch = 2;
    value.metadata = STR("m");
    value.commit_timestamp = 1700000000000;
    check(&offset_commit_value_desc, 3, &value, "00000000000004d20000000200016d0000018bcfe56800");
}

Test(codec_golden, a_tagged_struct_that_is_null_is_written_when_its_default_is_not)
{
    /* Kafka's default for this one is a struct of defaults, so null takes a tag with a zero. */
    struct str topic = STR("t");
    struct consumer_group_member_metadata_value value;
    codec_init(&consumer_group_member_metadata_value_desc, &value);
    value.instance_id = value.rack_id = value.subscribed_topic_regex = STR_NULL;
    value.server_assignor = STR_NULL;
    value.client_id = STR("c");
    value.client_host = STR("h");
    value.subscribed_topic_names = &topic;
    value.subscribed_topic_names_count = 1;
    value.classic_member_metadata = NULL;
    check(&consumer_group_member_metadata_value_desc, 0, &value,
          "00000263026802027400ffffffff0001000100");
}

Test(codec_golden, doubles_unsigned_ports_and_nullable_structs)
{
    struct alter_client_quotas_request_entity_data entity = {STR("user"), STR_NULL};
    struct alter_client_quotas_request_op_data op = {STR("producer_byte_rate"), 1048576.5, false};
    struct alter_client_quotas_request_entry_data entry = {&entity, 1, &op, 1};
    struct alter_client_quotas_request quotas = {&entry, 1, true};
    check(&alter_client_quotas_request_desc, 1, &quotas,
          "020205757365720000021370726f64756365725f627974655f72617465413000008000000000000001"
          "00");

    struct vote_response_node_endpoint endpoint = {3, STR("h"), 65535};
    struct vote_response vote = {.node_endpoints = &endpoint, .node_endpoints_count = 1};
    check(&vote_response_desc, 1, &vote, "00000101000a02000000030268ffff00");

    int32_t partitions[] = {0, 1};
    struct consumer_group_heartbeat_response_topic_partitions topic = {.partitions = partitions,
                                                                       .partitions_count = 2};
    struct consumer_group_heartbeat_response_assignment assignment = {&topic, 1};
    struct consumer_group_heartbeat_response heartbeat = {
        .member_id = STR("m"),
        .member_epoch = 1,
        .heartbeat_interval_ms = 5000,
        .assignment = &assignment,
    };
    check(
        &consumer_group_heartbeat_response_desc, 0, &heartbeat,
        "00000000000000026d000000010000138801020000000000000000000000000000000003000000000000000100"
        "0000");
}
