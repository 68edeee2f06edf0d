/* part_flush.c: flush mode (flush.messages=1): nothing is acknowledged that is not on the disk.
 *
 * After each turn that appended, the log asks its directory's flusher for a sync. What that has
 * brought to the disk (plog_recovery_point()) is all that counts: for the high watermark and with
 * it acks=all, for acks=1, and, on a follower, for what its next fetch says: a step of the fetcher
 * is answered when what it appended is on the disk.
 *
 *   actor: append, part_flush_soon() -> flusher: sync -> loop: on_back() -> actor: on_flushed()
 *
 * Appends never wait for a sync: what comes while one is under way is for the next. Two notes, one
 * with the sync under way and one with the next, keep the flusher busy. */
#include "base/mem.h"
#include "base/must.h"
#include "partition/part_internal.h"

int64_t part_offset_durable(const struct part *part)
{
    int64_t end = plog_offset_end(part->log);
    int64_t flushed = plog_recovery_point(part->log);
    return part_flushes(part) && flushed < end ? flushed : end;
}

/* ---- steps of the fetcher that wait ---- */

void part_step_answer(struct part *part, struct part_replicate *step)
{
    step->offset_end = plog_offset_end(part->log);
    step->flushed_end = part_flushes(part) ? plog_recovery_point(part->log) : -1;
    step->last_epoch = epochs_latest(plog_epochs(part->log));
    step->log_start = plog_log_start(part->log);
    part_call_answer(&step->call);
}

void part_step_hold(struct part *part, struct part_replicate *step)
{
    step->next = part->held;
    part->held = step;
    part_flush_soon(part);
}

void part_steps_release(struct part *part, enum err err)
{
    struct part_replicate *step = part->held;
    part->held = NULL;
    while (step != NULL) {
        struct part_replicate *next = step->next;
        step->err = err;
        part_step_answer(part, step);
        step = next;
    }
}

/* ---- syncs ---- */

static void settle(struct part *part)
{
    bool told = part->held != NULL;
    if (part_offset_durable(part) < plog_offset_end(part->log)) {
        part_flush_soon(part);
    } else {
        part_steps_release(part, ERR_OK);
        if (!told && part->host != NULL && part_now(part).role == PART_FOLLOWER) {
            part->host->flushed(part->host, part);
        }
    }
    part_advance_hw(part);
    part->wake = true;
}

static void on_flushed(struct actor *actor, struct actor_msg *msg)
{
    struct part *part = container_of(actor, struct part, actor);
    struct part_sync *sync = container_of(msg, struct part_sync, msg);
    sync->busy = false;
    if (plog_failed(part->log) && !part->deleted) {
        part_fail(part);
    } else if (!part->deleted) {
        settle(part);
    }
    part_put(part);
}

static void on_back(struct loop_msg *msg)
{
    struct part_sync *sync = container_of(msg, struct part_sync, back);
    part_post(sync->part, &sync->msg);
}

/* On the flusher's thread. */
static void on_note(struct flush_note *note)
{
    struct part_sync *sync = container_of(note, struct part_sync, note);
    loop_post(sync->loop, &sync->back);
}

static struct part_sync *idle_sync(struct part *part)
{
    if (part->syncs == NULL) {
        part->syncs = mem_zalloc(PART_SYNCS, sizeof(*part->syncs));
    }
    for (int i = 0; i < PART_SYNCS; i++) {
        if (!part->syncs[i].busy) {
            return &part->syncs[i];
        }
    }
    return NULL;
}

void part_flush_soon(struct part *part)
{
    bool all_there = plog_recovery_point(part->log) >= plog_offset_end(part->log);
    if (!part_flushes(part) || all_there || part->deleted) {
        return;
    }
    struct part_sync *sync = idle_sync(part);
    if (sync == NULL) {
        plog_flush_soon(part->log, NULL); /* on_flushed() looks again */
        return;
    }
    *sync = (struct part_sync){
        .note.done = on_note,
        .part = part_get(part),
        .loop = loop_current(),
        .back.fn = on_back,
        .msg.fn = on_flushed,
        .busy = true,
    };
    must(sync->loop != NULL);
    if (!plog_flush_soon(part->log, &sync->note)) {
        sync->busy = false; /* the one that waits there tells for this one, too */
        part_put(part);
    }
}

void part_flush_configure(struct part *part, bool flush)
{
    if (flush == part_flushes(part)) {
        return;
    }
    atomic_store_explicit(&part->rules.flush, flush, memory_order_release);
    isr_set_flush(&part->isr, flush);
    settle(part);
}
