/* zk_welcome.h: what a ZooKeeper says first, for a test that plays one. */
#pragma once

#include <arpa/inet.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>

static inline void zk_welcome_put32(uint8_t *at, uint32_t value)
{
    value = htonl(value);
    memcpy(at, &value, sizeof(value));
}

/* Takes a connect request and answers it: length, protocol 0, the timeout, a session id, a password
 * of 16 bytes, not read-only. Whoever asked may have lost patience meanwhile. */
static inline void zk_welcome(int connection, uint32_t timeout_ms)
{
    uint8_t frame[4 + 37] = {0};
    uint8_t request[256];
    if (recv(connection, request, sizeof(request), 0) <= 0) {
        return;
    }
    zk_welcome_put32(frame, 37);
    zk_welcome_put32(frame + 8, timeout_ms);
    frame[19] = 7;
    zk_welcome_put32(frame + 20, 16);
    (void)send(connection, frame, sizeof(frame), MSG_NOSIGNAL);
}
