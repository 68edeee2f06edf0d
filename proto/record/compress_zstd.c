/* compress_zstd.c: zstd frames.
 *
 * Decompression is not streamed: a stream needs a window as large as the frame's header asks for,
 * up to 128 MiB for a few bytes of input. Instead the whole input is decompressed into the output,
 * which needs no window, with room for a guess first, and again with four times the room while that
 * is too small. So the work is at most a third more than with a right guess. */
#include <zstd_errors.h>

#include "record/compress_internal.h"

enum {
    GUESS_RATIO = 8,       /* of typical records, where the frame does not say */
    GUESS_RATIO_MAX = 64,  /* a declared size is believed up to this ratio at first */
    GUESS_MIN = 16 * 1024, /* a declared size is believed up to this whatever the ratio */
    GROWTH = 4,
};

/* A compression context beyond this (levels of 19 and more) is not kept: 88 MiB at level 19, 640 at
 * 22. */
enum { CCTX_KEEP_MAX = 16 << 20 };

enum err zstd_compress(struct compress_contexts *contexts, int32_t level, struct bytes in,
                       struct buf *out)
{
    if (contexts->zstd_cctx == NULL && (contexts->zstd_cctx = ZSTD_createCCtx()) == NULL) {
        return ERR_NO_MEMORY;
    }
    size_t bound = ZSTD_compressBound(in.size);
    uint8_t *at = buf_extend(out, bound);
    size_t size = ZSTD_compressCCtx(contexts->zstd_cctx, at, bound, in.data, in.size, (int)level);
    if (ZSTD_sizeof_CCtx(contexts->zstd_cctx) > CCTX_KEEP_MAX) {
        ZSTD_freeCCtx(contexts->zstd_cctx);
        contexts->zstd_cctx = NULL;
    }
    if (ZSTD_isError(size)) {
        return ERR_NO_MEMORY; /* the bound was met, so nothing else can fail */
    }
    out->size -= bound - size;
    return ERR_OK;
}

/* Room for a first try. */
static enum err first_guess(struct bytes in, size_t max, size_t *guess)
{
    unsigned long long declared = ZSTD_getFrameContentSize(in.data, in.size);
    if (declared == ZSTD_CONTENTSIZE_ERROR) {
        return ERR_CORRUPT;
    }
    size_t believed_max = in.size * GUESS_RATIO_MAX;
    *guess = in.size * GUESS_RATIO;
    if (declared != ZSTD_CONTENTSIZE_UNKNOWN) {
        *guess = declared < believed_max ? (size_t)declared : believed_max;
        if (*guess < declared && *guess < GUESS_MIN) {
            *guess = declared < GUESS_MIN ? (size_t)declared : GUESS_MIN;
        }
    } else if (*guess < GUESS_MIN) {
        *guess = GUESS_MIN;
    }
    if (*guess > max) {
        *guess = max;
    }
    return ERR_OK;
}

enum err zstd_decompress(struct compress_contexts *contexts, struct bytes in, struct sink *sink)
{
    if (contexts->zstd_dctx == NULL && (contexts->zstd_dctx = ZSTD_createDCtx()) == NULL) {
        return ERR_NO_MEMORY;
    }
    size_t room;
    enum err err = first_guess(in, sink->max, &room);
    if (err != ERR_OK) {
        return err;
    }
    for (;;) {
        sink->out->size = sink->begin;
        /* One spare byte: the address must be valid even when the content is empty. */
        uint8_t *at = buf_extend(sink->out, room + 1);
        size_t size = ZSTD_decompressDCtx(contexts->zstd_dctx, at, room, in.data, in.size);
        if (!ZSTD_isError(size)) {
            sink->out->size = sink->begin + size;
            return ERR_OK;
        }
        if (ZSTD_getErrorCode(size) != ZSTD_error_dstSize_tooSmall) {
            return ERR_CORRUPT;
        }
        if (room == sink->max) {
            return ERR_MESSAGE_TOO_LARGE;
        }
        room = room < sink->max / GROWTH ? (room > 0 ? room * GROWTH : GUESS_MIN) : sink->max;
        if (room > sink->max) {
            room = sink->max;
        }
    }
}
