/* compress.h: the four codecs of record batches, as Kafka uses them.
 *
 *   gzip    RFC 1952; several members one after the other are read as one.
 *   snappy  written as xerial frames (magic, version 1, then int32 size and a raw block of 32 KiB
 *           each), as snappy-java does; xerial frames and one bare raw block are read.
 *   lz4     one frame of the lz4 frame format, written with independent 64 KiB blocks and without
 *           checksums: Kafka's Java client reads nothing else.
 *   zstd    frames.
 *
 * (The functions are record_compress and record_decompress because zlib owns the name compress.)
 *
 * Bounds:  decompression writes at most out_max bytes and allocates in proportion to what it has
 *          really produced; sizes that the input declares only choose the first guess, which is
 *          itself bounded by the size of the input. lz4 keeps up to 4 MiB of working memory.
 * Threads: any. Each thread keeps its compression contexts for the next call and frees them when it
 *          ends; no context is shared. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"

/* The numbers are those of the attributes' bits 0-2. */
enum compress_codec {
    COMPRESS_NONE = 0,
    COMPRESS_GZIP = 1,
    COMPRESS_SNAPPY = 2,
    COMPRESS_LZ4 = 3,
    COMPRESS_ZSTD = 4,
    COMPRESS_COUNT
};

/* Largest input of either function; a longer one is ERR_MESSAGE_TOO_LARGE. No batch is larger than
 * an int32 can say; the rest of it is room for headers and for data that does not compress. */
enum { COMPRESS_IN_MAX = INT32_MAX - (1 << 20) };

/* Kafka's default level of the codec: gzip -1 (which is 6), lz4 9, zstd 3. */
#define COMPRESS_LEVEL_DEFAULT INT32_MIN

/* "none", "gzip", "snappy", "lz4", "zstd": the values of compression.type; NULL for other numbers.
 */
const char *compress_codec_name(int codec);

/* "uncompressed" is none as well, as in compression.type. False for anything else, "producer" too.
 */
bool compress_codec_parse(struct str name, enum compress_codec *codec);

/* May this level be configured? gzip -1 and 1..9, lz4 1..17, zstd -131072..22; none and snappy have
 * no levels and accept any. COMPRESS_LEVEL_DEFAULT always may. */
bool compress_level_valid(enum compress_codec codec, int32_t level);

/* Append the compressed form of `in`. A level out of range is taken as the nearest one. As in
 * Kafka, lz4 level 9 is the fast compressor and every other level the high-compression one.
 * ERR_MESSAGE_TOO_LARGE, and nothing appended, beyond COMPRESS_IN_MAX. */
MUST_USE enum err record_compress(enum compress_codec codec, int32_t level, struct bytes in,
                                  struct buf *out);

/* Append what `in` decompresses to. `codec` may be COMPRESS_NONE (a copy).
 * ERR_CORRUPT: not this codec's format, ends early, or has bytes behind its end.
 * ERR_MESSAGE_TOO_LARGE: there is more than out_max bytes of it.
 * After an error out->size is as it was before; the memory behind it may have been used. */
MUST_USE enum err record_decompress(enum compress_codec codec, struct bytes in, size_t out_max,
                                    struct buf *out);
