/* The table of local partitions: what an edit publishes, and to whom. */
#include <pthread.h>

#include "../log/log_fixture.h"
#include "partition/parts.h"

static struct log_world w;
static struct loop *loop;
static struct parts parts;
static int freed;

static void world_init(void)
{
    world_begin(&w, 1);
    cr_assert_eq(world_open(&w), ERR_OK);
    loop = loop_new("hand", 0, &w.clock.clock);
    parts_init(&parts);
}

static void world_fini(void)
{
    parts_fini(&parts);
    while (loop_turn(loop)) {
    }
    world_end(&w);
    loop_free(loop);
}

static void ignore_epoch(void *arg, int32_t leader_epoch)
{
    (void)arg, (void)leader_epoch;
}

static void ignore_offset(void *arg, int64_t offset)
{
    (void)arg, (void)offset;
}

static void on_free(void *arg)
{
    (void)arg;
    freed++;
}

static const struct part_hooks hooks = {ignore_epoch, ignore_epoch, ignore_offset, on_free};

/* A partition; all share one log, which nobody writes. */
static struct part *make(const char *topic, int32_t index)
{
    struct part_options options = {.topic = str_of(topic),
                                   .index = index,
                                   .loop_count = 1,
                                   .clock = &w.clock.clock,
                                   .home = loop,
                                   .my_id = 1};
    struct part *part = part_new(&options, w.log, -1);
    part_hook(part, &hooks, NULL);
    return part;
}

static void add(const char *topic, int32_t index)
{
    struct parts_change change = {str_of(topic), index, make(topic, index)};
    parts_edit(&parts, &change, 1);
}

static void drop(const char *topic, int32_t index)
{
    struct parts_change change = {str_of(topic), index, NULL};
    parts_edit(&parts, &change, 1);
}

static bool finds(struct parts_reader *reader, const char *topic, int32_t index)
{
    struct part *part = parts_find(reader, str_of(topic), index);
    cr_assert(part == NULL || (str_is(part->topic, topic) && part->index == index));
    return part != NULL;
}

Test(parts, finds_what_was_added_until_it_is_removed, .init = world_init, .fini = world_fini)
{
    struct parts_reader reader;
    parts_reader_init(&reader, &parts);
    cr_assert(!finds(&reader, "a", 0));
    add("a", 0);
    add("a", 7);
    add("b", 0);
    cr_assert(finds(&reader, "a", 0));
    cr_assert(!finds(&reader, "a", 1));
    cr_assert(finds(&reader, "a", 7));
    cr_assert(finds(&reader, "b", 0));
    cr_assert(!finds(&reader, "a", -1));
    cr_assert(!finds(&reader, "", 0));
    drop("a", 0);
    drop("nothing", 3);
    drop("b", 9);
    cr_assert(!finds(&reader, "a", 0));
    cr_assert(finds(&reader, "a", 7));
    drop("a", 7);
    cr_assert(!finds(&reader, "a", 7));
    cr_assert(finds(&reader, "b", 0));
    parts_reader_fini(&reader);
}

/* Several changes at once are seen at once; adding again replaces. */
Test(parts, one_edit_is_one_change, .init = world_init, .fini = world_fini)
{
    struct parts_reader reader;
    parts_reader_init(&reader, &parts);
    add("a", 0);
    uint64_t before = atomic_load(&parts.generation);
    struct parts_change changes[] = {
        {STR("a"), 0, make("a", 0)},
        {STR("a"), 1, make("a", 1)},
        {STR("b"), 0, make("b", 0)},
        {STR("a"), 1, NULL},
    };
    parts_edit(&parts, changes, 4);
    cr_assert_eq(atomic_load(&parts.generation), before + 1);
    cr_assert_eq(parts_find(&reader, STR("a"), 0), changes[0].part);
    cr_assert(!finds(&reader, "a", 1));
    cr_assert(finds(&reader, "b", 0));
    parts_reader_fini(&reader);
}

/* A reader keeps what it has seen alive until it looks again; a looked-up one, until it is put. */
Test(parts, removed_partitions_live_as_long_as_somebody_holds_them, .init = world_init,
     .fini = world_fini)
{
    struct parts_reader reader;
    parts_reader_init(&reader, &parts);
    add("a", 0);
    cr_assert(finds(&reader, "a", 0));
    struct part *mine = parts_lookup(&parts, STR("a"), 0);
    cr_assert_not_null(mine);
    cr_assert_null(parts_lookup(&parts, STR("a"), 1));
    drop("a", 0);
    loop_turn(loop);
    cr_assert_eq(freed, 0);
    cr_assert(!finds(&reader, "a", 0));
    loop_turn(loop);
    cr_assert_eq(freed, 0);
    part_put(mine);
    loop_turn(loop);
    cr_assert_eq(freed, 1);
    parts_reader_fini(&reader);
}

static void count(void *arg, struct part *part)
{
    (void)part;
    (*(int *)arg)++;
}

/* Many topics come and go: the table grows, and empties. */
Test(parts, against_a_model, .init = world_init, .fini = world_fini)
{
    enum { TOPICS = 40, PARTITIONS = 5, STEPS = 600 };
    static bool there[TOPICS][PARTITIONS];
    struct parts_reader reader;
    struct rng rng;
    int total = 0;
    rng_seed(&rng, 2);
    parts_reader_init(&reader, &parts);
    for (int step = 0; step < STEPS; step++) {
        int topic = (int)rng_below(&rng, TOPICS);
        int index = (int)rng_below(&rng, PARTITIONS);
        bool adding = step < STEPS / 2 ? !rng_one_in(&rng, 4) : rng_one_in(&rng, 4);
        char name[32];
        snprintf(name, sizeof(name), "topic-%d", topic);
        (adding ? add : drop)(name, index);
        total += adding - there[topic][index];
        there[topic][index] = adding;
        for (int i = 0; i < TOPICS; i++) {
            int of_topic = 0;
            snprintf(name, sizeof(name), "topic-%d", i);
            parts_each_of(&parts, str_of(name), count, &of_topic);
            for (int j = 0; j < PARTITIONS; j++) {
                cr_assert_eq(finds(&reader, name, j), there[i][j]);
                of_topic -= there[i][j];
            }
            cr_assert_eq(of_topic, 0);
        }
        int counted = 0;
        parts_each(&parts, count, &counted);
        cr_assert_eq(counted, total);
    }
    parts_reader_fini(&reader);
}

/* Readers on other threads see a table or the next one, never something in between. */
static _Atomic bool stop;

static void *read_all(void *arg)
{
    struct parts_reader reader;
    parts_reader_init(&reader, arg);
    while (!atomic_load(&stop)) {
        struct part *both = parts_find(&reader, STR("pair"), 0);
        if (both != NULL) {
            cr_assert_eq(parts_find(&reader, STR("always"), 0)->index, 0);
        }
    }
    parts_reader_fini(&reader);
    return NULL;
}

Test(parts, readers_on_other_threads, .init = world_init, .fini = world_fini, .timeout = 60)
{
    enum { EDITS = 3000, READERS = 2 };
    pthread_t readers[READERS];
    add("always", 0);
    for (int i = 0; i < READERS; i++) {
        cr_assert_eq(pthread_create(&readers[i], NULL, read_all, &parts), 0);
    }
    for (int i = 0; i < EDITS; i++) {
        (i % 2 == 0 ? add : drop)("pair", 0);
        loop_turn(loop);
    }
    atomic_store(&stop, true);
    for (int i = 0; i < READERS; i++) {
        pthread_join(readers[i], NULL);
    }
}
