/* uuid.h: Kafka's 16-byte ids (topic ids, cluster ids) and their text: URL-safe base64, 22
 * characters. Source: org.apache.kafka.common.Uuid. All zeros means "none"; (0,1) is reserved for
 * the metadata topic. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/bytes.h"
#include "base/rng.h"

enum { UUID_TEXT_SIZE = 22 };

struct uuid {
    uint8_t raw[16];
};

static inline bool uuid_eq(struct uuid a, struct uuid b)
{
    return memcmp(a.raw, b.raw, sizeof(a.raw)) == 0;
}

static inline bool uuid_is_zero(struct uuid id)
{
    return uuid_eq(id, (struct uuid){{0}});
}

/* A random version-4 id whose text does not start with '-' (as Kafka: tools take that for an
 * option). */
struct uuid uuid_random(struct rng *rng);

/* Writes 22 characters and a NUL. */
void uuid_format(struct uuid id, char text[UUID_TEXT_SIZE + 1]);

/* False, and *id untouched, unless `text` is exactly 22 characters of URL-safe base64. */
bool uuid_parse(struct str text, struct uuid *id);

/* The hexadecimal form 8-4-4-4-12 used in member ids; writes 36 characters and a NUL. */
void uuid_format_hex(struct uuid id, char text[37]);
