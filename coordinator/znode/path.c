#include "znode/path.h"

char *path_broker_id(struct arena *arena, int32_t broker_id)
{
    return arena_printf(arena, "%s/%d", PATH_BROKER_IDS, broker_id);
}

char *path_topic(struct arena *arena, struct str topic)
{
    return arena_printf(arena, "%s/%.*s", PATH_TOPICS, STR_ARG(topic));
}

char *path_partitions(struct arena *arena, struct str topic)
{
    return arena_printf(arena, "%s/%.*s/partitions", PATH_TOPICS, STR_ARG(topic));
}

char *path_partition(struct arena *arena, struct str topic, int32_t partition)
{
    return arena_printf(arena, "%s/%.*s/partitions/%d", PATH_TOPICS, STR_ARG(topic), partition);
}

char *path_partition_state(struct arena *arena, struct str topic, int32_t partition)
{
    return arena_printf(arena, "%s/%.*s/partitions/%d/state", PATH_TOPICS, STR_ARG(topic),
                        partition);
}

char *path_delete_topic(struct arena *arena, struct str topic)
{
    return arena_printf(arena, "%s/%.*s", PATH_DELETE_TOPICS, STR_ARG(topic));
}

char *path_config(struct arena *arena, const char *type, struct str name)
{
    return arena_printf(arena, "%s/%s/%.*s", PATH_CONFIG, type, STR_ARG(name));
}

struct str path_child(struct str path, const char *parent)
{
    size_t size = strlen(parent);
    if (path.size <= size + 1 || memcmp(path.ptr, parent, size) != 0 || path.ptr[size] != '/') {
        return STR_NULL;
    }
    struct str rest = {path.ptr + size + 1, path.size - size - 1};
    return memchr(rest.ptr, '/', rest.size) == NULL ? rest : STR_NULL;
}
