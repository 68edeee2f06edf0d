/* sim_trim.h: a client that deletes records (DeleteRecords) of partitions, up to somewhere in what
 * was acknowledged, half of the time up to its end, so that the last segment goes, too.
 *
 * Threads: its loop. */
#pragma once

#include "sim_client.h"

void sim_trim_new(struct sim *sim, int trims);
