/* epochs.h: where each leader epoch of a log begins. Strictly growing in epoch and in offset.
 *
 * Followers and consumers compare logs by it: "where does epoch e end?" is answered with the start
 * of the next one. Persisted in `leader-epoch-checkpoint`: when the segment that they begin in is
 * finished, when the log is cut, or closed (flush.c, F5). Until then a crash takes them out of the
 * batches, so that a new leadership costs no sync.
 *
 * Threads: epochs_end_of() and epochs_at() from any (a leaf lock inside); the rest in the log's
 * actor. Source: Kafka 3.9 in ZooKeeper mode. */
#pragma once

#include <pthread.h>

#include "log/checkpoint.h"

struct epochs {
    pthread_mutex_t lock;
    struct epoch_entry *entries;
    int32_t count;
    int32_t capacity;
    /* What the file holds: so many entries, of which the first so many are those above. */
    int32_t file_count;
    int32_t same_count;
};

void epochs_init(struct epochs *epochs);
void epochs_fini(struct epochs *epochs);

/* Replace everything (from the file). Entries that do not grow are dropped. */
void epochs_load(struct epochs *epochs, const struct epoch_entry *entries, int32_t count);

/* Epoch `epoch` begins at `offset`, unless it is the latest and began earlier. Entries with the
 * same or a later epoch, or a start at or behind `offset`, go. */
void epochs_assign(struct epochs *epochs, int32_t epoch, int64_t offset);

/* Forget what begins at `offset` or behind it. */
void epochs_truncate_end(struct epochs *epochs, int64_t offset);

/* Records before `offset` are gone: the epoch that holds it now begins there. */
void epochs_truncate_start(struct epochs *epochs, int64_t offset);

/* The largest epoch not above `epoch`, and where it ends. Both -1 when nobody can tell.
 * `offset_end` is the log's. */
void epochs_end_of(struct epochs *epochs, int32_t epoch, int64_t offset_end, int32_t *found,
                   int64_t *end);

/* The epoch that the record at `offset` belongs to; -1. */
int32_t epochs_at(struct epochs *epochs, int64_t offset);

/* -1: none. */
int32_t epochs_latest(struct epochs *epochs);

/* Does the file differ? And does it lack something that begins before `offset`? */
bool epochs_changed(const struct epochs *epochs);
bool epochs_lacks(const struct epochs *epochs, int64_t offset);

/* Write the file if it differs. */
MUST_USE enum err epochs_save(struct epochs *epochs, struct fs *fs, const char *path);

/* The file's new content; false: it does not differ. Whoever writes it says so. */
bool epochs_content(const struct epochs *epochs, struct buf *out);
void epochs_saved(struct epochs *epochs);
