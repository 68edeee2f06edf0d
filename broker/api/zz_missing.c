#include "api/handlers.h"
void api_offset_commit(struct req *req)
{
    req_close(req);
}
void api_offset_fetch(struct req *req)
{
    req_close(req);
}
void api_describe_groups(struct req *req)
{
    req_close(req);
}
void api_list_groups(struct req *req)
{
    req_close(req);
}
void api_create_topics(struct req *req)
{
    req_close(req);
}
void api_delete_topics(struct req *req)
{
    req_close(req);
}
void api_delete_records(struct req *req)
{
    req_close(req);
}
void api_describe_log_dirs(struct req *req)
{
    req_close(req);
}
void api_create_partitions(struct req *req)
{
    req_close(req);
}
void api_delete_groups(struct req *req)
{
    req_close(req);
}
void api_offset_delete(struct req *req)
{
    req_close(req);
}
