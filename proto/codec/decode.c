/* decode.c: bytes -> structs, driven by the tables of desc.h.
 *
 * The input is walked twice by the same code, read_*(), which the compiler specialises: checking
 * (`fill` false) validates and adds up the memory, filling stores. So memory is allocated once, in
 * its exact size, and only for input that is right to its last byte. Filling keeps the bounds
 * checks: they cost little, and a flaw in one pass cannot become a wild read in the other.
 *
 * Recursion is as deep as the schema nests structs, which no input can change. */
#include "codec/codec.h"
#include "codec/internal.h"

_Static_assert(sizeof(struct str) <= CODEC_EXPANSION_MAX, "an empty compact string is one byte");

#define SPECIALISED static inline __attribute__((always_inline))

struct reader {
    const uint8_t *at;
    const uint8_t *end;
    size_t memory_size; /* checking: what arrays and nullable structs will take */
    size_t elements;    /* checking: of all arrays */
    uint8_t *memory;    /* filling: where the next of them goes */
};

enum { LENGTH_NULL = -1, LENGTH_BAD = -2 };

static size_t left(const struct reader *r)
{
    return (size_t)(r->end - r->at);
}

static bool read_long_uvarint(struct reader *r, uint32_t *out)
{
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

static inline bool read_uvarint(struct reader *r, uint32_t *out)
{
    if (r->at < r->end && *r->at < 0x80) {
        *out = *r->at++;
        return true;
    }
    return read_long_uvarint(r, out);
}

/* A length or count, LENGTH_NULL or LENGTH_BAD. Any negative plain length is null, as in Kafka. */
static inline int64_t read_length(struct reader *r, uint8_t flags, bool wide)
{
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
SPECIALISED uint8_t *take_memory(struct reader *r, size_t size, bool fill)
{
    size = (size + 7) / 8 * 8;
    if (!fill) {
        r->memory_size += size;
        return NULL;
    }
    uint8_t *memory = r->memory;
    r->memory += size;
    return memory;
}

static inline void load_fixed(uint8_t type, const uint8_t *from, uint8_t *to)
{
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
SPECIALISED bool read_slice(struct reader *r, uint8_t type, uint8_t flags, uint8_t *out, bool fill)
{
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

SPECIALISED bool read_inner(struct reader *r, const struct msg_plan *plan, uint8_t *out, bool fill)
{
    return fill ? fill_struct(r, plan, out) : check_struct(r, plan);
}

static inline void init_rest(const struct msg_plan *plan, uint8_t *out)
{
    if (plan->rest_size > 0) {
        const uint8_t *defaults = plan->desc->defaults;
        memcpy(out + plan->rest_offset, defaults + plan->rest_offset, plan->rest_size);
    }
}

SPECIALISED bool read_structs(struct reader *r, const struct msg_plan *plan, size_t count,
                              uint8_t *out, bool fill)
{
    if (!fill && plan->fixed) {
        r->at += count * plan->size_min;
        return true;
    }
    const struct msg_desc *desc = plan->desc;
    for (size_t i = 0; i < count; i++) {
        if (fill) {
            init_rest(plan, out);
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
                                 uint8_t *out, bool fill)
{
    uint8_t type = op->type;
    if (msg_is_fixed(type)) {
        size_t size = msg_wire_sizes[type];
        for (size_t i = 0; fill && i < count; i++) {
            load_fixed(type, r->at + i * size, out + i * msg_memory_sizes[type]);
        }
        r->at += count * size;
        return true;
    }
    for (size_t i = 0; i < count; i++) {
        uint8_t *to = fill ? out + i * msg_memory_sizes[type] : NULL;
        if (!read_slice(r, type, op->flags & OP_COMPACT, to, fill)) {
            return false;
        }
    }
    return true;
}

/* Bytes that the smallest element takes. Of fixed types and structs, exactly these. */
static size_t element_size_min(const struct msg_op *op)
{
    if (op->type == MSG_STRUCT) {
        return op->plan->size_min;
    }
    if (msg_is_fixed(op->type)) {
        return msg_wire_sizes[op->type];
    }
    return op->flags & OP_COMPACT ? 1 : op->type == MSG_STRING ? 2 : 4;
}

static void store_array(uint8_t *out, uint8_t *elements, int64_t count)
{
    int32_t count_stored = (int32_t)count;
    memcpy(out, &elements, sizeof(elements));
    memcpy(out + sizeof(elements), &count_stored, sizeof(count_stored));
}

SPECIALISED bool read_array(struct reader *r, const struct msg_op *op, uint8_t *out, bool fill)
{
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
    size_t each = structs ? op->plan->desc->size : msg_memory_sizes[op->type];
    uint8_t *elements = take_memory(r, (size_t)count * each, fill);
    if (fill) {
        store_array(out, elements, count);
    } else {
        r->elements += (size_t)count;
    }
    return structs ? read_structs(r, op->plan, (size_t)count, elements, fill)
                   : read_primitives(r, op, (size_t)count, elements, fill);
}

static bool read_presence(struct reader *r, const struct msg_op *op, bool *present)
{
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

SPECIALISED bool read_pointer(struct reader *r, const struct msg_op *op, uint8_t *out, bool fill)
{
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
SPECIALISED bool read_field(struct reader *r, const struct msg_op *op, uint8_t *out, bool fill)
{
    if (op->flags & OP_ARRAY) {
        return read_array(r, op, out, fill);
    }
    if (op->type != MSG_STRUCT) {
        return read_slice(r, op->type, op->flags, out, fill);
    }
    if (msg_is_pointer(op)) {
        return read_pointer(r, op, out, fill);
    }
    return read_inner(r, op->plan, out, fill);
}

SPECIALISED bool read_tagged_field(struct reader *r, const struct msg_op *op, uint8_t *out,
                                   bool fill)
{
    if (!(op->flags & OP_ARRAY) && msg_is_fixed(op->type)) {
        if (left(r) < msg_wire_sizes[op->type]) {
            return false;
        }
        if (fill) {
            load_fixed(op->type, r->at, out);
        }
        r->at += msg_wire_sizes[op->type];
        return true;
    }
    if (fill && op->type == MSG_STRUCT && !(op->flags & OP_ARRAY) && !msg_is_pointer(op)) {
        init_rest(op->plan, out); /* a tag that comes twice counts the second time */
    }
    return read_field(r, op, out, fill);
}

static const struct msg_op *find_tag(const struct msg_plan *plan, uint32_t tag)
{
    for (unsigned i = 0; i < plan->tagged_count; i++) {
        const struct msg_op *op = &plan->ops[plan->inline_count + i];
        if ((uint32_t)plan->desc->fields[op->field].tag == tag) {
            return op;
        }
    }
    return NULL;
}

/* Like Kafka this takes tags in any order. A value must fill its stated size exactly. */
SPECIALISED bool read_tags(struct reader *r, const struct msg_plan *plan, uint8_t *out, bool fill)
{
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

/* The fields of a run; `op` is its first. Each knows its place, so no load waits for another. */
static inline void fill_run(const uint8_t *from, const struct msg_op *op, uint8_t *out)
{
    const struct msg_op *end = op + op->run_ops;
    load_fixed(op->type, from, out + op->offset);
    for (op++; op < end; op++) {
        load_fixed(op->type, from + op->run_size, out + op->offset);
    }
}

/* Where the plan has a rest, `out` has its defaults already. */
SPECIALISED bool read_struct(struct reader *r, const struct msg_plan *plan, uint8_t *out, bool fill)
{
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
        if (fill) {
            fill_run(r->at, op, out);
        }
        r->at += op->run_size;
        op += op->run_ops;
    }
    return !plan->flexible || read_tags(r, plan, out, fill);
}

static bool check_struct(struct reader *r, const struct msg_plan *plan)
{
    return read_struct(r, plan, NULL, false);
}

static bool fill_struct(struct reader *r, const struct msg_plan *plan, uint8_t *out)
{
    return read_struct(r, plan, out, true);
}

static struct reader reader_of(struct bytes in)
{
    /* An empty slice needs an address to begin and end at. */
    const uint8_t *data = in.data != NULL ? in.data : (const uint8_t *)"";
    return (struct reader){.at = data, .end = data + in.size};
}

enum err codec_measure(const struct msg_desc *desc, int16_t version, struct bytes in,
                       size_t *memory_size, size_t *elements)
{
    struct reader r = reader_of(in);
    if (!check_struct(&r, msg_plan_of(desc, version))) {
        return ERR_MALFORMED;
    }
    *memory_size = r.memory_size;
    if (elements != NULL) {
        *elements = r.elements;
    }
    return ERR_OK;
}

enum err codec_decode(const struct msg_desc *desc, int16_t version, struct bytes in,
                      struct arena *arena, void *out, size_t *used)
{
    const struct msg_plan *plan = msg_plan_of(desc, version);
    size_t memory_size;
    enum err err = codec_measure(desc, version, in, &memory_size, NULL);
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
