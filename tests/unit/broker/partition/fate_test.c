/* What has become of a leader's records: never acknowledged for what others have written since.
 *
 * The partition here is only what it publishes, stored as its actor does, so that every order of
 * loads and stores comes up. */
#include <criterion/criterion.h>
#include <pthread.h>

#include "partition/part.h"

static struct part part;

static void role(enum part_role role, int32_t epoch)
{
    atomic_store_explicit(&part.now, (uint64_t)(uint32_t)epoch << 32 | (uint64_t)role,
                          memory_order_release);
}

static void lead(int32_t since, int32_t epoch)
{
    atomic_store_explicit(&part.leading_since, since, memory_order_release);
    role(PART_LEADER, epoch);
}

static void high_watermark(int64_t offset)
{
    atomic_store_explicit(&part.offset_hw, offset, memory_order_release);
}

Test(part_fate, is_open_until_the_high_watermark_has_passed_the_records_end)
{
    lead(5, 5);
    high_watermark(9);
    cr_assert_eq(part_fate_committed(&part, 5, 10), PART_FATE_OPEN);
    high_watermark(10);
    cr_assert_eq(part_fate_committed(&part, 5, 10), PART_FATE_KEPT);
    high_watermark(11);
    cr_assert_eq(part_fate_committed(&part, 5, 10), PART_FATE_KEPT);
}

/* In between nobody else could write. */
Test(part_fate, is_kept_where_it_led_in_all_later_epochs)
{
    lead(5, 7);
    high_watermark(10);
    cr_assert_eq(part_fate_committed(&part, 5, 10), PART_FATE_KEPT);
    cr_assert_eq(part_fate_committed(&part, 7, 10), PART_FATE_KEPT);
    cr_assert_eq(part_fate_committed(&part, 5, 11), PART_FATE_OPEN);
}

/* Whatever the high watermark says. */
Test(part_fate, is_unknown_once_it_has_followed)
{
    high_watermark(100);
    role(PART_FOLLOWER, 6);
    cr_assert_eq(part_fate_committed(&part, 5, 10), PART_FATE_UNKNOWN);
    lead(7, 7);
    cr_assert_eq(part_fate_committed(&part, 5, 10), PART_FATE_UNKNOWN);
    cr_assert_eq(part_fate_committed(&part, 5, 200), PART_FATE_UNKNOWN);
    cr_assert_eq(part_fate_committed(&part, 7, 10), PART_FATE_KEPT);
    role(PART_OFFLINE, 7);
    cr_assert_eq(part_fate_committed(&part, 7, 10), PART_FATE_UNKNOWN);
}

/* ---- while another thread reads ---- */

/* Of leadership n, whose epoch is 2n + 1, the high watermark is 10n; the record is one further. */
enum { LOOKS = 2000000, APART = 10 };

static _Atomic bool looked;
static int wrong;
static int decided;

static void *look(void *arg)
{
    for (int i = 0; i < LOOKS; i++) {
        int32_t epoch = part_now(&part).leader_epoch | 1;
        enum part_fate fate =
            part_fate_committed(&part, epoch, (int64_t)(epoch - 1) / 2 * APART + 1);
        wrong += fate == PART_FATE_KEPT;
        decided += fate == PART_FATE_UNKNOWN;
    }
    atomic_store(&looked, true);
    return arg;
}

/* Asked for the leadership before the high watermark, it would be told of both what was never true
 * together: that it leads, and that its record is committed, which is others' by then. */
Test(part_fate, is_never_kept_by_others_records, .timeout = 60)
{
    pthread_t reader;
    lead(1, 1);
    high_watermark(0);
    cr_assert_eq(pthread_create(&reader, NULL, look, NULL), 0);
    for (int32_t n = 1; !atomic_load(&looked); n++) {
        role(PART_FOLLOWER, 2 * n);
        high_watermark((int64_t)n *
                       APART); /* what was there has been cut off, and others have written */
        lead(2 * n + 1, 2 * n + 1);
    }
    cr_assert_eq(pthread_join(reader, NULL), 0);
    cr_assert_eq(wrong, 0, "%d of %d, %d of them decided", wrong, LOOKS, decided);
}
