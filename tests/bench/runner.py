"""One workload from start to end: who is started when, which runs count, and what a reader must know of them.

Only one peer is there at a time: it is started for its visit, runs, and is gone with its files before the next one
comes. A JVM that is warm and waits still has its memory, its threads and its session. See order.py for the order.
"""
import os
import shutil
import time

import cluster as cluster_module
import load_runner
import machine
import order
import report
import usage

AGAIN = " again"
AGAIN_PAIRS = 3  # of fewer pairs, a median says nothing about a peer against itself
WARM_MESSAGES, WARM_MORE = 5e6, 3  # a JVM needs so many messages, too; then it may take so many times as long
REPEATS_EACH = 2  # of a run that was disturbed
FILES_MANY, FILES_REST_S = 2000, 5.0  # ext4 goes slowly around inodes that were freed in the last 5 s


class Runner:
    """progress(text): for people who wait. run() fills runs, openings, facts, counted, notes."""

    def __init__(self, workload, names, folder, progress):
        options = workload.options
        self.workload, self.names, self.folder, self.progress = workload, names, folder, progress
        self.pairs, self.each = options.runs, options.each
        self.again = None
        if getattr(workload, "again", True) and self.pairs >= AGAIN_PAIRS:
            self.again = names[0] + AGAIN
        self.gate = usage.Gate(0 if options.quick else options.patience)
        self.repeats = 0 if options.quick else self.pairs * self.each * len(names) // 2
        everybody = [names[0], *([self.again] if self.again else []), *names[1:]]
        self.runs = {name: [] for name in everybody}
        self.openings = {name: [] for name in everybody}
        self.facts, self.counted, self.discarded, self.notes, self.left_out = {}, {}, {}, [], set()
        self.began = time.monotonic()

    @property
    def visits(self):
        slow = [name for name in self.names if getattr(self.workload.peers[name], "slow_to_warm", False)]
        return order.visits(list(self.runs), self.pairs, last=slow)

    def run(self):
        visits = self.visits
        for i, (name, count) in enumerate(visits):
            if name not in self.left_out:
                self.visit(name, count * self.each, is_last=all(other != name for other, _ in visits[i + 1:]))
        for name in self.left_out:
            del self.runs[name]
        self.conclude()

    # ---- a visit

    def visit(self, name, count, is_last):
        folder = os.path.join(self.folder, f"{len(self.openings[name])}-{name.replace(' ', '-')}")
        os.makedirs(folder)
        self.tell(name, "starts")
        peer = None
        try:
            peer = self.workload.open(name.removesuffix(AGAIN), folder)
            if self.workload.options.first:
                self.put_first(peer)
            if self.workload.options.realtime:
                self.put_realtime(peer)
            cold = self.warm(name, peer)
            for _ in range(count):
                self.runs[name].append({**self.measure(name, peer), "block": len(self.runs[name]) // self.each})
            if is_last and usage.calls_wanted and any(figure.counted for figure in self.workload.figures):
                self.count_calls(name, peer)
            self.facts[name] = {**peer.facts, **cold}
            self.openings[name].append(self.facts[name])
        except load_runner.Skip as reason:
            if peer is not None or name == self.names[0]:
                raise
            self.left_out.add(name)
            self.notes.append(f"{name} is left out: {reason}")
        finally:
            if peer is not None:
                peer.close()
            remove(folder)

    def put_first(self, peer):
        """And what is started later: a broker that comes back, or that a run begins with."""
        zookeepers = getattr(getattr(peer, "cluster", None), "zookeepers", [])
        if not machine.put_first([os.getpid(), *getattr(peer, "pids", []), *(one.pid for one in zookeepers)]):
            self.notes.append("--first cannot be had here: it needs root and a kernel with autogroups")
            self.workload.options.first = False
        else:
            machine.first, cluster_module.Process.on_start = True, machine.also_first

    def put_realtime(self, peer):
        if not machine.put_realtime([os.getpid(), *getattr(peer, "pids", [])]):
            self.notes.append("--realtime cannot be had here: it needs root")
            self.workload.options.realtime = False

    @property
    def is_warmed(self):
        return getattr(self.workload, "warms", True)

    def warm(self, name, peer):
        """Run it until it is as fast as it will be, a run at least; what that cost a JVM, for its facts."""
        seconds = getattr(peer, "warm_s", 0) if self.is_warmed else 0
        wanted = 0 if getattr(self.workload, "open_loop", False) or self.workload.options.quick else WARM_MESSAGES
        reports, begin = [], time.monotonic()
        while seconds:
            took, messages = time.monotonic() - begin, sum(one.get("records", 0) for one in reports)
            if took >= seconds and (messages >= wanted or took >= WARM_MORE * seconds):
                break
            self.tell(name, f"warms up, {took:.0f} of {seconds} s, {messages / 1e6:.1f} million messages")
            reports.append(self.workload.run(peer))
        if not reports and len(self.runs) > 1 and getattr(self.workload, "warm_run", True) and self.is_warmed \
                and not self.workload.options.quick:
            self.tell(name, "warms up, one run")
            self.workload.run(peer)
        if not reports or not all("cpu_s" in one and one.get("bytes") for one in reports):
            return {}
        return {"warm_s": round(time.monotonic() - begin), "warm_messages": sum(one.get("records", 0) for one in reports),
                "cold_cpu_per_gb": sum(one["cpu_s"] for one in reports) / sum(one["bytes"] for one in reports) * 1e9}

    def measure(self, name, peer):
        """A run that nobody disturbed, or after REPEATS_EACH attempts one that says how much; then nobody hopes again."""
        for attempt in range(REPEATS_EACH + 1):
            self.tell(name, "runs")
            self.gate.wait()
            one = self.workload.run(peer)
            if one.get("foreign", 0) <= usage.FOREIGN_MAX or self.repeats <= 0:
                return one
            if attempt < REPEATS_EACH:
                self.repeats -= 1
                self.discarded[name] = self.discarded.get(name, 0) + 1
        self.repeats = 0
        return one

    def count_calls(self, name, peer):
        self.tell(name, "counts system calls")
        usage.counting = True
        try:
            self.counted[name] = self.workload.run(peer)
        finally:
            usage.counting = False

    def tell(self, name, what):
        done, all_runs = sum(map(len, self.runs.values())), self.pairs * self.each * len(self.runs)
        took = time.monotonic() - self.began
        left = f", about {took / done * (all_runs - done):.0f} s left" if done else ""
        self.progress(f"{self.workload.name}: {done} of {all_runs} runs in {took:.0f} s{left}; {name} {what}")

    # ---- what a reader must know

    def conclude(self):
        notes = self.notes
        if any("cpu_s" in one for runs in self.runs.values() for one in runs):
            notes.append(f"processor time comes from {usage.SOURCE}")
        for name, facts in self.facts.items():
            if "warm_s" in facts:
                notes.append(f"{name} was warmed up for {facts['warm_s']} s and {facts['warm_messages'] / 1e6:.1f} million"
                             " messages after each start; that is not in its figures")
        for name, count in self.discarded.items():
            notes.append(f"{name}: {count} runs were done again, because others used more than"
                         f" {usage.FOREIGN_MAX * 100:.0f} % of the machine")
        if self.gate.timeouts and self.workload.options.patience and not self.workload.options.quick:
            notes.append(f"before {self.gate.timeouts} runs the machine did not become idle in time")
        notes += report.disturbed(self.runs, usage.FOREIGN_MAX)
        notes += report.generator_bound(self.runs)
        notes += report.too_slow(self.runs)
        notes += report.unequal({name: facts["topic_config"] for name, facts in self.facts.items()
                                 if "topic_config" in facts and name != self.again})
        verdict = report.against_itself(self.workload.figures, self.names[0], self.runs[self.names[0]],
                                        self.runs[self.again]) if self.again else None
        notes += [verdict[1]] if verdict else []


def remove(folder):
    """Of a visit, with all that its peer wrote."""
    files = sum(len(names) for _, _, names in os.walk(folder))
    shutil.rmtree(folder, ignore_errors=True)
    if files > FILES_MANY:
        time.sleep(FILES_REST_S)
