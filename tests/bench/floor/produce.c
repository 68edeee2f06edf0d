#include "base/err.h"
#include "bench/floor/floor.h"
#include "codec/codec.h"
#include "record/batch.h"

/* One batch, as producers of version 3 and later send it. */
static enum err append_batch(struct server *server, struct part *part, struct bytes records)
{
    struct batch_header header;
    if (part == NULL) {
        return ERR_UNKNOWN_TOPIC_OR_PARTITION;
    }
    if (server->upstream != NULL) {
        return ERR_NOT_LEADER_OR_FOLLOWER;
    }
    if (records.data == NULL || batch_read_header(records, &header) != ERR_OK ||
        batch_size_bytes(&header) != records.size) {
        return ERR_CORRUPT_MESSAGE;
    }
    batch_patch_offset_epoch((uint8_t *)(uintptr_t)records.data, part->offset_end, 0);
    if (!part_append(server, part, records)) {
        return ERR_CORRUPT_MESSAGE;
    }
    if (part->topic->flush) {
        flush_want(server, part);
    }
    part_raise_hw(server, part);
    return ERR_OK;
}

static void produce_part(struct server *server, struct client *client, int16_t acks,
                         struct str topic,
                         const struct produce_request_partition_produce_data *data,
                         struct produce_response_partition_produce_response *reply)
{
    struct part *part = part_find(server, topic, data->index);
    int64_t base_offset = part != NULL ? part->offset_end : -1;
    enum err err = append_batch(server, part, data->records);
    reply->index = data->index;
    reply->error_code = err_wire(err);
    reply->base_offset = err == ERR_OK ? base_offset : -1;
    reply->log_start_offset = err == ERR_OK ? 0 : -1;
    bool waits = err == ERR_OK && (acks == -1 || (acks == 1 && part->topic->flush));
    if (waits && part->offset_hw < part->offset_end) {
        reply_wait(server, client, part);
    }
}

void on_produce(struct server *server, struct client *client, const struct request *request,
                const struct produce_request *body)
{
    struct produce_response reply;
    codec_init(&produce_response_desc, &reply);
    reply.responses = codec_array(&produce_response_topic_produce_response_desc, request->arena,
                                  body->topic_data_count);
    reply.responses_count = body->topic_data_count;
    for (int32_t i = 0; i < body->topic_data_count; i++) {
        const struct produce_request_topic_produce_data *topic = &body->topic_data[i];
        struct produce_response_topic_produce_response *answer = &reply.responses[i];
        answer->name = topic->name;
        answer->partition_responses = codec_array(&produce_response_partition_produce_response_desc,
                                                  request->arena, topic->partition_data_count);
        answer->partition_responses_count = topic->partition_data_count;
        for (int32_t j = 0; j < topic->partition_data_count; j++) {
            produce_part(server, client, body->acks, topic->name, &topic->partition_data[j],
                         &answer->partition_responses[j]);
        }
    }
    if (body->acks == 0) {
        return;
    }
    size_t start = reply_begin(client, request->key, request->version, request->correlation_id);
    if (codec_encode(&produce_response_desc, request->version, &reply, &client->out) != ERR_OK) {
        floor_end("encode");
    }
    reply_end(client, start, 0);
}
