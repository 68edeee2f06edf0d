"""P3: many small producers. What a request costs when there is nothing in it: parsing, a write of 170 bytes, an answer."""
import os

import cells
import load_runner
from figures import ANSWERS, COSTS, REST
from floors import Floor
from kafka_peer import Kafka
from machine import prewarm
from peers import Brokers
from report import Figure

CONNECTIONS, PARTITIONS, RECORD_BYTES = 500, 1000, 100
READERS = 10  # that read everything back
REQUESTS, REQUESTS_QUICK = 500_000, 50_000
TOUCHED_MB = 1000

CPU_PER_REQUEST = Figure("cpu_per_request", "CPU per request", "us", lambda r: r["cpu_s"] / r["requests"] * 1e6,
                         "floor <= 1.5; kafka <= 0.1", main=True)
PER_CORE = Figure("requests_core_s", "requests per second of CPU", "", lambda r: r["requests"] / r["cpu_s"], ">= 170000",
                  main=True)
PER_REQUEST = [one for one in COSTS if one.key in ("switches", "syscalls")]


def requests_per_second(goal=None):
    return Figure("requests_s", "requests", "/s", lambda r: r["requests"] / r["seconds"], goal)


class Small:
    """One topic for all runs of a visit: making a thousand partitions is work of its own. The first run, which does not
    count, opens its files."""

    name = "p3"
    warm_run = False
    text = "P3: 500 connections, one 100-byte record per request, 1,000 partitions, acks=1"
    peers = {"barnabas": Brokers, "kafka": Kafka, "floor": Floor}
    figures = [CPU_PER_REQUEST, PER_CORE, requests_per_second(), *PER_REQUEST, *ANSWERS[:4], *REST]

    def __init__(self, options):
        self.options = options
        self.requests = REQUESTS_QUICK if options.quick else REQUESTS

    def describe(self):
        return (f"{CONNECTIONS} connections, each with one request under way, {PARTITIONS} partitions, acks 1, "
                f"batches of 1 x {RECORD_BYTES} B, {self.requests} requests a run")

    def open(self, name, folder):
        peer = self.make(name, folder)
        peer.topic = peer.new_topic(PARTITIONS)
        peer.made = dict.fromkeys(cells.CHECKED, 0)
        self.measure(peer, REQUESTS_QUICK)
        return peer

    def make(self, name, folder):
        return self.peers[name](self.options, folder)

    def run(self, peer):
        prewarm(TOUCHED_MB)
        report = self.measure(peer, self.requests)
        read = load_runner.load(self.options, "consume", peer.name, port=peer.port, topic=peer.topic, partitions=PARTITIONS,
                                connections=READERS)
        cells.compare(peer.name, peer.made, read)
        return report

    def measure(self, peer, requests):
        report = load_runner.measured(self.options, "produce", peer, port=peer.port, topic=peer.topic, depth=1,
                                      partitions=PARTITIONS, connections=CONNECTIONS, requests=requests, records=1,
                                      record_bytes=RECORD_BYTES, acks=1)
        for key in cells.CHECKED:
            peer.made[key] += report[key]
        return report


def pin(pid, cpus):
    """All threads of a process, and those that they will make."""
    for task in os.listdir(f"/proc/{pid}/task"):
        os.sched_setaffinity(int(task), cpus)


class OneCore(Small):
    """The peer has one processor to itself and the load the other. Barnabas gets one network loop, as it would take by
    itself on a machine of one processor."""

    name = "p3-one-core"
    text = "P3 with the broker on one core of its own"
    figures = [CPU_PER_REQUEST, PER_CORE, requests_per_second(">= 170000"), *Small.figures[3:]]

    def __init__(self, options):
        super().__init__(options)
        self.everywhere = os.sched_getaffinity(0)

    def make(self, name, folder):
        config = {"config": {"num.network.threads": "1"}} if name == "barnabas" else {}
        peer = self.peers[name](self.options, folder, **config)
        for pid in peer.pids:
            pin(pid, {max(self.everywhere)})
        return peer

    def measure(self, peer, requests):
        """The load inherits where this process may run."""
        os.sched_setaffinity(0, self.everywhere - {max(self.everywhere)} or self.everywhere)
        try:
            return super().measure(peer, requests)
        finally:
            os.sched_setaffinity(0, self.everywhere)
