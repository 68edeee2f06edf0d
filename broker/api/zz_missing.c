#include "api/handlers.h"
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
