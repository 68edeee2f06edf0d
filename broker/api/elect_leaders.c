/* ElectLeaders: the controller elects preferred leaders, or unclean ones, and answers when its
 * metadata shows them, or the time is over. Source: Kafka 3.9 in ZooKeeper mode; KIP-183, KIP-460.
 */
#include "admin/meta_wait.h"
#include "api/broker.h"
#include "api/control_call.h"
#include "api/handlers.h"
#include "controller/ctl_driver.h"

enum election_type { ELECTION_PREFERRED = 0, ELECTION_UNCLEAN = 1 };
enum { TYPE_VERSION_MIN = 1 };

typedef struct elect_leaders_response_replica_election_result topic_result;
typedef struct elect_leaders_response_partition_result partition_result;

struct elect_op {
    struct control_call call;
    struct meta_wait wait;
    struct elect_leaders_response reply;
    bool unclean;
};

static void on_back(struct control_call *call)
{
    struct elect_op *op = container_of(call, struct elect_op, call);
    req_reply(call->req, &op->reply);
}

/* ---- waiting for what was started ---- */

static bool is_elected(const struct elect_op *op, const struct meta *meta, struct str topic,
                       int32_t index)
{
    const struct meta_topic *known = meta_find(meta, topic);
    const struct meta_partition *partition =
        known != NULL ? meta_topic_partition(known, index) : NULL;
    if (partition == NULL || partition->replicas_count == 0) {
        return true; /* gone: there is nothing to wait for */
    }
    return op->unclean ? partition->leader >= 0 : partition->leader == partition->replicas[0];
}

/* What is not elected yet; each gets `err` unless that is ERR_OK. */
static int32_t count_missing(struct elect_op *op, const struct meta *meta, enum err err)
{
    int32_t missing = 0;
    for (int32_t i = 0; i < op->reply.replica_election_results_count; i++) {
        topic_result *topic = &op->reply.replica_election_results[i];
        for (int32_t j = 0; j < topic->partition_result_count; j++) {
            partition_result *partition = &topic->partition_result[j];
            if (partition->error_code == 0 &&
                !is_elected(op, meta, topic->topic, partition->partition_id)) {
                missing++;
                partition->error_code = err_wire(err);
            }
        }
    }
    return missing;
}

static bool all_elected(struct meta_wait *wait, const struct meta *meta)
{
    return count_missing(container_of(wait, struct elect_op, wait), meta, ERR_OK) == 0;
}

static void on_waited(struct meta_wait *wait, bool timed_out)
{
    struct elect_op *op = container_of(wait, struct elect_op, wait);
    if (timed_out) {
        struct meta *meta = meta_cell_get(&op->call.req->broker->meta);
        (void)count_missing(op, meta, ERR_REQUEST_TIMED_OUT);
        meta_put(meta);
    }
    control_call_finish(&op->call);
}

/* ---- the controller's answer ---- */

/* How many of the `left` results from this one on are of its topic. */
static int32_t run_of(const struct ctl_elect_result *first, int32_t left)
{
    int32_t count = 1;
    while (count < left && str_eq(first[count].topic, first->topic)) {
        count++;
    }
    return count;
}

/* The entry of the result's topic: the last one, or a fresh one. */
static topic_result *topic_entry(struct elect_op *op, const struct ctl_elect_result *result,
                                 int32_t left)
{
    int32_t count = op->reply.replica_election_results_count;
    topic_result *last = count > 0 ? &op->reply.replica_election_results[count - 1] : NULL;
    if (last != NULL && str_eq(last->topic, result->topic)) {
        return last;
    }
    struct arena *arena = &op->call.req->arena;
    last = &op->reply.replica_election_results[op->reply.replica_election_results_count++];
    last->topic = arena_str(arena, result->topic);
    last->partition_result =
        codec_array(&elect_leaders_response_partition_result_desc, arena, run_of(result, left));
    return last;
}

static const char *explain(enum err err)
{
    switch (err) {
    case ERR_OK:
        return NULL;
    case ERR_ELECTION_NOT_NEEDED:
        return "Leader election not needed for topic partition.";
    default:
        return err_text(err);
    }
}

static void on_elected(void *arg, enum err err, const struct ctl_elect_result *results,
                       int32_t count)
{
    struct elect_op *op = arg;
    struct req *req = op->call.req;
    const struct elect_leaders_request *request = req->body;
    op->reply.error_code = req->version >= TYPE_VERSION_MIN ? err_wire(err) : 0;
    op->reply.replica_election_results =
        codec_array(&elect_leaders_response_replica_election_result_desc, &req->arena, count);
    for (int32_t i = 0; i < count; i++) {
        topic_result *topic = topic_entry(op, &results[i], count - i);
        partition_result *partition = &topic->partition_result[topic->partition_result_count++];
        const char *text = explain(results[i].err);
        partition->partition_id = results[i].partition;
        partition->error_code = err_wire(results[i].err);
        partition->error_message = text != NULL ? str_of(text) : STR_NULL;
    }
    op->wait.check = all_elected;
    op->wait.done = on_waited;
    int64_t patience_ms = request->timeout_ms > 0 ? request->timeout_ms : 0;
    struct loop *control = req->broker->control;
    meta_wait_start(&req->broker->meta_waits, &op->wait, loop_now_ms(control) + patience_ms);
}

/* ---- the request ---- */

static struct znode_tps *wanted(struct req *req)
{
    const struct elect_leaders_request *request = req->body;
    if (request->topic_partitions_count < 0) {
        return NULL; /* all */
    }
    struct znode_tps *tps = req_new(req, struct znode_tps);
    int32_t total = 0;
    for (int32_t i = 0; i < request->topic_partitions_count; i++) {
        total += request->topic_partitions[i].partitions_count;
    }
    struct znode_tp *items = req_array(req, struct znode_tp, total);
    for (int32_t i = 0; i < request->topic_partitions_count; i++) {
        for (int32_t j = 0; j < request->topic_partitions[i].partitions_count; j++) {
            items[tps->count++] =
                (struct znode_tp){.topic = request->topic_partitions[i].topic,
                                  .partition = request->topic_partitions[i].partitions[j]};
        }
    }
    tps->items = items;
    return tps;
}

/* Before version 1 only partitions can carry an error. */
static void refuse_each(struct elect_op *op, const struct znode_tps *tps, enum err err)
{
    struct arena *arena = &op->call.req->arena;
    int32_t count = tps != NULL ? tps->count : 0;
    struct ctl_elect_result *results = arena_array(arena, struct ctl_elect_result, (size_t)count);
    for (int32_t i = 0; i < count; i++) {
        results[i] = (struct ctl_elect_result){tps->items[i].topic, tps->items[i].partition, err};
    }
    on_elected(op, err, results, count);
}

static void on_control(struct control_call *call)
{
    struct elect_op *op = container_of(call, struct elect_op, call);
    struct ctl_driver *driver = call->req->broker->ctl_driver;
    const struct znode_tps *tps = wanted(call->req);
    if (!ctl_driver_is_active(driver)) {
        refuse_each(op, tps, ERR_NOT_CONTROLLER);
        return;
    }
    ctl_driver_elect(driver, op->unclean, tps, on_elected, op);
}

void api_elect_leaders(struct req *req)
{
    const struct elect_leaders_request *request = req->body;
    struct elect_op *op = req_new(req, struct elect_op);
    codec_init(&elect_leaders_response_desc, &op->reply);
    op->unclean = request->election_type == ELECTION_UNCLEAN;
    if (request->election_type != ELECTION_PREFERRED && !op->unclean) {
        op->reply.error_code = err_wire(ERR_INVALID_REQUEST);
        req_reply(req, &op->reply);
        return;
    }
    control_call_start(&op->call, req, on_control, on_back);
}
