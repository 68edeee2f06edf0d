/* msgset.h: message sets, the formats of magic 0 and 1, in old segments.
 *
 *   at  size field
 *    0    8  offset; of a compressed wrapper: that of its last inner message
 *    8    4  size: bytes that follow
 *   12    4  CRC-32 (IEEE) of 16..end
 *   16    1  magic, 0 or 1
 *   17    1  attributes: bits 0-2 codec (0-3), bit 3 log append time (magic 1)
 *   18    8  timestamp, only magic 1
 *        ..  int32 key length (-1 null), key, int32 value length (-1 null), value
 *
 * A set has no count: entries follow each other to the end. A compressed entry ("wrapper") holds a
 * whole set in its value. Inner offsets are absolute in magic 0 and count from 0 in magic 1; there
 * the base is the wrapper's offset minus that of the last inner message, or 0 when the wrapper's
 * offset is 0. A wrapper with log append time gives its timestamp to all inner messages. lz4 in
 * magic 0 has a frame checksum over the wrong bytes; it is not looked at.
 *
 * These formats are only read. Conversion up and down will have its own file.
 *
 * Threads: any. Ownership: as in record.h.
 * Source:  Kafka 3.9, LegacyRecord, AbstractLegacyRecordBatch. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"
#include "record/batch.h"
#include "record/record.h"

enum {
    MSGSET_AT_OFFSET = 0,
    MSGSET_AT_SIZE = 8,
    MSGSET_AT_CRC = 12, /* its range begins at MSGSET_AT_MAGIC */
    MSGSET_AT_MAGIC = 16,
    MSGSET_AT_ATTRIBUTES = 17,
    MSGSET_AT_TIMESTAMP = 18, /* magic 1 */
    MSGSET_HEADER_SIZE_V0 = 18,
    MSGSET_HEADER_SIZE_V1 = 26,
};

/* ---- one entry of a log, of whatever magic ----
 *
 * A magic-2 batch, or one message (plain or wrapper) of magic 0 or 1, which appears as a header
 * with base_offset == its offset, last_offset_delta 0, record_count and leader epoch -1, no
 * producer, and both timestamps the message's (-1 in magic 0). So batch_size_bytes,
 * batch_last_offset, batch_codec and batch_timestamp_type hold for all; the base offset of a
 * wrapper is not in its header. */

/* ERR_AGAIN: fewer bytes than the header needs (61 are always enough). ERR_CORRUPT: impossible size
 * or magic. */
MUST_USE enum err entry_read_header(struct bytes in, struct batch_header *out);

/* batch_check_crc() for any magic. */
MUST_USE enum err entry_check_crc(struct bytes whole);

/* ---- messages ---- */

struct msgset_iter {
    struct bytes in; /* the set */
    size_t at;       /* of the next entry in it */
    size_t inflated_max;
    struct buf *inflated;
    bool inside; /* a wrapper is open: */
    struct batch_header wrapper;
    struct bytes inner; /* its messages */
    size_t inner_at;
    int64_t inner_base; /* what is added to inner offsets */
    enum err err;
};

/* Iterate over a run of entries, all of magic 0 or 1, inner messages of wrappers included.
 * `inflated` is used for one wrapper at a time: the record handed out last is valid until the next
 * call. */
void msgset_iter_init(struct msgset_iter *it, struct bytes set, size_t inflated_max,
                      struct buf *inflated);

/* The next message, as a record without headers; timestamp -1 in magic 0. False at the end, where
 * the set may be cut short within an entry, and at the first malformed one: ask msgset_iter_end().
 * Checks the CRC of inner messages, not of outer ones (entry_check_crc). */
bool msgset_iter_next(struct msgset_iter *it, struct record *out);

/* ERR_OK, ERR_CORRUPT or ERR_MESSAGE_TOO_LARGE (a wrapper inflates to more than inflated_max). */
static inline enum err msgset_iter_end(const struct msgset_iter *it)
{
    return it->err;
}
