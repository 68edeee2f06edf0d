/* spare.h: memory that the connections of a thread use by turns, so that none of them holds it and
 * nobody asks malloc for it each time.
 *
 * One receive buffer; one empty queue; and blocks for small frames, SPARE_FRAMES_MAX of each size,
 * the last one given first: many small requests in one turn otherwise make malloc put together and
 * split what it had. What is beyond the maximum goes back to malloc.
 *
 * Threads: each has its own, which goes with it. What was taken on one may be given on another. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "net/outq.h"

enum {
    /* One receive takes up to so much. */
    SPARE_RECEIVE_BYTES = 256 * 1024,
    SPARE_FRAME_BYTES_MAX = 1024,
    SPARE_FRAMES_MAX = 512,
};

uint8_t *spare_receive_buffer(void);

/* Memory for `size` bytes. Given back, or freed by mem_free() if it must be. */
uint8_t *spare_frame_take(size_t size);
void spare_frame_give(uint8_t *frame, size_t size);

struct outq *spare_outq_take(void);
/* An empty one. */
void spare_outq_give(struct outq *outq);
