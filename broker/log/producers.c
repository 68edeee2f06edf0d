#include "log/producers.h"

#include "base/hash.h"
#include "base/mem.h"
#include "base/must.h"
#include "record/crc32c.h"

enum {
    BATCHES_KEPT = 5,
    SNAPSHOT_VERSION = 1,
    SNAPSHOT_HEAD_BYTES = 10, /* version i16, crc u32, count i32 */
    SNAPSHOT_CRC_FROM = 6,
    SNAPSHOT_ENTRY_BYTES = 46,
};

struct producer_batch {
    int32_t last_sequence;
    int32_t offset_delta;
    int64_t last_offset;
    int64_t timestamp_ms;
};

struct producer {
    UT_hash_handle hh;
    int64_t id;
    int16_t epoch;
    int32_t coordinator_epoch;
    int64_t timestamp_ms;
    int64_t txn_first_offset; /* -1: no open transaction */
    int32_t batches_count;
    struct producer_batch batches[BATCHES_KEPT]; /* oldest first */
};

void producers_clear(struct producers *producers)
{
    struct producer *producer;
    struct producer *next;
    HASH_ITER (hh, producers->by_id, producer, next) {
        HASH_DEL(producers->by_id, producer);
        mem_free(producer);
    }
}

int32_t producers_count(const struct producers *producers)
{
    return (int32_t)HASH_COUNT(producers->by_id);
}

static struct producer *find(const struct producers *producers, int64_t id)
{
    struct producer *producer;
    HASH_FIND(hh, producers->by_id, &id, sizeof(id), producer);
    return producer;
}

static struct producer *find_or_add(struct producers *producers, int64_t id)
{
    struct producer *producer = find(producers, id);
    if (producer == NULL) {
        producer = mem_new(struct producer);
        producer->id = id;
        producer->epoch = -1;
        producer->coordinator_epoch = -1;
        producer->txn_first_offset = -1;
        HASH_ADD(hh, producers->by_id, id, sizeof(producer->id), producer);
    }
    return producer;
}

static int32_t first_sequence(const struct producer_batch *batch)
{
    return (int32_t)(((uint32_t)batch->last_sequence - (uint32_t)batch->offset_delta) &
                     0x7fffffffu);
}

static bool find_duplicate(const struct producer *producer, const struct batch_header *header,
                           struct producers_duplicate *duplicate)
{
    if (producer->epoch != header->producer_epoch) {
        return false;
    }
    for (int32_t i = 0; i < producer->batches_count; i++) {
        const struct producer_batch *batch = &producer->batches[i];
        if (first_sequence(batch) == header->base_sequence &&
            batch->last_sequence == batch_last_sequence(header)) {
            *duplicate = (struct producers_duplicate){
                .found = true,
                .base_offset = batch->last_offset - batch->offset_delta,
                .last_offset = batch->last_offset,
                .timestamp_ms = batch->timestamp_ms,
            };
            return true;
        }
    }
    return false;
}

static enum err check_sequence(const struct producer *producer, const struct batch_header *header)
{
    if (header->producer_epoch != producer->epoch) {
        bool first = header->base_sequence == 0 || producer->epoch < 0;
        return first ? ERR_OK : ERR_OUT_OF_ORDER_SEQUENCE_NUMBER;
    }
    int32_t expected = 0;
    if (producer->batches_count > 0) {
        int32_t last = producer->batches[producer->batches_count - 1].last_sequence;
        expected = batch_sequence_add(last, 1);
    }
    return header->base_sequence == expected ? ERR_OK : ERR_OUT_OF_ORDER_SEQUENCE_NUMBER;
}

enum err producers_check(const struct producers *producers, const struct batch_header *header,
                         enum producers_origin origin, struct producers_duplicate *duplicate)
{
    *duplicate = (struct producers_duplicate){0};
    if (!batch_has_producer(header) || origin == PRODUCERS_REPLICATION) {
        return ERR_OK;
    }
    const struct producer *producer = find(producers, header->producer_id);
    if (producer == NULL) {
        return ERR_OK; /* whoever is unknown (or was forgotten) may begin anywhere */
    }
    if (header->producer_epoch < producer->epoch) {
        return ERR_INVALID_PRODUCER_EPOCH;
    }
    if (origin == PRODUCERS_COORDINATOR || batch_is_control(header) ||
        find_duplicate(producer, header, duplicate)) {
        return ERR_OK;
    }
    return check_sequence(producer, header);
}

int32_t producers_last_sequence(const struct producers *producers, int64_t id)
{
    const struct producer *producer = find(producers, id);
    bool none = producer == NULL || producer->batches_count == 0;
    return none ? -1 : producer->batches[producer->batches_count - 1].last_sequence;
}

static void add_batch(struct producer *producer, const struct batch_header *header)
{
    if (producer->batches_count == BATCHES_KEPT) {
        memmove(producer->batches, producer->batches + 1,
                (BATCHES_KEPT - 1) * sizeof(producer->batches[0]));
        producer->batches_count--;
    }
    producer->batches[producer->batches_count++] = (struct producer_batch){
        .last_sequence = batch_last_sequence(header),
        .offset_delta = header->last_offset_delta,
        .last_offset = batch_last_offset(header),
        .timestamp_ms = header->max_timestamp_ms,
    };
}

void producers_update(struct producers *producers, const struct batch_header *header)
{
    if (!batch_has_producer(header)) {
        return;
    }
    struct producer *producer = find_or_add(producers, header->producer_id);
    if (header->producer_epoch != producer->epoch) {
        producer->epoch = header->producer_epoch;
        producer->batches_count = 0;
    }
    producer->timestamp_ms = header->max_timestamp_ms;
    if (batch_is_control(header)) {
        producer->txn_first_offset = -1;
        return;
    }
    if (batch_is_transactional(header) && producer->txn_first_offset < 0) {
        producer->txn_first_offset = header->base_offset;
    }
    if (header->base_sequence >= 0) {
        add_batch(producer, header);
    }
}

void producers_recall(struct producers *producers, const struct batch_header *header)
{
    struct producer *producer =
        batch_has_producer(header) ? find(producers, header->producer_id) : NULL;
    if (producer == NULL || producer->epoch != header->producer_epoch ||
        producer->batches_count == 0 || batch_is_control(header) || header->base_sequence < 0) {
        return;
    }
    struct producer_batch last = producer->batches[producer->batches_count - 1];
    if (batch_last_offset(header) >= last.last_offset) {
        return;
    }
    producer->batches_count--;
    if (producer->batches_count == BATCHES_KEPT - 1) {
        memmove(producer->batches, producer->batches + 1,
                (BATCHES_KEPT - 2) * sizeof(producer->batches[0]));
        producer->batches_count--;
    }
    add_batch(producer, header);
    producer->batches[producer->batches_count++] = last;
}

void producers_expire(struct producers *producers, int64_t now_ms, int64_t expiration_ms)
{
    struct producer *producer;
    struct producer *next;
    HASH_ITER (hh, producers->by_id, producer, next) {
        /* Producers choose their timestamps: they may be anything. */
        int64_t idle_ms;
        bool expired = __builtin_sub_overflow(now_ms, producer->timestamp_ms, &idle_ms)
                           ? now_ms > producer->timestamp_ms
                           : idle_ms >= expiration_ms;
        if (producer->txn_first_offset < 0 && expired) {
            HASH_DEL(producers->by_id, producer);
            mem_free(producer);
        }
    }
}

/* ---- snapshots: see producers.h ---- */

static void entry_write(const struct producer *producer, struct buf *out)
{
    const struct producer_batch *last =
        producer->batches_count > 0 ? &producer->batches[producer->batches_count - 1] : NULL;
    buf_put_be64(out, (uint64_t)producer->id);
    buf_put_be16(out, (uint16_t)producer->epoch);
    buf_put_be32(out, last != NULL ? (uint32_t)last->last_sequence : (uint32_t)-1);
    buf_put_be64(out, last != NULL ? (uint64_t)last->last_offset : (uint64_t)-1);
    buf_put_be32(out, last != NULL ? (uint32_t)last->offset_delta : 0);
    buf_put_be64(out, (uint64_t)producer->timestamp_ms);
    buf_put_be32(out, (uint32_t)producer->coordinator_epoch);
    buf_put_be64(out, (uint64_t)producer->txn_first_offset);
}

void producers_snapshot_write(const struct producers *producers, struct buf *out)
{
    size_t start = out->size;
    buf_put_be16(out, SNAPSHOT_VERSION);
    buf_put_be32(out, 0); /* crc: below */
    buf_put_be32(out, (uint32_t)HASH_COUNT(producers->by_id));
    const struct producer *producer;
    const struct producer *next;
    HASH_ITER (hh, producers->by_id, producer, next) {
        entry_write(producer, out);
    }
    struct bytes covered = {out->data + start + SNAPSHOT_CRC_FROM,
                            out->size - start - SNAPSHOT_CRC_FROM};
    be32_put(out->data + start + 2, crc32c(covered));
}

static void entry_read(struct producers *producers, const uint8_t *at)
{
    struct producer *producer = find_or_add(producers, (int64_t)be64_get(at));
    producer->epoch = (int16_t)be16_get(at + 8);
    struct producer_batch last = {
        .last_sequence = (int32_t)be32_get(at + 10),
        .last_offset = (int64_t)be64_get(at + 14),
        .offset_delta = (int32_t)be32_get(at + 22),
        .timestamp_ms = (int64_t)be64_get(at + 26),
    };
    producer->timestamp_ms = last.timestamp_ms;
    producer->coordinator_epoch = (int32_t)be32_get(at + 34);
    producer->txn_first_offset = (int64_t)be64_get(at + 38);
    producer->batches_count = 0;
    if (last.last_offset >= 0) {
        producer->batches[producer->batches_count++] = last;
    }
}

enum err producers_snapshot_read(struct producers *producers, struct bytes in)
{
    producers_clear(producers);
    if (in.size < SNAPSHOT_HEAD_BYTES || be16_get(in.data) != SNAPSHOT_VERSION) {
        return ERR_CORRUPT;
    }
    struct bytes covered = {in.data + SNAPSHOT_CRC_FROM, in.size - SNAPSHOT_CRC_FROM};
    int64_t count = (int32_t)be32_get(in.data + 6);
    if (crc32c(covered) != be32_get(in.data + 2) || count < 0 ||
        in.size != SNAPSHOT_HEAD_BYTES + (size_t)count * SNAPSHOT_ENTRY_BYTES) {
        return ERR_CORRUPT;
    }
    for (int64_t i = 0; i < count; i++) {
        entry_read(producers, in.data + SNAPSHOT_HEAD_BYTES + (size_t)i * SNAPSHOT_ENTRY_BYTES);
    }
    return ERR_OK;
}
