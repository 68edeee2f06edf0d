/* codec.c: what needs no bytes: defaults and comparing. Reading is in decode.c, writing in
 * encode.c. */
#include "codec/codec.h"

#include "codec/internal.h"

const uint8_t msg_wire_sizes[MSG_STRUCT] = {
    [MSG_BOOL] = 1,  [MSG_INT8] = 1,  [MSG_INT16] = 2,   [MSG_UINT16] = 2,
    [MSG_INT32] = 4, [MSG_INT64] = 8, [MSG_FLOAT64] = 8, [MSG_UUID] = 16,
};

const uint8_t msg_memory_sizes[MSG_STRUCT] = {
    [MSG_BOOL] = sizeof(bool),
    [MSG_INT8] = sizeof(int8_t),
    [MSG_INT16] = sizeof(int16_t),
    [MSG_UINT16] = sizeof(uint16_t),
    [MSG_INT32] = sizeof(int32_t),
    [MSG_INT64] = sizeof(int64_t),
    [MSG_FLOAT64] = sizeof(double),
    [MSG_UUID] = sizeof(struct uuid),
    [MSG_STRING] = sizeof(struct str),
    [MSG_BYTES] = sizeof(struct bytes),
    [MSG_RECORDS] = sizeof(struct bytes),
};
_Static_assert(sizeof(double) == 8, "float64 is a double");

bool codec_has_version(const struct msg_desc *desc, int version)
{
    return desc->plans != NULL && version >= desc->versions.first && version <= desc->versions.last;
}

void codec_init(const struct msg_desc *desc, void *msg)
{
    memcpy(msg, desc->defaults, desc->size);
}

void *codec_array(const struct msg_desc *desc, struct arena *arena, int32_t count)
{
    must(count >= 0);
    if (count == 0) {
        return NULL;
    }
    uint8_t *elements = arena_alloc(arena, (size_t)count * desc->size);
    for (int32_t i = 0; i < count; i++) {
        codec_init(desc, elements + (size_t)i * desc->size);
    }
    return elements;
}

static bool elements_equal(const struct msg_field *field, const uint8_t *a, const uint8_t *b,
                           size_t count)
{
    if (count == 0) {
        return true;
    }
    must(a != NULL && b != NULL);
    if (msg_is_fixed(field->type)) {
        return memcmp(a, b, count * msg_memory_sizes[field->type]) == 0;
    }
    for (size_t i = 0; i < count; i++) {
        if (field->type == MSG_STRUCT) {
            size_t at = i * field->element->size;
            if (!codec_equal(field->element, a + at, b + at)) {
                return false;
            }
        } else if (field->type == MSG_STRING) {
            if (!str_eq(((const struct str *)a)[i], ((const struct str *)b)[i])) {
                return false;
            }
        } else {
            struct bytes x = ((const struct bytes *)a)[i];
            struct bytes y = ((const struct bytes *)b)[i];
            if (x.size != y.size || (x.data == NULL) != (y.data == NULL) ||
                (x.size > 0 && memcmp(x.data, y.data, x.size) != 0)) {
                return false;
            }
        }
    }
    return true;
}

static bool field_equal(const struct msg_field *field, const uint8_t *a, const uint8_t *b)
{
    a += field->offset;
    b += field->offset;
    if (field->array) {
        int32_t count = msg_count_at(a);
        return count == msg_count_at(b) &&
               elements_equal(field, msg_pointer_at(a), msg_pointer_at(b),
                              count > 0 ? (size_t)count : 0);
    }
    if (field->type == MSG_STRUCT && field->nullable.first <= field->nullable.last) {
        const uint8_t *x = msg_pointer_at(a);
        const uint8_t *y = msg_pointer_at(b);
        return x == y || (x != NULL && y != NULL && codec_equal(field->element, x, y));
    }
    return elements_equal(field, a, b, 1);
}

bool codec_equal(const struct msg_desc *desc, const void *a, const void *b)
{
    for (unsigned i = 0; i < desc->field_count; i++) {
        if (!field_equal(&desc->fields[i], a, b)) {
            return false;
        }
    }
    return true;
}

bool msg_is_default(const struct msg_desc *desc, unsigned index, const uint8_t *msg)
{
    const struct msg_field *field = &desc->fields[index];
    bool slice = field->type == MSG_STRING || field->type == MSG_BYTES;
    if (slice && !field->array && field->nullable.first > field->nullable.last &&
        msg_pointer_at(msg + field->offset) == NULL) {
        return true; /* null means empty where it cannot be null, and empty is the default */
    }
    return field_equal(field, msg, desc->defaults);
}
