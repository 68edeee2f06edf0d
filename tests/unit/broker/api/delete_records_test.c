/* DeleteRecords, behind real connections' code. */
#include "part_fixture.h"

enum { VERSION = 1, HEAD_BYTES = 8, FOLLOWER = 2 };

static const int32_t both[] = {ME, FOLLOWER};

static void begin(void)
{
    struct meta_partition partition = {
        .leader = ME, .replicas = both, .replicas_count = 2, .isr = both, .isr_count = 2};
    begin_part();
    lead_part(both, 2);
    struct meta_edit *edit = meta_edit_begin(&broker.meta);
    meta_edit_partition(edit, STR("orders"), (struct uuid){{7}}, &partition);
    meta_edit_commit(edit);
}

TestSuite(delete_records, .init = begin, .fini = end_part);

static void put_delete(struct fake_stream *fake, int64_t offset, int32_t timeout_ms)
{
    struct delete_records_request request;
    struct delete_records_request_delete_records_partition partition;
    struct delete_records_request_delete_records_topic topic = {
        .name = STR("orders"), .partitions = &partition, .partitions_count = 1};
    codec_init(&delete_records_request_desc, &request);
    codec_init(&delete_records_request_delete_records_partition_desc, &partition);
    partition.offset = offset;
    request.topics = &topic;
    request.topics_count = 1;
    request.timeout_ms = timeout_ms;
    put_request(fake, API_DELETE_RECORDS, VERSION, 1, &request);
    settle();
}

static enum err told(struct fake_stream *fake)
{
    struct arena arena = {0};
    struct delete_records_response reply;
    cr_assert_geq(fake->out.size, (size_t)HEAD_BYTES);
    struct bytes body = {fake->out.data + HEAD_BYTES, fake->out.size - HEAD_BYTES};
    enum err err = codec_decode(&delete_records_response_desc, VERSION, body, &arena, &reply, NULL);
    cr_assert_eq(err, ERR_OK);
    err = err_from_wire(reply.topics[0].partitions[0].error_code);
    buf_clear(&fake->out);
    arena_fini(&arena);
    return err;
}

/* A member of the ISR says nothing, and cannot be taken out of it while ZooKeeper is away: the
 * request stayed for as long as its client had said, up to 24 days, with the memory of its frame.
 */
Test(delete_records, that_a_member_does_not_do_is_answered_in_minutes)
{
    struct fake_stream *fake = connection();
    put_delete(fake, 0, INT32_MAX);
    clock_manual_advance(&test_clock, (META_WAIT_MAX_MS - 1000) * (int64_t)1000000);
    settle();
    cr_assert_eq(fake->out.size, 0);
    clock_manual_advance(&test_clock, 2000 * (int64_t)1000000);
    settle();
    cr_assert_eq(told(fake), ERR_REQUEST_TIMED_OUT);
    put_delete(fake, 1, 1000);
    cr_assert_eq(told(fake), ERR_OFFSET_OUT_OF_RANGE, "above the high watermark");
}
