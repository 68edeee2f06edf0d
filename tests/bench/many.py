"""S1: thousands of partitions in one broker. What they take of memory and of its time when nobody uses them, what a
small batch and a Metadata request cost among them, and how soon all of them are served after a clean stop and after
kill -9.

"Served" is when the broker says that it leads all of them and answers ListOffsets for each (bench_load await): what its
own log calls ready is told beside it. A clean stop and the start after it follow one another without waiting for
ZooKeeper; after kill -9 the start waits until the session of the earlier life has ended. The broker is alone, so it is its
own controller: of the start, reading a state for each partition from ZooKeeper is a part, and ZooKeeper's processor time
is told, too: it is on the same processors.
"""
import os
import signal
import time

import cells
import cluster as cluster_module
import load_runner
import machine
from clusters import Place, await_served, now_ns, start_served, wait_session_end
from kafka_peer import Kafka
from machine import MB, prewarm
from peers import Brokers
from report import Figure

RECORD_BYTES, CONNECTIONS, TURNS = 100, 16, 5
METADATA_REQUESTS = 20
QUIET_S = 300
# Every five seconds a broker looks whether there is something to write down: first it has written down what was made,
# then it is idle for two such periods.
SETTLE_S, IDLE_S = 6.0, 10.0
# So long after such work a broker has given back what it needed only for that (rt/trimmer.h), and is as it stays.
GIVEN_BACK_S = 1.0
STOP_S = 300
SESSION_TIMEOUT_MS = 6000


def figures(goals):
    return [
        Figure("create_s", "made and served", "s", lambda r: r["create_s"]),
        Figure("create_cpu_s", "CPU of that", "s", lambda r: r["create_cpu_s"]),
        Figure("empty_pss_mb", "resident without any, Pss", "MB", lambda r: r["empty_pss_mb"], "<= 8"),
        Figure("idle_pss_mb", "resident with them, idle, Pss", "MB", lambda r: r["idle_pss_mb"], goals.get("idle_pss_mb"),
               main=True),
        Figure("each_kb", "for each", "KB", lambda r: r["each_kb"]),
        Figure("idle_core", "idle, share of a core", "%", lambda r: r["idle_cores"] * 100, "<= 0.2"),
        Figure("metadata_us", "CPU of Metadata of all", "us", lambda r: r["metadata_us"]),
        Figure("metadata_each_us", "for each", "us", lambda r: r["metadata_us"] / r["partitions"]),
        Figure("produce_us", "CPU per small batch, one to each", "us", lambda r: r["produce"]["cpu_s"] /
               r["produce"]["requests"] * 1e6, main=True),
        Figure("produce_p99_us", "its answer, p99", "us", lambda r: r["produce"]["answer_us"]["p99"]),
        Figure("used_pss_mb", "resident after that, Pss", "MB", lambda r: r["used_pss_mb"]),
        Figure("stop_s", "clean stop", "s", lambda r: r["clean"]["stop_s"]),
        Figure("clean_served_s", "start after it to all served", "s", lambda r: r["clean"]["served_s"],
               goals.get("clean_served_s"), main=True),
        Figure("clean_ready_ms", "ready by its log", "ms", lambda r: r["clean"]["ready_ms"]),
        Figure("clean_cpu_s", "CPU of that start", "s", lambda r: r["clean"]["cpu_s"]),
        Figure("clean_zookeeper_s", "ZooKeeper's CPU of it", "s", lambda r: r["clean"]["zookeeper_cpu_s"]),
        Figure("clean_pss_mb", "resident after it, idle, Pss", "MB", lambda r: r["clean"]["pss_mb"],
               goals.get("idle_pss_mb")),
        Figure("killed_served_s", "start after kill -9 to all served", "s", lambda r: r["killed"]["served_s"],
               goals.get("killed_served_s"), main=True),
        Figure("killed_ready_ms", "ready by its log", "ms", lambda r: r["killed"]["ready_ms"]),
        Figure("killed_cpu_s", "CPU of that start", "s", lambda r: r["killed"]["cpu_s"]),
        Figure("killed_zookeeper_s", "ZooKeeper's CPU of it", "s", lambda r: r["killed"]["zookeeper_cpu_s"]),
    ]


class Many:
    again = warms = warm_run = False
    peers = {"barnabas": Brokers, "kafka": Kafka}
    config = {"zookeeper.session.timeout.ms": str(SESSION_TIMEOUT_MS)}
    goals = {}

    def __init__(self, options):
        self.options = options
        if options.quick:
            self.partitions //= 10

    @property
    def figures(self):
        return figures({} if self.options.quick else self.goals)

    def describe(self):
        return (f"one broker, one topic of {self.partitions} partitions; {TURNS} batches of 1 x {RECORD_BYTES} B to each, "
                f"{CONNECTIONS} connections, one request under way on each")

    def open(self, name, folder):
        """The broker of a run is new: nobody has deleted from its disk, and it has never been larger."""
        place = Place(folder)
        place.name = name
        return place

    def run(self, place):
        place.runs += 1
        prewarm(1000)
        peer = self.peers[place.name](self.options, os.path.join(place.folder, str(place.runs)), self.config)
        try:
            report = self.measure(peer)
            place.facts = peer.facts
        finally:
            peer.close()
        return report

    def measure(self, peer):
        report = {"partitions": self.partitions, "empty_pss_mb": machine.pss_mb(peer.broker.pid)}
        report.update(self.create(peer))
        self.quiet(peer)
        report["idle_pss_mb"] = machine.pss_mb(peer.broker.pid)
        report["each_kb"] = (report["idle_pss_mb"] - report["empty_pss_mb"]) * MB / 1e3 / self.partitions
        time.sleep(SETTLE_S)
        report["idle_cores"] = self.cpu(peer, lambda: time.sleep(IDLE_S)) / IDLE_S
        report["metadata_us"] = self.metadata(peer)
        report["produce"] = load_runner.measured(
            self.options, "produce", peer, port=peer.port, topic=peer.topic, partitions=self.partitions, depth=1,
            connections=CONNECTIONS, requests=self.partitions * TURNS, records=1, record_bytes=RECORD_BYTES, acks=1)
        report["used_pss_mb"] = machine.pss_mb(peer.broker.pid)
        report["clean"] = self.stopped(peer)
        report["killed"] = self.killed(peer)
        self.check(peer, report["produce"])
        peer.topic_config = peer.describe_topic(peer.topic)
        return report

    def check(self, peer, made):
        """Everything is there, after both starts."""
        cells.compare(peer.name, made, load_runner.load(self.options, "consume", peer.name, port=peer.port, topic=peer.topic,
                                                        partitions=self.partitions, connections=CONNECTIONS))

    @staticmethod
    def cpu(peer, do):
        before = machine.cpu_seconds(peer.broker.pid)
        do()
        return machine.cpu_seconds(peer.broker.pid) - before

    @staticmethod
    def quiet(peer):
        peer.used = machine.cpu_seconds(peer.broker.pid)
        cluster_module.wait_until(peer.is_quiet, "the end of what the broker does by itself", QUIET_S, pause=0.2)
        time.sleep(GIVEN_BACK_S)

    def create(self, peer):
        begin, before = now_ns(), machine.cpu_seconds(peer.broker.pid)
        peer.topics += 1
        peer.topic = f"bench-{peer.topics}"
        peer.create(peer.topic, self.partitions, 1)
        end = await_served(self.options, [peer.broker], peer.topic, self.partitions, 1)
        return {"create_s": (end - begin) / 1e9, "create_cpu_s": machine.cpu_seconds(peer.broker.pid) - before}

    def metadata(self, peer):
        def ask():
            for _ in range(METADATA_REQUESTS):
                topic, = peer.broker.call("Metadata", {"topics": [{"name": peer.topic}]}, seconds=30)["topics"]
                if len(topic["partitions"]) != self.partitions:
                    raise SystemExit(f"bench: {len(topic['partitions'])} partitions instead of {self.partitions}")

        return self.cpu(peer, ask) / METADATA_REQUESTS * 1e6

    def stopped(self, peer):
        begin = now_ns()
        peer.broker.ask_to_stop()
        peer.broker.wait_gone(STOP_S)
        stop_s = (now_ns() - begin) / 1e9
        return {"stop_s": stop_s, **self.start(peer)}

    def killed(self, peer):
        peer.broker.kill(signal.SIGKILL)
        wait_session_end(peer.cluster, peer.broker.id)
        return self.start(peer)

    def start(self, peer):
        """From the exec of the process on."""
        zookeepers = [one.pid for one in peer.cluster.zookeepers]
        before = sum(map(machine.cpu_seconds, zookeepers))
        report = start_served(self.options, peer, self.partitions)
        report["zookeeper_cpu_s"] = sum(map(machine.cpu_seconds, zookeepers)) - before
        self.quiet(peer)
        report["pss_mb"] = machine.pss_mb(peer.broker.pid)
        return report


class Many1000(Many):
    name = "s1-1000"
    text = "S1: 1,000 partitions in one broker: memory, idle, produce, Metadata, stop and start, kill -9 and start"
    partitions = 1000
    goals = {"idle_pss_mb": "<= 9.5"}


class Many10000(Many):
    name = "s1"
    text = "S1: 10,000 partitions in one broker: memory, idle, produce, Metadata, stop and start, kill -9 and start"
    partitions = 10000
    goals = {"idle_pss_mb": "<= 30", "clean_served_s": "<= 0.3", "killed_served_s": "<= 1.5"}
