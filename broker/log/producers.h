/* clang-format off */
/* producers.h: what a log remembers of its idempotent producers: epoch, and the last five batches.
 *
 * A batch that was written already is answered with its original offset; a gap in the sequence, or
 * a producer of an older epoch, is refused. The state is a function of the log: it is rebuilt from
 * a snapshot and the batches behind it. <offset>.snapshot is the state before that offset:
 *
 *   at  size field                           each producer:
 *    0    2  version, 1                       at  size field
 *    2    4  CRC-32C of 6..end                 0    8  producer id
 *    6    4  count of producers                8    2  epoch
 *   10       46 bytes for each                10    4  last sequence, -1 none
 *                                             14    8  last offset, -1 none
 *   Of the last batches only the newest       22    4  its offsets: last minus first
 *   is kept.                                  26    8  its timestamp
 *                                             34    4  coordinator epoch, -1 none
 *                                             38    8  first offset of the open transaction, -1 none
 *
 * Threads: the log's actor. Source: Kafka 3.9 in ZooKeeper mode.
 * Limits: an entry lives until producer.id.expiration.ms after its last batch. */
/* clang-format on */
#pragma once

#include "base/bytes.h"
#include "base/err.h"
#include "record/batch.h"

struct producer;

/* Zeroed: there are none. */
struct producers {
    struct producer *by_id;
};

enum producers_origin {
    PRODUCERS_CLIENT,      /* sequences are checked */
    PRODUCERS_COORDINATOR, /* only the epoch is */
    PRODUCERS_REPLICATION, /* nothing is: the leader has done it, or the log is being read back */
};

void producers_clear(struct producers *producers);
int32_t producers_count(const struct producers *producers);

/* The batch that this one repeats. */
struct producers_duplicate {
    bool found;
    int64_t base_offset;
    int64_t last_offset;
    int64_t timestamp_ms;
};

/* May this batch be appended? With ERR_OK, `duplicate` may say that it is in the log already.
 * Errors: OUT_OF_ORDER_SEQUENCE_NUMBER, INVALID_PRODUCER_EPOCH. A batch without producer is always
 * fine. */
MUST_USE enum err producers_check(const struct producers *producers,
                                  const struct batch_header *header, enum producers_origin origin,
                                  struct producers_duplicate *duplicate);

/* The last sequence that is known of a producer, for messages; -1: none. */
int32_t producers_last_sequence(const struct producers *producers, int64_t id);

/* It has been appended; header.base_offset is its offset in the log. Control batches count too. */
void producers_update(struct producers *producers, const struct batch_header *header);

/* A batch from before the snapshot that was read: snapshots hold only each producer's last batch,
 * but a retry may repeat any of the last five. To be called in the order of the log, before what
 * follows the snapshot; batches that do not belong to the state are ignored. */
void producers_recall(struct producers *producers, const struct batch_header *header);

/* Forget producers whose last batch is older. */
void producers_expire(struct producers *producers, int64_t now_ms, int64_t expiration_ms);

/* Append the content of a .snapshot file. */
void producers_snapshot_write(const struct producers *producers, struct buf *out);

/* Replace the state by a snapshot's. ERR_CORRUPT: the state is empty then. */
MUST_USE enum err producers_snapshot_read(struct producers *producers, struct bytes in);
