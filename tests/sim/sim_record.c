#include "sim_record.h"

static uint8_t padding(uint64_t id, size_t at)
{
    return (uint8_t)(id * 31 + at * 7);
}

void sim_record_make(struct buf *out, uint64_t id, size_t size)
{
    buf_put_be64(out, id);
    for (size_t i = SIM_RECORD_MIN; i < size; i++) {
        buf_put_byte(out, padding(id, i));
    }
}

uint64_t sim_record_read(struct bytes value)
{
    if (value.data == NULL || value.size < SIM_RECORD_MIN) {
        return 0;
    }
    uint64_t id = be64_get(value.data);
    for (size_t i = SIM_RECORD_MIN; i < value.size; i++) {
        if (value.data[i] != padding(id, i)) {
            return 0;
        }
    }
    return id;
}
