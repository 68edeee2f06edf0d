#include "admin/producer_ids.h"

#include "base/log.h"
#include "base/mem.h"
#include "base/must.h"

#define LOGGER "kafka.coordinator.transaction.ProducerIdManager"

struct producer_ids {
    struct admin *admin;
    int32_t broker_id;
    int64_t next;
    int64_t end;
    bool asking;
    bool freed; /* a block is still on its way */
    struct list waiters;
};

struct producer_ids *producer_ids_new(struct admin *admin, int32_t broker_id)
{
    struct producer_ids *ids = mem_new(struct producer_ids);
    ids->admin = admin;
    ids->broker_id = broker_id;
    list_init(&ids->waiters);
    return ids;
}

static void fail_waiters(struct producer_ids *ids, enum err err)
{
    struct list *link;
    while ((link = list_pop_front(&ids->waiters)) != NULL) {
        struct producer_ids_waiter *waiter = container_of(link, struct producer_ids_waiter, link);
        waiter->done(waiter, err, -1);
    }
}

void producer_ids_free(struct producer_ids *ids)
{
    fail_waiters(ids, ERR_COORDINATOR_NOT_AVAILABLE);
    ids->freed = true;
    if (!ids->asking) {
        mem_free(ids);
    }
}

static void on_block(void *arg, enum err err, int64_t first, int64_t count);

static void serve(struct producer_ids *ids)
{
    while (!list_empty(&ids->waiters) && ids->next < ids->end) {
        struct list *link = list_pop_front(&ids->waiters);
        struct producer_ids_waiter *waiter = container_of(link, struct producer_ids_waiter, link);
        waiter->done(waiter, ERR_OK, ids->next++);
    }
    if (!list_empty(&ids->waiters) && !ids->asking) {
        ids->asking = true;
        admin_allocate_producer_ids(ids->admin, ids->broker_id, on_block, ids);
    }
}

static void on_block(void *arg, enum err err, int64_t first, int64_t count)
{
    struct producer_ids *ids = arg;
    ids->asking = false;
    if (ids->freed) {
        mem_free(ids);
        return;
    }
    if (err != ERR_OK) {
        log_warn(LOGGER, "no block of producer ids", "error=%s", err_text(err));
        fail_waiters(ids, ERR_COORDINATOR_LOAD_IN_PROGRESS);
        return;
    }
    must(first >= 0);
    must(count > 0);
    ids->next = first;
    ids->end = first + count;
    log_info(LOGGER, "new block of producer ids", "first=%lld count=%lld", (long long)first,
             (long long)count);
    serve(ids);
}

void producer_ids_take(struct producer_ids *ids, struct producer_ids_waiter *waiter)
{
    list_push_back(&ids->waiters, &waiter->link);
    serve(ids);
}
