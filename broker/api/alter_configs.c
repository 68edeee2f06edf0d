/* AlterConfigs and IncrementalAlterConfigs: the two forms of one thing. Each resource is read from
 * ZooKeeper, changed by the rules of config_alter.h, and written back if nobody was faster; all
 * brokers hear of it through /config/changes. Source: kafka-zk-mode facts 8.8 (53, 56-58). */
#include "admin/admin_service.h"
#include "api/broker.h"
#include "api/config_resource.h"
#include "api/control_call.h"
#include "api/handlers.h"
#include "base/must.h"
#include "config/config_alter.h"
#include "znode/path.h"

/* Somebody else changed the same entity between our read and our write: how often to read again
 * before the client is told to. */
enum { RACES_MAX = 10 };

/* One resource, in either form of the request. */
struct target {
    int8_t type;
    struct str name;
    const struct config_change *changes;
    int32_t changes_count;
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

static void finish_target(struct alter *alter, enum err err, const char *text)
{
    struct target *target = &alter->targets[alter->at];
    target->err = err;
    if (err != ERR_OK && text != NULL && text[0] != '\0') {
        target->text = arena_printf(&alter->call.req->arena, "%s", text);
    }
    alter->at++;
    start_target(alter);
}

static enum config_entity entity_of(const struct target *target)
{
    if (target->type == RESOURCE_TOPIC) {
        return ENTITY_TOPIC;
    }
    return target->name.size == 0 ? ENTITY_ALL_BROKERS : ENTITY_BROKER;
}

static const char *type_path(const struct target *target)
{
    return target->type == RESOURCE_TOPIC ? "topics" : "brokers";
}

static struct str entity_name(const struct target *target)
{
    return entity_of(target) == ENTITY_ALL_BROKERS ? str_of(PATH_DEFAULT_ENTITY) : target->name;
}

static void on_written(void *arg, enum err err, const char *text)
{
    struct alter *alter = arg;
    if (err == ERR_ZK_BAD_VERSION && alter->races < RACES_MAX) {
        alter->races++;
        start_target(alter);
        return;
    }
    finish_target(alter, err == ERR_ZK_SESSION_EXPIRED ? ERR_REQUEST_TIMED_OUT : err, text);
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
        finish_target(alter, err == ERR_ZK_SESSION_EXPIRED ? ERR_REQUEST_TIMED_OUT : err,
                      "ZooKeeper could not be asked; try again.");
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
    admin_write_config(alter->admin, type_path(target), entity_name(target), &written, version,
                       on_written, alter);
}

static void start_target(struct alter *alter)
{
    while (alter->at < alter->targets_count && alter->targets[alter->at].err != ERR_OK) {
        alter->at++; /* refused before */
    }
    if (alter->at == alter->targets_count) {
        control_call_finish(&alter->call);
        return;
    }
    const struct target *target = &alter->targets[alter->at];
    admin_read_config(alter->admin, type_path(target), entity_name(target), on_read, alter);
}

static void on_control(struct control_call *call)
{
    struct alter *alter = container_of(call, struct alter, call);
    alter->admin = admin_service_admin(call->req->broker->admin);
    start_target(alter);
}

/* ---- from the request ---- */

static bool named_twice(const struct alter *alter, int32_t index)
{
    const struct target *target = &alter->targets[index];
    for (int32_t i = 0; i < alter->targets_count; i++) {
        if (i != index && alter->targets[i].type == target->type &&
            str_eq(alter->targets[i].name, target->name)) {
            return true;
        }
    }
    return false;
}

static void check_target(struct req *req, struct alter *alter, int32_t index)
{
    struct target *target = &alter->targets[index];
    struct errmsg msg = {""};
    if (named_twice(alter, index)) {
        target->err = ERR_INVALID_REQUEST;
        target->text = "Each resource must appear at most once.";
        return;
    }
    target->err = config_resource_check(req->broker, meta_reader_now(&req->netloop->meta),
                                        target->type, target->name, &msg);
    if (target->err == ERR_OK) {
        target->err =
            config_alter_check(entity_of(target), target->changes, target->changes_count, &msg);
    }
    if (target->err != ERR_OK) {
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

static void alter_start(struct req *req, struct alter *alter)
{
    for (int32_t i = 0; i < alter->targets_count; i++) {
        check_target(req, alter, i);
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
