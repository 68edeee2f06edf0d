/* compress_internal.h: what the codecs' files share; for proto/record only.
 *
 * Each codec has a compress and a decompress function with the contracts of record_compress() and
 * record_decompress(), except that `level` is already in range, in.size is at most
 * COMPRESS_IN_MAX and > 0 for decompression, and on an error out->size may be anything. */
#pragma once

#include <lz4frame.h>
#include <zlib.h>
#include <zstd.h>

#include "record/compress.h"

/* A thread's contexts: made at first use, kept for the next. All zero: none made yet. */
struct compress_contexts {
    z_stream deflate;
    bool deflate_ready;
    int deflate_level;
    z_stream inflate;
    bool inflate_ready;
    LZ4F_dctx *lz4_dctx;
    ZSTD_CCtx *zstd_cctx;
    ZSTD_DCtx *zstd_dctx;
};

/* Where decompressed bytes go: `out` from `begin` on, at most `max` of them. */
struct sink {
    struct buf *out;
    size_t begin;
    size_t max;
};

static inline size_t sink_produced(const struct sink *sink)
{
    return sink->out->size - sink->begin;
}

static inline bool sink_overflows(const struct sink *sink)
{
    return sink_produced(sink) > sink->max;
}

/* Room for more: about as much as has been produced already, at least `least` (where max allows
 * it), and never more than one byte beyond max: writing that byte shows that there is too much.
 * Advance out->size by what was written before the next call. */
uint8_t *sink_room(struct sink *sink, size_t least, size_t *room);

MUST_USE enum err gzip_compress(struct compress_contexts *contexts, int32_t level, struct bytes in,
                                struct buf *out);
MUST_USE enum err gzip_decompress(struct compress_contexts *contexts, struct bytes in,
                                  struct sink *sink);
MUST_USE enum err snappy_frame_compress(struct bytes in, struct buf *out);
MUST_USE enum err snappy_any_decompress(struct bytes in, struct sink *sink);
MUST_USE enum err lz4_compress(int32_t level, struct bytes in, struct buf *out);
MUST_USE enum err lz4_decompress(struct compress_contexts *contexts, struct bytes in,
                                 struct sink *sink);
MUST_USE enum err zstd_compress(struct compress_contexts *contexts, int32_t level, struct bytes in,
                                struct buf *out);
MUST_USE enum err zstd_decompress(struct compress_contexts *contexts, struct bytes in,
                                  struct sink *sink);

/* record_decompress() for wrappers of magic 0, whose lz4 frames have a header checksum that was
 * computed over the wrong bytes (KAFKA-3160): it is not looked at. */
MUST_USE enum err record_decompress_v0(enum compress_codec codec, struct bytes in, size_t out_max,
                                       struct buf *out);

/* A frame header with the right checksum in place of the one at the start of `in`; *skip is the
 * size of the latter. ERR_CORRUPT when it is no header that Kafka writes in magic 0. */
MUST_USE enum err lz4_repair_header(struct bytes in, struct buf *out, size_t *skip);
