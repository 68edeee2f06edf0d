/* compress_snappy.c: snappy blocks in the frames of snappy-java ("xerial").
 *
 *   82 53 4E 41 50 50 59 00  int32 version 1  int32 oldest compatible version 1
 *   { int32 size, raw snappy block of that size }...
 *
 * A raw block can never be taken for a frame: read as a block, the magic begins with a copy from
 * before the output's start. */
#include <snappy-c.h>

#include "record/compress_internal.h"

enum {
    MAGIC_SIZE = 8,
    FRAME_HEADER_SIZE = 16,
    FRAME_VERSION = 1,
    BLOCK_SIZE_BYTES = 32 * 1024,
    /* The densest element of the format is a copy of 64 bytes in 3. */
    EXPANSION_MAX = 22,
};

static const uint8_t frame_magic[MAGIC_SIZE] = {0x82, 'S', 'N', 'A', 'P', 'P', 'Y', 0};

static void put_block(struct bytes in, struct buf *out)
{
    size_t size = snappy_max_compressed_length(in.size);
    size_t size_at = out->size;
    uint8_t *at = buf_extend(out, 4 + size);
    /* Fails only when the room is too small, which it is not. */
    snappy_compress((const char *)in.data, in.size, (char *)at + 4, &size);
    be32_put(at, (uint32_t)size);
    out->size = size_at + 4 + size;
}

enum err snappy_frame_compress(struct bytes in, struct buf *out)
{
    buf_put(out, frame_magic, MAGIC_SIZE);
    buf_put_be32(out, FRAME_VERSION);
    buf_put_be32(out, FRAME_VERSION);
    for (size_t at = 0; at < in.size; at += BLOCK_SIZE_BYTES) {
        size_t left = in.size - at;
        put_block((struct bytes){in.data + at, left < BLOCK_SIZE_BYTES ? left : BLOCK_SIZE_BYTES},
                  out);
    }
    return ERR_OK;
}

/* A raw block says how long its content is; that is believed only if it is possible at all. */
static enum err block_decompress(struct bytes in, struct sink *sink)
{
    size_t size;
    if (in.size == 0 ||
        snappy_uncompressed_length((const char *)in.data, in.size, &size) != SNAPPY_OK) {
        return ERR_CORRUPT;
    }
    if (size / EXPANSION_MAX > in.size) {
        return ERR_CORRUPT;
    }
    if (size > sink->max - sink_produced(sink)) {
        return ERR_MESSAGE_TOO_LARGE;
    }
    /* One spare byte: the address must be valid even for an empty block. */
    uint8_t *at = buf_extend(sink->out, size + 1);
    sink->out->size--;
    if (snappy_uncompress((const char *)in.data, in.size, (char *)at, &size) != SNAPPY_OK) {
        return ERR_CORRUPT;
    }
    return ERR_OK;
}

static bool is_frame(struct bytes in, size_t at)
{
    return in.size - at >= MAGIC_SIZE && memcmp(in.data + at, frame_magic, MAGIC_SIZE) == 0;
}

/* One step through frames: a header, or a block. */
static enum err frame_step(struct bytes in, size_t *at, struct sink *sink)
{
    size_t left = in.size - *at;
    if (is_frame(in, *at)) {
        if (left < FRAME_HEADER_SIZE || be32_get(in.data + *at + MAGIC_SIZE) < FRAME_VERSION) {
            return ERR_CORRUPT;
        }
        *at += FRAME_HEADER_SIZE;
        return ERR_OK;
    }
    if (left < 4) {
        return ERR_CORRUPT;
    }
    size_t size = be32_get(in.data + *at);
    if (size > left - 4) {
        return ERR_CORRUPT;
    }
    enum err err = block_decompress((struct bytes){in.data + *at + 4, size}, sink);
    *at += 4 + size;
    return err;
}

enum err snappy_any_decompress(struct bytes in, struct sink *sink)
{
    if (!is_frame(in, 0)) {
        return block_decompress(in, sink);
    }
    enum err err = ERR_OK;
    for (size_t at = 0; at < in.size && err == ERR_OK;) {
        err = frame_step(in, &at, sink);
    }
    return err;
}
