/* batch_fuzz.c: any bytes as record batches and message sets.
 *
 * Input: one byte of choices, then the bytes. Unless a choice says otherwise, magic, length and CRC
 * are made right first, so that mutations get behind them. Then: whatever validation accepts can be
 * read, rebuilt in any codec, validated again without further complaint, and has the same records.
 */
#include "base/mem.h"
#include "base/must.h"
#include "record/batch.h"
#include "record/crc32c.h"
#include "record/msgset.h"
#include "record/record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
    CHOICE_CODEC = 0x07, /* to rebuild into; 5 and more: the producer's */
    CHOICE_DEEP = 0x08,
    CHOICE_KEYS = 0x10,
    CHOICE_TIMES = 0x20,
    CHOICE_RAW = 0x40, /* take the bytes as they are */
    INFLATED_MAX = 1 << 20,
};

static struct batch_rules rules_of(uint8_t choices)
{
    struct batch_rules rules = batch_rules_default();
    int codec = choices & CHOICE_CODEC;
    rules.codec = codec < COMPRESS_COUNT ? codec : BATCH_CODEC_PRODUCER;
    rules.level = 1;
    rules.deep = (choices & CHOICE_DEEP) != 0;
    rules.keys_required = (choices & CHOICE_KEYS) != 0;
    rules.inflated_bytes_max = INFLATED_MAX;
    if ((choices & CHOICE_TIMES) != 0) {
        rules.now_ms = 1700000000000;
        rules.before_max_ms = 1000;
        rules.after_max_ms = 1000;
    }
    return rules;
}

static void make_right(uint8_t *batch, size_t size)
{
    if (size < BATCH_HEADER_SIZE) {
        return;
    }
    batch[BATCH_AT_MAGIC] = 2;
    be64_put(batch + BATCH_AT_BASE_OFFSET, 0);
    be32_put(batch + BATCH_AT_LENGTH, (uint32_t)(size - BATCH_LENGTH_OVERHEAD));
    be32_put(batch + BATCH_AT_CRC,
             crc32c((struct bytes){batch + BATCH_AT_ATTRIBUTES, size - BATCH_AT_ATTRIBUTES}));
}

/* Sums up what the records say, touching every byte that is handed out. */
static enum err digest(struct bytes batch, uint64_t *sum)
{
    struct buf inflated = {0};
    struct record_iter it;
    struct record record;
    struct record_header header;
    *sum = 0;
    enum err err = record_iter_init(&it, batch, INFLATED_MAX, &inflated);
    while (record_iter_next(&it, &record)) {
        *sum = bytes_hash(record.key.data, record.key.size, *sum + (record.key.data != NULL));
        *sum = bytes_hash(record.value.data, record.value.size, *sum + (record.value.data != NULL));
        *sum = bytes_hash(&record.timestamp_ms, sizeof(record.timestamp_ms), *sum);
        while (record_headers_next(&record, &header)) {
            *sum = bytes_hash(header.name.ptr, header.name.size, *sum);
            *sum = bytes_hash(header.value.data, header.value.size, *sum);
        }
    }
    must(err == ERR_OK || record_iter_end(&it) == err);
    err = record_iter_end(&it);
    buf_fini(&inflated);
    return err;
}

static void check_accepted(struct bytes batch, const struct batch_rules *rules,
                           const struct batch_header *header, const struct record_error *detail)
{
    uint64_t before = 0;
    uint64_t after = 0;
    enum err err = digest(batch, &before);
    bool walked = rules->deep || batch_codec(header) == COMPRESS_NONE;
    must(err == ERR_OK || !walked);

    struct buf rebuilt = {0};
    enum err rebuild_err = batch_rebuild(batch, rules, &rebuilt, NULL);
    if (rebuild_err == ERR_OK) {
        struct bytes out = {rebuilt.data, rebuilt.size};
        struct batch_header again;
        struct record_error complaint;
        err = batch_validate_produce(out, rules, &again, &complaint);
        must(err == ERR_OK && complaint.fix == BATCH_FIX_NONE);
        must(again.record_count == header->record_count);
        must(!walked || again.max_timestamp_ms == detail->max_timestamp_ms);
        must(digest(out, &after) == ERR_OK && after == before);
    } else {
        must(rebuild_err == ERR_MESSAGE_TOO_LARGE || (err != ERR_OK && !walked));
    }
    buf_fini(&rebuilt);
}

static void look_for(struct bytes batch, const struct batch_header *header)
{
    struct record_place place;
    struct record_wanted wanted = {header->base_offset, header->max_timestamp_ms};
    struct record_marker marker;
    enum err err = record_find(batch, &wanted, INFLATED_MAX, &place);
    if (err == ERR_OK) {
        must(place.timestamp_ms >= wanted.timestamp_min_ms && place.offset >= wanted.offset_min);
    }
    err = record_find_max_timestamp(batch, INFLATED_MAX, &place);
    must(err != ERR_OK || place.timestamp_ms == header->max_timestamp_ms);
    err = record_read_marker(batch, &marker);
    must(err == ERR_OK || err == ERR_CORRUPT || err == ERR_NOT_FOUND);
}

static void read_as_msgset(struct bytes set)
{
    struct buf inflated = {0};
    struct msgset_iter it;
    struct record record;
    uint64_t sum = 0;
    msgset_iter_init(&it, set, INFLATED_MAX, &inflated);
    while (msgset_iter_next(&it, &record)) {
        sum = bytes_hash(record.key.data, record.key.size, sum);
        sum = bytes_hash(record.value.data, record.value.size, sum);
    }
    enum err err = msgset_iter_end(&it);
    must(err == ERR_OK || err == ERR_CORRUPT || err == ERR_MESSAGE_TOO_LARGE);
    buf_fini(&inflated);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1) {
        return 0;
    }
    struct batch_rules rules = rules_of(data[0]);
    struct batch_header header;
    struct record_error detail;
    /* In memory of its exact size, so that a sanitizer sees a read too far. */
    size--;
    uint8_t *copy = mem_alloc(size);
    if (size > 0) {
        memcpy(copy, data + 1, size);
    }
    struct bytes in = {copy, size};
    read_as_msgset(in);
    if ((data[0] & CHOICE_RAW) == 0) {
        make_right(copy, size);
    }
    enum err err = batch_validate_produce(in, &rules, &header, &detail);
    if (err == ERR_OK) {
        must(entry_check_crc(in) == ERR_OK);
        check_accepted(in, &rules, &header, &detail);
    } else {
        must(detail.message[0] != '\0');
    }
    if (batch_read_header(in, &header) == ERR_OK) {
        look_for(in, &header);
    }
    mem_free(copy);
    return 0;
}
