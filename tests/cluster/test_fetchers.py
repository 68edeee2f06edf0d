"""num.replica.fetchers: a leader's partitions are spread over so many connections, also while brokers run."""
import os

from test_replication import assert_identical, create, isr_sizes, partitions_of, produce
from test_throttle import BROKER, alter


def connections(pid, port):
    """How many TCP connections to `port` the process has made."""
    inodes = set()
    for name in os.listdir(f"/proc/{pid}/fd"):
        try:
            inodes.add(os.readlink(f"/proc/{pid}/fd/{name}"))
        except FileNotFoundError:
            pass
    count = 0
    with open("/proc/net/tcp", encoding="ascii") as file:
        for line in list(file)[1:]:
            fields = line.split()
            remote, state, inode = fields[2], fields[3], fields[9]
            count += state == "01" and int(remote.split(":")[1], 16) == port and f"socket:[{inode}]" in inodes
    return count


def test_fetchers_come_and_go_while_partitions_are_written(cluster, topic):
    c = cluster(brokers=2)
    create(c, topic, partitions=40, replication=2)
    assert {p["leader_id"] for p in partitions_of(c, topic)} == {1, 2}
    follower, leader = c.broker(1), c.broker(2)
    produce(c, topic, [f"a{i}" for i in range(300)])
    before = connections(follower.pid, leader.port)
    assert before > 0
    for count in (2, 4, 2, 1):
        alter(follower, BROKER, "", {"num.replica.fetchers": str(count)})
        produce(c, topic, [f"{count}-{i}" for i in range(300)])
        c.wait(lambda n=count: connections(follower.pid, leader.port) == before + n - 1, f"{count} fetchers")
    assert_identical(c, topic, 40, brokers=(1, 2))
    c.wait(lambda: isr_sizes(c, topic) == [2] * 40, "everybody in sync")
