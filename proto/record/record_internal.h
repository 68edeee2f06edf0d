/* record_internal.h: the encoding of one record, read and written; for proto/record only.
 *
 * record_step() is inline because validation runs it over every uncompressed record that is
 * produced: it touches the lengths and skips what they cover. */
#pragma once

#include <string.h>

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

static inline int32_t zigzag_value(uint32_t bits)
{
    return (int32_t)(bits >> 1 ^ (0 - (bits & 1)));
}

static inline bool scan_varint(struct scan *scan, int32_t *out)
{
    uint64_t raw;
    if (!scan_raw_varint(scan, VARINT_SIZE_MAX, &raw)) {
        return false;
    }
    *out = zigzag_value((uint32_t)raw);
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

/* Read the record at the start of `scan` and step over it. False when it is malformed. */
bool record_scan(struct scan *scan, struct record_raw *out);

/* ---- stepping over what nearly all records are ----
 *
 * Of a batch that a producer made, a record has no headers, a short key or none, an offset delta
 * that is its place, and lengths of one or two bytes. record_step() knows those by one look at
 * bounds and computes nothing of them that validation does not ask for: 85 instructions a record of
 * 100 bytes, where record_scan() inlined took 134. */

enum {
    STEP_KEY_MAX = 63,
    /* What may be looked at before the value: its record's length, attributes, both deltas, a key
     * and its length, the value's length with what is read along. */
    STEP_PREFIX_MAX = 2 + 1 + 3 + 3 + 1 + STEP_KEY_MAX + 4,
};

#define STEP_INLINE __attribute__((always_inline)) static inline

/* Four bytes of which the first stands lowest. */
static inline uint32_t step_load(const uint8_t *at)
{
    uint32_t v;
    memcpy(&v, at, sizeof(v));
    return v;
}

/* A length of one or two bytes that is not null at *at, and step over it. False: it is neither. */
STEP_INLINE bool step_length(const uint8_t **at, uint32_t *out)
{
    uint32_t in = step_load(*at);
    if ((in & 0x8081) == 0x80) {
        *out = (in >> 1 & 0x3f) | (in >> 2 & 0x1fc0);
        *at += 2;
        return true;
    }
    *out = in >> 1 & 0x3f;
    *at += 1;
    return (in & 0x81) == 0;
}

/* A varint of at most three bytes, in its zigzag form, at *at, and step over it. */
STEP_INLINE bool step_delta(const uint8_t **at, uint32_t *out)
{
    uint32_t in = step_load(*at);
    if ((in & 0x80) == 0) {
        *out = in & 0x7f;
        *at += 1;
        return true;
    }
    if ((in & 0x8000) == 0) {
        *out = (in & 0x7f) | (in >> 1 & 0x3f80);
        *at += 2;
        return true;
    }
    *out = (in & 0x7f) | (in >> 1 & 0x3f80) | (in >> 2 & 0x1fc000);
    *at += 3;
    return (in & 0x800000) == 0;
}

/* Step over record number `index` of a batch: its timestamp delta in zigzag form, and whether it
 * has a key. False: it is of another shape, or malformed; nothing has been stepped over then. */
STEP_INLINE bool record_step(struct scan *scan, uint32_t index, uint32_t *timestamp, bool *keyed)
{
    const uint8_t *at = scan->at;
    uint32_t size;
    uint32_t offset;
    uint32_t value_size;
    if (scan->end - at < STEP_PREFIX_MAX || !step_length(&at, &size) ||
        size < RECORD_SIZE_MIN - 1 || size > scan->end - at) {
        return false;
    }
    const uint8_t *last = at + size - 1; /* the number of headers */
    at++;                                /* attributes: none are defined */
    if (!step_delta(&at, timestamp) || !step_delta(&at, &offset) || offset != index * 2) {
        return false;
    }
    uint32_t key = *at++;
    *keyed = key != 1; /* -1: null */
    if (*keyed) {
        if ((key & 0x81) != 0) {
            return false;
        }
        at += key >> 1;
    }
    if (!step_length(&at, &value_size) || value_size != last - at || *last != 0) {
        return false;
    }
    scan->at = last + 1;
    return true;
}

/* How many of the `count` records from `scan` on, the first of which is number `index`, are like
 * the one at `before`, which record_step() has stepped over: as long, of the same time, with a key
 * and a value as long. All of that is compared at once, without reading any of the lengths, so that
 * no record has to wait for the one before to tell where it is: 2.2 ns a record of 100 bytes where
 * record_step() takes 5. It ends where the number's encoding is not the one before plus two. */
int32_t record_step_like(struct scan scan, const uint8_t *before, int32_t index, int32_t count);

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
