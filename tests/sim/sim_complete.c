#include "sim_complete.h"

#include "base/mem.h"
#include "sim.h"
#include "sim_parts.h"
#include "znode/znode.h"

/* Sets of brokers: bit i is broker i + 1. */
struct promise {
    uint32_t complete;
    uint32_t excused;
    uint32_t rivals; /* named as complete before a leader was elected, while it was hollow */
    bool hollow;
};

struct sim_complete {
    struct sim *sim;
    struct promise parts[SIM_PARTS_MAX];
    /* The registration that each broker had when its machine last lost its power; 0: none. */
    int64_t lost[SIM_NODES_MAX + 1];
};

struct sim_complete *sim_complete_new(struct sim *sim)
{
    struct sim_complete *complete = mem_new(struct sim_complete);
    complete->sim = sim;
    return complete;
}

void sim_complete_free(struct sim_complete *complete)
{
    mem_free(complete);
}

static uint32_t bit(int node)
{
    return 1u << (node - 1);
}

static uint32_t set_of(struct znode_ids ids)
{
    uint32_t set = 0;
    for (int32_t i = 0; i < ids.count; i++) {
        set |= ids.ids[i] >= 1 && ids.ids[i] <= SIM_NODES_MAX ? bit(ids.ids[i]) : 0;
    }
    return set;
}

/* What a state node says. Without one: nobody. */
struct said {
    uint32_t isr;
    uint32_t named; /* complete by name: in sync, or eligible */
    int32_t leader;
    int32_t leader_epoch;
};

static struct said read_state(struct bytes data)
{
    struct arena arena = {0};
    struct znode_state state;
    struct said said = {.leader = -1, .leader_epoch = -1};
    if (data.size > 0 && znode_state_decode(&arena, data, &state, NULL) == ERR_OK) {
        said.isr = set_of(state.isr);
        said.named = said.isr | set_of(state.eligible);
        said.leader = state.leader;
        said.leader_epoch = state.leader_epoch;
    }
    arena_fini(&arena);
    return said;
}

static int64_t registration(const struct sim_complete *complete, int32_t id)
{
    char path[32];
    struct zk_stat stat = {0};
    snprintf(path, sizeof(path), "/brokers/ids/%d", id);
    (void)zk_mem_peek(complete->sim->zk, path, NULL, &stat);
    return stat.czxid;
}

/* Who leads wrote it, not the controller, which begins another epoch. */
static bool leader_asked(const struct said *old, const struct said *now)
{
    return old->leader == now->leader && old->leader_epoch == now->leader_epoch;
}

/* Those that have caught up. Of who was named already only the leader can say so: where it is the
 * controller that wrote, it has merely been elected. The life that has caught up is the one that is
 * registered; it may have ended since. */
static uint32_t entrants(const struct sim_complete *complete, const struct said *old,
                         const struct said *now)
{
    uint32_t set = now->isr & ~(leader_asked(old, now) ? old->isr : old->named);
    for (int32_t id = 1; id <= SIM_NODES_MAX; id++) {
        int64_t lost = complete->lost[id];
        if ((set & bit(id)) != 0 && lost != 0 && registration(complete, id) == lost) {
            set &= ~bit(id);
        }
    }
    return set;
}

static void become_hollow(struct sim_complete *complete, int number)
{
    char topic[16];
    int index;
    sim_part_name(complete->sim, number, topic, &index);
    complete->parts[number].complete = 0;
    complete->parts[number].hollow = true;
    sim_trace_line(&complete->sim->trace, "model", "nobody has all of %s-%d for sure", topic,
                   index);
}

static int size_of(uint32_t set)
{
    int size = 0;
    for (; set != 0; set &= set - 1) {
        size++;
    }
    return size;
}

static uint32_t replicas_of(const struct sim_complete *complete, int number)
{
    uint32_t set = 0;
    char topic[16];
    int index;
    sim_part_name(complete->sim, number, topic, &index);
    for (int id = 1; id <= complete->sim->options.nodes_count; id++) {
        set |= sim_part_is_replica(complete->sim, topic, index, id) ? bit(id) : 0;
    }
    return set;
}

void sim_complete_written(struct sim_complete *complete, int number, struct bytes old,
                          struct bytes new_)
{
    struct promise *promise = &complete->parts[number];
    struct said before = read_state(old);
    struct said now = read_state(new_);
    uint32_t replicas = replicas_of(complete, number);
    uint32_t entered = entrants(complete, &before, &now);
    bool enough = size_of(now.isr) >= complete->sim->options.min_insync ||
                  size_of(now.isr) >= size_of(replicas);
    uint32_t stays = promise->complete & (enough ? now.named : replicas | now.isr);
    if (!promise->hollow || leader_asked(&before, &now)) {
        promise->excused &= ~entered;
    }
    if (promise->hollow) {
        promise->rivals = before.named;
    }
    if (!promise->hollow && (stays | entered) != 0) {
        promise->complete = stays | entered;
    } else if (!promise->hollow && enough) {
        become_hollow(complete, number);
    }
}

void sim_complete_power(struct sim_complete *complete, const struct sim_node *node)
{
    complete->lost[node->id] = registration(complete, node->id);
    for (int i = 0; i < SIM_PARTS_MAX; i++) {
        struct promise *promise = &complete->parts[i];
        uint32_t before = promise->complete;
        promise->complete &= ~bit(node->id);
        if (before != 0 && promise->complete == 0) {
            become_hollow(complete, i);
        }
    }
}

bool sim_complete_leads(struct sim_complete *complete, const struct sim_node *node, int number)
{
    struct promise *promise = &complete->parts[number];
    bool may_forget = promise->hollow;
    if (may_forget) {
        promise->hollow = false;
        promise->complete = bit(node->id);
        promise->excused = ~bit(node->id);
    }
    return may_forget;
}

bool sim_complete_rival(const struct sim_complete *complete, int node, int number)
{
    return (complete->parts[number].rivals & bit(node)) != 0;
}

bool sim_complete_excused(const struct sim_complete *complete, int node, int number)
{
    return (complete->parts[number].excused & bit(node)) != 0;
}
