/* What a produce with acks=all is told, and when: a partition of two replicas, of which this broker
 * leads, behind real connections' code. */
#include "part_fixture.h"

enum { FOLLOWER = 2, EPOCH = 5, VERSION = 9, HEAD_BYTES = 9 };

/* ---- the partition ---- */

static int32_t leader_now;
static int32_t epoch_now;

static void on_apply(struct actor *actor, struct actor_msg *msg)
{
    (void)actor, (void)msg;
    static const int32_t both[] = {ME, FOLLOWER};
    struct part_state state = {.leader = leader_now,
                               .leader_epoch = epoch_now,
                               .partition_epoch = epoch_now,
                               .replicas = both,
                               .isr = both,
                               .replicas_count = 2,
                               .isr_count = 2};
    cr_assert_eq(part_apply(part, &state), ERR_OK);
}

/* The controller's decision. */
static void decide(int32_t leader, int32_t epoch)
{
    struct actor_msg msg = {.fn = on_apply};
    leader_now = leader;
    epoch_now = epoch;
    part_post(part, &msg);
    settle();
}

static void on_followed(struct part_call *call)
{
    cr_assert_eq(container_of(call, struct part_follow, call)->err, ERR_OK);
}

/* The follower has everything before `offset`. */
static void follower_has(int64_t offset)
{
    static struct part_follow follow;
    follow = (struct part_follow){
        .leader_epoch = EPOCH,
        .fetch = {.replica_id = FOLLOWER, .fetch_offset = offset, .leader_end = offset},
        .call = {.loop = netloop.loop, .done = on_followed},
    };
    part_follow(part, &follow);
    settle();
}

static void begin(void)
{
    begin_part();
    decide(ME, EPOCH);
}

TestSuite(produce, .init = begin, .fini = end_part);

/* ---- requests ---- */

/* It may wait for a day. */
static void put_batch(struct fake_stream *fake, int32_t correlation_id, struct batch_want want)
{
    struct buf batch = make_batch(want);
    struct produce_request_partition_produce_data data = {.records = {batch.data, batch.size}};
    struct produce_request_topic_produce_data topic = {
        .name = STR("orders"), .partition_data = &data, .partition_data_count = 1};
    struct produce_request request = {.transactional_id = STR_NULL,
                                      .acks = -1,
                                      .timeout_ms = 86400000,
                                      .topic_data = &topic,
                                      .topic_data_count = 1};
    put_request(fake, API_PRODUCE, VERSION, correlation_id, &request);
    buf_fini(&batch);
}

/* One record. */
static void put_produce(struct fake_stream *fake, int32_t correlation_id)
{
    put_batch(fake, correlation_id, (struct batch_want){.records = 1, .value_bytes = 9});
}

/* What the one reply that has come says of the partition. */
static enum err told(const struct fake_stream *fake)
{
    struct arena arena = {0};
    struct produce_response *reply = codec_array(&produce_response_desc, &arena, 1);
    cr_assert_geq(fake->out.size, (size_t)HEAD_BYTES);
    cr_assert_eq(fake->out.size, 4 + be32_get(fake->out.data));
    enum err err =
        codec_decode(&produce_response_desc, VERSION,
                     (struct bytes){fake->out.data + HEAD_BYTES, fake->out.size - HEAD_BYTES},
                     &arena, reply, NULL);
    cr_assert_eq(err, ERR_OK);
    cr_assert(str_is(reply->responses[0].name, "orders"));
    err = err_from_wire(reply->responses[0].partition_responses[0].error_code);
    arena_fini(&arena);
    return err;
}

Test(produce, is_acknowledged_when_the_others_have_it)
{
    struct fake_stream *fake = connection();
    put_produce(fake, 1);
    settle();
    cr_assert_eq(plog_offset_end(part->log), 1);
    cr_assert_eq(fake->out.size, 0);
    follower_has(1);
    cr_assert_eq(told(fake), ERR_OK);
}

/* Whatever the high watermark is by then. */
Test(produce, that_waits_is_refused_when_another_broker_leads)
{
    struct fake_stream *fake = connection();
    put_produce(fake, 1);
    settle();
    decide(FOLLOWER, EPOCH + 1);
    cr_assert_eq(told(fake), ERR_NOT_LEADER_OR_FOLLOWER);
}

static int64_t counted(void)
{
    return budget_used(&broker.client_memory) - netloop.client_memory.spare_bytes;
}

/* It kept the memory for requests. Where brokers share it with clients, a follower that had to name
 * many partitions waited there behind the produces that waited for it, and the controller, who was
 * to say that it is gone, too: until they timed out nothing was written. */
Test(produce, that_waits_for_a_follower_leaves_it_the_memory_to_ask)
{
    enum { COUNT = 4, VALUE_BYTES = 900000 };
    _Static_assert(COUNT * VALUE_BYTES > BUDGET_BYTES - BUDGET_CHUNK_BYTES, "no room for another");
    for (int i = 0; i < COUNT - 1; i++) {
        put_batch(connection(), i, (struct batch_want){.records = 1, .value_bytes = VALUE_BYTES});
    }
    settle();
    put_batch(&fakes[0], COUNT, (struct batch_want){.records = 1, .value_bytes = VALUE_BYTES});
    settle();
    cr_assert_eq(plog_offset_end(part->log), COUNT);
    cr_assert_lt(counted(), CLIENT_FREE_FRAME_BYTES);
    struct fake_stream *other_client = connection();
    buf_put_be32(&other_client->in, BUDGET_CHUNK_BYTES);
    settle();
    cr_assert(is_read(other_client));
    follower_has(COUNT);
    cr_assert_eq(told(&fakes[1]), ERR_OK);
    expect_replies(&fakes[0], "0 4 ");
}

static enum err told_of_sequence(int32_t sequence)
{
    struct fake_stream *fake = connection();
    put_batch(
        fake, 1,
        (struct batch_want){.records = 1, .value_bytes = 9, .producer = 7, .sequence = sequence});
    settle();
    follower_has(plog_offset_end(part->log));
    return told(fake);
}

/* A leader that was cut from ZooKeeper, but not from its clients, had been deposed: of a producer
 * that came from the next leader it did not know the last batches, and said so, which ended it. */
Test(produce, that_a_cut_off_leader_finds_out_of_order_is_for_another_leader)
{
    cr_assert_eq(told_of_sequence(0), ERR_OK);
    cr_assert_eq(told_of_sequence(5), ERR_OUT_OF_ORDER_SEQUENCE_NUMBER);
    atomic_store(&broker.cut_off, true);
    cr_assert_eq(told_of_sequence(5), ERR_NOT_LEADER_OR_FOLLOWER);
    atomic_store(&broker.cut_off, false);
    cr_assert_eq(told_of_sequence(1), ERR_OK);
}

/* Who was in a transaction while the cluster was Kafka's went on with it here, where nobody can end
 * it: its producer was remembered for ever, and to Kafka, once it had the log again, all behind its
 * first record was not committed. */
Test(produce, within_a_transaction_is_refused)
{
    struct fake_stream *fake = connection();
    struct batch_want want = {.value_bytes = 9, .producer = 7, .transactional = true};
    put_batch(fake, 1, want);
    settle();
    cr_assert_eq(told(fake), ERR_INVALID_TXN_STATE);
    cr_assert_eq(plog_offset_end(part->log), 0);
    cr_assert_eq(told_of_sequence(0), ERR_OK);
}

/* Its time is not over, and nothing else would end it. */
Test(produce, that_waits_ends_with_its_connection)
{
    struct fake_stream *fake = connection();
    int32_t references = atomic_load(&part->count);
    put_produce(fake, 1);
    settle();
    cr_assert_gt(atomic_load(&part->count), references);
    fake->eof = true;
    settle();
    cr_assert(fake->closed);
    cr_assert_eq(netloop.clients_count, 0);
    cr_assert_eq(atomic_load(&part->count), references);
}

static void on_leave_loop(struct actor *actor, struct actor_msg *msg)
{
    (void)msg;
    actor_set_executor(actor, w.workers);
}

/* From now on what is posted to the partition waits until a worker's step. */
static void slow_down(void)
{
    struct actor_msg msg = {.fn = on_leave_loop};
    part_post(part, &msg);
    settle();
}

/* A connection closed while its produce was being appended, which then began to wait for replicas
 * that did not come, with its memory, for as long as it had asked: up to 24 days. */
Test(produce, whose_connection_closed_while_it_was_appended_begins_no_wait)
{
    struct fake_stream *fake = connection();
    slow_down();
    put_produce(fake, 1);
    settle();
    cr_assert_eq(client_at(0)->appending, 1);
    int64_t end_before = plog_offset_end(part->log);
    fake->eof = true;
    settle();
    cr_assert(fake->closed);
    cr_assert_eq(netloop.clients_count, 1, "its request is still the actor's");
    cr_assert_eq(plog_offset_end(part->log), end_before);
    step_workers(&w);
    settle();
    cr_assert_eq(plog_offset_end(part->log), end_before + 1);
    cr_assert_eq(netloop.clients_count, 0);
    cr_assert_eq(counted(), 0);
}
