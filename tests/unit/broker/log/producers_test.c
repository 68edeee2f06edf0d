/* The rules of idempotent producers, on the state alone and in a log, before and after a restart.
 */
#include "log_fixture.h"

static struct batch_header header(int64_t id, int16_t epoch, int32_t sequence, int32_t count)
{
    return (struct batch_header){
        .magic = 2,
        .producer_id = id,
        .producer_epoch = epoch,
        .base_sequence = sequence,
        .last_offset_delta = count - 1,
        .record_count = count,
        .max_timestamp_ms = LOG_EPOCH_MS,
    };
}

/* What a client's batch gets; it is entered when it may be appended. */
static enum err offer(struct producers *producers, struct batch_header batch,
                      struct producers_duplicate *duplicate)
{
    static int64_t offset;
    batch.base_offset = offset;
    enum err err = producers_check(producers, &batch, PRODUCERS_CLIENT, duplicate);
    if (err == ERR_OK && !duplicate->found) {
        producers_update(producers, &batch);
        offset += batch.record_count;
    }
    return err;
}

static void expect(struct producers *producers, struct batch_header batch, enum err err, bool found)
{
    struct producers_duplicate duplicate;
    enum err got = offer(producers, batch, &duplicate);
    cr_assert_eq(got, err, "sequence %d: %s instead of %s", batch.base_sequence, err_name(got),
                 err_name(err));
    cr_assert_eq(duplicate.found, found, "sequence %d", batch.base_sequence);
}

Test(producers, sequences_follow_each_other)
{
    struct producers *p = mem_new(struct producers);
    expect(p, header(1, 0, 0, 3), ERR_OK, false);
    expect(p, header(1, 0, 3, 1), ERR_OK, false);
    expect(p, header(1, 0, 5, 1), ERR_OUT_OF_ORDER_SEQUENCE_NUMBER, false);
    cr_assert_eq(producers_last_sequence(p, 1), 3);
    cr_assert_eq(producers_last_sequence(p, 2), -1);
    expect(p, header(1, 0, 4, 1), ERR_OK, false);
    expect(p, header(1, 0, 4, 2), ERR_OUT_OF_ORDER_SEQUENCE_NUMBER, false);
    expect(p, header(2, 0, 0, 1), ERR_OK, false);
    producers_clear(p);
    mem_free(p);
}

Test(producers, the_last_five_batches_are_recognised)
{
    struct producers *p = mem_new(struct producers);
    for (int i = 0; i < 7; i++) {
        expect(p, header(1, 0, i * 2, 2), ERR_OK, false);
    }
    for (int i = 2; i < 7; i++) {
        expect(p, header(1, 0, i * 2, 2), ERR_OK, true);
    }
    expect(p, header(1, 0, 2, 2), ERR_OUT_OF_ORDER_SEQUENCE_NUMBER, false);
    expect(p, header(1, 0, 12, 1), ERR_OUT_OF_ORDER_SEQUENCE_NUMBER, false);
    producers_clear(p);
    mem_free(p);
}

Test(producers, an_unknown_producer_may_begin_anywhere)
{
    struct producers *p = mem_new(struct producers);
    expect(p, header(1, 4, 77, 2), ERR_OK, false);
    expect(p, header(1, 4, 79, 1), ERR_OK, false);
    producers_clear(p);
    mem_free(p);
}

Test(producers, a_new_epoch_begins_at_zero_and_an_old_one_is_fenced)
{
    struct producers *p = mem_new(struct producers);
    expect(p, header(1, 1, 0, 5), ERR_OK, false);
    expect(p, header(1, 2, 5, 1), ERR_OUT_OF_ORDER_SEQUENCE_NUMBER, false);
    expect(p, header(1, 2, 0, 1), ERR_OK, false);
    expect(p, header(1, 1, 5, 1), ERR_INVALID_PRODUCER_EPOCH, false);
    expect(p, header(1, 1, 0, 5), ERR_INVALID_PRODUCER_EPOCH, false);
    expect(p, header(1, 2, 0, 1), ERR_OK, true);
    producers_clear(p);
    mem_free(p);
}

Test(producers, sequences_wrap_to_zero)
{
    struct producers *p = mem_new(struct producers);
    expect(p, header(1, 0, INT32_MAX - 1, 1), ERR_OK, false);
    expect(p, header(1, 0, INT32_MAX, 3), ERR_OK, false); /* MAX, 0, 1 */
    expect(p, header(1, 0, INT32_MAX, 3), ERR_OK, true);
    expect(p, header(1, 0, 2, 1), ERR_OK, false);
    expect(p, header(1, 0, 0, 1), ERR_OUT_OF_ORDER_SEQUENCE_NUMBER, false);
    producers_clear(p);
    mem_free(p);
}

Test(producers, what_a_leader_has_checked_is_not_checked_again)
{
    struct producers *p = mem_new(struct producers);
    struct producers_duplicate duplicate;
    struct batch_header gap = header(1, 0, 50, 1);
    expect(p, header(1, 1, 0, 1), ERR_OK, false);
    cr_assert_eq(producers_check(p, &gap, PRODUCERS_REPLICATION, &duplicate), ERR_OK);
    cr_assert_eq(producers_check(p, &gap, PRODUCERS_COORDINATOR, &duplicate),
                 ERR_INVALID_PRODUCER_EPOCH);
    gap.producer_epoch = 1;
    cr_assert_eq(producers_check(p, &gap, PRODUCERS_COORDINATOR, &duplicate), ERR_OK);
    producers_clear(p);
    mem_free(p);
}

Test(producers, expire_when_idle_but_not_within_a_transaction)
{
    struct producers *p = mem_new(struct producers);
    struct batch_header open = header(3, 0, 0, 1);
    open.attributes = BATCH_ATTR_TRANSACTIONAL;
    expect(p, header(1, 0, 0, 1), ERR_OK, false);
    expect(p, header(2, 0, 0, 1), ERR_OK, false);
    expect(p, open, ERR_OK, false);
    producers_expire(p, LOG_EPOCH_MS + 999, 1000);
    cr_assert_eq(producers_count(p), 3);
    producers_expire(p, LOG_EPOCH_MS + 1000, 1000);
    cr_assert_eq(producers_count(p), 1);
    expect(p, header(1, 0, 17, 1), ERR_OK, false);
    producers_clear(p);
    mem_free(p);
}

Test(producers, a_snapshot_keeps_the_last_batch_only)
{
    struct producers *p = mem_new(struct producers);
    struct producers *q = mem_new(struct producers);
    struct buf content = {0};
    for (int i = 0; i < 3; i++) {
        expect(p, header(1, 3, i, 1), ERR_OK, false);
    }
    producers_snapshot_write(p, &content);
    cr_assert_eq(producers_snapshot_read(q, (struct bytes){content.data, content.size}), ERR_OK);
    expect(q, header(1, 3, 1, 1), ERR_OUT_OF_ORDER_SEQUENCE_NUMBER, false);
    expect(q, header(1, 3, 2, 1), ERR_OK, true);
    expect(q, header(1, 3, 3, 1), ERR_OK, false);
    buf_fini(&content);
    producers_clear(p);
    mem_free(p);
    producers_clear(q);
    mem_free(q);
}

Test(producers, a_damaged_snapshot_leaves_nothing)
{
    struct producers *p = mem_new(struct producers);
    struct buf content = {0};
    expect(p, header(1, 0, 0, 1), ERR_OK, false);
    expect(p, header(2, 0, 0, 1), ERR_OK, false);
    producers_snapshot_write(p, &content);
    for (size_t i = 0; i < content.size; i++) {
        content.data[i] ^= 0x40;
        cr_assert_eq(producers_snapshot_read(p, (struct bytes){content.data, content.size}),
                     ERR_CORRUPT, "byte %zu", i);
        cr_assert_eq(producers_count(p), 0);
        content.data[i] ^= 0x40;
    }
    for (size_t size = 0; size < content.size; size++) {
        cr_assert_eq(producers_snapshot_read(p, (struct bytes){content.data, size}), ERR_CORRUPT);
    }
    buf_fini(&content);
    producers_clear(p);
    mem_free(p);
}

/* ---- in a log ---- */

static struct batch_want of(int32_t sequence, int records)
{
    return (struct batch_want){
        .records = records, .first_ms = LOG_EPOCH_MS + 5, .producer = 9, .sequence = sequence};
}

static void expect_duplicate(struct log_world *w, int32_t sequence, int records, int64_t base)
{
    int64_t end = plog_offset_end(w->log);
    struct plog_batch batch = log_append(w, of(sequence, records), 0);
    cr_assert_eq(batch.err, ERR_OK);
    cr_assert_eq(batch.base_offset, base);
    cr_assert_eq(batch.last_offset, base + records - 1);
    cr_assert_eq(plog_offset_end(w->log), end, "nothing is written");
}

Test(producers_in_a_log, a_repeated_batch_gets_its_first_offsets)
{
    struct log_world w;
    world_begin(&w, 1);
    cr_assert_eq(world_open(&w), ERR_OK);
    log_fill(&w, 2, 10);
    log_append_ok(&w, of(0, 3), 0);
    log_append_ok(&w, of(3, 2), 0);
    expect_duplicate(&w, 0, 3, 2);
    expect_duplicate(&w, 3, 2, 5);
    cr_assert_eq(log_append(&w, of(9, 1), 0).err, ERR_OUT_OF_ORDER_SEQUENCE_NUMBER);
    world_end(&w);
}

Test(producers_in_a_log, a_batch_repeated_within_one_call_is_written_once)
{
    struct log_world w;
    world_begin(&w, 1);
    cr_assert_eq(world_open(&w), ERR_OK);
    struct buf data[2] = {make_batch(of(0, 2)), make_batch(of(0, 2))};
    struct plog_batch batches[2] = {plog_batch_of(&data[0]), plog_batch_of(&data[1])};
    plog_append_leader(w.log, batches, 2, 0, LOG_EPOCH_MS);
    cr_assert_eq(batches[0].err, ERR_OK);
    cr_assert_eq(batches[1].err, ERR_OK);
    cr_assert_eq(batches[1].base_offset, batches[0].base_offset);
    cr_assert_eq(plog_offset_end(w.log), 2);
    buf_fini(&data[0]);
    buf_fini(&data[1]);
    world_end(&w);
}

Test(producers_in_a_log, are_known_after_a_clean_stop_and_after_a_crash)
{
    for (int clean = 0; clean < 2; clean++) {
        struct log_world w;
        world_begin(&w, 1);
        w.options.config.segment_bytes = 400;
        cr_assert_eq(world_open(&w), ERR_OK);
        for (int i = 0; i < 12; i++) {
            log_append_ok(&w, of(i * 2, 2), 0);
        }
        cr_assert_gt(w.log->segs_count, 2);
        world_reopen(&w, clean != 0);
        expect_duplicate(&w, 22, 2, 22);
        cr_assert_eq(log_append(&w, of(30, 1), 0).err, ERR_OUT_OF_ORDER_SEQUENCE_NUMBER);
        log_append_ok(&w, of(24, 1), 0);
        (void)check_log(&w);
        world_end(&w);
    }
}

Test(producers_in_a_log, fencing_survives_a_restart)
{
    struct log_world w;
    world_begin(&w, 1);
    cr_assert_eq(world_open(&w), ERR_OK);
    struct batch_want want = of(0, 1);
    want.epoch = 6;
    log_append_ok(&w, want, 0);
    world_reopen(&w, true);
    want.epoch = 5;
    cr_assert_eq(log_append(&w, want, 0).err, ERR_INVALID_PRODUCER_EPOCH);
    world_end(&w);
}

Test(producers_in_a_log, that_were_forgotten_do_not_come_back_with_a_clean_stop)
{
    struct log_world w;
    world_begin(&w, 1);
    cr_assert_eq(world_open(&w), ERR_OK);
    log_append_ok(&w, of(0, 1), 0);
    world_reopen(&w, true);
    cr_assert_eq(producers_count(&w.log->producers), 1);
    cr_assert_eq(plog_delete_old_segments(w.log, 0, LOG_EPOCH_MS + 5 + 24 * 3600 * 1000), ERR_OK);
    cr_assert_eq(producers_count(&w.log->producers), 0);
    log_fill(&w, 1, 10);
    world_reopen(&w, true);
    cr_assert_eq(producers_count(&w.log->producers), 0);
    world_end(&w);
}

Test(producers_in_a_log, truncation_takes_their_batches_back)
{
    struct log_world w;
    world_begin(&w, 1);
    cr_assert_eq(world_open(&w), ERR_OK);
    log_append_ok(&w, of(0, 2), 0);
    log_append_ok(&w, of(2, 2), 0);
    cr_assert_eq(plog_truncate_to(w.log, 2), ERR_OK);
    buf_fini(&w.model.batches[--w.model.count].data);
    (void)check_log(&w);
    log_append_ok(&w, of(2, 2), 0);
    cr_assert_eq(plog_restart_at(w.log, 100), ERR_OK);
    cr_assert_eq(producers_count(&w.log->producers), 0);
    log_append_ok(&w, of(55, 1), 0);
    world_end(&w);
}
