/* print.c: messages for people to read; see codec_print(). */
#include <inttypes.h>

#include "codec/codec.h"
#include "codec/internal.h"

static bool in_range(struct msg_range range, int version)
{
    return version >= range.first && version <= range.last;
}

static void print_text(struct str s, struct buf *out)
{
    if (s.ptr == NULL) {
        buf_put_text(out, "null");
        return;
    }
    buf_put_byte(out, '"');
    for (size_t i = 0; i < s.size; i++) {
        uint8_t c = (uint8_t)s.ptr[i];
        if (c == '"' || c == '\\') {
            buf_put_byte(out, '\\');
            buf_put_byte(out, c);
        } else if (c < 0x20 || c == 0x7f) {
            buf_printf(out, "\\u%04x", c);
        } else {
            buf_put_byte(out, c);
        }
    }
    buf_put_byte(out, '"');
}

static void print_bytes(struct bytes b, struct buf *out)
{
    if (b.data == NULL) {
        buf_put_text(out, "null");
    } else {
        buf_printf(out, "\"<%zu bytes>\"", b.size);
    }
}

static void print_struct(const struct msg_desc *desc, int version, const uint8_t *msg,
                         struct buf *out);

/* One value of the field's type; returns its size in memory. */
static size_t print_value(const struct msg_field *field, int version, const void *at,
                          struct buf *out)
{
    switch ((enum msg_type)field->type) {
    case MSG_BOOL:
        buf_put_text(out, *(const bool *)at ? "true" : "false");
        return sizeof(bool);
    case MSG_INT8:
        buf_printf(out, "%d", *(const int8_t *)at);
        return sizeof(int8_t);
    case MSG_INT16:
        buf_printf(out, "%d", *(const int16_t *)at);
        return sizeof(int16_t);
    case MSG_UINT16:
        buf_printf(out, "%u", *(const uint16_t *)at);
        return sizeof(uint16_t);
    case MSG_INT32:
        buf_printf(out, "%" PRId32, *(const int32_t *)at);
        return sizeof(int32_t);
    case MSG_INT64:
        buf_printf(out, "%" PRId64, *(const int64_t *)at);
        return sizeof(int64_t);
    case MSG_FLOAT64:
        buf_printf(out, "%.17g", *(const double *)at);
        return sizeof(double);
    case MSG_UUID: {
        char text[UUID_TEXT_SIZE + 1];
        uuid_format(*(const struct uuid *)at, text);
        buf_printf(out, "\"%s\"", text);
        return sizeof(struct uuid);
    }
    case MSG_STRING:
        print_text(*(const struct str *)at, out);
        return sizeof(struct str);
    case MSG_BYTES:
    case MSG_RECORDS:
        print_bytes(*(const struct bytes *)at, out);
        return sizeof(struct bytes);
    case MSG_STRUCT:
        print_struct(field->element, version, at, out);
        return field->element->size;
    }
    must_not_get_here();
}

static void print_array(const struct msg_field *field, int version, const uint8_t *at,
                        struct buf *out)
{
    const uint8_t *element = msg_pointer_at(at);
    int32_t count = msg_count_at(at);
    if (count < 0) {
        buf_put_text(out, "null");
        return;
    }
    buf_put_byte(out, '[');
    for (int32_t i = 0; i < count; i++) {
        buf_put_text(out, i > 0 ? ", " : "");
        element += print_value(field, version, element, out);
    }
    buf_put_byte(out, ']');
}

static void print_field(const struct msg_field *field, int version, const uint8_t *at,
                        struct buf *out)
{
    if (field->array) {
        print_array(field, version, at, out);
        return;
    }
    if (field->type == MSG_STRUCT && field->nullable.first <= field->nullable.last) {
        at = msg_pointer_at(at);
        if (at == NULL) {
            buf_put_text(out, "null");
            return;
        }
    }
    print_value(field, version, at, out);
}

static void print_struct(const struct msg_desc *desc, int version, const uint8_t *msg,
                         struct buf *out)
{
    const char *separator = "";
    buf_put_byte(out, '{');
    for (unsigned i = 0; i < desc->field_count; i++) {
        const struct msg_field *field = &desc->fields[i];
        if (!in_range(field->versions, version)) {
            continue;
        }
        buf_printf(out, "%s\"%s\": ", separator, field->name);
        print_field(field, version, msg + field->offset, out);
        separator = ", ";
    }
    buf_put_byte(out, '}');
}

void codec_print(const struct msg_desc *desc, int16_t version, const void *msg, struct buf *out)
{
    must(codec_has_version(desc, version));
    print_struct(desc, version, msg, out);
}
