#include "rt/clock.h"

#include <time.h>

#include "base/must.h"

static int64_t read_ns(clockid_t id)
{
    struct timespec now;
    must(clock_gettime(id, &now) == 0);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static int64_t system_mono_ns(struct clock *clock)
{
    (void)clock;
    return read_ns(CLOCK_MONOTONIC);
}

static int64_t system_wall_ms(struct clock *clock)
{
    (void)clock;
    return read_ns(CLOCK_REALTIME) / 1000000;
}

static const struct clock_ops system_ops = {system_mono_ns, system_wall_ms};

struct clock *clock_system(void)
{
    static struct clock clock = {&system_ops};
    return &clock;
}

int64_t clock_thread_cpu_us(void)
{
    struct timespec used;
    must(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used) == 0);
    return (int64_t)used.tv_sec * 1000000 + used.tv_nsec / 1000;
}

static struct clock_manual *of_clock(struct clock *clock)
{
    return (struct clock_manual *)clock;
}

static int64_t manual_mono_ns(struct clock *clock)
{
    return of_clock(clock)->mono_ns_value;
}

static int64_t manual_wall_ms(struct clock *clock)
{
    struct clock_manual *manual = of_clock(clock);
    return manual->wall_ms_value + manual->mono_ns_value / 1000000;
}

static const struct clock_ops manual_ops = {manual_mono_ns, manual_wall_ms};

void clock_manual_init(struct clock_manual *manual, int64_t wall_ms)
{
    manual->clock.ops = &manual_ops;
    manual->mono_ns_value = 0;
    manual->wall_ms_value = wall_ms;
}

void clock_manual_advance(struct clock_manual *manual, int64_t ns)
{
    must(ns >= 0);
    manual->mono_ns_value += ns;
}

void clock_manual_step_wall(struct clock_manual *manual, int64_t ms)
{
    manual->wall_ms_value += ms;
}
