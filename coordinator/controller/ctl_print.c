/* ctl_print.c: commands as text, for golden traces and logs. */
#include "base/must.h"
#include "controller/ctl.h"

static const char *kind_name(enum ctl_cmd_kind kind)
{
    static const char *const names[] = {
        [CTL_READ_BROKERS] = "READ_BROKERS",
        [CTL_READ_TOPICS] = "READ_TOPICS",
        [CTL_READ_TOPIC] = "READ_TOPIC",
        [CTL_READ_STATE] = "READ_STATE",
        [CTL_READ_DELETIONS] = "READ_DELETIONS",
        [CTL_READ_PREFERRED] = "READ_PREFERRED",
        [CTL_READ_LOG_DIRS] = "READ_LOG_DIRS",
        [CTL_READ_ORDERS] = "READ_ORDERS",
        [CTL_CREATE_STATE] = "CREATE_STATE",
        [CTL_WRITE_STATE] = "WRITE_STATE",
        [CTL_WRITE_TOPIC] = "WRITE_TOPIC",
        [CTL_DELETE_TOPIC] = "DELETE_TOPIC",
        [CTL_DELETE_LEFTOVER] = "DELETE_LEFTOVER",
        [CTL_DELETE_MARK] = "DELETE_MARK",
        [CTL_DELETE_PREFERRED] = "DELETE_PREFERRED",
        [CTL_WRITE_ORDERS] = "WRITE_ORDERS",
        [CTL_SETTLE_BROKER] = "SETTLE_BROKER",
        [CTL_SEND] = "SEND",
        [CTL_DISCONNECT] = "DISCONNECT",
        [CTL_REPLY] = "REPLY",
        [CTL_REASSIGNED] = "REASSIGNED",
        [CTL_NOTE] = "NOTE",
        [CTL_RESIGN] = "RESIGN",
    };
    return names[kind];
}

static void put_ids(struct buf *out, const int32_t *ids, size_t count)
{
    buf_put_byte(out, '[');
    for (size_t i = 0; i < count; i++) {
        buf_printf(out, i > 0 ? ",%d" : "%d", ids[i]);
    }
    buf_put_byte(out, ']');
}

/* Who comes and who goes, where somebody does. */
static void put_moves(struct buf *out, const int32_t *adding, size_t adding_count,
                      const int32_t *removing, size_t removing_count)
{
    if (adding_count > 0) {
        buf_put_text(out, ",adding=");
        put_ids(out, adding, adding_count);
    }
    if (removing_count > 0) {
        buf_put_text(out, ",removing=");
        put_ids(out, removing, removing_count);
    }
}

static void put_leader_and_isr(struct buf *out, const Barnabas__Control__LeaderAndIsr *body)
{
    for (size_t i = 0; i < body->n_topics; i++) {
        for (size_t j = 0; j < body->topics[i]->n_partitions; j++) {
            const Barnabas__Control__LeaderAndIsrPartition *p = body->topics[i]->partitions[j];
            buf_printf(out, " %s-%d:leader=%d,epoch=%d,isr=", body->topics[i]->name, p->partition,
                       p->leader, p->leader_epoch);
            put_ids(out, p->isr, p->n_isr);
            put_moves(out, p->adding_replicas, p->n_adding_replicas, p->removing_replicas,
                      p->n_removing_replicas);
            if (p->n_eligible_replicas > 0) {
                buf_put_text(out, ",eligible=");
                put_ids(out, p->eligible_replicas, p->n_eligible_replicas);
            }
            buf_printf(out, ",v=%d%s%s", p->partition_epoch, p->is_new ? ",new" : "",
                       p->leader_recovery_state != 0 ? ",recovering" : "");
        }
    }
}

static void put_update_metadata(struct buf *out, const Barnabas__Control__UpdateMetadata *body)
{
    buf_put_text(out, " live=[");
    for (size_t i = 0; i < body->n_live_brokers; i++) {
        buf_printf(out, i > 0 ? ",%d" : "%d", body->live_brokers[i]->id);
    }
    buf_put_byte(out, ']');
    for (size_t i = 0; i < body->n_topics; i++) {
        if (body->topics[i]->n_partitions == 0) {
            buf_printf(out, " %s", body->topics[i]->name);
        }
        for (size_t j = 0; j < body->topics[i]->n_partitions; j++) {
            const Barnabas__Control__UpdateMetadataPartition *p = body->topics[i]->partitions[j];
            buf_printf(out, " %s-%d:leader=%d,epoch=%d,isr=", body->topics[i]->name, p->partition,
                       p->leader, p->leader_epoch);
            put_ids(out, p->isr, p->n_isr);
            if (p->n_offline_replicas > 0) {
                buf_put_text(out, ",offline=");
                put_ids(out, p->offline_replicas, p->n_offline_replicas);
            }
        }
    }
}

static void put_stop_replica(struct buf *out, const Barnabas__Control__StopReplica *body)
{
    for (size_t i = 0; i < body->n_topics; i++) {
        for (size_t j = 0; j < body->topics[i]->n_partitions; j++) {
            const Barnabas__Control__StopReplicaPartition *p = body->topics[i]->partitions[j];
            buf_printf(out, " %s-%d:epoch=%d%s", body->topics[i]->name, p->partition,
                       p->leader_epoch, p->delete_ ? ",delete" : "");
        }
    }
}

static void put_request(struct buf *out, const struct ctl_cmd *cmd)
{
    buf_printf(out, " to=%d %s", cmd->broker_id, control_kind_name((int)cmd->request->kind));
    if (cmd->request->leader_and_isr != NULL) {
        put_leader_and_isr(out, cmd->request->leader_and_isr);
    } else if (cmd->request->update_metadata != NULL) {
        put_update_metadata(out, cmd->request->update_metadata);
    } else if (cmd->request->stop_replica != NULL) {
        put_stop_replica(out, cmd->request->stop_replica);
    }
}

static void put_response(struct buf *out, const struct ctl_cmd *cmd)
{
    const Barnabas__Control__Response *response = cmd->response;
    buf_printf(out, " id=%llu %s error=%d", (unsigned long long)cmd->reply_id,
               control_kind_name((int)response->kind), response->error);
    for (size_t i = 0; response->alter_partition != NULL && i < response->alter_partition->n_topics;
         i++) {
        const Barnabas__Control__AlterPartitionTopicResult *t =
            response->alter_partition->topics[i];
        const Barnabas__Control__AlterPartitionResult *p = t->partitions[0];
        buf_printf(out, " %s-%d:error=%d", t->name, p->partition, p->error);
        if (p->error == 0) {
            buf_put_text(out, ",isr=");
            put_ids(out, p->isr, p->n_isr);
            if (p->n_eligible_replicas > 0) {
                buf_put_text(out, ",eligible=");
                put_ids(out, p->eligible_replicas, p->n_eligible_replicas);
            }
            buf_printf(out, ",v=%d", p->partition_epoch);
        }
    }
    for (size_t i = 0;
         response->controlled_shutdown != NULL && i < response->controlled_shutdown->n_remaining;
         i++) {
        const Barnabas__Control__RemainingTopic *t = response->controlled_shutdown->remaining[i];
        buf_printf(out, " remaining=%s-%d", t->name, t->partitions[0]);
    }
}

static void put_state(struct buf *out, const struct ctl_cmd *cmd)
{
    buf_printf(out, " %.*s-%d leader=%d epoch=%d isr=", STR_ARG(cmd->topic), cmd->partition,
               cmd->state.leader, cmd->state.leader_epoch);
    put_ids(out, cmd->state.isr.ids, (size_t)cmd->state.isr.count);
    if (cmd->state.eligible.count > 0) {
        buf_put_text(out, " eligible=");
        put_ids(out, cmd->state.eligible.ids, (size_t)cmd->state.eligible.count);
    }
    buf_printf(out, "%s v=%d", cmd->state.recovering ? " recovering" : "", cmd->version);
}

static void put_node(struct buf *out, const struct ctl_cmd *cmd)
{
    buf_printf(out, " %.*s", STR_ARG(cmd->topic));
    for (int32_t i = 0; i < cmd->node.partitions_count; i++) {
        const struct znode_partition *p = &cmd->node.partitions[i];
        buf_printf(out, " %d:", p->index);
        put_ids(out, p->replicas.ids, (size_t)p->replicas.count);
        put_moves(out, p->adding.ids, (size_t)p->adding.count, p->removing.ids,
                  (size_t)p->removing.count);
    }
    if (cmd->node.partitions_count > 0) {
        buf_printf(out, " v=%d", cmd->version);
    }
}

static void put_orders(struct buf *out, const struct ctl_cmd *cmd)
{
    for (int32_t i = 0; i < cmd->tps.count; i++) {
        const struct znode_tp *tp = &cmd->tps.items[i];
        buf_printf(out, " %.*s-%d:", STR_ARG(tp->topic), tp->partition);
        put_ids(out, tp->replicas.ids, (size_t)tp->replicas.count);
    }
    buf_printf(out, " v=%d", cmd->version);
}

static void put_reassigned(struct buf *out, const struct ctl_cmd *cmd)
{
    buf_printf(out, " id=%llu error=%s", (unsigned long long)cmd->reply_id, err_name(cmd->err));
    for (int32_t i = 0; i < cmd->reassigned_count; i++) {
        const struct ctl_reassigned *result = &cmd->reassigned[i];
        buf_printf(out, " %.*s-%d:%s", STR_ARG(result->topic), result->partition,
                   err_name(result->err));
    }
}

void ctl_cmd_print(const struct ctl_cmd *cmd, struct buf *out)
{
    buf_put_text(out, kind_name(cmd->kind));
    switch (cmd->kind) {
    case CTL_READ_TOPIC:
        buf_printf(out, " %.*s%s", STR_ARG(cmd->topic), cmd->later ? " later" : "");
        break;
    case CTL_READ_ORDERS:
        buf_put_text(out, cmd->later ? " later" : "");
        break;
    case CTL_DELETE_TOPIC:
    case CTL_DELETE_LEFTOVER:
    case CTL_DELETE_MARK:
        buf_printf(out, " %.*s", STR_ARG(cmd->topic));
        break;
    case CTL_WRITE_TOPIC:
        put_node(out, cmd);
        break;
    case CTL_WRITE_ORDERS:
        put_orders(out, cmd);
        break;
    case CTL_REASSIGNED:
        put_reassigned(out, cmd);
        break;
    case CTL_READ_STATE:
        buf_printf(out, " %.*s-%d%s", STR_ARG(cmd->topic), cmd->partition,
                   cmd->later ? " later" : "");
        break;
    case CTL_CREATE_STATE:
    case CTL_WRITE_STATE:
        put_state(out, cmd);
        break;
    case CTL_SEND:
        put_request(out, cmd);
        break;
    case CTL_SETTLE_BROKER:
        buf_printf(out, " %d epoch=%lld", cmd->broker_id, (long long)cmd->broker_epoch);
        break;
    case CTL_DISCONNECT:
        buf_printf(out, " %d", cmd->broker_id);
        break;
    case CTL_REPLY:
        put_response(out, cmd);
        break;
    case CTL_NOTE:
        buf_printf(out, " %s", cmd->text);
        break;
    default:
        break;
    }
    buf_put_byte(out, '\n');
}
