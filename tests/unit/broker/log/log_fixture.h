/* log_fixture.h: one log over a disk in memory that fails and crashes, and a model of it.
 *
 * The model is the list of batches that the log took, in order, with their bytes. check_log()
 * compares a log with it: batches, offsets, leader epochs, producers. */
#pragma once

#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/mem.h"
#include "fs/fs_fault.h"
#include "fs/fs_sim.h"
#include "log/flusher.h"
#include "log/plog_internal.h"
#include "record/batch_builder.h"
#include "record/crc32c.h"
#include "record/msgset.h"
#include "rt/worker.h"

#define LOG_DIR "/data/orders-0"

enum { LOG_START_MS = 1000000 };
#define LOG_EPOCH_MS 1700000000000 /* when the tests' wall clock begins */

struct model_batch {
    struct batch_header header;
    struct buf data;
};

struct model {
    struct model_batch *batches;
    int32_t count;
    int64_t flushed;   /* everything before this offset must survive a power failure */
    int64_t start_max; /* the highest log start so far: epochs before it may be forgotten */
};

struct log_world {
    struct fs_sim *sim;
    struct fs_fault *fault;
    struct fs *fs;
    struct clock_manual clock;
    struct worker_pool *workers; /* driven by hand: step_workers() */
    struct flusher *flusher;     /* on them; syncs file by file */
    struct plog_options options;
    struct plog *log;
    int failures;
    struct model model;
};

static inline void on_log_failed(void *arg, enum err err)
{
    (void)err;
    ((struct log_world *)arg)->failures++;
}

static inline struct topic_config log_config(void)
{
    return (struct topic_config){
        .segment_bytes = 1 << 30,
        .segment_index_bytes = 10 << 20,
        .segment_ms = INT64_C(7) * 24 * 3600 * 1000,
        .index_interval_bytes = 4096,
        .retention_ms = -1,
        .retention_bytes = -1,
        .flush_messages = INT64_MAX,
        .max_message_bytes = 1 << 20,
        .min_insync_replicas = 1,
        .compression_codec = TOPIC_CODEC_PRODUCER,
        .cleanup_policy = TOPIC_CLEANUP_DELETE,
    };
}

static inline void world_begin(struct log_world *w, uint64_t seed)
{
    *w = (struct log_world){.sim = fs_sim_new(seed)};
    cr_assert_eq(log_set_level("root", LOG_OFF), ERR_OK);
    w->fault = fs_fault_new(fs_sim_fs(w->sim));
    w->fs = fs_fault_fs(w->fault);
    w->workers = worker_pool_new("test", 0);
    w->flusher = flusher_new(NULL, w->workers);
    clock_manual_init(&w->clock, LOG_EPOCH_MS);
    w->options = (struct plog_options){
        .fs = w->fs,
        .clock = &w->clock.clock,
        .flusher = w->flusher,
        .dir = LOG_DIR,
        .topic = STR("orders"),
        .partition = 0,
        .config = log_config(),
        .recovery_point = -1,
        .log_start_offset = -1,
        .producer_expiration_ms = INT64_C(24) * 3600 * 1000,
        .on_failure = on_log_failed,
        .arg = w,
    };
    cr_assert_eq(fs_mkdir(fs_sim_fs(w->sim), "/data"), ERR_OK);
    cr_assert_eq(fs_sync_dir(fs_sim_fs(w->sim), "/"), ERR_OK);
}

static inline void step_workers(struct log_world *w)
{
    while (worker_pool_step(w->workers)) {
    }
}

static inline void model_clear(struct model *model)
{
    for (int32_t i = 0; i < model->count; i++) {
        buf_fini(&model->batches[i].data);
    }
    mem_free(model->batches);
    *model = (struct model){0};
}

/* Close without a clean stop, as the end of the process does. */
static inline void world_abandon(struct log_world *w)
{
    step_workers(w);
    plog_abandon(w->log);
    w->log = NULL;
}

static inline void world_end(struct log_world *w)
{
    world_abandon(w);
    flusher_stop(w->flusher);
    worker_pool_free(w->workers);
    flusher_release(w->flusher);
    fs_fault_free(w->fault);
    fs_sim_free(w->sim);
    model_clear(&w->model);
}

static inline enum err world_open(struct log_world *w)
{
    struct errmsg msg = {""};
    return plog_open(&w->options, &w->log, &msg);
}

/* The next run of the broker, after a clean stop or not. The checkpoints say what the last run
 * knew. */
static inline void world_reopen(struct log_world *w, bool clean)
{
    if (w->log != NULL) {
        w->options.recovery_point = plog_recovery_point(w->log);
        w->options.log_start_offset = plog_log_start(w->log);
        if (clean) {
            step_workers(w);
            cr_assert_eq(plog_close(w->log), ERR_OK);
            w->log = NULL;
        } else {
            world_abandon(w);
            fs_sim_kill(w->sim);
        }
    }
    w->options.clean = clean;
    cr_assert_eq(world_open(w), ERR_OK);
}

/* ---- batches ---- */

struct batch_want {
    int records;      /* 0: one */
    int64_t first_ms; /* of the first record; each next is one later */
    int value_bytes;  /* of each record */
    int64_t producer; /* 0: none */
    int16_t epoch;    /* the producer's */
    int32_t sequence; /* of the first record */
    bool transactional;
};

static inline struct buf make_batch(struct batch_want want)
{
    struct buf out = {0};
    struct batch_builder builder;
    struct batch_options options = batch_options_default();
    if (want.producer != 0) {
        options.producer_id = want.producer;
        options.producer_epoch = want.epoch;
        options.base_sequence = want.sequence;
        options.transactional = want.transactional;
    }
    char *value = mem_alloc((size_t)want.value_bytes + 1);
    memset(value, 'v', (size_t)want.value_bytes + 1);
    batch_builder_init(&builder, &options);
    for (int i = 0; i < (want.records > 0 ? want.records : 1); i++) {
        batch_builder_add(&builder, want.first_ms + i, (struct bytes){NULL, 0},
                          (struct bytes){(uint8_t *)value, (size_t)want.value_bytes}, NULL, 0);
    }
    cr_assert_eq(batch_builder_finish(&builder, &out), ERR_OK);
    batch_builder_fini(&builder);
    mem_free(value);
    return out;
}

/* Append a message of magic 1 without a key, as segments of old clusters have them; one with a
 * codec holds messages in `value`. */
static inline void put_message(struct buf *out, int64_t offset, enum compress_codec codec,
                               int64_t timestamp_ms, struct bytes value)
{
    size_t at = out->size;
    size_t size = MSGSET_HEADER_SIZE_V1 - BATCH_LENGTH_OVERHEAD + 4 + 4 + value.size;
    buf_put_be64(out, (uint64_t)offset);
    buf_put_be32(out, (uint32_t)size);
    buf_put_be32(out, 0); /* crc: below */
    buf_put_byte(out, 1);
    buf_put_byte(out, (uint8_t)codec);
    buf_put_be64(out, (uint64_t)timestamp_ms);
    buf_put_be32(out, UINT32_MAX); /* null */
    buf_put_be32(out, (uint32_t)value.size);
    buf_put(out, value.data, value.size);
    struct bytes covered = {out->data + at + MSGSET_AT_MAGIC, out->size - at - MSGSET_AT_MAGIC};
    be32_put(out->data + at + MSGSET_AT_CRC, crc32_zlib(covered));
}

/* Messages of offsets `first` to `first` + count - 1, a millisecond apart, as one compressed one.
 */
static inline void put_wrapper(struct buf *out, int64_t first, int count, int64_t first_ms)
{
    struct buf inner = {0};
    struct buf packed = {0};
    for (int i = 0; i < count; i++) {
        put_message(&inner, i, COMPRESS_NONE, first_ms + i,
                    (struct bytes){(const uint8_t *)"v", 1});
    }
    cr_assert_eq(record_compress(COMPRESS_GZIP, COMPRESS_LEVEL_DEFAULT,
                                 (struct bytes){inner.data, inner.size}, &packed),
                 ERR_OK);
    put_message(out, first + count - 1, COMPRESS_GZIP, first_ms + count - 1,
                (struct bytes){packed.data, packed.size});
    buf_fini(&inner);
    buf_fini(&packed);
}

static inline struct plog_batch plog_batch_of(struct buf *data)
{
    struct plog_batch batch = {.data = data->data, .size = data->size};
    cr_assert_eq(batch_read_header((struct bytes){data->data, data->size}, &batch.header), ERR_OK);
    return batch;
}

/* Takes `data`. */
static inline void model_add(struct model *model, struct buf data)
{
    model->batches =
        mem_realloc(model->batches, ((size_t)model->count + 1) * sizeof(model->batches[0]));
    struct model_batch *batch = &model->batches[model->count++];
    batch->data = data;
    cr_assert_eq(batch_read_header((struct bytes){data.data, data.size}, &batch->header), ERR_OK);
}

/* Append one batch as leader, and to the model if the log took it (or may have taken it: where it
 * fails, the model knows it too, since a part of the bytes may be there). */
static inline struct plog_batch log_append(struct log_world *w, struct batch_want want,
                                           int32_t leader_epoch)
{
    struct buf data = make_batch(want);
    struct plog_batch batch = plog_batch_of(&data);
    int64_t before = plog_offset_end(w->log);
    bool failed = plog_failed(w->log);
    plog_append_leader(w->log, &batch, 1, leader_epoch, clock_wall_ms(&w->clock.clock));
    bool duplicate = batch.err == ERR_OK && plog_offset_end(w->log) == before;
    if ((batch.err == ERR_OK && !duplicate) || (batch.err == ERR_KAFKA_STORAGE_ERROR && !failed)) {
        model_add(&w->model, data);
    } else {
        buf_fini(&data);
    }
    return batch;
}

static inline void log_append_ok(struct log_world *w, struct batch_want want, int32_t leader_epoch)
{
    struct plog_batch batch = log_append(w, want, leader_epoch);
    cr_assert_eq(batch.err, ERR_OK, "%s", err_name(batch.err));
}

/* One record of about `size` bytes in epoch 0, `count` times, a second apart. */
static inline void log_fill(struct log_world *w, int count, int size)
{
    for (int i = 0; i < count; i++) {
        struct batch_want want = {.first_ms = LOG_START_MS + plog_offset_end(w->log) * 1000,
                                  .value_bytes = size};
        log_append_ok(w, want, 0);
    }
}

static inline void log_flush_ok(struct log_world *w)
{
    cr_assert_eq(plog_flush(w->log), ERR_OK);
    w->model.flushed = plog_offset_end(w->log);
}

/* ---- reading ---- */

static inline struct buf read_range(const struct view_range *range)
{
    struct buf out = {0};
    size_t got;
    uint8_t *to = buf_extend(&out, range->size_bytes);
    cr_assert_eq(fs_pread(range->file, to, range->size_bytes, range->position, &got), ERR_OK);
    cr_assert_eq(got, range->size_bytes);
    return out;
}

/* All bytes from `offset` on, segment by segment, as a consumer fetches them. */
static inline struct buf read_log(struct plog *log, int64_t offset)
{
    struct buf all = {0};
    struct view *view = plog_view_get(log);
    for (;;) {
        struct view_range range;
        enum err err = view_read(view, offset, INT64_MAX, SIZE_MAX >> 1, true, &range);
        cr_assert_eq(err, ERR_OK, "reading at %" PRId64 ": %s", offset, err_name(err));
        if (range.size_bytes == 0) {
            break;
        }
        struct buf piece = read_range(&range);
        struct bytes rest = {piece.data, piece.size};
        while (rest.size > 0) {
            struct batch_header header;
            cr_assert_eq(entry_read_header(rest, &header), ERR_OK);
            cr_assert_geq(batch_last_offset(&header), offset, "reading must go on");
            offset = batch_last_offset(&header) + 1;
            rest.data += batch_size_bytes(&header);
            rest.size -= batch_size_bytes(&header);
        }
        buf_put(&all, piece.data, piece.size);
        buf_fini(&piece);
    }
    view_put(view);
    return all;
}

/* ---- the model ---- */

/* How many of the model's batches the log holds; they must be a prefix, byte by byte, from the
 * model's batch at the log start on. */
static inline int32_t model_prefix(const struct log_world *w)
{
    struct buf all = read_log(w->log, plog_log_start(w->log));
    struct bytes rest = {all.data, all.size};
    int32_t at = 0;
    while (at < w->model.count &&
           batch_last_offset(&w->model.batches[at].header) < plog_log_start(w->log)) {
        at++;
    }
    while (rest.size > 0) {
        cr_assert_lt(at, w->model.count, "the log holds more than was appended");
        const struct model_batch *batch = &w->model.batches[at++];
        cr_assert_geq(rest.size, batch->data.size);
        cr_assert_eq(entry_check_crc(rest), ERR_OK, "CRC of batch %d", at - 1);
        cr_assert_eq(memcmp(rest.data, batch->data.data, batch->data.size), 0, "batch %d", at - 1);
        rest.data += batch->data.size;
        rest.size -= batch->data.size;
    }
    buf_fini(&all);
    return at;
}

static inline int entry_order(const void *a, const void *b)
{
    uint64_t left = be64_get(a);
    uint64_t right = be64_get(b);
    return (left > right) - (left < right);
}

enum { SNAPSHOT_HEAD = 10, SNAPSHOT_ENTRY = 46 };

/* A snapshot's entries in order of producer ids. */
static inline struct buf producers_sorted(const struct producers *producers)
{
    struct buf out = {0};
    producers_snapshot_write(producers, &out);
    cr_assert_eq((out.size - SNAPSHOT_HEAD) % SNAPSHOT_ENTRY, 0);
    qsort(out.data + SNAPSHOT_HEAD, (out.size - SNAPSHOT_HEAD) / SNAPSHOT_ENTRY, SNAPSHOT_ENTRY,
          entry_order);
    memset(out.data + 2, 0, 4); /* the CRC depends on the order */
    return out;
}

/* The producers must be those that reading the model's first `count` batches gives. */
static inline void check_producers(const struct log_world *w, int32_t count)
{
    struct producers *expected = mem_new(struct producers);
    for (int32_t i = 0; i < count; i++) {
        producers_update(expected, &w->model.batches[i].header);
    }
    struct buf want = producers_sorted(expected);
    struct buf have = producers_sorted(&w->log->producers);
    cr_assert_eq(have.size, want.size, "%d producers instead of %d",
                 producers_count(&w->log->producers), producers_count(expected));
    cr_assert_eq(memcmp(have.data, want.data, want.size), 0, "producer state");
    buf_fini(&want);
    buf_fini(&have);
    producers_clear(expected);
    mem_free(expected);
}

/* So must the epochs, from the log start on. */
static inline void check_epochs(const struct log_world *w, int32_t count)
{
    struct epochs expected;
    epochs_init(&expected);
    for (int32_t i = 0; i < count; i++) {
        epochs_assign(&expected, w->model.batches[i].header.leader_epoch,
                      w->model.batches[i].header.base_offset);
    }
    int64_t start = plog_log_start(w->log);
    start = start > w->model.start_max ? start : w->model.start_max;
    struct epochs have;
    epochs_init(&have);
    epochs_load(&have, plog_epochs(w->log)->entries, plog_epochs(w->log)->count);
    epochs_truncate_start(&have, start);
    epochs_truncate_start(&expected, start);
    epochs_truncate_end(&have, plog_offset_end(w->log));
    epochs_truncate_end(&expected, plog_offset_end(w->log));
    cr_assert_eq(have.count, expected.count, "%d epochs instead of %d", have.count, expected.count);
    for (int32_t i = 0; i < expected.count; i++) {
        cr_assert_eq(have.entries[i].epoch, expected.entries[i].epoch);
        cr_assert_eq(have.entries[i].start_offset, expected.entries[i].start_offset,
                     "epoch %d begins at %" PRId64 " instead of %" PRId64,
                     expected.entries[i].epoch, have.entries[i].start_offset,
                     expected.entries[i].start_offset);
    }
    epochs_fini(&expected);
    epochs_fini(&have);
}

/* The first record at or after a time, and the latest one: where the model says. */
static inline void check_times(const struct log_world *w, int32_t count)
{
    int64_t start = plog_log_start(w->log);
    int64_t first_ms = count > 0 ? w->model.batches[0].header.base_timestamp_ms : 0;
    int64_t last_ms = count > 0 ? w->model.batches[count - 1].header.max_timestamp_ms : 0;
    for (int i = 0; i < 12; i++) {
        int64_t wanted_ms = first_ms + (last_ms - first_ms) * i / 10;
        int64_t expected = -1;
        for (int32_t j = 0; j < count && expected < 0; j++) {
            /* Each record is one millisecond later than the one before. */
            const struct batch_header *header = &w->model.batches[j].header;
            for (int32_t k = 0; k < header->record_count && expected < 0; k++) {
                bool late = header->base_timestamp_ms + k >= wanted_ms;
                expected =
                    late && header->base_offset + k >= start ? header->base_offset + k : expected;
            }
        }
        int64_t found_ms;
        int64_t offset;
        int32_t epoch;
        cr_assert_eq(plog_offset_for_time(w->log, wanted_ms, &found_ms, &offset, &epoch), ERR_OK);
        cr_assert_eq(offset, expected, "time %" PRId64 " is at %" PRId64 " instead of %" PRId64,
                     wanted_ms, offset, expected);
    }
}

/* The log holds a prefix of the model, with at least what was flushed, and all that goes with it.
 */
static inline int32_t check_log(const struct log_world *w)
{
    int32_t count = model_prefix(w);
    int64_t end = count > 0 ? batch_last_offset(&w->model.batches[count - 1].header) + 1
                            : plog_offset_end(w->log);
    cr_assert_eq(plog_offset_end(w->log), end);
    cr_assert_geq(end, w->model.flushed, "flushed records are gone");
    cr_assert_leq(plog_log_start(w->log), end);
    cr_assert_leq(plog_recovery_point(w->log), end);
    check_producers(w, count);
    check_epochs(w, count);
    check_times(w, count);
    return count;
}

/* ---- files ---- */

static inline char *log_path(const char *name)
{
    static char paths[4][256];
    static int turn;
    char *path = paths[turn++ % 4];
    snprintf(path, sizeof(paths[0]), "%s/%s", LOG_DIR, name);
    return path;
}

static inline bool file_exists(const struct log_world *w, const char *name)
{
    struct fs_stat st;
    return fs_stat(fs_sim_fs(w->sim), log_path(name), &st) == ERR_OK;
}

/* mem_free() the content. */
static inline struct buf file_read(const struct log_world *w, const char *name)
{
    char *data;
    struct buf out = {0};
    cr_assert_eq(fs_read_all(fs_sim_fs(w->sim), log_path(name), 1 << 24, &data, &out.size), ERR_OK,
                 "%s", name);
    out.data = (uint8_t *)data;
    out.capacity = out.size + 1;
    return out;
}

static inline void file_write(const struct log_world *w, const char *name, const void *data,
                              size_t size)
{
    struct fs_file *file;
    cr_assert_eq(
        fs_open(fs_sim_fs(w->sim), log_path(name), FS_WRITE | FS_CREATE | FS_TRUNCATE, &file),
        ERR_OK);
    cr_assert_eq(fs_pwrite(file, data, size, 0), ERR_OK);
    fs_close(file);
}

static inline void file_resize(const struct log_world *w, const char *name, int64_t size)
{
    struct fs_file *file;
    cr_assert_eq(fs_open(fs_sim_fs(w->sim), log_path(name), FS_WRITE, &file), ERR_OK);
    cr_assert_eq(fs_truncate(file, size), ERR_OK);
    fs_close(file);
}

static inline void file_remove(const struct log_world *w, const char *name)
{
    cr_assert_eq(fs_unlink(fs_sim_fs(w->sim), log_path(name)), ERR_OK, "%s", name);
}
