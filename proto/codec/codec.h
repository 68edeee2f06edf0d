/* codec.h: bytes <-> structs, for every version of every message of the protocol.
 *
 *   struct fetch_request request;
 *   err = codec_decode(&fetch_request_desc, version, body, &arena, &request, NULL);
 *
 *   struct fetch_response reply;
 *   codec_init(&fetch_response_desc, &reply);
 *   reply.responses = codec_array(&fetch_response_fetchable_topic_response_desc, &arena, 3);
 *   reply.responses_count = 3;
 *   err = codec_encode(&fetch_response_desc, version, &reply, &out);
 *
 * The structs are in codec/messages.h, generated from proto/schema. Frame sizes and headers are not
 * part of a message: see api.h for headers. The rules of the encoding: proto/schema/README.md. A
 * description's name and versions, for logs and dispatch, are in codec/desc.h.
 *
 * Threads:   any; nothing here has state.
 * Ownership: a decoded message borrows: strings and bytes point into the input, arrays and nullable
 *            structs live in the arena, all in one allocation. Encoding borrows for the call.
 * Versions:  must be one that the description has (codec_has_version); a version that a peer chose
 *            is checked by whoever dispatches.
 * Null:      a string with ptr NULL, bytes with data NULL, an array with count -1, a NULL pointer
 * to a struct. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/bytes.h"
#include "base/err.h"

struct msg_desc;

enum {
    /* Decoding takes at most so many bytes of arena per byte of input (the worst element is
     * asserted per message in messages.c). Who admits clients' requests charges codec_measure(),
     * not this. */
    CODEC_EXPANSION_MAX = 24,
    /* Longer strings are malformed on the way in and ERR_INVALID on the way out, as in Kafka. */
    CODEC_STRING_MAX = 32767,
};

bool codec_has_version(const struct msg_desc *desc, int version);

/* Every field gets its schema default. `msg` has the size of the description's struct. */
void codec_init(const struct msg_desc *desc, void *msg);

/* `count` structs of the described kind, each with its defaults; one, for code that dispatches by
 * table and does not know the type. NULL when count is 0. */
void *codec_array(const struct msg_desc *desc, struct arena *arena, int32_t count);

/* Check `in` and say how much arena codec_decode() would take for it, and, unless `elements` is
 * NULL, how many elements all its arrays have together; allocates nothing. */
MUST_USE enum err codec_measure(const struct msg_desc *desc, int16_t version, struct bytes in,
                                size_t *memory_size, size_t *elements);

/* Read a message from the start of `in`. Fields that the version lacks get their defaults; tags
 * that we do not know are skipped. *used (may be NULL) is how many bytes the message took; what
 * follows is not looked at. Text is not checked to be UTF-8: Kafka, too, accepts any bytes.
 *
 * ERR_MALFORMED: the bytes break a rule (they end early, null where none may be, a count that the
 * rest cannot hold, ...); then nothing was allocated and `out` is as it was. The input is walked
 * twice, first to check and to measure; time and memory are in proportion to its size.
 * `arena` may be NULL for messages without arrays and nullable structs. */
MUST_USE enum err codec_decode(const struct msg_desc *desc, int16_t version, struct bytes in,
                               struct arena *arena, void *out, size_t *used);

/* Append the encoding to `out`. ERR_INVALID, and nothing appended, when the message cannot be said
 * in this version: a field that the version lacks and that is not ignorable differs from its
 * default, a null where the version has none, a string that is too long, bytes over 2 GiB. A null
 * string or bytes in a field that no version can carry as null is written as an empty one. */
MUST_USE enum err codec_encode(const struct msg_desc *desc, int16_t version, const void *msg,
                               struct buf *out);

/* What codec_encode() would append. */
MUST_USE enum err codec_size(const struct msg_desc *desc, int16_t version, const void *msg,
                             size_t *size);

/* Told of each non-null field of type records, in wire order, instead of copying it: its bytes
 * belong at out->data[out_offset], before what comes after them there. Must not touch `out`. */
typedef void codec_splice_fn(void *arg, const struct bytes *field, size_t out_offset);

/* Like codec_encode(), but of records only the length is written, from the field's size. Their data
 * pointer is only compared with NULL, so it may stand for anything, a range of a file for example.
 */
MUST_USE enum err codec_encode_spliced(const struct msg_desc *desc, int16_t version,
                                       const void *msg, struct buf *out, codec_splice_fn *fn,
                                       void *arg);

/* Whether two messages say the same in every field. Null and empty differ. */
bool codec_equal(const struct msg_desc *desc, const void *a, const void *b);

/* Append the fields that the version has as one line of JSON, for people who debug. Bytes and
 * records show their size only: they are large, or secret. */
void codec_print(const struct msg_desc *desc, int16_t version, const void *msg, struct buf *out);
