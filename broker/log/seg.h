/* clang-format off */
/* seg.h: one segment of a partition's log: a file of batches, and where to look in it.
 *
 *   <base offset, 20 digits>.log   batches, one after the other
 *
 *                      .index      sparse, entries of 8 bytes; offsets and positions strictly grow
 *      at  size field
 *       0    4  last offset of a batch, minus the base offset
 *       4    4  position of that batch in the .log file
 *
 *                      .timeindex  sparse, entries of 12 bytes; timestamps strictly grow
 *      at  size field
 *       0    8  largest timestamp so far
 *       8    4  last offset of the batch that has it, minus the base offset
 *
 *                      .txnindex   aborted transactions (seg_aborted.c): kept as found, cut and deleted
 *                                  with the segment
 *
 * Both indexes get an entry for a batch when more than index.interval.bytes were written since the
 * last one, never for the first batch; the time index gets a last one when the segment is finished.
 * Where Kafka has written several batches at once, an offset entry names the last offset of all of
 * them and the position of the first: so the batch at an entry's position begins at or before the
 * entry's offset, and everything before the position lies before the offset.
 *
 * The indexes of the segment that is written live in memory and reach their files when it is closed
 * or rolled: after a crash they are made anew from the batches anyway. Those of older segments are
 * read when first needed, and let go when nobody has needed them for a while. Files hold only
 * entries, never the zeros that Kafka preallocates. An index that turns out to be wrong is
 * forgotten, and the batches are walked instead.
 *
 * Ownership: counted; the log holds one reference, each view one, each flush with a worker one.
 * Files are unlinked, never reused, so a reader of a view may go on. Threads: seg_note(),
 * seg_truncate() and seg_save_indexes() in the log's actor; seg_sync() there and on a worker;
 * seg_find() and seg_bounds() from any: they meet at a leaf lock that covers the indexes and the
 * published end. Source: Kafka 3.9 in ZooKeeper mode. */
/* clang-format on */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "base/bytes.h"
#include "base/err.h"
#include "base/text.h"
#include "fs/fs.h"
#include "record/batch.h"

enum {
    SEG_POSITION_MAX = INT32_MAX,    /* positions and relative offsets are 32 bits in the index */
    SEG_SCAN_BYTES = 16 * 1024,      /* headers are looked for in pieces of this size */
    SEG_RECENT_MIN_BYTES = 4 * 1024, /* below, finding a batch is reading it (view.h) */
    SEG_RECENT_COUNT = 16,           /* as many as a follower or consumer at the tail is behind */
};

struct index_entry {
    uint32_t relative_offset;
    uint32_t position;
};

struct time_entry {
    int64_t timestamp_ms;
    uint32_t relative_offset;
};

/* Where a batch is: known without reading its header from the file. */
struct seg_place {
    int64_t base_offset;
    int64_t position;
    size_t size_bytes;
};

/* The newest large batches, the oldest of which makes room for the next. */
struct seg_recent {
    uint32_t noted;
    struct seg_place places[SEG_RECENT_COUNT];
};

struct seg {
    _Atomic int32_t count;
    struct fs *fs;
    struct text *dir;
    int64_t base_offset;
    struct fs_file *file;

    pthread_mutex_t lock; /* a leaf; guards what follows up to the blank line */
    struct index_entry *index;
    struct time_entry *times;
    uint32_t index_count;
    uint32_t index_capacity;
    uint32_t times_count;
    uint32_t times_capacity;
    _Atomic bool index_loaded; /* looked at without the lock by who must not wait */
    bool index_used;           /* since it was last asked whether anybody needs it */
    int64_t size_bytes;        /* published end of the file */
    int64_t next_offset;       /* published: the offset after the last batch */
    int64_t hint_offset;       /* the newest batch begins at this offset ... */
    int64_t hint_position;     /* ... and position: where a reader at the tail looks */
    struct seg_recent *recent; /* NULL: no large batch was noted */

    /* The actor's. */
    bool index_dirty;               /* memory differs from the files */
    _Atomic uint32_t index_written; /* how often the files were written; */
    _Atomic uint32_t index_synced;  /* as it was before they were last synced */
    int64_t bytes_since_index;
    int64_t max_timestamp_ms; /* -1: none */
    int64_t max_timestamp_offset;
    int64_t first_timestamp_ms; /* of the first batch; -1: none */
    int64_t created_ms;
    int32_t index_interval_bytes;
};

/* Each log has at least one. */
_Static_assert(sizeof(struct seg) <= 224, "a segment's own memory");

/* Make a new, empty segment. It holds `dir`. */
MUST_USE enum err seg_create(struct fs *fs, struct text *dir, int64_t base_offset, int64_t now_ms,
                             struct seg **out);

/* Open one that exists; its end is the file's, its next offset is not known yet (see recover.c). */
MUST_USE enum err seg_open(struct fs *fs, struct text *dir, int64_t base_offset, struct seg **out);

/* The path of one of its files, for example "log". mem_free */
char *seg_path(const struct seg *seg, const char *extension);

struct seg *seg_get(struct seg *seg);
void seg_put(struct seg *seg);

/* A batch was written at `position`, which was the end: enter it into the indexes. The bytes are
 * published by seg_publish(). */
void seg_note(struct seg *seg, const struct batch_header *header, int64_t position);

/* Do the indexes hold as many entries as fit into `size_bytes` each? (Kafka keeps one place of the
 * time index free for the last entry.) */
bool seg_indexes_full(const struct seg *seg, int64_t size_bytes);

/* Readers may see up to here. */
void seg_publish(struct seg *seg, int64_t size_bytes, int64_t next_offset);
void seg_bounds(struct seg *seg, int64_t *size_bytes, int64_t *next_offset);

/* Where the first batch stands whose last offset is `offset` or more, and its header.
 * ERR_NOT_FOUND: the segment ends before. */
MUST_USE enum err seg_find(struct seg *seg, int64_t offset, int64_t *position,
                           struct batch_header *header);

/* What was read of a segment's file while looking for something: bytes from `position` on, which
 * had been published before they were read. */
struct seg_piece {
    int64_t position;
    size_t size; /* 0: nothing that is worth telling */
    uint8_t bytes[SEG_SCAN_BYTES];
};

/* The same out of memory only, for threads that must not wait for a disk. ERR_AGAIN: what has to be
 * read for it is not there. `piece` is what was read last; nothing is for a large batch that begins
 * at `offset` and was written lately. */
MUST_USE enum err seg_find_cached(struct seg *seg, int64_t offset, struct seg_place *place,
                                  struct seg_piece *piece);

/* The offset and timestamp of the first record at or after `timestamp_ms`, not below `offset_min`.
 * ERR_NOT_FOUND: none here. */
MUST_USE enum err seg_find_time(struct seg *seg, int64_t timestamp_ms, int64_t offset_min,
                                int64_t *offset, int64_t *found_ms);

/* The record with the largest timestamp. ERR_NOT_FOUND in an empty segment. */
MUST_USE enum err seg_find_max_time(struct seg *seg, int64_t *offset, int64_t *found_ms);

/* A batch's position at least `entries` index entries before the one that holds `offset`; the first
 * batch's when there are not so many. */
int64_t seg_look_back(struct seg *seg, int64_t offset, uint32_t entries);

/* Read the header of the batch at `position`; ERR_NOT_FOUND at or behind the end. */
MUST_USE enum err seg_header_at(struct seg *seg, int64_t position, struct batch_header *header);

/* Cut the file: everything from `position` on goes, and with it the index entries that lead there.
 * *gap: what is left ends before `next_offset`. Not durable before seg_sync(). */
MUST_USE enum err seg_truncate(struct seg *seg, int64_t position, int64_t next_offset, bool *gap);

/* Forget, durably, the aborted transactions that end at `offset` or behind it. */
MUST_USE enum err seg_cut_aborted(struct seg *seg, int64_t offset);

/* Find the end of a segment whose indexes can be trusted: walk the batches from the last index
 * entry on, to the end of the file. ERR_CORRUPT: they do not fit, or the end is torn. */
MUST_USE enum err seg_find_end(struct seg *seg);

/* Forget the indexes, to note every batch again. */
void seg_reset_indexes(struct seg *seg);

/* Of a finished segment: keep no index in memory that nobody has used since this was last called.
 * It takes half a percent of what small batches take. */
void seg_rest(struct seg *seg);

/* Largest timestamp of a record; -1 when none has one. */
int64_t seg_max_timestamp_ms(struct seg *seg);

/* The same for retention and for looking up times: the file's age where no record has one. */
int64_t seg_largest_timestamp_ms(struct seg *seg);

/* Write the index files if memory differs. No more appends are expected (a roll or a clean close).
 */
MUST_USE enum err seg_save_indexes(struct seg *seg);

/* Everything written to the segment's files is durable (their names are not: sync the directory).
 */
MUST_USE enum err seg_sync(struct seg *seg);

/* Unlink all files; readers that hold the segment may go on. Not durable before the directory is
 * synced. */
MUST_USE enum err seg_delete_files(struct seg *seg);

enum { SEG_FILES = 4 };

/* Rename its files to *.deleted. `paths`: where those are now that existed, NULL for the others;
 * mem_free. Not durable either. */
MUST_USE enum err seg_put_aside(struct seg *seg, char *paths[SEG_FILES]);
