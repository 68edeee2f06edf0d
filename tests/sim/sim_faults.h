/* sim_faults.h: what goes wrong in the safety phase.
 *
 * A run has a subset of the kinds (swarm: some bugs show only when other faults stay away). At
 * random moments one of them happens; each ends by itself, or at the latest with
 * sim_faults_stop(), which makes everything whole again: brokers are started, the network heals.
 *
 * Threads: one. */
#pragma once

#include "sim.h"

enum sim_fault {
    SIM_FAULT_KILL,      /* a broker's process ends; its page cache stays */
    SIM_FAULT_POWER,     /* a broker's machine loses power */
    SIM_FAULT_MID_WRITE, /* either, between two operations on its disk */
    SIM_FAULT_RESTART,   /* a broker is stopped in order */
    SIM_FAULT_PARTITION, /* two brokers cannot reach each other */
    SIM_FAULT_ONE_WAY,   /* one direction only, also between clients and brokers */
    SIM_FAULT_RESET,     /* a connection breaks */
    SIM_FAULT_SLOW_NET,  /* long delays */
    SIM_FAULT_ZK_EXPIRE, /* a broker's ZooKeeper session ends */
    SIM_FAULT_ZK_AWAY,   /* a broker loses its connection to ZooKeeper for a time */
    SIM_FAULT_ZK_LOSS,   /* operations or their results are lost */
    SIM_FAULT_PAUSE,     /* a broker's process stands still, and loses its session if for long */
    SIM_FAULT_SLOW_DISK, /* a broker's workers stand still, or every operation takes its time */
    SIM_FAULT_HUNG_DISK, /* a broker's disk does not answer for a time: whoever asks it waits, until
                            the watchdog ends the process */
    SIM_FAULT_BAD_DISK,  /* a sync, a write or a read fails once, or the disk is full for a time;
                            whoever looks after the broker restarts it later */
    SIM_FAULT_CLOCK,     /* a broker's wall clock jumps */
    SIM_FAULT_DEPOSE,    /* the controller stands still in the middle of its work; an operator
                            removes its node, so that another is elected meanwhile */
    SIM_FAULT_ZK_DOWN,   /* no broker reaches ZooKeeper for a time */
    SIM_FAULT_SLOW_HOST, /* what goes to and from a broker takes longer, so overtakes differ */
    SIM_FAULT_KILL_ALL,  /* all brokers' processes end at once */
    SIM_FAULT_BROADCAST, /* in the middle of telling the others something, a broker dies, loses its
                            session, or cannot reach those any more that it has not told */
    SIM_FAULT_LATE,      /* messages of the controller arrive once more, later */
    SIM_FAULT_DIRS,      /* no fault at all: brokers have two log directories, and a replica is sent
                            to the other one */
    SIM_FAULT_RELAY, /* never drawn, only asked for: a broker loses power, another one fails to sync
                        and is restarted; the first one is back while the second is away */
    SIM_FAULT_COUNT,
};

struct sim_faults;

struct sim_faults *sim_faults_new(struct sim *sim);
void sim_faults_stop(struct sim_faults *faults);
void sim_faults_free(struct sim_faults *faults);

const char *sim_fault_name(enum sim_fault fault);
int sim_faults_count(const struct sim_faults *faults);
int sim_faults_crashes(const struct sim_faults *faults);
