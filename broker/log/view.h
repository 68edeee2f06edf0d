/* view.h: an immutable picture of a log's segments, for readers on any loop.
 *
 * Replaced when a segment is added, removed or truncated. A view pins its segments: their files may
 * be unlinked, but ranges handed out stay readable until the view is put back.
 *
 * Threads: any. */
#pragma once

#include "log/seg.h"

struct view {
    _Atomic int32_t count;
    int32_t segs_count;
    struct seg *segs[]; /* by base offset; never empty */
};

/* Takes a reference to each segment. */
struct view *view_new(struct seg *const *segs, int32_t count);
struct view *view_hold(struct view *view);
void view_put(struct view *view);

/* Whole or partial batches in one file. */
struct view_range {
    struct fs_file *file;
    int64_t position;
    size_t size_bytes;
    int64_t base_offset; /* of the first batch: at or before the offset asked for */
    bool in_memory;    /* all of it was read while it was looked for, and did not wait for a disk */
    bool ends_segment; /* with it: what is asked for goes on in the next one */
};

enum { VIEW_COPY_BYTES = 4096 };

/* The bytes of a small range, where they came along when it was looked for. */
struct view_copy {
    size_t size; /* 0: they did not */
    uint8_t bytes[VIEW_COPY_BYTES];
};

/* Bytes of the batches from the one that holds `offset` on, none of which begins at or behind
 * `offset_limit`, at most `max_bytes`; with `min_one` at least the first batch whole. The first
 * batch is whole or size_bytes is 0; the last one may be cut short. One segment at most.
 * ERR_NOT_FOUND never happens: an offset at the end gives size 0. ERR_OFFSET_OUT_OF_RANGE: before
 * the first segment. ERR_CORRUPT, ERR_IO. */
MUST_USE enum err view_read(struct view *view, int64_t offset, int64_t offset_limit,
                            size_t max_bytes, bool min_one, struct view_range *out);

/* The same for threads that must not wait for a disk. ERR_AGAIN: finding the bytes takes reading
 * what is not in memory. (The bytes themselves may be there or not.) `copy` may be NULL. */
MUST_USE enum err view_read_cached(struct view *view, int64_t offset, int64_t offset_limit,
                                   size_t max_bytes, bool min_one, struct view_range *out,
                                   struct view_copy *copy);
