/* recover_fuzz.c: a log whose segments hold any bytes, opened after a crash.
 *
 * Byte 0: bit 0 makes CRCs right, so that what lies behind them is reached; bit 1 says that the
 * stop was clean; the upper bits are the recovery point. Byte 1: where the second segment begins,
 * in eighths of the input; byte 2: its base offset. The rest are the segments' bytes. Whatever is
 * left must be whole batches in order, opening once more must change nothing, and the log must
 * work. */
#include "fuzz_log.h"
#include "record/crc32c.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { HEAD = 3 };

static void correct_crcs(uint8_t *data, size_t size)
{
    struct batch_header header;
    while (entry_read_header((struct bytes){data, size}, &header) == ERR_OK &&
           batch_size_bytes(&header) <= size) {
        if (header.magic == 2) {
            struct bytes covered = {data + BATCH_AT_ATTRIBUTES,
                                    batch_size_bytes(&header) - BATCH_AT_ATTRIBUTES};
            be32_put(data + BATCH_AT_CRC, crc32c(covered));
        }
        data += batch_size_bytes(&header);
        size -= batch_size_bytes(&header);
    }
}

/* Everything that readers can get: whole, in order, undamaged where it was checked. */
static void read_all(struct plog *log, bool checked)
{
    int64_t offset = plog_log_start(log);
    struct view *view = plog_view_get(log);
    for (;;) {
        struct view_range range;
        enum err err = view_read(view, offset, INT64_MAX, 1, true, &range);
        must(err == ERR_OK || !checked);
        if (err != ERR_OK || range.size_bytes == 0) {
            break;
        }
        struct batch_header header;
        size_t got;
        uint8_t *batch = mem_alloc(range.size_bytes);
        must(fs_pread(range.file, batch, range.size_bytes, range.position, &got) == ERR_OK);
        must(got == range.size_bytes || !checked);
        must(entry_read_header((struct bytes){batch, got}, &header) == ERR_OK);
        must(!checked || entry_check_crc((struct bytes){batch, got}) == ERR_OK);
        must(batch_last_offset(&header) >= offset);
        mem_free(batch);
        offset = batch_last_offset(&header) + 1;
    }
    must(!checked || offset == plog_offset_end(log));
    view_put(view);
}

static void use(struct plog *log)
{
    int64_t found_ms;
    int64_t offset;
    int32_t epoch;
    (void)!plog_offset_for_time(log, 0, &found_ms, &offset, &epoch);
    (void)!plog_offset_of_max_timestamp(log, &found_ms, &offset, &epoch);
    if (plog_offset_end(log) < INT64_MAX / 2) {
        fuzz_append(log, 0, 0, INT32_MAX);
        (void)!plog_truncate_to(log, plog_offset_end(log) - 1);
    }
    (void)!plog_delete_old_segments(log, plog_offset_end(log), INT64_MAX);
}

static void put_segments(struct fs *fs, const uint8_t *data, size_t size)
{
    uint8_t *copy = mem_alloc(size);
    memcpy(copy, data, size);
    size_t cut = HEAD + (size - HEAD) * (data[1] % 9) / 8;
    if ((data[0] & 1) != 0) {
        correct_crcs(copy + HEAD, cut - HEAD);
        correct_crcs(copy + cut, size - cut);
    }
    fuzz_put(fs, "00000000000000000000.log", copy + HEAD, cut - HEAD);
    if (cut < size) {
        char name[64];
        snprintf(name, sizeof(name), "%020d.log", data[2] + 1);
        fuzz_put(fs, name, copy + cut, size - cut);
    }
    mem_free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < HEAD) {
        return 0;
    }
    bool clean = (data[0] & 2) != 0;
    int64_t recovery_point = clean ? -1 : data[0] >> 2;
    struct fs_sim *sim = fs_sim_new(1);
    struct fs *fs = fs_sim_fs(sim);
    must(fs_mkdir_all(fs, FUZZ_DIR) == ERR_OK);
    put_segments(fs, data, size);
    struct plog *log = fuzz_open(fs, clean, recovery_point);
    read_all(log, !clean && recovery_point == 0); /* else some of it was trusted */
    int64_t end = plog_offset_end(log);
    plog_abandon(log);
    uint64_t digest = fs_sim_digest(sim);
    log = fuzz_open(fs, clean, recovery_point);
    must(plog_offset_end(log) == end);
    must(fs_sim_digest(sim) == digest);
    use(log);
    plog_abandon(log);
    fs_sim_free(sim);
    return 0;
}
