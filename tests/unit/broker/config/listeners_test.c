#include "config/listeners.h"

#include <criterion/criterion.h>
#include <stdio.h>

#include "base/mem.h"

static enum err parse(const char *listeners, const char *advertised, const char *key,
                      const char *value, struct listeners *out, struct errmsg *msg)
{
    struct config_pair pairs[5] = {
        {"zookeeper.connect", "z:1"},
        {"listeners", listeners},
        {"listener.security.protocol.map", "PLAINTEXT:PLAINTEXT,INTERNAL:PLAINTEXT,TLS:SSL"}};
    struct config *config;
    int count = 3;
    if (advertised != NULL) {
        pairs[count++] = (struct config_pair){"advertised.listeners", advertised};
    }
    if (key != NULL) {
        pairs[count++] = (struct config_pair){key, value};
    }
    enum err err = config_from_pairs(pairs, count, &config, msg);
    if (err == ERR_OK) {
        err = listeners_parse(config, out, msg);
        config_put(config);
    }
    return err;
}

static void good(const char *listeners, const char *advertised, const char *key, const char *value,
                 struct listeners *out)
{
    struct errmsg msg = {""};
    cr_assert_eq(parse(listeners, advertised, key, value, out, &msg), ERR_OK, "%s", msg.text);
}

static void bad(const char *listeners, const char *advertised, const char *key, const char *value,
                const char *code)
{
    struct listeners out;
    struct errmsg msg = {""};
    cr_expect_eq(parse(listeners, advertised, key, value, &out, &msg), ERR_INVALID_CONFIG, "%s",
                 listeners);
    cr_expect(strncmp(msg.text, code, strlen(code)) == 0, "%s is not %s", msg.text, code);
}

Test(listeners, what_is_bound_is_advertised_unless_somebody_says_otherwise)
{
    struct listeners out;
    good("PLAINTEXT://host:9092", NULL, NULL, NULL, &out);
    cr_expect_eq(out.count, 1);
    cr_expect_str_eq(out.items[0].advertised_host, "host");
    cr_expect_eq(out.items[0].advertised_port, 9092);
    good("PLAINTEXT://0.0.0.0:9092", NULL, NULL, NULL, &out);
    cr_expect_str_eq(out.items[0].advertised_host, "", "the host's own name, found out later");
    good("PLAINTEXT://:9092", "PLAINTEXT://outside:19092", NULL, NULL, &out);
    cr_expect_str_eq(out.items[0].host, "");
    cr_expect_str_eq(out.items[0].advertised_host, "outside");
    cr_expect_eq(out.items[0].advertised_port, 19092);
    listeners_fini(&out);
}

Test(listeners, names_are_upper_cased_blanks_skipped_and_ipv6_understood)
{
    struct listeners out;
    good(" plaintext://[::1]:9092 , Internal://:0 ,", NULL, NULL, NULL, &out);
    cr_expect_eq(out.count, 2);
    cr_expect_str_eq(out.items[0].name, "PLAINTEXT");
    cr_expect_str_eq(out.items[0].host, "::1");
    cr_expect_str_eq(out.items[1].name, "INTERNAL");
    cr_expect_eq(out.items[1].port, 0);
    listeners_fini(&out);
}

/* As Kafka's: the file of one did not start ours. */
Test(listeners, protocols_may_be_in_lower_case)
{
    struct listeners out;
    good("PLAINTEXT://:1", NULL, "listener.security.protocol.map", "plaintext:plaintext", &out);
    cr_expect_eq(out.items[0].protocol, SECURITY_PLAINTEXT);
    listeners_fini(&out);
    bad("tls://:1", NULL, "listener.security.protocol.map", "tls:ssl", "error[E-LISTENER-08]");
}

Test(listeners, brokers_use_the_listener_of_their_protocol_or_the_one_that_is_named)
{
    struct listeners out;
    good("INTERNAL://:1,PLAINTEXT://:2", NULL, NULL, NULL, &out);
    cr_expect_eq(out.inter_broker, 1);
    good("INTERNAL://:1,PLAINTEXT://:2", NULL, "inter.broker.listener.name", "internal", &out);
    cr_expect_eq(out.inter_broker, 0);
    listeners_fini(&out);
}

Test(listeners, what_cannot_be_is_told_with_its_code)
{
    bad("localhost:9092", NULL, NULL, NULL, "error[E-LISTENER-04]");
    bad("PLAINTEXT://localhost", NULL, NULL, NULL, "error[E-LISTENER-04]");
    bad("PLAINTEXT://localhost:65536", NULL, NULL, NULL, "error[E-LISTENER-04]");
    bad("PLAINTEXT://localhost:port", NULL, NULL, NULL, "error[E-LISTENER-04]");
    bad("OTHER://:1", NULL, NULL, NULL, "error[E-LISTENER-05]");
    bad("PLAINTEXT://:1,plaintext://:2", NULL, NULL, NULL, "error[E-LISTENER-06]");
    bad("PLAINTEXT://:1,INTERNAL://:1", NULL, NULL, NULL, "error[E-LISTENER-07]");
    bad("PLAINTEXT://:1,TLS://:2", NULL, NULL, NULL, "error[E-LISTENER-08]");
    bad("PLAINTEXT://:1", "PLAINTEXT://0.0.0.0:1", NULL, NULL, "error[E-LISTENER-09]");
    bad("PLAINTEXT://:1", "INTERNAL://h:1", NULL, NULL, "error[E-LISTENER-10]");
    bad("INTERNAL://:1", NULL, NULL, NULL, "error[E-LISTENER-12]");
    bad("PLAINTEXT://:1,INTERNAL://:2", "INTERNAL://h:2", NULL, NULL, "error[E-LISTENER-12]");
    bad("PLAINTEXT://:1", "PLAINTEXT://a:1,PLAINTEXT://b:1", NULL, NULL, "error[E-LISTENER-13]");
    bad("PLAINTEXT://:1", NULL, "control.plane.listener.name", "PLAINTEXT", "error[E-LISTENER-14]");
    bad("PLAINTEXT://:1", NULL, "control.plane.listener.name", "NONE", "error[E-LISTENER-14]");
}

/* Clients were told "${HOST}", which nobody had filled in, and failed one by one. */
Test(listeners, what_can_be_no_host_is_refused)
{
    static const char *const hosts[] = {"${HOST}",    "<host>", "my host",
                                        "host/kafka", "a@b",    "m\xc3\xbc"};
    struct listeners out;
    for (size_t i = 0; i < sizeof(hosts) / sizeof(hosts[0]); i++) {
        char text[64];
        snprintf(text, sizeof(text), "PLAINTEXT://%s:9092", hosts[i]);
        bad("PLAINTEXT://:9092", text, NULL, NULL, "error[E-LISTENER-04]");
        bad(text, NULL, NULL, NULL, "error[E-LISTENER-04]");
    }
    good("PLAINTEXT://:9092", "PLAINTEXT://under_score-1.example.org:9092", NULL, NULL, &out);
    good("PLAINTEXT://:9092", "PLAINTEXT://[fe80::1%eth0]:9092", NULL, NULL, &out);
    cr_expect_str_eq(out.items[0].advertised_host, "fe80::1%eth0");
    listeners_fini(&out);
}

Test(listeners, many_names_are_refused_not_overrun)
{
    char text[4096] = "";
    for (int i = 0; i < 40; i++) {
        snprintf(text + strlen(text), sizeof(text) - strlen(text), "PLAINTEXT://:%d,", i + 1);
    }
    bad(text, NULL, NULL, NULL, "error[E-LISTENER-06]");
}

Test(listeners, the_image_binds_every_interface_on_the_advertised_ports)
{
    char *text = listeners_bind_all("PLAINTEXT://localhost:9092, INTERNAL://[fe80::1]:29092");
    cr_expect_str_eq(text, "PLAINTEXT://0.0.0.0:9092,INTERNAL://0.0.0.0:29092");
    mem_free(text);
}
