/* throttles.c: the limits of replication, as the configuration has them now. */
#include "server/server_internal.h"

void throttles_init(struct server *server)
{
    struct broker_throttles *throttles = &server->broker.throttles;
    const struct config *config = config_cell_get(&server->config);
    int64_t windows = config_long(config, KEY_replication_quota_window_num);
    int64_t window_ms = config_long(config, KEY_replication_quota_window_size_seconds) * 1000;
    throttle_init(&throttles->leader, windows, window_ms);
    throttle_init(&throttles->follower, windows, window_ms);
    throttle_init(
        &throttles->move, config_long(config, KEY_alter_log_dirs_replication_quota_window_num),
        config_long(config, KEY_alter_log_dirs_replication_quota_window_size_seconds) * 1000);
    config_put(config);
    throttles_configure(server);
}

void throttles_fini(struct server *server)
{
    struct broker_throttles *throttles = &server->broker.throttles;
    throttle_fini(&throttles->leader);
    throttle_fini(&throttles->follower);
    throttle_fini(&throttles->move);
}

void throttles_configure(struct server *server)
{
    struct broker_throttles *throttles = &server->broker.throttles;
    const struct config *config = config_cell_get(&server->config);
    throttle_set_limit(&throttles->leader,
                       config_long(config, KEY_leader_replication_throttled_rate));
    throttle_set_limit(&throttles->follower,
                       config_long(config, KEY_follower_replication_throttled_rate));
    throttle_set_limit(&throttles->move,
                       config_long(config, KEY_replica_alter_log_dirs_io_max_bytes_per_second));
    config_put(config);
}
