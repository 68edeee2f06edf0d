"""Partitions with several replicas: copies are made, leaders are replaced, and nothing acknowledged is lost."""
import glob
import os
import signal

import confluent_kafka
import pytest
import records
import wire
from admin import Admin
from cluster import ClusterError

REPLICATED = {"replica.lag.time.max.ms": "4000", "min.insync.replicas": "2"}
PATIENT = {"replica.lag.time.max.ms": "600000", "min.insync.replicas": "2"}  # who is only slow stays in the ISR
END_S = 180  # nothing takes so long


def create(cluster, topic, partitions, replication=3, config=None):
    configs = [{"name": k, "value": v} for k, v in (config or {}).items()]
    answer = Admin(cluster.bootstrap).call_controller("CreateTopics", lambda version, timeout_ms: {
        "topics": [{"name": topic, "num_partitions": partitions, "replication_factor": replication,
                    "assignments": [], "configs": configs}],
        "timeout_ms": timeout_ms, "validate_only": False})
    assert answer["topics"][0]["error_code"] == 0
    # The controller has answered; the others hear of the topic in their own time.
    cluster.wait(lambda: all(leads_everywhere(broker, topic, partitions) for broker in cluster.brokers),
                 "every broker knowing the topic")


def leads_everywhere(broker, topic, count):
    found = broker.call("Metadata", {"topics": [{"name": topic}], "allow_auto_topic_creation": False})["topics"][0]
    return len(found["partitions"]) == count and all(p["leader_id"] >= 0 for p in found["partitions"])


def partitions_of(cluster, topic):
    found = cluster.metadata([topic])["topics"][0]["partitions"]
    return sorted(found, key=lambda partition: partition["partition_index"])


def produce(cluster, topic, values, **config):
    """Send with acks=all and idempotence; returns {value: (partition, offset)} of what was acknowledged."""
    acked = {}

    def on_delivery(error, message):
        if error is None:
            acked[message.value().decode()] = (message.partition(), message.offset())

    producer = confluent_kafka.Producer({
        "bootstrap.servers": cluster.bootstrap, "enable.idempotence": True, "linger.ms": 2,
        "message.timeout.ms": END_S * 1000, **config})
    for value in values:
        producer.produce(topic, value.encode(), on_delivery=on_delivery)
        producer.poll(0)
    assert producer.flush(END_S) == 0
    return acked


def consume_all(cluster, topic, partitions):
    """Everything in the topic, as {value: (partition, offset)}; fails on a value that is there twice."""
    consumer = confluent_kafka.Consumer({"bootstrap.servers": cluster.bootstrap, "group.id": "reader",
                                         "auto.offset.reset": "earliest", "enable.auto.commit": False,
                                         "enable.partition.eof": True})
    found, ended = {}, set()
    consumer.assign([confluent_kafka.TopicPartition(topic, p, 0) for p in range(partitions)])
    while len(ended) < partitions:
        message = consumer.poll(END_S)
        assert message is not None, f"no end of {topic} after {END_S} s"
        if message.error():
            assert message.error().code() == confluent_kafka.KafkaError._PARTITION_EOF
            ended.add(message.partition())
            continue
        value = message.value().decode()
        assert value not in found, f"{value} at {found[value]} and again at {message.partition()} {message.offset()}"
        found[value] = (message.partition(), message.offset())
    consumer.close()
    return found


def isr_sizes(cluster, topic):
    """[] while nobody answers."""
    try:
        return [len(p["isr_nodes"]) for p in partitions_of(cluster, topic)]
    except ClusterError:
        return []


def log_bytes(cluster, broker, topic, partition):
    folder = os.path.join(cluster.broker(broker).folder, "data", f"{topic}-{partition}")
    return b"".join(open(path, "rb").read() for path in sorted(glob.glob(os.path.join(folder, "*.log"))))


def assert_identical(cluster, topic, partitions, brokers=(1, 2, 3)):
    """Every replica's log, byte for byte, once the followers have caught up."""
    for partition in range(partitions):
        cluster.wait(lambda p=partition: len({log_bytes(cluster, b, topic, p) for b in brokers}) == 1,
                     f"identical replicas of {topic}-{partition}")


def test_every_replica_has_every_byte(cluster, topic):
    c = cluster(config=PATIENT)
    create(c, topic, partitions=4, replication=3)
    acked = produce(c, topic, [f"v{i}" for i in range(2000)])
    assert len(acked) == 2000
    assert consume_all(c, topic, 4) == acked
    assert isr_sizes(c, topic) == [3, 3, 3, 3]
    assert_identical(c, topic, 4)


def test_kill_of_a_leader_loses_nothing_acknowledged(cluster, topic):
    c = cluster(config=REPLICATED)
    create(c, topic, partitions=3, replication=3)
    acked = produce(c, topic, [f"a{i}" for i in range(500)])
    victim = partitions_of(c, topic)[0]["leader_id"]
    c.kill(victim)
    acked.update(produce(c, topic, [f"b{i}" for i in range(500)]))
    assert len(acked) == 1000
    c.wait(lambda: victim not in {p["leader_id"] for p in partitions_of(c, topic)}, "metadata without the dead leader")
    c.start(victim)
    c.wait(lambda: isr_sizes(c, topic) == [3, 3, 3], "everybody in sync again")
    acked.update(produce(c, topic, [f"c{i}" for i in range(500)]))
    assert consume_all(c, topic, 3) == acked
    assert_identical(c, topic, 3)


def test_a_follower_that_is_stopped_leaves_the_isr_and_comes_back(cluster, topic):
    c = cluster(config=REPLICATED)
    create(c, topic, partitions=1, replication=3)
    leader = partitions_of(c, topic)[0]["leader_id"]
    follower = next(b for b in (1, 2, 3) if b not in (leader, c.controller()))
    c.kill(follower, signal.SIGSTOP)
    acked = produce(c, topic, [f"v{i}" for i in range(200)])
    assert len(acked) == 200
    c.wait(lambda: isr_sizes(c, topic) == [2], "the stopped follower out of the ISR")
    c.kill(follower, signal.SIGCONT)
    c.wait(lambda: isr_sizes(c, topic) == [3], "the follower in the ISR again")
    assert consume_all(c, topic, 1) == acked
    assert_identical(c, topic, 1)


def test_too_few_in_sync_replicas_refuse_acks_all(cluster, topic):
    c = cluster(config=REPLICATED)
    create(c, topic, partitions=1, replication=3, config={"min.insync.replicas": "3"})
    assert len(produce(c, topic, ["before"])) == 1
    leader = partitions_of(c, topic)[0]["leader_id"]
    follower = next(b for b in (1, 2, 3) if b not in (leader, c.controller()))
    c.kill(follower)
    c.wait(lambda: isr_sizes(c, topic) == [2], "the dead follower out of the ISR")
    errors = []
    producer = confluent_kafka.Producer({"bootstrap.servers": c.bootstrap, "acks": "all", "retries": 0})
    producer.produce(topic, b"refused", on_delivery=lambda error, message: errors.append(error))
    assert producer.flush(END_S) == 0
    assert errors[0] is not None and errors[0].code() == confluent_kafka.KafkaError.NOT_ENOUGH_REPLICAS
    assert list(consume_all(c, topic, 1)) == ["before"]


def test_sigterm_moves_leadership_away_without_an_error(cluster, topic):
    c = cluster(config=REPLICATED)
    create(c, topic, partitions=6, replication=3)
    acked = produce(c, topic, [f"a{i}" for i in range(300)])
    for broker in (1, 2, 3):
        c.stop(broker)
        c.wait(lambda b=broker: b not in {p["leader_id"] for p in partitions_of(c, topic)}, "leaders elsewhere")
        acked.update(produce(c, topic, [f"{broker}-{i}" for i in range(300)]))
        c.start(broker)
        c.wait(lambda: isr_sizes(c, topic) == [3] * 6, "everybody in sync again")
    assert len(acked) == 1200
    assert consume_all(c, topic, 6) == acked
    assert_identical(c, topic, 6)


def isr_changes(cluster):
    """By leaders: who came back into an ISR, or was thrown out of it. What the controller does is not among it."""
    return sum(broker.log_text().count("INFO ISR changed") for broker in cluster.brokers)


def test_a_controller_that_stops_does_not_come_back_into_an_isr_meanwhile(cluster, topic):
    """Found by tests/faults: the next controller told it to follow again, so it came back into ISRs, and what was
    written with acks=all then waited until its session was over."""
    c = cluster(config=PATIENT)
    create(c, topic, partitions=20, replication=3)
    produce(c, topic, [f"a{i}" for i in range(100)])
    for returns in range(3):
        # A leader may say so after the controller has told everybody.
        c.wait(lambda n=returns: isr_changes(c) >= 20 * n, "all that came back by now being told of")
        before, controller = isr_changes(c), c.controller()
        c.stop(controller)
        c.wait(lambda: isr_sizes(c, topic) == [2] * 20, "the stopped broker out of every ISR")
        assert isr_changes(c) == before
        c.start(controller)
        c.wait(lambda: isr_sizes(c, topic) == [3] * 20, "everybody in sync again")


def test_a_follower_that_lacks_a_record_does_not_call_it_out_of_range(cluster, topic):
    """Found by the simulator: a consumer that took a follower for the leader was sent to its reset policy."""
    c = cluster(config=REPLICATED)
    create(c, topic, partitions=1, replication=3)
    produce(c, topic, ["v"])
    leader = partitions_of(c, topic)[0]["leader_id"]
    for broker in c.brokers:
        answer = broker.call("Fetch", {
            "replica_id": -1, "max_wait_ms": 0, "min_bytes": 0, "max_bytes": 1000, "isolation_level": 0,
            "session_id": 0, "session_epoch": -1, "forgotten_topics_data": [], "rack_id": "",
            "topics": [{"topic": topic, "partitions": [{
                "partition": 0, "current_leader_epoch": -1, "fetch_offset": 1000, "log_start_offset": -1,
                "partition_max_bytes": 1000}]}]}, version=11)
        code = answer["responses"][0]["partitions"][0]["error_code"]
        assert code == (1 if broker.id == leader else 6), f"broker {broker.id}, leader {leader}"


@pytest.mark.parametrize("first", [1, 2])
def test_all_brokers_killed_at_once_come_back_with_everything(cluster, topic, first):
    c = cluster(config=REPLICATED)
    create(c, topic, partitions=2, replication=3)
    acked = produce(c, topic, [f"v{i}" for i in range(400)])
    for broker in (1, 2, 3):
        c.kill(broker)
    for broker in (first, *(b for b in (1, 2, 3) if b != first)):
        c.start(broker, wait=False)
    c.wait(lambda: isr_sizes(c, topic) == [3, 3], "everybody in sync again")
    assert consume_all(c, topic, 2) == acked
    assert_identical(c, topic, 2)


def test_metadata_behind_a_waiting_produce_is_that_of_the_time_when_it_is_answered(cluster, topic):
    """A producer asked for metadata behind a produce request that waited for a dead follower's end. It got what had
    been true when it asked, three seconds before, went back to a leader of long ago, and (librdkafka 2.0.2) stayed."""
    c = cluster(brokers=2, config={"replica.lag.time.max.ms": "60000", "zookeeper.session.timeout.ms": "60000"})
    leader = c.broker(c.controller())
    other = next(b.id for b in c.brokers if b.id != leader.id)
    assign(c, topic, [leader.id, other])
    c.kill(other, signal.SIGSTOP)
    with wire.Connection("127.0.0.1", leader.port) as kafka:
        kafka.send_frame(wire.request_frame("Produce", {"acks": -1, "timeout_ms": 60000, "topic_data": [
            {"name": topic, "partition_data": [{"index": 0, "records": records.make_batch([(None, b"v")])}]}]}, 9, 1)
                         + wire.request_frame("Metadata", {"topics": None}, 9, 2))
        c.wait(lambda: log_bytes(c, leader.id, topic, 0), "a record in the leader's log")
        assign(c, topic + "-later", [leader.id])
        c.kill(other, signal.SIGCONT)
        _, produced = wire.parse_response("Produce", kafka.receive_frame(), 9)
        _, told = wire.parse_response("Metadata", kafka.receive_frame(), 9)
    assert produced["responses"][0]["partition_responses"][0]["error_code"] == 0
    assert {topic, topic + "-later"} <= {one["name"] for one in told["topics"]}


def assign(cluster, topic, replicas):
    """A topic of one partition, the first of these to lead it; that is the controller, too. It knows it afterwards."""
    leader = cluster.broker(replicas[0])
    answer = leader.call("CreateTopics", {
        "topics": [{"name": topic, "num_partitions": -1, "replication_factor": -1, "configs": [],
                    "assignments": [{"partition_index": 0, "broker_ids": replicas}]}],
        "timeout_ms": 30000, "validate_only": False})
    assert answer["topics"][0]["error_code"] == 0
    cluster.wait(lambda: leads_everywhere(leader, topic, 1), "the topic at its leader")
