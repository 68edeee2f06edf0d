/* snapshot_fuzz.c: a producer snapshot of any bytes. When the first byte is odd its CRC is made
 * right, so that what lies behind it is reached. What is read must be written and read alike, and
 * checking and entering batches must work on it. */
#include "base/mem.h"
#include "base/must.h"
#include "log/producers.h"
#include "record/crc32c.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { CRC_AT = 2, CRC_FROM = 6, ENTRIES_AT = 10, ENTRY_SIZE = 46 };

/* A batch that follows the first entry, one that repeats it, and one of the next epoch. */
static void try_batches(struct producers *producers, const uint8_t *entry)
{
    for (int i = 0; i < 3; i++) {
        struct producers_duplicate duplicate;
        struct batch_header header = {
            .magic = 2,
            .producer_id = (int64_t)be64_get(entry),
            .producer_epoch = (int16_t)be16_get(entry + 8),
            .base_sequence = (int32_t)(be32_get(entry + 10) & 0x7fffffffu),
            .last_offset_delta = i,
            .record_count = i + 1,
        };
        header.producer_epoch = (int16_t)(header.producer_epoch + (i == 2 ? 1 : 0));
        for (int origin = PRODUCERS_CLIENT; origin <= PRODUCERS_REPLICATION; origin++) {
            (void)!producers_check(producers, &header, (enum producers_origin)origin, &duplicate);
        }
        producers_update(producers, &header);
    }
    producers_expire(producers, INT64_MAX, 1);
    producers_expire(producers, INT64_MIN, 1);
}

static void try_snapshot(struct bytes in)
{
    struct producers *first = mem_new(struct producers);
    struct producers *again = mem_new(struct producers);
    struct buf out = {0};
    if (producers_snapshot_read(first, in) != ERR_OK) {
        must(producers_count(first) == 0);
    } else {
        producers_snapshot_write(first, &out);
        must(producers_snapshot_read(again, (struct bytes){out.data, out.size}) == ERR_OK);
        must(producers_count(again) == producers_count(first));
        if (in.size >= ENTRIES_AT + ENTRY_SIZE) {
            try_batches(first, in.data + ENTRIES_AT);
        }
    }
    buf_fini(&out);
    producers_clear(first);
    mem_free(first);
    producers_clear(again);
    mem_free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    uint8_t *copy = mem_alloc(size);
    memcpy(copy, data + 1, size - 1);
    if ((data[0] & 1) != 0 && size - 1 >= ENTRIES_AT) {
        be32_put(copy + CRC_AT, crc32c((struct bytes){copy + CRC_FROM, size - 1 - CRC_FROM}));
    }
    try_snapshot((struct bytes){copy, size - 1});
    mem_free(copy);
    return 0;
}
