"""Changes that an operator asks for while everything goes on."""
import os

import checker
import history
from admin import Admin
from reassigning import Reassigning
from scene import fault

REBORN, REBORN_PARTITIONS, REBORN_RATE = "reborn", 3, 500


def create_topic(cluster, name, partitions, seconds=60.0):
    """The error code of the answer."""
    answer = Admin(cluster.bootstrap, api_timeout=seconds).call_controller("CreateTopics", lambda version, timeout_ms: {
        "topics": [{"name": name, "num_partitions": partitions, "replication_factor": 3, "assignments": [],
                    "configs": []}],
        "timeout_ms": timeout_ms, "validate_only": False})
    return answer["topics"][0]["error_code"]


def delete_topic(cluster, name, seconds=60.0):
    answer = Admin(cluster.bootstrap, api_timeout=seconds).call_controller("DeleteTopics", lambda version, timeout_ms: (
        {"topics": [{"name": name, "topic_id": bytes(16)}], "timeout_ms": timeout_ms} if version >= 6
        else {"topic_names": [name], "timeout_ms": timeout_ms}))
    return answer["responses"][0]["error_code"]


class Reborn:
    """A second topic with a writer of its own that never stops, and a reader for each life of the topic."""

    def __init__(self, scene):
        self.scene = scene
        self.folder = os.path.join(scene.folder, "reborn")
        self.deleted_us = self.born_us = 0
        self.lives = 0
        self.writer = self.reader = None
        self.create()
        scene.extra_checks.append(self.check)

    def now_us(self):
        self.scene.note("reborn")
        return int(self.scene.notes[-1][1] * 1e6)

    def client(self, name, role, *arguments):
        one = history.Client(self.folder, name, role, self.scene.cluster, REBORN, REBORN_PARTITIONS, *arguments)
        self.scene.clients.append(one)
        return one

    def create(self):
        # A create that is answered late is asked for again by Admin, and then finds its own topic: both are right.
        self.scene.cluster.wait(lambda: create_topic(self.scene.cluster, REBORN, REBORN_PARTITIONS) == 0
                                or self._exists_anew(), "a topic that can be created again")
        self.born_us = self.now_us()
        self.lives += 1
        if self.writer is None:
            self.writer = self.client("writer", "writer", REBORN_RATE)
        else:
            self.writer.tell("next")
        self.reader = self.client(f"reader-{self.lives}", "reader")

    def _exists_anew(self):
        topic = self.scene.cluster.metadata([REBORN])["topics"][0]
        return topic["error_code"] == 0 and topic["topic_id"] != self.scene.kept.get("topic id")

    def delete(self):
        self.scene.kept["topic id"] = self.scene.cluster.metadata([REBORN])["topics"][0].get("topic_id")
        problem = self.reader.finish()
        if problem:
            raise AssertionError(problem)
        self.deleted_us = self.now_us()
        delete_topic(self.scene.cluster, REBORN)

    def check(self):
        """The Problems of its last life; with those of the clients."""
        wrongs = [self.writer.finish(), self.reader.finish()]
        last = self.client("final", "final")
        wrongs.append(last.finish())
        events = history.read([self.writer.path, self.reader.path, last.path])
        found = checker.check(events, self.deleted_us, self.born_us)
        for partition in checker.silent(events, REBORN_PARTITIONS, self.born_us):
            found.add("silent", f"partition {partition}: nothing was acknowledged in the topic's last life")
        for wrong in filter(None, wrongs):
            found.add("client", wrong)
        return found


@fault()
def topic_reborn(scene):
    """a topic is deleted and created again under its name while it is written to; half the time a broker is down"""
    if "reborn" not in scene.kept:
        scene.kept["reborn"] = Reborn(scene)
    reborn = scene.kept["reborn"]
    scene.pause(0.5, 2.0)
    down = None
    if scene.random.random() < 0.5:
        down = scene.leader()
        scene.kill(down)
        if scene.random.random() < 0.5:
            scene.past_session()
    reborn.delete()
    scene.pause(0.0, 1.0)
    if down is not None:
        scene.start(down)
    reborn.create()


def _choose_replicas(scene):
    """For some partitions, three brokers of all, in any order."""
    brokers = [b.id for b in scene.cluster.brokers]
    partitions = [p["partition_index"] for p in scene.partitions()]
    chosen = scene.random.sample(partitions, scene.random.randrange(1, len(partitions) + 1))
    return {(scene.topic, partition): scene.random.sample(brokers, 3) for partition in chosen}


@fault(brokers=4)
def reassignment(scene):
    """partitions move to other brokers of four; some moves are cancelled, and mostly a broker is killed meanwhile"""
    moves = Reassigning(Admin(scene.cluster.bootstrap))
    scene.cluster.wait_all_known()  # nothing may be given to a broker that is still coming back from the last time
    wanted = _choose_replicas(scene)
    refused = moves.alter(wanted)
    if refused:
        raise AssertionError(f"reassignments were refused: {refused}")
    down = None
    if scene.random.random() < 0.7:
        scene.pause(0.0, 0.3)
        down = scene.random.choice([scene.leader, scene.follower, scene.controller])()
        scene.kill(down)
        scene.pause(0.0, 1.5 * scene.session_s)
    if scene.random.random() < 0.3:
        moves.alter({partition: None for partition in moves.ongoing()})
    if down is not None:
        scene.start(down)
    scene.cluster.wait(lambda: not moves.ongoing(), "the end of every reassignment")
