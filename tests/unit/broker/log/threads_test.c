/* One writer, several readers and real workers on one log, on real files: what readers see must
 * always be whole batches in order. For the thread sanitizer as much as for its assertions. */
#include <pthread.h>
#include <unistd.h>

#include "base/must.h"
#include "log_fixture.h"

enum { READERS = 3, ROUNDS = 300, KEPT_BYTES = 20000 };

struct shared {
    struct plog *log;
    _Atomic bool done;
    _Atomic int64_t reads;
};

static void read_some(struct shared *shared, uint64_t *turn)
{
    /* Readers load the end first and take a view after it. */
    int64_t end = plog_offset_end(shared->log);
    struct view *view = plog_view_get(shared->log);
    int64_t first = view->segs[0]->base_offset;
    int64_t offset = first + (int64_t)(*turn * 7919 % (uint64_t)(end > first ? end - first : 1));
    struct view_range range;
    enum err err = view_read(view, offset, end, 4000, true, &range);
    must(err == ERR_OK || err == ERR_OFFSET_OUT_OF_RANGE);
    if (err == ERR_OK && range.size_bytes > 0) {
        /* must(), not cr_assert(): this is not the test's thread. */
        struct buf bytes = {0};
        struct batch_header header;
        size_t got;
        uint8_t *to = buf_extend(&bytes, range.size_bytes);
        must(fs_pread(range.file, to, range.size_bytes, range.position, &got) == ERR_OK);
        must(got == range.size_bytes);
        must(entry_read_header((struct bytes){bytes.data, bytes.size}, &header) == ERR_OK);
        must(header.base_offset <= offset && offset <= batch_last_offset(&header));
        must(entry_check_crc((struct bytes){bytes.data, bytes.size}) == ERR_OK);
        buf_fini(&bytes);
        atomic_fetch_add(&shared->reads, 1);
    }
    view_put(view);
    (*turn)++;
}

static void *reader(void *arg)
{
    struct shared *shared = arg;
    uint64_t turn = 1;
    while (!atomic_load(&shared->done)) {
        int64_t found_ms;
        int64_t offset;
        int32_t epoch;
        read_some(shared, &turn);
        if (turn % 16 == 0) {
            int64_t wanted_ms = LOG_EPOCH_MS + plog_offset_end(shared->log) / 2;
            must(plog_offset_for_time(shared->log, wanted_ms, &found_ms, &offset, &epoch) ==
                 ERR_OK);
            must(plog_size_bytes(shared->log) >= 0);
            must(plog_recovery_point(shared->log) >= 0);
            (void)epochs_at(plog_epochs(shared->log), offset);
        }
    }
    return NULL;
}

static void write_round(struct log_world *w, int round)
{
    struct buf data[8];
    struct plog_batch batches[8];
    for (int i = 0; i < 8; i++) {
        data[i] = make_batch((struct batch_want){
            .records = 3, .first_ms = LOG_EPOCH_MS + plog_offset_end(w->log), .value_bytes = 50});
        batches[i] = plog_batch_of(&data[i]);
    }
    plog_append_leader(w->log, batches, 8, round / 50, LOG_EPOCH_MS);
    for (int i = 0; i < 8; i++) {
        cr_assert_eq(batches[i].err, ERR_OK);
        buf_fini(&data[i]);
    }
    if (round % 20 == 19) {
        cr_assert_eq(plog_flush(w->log), ERR_OK);
    }
    if (round % 10 == 9) {
        enum err err = ERR_AGAIN;
        while (err == ERR_AGAIN) {
            err = plog_delete_old_segments(w->log, plog_offset_end(w->log), LOG_EPOCH_MS);
        }
        cr_assert_eq(err, ERR_OK);
    }
}

Test(threads, readers_see_whole_batches_while_the_log_grows_rolls_and_shrinks)
{
    struct log_world w;
    struct shared shared = {.done = false};
    pthread_t threads[READERS];
    char root[] = "/tmp/barnabas-log-XXXXXX";
    world_begin(&w, 1);
    cr_assert_not_null(mkdtemp(root));
    char *dir = mem_printf("%s/orders-0", root);
    w.options.fs = fs_posix();
    w.options.dir = dir;
    struct flusher *flusher = flusher_new(NULL, NULL);
    w.options.flusher = flusher;
    w.options.config.segment_bytes = 5000;
    w.options.config.index_interval_bytes = 300;
    w.options.config.retention_bytes = KEPT_BYTES;
    cr_assert_eq(world_open(&w), ERR_OK);
    shared.log = w.log;
    for (int i = 0; i < READERS; i++) {
        cr_assert_eq(pthread_create(&threads[i], NULL, reader, &shared), 0);
    }
    for (int round = 0; round < ROUNDS || atomic_load(&shared.reads) < ROUNDS; round++) {
        write_round(&w, round);
    }
    atomic_store(&shared.done, true);
    for (int i = 0; i < READERS; i++) {
        pthread_join(threads[i], NULL);
    }
    cr_assert_gt(plog_log_start(w.log), 0, "segments were deleted");
    cr_assert_gt(plog_recovery_point(w.log), 0);
    flusher_stop(flusher);
    cr_assert_eq(w.failures, 0);
    int64_t end = plog_offset_end(w.log);
    cr_assert_leq(plog_recovery_point(w.log), end);
    cr_assert_eq(plog_close(w.log), ERR_OK);
    flusher_release(flusher);
    w.options.flusher = NULL;
    w.options.clean = true;
    cr_assert_eq(world_open(&w), ERR_OK);
    cr_assert_eq(plog_offset_end(w.log), end);
    world_end(&w);
    cr_assert_eq(fs_remove_tree(fs_posix(), root), ERR_OK);
    mem_free(dir);
}
