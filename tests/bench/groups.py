"""G1: a consumer group whose members all join at once, and that rebalances when one of them leaves.

Members send heartbeats every 100 ms, not every three seconds: see load/members.c. A rebalance cannot begin before they
have heard of it, so about 100 ms of each time below are the interval's, for every peer alike.
"""
import json
import statistics
import subprocess

import load_runner
import machine
import usage
from kafka_peer import Kafka
from peers import Brokers
from report import Figure

PARTITIONS = 1000
LEAVES, LEAVES_QUICK = 5, 2
CONFIG = {"group.initial.rebalance.delay.ms": "0"}


def each_ms(step, count):
    """Milliseconds of CPU for each member of each generation."""
    return step["cpu_s"] * 1e3 / count


class Members:
    """bench_load members while it runs."""

    def __init__(self, options, peer, group, members, leaves):
        words = {"port": peer.port, "topic": group, "partitions": PARTITIONS, "connections": members, "requests": leaves}
        self.peer = peer
        self.process = subprocess.Popen(load_runner.command(options, "members", words), stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
                                        preexec_fn=machine.end_with_parent)
        machine.also_first(self.process.pid)
        self.expect("ready")

    def expect(self, what):
        if self.process.stdout.readline() != what + "\n":
            raise SystemExit(f"bench: {self.peer.name}: members: " + self.process.communicate()[1])

    def step(self, what):
        """Go on until this is told; what the peer used meanwhile."""
        with usage.Window(self.peer, [self.process.pid]) as window:
            self.go_on()
            self.expect(what)
            return window.finish({})

    def go_on(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def end(self):
        self.go_on()
        out, err = self.process.communicate(timeout=load_runner.LOAD_TIMEOUT_S)
        if self.process.returncode != 0:
            raise SystemExit(f"bench: {self.peer.name}: members: " + err)
        return json.loads(out)


class Group500:
    name = "g1"
    text = "G1: a consumer group of 500 members: all join, then five leave, one after another"
    peers = {"barnabas": Brokers, "kafka": Kafka}
    members = 500
    figures = [
        Figure("join_ms", "all have joined and are settled", "ms", lambda r: r["join_ms"], "<= 500", main=True),
        Figure("rebalance_ms", "one leaves: all others are settled", "ms",
               lambda r: statistics.median(r["rebalance_ms"]), "<= 500", main=True),
        Figure("rebalance_max_ms", "the slowest of these", "ms", lambda r: max(r["rebalance_ms"])),
        Figure("join_cpu_ms", "a join: CPU per member", "ms", lambda r: each_ms(r["join"], r["members"]), "<= 0.1",
               main=True),
        Figure("rebalance_cpu_ms", "a rebalance: CPU per member", "ms",
               lambda r: each_ms(r["leave"], sum(r["members"] - 1 - i for i in range(len(r["rebalance_ms"])))), "<= 0.1",
               main=True),
        Figure("cpu_per_request", "CPU per request", "us", lambda r: r["cpu_s"] / r["requests"] * 1e6),
        Figure("requests", "requests in all", "", lambda r: r["requests"]),
        Figure("heartbeats", "of them heartbeats", "", lambda r: r["heartbeats"]),
        Figure("generations", "generations", "", lambda r: r["generations"]),
        Figure("loaded_mb", "resident, loaded", "MB", lambda r: r["leave"]["loaded_mb"]),
        Figure("generator_core", "generator's share of a core", "", lambda r: r["generator_core"]),
    ]

    def __init__(self, options):
        self.options = options
        self.leaves = LEAVES_QUICK if options.quick else LEAVES
        self.runs = 0

    def describe(self):
        return (f"{self.members} members, a connection each, of a topic of {PARTITIONS} partitions; "
                f"{self.leaves} leave, one after another; no delay of the first rebalance, a heartbeat every 100 ms")

    def open(self, name, folder):
        return self.peers[name](self.options, folder, CONFIG)

    def run(self, peer):
        """A group of its own each: what an earlier one left behind expires beside it."""
        self.runs += 1
        load = Members(self.options, peer, f"group-{self.runs}", self.members, self.leaves)
        join = load.step("joined")
        leave = load.step("left")
        report = load.end()
        report["generator_bound"] = report["generator_core"] > load_runner.GENERATOR_BOUND
        report["foreign"] = max(join.get("foreign", 0), leave.get("foreign", 0))
        return {**report, "cpu_s": join["cpu_s"] + leave["cpu_s"], "join": join, "leave": leave}


class Group100(Group500):
    name = "g1-100"
    text = "G1 with 100 members"
    members = 100
