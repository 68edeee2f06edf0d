#include "record/record.h"

#include "base/must.h"
#include "record/record_internal.h"

/* ---- one record ---- */

bool scan_long_varint(struct scan *scan, int size_max, uint64_t *out)
{
    uint64_t value = 0;
    const uint8_t *at = scan->at;
    for (int i = 0; i < size_max && at < scan->end; i++) {
        uint8_t byte = *at++;
        value |= (uint64_t)(byte & 0x7f) << (7 * i);
        if (byte < 0x80) {
            scan->at = at;
            *out = value;
            return true;
        }
    }
    return false;
}

bool scan_header(struct scan *scan, struct record_header *out)
{
    struct bytes name;
    if (!scan_bytes(scan, &name) || name.data == NULL) {
        return false;
    }
    out->name = (struct str){(const char *)name.data, name.size};
    return scan_bytes(scan, &out->value);
}

bool scan_headers(struct scan *scan, int32_t count)
{
    struct record_header header;
    /* A count that the bytes cannot hold ends with them, not with the count. */
    for (int32_t i = 0; i < count; i++) {
        if (!scan_header(scan, &header)) {
            return false;
        }
    }
    return scan->at == scan->end;
}

bool record_scan(struct scan *scan, struct record_raw *out)
{
    int32_t size;
    if (!scan_varint(scan, &size) || size < RECORD_SIZE_MIN - 1 || size > scan->end - scan->at) {
        return false;
    }
    struct scan body = {scan->at + 1, scan->at + size}; /* attributes: none are defined */
    scan->at += size;
    if (!scan_varlong(&body, &out->timestamp_delta) || !scan_varint(&body, &out->offset_delta) ||
        !scan_bytes(&body, &out->key) || !scan_bytes(&body, &out->value) ||
        !scan_varint(&body, &out->header_count) || out->header_count < 0) {
        return false;
    }
    out->headers = (struct bytes){body.at, (size_t)(body.end - body.at)};
    return out->header_count == 0 ? body.at == body.end : scan_headers(&body, out->header_count);
}

/* ---- records like the one before ---- */

enum { AHEAD_BYTES = 1024, NUMBERS_PER_BYTE = 64 };

_Static_assert(2 + 1 + 3 + 3 + 1 <= 2 * sizeof(uint64_t), "all before the key is in two words");
_Static_assert(STEP_PREFIX_MAX >= 2 * (int)sizeof(uint64_t), "and may be looked at");

/* What records have in common. The masks leave out attributes, of which none are defined, and what
 * is no length. */
struct likeness {
    uint64_t low; /* the first eight bytes, of the last record that was looked at */
    uint64_t low_mask;
    uint64_t low_next; /* what its number grows by */
    uint64_t high;     /* the next eight */
    uint64_t high_mask;
    size_t value_at; /* of the value's length */
    uint32_t value;
    uint32_t value_mask;
    size_t size;
};

static uint64_t load_word(const uint8_t *at)
{
    uint64_t v;
    memcpy(&v, at, sizeof(v));
    return v;
}

/* The lowest `count` bytes, as they stand in memory. */
static uint64_t bytes_mask(size_t count)
{
    return count >= sizeof(uint64_t) ? UINT64_MAX : (UINT64_C(1) << (8 * count)) - 1;
}

static size_t varint_end(const uint8_t *record, size_t at)
{
    while ((record[at] & 0x80) != 0) {
        at++;
    }
    return at + 1;
}

static struct likeness likeness_of(const uint8_t *record, size_t size)
{
    size_t attributes = varint_end(record, 0);
    size_t number = varint_end(record, attributes + 1);
    size_t key = varint_end(record, number);
    size_t prefix = key + 1;
    size_t key_size = record[key] == 1 ? 0 : record[key] >> 1; /* 1 is -1: null */
    must(number < sizeof(uint64_t));
    must(prefix <= 2 * sizeof(uint64_t));
    size_t value_at = prefix + key_size;
    size_t value_bytes = varint_end(record, value_at) - value_at;
    return (struct likeness){
        .low = load_word(record),
        .low_mask = bytes_mask(prefix) & ~(UINT64_C(0xff) << (8 * attributes)),
        .low_next = UINT64_C(2) << (8 * number),
        .high = load_word(record + sizeof(uint64_t)),
        .high_mask = prefix > sizeof(uint64_t) ? bytes_mask(prefix - sizeof(uint64_t)) : 0,
        .value_at = value_at,
        .value = step_load(record + value_at),
        .value_mask = (uint32_t)bytes_mask(value_bytes),
        .size = size,
    };
}

/* So many records of that size are there at most, each with room behind to look at. */
static int32_t room_for(struct scan scan, size_t size)
{
    size_t left = (size_t)(scan.end - scan.at);
    size_t last = size > STEP_PREFIX_MAX ? size : STEP_PREFIX_MAX;
    size_t room = left < last ? 0 : (left - last) / size + 1;
    return room < INT32_MAX ? (int32_t)room : INT32_MAX;
}

static int32_t least(int32_t a, int32_t b)
{
    return a < b ? a : b;
}

int32_t record_step_like(struct scan scan, const uint8_t *before, int32_t index, int32_t count)
{
    must(index > 0);
    struct likeness like = likeness_of(before, (size_t)(scan.at - before));
    int32_t same = (0 - index) & (NUMBERS_PER_BYTE - 1); /* then the number's next byte moves */
    int32_t most = least(least(same, count), room_for(scan, like.size));
    const uint8_t *at = scan.at;
    int32_t done = 0;
    for (; done < most; done++, at += like.size) {
        __builtin_prefetch(at + AHEAD_BYTES);
        __builtin_prefetch(at + AHEAD_BYTES + 64);
        like.low += like.low_next;
        uint64_t other = ((load_word(at) ^ like.low) & like.low_mask) |
                         ((load_word(at + sizeof(uint64_t)) ^ like.high) & like.high_mask) |
                         ((step_load(at + like.value_at) ^ like.value) & like.value_mask) |
                         at[like.size - 1]; /* headers */
        if (other != 0) {
            break;
        }
    }
    return done;
}

bool record_headers_next(struct record *record, struct record_header *out)
{
    if (record->header_count <= 0) {
        return false;
    }
    struct scan scan = scan_of(record->headers);
    if (!scan_header(&scan, out)) {
        record->header_count = 0;
        return false;
    }
    record->headers = (struct bytes){scan.at, (size_t)(scan.end - scan.at)};
    record->header_count--;
    return true;
}

/* ---- the records of a batch ---- */

static enum err fail(struct record_iter *it, enum err err)
{
    it->err = err;
    return err;
}

enum err record_iter_init(struct record_iter *it, struct bytes batch, size_t inflated_max,
                          struct buf *inflated)
{
    *it = (struct record_iter){0};
    enum err err = batch_read_header(batch, &it->header);
    if (err != ERR_OK || batch_size_bytes(&it->header) > batch.size ||
        it->header.record_count < 0) {
        return fail(it, ERR_CORRUPT);
    }
    int codec = batch_codec(&it->header);
    struct bytes records = {batch.data + BATCH_HEADER_SIZE,
                            batch_size_bytes(&it->header) - BATCH_HEADER_SIZE};
    /* A batch that compaction emptied may still name a codec. */
    if (codec == COMPRESS_NONE || it->header.record_count == 0) {
        it->records = records;
    } else if (codec >= COMPRESS_COUNT) {
        return fail(it, ERR_CORRUPT);
    } else if (inflated == NULL) {
        return fail(it, ERR_INVALID);
    } else {
        buf_clear(inflated);
        err = record_decompress((enum compress_codec)codec, records, inflated_max, inflated);
        if (err != ERR_OK) {
            return fail(it, err);
        }
        it->records = (struct bytes){inflated->data, inflated->size};
    }
    return ERR_OK;
}

static void fill(const struct batch_header *header, const struct record_raw *raw,
                 struct record *out)
{
    out->offset = delta_add(header->base_offset, raw->offset_delta);
    out->timestamp_ms = batch_timestamp_type(header) == BATCH_LOG_APPEND_TIME
                            ? header->max_timestamp_ms
                            : delta_add(header->base_timestamp_ms, raw->timestamp_delta);
    out->sequence = header->base_sequence < 0
                        ? BATCH_NONE
                        : batch_sequence_add(header->base_sequence, raw->offset_delta);
    out->key = raw->key;
    out->value = raw->value;
    out->header_count = raw->header_count;
    out->headers = raw->headers;
}

bool record_iter_next(struct record_iter *it, struct record *out)
{
    if (it->err != ERR_OK) {
        return false;
    }
    if (it->index == it->header.record_count) {
        if (it->at != it->records.size && it->header.record_count > 0) {
            it->err = ERR_CORRUPT;
        }
        return false;
    }
    must(it->at <= it->records.size);
    struct scan scan = scan_of(it->records);
    scan.at += it->at;
    struct record_raw raw;
    if (!record_scan(&scan, &raw)) {
        it->err = ERR_CORRUPT;
        return false;
    }
    it->at = it->records.size - (size_t)(scan.end - scan.at);
    it->index++;
    fill(&it->header, &raw, out);
    return true;
}

/* ---- looking for one record ---- */

/* Without compaction's gaps, every offset of the batch has its record. */
static bool is_dense(const struct batch_header *header)
{
    return header->last_offset_delta >= 0 &&
           header->record_count == (int64_t)header->last_offset_delta + 1;
}

typedef bool record_match_fn(const struct record *record, const void *arg);

/* The first record that matches. */
static enum err find_first(struct bytes batch, size_t inflated_max, record_match_fn *match,
                           const void *arg, struct record_place *out)
{
    struct buf inflated = {0};
    struct record_iter it;
    struct record record;
    bool found = false;
    enum err err = record_iter_init(&it, batch, inflated_max, &inflated);
    while (!found && record_iter_next(&it, &record)) {
        if (match(&record, arg)) {
            *out = (struct record_place){record.offset, record.timestamp_ms};
            found = true;
        }
    }
    if (err == ERR_OK) {
        err = record_iter_end(&it);
    }
    buf_fini(&inflated);
    return err == ERR_OK && !found ? ERR_NOT_FOUND : err;
}

static bool matches_wanted(const struct record *record, const void *arg)
{
    const struct record_wanted *wanted = arg;
    return record->offset >= wanted->offset_min && record->timestamp_ms >= wanted->timestamp_min_ms;
}

enum err record_find(struct bytes batch, const struct record_wanted *wanted, size_t inflated_max,
                     struct record_place *out)
{
    struct batch_header header;
    if (batch_read_header(batch, &header) != ERR_OK) {
        return ERR_CORRUPT;
    }
    if (batch_last_offset(&header) < wanted->offset_min ||
        header.max_timestamp_ms < wanted->timestamp_min_ms) {
        return ERR_NOT_FOUND;
    }
    if (batch_timestamp_type(&header) == BATCH_LOG_APPEND_TIME && is_dense(&header)) {
        int64_t first = header.base_offset;
        out->offset = first > wanted->offset_min ? first : wanted->offset_min;
        out->timestamp_ms = header.max_timestamp_ms;
        return ERR_OK;
    }
    return find_first(batch, inflated_max, matches_wanted, wanted, out);
}

static bool matches_timestamp(const struct record *record, const void *arg)
{
    const int64_t *timestamp_ms = arg;
    return record->timestamp_ms == *timestamp_ms;
}

enum err record_find_max_timestamp(struct bytes batch, size_t inflated_max,
                                   struct record_place *out)
{
    struct batch_header header;
    if (batch_read_header(batch, &header) != ERR_OK) {
        return ERR_CORRUPT;
    }
    if (batch_timestamp_type(&header) == BATCH_LOG_APPEND_TIME && is_dense(&header)) {
        *out = (struct record_place){header.base_offset, header.max_timestamp_ms};
        return ERR_OK;
    }
    return find_first(batch, inflated_max, matches_timestamp, &header.max_timestamp_ms, out);
}

/* ---- control records ---- */

enum { CONTROL_KEY_SIZE_MIN = 4, MARKER_VALUE_SIZE_MIN = 6 };

enum err record_read_marker(struct bytes batch, struct record_marker *out)
{
    struct batch_header header;
    if (batch_read_header(batch, &header) != ERR_OK) {
        return ERR_CORRUPT;
    }
    if (!batch_is_control(&header)) {
        return ERR_NOT_FOUND;
    }
    struct record_iter it;
    struct record record;
    if (record_iter_init(&it, batch, 0, NULL) != ERR_OK) {
        return ERR_CORRUPT; /* among others: compressed, which control batches never are */
    }
    if (!record_iter_next(&it, &record)) {
        return it.err == ERR_OK ? ERR_NOT_FOUND : ERR_CORRUPT;
    }
    if (record.key.size < CONTROL_KEY_SIZE_MIN || (int16_t)be16_get(record.key.data) < 0) {
        return ERR_CORRUPT;
    }
    int type = (int16_t)be16_get(record.key.data + 2);
    if (type != CONTROL_ABORT && type != CONTROL_COMMIT) {
        return ERR_NOT_FOUND;
    }
    if (record.value.size < MARKER_VALUE_SIZE_MIN || (int16_t)be16_get(record.value.data) < 0) {
        return ERR_CORRUPT;
    }
    out->type = (enum control_type)type;
    out->coordinator_epoch = (int32_t)be32_get(record.value.data + 2);
    return ERR_OK;
}
