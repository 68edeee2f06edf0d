#include "log/manifest.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "log/plog_internal.h"
#include "record/crc32c.h"

#define LOGGER "kafka.log.LogManager"

enum {
    MANIFEST_MAX = 256 << 20,
    CRC_LINE = 9, /* 8 digits and '\n' */
    NAME_MAX_BYTES = 255,
};

struct known_log {
    UT_hash_handle hh;
    struct manifest_log log;
};

struct manifest {
    struct arena arena; /* holds everything */
    struct known_log *by_name;
};

static char *path_in(const char *dir)
{
    return mem_printf("%s/" MANIFEST_NAME, dir);
}

/* ---- reading ---- */

/* Text that is taken apart; `at` is NULL once something was not as it must be. */
struct reader {
    const char *at;
    const char *end;
};

static int64_t take_number(struct reader *reader, char end)
{
    if (reader->at == NULL) {
        return 0;
    }
    char *stop;
    long long value = strtoll(reader->at, &stop, 10);
    bool good = stop != reader->at && *stop == end;
    reader->at = good ? stop + 1 : NULL;
    return good ? value : 0;
}

static struct str take_word(struct reader *reader)
{
    size_t size = reader->at != NULL ? strcspn(reader->at, " \n") : 0;
    struct str word = {reader->at, size};
    bool good = size > 0 && size <= NAME_MAX_BYTES && reader->at[size] == ' ';
    reader->at = good ? reader->at + size + 1 : NULL;
    return word;
}

/* Each takes four bytes of text at least: a count that claims more is none. */
static int32_t take_count(struct reader *reader, size_t min)
{
    int64_t count = take_number(reader, ' ');
    bool good =
        reader->at != NULL && count >= (int64_t)min && count <= (reader->end - reader->at) / 4;
    reader->at = good ? reader->at : NULL;
    return good ? (int32_t)count : 0;
}

static void take_epochs(struct reader *reader, struct arena *arena, struct manifest_log *log)
{
    log->epochs_count = take_count(reader, 0);
    struct epoch_entry *epochs =
        arena_array(arena, struct epoch_entry, (size_t)log->epochs_count + 1);
    for (int32_t i = 0; i < log->epochs_count; i++) {
        epochs[i].epoch = (int32_t)take_number(reader, ' ');
        epochs[i].start_offset = take_number(reader, ' ');
    }
    log->epochs = epochs;
}

static void take_segs(struct reader *reader, struct arena *arena, struct manifest_log *log)
{
    log->segs_count = take_count(reader, 1);
    struct manifest_seg *segs =
        arena_array(arena, struct manifest_seg, (size_t)log->segs_count + 1);
    for (int32_t i = 0; i < log->segs_count; i++) {
        segs[i].base_offset = take_number(reader, ' ');
        segs[i].size_bytes = take_number(reader, ' ');
    }
    log->segs = segs;
}

static void take_log(struct reader *reader, struct manifest *manifest)
{
    struct known_log *known = arena_new(&manifest->arena, struct known_log);
    struct manifest_log *log = &known->log;
    struct str name = take_word(reader);
    struct str id = take_word(reader);
    if (reader->at == NULL || !uuid_parse(id, &log->topic_id)) {
        reader->at = NULL;
        return;
    }
    log->name = arena_cstr(&manifest->arena, name);
    log->mtime_ms = take_number(reader, ' ');
    log->snapshot_newest = take_number(reader, ' ');
    log->producers_count = (int32_t)take_number(reader, ' ');
    take_epochs(reader, &manifest->arena, log);
    take_segs(reader, &manifest->arena, log);
    log->next_offset = take_number(reader, ' ');
    log->hint_offset = take_number(reader, ' ');
    log->hint_position = take_number(reader, ' ');
    log->max_timestamp_ms = take_number(reader, ' ');
    log->max_timestamp_offset = take_number(reader, ' ');
    log->first_timestamp_ms = take_number(reader, '\n');
    if (reader->at != NULL) {
        HASH_ADD_KEYPTR(hh, manifest->by_name, log->name, name.size, known);
    }
}

/* `data` ends with a NUL that does not count. False: it is damaged. */
static bool has_its_crc(const char *data, size_t size)
{
    char line[CRC_LINE + 1];
    if (size < CRC_LINE) {
        return false;
    }
    size_t body = size - CRC_LINE;
    snprintf(line, sizeof(line), "%08" PRIx32 "\n",
             crc32c((struct bytes){(const uint8_t *)data, body}));
    return memcmp(line, data + body, CRC_LINE) == 0 && memchr(data, 0, size) == NULL;
}

/* NULL: it is damaged, or of another stop. M2, M4 */
static struct manifest *parse(char *data, size_t size, int64_t mark_mtime_ms)
{
    if (!has_its_crc(data, size)) {
        log_warn(LOGGER, "skipping a damaged manifest", "every log is opened by itself");
        return NULL;
    }
    data[size - CRC_LINE] = '\0';
    struct reader reader = {data, data + size - CRC_LINE};
    bool fits = take_number(&reader, '\n') == 0 && take_number(&reader, '\n') == mark_mtime_ms;
    int64_t count = take_number(&reader, '\n');
    struct manifest *manifest = mem_new(struct manifest);
    for (int64_t i = 0; i < count && fits && reader.at != NULL; i++) {
        take_log(&reader, manifest);
    }
    if (!fits || reader.at == NULL || *reader.at != '\0') {
        log_info(LOGGER, "skipping a manifest", "it is of another stop, or of another version");
        manifest_free(manifest);
        return NULL;
    }
    return manifest;
}

struct manifest *manifest_read(struct fs *fs, const char *dir, int64_t mark_mtime_ms)
{
    char *path = path_in(dir);
    char *data;
    size_t size;
    struct manifest *manifest = NULL;
    if (mark_mtime_ms >= 0 && fs_read_all(fs, path, MANIFEST_MAX, &data, &size) == ERR_OK) {
        manifest = parse(data, size, mark_mtime_ms);
        mem_free(data);
    }
    mem_free(path);
    return manifest;
}

enum err manifest_remove(struct fs *fs, const char *dir, bool *removed)
{
    char *path = path_in(dir);
    enum err err = fs_unlink(fs, path); /* M1 */
    *removed = err == ERR_OK;
    mem_free(path);
    return err == ERR_NOT_FOUND ? ERR_OK : err;
}

const struct manifest_log *manifest_find(const struct manifest *manifest, struct fs *fs,
                                         const char *dir, const char *name)
{
    struct known_log *known = NULL;
    struct fs_stat st;
    if (manifest != NULL) {
        HASH_FIND(hh, manifest->by_name, name, strlen(name), known);
    }
    if (known == NULL) {
        return NULL;
    }
    char *path = mem_printf("%s/%s", dir, name);
    bool same = fs_stat(fs, path, &st) == ERR_OK && st.mtime_ms == known->log.mtime_ms; /* M3 */
    mem_free(path);
    return same ? &known->log : NULL;
}

void manifest_free(struct manifest *manifest)
{
    if (manifest != NULL) {
        HASH_CLEAR(hh, manifest->by_name);
        arena_fini(&manifest->arena);
        mem_free(manifest);
    }
}

/* ---- writing ---- */

void manifest_note(struct buf *lines, const char *name, struct uuid topic_id, struct plog *log)
{
    char id[UUID_TEXT_SIZE + 1];
    struct fs_stat st = {.mtime_ms = -1};
    enum err err = fs_stat(log->fs, log->dir->chars, &st);
    (void)err; /* then no directory fits */
    uuid_format(topic_id, id);
    buf_printf(lines, "%s %s %" PRId64 " %" PRId64, name, id, st.mtime_ms, log->snapshot_newest);
    buf_printf(lines, " %" PRId32 " %" PRId32, producers_count(&log->producers), log->epochs.count);
    for (int32_t i = 0; i < log->epochs.count; i++) {
        const struct epoch_entry *entry = &log->epochs.entries[i];
        buf_printf(lines, " %" PRId32 " %" PRId64, entry->epoch, entry->start_offset);
    }
    buf_printf(lines, " %" PRId32, log->segs_count);
    for (int32_t i = 0; i < log->segs_count; i++) {
        buf_printf(lines, " %" PRId64 " %" PRId64, log->segs[i]->base_offset,
                   log->segs[i]->size_bytes);
    }
    const struct seg *last = plog_active(log);
    buf_printf(lines, " %" PRId64 " %" PRId64 " %" PRId64 " %" PRId64 " %" PRId64 " %" PRId64 "\n",
               last->next_offset, last->hint_offset, last->hint_position, last->max_timestamp_ms,
               last->max_timestamp_offset, last->first_timestamp_ms);
}

enum err manifest_write(struct fs *fs, const char *dir, int64_t mark_mtime_ms, int32_t count,
                        const struct buf *lines)
{
    struct buf text = {0};
    char *path = path_in(dir);
    buf_printf(&text, "0\n%" PRId64 "\n%" PRId32 "\n", mark_mtime_ms, count);
    buf_put(&text, lines->data, lines->size);
    buf_printf(&text, "%08" PRIx32 "\n", crc32c((struct bytes){text.data, text.size}));
    enum err err = fs_replace(fs, path, text.data, text.size);
    buf_fini(&text);
    mem_free(path);
    return err;
}

/* ---- opening ---- */

static void drop_segs(struct plog *log)
{
    while (log->segs_count > 0) {
        seg_put(log->segs[--log->segs_count]);
    }
}

static void restore_last(const struct manifest_log *known, struct seg *seg)
{
    seg->hint_offset = known->hint_offset;
    seg->hint_position = known->hint_position;
    seg->max_timestamp_ms = known->max_timestamp_ms;
    seg->max_timestamp_offset = known->max_timestamp_offset;
    seg->first_timestamp_ms = known->first_timestamp_ms;
    seg->index_loaded = seg->size_bytes == 0; /* else with the first need */
}

enum err manifest_load(const struct manifest_log *known, struct plog *log)
{
    for (int32_t i = 0; i < known->segs_count; i++) {
        struct seg *seg;
        const struct manifest_seg *from = &known->segs[i];
        enum err err = seg_open(log->fs, log->dir, from->base_offset, &seg);
        bool same = err == ERR_OK && seg->size_bytes == from->size_bytes;
        if (err == ERR_OK) {
            plog_push_seg(log, seg);
        }
        if (!same) {
            drop_segs(log);
            return err == ERR_OK ? ERR_NOT_FOUND : err;
        }
        bool last = i + 1 == known->segs_count;
        seg->index_interval_bytes = (int32_t)log->config->config.index_interval_bytes;
        seg->created_ms = clock_wall_ms(log->clock);
        seg_publish(seg, seg->size_bytes,
                    last ? known->next_offset : known->segs[i + 1].base_offset);
    }
    restore_last(known, plog_active(log));
    atomic_store(&log->names_synced, atomic_load(&log->names_made)); /* so said the mark */
    epochs_load(&log->epochs, known->epochs, known->epochs_count);
    return ERR_OK;
}
