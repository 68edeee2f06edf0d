#include "api/names.h"

#include <stdlib.h>

static int by_name(const void *a, const void *b)
{
    const struct str *const *x = a;
    const struct str *const *y = b;
    int order = str_cmp(**x, **y);
    /* Equal names stand in the order of the request. */
    return order != 0 ? order : *x < *y ? -1 : 1;
}

static const struct str **sort(struct arena *arena, const struct str *names, int32_t count)
{
    const struct str **sorted = arena_array(arena, const struct str *, (size_t)count + 1);
    for (int32_t i = 0; i < count; i++) {
        sorted[i] = &names[i];
    }
    qsort(sorted, (size_t)count, sizeof(const struct str *), by_name);
    return sorted;
}

bool *names_repeated(struct arena *arena, const struct str *names, int32_t count)
{
    bool *repeated = arena_array(arena, bool, (size_t)count + 1);
    const struct str **sorted = sort(arena, names, count);
    for (int32_t i = 1; i < count; i++) {
        if (str_eq(*sorted[i - 1], *sorted[i])) {
            repeated[sorted[i - 1] - names] = true;
            repeated[sorted[i] - names] = true;
        }
    }
    return repeated;
}

bool *names_again(struct arena *arena, const struct str *names, int32_t count)
{
    bool *again = arena_array(arena, bool, (size_t)count + 1);
    const struct str **sorted = sort(arena, names, count);
    for (int32_t i = 1; i < count; i++) {
        again[sorted[i] - names] = str_eq(*sorted[i - 1], *sorted[i]);
    }
    return again;
}

int32_t *names_first(struct arena *arena, const struct str *names, int32_t count)
{
    int32_t *first = arena_array(arena, int32_t, (size_t)count + 1);
    const struct str **sorted = sort(arena, names, count);
    for (int32_t i = 0; i < count; i++) {
        bool again = i > 0 && str_eq(*sorted[i - 1], *sorted[i]);
        int32_t at = (int32_t)(sorted[i] - names);
        first[at] = again ? first[sorted[i - 1] - names] : at;
    }
    return first;
}
