/* heard_topics.h: topics that the controller does not speak of any more.
 *
 * A topic's deletion is told like any other news, but a broker may miss it: it has a new ZooKeeper
 * session, or there is a new controller, and the one that tells everything anew does not know what
 * is gone. So from the first message of a (controller epoch, broker epoch) on the topics named are
 * remembered until the message that says it is complete; what was not named by then is forgotten,
 * also what groups committed in it, unless __consumer_offsets itself is among that.
 *
 * Threads: the control loop. */
#pragma once

#include "control/control.h"

struct broker;
struct heard_topics;

/* This topic was deleted: neither what groups committed in it nor its values mean anything any
 * more, here and to the controller in this broker, should it be one. */
void heard_topics_gone(struct broker *broker, struct str topic);

struct heard_topics *heard_topics_new(struct broker *broker);
void heard_topics_free(struct heard_topics *heard);

/* After an UpdateMetadata has been applied. */
void heard_topics_note(struct heard_topics *heard, const Barnabas__Control__Request *request);

/* Has this broker heard of all topics, once since it started? */
bool heard_topics_complete(const struct heard_topics *heard);
