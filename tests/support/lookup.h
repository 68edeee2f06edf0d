/* lookup.h: for a test program that puts a getaddrinfo() of its own before the library's, because
 * what a name server says, and when, is not a test's to know: the library's. */
#pragma once

#include <dlfcn.h>
#include <netdb.h>

static inline int lookup_really(const char *name, const char *service, const struct addrinfo *hints,
                                struct addrinfo **list)
{
    typedef int lookup_fn(const char *, const char *, const struct addrinfo *, struct addrinfo **);
    union {
        void *symbol;
        lookup_fn *fn;
    } real = {.symbol = dlsym(RTLD_NEXT, "getaddrinfo")};
    return real.fn(name, service, hints, list);
}
