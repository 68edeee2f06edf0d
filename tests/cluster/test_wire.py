"""The data path's protocol, byte for byte, against one real broker: every version that is offered of Produce, Fetch,
ListOffsets, Metadata, OffsetForLeaderEpoch, InitProducerId and ApiVersions; bad batches; bad frames; order.

Facts: Kafka 3.9's KafkaApis, and the messages' schema. Errors are compared by name.
"""
import itertools
import socket
import struct
import time

import cluster as clusters
import pytest
import records
import wire

HOUR_MS = 3600 * 1000
ANSWER_S, LONG_MS = 120, 600000  # whoever waits for LONG_MS has no answer within ANSWER_S


@pytest.fixture(scope="module")
def broker(needs_cluster, tmp_path_factory):
    """One broker, without auto-creation of topics."""
    config = {"offsets.topic.replication.factor": "1", "auto.create.topics.enable": "false"}
    with clusters.Cluster(str(tmp_path_factory.mktemp("wire") / "cluster"), brokers=1, config=config) as one:
        yield one.broker(1)
        assert one.reports() == []


@pytest.fixture
def kafka(broker):
    with wire.Connection("127.0.0.1", broker.port, timeout=ANSWER_S) as connection:
        yield connection


def create(broker, name, partitions=2, **configs):
    answer = broker.call("CreateTopics", {"timeout_ms": 30000, "topics": [
        {"name": name, "num_partitions": partitions, "replication_factor": 1,
         "configs": [{"name": k.replace("_", "."), "value": str(v)} for k, v in configs.items()]}]})
    assert answer["topics"][0]["error_code"] == 0, answer

    def led():
        described = metadata_topic(broker, name)
        return len(described["partitions"]) == partitions and all(p["leader_id"] == 1 for p in described["partitions"])

    broker.cluster.wait(led, f"leaders of {name}")
    return name


def metadata_topic(broker, name):
    return broker.call("Metadata", {"topics": [{"name": name}]})["topics"][0]


def topic_id(broker, name):
    return metadata_topic(broker, name)["topic_id"]


@pytest.fixture
def made(broker, topic):
    """The name of a topic with two empty partitions."""
    return create(broker, topic)


def error(answer):
    return wire.error_name(answer["error_code"])


def versions(name, first=0):
    """Those that the schema has as stable, which is what has to be offered."""
    message = wire.api(name)
    return [v for v in message.versions if v >= first and v not in message.unstable]


# ------------------------------------------------------------------ produce and fetch, shortly


def produce_body(topic, batches, acks=1, **more):
    """batches: {partition: bytes or None}"""
    return {"acks": acks, "timeout_ms": 10000, **more, "topic_data": [
        {"name": topic, "partition_data": [{"index": p, "records": b} for p, b in batches.items()]}]}


def produce(kafka, topic, batches, version=9, acks=1):
    """{partition: answer}"""
    answer = kafka.call("Produce", produce_body(topic, batches, acks), version)
    return {one["index"]: one for one in answer["responses"][0]["partition_responses"]}


def produce_one(kafka, topic, batch, version=9, partition=0):
    return produce(kafka, topic, {partition: batch}, version)[partition]


def simple(count=1, **more):
    return records.make_batch([(None, f"value {i}".encode()) for i in range(count)], **more)


def fetch_body(topic, offsets, version, max_wait_ms=0, min_bytes=1, max_bytes=1 << 20, partition_bytes=1 << 20, **more):
    """offsets: {partition: offset}. From version 13 on `topic` is an id."""
    own = {key: more.pop(key) for key in ("current_leader_epoch", "last_fetched_epoch") if key in more}
    partitions = [{"partition": p, "fetch_offset": o, "partition_max_bytes": partition_bytes, **own}
                  for p, o in offsets.items()]
    name = {"topic": topic} if version < 13 else {"topic_id": topic}
    return {"max_wait_ms": max_wait_ms, "min_bytes": min_bytes, "max_bytes": max_bytes,
            "topics": [{**name, "partitions": partitions}] if offsets else [], **more}


def parts_of(answer):
    """{partition: answer} of the first topic of a fetch."""
    return {p["partition_index"]: p for topic in answer["responses"] for p in topic["partitions"]}


def fetch(kafka, topic, offsets, version=12, **more):
    answer = kafka.call("Fetch", fetch_body(topic, offsets, version, **more), version)
    assert answer["error_code"] == 0
    return parts_of(answer)


def values(data):
    return [r.value for _, batch in records.read_batches(data) for r in batch.records()]


def end_offset(kafka, topic, partition=0):
    return list_offset(kafka, topic, -1, 7, partition)["offset"]


def list_offset(kafka, topic, timestamp, version, partition=0, **more):
    answer = kafka.call("ListOffsets", {"replica_id": -1, **more, "topics": [
        {"name": topic, "partitions": [{"partition_index": partition, "timestamp": timestamp}]}]}, version)
    return answer["topics"][0]["partitions"][0]


# ------------------------------------------------------------------ ApiVersions


def offered(kafka):
    answer = kafka.call("ApiVersions", {"client_software_name": "t", "client_software_version": "1"}, 4)
    return {one["api_key"]: (one["min_version"], one["max_version"]) for one in answer["api_keys"]}


@pytest.mark.parametrize("version", versions("ApiVersions"))
def test_api_versions(kafka, version):
    body = {"client_software_name": "wire-test", "client_software_version": "1.0"} if version >= 3 else {}
    answer = kafka.call("ApiVersions", body, version)
    assert error(answer) == "NONE"
    keys = [one["api_key"] for one in answer["api_keys"]]
    assert keys == sorted(keys)
    assert {one["api_key"]: one["max_version"] for one in answer["api_keys"]}[18] == 4


@pytest.mark.parametrize("version", [5, 99])
def test_api_versions_newer_than_ours_is_answered_in_version_0(kafka, version):
    kafka.send_frame(wire.request_frame("ApiVersions", b"no body that anyone reads", version, 5))
    head, answer = wire.parse_response("ApiVersions", kafka.receive_frame(), 0)
    assert head["correlation_id"] == 5
    assert error(answer) == "UNSUPPORTED_VERSION"
    assert answer["api_keys"] == [{"api_key": 18, "min_version": 0, "max_version": 4}]
    assert error(kafka.call("ApiVersions", {}, 0)) == "NONE"  # the connection goes on


@pytest.mark.parametrize("name,software", [("", "1"), ("a", ""), ("-a", "1"), ("a b", "1"), ("a", "1.")])
def test_api_versions_wants_a_proper_software_name(kafka, name, software):
    answer = kafka.call("ApiVersions", {"client_software_name": name, "client_software_version": software}, 3)
    assert error(answer) == "INVALID_REQUEST"
    assert answer["api_keys"] == []


def test_what_clients_need_is_offered(kafka):
    """The minima that must not be raised, and the maxima of Kafka 3.9."""
    ranges = offered(kafka)
    for name in ("Produce", "Fetch", "ListOffsets", "Metadata", "OffsetForLeaderEpoch", "InitProducerId", "ApiVersions"):
        own = versions(name)
        assert ranges[wire.api(name).key] == (own[0], own[-1]), name


def is_served(broker, name, version):
    """Does the broker answer, rather than close? With the least that the version can carry."""
    message = wire.request(name)
    with wire.Connection("127.0.0.1", broker.port) as kafka:
        body = message.encode({}, version) if version in message.versions else b""
        kafka.send_frame(wire.request_frame(name, body, version, 77))
        try:
            return struct.unpack(">i", kafka.receive_frame()[:4])[0] == 77
        except wire.ConnectionClosed:
            return False


def test_everything_offered_is_served_and_nothing_else(broker, kafka):
    ranges = offered(kafka)
    wrong = []
    for key, message in sorted({wire.api(n).key: wire.api(n) for n in wire._api_names() if not str(n).isdigit()}.items()):
        first, last = ranges.get(key, (0, -1))
        tried = range(0, max(last, max(message.versions, default=0)) + 1)
        for version in tried:
            if version not in message.versions or version in message.unstable:
                continue
            if is_served(broker, message.name, version) != (first <= version <= last):
                wrong.append((message.name, version))
    assert wrong == []


# ------------------------------------------------------------------ Metadata


@pytest.mark.parametrize("version", versions("Metadata"))
def test_metadata(broker, kafka, made, version):
    answer = kafka.call("Metadata", {"topics": [{"name": made}]}, version)
    assert [(b["node_id"], b["host"], b["port"]) for b in answer["brokers"]] == [(1, "127.0.0.1", broker.port)]
    topic, = answer["topics"]
    assert (topic["error_code"], topic["name"]) == (0, made)
    assert sorted(p["partition_index"] for p in topic["partitions"]) == [0, 1]
    for part in topic["partitions"]:
        assert (part["error_code"], part["leader_id"]) == (0, 1)
        assert part["replica_nodes"] == part["isr_nodes"] == [1]
    if version >= 1:
        assert answer["controller_id"] == 1
        assert not topic["is_internal"]
    if version >= 2:
        assert len(answer["cluster_id"]) == 22
    if version >= 10:
        assert topic["topic_id"] not in (None, wire.ZERO_UUID)


@pytest.mark.parametrize("version", versions("Metadata"))
def test_metadata_of_all_topics_and_of_none(kafka, made, version):
    everything = kafka.call("Metadata", {"topics": [] if version == 0 else None}, version)
    assert made in [topic["name"] for topic in everything["topics"]]
    if version > 0:
        assert kafka.call("Metadata", {"topics": []}, version)["topics"] == []


@pytest.mark.parametrize("version", versions("Metadata"))
def test_metadata_of_a_topic_that_is_not_there(kafka, version):
    answer = kafka.call("Metadata", {"topics": [{"name": "nowhere"}, {"name": "bad/name"}]}, version)
    assert [error(t) for t in answer["topics"]] == ["UNKNOWN_TOPIC_OR_PARTITION", "INVALID_TOPIC_EXCEPTION"]


def test_metadata_by_id(broker, kafka, made):
    known, unknown = topic_id(broker, made), "B" * 21 + "A"
    answer = kafka.call("Metadata", {"topics": [{"topic_id": known, "name": None}, {"topic_id": unknown, "name": None}]},
                        12)
    assert [(t["error_code"] and error(t), t["name"], t["topic_id"]) for t in answer["topics"]] == [
        (0, made, known), ("UNKNOWN_TOPIC_ID", None, unknown)]


@pytest.mark.parametrize("version", [10, 11])
def test_metadata_10_and_11_have_ids_but_may_not_use_them(broker, kafka, made, version):
    answer = kafka.call("Metadata", {"topics": [{"topic_id": topic_id(broker, made), "name": made}]}, version)
    assert error(answer["topics"][0]) == "INVALID_REQUEST"


# ------------------------------------------------------------------ Produce


@pytest.mark.parametrize("version", versions("Produce", 3))
@pytest.mark.parametrize("acks", [1, -1])
def test_produce(kafka, made, version, acks):
    for expected in (0, 3):
        answer = produce(kafka, made, {0: simple(3), 1: simple(1)}, version, acks)
        assert error(answer[0]) == error(answer[1]) == "NONE"
        assert answer[0]["base_offset"] == expected
        assert answer[0]["log_append_time_ms"] == -1
        if version >= 5:
            assert answer[0]["log_start_offset"] == 0
    assert end_offset(kafka, made) == 6


@pytest.mark.parametrize("version", [0, 1, 2])
def test_produce_of_old_message_sets_is_answered(kafka, made, version):
    answer = produce_one(kafka, made, records.make_message(None, b"old", magic=min(version, 1)), version)
    assert error(answer) == "UNSUPPORTED_FOR_MESSAGE_FORMAT"
    assert end_offset(kafka, made) == 0


def test_produce_with_acks_0_says_nothing(kafka, made):
    for _ in range(3):
        assert kafka.call("Produce", produce_body(made, {0: simple(2)}, acks=0), 9) is None
    assert end_offset(kafka, made) == 6  # the next answer on the connection is that of the next request


def test_produce_with_acks_0_closes_on_an_error(kafka):
    kafka.send("Produce", produce_body("nowhere", {0: simple()}, acks=0), 9)
    assert kafka.is_closed()


@pytest.mark.parametrize("acks", [2, -2, 100])
def test_produce_with_acks_that_do_not_exist(kafka, made, acks):
    assert error(produce(kafka, made, {0: simple()}, acks=acks)[0]) == "INVALID_REQUIRED_ACKS"
    assert end_offset(kafka, made) == 0


@pytest.mark.parametrize("version", versions("Produce", 3))
def test_produce_to_what_is_not_there(kafka, made, version):
    answer = produce(kafka, made, {0: simple(), 9: simple()}, version)
    assert (error(answer[0]), error(answer[9])) == ("NONE", "UNKNOWN_TOPIC_OR_PARTITION")
    assert answer[9]["base_offset"] == -1
    assert error(produce_one(kafka, "nowhere", simple(), version)) == "UNKNOWN_TOPIC_OR_PARTITION"


def test_clients_do_not_write_to_internal_topics(kafka):
    assert error(produce_one(kafka, "__consumer_offsets", simple())) in ("INVALID_TOPIC_EXCEPTION",
                                                                         "UNKNOWN_TOPIC_OR_PARTITION")


def changed(data, at, form, value):
    """With another value at `at`, and a crc that is right again."""
    data = bytearray(data)
    struct.pack_into(form, data, at, value)
    return records.seal_batch(data)


def wrong_crc(data):
    return data[:records.MAGIC_END] + bytes([data[records.MAGIC_END] ^ 1]) + data[records.MAGIC_END + 1:]


def with_length(data, length):
    return data[:8] + struct.pack(">i", length) + data[12:]


BAD_BATCHES = {
    "the checksum is wrong": (wrong_crc(simple()), "CORRUPT_MESSAGE"),
    "the records are damaged": (simple()[:-1] + b"X", "CORRUPT_MESSAGE"),
    "the count is too large": (changed(simple(2), 57, ">i", 3), "INVALID_RECORD"),
    "the count is too small": (changed(simple(2), 57, ">i", 1), "INVALID_RECORD"),
    "the count is zero": (changed(changed(simple(1), 57, ">i", 0), 23, ">i", -1), "INVALID_RECORD"),
    "the count is negative": (changed(simple(1), 57, ">i", -1), "INVALID_RECORD"),
    "the last offset does not fit": (changed(simple(2), 23, ">i", 5), "INVALID_RECORD"),
    "the base offset is not 0": (simple(base_offset=5), "INVALID_RECORD"),
    "the codec does not exist": (changed(simple(), 21, ">h", 7), "UNSUPPORTED_COMPRESSION_TYPE"),
    "the records are not what the codec says": (changed(simple(), 21, ">h", 1), None),
    "the time is the broker's to set": (simple(attributes=records.LOG_APPEND_TIME), "INVALID_TIMESTAMP"),
    "it is a control batch": (records.make_control_batch(1, producer_id=1, producer_epoch=0, base_sequence=0),
                              "INVALID_RECORD"),
    "the control bit is set": (simple(attributes=records.CONTROL), "INVALID_RECORD"),
    "it is transactional without a producer": (simple(attributes=records.TRANSACTIONAL), "INVALID_RECORD"),
    "the sequence is negative": (simple(producer_id=5, producer_epoch=0, base_sequence=-1), "INVALID_RECORD"),
    "the producer's epoch is negative": (simple(producer_id=5, producer_epoch=-1, base_sequence=0), "INVALID_RECORD"),
    "there are two": (simple() + simple(), "INVALID_RECORD"),
    "there is none": (b"", "INVALID_RECORD"),
    "there is null": (None, "INVALID_RECORD"),
    "it is cut off": (simple()[:-3], "INVALID_RECORD"),
    "only a header is there": (simple()[:20], "INVALID_RECORD"),
    "its length is tiny": (with_length(simple(), 3), "CORRUPT_MESSAGE"),
    "its length is negative": (with_length(simple(), -1), "CORRUPT_MESSAGE"),
    "its magic does not exist": (simple()[:16] + b"\3" + simple()[17:], "CORRUPT_MESSAGE"),
    "its magic is 1": (records.make_message(None, b"old"), "INVALID_RECORD"),
    "it is too large": (records.make_batch([(None, bytes(1 << 20))]), "MESSAGE_TOO_LARGE"),
}


@pytest.mark.parametrize("what", BAD_BATCHES)
def test_a_bad_batch_gets_its_error_and_the_others_are_written(kafka, made, what):
    data, expected = BAD_BATCHES[what]
    answer = produce(kafka, made, {1: data, 0: simple(2)})
    if expected is not None:
        assert error(answer[1]) == expected
        assert answer[1]["base_offset"] == -1
        assert end_offset(kafka, made, 1) == 0
    else:
        # Without a reason to look inside, the leader passes compressed records on; nothing may break by it.
        assert error(answer[1]) in ("NONE", "INVALID_RECORD", "CORRUPT_MESSAGE")
    assert error(answer[0]) == "NONE"
    assert end_offset(kafka, made, 0) == 2


@pytest.mark.parametrize("version", versions("Produce", 3))
def test_the_error_of_a_bad_batch_in_every_version(kafka, made, version):
    assert error(produce_one(kafka, made, simple(attributes=records.CONTROL), version)) == "INVALID_RECORD"


def test_zstd_needs_produce_7(kafka, made):
    data = changed(simple(), 21, ">h", 4)
    assert error(produce_one(kafka, made, data, 6)) == "UNSUPPORTED_COMPRESSION_TYPE"


def need_codec(codec):
    try:
        records.compress(codec, b"x")
    except records.MissingModule as problem:
        pytest.skip(str(problem))


@pytest.mark.parametrize("codec", records.CODECS)
def test_compressed_batches_come_back_as_they_were(kafka, made, codec):
    need_codec(codec)
    data = simple(50, codec=codec)
    assert error(produce_one(kafka, made, data)) == "NONE"
    got = fetch(kafka, made, {0: 0})[0]["records"]
    assert got[records.MAGIC_END:] == data[records.MAGIC_END:]
    assert values(got) == [f"value {i}".encode() for i in range(50)]


@pytest.mark.parametrize("wanted,sent", itertools.product(["uncompressed", "gzip", "snappy", "lz4", "zstd"],
                                                          ["none", "gzip", "lz4"]))
def test_a_topic_with_a_codec_of_its_own_recompresses(broker, kafka, topic, wanted, sent):
    codec = "none" if wanted == "uncompressed" else wanted
    need_codec(codec)
    need_codec(sent)
    create(broker, topic, compression_type=wanted)
    assert error(produce_one(kafka, topic, simple(20, codec=sent))) == "NONE"
    assert produce_one(kafka, topic, simple(1, codec=sent))["base_offset"] == 20
    batches = [batch for _, batch in records.read_batches(fetch(kafka, topic, {0: 0})[0]["records"])]
    assert [batch.codec for batch in batches] == [codec, codec]
    assert all(batch.is_valid for batch in batches)
    assert [r.value for r in batches[0].records()] == [f"value {i}".encode() for i in range(20)]
    assert [r.offset for batch in batches for r in batch.records()] == list(range(21))


def test_log_append_time(broker, kafka, topic):
    create(broker, topic, message_timestamp_type="LogAppendTime")
    before = int(time.time() * 1000)
    answer = produce_one(kafka, topic, simple(3, timestamp=1000))
    assert error(answer) == "NONE"
    assert before - 1000 <= answer["log_append_time_ms"] <= int(time.time() * 1000) + 1000
    (_, batch), = records.read_batches(fetch(kafka, topic, {0: 0})[0]["records"])
    assert batch.is_valid
    assert batch.attributes & records.LOG_APPEND_TIME
    assert batch.max_timestamp == answer["log_append_time_ms"]
    assert {r.timestamp for r in batch.records()} == {answer["log_append_time_ms"]}


@pytest.mark.parametrize("version", [7, 8, 9])
def test_times_out_of_the_topics_range_are_refused(broker, kafka, topic, version):
    create(broker, topic, message_timestamp_before_max_ms=HOUR_MS, message_timestamp_after_max_ms=HOUR_MS)
    now = int(time.time() * 1000)
    for timestamp in (now - 2 * HOUR_MS, now + 2 * HOUR_MS):
        answer = produce_one(kafka, topic, simple(2, timestamp=timestamp), version)
        assert error(answer) == "INVALID_TIMESTAMP"
        if version >= 8:
            assert [one["batch_index"] for one in answer["record_errors"]] == [0, 1]
            assert answer["error_message"]
    assert error(produce_one(kafka, topic, simple(2, timestamp=now), version)) == "NONE"
    assert end_offset(kafka, topic) == 2


def test_a_compacted_topic_needs_keys(broker, kafka, topic):
    create(broker, topic, cleanup_policy="compact")
    answer = produce_one(kafka, topic, records.make_batch([(b"k", b"v"), (None, b"v")]))
    assert error(answer) == "INVALID_RECORD"
    assert [one["batch_index"] for one in answer["record_errors"]] == [1]
    assert error(produce_one(kafka, topic, records.make_batch([(b"k", b"v")]))) == "NONE"


def test_a_max_timestamp_that_is_not_true_is_put_right(kafka, made):
    now = int(time.time() * 1000)
    data = changed(simple(2, timestamp=now), 35, ">q", now + 5000)
    assert error(produce_one(kafka, made, data)) == "NONE"
    (_, batch), = records.read_batches(fetch(kafka, made, {0: 0})[0]["records"])
    assert batch.is_valid
    assert batch.max_timestamp == now


def test_a_compressed_batch_without_a_max_timestamp_is_found_by_time(kafka, made):
    """As Sarama sends it."""
    data = changed(simple(2, timestamp=1000 * HOUR_MS, codec="gzip"), 35, ">q", -1)
    assert error(produce_one(kafka, made, data)) == "NONE"
    (_, batch), = records.read_batches(fetch(kafka, made, {0: 0})[0]["records"])
    assert batch.is_valid
    assert batch.max_timestamp == 1000 * HOUR_MS
    assert list_offset(kafka, made, 1000 * HOUR_MS, 7)["offset"] == 0


def test_the_limit_of_a_topics_messages(broker, kafka, topic):
    create(broker, topic, max_message_bytes=1000)
    assert error(produce_one(kafka, topic, records.make_batch([(None, bytes(1000))]))) == "MESSAGE_TOO_LARGE"
    assert error(produce_one(kafka, topic, records.make_batch([(None, bytes(800))]))) == "NONE"


def test_idempotent_producers(kafka, made):
    def send(sequence, count=2, epoch=0):
        return produce_one(kafka, made, simple(count, producer_id=4000, producer_epoch=epoch, base_sequence=sequence))

    assert send(0)["base_offset"] == 0
    assert send(2)["base_offset"] == 2
    again = send(0)
    assert (error(again), again["base_offset"]) == ("NONE", 0)  # a duplicate has its first offset
    assert error(send(9)) == "OUT_OF_ORDER_SEQUENCE_NUMBER"
    assert send(0, epoch=1)["base_offset"] == 4
    assert error(send(4)) == "INVALID_PRODUCER_EPOCH"
    assert end_offset(kafka, made) == 6


# ------------------------------------------------------------------ Fetch


def fetch_name(broker, name, version):
    return name if version < 13 else topic_id(broker, name)


@pytest.mark.parametrize("version", versions("Fetch", 4))
def test_fetch(broker, kafka, made, version):
    produce(kafka, made, {0: simple(3), 1: simple(2)})
    name = fetch_name(broker, made, version)
    answer = kafka.call("Fetch", fetch_body(name, {0: 0, 1: 1}, version), version)
    assert answer["responses"][0]["topic" if version < 13 else "topic_id"] == name
    got = parts_of(answer)
    assert values(got[0]["records"]) == [b"value 0", b"value 1", b"value 2"]
    assert values(got[1]["records"]) == [b"value 0", b"value 1"]  # the batch that holds the offset, whole
    assert [(got[p]["high_watermark"], got[p]["last_stable_offset"]) for p in (0, 1)] == [(3, 3), (2, 2)]
    assert got[0]["aborted_transactions"] is None
    if version >= 5:
        assert got[0]["log_start_offset"] == 0
    if version >= 11:
        assert got[0]["preferred_read_replica"] == -1


@pytest.mark.parametrize("version", [0, 1, 2, 3])
def test_fetch_of_old_formats_is_answered(kafka, made, version):
    produce(kafka, made, {0: simple(3)})
    answer = kafka.call("Fetch", fetch_body(made, {0: 0}, version), version)
    part = parts_of(answer)[0]
    assert error(part) == "UNSUPPORTED_FOR_MESSAGE_FORMAT"
    assert not part["records"]


@pytest.mark.parametrize("version", versions("Fetch", 4))
def test_fetch_of_what_is_not_there(broker, kafka, made, version):
    name = fetch_name(broker, made, version)
    got = parts_of(kafka.call("Fetch", fetch_body(name, {0: 0, 9: 0}, version), version))
    assert (error(got[0]), error(got[9])) == ("NONE", "UNKNOWN_TOPIC_OR_PARTITION")
    assert (got[9]["high_watermark"], got[9]["records"]) == (-1, b"")
    unknown = "nowhere" if version < 13 else "B" * 21 + "A"
    got = parts_of(kafka.call("Fetch", fetch_body(unknown, {0: 0}, version, max_wait_ms=LONG_MS), version))
    assert error(got[0]) == ("UNKNOWN_TOPIC_OR_PARTITION" if version < 13 else "UNKNOWN_TOPIC_ID")


@pytest.mark.parametrize("version", versions("Fetch", 4))
def test_offsets_out_of_range_do_not_wait(broker, kafka, made, version):
    produce(kafka, made, {0: simple(3)})
    name = fetch_name(broker, made, version)
    for offset in (-1, 4, 2**60):
        got = parts_of(kafka.call("Fetch", fetch_body(name, {0: offset}, version, max_wait_ms=LONG_MS), version))
        assert error(got[0]) == "OFFSET_OUT_OF_RANGE"


def test_read_committed_has_an_empty_list_of_aborted_transactions(kafka, made):
    produce(kafka, made, {0: simple(3)})
    assert fetch(kafka, made, {0: 0}, isolation_level=1)[0]["aborted_transactions"] == []


def test_the_first_batch_comes_whole_whatever_the_limits(kafka, made):
    large, small = simple(100), simple(1)
    produce(kafka, made, {0: large, 1: large})
    produce(kafka, made, {0: small, 1: small})
    got = fetch(kafka, made, {0: 0, 1: 0}, max_bytes=1, partition_bytes=1)
    assert len(got[0]["records"]) == len(large)
    assert got[1]["records"] == b""
    # Below the limit of all: each partition's own limit holds, the first batch of the first one excepted.
    got = fetch(kafka, made, {1: 0, 0: 0}, partition_bytes=1)
    assert (len(got[1]["records"]), len(got[0]["records"])) == (len(large), 0)
    got = fetch(kafka, made, {0: 0, 1: 0}, max_bytes=len(large) + 10)
    assert len(got[0]["records"]) == len(large) + 10  # the second batch is cut off
    assert got[1]["records"] == b""
    got = fetch(kafka, made, {0: 0, 1: 0}, max_bytes=2 * len(large) + len(small))
    assert len(got[1]["records"]) == len(large)


def test_limits_that_are_negative(kafka, made):
    produce(kafka, made, {0: simple(2), 1: simple(2)})
    got = fetch(kafka, made, {0: 0, 1: 0}, max_bytes=-5, partition_bytes=-5)
    assert (len(values(got[0]["records"])), got[1]["records"]) == (2, b"")


def test_an_empty_fetch_waits_for_its_time_and_no_longer(kafka, made):
    started = time.monotonic()
    assert fetch(kafka, made, {0: 0}, max_wait_ms=300)[0]["records"] == b""
    assert time.monotonic() - started >= 0.29
    assert fetch(kafka, made, {0: 0}, max_wait_ms=LONG_MS, min_bytes=0)[0]["records"] == b""
    assert fetch(kafka, made, {}, max_wait_ms=LONG_MS) == {}


def test_a_waiting_fetch_is_woken_by_a_produce(broker, kafka, made):
    sent = kafka.send("Fetch", fetch_body(made, {0: 0, 1: 0}, 12, max_wait_ms=LONG_MS), 12)
    with wire.Connection("127.0.0.1", broker.port) as other:
        produce(other, made, {1: simple(2)})
    assert len(values(parts_of(kafka.receive(sent))[1]["records"])) == 2


def test_a_waiting_fetch_is_woken_when_there_is_enough(broker, kafka, made):
    batch = simple(10)
    body = fetch_body(made, {0: 0, 1: 0}, 12, max_wait_ms=LONG_MS, min_bytes=3 * len(batch))
    sent = kafka.send("Fetch", body, 12)
    with wire.Connection("127.0.0.1", broker.port) as other:
        produce(other, made, {0: batch})
        produce(other, made, {1: batch})
        with pytest.raises(wire.Timeout):
            kafka.receive(sent, 0.3)
        produce(other, made, {0: batch})
    got = parts_of(kafka.receive(sent))
    assert len(got[0]["records"]) + len(got[1]["records"]) == 3 * len(batch)


def test_a_waiting_fetch_of_a_topic_that_goes_is_answered(broker, kafka, made):
    sent = kafka.send("Fetch", fetch_body(made, {0: 0}, 12, max_wait_ms=LONG_MS), 12)
    broker.call("DeleteTopics", {"topics": [{"name": made}], "topic_names": [made], "timeout_ms": 10000})
    assert error(parts_of(kafka.receive(sent))[0]) in ("UNKNOWN_TOPIC_OR_PARTITION", "NOT_LEADER_OR_FOLLOWER")


@pytest.mark.parametrize("version", versions("Fetch", 9))
def test_fetch_checks_the_leaders_epoch(broker, kafka, made, version):
    name = fetch_name(broker, made, version)
    for epoch, expected in ((0, "NONE"), (-1, "NONE"), (7, "UNKNOWN_LEADER_EPOCH")):
        got = parts_of(kafka.call("Fetch", fetch_body(name, {0: 0}, version, current_leader_epoch=epoch), version))
        assert error(got[0]) == expected


@pytest.mark.parametrize("version", versions("Fetch", 12))
def test_a_log_that_diverges_is_told_where(broker, kafka, made, version):
    produce(kafka, made, {0: simple(3)})
    name = fetch_name(broker, made, version)
    body = fetch_body(name, {0: 2}, version, current_leader_epoch=0, last_fetched_epoch=0)
    part = parts_of(kafka.call("Fetch", body, version))[0]
    assert error(part) == "NONE"
    assert part["records"] != b""
    # More than the leader has of that epoch.
    body = fetch_body(name, {0: 9}, version, current_leader_epoch=0, last_fetched_epoch=0, max_wait_ms=LONG_MS)
    part = parts_of(kafka.call("Fetch", body, version))[0]
    assert (error(part), part["records"]) == ("NONE", b"")
    assert part["diverging_epoch"] == {"epoch": 0, "end_offset": 3}
    # An epoch that nobody knows.
    body = fetch_body(name, {0: 2}, version, current_leader_epoch=0, last_fetched_epoch=5)
    assert error(parts_of(kafka.call("Fetch", body, version))[0]) == "OFFSET_OUT_OF_RANGE"


def test_a_topic_of_zstd_needs_fetch_10(broker, kafka, topic):
    create(broker, topic, compression_type="zstd")
    produce(kafka, topic, {0: simple(2)})
    part = parts_of(kafka.call("Fetch", fetch_body(topic, {0: 0}, 9), 9))[0]
    assert error(part) == "UNSUPPORTED_COMPRESSION_TYPE"
    assert error(parts_of(kafka.call("Fetch", fetch_body(topic, {0: 0}, 10), 10))[0]) == "NONE"


# ---- sessions


@pytest.mark.parametrize("version", versions("Fetch", 7))
def test_a_session_tells_only_what_is_new(broker, kafka, made, version):
    name = fetch_name(broker, made, version)

    def call(offsets, session, epoch, forgotten=()):
        body = fetch_body(name, offsets, version, session_id=session, session_epoch=epoch)
        key = "topic" if version < 13 else "topic_id"
        body["forgotten_topics_data"] = [{key: name, "partitions": list(forgotten)}] if forgotten else []
        answer = kafka.call("Fetch", body, version)
        assert answer["error_code"] == 0
        return answer["session_id"], parts_of(answer)

    session, parts = call({0: 0, 1: 0}, 0, 0)
    assert session > 0
    assert sorted(parts) == [0, 1]
    assert call({}, session, 1) == (session, {})
    produce(kafka, made, {1: simple(2)})
    _, parts = call({}, session, 2)
    assert list(parts) == [1]
    _, parts = call({1: 2}, session, 3)
    assert parts == {}
    produce(kafka, made, {0: simple(1), 1: simple(1)})
    _, parts = call({}, session, 4, forgotten=[1])
    assert list(parts) == [0]
    assert call({0: 1}, session, 5) == (session, {})
    assert call({}, session, 6, forgotten=[0]) == (0, {})  # empty: it ends


@pytest.mark.parametrize("version", versions("Fetch", 7))
def test_errors_of_sessions(broker, kafka, made, version):
    name = fetch_name(broker, made, version)

    def call(session, epoch, offsets=None, of=version):
        named = fetch_name(broker, made, of)
        answer = kafka.call("Fetch", fetch_body(named, offsets or {}, of, session_id=session, session_epoch=epoch), of)
        return error(answer), answer["session_id"], answer["responses"]

    assert call(123456, 1) == ("FETCH_SESSION_ID_NOT_FOUND", 0, [])
    session = kafka.call("Fetch", fetch_body(name, {0: 0}, version, session_epoch=0), version)["session_id"]
    assert call(session, 2) == ("INVALID_FETCH_SESSION_EPOCH", 0, [])
    other = 12 if version >= 13 else 13
    assert call(session, 1, of=other) == ("FETCH_SESSION_TOPIC_ID_ERROR", 0, [])
    assert call(session, 1)[0] == "NONE"
    assert call(session, -1, {0: 0})[0] == "NONE"  # ends it
    assert call(session, 2)[0] == "FETCH_SESSION_ID_NOT_FOUND"


# ------------------------------------------------------------------ ListOffsets


@pytest.mark.parametrize("version", versions("ListOffsets", 1))
def test_list_offsets(kafka, made, version):
    for i in range(4):
        produce(kafka, made, {0: simple(2, timestamp=1000 * HOUR_MS + i)})
    latest = list_offset(kafka, made, -1, version)
    assert (error(latest), latest["offset"], latest["timestamp"]) == ("NONE", 8, -1)
    earliest = list_offset(kafka, made, -2, version)
    assert (error(earliest), earliest["offset"], earliest["timestamp"]) == ("NONE", 0, -1)
    found = list_offset(kafka, made, 1000 * HOUR_MS + 2, version)
    assert (error(found), found["offset"], found["timestamp"]) == ("NONE", 4, 1000 * HOUR_MS + 2)
    later = list_offset(kafka, made, 1000 * HOUR_MS + 4, version)
    assert (error(later), later["offset"], later["timestamp"]) == ("NONE", -1, -1)
    if version >= 4:
        assert [one["leader_epoch"] for one in (latest, earliest, found, later)] == [0, 0, 0, -1]


def test_list_offsets_0_is_answered(kafka, made):
    assert error(list_offset(kafka, made, -1, 0)) == "UNSUPPORTED_VERSION"


@pytest.mark.parametrize("version", versions("ListOffsets", 1))
@pytest.mark.parametrize("timestamp,first,expected", [(-3, 7, 6), (-4, 8, 0), (-5, 9, -1)])
def test_list_offsets_special_times(kafka, made, version, timestamp, first, expected):
    for time_ms in (5, 9, 7):
        produce(kafka, made, {0: simple(3, timestamp=1000 * HOUR_MS + time_ms)})
    expected = 3 if timestamp == -3 else expected
    found = list_offset(kafka, made, timestamp, version)
    if version < first:
        assert (error(found), found["offset"]) == ("UNSUPPORTED_VERSION", -1)
    else:
        assert (error(found), found["offset"]) == ("NONE", expected)
        assert found["timestamp"] == (1000 * HOUR_MS + 9 if timestamp == -3 else -1)


@pytest.mark.parametrize("version", versions("ListOffsets", 1))
def test_list_offsets_of_what_is_not_there(kafka, made, version):
    assert error(list_offset(kafka, made, -1, version, partition=9)) == "UNKNOWN_TOPIC_OR_PARTITION"
    assert error(list_offset(kafka, "nowhere", -1, version)) == "UNKNOWN_TOPIC_OR_PARTITION"


def test_list_offsets_names_no_partition_twice(kafka, made):
    partitions = [{"partition_index": p, "timestamp": -1} for p in (0, 1, 0)]
    answer = kafka.call("ListOffsets", {"replica_id": -1, "topics": [{"name": made, "partitions": partitions}]}, 7)
    assert [error(p) for p in answer["topics"][0]["partitions"]] == ["INVALID_REQUEST", "NONE", "INVALID_REQUEST"]


def test_list_offsets_names_no_partition_twice_in_two_entries_of_its_topic_either(kafka, made):
    """Else a worker looks for a time in one log as often as a client names its topic."""
    topics = [{"name": made, "partitions": [{"partition_index": p, "timestamp": 5} for p in indexes]}
              for indexes in ((0, 1), (), (0,))]
    answer = kafka.call("ListOffsets", {"replica_id": -1, "topics": topics}, 7)
    assert [[error(p) for p in topic["partitions"]] for topic in answer["topics"]] == \
        [["INVALID_REQUEST", "NONE"], [], ["INVALID_REQUEST"]]


def test_list_offsets_of_very_many_partitions_takes_no_time(broker, kafka, made):
    """Looking for duplicates took the square of their number: a request of 5 MB stopped a loop for minutes."""
    partitions = [{"partition_index": p, "timestamp": -1} for p in range(300000)]
    frame = wire.request_frame("ListOffsets", {"replica_id": -1, "topics": [{"name": made, "partitions": partitions}]},
                               7, 1)
    kafka.send_frame(frame)
    kafka.receive_frame(60)


@pytest.mark.parametrize("version", versions("ListOffsets", 4))
def test_list_offsets_checks_the_leaders_epoch(kafka, made, version):
    for epoch, expected in ((0, "NONE"), (-1, "NONE"), (3, "UNKNOWN_LEADER_EPOCH")):
        answer = kafka.call("ListOffsets", {"replica_id": -1, "topics": [{"name": made, "partitions": [
            {"partition_index": 0, "timestamp": -1, "current_leader_epoch": epoch}]}]}, version)
        assert error(answer["topics"][0]["partitions"][0]) == expected


# ------------------------------------------------------------------ OffsetForLeaderEpoch, InitProducerId


@pytest.mark.parametrize("version", versions("OffsetForLeaderEpoch"))
def test_offset_for_leader_epoch(kafka, made, version):
    produce(kafka, made, {0: simple(3)})

    def ask(partition, epoch, current=-1, topic=made):
        own = {"current_leader_epoch": current} if version >= 2 else {}
        answer = kafka.call("OffsetForLeaderEpoch", {"topics": [{"topic": topic, "partitions": [
            {"partition": partition, "leader_epoch": epoch, **own}]}]}, version)
        part, = answer["topics"][0]["partitions"]
        return error(part), part["leader_epoch"] if version >= 1 else None, part["end_offset"]

    epoch = 0 if version >= 1 else None
    none = -1 if version >= 1 else None
    assert ask(0, 0) == ("NONE", epoch, 3)
    assert ask(0, 5) == ("NONE", none, -1)
    assert ask(9, 0)[0] == "UNKNOWN_TOPIC_OR_PARTITION"
    assert ask(0, 0, topic="nowhere")[0] == "UNKNOWN_TOPIC_OR_PARTITION"
    if version >= 2:
        assert ask(0, 0, current=0)[0] == "NONE"
        assert ask(0, 0, current=4)[0] == "UNKNOWN_LEADER_EPOCH"


@pytest.mark.parametrize("version", versions("InitProducerId"))
def test_init_producer_id(kafka, version):
    first = kafka.call("InitProducerId", {"transactional_id": None, "transaction_timeout_ms": 1000}, version)
    second = kafka.call("InitProducerId", {"transactional_id": None, "transaction_timeout_ms": 1000}, version)
    assert error(first) == error(second) == "NONE"
    assert first["producer_id"] >= 0
    assert first["producer_id"] != second["producer_id"]
    assert first["producer_epoch"] == second["producer_epoch"] == 0


@pytest.mark.parametrize("version", versions("InitProducerId", 3))
@pytest.mark.parametrize("producer", [(5, -1), (-1, 5)])
def test_init_producer_id_wants_id_and_epoch_together(kafka, version, producer):
    answer = kafka.call("InitProducerId", {"transactional_id": None, "transaction_timeout_ms": 1000, "producer_id": producer[0],
                                           "producer_epoch": producer[1]}, version)
    assert error(answer) == "INVALID_REQUEST"


def test_init_producer_id_with_an_empty_transactional_id(kafka):
    answer = kafka.call("InitProducerId", {"transactional_id": "", "transaction_timeout_ms": 1000}, 4)
    assert error(answer) == "INVALID_REQUEST"


# ------------------------------------------------------------------ frames


FOREIGN = {
    "a negative size": (struct.pack(">i", -1) + b"rest", "W-NET-02"),
    "the smallest size": (struct.pack(">i", -2**31), "W-NET-02"),
    "a size beyond the limit": (struct.pack(">i", 104857601), "W-NET-02"),
    "HTTP": (b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "W-NET-01"),
    "HTTP with a body": (b"POST /topics/x HTTP/1.1\r\n\r\n", "W-NET-01"),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64), "W-NET-01"),
}


@pytest.mark.parametrize("what", FOREIGN)
def test_what_is_not_kafka_is_closed_with_one_line(broker, kafka, what):
    data, code = FOREIGN[what]
    before = [line for line in broker.log_text().splitlines() if code in line]
    own = f"{kafka.socket.getsockname()[0]}:{kafka.socket.getsockname()[1]}"
    kafka.send_frame(data)
    assert kafka.is_closed()
    lines = [line for line in broker.log_text().splitlines() if code in line]
    # A limit on repeats holds later ones of a kind back, but never the first.
    assert len(lines) - len(before) <= 1
    assert lines, "nobody was told"
    if not before:
        assert own in lines[0]


@pytest.mark.parametrize("what,frame", [
    ("an unknown key", wire.frame(struct.pack(">hhih", 999, 0, 1, -1))),
    ("a negative key", wire.frame(struct.pack(">hhih", -1, 0, 1, -1))),
    ("a key that is not offered", wire.frame(struct.pack(">hhih", 4, 0, 1, -1))),
    ("a version above ours", wire.frame(struct.pack(">hhihb", 3, 99, 1, -1, 0))),
    ("a negative version", wire.frame(struct.pack(">hhih", 3, -1, 1, -1))),
    ("an empty frame", wire.frame(b"")),
    ("half a header", wire.frame(b"\0\3\0")),
    ("a client id that is cut off", wire.frame(struct.pack(">hhih", 3, 1, 1, 500))),
    ("a body that is cut off", wire.request_frame("Metadata", b"\0\0", 1)),
    ("a count beyond the frame", wire.request_frame("Metadata", struct.pack(">i", 2**31 - 1), 1)),
])
def test_what_cannot_be_read_is_closed(broker, kafka, what, frame):
    kafka.send_frame(frame)
    assert kafka.is_closed(), what
    assert broker.alive()


def test_a_frame_that_comes_byte_by_byte(kafka, made):
    frame = wire.request_frame("Metadata", {"topics": [{"name": made}]}, 4, 3)
    for byte in frame:
        kafka.send_frame(bytes([byte]))
    _, answer = wire.parse_response("Metadata", kafka.receive_frame(), 4)
    assert answer["topics"][0]["name"] == made


def test_a_connection_that_leaves_in_the_middle_harms_nobody(broker, made):
    for size in (2, 4, 9, 30):
        with socket.create_connection(("127.0.0.1", broker.port)) as one:
            one.sendall(wire.request_frame("Produce", produce_body(made, {0: simple()}), 9)[:size])
    with wire.Connection("127.0.0.1", broker.port) as kafka:
        sent = kafka.send("Fetch", fetch_body(made, {0: 0}, 12, max_wait_ms=LONG_MS), 12)
        assert sent is not None  # waits, and its client goes
    with wire.Connection("127.0.0.1", broker.port) as kafka:
        assert error(produce_one(kafka, made, simple())) == "NONE"
        assert end_offset(kafka, made) == 1


def test_frames_that_do_not_come_hold_up_nobody_for_long(broker, made):
    """They stopped all larger frames of everybody until they were idle, after ten minutes."""
    silent = [socket.create_connection(("127.0.0.1", broker.port)) for _ in range(6)]
    for one in silent:
        one.sendall(struct.pack(">i", 100 << 20))
    with wire.Connection("127.0.0.1", broker.port, timeout=ANSWER_S) as kafka:
        assert error(produce_one(kafka, made, simple(1000))) == "NONE"
    assert "W-NET-03" in broker.log_text()
    for one in silent:
        one.close()


def test_pipelined_requests_are_answered_in_order(broker, kafka, made):
    kinds = [("Produce", produce_body(made, {0: simple(2), 1: simple()}, acks=-1), 9),
             ("Fetch", fetch_body(made, {0: 0}, 12, max_wait_ms=50, min_bytes=1 << 20), 12),
             ("Metadata", {"topics": [{"name": made}]}, 9),
             ("Produce", produce_body(made, {0: simple(2)}, acks=1), 7),
             ("ListOffsets", {"replica_id": -1, "topics": [{"name": made, "partitions": [
                 {"partition_index": 0, "timestamp": 0}]}]}, 5),
             ("InitProducerId", {"transactional_id": None, "transaction_timeout_ms": 1000}, 4),
             ("ApiVersions", {}, 0)]
    frames, names = b"", []
    for i in range(40):
        name, body, version = kinds[i % len(kinds)]
        frames += wire.request_frame(name, body, version, i)
        names.append((name, version))
    kafka.send_frame(frames)
    offsets = []
    for i, (name, version) in enumerate(names):
        head, answer = wire.parse_response(name, kafka.receive_frame(), version)
        assert head["correlation_id"] == i
        if name == "Produce":
            part = answer["responses"][0]["partition_responses"][0]
            assert error(part) == "NONE"
            offsets.append(part["base_offset"])
    assert offsets == list(range(0, 2 * len(offsets), 2))
    assert broker.alive()
