/* names.h: names that occur more than once in a request.
 *
 * Threads: any. */
#pragma once

#include "base/arena.h"

/* repeated[i]: names[i] equals another one (null equals null). In the arena; takes time in
 * proportion to their number: a request can hold millions, and some are looked at on the control
 * loop. */
bool *names_repeated(struct arena *arena, const struct str *names, int32_t count);

/* again[i]: names[i] equals an earlier one. Likewise. */
bool *names_again(struct arena *arena, const struct str *names, int32_t count);

/* first[i]: where names[i] stands first. Likewise. */
int32_t *names_first(struct arena *arena, const struct str *names, int32_t count);
