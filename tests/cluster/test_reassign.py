"""Partitions move to other brokers: under load, cancelled, over failures, and ordered in either of Kafka's ways."""
import json
import os
import signal

import confluent_kafka
import pytest
from admin import Admin
from traffic import Traffic, assert_all_kept, create, in_sync, leaders, partitions_of
from znodes import Znodes

ORDERS = "/admin/reassign_partitions"
OFFSETS = "__consumer_offsets"
UNKNOWN_TOPIC_OR_PARTITION, INVALID_REPLICA_ASSIGNMENT, NOT_CONTROLLER, NO_REASSIGNMENT = 3, 39, 41, 85


def reassign(cluster, topic, targets):
    """targets: {partition: replicas, or None to cancel}; {partition: (code, text)}."""
    with Admin(cluster.bootstrap) as admin:
        answer = admin.call_controller("AlterPartitionReassignments", lambda version, timeout_ms: {
            "timeout_ms": timeout_ms, "topics": [{"name": topic, "partitions": [
                {"partition_index": p, "replicas": ids} for p, ids in targets.items()]}]})
    assert answer["error_code"] == 0, answer
    return {p["partition_index"]: (p["error_code"], p["error_message"]) for p in answer["responses"][0]["partitions"]}


def start(cluster, topic, targets):
    assert set(reassign(cluster, topic, targets).values()) == {(0, None)}


def moving(cluster, wanted=None):
    """{(topic, partition): (replicas, adding, removing)}"""
    with Admin(cluster.bootstrap) as admin:
        answer = admin.call_controller("ListPartitionReassignments", lambda version, timeout_ms: {
            "timeout_ms": timeout_ms, "topics": wanted})
    assert answer["error_code"] == 0, answer
    return {(t["name"], p["partition_index"]): (p["replicas"], p["adding_replicas"], p["removing_replicas"])
            for t in answer["topics"] for p in t["partitions"]}


def replicas(cluster, topic):
    return [p["replica_nodes"] for p in partitions_of(cluster, topic)]


def has_copy(cluster, broker, topic, partition=0):
    return os.path.exists(os.path.join(cluster.broker(broker).folder, "data", f"{topic}-{partition}"))


def wait_settled(cluster, topic, targets):
    """Everything is where it was to go, in sync, and nowhere else."""
    cluster.wait(lambda: moving(cluster) == {}, "the end of the reassignment")
    cluster.wait(lambda: replicas(cluster, topic) == targets, f"replicas {targets}")
    cluster.wait(lambda: in_sync(cluster, topic) == [sorted(t) for t in targets], "all of them in sync")
    for partition, target in enumerate(targets):
        for broker in cluster.brokers:
            cluster.wait(lambda b=broker, p=partition, t=target: not b.alive() or
                         has_copy(cluster, b.id, topic, p) == (b.id in t),
                         f"a copy of {topic}-{partition} on broker {broker.id}: {broker.id in target}")


def test_replicas_move_under_load(cluster, topic):
    c = cluster(brokers=4)
    create(c, topic, assignment=[[1, 2, 3], [2, 3, 4]])
    with Traffic(c, topic) as traffic:
        start(c, topic, {0: [4, 2, 3], 1: [1]})
        wait_settled(c, topic, [[4, 2, 3], [1]])
        traffic.wait_more(100)
        start(c, topic, {0: [1, 2], 1: [3, 4, 1, 2]})
        wait_settled(c, topic, [[1, 2], [3, 4, 1, 2]])
        traffic.wait_more(100)
    assert_all_kept(c, topic, traffic)


def test_a_reassignment_that_cannot_end_is_cancelled(cluster, topic):
    c = cluster(brokers=4, config={"zookeeper.session.timeout.ms": "60000"})
    create(c, topic, assignment=[[1, 2, 3]])
    c.wait(lambda: c.controller() is not None, "a controller")
    if c.controller() == 4:
        c.stop(4)
        c.start(4)
    with Traffic(c, topic) as traffic:
        c.kill(4, signal.SIGSTOP)
        start(c, topic, {0: [4, 1]})
        assert moving(c) == {(topic, 0): ([4, 1, 2, 3], [4], [2, 3])}
        assert moving(c, [{"name": topic, "partition_indexes": [0, 5]}]) == moving(c)
        assert moving(c, [{"name": topic, "partition_indexes": [5]}]) == {}
        with Znodes(c.zookeepers[0].address) as znodes:
            node = znodes.json(f"/brokers/topics/{topic}")
        assert (node["partitions"], node["adding_replicas"], node["removing_replicas"]) == (
            {"0": [4, 1, 2, 3]}, {"0": [4]}, {"0": [2, 3]})
        start(c, topic, {0: None})
        c.kill(4, signal.SIGCONT)
        wait_settled(c, topic, [[1, 2, 3]])
        assert reassign(c, topic, {0: None}) == {0: (NO_REASSIGNMENT, "No partition reassignment is in progress.")}
        traffic.wait_more(100)
    assert_all_kept(c, topic, traffic)


def test_a_broker_that_was_down_deletes_its_copy_when_it_is_back(cluster, topic):
    c = cluster(brokers=4)
    create(c, topic, assignment=[[1, 2, 3]])
    victim = next(b for b in (1, 2, 3) if b != c.controller())
    rest = [b for b in (1, 2, 3) if b != victim]
    c.kill(victim)
    c.wait(lambda: in_sync(c, topic) == [rest], "the dead replica out of the ISR")
    start(c, topic, {0: rest + [4]})
    wait_settled(c, topic, [rest + [4]])
    assert has_copy(c, victim, topic)
    c.stop(c.controller())  # nobody remembers who was a replica
    c.start(victim)
    c.wait(lambda: not has_copy(c, victim, topic), "the copy that is not needed deleted")


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_another_controller_takes_over(cluster, topic, end):
    c = cluster(brokers=5, zookeepers=1)
    create(c, topic, assignment=[[1, 2, 3]])
    controller = c.controller()
    new = next(b for b in (4, 5) if b != controller)
    stays = [b for b in (1, 2, 3) if b != controller][:2]
    with Traffic(c, topic) as traffic:
        start(c, topic, {0: stays + [new]})
        c.kill(controller, end)
        c.wait(lambda: c.controller() not in (None, controller), "another controller")
        wait_settled(c, topic, [stays + [new]])
        traffic.wait_more(100)
        c.broker(controller).finish()
        c.start(controller)
        c.wait(lambda: has_copy(c, controller, topic) == (controller in stays + [new]), "no copy that is not needed")
    assert_all_kept(c, topic, traffic)


def order(cluster, topic, targets):
    with Znodes(cluster.zookeepers[0].address) as znodes:
        znodes.create(ORDERS, json.dumps({"version": 1, "partitions": [
            {"topic": topic, "partition": p, "replicas": ids} for p, ids in targets.items()]}))


def test_orders_in_zookeeper_are_carried_out(cluster, topic):
    c = cluster(brokers=4)
    create(c, topic, assignment=[[1, 2], [2, 3]])
    order(c, topic, {0: [3, 4], 1: [2], 7: [1]})
    with Znodes(c.zookeepers[0].address) as znodes:
        c.wait(lambda: not znodes.exists(ORDERS), "the node of orders gone")
    wait_settled(c, topic, [[3, 4], [2]])
    with Znodes(c.zookeepers[0].address) as znodes:
        znodes.create(ORDERS, "{")
        controller = c.broker(c.controller())
        c.wait(lambda: "orders for reassignments cannot be read" in controller.log_text(), "a line about bad orders")
        znodes.set(ORDERS, json.dumps({"version": 1, "partitions": [
            {"topic": topic, "partition": 0, "replicas": [1, 2]}]}))
        c.wait(lambda: not znodes.exists(ORDERS), "the node of orders gone")
    wait_settled(c, topic, [[1, 2], [2]])


def test_refusals(cluster, topic):
    c = cluster(brokers=3)
    create(c, topic, assignment=[[1, 2]])
    answer = reassign(c, topic, {0: [], 1: [1]})
    assert answer == {0: (INVALID_REPLICA_ASSIGNMENT, "Empty replica list specified in partition reassignment."),
                      1: (UNKNOWN_TOPIC_OR_PARTITION, "The partition does not exist.")}
    assert reassign(c, topic, {0: [1, 1]})[0][0] == INVALID_REPLICA_ASSIGNMENT
    assert reassign(c, topic, {0: [1, -1]})[0][0] == INVALID_REPLICA_ASSIGNMENT
    assert reassign(c, topic, {0: [1, 77]})[0][0] == INVALID_REPLICA_ASSIGNMENT
    other = next(b for b in c.brokers if b.id != c.controller())
    body = {"timeout_ms": 1000, "topics": [{"name": topic, "partitions": [{"partition_index": 0, "replicas": [3]}]}]}
    assert other.call("AlterPartitionReassignments", body)["error_code"] == NOT_CONTROLLER
    assert other.call("ListPartitionReassignments", {"timeout_ms": 1000, "topics": None})["error_code"] == NOT_CONTROLLER
    assert replicas(c, topic) == [[1, 2]]


def test_a_topic_is_deleted_when_its_partitions_have_come_to_rest(cluster, topic):
    c = cluster(brokers=3, config={"zookeeper.session.timeout.ms": "60000"})
    create(c, topic, assignment=[[1], [2]])
    stopped = next(b for b in (1, 2, 3) if b != c.controller() and b != leaders(c, topic)[0])
    c.kill(stopped, signal.SIGSTOP)
    start(c, topic, {0: [leaders(c, topic)[0], stopped]})
    with Znodes(c.zookeepers[0].address) as znodes:
        znodes.create(f"/admin/delete_topics/{topic}")
        c.wait(lambda: reassign(c, topic, {1: [c.controller()]})[1][0] == UNKNOWN_TOPIC_OR_PARTITION,
               "nothing new for a topic that is to be deleted")
        assert znodes.exists(f"/brokers/topics/{topic}")
        c.kill(stopped, signal.SIGCONT)
        c.wait(lambda: not znodes.exists(f"/brokers/topics/{topic}"), "the topic deleted")
    for broker in (1, 2, 3):
        c.wait(lambda b=broker: not has_copy(c, b, topic, 0) and not has_copy(c, b, topic, 1), "no copy left")


def test_groups_go_on_when_their_coordinator_is_moved(cluster, topic):
    c = cluster(brokers=4, config={"offsets.topic.num.partitions": "1"})
    create(c, topic, assignment=[[1, 2]])
    with Traffic(c, topic) as traffic:
        consumer = confluent_kafka.Consumer({
            "bootstrap.servers": c.bootstrap, "group.id": topic, "auto.offset.reset": "earliest",
            "enable.auto.commit": False, "topic.metadata.refresh.interval.ms": 1000})
        consumer.subscribe([topic])

        def committed():
            """Reads on, commits, and returns what the coordinator says of that."""
            message = consumer.poll(0.2)
            if message is None or message.error():
                return -1
            try:
                return consumer.commit(message, asynchronous=False)[0].offset
            except confluent_kafka.KafkaException:
                return -1

        c.wait(lambda: committed() > 0, "a committed offset")
        before = partitions_of(c, OFFSETS)[0]["replica_nodes"]
        after = [b for b in (1, 2, 3, 4) if b not in before] + before[:1]
        start(c, OFFSETS, {0: after})
        wait_settled(c, OFFSETS, [after])
        last = c.wait(lambda: max(committed(), 0), "another committed offset")
        traffic.wait_more(100)
        c.wait(lambda: committed() > last, "commits that go on")
        consumer.close()
    assert_all_kept(c, topic, traffic)
