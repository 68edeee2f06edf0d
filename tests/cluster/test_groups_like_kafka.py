"""Groups of ours and of Apache Kafka itself, told the same at random: every answer must be the same.

Kafka is where scripts/bench has brought it: skipped by name elsewhere. After each request both are looked at until they
have come to rest: who is still waiting, and what DescribeGroups shows, must then agree. Left out is what we do
differently on purpose (coordinator/group/README.md), and what Kafka leaves to the order of a hash table: who leads
when the leader of three or more has gone.
"""
import os
import random
import struct
import sys

import pytest

import cluster as clusters
import wire
from conftest import end, make

sys.path.insert(0, os.path.join(wire.ROOT, "tests", "bench"))
import kafka_peer  # noqa: E402  pylint: disable=wrong-import-position

OK, UNKNOWN_MEMBER_ID, REBALANCE_IN_PROGRESS, MEMBER_ID_REQUIRED = 0, 25, 27, 79
GROUP_MAX_SIZE_REACHED, FENCED_INSTANCE_ID = 81, 82
GONE = (UNKNOWN_MEMBER_ID, GROUP_MAX_SIZE_REACHED, FENCED_INSTANCE_ID)
SIZE_MAX = 4
CONFIG = {"offsets.topic.num.partitions": "3", "offsets.topic.replication.factor": "1", "group.max.size": str(SIZE_MAX),
          "group.initial.rebalance.delay.ms": "0", "offset.metadata.max.bytes": "20"}
TOPIC = "orders"
LONG_MS = 300000  # nothing happens by time alone
REST_S = 30
STEPS = 120
COMMON = {("JoinGroup", OK), ("SyncGroup", OK), ("SyncGroup", REBALANCE_IN_PROGRESS)}


@pytest.fixture(scope="module")
def two(needs_cluster, tmp_path_factory):
    """One broker of ours and one of Kafka's."""
    if not os.path.isdir(kafka_peer.JARS):
        pytest.skip(f"no {kafka_peer.JARS} (scripts/bench --run produce --quick --peers kafka brings it)")
    folder = tmp_path_factory.mktemp("groups")
    theirs = clusters.Cluster(str(folder / "kafka"), 1, 1, {**kafka_peer.SHIPPED, **CONFIG},
                              broker_class=kafka_peer.KafkaBroker)
    try:
        ours = make(folder / "ours", brokers=1, config=CONFIG)
        try:
            for one in (ours, theirs):
                one.up()
                created = one.broker(1).call("CreateTopics", {"timeout_ms": 30000, "topics": [
                    {"name": TOPIC, "num_partitions": 2, "replication_factor": 1}]}, seconds=40)
                assert created["topics"][0]["error_code"] == OK
            yield ours, theirs
        finally:
            end(ours)
    finally:
        theirs.down()
        theirs.close()


def subscription(*topics):
    names = b"".join(struct.pack(">h", len(name)) + name.encode() for name in topics)
    return struct.pack(">hi", 0, len(topics)) + names + struct.pack(">i", -1)


class Member:
    """A client process with its place in the group, at both."""

    def __init__(self, label, talk, instance=None):
        self.label, self.instance = label, instance
        self.connections = [side.connect(label) for side in talk.sides]
        self.waiting = None  # the API whose answer is due
        self.sent = [None, None]
        self.answers = [None, None]
        self.generation = -1
        self.listed = [[], []]  # of the leader: whom it was told of
        self.topics = (TOPIC,)
        self.candidate = False

    def protocols(self):
        return [{"name": name, "metadata": subscription(*self.topics)} for name in ("range", "sticky")]


class Side:
    """One of the two."""

    def __init__(self, one, group):
        self.one, self.group = one, group
        self.ids = {}  # label: member id
        self.labels = {}
        self.opened = []
        self.admin = self.connect("admin")

    def connect(self, label):
        self.opened.append(wire.Connection("127.0.0.1", self.one.broker(1).port, client_id=label))
        return self.opened[-1]

    def learn(self, label, member_id):
        self.ids[label] = member_id
        self.labels[member_id] = label

    def plain(self, value, instance=None):
        """An answer with names in the place of ids, and without what may differ."""
        if isinstance(value, dict):
            instance = value.get("group_instance_id", instance)
            return {k: self.plain(v, instance) for k, v in value.items() if k not in ("throttle_time_ms", "error_message")}
        if isinstance(value, list):
            return sorted((self.plain(one) for one in value), key=repr)
        if isinstance(value, str) and value in self.labels:
            return self.labels[value]
        if isinstance(value, str) and len(value) > 36 and value.count("-") >= 4:
            return f"not told yet, of instance {instance}"
        return value


class Talk:
    def __init__(self, clusters_, group, seed):
        self.group, self.random = group, random.Random(seed)
        self.sides = [Side(one, group) for one in clusters_]
        self.members, self.past, self.log, self.number = [], [], [], 0
        self.heard = set()  # (API, error) of members' requests
        for side in self.sides:
            side.one.wait(lambda s=side: s.admin.call("FindCoordinator", {"key": group}, 0)["error_code"] == OK
                          and s.admin.call("DescribeGroups", {"groups": [group]})["groups"][0]["error_code"] == OK,
                          f"a coordinator of {group}")

    def close(self):
        for side in self.sides:
            for connection in side.opened:
                connection.close()

    # ---- asking

    def both(self, api, version, body_of, pick=lambda answer: answer):
        """An administrator asks both, and is told the same, in what is picked from it."""
        answers = []
        for side in self.sides:
            answers.append(side.plain(pick(side.admin.call(api, body_of(side), version))))
        self.log.append((api, version, body_of(self.sides[0]), answers))
        assert answers[0] == answers[1], self.story()
        return answers[0]

    def send(self, member, api, version, body_of):
        member.waiting = api
        member.answers = [None, None]
        for i, side in enumerate(self.sides):
            member.sent[i] = member.connections[i].send(api, body_of(i), version)
        self.log.append((member.label, api, version, body_of(0)))
        self.come_to_rest()

    def story(self):
        return "\n".join(map(str, self.log[-40:]))

    # ---- coming to rest

    def look(self, i):
        """What one of them shows, and whether all has happened that will."""
        side = self.sides[i]
        for member in self.members:
            if member.waiting and member.answers[i] is None:
                try:
                    member.answers[i] = member.connections[i].receive(member.sent[i], 0.002)
                except wire.Timeout:
                    continue
                if member.answers[i].get("member_id"):
                    side.learn(member.label, member.answers[i]["member_id"])
        group = side.admin.call("DescribeGroups", {"groups": [self.group]}, 5)["groups"][0]
        waiting = [m.waiting for m in self.members if m.waiting and m.answers[i] is None]
        joins, syncs = waiting.count("JoinGroup"), waiting.count("SyncGroup")
        state = group["group_state"]
        if state == "PreparingRebalance":
            outstanding = any(m.candidate for m in self.members)
            rest = syncs == 0 and (len(group["members"]) > joins or outstanding)
        elif state == "CompletingRebalance":
            rest = joins == 0 and not any(m.waiting and m.answers[i] is None and m.listed[i] for m in self.members)
        else:
            rest = not waiting
        answered = {m.label: side.plain(m.answers[i]) for m in self.members if m.waiting and m.answers[i] is not None}
        return rest, (side.plain(group), answered)

    def come_to_rest(self):
        seen = [None, None]

        def alike():
            seen[:] = [self.look(0), self.look(1)]
            return seen[0][0] and seen[0] == seen[1]

        try:
            clusters.wait_until(alike, "both at rest and alike", REST_S)
        except clusters.ClusterError:
            pytest.fail(f"{self.story()}\nours:  {seen[0]}\nKafka: {seen[1]}")
        self.log.append(seen[0])
        self.shown = seen[0][1][0]
        for member in [m for m in self.members if m.waiting and m.answers[0] is not None]:
            self.take(member, member.waiting)

    def take(self, member, api):
        member.waiting = None
        answer = member.answers[0]
        error = answer["error_code"]
        self.heard.add((api, error))
        if api == "JoinGroup" and error == OK:
            member.generation = answer["generation_id"]
            member.listed = [one["members"] for one in member.answers]
            member.candidate = False
        elif api == "JoinGroup" and error == MEMBER_ID_REQUIRED:
            member.candidate = True
        elif (error in GONE and not (member.candidate and api == "SyncGroup")) or member.label not in self.sides[0].ids:
            self.gone(member)

    def gone(self, member):
        if member in self.members:
            self.members.remove(member)
            self.past.append(member)

    # ---- what can be done

    def join_body(self, member, version):
        def body(i):
            side = self.sides[i]
            more = {"group_instance_id": member.instance} if version >= 5 else {}
            more.update({"rebalance_timeout_ms": LONG_MS} if version >= 1 else {})
            return {"group_id": self.group, "session_timeout_ms": LONG_MS, "member_id": side.ids.get(member.label, ""),
                    "protocol_type": "consumer", "protocols": member.protocols(), **more}
        return body

    def new_member(self):
        self.number += 1
        instance = self.random.choice([None, None, "i1", "i2"])
        replaced = [m for m in self.members if instance and m.instance == instance]
        if any(m.waiting for m in replaced):
            return  # whose answer may overtake that of the newcomer
        member = Member(f"m{self.number}", self, instance)
        self.members.append(member)
        version = self.random.randint(5, 9) if instance else self.random.randint(0, 9)
        self.send(member, "JoinGroup", version, self.join_body(member, version))
        if member in self.members and not (member.answers[0] and member.answers[0]["error_code"] != OK):
            for old in replaced:
                self.gone(old)

    def idle(self):
        return [m for m in self.members if not m.waiting and m.label in self.sides[0].ids]

    def join_again(self):
        idle = self.idle()
        if sum(m.waiting == "JoinGroup" for m in self.members) >= SIZE_MAX:
            idle = [m for m in idle if not any(m.listed)]  # it would be refused, and leave its group without a leader
        if idle:
            member = self.random.choice(idle)
            if self.random.random() < 0.2:
                member.topics = self.random.choice([(TOPIC,), (TOPIC, "other")])
            version = self.random.randint(5, 9) if member.instance else self.random.randint(0, 9)
            self.send(member, "JoinGroup", version, self.join_body(member, version))

    def sync(self):
        if not self.idle():
            return
        member = self.random.choice(self.idle())
        version = self.random.randint(3 if member.instance else 0, 5)
        generation = member.generation if self.random.random() < 0.9 else member.generation + 1
        protocol = "range" if self.random.random() < 0.95 else "sticky"
        more = {"group_instance_id": member.instance} if version >= 3 else {}
        more.update({"protocol_type": "consumer", "protocol_name": protocol} if version >= 5 else {})

        def body(i):
            side = self.sides[i]
            given = [{"member_id": one["member_id"], "assignment": b"to " + side.plain(one["member_id"]).encode()}
                     for one in member.listed[i]]
            return {"group_id": self.group, "generation_id": generation, "member_id": side.ids[member.label],
                    "assignments": given, **more}

        self.send(member, "SyncGroup", version, body)

    def anyone(self):
        """(label, instance, generation) of a member of now, or of then, or of nobody."""
        known = [m for m in self.members + self.past if m.label in self.sides[0].ids]
        if not known or self.random.random() < 0.05:
            return "nobody", None, 1
        member = self.random.choice(known)
        instance = member.instance if self.random.random() < 0.9 else self.random.choice([None, "i1", "i3"])
        return member.label, instance, member.generation

    def heartbeat(self):
        label, instance, generation = self.anyone()
        version = self.random.randint(3 if instance else 0, 4)
        more = {"group_instance_id": instance} if version >= 3 else {}
        self.both("Heartbeat", version, lambda side: {"group_id": self.group, "generation_id": generation,
                                                      "member_id": side.ids.get(label, label), **more})
        self.come_to_rest()

    def may_leave(self, member):
        """Kafka never answers the SyncGroup of one that leaves; and see the head of this file."""
        leads = any(member.listed)
        return member.waiting != "SyncGroup" and (not leads or len(self.shown["members"]) <= 2)

    def leave(self):
        leaving = [m for m in self.members if self.may_leave(m) and m.label in self.sides[0].ids]
        leaving = self.random.sample(leaving, min(len(leaving), 1))
        label, instance, _ = self.anyone()
        named = [(m.label, m.instance) for m in leaving]
        if label in [m.label for m in self.past] or label == "nobody":
            named.append((label, instance))
        if not named:
            return
        version = self.random.randint(3, 5)
        if leaving and leaving[0].instance and self.random.random() < 0.2:
            named[0] = ("", leaving[0].instance)
        answer = self.both("LeaveGroup", version, lambda side: {"group_id": self.group, "members": [
            {"member_id": side.ids.get(name, name), "group_instance_id": inst} for name, inst in named]})
        self.come_to_rest()
        if leaving and sum(one["error_code"] == OK for one in answer["members"]):
            self.gone(leaving[0])

    def commit(self):
        label, instance, generation = self.anyone()
        if self.random.random() < 0.3:
            label, instance, generation = "", None, -1
        version = self.random.randint(7 if instance else 2, 8)
        more = {"group_instance_id": instance} if version >= 7 else {}
        topic = self.random.choice([TOPIC, TOPIC, TOPIC, "absent"])
        offset, metadata = self.random.randint(0, 1000), self.random.choice(["", "m", None, "x" * 21, "\u20ac" * 20])
        self.both("OffsetCommit", version, lambda side: {
            "group_id": self.group, "generation_id_or_member_epoch": generation, "member_id": side.ids.get(label, label),
            "topics": [{"name": topic, "partitions": [
                {"partition_index": p, "committed_offset": offset, "committed_metadata": metadata} for p in (0, 5)]}], **more})
        self.come_to_rest()

    def fetch(self):
        version = self.random.randint(1, 7)
        topics = [{"name": TOPIC, "partition_indexes": [0, 1]}, {"name": "absent", "partition_indexes": [0]}]
        everything = version >= 2 and self.random.random() < 0.5
        more = {"require_stable": True} if version >= 7 else {}
        self.both("OffsetFetch", version, lambda side: {
            "group_id": self.group, "topics": None if everything else topics, **more})

    def delete_offset(self):
        topic = self.random.choice([TOPIC, "other", "absent"])
        self.both("OffsetDelete", 0, lambda side: {"group_id": self.group, "topics": [
            {"name": topic, "partitions": [{"partition_index": 0}]}]})

    def delete(self):
        self.both("DeleteGroups", 2, lambda side: {"groups_names": [self.group]})
        self.come_to_rest()

    def list(self):
        filters = {"states_filter": self.random.choice([[], ["stable"], ["Empty", "PreparingRebalance"]]),
                   "types_filter": self.random.choice([[], ["Classic"], ["consumer"]])}
        self.both("ListGroups", 5, lambda side: filters,
                  lambda answer: {**answer, "groups": [g for g in answer["groups"] if g["group_id"] == self.group]})


@pytest.mark.parametrize("seed", range(1, 7))
def test_every_answer_is_kafkas(two, seed):
    talk = Talk(two, f"group-{seed}", seed)
    actions = [(talk.new_member, 12), (talk.join_again, 25), (talk.sync, 25), (talk.heartbeat, 10), (talk.leave, 6),
               (talk.commit, 10), (talk.fetch, 5), (talk.delete_offset, 3), (talk.delete, 2), (talk.list, 3)]
    try:
        talk.come_to_rest()
        for _ in range(STEPS):
            action, = talk.random.choices([one for one, _ in actions], [weight for _, weight in actions])
            action()
        assert talk.heard >= COMMON
    finally:
        talk.close()
