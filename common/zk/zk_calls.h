/* zk_calls.h: ZooKeeper calls that are repeated until the answer is known.
 *
 * A connection loss leaves open whether an operation happened. Most callers want the same answer to
 * that: ask again as soon as the connection is back. These wrappers do, with a pause of
 * ZK_CALLS_RETRY_MS, for ever; every other result ends the call. A change that is repeated may meet
 * its own earlier success (ERR_EXISTS, ERR_ZK_BAD_VERSION, ERR_NOT_FOUND): `repeated` tells, and
 * the caller decides, usually by reading. Where a repeated one might hit what somebody else has
 * made meanwhile, there is zk_calls_once().
 *
 * Except what may be too large: ZooKeeper does not answer a request beyond its jute.maxbuffer
 * (0xfffff bytes unless set) but ends the connection, and with it whatever else is under way. A
 * call of ZK_CALLS_LARGE_BYTES that has been lost ZK_CALLS_LARGE_TRIES times, a second at least,
 * ends with ERR_ZK_OTHER; where the connection was lost for another reason it may have been
 * applied.
 *
 * Order: first attempts go out in the order of the calls; repeated ones may overtake others.
 *
 * Threads: the session's loop. Ownership: callers own the struct; arguments are copied. */
#pragma once

#include <stdbool.h>

#include "base/list.h"
#include "rt/loop.h"
#include "zk/zk.h"

enum {
    ZK_CALLS_RETRY_MS = 100,
    ZK_CALLS_LARGE_BYTES = 1000 * 1000,
    ZK_CALLS_LARGE_TRIES = 10,
};

/* `repeated`: an earlier attempt of this call was lost and may have been applied. */
typedef void zk_call_fn(void *arg, const struct zk_result *result, bool repeated);

/* The calls of one module over one session at a time. */
struct zk_calls {
    struct loop *loop;
    struct zk *zk;       /* borrowed; NULL: no session */
    struct list pending; /* every call that has not called back */
};

void zk_calls_init(struct zk_calls *calls, struct loop *loop);

/* Forget the session: no callback of an earlier call comes after this. Calls made while `zk` is
 * NULL complete with ERR_ZK_SESSION_EXPIRED, from the loop's run list. Before closing a session
 * either do this, or expect ERR_CLOSED in every callback. */
void zk_calls_set_session(struct zk_calls *calls, struct zk *zk);

/* Same as zk_calls_set_session(calls, NULL). */
void zk_calls_fini(struct zk_calls *calls);

void zk_calls_get(struct zk_calls *calls, const char *path, bool watch, zk_call_fn *fn, void *arg);
void zk_calls_get_many(struct zk_calls *calls, const char *const *paths, int32_t count,
                       zk_call_fn *fn, void *arg);
void zk_calls_exists(struct zk_calls *calls, const char *path, bool watch, zk_call_fn *fn,
                     void *arg);
void zk_calls_children(struct zk_calls *calls, const char *path, bool watch, zk_call_fn *fn,
                       void *arg);
void zk_calls_create(struct zk_calls *calls, const char *path, struct bytes data, int flags,
                     zk_call_fn *fn, void *arg);
void zk_calls_set(struct zk_calls *calls, const char *path, struct bytes data, int32_t version,
                  zk_call_fn *fn, void *arg);
void zk_calls_remove(struct zk_calls *calls, const char *path, int32_t version, zk_call_fn *fn,
                     void *arg);
void zk_calls_multi(struct zk_calls *calls, const struct zk_op *ops, int32_t count, zk_call_fn *fn,
                    void *arg);

/* A change that is not repeated, for between the attempts somebody may make anew what it is meant
 * for: ERR_ZK_CONNECTION_LOSS is told at once, and the caller looks. */
void zk_calls_once(struct zk_calls *calls, const struct zk_op *op, zk_call_fn *fn, void *arg);
