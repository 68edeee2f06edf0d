"""Questions whose answers could take many times their own memory, against one real broker: what the broker takes for them
is bounded, or in proportion."""
import re
import struct

import cluster as clusters
import pytest
import records
import wire
from test_groups_wire import REBALANCE_IN_PROGRESS, Group

MIB = 1 << 20
CONTROL_KEY = 1000  # of messages between brokers
ANSWER_S = 300  # nothing takes so long, on a machine that is slow and busy, with a sanitizer
PATIENT = {"session_timeout_ms": 600000, "rebalance_timeout_ms": 600000}  # of members that are to stay


@pytest.fixture(scope="module")
def broker(needs_cluster, tmp_path_factory):
    config = {"offsets.topic.replication.factor": "1", "offsets.topic.num.partitions": "1",
              "group.initial.rebalance.delay.ms": "0", "auto.create.topics.enable": "false"}
    with clusters.Cluster(str(tmp_path_factory.mktemp("large") / "cluster"), brokers=1, config=config) as one:
        yield one.broker(1)
        assert one.reports() == []


def create(broker, names, partitions=1):
    wanted = [{"name": name, "num_partitions": partitions, "replication_factor": 1} for name in names]
    answer = broker.call("CreateTopics", {"timeout_ms": 1000 * ANSWER_S, "topics": wanted}, seconds=ANSWER_S)
    assert {topic["error_code"] for topic in answer["topics"]} == {0}


def peak_grows_by(broker, question):
    """Bytes that the broker's peak of resident memory rises above what it had, while the question is answered."""
    def field(name):
        with open(f"/proc/{broker.pid}/status", encoding="ascii") as status:
            return next(int(line.split()[1]) * 1024 for line in status if line.startswith(name))

    with open(f"/proc/{broker.pid}/clear_refs", "w", encoding="ascii") as reset:
        reset.write("5")  # the peak begins anew
    before = field("VmRSS")
    question()
    return field("VmHWM") - before


def test_metadata_answers_a_topic_that_is_named_again_once(broker):
    """As Kafka, which makes a set of them. A name takes a dozen bytes, its answer a hundred for each partition."""
    create(broker, ["once", "twice"])
    topics = broker.call("Metadata", {"topics": [{"name": name} for name in ["twice", "once", "twice", "none", "none"]]})
    assert [topic["name"] for topic in topics["topics"]] == ["twice", "once", "none"]
    once, twice = [broker.call("Metadata", {"topics": [{"name": n}]})["topics"][0]["topic_id"] for n in ("once", "twice")]
    answer = broker.call("Metadata", {"topics": [{"topic_id": i, "name": None} for i in (twice, once, twice)]}, 12)
    assert [topic["name"] for topic in answer["topics"]] == ["twice", "once"]


def test_log_dirs_of_many_topics_take_no_memory_for_each_pair_of_them(broker):
    create(broker, [f"dirs-{i}" for i in range(1200)])

    def ask():
        result, = broker.call("DescribeLogDirs", {"topics": None}, seconds=ANSWER_S)["results"]
        assert len([topic for topic in result["topics"] if topic["name"].startswith("dirs-")]) == 1200

    assert peak_grows_by(broker, ask) < 10 * MIB


def test_configurations_are_described_as_often_as_they_are_asked_for(broker):
    """As Kafka does. How much that may be: tests/unit/broker/api/describe_configs_test.c."""
    create(broker, ["described"])
    resources = [{"resource_type": 2, "resource_name": "described"}, {"resource_type": 4, "resource_name": "1"}] * 3
    results = broker.call("DescribeConfigs", {"resources": resources}, seconds=ANSWER_S)["results"]
    assert [(r["error_code"], r["resource_type"], r["resource_name"]) for r in results] == \
        [(0, r["resource_type"], r["resource_name"]) for r in resources]
    for topic in results[::2]:
        assert topic["configs"] == results[0]["configs"] and len(topic["configs"]) > 20


def test_an_answer_about_one_large_group_a_thousand_times_over_is_not_put_together(broker):
    group = Group(broker.cluster, "large")
    assert group.join(protocols=[{"name": "range", "metadata": b"m" * 900000}])["error_code"] == 0
    assert group.sync()["error_code"] == 0
    described = group.kafka.call("DescribeGroups", {"groups": ["large"] * 20})["groups"]
    assert {len(one["members"][0]["member_metadata"]) for one in described} == {900000}

    def ask():
        with pytest.raises(wire.ConnectionClosed):
            broker.call("DescribeGroups", {"groups": ["large"] * 1000}, seconds=ANSWER_S)

    assert peak_grows_by(broker, ask) < 300 * MIB
    assert group.heartbeat() == 0
    group.close()


def test_offsets_of_one_large_group_are_not_copied_for_each_time_it_is_named(broker):
    """Dozens of answers were put together at the same time before one of them was counted."""
    partitions, metadata = 4000, "m" * 4000
    create(broker, ["wide"], partitions)
    group = Group(broker.cluster, "wide")
    for first in range(0, partitions, 200):
        wanted = [{"partition_index": i, "committed_offset": 1, "committed_leader_epoch": -1, "committed_metadata": metadata}
                  for i in range(first, first + 200)]
        answer = group.kafka.call("OffsetCommit", {"group_id": "wide", "generation_id_or_member_epoch": -1, "member_id": "",
                                                   "topics": [{"name": "wide", "partitions": wanted}]}, 8)
        assert {p["error_code"] for p in answer["topics"][0]["partitions"]} == {0}

    def ask(times):
        groups = [{"group_id": "wide", "topics": None}] * times
        return broker.call("OffsetFetch", {"groups": groups, "require_stable": False}, 8, seconds=ANSWER_S)["groups"]

    assert [len(found["topics"][0]["partitions"]) for found in ask(2)] == [partitions] * 2

    def ask_often():
        with pytest.raises(wire.ConnectionClosed):
            ask(32)

    assert peak_grows_by(broker, ask_often) < 20 * partitions * len(metadata)
    group.close()


def test_an_offset_that_is_asked_for_very_often_is_told_once(broker):
    """As Kafka, which makes a map of what is asked. A million times four bytes were answered with as many times what the
    client had written beside its offset, four kilobytes."""
    create(broker, ["often", "seldom"], 3)
    group = Group(broker.cluster, "often")
    for name in ("often", "seldom"):
        partitions = [{"partition_index": i, "committed_offset": i, "committed_leader_epoch": -1,
                       "committed_metadata": "m" * 4000} for i in range(3)]
        group.kafka.call("OffsetCommit", {"group_id": "often", "generation_id_or_member_epoch": -1, "member_id": "",
                                          "topics": [{"name": name, "partitions": partitions}]}, 8)

    def ask(topics, version):
        body = {"group_id": "often", "topics": topics} if version < 8 else \
            {"groups": [{"group_id": "often", "topics": topics}], "require_stable": False}
        answer = broker.call("OffsetFetch", body, version, seconds=ANSWER_S)
        found = answer if version < 8 else answer["groups"][0]
        return [(t["name"], [(p["partition_index"], p["committed_offset"]) for p in t["partitions"]]) for t in found["topics"]]

    for version in (1, 7, 8, 9):
        wanted = [("often", [2, 0]), ("seldom", [1]), ("often", [0, 1, 9]), ("seldom", [1, 1])]
        told = ask([{"name": name, "partition_indexes": indexes} for name, indexes in wanted], version)
        assert sorted((name, sorted(found)) for name, found in told) == \
            [("often", [(0, 0), (1, 1), (2, 2), (9, -1)]), ("seldom", [(1, 1)])]
        assert ask([{"name": "often", "partition_indexes": [2, 0, 1]}], version) == [("often", [(2, 2), (0, 0), (1, 1)])]
    many = [{"name": "often", "partition_indexes": [0] * 30000}, {"name": "often", "partition_indexes": [0] * 30000}]
    assert peak_grows_by(broker, lambda: ask(many, 8)) < 50 * MIB
    group.close()


def test_batches_that_grow_a_thousandfold_when_made_anew_do_not_take_all_memory(broker):
    """A topic that keeps its records uncompressed: 600 batches of a kilobyte, each a megabyte there, all at once, of which
    256 MiB are taken."""
    wanted = {"name": "plain", "num_partitions": 1, "replication_factor": 1,
              "configs": [{"name": "compression.type", "value": "uncompressed"}]}
    assert broker.call("CreateTopics", {"timeout_ms": 1000 * ANSWER_S, "topics": [wanted]})["topics"][0]["error_code"] == 0
    batch = records.make_batch([(None, b"0" * 1000000)], codec="gzip")
    question = {"acks": 1, "timeout_ms": 1000 * ANSWER_S,
                "topic_data": [{"name": "plain", "partition_data": [{"index": 0, "records": batch}] * 600}]}
    answer = broker.call("Produce", question, 9, seconds=ANSWER_S)
    errors = [wire.error_name(p["error_code"]) for p in answer["responses"][0]["partition_responses"]]
    taken = errors.count("NONE")
    assert errors == ["NONE"] * taken + ["MESSAGE_TOO_LARGE"] * (600 - taken)
    assert 128 <= taken <= 269


def test_topics_of_very_many_partitions_are_not_all_worked_out_for_one_request(broker):
    """Fifty bytes ask for the replicas of 50,000 partitions, and were worth as many megabytes as there were such topics,
    whether they could be made or not."""
    topics = [{"name": f"huge{i}", "num_partitions": 50000, "replication_factor": 1,
               "configs": [{"name": "nonsense", "value": "1"}]} for i in range(200)]
    errors = []

    def ask():
        answer = broker.call("CreateTopics", {"timeout_ms": 1000 * ANSWER_S, "topics": topics}, seconds=ANSWER_S)
        errors.extend(wire.error_name(topic["error_code"]) for topic in answer["topics"])

    assert peak_grows_by(broker, ask) < 200 * MIB
    tried = errors.count("INVALID_CONFIG")
    assert errors == ["INVALID_CONFIG"] * tried + ["POLICY_VIOLATION"] * (200 - tried)
    assert tried > 5


def test_very_many_new_partitions_are_not_all_worked_out_for_one_request(broker):
    create(broker, [f"growing{i}" for i in range(200)])
    topics = [{"name": f"growing{i}", "count": 50000, "assignments": None} for i in range(200)]
    errors = []

    def ask():
        answer = broker.call("CreatePartitions", {"timeout_ms": 1000 * ANSWER_S, "topics": topics, "validate_only": True},
                             seconds=ANSWER_S)
        errors.extend(wire.error_name(topic["error_code"]) for topic in answer["results"])

    assert peak_grows_by(broker, ask) < 200 * MIB
    tried = errors.count("NONE")
    assert errors == ["NONE"] * tried + ["POLICY_VIOLATION"] * (200 - tried)
    assert tried > 5


def test_of_refused_batches_only_so_many_are_explained(broker):
    """A batch of a hundred bytes that claims the broker's timestamps is answered with a kilobyte about its records, made
    of three."""
    create(broker, ["refused"])
    batch = records.make_batch([(None, b"")] * 8, attributes=8)
    question = {"acks": 1, "timeout_ms": 1000 * ANSWER_S,
                "topic_data": [{"name": "refused", "partition_data": [{"index": 0, "records": batch}] * 100000}]}
    partitions = []

    def ask():
        partitions.extend(broker.call("Produce", question, 9, seconds=ANSWER_S)["responses"][0]["partition_responses"])

    assert peak_grows_by(broker, ask) < 120 * MIB
    assert {wire.error_name(p["error_code"]) for p in partitions} == {"INVALID_TIMESTAMP"}
    explained = [p["error_message"] is not None for p in partitions]
    assert explained == [True] * 1000 + [False] * 99000


def test_batches_that_decompress_to_a_thousand_times_their_size_do_not_hold_a_loop(broker):
    """Only to be looked at, as those of a compacted topic are: each takes tens of milliseconds for its kilobytes, and a
    request may hold thousands."""
    wanted = {"name": "compacted", "num_partitions": 1, "replication_factor": 1,
              "configs": [{"name": "cleanup.policy", "value": "compact"}]}
    assert broker.call("CreateTopics", {"timeout_ms": 1000 * ANSWER_S, "topics": [wanted]})["topics"][0]["error_code"] == 0
    batch = records.make_batch([(None, b"0" * 16000000)], codec="gzip")
    question = {"acks": 1, "timeout_ms": 1000 * ANSWER_S,
                "topic_data": [{"name": "compacted", "partition_data": [{"index": 0, "records": batch}] * 60}]}
    answer = broker.call("Produce", question, 9, seconds=ANSWER_S)
    errors = [wire.error_name(p["error_code"]) for p in answer["responses"][0]["partition_responses"]]
    looked = errors.count("INVALID_RECORD")
    assert errors == ["INVALID_RECORD"] * looked + ["MESSAGE_TOO_LARGE"] * (60 - looked)
    assert 8 <= looked <= 16


def varint(value):
    return bytes([value]) if value < 0x80 else bytes([value & 0x7f | 0x80]) + varint(value >> 7)


def field(number, value):
    """A field of protobuf: of a number, or of text and messages."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def test_a_controllers_request_about_many_topics_takes_memory_for_each_not_for_each_pair(broker):
    """As much as the square of them: a hundred megabytes at the start of a broker with 5000 topics of one partition."""
    topics = b"".join(field(1, field(1, b"gone%d" % i) + field(2, field(1, 0))) for i in range(15000))
    request = field(1, 3) + field(2, 1) + field(3, 1) + field(12, topics)
    header = struct.pack(">hhih", CONTROL_KEY, 0, 7, -1)

    def ask():
        with wire.Connection(broker.host, broker.port, timeout=ANSWER_S) as kafka:
            kafka.send_frame(wire.frame(header + request))
            answer = kafka.receive_frame(ANSWER_S)
            assert answer[:4] == struct.pack(">i", 7) and answer.count(b"gone") == 15000

    assert peak_grows_by(broker, ask) < 100 * MIB


def test_numbers_of_millions_of_partitions_in_one_request_are_not_worked_off(broker):
    """Four bytes each in the request, and fifty times that in what is made of them, on the loop that keeps the session."""
    partitions = struct.pack(">i", 7500000) + bytes(4 * 7500000)
    body = struct.pack(">bi", 0, 1) + struct.pack(">h", 7) + b"nowhere" + partitions + struct.pack(">i", 1000)

    def ask():
        with wire.Connection(broker.host, broker.port, timeout=ANSWER_S) as kafka:
            kafka.send_frame(wire.request_frame("ElectLeaders", body, 1))
            with pytest.raises(wire.ConnectionClosed):
                kafka.receive_frame(ANSWER_S)

    assert peak_grows_by(broker, ask) < 200 * MIB


def asked_of_zookeeper(broker):
    """How many requests it has had."""
    def received():
        told = clusters.ask_zookeeper(broker.cluster.zookeepers[0].address, "mntr")
        return re.search(r"^zk_packets_received\s+(\d+)", told, re.MULTILINE)

    return int(clusters.wait_until(received, "ZooKeeper's counts")[1])


def test_a_topic_that_is_named_very_often_is_deleted_once(broker):
    """Each time two questions to ZooKeeper, one after the other, and on when the client had gone: for hours."""
    create(broker, ["deleted"])
    before = asked_of_zookeeper(broker)
    answer = broker.call("DeleteTopics", {"topic_names": ["deleted", "never"] * 20000, "timeout_ms": 1000 * ANSWER_S}, 5,
                         seconds=ANSWER_S)
    errors = [wire.error_name(topic["error_code"]) for topic in answer["responses"]]
    assert errors == ["NONE", "UNKNOWN_TOPIC_OR_PARTITION"] * 20000
    assert asked_of_zookeeper(broker) - before < 1000


def test_a_leader_that_joins_again_and_again_is_told_of_large_members_once_at_a_time(broker):
    """Kafka reads the next request of a connection when it has answered this one. Here dozens were in work together:
    each answer had what the members say of themselves, twice, and one connection took gigabytes."""
    large = bytes(40 * MIB)
    leader, other = Group(broker.cluster, "joined"), Group(broker.cluster, "joined")
    assert leader.join(3, **PATIENT)["error_code"] == 0
    body = other.join_body(protocols=[{"name": "range", "metadata": large}], **PATIENT)
    other.kafka.send_frame(wire.request_frame("JoinGroup", {"group_id": "joined", **body}, 3, 1))
    broker.cluster.wait(lambda: leader.heartbeat() == REBALANCE_IN_PROGRESS, "the other member's JoinGroup")
    answer = leader.join(3, **PATIENT)
    assert {len(member["metadata"]) for member in answer["members"]} >= {len(large)}
    again = wire.request_frame("JoinGroup", {"group_id": "joined", **leader.join_body(**PATIENT)}, 3, 1)

    def ask():
        leader.kafka.socket.sendall(again * 12)
        for _ in range(12):
            assert len(leader.kafka.receive_frame(ANSWER_S)) > len(large)

    assert peak_grows_by(broker, ask) < 12 * len(large)  # a sanitizer keeps 256 MiB of what is freed
    other.kafka.receive_frame(ANSWER_S)
    for member in answer["members"]:
        leader.call("LeaveGroup", 1, member_id=member["member_id"])
    leader.close()
    other.close()


def test_members_with_ninety_megabytes_each_are_refused_when_there_are_too_many(broker):
    """What a member says of itself is kept for minutes, and was for any number of them."""
    errors = []
    for i in range(3):
        group = Group(broker.cluster, f"heavy-{i}")
        protocols = [{"name": "range", "metadata": bytes(90000000)}, {"name": "other", "metadata": b""}]
        errors.append(wire.error_name(group.join(0, protocols=protocols, **PATIENT)["error_code"]))
        group.close()
    assert errors == ["NONE", "NONE", "COORDINATOR_NOT_AVAILABLE"]
    assert Group(broker.cluster, "light").join(0)["error_code"] == 0


def test_a_reassignment_to_thousands_of_replicas_is_refused(broker):
    """Its text named them all, which no string can hold, and that ended the broker."""
    create(broker, ["reassigned"])
    partition = {"partition_index": 0, "replicas": list(range(1000, 21000))}
    answer = broker.call("AlterPartitionReassignments", {
        "timeout_ms": 1000 * ANSWER_S, "topics": [{"name": "reassigned", "partitions": [partition]}]}, seconds=ANSWER_S)
    refused = answer["responses"][0]["partitions"][0]
    assert wire.error_name(refused["error_code"]) == "INVALID_REPLICA_ASSIGNMENT"
    assert "More than 64 replicas" in refused["error_message"]


def test_a_list_does_not_grow_until_it_can_be_described_no_more(broker):
    """Appended to twice it was longer than a string can be, and describing it ended the broker."""
    create(broker, ["grown"])
    errors = []
    for first in (10000, 20000):
        items = ",".join(f"{i}:1" for i in range(first, first + 3000))
        change = {"name": "leader.replication.throttled.replicas", "config_operation": 2, "value": items}
        answer = broker.call("IncrementalAlterConfigs", {
            "resources": [{"resource_type": 2, "resource_name": "grown", "configs": [change]}]})
        errors.append(wire.error_name(answer["responses"][0]["error_code"]))
    assert errors == ["NONE", "INVALID_CONFIG"]
    described, = broker.call("DescribeConfigs", {"resources": [{"resource_type": 2, "resource_name": "grown"}]})["results"]
    values = {c["name"]: c["value"] for c in described["configs"]}
    assert values["leader.replication.throttled.replicas"].startswith("10000:1,10001:1")


def test_members_that_wait_for_others_do_not_keep_the_memory_of_their_requests(needs_cluster, tmp_path):
    """A JoinGroup may wait for as long as a client has said, and a follower's SyncGroup as well. With what they hold copied
    to the group, their frames stood in the way of everybody's."""
    config = {"offsets.topic.replication.factor": "1", "offsets.topic.num.partitions": "1",
              "group.initial.rebalance.delay.ms": "0", "queued.max.request.bytes": str(3 * MIB // 2),
              "socket.request.max.bytes": str(3 * MIB // 2)}
    large = [{"name": "range", "metadata": bytes(900000)}]
    with clusters.Cluster(str(tmp_path / "cluster"), brokers=1, config=config) as one:
        leader, other = Group(one, "kept"), Group(one, "kept")
        assert leader.join(3, **PATIENT)["error_code"] == 0
        body = other.join_body(protocols=large, **PATIENT)
        other.kafka.send_frame(wire.request_frame("JoinGroup", {"group_id": "kept", **body}, 3, 1))
        one.wait(lambda: leader.heartbeat() == REBALANCE_IN_PROGRESS, "the other member's JoinGroup")
        assert Group(one, "first").join(3, protocols=large)["error_code"] == 0
        assert leader.join(3, **PATIENT)["error_code"] == 0
        other.member_id = next(m["member_id"] for m in leader.join(3, **PATIENT)["members"] if len(m["metadata"]) == 900000)
        other.kafka.receive_frame(ANSWER_S)
        sync = {"group_id": "kept", "generation_id": leader.generation, "member_id": other.member_id,
                "assignments": [{"member_id": "nobody", "assignment": bytes(900000)}]}
        other.kafka.send_frame(wire.request_frame("SyncGroup", sync, 3, 2))
        assert Group(one, "second").join(3, protocols=large)["error_code"] == 0
        assert leader.sync(3)["error_code"] == 0
        other.kafka.receive_frame(ANSWER_S)
        assert one.reports() == []
