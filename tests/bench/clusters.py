"""Workloads of clusters of three: what happens to producers when a broker dies or stops, what thousands of partitions
cost, how long a broker with data takes to serve again.

"Session end" is when ZooKeeper's list of sessions no longer has the dead broker's: nobody may act before.
"""
import json
import math
import os
import re
import signal
import statistics
import subprocess
import time

import cells
import cluster as cluster_module
import figures
import load_runner
import machine
from kafka_peer import Kafka, KafkaThree
from machine import MB
from peers import Brokers, Three
from report import Figure

MS = 1e6
SESSION_TIMEOUT_MS = 6000
CONFIG = {"zookeeper.session.timeout.ms": str(SESSION_TIMEOUT_MS), "default.replication.factor": "3",
          "min.insync.replicas": "2", "controlled.shutdown.enable": "true"}


def now_ns():
    return time.monotonic_ns()


def wait_session_end(cluster, broker_id, seconds=60):
    """The time at which the broker's node went with its session."""
    node = re.compile(rf"/brokers/ids/{broker_id}\b")
    address = cluster.zookeepers[0].address

    def gone():
        text = cluster_module.ask_zookeeper(address, "dump", 5)
        return "Sessions" in text and not node.search(text)

    cluster_module.wait_until(gone, f"the end of the session of broker {broker_id}", seconds, pause=0.01)
    return now_ns()


class Gaps:
    """bench_load gaps while it runs."""

    def __init__(self, options, peer, topic, partitions, rate):
        words = {"brokers": peer.bootstrap, "topic": topic, "partitions": partitions, "acks": -1, "records": 1,
                 "record-bytes": 100, "rate": rate}
        self.process = subprocess.Popen(load_runner.command(options, "gaps", words), stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
                                        preexec_fn=machine.end_with_parent)
        machine.also_first(self.process.pid)
        if self.process.stdout.readline() != "ready\n":
            raise SystemExit("bench: gaps: " + self.process.communicate()[1])

    def end(self):
        self.process.stdin.close()
        self.process.stdin = None
        out, err = self.process.communicate(timeout=60)
        if self.process.returncode != 0:
            raise SystemExit("bench: gaps: " + err)
        return json.loads(out)


def await_served(options, brokers, topic, partitions, replicas, seconds=120):
    """When all partitions of the topics of that prefix were served by those brokers, in monotonic ns."""
    bootstrap = ",".join(f"{broker.id}={broker.port}" for broker in brokers)
    done = subprocess.run(load_runner.command(options, "await", {
        "brokers": bootstrap, "topic": topic, "partitions": partitions, "replicas": replicas, "seconds": seconds}),
        capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"bench: await: {done.stderr}")
    return json.loads(done.stdout)["done_ns"]


def start_served(options, peer, partitions):
    """From the exec of a broker's process until it serves all partitions of its peer's topic; and what its log says of
    that, where it says it."""
    before, begin = len(peer.starts_ms()), now_ns()
    peer.broker.launch()
    end = await_served(options, [peer.broker], peer.topic, partitions, 1)
    report = {"served_s": (end - begin) / 1e9, "cpu_s": machine.cpu_seconds(peer.broker.pid)}
    if before:
        peer.cluster.wait(lambda: len(peer.starts_ms()) > before, "the line that says how long it took")
        report["ready_ms"] = peer.starts_ms()[-1]
    return report


def at(values, fraction):
    """The smallest value that this fraction of them does not exceed."""
    return sorted(values)[max(0, math.ceil(len(values) * fraction) - 1)]


class ClusterWorkload:
    peers = {"barnabas": Three}
    config = CONFIG
    again = warms = False

    def __init__(self, options):
        self.options = options

    def open(self, name, folder):
        return self.peers[name](self.options, folder, self.config)


# ------------------------------------------------------------------ one broker less


class Interrupted(ClusterWorkload):
    """Small producers, one per partition, acks=all, while a broker goes; it comes back before the next run."""

    peers = {"barnabas": Three, "kafka": KafkaThree}
    partitions, rate = 24, 50

    def describe(self):
        return (f"{self.partitions} partitions, three replicas each, a producer of {self.rate} small batches/s for each, "
                f"acks=all, session timeout {SESSION_TIMEOUT_MS} ms")

    def open(self, name, folder):
        peer = super().open(name, folder)
        peer.topic = peer.new_topic(self.partitions, 3)
        peer.turn = 0
        return peer

    def rest(self, peer, victim):
        return [broker for broker in peer.cluster.brokers if broker is not victim]

    def restore(self, peer, victim):
        """The broker again, all replicas in the ISR, and every partition led by its first replica."""
        peer.cluster.start(victim.id)
        peer.wait_complete(peer.topic, self.partitions, 3)
        controller = peer.cluster.broker(peer.cluster.controller())
        controller.call("ElectLeaders", {"election_type": 0, "topic_partitions": None, "timeout_ms": 30000})
        await_served(self.options, peer.cluster.brokers, peer.topic, self.partitions, 3)

    def run(self, peer):
        victim = peer.cluster.brokers[peer.turn % 3]
        peer.turn += 1
        before = peer.end_offsets(peer.topic)
        gaps = Gaps(self.options, peer, peer.topic, self.partitions, self.rate)
        report = self.interrupt(peer, victim)
        await_served(self.options, self.rest(peer, victim), peer.topic, self.partitions, 1)
        report["gaps"] = gaps.end()
        self.restore(peer, victim)
        check_written(peer.name, report["gaps"]["partitions"], before, peer.end_offsets(peer.topic))
        return report


def check_written(who, partitions, before, after):
    """As much is there as was acknowledged; what was sent again may be there twice."""
    for i, one in enumerate(partitions):
        if after[i] - before[i] < one["written"]:
            raise SystemExit(f"bench: {who}: partition {i} has {after[i] - before[i]} records more than before,"
                             f" {one['written']} were acknowledged")


def blocked_ns(report):
    return max(one["gap_end_ns"] for one in report["gaps"]["partitions"]) - report["begin_ns"]


class Failover(Interrupted):
    name = "failover"
    text = "kill -9 of a broker: how long its partitions cannot be written"
    figures = [
        Figure("blocked_ms", "kill to the last partition's write", "ms", lambda r: blocked_ns(r) / MS),
        Figure("over_session_ms", "beyond the session timeout", "ms",
               lambda r: blocked_ns(r) / MS - SESSION_TIMEOUT_MS, "<= 500"),
        Figure("after_end_ms", "beyond the session's end", "ms",
               lambda r: (max(one["gap_end_ns"] for one in r["gaps"]["partitions"]) - r["end_ns"]) / MS),
    ]

    def interrupt(self, peer, victim):
        begin = now_ns()
        victim.kill(signal.SIGKILL)
        return {"begin_ns": begin, "end_ns": wait_session_end(peer.cluster, victim.id)}


def gap_ms(report):
    return [(one["gap_end_ns"] - one["gap_start_ns"]) / MS for one in report["gaps"]["partitions"]]


class Shutdown(Interrupted):
    name = "shutdown"
    text = "SIGTERM to a broker: the gap in each partition's writes, and that every refusal is retriable"
    rate = 200
    figures = [
        Figure("gap_p50_ms", "longest gap of a partition, p50", "ms", lambda r: statistics.median(gap_ms(r))),
        Figure("gap_p99_ms", "longest gap of a partition, p99", "ms", lambda r: at(gap_ms(r), 0.99), "<= 100"),
        Figure("stop_ms", "SIGTERM to the process's end", "ms", lambda r: r["stop_ms"]),
        Figure("refused", "retriable refusals", "", lambda r: r["gaps"]["refused"]),
        Figure("broken", "broken connections", "", lambda r: r["gaps"]["broken"]),
    ]

    def interrupt(self, peer, victim):
        begin = now_ns()
        peer.cluster.stop(victim.id)
        return {"stop_ms": (now_ns() - begin) / MS}


# ------------------------------------------------------------------ thousands of partitions


class Partitions(ClusterWorkload):
    name = "partitions"
    text = "5,000 partitions of three replicas: created; the controller killed; that broker started again"
    topics, each = 50, 100
    figures = [
        Figure("create_s", "created and served", "s", lambda r: r["create_s"], "<= 10"),
        Figure("create_cpu_s", "CPU of that", "s", lambda r: r["create_cpu_s"]),
        Figure("controller_s", "controller's session end to all served", "s", lambda r: r["controller_s"], "<= 3"),
        Figure("return_s", "start of the killed broker to full ISRs", "s", lambda r: r["return_s"]),
        Figure("idle_cores", "cores used when idle", "", lambda r: r["idle_cores"]),
        Figure("loaded_mb", "resident, three brokers", "MB", lambda r: r["loaded_mb"]),
        Figure("beside_us", "a small batch beside them, p50", "us", lambda r: r["beside"]["answer_us"]["p50"]),
        Figure("beside_cpu_us", "CPU per such batch", "us", lambda r: r["beside"]["cpu_s"] / r["beside"]["requests"] * 1e6),
    ]

    def __init__(self, options):
        super().__init__(options)
        if options.quick:
            self.topics = 5

    def describe(self):
        return f"{self.topics} topics of {self.each} partitions on three brokers"

    def open(self, name, folder):
        """The cluster of a run is new: nobody has deleted from its disk."""
        return Place(folder)

    def run(self, peer):
        peer.runs += 1
        three = Three(self.options, os.path.join(peer.folder, str(peer.runs)), self.config)
        try:
            report = self.create(three)
            report["idle_cores"] = self.idle(three)
            report["loaded_mb"] = sum(map(machine.resident_mb, three.pids))
            report["beside"] = self.beside(three)
            victim = three.cluster.broker(three.cluster.controller())
            report["controller_s"] = self.kill_controller(three, victim)
            begin = now_ns()
            three.cluster.start(victim.id)
            report["return_s"] = (await_served(self.options, three.cluster.brokers, "part-", self.total, 3) - begin) / 1e9
            peer.facts = three.facts
        finally:
            three.close()
        return report

    @property
    def total(self):
        return self.topics * self.each

    def create(self, three):
        before, begin = sum(map(machine.cpu_seconds, three.pids)), now_ns()
        controller = three.cluster.broker(three.cluster.controller())
        answer = controller.call("CreateTopics", {"timeout_ms": 60000, "topics": [
            {"name": f"part-{i}", "num_partitions": self.each, "replication_factor": 3} for i in range(self.topics)]},
            seconds=70)
        if any(topic["error_code"] for topic in answer["topics"]):
            raise SystemExit(f"bench: cannot create topics: {answer}")
        end = await_served(self.options, three.cluster.brokers, "part-", self.total, 3)
        return {"create_s": (end - begin) / 1e9, "create_cpu_s": sum(map(machine.cpu_seconds, three.pids)) - before}

    def idle(self, three, seconds=2.0):
        before = sum(map(machine.cpu_seconds, three.pids))
        time.sleep(seconds)
        return (sum(map(machine.cpu_seconds, three.pids)) - before) / seconds

    def beside(self, three):
        """Small batches, acks=all, one at a time on each broker, to another topic of the same cluster."""
        topic = three.new_topic(12, 3)
        made = load_runner.measured(self.options, "produce", three, brokers=three.bootstrap, topic=topic, partitions=12,
                                    requests=3000, records=1, record_bytes=100, depth=1, acks=-1)
        cells.compare(three.name, made, load_runner.load(self.options, "consume", three.name, brokers=three.bootstrap,
                                                         topic=topic, partitions=12))
        return made

    def kill_controller(self, three, victim):
        victim.kill(signal.SIGKILL)
        end = wait_session_end(three.cluster, victim.id)
        rest = [broker for broker in three.cluster.brokers if broker is not victim]
        return (await_served(self.options, rest, "part-", self.total, 1) - end) / 1e9


class Place:
    """Where each run makes a cluster of its own. Its facts are those of the last one."""

    def __init__(self, folder):
        self.folder, self.runs, self.facts, self.name = folder, 0, {}, "barnabas"

    def close(self):
        pass


# ------------------------------------------------------------------ a start after kill -9


class Restart(ClusterWorkload):
    name = "restart"
    text = "one broker with 1,000 partitions and 10 GB, killed with -9: from its start until all are served"
    peers = {"barnabas": Brokers, "kafka": Kafka}
    config = {"zookeeper.session.timeout.ms": str(SESSION_TIMEOUT_MS)}
    partitions, each_mb = 1000, 10
    figures = [
        Figure("serve_s", "start to all partitions served", "s", lambda r: r["served_s"], "<= 5"),
        Figure("ready_ms", "of that, until ready by its log", "ms", lambda r: r["ready_ms"]),
        Figure("cpu_s", "CPU of the start", "s", lambda r: r["cpu_s"]),
    ]

    def __init__(self, options):
        super().__init__(options)
        if options.quick:
            self.partitions = 100

    def describe(self):
        return f"{self.partitions} partitions of {self.each_mb} MB"

    def open(self, name, folder):
        peer = super().open(name, folder)
        peer.topic = peer.new_topic(self.partitions)
        requests = self.partitions * self.each_mb * 16  # about 64 KiB each
        made = load_runner.load(self.options, "produce", name, port=peer.port, topic=peer.topic,
                                partitions=self.partitions, records=64, record_bytes=1000, requests=requests)
        peer.records = made["records"]
        return peer

    def run(self, peer):
        peer.broker.kill(signal.SIGKILL)
        wait_session_end(peer.cluster, peer.broker.id)
        report = start_served(self.options, peer, self.partitions)
        there = sum(peer.end_offsets(peer.topic).values())
        if there != peer.records:
            raise SystemExit(f"bench: {peer.name}: {there} records are there, {peer.records} were produced")
        return report
