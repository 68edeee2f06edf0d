/* batch_rebuild.c: the same records in another codec, or with the offsets that they should have. */
#include "base/must.h"
#include "record/batch.h"
#include "record/record_internal.h"

/* Every record again, with the offset delta that is its index. Also says whether that changed
 * anything, and the max timestamp. */
struct rewrite {
    struct buf records;
    bool changed;
    int64_t max_timestamp_ms;
};

static enum err rewrite_records(const struct batch_header *header, struct bytes records,
                                struct rewrite *out)
{
    struct scan scan = scan_of(records);
    struct record_raw raw;
    out->max_timestamp_ms = BATCH_NONE;
    for (int32_t i = 0; i < header->record_count; i++) {
        const uint8_t *begin = scan.at;
        if (!record_scan(&scan, &raw)) {
            return ERR_INVALID_RECORD;
        }
        int64_t timestamp_ms = delta_add(header->base_timestamp_ms, raw.timestamp_delta);
        if (timestamp_ms > out->max_timestamp_ms) {
            out->max_timestamp_ms = timestamp_ms;
        }
        if (raw.offset_delta != i && !out->changed) {
            out->changed = true;
            buf_put(&out->records, records.data, (size_t)(begin - records.data));
        }
        if (out->changed) {
            raw.offset_delta = i;
            record_put(&out->records, &raw);
        }
    }
    return scan.at == scan.end ? ERR_OK : ERR_INVALID_RECORD;
}

static enum err put_rebuilt(struct batch_header header, const struct rewrite *rewrite,
                            struct bytes records, const struct batch_rules *rules, struct buf *out)
{
    if (rewrite->changed) {
        records = (struct bytes){rewrite->records.data, rewrite->records.size};
    }
    if (batch_timestamp_type(&header) == BATCH_CREATE_TIME) {
        header.max_timestamp_ms = rewrite->max_timestamp_ms;
    }
    if (rules->codec != BATCH_CODEC_PRODUCER) {
        must(rules->codec >= 0 && rules->codec < COMPRESS_COUNT);
        header.attributes = (uint16_t)((header.attributes & ~BATCH_ATTR_CODEC) | rules->codec);
    }
    size_t begin = out->size;
    enum err err = batch_put(out, &header, rules->level, records);
    if (err == ERR_OK && out->size - begin > rules->size_bytes_max) {
        out->size = begin;
        err = ERR_MESSAGE_TOO_LARGE;
    }
    return err;
}

enum err batch_rebuild(struct bytes batch, const struct batch_rules *rules, struct buf *out,
                       size_t *inflated_bytes)
{
    struct buf inflated = {0};
    struct rewrite rewrite = {0};
    struct record_iter it;
    enum err err = record_iter_init(&it, batch, rules->inflated_bytes_max, &inflated);
    if (err == ERR_OK) {
        err = rewrite_records(&it.header, it.records, &rewrite);
    }
    if (err == ERR_OK) {
        err = put_rebuilt(it.header, &rewrite, it.records, rules, out);
    }
    if (inflated_bytes != NULL) {
        *inflated_bytes = inflated.capacity;
    }
    buf_fini(&rewrite.records);
    buf_fini(&inflated);
    return err == ERR_CORRUPT ? ERR_INVALID_RECORD : err;
}
