/* The controller's message as a new snapshot, and what of it is not said in so many words. */
#include "control/update_metadata.h"

#include <criterion/criterion.h>
#include <stdio.h>

#include "base/bytes.h"

static void on_replaced(void *arg, struct str topic)
{
    buf_printf(arg, "%.*s;", STR_ARG(topic));
}

/* Partition 0 of topic t with that id (0: none) has that leader: the topics that were replaced. */
static const char *apply(struct meta_cell *cell, uint8_t id, int32_t leader)
{
    static char told[32];
    struct buf names = {0};
    struct uuid uuid = {{id}};
    int32_t one = 1;
    Barnabas__Control__UpdateMetadataPartition partition =
        BARNABAS__CONTROL__UPDATE_METADATA_PARTITION__INIT;
    Barnabas__Control__UpdateMetadataPartition *partitions[] = {&partition};
    Barnabas__Control__UpdateMetadataTopic topic = BARNABAS__CONTROL__UPDATE_METADATA_TOPIC__INIT;
    Barnabas__Control__UpdateMetadataTopic *topics[] = {&topic};
    Barnabas__Control__UpdateMetadata update = BARNABAS__CONTROL__UPDATE_METADATA__INIT;
    control_set(&partition, leader, leader);
    partition.replicas = &one;
    partition.n_replicas = 1;
    topic.name = "t";
    topic.topic_id = (ProtobufCBinaryData){id != 0 ? sizeof(uuid.raw) : 0, uuid.raw};
    topic.partitions = partitions;
    topic.n_partitions = 1;
    update.topics = topics;
    update.n_topics = 1;
    update_metadata_apply(cell, 1, &update, on_replaced, &names);
    snprintf(told, sizeof(told), "%.*s", (int)names.size, (const char *)names.data);
    buf_fini(&names);
    return told;
}

Test(update_metadata, a_topic_that_was_made_again_while_nobody_told_of_its_deletion_is_another)
{
    /* The new topic went on with what groups had committed in the old one, and with its values. */
    struct meta_cell cell;
    meta_cell_init(&cell);
    cr_assert_str_eq(apply(&cell, 1, 1), "");
    cr_assert_str_eq(apply(&cell, 1, -1), "", "the same one");
    cr_assert_str_eq(apply(&cell, 2, 1), "t;");
    cr_assert_str_eq(apply(&cell, 2, 1), "", "once");
    cr_assert_str_eq(apply(&cell, 2, CONTROL_LEADER_DURING_DELETE), "", "a deletion that is told");
    cr_assert_str_eq(apply(&cell, 3, 1), "");
    meta_cell_fini(&cell);
}

Test(update_metadata, a_topic_gets_its_id_later)
{
    /* Made by an older tool. */
    struct meta_cell cell;
    meta_cell_init(&cell);
    cr_assert_str_eq(apply(&cell, 0, 1), "");
    cr_assert_str_eq(apply(&cell, 1, 1), "");
    cr_assert_str_eq(apply(&cell, 0, 1), "");
    meta_cell_fini(&cell);
}
