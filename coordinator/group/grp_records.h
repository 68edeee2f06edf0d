/* grp_records.h: the records of __consumer_offsets, to and from plain structs.
 *
 *   offset key    int16 version 1 (0 is read too), group, topic, partition
 *   offset value  int16 version 3 (1 when there is an expiry time); 0, 2 and 4 are read
 *   group key     int16 version 2, group
 *   group value   int16 version 3; 0, 1, 2 and 4 are read
 *
 * A null value is a tombstone. Written versions are those of Kafka 3.9 with
 * inter.broker.protocol.version 3.9; a newer Kafka writes version 4 of the values, which therefore
 * can be read.
 *
 * Encoded bytes and decoded arrays live in the arena; decoded strings and bytes are slices of the
 * record. Decoding takes any bytes. Source: OffsetCommitKey/Value, GroupMetadataKey/Value of
 * Kafka 3.9. */
#pragma once

#include <stdint.h>

#include "base/arena.h"
#include "base/bytes.h"
#include "base/err.h"

enum grp_record_kind { GRP_RECORD_OFFSET, GRP_RECORD_GROUP, GRP_RECORD_UNKNOWN };

struct grp_record_key {
    enum grp_record_kind kind;
    int16_t version; /* of a key that is GRP_RECORD_UNKNOWN, for the warning */
    struct str group;
    struct str topic; /* offset keys only */
    int32_t partition;
};

struct grp_offset_value {
    int64_t offset;
    int32_t leader_epoch; /* -1: none */
    struct str metadata;
    int64_t commit_timestamp_ms;
    int64_t expire_timestamp_ms; /* -1: the broker's retention counts */
};

struct grp_member_record {
    struct str member_id;
    struct str instance_id; /* null: dynamic */
    struct str client_id;
    struct str client_host;
    int32_t rebalance_timeout_ms; /* version 0 has none: the session timeout */
    int32_t session_timeout_ms;
    struct bytes subscription; /* the member's metadata for the chosen protocol */
    struct bytes assignment;
};

struct grp_group_record {
    struct str protocol_type; /* "" if none */
    int32_t generation;
    struct str protocol;        /* null if none */
    struct str leader;          /* null if none */
    int64_t state_timestamp_ms; /* -1: not known (versions 0 and 1) */
    struct grp_member_record *members;
    size_t member_count;
};

struct bytes grp_record_offset_key(struct arena *arena, struct str group, struct str topic,
                                   int32_t partition);
struct bytes grp_record_offset_value(struct arena *arena, const struct grp_offset_value *value);
struct bytes grp_record_group_key(struct arena *arena, struct str group);
struct bytes grp_record_group_value(struct arena *arena, const struct grp_group_record *record);

/* ERR_CORRUPT for bytes that are no key. A version that is not known is GRP_RECORD_UNKNOWN and
 * ERR_OK. */
MUST_USE enum err grp_record_decode_key(struct arena *arena, struct bytes key,
                                        struct grp_record_key *out);

/* ERR_CORRUPT for damaged bytes, ERR_UNSUPPORTED_VERSION for a version that a newer Kafka wrote. */
MUST_USE enum err grp_record_decode_offset(struct arena *arena, struct bytes value,
                                           struct grp_offset_value *out);
MUST_USE enum err grp_record_decode_group(struct arena *arena, struct bytes value,
                                          struct grp_group_record *out);

/* The topics that a member subscribes to, from its metadata for a protocol of type "consumer". Read
 * by the rules of version 0, which every version starts with. ERR_MALFORMED when it is something
 * else, or says that there are more than count_max. */
MUST_USE enum err grp_subscription_topics(struct arena *arena, struct bytes metadata,
                                          size_t count_max, struct str **topics, size_t *count);
