#include "api/pulse.h"

#include <criterion/criterion.h>

Test(pulse, that_nobody_watches_is_never_missed)
{
    struct pulse pulse = {0};
    cr_assert(!pulse_missed(&pulse, INT64_MAX));
    cr_assert(!pulse_was_missed(&pulse, INT64_MAX));
}

Test(pulse, is_missed_when_its_time_is_over)
{
    struct pulse pulse = {0};
    pulse_beat(&pulse, 1000, 300);
    cr_assert(!pulse_missed(&pulse, 1300));
    cr_assert(pulse_missed(&pulse, 1301));
    pulse_beat(&pulse, 1301, 300);
    cr_assert(!pulse_missed(&pulse, 1601));
    pulse_end(&pulse);
    cr_assert(!pulse_missed(&pulse, INT64_MAX));
}

Test(pulse, that_is_late_itself_was_missed)
{
    struct pulse pulse = {0};
    pulse_beat(&pulse, 1000, 300);
    cr_assert(!pulse_was_missed(&pulse, 1300));
    cr_assert(pulse_was_missed(&pulse, 1301));
}

/* What was held would wait for ever, if the beat that ends the wait thought itself in time. */
Test(pulse, that_somebody_missed_was_missed_whatever_the_beat_thinks_of_the_time)
{
    struct pulse pulse = {0};
    pulse_beat(&pulse, 1000, 300);
    cr_assert(pulse_missed(&pulse, 1301));
    cr_assert(pulse_was_missed(&pulse, 1250));
    cr_assert(!pulse_was_missed(&pulse, 1250), "once");
}
