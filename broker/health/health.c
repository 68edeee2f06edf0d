#include "health/health.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/arena.h"
#include "codec/api.h"
#include "codec/codec.h"
#include "codec/messages.h"
#include "config/listeners.h"
#include "rt/clock.h"

enum {
    /* The first version that tells the controller. */
    METADATA_VERSION = 1,
    CORRELATION_ID = 1,
};

/* One question: a socket that does not block, and until when it may wait. */
struct asking {
    const struct health_target *target;
    struct errmsg *msg;
    int64_t deadline_ms;
    int fd;
};

enum err health_find_target(const struct config *config, struct health_target *out,
                            struct errmsg *msg)
{
    struct listeners listeners;
    enum err err = listeners_parse(config, &listeners, msg);
    if (err != ERR_OK) {
        return err;
    }
    err = ERR_NOT_FOUND;
    for (int i = 0; i < listeners.count && err != ERR_OK; i++) {
        const struct listener_config *item = &listeners.items[i];
        if (item->protocol == SECURITY_PLAINTEXT && item->port != 0) {
            bool any = item->host[0] == '\0' || strcmp(item->host, "0.0.0.0") == 0;
            const char *host = any                             ? "127.0.0.1"
                               : strcmp(item->host, "::") == 0 ? "::1"
                                                               : item->host;
            snprintf(out->host, sizeof(out->host), "%s", host);
            out->port = item->port;
            err = ERR_OK;
        }
    }
    listeners_fini(&listeners);
    if (err != ERR_OK) {
        errmsg_set(msg, "no listener of protocol PLAINTEXT with a fixed port to ask");
    }
    return err;
}

static enum err fail(const struct asking *asking, enum err err, const char *what)
{
    errmsg_set(asking->msg, "%s:%u %s", asking->target->host, asking->target->port, what);
    return err;
}

static enum err await(const struct asking *asking, short events)
{
    for (;;) {
        int64_t left_ms = asking->deadline_ms - clock_mono_ms(clock_system());
        struct pollfd poll_fd = {.fd = asking->fd, .events = events};
        int ready = left_ms > 0 ? poll(&poll_fd, 1, (int)left_ms) : 0;
        if (ready > 0) {
            return ERR_OK;
        }
        if (ready == 0) {
            return fail(asking, ERR_TIMEOUT, "does not answer in time");
        }
        if (errno != EINTR) {
            return fail(asking, ERR_IO, strerror(errno));
        }
    }
}

static enum err connect_to(struct asking *asking, const struct addrinfo *address)
{
    int error = 0;
    socklen_t size = sizeof(error);
    asking->fd = socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (asking->fd < 0) {
        return fail(asking, ERR_IO, strerror(errno));
    }
    if (connect(asking->fd, address->ai_addr, address->ai_addrlen) != 0) {
        if (errno != EINPROGRESS) {
            return fail(asking, ERR_IO, strerror(errno));
        }
        enum err err = await(asking, POLLOUT);
        if (err != ERR_OK) {
            return err;
        }
    }
    if (getsockopt(asking->fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0 || error != 0) {
        return fail(asking, ERR_IO, strerror(error));
    }
    return ERR_OK;
}

/* A name may have addresses on which the broker does not listen: "localhost" is ::1, too. */
static enum err connect_any(struct asking *asking)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *list = NULL;
    char port[8];
    snprintf(port, sizeof(port), "%u", asking->target->port);
    int rc = getaddrinfo(asking->target->host, port, &hints, &list);
    if (rc != 0) {
        return fail(asking, ERR_NOT_FOUND, gai_strerror(rc));
    }
    enum err err = ERR_NOT_FOUND;
    for (const struct addrinfo *at = list; at != NULL && err != ERR_OK && err != ERR_TIMEOUT;
         at = at->ai_next) {
        if (asking->fd >= 0) {
            close(asking->fd);
        }
        err = connect_to(asking, at);
    }
    freeaddrinfo(list);
    return err;
}

static enum err send_all(const struct asking *asking, const struct buf *out)
{
    for (size_t sent = 0; sent < out->size;) {
        ssize_t n = send(asking->fd, out->data + sent, out->size - sent, MSG_NOSIGNAL);
        if (n > 0) {
            sent += (size_t)n;
        } else if (n < 0 && errno == EAGAIN) {
            enum err err = await(asking, POLLOUT);
            if (err != ERR_OK) {
                return err;
            }
        } else if (errno != EINTR) {
            return fail(asking, ERR_IO, strerror(errno));
        }
    }
    return ERR_OK;
}

static enum err receive(const struct asking *asking, uint8_t *to, size_t size)
{
    for (size_t got = 0; got < size;) {
        ssize_t n = recv(asking->fd, to + got, size - got, 0);
        if (n > 0) {
            got += (size_t)n;
        } else if (n == 0) {
            return fail(asking, ERR_CLOSED, "closes the connection instead of answering");
        } else if (errno == EAGAIN) {
            enum err err = await(asking, POLLIN);
            if (err != ERR_OK) {
                return err;
            }
        } else if (errno != EINTR) {
            return fail(asking, ERR_IO, strerror(errno));
        }
    }
    return ERR_OK;
}

static enum err send_question(const struct asking *asking)
{
    struct metadata_request request;
    struct buf out = {0};
    codec_init(&metadata_request_desc, &request); /* no topics: only brokers and controller */
    buf_put_be32(&out, 0);
    codec_encode_request_header(API_METADATA, METADATA_VERSION, CORRELATION_ID, STR("healthcheck"),
                                &out);
    enum err err = codec_encode(&metadata_request_desc, METADATA_VERSION, &request, &out);
    if (err == ERR_OK) {
        be32_put(out.data, (uint32_t)(out.size - 4));
        err = send_all(asking, &out);
    }
    buf_fini(&out);
    return err;
}

static enum err receive_frame(const struct asking *asking, struct buf *in)
{
    uint8_t prefix[4];
    enum err err = receive(asking, prefix, sizeof(prefix));
    if (err != ERR_OK) {
        return err;
    }
    uint32_t size = be32_get(prefix);
    if (size > HEALTH_RESPONSE_MAX) {
        return fail(asking, ERR_MALFORMED, "answers, but not as a broker does");
    }
    return receive(asking, buf_extend(in, size), size);
}

static enum err read_answer(const struct asking *asking, const struct buf *in,
                            struct health_report *out)
{
    struct bytes frame = {in->data, in->size};
    struct metadata_response response;
    struct arena arena = {0};
    int32_t correlation_id = 0;
    size_t used = 0;
    enum err err =
        codec_decode_response_header(API_METADATA, METADATA_VERSION, frame, &correlation_id, &used);
    if (err == ERR_OK) {
        struct bytes body = {frame.data + used, frame.size - used};
        err =
            codec_decode(&metadata_response_desc, METADATA_VERSION, body, &arena, &response, NULL);
    }
    if (err != ERR_OK || correlation_id != CORRELATION_ID) {
        arena_fini(&arena);
        return fail(asking, ERR_MALFORMED, "answers, but not as a broker does");
    }
    *out = (struct health_report){.brokers_count = response.brokers_count,
                                  .controller_id = response.controller_id};
    arena_fini(&arena);
    if (out->brokers_count < 1 || out->controller_id < 0) {
        return fail(asking, ERR_LEADER_NOT_AVAILABLE,
                    "has not joined a cluster with a controller yet");
    }
    return ERR_OK;
}

enum err health_ask(const struct health_target *target, int timeout_ms, struct health_report *out,
                    struct errmsg *msg)
{
    struct asking asking = {.target = target,
                            .msg = msg,
                            .deadline_ms = clock_mono_ms(clock_system()) + timeout_ms,
                            .fd = -1};
    struct buf in = {0};
    enum err err = connect_any(&asking);
    if (err == ERR_OK) {
        err = send_question(&asking);
    }
    if (err == ERR_OK) {
        err = receive_frame(&asking, &in);
    }
    if (err == ERR_OK) {
        err = read_answer(&asking, &in, out);
    }
    buf_fini(&in);
    if (asking.fd >= 0) {
        close(asking.fd);
    }
    return err;
}
