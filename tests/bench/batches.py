"""P1: large batches over one connection, next to the floor. A broker's cost per byte: receive, check, write."""
import cells
import load_runner
from figures import REST
from floors import Floor
from kafka_peer import Kafka
from machine import prewarm
from peers import Brokers

KIB, MIB = 1 << 10, 1 << 20
DEPTH = 5
MIB_GOAL, KIB_GOAL = "floor <= 1.25; kafka <= 0.333", "floor <= 1.5; kafka <= 0.333"


class Batches(cells.Workload):
    """Everything is read back after each cell, outside of its figures."""

    name = "p1"
    text = "P1: one connection, 1 MiB and 64 KiB batches of 1 KB records, one partition and sixteen, acks=1"
    peers = {"barnabas": Brokers, "kafka": Kafka, "floor": Floor}
    cells = [cells.Cell("1m-1", MIB, 1, MIB_GOAL), cells.Cell("1m-16", MIB, 16, MIB_GOAL),
             cells.Cell("64k-1", 64 * KIB, 1, KIB_GOAL), cells.Cell("64k-16", 64 * KIB, 16, KIB_GOAL)]
    of_run = REST[:2]

    def describe(self):
        return (f"{self.options.mb} MB of each cell, one connection with {DEPTH} requests under way, records of 1000 B, "
                "acks 1")

    def open(self, name, folder):
        return self.peers[name](self.options, folder)

    def run(self, peer):
        return cells.together({cell.name: self.measure(peer, cell) for cell in self.wanted})

    def measure(self, peer, cell):
        options = self.options
        prewarm(options.mb * 1.3 + 500)
        topic = peer.new_topic(cell.partitions)
        made = load_runner.measured(options, "produce", peer, port=peer.port, topic=topic, connections=1, depth=DEPTH,
                                    acks=1, **cell.load(options))
        read = load_runner.load(options, "consume", peer.name, port=peer.port, topic=topic, partitions=cell.partitions)
        cells.compare(peer.name, made, read)
        peer.drop_topic(topic)
        return made
