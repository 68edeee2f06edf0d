"""What a client that is not ours makes of it (P2): librdkafka, with its own defaults, produces small records, and every
one is read back. A run goes through cells: record size, compression, acks; a workload each for one broker and for three.
"""
import json
import os
import subprocess

import cells
import load_runner
import machine
import usage
from floors import Floor, FloorThree
from kafka_peer import Kafka, KafkaThree
from machine import MB, prewarm
from peers import Brokers, Three
from report import Figure

LOAD_TIMEOUT_S = 300
PARTITIONS = 6
COMPRESSED_MAX = 0.9  # the values are text
SMALL = "<= 0.05; kafka <= 0.125"


class Cell:
    def __init__(self, record_bytes, codec, acks, cpu_goal=None, raw_goal=None):
        self.record_bytes, self.codec, self.acks = record_bytes, codec, acks
        self.name = f"{record_bytes}-{codec}-{acks}"
        self.cpu_goal, self.raw_goal = cpu_goal, raw_goal

    def figures(self):
        def of(make):
            return lambda report, name=self.name: make(report["cells"][name])

        yield Figure(f"{self.name}-messages_s", f"{self.name}: messages", "/s", of(lambda r: r["records"] / r["seconds"]),
                     "kafka >= 1; floor >= 0.95", main=True, group="messages", label=self.name)
        yield Figure(f"{self.name}-cpu_us", f"{self.name}: CPU per message", "us",
                     of(lambda r: r["cpu_s"] / r["records"] * 1e6), self.cpu_goal, main=True, group="CPU per message",
                     label=self.name)
        yield Figure(f"{self.name}-cpu_per_gb", f"{self.name}: CPU per raw GB", "s",
                     of(lambda r: r["cpu_s"] / r["bytes"] * 1e9), self.raw_goal)
        yield Figure(f"{self.name}-client", f"{self.name}: client's busiest thread", "",
                     of(lambda r: r["generator_core"]))
        yield Figure(f"{self.name}-disk_per_byte", f"{self.name}: bytes to disk per raw byte", "",
                     of(lambda r: r["disk_bytes"] / r["bytes"]))
        yield Figure(f"{self.name}-loaded_mb", f"{self.name}: resident, a broker", "MB", of(lambda r: r["each_mb"]),
                     "<= 64")


def run_load(options, who, mode, **words):
    """Run bench_rdkafka to its end; its report. Any loss, refusal or disorder ends the program."""
    line = [os.path.join(options.build, "bench", "bench_rdkafka"), mode]
    line += [word for key, value in words.items() for word in ("--" + key.replace("_", "-"), str(value))]
    if not os.access(line[0], os.X_OK):
        raise SystemExit(f"bench: no {line[0]}: it is built where librdkafka-dev is installed (scripts/deps bench)")
    done = subprocess.run(line, capture_output=True, text=True, timeout=LOAD_TIMEOUT_S, check=False,
                          preexec_fn=machine.end_with_parent)
    if done.returncode != 0:
        raise SystemExit(f"bench: {who}: {mode} through librdkafka failed\n{done.stderr}")
    return json.loads(done.stdout)


def check_compressed(who, codec, report, replicas):
    """Where librdkafka takes a broker for too old it compresses nothing, and at most a line of its log says so. It cannot
    be seen where the kernel does not say what is written."""
    if codec != "none" and report.get("disk_bytes", 0) > COMPRESSED_MAX * report["bytes"] * replicas:
        raise SystemExit(f"bench: {who}: what was to be compressed with {codec} is not: {report['disk_bytes']} bytes were"
                         f" written for {report['bytes']}")


def run_cells(options, peer, wanted, share, replicas, acks=None):
    """A run's report: every cell with this share of the options' megabytes. acks: instead of the cells' own."""
    reports = {cell.name: run_cell(options, peer, cell, options.mb * share, replicas, acks or cell.acks) for cell in wanted}
    return cells.together(reports, ("cpu_s", "records", "bytes"))


def run_cell(options, peer, cell, mb, replicas, acks):
    prewarm(mb * replicas * 1.3 + 500)
    topic = peer.new_topic(PARTITIONS, replicas)
    servers = ",".join("127.0.0.1:" + pair.split("=")[1] for pair in peer.bootstrap.split(","))
    common = {"brokers": servers, "topic": topic, "partitions": PARTITIONS}
    with usage.Window(peer) as window:
        report = window.finish(run_load(options, peer.name, "produce", records=int(mb * MB / cell.record_bytes),
                                        record_bytes=cell.record_bytes, codec=cell.codec, acks=acks, **common))
    cells.compare(peer.name, report, run_load(options, peer.name, "consume", expected=report["records"], **common))
    peer.drop_topic(topic)
    check_compressed(peer.name, cell.codec, report, replicas)
    report["generator_bound"] = report["generator_core"] > load_runner.GENERATOR_BOUND
    report["each_mb"] = report["loaded_mb"] / len(peer.pids)
    return report


class Neutral(cells.Workload):
    name = "neutral"
    warm_run = False
    text = "P2: librdkafka produces 100-byte and 1 KB records, none and lz4 (and zstd), acks=1 and all, to one broker"
    peers = {"barnabas": Brokers, "kafka": Kafka, "floor": Floor}
    config, replicas = {}, 1
    cells = [Cell(100, "none", "1", SMALL), Cell(100, "none", "all", SMALL),
             Cell(100, "lz4", "1"), Cell(100, "lz4", "all"), Cell(1000, "none", "1"), Cell(1000, "none", "all"),
             Cell(1000, "lz4", "1"), Cell(1000, "lz4", "all"), Cell(100, "zstd", "1", raw_goal="<= 0.08")]
    share = 0.2  # of --mb, for each cell

    def describe(self):
        return (f"{self.options.mb * self.share:g} MB of values in each cell, {PARTITIONS} partitions of {self.replicas} "
                f"replicas, librdkafka's defaults; cells: record bytes, compression, acks")

    def open(self, name, folder):
        return self.peers[name](self.options, folder, *([self.config] if name != "floor" else []))

    def run(self, peer):
        return run_cells(self.options, peer, self.wanted, self.share, self.replicas)


class NeutralThree(Neutral):
    name = "neutral3"
    text = "P2: the same to three brokers, three replicas, minimum ISR 2"
    peers = {"barnabas": Three, "kafka": KafkaThree, "floor": FloorThree}
    config, replicas = {"min.insync.replicas": "2"}, 3
    cells = [Cell(one.record_bytes, one.codec, one.acks) for one in Neutral.cells]
    share = 0.1
