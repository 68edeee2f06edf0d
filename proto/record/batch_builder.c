#include "record/batch_builder.h"

#include "base/must.h"
#include "record/record_internal.h"

/* ---- one record ---- */

static void put_raw_varint(struct buf *out, uint64_t bits)
{
    while (bits >= 0x80) {
        buf_put_byte(out, (uint8_t)(bits | 0x80));
        bits >>= 7;
    }
    buf_put_byte(out, (uint8_t)bits);
}

static uint64_t zigzag(int64_t value)
{
    return (uint64_t)value << 1 ^ (uint64_t)(value < 0 ? -1 : 0);
}

static void put_varint(struct buf *out, int64_t value)
{
    put_raw_varint(out, zigzag(value));
}

static size_t varint_size(int64_t value)
{
    size_t size = 1;
    for (uint64_t bits = zigzag(value); bits >= 0x80; bits >>= 7) {
        size++;
    }
    return size;
}

static void put_bytes(struct buf *out, struct bytes bytes)
{
    if (bytes.data == NULL) {
        put_varint(out, -1);
        return;
    }
    must(bytes.size <= INT32_MAX);
    put_varint(out, (int64_t)bytes.size);
    buf_put(out, bytes.data, bytes.size);
}

static size_t bytes_size(struct bytes bytes)
{
    return bytes.data == NULL ? 1 : varint_size((int64_t)bytes.size) + bytes.size;
}

void header_put(struct buf *out, const struct record_header *header)
{
    must(header->name.ptr != NULL);
    put_bytes(out, (struct bytes){(const uint8_t *)header->name.ptr, header->name.size});
    put_bytes(out, header->value);
}

void record_put(struct buf *out, const struct record_raw *raw)
{
    size_t size = 1 + varint_size(raw->timestamp_delta) + varint_size(raw->offset_delta) +
                  bytes_size(raw->key) + bytes_size(raw->value) + varint_size(raw->header_count) +
                  raw->headers.size;
    must(size <= INT32_MAX);
    put_varint(out, (int64_t)size);
    size_t begin = out->size;
    buf_put_byte(out, 0);
    put_varint(out, raw->timestamp_delta);
    put_varint(out, raw->offset_delta);
    put_bytes(out, raw->key);
    put_bytes(out, raw->value);
    put_varint(out, raw->header_count);
    buf_put(out, raw->headers.data, raw->headers.size);
    must(out->size - begin == size);
}

/* ---- a batch ---- */

struct batch_options batch_options_default(void)
{
    return (struct batch_options){
        .leader_epoch = BATCH_NONE,
        .codec = COMPRESS_NONE,
        .level = COMPRESS_LEVEL_DEFAULT,
        .producer_id = BATCH_NONE,
        .producer_epoch = BATCH_NONE,
        .base_sequence = BATCH_NONE,
    };
}

static void start(struct batch_builder *builder)
{
    buf_clear(&builder->records);
    builder->record_count = 0;
    builder->last_offset_delta = BATCH_NONE;
    builder->base_timestamp_ms = BATCH_NONE;
    builder->max_timestamp_ms = BATCH_NONE;
}

void batch_builder_init(struct batch_builder *builder, const struct batch_options *options)
{
    must(options->codec >= 0 && options->codec < COMPRESS_COUNT);
    *builder = (struct batch_builder){.options = *options};
    start(builder);
}

void batch_builder_add_at(struct batch_builder *builder, int32_t offset_delta, int64_t timestamp_ms,
                          struct bytes key, struct bytes value, const struct record_header *headers,
                          int32_t header_count)
{
    must(offset_delta > builder->last_offset_delta);
    must(header_count >= 0);
    if (builder->record_count == 0) {
        builder->base_timestamp_ms = timestamp_ms;
        builder->max_timestamp_ms = timestamp_ms;
    }
    if (timestamp_ms > builder->max_timestamp_ms) {
        builder->max_timestamp_ms = timestamp_ms;
    }
    struct buf encoded = {0};
    for (int32_t i = 0; i < header_count; i++) {
        header_put(&encoded, &headers[i]);
    }
    struct record_raw raw = {
        .timestamp_delta = (int64_t)((uint64_t)timestamp_ms - (uint64_t)builder->base_timestamp_ms),
        .offset_delta = offset_delta,
        .key = key,
        .value = value,
        .header_count = header_count,
        .headers = {encoded.data, encoded.size},
    };
    record_put(&builder->records, &raw);
    buf_fini(&encoded);
    builder->last_offset_delta = offset_delta;
    builder->record_count++;
}

void batch_builder_add(struct batch_builder *builder, int64_t timestamp_ms, struct bytes key,
                       struct bytes value, const struct record_header *headers,
                       int32_t header_count)
{
    batch_builder_add_at(builder, builder->last_offset_delta + 1, timestamp_ms, key, value, headers,
                         header_count);
}

size_t batch_builder_size(const struct batch_builder *builder)
{
    return BATCH_HEADER_SIZE + builder->records.size;
}

static uint16_t attributes_of(const struct batch_options *options)
{
    return (uint16_t)((unsigned)options->codec |
                      (options->log_append_time ? (unsigned)BATCH_ATTR_LOG_APPEND_TIME : 0u) |
                      (options->transactional ? (unsigned)BATCH_ATTR_TRANSACTIONAL : 0u) |
                      (options->control ? (unsigned)BATCH_ATTR_CONTROL : 0u));
}

enum err batch_builder_finish(struct batch_builder *builder, struct buf *out)
{
    struct batch_options *options = &builder->options;
    struct batch_header header = {
        .base_offset = options->base_offset,
        .leader_epoch = options->leader_epoch,
        .attributes = attributes_of(options),
        .last_offset_delta = builder->record_count > 0 ? builder->last_offset_delta : 0,
        .base_timestamp_ms = builder->base_timestamp_ms,
        .max_timestamp_ms =
            options->log_append_time ? options->append_time_ms : builder->max_timestamp_ms,
        .producer_id = options->producer_id,
        .producer_epoch = options->producer_epoch,
        .base_sequence = options->base_sequence,
        .record_count = builder->record_count,
    };
    enum err err = batch_put(out, &header, options->level,
                             (struct bytes){builder->records.data, builder->records.size});
    if (err != ERR_OK) {
        return err;
    }
    int32_t taken = builder->last_offset_delta + 1;
    options->base_offset += taken;
    if (options->base_sequence != BATCH_NONE) {
        options->base_sequence = batch_sequence_add(options->base_sequence, taken);
    }
    start(builder);
    return ERR_OK;
}

void batch_builder_fini(struct batch_builder *builder)
{
    buf_fini(&builder->records);
    start(builder);
}

/* ---- markers ---- */

void batch_put_marker(struct buf *out, const struct batch_marker_options *marker)
{
    struct batch_options options = batch_options_default();
    options.base_offset = marker->base_offset;
    options.leader_epoch = marker->leader_epoch;
    options.producer_id = marker->producer_id;
    options.producer_epoch = marker->producer_epoch;
    options.transactional = true;
    options.control = true;

    uint8_t key[4] = {0};
    uint8_t value[6] = {0};
    be16_put(key + 2, (uint16_t)marker->type);
    be32_put(value + 2, (uint32_t)marker->coordinator_epoch);

    struct batch_builder builder;
    batch_builder_init(&builder, &options);
    batch_builder_add(&builder, marker->now_ms, (struct bytes){key, sizeof(key)},
                      (struct bytes){value, sizeof(value)}, NULL, 0);
    enum err err = batch_builder_finish(&builder, out);
    must(err == ERR_OK);
    batch_builder_fini(&builder);
}
