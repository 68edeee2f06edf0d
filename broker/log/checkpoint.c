#include "log/checkpoint.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/must.h"

/* What is left of a file that is being read, word by word. */
struct reader {
    const char *at;
    const char *end;
};

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static bool take_word(struct reader *reader, struct str *word)
{
    while (reader->at < reader->end && is_space(*reader->at)) {
        reader->at++;
    }
    word->ptr = reader->at;
    while (reader->at < reader->end && !is_space(*reader->at)) {
        reader->at++;
    }
    word->size = (size_t)(reader->at - word->ptr);
    return word->size > 0;
}

static bool take_number(struct reader *reader, int64_t min, int64_t max, int64_t *out)
{
    struct str word;
    char text[24];
    if (!take_word(reader, &word) || word.size >= sizeof(text)) {
        return false;
    }
    memcpy(text, word.ptr, word.size);
    text[word.size] = '\0';
    char *end;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (*end != '\0' || errno == ERANGE || value < min || value > max) {
        return false;
    }
    *out = value;
    return true;
}

/* The two lines that every such file begins with. False: corrupt. *count is 0 for an empty file. */
static bool take_head(struct reader *reader, int64_t *count)
{
    int64_t version;
    *count = 0;
    if (reader->at == reader->end) {
        return true;
    }
    return take_number(reader, 0, 0, &version) && take_number(reader, 0, INT32_MAX, count);
}

static bool at_end(struct reader *reader)
{
    struct str word;
    return !take_word(reader, &word);
}

static int entry_order(const void *a, const void *b)
{
    const struct checkpoint_entry *left = a;
    const struct checkpoint_entry *right = b;
    int order = strcmp(left->topic, right->topic);
    if (order != 0) {
        return order;
    }
    return (left->partition > right->partition) - (left->partition < right->partition);
}

void checkpoint_add(struct checkpoint *checkpoint, struct str topic, int32_t partition,
                    int64_t offset)
{
    if (checkpoint->count == checkpoint->capacity) {
        checkpoint->capacity = checkpoint->capacity > 0 ? checkpoint->capacity * 2 : 16;
        checkpoint->entries = mem_realloc(checkpoint->entries, (size_t)checkpoint->capacity *
                                                                   sizeof(*checkpoint->entries));
    }
    checkpoint->entries[checkpoint->count++] =
        (struct checkpoint_entry){str_dup(topic), partition, offset};
}

static enum err checkpoint_parse(struct reader reader, struct checkpoint *out)
{
    int64_t count;
    if (!take_head(&reader, &count)) {
        return ERR_CORRUPT;
    }
    for (int64_t i = 0; i < count; i++) {
        struct str topic;
        int64_t partition;
        int64_t offset;
        if (!take_word(&reader, &topic) || !take_number(&reader, 0, INT32_MAX, &partition) ||
            !take_number(&reader, INT64_MIN, INT64_MAX, &offset)) {
            return ERR_CORRUPT;
        }
        checkpoint_add(out, topic, (int32_t)partition, offset);
    }
    return at_end(&reader) ? ERR_OK : ERR_CORRUPT;
}

enum err checkpoint_read(struct fs *fs, const char *path, struct checkpoint *out)
{
    char *data;
    size_t size;
    *out = (struct checkpoint){0};
    enum err err = fs_read_all(fs, path, CHECKPOINT_FILE_MAX, &data, &size);
    if (err != ERR_OK) {
        return err == ERR_INVALID ? ERR_CORRUPT : err;
    }
    err = checkpoint_parse((struct reader){data, data + size}, out);
    mem_free(data);
    if (err != ERR_OK) {
        checkpoint_fini(out);
        return err;
    }
    if (out->count > 1) {
        qsort(out->entries, (size_t)out->count, sizeof(*out->entries), entry_order);
    }
    return ERR_OK;
}

enum err checkpoint_write(struct fs *fs, const char *path, const struct checkpoint *checkpoint)
{
    struct buf text = {0};
    buf_printf(&text, "0\n%" PRId32 "\n", checkpoint->count);
    for (int32_t i = 0; i < checkpoint->count; i++) {
        const struct checkpoint_entry *entry = &checkpoint->entries[i];
        buf_printf(&text, "%s %" PRId32 " %" PRId64 "\n", entry->topic, entry->partition,
                   entry->offset);
    }
    enum err err = fs_replace(fs, path, text.data, text.size);
    buf_fini(&text);
    return err;
}

int64_t checkpoint_find(const struct checkpoint *checkpoint, struct str topic, int32_t partition)
{
    int32_t low = 0;
    int32_t high = checkpoint->count;
    while (low < high) {
        int32_t middle = low + (high - low) / 2;
        const struct checkpoint_entry *entry = &checkpoint->entries[middle];
        int order = str_cmp(str_of(entry->topic), topic);
        if (order == 0) {
            order = (entry->partition > partition) - (entry->partition < partition);
        }
        if (order == 0) {
            return entry->offset;
        }
        if (order < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return -1;
}

void checkpoint_fini(struct checkpoint *checkpoint)
{
    for (int32_t i = 0; i < checkpoint->count; i++) {
        mem_free(checkpoint->entries[i].topic);
    }
    mem_free(checkpoint->entries);
    *checkpoint = (struct checkpoint){0};
}

static enum err epochs_parse(struct reader reader, struct epoch_entry **entries, int32_t *count)
{
    int64_t listed;
    if (!take_head(&reader, &listed)) {
        return ERR_CORRUPT;
    }
    /* Each entry takes at least four characters: a count that the file cannot hold is a lie. */
    if (listed > (reader.end - reader.at) / 4 + 1) {
        return ERR_CORRUPT;
    }
    *entries = mem_zalloc((size_t)listed, sizeof(**entries));
    for (*count = 0; *count < listed; (*count)++) {
        int64_t epoch;
        int64_t offset;
        if (!take_number(&reader, 0, INT32_MAX, &epoch) ||
            !take_number(&reader, 0, INT64_MAX, &offset)) {
            mem_free(*entries);
            return ERR_CORRUPT;
        }
        (*entries)[*count] = (struct epoch_entry){(int32_t)epoch, offset};
    }
    if (!at_end(&reader)) {
        mem_free(*entries);
        return ERR_CORRUPT;
    }
    return ERR_OK;
}

enum err epoch_checkpoint_read(struct fs *fs, const char *path, struct epoch_entry **entries,
                               int32_t *count)
{
    char *data;
    size_t size;
    *entries = NULL;
    *count = 0;
    enum err err = fs_read_all(fs, path, CHECKPOINT_FILE_MAX, &data, &size);
    if (err != ERR_OK) {
        return err == ERR_INVALID ? ERR_CORRUPT : err;
    }
    err = epochs_parse((struct reader){data, data + size}, entries, count);
    mem_free(data);
    if (err != ERR_OK) {
        *entries = NULL;
        *count = 0;
    }
    return err;
}

void epoch_checkpoint_text(const struct epoch_entry *entries, int32_t count, struct buf *out)
{
    buf_printf(out, "0\n%" PRId32 "\n", count);
    for (int32_t i = 0; i < count; i++) {
        buf_printf(out, "%" PRId32 " %" PRId64 "\n", entries[i].epoch, entries[i].start_offset);
    }
}

enum err epoch_checkpoint_write(struct fs *fs, const char *path, const struct epoch_entry *entries,
                                int32_t count)
{
    struct buf text = {0};
    epoch_checkpoint_text(entries, count, &text);
    enum err err = fs_replace(fs, path, text.data, text.size);
    buf_fini(&text);
    return err;
}
