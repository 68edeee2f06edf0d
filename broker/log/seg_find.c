/* seg_find.c: where in a segment something is: by offset and by time. From any thread; only the
 * index and the published end are looked at under the lock, the file is read without it. */
#include "base/log.h"
#include "base/mem.h"
#include "log/seg_internal.h"
#include "record/msgset.h"

#define LOGGER "kafka.log.LogSegment"

enum {
    SEG_SCAN_MIN_BYTES = 512,
    SEG_NEAR_BYTES = 8 * 1024, /* a way that is not longer is read rather than jumped over */
};

/* Where to look, in the file. */
struct start {
    int64_t position;   /* a batch at or before the one wanted begins here */
    int64_t next;       /* the next batch that is known */
    int64_t end;        /* of the segment */
    size_t piece_bytes; /* to be read first */
};

/* The largest position known to be at or before the batch that holds `offset`. */
static int64_t index_floor(const struct seg *seg, int64_t offset)
{
    uint32_t low = 0;
    uint32_t high = seg->index_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (seg->base_offset + seg->index[middle].relative_offset <= offset) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low > 0 ? seg->index[low - 1].position : 0;
}

int64_t seg_look_back(struct seg *seg, int64_t offset, uint32_t entries)
{
    pthread_mutex_lock(&seg->lock);
    seg_load_index(seg);
    uint32_t before = 0; /* entries at or before `offset` */
    while (before < seg->index_count &&
           seg->base_offset + seg->index[before].relative_offset <= offset) {
        before++;
    }
    int64_t position = before > entries ? seg->index[before - entries - 1].position : 0;
    pthread_mutex_unlock(&seg->lock);
    return position;
}

static int64_t seg_size_bytes(struct seg *seg)
{
    int64_t size;
    int64_t next_offset;
    seg_bounds(seg, &size, &next_offset);
    return size;
}

enum err seg_header_at(struct seg *seg, int64_t position, struct batch_header *header)
{
    uint8_t bytes[BATCH_HEADER_SIZE];
    size_t got;
    enum err err = fs_pread(seg->file, bytes, sizeof(bytes), position, &got);
    if (err != ERR_OK) {
        return err;
    }
    if (got == 0) {
        return ERR_NOT_FOUND;
    }
    err = entry_read_header((struct bytes){bytes, got}, header);
    return err == ERR_AGAIN ? ERR_CORRUPT : err;
}

/* How to read: `cached` says ERR_AGAIN rather than to wait for a disk. */
static enum err read_at(const struct seg *seg, bool cached, void *to, size_t size, int64_t position,
                        size_t *got)
{
    return cached ? fs_pread_cached(seg->file, to, size, position, got)
                  : fs_pread(seg->file, to, size, position, got);
}

/* Read a piece of the file that begins with a header. A part of one may be all that is in memory.
 */
static enum err read_piece(const struct seg *seg, bool cached, uint8_t *piece, size_t size,
                           int64_t position, int64_t end, size_t *got)
{
    enum err err = read_at(seg, cached, piece, size, position, got);
    bool torn = *got < BATCH_HEADER_SIZE && position + BATCH_HEADER_SIZE <= end;
    return err == ERR_OK && cached && torn ? ERR_AGAIN : err;
}

/* Walk headers from `position` on, reading the file in pieces: small batches come many to a read.
 * The first piece is as large as the way to the next index entry, if that is near. What lies behind
 * the segment's end, as it was before reading, is none of the piece: it may be half written. */
static enum err scan(const struct seg *seg, bool cached, struct start start, int64_t offset,
                     int64_t *found, struct batch_header *header, struct seg_piece *piece)
{
    int64_t position = start.position;
    size_t want = start.piece_bytes;
    while (position < start.end) {
        if (position < piece->position ||
            position + BATCH_HEADER_SIZE > piece->position + (int64_t)piece->size) {
            enum err err =
                read_piece(seg, cached, piece->bytes, want, position, start.end, &piece->size);
            if (err != ERR_OK) {
                piece->size = 0;
                return err;
            }
            piece->position = position;
            piece->size = piece->size < (size_t)(start.end - position)
                              ? piece->size
                              : (size_t)(start.end - position);
            want = SEG_SCAN_BYTES;
        }
        size_t at = (size_t)(position - piece->position);
        enum err err =
            entry_read_header((struct bytes){piece->bytes + at, piece->size - at}, header);
        if (err != ERR_OK) {
            return ERR_CORRUPT;
        }
        if (batch_last_offset(header) >= offset) {
            *found = position;
            return ERR_OK;
        }
        position += (int64_t)batch_size_bytes(header);
    }
    return ERR_NOT_FOUND;
}

/* The entry behind the last one at or before `offset`, or where the index ends: `offset` is most
 * likely in that batch, or in one between the two. */
static int64_t index_ceiling(const struct seg *seg, int64_t floor)
{
    uint32_t low = 0;
    uint32_t high = seg->index_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (seg->index[middle].position <= floor) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < seg->index_count ? seg->index[low].position : seg->size_bytes;
}

/* Where to begin looking for `offset`; ERR_NOT_FOUND when the segment ends before, ERR_AGAIN when
 * the index would have to be read first. */
static enum err find_start(struct seg *seg, bool cached, int64_t offset, struct start *start)
{
    /* Before the lock: a reader may be holding it while it waits for the index file. */
    if (cached && !seg->index_loaded) {
        return ERR_AGAIN;
    }
    pthread_mutex_lock(&seg->lock);
    if (cached && !seg->index_loaded) { /* let go just now */
        pthread_mutex_unlock(&seg->lock);
        return ERR_AGAIN;
    }
    seg_load_index(seg);
    start->end = seg->size_bytes;
    start->position = index_floor(seg, offset);
    if (offset >= seg->hint_offset && seg->hint_position > start->position) {
        start->position = seg->hint_position;
    }
    start->next = index_ceiling(seg, start->position);
    enum err err = offset >= seg->next_offset ? ERR_NOT_FOUND : ERR_OK;
    pthread_mutex_unlock(&seg->lock);
    int64_t gap = start->next - start->position + BATCH_HEADER_SIZE;
    start->piece_bytes = SEG_SCAN_MIN_BYTES;
    if (err == ERR_OK && gap > SEG_SCAN_MIN_BYTES && gap <= SEG_SCAN_BYTES) {
        start->piece_bytes = (size_t)gap;
    }
    return err;
}

/* The whole batch at `position`, in memory. */
static enum err read_batch(struct seg *seg, int64_t position, const struct batch_header *header,
                           struct buf *out)
{
    size_t got;
    buf_clear(out);
    uint8_t *to = buf_extend(out, batch_size_bytes(header));
    enum err err = fs_pread(seg->file, to, batch_size_bytes(header), position, &got);
    if (err == ERR_OK && got < batch_size_bytes(header)) {
        err = ERR_CORRUPT;
    }
    return err;
}

/* Is there a batch at `position` that begins at or before `offset`, as the index says? Its CRC
 * tells: bytes in the middle of a batch can look like a header of the old formats. */
bool seg_index_is_right(struct seg *seg, int64_t position, int64_t offset)
{
    struct batch_header header;
    struct buf batch = {0};
    if (position == 0) {
        return true;
    }
    bool right = seg_header_at(seg, position, &header) == ERR_OK &&
                 header.base_offset >= seg->base_offset && header.base_offset <= offset &&
                 (int64_t)batch_size_bytes(&header) <= seg_size_bytes(seg) - position &&
                 read_batch(seg, position, &header, &batch) == ERR_OK &&
                 entry_check_crc((struct bytes){batch.data, batch.size}) == ERR_OK;
    buf_fini(&batch);
    return right;
}

void seg_forget_index(struct seg *seg)
{
    char *path = seg_path(seg, "index");
    log_warn(LOGGER, "an index does not fit its log and is not used", "file=%s", path);
    mem_free(path);
    pthread_mutex_lock(&seg->lock);
    seg->index_count = 0;
    seg->hint_offset = seg->base_offset;
    seg->hint_position = 0;
    pthread_mutex_unlock(&seg->lock);
}

/* Large batches each have an entry, and `offset` is mostly the first of one: the batch at the next
 * entry then, which saves the way through the one before. Is it so? */
static bool found_at_next(const struct seg *seg, bool cached, const struct start *start,
                          int64_t offset, int64_t *position, struct batch_header *header)
{
    uint8_t bytes[BATCH_HEADER_SIZE];
    size_t got;
    if (start->next - start->position <= SEG_NEAR_BYTES || start->next >= start->end ||
        read_at(seg, cached, bytes, sizeof(bytes), start->next, &got) != ERR_OK ||
        entry_read_header((struct bytes){bytes, got}, header) != ERR_OK) {
        return false;
    }
    *position = start->next;
    return header->magic == 2 && header->base_offset == offset;
}

static enum err find(struct seg *seg, bool cached, int64_t offset, int64_t *position,
                     struct batch_header *header, struct seg_piece *piece)
{
    struct start start = {0};
    piece->position = 0;
    piece->size = 0;
    enum err err = find_start(seg, cached, offset, &start);
    if (err != ERR_OK || found_at_next(seg, cached, &start, offset, position, header)) {
        return err;
    }
    err = scan(seg, cached, start, offset, position, header, piece);
    bool astray = err == ERR_CORRUPT || err == ERR_NOT_FOUND ||
                  (err == ERR_OK && (header->base_offset > offset || header->magic < 2));
    if (start.position == 0 || !astray) {
        return err;
    }
    if (cached) {
        return ERR_AGAIN; /* to look into it takes reading */
    }
    if (!seg_index_is_right(seg, start.position, offset)) {
        seg_forget_index(seg);
        start.position = 0;
        piece->size = 0;
        err = scan(seg, false, start, offset, position, header, piece);
    }
    return err;
}

enum err seg_find(struct seg *seg, int64_t offset, int64_t *position, struct batch_header *header)
{
    struct seg_piece piece; /* filled as far as it is read */
    return find(seg, false, offset, position, header, &piece);
}

/* Is it the first offset of a large batch that was written lately? What was noted of batches is
 * published only when they have been written. */
static bool find_recent(struct seg *seg, int64_t offset, struct seg_place *place)
{
    bool found = false;
    if (!seg->index_loaded) {
        return false; /* for the lock one may have to wait, see find_start() */
    }
    pthread_mutex_lock(&seg->lock);
    uint32_t noted = seg->recent != NULL ? seg->recent->noted : 0;
    uint32_t count = noted < SEG_RECENT_COUNT ? noted : SEG_RECENT_COUNT;
    for (uint32_t i = 0; i < count && !found; i++) {
        *place = seg->recent->places[i];
        found = place->base_offset == offset &&
                place->position + (int64_t)place->size_bytes <= seg->size_bytes;
    }
    pthread_mutex_unlock(&seg->lock);
    return found;
}

enum err seg_find_cached(struct seg *seg, int64_t offset, struct seg_place *place,
                         struct seg_piece *piece)
{
    struct batch_header header;
    if (find_recent(seg, offset, place)) {
        piece->size = 0;
        return ERR_OK;
    }
    enum err err = find(seg, true, offset, &place->position, &header, piece);
    if (err == ERR_OK) {
        place->base_offset = header.base_offset;
        place->size_bytes = batch_size_bytes(&header);
    }
    return err;
}

/* A position at or before the first batch whose max timestamp can reach `timestamp_ms`. */
static int64_t time_floor(struct seg *seg, int64_t timestamp_ms)
{
    pthread_mutex_lock(&seg->lock);
    seg_load_index(seg);
    uint32_t low = 0;
    uint32_t high = seg->times_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (seg->times[middle].timestamp_ms < timestamp_ms) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    /* Everything up to this entry's offset is older than wanted. It may be one of a batch that is
     * being written: what is not published is not there to be read. */
    int64_t offset = low > 0 ? seg->base_offset + seg->times[low - 1].relative_offset : 0;
    offset = offset < seg->next_offset ? offset : seg->next_offset - 1;
    int64_t position = low > 0 ? index_floor(seg, offset) : 0;
    pthread_mutex_unlock(&seg->lock);
    return position;
}

enum { INFLATED_MAX = 256 << 20 };

/* The wanted message within a compressed one of an old format. */
static enum err find_in_wrapper(struct bytes wrapper, const struct record_wanted *wanted,
                                struct record_place *place)
{
    struct buf inflated = {0};
    struct msgset_iter it;
    struct record record;
    bool found = false;
    msgset_iter_init(&it, wrapper, INFLATED_MAX, &inflated);
    while (!found && msgset_iter_next(&it, &record)) {
        found =
            record.offset >= wanted->offset_min && record.timestamp_ms >= wanted->timestamp_min_ms;
        *place = (struct record_place){record.offset, record.timestamp_ms};
    }
    enum err err = msgset_iter_end(&it);
    buf_fini(&inflated);
    return err == ERR_OK && !found ? ERR_NOT_FOUND : err;
}

/* The wanted record within one batch (or message of an old format, which is a record by itself
 * unless it is compressed). */
static enum err find_in_batch(struct seg *seg, int64_t position, const struct batch_header *header,
                              const struct record_wanted *wanted, struct record_place *place)
{
    if (header->magic < 2 && batch_codec(header) == COMPRESS_NONE) {
        *place = (struct record_place){batch_last_offset(header), header->max_timestamp_ms};
        return ERR_OK;
    }
    struct buf batch = {0};
    enum err err = read_batch(seg, position, header, &batch);
    struct bytes whole = {batch.data, batch.size};
    if (err == ERR_OK) {
        err = header->magic < 2 ? find_in_wrapper(whole, wanted, place)
                                : record_find(whole, wanted, INFLATED_MAX, place);
    }
    buf_fini(&batch);
    return err;
}

enum err seg_find_time(struct seg *seg, int64_t timestamp_ms, int64_t offset_min, int64_t *offset,
                       int64_t *found_ms)
{
    struct record_wanted wanted = {.offset_min = offset_min, .timestamp_min_ms = timestamp_ms};
    int64_t end;
    int64_t next_offset;
    int64_t position = time_floor(seg, timestamp_ms);
    seg_bounds(seg, &end, &next_offset);
    if (!seg_index_is_right(seg, position, next_offset)) {
        seg_forget_index(seg);
        position = 0;
    }
    while (position < end) {
        struct batch_header header;
        struct record_place place;
        enum err err = seg_header_at(seg, position, &header);
        if (err != ERR_OK) {
            return err;
        }
        if (header.max_timestamp_ms >= timestamp_ms && batch_last_offset(&header) >= offset_min) {
            err = find_in_batch(seg, position, &header, &wanted, &place);
            if (err == ERR_OK) {
                *offset = place.offset;
                *found_ms = place.timestamp_ms;
            }
            if (err != ERR_NOT_FOUND) {
                return err;
            }
        }
        position += (int64_t)batch_size_bytes(&header);
    }
    return ERR_NOT_FOUND;
}

enum err seg_find_max_time(struct seg *seg, int64_t *offset, int64_t *found_ms)
{
    int64_t end;
    int64_t next_offset;
    int64_t best_position = -1;
    struct batch_header best = {0};
    seg_bounds(seg, &end, &next_offset);
    for (int64_t position = 0; position < end;) {
        struct batch_header header;
        enum err err = seg_header_at(seg, position, &header);
        if (err != ERR_OK) {
            return err;
        }
        if (best_position < 0 || header.max_timestamp_ms > best.max_timestamp_ms) {
            best = header;
            best_position = position;
        }
        position += (int64_t)batch_size_bytes(&header);
    }
    if (best_position < 0) {
        return ERR_NOT_FOUND;
    }
    struct record_place place = {batch_last_offset(&best), best.max_timestamp_ms};
    enum err err = ERR_OK;
    if (best.magic == 2) {
        struct buf batch = {0};
        err = read_batch(seg, best_position, &best, &batch);
        if (err == ERR_OK) {
            err = record_find_max_timestamp((struct bytes){batch.data, batch.size}, INFLATED_MAX,
                                            &place);
        }
        buf_fini(&batch);
    }
    *offset = place.offset;
    *found_ms = place.timestamp_ms;
    return err;
}

int64_t seg_max_timestamp_ms(struct seg *seg)
{
    pthread_mutex_lock(&seg->lock);
    if (seg->max_timestamp_ms < 0 && !seg->index_loaded) {
        seg_load_last_time(seg);
    }
    int64_t largest = seg->max_timestamp_ms;
    pthread_mutex_unlock(&seg->lock);
    return largest;
}

int64_t seg_largest_timestamp_ms(struct seg *seg)
{
    int64_t largest = seg_max_timestamp_ms(seg);
    if (largest >= 0) {
        return largest;
    }
    char *path = seg_path(seg, "log");
    struct fs_stat stat = {0};
    enum err err = fs_stat(seg->fs, path, &stat);
    mem_free(path);
    return err == ERR_OK ? stat.mtime_ms : INT64_MAX;
}
