/* fuzz_log.h: a log in memory for fuzz targets: files of any bytes, and what must hold once it was
 * opened. */
#pragma once

#include <inttypes.h>
#include <stdio.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/must.h"
#include "fs/fs_sim.h"
#include "log/plog_internal.h"
#include "record/batch_builder.h"
#include "record/msgset.h"

#define FUZZ_DIR "/data/orders-0"

static inline void fuzz_put(struct fs *fs, const char *name, const uint8_t *data, size_t size)
{
    struct fs_file *file;
    char path[128];
    snprintf(path, sizeof(path), FUZZ_DIR "/%s", name);
    must(fs_open(fs, path, FS_WRITE | FS_CREATE | FS_TRUNCATE, &file) == ERR_OK);
    must(fs_pwrite(file, data, size, 0) == ERR_OK);
    fs_close(file);
}

static inline struct plog *fuzz_open(struct fs *fs, bool clean, int64_t recovery_point)
{
    static struct clock_manual clock;
    struct errmsg msg;
    struct plog *log;
    clock_manual_init(&clock, 1700000000000);
    struct plog_options options = {
        .fs = fs,
        .clock = &clock.clock,
        .dir = FUZZ_DIR,
        .topic = STR("orders"),
        .config = {.segment_bytes = 1 << 30,
                   .segment_index_bytes = 10 << 20,
                   .segment_ms = INT64_MAX,
                   .index_interval_bytes = 100,
                   .retention_ms = -1,
                   .retention_bytes = -1,
                   .flush_messages = INT64_MAX,
                   .cleanup_policy = TOPIC_CLEANUP_DELETE},
        .recovery_point = recovery_point,
        .log_start_offset = -1,
        .clean = clean,
        .producer_expiration_ms = 1000,
    };
    must(log_set_level("root", LOG_OFF) == ERR_OK);
    must(plog_open(&options, &log, &msg) == ERR_OK);
    return log;
}

/* Append one batch of a producer; 0: of nobody. */
static inline void fuzz_append(struct plog *log, int64_t producer, int32_t sequence,
                               int32_t leader_epoch)
{
    struct buf data = {0};
    struct batch_builder builder;
    struct batch_options options = batch_options_default();
    if (producer > 0) {
        options.producer_id = producer;
        options.producer_epoch = 0;
        options.base_sequence = sequence;
    }
    batch_builder_init(&builder, &options);
    batch_builder_add(&builder, 1000 + plog_offset_end(log), (struct bytes){NULL, 0},
                      (struct bytes){(const uint8_t *)"value", 5}, NULL, 0);
    must(batch_builder_finish(&builder, &data) == ERR_OK);
    batch_builder_fini(&builder);
    struct plog_batch batch = {.data = data.data, .size = data.size};
    must(batch_read_header((struct bytes){data.data, data.size}, &batch.header) == ERR_OK);
    plog_append_leader(log, &batch, 1, leader_epoch, 1700000000000);
    must(batch.err == ERR_OK || producer > 0);
    buf_fini(&data);
}
