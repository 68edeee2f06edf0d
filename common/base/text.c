#include "base/text.h"

#include <string.h>

#include "base/mem.h"
#include "base/ref.h"

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
    ref_hold(&text->count);
    return text;
}

void text_put(struct text *text)
{
    if (text != NULL && ref_drop(&text->count)) {
        mem_free(text);
    }
}
