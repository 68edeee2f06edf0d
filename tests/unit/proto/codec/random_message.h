/* random_message.h: any message with random content, for tests of the codec.
 *
 * Only fields that the version has are set, so that it can be encoded; the others keep their
 * defaults. Everything lives in the arena. */
#pragma once

#include <string.h>

#include "base/arena.h"
#include "base/rng.h"
#include "base/uuid.h"
#include "codec/codec.h"
#include "codec/desc.h"

enum fill_mode {
    FILL_RANDOM, /* nulls, defaults, empty and full, at random */
    FILL_NULLS,  /* null wherever the version allows it */
    FILL_FULL,   /* nothing null, nothing empty */
};

static inline bool in_range(struct msg_range range, int version)
{
    return version >= range.first && version <= range.last;
}

static inline const uint8_t *random_bytes(struct rng *rng, struct arena *arena, size_t size)
{
    uint8_t *data = arena_alloc(arena, size + 1);
    for (size_t i = 0; i < size; i++) {
        data[i] = (uint8_t)rng_next(rng);
    }
    return data;
}

/* Around the sizes at which a compact length grows by a byte, and mostly small. */
static inline size_t random_size(struct rng *rng, enum fill_mode mode)
{
    static const size_t sizes[] = {0, 1, 2, 5, 20, 126, 127, 128, 300};
    size_t from = mode == FILL_FULL ? 1 : 0;
    return sizes[from + rng_below(rng, sizeof(sizes) / sizeof(sizes[0]) - from)];
}

static inline void random_struct(struct rng *rng, const struct msg_desc *desc, int version,
                                 enum fill_mode mode, struct arena *arena, uint8_t *out);

/* One value of the field's type, not null. Returns its size in memory. */
static inline size_t random_value(struct rng *rng, const struct msg_field *field, int version,
                                  enum fill_mode mode, struct arena *arena, uint8_t *out)
{
    static const uint8_t sizes[] = {sizeof(bool), 1, 2, 2, 4, 8, sizeof(double), 16};
    switch ((enum msg_type)field->type) {
    case MSG_BOOL:
        *(bool *)out = rng_one_in(rng, 2);
        return sizeof(bool);
    case MSG_STRING: {
        size_t size = random_size(rng, mode);
        *(struct str *)out = (struct str){(const char *)random_bytes(rng, arena, size), size};
        return sizeof(struct str);
    }
    case MSG_BYTES:
    case MSG_RECORDS: {
        size_t size = random_size(rng, mode);
        *(struct bytes *)out = (struct bytes){random_bytes(rng, arena, size), size};
        return sizeof(struct bytes);
    }
    case MSG_STRUCT:
        codec_init(field->element, out);
        random_struct(rng, field->element, version, mode, arena, out);
        return field->element->size;
    default:
        memcpy(out, random_bytes(rng, arena, 16), sizes[field->type]);
        return sizes[field->type];
    }
}

static inline void random_array(struct rng *rng, const struct msg_field *field, int version,
                                enum fill_mode mode, struct arena *arena, uint8_t *out)
{
    size_t count = mode == FILL_FULL ? 2 : rng_below(rng, 4);
    if (field->type != MSG_STRUCT && rng_one_in(rng, 20)) {
        count = 150; /* a compact count of two bytes */
    }
    size_t each = field->type == MSG_STRUCT ? field->element->size : 16;
    uint8_t *elements = count > 0 ? arena_zalloc(arena, count, each) : NULL;
    uint8_t *at = elements;
    for (size_t i = 0; i < count; i++) {
        at += random_value(rng, field, version, mode, arena, at);
    }
    int32_t count_stored = (int32_t)count;
    memcpy(out, &elements, sizeof(elements));
    memcpy(out + sizeof(elements), &count_stored, sizeof(count_stored));
}

static inline void random_field(struct rng *rng, const struct msg_field *field, int version,
                                enum fill_mode mode, struct arena *arena, uint8_t *out)
{
    bool pointer = field->type == MSG_STRUCT && field->nullable.first <= field->nullable.last;
    bool null = in_range(field->nullable, version) &&
                (mode == FILL_NULLS || (mode == FILL_RANDOM && rng_one_in(rng, 5)));
    if (field->array && null) {
        static const int32_t count = -1;
        memset(out, 0, sizeof(void *));
        memcpy(out + sizeof(void *), &count, sizeof(count));
    } else if (field->array) {
        random_array(rng, field, version, mode, arena, out);
    } else if (null) {
        memset(out, 0, pointer ? sizeof(void *) : sizeof(struct str));
    } else if (pointer) {
        uint8_t *inner = arena_alloc(arena, field->element->size);
        random_value(rng, field, version, mode, arena, inner);
        memcpy(out, &inner, sizeof(inner));
    } else {
        random_value(rng, field, version, mode, arena, out);
    }
}

static inline void random_struct(struct rng *rng, const struct msg_desc *desc, int version,
                                 enum fill_mode mode, struct arena *arena, uint8_t *out)
{
    for (unsigned i = 0; i < desc->field_count; i++) {
        const struct msg_field *field = &desc->fields[i];
        bool keep_default = mode == FILL_RANDOM && field->tag >= 0 && rng_one_in(rng, 2);
        if (in_range(field->versions, version) && !keep_default) {
            random_field(rng, field, version, mode, arena, out + field->offset);
        }
    }
}

/* A message of the kind, in the arena. */
static inline void *random_message(struct rng *rng, const struct msg_desc *desc, int version,
                                   enum fill_mode mode, struct arena *arena)
{
    uint8_t *msg = codec_array(desc, arena, 1);
    random_struct(rng, desc, version, mode, arena, msg);
    return msg;
}
