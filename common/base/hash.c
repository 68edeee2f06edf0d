#include "base/hash.h"

#include <string.h>
#include <sys/random.h>

#include "base/must.h"

/* The process's; see the header for when it may change. */
static uint64_t key_low;
static uint64_t key_high;

void hash_set_key(uint64_t low, uint64_t high)
{
    key_low = low;
    key_high = high;
}

void hash_draw_key(void)
{
    uint64_t key[2];
    must(getrandom(key, sizeof(key), 0) == (ssize_t)sizeof(key));
    hash_set_key(key[0], key[1]);
}

static inline uint64_t rotate(uint64_t v, int by)
{
    return v << by | v >> (64 - by);
}

static inline void sip_round(uint64_t v[4])
{
    v[0] += v[1];
    v[1] = rotate(v[1], 13) ^ v[0];
    v[0] = rotate(v[0], 32);
    v[2] += v[3];
    v[3] = rotate(v[3], 16) ^ v[2];
    v[0] += v[3];
    v[3] = rotate(v[3], 21) ^ v[0];
    v[2] += v[1];
    v[1] = rotate(v[1], 17) ^ v[2];
    v[2] = rotate(v[2], 32);
}

static inline void sip_word(uint64_t v[4], uint64_t word)
{
    v[3] ^= word;
    sip_round(v);
    v[0] ^= word;
}

uint64_t hash_bytes(const void *data, size_t size)
{
    uint64_t v[4] = {
        key_low ^ 0x736f6d6570736575,
        key_high ^ 0x646f72616e646f6d,
        key_low ^ 0x6c7967656e657261,
        key_high ^ 0x7465646279746573,
    };
    const uint8_t *at = data;
    uint64_t word;
    size_t left = size;
    for (; left >= sizeof(word); left -= sizeof(word), at += sizeof(word)) {
        memcpy(&word, at, sizeof(word));
        sip_word(v, word);
    }
    word = (uint64_t)size << 56;
    for (size_t i = 0; i < left; i++) {
        word |= (uint64_t)at[i] << (8 * i);
    }
    sip_word(v, word);
    v[2] ^= 0xff;
    for (int i = 0; i < 3; i++) {
        sip_round(v);
    }
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}
