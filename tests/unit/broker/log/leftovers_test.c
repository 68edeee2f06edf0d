/* What Kafka, or a crash, left in a log's directory: finished or removed by the next start. */
#include "recover_fixture.h"

Test(leftovers, removes_indexes_without_a_log_and_other_leftovers)
{
    static const char *const left[] = {
        "00000000000000000777.index",       "00000000000000000777.timeindex",
        "00000000000000000777.txnindex",    "00000000000000000003.log.deleted",
        "00000000000000000003.log.cleaned", "leader-epoch-checkpoint.tmp"};
    struct log_world w;
    begin(&w, 2);
    stop(&w);
    for (size_t i = 0; i < sizeof(left) / sizeof(left[0]); i++) {
        file_write(&w, left[i], "x", 1);
    }
    file_write(&w, "partition.metadata", "x", 1);
    file_write(&w, SEG0 ".txnindex", "x", 1);
    cr_assert_eq(open_and_check(&w), w.model.count);
    for (size_t i = 0; i < sizeof(left) / sizeof(left[0]); i++) {
        cr_assert(!file_exists(&w, left[i]), "%s", left[i]);
    }
    cr_assert(file_exists(&w, "partition.metadata"));
    cr_assert(file_exists(&w, SEG0 ".txnindex"), "kept for when there are transactions");
    world_end(&w);
}

/* Kafka had made one segment of the first two and was stopped before it replaced them. */
Test(leftovers, finishes_a_compaction_that_kafka_had_begun)
{
    for (int renamed = 0; renamed < 2; renamed++) {
        struct log_world w;
        begin(&w, 3);
        int64_t second = w.log->segs[1]->base_offset;
        stop(&w);
        struct buf merged = file_read(&w, SEG0 ".log");
        struct buf more = file_read(&w, file_name(second, "log"));
        buf_put(&merged, more.data, more.size);
        file_write(&w, renamed ? SEG0 ".log" : SEG0 ".log.swap", merged.data, merged.size);
        file_write(&w, SEG0 ".index.swap", "", 0);
        file_write(&w, SEG0 ".timeindex.swap", "", 0);
        if (renamed) {
            file_remove(&w, file_name(second, "log"));
        }
        cr_assert_eq(open_and_check(&w), w.model.count);
        cr_assert_eq(w.log->segs_count, 2);
        cr_assert(!file_exists(&w, file_name(second, "log")));
        cr_assert(!file_exists(&w, SEG0 ".log.swap"));
        cr_assert(!file_exists(&w, SEG0 ".index.swap"));
        cr_assert(file_exists(&w, SEG0 ".index"));
        buf_fini(&merged);
        buf_fini(&more);
        world_end(&w);
    }
}

/* The power fails in a start before the disk's call `k`; the next start finds every record. False:
 * it needs fewer calls. */
static bool lose_power_in_a_start(struct log_world *w, uint64_t seed, int64_t k)
{
    fs_fault_set(w->fault,
                 &(struct fs_fault_plan){
                     .ops = FS_OPS_ALL, .after = k, .repeat = FS_FAULT_FOR_EVER, .err = ERR_IO});
    if (world_open(w) != ERR_OK) {
        w->log = NULL;
    }
    bool hit = fs_fault_hits(w->fault) > 0;
    world_abandon(w);
    fs_sim_crash(w->sim);
    fs_fault_clear(w->fault);
    cr_assert_eq(open_and_check(w), w->model.count, "seed %" PRIu64 " call %" PRId64, seed, k);
    return hit;
}

/* Opened where Kafka was about to replace two segments by one, until the power fails before the
 * disk's call `k`. False: it needs fewer. */
static bool end_while_finishing_a_compaction(uint64_t seed, int64_t k)
{
    struct log_world w;
    begin_seeded(&w, 3, seed);
    int64_t second = w.log->segs[1]->base_offset;
    stop(&w);
    struct buf merged = file_read(&w, SEG0 ".log");
    struct buf more = file_read(&w, file_name(second, "log"));
    buf_put(&merged, more.data, more.size);
    file_write(&w, SEG0 ".log.swap", merged.data, merged.size);
    sync_all(&w);
    bool hit = lose_power_in_a_start(&w, seed, k);
    buf_fini(&merged);
    buf_fini(&more);
    world_end(&w);
    return hit;
}

/* The new segment and one that it replaces were both there: the second did not fit behind the
 * first, and all behind it went. */
Test(leftovers, finishes_a_compaction_step_by_step)
{
    for (uint64_t seed = 0; seed < 20; seed++) {
        for (int64_t k = 0; end_while_finishing_a_compaction(seed, k); k++) {
        }
    }
}

Test(leftovers, drops_swaps_that_were_not_complete)
{
    struct log_world w;
    begin(&w, 3);
    int64_t second = w.log->segs[1]->base_offset;
    stop(&w);
    file_write(&w, file_name(second, "log.swap"), "", 0);
    file_write(&w, file_name(second - 1, "log.cleaned"), "", 0);
    cr_assert_eq(open_and_check(&w), w.model.count);
    cr_assert(!file_exists(&w, file_name(second, "log.swap")));
    world_end(&w);
}

/* Kafka was about to put two segments in the place of one that was too large, and had only the
 * second one ready. The power fails before the disk's call `k` of our start. */
static bool end_while_dropping_swaps(uint64_t seed, int64_t k)
{
    struct log_world w;
    begin_seeded(&w, 3, seed);
    int64_t first = w.log->segs[1]->base_offset;
    int64_t half = first + 2;
    size_t size = w.model.batches[first].data.size + w.model.batches[first + 1].data.size;
    stop(&w);
    struct buf whole = file_read(&w, file_name(first, "log"));
    file_write(&w, file_name(first, "log.cleaned"), whole.data, size);
    file_write(&w, file_name(half, "log.swap"), whole.data + size, whole.size - size);
    sync_all(&w);
    bool hit = lose_power_in_a_start(&w, seed, k);
    buf_fini(&whole);
    world_end(&w);
    return hit;
}

/* The *.cleaned was removed first: what was left looked complete, took its place beside the old
 * segment, did not fit, and all behind it went. */
Test(leftovers, drops_swaps_that_were_not_complete_step_by_step)
{
    for (uint64_t seed = 0; seed < 20; seed++) {
        for (int64_t k = 0; end_while_dropping_swaps(seed, k); k++) {
        }
    }
}
