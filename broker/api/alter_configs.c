/* AlterConfigs and IncrementalAlterConfigs: the two forms of one thing. Each resource is read from
 * ZooKeeper, changed by the rules of config_alter.h, and written back if nobody was faster; all
 * brokers hear of it through /config/changes. Source: Kafka 3.9 in ZooKeeper mode. */
#include "admin/admin_service.h"
#include "api/broker.h"
#include "api/config_resource.h"
#include "api/control_call.h"
#include "api/handlers.h"
#include "api/names.h"
#include "base/log.h"
#include "base/must.h"
#include "config/config_alter.h"
#include "config/loggers.h"
#include "znode/path.h"

#define LOGGER "kafka.server.KafkaConfig"

/* Somebody else changed the same entity between our read and our write: how often to read again
 * before the client is told to. */
enum { RACES_MAX = 10 };

/* One resource, in either form of the request. */
struct target {
    int8_t type;
    struct str name;
    const struct config_change *changes;
    int32_t changes_count;
    bool settled; /* nothing is to be written, or no more */
    enum err err;
    const char *text; /* NULL: none */
};

/* The request on the control loop. */
struct alter {
    struct control_call call;
    struct admin *admin;
    struct target *targets;
    int32_t targets_count;
    int32_t at; /* under way */
    int races;
    bool replace;
    bool validate_only;
    bool over; /* the session ended */
};

/* ---- the answer ---- */

static struct str text_of(const struct target *target)
{
    return target->err == ERR_OK || target->text == NULL ? STR_NULL : str_of(target->text);
}

static void reply_legacy(struct alter *alter, struct req *req)
{
    struct alter_configs_response response;
    codec_init(&alter_configs_response_desc, &response);
    response.responses = req_array(
        req, struct alter_configs_response_alter_configs_resource_response, alter->targets_count);
    response.responses_count = alter->targets_count;
    for (int32_t i = 0; i < alter->targets_count; i++) {
        const struct target *target = &alter->targets[i];
        response.responses[i] = (struct alter_configs_response_alter_configs_resource_response){
            .error_code = err_wire(target->err),
            .error_message = text_of(target),
            .resource_type = target->type,
            .resource_name = target->name,
        };
    }
    req_reply(req, &response);
}

static void reply_incremental(struct alter *alter, struct req *req)
{
    struct incremental_alter_configs_response response;
    codec_init(&incremental_alter_configs_response_desc, &response);
    response.responses =
        req_array(req, struct incremental_alter_configs_response_alter_configs_resource_response,
                  alter->targets_count);
    response.responses_count = alter->targets_count;
    for (int32_t i = 0; i < alter->targets_count; i++) {
        const struct target *target = &alter->targets[i];
        response.responses[i] =
            (struct incremental_alter_configs_response_alter_configs_resource_response){
                .error_code = err_wire(target->err),
                .error_message = text_of(target),
                .resource_type = target->type,
                .resource_name = target->name,
            };
    }
    req_reply(req, &response);
}

static void on_done(struct control_call *call)
{
    struct alter *alter = container_of(call, struct alter, call);
    if (alter->replace) {
        reply_legacy(alter, call->req);
    } else {
        reply_incremental(alter, call->req);
    }
}

/* ---- one resource after the other, on the control loop ---- */

static void start_target(struct alter *alter);

static enum config_entity entity_of(const struct target *target)
{
    if (target->type != RESOURCE_BROKER) {
        return ENTITY_TOPIC;
    }
    return target->name.size == 0 ? ENTITY_ALL_BROKERS : ENTITY_BROKER;
}

static const char *type_path(const struct target *target)
{
    return target->type == RESOURCE_TOPIC ? "topics" : "brokers";
}

static struct str entity_name(struct alter *alter, const struct target *target)
{
    struct req *req = alter->call.req;
    switch (entity_of(target)) {
    case ENTITY_ALL_BROKERS:
        return str_of(PATH_DEFAULT_ENTITY);
    case ENTITY_BROKER: /* "01" is broker 1, too */
        return str_of(arena_printf(&req->arena, "%d", req->broker->id));
    case ENTITY_TOPIC:
        break;
    }
    return target->name;
}

static void finish_target(struct alter *alter, enum err err, const char *text)
{
    struct target *target = &alter->targets[alter->at];
    target->settled = true;
    alter->over = err == ERR_ZK_SESSION_EXPIRED;
    target->err = alter->over ? ERR_REQUEST_TIMED_OUT : err;
    if (err != ERR_OK && text != NULL && text[0] != '\0') {
        target->text = arena_printf(&alter->call.req->arena, "%s", text);
    }
    if (err == ERR_OK && !alter->validate_only) {
        log_info(LOGGER, "configuration changed", "entity=%s/%.*s", type_path(target),
                 STR_ARG(entity_name(alter, target)));
    }
    alter->at++;
    alter->races = 0;
    start_target(alter);
}

static void on_written(void *arg, enum err err, const char *text)
{
    struct alter *alter = arg;
    if (err == ERR_ZK_BAD_VERSION && alter->races < RACES_MAX) {
        alter->races++;
        start_target(alter);
        return;
    }
    finish_target(alter, err, text);
}

static void set_of(struct arena *arena, const struct znode_config *config, struct config_set *out)
{
    out->count = config->pairs_count;
    out->pairs = arena_array(arena, struct config_pair, (size_t)config->pairs_count);
    for (int32_t i = 0; i < config->pairs_count; i++) {
        out->pairs[i] = (struct config_pair){
            arena_cstr(arena, config->pairs[i].key),
            arena_cstr(arena, config->pairs[i].value),
        };
    }
}

static struct znode_config znode_of(struct arena *arena, const struct config_set *set)
{
    struct znode_pair *pairs = arena_array(arena, struct znode_pair, (size_t)set->count);
    for (int32_t i = 0; i < set->count; i++) {
        pairs[i] = (struct znode_pair){str_of(set->pairs[i].name), str_of(set->pairs[i].value)};
    }
    return (struct znode_config){.pairs = pairs, .pairs_count = set->count};
}

static void on_read(void *arg, enum err err, const struct znode_config *config, int32_t version)
{
    struct alter *alter = arg;
    struct arena *arena = &alter->call.req->arena;
    const struct target *target = &alter->targets[alter->at];
    struct errmsg msg = {""};
    struct config_set now;
    struct config_set next;
    if (err != ERR_OK) {
        finish_target(alter, err, "ZooKeeper could not be asked; try again.");
        return;
    }
    set_of(arena, config, &now);
    const struct config *defaults = config_cell_get(alter->call.req->broker->config);
    err = config_alter(arena, entity_of(target), defaults, &now, target->changes,
                       target->changes_count, alter->replace, &next, &msg);
    config_put(defaults);
    if (err != ERR_OK || alter->validate_only) {
        finish_target(alter, err, msg.text);
        return;
    }
    struct znode_config written = znode_of(arena, &next);
    admin_write_config(alter->admin, type_path(target), entity_name(alter, target), &written,
                       version, on_written, alter);
}

static void start_target(struct alter *alter)
{
    while (alter->at < alter->targets_count && (alter->over || alter->targets[alter->at].settled)) {
        struct target *skipped = &alter->targets[alter->at++];
        skipped->err = skipped->settled ? skipped->err : ERR_REQUEST_TIMED_OUT;
    }
    if (alter->at == alter->targets_count) {
        control_call_finish(&alter->call);
        return;
    }
    const struct target *target = &alter->targets[alter->at];
    admin_read_config(alter->admin, type_path(target), entity_name(alter, target), on_read, alter);
}

static void on_control(struct control_call *call)
{
    struct alter *alter = container_of(call, struct alter, call);
    alter->admin = admin_service_admin(call->req->broker->admin);
    start_target(alter);
}

/* ---- from the request ---- */

/* Levels live in this broker's memory alone, so they change here and now. */
static enum err alter_loggers(struct req *req, const struct alter *alter,
                              const struct target *target, struct errmsg *msg)
{
    enum err err = config_resource_broker(req->broker, target->name, false, msg);
    for (int32_t i = 0; err == ERR_OK && i < target->changes_count; i++) {
        err = loggers_check(&target->changes[i], msg);
    }
    for (int32_t i = 0; err == ERR_OK && !alter->validate_only && i < target->changes_count; i++) {
        err = loggers_apply(&target->changes[i]);
    }
    return err;
}

static enum err check_resource(struct req *req, struct alter *alter, struct target *target,
                               struct errmsg *msg)
{
    switch (target->type) {
    case RESOURCE_TOPIC:
        if (target->name.size == 0) {
            errmsg_set(msg, "Default topic resources are not allowed.");
            return ERR_INVALID_REQUEST;
        }
        return config_resource_topic(meta_reader_now(&req->netloop->meta), target->name, msg);
    case RESOURCE_BROKER:
        return config_resource_broker(req->broker, target->name, true, msg);
    case RESOURCE_BROKER_LOGGER:
        if (alter->replace) { /* only the incremental form knows loggers */
            break;
        }
        target->settled = true;
        return alter_loggers(req, alter, target, msg);
    case RESOURCE_CLIENT_METRICS:
        errmsg_set(msg, "AlterConfigs is only supported for topics and brokers, but resource type "
                        "is CLIENT_METRICS");
        return ERR_INVALID_REQUEST;
    default:
        break;
    }
    errmsg_set(msg, "Unknown resource type %d", target->type);
    return ERR_INVALID_REQUEST;
}

static void check_target(struct req *req, struct alter *alter, struct target *target)
{
    struct errmsg msg = {""};
    target->err = config_alter_check(target->changes, target->changes_count, &msg);
    if (target->err == ERR_OK) {
        target->err = check_resource(req, alter, target, &msg);
    }
    if (target->err != ERR_OK) {
        target->settled = true;
        target->text = arena_printf(&req->arena, "%s", msg.text);
    }
}

static struct alter *alter_new(struct req *req, int32_t count, bool replace, bool validate_only)
{
    struct alter *alter = req_new(req, struct alter);
    alter->targets = req_array(req, struct target, count);
    alter->targets_count = count;
    alter->replace = replace;
    alter->validate_only = validate_only;
    return alter;
}

/* Type and name in one text, to find those that are there twice. */
static const bool *repeated_targets(struct req *req, const struct alter *alter)
{
    struct str *names = req_array(req, struct str, alter->targets_count + 1);
    for (int32_t i = 0; i < alter->targets_count; i++) {
        names[i] = str_of(arena_printf(&req->arena, "%d %.*s", alter->targets[i].type,
                                       STR_ARG(alter->targets[i].name)));
    }
    return names_repeated(&req->arena, names, alter->targets_count);
}

static void alter_start(struct req *req, struct alter *alter)
{
    const bool *repeated = repeated_targets(req, alter);
    for (int32_t i = 0; i < alter->targets_count; i++) {
        struct target *target = &alter->targets[i];
        if (repeated[i]) {
            target->settled = true;
            target->err = ERR_INVALID_REQUEST;
            target->text = "Each resource must appear at most once.";
        } else {
            check_target(req, alter, target);
        }
    }
    control_call_start(&alter->call, req, on_control, on_done);
}

void api_alter_configs(struct req *req)
{
    const struct alter_configs_request *request = req->body;
    struct alter *alter = alter_new(req, request->resources_count, true, request->validate_only);
    for (int32_t i = 0; i < request->resources_count; i++) {
        const struct alter_configs_request_alter_configs_resource *from = &request->resources[i];
        struct config_change *changes = req_array(req, struct config_change, from->configs_count);
        for (int32_t c = 0; c < from->configs_count; c++) {
            changes[c] =
                (struct config_change){from->configs[c].name, from->configs[c].value, OP_SET};
        }
        alter->targets[i] = (struct target){.type = from->resource_type,
                                            .name = from->resource_name,
                                            .changes = changes,
                                            .changes_count = from->configs_count};
    }
    alter_start(req, alter);
}

void api_incremental_alter_configs(struct req *req)
{
    const struct incremental_alter_configs_request *request = req->body;
    struct alter *alter = alter_new(req, request->resources_count, false, request->validate_only);
    for (int32_t i = 0; i < request->resources_count; i++) {
        const struct incremental_alter_configs_request_alter_configs_resource *from =
            &request->resources[i];
        struct config_change *changes = req_array(req, struct config_change, from->configs_count);
        for (int32_t c = 0; c < from->configs_count; c++) {
            changes[c] = (struct config_change){from->configs[c].name, from->configs[c].value,
                                                from->configs[c].config_operation};
        }
        alter->targets[i] = (struct target){.type = from->resource_type,
                                            .name = from->resource_name,
                                            .changes = changes,
                                            .changes_count = from->configs_count};
    }
    alter_start(req, alter);
}
