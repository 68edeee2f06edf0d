"""Replication throttles hold back replicas that are not in sync, and only those; what kafka-reassign-partitions
--throttle sets."""
import os

import confluent_kafka
import pytest
from test_replication import assert_identical, create, partitions_of, produce

TOPIC, BROKER = 2, 4  # kinds of resources
SET, DELETE = 0, 1
VALUE = os.urandom(30000)
COUNT = 120  # 3.6 MB a partition: more than the first answer, replica.fetch.max.bytes, may bring
# As where many partitions are moved at once: what is there of one of them is all that an answer may bring.
NARROW = {"replica.fetch.response.max.bytes": "1048576"}


def alter(broker, kind, name, configs):
    """{key: value}, None to delete."""
    answer = broker.call("IncrementalAlterConfigs", {"resources": [{
        "resource_type": kind, "resource_name": name, "configs": [
            {"name": key, "config_operation": DELETE if value is None else SET, "value": value}
            for key, value in configs.items()]}], "validate_only": False})
    assert answer["responses"][0]["error_code"] == 0, answer


def fill(cluster, topic, partitions):
    producer = confluent_kafka.Producer({"bootstrap.servers": cluster.bootstrap, "acks": 1, "linger.ms": 5})
    errors = []
    for partition in range(partitions):
        for _ in range(COUNT):
            producer.produce(topic, VALUE, partition=partition,
                             on_delivery=lambda error, message: errors.append(error) if error else None)
    assert producer.flush(300) == 0 and errors == []


def in_sync(cluster, topic, partition):
    return len(partitions_of(cluster, topic)[partition]["isr_nodes"]) == 2


@pytest.mark.parametrize("side", ["leader", "follower"])
def test_a_throttled_replica_waits_while_others_catch_up(cluster, topic, side):
    c = cluster(brokers=2, config=NARROW)
    create(c, topic, partitions=2, replication=2)
    leader = partitions_of(c, topic)[0]["leader_id"]
    follower = 3 - leader
    c.kill(follower)
    c.wait(lambda: all(p["leader_id"] == leader and len(p["isr_nodes"]) == 1 for p in partitions_of(c, topic)),
           f"broker {leader} alone in every ISR")
    fill(c, topic, 2)
    throttled = leader if side == "leader" else follower
    alter(c.broker(leader), BROKER, "", {f"{side}.replication.throttled.rate": "1"})
    alter(c.broker(leader), TOPIC, topic, {f"{side}.replication.throttled.replicas": f"0:{throttled},7:{follower}"})
    c.start(follower)
    c.wait(lambda: in_sync(c, topic, 1), "the partition that is not throttled in sync")
    assert not in_sync(c, topic, 0)

    alter(c.broker(leader), BROKER, "", {f"{side}.replication.throttled.rate": None})
    c.wait(lambda: in_sync(c, topic, 0), "the throttled one in sync, without its limit")
    assert_identical(c, topic, 2, brokers=(1, 2))

    # Replicas that are in sync are never held back: they would fall out.
    alter(c.broker(leader), BROKER, "", {f"{side}.replication.throttled.rate": "1"})
    alter(c.broker(leader), TOPIC, topic, {f"{side}.replication.throttled.replicas": "*"})
    for _ in range(3):
        fill(c, topic, 2)
        produce(c, topic, ["all"])
    assert in_sync(c, topic, 0) and in_sync(c, topic, 1)
