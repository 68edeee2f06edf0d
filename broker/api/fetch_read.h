/* fetch_read.h: what one fetch finds in one partition right now.
 *
 * Nothing waits for a disk: where records stand is looked up in memory, and what takes reading is
 * left to a reader (fetch_warm.h).
 *
 * Threads: the client's loop, but for fetch_read_cold(). */
#pragma once

#include "api/req.h"
#include "log/view.h"
#include "session/fetch_session.h"

struct fetch_limits {
    int64_t max_bytes;  /* of the whole reply; hard once something has been taken */
    int64_t min_bytes;  /* to answer before the time is over */
    int32_t replica_id; /* of a follower, which reads up to the end; below 0: a consumer */
    bool read_committed;
    bool leader_only;  /* old consumers: a follower must not serve them */
    bool zstd_allowed; /* the version promises a client that knows it */
    bool tracked;      /* a follower's session: partitions tell when there is news */
};

/* The result for one partition. */
struct fetch_read {
    struct fetch_item *item;
    struct part *part; /* held until fetch_read_end(); NULL where there is none to read from */
    enum err err;
    int64_t offset_hw; /* -1 with an error */
    int64_t offset_stable;
    int64_t log_start;
    int64_t offset_end;   /* where the log ended when it was read */
    int32_t leader_epoch; /* in force before it was read */
    struct view *view;    /* held while `range` is used; NULL when there is nothing to send */
    struct view_range range;
    const uint8_t *copy; /* its bytes, in the request's arena, where they are few and were read
                          * anyway; NULL: they are to be sent from the file */
    int64_t bytes;       /* what it counts for: the range's size, or at most that much */
    bool cold;           /* there is something, but to find it the disk must be read first: what to
                          * look for follows */
    bool min_one;        /* at least one batch ... */
    size_t max_bytes;    /* ... at most so many bytes ... */
    int64_t bound;       /* ... before this offset */
    enum err cold_err;   /* how that ended */
    bool diverging;      /* the client's log differs: see epoch and end */
    int32_t diverging_epoch;
    int64_t diverging_end;
    int32_t preferred; /* the consumer should rather read from this replica; -1 */
};

/* How many bytes of records one answer may have: what the request wants, no more than
 * fetch.max.bytes, `configured`, and never so much that the answer's size would not be an int32. */
int64_t fetch_bytes_max(int32_t wanted, int32_t configured);

/* The partition, and nothing else; NULL when there is none that this reader may read from. */
struct part *fetch_read_find(struct req *req, const struct fetch_limits *limits,
                             const struct fetch_want *want);

/* Read one partition: at most `room` bytes, at least one batch when `first`. To be ended. */
void fetch_read_partition(struct req *req, const struct fetch_limits *limits,
                          struct fetch_item *item, int64_t room, bool first,
                          struct fetch_read *out);

/* @in any: look for what is cold, waiting for the disk. Only `range` and `cold_err` change. Then,
 * on the loop, it is as if it had been found at once. */
void fetch_read_cold(struct fetch_read *read);
void fetch_read_settle(struct fetch_read *read);

/* What was read is not sent after all, nor looked for. */
void fetch_read_release(struct fetch_read *read);

/* Nobody looks at it any more. */
void fetch_read_end(struct fetch_read *read);
