/* encode.c: structs -> bytes, driven by the tables of desc.h.
 *
 * A message is sized and validated first (size_*), then written into room that is known to suffice
 * (write_*), so that an error leaves the output as it was. */
#include "codec/codec.h"
#include "codec/internal.h"

static size_t uvarint_size(uint64_t value)
{
    size_t size = 1;
    for (; value >= 0x80; value >>= 7) {
        size++;
    }
    return size;
}

/* A length in the form that `flags` ask for; null is as long as 0. */
static size_t length_size(uint8_t flags, bool wide, size_t length)
{
    return flags & OP_COMPACT ? uvarint_size((uint64_t)length + 1) : wide ? 4 : 2;
}

static bool size_struct(const struct msg_plan *plan, const uint8_t *in, bool splice, size_t *size);

static bool size_slice(uint8_t type, uint8_t flags, const uint8_t *in, bool splice, size_t *size)
{
    bool null = msg_pointer_at(in) == NULL;
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

static bool size_array(const struct msg_op *op, const uint8_t *in, bool splice, size_t *size)
{
    const uint8_t *elements = msg_pointer_at(in);
    int32_t count = msg_count_at(in);
    if (count < -1 || (count == -1 && !(op->flags & OP_NULL))) {
        return false;
    }
    size_t n = count > 0 ? (size_t)count : 0;
    *size += length_size(op->flags, true, n);
    must(n == 0 || elements != NULL);
    if (msg_is_fixed(op->type)) {
        *size += n * msg_wire_sizes[op->type];
        return true;
    }
    for (size_t i = 0; i < n; i++) {
        bool ok;
        if (op->type == MSG_STRUCT) {
            ok = size_struct(op->plan, elements + i * op->plan->desc->size, splice, size);
        } else {
            const uint8_t *at = elements + i * msg_memory_sizes[op->type];
            ok = size_slice(op->type, op->flags & OP_COMPACT, at, splice, size);
        }
        if (!ok) {
            return false;
        }
    }
    return true;
}

static bool size_field(const struct msg_op *op, const uint8_t *in, bool splice, size_t *size)
{
    if (op->flags & OP_ARRAY) {
        return size_array(op, in, splice, size);
    }
    if (msg_is_fixed(op->type)) {
        *size += msg_wire_sizes[op->type];
        return true;
    }
    if (op->type != MSG_STRUCT) {
        return size_slice(op->type, op->flags, in, splice, size);
    }
    if (!msg_is_pointer(op)) {
        return size_struct(op->plan, in, splice, size);
    }
    const uint8_t *inner = msg_pointer_at(in);
    *size += op->flags & OP_NULL ? 1 : 0;
    return inner != NULL ? size_struct(op->plan, inner, splice, size) : op->flags & OP_NULL;
}

static bool size_tags(const struct msg_plan *plan, const uint8_t *in, bool splice, size_t *size)
{
    unsigned count = 0;
    for (unsigned i = 0; i < plan->tagged_count; i++) {
        const struct msg_op *op = &plan->ops[plan->inline_count + i];
        if (msg_is_default(plan->desc, op->field, in)) {
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

/* A quick yes: nothing tagged, and nothing that the version lacks, differs from its default. */
static inline bool rest_is_default(const struct msg_plan *plan, const uint8_t *in)
{
    const uint8_t *defaults = plan->desc->defaults;
    size_t at = plan->rest_offset;
    return plan->rest_size == 0 || memcmp(in + at, defaults + at, plan->rest_size) == 0;
}

/* What the version lacks must be ignorable or have its default. */
static bool absent_is_default(const struct msg_plan *plan, const uint8_t *in)
{
    for (unsigned i = 0; i < plan->absent_count; i++) {
        if (!msg_is_default(plan->desc, plan->absent[i], in)) {
            return false;
        }
    }
    return true;
}

static bool size_struct(const struct msg_plan *plan, const uint8_t *in, bool splice, size_t *size)
{
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
    if (rest_is_default(plan, in)) {
        *size += plan->flexible ? 1 : 0;
        return true;
    }
    return absent_is_default(plan, in) && (!plan->flexible || size_tags(plan, in, splice, size));
}

struct writer {
    uint8_t *at;
    const struct buf *out;
    codec_splice_fn *splice; /* NULL: records are copied */
    void *arg;
};

static void write_uvarint(struct writer *w, uint64_t value)
{
    for (; value >= 0x80; value >>= 7) {
        *w->at++ = (uint8_t)(value | 0x80);
    }
    *w->at++ = (uint8_t)value;
}

/* `length` -1 is null. */
static void write_length(struct writer *w, uint8_t flags, bool wide, int64_t length)
{
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

static inline void store_fixed(uint8_t type, const uint8_t *from, uint8_t *to)
{
    switch (type) {
    case MSG_BOOL:
        *to = *(const bool *)from ? 1 : 0;
        break;
    case MSG_INT8:
        *to = *from;
        break;
    case MSG_INT16:
    case MSG_UINT16:
        be16_put(to, *(const uint16_t *)from);
        break;
    case MSG_INT32:
        be32_put(to, *(const uint32_t *)from);
        break;
    case MSG_INT64:
    case MSG_FLOAT64: {
        uint64_t v;
        memcpy(&v, from, sizeof(v));
        be64_put(to, v);
        break;
    }
    case MSG_UUID:
        memcpy(to, from, sizeof(struct uuid));
        break;
    default:
        must_not_get_here();
    }
}

static void write_fixed(struct writer *w, uint8_t type, const uint8_t *from)
{
    store_fixed(type, from, w->at);
    w->at += msg_wire_sizes[type];
}

/* The fields of a run; `op` is its first. */
static inline void write_run(struct writer *w, const struct msg_op *op, const uint8_t *in)
{
    uint8_t *to = w->at;
    w->at += op->run_size;
    const struct msg_op *end = op + op->run_ops;
    store_fixed(op->type, in + op->offset, to);
    for (op++; op < end; op++) {
        store_fixed(op->type, in + op->offset, to + op->run_size);
    }
}

static void write_slice(struct writer *w, uint8_t type, uint8_t flags, const uint8_t *in)
{
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

static void write_array(struct writer *w, const struct msg_op *op, const uint8_t *in)
{
    const uint8_t *elements = msg_pointer_at(in);
    int32_t count = msg_count_at(in);
    write_length(w, op->flags, true, count);
    size_t each = op->type == MSG_STRUCT ? op->plan->desc->size : msg_memory_sizes[op->type];
    for (int32_t i = 0; i < count; i++) {
        const uint8_t *at = elements + (size_t)i * each;
        if (op->type == MSG_STRUCT) {
            write_struct(w, op->plan, at);
        } else if (msg_is_fixed(op->type)) {
            write_fixed(w, op->type, at);
        } else {
            write_slice(w, op->type, op->flags & OP_COMPACT, at);
        }
    }
}

static void write_pointer(struct writer *w, const struct msg_op *op, const uint8_t *in)
{
    const uint8_t *inner = msg_pointer_at(in);
    if (op->flags & OP_NULL) {
        bool tagged = op->flags & OP_TAGGED;
        *w->at++ = inner != NULL ? 1 : tagged ? 0 : 0xff;
    }
    if (inner != NULL) {
        write_struct(w, op->plan, inner);
    }
}

static void write_field(struct writer *w, const struct msg_op *op, const uint8_t *in)
{
    if (op->flags & OP_ARRAY) {
        write_array(w, op, in);
    } else if (msg_is_fixed(op->type)) {
        write_fixed(w, op->type, in);
    } else if (op->type != MSG_STRUCT) {
        write_slice(w, op->type, op->flags, in);
    } else if (msg_is_pointer(op)) {
        write_pointer(w, op, in);
    } else {
        write_struct(w, op->plan, in);
    }
}

static void write_tags(struct writer *w, const struct msg_plan *plan, const uint8_t *in)
{
    uint64_t set = 0; /* bit i: tagged field i is not its default */
    must(plan->tagged_count <= 64);
    for (unsigned i = 0; i < plan->tagged_count; i++) {
        const struct msg_op *op = &plan->ops[plan->inline_count + i];
        set |= (uint64_t)!msg_is_default(plan->desc, op->field, in) << i;
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

static void write_struct(struct writer *w, const struct msg_plan *plan, const uint8_t *in)
{
    const struct msg_op *op = plan->ops;
    const struct msg_op *end = op + plan->inline_count;
    while (op < end) {
        if (op->run_ops > 0) {
            write_run(w, op, in);
            op += op->run_ops;
        } else {
            write_field(w, op, in + op->offset);
            op++;
        }
    }
    if (plan->flexible && !rest_is_default(plan, in)) {
        write_tags(w, plan, in);
    } else if (plan->flexible) {
        *w->at++ = 0;
    }
}

static enum err encode(const struct msg_plan *plan, const void *msg, struct buf *out,
                       codec_splice_fn *fn, void *arg)
{
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
                      struct buf *out)
{
    return encode(msg_plan_of(desc, version), msg, out, NULL, NULL);
}

enum err codec_encode_spliced(const struct msg_desc *desc, int16_t version, const void *msg,
                              struct buf *out, codec_splice_fn *fn, void *arg)
{
    must(fn != NULL);
    return encode(msg_plan_of(desc, version), msg, out, fn, arg);
}

enum err codec_size(const struct msg_desc *desc, int16_t version, const void *msg, size_t *size)
{
    size_t sum = 0;
    if (!size_struct(msg_plan_of(desc, version), msg, false, &sum)) {
        return ERR_INVALID;
    }
    *size = sum;
    return ERR_OK;
}
