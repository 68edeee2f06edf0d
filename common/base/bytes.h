/* bytes.h: slices, big-endian integers, and a growing buffer.
 *
 * A slice borrows: whoever made it says how long the bytes live (usually as long as a request).
 * Kafka's integers are big-endian, on the wire and on disk. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Borrowed bytes. data == NULL is Kafka's null; data != NULL with size 0 is empty. */
struct bytes {
    const uint8_t *data;
    size_t size;
};

/* Borrowed text, UTF-8, not NUL-terminated. ptr == NULL is Kafka's null string. */
struct str {
    const char *ptr;
    size_t size;
};

#define STR_NULL ((struct str){NULL, 0})
/* A slice of a string literal. */
#define STR(literal) ((struct str){"" literal, sizeof(literal) - 1})
/* For printf("%.*s", STR_ARG(s)). */
#define STR_ARG(s) (int)(s).size, ((s).ptr != NULL ? (s).ptr : "")

static inline struct str str_of(const char *text)
{
    return (struct str){text, text != NULL ? strlen(text) : 0};
}

/* Null equals only null. */
static inline bool str_eq(struct str a, struct str b)
{
    if (a.ptr == NULL || b.ptr == NULL) {
        return a.ptr == b.ptr;
    }
    return a.size == b.size && memcmp(a.ptr, b.ptr, a.size) == 0;
}

static inline bool str_is(struct str a, const char *text)
{
    return str_eq(a, str_of(text));
}

/* Order of unsigned bytes, shorter first; null before everything. */
int str_cmp(struct str a, struct str b);

/* Copy to fresh NUL-terminated memory (mem_free). Null becomes NULL. */
char *str_dup(struct str s);

/* 64-bit hash (FNV-1a folded), the same in every process. Not for tables whose keys somebody else
 * chooses: base/hash.h. */
uint64_t bytes_hash(const void *data, size_t size, uint64_t seed);

/* The code point at `at`, of `left` > 0 bytes; *used is how many it takes. Malformed input gives
 * U+FFFD and uses one byte. */
uint32_t utf8_next(const uint8_t *at, size_t left, size_t *used);

/* Java's String.hashCode() of UTF-8 text: over UTF-16 code units, wrapping int32. Malformed UTF-8
 * counts as U+FFFD. Kafka places groups and transactional ids with it. */
int32_t str_java_hash(struct str s);

static inline uint16_t be16_get(const void *at)
{
    uint16_t v;
    memcpy(&v, at, sizeof(v));
    return __builtin_bswap16(v);
}

static inline uint32_t be32_get(const void *at)
{
    uint32_t v;
    memcpy(&v, at, sizeof(v));
    return __builtin_bswap32(v);
}

static inline uint64_t be64_get(const void *at)
{
    uint64_t v;
    memcpy(&v, at, sizeof(v));
    return __builtin_bswap64(v);
}

static inline void be16_put(void *at, uint16_t v)
{
    v = __builtin_bswap16(v);
    memcpy(at, &v, sizeof(v));
}

static inline void be32_put(void *at, uint32_t v)
{
    v = __builtin_bswap32(v);
    memcpy(at, &v, sizeof(v));
}

static inline void be64_put(void *at, uint64_t v)
{
    v = __builtin_bswap64(v);
    memcpy(at, &v, sizeof(v));
}

/* A growing buffer. Zero-initialised it is empty; buf_fini() frees. Growth doubles and never fails.
 */
struct buf {
    uint8_t *data;
    size_t size;
    size_t capacity;
};

/* Room for `size` more bytes at the end; returns where they go and counts them in. */
uint8_t *buf_extend(struct buf *buf, size_t size);
void buf_put(struct buf *buf, const void *data, size_t size);
void buf_put_text(struct buf *buf, const char *text);
void buf_printf(struct buf *buf, const char *format, ...) __attribute__((format(printf, 2, 3)));
void buf_put_be16(struct buf *buf, uint16_t v);
void buf_put_be32(struct buf *buf, uint32_t v);
void buf_put_be64(struct buf *buf, uint64_t v);
void buf_put_byte(struct buf *buf, uint8_t v);
/* Forget the content, keep the memory. */
void buf_clear(struct buf *buf);
void buf_fini(struct buf *buf);
