/* What the encoder writes, and what it refuses to. */
#include <criterion/criterion.h>

#include "codec/codec.h"
#include "codec/messages.h"
#include "random_message.h"

static struct arena arena;
static struct buf out;

static void fini(void)
{
    arena_fini(&arena);
    buf_fini(&out);
}

TestSuite(codec_encode, .fini = fini);

Test(codec_encode, a_field_that_the_version_lacks_is_refused_unless_ignorable)
{
    /* Offsets of several groups cannot be asked for before OffsetFetch 8; that stable offsets are
     * required not before 7. What is refused leaves the output alone. */
    struct offset_fetch_request request;
    codec_init(&offset_fetch_request_desc, &request);
    request.group_id = STR("g");
    buf_put_text(&out, "before");
    cr_assert_eq(codec_encode(&offset_fetch_request_desc, 6, &request, &out), ERR_OK);
    size_t size = out.size;
    request.require_stable = true;
    cr_assert_eq(codec_encode(&offset_fetch_request_desc, 6, &request, &out), ERR_INVALID);
    cr_assert_eq(codec_size(&offset_fetch_request_desc, 6, &request, &size), ERR_INVALID);
    cr_assert_eq(out.size, size);
    cr_assert_eq(codec_encode(&offset_fetch_request_desc, 7, &request, &out), ERR_OK);

    struct heartbeat_response response; /* the throttle time is ignorable */
    codec_init(&heartbeat_response_desc, &response);
    response.throttle_time_ms = 100;
    buf_clear(&out);
    cr_assert_eq(codec_encode(&heartbeat_response_desc, 0, &response, &out), ERR_OK);
    cr_assert_eq(out.size, 2);
}

Test(codec_encode, an_inner_field_that_the_version_lacks_is_refused)
{
    /* The same rule two structs down: fetched epochs, which are not ignorable, came with 12. */
    struct fetch_request request;
    codec_init(&fetch_request_desc, &request);
    request.topics = codec_array(&fetch_request_fetch_topic_desc, &arena, 1);
    request.topics_count = 1;
    request.topics[0].partitions = codec_array(&fetch_request_fetch_partition_desc, &arena, 2);
    request.topics[0].partitions_count = 2;
    request.topics[0].partitions[1].last_fetched_epoch = 3;
    cr_assert_eq(codec_encode(&fetch_request_desc, 11, &request, &out), ERR_INVALID);
    cr_assert_eq(codec_encode(&fetch_request_desc, 12, &request, &out), ERR_OK);
    request.topics[0].partitions[1].last_fetched_epoch = -1;
    request.topics[0].partitions[1].current_leader_epoch = 3; /* ignorable */
    cr_assert_eq(codec_encode(&fetch_request_desc, 4, &request, &out), ERR_OK);
}

Test(codec_encode, null_is_refused_only_where_it_means_something_elsewhere)
{
    /* A null topic name means "by id" from Metadata 10 on, so version 9 must not turn it into "".
     * A group id is never null, so null can only mean empty. */
    struct metadata_request request;
    codec_init(&metadata_request_desc, &request);
    request.topics = codec_array(&metadata_request_metadata_request_topic_desc, &arena, 1);
    request.topics_count = 1;
    request.topics[0].name = STR_NULL;
    cr_assert_eq(codec_encode(&metadata_request_desc, 9, &request, &out), ERR_INVALID);
    cr_assert_eq(codec_encode(&metadata_request_desc, 10, &request, &out), ERR_OK);
    request.topics_count = -1;
    cr_assert_eq(codec_encode(&metadata_request_desc, 0, &request, &out), ERR_INVALID);

    struct delete_groups_request groups = {.groups_names = &(struct str){NULL, 0},
                                           .groups_names_count = 1};
    buf_clear(&out);
    cr_assert_eq(codec_encode(&delete_groups_request_desc, 0, &groups, &out), ERR_OK);
    cr_assert_eq(out.size, 6);
    cr_assert_eq(memcmp(out.data, "\0\0\0\1\0\0", 6), 0);
}

Test(codec_encode, a_zeroed_struct_with_null_strings_is_not_a_set_field)
{
    /* A never-null string that nobody set does not count as a value that the version lacks. */
    struct offset_fetch_request request;
    codec_init(&offset_fetch_request_desc, &request);
    request.group_id = STR_NULL;
    request.groups = codec_array(&offset_fetch_request_offset_fetch_request_group_desc, &arena, 1);
    request.groups_count = 1;
    cr_assert_eq(codec_encode(&offset_fetch_request_desc, 8, &request, &out), ERR_OK);
}

Test(codec_encode, strings_over_32767_bytes_are_refused)
{
    /* In the compact form as well, where they could be written, because nobody would read them. */
    static char text[CODEC_STRING_MAX + 1];
    struct str name = {text, CODEC_STRING_MAX};
    struct delete_groups_request groups = {.groups_names = &name, .groups_names_count = 1};
    cr_assert_eq(codec_encode(&delete_groups_request_desc, 0, &groups, &out), ERR_OK);
    cr_assert_eq(codec_encode(&delete_groups_request_desc, 2, &groups, &out), ERR_OK);
    name.size++;
    cr_assert_eq(codec_encode(&delete_groups_request_desc, 0, &groups, &out), ERR_INVALID);
    cr_assert_eq(codec_encode(&delete_groups_request_desc, 2, &groups, &out), ERR_INVALID);
}

Test(codec_encode, tagged_fields_with_defaults_are_left_out)
{
    /* An untouched transaction record is an empty tagged section. */
    struct begin_transaction_record record;
    codec_init(&begin_transaction_record_desc, &record);
    cr_assert_eq(codec_encode(&begin_transaction_record_desc, 0, &record, &out), ERR_OK);
    cr_assert_eq(out.size, 1);
    cr_assert_eq(out.data[0], 0);
}

Test(codec_encode, arrays_come_with_defaults)
{
    /* codec_array() initialises every element; of none there is no address. */
    struct fetch_request_fetch_partition *partitions =
        codec_array(&fetch_request_fetch_partition_desc, &arena, 3);
    cr_assert_eq(partitions[2].log_start_offset, -1);
    cr_assert_null(codec_array(&fetch_request_fetch_partition_desc, &arena, 0));
}

Test(codec_encode, unknown_versions_are_known_as_such)
{
    cr_assert(codec_has_version(&fetch_request_desc, 17));
    cr_assert_not(codec_has_version(&fetch_request_desc, 18));
    cr_assert_not(codec_has_version(&fetch_request_desc, -1));
    cr_assert(codec_has_version(&group_metadata_key_desc, 2));
    cr_assert_not(codec_has_version(&group_metadata_key_desc, 1));
    cr_assert_not(codec_has_version(&fetch_request_fetch_partition_desc, 17));
}

struct splices {
    struct buf whole; /* the encoding with the records put in where they belong */
    size_t taken;     /* how much of the output is in it already */
    int count;
};

static void splice(void *arg, const struct bytes *field, size_t out_offset)
{
    struct splices *splices = arg;
    buf_put(&splices->whole, out.data + splices->taken, out_offset - splices->taken);
    buf_put(&splices->whole, field->data, field->size);
    splices->taken = out_offset;
    splices->count++;
}

Test(codec_encode, spliced_records_stand_where_copied_ones_would)
{
    /* The output and the records, joined at the offsets told, are the ordinary encoding; offsets
     * count from the buffer's start, in front of which a frame may have its size. */
    struct rng rng;
    rng_seed(&rng, 1);
    for (int16_t version = 0; version <= 17; version++) {
        void *msg = random_message(&rng, &fetch_response_desc, version, FILL_FULL, &arena);
        struct splices splices = {0};
        struct buf copied = {0};
        buf_clear(&out);
        buf_put_be32(&out, 0x12345678);
        buf_put_be32(&copied, 0x12345678);
        cr_assert_eq(
            codec_encode_spliced(&fetch_response_desc, version, msg, &out, splice, &splices),
            ERR_OK);
        buf_put(&splices.whole, out.data + splices.taken, out.size - splices.taken);
        cr_assert_eq(codec_encode(&fetch_response_desc, version, msg, &copied), ERR_OK);
        cr_assert_eq(splices.count, 4);
        cr_assert_eq(splices.whole.size, copied.size);
        cr_assert_eq(memcmp(splices.whole.data, copied.data, copied.size), 0);
        buf_fini(&splices.whole);
        buf_fini(&copied);
    }
}

Test(codec_encode, null_records_are_not_spliced)
{
    /* A partition with an error has null records: a length and nothing to put there. */
    struct fetch_response response;
    codec_init(&fetch_response_desc, &response);
    response.responses = codec_array(&fetch_response_fetchable_topic_response_desc, &arena, 1);
    response.responses_count = 1;
    response.responses[0].partitions = codec_array(&fetch_response_partition_data_desc, &arena, 1);
    response.responses[0].partitions_count = 1;
    struct splices splices = {0};
    cr_assert_eq(codec_encode_spliced(&fetch_response_desc, 4, &response, &out, splice, &splices),
                 ERR_OK);
    cr_assert_eq(splices.count, 0);
    cr_assert_eq(be32_get(out.data + out.size - 4), 0xffffffff);
}
