/* OffsetForLeaderEpoch, behind real connections' code. */
#include "part_fixture.h"

enum { VERSION = 3, HEAD_BYTES = 8 };

static void begin(void)
{
    static const int32_t me[] = {ME};
    begin_part();
    lead_part(me, 1);
}

TestSuite(offset_for_leader_epoch, .init = begin, .fini = end_part);

/* "error end" */
static const char *end_of(struct fake_stream *fake, int32_t epoch)
{
    static char text[32];
    struct arena arena = {0};
    struct offset_for_leader_epoch_request request;
    struct offset_for_leader_epoch_request_offset_for_leader_partition partition;
    struct offset_for_leader_epoch_request_offset_for_leader_topic topic = {
        .topic = STR("orders"), .partitions = &partition, .partitions_count = 1};
    codec_init(&offset_for_leader_epoch_request_desc, &request);
    codec_init(&offset_for_leader_epoch_request_offset_for_leader_partition_desc, &partition);
    partition.leader_epoch = epoch;
    request.topics = &topic;
    request.topics_count = 1;
    put_request(fake, API_OFFSET_FOR_LEADER_EPOCH, VERSION, 1, &request);
    settle();
    struct offset_for_leader_epoch_response reply;
    struct bytes body = {fake->out.data + HEAD_BYTES, fake->out.size - HEAD_BYTES};
    enum err err =
        codec_decode(&offset_for_leader_epoch_response_desc, VERSION, body, &arena, &reply, NULL);
    cr_assert_eq(err, ERR_OK);
    const struct offset_for_leader_epoch_response_epoch_end_offset *end =
        &reply.topics[0].partitions[0];
    snprintf(text, sizeof(text), "%s %lld", err_name(err_from_wire(end->error_code)),
             (long long)end->end_offset);
    buf_clear(&fake->out);
    arena_fini(&arena);
    return text;
}

/* A leader that was cut from ZooKeeper for longer than its session, but not from its clients, told
 * one that had read in the next leader's epoch that there is no such epoch: its consumer began
 * anew, as after a truncation. */
Test(offset_for_leader_epoch, is_not_denied_by_a_leader_that_zookeeper_does_not_hear)
{
    struct fake_stream *fake = connection();
    cr_assert_str_eq(end_of(fake, LEAD_EPOCH), "NONE 0");
    cr_assert_str_eq(end_of(fake, LEAD_EPOCH + 1), "NONE -1");
    atomic_store(&broker.cut_off, true);
    cr_assert_str_eq(end_of(fake, LEAD_EPOCH), "NONE 0");
    cr_assert_str_eq(end_of(fake, LEAD_EPOCH + 1), "NOT_LEADER_OR_FOLLOWER -1");
    cr_assert_str_eq(end_of(fake, -1), "NONE -1", "no epoch was asked for");
}
