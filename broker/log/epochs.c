#include "log/epochs.h"

#include "base/mem.h"

void epochs_init(struct epochs *epochs)
{
    *epochs = (struct epochs){0};
    pthread_mutex_init(&epochs->lock, NULL);
}

void epochs_fini(struct epochs *epochs)
{
    pthread_mutex_destroy(&epochs->lock);
    mem_free(epochs->entries);
    epochs->entries = NULL;
}

/* With the lock held. */
static void push(struct epochs *epochs, int32_t epoch, int64_t offset)
{
    if (epochs->count == epochs->capacity) {
        epochs->capacity = epochs->capacity > 0 ? epochs->capacity * 2 : 1;
        epochs->entries =
            mem_realloc(epochs->entries, (size_t)epochs->capacity * sizeof(*epochs->entries));
    }
    epochs->entries[epochs->count++] = (struct epoch_entry){epoch, offset};
}

/* With the lock held: only so many are left. */
static void shorten(struct epochs *epochs, int32_t count)
{
    epochs->count = count;
    epochs->same_count = epochs->same_count < count ? epochs->same_count : count;
}

void epochs_load(struct epochs *epochs, const struct epoch_entry *entries, int32_t count)
{
    pthread_mutex_lock(&epochs->lock);
    epochs->count = 0;
    if (count > epochs->capacity) { /* not more: most logs stay as they are */
        epochs->capacity = count;
        epochs->entries = mem_realloc(epochs->entries, (size_t)count * sizeof(*epochs->entries));
    }
    for (int32_t i = 0; i < count; i++) {
        const struct epoch_entry *last =
            epochs->count > 0 ? &epochs->entries[epochs->count - 1] : NULL;
        if (last == NULL ||
            (entries[i].epoch > last->epoch && entries[i].start_offset > last->start_offset)) {
            push(epochs, entries[i].epoch, entries[i].start_offset);
        }
    }
    epochs->file_count = count;
    epochs->same_count = epochs->count == count ? count : 0;
    pthread_mutex_unlock(&epochs->lock);
}

void epochs_assign(struct epochs *epochs, int32_t epoch, int64_t offset)
{
    if (epoch < 0) {
        return;
    }
    pthread_mutex_lock(&epochs->lock);
    const struct epoch_entry *last = epochs->count > 0 ? &epochs->entries[epochs->count - 1] : NULL;
    if (last == NULL || epoch != last->epoch || offset < last->start_offset) {
        while (epochs->count > 0 && (epochs->entries[epochs->count - 1].epoch >= epoch ||
                                     epochs->entries[epochs->count - 1].start_offset >= offset)) {
            shorten(epochs, epochs->count - 1);
        }
        push(epochs, epoch, offset);
    }
    pthread_mutex_unlock(&epochs->lock);
}

void epochs_truncate_end(struct epochs *epochs, int64_t offset)
{
    pthread_mutex_lock(&epochs->lock);
    while (epochs->count > 0 && epochs->entries[epochs->count - 1].start_offset >= offset) {
        shorten(epochs, epochs->count - 1);
    }
    pthread_mutex_unlock(&epochs->lock);
}

void epochs_truncate_start(struct epochs *epochs, int64_t offset)
{
    pthread_mutex_lock(&epochs->lock);
    int32_t drop = 0;
    while (drop + 1 < epochs->count && epochs->entries[drop + 1].start_offset <= offset) {
        drop++;
    }
    if (drop > 0) {
        epochs->count -= drop;
        memmove(epochs->entries, epochs->entries + drop,
                (size_t)epochs->count * sizeof(*epochs->entries));
        epochs->same_count = 0;
    }
    if (epochs->count > 0 && epochs->entries[0].start_offset < offset) {
        epochs->entries[0].start_offset = offset;
        epochs->same_count = 0;
    }
    pthread_mutex_unlock(&epochs->lock);
}

void epochs_end_of(struct epochs *epochs, int32_t epoch, int64_t offset_end, int32_t *found,
                   int64_t *end)
{
    *found = -1;
    *end = -1;
    pthread_mutex_lock(&epochs->lock);
    int32_t above = 0; /* the first entry of a higher epoch */
    while (above < epochs->count && epochs->entries[above].epoch <= epoch) {
        above++;
    }
    if (epoch >= 0 && epochs->count > 0) {
        if (above == epochs->count) {
            /* Only the latest epoch itself is known to end at the log's end. */
            if (epochs->entries[above - 1].epoch == epoch) {
                *found = epoch;
                *end = offset_end;
            }
        } else if (above == 0) {
            *found = epoch;
            *end = epochs->entries[0].start_offset;
        } else {
            *found = epochs->entries[above - 1].epoch;
            *end = epochs->entries[above].start_offset;
        }
    }
    pthread_mutex_unlock(&epochs->lock);
}

int32_t epochs_at(struct epochs *epochs, int64_t offset)
{
    int32_t epoch = -1;
    pthread_mutex_lock(&epochs->lock);
    for (int32_t i = 0; i < epochs->count && epochs->entries[i].start_offset <= offset; i++) {
        epoch = epochs->entries[i].epoch;
    }
    pthread_mutex_unlock(&epochs->lock);
    return epoch;
}

int32_t epochs_latest(struct epochs *epochs)
{
    pthread_mutex_lock(&epochs->lock);
    int32_t epoch = epochs->count > 0 ? epochs->entries[epochs->count - 1].epoch : -1;
    pthread_mutex_unlock(&epochs->lock);
    return epoch;
}

/* Only the actor changes entries, and it is the actor that asks and saves: no lock. */
bool epochs_changed(const struct epochs *epochs)
{
    return epochs->same_count != epochs->count || epochs->file_count != epochs->count;
}

bool epochs_lacks(const struct epochs *epochs, int64_t offset)
{
    return epochs->same_count < epochs->count &&
           epochs->entries[epochs->same_count].start_offset < offset;
}

bool epochs_content(const struct epochs *epochs, struct buf *out)
{
    if (!epochs_changed(epochs)) {
        return false;
    }
    epoch_checkpoint_text(epochs->entries, epochs->count, out);
    return true;
}

void epochs_saved(struct epochs *epochs)
{
    epochs->file_count = epochs->count;
    epochs->same_count = epochs->count;
}

enum err epochs_save(struct epochs *epochs, struct fs *fs, const char *path)
{
    struct buf text = {0};
    if (!epochs_content(epochs, &text)) {
        return ERR_OK;
    }
    enum err err = fs_replace(fs, path, text.data, text.size);
    buf_fini(&text);
    if (err == ERR_OK) {
        epochs_saved(epochs);
    } else {
        epochs->file_count = -1; /* the new one may be there or not */
    }
    return err;
}
