/* sim_record.h: what simulated producers put into records: who, which, and padding.
 *
 * Value: u64 name (sim_model.h), then bytes that follow from it, so that damage shows. */
#pragma once

#include "base/bytes.h"
#include "record/record.h"

enum { SIM_RECORD_MIN = 8 };

/* Append a value of that size to `out`. */
void sim_record_make(struct buf *out, uint64_t id, size_t size);

/* The name; 0 when the value is damaged or somebody else's. */
uint64_t sim_record_read(struct bytes value);
