"""The neutral load generator of scripts/bench (librdkafka) against a real broker: it must notice what goes wrong."""
import json
import os
import signal
import subprocess
import sys

import cluster as clusters
import pytest
from bench_load import create
from confluent_kafka import Producer

sys.path.append(os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "bench"))
import cells  # noqa: E402

PROGRAM = os.path.join(os.path.dirname(clusters.default_binary()), "bench", "bench_rdkafka")


def command(mode, broker, topic, **options):
    words = [w for k, v in options.items() for w in ("--" + k.replace("_", "-"), str(v))]
    return [PROGRAM, mode, "--brokers", broker.address, "--topic", topic, *words]


@pytest.fixture(scope="session")
def load(needs_cluster):
    """load("produce", broker, topic, records=10): (status, report or None, what it said)."""
    if not os.access(PROGRAM, os.X_OK):
        pytest.skip(f"no {PROGRAM} (it is built where librdkafka-dev is installed)")

    def run(mode, broker, topic, **options):
        done = subprocess.run(command(mode, broker, topic, **options), capture_output=True, text=True, timeout=600,
                              check=False)
        return done.returncode, json.loads(done.stdout) if done.stdout else None, done.stderr

    return run


@pytest.fixture(scope="module")
def one_broker(needs_cluster, tmp_path_factory):
    config = {"offsets.topic.replication.factor": "1", "transaction.state.log.replication.factor": "1",
              "transaction.state.log.min.isr": "1"}
    with clusters.Cluster(str(tmp_path_factory.mktemp("neutral") / "cluster"), brokers=1, config=config) as one:
        yield one
        assert one.reports() == []


@pytest.mark.parametrize("codec, acks, record_bytes", [("none", "1", 100), ("lz4", "all", 1000), ("zstd", "1", 7)])
def test_what_is_produced_is_consumed(one_broker, load, topic, codec, acks, record_bytes):
    broker = create(one_broker, topic, 3)
    status, made, text = load("produce", broker, topic, partitions=3, records=70001, record_bytes=record_bytes, codec=codec,
                              acks=acks)
    assert status == 0, text
    assert (made["records"], made["errors"], made["bytes"]) == (70001, 0, 70001 * record_bytes)
    assert 0 < made["generator_core"] * made["seconds"] <= made["generator_cpu_s"] + 0.01
    status, read, text = load("consume", broker, topic, partitions=3)
    assert status == 0, text
    cells.compare("barnabas", made, read)


def test_a_record_of_somebody_else_makes_another_checksum(one_broker, load, topic):
    broker = create(one_broker, topic)
    _, made, _ = load("produce", broker, topic, records=1000)
    _, same, _ = load("consume", broker, topic)
    cells.compare("barnabas", made, same)
    producer = Producer({"bootstrap.servers": broker.address})
    producer.produce(topic, b"x" * 100)
    assert producer.flush(30) == 0
    _, read, _ = load("consume", broker, topic)
    with pytest.raises(SystemExit, match="records read"):
        cells.compare("barnabas", made, read)
    with pytest.raises(SystemExit, match="checksum read"):
        cells.compare("barnabas", {**made, "records": 1001, "bytes": 100100}, read)


def test_a_consumer_waits_for_what_followers_have_not_got_yet(one_broker, load, topic):
    """With acks=1 the last of 300,000 records was still on its way to the followers when the end was asked for."""
    broker = create(one_broker, topic)
    _, made, _ = load("produce", broker, topic, records=1000)
    with subprocess.Popen(command("consume", broker, topic, expected=2000), stdout=subprocess.PIPE, text=True) as consumer:
        load("produce", broker, topic, records=1000)
        out, _ = consumer.communicate(timeout=600)
    cells.compare("barnabas", made, json.loads(out), 2)


def test_a_gap_between_offsets_ends_the_consumer(one_broker, load, topic):
    """The second of three batches is cut out of the log, as compaction could."""
    broker = create(one_broker, topic)
    producer = Producer({"bootstrap.servers": broker.address})
    for _ in range(3):
        producer.produce(topic, b"value")
        assert producer.flush(30) == 0
    one_broker.stop(1)
    path = os.path.join(broker.folder, "data", topic + "-0", "0" * 20 + ".log")
    with open(path, "rb") as file:
        batches = file.read()
    size = len(batches) // 3
    with open(path, "wb") as file:
        file.write(batches[:size] + batches[2 * size:])
    one_broker.start(1)
    status, _, text = load("consume", broker, topic)
    assert status == 1
    assert "offset 2 came in the place of 1" in text


def test_a_refusal_is_counted_and_ends_the_producer(one_broker, load, topic):
    broker = create(one_broker, topic, max_message_bytes="500")
    status, report, text = load("produce", broker, topic, records=5000)
    assert status == 1
    assert report["errors"] > 0 and report["records"] < 5000
    assert "the first: Broker: Message size too large" in text


def test_a_topic_that_is_not_there_or_has_other_partitions_ends_both(one_broker, load, topic):
    broker = create(one_broker, topic, 2)
    for mode in ("produce", "consume"):
        status, _, text = load(mode, broker, topic)
        assert status == 1 and "has 2 partitions, not 1" in text
        status, _, text = load(mode, broker, topic + "-other", set="allow.auto.create.topics=false")
        assert status == 1 and "Unknown topic" in text


def test_a_killed_broker_ends_the_producer_with_errors(one_broker, load, topic):
    broker = create(one_broker, topic)
    words = command("produce", broker, topic, records=1000000000, set="message.timeout.ms=2000")
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as producer:
        def written():
            answer = broker.call("ListOffsets", {"topics": [{"name": topic, "partitions": [
                {"partition_index": 0, "timestamp": -1}]}]})
            return answer["topics"][0]["partitions"][0]["offset"] > 0

        one_broker.wait(written, "the first records")
        broker.kill(signal.SIGKILL)
        out, text = producer.communicate(timeout=600)
        one_broker.start(1)
    assert producer.returncode == 1
    assert json.loads(out)["errors"] > 0
    assert "errors, the first" in text
