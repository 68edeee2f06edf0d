/* crc32c.c: ISA-L and zlib behind slices of any size. */
#include "record/crc32c.h"

#include <isa-l/crc.h>
#include <limits.h>
#include <zlib.h>

/* Both libraries count in int or unsigned int. */
enum { CHUNK_BYTES_MAX = 1 << 30 };

uint32_t crc32c_extend(uint32_t crc, struct bytes next)
{
    /* ISA-L reads only; its parameter merely lacks the const. */
    unsigned char *at = (unsigned char *)next.data;
    size_t left = next.size;
    uint32_t state = ~crc;
    while (left > 0) {
        size_t chunk = left < CHUNK_BYTES_MAX ? left : CHUNK_BYTES_MAX;
        state = crc32_iscsi(at, (int)chunk, state);
        at += chunk;
        left -= chunk;
    }
    return ~state;
}

uint32_t crc32c(struct bytes in)
{
    return crc32c_extend(0, in);
}

uint32_t crc32_zlib(struct bytes in)
{
    const uint8_t *at = in.data;
    size_t left = in.size;
    uLong state = crc32(0, Z_NULL, 0);
    while (left > 0) {
        size_t chunk = left < CHUNK_BYTES_MAX ? left : CHUNK_BYTES_MAX;
        state = crc32(state, at, (uInt)chunk);
        at += chunk;
        left -= chunk;
    }
    return (uint32_t)state;
}
