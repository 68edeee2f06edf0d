/* hash.h: hash tables (uthash) whose keys come from strangers.
 *
 * Names of topics, groups, members and clients are what somebody sends. Of a hash that everybody
 * can compute, a hundred thousand names are soon found that fall into one place of a table, and
 * each look-up walks them all: one fetch of a few megabytes would keep a loop for many seconds. So
 * the hash is SipHash-1-3, whose key the process draws when it starts.
 *
 * Without hash_draw_key() the key is zero: tests and the simulator repeat. What is stored, sent or
 * decided must not depend on it; uthash iterates in the order of insertion anyway. For values that
 * stay the same there is bytes_hash().
 *
 * Threads: hash_draw_key() before there is another; hash_bytes() any. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/mem.h"

/* From the kernel. */
void hash_draw_key(void);
void hash_set_key(uint64_t low, uint64_t high);

uint64_t hash_bytes(const void *data, size_t size);

#define uthash_malloc(size)    mem_alloc(size)
#define uthash_free(ptr, size) mem_free(ptr)
#define HASH_FUNCTION(key, size, hash)                                                             \
    do {                                                                                           \
        (hash) = (unsigned)hash_bytes((key), (size));                                              \
    } while (0)
#include <uthash.h>
