/* codec.c: reads and writes any version of any message, driven by the tables of desc.h.
 *
 * Reading walks the input twice by the same code, read_*(), which the compiler specialises:
 * checking (`fill` false) validates and adds up the memory, filling stores. So memory is allocated
 * once, in its exact size, and only for input that is right to its last byte. Filling keeps the
 * bounds checks: they cost little, and a flaw in one pass cannot become a wild read in the other.
 *
 * Writing, too, first sizes and validates (size_*), then writes into room that is known to suffice
 * (write_*), so that an error leaves the output as it was.
 *
 * Recursion is as deep as the schema nests structs, which no input can change. */
#include "codec/codec.h"

#include <string.h>

#include "base/must.h"
#include "base/uuid.h"
#include "codec/desc.h"

/* On the wire; only of the types with a fixed size. */
static const uint8_t wire_sizes[] = {
    [MSG_BOOL] = 1,  [MSG_INT8] = 1,  [MSG_INT16] = 2,   [MSG_UINT16] = 2,
    [MSG_INT32] = 4, [MSG_INT64] = 8, [MSG_FLOAT64] = 8, [MSG_UUID] = 16,
};

/* In C structs and arrays. */
static const uint8_t memory_sizes[] = {
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
_Static_assert(sizeof(struct str) <= CODEC_EXPANSION_MAX, "an empty compact string is one byte");

#define SPECIALISED static inline __attribute__((always_inline))

static bool is_fixed(uint8_t type) {
    return type <= MSG_UUID;
}

/* An embedded struct is there in every version; one that can be null is a pointer in all. */
static bool is_pointer(const struct msg_op *op) {
    return op->type == MSG_STRUCT && (op->flags & (OP_ARRAY | OP_NULL_EVER)) == OP_NULL_EVER;
}

static const struct msg_plan *plan_of(const struct msg_desc *desc, int version) {
    must(codec_has_version(desc, version));
    return desc->plans[version - desc->versions.first];
}

bool codec_has_version(const struct msg_desc *desc, int version) {
    return desc->plans != NULL && version >= desc->versions.first && version <= desc->versions.last;
}

void codec_init(const struct msg_desc *desc, void *msg) {
    memcpy(msg, desc->defaults, desc->size);
}

void *codec_array(const struct msg_desc *desc, struct arena *arena, int32_t count) {
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

/* ------------------------------------------------------------------ reading */

struct reader {
    const uint8_t *at;
    const uint8_t *end;
    size_t memory_size; /* checking: what arrays and nullable structs will take */
    uint8_t *memory;    /* filling: where the next of them goes */
};

enum { LENGTH_NULL = -1, LENGTH_BAD = -2 };

static size_t left(const struct reader *r) {
    return (size_t)(r->end - r->at);
}

static bool read_long_uvarint(struct reader *r, uint32_t *out) {
    uint32_t value = 0;
    for (int shift = 0; shift < 35 && r->at < r->end; shift += 7) {
        uint8_t byte = *r->at++;
        if (shift == 28 && byte > 0x0f) {
            return false; /* more than 32 bits */
        }
        value |= (uint32_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            *out = value;
            return true;
        }
    }
    return false;
}

static inline bool read_uvarint(struct reader *r, uint32_t *out) {
    if (r->at < r->end && *r->at < 0x80) {
        *out = *r->at++;
        return true;
    }
    return read_long_uvarint(r, out);
}

/* A length or count, LENGTH_NULL or LENGTH_BAD. Any negative plain length is null, as in Kafka. */
static inline int64_t read_length(struct reader *r, uint8_t flags, bool wide) {
    if (flags & OP_COMPACT) {
        uint32_t more;
        return read_uvarint(r, &more) ? (int64_t)more - 1 : LENGTH_BAD;
    }
    size_t size = wide ? 4 : 2;
    if (left(r) < size) {
        return LENGTH_BAD;
    }
    int64_t length = wide ? (int32_t)be32_get(r->at) : (int16_t)be16_get(r->at);
    r->at += size;
    return length < 0 ? LENGTH_NULL : length;
}

/* Room for an array or a nullable struct. Checking returns NULL. */
SPECIALISED uint8_t *take_memory(struct reader *r, size_t size, bool fill) {
    size = (size + 7) / 8 * 8;
    if (!fill) {
        r->memory_size += size;
        return NULL;
    }
    uint8_t *memory = r->memory;
    r->memory += size;
    return memory;
}

static inline void load_fixed(uint8_t type, const uint8_t *from, uint8_t *to) {
    switch (type) {
    case MSG_BOOL:
        *(bool *)to = *from != 0;
        break;
    case MSG_INT8:
        *to = *from;
        break;
    case MSG_INT16:
    case MSG_UINT16: {
        uint16_t v = be16_get(from);
        memcpy(to, &v, sizeof(v));
        break;
    }
    case MSG_INT32: {
        uint32_t v = be32_get(from);
        memcpy(to, &v, sizeof(v));
        break;
    }
    case MSG_INT64:
    case MSG_FLOAT64: {
        uint64_t v = be64_get(from);
        memcpy(to, &v, sizeof(v));
        break;
    }
    case MSG_UUID:
        memcpy(to, from, sizeof(struct uuid));
        break;
    default:
        must_not_get_here();
    }
}

/* A string, bytes or records; `flags` say whether null may be and which form the length has. */
SPECIALISED bool read_slice(struct reader *r, uint8_t type, uint8_t flags, uint8_t *out,
                            bool fill) {
    int64_t length = read_length(r, flags, type != MSG_STRING);
    const uint8_t *data = NULL;
    if (length >= 0) {
        if ((uint64_t)length > left(r) || (type == MSG_STRING && length > CODEC_STRING_MAX)) {
            return false;
        }
        data = r->at;
        r->at += length;
    } else if (length == LENGTH_BAD || !(flags & OP_NULL)) {
        return false;
    } else {
        length = 0;
    }
    if (fill && type == MSG_STRING) {
        *(struct str *)out = (struct str){(const char *)data, (size_t)length};
    } else if (fill) {
        *(struct bytes *)out = (struct bytes){data, (size_t)length};
    }
    return true;
}

static bool check_struct(struct reader *r, const struct msg_plan *plan);
static bool fill_struct(struct reader *r, const struct msg_plan *plan, uint8_t *out);

SPECIALISED bool read_inner(struct reader *r, const struct msg_plan *plan, uint8_t *out,
                            bool fill) {
    return fill ? fill_struct(r, plan, out) : check_struct(r, plan);
}

SPECIALISED bool read_structs(struct reader *r, const struct msg_plan *plan, size_t count,
                              uint8_t *out, bool fill) {
    if (!fill && plan->fixed) {
        r->at += count * plan->size_min;
        return true;
    }
    const struct msg_desc *desc = plan->desc;
    for (size_t i = 0; i < count; i++) {
        if (fill && !plan->complete) {
            codec_init(desc, out);
        }
        if (!read_inner(r, plan, out, fill)) {
            return false;
        }
        if (fill) {
            out += desc->size;
        }
    }
    return true;
}

SPECIALISED bool read_primitives(struct reader *r, const struct msg_op *op, size_t count,
                                 uint8_t *out, bool fill) {
    uint8_t type = op->type;
    if (is_fixed(type)) {
        size_t size = wire_sizes[type];
        for (size_t i = 0; fill && i < count; i++) {
            load_fixed(type, r->at + i * size, out + i * memory_sizes[type]);
        }
        r->at += count * size;
        return true;
    }
    for (size_t i = 0; i < count; i++) {
        uint8_t *to = fill ? out + i * memory_sizes[type] : NULL;
        if (!read_slice(r, type, op->flags & OP_COMPACT, to, fill)) {
            return false;
        }
    }
    return true;
}

/* Bytes that the smallest element takes. Of fixed types and structs, exactly these. */
static size_t element_size_min(const struct msg_op *op) {
    if (op->type == MSG_STRUCT) {
        return op->plan->size_min;
    }
    if (is_fixed(op->type)) {
        return wire_sizes[op->type];
    }
    return op->flags & OP_COMPACT ? 1 : op->type == MSG_STRING ? 2 : 4;
}

static void store_array(uint8_t *out, uint8_t *elements, int64_t count) {
    int32_t count_stored = (int32_t)count;
    memcpy(out, &elements, sizeof(elements));
    memcpy(out + sizeof(elements), &count_stored, sizeof(count_stored));
}

SPECIALISED bool read_array(struct reader *r, const struct msg_op *op, uint8_t *out, bool fill) {
    int64_t count = read_length(r, op->flags, true);
    if (count == LENGTH_BAD || (count == LENGTH_NULL && !(op->flags & OP_NULL))) {
        return false;
    }
    if (count <= 0) {
        if (fill) {
            store_array(out, NULL, count);
        }
        return true;
    }
    /* No overflow: the count has at most 32 bits, the smallest size 16. */
    if ((uint64_t)count * element_size_min(op) > left(r) || count > INT32_MAX) {
        return false;
    }
    bool structs = op->type == MSG_STRUCT;
    size_t each = structs ? op->plan->desc->size : memory_sizes[op->type];
    uint8_t *elements = take_memory(r, (size_t)count * each, fill);
    if (fill) {
        store_array(out, elements, count);
    }
    return structs ? read_structs(r, op->plan, (size_t)count, elements, fill)
                   : read_primitives(r, op, (size_t)count, elements, fill);
}

static bool read_presence(struct reader *r, const struct msg_op *op, bool *present) {
    *present = true;
    if (!(op->flags & OP_NULL)) {
        return true;
    }
    if (op->flags & OP_TAGGED) {
        uint32_t mark;
        bool ok = read_uvarint(r, &mark);
        *present = ok && mark != 0;
        return ok;
    }
    if (left(r) < 1) {
        return false;
    }
    *present = (int8_t)*r->at++ >= 0;
    return true;
}

SPECIALISED bool read_pointer(struct reader *r, const struct msg_op *op, uint8_t *out, bool fill) {
    bool present;
    if (!read_presence(r, op, &present)) {
        return false;
    }
    uint8_t *inner = present ? take_memory(r, op->plan->desc->size, fill) : NULL;
    if (fill) {
        memcpy(out, &inner, sizeof(inner));
    }
    return !present || read_structs(r, op->plan, 1, inner, fill);
}

/* A field that is not part of a run. */
SPECIALISED bool read_field(struct reader *r, const struct msg_op *op, uint8_t *out, bool fill) {
    if (op->flags & OP_ARRAY) {
        return read_array(r, op, out, fill);
    }
    if (op->type != MSG_STRUCT) {
        return read_slice(r, op->type, op->flags, out, fill);
    }
    if (is_pointer(op)) {
        return read_pointer(r, op, out, fill);
    }
    return read_inner(r, op->plan, out, fill);
}

SPECIALISED bool read_tagged_field(struct reader *r, const struct msg_op *op, uint8_t *out,
                                   bool fill) {
    if (!(op->flags & OP_ARRAY) && is_fixed(op->type)) {
        if (left(r) < wire_sizes[op->type]) {
            return false;
        }
        if (fill) {
            load_fixed(op->type, r->at, out);
        }
        r->at += wire_sizes[op->type];
        return true;
    }
    if (fill && op->type == MSG_STRUCT && !(op->flags & OP_ARRAY) && !is_pointer(op)) {
        codec_init(op->plan->desc, out); /* a tag that comes twice counts the second time */
    }
    return read_field(r, op, out, fill);
}

static const struct msg_op *find_tag(const struct msg_plan *plan, uint32_t tag) {
    for (unsigned i = 0; i < plan->tagged_count; i++) {
        const struct msg_op *op = &plan->ops[plan->inline_count + i];
        if ((uint32_t)plan->desc->fields[op->field].tag == tag) {
            return op;
        }
    }
    return NULL;
}

/* Like Kafka this takes tags in any order. A value must fill its stated size exactly. */
SPECIALISED bool read_tags(struct reader *r, const struct msg_plan *plan, uint8_t *out, bool fill) {
    uint32_t count;
    if (!read_uvarint(r, &count)) {
        return false;
    }
    for (uint32_t i = 0; i < count; i++) {
        uint32_t tag;
        uint32_t size;
        if (!read_uvarint(r, &tag) || !read_uvarint(r, &size) || size > left(r)) {
            return false;
        }
        const struct msg_op *op = find_tag(plan, tag);
        const uint8_t *behind = r->at + size;
        if (op != NULL) {
            const uint8_t *end = r->end;
            r->end = behind;
            uint8_t *to = fill ? out + op->offset : NULL;
            if (!read_tagged_field(r, op, to, fill) || r->at != behind) {
                return false;
            }
            r->end = end;
        }
        r->at = behind;
    }
    return true;
}

/* `out` holds the defaults already, unless the plan is complete. */
SPECIALISED bool read_struct(struct reader *r, const struct msg_plan *plan, uint8_t *out,
                             bool fill) {
    const struct msg_op *op = plan->ops;
    const struct msg_op *end = op + plan->inline_count;
    while (op < end) {
        if (op->run_ops == 0) {
            if (!read_field(r, op, fill ? out + op->offset : NULL, fill)) {
                return false;
            }
            op++;
            continue;
        }
        if (left(r) < op->run_size) {
            return false;
        }
        const struct msg_op *run_end = op + op->run_ops;
        const uint8_t *behind = r->at + op->run_size;
        for (; fill && op < run_end; op++) {
            load_fixed(op->type, r->at, out + op->offset);
            r->at += wire_sizes[op->type];
        }
        r->at = behind;
        op = run_end;
    }
    return !plan->flexible || read_tags(r, plan, out, fill);
}

static bool check_struct(struct reader *r, const struct msg_plan *plan) {
    return read_struct(r, plan, NULL, false);
}

static bool fill_struct(struct reader *r, const struct msg_plan *plan, uint8_t *out) {
    return read_struct(r, plan, out, true);
}

static struct reader reader_of(struct bytes in) {
    /* An empty slice needs an address to begin and end at. */
    const uint8_t *data = in.data != NULL ? in.data : (const uint8_t *)"";
    return (struct reader){.at = data, .end = data + in.size};
}

enum err codec_measure(const struct msg_desc *desc, int16_t version, struct bytes in,
                       size_t *memory_size) {
    struct reader r = reader_of(in);
    if (!check_struct(&r, plan_of(desc, version))) {
        return ERR_MALFORMED;
    }
    *memory_size = r.memory_size;
    return ERR_OK;
}

enum err codec_decode(const struct msg_desc *desc, int16_t version, struct bytes in,
                      struct arena *arena, void *out, size_t *used) {
    const struct msg_plan *plan = plan_of(desc, version);
    size_t memory_size;
    enum err err = codec_measure(desc, version, in, &memory_size);
    if (err != ERR_OK) {
        return err;
    }
    struct reader r = reader_of(in);
    const uint8_t *start = r.at;
    uint8_t *memory = NULL;
    if (memory_size > 0) {
        must(arena != NULL);
        memory = arena_alloc(arena, memory_size);
        r.memory = memory;
    }
    codec_init(desc, out);
    bool ok = fill_struct(&r, plan, out);
    must(ok);
    must(memory == NULL || r.memory == memory + memory_size);
    if (used != NULL) {
        *used = (size_t)(r.at - start);
    }
    return ERR_OK;
}

/* ------------------------------------------------------------------ comparing */

static void *pointer_at(const uint8_t *at) {
    void *pointer;
    memcpy(&pointer, at, sizeof(pointer));
    return pointer;
}

static int32_t count_at(const uint8_t *at) {
    int32_t count;
    memcpy(&count, at + sizeof(void *), sizeof(count));
    return count;
}

static bool elements_equal(const struct msg_field *field, const uint8_t *a, const uint8_t *b,
                           size_t count) {
    if (count == 0) {
        return true;
    }
    must(a != NULL && b != NULL);
    if (is_fixed(field->type)) {
        return memcmp(a, b, count * memory_sizes[field->type]) == 0;
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

static bool field_equal(const struct msg_field *field, const uint8_t *a, const uint8_t *b) {
    a += field->offset;
    b += field->offset;
    if (field->array) {
        int32_t count = count_at(a);
        return count == count_at(b) &&
               elements_equal(field, pointer_at(a), pointer_at(b), count > 0 ? (size_t)count : 0);
    }
    if (field->type == MSG_STRUCT && field->nullable.first <= field->nullable.last) {
        const uint8_t *x = pointer_at(a);
        const uint8_t *y = pointer_at(b);
        return x == y || (x != NULL && y != NULL && codec_equal(field->element, x, y));
    }
    return elements_equal(field, a, b, 1);
}

bool codec_equal(const struct msg_desc *desc, const void *a, const void *b) {
    for (unsigned i = 0; i < desc->field_count; i++) {
        if (!field_equal(&desc->fields[i], a, b)) {
            return false;
        }
    }
    return true;
}

static bool is_default(const struct msg_desc *desc, unsigned index, const uint8_t *msg) {
    const struct msg_field *field = &desc->fields[index];
    bool slice = field->type == MSG_STRING || field->type == MSG_BYTES;
    if (slice && !field->array && field->nullable.first > field->nullable.last &&
        pointer_at(msg + field->offset) == NULL) {
        return true; /* null means empty where it cannot be null, and empty is the default */
    }
    return field_equal(field, msg, desc->defaults);
}

/* ------------------------------------------------------------------ writing */

static size_t uvarint_size(uint64_t value) {
    size_t size = 1;
    for (; value >= 0x80; value >>= 7) {
        size++;
    }
    return size;
}

/* A length in the form that `flags` ask for; null is as long as 0. */
static size_t length_size(uint8_t flags, bool wide, size_t length) {
    return flags & OP_COMPACT ? uvarint_size((uint64_t)length + 1) : wide ? 4 : 2;
}

static bool size_struct(const struct msg_plan *plan, const uint8_t *in, bool splice, size_t *size);

static bool size_slice(uint8_t type, uint8_t flags, const uint8_t *in, bool splice, size_t *size) {
    bool null = pointer_at(in) == NULL;
    size_t length =
        type == MSG_STRING ? ((const struct str *)in)->size : ((const struct bytes *)in)->size;
    if (null && (flags & OP_NULL_EVER) && !(flags & OP_NULL)) {
        return false;
    }
    if (length > (type == MSG_STRING ? CODEC_STRING_MAX : INT32_MAX)) {
        return false;
    }
    must(!null || length == 0);
    *size += length_size(flags, type != MSG_STRING, length);
    *size += splice && type == MSG_RECORDS ? 0 : length;
    return true;
}

static bool size_array(const struct msg_op *op, const uint8_t *in, bool splice, size_t *size) {
    const uint8_t *elements = pointer_at(in);
    int32_t count = count_at(in);
    if (count < -1 || (count == -1 && !(op->flags & OP_NULL))) {
        return false;
    }
    size_t n = count > 0 ? (size_t)count : 0;
    *size += length_size(op->flags, true, n);
    must(n == 0 || elements != NULL);
    if (is_fixed(op->type)) {
        *size += n * wire_sizes[op->type];
        return true;
    }
    for (size_t i = 0; i < n; i++) {
        bool ok;
        if (op->type == MSG_STRUCT) {
            ok = size_struct(op->plan, elements + i * op->plan->desc->size, splice, size);
        } else {
            const uint8_t *at = elements + i * memory_sizes[op->type];
            ok = size_slice(op->type, op->flags & OP_COMPACT, at, splice, size);
        }
        if (!ok) {
            return false;
        }
    }
    return true;
}

static bool size_field(const struct msg_op *op, const uint8_t *in, bool splice, size_t *size) {
    if (op->flags & OP_ARRAY) {
        return size_array(op, in, splice, size);
    }
    if (is_fixed(op->type)) {
        *size += wire_sizes[op->type];
        return true;
    }
    if (op->type != MSG_STRUCT) {
        return size_slice(op->type, op->flags, in, splice, size);
    }
    if (!is_pointer(op)) {
        return size_struct(op->plan, in, splice, size);
    }
    const uint8_t *inner = pointer_at(in);
    *size += op->flags & OP_NULL ? 1 : 0;
    return inner != NULL ? size_struct(op->plan, inner, splice, size) : op->flags & OP_NULL;
}

static bool size_tags(const struct msg_plan *plan, const uint8_t *in, bool splice, size_t *size) {
    unsigned count = 0;
    for (unsigned i = 0; i < plan->tagged_count; i++) {
        const struct msg_op *op = &plan->ops[plan->inline_count + i];
        if (is_default(plan->desc, op->field, in)) {
            continue;
        }
        size_t value = 0;
        if (!size_field(op, in + op->offset, splice, &value) || value > INT32_MAX) {
            return false;
        }
        *size += uvarint_size((uint64_t)plan->desc->fields[op->field].tag);
        *size += uvarint_size(value) + value;
        count++;
    }
    *size += uvarint_size(count);
    return true;
}

static bool size_struct(const struct msg_plan *plan, const uint8_t *in, bool splice, size_t *size) {
    for (unsigned i = 0; i < plan->absent_count; i++) {
        if (!is_default(plan->desc, plan->absent[i], in)) {
            return false;
        }
    }
    const struct msg_op *op = plan->ops;
    const struct msg_op *end = op + plan->inline_count;
    while (op < end) {
        if (op->run_ops > 0) {
            *size += op->run_size;
            op += op->run_ops;
        } else {
            if (!size_field(op, in + op->offset, splice, size)) {
                return false;
            }
            op++;
        }
    }
    return !plan->flexible || size_tags(plan, in, splice, size);
}

struct writer {
    uint8_t *at;
    const struct buf *out;
    codec_splice_fn *splice; /* NULL: records are copied */
    void *arg;
};

static void write_uvarint(struct writer *w, uint64_t value) {
    for (; value >= 0x80; value >>= 7) {
        *w->at++ = (uint8_t)(value | 0x80);
    }
    *w->at++ = (uint8_t)value;
}

/* `length` -1 is null. */
static void write_length(struct writer *w, uint8_t flags, bool wide, int64_t length) {
    if (flags & OP_COMPACT) {
        write_uvarint(w, (uint64_t)(length + 1));
    } else if (wide) {
        be32_put(w->at, (uint32_t)length);
        w->at += 4;
    } else {
        be16_put(w->at, (uint16_t)length);
        w->at += 2;
    }
}

static inline void write_fixed(struct writer *w, uint8_t type, const uint8_t *from) {
    switch (type) {
    case MSG_BOOL:
        *w->at = *(const bool *)from ? 1 : 0;
        break;
    case MSG_INT8:
        *w->at = *from;
        break;
    case MSG_INT16:
    case MSG_UINT16:
        be16_put(w->at, *(const uint16_t *)from);
        break;
    case MSG_INT32:
        be32_put(w->at, *(const uint32_t *)from);
        break;
    case MSG_INT64:
    case MSG_FLOAT64: {
        uint64_t v;
        memcpy(&v, from, sizeof(v));
        be64_put(w->at, v);
        break;
    }
    case MSG_UUID:
        memcpy(w->at, from, sizeof(struct uuid));
        break;
    default:
        must_not_get_here();
    }
    w->at += wire_sizes[type];
}

static void write_slice(struct writer *w, uint8_t type, uint8_t flags, const uint8_t *in) {
    struct bytes slice;
    if (type == MSG_STRING) {
        const struct str *s = (const struct str *)in;
        slice = (struct bytes){(const uint8_t *)s->ptr, s->size};
    } else {
        slice = *(const struct bytes *)in;
    }
    bool null = slice.data == NULL && (flags & OP_NULL);
    write_length(w, flags, type != MSG_STRING, null ? -1 : (int64_t)slice.size);
    if (slice.data == NULL) {
        return;
    }
    if (w->splice != NULL && type == MSG_RECORDS) {
        w->splice(w->arg, (const struct bytes *)in, (size_t)(w->at - w->out->data));
        return;
    }
    memcpy(w->at, slice.data, slice.size);
    w->at += slice.size;
}

static void write_struct(struct writer *w, const struct msg_plan *plan, const uint8_t *in);

static void write_array(struct writer *w, const struct msg_op *op, const uint8_t *in) {
    const uint8_t *elements = pointer_at(in);
    int32_t count = count_at(in);
    write_length(w, op->flags, true, count);
    size_t each = op->type == MSG_STRUCT ? op->plan->desc->size : memory_sizes[op->type];
    for (int32_t i = 0; i < count; i++) {
        const uint8_t *at = elements + (size_t)i * each;
        if (op->type == MSG_STRUCT) {
            write_struct(w, op->plan, at);
        } else if (is_fixed(op->type)) {
            write_fixed(w, op->type, at);
        } else {
            write_slice(w, op->type, op->flags & OP_COMPACT, at);
        }
    }
}

static void write_pointer(struct writer *w, const struct msg_op *op, const uint8_t *in) {
    const uint8_t *inner = pointer_at(in);
    if (op->flags & OP_NULL) {
        bool tagged = op->flags & OP_TAGGED;
        *w->at++ = inner != NULL ? 1 : tagged ? 0 : 0xff;
    }
    if (inner != NULL) {
        write_struct(w, op->plan, inner);
    }
}

static void write_field(struct writer *w, const struct msg_op *op, const uint8_t *in) {
    if (op->flags & OP_ARRAY) {
        write_array(w, op, in);
    } else if (is_fixed(op->type)) {
        write_fixed(w, op->type, in);
    } else if (op->type != MSG_STRUCT) {
        write_slice(w, op->type, op->flags, in);
    } else if (is_pointer(op)) {
        write_pointer(w, op, in);
    } else {
        write_struct(w, op->plan, in);
    }
}

static void write_tags(struct writer *w, const struct msg_plan *plan, const uint8_t *in) {
    uint64_t set = 0; /* bit i: tagged field i is not its default */
    must(plan->tagged_count <= 64);
    for (unsigned i = 0; i < plan->tagged_count; i++) {
        const struct msg_op *op = &plan->ops[plan->inline_count + i];
        set |= (uint64_t)!is_default(plan->desc, op->field, in) << i;
    }
    write_uvarint(w, (uint64_t)__builtin_popcountll(set));
    for (unsigned i = 0; set >> i != 0; i++) {
        if (!(set >> i & 1)) {
            continue;
        }
        const struct msg_op *op = &plan->ops[plan->inline_count + i];
        size_t size = 0;
        bool ok = size_field(op, in + op->offset, w->splice != NULL, &size);
        must(ok);
        write_uvarint(w, (uint64_t)plan->desc->fields[op->field].tag);
        write_uvarint(w, size);
        write_field(w, op, in + op->offset);
    }
}

static void write_struct(struct writer *w, const struct msg_plan *plan, const uint8_t *in) {
    const struct msg_op *end = plan->ops + plan->inline_count;
    for (const struct msg_op *op = plan->ops; op < end; op++) {
        write_field(w, op, in + op->offset);
    }
    if (plan->flexible) {
        write_tags(w, plan, in);
    }
}

static enum err encode(const struct msg_plan *plan, const void *msg, struct buf *out,
                       codec_splice_fn *fn, void *arg) {
    size_t size = 0;
    if (!size_struct(plan, msg, fn != NULL, &size)) {
        return ERR_INVALID;
    }
    if (size == 0) {
        return ERR_OK; /* some plain requests have no fields; an empty buf has no address */
    }
    struct writer w = {.at = buf_extend(out, size), .out = out, .splice = fn, .arg = arg};
    write_struct(&w, plan, msg);
    must(w.at == out->data + out->size);
    return ERR_OK;
}

enum err codec_encode(const struct msg_desc *desc, int16_t version, const void *msg,
                      struct buf *out) {
    return encode(plan_of(desc, version), msg, out, NULL, NULL);
}

enum err codec_encode_spliced(const struct msg_desc *desc, int16_t version, const void *msg,
                              struct buf *out, codec_splice_fn *fn, void *arg) {
    must(fn != NULL);
    return encode(plan_of(desc, version), msg, out, fn, arg);
}

enum err codec_size(const struct msg_desc *desc, int16_t version, const void *msg, size_t *size) {
    size_t sum = 0;
    if (!size_struct(plan_of(desc, version), msg, false, &sum)) {
        return ERR_INVALID;
    }
    *size = sum;
    return ERR_OK;
}
