/* sim_audit.h: reads a partition's log from a broker's disk, as an outsider would: segments in
 * order, every batch whole, its CRC right, offsets without gaps, leader epochs not falling.
 *
 * Threads: one. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "fs/fs.h"

enum { SIM_PROBLEM_MAX = 400 };

struct sim;

struct audit_log {
    uint64_t *ids; /* by offset; 0: no record of a simulated producer */
    int64_t begin; /* of the first segment */
    int64_t end;
    int64_t capacity;
};

/* False, with a text, when it is not valid. A log that is not there is empty. */
bool sim_audit_read(struct fs *fs, const char *topic, int index, struct audit_log *out,
                    char problem[SIM_PROBLEM_MAX]);

/* Is there a folder for it? */
bool sim_audit_exists(struct fs *fs, const char *topic, int index);

/* All bytes of a log's segments, one behind the other; buf_fini(). */
bool sim_audit_bytes(struct fs *fs, const char *topic, int index, struct buf *out);
void sim_audit_free(struct audit_log *log);

/* All brokers are down, and every replica was in sync: their logs are the same, byte by byte, or
 * the run has failed. Those of groups may lack an end that was written while the others had stopped
 * already. */
void sim_audit_replicas(struct sim *sim);
