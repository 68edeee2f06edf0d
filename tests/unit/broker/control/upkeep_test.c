/* What is done from time to time. */
#include <criterion/criterion.h>

#include "control/upkeep.h"
#include "control_fixture.h"

static void set_static(struct side *side, const char *name, const char *value)
{
    struct config_pair pairs[] = {{"zookeeper.connect", "z:1"}, {name, value}};
    struct config *config;
    struct errmsg msg;
    cr_assert_eq(config_from_pairs(pairs, 2, &config, &msg), ERR_OK, "%s", msg.text);
    config_cell_set(&side->config, config);
}

/* Retention was to be looked for never, and was at every turn of the loop: the time overflowed. */
Test(upkeep, a_delay_longer_than_any_clock_is_never)
{
    struct side side;
    side_begin(&side);
    set_static(&side, "log.initial.task.delay.ms", "9223372036854775807");
    clock_manual_advance(&side.clock, INT64_C(5000) * 1000000);
    side_run(&side);
    struct upkeep *upkeep = upkeep_new(&side.broker, NULL);
    upkeep_start(upkeep);
    side_run(&side);
    int64_t now_ms = clock_mono_ms(&side.clock.clock);
    cr_expect_gt(loop_next_deadline_ms(side.loop), now_ms + 1000);
    clock_manual_advance(&side.clock, INT64_C(100) * 1000000);
    cr_expect_not(loop_turn(side.loop));
    upkeep_free(upkeep);
    side_end(&side);
}
