/* sim_renew.h: a topic that is deleted and made anew under the same name, again and again, with
 * records in it.
 *
 * Each of its lives has an id. Records are written by name, read by id, and the topic is deleted by
 * id:
 *
 *   R1  what is read under an id was written in that life
 *   R2  what was acknowledged in a life is where it was acknowledged, until that life is deleted
 *
 * A message about an earlier life that comes late must not touch the present one. (A batch whose
 * outcome its writer never learned may still be on its way when the next life begins, and ends up
 * there: Produce knows names only.)
 *
 * Threads: the client's loop. */
#pragma once

struct sim;

void sim_renew_new(struct sim *sim, int lives);
