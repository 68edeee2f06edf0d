/* sim_commit.h: what is committed, and that every broker which says so has the same.
 *
 * A record is committed when the high watermark of any broker has passed it. From then on it stands
 * for ever where it is, in the logs of all that say they have it, and in that of every later
 * leader. So, whenever a broker has run:
 *
 *   C1  below its high watermark its log is what every other broker had below theirs, batch by
 *       batch: offsets, leader epoch, CRC
 *   C2  whoever begins to lead has all that was committed in earlier leader epochs
 *
 * Looks into the brokers' own logs, through the functions that serve a fetch; what was compared is
 * not read again until the log is cut or opened anew.
 *
 * Threads: one. */
#pragma once

#include <stdint.h>

struct part;
struct sim;
struct sim_node;
struct sim_commit;

struct sim_commit *sim_commit_new(struct sim *sim);
void sim_commit_free(struct sim_commit *commit);

/* After a step of this broker. `name` is the partition's, for people. */
void sim_commit_look(struct sim_commit *commit, struct sim_node *node, int number,
                     struct part *part, const char *name);

/* The partition does not live on this broker now: when it comes back, its log is another one. */
void sim_commit_absent(struct sim_commit *commit, const struct sim_node *node, int number);

/* The broker leads in an epoch in which it did not a step ago. */
void sim_commit_leads(struct sim_commit *commit, struct sim_node *node, int number,
                      struct part *part, const char *name);

/* Up to where the broker's log has what was committed: its end, or before it a batch that differs.
 */
int64_t sim_commit_agrees(const struct sim_commit *commit, struct sim_node *node, int number,
                          struct part *part);

/* What was committed from `end` on may be gone: the disks that had it lost their power. */
void sim_commit_forget(struct sim_commit *commit, int number, int64_t end);

int64_t sim_commit_end(const struct sim_commit *commit, int number);
