/* plog.h: one partition's log: ordered segments, offset -> bytes, and what goes with them: leader
 * epochs, producer state.
 *
 * Order of publication after an append: bytes, the segment's end, offset_end. Readers load
 * offset_end first and take a view after it.
 *
 * Invariant: log start <= offset_end; segments are contiguous from the first to the last, which is
 * written.
 * Failure: after the first write or sync error the log is failed for good: every later change says
 * ERR_KAFKA_STORAGE_ERROR, and the host was told through `on_failure`.
 *
 * Threads: changes in the partition's actor (before there is one: by whoever opened it);
 * plog_view_get(), the offsets and the epochs from any. Source: Kafka 3.9 in ZooKeeper mode. */
#pragma once

#include <stdatomic.h>

#include "config/topic_config.h"
#include "log/epochs.h"
#include "log/producers.h"
#include "log/view.h"
#include "rt/clock.h"

struct plog;
struct flusher;
struct reaper;
struct shelf;
struct text;

struct manifest_log;

struct plog_options {
    struct fs *fs;
    struct clock *clock;
    struct flusher *flusher; /* the directory's; NULL: plog_flush_soon() syncs here and now */
    struct reaper *reaper;   /* removes deleted segments later; NULL: they are removed at once */
    struct shelf *shelf;     /* has what logs have in common; NULL: this one shares nothing */
    const char *dir;         /* of the partition; made when absent */
    struct str topic;
    int32_t partition;
    struct topic_config config;
    int64_t recovery_point;   /* from the checkpoint; -1: unknown, so everything is recovered */
    int64_t log_start_offset; /* from the checkpoint; -1: the first segment's */
    bool clean;               /* the broker had stopped cleanly */
    const struct manifest_log *known; /* what the manifest says of it; NULL: nothing */
    bool rewrite; /* what is read behind the recovery point may not be on the disk,
                     although the kernel thinks so: write it again (start_mark.h) */
    int64_t producer_expiration_ms;
    /* A write or a sync has failed. On the thread where it happened. */
    void (*on_failure)(void *arg, enum err err);
    void *arg;
};

/* Open, and recover what a crash left: torn tails are cut, indexes and producer state made anew.
 * Takes time in proportion to what lies behind the recovery point. */
MUST_USE enum err plog_open(const struct plog_options *options, struct plog **out,
                            struct errmsg *msg);

/* Flush, write indexes and a producer snapshot. The log is closed whatever happens. */
MUST_USE enum err plog_close(struct plog *log);

/* What is left to do before many logs can be closed together. */
struct plog_closing {
    bool sync;   /* something is not on the disk */
    bool beside; /* something was written beside what it is to replace, or is to go after a sync */
};

/* Before many logs are closed, and while nobody writes: write what closing writes, without a sync;
 * when one sync of the whole file system has succeeded, put in place what was written beside; after
 * another one say so. Closing finds nothing left to sync then. */
MUST_USE enum err plog_write_closing(struct plog *log, struct plog_closing *closing);
MUST_USE enum err plog_place_closing(struct plog *log);
void plog_all_synced(struct plog *log);

/* Whoever may still look at a closed log holds it: a partition, which readers hold. Released from
 * any thread. */
struct plog *plog_hold(struct plog *log);
void plog_release(struct plog *log);

/* Close without flushing: the directory has failed, or the files are to be deleted. */
void plog_abandon(struct plog *log);

/* ---- published ---- */

int64_t plog_offset_end(const struct plog *log);
int64_t plog_log_start(const struct plog *log);
int64_t plog_recovery_point(const struct plog *log);
int64_t plog_size_bytes(struct plog *log);
struct view *plog_view_get(struct plog *log);
bool plog_failed(const struct plog *log);

/* Its directory has failed: so has the log. From any thread. */
void plog_take_offline(struct plog *log);

/* What `view` shows of the log could not be read from the disk: the log has failed, and the host is
 * told; unless it has changed its directory since the view was taken. From any thread. */
void plog_unreadable(struct plog *log, const struct view *view, enum err err);
const char *plog_dir(const struct plog *log);
int64_t plog_delete_delay_ms(const struct plog *log); /* @actor, or when there is none any more */
struct str plog_topic(const struct plog *log);
struct text *plog_topic_hold(const struct plog *log); /* the same, held: text_put() */
int32_t plog_partition(const struct plog *log);
struct epochs *plog_epochs(struct plog *log);

/* ---- appending ---- */

/* Batches in one call, as many as an actor takes in one turn. */
enum { PLOG_BATCHES_MAX = 32 };

struct plog_batch {
    /* In. One whole batch of magic 2, validated; base offset, leader epoch and, for topics that
     * stamp, the time are rewritten in place. */
    uint8_t *data;
    size_t size;
    struct batch_header header;
    enum producers_origin origin;
    /* Out. A duplicate is ERR_OK with the offsets of the batch that it repeats. */
    enum err err;
    int64_t base_offset;
    int64_t last_offset;
    int64_t append_time_ms; /* -1: the producer's times stand */
};

/* Append as leader, in order; each batch has its own result. Batches that go to one segment go
 * there in one write. */
void plog_append_leader(struct plog *log, struct plog_batch *batches, int count,
                        int32_t leader_epoch, int64_t now_ms);

/* Append a run of whole batches as they come from the leader, or of messages of the old formats
 * that its log still has: offsets and epochs as they are, from offset_end on. ERR_CORRUPT: a batch
 * is damaged or does not follow; nothing of it or behind it was written. */
MUST_USE enum err plog_append_follower(struct plog *log, struct bytes batches, int64_t now_ms);

/* A leader epoch begins at offset_end. Its file says so when the segment is finished; until then
 * its first record does (flush.c, F5). */
MUST_USE enum err plog_begin_epoch(struct plog *log, int32_t epoch);

/* ---- shortening ---- */

/* Remove everything from `offset` on; at or behind the end, only leader epochs without a record. */
MUST_USE enum err plog_truncate_to(struct plog *log, int64_t offset);

/* A log that was just opened, in a life after one in which a sync has failed, maybe that of a cut:
 * where it ends, and which segments it has, is durable now. */
MUST_USE enum err plog_cut_again(struct plog *log);

/* Remove everything and begin anew at `offset`. */
MUST_USE enum err plog_restart_at(struct plog *log, int64_t offset);

/* DeleteRecords: nothing below `offset` is served any more. Never goes back. */
MUST_USE enum err plog_set_log_start(struct plog *log, int64_t offset);
bool plog_may_delete_records(const struct plog *log);

/* Each takes a sync, and others wait for the thread. */
enum { PLOG_DELETES_MAX = 8 };

/* Delete whole segments by the topic's retention, only below `offset_hw`; `now_ms` since 1970. At
 * most PLOG_DELETES_MAX at once; ERR_AGAIN: there may be more. And let go of what has not been used
 * for long: producers' states, indexes in memory. */
MUST_USE enum err plog_delete_old_segments(struct plog *log, int64_t offset_hw, int64_t now_ms);

/* ---- the rest ---- */

void plog_configure(struct plog *log, const struct topic_config *config);

/* Sync everything written so far; the recovery point moves. */
MUST_USE enum err plog_flush(struct plog *log);

/* Who wants to know when a flush is over. */
struct flush_note {
    void (*done)(struct flush_note *note); /* on the flusher's thread */
};

/* Have everything written so far synced by the directory's flusher, together with what else waits
 * there. done() is called when that is over: the recovery point then says what is on the disk, or
 * plog_failed() that nothing will be. It may be short of what was asked for (a truncation, a
 * segment that was finished meanwhile): ask again. `note` may be NULL. False: it was not taken,
 * because one that waits already will tell just that. */
bool plog_flush_soon(struct plog *log, struct flush_note *note);

/* Have it synced when records have waited for flush.ms. */
void plog_flush_aged(struct plog *log);

/* Finish the segment that is written, if it holds anything, and begin another. */
MUST_USE enum err plog_roll(struct plog *log, int64_t now_ms);

/* ---- looking for times; may read from the disk ---- */

/* The first record at or after `timestamp_ms`; offset -1 when there is none. */
MUST_USE enum err plog_offset_for_time(struct plog *log, int64_t timestamp_ms, int64_t *found_ms,
                                       int64_t *offset, int32_t *epoch);
MUST_USE enum err plog_offset_of_max_timestamp(struct plog *log, int64_t *found_ms, int64_t *offset,
                                               int32_t *epoch);
