"""What Kafka's own performance tools make of it (P2): kafka-producer-perf-test and kafka-consumer-perf-test, with their
defaults (acks=all, an idempotent producer), against any peer. They are there where Kafka is: see kafka_peer.py.
"""
import os
import re
import subprocess
import time

import kafka_peer
import machine
import usage
from machine import prewarm
from peers import Brokers
from report import Figure

TOOL_TIMEOUT_S = 280
PARTITIONS = 6
SENT = re.compile(r"^(\d+) records sent, ([\d.]+) records/sec .*?([\d.]+) ms 50th, [\d.]+ ms 95th, ([\d.]+) ms 99th, "
                  r"([\d.]+) ms 99.9th", re.MULTILINE)
COLUMN_MESSAGES, COLUMN_RATE, COLUMNS = 4, 5, 10


def run_tool(name, *words):
    """(what it printed, how many cores it used of the time that it took)"""
    begin, before = time.monotonic(), usage.own_seconds()
    command = ["java", "-Xmx512M", "-cp", kafka_peer.class_path(), "org.apache.kafka.tools." + name, *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TOOL_TIMEOUT_S, check=False,
                          preexec_fn=machine.end_with_parent)
    if done.returncode != 0 or "Exception" in done.stdout + done.stderr:
        raise SystemExit(f"bench: {name}: {done.stdout[-1500:]}{done.stderr[-1500:]}")
    return done.stdout, (usage.own_seconds() - before) / (time.monotonic() - begin)


def parse_sent(text, count):
    """The last summary, which is that of the whole run."""
    found = SENT.findall(text)
    if not found or int(found[-1][0]) != count:
        raise SystemExit(f"bench: ProducerPerformance did not send {count} records: {text[-500:]}")
    _, rate, *percentiles = map(float, found[-1])
    return {"messages_s": rate, "answer_ms": dict(zip(("p50", "p99", "p99.9"), percentiles))}


def parse_read(text, count):
    rows = [line.split(", ") for line in text.splitlines() if line.count(", ") == COLUMNS - 1]
    if not rows or int(rows[-1][COLUMN_MESSAGES]) != count:
        raise SystemExit(f"bench: ConsumerPerformance did not read {count} records: {text[-500:]}")
    return {"messages_s": float(rows[-1][COLUMN_RATE])}


class Tools:
    name = "javatools"
    text = "P2: Kafka's own kafka-producer-perf-test and kafka-consumer-perf-test, 100-byte records, their defaults"
    peers = {"barnabas": Brokers, "kafka": kafka_peer.Kafka}
    record_bytes = 100
    figures = [
        Figure("sent_s", "sent: messages", "/s", lambda r: r["sent"]["messages_s"], "kafka >= 1", main=True),
        Figure("cpu_per_message", "sent: CPU per million messages", "s", lambda r: r["cpu_s"] / r["records"] * 1e6,
               "kafka <= 0.125", main=True),
        *[Figure(f"answer_{which}", f"sent: answer {which}", "ms", lambda r, w=which: r["sent"]["answer_ms"][w])
          for which in ("p50", "p99", "p99.9")],
        Figure("read_s", "read: messages", "/s", lambda r: r["read"]["messages_s"]),
        Figure("read_cpu", "read: CPU per million messages", "s", lambda r: r["read_cpu_s"] / r["records"] * 1e6),
        Figure("loaded_mb", "resident, loaded", "MB", lambda r: r["loaded_mb"], "<= 64"),
        Figure("sent_cores", "sent: cores that the tool itself used", "", lambda r: r["sent_cores"]),
        Figure("read_cores", "read: the same", "", lambda r: r["read_cores"]),
    ]

    def __init__(self, options):
        self.options = options
        self.count = int(options.mb * machine.MB / 5 / self.record_bytes)

    def describe(self):
        return f"{self.count} records of {self.record_bytes} B, {PARTITIONS} partitions"

    def open(self, name, folder):
        if not os.path.isdir(kafka_peer.JARS):
            raise SystemExit("Kafka's tools come with the peer kafka: --peers barnabas,kafka brings them")
        return self.peers[name](self.options, folder)

    def run(self, peer):
        prewarm(self.count * self.record_bytes / machine.MB * 1.3 + 500)
        topic = peer.new_topic(PARTITIONS)
        with usage.Window(peer) as window:
            text, cores = run_tool("ProducerPerformance", "--topic", topic, "--num-records", self.count,
                                   "--record-size", self.record_bytes, "--throughput", -1, "--producer-props",
                                   f"bootstrap.servers={peer.broker.address}")
            report = window.finish({"sent": parse_sent(text, self.count), "sent_cores": cores, "records": self.count,
                                    "bytes": self.count * self.record_bytes})
        there = sum(peer.end_offsets(topic).values())
        if there != self.count:
            raise SystemExit(f"bench: {peer.name}: {there} records are there, {self.count} were sent")
        with usage.Window(peer) as window:
            read, report["read_cores"] = run_tool("ConsumerPerformance", "--bootstrap-server", peer.broker.address,
                                                  "--topic", topic, "--messages", self.count, "--timeout", 60000)
            report["read_cpu_s"] = window.finish({})["cpu_s"]
        report["read"] = parse_read(read, self.count)
        peer.drop_topic(topic)
        return report
