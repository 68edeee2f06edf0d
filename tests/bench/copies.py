"""What three copies cost a producer: the throughput of acks=all with three replicas next to that of acks=1 with one.

Two loads. `copies` and `copies-1` send batches that were made before, as fast as memory is: all of the machine is the
brokers', and so the ratio is that of their processor time; the floor's own says what two cores can give. `copies-client`
is what a user of the same machine sees: librdkafka makes the records, and needs its share of the cores with either.
"""
import os

import cells
import figures
import load_runner
import neutral
from clusters import CONFIG
from floors import Floor, FloorThree
from kafka_peer import Kafka, KafkaThree
from machine import MB, prewarm
from peers import Brokers, Renamed, Three
from report import Figure

COPIES = 3
GOAL = "one >= 0.5"


def replicas(peer):
    return COPIES if peer.name.endswith("three") else 1


class Copies:
    name = "copies"
    text = "throughput of acks=all with three replicas next to that of acks=1 with one, the same requests under way"
    peers = {"three": Three, "one": Brokers, "floor-three": FloorThree, "floor-one": Floor}
    warms = False
    partitions = 12
    leaders = 3  # with a connection to each

    def __init__(self, options):
        self.options = options
        self.figures = [Figure("mb_s", "throughput", "MB/s", lambda r: r["bytes"] / r["seconds"] / MB, GOAL, main=True),
                        *figures.COSTS, *figures.ANSWERS[:4], *figures.REST]

    def describe(self):
        o = self.options
        return f"batches of {o.records} x {o.record_bytes} B, {self.partitions} partitions, depth {o.depth}, {o.requests} requests"

    def open(self, name, folder):
        made = self.peers[name]
        config = [] if issubclass(made, Floor) else [CONFIG]
        return Renamed(made(self.options, os.path.join(folder, name), *config), name)

    def run(self, peer):
        """Three brokers lead a third of the partitions each; of the floor's, as of one broker, one leads all."""
        o = self.options
        prewarm(o.mb * replicas(peer) * 1.2 + 500)
        topic = peer.new_topic(self.partitions, replicas(peer))
        report = load_runner.measured(o, "produce", peer, brokers=peer.bootstrap, topic=topic,
                                      partitions=self.partitions, requests=o.requests, records=o.records,
                                      record_bytes=o.record_bytes, depth=o.depth, acks=1 if replicas(peer) == 1 else -1,
                                      connections=1 if peer.name == "three" else self.leaders)
        cells.compare(peer.name, report, load_runner.load(o, "consume", peer.name, brokers=peer.bootstrap, topic=topic,
                                                          partitions=self.partitions))
        peer.drop_topic(topic)
        return report


class CopiesOfOne(Copies):
    name = "copies-1"
    text = "the same of one partition, with one connection"
    partitions = 1
    leaders = 1


class Cell(neutral.Cell):
    """Acks are the peer's, not the cell's."""

    def __init__(self, record_bytes, codec):
        super().__init__(record_bytes, codec, acks=None)
        self.name = f"{record_bytes}-{codec}"

    def figures(self):
        for one in super().figures():
            if one.key.endswith("-messages_s"):
                one.goal = GOAL
            if not one.key.endswith("-cpu_per_gb"):
                yield one


class CopiesOfClient(cells.Workload, Copies):
    name = "copies-client"
    text = "the same through librdkafka with its defaults: 100-byte and 1 KB records, none, lz4 and zstd"
    peers = {**Copies.peers, "kafka-three": KafkaThree, "kafka-one": Kafka}
    warms, warm_run = True, False
    cells = [Cell(100, "none"), Cell(100, "lz4"), Cell(100, "zstd"), Cell(1000, "none"), Cell(1000, "lz4")]
    share = 0.3  # of --mb, for each cell

    def describe(self):
        return (f"{self.options.mb * self.share:g} MB of values in each cell, {neutral.PARTITIONS} partitions, librdkafka's"
                " defaults; cells: record bytes, compression")

    def run(self, peer):
        acks = "1" if replicas(peer) == 1 else "all"
        return neutral.run_cells(self.options, peer, self.wanted, self.share, replicas(peer), acks)
