/* reader.h: one consumer: a connection that fetches some partitions in order, inside a session, and
 * checks every batch: offsets without a gap, CRC-32C.
 *
 * Threads: one. */
#pragma once

#include "bench/load/load.h"
#include "bench/load/peer.h"
#include "record/batch.h"

struct reader_part {
    int32_t partition;
    int64_t offset; /* of the next record */
    int64_t end;    /* read up to here; INT64_MAX: for ever */
    bool news;      /* the session does not know the offset yet */
};

struct reader {
    const struct load_options *options;
    struct peer peer;
    struct reader_part *parts;
    int32_t parts_count;
    int32_t session_id;
    int32_t session_epoch;
    struct load_counts counts;
    struct buf request;
    struct arena arena;
    /* Every whole batch; may be NULL. */
    void (*on_batch)(void *arg, const struct batch_header *header, struct bytes batch);
    void *arg;
};

/* Connects. Add parts (memory of the caller's), then ask, take, ask, take. */
void reader_open(struct reader *reader, const struct load_options *options, uint16_t port);
void reader_close(struct reader *reader);

/* Send the next fetch. */
void reader_ask(struct reader *reader);

/* Receive; true when a whole answer was there and has been worked off. */
bool reader_take(struct reader *reader);

/* Has every partition been read to its end? */
bool reader_done(const struct reader *reader);
