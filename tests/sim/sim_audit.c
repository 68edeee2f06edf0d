#include "sim_audit.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "record/batch.h"
#include "record/crc32c.h"
#include "sim.h"
#include "sim_parts.h"
#include "sim_record.h"

enum {
    SEGMENTS_MAX = 4096,
    SEGMENT_BYTES_MAX = 64 << 20,
    DIR_MAX_BYTES = 64,
    PATH_MAX_BYTES = 128
};

struct segments {
    int64_t bases[SEGMENTS_MAX];
    int count;
};

static enum err on_entry(void *arg, const char *name, bool is_dir)
{
    struct segments *segments = arg;
    if (!is_dir && strlen(name) == 24 && strcmp(name + 20, ".log") == 0 &&
        segments->count < SEGMENTS_MAX) {
        segments->bases[segments->count++] = strtoll(name, NULL, 10);
    }
    return ERR_OK;
}

static int by_offset(const void *a, const void *b)
{
    int64_t left = *(const int64_t *)a;
    int64_t right = *(const int64_t *)b;
    return (left > right) - (left < right);
}

static void put_id(struct audit_log *log, int64_t offset, uint64_t id)
{
    if (offset >= log->capacity) {
        int64_t capacity = offset * 2 + 64;
        log->ids = mem_realloc(log->ids, (size_t)capacity * sizeof(*log->ids));
        memset(log->ids + log->capacity, 0, (size_t)(capacity - log->capacity) * sizeof(*log->ids));
        log->capacity = capacity;
    }
    log->ids[offset] = id;
}

static bool read_records(struct bytes batch, struct audit_log *log, char problem[SIM_PROBLEM_MAX])
{
    struct record_iter it;
    struct record record;
    struct buf inflated = {0};
    enum err err = record_iter_init(&it, batch, 1 << 20, &inflated);
    while (err == ERR_OK && record_iter_next(&it, &record)) {
        uint64_t id = sim_record_read(record.value);
        if (id == 0) {
            err = ERR_CORRUPT;
            break;
        }
        put_id(log, record.offset, id);
    }
    err = err == ERR_OK ? record_iter_end(&it) : err;
    buf_fini(&inflated);
    if (err != ERR_OK) {
        snprintf(problem, SIM_PROBLEM_MAX, "a batch's records cannot be read: %s", err_name(err));
    }
    return err == ERR_OK;
}

/* One batch at the start of `rest`; its size, or 0 with a text. */
static size_t read_batch(struct bytes rest, struct audit_log *log, int32_t *epoch,
                         char problem[SIM_PROBLEM_MAX])
{
    struct batch_header header;
    if (batch_read_header(rest, &header) != ERR_OK || batch_size_bytes(&header) > rest.size) {
        snprintf(problem, SIM_PROBLEM_MAX, "no whole batch at offset %" PRId64, log->end);
        return 0;
    }
    size_t size = batch_size_bytes(&header);
    uint32_t crc =
        crc32c((struct bytes){rest.data + BATCH_AT_ATTRIBUTES, size - BATCH_AT_ATTRIBUTES});
    if (crc != header.crc) {
        snprintf(problem, SIM_PROBLEM_MAX, "the CRC of the batch at %" PRId64 " is wrong",
                 header.base_offset);
        return 0;
    }
    if (header.base_offset != log->end || header.leader_epoch < *epoch) {
        snprintf(problem, SIM_PROBLEM_MAX,
                 "batch %" PRId64 " of epoch %d follows offset %" PRId64 " of epoch %d",
                 header.base_offset, header.leader_epoch, log->end, *epoch);
        return 0;
    }
    *epoch = header.leader_epoch;
    if (!read_records((struct bytes){rest.data, size}, log, problem)) {
        return 0;
    }
    log->end = batch_last_offset(&header) + 1;
    return size;
}

static bool read_segment(struct fs *fs, const char *dir, int64_t base, struct audit_log *log,
                         int32_t *epoch, char problem[SIM_PROBLEM_MAX])
{
    char path[PATH_MAX_BYTES];
    char *data = NULL;
    size_t size = 0;
    snprintf(path, sizeof(path), "%.60s/%020" PRId64 ".log", dir, base);
    if (base != log->end) {
        snprintf(problem, SIM_PROBLEM_MAX, "segment %" PRId64 " begins where %" PRId64 " is next",
                 base, log->end);
        return false;
    }
    if (fs_read_all(fs, path, SEGMENT_BYTES_MAX, &data, &size) != ERR_OK) {
        snprintf(problem, SIM_PROBLEM_MAX, "%s cannot be read", path);
        return false;
    }
    size_t at = 0;
    size_t took = 1;
    while (at < size && took > 0) {
        took = read_batch((struct bytes){(uint8_t *)data + at, size - at}, log, epoch, problem);
        at += took;
    }
    mem_free(data);
    return took > 0;
}

static enum err on_any_entry(void *arg, const char *name, bool is_dir)
{
    (void)arg, (void)name, (void)is_dir;
    return ERR_OK;
}

/* In whichever of the log directories it is; the first one's name where it is in none. */
static bool find_dir(struct fs *fs, const char *topic, int index, char dir[DIR_MAX_BYTES])
{
    static const char *const parents[] = {"/data2", "/data"};
    for (int i = 0; i < 2; i++) {
        snprintf(dir, DIR_MAX_BYTES, "%s/%.40s-%d", parents[i], topic, index);
        if (fs_list(fs, dir, on_any_entry, NULL) == ERR_OK) {
            return true;
        }
    }
    return false;
}

bool sim_audit_exists(struct fs *fs, const char *topic, int index)
{
    char dir[DIR_MAX_BYTES];
    return find_dir(fs, topic, index, dir);
}

/* The segments of a log, in order; mem_free(). NULL with a text. A log that is not there has none.
 */
static struct segments *list_segments(struct fs *fs, const char *topic, int index,
                                      char dir[DIR_MAX_BYTES], char problem[SIM_PROBLEM_MAX])
{
    struct segments *segments = mem_new(struct segments);
    (void)find_dir(fs, topic, index, dir);
    enum err err = fs_list(fs, dir, on_entry, segments);
    if (err != ERR_OK && err != ERR_NOT_FOUND) {
        snprintf(problem, SIM_PROBLEM_MAX, "%s cannot be listed: %s", dir, err_name(err));
        mem_free(segments);
        return NULL;
    }
    if (segments->count > 1) {
        qsort(segments->bases, (size_t)segments->count, sizeof(int64_t), by_offset);
    }
    return segments;
}

bool sim_audit_bytes(struct fs *fs, const char *topic, int index, struct buf *out)
{
    char dir[DIR_MAX_BYTES];
    char problem[SIM_PROBLEM_MAX];
    struct segments *segments = list_segments(fs, topic, index, dir, problem);
    bool read = segments != NULL;
    for (int i = 0; read && i < segments->count; i++) {
        char path[PATH_MAX_BYTES];
        char *data = NULL;
        size_t size = 0;
        snprintf(path, sizeof(path), "%s/%020" PRId64 ".log", dir, segments->bases[i]);
        read = fs_read_all(fs, path, SEGMENT_BYTES_MAX, &data, &size) == ERR_OK;
        buf_put(out, data, size);
        mem_free(data);
    }
    mem_free(segments);
    return read;
}

bool sim_audit_read(struct fs *fs, const char *topic, int index, struct audit_log *out,
                    char problem[SIM_PROBLEM_MAX])
{
    char dir[DIR_MAX_BYTES];
    int32_t epoch = 0;
    *out = (struct audit_log){0};
    struct segments *segments = list_segments(fs, topic, index, dir, problem);
    bool valid = segments != NULL;
    out->begin = valid && segments->count > 0 ? segments->bases[0] : 0;
    out->end = out->begin;
    for (int i = 0; valid && i < segments->count; i++) {
        valid = read_segment(fs, dir, segments->bases[i], out, &epoch, problem);
    }
    mem_free(segments);
    return valid;
}

void sim_audit_free(struct audit_log *log)
{
    mem_free(log->ids);
}

static void compare_replicas(struct sim *sim, const char *topic, int index, bool prefix)
{
    struct buf first = {0};
    int first_id = 0;
    for (int id = 1; id <= sim->options.nodes_count && !sim->failed; id++) {
        struct buf log = {0};
        if (!sim_part_is_replica(sim, topic, index, id)) {
            continue;
        }
        if (!sim_audit_bytes(fs_sim_fs(sim->nodes[id - 1].image), topic, index, &log)) {
            sim_fail(sim, "the log of %s-%d on the disk of broker %d cannot be read", topic, index,
                     id);
        }
        size_t common = log.size < first.size ? log.size : first.size;
        /* Segments that are deleted go from each disk at its own time: what is left has one end. */
        bool trimmed = !prefix && (sim->options.trims > 0 || sim->options.retention_ms > 0);
        size_t skip_log = trimmed ? log.size - common : 0;
        size_t skip_first = trimmed ? first.size - common : 0;
        bool differ =
            first_id != 0 &&
            ((!prefix && !trimmed && log.size != first.size) ||
             (common > 0 && memcmp(log.data + skip_log, first.data + skip_first, common) != 0));
        if (differ) {
            sim_fail(sim, "the logs of %s-%d on brokers %d (%zu bytes) and %d (%zu bytes) differ",
                     topic, index, first_id, first.size, id, log.size);
        }
        if (first_id == 0 || log.size > first.size) {
            struct buf before = first;
            first = log;
            log = before;
            first_id = id;
        }
        buf_fini(&log);
    }
    buf_fini(&first);
}

void sim_audit_replicas(struct sim *sim)
{
    for (int i = 0; i < sim_parts_count(sim); i++) {
        char topic[16];
        int index;
        sim_part_name(sim, i, topic, &index);
        compare_replicas(sim, topic, index, false);
    }
    for (int i = 0; i < SIM_OFFSETS_PARTS; i++) {
        compare_replicas(sim, "__consumer_offsets", i, true);
    }
}
