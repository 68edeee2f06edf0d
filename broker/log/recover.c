/* recover.c: opening a log: which segments are there, which of them can be trusted, what they hold.
 *
 * After a clean stop everything is trusted: the last segment's end is found from its last index
 * entry on. After a crash every batch behind the recovery point is read and checked; the first that
 * is torn or damaged ends the log, and later segments go. Closed segments before it are not read.
 *
 * Source: kafka-zk-mode facts 5.7. */
#include <inttypes.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/must.h"
#include "log/plog_internal.h"
#include "record/msgset.h"

#define LOGGER "kafka.log.LogLoader"

enum { READ_AHEAD_BYTES = 1 << 20, SNAPSHOT_FILE_MAX = 64 << 20, NAME_DIGITS = 20 };

/* What is in the directory. */
struct listing {
    struct plog *log;
    int64_t *bases; /* of .log files */
    int32_t bases_count;
    int64_t *snapshots;
    int32_t snapshots_count;
};

static bool parse_name(const char *name, int64_t *offset, const char **extension)
{
    int64_t value = 0;
    for (int i = 0; i < NAME_DIGITS; i++) {
        if (name[i] < '0' || name[i] > '9' || value > (INT64_MAX - 9) / 10) {
            return false;
        }
        value = value * 10 + (name[i] - '0');
    }
    *offset = value;
    *extension = name + NAME_DIGITS;
    return name[NAME_DIGITS] == '.';
}

static void push(int64_t **items, int32_t *count, int64_t value)
{
    *items = mem_realloc(*items, ((size_t)*count + 1) * sizeof(**items));
    (*items)[(*count)++] = value;
}

static bool ends_with(const char *name, const char *end)
{
    size_t size = strlen(name);
    size_t tail = strlen(end);
    return size >= tail && strcmp(name + size - tail, end) == 0;
}

static enum err unlink_in(struct plog *log, const char *name)
{
    char *path = mem_printf("%s/%s", log->dir, name);
    enum err err = fs_unlink(log->fs, path);
    mem_free(path);
    return err == ERR_NOT_FOUND ? ERR_OK : err;
}

static enum err on_entry(void *arg, const char *name, bool is_dir)
{
    struct listing *listing = arg;
    int64_t offset;
    const char *extension;
    if (is_dir) {
        return ERR_OK;
    }
    if (ends_with(name, ".deleted") || ends_with(name, ".cleaned") || ends_with(name, ".tmp")) {
        return unlink_in(listing->log, name);
    }
    if (!parse_name(name, &offset, &extension)) {
        return ERR_OK;
    }
    if (strcmp(extension, ".log") == 0) {
        push(&listing->bases, &listing->bases_count, offset);
    } else if (strcmp(extension, ".snapshot") == 0) {
        push(&listing->snapshots, &listing->snapshots_count, offset);
    }
    return ERR_OK;
}

static int offset_order(const void *a, const void *b)
{
    int64_t left = *(const int64_t *)a;
    int64_t right = *(const int64_t *)b;
    return (left > right) - (left < right);
}

static enum err list_dir(struct plog *log, struct listing *listing)
{
    *listing = (struct listing){.log = log};
    enum err err = fs_list(log->fs, log->dir, on_entry, listing);
    if (listing->bases_count > 1) {
        qsort(listing->bases, (size_t)listing->bases_count, sizeof(int64_t), offset_order);
    }
    if (listing->snapshots_count > 1) {
        qsort(listing->snapshots, (size_t)listing->snapshots_count, sizeof(int64_t), offset_order);
    }
    return err;
}

static void listing_fini(struct listing *listing)
{
    mem_free(listing->bases);
    mem_free(listing->snapshots);
}

/* ---- reading batches one after the other ---- */

struct batch_reader {
    struct seg *seg;
    int64_t position; /* of the batch handed out last, then of the next */
    int64_t end;
    struct buf piece;
    int64_t piece_at;
};

/* The next whole entry. ERR_NOT_FOUND at the end of the file; ERR_CORRUPT when what is there is not
 * a whole, undamaged one. `check` also looks at its CRC. */
static enum err reader_next(struct batch_reader *reader, bool check, struct batch_header *header,
                            struct bytes *batch)
{
    if (reader->position >= reader->end) {
        return ERR_NOT_FOUND;
    }
    for (size_t want = READ_AHEAD_BYTES;;) {
        int64_t skip = reader->position - reader->piece_at;
        bool inside = skip >= 0 && skip < (int64_t)reader->piece.size;
        struct bytes rest = {0};
        if (inside) {
            rest = (struct bytes){reader->piece.data + skip, reader->piece.size - (size_t)skip};
            enum err err = entry_read_header(rest, header);
            if (err == ERR_CORRUPT) {
                return ERR_CORRUPT;
            }
            if (err == ERR_OK && batch_size_bytes(header) <= rest.size) {
                *batch = (struct bytes){rest.data, batch_size_bytes(header)};
                reader->position += (int64_t)batch->size;
                return check && entry_check_crc(*batch) != ERR_OK ? ERR_CORRUPT : ERR_OK;
            }
            if (err == ERR_OK && batch_size_bytes(header) > want) {
                want = batch_size_bytes(header);
            }
            if (reader->piece_at + (int64_t)reader->piece.size >= reader->end ||
                (err == ERR_OK &&
                 reader->position + (int64_t)batch_size_bytes(header) > reader->end)) {
                return ERR_CORRUPT; /* torn */
            }
        }
        size_t got;
        buf_clear(&reader->piece);
        uint8_t *to = buf_extend(&reader->piece, want);
        enum err err = fs_pread(reader->seg->file, to, want, reader->position, &got);
        if (err != ERR_OK) {
            return err;
        }
        reader->piece.size = got;
        reader->piece_at = reader->position;
        if (got == 0) {
            return ERR_CORRUPT;
        }
    }
}

/* ---- segments ---- */

/* Read a segment from its start, check every batch, make its indexes, and cut what cannot be kept.
 * *cut says that something was. */
static enum err recover_seg(struct plog *log, struct seg *seg, bool *cut)
{
    struct batch_reader reader = {.seg = seg, .end = seg->size_bytes};
    int64_t next = seg->base_offset;
    int64_t good = 0;
    enum err err;
    seg_reset_indexes(seg);
    for (;;) {
        struct batch_header header;
        struct bytes batch;
        err = reader_next(&reader, true, &header, &batch);
        if (err == ERR_OK && batch_last_offset(&header) < next) {
            err = ERR_CORRUPT; /* offsets only grow */
        }
        if (err != ERR_OK) {
            break;
        }
        seg_note(seg, &header, good);
        if (header.magic == 2) {
            epochs_assign(&log->epochs, header.leader_epoch, header.base_offset);
        }
        next = batch_last_offset(&header) + 1;
        good = reader.position;
    }
    buf_fini(&reader.piece);
    if (err != ERR_NOT_FOUND && err != ERR_CORRUPT) {
        return err;
    }
    *cut = good < seg->size_bytes;
    if (*cut) {
        log_warn(LOGGER, "cutting a torn or damaged tail",
                 "file=%s.log size=%" PRId64 " kept=%" PRId64 " next_offset=%" PRId64, seg->stem,
                 seg->size_bytes, good, next);
        return seg_truncate(seg, good, next);
    }
    seg_publish(seg, good, next);
    return ERR_OK;
}

/* The end of a segment that is trusted: walk from its last index entry. */
static enum err find_seg_end(struct seg *seg)
{
    int64_t size = seg->size_bytes;
    int64_t position = seg_load_indexes(seg);
    int64_t next = seg->base_offset;
    struct batch_header header;
    while (position < size) {
        enum err err = seg_header_at(seg, position, &header);
        if (err != ERR_OK) {
            return ERR_CORRUPT;
        }
        next = batch_last_offset(&header) + 1;
        if (seg->first_timestamp_ms < 0 && position == 0) {
            seg->first_timestamp_ms = header.max_timestamp_ms;
        }
        if (header.max_timestamp_ms > seg->max_timestamp_ms) {
            seg->max_timestamp_ms = header.max_timestamp_ms;
            seg->max_timestamp_offset = batch_last_offset(&header);
        }
        seg->hint_offset = header.base_offset;
        seg->hint_position = position;
        position += (int64_t)batch_size_bytes(&header);
    }
    if (position != size) {
        return ERR_CORRUPT; /* torn after all */
    }
    if (seg->first_timestamp_ms < 0 && size > 0 && seg_header_at(seg, 0, &header) == ERR_OK) {
        seg->first_timestamp_ms = header.max_timestamp_ms;
    }
    seg_publish(seg, size, next);
    return ERR_OK;
}

static bool index_missing(struct plog *log, const struct seg *seg)
{
    char *path = mem_printf("%s.index", seg->stem);
    struct fs_stat stat;
    bool missing = fs_stat(log->fs, path, &stat) == ERR_NOT_FOUND;
    mem_free(path);
    return missing && seg->size_bytes > 0;
}

/* Open the segments in order. Behind the first that had to be cut, the rest goes. */
static enum err load_segs(struct plog *log, const struct listing *listing,
                          const struct plog_options *options)
{
    bool cut = false;
    for (int32_t i = 0; i < listing->bases_count; i++) {
        struct seg *seg;
        enum err err = seg_open(log->fs, log->dir, listing->bases[i], &seg);
        if (err != ERR_OK) {
            return err;
        }
        if (cut) {
            log_warn(LOGGER, "deleting a segment behind a damaged one", "file=%s.log", seg->stem);
            seg_delete_files(seg);
            seg_put(seg);
            continue;
        }
        plog_push_seg(log, seg);
        seg->index_interval_bytes = (int32_t)log->config.index_interval_bytes;
        seg->created_ms = clock_wall_ms(log->clock);
        bool last = i + 1 == listing->bases_count;
        int64_t next_base = last ? INT64_MAX : listing->bases[i + 1];
        bool trusted =
            (options->clean || next_base <= options->recovery_point) && !index_missing(log, seg);
        if (trusted && !last) {
            seg_publish(seg, seg->size_bytes, next_base);
        } else if (!trusted || find_seg_end(seg) != ERR_OK) {
            err = recover_seg(log, seg, &cut);
        }
        if (err != ERR_OK) {
            return err;
        }
    }
    return ERR_OK;
}

/* ---- producer state ---- */

static enum err read_snapshot(struct plog *log, int64_t offset)
{
    char *path = plog_snapshot_path(log, offset);
    char *data;
    size_t size;
    enum err err = fs_read_all(log->fs, path, SNAPSHOT_FILE_MAX, &data, &size);
    if (err == ERR_OK) {
        err = producers_snapshot_read(log->producers, (struct bytes){(const uint8_t *)data, size});
        mem_free(data);
    }
    if (err != ERR_OK) {
        log_warn(LOGGER, "skipping a damaged snapshot", "file=%s error=%s", path, err_text(err));
        producers_clear(log->producers);
        enum err removed = fs_unlink(log->fs, path);
        (void)removed;
    }
    mem_free(path);
    return err;
}

/* Read the batches from `from` to `to` into the producer state. */
static enum err replay(struct plog *log, int64_t from, int64_t to)
{
    for (int32_t i = 0; i < log->segs_count; i++) {
        struct seg *seg = log->segs[i];
        if (seg->next_offset <= from || seg->base_offset >= to) {
            continue;
        }
        struct batch_reader reader = {.seg = seg, .end = seg->size_bytes};
        struct batch_header header;
        struct bytes batch;
        int64_t start;
        if (seg_find(seg, from, &start, &header) == ERR_OK) {
            reader.position = start;
        }
        enum err err;
        while ((err = reader_next(&reader, false, &header, &batch)) == ERR_OK) {
            if (header.magic == 2 && header.base_offset >= from && header.base_offset < to) {
                producers_update(log->producers, &header);
            }
        }
        buf_fini(&reader.piece);
        if (err != ERR_NOT_FOUND) {
            return err;
        }
    }
    return ERR_OK;
}

enum err plog_rebuild_producers(struct plog *log, int64_t offset)
{
    struct listing listing;
    producers_clear(log->producers);
    enum err err = list_dir(log, &listing);
    int64_t from = log->segs[0]->base_offset;
    for (int32_t i = listing.snapshots_count - 1; i >= 0 && err == ERR_OK; i--) {
        if (listing.snapshots[i] <= offset && read_snapshot(log, listing.snapshots[i]) == ERR_OK) {
            from = listing.snapshots[i];
            break;
        }
    }
    listing_fini(&listing);
    return err == ERR_OK ? replay(log, from, offset) : err;
}

/* After a clean stop without any snapshot nobody was idempotent. After a crash the batches say. */
static enum err load_producers(struct plog *log, const struct listing *listing, bool clean)
{
    int64_t end = plog_offset_end(log);
    for (int32_t i = 0; i < listing->snapshots_count; i++) {
        if (listing->snapshots[i] > end) {
            char *path = plog_snapshot_path(log, listing->snapshots[i]);
            enum err err = fs_unlink(log->fs, path);
            mem_free(path);
            if (err != ERR_OK && err != ERR_NOT_FOUND) {
                return err;
            }
        }
    }
    if (clean && listing->snapshots_count == 0) {
        return ERR_OK;
    }
    return plog_rebuild_producers(log, end);
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

/* Ends that disagree: a log that ends before its own start holds nothing that may be served. */
static enum err settle_bounds(struct plog *log, const struct plog_options *options)
{
    int64_t end = plog_active(log)->next_offset;
    int64_t start = log->segs[0]->base_offset;
    start = options->log_start_offset > start ? options->log_start_offset : start;
    atomic_store(&log->offset_end, end);
    atomic_store(&log->log_start, start);
    int64_t point = options->clean                  ? end
                    : options->recovery_point < end ? options->recovery_point
                                                    : end;
    atomic_store(&log->recovery_point, point > 0 ? point : 0);
    if (end < start) {
        log_warn(LOGGER, "log ends before its start offset, starting anew",
                 "dir=%s end=%" PRId64 " start=%" PRId64, log->dir, end, start);
        return plog_restart_at(log, start);
    }
    epochs_truncate_end(&log->epochs, end);
    epochs_truncate_start(&log->epochs, start);
    return ERR_OK;
}

enum err plog_load(struct plog *log, const struct plog_options *options, struct errmsg *msg)
{
    struct listing listing = {0};
    enum err err = fs_mkdir_all(log->fs, log->dir);
    if (err == ERR_OK) {
        err = list_dir(log, &listing);
    }
    if (err == ERR_OK) {
        err = load_epochs(log);
    }
    if (err == ERR_OK) {
        err = load_segs(log, &listing, options);
    }
    if (err == ERR_OK && log->segs_count == 0) {
        int64_t base = options->log_start_offset > 0 ? options->log_start_offset : 0;
        err = plog_new_seg(log, base, clock_wall_ms(log->clock));
    }
    if (err == ERR_OK) {
        err = settle_bounds(log, options);
    }
    if (err == ERR_OK) {
        err = load_producers(log, &listing, options->clean);
    }
    listing_fini(&listing);
    if (err != ERR_OK) {
        errmsg_set(msg, "cannot open the log: %s", err_text(err));
    }
    return err;
}
