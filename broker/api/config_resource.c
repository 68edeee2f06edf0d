#include "api/config_resource.h"

#include <stdio.h>

#include "admin/admin_service.h"

static enum err check_topic(const struct meta *meta, struct str name, struct errmsg *msg)
{
    if (!topic_name_valid(name)) {
        errmsg_set(msg, "Topic name \"%.*s\" is not valid.", (int)name.size, name.ptr);
        return ERR_INVALID_TOPIC_EXCEPTION;
    }
    if (meta_find(meta, name) == NULL) {
        errmsg_set(msg, "The topic \"%.*s\" does not exist.", (int)name.size, name.ptr);
        return ERR_UNKNOWN_TOPIC_OR_PARTITION;
    }
    return ERR_OK;
}

static enum err check_broker(const struct broker *broker, struct str name, struct errmsg *msg)
{
    char own[16];
    snprintf(own, sizeof(own), "%d", broker->id);
    if (name.size == 0 || str_is(name, own)) {
        return ERR_OK;
    }
    errmsg_set(msg, "Unexpected broker id, expected %s or empty string, but received %.*s", own,
               (int)name.size, name.ptr);
    return ERR_INVALID_REQUEST;
}

enum err config_resource_check(const struct broker *broker, const struct meta *meta, int8_t type,
                               struct str name, struct errmsg *msg)
{
    switch (type) {
    case RESOURCE_TOPIC:
        return check_topic(meta, name, msg);
    case RESOURCE_BROKER:
        return check_broker(broker, name, msg);
    case RESOURCE_BROKER_LOGGER:
        errmsg_set(msg, "Levels of single loggers cannot be read or changed at run time yet.");
        return ERR_INVALID_REQUEST;
    default:
        errmsg_set(msg, "Unsupported resource type: %d", type);
        return ERR_INVALID_REQUEST;
    }
}
