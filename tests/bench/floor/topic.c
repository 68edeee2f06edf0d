#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "bench/floor/floor.h"
#include "record/batch.h"

static char *path_of(const struct server *server, const struct topic *topic, int32_t index)
{
    return mem_printf("%s/%s-%d.log", server->folder, topic->name, index);
}

struct topic *topic_find(struct server *server, struct str name)
{
    list_for_each (link, &server->topics) {
        struct topic *topic = container_of(link, struct topic, link);
        if (str_is(name, topic->name)) {
            return topic;
        }
    }
    return NULL;
}

static struct part *part_make(const struct server *server, struct topic *topic, int32_t index)
{
    struct part *part = mem_new(struct part);
    char *path = path_of(server, topic, index);
    part->topic = topic;
    part->index = index;
    part->fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (part->fd < 0) {
        floor_end(path);
    }
    mem_free(path);
    for (int i = 0; i < FLOOR_FOLLOWERS_MAX; i++) {
        part->copied[i] = -1;
    }
    list_init(&part->waiters);
    list_init(&part->moved);
    list_init(&part->dirty);
    list_init(&part->syncing);
    return part;
}

struct topic *topic_make(struct server *server, struct str name, int32_t parts, int32_t replicas,
                         bool flush)
{
    struct topic *topic = mem_new(struct topic);
    topic->name = str_dup(name);
    topic->parts = mem_zalloc((size_t)parts, sizeof(struct part *));
    topic->parts_count = parts;
    topic->replicas = replicas;
    topic->flush = flush;
    topic->uses = 1;
    for (int32_t i = 0; i < parts; i++) {
        topic->parts[i] = part_make(server, topic, i);
    }
    list_push_front(&server->topics, &topic->link);
    return topic;
}

void topic_put(struct topic *topic)
{
    if (--topic->uses > 0) {
        return;
    }
    for (int32_t i = 0; i < topic->parts_count; i++) {
        list_remove(&topic->parts[i]->moved);
        close(topic->parts[i]->fd);
        mem_free(topic->parts[i]->places);
        mem_free(topic->parts[i]);
    }
    mem_free(topic->parts);
    mem_free(topic->name);
    mem_free(topic);
}

/* Who waits for it is told so at the end of the turn. */
void topic_delete(struct server *server, struct topic *topic)
{
    topic->deleted = true;
    list_remove(&topic->link);
    for (int32_t i = 0; i < topic->parts_count; i++) {
        struct part *part = topic->parts[i];
        char *path = path_of(server, topic, i);
        if (unlink(path) != 0) {
            floor_end(path);
        }
        mem_free(path);
        if (!list_empty(&part->waiters) && !list_linked(&part->moved)) {
            list_push_back(&server->moved, &part->moved);
        }
    }
    topic_put(topic);
}

struct part *part_find(struct server *server, struct str name, int32_t index)
{
    struct topic *topic = topic_find(server, name);
    return topic != NULL && index >= 0 && index < topic->parts_count ? topic->parts[index] : NULL;
}

static void moved(struct server *server, struct part *part)
{
    if (!list_linked(&part->moved)) {
        list_push_back(&server->moved, &part->moved);
    }
}

void part_raise_hw(struct server *server, struct part *part)
{
    int64_t hw = part->topic->flush ? part->flushed_end : part->offset_end;
    for (int32_t i = 0; i < part->topic->replicas - 1; i++) {
        hw = part->copied[i] < hw ? part->copied[i] : hw;
    }
    if (hw > part->offset_hw) {
        part->offset_hw = hw;
        moved(server, part);
    }
}

static void add_place(struct part *part, struct place place)
{
    if (part->places_count == part->places_capacity) {
        part->places_capacity = part->places_capacity > 0 ? part->places_capacity * 2 : 64;
        part->places = mem_realloc(part->places, part->places_capacity * sizeof(*part->places));
    }
    part->places[part->places_count++] = place;
}

/* The end behind these batches, or -1. Notes their places, which counts only when all are good. */
static int64_t check_batches(struct part *part, struct bytes batches)
{
    int64_t end = part->offset_end;
    int64_t position = part->size_bytes;
    while (batches.size > 0) {
        struct batch_header header;
        if (batch_read_header(batches, &header) != ERR_OK || batch_check_crc(batches) != ERR_OK ||
            header.base_offset != end || header.record_count < 1 ||
            header.last_offset_delta != header.record_count - 1) {
            return -1;
        }
        add_place(part, (struct place){end, position});
        size_t size = batch_size_bytes(&header);
        end += header.record_count;
        position += (int64_t)size;
        batches.data += size;
        batches.size -= size;
    }
    return end;
}

bool part_append(struct server *server, struct part *part, struct bytes batches)
{
    size_t places = part->places_count;
    int64_t end = check_batches(part, batches);
    if (end < 0) {
        part->places_count = places;
        return false;
    }
    if (pwrite(part->fd, batches.data, batches.size, part->size_bytes) != (ssize_t)batches.size) {
        floor_end("pwrite");
    }
    part->size_bytes += (int64_t)batches.size;
    part->offset_end = end;
    moved(server, part);
    return true;
}

/* How many places are not beyond that offset, or that position. */
static size_t count_places(const struct part *part, int64_t limit, bool by_offset)
{
    size_t low = 0;
    size_t high = part->places_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct place *place = &part->places[middle];
        if ((by_offset ? place->offset : place->position) <= limit) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

int64_t part_position(const struct part *part, int64_t offset, int64_t *next)
{
    *next = part->size_bytes;
    if (offset >= part->offset_end) {
        return part->size_bytes;
    }
    size_t count = count_places(part, offset, true);
    if (count < part->places_count) {
        *next = part->places[count].position;
    }
    return count > 0 ? part->places[count - 1].position : 0;
}

int64_t part_whole(const struct part *part, int64_t position)
{
    size_t count = count_places(part, position, false);
    return count > 0 ? part->places[count - 1].position : 0;
}
