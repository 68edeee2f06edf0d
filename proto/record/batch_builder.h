/* batch_builder.h: makes magic-2 batches: for the coordinators, for rebuilding, for tests.
 *
 *   struct batch_options options = batch_options_default();
 *   struct batch_builder builder;
 *   batch_builder_init(&builder, &options);
 *   batch_builder_add(&builder, now_ms, key, value, NULL, 0);
 *   err = batch_builder_finish(&builder, &out);
 *   batch_builder_fini(&builder);
 *
 * Threads: one at a time. Ownership: keys, values and headers are copied. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"
#include "record/batch.h"
#include "record/record.h"

struct batch_options {
    int64_t base_offset;
    int32_t leader_epoch;
    enum compress_codec codec;
    int32_t level;
    int64_t producer_id;
    int16_t producer_epoch;
    int32_t base_sequence;
    bool transactional;
    bool control;
    bool log_append_time;   /* all records then have append_time_ms */
    int64_t append_time_ms; /* counts only with log_append_time */
};

/* Offset 0, leader epoch -1, no codec, no producer, create time. */
struct batch_options batch_options_default(void);

struct batch_builder {
    struct batch_options options;
    struct buf records; /* encoded, not compressed */
    int32_t record_count;
    int32_t last_offset_delta;
    int64_t base_timestamp_ms;
    int64_t max_timestamp_ms;
};

void batch_builder_init(struct batch_builder *builder, const struct batch_options *options);

/* Append a record at the next offset. Null key or value: data == NULL. `headers` may be NULL when
 * header_count is 0. */
void batch_builder_add(struct batch_builder *builder, int64_t timestamp_ms, struct bytes key,
                       struct bytes value, const struct record_header *headers,
                       int32_t header_count);

/* The same at base offset + offset_delta; deltas may only grow. Leaves gaps as compaction does. */
void batch_builder_add_at(struct batch_builder *builder, int32_t offset_delta, int64_t timestamp_ms,
                          struct bytes key, struct bytes value, const struct record_header *headers,
                          int32_t header_count);

/* Size of the batch if it were finished now without compression. For splitting: RECORD_OVERHEAD_MAX
 * says what one more record adds at most. */
size_t batch_builder_size(const struct batch_builder *builder);

/* Append the batch to `out` and empty the builder: more records begin another batch, which starts
 * behind the last offset and sequence of this one. A batch without records is written with count 0
 * and timestamps of -1, as compaction leaves them; last_offset_delta is then 0.
 * ERR_MESSAGE_TOO_LARGE, with nothing appended, when the batch would exceed
 * COMPRESS_IN_MAX. */
MUST_USE enum err batch_builder_finish(struct batch_builder *builder, struct buf *out);

/* Frees what the builder holds; it may be finished or not. */
void batch_builder_fini(struct batch_builder *builder);

struct batch_marker_options {
    int64_t base_offset;
    int32_t leader_epoch;
    int64_t producer_id;
    int16_t producer_epoch;
    enum control_type type;
    int32_t coordinator_epoch;
    int64_t now_ms;
};

/* Append the control batch that ends a transaction. */
void batch_put_marker(struct buf *out, const struct batch_marker_options *options);
