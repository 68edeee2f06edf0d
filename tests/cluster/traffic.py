"""A producer that never rests, and what it was promised, for tests in which things break meanwhile.

    create(cluster, "t", partitions=3, replicas=2)
    with Traffic(cluster, "t") as traffic:
        cluster.kill(1)
        traffic.wait_more(100)               # so many more were acknowledged
    assert_all_kept(cluster, "t", traffic)   # every acknowledged message is at its offset, exactly once

The producer is librdkafka's, idempotent, with acks=all: it hides what a client should not see, and reports the rest.
"""
import threading

import cluster as clusters
import confluent_kafka
import wire
from admin import Admin

FIRST = 20  # messages that are through before the test goes on
PAUSE_S = 0.002
DELIVERY_MS = 120000
END_S = 150
EOF = confluent_kafka.KafkaError._PARTITION_EOF


def create(cluster, topic, partitions=1, replicas=1, assignment=None):
    """assignment: a list of replicas for each partition, instead of the numbers. Returns when all are led, and every
    broker knows: until then the leader that another one names may answer that there is no such topic, as Kafka's."""
    if assignment is not None:
        partitions = len(assignment)
    with Admin(cluster.bootstrap) as admin:
        answer = admin.call_controller("CreateTopics", lambda version, timeout_ms: {
            "timeout_ms": timeout_ms, "topics": [{
                "name": topic, "num_partitions": -1 if assignment else partitions,
                "replication_factor": -1 if assignment else replicas,
                "assignments": [{"partition_index": i, "broker_ids": ids} for i, ids in enumerate(assignment or [])]}]})
    assert answer["topics"][0]["error_code"] == 0, answer

    def led(broker):
        found = partitions_of(broker, topic)
        return len(found) == partitions and all(partition["leader_id"] != -1 for partition in found)

    cluster.wait(lambda: all(led(broker) for broker in cluster.brokers if broker.alive()), f"leaders of {topic}")


def partitions_of(whom, topic):
    """As a cluster's first broker that answers tells them, or a certain broker. [] while nobody answers or knows it."""
    try:
        if isinstance(whom, clusters.Cluster):
            answer = whom.metadata([topic])
        else:
            body = {"topics": [{"name": topic}], "allow_auto_topic_creation": False}
            answer = whom.call("Metadata", body, seconds=5.0)
        found = answer["topics"][0]["partitions"]
    except (clusters.ClusterError, wire.WireError):
        return []
    return sorted(found, key=lambda partition: partition["partition_index"])


def leaders(cluster, topic):
    return [partition["leader_id"] for partition in partitions_of(cluster, topic)]


def in_sync(cluster, topic):
    return [sorted(partition["isr_nodes"]) for partition in partitions_of(cluster, topic)]


class Traffic:
    def __init__(self, cluster, topic, partitions=None):
        self.cluster, self.topic, self.partitions = cluster, topic, partitions
        self.acked = {}  # value -> (partition, offset); the offset is None where it was not told, see below
        self.failures = []
        self.stopping = threading.Event()
        self.producer = confluent_kafka.Producer({
            "bootstrap.servers": cluster.bootstrap, "enable.idempotence": True, "linger.ms": 1,
            "delivery.timeout.ms": DELIVERY_MS, "topic.metadata.refresh.interval.ms": 1000,
            "reconnect.backoff.max.ms": 500, "socket.timeout.ms": 10000})
        self.thread = threading.Thread(target=self._work, daemon=True)

    def _delivered(self, error, message):
        if error is not None:
            self.failures.append(str(error))
        else:
            self.acked[message.value()] = (message.partition(), message.offset())

    def _work(self):
        number = 0
        while not self.stopping.is_set():
            more = {} if self.partitions is None else {"partition": self.partitions[number % len(self.partitions)]}
            try:
                self.producer.produce(self.topic, b"message %d" % number, on_delivery=self._delivered, **more)
                number += 1
            except BufferError:
                pass  # full: what is under way has to be answered first
            self.producer.poll(PAUSE_S)

    def __enter__(self):
        self.thread.start()
        self.wait_more(FIRST)
        return self

    def wait_more(self, count, seconds=clusters.WAIT_S):
        wanted = len(self.acked) + count
        self.cluster.wait(lambda: len(self.acked) >= wanted or self.failures, f"{count} more acknowledged messages",
                          seconds)
        assert self.failures == []

    def __exit__(self, kind, *_):
        self.stopping.set()
        self.thread.join()
        if kind is None:
            assert self.producer.flush(END_S) == 0, "messages that nobody answered for"
            assert self.failures == []


def read_all(cluster, topic, count):
    """{value: (partition, offset)}; fails on one that is there twice."""
    consumer = confluent_kafka.Consumer({"bootstrap.servers": cluster.bootstrap, "group.id": "assigns-by-itself",
                                         "enable.auto.commit": False, "enable.partition.eof": True})
    consumer.assign([confluent_kafka.TopicPartition(topic, p, 0) for p in range(count)])
    found, ended = {}, set()
    while len(ended) < count:
        message = consumer.poll(END_S)
        assert message is not None, f"no end of {topic} within {END_S} s"
        if message.error():
            assert message.error().code() == EOF, message.error()
            ended.add(message.partition())
            continue
        assert message.value() not in found, f"{message.value()} is there twice"
        found[message.value()] = (message.partition(), message.offset())
    consumer.close()
    return found


def assert_all_kept(cluster, topic, traffic):
    """librdkafka takes a batch whose answer was an error for acknowledged when one with a later sequence is, since the
    broker takes them only in order; then it does not know the offset."""
    def kept(place, real):
        return real is not None and place[0] == real[0] and place[1] in (None, real[1])

    found = read_all(cluster, topic, len(partitions_of(cluster, topic)))
    wrong = [f"{value.decode()} was acknowledged at {place} and is at {found.get(value)}"
             for value, place in traffic.acked.items() if not kept(place, found.get(value))]
    assert wrong == [], f"{len(wrong)} of {len(traffic.acked)} messages:\n" + "\n".join(wrong[:20])
