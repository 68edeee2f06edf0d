/* Waiting for the metadata: on a loop that is driven by hand. */
#include "admin/meta_wait.h"

#include <criterion/criterion.h>

#include "admin/admin_service.h"

static struct clock_manual clock_;
static struct loop *loop;
static struct meta_cell cell;
static struct meta_waits waits;

struct waiter {
    struct meta_wait wait;
    int calls;
    bool timed_out;
};

static void begin(void)
{
    clock_manual_init(&clock_, 0);
    loop = loop_new("test", -1, &clock_.clock);
    meta_cell_init(&cell);
    meta_waits_init(&waits, loop, &cell);
}

static void end(void)
{
    meta_waits_fini(&waits);
    loop_free(loop);
    meta_cell_fini(&cell);
}

TestSuite(meta_wait, .init = begin, .fini = end);

static bool is_led(struct meta_wait *wait, const struct meta *meta)
{
    (void)wait;
    return topic_is_led(meta, STR("t"), 2);
}

static void on_done(struct meta_wait *wait, bool timed_out)
{
    struct waiter *waiter = container_of(wait, struct waiter, wait);
    waiter->calls++;
    waiter->timed_out = timed_out;
}

static void start(struct waiter *waiter, int64_t after_ms)
{
    *waiter = (struct waiter){.wait = {.check = is_led, .done = on_done}};
    meta_wait_start(&waits, &waiter->wait, loop_now_ms(loop) + after_ms);
}

static void put(int32_t index, int32_t leader)
{
    int32_t replica = 1;
    struct meta_partition partition = {
        .index = index, .leader = leader, .replicas = &replica, .replicas_count = 1};
    struct meta_edit *edit = meta_edit_begin(&cell);
    meta_edit_partition(edit, STR("t"), (struct uuid){{1}}, &partition);
    meta_edit_commit(edit);
    meta_waits_kick(&waits);
}

static void turn_all(void)
{
    while (loop_turn(loop)) {
    }
}

Test(meta_wait, ends_when_every_partition_has_a_leader)
{
    struct waiter waiter;
    start(&waiter, 5000);
    put(0, 1);
    put(1, META_LEADER_NONE);
    turn_all();
    cr_expect_eq(waiter.calls, 0);
    put(1, 3);
    cr_expect_eq(waiter.calls, 1);
    cr_expect_not(waiter.timed_out);
}

Test(meta_wait, what_is_so_already_is_told_soon_but_not_from_inside)
{
    struct waiter waiter;
    put(0, 1);
    put(1, 1);
    start(&waiter, 5000);
    cr_expect_eq(waiter.calls, 0);
    clock_manual_advance(&clock_, INT64_C(20) * 1000 * 1000); /* a timer's slot */
    turn_all();
    cr_expect_eq(waiter.calls, 1);
    cr_expect_not(waiter.timed_out);
}

Test(meta_wait, the_time_is_over_for_those_only_whose_time_it_is)
{
    struct waiter early;
    struct waiter late;
    start(&early, 1000);
    start(&late, 9000);
    clock_manual_advance(&clock_, INT64_C(1500) * 1000 * 1000);
    turn_all();
    cr_expect_eq(early.calls, 1);
    cr_expect(early.timed_out);
    cr_expect_eq(late.calls, 0);
    meta_waits_fini(&waits);
}

/* A client may ask for 24 days, for what never comes, and go: its request, and the memory of its
 * frame, which others wait for, would stay so long. */
Test(meta_wait, nobody_is_waited_for_longer_than_anybody_would)
{
    struct waiter waiter;
    start(&waiter, INT32_MAX);
    clock_manual_advance(&clock_, (int64_t)META_WAIT_MAX_MS * 1000000 / 2);
    turn_all();
    cr_expect_eq(waiter.calls, 0);
    clock_manual_advance(&clock_, (int64_t)META_WAIT_MAX_MS * 1000000 / 2 + 1000000000);
    turn_all();
    cr_expect_eq(waiter.calls, 1);
    cr_expect(waiter.timed_out);
}

Test(meta_wait, at_the_end_everybody_is_told)
{
    struct waiter waiter;
    start(&waiter, 9000);
    meta_waits_fini(&waits);
    cr_expect_eq(waiter.calls, 1);
    cr_expect(waiter.timed_out);
}
