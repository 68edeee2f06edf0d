#include "bench/load/reader.h"

#include <inttypes.h>

#include "base/mem.h"
#include "codec/codec.h"
#include "codec/messages.h"

enum { MAX_WAIT_MS = 500 };

void reader_open(struct reader *reader, const struct load_options *options, uint16_t port)
{
    *reader = (struct reader){.options = options};
    peer_connect(&reader->peer, options->host, port);
}

void reader_close(struct reader *reader)
{
    peer_close(&reader->peer);
    buf_fini(&reader->request);
    arena_fini(&reader->arena);
}

/* The partitions whose offset has moved since the last request: the session knows the others. */
static int32_t fill_partitions(struct reader *reader,
                               struct fetch_request_fetch_partition *partitions)
{
    int32_t count = 0;
    for (int32_t i = 0; i < reader->parts_count; i++) {
        struct reader_part *part = &reader->parts[i];
        if (part->news || reader->session_epoch == 0) {
            codec_init(&fetch_request_fetch_partition_desc, &partitions[count]);
            partitions[count].partition = part->partition;
            partitions[count].fetch_offset = part->offset;
            partitions[count].partition_max_bytes = reader->options->fetch_bytes;
            part->news = false;
            count++;
        }
    }
    return count;
}

void reader_ask(struct reader *reader)
{
    struct fetch_request request;
    struct fetch_request_fetch_topic topic;
    arena_reset(&reader->arena);
    codec_init(&fetch_request_desc, &request);
    codec_init(&fetch_request_fetch_topic_desc, &topic);
    topic.topic = str_of(reader->options->topic);
    topic.partitions = arena_array(&reader->arena, struct fetch_request_fetch_partition,
                                   (size_t)reader->parts_count);
    topic.partitions_count = fill_partitions(reader, topic.partitions);
    request.max_wait_ms = MAX_WAIT_MS;
    request.min_bytes = 1;
    request.max_bytes = reader->options->fetch_bytes;
    request.session_id = reader->session_id;
    request.session_epoch = reader->session_epoch;
    request.topics = &topic;
    request.topics_count = topic.partitions_count > 0 ? 1 : 0;
    buf_clear(&reader->request);
    frame_put(&reader->request, API_FETCH, LOAD_FETCH_VERSION, LOAD_CORRELATION, &request);
    peer_send_all(&reader->peer, reader->request.data, reader->request.size);
}

static void take_batch(struct reader *reader, struct reader_part *part,
                       const struct batch_header *header, struct bytes batch)
{
    if (header->base_offset != part->offset) {
        die("%s-%d: a batch at offset %" PRId64 " where %" PRId64 " is due", reader->options->topic,
            part->partition, header->base_offset, part->offset);
    }
    if (batch_check_crc(batch) != ERR_OK) {
        die("%s-%d: wrong checksum at offset %" PRId64, reader->options->topic, part->partition,
            header->base_offset);
    }
    part->offset = batch_last_offset(header) + 1;
    part->news = true;
    reader->counts.records += header->record_count;
    reader->counts.bytes += (int64_t)batch.size;
    reader->counts.checksum += header->crc;
    if (reader->on_batch != NULL) {
        reader->on_batch(reader->arg, header, batch);
    }
}

/* The last batch may be cut off: it comes again, whole. */
static void take_records(struct reader *reader, struct reader_part *part, struct bytes records)
{
    struct batch_header header;
    while (records.size >= BATCH_HEADER_SIZE && batch_read_header(records, &header) == ERR_OK) {
        size_t size = batch_size_bytes(&header);
        if (size > records.size) {
            return;
        }
        take_batch(reader, part, &header, (struct bytes){records.data, size});
        records.data += size;
        records.size -= size;
    }
}

static struct reader_part *part_of(struct reader *reader, int32_t partition)
{
    for (int32_t i = 0; i < reader->parts_count; i++) {
        if (reader->parts[i].partition == partition) {
            return &reader->parts[i];
        }
    }
    die("partition %d was not asked for", partition);
}

static void take_topic(struct reader *reader,
                       const struct fetch_response_fetchable_topic_response *topic)
{
    for (int32_t i = 0; i < topic->partitions_count; i++) {
        const struct fetch_response_partition_data *data = &topic->partitions[i];
        if (data->error_code != 0) {
            die("Fetch of %s-%d: error %d", reader->options->topic, data->partition_index,
                data->error_code);
        }
        take_records(reader, part_of(reader, data->partition_index), data->records);
    }
}

bool reader_take(struct reader *reader)
{
    struct bytes frame;
    if (!peer_receive(&reader->peer) || !peer_next(&reader->peer, &frame)) {
        return false;
    }
    struct fetch_response reply;
    struct bytes in = peer_body(frame, API_FETCH, LOAD_FETCH_VERSION, LOAD_CORRELATION);
    arena_reset(&reader->arena);
    if (codec_decode(&fetch_response_desc, LOAD_FETCH_VERSION, in, &reader->arena, &reply, NULL) !=
        ERR_OK) {
        die("malformed Fetch response");
    }
    if (reply.error_code != 0) {
        die("Fetch: error %d", reply.error_code);
    }
    reader->session_id = reply.session_id;
    /* Without a session every request is whole. */
    reader->session_epoch = reply.session_id != 0 ? reader->session_epoch + 1 : 0;
    reader->counts.requests++;
    for (int32_t i = 0; i < reply.responses_count; i++) {
        take_topic(reader, &reply.responses[i]);
    }
    return true;
}

bool reader_done(const struct reader *reader)
{
    for (int32_t i = 0; i < reader->parts_count; i++) {
        if (reader->parts[i].offset < reader->parts[i].end) {
            return false;
        }
    }
    return true;
}
