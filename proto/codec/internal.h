/* internal.h: what decode.c, encode.c and print.c share. Nobody else includes it. */
#pragma once

#include <string.h>

#include "base/must.h"
#include "base/uuid.h"
#include "codec/codec.h"
#include "codec/desc.h"

/* Bytes on the wire, of the types with a fixed size; bytes in C structs and arrays. */
extern const uint8_t msg_wire_sizes[MSG_STRUCT];
extern const uint8_t msg_memory_sizes[MSG_STRUCT];

static inline bool msg_is_fixed(uint8_t type)
{
    return type <= MSG_UUID;
}

/* An embedded struct is there in every version; one that can be null is a pointer in all. */
static inline bool msg_is_pointer(const struct msg_op *op)
{
    return op->type == MSG_STRUCT && (op->flags & (OP_ARRAY | OP_NULL_EVER)) == OP_NULL_EVER;
}

static inline const struct msg_plan *msg_plan_of(const struct msg_desc *desc, int version)
{
    must(codec_has_version(desc, version));
    return desc->plans[version - desc->versions.first];
}

/* The pointer that an array, a nullable struct, a string or bytes begins with in C. */
static inline void *msg_pointer_at(const void *at)
{
    void *pointer;
    memcpy(&pointer, at, sizeof(pointer));
    return pointer;
}

/* The count behind an array's pointer. */
static inline int32_t msg_count_at(const uint8_t *at)
{
    int32_t count;
    memcpy(&count, at + sizeof(void *), sizeof(count));
    return count;
}

/* Whether field `index` of `msg` has its default, so that leaving it out loses nothing. */
bool msg_is_default(const struct msg_desc *desc, unsigned index, const uint8_t *msg);
