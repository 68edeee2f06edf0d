/* loggers.h: the names of the program's loggers, and changing their levels at run time as Kafka's
 * BROKER_LOGGER resource does (KIP-412).
 *
 * Threads: any. Source: Kafka 3.9's log4j loggers. */
#pragma once

#include "base/log.h"
#include "config/config_alter.h"

/* "root" first, then names in alphabetical order: those that lines are written under, and their
 * parents, whose level counts for all below. */
int loggers_count(void);
const char *loggers_name(int index);

/* Check one change, without making it: OP_SET to TRACE, DEBUG, INFO, WARN, ERROR or FATAL, or
 * OP_DELETE, back to the parent's level. INVALID_CONFIG (no such logger or level), INVALID_REQUEST.
 */
MUST_USE enum err loggers_check(const struct config_change *change, struct errmsg *msg);

/* A change that was checked. ERR_NO_MEMORY: too many loggers have a level of their own. */
MUST_USE enum err loggers_apply(const struct config_change *change);
