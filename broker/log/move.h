/* move.h: a log changes its directory: a future log is filled from the current one and takes its
 * place.
 *
 *   <topic>-<partition>.<32 digits>-future/           being filled; the next start goes on with it
 *   <topic>-<partition>.<32 digits>-future/complete   it has everything, durably
 *
 * How the place is taken (plog_take_over), while nothing is appended to the current log:
 *
 *   1. what is missing is copied; the future log's files are complete and durable
 *   2. the file `complete` appears in it
 *   3. the current directory gets a name that ends in -delete: from here on the future one counts
 *   4. the future directory gets the current one's name
 *   5. it is opened as a log that was closed cleanly; `complete` goes
 *
 * A start that finds a future log without a current one in any of the directories carries out 4 and
 * 5 if `complete` is there.
 * So at any moment one of the two has everything, whatever a crash leaves of a step, and after
 * step 3 nothing is appended to the old one: there are never two that differ.
 *
 * Failure: before 3 the current log goes on as it was; the target's directory is offline when it
 * was to blame. Where 4 fails for certain, 3 is undone, and it goes on as well. Else, from 3 on,
 * when it is not known which of the two the next start will find, neither may be used until then;
 * they are equal.
 *
 * Threads: plog_copy() where the future log's owner runs; the current log may be in use meanwhile.
 * plog_take_over() in the current log's actor. */
#pragma once

#include "base/bytes.h"
#include "log/plog.h"

/* The length of ".<32 digits>-future", and of "-delete" likewise. */
enum { MOVE_SUFFIX_SIZE = 40 };

#define MOVE_COMPLETE_NAME "complete"

/* Cut `to` where it holds something else than `from`: records that were cut off there since they
 * were copied, or that a power failure has taken. By leader epochs: a log has one record only at an
 * offset in an epoch, so that two logs that know the same epochs for their offsets are equal there.
 * Both may not change meanwhile. */
MUST_USE enum err plog_agree(struct plog *to, struct plog *from);

/* Append to `to` the next batches that `from` has: at most `size_max` bytes, or one batch.
 * *copied 0: nothing was missing. The start follows, too. ERR_CORRUPT: what was read is no run of
 * batches: `from` was cut meanwhile, or is damaged. ERR_KAFKA_STORAGE_ERROR: `to` has failed. Other
 * errors: `from` cannot be read. */
MUST_USE enum err plog_copy(struct plog *to, struct plog *from, struct buf *scratch,
                            size_t size_max, size_t *copied);

/* How many bytes of batches `to` lacks, at most `enough`. */
int64_t plog_missing(struct plog *to, struct plog *from, int64_t enough);

enum move_end {
    MOVE_KEPT, /* the current log goes on */
    MOVE_DONE,
    MOVE_LOST, /* neither may be used until the next start; both are failed */
};

/* Take the place of `current`, which stays open, without a name of its own. In *out the log in the
 * new place; in *left_behind (mem_free) the old directory, to be removed. `flusher` is the
 * new directory's; `future` has none. It stays the caller's, only to be abandoned. */
MUST_USE enum move_end plog_take_over(struct plog *future, struct plog *current,
                                      struct flusher *flusher, struct plog **out,
                                      char **left_behind);

/* ".../topic-3.<32 digits>-future" -> ".../topic-3"; mem_free. */
char *move_final_path(const char *future_path);
