/* zk_wire_fuzz.c: any bytes as a ZooKeeper server's answers: to the connect request, and to a read
 * of many nodes. What is handed out lies within the bytes, and decoding comes to an end. */
#include "base/mem.h"
#include "base/must.h"
#include "zk/zk_wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *copy =
        mem_alloc(size); /* of its exact size, so that a sanitizer sees a read too far */
    struct bytes frame = {copy, size};
    struct zk_wire_header header;
    struct bytes rest;
    struct bytes node;
    struct zk_stat stat;
    int32_t rc;
    if (size > 0) {
        memcpy(copy, data, size);
    }
    bool connected = zk_wire_get_connect(frame);
    must(!connected || size >= 16);
    if (zk_wire_get_header(frame, &header, &rest)) {
        uint64_t sum = 0;
        size_t before = size;
        while (zk_wire_get_read(&rest, &rc, &node, &stat)) {
            must(rest.size < before);
            must(rc == 0 || node.data == NULL);
            before = rest.size;
            sum = bytes_hash(node.data, node.size, sum);
        }
        bool end = zk_wire_at_end(rest);
        must(!end || rest.size == 9);
    }
    mem_free(copy);
    return 0;
}
