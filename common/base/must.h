/* must.h: assertions that stay on in release builds.
 *
 * must(x) states what only a bug of ours can break; it prints where and aborts. Never use it on
 * bytes from a disk or a peer: those are validated and answered with an error. */
#pragma once

__attribute__((noreturn, cold)) void must_failed(const char *condition, const char *file, int line);

#define must(condition)                                                                            \
    do {                                                                                           \
        if (__builtin_expect(!(condition), 0)) {                                                   \
            must_failed(#condition, __FILE__, __LINE__);                                           \
        }                                                                                          \
    } while (0)

/* A place that control flow cannot reach. */
#define must_not_get_here() must_failed("must not get here", __FILE__, __LINE__)
