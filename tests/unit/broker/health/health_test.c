/* The health check against a peer that says what a test tells it to, and against none. */
#include "health/health.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <netdb.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/bytes.h"
#include "codec/api.h"
#include "codec/codec.h"
#include "codec/messages.h"
#include "support/lookup.h"

enum { LONG_MS = 600000 /* longer than any test */, SHORT_MS = 50 };

/* Ours comes before the library's: a host with two addresses, at the first of which nobody is. */
int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints,
                struct addrinfo **list)
{
    if (strcmp(name, "two-hosts") != 0) {
        return lookup_really(name, service, hints, list);
    }
    int rc = lookup_really("127.0.0.2", service, hints, list);
    return rc == 0 ? lookup_really("127.0.0.1", service, hints, &(*list)->ai_next) : rc;
}

/* A peer on a free port of loopback: accepts one connection, reads one request, sends `answer`. */
struct peer {
    int listener;
    uint16_t port;
    struct buf answer;
    uint8_t request[256];
    ssize_t request_size;
    bool silent; /* waits for the other side to close instead of answering */
    pthread_t thread;
};

/* Nobody else gets the port. */
static void peer_bind(struct peer *peer)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(at);
    peer->listener = socket(AF_INET, SOCK_STREAM, 0);
    cr_assert_eq(bind(peer->listener, (struct sockaddr *)&at, sizeof(at)), 0);
    cr_assert_eq(getsockname(peer->listener, (struct sockaddr *)&at, &size), 0);
    peer->port = ntohs(at.sin_port);
}

static void peer_listen(struct peer *peer)
{
    peer_bind(peer);
    cr_assert_eq(listen(peer->listener, 1), 0);
}

static void *peer_run(void *arg)
{
    struct peer *peer = arg;
    uint8_t byte;
    int fd = accept(peer->listener, NULL, NULL);
    peer->request_size = recv(fd, peer->request, sizeof(peer->request), 0);
    if (peer->silent) {
        peer->request_size = recv(fd, &byte, 1, 0); /* 0 when the asker gives up */
    } else {
        send(fd, peer->answer.data, peer->answer.size, MSG_NOSIGNAL);
    }
    close(fd);
    return NULL;
}

static void answer_metadata(struct peer *peer, int32_t brokers_count, int32_t controller_id)
{
    struct metadata_response response;
    struct arena arena = {0};
    codec_init(&metadata_response_desc, &response);
    response.brokers =
        codec_array(&metadata_response_metadata_response_broker_desc, &arena, brokers_count);
    response.brokers_count = brokers_count;
    response.controller_id = controller_id;
    for (int32_t i = 0; i < brokers_count; i++) {
        response.brokers[i].node_id = i + 1;
        response.brokers[i].host = STR("localhost");
    }
    buf_put_be32(&peer->answer, 0);
    codec_encode_response_header(API_METADATA, 1, 1, &peer->answer);
    cr_assert_eq(codec_encode(&metadata_response_desc, 1, &response, &peer->answer), ERR_OK);
    be32_put(peer->answer.data, (uint32_t)(peer->answer.size - 4));
    arena_fini(&arena);
}

/* Ask the peer while it runs; takes it apart. */
static enum err ask_at(const char *host, struct peer *peer, int timeout_ms,
                       struct health_report *report, struct errmsg *msg)
{
    struct health_target target = {.port = peer->port};
    snprintf(target.host, sizeof(target.host), "%s", host);
    pthread_create(&peer->thread, NULL, peer_run, peer);
    enum err err = health_ask(&target, timeout_ms, report, msg);
    shutdown(peer->listener, SHUT_RDWR); /* it may have given up before it was connected */
    pthread_join(peer->thread, NULL);
    close(peer->listener);
    buf_fini(&peer->answer);
    return err;
}

static enum err ask(struct peer *peer, int timeout_ms, struct health_report *report,
                    struct errmsg *msg)
{
    return ask_at("127.0.0.1", peer, timeout_ms, report, msg);
}

Test(health_ask, is_content_with_a_broker_that_knows_a_controller)
{
    struct peer peer = {0};
    struct health_report report;
    struct errmsg msg = {""};
    struct request_header_view header;
    peer_listen(&peer);
    answer_metadata(&peer, 3, 2);
    cr_assert_eq(ask(&peer, LONG_MS, &report, &msg), ERR_OK, "%s", msg.text);
    cr_assert_eq(report.brokers_count, 3);
    cr_assert_eq(report.controller_id, 2);
    struct bytes request = {peer.request + 4, (size_t)peer.request_size - 4};
    cr_assert_eq(codec_decode_request_header(request, &header), ERR_OK);
    cr_assert_eq(header.api_key, API_METADATA);
    /* An empty list of topics: none. Null would be all, and on a large cluster a lot to send. */
    cr_assert_eq(request.size - header.used, 4);
    cr_assert_eq(be32_get(request.data + header.used), 0);
}

/* "localhost" is ::1 as well, and a broker listens at one of the two: the other one was asked, and
 * a broker that was well was restarted. */
Test(health_ask, asks_at_each_address_of_a_name)
{
    struct peer peer = {0};
    struct health_report report;
    struct errmsg msg = {""};
    peer_listen(&peer);
    answer_metadata(&peer, 1, 1);
    cr_assert_eq(ask_at("two-hosts", &peer, LONG_MS, &report, &msg), ERR_OK, "%s", msg.text);
}

Test(health_ask, waits_for_a_controller)
{
    struct peer peer = {0};
    struct health_report report;
    struct errmsg msg = {""};
    peer_listen(&peer);
    answer_metadata(&peer, 1, -1);
    cr_assert_eq(ask(&peer, LONG_MS, &report, &msg), ERR_LEADER_NOT_AVAILABLE);
    cr_assert(strstr(msg.text, "has not joined a cluster with a controller yet"), "%s", msg.text);
}

Test(health_ask, a_broker_that_knows_no_broker_is_not_ready)
{
    struct peer peer = {0};
    struct health_report report;
    struct errmsg msg = {""};
    peer_listen(&peer);
    answer_metadata(&peer, 0, 1);
    cr_assert_eq(ask(&peer, LONG_MS, &report, &msg), ERR_LEADER_NOT_AVAILABLE);
}

Test(health_ask, a_peer_that_is_no_broker_is_refused_at_once)
{
    struct peer peer = {0};
    struct health_report report;
    struct errmsg msg = {""};
    peer_listen(&peer);
    buf_put_text(&peer.answer, "HTTP/1.1 400 Bad Request\r\n\r\n");
    cr_assert_eq(ask(&peer, LONG_MS, &report, &msg), ERR_MALFORMED);
    cr_assert(strstr(msg.text, "not as a broker does"), "%s", msg.text);
}

Test(health_ask, damaged_metadata_is_no_answer)
{
    struct peer peer = {0};
    struct health_report report;
    struct errmsg msg = {""};
    peer_listen(&peer);
    answer_metadata(&peer, 1, 1);
    be32_put(peer.answer.data + 8, 1000000); /* the count of brokers */
    cr_assert_eq(ask(&peer, LONG_MS, &report, &msg), ERR_MALFORMED);
}

Test(health_ask, a_peer_that_closes_is_reported)
{
    struct peer peer = {0};
    struct health_report report;
    struct errmsg msg = {""};
    peer_listen(&peer);
    cr_assert_eq(ask(&peer, LONG_MS, &report, &msg), ERR_CLOSED);
}

Test(health_ask, a_silent_peer_takes_no_longer_than_the_limit)
{
    struct peer peer = {.silent = true};
    struct health_report report;
    struct errmsg msg = {""};
    peer_listen(&peer);
    cr_assert_eq(ask(&peer, SHORT_MS, &report, &msg), ERR_TIMEOUT);
    cr_assert(strstr(msg.text, "does not answer in time"), "%s", msg.text);
}

Test(health_ask, nobody_there_is_reported_with_the_address)
{
    struct peer peer = {0};
    struct health_report report;
    struct errmsg msg = {""};
    char address[64];
    peer_bind(&peer);
    struct health_target target = {.host = "127.0.0.1", .port = peer.port};
    cr_assert_eq(health_ask(&target, LONG_MS, &report, &msg), ERR_IO);
    snprintf(address, sizeof(address), "127.0.0.1:%u Connection refused", peer.port);
    cr_assert_str_eq(msg.text, address);
    close(peer.listener);
}

static enum err find(const char *listeners, const char *protocols, struct health_target *out,
                     struct errmsg *msg)
{
    struct config_pair pairs[] = {
        {"zookeeper.connect", "localhost:2181"},          {"listeners", listeners},
        {"listener.security.protocol.map", protocols},    {"inter.broker.listener.name", "A"},
        {"advertised.listeners", "A://example.org:9092"},
    };
    struct config *config;
    enum err err = config_from_pairs(pairs, 5, &config, msg);
    cr_assert_eq(err, ERR_OK, "%s", msg->text);
    err = health_find_target(config, out, msg);
    config_put(config);
    return err;
}

Test(health_find_target, takes_loopback_where_the_broker_listens_everywhere)
{
    struct health_target target;
    struct errmsg msg = {""};
    cr_assert_eq(find("A://0.0.0.0:9092", "A:PLAINTEXT", &target, &msg), ERR_OK);
    cr_assert_str_eq(target.host, "127.0.0.1");
    cr_assert_eq(target.port, 9092);
    cr_assert_eq(find("A://:9093", "A:PLAINTEXT", &target, &msg), ERR_OK);
    cr_assert_str_eq(target.host, "127.0.0.1");
    cr_assert_eq(target.port, 9093);
    cr_assert_eq(find("A://[::]:9094", "A:PLAINTEXT", &target, &msg), ERR_OK);
    cr_assert_str_eq(target.host, "::1");
}

Test(health_find_target, takes_the_address_that_the_broker_is_bound_to)
{
    struct health_target target;
    struct errmsg msg = {""};
    cr_assert_eq(find("A://10.1.2.3:9092", "A:PLAINTEXT", &target, &msg), ERR_OK);
    cr_assert_str_eq(target.host, "10.1.2.3");
}

Test(health_find_target, passes_over_ports_that_the_system_chooses)
{
    struct health_target target;
    struct errmsg msg = {""};
    cr_assert_eq(
        find("A://127.0.0.1:0,B://127.0.0.1:9099", "A:PLAINTEXT,B:PLAINTEXT", &target, &msg),
        ERR_OK);
    cr_assert_eq(target.port, 9099);
    cr_assert_eq(find("A://127.0.0.1:0", "A:PLAINTEXT", &target, &msg), ERR_NOT_FOUND);
}
