/* offsets_topic.h: how many partitions __consumer_offsets has, which decides where each group is
 * kept.
 *
 * The metadata cannot tell: while the topic is being made its partitions come to be known one by
 * one, and a group placed by half of them would be placed wrongly, and its offsets with it. So the
 * number is read from the topic's node in ZooKeeper, once, when the topic first appears, and is
 * then fixed until the topic is deleted: as in Kafka, adding partitions to it does not move groups
 * before the brokers are restarted. Until it is known nobody is told of a coordinator.
 *
 * Threads: the control loop. */
#pragma once

struct broker;
struct offsets_topic;

struct offsets_topic *offsets_topic_new(struct broker *broker);
void offsets_topic_free(struct offsets_topic *topic);

/* The metadata has changed: begin to read, or forget. */
void offsets_topic_look(struct offsets_topic *topic);
