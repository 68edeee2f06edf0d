"""Workloads of one broker next to the floor: produce, consume, latency. Their shape is in the options."""
import cells
import load_runner
from figures import ANSWERS, COSTS, RATES, REST
from floors import Floor
from kafka_peer import Kafka
from machine import prewarm
from peers import Brokers


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
        return self.peers[name](self.options, folder)

    def run(self, peer):
        prewarm(self.options.mb * 1.3 + self.warm_mb)
        topic = peer.new_topic(self.options.partitions)
        report = self.measure(peer, topic)
        peer.drop_topic(topic)
        return report


class Produce(Stream):
    name = "produce"
    text = "a closed loop: --depth requests under way on each of --connections; all is read back, unmeasured"
    figures = RATES + COSTS + ANSWERS + REST

    def measure(self, peer, topic):
        made = load_runner.measured(self.options, "produce", peer, port=peer.port, topic=topic,
                                    requests=self.options.requests, **self.shape())
        cells.compare(peer.name, made, load_runner.load(self.options, "consume", peer.name, port=peer.port, topic=topic,
                                                        partitions=self.options.partitions))
        return made


class Consume(Stream):
    name = "consume"
    text = "reads what was produced before, from start to end"
    figures = Produce.figures

    def __init__(self, options):
        """Else some partitions would be read more often than others, and nobody could say whether all was read."""
        super().__init__(options)
        if options.connections > options.partitions and options.connections % options.partitions != 0:
            raise SystemExit(f"{options.connections} connections cannot share out {options.partitions} partitions: as many, "
                             "fewer, or a multiple of them can")

    def measure(self, peer, topic):
        shape = self.shape()
        made = load_runner.load(self.options, "produce", peer.name, port=peer.port, topic=topic,
                                requests=self.options.requests, **{**shape, "connections": 1, "acks": 1, "depth": 5})
        report = load_runner.measured(self.options, "consume", peer, port=peer.port, topic=topic, **shape)
        readers = max(1, self.options.connections // self.options.partitions)  # of each partition
        cells.compare(peer.name, made, report, readers)
        return report


class Latency(Stream):
    name = "latency"
    open_loop = True
    text = "an open loop: --rate batches a second whether or not answers come, read back by long poll"
    figures = COSTS + ANSWERS + REST

    def describe(self):
        o = self.options
        return (f"batches of {o.records} x {o.record_bytes} B, {o.partitions} partitions, acks {o.acks}, "
                f"{o.rate} batches/s for {o.seconds:g} s")

    def measure(self, peer, topic):
        return load_runner.measured(self.options, "latency", peer, port=peer.port, topic=topic, rate=self.options.rate,
                                    seconds=self.options.seconds, **self.shape())
