"""The floor of scripts/bench (tests/bench/floor) is what others are measured against: it must be a broker, if the least
one. What it acknowledges is there, at that offset, unaltered, on as many machines as it says."""
import argparse
import errno
import fcntl
import os
import struct
import subprocess
import sys

import bench_load
import cluster as clusters
import pytest
import records
import wire

sys.path.append(os.path.join(wire.ROOT, "tests", "bench"))
import floors  # noqa: E402  pylint: disable=wrong-import-position
import replicas  # noqa: E402  pylint: disable=wrong-import-position

BUILD = os.path.dirname(clusters.default_binary())
CORRUPT_MESSAGE, UNKNOWN_TOPIC, OFFSET_OUT_OF_RANGE = 2, 3, 1
CHECKED = ("records", "bytes", "checksum")


@pytest.fixture
def floor(tmp_path):
    """floor(): one; floor(floors.FloorThree): three. Each must end by itself, without a sanitizer's report."""
    if not os.access(os.path.join(BUILD, "bench", floors.PROGRAM), os.X_OK):
        pytest.skip(f"no bench/{floors.PROGRAM} in {BUILD} (build it first)")
    made = []

    def make(kind=floors.Floor):
        made.append(kind(argparse.Namespace(build=BUILD), str(tmp_path / f"floor-{len(made)}")))
        return made[-1]

    yield make
    assert [one.close() for one in made] == [[0] * len(one.pids) for one in made]


def load(mode, one, topic, **options):
    return bench_load.report_of(mode, f"127.0.0.1:{one.port}", topic, **options)


def produce(connection, topic, batch, partition=0, acks=1):
    answer = connection.call("Produce", {"acks": acks, "timeout_ms": 30000, "topic_data": [
        {"name": topic, "partition_data": [{"index": partition, "records": batch}]}]})
    part = answer["responses"][0]["partition_responses"][0]
    return part["error_code"], part["base_offset"]


def fetch_body(topic, offset, max_wait_ms=0, **more):
    return {"max_wait_ms": max_wait_ms, "min_bytes": 1, "max_bytes": 1 << 20, "session_epoch": -1, "topics": [
        {"topic": topic, "partitions": [{"partition": 0, "fetch_offset": offset, "partition_max_bytes": 1 << 20}]}], **more}


def fetched(answer):
    """(error, high watermark, [(offset, value), ...])"""
    part = answer["responses"][0]["partitions"][0]
    read = [(record.offset, record.value) for _, batch in records.read_batches(part["records"] or b"")
            for record in batch.records()]
    return part["error_code"], part["high_watermark"], read


def files(process):
    content = {}
    for name in os.listdir(process.folder):
        with open(os.path.join(process.folder, name), "rb") as file:
            content[name] = file.read()
    return content


@pytest.mark.parametrize("acks", [0, 1, -1])
def test_what_is_produced_is_consumed(floor, acks):
    one = floor()
    topic = one.new_topic(5)
    made = load("produce", one, topic, partitions=5, connections=7, requests=300, records=7, record_bytes=100, acks=acks)
    read = load("consume", one, topic, partitions=5, connections=3, fetch_bytes=3000)
    assert {k: read[k] for k in CHECKED} == {k: made[k] for k in CHECKED}


def unallocated(path):
    """Parts of a file that have no place on the disk yet, so that no sync has seen them."""
    fiemap, head, extent, wait_for_disk = 0xC020660B, "=QQIIII", "=QQQQQIIII", 0x4
    room = bytearray(struct.pack(head, 0, 1 << 62, 0, 0, 100, 0) + bytes(100 * struct.calcsize(extent)))
    with open(path, "rb") as file:
        try:
            fcntl.ioctl(file, fiemap, room)
        except OSError as problem:
            if problem.errno in (errno.EOPNOTSUPP, errno.ENOTTY):
                pytest.skip("this file system does not tell where its files are")
            raise
    count = struct.unpack_from(head, room)[3]
    extents = [struct.unpack_from(extent, room, struct.calcsize(head) + i * struct.calcsize(extent)) for i in range(count)]
    return count == 0, sum(1 for one in extents if one[5] & wait_for_disk)


@pytest.mark.parametrize("partitions", [1, 5])
def test_in_flush_mode_what_is_acknowledged_is_on_the_disk(floor, partitions):
    """In both ways of syncing: few files one by one, more together."""
    one = floor()
    topic = one.new_topic(partitions, 1, {"flush.messages": "1"})
    made = load("produce", one, topic, partitions=partitions, connections=7, requests=300, records=7, record_bytes=1000)
    assert [unallocated(os.path.join(one.leader.folder, f"{topic}-{i}.log")) for i in range(partitions)] == \
        [(False, 0)] * partitions
    read = load("consume", one, topic, partitions=partitions)
    assert {k: read[k] for k in CHECKED} == {k: made[k] for k in CHECKED}
    with pytest.raises(SystemExit):
        one.new_topic(1, 1, {"flush.ms": "1"})
    one.drop_topic(topic)


def test_frames_larger_than_its_buffer_and_answers_smaller_than_a_batch(floor):
    one = floor()
    topic = one.new_topic(2)
    made = load("produce", one, topic, partitions=2, connections=2, requests=20, records=1000, record_bytes=1000)
    read = load("consume", one, topic, partitions=2, fetch_bytes=100)
    assert {k: read[k] for k in CHECKED} == {k: made[k] for k in CHECKED}
    assert read["requests"] == 20  # a whole batch at least, and no more than asked for


def test_an_answer_that_ends_with_a_file_goes_on_where_the_socket_was_full(floor):
    """Behind the records of Fetch before version 12 comes nothing. What was sent of memory had been forgotten, and the
    rest of the file with it: a consumer that was slow waited for ever."""
    one = floor()
    topic = one.new_topic(1)
    made = load("produce", one, topic, requests=40, records=900, record_bytes=1000)
    asked = fetch_body(topic, 0)
    asked["max_bytes"] = asked["topics"][0]["partitions"][0]["partition_max_bytes"] = 1 << 30
    part = one.leader.connection.call("Fetch", asked, version=11)["responses"][0]["partitions"][0]
    assert (part["error_code"], len(part["records"])) == (0, made["bytes"])


def test_a_wrong_checksum_is_refused_and_not_written(floor):
    one = floor()
    topic, connection = one.new_topic(1), one.leader.connection
    batch = records.make_batch([(None, b"good")])
    broken = batch[:-2] + bytes([batch[-2] ^ 1]) + batch[-1:]
    assert produce(connection, topic, batch) == (0, 0)
    assert produce(connection, topic, broken) == (CORRUPT_MESSAGE, -1)
    assert produce(connection, topic, batch + batch) == (CORRUPT_MESSAGE, -1)
    assert produce(connection, topic, batch) == (0, 1)
    assert produce(connection, "none", batch) == (UNKNOWN_TOPIC, -1)
    assert produce(connection, topic, batch, partition=1) == (UNKNOWN_TOPIC, -1)
    assert fetched(connection.call("Fetch", fetch_body(topic, 0))) == (0, 2, [(0, b"good"), (1, b"good")])
    assert fetched(connection.call("Fetch", fetch_body(topic, 3)))[0] == OFFSET_OUT_OF_RANGE
    assert len(files(one.leader)[f"{topic}-0.log"]) == 2 * len(batch)


def test_a_fetch_waits_for_records_but_no_longer_than_it_says(floor):
    one = floor()
    topic, connection = one.new_topic(1), one.leader.connection
    assert fetched(connection.call("Fetch", fetch_body(topic, 0, max_wait_ms=50))) == (0, 0, [])
    with wire.Connection("127.0.0.1", one.port) as other:
        other.send("Fetch", fetch_body(topic, 0, max_wait_ms=60000))
        behind = other.send("Metadata", {"topics": []})  # waits for its turn
        assert produce(connection, topic, records.make_batch([(None, b"news")])) == (0, 0)
        assert fetched(other.receive()) == (0, 1, [(0, b"news")])
        assert other.receive(behind)["brokers"][0]["port"] == one.port
        other.send("Fetch", fetch_body(topic, 1, max_wait_ms=60000))
        one.drop_topic(topic)
        assert fetched(other.receive())[0] == UNKNOWN_TOPIC


def test_followers_have_what_is_acknowledged(floor):
    three = floor(floors.FloorThree)
    topic = three.new_topic(4, 3)
    made = load("produce", three, topic, partitions=4, connections=3, requests=200, records=20, record_bytes=1000, acks=-1)
    leader, *followers = [files(one) for one in (three.leader, *three.followers)]
    assert sum(map(len, leader.values())) == made["bytes"]
    assert followers == [leader, leader]
    read = load("consume", three, topic, partitions=4)
    assert {k: read[k] for k in CHECKED} == {k: made[k] for k in CHECKED}
    three.drop_topic(topic)


def test_acks_all_waits_for_both_followers_and_consumers_see_nothing_before(floor):
    one = floor()
    topic, connection = "copied", one.leader.connection
    one.leader.create(topic, 1, 3)
    first = floors.FloorThree.follow(one, 2)
    first.create(topic, 1, 3)
    with wire.Connection("127.0.0.1", one.port) as producer:
        producer.send("Produce", {"acks": -1, "timeout_ms": 30000, "topic_data": [
            {"name": topic, "partition_data": [{"index": 0, "records": records.make_batch([(None, b"all")])}]}]})
        behind = producer.send("Metadata", {"topics": []})
        clusters.wait_until(lambda: first.end_offsets(topic, 1) == [1], "the first follower")
        assert produce(connection, topic, records.make_batch([(None, b"one")])) == (0, 1)
        assert fetched(connection.call("Fetch", fetch_body(topic, 0, max_wait_ms=50))) == (0, 0, [])
        with pytest.raises(wire.Timeout):
            producer.receive(timeout=0.05)
        floors.FloorThree.follow(one, 3).create(topic, 1, 3)
        assert producer.receive()["responses"][0]["partition_responses"][0]["base_offset"] == 0
        assert producer.receive(behind)["brokers"]
    assert fetched(connection.call("Fetch", fetch_body(topic, 0, max_wait_ms=30000)))[2][0] == (0, b"all")


def test_the_sum_of_floors_is_of_work_that_was_done(floor):
    """What a late follower copies is everything, and both sides' processor time is of that."""
    one = floor(replicas.Floors)
    topic = one.new_topic(3)
    made = load("produce", one, topic, partitions=3, requests=300, records=100, record_bytes=1000)
    ends = one.leader.end_offsets(topic, 3)
    assert sum(ends) == made["records"]
    sending, writing = one.copy(topic, 3, ends)
    assert sending["cpu_s"] > 0 and writing["cpu_s"] > 0
    assert os.listdir(one.folder) == ["1"]


@pytest.mark.parametrize("acks", ["1", "all"])
def test_librdkafka_produces_and_consumes(floor, acks):
    confluent = pytest.importorskip("confluent_kafka")
    three = floor(floors.FloorThree)
    topic = three.new_topic(3, 3)
    address = f"127.0.0.1:{three.port}"
    producer = confluent.Producer({"bootstrap.servers": address, "acks": acks, "enable.idempotence": acks == "all"})
    failed = []
    for i in range(3000):
        producer.produce(topic, str(i), partition=i % 3, callback=lambda err, _: failed.append(err) if err else None)
    assert producer.flush(300) == 0 and not failed
    consumer = confluent.Consumer({"bootstrap.servers": address, "group.id": "none", "enable.auto.commit": False})
    consumer.assign([confluent.TopicPartition(topic, i, 0) for i in range(3)])
    read = []
    while len(read) < 3000:
        got = consumer.consume(1000, timeout=300)
        assert got and all(message.error() is None for message in got)
        read += [(message.partition(), int(message.value())) for message in got]
    consumer.close()
    assert sorted(read) == sorted((i % 3, i) for i in range(3000))
    for i in range(3):
        assert [value for partition, value in read if partition == i] == list(range(i, 3000, 3))


@pytest.mark.parametrize("codec", ["lz4", "zstd"])
def test_librdkafka_compresses_for_the_floor_as_for_others(floor, codec):
    """Where a broker seems too old for a codec, librdkafka sends uncompressed and only says so."""
    program = os.path.join(BUILD, "bench", "bench_rdkafka")
    if not os.access(program, os.X_OK):
        pytest.skip(f"no {program} (it is built where librdkafka-dev is installed)")
    one = floor()
    topic = one.new_topic(1)
    done = subprocess.run([program, "produce", "--brokers", f"127.0.0.1:{one.port}", "--topic", topic, "--records", "20000",
                           "--record-bytes", "100", "--codec", codec, "--acks", "1"], capture_output=True, text=True, timeout=300,
                          check=False)
    assert done.returncode == 0, done.stderr
    assert os.path.getsize(one.log_files(topic)[0]) < 20000 * 100 / 2
