#include "moves/moves.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/must.h"
#include "moves/move.h"

#define LOGGER "kafka.server.ReplicaAlterLogDirsManager"

struct moves {
    struct moves_options options;
    struct loop **loops;
    struct list under_way; /* struct move, oldest first */
    int32_t active;
    int32_t retired; /* logs that wait for the loops */
    void (*stop_fn)(void *arg);
    void *stop_arg;
    bool stopping;
};

struct moves *moves_new(const struct moves_options *options)
{
    struct moves *moves = mem_new(struct moves);
    moves->options = *options;
    moves->loops = mem_zalloc((size_t)options->loops_count, sizeof(struct loop *));
    for (int i = 0; i < options->loops_count; i++) {
        moves->loops[i] = options->loops[i];
    }
    list_init(&moves->under_way);
    return moves;
}

void moves_free(struct moves *moves)
{
    must(list_empty(&moves->under_way));
    must(moves->retired == 0);
    mem_free(moves->loops);
    mem_free(moves);
}

static void stop_settle(struct moves *moves)
{
    if (moves->stopping && list_empty(&moves->under_way) && moves->retired == 0) {
        void (*fn)(void *arg) = moves->stop_fn;
        moves->stop_fn = NULL;
        if (fn != NULL) {
            fn(moves->stop_arg);
        }
    }
}

/* ---- logs that nobody is to see any more ---- */

/* A message to each loop and back: then no loop is in a turn in which it saw the old log. */
struct retirement {
    struct moves *moves;
    struct plog *log;
    int32_t left;
    struct retire_round {
        struct retirement *retirement;
        struct loop_msg there;
        struct loop_msg back;
    } rounds[];
};

static void on_round_back(struct loop_msg *msg)
{
    struct retire_round *round = container_of(msg, struct retire_round, back);
    struct retirement *retirement = round->retirement;
    if (--retirement->left > 0) {
        return;
    }
    struct moves *moves = retirement->moves;
    plog_abandon(retirement->log); /* the registry's reference, */
    plog_release(retirement->log); /* and the partition's */
    mem_free(retirement);
    moves->retired--;
    stop_settle(moves);
}

static void on_round(struct loop_msg *msg)
{
    struct retire_round *round = container_of(msg, struct retire_round, there);
    round->back.fn = on_round_back;
    loop_post(round->retirement->moves->options.control, &round->back);
}

static void retire(struct moves *moves, struct plog *log)
{
    int32_t count = moves->options.loops_count;
    struct retirement *retirement =
        mem_zalloc(1, sizeof(*retirement) + (size_t)count * sizeof(retirement->rounds[0]));
    retirement->moves = moves;
    retirement->log = log;
    retirement->left = count;
    moves->retired++;
    for (int32_t i = 0; i < count; i++) {
        retirement->rounds[i].retirement = retirement;
        retirement->rounds[i].there.fn = on_round;
        loop_post(moves->loops[i], &retirement->rounds[i].there);
    }
}

/* ---- one move's life ---- */

static struct move *find(struct moves *moves, struct str topic, int32_t index)
{
    list_for_each (link, &moves->under_way) {
        struct move *move = container_of(link, struct move, link);
        if (move->part->index == index && str_eq(move->part->topic, topic)) {
            return move;
        }
    }
    return NULL;
}

/* Let those that wait begin, as far as there is room. */
static void kick(struct moves *moves)
{
    list_for_each (link, &moves->under_way) {
        struct move *move = container_of(link, struct move, link);
        if (!move->active && moves->active < moves->options.at_once) {
            move->active = true;
            moves->active++;
            move_step(move);
        }
    }
}

static void on_ended(struct move *move);

/* Takes the reference to the partition. */
static void begin(struct moves *moves, struct logs_entry *entry, struct part *part)
{
    struct move *move = mem_new(struct move);
    move->part = part;
    move->control = moves->options.control;
    move->home = moves->loops[part->index % moves->options.loops_count];
    move->workers = moves->options.workers;
    move->throttle = moves->options.throttle;
    move->clock = loop_clock(moves->options.control);
    move->ended = on_ended;
    move->arg = moves;
    move->future = plog_hold(entry->future);
    move->flusher = entry->future_dir->flusher;
    move_init(move);
    list_push_back(&moves->under_way, &move->link);
    log_info(LOGGER, "moving a replica to another directory", "tp=%s-%d from=%s to=%s at=%" PRId64,
             part->topic.ptr, part->index, entry->dir->path, entry->future_dir->path,
             plog_offset_end(entry->future));
    kick(moves);
}

/* Make the future log and begin. Takes the reference to the partition. */
static enum err begin_new(struct moves *moves, struct logs_entry *entry, struct part *part,
                          struct logdir *dir)
{
    struct topic_config config;
    topic_configs_get(moves->options.topic_configs, part->topic, &config);
    enum err err = logs_make_future(moves->options.logs, entry, dir, &config);
    if (err != ERR_OK) {
        part_put(part);
        return err;
    }
    begin(moves, entry, part);
    return ERR_OK;
}

static void arrived(struct moves *moves, struct move *move, struct logs_entry *entry)
{
    must(entry != NULL);
    must(entry->future == move->future);
    struct plog *old = logs_moved(moves->options.logs, entry, move->moved, move->left_behind);
    must(old == move->old);
    retire(moves, old);
    log_info(LOGGER, "a replica has moved to another directory", "tp=%s-%d dir=%s end=%" PRId64,
             move->part->topic.ptr, move->part->index, entry->dir->path,
             plog_offset_end(entry->log));
}

static bool serves(const struct part *part)
{
    enum part_role role = part_now(part).role;
    return role == PART_LEADER || role == PART_FOLLOWER;
}

/* What was asked for meanwhile. */
static void go_elsewhere(struct moves *moves, const struct move *move, struct logs_entry *entry)
{
    if (move->wanted == NULL || entry == NULL || entry->future != NULL ||
        move->wanted == entry->dir || !serves(move->part)) {
        return;
    }
    enum err err = begin_new(moves, entry, part_get(move->part), move->wanted);
    if (err != ERR_OK) {
        log_warn(LOGGER, "cannot move a replica to another directory", "tp=%s-%d dir=%s error=%s",
                 move->part->topic.ptr, move->part->index, move->wanted->path, err_text(err));
    }
}

/* The partition was closed, and is here again meanwhile, as another one. */
static void go_on(struct moves *moves, const struct move *move)
{
    struct part *now = parts_lookup(moves->options.parts, move->part->topic, move->part->index);
    if (now != NULL && now != move->part) {
        moves_resume(moves, move->part->topic, move->part->index);
    }
    part_put(now);
}

static void on_ended(struct move *move)
{
    struct moves *moves = move->arg;
    struct logs *logs = moves->options.logs;
    struct logs_entry *entry = logs_find(logs, move->part->topic, move->part->index);
    bool mine = entry != NULL && entry->future == move->future;
    list_remove(&move->link);
    moves->active -= move->active ? 1 : 0;
    if (move->result == MOVE_ARRIVED) {
        arrived(moves, move, entry);
    } else if (mine && (move->result == MOVE_FAILED || move->drop)) {
        logs_drop_future(logs, entry);
    }
    if (!moves->stopping) {
        go_elsewhere(moves, move, entry);
        go_on(moves, move);
    }
    move_fini(move);
    mem_free(move);
    kick(moves);
    stop_settle(moves);
}

/* ---- what is asked for ---- */

static bool name_fits(struct str topic, int32_t index)
{
    char number[16];
    int digits = snprintf(number, sizeof(number), "%" PRId32, index);
    return topic.size + 1 + (size_t)digits + MOVE_SUFFIX_SIZE <= LOGS_NAME_MAX;
}

/* It is on its way already. */
static void redirect(struct move *move, const struct logs_entry *entry, struct logdir *dir)
{
    if (dir == entry->future_dir && !atomic_load(&move->stop)) {
        return;
    }
    move->wanted = dir;
    move->drop = true;
    move_stop(move);
}

static enum err request_here(struct moves *moves, struct logs_entry *entry, struct part *part,
                             struct logdir *dir)
{
    if (!serves(part) || logdir_offline(entry->dir) || plog_failed(entry->log)) {
        part_put(part);
        return ERR_KAFKA_STORAGE_ERROR;
    }
    struct move *move = find(moves, part->topic, part->index);
    if (move != NULL) {
        redirect(move, entry, dir);
        part_put(part);
        return ERR_OK;
    }
    logs_drop_future(moves->options.logs, entry);
    if (dir == entry->dir) {
        part_put(part);
        return ERR_OK;
    }
    return begin_new(moves, entry, part, dir);
}

enum err moves_request(struct moves *moves, struct str topic, int32_t index, struct str path)
{
    struct logs *logs = moves->options.logs;
    struct logdir *dir = logs_find_dir(logs, path);
    if (!name_fits(topic, index)) {
        return ERR_INVALID_TOPIC_EXCEPTION;
    }
    if (dir == NULL) {
        return ERR_LOG_DIR_NOT_FOUND;
    }
    if (logdir_offline(dir) || moves->stopping) {
        return ERR_KAFKA_STORAGE_ERROR;
    }
    struct logs_entry *entry = logs_find(logs, topic, index);
    struct part *part = parts_lookup(moves->options.parts, topic, index);
    if (entry == NULL || part == NULL || part_now(part).role == PART_NONE) {
        if (entry == NULL) {
            logs_prefer(logs, topic, index, dir);
        }
        part_put(part);
        return ERR_REPLICA_NOT_AVAILABLE;
    }
    return request_here(moves, entry, part, dir);
}

void moves_resume(struct moves *moves, struct str topic, int32_t index)
{
    struct logs_entry *entry = logs_find(moves->options.logs, topic, index);
    if (moves->stopping || entry == NULL || entry->future == NULL ||
        logdir_offline(entry->future_dir) || find(moves, topic, index) != NULL) {
        return;
    }
    struct part *part = parts_lookup(moves->options.parts, topic, index);
    if (part != NULL) {
        begin(moves, entry, part);
    }
}

void moves_dir_failed(struct moves *moves, const char *dir)
{
    list_for_each_safe (link, &moves->under_way) {
        struct move *move = container_of(link, struct move, link);
        size_t size = strlen(dir);
        if (strncmp(plog_dir(move->future), dir, size) == 0 &&
            plog_dir(move->future)[size] == '/') {
            move->drop = true;
            move_stop(move);
        }
    }
}

void moves_stop(struct moves *moves, void (*fn)(void *arg), void *arg)
{
    moves->stopping = true;
    moves->stop_fn = fn;
    moves->stop_arg = arg;
    list_for_each_safe (link, &moves->under_way) {
        move_stop(container_of(link, struct move, link));
    }
    stop_settle(moves);
}
