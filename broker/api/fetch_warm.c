#include "api/fetch_warm.h"

#include "api/broker.h"

enum { WARM_CHUNK_BYTES = 64 * 1024 };

static bool read_is_cold(const struct fetch_read *read)
{
    return read->view != NULL && !read->range.in_memory &&
           (read->cold ||
            !fs_cached(read->range.file, read->range.position, read->range.size_bytes));
}

/* The bytes are thrown away: what counts is that they are in the page cache afterwards. */
static void read_through(const struct view_range *range)
{
    uint8_t chunk[WARM_CHUNK_BYTES];
    size_t got = 1;
    for (size_t at = 0; at < range->size_bytes && got > 0; at += got) {
        size_t left = range->size_bytes - at;
        size_t size = left < WARM_CHUNK_BYTES ? left : WARM_CHUNK_BYTES;
        if (fs_pread(range->file, chunk, size, range->position + (int64_t)at, &got) != ERR_OK) {
            return; /* sending will meet the same error and close the connection */
        }
    }
}

/* On a reader. */
static void warm_run(struct work *work)
{
    struct fetch_warm *warm = container_of(work, struct fetch_warm, work);
    for (int32_t i = 0; i < warm->count; i++) {
        struct fetch_read *read = &warm->reads[i];
        if (!read_is_cold(read)) {
            continue;
        }
        if (read->cold) {
            fetch_read_cold(read);
        }
        read_through(&read->range);
    }
}

static void warm_done(struct work *work)
{
    struct fetch_warm *warm = container_of(work, struct fetch_warm, work);
    for (int32_t i = 0; i < warm->count; i++) {
        if (warm->reads[i].cold) {
            fetch_read_settle(&warm->reads[i]);
        }
    }
    warm->done(warm);
}

bool fetch_warm_start(struct fetch_warm *warm, struct req *req, struct fetch_read *reads,
                      int32_t count, void (*done)(struct fetch_warm *warm))
{
    bool cold = false;
    for (int32_t i = 0; i < count && !cold; i++) {
        cold = read_is_cold(&reads[i]);
    }
    if (!cold) {
        return false;
    }
    *warm = (struct fetch_warm){.reads = reads, .count = count, .done = done};
    warm->work.run = warm_run;
    warm->work.done = warm_done;
    warm->work.loop = req->netloop->loop;
    worker_submit(req->broker->readers, &warm->work);
    return true;
}
