/* The parser of properties files, and what becomes of what it reads: any bytes are read to their
 * end, each pair once and in order, and a configuration made of them is either refused with a
 * message or can be asked for every key. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/must.h"
#include "config/properties.h"
#include "config/values.h"

enum { PAIRS_MAX = 64 };

struct seen {
    struct arena arena;
    struct config_pair pairs[PAIRS_MAX];
    int count;
    int last_line;
    size_t bytes;
};

static void on_pair(void *arg, const char *key, const char *value, int line)
{
    struct seen *seen = arg;
    must(line >= seen->last_line);
    seen->last_line = line;
    seen->bytes += strlen(key) + strlen(value);
    if (seen->count < PAIRS_MAX) {
        seen->pairs[seen->count++] = (struct config_pair){
            arena_cstr(&seen->arena, str_of(key)),
            arena_cstr(&seen->arena, str_of(value)),
        };
    }
}

static void ask_everything(struct arena *arena, const struct config *config)
{
    for (int i = 0; i < KEY_COUNT; i++) {
        enum config_key key = (enum config_key)i;
        const char *value = config_str(config, key);
        if (value != NULL) {
            (void)config_canonical(arena, config_info(key)->type, value);
        }
        if (value != NULL && config_info(key)->type == CONFIG_LONG) {
            (void)config_long(config, key);
        }
    }
    (void)config_retention_ms(config);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct seen seen = {.last_line = 1};
    struct config *config;
    struct errmsg msg = {""};
    properties_parse((struct bytes){data, size}, on_pair, &seen);
    must(seen.bytes <= size * 3); /* an escape of six bytes becomes three at most; nothing grows */
    enum err err = config_from_pairs(seen.pairs, seen.count, &config, &msg);
    if (err == ERR_OK) {
        ask_everything(&seen.arena, config);
        config_put(config);
    } else {
        must(msg.text[0] != '\0');
    }
    arena_fini(&seen.arena);
    return 0;
}
