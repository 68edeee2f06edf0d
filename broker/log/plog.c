#include "log/plog.h"

#include <inttypes.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/must.h"
#include "base/ref.h"
#include "log/flusher.h"
#include "log/plog_internal.h"
#include "record/msgset.h"

#define LOGGER "kafka.log.UnifiedLog"

/* ---- life ---- */

static void plog_free(struct plog *log)
{
    for (int32_t i = 0; i < log->segs_count; i++) {
        seg_put(log->segs[i]);
    }
    view_put(log->view);
    producers_clear(&log->producers);
    flusher_release(log->flusher);
    epochs_fini(&log->epochs);
    pthread_mutex_destroy(&log->lock);
    mem_free(log->segs);
    text_put(log->dir);
    text_put(log->topic);
    shelf_config_put(log->config);
    shelf_put(log->shelf);
    mem_free(log);
}

struct plog *plog_hold(struct plog *log)
{
    ref_hold(&log->count);
    return log;
}

void plog_release(struct plog *log)
{
    if (ref_drop(&log->count)) {
        plog_free(log);
    }
}

enum err plog_open(const struct plog_options *options, struct plog **out, struct errmsg *msg)
{
    struct plog *log = mem_new(struct plog);
    atomic_init(&log->count, 1);
    log->fs = options->fs;
    log->clock = options->clock;
    log->reaper = options->reaper;
    log->flusher = flusher_hold(options->flusher);
    atomic_init(&log->names_made, 1); /* what is there may not be durable yet */
    log->dir = text_new(str_of(options->dir));
    log->shelf = shelf_hold(options->shelf);
    log->topic = shelf_name(log->shelf, options->topic);
    log->partition = options->partition;
    log->config = shelf_config(log->shelf, &options->config);
    log->producer_expiration_ms = options->producer_expiration_ms;
    log->on_failure = options->on_failure;
    log->arg = options->arg;
    pthread_mutex_init(&log->lock, NULL);
    epochs_init(&log->epochs);
    enum err err = plog_load(log, options, msg);
    if (err != ERR_OK) {
        errmsg_wrap(msg, "%s", options->dir);
        plog_free(log);
        return err;
    }
    plog_publish_view(log);
    *out = log;
    return ERR_OK;
}

void plog_abandon(struct plog *log)
{
    if (log != NULL) {
        atomic_store(&log->deleted, true);
        plog_release(log);
    }
}

enum err plog_fail(struct plog *log, enum err err, const char *what)
{
    if (!atomic_exchange(&log->failed, true) && !atomic_load(&log->deleted)) {
        log_error(LOGGER, "log failed", "dir=%s doing=\"%s\" error=%s", log->dir->chars, what,
                  err_text(err));
        if (log->on_failure != NULL) {
            log->on_failure(log->arg, err);
        }
    }
    return ERR_KAFKA_STORAGE_ERROR;
}

void plog_take_offline(struct plog *log)
{
    atomic_store(&log->failed, true);
}

void plog_unreadable(struct plog *log, const struct view *view, enum err err)
{
    if (strcmp(view->segs[0]->dir->chars, log->dir->chars) == 0) {
        (void)plog_fail(log, err, "read");
    }
}

/* ---- published ---- */

int64_t plog_offset_end(const struct plog *log)
{
    return atomic_load_explicit(&log->offset_end, memory_order_acquire);
}

int64_t plog_log_start(const struct plog *log)
{
    return atomic_load_explicit(&log->log_start, memory_order_acquire);
}

int64_t plog_recovery_point(const struct plog *log)
{
    return atomic_load_explicit(&log->recovery_point, memory_order_acquire);
}

bool plog_failed(const struct plog *log)
{
    return atomic_load_explicit(&log->failed, memory_order_acquire);
}

const char *plog_dir(const struct plog *log)
{
    return log->dir->chars;
}

struct str plog_topic(const struct plog *log)
{
    return str_of(log->topic->chars);
}

struct text *plog_topic_hold(const struct plog *log)
{
    return text_hold(log->topic);
}

int32_t plog_partition(const struct plog *log)
{
    return log->partition;
}

int64_t plog_delete_delay_ms(const struct plog *log)
{
    return log->config->config.file_delete_delay_ms;
}

struct epochs *plog_epochs(struct plog *log)
{
    return &log->epochs;
}

struct view *plog_view_get(struct plog *log)
{
    pthread_mutex_lock(&log->lock);
    struct view *view = view_hold(log->view);
    pthread_mutex_unlock(&log->lock);
    return view;
}

void plog_publish_view(struct plog *log)
{
    struct view *fresh = view_new(log->segs, log->segs_count);
    pthread_mutex_lock(&log->lock);
    struct view *old = log->view;
    log->view = fresh;
    pthread_mutex_unlock(&log->lock);
    view_put(old);
}

int64_t plog_size_bytes(struct plog *log)
{
    struct view *view = plog_view_get(log);
    int64_t total = 0;
    for (int32_t i = 0; i < view->segs_count; i++) {
        int64_t size;
        int64_t next_offset;
        seg_bounds(view->segs[i], &size, &next_offset);
        total += size;
    }
    view_put(view);
    return total;
}

/* ---- segments ---- */

void plog_push_seg(struct plog *log, struct seg *seg)
{
    if (log->segs_count == log->segs_capacity) {
        log->segs_capacity = log->segs_capacity > 0 ? log->segs_capacity * 2 : 2;
        log->segs = mem_realloc(log->segs, (size_t)log->segs_capacity * sizeof(seg));
    }
    log->segs[log->segs_count++] = seg;
}

/* A share of the roll time, so that the logs of a topic do not all roll at once: fixed per segment.
 */
static int64_t jitter_of(const struct plog *log, int64_t base_offset)
{
    if (log->config->config.segment_jitter_ms <= 0) {
        return 0;
    }
    uint64_t hash = bytes_hash(log->dir->chars, strlen(log->dir->chars), (uint64_t)base_offset);
    return (int64_t)(hash % (uint64_t)log->config->config.segment_jitter_ms);
}

enum err plog_new_seg(struct plog *log, int64_t base_offset, int64_t now_ms)
{
    struct seg *seg;
    enum err err = seg_create(log->fs, log->dir, base_offset, now_ms, &seg);
    if (err != ERR_OK) {
        return err;
    }
    seg->index_interval_bytes = (int32_t)log->config->config.index_interval_bytes;
    atomic_fetch_add(&log->names_made, 1);
    plog_push_seg(log, seg);
    log->roll_jitter_ms = jitter_of(log, base_offset);
    return ERR_OK;
}

char *plog_epochs_path(const struct plog *log)
{
    return mem_printf("%s/leader-epoch-checkpoint", log->dir->chars);
}

enum err plog_save_epochs(struct plog *log)
{
    if (!epochs_changed(&log->epochs)) {
        return ERR_OK;
    }
    char *path = plog_epochs_path(log);
    enum err err = epochs_save(&log->epochs, log->fs, path);
    mem_free(path);
    return err;
}

/* Go on in a segment that begins at `base_offset`: at the log's end, or behind it. */
static enum err roll_to(struct plog *log, int64_t base_offset, int64_t now_ms)
{
    struct seg *active = plog_active(log);
    enum err err = seg_save_indexes(active);
    plog_flush_void(log); /* F1: it would not have seen the indexes */
    if (err == ERR_OK) {
        err = plog_sync_finished(log, active);
    }
    if (err == ERR_OK) {
        err = plog_write_snapshot(log);
    }
    if (err == ERR_OK) {
        err = plog_save_epochs(log); /* F5 */
    }
    if (err == ERR_OK) {
        err = plog_begin_behind(log, base_offset);
    }
    if (err == ERR_OK) {
        err = plog_new_seg(log, base_offset, now_ms);
    }
    if (err != ERR_OK) {
        return plog_fail(log, err, "roll");
    }
    log->ends_in_gap = false;
    plog_flush_finished(log);
    plog_publish_view(log);
    log_info(LOGGER, "rolled", "dir=%s base_offset=%" PRId64, log->dir->chars, base_offset);
    return ERR_OK;
}

enum err plog_roll(struct plog *log, int64_t now_ms)
{
    int64_t end = plog_offset_end(log);
    if (atomic_load(&log->failed)) {
        return ERR_KAFKA_STORAGE_ERROR;
    }
    return plog_active(log)->base_offset == end ? ERR_OK /* empty */ : roll_to(log, end, now_ms);
}

enum err plog_end_at(struct plog *log, int64_t offset, int64_t now_ms)
{
    must(offset >= plog_offset_end(log));
    must(offset > plog_active(log)->base_offset);
    enum err err = roll_to(log, offset, now_ms);
    if (err == ERR_OK) {
        atomic_store_explicit(&log->offset_end, offset, memory_order_release);
    }
    return err;
}

/* ---- appending ---- */

/* An index has 32 bits for the distance from its segment's base. */
static bool offset_fits(int64_t base_offset, const struct batch_header *header)
{
    return batch_last_offset(header) - base_offset <= INT32_MAX;
}

/* Must the batch begin a new segment? `size` is that of the active one, with what has been gathered
 * for it. */
static bool must_roll(struct plog *log, int64_t size, const struct batch_header *header,
                      int64_t now_ms)
{
    const struct seg *active = plog_active(log);
    const struct topic_config *config = &log->config->config;
    if (!offset_fits(active->base_offset, header)) {
        return true;
    }
    if (size == 0) {
        return false;
    }
    if (size > config->segment_bytes - (int64_t)batch_size_bytes(header) ||
        seg_indexes_full(active, config->segment_index_bytes)) {
        return true;
    }
    int64_t limit_ms = config->segment_ms - log->roll_jitter_ms;
    int64_t waited_ms = active->first_timestamp_ms >= 0 && header->max_timestamp_ms >= 0
                            ? header->max_timestamp_ms - active->first_timestamp_ms
                            : now_ms - active->created_ms;
    return waited_ms > limit_ms;
}

/* Batches gathered for one write to the active segment. */
struct gather {
    struct iovec parts[PLOG_BATCHES_MAX];
    int count;
    int64_t size_bytes;
    int64_t next_offset;
};

static enum err gather_write(struct plog *log, struct gather *gather)
{
    if (gather->count == 0) {
        return ERR_OK;
    }
    struct seg *active = plog_active(log);
    int64_t position = active->size_bytes;
    enum err err = fs_pwritev(active->file, gather->parts, gather->count, position);
    if (err != ERR_OK) {
        return plog_fail(log, err, "append");
    }
    seg_publish(active, position + gather->size_bytes, gather->next_offset);
    atomic_store_explicit(&log->offset_end, gather->next_offset, memory_order_release);
    gather->count = 0;
    gather->size_bytes = 0;
    return ERR_OK;
}

/* Offsets, epoch and time into the batch; into its header too. */
static void stamp(struct plog *log, struct plog_batch *batch, int64_t base_offset,
                  int32_t leader_epoch, int64_t now_ms)
{
    batch_patch_offset_epoch(batch->data, base_offset, leader_epoch);
    batch->header.base_offset = base_offset;
    batch->header.leader_epoch = leader_epoch;
    batch->append_time_ms = -1;
    if (log->config->config.message_timestamp_type == TOPIC_LOG_APPEND_TIME) {
        batch_patch_append_time(batch->data, now_ms);
        batch->header.max_timestamp_ms = now_ms;
        batch->header.attributes |= BATCH_ATTR_LOG_APPEND_TIME;
        batch->append_time_ms = now_ms;
    }
    batch->base_offset = base_offset;
    batch->last_offset = batch_last_offset(&batch->header);
}

enum err plog_begin_epoch(struct plog *log, int32_t epoch)
{
    if (atomic_load(&log->failed)) {
        return ERR_KAFKA_STORAGE_ERROR;
    }
    epochs_assign(&log->epochs, epoch, plog_offset_end(log));
    return ERR_OK;
}

/* Clients give up for it, and what they say does not tell what was there. */
static void say_out_of_order(const struct plog *log, const struct batch_header *header)
{
    static struct log_limit limit;
    log_limited(&limit, LOG_INFO, LOGGER, "a batch is out of order",
                "dir=%s producer=%" PRId64 " epoch=%d sequence=%d last=%d", log->dir->chars,
                header->producer_id, header->producer_epoch, header->base_sequence,
                producers_last_sequence(&log->producers, header->producer_id));
}

/* Is the batch to be written? Sets its result otherwise. */
static bool admit(struct plog *log, struct plog_batch *batch)
{
    struct producers_duplicate duplicate;
    batch->err = producers_check(&log->producers, &batch->header, batch->origin, &duplicate);
    if (batch->err == ERR_OK && duplicate.found) {
        batch->base_offset = duplicate.base_offset;
        batch->last_offset = duplicate.last_offset;
        batch->append_time_ms = duplicate.timestamp_ms;
        return false;
    }
    if (batch->err == ERR_OUT_OF_ORDER_SEQUENCE_NUMBER) {
        say_out_of_order(log, &batch->header);
    }
    if (batch->err == ERR_OK && batch->size > (size_t)log->config->config.segment_bytes) {
        batch->err = ERR_RECORD_LIST_TOO_LARGE;
    }
    return batch->err == ERR_OK;
}

/* Enter one batch, already stamped, behind what was gathered. */
static enum err enter(struct plog *log, struct gather *gather, const struct batch_header *header,
                      const uint8_t *data, size_t size, int64_t now_ms)
{
    epochs_assign(&log->epochs, header->leader_epoch, header->base_offset);
    int64_t position = plog_active(log)->size_bytes + gather->size_bytes;
    if (must_roll(log, position, header, now_ms)) {
        enum err err = gather_write(log, gather);
        int64_t end = plog_offset_end(log);
        if (err == ERR_OK) { /* a leader that compacts may have left a gap that no segment spans */
            err = roll_to(log, offset_fits(end, header) ? end : header->base_offset, now_ms);
        }
        if (err != ERR_OK) {
            return err;
        }
        position = 0;
    }
    log->ends_in_gap = false;
    seg_note(plog_active(log), header, position);
    producers_update(&log->producers, header);
    gather->parts[gather->count++] = (struct iovec){(void *)(uintptr_t)data, size};
    gather->size_bytes += (int64_t)size;
    gather->next_offset = batch_last_offset(header) + 1;
    if (log->unflushed_records == 0) {
        log->unflushed_since_ms = clock_mono_ms(log->clock);
    }
    log->unflushed_records += header->record_count > 0 ? header->record_count : 1;
    return ERR_OK;
}

static void fail_rest(struct plog_batch *batches, int from, int count)
{
    for (int i = from; i < count; i++) {
        batches[i].err = ERR_KAFKA_STORAGE_ERROR;
    }
}

void plog_append_leader(struct plog *log, struct plog_batch *batches, int count,
                        int32_t leader_epoch, int64_t now_ms)
{
    struct gather gather = {.count = 0};
    must(count <= PLOG_BATCHES_MAX);
    if (atomic_load(&log->failed)) {
        fail_rest(batches, 0, count);
        return;
    }
    int64_t next = plog_offset_end(log);
    for (int i = 0; i < count; i++) {
        struct plog_batch *batch = &batches[i];
        if (!admit(log, batch)) {
            continue;
        }
        stamp(log, batch, next, leader_epoch, now_ms);
        if (enter(log, &gather, &batch->header, batch->data, batch->size, now_ms) != ERR_OK) {
            fail_rest(batches, 0, count);
            return;
        }
        next = gather.next_offset;
    }
    enum err err = gather_write(log, &gather);
    if (err != ERR_OK) {
        fail_rest(batches, 0, count);
    }
    plog_flush_due(log);
}

/* DeleteRecords may have put the leader's start within a batch. A log that is to begin there, and
 * holds nothing yet, begins with the whole batch. */
static enum err begin_with_batch(struct plog *log, struct bytes batches)
{
    struct batch_header header;
    int64_t end = plog_offset_end(log);
    bool empty = log->segs_count == 1 && log->segs[0]->size_bytes == 0;
    if (!empty || batch_read_header(batches, &header) != ERR_OK || !batch_offsets_hold(&header) ||
        header.base_offset >= end || batch_last_offset(&header) < end) {
        return ERR_OK;
    }
    return plog_restart_at(log, header.base_offset);
}

enum err plog_append_follower(struct plog *log, struct bytes batches, int64_t now_ms)
{
    struct gather gather = {.count = 0};
    enum err err =
        atomic_load(&log->failed) ? ERR_KAFKA_STORAGE_ERROR : begin_with_batch(log, batches);
    int64_t next = plog_offset_end(log);
    while (err == ERR_OK && batches.size > 0) {
        struct batch_header header;
        if (entry_read_header(batches, &header) != ERR_OK ||
            batch_size_bytes(&header) > batches.size || header.base_offset < next ||
            !batch_offsets_hold(&header) || entry_check_crc(batches) != ERR_OK) {
            err = ERR_CORRUPT;
            break;
        }
        size_t size = batch_size_bytes(&header);
        err = enter(log, &gather, &header, batches.data, size, now_ms);
        next = batch_last_offset(&header) + 1;
        batches.data += size;
        batches.size -= size;
        if (err == ERR_OK && gather.count == PLOG_BATCHES_MAX) {
            err = gather_write(log, &gather);
        }
    }
    enum err written =
        atomic_load(&log->failed) ? ERR_KAFKA_STORAGE_ERROR : gather_write(log, &gather);
    plog_flush_due(log);
    return err != ERR_OK ? err : written;
}

void plog_configure(struct plog *log, const struct topic_config *config)
{
    struct shelf_config *fresh = shelf_config(log->shelf, config);
    shelf_config_put(log->config);
    log->config = fresh;
    if (config->producer_expiration_ms > 0) {
        log->producer_expiration_ms = config->producer_expiration_ms;
    }
    plog_active(log)->index_interval_bytes = (int32_t)config->index_interval_bytes;
}

/* ---- times ---- */

static enum err find_max_time(struct view *view, int64_t *found_ms, int64_t *offset)
{
    struct seg *best = NULL;
    int64_t best_ms = INT64_MIN;
    for (int32_t i = 0; i < view->segs_count; i++) {
        int64_t size;
        int64_t next_offset;
        seg_bounds(view->segs[i], &size, &next_offset);
        int64_t ms = size > 0 ? seg_max_timestamp_ms(view->segs[i]) : INT64_MIN;
        if (ms > best_ms) {
            best = view->segs[i];
            best_ms = ms;
        }
    }
    return best != NULL ? seg_find_max_time(best, offset, found_ms) : ERR_NOT_FOUND;
}

static enum err time_result(struct plog *log, enum err err, int64_t *found_ms, int64_t *offset,
                            int32_t *epoch)
{
    if (err != ERR_OK) {
        *found_ms = -1;
        *offset = -1;
        *epoch = -1;
        return err == ERR_NOT_FOUND ? ERR_OK : err;
    }
    *epoch = epochs_at(&log->epochs, *offset);
    return ERR_OK;
}

enum err plog_offset_for_time(struct plog *log, int64_t timestamp_ms, int64_t *found_ms,
                              int64_t *offset, int32_t *epoch)
{
    struct view *view = plog_view_get(log);
    int64_t start = plog_log_start(log);
    enum err err = ERR_NOT_FOUND;
    for (int32_t i = 0; i < view->segs_count && err == ERR_NOT_FOUND; i++) {
        if (seg_largest_timestamp_ms(view->segs[i]) >= timestamp_ms) {
            err = seg_find_time(view->segs[i], timestamp_ms, start, offset, found_ms);
        }
    }
    view_put(view);
    return time_result(log, err, found_ms, offset, epoch);
}

enum err plog_offset_of_max_timestamp(struct plog *log, int64_t *found_ms, int64_t *offset,
                                      int32_t *epoch)
{
    struct view *view = plog_view_get(log);
    enum err err = find_max_time(view, found_ms, offset);
    view_put(view);
    return time_result(log, err, found_ms, offset, epoch);
}
