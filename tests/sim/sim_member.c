#include "sim_member.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/mem.h"
#include "base/must.h"
#include "sim_parts.h"

#define GROUP_ID "g0"

enum {
    GENERATIONS_MAX = 4096,
    BACKOFF_MS = 80,
    TICK_MS = 300,
    SESSION_TIMEOUT_MS = 6000,
    REBALANCE_TIMEOUT_MS = 5000,
    CALL_TIMEOUT_MS = 12000,
    MEMBER_ID_MAX = 128,
    MEMBERS_MAX = 32,
};

struct sim_group {
    int64_t next_number;
    int64_t acked[SIM_PARTS_MAX];                  /* the highest; or found by somebody */
    int64_t attempted[SIM_PARTS_MAX];              /* likewise */
    int8_t owners[GENERATIONS_MAX][SIM_PARTS_MAX]; /* member; 0: none yet */
};

struct member {
    struct sim_client client; /* first */
    int number;
    int coordinator; /* broker; 0: not known */
    char id[MEMBER_ID_MAX];
    int32_t generation;
    bool mine[SIM_PARTS_MAX];
    int64_t acked_before[SIM_PARTS_MAX]; /* when the offsets were asked for */
    int64_t number_sent;
    bool active;
    int64_t committed_ns; /* when a commit was last acknowledged */
    struct loop_timer timer;
};

struct sim_group *sim_group_new(void)
{
    return mem_new(struct sim_group);
}

void sim_group_free(struct sim_group *group)
{
    mem_free(group);
}

static struct member *of_client(struct sim_client *client)
{
    return (struct member *)client;
}

static void join(struct member *member);
static void find_coordinator(struct member *member);

static void wait_ms(struct member *member, int64_t ms)
{
    struct sim_client *client = &member->client;
    if (!client->stopped) {
        loop_timer_set(client->loop, &member->timer,
                       loop_now_ms(client->loop) + ms / 2 +
                           (int64_t)rng_below(&client->rng, (uint64_t)ms));
    }
}

/* An answer that is not the one hoped for: what does it say about us? */
static void troubled(struct member *member, const char *what, enum err err)
{
    struct sim_client *client = &member->client;
    sim_trace_line(&client->sim->trace, client->name, "%s: %s", what, err_name(err));
    member->active = false;
    if (err == ERR_UNKNOWN_MEMBER_ID) {
        member->id[0] = '\0';
    } else if (err != ERR_REBALANCE_IN_PROGRESS && err != ERR_ILLEGAL_GENERATION) {
        if (err != ERR_CLOSED && !err_retriable(err)) {
            sim_fail(client->sim, "%s is told %s in answer to %s", client->name, err_name(err),
                     what);
        }
        member->coordinator = 0;
    }
    wait_ms(member, BACKOFF_MS);
}

/* ---- active: heartbeats and commits ---- */

static void on_committed(struct sim_client *client, void *arg, enum err err, const void *body)
{
    struct member *member = of_client(client);
    struct sim_group *group = client->sim->group;
    const struct offset_commit_response *reply = body;
    (void)arg;
    for (int32_t i = 0; err == ERR_OK && i < reply->topics_count; i++) {
        for (int32_t j = 0; err == ERR_OK && j < reply->topics[i].partitions_count; j++) {
            err = err_from_wire(reply->topics[i].partitions[j].error_code);
        }
    }
    if (err != ERR_OK) {
        troubled(member, "a commit", err); /* and join anew: this one may still arrive */
        return;
    }
    for (int i = 0; i < sim_parts_count(client->sim); i++) {
        if (member->mine[i] && group->acked[i] < member->number_sent) {
            group->acked[i] = member->number_sent;
        }
    }
    member->committed_ns = client->sim->time.now_ns;
    wait_ms(member, TICK_MS);
}

static void commit(struct member *member)
{
    struct sim_client *client = &member->client;
    struct sim_group *group = client->sim->group;
    struct offset_commit_request request;
    struct offset_commit_request_offset_commit_request_topic topics[SIM_PARTS_MAX];
    struct offset_commit_request_offset_commit_request_partition parts[SIM_PARTS_MAX];
    char names[SIM_PARTS_MAX][16];
    int count = 0;
    member->number_sent = ++group->next_number;
    for (int i = 0; i < sim_parts_count(client->sim); i++) {
        if (member->mine[i]) {
            codec_init(&offset_commit_request_offset_commit_request_topic_desc, &topics[count]);
            codec_init(&offset_commit_request_offset_commit_request_partition_desc, &parts[count]);
            sim_part_name(client->sim, i, names[count], &parts[count].partition_index);
            parts[count].committed_offset = member->number_sent;
            topics[count].name = str_of(names[count]);
            topics[count].partitions = &parts[count];
            topics[count].partitions_count = 1;
            group->attempted[i] = member->number_sent;
            count++;
        }
    }
    codec_init(&offset_commit_request_desc, &request);
    request.group_id = STR(GROUP_ID);
    request.generation_id_or_member_epoch = member->generation;
    request.member_id = str_of(member->id);
    request.topics = topics;
    request.topics_count = count;
    sim_client_call(client, member->coordinator, API_OFFSET_COMMIT,
                    sim_client_version(client, 2, 8), &request, on_committed, NULL);
}

static void on_heartbeat(struct sim_client *client, void *arg, enum err err, const void *body)
{
    struct member *member = of_client(client);
    const struct heartbeat_response *reply = body;
    bool any = false;
    (void)arg;
    err = err == ERR_OK ? err_from_wire(reply->error_code) : err;
    if (err != ERR_OK) {
        troubled(member, "a heartbeat", err);
        return;
    }
    for (int i = 0; i < sim_parts_count(client->sim); i++) {
        any = any || member->mine[i];
    }
    if (any && !client->stopped) {
        commit(member);
        return;
    }
    member->committed_ns = client->sim->time.now_ns; /* nothing to commit is fine, too */
    wait_ms(member, TICK_MS);
}

static void heartbeat(struct member *member)
{
    struct sim_client *client = &member->client;
    struct heartbeat_request request;
    codec_init(&heartbeat_request_desc, &request);
    request.group_id = STR(GROUP_ID);
    request.generation_id = member->generation;
    request.member_id = str_of(member->id);
    sim_client_call(client, member->coordinator, API_HEARTBEAT, sim_client_version(client, 0, 4),
                    &request, on_heartbeat, NULL);
}

static void active(struct member *member)
{
    struct sim_client *client = &member->client;
    bool faults_go_on = client->sim->calm_since_ns == 0;
    if (faults_go_on && rng_one_in(&client->rng, client->sim->options.restless ? 4 : 40)) {
        bool dies = rng_one_in(&client->rng, 2);
        sim_trace_line(&client->sim->trace, client->name, "%s", dies ? "dies" : "joins again");
        member->active = false;
        if (dies) { /* its place is kept until the session ends; it comes back as another one */
            member->id[0] = '\0';
            sim_client_hang_up(client, member->coordinator);
        }
        wait_ms(member, BACKOFF_MS);
        return;
    }
    heartbeat(member);
}

/* ---- offsets at the beginning of a generation ---- */

/* G2. One that was deposed and cannot have heard of it answers as of then; nothing that it is asked
 * to commit is acknowledged, so the reader only reads some records again. */
static void check_offset(struct member *member, int part, int64_t offset)
{
    struct sim *sim = member->client.sim;
    int64_t found = offset < 0 ? 0 : offset;
    bool late = found < member->acked_before[part] &&
                sim_part_coordinator(sim, STR(GROUP_ID)) == member->coordinator;
    if (late || found > sim->group->attempted[part]) {
        sim_fail(sim,
                 "G2: %s finds %" PRId64 " committed for partition %d, but %" PRId64
                 " was acknowledged before and %" PRId64 " is the last that was tried",
                 member->client.name, found, part, member->acked_before[part],
                 sim->group->attempted[part]);
    }
    if (sim->group->acked[part] < found) {
        sim->group->acked[part] = found; /* whoever was told of it may act on it */
    }
}

static void on_offsets(struct sim_client *client, void *arg, enum err err, const void *body)
{
    struct member *member = of_client(client);
    const struct offset_fetch_response *reply = body;
    (void)arg;
    err = err == ERR_OK ? err_from_wire(reply->error_code) : err;
    for (int32_t i = 0; err == ERR_OK && i < reply->topics_count; i++) {
        for (int32_t j = 0; err == ERR_OK && j < reply->topics[i].partitions_count; j++) {
            const struct offset_fetch_response_offset_fetch_response_partition *part =
                &reply->topics[i].partitions[j];
            err = err_from_wire(part->error_code);
            int number = sim_part_number(client->sim, reply->topics[i].name, part->partition_index);
            if (err == ERR_OK && number >= 0) {
                check_offset(member, number, part->committed_offset);
            }
        }
    }
    if (err != ERR_OK) {
        troubled(member, "asking for offsets", err);
        return;
    }
    member->active = true;
    wait_ms(member, 10);
}

static void fetch_offsets(struct member *member)
{
    struct sim_client *client = &member->client;
    struct offset_fetch_request request;
    struct offset_fetch_request_offset_fetch_request_topic topics[SIM_PARTS_MAX];
    int32_t indexes[SIM_PARTS_MAX];
    char names[SIM_PARTS_MAX][16];
    int count = sim_parts_count(client->sim);
    codec_init(&offset_fetch_request_desc, &request);
    for (int i = 0; i < count; i++) {
        codec_init(&offset_fetch_request_offset_fetch_request_topic_desc, &topics[i]);
        sim_part_name(client->sim, i, names[i], &indexes[i]);
        topics[i].name = str_of(names[i]);
        topics[i].partition_indexes = &indexes[i];
        topics[i].partition_indexes_count = 1;
        member->acked_before[i] = client->sim->group->acked[i];
    }
    request.group_id = STR(GROUP_ID);
    request.topics = topics;
    request.topics_count = count;
    sim_client_call(client, member->coordinator, API_OFFSET_FETCH, sim_client_version(client, 1, 7),
                    &request, on_offsets, NULL);
}

/* ---- joining ---- */

static void on_synced(struct sim_client *client, void *arg, enum err err, const void *body)
{
    struct member *member = of_client(client);
    struct sim *sim = client->sim;
    const struct sync_group_response *reply = body;
    (void)arg;
    err = err == ERR_OK ? err_from_wire(reply->error_code) : err;
    if (err != ERR_OK || client->stopped) {
        troubled(member, "a sync", err);
        return;
    }
    must(member->generation >= 0);
    must(member->generation < GENERATIONS_MAX);
    for (int i = 0; i < sim_parts_count(sim); i++) {
        member->mine[i] = (size_t)i < reply->assignment.size && reply->assignment.data[i] == 1;
        int8_t *owner = &sim->group->owners[member->generation][i];
        if (member->mine[i] && *owner != 0 && *owner != member->number) { /* G1 */
            sim_fail(sim, "G1: partition %d belongs to members %d and %d in generation %d", i,
                     *owner, member->number, member->generation);
        }
        *owner = member->mine[i] ? (int8_t)member->number : *owner;
    }
    sim_trace_line(&sim->trace, client->name, "is in generation %d as %s", member->generation,
                   member->id);
    fetch_offsets(member);
}

/* The leader deals the partitions out, one byte each. */
static void sync_group(struct member *member, const struct join_group_response *joined)
{
    struct sim_client *client = &member->client;
    struct sync_group_request request;
    struct sync_group_request_sync_group_request_assignment given[MEMBERS_MAX];
    uint8_t parts[MEMBERS_MAX][SIM_PARTS_MAX] = {{0}};
    int32_t count = joined->members_count;
    must(count <= MEMBERS_MAX);
    for (int i = 0; i < sim_parts_count(client->sim) && count > 0; i++) {
        parts[rng_below(&client->rng, (uint64_t)count)][i] = 1;
    }
    for (int32_t i = 0; i < count; i++) {
        given[i].member_id = joined->members[i].member_id;
        given[i].assignment = (struct bytes){parts[i], (size_t)sim_parts_count(client->sim)};
    }
    codec_init(&sync_group_request_desc, &request);
    request.group_id = STR(GROUP_ID);
    request.generation_id = member->generation;
    request.member_id = str_of(member->id);
    request.protocol_type = STR("consumer");
    request.protocol_name = STR("dealt");
    request.assignments = given;
    request.assignments_count = count;
    sim_client_call(client, member->coordinator, API_SYNC_GROUP, sim_client_version(client, 0, 5),
                    &request, on_synced, NULL);
}

static void on_joined(struct sim_client *client, void *arg, enum err err, const void *body)
{
    struct member *member = of_client(client);
    const struct join_group_response *reply = body;
    (void)arg;
    err = err == ERR_OK ? err_from_wire(reply->error_code) : err;
    if (err == ERR_OK || err == ERR_MEMBER_ID_REQUIRED) {
        must(reply->member_id.size < MEMBER_ID_MAX);
        snprintf(member->id, sizeof(member->id), "%.*s", STR_ARG(reply->member_id));
    }
    if (client->stopped) {
        return;
    }
    if (err == ERR_MEMBER_ID_REQUIRED) {
        join(member);
    } else if (err != ERR_OK) {
        troubled(member, "a join", err);
    } else {
        member->generation = reply->generation_id;
        sync_group(member, reply);
    }
}

static void join(struct member *member)
{
    struct sim_client *client = &member->client;
    struct join_group_request request;
    struct join_group_request_join_group_request_protocol protocol;
    codec_init(&join_group_request_desc, &request);
    codec_init(&join_group_request_join_group_request_protocol_desc, &protocol);
    protocol.name = STR("dealt");
    protocol.metadata = (struct bytes){(const uint8_t *)"sim", 3};
    request.group_id = STR(GROUP_ID);
    request.session_timeout_ms = SESSION_TIMEOUT_MS;
    request.rebalance_timeout_ms = REBALANCE_TIMEOUT_MS;
    request.member_id = str_of(member->id);
    request.protocol_type = STR("consumer");
    request.protocols = &protocol;
    request.protocols_count = 1;
    sim_client_call(client, member->coordinator, API_JOIN_GROUP, sim_client_version(client, 1, 9),
                    &request, on_joined, NULL);
}

/* ---- the coordinator ---- */

static void on_coordinator(struct sim_client *client, void *arg, enum err err, const void *body)
{
    struct member *member = of_client(client);
    const struct find_coordinator_response *reply = body;
    (void)arg;
    err = err == ERR_OK ? err_from_wire(reply->error_code) : err;
    if (err != ERR_OK || sim_node_by_id(client->sim, reply->node_id) == NULL) {
        wait_ms(member, BACKOFF_MS);
        return;
    }
    member->coordinator = reply->node_id;
    if (!client->stopped) {
        join(member);
    }
}

static void find_coordinator(struct member *member)
{
    struct sim_client *client = &member->client;
    struct find_coordinator_request request;
    codec_init(&find_coordinator_request_desc, &request);
    request.key = STR(GROUP_ID);
    sim_client_call(client, sim_client_any_broker(client), API_FIND_COORDINATOR,
                    sim_client_version(client, 0, 3), &request, on_coordinator, NULL);
}

/* ---- the machine ---- */

static void on_timer(struct loop_timer *timer)
{
    struct member *member = container_of(timer, struct member, timer);
    if (member->client.stopped || member->client.sim->failed) {
        return;
    }
    if (member->coordinator == 0) {
        find_coordinator(member);
    } else if (!member->active) {
        join(member);
    } else {
        active(member);
    }
}

static void member_start(struct sim_client *client)
{
    wait_ms(of_client(client), BACKOFF_MS);
}

/* It works in the group, after the last fault. */
static bool member_done(struct sim_client *client)
{
    const struct member *member = of_client(client);
    int64_t calm_ns = client->sim->calm_since_ns;
    return member->active && calm_ns > 0 && member->committed_ns > calm_ns;
}

static void member_free(struct sim_client *client)
{
    loop_timer_cancel(&of_client(client)->timer);
}

static const struct sim_client_kind member_kind = {member_start, member_done, member_free};

void sim_member_new(struct sim *sim, int number)
{
    struct member *member = mem_new(struct member);
    char name[24];
    snprintf(name, sizeof(name), "member-%d", number);
    member->number = number;
    member->generation = -1;
    loop_timer_init(&member->timer, on_timer);
    sim_client_init(&member->client, sim, &member_kind, name);
    member->client.timeout_ms = CALL_TIMEOUT_MS;
}
