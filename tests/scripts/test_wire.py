"""scripts/lib/wire.py: every message in every version, bytes worked out by hand, and a broker that answers as told."""
import importlib.util
import os
import random
import select
import socket
import struct
import sys
import threading
import uuid

import pytest
import wire

MESSAGES = sorted(wire.schema().values(), key=lambda m: (m.kind, m.name))
every_message = pytest.mark.parametrize("message", MESSAGES, ids=lambda m: f"{m.name}-{m.kind}")

LIMITS = {"int8": 2**7, "int16": 2**15, "int32": 2**31, "int64": 2**63}
TEXTS = ["", "orders", "Grüße", "x" * 127, "y" * 128, "not utf-8: \udcff"]


# ------------------------------------------------------------------ values made from the schema


def make_one(field, version, rng, null):
    if field.is_struct:
        return make_fields(field.fields, version, rng, null)
    if field.type in LIMITS:
        limit = LIMITS[field.type]
        return rng.choice([0, 1, -1, limit - 1, -limit, rng.randrange(-limit, limit)])
    return {"bool": lambda: rng.random() < 0.5, "uint16": lambda: rng.randrange(1 << 16), "float64": rng.random,
            "uuid": lambda: wire.uuid_text(rng.randbytes(16)), "string": lambda: rng.choice(TEXTS),
            "bytes": lambda: rng.randbytes(rng.choice([0, 1, 127, 300])),
            "records": lambda: rng.randbytes(61)}[field.type]()


def make_field(field, version, rng, null):
    if version not in field.versions:
        return field.default()
    if version in field.nullable and (null or rng.random() < 0.2):
        return None
    if field.array:
        return [make_one(field, version, rng, null) for _ in range(rng.choice([0, 1, 2, 3]))]
    return make_one(field, version, rng, null)


def make_fields(fields, version, rng, null):
    return {field.name: make_field(field, version, rng, null) for field in fields}


@every_message
def test_every_version_makes_a_round_trip(message):
    rng = random.Random(message.name)
    for version in message.versions:
        for value in [message.default(), make_fields(message.fields, version, rng, True),
                      *(make_fields(message.fields, version, rng, False) for _ in range(5))]:
            try:
                encoded = message.encode(value, version)
            except ValueError:
                assert value == message.default(), f"version {version}: a made value must have bytes"
                continue  # the default of a field that cannot be null may be null, as in Kafka
            assert message.decode(encoded, version) == value, f"version {version}"


@every_message
def test_a_message_cut_short_or_followed_by_more_is_malformed(message):
    rng = random.Random(message.name)
    for version in message.versions:
        encoded = message.encode(make_fields(message.fields, version, rng, False), version)
        for size in sorted({*range(min(len(encoded), 80)), len(encoded) - 1} - {-1}):
            with pytest.raises(wire.Malformed):
                message.decode(encoded[:size], version)
        with pytest.raises(wire.Malformed, match="1 bytes left over"):
            message.decode(encoded + b"\0", version)


@every_message
def test_damage_gives_a_value_or_malformed_and_nothing_else(message):
    rng = random.Random(message.name)
    for version in message.versions:
        encoded = bytearray(message.encode(make_fields(message.fields, version, rng, False), version))
        for _ in range(30 if encoded else 0):
            damaged = bytearray(encoded)
            damaged[rng.randrange(len(damaged))] = rng.choice([0, 1, 0x7F, 0x80, 0xFF])
            try:
                message.decode(damaged, version)
            except wire.Malformed:
                pass


def test_the_generator_of_the_c_codec_reads_the_same_from_the_schema():
    path = os.path.join(wire.ROOT, "proto", "codec", "generate.py")
    spec = importlib.util.spec_from_file_location("generate", path)
    generate = importlib.util.module_from_spec(spec)
    sys.modules["generate"] = generate  # dataclasses look their module up
    spec.loader.exec_module(generate)

    def theirs(struct_of, seen=()):
        for f in struct_of.fields:
            yield (f.name, f.array, f.type, ends(f.versions), ends(f.nullable), f.tag, f.never_compact, f.default,
                   f.ignorable)
            if f.struct and f.type not in seen:
                yield from theirs(f.struct, (*seen, f.type))

    def ours(fields, seen=()):
        for f in fields:
            yield (f.name, f.array, f.type, ends(f.versions), ends(f.nullable), -1 if f.tag is None else f.tag,
                   f.never_compact, f.default_text, f.ignorable)
            if f.is_struct and f.type not in seen:
                yield from ours(f.fields, (*seen, f.type))

    def ends(versions):
        if isinstance(versions, tuple):
            versions = range(versions[0], versions[1] + 1)
        return (versions.start, versions.stop) if versions else None

    folder = os.path.join(wire.ROOT, "proto", "schema")
    found = [m for name in sorted(os.listdir(folder)) if name.endswith(".msg")
             for m in generate.parse_file(os.path.join(folder, name))]
    assert {(m.kind, m.name) for m in found} == set(wire.schema())
    for m in found:
        mine = wire.schema()[m.kind, m.name]
        assert (m.key, ends(m.versions), ends(m.flexible)) == (mine.key, ends(mine.versions), ends(mine.flexible))
        assert list(theirs(m.root)) == list(ours(mine.fields)), m.name


# ------------------------------------------------------------------ bytes worked out by hand


def hexed(text):
    return bytes.fromhex(text.replace("|", " "))


def check(message, version, value, text):
    assert message.encode(value, version) == hexed(text)
    decoded = message.decode(hexed(text), version)
    assert {name: decoded[name] for name in value} == value


def test_request_frames_have_the_header_that_their_version_asks_for():
    # size | key 3, version 1, id 7 | client id "me" | topics: null (int32 -1)
    assert wire.request_frame("Metadata", {"topics": None}, 1, 7, "me") == hexed(
        "00000010 | 0003 0001 00000007 | 0002 6d65 | ffffffff")
    # header 2: a tagged section behind the client id, whose length stays int16; topics: null (0), true, false, no tags
    assert wire.request_frame("Metadata", {"topics": None}, 12, 7, None) == hexed(
        "0000000f | 0003 000c 00000007 | ffff | 00 | 00 01 00 00")
    # ControlledShutdown 0 has no client id
    assert wire.request_frame("ControlledShutdown", {"broker_id": 5}, 0, 1, "me") == hexed(
        "0000000c | 0007 0000 00000001 | 00000005")
    # a version that nobody knows: header 2, because ApiVersions became flexible in 3
    assert wire.request_frame("ApiVersions", b"?", 99, 1, "") == hexed("0000000c | 0012 0063 00000001 | 0000 | 00 | 3f")


def test_answers_have_their_header_and_that_of_api_versions_never_has_tags():
    assert wire.response_frame("Heartbeat", {"error_code": 27}, 3, 9) == hexed("0000000a | 00000009 | 00000000 001b")
    assert wire.response_frame("Heartbeat", {"error_code": 27}, 4, 9) == hexed(
        "0000000c | 00000009 00 | 00000000 001b 00")
    assert wire.response_frame("ApiVersions", {}, 3, 9) == hexed("0000000c | 00000009 | 0000 01 00000000 00")


def test_api_versions():
    check(wire.request("ApiVersions"), 0, {}, "")
    check(wire.request("ApiVersions"), 3, {"client_software_name": "kc", "client_software_version": "1"},
          "03 6b63 | 02 31 | 00")
    check(wire.response("ApiVersions"), 0, {"error_code": 35, "api_keys": [
        {"api_key": 18, "min_version": 0, "max_version": 4}]}, "0023 | 00000001 0012 0000 0004")
    # tags 1 (an int64: 8 bytes) and 3 (a bool)
    check(wire.response("ApiVersions"), 3, {"error_code": 0, "api_keys": [
        {"api_key": 0, "min_version": 3, "max_version": 9}], "throttle_time_ms": 1, "finalized_features_epoch": 258,
        "zk_migration_ready": True},
        "0000 | 02 0000 0003 0009 00 | 00000001 | 02 01 08 0000000000000102 03 01 01")


def test_metadata_response():
    value = {"brokers": [{"node_id": 1, "host": "b", "port": 9092, "rack": None}], "cluster_id": "c",
             "controller_id": 1, "topics": [{
                 "error_code": 0, "name": "t", "is_internal": False, "topic_id": wire.ZERO_UUID, "partitions": [{
                     "error_code": 0, "partition_index": 2, "leader_id": 1, "leader_epoch": -1,
                     "replica_nodes": [1, 3], "isr_nodes": [1], "offline_replicas": []}],
                 "topic_authorized_operations": -2147483648}]}
    check(wire.response("Metadata"), 2, value,
          "00000001 00000001 0001 62 00002384 ffff | 0001 63 | 00000001 |"
          "00000001 0000 0001 74 00 | 00000001 0000 00000002 00000001 00000002 00000001 00000003 00000001 00000001")


def test_uuids_are_sixteen_bytes_and_kafkas_text():
    raw = bytes(range(0xF0, 0x100))
    text = "8PHy8_T19vf4-fr7_P3-_w"
    assert (wire.uuid_text(raw), wire.uuid_bytes(text)) == (text, raw)
    value = {"topics": [{"topic_id": uuid.UUID(bytes=raw), "name": None}]}
    # topics: one; the uuid; name null; no tags | true false, no tags
    assert wire.request("Metadata").encode(value, 12) == hexed("02") + raw + hexed("00 00 | 01 00 00")
    with pytest.raises(ValueError, match="topic_id"):
        wire.request("Metadata").encode({"topics": [{"topic_id": "short", "name": None}]}, 12)


def test_a_nullable_struct_begins_with_a_byte_that_says_so():
    cursor = wire.request("DescribeTopicPartitions")
    # topics, int32 limit, then the cursor
    check(cursor, 0, {"topics": [], "response_partition_limit": 5, "cursor": None}, "01 | 00000005 | ff | 00")
    check(cursor, 0, {"topics": [], "response_partition_limit": 5, "cursor": {"topic_name": "t", "partition_index": 3}},
          "01 | 00000005 | 01 02 74 00000003 00 | 00")


def test_a_tagged_nullable_struct_begins_with_a_uvarint():
    value = {"instance_id": None, "rack_id": None, "client_id": "", "client_host": "", "subscribed_topic_names": [],
             "subscribed_topic_regex": None, "rebalance_timeout_ms": -1, "server_assignor": None,
             "classic_member_metadata": {"session_timeout_ms": 6, "supported_protocols": []}}
    # in tag 0, of 7 bytes: present, int32 6, an empty array, no tags
    check(wire.data("ConsumerGroupMemberMetadataValue"), 0, value,
          "00 00 01 01 01 00 ffffffff 00 | 01 00 07 01 00000006 01 00")


def test_lengths_above_127_take_two_bytes_in_flexible_versions():
    check(wire.request("SaslAuthenticate"), 2, {"auth_bytes": b"a" * 200}, "c901" + "61" * 200 + "00")
    check(wire.request("SaslAuthenticate"), 1, {"auth_bytes": b"a" * 200}, "000000c8" + "61" * 200)
    assert wire.uvarint(300) == hexed("ac02") and wire.uvarint(2**32 - 1) == hexed("ffffffff0f")


def test_floats_and_unsigned_numbers():
    check(wire.request("AlterClientQuotas"), 0, {"entries": [{"entity": [], "ops": [
        {"key": "k", "value": 1.5, "remove": False}]}], "validate_only": True},
        "00000001 | 00000000 | 00000001 0001 6b 3ff8000000000000 00 | 01")
    check(wire.data("VotersRecord"), 0, {"version": 0, "voters": [
        {"voter_id": 1, "voter_directory_id": wire.ZERO_UUID, "endpoints": [{"name": "", "host": "", "port": 65535}],
         "kraft_version_feature": {"min_supported_version": 0, "max_supported_version": 1}}]},
        "0000 | 02 00000001" + "00" * 16 + "02 01 01 ffff 00 | 0000 0001 00 | 00 | 00")


# ------------------------------------------------------------------ what is refused


def test_tags_that_nobody_knows_are_kept_and_written_again():
    message = wire.request("Heartbeat")
    value = {**message.default(), "group_instance_id": None, wire.UNKNOWN_TAGS: {9: b"ab", 300: b""}}
    encoded = message.encode(value, 4)
    assert encoded.endswith(hexed("02 09 02 6162 ac02 00"))
    assert message.decode(encoded, 4) == value


@pytest.mark.parametrize("text, problem", [
    ("0000 | 01 00000000 | 02 03 01 01 01 08 0000000000000001", "tag 1 after tag 3"),
    ("0000 | 01 00000000 | 01 01 07 00000000000001", "bytes wanted"),
    ("0000 | 01 00000000 | 01 01 09 000000000000000102", "does not fill"),
    ("0000 | 01 00000000 | 01 01 0a 00", "has 10 bytes, but 1 are left"),
    ("0000 | ffffffff0f", "elements"),
    ("0000 | ffffffff1f", "more than 32 bits"),
    ("0000 | ffffffffff0f", "more than five bytes"),
    ("0000 | 00", "api_keys is null"),
])
def test_malformed_bytes_are_told_apart(text, problem):
    with pytest.raises(wire.Malformed, match=problem):
        wire.response("ApiVersions").decode(hexed(text), 3)


def test_values_that_the_version_cannot_carry_are_refused_unless_they_may_be_dropped():
    metadata = wire.request("Metadata")
    with pytest.raises(ValueError, match="topics: version 0 cannot carry null"):
        metadata.encode({"topics": None}, 0)
    with pytest.raises(ValueError, match="allow_auto_topic_creation: version 3 cannot carry False"):
        metadata.encode({"topics": [], "allow_auto_topic_creation": False}, 3)
    dropped = {"topics": [{"name": "t", "topic_id": wire.uuid_text(b"x" * 16)}]}
    assert metadata.encode(dropped, 1) == hexed("00000001 0001 74")


@pytest.mark.parametrize("value, problem", [
    ({"topicz": []}, "has no field topicz"),
    ({"topics": [{"nam": "t"}]}, r"topics\[0\] has no field nam"),
    ({"topics": [{"name": 5}]}, r"topics\[0\].name: 5 is no string"),
    ({"topics": [{"name": "x" * 32768}]}, "too many for a string"),
    ({"topics": ["t"]}, "is not a dict"),
])
def test_mistakes_name_their_place(value, problem):
    with pytest.raises(ValueError, match=problem):
        wire.request("Metadata").encode(value, 9)


def test_versions_and_names_outside_the_schema_are_refused():
    with pytest.raises(wire.UnsupportedVersion, match="Metadata request has versions 0 to 12, not 13"):
        wire.request("Metadata").encode({}, 13)
    with pytest.raises(ValueError, match="no request 'Metadatum'"):
        wire.request("Metadatum")
    with pytest.raises(ValueError, match="key 1000"):
        wire.api(1000)
    assert wire.api(3).name == "Metadata"


def test_error_names_are_those_of_the_broker():
    assert wire.error_name(0) == "NONE"
    assert wire.error_name(-1) == "UNKNOWN_SERVER_ERROR"
    assert wire.error_name(41) == "NOT_CONTROLLER" and wire.error_code("NOT_CONTROLLER") == 41
    assert wire.error_name(127) == "VOTER_NOT_FOUND" and wire.error_name(12345) == "error 12345"
    assert wire.is_retriable(41) and not wire.is_retriable(36) and not wire.is_retriable(12345)
    assert set(wire.errors()) == set(range(-1, 128))


@pytest.mark.parametrize("text, address", [
    ("localhost", ("localhost", 9092)), ("a.b:1", ("a.b", 1)), ("[::1]:9", ("::1", 9)),
    ("[fe80::1]", ("fe80::1", 9092)), ("PLAINTEXT://h:3", ("h", 3)),
])
def test_addresses(text, address):
    assert wire.parse_address(text) == address


@pytest.mark.parametrize("text", ["", ":9", "a:b", "a:70000", "::1"])
def test_no_addresses(text):
    with pytest.raises(ValueError):
        wire.parse_address(text)


# ------------------------------------------------------------------ a broker that does as it is told


class FakeBroker:
    """Runs `script(self)` in a thread, which reads requests and answers; then the connection is closed."""

    def __init__(self, script):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.failure = None
        self.thread = threading.Thread(target=self.run, args=(script,))
        self.thread.start()

    def run(self, script):
        try:
            self.socket, _ = self.listener.accept()
            with self.socket:
                self.socket.settimeout(30)
                script(self)
        except BaseException as problem:  # told to the test by __exit__
            self.failure = problem

    def take(self):
        """(header, body) of the next request."""
        size = struct.unpack(">i", self.read(4))[0]
        return wire.parse_request(self.read(size))

    def read(self, size):
        out = b""
        while len(out) < size:
            more = self.socket.recv(size - len(out))
            assert more, "the client closed the connection"
            out += more
        return out

    def answer(self, name, body, head, version=None):
        version = head["request_api_version"] if version is None else version
        self.socket.sendall(wire.response_frame(name, body, version, head["correlation_id"]))

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        self.thread.join(30)
        self.listener.close()
        if kind is None and self.failure:
            raise self.failure


def offer(*apis):
    return {"api_keys": [{"api_key": wire.api(name).key, "min_version": low, "max_version": high}
                         for name, low, high in apis]}


def connect(broker, **more):
    return wire.Connection("127.0.0.1", broker.port, **more)


def test_a_call_takes_the_newest_version_that_both_speak():
    def script(broker):
        head, _ = broker.take()
        assert head["request_api_version"] == 4 and head["client_id"] == "barnabas"
        broker.answer("ApiVersions", offer(("Metadata", 2, 7), ("Heartbeat", 0, 99), ("Fetch", 30, 31)), head)
        for version in [7, 5, 4]:
            head, body = broker.take()
            assert head["request_api_version"] == version and body.get("topics", []) == []
            broker.answer(wire.api(head["request_api_key"]).name, {}, head)

    with FakeBroker(script) as broker, connect(broker) as kafka:
        assert kafka.call("Metadata", {"topics": []})["cluster_id"] is None
        assert kafka.last_version == 7
        assert kafka.call("Metadata", {"topics": []}, version=5)["brokers"] == []
        assert kafka.call("Heartbeat", {"group_instance_id": None})["error_code"] == 0
        assert kafka.last_version == 4 and kafka.version_of("Metadata", highest=3) == 3
        with pytest.raises(wire.UnsupportedVersion, match="does not offer Produce"):
            kafka.call("Produce")
        with pytest.raises(wire.UnsupportedVersion, match="offers Fetch 30 to 31"):
            kafka.call("Fetch")


def test_a_broker_that_refuses_our_api_versions_is_asked_in_version_0():
    def script(broker):
        head, _ = broker.take()
        broker.answer("ApiVersions", {"error_code": 35}, head, version=0)
        head, _ = broker.take()
        assert head["request_api_version"] == 0
        broker.answer("ApiVersions", offer(("Metadata", 0, 1)), head)

    with FakeBroker(script) as broker, connect(broker) as kafka:
        assert kafka.versions() == {3: range(0, 2)}


def test_answers_may_be_taken_in_another_order_than_they_come():
    def script(broker):
        heads = [broker.take()[0] for _ in range(3)]
        for code, head in enumerate(heads):
            broker.answer("Heartbeat", {"error_code": code}, head)

    with FakeBroker(script) as broker, connect(broker) as kafka:
        ids = [kafka.send("Heartbeat", {}, 0) for _ in range(3)]
        assert kafka.receive(ids[1])["error_code"] == 1
        assert kafka.receive()["error_code"] == 0
        assert kafka.receive()["error_code"] == 2
        with pytest.raises(ValueError, match="no answer is due"):
            kafka.receive()
        with pytest.raises(ValueError, match="no answer with id 1 is due"):
            kafka.receive(ids[1])


def test_after_a_timeout_the_late_answer_can_still_be_had():
    rest = threading.Event()

    def script(broker):
        head, _ = broker.take()
        whole = wire.response_frame("Heartbeat", {"error_code": 27}, 0, head["correlation_id"])
        broker.socket.sendall(whole[:5])
        assert rest.wait(30)
        broker.socket.sendall(whole[5:])

    with FakeBroker(script) as broker, connect(broker) as kafka:
        sent = kafka.send("Heartbeat", {}, 0)
        with pytest.raises(wire.Timeout):
            kafka.receive(sent, timeout=0.05)
        rest.set()
        assert kafka.receive(sent)["error_code"] == 27


def test_produce_without_acknowledgement_waits_for_nothing():
    def script(broker):
        assert broker.take()[1]["acks"] == 0
        head, _ = broker.take()
        broker.answer("Heartbeat", {"error_code": 3}, head)

    with FakeBroker(script) as broker, connect(broker) as kafka:
        assert kafka.call("Produce", {"acks": 0}, version=3) is None
        assert kafka.call("Heartbeat", {}, version=0)["error_code"] == 3


def test_an_answer_with_another_correlation_id_is_malformed():
    def script(broker):
        head, _ = broker.take()
        broker.answer("Heartbeat", {}, {**head, "correlation_id": 77})

    with FakeBroker(script) as broker, connect(broker) as kafka:
        with pytest.raises(wire.Malformed, match="id 77, not 0"):
            kafka.call("Heartbeat", {}, version=0)


def test_a_closed_connection_is_seen():
    with FakeBroker(lambda broker: broker.take()) as broker, connect(broker) as kafka:
        with pytest.raises(wire.ConnectionClosed):
            kafka.call("Heartbeat", {}, version=0)
        assert kafka.is_closed()


def test_an_open_connection_is_seen_too():
    done = threading.Event()
    with FakeBroker(lambda broker: done.wait(30)) as broker, connect(broker) as kafka:
        assert not kafka.is_closed(0.05)
        done.set()


def test_a_frame_of_absurd_size_is_refused():
    with FakeBroker(lambda broker: broker.socket.sendall(b"HTTP/1.1 400")) as broker, connect(broker) as kafka:
        with pytest.raises(wire.Malformed, match="a frame of 1213486160 bytes"):
            kafka.receive_frame()


def test_nobody_there_is_a_connect_error():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound, so nobody else takes the port, but not listening
        with pytest.raises(wire.ConnectError, match="Connection refused"):
            wire.Connection("127.0.0.1", unused.getsockname()[1])


def test_a_broker_that_does_not_accept_is_given_up_in_time():
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen(0)
        with socket.create_connection(busy.getsockname()):  # all that the queue of the listener takes
            assert select.select([busy], [], [], 300)[0] == [busy]  # it is in it
            with pytest.raises(wire.ConnectError, match="timed out"):
                wire.Connection("127.0.0.1", busy.getsockname()[1], connect_timeout=0.2)
