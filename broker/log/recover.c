/* recover.c: opening a log: which segments are there, which of them can be trusted, what they hold.
 *
 * After a clean stop everything is trusted: the last segment's end is found from its last index
 * entry on. After a crash every batch behind the recovery point is read and checked; the first that
 * is torn, damaged or does not follow ends the log, and later segments go. Closed segments before
 * the recovery point are not read.
 *
 * Invariants of what is left:
 *   R1  Batches are whole, their CRCs agree, offsets grow. Segments behind the recovery point
 *       follow each other without a gap, but for those that compaction may have made (gapless.c).
 *   R2  Epochs and producers are those of the batches.
 *   R3  What was cut or deleted is so durably before anything is appended: it cannot come back
 *       behind newer records after another crash.
 *   R4  Opening once more changes nothing.
 *
 * Source: Kafka 3.9 in ZooKeeper mode. */
#include <inttypes.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/must.h"
#include "log/batch_reader.h"
#include "log/manifest.h"
#include "log/plog_internal.h"

#define LOGGER "kafka.log.LogLoader"

/* Base offsets of the .log files in the directory. */
struct listing {
    int64_t *bases;
    int32_t count;
};

static enum err on_entry(void *arg, const char *name, bool is_dir)
{
    struct listing *listing = arg;
    int64_t offset;
    const char *extension;
    if (!is_dir && plog_parse_name(name, &offset, &extension) && strcmp(extension, ".log") == 0) {
        listing->bases =
            mem_realloc(listing->bases, ((size_t)listing->count + 1) * sizeof(listing->bases[0]));
        listing->bases[listing->count++] = offset;
    }
    return ERR_OK;
}

static int offset_order(const void *a, const void *b)
{
    int64_t left = *(const int64_t *)a;
    int64_t right = *(const int64_t *)b;
    return (left > right) - (left < right);
}

static enum err list_segs(struct plog *log, struct listing *listing)
{
    enum err err = fs_list(log->fs, log->dir->chars, on_entry, listing);
    if (listing->count > 1) {
        qsort(listing->bases, (size_t)listing->count, sizeof(listing->bases[0]), offset_order);
    }
    return err;
}

/* ---- segments ---- */

/* Cut the tail of a segment that cannot be kept. R3 */
static enum err cut_tail(struct seg *seg)
{
    int64_t size;
    enum err err = fs_size(seg->file, &size);
    if (err != ERR_OK || size <= seg->size_bytes) {
        return err;
    }
    char *path = seg_path(seg, "log");
    log_warn(LOGGER, "cutting a torn or damaged tail",
             "file=%s size=%" PRId64 " kept=%" PRId64 " next_offset=%" PRId64, path, size,
             seg->size_bytes, seg->next_offset);
    mem_free(path);
    err = fs_truncate(seg->file, seg->size_bytes);
    return err == ERR_OK ? fs_sync(seg->file) : err;
}

static void note_epoch(struct plog *log, const struct batch_header *header)
{
    if (header->leader_epoch > epochs_latest(&log->epochs)) {
        epochs_assign(&log->epochs, header->leader_epoch, header->base_offset);
    }
}

/* What a segment is read for. */
enum reading {
    READ_INDEX,   /* it is on the disk; only its indexes are to be made */
    READ_CHECK,   /* CRCs, too */
    READ_REWRITE, /* and to write each batch again where it is */
};

/* Read a segment from its start, and make its indexes. *cut: it ends where it says now, before its
 * file does. R1, R2 */
static enum err recover_seg(struct plog *log, struct seg *seg, enum reading reading, bool *cut)
{
    struct batch_reader reader;
    struct batch_header header;
    struct bytes batch;
    int64_t next = seg->base_offset;
    int64_t good = 0;
    enum err err;
    seg_reset_indexes(seg);
    batch_reader_init(&reader, seg, 0, reading != READ_INDEX);
    while ((err = batch_reader_next(&reader, &header, &batch)) == ERR_OK) {
        if (header.magic == 2 && (header.base_offset < next || !batch_offsets_hold(&header))) {
            err = ERR_CORRUPT;
            break;
        }
        if (batch_last_offset(&header) < next ||
            batch_last_offset(&header) - seg->base_offset > INT32_MAX) {
            err = ERR_CORRUPT;
            break;
        }
        if (reading == READ_REWRITE) {
            err = fs_pwrite(seg->file, batch.data, batch.size, good);
            if (err != ERR_OK) {
                break;
            }
        }
        seg_note(seg, &header, good);
        note_epoch(log, &header);
        next = batch_last_offset(&header) + 1;
        good = reader.position;
    }
    batch_reader_fini(&reader);
    if (err != ERR_NOT_FOUND && err != ERR_CORRUPT) {
        return err;
    }
    *cut = good < seg->size_bytes;
    seg_publish(seg, good, next); /* the indexes know nothing behind it */
    return ERR_OK;
}

static bool is_missing(struct plog *log, const struct seg *seg, const char *extension)
{
    char *path = seg_path(seg, extension);
    struct fs_stat stat;
    bool missing = fs_stat(log->fs, path, &stat) == ERR_NOT_FOUND;
    mem_free(path);
    return missing;
}

static bool indexes_missing(struct plog *log, const struct seg *seg)
{
    return seg->size_bytes > 0 &&
           (is_missing(log, seg, "index") || is_missing(log, seg, "timeindex"));
}

/* A finished segment that is on the disk, as the recovery point says, has lost its indexes. Where
 * it is damaged they know nothing behind that, but all of it stays, and so does what follows: the
 * damage is for whoever reads there to find, as where the indexes are not lost. */
static enum err remake_indexes(struct plog *log, struct seg *seg, int64_t next_base)
{
    int64_t size = seg->size_bytes;
    bool damaged = false;
    enum err err = recover_seg(log, seg, READ_INDEX, &damaged);
    if (err != ERR_OK) {
        return err;
    }
    if (damaged) {
        char *path = seg_path(seg, "log");
        log_warn(LOGGER, "a segment is damaged before the recovery point",
                 "file=%s position=%" PRId64 " offset=%" PRId64, path, seg->size_bytes,
                 seg->next_offset);
        mem_free(path);
    }
    seg_publish(seg, size, next_base);
    err = seg_save_indexes(seg);
    if (err == ERR_OK) {
        err = seg_sync(seg);
    }
    return err == ERR_OK ? fs_sync_dir(log->fs, log->dir->chars) : err;
}

/* Find out where a segment ends and what it holds. *cut: nothing behind it can be kept. */
static enum err load_seg(struct plog *log, struct seg *seg, int64_t next_base,
                         const struct plog_options *options, bool *cut)
{
    bool last = next_base == INT64_MAX;
    bool durable = options->clean || next_base <= options->recovery_point;
    if (durable && !indexes_missing(log, seg)) {
        if (!last) {
            seg_publish(seg, seg->size_bytes, next_base);
            return ERR_OK;
        }
        if (seg_find_end(seg) == ERR_OK) {
            return ERR_OK;
        }
    } else if (durable && !last) {
        return remake_indexes(log, seg, next_base);
    }
    if (!durable) {
        epochs_truncate_end(&log->epochs, seg->base_offset); /* all batches from here on are read */
    }
    enum reading reading = durable ? READ_INDEX : options->rewrite ? READ_REWRITE : READ_CHECK;
    enum err err = recover_seg(log, seg, reading, cut);
    if (err == ERR_OK) {
        err = seg_cut_aborted(seg, seg->next_offset);
    }
    if (err == ERR_OK && !last) {
        err = seg_save_indexes(seg);
    }
    bool whole = !plog_gap_is_loss(log, next_base);
    if (err == ERR_OK && !last &&
        (seg->next_offset > next_base || (seg->next_offset < next_base && !whole))) {
        *cut = true; /* R1 */
    }
    return err;
}

static enum err delete_seg(struct plog *log, struct seg *seg)
{
    char *path = seg_path(seg, "log");
    log_warn(LOGGER, "deleting a segment behind a damaged one", "file=%s", path);
    mem_free(path);
    enum err err = seg_delete_files(seg);
    seg_put(seg);
    return err == ERR_OK ? fs_sync_dir(log->fs, log->dir->chars) : err; /* R3 */
}

/* The log ends with the last segment that was opened, the `at`-th that is listed. What is behind it
 * goes, the last segment first and its own tail at the end: where that is interrupted there is
 * still a reason to go on, and no hole that could be taken for one that compaction has made. */
static enum err end_here(struct plog *log, const struct listing *listing, int32_t at)
{
    enum err err = ERR_OK;
    for (int32_t i = listing->count - 1; i > at && err == ERR_OK; i--) {
        struct seg *seg;
        err = seg_open(log->fs, log->dir, listing->bases[i], &seg);
        if (err == ERR_OK) {
            err = delete_seg(log, seg);
        }
    }
    return err == ERR_OK ? cut_tail(plog_active(log)) : err;
}

/* Open the segments in order, up to the first that has to be cut. */
static enum err load_segs(struct plog *log, const struct listing *listing,
                          const struct plog_options *options)
{
    bool cut = false;
    enum err err = ERR_OK;
    for (int32_t i = 0; i < listing->count && err == ERR_OK && !cut; i++) {
        struct seg *seg;
        err = seg_open(log->fs, log->dir, listing->bases[i], &seg);
        if (err != ERR_OK) {
            return err;
        }
        plog_push_seg(log, seg);
        seg->index_interval_bytes = (int32_t)log->config->config.index_interval_bytes;
        seg->created_ms = clock_wall_ms(log->clock);
        int64_t next_base = i + 1 < listing->count ? listing->bases[i + 1] : INT64_MAX;
        err = load_seg(log, seg, next_base, options, &cut);
        if (err == ERR_OK && cut) {
            err = end_here(log, listing, i);
        }
    }
    return err;
}

/* ---- the whole ---- */

static enum err load_epochs(struct plog *log)
{
    struct epoch_entry *entries;
    int32_t count;
    char *path = plog_epochs_path(log);
    enum err err = epoch_checkpoint_read(log->fs, path, &entries, &count);
    if (err == ERR_OK) {
        epochs_load(&log->epochs, entries, count);
        mem_free(entries);
    } else if (err == ERR_CORRUPT) {
        log_warn(LOGGER, "skipping damaged leader epochs", "file=%s", path);
        err = ERR_OK;
    }
    mem_free(path);
    return err == ERR_NOT_FOUND ? ERR_OK : err;
}

/* The checkpoint does not count where a lower one is known (shorten.c). */
static int64_t start_told(const struct plog *log, const struct plog_options *options)
{
    return atomic_load(&log->start_lowered) > 0 ? atomic_load(&log->lowered_to)
                                                : options->log_start_offset;
}

/* Ends that disagree: a log that ends before its own start holds nothing that may be served. */
static enum err settle_bounds(struct plog *log, const struct plog_options *options)
{
    int64_t end = plog_active(log)->next_offset;
    int64_t start = log->segs[0]->base_offset;
    start = start_told(log, options) > start ? start_told(log, options) : start;
    atomic_store(&log->offset_end, end);
    atomic_store(&log->log_start, start);
    int64_t point = options->clean                  ? end
                    : options->recovery_point < end ? options->recovery_point
                                                    : end;
    atomic_store(&log->recovery_point, point > 0 ? point : 0);
    log->point_written = options->recovery_point;
    if (end < start) {
        log_warn(LOGGER, "log ends before its start offset, starting anew",
                 "dir=%s end=%" PRId64 " start=%" PRId64, log->dir->chars, end, start);
        return plog_restart_at(log, start);
    }
    epochs_truncate_end(&log->epochs, end);
    epochs_truncate_start(&log->epochs, start);
    return ERR_OK;
}

/* ---- leader epochs that no file has ----
 *
 * It was damaged, or is not there, which a follower must not pay for: without epochs it cannot be
 * told where its log and the leader's differ. */

/* Is there one in the log's last batch that is not known? Or any, where nothing is known of more
 * than one segment? */
static bool epochs_missing(struct plog *log, bool none_loaded)
{
    struct batch_header header;
    struct seg *last = log->segs_count > 0 ? plog_active(log) : NULL;
    if (last == NULL) {
        return false;
    }
    return (none_loaded && log->segs_count > 1) ||
           (last->size_bytes > 0 && seg_header_at(last, last->hint_position, &header) == ERR_OK &&
            header.leader_epoch > epochs_latest(&log->epochs));
}

/* A damage is for whoever reads there to find. */
static enum err walk_epochs(struct plog *log, struct seg *seg)
{
    struct batch_header header;
    int64_t position = 0;
    enum err err = ERR_OK;
    while (position < seg->size_bytes && (err = seg_header_at(seg, position, &header)) == ERR_OK &&
           header.base_offset >= seg->base_offset) {
        note_epoch(log, &header);
        position += (int64_t)batch_size_bytes(&header);
    }
    return err == ERR_CORRUPT || err == ERR_NOT_FOUND ? ERR_OK : err;
}

/* A segment behind which the epoch goes on that it begins with has no other. */
static enum err reread_epochs(struct plog *log)
{
    enum err err = ERR_OK;
    epochs_truncate_end(&log->epochs, 0);
    for (int32_t i = 0; i < log->segs_count && err == ERR_OK; i++) {
        struct batch_header first = {0};
        struct batch_header next = {0};
        bool same = i + 1 < log->segs_count && seg_header_at(log->segs[i], 0, &first) == ERR_OK &&
                    seg_header_at(log->segs[i + 1], 0, &next) == ERR_OK &&
                    first.leader_epoch == next.leader_epoch;
        if (same) {
            note_epoch(log, &first);
        } else {
            err = walk_epochs(log, log->segs[i]);
        }
    }
    if (epochs_latest(&log->epochs) >= 0) {
        log_warn(LOGGER, "took leader epochs from the batches", "dir=%s", log->dir->chars);
    }
    return err;
}

static enum err load_files(struct plog *log, const struct plog_options *options)
{
    struct listing listing = {0};
    bool none_loaded = false;
    enum err err = fs_mkdir_all(log->fs, log->dir->chars); /* durable before anything in it is */
    if (err == ERR_OK) {
        err = plog_clear_leftovers(log);
    }
    if (err == ERR_OK) {
        err = load_epochs(log);
    }
    if (err == ERR_OK) {
        none_loaded = epochs_latest(&log->epochs) < 0;
        err = plog_read_gapless(log, options->clean);
    }
    if (err == ERR_OK) {
        err = list_segs(log, &listing);
    }
    if (err == ERR_OK) {
        err = load_segs(log, &listing, options);
    }
    if (err == ERR_OK && epochs_missing(log, none_loaded)) {
        err = reread_epochs(log);
    }
    mem_free(listing.bases);
    return err;
}

enum err plog_load(struct plog *log, const struct plog_options *options, struct errmsg *msg)
{
    log->snapshot_newest = -1;
    log->gapless_from = INT64_MAX;
    bool known = options->known != NULL && options->clean;
    enum err err = known ? manifest_load(options->known, log) : ERR_NOT_FOUND;
    if (err == ERR_NOT_FOUND) {
        known = false;
        err = load_files(log, options);
        err = err == ERR_OK ? plog_find_lowered(log, options->clean) : err;
    }
    if (err == ERR_OK && log->segs_count == 0) {
        int64_t start = start_told(log, options);
        int64_t base = start > 0 ? start : 0;
        err = plog_new_seg(log, base, clock_wall_ms(log->clock));
    }
    if (err == ERR_OK) {
        err = settle_bounds(log, options);
    }
    if (err == ERR_OK && epochs_lacks(&log->epochs, plog_active(log)->base_offset)) {
        err = plog_save_epochs(log); /* F5 */
    }
    if (err == ERR_OK && known) {
        err = plog_load_known_producers(log, options->known->snapshot_newest,
                                        options->known->producers_count);
    } else if (err == ERR_OK) {
        err = plog_load_producers(log, options->clean);
    }
    if (err != ERR_OK) {
        errmsg_set(msg, "cannot open the log: %s", err_text(err));
    }
    return err;
}
