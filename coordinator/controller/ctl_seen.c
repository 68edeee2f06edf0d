#include "controller/ctl_seen.h"

#include "base/hash.h"
#include "base/mem.h"

struct ctl_seen_topic {
    UT_hash_handle hh;
    char *name;
    int64_t mzxid;
};

static struct ctl_seen_topic *find(const struct ctl_seen *seen, struct str topic)
{
    struct ctl_seen_topic *found = NULL;
    HASH_FIND(hh, seen->topics, topic.ptr, topic.size, found);
    return found;
}

static void drop(struct ctl_seen *seen, struct ctl_seen_topic *topic)
{
    HASH_DEL(seen->topics, topic);
    mem_free(topic->name);
    mem_free(topic);
}

void ctl_seen_note(struct ctl_seen *seen, struct str name, int64_t mzxid)
{
    struct ctl_seen_topic *topic = find(seen, name);
    if (topic == NULL) {
        topic = mem_new(struct ctl_seen_topic);
        topic->name = str_dup(name);
        HASH_ADD_KEYPTR(hh, seen->topics, topic->name, name.size, topic);
    }
    topic->mzxid = mzxid;
}

bool ctl_seen_is(const struct ctl_seen *seen, struct str name, int64_t mzxid)
{
    const struct ctl_seen_topic *topic = find(seen, name);
    return topic != NULL && mzxid > 0 && topic->mzxid == mzxid;
}

void ctl_seen_forget(struct ctl_seen *seen, struct str name)
{
    struct ctl_seen_topic *topic = find(seen, name);
    if (topic != NULL) {
        drop(seen, topic);
    }
}

void ctl_seen_clear(struct ctl_seen *seen)
{
    struct ctl_seen_topic *topic, *next;
    HASH_ITER (hh, seen->topics, topic, next) {
        drop(seen, topic);
    }
}
