#include "api/names.h"

#include "base/hash.h"

/* Which names there have been: open addressing, at most half full. A place is one more than where
 * its name stands first; 0: free. */
struct places {
    int32_t *at;
    uint32_t mask;
};

static void places_init(struct places *places, int32_t count)
{
    uint32_t size = 2;
    while (size < (uint32_t)count * 2) {
        size *= 2;
    }
    places->at = mem_zalloc(size, sizeof(*places->at));
    places->mask = size - 1;
}

/* That of an equal name, or a free one. */
static int32_t *place_of(const struct places *places, const struct str *names, struct str name)
{
    uint32_t at = (uint32_t)hash_bytes(name.ptr, name.size) & places->mask;
    while (places->at[at] != 0 && !str_eq(names[places->at[at] - 1], name)) {
        at = (at + 1) & places->mask;
    }
    return &places->at[at];
}

int32_t *names_first(struct arena *arena, const struct str *names, int32_t count)
{
    int32_t *first = arena_array(arena, int32_t, (size_t)count + 1);
    struct places places;
    places_init(&places, count);
    for (int32_t i = 0; i < count; i++) {
        int32_t *place = place_of(&places, names, names[i]);
        *place = *place == 0 ? i + 1 : *place;
        first[i] = *place - 1;
    }
    mem_free(places.at);
    return first;
}

bool *names_again(struct arena *arena, const struct str *names, int32_t count)
{
    const int32_t *first = names_first(arena, names, count);
    bool *again = arena_array(arena, bool, (size_t)count + 1);
    for (int32_t i = 0; i < count; i++) {
        again[i] = first[i] != i;
    }
    return again;
}

bool *names_repeated(struct arena *arena, const struct str *names, int32_t count)
{
    const int32_t *first = names_first(arena, names, count);
    bool *repeated = arena_array(arena, bool, (size_t)count + 1);
    for (int32_t i = 0; i < count; i++) {
        if (first[i] != i) {
            repeated[i] = true;
            repeated[first[i]] = true;
        }
    }
    return repeated;
}
