"""Break a cluster on purpose, under load, and check what its clients saw. The command is scripts/faults.

One run: a cluster of three brokers and three ZooKeepers, clients (history.py), one kind of fault again and again for
as long as is asked for (faults_*.py), then peace: everything must heal, and the history must be free of problems
(checker.py). The replicas must be the same, byte for byte.
"""
import glob
import os
import shutil
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "scripts", "lib"))
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
os.environ.setdefault("LSAN_OPTIONS", f"suppressions={ROOT}/tests/lsan.supp:print_suppressions=0")  # a library's leak

# pylint: disable=wrong-import-position
import checker  # noqa: E402
import cluster as clusters  # noqa: E402
import disk  # noqa: E402
import faults_admin  # noqa: E402
import faults_disk  # noqa: E402,F401 pylint: disable=unused-import
import faults_network  # noqa: E402,F401 pylint: disable=unused-import
import faults_process  # noqa: E402,F401 pylint: disable=unused-import
import history  # noqa: E402
import measure  # noqa: E402
import network  # noqa: E402
import records  # noqa: E402
import scene as scenes  # noqa: E402

TOPIC, PARTITIONS, SESSION_S = "faults", 4, 3.0
TICK_MS = 250  # ZooKeeper ends sessions at whole ticks: up to so much later than they are over
BLOCK = 1 << 20
LONG_S, LONG_LINES = 0.5, 5  # what is told of gaps: those that are so much longer than a session, and how many lines
WORK = {"writer": "ack", "probe": "ack", "reader": "read", "group": "commit", "ends": "end"}  # what each role tells
PROBE_RATE, PROBE_FIRST = 20, 500000  # records a second to each partition; the number of the first one's producer
CONFIG = {
    "min.insync.replicas": "2", "default.replication.factor": "3", "offsets.topic.replication.factor": "3",
    "offsets.topic.num.partitions": "4", "group.initial.rebalance.delay.ms": "0", "auto.create.topics.enable": "false",
    "zookeeper.session.timeout.ms": str(int(SESSION_S * 1000)), "replica.lag.time.max.ms": "3000",
    "log.segment.bytes": "4194304",
    "zookeeper.connection.timeout.ms": "60000",  # the time to begin with: a busy machine's ensemble takes longer
}


class Failed(Exception):
    """The run found a problem."""


# ------------------------------------------------------------------ replicas


def blocks(broker, partition):
    """A replica's log, block by block."""
    folder = os.path.join(broker.folder, "data", f"{TOPIC}-{partition}")
    paths = sorted(glob.glob(os.path.join(folder, "*.log")))
    if not paths:
        raise Failed(f"{broker.name} has no log in {folder}")
    for path in paths:
        with open(path, "rb") as file:
            yield from iter(lambda: file.read(BLOCK), b"")  # pylint: disable=cell-var-from-loop


def evenly(parts):
    """The same bytes in blocks of one size: segments end at different places in different replicas."""
    held = b""
    for part in parts:
        held += part
        while len(held) >= BLOCK:
            yield held[:BLOCK]
            held = held[BLOCK:]
    if held:
        yield held


def replicas_differ(cluster):
    """Text, or None."""
    partitions = cluster.metadata([TOPIC])["topics"][0]["partitions"]
    for one in partitions:
        contents = {f"partition {one['partition_index']} of broker {b}": evenly(blocks(cluster.broker(b),
                                                                                      one["partition_index"]))
                    for b in one["replica_nodes"]}
        found = checker.difference(contents)
        if found:
            return found
    return None


def wait_for_same_replicas(cluster, seconds=30.0 * clusters.PATIENCE):
    last = [None]

    def same():
        last[0] = replicas_differ(cluster)
        return last[0] is None

    try:
        cluster.wait(same, "replicas that are the same", seconds)
    except clusters.ClusterError as problem:
        raise Failed(f"replicas differ: {last[0]}\n{problem}") from None


# ------------------------------------------------------------------ one run


class Run:
    """One fault, again and again. After go() there are problems, or a result()."""

    def __init__(self, fault, seconds, seed, rate, folder, binary=None):
        self.fault, self.seconds, self.rate, self.folder = fault, seconds, rate, folder
        self.cluster = clusters.Cluster(folder, fault.brokers, 3, {**CONFIG, **fault.config}, binary=binary,
                                        tick_ms=TICK_MS)
        self.scene = scenes.Scene(self.cluster, TOPIC, seed, SESSION_S, folder)
        self.seed = seed
        self.clients = []
        self.injections = []  # (begin, end)
        self.problems = checker.Problems()
        self.replicas = []  # partitions as Metadata told them in the end

    # ---- what a fault needs

    def _set_up(self):
        for broker in self.cluster.brokers:
            if "mounts" in self.fault.parts:
                self.scene.mounts[broker.id] = disk.Mounted(broker)
            if "shim" in self.fault.parts:
                self.scene.shims[broker.id] = disk.Shim(broker)
        if "network" in self.fault.parts:
            self.scene.network = network.Network(self.cluster)

    def _take_down(self, failed):
        for mounted in self.scene.mounts.values():
            if failed:
                mounted.keep()
            mounted.unmount()
        if self.scene.network:
            self.scene.network.close()

    # ---- clients

    def _client(self, name, role, *arguments):
        return history.Client(os.path.join(self.folder, "clients"), name, role, self.cluster, TOPIC, PARTITIONS,
                              *arguments)

    def _start_clients(self):
        self.clients = [self._client("writer", "writer", self.rate),
                        self._client("probe", "probe", PROBE_RATE, PROBE_FIRST), self._client("reader", "reader"),
                        self._client("group-1", "group"), self._client("group-2", "group"),
                        self._client("ends", "ends")]

    def _finish_clients(self):
        for client in self.clients:
            client.ask_to_stop()
        for client in self.clients:
            wrong = client.finish()
            if wrong:
                self.problems.add("client", wrong)

    def _read_all(self):
        last = self._client("final", "final")
        self.clients.append(last)
        wrong = last.finish()
        if wrong:
            self.problems.add("client", wrong)

    # ---- the run

    def _at_work(self):
        """Whether every client has begun with what it is for."""
        return all(client.has_told(WORK[client.role]) for client in self.clients)

    def _idle(self, since_s):
        """Of which partitions a role has told nothing since then: texts."""
        found = []
        for role, kind in WORK.items():
            events = history.read([client.path for client in self.clients if client.role == role])
            found += [f"{role}: no {kind} of partition {partition}"
                      for partition in checker.silent(events, PARTITIONS, since_s * 1e6, kind)]
        return found

    def _wait_for_peace(self):
        """Everything is in sync, and then every client goes on in every partition."""
        self.cluster.wait(self.scene.healed, "everything in sync in the end")
        healed_s, idle = time.monotonic(), []

        def all_go_on():
            idle[:] = self._idle(healed_s)
            return not idle

        try:
            self.cluster.wait(all_go_on, "clients that all go on")
        except clusters.ClusterError as problem:
            raise Failed(f"everything is in sync, but {'; '.join(idle)}\n{problem}") from None

    def _inject(self):
        end = time.monotonic() + self.seconds
        while time.monotonic() < end or not self.injections:
            begin = time.monotonic()
            self.scene.note("fault")
            self.fault.function(self.scene)
            if self.fault.patient or self.scene.random.random() < 0.7:  # else the next one comes while this one heals
                self.scene.wait_healed(self.fault.name)
            self.injections.append((begin, time.monotonic()))

    def _under_load(self):
        if faults_admin.create_topic(self.cluster, TOPIC, PARTITIONS) != 0:
            raise Failed("the topic was not created")
        self._start_clients()
        try:
            self.cluster.wait(self._at_work, "clients at work")
            self._inject()
            self._wait_for_peace()
        except BaseException:
            for client in self.clients + self.scene.clients:
                client.kill()
            raise
        self._finish_clients()
        self._read_all()
        wait_for_same_replicas(self.cluster)
        self.replicas = self.scene.partitions()
        for check in self.scene.extra_checks:
            self.problems.take(check())

    def go(self):
        """Raises Failed when the run cannot come to its end."""
        failed = True
        try:
            self._set_up()
            with self.cluster:
                self._under_load()
            self._check()
            failed = bool(self.problems)
        except Exception as problem:  # pylint: disable=broad-except
            raise Failed(f"{type(problem).__name__}: {problem}") from problem
        finally:
            self.cluster.close()
            self._take_down(failed)
        return self

    def events(self):
        return history.read([client.path for client in self.clients])

    def _producer_of(self, partition, offset):
        """The producer of a record: its id and its epoch, as a replica's log has them."""
        one = next(p for p in self.replicas if p["partition_index"] == partition)
        broker = self.cluster.broker(one["replica_nodes"][0])
        for _, batch in records.read_batches(b"".join(blocks(broker, partition))):
            if batch.base_offset <= offset <= batch.last_offset:
                return batch.producer_id, batch.producer_epoch
        return None

    def _check(self):
        self.problems.take(checker.check(self.events(), producer_of=self._producer_of))
        if self.scene.network and self.scene.network.lost() == 0:
            self.problems.add("no fault", "not one packet was lost")
        for report in self.cluster.reports():
            self.problems.add("report", report)
        count, said = checker.given_up(self.events())
        if self.fault.gentle and count > 0:
            self.problems.add("not retriable", "; ".join(said) or "records", count)

    def result(self):
        events = self.events()
        counts, gaps = checker.counts(events), measure.gaps_of(events)
        _, said = checker.given_up(events)
        late = measure.said_of_late(measure.gaps_of(events, lambda number: number < PROBE_FIRST), gaps)
        return {"fault": self.fault.name, "seed": self.seed, "times": len(self.injections),
                "acknowledged": counts["ack"], "unknown": counts["unknown"] + counts["failed"],
                "read": counts["read"], "final": counts["final"], "commits": counts["commit"],
                "errors": said,
                "long": [*measure.said_of_long(gaps, SESSION_S + LONG_S, self.scene.notes), *late][:LONG_LINES],
                "problems": dict(self.problems.counts),
                "unavailable_ms": measure.spread(measure.unavailable(gaps, self.injections)),
                "samples": {"kill": measure.after_kills(gaps, self.scene.notes),
                            "shutdown": measure.after_shutdowns(gaps, self.scene.notes),
                            "hung": measure.given_up(self.scene.notes)}}


def run_one(name, seconds, seed, rate, folder, binary=None):
    """A result, see Run; raises Failed, with the folder kept."""
    one = Run(scenes.FAULTS[name], seconds, seed, rate, folder, binary)
    try:
        problems = one.go().problems
    except Failed as problem:
        raise Failed(f"{name} seed {seed}: {problem}\nsee {folder}") from problem
    if problems:
        raise Failed(f"{name} seed {seed}: see {folder}\n" + "\n".join(problems.lines()))
    result = one.result()
    shutil.rmtree(folder)
    return result
