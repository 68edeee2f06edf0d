/* compress_lz4.c: lz4's frame format, within what Kafka's Java client can read: blocks of 64 KiB
 * that do not depend on each other, no content size, no dictionary. */
#include "base/must.h"
#include "record/compress_internal.h"

enum {
    LEVEL_FAST = 9,    /* as Kafka: its default level means the fast compressor */
    LEVEL_HC_MIN = 3,  /* of liblz4: lower ones would be fast as well */
    LEVEL_HC_MAX = 12, /* likewise: higher ones are the same */
    RATIO_GUESS = 4,
};

enum { FIRST_ROOM_MAX = 1 << 20 };

/* The parts of a frame header: magic, flags, block descriptor, checksum. */
enum {
    FRAME_AT_FLAGS = 4,
    FRAME_AT_BLOCK = 5,
    FRAME_HEADER_SIZE = 7,
    FLAGS_VERSION_MASK = 0xc0,
    FLAGS_VERSION = 0x40,
    FLAG_INDEPENDENT = 0x20,
    FLAG_BLOCK_CHECKSUM = 0x10,
    FLAG_CONTENT_CHECKSUM = 0x04,
    FLAGS_KNOWN =
        FLAGS_VERSION_MASK | FLAG_INDEPENDENT | FLAG_BLOCK_CHECKSUM | FLAG_CONTENT_CHECKSUM,
};

static const uint8_t frame_magic[4] = {0x04, 0x22, 0x4d, 0x18};

static int liblz4_level(int32_t level)
{
    if (level == LEVEL_FAST) {
        return 0;
    }
    if (level < LEVEL_HC_MIN) {
        return LEVEL_HC_MIN;
    }
    return level > LEVEL_HC_MAX ? LEVEL_HC_MAX : level;
}

enum err lz4_compress(int32_t level, struct bytes in, struct buf *out)
{
    LZ4F_preferences_t preferences = {
        .frameInfo = {.blockSizeID = LZ4F_max64KB, .blockMode = LZ4F_blockIndependent},
        .compressionLevel = liblz4_level(level),
    };
    size_t bound = LZ4F_compressFrameBound(in.size, &preferences);
    uint8_t *at = buf_extend(out, bound);
    size_t size = LZ4F_compressFrame(at, bound, in.data, in.size, &preferences);
    if (LZ4F_isError(size)) {
        return ERR_NO_MEMORY; /* the bound was met, so nothing else can fail */
    }
    out->size -= bound - size;
    return ERR_OK;
}

static enum err dctx_prepare(struct compress_contexts *contexts)
{
    if (contexts->lz4_dctx != NULL) {
        LZ4F_resetDecompressionContext(contexts->lz4_dctx);
        return ERR_OK;
    }
    size_t result = LZ4F_createDecompressionContext(&contexts->lz4_dctx, LZ4F_VERSION);
    return LZ4F_isError(result) ? ERR_NO_MEMORY : ERR_OK;
}

static enum err decompress_frame(LZ4F_dctx *dctx, struct bytes in, struct sink *sink)
{
    size_t least = in.size < FIRST_ROOM_MAX / RATIO_GUESS ? in.size * RATIO_GUESS : FIRST_ROOM_MAX;
    size_t at = 0;
    for (;;) {
        size_t room;
        uint8_t *to = sink_room(sink, least, &room);
        size_t written = room;
        size_t taken = in.size - at;
        size_t expected = LZ4F_decompress(dctx, to, &written, in.data + at, &taken, NULL);
        if (LZ4F_isError(expected)) {
            return ERR_CORRUPT;
        }
        sink->out->size += written;
        at += taken;
        if (sink_overflows(sink)) {
            return ERR_MESSAGE_TOO_LARGE;
        }
        if (expected == 0) {
            /* The frame is complete. Java's reader stops here; what follows would be lost. */
            return at == in.size ? ERR_OK : ERR_CORRUPT;
        }
        if (written < room && (at == in.size || taken == 0)) {
            return ERR_CORRUPT; /* wants more input, and there is none */
        }
    }
}

enum err lz4_decompress(struct compress_contexts *contexts, struct bytes in, struct sink *sink)
{
    enum err err = dctx_prepare(contexts);
    if (err != ERR_OK) {
        return err;
    }
    err = decompress_frame(contexts->lz4_dctx, in, sink);
    if (err != ERR_OK) {
        /* liblz4 1.9.4 resets not everything: a frame with a content size that was given up leaves
         * what remained of it, and the next good frame would fail for that. */
        LZ4F_freeDecompressionContext(contexts->lz4_dctx);
        contexts->lz4_dctx = NULL;
    }
    return err;
}

enum err lz4_repair_header(struct bytes in, struct buf *out, size_t *skip)
{
    if (in.size < FRAME_HEADER_SIZE || memcmp(in.data, frame_magic, sizeof(frame_magic)) != 0) {
        return ERR_CORRUPT;
    }
    uint8_t flags = in.data[FRAME_AT_FLAGS];
    int block_size_id = (in.data[FRAME_AT_BLOCK] >> 4) & 7;
    if ((flags & FLAGS_VERSION_MASK) != FLAGS_VERSION || (flags & ~FLAGS_KNOWN) != 0 ||
        block_size_id < LZ4F_max64KB || block_size_id > LZ4F_max4MB) {
        return ERR_CORRUPT;
    }
    LZ4F_preferences_t preferences = {
        .frameInfo = {.blockSizeID = (LZ4F_blockSizeID_t)block_size_id,
                      .blockMode = (flags & FLAG_INDEPENDENT) != 0 ? LZ4F_blockIndependent
                                                                   : LZ4F_blockLinked,
                      .blockChecksumFlag = (flags & FLAG_BLOCK_CHECKSUM) != 0
                                               ? LZ4F_blockChecksumEnabled
                                               : LZ4F_noBlockChecksum,
                      .contentChecksumFlag = (flags & FLAG_CONTENT_CHECKSUM) != 0
                                                 ? LZ4F_contentChecksumEnabled
                                                 : LZ4F_noContentChecksum},
    };
    LZ4F_cctx *cctx;
    if (LZ4F_isError(LZ4F_createCompressionContext(&cctx, LZ4F_VERSION))) {
        return ERR_NO_MEMORY;
    }
    uint8_t *at = buf_extend(out, LZ4F_HEADER_SIZE_MAX);
    size_t size = LZ4F_compressBegin(cctx, at, LZ4F_HEADER_SIZE_MAX, &preferences);
    LZ4F_freeCompressionContext(cctx);
    if (LZ4F_isError(size)) {
        return ERR_NO_MEMORY;
    }
    must(size == FRAME_HEADER_SIZE);
    out->size -= LZ4F_HEADER_SIZE_MAX - size;
    *skip = FRAME_HEADER_SIZE;
    return ERR_OK;
}
