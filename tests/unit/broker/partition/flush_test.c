/* Flush mode, as one partition sees it: what counts is what is on the disk, on this replica and on
 * the others; and a sync that fails ends it. */
#include "../log/log_fixture.h"
#include "partition/part.h"

enum { ME = 1, OTHER = 2 };

static struct log_world w;
static struct loop *loop;
static struct part *part;
static struct topic_config topic_config;
static int flushed_told; /* by the host */

static void no_proposal(struct part_host *host, struct part *of,
                        const struct isr_proposal *proposal)
{
    (void)host;
    (void)of;
    struct isr_proposal own = *proposal;
    isr_proposal_fini(&own);
}

static void on_flushed(struct part_host *host, struct part *of)
{
    (void)host;
    (void)of;
    flushed_told++;
}

static struct part_host host = {no_proposal, on_flushed};

/* All but the syncs. */
static void turn(void)
{
    while (loop_turn(loop)) {
    }
}

static void settle(void)
{
    while (loop_turn(loop) || worker_pool_step(w.workers)) {
    }
}

static void (*job)(void);

static void on_job(struct actor *actor, struct actor_msg *msg)
{
    (void)actor, (void)msg;
    job();
}

static void on_job_task(struct loop_task *task)
{
    static struct actor_msg msg;
    (void)task;
    msg = (struct actor_msg){.fn = on_job};
    part_post(part, &msg);
}

static void in_actor(void (*fn)(void))
{
    struct loop_task task;
    job = fn;
    loop_task_init(&task, on_job_task);
    loop_defer(loop, &task);
    turn();
}

static void configure(void)
{
    part_configure(part, &topic_config);
}

static int32_t leader;
static int32_t epoch;

static void apply(void)
{
    static const int32_t ids[] = {ME, OTHER};
    epoch++;
    struct part_state state = {.leader = leader,
                               .leader_epoch = epoch,
                               .partition_epoch = epoch,
                               .replicas = ids,
                               .isr = ids,
                               .replicas_count = 2,
                               .isr_count = 2};
    cr_assert_eq(part_apply(part, &state), ERR_OK);
}

static void lead(int32_t by)
{
    leader = by;
    in_actor(apply);
}

static void begin(void)
{
    world_begin(&w, 1);
    cr_assert_eq(world_open(&w), ERR_OK);
    loop = loop_new("hand", 0, &w.clock.clock);
    struct part_options options = {.topic = STR("orders"),
                                   .index = 3,
                                   .loop_count = 1,
                                   .clock = &w.clock.clock,
                                   .home = loop,
                                   .my_id = ME,
                                   .lag_ms = 30000,
                                   .host = &host};
    part = part_new(&options, w.log, -1);
    topic_config = log_config();
    topic_config.flush_messages = 1;
    in_actor(configure);
}

static void end(void)
{
    part_put(part);
    settle();
    world_end(&w);
    loop_free(loop);
}

/* ---- leading ---- */

static struct part_append append;
static struct buf data;

static void on_appended(struct part_call *call)
{
    (void)call;
}

static void on_append_task(struct loop_task *task)
{
    (void)task;
    part_append(part, &append);
}

/* Append one record; nothing is synced yet. */
static void append_one(void)
{
    struct loop_task task;
    buf_fini(&data);
    data = make_batch((struct batch_want){.records = 1, .first_ms = 1, .value_bytes = 9});
    append = (struct part_append){.records = {data.data, data.size},
                                  .acks = -1,
                                  .expected_epoch = -1,
                                  .call = {.done = on_appended, .loop = loop}};
    cr_assert_eq(batch_read_header(append.records, &append.header), ERR_OK);
    loop_task_init(&task, on_append_task);
    loop_defer(loop, &task);
    turn();
    cr_assert_eq(append.err, ERR_OK);
}

static struct part_follow follow;

static void on_followed(struct part_call *call)
{
    (void)call;
}

static void on_follow_task(struct loop_task *task)
{
    (void)task;
    part_follow(part, &follow);
}

/* The other replica has so much, and so much of it on its disk. */
static void other_has(int64_t offset, int64_t flushed)
{
    struct loop_task task;
    follow = (struct part_follow){.leader_epoch = epoch,
                                  .call = {.done = on_followed, .loop = loop},
                                  .fetch = {.replica_id = OTHER,
                                            .broker_epoch = 7,
                                            .fetch_offset = offset,
                                            .flushed_end = flushed,
                                            .leader_end = plog_offset_end(w.log)}};
    loop_task_init(&task, on_follow_task);
    loop_defer(loop, &task);
    turn();
    cr_assert_eq(follow.err, ERR_OK);
}

static int64_t hw(void)
{
    return atomic_load(&part->offset_hw);
}

Test(part_flush, the_high_watermark_waits_for_our_disk, .init = begin, .fini = end)
{
    lead(ME);
    append_one();
    other_has(1, 1);
    cr_assert_eq(part_offset_durable(part), 0);
    cr_assert_eq(hw(), 0);
    settle();
    cr_assert_eq(part_offset_durable(part), 1);
    cr_assert_eq(hw(), 1);
    buf_fini(&data);
}

Test(part_flush, the_high_watermark_waits_for_the_others_disks, .init = begin, .fini = end)
{
    lead(ME);
    append_one();
    settle();
    other_has(1, -1);
    cr_assert_eq(hw(), 0, "it does not say what is on its disk");
    other_has(1, 0);
    cr_assert_eq(hw(), 0);
    other_has(1, 1);
    cr_assert_eq(hw(), 1);
    buf_fini(&data);
}

/* The second append comes while the first one's sync has not run; both are there after one sync. */
Test(part_flush, appends_do_not_wait_for_syncs, .init = begin, .fini = end)
{
    lead(ME);
    append_one();
    int64_t syncs = fs_fault_calls(w.fault, FS_OP_SYNC);
    append_one();
    append_one();
    append_one();
    cr_assert_eq(plog_offset_end(w.log), 4);
    settle();
    cr_assert_eq(part_offset_durable(part), 4);
    cr_assert_eq(fs_fault_calls(w.fault, FS_OP_SYNC) - syncs, 1);
    buf_fini(&data);
}

Test(part_flush, a_sync_that_fails_ends_the_leadership_and_acknowledges_nothing, .init = begin,
     .fini = end)
{
    lead(ME);
    append_one();
    other_has(1, 1);
    fs_sim_fail_sync(w.sim, 0);
    settle();
    cr_assert_eq(hw(), 0);
    cr_assert_eq(part_offset_durable(part), 0);
    cr_assert_eq(part_now(part).role, PART_OFFLINE);
    cr_assert_eq(part_fate_committed(part, epoch, 0), PART_FATE_UNKNOWN);
    cr_assert_eq(w.failures, 1);
    buf_fini(&data);
}

Test(part_flush, without_it_nothing_waits_for_a_disk, .init = begin, .fini = end)
{
    topic_config.flush_messages = INT64_MAX;
    in_actor(configure);
    lead(ME);
    append_one();
    other_has(1, -1);
    cr_assert_eq(hw(), 1);
    cr_assert_eq(part_offset_durable(part), 1);
    buf_fini(&data);
}

/* What was there before the topic changed is brought to the disk at once. */
Test(part_flush, may_begin_and_end_while_it_leads, .init = begin, .fini = end)
{
    topic_config.flush_messages = INT64_MAX;
    in_actor(configure);
    lead(ME);
    append_one();
    topic_config.flush_messages = 1;
    in_actor(configure);
    cr_assert_eq(part_offset_durable(part), 0);
    settle();
    cr_assert_eq(part_offset_durable(part), 1);
    append_one();
    other_has(2, 0);
    cr_assert_eq(hw(), 0);
    topic_config.flush_messages = INT64_MAX;
    in_actor(configure);
    cr_assert_eq(hw(), 2);
    buf_fini(&data);
}

/* ---- following ---- */

static struct part_replicate step;
static int steps_done;

static void on_step(struct part_call *call)
{
    (void)call;
    steps_done++;
}

static void on_step_task(struct loop_task *task)
{
    (void)task;
    part_replicate(part, &step);
}

/* The fetcher brings one record. */
static void bring_one(void)
{
    struct loop_task task;
    buf_fini(&data);
    data = make_batch((struct batch_want){.records = 1, .first_ms = 1, .value_bytes = 9});
    batch_patch_offset_epoch(data.data, plog_offset_end(w.log), epoch);
    step = (struct part_replicate){.step = PART_STEP_RECORDS,
                                   .leader_epoch = epoch,
                                   .fetch_offset = plog_offset_end(w.log),
                                   .records = {data.data, data.size},
                                   .leader_hw = 0,
                                   .leader_log_start = 0,
                                   .call = {.done = on_step, .loop = loop}};
    loop_task_init(&task, on_step_task);
    loop_defer(loop, &task);
    turn();
}

Test(part_flush, a_follower_says_what_it_has_when_it_is_on_its_disk, .init = begin, .fini = end)
{
    lead(OTHER);
    steps_done = 0;
    bring_one();
    cr_assert_eq(plog_offset_end(w.log), 1);
    cr_assert_eq(steps_done, 0, "not yet");
    settle();
    cr_assert_eq(steps_done, 1);
    cr_assert_eq(step.err, ERR_OK);
    cr_assert_eq(step.offset_end, 1);
    cr_assert_eq(step.flushed_end, 1);
    cr_assert_eq(flushed_told, 0, "the step has said it");
    buf_fini(&data);
}

Test(part_flush, a_follower_whose_sync_fails_says_so, .init = begin, .fini = end)
{
    lead(OTHER);
    steps_done = 0;
    bring_one();
    fs_sim_fail_sync(w.sim, 0);
    settle();
    cr_assert_eq(steps_done, 1);
    cr_assert_eq(step.err, ERR_KAFKA_STORAGE_ERROR);
    cr_assert_eq(part_now(part).role, PART_OFFLINE);
    buf_fini(&data);
}

/* The fetcher must not wait for ever for a step of an epoch that is over. */
Test(part_flush, a_new_leadership_lets_go_of_the_steps_of_the_old_one, .init = begin, .fini = end)
{
    lead(OTHER);
    steps_done = 0;
    bring_one();
    lead(ME);
    turn();
    cr_assert_eq(steps_done, 1);
    cr_assert_eq(step.err, ERR_FENCED_LEADER_EPOCH);
    settle();
    cr_assert_eq(part_offset_durable(part), 1, "what it has now is synced all the same");
    buf_fini(&data);
}

/* Nothing new comes, but what was there is on the disk now: the leader must hear of it. */
Test(part_flush, a_follower_tells_of_what_it_had_before, .init = begin, .fini = end)
{
    topic_config.flush_messages = INT64_MAX;
    in_actor(configure);
    lead(OTHER);
    bring_one();
    cr_assert_eq(step.flushed_end, -1);
    flushed_told = 0;
    topic_config.flush_messages = 1;
    in_actor(configure);
    cr_assert_eq(flushed_told, 0);
    settle();
    cr_assert_eq(flushed_told, 1);
    buf_fini(&data);
}
