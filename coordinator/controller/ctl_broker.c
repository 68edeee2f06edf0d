/* ctl_broker.c: which brokers are alive, and what each must still be told. */
#include "base/mem.h"
#include "base/must.h"
#include "controller/ctl_state.h"

/* ---- Marks. */

static int32_t *due_count(struct ctl_broker *broker, int mark)
{
    return mark == CTL_MARK_LEADER ? &broker->due_leader
           : mark == CTL_MARK_META ? &broker->due_meta
                                   : &broker->due_stop;
}

/* The only place that changes a byte of marks: keeps the counts right. */
static void set_marks(struct ctl_broker *broker, struct ctl_part *part, uint8_t marks)
{
    uint8_t *at = &broker->marks[part->slot];
    uint8_t old = *at;
    for (int mark = CTL_MARK_LEADER; mark <= CTL_MARK_STOP; mark <<= 1) {
        *due_count(broker, mark) += ((marks & mark) != 0) - ((old & mark) != 0);
    }
    part->marked += (marks != 0) - (old != 0);
    must(part->marked >= 0);
    *at = marks;
}

static void reserve_marks(struct ctl *ctl, struct ctl_broker *broker)
{
    if (broker->marks_capacity < ctl->slots_capacity) {
        int32_t capacity = ctl->slots_capacity;
        broker->marks = mem_realloc(broker->marks, (size_t)capacity);
        memset(broker->marks + broker->marks_capacity, 0,
               (size_t)(capacity - broker->marks_capacity));
        broker->marks_capacity = capacity;
    }
}

void ctl_mark(struct ctl *ctl, struct ctl_broker *broker, struct ctl_part *part, int marks)
{
    reserve_marks(ctl, broker);
    set_marks(broker, part, (uint8_t)(broker->marks[part->slot] | marks));
}

void ctl_unmark(struct ctl *ctl, struct ctl_broker *broker, struct ctl_part *part, int marks)
{
    reserve_marks(ctl, broker);
    set_marks(broker, part, (uint8_t)(broker->marks[part->slot] & ~marks));
}

void ctl_mark_replicas(struct ctl *ctl, struct ctl_part *part, int marks)
{
    for (int32_t i = 0; i < part->replicas.count; i++) {
        struct ctl_broker *broker = ctl_find_broker(ctl, part->replicas.ids[i]);
        if (broker != NULL) {
            ctl_mark(ctl, broker, part, marks);
        }
    }
}

void ctl_mark_everybody(struct ctl *ctl, struct ctl_part *part, int marks)
{
    for (int32_t i = 0; i < ctl->brokers_count; i++) {
        ctl_mark(ctl, ctl->brokers[i], part, marks);
    }
}

void ctl_mark_sent(struct ctl_broker *broker, struct ctl_part *part, int marks)
{
    uint8_t old = broker->marks[part->slot];
    int moved = old & marks;
    set_marks(broker, part, (uint8_t)((old & ~moved) | moved << CTL_MARK_SENT_SHIFT));
}

void ctl_sent_ok(struct ctl *ctl, struct ctl_broker *broker)
{
    for (int32_t s = 0; s < broker->marks_capacity; s++) {
        uint8_t old = broker->marks[s];
        if (old > CTL_MARK_ALL) {
            set_marks(broker, ctl->slots[s], old & CTL_MARK_ALL);
            ctl_part_maybe_free(ctl, ctl->slots[s]);
        }
    }
}

void ctl_sent_failed(struct ctl *ctl, struct ctl_broker *broker)
{
    for (int32_t s = 0; s < broker->marks_capacity; s++) {
        uint8_t old = broker->marks[s];
        if (old > CTL_MARK_ALL) {
            set_marks(broker, ctl->slots[s],
                      (uint8_t)((old & CTL_MARK_ALL) | old >> CTL_MARK_SENT_SHIFT));
        }
    }
}

static void clear_marks(struct ctl *ctl, struct ctl_broker *broker)
{
    for (int32_t s = 0; s < broker->marks_capacity; s++) {
        if (broker->marks[s] != 0) {
            set_marks(broker, ctl->slots[s], 0);
            ctl_part_maybe_free(ctl, ctl->slots[s]);
        }
    }
    must(broker->due_leader == 0 && broker->due_meta == 0 && broker->due_stop == 0);
}

/* ---- The list. */

/* Where `id` is, or where it would have to be inserted. */
static int32_t position(const struct ctl *ctl, int32_t id)
{
    int32_t low = 0;
    int32_t high = ctl->brokers_count;
    while (low < high) {
        int32_t middle = low + (high - low) / 2;
        if (ctl->brokers[middle]->id < id) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

struct ctl_broker *ctl_find_broker(const struct ctl *ctl, int32_t id)
{
    int32_t at = position(ctl, id);
    return at < ctl->brokers_count && ctl->brokers[at]->id == id ? ctl->brokers[at] : NULL;
}

static void set_info(struct ctl_broker *broker, const struct ctl_broker_info *info)
{
    struct znode_endpoint *endpoints;
    arena_fini(&broker->arena);
    endpoints =
        arena_array(&broker->arena, struct znode_endpoint, (size_t)info->endpoints_count + 1);
    for (int32_t i = 0; i < info->endpoints_count; i++) {
        endpoints[i] = info->endpoints[i];
        endpoints[i].listener = arena_str(&broker->arena, info->endpoints[i].listener);
        endpoints[i].host = arena_str(&broker->arena, info->endpoints[i].host);
    }
    broker->epoch = info->epoch;
    broker->endpoints = endpoints;
    broker->endpoints_count = info->endpoints_count;
    broker->rack = arena_str(&broker->arena, info->rack);
}

static bool same_info(const struct ctl_broker *broker, const struct ctl_broker_info *info)
{
    if (broker->endpoints_count != info->endpoints_count || !str_eq(broker->rack, info->rack)) {
        return false;
    }
    for (int32_t i = 0; i < info->endpoints_count; i++) {
        const struct znode_endpoint *a = &broker->endpoints[i];
        const struct znode_endpoint *b = &info->endpoints[i];
        if (!str_eq(a->listener, b->listener) || !str_eq(a->host, b->host) || a->port != b->port ||
            a->security != b->security) {
            return false;
        }
    }
    return true;
}

static void broker_free(struct ctl_broker *broker)
{
    arena_fini(&broker->arena);
    mem_free(broker->marks);
    mem_free(broker);
}

/* What its registration says, in a new life. */
static void set_unclean(struct ctl *ctl, struct ctl_broker *broker, bool unclean)
{
    ctl_forget_pending(ctl, broker->settle_cmd);
    broker->unclean = unclean;
    broker->settled_slots = 0;
    broker->settle_cmd = 0;
    broker->settle_retry_ms = 0;
}

static struct ctl_broker *insert_broker(struct ctl *ctl, const struct ctl_broker_info *info)
{
    int32_t at = position(ctl, info->id);
    struct ctl_broker *broker = mem_new(struct ctl_broker);
    broker->id = info->id;
    set_info(broker, info);
    set_unclean(ctl, broker, info->unclean);
    ctl->brokers =
        mem_realloc(ctl->brokers, (size_t)(ctl->brokers_count + 1) * sizeof(struct ctl_broker *));
    memmove(&ctl->brokers[at + 1], &ctl->brokers[at],
            (size_t)(ctl->brokers_count - at) * sizeof(struct ctl_broker *));
    ctl->brokers[at] = broker;
    ctl->brokers_count++;
    return broker;
}

static void remove_broker(struct ctl *ctl, int32_t at)
{
    struct ctl_broker *broker = ctl->brokers[at];
    set_unclean(ctl, broker, false);
    clear_marks(ctl, broker);
    memmove(&ctl->brokers[at], &ctl->brokers[at + 1],
            (size_t)(ctl->brokers_count - at - 1) * sizeof(struct ctl_broker *));
    ctl->brokers_count--;
    broker_free(broker);
}

void ctl_brokers_free(struct ctl *ctl)
{
    for (int32_t i = 0; i < ctl->brokers_count; i++) {
        broker_free(ctl->brokers[i]);
    }
    mem_free(ctl->brokers);
    ctl->brokers = NULL;
    ctl->brokers_count = 0;
}

/* ---- Coming and going. */

/* Look again at all partitions with a replica there, and tell everybody: the offline replicas
 * changed. */
static void touch_replicas(struct ctl *ctl, int32_t broker_id, int set_flags, int clear_flags)
{
    for (int32_t s = 0; s < ctl->slots_count; s++) {
        struct ctl_part *part = ctl->slots[s];
        int32_t i = part != NULL && !part->tombstone ? ctl_replica_index(part, broker_id) : -1;
        if (i >= 0) {
            int failed = part->flags[i] & clear_flags & CTL_REPLICA_OFFLINE_DIR;
            part->flags[i] = (uint8_t)((part->flags[i] & ~clear_flags) | set_flags |
                                       (failed != 0 ? CTL_REPLICA_UNCLEAN : 0));
            ctl_part_touch(ctl, part);
            if (part->exists && !part->topic->deleting) {
                ctl_mark_everybody(ctl, part, CTL_MARK_META);
            }
        }
    }
}

/* What its earlier life said of its replicas. One whose directory failed may lack something now,
 * also if the broker could not write down that it did. */
enum {
    NEW_LIFE_CLEARS = CTL_REPLICA_OFFLINE_DIR | CTL_REPLICA_DELETE_FAILED | CTL_REPLICA_UNCLEAN |
                      CTL_REPLICA_RETURNING,
};

/* A broker that knows nothing: everything is due. */
static void tell_everything(struct ctl *ctl, struct ctl_broker *broker)
{
    broker->told_generation = 0;
    broker->told_all = false;
    for (int32_t s = 0; s < ctl->slots_count; s++) {
        struct ctl_part *part = ctl->slots[s];
        if (part == NULL || part->tombstone) {
            continue;
        }
        if (part->topic->deleting) {
            ctl_mark(ctl, broker, part, CTL_MARK_META);
            ctl_deletion_resume(ctl, broker, part);
        } else if (part->exists) {
            bool replica = ctl_replica_index(part, broker->id) >= 0;
            bool is_new = replica && ctl_replica_is_new(part, broker->id);
            ctl_mark(ctl, broker, part,
                     CTL_MARK_META | (replica ? CTL_MARK_LEADER : 0) | (is_new ? CTL_MARK_NEW : 0) |
                         (ctl_dropped(part, broker->id) ? CTL_MARK_STOP : 0));
        }
    }
}

/* What is being written of a partition may name it as it was before it was gone: that life is over,
 * although nobody could decide anything meanwhile. */
static void note_restart(struct ctl *ctl, int32_t broker_id)
{
    for (int32_t s = 0; s < ctl->slots_count; s++) {
        struct ctl_part *part = ctl->slots[s];
        bool busy = part != NULL && !part->tombstone && part->busy != CTL_PART_IDLE;
        int32_t i = busy ? ctl_replica_index(part, broker_id) : -1;
        if (i >= 0) {
            part->flags[i] |= CTL_REPLICA_BOUNCED;
        }
    }
}

static void broker_appeared(struct ctl *ctl, const struct ctl_broker_info *info)
{
    struct ctl_broker *broker = insert_broker(ctl, info);
    note_restart(ctl, info->id);
    touch_replicas(ctl, info->id, info->unclean ? CTL_REPLICA_UNCLEAN : 0, NEW_LIFE_CLEARS);
    tell_everything(ctl, broker);
}

static void broker_died(struct ctl *ctl, int32_t at)
{
    int32_t id = ctl->brokers[at]->id;
    ctl_emit(ctl, CTL_DISCONNECT)->broker_id = id;
    remove_broker(ctl, at);
    touch_replicas(ctl, id, 0, 0);
}

/* It restarted before we saw it gone: what it held in memory is lost, so its replicas leave
 * leadership and ISR once, as if we had seen it dead. */
static void broker_bounced(struct ctl *ctl, struct ctl_broker *broker,
                           const struct ctl_broker_info *info)
{
    ctl_emit(ctl, CTL_DISCONNECT)->broker_id = broker->id;
    clear_marks(ctl, broker);
    broker->sending = 0;
    broker->retry_ms = 0;
    broker->shutting_down = false;
    set_info(broker, info);
    set_unclean(ctl, broker, info->unclean);
    touch_replicas(ctl, broker->id, CTL_REPLICA_BOUNCED | (info->unclean ? CTL_REPLICA_UNCLEAN : 0),
                   NEW_LIFE_CLEARS);
    tell_everything(ctl, broker);
}

static bool listed(const struct ctl_event *event, int32_t id)
{
    for (int32_t i = 0; i < event->u.brokers.count; i++) {
        if (event->u.brokers.items[i].id == id) {
            return true;
        }
    }
    return false;
}

/* "1,2,3" of those that `pick` chooses; for the note. */
static void append_id(struct buf *list, int32_t id)
{
    buf_printf(list, list->size > 0 ? ",%d" : "%d", id);
}

struct changes {
    struct buf appeared;
    struct buf died;
    struct buf bounced;
    bool other;
};

static void apply_info(struct ctl *ctl, const struct ctl_broker_info *info, struct changes *changes)
{
    struct ctl_broker *broker = ctl_find_broker(ctl, info->id);
    if (broker == NULL) {
        append_id(&changes->appeared, info->id);
        broker_appeared(ctl, info);
    } else if (info->epoch != broker->epoch) {
        append_id(&changes->bounced, info->id);
        broker_bounced(ctl, broker, info);
    } else if (!same_info(broker, info)) {
        changes->other = true;
        set_info(broker, info);
    }
    if (broker != NULL && !info->unclean) {
        broker->unclean = false; /* a controller before us has come to the end of it */
    }
}

static void note_changes(struct ctl *ctl, struct changes *changes)
{
    struct buf *lists[] = {&changes->appeared, &changes->died, &changes->bounced};
    for (size_t i = 0; i < 3; i++) {
        buf_put_byte(lists[i], 0);
    }
    ctl_note(ctl, changes->died.size > 1,
             "brokers changed: new=[%s] dead=[%s] bounced=[%s] live=%d",
             (char *)changes->appeared.data, (char *)changes->died.data,
             (char *)changes->bounced.data, ctl->brokers_count);
}

static void changes_fini(struct changes *changes)
{
    buf_fini(&changes->appeared);
    buf_fini(&changes->died);
    buf_fini(&changes->bounced);
}

/* While loading nothing is known of topics yet, or not all: take the list as it is. */
static void take_list(struct ctl *ctl, const struct ctl_event *event)
{
    ctl_brokers_free(ctl);
    for (int32_t i = 0; i < event->u.brokers.count; i++) {
        insert_broker(ctl, &event->u.brokers.items[i]);
    }
    ctl->generation++;
    ctl->have_brokers = true;
}

void ctl_brokers_event(struct ctl *ctl, const struct ctl_event *event)
{
    struct changes changes = {0};
    if (ctl->phase == CTL_LOADING) {
        take_list(ctl, event);
        return;
    }
    for (int32_t i = ctl->brokers_count; i-- > 0;) {
        if (!listed(event, ctl->brokers[i]->id)) {
            append_id(&changes.died, ctl->brokers[i]->id);
            broker_died(ctl, i);
        }
    }
    for (int32_t i = 0; i < event->u.brokers.count; i++) {
        apply_info(ctl, &event->u.brokers.items[i], &changes);
    }
    bool moved = changes.appeared.size + changes.died.size + changes.bounced.size > 0;
    if (moved) {
        note_changes(ctl, &changes);
    }
    if (moved || changes.other) {
        ctl->generation++;
    }
    changes_fini(&changes);
}

void ctl_brokers_activate(struct ctl *ctl)
{
    for (int32_t i = 0; i < ctl->brokers_count; i++) {
        tell_everything(ctl, ctl->brokers[i]);
    }
    for (int32_t s = 0; s < ctl->slots_count; s++) {
        if (ctl->slots[s] != NULL && !ctl->slots[s]->tombstone) {
            ctl_part_find_bounced(ctl, ctl->slots[s]); /* states may have come before brokers */
            ctl_unclean_find(ctl, ctl->slots[s]);
            ctl_part_touch(ctl, ctl->slots[s]);
        }
    }
}
