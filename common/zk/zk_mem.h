/* zk_mem.h: a ZooKeeper in memory, for tests and the simulator.
 *
 * One struct zk_mem is the ensemble; sessions are opened through its factory on any loop, also on
 * loops that are driven by hand. An operation is applied to the tree at the moment of the call, in
 * the order of the calls; its result, like every watch and session event, is queued at its session
 * and delivered on the session's loop. So a test explores interleavings by choosing which loop
 * turns.
 *
 * As in ZooKeeper: czxid, mzxid, versions; ephemeral and sequence nodes; multis that happen wholly
 * or not at all; one-shot data, exists and child watches; a watch event reaches a session before
 * any result that shows the change; sessions that are disconnected keep their ephemerals until they
 * expire, and learn of the expiry only when they reconnect; a connect string "any/chroot" puts
 * everything below /chroot.
 *
 * Threads: all functions from any (one lock; the loops' mailboxes are entered under it). */
#pragma once

#include "base/bytes.h"
#include "rt/clock.h"
#include "zk/zk.h"

struct zk_mem;

/* `clock` measures the timeouts of sessions; borrowed. `seed` drives the random faults. */
struct zk_mem *zk_mem_new(struct clock *clock, uint64_t seed);

/* Every session must be closed, and the loops must have run what was posted to them or be gone. */
void zk_mem_free(struct zk_mem *mem);

/* Valid as long as `mem`. */
struct zk_factory *zk_mem_factory(struct zk_mem *mem);

/* ---- Faults. A session is named by zk->ops->session_id(). Unknown ids are ignored. */

/* The connection breaks: results that were not delivered yet become ERR_ZK_CONNECTION_LOSS (the
 * operations have happened!), new operations fail so without happening, watch events wait. */
void zk_mem_disconnect(struct zk_mem *mem, int64_t session_id);

/* Connected again, or told that it expired meanwhile. */
void zk_mem_reconnect(struct zk_mem *mem, int64_t session_id);

/* The ensemble ends the session: its ephemerals go. It is told at once when connected, else when it
 * reconnects. */
void zk_mem_expire(struct zk_mem *mem, int64_t session_id);

/* Ends the sessions that have been disconnected for longer than their timeout; call when time has
 * moved. */
void zk_mem_tick(struct zk_mem *mem);

enum zk_mem_loss {
    ZK_MEM_LOSE_REPLY,   /* the operation happens, the caller is told ERR_ZK_CONNECTION_LOSS */
    ZK_MEM_LOSE_REQUEST, /* it does not happen, and the caller is told the same */
};

/* Let the session's operation number `after` from now (0: the next one) fail in this way, once. */
void zk_mem_lose(struct zk_mem *mem, int64_t session_id, enum zk_mem_loss loss, int32_t after);

/* From now on nothing that the session sends arrives: its operations do not happen and are not
 * answered, until it is disconnected, or `silent` is false (then those that come next are). Its
 * watch events reach it. The ensemble goes on counting it as there: expire it. */
void zk_mem_silence(struct zk_mem *mem, int64_t session_id, bool silent);

/* From now on one operation in `one_in` is lost, one way or the other; 0: none. */
void zk_mem_set_loss_rate(struct zk_mem *mem, uint64_t one_in);

/* From now on nobody may read, make or change this node (a permission is missing): ERR_ZK_OTHER.
 * NULL: all may. */
void zk_mem_forbid(struct zk_mem *mem, const char *path);

/* ---- Looking. */

/* Number of live sessions, and how many operations changed the tree. */
int32_t zk_mem_sessions(struct zk_mem *mem);
int64_t zk_mem_zxid(struct zk_mem *mem);

/* One line per node at or below `path`, sorted: "path = data (vN)" with "(ephemeral)" where it is;
 * control characters are printed as '?'. */
void zk_mem_dump(struct zk_mem *mem, const char *path, struct buf *out);

/* The node's data into `out`; false when there is no such node. */
bool zk_mem_peek(struct zk_mem *mem, const char *path, struct buf *out, struct zk_stat *stat);

/* Change the tree from outside of all sessions, as an operator with zkCli would. Parents are made.
 */
void zk_mem_poke(struct zk_mem *mem, const char *path, const char *data);
void zk_mem_poke_remove(struct zk_mem *mem, const char *path);
