"""The admin APIs on real processes: kafka-python's, confluent_kafka's and our own tools, every version by hand, and the
znodes that they leave."""
import json
import os
import re
import signal
import subprocess
import sys

import cluster as clusters
import confluent_kafka.admin as confluent
import kafka.admin
import kafka.errors
import pytest
import records
import wire
from admin import NOT_CONTROLLER, error_codes
from znodes import Znodes

TOPIC, BROKER, BROKER_LOGGER, CLIENT_METRICS = 2, 4, 8, 16
SET, DELETE, APPEND, SUBTRACT = range(4)
FROM_TOPIC, FROM_BROKER, FROM_ALL_BROKERS, FROM_FILE, FROM_DEFAULT, FROM_LOGGER = 1, 2, 3, 4, 5, 6
ZERO_ID = wire.ZERO_UUID
ANSWER_S = 120


def name_of(code):
    return wire.error_name(code)


def controller(one):
    return one.broker(one.wait(one.controller, "a controller"))


def ask_controller(one, api, body, version=None):
    """Its answer. One that was just elected says that it is none until it has read what there is, and clients ask again."""
    def answered():
        answer = controller(one).call(api, body, version, seconds=ANSWER_S)
        return None if NOT_CONTROLLER in error_codes(answer) else answer

    return one.wait(answered, f"a controller that answers {api}")


def other(one):
    return next(broker for broker in one.brokers if broker.id != one.controller())


def wanted(name, partitions=1, replicas=1, **more):
    return {"name": name, "num_partitions": partitions, "replication_factor": replicas, **more}


def create(one, *topics, version=None, timeout_ms=1000 * ANSWER_S, **more):
    """{name: result}"""
    answer = ask_controller(one, "CreateTopics", {"topics": list(topics), "timeout_ms": timeout_ms, **more}, version)
    return {topic["name"]: topic for topic in answer["topics"]}


def created(one, name, partitions=1, replicas=1, **more):
    """Create it, and wait until the other brokers know it as the controller does."""
    result = create(one, wanted(name, partitions, replicas, **more))[name]
    assert (result["error_code"], result["error_message"]) == (0, None)
    wait_known(one, name, result["num_partitions"])
    return result


def wait_known(one, name, count):
    def known():
        return all(sorted(i for i, p in partitions_of(one, name, broker).items() if p["leader_id"] >= 0)
                   == list(range(count)) for broker in one.brokers if broker.alive())

    one.wait(known, f"every broker knowing {count} partitions of {name}")


def delete(one, *names, version=5, timeout_ms=1000 * ANSWER_S):
    body = {"topic_names": list(names), "timeout_ms": timeout_ms}
    answer = ask_controller(one, "DeleteTopics", body, version)
    return {topic["name"]: name_of(topic["error_code"]) for topic in answer["responses"]}


def grow(one, name, count, assignments=None, version=None, **more):
    body = {"topics": [{"name": name, "count": count, "assignments": assignments}], "timeout_ms": 1000 * ANSWER_S,
            "validate_only": False, **more}
    result, = ask_controller(one, "CreatePartitions", body, version)["results"]
    return name_of(result["error_code"]), result["error_message"]


def topic_of(one, name, broker=None):
    """What the broker's metadata, else the controller's, says of a topic."""
    body = {"topics": [{"name": name}], "allow_auto_topic_creation": False}
    topic, = (broker or controller(one)).call("Metadata", body)["topics"]
    return topic


def partitions_of(one, name, broker=None):
    topic = topic_of(one, name, broker)
    return {p["partition_index"]: p for p in topic["partitions"]}


def describe(broker, kind, name, keys=None, version=4, **more):
    """(error's name, {key: entry})"""
    body = {"resources": [{"resource_type": kind, "resource_name": name, "configuration_keys": keys}],
            "include_synonyms": True, **more}
    if version == 0:
        del body["include_synonyms"]
    result, = broker.call("DescribeConfigs", body, version)["results"]
    return name_of(result["error_code"]), {entry["name"]: entry for entry in result["configs"]}


def alter(broker, kind, name, *changes, version=None, validate_only=False):
    """Incrementally; changes are (key, operation, value)."""
    configs = [{"name": key, "config_operation": operation, "value": value} for key, operation, value in changes]
    body = {"resources": [{"resource_type": kind, "resource_name": name, "configs": configs}],
            "validate_only": validate_only}
    result, = broker.call("IncrementalAlterConfigs", body, version)["responses"]
    return name_of(result["error_code"]), result["error_message"]


def replace(broker, kind, name, configs, version=None, validate_only=False):
    """The legacy form: all of it."""
    pairs = [{"name": key, "value": value} for key, value in configs.items()]
    body = {"resources": [{"resource_type": kind, "resource_name": name, "configs": pairs}],
            "validate_only": validate_only}
    result, = broker.call("AlterConfigs", body, version)["responses"]
    return name_of(result["error_code"]), result["error_message"]


def synonyms(entry):
    return [(one["name"], one["value"], one["source"]) for one in entry["synonyms"]]


@pytest.fixture
def znodes(shared_cluster):
    with Znodes(shared_cluster.zookeepers[0].address) as one:
        yield one


# ------------------------------------------------------------------ CreateTopics


@pytest.mark.parametrize("version", range(8))
def test_create_topics_in_every_version(shared_cluster, topic, version):
    result = create(shared_cluster, wanted(topic, 2, 3), version=version)[topic]
    assert result["error_code"] == 0
    # What the answer waited for: every partition has a leader.
    assert [p["leader_id"] in (1, 2, 3) for p in partitions_of(shared_cluster, topic).values()] == [True, True]
    shown = topic_of(shared_cluster, topic)["topic_id"]
    assert result["topic_id"] == (shown if version >= 7 else ZERO_ID)
    counts = (result["num_partitions"], result["replication_factor"])
    assert counts == ((2, 3) if version >= 5 else (-1, -1))
    assert ("retention.ms" in [c["name"] for c in result["configs"]]) == (version >= 5)


def test_a_topic_is_written_to_zookeeper_as_kafka_writes_it(shared_cluster, topic, znodes):
    result = created(shared_cluster, topic, 2, 2, configs=[{"name": "retention.ms", "value": "1000"}])
    node = znodes.json(f"/brokers/topics/{topic}")
    assert sorted(node) == ["adding_replicas", "partitions", "removing_replicas", "topic_id", "version"]
    assert (node["version"], node["topic_id"]) == (3, result["topic_id"])
    assert (node["adding_replicas"], node["removing_replicas"]) == ({}, {})
    shown = {str(i): p["replica_nodes"] for i, p in partitions_of(shared_cluster, topic).items()}
    assert node["partitions"] == shown
    assert znodes.json(f"/config/topics/{topic}") == {"version": 1, "config": {"retention.ms": "1000"}}
    assert znodes.children(f"/brokers/topics/{topic}") == ["partitions"]
    assert znodes.children(f"/brokers/topics/{topic}/partitions") == ["0", "1"]
    for index, partition in partitions_of(shared_cluster, topic).items():
        state = znodes.json(f"/brokers/topics/{topic}/partitions/{index}/state")
        assert state["version"] == 1
        assert state["leader"] == partition["leader_id"]
        assert state["leader_epoch"] == partition["leader_epoch"] == 0
        assert state["isr"] == partition["isr_nodes"]
        assert state["controller_epoch"] == int(znodes.get("/controller_epoch")[0])


def test_validate_only_checks_everything_and_writes_nothing(shared_cluster, topic, znodes):
    results = create(shared_cluster, wanted(topic, 3, 2, configs=[{"name": "cleanup.policy", "value": "compact"}]),
                     wanted(topic + "-bad", 3, 9), validate_only=True)
    good = results[topic]
    assert (good["error_code"], good["topic_id"]) == (0, ZERO_ID)
    assert (good["num_partitions"], good["replication_factor"]) == (3, 2)
    policy = next(c for c in good["configs"] if c["name"] == "cleanup.policy")
    assert (policy["value"], policy["config_source"]) == ("compact", FROM_TOPIC)
    assert name_of(results[topic + "-bad"]["error_code"]) == "INVALID_REPLICATION_FACTOR"
    assert not znodes.exists(f"/brokers/topics/{topic}")
    assert not znodes.exists(f"/config/topics/{topic}")


def test_defaults_and_assignments(shared_cluster, topic):
    assigned = [{"partition_index": 1, "broker_ids": [3, 1]}, {"partition_index": 0, "broker_ids": [2, 3]}]
    results = create(shared_cluster, wanted(topic + "-d", -1, -1), wanted(topic + "-a", -1, -1, assignments=assigned))
    assert [r["error_code"] for r in results.values()] == [0, 0]
    assert (results[topic + "-d"]["num_partitions"], results[topic + "-d"]["replication_factor"]) == (1, 1)
    shown = {i: p["replica_nodes"] for i, p in partitions_of(shared_cluster, topic + "-a").items()}
    assert shown == {0: [2, 3], 1: [3, 1]}
    assert [p["leader_id"] for p in partitions_of(shared_cluster, topic + "-a").values()] == [2, 3]


def assign(*replicas, first=0):
    return [{"partition_index": i + first, "broker_ids": list(ids)} for i, ids in enumerate(replicas)]


BAD_TOPICS = {
    "zero partitions": (wanted("t", 0, 1), "INVALID_PARTITIONS"),
    "fewer": (wanted("t", -2, 1), "INVALID_PARTITIONS"),
    "too many partitions": (wanted("t", 2**31 - 1, 1), "INVALID_PARTITIONS"),
    "zero replicas": (wanted("t", 1, 0), "INVALID_REPLICATION_FACTOR"),
    "more replicas than brokers": (wanted("t", 1, 4), "INVALID_REPLICATION_FACTOR"),
    "no name": (wanted("", 1, 1), "INVALID_TOPIC_EXCEPTION"),
    "dot": (wanted(".", 1, 1), "INVALID_TOPIC_EXCEPTION"),
    "blank": (wanted("a b", 1, 1), "INVALID_TOPIC_EXCEPTION"),
    "250 letters": (wanted("x" * 250, 1, 1), "INVALID_TOPIC_EXCEPTION"),
    "metadata": (wanted("__cluster_metadata", 1, 1), "INVALID_REQUEST"),
    "counts and assignment": (wanted("t", 1, -1, assignments=assign([1])), "INVALID_REQUEST"),
    "a gap": (wanted("t", -1, -1, assignments=assign([1], [2], first=1)), "INVALID_REPLICA_ASSIGNMENT"),
    "uneven": (wanted("t", -1, -1, assignments=assign([1], [2, 3])), "INVALID_REPLICA_ASSIGNMENT"),
    "twice a broker": (wanted("t", -1, -1, assignments=assign([1, 1])), "INVALID_REPLICA_ASSIGNMENT"),
    "nobody": (wanted("t", -1, -1, assignments=assign([])), "INVALID_REPLICA_ASSIGNMENT"),
    "null value": (wanted("t", configs=[{"name": "retention.ms", "value": None}]), "INVALID_CONFIG"),
    "unknown key": (wanted("t", configs=[{"name": "retention.msec", "value": "1"}]), "INVALID_CONFIG"),
    "bad value": (wanted("t", configs=[{"name": "retention.ms", "value": "long"}]), "INVALID_CONFIG"),
    "contradiction": (wanted("t", configs=[{"name": "min.compaction.lag.ms", "value": "10"},
                                           {"name": "max.compaction.lag.ms", "value": "5"}]), "INVALID_CONFIG"),
}


@pytest.mark.parametrize("case", BAD_TOPICS)
def test_what_cannot_be_created_is_refused_with_kafkas_error(shared_cluster, topic, case):
    want, error = BAD_TOPICS[case]
    want = {**want, "name": topic.replace(" ", "-")[:200]} if want["name"] == "t" else want
    for validate_only in (True, False):
        result = create(shared_cluster, want, validate_only=validate_only)[want["name"]]
        assert name_of(result["error_code"]) == error
        assert result["error_message"]
        assert (result["num_partitions"], result["replication_factor"], result["configs"]) == (-1, -1, [])


def test_names_that_exist_collide_or_come_twice(shared_cluster, topic):
    name = topic + ".a"
    created(shared_cluster, name)
    results = create(shared_cluster, wanted(name), wanted(topic + "_a"), wanted(topic + "-x.y"), wanted(topic + "-x_y"))
    errors = [name_of(r["error_code"]) for r in results.values()]
    assert errors == ["TOPIC_ALREADY_EXISTS", "INVALID_TOPIC_EXCEPTION", "NONE", "INVALID_TOPIC_EXCEPTION"]
    body = {"topics": [wanted(topic + "-2"), wanted(topic + "-2")], "timeout_ms": 10000}
    answer = controller(shared_cluster).call("CreateTopics", body)
    assert [name_of(t["error_code"]) for t in answer["topics"]] == ["INVALID_REQUEST"] * 2


def test_no_time_to_wait_is_told_as_a_timeout_but_the_topic_is_there(shared_cluster, topic):
    result = create(shared_cluster, wanted(topic), timeout_ms=0)[topic]
    assert name_of(result["error_code"]) == "REQUEST_TIMED_OUT"
    shared_cluster.wait(lambda: partitions_of(shared_cluster, topic).get(0, {}).get("leader_id", -1) >= 0, "the topic")


def test_only_the_controller_creates_deletes_and_extends(shared_cluster, topic):
    broker = other(shared_cluster)
    result, = broker.call("CreateTopics", {"topics": [wanted(topic)], "timeout_ms": 1000})["topics"]
    assert name_of(result["error_code"]) == "NOT_CONTROLLER"
    result, = broker.call("DeleteTopics", {"topics": [{"name": topic}], "timeout_ms": 1000}, 6)["responses"]
    assert (name_of(result["error_code"]), result["name"]) == ("NOT_CONTROLLER", topic)
    body = {"topics": [{"name": topic, "count": 2, "assignments": None}], "timeout_ms": 1000, "validate_only": False}
    result, = broker.call("CreatePartitions", body)["results"]
    assert name_of(result["error_code"]) == "NOT_CONTROLLER"


# ------------------------------------------------------------------ DeleteTopics


@pytest.mark.parametrize("version", range(7))
def test_delete_topics_in_every_version(shared_cluster, topic, znodes, version):
    topic_id = created(shared_cluster, topic, 2, 2)["topic_id"]
    if version < 6:
        assert delete(shared_cluster, topic, version=version) == {topic: "NONE"}
    else:
        body = {"topics": [{"name": None, "topic_id": topic_id}], "timeout_ms": 1000 * ANSWER_S}
        result, = ask_controller(shared_cluster, "DeleteTopics", body, version)["responses"]
        assert (result["error_code"], result["name"], result["topic_id"]) == (0, topic, topic_id)
    # The answer waited until the metadata had lost it; ZooKeeper follows at once.
    assert name_of(topic_of(shared_cluster, topic)["error_code"]) == "UNKNOWN_TOPIC_OR_PARTITION"
    for path in (f"/brokers/topics/{topic}", f"/config/topics/{topic}", f"/admin/delete_topics/{topic}"):
        shared_cluster.wait(lambda path=path: not znodes.exists(path), f"{path} gone")


def test_a_deleted_topics_logs_go_and_a_new_topic_of_the_name_is_empty(shared_cluster, topic):
    created(shared_cluster, topic, 3, 1)
    write(shared_cluster, topic, 0, 5)
    assert [d for d in directories(shared_cluster) if d.startswith(topic)] == [f"{topic}-{i}" for i in range(3)]
    assert delete(shared_cluster, topic) == {topic: "NONE"}
    shared_cluster.wait(lambda: all(is_waste(d) for d in directories(shared_cluster) if d.startswith(topic)),
                        "no directory but those that go after log.segment.delete.delay.ms")
    with Znodes(shared_cluster.zookeepers[0].address) as znodes:  # the name is free when the mark is gone, the last of all
        shared_cluster.wait(lambda: not znodes.exists(f"/admin/delete_topics/{topic}"), "the end of the deletion")
    created(shared_cluster, topic, 3, 1)
    assert latest_offset(shared_cluster, topic, 0) == 0


def is_waste(directory):
    return directory.endswith("-delete")


def directories(one):
    return sorted(name for broker in one.brokers for name in os.listdir(os.path.join(broker.folder, "data")))


def leader_of(one, topic, partition):
    found = one.wait(lambda: partitions_of(one, topic)[partition]["leader_id"] >= 0, "a leader")
    assert found
    return one.broker(partitions_of(one, topic)[partition]["leader_id"])


def write(one, topic, partition, count):
    producer = kafka.KafkaProducer(bootstrap_servers=one.bootstrap.split(","), acks="all", retries=1000)
    for future in [producer.send(topic, b"x" * 100, partition=partition) for _ in range(count)]:
        future.get(timeout=ANSWER_S)
    producer.close()


def list_offset(one, topic, partition, timestamp):
    body = {"replica_id": -1, "topics": [{"name": topic, "partitions": [
        {"partition_index": partition, "timestamp": timestamp}]}]}
    answer = leader_of(one, topic, partition).call("ListOffsets", body)["topics"][0]["partitions"][0]
    assert answer["error_code"] == 0
    return answer["offset"]


def latest_offset(one, topic, partition):
    return list_offset(one, topic, partition, -1)


def test_deletions_that_cannot_be(shared_cluster, topic):
    unknown = wire.uuid_text(bytes(range(16)))
    assert delete(shared_cluster, topic) == {topic: "UNKNOWN_TOPIC_OR_PARTITION"}
    body = {"topics": [{"name": None, "topic_id": unknown}], "timeout_ms": 10000}
    result, = controller(shared_cluster).call("DeleteTopics", body, 6)["responses"]
    assert (name_of(result["error_code"]), result["name"], result["topic_id"]) == ("UNKNOWN_TOPIC_ID", None, unknown)
    body = {"topics": [{"name": topic, "topic_id": unknown}], "timeout_ms": 10000}
    result, = controller(shared_cluster).call("DeleteTopics", body, 6)["responses"]
    assert name_of(result["error_code"]) == "INVALID_REQUEST"


def test_a_deletion_without_time_to_wait_goes_on_and_the_name_is_taken_until_it_is_over(shared_cluster, topic, znodes):
    created(shared_cluster, topic)
    assert delete(shared_cluster, topic, timeout_ms=0) == {topic: "REQUEST_TIMED_OUT"}
    shared_cluster.wait(lambda: not znodes.exists(f"/admin/delete_topics/{topic}"), "the deletion")
    created(shared_cluster, topic)


def test_deletion_can_be_switched_off(cluster):
    one = cluster(brokers=1, config={"delete.topic.enable": "false"})
    created(one, "kept")
    assert delete(one, "kept", version=3) == {"kept": "TOPIC_DELETION_DISABLED"}
    assert delete(one, "kept", version=2) == {"kept": "INVALID_REQUEST"}
    assert 0 in partitions_of(one, "kept")


# ------------------------------------------------------------------ CreatePartitions


@pytest.mark.parametrize("version", range(4))
def test_create_partitions_in_every_version(shared_cluster, topic, znodes, version):
    before = created(shared_cluster, topic, 2, 2)
    old = znodes.json(f"/brokers/topics/{topic}")
    assert grow(shared_cluster, topic, 5, version=version) == ("NONE", None)
    shown = partitions_of(shared_cluster, topic)
    assert sorted(shown) == [0, 1, 2, 3, 4]
    assert all(p["leader_id"] >= 0 and len(set(p["replica_nodes"])) == 2 for p in shown.values())
    node = znodes.json(f"/brokers/topics/{topic}")
    assert node["topic_id"] == before["topic_id"]
    assert {i: node["partitions"][i] for i in ("0", "1")} == old["partitions"]
    assert {int(i): ids for i, ids in node["partitions"].items()} == {i: p["replica_nodes"] for i, p in shown.items()}


def test_partitions_that_a_tool_adds_which_knows_no_topic_ids(shared_cluster, topic, znodes):
    """As Kafka's of before 2.8 do, in ZooKeeper. It was another topic then, without what was in the first."""
    path = f"/brokers/topics/{topic}"
    created(shared_cluster, topic, 1, 2)
    write(shared_cluster, topic, 0, 5)
    node = znodes.json(path)
    before = node.pop("topic_id")
    node["partitions"]["1"] = node["partitions"]["0"]
    znodes.set(path, json.dumps({**node, "version": 2}))
    wait_known(shared_cluster, topic, 2)
    assert znodes.json(path)["topic_id"] == before
    write(shared_cluster, topic, 0, 1)
    assert latest_offset(shared_cluster, topic, 0) == 6


def test_partitions_go_where_they_are_assigned(shared_cluster, topic):
    created(shared_cluster, topic, 1, 2)
    assert grow(shared_cluster, topic, 3, [{"broker_ids": [3, 2]}, {"broker_ids": [1, 3]}]) == ("NONE", None)
    shown = partitions_of(shared_cluster, topic)
    assert [shown[i]["replica_nodes"] for i in (1, 2)] == [[3, 2], [1, 3]]


def test_partitions_that_cannot_be_added(shared_cluster, topic):
    created(shared_cluster, topic, 2, 2)
    cases = [(1, None, "INVALID_PARTITIONS"), (2, None, "INVALID_PARTITIONS"), (-1, None, "INVALID_PARTITIONS"),
             (2**31 - 1, None, "INVALID_PARTITIONS"),
             (3, [[1, 2], [2, 3]], "INVALID_REPLICA_ASSIGNMENT"), (3, [], "INVALID_REPLICA_ASSIGNMENT"),
             (3, [[1]], "INVALID_REPLICA_ASSIGNMENT"), (3, [[1, 1]], "INVALID_REPLICA_ASSIGNMENT"),
             (3, [[1, 7]], "INVALID_REPLICA_ASSIGNMENT")]
    for count, replicas, error in cases:
        assigned = None if replicas is None else [{"broker_ids": ids} for ids in replicas]
        for validate_only in (True, False):
            code, message = grow(shared_cluster, topic, count, assigned, validate_only=validate_only)
            assert (code, bool(message)) == (error, True), (count, replicas)
    assert grow(shared_cluster, topic + "-none", 3)[0] == "UNKNOWN_TOPIC_OR_PARTITION"
    assert grow(shared_cluster, topic, 4, validate_only=True) == ("NONE", None)
    assert sorted(partitions_of(shared_cluster, topic)) == [0, 1]
    body = {"topics": [{"name": topic, "count": 3, "assignments": None}] * 2, "timeout_ms": 1000,
            "validate_only": False}
    answer = controller(shared_cluster).call("CreatePartitions", body)
    assert {name_of(r["error_code"]) for r in answer["results"]} == {"INVALID_REQUEST"}


def test_partitions_for_a_name_that_is_no_topics_are_refused(shared_cluster, topic):
    """It became part of a path as it was: behind a zero byte nothing counted, and the topic before it grew."""
    created(shared_cluster, topic)
    for name in (topic + "\0more", topic + "/", topic + "/partitions/0/state", "", "..", "a//b"):
        code, message = grow(shared_cluster, name, 3, timeout_ms=1000)
        assert (code, bool(message)) == ("UNKNOWN_TOPIC_OR_PARTITION", True), name
    assert sorted(partitions_of(shared_cluster, topic)) == [0]


# ------------------------------------------------------------------ DeleteRecords


def delete_records(broker, topic, partition, offset, version=None):
    body = {"topics": [{"name": topic, "partitions": [{"partition_index": partition, "offset": offset}]}],
            "timeout_ms": 1000 * ANSWER_S}
    result = broker.call("DeleteRecords", body, version, seconds=ANSWER_S)["topics"][0]["partitions"][0]
    return name_of(result["error_code"]), result["low_watermark"]


@pytest.mark.parametrize("version", range(3))
def test_delete_records_in_every_version(shared_cluster, topic, version):
    created(shared_cluster, topic)
    write(shared_cluster, topic, 0, 10)
    leader = leader_of(shared_cluster, topic, 0)
    assert delete_records(leader, topic, 0, 4, version) == ("NONE", 4)
    assert list_offset(shared_cluster, topic, 0, -2) == 4
    assert delete_records(leader, topic, 0, 2, version) == ("NONE", 4)  # never back
    assert delete_records(leader, topic, 0, -1, version) == ("NONE", 10)
    assert latest_offset(shared_cluster, topic, 0) == 10
    assert delete_records(leader, topic, 0, 11, version) == ("OFFSET_OUT_OF_RANGE", -1)


def test_a_partition_whose_records_are_deleted_twice_is_answered_once(shared_cluster, topic):
    """With what came last, as by Kafka. Each name of it waited by itself: a million took seconds of a loop."""
    created(shared_cluster, topic)
    write(shared_cluster, topic, 0, 10)
    topics = [{"name": name, "partitions": [{"partition_index": index, "offset": offset} for index, offset in asked]}
              for name, asked in ((topic, [(0, 9), (1, 0), (0, 3)]), (topic + "-none", [(0, 1)]), (topic, []),
                                  (topic, [(0, 7), (1, 5), (0, 4)] * 10000))]
    answer = leader_of(shared_cluster, topic, 0).call("DeleteRecords", {"topics": topics, "timeout_ms": 10000})
    assert [(entry["name"], p["partition_index"], name_of(p["error_code"]), p["low_watermark"])
            for entry in answer["topics"] for p in entry["partitions"]] == [
        (topic, 0, "NONE", 4), (topic, 1, "UNKNOWN_TOPIC_OR_PARTITION", -1),
        (topic + "-none", 0, "UNKNOWN_TOPIC_OR_PARTITION", -1)]
    assert len(answer["topics"]) == 2


def test_records_that_cannot_be_deleted(shared_cluster, topic):
    created(shared_cluster, topic, configs=[{"name": "cleanup.policy", "value": "compact"}])
    leader = leader_of(shared_cluster, topic, 0)
    stranger = next(broker for broker in shared_cluster.brokers if broker is not leader)
    assert delete_records(leader, topic, 0, 0)[0] == "POLICY_VIOLATION"
    assert delete_records(leader, topic, 9, 0)[0] == "UNKNOWN_TOPIC_OR_PARTITION"
    assert delete_records(leader, topic + "-none", 0, 0)[0] == "UNKNOWN_TOPIC_OR_PARTITION"
    assert delete_records(stranger, topic, 0, 0)[0] == "NOT_LEADER_OR_FOLLOWER"


# ------------------------------------------------------------------ DescribeLogDirs


@pytest.mark.parametrize("version", range(5))
def test_describe_log_dirs_in_every_version(shared_cluster, topic, version):
    created(shared_cluster, topic, 2, 1)
    write(shared_cluster, topic, 0, 10)
    leader = leader_of(shared_cluster, topic, 0)
    body = {"topics": [{"topic": topic, "partitions": [0]}]}
    result, = leader.call("DescribeLogDirs", body, version)["results"]
    assert (result["error_code"], result["log_dir"]) == (0, f"{leader.folder}/data")
    (described,) = result["topics"]
    (partition,) = described["partitions"]
    assert (described["name"], partition["partition_index"]) == (topic, 0)
    assert partition["partition_size"] > 1000
    assert (partition["offset_lag"], partition["is_future_key"]) == (0, False)
    if version >= 4:
        assert 0 < result["usable_bytes"] <= result["total_bytes"]
    everything, = leader.call("DescribeLogDirs", {"topics": None}, version)["results"]
    assert topic in [t["name"] for t in everything["topics"]]
    nothing, = leader.call("DescribeLogDirs", {"topics": []}, version)["results"]
    assert nothing["topics"] == []
    twice = {"topics": [{"topic": topic, "partitions": [0, 7, 0]}, {"topic": topic + "-none", "partitions": [0]}]}
    result, = leader.call("DescribeLogDirs", twice, version)["results"]
    assert [[p["partition_index"] for p in t["partitions"]] for t in result["topics"]] == [[0]]


# ------------------------------------------------------------------ DescribeConfigs


@pytest.mark.parametrize("version", range(5))
def test_describe_configs_in_every_version(shared_cluster, topic, version):
    created(shared_cluster, topic, configs=[{"name": "retention.ms", "value": "1000"}])
    error, entries = describe(shared_cluster.brokers[0], TOPIC, topic, version=version)
    assert (error, len(entries)) == ("NONE", 36)
    own, default = entries["retention.ms"], entries["segment.bytes"]
    assert (own["value"], default["value"]) == ("1000", "1073741824")
    assert not own["read_only"] and not own["is_sensitive"]
    if version == 0:
        assert (own["is_default"], default["is_default"]) == (False, True)
        return
    assert (own["config_source"], default["config_source"]) == (FROM_TOPIC, FROM_DEFAULT)
    assert synonyms(own) == [("retention.ms", "1000", FROM_TOPIC)]
    assert synonyms(default) == [("log.segment.bytes", "1073741824", FROM_DEFAULT)]
    if version >= 3:
        assert (own["config_type"], entries["cleanup.policy"]["config_type"]) == (5, 7)
        assert own["documentation"] is None
        _, entries = describe(shared_cluster.brokers[0], TOPIC, topic, version=version, include_documentation=True)
        assert all(entry["documentation"] for entry in entries.values())


def test_describe_configs_of_brokers_and_what_is_asked_for(shared_cluster, topic):
    broker = shared_cluster.broker(1)
    error, entries = describe(broker, BROKER, "1")
    assert error == "NONE"
    assert (entries["broker.id"]["value"], entries["broker.id"]["read_only"]) == ("1", True)
    assert (entries["broker.id"]["config_source"], entries["broker.id"]["config_type"]) == (FROM_FILE, 3)
    assert synonyms(entries["broker.id"]) == [("broker.id", "1", FROM_FILE), ("broker.id", "-1", FROM_DEFAULT)]
    assert (entries["log.segment.bytes"]["config_source"], entries["log.segment.bytes"]["read_only"]) == \
        (FROM_DEFAULT, False)
    assert (entries["ssl.keystore.password"]["value"], entries["ssl.keystore.password"]["is_sensitive"]) == (None, True)
    assert sorted(describe(broker, BROKER, "1", ["broker.id", "log.dirs", "nonsense"])[1]) == ["broker.id", "log.dirs"]
    assert len(describe(broker, BROKER, "1", [])[1]) == len(entries)  # an empty list is all, too
    assert describe(broker, BROKER, "2")[0] == "INVALID_REQUEST"
    assert describe(broker, BROKER, "one")[0] == "INVALID_REQUEST"
    assert describe(broker, TOPIC, topic)[0] == "UNKNOWN_TOPIC_OR_PARTITION"
    assert describe(broker, TOPIC, "a b")[0] == "INVALID_TOPIC_EXCEPTION"
    assert describe(broker, 77, "1")[0] == "INVALID_REQUEST"
    assert describe(broker, CLIENT_METRICS, "")[0] == "INVALID_REQUEST"


# ------------------------------------------------------------------ AlterConfigs and IncrementalAlterConfigs


def wait_value(one, broker, kind, name, key, value):
    one.wait(lambda: describe(broker, kind, name, [key])[1].get(key, {}).get("value") == value, f"{key}={value}")


@pytest.mark.parametrize("version", range(3))
def test_alter_configs_replaces_everything_in_every_version(shared_cluster, topic, znodes, version):
    created(shared_cluster, topic, configs=[{"name": "retention.ms", "value": "1000"}])
    changes = len(znodes.children("/config/changes"))
    broker = other(shared_cluster)  # any broker will do
    assert replace(broker, TOPIC, topic, {"segment.bytes": "2000"}, version, validate_only=True) == ("NONE", None)
    assert znodes.json(f"/config/topics/{topic}")["config"] == {"retention.ms": "1000"}
    assert replace(broker, TOPIC, topic, {"segment.bytes": "2000"}, version) == ("NONE", None)
    assert znodes.json(f"/config/topics/{topic}") == {"version": 1, "config": {"segment.bytes": "2000"}}
    names = znodes.children("/config/changes")
    assert len(names) == changes + 1
    assert re.fullmatch(r"config_change_\d{10}", names[-1])
    assert znodes.json(f"/config/changes/{names[-1]}") == {"version": 2, "entity_path": f"topics/{topic}"}
    for one in shared_cluster.brokers:
        wait_value(shared_cluster, one, TOPIC, topic, "segment.bytes", "2000")
        assert describe(one, TOPIC, topic)[1]["retention.ms"]["config_source"] == FROM_DEFAULT


@pytest.mark.parametrize("version", range(2))
def test_incremental_alter_configs_in_every_version(shared_cluster, topic, znodes, version):
    created(shared_cluster, topic, configs=[{"name": "retention.ms", "value": "1000"}])
    broker = shared_cluster.brokers[0]
    assert alter(broker, TOPIC, topic, ("segment.ms", SET, "5000"), ("cleanup.policy", APPEND, "compact"),
                 ("retention.ms", DELETE, None), version=version) == ("NONE", None)
    config = {"segment.ms": "5000", "cleanup.policy": "delete,compact"}
    assert znodes.json(f"/config/topics/{topic}")["config"] == config
    assert alter(broker, TOPIC, topic, ("cleanup.policy", APPEND, "delete"), version=version) == ("NONE", None)
    assert znodes.json(f"/config/topics/{topic}")["config"] == config
    assert alter(broker, TOPIC, topic, ("cleanup.policy", SUBTRACT, "delete"), version=version,
                 validate_only=True) == ("NONE", None)
    assert znodes.json(f"/config/topics/{topic}")["config"] == config
    assert alter(broker, TOPIC, topic, ("cleanup.policy", SUBTRACT, "delete"), version=version) == ("NONE", None)
    assert znodes.json(f"/config/topics/{topic}")["config"]["cleanup.policy"] == "compact"


def test_alterations_that_are_refused(shared_cluster, topic):
    created(shared_cluster, topic)
    broker = shared_cluster.broker(1)
    cases = [
        (TOPIC, topic, [("retention.msec", SET, "1")], "INVALID_CONFIG"),
        (TOPIC, topic, [("retention.ms", SET, "-2")], "INVALID_CONFIG"),
        (TOPIC, topic, [("min.cleanable.dirty.ratio", SET, "1.1")], "INVALID_CONFIG"),
        (TOPIC, topic, [("compression.type", SET, "zip")], "INVALID_CONFIG"),
        (TOPIC, topic, [("retention.ms", APPEND, "1")], "INVALID_CONFIG"),
        (TOPIC, topic, [("retention.ms", SET, None)], "INVALID_REQUEST"),
        (TOPIC, topic, [("retention.ms", SET, "1"), ("retention.ms", DELETE, None)], "INVALID_REQUEST"),
        (TOPIC, topic, [("retention.ms", 7, "1")], "INVALID_REQUEST"),
        (TOPIC, topic + "-none", [("retention.ms", SET, "1")], "UNKNOWN_TOPIC_OR_PARTITION"),
        (TOPIC, "", [("retention.ms", SET, "1")], "INVALID_REQUEST"),
        (BROKER, "2", [("log.segment.bytes", SET, "1000")], "INVALID_REQUEST"),
        (BROKER, "1", [("log.dirs", SET, "elsewhere")], "INVALID_REQUEST"),
        (BROKER, "1", [("log.segment.bytes", SET, "few")], "INVALID_REQUEST"),
        (BROKER, "1", [("log.retention.ms", SET, "0")], "INVALID_REQUEST"),
        (BROKER, "1", [("num.io.threads", SET, "1000")], "INVALID_REQUEST"),
        (BROKER, "", [("listeners", SET, "PLAINTEXT://:1")], "INVALID_REQUEST"),
        (BROKER, "1", [("ssl.keystore.location", SET, "file")], "INVALID_REQUEST"),
        (BROKER_LOGGER, "1", [("kafka.nonsense", SET, "DEBUG")], "INVALID_CONFIG"),
        (BROKER_LOGGER, "1", [("kafka.server", SET, "LOUD")], "INVALID_CONFIG"),
        (BROKER_LOGGER, "1", [("kafka.server", APPEND, "DEBUG")], "INVALID_REQUEST"),
        (BROKER_LOGGER, "1", [("root", DELETE, None)], "INVALID_REQUEST"),
        (BROKER_LOGGER, "2", [("root", SET, "INFO")], "INVALID_REQUEST"),
        (BROKER_LOGGER, "", [("root", SET, "INFO")], "INVALID_REQUEST"),
        (CLIENT_METRICS, "x", [("interval.ms", SET, "1")], "INVALID_REQUEST"),
        (77, "x", [("a", SET, "1")], "INVALID_REQUEST"),
    ]
    for kind, name, changes, error in cases:
        code, message = alter(broker, kind, name, *changes)
        assert (code, bool(message)) == (error, True), (kind, name, changes, message)
    assert replace(broker, BROKER_LOGGER, "1", {"root": "INFO"})[0] == "INVALID_REQUEST"
    assert replace(broker, TOPIC, topic, {"retention.ms": None})[0] == "INVALID_REQUEST"


def test_a_resource_named_twice_is_refused_and_the_others_are_altered(shared_cluster, topic):
    created(shared_cluster, topic)
    one = {"resource_type": TOPIC, "resource_name": topic + "-x", "configs": []}
    good = {"resource_type": TOPIC, "resource_name": topic,
            "configs": [{"name": "retention.ms", "config_operation": SET, "value": "5"}]}
    answer = shared_cluster.brokers[0].call("IncrementalAlterConfigs", {"resources": [one, good, one],
                                                                      "validate_only": False})
    assert [(r["resource_name"], name_of(r["error_code"])) for r in answer["responses"]] == [
        (topic + "-x", "INVALID_REQUEST"), (topic, "NONE"), (topic + "-x", "INVALID_REQUEST")]


def test_log_levels_change_at_run_time(cluster):
    one = cluster(brokers=1)
    broker = one.broker(1)
    error, entries = describe(broker, BROKER_LOGGER, "1")
    assert error == "NONE"
    assert (entries["root"]["value"], entries["root"]["config_source"]) == ("INFO", FROM_LOGGER)
    assert entries["kafka.server.KafkaServer"]["value"] == "INFO"
    assert alter(broker, BROKER_LOGGER, "1", ("kafka.server", SET, "ERROR"), validate_only=True) == ("NONE", None)
    assert describe(broker, BROKER_LOGGER, "1")[1]["kafka.server"]["value"] == "INFO"
    assert alter(broker, BROKER_LOGGER, "1", ("kafka.server", SET, "ERROR")) == ("NONE", None)
    entries = describe(broker, BROKER_LOGGER, "1")[1]
    assert (entries["kafka.server.KafkaServer"]["value"], entries["root"]["value"]) == ("ERROR", "INFO")
    assert alter(broker, BROKER_LOGGER, "1", ("kafka.server", DELETE, None)) == ("NONE", None)
    assert describe(broker, BROKER_LOGGER, "1")[1]["kafka.server.KafkaServer"]["value"] == "INFO"


# ------------------------------------------------------------------ what takes effect without a restart


def produce(broker, topic, size):
    """The error's name."""
    batch = records.make_batch([(None, b"x" * size)])
    body = {"acks": 1, "timeout_ms": 10000, "topic_data": [{"name": topic, "partition_data": [
        {"index": 0, "records": batch}]}]}
    answer = broker.call("Produce", body, 9)["responses"][0]["partition_responses"][0]
    return name_of(answer["error_code"])


def test_topic_configs_take_effect_on_a_running_log(shared_cluster, topic):
    created(shared_cluster, topic)
    leader = leader_of(shared_cluster, topic, 0)
    assert produce(leader, topic, 5000) == "NONE"
    assert alter(leader, TOPIC, topic, ("max.message.bytes", SET, "1000")) == ("NONE", None)
    wait_value(shared_cluster, leader, TOPIC, topic, "max.message.bytes", "1000")
    shared_cluster.wait(lambda: produce(leader, topic, 5000) == "MESSAGE_TOO_LARGE", "the new limit")
    assert produce(leader, topic, 500) == "NONE"
    assert alter(leader, TOPIC, topic, ("max.message.bytes", DELETE, None)) == ("NONE", None)
    shared_cluster.wait(lambda: produce(leader, topic, 5000) == "NONE", "the old limit")


def test_dynamic_values_of_brokers_take_effect_at_once_by_precedence_and_outlive_a_restart(cluster):
    one = cluster(brokers=2, config={"message.max.bytes": "3000"})
    created(one, "t", -1, -1, assignments=[{"partition_index": 0, "broker_ids": [1]}])
    broker = one.broker(1)
    assert produce(broker, "t", 2000) == "NONE"
    assert alter(broker, BROKER, "", ("message.max.bytes", SET, "1000")) == ("NONE", None)
    one.wait(lambda: produce(broker, "t", 2000) == "MESSAGE_TOO_LARGE", "the default for all brokers")
    for each in one.brokers:
        wait_value(one, each, BROKER, str(each.id), "message.max.bytes", "1000")
    assert alter(broker, BROKER, "1", ("message.max.bytes", SET, "2500")) == ("NONE", None)
    one.wait(lambda: produce(broker, "t", 2000) == "NONE", "this broker's own value")
    entry = describe(broker, BROKER, "1")[1]["message.max.bytes"]
    assert synonyms(entry) == [("message.max.bytes", "2500", FROM_BROKER), ("message.max.bytes", "1000", FROM_ALL_BROKERS),
                               ("message.max.bytes", "3000", FROM_FILE), ("message.max.bytes", "1048588", FROM_DEFAULT)]
    error, entries = describe(one.broker(2), BROKER, "")
    assert (error, sorted(entries)) == ("NONE", ["message.max.bytes"])
    assert synonyms(entries["message.max.bytes"]) == [("message.max.bytes", "1000", FROM_ALL_BROKERS)]
    topic_entry = describe(broker, TOPIC, "t")[1]["max.message.bytes"]
    assert (topic_entry["value"], topic_entry["config_source"]) == ("2500", FROM_BROKER)
    with Znodes(one.zookeepers[0].address) as znodes:
        assert znodes.json("/config/brokers/1") == {"version": 1, "config": {"message.max.bytes": "2500"}}
        assert znodes.json("/config/brokers/<default>")["config"] == {"message.max.bytes": "1000"}
    one.stop(1)
    one.start(1)
    assert describe(broker, BROKER, "1")[1]["message.max.bytes"]["value"] == "2500"
    one.wait(lambda: produce(broker, "t", 2000) == "NONE", "still its own value")
    assert alter(broker, BROKER, "1", ("message.max.bytes", DELETE, None)) == ("NONE", None)
    one.wait(lambda: produce(broker, "t", 2000) == "MESSAGE_TOO_LARGE", "the default again")
    assert replace(broker, BROKER, "", {}) == ("NONE", None)
    one.wait(lambda: produce(broker, "t", 2000) == "NONE", "the file's value again")


def test_listeners_that_are_set_dynamically_count_from_the_next_start_on(cluster):
    """They were stored and described, and no start looked at them: clients were told what the file says for ever."""
    one = cluster(brokers=1)
    broker = one.broker(1)
    told = f"PLAINTEXT://localhost:{broker.port}"

    def restarted():
        one.stop(1)
        one.start(1)
        return [(b["host"], b["port"]) for b in one.metadata([])["brokers"]]

    assert alter(broker, BROKER, "1", ("advertised.listeners", SET, told)) == ("NONE", None)
    assert restarted() == [("localhost", broker.port)]
    assert describe(broker, BROKER, "1")[1]["advertised.listeners"]["value"] == told
    # From a life as Kafka's, with a listener that is not offered here.
    config = {"listeners": f"PLAINTEXT://127.0.0.1:{broker.port},SSL://127.0.0.1:0", "message.max.bytes": "1000"}
    with Znodes(one.zookeepers[0].address) as znodes:
        znodes.set("/config/brokers/1", json.dumps({"version": 1, "config": config}).encode())
    assert restarted() == [("127.0.0.1", broker.port)]
    assert "listeners that are set in ZooKeeper are ignored" in broker.log_text()
    assert describe(broker, BROKER, "1")[1]["message.max.bytes"]["value"] == "1000"


def test_retention_that_is_shortened_deletes_old_segments_of_a_running_log(cluster):
    one = cluster(brokers=1, config={"log.retention.check.interval.ms": "50", "log.initial.task.delay.ms": "50",
                                     "log.segment.delete.delay.ms": "0"})
    created(one, "t", configs=[{"name": "segment.bytes", "value": "1000"}])
    broker = one.broker(1)
    for _ in range(5):
        assert produce(broker, "t", 800) == "NONE"
    assert list_offset(one, "t", 0, -2) == 0
    assert alter(broker, TOPIC, "t", ("retention.bytes", SET, "1000")) == ("NONE", None)
    one.wait(lambda: list_offset(one, "t", 0, -2) > 0, "the log's start moving")


# ------------------------------------------------------------------ clients and tools


def test_kafka_pythons_admin_client(shared_cluster, topic):
    admin = kafka.admin.KafkaAdminClient(bootstrap_servers=shared_cluster.bootstrap.split(","))
    admin.create_topics([kafka.admin.NewTopic(topic, 2, 2, topic_configs={"retention.ms": "1000"})], timeout_ms=20000)
    wait_known(shared_cluster, topic, 2)
    assert topic in admin.list_topics()
    with pytest.raises(kafka.errors.TopicAlreadyExistsError):
        admin.create_topics([kafka.admin.NewTopic(topic, 2, 2)])
    admin.create_partitions({topic: kafka.admin.NewPartitions(3)})
    wait_known(shared_cluster, topic, 3)
    assert len(admin.describe_topics([topic])[0]["partitions"]) == 3
    resource = kafka.admin.ConfigResource(kafka.admin.ConfigResourceType.TOPIC, topic, {"retention.ms": "2000"})
    admin.alter_configs([resource])
    wait_value(shared_cluster, shared_cluster.brokers[0], TOPIC, topic, "retention.ms", "2000")
    described = admin.describe_configs([kafka.admin.ConfigResource(kafka.admin.ConfigResourceType.TOPIC, topic)])
    assert described
    admin.delete_topics([topic], timeout_ms=20000)
    shared_cluster.wait(lambda: topic not in admin.list_topics(), "the topic gone")
    admin.close()


def test_confluents_admin_client(shared_cluster, topic):
    admin = confluent.AdminClient({"bootstrap.servers": shared_cluster.bootstrap})

    def done(futures):
        return [future.result(timeout=ANSWER_S) for future in futures.values()]

    done(admin.create_topics([confluent.NewTopic(topic, 2, 2, config={"retention.ms": "1000"})], operation_timeout=20))
    wait_known(shared_cluster, topic, 2)
    assert len(admin.list_topics(topic, timeout=30).topics[topic].partitions) == 2
    done(admin.create_partitions([confluent.NewPartitions(topic, 4)], operation_timeout=20))
    wait_known(shared_cluster, topic, 4)
    assert len(admin.list_topics(topic, timeout=30).topics[topic].partitions) == 4
    resource = confluent.ConfigResource("topic", topic)
    (entries,) = done(admin.describe_configs([resource]))
    assert (entries["retention.ms"].value, entries["retention.ms"].source) == ("1000", FROM_TOPIC)
    done(admin.alter_configs([confluent.ConfigResource("topic", topic, set_config={"segment.bytes": "2000"})]))
    for broker in shared_cluster.brokers:
        wait_value(shared_cluster, broker, TOPIC, topic, "segment.bytes", "2000")
    (entries,) = done(admin.describe_configs([resource]))
    assert (entries["retention.ms"].value, entries["segment.bytes"].value) == ("604800000", "2000")
    done(admin.delete_topics([topic], operation_timeout=20))
    shared_cluster.wait(lambda: topic not in admin.list_topics(timeout=30).topics, "the topic gone")


def topics(one, *words, status=0):
    """scripts/topics; its output."""
    command = [sys.executable, f"{wire.ROOT}/scripts/topics", *words, "--bootstrap-server", one.bootstrap]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert ran.returncode == status, ran.stdout + ran.stderr
    return ran.stdout + ran.stderr


def test_the_topics_script(shared_cluster, topic):
    words = ("--topic", topic, "--partitions", "2", "--replication-factor", "3", "--config", "retention.ms=1000")
    assert topics(shared_cluster, "--create", *words).splitlines()[-1] == f"Created topic {topic}."
    assert "already exists" in topics(shared_cluster, "--create", *words, status=1)
    assert "Created" not in topics(shared_cluster, "--create", "--if-not-exists", *words)
    wait_known(shared_cluster, topic, 2)
    assert topic in topics(shared_cluster, "--list").splitlines()
    shown = topics(shared_cluster, "--describe", "--topic", topic).splitlines()
    topic_id = topic_of(shared_cluster, topic)["topic_id"]
    assert shown[0].split("\t") == [f"Topic: {topic}", f"TopicId: {topic_id}", "PartitionCount: 2",
                                    "ReplicationFactor: 3", "Configs: retention.ms=1000"]
    assert len(shown) == 3
    topics(shared_cluster, "--alter", "--topic", topic, "--partitions", "4")
    assert "higher than the requested 3" in topics(shared_cluster, "--alter", "--topic", topic, "--partitions", "3",
                                                   status=1)
    wait_known(shared_cluster, topic, 4)
    assert len(topics(shared_cluster, "--describe", "--topic", topic).splitlines()) == 5
    topics(shared_cluster, "--delete", "--topic", topic)
    shared_cluster.wait(lambda: all(topic_of(shared_cluster, topic, b)["error_code"] == 3
                                    for b in shared_cluster.brokers), "no broker knowing the topic")
    assert topic not in topics(shared_cluster, "--list").splitlines()
    assert "does not exist" in topics(shared_cluster, "--delete", "--topic", topic, status=1)
    assert topics(shared_cluster, "--delete", "--if-exists", "--topic", topic) == ""
    assert "Replication factor: 7" in topics(shared_cluster, "--create", "--topic", topic, "--replication-factor", "7",
                                             status=1)


# ------------------------------------------------------------------ the controller changes


def test_admin_requests_go_on_with_the_next_controller(cluster):
    one = cluster(brokers=3)
    created(one, "before", 3, 1)
    first = controller(one)
    one.kill(first.id)
    one.wait(lambda: one.controller() not in (None, first.id), "another controller")
    one.wait_all_known()
    created(one, "after", 2, 2)
    assert grow(one, "after", 4) == ("NONE", None)
    assert delete(one, "after") == {"after": "NONE"}
    with Znodes(one.zookeepers[0].address) as znodes:
        assert znodes.json("/controller")["brokerid"] == one.controller()
        assert int(znodes.get("/controller_epoch")[0]) == 2
    # A topic that has a replica on the broker that is down is gone for clients, but deleted when it is back.
    replicas = {p["replica_nodes"][0]: i for i, p in partitions_of(one, "before").items()}
    assert first.id in replicas
    assert delete(one, "before") == {"before": "NONE"}
    result = create(one, wanted("before"))["before"]
    assert name_of(result["error_code"]) == "TOPIC_ALREADY_EXISTS"
    def kept():
        return [d for d in directories(one) if d.startswith("before") and not is_waste(d)]

    one.wait(lambda: kept() == [f"before-{replicas[first.id]}"], "only the log that is down")
    one.start(first.id)
    one.wait(lambda: not kept(), "the logs of the deleted topic gone")


def test_the_old_controller_is_controller_no_more(cluster):
    one = cluster(brokers=2)
    first = controller(one)
    with Znodes(one.zookeepers[0].address) as znodes:
        znodes.delete("/controller")
        one.wait(lambda: znodes.exists("/controller"), "an election")
        one.wait(lambda: one.controller() == znodes.json("/controller")["brokerid"], "brokers knowing of it")
    created(one, "t", 2, 2)
    assert isinstance(first, clusters.Broker)


def test_deleted_records_are_gone_on_every_replica_when_the_answer_comes(shared_cluster, topic):
    created(shared_cluster, topic, 1, 3)
    write(shared_cluster, topic, 0, 10)
    assert delete_records(leader_of(shared_cluster, topic, 0), topic, 0, 7) == ("NONE", 7)
    body = {"replica_id": -2, "topics": [{"name": topic, "partitions": [{"partition_index": 0, "timestamp": -2}]}]}
    for broker in shared_cluster.brokers:
        answer = broker.call("ListOffsets", body)["topics"][0]["partitions"][0]
        assert (answer["error_code"], answer["offset"]) == (0, 7), broker.name


def test_records_are_deleted_though_a_replica_is_dead_and_not_while_one_in_sync_hangs(cluster):
    one = cluster(brokers=3, config={"zookeeper.session.timeout.ms": "20000"})
    created(one, "t", -1, -1, assignments=[{"partition_index": 0, "broker_ids": [1, 2]}])
    write(one, "t", 0, 10)
    one.wait(lambda: partitions_of(one, "t")[0]["isr_nodes"] == [1, 2], "both replicas in sync")
    one.kill(2, signal.SIGSTOP)
    body = {"topics": [{"name": "t", "partitions": [{"partition_index": 0, "offset": 3}]}], "timeout_ms": 300}
    result, = one.broker(1).call("DeleteRecords", body)["topics"][0]["partitions"]
    assert (name_of(result["error_code"]), result["low_watermark"]) == ("REQUEST_TIMED_OUT", -1)
    one.kill(2)
    assert delete_records(one.broker(1), "t", 0, 5) == ("NONE", 5)
