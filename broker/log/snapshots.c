/* snapshots.c: the producer state of a log on disk: <offset>.snapshot holds what producers.c knows
 * when everything before that offset has been read.
 *
 * Written when a segment is finished, at a clean stop, and after a recovery, if the log has grown
 * since the last one; so at most one segment has to be read to know the producers again. Invariant:
 * no snapshot on disk describes records that the log has lost. Those behind a new end are removed,
 * durably, before anything else is appended.
 *
 * Kept are the snapshots at the segments' base offsets and the newest. Source: Kafka 3.9 in
 * ZooKeeper mode (the format: producers.h). */
#include <inttypes.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/mem.h"
#include "log/batch_reader.h"
#include "log/plog_internal.h"

#define LOGGER "kafka.log.ProducerStateManager"

enum {
    SNAPSHOT_FILE_MAX = 64 << 20,
    /* How far before a snapshot is looked for the batches that it does not hold: at least as many
     * batches as index entries, each 4 KiB of log or more apart. */
    RECALL_INDEX_ENTRIES = 32,
};

char *plog_snapshot_path(const struct plog *log, int64_t offset)
{
    return mem_printf("%s/%020" PRId64 ".snapshot", log->dir->chars, offset);
}

/* ---- which there are ---- */

struct offsets {
    int64_t *items;
    int32_t count;
};

static enum err on_entry(void *arg, const char *name, bool is_dir)
{
    struct offsets *offsets = arg;
    int64_t offset;
    const char *extension;
    if (!is_dir && plog_parse_name(name, &offset, &extension) &&
        strcmp(extension, ".snapshot") == 0) {
        offsets->items =
            mem_realloc(offsets->items, ((size_t)offsets->count + 1) * sizeof(offsets->items[0]));
        offsets->items[offsets->count++] = offset;
    }
    return ERR_OK;
}

static int offset_order(const void *a, const void *b)
{
    int64_t left = *(const int64_t *)a;
    int64_t right = *(const int64_t *)b;
    return (left > right) - (left < right);
}

/* Their offsets, growing. mem_free(out->items), also on errors. */
static enum err list_snapshots(struct plog *log, struct offsets *out)
{
    *out = (struct offsets){0};
    enum err err = fs_list(log->fs, log->dir->chars, on_entry, out);
    if (out->count > 1) {
        qsort(out->items, (size_t)out->count, sizeof(out->items[0]), offset_order);
    }
    return err;
}

static enum err unlink_snapshot(struct plog *log, int64_t offset)
{
    char *path = plog_snapshot_path(log, offset);
    enum err err = fs_unlink(log->fs, path);
    mem_free(path);
    return err == ERR_NOT_FOUND ? ERR_OK : err;
}

/* ---- removing ---- */

enum err plog_remove_snapshots_behind(struct plog *log, int64_t offset)
{
    struct offsets found;
    bool removed = false;
    enum err err = list_snapshots(log, &found);
    log->snapshot_newest = -1;
    for (int32_t i = 0; i < found.count && err == ERR_OK; i++) {
        if (found.items[i] > offset) {
            err = unlink_snapshot(log, found.items[i]);
            removed = true;
        } else {
            log->snapshot_newest = found.items[i];
        }
    }
    mem_free(found.items);
    return err == ERR_OK && removed ? fs_sync_dir(log->fs, log->dir->chars) : err;
}

static bool is_base(const struct plog *log, int64_t offset)
{
    int32_t low = 0;
    int32_t high = log->segs_count;
    while (low < high) {
        int32_t middle = low + (high - low) / 2;
        if (log->segs[middle]->base_offset < offset) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < log->segs_count && log->segs[low]->base_offset == offset;
}

/* Remove what nobody will read any more. */
static enum err prune(struct plog *log)
{
    struct offsets found;
    enum err err = list_snapshots(log, &found);
    for (int32_t i = 0; i + 1 < found.count && err == ERR_OK; i++) {
        if (!is_base(log, found.items[i])) {
            err = unlink_snapshot(log, found.items[i]);
        }
    }
    mem_free(found.items);
    return err;
}

enum err plog_snapshot_placed(struct plog *log)
{
    int64_t before = log->snapshot_newest;
    log->snapshot_newest = plog_offset_end(log);
    return before >= 0 && !is_base(log, before) ? unlink_snapshot(log, before) : ERR_OK;
}

/* ---- writing ---- */

bool plog_snapshot_content(const struct plog *log, struct buf *out)
{
    int64_t end = plog_offset_end(log);
    bool empty = end == log->segs[0]->base_offset && producers_count(&log->producers) == 0;
    if (end <= log->snapshot_newest || empty) {
        return false;
    }
    producers_snapshot_write(&log->producers, out);
    return true;
}

enum err plog_write_snapshot(struct plog *log)
{
    struct buf content = {0};
    int64_t end = plog_offset_end(log);
    if (!plog_snapshot_content(log, &content)) {
        return ERR_OK;
    }
    char *path = plog_snapshot_path(log, end);
    enum err err = fs_replace(log->fs, path, content.data, content.size);
    mem_free(path);
    buf_fini(&content);
    return err == ERR_OK ? plog_snapshot_placed(log) : err;
}

/* ---- reading ---- */

static enum err read_snapshot(struct plog *log, int64_t offset)
{
    char *path = plog_snapshot_path(log, offset);
    char *data;
    size_t size;
    enum err err = fs_read_all(log->fs, path, SNAPSHOT_FILE_MAX, &data, &size);
    if (err == ERR_OK) {
        err = producers_snapshot_read(&log->producers, (struct bytes){(const uint8_t *)data, size});
        mem_free(data);
    }
    if (err == ERR_CORRUPT || err == ERR_INVALID) {
        log_warn(LOGGER, "removing a damaged snapshot", "file=%s", path);
        err = unlink_snapshot(log, offset);
        err = err == ERR_OK ? ERR_CORRUPT : err;
    }
    mem_free(path);
    return err;
}

/* What is damaged before the recovery point is for whoever reads there to find (recover.c): of its
 * producers only what stands before it is known. */
static void report_damage(const struct seg *seg, const struct batch_reader *reader)
{
    char *path = seg_path(seg, "log");
    log_warn(LOGGER, "producers' states lack what is behind a damaged batch",
             "file=%s position=%" PRId64, path, reader->position);
    mem_free(path);
}

/* Read the batches of one segment from `from` to `to` into the producer state. */
static enum err replay_seg(struct plog *log, struct seg *seg, int64_t from, int64_t to)
{
    struct batch_reader reader;
    struct batch_header header;
    struct bytes batch;
    int64_t position = 0;
    enum err err = from > seg->base_offset ? seg_find(seg, from, &position, &header) : ERR_OK;
    if (err != ERR_OK) {
        return err == ERR_NOT_FOUND ? ERR_OK : err;
    }
    batch_reader_init(&reader, seg, position, false);
    while ((err = batch_reader_next(&reader, &header, &batch)) == ERR_OK &&
           header.base_offset < to) {
        if (header.magic == 2 && header.base_offset >= from) {
            producers_update(&log->producers, &header);
        }
    }
    if (err == ERR_CORRUPT) {
        report_damage(seg, &reader);
        err = ERR_OK;
    }
    batch_reader_fini(&reader);
    return err == ERR_NOT_FOUND ? ERR_OK : err;
}

static enum err replay(struct plog *log, int64_t from, int64_t to)
{
    enum err err = ERR_OK;
    for (int32_t i = 0; i < log->segs_count && err == ERR_OK; i++) {
        struct seg *seg = log->segs[i];
        if (seg->next_offset > from && seg->base_offset < to) {
            err = replay_seg(log, seg, from, to);
        }
    }
    return err;
}

/* The last segment that begins before `offset`; NULL. */
static struct seg *seg_before(const struct plog *log, int64_t offset)
{
    for (int32_t i = log->segs_count - 1; i >= 0; i--) {
        if (log->segs[i]->base_offset < offset) {
            return log->segs[i];
        }
    }
    return NULL;
}

/* A snapshot holds each producer's last batch only, but a producer may repeat any of its last five:
 * read the headers of the batches shortly before it. Kafka does not; there, a retry that meets a
 * restarted leader can end a producer with OUT_OF_ORDER_SEQUENCE_NUMBER. */
static void recall(struct plog *log, int64_t snapshot)
{
    struct seg *seg = producers_count(&log->producers) > 0 ? seg_before(log, snapshot) : NULL;
    if (seg == NULL) {
        return;
    }
    struct batch_reader reader;
    struct batch_header header;
    struct bytes batch;
    batch_reader_init(&reader, seg, seg_look_back(seg, snapshot - 1, RECALL_INDEX_ENTRIES), false);
    /* An error here is one for whoever reads these batches for their own sake. */
    while (batch_reader_next(&reader, &header, &batch) == ERR_OK && header.base_offset < snapshot &&
           header.magic == 2) {
        producers_recall(&log->producers, &header);
    }
    batch_reader_fini(&reader);
}

enum err plog_rebuild_producers(struct plog *log, int64_t offset)
{
    struct offsets found;
    producers_clear(&log->producers);
    log->snapshot_newest = -1;
    enum err err = list_snapshots(log, &found);
    int64_t from = log->segs[0]->base_offset;
    for (int32_t i = found.count - 1; i >= 0 && err == ERR_OK; i--) {
        if (found.items[i] > offset) {
            continue;
        }
        err = read_snapshot(log, found.items[i]);
        if (err == ERR_OK) {
            from = found.items[i];
            log->snapshot_newest = from;
            recall(log, from);
            break;
        }
        err = err == ERR_CORRUPT ? ERR_OK : err;
    }
    mem_free(found.items);
    return err == ERR_OK ? replay(log, from, offset) : err;
}

enum err plog_load_producers(struct plog *log, bool clean)
{
    int64_t end = plog_offset_end(log);
    enum err err = plog_remove_snapshots_behind(log, end);
    if (err != ERR_OK || (clean && log->snapshot_newest < 0)) {
        return err; /* a clean stop without any: nobody was idempotent */
    }
    err = plog_rebuild_producers(log, end);
    if (err == ERR_OK && !clean) {
        err = plog_write_snapshot(log);
    }
    return err == ERR_OK ? prune(log) : err;
}

enum err plog_load_known_producers(struct plog *log, int64_t snapshot, int32_t count)
{
    enum err err = ERR_OK;
    if (count > 0 && snapshot != plog_offset_end(log)) {
        return plog_load_producers(log, true);
    }
    if (count > 0) {
        err = read_snapshot(log, snapshot);
    }
    if (err == ERR_CORRUPT || err == ERR_NOT_FOUND) {
        return plog_load_producers(log, true);
    }
    if (err == ERR_OK) {
        log->snapshot_newest = snapshot;
        recall(log, snapshot);
    }
    return err;
}
