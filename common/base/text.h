/* text.h: a text that several have in common: the name of a log's directory, which each of its
 * segments needs for as long as somebody reads it. Never changes. Threads: any. */
#pragma once

#include <stdatomic.h>
#include <stdint.h>

#include "base/bytes.h"

struct text {
    _Atomic int32_t count;
    char chars[]; /* NUL-terminated */
};

/* The caller holds it; each text_hold() wants a text_put(). NULL may be put, too. */
struct text *text_new(struct str chars);
struct text *text_hold(struct text *text);
void text_put(struct text *text);
