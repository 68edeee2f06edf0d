/* index_fuzz.c: index files of any bytes beside a good log. Byte 0 says how much of the rest is the
 * offset index, in entries; what follows is the time index. Every batch must be found all the same:
 * a wrong index costs time, never an answer. */
#include "fuzz_log.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { BATCHES = 40, ENTRY_SIZE = 8 };

static void find_all(struct plog *log)
{
    struct view *view = plog_view_get(log);
    must(plog_offset_end(log) == BATCHES);
    for (int64_t offset = 0; offset < BATCHES; offset++) {
        struct view_range range;
        must(view_read(view, offset, INT64_MAX, 1, true, &range) == ERR_OK);
        must(range.base_offset == offset);
    }
    view_put(view);
}

/* Times may be answered wrongly by a wrong index; nothing worse. */
static void find_times(struct plog *log)
{
    for (int64_t ms = 995; ms < 1000 + BATCHES + 5; ms++) {
        int64_t found_ms;
        int64_t offset;
        int32_t epoch;
        if (plog_offset_for_time(log, ms, &found_ms, &offset, &epoch) == ERR_OK) {
            must(offset == -1 || (offset >= 0 && offset < BATCHES));
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    struct fs_sim *sim = fs_sim_new(1);
    struct fs *fs = fs_sim_fs(sim);
    struct plog *log = fuzz_open(fs, false, -1);
    for (int i = 0; i < BATCHES; i++) {
        fuzz_append(log, 0, 0, i / 10);
        if (i == BATCHES / 2) {
            must(plog_roll(log, 0) == ERR_OK);
        }
    }
    must(plog_close(log) == ERR_OK);
    size_t cut = 1 + (size_t)data[0] * ENTRY_SIZE;
    cut = cut < size ? cut : size;
    static const char *const bases[] = {"00000000000000000000", "00000000000000000021"};
    for (int i = 0; i < 2; i++) {
        char name[64];
        snprintf(name, sizeof(name), "%s.index", bases[i]);
        fuzz_put(fs, name, data + 1, cut - 1);
        snprintf(name, sizeof(name), "%s.timeindex", bases[i]);
        fuzz_put(fs, name, data + cut, size - cut);
    }
    log = fuzz_open(fs, true, -1);
    find_all(log);
    find_times(log);
    fuzz_append(log, 0, 0, 9);
    must(plog_truncate_to(log, BATCHES) == ERR_OK);
    find_all(log);
    must(plog_close(log) == ERR_OK);
    fs_sim_free(sim);
    return 0;
}
