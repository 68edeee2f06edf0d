/* record_internal.h: the encoding of one record, read and written; for proto/record only.
 *
 * record_scan() is inline because validation runs it over every uncompressed record that is
 * produced: it touches the lengths and skips what they cover. */
#pragma once

#include "record/batch.h"
#include "record/record.h"

enum {
    VARINT_SIZE_MAX = 5,
    VARLONG_SIZE_MAX = 10,
    /* Length, attributes, both deltas, key length, value length, header count: a byte each. */
    RECORD_SIZE_MIN = 7,
};

_Static_assert(RECORD_OVERHEAD_MAX == 5 * VARINT_SIZE_MAX + 1 + VARLONG_SIZE_MAX,
               "length, offset delta, key length, value length, header count; attributes; time");
_Static_assert(HEADER_OVERHEAD_MAX == 2 * VARINT_SIZE_MAX, "name length and value length");

/* A record as it stands in the batch. */
struct record_raw {
    int64_t timestamp_delta;
    int32_t offset_delta;
    struct bytes key;
    struct bytes value;
    int32_t header_count;
    struct bytes headers; /* their encoding */
};

/* The bytes that are left of something. */
struct scan {
    const uint8_t *at;
    const uint8_t *end;
};

static inline struct scan scan_of(struct bytes in)
{
    static const uint8_t nowhere[1]; /* an end can be computed from it, as from NULL it cannot */
    const uint8_t *at = in.data != NULL ? in.data : nowhere;
    return (struct scan){at, at + in.size};
}

/* All bits of a varint but the last byte's surplus, before zigzag. False when it is longer than
 * size_max bytes or ends early. */
bool scan_long_varint(struct scan *scan, int size_max, uint64_t *out);

/* The same, with one and two bytes, which nearly all are, done here. */
static inline bool scan_raw_varint(struct scan *scan, int size_max, uint64_t *out)
{
    const uint8_t *at = scan->at;
    ptrdiff_t left = scan->end - at;
    if (left >= 1 && at[0] < 0x80) {
        *out = at[0];
        scan->at = at + 1;
        return true;
    }
    if (left >= 2 && at[1] < 0x80) {
        *out = (uint64_t)(at[0] & 0x7f) | (uint64_t)at[1] << 7;
        scan->at = at + 2;
        return true;
    }
    return scan_long_varint(scan, size_max, out);
}

static inline bool scan_varint(struct scan *scan, int32_t *out)
{
    uint64_t raw;
    if (!scan_raw_varint(scan, VARINT_SIZE_MAX, &raw)) {
        return false;
    }
    uint32_t bits = (uint32_t)raw;
    *out = (int32_t)(bits >> 1 ^ (0 - (bits & 1)));
    return true;
}

static inline bool scan_varlong(struct scan *scan, int64_t *out)
{
    uint64_t bits;
    if (!scan_raw_varint(scan, VARLONG_SIZE_MAX, &bits)) {
        return false;
    }
    *out = (int64_t)(bits >> 1 ^ (0 - (bits & 1)));
    return true;
}

/* Length and bytes. A negative length is null, as Kafka reads it. */
static inline bool scan_bytes(struct scan *scan, struct bytes *out)
{
    int32_t size;
    if (!scan_varint(scan, &size) || size > scan->end - scan->at) {
        return false;
    }
    if (size < 0) {
        *out = (struct bytes){NULL, 0};
        return true;
    }
    *out = (struct bytes){scan->at, (size_t)size};
    scan->at += size;
    return true;
}

/* One header. Its name must not be null. */
bool scan_header(struct scan *scan, struct record_header *out);

/* `count` headers, to the end of `scan`. */
bool scan_headers(struct scan *scan, int32_t count);

/* record_scan() for records of any shape. */
bool record_scan_any(struct scan *scan, struct record_raw *out);

/* ---- the shape that nearly all records have ----
 *
 * Varints of at most three bytes, no headers, and enough bytes of the batch behind each place that
 * one look tells that no varint leaves the batch: 6 ns a record instead of 9. */

enum { SHORT_VARINT_MAX = 3, PREFIX_MAX = 4 * SHORT_VARINT_MAX + 1 }; /* all that is before a key */

/* The zigzag varint in at most three bytes at *at, and step over it. False: it is longer. */
__attribute__((always_inline)) static inline bool short_varint(const uint8_t **at, int32_t *out)
{
    const uint8_t *in = *at;
    uint32_t bits = in[0];
    if (bits < 0x80) {
        *at = in + 1;
    } else if (in[1] < 0x80) {
        bits = (bits & 0x7f) | (uint32_t)in[1] << 7;
        *at = in + 2;
    } else if (in[2] < 0x80) {
        bits = (bits & 0x7f) | (in[1] & 0x7fu) << 7 | (uint32_t)in[2] << 14;
        *at = in + 3;
    } else {
        return false;
    }
    *out = (int32_t)(bits >> 1 ^ (0 - (bits & 1)));
    return true;
}

/* False: it is of another shape, or malformed; nothing has been read then. */
__attribute__((always_inline)) static inline bool record_scan_plain(struct scan *scan,
                                                                    struct record_raw *out)
{
    const uint8_t *at = scan->at;
    int32_t size;
    int32_t timestamp_delta;
    int32_t key_size;
    int32_t value_size;
    if (scan->end - at < PREFIX_MAX || !short_varint(&at, &size) || size < RECORD_SIZE_MIN - 1 ||
        size > scan->end - at) {
        return false;
    }
    const uint8_t *end = at + size;
    at++; /* attributes: none are defined */
    if (!short_varint(&at, &timestamp_delta) || !short_varint(&at, &out->offset_delta) ||
        !short_varint(&at, &key_size)) {
        return false;
    }
    const uint8_t *key = key_size < 0 ? NULL : at;
    key_size = key_size < 0 ? 0 : key_size;
    if (key_size > end - at || scan->end - (at + key_size) < SHORT_VARINT_MAX) {
        return false;
    }
    at += key_size;
    if (!short_varint(&at, &value_size) || value_size < 0 || value_size != end - at - 1 ||
        at[value_size] != 0) {
        return false;
    }
    out->timestamp_delta = timestamp_delta;
    out->key = (struct bytes){key, (size_t)key_size};
    out->value = (struct bytes){at, (size_t)value_size};
    out->header_count = 0;
    out->headers = (struct bytes){end, 0};
    scan->at = end;
    return true;
}

/* Read the record at the start of `scan` and step over it. False when it is malformed. The copies
 * keep a caller's scan in registers: only what is rare needs it in memory. */
__attribute__((always_inline)) static inline bool record_scan(struct scan *scan,
                                                              struct record_raw *out)
{
    if (record_scan_plain(scan, out)) {
        return true;
    }
    struct scan rest = *scan;
    struct record_raw raw;
    if (!record_scan_any(&rest, &raw)) {
        return false;
    }
    *scan = rest;
    *out = raw;
    return true;
}

/* Sums of header fields and deltas wrap instead of overflowing: both may hold anything. */
static inline int64_t delta_add(int64_t base, int64_t delta)
{
    return (int64_t)((uint64_t)base + (uint64_t)delta);
}

/* Append a record. raw->headers is taken as it is. */
void record_put(struct buf *out, const struct record_raw *raw);

/* Append one header in its encoding. */
void header_put(struct buf *out, const struct record_header *header);

/* Append a batch: the header's fields, length and CRC set to fit, and `records` compressed with the
 * codec in its attributes. ERR_MESSAGE_TOO_LARGE, and nothing appended, beyond COMPRESS_IN_MAX. */
MUST_USE enum err batch_put(struct buf *out, const struct batch_header *header, int32_t level,
                            struct bytes records);
