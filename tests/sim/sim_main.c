/* sim_main.c: runs seeds and reports.
 *
 *   sim --seeds N [--from S] [--twice] [--plain | --groups] [--bug NAME [--until-caught]] [--batch
 * B] sim --seed S [--trace [--zookeeper] [--ghosts]] [--plain | --groups] [--bug NAME] sim --bugs
 *
 * Seeds run in child processes, a batch in each, so that a broker that aborts ends its batch only:
 * its seed is reported, and the next ones go on. The status is 0 when no seed failed; with
 * --until-caught, when one did that does not fail without the bug: dying, too, is no proof that a
 * bug was found where the whole broker dies as well, and nor is memory that leaks. With --by, when
 * that check found it. */
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/must.h"
#include "sim.h"
#include "sim_faults.h"

enum { BATCH_DEFAULT = 50, REPORT_MAX = 1500, EXIT_USAGE = 2 };

struct arguments {
    uint64_t from;
    uint64_t count;
    uint64_t batch;
    enum sim_bug bug;
    bool one;
    bool trace;
    bool zookeeper; /* in the trace */
    bool ghosts;    /* likewise */
    bool twice;
    uint32_t faults;   /* in every run, besides those that it draws */
    bool plain;        /* producers and consumers only */
    bool groups;       /* a restless group, and little else */
    bool disks;        /* see sim_options_disks() */
    bool pair;         /* two brokers that need each other */
    bool until_caught; /* a broken broker: end with the first failing seed, which is what we want */
    const char *by;    /* the check that is to catch it, "R1"; NULL: any */
    uint64_t dies;     /* the program aborts in this seed; 0: in none */
};

struct totals {
    uint64_t seeds;
    uint64_t failed;
    uint64_t steps;
    int64_t simulated_ns;
    int64_t acked;
    int64_t consumed;
    uint64_t hops;
    int64_t faults;
    int64_t crashes;
};

static int usage(FILE *to)
{
    fprintf(to, "Example:  scripts/sim --seeds 100\n\n"
                "usage: scripts/sim --seeds N [--from S] [--twice] [--fault NAME]...\n"
                "                           [--plain | --groups | --pair | --disks]\n"
                "                           [--bug NAME [--until-caught [--by CHECK]]]\n"
                "       scripts/sim --seed S [--trace [--zookeeper] [--ghosts]]\n"
                "                       [--plain | --groups | --pair | --disks] [--bug NAME]\n"
                "       scripts/sim --bugs | --faults\n\n"
                "Each seed is one simulated cluster with its own faults. A seed that fails is\n"
                "printed with the last lines of its trace; --seed S --trace shows all of them,\n"
                "and --seed S names its faults; --zookeeper adds what brokers ask ZooKeeper,\n"
                "--ghosts what is left of them after their end. --fault adds one to every run\n"
                "(--faults lists them),\n"
                "--plain leaves groups and operators out, --groups has a group that rebalances\n"
                "all the time and little else, --pair has two brokers that need each other,\n"
                "--disks has no replicas, deletes everything soon, and fails when names change.\n"
                "--twice runs every seed twice and compares.\n"
                "--bug runs a broken broker, to see that it is found; --bugs lists them.\n"
                "--until-caught ends with the first seed that fails, and would not without the\n"
                "bug; --by R1, and so on: with the first that this very check finds.\n"
                "--dies S aborts in that seed, whatever the broker does, to see that it is told.\n"
                "PRESET=release runs without sanitizers, which is faster.\n");
    return to == stdout ? 0 : EXIT_USAGE;
}

static int list_bugs(void)
{
    for (int i = SIM_BUG_NONE + 1; i < SIM_BUG_COUNT; i++) {
        printf("%s\n", sim_bug_name((enum sim_bug)i));
    }
    return 0;
}

static int list_faults(void)
{
    for (int i = 0; i < SIM_FAULT_COUNT; i++) {
        printf("%s\n", sim_fault_name((enum sim_fault)i));
    }
    return 0;
}

static enum sim_fault find_fault(const char *name)
{
    int i = 0;
    while (i < SIM_FAULT_COUNT && strcmp(sim_fault_name((enum sim_fault)i), name) != 0) {
        i++;
    }
    return (enum sim_fault)i;
}

static int refuse(const char *what, const char *why)
{
    fprintf(stderr, "sim: %s %s\n\n", what, why);
    return usage(stderr);
}

/* One of these words, which take no value. */
static bool take_flag(const char *arg, struct arguments *out)
{
    const struct {
        const char *name;
        bool *flag;
    } flags[] = {{"--trace", &out->trace},
                 {"--ghosts", &out->ghosts},
                 {"--plain", &out->plain},
                 {"--zookeeper", &out->zookeeper},
                 {"--groups", &out->groups},
                 {"--twice", &out->twice},
                 {"--disks", &out->disks},
                 {"--pair", &out->pair},
                 {"--until-caught", &out->until_caught}};
    for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
        if (strcmp(arg, flags[i].name) == 0) {
            *flags[i].flag = true;
            return true;
        }
    }
    return false;
}

/* -1: go on. */
static int take_number(const char *arg, const char *value, struct arguments *out)
{
    char *end;
    uint64_t number = strtoull(value, &end, 10);
    bool is_seed = strcmp(arg, "--seed") == 0;
    if (*value < '0' || *value > '9' || *end != '\0' || number == 0 || number == UINT64_MAX) {
        return refuse(value, "is no number of seeds, and no seed");
    }
    if (is_seed || strcmp(arg, "--from") == 0) {
        out->from = number;
        out->one = out->one || is_seed;
        out->count = is_seed ? 1 : out->count;
    } else if (strcmp(arg, "--dies") == 0) {
        out->dies = number;
    } else {
        *(strcmp(arg, "--seeds") == 0 ? &out->count : &out->batch) = number;
    }
    return -1;
}

/* -1: go on. */
static int take_value(const char *arg, const char *value, struct arguments *out)
{
    bool is_by = strcmp(arg, "--by") == 0;
    bool is_bug = strcmp(arg, "--bug") == 0;
    bool is_fault = strcmp(arg, "--fault") == 0;
    if (!is_by && !is_bug && !is_fault && strcmp(arg, "--seeds") != 0 &&
        strcmp(arg, "--seed") != 0 && strcmp(arg, "--from") != 0 && strcmp(arg, "--batch") != 0 &&
        strcmp(arg, "--dies") != 0) {
        return refuse(arg, "is no option");
    }
    if (value == NULL) {
        return refuse(arg, "needs a value");
    }
    if (is_bug && sim_bug_find(value) == SIM_BUG_COUNT) {
        return refuse(value, "is no bug: --bugs lists them");
    }
    if (is_fault && find_fault(value) == SIM_FAULT_COUNT) {
        return refuse(value, "is no fault: --faults lists them");
    }
    if (is_by) {
        out->by = value;
    } else if (is_bug) {
        out->bug = sim_bug_find(value);
    } else if (is_fault) {
        out->faults |= 1u << find_fault(value);
    } else {
        return take_number(arg, value, out);
    }
    return -1;
}

/* -1: go on. */
static int parse(int argc, char **argv, struct arguments *out)
{
    int status = -1;
    *out = (struct arguments){.from = 1, .batch = BATCH_DEFAULT};
    for (int i = 1; i < argc && status < 0; i++) {
        if (strcmp(argv[i], "--help") == 0) {
            return usage(stdout);
        }
        if (strcmp(argv[i], "--bugs") == 0) {
            return list_bugs();
        }
        if (strcmp(argv[i], "--faults") == 0) {
            return list_faults();
        }
        if (!take_flag(argv[i], out)) {
            status = take_value(argv[i], argv[i + 1], out);
            i++;
        }
    }
    return status < 0 && out->count == 0 ? refuse("--seeds N", "or --seed S is needed") : status;
}

/* ---- a child: its seeds ---- */

/* The program is about to die: say in which run, and what happened last. */
static void tell_last_words(void)
{
    struct sim *sim = sim_running();
    if (sim != NULL) {
        printf("seed %" PRIu64 " died at %" PRId64 " ms, in %s\n", sim->options.seed,
               sim->time.now_ns / SIM_MS, sim->speaking);
        if (sim->options.print == NULL) {
            sim_trace_tail(&sim->trace, stdout);
        }
        fflush(stdout);
    }
}

static void on_abort(int number)
{
    tell_last_words();
    signal(number, SIG_DFL);
    raise(number);
}

/* Of the sanitizers, where there are some. */
void __sanitizer_set_death_callback(void (*fn)(void)) __attribute__((weak));

static void describe(const struct sim_options *options)
{
    printf(
        "seed %" PRIu64
        ": %d brokers, %d x %d partitions%s%s%s, %d producers of %d records, %d topics made and deleted, "
        "%d lives of another, %d moves, records deleted %d times, retention %d ms%s, "
        "%d members, %d network loops, hops one in %" PRIu64 ", faults",
        options->seed, options->nodes_count, options->topics_count, options->partitions_count,
        options->grows ? " that grow" : "", options->replicated ? " with replicas" : "",
        options->flush ? " in flush mode" : "", options->producers_count,
        options->records_per_producer, options->admin_cycles, options->lives, options->moves,
        options->trims, options->retention_ms, options->relapses ? ", relapses" : "",
        options->members_count, options->loops_count, options->hop_one_in);
    for (int i = 0; i < SIM_FAULT_COUNT; i++) {
        if ((options->faults & (1u << i)) != 0) {
            printf(" %s", sim_fault_name((enum sim_fault)i));
        }
    }
    printf("\n");
}

/* A failure begins with the name of the check: "R1: ...". */
static bool is_found_by(const char *check, const char *failure)
{
    size_t size = check != NULL ? strlen(check) : 0;
    return check == NULL || (strncmp(failure, check, size) == 0 && failure[size] == ':');
}

static void run_seed(const struct arguments *arguments, uint64_t seed, struct sim_result *result)
{
    struct sim_options options;
    sim_options_draw(&options, seed);
    options.bug = arguments->bug;
    if (arguments->groups) {
        sim_options_group(&options);
    }
    if (arguments->pair) {
        sim_options_pair(&options);
    }
    if (arguments->disks) {
        sim_options_disks(&options);
    }
    options.faults |= arguments->faults;
    options.grows = options.grows && !arguments->plain;
    options.lives = arguments->plain ? 0 : options.lives;
    options.trims = arguments->plain ? 0 : options.trims;
    options.retention_ms = arguments->plain ? 0 : options.retention_ms;
    options.admin_cycles = arguments->plain ? 0 : options.admin_cycles;
    options.moves = arguments->plain ? 0 : options.moves;
    options.members_count = arguments->plain ? 0 : options.members_count;
    sim_options_settle(&options);
    options.print = arguments->trace ? stdout : NULL;
    options.print_ghosts = arguments->trace && arguments->ghosts;
    options.print_zk = arguments->trace && arguments->zookeeper;
    options.tail = arguments->until_caught ? NULL : stdout;
    if (arguments->one) {
        describe(&options);
    }
    sim_run(&options, result);
    if (arguments->until_caught && result->failed) {
        struct sim_result without;
        options.bug = SIM_BUG_NONE;
        sim_run(&options, &without);
        /* Else it is not the bug that was found. */
        result->failed = !without.failed && is_found_by(arguments->by, result->failure);
    }
    if (arguments->twice && !result->failed) {
        struct sim_result again;
        sim_run(&options, &again);
        if (again.hash != result->hash) {
            result->failed = true;
            snprintf(result->failure, sizeof(result->failure),
                     "two runs differ: trace %016" PRIx64 " and %016" PRIx64, result->hash,
                     again.hash);
        }
    }
}

static void report(FILE *to, uint64_t seed, const struct sim_result *result)
{
    fprintf(to,
            "result %" PRIu64 " %d %" PRIu64 " %" PRId64 " %" PRId64 " %" PRId64 " %" PRIu64
            " %d %d %016" PRIx64 " %s\n",
            seed, result->failed ? 1 : 0, result->steps, result->simulated_ns, result->acked,
            result->consumed, result->hops, result->faults, result->crashes, result->hash,
            result->failure);
    fflush(to);
}

static void run_batch(const struct arguments *arguments, uint64_t from, uint64_t end, FILE *to)
{
    signal(SIGABRT, on_abort);
    if (__sanitizer_set_death_callback != NULL) {
        __sanitizer_set_death_callback(tell_last_words);
    }
    bool caught = false;
    for (uint64_t seed = from; seed < end && !caught; seed++) {
        struct sim_result result;
        fprintf(to, "begin %" PRIu64 "\n", seed);
        fflush(to);
        must(seed != arguments->dies);
        run_seed(arguments, seed, &result);
        report(to, seed, &result);
        fflush(stdout);
        caught = arguments->until_caught && result.failed;
    }
}

/* ---- the parent ---- */

/* Somebody has seen enough: the seeds under way are run to their end, and then told of. */
static volatile sig_atomic_t interrupted;

static void on_interrupt(int number)
{
    (void)number;
    interrupted = 1;
}

/* How to see it again. */
static void print_command(const struct arguments *arguments, uint64_t seed)
{
    printf("    scripts/sim --seed %" PRIu64 "%s%s", seed, arguments->plain ? " --plain" : "",
           arguments->groups ? " --groups" : "");
    for (int i = 0; i < SIM_FAULT_COUNT; i++) {
        if ((arguments->faults & (1u << i)) != 0) {
            printf(" --fault %s", sim_fault_name((enum sim_fault)i));
        }
    }
    printf("%s%s%s", arguments->pair ? " --pair" : "", arguments->disks ? " --disks" : "",
           arguments->twice ? " --twice" : "");
    if (arguments->bug != SIM_BUG_NONE) {
        printf(" --bug %s", sim_bug_name(arguments->bug));
    }
    printf(" --trace\n");
}

static void add(struct totals *totals, const struct arguments *arguments, const char *line)
{
    uint64_t seed;
    int failed;
    uint64_t steps;
    int64_t ns;
    int64_t acked;
    int64_t consumed;
    uint64_t hops;
    int faults;
    int crashes;
    uint64_t hash;
    int at = 0;
    must(sscanf(line,
                "result %" SCNu64 " %d %" SCNu64 " %" SCNd64 " %" SCNd64 " %" SCNd64 " %" SCNu64
                " %d %d %" SCNx64 "%n",
                &seed, &failed, &steps, &ns, &acked, &consumed, &hops, &faults, &crashes, &hash,
                &at) == 10);
    totals->seeds++;
    totals->failed += failed != 0 ? 1 : 0;
    totals->steps += steps;
    totals->simulated_ns += ns;
    totals->acked += acked;
    totals->consumed += consumed;
    totals->hops += hops;
    totals->faults += faults;
    totals->crashes += crashes;
    if (failed != 0) {
        printf("seed %" PRIu64 " FAILED:%s", seed, line + at);
        print_command(arguments, seed);
    }
    if (arguments->one) {
        printf("trace %016" PRIx64 "\n", hash);
    }
}

/* Read what a child says until it ends; the next seed to run. */
static uint64_t listen_to(FILE *from, const struct arguments *arguments, struct totals *totals,
                          uint64_t begin)
{
    char line[REPORT_MAX];
    uint64_t next = begin;
    while (fgets(line, sizeof(line), from) != NULL) {
        if (strncmp(line, "begin ", 6) == 0) {
            next = strtoull(line + 6, NULL, 10) + 1;
        } else {
            add(totals, arguments, line);
        }
    }
    return next;
}

static uint64_t run_child(const struct arguments *arguments, struct totals *totals, uint64_t begin,
                          uint64_t end);

/* Of a seed in which a broken broker died: does the whole one get through? */
static bool lives_without_bug(const struct arguments *arguments, uint64_t seed)
{
    struct arguments whole = *arguments;
    struct totals totals = {0};
    whole.bug = SIM_BUG_NONE;
    whole.until_caught = false;
    (void)run_child(&whole, &totals, seed, seed + 1);
    return totals.failed == 0;
}

/* A child has ended otherwise than by itself, or its memory leaks. */
static void add_death(const struct arguments *arguments, struct totals *totals, int status,
                      uint64_t next, bool leak)
{
    printf("%s %" PRIu64 " FAILED: %s (status 0x%x)\n", leak ? "batch before seed" : "seed",
           leak ? next : next - 1, leak ? "its memory leaks" : "the program died", status);
    totals->seeds += leak ? 0 : 1;
    bool caught = !leak && arguments->by == NULL && arguments->until_caught;
    if (!arguments->until_caught || (caught && lives_without_bug(arguments, next - 1))) {
        totals->failed++;
    }
}

/* Run seeds from `begin` on in a child; returns the next seed to run. */
static uint64_t run_child(const struct arguments *arguments, struct totals *totals, uint64_t begin,
                          uint64_t end)
{
    int ends[2];
    int status = 0;
    must(pipe(ends) == 0);
    fflush(stdout);
    pid_t pid = fork();
    must(pid >= 0);
    if (pid == 0) {
        signal(SIGINT, SIG_DFL);
        signal(SIGTERM, SIG_DFL);
        close(ends[0]);
        FILE *to = fdopen(ends[1], "w");
        run_batch(arguments, begin, end, to);
        fclose(to);
        exit(0); /* not _exit: the leak checker runs here */
    }
    close(ends[1]);
    FILE *from = fdopen(ends[0], "r");
    uint64_t seeds = totals->seeds;
    uint64_t next = listen_to(from, arguments, totals, begin);
    fclose(from);
    must(waitpid(pid, &status, 0) == pid);
    if (status != 0 && !(interrupted != 0 && WIFSIGNALED(status))) {
        add_death(arguments, totals, status, next, totals->seeds - seeds == end - begin);
    }
    return next;
}

static void print_totals(const struct totals *totals)
{
    printf("%" PRIu64 " seeds, %" PRIu64 " failed; %.1f M steps, %.2f simulated hours, %" PRId64
           " records acknowledged, %" PRId64 " read, %" PRIu64
           " connections moved to other loops, %" PRId64 " faults, %" PRId64 " crashes\n",
           totals->seeds, totals->failed, (double)totals->steps / 1e6,
           (double)totals->simulated_ns / 3.6e12, totals->acked, totals->consumed, totals->hops,
           totals->faults, totals->crashes);
}

int main(int argc, char **argv)
{
    struct arguments arguments;
    struct totals totals = {0};
    int status = parse(argc, argv, &arguments);
    if (status >= 0) {
        return status;
    }
    uint64_t end = arguments.from + arguments.count;
    uint64_t next = arguments.from;
    signal(SIGINT, on_interrupt);
    signal(SIGTERM, on_interrupt);
    while (next < end && interrupted == 0 && !(arguments.until_caught && totals.failed > 0)) {
        uint64_t last = next + arguments.batch;
        next = run_child(&arguments, &totals, next, last < end ? last : end);
    }
    print_totals(&totals);
    if (arguments.until_caught) {
        printf(totals.failed > 0 ? "%s: caught by seed %" PRIu64 "\n"
                                 : "%s: NOT caught, last seed %" PRIu64 "\n",
               sim_bug_name(arguments.bug), next - 1);
        return totals.failed > 0 ? 0 : 1;
    }
    return totals.failed > 0 ? 1 : 0;
}
