"""Workloads of one broker next to the floor: produce, consume, latency. Their shape is in the options."""
import time

import load_runner
from kafka_peer import Kafka
from machine import MB, prewarm
from peers import Brokers, Floor
from report import Figure

ANSWERS = [Figure(f"{key}_{which}", f"{title} {which}", "us", lambda r, k=key, w=which: r[k][w])
           for key, title in (("answer_us", "answer"), ("end_to_end_us", "end to end"))
           for which in ("p50", "p99", "p99.9", "max")]
COSTS = [
    Figure("cpu_per_gb", "CPU per GB", "s", lambda r: r["cpu_s"] / r["bytes"] * 1e9),
    Figure("cpu_per_message", "CPU per million messages", "s", lambda r: r["cpu_s"] / r["records"] * 1e6),
    Figure("cpu_per_request", "CPU per request", "us", lambda r: r["cpu_s"] / r["requests"] * 1e6),
    Figure("switches", "context switches per request", "", lambda r: r["switches"] / r["requests"]),
]
RATES = [
    Figure("mb_s", "throughput", "MB/s", lambda r: r["bytes"] / r["seconds"] / MB),
    Figure("messages_s", "messages", "/s", lambda r: r["records"] / r["seconds"]),
    Figure("requests_s", "requests", "/s", lambda r: r["requests"] / r["seconds"]),
]
REST = [
    Figure("loaded_mb", "resident, loaded", "MB", lambda r: r["loaded_mb"]),
    Figure("generator_core", "generator's share of a core", "", lambda r: r["generator_core"]),
]


class Stream:
    """One peer each, open for all runs; a fresh topic and touched memory for each."""

    peers = {"barnabas": Brokers, "kafka": Kafka, "floor": Floor}
    warm_mb = 500

    def __init__(self, options):
        self.options = options

    def shape(self):
        o = self.options
        return {"partitions": o.partitions, "connections": o.connections, "depth": o.depth, "acks": o.acks,
                "records": o.records, "record_bytes": o.record_bytes, "fetch_bytes": o.fetch_bytes}

    def describe(self):
        o = self.options
        return (f"batches of {o.records} x {o.record_bytes} B, {o.connections} connections, {o.partitions} partitions, "
                f"acks {o.acks}, {o.requests} requests a run")

    def open(self, name, folder):
        """The peer, after as many runs that do not count as it takes to warm up."""
        peer = self.peers[name](self.options, folder)
        end = time.monotonic() + peer.warm_s
        while time.monotonic() < end:
            self.run(peer)
        return peer

    def run(self, peer):
        prewarm(self.options.mb * 1.3 + self.warm_mb)
        topic = peer.new_topic(self.options.partitions)
        report = self.measure(peer, topic)
        peer.drop_topic(topic)
        return report


class Produce(Stream):
    name = "produce"
    text = "a closed loop: --depth requests under way on each of --connections"
    figures = RATES + COSTS + ANSWERS + REST

    def measure(self, peer, topic):
        return load_runner.measured(self.options, "produce", peer, port=peer.port, topic=topic,
                                    requests=self.options.requests, **self.shape())


class Consume(Stream):
    name = "consume"
    text = "reads what was produced before, from start to end"
    figures = Produce.figures

    def measure(self, peer, topic):
        shape = self.shape()
        made = load_runner.load(self.options, "produce", peer.name, port=peer.port, topic=topic,
                                requests=self.options.requests, **{**shape, "connections": 1, "acks": 1, "depth": 5})
        report = load_runner.measured(self.options, "consume", peer, port=peer.port, topic=topic, **shape)
        self.compare(peer, made, report)
        return report

    def compare(self, peer, made, read):
        """Every reader of a partition must have read what was produced, and nothing else."""
        copies = max(1, self.options.connections // self.options.partitions)
        for key in ("records", "bytes", "checksum"):
            if read[key] != made[key] * copies % 2**64:
                raise SystemExit(f"bench: {peer.name}: {key} read is {read[key]}, produced {made[key]} x {copies}")


class Latency(Stream):
    name = "latency"
    text = "an open loop: --rate batches a second whether or not answers come, read back by long poll"
    figures = COSTS + ANSWERS + REST

    def describe(self):
        o = self.options
        return (f"batches of {o.records} x {o.record_bytes} B, {o.partitions} partitions, acks {o.acks}, "
                f"{o.rate} batches/s for {o.seconds:g} s")

    def measure(self, peer, topic):
        return load_runner.measured(self.options, "latency", peer, port=peer.port, topic=topic, rate=self.options.rate,
                                    seconds=self.options.seconds, **self.shape())
