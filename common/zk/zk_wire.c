/* zk_wire.c: see zk_wire.h. ZooKeeper's encoding (jute): big-endian integers, booleans of a byte,
 * and buffers behind a length of four bytes, -1 for null.
 *
 *   connect   protocol:4 zxid-seen:8 timeout:4 session:8 password:buffer read-only:1
 *   its reply protocol:4 timeout:4 session:8 password:buffer, with a timeout of 0 when refused
 *   request   xid:4 operation:4 ...             reply   xid:4 zxid:8 code:4 ...
 *   reads     (4:4 0:1 -1:4 path:buffer watch:1)... -1:4 1:1 -1:4
 *   answered  (4:4 0:1 -1:4 data:buffer stat:68 | -1:4 0:1 code:4 code:4)... -1:4 1:1 -1:4 */
#include "zk/zk_wire.h"

enum {
    OP_GET = 4,
    OP_ERROR = -1,
    OP_MULTI_READ = 22,
    OP_CLOSE = -11,
    LENGTH_SIZE = 4,
    PASSWORD_SIZE = 16,
    HEADER_SIZE = 4 + 8 + 4,
    STEP_SIZE = 4 + 1 + 4,
    STAT_SIZE = 68,
};

/* ---- Out. */

static void put_i32(struct buf *out, int32_t value)
{
    buf_put_be32(out, (uint32_t)value);
}

static void put_i64(struct buf *out, int64_t value)
{
    buf_put_be64(out, (uint64_t)value);
}

static size_t begin(struct buf *out)
{
    put_i32(out, 0);
    return out->size;
}

static void end(struct buf *out, size_t at)
{
    be32_put(out->data + at - LENGTH_SIZE, (uint32_t)(out->size - at));
}

static void put_step(struct buf *out, int32_t operation, bool last)
{
    put_i32(out, operation);
    buf_put_byte(out, last ? 1 : 0);
    put_i32(out, -1);
}

void zk_wire_put_connect(struct buf *out, int64_t zxid, int32_t timeout_ms)
{
    static const uint8_t no_password[PASSWORD_SIZE];
    size_t at = begin(out);
    put_i32(out, 0);
    put_i64(out, zxid);
    put_i32(out, timeout_ms);
    put_i64(out, 0);
    put_i32(out, PASSWORD_SIZE);
    buf_put(out, no_password, PASSWORD_SIZE);
    buf_put_byte(out, 0);
    end(out, at);
}

size_t zk_wire_begin_reads(struct buf *out, int32_t xid)
{
    size_t at = begin(out);
    put_i32(out, xid);
    put_i32(out, OP_MULTI_READ);
    return at;
}

void zk_wire_put_read(struct buf *out, const char *path)
{
    size_t size = strlen(path);
    put_step(out, OP_GET, false);
    put_i32(out, (int32_t)size);
    buf_put(out, path, size);
    buf_put_byte(out, 0);
}

void zk_wire_end_reads(struct buf *out, size_t at)
{
    put_step(out, OP_ERROR, true);
    end(out, at);
}

void zk_wire_put_close(struct buf *out, int32_t xid)
{
    size_t at = begin(out);
    put_i32(out, xid);
    put_i32(out, OP_CLOSE);
    end(out, at);
}

/* ---- In. */

/* The next `size` bytes; NULL when there are not so many. */
static const uint8_t *take(struct bytes *rest, size_t size)
{
    const uint8_t *at = rest->data;
    if (rest->size < size) {
        return NULL;
    }
    rest->data += size;
    rest->size -= size;
    return at;
}

static int32_t i32_at(const uint8_t *at)
{
    return (int32_t)be32_get(at);
}

static int64_t i64_at(const uint8_t *at)
{
    return (int64_t)be64_get(at);
}

bool zk_wire_get_connect(struct bytes frame)
{
    const uint8_t *at = take(&frame, 4 + 4 + 8);
    return at != NULL && i32_at(at + 4) > 0 && i64_at(at + 8) != 0;
}

bool zk_wire_get_header(struct bytes frame, struct zk_wire_header *out, struct bytes *rest)
{
    const uint8_t *at = take(&frame, HEADER_SIZE);
    if (at == NULL) {
        return false;
    }
    *out = (struct zk_wire_header){
        .xid = i32_at(at),
        .zxid = i64_at(at + 4),
        .rc = i32_at(at + 12),
    };
    *rest = frame;
    return true;
}

static bool get_buffer(struct bytes *rest, struct bytes *out)
{
    const uint8_t *at = take(rest, LENGTH_SIZE);
    if (at == NULL) {
        return false;
    }
    int32_t size = i32_at(at);
    *out = (struct bytes){NULL, 0};
    if (size < 0) {
        return size == -1;
    }
    *out = (struct bytes){take(rest, (size_t)size), (size_t)size};
    return out->data != NULL;
}

static struct zk_stat stat_at(const uint8_t *at)
{
    return (struct zk_stat){
        .czxid = i64_at(at),
        .mzxid = i64_at(at + 8),
        .ctime_ms = i64_at(at + 16),
        .mtime_ms = i64_at(at + 24),
        .version = i32_at(at + 32),
        .ephemeral_owner = i64_at(at + 44),
        .children_count = i32_at(at + 56),
    };
}

bool zk_wire_get_read(struct bytes *rest, int32_t *rc, struct bytes *data, struct zk_stat *stat)
{
    const uint8_t *step = take(rest, STEP_SIZE);
    *data = (struct bytes){NULL, 0};
    *stat = (struct zk_stat){0};
    if (step == NULL || step[4] != 0) {
        return false;
    }
    if (i32_at(step) == OP_ERROR) {
        const uint8_t *code = take(rest, 4);
        *rc = code != NULL ? i32_at(code) : 0;
        return code != NULL && *rc != 0;
    }
    *rc = 0;
    if (i32_at(step) != OP_GET || !get_buffer(rest, data)) {
        return false;
    }
    const uint8_t *at = take(rest, STAT_SIZE);
    if (at == NULL) {
        return false;
    }
    *stat = stat_at(at);
    return true;
}

bool zk_wire_at_end(struct bytes rest)
{
    const uint8_t *step = take(&rest, STEP_SIZE);
    return step != NULL && i32_at(step) == OP_ERROR && step[4] == 1 && rest.size == 0;
}
