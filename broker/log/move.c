#include "log/move.h"

#include <inttypes.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/must.h"
#include "log/plog_internal.h"
#include "record/msgset.h"

#define LOGGER "kafka.log.LogManager"

enum { COPY_BYTES = 1 << 20 };

char *move_final_path(const char *future_path)
{
    size_t size = strlen(future_path);
    must(size > MOVE_SUFFIX_SIZE);
    return mem_strndup(future_path, size - MOVE_SUFFIX_SIZE);
}

/* ---- agreeing ---- */

/* The lower of `cut` and the first offset from `start` on where an epoch of `of` begins and the two
 * logs say different epochs. */
static int64_t first_difference(struct epochs *of, struct epochs *other, int64_t start, int64_t cut)
{
    for (int32_t i = 0; i < of->count; i++) {
        int64_t offset = of->entries[i].start_offset;
        offset = offset > start ? offset : start;
        if (offset < cut && epochs_at(of, offset) != epochs_at(other, offset)) {
            cut = offset;
        }
    }
    return cut;
}

enum err plog_agree(struct plog *to, struct plog *from)
{
    int64_t end = plog_offset_end(to);
    int64_t start = plog_log_start(from);
    int64_t cut = end < plog_offset_end(from) ? end : plog_offset_end(from);
    start = start > plog_log_start(to) ? start : plog_log_start(to);
    cut = first_difference(&to->epochs, &from->epochs, start, cut);
    cut = first_difference(&from->epochs, &to->epochs, start, cut);
    return cut < end ? plog_truncate_to(to, cut) : ERR_OK;
}

/* ---- copying ---- */

static bool holds_nothing(const struct plog *log)
{
    return log->segs_count == 1 && log->segs[0]->size_bytes == 0;
}

/* Where to go on; a log whose records have all been dropped from the other meanwhile begins anew.
 */
static int64_t copy_offset(const struct plog *to, const struct plog *from)
{
    int64_t end = plog_offset_end(to);
    int64_t start = plog_log_start(from);
    return end < start || holds_nothing(to) ? start : end;
}

static enum err read_range(const struct view_range *range, struct buf *scratch)
{
    size_t got = 0;
    buf_clear(scratch);
    uint8_t *at = buf_extend(scratch, range->size_bytes);
    enum err err = fs_pread(range->file, at, range->size_bytes, range->position, &got);
    return err == ERR_OK && got < range->size_bytes ? ERR_CORRUPT : err;
}

/* The whole batches of what was read. */
static struct bytes whole_batches(const struct buf *scratch)
{
    struct bytes all = {scratch->data, scratch->size};
    size_t size = 0;
    struct batch_header header;
    for (;;) {
        struct bytes rest = {all.data + size, all.size - size};
        if (entry_read_header(rest, &header) != ERR_OK || batch_size_bytes(&header) > rest.size) {
            return (struct bytes){all.data, size};
        }
        size += batch_size_bytes(&header);
    }
}

static enum err append_copied(struct plog *to, int64_t offset, const struct buf *scratch,
                              size_t *copied)
{
    struct bytes batches = whole_batches(scratch);
    if (batches.size == 0) {
        return ERR_CORRUPT;
    }
    enum err err = offset != plog_offset_end(to) ? plog_restart_at(to, offset) : ERR_OK;
    if (err == ERR_OK) {
        err = plog_append_follower(to, batches, clock_wall_ms(to->clock));
    }
    *copied = err == ERR_OK ? batches.size : 0;
    return err;
}

static enum err follow_start(struct plog *to, const struct plog *from)
{
    int64_t start = plog_log_start(from);
    int64_t end = plog_offset_end(to);
    return plog_set_log_start(to, start < end ? start : end);
}

enum err plog_copy(struct plog *to, struct plog *from, struct buf *scratch, size_t size_max,
                   size_t *copied)
{
    struct view_range range;
    *copied = 0;
    if (plog_failed(to)) {
        return ERR_KAFKA_STORAGE_ERROR;
    }
    int64_t end = plog_offset_end(from);
    struct view *view = plog_view_get(from);
    int64_t offset = copy_offset(to, from);
    enum err err = ERR_OK;
    if (offset < end) {
        err = view_read(view, offset, end, size_max, true, &range);
        if (err == ERR_OK && range.size_bytes > 0) {
            err = read_range(&range, scratch);
            err = err == ERR_OK ? append_copied(to, offset, scratch, copied) : err;
        }
    } else if (offset != plog_offset_end(to)) {
        err = plog_restart_at(to, offset);
    }
    view_put(view);
    return err == ERR_OK ? follow_start(to, from) : err;
}

int64_t plog_missing(struct plog *to, struct plog *from, int64_t enough)
{
    int64_t end = plog_offset_end(from);
    struct view *view = plog_view_get(from);
    int64_t offset = copy_offset(to, from);
    int64_t missing = 0;
    for (int32_t i = 0; i < view->segs_count && offset < end && missing < enough; i++) {
        int64_t size;
        int64_t next_offset;
        int64_t position = 0;
        struct batch_header header;
        seg_bounds(view->segs[i], &size, &next_offset);
        if (next_offset <= offset) {
            continue;
        }
        bool within = view->segs[i]->base_offset < offset;
        enum err err = within ? seg_find(view->segs[i], offset, &position, &header) : ERR_OK;
        if (err != ERR_OK) {
            position = err == ERR_NOT_FOUND ? size : 0;
        }
        missing += size - position;
    }
    view_put(view);
    return missing < enough ? missing : enough;
}

/* ---- taking the place ---- */

/* What is being done; the paths are its own. */
struct take_over {
    struct plog *future;
    struct plog *current;
    struct plog_options options; /* to open the log in its new place */
    char *future_path;
    char *final_path;
    char *marker;
    char *left_behind;
};

static void take_over_init(struct take_over *take, struct plog *future, struct plog *current,
                           struct flusher *flusher)
{
    const char *suffix = future->dir->chars + strlen(future->dir->chars) - MOVE_SUFFIX_SIZE;
    take->future = future;
    take->current = current;
    take->future_path = mem_strdup(future->dir->chars);
    take->final_path = move_final_path(future->dir->chars);
    take->marker = mem_printf("%s/" MOVE_COMPLETE_NAME, take->final_path);
    take->left_behind = mem_printf("%s%.33s-delete", current->dir->chars, suffix);
    take->options = (struct plog_options){
        .fs = future->fs,
        .clock = future->clock,
        .flusher = flusher,
        .reaper = future->reaper,
        .shelf = future->shelf,
        .dir = take->final_path,
        .topic = str_of(current->topic->chars),
        .partition = current->partition,
        .config = current->config->config,
        .recovery_point = plog_offset_end(current),
        .log_start_offset = plog_log_start(current),
        .clean = true,
        .producer_expiration_ms = current->producer_expiration_ms,
        .on_failure = future->on_failure,
        .arg = future->arg,
    };
}

static void take_over_fini(struct take_over *take)
{
    mem_free(take->future_path);
    mem_free(take->final_path);
    mem_free(take->marker);
    mem_free(take->left_behind);
}

/* An epoch that began at the end and has no record yet is in no batch, and in no file. */
static void take_epochs(struct plog *to, const struct plog *from)
{
    epochs_load(&to->epochs, from->epochs.entries, from->epochs.count);
    to->epochs.file_count = -1; /* its file says something else */
}

/* `to` may lack epochs without a record, and producers whose batches were deleted. */
static enum err save_state(struct plog *to, struct plog *from)
{
    struct producers own = to->producers;
    take_epochs(to, from);
    to->producers = from->producers;
    enum err err = plog_save_all(to);
    to->producers = own;
    return err;
}

/* Steps 1 and 2. */
static enum err complete(struct take_over *take)
{
    struct plog *to = take->future;
    struct buf scratch = {0};
    size_t copied = 1;
    enum err err = plog_agree(to, take->current);
    while (err == ERR_OK && copied > 0) {
        err = plog_copy(to, take->current, &scratch, COPY_BYTES, &copied);
    }
    buf_fini(&scratch);
    if (err != ERR_OK) {
        return err;
    }
    int64_t end = plog_offset_end(take->current);
    if (plog_offset_end(to) < end || to->ends_in_gap) { /* cut where compaction had left nothing */
        err = plog_end_at(to, end, clock_wall_ms(to->clock));
    }
    must(err != ERR_OK || plog_offset_end(to) == end);
    err = err == ERR_OK ? plog_flush(to) : err;
    if (err == ERR_OK) {
        err = save_state(to, take->current);
        /* Its start is the current one's, and the next checkpoint tells it. */
        err = err == ERR_OK ? plog_lowered_told(to, atomic_load(&to->start_lowered)) : err;
        char *marker = mem_printf("%s/" MOVE_COMPLETE_NAME, take->future_path);
        err = err == ERR_OK ? fs_replace(to->fs, marker, "", 0) : err;
        mem_free(marker);
        err = err == ERR_OK ? ERR_OK : plog_fail(to, err, "moving to another directory");
    }
    return err;
}

static enum err rename_durably(struct fs *fs, const char *from, const char *to)
{
    enum err err = fs_rename(fs, from, to);
    if (err == ERR_OK) {
        char *parent = mem_strndup(to, (size_t)(strrchr(to, '/') - to));
        err = fs_sync_dir(fs, parent);
        mem_free(parent);
    }
    return err;
}

/* After step 3: the next start finds out which of the two counts. */
static void give_up(struct take_over *take, enum err err, const char *why)
{
    log_error(LOGGER, "a moved log cannot be used", "dir=%s error=%s %s", take->final_path,
              err_text(err), why);
    if (take->options.on_failure != NULL) {
        take->options.on_failure(take->options.arg, err);
    }
}

/* Step 4 has failed. Where that is certain the current log takes its name back: its directory
 * works, and a start without the other one would find no log at all. */
static enum move_end take_back(struct take_over *take, enum err err)
{
    struct fs_stat stat;
    struct plog *current = take->current;
    bool certain = fs_stat(take->options.fs, take->final_path, &stat) == ERR_NOT_FOUND;
    give_up(take, err, "");
    if (certain && rename_durably(current->fs, take->left_behind, current->dir->chars) == ERR_OK) {
        atomic_store(&current->deleted, false);
        return MOVE_KEPT;
    }
    plog_take_offline(current);
    return MOVE_LOST;
}

/* The file has the last batch of each producer only; one before it may be under way once more. */
static void take_producers(struct plog *to, struct plog *from)
{
    struct producers own = to->producers;
    to->producers = from->producers;
    from->producers = own;
}

/* Step 5. */
static enum move_end open_in_place(struct take_over *take, struct plog **out)
{
    struct errmsg msg = {""};
    enum err err = plog_open(&take->options, out, &msg);
    if (err != ERR_OK) {
        give_up(take, err, msg.text);
        plog_take_offline(take->current);
        return MOVE_LOST;
    }
    must(plog_offset_end(*out) == plog_offset_end(take->current));
    take_epochs(*out, take->current);
    take_producers(*out, take->current);
    enum err gone = fs_unlink(take->options.fs, take->marker);
    (void)gone; /* outside of a -future directory it says nothing */
    return MOVE_DONE;
}

static enum move_end run_steps(struct take_over *take, struct plog **out)
{
    enum err err = plog_failed(take->current) ? ERR_KAFKA_STORAGE_ERROR : complete(take);
    if (err != ERR_OK) {
        return MOVE_KEPT;
    }
    /* A sync of it that is under way does not find its directory any more. */
    atomic_store(&take->current->deleted, true);
    err = rename_durably(take->current->fs, take->current->dir->chars,
                         take->left_behind); /* step 3 */
    if (err != ERR_OK) {
        atomic_store(&take->current->deleted, false);
        err = plog_fail(take->current, err, "moving to another directory");
        return MOVE_LOST;
    }
    err = rename_durably(take->options.fs, take->future_path, take->final_path); /* step 4 */
    return err == ERR_OK ? open_in_place(take, out) : take_back(take, err);
}

enum move_end plog_take_over(struct plog *future, struct plog *current, struct flusher *flusher,
                             struct plog **out, char **left_behind)
{
    struct take_over take;
    *out = NULL;
    *left_behind = NULL;
    take_over_init(&take, future, current, flusher);
    enum move_end end = run_steps(&take, out);
    if (end == MOVE_DONE) {
        *left_behind = take.left_behind;
        take.left_behind = NULL;
    }
    take_over_fini(&take);
    return end;
}
