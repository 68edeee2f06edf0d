#include "base/uuid.h"

#include <stdio.h>

static const char base64url[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

struct uuid uuid_random(struct rng *rng)
{
    struct uuid id;
    char text[UUID_TEXT_SIZE + 1];
    do {
        for (size_t i = 0; i < sizeof(id.raw); i += 8) {
            be64_put(id.raw + i, rng_next(rng));
        }
        id.raw[6] = (uint8_t)((id.raw[6] & 0x0f) | 0x40);
        id.raw[8] = (uint8_t)((id.raw[8] & 0x3f) | 0x80);
        uuid_format(id, text);
    } while (text[0] == '-');
    return id;
}

void uuid_format(struct uuid id, char text[UUID_TEXT_SIZE + 1])
{
    uint32_t bits = 0;
    int have = 0;
    int out = 0;
    for (size_t i = 0; i < sizeof(id.raw); i++) {
        bits = bits << 8 | id.raw[i];
        have += 8;
        while (have >= 6) {
            have -= 6;
            text[out++] = base64url[bits >> have & 0x3f];
        }
    }
    text[out++] = base64url[bits << (6 - have) & 0x3f];
    text[out] = '\0';
}

bool uuid_parse(struct str text, struct uuid *id)
{
    if (text.ptr == NULL || text.size != UUID_TEXT_SIZE) {
        return false;
    }
    struct uuid parsed;
    uint32_t bits = 0;
    int have = 0;
    size_t out = 0;
    for (size_t i = 0; i < text.size; i++) {
        const char *digit = text.ptr[i] != '\0' ? strchr(base64url, text.ptr[i]) : NULL;
        if (digit == NULL) {
            return false;
        }
        bits = bits << 6 | (uint32_t)(digit - base64url);
        have += 6;
        if (have >= 8 && out < sizeof(parsed.raw)) {
            have -= 8;
            parsed.raw[out++] = (uint8_t)(bits >> have);
        }
    }
    *id = parsed;
    return true;
}

void uuid_format_hex(struct uuid id, char text[37])
{
    const uint8_t *r = id.raw;
    snprintf(text, 37, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", r[0],
             r[1], r[2], r[3], r[4], r[5], r[6], r[7], r[8], r[9], r[10], r[11], r[12], r[13],
             r[14], r[15]);
}
