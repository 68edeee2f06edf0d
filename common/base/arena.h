/* arena.h: memory that dies all at once.
 *
 * A request owns an arena: everything decoded or encoded for it lives there. arena_alloc() never
 * fails and returns memory aligned for any object, not zeroed; arena_zalloc() zeroes. The arena
 * counts what it holds (arena_size) so that its owner can charge a budget.
 *
 * Zero-initialised it is empty and holds nothing until the first allocation. One thread at a time.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"

struct arena_block;

struct arena {
    struct arena_block *blocks;
    uint8_t *at;        /* next free byte of the newest block */
    size_t left;        /* bytes free behind `at` */
    size_t total_bytes; /* memory held, including what is not handed out yet */
};

void *arena_alloc(struct arena *arena, size_t size) __attribute__((returns_nonnull, alloc_size(2)));
void *arena_zalloc(struct arena *arena, size_t count, size_t size) __attribute__((returns_nonnull));

/* Copies, NUL-terminated. Null stays null (arena_cstr returns NULL). */
struct str arena_str(struct arena *arena, struct str s);
char *arena_cstr(struct arena *arena, struct str s);
char *arena_printf(struct arena *arena, const char *format, ...)
    __attribute__((format(printf, 2, 3), returns_nonnull));

static inline size_t arena_size(const struct arena *arena)
{
    return arena->total_bytes;
}

/* Free everything; the arena is empty and usable again. */
void arena_fini(struct arena *arena);

/* Forget everything but keep the newest block for the next use: blocks grow, so it is usually the
 * largest, and one huge allocation is not kept for ever. */
void arena_reset(struct arena *arena);

#define arena_new(arena, type)          ((type *)arena_zalloc((arena), 1, sizeof(type)))
#define arena_array(arena, type, count) ((type *)arena_zalloc((arena), (count), sizeof(type)))
