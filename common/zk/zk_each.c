/* zk_each.c: a read of many nodes as one of each, for those who have nothing better. */
#include "base/arena.h"
#include "base/mem.h"
#include "base/must.h"
#include "zk/zk.h"

/* Freed by the last of its results, which all come, if only as ERR_CLOSED. */
struct each {
    struct arena arena;
    struct zk_read *reads;
    int32_t count;
    int32_t waiting;
    enum err err; /* of the first that says nothing about its node */
    zk_result_fn *fn;
    void *arg;
};

struct one {
    struct each *each;
    int32_t index;
};

static bool judged(enum err err)
{
    return err == ERR_OK || err == ERR_NOT_FOUND || err == ERR_ZK_OTHER;
}

static void on_one(void *arg, const struct zk_result *result)
{
    struct one *one = arg;
    struct each *each = one->each;
    struct zk_read *read = &each->reads[one->index];
    if (!judged(result->err) && each->err == ERR_OK) {
        each->err = result->err;
    }
    *read = (struct zk_read){.err = result->err, .stat = result->stat};
    if (result->data.data != NULL) {
        struct str text = {(const char *)result->data.data, result->data.size};
        struct str copy = arena_str(&each->arena, text);
        read->data = (struct bytes){(const uint8_t *)copy.ptr, copy.size};
    }
    if (--each->waiting > 0) {
        return;
    }
    struct zk_result all = {.err = each->err};
    if (all.err == ERR_OK) {
        all.reads = each->reads;
        all.reads_count = each->count;
    }
    each->fn(each->arg, &all);
    arena_fini(&each->arena);
    mem_free(each);
}

void zk_get_each(struct zk *zk, const char *const *paths, int32_t count, zk_result_fn *fn,
                 void *arg)
{
    must(count > 0);
    struct each *each = mem_new(struct each);
    *each = (struct each){.count = count, .waiting = count, .fn = fn, .arg = arg};
    each->reads = arena_array(&each->arena, struct zk_read, (size_t)count);
    struct one *ones = arena_array(&each->arena, struct one, (size_t)count);
    for (int32_t i = 0; i < count; i++) {
        ones[i] = (struct one){each, i};
        zk->ops->get(zk, paths[i], false, on_one, &ones[i]);
    }
}
