/* election.h: who is the controller; standing for it.
 *
 * Every broker watches /controller. When nobody holds it, it stands: one multi creates /controller
 * (ephemeral) and raises /controller_epoch, conditional on the version read before. The version of
 * /controller_epoch after the multi is the fence of every later write of the winner. A multi whose
 * reply was lost may have won: the nodes tell.
 *
 * Threads: the loop. Ownership: embedded in ctl_driver. Source:
 * KafkaZkClient.registerControllerAndIncrement- ControllerEpoch. */
#pragma once

#include "base/log.h"
#include "rt/loop.h"
#include "zk/zk_calls.h"

/* What ZooKeeper does not let us do is tried again after so long. */
enum { ELECTION_AGAIN_MS = 1000 };

struct election {
    struct zk_calls calls;
    struct loop *loop;
    int32_t broker_id;
    /* Somebody is the controller: `epoch` and `epoch_version` when it is us by an election of this
     * session, else -1. controller_id -1: nobody, for the moment. */
    void (*decided)(struct election *election, int32_t controller_id, int32_t epoch,
                    int32_t epoch_version);
    bool reading;            /* /controller */
    bool read_again;         /* it changed meanwhile */
    bool standing;           /* from reading the epoch to the end of the multi */
    int32_t standing_epoch;  /* that it would win */
    bool removing;           /* an office of ours that we do not hold */
    int32_t won_epoch;       /* of this session's office; -1 */
    int32_t won_version;     /* -1: not known yet */
    struct loop_timer again; /* ZooKeeper did not let us: look again */
    struct log_limit failed_limit;
    bool retired;                  /* do not stand */
    void (*retired_fn)(void *arg); /* while /controller is being removed */
    void *retired_arg;
};

void election_init(struct election *election, struct loop *loop, int32_t broker_id,
                   void (*decided)(struct election *election, int32_t controller_id, int32_t epoch,
                                   int32_t epoch_version));
/* Watch and stand, in this session. */
void election_start(struct election *election, struct zk *zk);
/* The session is over. */
void election_stop(struct election *election);
/* /controller may have changed, or we have reason to doubt: look again, and tell `decided`. */
void election_check(struct election *election);
/* We hold the office no longer, whatever /controller says: remove it if it is ours, and begin anew.
 */
void election_abandon(struct election *election);
/* Remove /controller if it is ours, and do not stand again; `fn` when done. */
void election_retire(struct election *election, void (*fn)(void *arg), void *arg);
