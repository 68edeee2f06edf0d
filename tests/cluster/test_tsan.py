"""Data races: the unit tests that have threads, and three brokers under everything at once, all built with
ThreadSanitizer. What it reports goes to a broker's log and fails the test in end() of conftest.py.

The clients are many connections on purpose: every broker has several network loops, and a partition, a group or the
controller is met from all of them at the same time, while topics come and go and configurations change.
"""
import os
import subprocess
import threading

import cluster as clusters
import confluent_kafka
import confluent_kafka.admin
import kafka
import kafka.admin
import pytest
from conftest import LONG_SESSION

BUILD = os.path.join(clusters.wire.ROOT, "build", "tsan")
BINARY = os.path.join(BUILD, "barnabasd")
UNITS = ["common_rt_actor", "common_rt_budget", "common_rt_loop", "common_rt_worker", "common_net_net_tcp",
         "common_zk_zk", "common_zk_zk_client", "broker_wait_wait", "broker_partition_parts", "broker_log_threads"]
HOW = "cmake --preset tsan && cmake --build build/tsan --target tsan_tests"
PARTITIONS, PRODUCERS, MESSAGES = 6, 2, 12000
END_S = 800  # nothing takes so long


def needs(program):
    if not os.access(program, os.X_OK):
        pytest.skip(f"no {os.path.relpath(program, clusters.wire.ROOT)} ({HOW})")


@pytest.mark.parametrize("unit", UNITS)
def test_unit(unit):
    program = os.path.join(BUILD, "unit", f"{unit}_test")
    needs(program)
    ran = subprocess.run([program], cwd=clusters.wire.ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                         timeout=END_S, check=False)
    assert ran.returncode == 0, ran.stdout


@pytest.fixture
def brokers(cluster):
    needs(BINARY)
    return cluster(brokers=3, binary=BINARY, config=LONG_SESSION, env={"TSAN_OPTIONS": "halt_on_error=0 history_size=4"})


class Crew:
    """Threads whose failures are the test's."""

    def __init__(self):
        self.threads = []
        self.failures = []

    def add(self, work, *args):
        def run():
            try:
                work(*args)
            except BaseException as failure:  # pylint: disable=broad-except
                self.failures.append(f"{work.__name__}: {failure!r}")

        self.threads.append(threading.Thread(target=run, name=work.__name__, daemon=True))
        self.threads[-1].start()

    def join(self, seconds=END_S):
        for thread in self.threads:
            thread.join(seconds)
            assert not thread.is_alive(), f"{thread.name} does not end; failures so far: {self.failures}"
        assert self.failures == []


def produce_kafka_python(bootstrap, topic, acks, compression):
    producer = kafka.KafkaProducer(bootstrap_servers=bootstrap.split(","), acks=acks, compression_type=compression,
                                   retries=1000, linger_ms=1, batch_size=2000, request_timeout_ms=END_S * 1000,
                                   connections_max_idle_ms=2 * END_S * 1000)
    futures = [producer.send(topic, b"p" * (i % 300)) for i in range(MESSAGES)]
    for future in futures:
        future.get(timeout=END_S)
    producer.close()


def produce_confluent(bootstrap, topic, compression):
    failures = []
    producer = confluent_kafka.Producer({"bootstrap.servers": bootstrap, "enable.idempotence": True, "linger.ms": 1,
                                         "batch.num.messages": 20, "compression.type": compression})
    for i in range(MESSAGES):
        producer.produce(topic, b"c" * (i % 300), on_delivery=lambda error, _: error and failures.append(error))
        producer.poll(0)
    assert producer.flush(END_S) == 0
    assert failures == []


def produce_kcat(bootstrap, topic, kcat):
    subprocess.run([kcat, "-b", bootstrap, "-P", "-t", topic], input=b"k\n" * MESSAGES, check=True, timeout=END_S)


def consume_all(bootstrap, topic, wanted):
    """Without a group, waiting at the end of every partition: long polls."""
    consumer = kafka.KafkaConsumer(bootstrap_servers=bootstrap.split(","), auto_offset_reset="earliest",
                                   consumer_timeout_ms=END_S * 1000, fetch_max_wait_ms=200)
    consumer.assign([kafka.TopicPartition(topic, p) for p in range(PARTITIONS)])
    for _ in range(wanted):
        next(consumer)
    consumer.close()


def consume_in_group(bootstrap, topic, group, seen, wanted):
    """One of several members; they commit as they go and end when all have seen everything."""
    consumer = confluent_kafka.Consumer({
        "bootstrap.servers": bootstrap, "group.id": group, "auto.offset.reset": "earliest",
        "session.timeout.ms": 120000, "auto.commit.interval.ms": 100})
    consumer.subscribe([topic])
    while len(seen) < wanted:
        message = consumer.poll(0.2)
        if message is not None and message.error() is None:
            seen.add((message.partition(), message.offset()))
    consumer.close()


def administer(bootstrap, topic, rounds=6):
    """Topics come and go, grow, and are reconfigured; everything that can be described is."""
    admin = confluent_kafka.admin.AdminClient({"bootstrap.servers": bootstrap})
    python = kafka.admin.KafkaAdminClient(bootstrap_servers=bootstrap.split(","))
    resource = confluent_kafka.admin.ConfigResource("topic", topic)
    for i in range(rounds):
        name = f"{topic}-short-lived-{i}"
        done(admin.create_topics([confluent_kafka.admin.NewTopic(name, 2, 2)]))
        done(admin.create_partitions([confluent_kafka.admin.NewPartitions(name, 4)]))
        changed = confluent_kafka.admin.ConfigResource("topic", topic, {"retention.ms": str(10**9 + i)})
        done(admin.alter_configs([changed]))
        done(admin.describe_configs([resource]))
        python.list_consumer_groups()
        python.describe_consumer_groups(["group"])
        python.describe_cluster()
        done(admin.delete_topics([name]))
    python.close()


def done(futures):
    for future in futures.values():
        future.result(END_S)


def test_no_data_races_under_everything_at_once(brokers, topic, needs_command):
    kcat = needs_command("kcat", "package kcat")
    bootstrap = brokers.bootstrap
    admin = confluent_kafka.admin.AdminClient({"bootstrap.servers": bootstrap})
    done(admin.create_topics([confluent_kafka.admin.NewTopic(topic, PARTITIONS, 3)]))
    wanted = MESSAGES * (PRODUCERS * 3 + 1)
    seen, crew = set(), Crew()
    for acks, compression in [("all", None), (1, "gzip")]:
        crew.add(produce_kafka_python, bootstrap, topic, acks, compression)
    for compression in ["lz4", "none", "snappy", "zstd"]:
        crew.add(produce_confluent, bootstrap, topic, compression)
    crew.add(produce_kcat, bootstrap, topic, kcat)
    for _ in range(2):
        crew.add(consume_all, bootstrap, topic, wanted)
    for _ in range(3):
        crew.add(consume_in_group, bootstrap, topic, "group", seen, wanted)
    crew.add(administer, bootstrap, topic)
    crew.join()
    # The controller dies under ThreadSanitizer too: another broker takes over, and the first comes back.
    first = brokers.controller()
    brokers.stop(first)
    brokers.wait(lambda: brokers.controller() not in (None, first), "another controller")
    brokers.start(first)
    brokers.wait_all_known()
    produce_confluent(bootstrap, topic, "none")
