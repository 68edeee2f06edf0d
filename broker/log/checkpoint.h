/* checkpoint.h: Kafka's small text files: a version line "0", a line with the count, then one entry
 * per line.
 *
 *   recovery-point-offset-checkpoint   topic partition offset: what lies before is on the disk
 *   log-start-offset-checkpoint        topic partition offset: what lies before is deleted
 *   replication-offset-checkpoint      topic partition offset: the high watermark
 *   cleaner-offset-checkpoint          topic partition offset: what lies before is compacted; only
 *                                      Kafka writes it so far
 *   <partition>/leader-epoch-checkpoint   epoch start_offset, both strictly growing
 *
 * Reading is total: any bytes give entries or ERR_CORRUPT; an empty file has no entries. Writing
 * replaces the file whole. Threads: any. Source: Kafka 3.9 in ZooKeeper mode. */
#pragma once

#include "base/bytes.h"
#include "base/err.h"
#include "fs/fs.h"

/* Larger files are refused: ERR_CORRUPT. */
enum { CHECKPOINT_FILE_MAX = 64 << 20 };

struct checkpoint_entry {
    char *topic; /* owned */
    int32_t partition;
    int64_t offset;
};

struct checkpoint {
    struct checkpoint_entry *entries;
    int32_t count;
    int32_t capacity;
};

/* ERR_NOT_FOUND: no such file; then *out is empty. */
MUST_USE enum err checkpoint_read(struct fs *fs, const char *path, struct checkpoint *out);
MUST_USE enum err checkpoint_write(struct fs *fs, const char *path,
                                   const struct checkpoint *checkpoint);
void checkpoint_add(struct checkpoint *checkpoint, struct str topic, int32_t partition,
                    int64_t offset);

/* -1 when it is not listed. Entries must be sorted: checkpoint_read() has done that. */
int64_t checkpoint_find(const struct checkpoint *checkpoint, struct str topic, int32_t partition);
void checkpoint_fini(struct checkpoint *checkpoint);

struct epoch_entry {
    int32_t epoch;
    int64_t start_offset;
};

/* Entries into fresh memory (mem_free). */
MUST_USE enum err epoch_checkpoint_read(struct fs *fs, const char *path,
                                        struct epoch_entry **entries, int32_t *count);
void epoch_checkpoint_text(const struct epoch_entry *entries, int32_t count, struct buf *out);
MUST_USE enum err epoch_checkpoint_write(struct fs *fs, const char *path,
                                         const struct epoch_entry *entries, int32_t count);
