/* znode_encode.c: structs -> Kafka's JSON, written directly: the documents are small and flat. */
#include <inttypes.h>

#include "base/must.h"
#include "znode/znode.h"

/* Length of the UTF-8 sequence at `at`, 0 when it is none. */
static size_t utf8_length(const uint8_t *at, size_t left)
{
    static const uint32_t lowest[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t length = at[0] < 0x80 ? 1 : at[0] < 0xc2 ? 0 : at[0] < 0xe0 ? 2 : at[0] < 0xf0 ? 3 : 4;
    if (length < 2) {
        return length;
    }
    if (at[0] > 0xf4 || length > left) {
        return 0;
    }
    uint32_t point = at[0] & (0x7fu >> length);
    for (size_t i = 1; i < length; i++) {
        if ((at[i] & 0xc0) != 0x80) {
            return 0;
        }
        point = point << 6 | (at[i] & 0x3f);
    }
    bool surrogate = point >= 0xd800 && point <= 0xdfff;
    return point < lowest[length] || point > 0x10ffff || surrogate ? 0 : length;
}

static void put_char(struct buf *out, uint8_t c)
{
    static const char short_escapes[] = "\b\t\n\f\r\"\\";
    static const char letters[] = "btnfr\"\\";
    const char *found = c != 0 ? strchr(short_escapes, c) : NULL;
    if (found != NULL) {
        buf_put_byte(out, '\\');
        buf_put_byte(out, (uint8_t)letters[found - short_escapes]);
    } else if (c < 0x20) {
        buf_printf(out, "\\u%04X", c);
    } else {
        buf_put_byte(out, c);
    }
}

/* A JSON string; null becomes the word null, bytes that are not UTF-8 become U+FFFD. */
static void put_str(struct buf *out, struct str s)
{
    if (s.ptr == NULL) {
        buf_put_text(out, "null");
        return;
    }
    const uint8_t *at = (const uint8_t *)s.ptr;
    buf_put_byte(out, '"');
    for (size_t i = 0; i < s.size;) {
        size_t length = utf8_length(at + i, s.size - i);
        if (length == 1) {
            put_char(out, at[i]);
        } else if (length == 0) {
            buf_put_text(out, "\xef\xbf\xbd");
        } else {
            buf_put(out, at + i, length);
        }
        i += length > 0 ? length : 1;
    }
    buf_put_byte(out, '"');
}

static void put_comma(struct buf *out, int32_t index)
{
    if (index > 0) {
        buf_put_byte(out, ',');
    }
}

static void put_ids(struct buf *out, struct znode_ids ids)
{
    buf_put_byte(out, '[');
    for (int32_t i = 0; i < ids.count; i++) {
        put_comma(out, i);
        buf_printf(out, "%d", ids.ids[i]);
    }
    buf_put_byte(out, ']');
}

const char *znode_security_name(enum znode_security security)
{
    static const char *const names[] = {"PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"};
    must(security <= ZNODE_SASL_SSL);
    return names[security];
}

bool znode_security_parse(struct str name, enum znode_security *security)
{
    for (enum znode_security s = ZNODE_PLAINTEXT; s <= ZNODE_SASL_SSL; s++) {
        if (str_is(name, znode_security_name(s))) {
            *security = s;
            return true;
        }
    }
    return false;
}

/* "LISTENER://host:port" */
static void put_endpoint(struct buf *out, const struct znode_endpoint *endpoint)
{
    struct buf text = {0};
    bool ipv6 = endpoint->host.size > 0 && memchr(endpoint->host.ptr, ':', endpoint->host.size);
    buf_printf(&text, ipv6 ? "%.*s://[%.*s]:%d" : "%.*s://%.*s:%d", STR_ARG(endpoint->listener),
               STR_ARG(endpoint->host), endpoint->port);
    put_str(out, (struct str){(const char *)text.data, text.size});
    buf_fini(&text);
}

static const struct znode_endpoint *first_plaintext(const struct znode_broker *broker)
{
    for (int32_t i = 0; i < broker->endpoints_count; i++) {
        if (broker->endpoints[i].security == ZNODE_PLAINTEXT) {
            return &broker->endpoints[i];
        }
    }
    return NULL;
}

void znode_broker_encode(const struct znode_broker *broker, struct buf *out)
{
    const struct znode_endpoint *plain = first_plaintext(broker);
    buf_put_text(out, "{\"version\":5,\"host\":");
    put_str(out, plain != NULL ? plain->host : STR_NULL);
    buf_printf(out, ",\"port\":%d,\"endpoints\":[", plain != NULL ? plain->port : -1);
    for (int32_t i = 0; i < broker->endpoints_count; i++) {
        put_comma(out, i);
        put_endpoint(out, &broker->endpoints[i]);
    }
    buf_printf(out, "],\"jmx_port\":%d,\"timestamp\":\"%" PRId64 "\"", broker->jmx_port,
               broker->timestamp_ms);
    if (broker->rack.ptr != NULL) {
        buf_put_text(out, ",\"rack\":");
        put_str(out, broker->rack);
    }
    buf_put_text(out, ",\"listener_security_protocol_map\":{");
    for (int32_t i = 0; i < broker->endpoints_count; i++) {
        put_comma(out, i);
        put_str(out, broker->endpoints[i].listener);
        buf_printf(out, ":\"%s\"", znode_security_name(broker->endpoints[i].security));
    }
    buf_put_text(out, "},\"features\":{}");
    buf_put_text(out, broker->unclean ? ",\"unclean_start\":true}" : "}");
}

/* {"0":[..],...}: all partitions, or those whose list is not empty. */
static void put_assignment(struct buf *out, const struct znode_topic *topic, size_t offset,
                           bool all)
{
    int32_t written = 0;
    buf_put_byte(out, '{');
    for (int32_t i = 0; i < topic->partitions_count; i++) {
        struct znode_ids ids;
        memcpy(&ids, (const char *)&topic->partitions[i] + offset, sizeof(ids));
        if (all || ids.count > 0) {
            put_comma(out, written++);
            buf_printf(out, "\"%d\":", topic->partitions[i].index);
            put_ids(out, ids);
        }
    }
    buf_put_byte(out, '}');
}

void znode_topic_encode(const struct znode_topic *topic, struct buf *out)
{
    buf_put_text(out, "{\"version\":3,");
    if (!uuid_is_zero(topic->id)) {
        char id[UUID_TEXT_SIZE + 1];
        uuid_format(topic->id, id);
        buf_printf(out, "\"topic_id\":\"%s\",", id);
    }
    buf_put_text(out, "\"partitions\":");
    put_assignment(out, topic, offsetof(struct znode_partition, replicas), true);
    buf_put_text(out, ",\"adding_replicas\":");
    put_assignment(out, topic, offsetof(struct znode_partition, adding), false);
    buf_put_text(out, ",\"removing_replicas\":");
    put_assignment(out, topic, offsetof(struct znode_partition, removing), false);
    buf_put_byte(out, '}');
}

void znode_state_encode(const struct znode_state *state, struct buf *out)
{
    buf_printf(out, "{\"controller_epoch\":%d,\"leader\":%d,\"version\":1,\"leader_epoch\":%d,",
               state->controller_epoch, state->leader, state->leader_epoch);
    buf_put_text(out, "\"isr\":");
    put_ids(out, state->isr);
    if (state->recovering) {
        buf_put_text(out, ",\"leader_recovery_state\":1");
    }
    if (state->eligible.count > 0) {
        buf_put_text(out, ",\"eligible_replicas\":");
        put_ids(out, state->eligible);
    }
    buf_put_byte(out, '}');
}

void znode_controller_encode(const struct znode_controller *controller, struct buf *out)
{
    buf_printf(out,
               "{\"version\":2,\"brokerid\":%d,\"timestamp\":\"%" PRId64
               "\",\"kraftControllerEpoch\":%d}",
               controller->broker_id, controller->timestamp_ms, controller->kraft_epoch);
}

void znode_controller_epoch_encode(int32_t epoch, struct buf *out)
{
    buf_printf(out, "%d", epoch);
}

void znode_config_encode(const struct znode_config *config, struct buf *out)
{
    buf_put_text(out, "{\"version\":1,\"config\":{");
    for (int32_t i = 0; i < config->pairs_count; i++) {
        put_comma(out, i);
        put_str(out, config->pairs[i].key);
        buf_put_byte(out, ':');
        put_str(out, config->pairs[i].value);
    }
    buf_put_text(out, "}}");
}

void znode_config_change_encode(struct str entity_path, struct buf *out)
{
    buf_put_text(out, "{\"version\":2,\"entity_path\":");
    put_str(out, entity_path);
    buf_put_byte(out, '}');
}

void znode_cluster_id_encode(struct str id, struct buf *out)
{
    buf_put_text(out, "{\"version\":\"1\",\"id\":");
    put_str(out, id);
    buf_put_byte(out, '}');
}

void znode_producer_block_encode(const struct znode_producer_block *block, struct buf *out)
{
    buf_printf(out,
               "{\"version\":1,\"broker\":%d,\"block_start\":\"%" PRId64
               "\",\"block_end\":\"%" PRId64 "\"}",
               block->broker_id, block->first, block->last);
}

void znode_feature_encode(struct buf *out)
{
    buf_put_text(out, "{\"version\":2,\"status\":1,\"features\":{}}");
}

static void put_tps(struct buf *out, const struct znode_tps *tps, bool replicas)
{
    buf_put_text(out, "{\"version\":1,\"partitions\":[");
    for (int32_t i = 0; i < tps->count; i++) {
        put_comma(out, i);
        buf_put_text(out, "{\"topic\":");
        put_str(out, tps->items[i].topic);
        buf_printf(out, ",\"partition\":%d", tps->items[i].partition);
        if (replicas) {
            buf_put_text(out, ",\"replicas\":");
            put_ids(out, tps->items[i].replicas);
        }
        buf_put_byte(out, '}');
    }
    buf_put_text(out, "]}");
}

void znode_preferred_encode(const struct znode_tps *tps, struct buf *out)
{
    put_tps(out, tps, false);
}

void znode_reassign_encode(const struct znode_tps *tps, struct buf *out)
{
    put_tps(out, tps, true);
}

void znode_log_dir_event_encode(int32_t broker_id, struct buf *out)
{
    buf_printf(out, "{\"version\":1,\"broker\":%d,\"event\":1}", broker_id);
}
