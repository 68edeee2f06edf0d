/* ctl_states_io.c: writes states of partitions, those of one step together: a multi of hundreds
 * costs ZooKeeper hardly more than a multi of one, and is one answer instead of hundreds.
 *
 * All of a multi happens or nothing. When one of the states was not what we believed, each is
 * written by itself, so that it alone is refused. */
#include "base/log.h"
#include "base/mem.h"
#include "base/must.h"
#include "controller/ctl_io.h"
#include "znode/path.h"

enum {
    STATES_MAX = 500,             /* of a multi, */
    STATES_BYTES_MAX = 128 << 10, /* so that it stays far below ZooKeeper's packet limit of 1 MiB */
    STATE_OVERHEAD = 128,         /* bytes around a path and its data, at most */
};

struct state_write {
    uint64_t cmd_id;
    const char *path;
    struct bytes data;
    int32_t version;
};

/* A multi, being gathered or under way. */
struct ctl_states_write {
    struct list link;
    struct ctl_io *io;
    struct arena arena;
    struct state_write *items;
    int32_t count;
    int32_t capacity;
    size_t size_bytes;
};

static struct ctl_states_write *write_new(struct ctl_io *io)
{
    struct ctl_states_write *write = mem_new(struct ctl_states_write);
    write->io = io;
    list_push_back(&io->states_writes, &write->link);
    return write;
}

static void write_free(struct ctl_states_write *write)
{
    list_remove(&write->link);
    arena_fini(&write->arena);
    mem_free(write->items);
    mem_free(write);
}

static void write_add(struct ctl_states_write *write, struct state_write item)
{
    if (write->count == write->capacity) {
        write->capacity = write->capacity > 0 ? write->capacity * 2 : 1;
        write->items = mem_realloc(write->items, (size_t)write->capacity * sizeof(write->items[0]));
    }
    write->items[write->count++] = item;
}

/* Report and end it. `result` NULL: all failed with `err`. */
static void write_finish(struct ctl_states_write *write, enum err err,
                         const struct zk_result *result)
{
    struct ctl_io *io = write->io;
    struct ctl_wrote *items = arena_array(&write->arena, struct ctl_wrote, (size_t)write->count);
    for (int32_t i = 0; i < write->count; i++) {
        int32_t version = result != NULL ? result->results[i + 1].stat.version : -1;
        items[i] = (struct ctl_wrote){write->items[i].cmd_id, err, version};
    }
    struct ctl_event event = {.kind = CTL_EV_WROTE_MANY};
    event.u.wrote_many.items = items;
    event.u.wrote_many.count = write->count;
    list_remove(&write->link); /* what the event causes may end the reign, and all writes */
    io->on_event(io, &event);
    list_init(&write->link);
    write_free(write);
}

static void write_send(struct ctl_states_write *write);

static void send_one_by_one(struct ctl_states_write *write)
{
    for (int32_t i = 0; i < write->count; i++) {
        const struct state_write *from = &write->items[i];
        struct ctl_states_write *one = write_new(write->io);
        struct str data = {(const char *)from->data.data, from->data.size};
        struct str copy = arena_str(&one->arena, data);
        struct state_write item = *from;
        item.path = arena_cstr(&one->arena, str_of(from->path));
        item.data = (struct bytes){(const uint8_t *)copy.ptr, copy.size};
        write_add(one, item);
        write_send(one);
    }
    write_free(write);
}

static void on_states_wrote(void *arg, const struct zk_result *result, bool repeated)
{
    struct ctl_states_write *write = arg;
    enum err err = ctl_io_write_err(result);
    bool judged = err != ERR_OK && err != ERR_CONTROLLER_MOVED && result->results_count > 0;
    (void)repeated; /* its own earlier success looks like somebody else's: each is read again */
    if (judged && write->count > 1) {
        send_one_by_one(write);
    } else {
        write_finish(write, err, err == ERR_OK ? result : NULL);
    }
}

static void write_send(struct ctl_states_write *write)
{
    struct ctl_io *io = write->io;
    struct zk_op *ops = mem_zalloc((size_t)write->count + 1, sizeof(*ops));
    ops[0] = ctl_io_fence(io);
    for (int32_t i = 0; i < write->count; i++) {
        const struct state_write *item = &write->items[i];
        ops[i + 1] = (struct zk_op){ZK_OP_SET, item->path, item->data, item->version, 0};
    }
    zk_calls_multi(&io->calls, ops, write->count + 1, on_states_wrote, write);
    mem_free(ops);
}

void ctl_io_gather_state(struct ctl_io *io, const struct ctl_cmd *cmd)
{
    struct buf data = {0};
    if (io->gathered == NULL) {
        io->gathered = write_new(io);
    }
    struct ctl_states_write *write = io->gathered;
    znode_state_encode(&cmd->state, &data);
    struct str copy = arena_str(&write->arena, (struct str){(const char *)data.data, data.size});
    const char *path = path_partition_state(&write->arena, cmd->topic, cmd->partition);
    struct bytes kept = {(const uint8_t *)copy.ptr, copy.size};
    write_add(write, (struct state_write){cmd->id, path, kept, cmd->version});
    write->size_bytes += strlen(path) + data.size + STATE_OVERHEAD;
    buf_fini(&data);
    if (write->count == STATES_MAX || write->size_bytes >= STATES_BYTES_MAX) {
        ctl_io_flush(io);
    }
}

void ctl_io_flush(struct ctl_io *io)
{
    struct ctl_states_write *write = io->gathered;
    if (write != NULL) {
        io->gathered = NULL;
        write_send(write);
    }
}

void ctl_io_drop_states(struct ctl_io *io)
{
    io->gathered = NULL;
    while (!list_empty(&io->states_writes)) {
        write_free(container_of(io->states_writes.next, struct ctl_states_write, link));
    }
}
