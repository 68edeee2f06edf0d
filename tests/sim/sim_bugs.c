/* sim_bugs.c: the broken functions. The linker sends the product's calls of f() to __wrap_f() and
 * gives the real one as __real_f(); see CMakeLists.txt. SIM_BUG_EARLY_ACK is in sim_disk.c,
 * SIM_BUG_NO_FENCING in sim_zk.c, SIM_BUG_UNCLEAN a configuration in sim_node.c. */
#include "sim_bugs.h"

#include <stddef.h>
#include <string.h>

#include "log/plog_internal.h"
#include "partition/isr.h"
#include "rt/budget.h"

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
};

static enum sim_bug current;
static int releases;

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
        producers_clear((*out)->producers);
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
    return sim_bug_on(SIM_BUG_EARLY_COMMIT)
               ? offset_end
               : __real_isr_high_watermark(isr, offset_end, offset_hw, now_ms);
}
