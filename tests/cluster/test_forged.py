"""What is not what it says it is: clients that claim to be a follower, and nodes of ZooKeeper that nobody can read."""
import itertools
import signal

import wire
from records import make_batch
from traffic import create, in_sync, leaders, partitions_of
from znodes import Znodes

REPLICA_STATE_VERSION_MIN = 15  # from here on a follower says in which of its lives it is
LATEST = -1


def append(leader, topic):
    """One record with acks=1."""
    answer = leader.call("Produce", {"acks": 1, "timeout_ms": 10000, "topic_data": [
        {"name": topic, "partition_data": [{"index": 0, "records": make_batch([(None, b"v")])}]}]})
    assert answer["responses"][0]["partition_responses"][0]["error_code"] == 0


def high_watermark(leader, topic):
    answer = leader.call("ListOffsets", {"replica_id": -1, "topics": [{"name": topic, "partitions": [
        {"partition_index": 0, "timestamp": LATEST}]}]})
    return answer["topics"][0]["partitions"][0]["offset"]


def fetch_as(kafka, topic, replica, epoch, offset, version):
    partition = {"partition": 0, "fetch_offset": offset, "partition_max_bytes": 1 << 20, "current_leader_epoch": -1,
                 "last_fetched_epoch": -1, "log_start_offset": 0}
    who = {"replica_id": replica} if version < REPLICA_STATE_VERSION_MIN else {
        "replica_state": {"replica_id": replica, "replica_epoch": epoch}}
    name = {"topic": topic} if version <= 12 else {
        "topic_id": kafka.call("Metadata", {"topics": [{"name": topic}]})["topics"][0]["topic_id"]}
    return kafka.call("Fetch", {**who, "max_wait_ms": 0, "min_bytes": 0, "max_bytes": 1 << 20, "isolation_level": 0,
                                 "topics": [{**name, "partitions": [partition]}]}, version)


def test_a_client_that_says_it_is_a_follower_moves_no_high_watermark(cluster, topic):
    """Of a replica that there is or is not, in a life that it made up, with what is there or beyond it."""
    one = cluster(brokers=2, config={"zookeeper.session.timeout.ms": "600000", "replica.lag.time.max.ms": "600000"})
    create(one, topic, assignment=[[1, 2]])
    leader, follower = one.broker(1), one.broker(2)
    append(leader, topic)
    one.wait(lambda: high_watermark(leader, topic) == 1, "the follower has the first record")
    with Znodes(one.zookeepers[0].address) as znodes:
        real = znodes.created("/brokers/ids/2")
    follower.kill(signal.SIGSTOP)
    append(leader, topic)
    with wire.Connection(leader.host, leader.port) as kafka:
        for version, replica, offset in itertools.product((4, 12, 14, 15, 17), (2, 1, 9, 2**31 - 1, -2), (0, 2, 3, 2**62)):
            for epoch in (-1, 0, real - 1, real + 1, 2**63 - 1) if version >= REPLICA_STATE_VERSION_MIN else (-1,):
                fetch_as(kafka, topic, replica, epoch, offset, version)
    assert high_watermark(leader, topic) == 1 and in_sync(one, topic) == [[1, 2]]
    follower.kill(signal.SIGCONT)
    one.wait(lambda: high_watermark(leader, topic) == 2, "the follower itself does")


NODES = {"/brokers/topics/broken": b"no topic", "/brokers/topics/half": b'{"version":3,"partitions":{"0":[1',
         "/brokers/topics/odd": b'{"version":3,"topic_id":"x","partitions":{"minus":["one"]}}',
         "/config/topics/broken": b"no configuration", "/config/topics/kept": b'{"version":1,"config":"none"}',
         "/config/changes/config_change_0000000099": b"no change", "/admin/delete_topics/nobody": b"",
         "/isr_change_notification/isr_change_0000000099": b"\xff\xfe", "/log_dir_event_notification/event": b"\0"}


def test_nodes_that_nobody_can_read_are_told_and_left_alone_and_the_rest_goes_on(cluster, topic):
    one = cluster()
    create(one, "kept", partitions=3, replicas=3)
    with Znodes(one.zookeepers[0].address) as znodes:
        for path, data in NODES.items():
            if znodes.exists(path):
                znodes.set(path, data)
            else:
                znodes.create(path, data)
        znodes.create("/brokers/ids/77", b"no broker", ephemeral=True)
        old = one.broker(one.controller())
        old.kill()
        one.wait(lambda: one.controller() not in (None, old.id), "another controller")
        one.start(old.id)
        one.wait(lambda: all(leader > 0 for leader in leaders(one, "kept"))
                 and in_sync(one, "kept") == [[1, 2, 3]] * 3, "everything in sync")
        create(one, topic, partitions=2, replicas=3)
        for path in ("/brokers/topics/broken", "/brokers/topics/half"):
            assert znodes.get(path)[0] == NODES[path]
    log = "".join(broker.log_text() for broker in one.brokers)
    for name in ("broken", "half"):
        told = [line for line in log.splitlines() if name in line and (" WARN " in line or " ERROR " in line)]
        assert 1 <= len(told) <= 20, told
    for broker in one.brokers:
        append_to = one.broker(partitions_of(broker, topic)[0]["leader_id"])
        append(append_to, topic)
