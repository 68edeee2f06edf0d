/* reassign_request.c: who asks for reassignments: AlterPartitionReassignments, and, the older way,
 * the node /admin/reassign_partitions.
 *
 * A request is answered when ZooKeeper has what it asks for, not when the replicas have moved. An
 * order in the node stays there until its partition is where it was to go, or cannot go; then it is
 * taken out, and the node is deleted with its last order. A request overrides an order for the same
 * partition. */
#include "base/mem.h"
#include "base/must.h"
#include "controller/ctl_state.h"

/* ---- Answers. */

static void op_reply(struct ctl *ctl, struct ctl_reassign_op *op, enum err err)
{
    struct ctl_cmd *cmd = ctl_emit(ctl, CTL_REASSIGNED);
    struct arena *arena = &ctl->out->arena;
    cmd->reply_id = op->reply_id;
    cmd->err = err;
    if (err == ERR_OK) {
        struct ctl_reassigned *results =
            arena_array(arena, struct ctl_reassigned, (size_t)op->count + 1);
        for (int32_t i = 0; i < op->count; i++) {
            const struct ctl_reassigned *from = &op->items[i].result;
            results[i] = *from;
            results[i].topic = arena_str(arena, from->topic);
            results[i].text = from->text != NULL ? arena_cstr(arena, str_of(from->text)) : NULL;
        }
        cmd->reassigned = results;
        cmd->reassigned_count = op->count;
    }
    list_remove(&op->link);
    arena_fini(&op->arena);
    mem_free(op);
}

static void set_result(struct ctl_reassign_item *item, enum err err, const char *text)
{
    struct ctl_reassign_op *op = item->op;
    item->result.err = err;
    item->result.text = text != NULL ? arena_cstr(&op->arena, str_of(text)) : NULL;
    must(op->waiting > 0);
    op->waiting--;
}

void ctl_reassign_item_done(struct ctl *ctl, struct ctl_reassign_item *item, enum err err,
                            const char *text)
{
    struct ctl_reassign_op *op = item->op;
    set_result(item, err, text);
    if (op->waiting == 0) {
        op_reply(ctl, op, ERR_OK);
    }
}

void ctl_reassigns_abort(struct ctl *ctl)
{
    for (int32_t s = 0; s < ctl->slots_count; s++) {
        if (ctl->slots[s] != NULL && ctl->slots[s]->move != NULL) {
            ctl->slots[s]->move->asked = NULL;
        }
    }
    while (!list_empty(&ctl->reassigns)) {
        op_reply(ctl, container_of(ctl->reassigns.next, struct ctl_reassign_op, link),
                 ERR_NOT_CONTROLLER);
    }
}

/* ---- Judging. */

struct verdict {
    enum err err;
    const char *text;
};

static char *list_text(struct arena *arena, struct znode_ids list)
{
    struct buf text = {0};
    for (int32_t i = 0; i < list.count; i++) {
        buf_printf(&text, i > 0 ? ", %d" : "%d", list.ids[i]);
    }
    char *copy = arena_cstr(arena, (struct str){(const char *)text.data, text.size});
    buf_fini(&text);
    return copy;
}

/* Is the list well formed? Kafka's words. */
static struct verdict judge_list(struct arena *arena, struct znode_ids list)
{
    struct verdict bad = {.err = ERR_INVALID_REPLICA_ASSIGNMENT};
    if (list.count == 0) {
        bad.text = "Empty replica list specified in partition reassignment.";
        return bad;
    }
    if (list.count > CTL_REPLICAS_MAX) { /* each is compared with each, and all are named below */
        bad.text = arena_printf(arena, "More than %d replicas at a time.", CTL_REPLICAS_MAX);
        return bad;
    }
    for (int32_t i = 0; i < list.count; i++) {
        for (int32_t j = 0; j < i; j++) {
            if (list.ids[i] == list.ids[j]) {
                bad.text = arena_printf(arena,
                                        "Duplicate replica ids in partition reassignment replica "
                                        "list: List(%s)",
                                        list_text(arena, list));
                return bad;
            }
        }
    }
    for (int32_t i = 0; i < list.count; i++) {
        if (list.ids[i] < 0) {
            bad.text = arena_printf(arena, "Invalid broker id in replica list: List(%s)",
                                    list_text(arena, list));
            return bad;
        }
    }
    return (struct verdict){ERR_OK, NULL};
}

static bool is_live(const struct ctl *ctl, int32_t id)
{
    const struct ctl_broker *broker = ctl_find_broker(ctl, id);
    return broker != NULL && !broker->shutting_down;
}

/* Was it a replica before anything moved? `part` may be NULL. */
static bool is_origin(const struct ctl_part *part, int32_t id)
{
    if (part == NULL || ctl_replica_index(part, id) < 0) {
        return false;
    }
    for (int32_t i = 0; i < part->adding.count; i++) {
        if (part->adding.ids[i] == id) {
            return false;
        }
    }
    return true;
}

static char *live_text(struct arena *arena, const struct ctl *ctl)
{
    int32_t *ids = arena_array(arena, int32_t, (size_t)ctl->brokers_count + 1);
    struct znode_ids live = {ids, 0};
    for (int32_t i = 0; i < ctl->brokers_count; i++) {
        if (!ctl->brokers[i]->shutting_down) {
            ids[live.count++] = ctl->brokers[i]->id;
        }
    }
    return list_text(arena, live);
}

/* How many replicas there will be at a time: those there were, and those to come. */
static struct verdict judge_room(struct arena *arena, const struct ctl_part *part, int32_t coming)
{
    int32_t origin = part != NULL ? part->replicas.count - part->adding.count : 0;
    if (origin + coming <= CTL_REPLICAS_MAX) {
        return (struct verdict){ERR_OK, NULL};
    }
    return (struct verdict){
        ERR_INVALID_REPLICA_ASSIGNMENT,
        arena_printf(arena, "More than %d replicas at a time.", CTL_REPLICAS_MAX)};
}

/* Replicas that are to come must be alive, unless nobody waits for an answer. */
static struct verdict judge_target(struct arena *arena, const struct ctl *ctl,
                                   const struct ctl_part *part, struct znode_ids target, bool asked)
{
    struct verdict verdict = judge_list(arena, target);
    bool alive = true;
    int32_t *adding = arena_array(arena, int32_t, (size_t)target.count + 1);
    int32_t count = 0;
    for (int32_t i = 0; verdict.err == ERR_OK && i < target.count; i++) {
        if (!is_origin(part, target.ids[i])) {
            adding[count++] = target.ids[i];
            alive = alive && is_live(ctl, target.ids[i]);
        }
    }
    if (asked && !alive) {
        verdict.err = ERR_INVALID_REPLICA_ASSIGNMENT;
        verdict.text = arena_printf(arena,
                                    "Replica assignment has brokers that are not alive. Replica "
                                    "list: List(%s), live broker list: Set(%s)",
                                    list_text(arena, (struct znode_ids){adding, count}),
                                    live_text(arena, ctl));
    }
    return verdict.err == ERR_OK ? judge_room(arena, part, count) : verdict;
}

/* On its way somewhere, or about to be; not when it has as good as arrived. */
static bool cancellable(const struct ctl_part *part)
{
    const struct ctl_move *move = part != NULL ? part->move : NULL;
    if (move != NULL && move->goal == CTL_GOAL_FINISH && move->writing) {
        return false;
    }
    return part != NULL && (ctl_part_moving(part) || move != NULL);
}

static struct verdict judge(struct arena *arena, const struct ctl *ctl, const struct ctl_part *part,
                            const struct ctl_reassign *ask)
{
    static const struct verdict unknown = {ERR_UNKNOWN_TOPIC_OR_PARTITION,
                                           "The partition does not exist."};
    struct verdict verdict = {ERR_OK, NULL};
    if (!ask->cancel) {
        verdict = judge_target(arena, ctl, part, ask->replicas, true);
    } else if (!cancellable(part)) {
        return (struct verdict){ERR_NO_REASSIGNMENT_IN_PROGRESS,
                                "No partition reassignment is in progress."};
    }
    if (verdict.err != ERR_OK) {
        return verdict;
    }
    /* A topic that waits for its reassignments to be deleted: they may be cancelled, which Kafka
     * refuses; else one that cannot come to an end would keep the topic for ever. */
    if (part == NULL || part->topic->deleting ||
        (!ask->cancel && ctl_topic_doomed(ctl, part->topic))) {
        return unknown;
    }
    if (part->broken) {
        return (struct verdict){ERR_UNKNOWN_SERVER_ERROR, "The partition's state cannot be read."};
    }
    return verdict;
}

/* ---- AlterPartitionReassignments. */

static struct ctl_part *find(const struct ctl *ctl, struct str name, int32_t partition)
{
    struct ctl_topic *topic = ctl_find_topic(ctl, name);
    return topic != NULL ? ctl_find_part(topic, partition) : NULL;
}

static void override_order(struct ctl *ctl, const struct ctl_reassign *ask)
{
    list_for_each (link, &ctl->orders) {
        struct ctl_order *order = container_of(link, struct ctl_order, link);
        if (order->partition == ask->partition && str_eq(order->topic, ask->topic)) {
            order->done = true;
            ctl->orders_look = true;
        }
    }
}

static void take_item(struct ctl *ctl, struct ctl_reassign_item *item,
                      const struct ctl_reassign *ask)
{
    struct arena *arena = &item->op->arena;
    struct ctl_part *part = find(ctl, ask->topic, ask->partition);
    struct verdict verdict = judge(arena, ctl, part, ask);
    item->result.topic = arena_str(arena, ask->topic);
    item->result.partition = ask->partition;
    if (verdict.err != ERR_OK) {
        set_result(item, verdict.err, verdict.text);
        return;
    }
    override_order(ctl, ask);
    ctl_reassign_start(ctl, part, ask->cancel ? CTL_GOAL_CANCEL : CTL_GOAL_MOVE, ask->replicas,
                       item);
}

void ctl_reassign_event(struct ctl *ctl, const struct ctl_event *event)
{
    struct ctl_reassign_op *op = mem_new(struct ctl_reassign_op);
    int32_t count = event->u.reassign.count;
    op->reply_id = event->u.reassign.reply_id;
    list_push_back(&ctl->reassigns, &op->link);
    if (ctl->phase != CTL_ACTIVE || ctl->outdated) {
        op_reply(ctl, op, ERR_NOT_CONTROLLER);
        return;
    }
    op->items = arena_array(&op->arena, struct ctl_reassign_item, (size_t)count + 1);
    op->count = count;
    op->waiting = count + 1; /* until we are through */
    for (int32_t i = 0; i < count; i++) {
        op->items[i].op = op;
        take_item(ctl, &op->items[i], &event->u.reassign.items[i]);
    }
    if (--op->waiting == 0) {
        op_reply(ctl, op, ERR_OK);
    }
}

/* ---- ListPartitionReassignments. */

static int32_t add_moving(const struct ctl_part *part, struct ctl_moving *out)
{
    if (part == NULL || !ctl_part_moving(part)) {
        return 0;
    }
    *out = (struct ctl_moving){part->topic->name, part->index, part->replicas, part->adding,
                               part->removing};
    return 1;
}

int32_t ctl_list_moving(const struct ctl *ctl, const struct znode_tps *tps, struct arena *arena,
                        const struct ctl_moving **out)
{
    int32_t room = tps != NULL ? tps->count : ctl->slots_count;
    struct ctl_moving *list = arena_array(arena, struct ctl_moving, (size_t)room + 1);
    int32_t count = 0;
    for (int32_t i = 0; tps != NULL && i < tps->count; i++) {
        count += add_moving(find(ctl, tps->items[i].topic, tps->items[i].partition), &list[count]);
    }
    for (const struct ctl_topic *t = tps == NULL ? ctl->topics : NULL; t != NULL; t = t->hh.next) {
        for (int32_t i = 0; i < t->parts_count; i++) {
            count += add_moving(t->parts[i], &list[count]);
        }
    }
    *out = list;
    return count;
}

/* ---- /admin/reassign_partitions. */

static void order_free(struct ctl_order *order)
{
    list_remove(&order->link);
    mem_free((char *)order->topic.ptr);
    mem_free((int32_t *)order->replicas.ids);
    mem_free(order);
}

void ctl_orders_free(struct ctl *ctl)
{
    while (!list_empty(&ctl->orders)) {
        order_free(container_of(ctl->orders.next, struct ctl_order, link));
    }
    ctl->orders_version = -1;
    ctl->orders_cmd = 0;
}

static bool same_ids(struct znode_ids a, struct znode_ids b)
{
    return a.count == b.count &&
           (a.count == 0 || memcmp(a.ids, b.ids, (size_t)a.count * sizeof(int32_t)) == 0);
}

/* Is the partition on its way there already, by what ZooKeeper says? */
static bool under_way(const struct ctl_part *part, struct znode_ids target)
{
    int32_t at = 0;
    for (int32_t i = 0; i < part->replicas.count; i++) {
        int32_t id = part->replicas.ids[i];
        bool leaves = false;
        for (int32_t r = 0; r < part->removing.count; r++) {
            leaves = leaves || part->removing.ids[r] == id;
        }
        if (!leaves && (at == target.count || target.ids[at++] != id)) {
            return false;
        }
    }
    return at == target.count && ctl_part_moving(part) && part->move == NULL;
}

/* Unlike a request's, an order's target may be down: it is waited for. */
static void start_order(struct ctl *ctl, struct ctl_order *order)
{
    struct ctl_part *part = find(ctl, order->topic, order->partition);
    struct verdict verdict = judge_target(&ctl->out->arena, ctl, part, order->replicas, false);
    if (verdict.err == ERR_OK && (part == NULL || ctl_topic_doomed(ctl, part->topic))) {
        verdict = (struct verdict){ERR_UNKNOWN_TOPIC_OR_PARTITION, "the partition does not exist"};
    }
    if (verdict.err != ERR_OK) {
        order->done = true;
        ctl_note(ctl, true,
                 "reassignment ordered in ZooKeeper is impossible: tp=%.*s-%d reason=\"%s\"",
                 STR_ARG(order->topic), order->partition, verdict.text);
    } else if (!under_way(part, order->replicas)) {
        ctl_reassign_start(ctl, part, CTL_GOAL_MOVE, order->replicas, NULL);
    }
}

static struct ctl_order *find_order(const struct ctl *ctl, const struct znode_tp *tp)
{
    list_for_each (link, &ctl->orders) {
        struct ctl_order *order = container_of(link, struct ctl_order, link);
        if (order->partition == tp->partition && str_eq(order->topic, tp->topic) &&
            same_ids(order->replicas, tp->replicas)) {
            return order;
        }
    }
    return NULL;
}

static struct ctl_order *new_order(struct ctl *ctl, const struct znode_tp *tp)
{
    struct ctl_order *order = mem_new(struct ctl_order);
    size_t count = (size_t)tp->replicas.count;
    int32_t *ids = mem_zalloc(count + 1, sizeof(*ids));
    if (count > 0) {
        memcpy(ids, tp->replicas.ids, count * sizeof(*ids));
    }
    order->topic = (struct str){str_dup(tp->topic), tp->topic.size};
    order->partition = tp->partition;
    order->replicas = (struct znode_ids){ids, tp->replicas.count};
    list_push_back(&ctl->orders, &order->link);
    return order;
}

void ctl_orders_event(struct ctl *ctl, const struct ctl_event *event)
{
    if (ctl->phase != CTL_ACTIVE) {
        return; /* it is read again then */
    }
    ctl->orders_version = event->u.orders.exists ? event->u.orders.version : -1;
    ctl->orders_look = true;
    list_for_each (link, &ctl->orders) {
        container_of(link, struct ctl_order, link)->listed = false;
    }
    for (int32_t i = 0; i < event->u.orders.tps.count; i++) {
        struct ctl_order *order = find_order(ctl, &event->u.orders.tps.items[i]);
        if (order == NULL) {
            order = new_order(ctl, &event->u.orders.tps.items[i]);
            start_order(ctl, order);
        }
        order->listed = true;
    }
    list_for_each_safe (link, &ctl->orders) {
        if (!container_of(link, struct ctl_order, link)->listed) {
            order_free(container_of(link, struct ctl_order, link));
        }
    }
}

/* What is left of the node without orders that are done. */
static void write_orders(struct ctl *ctl, int32_t left)
{
    struct arena *arena = &ctl->out->arena;
    struct znode_tp *items = arena_array(arena, struct znode_tp, (size_t)left + 1);
    int32_t count = 0;
    list_for_each (link, &ctl->orders) {
        const struct ctl_order *order = container_of(link, struct ctl_order, link);
        if (!order->done) {
            int32_t *ids = arena_array(arena, int32_t, (size_t)order->replicas.count + 1);
            memcpy(ids, order->replicas.ids, (size_t)order->replicas.count * sizeof(*ids));
            items[count++] = (struct znode_tp){
                arena_str(arena, order->topic), order->partition, {ids, order->replicas.count}};
        }
    }
    struct ctl_cmd *cmd = ctl_emit_pending(ctl, CTL_WRITE_ORDERS, CTL_PENDING_ORDERS, NULL, NULL);
    cmd->tps = (struct znode_tps){items, count};
    cmd->version = ctl->orders_version;
    ctl->orders_cmd = cmd->id;
    ctl->orders_version = -1;
}

void ctl_orders_advance(struct ctl *ctl)
{
    int32_t left = 0;
    bool done = false;
    if (!ctl->orders_look || list_empty(&ctl->orders)) {
        return;
    }
    ctl->orders_look = false;
    list_for_each (link, &ctl->orders) {
        struct ctl_order *order = container_of(link, struct ctl_order, link);
        if (!order->done) {
            const struct ctl_part *part = find(ctl, order->topic, order->partition);
            order->done = part == NULL || part->topic->deleting ||
                          (part->move == NULL && !ctl_part_moving(part));
        }
        done = done || order->done;
        left += order->done ? 0 : 1;
    }
    /* Otherwise it is read again, and looked at then. */
    if (done && ctl->orders_cmd == 0 && ctl->orders_version >= 0) {
        write_orders(ctl, left);
    }
}

void ctl_orders_wrote(struct ctl *ctl, enum err err)
{
    ctl->orders_cmd = 0;
    if (err != ERR_CONTROLLER_MOVED) { /* whatever came of it */
        ctl_emit(ctl, CTL_READ_ORDERS)->later = err == ERR_ZK_OTHER;
    }
}
