/* control.h: packing and unpacking of the control messages (control.proto).
 *
 * The structs are protobuf-c's, from the generated control.pb-c.h. An unpacked message lives in the
 * arena it was unpacked into and dies with it; free nothing. To make a message, fill structs that
 * were initialised with their __INIT value, with memory from any arena, and pack.
 *
 * Threads: any. */
#pragma once

#include "base/arena.h"
#include "base/bytes.h"
#include "base/err.h"
#include "base/uuid.h"
#include "control.pb-c.h"

enum {
    /* The private API key that carries control requests, and its only version. */
    CONTROL_API_KEY = 1000,
    CONTROL_API_VERSION = 0,
    /* Larger messages are refused before they are parsed. 200,000 partitions take about 10 MB. */
    CONTROL_MESSAGE_MAX = 32 << 20,
    /* UpdateMetadata's leader of a partition that is being deleted. */
    CONTROL_LEADER_DURING_DELETE = -2,
    /* StopReplica's leader epochs. */
    CONTROL_EPOCH_DURING_DELETE = -2,
    CONTROL_EPOCH_UNKNOWN = -1,
};

/* protobuf-c keeps presence apart from the value: set both. */
#define control_set(message, field, value)                                                         \
    ((message)->has_##field = true, (message)->field = (value))

/* Appends the encoded message to `out`. */
void control_request_pack(const Barnabas__Control__Request *request, struct buf *out);
void control_response_pack(const Barnabas__Control__Response *response, struct buf *out);

/* Total over any bytes: a message whose body fits its kind and whose topic ids are 0 or 16 bytes,
 * or an error that *msg (may be NULL) explains. ERR_MALFORMED: not a message.
 * ERR_MESSAGE_TOO_LARGE. ERR_UNSUPPORTED_VERSION: a kind this build does not know; answer so. */
MUST_USE enum err control_request_unpack(struct arena *arena, struct bytes bytes,
                                         const Barnabas__Control__Request **request,
                                         struct errmsg *msg);
/* As above; a response with an error may lack its body. */
MUST_USE enum err control_response_unpack(struct arena *arena, struct bytes bytes,
                                          const Barnabas__Control__Response **response,
                                          struct errmsg *msg);

/* "LEADER_AND_ISR" and so on, for logs and metrics. */
const char *control_kind_name(int kind);

/* Does this kind of request go to the controller rather than to a broker? */
bool control_kind_is_for_controller(int kind);

/* A topic id as the messages hold it: 16 bytes in the arena, or empty for the zero id. */
ProtobufCBinaryData control_topic_id(struct arena *arena, struct uuid id);
/* Back; the zero id for an empty field. The field's length must have been checked (unpack does). */
struct uuid control_topic_id_get(ProtobufCBinaryData field);

/* A NULL string field reads as empty. */
static inline struct str control_str(const char *field)
{
    return str_of(field != NULL ? field : "");
}
