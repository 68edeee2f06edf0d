/* batch.h: record batches, magic 2: headers, checks of what producers send, in-place patches.
 *
 *   at  size field                       at  size field
 *    0    8  base offset                 27    8  base timestamp (delete horizon if bit 6)
 *    8    4  length: bytes that follow   35    8  max timestamp
 *   12    4  partition leader epoch      43    8  producer id, -1 none
 *   16    1  magic, 2                    51    2  producer epoch, -1 none
 *   17    4  CRC-32C of 21..end          53    4  base sequence, -1 none
 *   21    2  attributes                  57    4  record count
 *   23    4  last offset delta           61       records, compressed as a whole
 *
 * Attributes: bits 0-2 codec, 3 log append time, 4 transactional, 5 control, 6 the base timestamp
 * is a delete horizon. Base offset and leader epoch lie before the CRC's range, so that a leader
 * can fill them in without touching it. Magic is at 16 in every format; older formats are in
 * msgset.h, records in record.h, making batches in batch_builder.h.
 *
 * Threads:   any; nothing here has state.
 * Ownership: slices are borrowed for the call. A struct batch_header is a plain value.
 * Source:    Kafka 3.9, DefaultRecordBatch, LogValidator, UnifiedLog.analyzeAndValidateRecords,
 *            ProduceRequest.validateRecords. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"
#include "record/compress.h"

enum {
    BATCH_AT_BASE_OFFSET = 0,
    BATCH_AT_LENGTH = 8,
    BATCH_AT_LEADER_EPOCH = 12,
    BATCH_AT_MAGIC = 16,
    BATCH_AT_CRC = 17,
    BATCH_AT_ATTRIBUTES = 21, /* the CRC's range begins here */
    BATCH_AT_LAST_OFFSET_DELTA = 23,
    BATCH_AT_BASE_TIMESTAMP = 27,
    BATCH_AT_MAX_TIMESTAMP = 35,
    BATCH_AT_PRODUCER_ID = 43,
    BATCH_AT_PRODUCER_EPOCH = 51,
    BATCH_AT_BASE_SEQUENCE = 53,
    BATCH_AT_RECORD_COUNT = 57,
    BATCH_HEADER_SIZE = 61,
    /* Base offset and length field: what `length` does not count. The same in every magic. */
    BATCH_LENGTH_OVERHEAD = 12,
    /* With these bytes the magic of an entry of any format is known. */
    BATCH_MAGIC_NEEDS = 17,
};

enum {
    BATCH_ATTR_CODEC = 0x07,
    BATCH_ATTR_LOG_APPEND_TIME = 0x08,
    BATCH_ATTR_TRANSACTIONAL = 0x10,
    BATCH_ATTR_CONTROL = 0x20,
    BATCH_ATTR_DELETE_HORIZON = 0x40,
};

/* "None" of timestamps, producer ids, producer epochs, sequences and leader epochs. */
enum { BATCH_NONE = -1 };

enum batch_timestamp_type { BATCH_CREATE_TIME = 0, BATCH_LOG_APPEND_TIME = 1 };

struct batch_header {
    int64_t base_offset;
    int32_t length;
    int32_t leader_epoch;
    int8_t magic;
    uint32_t crc;
    uint16_t attributes;
    int32_t last_offset_delta;
    int64_t base_timestamp_ms;
    int64_t max_timestamp_ms;
    int64_t producer_id;
    int16_t producer_epoch;
    int32_t base_sequence;
    int32_t record_count;
};

/* The whole batch, with its base offset and length fields. */
static inline size_t batch_size_bytes(const struct batch_header *header)
{
    return (size_t)header->length + BATCH_LENGTH_OVERHEAD;
}

/* 0..7; 5, 6 and 7 name no codec. */
static inline int batch_codec(const struct batch_header *header)
{
    return header->attributes & BATCH_ATTR_CODEC;
}

static inline enum batch_timestamp_type batch_timestamp_type(const struct batch_header *header)
{
    return (header->attributes & BATCH_ATTR_LOG_APPEND_TIME) != 0 ? BATCH_LOG_APPEND_TIME
                                                                  : BATCH_CREATE_TIME;
}

static inline bool batch_is_transactional(const struct batch_header *header)
{
    return (header->attributes & BATCH_ATTR_TRANSACTIONAL) != 0;
}

static inline bool batch_is_control(const struct batch_header *header)
{
    return (header->attributes & BATCH_ATTR_CONTROL) != 0;
}

static inline bool batch_has_delete_horizon(const struct batch_header *header)
{
    return (header->attributes & BATCH_ATTR_DELETE_HORIZON) != 0;
}

static inline bool batch_has_producer(const struct batch_header *header)
{
    return header->producer_id > BATCH_NONE;
}

/* Wraps instead of overflowing: a header that was only read may hold anything. */
static inline int64_t batch_last_offset(const struct batch_header *header)
{
    return (int64_t)((uint64_t)header->base_offset + (uint64_t)(int64_t)header->last_offset_delta);
}

/* Does it end where it begins or behind that, and can another one follow? */
static inline bool batch_offsets_hold(const struct batch_header *header)
{
    return header->base_offset >= 0 && header->last_offset_delta >= 0 &&
           header->base_offset < INT64_MAX - header->last_offset_delta;
}

/* `sequence` moved on by `delta`: after 2^31-1 comes 0. Both are >= 0. */
static inline int32_t batch_sequence_add(int32_t sequence, int32_t delta)
{
    return (int32_t)(((uint32_t)sequence + (uint32_t)delta) & 0x7fffffffu);
}

/* Sequence of the last record; BATCH_NONE when the batch has no sequences. */
static inline int32_t batch_last_sequence(const struct batch_header *header)
{
    return header->base_sequence == BATCH_NONE
               ? BATCH_NONE
               : batch_sequence_add(header->base_sequence, header->last_offset_delta);
}

/* Decode the header at the start of `in`; 61 bytes are enough, what follows is not looked at.
 * ERR_AGAIN: so far nothing is wrong, but there are fewer than 61 bytes.
 * ERR_CORRUPT: the magic is not 2 (see entry_read_header for older ones), or the length is less
 * than a header or more than INT32_MAX - 12. A header that was read is not a valid batch yet:
 * nothing else has been checked, not even that `in` holds the whole batch. */
MUST_USE enum err batch_read_header(struct bytes in, struct batch_header *out);

/* Does the CRC of the batch at the start of `whole` agree with its content? ERR_CORRUPT if not,
 * also when `whole` does not hold the whole batch. Bytes behind the batch are not looked at. */
MUST_USE enum err batch_check_crc(struct bytes whole);

/* Patches of a whole batch in memory that the caller may write. */
void batch_patch_offset_epoch(uint8_t *batch, int64_t base_offset, int32_t leader_epoch);

/* The broker's time instead of the producers': sets bit 3 and the max timestamp, and the CRC. */
void batch_patch_append_time(uint8_t *batch, int64_t now_ms);

/* Correct a max timestamp that disagrees with the records; sets the CRC. */
void batch_patch_max_timestamp(uint8_t *batch, int64_t max_timestamp_ms);

/* ---- what producers send ---- */

/* As compression.type=producer: keep the codec that the batch came with. */
enum { BATCH_CODEC_PRODUCER = -1 };

/* What the topic and the request allow. */
struct batch_rules {
    size_t size_bytes_max;     /* max.message.bytes, of the whole batch as it is stored */
    size_t inflated_bytes_max; /* records may decompress to this much; more is MESSAGE_TOO_LARGE */
    int codec;             /* of compression.type: BATCH_CODEC_PRODUCER or an enum compress_codec */
    int32_t level;         /* for recompression */
    bool zstd_allowed;     /* Produce 7 and later */
    bool keys_required;    /* cleanup.policy has compact */
    bool deep;             /* walk compressed records too, as Kafka always does */
    bool log_append_time;  /* message.timestamp.type: the range below does not count */
    int64_t before_max_ms; /* message.timestamp.before.max.ms; INT64_MAX: no bound */
    int64_t after_max_ms;  /* message.timestamp.after.max.ms; INT64_MAX: no bound */
    int64_t now_ms;        /* since 1970 */
};

/* Everything allowed, nothing rebuilt, 1048588 bytes (Kafka's default) and 64 MiB inflated. */
struct batch_rules batch_rules_default(void);

/* Records named in one error; further ones are counted but not named. */
enum { RECORD_ERROR_INDEXES_MAX = 8 };

/* What has to be done to an accepted batch before it goes to the log. */
enum batch_fix {
    BATCH_FIX_NONE,          /* take it in place */
    BATCH_FIX_MAX_TIMESTAMP, /* in place after batch_patch_max_timestamp(max_timestamp_ms), needless
                                where batch_patch_append_time() follows */
    BATCH_FIX_REBUILD, /* batch_rebuild() into fresh memory: other codec, or offsets with gaps */
};

/* What batch_validate_produce() says besides its error. Always set. */
struct record_error {
    /* For accepted batches. */
    enum batch_fix fix;
    int64_t max_timestamp_ms; /* of the records; the header's where they were not walked */
    size_t inflated_bytes;    /* memory that decompressing took, for whoever does it often */
    /* For refused ones: a sentence for the client, and, for ERR_INVALID_RECORD and
     * ERR_INVALID_TIMESTAMP, the records that are to blame, by their index in the batch. `count` is
     * 0 where the batch as a whole is. */
    char message[200];
    int32_t count; /* of batch_indexes, at most RECORD_ERROR_INDEXES_MAX */
    int32_t total; /* of records to blame */
    int32_t batch_indexes[RECORD_ERROR_INDEXES_MAX];
    enum err errs[RECORD_ERROR_INDEXES_MAX]; /* ERR_INVALID_RECORD or ERR_INVALID_TIMESTAMP */
    int64_t timestamps_ms[RECORD_ERROR_INDEXES_MAX]; /* of those records */
};

/* Check the records of one partition in a Produce request (version 3 and later), as far as that
 * needs no partition state, in Kafka's order:
 *
 *   no whole batch, or more than one; magic 0 or 1        ERR_INVALID_RECORD
 *   bytes behind the batch that are no batch              ERR_INVALID_RECORD (Kafka drops them)
 *   impossible length, or magic other than 0, 1, 2        ERR_CORRUPT_MESSAGE
 *   zstd where rules forbid it                            ERR_UNSUPPORTED_COMPRESSION_TYPE
 *   base offset not 0                                     ERR_INVALID_RECORD
 *   larger than size_bytes_max                            ERR_MESSAGE_TOO_LARGE
 *   CRC                                                   ERR_CORRUPT_MESSAGE
 *   codec 5, 6 or 7                                       ERR_UNSUPPORTED_COMPRESSION_TYPE
 *                                                         (Kafka: -1)
 *   record count < 1, or not last offset delta + 1        ERR_INVALID_RECORD
 *   control batch                                         ERR_INVALID_RECORD
 *   producer id without sequence or epoch                 ERR_INVALID_RECORD
 *   transactional without producer id                     ERR_INVALID_RECORD (Kafka takes it)
 *   log append time set by the producer                   ERR_INVALID_TIMESTAMP, all records
 *   records malformed, fewer or more than counted         ERR_INVALID_RECORD
 *   records without a key where keys_required             ERR_INVALID_RECORD, those records
 *   timestamps outside of the range                       ERR_INVALID_TIMESTAMP, those records
 *   decompression fails                                   ERR_INVALID_RECORD (Kafka: -1)
 *   decompresses to more than inflated_bytes_max          ERR_MESSAGE_TOO_LARGE (Kafka: no bound)
 *
 * Uncompressed records are always walked. Compressed ones are inflated only when rules->deep,
 * rules->keys_required or a bound on create times asks for it, or the max timestamp is below the
 * base timestamp; else the header is believed about count and max timestamp. Kafka inflates every
 * batch; a consumer finds malformed records there as well. Where uncompressed offset deltas are not
 * 0..n-1 Kafka stores them as they came; we rebuild.
 *
 * On ERR_OK *out is the header. Memory for inflating is freed before the return. */
MUST_USE enum err batch_validate_produce(struct bytes records, const struct batch_rules *rules,
                                         struct batch_header *out, struct record_error *detail);

/* The i-th named record's own message. Cut to `size`, NUL-terminated. */
void record_error_text(const struct record_error *detail, int32_t i,
                       const struct batch_rules *rules, char *text, size_t size);

/* Append to `out` the batch with its records in the codec and level of `rules` and with offset
 * deltas 0..n-1. Everything else in the header stays, except that the max timestamp is that of the
 * records, and length and CRC fit. For batches that passed batch_validate_produce().
 * ERR_INVALID_RECORD: records malformed (they may not have been walked before),
 * ERR_MESSAGE_TOO_LARGE: larger than rules->inflated_bytes_max on the way or rules->size_bytes_max
 * after it. On an error nothing was appended. `inflated_bytes`, unless NULL, gets the memory that
 * decompressing took, in any case. */
MUST_USE enum err batch_rebuild(struct bytes batch, const struct batch_rules *rules,
                                struct buf *out, size_t *inflated_bytes);
