/* What may be written for zookeeper.connect, and what libzookeeper is given for it. */
#include "zk/zk_connect.h"

#include <criterion/criterion.h>

#include "base/mem.h"

static void expect(const char *connect, const char *servers, const char *chroot)
{
    char *got_servers;
    char *got_chroot;
    zk_connect_parse(connect, &got_servers, &got_chroot);
    cr_assert_str_eq(got_servers, servers, "%s", connect);
    cr_assert_str_eq(got_chroot, chroot, "%s", connect);
    mem_free(got_servers);
    mem_free(got_chroot);
}

/* A broker with one of these did not start, as if no ZooKeeper were there; Kafka's does. */
Test(zk_connect, is_read_as_java_reads_it)
{
    expect("zk1", "zk1:2181", "");
    expect("zk1,zk2:1234,zk3/kafka", "zk1:2181,zk2:1234,zk3:2181", "/kafka");
    expect("zk1:2181 , zk2:2181", "zk1:2181,zk2:2181", "");
    expect("[::1]:1234,[fe80::2]", "::1:1234,fe80::2:2181", "");
    expect("zk1:,zk2:2181,", "zk1:2181,zk2:2181", "");
}

Test(zk_connect, needs_no_chroot)
{
    expect("zk1:2181", "zk1:2181", "");
    expect("zk1:2181/", "zk1:2181", "");
    expect("zk1:2181/a/b", "zk1:2181", "/a/b");
    expect("zk1:2181/a/", "zk1:2181", "/a");
    expect("", "", "");
}
