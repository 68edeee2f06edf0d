/* iov.h: receiving into several parts, as streams that are not sockets do it. */
#pragma once

#include <stdint.h>
#include <string.h>
#include <sys/uio.h>

static inline size_t iov_size(const struct iovec *parts, int count)
{
    size_t size = 0;
    for (int i = 0; i < count; i++) {
        size += parts[i].iov_len;
    }
    return size;
}

/* `size` bytes, which the parts have room for. */
static inline void iov_fill(const struct iovec *parts, int count, const uint8_t *data, size_t size)
{
    for (int i = 0; i < count && size > 0; i++) {
        size_t n = size < parts[i].iov_len ? size : parts[i].iov_len;
        memcpy(parts[i].iov_base, data, n);
        data += n;
        size -= n;
    }
}
