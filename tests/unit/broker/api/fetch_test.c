/* A consumer's fetch that waits, behind real connections' code: what of its session goes meanwhile
 * must not be what its answer is made of. The sanitizers see when it is. */
#include "part_fixture.h"

enum { VERSION = 11, PRODUCE_VERSION = 8, HEAD_BYTES = 8, WAIT_MS = 10000 };

static void begin(void)
{
    static const int32_t me[] = {ME};
    begin_part();
    lead_part(me, 1);
}

TestSuite(fetch, .init = begin, .fini = end_part);

/* ---- requests ---- */

/* Of a session; with the partition where it begins. */
static void put_fetch_of(struct fake_stream *fake, int32_t replica_id, int32_t session_id,
                         int32_t session_epoch)
{
    struct fetch_request request;
    struct fetch_request_fetch_partition partition;
    struct fetch_request_fetch_topic topic = {
        .topic = STR("orders"), .partitions = &partition, .partitions_count = 1};
    codec_init(&fetch_request_desc, &request);
    codec_init(&fetch_request_fetch_partition_desc, &partition);
    partition.partition_max_bytes = 1 << 20;
    request.replica_id = replica_id;
    request.min_bytes = 1;
    request.max_bytes = 1 << 20;
    request.max_wait_ms = session_id != 0 ? WAIT_MS : 0;
    request.session_id = session_id;
    request.session_epoch = session_epoch;
    request.topics = &topic;
    request.topics_count = session_epoch == 0 ? 1 : 0;
    put_request(fake, API_FETCH, VERSION, 1, &request);
    settle();
}

static void put_fetch(struct fake_stream *fake, int32_t session_id, int32_t session_epoch)
{
    put_fetch_of(fake, -1, session_id, session_epoch);
}

static void put_produce(struct fake_stream *fake)
{
    struct buf batch = make_batch((struct batch_want){.records = 1, .value_bytes = 9});
    struct produce_request_partition_produce_data data = {.records = {batch.data, batch.size}};
    struct produce_request_topic_produce_data topic = {
        .name = STR("orders"), .partition_data = &data, .partition_data_count = 1};
    struct produce_request request = {.transactional_id = STR_NULL,
                                      .acks = 1,
                                      .timeout_ms = 1000,
                                      .topic_data = &topic,
                                      .topic_data_count = 1};
    put_request(fake, API_PRODUCE, PRODUCE_VERSION, 1, &request);
    buf_fini(&batch);
    settle();
}

/* The one reply that has come, which is taken away. */
static struct fetch_response *take_reply(struct fake_stream *fake, struct arena *arena)
{
    struct fetch_response *reply = codec_array(&fetch_response_desc, arena, 1);
    cr_assert_geq(fake->out.size, (size_t)HEAD_BYTES);
    cr_assert_eq(fake->out.size, 4 + be32_get(fake->out.data));
    struct bytes body = {fake->out.data + HEAD_BYTES, fake->out.size - HEAD_BYTES};
    cr_assert_eq(codec_decode(&fetch_response_desc, VERSION, body, arena, reply, NULL), ERR_OK);
    buf_clear(&fake->out);
    return reply;
}

/* Whoever knows its number may end a session, by a connection that came after one that was lost for
 * one. The fetch that waits in it was then answered with names that had been freed. */
Test(fetch, that_waits_in_a_session_that_another_connection_ends_is_answered)
{
    struct fake_stream *waits = connection();
    struct fake_stream *ends = connection();
    struct arena arena = {0};
    put_fetch(waits, 0, 0);
    int32_t session_id = take_reply(waits, &arena)->session_id;
    cr_assert_gt(session_id, 0);
    put_fetch(waits, session_id, 1);
    cr_assert_eq(waits->out.size, 0);
    put_fetch(ends, session_id, -1);
    cr_assert_eq(take_reply(ends, &arena)->error_code, 0);
    cr_assert_eq(fetch_sessions_count(netloop.fetch_sessions), 0);
    put_produce(ends);
    struct fetch_response *reply = take_reply(waits, &arena);
    cr_assert_eq(reply->responses_count, 1);
    cr_assert(str_is(reply->responses[0].topic, "orders"));
    cr_assert_gt(reply->responses[0].partitions[0].records.size, 0);
    arena_fini(&arena);
}

/* Followers' sessions push others out, and are let in beyond every limit. Any client had one by
 * giving the number of a replica. */
Test(fetch, of_a_client_that_gives_a_replicas_number_has_no_followers_session)
{
    struct fake_stream *fake = connection();
    struct arena arena = {0};
    put_fetch_of(fake, 2, 0, 0);
    cr_assert_gt(take_reply(fake, &arena)->session_id, 0);
    cr_assert_eq(atomic_load(&broker.fetch_slots.partitions), 1, "it counts as a consumer's");
    arena_fini(&arena);
}

/* A fetch of one partition, without a session, in a frame of which the budget is to know. */
static void put_large_fetch(struct fake_stream *fake, int32_t max_wait_ms)
{
    static char rack[2 * CLIENT_FREE_FRAME_BYTES];
    struct fetch_request request;
    struct fetch_request_fetch_partition partition;
    struct fetch_request_fetch_topic topic = {
        .topic = STR("orders"), .partitions = &partition, .partitions_count = 1};
    codec_init(&fetch_request_desc, &request);
    codec_init(&fetch_request_fetch_partition_desc, &partition);
    partition.partition_max_bytes = 1 << 20;
    request.replica_id = -1;
    request.min_bytes = 1;
    request.max_bytes = 1 << 20;
    request.max_wait_ms = max_wait_ms;
    request.session_epoch = -1;
    request.topics = &topic;
    request.topics_count = 1;
    request.rack_id = (struct str){rack, sizeof(rack)};
    put_request(fake, API_FETCH, VERSION, 1, &request);
    settle();
}

/* What requests have of the memory for them. */
static int64_t counted(void)
{
    return budget_used(&broker.client_memory) - netloop.client_memory.spare_bytes;
}

static void pass_ms(int64_t ms)
{
    clock_manual_advance(&test_clock, ms * 1000000);
    settle();
}

/* The frame of a fetch that waited kept its memory for as long as the client liked, up to 24 days:
 * a few of them held all that there is for requests. */
Test(fetch, whose_memory_is_counted_does_not_wait_for_weeks)
{
    struct fake_stream *fake = connection();
    struct arena arena = {0};
    put_large_fetch(fake, INT32_MAX);
    cr_assert_gt(counted(), CLIENT_FREE_FRAME_BYTES);
    pass_ms(FETCH_COUNTED_WAIT_MS - 100);
    cr_assert_eq(fake->out.size, 0);
    pass_ms(200);
    struct fetch_response *reply = take_reply(fake, &arena);
    cr_assert_eq(reply->responses[0].partitions[0].error_code, 0);
    cr_assert_eq(reply->responses[0].partitions[0].records.size, 0);
    put_fetch_of(fake, -1, 0, 0); /* uncounted: for as long as it likes */
    int32_t session_id = take_reply(fake, &arena)->session_id;
    put_fetch(fake, session_id, 1);
    pass_ms(WAIT_MS - 100);
    cr_assert_eq(fake->out.size, 0);
    pass_ms(200);
    cr_assert_eq(take_reply(fake, &arena)->responses_count, 0);
    arena_fini(&arena);
}

/* A frame kept its memory, too, while its records were on their way to a client that took its time
 * to read them. */
Test(fetch, that_has_been_answered_keeps_no_frame)
{
    struct fake_stream *fake = connection();
    put_produce(fake);
    buf_clear(&fake->out);
    fake->send_room = 5;
    put_large_fetch(fake, 0);
    cr_assert_eq(fake->out.size, 5);
    cr_assert_eq(counted(), 0);
    fake->send_room = SIZE_MAX;
    settle();
}

/* Its client had gone without a word, or closed the connection while nobody read: for as long as it
 * had said that it would wait, its socket was open, and its session in use. */
Test(fetch, that_waits_does_not_keep_an_idle_connection_open)
{
    enum { IDLE_MS = 5000 };
    struct fake_stream *fake = connection();
    struct arena arena = {0};
    put_fetch(fake, 0, 0);
    int32_t session_id = take_reply(fake, &arena)->session_id;
    put_fetch(fake, session_id, 1);
    pass_ms(IDLE_MS - 1);
    client_check_idle(client_at(0), IDLE_MS);
    cr_assert(!fake->closed);
    pass_ms(2);
    client_check_idle(client_at(0), IDLE_MS);
    cr_assert(fake->closed);
    cr_assert_eq(netloop.clients_count, 0);
    arena_fini(&arena);
}

/* From `offset` on, without a session, for so many bytes. */
static void put_fetch_for(struct fake_stream *fake, int64_t offset, int32_t min_bytes)
{
    struct fetch_request request;
    struct fetch_request_fetch_partition partition;
    struct fetch_request_fetch_topic topic = {
        .topic = STR("orders"), .partitions = &partition, .partitions_count = 1};
    codec_init(&fetch_request_desc, &request);
    codec_init(&fetch_request_fetch_partition_desc, &partition);
    partition.fetch_offset = offset;
    partition.partition_max_bytes = 1 << 20;
    request.replica_id = -1;
    request.min_bytes = min_bytes;
    request.max_bytes = 1 << 20;
    request.max_wait_ms = WAIT_MS;
    request.session_epoch = -1;
    request.topics = &topic;
    request.topics_count = 1;
    put_request(fake, API_FETCH, VERSION, 1, &request);
    settle();
}

/* An answer has records of one segment. A consumer with fetch.min.bytes that came to the end of one
 * waited there for fetch.max.wait.ms, though all that it could get was there, and more behind it:
 * at each segment of a log that it read from its beginning. */
Test(fetch, that_has_come_to_a_segments_end_does_not_wait_for_more)
{
    enum { MIN_BYTES = 1000 };
    struct fake_stream *fake = connection();
    struct arena arena = {0};
    put_produce(fake);
    cr_assert_eq(plog_roll(w.log, LOG_EPOCH_MS), ERR_OK);
    put_produce(fake);
    buf_clear(&fake->out);
    put_fetch_for(fake, 0, MIN_BYTES);
    struct fetch_response *reply = take_reply(fake, &arena);
    size_t got = reply->responses[0].partitions[0].records.size;
    cr_assert_gt(got, 0);
    cr_assert_lt(got, MIN_BYTES);
    put_fetch_for(fake, 1, MIN_BYTES); /* here more may come */
    cr_assert_eq(fake->out.size, 0);
    pass_ms(WAIT_MS + 100);
    reply = take_reply(fake, &arena);
    cr_assert_eq(reply->responses[0].partitions[0].records.size, got);
    arena_fini(&arena);
}

/* ---- a follower ---- */

enum { FOLLOWER = 2, FOLLOWER_EPOCH = 9, FOLLOW_VERSION = 17, FOLLOW_HEAD_BYTES = 9 };

static const struct uuid copies_id = {{7}};
static const int32_t both[] = {ME, FOLLOWER};
static struct part *copy; /* for on_copy(): */
static int32_t copy_isr_count;

static void on_copy(struct actor *actor, struct actor_msg *msg)
{
    (void)actor, (void)msg;
    struct topic_config topic_config = log_config();
    struct part_state state = {.leader = ME,
                               .leader_epoch = LEAD_EPOCH,
                               .replicas = both,
                               .isr = both,
                               .replicas_count = 2,
                               .isr_count = copy_isr_count};
    part_configure(copy, &topic_config);
    cr_assert_eq(part_apply(copy, &state), ERR_OK);
}

/* One more partition, of a topic of its own, that we lead and the follower has: in sync or not. All
 * share one log. */
static struct part *add_copy(int32_t index, bool in_sync)
{
    struct part_options options = {.topic = STR("copies"),
                                   .topic_id = copies_id,
                                   .index = index,
                                   .loop_count = 1,
                                   .clock = &test_clock.clock,
                                   .home = netloop.loop,
                                   .my_id = ME,
                                   .lag_ms = 30000};
    struct meta_partition told = {
        .index = index, .leader = ME, .replicas = both, .replicas_count = 2};
    struct actor_msg msg = {.fn = on_copy};
    copy = part_new(&options, w.log, -1);
    copy_isr_count = in_sync ? 2 : 1;
    struct parts_change change = {.topic = STR("copies"), .index = index, .part = copy};
    parts_edit(&broker.parts, &change, 1);
    struct meta_edit *edit = meta_edit_begin(&broker.meta);
    meta_edit_partition(edit, STR("copies"), copies_id, &told);
    meta_edit_commit(edit);
    part_post(copy, &msg);
    settle();
    return copy;
}

/* The follower begins a session: all of both partitions, in their order, at most so many bytes. */
static struct fetch_response *follow_both(struct fake_stream *fake, size_t max_bytes,
                                          struct arena *arena)
{
    struct fetch_request request;
    struct fetch_request_fetch_partition partitions[2];
    struct fetch_request_fetch_topic topic = {
        .topic = STR(""), .topic_id = copies_id, .partitions = partitions, .partitions_count = 2};
    struct fetch_response *reply = codec_array(&fetch_response_desc, arena, 1);
    codec_init(&fetch_request_desc, &request);
    for (int32_t i = 0; i < 2; i++) {
        codec_init(&fetch_request_fetch_partition_desc, &partitions[i]);
        partitions[i].partition = i;
        partitions[i].partition_max_bytes = 1 << 20;
    }
    request.replica_state.replica_id = FOLLOWER;
    request.replica_state.replica_epoch = FOLLOWER_EPOCH;
    request.min_bytes = 1;
    request.max_bytes = (int32_t)max_bytes;
    request.max_wait_ms = WAIT_MS;
    request.session_epoch = 0;
    request.topics = &topic;
    request.topics_count = 1;
    put_request(fake, API_FETCH, FOLLOW_VERSION, 1, &request);
    settle();
    cr_assert_geq(fake->out.size, (size_t)FOLLOW_HEAD_BYTES);
    struct bytes body = {fake->out.data + FOLLOW_HEAD_BYTES, fake->out.size - FOLLOW_HEAD_BYTES};
    cr_assert_eq(codec_decode(&fetch_response_desc, FOLLOW_VERSION, body, arena, reply, NULL),
                 ERR_OK);
    return reply;
}

static void know_follower(void)
{
    struct meta_broker known = {.id = FOLLOWER, .epoch = FOLLOWER_EPOCH};
    struct meta_edit *edit = meta_edit_begin(&broker.meta);
    meta_edit_brokers(edit, &known, 1);
    meta_edit_commit(edit);
    listener.internal = true;
}

/* Partitions that were being moved under a throttle were read, took all the room of an answer, and
 * were then held back: those behind them, in sync, got nothing until the throttle let go, fell out
 * of their ISRs, and the follower asked without a pause. */
Test(fetch, of_a_throttled_partition_leaves_room_for_those_behind_it)
{
    struct fake_stream *fake = connection();
    struct arena arena = {0};
    know_follower();
    log_append_ok(&w, (struct batch_want){.records = 1, .value_bytes = 3000}, LEAD_EPOCH);
    part_throttle(add_copy(0, false), true, false);
    (void)add_copy(1, true);
    throttle_init(&broker.throttles.leader, 11, 1000);
    throttle_set_limit(&broker.throttles.leader, 1);
    throttle_note(&broker.throttles.leader, loop_now_ms(netloop.loop), 1000);
    size_t batch = w.model.batches[0].data.size;
    struct fetch_response *reply = follow_both(fake, batch, &arena);
    size_t got[2] = {0};
    for (int32_t i = 0; i < reply->responses_count; i++) {
        const struct fetch_response_fetchable_topic_response *topic = &reply->responses[i];
        for (int32_t j = 0; j < topic->partitions_count; j++) {
            cr_assert_eq(topic->partitions[j].error_code, 0);
            got[topic->partitions[j].partition_index] = topic->partitions[j].records.size;
        }
    }
    cr_assert_eq(got[0], 0);
    cr_assert_eq(got[1], batch);
    throttle_fini(&broker.throttles.leader);
    arena_fini(&arena);
}
