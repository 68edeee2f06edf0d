#include "config/loggers.h"

#include "base/must.h"

static const char *const names[] = {
    "root",
    "kafka",
    "kafka.cluster",
    "kafka.cluster.Partition",
    "kafka.common",
    "kafka.common.ZkNodeChangeNotificationListener",
    "kafka.controller",
    "kafka.controller.KafkaController",
    "kafka.coordinator",
    "kafka.coordinator.group",
    "kafka.coordinator.group.GroupCoordinator",
    "kafka.coordinator.transaction",
    "kafka.coordinator.transaction.ProducerIdManager",
    "kafka.log",
    "kafka.log.LogLoader",
    "kafka.log.LogManager",
    "kafka.log.LogSegment",
    "kafka.log.ProducerStateManager",
    "kafka.log.UnifiedLog",
    "kafka.network",
    "kafka.network.Processor",
    "kafka.network.RequestChannel",
    "kafka.network.SocketServer",
    "kafka.server",
    "kafka.server.DefaultAlterPartitionManager",
    "kafka.server.DefaultAutoTopicCreationManager",
    "kafka.server.KafkaApis",
    "kafka.server.KafkaConfig",
    "kafka.server.KafkaServer",
    "kafka.server.MetadataCache",
    "kafka.server.ReplicaAlterLogDirsManager",
    "kafka.server.ReplicaAlterLogDirsThread",
    "kafka.server.ReplicaFetcherThread",
    "kafka.server.ReplicaManager",
    "kafka.zk",
    "kafka.zk.AdminZkClient",
    "kafka.zookeeper",
    "kafka.zookeeper.ZooKeeperClient",
    "org.apache.zookeeper",
    "state.change.logger",
};

enum { NAMES_COUNT = sizeof(names) / sizeof(names[0]) };

int loggers_count(void)
{
    return NAMES_COUNT;
}

const char *loggers_name(int index)
{
    must(index >= 0);
    must(index < NAMES_COUNT);
    return names[index];
}

static const char *find(struct str name)
{
    for (int i = 0; i < NAMES_COUNT; i++) {
        if (str_is(name, names[i])) {
            return names[i];
        }
    }
    return NULL;
}

/* Kafka's levels, in capitals as Kafka insists. */
static bool find_level(struct str text, enum log_level *level)
{
    for (int i = LOG_TRACE; i <= LOG_FATAL; i++) {
        if (str_is(text, log_level_name((enum log_level)i))) {
            *level = (enum log_level)i;
            return true;
        }
    }
    return false;
}

enum err loggers_check(const struct config_change *change, struct errmsg *msg)
{
    enum log_level level;
    if (change->op != OP_SET && change->op != OP_DELETE) {
        errmsg_set(msg, "A logger's level can be set or deleted; operation %d is not allowed.",
                   change->op);
        return ERR_INVALID_REQUEST;
    }
    if (find(change->name) == NULL) {
        errmsg_set(msg, "Logger %.*s does not exist!", STR_ARG(change->name));
        return ERR_INVALID_CONFIG;
    }
    if (change->op == OP_DELETE && str_is(change->name, "root")) {
        errmsg_set(msg, "The level of the root logger cannot be removed.");
        return ERR_INVALID_REQUEST;
    }
    if (change->op == OP_SET && !find_level(change->value, &level)) {
        errmsg_set(msg,
                   "%.*s is no level for logger %.*s. It must be one of TRACE, DEBUG, INFO, "
                   "WARN, ERROR, FATAL.",
                   STR_ARG(change->value), STR_ARG(change->name));
        return ERR_INVALID_CONFIG;
    }
    return ERR_OK;
}

enum err loggers_apply(const struct config_change *change)
{
    enum log_level level;
    const char *name = find(change->name);
    must(name != NULL);
    if (change->op == OP_SET) {
        must(find_level(change->value, &level));
        return log_set_level(name, level);
    }
    enum err err = log_reset_level(name);
    return err == ERR_NOT_FOUND ? ERR_OK : err; /* it had none of its own */
}
