/* handlers.h: one function per API, each in the file of its name. All run on the client's loop and
 * follow the rules of req.h. */
#pragma once

#include "api/req.h"

void api_produce(struct req *req);
void api_fetch(struct req *req);
void api_list_offsets(struct req *req);
void api_metadata(struct req *req);
void api_offset_commit(struct req *req);
void api_offset_fetch(struct req *req);
void api_find_coordinator(struct req *req);
void api_join_group(struct req *req);
void api_heartbeat(struct req *req);
void api_leave_group(struct req *req);
void api_sync_group(struct req *req);
void api_describe_groups(struct req *req);
void api_list_groups(struct req *req);
void api_api_versions(struct req *req);
void api_create_topics(struct req *req);
void api_delete_topics(struct req *req);
void api_delete_records(struct req *req);
void api_init_producer_id(struct req *req);
void api_offset_for_leader_epoch(struct req *req);
void api_describe_configs(struct req *req);
void api_alter_configs(struct req *req);
void api_alter_replica_log_dirs(struct req *req);
void api_describe_log_dirs(struct req *req);
void api_create_partitions(struct req *req);
void api_delete_groups(struct req *req);
void api_elect_leaders(struct req *req);
void api_alter_partition_reassignments(struct req *req);
void api_list_partition_reassignments(struct req *req);
void api_incremental_alter_configs(struct req *req);
void api_offset_delete(struct req *req);
void api_describe_cluster(struct req *req);
void api_control(struct req *req);
