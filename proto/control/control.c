#include "control/control.h"

#include "base/must.h"

/* An unpacked message may take so many times its encoded size: honest ones need about ten, crafted
 * ones (thousands of empty sub-messages) could need a hundred and are refused. */
enum { UNPACK_RATIO_MAX = 32, UNPACK_SLACK_BYTES = 4096 };

struct unpack_memory {
    struct arena *arena;
    size_t left;
};

static void *unpack_alloc(void *data, size_t size)
{
    struct unpack_memory *memory = data;
    if (size > memory->left) {
        return NULL;
    }
    memory->left -= size;
    return arena_alloc(memory->arena, size);
}

/* The arena frees everything at once. */
static void unpack_free(void *data, void *ptr)
{
    (void)data;
    (void)ptr;
}

static enum err unpack(struct arena *arena, struct bytes bytes,
                       const ProtobufCMessageDescriptor *descriptor, const ProtobufCMessage **out,
                       struct errmsg *msg)
{
    if (bytes.size > CONTROL_MESSAGE_MAX) {
        errmsg_set(msg, "control message of %zu bytes, more than %d", bytes.size,
                   (int)CONTROL_MESSAGE_MAX);
        return ERR_MESSAGE_TOO_LARGE;
    }
    struct unpack_memory memory = {arena, bytes.size * UNPACK_RATIO_MAX + UNPACK_SLACK_BYTES};
    ProtobufCAllocator allocator = {unpack_alloc, unpack_free, &memory};
    *out = protobuf_c_message_unpack(descriptor, &allocator, bytes.size, bytes.data);
    if (*out == NULL) {
        errmsg_set(msg, "not a %s of %zu bytes", descriptor->name, bytes.size);
        return ERR_MALFORMED;
    }
    return ERR_OK;
}

static void pack(const ProtobufCMessage *message, struct buf *out)
{
    size_t size = protobuf_c_message_get_packed_size(message);
    must(size <= CONTROL_MESSAGE_MAX);
    size_t written = protobuf_c_message_pack(message, buf_extend(out, size));
    must(written == size);
}

void control_request_pack(const Barnabas__Control__Request *request, struct buf *out)
{
    pack(&request->base, out);
}

void control_response_pack(const Barnabas__Control__Response *response, struct buf *out)
{
    pack(&response->base, out);
}

static bool topic_id_fits(ProtobufCBinaryData id)
{
    return id.len == 0 || id.len == sizeof(struct uuid);
}

/* The topic ids of every list of topics whose type has a `topic_id`. */
#define TOPIC_IDS_FIT(body)                                                                        \
    for (size_t i = 0; (body) != NULL && i < (body)->n_topics; i++) {                              \
        fit = fit && topic_id_fits((body)->topics[i]->topic_id);                                   \
    }

static bool request_topic_ids_fit(const Barnabas__Control__Request *request)
{
    bool fit = true;
    TOPIC_IDS_FIT(request->leader_and_isr);
    TOPIC_IDS_FIT(request->update_metadata);
    TOPIC_IDS_FIT(request->alter_partition);
    return fit;
}

static bool response_topic_ids_fit(const Barnabas__Control__Response *response)
{
    bool fit = true;
    TOPIC_IDS_FIT(response->leader_and_isr);
    TOPIC_IDS_FIT(response->stop_replica);
    TOPIC_IDS_FIT(response->alter_partition);
    return fit;
}

/* Does the body that the kind calls for exist? False too for a kind that is unknown. */
static bool request_body_fits(const Barnabas__Control__Request *request)
{
    switch (request->kind) {
    case BARNABAS__CONTROL__KIND__LEADER_AND_ISR:
        return request->leader_and_isr != NULL;
    case BARNABAS__CONTROL__KIND__UPDATE_METADATA:
        return request->update_metadata != NULL;
    case BARNABAS__CONTROL__KIND__STOP_REPLICA:
        return request->stop_replica != NULL;
    case BARNABAS__CONTROL__KIND__ALTER_PARTITION:
        return request->alter_partition != NULL;
    case BARNABAS__CONTROL__KIND__CONTROLLED_SHUTDOWN:
        return request->controlled_shutdown != NULL;
    default:
        return false;
    }
}

static bool response_body_fits(const Barnabas__Control__Response *response)
{
    switch (response->kind) {
    case BARNABAS__CONTROL__KIND__LEADER_AND_ISR:
        return response->leader_and_isr != NULL;
    case BARNABAS__CONTROL__KIND__UPDATE_METADATA:
        return true;
    case BARNABAS__CONTROL__KIND__STOP_REPLICA:
        return response->stop_replica != NULL;
    case BARNABAS__CONTROL__KIND__ALTER_PARTITION:
        return response->alter_partition != NULL;
    case BARNABAS__CONTROL__KIND__CONTROLLED_SHUTDOWN:
        return response->controlled_shutdown != NULL;
    default:
        return false;
    }
}

static bool kind_known(int kind)
{
    return kind >= BARNABAS__CONTROL__KIND__LEADER_AND_ISR &&
           kind <= BARNABAS__CONTROL__KIND__CONTROLLED_SHUTDOWN;
}

enum err control_request_unpack(struct arena *arena, struct bytes bytes,
                                const Barnabas__Control__Request **request, struct errmsg *msg)
{
    const ProtobufCMessage *message;
    enum err err = unpack(arena, bytes, &barnabas__control__request__descriptor, &message, msg);
    if (err != ERR_OK) {
        return err;
    }
    *request = (const Barnabas__Control__Request *)message;
    if (!(*request)->has_kind || !kind_known((int)(*request)->kind)) {
        errmsg_set(msg, "control request of unknown kind %d", (int)(*request)->kind);
        return ERR_UNSUPPORTED_VERSION;
    }
    if (!request_body_fits(*request)) {
        errmsg_set(msg, "control request %s without its body",
                   control_kind_name((int)(*request)->kind));
        return ERR_MALFORMED;
    }
    if (!request_topic_ids_fit(*request)) {
        errmsg_set(msg, "topic id of a length other than 16");
        return ERR_MALFORMED;
    }
    return ERR_OK;
}

enum err control_response_unpack(struct arena *arena, struct bytes bytes,
                                 const Barnabas__Control__Response **response, struct errmsg *msg)
{
    const ProtobufCMessage *message;
    enum err err = unpack(arena, bytes, &barnabas__control__response__descriptor, &message, msg);
    if (err != ERR_OK) {
        return err;
    }
    *response = (const Barnabas__Control__Response *)message;
    if ((*response)->error == 0 && !response_body_fits(*response)) {
        errmsg_set(msg, "control response of kind %d without its body", (int)(*response)->kind);
        return ERR_MALFORMED;
    }
    if (!response_topic_ids_fit(*response)) {
        errmsg_set(msg, "topic id of a length other than 16");
        return ERR_MALFORMED;
    }
    return ERR_OK;
}

const char *control_kind_name(int kind)
{
    const ProtobufCEnumValue *value =
        protobuf_c_enum_descriptor_get_value(&barnabas__control__kind__descriptor, kind);
    return value != NULL ? value->name : "UNKNOWN";
}

bool control_kind_is_for_controller(int kind)
{
    return kind == BARNABAS__CONTROL__KIND__ALTER_PARTITION ||
           kind == BARNABAS__CONTROL__KIND__CONTROLLED_SHUTDOWN;
}

ProtobufCBinaryData control_topic_id(struct arena *arena, struct uuid id)
{
    if (uuid_is_zero(id)) {
        return (ProtobufCBinaryData){0, NULL};
    }
    uint8_t *copy = arena_alloc(arena, sizeof(id));
    memcpy(copy, id.raw, sizeof(id));
    return (ProtobufCBinaryData){sizeof(id), copy};
}

struct uuid control_topic_id_get(ProtobufCBinaryData field)
{
    struct uuid id = {{0}};
    must(topic_id_fits(field));
    if (field.len == sizeof(id)) {
        memcpy(id.raw, field.data, sizeof(id));
    }
    return id;
}
