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
    SIM_BUG_EARLY_SHRINK,     /* leaders do not wait for those any more whom they want out of the
                                 ISR, before ZooKeeper has said yes */
    SIM_BUG_EARLY_ENTRY,      /* whoever has fetched once in the epoch may enter the ISR */
    SIM_BUG_CUT_AT_HW,        /* followers cut their logs at their high watermark */
    SIM_BUG_NO_DIVERGENCE,    /* leaders do not tell followers where histories differ */
    SIM_BUG_STALE_ACK,        /* who led in an epoch goes on to acknowledge what came in it */
    SIM_BUG_OLD_CONTROL,      /* brokers take messages of deposed controllers, and overtaken ones */
    SIM_BUG_BEYOND_HW,        /* consumers are sent what is not committed */
    SIM_BUG_FUTURE_HW,        /* a restart takes the log's end for the high watermark */
    SIM_BUG_TORN,             /* recovery does not look at CRCs */
    SIM_BUG_OFF_BY_ONE,       /* recovery takes a segment for one record longer than it is */
    SIM_BUG_RETRY_SYNC,       /* a sync that failed is tried again, and that one succeeds */
    SIM_BUG_EARLY_OFFSETS,    /* commits of offsets are answered when they are appended */
    SIM_BUG_EARLY_SERVE,      /* group coordinators serve what they loaded, committed or not */
    SIM_BUG_STRAYS,           /* copies that were moved away while nobody could tell stay */
    SIM_BUG_UNCLEAN_START,    /* who lost power does not say so, and leads as if nothing had been */
    SIM_BUG_ANY_OF_ALL,       /* where all that were complete lost power, any of them leads */
    SIM_BUG_EARLY_FORGET,     /* who started uncleanly is not remembered while somebody leads */
    SIM_BUG_EARLY_DURABLE,    /* in flush mode, what is not on the leader's disk yet counts */
    SIM_BUG_EARLY_MOVE,       /* connections go to another loop with a file's bytes left to send */
    SIM_BUG_LEFT_SESSION,     /* connections that go to another loop leave their fetch session */
    SIM_BUG_EARLY_DELETE, /* the last segment is deleted before its successor's name is durable */
    SIM_BUG_KEPT_LOG,     /* a topic that is made anew has the records of the one before */
    SIM_BUG_MIXED_SYNCS,  /* members of a group are given each other's partitions */
    SIM_BUG_COUNT,
};

const char *sim_bug_name(enum sim_bug bug);

/* SIM_BUG_COUNT: no such name. */
enum sim_bug sim_bug_find(const char *name);

void sim_bug_set(enum sim_bug bug);
bool sim_bug_on(enum sim_bug bug);
