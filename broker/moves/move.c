#include "moves/move.h"

#include "base/log.h"
#include "base/mem.h"
#include "base/must.h"

#define LOGGER "kafka.server.ReplicaAlterLogDirsThread"

static void on_pause(struct loop_timer *timer);

void move_init(struct move *move)
{
    list_init(&move->link);
    loop_timer_init(&move->pause, on_pause);
    move->finish_bytes = MOVE_FINISH_BYTES;
}

void move_fini(struct move *move)
{
    loop_timer_cancel(&move->pause);
    buf_fini(&move->scratch);
    mem_free(move->left_behind);
    plog_release(move->future);
    part_put(move->part);
}

/* ---- back on the control loop ---- */

static void on_back(struct loop_msg *msg)
{
    struct move *move = container_of(msg, struct move, back);
    move->under_way = false;
    if (move->result == MOVE_GOES_ON) {
        move_step(move);
    } else {
        move->ended(move);
    }
}

/* From the actor. */
static void go_back(struct move *move, enum move_result result)
{
    move->result = result;
    move->back.fn = on_back;
    loop_post(move->control, &move->back);
}

/* ---- a piece, on a worker ---- */

static void copy_piece(struct move *move)
{
    size_t copied;
    enum err err =
        plog_copy(move->future, move->part->log, &move->scratch, MOVE_PIECE_BYTES, &copied);
    move->bad_reads = err == ERR_OK ? 0 : move->bad_reads + 1;
    throttle_note(move->throttle, clock_mono_ms(move->clock), (int64_t)copied);
    if (plog_failed(move->future) || move->bad_reads > MOVE_BAD_READS_MAX) {
        log_error(LOGGER, "cannot copy a replica", "tp=%s-%d to=%s offset=%lld error=%s",
                  move->part->topic.ptr, move->part->index, plog_dir(move->future),
                  (long long)plog_offset_end(move->future), err_text(err));
        move->result = MOVE_FAILED;
    }
}

static void run_piece(struct work *work)
{
    struct move *move = container_of(work, struct move, work);
    if (!move->sync) {
        copy_piece(move);
    } else if (plog_flush(move->future) != ERR_OK) {
        move->result = MOVE_FAILED;
    }
    move->synced = move->sync;
}

static void piece_done(struct work *work)
{
    struct move *move = container_of(work, struct move, work);
    on_back(&move->back);
}

/* ---- in the partition's actor ---- */

static void submit_piece(struct move *move, bool sync)
{
    move->sync = sync;
    move->result = MOVE_GOES_ON;
    move->work = (struct work){.run = run_piece, .done = piece_done, .loop = move->control};
    worker_submit(move->workers, &move->work);
}

static enum move_result take_over(struct move *move)
{
    struct part *part = move->part;
    switch (
        plog_take_over(move->future, part->log, move->flusher, &move->moved, &move->left_behind)) {
    case MOVE_DONE:
        move->old = part_take_log(part, move->moved);
        return MOVE_ARRIVED;
    case MOVE_KEPT:
        return MOVE_FAILED;
    case MOVE_LOST:
        part_fail(part);
        return MOVE_STOPPED;
    }
    must(false);
    return MOVE_FAILED;
}

static void step_in_actor(struct actor *actor, struct actor_msg *msg)
{
    struct part *part = container_of(actor, struct part, actor);
    struct move *move = container_of(msg, struct move, msg);
    if (part->deleted || plog_failed(part->log) || atomic_load(&move->stop)) {
        go_back(move, MOVE_STOPPED);
        return;
    }
    if (plog_agree(move->future, part->log) != ERR_OK) { /* M2 */
        go_back(move, MOVE_FAILED);
        return;
    }
    int64_t missing = plog_missing(move->future, part->log, move->finish_bytes + 1);
    bool little = missing <= move->finish_bytes;
    if (little && move->synced) {
        go_back(move, take_over(move));
        return;
    }
    if (!little && move->synced && move->finish_bytes < MOVE_FINISH_BYTES_MAX) { /* M3 */
        move->finish_bytes *= 2;
    }
    submit_piece(move, little);
}

/* ---- on the control loop ---- */

static void on_pause(struct loop_timer *timer)
{
    move_step(container_of(timer, struct move, pause));
}

/* On its home loop. */
static void on_there(struct loop_msg *msg)
{
    struct move *move = container_of(msg, struct move, there);
    move->msg = (struct actor_msg){.fn = step_in_actor};
    part_post(move->part, &move->msg);
}

void move_step(struct move *move)
{
    if (move->under_way) {
        return;
    }
    int64_t now_ms = loop_now_ms(move->control);
    if (throttle_exceeded(move->throttle, now_ms) && !atomic_load(&move->stop)) {
        int64_t pause_ms = throttle_pause_ms(move->throttle, now_ms);
        loop_timer_set(move->control, &move->pause,
                       now_ms + (pause_ms < MOVE_LOOK_MS ? pause_ms : MOVE_LOOK_MS));
        return;
    }
    move->under_way = true;
    move->there.fn = on_there;
    loop_post(move->home, &move->there);
}

void move_stop(struct move *move)
{
    atomic_store(&move->stop, true);
    loop_timer_cancel(&move->pause);
    move_step(move);
}
