/* A producer may repeat any of its last five batches, also after its leader was started anew. */
#include "log_fixture.h"

enum { PRODUCER = 7, BATCHES = 8 };

static struct batch_want want_of(int sequence, int value_bytes)
{
    return (struct batch_want){.first_ms = LOG_START_MS + sequence * 1000,
                               .producer = PRODUCER,
                               .sequence = sequence,
                               .value_bytes = value_bytes};
}

static void append_eight(struct log_world *w, int value_bytes)
{
    for (int i = 0; i < BATCHES; i++) {
        log_append_ok(w, want_of(i, value_bytes), 0);
    }
}

/* Each of the last five is recognised, at its offset; the one before is out of order. */
static void check_repeats(struct log_world *w, int value_bytes)
{
    for (int i = BATCHES - 5; i < BATCHES; i++) {
        struct plog_batch again = log_append(w, want_of(i, value_bytes), 1);
        cr_assert_eq(again.err, ERR_OK, "batch %d: %s", i, err_name(again.err));
        cr_assert_eq(again.base_offset, i);
    }
    cr_assert_eq(plog_offset_end(w->log), BATCHES);
    struct plog_batch old = log_append(w, want_of(BATCHES - 6, value_bytes), 1);
    cr_assert_eq(old.err, ERR_OUT_OF_ORDER_SEQUENCE_NUMBER);
    log_append_ok(w, want_of(BATCHES, value_bytes), 1);
}

Test(recall, repeats_are_recognised_after_a_clean_stop)
{
    struct log_world w;
    world_begin(&w, 1);
    cr_assert_eq(world_open(&w), ERR_OK);
    append_eight(&w, 10);
    world_reopen(&w, true);
    check_repeats(&w, 10);
    world_end(&w);
}

Test(recall, repeats_are_recognised_after_a_kill)
{
    struct log_world w;
    world_begin(&w, 2);
    cr_assert_eq(world_open(&w), ERR_OK);
    append_eight(&w, 10);
    world_reopen(&w, false);
    check_repeats(&w, 10);
    world_end(&w);
}

Test(recall, repeats_are_recognised_when_the_segment_was_finished_just_before_the_stop)
{
    struct log_world w;
    world_begin(&w, 3);
    cr_assert_eq(world_open(&w), ERR_OK);
    append_eight(&w, 10);
    cr_assert_eq(plog_roll(w.log, LOG_EPOCH_MS), ERR_OK);
    world_reopen(&w, true);
    check_repeats(&w, 10);
    world_end(&w);
}

Test(recall, repeats_are_recognised_among_large_batches_and_those_of_others)
{
    struct log_world w;
    world_begin(&w, 4);
    cr_assert_eq(world_open(&w), ERR_OK);
    log_fill(&w, 100, 5000);
    struct batch_want want = want_of(0, 0);
    for (int i = 0; i < BATCHES; i++) {
        want = want_of(i, 20000);
        log_append_ok(&w, want, 0);
        struct batch_want other = {
            .first_ms = LOG_START_MS, .value_bytes = 10, .producer = 9, .sequence = i};
        log_append_ok(&w, other, 0);
    }
    world_reopen(&w, true);
    for (int i = BATCHES - 5; i < BATCHES; i++) {
        struct plog_batch again = log_append(&w, want_of(i, 20000), 1);
        cr_assert_eq(again.err, ERR_OK, "batch %d: %s", i, err_name(again.err));
        cr_assert_eq(again.base_offset, 100 + 2 * i);
    }
    world_end(&w);
}

Test(recall, repeats_are_recognised_after_a_truncation)
{
    struct log_world w;
    world_begin(&w, 5);
    cr_assert_eq(world_open(&w), ERR_OK);
    append_eight(&w, 10);
    cr_assert_eq(plog_roll(w.log, LOG_EPOCH_MS), ERR_OK);
    log_append_ok(&w, want_of(BATCHES, 10), 0);
    cr_assert_eq(plog_truncate_to(w.log, BATCHES), ERR_OK);
    check_repeats(&w, 10);
    world_end(&w);
}

Test(recall, batches_of_another_epoch_of_the_producer_are_not_taken_for_its_own)
{
    struct log_world w;
    world_begin(&w, 6);
    cr_assert_eq(world_open(&w), ERR_OK);
    append_eight(&w, 10);
    struct batch_want next = want_of(0, 10);
    next.epoch = 1;
    log_append_ok(&w, next, 0);
    world_reopen(&w, true);
    struct plog_batch again = log_append(&w, next, 1);
    cr_assert_eq(again.base_offset, BATCHES);
    struct plog_batch old = log_append(&w, want_of(BATCHES - 1, 10), 1);
    cr_assert_eq(old.err, ERR_INVALID_PRODUCER_EPOCH);
    world_end(&w);
}
