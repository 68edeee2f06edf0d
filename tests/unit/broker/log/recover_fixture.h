/* recover_fixture.h: a log of several segments, and its end without a clean stop. */
#pragma once

#include "log_fixture.h"

#define SEG0 "00000000000000000000"

/* Batches of one record of about a hundred bytes, until there are `segs` segments, the last one
 * with some batches in it. */
static inline void fill_segs(struct log_world *w, int32_t segs)
{
    while (w->log->segs_count < segs || w->log->segs[segs - 1]->size_bytes < 800) {
        struct batch_want want = {.first_ms = LOG_EPOCH_MS + plog_offset_end(w->log),
                                  .value_bytes = 100,
                                  .producer = 5,
                                  .sequence = (int32_t)plog_offset_end(w->log)};
        log_append_ok(w, want, (int32_t)plog_offset_end(w->log) / 7);
    }
}

static inline void begin_policy(struct log_world *w, uint64_t seed, int policy)
{
    world_begin(w, seed);
    w->options.config.segment_bytes = 2000;
    w->options.config.index_interval_bytes = 300;
    w->options.config.cleanup_policy = policy;
    cr_assert_eq(world_open(w), ERR_OK);
}

static inline void begin_seeded(struct log_world *w, int32_t segs, uint64_t seed)
{
    begin_policy(w, seed, TOPIC_CLEANUP_DELETE);
    fill_segs(w, segs);
}

static inline void begin(struct log_world *w, int32_t segs)
{
    begin_seeded(w, segs, 1);
}

static inline const char *file_name(int64_t base, const char *extension)
{
    static char names[4][64];
    static int turn;
    char *name = names[turn++ % 4];
    snprintf(name, sizeof(names[0]), "%020" PRId64 ".%s", base, extension);
    return name;
}

/* The process ends; the checkpoint knows nothing. */
static inline void stop(struct log_world *w)
{
    world_abandon(w);
    fs_sim_kill(w->sim);
    w->options.clean = false;
}

/* The process ends, and the last batch of the `at`-th segment is lost; where the next one begins.
 */
static inline int64_t stop_and_lose(struct log_world *w, int32_t at)
{
    int64_t base = w->log->segs[at]->base_offset;
    int64_t next = w->log->segs[at + 1]->base_offset;
    int64_t size = w->log->segs[at]->size_bytes;
    stop(w);
    file_resize(w, file_name(base, "log"), size - (int64_t)w->model.batches[next - 1].data.size);
    return next;
}

static inline int32_t open_and_check(struct log_world *w)
{
    cr_assert_eq(world_open(w), ERR_OK);
    return check_log(w);
}

/* Everything that is there is durable. */
static inline void sync_all(struct log_world *w)
{
    struct fs_file *file;
    char *path = mem_printf("%s/" SEG0 ".index", LOG_DIR);
    cr_assert_eq(fs_open(w->fs, path, FS_WRITE, &file), ERR_OK);
    cr_assert_eq(fs_sync_all(file), ERR_OK);
    fs_close(file);
    mem_free(path);
}
