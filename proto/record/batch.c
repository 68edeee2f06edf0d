#include "record/batch.h"

#include "base/must.h"
#include "record/crc32c.h"
#include "record/record_internal.h"

_Static_assert((int)BATCH_AT_RECORD_COUNT + 4 == (int)BATCH_HEADER_SIZE,
               "fields end at the records");
_Static_assert((int)BATCH_AT_MAGIC + 1 == (int)BATCH_MAGIC_NEEDS, "magic is the last byte needed");

enum {
    BATCH_MAGIC = 2,
    LENGTH_MIN = BATCH_HEADER_SIZE - BATCH_LENGTH_OVERHEAD,
    LENGTH_MAX = INT32_MAX - BATCH_LENGTH_OVERHEAD,
};

/* ---- headers ---- */

static void decode(const uint8_t *at, struct batch_header *out)
{
    *out = (struct batch_header){
        .base_offset = (int64_t)be64_get(at + BATCH_AT_BASE_OFFSET),
        .length = (int32_t)be32_get(at + BATCH_AT_LENGTH),
        .leader_epoch = (int32_t)be32_get(at + BATCH_AT_LEADER_EPOCH),
        .magic = (int8_t)at[BATCH_AT_MAGIC],
        .crc = be32_get(at + BATCH_AT_CRC),
        .attributes = be16_get(at + BATCH_AT_ATTRIBUTES),
        .last_offset_delta = (int32_t)be32_get(at + BATCH_AT_LAST_OFFSET_DELTA),
        .base_timestamp_ms = (int64_t)be64_get(at + BATCH_AT_BASE_TIMESTAMP),
        .max_timestamp_ms = (int64_t)be64_get(at + BATCH_AT_MAX_TIMESTAMP),
        .producer_id = (int64_t)be64_get(at + BATCH_AT_PRODUCER_ID),
        .producer_epoch = (int16_t)be16_get(at + BATCH_AT_PRODUCER_EPOCH),
        .base_sequence = (int32_t)be32_get(at + BATCH_AT_BASE_SEQUENCE),
        .record_count = (int32_t)be32_get(at + BATCH_AT_RECORD_COUNT),
    };
}

static void encode(const struct batch_header *header, uint8_t *at)
{
    be64_put(at + BATCH_AT_BASE_OFFSET, (uint64_t)header->base_offset);
    be32_put(at + BATCH_AT_LENGTH, (uint32_t)header->length);
    be32_put(at + BATCH_AT_LEADER_EPOCH, (uint32_t)header->leader_epoch);
    at[BATCH_AT_MAGIC] = (uint8_t)header->magic;
    be32_put(at + BATCH_AT_CRC, header->crc);
    be16_put(at + BATCH_AT_ATTRIBUTES, header->attributes);
    be32_put(at + BATCH_AT_LAST_OFFSET_DELTA, (uint32_t)header->last_offset_delta);
    be64_put(at + BATCH_AT_BASE_TIMESTAMP, (uint64_t)header->base_timestamp_ms);
    be64_put(at + BATCH_AT_MAX_TIMESTAMP, (uint64_t)header->max_timestamp_ms);
    be64_put(at + BATCH_AT_PRODUCER_ID, (uint64_t)header->producer_id);
    be16_put(at + BATCH_AT_PRODUCER_EPOCH, (uint16_t)header->producer_epoch);
    be32_put(at + BATCH_AT_BASE_SEQUENCE, (uint32_t)header->base_sequence);
    be32_put(at + BATCH_AT_RECORD_COUNT, (uint32_t)header->record_count);
}

enum err batch_read_header(struct bytes in, struct batch_header *out)
{
    if (in.size >= BATCH_LENGTH_OVERHEAD) {
        int32_t length = (int32_t)be32_get(in.data + BATCH_AT_LENGTH);
        if (length < LENGTH_MIN || length > LENGTH_MAX) {
            return ERR_CORRUPT;
        }
    }
    if (in.size >= BATCH_MAGIC_NEEDS && in.data[BATCH_AT_MAGIC] != BATCH_MAGIC) {
        return ERR_CORRUPT;
    }
    if (in.size < BATCH_HEADER_SIZE) {
        return ERR_AGAIN;
    }
    decode(in.data, out);
    return ERR_OK;
}

/* ---- checksum ---- */

static uint32_t compute_crc(const uint8_t *batch, size_t size)
{
    return crc32c((struct bytes){batch + BATCH_AT_ATTRIBUTES, size - BATCH_AT_ATTRIBUTES});
}

enum err batch_check_crc(struct bytes whole)
{
    struct batch_header header;
    if (batch_read_header(whole, &header) != ERR_OK || batch_size_bytes(&header) > whole.size) {
        return ERR_CORRUPT;
    }
    uint32_t crc = compute_crc(whole.data, batch_size_bytes(&header));
    return crc == header.crc ? ERR_OK : ERR_CORRUPT;
}

/* ---- patches ---- */

void batch_patch_offset_epoch(uint8_t *batch, int64_t base_offset, int32_t leader_epoch)
{
    be64_put(batch + BATCH_AT_BASE_OFFSET, (uint64_t)base_offset);
    be32_put(batch + BATCH_AT_LEADER_EPOCH, (uint32_t)leader_epoch);
}

static void patch_crc(uint8_t *batch)
{
    size_t size = (size_t)be32_get(batch + BATCH_AT_LENGTH) + BATCH_LENGTH_OVERHEAD;
    must(size >= BATCH_HEADER_SIZE && size <= INT32_MAX);
    be32_put(batch + BATCH_AT_CRC, compute_crc(batch, size));
}

void batch_patch_append_time(uint8_t *batch, int64_t now_ms)
{
    uint16_t attributes = be16_get(batch + BATCH_AT_ATTRIBUTES);
    be16_put(batch + BATCH_AT_ATTRIBUTES, attributes | BATCH_ATTR_LOG_APPEND_TIME);
    batch_patch_max_timestamp(batch, now_ms);
}

void batch_patch_max_timestamp(uint8_t *batch, int64_t max_timestamp_ms)
{
    be64_put(batch + BATCH_AT_MAX_TIMESTAMP, (uint64_t)max_timestamp_ms);
    patch_crc(batch);
}

/* ---- writing ---- */

enum err batch_put(struct buf *out, const struct batch_header *header, int32_t level,
                   struct bytes records)
{
    size_t begin = out->size;
    buf_extend(out, BATCH_HEADER_SIZE);
    enum compress_codec codec = (enum compress_codec)batch_codec(header);
    enum err err = record_compress(codec, level, records, out);
    size_t size = out->size - begin;
    if (err == ERR_OK && size > COMPRESS_IN_MAX) {
        err = ERR_MESSAGE_TOO_LARGE;
    }
    if (err != ERR_OK) {
        out->size = begin;
        return err;
    }
    struct batch_header fitting = *header;
    fitting.magic = BATCH_MAGIC;
    fitting.length = (int32_t)(size - BATCH_LENGTH_OVERHEAD);
    encode(&fitting, out->data + begin);
    patch_crc(out->data + begin);
    return ERR_OK;
}
