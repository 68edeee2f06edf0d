/* properties.h: Java's Properties format: key=value lines with comments, continuations and escapes.
 *
 * Total: any bytes are read as far as Java would. Values are trimmed, as Kafka does. Threads: any.
 */
#pragma once

#include "base/bytes.h"

/* Called for each pair in the file's order; a later one of the same key counts. Text lives for the
 * call. */
typedef void properties_fn(void *arg, const char *key, const char *value, int line);

void properties_parse(struct bytes in, properties_fn *fn, void *arg);
