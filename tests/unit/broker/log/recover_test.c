/* Opening a log that somebody has harmed: torn and damaged tails, indexes that do not fit, stale
 * snapshots, missing files; and how much of it is read. */
#include "recover_fixture.h"

Test(recover, cuts_a_torn_tail_at_every_length)
{
    for (int64_t cut = 1; cut < 180; cut += 7) {
        struct log_world w;
        begin(&w, 1);
        int64_t size = w.log->segs[0]->size_bytes;
        int64_t last = (int64_t)w.model.batches[w.model.count - 1].data.size;
        stop(&w);
        file_resize(&w, SEG0 ".log", size - cut);
        int32_t kept = w.model.count - (cut > last ? 2 : 1);
        cr_assert_eq(open_and_check(&w), kept, "cut=%" PRId64, cut);
        struct buf log = file_read(&w, SEG0 ".log");
        cr_assert_eq((int64_t)log.size, w.log->segs[0]->size_bytes, "the file is cut too");
        buf_fini(&log);
        world_end(&w);
    }
}

Test(recover, ends_the_log_at_a_damaged_batch_and_deletes_what_follows)
{
    struct log_world w;
    begin(&w, 3);
    int64_t second = w.log->segs[1]->base_offset;
    int64_t third = w.log->segs[2]->base_offset;
    stop(&w);
    struct buf log = file_read(&w, file_name(second, "log"));
    log.data[log.size / 2] ^= 1;
    file_write(&w, file_name(second, "log"), log.data, log.size);
    buf_fini(&log);
    int32_t kept = open_and_check(&w);
    cr_assert(kept > second && kept < third, "kept=%d", kept);
    cr_assert_eq(w.log->segs_count, 2);
    cr_assert(!file_exists(&w, file_name(third, "log")));
    cr_assert(!file_exists(&w, file_name(third, "snapshot")));
    cr_assert(file_exists(&w, file_name(second, "snapshot")));
    world_end(&w);
}

Test(recover, deletes_segments_behind_a_hole)
{
    struct log_world w;
    begin(&w, 3);
    int64_t third = stop_and_lose(&w, 1);
    cr_assert_eq(open_and_check(&w), third - 1);
    cr_assert(!file_exists(&w, file_name(third, "log")));
    world_end(&w);
}

Test(recover, keeps_holes_that_compaction_has_made)
{
    struct log_world w;
    begin(&w, 3);
    int64_t end = plog_offset_end(w.log);
    w.options.config.cleanup_policy = TOPIC_CLEANUP_COMPACT;
    int64_t third = stop_and_lose(&w, 1);
    cr_assert_eq(world_open(&w), ERR_OK);
    cr_assert_eq(plog_offset_end(w.log), end);
    cr_assert(file_exists(&w, file_name(third, "log")));
    world_end(&w);
}

/* As Kafka writes them: each has two records, the second is the marker. */
static void write_aborted(struct log_world *w, int64_t count)
{
    struct buf out = {0};
    for (int64_t i = 0; i < count; i++) {
        buf_put_be16(&out, 0);
        buf_put_be64(&out, 7);
        buf_put_be64(&out, (uint64_t)(2 * i));
        buf_put_be64(&out, (uint64_t)(2 * i + 1));
        buf_put_be64(&out, (uint64_t)(2 * i));
    }
    file_write(w, SEG0 ".txnindex", out.data, out.size);
    buf_fini(&out);
}

static size_t aborted_count(const struct log_world *w)
{
    struct buf content = file_read(w, SEG0 ".txnindex");
    size_t size = content.size;
    buf_fini(&content);
    cr_assert_eq(size % 34, 0);
    return size / 34;
}

/* Aborted transactions in front of a cut stayed known behind it, and would have hidden what was
 * written there later. */
Test(recover, a_cut_takes_aborted_transactions_along)
{
    struct log_world w;
    begin_policy(&w, 1, TOPIC_CLEANUP_DELETE);
    w.options.config.segment_bytes = 1 << 20;
    plog_configure(w.log, &w.options.config);
    log_fill(&w, 1100, 10);
    write_aborted(&w, 550);
    cr_assert_eq(plog_truncate_to(w.log, 1099), ERR_OK);
    cr_assert_eq(aborted_count(&w), 549);
    cr_assert_eq(plog_truncate_to(w.log, 6), ERR_OK);
    cr_assert_eq(aborted_count(&w), 3);
    cr_assert_eq(plog_truncate_to(w.log, 5), ERR_OK);
    cr_assert_eq(aborted_count(&w), 2);
    world_abandon(&w);
    fs_sim_crash(w.sim);
    w.options.clean = false;
    cr_assert_eq(world_open(&w), ERR_OK);
    cr_assert_leq(aborted_count(&w), 2, "durably");
    write_aborted(&w, 9);
    cr_assert_eq(plog_cut_again(w.log), ERR_OK);
    cr_assert_eq(aborted_count(&w), (size_t)plog_offset_end(w.log) / 2);
    world_end(&w);
}

Test(recover, a_recovery_keeps_aborted_transactions_up_to_the_end_it_finds)
{
    struct log_world w;
    begin(&w, 1);
    int64_t size = w.log->segs[0]->size_bytes;
    write_aborted(&w, 50);
    struct buf index = file_read(&w, SEG0 ".txnindex");
    stop(&w);
    file_resize(&w, SEG0 ".log", size - 1);
    (void)open_and_check(&w);
    cr_assert_eq(aborted_count(&w), (size_t)plog_offset_end(w.log) / 2);
    stop(&w);
    index.data[34] = 1; /* of another version */
    file_write(&w, SEG0 ".txnindex", index.data, index.size);
    (void)open_and_check(&w);
    cr_assert_eq(aborted_count(&w), 1);
    buf_fini(&index);
    world_end(&w);
}

/* A follower began anew below the start that the checkpoint names, and the power failed before the
 * name of its new segment was on the disk: it began at the old start again, empty, and took from
 * there on what its leader had. What was below was deleted for it, and by it as the next leader. */
Test(recover, a_log_that_began_anew_below_its_start_stays_there_without_a_segment)
{
    bool lost = false;
    for (uint64_t seed = 0; seed < 40; seed++) {
        struct log_world w;
        world_begin(&w, seed);
        cr_assert_eq(world_open(&w), ERR_OK);
        log_fill(&w, 9, 10);
        cr_assert_eq(plog_set_log_start(w.log, 7), ERR_OK);
        log_flush_ok(&w);
        w.options.log_start_offset = 7;
        w.options.recovery_point = 9;
        cr_assert_eq(plog_truncate_to(w.log, 5), ERR_OK);
        world_abandon(&w);
        fs_sim_crash(w.sim);
        lost = lost || !file_exists(&w, file_name(5, "log"));
        cr_assert_eq(world_open(&w), ERR_OK);
        cr_assert_eq(plog_offset_end(w.log), 5);
        cr_assert_eq(plog_log_start(w.log), 5);
        world_end(&w);
    }
    cr_assert(lost, "no run had what this is about");
}

/* After a crash of ours a Kafka broker ran, deleted records, and stopped cleanly: they were there
 * again. */
Test(recover, a_word_about_a_lower_start_does_not_count_after_a_clean_stop)
{
    for (int clean = 0; clean < 2; clean++) {
        struct log_world w;
        world_begin(&w, 1);
        cr_assert_eq(world_open(&w), ERR_OK);
        log_fill(&w, 9, 10);
        cr_assert_eq(plog_close(w.log), ERR_OK);
        w.log = NULL;
        w.options.log_start_offset = 5;
        w.options.recovery_point = 9;
        w.options.clean = clean == 1;
        file_write(&w, "log-start-lowered", "2\n", 2);
        cr_assert_eq(world_open(&w), ERR_OK);
        cr_assert_eq(plog_log_start(w.log), clean == 1 ? 5 : 2);
        cr_assert_eq(file_exists(&w, "log-start-lowered"), clean == 0);
        world_end(&w);
    }
}

static void remove_snapshots(struct log_world *w, int64_t end)
{
    for (int64_t offset = 0; offset <= end; offset++) {
        if (file_exists(w, file_name(offset, "snapshot"))) {
            file_remove(w, file_name(offset, "snapshot"));
        }
    }
}

/* A closed segment before the recovery point is not read at a start; where its index is missing it
 * is. That one of its batches was damaged was found then, and all that is behind it, durable and
 * whole, was deleted. Or, where the snapshots of producers are missing, the directory given up. */
Test(recover, a_damage_before_the_recovery_point_takes_nothing_along)
{
    for (int i = 0; i < 8; i++) {
        bool header = i / 2 % 2 == 1; /* of its second batch; else within a batch */
        struct log_world w;
        begin(&w, 3);
        int64_t second = w.log->segs[1]->base_offset;
        int64_t third = w.log->segs[2]->base_offset;
        int64_t end = plog_offset_end(w.log);
        log_flush_ok(&w);
        world_reopen(&w, true);
        stop(&w);
        w.options.clean = i % 2 == 1;
        w.options.recovery_point = end;
        struct buf log = file_read(&w, file_name(second, "log"));
        size_t batch = w.model.batches[second].data.size;
        log.data[batch + (header ? BATCH_AT_MAGIC : BATCH_HEADER_SIZE)] ^= 1;
        file_write(&w, file_name(second, "log"), log.data, log.size);
        write_aborted(&w, 3);
        file_remove(&w, SEG0 ".index");
        file_remove(&w, file_name(second, "index"));
        if (i / 4 == 1) {
            remove_snapshots(&w, end);
        }
        cr_assert_eq(world_open(&w), ERR_OK);
        cr_assert_eq(plog_offset_end(w.log), end);
        cr_assert_eq(w.log->segs_count, 3);
        struct buf after = file_read(&w, file_name(second, "log"));
        cr_assert_eq(after.size, log.size);
        cr_assert_eq(w.log->segs[1]->size_bytes, (int64_t)log.size);
        cr_assert_eq(aborted_count(&w), 3);
        struct buf rest = read_log(w.log, third);
        cr_assert_gt(rest.size, 0);
        struct view *view = plog_view_get(w.log);
        for (int64_t offset = second; offset < third; offset++) {
            struct view_range range;
            enum err err = view_read(view, offset, end, 1, true, &range);
            cr_assert_eq(err, header && offset > second ? ERR_CORRUPT : ERR_OK);
            cr_assert(err != ERR_OK || range.base_offset == offset);
        }
        view_put(view);
        buf_fini(&rest);
        buf_fini(&after);
        buf_fini(&log);
        world_end(&w);
    }
}

/* Bytes cut from a tail must not come back behind newer ones after the power has failed. */
Test(recover, what_was_cut_does_not_come_back_behind_newer_records)
{
    for (uint64_t seed = 0; seed < 60; seed++) {
        struct log_world w;
        world_begin(&w, seed);
        cr_assert_eq(world_open(&w), ERR_OK);
        struct batch_want want = {.first_ms = LOG_EPOCH_MS, .value_bytes = 600};
        log_append_ok(&w, want, 0);
        log_flush_ok(&w);
        w.options.recovery_point = 1;
        log_append_ok(&w, want, 0); /* will be torn */
        log_append_ok(&w, want, 0); /* whole, but behind a torn one */
        stop(&w);
        size_t first = w.model.batches[0].data.size;
        struct buf log = file_read(&w, SEG0 ".log");
        log.data[first + 100] ^= 1;
        file_write(&w, SEG0 ".log", log.data, log.size);
        struct fs_file *file;
        cr_assert_eq(fs_open(w.fs, log_path(SEG0 ".log"), FS_WRITE, &file), ERR_OK);
        cr_assert_eq(fs_sync(file), ERR_OK); /* all of that was on the disk */
        fs_close(file);
        buf_fini(&log);
        while (w.model.count > 1) {
            buf_fini(&w.model.batches[--w.model.count].data);
        }
        cr_assert_eq(open_and_check(&w), 1);
        want.first_ms++;
        log_append_ok(&w, want, 0); /* of the same size as the torn one */
        world_abandon(&w);
        fs_sim_crash(w.sim);
        int32_t kept = open_and_check(&w);
        cr_assert(kept == 1 || kept == 2);
        world_end(&w);
    }
}

/* Nor may a whole segment that had to go. */
Test(recover, a_deleted_segment_does_not_come_back)
{
    for (uint64_t seed = 0; seed < 60; seed++) {
        struct log_world w;
        begin_seeded(&w, 3, seed);
        int64_t second = w.log->segs[1]->base_offset;
        int64_t third = w.log->segs[2]->base_offset;
        log_flush_ok(&w);
        stop(&w);
        struct buf log = file_read(&w, file_name(second, "log"));
        log.data[log.size - 1] ^= 1;
        file_write(&w, file_name(second, "log"), log.data, log.size);
        buf_fini(&log);
        while (w.model.count >= third) {
            buf_fini(&w.model.batches[--w.model.count].data);
        }
        w.model.flushed = 0;
        cr_assert_eq(open_and_check(&w), third - 1);
        struct batch_want want = {.first_ms = LOG_EPOCH_MS + third - 1, .value_bytes = 100};
        log_append_ok(&w, want, 99);
        cr_assert_eq(plog_offset_end(w.log), third, "the old segment would fit behind it");
        world_abandon(&w);
        fs_sim_crash(w.sim);
        (void)open_and_check(&w);
        cr_assert_leq(plog_offset_end(w.log), third);
        world_end(&w);
    }
}

/* Retention lets everything go, the power fails before the disk's call `k` of that, and some of the
 * changes of names have happened. False: it needs fewer calls. */
static bool end_while_all_is_deleted(uint64_t seed, int64_t k)
{
    struct log_world w;
    begin_seeded(&w, 1, seed);
    log_flush_ok(&w);
    int64_t end = plog_offset_end(w.log);
    w.options.recovery_point = end;
    w.options.log_start_offset = plog_log_start(w.log);
    w.log->config->config.retention_ms = 1000;
    fs_fault_set(w.fault,
                 &(struct fs_fault_plan){
                     .ops = FS_OPS_ALL, .after = k, .repeat = FS_FAULT_FOR_EVER, .err = ERR_IO});
    (void)!plog_delete_old_segments(w.log, end, LOG_EPOCH_MS + 100000);
    bool hit = fs_fault_hits(w.fault) > 0;
    world_abandon(&w);
    fs_sim_crash(w.sim);
    fs_fault_clear(w.fault);
    cr_assert_eq(world_open(&w), ERR_OK);
    cr_assert_eq(plog_offset_end(w.log), end, "seed %" PRIu64 " call %" PRId64, seed, k);
    world_end(&w);
    return hit;
}

/* A log without a segment begins at the start that the checkpoint knows: the offsets of records
 * that consumers had read were given to others. */
Test(recover, offsets_do_not_come_again_when_the_power_fails_while_all_is_deleted)
{
    for (uint64_t seed = 0; seed < 40; seed++) {
        for (int64_t k = 0; end_while_all_is_deleted(seed, k); k++) {
        }
    }
}

/* Of four segments the first is damaged; while the rest is given up, the process or the machine
 * ends before the disk's call `k`. False: it needs fewer. */
static bool end_while_cutting(uint64_t seed, int64_t k, bool power)
{
    struct log_world w;
    begin_seeded(&w, 4, seed);
    log_flush_ok(&w);
    w.options.config.cleanup_policy = TOPIC_CLEANUP_COMPACT;
    stop(&w);
    struct buf log = file_read(&w, SEG0 ".log");
    log.data[log.size - 1] ^= 1;
    file_write(&w, SEG0 ".log", log.data, log.size);
    buf_fini(&log);
    sync_all(&w);
    w.model.flushed = 0;
    fs_fault_set(w.fault,
                 &(struct fs_fault_plan){
                     .ops = FS_OPS_ALL, .after = k, .repeat = FS_FAULT_FOR_EVER, .err = ERR_IO});
    if (world_open(&w) != ERR_OK) {
        w.log = NULL;
    }
    bool hit = fs_fault_hits(w.fault) > 0;
    world_abandon(&w);
    if (power) {
        fs_sim_crash(w.sim);
    } else {
        fs_sim_kill(w.sim);
    }
    fs_fault_clear(w.fault);
    cr_assert_eq(world_open(&w), ERR_OK);
    (void)model_prefix(&w); /* without a hole */
    world_end(&w);
    return hit;
}

/* A log that is compacted may have holes: those that a recovery leaves when it is interrupted must
 * not be taken for such. */
Test(recover, leaves_no_hole_in_a_compacted_log_when_it_is_interrupted)
{
    for (uint64_t seed = 0; seed < 10; seed++) {
        for (int64_t k = 0; end_while_cutting(seed, k, seed % 2 == 0); k++) {
        }
    }
}

Test(recover, makes_indexes_anew_after_a_crash_whatever_they_hold)
{
    static const uint8_t garbage[77] = {9, 8, 7, 6, 5, 4, 3, 2, 1};
    static const uint8_t zeros[4096] = {0}; /* as Kafka preallocates them */
    struct {
        const uint8_t *data;
        size_t size;
    } contents[] = {{garbage, 0}, {garbage, 8}, {garbage, sizeof(garbage)}, {zeros, sizeof(zeros)}};
    for (size_t i = 0; i < sizeof(contents) / sizeof(contents[0]); i++) {
        struct log_world w;
        begin(&w, 2);
        int64_t second = w.log->segs[1]->base_offset;
        struct buf before = file_read(&w, SEG0 ".index");
        stop(&w);
        file_write(&w, SEG0 ".index", contents[i].data, contents[i].size);
        file_write(&w, SEG0 ".timeindex", contents[i].data, contents[i].size);
        file_write(&w, file_name(second, "index"), contents[i].data, contents[i].size);
        cr_assert_eq(open_and_check(&w), w.model.count);
        struct buf after = file_read(&w, SEG0 ".index");
        cr_assert_eq(after.size, before.size);
        cr_assert_eq(memcmp(after.data, before.data, before.size), 0);
        buf_fini(&before);
        buf_fini(&after);
        world_end(&w);
    }
}

/* After a clean stop indexes are believed as far as they make sense; a reader is never led astray.
 */
Test(recover, finds_every_batch_with_a_wrong_index_of_a_trusted_segment)
{
    for (int kind = 0; kind < 5; kind++) {
        struct log_world w;
        begin(&w, 2);
        world_reopen(&w, true);
        cr_assert_eq(plog_close(w.log), ERR_OK);
        w.log = NULL;
        struct buf index = file_read(&w, SEG0 ".index");
        cr_assert_gt(index.size, 16);
        if (kind == 0) { /* positions in the middle of batches */
            for (size_t i = 4; i < index.size; i += 8) {
                be32_put(index.data + i, be32_get(index.data + i) + 13);
            }
        } else if (kind == 1) { /* positions of later batches */
            memmove(index.data + 4, index.data + 12, 4);
        } else if (kind == 2) { /* behind the end of the log */
            be32_put(index.data + index.size - 4, 1 << 30);
        } else if (kind == 3) { /* going back */
            be32_put(index.data + index.size - 8, 1);
        } else { /* cut within an entry */
            index.size -= 3;
        }
        file_write(&w, SEG0 ".index", index.data, index.size);
        cr_assert_eq(world_open(&w), ERR_OK);
        struct view *view = plog_view_get(w.log);
        for (int64_t offset = 0; offset < plog_offset_end(w.log); offset++) {
            struct view_range range;
            cr_assert_eq(view_read(view, offset, INT64_MAX, 1 << 20, true, &range), ERR_OK,
                         "kind %d", kind);
            cr_assert_eq(range.base_offset, offset, "kind %d", kind);
        }
        view_put(view);
        cr_assert_eq(check_log(&w), w.model.count);
        buf_fini(&index);
        world_end(&w);
    }
}

/* To cut a segment it has to be known what is left of it. A wrong entry of its index shortly before
 * the cut took the log offline, and its directory with it. */
Test(recover, cuts_a_trusted_segment_with_a_wrong_index)
{
    for (int64_t cut = 1; cut < 10; cut++) {
        struct log_world w;
        begin(&w, 2);
        cr_assert_gt(w.log->segs[0]->next_offset, cut);
        world_reopen(&w, true);
        cr_assert_eq(plog_close(w.log), ERR_OK);
        w.log = NULL;
        struct buf index = file_read(&w, SEG0 ".index");
        for (size_t i = 12; i < index.size; i += 8) { /* in the middle of an earlier batch */
            be32_put(index.data + i, be32_get(index.data + i - 8) + 13);
        }
        file_write(&w, SEG0 ".index", index.data, index.size);
        cr_assert_eq(world_open(&w), ERR_OK);
        cr_assert_eq(plog_truncate_to(w.log, cut), ERR_OK, "cut at %" PRId64, cut);
        cr_assert_eq(plog_offset_end(w.log), cut);
        struct view *view = plog_view_get(w.log);
        for (int64_t offset = 0; offset < cut; offset++) {
            struct view_range range;
            cr_assert_eq(view_read(view, offset, INT64_MAX, 1 << 20, true, &range), ERR_OK);
            cr_assert_eq(range.base_offset, offset);
        }
        view_put(view);
        cr_assert_eq(plog_roll(w.log, LOG_EPOCH_MS), ERR_OK);
        buf_fini(&index);
        world_end(&w);
    }
}

Test(recover, reads_a_segment_without_an_index_even_after_a_clean_stop)
{
    static const char *const extensions[] = {"index", "timeindex"};
    for (int i = 0; i < 2; i++) {
        struct log_world w;
        begin(&w, 3);
        int64_t second = w.log->segs[1]->base_offset;
        world_reopen(&w, true);
        cr_assert_eq(plog_close(w.log), ERR_OK);
        w.log = NULL;
        file_remove(&w, file_name(second, extensions[i]));
        cr_assert_eq(open_and_check(&w), w.model.count);
        cr_assert(file_exists(&w, file_name(second, extensions[i])));
        world_end(&w);
    }
}

Test(recover, skips_damaged_snapshots_and_removes_stale_ones)
{
    struct log_world w;
    begin(&w, 3);
    int64_t second = w.log->segs[1]->base_offset;
    int64_t third = w.log->segs[2]->base_offset;
    stop(&w);
    struct buf snapshot = file_read(&w, file_name(third, "snapshot"));
    snapshot.data[12] ^= 1;
    file_write(&w, file_name(third, "snapshot"), snapshot.data, snapshot.size);
    file_write(&w, file_name(second, "snapshot"), "", 0);
    file_write(&w, file_name(99999, "snapshot"), snapshot.data, snapshot.size);
    buf_fini(&snapshot);
    cr_assert_eq(open_and_check(&w), w.model.count, "producers are read from the batches");
    cr_assert(!file_exists(&w, file_name(99999, "snapshot")));
    cr_assert(!file_exists(&w, file_name(third, "snapshot")));
    cr_assert(file_exists(&w, file_name(w.model.count, "snapshot")), "a new one");
    world_end(&w);
}

Test(recover, a_snapshot_of_a_clean_stop_goes_with_the_records_that_a_truncation_removes)
{
    struct log_world w;
    begin(&w, 1);
    int64_t end = plog_offset_end(w.log);
    world_reopen(&w, true);
    cr_assert(file_exists(&w, file_name(end, "snapshot")));
    log_append_ok(&w, (struct batch_want){.first_ms = LOG_EPOCH_MS + end}, 9);
    cr_assert_eq(plog_truncate_to(w.log, end - 1), ERR_OK);
    cr_assert(!file_exists(&w, file_name(end, "snapshot")));
    world_end(&w);
}

Test(recover, missing_or_damaged_epochs_are_no_reason_to_refuse_a_log)
{
    static const char *const contents[] = {"", "0\n", "garbage", "0\n5\n0 0\n", "1\n0\n"};
    for (size_t i = 0; i < sizeof(contents) / sizeof(contents[0]); i++) {
        struct log_world w;
        begin(&w, 2);
        stop(&w);
        file_write(&w, "leader-epoch-checkpoint", contents[i], strlen(contents[i]));
        cr_assert_eq(open_and_check(&w), w.model.count, "epochs are read from the batches");
        world_end(&w);
    }
}

/* Nothing that is read at a start says more than the last epoch: the log went on without the
 * others, or without any, and a follower could not be told where its records and the leader's part.
 */
Test(recover, epochs_that_no_file_has_are_those_of_the_batches)
{
    static const char *const contents[] = {NULL, "", "0\n0\n", "garbage", "0\n1\n0 0\n"};
    for (int i = 0; i < 9; i++) {
        struct log_world w;
        const char *content = contents[i / 2];
        bool clean = i % 2 == 0;
        begin(&w, 4);
        int64_t last = w.log->segs[3]->base_offset;
        world_reopen(&w, true);
        int64_t end = plog_offset_end(w.log);
        cr_assert_eq(plog_close(w.log), ERR_OK);
        w.log = NULL;
        file_remove(&w, "leader-epoch-checkpoint");
        if (content != NULL) {
            file_write(&w, "leader-epoch-checkpoint", content, strlen(content));
        }
        w.options.clean = clean;
        w.options.recovery_point = clean ? end : last;
        cr_assert_eq(open_and_check(&w), w.model.count);
        w.options.recovery_point = end;
        stop(&w);
        cr_assert_eq(open_and_check(&w), w.model.count, "they are in their file");
        world_end(&w);
    }
}

/* The next crash would find them neither there nor in the batches that it reads. */
Test(recover, epochs_of_finished_segments_that_their_file_lacks_are_written_at_once)
{
    struct log_world w;
    begin(&w, 3);
    stop(&w);
    file_write(&w, "leader-epoch-checkpoint", "", 0);
    cr_assert_eq(open_and_check(&w), w.model.count);
    log_flush_ok(&w);
    w.options.recovery_point = plog_recovery_point(w.log);
    stop(&w);
    cr_assert_eq(open_and_check(&w), w.model.count, "of the last segment alone, and of the file");
    world_end(&w);
}

/* The segment in the middle is recovered; the epoch of its first batch began before it. */
Test(recover, of_a_middle_segment_keeps_where_its_first_epoch_began)
{
    struct log_world w;
    begin(&w, 3);
    log_flush_ok(&w);
    int64_t second = w.log->segs[1]->base_offset;
    cr_assert_neq(w.model.batches[second].header.leader_epoch,
                  w.model.batches[second].header.base_offset % 7 == 0, "it began earlier");
    w.options.recovery_point = second;
    stop(&w);
    cr_assert_eq(open_and_check(&w), w.model.count);
    world_end(&w);
}

Test(recover, an_empty_or_missing_directory_is_an_empty_log)
{
    struct log_world w;
    world_begin(&w, 1);
    w.options.log_start_offset = 500;
    cr_assert_eq(world_open(&w), ERR_OK);
    cr_assert_eq(plog_offset_end(w.log), 500);
    cr_assert_eq(plog_log_start(w.log), 500);
    cr_assert(file_exists(&w, file_name(500, "log")));
    world_end(&w);
}

Test(recover, a_log_that_ends_before_its_start_begins_anew)
{
    struct log_world w;
    begin(&w, 2);
    stop(&w);
    w.options.log_start_offset = w.model.count + 10;
    cr_assert_eq(world_open(&w), ERR_OK);
    cr_assert_eq(plog_log_start(w.log), w.model.count + 10);
    cr_assert_eq(plog_offset_end(w.log), w.model.count + 10);
    cr_assert_eq(w.log->segs_count, 1);
    cr_assert(!file_exists(&w, SEG0 ".log"));
    world_end(&w);
}

/* ---- how much is read ---- */

struct reads {
    char text[4096]; /* names of .log files whose bytes were read, in the order of first reads */
    int count;
};

static void on_call(void *arg, enum fs_op op, const char *path)
{
    struct reads *reads = arg;
    const char *name = strrchr(path, '/') + 1;
    if (op != FS_OP_PREAD || strstr(name, ".log") == NULL) {
        return;
    }
    reads->count++;
    if (strstr(reads->text, name) == NULL) {
        size_t used = strlen(reads->text);
        snprintf(reads->text + used, sizeof(reads->text) - used, "%s;", name);
    }
}

Test(recover, reads_only_what_was_not_flushed)
{
    struct log_world w;
    struct reads reads = {.count = 0};
    char expected[128];
    begin(&w, 5);
    int64_t fourth = w.log->segs[3]->base_offset;
    int64_t fifth = w.log->segs[4]->base_offset;
    w.options.recovery_point = fourth + 1;
    stop(&w);
    fs_fault_set_hook(w.fault, on_call, &reads);
    cr_assert_eq(world_open(&w), ERR_OK);
    fs_fault_set_hook(w.fault, NULL, NULL);
    snprintf(expected, sizeof(expected), "%020" PRId64 ".log;%020" PRId64 ".log;", fourth, fifth);
    cr_assert_str_eq(reads.text, expected);
    cr_assert_eq(check_log(&w), w.model.count);
    world_end(&w);
}

Test(recover, after_a_clean_stop_reads_a_few_headers_of_the_last_segment)
{
    struct log_world w;
    struct reads reads = {.count = 0};
    char expected[64];
    begin(&w, 5);
    world_reopen(&w, true);
    cr_assert_eq(plog_close(w.log), ERR_OK);
    fs_fault_set_hook(w.fault, on_call, &reads);
    cr_assert_eq(world_open(&w), ERR_OK);
    fs_fault_set_hook(w.fault, NULL, NULL);
    snprintf(expected, sizeof(expected), "%020" PRId64 ".log;", w.log->segs[4]->base_offset);
    cr_assert_str_eq(reads.text, expected);
    cr_assert_leq(reads.count, 6, "%d reads", reads.count);
    cr_assert_eq(check_log(&w), w.model.count);
    world_end(&w);
}

/* Where nobody is idempotent, too: the second crash must not mean reading from the beginning. */
Test(recover, without_producers_does_not_read_the_whole_log)
{
    struct log_world w;
    struct reads reads = {.count = 0};
    world_begin(&w, 1);
    w.options.config.segment_bytes = 2000;
    cr_assert_eq(world_open(&w), ERR_OK);
    while (w.log->segs_count < 6) {
        log_fill(&w, 1, 200);
        step_workers(&w);
    }
    w.options.recovery_point = plog_recovery_point(w.log);
    cr_assert_eq(w.options.recovery_point, w.log->segs[5]->base_offset);
    stop(&w);
    fs_fault_set_hook(w.fault, on_call, &reads);
    cr_assert_eq(world_open(&w), ERR_OK);
    fs_fault_set_hook(w.fault, NULL, NULL);
    cr_assert_leq(strlen(reads.text), strlen("00000000000000000000.log;"), "%s", reads.text);
    world_end(&w);
}

/* ---- the recovery point ---- */

Test(recover, the_recovery_point_follows_finished_segments_also_when_several_wait)
{
    struct log_world w;
    begin(&w, 1);
    while (w.log->segs_count < 4) {
        log_fill(&w, 1, 300);
    }
    cr_assert_eq(plog_recovery_point(w.log), 0);
    cr_assert(worker_pool_step(w.workers));
    cr_assert_eq(plog_recovery_point(w.log), w.log->segs[3]->base_offset, "all that had waited");
    cr_assert(!worker_pool_step(w.workers), "one flush at a time");
    while (w.log->segs_count < 5) {
        log_fill(&w, 1, 300);
    }
    cr_assert(worker_pool_step(w.workers));
    cr_assert_eq(plog_recovery_point(w.log), w.log->segs[4]->base_offset);
    world_end(&w);
}

Test(recover, a_flush_that_began_before_a_truncation_does_not_move_the_recovery_point)
{
    struct log_world w;
    begin(&w, 2);
    cr_assert_eq(plog_truncate_to(w.log, 3), ERR_OK);
    log_fill(&w, 1, 50);
    step_workers(&w);
    cr_assert_leq(plog_recovery_point(w.log), 3);
    world_end(&w);
}
