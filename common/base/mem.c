#include "base/mem.h"

#include <malloc.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/must.h"

#if defined(__SANITIZE_ADDRESS__)
#define MEM_POISON 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define MEM_POISON 1
#endif
#endif

/* A sanitizer brings an allocator of its own, and the library's is not even set up: two threads
 * that asked it something for the first time at once ended the process. */
#if defined(__SANITIZE_THREAD__) || defined(MEM_POISON)
#define MEM_FOREIGN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define MEM_FOREIGN 1
#endif
#endif

#if defined(MEM_POISON)
#include <sanitizer/asan_interface.h>
#endif

__attribute__((noreturn, cold)) static void mem_gone(size_t size)
{
    fprintf(stderr, "barnabas: out of memory (%zu bytes wanted)\n", size);
    abort();
}

void *mem_alloc(size_t size)
{
    void *ptr = malloc(size > 0 ? size : 1);
    if (ptr == NULL) {
        mem_gone(size);
    }
    return ptr;
}

void *mem_zalloc(size_t count, size_t size)
{
    void *ptr = calloc(count > 0 ? count : 1, size > 0 ? size : 1);
    if (ptr == NULL) {
        mem_gone(count * size);
    }
    return ptr;
}

void *mem_realloc(void *old, size_t size)
{
    void *ptr = realloc(old, size > 0 ? size : 1);
    if (ptr == NULL) {
        mem_gone(size);
    }
    return ptr;
}

char *mem_strndup(const char *text, size_t size)
{
    char *copy = mem_alloc(size + 1);
    memcpy(copy, text, size);
    copy[size] = '\0';
    return copy;
}

char *mem_strdup(const char *text)
{
    return mem_strndup(text, strlen(text));
}

char *mem_printf(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    char *text = NULL;
    int size = vasprintf(&text, format, args);
    va_end(args);
    if (size < 0) {
        mem_gone(0);
    }
    must(text != NULL);
    return text;
}

void mem_free(void *ptr)
{
    free(ptr);
}

#if defined(MEM_FOREIGN)

void mem_keep(void)
{
}

void mem_trim(void)
{
}

void mem_trim_end(void)
{
}

#else

enum { HEAP_LOOK_BYTES = 128 * 1024 };

void mem_keep(void)
{
    /* To set one of them ends the library's own adjusting of both, so both are set: this is the
     * largest size that it would come to use its heap for by itself. */
    (void)mallopt(M_MMAP_THRESHOLD, 32 * 1024 * 1024);
    (void)mallopt(M_TRIM_THRESHOLD, MEM_KEPT_BYTES);
}

void mem_trim(void)
{
    mem_trim_end();
    malloc_trim(0);
}

void mem_trim_end(void)
{
    /* The library has no call for this, but looks at a heap's end whenever something of 64 KiB or
     * more is freed. It reads the threshold without a lock: on other threads a heap may be cut
     * earlier, or when two threads are here at once this one's later, and nothing else happens. */
    (void)mallopt(M_TRIM_THRESHOLD, 0);
    void *volatile block = mem_alloc(HEAP_LOOK_BYTES);
    mem_free(block);
    (void)mallopt(M_TRIM_THRESHOLD, MEM_KEPT_BYTES);
}

#endif

#if defined(MEM_POISON)

void mem_unwanted(void *ptr, size_t size)
{
    __asan_poison_memory_region(ptr, size);
}

void mem_wanted(void *ptr, size_t size)
{
    __asan_unpoison_memory_region(ptr, size);
}

#else

void mem_unwanted(void *ptr, size_t size)
{
    (void)ptr, (void)size;
}

void mem_wanted(void *ptr, size_t size)
{
    (void)ptr, (void)size;
}

#endif
