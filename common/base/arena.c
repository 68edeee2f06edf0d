#include "base/arena.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/must.h"

enum {
    ARENA_ALIGN = 16,
    ARENA_FIRST_BLOCK = 1024, /* enough for most requests and their replies */
    ARENA_BLOCK_MAX = 256 * 1024,
};

struct arena_block {
    struct arena_block *older;
    size_t size; /* bytes of data[] */
    _Alignas(ARENA_ALIGN) uint8_t data[];
};

static void arena_grow(struct arena *arena, size_t size)
{
    size_t wanted = arena->blocks != NULL ? arena->blocks->size * 2 : ARENA_FIRST_BLOCK;
    if (wanted > ARENA_BLOCK_MAX) {
        wanted = ARENA_BLOCK_MAX;
    }
    if (wanted < size) {
        wanted = size;
    }
    struct arena_block *block = mem_alloc(sizeof(*block) + wanted);
    block->older = arena->blocks;
    block->size = wanted;
    arena->blocks = block;
    arena->at = block->data;
    arena->left = wanted;
    arena->total_bytes += sizeof(*block) + wanted;
}

void *arena_alloc(struct arena *arena, size_t size)
{
    must(size <= SIZE_MAX / 2);
    size = (size + ARENA_ALIGN - 1) / ARENA_ALIGN * ARENA_ALIGN;
    if (size == 0) {
        size = ARENA_ALIGN;
    }
    if (arena->left < size) {
        arena_grow(arena, size);
    }
    void *ptr = arena->at;
    arena->at += size;
    arena->left -= size;
    return ptr;
}

void *arena_zalloc(struct arena *arena, size_t count, size_t size)
{
    must(size == 0 || count <= SIZE_MAX / 2 / size);
    void *ptr = arena_alloc(arena, count * size);
    memset(ptr, 0, count * size);
    return ptr;
}

char *arena_cstr(struct arena *arena, struct str s)
{
    if (s.ptr == NULL) {
        return NULL;
    }
    char *copy = arena_alloc(arena, s.size + 1);
    memcpy(copy, s.ptr, s.size);
    copy[s.size] = '\0';
    return copy;
}

struct str arena_str(struct arena *arena, struct str s)
{
    return (struct str){arena_cstr(arena, s), s.size};
}

char *arena_printf(struct arena *arena, const char *format, ...)
{
    va_list args;
    va_list again;
    va_start(args, format);
    va_copy(again, args);
    int size = vsnprintf(NULL, 0, format, args);
    va_end(args);
    must(size >= 0);
    char *text = arena_alloc(arena, (size_t)size + 1);
    int written = vsnprintf(text, (size_t)size + 1, format, again);
    va_end(again);
    must(written == size);
    return text;
}

static void arena_free_chain(struct arena_block *block)
{
    while (block != NULL) {
        struct arena_block *older = block->older;
        mem_free(block);
        block = older;
    }
}

void arena_fini(struct arena *arena)
{
    arena_free_chain(arena->blocks);
    *arena = (struct arena){0};
}

void arena_reset(struct arena *arena)
{
    struct arena_block *keep = arena->blocks;
    if (keep == NULL) {
        return;
    }
    arena_free_chain(keep->older);
    keep->older = NULL;
    arena->at = keep->data;
    arena->left = keep->size;
    arena->total_bytes = sizeof(*keep) + keep->size;
}
