/* compress.c: names and levels of the codecs, a thread's contexts, and the way to each codec.
 *
 * The contexts are a cache, the only state of proto/record: making one costs up to some hundred
 * microseconds (deflate: 260 KB zeroed), more than compressing a small batch. They belong to the
 * thread, so there is nothing to lock, and die with it. */
#include "record/compress.h"

#include <pthread.h>

#include "base/mem.h"
#include "base/must.h"
#include "record/compress_internal.h"

/* ---- names and levels ---- */

static const char *const codec_names[COMPRESS_COUNT] = {
    [COMPRESS_NONE] = "none", [COMPRESS_GZIP] = "gzip", [COMPRESS_SNAPPY] = "snappy",
    [COMPRESS_LZ4] = "lz4",   [COMPRESS_ZSTD] = "zstd",
};

struct level_range {
    int32_t min;
    int32_t max;
    int32_t standard;
};

/* Codecs without levels have the range 0..0. */
static const struct level_range level_ranges[COMPRESS_COUNT] = {
    [COMPRESS_GZIP] = {1, 9, -1},
    [COMPRESS_LZ4] = {1, 17, 9},
    [COMPRESS_ZSTD] = {-131072, 22, 3},
};

const char *compress_codec_name(int codec)
{
    return codec >= 0 && codec < COMPRESS_COUNT ? codec_names[codec] : NULL;
}

bool compress_codec_parse(struct str name, enum compress_codec *codec)
{
    if (str_is(name, "uncompressed")) {
        *codec = COMPRESS_NONE;
        return true;
    }
    for (int i = 0; i < COMPRESS_COUNT; i++) {
        if (str_is(name, codec_names[i])) {
            *codec = (enum compress_codec)i;
            return true;
        }
    }
    return false;
}

static bool has_levels(enum compress_codec codec)
{
    return level_ranges[codec].max > level_ranges[codec].min;
}

bool compress_level_valid(enum compress_codec codec, int32_t level)
{
    must(codec >= 0 && codec < COMPRESS_COUNT);
    const struct level_range *range = &level_ranges[codec];
    return !has_levels(codec) || level == COMPRESS_LEVEL_DEFAULT || level == range->standard ||
           (level >= range->min && level <= range->max);
}

static int32_t level_in_range(enum compress_codec codec, int32_t level)
{
    const struct level_range *range = &level_ranges[codec];
    if (level == COMPRESS_LEVEL_DEFAULT || level == range->standard) {
        return range->standard;
    }
    if (level < range->min) {
        return range->min;
    }
    return level > range->max ? range->max : level;
}

/* ---- contexts ---- */

static _Thread_local struct compress_contexts *thread_contexts;
static pthread_key_t contexts_key;
static pthread_once_t contexts_once = PTHREAD_ONCE_INIT;

static void contexts_free(void *arg)
{
    struct compress_contexts *contexts = arg;
    if (contexts->deflate_ready) {
        deflateEnd(&contexts->deflate);
    }
    if (contexts->inflate_ready) {
        inflateEnd(&contexts->inflate);
    }
    LZ4F_freeDecompressionContext(contexts->lz4_dctx);
    ZSTD_freeCCtx(contexts->zstd_cctx);
    ZSTD_freeDCtx(contexts->zstd_dctx);
    mem_free(contexts);
    thread_contexts = NULL;
}

static void contexts_key_make(void)
{
    must(pthread_key_create(&contexts_key, contexts_free) == 0);
}

static struct compress_contexts *contexts_get(void)
{
    if (thread_contexts == NULL) {
        must(pthread_once(&contexts_once, contexts_key_make) == 0);
        thread_contexts = mem_new(struct compress_contexts);
        /* The key is only there to have contexts_free() called when the thread ends. */
        must(pthread_setspecific(contexts_key, thread_contexts) == 0);
    }
    return thread_contexts;
}

/* ---- the sink ---- */

enum { SINK_ROOM_MIN = 1024 };

uint8_t *sink_room(struct sink *sink, size_t least, size_t *room)
{
    must(!sink_overflows(sink));
    size_t produced = sink_produced(sink);
    size_t want = produced > least ? produced : least;
    if (want < SINK_ROOM_MIN) {
        want = SINK_ROOM_MIN;
    }
    if (want > sink->max - produced) {
        want = sink->max - produced + 1;
    }
    uint8_t *at = buf_extend(sink->out, want);
    sink->out->size -= want;
    *room = want;
    return at;
}

/* ---- one way in ---- */

enum err record_compress(enum compress_codec codec, int32_t level, struct bytes in, struct buf *out)
{
    must(codec >= 0 && codec < COMPRESS_COUNT);
    if (in.size > COMPRESS_IN_MAX) {
        return ERR_MESSAGE_TOO_LARGE;
    }
    level = level_in_range(codec, level);
    size_t begin = out->size;
    enum err err = ERR_OK;
    switch (codec) {
    case COMPRESS_NONE:
        buf_put(out, in.data, in.size);
        break;
    case COMPRESS_GZIP:
        err = gzip_compress(contexts_get(), level, in, out);
        break;
    case COMPRESS_SNAPPY:
        err = snappy_frame_compress(in, out);
        break;
    case COMPRESS_LZ4:
        err = lz4_compress(level, in, out);
        break;
    case COMPRESS_ZSTD:
        err = zstd_compress(contexts_get(), level, in, out);
        break;
    case COMPRESS_COUNT:
        must_not_get_here();
    }
    if (err != ERR_OK) {
        out->size = begin;
    }
    return err;
}

static enum err copy(struct bytes in, struct sink *sink)
{
    if (in.size > sink->max) {
        return ERR_MESSAGE_TOO_LARGE;
    }
    buf_put(sink->out, in.data, in.size);
    return ERR_OK;
}

static enum err decompress_into(enum compress_codec codec, struct bytes in, struct sink *sink)
{
    if (codec == COMPRESS_NONE) {
        return copy(in, sink);
    }
    if (in.size == 0) {
        return ERR_CORRUPT;
    }
    switch (codec) {
    case COMPRESS_GZIP:
        return gzip_decompress(contexts_get(), in, sink);
    case COMPRESS_SNAPPY:
        return snappy_any_decompress(in, sink);
    case COMPRESS_LZ4:
        return lz4_decompress(contexts_get(), in, sink);
    case COMPRESS_ZSTD:
        return zstd_decompress(contexts_get(), in, sink);
    case COMPRESS_NONE:
    case COMPRESS_COUNT:
        break;
    }
    must_not_get_here();
}

enum err record_decompress(enum compress_codec codec, struct bytes in, size_t out_max,
                           struct buf *out)
{
    must(codec >= 0 && codec < COMPRESS_COUNT);
    if (in.size > COMPRESS_IN_MAX) {
        return ERR_MESSAGE_TOO_LARGE;
    }
    /* One byte more than out_max must still be a size. */
    struct sink sink = {.out = out, .begin = out->size, .max = out_max};
    if (sink.max > SIZE_MAX / 4) {
        sink.max = SIZE_MAX / 4;
    }
    enum err err = decompress_into(codec, in, &sink);
    if (err != ERR_OK) {
        out->size = sink.begin;
    }
    return err;
}

enum err record_decompress_v0(enum compress_codec codec, struct bytes in, size_t out_max,
                              struct buf *out)
{
    if (codec != COMPRESS_LZ4) {
        return record_decompress(codec, in, out_max, out);
    }
    struct buf repaired = {0};
    size_t skip = 0;
    enum err err = lz4_repair_header(in, &repaired, &skip);
    if (err == ERR_OK) {
        buf_put(&repaired, in.data + skip, in.size - skip);
        err = record_decompress(codec, (struct bytes){repaired.data, repaired.size}, out_max, out);
    }
    buf_fini(&repaired);
    return err;
}
