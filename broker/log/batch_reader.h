/* batch_reader.h: the batches of one segment, one after the other, read in large pieces: for
 * recovery, which looks at every byte, and for reading producers back.
 *
 * Threads: the log's actor, or whoever opens the log. Ownership: a batch handed out is valid until
 * the next call. */
#pragma once

#include "log/seg.h"

struct batch_reader {
    struct seg *seg;
    int64_t position; /* of the next batch */
    int64_t end;      /* of the file */
    bool check_crc;
    struct buf piece; /* of the file, at piece_at */
    int64_t piece_at;
};

/* Read from `position` on, which must be a batch's. */
void batch_reader_init(struct batch_reader *reader, struct seg *seg, int64_t position,
                       bool check_crc);

/* The next whole entry. ERR_NOT_FOUND at the end of the file; ERR_CORRUPT when what is there is not
 * a whole, undamaged one: then `position` is where it begins. */
MUST_USE enum err batch_reader_next(struct batch_reader *reader, struct batch_header *header,
                                    struct bytes *batch);
void batch_reader_fini(struct batch_reader *reader);
