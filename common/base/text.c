#include "base/text.h"

#include <string.h>

#include "base/mem.h"
#include "base/must.h"

struct text *text_new(struct str chars)
{
    struct text *text = mem_alloc(sizeof(*text) + chars.size + 1);
    atomic_init(&text->count, 1);
    if (chars.size > 0) {
        memcpy(text->chars, chars.ptr, chars.size);
    }
    text->chars[chars.size] = '\0';
    return text;
}

struct text *text_hold(struct text *text)
{
    atomic_fetch_add_explicit(&text->count, 1, memory_order_relaxed);
    return text;
}

void text_put(struct text *text)
{
    if (text == NULL) {
        return;
    }
    int32_t before = atomic_fetch_sub_explicit(&text->count, 1, memory_order_acq_rel);
    must(before > 0);
    if (before == 1) {
        mem_free(text);
    }
}
