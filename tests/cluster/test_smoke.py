"""Each family of clients writes and reads against three brokers, and what one writes the others read."""
import subprocess

import confluent_kafka
import kafka
import pytest
from traffic import partitions_of

END_S = 300  # nothing takes so long
MESSAGES = [f"message {i}".encode() for i in range(30)]


def produce_kcat(bootstrap, topic, kcat):
    subprocess.run([kcat, "-b", bootstrap, "-P", "-t", topic], input=b"\n".join(MESSAGES), check=True, timeout=END_S)


def consume_kcat(bootstrap, topic, kcat):
    done = subprocess.run([kcat, "-b", bootstrap, "-C", "-t", topic, "-e", "-q"], capture_output=True, check=True,
                          timeout=END_S)
    return done.stdout.splitlines()


def produce_kafka_python(bootstrap, topic, _kcat):
    producer = kafka.KafkaProducer(bootstrap_servers=bootstrap.split(","), acks="all", retries=1000)
    futures = [producer.send(topic, message) for message in MESSAGES]
    for future in futures:
        future.get(timeout=END_S)
    producer.close()


def consume_kafka_python(bootstrap, topic, _kcat):
    consumer = kafka.KafkaConsumer(bootstrap_servers=bootstrap.split(","), auto_offset_reset="earliest")
    partitions = [kafka.TopicPartition(topic, p) for p in sorted(consumer.partitions_for_topic(topic))]
    consumer.assign(partitions)
    ends = consumer.end_offsets(partitions)
    values = []
    while any(consumer.position(p) < ends[p] for p in partitions):
        for records in consumer.poll(timeout_ms=1000).values():
            values += [record.value for record in records]
    consumer.close()
    return values


def produce_confluent(bootstrap, topic, _kcat):
    failures = []
    producer = confluent_kafka.Producer({"bootstrap.servers": bootstrap, "enable.idempotence": True})
    for message in MESSAGES:
        producer.produce(topic, message, on_delivery=lambda error, _: error and failures.append(error))
    assert producer.flush(END_S) == 0
    assert failures == []


def consume_confluent(bootstrap, topic, _kcat):
    consumer = confluent_kafka.Consumer({"bootstrap.servers": bootstrap, "group.id": "assigns-by-itself",
                                         "enable.auto.commit": False})
    partitions = consumer.list_topics(topic, timeout=END_S).topics[topic].partitions
    consumer.assign([confluent_kafka.TopicPartition(topic, p, confluent_kafka.OFFSET_BEGINNING) for p in partitions])
    values = []
    while len(values) < len(MESSAGES):
        message = consumer.poll(END_S)
        assert message is not None, f"only {len(values)} messages arrived"
        assert message.error() is None, message.error()
        values.append(message.value())
    consumer.close()
    return values


PRODUCERS = {"kcat": produce_kcat, "kafka-python": produce_kafka_python, "confluent": produce_confluent}
CONSUMERS = {"kcat": consume_kcat, "kafka-python": consume_kafka_python, "confluent": consume_confluent}


@pytest.mark.parametrize("writer", PRODUCERS)
@pytest.mark.parametrize("reader", CONSUMERS)
def test_what_one_client_writes_another_reads(shared_cluster, topic, needs_command, writer, reader):
    kcat = needs_command("kcat", "package kcat")
    PRODUCERS[writer](shared_cluster.bootstrap, topic, kcat)
    shared_cluster.wait(lambda: all(partitions_of(broker, topic) for broker in shared_cluster.brokers),
                        "every broker knowing the topic, which was made on the way")
    assert sorted(CONSUMERS[reader](shared_cluster.bootstrap, topic, kcat)) == sorted(MESSAGES)


def test_every_broker_names_all_brokers_and_one_controller(shared_cluster):
    seen = set()
    for broker in shared_cluster.brokers:
        metadata = broker.call("Metadata", {"topics": []})
        ids = tuple(sorted(one["node_id"] for one in metadata["brokers"]))
        seen.add((ids, metadata["controller_id"], metadata["cluster_id"]))
    assert len(seen) == 1
    ids, controller, _ = seen.pop()
    assert ids == (1, 2, 3)
    assert controller in ids
