/* compress_gzip.c: gzip through zlib. */
#include "base/must.h"
#include "record/compress_internal.h"

enum {
    WINDOW_BITS_GZIP = 15 + 16, /* 32 KiB window; 16 says gzip, not zlib format */
    MEMORY_LEVEL = 8,           /* zlib's default */
    RATIO_GUESS = 4,            /* of typical records, for the first buffer */
};

/* Room for so much before anything is known about the content. */
enum { FIRST_ROOM_MAX = 1 << 20 };

static enum err deflate_prepare(struct compress_contexts *contexts, int level)
{
    if (contexts->deflate_ready && contexts->deflate_level == level) {
        return deflateReset(&contexts->deflate) == Z_OK ? ERR_OK : ERR_NO_MEMORY;
    }
    if (contexts->deflate_ready) {
        deflateEnd(&contexts->deflate);
        contexts->deflate_ready = false;
    }
    contexts->deflate = (z_stream){0};
    if (deflateInit2(&contexts->deflate, level, Z_DEFLATED, WINDOW_BITS_GZIP, MEMORY_LEVEL,
                     Z_DEFAULT_STRATEGY) != Z_OK) {
        return ERR_NO_MEMORY;
    }
    contexts->deflate_ready = true;
    contexts->deflate_level = level;
    return ERR_OK;
}

enum err gzip_compress(struct compress_contexts *contexts, int32_t level, struct bytes in,
                       struct buf *out)
{
    enum err err = deflate_prepare(contexts, level);
    if (err != ERR_OK) {
        return err;
    }
    z_stream *z = &contexts->deflate;
    size_t bound = deflateBound(z, in.size);
    z->next_out = buf_extend(out, bound);
    z->avail_out = (uInt)bound;
    /* zlib only reads the input; zlib.h makes it const on request, but not in all versions. */
    z->next_in = (Bytef *)in.data;
    z->avail_in = (uInt)in.size;
    int result = deflate(z, Z_FINISH);
    must(result == Z_STREAM_END); /* deflateBound() promises it */
    out->size -= z->avail_out;
    return ERR_OK;
}

static enum err inflate_prepare(struct compress_contexts *contexts)
{
    if (contexts->inflate_ready) {
        return inflateReset(&contexts->inflate) == Z_OK ? ERR_OK : ERR_NO_MEMORY;
    }
    contexts->inflate = (z_stream){0};
    if (inflateInit2(&contexts->inflate, WINDOW_BITS_GZIP) != Z_OK) {
        return ERR_NO_MEMORY;
    }
    contexts->inflate_ready = true;
    return ERR_OK;
}

/* inflate() into as much room as there is now. */
static int inflate_some(z_stream *z, struct sink *sink, size_t least)
{
    size_t room;
    z->next_out = sink_room(sink, least, &room);
    z->avail_out = room < UINT32_MAX ? (uInt)room : UINT32_MAX;
    uInt given = z->avail_out;
    int result = inflate(z, Z_NO_FLUSH);
    sink->out->size += given - z->avail_out;
    return result;
}

enum err gzip_decompress(struct compress_contexts *contexts, struct bytes in, struct sink *sink)
{
    enum err err = inflate_prepare(contexts);
    if (err != ERR_OK) {
        return err;
    }
    z_stream *z = &contexts->inflate;
    z->next_in = (Bytef *)in.data;
    z->avail_in = (uInt)in.size;
    size_t least = in.size < FIRST_ROOM_MAX / RATIO_GUESS ? in.size * RATIO_GUESS : FIRST_ROOM_MAX;
    for (;;) {
        int result = inflate_some(z, sink, least);
        if (sink_overflows(sink)) {
            return ERR_MESSAGE_TOO_LARGE;
        }
        if (result == Z_STREAM_END && z->avail_in == 0) {
            return ERR_OK;
        }
        if (result == Z_STREAM_END) {
            /* Another member follows. inflateReset() keeps the input. */
            result = inflateReset(z);
        }
        /* No progress although there was room: the input ends early (Z_BUF_ERROR). */
        if (result != Z_OK || (z->avail_in == 0 && z->avail_out > 0)) {
            return ERR_CORRUPT;
        }
    }
}
