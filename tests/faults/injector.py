"""The faults. Each is a function that does it and undoes it: it is handed a Scene and returns when the cluster can heal.

A fault's docstring is what `scripts/faults --list` prints. `needs(...)` names what must be there for it.
"""
import glob
import os
import random
import shutil
import signal
import time

FAULTS = {}


def fault(function):
    FAULTS[function.__name__.replace("_", "-")] = function
    return function


def needs(why_not):
    """why_not() says what is missing, or returns None."""
    def mark(function):
        function.why_not = why_not
        return function
    return mark


class Scene:
    """A running cluster, its topic, and a random choice that a seed repeats."""

    def __init__(self, cluster, topic, seed, session_s):
        self.cluster, self.topic, self.session_s = cluster, topic, session_s
        self.random = random.Random(seed)

    def pause(self, least, most):
        time.sleep(self.random.uniform(least, most))  # how long a fault lasts is part of the fault

    def partitions(self):
        return self.cluster.metadata([self.topic])["topics"][0]["partitions"]

    def alive(self):
        return [b.id for b in self.cluster.brokers if b.alive()]

    def leader(self):
        """Of some partition."""
        led = [p["leader_id"] for p in self.partitions() if p["leader_id"] in self.alive()]
        return self.random.choice(led or self.alive())

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

    def healed(self):
        """Every broker runs, every partition has a leader and all its replicas in sync."""
        try:
            return len(self.alive()) == len(self.cluster.brokers) and all(
                p["leader_id"] >= 0 and len(p["isr_nodes"]) == len(p["replica_nodes"]) for p in self.partitions())
        except Exception:  # pylint: disable=broad-except
            return False  # nobody answers yet


def _kill(scene, broker):
    scene.cluster.kill(broker)
    scene.pause(0.0, 2 * scene.session_s)
    scene.cluster.start(broker, wait=False)


@fault
def kill_leader(scene):
    """kill -9 of a broker that leads; it is started again after up to two session timeouts"""
    _kill(scene, scene.leader())


@fault
def kill_follower(scene):
    """kill -9 of the broker that leads least"""
    _kill(scene, scene.follower())


@fault
def kill_controller(scene):
    """kill -9 of the controller"""
    _kill(scene, scene.controller())


@fault
def kill_all(scene):
    """kill -9 of every broker within a moment; started again in another order"""
    brokers = [b.id for b in scene.cluster.brokers]
    for broker in brokers:
        scene.cluster.kill(broker)
    scene.random.shuffle(brokers)
    for broker in brokers:
        scene.pause(0.0, 0.5)
        scene.cluster.start(broker, wait=False)


def _stop(scene, name, seconds):
    scene.cluster.kill(name, signal.SIGSTOP)
    try:
        time.sleep(seconds)
    finally:
        scene.cluster.kill(name, signal.SIGCONT)


@fault
def stop_leader(scene):
    """SIGSTOP of a leader past its session timeout, and back: it wakes up deposed"""
    _stop(scene, scene.leader(), scene.session_s * scene.random.uniform(1.2, 2.0))


@fault
def stop_leader_briefly(scene):
    """SIGSTOP of a leader for less than its session timeout"""
    _stop(scene, scene.leader(), scene.session_s * scene.random.uniform(0.1, 0.6))


@fault
def stop_controller(scene):
    """SIGSTOP of the controller past its session timeout, and back"""
    _stop(scene, scene.controller(), scene.session_s * scene.random.uniform(1.2, 2.0))


@fault
def stop_follower(scene):
    """SIGSTOP of a follower past its session timeout, and back"""
    _stop(scene, scene.follower(), scene.session_s * scene.random.uniform(1.2, 2.0))


@fault
def zookeeper_kill_leader(scene):
    """kill -9 of ZooKeeper's leader; started again"""
    name = scene.zookeeper_leader()
    scene.cluster.kill(name)
    scene.pause(0.5, 3.0)
    scene.cluster.start(name)


@fault
def zookeeper_away(scene):
    """the whole ensemble is stopped for longer than a session, and goes on"""
    names = [one.name for one in scene.cluster.zookeepers]
    for name in names:
        scene.cluster.kill(name, signal.SIGSTOP)
    try:
        time.sleep(scene.session_s * scene.random.uniform(1.1, 1.6))
    finally:
        for name in names:
            scene.cluster.kill(name, signal.SIGCONT)


@fault
def rolling_restart(scene):
    """SIGTERM and start of each broker, one after the other, each waiting for the one before"""
    for broker in [b.id for b in scene.cluster.brokers]:
        scene.cluster.stop(broker)
        scene.cluster.start(broker)
        scene.cluster.wait(scene.healed, f"everything in sync after the restart of broker {broker}")


@fault
def torn_tail(scene):
    """kill -9 of a broker, then garbage behind the end of its logs, as a torn write leaves it"""
    broker = scene.leader()
    scene.cluster.kill(broker)
    folder = os.path.join(scene.cluster.broker(broker).folder, "data")
    for path in glob.glob(os.path.join(folder, f"{scene.topic}-*", "*.log")):
        with open(path, "ab") as file:
            file.write(scene.random.randbytes(scene.random.randrange(1, 200)))
    scene.pause(0.0, scene.session_s)
    scene.cluster.start(broker, wait=False)


@fault
def lost_replica(scene):
    """kill -9 of a broker that does not lead, its log directory emptied: it comes back with nothing"""
    broker = scene.follower()
    led = [p["leader_id"] for p in scene.partitions()]
    scene.cluster.kill(broker)
    if broker in led:
        scene.cluster.wait(lambda: broker not in [p["leader_id"] for p in scene.partitions()], "another leader")
    scene.cluster.wait(lambda: all(broker not in p["isr_nodes"] for p in scene.partitions()), "it out of the ISR")
    folder = os.path.join(scene.cluster.broker(broker).folder, "data")
    if os.path.exists(folder):  # not when it was killed before it had made one
        shutil.rmtree(folder)
    scene.cluster.start(broker, wait=False)


@fault
def two_at_once(scene):
    """kill -9 of a leader while another broker is stopped"""
    leader = scene.leader()
    other = scene.random.choice([b for b in scene.alive() if b != leader])
    scene.cluster.kill(other, signal.SIGSTOP)
    try:
        scene.pause(0.0, 1.0)
        scene.cluster.kill(leader)
        scene.pause(0.0, 1.5 * scene.session_s)
    finally:
        scene.cluster.kill(other, signal.SIGCONT)
    scene.cluster.start(leader, wait=False)
