/* group_driver.c: one event at a time through the machine, and everything that follows from it.
 *
 * A load ends in two steps: the log has been read, and then the high watermark has reached its end.
 * Between them the machine still counts as loading. Without the second step a leader would give out
 * what only its own log has; the next one, that does not have it, would give the same generation
 * another assignment and take committed offsets back. Kafka serves after the first step, and so do
 * we where commits do not wait for followers either (commit_acks): there the log may have grown for
 * as long as min.insync.replicas held the high watermark, and would not be served until they are
 * back.
 *
 * A turn is: step, append, reply; then the steps that the appends brought about (failed ones,
 * committed ones), until nothing is left; then the timer. The host may call back into
 * grp_driver_hw() and grp_driver_unload() from inside append(): an append of a partition without
 * followers commits itself, a failed one may take the partition down. Both are then only noted, and
 * done within the same turn. */
#include "group/group_driver.h"

#include "base/list.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/must.h"
#include "record/batch_builder.h"
#include "record/msgset.h"

#define LOGGER "kafka.coordinator.group.GroupCoordinator"

/* A compressed batch of the log that holds more is skipped as corrupt; Kafka has no bound. */
enum { LOAD_INFLATED_MAX = 256 << 20 };

/* Topics whose deletion waits for the end of a load. Offsets of further ones stay until they
 * expire.
 */
enum { DELETED_MAX = 10000 };

/* An append on its way to being committed. */
struct parked {
    struct list by_offset;   /* of grp_driver.parked */
    struct list by_deadline; /* of grp_driver.timely, until it is reported as timed out */
    uint64_t op;
    int64_t base_offset;
    int64_t offset_end;
    int64_t deadline_ms;
};

/* Something to tell the machine about an append. */
struct result {
    struct list link;
    struct grp_appended appended;
};

/* A topic that was deleted while its offsets were still being loaded. */
struct deleted {
    struct list link;
    struct str name; /* owned */
};

struct grp_driver {
    struct grp_host *host;
    struct grp_config config;
    char *name;
    struct grp_coord *coord;
    struct grp_out out;
    bool owned;          /* loading or loaded */
    bool active;         /* loaded, and all of that committed */
    int64_t offset_load; /* read up to here, but not all of it committed yet; -1 otherwise */
    bool waits;          /* somebody was told that it has to wait for that */
    int32_t epoch_seen;
    struct list parked; /* ascending end offsets */
    struct list timely; /* ascending deadlines */
    struct list results;
    struct list deleted; /* oldest first; empty unless a load is under way */
    size_t deleted_count;
    int64_t offset_hw;
    int64_t timer_at_ms; /* -1: the host's timer is not set */
    bool busy;           /* a turn is under way */
    bool lost;           /* leadership or the disk went away in it */
    struct log_limit load_warnings;
    struct log_limit append_warnings;
};

/* ---- what a step decided ---- */

static void write_notes(struct grp_driver *driver)
{
    for (const struct grp_note *note = driver->out.notes; note != NULL; note = note->next) {
        if (!note->warning) {
            log_info(LOGGER, note->event, "tp=%s %s", driver->name, note->text);
        } else if (driver->active) {
            log_warn(LOGGER, note->event, "tp=%s %s", driver->name, note->text);
        } else {
            log_limited(&driver->load_warnings, LOG_WARN, LOGGER, note->event, "tp=%s %s",
                        driver->name, note->text);
        }
    }
}

static void add_result(struct grp_driver *driver, uint64_t op, enum err err, int64_t base_offset)
{
    struct result *result = mem_new(struct result);
    result->appended = (struct grp_appended){.op = op, .err = err, .base_offset = base_offset};
    list_push_back(&driver->results, &result->link);
}

static void park(struct grp_driver *driver, uint64_t op, int64_t base_offset, int64_t offset_end)
{
    struct parked *parked = mem_new(struct parked);
    parked->op = op;
    parked->base_offset = base_offset;
    parked->offset_end = offset_end;
    parked->deadline_ms =
        driver->host->ops->now_ms(driver->host) + driver->config.commit_timeout_ms;
    list_push_back(&driver->parked, &parked->by_offset);
    list_push_back(&driver->timely, &parked->by_deadline);
}

static void parked_free(struct parked *parked)
{
    list_remove(&parked->by_offset);
    list_remove(&parked->by_deadline);
    mem_free(parked);
}

static enum err build_batch(const struct grp_driver *driver, const struct grp_append *append,
                            struct buf *batch)
{
    struct batch_options options = batch_options_default();
    options.codec = (enum compress_codec)driver->config.compression;
    options.level = COMPRESS_LEVEL_DEFAULT;
    struct batch_builder builder;
    batch_builder_init(&builder, &options);
    for (size_t i = 0; i < append->record_count; i++) {
        batch_builder_add(&builder, append->timestamp_ms, append->records[i].key,
                          append->records[i].value, NULL, 0);
    }
    enum err err = batch_builder_finish(&builder, batch);
    batch_builder_fini(&builder);
    return err;
}

/* Errors after which log and memory may differ: everything is discarded. */
static bool loses_partition(enum err err)
{
    return err == ERR_NOT_LEADER_OR_FOLLOWER || err == ERR_FENCED_LEADER_EPOCH ||
           err_wire(err) == err_wire(ERR_KAFKA_STORAGE_ERROR);
}

static void do_append(struct grp_driver *driver, const struct grp_append *append)
{
    struct buf batch = {0};
    int64_t offset_end = -1;
    enum err err = build_batch(driver, append, &batch);
    if (err == ERR_OK) {
        err = driver->host->ops->append(driver->host, batch.data, batch.size, append->acks,
                                        &offset_end);
    }
    buf_fini(&batch);
    int64_t base_offset = offset_end - (int64_t)append->record_count;
    if (err == ERR_OK && append->acks != 0) {
        must(base_offset >= 0);
        park(driver, append->op, base_offset, offset_end);
        return;
    }
    if (err != ERR_OK) {
        log_limited(&driver->append_warnings, LOG_WARN, LOGGER, "could not append to the log",
                    "tp=%s error=%s", driver->name, err_name(err));
    }
    driver->lost = driver->lost || loses_partition(err);
    add_result(driver, append->op, err, base_offset);
}

static void step(struct grp_driver *driver, struct grp_event *event)
{
    struct grp_host *host = driver->host;
    event->now_ms = host->ops->now_ms(host);
    event->wall_ms = host->ops->wall_ms(host);
    grp_step(driver->coord, event, &driver->out);
    for (const struct grp_append *a = driver->out.appends; a != NULL; a = a->next) {
        do_append(driver, a);
    }
    for (const struct grp_reply *r = driver->out.replies; r != NULL; r = r->next) {
        host->ops->reply(host, r->token, r);
    }
    write_notes(driver);
    grp_out_reset(&driver->out);
}

/* ---- turns ---- */

static void tell(struct grp_driver *driver, struct grp_appended appended)
{
    step(driver, &(struct grp_event){.kind = GRP_EV_APPENDED, .appended = appended});
}

/* The oldest failed or finished append; false: none. */
static bool tell_result(struct grp_driver *driver)
{
    struct list *link = list_pop_front(&driver->results);
    if (link == NULL) {
        return false;
    }
    struct result *result = container_of(link, struct result, link);
    tell(driver, result->appended);
    mem_free(result);
    return true;
}

/* The oldest parked append, if it is committed. */
static bool tell_committed(struct grp_driver *driver)
{
    if (list_empty(&driver->parked)) {
        return false;
    }
    struct parked *first = container_of(driver->parked.next, struct parked, by_offset);
    if (first->offset_end > driver->offset_hw) {
        return false;
    }
    struct grp_appended appended = {
        .op = first->op, .err = ERR_OK, .base_offset = first->base_offset};
    parked_free(first);
    tell(driver, appended);
    return true;
}

static void deleted_free(struct grp_driver *driver, struct deleted *deleted)
{
    list_remove(&deleted->link);
    driver->deleted_count--;
    mem_free((void *)(uintptr_t)deleted->name.ptr);
    mem_free(deleted);
}

static void discard(struct grp_driver *driver)
{
    driver->lost = false;
    if (driver->owned) {
        size_t groups_count = grp_group_count(driver->coord);
        step(driver, &(struct grp_event){.kind = GRP_EV_UNLOAD});
        log_write(groups_count > 0 ? LOG_INFO : LOG_DEBUG, LOGGER, "unloaded groups and offsets",
                  "tp=%s groups=%zu", driver->name, groups_count);
    }
    driver->owned = false;
    driver->active = false;
    driver->offset_load = -1;
    driver->waits = false;
    list_for_each_safe (link, &driver->parked) {
        parked_free(container_of(link, struct parked, by_offset));
    }
    list_for_each_safe (link, &driver->deleted) {
        deleted_free(driver, container_of(link, struct deleted, link));
    }
    struct list *link;
    while ((link = list_pop_front(&driver->results)) != NULL) {
        mem_free(container_of(link, struct result, link));
    }
}

static void arm_timer(struct grp_driver *driver)
{
    int64_t wake_ms = grp_wake_at_ms(driver->coord);
    if (!list_empty(&driver->timely)) {
        struct parked *first = container_of(driver->timely.next, struct parked, by_deadline);
        if (wake_ms < 0 || first->deadline_ms < wake_ms) {
            wake_ms = first->deadline_ms;
        }
    }
    if (wake_ms == driver->timer_at_ms) {
        return;
    }
    driver->timer_at_ms = wake_ms;
    if (wake_ms < 0) {
        driver->host->ops->cancel_timer(driver->host);
    } else {
        driver->host->ops->set_timer(driver->host, wake_ms);
    }
}

static void look_at_hw(struct grp_driver *driver)
{
    int64_t offset_hw = driver->host->ops->offset_hw(driver->host);
    if (offset_hw > driver->offset_hw) {
        driver->offset_hw = offset_hw;
    }
}

/* The oldest deletion that has waited for the load. */
static bool tell_deleted(struct grp_driver *driver)
{
    if (!driver->active || list_empty(&driver->deleted)) {
        return false;
    }
    struct deleted *first = container_of(driver->deleted.next, struct deleted, link);
    step(driver, &(struct grp_event){.kind = GRP_EV_TOPIC_DELETED, .topic = first->name});
    deleted_free(driver, first);
    return true;
}

/* What was loaded is committed, or that it is written is enough: from now on it is served. */
static bool tell_loaded(struct grp_driver *driver)
{
    bool waits = driver->config.commit_acks != 0 && driver->offset_load > driver->offset_hw;
    if (driver->offset_load < 0 || waits) {
        return false;
    }
    driver->offset_load = -1;
    driver->active = true;
    step(driver, &(struct grp_event){.kind = GRP_EV_LOADED});
    log_write(driver->waits ? LOG_INFO : LOG_DEBUG, LOGGER, "serving groups", "tp=%s groups=%zu",
              driver->name, grp_group_count(driver->coord));
    return true;
}

/* Everything that follows, until nothing does. `event` may be NULL. */
static void turn(struct grp_driver *driver, struct grp_event *event)
{
    must(!driver->busy);
    driver->busy = true;
    if (event != NULL) {
        step(driver, event);
    }
    look_at_hw(driver);
    while (tell_result(driver) || (!driver->lost && (tell_loaded(driver) || tell_deleted(driver) ||
                                                     tell_committed(driver)))) {
        look_at_hw(driver);
    }
    if (driver->lost) {
        discard(driver);
    }
    driver->busy = false;
    arm_timer(driver);
}

/* The machine knows nothing yet that it could forget. */
static void keep_deleted(struct grp_driver *driver, struct str topic)
{
    if (driver->deleted_count < DELETED_MAX) {
        struct deleted *deleted = mem_new(struct deleted);
        deleted->name = (struct str){str_dup(topic), topic.size};
        list_push_back(&driver->deleted, &deleted->link);
        driver->deleted_count++;
    }
}

void grp_driver_submit(struct grp_driver *driver, struct grp_event *event)
{
    must(event->kind <= GRP_EV_DELETE || event->kind == GRP_EV_TOPIC_DELETED ||
         event->kind == GRP_EV_EXPIRE || event->kind == GRP_EV_TXN_MARKER);
    if (event->kind == GRP_EV_TOPIC_DELETED && driver->owned && !driver->active) {
        keep_deleted(driver, event->topic);
        return;
    }
    turn(driver, event);
}

void grp_driver_hw(struct grp_driver *driver, int64_t offset_hw)
{
    if (offset_hw > driver->offset_hw) {
        driver->offset_hw = offset_hw;
    }
    if (!driver->busy && (driver->offset_load >= 0 || !list_empty(&driver->parked))) {
        turn(driver, NULL);
    }
}

void grp_driver_tick(struct grp_driver *driver)
{
    int64_t now_ms = driver->host->ops->now_ms(driver->host);
    driver->timer_at_ms = -1;
    while (!list_empty(&driver->timely)) {
        struct parked *first = container_of(driver->timely.next, struct parked, by_deadline);
        if (first->deadline_ms > now_ms) {
            break;
        }
        list_remove(&first->by_deadline);
        add_result(driver, first->op, ERR_REQUEST_TIMED_OUT, -1);
    }
    turn(driver, &(struct grp_event){.kind = GRP_EV_TICK});
}

/* ---- life ---- */

struct grp_driver *grp_driver_new(struct grp_host *host, const struct grp_config *config,
                                  const char *name, uint64_t seed)
{
    struct grp_driver *driver = mem_new(struct grp_driver);
    driver->host = host;
    driver->config = *config;
    driver->name = mem_strdup(name);
    driver->coord = grp_new(config, seed);
    driver->offset_load = -1;
    driver->epoch_seen = -1;
    driver->timer_at_ms = -1;
    list_init(&driver->parked);
    list_init(&driver->timely);
    list_init(&driver->results);
    list_init(&driver->deleted);
    grp_out_init(&driver->out);
    turn(driver, &(struct grp_event){.kind = GRP_EV_UNLOAD});
    return driver;
}

void grp_driver_free(struct grp_driver *driver)
{
    if (driver == NULL) {
        return;
    }
    (void)grp_driver_unload(driver, -1);
    grp_free(driver->coord);
    grp_out_fini(&driver->out);
    mem_free(driver->name);
    mem_free(driver);
}

bool grp_driver_unload(struct grp_driver *driver, int32_t epoch)
{
    if (epoch >= 0 && epoch < driver->epoch_seen) {
        return false;
    }
    driver->epoch_seen = epoch > driver->epoch_seen ? epoch : driver->epoch_seen;
    driver->lost = true;
    if (!driver->busy) {
        turn(driver, NULL);
    }
    return true;
}

bool grp_driver_active(const struct grp_driver *driver)
{
    return driver->active;
}

struct grp_coord *grp_driver_coord(struct grp_driver *driver)
{
    return driver->coord;
}

/* ---- loading ---- */

bool grp_driver_load_begin(struct grp_driver *driver, int32_t epoch)
{
    must(!driver->busy);
    if (epoch < driver->epoch_seen || driver->owned) {
        return false;
    }
    driver->epoch_seen = epoch;
    driver->owned = true;
    driver->offset_hw = 0;
    grp_reload(driver->coord);
    log_debug(LOGGER, "loading group metadata", "tp=%s epoch=%d", driver->name, epoch);
    return true;
}

static void load_record(struct grp_driver *driver, const struct record *record,
                        const struct batch_header *header)
{
    bool transactional = header->magic == 2 && batch_is_transactional(header);
    struct grp_event event = {.kind = GRP_EV_RECORD};
    event.record = (struct grp_record_event){
        .key = record->key,
        .value = record->value,
        .base_offset = header->magic == 2 ? header->base_offset : record->offset,
        .producer_id = transactional ? header->producer_id : -1,
    };
    step(driver, &event);
}

static enum err load_marker(struct grp_driver *driver, struct bytes batch,
                            const struct batch_header *header)
{
    struct record_marker marker;
    enum err err = record_read_marker(batch, &marker);
    if (err == ERR_OK) {
        struct grp_event event = {.kind = GRP_EV_TXN_MARKER};
        event.txn_marker = (struct grp_txn_marker){.producer_id = header->producer_id,
                                                   .commit = marker.type == CONTROL_COMMIT};
        step(driver, &event);
    }
    return err == ERR_NOT_FOUND ? ERR_OK : err;
}

static enum err load_records(struct grp_driver *driver, struct bytes batch,
                             const struct batch_header *header, struct buf *inflated)
{
    struct record record;
    if (header->magic < 2) {
        struct msgset_iter it;
        msgset_iter_init(&it, batch, LOAD_INFLATED_MAX, inflated);
        while (msgset_iter_next(&it, &record)) {
            load_record(driver, &record, header);
        }
        return msgset_iter_end(&it);
    }
    if (batch_is_control(header)) {
        return load_marker(driver, batch, header);
    }
    struct record_iter it;
    enum err err = record_iter_init(&it, batch, LOAD_INFLATED_MAX, inflated);
    while (err == ERR_OK && record_iter_next(&it, &record)) {
        load_record(driver, &record, header);
    }
    return err == ERR_OK ? record_iter_end(&it) : err;
}

enum err grp_driver_load_batch(struct grp_driver *driver, struct bytes batches)
{
    must(driver->owned);
    must(!driver->active);
    must(driver->offset_load < 0);
    must(!driver->busy);
    enum err result = ERR_OK;
    struct buf inflated = {0};
    while (batches.size > 0) {
        struct batch_header header;
        enum err err = entry_read_header(batches, &header);
        if (err != ERR_OK || batch_size_bytes(&header) > batches.size) {
            log_error(LOGGER, "stopped at bytes that are no record batch", "tp=%s size=%zu",
                      driver->name, batches.size);
            result = ERR_CORRUPT;
            break;
        }
        struct bytes batch = {batches.data, batch_size_bytes(&header)};
        err = load_records(driver, batch, &header, &inflated);
        if (err != ERR_OK) {
            log_error(LOGGER, "skipped records that cannot be read", "tp=%s offset=%lld error=%s",
                      driver->name, (long long)header.base_offset, err_name(err));
            result = ERR_CORRUPT;
        }
        batches.data += batch.size;
        batches.size -= batch.size;
    }
    buf_fini(&inflated);
    return result;
}

void grp_driver_load_done(struct grp_driver *driver, int64_t offset_end)
{
    must(driver->owned);
    must(!driver->active);
    must(driver->offset_load < 0);
    must(offset_end >= 0);
    driver->offset_load = offset_end;
    turn(driver, NULL);
    size_t groups_count = grp_group_count(driver->coord);
    driver->waits = groups_count > 0 && !driver->active;
    if (driver->waits) {
        log_info(LOGGER, "groups wait until what was loaded is committed",
                 "tp=%s groups=%zu offset_end=%lld offset_hw=%lld", driver->name, groups_count,
                 (long long)offset_end, (long long)driver->offset_hw);
    }
}
