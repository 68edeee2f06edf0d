#include "base/bytes.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/mem.h"
#include "base/must.h"

int str_cmp(struct str a, struct str b)
{
    if (a.ptr == NULL || b.ptr == NULL) {
        return (a.ptr != NULL) - (b.ptr != NULL);
    }
    size_t common = a.size < b.size ? a.size : b.size;
    int order = memcmp(a.ptr, b.ptr, common);
    if (order != 0) {
        return order;
    }
    return (a.size > b.size) - (a.size < b.size);
}

char *str_dup(struct str s)
{
    return s.ptr != NULL ? mem_strndup(s.ptr, s.size) : NULL;
}

uint64_t bytes_hash(const void *data, size_t size, uint64_t seed)
{
    const uint8_t *at = data;
    uint64_t hash = 14695981039346656037u ^ seed;
    for (size_t i = 0; i < size; i++) {
        hash = (hash ^ at[i]) * 1099511628211u;
    }
    /* FNV's low bits are weak for short keys; fold the high ones in (murmur's finaliser). */
    hash ^= hash >> 33;
    hash *= 0xff51afd7ed558ccdu;
    hash ^= hash >> 33;
    return hash;
}

uint32_t utf8_next(const uint8_t *at, size_t left, size_t *used)
{
    static const uint32_t lowest[] = {0, 0x80, 0x800, 0x10000};
    uint8_t lead = at[0];
    *used = 1;
    if (lead < 0x80) {
        return lead;
    }
    size_t extra = lead >= 0xf0 ? 3 : lead >= 0xe0 ? 2 : 1;
    if (lead < 0xc2 || lead > 0xf4 || extra >= left) {
        return 0xfffd;
    }
    uint32_t point = lead & (0x3fu >> extra);
    for (size_t i = 1; i <= extra; i++) {
        if ((at[i] & 0xc0) != 0x80) {
            return 0xfffd;
        }
        point = point << 6 | (at[i] & 0x3f);
    }
    if (point < lowest[extra] || point > 0x10ffff || (point >= 0xd800 && point < 0xe000)) {
        return 0xfffd;
    }
    *used = extra + 1;
    return point;
}

int32_t str_java_hash(struct str s)
{
    uint32_t hash = 0;
    size_t used;
    for (size_t i = 0; i < s.size; i += used) {
        uint32_t point = utf8_next((const uint8_t *)s.ptr + i, s.size - i, &used);
        if (point >= 0x10000) {
            hash = hash * 31 + (0xd800 + ((point - 0x10000) >> 10));
            point = 0xdc00 + ((point - 0x10000) & 0x3ff);
        }
        hash = hash * 31 + point;
    }
    return (int32_t)hash;
}

uint8_t *buf_extend(struct buf *buf, size_t size)
{
    must(size <= SIZE_MAX / 4);
    if (buf->capacity - buf->size < size) {
        size_t wanted = buf->capacity * 2;
        if (wanted < buf->size + size) {
            wanted = buf->size + size;
        }
        if (wanted < 64) {
            wanted = 64;
        }
        buf->data = mem_realloc(buf->data, wanted);
        buf->capacity = wanted;
    }
    uint8_t *at = buf->data + buf->size;
    buf->size += size;
    must(buf->size <= buf->capacity);
    return at;
}

void buf_put(struct buf *buf, const void *data, size_t size)
{
    if (size > 0) {
        memcpy(buf_extend(buf, size), data, size);
    }
}

void buf_put_text(struct buf *buf, const char *text)
{
    buf_put(buf, text, strlen(text));
}

void buf_printf(struct buf *buf, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    char *text = NULL;
    int size = vasprintf(&text, format, args);
    va_end(args);
    must(size >= 0);
    buf_put(buf, text, (size_t)size);
    mem_free(text);
}

void buf_put_byte(struct buf *buf, uint8_t v)
{
    *buf_extend(buf, 1) = v;
}

void buf_put_be16(struct buf *buf, uint16_t v)
{
    be16_put(buf_extend(buf, 2), v);
}

void buf_put_be32(struct buf *buf, uint32_t v)
{
    be32_put(buf_extend(buf, 4), v);
}

void buf_put_be64(struct buf *buf, uint64_t v)
{
    be64_put(buf_extend(buf, 8), v);
}

void buf_clear(struct buf *buf)
{
    buf->size = 0;
}

void buf_fini(struct buf *buf)
{
    mem_free(buf->data);
    *buf = (struct buf){0};
}
