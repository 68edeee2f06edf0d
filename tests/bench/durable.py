"""Flush mode (D1): flush.messages=1, nothing is acknowledged that is not on the disk. What it costs, and how long it takes.

What flush mode is compared with only stays in memory until the kernel must write it: a run is over before it does. Where
writing does not end the disk holds up both. So there are two rates: what producers see while memory takes it, and "to the
disk", which counts until all of it is there. The floor in flush mode is the group commit that there must be (floor/flush.c):
what it reaches, the disk allows.
"""
import os
import time

import cells
import latencies
import load_runner
import machine
import usage
from figures import REST
from floors import Floor
from kafka_peer import Kafka
from peers import Brokers, Renamed

FLUSH = {"flush.messages": "1"}
BATCH_BYTES = 64 << 10
# A group commit lives on what is under way: 40 MB, of which the disk has half at a time. With 10 MB of 16 partitions the
# disk gets pieces of 300 KB, and a journal's commit for every 5 MB.
CONNECTIONS, DEPTH = 128, 5


class Cell(cells.Cell):
    def __init__(self, partitions, goal=None):
        super().__init__(str(partitions), BATCH_BYTES, partitions, None)
        self.rate_goal = goal

    def figures(self):
        yield self.figure("mb_s", "acknowledged", "MB/s", lambda r: r["bytes"] / r["seconds"] / 1e6, self.rate_goal, main=True)
        yield self.figure("disk_mb_s", "to the disk", "MB/s", lambda r: r["bytes"] / (r["seconds"] + r["rest_s"]) / 1e6,
                          self.rate_goal, main=True)
        yield self.figure("kernel_per_gb", "the kernel's threads, CPU per GB", "s", lambda r: r["kernel_cpu_s"] / r["bytes"] * 1e9)
        yield from (figure for figure in super().figures() if not figure.key.endswith("-mb_s"))


class Flush(cells.Workload):
    """Everything is read back after each cell, outside of its figures."""

    name = "d1"
    text = "D1: flush mode on and off, 64 KiB batches, 1, 16 and 256 partitions, and the least group commit there can be"
    peers = {"flushed": Brokers, "unflushed": Brokers, "floor": Floor, "kafka": Kafka}
    cells = [Cell(1), Cell(16, "unflushed >= 0.6; floor >= 0.9"), Cell(256)]
    of_run = REST[:2]

    def describe(self):
        return (f"{self.options.mb} MB of each cell, {CONNECTIONS} connections with {DEPTH} requests under way, records of "
                "1000 B, acks 1; all but unflushed in flush mode")

    def open(self, name, folder):
        place = os.path.join(folder, name)
        peer = Renamed(self.peers[name](self.options, place), name)
        peer.place = place
        return peer

    def run(self, peer):
        return cells.together({cell.name: self.measure(peer, cell) for cell in self.wanted})

    def measure(self, peer, cell):
        options = self.options
        machine.prewarm(options.mb * 1.3 + 500)
        topic = peer.new_topic(cell.partitions, 1, FLUSH if peer.name != "unflushed" else None)
        machine.sync_disk(peer.place)  # what earlier runs left, their files' deletion too, is not part of this one
        with usage.Window(peer) as window:
            made = load_runner.load(options, "produce", peer.name, port=peer.port, topic=topic, connections=CONNECTIONS,
                                    depth=DEPTH, acks=1, **cell.load(options))
            begin = time.monotonic()
            machine.sync_disk(peer.place)
            made["rest_s"] = time.monotonic() - begin
            window.finish(made)
        read = load_runner.load(options, "consume", peer.name, port=peer.port, topic=topic, partitions=cell.partitions)
        cells.compare(peer.name, made, read)
        peer.drop_topic(topic)
        return made


class FlushLatency(latencies.Latencies):
    name = "d1-latency"
    text = "D1: 20,000 small requests/s in flush mode, so that 100 partitions are dirty; and one partition, one at a time"
    peers = {"barnabas": Brokers, "floor": Floor, "kafka": Kafka}
    config, replicas, acks = {}, 1, 1
    topic_config = FLUSH
    cells = [latencies.Rate("100", 20000, {("answer_us", "p50"): "<= 3000", ("answer_us", "p99"): "<= 8000"}, partitions=100,
                            connections=100),
             latencies.OneByOne("one", {("answer_us", "p50"): "<= 400"}, records=1, record_bytes=1000)]

    def describe(self):
        return super().describe() + "; flush.messages=1, 100 partitions by 100 connections, and one"
