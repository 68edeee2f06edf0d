"""Faults of disks, of the power, and of the clock."""
import os
import time

from disk import Shim
from faults_process import active_segments
from scene import fault

GIVEN_UP_MOST_S = 30.0
FLUSH_MODE = {"log.flush.interval.messages": "1"}


def _wait_given_up(scene, broker, what):
    """Until the broker leads nothing, or is dead; how long that took is noted."""
    begun = time.monotonic()
    scene.cluster.wait(lambda: not scene.cluster.broker(broker).alive() or scene.leads_nothing(broker),
                       f"the loss of leadership of broker {broker} {what}", GIVEN_UP_MOST_S)
    scene.cluster.wait(lambda: scene.leads_nothing(broker), "other leaders", GIVEN_UP_MOST_S)
    scene.note("given up", broker, what, time.monotonic() - begun)


def _leader_of_something(scene):
    broker = scene.leader()
    return broker, scene.shims[broker]


@fault("shim")
def disk_full(scene):
    """a leader's disk has no more room, after a last write that is cut short; then room, and a restart"""
    broker, shim = _leader_of_something(scene)
    shim.room = scene.random.randrange(0, 100000)
    full = shim.no_space
    scene.cluster.wait(lambda: shim.no_space > full, "a write that finds no room")
    _wait_given_up(scene, broker, "with a full disk")
    shim.well_again()
    scene.start_again(broker)


@fault("mounts")
def disk_full_really(scene):
    """a leader's file system is filled to its last block; then room, and a restart"""
    broker = scene.leader()
    mounted = scene.mounts[broker]
    mounted.fill(scene.random.randrange(0, 200000))
    try:
        _wait_given_up(scene, broker, "with a full disk")
    finally:
        mounted.free()
    scene.start_again(broker)


@fault("shim")
def disk_slow(scene):
    """every write and sync of a leader takes 5 to 100 ms longer, for a while"""
    _, shim = _leader_of_something(scene)
    written = shim.writes
    shim.slow_us = scene.random.randrange(5000, 100000)
    scene.cluster.wait(lambda: shim.writes > written + 1, "a slow write that ends")
    scene.pause(1.0, 2 * scene.session_s)
    shim.well_again()


@fault("shim")
def disk_hangs_briefly(scene):
    """writes and syncs of a leader hang for up to a session timeout, and go on"""
    _, shim = _leader_of_something(scene)
    shim.hang = Shim.WRITES | Shim.SYNCS
    scene.cluster.wait(lambda: shim.hanging > 0, "a call that hangs")
    scene.pause(0.1, scene.session_s)
    shim.well_again()


@fault("shim")
def disk_hangs(scene):
    """writes and syncs, sometimes reads, of a leader hang for good: it must lose its leaderships; then a restart"""
    broker, shim = _leader_of_something(scene)
    shim.hang = Shim.WRITES | Shim.SYNCS | (Shim.READS if scene.random.random() < 0.5 else 0)
    _wait_given_up(scene, broker, "with a disk that hangs")
    if scene.random.random() < 0.5:
        scene.pause(0.0, scene.session_s)
        shim.well_again()  # what hung goes on, in a broker that was deposed
        scene.pause(0.0, scene.session_s)
    scene.start_again(broker)
    shim.well_again()


@fault("shim", config=FLUSH_MODE)
def sync_fails(scene):
    """in flush mode: one sync of a leader fails; it must give up its disk; then a restart"""
    broker, shim = _leader_of_something(scene)
    failed = shim.failed
    shim.fail_syncs = 1
    scene.cluster.wait(lambda: shim.failed > failed, "a sync that fails")
    _wait_given_up(scene, broker, "with a sync that failed")
    shim.well_again()
    scene.pause(0.0, scene.session_s)
    scene.start_again(broker)


def _another_boot(scene, broker):
    """The kernel's boot id, as this broker sees it from its next start on."""
    scene.shims[broker].boot = scene.random.randrange(1, 1 << 32)


@fault("shim", "mounts", patient=True)
def power_failure(scene):
    """kill -9 of a leader and of its file system: what was not synced is gone; another boot id"""
    broker = scene.leader()
    scene.kill(broker)
    scene.mounts[broker].lose_power()
    _another_boot(scene, broker)
    scene.pause(0.0, 1.5 * scene.session_s)
    scene.start(broker)


@fault("shim", "mounts", config=FLUSH_MODE)
def power_failure_of_all(scene):
    """in flush mode: all brokers and file systems at once, as when a rack loses its power"""
    brokers = [b.id for b in scene.cluster.brokers]
    for broker in brokers:
        scene.cluster.kill(broker)
    for broker in brokers:
        scene.mounts[broker].lose_power()
        _another_boot(scene, broker)
    scene.random.shuffle(brokers)
    for broker in brokers:
        scene.pause(0.0, 0.5)
        scene.start(broker)


@fault("shim", patient=True)
def lost_tail(scene):
    """kill -9 of a leader; the last bytes of its active segments are cut off or garbled; another boot id"""
    broker = scene.leader()
    scene.kill(broker)
    for path in active_segments(scene, broker):
        size = os.path.getsize(path)
        bad = min(size, scene.random.randrange(1, 8192))
        with open(path, "r+b") as file:
            if scene.random.random() < 0.5:
                file.truncate(size - bad)
            else:
                file.seek(size - bad)
                file.write(scene.random.randbytes(bad))
    _another_boot(scene, broker)
    scene.pause(0.0, scene.session_s)
    scene.start(broker)


@fault("shim")
def clock_jumps(scene):
    """the wall clock of a broker jumps by up to a day, forth or back, and back again"""
    shim = scene.shims[scene.random.choice(scene.alive())]
    day_ms, jumped = 24 * 3600 * 1000, shim.jumped
    shim.clock_ms = scene.random.choice([-1, 1]) * int(day_ms ** scene.random.random())
    scene.cluster.wait(lambda: shim.jumped > jumped, "somebody who asks for the time")
    scene.pause(0.5, 2 * scene.session_s)
    if scene.random.random() < 0.7:
        shim.well_again()
