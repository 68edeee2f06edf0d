#include "log/seg.h"

#include <inttypes.h>

#include "base/mem.h"
#include "base/ref.h"
#include "log/seg_internal.h"

enum { INDEX_ENTRY_BYTES = 8, TIME_ENTRY_BYTES = 12, INDEX_FILE_MAX = 256 << 20 };

char *seg_path(const struct seg *seg, const char *extension)
{
    return mem_printf("%s/%020" PRId64 ".%s", seg->dir->chars, seg->base_offset, extension);
}

static struct seg *seg_new(struct fs *fs, struct text *dir, int64_t base_offset)
{
    struct seg *seg = mem_new(struct seg);
    atomic_init(&seg->count, 1);
    pthread_mutex_init(&seg->lock, NULL);
    seg->fs = fs;
    seg->dir = text_hold(dir);
    seg->base_offset = base_offset;
    seg->next_offset = base_offset;
    seg->hint_offset = base_offset;
    seg->max_timestamp_ms = -1;
    seg->max_timestamp_offset = base_offset;
    seg->first_timestamp_ms = -1;
    return seg;
}

static enum err seg_open_file(struct seg *seg, int flags)
{
    char *path = seg_path(seg, "log");
    enum err err = fs_open(seg->fs, path, flags, &seg->file);
    if (err == ERR_OK) {
        err = fs_size(seg->file, &seg->size_bytes);
    }
    mem_free(path);
    return err;
}

enum err seg_create(struct fs *fs, struct text *dir, int64_t base_offset, int64_t now_ms,
                    struct seg **out)
{
    struct seg *seg = seg_new(fs, dir, base_offset);
    seg->created_ms = now_ms;
    seg->index_loaded = true;
    seg->index_dirty = true;
    enum err err = seg_open_file(seg, FS_WRITE | FS_CREATE | FS_TRUNCATE);
    if (err != ERR_OK) {
        seg_put(seg);
        return err;
    }
    *out = seg;
    return ERR_OK;
}

enum err seg_open(struct fs *fs, struct text *dir, int64_t base_offset, struct seg **out)
{
    struct seg *seg = seg_new(fs, dir, base_offset);
    enum err err = seg_open_file(seg, FS_WRITE);
    if (err != ERR_OK) {
        seg_put(seg);
        return err;
    }
    *out = seg;
    return ERR_OK;
}

struct seg *seg_get(struct seg *seg)
{
    ref_hold(&seg->count);
    return seg;
}

static void index_free(struct seg *seg)
{
    mem_free(seg->index);
    mem_free(seg->times);
    seg->index = NULL;
    seg->times = NULL;
    seg->index_count = seg->index_capacity = 0;
    seg->times_count = seg->times_capacity = 0;
}

void seg_put(struct seg *seg)
{
    if (seg == NULL || !ref_drop(&seg->count)) {
        return;
    }
    fs_close(seg->file);
    pthread_mutex_destroy(&seg->lock);
    index_free(seg);
    mem_free(seg->recent);
    text_put(seg->dir);
    mem_free(seg);
}

/* ---- indexes in memory; the lock is held ---- */

static void index_push(struct seg *seg, int64_t offset, int64_t position)
{
    if (seg->index_count == seg->index_capacity) {
        seg->index_capacity = seg->index_capacity > 0 ? seg->index_capacity * 2 : 16;
        seg->index = mem_realloc(seg->index, seg->index_capacity * sizeof(*seg->index));
    }
    seg->index[seg->index_count++] =
        (struct index_entry){(uint32_t)(offset - seg->base_offset), (uint32_t)position};
}

/* Records without a time (-1) have no entry. */
static void times_push(struct seg *seg, int64_t timestamp_ms, int64_t offset)
{
    int64_t last_ms = seg->times_count > 0 ? seg->times[seg->times_count - 1].timestamp_ms : -1;
    if (timestamp_ms <= last_ms) {
        return;
    }
    if (seg->times_count == seg->times_capacity) {
        seg->times_capacity = seg->times_capacity > 0 ? seg->times_capacity * 2 : 16;
        seg->times = mem_realloc(seg->times, seg->times_capacity * sizeof(*seg->times));
    }
    seg->times[seg->times_count++] =
        (struct time_entry){timestamp_ms, (uint32_t)(offset - seg->base_offset)};
}

/* Entries of an index file that make sense: growing, within the log file. What follows the first
 * that does not is left out: less index means more scanning, never a wrong answer. */
static void index_parse(struct seg *seg, struct bytes in)
{
    uint32_t last_offset = 0;
    uint32_t last_position = 0;
    for (size_t at = 0; at + INDEX_ENTRY_BYTES <= in.size; at += INDEX_ENTRY_BYTES) {
        uint32_t offset = be32_get(in.data + at);
        uint32_t position = be32_get(in.data + at + 4);
        bool first = seg->index_count == 0;
        if (offset > INT32_MAX || (int64_t)position >= seg->size_bytes ||
            (!first && (offset <= last_offset || position <= last_position)) ||
            (offset == 0 && position == 0)) {
            return;
        }
        index_push(seg, seg->base_offset + offset, position);
        last_offset = offset;
        last_position = position;
    }
}

static void times_parse(struct seg *seg, struct bytes in)
{
    for (size_t at = 0; at + TIME_ENTRY_BYTES <= in.size; at += TIME_ENTRY_BYTES) {
        int64_t timestamp_ms = (int64_t)be64_get(in.data + at);
        uint32_t offset = be32_get(in.data + at + 8);
        bool grows =
            seg->times_count == 0 || timestamp_ms > seg->times[seg->times_count - 1].timestamp_ms;
        if (offset > INT32_MAX || !grows || (timestamp_ms == 0 && offset == 0 && at > 0)) {
            return;
        }
        times_push(seg, timestamp_ms, seg->base_offset + offset);
    }
}

static void load_file(struct seg *seg, const char *extension,
                      void (*parse)(struct seg *seg, struct bytes in))
{
    char *path = seg_path(seg, extension);
    char *data;
    size_t size;
    if (fs_read_all(seg->fs, path, INDEX_FILE_MAX, &data, &size) == ERR_OK) {
        parse(seg, (struct bytes){(const uint8_t *)data, size});
        mem_free(data);
    }
    mem_free(path);
}

/* An older segment's indexes are read when first needed. Reading under the lock makes others of the
 * same segment wait, once. */
void seg_load_index(struct seg *seg)
{
    seg->index_used = true;
    if (!seg->index_loaded) {
        load_file(seg, "index", index_parse);
        load_file(seg, "timeindex", times_parse);
        const struct time_entry *last =
            seg->times_count > 0 ? &seg->times[seg->times_count - 1] : NULL;
        if (last != NULL && last->timestamp_ms > seg->max_timestamp_ms) {
            seg->max_timestamp_ms = last->timestamp_ms;
            seg->max_timestamp_offset = seg->base_offset + last->relative_offset;
        }
        seg->index_loaded = true;
    }
}

/* The largest timestamp is all that is wanted of most segments: the last entry of the time index
 * says it. (One that is all zeros is none: of preallocated space, all has to be looked at.) */
void seg_load_last_time(struct seg *seg)
{
    uint8_t entry[TIME_ENTRY_BYTES] = {0};
    struct fs_file *file;
    int64_t size;
    size_t got = 0;
    char *path = seg_path(seg, "timeindex");
    if (fs_open(seg->fs, path, FS_READ, &file) == ERR_OK) {
        if (fs_size(file, &size) != ERR_OK || size < TIME_ENTRY_BYTES ||
            fs_pread(file, entry, sizeof(entry), (size / TIME_ENTRY_BYTES - 1) * TIME_ENTRY_BYTES,
                     &got) != ERR_OK) {
            got = 0;
        }
        fs_close(file);
    }
    mem_free(path);
    int64_t timestamp_ms = got == sizeof(entry) ? (int64_t)be64_get(entry) : -1;
    if (timestamp_ms == 0) {
        seg_load_index(seg);
    } else if (timestamp_ms > seg->max_timestamp_ms) {
        seg->max_timestamp_ms = timestamp_ms;
        seg->max_timestamp_offset = seg->base_offset + be32_get(entry + 8);
    }
}

/* ---- the writer ---- */

static void recent_push(struct seg *seg, const struct batch_header *header, int64_t position)
{
    if (header->magic != 2 || batch_size_bytes(header) < SEG_RECENT_MIN_BYTES) {
        return;
    }
    if (seg->recent == NULL) {
        seg->recent = mem_new(struct seg_recent);
    }
    seg->recent->places[seg->recent->noted++ % SEG_RECENT_COUNT] =
        (struct seg_place){header->base_offset, position, batch_size_bytes(header)};
}

static void recent_forget(struct seg *seg)
{
    mem_free(seg->recent);
    seg->recent = NULL;
}

void seg_note(struct seg *seg, const struct batch_header *header, int64_t position)
{
    int64_t last_offset = batch_last_offset(header);
    pthread_mutex_lock(&seg->lock);
    seg_load_index(seg); /* of one that was opened as a manifest had it */
    if (seg->first_timestamp_ms < 0) {
        seg->first_timestamp_ms = header->max_timestamp_ms;
    }
    if (header->max_timestamp_ms > seg->max_timestamp_ms) {
        seg->max_timestamp_ms = header->max_timestamp_ms;
        seg->max_timestamp_offset = last_offset;
    }
    if (seg->bytes_since_index > seg->index_interval_bytes) {
        index_push(seg, last_offset, position);
        times_push(seg, seg->max_timestamp_ms, seg->max_timestamp_offset);
        seg->bytes_since_index = 0;
    }
    seg->bytes_since_index += (int64_t)batch_size_bytes(header);
    seg->hint_offset = header->base_offset;
    seg->hint_position = position;
    recent_push(seg, header, position);
    seg->index_dirty = true;
    pthread_mutex_unlock(&seg->lock);
}

/* Only the actor adds entries, so it may count them without the lock. */
bool seg_indexes_full(const struct seg *seg, int64_t size_bytes)
{
    return (int64_t)seg->index_count >= size_bytes / INDEX_ENTRY_BYTES ||
           (int64_t)seg->times_count >= size_bytes / TIME_ENTRY_BYTES - 1;
}

void seg_publish(struct seg *seg, int64_t size_bytes, int64_t next_offset)
{
    pthread_mutex_lock(&seg->lock);
    seg->size_bytes = size_bytes;
    seg->next_offset = next_offset;
    pthread_mutex_unlock(&seg->lock);
}

void seg_bounds(struct seg *seg, int64_t *size_bytes, int64_t *next_offset)
{
    pthread_mutex_lock(&seg->lock);
    *size_bytes = seg->size_bytes;
    *next_offset = seg->next_offset;
    pthread_mutex_unlock(&seg->lock);
}

void seg_reset_indexes(struct seg *seg)
{
    pthread_mutex_lock(&seg->lock);
    seg->index_count = 0;
    seg->times_count = 0;
    seg->index_loaded = true;
    seg->index_dirty = true;
    seg->bytes_since_index = 0;
    seg->max_timestamp_ms = -1;
    seg->max_timestamp_offset = seg->base_offset;
    seg->first_timestamp_ms = -1;
    seg->hint_offset = seg->base_offset;
    seg->hint_position = 0;
    recent_forget(seg);
    pthread_mutex_unlock(&seg->lock);
}

void seg_rest(struct seg *seg)
{
    pthread_mutex_lock(&seg->lock);
    if (seg->index_loaded && !seg->index_used && !seg->index_dirty) {
        seg->index_loaded = false;
        index_free(seg);
        recent_forget(seg);
    }
    seg->index_used = false;
    pthread_mutex_unlock(&seg->lock);
}

/* Walk from the last index entry to the end of the file: the next offset, the largest timestamp,
 * and where the newest batch is. The file is not appended to meanwhile. */
enum err seg_find_end(struct seg *seg)
{
    pthread_mutex_lock(&seg->lock);
    seg_load_index(seg);
    int64_t size = seg->size_bytes;
    int64_t position = seg->index_count > 0 ? seg->index[seg->index_count - 1].position : 0;
    pthread_mutex_unlock(&seg->lock);
    int64_t next = seg->base_offset;
    struct batch_header header;
    if (!seg_index_is_right(seg, position, INT64_MAX)) {
        return ERR_CORRUPT;
    }
    while (position < size) {
        enum err err = seg_header_at(seg, position, &header);
        if (err != ERR_OK || batch_last_offset(&header) < next ||
            batch_last_offset(&header) - seg->base_offset > INT32_MAX ||
            position + (int64_t)batch_size_bytes(&header) > size) {
            return err == ERR_IO || err == ERR_NO_FILES ? err : ERR_CORRUPT;
        }
        next = batch_last_offset(&header) + 1;
        pthread_mutex_lock(&seg->lock);
        if (header.max_timestamp_ms > seg->max_timestamp_ms) {
            seg->max_timestamp_ms = header.max_timestamp_ms;
            seg->max_timestamp_offset = batch_last_offset(&header);
        }
        seg->hint_offset = header.base_offset;
        seg->hint_position = position;
        pthread_mutex_unlock(&seg->lock);
        position += (int64_t)batch_size_bytes(&header);
    }
    if (seg->first_timestamp_ms < 0 && size > 0 && seg_header_at(seg, 0, &header) == ERR_OK) {
        seg->first_timestamp_ms = header.max_timestamp_ms;
    }
    seg_publish(seg, size, next);
    return ERR_OK;
}

/* Only entries that lead to what is left. */
static void index_cut(struct seg *seg, int64_t position, int64_t next_offset)
{
    seg_load_index(seg);
    while (seg->index_count > 0 && seg->index[seg->index_count - 1].position >= position) {
        seg->index_count--;
    }
    while (seg->times_count > 0 &&
           seg->base_offset + seg->times[seg->times_count - 1].relative_offset >= next_offset) {
        seg->times_count--;
    }
    const struct time_entry *last = seg->times_count > 0 ? &seg->times[seg->times_count - 1] : NULL;
    seg->max_timestamp_ms = last != NULL ? last->timestamp_ms : -1;
    seg->max_timestamp_offset = seg->base_offset + (last != NULL ? last->relative_offset : 0);
    seg->index_dirty = true;
    seg->bytes_since_index = 0;
}

enum err seg_truncate(struct seg *seg, int64_t position, int64_t next_offset, bool *gap)
{
    pthread_mutex_lock(&seg->lock);
    index_cut(seg, position, next_offset);
    seg->size_bytes = position;
    seg->next_offset = next_offset;
    seg->hint_offset = seg->base_offset;
    seg->hint_position = 0;
    recent_forget(seg);
    if (position == 0) {
        seg->first_timestamp_ms = -1;
    }
    pthread_mutex_unlock(&seg->lock);
    enum err err = fs_truncate(seg->file, position);
    if (err == ERR_OK) {
        err = seg_find_end(seg); /* the largest timestamp may be behind the last entry */
    }
    if (err == ERR_CORRUPT && seg->index_count > 0) {
        seg_forget_index(seg);
        err = seg_find_end(seg);
    }
    if (err == ERR_OK) {
        *gap = seg->next_offset < next_offset;
        seg_publish(seg, position, next_offset);
    }
    return err;
}

static enum err save_file(struct seg *seg, const char *extension, const struct buf *content)
{
    char *path = seg_path(seg, extension);
    struct fs_file *file;
    enum err err = fs_open(seg->fs, path, FS_WRITE | FS_CREATE | FS_TRUNCATE, &file);
    if (err == ERR_OK) {
        if (content->size > 0) {
            err = fs_pwrite(file, content->data, content->size, 0);
        }
        fs_close(file);
    }
    mem_free(path);
    return err;
}

enum err seg_save_indexes(struct seg *seg)
{
    if (!seg->index_dirty) {
        return ERR_OK;
    }
    struct buf index = {0};
    struct buf times = {0};
    pthread_mutex_lock(&seg->lock);
    if (seg->max_timestamp_ms >= 0) {
        times_push(seg, seg->max_timestamp_ms, seg->max_timestamp_offset);
    }
    for (uint32_t i = 0; i < seg->index_count; i++) {
        buf_put_be32(&index, seg->index[i].relative_offset);
        buf_put_be32(&index, seg->index[i].position);
    }
    for (uint32_t i = 0; i < seg->times_count; i++) {
        buf_put_be64(&times, (uint64_t)seg->times[i].timestamp_ms);
        buf_put_be32(&times, seg->times[i].relative_offset);
    }
    pthread_mutex_unlock(&seg->lock);
    enum err err = save_file(seg, "index", &index);
    if (err == ERR_OK) {
        err = save_file(seg, "timeindex", &times);
    }
    buf_fini(&index);
    buf_fini(&times);
    seg->index_dirty = err != ERR_OK;
    atomic_fetch_add(&seg->index_written, 1);
    return err;
}

static enum err sync_file(struct seg *seg, const char *extension)
{
    struct fs_file *file;
    char *path = seg_path(seg, extension);
    enum err err = fs_open(seg->fs, path, FS_WRITE, &file);
    if (err == ERR_OK) {
        err = fs_sync(file);
        fs_close(file);
    }
    mem_free(path);
    return err == ERR_NOT_FOUND ? ERR_OK : err; /* deleted meanwhile: nothing to keep */
}

enum err seg_sync(struct seg *seg)
{
    uint32_t written = atomic_load(&seg->index_written);
    enum err err = fs_sync(seg->file);
    if (err == ERR_OK && atomic_load(&seg->index_synced) != written) {
        err = sync_file(seg, "index");
        if (err == ERR_OK) {
            err = sync_file(seg, "timeindex");
        }
        if (err == ERR_OK) {
            atomic_store(&seg->index_synced, written);
        }
    }
    return err;
}

static const char *const extensions[SEG_FILES] = {"log", "index", "timeindex", "txnindex"};

enum err seg_delete_files(struct seg *seg)
{
    enum err err = ERR_OK;
    for (int i = 0; i < SEG_FILES && err == ERR_OK; i++) {
        char *path = seg_path(seg, extensions[i]);
        err = fs_unlink(seg->fs, path);
        err = err == ERR_NOT_FOUND ? ERR_OK : err; /* an index that was never written */
        mem_free(path);
    }
    return err;
}

enum err seg_put_aside(struct seg *seg, char *paths[SEG_FILES])
{
    enum err err = ERR_OK;
    for (int i = 0; i < SEG_FILES; i++) {
        char *path = seg_path(seg, extensions[i]);
        paths[i] = mem_printf("%s.deleted", path);
        enum err one = err == ERR_OK ? fs_rename(seg->fs, path, paths[i]) : err;
        if (one != ERR_OK) {
            mem_free(paths[i]);
            paths[i] = NULL;
            err = one == ERR_NOT_FOUND ? ERR_OK : one;
        }
        mem_free(path);
    }
    return err;
}
