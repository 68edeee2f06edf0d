/* A follower's log is made that of its leader: what is cut where their histories differ. */
#include "../log/log_fixture.h"
#include "partition/part.h"

enum { ME = 1, LEADER = 2, EPOCH = 7 };

static struct log_world w;
static struct loop *loop;
static struct part *part;

static void settle(void)
{
    while (loop_turn(loop) || worker_pool_step(w.workers)) {
    }
}

static void on_follow(struct actor *actor, struct actor_msg *msg)
{
    static const int32_t ids[] = {ME, LEADER};
    struct topic_config config = log_config();
    struct part_state state = {.leader = LEADER,
                               .leader_epoch = EPOCH,
                               .replicas = ids,
                               .isr = ids,
                               .replicas_count = 2,
                               .isr_count = 2};
    (void)actor, (void)msg;
    part_configure(part, &config);
    cr_assert_eq(part_apply(part, &state), ERR_OK);
}

/* Records of epochs 1, 3 and 5: offsets 0 to 9, 10 to 19, 20 to 29. */
static void begin(void)
{
    struct actor_msg msg = {.fn = on_follow};
    world_begin(&w, 1);
    cr_assert_eq(world_open(&w), ERR_OK);
    loop = loop_new("hand", 0, &w.clock.clock);
    for (int32_t epoch = 1; epoch <= 5; epoch += 2) {
        for (int i = 0; i < 10; i++) {
            log_append_ok(&w, (struct batch_want){.records = 1, .first_ms = 1}, epoch);
        }
    }
    struct part_options options = {.topic = STR("orders"),
                                   .loop_count = 1,
                                   .clock = &w.clock.clock,
                                   .home = loop,
                                   .my_id = ME,
                                   .lag_ms = 30000};
    part = part_new(&options, w.log, 30);
    part_post(part, &msg);
    settle();
}

static void end(void)
{
    part_put(part);
    settle();
    world_end(&w);
    loop_free(loop);
}

static bool done;

static void on_done(struct part_call *call)
{
    (void)call;
    done = true;
}

static struct part_replicate *now;

static void on_task(struct loop_task *task)
{
    (void)task;
    part_replicate(part, now);
}

/* What the leader said to a fetch from the end of our log. */
static enum err take(struct part_replicate step)
{
    struct loop_task task;
    step.fetch_offset = plog_offset_end(w.log);
    step.leader_epoch = step.leader_epoch != 0 ? step.leader_epoch : EPOCH;
    step.leader_hw = -1;
    step.call = (struct part_call){.done = on_done, .loop = loop};
    now = &step;
    done = false;
    loop_task_init(&task, on_task);
    loop_defer(loop, &task);
    settle();
    cr_assert(done);
    cr_assert_eq(step.offset_end, plog_offset_end(w.log));
    return step.err;
}

static enum err diverged(int32_t epoch, int64_t offset, int64_t leader_log_start)
{
    return take((struct part_replicate){.step = PART_STEP_DIVERGED,
                                        .epoch = epoch,
                                        .offset = offset,
                                        .leader_log_start = leader_log_start});
}

static void expect_log(int64_t start, int64_t offset_hw, int64_t offset_end, int32_t last_epoch)
{
    cr_assert_eq(plog_log_start(w.log), start);
    cr_assert_eq(atomic_load(&part->offset_hw), offset_hw);
    cr_assert_eq(plog_offset_end(w.log), offset_end);
    cr_assert_eq(epochs_latest(plog_epochs(w.log)), last_epoch);
}

Test(follow, an_epoch_that_both_know_is_cut_where_it_ends_earlier, .init = begin, .fini = end)
{
    cr_assert_eq(diverged(5, 26, 0), ERR_OK);
    expect_log(0, 26, 26, 5);
    cr_assert_eq(diverged(3, 40, 0), ERR_OK); /* the leader had more of it than we */
    expect_log(0, 20, 20, 3);
}

/* Then the next fetch asks about the epoch before. */
Test(follow, an_epoch_that_only_the_leader_knows_cuts_down_to_ours_before, .init = begin,
     .fini = end)
{
    cr_assert_eq(diverged(4, 15, 0), ERR_OK);
    expect_log(0, 20, 20, 3);
    cr_assert_eq(diverged(3, 12, 0), ERR_OK);
    expect_log(0, 12, 12, 3);
}

Test(follow, what_was_said_in_another_epoch_cuts_nothing, .init = begin, .fini = end)
{
    cr_assert_eq(take((struct part_replicate){
                     .step = PART_STEP_TRUNCATE, .leader_epoch = EPOCH - 1, .offset = 3}),
                 ERR_FENCED_LEADER_EPOCH);
    expect_log(0, 30, 30, 5);
}

/* Of what is left nothing may be served, and what the leader has below is wanted, too: as its next
 * leader it would have the others delete it. */
Test(follow, a_log_that_is_cut_below_its_start_begins_where_its_leaders_does, .init = begin,
     .fini = end)
{
    cr_assert_eq(plog_set_log_start(w.log, 25), ERR_OK);
    cr_assert_eq(diverged(5, 22, 4), ERR_OK);
    expect_log(4, 4, 4, -1);
}

/* The leader deletes faster than we heard: the next fetch is out of range, which says where to
 * begin. */
Test(follow, a_log_that_is_cut_below_both_starts_ends_there, .init = begin, .fini = end)
{
    cr_assert_eq(plog_set_log_start(w.log, 25), ERR_OK);
    cr_assert_eq(diverged(5, 22, 22), ERR_OK);
    expect_log(22, 22, 22, -1);
}

Test(follow, a_log_that_ends_before_its_leaders_begins_goes_on_there, .init = begin, .fini = end)
{
    cr_assert_eq(take((struct part_replicate){.step = PART_STEP_RESTART, .offset = 90}), ERR_OK);
    expect_log(90, 90, 90, -1);
}

/* Batches of one record each, from our log's end on, of these epochs. */
static enum err records_of(const int32_t *epochs, int count)
{
    struct buf records = {0};
    for (int i = 0; i < count; i++) {
        struct buf batch = make_batch((struct batch_want){.records = 1, .first_ms = 1});
        batch_patch_offset_epoch(batch.data, plog_offset_end(w.log) + i, epochs[i]);
        buf_put(&records, batch.data, batch.size);
        buf_fini(&batch);
    }
    enum err err = take((struct part_replicate){.step = PART_STEP_RECORDS,
                                                .records = {records.data, records.size}});
    buf_fini(&records);
    return err;
}

/* A leader's answer was held up on its way until that leader had been deposed, and had the next
 * one's records in its file, where it was still being sent from. They went behind those of ours
 * that the next leader did not have; and as our last epoch was the next leader's then, nobody ever
 * saw that ours differed. */
Test(follow, what_a_deposed_leader_has_from_the_next_one_is_not_taken, .init = begin, .fini = end)
{
    cr_assert_eq(records_of((const int32_t[]){EPOCH - 1, EPOCH}, 2), ERR_OK);
    expect_log(0, 30, 32, EPOCH);
    cr_assert_eq(records_of((const int32_t[]){EPOCH + 1}, 1), ERR_FENCED_LEADER_EPOCH);
    expect_log(0, 30, 32, EPOCH);
    cr_assert_eq(records_of((const int32_t[]){EPOCH, EPOCH + 1, EPOCH + 1}, 3), ERR_OK);
    expect_log(0, 30, 33, EPOCH);
}

/* A partition of before Kafka 0.11 has messages of older formats: a new replica of it was told that
 * they were damaged, and never got beyond them. */
Test(follow, messages_of_old_formats_are_taken, .init = begin, .fini = end)
{
    struct buf records = {0};
    put_message(&records, 30, COMPRESS_NONE, LOG_START_MS, (struct bytes){(uint8_t *)"v", 1});
    put_wrapper(&records, 31, 4, LOG_START_MS);
    size_t whole = records.size;
    put_message(&records, 35, COMPRESS_NONE, LOG_START_MS, (struct bytes){(uint8_t *)"v", 1});
    for (size_t cut = whole + 1; cut < records.size; cut++) {
        cr_assert_eq(plog_truncate_to(w.log, 30), ERR_OK);
        struct bytes sent = {records.data, cut};
        cr_assert_eq(take((struct part_replicate){.step = PART_STEP_RECORDS, .records = sent}),
                     ERR_OK);
        expect_log(0, 30, 35, 5);
    }
    struct bytes damaged = {records.data, 20};
    cr_assert_eq(take((struct part_replicate){.step = PART_STEP_RECORDS, .records = damaged}),
                 ERR_CORRUPT);
    buf_fini(&records);
}
