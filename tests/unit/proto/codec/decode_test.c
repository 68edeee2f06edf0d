/* What the decoder accepts, what it refuses, and what that costs. */
#include <criterion/criterion.h>

#include "base/arena.h"
#include "base/mem.h"
#include "codec/codec.h"
#include "codec/messages.h"

/* Decode bytes written as an array, and see that malformed input allocates nothing. */
#define DECODE(name, version, out, used, ...)                                                      \
    decode(&name##_desc, version, (const uint8_t[]){__VA_ARGS__},                                  \
           sizeof((const uint8_t[]){__VA_ARGS__}), out, used)

static struct arena arena;

/* Copies of what was decoded, each of its exact size, so that a sanitizer sees a read too far. */
static uint8_t *inputs[32];
static size_t inputs_count;

static enum err decode(const struct msg_desc *desc, int16_t version, const uint8_t *data,
                       size_t size, void *out, size_t *used)
{
    cr_assert_lt(inputs_count, sizeof(inputs) / sizeof(inputs[0]));
    uint8_t *copy = inputs[inputs_count++] = mem_alloc(size);
    memcpy(copy, data, size);
    size_t before = arena_size(&arena);
    enum err err = codec_decode(desc, version, (struct bytes){copy, size}, &arena, out, used);
    if (err != ERR_OK) {
        cr_assert_eq(err, ERR_MALFORMED);
        cr_assert_eq(arena_size(&arena), before, "malformed input made the arena grow");
    }
    return err;
}

static void fini(void)
{
    arena_fini(&arena);
    while (inputs_count > 0) {
        mem_free(inputs[--inputs_count]);
    }
}

TestSuite(codec_decode, .fini = fini);

Test(codec_decode, hostile_counts_are_refused_before_allocation)
{
    /* A count is held against the bytes that remain, so a few bytes cannot ask for gigabytes, in
     * neither form, and for structs, strings and integers alike. */
    struct metadata_request metadata;
    cr_assert_eq(DECODE(metadata_request, 1, &metadata, NULL, 0x7f, 0xff, 0xff, 0xff, 0, 0, 0),
                 ERR_MALFORMED);
    cr_assert_eq(DECODE(metadata_request, 9, &metadata, NULL, 0xff, 0xff, 0xff, 0xff, 0x07, 1, 0),
                 ERR_MALFORMED);
    struct describe_groups_request groups;
    cr_assert_eq(DECODE(describe_groups_request, 0, &groups, NULL, 0, 0, 0, 3, 0, 0, 0, 0),
                 ERR_MALFORMED);
    struct alter_replica_log_dirs_request dirs; /* ends in integers: five, of which one is there */
    cr_assert_eq(DECODE(alter_replica_log_dirs_request, 0, &dirs, NULL, 0, 0, 0, 1, 0, 1, '/', 0, 0,
                        0, 1, 0, 1, 't', 0, 0, 0, 5, 0, 0, 0, 0),
                 ERR_MALFORMED);
    struct delete_topics_request topics; /* 39 elements of 18 bytes in 40 */
    uint8_t wire[41] = {40};
    cr_assert_eq(decode(&delete_topics_request_desc, 6, wire, sizeof(wire), &topics, NULL),
                 ERR_MALFORMED);
}

Test(codec_decode, as_many_elements_as_fit_are_accepted)
{
    /* The check of counts is exact: three empty names take six bytes, not five. */
    struct metadata_request request;
    cr_assert_eq(DECODE(metadata_request, 0, &request, NULL, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0), ERR_OK);
    cr_assert_eq(request.topics_count, 3);
    cr_assert(str_eq(request.topics[2].name, STR("")));
    cr_assert_eq(DECODE(metadata_request, 0, &request, NULL, 0, 0, 0, 3, 0, 0, 0, 0, 0),
                 ERR_MALFORMED);
}

Test(codec_decode, memory_is_what_measure_said_and_in_proportion)
{
    /* A thousand empty compact strings are the worst element: 16 bytes each for one. They take one
     * allocation of the size that codec_measure() announces. */
    uint8_t wire[1006] = {0xe9, 0x07}; /* 1001: a thousand elements */
    memset(wire + 2, 1, 1000);
    struct bytes in = {wire, sizeof(wire)};
    size_t memory;
    size_t elements;
    cr_assert_eq(codec_measure(&describe_groups_request_desc, 5, in, &memory, &elements), ERR_OK);
    cr_assert_eq(elements, 1000);
    cr_assert_eq(memory, 1000 * sizeof(struct str));
    cr_assert_leq(memory, CODEC_EXPANSION_MAX * sizeof(wire));
    struct describe_groups_request request;
    cr_assert_eq(codec_decode(&describe_groups_request_desc, 5, in, &arena, &request, NULL),
                 ERR_OK);
    cr_assert_eq(request.groups_count, 1000);
    cr_assert_leq(arena_size(&arena), memory + 64);
}

Test(codec_decode, strings_and_bytes_are_slices_of_the_input)
{
    /* Nothing is copied: a produce request's records stay where they were received. */
    const uint8_t wire[] = {0xff, 0xff, 0, 1, 0, 0, 0, 9, 0, 0, 0, 1, 0,   1,   't',
                            0,    0,    0, 1, 0, 0, 0, 7, 0, 0, 0, 3, 'a', 'b', 'c'};
    struct produce_request request;
    struct bytes in = {wire, sizeof(wire)};
    cr_assert_eq(codec_decode(&produce_request_desc, 3, in, &arena, &request, NULL), ERR_OK);
    cr_assert_null(request.transactional_id.ptr);
    cr_assert_eq(request.acks, 1);
    cr_assert_eq(request.timeout_ms, 9);
    struct produce_request_partition_produce_data *data = request.topic_data[0].partition_data;
    cr_assert_eq(data->index, 7);
    cr_assert_eq(data->records.data, wire + sizeof(wire) - 3);
    cr_assert_eq(data->records.size, 3);
    cr_assert_eq((const void *)request.topic_data[0].name.ptr, wire + 14);
}

Test(codec_decode, what_follows_the_message_is_left_alone)
{
    /* Trailing bytes are not an error, as in Kafka; `used` tells where they begin. */
    struct heartbeat_response response;
    size_t used;
    cr_assert_eq(DECODE(heartbeat_response, 0, &response, &used, 0, 25, 1, 2, 3), ERR_OK);
    cr_assert_eq(used, 2);
    cr_assert_eq(response.error_code, 25);
}

Test(codec_decode, absent_fields_get_their_defaults)
{
    /* A fetch request of version 0 knows nothing of limits, sessions and epochs. */
    struct fetch_request request;
    memset(&request, 0x55, sizeof(request));
    cr_assert_eq(DECODE(fetch_request, 0, &request, NULL, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
                        0, 1, 0, 1, 'x', 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
                        9),
                 ERR_OK);
    cr_assert_eq(request.replica_id, 5);
    cr_assert_eq(request.max_bytes, INT32_MAX);
    cr_assert_eq(request.session_epoch, -1);
    cr_assert_eq(request.replica_state.replica_epoch, -1);
    cr_assert_null(request.cluster_id.ptr);
    cr_assert_not_null(request.rack_id.ptr);
    cr_assert_eq(request.rack_id.size, 0);
    cr_assert_eq(request.forgotten_topics_data_count, 0);
    struct fetch_request_fetch_partition *partition = request.topics[0].partitions;
    cr_assert_eq(partition->current_leader_epoch, -1);
    cr_assert_eq(partition->last_fetched_epoch, -1);
    cr_assert_eq(partition->log_start_offset, -1);
    cr_assert_eq(partition->partition_max_bytes, 9);
    cr_assert(uuid_is_zero(partition->replica_directory_id));
}

Test(codec_decode, unknown_tags_are_skipped)
{
    /* A newer client may send tags that we have never heard of, before and behind those we know. */
    struct begin_transaction_record record;
    cr_assert_eq(DECODE(begin_transaction_record, 0, &record, NULL, 3, 0, 2, 2, 'n', 9, 3, 1, 2, 3,
                        0x80, 0x40, 0),
                 ERR_OK);
    cr_assert(str_eq(record.name, STR("n")));
    size_t used;
    struct heartbeat_response response;
    cr_assert_eq(DECODE(heartbeat_response, 4, &response, &used, 0, 0, 0, 0, 0, 27, 1, 5, 1, 0xff),
                 ERR_OK);
    cr_assert_eq(response.error_code, 27);
    cr_assert_eq(used, 10);
}

Test(codec_decode, a_tag_fills_its_size_exactly)
{
    /* A known tag whose value is shorter or longer than stated, or that reaches past the input, is
     * malformed; an unknown one must fit. */
    struct begin_transaction_record record;
    cr_assert_eq(DECODE(begin_transaction_record, 0, &record, NULL, 1, 0, 3, 2, 'n', 0),
                 ERR_MALFORMED);
    cr_assert_eq(DECODE(begin_transaction_record, 0, &record, NULL, 1, 0, 1, 2, 'n'),
                 ERR_MALFORMED);
    cr_assert_eq(DECODE(begin_transaction_record, 0, &record, NULL, 1, 0, 2, 2), ERR_MALFORMED);
    cr_assert_eq(DECODE(begin_transaction_record, 0, &record, NULL, 1, 7, 2, 0), ERR_MALFORMED);
    cr_assert_eq(
        DECODE(begin_transaction_record, 0, &record, NULL, 0xff, 0xff, 0xff, 0xff, 0x0f, 7, 0),
        ERR_MALFORMED);
}

Test(codec_decode, tags_come_in_any_order_and_the_last_counts)
{
    /* Kafka does not check the order of tags either. A struct may even come twice, the first time
     * with a tag inside that we do not know. */
    struct partition_change_record record;
    uint8_t wire[] = {0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
                      0, 0, 3, 5, 1, 1, 1, 4, 0, 0, 0, 3, 1, 4, 0, 0, 0, 8};
    cr_assert_eq(decode(&partition_change_record_desc, 0, wire, sizeof(wire), &record, NULL),
                 ERR_OK);
    cr_assert_eq(record.leader, 8);
    cr_assert_eq(record.leader_recovery_state, 1);
    cr_assert_eq(record.isr_count, -1);

    struct fetch_request fetch;
    uint8_t twice[] = {0, 0, 0, 0, 0, 0,  0, 0,  0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
                       0, 0, 1, 1, 1, 2,  1, 15, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0,
                       2, 1, 9, 0, 1, 13, 0, 0,  0, 3, 0, 0, 0, 0, 0, 0, 0, 4, 0};
    cr_assert_eq(decode(&fetch_request_desc, 15, twice, sizeof(twice), &fetch, NULL), ERR_OK);
    cr_assert_eq(fetch.replica_state.replica_id, 3);
    cr_assert_eq(fetch.replica_state.replica_epoch, 4);
}

Test(codec_decode, null_is_refused_where_the_version_has_none)
{
    /* A topic list may be null from Metadata 1 on, a topic's name from 10 on. */
    struct metadata_request request;
    cr_assert_eq(DECODE(metadata_request, 0, &request, NULL, 0xff, 0xff, 0xff, 0xff),
                 ERR_MALFORMED);
    cr_assert_eq(DECODE(metadata_request, 1, &request, NULL, 0xff, 0xff, 0xff, 0xff), ERR_OK);
    cr_assert_eq(request.topics_count, -1);
    cr_assert_eq(DECODE(metadata_request, 9, &request, NULL, 2, 0, 0, 0, 0, 0, 0), ERR_MALFORMED);
    struct describe_groups_request groups; /* elements of an array are never null */
    cr_assert_eq(DECODE(describe_groups_request, 0, &groups, NULL, 0, 0, 0, 1, 0xff, 0xff),
                 ERR_MALFORMED);
    struct create_partitions_request partitions; /* a nullable array is about itself only */
    cr_assert_eq(DECODE(create_partitions_request, 0, &partitions, NULL, 0, 0, 0, 1, 0, 1, 't', 0,
                        0, 0, 2, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 1, 0),
                 ERR_OK);
    cr_assert_eq(partitions.topics[0].assignments_count, -1);
}

Test(codec_decode, any_negative_plain_length_is_null)
{
    /* As in Kafka, which tests for less than zero. */
    struct metadata_request request;
    cr_assert_eq(DECODE(metadata_request, 1, &request, NULL, 0x80, 0, 0, 0), ERR_OK);
    cr_assert_eq(request.topics_count, -1);
}

Test(codec_decode, a_nullable_struct_is_a_pointer)
{
    /* The mark in front of the cursor: negative null, else present. */
    struct describe_topic_partitions_request request;
    cr_assert_eq(
        DECODE(describe_topic_partitions_request, 0, &request, NULL, 1, 0, 0, 0, 9, 0xff, 0),
        ERR_OK);
    cr_assert_null(request.cursor);
    cr_assert_eq(request.response_partition_limit, 9);
    cr_assert_eq(DECODE(describe_topic_partitions_request, 0, &request, NULL, 1, 0, 0, 0, 9, 1, 2,
                        't', 0, 0, 0, 4, 0, 0),
                 ERR_OK);
    cr_assert_eq(request.cursor->partition_index, 4);
    cr_assert(str_eq(request.cursor->topic_name, STR("t")));
}

Test(codec_decode, strings_over_32767_bytes_are_refused)
{
    /* The compact form could say more; Kafka refuses it as well. */
    struct delete_groups_request request;
    static uint8_t list[40000] = {2, 0x80, 0x80, 0x02}; /* one string; 32768: a length of 32767 */
    cr_assert_eq(decode(&delete_groups_request_desc, 2, list, sizeof(list), &request, NULL),
                 ERR_OK);
    cr_assert_eq(request.groups_names[0].size, CODEC_STRING_MAX);
    list[1] = 0x81;
    cr_assert_eq(decode(&delete_groups_request_desc, 2, list, sizeof(list), &request, NULL),
                 ERR_MALFORMED);
}

Test(codec_decode, uvarints_have_at_most_32_bits)
{
    /* Five bytes at most, the fifth at most 0x0f; a long way to say zero is accepted. */
    struct end_transaction_record record;
    cr_assert_eq(DECODE(end_transaction_record, 0, &record, NULL, 0x80, 0x80, 0x80, 0x80, 0x00),
                 ERR_OK);
    cr_assert_eq(DECODE(end_transaction_record, 0, &record, NULL, 0x80, 0x80, 0x80, 0x80, 0x10),
                 ERR_MALFORMED);
    cr_assert_eq(DECODE(end_transaction_record, 0, &record, NULL, 0x80, 0x80, 0x80, 0x80, 0x80, 0),
                 ERR_MALFORMED);
}

Test(codec_decode, any_byte_but_zero_is_true)
{
    /* A transaction is committed by 1, and by whatever else a client takes for true. */
    struct end_txn_request request;
    cr_assert_eq(
        DECODE(end_txn_request, 0, &request, NULL, 0, 1, 'x', 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0x80),
        ERR_OK);
    cr_assert(request.committed);
}

Test(codec_decode, an_empty_message_needs_no_bytes_and_no_arena)
{
    /* ApiVersions 0 has no body at all; a null slice is fine for it. */
    struct api_versions_request request;
    size_t used = 9;
    cr_assert_eq(
        codec_decode(&api_versions_request_desc, 0, (struct bytes){0}, NULL, &request, &used),
        ERR_OK);
    cr_assert_eq(used, 0);
    cr_assert_not_null(request.client_software_name.ptr);
}
