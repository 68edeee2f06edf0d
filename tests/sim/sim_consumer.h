/* sim_consumer.h: a consumer of one partition: reads from offset 0 on for as long as the
 * simulation lasts, looks at every record, and tells the model.
 *
 * Threads: its client's loop. */
#pragma once

#include "sim_client.h"

void sim_consumer_new(struct sim *sim, int number, int part);
