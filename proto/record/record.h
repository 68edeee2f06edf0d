/* record.h: the records inside a magic-2 batch.
 *
 *   struct buf inflated = {0};
 *   struct record_iter it;
 *   struct record record;
 *   err = record_iter_init(&it, batch, max, &inflated);
 *   while (record_iter_next(&it, &record)) { ... }
 *   err = record_iter_end(&it);
 *   buf_fini(&inflated);
 *
 * A record: varint length of the rest, int8 attributes, varlong timestamp delta, varint offset
 * delta, varint key length and key, varint value length and value, varint header count, and for
 * each header varint length and name, varint length and value. Length -1 is null, except that names
 * are never null. Varints are zigzag, at most 5 bytes (varlong 10).
 *
 * Threads:   any. Ownership: keys, values and headers are slices of the batch, or of `inflated`
 * when it is compressed; both must outlive them. Source:    Kafka 3.9, DefaultRecord. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"
#include "record/batch.h"

/* What a record takes at most besides its key, value and headers, and a header besides its name and
 * value. */
enum { RECORD_OVERHEAD_MAX = 36, HEADER_OVERHEAD_MAX = 10 };

struct record_header {
    struct str name;    /* never null */
    struct bytes value; /* null allowed */
};

struct record {
    int64_t offset;
    int64_t timestamp_ms; /* what a consumer sees: the batch's time under log append time */
    int32_t sequence;     /* BATCH_NONE without a producer */
    struct bytes key;
    struct bytes value;
    int32_t header_count;
    struct bytes headers; /* their encoding, checked; see record_headers_next() */
};

struct record_iter {
    struct batch_header header; /* of the batch */
    struct bytes records;       /* all of them, decompressed */
    size_t at;                  /* of the next one in `records` */
    int32_t index;              /* its number */
    enum err err;
};

/* Look at the records of the whole batch at the start of `batch`. The CRC is not checked. A
 * compressed batch is decompressed into *inflated, whose content is replaced; it may be NULL for
 * batches known to be uncompressed (a compressed one is then ERR_INVALID). ERR_CORRUPT: no batch,
 * or it does not decompress. ERR_MESSAGE_TOO_LARGE: decompresses to more than inflated_max bytes.
 * After an error the iterator is at its end. */
MUST_USE enum err record_iter_init(struct record_iter *it, struct bytes batch, size_t inflated_max,
                                   struct buf *inflated);

/* False at the end and at the first malformed record: ask record_iter_end(). */
bool record_iter_next(struct record_iter *it, struct record *out);

/* ERR_OK if the iteration has met nothing wrong so far; at its end that means as many records as
 * the header counts and no byte behind them. ERR_CORRUPT otherwise. */
static inline enum err record_iter_end(const struct record_iter *it)
{
    return it->err;
}

/* Take the first header off record->headers. False when none is left. */
bool record_headers_next(struct record *record, struct record_header *out);

/* ---- looking for one record, as ListOffsets does ---- */

struct record_wanted {
    int64_t offset_min;
    int64_t timestamp_min_ms; /* INT64_MIN: any */
};

struct record_place {
    int64_t offset;
    int64_t timestamp_ms;
};

/* The first record at or behind offset_min whose timestamp is at least timestamp_min_ms.
 * ERR_NOT_FOUND: none here. Inflates only where the header cannot tell. Other errors as
 * record_iter_init(). */
MUST_USE enum err record_find(struct bytes batch, const struct record_wanted *wanted,
                              size_t inflated_max, struct record_place *out);

/* The first record that has the batch's max timestamp; under log append time all have it.
 * ERR_NOT_FOUND when no record has it. */
MUST_USE enum err record_find_max_timestamp(struct bytes batch, size_t inflated_max,
                                            struct record_place *out);

/* ---- control records ---- */

enum control_type { CONTROL_ABORT = 0, CONTROL_COMMIT = 1 };

/* End of a transaction. */
struct record_marker {
    enum control_type type;
    int32_t coordinator_epoch;
};

/* Read the marker in a control batch. ERR_CORRUPT: malformed. ERR_NOT_FOUND: not a control batch,
 * or one of another kind (or empty: compaction took the marker). */
MUST_USE enum err record_read_marker(struct bytes batch, struct record_marker *out);
