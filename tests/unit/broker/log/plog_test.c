/* A log in good health: what is appended is read, segments roll, retention, truncation. */
#include "log_fixture.h"
#include "record/crc32c.h"

static void begin(struct log_world *w)
{
    world_begin(w, 1);
    cr_assert_eq(world_open(w), ERR_OK);
}

static void expect_bases(const struct log_world *w, const char *expected)
{
    struct buf text = {0};
    for (int32_t i = 0; i < w->log->segs_count; i++) {
        buf_printf(&text, "%" PRId64 " ", w->log->segs[i]->base_offset);
    }
    buf_put_byte(&text, 0);
    cr_assert_str_eq((char *)text.data, expected);
    buf_fini(&text);
}

Test(plog, appends_of_one_call_follow_each_other_and_go_in_one_write)
{
    struct log_world w;
    begin(&w);
    struct buf data[5];
    struct plog_batch batches[5];
    for (int i = 0; i < 5; i++) {
        data[i] = make_batch((struct batch_want){.records = i + 1, .first_ms = LOG_EPOCH_MS});
        batches[i] = plog_batch_of(&data[i]);
    }
    int64_t writes = fs_fault_calls(w.fault, FS_OP_PWRITEV);
    plog_append_leader(w.log, batches, 5, -1, LOG_EPOCH_MS);
    cr_assert_eq(fs_fault_calls(w.fault, FS_OP_PWRITEV), writes + 1);
    int64_t next = 0;
    for (int i = 0; i < 5; i++) {
        cr_assert_eq(batches[i].err, ERR_OK);
        cr_assert_eq(batches[i].base_offset, next);
        cr_assert_eq(batches[i].last_offset, next + i);
        cr_assert_eq(batches[i].append_time_ms, -1);
        next += i + 1;
        model_add(&w.model, data[i]);
    }
    cr_assert_eq(plog_offset_end(w.log), 15);
    cr_assert_eq(model_prefix(&w), 5);
    world_end(&w);
}

Test(plog, stamps_the_brokers_time_where_the_topic_says_so)
{
    struct log_world w;
    world_begin(&w, 1);
    w.options.config.message_timestamp_type = TOPIC_LOG_APPEND_TIME;
    cr_assert_eq(world_open(&w), ERR_OK);
    struct plog_batch batch = log_append(&w, (struct batch_want){.first_ms = 5}, 0);
    cr_assert_eq(batch.append_time_ms, LOG_EPOCH_MS);
    cr_assert_eq(w.model.batches[0].header.max_timestamp_ms, LOG_EPOCH_MS);
    cr_assert_eq(model_prefix(&w), 1, "its CRC was set");
    world_end(&w);
}

Test(plog, rolls_before_a_batch_that_does_not_fit)
{
    struct log_world w;
    begin(&w);
    log_fill(&w, 1, 100);
    struct topic_config config = log_config();
    config.segment_bytes = 3 * (int64_t)w.model.batches[0].data.size;
    plog_configure(w.log, &config);
    log_fill(&w, 7, 100);
    expect_bases(&w, "0 3 6 ");
    cr_assert_eq(w.log->segs[0]->size_bytes, config.segment_bytes);
    cr_assert_eq(check_log(&w), 8);
    world_end(&w);
}

Test(plog, refuses_a_batch_larger_than_a_segment)
{
    struct log_world w;
    world_begin(&w, 1);
    w.options.config.segment_bytes = 200;
    cr_assert_eq(world_open(&w), ERR_OK);
    struct plog_batch batch = log_append(&w, (struct batch_want){.value_bytes = 150}, 0);
    cr_assert_eq(batch.err, ERR_RECORD_LIST_TOO_LARGE);
    cr_assert_eq(plog_offset_end(w.log), 0);
    log_fill(&w, 1, 50);
    world_end(&w);
}

Test(plog, rolls_by_the_time_of_records_since_the_segments_first)
{
    struct log_world w;
    world_begin(&w, 1);
    w.options.config.segment_ms = 1000;
    cr_assert_eq(world_open(&w), ERR_OK);
    const int64_t times[] = {5000, 6000, 6001, 7001, 7002, 3000};
    for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
        log_append_ok(&w, (struct batch_want){.first_ms = times[i]}, 0);
    }
    expect_bases(&w, "0 2 4 ");
    world_reopen(&w, true);
    log_append_ok(&w, (struct batch_want){.first_ms = 8002}, 0);
    expect_bases(&w, "0 2 4 ");
    log_append_ok(&w, (struct batch_want){.first_ms = 8003}, 0);
    expect_bases(&w, "0 2 4 7 ");
    world_end(&w);
}

Test(plog, rolls_by_the_clock_where_records_have_no_time)
{
    struct log_world w;
    world_begin(&w, 1);
    w.options.config.segment_ms = 1000;
    cr_assert_eq(world_open(&w), ERR_OK);
    struct batch_want want = {.first_ms = -1};
    log_append_ok(&w, want, 0);
    clock_manual_advance(&w.clock, INT64_C(1000) * 1000000);
    log_append_ok(&w, want, 0);
    expect_bases(&w, "0 ");
    clock_manual_advance(&w.clock, 1000000);
    log_append_ok(&w, want, 0);
    expect_bases(&w, "0 2 ");
    world_end(&w);
}

Test(plog, jitter_makes_a_segment_roll_earlier_by_less_than_it)
{
    struct log_world w;
    world_begin(&w, 1);
    w.options.config.segment_ms = 1000;
    w.options.config.segment_jitter_ms = 400;
    cr_assert_eq(world_open(&w), ERR_OK);
    for (int i = 0; i < 2000 && w.log->segs_count == 1; i++) {
        log_append_ok(&w, (struct batch_want){.first_ms = i + 1}, 0);
    }
    int64_t rolled = w.log->segs[1]->base_offset;
    cr_assert(rolled > 600 && rolled <= 1001, "%" PRId64, rolled);
    world_end(&w);
}

Test(plog, rolls_when_an_index_is_full)
{
    struct log_world w;
    world_begin(&w, 1);
    w.options.config.index_interval_bytes = 0;
    w.options.config.segment_index_bytes = 5 * 8; /* 5 offsets, or 3 times and the last one */
    cr_assert_eq(world_open(&w), ERR_OK);
    /* Every batch but a segment's first gets an entry. */
    for (int i = 0; i < 14; i++) {
        log_append_ok(&w, (struct batch_want){.first_ms = 100}, 0);
    }
    expect_bases(&w, "0 6 12 ");
    world_end(&w);

    world_begin(&w, 1);
    w.options.config.index_interval_bytes = 0;
    w.options.config.segment_index_bytes = 5 * 8;
    cr_assert_eq(world_open(&w), ERR_OK);
    for (int i = 0; i < 8; i++) {
        log_append_ok(&w, (struct batch_want){.first_ms = 100 + i}, 0);
    }
    expect_bases(&w, "0 3 6 ");
    world_end(&w);
}

/* Index entries have 32 bits for the distance from a segment's base. */
Test(plog, rolls_before_an_offset_too_far_from_the_base)
{
    struct log_world w;
    begin(&w);
    log_fill(&w, 1, 10);
    struct buf data = make_batch((struct batch_want){.first_ms = LOG_START_MS});
    batch_patch_offset_epoch(data.data, INT32_MAX, 0);
    cr_assert_eq(plog_append_follower(w.log, (struct bytes){data.data, data.size}, LOG_EPOCH_MS),
                 ERR_OK);
    expect_bases(&w, "0 ");
    batch_patch_offset_epoch(data.data, (int64_t)INT32_MAX + 1, 0);
    cr_assert_eq(plog_append_follower(w.log, (struct bytes){data.data, data.size}, LOG_EPOCH_MS),
                 ERR_OK);
    cr_assert_eq(w.log->segs_count, 2);
    struct view *view = plog_view_get(w.log);
    struct view_range range;
    cr_assert_eq(view_read(view, 5, INT64_MAX, 100, true, &range), ERR_OK);
    cr_assert_eq(range.base_offset, INT32_MAX, "over a gap");
    view_put(view);
    buf_fini(&data);
    world_end(&w);
}

/* A leader that compacts may leave a gap that no segment spans. The batch behind it went into a
 * segment that began before the gap, where a recovery took it for damage and cut it. */
Test(plog, begins_a_segment_behind_a_gap_that_is_too_wide)
{
    struct log_world w;
    int64_t far = 3 * (int64_t)INT32_MAX;
    for (int empty = 0; empty < 2; empty++) {
        begin(&w);
        w.options.config.cleanup_policy = TOPIC_CLEANUP_COMPACT;
        plog_configure(w.log, &w.options.config);
        log_fill(&w, empty ? 0 : 1, 10);
        struct buf data = make_batch((struct batch_want){.first_ms = LOG_START_MS});
        batch_patch_offset_epoch(data.data, far, 0);
        cr_assert_eq(plog_append_follower(w.log, (struct bytes){data.data, data.size}, 0), ERR_OK);
        batch_patch_offset_epoch(data.data, far + 1, 0);
        cr_assert_eq(plog_append_follower(w.log, (struct bytes){data.data, data.size}, 0), ERR_OK);
        for (int run = 0; run < 3; run++) { /* as written, after a kill, after a clean stop */
            cr_assert_eq(w.log->segs_count, 2);
            cr_assert_eq(w.log->segs[1]->base_offset, far);
            cr_assert_eq(plog_offset_end(w.log), far + 2);
            struct view *view = plog_view_get(w.log);
            struct view_range range;
            cr_assert_eq(view_read(view, 5, INT64_MAX, 100, true, &range), ERR_OK);
            cr_assert_eq(range.base_offset, far, "over the gap");
            view_put(view);
            world_reopen(&w, run == 1);
        }
        buf_fini(&data);
        world_end(&w);
    }
}

/* ---- following ---- */

Test(plog, a_follower_takes_offsets_and_epochs_as_they_come)
{
    struct log_world leader;
    struct log_world w;
    begin(&leader);
    for (int i = 0; i < 70; i++) { /* more than one write takes */
        struct batch_want want = {
            .records = 2, .first_ms = LOG_EPOCH_MS, .producer = 3, .sequence = i * 2};
        log_append_ok(&leader, want, i / 20);
    }
    struct buf all = read_log(leader.log, 0);
    begin(&w);
    cr_assert_eq(plog_append_follower(w.log, (struct bytes){all.data, all.size}, LOG_EPOCH_MS),
                 ERR_OK);
    w.model = leader.model;
    leader.model = (struct model){0};
    cr_assert_eq(check_log(&w), 70);
    world_reopen(&w, false);
    cr_assert_eq(check_log(&w), 70);
    buf_fini(&all);
    world_end(&w);
    world_end(&leader);
}

Test(plog, a_follower_refuses_what_is_damaged_or_does_not_follow)
{
    struct log_world w;
    begin(&w);
    log_fill(&w, 2, 10);
    struct buf data = make_batch((struct batch_want){.records = 2});
    struct bytes bytes = {data.data, data.size};
    batch_patch_offset_epoch(data.data, 1, 0);
    cr_assert_eq(plog_append_follower(w.log, bytes, 0), ERR_CORRUPT, "before the end");
    batch_patch_offset_epoch(data.data, 2, 0);
    cr_assert_eq(plog_append_follower(w.log, (struct bytes){data.data, data.size - 1}, 0),
                 ERR_CORRUPT, "cut short");
    data.data[data.size - 1] ^= 1;
    cr_assert_eq(plog_append_follower(w.log, bytes, 0), ERR_CORRUPT, "CRC");
    data.data[data.size - 1] ^= 1;
    cr_assert_eq(plog_append_follower(w.log, bytes, 0), ERR_OK);
    cr_assert_eq(plog_offset_end(w.log), 4);
    cr_assert(!plog_failed(w.log), "the log is not to blame");
    buf_fini(&data);
    world_end(&w);
}

/* Whole and with its CRC, but it says that it ends before it begins, or behind all offsets: the
 * log's end went back below what it held. */
Test(plog, a_follower_refuses_a_batch_that_lies_about_its_end)
{
    static const struct {
        int64_t base;
        int32_t delta;
    } lies[] = {{2, -1}, {2, -2}, {2, INT32_MIN}, {INT64_MAX, 0}, {INT64_MAX - 1, 5},
                {8, -3}, {-5, 9}};
    for (size_t i = 0; i < 2 * sizeof(lies) / sizeof(lies[0]); i++) {
        struct log_world w;
        begin(&w);
        int held = i % 2 == 0 ? 2 : 0;
        log_fill(&w, held, 10);
        struct buf data = make_batch((struct batch_want){.records = 1});
        be32_put(data.data + BATCH_AT_LAST_OFFSET_DELTA, (uint32_t)lies[i / 2].delta);
        struct bytes covered = {data.data + BATCH_AT_ATTRIBUTES, data.size - BATCH_AT_ATTRIBUTES};
        be32_put(data.data + BATCH_AT_CRC, crc32c(covered));
        batch_patch_offset_epoch(data.data, lies[i / 2].base, 0);
        struct bytes bytes = {data.data, data.size};
        cr_assert_eq(batch_check_crc(bytes), ERR_OK);
        cr_assert_eq(plog_append_follower(w.log, bytes, 0), ERR_CORRUPT, "lie %zu", i);
        cr_assert_eq(plog_offset_end(w.log), held);
        cr_assert(!plog_failed(w.log));
        (void)check_log(&w);
        buf_fini(&data);
        world_end(&w);
    }
}

/* ---- reading ---- */

Test(view, reads_whole_batches_within_its_limits)
{
    struct log_world w;
    begin(&w);
    for (int i = 0; i < 4; i++) {
        log_append_ok(&w, (struct batch_want){.records = 3, .value_bytes = 20}, 0);
    }
    size_t size = w.model.batches[0].data.size;
    struct view *view = plog_view_get(w.log);
    struct {
        int64_t offset, limit;
        size_t max;
        bool min_one;
        int64_t base;
        size_t bytes;
    } cases[] = {
        {0, 12, 1 << 20, false, 0, 4 * size},  {4, 12, 1 << 20, false, 3, 3 * size},
        {4, 9, 1 << 20, false, 3, 2 * size},   {4, 8, 1 << 20, false, 3, size},
        {4, 6, 1 << 20, false, 3, size},       {4, 3, 1 << 20, false, 0, 0},
        {0, 12, size - 1, false, 0, 0},        {0, 12, size - 1, true, 0, size},
        {0, 12, size + 5, false, 0, size + 5}, {12, 12, 1 << 20, true, 0, 0},
        {12, INT64_MAX, 1 << 20, true, 0, 0},  {11, INT64_MAX, 1 << 20, true, 9, size},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct view_range range;
        cr_assert_eq(view_read(view, cases[i].offset, cases[i].limit, cases[i].max,
                               cases[i].min_one, &range),
                     ERR_OK);
        cr_assert_eq(range.size_bytes, cases[i].bytes, "case %zu: %zu", i, range.size_bytes);
        if (cases[i].bytes > 0) {
            cr_assert_eq(range.base_offset, cases[i].base, "case %zu", i);
        }
    }
    struct view_range range;
    cr_assert_eq(view_read(view, -1, 12, 100, true, &range), ERR_OFFSET_OUT_OF_RANGE);
    view_put(view);
    world_end(&w);
}

/* A range is of one segment. Whoever waits for more must know whether there can be any. */
Test(view, says_where_a_segment_ends_before_the_log_does)
{
    struct log_world w;
    struct view_range range;
    begin(&w);
    log_fill(&w, 3, 20);
    cr_assert_eq(plog_roll(w.log, LOG_EPOCH_MS), ERR_OK);
    log_fill(&w, 3, 20);
    struct view *view = plog_view_get(w.log);
    struct {
        int64_t offset, limit;
        size_t max;
        bool ends;
    } cases[] = {
        {0, 6, 1 << 20, true}, {2, 6, 1, true},        {0, 4, 1 << 20, true},
        {0, 6, 100, false},    {0, 3, 1 << 20, false}, {3, 6, 1 << 20, false},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        enum err err = view_read(view, cases[i].offset, cases[i].limit, cases[i].max, true, &range);
        cr_assert_eq(err, ERR_OK);
        cr_assert_gt(range.size_bytes, 0);
        cr_assert_eq(range.ends_segment, cases[i].ends, "case %zu", i);
    }
    view_put(view);
    world_end(&w);
}

static void expect_same_reading(struct view *view, int64_t offset, int64_t limit, size_t max)
{
    struct view_range range;
    struct view_range cached;
    cr_assert_eq(view_read(view, offset, limit, max, true, &range), ERR_OK);
    struct view_copy copy;
    cr_assert_eq(view_read_cached(view, offset, limit, max, true, &cached, &copy), ERR_OK);
    cr_assert_eq(range.file, cached.file);
    cr_assert_eq(range.position, cached.position, "from %lld to %lld", (long long)offset,
                 (long long)limit);
    cr_assert_eq(range.size_bytes, cached.size_bytes);
    cr_assert_eq(range.base_offset, cached.base_offset);
    cr_assert_leq(range.base_offset, offset);
    cr_assert(copy.size == 0 || copy.size == range.size_bytes);
    if (copy.size > 0) {
        uint8_t bytes[VIEW_COPY_BYTES];
        size_t got;
        cr_assert(cached.in_memory);
        cr_assert_eq(fs_pread(range.file, bytes, range.size_bytes, range.position, &got), ERR_OK);
        cr_assert_eq(got, range.size_bytes);
        cr_assert_eq(memcmp(bytes, copy.bytes, got), 0);
    }
}

/* Batches below, around and far above the distance of index entries: each is found by every offset
 * in it, whether the way goes through the batch before or straight to the next entry. */
Test(view, finds_every_offset_among_batches_of_all_sizes)
{
    static const int sizes[] = {10, 1000, 4000, 9000, 30000, 70000, 100, 20000};
    struct log_world w;
    begin(&w);
    for (int i = 0; i < 64; i++) {
        int size = sizes[(i * 5 + i / 9) % 8];
        log_append_ok(&w, (struct batch_want){.records = 1 + i % 3, .value_bytes = size}, 0);
    }
    struct view *view = plog_view_get(w.log);
    for (int32_t i = 0; i < w.model.count; i++) {
        const struct batch_header *header = &w.model.batches[i].header;
        for (int64_t at = header->base_offset; at <= batch_last_offset(header); at++) {
            struct view_range range;
            cr_assert_eq(view_read(view, at, INT64_MAX, 1, true, &range), ERR_OK);
            cr_assert_eq(range.base_offset, header->base_offset);
            expect_same_reading(view, at, at + 2, 1 << 20);
            expect_same_reading(view, at, INT64_MAX, 100000);
        }
    }
    view_put(view);
    world_end(&w);
}

/* Who must not wait for the disk is told so, also where an index would have to be read first. */
Test(view, says_again_rather_than_to_wait_for_the_disk)
{
    struct log_world w;
    struct view_range range;
    begin(&w);
    log_fill(&w, 30, 5000);
    world_reopen(&w, true);
    struct view *view = plog_view_get(w.log);
    fs_fault_set_cold(w.fault, true);
    cr_assert_eq(view_read_cached(view, 7, INT64_MAX, 1 << 20, true, &range, NULL), ERR_AGAIN);
    cr_assert_eq(range.size_bytes, 0);
    cr_assert_eq(view_read(view, 7, INT64_MAX, 1 << 20, true, &range), ERR_OK);
    cr_assert_eq(range.base_offset, 7);
    cr_assert_eq(view_read_cached(view, 7, INT64_MAX, 1 << 20, true, &range, NULL), ERR_AGAIN);
    fs_fault_set_cold(w.fault, false);
    expect_same_reading(view, 7, INT64_MAX, 1 << 20);
    view_put(view);
    world_end(&w);
}

static int64_t reads_so_far(const struct log_world *w)
{
    return fs_fault_calls(w->fault, FS_OP_PREAD);
}

/* A follower at the tail asks for the first offset of a batch that has just been written: the file
 * need not say where it is, not even where nothing of it is in memory. */
Test(view, finds_a_large_batch_that_was_just_written_without_reading)
{
    struct log_world w;
    struct view_range range;
    begin(&w);
    log_fill(&w, 40, 5000);
    struct view *view = plog_view_get(w.log);
    fs_fault_set_cold(w.fault, true);
    int64_t reads = reads_so_far(&w);
    for (int64_t at = 40 - SEG_RECENT_COUNT; at < 40; at++) {
        cr_assert_eq(view_read_cached(view, at, 40, 1 << 20, true, &range, NULL), ERR_OK);
        cr_assert_eq(range.base_offset, at);
        cr_assert(!range.in_memory, "that is for the file system to say");
    }
    cr_assert_eq(reads_so_far(&w), reads);
    fs_fault_set_cold(w.fault, false);
    for (int64_t at = 0; at < 40; at++) {
        expect_same_reading(view, at, 40, 1 << 20);
        expect_same_reading(view, at, at + 3, 1 << 20);
        expect_same_reading(view, at, INT64_MAX, 7000);
    }
    view_put(view);
    world_end(&w);
}

/* Other batches, of other sizes, stand where those were. */
Test(view, finds_nothing_where_it_was_before_the_log_was_cut)
{
    struct log_world w;
    begin(&w);
    log_fill(&w, 20, 5000);
    cr_assert_eq(plog_truncate_to(w.log, 9), ERR_OK);
    for (int i = 0; i < 4; i++) {
        log_append_ok(&w, (struct batch_want){.records = 3, .value_bytes = 3000 + 1000 * i}, 0);
    }
    struct view *view = plog_view_get(w.log);
    for (int64_t at = 0; at < plog_offset_end(w.log); at++) {
        expect_same_reading(view, at, INT64_MAX, 1 << 20);
        expect_same_reading(view, at, at + 2, 1 << 20);
    }
    view_put(view);
    world_end(&w);
}

/* Who reads at the end gets a small batch's bytes along with its place; of a large one only the
 * place. */
Test(view, brings_the_bytes_of_a_small_range_along)
{
    struct log_world w;
    struct view_range range;
    struct view_copy copy;
    begin(&w);
    for (int i = 0; i < 20; i++) {
        log_append_ok(&w, (struct batch_want){.records = 1, .value_bytes = 100}, 0);
        struct view *view = plog_view_get(w.log);
        cr_assert_eq(view_read_cached(view, i, i + 1, 1 << 20, true, &range, &copy), ERR_OK);
        cr_assert(range.in_memory);
        cr_assert_eq(copy.size, range.size_bytes);
        cr_assert_eq(copy.size, w.model.batches[i].data.size);
        cr_assert_eq(memcmp(copy.bytes, w.model.batches[i].data.data, copy.size), 0);
        view_put(view);
    }
    log_append_ok(&w, (struct batch_want){.records = 1, .value_bytes = VIEW_COPY_BYTES}, 0);
    struct view *view = plog_view_get(w.log);
    cr_assert_eq(view_read_cached(view, 20, 21, 1 << 20, true, &range, &copy), ERR_OK);
    cr_assert_eq(copy.size, 0);
    view_put(view);
    world_end(&w);
}

struct meanwhile {
    struct view *view;
    int asked;
    enum err said;
};

/* While an index file is being opened. */
static void read_meanwhile(void *arg, enum fs_op op, const char *path)
{
    struct meanwhile *meanwhile = arg;
    struct view_range range;
    size_t size = strlen(path);
    if (op == FS_OP_OPEN && size > 6 && strcmp(path + size - 6, ".index") == 0) {
        meanwhile->asked++;
        meanwhile->said = view_read_cached(meanwhile->view, 2, INT64_MAX, 100, true, &range, NULL);
    }
}

/* A reader holds the segment's lock while it waits for the index file: who must not wait for the
 * disk must not wait for that lock either. (One that did would never come back here.) */
Test(view, does_not_wait_for_one_who_reads_the_index, .timeout = 60)
{
    struct log_world w;
    struct view_range range;
    begin(&w);
    log_fill(&w, 3, 50);
    cr_assert_eq(plog_roll(w.log, LOG_EPOCH_MS), ERR_OK);
    log_fill(&w, 3, 50);
    world_reopen(&w, true);
    struct meanwhile meanwhile = {.view = plog_view_get(w.log)};
    fs_fault_set_hook(w.fault, read_meanwhile, &meanwhile);
    cr_assert_eq(view_read(meanwhile.view, 1, INT64_MAX, 100, true, &range), ERR_OK);
    fs_fault_set_hook(w.fault, NULL, NULL);
    cr_assert_eq(meanwhile.asked, 1);
    cr_assert_eq(meanwhile.said, ERR_AGAIN);
    view_put(meanwhile.view);
    world_end(&w);
}

static int32_t loaded_indexes(const struct log_world *w)
{
    int32_t count = 0;
    for (int32_t i = 0; i < w->log->segs_count; i++) {
        count += w->log->segs[i]->index_loaded ? 1 : 0;
    }
    return count;
}

/* Of all that was ever written or read the indexes were in memory until the segments were deleted:
 * half a percent of what small batches take on the disk. */
Test(view, lets_go_of_indexes_that_nobody_uses)
{
    struct log_world w;
    world_begin(&w, 1);
    w.options.config.index_interval_bytes = 50;
    w.options.config.segment_bytes = 1000;
    cr_assert_eq(world_open(&w), ERR_OK);
    log_fill(&w, 30, 100);
    cr_assert_geq(w.log->segs_count, 4);
    for (int round = 0; round < 2; round++) { /* as they were written, and as they were read */
        cr_assert_eq(loaded_indexes(&w), w.log->segs_count);
        cr_assert_eq(plog_delete_old_segments(w.log, 30, LOG_EPOCH_MS), ERR_OK);
        cr_assert_eq(loaded_indexes(&w), w.log->segs_count, "they were used just now");
        cr_assert_eq(plog_delete_old_segments(w.log, 30, LOG_EPOCH_MS), ERR_OK);
        cr_assert_eq(loaded_indexes(&w), 1, "the one that is written");
        cr_assert_null(w.log->segs[0]->index);
        cr_assert_null(w.log->segs[0]->times);
        struct view *view = plog_view_get(w.log);
        struct view_range range;
        cr_assert_eq(view_read_cached(view, 1, INT64_MAX, 100, true, &range, NULL), ERR_AGAIN);
        view_put(view);
        cr_assert_eq(check_log(&w), 30);
    }
    world_end(&w);
}

Test(view, keeps_deleted_segments_readable)
{
    struct log_world w;
    begin(&w);
    log_fill(&w, 3, 50);
    struct view *view = plog_view_get(w.log);
    struct topic_config config = log_config();
    config.retention_ms = 0;
    plog_configure(w.log, &config);
    cr_assert_eq(plog_delete_old_segments(w.log, 3, LOG_EPOCH_MS), ERR_OK);
    expect_bases(&w, "3 ");
    struct view_range range;
    cr_assert_eq(view_read(view, 1, 3, 1 << 20, true, &range), ERR_OK);
    struct buf bytes = read_range(&range);
    cr_assert_eq(entry_check_crc((struct bytes){bytes.data, bytes.size}), ERR_OK);
    buf_fini(&bytes);
    view_put(view);
    world_end(&w);
}

/* ---- the start ---- */

static void five_segments(struct log_world *w)
{
    begin(w);
    for (int i = 0; i < 5; i++) {
        log_fill(w, 2, 100); /* a second apart from each other, from LOG_START_MS on */
        if (i < 4) {
            cr_assert_eq(plog_roll(w->log, LOG_EPOCH_MS), ERR_OK);
        }
    }
    expect_bases(w, "0 2 4 6 8 ");
}

static void retain(struct log_world *w, int64_t bytes, int64_t ms, int64_t offset_hw,
                   int64_t now_ms)
{
    struct topic_config config = log_config();
    config.retention_bytes = bytes;
    config.retention_ms = ms;
    plog_configure(w->log, &config);
    cr_assert_eq(plog_delete_old_segments(w->log, offset_hw, now_ms), ERR_OK);
}

Test(retention, by_time_looks_at_a_segments_latest_record)
{
    struct log_world w;
    five_segments(&w);
    int64_t third_ends = LOG_START_MS + 5 * 1000;
    retain(&w, -1, 60000, 10, third_ends + 60000);
    expect_bases(&w, "4 6 8 ");
    retain(&w, -1, 60000, 10, third_ends + 60001);
    expect_bases(&w, "6 8 ");
    cr_assert_eq(plog_log_start(w.log), 6);
    cr_assert(!file_exists(&w, "00000000000000000004.log"));
    cr_assert(!file_exists(&w, "00000000000000000004.index"));
    cr_assert(!file_exists(&w, "00000000000000000004.timeindex"));
    cr_assert(!file_exists(&w, "00000000000000000004.snapshot"));
    cr_assert(file_exists(&w, "00000000000000000006.snapshot"), "the first segment's stays");
    world_reopen(&w, false);
    cr_assert_eq(plog_log_start(w.log), 6);
    (void)check_log(&w);
    world_end(&w);
}

Test(retention, by_size_keeps_at_least_as_much)
{
    struct log_world w;
    five_segments(&w);
    int64_t each = w.log->segs[0]->size_bytes;
    retain(&w, 4 * each + 1, -1, 10, LOG_EPOCH_MS);
    expect_bases(&w, "0 2 4 6 8 ");
    retain(&w, 4 * each, -1, 10, LOG_EPOCH_MS);
    expect_bases(&w, "2 4 6 8 ");
    retain(&w, each, -1, 10, LOG_EPOCH_MS);
    expect_bases(&w, "8 ");
    world_end(&w);
}

/* Each takes a sync, and everybody else on the loop waits for it. */
Test(retention, deletes_some_segments_at_a_time)
{
    struct log_world w;
    begin(&w);
    for (int i = 0; i < PLOG_DELETES_MAX + 2; i++) {
        log_fill(&w, 1, 100);
        cr_assert_eq(plog_roll(w.log, LOG_EPOCH_MS), ERR_OK);
    }
    int64_t end = plog_offset_end(w.log);
    w.log->config->config.retention_ms = 0;
    cr_assert_eq(plog_delete_old_segments(w.log, end, LOG_EPOCH_MS), ERR_AGAIN);
    cr_assert_eq(plog_log_start(w.log), PLOG_DELETES_MAX);
    cr_assert_eq(plog_delete_old_segments(w.log, end, LOG_EPOCH_MS), ERR_OK);
    cr_assert_eq(plog_log_start(w.log), end);
    world_end(&w);
}

Test(retention, never_goes_beyond_the_high_watermark)
{
    struct log_world w;
    five_segments(&w);
    retain(&w, 0, 0, 5, LOG_EPOCH_MS);
    expect_bases(&w, "4 6 8 ");
    retain(&w, 0, 0, 9, LOG_EPOCH_MS);
    expect_bases(&w, "8 ");
    world_end(&w);
}

Test(retention, takes_the_last_segment_too_after_rolling)
{
    struct log_world w;
    five_segments(&w);
    retain(&w, -1, 0, 10, LOG_EPOCH_MS);
    expect_bases(&w, "10 ");
    cr_assert_eq(plog_log_start(w.log), 10);
    cr_assert_eq(plog_offset_end(w.log), 10);
    retain(&w, -1, 0, 10, LOG_EPOCH_MS);
    expect_bases(&w, "10 ");
    log_fill(&w, 1, 10);
    (void)check_log(&w);
    world_reopen(&w, false);
    cr_assert_eq(plog_log_start(w.log), 10);
    world_end(&w);
}

Test(retention, uses_the_files_time_where_records_have_none)
{
    struct log_world w;
    begin(&w);
    log_append_ok(&w, (struct batch_want){.first_ms = -1}, 0);
    cr_assert_eq(plog_roll(w.log, LOG_EPOCH_MS), ERR_OK);
    cr_assert_eq(fs_set_mtime(w.fs, log_path("00000000000000000000.log"), LOG_EPOCH_MS), ERR_OK);
    retain(&w, -1, 1000, 1, LOG_EPOCH_MS + 1000);
    expect_bases(&w, "0 1 ");
    retain(&w, -1, 1000, 1, LOG_EPOCH_MS + 1001);
    expect_bases(&w, "1 ");
    world_end(&w);
}

Test(retention, of_a_compacted_topic_only_takes_deleted_records)
{
    struct log_world w;
    five_segments(&w);
    struct topic_config config = log_config();
    config.retention_ms = 0;
    config.retention_bytes = 0;
    config.cleanup_policy = TOPIC_CLEANUP_COMPACT;
    plog_configure(w.log, &config);
    cr_assert(!plog_may_delete_records(w.log));
    cr_assert_eq(plog_delete_old_segments(w.log, 10, LOG_EPOCH_MS), ERR_OK);
    expect_bases(&w, "0 2 4 6 8 ");
    cr_assert_eq(plog_set_log_start(w.log, 5), ERR_OK);
    cr_assert_eq(plog_delete_old_segments(w.log, 10, LOG_EPOCH_MS), ERR_OK);
    expect_bases(&w, "4 6 8 ");
    world_end(&w);
}

Test(delete_records, moves_the_start_and_whole_segments_go_later)
{
    struct log_world w;
    five_segments(&w);
    cr_assert(plog_may_delete_records(w.log));
    cr_assert_eq(plog_set_log_start(w.log, 5), ERR_OK);
    cr_assert_eq(plog_set_log_start(w.log, 3), ERR_OK);
    cr_assert_eq(plog_log_start(w.log), 5, "it never goes back");
    expect_bases(&w, "0 2 4 6 8 ");
    retain(&w, -1, -1, 10, LOG_EPOCH_MS);
    expect_bases(&w, "4 6 8 ");
    world_reopen(&w, true);
    cr_assert_eq(plog_log_start(w.log), 5, "in the middle of a segment");
    (void)check_log(&w);
    cr_assert_eq(plog_set_log_start(w.log, 10), ERR_OK);
    retain(&w, -1, -1, 10, LOG_EPOCH_MS);
    expect_bases(&w, "10 ");
    world_end(&w);
}

/* ---- the end ---- */

Test(truncation, to_every_offset)
{
    for (int64_t offset = 0; offset <= 20; offset++) {
        struct log_world w;
        world_begin(&w, 1);
        w.options.config.segment_bytes = 500;
        w.options.config.index_interval_bytes = 100;
        cr_assert_eq(world_open(&w), ERR_OK);
        for (int i = 0; i < 10; i++) {
            struct batch_want want = {.records = 2,
                                      .first_ms = LOG_EPOCH_MS + i * 2,
                                      .value_bytes = 40,
                                      .producer = 4,
                                      .sequence = i * 2};
            log_append_ok(&w, want, i / 3);
        }
        cr_assert_gt(w.log->segs_count, 2);
        int64_t cut = offset / 2 * 2; /* whole batches */
        cr_assert_eq(plog_truncate_to(w.log, offset), ERR_OK);
        cr_assert_eq(plog_offset_end(w.log), cut);
        while (w.model.count > cut / 2) {
            buf_fini(&w.model.batches[--w.model.count].data);
        }
        (void)check_log(&w);
        struct batch_want next = {.first_ms = LOG_EPOCH_MS + cut,
                                  .value_bytes = 40,
                                  .producer = 4,
                                  .sequence = (int32_t)cut};
        log_append_ok(&w, next, 7);
        (void)check_log(&w);
        world_reopen(&w, offset % 2 == 0);
        (void)check_log(&w);
        world_end(&w);
    }
}

Test(truncation, below_the_first_segment_begins_anew)
{
    struct log_world w;
    five_segments(&w);
    retain(&w, 0, -1, 9, LOG_EPOCH_MS);
    expect_bases(&w, "8 ");
    cr_assert_eq(plog_truncate_to(w.log, 3), ERR_OK);
    expect_bases(&w, "3 ");
    cr_assert_eq(plog_log_start(w.log), 3);
    cr_assert_eq(plog_offset_end(w.log), 3);
    world_end(&w);
}

Test(truncation, below_the_log_start_takes_it_along)
{
    struct log_world w;
    five_segments(&w);
    cr_assert_eq(plog_set_log_start(w.log, 5), ERR_OK);
    cr_assert_eq(plog_truncate_to(w.log, 3), ERR_OK);
    cr_assert_eq(plog_log_start(w.log), 3);
    cr_assert_eq(plog_offset_end(w.log), 3);
    world_end(&w);
}

Test(plog, flushes_by_the_number_of_messages)
{
    struct log_world w;
    world_begin(&w, 1);
    w.options.config.flush_messages = 5;
    cr_assert_eq(world_open(&w), ERR_OK);
    log_append_ok(&w, (struct batch_want){.records = 4}, 0);
    cr_assert_eq(plog_recovery_point(w.log), 0);
    step_workers(&w);
    cr_assert_eq(plog_recovery_point(w.log), 0, "there are not enough yet");
    log_append_ok(&w, (struct batch_want){.records = 1}, 0);
    step_workers(&w);
    cr_assert_eq(plog_recovery_point(w.log), 5);
    log_append_ok(&w, (struct batch_want){.records = 4}, 0);
    step_workers(&w);
    cr_assert_eq(plog_recovery_point(w.log), 5);
    world_end(&w);
}

/* Segments of before Kafka 0.11 have messages of older formats, which Kafka's followers take as
 * they are: ours called them damaged, and a new replica never got beyond them. */
Test(plog, a_follower_takes_messages_of_old_formats)
{
    struct log_world w;
    struct buf data = {0};
    world_begin(&w, 1);
    w.options.config.index_interval_bytes = 50;
    cr_assert_eq(world_open(&w), ERR_OK);
    for (int i = 0; i < 3; i++) {
        put_message(&data, i, COMPRESS_NONE, LOG_START_MS + i, (struct bytes){(uint8_t *)"v", 1});
    }
    put_wrapper(&data, 3, 4, LOG_START_MS + 3);
    struct buf batch = make_batch((struct batch_want){.records = 2, .first_ms = LOG_START_MS + 7});
    batch_patch_offset_epoch(batch.data, 7, 3);
    buf_put(&data, batch.data, batch.size);
    struct bytes all = {data.data, data.size};
    cr_assert_eq(plog_append_follower(w.log, all, LOG_EPOCH_MS), ERR_OK);
    cr_assert_eq(plog_offset_end(w.log), 9);
    cr_assert_eq(plog_append_follower(w.log, all, LOG_EPOCH_MS), ERR_CORRUPT, "once only");
    for (int pass = 0; pass < 3; pass++) {
        struct buf have = read_log(w.log, 0);
        cr_assert_eq(have.size, data.size);
        cr_assert_eq(memcmp(have.data, data.data, data.size), 0);
        buf_fini(&have);
        world_reopen(&w, pass == 0);
        cr_assert_eq(plog_offset_end(w.log), 9);
    }
    data.data[data.size - batch.size - 1] ^= 1; /* in the compressed one */
    cr_assert_eq(plog_restart_at(w.log, 0), ERR_OK);
    cr_assert_eq(plog_append_follower(w.log, all, LOG_EPOCH_MS), ERR_CORRUPT);
    cr_assert_eq(plog_offset_end(w.log), 3);
    buf_fini(&batch);
    buf_fini(&data);
    world_end(&w);
}

/* Found by reading: the leader's start lies within a batch after DeleteRecords, and a new replica
 * that begins there was refused its first batch for ever. */
Test(plog, a_replica_that_begins_within_a_batch_takes_the_whole_batch)
{
    struct log_world w;
    world_begin(&w, 1);
    cr_assert_eq(world_open(&w), ERR_OK);
    struct buf data = make_batch((struct batch_want){.records = 4, .first_ms = LOG_START_MS});
    batch_patch_offset_epoch(data.data, 10, 3);
    cr_assert_eq(plog_restart_at(w.log, 12), ERR_OK);
    struct bytes batch = {data.data, data.size};
    cr_assert_eq(plog_append_follower(w.log, batch, LOG_EPOCH_MS), ERR_OK);
    cr_assert_eq(plog_offset_end(w.log), 14);
    cr_assert_eq(plog_append_follower(w.log, batch, LOG_EPOCH_MS), ERR_CORRUPT, "once only");
    cr_assert_eq(plog_set_log_start(w.log, 12), ERR_OK);
    cr_assert_eq(plog_restart_at(w.log, 14), ERR_OK);
    cr_assert_eq(plog_append_follower(w.log, batch, LOG_EPOCH_MS), ERR_CORRUPT, "it ends before");
    buf_fini(&data);
    world_end(&w);
}
