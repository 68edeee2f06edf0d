/* ctl_fixture.h: golden traces of the controller machine: events in, printed commands out.
 * Invariants are checked after every step. */
#pragma once

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "controller/ctl.h"

#define UNUSED_OK __attribute__((unused))

enum { LIST_MAX = 16 };

/* One machine under test, and the text of what it last commanded. */
struct bench {
    struct ctl *ctl;
    struct ctl_cmds out;
    struct buf text;
    int64_t now_ms;
    int64_t mzxid; /* of the states that topic_is() gives */
    int64_t czxid; /* of its topics */
    char ask_id;   /* ask_isr() names the topic by this id as well; 0: by its name only */
    struct arena arena;
};

static UNUSED_OK void bench_init(struct bench *b)
{
    struct ctl_config config = {
        .broker_id = 1,
        .delete_topics = true,
        .auto_rebalance = true,
        .rebalance_check_ms = 300000,
        .imbalance_percentage = 10,
        .seed = 7,
    };
    *b = (struct bench){.ctl = ctl_new(&config), .now_ms = 1000};
}

static UNUSED_OK void bench_fini(struct bench *b)
{
    struct ctl_cmds out = {0};
    ctl_step(b->ctl, &(struct ctl_event){.kind = CTL_EV_DEPOSED}, &out);
    ctl_cmds_fini(&out);
    ctl_cmds_fini(&b->out);
    buf_fini(&b->text);
    arena_fini(&b->arena);
    ctl_free(b->ctl);
}

static UNUSED_OK void step(struct bench *b, struct ctl_event event)
{
    event.now_ms = b->now_ms;
    ctl_cmds_clear(&b->out);
    buf_clear(&b->text);
    ctl_step(b->ctl, &event, &b->out);
    ctl_check(b->ctl, true);
    for (int32_t i = 0; i < b->out.count; i++) {
        ctl_cmd_print(&b->out.items[i], &b->text);
    }
    buf_put_byte(&b->text, 0);
}

static UNUSED_OK void expect(struct bench *b, const char *wanted)
{
    cr_assert_str_eq((const char *)b->text.data, wanted, "wanted:\n%s\ngot:\n%s", wanted,
                     (const char *)b->text.data);
}

/* The id of the n-th command of a kind in the last step. */
static UNUSED_OK uint64_t id_of(const struct bench *b, enum ctl_cmd_kind kind, int n)
{
    for (int32_t i = 0; i < b->out.count; i++) {
        if (b->out.items[i].kind == kind && n-- == 0) {
            return b->out.items[i].id;
        }
    }
    cr_assert(false, "no such command");
    return 0;
}

static UNUSED_OK uint64_t send_to(const struct bench *b, int32_t broker)
{
    for (int32_t i = 0; i < b->out.count; i++) {
        if (b->out.items[i].kind == CTL_SEND && b->out.items[i].broker_id == broker) {
            return b->out.items[i].id;
        }
    }
    cr_assert(false, "nothing sent to %d", broker);
    return 0;
}

/* Broker `id` with epoch 100 + id + 1000 * life; a negative life started uncleanly. */
static UNUSED_OK void brokers_alive(struct bench *b, const int *ids, const int *lives, int count)
{
    struct ctl_broker_info infos[LIST_MAX];
    static const struct znode_endpoint endpoint = {
        {"PLAINTEXT", 9}, {"h", 1}, 9092, ZNODE_PLAINTEXT};
    for (int i = 0; i < count; i++) {
        int life = lives != NULL ? lives[i] : 0;
        infos[i] = (struct ctl_broker_info){
            ids[i], 100 + ids[i] + 1000 * abs(life), &endpoint, 1, STR_NULL, life < 0};
    }
    struct ctl_event event = {.kind = CTL_EV_BROKERS};
    event.u.brokers.items = infos;
    event.u.brokers.count = count;
    step(b, event);
}

static UNUSED_OK void topics_are(struct bench *b, const char *const *names, int count)
{
    struct str list[LIST_MAX];
    for (int i = 0; i < count; i++) {
        list[i] = str_of(names[i]);
    }
    struct ctl_event event = {.kind = CTL_EV_TOPICS};
    event.u.names.names = list;
    event.u.names.count = count;
    step(b, event);
}

static UNUSED_OK void marks_are(struct bench *b, const char *const *names, int count)
{
    struct str list[LIST_MAX];
    for (int i = 0; i < count; i++) {
        list[i] = str_of(names[i]);
    }
    struct ctl_event event = {.kind = CTL_EV_DELETIONS};
    event.u.names.names = list;
    event.u.names.count = count;
    step(b, event);
}

/* A state znode; leader -2: there is none. */
struct state_spec {
    int leader, epoch, version;
    int isr[3]; /* 0 ends; negative ones are not in the ISR, but eligible */
};

/* Topic with the same replicas for every partition, written "1,2,3". */
static UNUSED_OK void topic_is(struct bench *b, const char *name, const int *replicas,
                               int replicas_count, const struct state_spec *states, int partitions)
{
    struct znode_partition parts[LIST_MAX] = {{0}};
    struct ctl_state_info infos[LIST_MAX] = {{0}};
    struct ctl_event event = {.kind = CTL_EV_TOPIC};
    for (int p = 0; p < partitions; p++) {
        parts[p].index = p;
        parts[p].replicas = (struct znode_ids){replicas, replicas_count};
        infos[p].partition = p;
        infos[p].err = states == NULL || states[p].leader == -2 ? ERR_NOT_FOUND : ERR_OK;
        if (infos[p].err == ERR_OK) {
            int32_t *ids = arena_array(&b->arena, int32_t, 6);
            int count = 0;
            int eligible = 0;
            for (int i = 0; i < 3 && states[p].isr[i] != 0; i++) {
                int id = states[p].isr[i];
                ids[id > 0 ? count++ : 3 + eligible++] = abs(id);
            }
            infos[p].version = states[p].version;
            infos[p].mzxid = b->mzxid;
            infos[p].state = (struct znode_state){.leader = states[p].leader,
                                                  .leader_epoch = states[p].epoch,
                                                  .controller_epoch = 1,
                                                  .isr = {ids, count},
                                                  .eligible = {ids + 3, eligible}};
        }
    }
    event.u.topic.name = str_of(name);
    event.u.topic.topic.id.raw[0] = (uint8_t)name[0];
    event.u.topic.topic.partitions = parts;
    event.u.topic.topic.partitions_count = partitions;
    event.u.topic.states = infos;
    event.u.topic.czxid = b->czxid;
    step(b, event);
}

static UNUSED_OK void wrote(struct bench *b, uint64_t id, enum err err, int version)
{
    struct ctl_event event = {.kind = CTL_EV_WROTE};
    event.u.wrote.cmd_id = id;
    event.u.wrote.err = err;
    event.u.wrote.version = version;
    step(b, event);
}

/* A plain success, with bodies that name no partition. */
static UNUSED_OK void sent_ok(struct bench *b, uint64_t id)
{
    static Barnabas__Control__LeaderAndIsrResponse leader_and_isr =
        BARNABAS__CONTROL__LEADER_AND_ISR_RESPONSE__INIT;
    static Barnabas__Control__StopReplicaResponse stop =
        BARNABAS__CONTROL__STOP_REPLICA_RESPONSE__INIT;
    Barnabas__Control__Response response = BARNABAS__CONTROL__RESPONSE__INIT;
    response.leader_and_isr = &leader_and_isr;
    response.stop_replica = &stop;
    struct ctl_event event = {.kind = CTL_EV_SENT};
    event.u.sent.cmd_id = id;
    event.u.sent.response = &response;
    step(b, event);
}

/* Success of a StopReplica or LeaderAndIsr that names one partition with an error. */
static UNUSED_OK void sent_one(struct bench *b, uint64_t id, const char *topic, int partition,
                               enum err err)
{
    Barnabas__Control__PartitionError answer = BARNABAS__CONTROL__PARTITION_ERROR__INIT;
    Barnabas__Control__PartitionError *answers[] = {&answer};
    Barnabas__Control__TopicErrors errors = BARNABAS__CONTROL__TOPIC_ERRORS__INIT;
    Barnabas__Control__TopicErrors *topics[] = {&errors};
    control_set(&answer, partition, partition);
    control_set(&answer, error, err_wire(err));
    errors.name = (char *)topic;
    errors.partitions = answers;
    errors.n_partitions = 1;
    Barnabas__Control__LeaderAndIsrResponse leader_and_isr =
        BARNABAS__CONTROL__LEADER_AND_ISR_RESPONSE__INIT;
    Barnabas__Control__StopReplicaResponse stop = BARNABAS__CONTROL__STOP_REPLICA_RESPONSE__INIT;
    leader_and_isr.topics = stop.topics = topics;
    leader_and_isr.n_topics = stop.n_topics = 1;
    Barnabas__Control__Response response = BARNABAS__CONTROL__RESPONSE__INIT;
    response.leader_and_isr = &leader_and_isr;
    response.stop_replica = &stop;
    struct ctl_event event = {.kind = CTL_EV_SENT};
    event.u.sent.cmd_id = id;
    event.u.sent.response = &response;
    step(b, event);
}

static UNUSED_OK void sent_error(struct bench *b, uint64_t id, enum err err)
{
    struct ctl_event event = {.kind = CTL_EV_SENT};
    event.u.sent.cmd_id = id;
    event.u.sent.err = err;
    step(b, event);
}

/* Answer everything with success until the machine has nothing more to say. */
static UNUSED_OK void settle(struct bench *b)
{
    for (int round = 0; round < 100; round++) {
        uint64_t sends[64], writes[64];
        int32_t versions[64];
        int sends_count = 0, writes_count = 0;
        for (int32_t i = 0; i < b->out.count; i++) {
            const struct ctl_cmd *cmd = &b->out.items[i];
            if (cmd->kind == CTL_SEND) {
                sends[sends_count++] = cmd->id;
            } else if (cmd->kind == CTL_CREATE_STATE || cmd->kind == CTL_WRITE_STATE) {
                versions[writes_count] = cmd->kind == CTL_CREATE_STATE ? 0 : cmd->version + 1;
                writes[writes_count++] = cmd->id;
            }
        }
        if (sends_count + writes_count == 0) {
            return;
        }
        struct ctl_cmds all = {0};
        for (int i = 0; i < writes_count + sends_count; i++) {
            if (i < writes_count) {
                wrote(b, writes[i], ERR_OK, versions[i]);
            } else {
                sent_ok(b, sends[i - writes_count]);
            }
            for (int32_t k = 0; k < b->out.count; k++) { /* gather, for the next round */
                all.items = mem_realloc(all.items, (size_t)(all.count + 1) * sizeof(*all.items));
                all.items[all.count++] = b->out.items[k];
            }
        }
        ctl_cmds_clear(&b->out);
        mem_free(b->out.items);
        b->out.items = all.items;
        b->out.count = all.count;
        b->out.capacity = all.count;
    }
    cr_assert(false, "it never settles");
}

static UNUSED_OK void elect(struct bench *b, int epoch)
{
    struct ctl_event event = {.kind = CTL_EV_ELECTED};
    event.u.elected.epoch = epoch;
    step(b, event);
}

static const UNUSED_OK int three[] = {1, 2, 3};

/* Elected in a cluster of brokers without topics, everything told. */
static UNUSED_OK void lead_empty(struct bench *b, int brokers)
{
    elect(b, 1);
    brokers_alive(b, three, NULL, brokers);
    topics_are(b, NULL, 0);
    marks_are(b, NULL, 0);
    step(b, (struct ctl_event){.kind = CTL_EV_PREFERRED});
    settle(b);
}

/* Elected with topic t of one partition in a given state on replicas 1,2,3. */
static UNUSED_OK void lead_one(struct bench *b, struct state_spec state)
{
    const char *names[] = {"t"};
    elect(b, 1);
    brokers_alive(b, three, NULL, 3);
    topics_are(b, names, 1);
    marks_are(b, NULL, 0);
    step(b, (struct ctl_event){.kind = CTL_EV_PREFERRED});
    topic_is(b, "t", three, 3, &state, 1);
    settle(b);
}

/* One question about t-0 from broker 1 as leader. `epochs` NULL: it does not say. */
static UNUSED_OK void ask_isr_of(struct bench *b, int leader_epoch, int partition_epoch,
                                 const int *isr, int64_t *epochs, int count)
{
    Barnabas__Control__AlterPartitionPartition partition =
        BARNABAS__CONTROL__ALTER_PARTITION_PARTITION__INIT;
    Barnabas__Control__AlterPartitionPartition *partitions[] = {&partition};
    Barnabas__Control__AlterPartitionTopic topic = BARNABAS__CONTROL__ALTER_PARTITION_TOPIC__INIT;
    Barnabas__Control__AlterPartitionTopic *topics[] = {&topic};
    Barnabas__Control__AlterPartition body = BARNABAS__CONTROL__ALTER_PARTITION__INIT;
    Barnabas__Control__Request request = BARNABAS__CONTROL__REQUEST__INIT;
    control_set(&partition, leader_epoch, leader_epoch);
    control_set(&partition, partition_epoch, partition_epoch);
    partition.isr = (int32_t *)isr;
    partition.n_isr = (size_t)count;
    partition.isr_epochs = epochs;
    partition.n_isr_epochs = epochs != NULL ? (size_t)count : 0;
    topic.name = "t";
    if (b->ask_id != 0) {
        struct uuid id = {{(uint8_t)b->ask_id}};
        control_set(&topic, topic_id, control_topic_id(&b->arena, id));
    }
    topic.partitions = partitions;
    topic.n_partitions = 1;
    body.topics = topics;
    body.n_topics = 1;
    control_set(&request, kind, BARNABAS__CONTROL__KIND__ALTER_PARTITION);
    control_set(&request, broker_id, 1);
    control_set(&request, broker_epoch, 101);
    request.alter_partition = &body;
    struct ctl_event event = {.kind = CTL_EV_ALTER};
    event.u.request.reply_id = 9;
    event.u.request.request = &request;
    step(b, event);
}

/* Members of the lives that are there first. */
static UNUSED_OK void ask_isr(struct bench *b, int leader_epoch, int partition_epoch,
                              const int *isr, int count)
{
    int64_t epochs[LIST_MAX];
    for (int i = 0; i < count; i++) {
        epochs[i] = 100 + isr[i];
    }
    ask_isr_of(b, leader_epoch, partition_epoch, isr, epochs, count);
}
