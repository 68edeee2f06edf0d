#include "groups/groups.h"

#include <stdio.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/must.h"
#include "record/msgset.h"

#define LOGGER "kafka.coordinator.group.GroupCoordinator"

struct groups {
    struct groups_options options;
    struct rng rng;
    _Atomic int32_t
        reads; /* chunks with workers or on their way back; plus one until groups_stop() */
    struct loop_msg stop_msg;
    void (*stop_fn)(void *arg);
    void *stop_arg;
    _Atomic int32_t partitions_count;
    struct grp_memory memory; /* of all coordinators */
};

/* A piece of the log. The worker's from load_next() until it comes back. */
struct chunk {
    struct work work;
    int64_t offset; /* from here ... */
    size_t bytes_max;
    int64_t offset_end; /* ... to here, or as far as the chunk's size goes */
    struct view *view;  /* of what is read */
    enum err err;
    struct buf bytes; /* whole batches, and perhaps a piece of one more */
};

/* One partition's coordinator. */
struct group_part {
    struct grp_host host; /* first: the driver gives it back */
    struct groups *groups;
    struct part *part; /* owns us; a message, timer or work under way references it */
    struct grp_driver *driver;
    bool dying;              /* nothing may be referenced any more */
    struct group_call *call; /* the request of this turn, until it has been answered */

    /* The driver's timer runs on the groups' loop; the actor tells the loop, the loop tells the
     * actor. */
    _Atomic int64_t timer_at_ms; /* INT64_MAX: none */
    _Atomic bool timer_posted;
    struct loop_msg timer_msg;
    struct loop_timer timer;
    struct actor_msg tick_msg;
    _Atomic bool tick_posted;

    /* Loading: worker reads a chunk, actor feeds it, and so on until load_end. */
    bool loading;
    bool load_busy;    /* a chunk is with the worker, or on its way back */
    bool load_restart; /* that chunk belongs to an earlier leadership: begin again after it */
    int32_t load_epoch;
    int64_t load_offset;
    int64_t load_end;
    int64_t load_begin_ms;
    struct chunk chunk;
    struct actor_msg load_msg;
};

struct groups *groups_new(const struct groups_options *options)
{
    struct groups *groups = mem_new(struct groups);
    groups->options = *options;
    atomic_init(&groups->reads, 1);
    atomic_init(&groups->memory.used_bytes, 0);
    groups->memory.max_bytes = options->memory_bytes_max;
    rng_seed(&groups->rng, options->seed);
    return groups;
}

static void reads_leave(struct groups *groups);

static void on_stopped(struct loop_msg *msg)
{
    struct groups *groups = container_of(msg, struct groups, stop_msg);
    groups->stop_fn(groups->stop_arg);
}

void groups_stop(struct groups *groups, void (*fn)(void *arg), void *arg)
{
    groups->stop_fn = fn;
    groups->stop_arg = arg;
    groups->stop_msg.fn = on_stopped;
    reads_leave(groups);
}

void groups_free(struct groups *groups)
{
    must(atomic_load(&groups->memory.used_bytes) == 0);
    mem_free(groups);
}

void groups_set_partitions_count(struct groups *groups, int32_t count)
{
    atomic_store(&groups->partitions_count, count);
}

int32_t groups_partitions_count(const struct groups *groups)
{
    return atomic_load(&groups->partitions_count);
}

/* ---- the driver's host: everything here runs in the partition's actor ---- */

static struct group_part *of_host(struct grp_host *host)
{
    return container_of(host, struct group_part, host);
}

static enum err host_append(struct grp_host *host, uint8_t *batch, size_t size_bytes, int16_t acks,
                            int64_t *offset_end)
{
    struct part *part = of_host(host)->part;
    if (size_bytes > (size_t)atomic_load(&part->rules.max_message_bytes)) {
        return ERR_MESSAGE_TOO_LARGE;
    }
    struct part_append append = {
        .records = {batch, size_bytes}, .acks = acks, .expected_epoch = -1, .coordinator = true};
    enum err err = batch_read_header(append.records, &append.header);
    must(err == ERR_OK);
    err = part_append_here(part, &append);
    *offset_end = append.offset_end;
    return err;
}

static int64_t host_offset_hw(struct grp_host *host)
{
    return atomic_load(&of_host(host)->part->offset_hw);
}

static int64_t host_now_ms(struct grp_host *host)
{
    return clock_mono_ms(of_host(host)->part->clock);
}

static int64_t host_wall_ms(struct grp_host *host)
{
    return clock_wall_ms(of_host(host)->part->clock);
}

/* Tell the loop that the wanted time has changed; one message at a time carries the newest value.
 */
static void timer_changed(struct group_part *gp, int64_t at_ms)
{
    if (gp->dying) {
        return;
    }
    atomic_store(&gp->timer_at_ms, at_ms);
    if (!atomic_exchange(&gp->timer_posted, true)) {
        part_get(gp->part);
        loop_post(gp->groups->options.loop, &gp->timer_msg);
    }
}

static void host_set_timer(struct grp_host *host, int64_t at_ms)
{
    timer_changed(of_host(host), at_ms);
}

static void host_cancel_timer(struct grp_host *host)
{
    timer_changed(of_host(host), INT64_MAX);
}

static void host_reply(struct grp_host *host, void *token, const struct grp_reply *reply)
{
    struct group_part *gp = of_host(host);
    struct group_call *call = token;
    if (gp->call == call) {
        gp->call = NULL;
    }
    call->copy(call, reply);
    loop_post(call->loop, &call->done_msg);
}

static const struct grp_host_ops host_ops = {
    .append = host_append,
    .offset_hw = host_offset_hw,
    .now_ms = host_now_ms,
    .wall_ms = host_wall_ms,
    .set_timer = host_set_timer,
    .cancel_timer = host_cancel_timer,
    .reply = host_reply,
};

/* ---- the timer's way: actor -> loop -> actor ---- */

static void on_timer_msg(struct loop_msg *msg)
{
    struct group_part *gp = container_of(msg, struct group_part, timer_msg);
    struct loop *loop = gp->groups->options.loop;
    atomic_store(&gp->timer_posted, false);
    int64_t at_ms = atomic_load(&gp->timer_at_ms);
    bool pending = loop_timer_pending(&gp->timer);
    if (at_ms == INT64_MAX) {
        loop_timer_cancel(&gp->timer);
        if (pending) {
            part_put(gp->part); /* the timer's */
        }
    } else {
        loop_timer_set(loop, &gp->timer, at_ms);
        if (!pending) {
            part_get(gp->part);
        }
    }
    part_put(gp->part); /* the message's */
}

static void on_timer(struct loop_timer *timer)
{
    struct group_part *gp = container_of(timer, struct group_part, timer);
    /* The timer's reference becomes the message's. */
    if (atomic_exchange(&gp->tick_posted, true)) {
        part_put(gp->part);
        return;
    }
    part_post(gp->part, &gp->tick_msg);
}

static void on_tick(struct actor *actor, struct actor_msg *msg)
{
    (void)actor;
    struct group_part *gp = container_of(msg, struct group_part, tick_msg);
    atomic_store(&gp->tick_posted, false);
    grp_driver_tick(gp->driver);
    part_put(gp->part);
}

/* ---- loading ---- */

/* On a worker. */
static void chunk_read(struct work *work)
{
    struct chunk *chunk = container_of(work, struct chunk, work);
    buf_clear(&chunk->bytes);
    struct view_range range;
    chunk->err =
        view_read(chunk->view, chunk->offset, chunk->offset_end, chunk->bytes_max, true, &range);
    if (chunk->err == ERR_OK && range.size_bytes > 0) {
        size_t got;
        uint8_t *at = buf_extend(&chunk->bytes, range.size_bytes);
        chunk->err = fs_pread(range.file, at, range.size_bytes, range.position, &got);
        if (chunk->err == ERR_OK && got < range.size_bytes) {
            chunk->err = ERR_CORRUPT;
        }
    }
}

static void chunk_done(struct work *work)
{
    struct chunk *chunk = container_of(work, struct chunk, work);
    struct group_part *gp = container_of(chunk, struct group_part, chunk);
    part_post(gp->part, &gp->load_msg);
}

/* One chunk less under way. */
static void reads_leave(struct groups *groups)
{
    if (atomic_fetch_sub(&groups->reads, 1) == 1) {
        loop_post(groups->options.loop, &groups->stop_msg);
    }
}

static size_t load_bytes(const struct groups *groups)
{
    int32_t allowed = groups->options.load_bytes;
    return allowed > 0 && allowed < GROUPS_LOAD_CHUNK_BYTES ? (size_t)allowed
                                                            : GROUPS_LOAD_CHUNK_BYTES;
}

static void load_finish(struct group_part *gp);

static void load_next(struct group_part *gp)
{
    if (gp->load_busy) {
        gp->load_restart = true;
        return;
    }
    /* Retention may have deleted what would have come next. The view is taken in this turn of the
     * actor, in which nothing is deleted. */
    int64_t log_start = plog_log_start(gp->part->log);
    if (gp->load_offset < log_start) {
        gp->load_offset = log_start;
    }
    if (gp->load_offset >= gp->load_end) {
        load_finish(gp);
        return;
    }
    gp->load_busy = true;
    atomic_fetch_add(&gp->groups->reads, 1);
    part_get(gp->part);
    gp->chunk.offset = gp->load_offset;
    gp->chunk.offset_end = gp->load_end;
    gp->chunk.bytes_max = load_bytes(gp->groups);
    gp->chunk.view = plog_view_get(gp->part->log);
    gp->chunk.work =
        (struct work){.run = chunk_read, .done = chunk_done, .loop = gp->groups->options.loop};
    worker_submit(gp->groups->options.workers, &gp->chunk.work);
}

/* Cuts off what is behind the last whole batch; the offset after that one. */
static int64_t chunk_whole(struct bytes *bytes)
{
    size_t at = 0;
    int64_t end = -1;
    while (at < bytes->size) {
        struct batch_header header;
        struct bytes rest = {bytes->data + at, bytes->size - at};
        if (entry_read_header(rest, &header) != ERR_OK || batch_size_bytes(&header) > rest.size) {
            break;
        }
        at += batch_size_bytes(&header);
        end = batch_last_offset(&header) + 1;
    }
    bytes->size = at;
    return end;
}

/* The memory of a load that has ended; what a worker writes into is freed when it comes back. */
static void chunk_drop(struct group_part *gp)
{
    if (!gp->load_busy) {
        buf_fini(&gp->chunk.bytes);
    }
}

/* Most partitions are empty, and there are fifty of them: those are worth no line. */
static void load_finish(struct group_part *gp)
{
    gp->loading = false;
    chunk_drop(gp);
    grp_driver_load_done(gp->driver, gp->load_end);
    size_t groups_count = grp_group_count(grp_driver_coord(gp->driver));
    if (groups_count > 0) {
        log_info(LOGGER, "loaded groups and offsets",
                 "tp=%s-%d leader_epoch=%d groups=%zu offset_end=%lld ms=%lld", gp->part->topic.ptr,
                 gp->part->index, gp->load_epoch, groups_count, (long long)gp->load_end,
                 (long long)(host_now_ms(&gp->host) - gp->load_begin_ms));
    }
}

static void load_fail(struct group_part *gp, const struct view *view, enum err err)
{
    if (err != ERR_CORRUPT) {
        plog_unreadable(gp->part->log, view, err);
        if (!plog_failed(
                gp->part->log)) { /* it is in another directory now: what is there counts */
            load_next(gp);
            return;
        }
    }
    log_error(LOGGER, "loading groups ended early", "tp=%s-%d offset=%lld end=%lld error=%s",
              gp->part->topic.ptr, gp->part->index, (long long)gp->load_offset,
              (long long)gp->load_end, err_text(err));
    /* Damaged bytes: what stands before them is served, as by Kafka. They may have come with the
     * log: each replica would fail in its turn, until no coordinator were left. */
    if (err == ERR_CORRUPT) {
        load_finish(gp);
        return;
    }
    /* The disk does not give what is there. Going on with a part of it (as Kafka does) would tell
     * clients that offsets which they have committed were never committed; another replica has
     * them. */
    chunk_drop(gp);
    part_fail(gp->part);
}

/* A chunk that was read, out of `view`, for the present leadership. */
static void load_feed(struct group_part *gp, const struct view *view)
{
    struct bytes bytes = {gp->chunk.bytes.data, gp->chunk.bytes.size};
    if (gp->chunk.err != ERR_OK) {
        load_fail(gp, view, gp->chunk.err);
        return;
    }
    if (bytes.size == 0) {
        load_finish(gp); /* compaction has left nothing up to the end */
        return;
    }
    int64_t end = chunk_whole(&bytes);
    if (bytes.size == 0) {
        load_fail(gp, view, ERR_CORRUPT);
        return;
    }
    enum err err = grp_driver_load_batch(gp->driver, bytes);
    (void)err;                    /* what could not be read was skipped and logged there */
    if (end <= gp->load_offset) { /* the last batch lies: to read on from there would never end */
        load_fail(gp, view, ERR_CORRUPT);
        return;
    }
    gp->load_offset = end;
    load_next(gp);
}

static void on_load_chunk(struct actor *actor, struct actor_msg *msg)
{
    (void)actor;
    struct group_part *gp = container_of(msg, struct group_part, load_msg);
    struct part *part = gp->part;
    struct groups *groups = gp->groups;
    struct view *view = gp->chunk.view;
    gp->load_busy = false;
    if (gp->loading && gp->load_restart) {
        gp->load_restart = false;
        load_next(gp);
    } else if (gp->loading) {
        load_feed(gp, view);
    } else {
        chunk_drop(gp);
    }
    view_put(view);
    part_put(part);
    reads_leave(groups);
}

/* ---- the partition's hooks, in its actor ---- */

static void on_leader(void *arg, int32_t leader_epoch)
{
    struct group_part *gp = arg;
    if (!grp_driver_load_begin(gp->driver, leader_epoch)) {
        return;
    }
    gp->loading = true;
    gp->load_restart = false;
    gp->load_epoch = leader_epoch;
    gp->load_begin_ms = host_now_ms(&gp->host);
    gp->load_offset = plog_log_start(gp->part->log);
    gp->load_end = plog_offset_end(gp->part->log);
    if (gp->load_offset >= gp->load_end) {
        load_finish(gp); /* also while a chunk of before is with the worker */
    } else {
        load_next(gp);
    }
}

static void on_not_leader(void *arg, int32_t leader_epoch)
{
    struct group_part *gp = arg;
    (void)grp_driver_unload(gp->driver, leader_epoch);
    gp->loading = false;
    gp->load_restart = false;
}

static void on_high_watermark(void *arg, int64_t offset_hw)
{
    struct group_part *gp = arg;
    grp_driver_hw(gp->driver, offset_hw);
}

/* The last reference to the partition is gone: so is everything that was under way. */
static void on_free(void *arg)
{
    struct group_part *gp = arg;
    gp->dying = true;
    grp_driver_free(gp->driver);
    buf_fini(&gp->chunk.bytes);
    mem_free(gp);
}

static const struct part_hooks group_hooks = {
    .on_leader = on_leader,
    .on_not_leader = on_not_leader,
    .on_high_watermark = on_high_watermark,
    .on_free = on_free,
};

void groups_attach(struct groups *groups, struct part *part)
{
    struct group_part *gp = mem_new(struct group_part);
    char name[64];
    snprintf(name, sizeof(name), "%.40s-%d", part->topic.ptr, part->index);
    gp->host.ops = &host_ops;
    gp->groups = groups;
    gp->part = part;
    atomic_init(&gp->timer_at_ms, INT64_MAX);
    gp->timer_msg.fn = on_timer_msg;
    loop_timer_init(&gp->timer, on_timer);
    gp->tick_msg.fn = on_tick;
    gp->load_msg.fn = on_load_chunk;
    struct grp_config config = groups->options.config;
    config.batch_bytes_max = atomic_load(&part->rules.max_message_bytes);
    config.memory = &groups->memory;
    gp->driver = grp_driver_new(&gp->host, &config, name, rng_next(&groups->rng));
    part_hook(part, &group_hooks, gp);
}

/* ---- topics that were deleted ---- */

/* Tells one coordinator. */
struct forget {
    struct actor_msg msg;
    struct part *part;
    struct str topic; /* owned */
};

static void on_forget(struct actor *actor, struct actor_msg *msg)
{
    (void)actor;
    struct forget *forget = container_of(msg, struct forget, msg);
    struct part *part = forget->part;
    struct group_part *gp = part->hooks_arg;
    struct grp_event event = {.kind = GRP_EV_TOPIC_DELETED, .topic = forget->topic};
    grp_driver_submit(gp->driver, &event);
    mem_free((void *)(uintptr_t)forget->topic.ptr);
    mem_free(forget);
    part_put(part);
}

static void forget_in(void *arg, struct part *part)
{
    const struct str *topic = arg;
    if (part->hooks != &group_hooks || part_now(part).role != PART_LEADER) {
        return;
    }
    struct forget *forget = mem_new(struct forget);
    forget->msg.fn = on_forget;
    forget->part = part_get(part);
    forget->topic = (struct str){str_dup(*topic), topic->size};
    part_post(part, &forget->msg);
}

void groups_topic_deleted(struct parts *parts, struct str topic)
{
    parts_each(parts, forget_in, &topic);
}

/* ---- requests ---- */

static void on_call_done(struct loop_msg *msg)
{
    struct group_call *call = container_of(msg, struct group_call, done_msg);
    struct part *part = call->part;
    call->done(call);
    part_put(part);
}

static void on_call_kept(struct loop_msg *msg)
{
    struct group_call *call = container_of(msg, struct group_call, kept_msg);
    call->kept(call);
}

static void on_call(struct actor *actor, struct actor_msg *msg)
{
    struct part *part = container_of(actor, struct part, actor);
    struct group_call *call = container_of(msg, struct group_call, msg);
    struct group_part *gp = part->hooks == &group_hooks ? part->hooks_arg : NULL;
    must(gp != NULL);
    call->event.token = call;
    gp->call = call;
    grp_driver_submit(gp->driver, &call->event);
    if (gp->call == call && call->kept != NULL) { /* else it is not ours any more */
        loop_post(call->loop, &call->kept_msg);
    }
    gp->call = NULL;
}

void group_call_submit(struct part *part, struct group_call *call)
{
    call->msg = (struct actor_msg){.fn = on_call};
    call->done_msg = (struct loop_msg){.fn = on_call_done};
    call->kept_msg = (struct loop_msg){.fn = on_call_kept};
    call->part = part_get(part);
    part_post(part, &call->msg);
}
