#include "sim_commit.h"

#include <inttypes.h>

#include "base/mem.h"
#include "base/must.h"
#include "log/plog_internal.h"
#include "partition/part.h"
#include "record/batch.h"
#include "sim.h"

/* One committed batch. */
struct entry {
    int64_t base_offset;
    int64_t end; /* exclusive */
    int32_t leader_epoch;
    uint32_t crc;
    int32_t committed_in; /* leader epoch, as the broker knew it whose high watermark passed it */
};

/* How far a broker's log was compared. */
struct compared {
    const struct plog *log; /* of this opening; NULL: not yet */
    int life;
    uint64_t generation;
    int64_t end;
};

struct committed {
    struct entry *entries; /* by offset, without gaps */
    int64_t count;
    int64_t capacity;
    struct compared compared[SIM_NODES_MAX];
};

struct sim_commit {
    struct sim *sim;
    struct committed parts[SIM_PARTS_MAX];
};

struct sim_commit *sim_commit_new(struct sim *sim)
{
    struct sim_commit *commit = mem_new(struct sim_commit);
    commit->sim = sim;
    return commit;
}

void sim_commit_free(struct sim_commit *commit)
{
    for (int i = 0; i < SIM_PARTS_MAX; i++) {
        mem_free(commit->parts[i].entries);
    }
    mem_free(commit);
}

static int64_t end_of(const struct committed *known)
{
    return known->count > 0 ? known->entries[known->count - 1].end : 0;
}

int64_t sim_commit_end(const struct sim_commit *commit, int number)
{
    return end_of(&commit->parts[number]);
}

void sim_commit_forget(struct sim_commit *commit, int number, int64_t end)
{
    struct committed *known = &commit->parts[number];
    while (end_of(known) > end) {
        known->count--;
    }
    for (int i = 0; i < SIM_NODES_MAX; i++) {
        known->compared[i].log = NULL;
    }
}

/* The batch that begins at or before `offset`, among those known; count: none does. */
static int64_t find_entry(const struct committed *known, int64_t offset)
{
    int64_t low = 0;
    int64_t high = known->count;
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        if (known->entries[middle].end <= offset) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static void add_entry(struct committed *known, const struct entry *entry)
{
    if (known->count == known->capacity) {
        known->capacity = known->capacity > 0 ? known->capacity * 2 : 64;
        known->entries =
            mem_realloc(known->entries, (size_t)known->capacity * sizeof(*known->entries));
    }
    known->entries[known->count++] = *entry;
}

/* The batch at `offset` of a broker's log. */
static bool read_entry(struct sim_disk *disk, struct plog *log, int64_t offset, int64_t limit,
                       struct entry *out)
{
    struct view *view = plog_view_get(log);
    struct view_range range;
    struct batch_header header;
    uint8_t head[BATCH_HEADER_SIZE];
    size_t got = 0;
    disk->watched = true;
    enum err err = view_read(view, offset, limit, 1, true, &range);
    if (err == ERR_OK && range.size_bytes >= sizeof(head)) {
        err = fs_pread(range.file, head, sizeof(head), range.position, &got);
    }
    disk->watched = false;
    view_put(view);
    if (err != ERR_OK || got != sizeof(head) ||
        batch_read_header((struct bytes){head, sizeof(head)}, &header) != ERR_OK) {
        return false;
    }
    *out = (struct entry){
        .base_offset = header.base_offset,
        .end = batch_last_offset(&header) + 1,
        .leader_epoch = header.leader_epoch,
        .crc = header.crc,
    };
    return true;
}

static bool same(const struct entry *a, const struct entry *b)
{
    return a->base_offset == b->base_offset && a->end == b->end &&
           a->leader_epoch == b->leader_epoch && a->crc == b->crc;
}

/* Compare the batch at `offset` with what is known, or make it known; where it ends, or -1 after a
 * failure. */
static int64_t compare_one(struct sim_commit *commit, struct committed *known,
                           struct sim_node *node, struct part *part, int64_t offset, int64_t limit,
                           const char *name)
{
    struct entry found;
    if (!read_entry(&node->disk, part->log, offset, limit, &found)) {
        if (!node->died) {
            sim_fail(commit->sim,
                     "C1: %s offset %" PRId64 " on broker %d, below its high watermark %" PRId64
                     ", cannot be read",
                     name, offset, node->id, limit);
        }
        return -1;
    }
    int64_t at = find_entry(known, offset);
    if (at == known->count) {
        found.committed_in = part_now(part).leader_epoch;
        add_entry(known, &found);
        return found.end;
    }
    const struct entry *before = &known->entries[at];
    if (found.end <= before->base_offset) {
        /* Deleted by request before anybody looked at it. A power failure takes back where a log
         * starts, which is written once a minute, as in Kafka. */
        return found.end;
    }
    if (!same(before, &found)) {
        sim_fail(commit->sim,
                 "C1: %s on broker %d, below its high watermark %" PRId64 ", has batch %" PRId64
                 "..%" PRId64 " of epoch %d (CRC %08x), but %" PRId64 "..%" PRId64
                 " of epoch %d (CRC %08x) was committed",
                 name, node->id, limit, found.base_offset, found.end - 1, found.leader_epoch,
                 found.crc, before->base_offset, before->end - 1, before->leader_epoch,
                 before->crc);
        return -1;
    }
    return found.end;
}

/* Compare up to `end`, from where this log was compared last. */
static void compare(struct sim_commit *commit, struct sim_node *node, int number, struct part *part,
                    int64_t end, const char *name)
{
    struct committed *known = &commit->parts[number];
    struct compared *compared = &known->compared[node->id - 1];
    struct plog *log = part->log;
    if (compared->log != log || compared->life != node->lives ||
        compared->generation != log->generation) {
        *compared =
            (struct compared){.log = log, .life = node->lives, .generation = log->generation};
    }
    int64_t start = plog_log_start(log);
    int64_t offset = compared->end > start ? compared->end : start;
    while (offset >= 0 && offset < end && !commit->sim->failed) {
        offset = compare_one(commit, known, node, part, offset, end, name);
    }
    compared->end = offset > 0 ? offset : 0;
}

void sim_commit_look(struct sim_commit *commit, struct sim_node *node, int number,
                     struct part *part, const char *name)
{
    int64_t hw = atomic_load(&part->offset_hw);
    const struct compared *compared = &commit->parts[number].compared[node->id - 1];
    bool again = compared->log != part->log || compared->life != node->lives ||
                 compared->generation != part->log->generation;
    if ((hw > compared->end || again) && !plog_failed(part->log)) {
        compare(commit, node, number, part, hw, name);
    }
}

int64_t sim_commit_agrees(const struct sim_commit *commit, struct sim_node *node, int number,
                          struct part *part)
{
    const struct committed *known = &commit->parts[number];
    int64_t end = plog_offset_end(part->log);
    int64_t offset = plog_log_start(part->log);
    while (offset < end) {
        struct entry found;
        int64_t at = find_entry(known, offset);
        if (at == known->count) {
            return end;
        }
        if (!read_entry(&node->disk, part->log, offset, end, &found) ||
            !same(&known->entries[at], &found)) {
            return offset;
        }
        offset = found.end;
    }
    return end;
}

/* Up to where everything was committed in earlier epochs. */
static int64_t committed_before(const struct committed *known, int32_t leader_epoch)
{
    int64_t count = known->count;
    while (count > 0 && known->entries[count - 1].committed_in >= leader_epoch) {
        count--;
    }
    return count > 0 ? known->entries[count - 1].end : 0;
}

void sim_commit_leads(struct sim_commit *commit, struct sim_node *node, int number,
                      struct part *part, const char *name)
{
    struct part_now now = part_now(part);
    int64_t committed = committed_before(&commit->parts[number], now.leader_epoch);
    int64_t end = plog_offset_end(part->log);
    if (end < committed) { /* C2 */
        sim_fail(commit->sim,
                 "C2: broker %d leads %s in epoch %d with a log that ends at %" PRId64
                 ", but everything up to %" PRId64 " was committed before",
                 node->id, name, now.leader_epoch, end, committed);
        return;
    }
    if (!plog_failed(part->log)) {
        compare(commit, node, number, part, committed, name);
    }
}

void sim_commit_absent(struct sim_commit *commit, const struct sim_node *node, int number)
{
    commit->parts[number].compared[node->id - 1].log = NULL;
}
