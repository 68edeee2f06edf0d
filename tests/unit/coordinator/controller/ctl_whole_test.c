/* Clients see a topic with all of its partitions, or not at all: who saw some would spread its
 * records by their number. */
#include "ctl_fixture.h"

enum { BROKERS = 2 };

/* A topic whose partitions are all led by broker 1. */
static void large_topic_is(struct bench *b, const char *name, int32_t partitions)
{
    static const int both[] = {1, 2};
    size_t count = (size_t)partitions;
    struct znode_partition *parts = mem_zalloc(count, sizeof(*parts));
    struct ctl_state_info *infos = mem_zalloc(count, sizeof(*infos));
    for (int32_t p = 0; p < partitions; p++) {
        parts[p].index = p;
        parts[p].replicas = (struct znode_ids){both, BROKERS};
        infos[p] = (struct ctl_state_info){.partition = p, .version = 1};
        infos[p].state = (struct znode_state){.leader = 1, .isr = {both, BROKERS}};
    }
    struct ctl_event event = {.kind = CTL_EV_TOPIC};
    event.u.topic.name = str_of(name);
    event.u.topic.topic = (struct znode_topic){{{(uint8_t)name[0]}}, parts, partitions};
    event.u.topic.states = infos;
    step(b, event);
    mem_free(parts);
    mem_free(infos);
}

/* How many partitions of the topic a request tells; -1: it does not name it. */
static int told_of(const Barnabas__Control__UpdateMetadata *body, const char *name)
{
    for (size_t i = 0; i < body->n_topics; i++) {
        if (strcmp(body->topics[i]->name, name) == 0) {
            return (int)body->topics[i]->n_partitions;
        }
    }
    return -1;
}

/* What the last step sends to a broker; NULL: nothing, or something else. */
static const Barnabas__Control__UpdateMetadata *metadata_to(const struct bench *b, int32_t broker)
{
    for (int32_t i = 0; i < b->out.count; i++) {
        const struct ctl_cmd *cmd = &b->out.items[i];
        if (cmd->kind == CTL_SEND && cmd->broker_id == broker) {
            return cmd->request->update_metadata;
        }
    }
    return NULL;
}

/* A broker that is told everything: topics that lie across the end of a request, and one that is
 * larger than a request. */
Test(ctl_whole, no_request_ends_within_a_topic)
{
    static const char *const names[] = {"a", "b", "c", "d"};
    static const int32_t sizes[] = {CTL_SEND_PARTITIONS_MAX - 10, 20, CTL_SEND_PARTITIONS_MAX + 1,
                                    1};
    struct bench b;
    int told[4] = {0};
    int requests = 0;
    bench_init(&b);
    elect(&b, 1);
    brokers_alive(&b, three, NULL, BROKERS);
    topics_are(&b, names, 4);
    marks_are(&b, NULL, 0);
    step(&b, (struct ctl_event){.kind = CTL_EV_PREFERRED});
    for (int i = 0; i < 4; i++) {
        large_topic_is(&b, names[i], sizes[i]);
    }
    uint64_t last = send_to(&b, 2);
    for (int rounds = 0; told[3] == 0; rounds++) {
        cr_assert_lt(rounds, 20);
        sent_ok(&b, last);
        last = send_to(&b, 2);
        const Barnabas__Control__UpdateMetadata *body = metadata_to(&b, 2);
        for (int i = 0; body != NULL && i < 4; i++) {
            int count = told_of(body, names[i]);
            cr_assert(count == -1 || count == sizes[i], "%d of %d", count, (int)sizes[i]);
            told[i] += count > 0 ? 1 : 0;
        }
        requests += body != NULL && body->n_topics > 0 ? 1 : 0;
    }
    for (int i = 0; i < 4; i++) {
        cr_assert_eq(told[i], 1, "%s", names[i]);
    }
    cr_assert_geq(requests, 3, "a request has its limit");
    bench_fini(&b);
}

/* Somebody removed it in ZooKeeper: for as long as a second request took clients saw a part of it.
 */
Test(ctl_whole, a_large_topic_that_is_gone_goes_as_a_whole)
{
    static const char *const names[] = {"a"};
    enum { PARTITIONS = CTL_SEND_PARTITIONS_MAX + 1 };
    struct bench b;
    bench_init(&b);
    elect(&b, 1);
    brokers_alive(&b, three, NULL, BROKERS);
    topics_are(&b, names, 1);
    marks_are(&b, NULL, 0);
    step(&b, (struct ctl_event){.kind = CTL_EV_PREFERRED});
    large_topic_is(&b, names[0], PARTITIONS);
    settle(&b);
    topics_are(&b, NULL, 0);
    cr_assert_eq(told_of(metadata_to(&b, 2), "a"), PARTITIONS);
    bench_fini(&b);
}

/* One broker has heard of a new topic; another one is busy, and meanwhile a partition changes. */
Test(ctl_whole, a_broker_that_was_busy_hears_of_a_new_topic_as_a_whole)
{
    static const char *const names[] = {"t"};
    static const int last_two[] = {2, 3};
    struct bench b;
    bench_init(&b);
    lead_empty(&b, 3);
    topics_are(&b, names, 1);
    topic_is(&b, "t", last_two, 2, NULL, 2);
    uint64_t first = id_of(&b, CTL_CREATE_STATE, 0);
    uint64_t second = id_of(&b, CTL_CREATE_STATE, 1);
    wrote(&b, first, ERR_OK, 0);
    uint64_t busy = send_to(&b, 2); /* LeaderAndIsr of the first */
    wrote(&b, second, ERR_OK, 0);
    cr_assert_not_null(metadata_to(&b, 1), "%s", (char *)b.text.data);
    cr_assert_eq(told_of(metadata_to(&b, 1), "t"), 2);
    Barnabas__Control__AlterPartitionPartition partition =
        BARNABAS__CONTROL__ALTER_PARTITION_PARTITION__INIT;
    Barnabas__Control__AlterPartitionPartition *partitions[] = {&partition};
    Barnabas__Control__AlterPartitionTopic topic = BARNABAS__CONTROL__ALTER_PARTITION_TOPIC__INIT;
    Barnabas__Control__AlterPartitionTopic *topics[] = {&topic};
    Barnabas__Control__AlterPartition body = BARNABAS__CONTROL__ALTER_PARTITION__INIT;
    Barnabas__Control__Request request = BARNABAS__CONTROL__REQUEST__INIT;
    int32_t isr[] = {2};
    control_set(&partition, partition, 1);
    control_set(&partition, leader_epoch, 0);
    control_set(&partition, partition_epoch, 0);
    partition.isr = isr;
    partition.n_isr = 1;
    topic.name = "t";
    topic.partitions = partitions;
    topic.n_partitions = 1;
    body.topics = topics;
    body.n_topics = 1;
    control_set(&request, kind, BARNABAS__CONTROL__KIND__ALTER_PARTITION);
    control_set(&request, broker_id, 2);
    control_set(&request, broker_epoch, 102);
    request.alter_partition = &body;
    struct ctl_event event = {.kind = CTL_EV_ALTER};
    event.u.request.request = &request;
    step(&b, event);
    uint64_t change = id_of(&b, CTL_WRITE_STATE, 0);
    sent_ok(&b, busy);
    while (metadata_to(&b, 2) == NULL && strstr((char *)b.text.data, "SEND to=2") != NULL) {
        sent_ok(&b, send_to(&b, 2));
    }
    const Barnabas__Control__UpdateMetadata *heard = metadata_to(&b, 2);
    cr_assert(heard == NULL || told_of(heard, "t") == -1, "%s", (char *)b.text.data);
    wrote(&b, change, ERR_OK, 1);
    while (metadata_to(&b, 2) == NULL) {
        sent_ok(&b, send_to(&b, 2));
    }
    cr_assert_eq(told_of(metadata_to(&b, 2), "t"), 2, "%s", (char *)b.text.data);
    bench_fini(&b);
}
