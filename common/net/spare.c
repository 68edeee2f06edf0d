#include "net/spare.h"

#include <pthread.h>
#include <stdbool.h>

#include "base/mem.h"
#include "base/must.h"

/* Blocks of 256, 512 and 1,024 bytes. */
enum { CLASSES = 3, CLASS_BYTES_MIN = 256 };

_Static_assert(CLASS_BYTES_MIN << (CLASSES - 1) == SPARE_FRAME_BYTES_MAX, "the largest class");

struct frames {
    uint8_t *list[SPARE_FRAMES_MAX];
    size_t count;
};

struct spare {
    uint8_t *receive_buffer; /* NULL until it is needed */
    struct outq *outq;       /* NULL: in use */
    struct frames frames[CLASSES];
};

static _Thread_local struct spare *spare;
static pthread_key_t spare_key; /* frees it with its thread */
static pthread_once_t spare_once = PTHREAD_ONCE_INIT;

static size_t class_bytes(int class)
{
    return (size_t)CLASS_BYTES_MIN << class;
}

static int class_of(size_t size)
{
    int class = 0;
    while (class < CLASSES && size > class_bytes(class)) {
        class ++;
    }
    return class;
}

static void frames_free(struct frames *frames, size_t each)
{
    while (frames->count > 0) {
        uint8_t *frame = frames->list[--frames->count];
        mem_wanted(frame, each);
        mem_free(frame);
    }
}

static void spare_free(void *arg)
{
    struct spare *gone = arg;
    for (int class = 0; class < CLASSES; class ++) {
        frames_free(&gone->frames[class], class_bytes(class));
    }
    outq_free(gone->outq);
    mem_free(gone->receive_buffer);
    mem_free(gone);
    spare = NULL;
}

static void make_key(void)
{
    must(pthread_key_create(&spare_key, spare_free) == 0);
}

static struct spare *spare_here(void)
{
    if (spare == NULL) {
        pthread_once(&spare_once, make_key);
        spare = mem_new(struct spare);
        must(pthread_setspecific(spare_key, spare) == 0);
    }
    return spare;
}

uint8_t *spare_receive_buffer(void)
{
    struct spare *here = spare_here();
    if (here->receive_buffer == NULL) {
        here->receive_buffer = mem_alloc(SPARE_RECEIVE_BYTES);
    }
    return here->receive_buffer;
}

uint8_t *spare_frame_take(size_t size)
{
    int class = class_of(size);
    if (class == CLASSES) {
        return mem_alloc(size);
    }
    struct frames *frames = &spare_here()->frames[class];
    uint8_t *frame =
        frames->count > 0 ? frames->list[--frames->count] : mem_alloc(class_bytes(class));
    /* No more than was asked for: who reads on behind a frame is to be caught. */
    mem_unwanted(frame, class_bytes(class));
    mem_wanted(frame, size);
    return frame;
}

void spare_frame_give(uint8_t *frame, size_t size)
{
    int class = class_of(size);
    if (class == CLASSES || spare_here()->frames[class].count == SPARE_FRAMES_MAX) {
        mem_free(frame);
        return;
    }
    struct frames *frames = &spare->frames[class];
    mem_unwanted(frame, class_bytes(class));
    frames->list[frames->count++] = frame;
}

struct outq *spare_outq_take(void)
{
    struct spare *here = spare_here();
    struct outq *outq = here->outq != NULL ? here->outq : outq_new();
    here->outq = NULL;
    return outq;
}

void spare_outq_give(struct outq *outq)
{
    struct spare *here = spare_here();
    must(outq_empty(outq));
    if (here->outq == NULL) {
        here->outq = outq;
    } else {
        outq_free(outq);
    }
}
