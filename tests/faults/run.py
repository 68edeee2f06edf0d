"""Break a cluster on purpose, under load, and check what its clients saw. The command is scripts/faults.

One run: a cluster of three brokers and three ZooKeepers, clients (workload.py), one kind of fault again and again for
as long as is asked for (injector.py), then peace: everything must heal, and the history must be free of problems
(checker.py). The replicas must be the same, byte for byte.
"""
import argparse
import glob
import json
import os
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "scripts", "lib"))
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import checker  # noqa: E402  pylint: disable=wrong-import-position
import cluster as clusters  # noqa: E402  pylint: disable=wrong-import-position
import injector  # noqa: E402  pylint: disable=wrong-import-position
import workload  # noqa: E402  pylint: disable=wrong-import-position
from admin import Admin  # noqa: E402  pylint: disable=wrong-import-position

TOPIC, PARTITIONS, SESSION_S = "faults", 4, 4.0
CONFIG = {
    "min.insync.replicas": "2", "default.replication.factor": "3", "offsets.topic.replication.factor": "3",
    "offsets.topic.num.partitions": "4", "group.initial.rebalance.delay.ms": "0",
    "zookeeper.session.timeout.ms": str(int(SESSION_S * 1000)), "replica.lag.time.max.ms": "3000",
    "log.segment.bytes": "1048576",
}


class Failed(Exception):
    """The run found a problem."""


def create_topic(cluster):
    answer = Admin(cluster.bootstrap).call_controller("CreateTopics", lambda version, timeout_ms: {
        "topics": [{"name": TOPIC, "num_partitions": PARTITIONS, "replication_factor": 3, "assignments": [],
                    "configs": []}],
        "timeout_ms": timeout_ms, "validate_only": False})
    if answer["topics"][0]["error_code"] != 0:
        raise Failed(f"the topic was not created: {answer}")


def log_bytes(broker, partition):
    paths = sorted(glob.glob(os.path.join(broker.folder, "data", f"{TOPIC}-{partition}", "*.log")))
    parts = []
    for path in paths:
        with open(path, "rb") as file:
            parts.append(file.read())
    return b"".join(parts)


def same_everywhere(cluster):
    return all(len({log_bytes(b, p) for b in cluster.brokers}) == 1 for p in range(PARTITIONS))


def inject(scene, name, seconds):
    """How many times the fault happened."""
    end, count = time.monotonic() + seconds, 0
    while time.monotonic() < end or count == 0:
        injector.FAULTS[name](scene)
        count += 1
        if scene.random.random() < 0.7:  # else the next one comes while this one heals
            scene.cluster.wait(scene.healed, f"everything in sync after {name}")
    return count


def run_in(cluster, name, seconds, seed, per_second):
    """Returns the history and the number of faults."""
    history = []
    create_topic(cluster)
    workers = [workload.Writer(history, cluster.bootstrap, TOPIC, PARTITIONS, per_second),
               workload.Reader(history, cluster.bootstrap, TOPIC, PARTITIONS),
               workload.EndWatcher(history, cluster.bootstrap, TOPIC, PARTITIONS),
               workload.Group(history, cluster.bootstrap, TOPIC, PARTITIONS)]
    scene = injector.Scene(cluster, TOPIC, seed, SESSION_S)
    for worker in workers:
        worker.start()
    try:
        count = inject(scene, name, seconds)
        cluster.wait(scene.healed, "everything in sync in the end")
    finally:
        problems = []
        for worker in workers:
            try:
                worker.stop()
            except Exception as problem:  # pylint: disable=broad-except
                problems.append(f"{type(worker).__name__}: {problem}")
    if problems:
        raise Failed("; ".join(problems))
    workload.read_all(history, cluster.bootstrap, TOPIC, PARTITIONS)
    cluster.wait(lambda: same_everywhere(cluster), "replicas that are the same byte for byte")
    return history, count


def run_one(name, seconds, seed, per_second, folder, binary=None):
    """One line for people; raises Failed, with the folder kept."""
    cluster = clusters.Cluster(folder, 3, 3, CONFIG, binary=binary)
    started = time.monotonic()
    try:
        with cluster:
            history, count = run_in(cluster, name, seconds, seed, per_second)
            reports = cluster.reports()
    except Exception as problem:  # pylint: disable=broad-except
        raise Failed(f"{name} seed {seed}: {type(problem).__name__}: {problem}") from problem
    problems = checker.check(history)
    if problems or reports:
        path = os.path.join(cluster.folder, "history.json")
        with open(path, "w", encoding="utf-8") as file:
            json.dump(history, file)
        raise Failed(f"{name} seed {seed}: history in {path}\n" + "\n".join([*problems.lines(), *reports]))
    found = checker.counts(history)
    return {"fault": name, "seed": seed, "faults": count, "seconds": round(time.monotonic() - started),
            "sent": found["send"], "acknowledged": found["ack"], "unknown": found["unknown"], "read": found["read"],
            "final": found["final"], "commits": found["commit"]}


def print_list():
    for name, function in injector.FAULTS.items():
        reason = getattr(function, "why_not", lambda: None)()
        print(f"{name:24} {function.__doc__}" + (f"  [skipped here: {reason}]" if reason else ""))


def print_row(row):
    print(f"{row['fault']:24} {row['faults']:5} faults {row['seconds']:5} s {row['acknowledged']:9} acknowledged "
          f"{row['unknown']:6} unknown {row['read']:9} read {row['commits']:6} commits   ok", flush=True)


def main(arguments):
    parser = argparse.ArgumentParser(prog="scripts/faults", description="Break a cluster on purpose and check it.")
    parser.add_argument("--list", action="store_true", help="the faults")
    parser.add_argument("--run", metavar="NAME", action="append", default=[], help="one of them; may be repeated")
    parser.add_argument("--all", action="store_true", help="every one")
    parser.add_argument("--seconds", type=float, default=30.0, help="of faults, for each (default 30)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rate", type=int, default=1000, help="messages per second (default 1000)")
    parser.add_argument("--binary", help="barnabasd (default: of build/asan, or of BARNABAS_BUILD)")
    options = parser.parse_args(arguments)
    if options.list or not (options.run or options.all):
        print_list()
        return 0
    names = list(injector.FAULTS) if options.all else options.run
    unknown = [name for name in names if name not in injector.FAULTS]
    if unknown:
        parser.error(f"no such fault: {', '.join(unknown)}; scripts/faults --list shows them")
    base = tempfile.mkdtemp(prefix="barnabas-faults-")
    passed = failed = skipped = 0
    rows = []
    for name in names:
        reason = getattr(injector.FAULTS[name], "why_not", lambda: None)()
        if reason:
            skipped += 1
            print(f"{name:24} skipped: {reason}", flush=True)
            continue
        try:
            rows.append(run_one(name, options.seconds, options.seed, options.rate, os.path.join(base, name),
                                options.binary))
            print_row(rows[-1])
            passed += 1
        except Failed as problem:
            failed += 1
            print(f"{name:24} FAILED\n{problem}", flush=True)
    print(f"{sum(row['faults'] for row in rows)} faults, {sum(row['acknowledged'] for row in rows)} acknowledged "
          f"records checked")
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
