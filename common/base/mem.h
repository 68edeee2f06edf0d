/* mem.h: small allocations, which never fail.
 *
 * For sizes that we choose. When memory is gone the process ends with a message: it is replaced,
 * and its replicas serve meanwhile. Sizes that a client chooses come from a budget (rt/budget.h)
 * and can be refused. Freed with mem_free(), which takes NULL. */
#pragma once

#include <stddef.h>

enum { MEM_KEPT_BYTES = 16 * 1024 * 1024 };

void *mem_alloc(size_t size) __attribute__((malloc, alloc_size(1), returns_nonnull));

/* Zero-filled array of `count` elements. */
void *mem_zalloc(size_t count, size_t size) __attribute__((malloc, returns_nonnull));

/* Resize; the content up to the smaller size is kept. `old` may be NULL. */
void *mem_realloc(void *old, size_t size) __attribute__((alloc_size(2), returns_nonnull));

char *mem_strdup(const char *text) __attribute__((malloc, returns_nonnull));
char *mem_strndup(const char *text, size_t size) __attribute__((malloc, returns_nonnull));

/* printf into fresh memory. */
char *mem_printf(const char *format, ...) __attribute__((format(printf, 1, 2), returns_nonnull));

void mem_free(void *ptr);

/* For the whole process, before its threads: freed memory is kept for the next request, up to
 * MEM_KEPT_BYTES at the end of each thread's heap. Left alone, the C library gives it back to the
 * machine from 128 KiB on and takes it again, page by page, for the next frames: four page faults
 * for each batch of 64 KiB. So much because the largest frame of every day is a leader's answer to
 * a follower, 10 MiB by default: of 4 MiB, as much as fits of batches of 1 MiB, each cost 300 page
 * faults and three copies of them 1.3 times the processor time while only 4 MiB were kept. */
void mem_keep(void);

/* Give what was freed back to the machine, also from between what is in use: for the end of work
 * that needed much more memory than what stays. Looks through all threads' heaps, so not on a loop;
 * of the ends of heaps, which grow and shrink, only this thread's. */
void mem_trim(void);

/* Give back the end of this thread's heap, but for some pages. */
void mem_trim_end(void);

/* For memory that is kept for its next use: until mem_wanted() nobody may touch it. The sanitizers
 * see to that; elsewhere these do nothing. */
void mem_unwanted(void *ptr, size_t size);
void mem_wanted(void *ptr, size_t size);

/* A zeroed object of a type. */
#define mem_new(type) ((type *)mem_zalloc(1, sizeof(type)))
