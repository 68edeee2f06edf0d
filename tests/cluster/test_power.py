"""Brokers whose machines lose power, as their next start finds it: the processes are killed, and while they are down the
mark of their last start gets another boot id (broker/log/start_mark.h). So to the broker the page cache is lost; what
can really be lost is the simulator's subject (tests/sim)."""
import pathlib
import re

from traffic import Traffic, assert_all_kept, create, in_sync, leaders
from znodes import Znodes

CONFIG = {"zookeeper.session.timeout.ms": "6000", "replica.lag.time.max.ms": "4000", "min.insync.replicas": "2",
          "auto.leader.rebalance.enable": "false"}
REPLICAS = [1, 2, 3]
MARK = ".barnabas_start"


def lose_power(broker):
    """The next start finds that the machine was booted since the last one."""
    mark = pathlib.Path(broker.folder, "data", MARK)
    text, count = re.subn(r"(?m)^boot\.id=[0-9a-f-]{36}$", "boot.id=00000000-0000-0000-0000-000000000000",
                          mark.read_text(encoding="ascii"))
    assert count == 1, text
    mark.write_text(text, encoding="ascii")


def suspect(broker):
    return "suspect=true" in pathlib.Path(broker.folder, "data", MARK).read_text(encoding="ascii")


def znode(one, path):
    with Znodes(one.zookeepers[0].address) as znodes:
        return znodes.json(path)


def written_and_killed(one, topic):
    """All replicas in sync, a hundred messages acknowledged by all, and then every broker is killed."""
    create(one, topic, assignment=[REPLICAS])
    with Traffic(one, topic) as traffic:
        traffic.wait_more(100)
    one.wait(lambda: in_sync(one, topic) == [REPLICAS], "all in sync")
    assert leaders(one, topic) == [1]
    one.wait(lambda: not any(suspect(broker) for broker in one.brokers), "new brokers trusted: nothing counts on them")
    for broker in one.brokers:
        one.kill(broker.id)
    return traffic


def test_a_leader_that_lost_power_does_not_lead_before_it_has_caught_up(cluster, topic):
    one = cluster(config=CONFIG)
    traffic = written_and_killed(one, topic)
    lose_power(one.broker(1))
    one.start(1)
    one.wait(lambda: leaders(one, topic) == [-1], "nobody leads: the others may have more")
    assert suspect(one.broker(1))
    assert znode(one, "/brokers/ids/1")["unclean_start"] is True
    one.start(2)
    one.wait(lambda: leaders(one, topic) == [2], "the one that kept everything leads")
    one.wait(lambda: in_sync(one, topic) == [[1, 2]], "the other one has caught up")
    one.wait(lambda: "unclean_start" not in znode(one, "/brokers/ids/1"), "nothing counts on what it may have lost")
    one.wait(lambda: not suspect(one.broker(1)), "it knows that")
    one.start(3)
    one.wait(lambda: in_sync(one, topic) == [REPLICAS], "all in sync again")
    assert leaders(one, topic) == [2]
    assert_all_kept(one, topic, traffic)


def test_after_all_lost_power_the_partition_is_there_when_all_are_back(cluster, topic):
    one = cluster(config=CONFIG)
    traffic = written_and_killed(one, topic)
    for broker in one.brokers:
        lose_power(broker)
    one.start(1)
    one.start(2)
    one.wait(lambda: leaders(one, topic) == [-1], "the third may have more")
    one.start(3)
    one.wait(lambda: leaders(one, topic) != [-1] and in_sync(one, topic) == [REPLICAS], "led, and all in sync")
    one.wait(lambda: not any(suspect(broker) for broker in one.brokers), "all are trusted again")
    said = "".join(broker.log_text() for broker in one.brokers)
    assert "all replicas in sync started uncleanly, the longest log leads" in said
    assert_all_kept(one, topic, traffic)


def test_the_last_complete_replica_is_remembered_when_the_survivor_loses_power(cluster, topic):
    one = cluster(config=CONFIG)
    create(one, topic, assignment=[REPLICAS])
    with Traffic(one, topic) as traffic:
        traffic.wait_more(100)
    one.kill(3)
    one.wait(lambda: in_sync(one, topic) == [[1, 2]], "without broker 3")
    one.kill(2)
    path = f"/brokers/topics/{topic}/partitions/0/state"
    one.wait(lambda: znode(one, path)["isr"] == [1], "broker 1 is alone")
    assert znode(one, path)["eligible_replicas"] == [2]
    one.kill(1)
    lose_power(one.broker(1))
    one.start(1)
    one.start(3)
    one.wait(lambda: leaders(one, topic) == [-1], "broker 2 has everything, and is away")
    one.start(2)
    one.wait(lambda: leaders(one, topic) == [2] and in_sync(one, topic) == [REPLICAS], "broker 2 leads, all follow")
    assert "eligible_replicas" not in znode(one, path)
    assert_all_kept(one, topic, traffic)
