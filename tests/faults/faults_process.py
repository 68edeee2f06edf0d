"""Faults of processes: killed, stopped, started again; and what a kill leaves in the files."""
import glob
import os
import shutil
import signal
import time

from scene import fault


def _kill(scene, broker):
    scene.kill(broker)
    scene.pause(0.0, 2 * scene.session_s)
    scene.start(broker)


@fault()
def kill_leader(scene):
    """kill -9 of a broker that leads; it is started again after up to two session timeouts"""
    _kill(scene, scene.leader())


@fault()
def kill_follower(scene):
    """kill -9 of the broker that leads least"""
    _kill(scene, scene.follower())


@fault()
def kill_controller(scene):
    """kill -9 of the controller"""
    _kill(scene, scene.controller())


@fault()
def kill_all(scene):
    """kill -9 of every broker within a moment; started again in another order"""
    brokers = [b.id for b in scene.cluster.brokers]
    for broker in brokers:
        scene.cluster.kill(broker)
    scene.random.shuffle(brokers)
    for broker in brokers:
        scene.pause(0.0, 0.5)
        scene.start(broker)


def _stop(scene, names, seconds):
    for name in names:
        scene.cluster.kill(name, signal.SIGSTOP)
    try:
        time.sleep(seconds)
    finally:
        for name in names:
            scene.cluster.kill(name, signal.SIGCONT)


def _past_session(scene):
    return scene.session_s * scene.random.uniform(1.2, 2.0)


@fault()
def stop_leader(scene):
    """SIGSTOP of a leader past its session timeout, and back: it wakes up deposed"""
    _stop(scene, [scene.leader()], _past_session(scene))


@fault()
def stop_leader_briefly(scene):
    """SIGSTOP of a leader for less than its session timeout"""
    _stop(scene, [scene.leader()], scene.session_s * scene.random.uniform(0.1, 0.6))


@fault()
def stop_controller(scene):
    """SIGSTOP of the controller past its session timeout, and back"""
    _stop(scene, [scene.controller()], _past_session(scene))


@fault()
def stop_follower(scene):
    """SIGSTOP of a follower past its session timeout, and back"""
    _stop(scene, [scene.follower()], _past_session(scene))


@fault()
def zookeeper_kill_leader(scene):
    """kill -9 of ZooKeeper's leader; started again"""
    name = scene.zookeeper_leader()
    scene.cluster.kill(name)
    scene.pause(0.5, 3.0)
    scene.cluster.start(name)


@fault()
def zookeeper_away(scene):
    """the whole ensemble is stopped for longer than a session, and goes on"""
    _stop(scene, scene.zookeepers(), scene.session_s * scene.random.uniform(1.1, 1.6))


@fault(gentle=True)
def rolling_restart(scene):
    """SIGTERM and start of each broker, one after the other, each waiting for the one before"""
    for broker in [b.id for b in scene.cluster.brokers]:
        led = scene.led_by(broker)
        scene.note("asked to stop", broker, led)
        scene.cluster.stop(broker)
        scene.note("stopped", broker, led)
        scene.cluster.start(broker)
        scene.wait_healed(f"the restart of broker {broker}")


def active_segments(scene, broker):
    """The last file of each partition's log: those before it were synced when they were full."""
    folder = os.path.join(scene.cluster.broker(broker).folder, "data")
    paths = sorted(glob.glob(os.path.join(folder, f"{scene.topic}-*", "*.log")))
    return list({os.path.dirname(path): path for path in paths}.values())


@fault()
def torn_tail(scene):
    """kill -9 of a broker, then garbage behind the end of its logs, as a torn write leaves it"""
    broker = scene.leader()
    scene.kill(broker)
    for path in active_segments(scene, broker):
        with open(path, "ab") as file:
            file.write(scene.random.randbytes(scene.random.randrange(1, 200)))
    scene.pause(0.0, scene.session_s)
    scene.start(broker)


@fault(patient=True)
def lost_replica(scene):
    """kill -9 of a broker that does not lead, its log directory emptied: it comes back with nothing"""
    broker = scene.follower()
    led = [p["leader_id"] for p in scene.partitions()]
    scene.kill(broker)
    if broker in led:
        scene.cluster.wait(lambda: broker not in [p["leader_id"] for p in scene.partitions()], "another leader")
    scene.cluster.wait(lambda: all(broker not in p["isr_nodes"] for p in scene.partitions()), "it out of the ISR")
    folder = os.path.join(scene.cluster.broker(broker).folder, "data")
    if os.path.exists(folder):  # not when it was killed before it had made one
        shutil.rmtree(folder)
    scene.start(broker)


@fault()
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
    scene.start(leader)
