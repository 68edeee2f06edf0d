/* Records looked for by their time, in one segment and in many. */
#include "log_fixture.h"

static void begin(struct log_world *w)
{
    world_begin(w, 1);
    cr_assert_eq(world_open(w), ERR_OK);
}

struct found {
    int64_t ms;
    int64_t offset;
    int32_t epoch;
};

static struct found look(struct log_world *w, int64_t timestamp_ms)
{
    struct found found;
    cr_assert_eq(plog_offset_for_time(w->log, timestamp_ms, &found.ms, &found.offset, &found.epoch),
                 ERR_OK);
    return found;
}

Test(times, the_first_record_at_or_after_a_time)
{
    struct log_world w;
    world_begin(&w, 1);
    w.options.config.index_interval_bytes = 50;
    cr_assert_eq(world_open(&w), ERR_OK);
    /* Times go back in between: the answer is the first offset, not the nearest time. */
    const int64_t times[] = {100, 200, 150, 300, 250, 400};
    for (int i = 0; i < 6; i++) {
        log_append_ok(&w, (struct batch_want){.records = 2, .first_ms = times[i]}, i);
        if (i == 2) {
            cr_assert_eq(plog_roll(w.log, LOG_EPOCH_MS), ERR_OK);
        }
    }
    for (int pass = 0; pass < 3; pass++) {
        const int64_t cases[][4] = {/* asked, time, offset, epoch */
                                    {0, 100, 0, 0},    {101, 101, 1, 0}, {102, 200, 2, 1},
                                    {201, 201, 3, 1},  {202, 300, 6, 3}, {302, 400, 10, 5},
                                    {401, 401, 11, 5}, {402, -1, -1, -1}};
        for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
            struct found found = look(&w, cases[i][0]);
            cr_assert_eq(found.ms, cases[i][1], "pass %d, time %" PRId64, pass, cases[i][0]);
            cr_assert_eq(found.offset, cases[i][2], "pass %d, time %" PRId64, pass, cases[i][0]);
            cr_assert_eq(found.epoch, cases[i][3], "pass %d, time %" PRId64, pass, cases[i][0]);
        }
        struct found max;
        cr_assert_eq(plog_offset_of_max_timestamp(w.log, &max.ms, &max.offset, &max.epoch), ERR_OK);
        cr_assert_eq(max.ms, 401);
        cr_assert_eq(max.offset, 11);
        world_reopen(&w, pass == 0);
    }
    cr_assert_eq(plog_set_log_start(w.log, 3), ERR_OK);
    cr_assert_eq(look(&w, 0).offset, 3, "not below the log start");
    world_end(&w);
}

Test(times, the_largest_may_lie_in_an_older_segment)
{
    struct log_world w;
    struct found max;
    begin(&w);
    log_append_ok(&w, (struct batch_want){.records = 3, .first_ms = 900}, 0);
    cr_assert_eq(plog_roll(w.log, LOG_EPOCH_MS), ERR_OK);
    log_append_ok(&w, (struct batch_want){.records = 3, .first_ms = 500}, 0);
    cr_assert_eq(plog_roll(w.log, LOG_EPOCH_MS), ERR_OK);
    /* No time at all: the file's is no record's. */
    log_append_ok(&w, (struct batch_want){.first_ms = -1}, 0);
    cr_assert_eq(fs_set_mtime(w.fs, log_path("00000000000000000006.log"), LOG_EPOCH_MS), ERR_OK);
    cr_assert_eq(plog_offset_of_max_timestamp(w.log, &max.ms, &max.offset, &max.epoch), ERR_OK);
    cr_assert_eq(max.ms, 902);
    cr_assert_eq(max.offset, 2);
    world_end(&w);
}

/* Between the moment in which batches are noted and that in which they are written, somebody looks
 * for their time: what the index said of them was taken for an error in it, and the segment was
 * without an index from then on. */
Test(times, that_are_being_written_do_not_cost_the_index)
{
    struct log_world w;
    world_begin(&w, 1);
    w.options.config.index_interval_bytes = 50;
    cr_assert_eq(world_open(&w), ERR_OK);
    log_fill(&w, 10, 100);
    struct seg *seg = plog_active(w.log);
    uint32_t entries = seg->index_count;
    struct batch_header header = w.model.batches[9].header;
    int64_t last_ms = header.max_timestamp_ms;
    for (int i = 1; i <= 2; i++) {
        header.base_offset++;
        header.max_timestamp_ms += 1000;
        seg_note(seg, &header, seg->size_bytes + (i - 1) * (int64_t)batch_size_bytes(&header));
    }
    cr_assert_eq(seg->index_count, entries + 2);
    cr_assert_eq(look(&w, last_ms + 1500).offset, -1, "it cannot be read yet");
    cr_assert_eq(seg->index_count, entries + 2);
    world_end(&w);
}

/* A look for a time read the indexes of all segments before it, and they stayed in memory. */
Test(times, are_looked_for_with_the_index_of_one_segment)
{
    struct log_world w;
    world_begin(&w, 1);
    w.options.config.index_interval_bytes = 50;
    w.options.config.segment_bytes = 1000;
    cr_assert_eq(world_open(&w), ERR_OK);
    log_fill(&w, 30, 100);
    world_reopen(&w, true);
    int32_t last = w.log->segs_count - 1;
    cr_assert_geq(last, 3);
    int64_t base = w.log->segs[last - 1]->base_offset;
    cr_assert_eq(look(&w, w.model.batches[base].header.max_timestamp_ms).offset, base);
    for (int32_t i = 0; i < last; i++) {
        cr_assert_eq(w.log->segs[i]->index_loaded, i == last - 1, "segment %d", i);
        cr_assert_eq(w.log->segs[i]->max_timestamp_ms,
                     w.model.batches[w.log->segs[i + 1]->base_offset - 1].header.max_timestamp_ms);
    }
    (void)check_log(&w);
    world_end(&w);
}

/* A compressed message of an old format was taken for one record, its last: who began to consume at
 * a time missed up to all of the others that it holds. */
Test(times, within_a_compressed_message_of_an_old_format)
{
    struct log_world w;
    struct buf log = {0};
    world_begin(&w, 1);
    put_message(&log, 9, COMPRESS_NONE, 50, (struct bytes){(const uint8_t *)"v", 1});
    put_wrapper(&log, 10, 3, 100);
    cr_assert_eq(fs_mkdir_all(w.fs, LOG_DIR), ERR_OK);
    file_write(&w, "00000000000000000000.log", log.data, log.size);
    cr_assert_eq(world_open(&w), ERR_OK);
    cr_assert_eq(plog_offset_end(w.log), 13);
    const int64_t cases[][3] = {/* asked, time, offset */
                                {0, 50, 9},     {50, 50, 9},    {51, 100, 10}, {100, 100, 10},
                                {101, 101, 11}, {102, 102, 12}, {103, -1, -1}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct found found = look(&w, cases[i][0]);
        cr_assert_eq(found.ms, cases[i][1], "time %" PRId64, cases[i][0]);
        cr_assert_eq(found.offset, cases[i][2], "time %" PRId64, cases[i][0]);
    }
    cr_assert_eq(plog_set_log_start(w.log, 11), ERR_OK);
    cr_assert_eq(look(&w, 0).offset, 11, "not below the log start");
    buf_fini(&log);
    world_end(&w);
}

Test(times, an_empty_log_has_none)
{
    struct log_world w;
    struct found max;
    begin(&w);
    cr_assert_eq(look(&w, 0).offset, -1);
    cr_assert_eq(plog_offset_of_max_timestamp(w.log, &max.ms, &max.offset, &max.epoch), ERR_OK);
    cr_assert_eq(max.offset, -1);
    cr_assert_eq(max.ms, -1);
    world_end(&w);
}
