/* group_driver.h: hosts the group coordinator's machine: appends, waits for the high watermark,
 * replies.
 *
 * One driver per led partition of __consumer_offsets. step -> append -> park by end offset -> when
 * the high watermark passes, tell the machine, which then answers. Appends that stay uncommitted
 * longer than commit_timeout_ms are reported to the machine as REQUEST_TIMED_OUT; they stay parked,
 * and count when they are committed after all.
 *
 * If an append fails because leadership or the disk is gone, the driver answers NOT_COORDINATOR to
 * everyone and discards the machine's state; it stays unloaded until the broker loads it again.
 *
 * Threads:   every function runs in the partition's actor, and so do the host's. None may be called
 * from inside a host function. Ownership: the host outlives the driver. An event's memory is
 * borrowed for the call. Limits:    parked appends are bounded by the admitted requests: each
 * belongs to one. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"
#include "group/grp.h"

struct grp_driver;
struct grp_host;

/* What the broker does for a coordinator. */
struct grp_host_ops {
    /* Append one magic-2 batch to the partition's log as its leader. The bytes are the driver's,
     * valid and writable for the call: base offset and leader epoch are still to be filled in
     * (neither is covered by the CRC). acks -1: refuse with NOT_ENOUGH_REPLICAS below
     * min.insync.replicas. Sets *offset_end to the log's end after the batch. grp_driver_hw() and
     * grp_driver_unload() may be called from inside; offset_hw() is asked afterwards anyway. */
    enum err (*append)(struct grp_host *host, uint8_t *batch, size_t size_bytes, int16_t acks,
                       int64_t *offset_end);
    /* The partition's high watermark. */
    int64_t (*offset_hw)(struct grp_host *host);
    int64_t (*now_ms)(struct grp_host *host);  /* monotonic */
    int64_t (*wall_ms)(struct grp_host *host); /* since 1970 */
    /* Call grp_driver_tick() at `at_ms` (in now_ms's time) or later. There is one timer per driver:
     * a second call replaces the first. Early, late and repeated ticks are harmless. */
    void (*set_timer)(struct grp_host *host, int64_t at_ms);
    void (*cancel_timer)(struct grp_host *host);
    /* Answer a request. `reply` is valid for the call. A token is never used twice. */
    void (*reply)(struct grp_host *host, void *token, const struct grp_reply *reply);
};

struct grp_host {
    const struct grp_host_ops *ops;
};

/* Starts unloaded: every request gets NOT_COORDINATOR. `seed` feeds the member ids. `name` is for
 * the log, for example "__consumer_offsets-7". */
struct grp_driver *grp_driver_new(struct grp_host *host, const struct grp_config *config,
                                  const char *name, uint64_t seed);

/* Unloads first. */
void grp_driver_free(struct grp_driver *driver);

/* The partition became leader at `epoch`: start loading. False, and nothing happens, when the epoch
 * is older than one seen by an earlier load or unload, or when the partition is loading or loaded
 * already. */
bool grp_driver_load_begin(struct grp_driver *driver, int32_t epoch);

/* A run of whole record batches of the log, in order, from the log's start to its end. Batches were
 * validated by the log; what cannot be decoded is skipped with a warning and returned as
 * ERR_CORRUPT, and loading may go on. */
MUST_USE enum err grp_driver_load_batch(struct grp_driver *driver, struct bytes batches);

/* The end was reached (or reading failed: a partition whose load failed is owned all the same).
 * `offset_end` is where the log ended when the leadership began. What was loaded is served when the
 * high watermark has reached that: until then another leader may come that does not have it, and
 * everybody hears COORDINATOR_LOAD_IN_PROGRESS. With commit_acks 0 it is served at once. */
void grp_driver_load_done(struct grp_driver *driver, int64_t offset_end);

/* Leadership ended, known from `epoch` (-1: whatever the epoch). False, and nothing happens, when
 * the epoch is older than one seen. */
bool grp_driver_unload(struct grp_driver *driver, int32_t epoch);

/* A request, GRP_EV_TOPIC_DELETED, GRP_EV_EXPIRE or GRP_EV_TXN_MARKER. The driver fills in now_ms
 * and wall_ms. The reply may come before this returns. A deletion that comes while the log is
 * loaded waits for its end. */
void grp_driver_submit(struct grp_driver *driver, struct grp_event *event);

/* The high watermark advanced. */
void grp_driver_hw(struct grp_driver *driver, int64_t offset_hw);

/* The timer fired. */
void grp_driver_tick(struct grp_driver *driver);

/* Loaded and answering? */
bool grp_driver_active(const struct grp_driver *driver);

/* The machine, to look at. */
struct grp_coord *grp_driver_coord(struct grp_driver *driver);
