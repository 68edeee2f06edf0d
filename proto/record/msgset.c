#include "record/msgset.h"

#include "base/must.h"
#include "record/compress_internal.h"
#include "record/crc32c.h"
#include "record/record_internal.h"

enum {
    /* Magic and size of each format's smallest message: empty key and value lengths. */
    SIZE_MIN_V0 = MSGSET_HEADER_SIZE_V0 - BATCH_LENGTH_OVERHEAD + 8,
    SIZE_MIN_V1 = MSGSET_HEADER_SIZE_V1 - BATCH_LENGTH_OVERHEAD + 8,
    SIZE_MAX_ANY = INT32_MAX - BATCH_LENGTH_OVERHEAD,
    MAGIC_BATCH = 2,
};

/* ---- headers ---- */

static enum err read_legacy(struct bytes in, int32_t size, int8_t magic, struct batch_header *out)
{
    if (magic == 1 && size < SIZE_MIN_V1) {
        return ERR_CORRUPT;
    }
    if (in.size < (magic == 0 ? MSGSET_HEADER_SIZE_V0 : MSGSET_HEADER_SIZE_V1)) {
        return ERR_AGAIN;
    }
    const uint8_t *at = in.data;
    int64_t timestamp_ms = magic == 0 ? BATCH_NONE : (int64_t)be64_get(at + MSGSET_AT_TIMESTAMP);
    uint16_t known = BATCH_ATTR_CODEC | (magic == 1 ? BATCH_ATTR_LOG_APPEND_TIME : 0);
    *out = (struct batch_header){
        .base_offset = (int64_t)be64_get(at + MSGSET_AT_OFFSET),
        .length = size,
        .leader_epoch = BATCH_NONE,
        .magic = magic,
        .crc = be32_get(at + MSGSET_AT_CRC),
        .attributes = at[MSGSET_AT_ATTRIBUTES] & known,
        .base_timestamp_ms = timestamp_ms,
        .max_timestamp_ms = timestamp_ms,
        .producer_id = BATCH_NONE,
        .producer_epoch = BATCH_NONE,
        .base_sequence = BATCH_NONE,
        .record_count = BATCH_NONE,
    };
    return ERR_OK;
}

enum err entry_read_header(struct bytes in, struct batch_header *out)
{
    if (in.size < BATCH_LENGTH_OVERHEAD) {
        return ERR_AGAIN;
    }
    int32_t size = (int32_t)be32_get(in.data + MSGSET_AT_SIZE);
    if (size < SIZE_MIN_V0 || size > SIZE_MAX_ANY) {
        return ERR_CORRUPT;
    }
    if (in.size < BATCH_MAGIC_NEEDS) {
        return ERR_AGAIN;
    }
    int8_t magic = (int8_t)in.data[MSGSET_AT_MAGIC];
    if (magic == MAGIC_BATCH) {
        return batch_read_header(in, out);
    }
    return magic == 0 || magic == 1 ? read_legacy(in, size, magic, out) : ERR_CORRUPT;
}

enum err entry_check_crc(struct bytes whole)
{
    struct batch_header header;
    if (entry_read_header(whole, &header) != ERR_OK || batch_size_bytes(&header) > whole.size) {
        return ERR_CORRUPT;
    }
    if (header.magic == MAGIC_BATCH) {
        return batch_check_crc(whole);
    }
    uint32_t crc = crc32_zlib(
        (struct bytes){whole.data + MSGSET_AT_MAGIC, batch_size_bytes(&header) - MSGSET_AT_MAGIC});
    return crc == header.crc ? ERR_OK : ERR_CORRUPT;
}

/* ---- one message ---- */

struct message {
    struct batch_header header;
    struct bytes whole;
    struct bytes key;
    struct bytes value;
};

static bool scan_int32_bytes(struct scan *scan, struct bytes *out)
{
    if (scan->end - scan->at < 4) {
        return false;
    }
    int32_t size = (int32_t)be32_get(scan->at);
    scan->at += 4;
    if (size > scan->end - scan->at) {
        return false;
    }
    *out = size < 0 ? (struct bytes){NULL, 0} : (struct bytes){scan->at, (size_t)size};
    scan->at += out->size;
    return true;
}

/* The message at `at`, of magic 0 or 1. ERR_NOT_FOUND: the set ends before the message does. */
static enum err message_read(struct bytes set, size_t at, struct message *out)
{
    struct bytes rest = {set.data + at, set.size - at};
    enum err err = entry_read_header(rest, &out->header);
    if (err == ERR_AGAIN) {
        return ERR_NOT_FOUND;
    }
    if (err != ERR_OK || out->header.magic == MAGIC_BATCH) {
        return ERR_CORRUPT;
    }
    size_t size = batch_size_bytes(&out->header);
    if (size > rest.size) {
        return ERR_NOT_FOUND;
    }
    out->whole = (struct bytes){rest.data, size};
    struct scan body = {
        rest.data + (out->header.magic == 0 ? MSGSET_HEADER_SIZE_V0 : MSGSET_HEADER_SIZE_V1),
        rest.data + size,
    };
    if (!scan_int32_bytes(&body, &out->key) || !scan_int32_bytes(&body, &out->value) ||
        body.at != body.end) {
        return ERR_CORRUPT;
    }
    return ERR_OK;
}

static void fill(const struct message *message, struct record *out)
{
    *out = (struct record){
        .offset = message->header.base_offset,
        .timestamp_ms = message->header.max_timestamp_ms,
        .sequence = BATCH_NONE,
        .key = message->key,
        .value = message->value,
    };
}

/* ---- wrappers ---- */

/* All messages of an open wrapper are whole, checked and uncompressed; finds the last one's offset.
 */
static enum err check_inner(struct bytes inner, int64_t *last_offset)
{
    struct message message;
    for (size_t at = 0; at < inner.size; at += message.whole.size) {
        if (message_read(inner, at, &message) != ERR_OK ||
            batch_codec(&message.header) != COMPRESS_NONE ||
            entry_check_crc(message.whole) != ERR_OK) {
            return ERR_CORRUPT;
        }
        *last_offset = message.header.base_offset;
    }
    return inner.size > 0 ? ERR_OK : ERR_CORRUPT;
}

static enum err open_wrapper(struct msgset_iter *it, const struct message *wrapper)
{
    int codec = batch_codec(&wrapper->header);
    if (codec > COMPRESS_LZ4 || wrapper->value.data == NULL) {
        return ERR_CORRUPT;
    }
    buf_clear(it->inflated);
    enum err err = wrapper->header.magic == 0
                       ? record_decompress_v0((enum compress_codec)codec, wrapper->value,
                                              it->inflated_max, it->inflated)
                       : record_decompress((enum compress_codec)codec, wrapper->value,
                                           it->inflated_max, it->inflated);
    if (err != ERR_OK) {
        return err;
    }
    struct bytes inner = {it->inflated->data, it->inflated->size};
    int64_t last = 0;
    err = check_inner(inner, &last);
    if (err != ERR_OK) {
        return err;
    }
    int64_t offset = wrapper->header.base_offset;
    bool relative = wrapper->header.magic == 1 && offset != 0;
    if (relative && (last < 0 || offset < last)) {
        return ERR_CORRUPT;
    }
    it->inside = true;
    it->wrapper = wrapper->header;
    it->inner = inner;
    it->inner_at = 0;
    it->inner_base = relative ? offset - last : 0;
    return ERR_OK;
}

static void next_inner(struct msgset_iter *it, struct record *out)
{
    struct message message;
    enum err err = message_read(it->inner, it->inner_at, &message);
    must(err == ERR_OK); /* check_inner() has read it */
    it->inner_at += message.whole.size;
    it->inside = it->inner_at < it->inner.size;
    fill(&message, out);
    out->offset = delta_add(it->inner_base, out->offset);
    if (batch_timestamp_type(&it->wrapper) == BATCH_LOG_APPEND_TIME && message.header.magic == 1) {
        out->timestamp_ms = it->wrapper.max_timestamp_ms;
    }
}

/* ---- a set ---- */

void msgset_iter_init(struct msgset_iter *it, struct bytes set, size_t inflated_max,
                      struct buf *inflated)
{
    must(inflated != NULL);
    *it = (struct msgset_iter){.in = set, .inflated_max = inflated_max, .inflated = inflated};
}

bool msgset_iter_next(struct msgset_iter *it, struct record *out)
{
    if (it->inside) {
        next_inner(it, out);
        return true;
    }
    if (it->err != ERR_OK || it->at == it->in.size) {
        return false;
    }
    struct message message;
    enum err err = message_read(it->in, it->at, &message);
    if (err == ERR_NOT_FOUND) {
        it->at = it->in.size; /* cut short */
        return false;
    }
    if (err == ERR_OK && batch_codec(&message.header) != COMPRESS_NONE) {
        err = open_wrapper(it, &message);
    }
    if (err != ERR_OK) {
        it->err = err;
        return false;
    }
    it->at += message.whole.size;
    if (it->inside) {
        next_inner(it, out);
    } else {
        fill(&message, out);
    }
    return true;
}
