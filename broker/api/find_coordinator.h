/* find_coordinator.h: where groups and transactional ids are kept. Threads: any. */
#pragma once

#include "base/bytes.h"

/* The partition of the coordinator's topic: Java's abs(hash of the key) modulo the count. */
int32_t coordinator_partition(struct str key, int32_t partitions_count);
