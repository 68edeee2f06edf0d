/* settle.h: new logs whose directories are to become durable. See settle.c.
 *
 * Threads: the owner's of struct logs. */
#pragma once

#include "log/logdir.h"
#include "log/plog.h"
#include "rt/worker.h"

/* The file with the topic's id in a log's directory. */
#define PARTITION_METADATA "partition.metadata"

struct new_logs;

struct new_logs *new_logs_new(void);
void new_logs_free(struct new_logs *news);

/* It has just been made. */
void new_logs_add(struct new_logs *news, struct plog *log, struct logdir *dir);

/* Sync all that were added, on a worker, then call done() on `loop`; with `loop` NULL, or nothing
 * to do, here and now. A log whose directory could not be synced has failed. */
void new_logs_settle(struct new_logs *news, struct worker_pool *workers, struct loop *loop,
                     void (*done)(void *arg), void *arg);
