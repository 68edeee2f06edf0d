/* clang-format off */
/* manifest.h: what the logs of a directory were like at its last clean stop, in one file, so that a
 * start need not list, open and read several small files for each of thousands of them.
 *
 *   .barnabas_manifest   text; lines end with '\n', fields are apart by one space
 *     0                  the format's version
 *     MTIME              when .kafka_cleanshutdown was written, ms
 *     COUNT              of the lines that follow
 *     NAME TOPIC-ID MTIME SNAPSHOT PRODUCERS EPOCHS [EPOCH OFFSET]... SEGMENTS [BASE SIZE]...
 *         NEXT HINT-OFFSET HINT-POSITION MAX-TIME MAX-TIME-OFFSET FIRST-TIME
 *                        a log: its directory and when that was changed last, ms; the newest producer
 *                        snapshot, or -1, and how many producers are known; leader epochs; segments;
 *                        of the last one what seg.h keeps
 *     CRC                CRC-32C of everything before this line, 8 hexadecimal digits
 *
 * It is never stale:
 *   M1  It is gone, durably, before the logs of a directory are opened, and may change: with
 *       .kafka_cleanshutdown, and whether or not that is there.
 *   M2  It counts only together with the .kafka_cleanshutdown it was written after. A Kafka broker,
 *       or a version of ours that knows no manifest, leaves another one, or none.
 *   M3  A log counts only if its directory has not changed since (nothing made, removed or renamed in
 *       it), and each segment is as long as it was. Otherwise it is opened as without a manifest.
 *   M4  One that is damaged, or that cannot be read, is as good as none.
 *   M5  A log with files that wait to be removed is not in it: opening by itself removes them.
 * What is trusted is what is trusted after a clean stop anyway.
 *
 * Threads: a worker, at the start and at the end; manifest_find() from several at once. */
/* clang-format on */
#pragma once

#include "base/uuid.h"
#include "log/plog.h"

#define MANIFEST_NAME ".barnabas_manifest"

/* Of a segment. */
struct manifest_seg {
    int64_t base_offset;
    int64_t size_bytes;
};

/* A log, as it was closed. */
struct manifest_log {
    const char *name;
    struct uuid topic_id;
    int64_t mtime_ms; /* of its directory */
    int64_t snapshot_newest;
    int32_t producers_count; /* in it */
    const struct epoch_entry *epochs;
    int32_t epochs_count;
    const struct manifest_seg *segs; /* at least one */
    int32_t segs_count;
    /* The last one's; see seg.h. */
    int64_t next_offset;
    int64_t hint_offset;
    int64_t hint_position;
    int64_t max_timestamp_ms;
    int64_t max_timestamp_offset;
    int64_t first_timestamp_ms;
};

struct manifest;

/* Read the one in `dir`; `mark_mtime_ms`: of its .kafka_cleanshutdown, -1 when that is not there.
 * NULL when there is none that counts. */
struct manifest *manifest_read(struct fs *fs, const char *dir, int64_t mark_mtime_ms);

/* *removed: there was one; the directory is to be synced. */
MUST_USE enum err manifest_remove(struct fs *fs, const char *dir, bool *removed);

/* NULL: it is not there, or its directory has changed (M3). */
const struct manifest_log *manifest_find(const struct manifest *manifest, struct fs *fs,
                                         const char *dir, const char *name);
void manifest_free(struct manifest *manifest);

/* Add a log that has been closed to the lines of the next one. */
void manifest_note(struct buf *lines, const char *name, struct uuid topic_id, struct plog *log);

/* The directory has been marked as cleanly stopped. */
MUST_USE enum err manifest_write(struct fs *fs, const char *dir, int64_t mark_mtime_ms,
                                 int32_t count, const struct buf *lines);

/* Open the segments of a log as the manifest has it. ERR_NOT_FOUND: it is not like that (M3), and
 * nothing was done. */
MUST_USE enum err manifest_load(const struct manifest_log *known, struct plog *log);
