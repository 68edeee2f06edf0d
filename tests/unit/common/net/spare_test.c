/* What the connections of a thread use by turns: it is the same memory again, and never another's.
 */
#include <criterion/criterion.h>
#include <string.h>

#include "base/mem.h"
#include "net/spare.h"

/* The last block given is the first taken, whatever sizes of its class were asked for. */
Test(spare, a_frame_is_used_again)
{
    uint8_t *first = spare_frame_take(100);
    uint8_t *second = spare_frame_take(256);
    cr_assert_neq(first, second);
    memset(first, 1, 100);
    memset(second, 2, 256);
    spare_frame_give(first, 100);
    spare_frame_give(second, 256);
    cr_assert_eq(spare_frame_take(1), second);
    uint8_t *again = spare_frame_take(200);
    cr_assert_eq(again, first);
    memset(again, 3, 200);
    spare_frame_give(again, 200);
    spare_frame_give(second, 1);
}

/* A block of one size is not given out for a larger one. */
Test(spare, every_class_has_its_own)
{
    static const size_t sizes[] = {0, 256, 257, 512, 513, 1024, 1025, 70000};
    enum { COUNT = sizeof(sizes) / sizeof(sizes[0]) };
    uint8_t *frames[COUNT];
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < COUNT; i++) {
            frames[i] = spare_frame_take(sizes[(i + round) % COUNT]);
            memset(frames[i], i, sizes[(i + round) % COUNT]);
        }
        for (int i = 0; i < COUNT; i++) {
            for (size_t at = 0; at < sizes[(i + round) % COUNT]; at++) {
                cr_assert_eq(frames[i][at], i);
            }
            spare_frame_give(frames[i], sizes[(i + round) % COUNT]);
        }
    }
}

/* More are given than are kept: the rest is freed, and nothing is given out twice. */
Test(spare, keeps_no_more_than_its_maximum)
{
    enum { COUNT = SPARE_FRAMES_MAX + 10 };
    static uint8_t *frames[COUNT];
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < COUNT; i++) {
            frames[i] = spare_frame_take(8);
            memcpy(frames[i], &i, sizeof(i));
        }
        for (int i = 0; i < COUNT; i++) {
            int found;
            memcpy(&found, frames[i], sizeof(found));
            cr_assert_eq(found, i);
            spare_frame_give(frames[i], 8);
        }
    }
}

Test(spare, a_frame_may_be_freed)
{
    mem_free(spare_frame_take(300));
}

/* One queue is kept; who takes while it is out gets a new one. */
Test(spare, a_queue_is_used_again)
{
    struct outq *first = spare_outq_take();
    struct outq *second = spare_outq_take();
    cr_assert_neq(first, second);
    spare_outq_give(first);
    spare_outq_give(second);
    cr_assert_eq(spare_outq_take(), first);
    outq_free(first);
}
