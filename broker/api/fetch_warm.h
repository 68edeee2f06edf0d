/* fetch_warm.h: bring file ranges into memory before a loop sends them.
 *
 * sendfile of pages that are not in the page cache would stop the loop, and every connection on it,
 * for a disk's time. So ranges are probed first (fs_cached, half a microsecond); cold ones
 * are read once by a thread of the broker's readers, and so is what had to be left unfound
 * (fetch_read.h). The readers do nothing else: a consumer far behind slows neither loops nor what
 * waits for syncs.
 *
 * Threads: started on the client's loop; `done` is called there. */
#pragma once

#include "api/fetch_read.h"
#include "rt/worker.h"

struct fetch_warm {
    struct work work;
    struct fetch_read *reads;
    int32_t count;
    void (*done)(struct fetch_warm *warm);
};

/* False, and nothing is started, when everything is in memory already. The reads must keep their
 * views until `done`. */
bool fetch_warm_start(struct fetch_warm *warm, struct req *req, struct fetch_read *reads,
                      int32_t count, void (*done)(struct fetch_warm *warm));
