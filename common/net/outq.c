#include "net/outq.h"

#include "base/mem.h"
#include "base/must.h"

enum {
    OUTQ_GATHER_MAX = 64, /* memory fragments in one send */
    /* The ring doubles from here; it is bounded by the requests in work. Most replies are one
     * fragment; with a range of a file they are three. */
    OUTQ_INITIAL_FRAGMENTS = 4,
};

/* Memory when file is NULL. */
struct fragment {
    const uint8_t *data;
    struct fs_file *file;
    int64_t offset;
    size_t size; /* left to send */
    outq_release_fn *release;
    void *arg;
};

struct outq {
    struct fragment *ring; /* `initial` until more are needed */
    size_t capacity;       /* a power of two */
    size_t head;
    size_t count;
    size_t mem_bytes;
    size_t file_bytes;
    bool flushing;
    struct fragment initial[OUTQ_INITIAL_FRAGMENTS];
};

struct outq *outq_new(void)
{
    struct outq *outq = mem_alloc(sizeof(*outq)); /* what is in `initial` is not looked at */
    outq->ring = outq->initial;
    outq->capacity = OUTQ_INITIAL_FRAGMENTS;
    outq->head = 0;
    outq->count = 0;
    outq->mem_bytes = 0;
    outq->file_bytes = 0;
    outq->flushing = false;
    return outq;
}

static struct fragment *at(const struct outq *outq, size_t i)
{
    return &outq->ring[(outq->head + i) & (outq->capacity - 1)];
}

static void pop(struct outq *outq)
{
    struct fragment done = *at(outq, 0);
    outq->head = (outq->head + 1) & (outq->capacity - 1);
    outq->count--;
    if (done.file != NULL) {
        outq->file_bytes -= done.size;
    } else {
        outq->mem_bytes -= done.size;
    }
    if (done.release != NULL) {
        done.release(done.arg);
    }
}

static void ring_free(struct outq *outq)
{
    if (outq->ring != outq->initial) {
        mem_free(outq->ring);
    }
}

void outq_free(struct outq *outq)
{
    if (outq == NULL) {
        return;
    }
    while (outq->count > 0) {
        pop(outq);
    }
    ring_free(outq);
    mem_free(outq);
}

static void grow(struct outq *outq)
{
    size_t capacity = outq->capacity * 2;
    struct fragment *ring = mem_zalloc(capacity, sizeof(*ring));
    for (size_t i = 0; i < outq->count; i++) {
        ring[i] = *at(outq, i);
    }
    ring_free(outq);
    outq->ring = ring;
    outq->capacity = capacity;
    outq->head = 0;
}

static void push(struct outq *outq, struct fragment fragment)
{
    if (outq->count == outq->capacity) {
        grow(outq);
    }
    outq->count++;
    *at(outq, outq->count - 1) = fragment;
}

void outq_put_mem(struct outq *outq, const void *data, size_t size, outq_release_fn *release,
                  void *arg)
{
    push(outq, (struct fragment){.data = data, .size = size, .release = release, .arg = arg});
    outq->mem_bytes += size;
}

void outq_put_file(struct outq *outq, struct fs_file *file, int64_t offset, size_t size,
                   outq_release_fn *release, void *arg)
{
    must(file != NULL);
    push(outq, (struct fragment){
                   .file = file, .offset = offset, .size = size, .release = release, .arg = arg});
    outq->file_bytes += size;
}

bool outq_empty(const struct outq *outq)
{
    return outq->count == 0;
}

size_t outq_mem_bytes(const struct outq *outq)
{
    return outq->mem_bytes;
}

size_t outq_total_bytes(const struct outq *outq)
{
    return outq->mem_bytes + outq->file_bytes;
}

/* Take `sent` bytes off the front; what is finished is released. */
static void advance(struct outq *outq, size_t sent)
{
    while (outq->count > 0) {
        struct fragment *first = at(outq, 0);
        if (first->size > sent) {
            if (first->file != NULL) {
                first->offset += (int64_t)sent;
                outq->file_bytes -= sent;
            } else {
                first->data += sent;
                outq->mem_bytes -= sent;
            }
            first->size -= sent;
            return;
        }
        sent -= first->size;
        pop(outq);
        if (sent == 0 && (outq->count == 0 || at(outq, 0)->size > 0)) {
            return;
        }
    }
    must(sent == 0);
}

/* Does anything with bytes in it stand at `i` or behind? The socket then waits for it. */
static bool bytes_follow(const struct outq *outq, size_t i)
{
    while (i < outq->count && at(outq, i)->size == 0) {
        i++;
    }
    return i < outq->count;
}

/* Read a file's fragment into memory. */
static enum err read_small(const struct fragment *small, uint8_t *copy)
{
    size_t got;
    enum err err = fs_pread(small->file, copy, small->size, small->offset, &got);
    return err == ERR_OK && got < small->size ? ERR_CORRUPT : err;
}

/* Send the run of memory and of small file ranges at the front in one call: a range below the price
 * of a sendfile is read and copied. */
static enum err send_gathered(struct outq *outq, struct net_stream *stream, size_t *sent)
{
    struct iovec parts[OUTQ_GATHER_MAX];
    uint8_t copies[OUTQ_COPY_BYTES];
    size_t copied = 0;
    int count = 0;
    size_t i = 0;
    *sent = 0;
    for (; i < outq->count && count < OUTQ_GATHER_MAX; i++) {
        const struct fragment *next = at(outq, i);
        const uint8_t *data = next->data;
        if (next->file != NULL && next->size > 0) {
            if (next->size > sizeof(copies) - copied) {
                break;
            }
            enum err err = read_small(next, copies + copied);
            if (err != ERR_OK) {
                return err;
            }
            data = copies + copied;
            copied += next->size;
        }
        if (next->size > 0) {
            parts[count].iov_base = (void *)(uintptr_t)data;
            parts[count].iov_len = next->size;
            count++;
        }
    }
    if (count == 0) {
        return ERR_OK; /* only empty fragments: advance() releases them */
    }
    return stream->ops->send(stream, parts, count, bytes_follow(outq, i), sent);
}

static enum err send_front(struct outq *outq, struct net_stream *stream, size_t room, size_t *sent)
{
    const struct fragment *first = at(outq, 0);
    if (first->file == NULL || first->size <= OUTQ_COPY_BYTES) {
        return send_gathered(outq, stream, sent);
    }
    size_t size = first->size <= room + OUTQ_REST_BYTES ? first->size : room;
    return stream->ops->send_file(stream, first->file, first->offset, size, sent);
}

static enum err flush_some(struct outq *outq, struct net_stream *stream, size_t room, bool *yielded)
{
    *yielded = false;
    while (outq->count > 0) {
        size_t sent = 0;
        enum err err = send_front(outq, stream, room, &sent);
        if (err != ERR_OK) {
            return err;
        }
        advance(outq, sent);
        room -= sent < room ? sent : room;
        if (room == 0 && outq_total_bytes(outq) > OUTQ_REST_BYTES) {
            *yielded = true;
            return ERR_AGAIN;
        }
    }
    return ERR_OK;
}

enum err outq_flush(struct outq *outq, struct net_stream *stream, size_t turn_bytes, bool *yielded)
{
    must(!outq->flushing); /* a release callback must not send */
    outq->flushing = true;
    enum err err = flush_some(outq, stream, turn_bytes, yielded);
    outq->flushing = false;
    return err;
}
