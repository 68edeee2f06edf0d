/* sim_bugs.h: broken brokers, to see that the simulator finds what it is for.
 *
 * Each is a bug that a broker might have; sim_bugs.c and the simulated parts put it between the
 * broker's own functions at link time (--wrap) or into the tables below it, so the product contains
 * none of them. One at a time, chosen when a run begins.
 *
 * Threads: one. */
#pragma once

#include <stdbool.h>

enum sim_bug {
    SIM_BUG_NONE,
    SIM_BUG_EARLY_ACK,        /* acknowledges records that are still in its own memory */
    SIM_BUG_NO_FENCING,       /* controllers write without checking the controller epoch */
    SIM_BUG_FORGET_PRODUCERS, /* a restart loses the producers' sequences */
    SIM_BUG_NO_DUPLICATES,    /* a repeated batch is appended once more */
    SIM_BUG_RECOVERY,         /* recovery after a crash cuts the last whole batch, too */
    SIM_BUG_LEAK,             /* one release of memory in ten is forgotten */
    SIM_BUG_EARLY_COMMIT,     /* leaders do not wait for the ISR */
    SIM_BUG_UNCLEAN,          /* any live replica may become leader */
    SIM_BUG_COUNT,
};

const char *sim_bug_name(enum sim_bug bug);

/* SIM_BUG_COUNT: no such name. */
enum sim_bug sim_bug_find(const char *name);

void sim_bug_set(enum sim_bug bug);
bool sim_bug_on(enum sim_bug bug);
