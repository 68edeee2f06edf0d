#include <stdlib.h>
#include <string.h>

#include "config/config.h"

struct doc {
    const char *name;
    const char *text;
};

static const struct doc docs[] = {
#define DOC(name, text) {name, text},
#include "config/docs.def"
#undef DOC
};

static int by_name(const void *key, const void *item)
{
    const struct doc *doc = item;
    return strcmp(key, doc->name);
}

const char *config_documentation(const char *name)
{
    const struct doc *doc =
        bsearch(name, docs, sizeof(docs) / sizeof(docs[0]), sizeof(docs[0]), by_name);
    return doc != NULL ? doc->text : NULL;
}
