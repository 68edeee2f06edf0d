"""The group APIs in all their versions, request by request: fields, errors, limits."""
import signal
import struct
import time

import pytest

import cluster as clusters
import wire
from conftest import LONG_SESSION, end, make

OK, OFFSET_METADATA_TOO_LARGE, NOT_COORDINATOR, ILLEGAL_GENERATION = 0, 12, 16, 22
INVALID_GROUP_ID, UNKNOWN_MEMBER_ID, INVALID_SESSION_TIMEOUT, UNKNOWN_TOPIC_OR_PARTITION = 24, 25, 26, 3
COORDINATOR_NOT_AVAILABLE, INCONSISTENT_GROUP_PROTOCOL, REBALANCE_IN_PROGRESS, UNSUPPORTED_VERSION = 15, 23, 27, 35
INVALID_REQUEST, NON_EMPTY_GROUP, GROUP_ID_NOT_FOUND, MEMBER_ID_REQUIRED = 42, 68, 69, 79
GROUP_MAX_SIZE_REACHED, FENCED_INSTANCE_ID, GROUP_SUBSCRIBED_TO_TOPIC = 81, 82, 86
REQUEST_TIMED_OUT, UNSTABLE_OFFSET_COMMIT = 7, 88

LIMITS = {"group.max.size": "2", "group.min.session.timeout.ms": "6000", "group.max.session.timeout.ms": "20000",
          "offset.metadata.max.bytes": "8", "num.partitions": "2"}


def subscription(*topics):
    """A consumer's metadata: version, topics, no user data."""
    names = b"".join(struct.pack(">h", len(name)) + name.encode() for name in topics)
    return struct.pack(">hi", 0, len(topics)) + names + struct.pack(">i", -1)


class Group:
    """A group as seen through a connection to its coordinator."""

    def __init__(self, cluster, name, topic=None):
        self.cluster, self.name, self.topic = cluster, name, topic or name
        self.node = cluster.wait(self._find, f"a coordinator of {name}, the same to all brokers")
        self.kafka = wire.Connection("127.0.0.1", cluster.broker(self.node).port, timeout=300)
        self.member_id, self.generation = "", -1
        # The others may hear who coordinates before the coordinator does, as with Kafka's.
        cluster.wait(lambda: self.described()["error_code"] == OK, f"the coordinator of {name}")

    def _find(self):
        answers = [broker.call("FindCoordinator", {"key": self.name}, version=0) for broker in self.cluster.brokers
                   if broker.alive()]
        told = {answer["node_id"] if answer["error_code"] == OK else None for answer in answers}
        return told.pop() if len(told) == 1 else None

    def call(self, api, version=None, **body):
        return self.kafka.call(api, {"group_id": self.name, **body}, version)

    def join_body(self, **more):
        return {"session_timeout_ms": 20000, "rebalance_timeout_ms": 20000, "member_id": self.member_id,
                "protocol_type": "consumer",
                "protocols": [{"name": "range", "metadata": subscription(self.topic)}], **more}

    def join(self, version=None, **more):
        """Join, coming back with the member id where one is given out first."""
        answer = self.call("JoinGroup", version, **self.join_body(**more))
        if answer["error_code"] == MEMBER_ID_REQUIRED:
            self.member_id = answer["member_id"]
            answer = self.call("JoinGroup", version, **self.join_body(**more))
        if answer["error_code"] == OK:
            self.member_id, self.generation = answer["member_id"], answer["generation_id"]
        return answer

    def sync(self, version=None, **more):
        body = {"generation_id": self.generation, "member_id": self.member_id,
                "assignments": [{"member_id": self.member_id, "assignment": b"mine"}], **more}
        if version is None or version >= 5:
            body = {"protocol_type": "consumer", "protocol_name": "range", **body}
        return self.call("SyncGroup", version, **body)

    def heartbeat(self, version=None, **more):
        body = {"generation_id": self.generation, "member_id": self.member_id, **more}
        return self.call("Heartbeat", version, **body)["error_code"]

    def leave(self, version=None):
        if version is not None and version < 3:
            return self.call("LeaveGroup", version, member_id=self.member_id)["error_code"]
        answer = self.call("LeaveGroup", version, members=[{"member_id": self.member_id}])
        assert answer["error_code"] == OK
        return answer["members"][0]["error_code"]

    def commit(self, offset, version=None, partition=0, topic=None, metadata="m", **more):
        """The partition's error."""
        partitions = [{"partition_index": partition, "committed_offset": offset, "committed_metadata": metadata}]
        answer = self.call("OffsetCommit", version, topics=[{"name": topic or self.topic, "partitions": partitions}],
                           **more)
        return answer["topics"][0]["partitions"][0]["error_code"]

    def as_member(self):
        return {"generation_id_or_member_epoch": self.generation, "member_id": self.member_id}

    def committed(self):
        answer = self.kafka.call("OffsetFetch", {"groups": [{"group_id": self.name, "topics": None}]})["groups"][0]
        assert answer["error_code"] == OK
        return {(t["name"], p["partition_index"]): p["committed_offset"]
                for t in answer["topics"] for p in t["partitions"]}

    def described(self, version=None, **more):
        answer = self.kafka.call("DescribeGroups", {"groups": [self.name], **more}, version)
        return answer["groups"][0]

    def close(self):
        self.kafka.close()


def create(cluster, topic):
    def ready():
        answers = [b.call("Metadata", {"topics": [{"name": topic}]})["topics"][0] for b in cluster.brokers]
        return all(a["error_code"] == OK and a["partitions"] and all(p["leader_id"] > 0 for p in a["partitions"])
                   for a in answers)

    cluster.wait(ready, f"topic {topic}")


@pytest.fixture
def group(shared_cluster, topic):
    """A group named as the topic, which exists."""
    create(shared_cluster, topic)
    one = Group(shared_cluster, topic)
    yield one
    one.close()


@pytest.fixture(scope="module")
def limits_cluster(needs_cluster, tmp_path_factory):
    one = make(tmp_path_factory.mktemp("limits") / "cluster", brokers=1, config={**LONG_SESSION, **LIMITS})
    try:
        one.up()
    except BaseException:
        one.close()
        raise
    yield one
    end(one)


@pytest.fixture
def limited(limits_cluster, topic):
    create(limits_cluster, topic)
    one = Group(limits_cluster, topic)
    yield one
    one.close()


# ------------------------------------------------------------------ membership


@pytest.mark.parametrize("version", range(10))
def test_a_member_joins_syncs_beats_and_leaves(group, version):
    """JoinGroup's version; the other APIs' as far as they go. Old versions are let in at once."""
    first = group.call("JoinGroup", version, **group.join_body())
    if version >= 4:
        assert (first["error_code"], first["generation_id"]) == (MEMBER_ID_REQUIRED, -1)
        assert first["member_id"].startswith("barnabas-")
        group.member_id = first["member_id"]
        assert group.described()["members"] == []
        first = group.call("JoinGroup", version, **group.join_body())
        assert first["member_id"] == group.member_id
    assert (first["error_code"], first["generation_id"], first["protocol_name"]) == (OK, 1, "range")
    assert first["protocol_type"] == ("consumer" if version >= 7 else None)
    assert first["leader"] == first["member_id"]
    assert first["skip_assignment"] is False
    assert [(m["member_id"], m["metadata"]) for m in first["members"]] == [
        (first["member_id"], subscription(group.topic))]
    group.member_id, group.generation = first["member_id"], 1
    assert group.described()["group_state"] == "CompletingRebalance"
    assert group.heartbeat(min(version, 4)) == OK
    synced = group.sync(min(version, 5))
    assert (synced["error_code"], synced["assignment"]) == (OK, b"mine")
    if version >= 5:
        assert (synced["protocol_type"], synced["protocol_name"]) == ("consumer", "range")
    assert group.heartbeat(min(version, 4)) == OK
    assert group.heartbeat(min(version, 4), generation_id=7) == ILLEGAL_GENERATION
    assert group.heartbeat(min(version, 4), member_id="who") == UNKNOWN_MEMBER_ID
    assert group.sync(min(version, 5), generation_id=7)["error_code"] == ILLEGAL_GENERATION
    assert group.sync(min(version, 5), member_id="who")["error_code"] == UNKNOWN_MEMBER_ID
    assert group.leave(min(version, 5)) == OK
    assert group.leave(min(version, 5)) == UNKNOWN_MEMBER_ID
    assert group.heartbeat(min(version, 4)) == UNKNOWN_MEMBER_ID
    assert group.described()["group_state"] == "Empty"


def test_an_unknown_member_cannot_join_and_an_unknown_protocol_cannot_either(group):
    assert group.join(member_id="who")["error_code"] == UNKNOWN_MEMBER_ID
    assert group.join(protocols=[])["error_code"] == INCONSISTENT_GROUP_PROTOCOL
    assert group.join()["error_code"] == OK
    other = Group(group.cluster, group.name)
    assert other.join(protocol_type="connect")["error_code"] == INCONSISTENT_GROUP_PROTOCOL
    assert other.join(protocols=[{"name": "own", "metadata": b""}])["error_code"] == INCONSISTENT_GROUP_PROTOCOL
    assert group.sync(5, protocol_name="own")["error_code"] == INCONSISTENT_GROUP_PROTOCOL
    assert group.sync(5, protocol_type=None)["error_code"] == INCONSISTENT_GROUP_PROTOCOL
    other.close()


@pytest.mark.parametrize("version", range(5, 10))
def test_a_static_member_takes_the_place_of_its_former_self(group, version):
    """In a stable group, with another member id, in the same generation; the former is fenced. From version 9 on it
    knows that it leads and must not assign; before, it is told another leader."""
    joined = group.join(version, group_instance_id="i")
    assert joined["error_code"] == OK
    assert joined["member_id"].startswith("i-")
    assert group.sync(min(version, 5), group_instance_id="i")["error_code"] == OK
    again = Group(group.cluster, group.name)
    answer = again.join(version, group_instance_id="i")
    assert (answer["error_code"], answer["generation_id"]) == (OK, 1)
    assert answer["member_id"] != group.member_id
    if version >= 9:
        assert (answer["leader"], answer["skip_assignment"]) == (answer["member_id"], True)
        assert [m["member_id"] for m in answer["members"]] == [answer["member_id"]]
    else:
        assert (answer["leader"], answer["members"]) == (group.member_id, [])
    assert again.sync(group_instance_id="i", assignments=[])["assignment"] == b"mine"
    assert group.heartbeat(group_instance_id="i") == FENCED_INSTANCE_ID
    assert group.heartbeat() == UNKNOWN_MEMBER_ID
    assert group.commit(1, group_instance_id="i", **group.as_member()) == FENCED_INSTANCE_ID
    assert again.heartbeat(group_instance_id="i") == OK
    removed = again.call("LeaveGroup", 5, members=[{"member_id": "", "group_instance_id": "i", "reason": "test"},
                                                   {"member_id": "", "group_instance_id": "j"}])
    assert [(m["group_instance_id"], m["error_code"]) for m in removed["members"]] == [
        ("i", OK), ("j", UNKNOWN_MEMBER_ID)]
    again.close()


@pytest.mark.parametrize("api, highest", [("JoinGroup", 9), ("SyncGroup", 5), ("Heartbeat", 4), ("LeaveGroup", 5)])
def test_membership_needs_a_group_id_and_the_coordinator(shared_cluster, group, api, highest):
    bodies = {"JoinGroup": group.join_body(),
              "SyncGroup": {"generation_id": 1, "member_id": "m", "assignments": []},
              "Heartbeat": {"generation_id": 1, "member_id": "m"}, "LeaveGroup": {}}
    stranger = next(broker for broker in shared_cluster.brokers if broker.id != group.node)
    for version in range(highest + 1):
        body = dict(bodies[api])
        if api == "SyncGroup" and version >= 5:
            body.update(protocol_type="consumer", protocol_name="range")
        assert group.call(api, version, **{**body, "group_id": ""})["error_code"] == INVALID_GROUP_ID
        answer = stranger.call(api, {**body, "group_id": group.name}, version)
        assert answer["error_code"] == NOT_COORDINATOR


# ------------------------------------------------------------------ offsets


@pytest.mark.parametrize("version", range(1, 10))
def test_offsets_are_committed_and_fetched(group, version):
    """Without members anybody may commit, with members only they; unknown partitions are refused alone."""
    more = {"committed_leader_epoch": 3} if version >= 6 else {}
    partitions = [{"partition_index": 0, "committed_offset": 40 + version, "committed_metadata": "m", **more},
                  {"partition_index": 9, "committed_offset": 1, "committed_metadata": None}]
    answer = group.call("OffsetCommit", version, topics=[
        {"name": "no-such-topic", "partitions": partitions[:1]}, {"name": group.topic, "partitions": partitions}])
    assert [(t["name"], [(p["partition_index"], p["error_code"]) for p in t["partitions"]])
            for t in answer["topics"]] == [
                ("no-such-topic", [(0, UNKNOWN_TOPIC_OR_PARTITION)]),
                (group.topic, [(0, OK), (9, UNKNOWN_TOPIC_OR_PARTITION)])]
    epoch = 3 if version >= 6 else -1
    for fetch in range(1, 10):
        wanted = [{"name": group.topic, "partition_indexes": [0, 1]}, {"name": "other", "partition_indexes": [5]}]
        if fetch >= 8:
            answer = group.kafka.call("OffsetFetch", {"groups": [{"group_id": group.name, "topics": wanted}]}, fetch)
            answer = answer["groups"][0]
        else:
            answer = group.call("OffsetFetch", fetch, topics=wanted)
        shown = epoch if fetch >= 5 else -1
        assert answer["error_code"] == OK
        assert answer["topics"] == [
            {"name": group.topic, "partitions": [
                {"partition_index": 0, "committed_offset": 40 + version, "committed_leader_epoch": shown,
                 "metadata": "m", "error_code": OK},
                {"partition_index": 1, "committed_offset": -1, "committed_leader_epoch": -1, "metadata": "",
                 "error_code": OK}]},
            {"name": "other", "partitions": [
                {"partition_index": 5, "committed_offset": -1, "committed_leader_epoch": -1, "metadata": "",
                 "error_code": OK}]}]
        if fetch in range(2, 8):
            every = group.call("OffsetFetch", fetch, topics=None)
            assert every["topics"] == [{"name": group.topic, "partitions": answer["topics"][0]["partitions"][:1]}]


@pytest.mark.parametrize("version", range(1, 10))
def test_a_group_with_members_takes_commits_of_them_only(group, version):
    assert group.join()["error_code"] == OK
    assert group.commit(5, version, **group.as_member()) == REBALANCE_IN_PROGRESS  # no assignment yet
    assert group.sync()["error_code"] == OK
    assert group.commit(5, version, **group.as_member()) == OK
    assert group.commit(6, version) == UNKNOWN_MEMBER_ID
    assert group.commit(6, version, **{**group.as_member(), "member_id": "who"}) == UNKNOWN_MEMBER_ID
    assert group.commit(6, version, **{**group.as_member(), "generation_id_or_member_epoch": 9}) == ILLEGAL_GENERATION
    assert group.committed() == {(group.topic, 0): 5}
    assert group.leave() == OK
    assert group.commit(7, version, **group.as_member()) == UNKNOWN_MEMBER_ID
    assert group.commit(7, version) == OK
    assert group.committed() == {(group.topic, 0): 7}


def test_a_generation_of_a_group_that_does_not_exist_is_illegal(group):
    more = {"generation_id_or_member_epoch": 4, "member_id": "m"}
    assert group.commit(1, **more) == ILLEGAL_GENERATION
    assert group.committed() == {}


def test_version_0_of_commit_and_fetch_keeps_offsets_in_zookeeper_which_is_not_served(group):
    assert group.commit(1, 0) == UNSUPPORTED_VERSION
    answer = group.call("OffsetFetch", 0, topics=[{"name": group.topic, "partition_indexes": [0]}])
    assert [(p["committed_offset"], p["error_code"]) for p in answer["topics"][0]["partitions"]] == [
        (-1, UNKNOWN_TOPIC_OR_PARTITION)]


def test_one_fetch_asks_for_many_groups(shared_cluster, group):
    """Each has its own answer, in the order asked; those that another broker coordinates say so."""
    names = [f"{group.name}-{i}" for i in range(60)]
    here = [name for name in names if Group(shared_cluster, name).node == group.node]
    assert 0 < len(here) < 60
    for name in here:
        one = Group(shared_cluster, name, group.topic)
        assert one.commit(names.index(name)) == OK
        one.close()
    for version in (8, 9):
        wanted = [{"group_id": name, "topics": None} for name in names]
        answers = group.kafka.call("OffsetFetch", {"groups": wanted}, version)["groups"]
        assert [a["group_id"] for a in answers] == names
        assert {a["group_id"] for a in answers if a["error_code"] == OK} == set(here)
        assert {a["error_code"] for a in answers if a["error_code"] != OK} == {NOT_COORDINATOR}
        for answer in answers:
            if answer["error_code"] == OK:
                offset = answer["topics"][0]["partitions"][0]["committed_offset"]
                assert names[offset] == answer["group_id"]
    answer = group.kafka.call("OffsetFetch", {"groups": []}, 9)
    assert answer["groups"] == []


def test_another_broker_says_not_coordinator_where_the_version_can_say_it(shared_cluster, group):
    stranger = next(broker for broker in shared_cluster.brokers if broker.id != group.node)
    wanted = [{"name": group.topic, "partition_indexes": [0, 1]}]
    for version in range(1, 8):
        answer = stranger.call("OffsetFetch", {"group_id": group.name, "topics": wanted}, version)
        if version == 1:
            assert [p["error_code"] for p in answer["topics"][0]["partitions"]] == [NOT_COORDINATOR] * 2
        else:
            assert (answer["error_code"], answer["topics"]) == (NOT_COORDINATOR, [])
    for version in range(1, 10):
        partitions = [{"partition_index": p, "committed_offset": 1, "committed_metadata": ""} for p in (0, 7)]
        answer = stranger.call("OffsetCommit", {"group_id": group.name,
                                                "topics": [{"name": group.topic, "partitions": partitions}]}, version)
        assert [p["error_code"] for p in answer["topics"][0]["partitions"]] == [
            NOT_COORDINATOR, UNKNOWN_TOPIC_OR_PARTITION]
    for version in range(6):
        answer = stranger.call("DescribeGroups", {"groups": [group.name]}, version)["groups"][0]
        assert (answer["error_code"], answer["group_state"], answer["members"]) == (NOT_COORDINATOR, "", [])
    for version in range(3):
        answer = stranger.call("DeleteGroups", {"groups_names": [group.name]}, version)["results"]
        assert answer == [{"group_id": group.name, "error_code": NOT_COORDINATOR}]
    answer = stranger.call("OffsetDelete", {"group_id": group.name, "topics": []}, 0)
    assert answer["error_code"] == NOT_COORDINATOR


def test_offsets_are_deleted_unless_a_member_reads_the_topic(shared_cluster, group):
    other = f"{group.topic}-unread"
    create(shared_cluster, other)
    topics = [{"name": name, "partitions": [{"partition_index": p} for p in (0, 9)]} for name in (group.topic, other)]
    assert group.call("OffsetDelete", 0, topics=topics)["error_code"] == GROUP_ID_NOT_FOUND
    assert group.join()["error_code"] == OK
    assert group.sync()["error_code"] == OK
    assert group.commit(1, **group.as_member()) == OK
    assert group.commit(2, topic=other, **group.as_member()) == OK

    def delete():
        answer = group.call("OffsetDelete", 0, topics=topics)
        assert answer["error_code"] == OK
        return [[p["error_code"] for p in t["partitions"]] for t in answer["topics"]]

    assert delete() == [[GROUP_SUBSCRIBED_TO_TOPIC, UNKNOWN_TOPIC_OR_PARTITION], [OK, UNKNOWN_TOPIC_OR_PARTITION]]
    assert group.committed() == {(group.topic, 0): 1}
    assert group.leave() == OK
    assert delete() == [[OK, UNKNOWN_TOPIC_OR_PARTITION], [OK, UNKNOWN_TOPIC_OR_PARTITION]]
    assert group.committed() == {}
    assert group.described()["group_state"] == "Dead"  # empty, and without offsets


def test_offsets_of_members_that_are_no_consumers_are_not_deleted(group):
    """What they read cannot be known."""
    assert group.join(protocol_type="connect")["error_code"] == OK
    topics = [{"name": group.topic, "partitions": [{"partition_index": 0}]}]
    answer = group.call("OffsetDelete", 0, topics=topics)
    assert (answer["error_code"], answer["topics"]) == (NON_EMPTY_GROUP, [])


# ------------------------------------------------------------------ looking and deleting


@pytest.mark.parametrize("version", range(6))
def test_a_group_is_described(group, version):
    assert group.described(version)["group_state"] == "Dead"
    joined = group.join(group_instance_id="i")
    assert joined["error_code"] == OK
    waiting = group.described(version)
    assert (waiting["group_state"], waiting["protocol_type"], waiting["protocol_data"]) == (
        "CompletingRebalance", "consumer", "")
    assert [(m["member_metadata"], m["member_assignment"]) for m in waiting["members"]] == [(b"", b"")]
    assert group.sync(group_instance_id="i")["error_code"] == OK
    more = {"include_authorized_operations": True} if version >= 3 else {}
    found = group.described(version, **more)
    assert found == {
        "error_code": OK, "group_id": group.name, "group_state": "Stable", "protocol_type": "consumer",
        "protocol_data": "range", "authorized_operations": 328 if version >= 3 else -(1 << 31),
        "members": [{"member_id": group.member_id, "group_instance_id": "i" if version >= 4 else None,
                     "client_id": "barnabas", "client_host": "/127.0.0.1",
                     "member_metadata": subscription(group.topic), "member_assignment": b"mine"}]}
    assert group.described(version)["authorized_operations"] == -(1 << 31)


def test_one_describe_asks_for_more_groups_than_are_asked_at_once(group):
    names = [group.name] + [f"{group.name}-{i}" for i in range(300)]
    assert group.commit(1) == OK
    answers = group.kafka.call("DescribeGroups", {"groups": names})["groups"]
    assert [a["group_id"] for a in answers] == names
    assert (answers[0]["group_state"], answers[0]["protocol_type"]) == ("Empty", "")
    assert {(a["error_code"], a["group_state"]) for a in answers[1:]} == {(OK, "Dead"), (NOT_COORDINATOR, "")}
    assert group.kafka.call("DescribeGroups", {"groups": []})["groups"] == []


def test_a_request_for_a_million_groups_or_partitions_more_is_closed(shared_cluster, group):
    """Two bytes ask for a group, whose answer takes a hundred: a frame of 100 MiB must not take the broker's memory."""
    many = [1] * 1000001
    topics = [{"name": group.topic, "partition_indexes": many}]
    for api, version, body in (
            ("DescribeGroups", 0, {"groups": [""] * 1000001}), ("DeleteGroups", 0, {"groups_names": [""] * 1000001}),
            ("FindCoordinator", 4, {"coordinator_keys": [""] * 1000001}),
            ("ListGroups", 4, {"states_filter": [""] * 1000001}),
            ("OffsetFetch", 1, {"group_id": group.name, "topics": topics}),
            ("OffsetFetch", 8, {"groups": [{"group_id": group.name, "topics": topics}]})):
        with pytest.raises(wire.ConnectionClosed):
            shared_cluster.broker(group.node).call(api, body, version, seconds=60)
    assert group.commit(1) == OK


@pytest.mark.parametrize("version", range(6))
def test_groups_are_listed(group, version):
    simple = Group(group.cluster, f"{group.name}-simple", group.topic)
    assert simple.commit(1) == OK
    assert group.join()["error_code"] == OK
    assert group.sync()["error_code"] == OK

    def listed(one, **filters):
        answer = one.kafka.call("ListGroups", filters, version)
        assert answer["error_code"] == OK
        return {g["group_id"]: (g["protocol_type"], g["group_state"], g["group_type"]) for g in answer["groups"]}

    kind = "classic" if version >= 5 else ""
    assert listed(group)[group.name] == ("consumer", "Stable" if version >= 4 else "", kind)
    assert listed(simple)[simple.name] == ("", "Empty" if version >= 4 else "", kind)
    if version >= 4:
        assert group.name in listed(group, states_filter=["stable", "Nonsense"])
        assert group.name not in listed(group, states_filter=["Empty"])
        assert listed(group, states_filter=["Nonsense"]) == {}
    if version >= 5:
        assert group.name in listed(group, types_filter=["Classic"])
        assert listed(group, types_filter=["consumer"]) == {}
    simple.close()


@pytest.mark.parametrize("version", range(3))
def test_groups_without_members_are_deleted(group, version):
    """A name given twice is answered once."""
    def delete(*names):
        answer = group.kafka.call("DeleteGroups", {"groups_names": names}, version)
        return [(r["group_id"], r["error_code"]) for r in answer["results"]]

    assert delete(group.name) == [(group.name, GROUP_ID_NOT_FOUND)]
    assert group.join()["error_code"] == OK
    assert group.sync()["error_code"] == OK
    assert group.commit(3, **group.as_member()) == OK
    assert delete(group.name) == [(group.name, NON_EMPTY_GROUP)]
    assert group.leave() == OK
    assert delete(group.name, group.name) == [(group.name, OK)]
    assert group.described()["group_state"] == "Dead"
    assert group.committed() == {}
    assert delete() == []


# ------------------------------------------------------------------ FindCoordinator


@pytest.mark.parametrize("version", range(7))
def test_every_broker_names_the_same_coordinator(shared_cluster, group, version):
    found = set()
    for broker in shared_cluster.brokers:
        if version >= 4:
            answer = broker.call("FindCoordinator", {"key_type": 0, "coordinator_keys": [group.name, "other"]}, version)
            assert [one["key"] for one in answer["coordinators"]] == [group.name, "other"]
            answer = answer["coordinators"][0]
        else:
            answer = broker.call("FindCoordinator", {"key": group.name}, version)
        assert answer["error_code"] == OK
        found.add((answer["node_id"], answer["host"], answer["port"]))
    assert found == {(group.node, "127.0.0.1", shared_cluster.broker(group.node).port)}


def test_kinds_of_coordinators_that_there_are_not(shared_cluster):
    broker = shared_cluster.brokers[0]
    for version, kind, error in ((3, 2, INVALID_REQUEST), (5, 2, INVALID_REQUEST), (6, 2, COORDINATOR_NOT_AVAILABLE),
                                 (6, 9, INVALID_REQUEST)):
        body = {"key_type": kind, "coordinator_keys": ["k"]} if version >= 4 else {"key_type": kind, "key": "k"}
        answer = broker.call("FindCoordinator", body, version)
        answer = answer["coordinators"][0] if version >= 4 else answer
        assert (answer["error_code"], answer["node_id"], answer["host"], answer["port"]) == (error, -1, "", -1)


def test_the_offsets_topic_is_made_as_kafka_makes_it(cluster):
    """By the first FindCoordinator: 50 partitions, three replicas, compacted, in segments of 100 MiB."""
    three = cluster(config={"offsets.topic.num.partitions": None, "offsets.topic.replication.factor": None})
    broker = three.brokers[0]
    answer = broker.call("FindCoordinator", {"key": "g"}, 2)
    assert (answer["error_code"], answer["node_id"]) == (COORDINATOR_NOT_AVAILABLE, -1)
    three.wait(lambda: broker.call("FindCoordinator", {"key": "g"}, 2)["error_code"] == OK, "a coordinator")
    topic = three.metadata(["__consumer_offsets"])["topics"][0]
    assert topic["is_internal"] is True
    assert sorted(p["partition_index"] for p in topic["partitions"]) == list(range(50))
    assert {len(set(p["replica_nodes"])) for p in topic["partitions"]} == {3}
    answer = broker.call("DescribeConfigs", {"resources": [
        {"resource_type": 2, "resource_name": "__consumer_offsets", "configuration_keys": None}]})
    configs = {c["name"]: c["value"] for c in answer["results"][0]["configs"] if c["config_source"] == 1}
    assert configs == {"cleanup.policy": "compact", "compression.type": "producer", "segment.bytes": "104857600"}


def test_a_coordinator_that_was_named_stays_while_the_offsets_topic_is_made(cluster):
    """Its partitions become known one by one. Before all are, a group's place cannot be told, and is not."""
    three = cluster(config={"offsets.topic.num.partitions": "200"})
    keys = [f"group-{i}" for i in range(40)]
    named = {key: set() for key in keys}
    connections = [wire.Connection("127.0.0.1", broker.port) for broker in three.brokers]

    def ask():
        answers = [one for kafka in connections for one in kafka.call(
            "FindCoordinator", {"key_type": 0, "coordinator_keys": keys}, 4)["coordinators"]]
        for one in answers:
            if one["error_code"] == OK:
                named[one["key"]].add(one["node_id"])
        return all(one["error_code"] == OK for one in answers)

    clusters.wait_until(ask, "a coordinator of every group, known to every broker", pause=0)
    assert ask()
    assert [key for key, nodes in named.items() if len(nodes) != 1] == []
    for kafka in connections:
        kafka.close()


def test_too_few_brokers_for_the_offsets_topic_are_said_and_waited_for(cluster):
    """offsets.topic.replication.factor=3 with one broker: no coordinator, no topic, one line that says what to do."""
    one = cluster(brokers=1, config={"offsets.topic.replication.factor": "3"})
    for _ in range(3):
        assert one.brokers[0].call("FindCoordinator", {"key": "g"}, 2)["error_code"] == COORDINATOR_NOT_AVAILABLE
    assert one.metadata(["__consumer_offsets"])["topics"][0]["error_code"] == UNKNOWN_TOPIC_OR_PARTITION
    assert one.brokers[0].log_text().count("offsets.topic.replication.factor=3 but 1 broker") == 1


# ------------------------------------------------------------------ limits


@pytest.mark.parametrize("version", (0, 4, 9))
def test_sessions_have_bounds(limited, version):
    for timeout_ms, error in ((5999, INVALID_SESSION_TIMEOUT), (20001, INVALID_SESSION_TIMEOUT), (6000, OK)):
        answer = limited.join(version, session_timeout_ms=timeout_ms)
        assert answer["error_code"] == error


def test_a_group_has_a_largest_size(limited):
    """group.max.size=2: the third is refused and gets no member id."""
    assert limited.join(3)["error_code"] == OK
    second = Group(limited.cluster, limited.name)
    sent = second.kafka.send("JoinGroup", {"group_id": second.name, **second.join_body()}, 3)
    limited.cluster.wait(lambda: len(limited.described()["members"]) == 2, "both members")
    assert limited.join(3)["generation_id"] == 2  # now that the first has come again, both are answered
    assert second.kafka.receive(sent)["generation_id"] == 2
    third = Group(limited.cluster, limited.name)
    answer = third.join(3)
    assert (answer["error_code"], answer["member_id"], answer["generation_id"]) == (GROUP_MAX_SIZE_REACHED, "", -1)
    assert len(limited.described()["members"]) == 2
    second.close()
    third.close()


def test_metadata_of_offsets_has_a_largest_size(limited):
    """offset.metadata.max.bytes=8: only the partition that is over it is refused."""
    def commit(*texts):
        partitions = [{"partition_index": i, "committed_offset": 1, "committed_metadata": text}
                      for i, text in enumerate(texts)]
        answer = limited.call("OffsetCommit", topics=[{"name": limited.topic, "partitions": partitions}])
        return [p["error_code"] for p in answer["topics"][0]["partitions"]]

    assert commit("12345678", "123456789") == [OK, OFFSET_METADATA_TOO_LARGE]
    assert commit("123456789", None) == [OFFSET_METADATA_TOO_LARGE, OK]
    assert commit("123456789", "123456789") == [OFFSET_METADATA_TOO_LARGE] * 2


def test_offsets_expire(cluster, topic):
    """offsets.retention.minutes=60: an offset committed two hours ago (version 1 names the time) goes, and so does
    one whose retention (versions 2 to 4) has passed; one of now stays."""
    one = cluster(brokers=1, config={"offsets.retention.minutes": "60", "offsets.retention.check.interval.ms": "100",
                                     "num.partitions": "4"})
    create(one, topic)
    group = Group(one, topic)
    ago_ms = int(time.time() * 1000) - 2 * 3600000
    partitions = [{"partition_index": 0, "committed_offset": 1, "committed_metadata": "", "commit_timestamp": ago_ms}]
    group.call("OffsetCommit", 1, topics=[{"name": topic, "partitions": partitions}])
    assert group.commit(2, 4, partition=1, retention_time_ms=1) == OK
    assert group.commit(3, 9, partition=2) == OK
    assert group.commit(4, 3, partition=3, retention_time_ms=3600000) == OK
    one.wait(lambda: group.committed() == {(topic, 2): 3, (topic, 3): 4}, "two offsets to expire, and two to stay")
    one.stop(1)
    one.start(1)
    group.close()
    group = Group(one, topic)
    one.wait(lambda: group.committed() == {(topic, 2): 3, (topic, 3): 4}, "the same after a restart")
    group.close()


def test_a_commit_that_followers_do_not_confirm_in_time_is_unstable_until_they_do(cluster, topic):
    """The follower hangs: REQUEST_TIMED_OUT after offsets.commit.timeout.ms. The offset is in the leader's log, but
    nobody reads it; who asks for stable offsets is told to wait. When the follower goes on, it is there."""
    two = cluster(brokers=2, config={"offsets.commit.timeout.ms": "2000", "zookeeper.session.timeout.ms": "120000",
                                     "replica.lag.time.max.ms": "120000"})
    create(two, topic)
    group = Group(two, topic)
    assert group.commit(1) == OK
    follower = next(broker for broker in two.brokers if broker.id != group.node)
    follower.kill(signal.SIGSTOP)
    try:
        began = time.monotonic()
        assert group.commit(2) == REQUEST_TIMED_OUT
        assert time.monotonic() - began >= 2.0
        assert group.committed() == {(topic, 0): 1}
        answer = group.kafka.call("OffsetFetch", {"groups": [{"group_id": topic, "topics": None}],
                                                  "require_stable": True})["groups"][0]
        assert [p["error_code"] for t in answer["topics"] for p in t["partitions"]] == [UNSTABLE_OFFSET_COMMIT]
    finally:
        follower.kill(signal.SIGCONT)
    two.wait(lambda: group.committed() == {(topic, 0): 2}, "the second commit, after all")
    group.close()


def test_groups_go_on_below_min_insync_where_commits_wait_for_no_follower(cluster, topic):
    """offsets.commit.required.acks=1 counts for groups' records as for commits: below min.insync.replicas members get
    their assignments, and what is only in the leader's log is served after a restart."""
    two = cluster(brokers=2, config={"min.insync.replicas": "2", "offsets.commit.required.acks": "1"})
    create(two, topic)
    group = Group(two, topic)
    two.stop(next(broker.id for broker in two.brokers if broker.id != group.node))
    assert group.join()["error_code"] == OK
    assert group.sync()["error_code"] == OK
    assert group.commit(1, **group.as_member()) == OK
    group.close()
    two.stop(group.node)
    two.start(group.node)
    again = Group(two, topic)
    assert again.committed() == {(topic, 0): 1}
    again.member_id, again.generation = group.member_id, group.generation
    assert again.heartbeat() == OK
    again.close()


def waits(one, name):
    found = one.brokers[0].call("DescribeGroups", {"groups": [name]})["groups"][0]
    return found["group_state"] == "PreparingRebalance" and len(found["members"]) == 1


def test_a_broker_with_members_that_wait_stops_cleanly(cluster, topic):
    """JoinGroup has no answer yet when SIGTERM comes; group.initial.rebalance.delay.ms is long. The members are sent to
    look for another coordinator."""
    one = cluster(brokers=1, config={"group.initial.rebalance.delay.ms": "600000"})
    create(one, topic)
    groups = [Group(one, f"{topic}-{i}", topic) for i in range(5)]
    for group in groups:
        group.kafka.send("JoinGroup", {"group_id": group.name, **group.join_body()}, 3)
        one.wait(lambda g=group: waits(one, g.name), "the member waiting")
    child = one.process(1).child
    one.stop(1)
    assert child.wait(60) == 0
    for group in groups:
        assert group.kafka.receive()["error_code"] == NOT_COORDINATOR
        with pytest.raises(wire.ConnectionClosed):
            group.heartbeat()
        group.close()
