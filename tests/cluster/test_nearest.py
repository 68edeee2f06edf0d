"""Consumers read from the replica in their rack (KIP-392), and what clients are told after an election."""
import json

import confluent_kafka
import pytest
from test_replication import create, isr_sizes, partitions_of, produce
from traffic import partitions_of as told_by

RACKS = {number: {"broker.rack": f"r{number}"} for number in (1, 2, 3)}
NEAREST = {"replica.selector.class": "org.apache.kafka.common.replica.RackAwareReplicaSelector"}


def fetch(broker, topic, offset, rack, version=11, epoch=-1, wait_ms=0):
    answer = broker.call("Fetch", {
        "replica_id": -1, "max_wait_ms": wait_ms, "min_bytes": 1, "max_bytes": 1 << 20, "isolation_level": 0,
        "session_id": 0, "session_epoch": -1, "forgotten_topics_data": [],
        **({"rack_id": rack} if version >= 11 else {}),
        "topics": [{"topic": topic, "partitions": [{
            "partition": 0, "current_leader_epoch": epoch, "fetch_offset": offset, "log_start_offset": -1,
            "partition_max_bytes": 1 << 20}]}]}, version=version)
    return answer["responses"][0]["partitions"][0]


def test_the_leader_sends_a_consumer_to_the_replica_in_its_rack(cluster, topic):
    c = cluster(config=NEAREST, broker_config=RACKS)
    create(c, topic, partitions=1, replication=2)
    produce(c, topic, ["v"])
    found = partitions_of(c, topic)[0]
    leader = c.broker(found["leader_id"])
    follower = c.broker(next(b for b in found["replica_nodes"] if b != leader.id))
    other = c.broker(({1, 2, 3} - set(found["replica_nodes"])).pop())
    c.wait(lambda: isr_sizes(c, topic) == [2], "both in sync")

    there = fetch(leader, topic, 0, f"r{follower.id}")
    assert (there["preferred_read_replica"], there["records"]) == (follower.id, b"")
    for rack in (f"r{leader.id}", f"r{other.id}", "elsewhere", ""):
        here = fetch(leader, topic, 0, rack)
        assert here["preferred_read_replica"] == -1 and len(here["records"]) > 0, rack
    assert len(fetch(leader, topic, 0, "", version=10)["records"]) > 0
    c.wait(lambda: len(fetch(follower, topic, 0, f"r{follower.id}")["records"]) > 0, "the record from the follower")
    assert fetch(follower, topic, 0, "", version=10)["error_code"] == 6, "an older consumer knows leaders only"
    # One offset beyond what the follower has: nobody but the leader can serve it.
    assert fetch(leader, topic, 2, f"r{follower.id}")["preferred_read_replica"] == -1


def test_without_a_selector_everybody_reads_from_the_leader(cluster, topic):
    c = cluster(broker_config=RACKS, config={"replica.selector.class": "org.apache.kafka.common.replica.LeaderSelector"})
    create(c, topic, partitions=1, replication=3)
    produce(c, topic, ["v"])
    leader = c.broker(partitions_of(c, topic)[0]["leader_id"])
    for number in (1, 2, 3):
        answer = fetch(leader, topic, 0, f"r{number}")
        assert answer["preferred_read_replica"] == -1 and len(answer["records"]) > 0


def test_a_follower_hears_of_the_high_watermark_at_once_where_consumers_read_from_it(cluster, topic):
    """Its own next fetch would bring it after replica.fetch.wait.max.ms, which is longer than is waited here."""
    c = cluster(config={**NEAREST, "replica.fetch.wait.max.ms": "600000", "replica.socket.timeout.ms": "1200000",
                        "replica.lag.time.max.ms": "1200000"}, broker_config=RACKS)
    create(c, topic, partitions=1, replication=2)
    found = partitions_of(c, topic)[0]
    follower = c.broker(next(b for b in found["replica_nodes"] if b != found["leader_id"]))
    for count in range(1, 4):
        produce(c, topic, [f"v{count}"])
        c.wait(lambda n=count: fetch(follower, topic, 0, "")["high_watermark"] == n, "the follower's high watermark", 120)


def test_a_consumer_with_a_rack_reads_from_the_follower_there(cluster, topic):
    c = cluster(config=NEAREST, broker_config=RACKS)
    create(c, topic, partitions=1, replication=3)
    acked = produce(c, topic, [f"v{i}" for i in range(500)])
    leader = partitions_of(c, topic)[0]["leader_id"]
    mine = next(number for number in (1, 2, 3) if number != leader)
    read_from = set()

    def on_stats(text):
        for partition in json.loads(text)["topics"].get(topic, {}).get("partitions", {}).values():
            if partition["partition"] == 0:
                read_from.add(partition["broker"])

    consumer = confluent_kafka.Consumer({
        "bootstrap.servers": c.bootstrap, "group.id": "near", "client.rack": f"r{mine}", "statistics.interval.ms": 50,
        "stats_cb": on_stats, "auto.offset.reset": "earliest", "enable.auto.commit": False})
    consumer.assign([confluent_kafka.TopicPartition(topic, 0, 0)])
    found = {}

    def read_on():
        for message in consumer.consume(1000, 0.2):
            assert message.error() is None, message.error()
            found[message.value().decode()] = (message.partition(), message.offset())
        return found == acked and mine in read_from

    c.wait(read_on, "everything, from the follower")
    acked.update(produce(c, topic, [f"w{i}" for i in range(500)]))
    c.wait(read_on, "what came later, too")
    consumer.close()


def list_latest(broker, topic, version=7):
    return broker.call("ListOffsets", {"replica_id": -1, "isolation_level": 0, "topics": [{
        "name": topic, "partitions": [{"partition_index": 0, "current_leader_epoch": -1, "timestamp": -1}]}]},
        version=version)["topics"][0]["partitions"][0]


def test_the_end_is_not_available_until_the_high_watermark_has_reached_the_epoch(cluster, topic):
    """After an election a leader must not name an end before what earlier leaders showed (OFFSET_NOT_AVAILABLE)."""
    c = cluster(config={"replica.lag.time.max.ms": "4000"})
    create(c, topic, partitions=1, replication=2, config={"min.insync.replicas": "2"})
    assert len(produce(c, topic, ["a", "b"])) == 2
    found = partitions_of(c, topic)[0]
    leader = found["leader_id"]
    follower = next(b for b in found["replica_nodes"] if b != leader)
    c.kill(follower)
    c.wait(lambda: isr_sizes(c, topic) == [1], "the leader alone in the ISR")
    produce(c, topic, ["c"], acks="1", **{"enable.idempotence": False})
    assert list_latest(c.broker(leader), topic)["offset"] == 2, "below min.insync.replicas nothing is committed"
    c.stop(leader)
    c.start(leader)
    c.wait(lambda: partitions_of(c, topic)[0]["leader_id"] == leader, "the leader again")
    answer = list_latest(c.broker(leader), topic)
    assert (answer["error_code"], answer["offset"]) == (78, -1), "OFFSET_NOT_AVAILABLE"
    assert list_latest(c.broker(leader), topic, version=4)["error_code"] == 5, "LEADER_NOT_AVAILABLE for older clients"
    c.start(follower)
    c.wait(lambda: list_latest(c.broker(leader), topic)["error_code"] == 0, "an end")
    assert list_latest(c.broker(leader), topic)["offset"] == 3


@pytest.mark.parametrize("api", ["Fetch", "ListOffsets", "OffsetForLeaderEpoch"])
def test_consumers_of_another_epoch_are_fenced(cluster, topic, api):
    c = cluster()
    create(c, topic, partitions=1, replication=3)
    produce(c, topic, ["v"])
    old = partitions_of(c, topic)[0]
    c.stop(old["leader_id"])
    c.wait(lambda: partitions_of(c, topic)[0]["leader_epoch"] > old["leader_epoch"], "another leader")
    now = partitions_of(c, topic)[0]
    leader = c.broker(now["leader_id"])
    # Others may hear of it before it does itself.
    c.wait(lambda: [p["leader_epoch"] for p in told_by(leader, topic)] == [now["leader_epoch"]], "the leader knowing of it")

    def ask(epoch):
        if api == "Fetch":
            return fetch(leader, topic, 0, "", epoch=epoch)["error_code"]
        if api == "ListOffsets":
            return leader.call("ListOffsets", {"replica_id": -1, "isolation_level": 0, "topics": [{
                "name": topic, "partitions": [{"partition_index": 0, "current_leader_epoch": epoch,
                                               "timestamp": -2}]}]}, version=7)["topics"][0]["partitions"][0]["error_code"]
        answer = leader.call("OffsetForLeaderEpoch", {"replica_id": -1, "topics": [{"topic": topic, "partitions": [{
            "partition": 0, "current_leader_epoch": epoch, "leader_epoch": old["leader_epoch"]}]}]}, version=4)
        return answer["topics"][0]["partitions"][0]["error_code"]

    assert ask(now["leader_epoch"]) == 0
    assert ask(old["leader_epoch"]) == 74, "FENCED_LEADER_EPOCH"
    assert ask(now["leader_epoch"] + 1) == 75, "UNKNOWN_LEADER_EPOCH"
