/* plog_internal.h: a log from the inside, for plog.c (appending), recover.c and leftovers.c
 * (opening), shorten.c (truncation, retention), flush.c (recovery point) and snapshots.c (producer
 * state on disk). */
#pragma once

#include <pthread.h>

#include "log/plog.h"
#include "log/shelf.h"

/* What a log waits for at its directory's flusher. Guarded by the log's lock, `next` by the
 * flusher's. */
struct plog_flush_wish {
    struct plog *next;
    bool queued;
    int64_t end;         /* so far it is to be synced; */
    uint64_t generation; /* as it was then */
    struct flush_note *note;
};

struct plog {
    struct fs *fs;
    struct clock *clock;
    struct reaper *reaper;   /* NULL: segments are removed at once */
    struct flusher *flusher; /* counted; NULL: whoever wants a flush does it */
    struct shelf *shelf;     /* counted; NULL: nothing is shared */
    struct text *dir;        /* its segments hold it, too */
    struct text *topic;
    struct shelf_config *config;
    int32_t partition;
    int64_t producer_expiration_ms;
    void (*on_failure)(void *arg, enum err err);
    void *arg;

    /* Published. */
    _Atomic int64_t offset_end;
    _Atomic int64_t log_start;
    _Atomic int64_t recovery_point;
    _Atomic bool failed;
    _Atomic int64_t lowered_to;     /* the newest start that was below the one before; */
    _Atomic uint32_t start_lowered; /* how often, and no checkpoint tells of it yet: shorten.c.
                                       Twice that, and one more while the start is yet to move */
    _Atomic uint32_t names_made;    /* files that were made in the directory; */
    _Atomic uint32_t names_synced;  /* how many of them a sync of it has seen */
    /* A leaf: guards `view` against its replacement while it is counted, and what flush.c says. */
    pthread_mutex_t lock;
    struct view *view;
    struct epochs epochs;  /* with a lock of its own */
    _Atomic int32_t count; /* the owner, each partition that holds it, its place in the flusher */
    _Atomic bool deleted;  /* the files are to go: failures do not matter any more */
    struct plog_flush_wish flush;
    uint64_t generation;   /* see flush.c; changed by the actor with the lock held */
    int64_t point_written; /* likewise: a checkpoint may name a recovery point up to this one */

    /* The actor's. */
    struct seg **segs; /* by base offset; the last one is written */
    int32_t segs_count;
    int32_t segs_capacity;
    struct producers producers;
    int64_t unflushed_since_ms; /* when the first of these came; monotonic */
    int64_t unflushed_records;  /* appended since a flush was last asked for */
    int64_t snapshot_newest;    /* offset of the newest producer snapshot on disk; -1: none */
    int64_t roll_jitter_ms;
    int64_t gapless_from; /* gapless.c: what its file says; INT64_MAX: there is none */
    bool ends_in_gap;     /* cut where compaction had left nothing: the last batch ends before */
    bool put_aside; /* segments were, in this life: their files may still be there, as *.deleted */
};

/* There are tens of thousands of them. */
_Static_assert(sizeof(struct plog) <= 400, "a log's own memory");

static inline struct seg *plog_active(struct plog *log)
{
    return log->segs[log->segs_count - 1];
}

/* close.c: write what a log that is closed cleanly has on disk besides its batches, which are
 * synced. */
MUST_USE enum err plog_save_all(struct plog *log);

/* Remember that the log has failed, and tell the host, once. Returns ERR_KAFKA_STORAGE_ERROR. */
enum err plog_fail(struct plog *log, enum err err, const char *what);

/* Readers are to see the present segments. */
void plog_publish_view(struct plog *log);
void plog_push_seg(struct plog *log, struct seg *seg);

/* Begin a segment at the log's end. */
MUST_USE enum err plog_new_seg(struct plog *log, int64_t base_offset, int64_t now_ms);

/* The log is to end at `offset`, although its last batch ends before: go on in a segment there. */
MUST_USE enum err plog_end_at(struct plog *log, int64_t offset, int64_t now_ms);

char *plog_epochs_path(const struct plog *log);
MUST_USE enum err plog_save_epochs(struct plog *log);

/* ---- flush.c ---- */

MUST_USE enum err plog_write_indexes(struct plog *log);

/* Finished segments are to be synced soon. */
void plog_flush_finished(struct plog *log);

/* Records were appended: the flush that flush.messages asks for. */
void plog_flush_due(struct plog *log);

/* A flush that is under way is not to move the recovery point. */
void plog_flush_void(struct plog *log);

/* One log's part in a round of the flusher. */
struct plog_flush_job {
    struct plog *log;
    struct view *view;
    int64_t point; /* the recovery point when it began */
    int64_t end;
    uint64_t generation;
    struct flush_note *note;
    enum err err;
};

/* In this order, by the flusher: what is to be synced; how many files that is; sync them; publish
 * the outcome. */
void plog_flush_take(struct plog_flush_job *job);
int32_t plog_flush_files(const struct plog_flush_job *job);
MUST_USE enum err plog_flush_sync(struct plog_flush_job *job);
void plog_flush_end(struct plog_flush_job *job);

/* The names of its files are durable. */
MUST_USE enum err plog_sync_names(struct plog *log);

/* `seg`, the last one, is about to be followed by another: sync it now if a recovery point that is
 * on disk, or may get there, says that it was. */
MUST_USE enum err plog_sync_finished(struct plog *log, struct seg *seg);

/* The log is about to be cut at `offset`. */
void plog_lower_recovery_point(struct plog *log, int64_t offset);

/* ---- gapless.c: gaps between the segments of a compacted log ---- */

/* A segment is about to begin at `base_offset`, at the log's end or behind it. */
MUST_USE enum err plog_begin_behind(struct plog *log, int64_t base_offset);

/* Was something lost where the segment before does not reach up to the one at `base_offset`? */
bool plog_gap_is_loss(const struct plog *log, int64_t base_offset);

/* At a start; and at a clean stop, when all is synced (the directory is to be, once more). */
MUST_USE enum err plog_read_gapless(struct plog *log, bool clean);
MUST_USE enum err plog_forget_gapless(struct plog *log);

/* ---- shorten.c: a log start that goes down ---- */

/* At a start: does a checkpoint not tell of it yet (start_lowered)? After a clean stop each does.
 */
MUST_USE enum err plog_find_lowered(struct plog *log, bool clean);

/* A checkpoint that is on the disk has a start that was looked at after start_lowered had been seen
 * to be `times`. */
MUST_USE enum err plog_lowered_told(struct plog *log, uint32_t times);

/* ---- snapshots.c ---- */

/* The file <offset>.snapshot of the log. mem_free. */
char *plog_snapshot_path(const struct plog *log, int64_t offset);

/* Write the producer state that belongs to offset_end, unless there is one on disk. */
MUST_USE enum err plog_write_snapshot(struct plog *log);

/* What it would write; false: nothing. */
bool plog_snapshot_content(const struct plog *log, struct buf *out);

/* The one that belongs to offset_end is in its place: the one before is not needed any more, unless
 * it is a segment's. */
MUST_USE enum err plog_snapshot_placed(struct plog *log);

/* Remove, durably, the snapshots of more than `offset`. */
MUST_USE enum err plog_remove_snapshots_behind(struct plog *log, int64_t offset);

/* Make the producer state that belongs to `offset`: the newest snapshot at or below it, and the
 * batches between. */
MUST_USE enum err plog_rebuild_producers(struct plog *log, int64_t offset);
MUST_USE enum err plog_load_producers(struct plog *log, bool clean);
/* The same after a clean stop of which is known that the newest one is of `snapshot` (-1: there is
 * none), and how many producers are in it: nothing is listed. */
MUST_USE enum err plog_load_known_producers(struct plog *log, int64_t snapshot, int32_t count);

/* ---- recover.c, leftovers.c ---- */

MUST_USE enum err plog_load(struct plog *log, const struct plog_options *options,
                            struct errmsg *msg);
MUST_USE enum err plog_clear_leftovers(struct plog *log);

/* Are there files in its directory that wait to be removed, or may there be? */
bool plog_has_leftovers(struct plog *log);

/* "00000000000000000042.log" -> 42, ".log" */
bool plog_parse_name(const char *name, int64_t *offset, const char **extension);
