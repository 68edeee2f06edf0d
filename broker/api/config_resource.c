#include "api/config_resource.h"

#include <stdlib.h>

#include "admin/admin_service.h"

enum err config_resource_topic(const struct meta *meta, struct str name, struct errmsg *msg)
{
    if (!topic_name_valid(name)) {
        errmsg_set(msg, "Topic name is invalid: '%.*s'", STR_ARG(name));
        return ERR_INVALID_TOPIC_EXCEPTION;
    }
    if (meta_find(meta, name) == NULL) {
        errmsg_set(msg, "The topic '%.*s' does not exist.", STR_ARG(name));
        return ERR_UNKNOWN_TOPIC_OR_PARTITION;
    }
    return ERR_OK;
}

enum err config_resource_broker(const struct broker *broker, struct str name, bool all_too,
                                struct errmsg *msg)
{
    char text[16] = "";
    char *end = text;
    if (name.size == 0 && all_too) {
        return ERR_OK;
    }
    if (name.size > 0 && name.size < sizeof(text)) {
        memcpy(text, name.ptr, name.size);
    }
    long id = strtol(text, &end, 10);
    if (end == text || *end != '\0') {
        errmsg_set(msg, "Broker id must be an integer, but it is: %.*s", STR_ARG(name));
        return ERR_INVALID_REQUEST;
    }
    if (id != broker->id) {
        errmsg_set(msg, "Unexpected broker id, expected %d%s, but received %.*s", broker->id,
                   all_too ? " or empty string" : "", STR_ARG(name));
        return ERR_INVALID_REQUEST;
    }
    return ERR_OK;
}
