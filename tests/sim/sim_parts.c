#include "sim_parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/broker.h"
#include "api/find_coordinator.h"
#include "base/must.h"
#include "log/plog.h"
#include "partition/parts.h"
#include "server/server.h"
#include "sim.h"
#include "znode/znode.h"

static const char topics_path[] = "/brokers/topics/";

/* ---- names ---- */

int sim_parts_count(const struct sim *sim)
{
    return sim->options.topics_count * sim->options.partitions_count;
}

void sim_part_name(const struct sim *sim, int part, char topic[16], int *index)
{
    must(part >= 0);
    snprintf(topic, 16, "t%d", part / sim->options.partitions_count);
    *index = part % sim->options.partitions_count;
}

void sim_part_text(const struct sim *sim, int part, char text[SIM_PART_TEXT_MAX])
{
    char topic[16];
    int index;
    sim_part_name(sim, part, topic, &index);
    snprintf(text, SIM_PART_TEXT_MAX, "%s-%d", topic, index);
}

int sim_part_number(const struct sim *sim, struct str topic, int index)
{
    int number = 0;
    if (topic.size < 2 || topic.ptr[0] != 't') {
        return -1;
    }
    for (size_t i = 1; i < topic.size; i++) {
        number = number * 10 + (topic.ptr[i] - '0');
    }
    return number < sim->options.topics_count && index < sim->options.partitions_count
               ? number * sim->options.partitions_count + index
               : -1;
}

int sim_part_number_of_state(const struct sim *sim, const char *path)
{
    static const char middle[] = "/partitions/";
    const char *name = path + sizeof(topics_path) - 1;
    const char *end =
        strncmp(path, topics_path, sizeof(topics_path) - 1) == 0 ? strchr(name, '/') : NULL;
    if (end == NULL || strncmp(end, middle, sizeof(middle) - 1) != 0) {
        return -1;
    }
    return sim_part_number(sim, (struct str){name, (size_t)(end - name)},
                           (int)strtol(end + sizeof(middle) - 1, NULL, 10));
}

/* ---- as ZooKeeper has it ---- */

/* The partition's replicas, and who comes and goes; false when it does not exist. */
static bool read_replicas(struct sim *sim, const char *topic, int index, struct arena *arena,
                          struct znode_partition *out)
{
    struct buf data = {0};
    struct znode_topic node;
    char path[60];
    bool found = false;
    snprintf(path, sizeof(path), "%s%s", topics_path, topic);
    if (zk_mem_peek(sim->zk, path, &data, NULL) &&
        znode_topic_decode(arena, (struct bytes){data.data, data.size}, &node, NULL) == ERR_OK) {
        for (int32_t i = 0; i < node.partitions_count && !found; i++) {
            found = node.partitions[i].index == index;
            *out = node.partitions[i];
        }
    }
    buf_fini(&data);
    return found;
}

/* Its state; nobody leads and nobody is in sync when there is none. */
static struct znode_state read_state(struct sim *sim, const char *topic, int index,
                                     struct arena *arena)
{
    struct buf data = {0};
    struct znode_state state;
    char path[80];
    snprintf(path, sizeof(path), "%s%s/partitions/%d/state", topics_path, topic, index);
    if (!zk_mem_peek(sim->zk, path, &data, NULL) ||
        znode_state_decode(arena, (struct bytes){data.data, data.size}, &state, NULL) != ERR_OK) {
        state = (struct znode_state){.leader = -1};
    }
    buf_fini(&data);
    return state;
}

static bool has_id(struct znode_ids list, int32_t id)
{
    for (int32_t i = 0; i < list.count; i++) {
        if (list.ids[i] == id) {
            return true;
        }
    }
    return false;
}

bool sim_part_is_replica(struct sim *sim, const char *topic, int index, int node)
{
    struct arena arena = {0};
    struct znode_partition line;
    bool is = read_replicas(sim, topic, index, &arena, &line) && has_id(line.replicas, node);
    arena_fini(&arena);
    return is;
}

static int leader_of(struct sim *sim, const char *topic, int index)
{
    struct arena arena = {0};
    int leader = read_state(sim, topic, index, &arena).leader;
    arena_fini(&arena);
    return leader;
}

int sim_part_leader(struct sim *sim, int part)
{
    char topic[16];
    int index;
    sim_part_name(sim, part, topic, &index);
    return leader_of(sim, topic, index);
}

int sim_part_coordinator(struct sim *sim, struct str group)
{
    return leader_of(sim, "__consumer_offsets", coordinator_partition(group, SIM_OFFSETS_PARTS));
}

int sim_part_in_sync(struct sim *sim, int part)
{
    struct arena arena = {0};
    char topic[16];
    int index;
    sim_part_name(sim, part, topic, &index);
    struct znode_state state = read_state(sim, topic, index, &arena);
    arena_fini(&arena);
    return state.leader >= 0 ? state.isr.count : 0;
}

/* Its log is here if and only if it is one of them. */
static bool copies_are(const struct sim *sim, const char *topic, int index,
                       struct znode_ids replicas)
{
    for (int i = 0; i < sim->options.nodes_count; i++) {
        if (sim->nodes[i].server == NULL) {
            return false;
        }
        const struct broker *broker = server_broker(sim->nodes[i].server);
        bool here = logs_find(broker->logs, str_of(topic), index) != NULL;
        if (here != has_id(replicas, sim->nodes[i].id)) {
            return false;
        }
    }
    return true;
}

bool sim_part_at_rest(struct sim *sim, int part)
{
    struct arena arena = {0};
    struct znode_partition line;
    char topic[16];
    int index;
    sim_part_name(sim, part, topic, &index);
    bool rest = read_replicas(sim, topic, index, &arena, &line) &&
                line.adding.count + line.removing.count == 0 &&
                sim_part_in_sync(sim, part) == line.replicas.count &&
                copies_are(sim, topic, index, line.replicas);
    arena_fini(&arena);
    return rest;
}

/* ---- on a running broker ---- */

struct part *sim_part_on(struct sim *sim, int part, int node)
{
    const struct sim_node *at = sim_node_by_id(sim, node);
    char topic[16];
    int index;
    sim_part_name(sim, part, topic, &index);
    return at->server != NULL
               ? parts_lookup(&server_broker(at->server)->parts, str_of(topic), index)
               : NULL;
}

int64_t sim_part_log_start(struct sim *sim, int part, int node)
{
    struct part *found = sim_part_on(sim, part, node);
    int64_t start = found != NULL ? plog_log_start(found->log) : 0;
    part_put(found);
    return start;
}
