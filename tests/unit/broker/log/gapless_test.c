/* Gaps between the segments of a compacted log: which are compaction's, and which are losses. */
#include "recover_fixture.h"

/* The last batch of a finished segment, which was not synced, has gone with the power; of the next
 * one more was on the disk. In a compacted log that was taken for a gap that compaction had made,
 * and the log went on behind what it had lost. */
Test(gapless, a_lost_end_of_a_segment_is_no_gap_that_compaction_has_made)
{
    struct log_world w;
    begin_policy(&w, 1, TOPIC_CLEANUP_COMPACT);
    fill_segs(&w, 3);
    int64_t third = stop_and_lose(&w, 1);
    cr_assert_eq(open_and_check(&w), third - 1);
    cr_assert(!file_exists(&w, file_name(third, "log")));
    world_end(&w);
}

/* Below the first roll of its own a broker cannot tell: all of it may be as Kafka has left it. */
Test(gapless, only_from_its_own_first_roll_on_a_gap_is_a_loss)
{
    struct log_world w;
    begin(&w, 3);
    w.options.config.cleanup_policy = TOPIC_CLEANUP_COMPACT;
    stop(&w);
    cr_assert_eq(world_open(&w), ERR_OK);
    fill_segs(&w, 4);
    int64_t end = plog_offset_end(w.log);
    (void)stop_and_lose(&w, 1);
    cr_assert_eq(world_open(&w), ERR_OK);
    cr_assert_eq(plog_offset_end(w.log), end, "before it everything stays");
    int64_t fourth = stop_and_lose(&w, 2);
    cr_assert_eq(world_open(&w), ERR_OK);
    cr_assert_eq(plog_offset_end(w.log), fourth - 1);
    world_end(&w);
}

static void follow(struct log_world *w, int64_t offset)
{
    struct buf data = make_batch((struct batch_want){.first_ms = LOG_EPOCH_MS, .value_bytes = 100});
    batch_patch_offset_epoch(data.data, offset, 0);
    cr_assert_eq(plog_append_follower(w->log, (struct bytes){data.data, data.size}, LOG_EPOCH_MS),
                 ERR_OK);
    buf_fini(&data);
}

/* A follower of a leader that compacts, cut where there is nothing: the segment that it begins
 * there does not begin where the one before ends. All of that is there after the power has failed,
 * and what comes behind it is told from a loss. (Where the topic was not compacted any more, all
 * behind the gap went with the next crash.) */
Test(gapless, keeps_a_gap_that_a_cut_has_left)
{
    for (int i = 0; i < 4; i++) {
        bool empty = i % 2 == 1; /* the segment that is cut, afterwards */
        struct log_world w;
        begin_policy(&w, 1, i / 2 == 0 ? TOPIC_CLEANUP_COMPACT : TOPIC_CLEANUP_DELETE);
        follow(&w, 3);
        if (empty) {
            cr_assert_eq(plog_roll(w.log, LOG_EPOCH_MS), ERR_OK);
        }
        follow(&w, 20);
        cr_assert_eq(plog_truncate_to(w.log, 10), ERR_OK);
        cr_assert_eq(plog_roll(w.log, LOG_EPOCH_MS), ERR_OK);
        cr_assert_eq(plog_recovery_point(w.log), 10, "nothing before will tell what it lacks");
        follow(&w, 10);
        cr_assert_eq(plog_flush(w.log), ERR_OK);
        cr_assert_eq(plog_roll(w.log, LOG_EPOCH_MS), ERR_OK);
        follow(&w, 11);
        cr_assert_eq(plog_flush(w.log), ERR_OK);
        world_abandon(&w);
        fs_sim_crash(w.sim);
        w.options.clean = false;
        cr_assert_eq(world_open(&w), ERR_OK);
        cr_assert_eq(plog_offset_end(w.log), 12);
        stop(&w);
        file_resize(&w, file_name(10, "log"), 0);
        cr_assert_eq(world_open(&w), ERR_OK);
        cr_assert_eq(plog_offset_end(w.log), 10);
        world_end(&w);
    }
}

/* Kafka, which compacts, may come after a clean stop of ours. */
Test(gapless, a_clean_stop_leaves_no_word_about_gaps)
{
    struct log_world w;
    begin_policy(&w, 1, TOPIC_CLEANUP_COMPACT);
    fill_segs(&w, 2);
    cr_assert(file_exists(&w, "gapless-from"));
    world_reopen(&w, false);
    cr_assert(file_exists(&w, "gapless-from"));
    world_reopen(&w, true);
    cr_assert(!file_exists(&w, "gapless-from"));
    world_end(&w);
    begin(&w, 2);
    cr_assert(!file_exists(&w, "gapless-from"), "nothing is compacted there");
    world_end(&w);
}

/* Damaged, or of a directory where Kafka has stopped cleanly meanwhile: it does not count. */
Test(gapless, a_word_about_gaps_that_cannot_be_read_does_not_count)
{
    static const char *const texts[] = {"", "12", "x\n", "-4\n", "99999999999999999999999999\n"};
    for (size_t i = 0; i <= sizeof(texts) / sizeof(texts[0]); i++) {
        struct log_world w;
        bool clean = i == sizeof(texts) / sizeof(texts[0]);
        begin_policy(&w, 1, TOPIC_CLEANUP_COMPACT);
        fill_segs(&w, 3);
        const char *text = clean ? "0\n" : texts[i];
        int64_t end = plog_offset_end(w.log);
        int64_t second = w.log->segs[1]->base_offset;
        int64_t size = w.log->segs[1]->size_bytes;
        if (clean) {
            world_reopen(&w, true);
        }
        stop(&w);
        w.options.clean = clean;
        file_write(&w, "gapless-from", text, strlen(text));
        file_resize(&w, file_name(second, "log"),
                    size - (int64_t)w.model.batches[second].data.size);
        cr_assert_eq(world_open(&w), ERR_OK);
        cr_assert_eq(plog_offset_end(w.log), end, "%s", text);
        cr_assert(!clean || !file_exists(&w, "gapless-from"));
        world_end(&w);
    }
}
