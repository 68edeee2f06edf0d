/* sim_bugs.c: the broken functions. The linker sends the product's calls of f() to __wrap_f() and
 * gives the real one as __real_f(); see CMakeLists.txt. SIM_BUG_EARLY_ACK is in sim_disk.c,
 * SIM_BUG_RETRY_SYNC also, SIM_BUG_NO_FENCING in sim_zk.c, SIM_BUG_UNCLEAN a configuration in
 * sim_node.c. */
#include "sim_bugs.h"

#include <stddef.h>
#include <string.h>

#include "base/mem.h"
#include "control/control.h"
#include "control/strays.h"
#include "controller/ctl_state.h"
#include "group/group_driver.h"
#include "group/grp.h"
#include "log/batch_reader.h"
#include "log/logs.h"
#include "log/plog_internal.h"
#include "net/conn.h"
#include "partition/isr.h"
#include "partition/part.h"
#include "rt/budget.h"
#include "session/fetch_session.h"
#include "sim.h"
#include "sim_parts.h"

static const char *const names[SIM_BUG_COUNT] = {
    [SIM_BUG_NONE] = "none",
    [SIM_BUG_EARLY_ACK] = "early-ack",
    [SIM_BUG_NO_FENCING] = "no-fencing",
    [SIM_BUG_FORGET_PRODUCERS] = "forget-producers",
    [SIM_BUG_NO_DUPLICATES] = "no-duplicates",
    [SIM_BUG_RECOVERY] = "recovery",
    [SIM_BUG_LEAK] = "leak",
    [SIM_BUG_EARLY_COMMIT] = "early-commit",
    [SIM_BUG_UNCLEAN] = "unclean",
    [SIM_BUG_EARLY_SHRINK] = "early-shrink",
    [SIM_BUG_EARLY_ENTRY] = "early-entry",
    [SIM_BUG_CUT_AT_HW] = "cut-at-hw",
    [SIM_BUG_NO_DIVERGENCE] = "no-divergence",
    [SIM_BUG_STALE_ACK] = "stale-ack",
    [SIM_BUG_OLD_CONTROL] = "old-control",
    [SIM_BUG_BEYOND_HW] = "beyond-hw",
    [SIM_BUG_FUTURE_HW] = "future-hw",
    [SIM_BUG_TORN] = "torn",
    [SIM_BUG_OFF_BY_ONE] = "off-by-one",
    [SIM_BUG_RETRY_SYNC] = "retry-sync",
    [SIM_BUG_EARLY_OFFSETS] = "early-offsets",
    [SIM_BUG_EARLY_SERVE] = "early-serve",
    [SIM_BUG_STRAYS] = "strays",
    [SIM_BUG_UNCLEAN_START] = "unclean-start",
    [SIM_BUG_ANY_OF_ALL] = "any-of-all",
    [SIM_BUG_EARLY_FORGET] = "early-forget",
    [SIM_BUG_EARLY_DURABLE] = "early-durable",
    [SIM_BUG_EARLY_MOVE] = "early-move",
    [SIM_BUG_LEFT_SESSION] = "left-session",
    [SIM_BUG_EARLY_DELETE] = "early-delete",
    [SIM_BUG_KEPT_LOG] = "kept-log",
    [SIM_BUG_MIXED_SYNCS] = "mixed-syncs",
};

static enum sim_bug current;
static int releases;
static int32_t controller_epochs[SIM_NODES_MAX]; /* the highest that each broker has heard of */
static const struct seg *recovering;
static bool deleting; /* old segments */

const char *sim_bug_name(enum sim_bug bug)
{
    return names[bug];
}

enum sim_bug sim_bug_find(const char *name)
{
    int i = 0;
    while (i < SIM_BUG_COUNT && strcmp(names[i], name) != 0) {
        i++;
    }
    return (enum sim_bug)i;
}

void sim_bug_set(enum sim_bug bug)
{
    current = bug;
    releases = 0;
    memset(controller_epochs, 0, sizeof(controller_epochs));
    recovering = NULL;
    deleting = false;
}

bool sim_bug_on(enum sim_bug bug)
{
    return current == bug;
}

enum err __real_plog_open(const struct plog_options *options, struct plog **out,
                          struct errmsg *msg);
enum err __wrap_plog_open(const struct plog_options *options, struct plog **out,
                          struct errmsg *msg);

enum err __wrap_plog_open(const struct plog_options *options, struct plog **out, struct errmsg *msg)
{
    enum err err = __real_plog_open(options, out, msg);
    if (err == ERR_OK && sim_bug_on(SIM_BUG_FORGET_PRODUCERS)) {
        producers_clear(&(*out)->producers);
    }
    if (err == ERR_OK && sim_bug_on(SIM_BUG_RECOVERY) && !options->clean &&
        plog_offset_end(*out) > plog_log_start(*out)) {
        err = plog_truncate_to(*out, plog_offset_end(*out) - 1);
    }
    return err;
}

enum err __real_producers_check(const struct producers *producers,
                                const struct batch_header *header, enum producers_origin origin,
                                struct producers_duplicate *duplicate);
enum err __wrap_producers_check(const struct producers *producers,
                                const struct batch_header *header, enum producers_origin origin,
                                struct producers_duplicate *duplicate);

enum err __wrap_producers_check(const struct producers *producers,
                                const struct batch_header *header, enum producers_origin origin,
                                struct producers_duplicate *duplicate)
{
    enum err err = __real_producers_check(producers, header, origin, duplicate);
    if (err == ERR_OK && sim_bug_on(SIM_BUG_NO_DUPLICATES)) {
        duplicate->found = false;
    }
    return err;
}

void __real_budget_release(struct budget_lease *lease, int64_t bytes);
void __wrap_budget_release(struct budget_lease *lease, int64_t bytes);

void __wrap_budget_release(struct budget_lease *lease, int64_t bytes)
{
    if (sim_bug_on(SIM_BUG_LEAK) && ++releases % 10 == 0) {
        return;
    }
    __real_budget_release(lease, bytes);
}

int64_t __real_isr_high_watermark(const struct isr *isr, int64_t offset_end, int64_t offset_hw,
                                  int64_t now_ms);
int64_t __wrap_isr_high_watermark(const struct isr *isr, int64_t offset_end, int64_t offset_hw,
                                  int64_t now_ms);

int64_t __wrap_isr_high_watermark(const struct isr *isr, int64_t offset_end, int64_t offset_hw,
                                  int64_t now_ms)
{
    if (sim_bug_on(SIM_BUG_EARLY_COMMIT)) {
        return offset_end;
    }
    if (!sim_bug_on(SIM_BUG_EARLY_SHRINK) || !isr->pending) {
        return __real_isr_high_watermark(isr, offset_end, offset_hw, now_ms);
    }
    struct isr smaller = *isr;
    size_t size = (size_t)isr->replicas_count * sizeof(*isr->replicas);
    smaller.replicas = mem_alloc(size);
    memcpy(smaller.replicas, isr->replicas, size);
    for (int32_t i = 0; i < isr->replicas_count; i++) {
        smaller.replicas[i].member = isr->replicas[i].proposed;
    }
    int64_t hw = __real_isr_high_watermark(&smaller, offset_end, offset_hw, now_ms);
    mem_free(smaller.replicas);
    return hw;
}

bool __real_isr_propose(struct isr *isr, int64_t offset_end, int64_t offset_hw, bool shrink,
                        int64_t now_ms, struct isr_proposal *out);
bool __wrap_isr_propose(struct isr *isr, int64_t offset_end, int64_t offset_hw, bool shrink,
                        int64_t now_ms, struct isr_proposal *out);

bool __wrap_isr_propose(struct isr *isr, int64_t offset_end, int64_t offset_hw, bool shrink,
                        int64_t now_ms, struct isr_proposal *out)
{
    int64_t epoch_start = isr->epoch_start;
    if (sim_bug_on(SIM_BUG_EARLY_ENTRY)) {
        isr->epoch_start = 0;
        offset_hw = 0;
    }
    bool changed = __real_isr_propose(isr, offset_end, offset_hw, shrink, now_ms, out);
    isr->epoch_start = epoch_start;
    return changed;
}

/* ---- broker/partition */

enum err __real_part_apply(struct part *part, const struct part_state *state);
enum err __wrap_part_apply(struct part *part, const struct part_state *state);

enum err __wrap_part_apply(struct part *part, const struct part_state *state)
{
    enum err err = __real_part_apply(part, state);
    if (err == ERR_OK && sim_bug_on(SIM_BUG_CUT_AT_HW) && part_now(part).role == PART_FOLLOWER) {
        err = plog_truncate_to(part->log, atomic_load(&part->offset_hw));
    }
    return err;
}

void __real_part_epoch_end(struct part *part, int32_t epoch, int32_t *found, int64_t *end);
void __wrap_part_epoch_end(struct part *part, int32_t epoch, int32_t *found, int64_t *end);

void __wrap_part_epoch_end(struct part *part, int32_t epoch, int32_t *found, int64_t *end)
{
    __real_part_epoch_end(part, epoch, found, end);
    if (sim_bug_on(SIM_BUG_NO_DIVERGENCE)) {
        *found = epoch;
        *end = INT64_MAX;
    }
}

int64_t __real_part_offset_durable(const struct part *part);
int64_t __wrap_part_offset_durable(const struct part *part);

int64_t __wrap_part_offset_durable(const struct part *part)
{
    bool early = sim_bug_on(SIM_BUG_EARLY_DURABLE) && part_now(part).role == PART_LEADER;
    return early ? plog_offset_end(part->log) : __real_part_offset_durable(part);
}

enum part_fate __real_part_fate_committed(const struct part *part, int32_t leader_epoch,
                                          int64_t offset_end);
enum part_fate __wrap_part_fate_committed(const struct part *part, int32_t leader_epoch,
                                          int64_t offset_end);

enum part_fate __wrap_part_fate_committed(const struct part *part, int32_t leader_epoch,
                                          int64_t offset_end)
{
    if (sim_bug_on(SIM_BUG_STALE_ACK)) {
        return atomic_load(&part->offset_hw) < offset_end ? PART_FATE_OPEN : PART_FATE_KEPT;
    }
    return __real_part_fate_committed(part, leader_epoch, offset_end);
}

struct part *__real_part_new(const struct part_options *options, struct plog *log,
                             int64_t offset_hw);
struct part *__wrap_part_new(const struct part_options *options, struct plog *log,
                             int64_t offset_hw);

struct part *__wrap_part_new(const struct part_options *options, struct plog *log,
                             int64_t offset_hw)
{
    return __real_part_new(options, log,
                           sim_bug_on(SIM_BUG_FUTURE_HW) ? plog_offset_end(log) : offset_hw);
}

/* ---- broker/log */

typedef enum err read_fn(struct view *view, int64_t offset, int64_t offset_limit, size_t max_bytes,
                         bool min_one, struct view_range *out);
typedef enum err read_cached_fn(struct view *view, int64_t offset, int64_t offset_limit,
                                size_t max_bytes, bool min_one, struct view_range *out,
                                struct view_copy *copy);
read_fn __real_view_read;
read_fn __wrap_view_read;
read_cached_fn __real_view_read_cached;
read_cached_fn __wrap_view_read_cached;

static int64_t read_limit(int64_t offset_limit)
{
    return sim_bug_on(SIM_BUG_BEYOND_HW) ? INT64_MAX : offset_limit;
}

enum err __wrap_view_read(struct view *view, int64_t offset, int64_t offset_limit, size_t max_bytes,
                          bool min_one, struct view_range *out)
{
    return __real_view_read(view, offset, read_limit(offset_limit), max_bytes, min_one, out);
}

enum err __wrap_view_read_cached(struct view *view, int64_t offset, int64_t offset_limit,
                                 size_t max_bytes, bool min_one, struct view_range *out,
                                 struct view_copy *copy)
{
    return __real_view_read_cached(view, offset, read_limit(offset_limit), max_bytes, min_one, out,
                                   copy);
}

void __real_batch_reader_init(struct batch_reader *reader, struct seg *seg, int64_t position,
                              bool check_crc);
void __wrap_batch_reader_init(struct batch_reader *reader, struct seg *seg, int64_t position,
                              bool check_crc);

/* Only recovery asks for CRCs to be checked. */
void __wrap_batch_reader_init(struct batch_reader *reader, struct seg *seg, int64_t position,
                              bool check_crc)
{
    recovering = check_crc ? seg : NULL;
    __real_batch_reader_init(reader, seg, position, check_crc && !sim_bug_on(SIM_BUG_TORN));
}

void __real_seg_publish(struct seg *seg, int64_t size_bytes, int64_t next_offset);
void __wrap_seg_publish(struct seg *seg, int64_t size_bytes, int64_t next_offset);

void __wrap_seg_publish(struct seg *seg, int64_t size_bytes, int64_t next_offset)
{
    bool off = sim_bug_on(SIM_BUG_OFF_BY_ONE) && seg == recovering && size_bytes > 0;
    recovering = NULL;
    __real_seg_publish(seg, size_bytes, off ? next_offset + 1 : next_offset);
}

enum err __real_plog_delete_old_segments(struct plog *log, int64_t offset_hw, int64_t now_ms);
enum err __wrap_plog_delete_old_segments(struct plog *log, int64_t offset_hw, int64_t now_ms);

enum err __wrap_plog_delete_old_segments(struct plog *log, int64_t offset_hw, int64_t now_ms)
{
    deleting = true;
    enum err err = __real_plog_delete_old_segments(log, offset_hw, now_ms);
    deleting = false;
    return err;
}

enum err __real_plog_sync_names(struct plog *log);
enum err __wrap_plog_sync_names(struct plog *log);

enum err __wrap_plog_sync_names(struct plog *log)
{
    return deleting && sim_bug_on(SIM_BUG_EARLY_DELETE) ? ERR_OK : __real_plog_sync_names(log);
}

void __real_logs_delete(struct logs *logs, struct str topic, int32_t partition);
void __wrap_logs_delete(struct logs *logs, struct str topic, int32_t partition);

/* Only of the topic that is made anew: a copy of another one would be found on its disk. */
void __wrap_logs_delete(struct logs *logs, struct str topic, int32_t partition)
{
    struct logs_entry *entry = logs_find(logs, topic, partition);
    if (sim_bug_on(SIM_BUG_KEPT_LOG) && entry != NULL &&
        sim_part_number(sim_running(), topic, partition) < 0) {
        entry->topic_id = (struct uuid){{0}};
        return;
    }
    __real_logs_delete(logs, topic, partition);
}

/* ---- control messages, groups */

static bool is_for_broker(const Barnabas__Control__Request *request)
{
    return !control_kind_is_for_controller((int)request->kind);
}

enum err __real_control_request_unpack(struct arena *arena, struct bytes bytes,
                                       const Barnabas__Control__Request **request,
                                       struct errmsg *msg);
enum err __wrap_control_request_unpack(struct arena *arena, struct bytes bytes,
                                       const Barnabas__Control__Request **request,
                                       struct errmsg *msg);

/* Whatever the epoch, it looks like the highest so far, and like the newest in it. */
enum err __wrap_control_request_unpack(struct arena *arena, struct bytes bytes,
                                       const Barnabas__Control__Request **request,
                                       struct errmsg *msg)
{
    enum err err = __real_control_request_unpack(arena, bytes, request, msg);
    struct sim_node *node = sim_running() != NULL ? sim_speaking_node(sim_running()) : NULL;
    if (err == ERR_OK && node != NULL && sim_bug_on(SIM_BUG_OLD_CONTROL) &&
        is_for_broker(*request)) {
        Barnabas__Control__Request *weak = (Barnabas__Control__Request *)(uintptr_t)*request;
        int32_t *highest = &controller_epochs[node->id - 1];
        *highest = weak->controller_epoch > *highest ? weak->controller_epoch : *highest;
        weak->controller_epoch = *highest;
        weak->sequence = -1;
    }
    return err;
}

void __real_grp_step(struct grp_coord *coord, const struct grp_event *event, struct grp_out *out);
void __wrap_grp_step(struct grp_coord *coord, const struct grp_event *event, struct grp_out *out);

/* All that are told at once are told the same. */
static void mix_syncs(struct grp_out *out)
{
    struct bytes first = {0};
    for (struct grp_reply *reply = out->replies; reply != NULL; reply = reply->next) {
        if (reply->kind == GRP_EV_SYNC && reply->sync.err == ERR_OK) {
            first = first.data == NULL ? reply->sync.assignment : first;
            reply->sync.assignment = first;
        }
    }
}

void __wrap_grp_step(struct grp_coord *coord, const struct grp_event *event, struct grp_out *out)
{
    __real_grp_step(coord, event, out);
    if (sim_bug_on(SIM_BUG_MIXED_SYNCS)) {
        mix_syncs(out);
    }
    for (struct grp_append *append = out->appends; append != NULL; append = append->next) {
        append->acks = sim_bug_on(SIM_BUG_EARLY_OFFSETS) ? 0 : append->acks;
    }
}

void __real_grp_driver_load_done(struct grp_driver *driver, int64_t offset_end);
void __wrap_grp_driver_load_done(struct grp_driver *driver, int64_t offset_end);

void __wrap_grp_driver_load_done(struct grp_driver *driver, int64_t offset_end)
{
    __real_grp_driver_load_done(driver, sim_bug_on(SIM_BUG_EARLY_SERVE) ? 0 : offset_end);
}

/* ---- strays ---- */

const Barnabas__Control__StopReplica *
__real_strays_find(struct arena *arena, struct logs *logs, int32_t broker_id,
                   const Barnabas__Control__UpdateMetadata *update);
const Barnabas__Control__StopReplica *
__wrap_strays_find(struct arena *arena, struct logs *logs, int32_t broker_id,
                   const Barnabas__Control__UpdateMetadata *update);

const Barnabas__Control__StopReplica *
__wrap_strays_find(struct arena *arena, struct logs *logs, int32_t broker_id,
                   const Barnabas__Control__UpdateMetadata *update)
{
    return current == SIM_BUG_STRAYS ? NULL : __real_strays_find(arena, logs, broker_id, update);
}

/* ---- who leads where nobody is complete ---- */

struct ctl_ids __real_ctl_eligible_after(const struct ctl *ctl, const struct ctl_part *part,
                                         const struct ctl_leadership *next);
struct ctl_ids __wrap_ctl_eligible_after(const struct ctl *ctl, const struct ctl_part *part,
                                         const struct ctl_leadership *next);

struct ctl_ids __wrap_ctl_eligible_after(const struct ctl *ctl, const struct ctl_part *part,
                                         const struct ctl_leadership *next)
{
    struct ctl_ids all = __real_ctl_eligible_after(ctl, part, next);
    int32_t kept = 0;
    if (!sim_bug_on(SIM_BUG_EARLY_FORGET) || next->leader < 0) {
        return all;
    }
    for (int32_t i = 0; i < all.count; i++) {
        int32_t at = ctl_replica_index(part, all.ids[i]);
        if (at >= 0 && (part->flags[at] & CTL_REPLICA_UNCLEAN) == 0) {
            all.ids[kept++] = all.ids[i];
        }
    }
    all.count = kept;
    return all;
}

int32_t __real_ctl_unclean_best(const struct ctl *ctl, const struct ctl_part *part);
int32_t __wrap_ctl_unclean_best(const struct ctl *ctl, const struct ctl_part *part);

int32_t __wrap_ctl_unclean_best(const struct ctl *ctl, const struct ctl_part *part)
{
    int32_t best = __real_ctl_unclean_best(ctl, part);
    for (int32_t i = 0; best >= 0 && sim_bug_on(SIM_BUG_ANY_OF_ALL) && i < part->replicas.count;
         i++) {
        int32_t id = part->replicas.ids[i];
        if (id != best && ctl_in_isr(&part->now, id) && ctl_replica_usable(ctl, part, i)) {
            return id;
        }
    }
    return best;
}

/* ---- connections that go to another loop ---- */

bool __real_conn_queued(const struct conn *conn);
bool __wrap_conn_queued(const struct conn *conn);

bool __wrap_conn_queued(const struct conn *conn)
{
    return sim_bug_on(SIM_BUG_EARLY_MOVE) ? conn_queued_bytes(conn) > 0 : __real_conn_queued(conn);
}

struct fetch_session *__real_fetch_sessions_take(struct fetch_sessions *cache, const void *owner);
struct fetch_session *__wrap_fetch_sessions_take(struct fetch_sessions *cache, const void *owner);

struct fetch_session *__wrap_fetch_sessions_take(struct fetch_sessions *cache, const void *owner)
{
    return sim_bug_on(SIM_BUG_LEFT_SESSION) ? NULL : __real_fetch_sessions_take(cache, owner);
}
