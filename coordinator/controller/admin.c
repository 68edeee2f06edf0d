#include "controller/admin.h"

#include "base/log.h"
#include "base/mem.h"
#include "base/must.h"
#include "zk/zk_calls.h"
#include "znode/path.h"

static const char logger[] = "kafka.zk.AdminZkClient";

struct admin {
    struct loop *loop;
    struct zk_calls calls;
    struct list ops; /* under way */
};

/* One operation; which of the callbacks is set says of what kind its result is. */
struct op {
    struct list link;
    struct admin *admin;
    struct arena arena; /* copies of the arguments */
    admin_done_fn *done;
    admin_config_fn *config_fn;
    admin_configs_fn *configs_fn;
    admin_names_fn *names_fn;
    admin_topic_fn *topic_fn;
    admin_producer_ids_fn *producer_ids_fn;
    void *arg;
    const char *path;
    struct str name;
    /* create_topic */
    struct uuid topic_id;
    struct bytes topic_data;
    bool config_exists;
    /* delete_topic */
    int64_t topic_czxid; /* that we tried to mark; 0: none yet */
    /* create_partitions */
    int32_t count_before;
    struct znode_ids *replicas;
    int32_t added_count;
    /* write_config, create_topic */
    struct bytes config_data;
    struct str entity_path;
    int32_t version;
    bool list_made; /* of notifications, or of what is to be deleted */
    /* read_configs */
    struct admin_entity *entities;
    int32_t entities_count;
    int32_t waiting;
    enum err err; /* of one that was not read */
    /* allocate_producer_ids, report_dir_failure */
    int32_t broker_id;
    /* allocate_producer_ids */
    int64_t first;
};

static struct op *op_new(struct admin *admin, void *arg)
{
    loop_assert_here(admin->loop);
    struct op *op = mem_new(struct op);
    op->admin = admin;
    op->arg = arg;
    list_push_back(&admin->ops, &op->link);
    return op;
}

static void op_free(struct op *op)
{
    list_remove(&op->link);
    arena_fini(&op->arena);
    mem_free(op);
}

/* End it with an error, whatever its kind. */
static void op_fail(struct op *op, enum err err, const char *text)
{
    list_remove(&op->link);
    if (op->done != NULL) {
        op->done(op->arg, err, text);
    } else if (op->config_fn != NULL) {
        op->config_fn(op->arg, err, NULL, -1);
    } else if (op->configs_fn != NULL) {
        op->configs_fn(op->arg, err, NULL, 0);
    } else if (op->names_fn != NULL) {
        op->names_fn(op->arg, err, NULL, 0);
    } else if (op->topic_fn != NULL) {
        op->topic_fn(op->arg, err, NULL);
    } else {
        op->producer_ids_fn(op->arg, err, -1, 0);
    }
    list_init(&op->link);
    op_free(op);
}

static void op_done(struct op *op)
{
    list_remove(&op->link);
    op->done(op->arg, ERR_OK, "");
    list_init(&op->link);
    op_free(op);
}

static struct bytes keep(struct op *op, const struct buf *buf)
{
    struct str copy = arena_str(&op->arena, (struct str){(const char *)buf->data, buf->size});
    return (struct bytes){(const uint8_t *)copy.ptr, copy.size};
}

static struct bytes encode_config(struct op *op, const struct znode_config *config)
{
    struct buf data = {0};
    znode_config_encode(config, &data);
    struct bytes kept = keep(op, &data);
    buf_fini(&data);
    return kept;
}

/* ---- Creating a topic. */

static void create_topic(struct op *op);

/* Is the topic that exists the one that a lost attempt of ours made? */
static void on_existing_topic(void *arg, const struct zk_result *result, bool repeated)
{
    struct op *op = arg;
    struct znode_topic topic;
    (void)repeated;
    if (result->err == ERR_OK &&
        znode_topic_decode(&op->arena, result->data, &topic, NULL) == ERR_OK &&
        uuid_eq(topic.id, op->topic_id)) {
        op_done(op);
    } else if (result->err == ERR_NOT_FOUND) {
        create_topic(op);
    } else if (result->err != ERR_OK) {
        op_fail(op, result->err, "ZooKeeper cannot be read."); /* whose it is, nobody knows */
    } else {
        op_fail(op, ERR_TOPIC_ALREADY_EXISTS,
                arena_printf(&op->arena, "Topic '%.*s' already exists.", STR_ARG(op->name)));
    }
}

/* Steps: 0 the configuration, 1 the topic. */
static void on_topic_created(void *arg, const struct zk_result *result, bool repeated)
{
    struct op *op = arg;
    enum err config_err = result->results_count == 2 ? result->results[0].err : ERR_OK;
    if (result->err == ERR_OK) {
        op_done(op);
    } else if (config_err == ERR_EXISTS && !repeated) {
        op->config_exists = true; /* left over, or made before its topic by an older tool */
        create_topic(op);
    } else if (config_err == ERR_NOT_FOUND && op->config_exists) {
        op->config_exists = false;
        create_topic(op);
    } else if (result->err == ERR_EXISTS) {
        /* Ours, when an attempt was lost; then its configuration is there as well. */
        op->config_exists = true;
        zk_calls_get(&op->admin->calls, op->path, false, on_existing_topic, op);
    } else {
        op_fail(op, result->err, "ZooKeeper refused the new topic.");
    }
}

static void create_topic(struct op *op)
{
    char *config = path_config(&op->arena, "topics", op->name);
    struct zk_op ops[] = {
        {op->config_exists ? ZK_OP_SET : ZK_OP_CREATE, config, op->config_data, -1, ZK_PERSISTENT},
        {ZK_OP_CREATE, op->path, op->topic_data, 0, ZK_PERSISTENT},
    };
    zk_calls_multi(&op->admin->calls, ops, 2, on_topic_created, op);
}

static void on_mark_looked(void *arg, const struct zk_result *result, bool repeated)
{
    struct op *op = arg;
    (void)repeated;
    if (result->err == ERR_NOT_FOUND) {
        create_topic(op);
    } else if (result->err == ERR_OK) {
        op_fail(
            op, ERR_TOPIC_ALREADY_EXISTS,
            arena_printf(&op->arena, "Topic '%.*s' is marked for deletion.", STR_ARG(op->name)));
    } else {
        op_fail(op, result->err, "ZooKeeper cannot be read.");
    }
}

void admin_create_topic(struct admin *admin, const struct admin_topic *topic, admin_done_fn *fn,
                        void *arg)
{
    struct op *op = op_new(admin, arg);
    struct buf data = {0};
    struct znode_topic node = {topic->id, topic->partitions, topic->partitions_count};
    must(!uuid_is_zero(topic->id)); /* by it a lost attempt is recognised */
    znode_topic_encode(&node, &data);
    op->done = fn;
    op->name = arena_str(&op->arena, topic->name);
    op->path = path_topic(&op->arena, topic->name);
    op->topic_id = topic->id;
    op->topic_data = keep(op, &data);
    op->config_data = encode_config(op, &topic->config);
    buf_fini(&data);
    zk_calls_exists(&admin->calls, path_delete_topic(&op->arena, topic->name), false,
                    on_mark_looked, op);
}

/* ---- Deleting a topic. */

static void look_and_mark(struct op *op);

static void on_marks_made(void *arg, const struct zk_result *result, bool repeated)
{
    (void)result, (void)repeated; /* if it failed, so does what belongs below it */
    look_and_mark(arg);
}

static void on_admin_made(void *arg, const struct zk_result *result, bool repeated)
{
    struct op *op = arg;
    (void)result, (void)repeated;
    zk_calls_create(&op->admin->calls, PATH_DELETE_TOPICS, (struct bytes){NULL, 0}, ZK_PERSISTENT,
                    on_marks_made, op);
}

static void on_marked(void *arg, const struct zk_result *result, bool repeated)
{
    struct op *op = arg;
    (void)repeated;
    if (result->err == ERR_OK || result->err == ERR_EXISTS) {
        op_done(op);
    } else if (result->err == ERR_ZK_CONNECTION_LOSS) {
        look_and_mark(op);
    } else if (result->err == ERR_NOT_FOUND && !op->list_made) {
        op->list_made = true; /* somebody removed it since we started */
        zk_calls_create(&op->admin->calls, "/admin", (struct bytes){NULL, 0}, ZK_PERSISTENT,
                        on_admin_made, op);
    } else {
        op_fail(op, result->err, "ZooKeeper refused the deletion.");
    }
}

static void on_topic_to_delete(void *arg, const struct zk_result *result, bool repeated)
{
    struct op *op = arg;
    bool tried = op->topic_czxid != 0;
    bool gone = result->err == ERR_NOT_FOUND ||
                (result->err == ERR_OK && result->stat.czxid != op->topic_czxid);
    (void)repeated;
    if (tried && gone) {
        op_done(op); /* by a lost attempt of ours; another topic of that name is not meant */
    } else if (result->err == ERR_OK) {
        const char *mark = path_delete_topic(&op->arena, op->name);
        struct zk_op make = {ZK_OP_CREATE, mark, {NULL, 0}, 0, ZK_PERSISTENT};
        op->topic_czxid = result->stat.czxid;
        zk_calls_once(&op->admin->calls, &make, on_marked, op);
    } else {
        op_fail(op, result->err == ERR_NOT_FOUND ? ERR_UNKNOWN_TOPIC_OR_PARTITION : result->err,
                "This server does not host this topic-partition.");
    }
}

static void look_and_mark(struct op *op)
{
    zk_calls_exists(&op->admin->calls, path_topic(&op->arena, op->name), false, on_topic_to_delete,
                    op);
}

void admin_delete_topic(struct admin *admin, struct str topic, admin_done_fn *fn, void *arg)
{
    struct op *op = op_new(admin, arg);
    op->done = fn;
    op->name = arena_str(&op->arena, topic);
    look_and_mark(op);
}

/* ---- A log directory failed: a notification, which the controller reads and removes. */

static void tell_dir_failure(struct op *op);

static void on_dir_failures_made(void *arg, const struct zk_result *result, bool repeated)
{
    (void)result, (void)repeated; /* if it failed, so does what belongs below it */
    tell_dir_failure(arg);
}

static void on_dir_failure_told(void *arg, const struct zk_result *result, bool repeated)
{
    struct op *op = arg;
    (void)repeated;
    if (result->err == ERR_OK) {
        op_done(op);
    } else if (result->err == ERR_NOT_FOUND && !op->list_made) {
        op->list_made = true; /* somebody removed it since we started */
        zk_calls_create(&op->admin->calls, PATH_LOG_DIR_EVENTS, (struct bytes){NULL, 0},
                        ZK_PERSISTENT, on_dir_failures_made, op);
    } else {
        op_fail(op, result->err, "ZooKeeper refused the notification.");
    }
}

static void tell_dir_failure(struct op *op)
{
    struct buf data = {0};
    znode_log_dir_event_encode(op->broker_id, &data);
    zk_calls_create(&op->admin->calls, PATH_LOG_DIR_EVENTS "/log_dir_event_",
                    (struct bytes){data.data, data.size}, ZK_PERSISTENT | ZK_SEQUENCE,
                    on_dir_failure_told, op);
    buf_fini(&data);
}

void admin_report_dir_failure(struct admin *admin, int32_t broker_id, admin_done_fn *fn, void *arg)
{
    struct op *op = op_new(admin, arg);
    op->done = fn;
    op->broker_id = broker_id;
    tell_dir_failure(op);
}

/* ---- Adding partitions: read the topic, write it back longer. */

static void on_topic_to_grow(void *arg, const struct zk_result *result, bool repeated);

static void on_grown(void *arg, const struct zk_result *result, bool repeated)
{
    struct op *op = arg;
    if (result->err == ERR_OK) {
        op_done(op);
    } else if (result->err == ERR_ZK_BAD_VERSION) {
        /* Somebody else changed it; or our own lost attempt did, which the next reading shows. */
        op->version = repeated ? 1 : 0;
        zk_calls_get(&op->admin->calls, op->path, false, on_topic_to_grow, op);
    } else {
        op_fail(op, result->err == ERR_NOT_FOUND ? ERR_UNKNOWN_TOPIC_OR_PARTITION : result->err,
                "ZooKeeper refused the new partitions.");
    }
}

static bool same_ids(struct znode_ids a, struct znode_ids b)
{
    return a.count == b.count &&
           (a.count == 0 || memcmp(a.ids, b.ids, (size_t)a.count * sizeof(*a.ids)) == 0);
}

/* Does the topic have exactly the partitions that we were to add, behind those from before? */
static bool grown_by_us(const struct op *op, const struct znode_topic *topic)
{
    if (topic->partitions_count != op->count_before + op->added_count) {
        return false;
    }
    for (int32_t i = 0; i < op->added_count; i++) {
        if (!same_ids(topic->partitions[op->count_before + i].replicas, op->replicas[i])) {
            return false;
        }
    }
    return true;
}

static bool being_reassigned(const struct znode_topic *topic)
{
    for (int32_t i = 0; i < topic->partitions_count; i++) {
        if (topic->partitions[i].adding.count + topic->partitions[i].removing.count > 0) {
            return true;
        }
    }
    return false;
}

static void write_grown(struct op *op, const struct znode_topic *topic, int32_t version)
{
    int32_t count = op->count_before + op->added_count;
    struct znode_partition *partitions =
        arena_array(&op->arena, struct znode_partition, (size_t)count);
    struct buf data = {0};
    for (int32_t i = 0; i < count; i++) {
        if (i < op->count_before) {
            partitions[i] = topic->partitions[i];
        } else {
            partitions[i].index = i;
            partitions[i].replicas = op->replicas[i - op->count_before];
        }
    }
    znode_topic_encode(&(struct znode_topic){topic->id, partitions, count}, &data);
    zk_calls_set(&op->admin->calls, op->path, (struct bytes){data.data, data.size}, version,
                 on_grown, op);
    buf_fini(&data);
}

static void on_topic_to_grow(void *arg, const struct zk_result *result, bool repeated)
{
    struct op *op = arg;
    struct znode_topic topic;
    struct errmsg msg;
    (void)repeated;
    if (result->err != ERR_OK) {
        op_fail(op, result->err == ERR_NOT_FOUND ? ERR_UNKNOWN_TOPIC_OR_PARTITION : result->err,
                arena_printf(&op->arena, "The topic '%.*s' does not exist.", STR_ARG(op->name)));
    } else if (znode_topic_decode(&op->arena, result->data, &topic, &msg) != ERR_OK) {
        op_fail(op, ERR_UNKNOWN_SERVER_ERROR, msg.text);
    } else if (op->version == 1 && grown_by_us(op, &topic)) {
        op_done(op);
    } else if (being_reassigned(&topic)) {
        op_fail(op, ERR_REASSIGNMENT_IN_PROGRESS, "A partition of the topic is being reassigned.");
    } else if (topic.partitions_count != op->count_before) {
        op_fail(op, ERR_INVALID_PARTITIONS,
                arena_printf(&op->arena, "Topic currently has %d partitions, not %d.",
                             topic.partitions_count, op->count_before));
    } else {
        write_grown(op, &topic, result->stat.version);
    }
}

static void on_mark_before_growth(void *arg, const struct zk_result *result, bool repeated)
{
    struct op *op = arg;
    (void)repeated;
    if (result->err == ERR_OK) {
        op_fail(op, ERR_INVALID_TOPIC_EXCEPTION, "The topic is queued for deletion.");
    } else if (result->err == ERR_NOT_FOUND) {
        zk_calls_get(&op->admin->calls, op->path, false, on_topic_to_grow, op);
    } else {
        op_fail(op, result->err, "ZooKeeper cannot be read.");
    }
}

void admin_create_partitions(struct admin *admin, struct str topic, int32_t count_before,
                             const struct znode_ids *replicas, int32_t added_count,
                             admin_done_fn *fn, void *arg)
{
    struct op *op = op_new(admin, arg);
    must(added_count > 0 && count_before >= 0);
    op->done = fn;
    op->name = arena_str(&op->arena, topic);
    op->path = path_topic(&op->arena, topic);
    op->count_before = count_before;
    op->added_count = added_count;
    op->replicas = arena_array(&op->arena, struct znode_ids, (size_t)added_count);
    for (int32_t i = 0; i < added_count; i++) {
        int32_t *ids = arena_array(&op->arena, int32_t, (size_t)replicas[i].count + 1);
        for (int32_t j = 0; j < replicas[i].count; j++) {
            ids[j] = replicas[i].ids[j];
        }
        op->replicas[i] = (struct znode_ids){ids, replicas[i].count};
    }
    zk_calls_exists(&admin->calls, path_delete_topic(&op->arena, topic), false,
                    on_mark_before_growth, op);
}

/* ---- Configurations. */

static void on_config(void *arg, const struct zk_result *result, bool repeated)
{
    struct op *op = arg;
    struct znode_config config = {0};
    struct errmsg msg;
    enum err err = result->err == ERR_NOT_FOUND ? ERR_OK : result->err;
    (void)repeated;
    if (result->err == ERR_OK) {
        err = znode_config_decode(&op->arena, result->data, &config, &msg);
    }
    if (err != ERR_OK) {
        op_fail(op, err, "");
        return;
    }
    list_remove(&op->link);
    op->config_fn(op->arg, ERR_OK, &config, result->err == ERR_OK ? result->stat.version : -1);
    list_init(&op->link);
    op_free(op);
}

void admin_read_config(struct admin *admin, const char *type, struct str name, admin_config_fn *fn,
                       void *arg)
{
    struct op *op = op_new(admin, arg);
    op->config_fn = fn;
    zk_calls_get(&admin->calls, path_config(&op->arena, type, name), false, on_config, op);
}

static void notify(struct op *op);

static void on_list_made(void *arg, const struct zk_result *result, bool repeated)
{
    (void)result, (void)repeated; /* if it failed, so does what belongs below it */
    notify(arg);
}

static void on_notified(void *arg, const struct zk_result *result, bool repeated)
{
    struct op *op = arg;
    (void)repeated; /* a second notification does no harm */
    if (result->err == ERR_OK) {
        op_done(op);
    } else if (result->err == ERR_NOT_FOUND && !op->list_made) {
        op->list_made = true; /* somebody removed it since we started */
        zk_calls_create(&op->admin->calls, PATH_CONFIG_CHANGES, (struct bytes){NULL, 0},
                        ZK_PERSISTENT, on_list_made, op);
    } else {
        op_fail(op, result->err, "The change was written, but brokers were not notified.");
    }
}

static void notify(struct op *op)
{
    struct buf data = {0};
    znode_config_change_encode(op->entity_path, &data);
    zk_calls_create(&op->admin->calls, PATH_CONFIG_CHANGES "/config_change_",
                    (struct bytes){data.data, data.size}, ZK_PERSISTENT | ZK_SEQUENCE, on_notified,
                    op);
    buf_fini(&data);
}

static bool same_bytes(struct bytes a, struct bytes b)
{
    return a.size == b.size && a.data != NULL && b.data != NULL &&
           memcmp(a.data, b.data, a.size) == 0;
}

/* After a repeated attempt that met another version: if what is there is what we wrote, it was us.
 */
static void on_config_compared(void *arg, const struct zk_result *result, bool repeated)
{
    struct op *op = arg;
    (void)repeated;
    if (result->err == ERR_OK && same_bytes(result->data, op->config_data)) {
        notify(op);
    } else {
        op_fail(op, ERR_ZK_BAD_VERSION, "The configuration was changed by somebody else.");
    }
}

static void write_config(struct op *op);

static void on_config_written(void *arg, const struct zk_result *result, bool repeated)
{
    struct op *op = arg;
    bool any = op->version == ADMIN_VERSION_ANY;
    /* Where it was to be made anew, what is missing is the place for it. */
    bool conflict = result->err == ERR_ZK_BAD_VERSION || result->err == ERR_EXISTS ||
                    (result->err == ERR_NOT_FOUND && op->config_exists);
    if (result->err == ERR_OK) {
        notify(op);
    } else if (any && conflict) {
        op->config_exists = result->err == ERR_EXISTS;
        write_config(op);
    } else if (conflict && repeated) {
        zk_calls_get(&op->admin->calls, op->path, false, on_config_compared, op);
    } else if (conflict) {
        op_fail(op, ERR_ZK_BAD_VERSION, "The configuration was changed by somebody else.");
    } else {
        op_fail(op, result->err, "ZooKeeper refused the configuration.");
    }
}

static void write_config(struct op *op)
{
    if (op->config_exists) {
        int32_t version = op->version == ADMIN_VERSION_ANY ? -1 : op->version;
        zk_calls_set(&op->admin->calls, op->path, op->config_data, version, on_config_written, op);
    } else {
        zk_calls_create(&op->admin->calls, op->path, op->config_data, ZK_PERSISTENT,
                        on_config_written, op);
    }
}

void admin_write_config(struct admin *admin, const char *type, struct str name,
                        const struct znode_config *config, int32_t version, admin_done_fn *fn,
                        void *arg)
{
    struct op *op = op_new(admin, arg);
    op->done = fn;
    op->path = path_config(&op->arena, type, name);
    op->entity_path = str_of(arena_printf(&op->arena, "%s/%.*s", type, STR_ARG(name)));
    op->config_data = encode_config(op, config);
    op->version = version;
    op->config_exists = version != -1;
    write_config(op);
}

struct entity_read {
    struct op *op;
    int32_t index;
};

static void configs_done(struct op *op)
{
    if (op->err != ERR_OK) {
        op_fail(op, op->err, "");
        return;
    }
    list_remove(&op->link);
    op->configs_fn(op->arg, ERR_OK, op->entities, op->entities_count);
    list_init(&op->link);
    op_free(op);
}

static void on_entity(void *arg, const struct zk_result *result, bool repeated)
{
    struct entity_read *read = arg;
    struct op *op = read->op;
    struct admin_entity *entity = &op->entities[read->index];
    struct errmsg msg;
    (void)repeated;
    if (result->err == ERR_OK &&
        znode_config_decode(&op->arena, result->data, &entity->config, &msg) != ERR_OK) {
        log_warn(logger, "a configuration cannot be read", "entity=%.*s reason=\"%s\"",
                 STR_ARG(entity->name), msg.text);
    }
    if (result->err != ERR_OK && result->err != ERR_NOT_FOUND) {
        op->err = result->err;
    }
    if (--op->waiting == 0) {
        configs_done(op);
    }
}

static void on_entity_names(void *arg, const struct zk_result *result, bool repeated)
{
    struct op *op = arg;
    (void)repeated;
    if (result->err != ERR_OK && result->err != ERR_NOT_FOUND) {
        op_fail(op, result->err, "");
        return;
    }
    op->entities_count = result->children_count;
    op->waiting = op->entities_count;
    op->entities = arena_array(&op->arena, struct admin_entity, (size_t)op->entities_count + 1);
    if (op->entities_count == 0) {
        configs_done(op);
        return;
    }
    for (int32_t i = 0, count = op->entities_count; i < count; i++) {
        struct entity_read *read = arena_new(&op->arena, struct entity_read);
        *read = (struct entity_read){op, i};
        op->entities[i].name = arena_str(&op->arena, result->children[i]);
        zk_calls_get(&op->admin->calls,
                     arena_printf(&op->arena, "%s/%.*s", op->path, STR_ARG(op->entities[i].name)),
                     false, on_entity, read);
    }
}

void admin_read_configs(struct admin *admin, const char *type, admin_configs_fn *fn, void *arg)
{
    struct op *op = op_new(admin, arg);
    op->configs_fn = fn;
    op->path = arena_printf(&op->arena, "%s/%s", PATH_CONFIG, type);
    zk_calls_children(&admin->calls, op->path, false, on_entity_names, op);
}

/* ---- Topics. */

static void on_topic_names(void *arg, const struct zk_result *result, bool repeated)
{
    struct op *op = arg;
    (void)repeated;
    if (result->err != ERR_OK && result->err != ERR_NOT_FOUND) {
        op_fail(op, result->err, "");
        return;
    }
    list_remove(&op->link);
    op->names_fn(op->arg, ERR_OK, result->children, result->children_count);
    list_init(&op->link);
    op_free(op);
}

void admin_read_topics(struct admin *admin, admin_names_fn *fn, void *arg)
{
    struct op *op = op_new(admin, arg);
    op->names_fn = fn;
    zk_calls_children(&admin->calls, PATH_TOPICS, false, on_topic_names, op);
}

static void on_topic(void *arg, const struct zk_result *result, bool repeated)
{
    struct op *op = arg;
    struct znode_topic topic;
    enum err err = result->err == ERR_NOT_FOUND ? ERR_UNKNOWN_TOPIC_OR_PARTITION : result->err;
    (void)repeated;
    if (err == ERR_OK) {
        err = znode_topic_decode(&op->arena, result->data, &topic, NULL);
    }
    if (err != ERR_OK) {
        op_fail(op, err, "");
        return;
    }
    list_remove(&op->link);
    op->topic_fn(op->arg, ERR_OK, &topic);
    list_init(&op->link);
    op_free(op);
}

void admin_read_topic(struct admin *admin, struct str topic, admin_topic_fn *fn, void *arg)
{
    struct op *op = op_new(admin, arg);
    op->topic_fn = fn;
    zk_calls_get(&admin->calls, path_topic(&op->arena, topic), false, on_topic, op);
}

/* ---- Producer ids. */

static void on_block(void *arg, const struct zk_result *result, bool repeated);

static void on_block_written(void *arg, const struct zk_result *result, bool repeated)
{
    struct op *op = arg;
    (void)repeated;
    if (result->err == ERR_OK) {
        list_remove(&op->link);
        op->producer_ids_fn(op->arg, ERR_OK, op->first, ADMIN_PRODUCER_BLOCK);
        list_init(&op->link);
        op_free(op);
    } else if (result->err == ERR_ZK_BAD_VERSION || result->err == ERR_EXISTS ||
               result->err == ERR_NOT_FOUND) {
        /* Somebody was faster; or a lost attempt of ours took a block, which is then nobody's. */
        zk_calls_get(&op->admin->calls, PATH_PRODUCER_ID_BLOCK, false, on_block, op);
    } else {
        op_fail(op, result->err, "");
    }
}

static void on_block(void *arg, const struct zk_result *result, bool repeated)
{
    struct op *op = arg;
    struct znode_producer_block block = {.last = -1};
    struct buf data = {0};
    struct errmsg msg;
    (void)repeated;
    if (result->err != ERR_OK && result->err != ERR_NOT_FOUND) {
        op_fail(op, result->err, "");
        return;
    }
    if (result->data.size > 0 &&
        znode_producer_block_decode(result->data, &block, &msg) != ERR_OK) {
        log_error(logger, "no producer ids can be allocated", "path=%s reason=\"%s\"",
                  PATH_PRODUCER_ID_BLOCK, msg.text);
        op_fail(op, ERR_UNKNOWN_SERVER_ERROR, msg.text);
        return;
    }
    if (block.last > INT64_MAX - ADMIN_PRODUCER_BLOCK - 1) {
        op_fail(op, ERR_UNKNOWN_SERVER_ERROR, "all producer ids are used up");
        return;
    }
    op->first = block.last + 1;
    znode_producer_block_encode(
        &(struct znode_producer_block){op->broker_id, op->first, block.last + ADMIN_PRODUCER_BLOCK},
        &data);
    struct bytes bytes = {data.data, data.size};
    if (result->err == ERR_NOT_FOUND) {
        zk_calls_create(&op->admin->calls, PATH_PRODUCER_ID_BLOCK, bytes, ZK_PERSISTENT,
                        on_block_written, op);
    } else {
        zk_calls_set(&op->admin->calls, PATH_PRODUCER_ID_BLOCK, bytes, result->stat.version,
                     on_block_written, op);
    }
    buf_fini(&data);
}

void admin_allocate_producer_ids(struct admin *admin, int32_t broker_id, admin_producer_ids_fn *fn,
                                 void *arg)
{
    struct op *op = op_new(admin, arg);
    op->producer_ids_fn = fn;
    op->broker_id = broker_id;
    zk_calls_get(&admin->calls, PATH_PRODUCER_ID_BLOCK, false, on_block, op);
}

/* ---- Life. */

struct admin *admin_new(struct loop *loop)
{
    struct admin *admin = mem_new(struct admin);
    admin->loop = loop;
    zk_calls_init(&admin->calls, loop);
    list_init(&admin->ops);
    return admin;
}

void admin_set_session(struct admin *admin, struct zk *zk)
{
    struct list under_way;
    zk_calls_set_session(&admin->calls, zk);
    list_init(&under_way);
    list_splice_back(&under_way, &admin->ops);
    while (!list_empty(&under_way)) {
        op_fail(container_of(under_way.next, struct op, link), ERR_ZK_SESSION_EXPIRED,
                "The ZooKeeper session ended.");
    }
}

void admin_free(struct admin *admin)
{
    if (admin != NULL) {
        admin_set_session(admin, NULL);
        zk_calls_fini(&admin->calls);
        mem_free(admin);
    }
}
