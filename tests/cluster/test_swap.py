"""The owner of a Kafka cluster stops its brokers and starts ours: the same ZooKeeper, folders, ids, ports and properties.
Records, offsets, groups and configurations are what they were; and so they are for Kafka's brokers, when it goes back.

Kafka is where scripts/bench has brought it: skipped by name elsewhere.
"""
import os
import signal
import sys

import cluster as clusters
import confluent_kafka
import pytest
import wire
from admin import Admin
from conftest import make
from traffic import in_sync, partitions_of, read_all

sys.path.insert(0, os.path.join(wire.ROOT, "tests", "bench"))
import kafka_peer  # noqa: E402  pylint: disable=wrong-import-position

TOPIC, PARTITIONS, BROKERS = "orders", 4, 3
CODECS = ("none", "gzip", "snappy", "lz4", "zstd")
EACH = 150  # messages of each codec
SEGMENT = "20000"  # so that there are several
OWN = {"retention.ms": "604800001", "segment.bytes": SEGMENT, "min.insync.replicas": "2"}
CONFIG = {**kafka_peer.SHIPPED, "offsets.topic.num.partitions": "3", "offsets.topic.replication.factor": "3",
          "min.insync.replicas": "2", "controlled.shutdown.retry.backoff.ms": "500"}
SMALL_JAVA = ["java", "-Xms64m", "-Xmx320m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData"]
GROUP, TOPIC_RESOURCE, OWN_SOURCE = "readers", 2, 1
UP_S, READ_S = 120, 60


@pytest.fixture
def kafka(needs_cluster, tmp_path, monkeypatch):
    """Three brokers of Kafka's, which has the topic."""
    if not os.path.isdir(kafka_peer.JARS):
        pytest.skip(f"no {kafka_peer.JARS} (scripts/bench --run produce --quick --peers kafka brings it)")
    monkeypatch.setattr(kafka_peer, "JAVA", SMALL_JAVA)
    one = make(tmp_path / "cluster", BROKERS, config=CONFIG, broker_class=kafka_peer.KafkaBroker)
    try:
        one.up(UP_S)
        with Admin(one.bootstrap) as admin:
            answer = admin.call_controller("CreateTopics", lambda _, timeout_ms: {"timeout_ms": timeout_ms, "topics": [
                {"name": TOPIC, "num_partitions": PARTITIONS, "replication_factor": BROKERS,
                 "configs": [{"name": key, "value": value} for key, value in OWN.items()]}]})
        assert answer["topics"][0]["error_code"] == 0, answer
        wait_whole(one)
        yield one
    finally:
        one.close()


def wait_whole(one):
    one.wait(lambda: in_sync(one, TOPIC) == [[1, 2, 3]] * PARTITIONS, "all replicas in sync")


def swap(one, kind, number=signal.SIGTERM):
    """The same brokers of another make."""
    for broker in one.brokers:
        broker.kill(number)
    for broker in one.brokers:
        broker.wait_gone()
    one.brokers = [kind(broker.id, one, broker.port, broker.config) for broker in one.brokers]
    one.up(UP_S)
    wait_whole(one)


def write(one, who):
    """{value: (partition, offset)} of messages in every codec, as they were acknowledged."""
    acked = {}

    def delivered(error, message):
        assert error is None, error
        acked[message.value()] = (message.partition(), message.offset())

    for codec in CODECS:
        producer = confluent_kafka.Producer({"bootstrap.servers": one.bootstrap, "compression.type": codec,
                                             "enable.idempotence": True, "linger.ms": 5})
        for i in range(EACH):
            producer.produce(TOPIC, f"{who} {codec} {i} {'x' * 100}".encode(), key=str(i), headers={"who": who},
                             on_delivery=delivered)
            producer.poll(0)
        assert producer.flush(READ_S) == 0
    assert len(acked) == len(CODECS) * EACH
    return acked


def member(one):
    return confluent_kafka.Consumer({"bootstrap.servers": one.bootstrap, "group.id": GROUP, "auto.offset.reset": "error",
                                     "enable.auto.commit": False})


def places(offsets):
    return [confluent_kafka.TopicPartition(TOPIC, partition, offset) for partition, offset in enumerate(offsets)]


def commit(one, offsets):
    consumer = member(one)
    consumer.commit(offsets=places(offsets), asynchronous=False)
    consumer.close()


def go_on(one, offsets, messages):
    """A member of the group reads what comes after these offsets, and nothing else, and commits the end."""
    wanted = {place for place in messages.values() if place[1] >= offsets[place[0]]}
    consumer, seen = member(one), set()
    consumer.subscribe([TOPIC])
    while seen != wanted:
        message = consumer.poll(READ_S)
        assert message is not None and message.error() is None, message and message.error()
        seen.add((message.partition(), message.offset()))
        assert seen <= wanted
    consumer.commit(asynchronous=False)
    consumer.close()


def ends_of(messages):
    return [1 + max(offset for at, offset in messages.values() if at == partition) for partition in range(PARTITIONS)]


def state(one):
    """What must not change, however the brokers are made."""
    topic = one.metadata([TOPIC])["topics"][0]
    asked = {"resource_type": TOPIC_RESOURCE, "resource_name": TOPIC, "configuration_keys": None}
    described, = one.broker(1).call("DescribeConfigs", {"resources": [asked]})["results"]
    consumer = member(one)
    committed = [place.offset for place in consumer.committed(places([-1001] * PARTITIONS), READ_S)]
    consumer.close()
    return {"cluster": one.metadata([])["cluster_id"], "id": topic["topic_id"], "committed": committed,
            "replicas": [p["replica_nodes"] for p in partitions_of(one, TOPIC)],
            "own": {c["name"]: c["value"] for c in described["configs"] if c["config_source"] == OWN_SOURCE}}


def check(one, before, messages):
    assert state(one) == before
    assert read_all(one, TOPIC, PARTITIONS) == messages
    assert one.reports() == []


def test_kafkas_brokers_are_stopped_ours_go_on_and_kafkas_again(kafka):
    messages = write(kafka, "kafka")
    half = [end // 2 for end in ends_of(messages)]
    commit(kafka, half)
    before = state(kafka)
    assert (before["own"], before["committed"]) == (OWN, half)

    swap(kafka, clusters.Broker)
    check(kafka, before, messages)
    go_on(kafka, half, messages)
    middle = ends_of(messages)
    messages.update(write(kafka, "barnabas"))
    kafka.kill(2)
    kafka.start(2)
    wait_whole(kafka)
    check(kafka, {**before, "committed": middle}, messages)

    swap(kafka, kafka_peer.KafkaBroker)
    check(kafka, {**before, "committed": middle}, messages)
    go_on(kafka, middle, messages)
    ends = ends_of(messages)
    messages.update(write(kafka, "kafka again"))
    check(kafka, {**before, "committed": ends}, messages)


def test_kafkas_brokers_are_killed_and_ours_recover_what_was_acknowledged(kafka):
    messages = write(kafka, "kafka")
    ends = ends_of(messages)
    commit(kafka, ends)
    before = state(kafka)
    swap(kafka, clusters.Broker, signal.SIGKILL)
    check(kafka, before, messages)
    messages.update(write(kafka, "barnabas"))
    go_on(kafka, ends, messages)
    check(kafka, {**before, "committed": ends_of(messages)}, messages)
