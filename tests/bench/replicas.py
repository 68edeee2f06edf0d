"""RF 3 next to its floors: what a whole cluster of three uses to keep three copies of what is produced with acks=all.

Besides the floor with two followers that pull there is the sum of its floors, measured one after another so that none
is in another's way: a produce, two times a `sendfile` to a follower, two times a follower's write. The sum cannot be
reached: it wakes nobody, waits for nobody, and its followers read 1 MiB at a time.
"""
import os
from types import SimpleNamespace

import cells
import cluster as cluster_module
import load_runner
import usage
from figures import REST
from floors import Floor, FloorProcess, FloorThree
from kafka_peer import KafkaThree
from machine import prewarm
from peers import Three

KIB, MIB = 1 << 10, 1 << 20
PARTITIONS, DEPTH, COPIES = 12, 5, 3
GOAL = "floors <= 1.3; kafka <= 0.333"
CONFIG = {"default.replication.factor": "3", "min.insync.replicas": "2"}
PARTS = {"produce_s": "produce", "sendfile_s": "a sendfile", "write_s": "a follower's write"}


class Floors(Floor):
    """One floor, and a follower that comes when everything has been written."""

    def copy(self, topic, partitions, ends):
        """What copying one topic takes: (a report of the leader's sending, one of the follower's writing)."""
        follower = FloorProcess(self.program, os.path.join(self.folder, "2"), (2, self.port))
        try:
            sender, writer = (SimpleNamespace(pids=[pid]) for pid in (self.leader.pid, follower.pid))
            with usage.Window(sender) as sending, usage.Window(writer) as writing:
                follower.create(topic, partitions, COPIES)
                cluster_module.wait_until(lambda: follower.end_offsets(topic, partitions) == ends, "the follower")
                reports = sending.finish({}), writing.finish({})
            follower.delete(topic)
        finally:
            follower.close()
        os.rmdir(follower.folder)
        return reports


class Cell(cells.Cell):
    def figures(self):
        yield from super().figures()
        for key, title in PARTS.items():
            yield self.figure(key, title, "s/GB", lambda r, key=key: r[key] / r["bytes"] * 1e9)


class Replicas(cells.Workload):
    name = "rf3"
    text = "RF 3: the whole cluster's CPU for acks=all, next to the floor with two followers and to the sum of its floors"
    peers = {"barnabas": Three, "kafka": KafkaThree, "floor": FloorThree, "floors": Floors}
    cells = [Cell("1m", MIB, PARTITIONS, GOAL), Cell("64k", 64 * KIB, PARTITIONS, GOAL)]
    of_run = REST[:2]

    def describe(self):
        return (f"{self.options.mb} MB of each cell, {PARTITIONS} partitions with three replicas, three "
                f"connections to those who lead, {DEPTH} requests under way on each, records of 1000 B, acks all")

    def open(self, name, folder):
        made = self.peers[name]
        config = {"config": CONFIG} if issubclass(made, Three) or made is KafkaThree else {}
        return made(self.options, folder, **config)

    def run(self, peer):
        step = self.sum if isinstance(peer, Floors) else self.measure
        return cells.together({cell.name: step(peer, cell) for cell in self.wanted})

    def produce(self, peer, cell, topic, acks):
        """Three connections to whoever leads: one leads all partitions of the floor, three those of others."""
        connections = COPIES if isinstance(peer, Floor) else 1
        return load_runner.measured(self.options, "produce", peer, brokers=peer.bootstrap, topic=topic,
                                    connections=connections, depth=DEPTH, acks=acks, **cell.load(self.options))

    def check(self, peer, cell, topic, made):
        read = load_runner.load(self.options, "consume", peer.name, brokers=peer.bootstrap, topic=topic,
                                partitions=cell.partitions)
        cells.compare(peer.name, made, read)

    def measure(self, peer, cell):
        prewarm(self.options.mb * COPIES * 1.2 + 500)
        topic = peer.new_topic(cell.partitions, COPIES)
        made = self.produce(peer, cell, topic, -1)
        self.check(peer, cell, topic, made)
        peer.drop_topic(topic)
        return made

    def sum(self, peer, cell):
        prewarm(self.options.mb * 2 * 1.2 + 500)
        topic = peer.new_topic(cell.partitions)
        made = self.produce(peer, cell, topic, 1)
        self.check(peer, cell, topic, made)
        sending, writing = peer.copy(topic, cell.partitions, peer.leader.end_offsets(topic, cell.partitions))
        peer.drop_topic(topic)
        parts = {"produce_s": made["cpu_s"], "sendfile_s": sending["cpu_s"], "write_s": writing["cpu_s"]}
        cpu_s = made["cpu_s"] + (COPIES - 1) * (sending["cpu_s"] + writing["cpu_s"])
        return {"cpu_s": cpu_s, **parts, **{key: made[key] for key in ("bytes", "foreign", "generator_bound") if key in made},
                "loaded_mb": made["loaded_mb"] + writing["loaded_mb"]}
