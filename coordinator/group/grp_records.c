#include "group/grp_records.h"

#include "base/must.h"
#include "codec/codec.h"
#include "codec/messages.h"

enum {
    OFFSET_KEY_VERSION = 1,
    GROUP_KEY_VERSION = 2, /* the keys' versions tell the kinds apart: 0 and 1 are offsets */
    OFFSET_VALUE_VERSION = 3,
    OFFSET_VALUE_VERSION_EXPIRING = 1, /* the only one with an expiry time */
    GROUP_VALUE_VERSION = 3,
    OFFSET_VALUE_VERSION_MAX = 4,
    GROUP_VALUE_VERSION_MAX = 4,
};

/* ---- encoding ---- */

/* Whatever got into the machine came through the codec and fits it again. */
static struct bytes encode(struct arena *arena, const struct msg_desc *desc, int16_t version,
                           const void *msg)
{
    struct buf buf = {0};
    buf_put_be16(&buf, (uint16_t)version);
    enum err err = codec_encode(desc, version, msg, &buf);
    must(err == ERR_OK);
    uint8_t *copy = arena_alloc(arena, buf.size);
    memcpy(copy, buf.data, buf.size);
    struct bytes bytes = {copy, buf.size};
    buf_fini(&buf);
    return bytes;
}

struct bytes grp_record_offset_key(struct arena *arena, struct str group, struct str topic,
                                   int32_t partition)
{
    struct offset_commit_key key = {.group = group, .topic = topic, .partition = partition};
    return encode(arena, &offset_commit_key_desc, OFFSET_KEY_VERSION, &key);
}

struct bytes grp_record_offset_value(struct arena *arena, const struct grp_offset_value *value)
{
    struct offset_commit_value msg = {
        .offset = value->offset,
        .leader_epoch = value->leader_epoch,
        .metadata = value->metadata,
        .commit_timestamp = value->commit_timestamp_ms,
        .expire_timestamp = value->expire_timestamp_ms,
    };
    bool expires = value->expire_timestamp_ms != -1;
    return encode(arena, &offset_commit_value_desc,
                  expires ? OFFSET_VALUE_VERSION_EXPIRING : OFFSET_VALUE_VERSION, &msg);
}

struct bytes grp_record_group_key(struct arena *arena, struct str group)
{
    struct group_metadata_key key = {.group = group};
    return encode(arena, &group_metadata_key_desc, GROUP_KEY_VERSION, &key);
}

struct bytes grp_record_group_value(struct arena *arena, const struct grp_group_record *record)
{
    must(record->member_count <= INT32_MAX);
    struct group_metadata_value msg = {
        .protocol_type = record->protocol_type,
        .generation = record->generation,
        .protocol = record->protocol,
        .leader = record->leader,
        .current_state_timestamp = record->state_timestamp_ms,
        .members =
            arena_array(arena, struct group_metadata_value_member_metadata, record->member_count),
        .members_count = (int32_t)record->member_count,
    };
    for (size_t i = 0; i < record->member_count; i++) {
        const struct grp_member_record *from = &record->members[i];
        msg.members[i] = (struct group_metadata_value_member_metadata){
            .member_id = from->member_id,
            .group_instance_id = from->instance_id,
            .client_id = from->client_id,
            .client_host = from->client_host,
            .rebalance_timeout = from->rebalance_timeout_ms,
            .session_timeout = from->session_timeout_ms,
            .subscription = from->subscription,
            .assignment = from->assignment,
        };
    }
    return encode(arena, &group_metadata_value_desc, GROUP_VALUE_VERSION, &msg);
}

/* ---- decoding ---- */

/* Splits off the version in front. False when there is none. */
static bool split(struct bytes in, int16_t *version, struct bytes *body)
{
    if (in.size < sizeof(*version)) {
        return false;
    }
    *version = (int16_t)be16_get(in.data);
    *body = (struct bytes){in.data + sizeof(*version), in.size - sizeof(*version)};
    return true;
}

enum err grp_record_decode_key(struct arena *arena, struct bytes key, struct grp_record_key *out)
{
    *out = (struct grp_record_key){.kind = GRP_RECORD_UNKNOWN};
    struct bytes body;
    if (!split(key, &out->version, &body)) {
        return ERR_CORRUPT;
    }
    if (out->version == 0 || out->version == OFFSET_KEY_VERSION) {
        struct offset_commit_key msg;
        if (codec_decode(&offset_commit_key_desc, out->version, body, arena, &msg, NULL) !=
            ERR_OK) {
            return ERR_CORRUPT;
        }
        out->kind = GRP_RECORD_OFFSET;
        out->group = msg.group;
        out->topic = msg.topic;
        out->partition = msg.partition;
    } else if (out->version == GROUP_KEY_VERSION) {
        struct group_metadata_key msg;
        if (codec_decode(&group_metadata_key_desc, out->version, body, arena, &msg, NULL) !=
            ERR_OK) {
            return ERR_CORRUPT;
        }
        out->kind = GRP_RECORD_GROUP;
        out->group = msg.group;
    }
    return ERR_OK;
}

enum err grp_record_decode_offset(struct arena *arena, struct bytes value,
                                  struct grp_offset_value *out)
{
    int16_t version;
    struct bytes body;
    if (!split(value, &version, &body)) {
        return ERR_CORRUPT;
    }
    if (version < 0 || version > OFFSET_VALUE_VERSION_MAX) {
        return ERR_UNSUPPORTED_VERSION;
    }
    struct offset_commit_value msg;
    if (codec_decode(&offset_commit_value_desc, version, body, arena, &msg, NULL) != ERR_OK) {
        return ERR_CORRUPT;
    }
    *out = (struct grp_offset_value){
        .offset = msg.offset,
        .leader_epoch = msg.leader_epoch,
        .metadata = msg.metadata,
        .commit_timestamp_ms = msg.commit_timestamp,
        .expire_timestamp_ms = msg.expire_timestamp,
    };
    return ERR_OK;
}

static struct grp_member_record *decode_members(struct arena *arena, int16_t version,
                                                const struct group_metadata_value *msg)
{
    struct grp_member_record *members =
        arena_array(arena, struct grp_member_record, (size_t)msg->members_count);
    for (int32_t i = 0; i < msg->members_count; i++) {
        const struct group_metadata_value_member_metadata *from = &msg->members[i];
        members[i] = (struct grp_member_record){
            .member_id = from->member_id,
            .instance_id = from->group_instance_id,
            .client_id = from->client_id,
            .client_host = from->client_host,
            .rebalance_timeout_ms = version == 0 ? from->session_timeout : from->rebalance_timeout,
            .session_timeout_ms = from->session_timeout,
            .subscription = from->subscription,
            .assignment = from->assignment,
        };
    }
    return members;
}

enum err grp_record_decode_group(struct arena *arena, struct bytes value,
                                 struct grp_group_record *out)
{
    int16_t version;
    struct bytes body;
    if (!split(value, &version, &body)) {
        return ERR_CORRUPT;
    }
    if (version < 0 || version > GROUP_VALUE_VERSION_MAX) {
        return ERR_UNSUPPORTED_VERSION;
    }
    struct group_metadata_value msg;
    if (codec_decode(&group_metadata_value_desc, version, body, arena, &msg, NULL) != ERR_OK) {
        return ERR_CORRUPT;
    }
    *out = (struct grp_group_record){
        .protocol_type = msg.protocol_type,
        .generation = msg.generation,
        .protocol = msg.protocol,
        .leader = msg.leader,
        .state_timestamp_ms = msg.current_state_timestamp,
        .members = decode_members(arena, version, &msg),
        .member_count = (size_t)msg.members_count,
    };
    return ERR_OK;
}

enum err grp_subscription_topics(struct arena *arena, struct bytes metadata, size_t count_max,
                                 struct str **topics, size_t *count)
{
    int16_t version;
    struct bytes body;
    if (!split(metadata, &version, &body)) {
        return ERR_MALFORMED;
    }
    /* The array comes first, with its length: looked at before memory is taken for it. */
    if (body.size < sizeof(uint32_t) || be32_get(body.data) > count_max) {
        return ERR_MALFORMED;
    }
    struct consumer_protocol_subscription msg;
    enum err err = codec_decode(&consumer_protocol_subscription_desc, 0, body, arena, &msg, NULL);
    if (err == ERR_OK) {
        *topics = msg.topics;
        *count = (size_t)msg.topics_count;
    }
    return err;
}
