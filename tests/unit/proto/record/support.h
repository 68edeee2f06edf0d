/* support.h: batches for the tests of proto/record. */
#pragma once

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "record/batch_builder.h"
#include "record/crc32c.h"
#include "record/msgset.h"

enum { NOW_MS = 1700000000 };

static inline void expect_err(enum err got, enum err wanted, const char *file, int line)
{
    cr_assert_eq(got, wanted, "%s:%d: got %s, want %s", file, line, err_name(got),
                 err_name(wanted));
}

#define EXPECT_ERR(expression, wanted) expect_err((expression), (wanted), __FILE__, __LINE__)
#define EXPECT_OK(expression)          expect_err((expression), ERR_OK, __FILE__, __LINE__)

/* A slice of text; NULL is null. */
static inline struct bytes text(const char *s)
{
    return (struct bytes){(const uint8_t *)s, s != NULL ? strlen(s) : 0};
}

static inline struct bytes bytes_of(const struct buf *buf)
{
    return (struct bytes){buf->data, buf->size};
}

static inline bool bytes_are(struct bytes got, const char *wanted)
{
    if (got.data == NULL || wanted == NULL) {
        return got.data == NULL && wanted == NULL;
    }
    return got.size == strlen(wanted) && memcmp(got.data, wanted, got.size) == 0;
}

/* Memory of the exact size, so that a sanitizer sees a read too far. mem_free() it. */
static inline struct bytes exact_copy(struct bytes in)
{
    uint8_t *copy = mem_alloc(in.size);
    if (in.size > 0) {
        memcpy(copy, in.data, in.size);
    }
    return (struct bytes){copy, in.size};
}

static inline void put_hex(struct buf *out, const char *hex)
{
    for (; hex[0] != '\0'; hex += 2) {
        char digits[3] = {hex[0], hex[1], '\0'};
        buf_put_byte(out, (uint8_t)strtoul(digits, NULL, 16));
    }
}

/* Make the checksum right again after a change. */
static inline void fix_crc(uint8_t *batch, size_t size)
{
    be32_put(batch + BATCH_AT_CRC,
             crc32c((struct bytes){batch + BATCH_AT_ATTRIBUTES, size - BATCH_AT_ATTRIBUTES}));
}

/* `count` records with keys k0, k1, ... and times NOW_MS, NOW_MS+1, ... */
static inline void put_batch(struct buf *out, enum compress_codec codec, int count)
{
    struct batch_options options = batch_options_default();
    options.codec = codec;
    struct batch_builder builder;
    batch_builder_init(&builder, &options);
    for (int i = 0; i < count; i++) {
        char key[16];
        snprintf(key, sizeof(key), "k%d", i);
        batch_builder_add(&builder, NOW_MS + i, text(key), text("some value"), NULL, 0);
    }
    EXPECT_OK(batch_builder_finish(&builder, out));
    batch_builder_fini(&builder);
}
