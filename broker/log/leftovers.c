/* leftovers.c: what a stop in the middle of a change left in a log's directory.
 *
 *   *.deleted, *.cleaned, *.tmp   were not needed any more, or never became complete: removed
 *   *.swap                        compaction had written new segments and was about to put them in
 *                                 place of old ones: that is finished now. Where there are
 *                                 *.cleaned files too, those from the first such offset on are not
 *                                 complete and go as well: first, for without the *.cleaned they
 *                                 would look complete
 *   indexes without a .log        removed
 *
 * We do not compact yet; a directory that comes from Kafka may contain all of these.
 * Source: Kafka 3.9 in ZooKeeper mode. */
#include <inttypes.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/mem.h"
#include "log/batch_reader.h"
#include "log/plog_internal.h"

#define LOGGER "kafka.log.LogLoader"

enum { NAME_DIGITS = 20 };

static const char *const seg_extensions[] = {".index", ".timeindex", ".txnindex", ".log"};
enum { SEG_EXTENSIONS = 4 };

bool plog_parse_name(const char *name, int64_t *offset, const char **extension)
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

static bool ends_with(const char *name, const char *end)
{
    size_t size = strlen(name);
    size_t tail = strlen(end);
    return size >= tail && strcmp(name + size - tail, end) == 0;
}

static enum err find_deleted(void *found, const char *name, bool is_dir)
{
    *(bool *)found = *(bool *)found || (!is_dir && ends_with(name, ".deleted"));
    return ERR_OK;
}

bool plog_has_leftovers(struct plog *log)
{
    bool found = false;
    return log->put_aside &&
           (fs_list(log->fs, log->dir->chars, find_deleted, &found) != ERR_OK || found);
}

struct leftovers {
    struct plog *log;
    int64_t cleaned_min; /* INT64_MAX: no *.cleaned */
    char **names;        /* of everything that may be left over */
    int32_t count;
    int32_t capacity;
    int64_t *bases; /* of segments that have a .log, growing: there may be tens of thousands */
    int32_t bases_count;
};

static enum err on_entry(void *arg, const char *name, bool is_dir)
{
    struct leftovers *left = arg;
    int64_t offset;
    const char *extension;
    if (is_dir) {
        return ERR_OK;
    }
    if (ends_with(name, ".cleaned") && plog_parse_name(name, &offset, &extension) &&
        offset < left->cleaned_min) {
        left->cleaned_min = offset;
    }
    if (plog_parse_name(name, &offset, &extension) && strcmp(extension, ".log") == 0) {
        left->bases =
            mem_realloc(left->bases, ((size_t)left->bases_count + 1) * sizeof(left->bases[0]));
        left->bases[left->bases_count++] = offset;
    }
    if (left->count == left->capacity) {
        left->capacity = left->capacity > 0 ? left->capacity * 2 : 16;
        left->names = mem_realloc(left->names, (size_t)left->capacity * sizeof(left->names[0]));
    }
    left->names[left->count++] = mem_strdup(name);
    return ERR_OK;
}

static enum err unlink_name(struct plog *log, const char *name)
{
    char *path = mem_printf("%s/%s", log->dir->chars, name);
    enum err err = fs_unlink(log->fs, path);
    mem_free(path);
    return err == ERR_NOT_FOUND ? ERR_OK : err;
}

static int base_order(const void *a, const void *b)
{
    int64_t left = *(const int64_t *)a;
    int64_t right = *(const int64_t *)b;
    return (left > right) - (left < right);
}

static bool has_log(const struct leftovers *left, int64_t base)
{
    return left->bases_count > 0 && bsearch(&base, left->bases, (size_t)left->bases_count,
                                            sizeof(left->bases[0]), base_order) != NULL;
}

static bool is_garbage(const struct leftovers *left, const char *name)
{
    int64_t offset;
    const char *extension;
    if (ends_with(name, ".deleted") || ends_with(name, ".cleaned") || ends_with(name, ".tmp")) {
        return true;
    }
    if (!plog_parse_name(name, &offset, &extension)) {
        return false;
    }
    if (ends_with(name, ".swap")) {
        return offset >= left->cleaned_min;
    }
    for (int i = 0; i < SEG_EXTENSIONS - 1; i++) {
        if (strcmp(extension, seg_extensions[i]) == 0) {
            return !has_log(left, offset);
        }
    }
    return false;
}

/* Where the new segment `base`.log.swap ends. */
static enum err swap_end(struct plog *log, const char *name, int64_t base, int64_t *end)
{
    struct seg seg = {.fs = log->fs, .base_offset = base};
    struct batch_reader reader;
    struct batch_header header;
    struct bytes batch;
    char *path = mem_printf("%s/%s", log->dir->chars, name);
    enum err err = fs_open(log->fs, path, FS_READ, &seg.file);
    mem_free(path);
    if (err != ERR_OK) {
        return err;
    }
    *end = base;
    err = fs_size(seg.file, &seg.size_bytes);
    batch_reader_init(&reader, &seg, 0, false);
    while (err == ERR_OK && (err = batch_reader_next(&reader, &header, &batch)) == ERR_OK) {
        *end = batch_last_offset(&header) + 1;
    }
    batch_reader_fini(&reader);
    fs_close(seg.file);
    return err == ERR_NOT_FOUND || err == ERR_CORRUPT ? ERR_OK : err;
}

/* Old segments in [from, to) have been replaced. */
static enum err remove_replaced(const struct leftovers *left, int64_t from, int64_t to)
{
    enum err err = ERR_OK;
    for (int32_t i = 0; i < left->count && err == ERR_OK; i++) {
        int64_t offset;
        const char *extension;
        if (!plog_parse_name(left->names[i], &offset, &extension) || offset < from ||
            offset >= to) {
            continue;
        }
        for (int j = 0; j < SEG_EXTENSIONS && err == ERR_OK; j++) {
            if (strcmp(extension, seg_extensions[j]) == 0) {
                err = unlink_name(left->log, left->names[i]);
            }
        }
    }
    return err;
}

static enum err put_in_place(struct plog *log, const char *name)
{
    char *from = mem_printf("%s/%s", log->dir->chars, name);
    char *to = mem_strndup(from, strlen(from) - strlen(".swap"));
    enum err err = fs_rename(log->fs, from, to);
    mem_free(from);
    mem_free(to);
    return err;
}

static enum err finish_swaps(const struct leftovers *left)
{
    int64_t from = INT64_MAX;
    int64_t to = 0;
    bool any = false;
    enum err err = ERR_OK;
    for (int32_t i = 0; i < left->count && err == ERR_OK; i++) {
        int64_t base;
        int64_t end = 0;
        const char *extension;
        if (plog_parse_name(left->names[i], &base, &extension) &&
            strcmp(extension, ".log.swap") == 0) {
            err = swap_end(left->log, left->names[i], base, &end);
            from = base < from ? base : from;
            to = end > to ? end : to;
        }
        any = any || ends_with(left->names[i], ".swap");
    }
    if (err == ERR_OK && any) {
        log_info(LOGGER, "finishing a compaction", "dir=%s", left->log->dir->chars);
        err = remove_replaced(left, from, to);
        /* Durably: one of them beside the new ones would not fit, and take along what follows. */
        err = err == ERR_OK ? fs_sync_dir(left->log->fs, left->log->dir->chars) : err;
    }
    /* Indexes first: a .log that is in place without them would be read whole. */
    for (int pass = 0; pass < 2 && any; pass++) {
        for (int32_t i = 0; i < left->count && err == ERR_OK; i++) {
            if (ends_with(left->names[i], ".swap") &&
                (pass == 1) == ends_with(left->names[i], ".log.swap")) {
                err = put_in_place(left->log, left->names[i]);
            }
        }
    }
    return err;
}

static enum err remove_garbage(struct leftovers *left, bool swaps, bool *removed)
{
    enum err err = ERR_OK;
    *removed = false;
    for (int32_t i = 0; i < left->count && err == ERR_OK; i++) {
        char **name = &left->names[i];
        if (ends_with(*name, ".swap") == swaps && is_garbage(left, *name)) {
            err = unlink_name(left->log, *name);
            mem_free(*name);
            *name = mem_strdup("");
            *removed = true;
        }
    }
    return err;
}

enum err plog_clear_leftovers(struct plog *log)
{
    struct leftovers left = {.log = log, .cleaned_min = INT64_MAX};
    enum err err = fs_list(log->fs, log->dir->chars, on_entry, &left);
    if (left.bases_count > 1) {
        qsort(left.bases, (size_t)left.bases_count, sizeof(left.bases[0]), base_order);
    }
    bool removed = false;
    if (err == ERR_OK) {
        err = remove_garbage(&left, true, &removed);
    }
    if (err == ERR_OK && removed) {
        err = fs_sync_dir(log->fs, log->dir->chars);
    }
    if (err == ERR_OK) {
        err = remove_garbage(&left, false, &removed);
    }
    if (err == ERR_OK) {
        err = finish_swaps(&left);
    }
    for (int32_t i = 0; i < left.count; i++) {
        mem_free(left.names[i]);
    }
    mem_free(left.names);
    mem_free(left.bases);
    return err;
}
