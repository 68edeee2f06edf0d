"""Brokers, controllers and ZooKeepers that die, hang and come back, while messages flow."""
import signal

import cluster as clusters
import confluent_kafka
import pytest
import wire
from traffic import Traffic, assert_all_kept, create, in_sync, leaders

SESSION_S = 6
SHORT = {"zookeeper.session.timeout.ms": str(SESSION_S * 1000), "replica.lag.time.max.ms": "4000"}
# What an election may take beyond the session timeout: ZooKeeper ends sessions at its ticks, and the machine is busy. How
# long it does take is what scripts/bench --run failover measures.
ELECTION_S = 120
# Where nobody's session is to end, or not before the test is over.
LONG_S = 120


def controllers_seen(one):
    """What the running brokers say: a set of controller ids; None for one that does not answer."""
    seen = set()
    for broker in one.brokers:
        if broker.alive():
            try:
                seen.add(broker.call("Metadata", {"topics": []})["controller_id"])
            except wire.WireError:
                seen.add(None)
    return seen


def wait_one_controller(one, other_than, seconds=clusters.WAIT_S):
    def agreed():
        seen = controllers_seen(one)
        return len(seen) == 1 and not seen & {None, -1, other_than}

    one.wait(agreed, "all brokers name one new controller", seconds)
    return controllers_seen(one).pop()


def log_bytes(one, broker, topic):
    """How much of partition 0 a broker has written, acknowledged by all or not."""
    answer = one.broker(broker).call("DescribeLogDirs", {"topics": [{"topic": topic, "partitions": [0]}]})
    return sum(partition["partition_size"] for result in answer["results"] for found in result["topics"]
               for partition in found["partitions"])


def test_a_killed_controller_is_replaced_and_topics_are_created_again(cluster, topic):
    one = cluster(config=SHORT)
    first = one.controller()
    one.kill(first)
    second = wait_one_controller(one, first, SESSION_S + ELECTION_S)
    create(one, topic, partitions=4)
    assert first not in leaders(one, topic)
    one.start(first)
    one.wait_all_known()
    one.wait(lambda: controllers_seen(one) == {second}, "the second one goes on")


def test_controllers_killed_one_after_another_leave_the_last_broker_in_charge(cluster, topic):
    one = cluster(config=SHORT)
    create(one, topic, partitions=3, replicas=3)
    for _ in range(2):
        controller = one.controller()
        one.kill(controller)
        wait_one_controller(one, controller)
    last = one.controller()
    assert [broker.id for broker in one.brokers if broker.alive()] == [last]
    one.wait(lambda: leaders(one, topic) == [last] * 3, "the last broker leads all")
    create(one, topic + "-2")


def test_leaders_move_off_a_broker_that_is_killed_under_load(cluster, topic):
    one = cluster(config=SHORT)
    create(one, topic, assignment=[[1, 2], [2, 3], [3, 1], [2, 1]])
    with Traffic(one, topic) as traffic:
        one.kill(2)
        one.wait(lambda: leaders(one, topic) == [1, 3, 3, 1], "leaders on the other replicas", SESSION_S + ELECTION_S)
        one.wait(lambda: in_sync(one, topic) == [[1], [3], [1, 3], [1]], "in-sync replicas without broker 2")
        traffic.wait_more(200)
        one.start(2)
        one.wait(lambda: in_sync(one, topic) == [[1, 2], [2, 3], [1, 3], [1, 2]], "broker 2 in sync again")
        traffic.wait_more(200)
    assert_all_kept(one, topic, traffic)


def test_a_partition_without_another_replica_is_offline_until_its_broker_is_back_with_every_message(cluster, topic):
    one = cluster(config=SHORT)
    create(one, topic, assignment=[[2], [1]])
    with Traffic(one, topic) as traffic:
        one.kill(2)
        one.wait(lambda: leaders(one, topic) == [-1, 1], "partition 0 offline")
        one.start(2)
        one.wait(lambda: leaders(one, topic) == [2, 1], "partition 0 led by broker 2 again")
        traffic.wait_more(200, 100)
    assert_all_kept(one, topic, traffic)


def test_a_rolling_restart_is_not_noticed_by_a_producer(cluster, topic):
    one = cluster(config={**SHORT, "min.insync.replicas": "2"})
    create(one, topic, partitions=3, replicas=3)
    with Traffic(one, topic) as traffic:
        for broker in one.brokers:
            one.stop(broker.id)
            assert broker.status == 0
            traffic.wait_more(50)
            one.start(broker.id)
            one.wait(lambda: in_sync(one, topic) == [[1, 2, 3]] * 3, "all replicas in sync again")
        traffic.wait_more(50)
    assert_all_kept(one, topic, traffic)


def zookeeper_leader(one):
    def found():
        return [z for z in one.zookeepers if z.alive() and z.mode() == "leader"]

    return one.wait(found, "a leader among the ZooKeepers")[0]


def test_the_leader_of_three_zookeepers_dies_and_nobody_notices(cluster, topic):
    one = cluster(zookeepers=3, config={"zookeeper.session.timeout.ms": str(LONG_S * 1000)})
    create(one, topic, partitions=3, replicas=2)
    with Traffic(one, topic) as traffic:
        controller = one.controller()
        first = zookeeper_leader(one)
        one.kill(first.name)
        traffic.wait_more(200)
        assert zookeeper_leader(one) is not first
        create(one, topic + "-meanwhile", partitions=3, replicas=2)
        assert one.controller() == controller
        one.start(first.name)
        traffic.wait_more(50)
    assert_all_kept(one, topic, traffic)
    assert [b.name for b in one.brokers if "session expired" in b.log_text()] == []


def test_brokers_serve_while_zookeeper_is_away_and_go_on_when_it_is_back(cluster, topic):
    one = cluster(config=SHORT)
    create(one, topic, partitions=3, replicas=2)
    with Traffic(one, topic) as traffic:
        one.kill("zookeeper-1")
        traffic.wait_more(500)
        one.start("zookeeper-1")
        create(one, topic + "-after", partitions=3, replicas=2)
        traffic.wait_more(50)
    assert_all_kept(one, topic, traffic)


@pytest.mark.parametrize("whose", ["controller", "another broker"])
def test_a_broker_that_stands_still_longer_than_its_session_comes_back(cluster, topic, whose):
    """SIGSTOP: it is as good as dead for the others, and learns of its own end only when it goes on."""
    one = cluster(config=SHORT)
    create(one, topic, assignment=[[1, 2, 3], [2, 3, 1], [3, 1, 2]])
    controller = one.controller()
    still = controller if whose == "controller" else controller % 3 + 1
    others = [broker for broker in one.brokers if broker.id != still]
    with Traffic(one, topic) as traffic:
        one.kill(still, signal.SIGSTOP)
        one.wait(lambda: all(one.broker_ids(b) == {b.id for b in others} for b in others),
                 "the others missing it", SESSION_S + ELECTION_S)
        traffic.wait_more(200)
        one.kill(still, signal.SIGCONT)
        one.wait_all_known()
        assert "session expired" in one.broker(still).log_text()
        if whose == "controller":
            wait_one_controller(one, still)
        else:
            one.wait(lambda: controllers_seen(one) == {controller}, "the controller as before")
        one.wait(lambda: in_sync(one, topic) == [[1, 2, 3]] * 3, "all replicas in sync again")
        create(one, topic + "-after", partitions=3, replicas=3)
        traffic.wait_more(50)
    assert_all_kept(one, topic, traffic)


def test_a_leader_that_only_changes_its_epoch_does_not_refuse_what_it_has_appended(cluster, topic):
    """A follower that is shut down in order leaves the in-sync replicas by a new leader epoch of the same leader. A
    message that waits for the other follower then was answered NOT_LEADER_OR_FOLLOWER, though it stayed in the log:
    a producer that is not idempotent wrote it twice."""
    one = cluster(config={"replica.lag.time.max.ms": str(LONG_S * 1000), "zookeeper.session.timeout.ms": str(LONG_S * 1000)})
    leader = one.controller()
    leaves, stands_still = sorted({1, 2, 3} - {leader})
    create(one, topic, assignment=[[leader, leaves, stands_still]])
    one.wait(lambda: in_sync(one, topic) == [[1, 2, 3]], "all replicas in sync")
    answers = []
    producer = confluent_kafka.Producer({"bootstrap.servers": one.broker(leader).address, "acks": "all", "retries": 0,
                                         "request.timeout.ms": LONG_S * 1000})
    one.kill(stands_still, signal.SIGSTOP)
    try:
        producer.produce(topic, b"waits", on_delivery=lambda error, message: answers.append((error, message.offset())))
        one.wait(lambda: log_bytes(one, leader, topic) > 0, "the message in the leader's log")
        one.stop(leaves)
        one.wait(lambda: in_sync(one, topic) == [sorted([leader, stands_still])], "the other out of the replicas in sync")
        producer.poll(0)
        assert answers == []
    finally:
        one.kill(stands_still, signal.SIGCONT)
    producer.flush(LONG_S)
    assert answers == [(None, 0)]
