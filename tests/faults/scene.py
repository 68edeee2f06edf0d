"""What a fault gets to see and to do: a Scene; and the list of all faults, which are in faults_*.py.

    @fault("network")                       # what it needs: PARTS
    def cut_leader(scene):
        '''what scripts/faults --list prints'''

A fault is done and undone when its function returns: the cluster can heal. It may be done again and again in a run.
"""
import collections
import random
import time

import cluster as clusters
import disk
import network

FAULTS = {}
# What a fault may need: why it is not there, or None.
PARTS = {"network": network.missing, "shim": disk.shim_missing, "mounts": disk.mounts_missing}

Fault = collections.namedtuple("Fault", "name function about parts brokers config patient gentle")


def fault(*parts, brokers=3, config=None, patient=False, gentle=False):
    """config: keys for every broker, beside those of every run. patient: the next one always waits until this one has
    healed: it costs a replica what it had, and three of them in a row would leave nothing that could be kept. gentle:
    no client is to see an error that trying again does not mend."""
    def mark(function):
        name = function.__name__.replace("_", "-")
        FAULTS[name] = Fault(name, function, function.__doc__, parts, brokers, config or {}, patient,
                             gentle)
        return function
    return mark


def why_not(one, known):
    """What is missing for a fault, as text, or None. known: what was found out already."""
    for part in one.parts:
        if part not in known:
            known[part] = PARTS[part]()
        if known[part]:
            return known[part]
    return None


class Scene:
    """A running cluster, its topic, and a random choice that a seed repeats."""

    def __init__(self, cluster, topic, seed, session_s, folder):
        self.cluster, self.topic, self.session_s, self.folder = cluster, topic, session_s, folder
        self.random = random.Random(seed)
        self.network = None  # Network
        self.shims, self.mounts = {}, {}  # by a broker's id
        self.kept = {}  # what a fault keeps from one time to the next, by a name of its own
        self.extra_checks = []  # functions that give Problems, called after the end
        self.clients = []  # what a fault has started for itself; killed where the run fails
        self.notes = []  # (what, monotonic seconds, ...): for measure.py

    def note(self, what, *facts):
        self.notes.append((what, time.monotonic(), *facts))

    def pause(self, least, most):
        time.sleep(self.random.uniform(least, most))  # how long a fault lasts is part of the fault

    def past_session(self):
        """A while in which a session surely ends."""
        self.pause(1.2 * self.session_s, 2.0 * self.session_s)

    # ---- looking

    def partitions(self):
        return self.cluster.metadata([self.topic])["topics"][0]["partitions"]

    def alive(self):
        return [b.id for b in self.cluster.brokers if b.alive()]

    def others(self, broker):
        return [b.id for b in self.cluster.brokers if b.id != broker]

    def zookeepers(self):
        return [one.name for one in self.cluster.zookeepers]

    def leader(self):
        """Of some partition."""
        led = [p["leader_id"] for p in self.partitions() if p["leader_id"] in self.alive()]
        return self.random.choice(led or self.alive())

    def led_by(self, broker):
        return [p["partition_index"] for p in self.partitions() if p["leader_id"] == broker]

    def follower(self):
        """A broker that leads as little as possible."""
        led = [p["leader_id"] for p in self.partitions()]
        return min(self.alive(), key=lambda b: (led.count(b), self.random.random()))

    def controller(self):
        return self.cluster.controller() or self.random.choice(self.alive())

    def zookeeper_leader(self):
        for one in self.cluster.zookeepers:
            if one.mode() == "leader":
                return one.name
        return self.cluster.zookeepers[0].name

    def leads_nothing(self, broker):
        """Whether all others say so."""
        views = [self._partitions_of(other) for other in self.cluster.brokers if other.id != broker]
        return all(view and all(p["leader_id"] not in (broker, -1) for p in view) for view in views)

    def _partitions_of(self, broker):
        """As this broker tells it; [] when it does not answer, or not all of it."""
        try:
            answer = broker.call("Metadata", {"topics": [{"name": self.topic}], "allow_auto_topic_creation": False},
                                 seconds=2.0 * clusters.PATIENCE)
        except Exception:  # pylint: disable=broad-except
            return []
        return answer["topics"][0]["partitions"]

    def healed(self):
        """Every broker runs and says that every partition has a leader and all its replicas in sync."""
        def whole(view):
            return view and all(p["leader_id"] >= 0 and len(p["isr_nodes"]) == len(p["replica_nodes"]) for p in view)

        return len(self.alive()) == len(self.cluster.brokers) and all(
            whole(self._partitions_of(broker)) for broker in self.cluster.brokers)

    def wait_healed(self, what):
        self.cluster.wait(self.healed, f"everything in sync after {what}")

    # ---- doing

    def kill(self, broker):
        self.note("killed", broker, self.led_by(broker) if self.healed() else [])  # what else is away is no measure
        self.cluster.kill(broker)

    def start(self, broker):
        self.note("started", broker)
        self.cluster.start(broker, wait=False)

    def start_again(self, broker):
        """Whether it runs or not."""
        if self.cluster.broker(broker).alive():
            self.cluster.kill(broker)
        self.start(broker)
