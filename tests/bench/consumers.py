"""Workloads of those who read: at the end of the log, in long polls, from a cold disk; and of mere connections."""
import json
import os
import subprocess
import time

import cells
import load_runner
import machine
import usage
from figures import ANSWERS, COSTS, RATES, REST
from floors import Floor, FloorApart
from kafka_peer import Kafka
from machine import MB, prewarm
from peers import Brokers
from report import Figure

BLOCK = 1 << 20
IDLE_S = 10
PROBES = [Figure(f"{key}_{which}", f"{title} {which}", "us", lambda r, k=key, w=which: r[k][w], group="probe", label=f"{key} {which}")
          for key, title in (("probe_alone_us", "probe alone"), ("probe_idle_us", "probe, others idle"),
                             ("probe_active_us", "probe, others active"))
          for which in ("p50", "p99")]


class Reading:
    """One peer each; a subclass says what a run is."""

    peers = {"barnabas": Brokers, "kafka": Kafka}

    def __init__(self, options):
        self.options = options
        self.adjust(options)

    def adjust(self, options):
        """The workload's own shape, where it has one."""

    def open(self, name, folder):
        return self.peers[name](self.options, folder)

    def words(self, **more):
        o = self.options
        return {"partitions": o.partitions, "connections": o.connections, "acks": o.acks, "records": o.records,
                "record_bytes": o.record_bytes, "fetch_bytes": o.fetch_bytes, "rate": o.rate, "seconds": o.seconds, **more}


class Tail(Reading):
    peers = {**Reading.peers, "floor": Floor}
    name = "tail"
    text = "F1: one consumer at the end of the log while it is produced, --rate batches a second"
    figures = COSTS + RATES[:1] + ANSWERS + REST
    consumers = 1

    def adjust(self, options):
        options.connections, options.partitions = self.consumers, 1

    def describe(self):
        o = self.options
        return (f"{o.connections} consumers of one partition, {o.rate} batches/s of {o.records} x {o.record_bytes} B "
                f"for {o.seconds:g} s; bytes are those read")

    def run(self, peer):
        prewarm(self.options.rate * self.options.records * self.options.record_bytes * self.options.seconds / MB + 300)
        topic = peer.new_topic(self.options.partitions)
        report = load_runner.measured(self.options, "follow", peer, port=peer.port, topic=topic, **self.words())
        peer.drop_topic(topic)
        return report


class Tail8(Tail):
    name = "tail8"
    text = "F1: the same with eight consumers of the same partition"
    consumers = 8


class Polls(Tail):
    name = "polls"
    text = "F2: 1,000 consumers in long polls over 1,000 partitions, --rate records a second"
    figures = [Figure("core", "CPU, share of a core", "%", lambda r: r["cpu_s"] / r["seconds"] * 100, main=True,
                      goal="kafka <= 0.2"),
               Figure("cpu_per_record", "CPU per record", "us", lambda r: r["cpu_s"] / r["records"] * 1e6, main=True),
               *COSTS[2:], *ANSWERS, *REST]
    consumers, quick_consumers = 1000, 200

    def adjust(self, options):
        count = self.quick_consumers if options.quick else self.consumers
        options.connections = options.partitions = count
        options.records, options.record_bytes = 1, 100

    def describe(self):
        o = self.options
        return (f"{o.connections} consumers of {o.partitions} partitions, {o.rate} records/s of {o.record_bytes} B for "
                f"{o.seconds:g} s, fetch.max.wait.ms 500")


class Cold(Reading):
    """The topic's files are dropped from the page cache before each reading, as often as --seconds allow, and read by
    nobody but the broker; beside it a producer of 20 MB/s into another topic, whose answers tell whether it was held up.
    The same producer alone is the quiet one. The disk's rate is that of reading the same files, dropped before, in one
    go. The floor is two processes, one for the reader and one for the producer: what its producer loses, it loses to
    those who share the machine's cores, the load's reader first of all."""
    peers = {**Reading.peers, "floor": FloorApart}
    name = "cold"
    text = "F1: consume from a cold disk, beside a producer of 20 MB/s in another topic"
    figures = [
        Figure("mb_s", "cold reading", "MB/s", lambda r: r["bytes"] / r["seconds"] / MB, main=True),
        Figure("disk_mb_s", "the disk, read in one go", "MB/s", lambda r: r["disk_mb_s"]),
        Figure("of_disk", "cold reading to disk", "", lambda r: r["bytes"] / r["seconds"] / MB / r["disk_mb_s"], main=True,
               goal=">= 0.85"),
        Figure("quiet_p99", "producer alone, answer p99", "us", lambda r: r["quiet"]["p99"]),
        Figure("beside_p99", "producer beside it, answer p99", "us", lambda r: r["beside"]["p99"]),
        Figure("p99_ratio", "producer's p99, beside to alone", "", lambda r: r["beside"]["p99"] / r["quiet"]["p99"],
               main=True, goal="<= 1.5"),
        Figure("beside_max", "producer beside it, answer max", "us", lambda r: r["beside"]["max"]),
        Figure("late_p99", "that the load itself sent it late, p99", "us", lambda r: r["late"]["p99"]),
        Figure("reading", "share of its time that reading went on", "", lambda r: r["reading_share"]),
        Figure("cpu_per_gb", "CPU per GB, the producer's with it", "s", lambda r: r["cpu_s"] / r["bytes"] * 1e9),
    ]
    rate, record_bytes, records = 1250, 1000, 16  # 20 MB/s, with enough batches for a 99th percentile

    def describe(self):
        o = self.options
        return (f"{o.mb} MB, read again and again for {o.seconds:g} s in fetches of {o.fetch_bytes} B; beside it "
                f"{self.rate} batches/s of {self.records} x {self.record_bytes} B")

    def producer(self, port, topic):
        return {"port": port, "topic": topic, "rate": self.rate, "seconds": self.options.seconds, "records": self.records,
                "record-bytes": self.record_bytes}

    def run(self, peer):
        o = self.options
        prewarm(o.mb * 1.3 + 500)
        beside = getattr(peer, "beside", peer)
        topic, other = peer.new_topic(1), beside.new_topic(1)
        made = load_runner.load(o, "produce", peer.name, port=peer.port, topic=topic, requests=o.requests,
                                **{"records": o.records, "record_bytes": o.record_bytes})
        files = on_disk(peer.log_files(topic))
        report = {"disk_mb_s": disk_rate(files)}
        words = {key.replace("-", "_"): value for key, value in self.producer(beside.port, other).items()}
        report["quiet"] = load_runner.load(o, "latency", peer.name, **words)["answer_us"]
        report.update(self.read_cold(peer, topic, self.producer(beside.port, other), files, made))
        peer.drop_topic(topic)
        beside.drop_topic(other)
        return report

    def read_cold(self, peer, topic, producer, files, made):
        o = self.options
        drop_cached(files)
        producer = subprocess.Popen(load_runner.command(o, "latency", producer), stdout=subprocess.PIPE,
                                    stderr=subprocess.PIPE, text=True, preexec_fn=machine.end_with_parent)
        begin, total = time.monotonic(), {"bytes": 0, "seconds": 0.0, "records": 0, "requests": 0, "generator_bound": 0}
        try:
            with usage.Window(peer, also=[producer.pid]) as window:
                while total["requests"] == 0 or time.monotonic() - begin < o.seconds:
                    read = load_runner.load(o, "consume", peer.name, port=peer.port, topic=topic, fetch_bytes=o.fetch_bytes)
                    cells.compare(peer.name, made, read)
                    total = {key: value + read[key] for key, value in total.items()}
                    drop_cached(files)
                window.finish(total)
            out, err = producer.communicate(timeout=load_runner.LOAD_TIMEOUT_S)
        finally:
            producer.kill()
        if producer.returncode != 0:
            raise SystemExit(f"bench: {peer.name}: latency failed\n{err}")
        beside = json.loads(out)
        bound = total["generator_bound"] > 0 or beside["generator_core"] > load_runner.GENERATOR_BOUND
        return {**total, "beside": beside["answer_us"], "late": beside["late_us"], "generator_bound": bound,
                "reading_share": total["seconds"] / o.seconds}


def on_disk(paths):
    """The same, synced."""
    for path in paths:
        with open(path, "rb") as file:
            os.fsync(file.fileno())
    return paths


def drop_cached(paths):
    """Out of the page cache; what is dirty cannot be, so they must have been synced."""
    for path in paths:
        with open(path, "rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def disk_rate(paths):
    """MB/s of reading them one after the other, from the disk."""
    buffer = bytearray(BLOCK)
    drop_cached(paths)
    total, begin = 0, time.monotonic()
    for path in paths:
        with open(path, "rb", buffering=0) as file:
            while got := file.readinto(buffer):
                total += got
    return total / (time.monotonic() - begin) / MB


class Crowd(Reading):
    name = "crowd"
    text = "S2: 10,000 idle connections, and 1,000 active among them: memory, wake-ups, times of a probe"
    figures = [
        Figure("kb_each", "memory of an idle connection", "KB", lambda r: r["kb_each"], main=True, goal="<= 0.5"),
        Figure("resident_mb", "resident, with all of them idle", "MB", lambda r: r["open_mb"], main=True),
        Figure("alone_wakes", "wake-ups a second, nobody there", "", lambda r: r["alone_wakes"]),
        Figure("idle_wakes", "wake-ups a second, all idle", "", lambda r: r["idle_wakes"], main=True),
        Figure("idle_cpu", "CPU of a second, all idle", "ms", lambda r: r["idle_cpu_ms"]),
        *PROBES,
        Figure("probe_ratio", "probe's p99, others idle to alone", "",
               lambda r: r["probe_idle_us"]["p99"] / r["probe_alone_us"]["p99"]),
        *ANSWERS[:4], *COSTS[2:], *REST]
    count, active, quick_count = 10000, 1000, 1000
    warm_run = False  # whoever has had 10,000 connections before has memory for them

    def adjust(self, options):
        options.connections, options.active = (self.quick_count, 100) if options.quick else (self.count, self.active)
        options.partitions = 10
        options.records, options.record_bytes = 1, 100
        options.rate = max(options.rate, options.active)  # each of them at least once a second

    def describe(self):
        o = self.options
        return (f"{o.connections} connections; {o.active} of them send {o.rate} batches/s of {o.records} x {o.record_bytes} B "
                f"in all, acks {o.acks}; a probe of 200 batches/s; {o.seconds:g} s each")

    def run(self, peer):
        topic = peer.new_topic(self.options.partitions)
        words = {"port": peer.port, "topic": topic, "active": self.options.active,
                 **{key.replace("_", "-"): value for key, value in self.words().items()}}
        process = subprocess.Popen(load_runner.command(self.options, "crowd", words), stdin=subprocess.PIPE, text=True,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=machine.end_with_parent)
        try:
            report = self.measure(peer, process)
        finally:
            process.kill()
            process.communicate()
        self.check(peer, topic, report)
        peer.drop_topic(topic)
        return report

    def check(self, peer, topic, report):
        """All that was sent is there, by the probe as well, in the seconds that are not measured too."""
        cells.compare(peer.name, report["all"], load_runner.load(self.options, "consume", peer.name, port=peer.port,
                                                                 topic=topic, partitions=self.options.partitions))

    def measure(self, peer, process):
        self.next_line(process, "ready")
        alone = self.idle(peer)
        self.go_on(process)
        self.next_line(process, "open")
        opened, idle = sum(map(anonymous_kb, peer.pids)), self.idle(peer)
        open_mb = sum(map(machine.resident_mb, peer.pids))
        self.go_on(process)
        self.next_line(process, "probed")
        with usage.Window(peer, also=[process.pid]) as window:
            self.go_on(process)
            report = json.loads(self.next_line(process))
            window.finish(report)
        return {**report, "kb_each": (opened - alone["kb"]) / self.options.connections, "open_mb": open_mb,
                "alone_wakes": alone["wakes"], "idle_wakes": idle["wakes"], "idle_cpu_ms": idle["cpu_ms"],
                "generator_bound": report["generator_core"] > load_runner.GENERATOR_BOUND}

    def idle(self, peer):
        """What it does and has while nobody asks for anything."""
        seconds = 2 if self.options.quick else IDLE_S
        time.sleep(seconds)  # what opening and writing left to be done later is done
        wakes, cpu = usage.switches(peer.pids), sum(map(machine.cpu_seconds, peer.pids))
        time.sleep(seconds)
        return {"wakes": (usage.switches(peer.pids) - wakes) / seconds, "kb": sum(map(anonymous_kb, peer.pids)),
                "cpu_ms": (sum(map(machine.cpu_seconds, peer.pids)) - cpu) / seconds * 1e3}

    def next_line(self, process, wanted=None):
        line = process.stdout.readline().strip()
        if not line or (wanted and line != wanted):
            raise SystemExit(f"bench: crowd: {line}{process.communicate(input='')[1]}")
        return line

    def go_on(self, process):
        process.stdin.write("\n")
        process.stdin.flush()


def anonymous_kb(pid):
    """Memory of its own: no files, no code."""
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("RssAnon"))
