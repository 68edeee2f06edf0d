"""The part of scripts/quickstart that comes after packages and build: cluster, topic, demo, and what to do next.

The demo is scripts/consumer.py and scripts/producer.py as anybody would start them, the latter with --idempotent. In
the middle of it the broker that leads the partition is killed with SIGKILL, and started again when the messages are
through. It has worked when the log holds as many messages more as were produced, and the consumer has printed every
one that the producer was told the place of.
"""
import argparse
import os
import queue
import re
import signal
import subprocess
import sys
import threading
import time

import cluster as clusters
import wire
from cluster_status import look, status

PYTHON = "/usr/bin/python3"
SCRIPTS = os.path.join(wire.ROOT, "scripts")
TOPIC = "registred_user"
PARTITIONS, BROKERS, IN_SYNC_MIN = 3, 3, 2
MESSAGES, PARTITION, INTERVAL_SECONDS = 10, 0, 0.2
DEMO_SECONDS, TOPIC_SECONDS, END_SECONDS = (clusters.PATIENCE * seconds for seconds in (90.0, 90.0, 30.0))
PLACE = re.compile(r"(?:produced|consumed) (partition \d+ offset \d+): ")
LATEST = -1
DEFAULT_SERVER = "127.0.0.1:9092"  # what the tools ask where nobody says whom


class Failed(Exception):
    """What went wrong and what to do, for people."""


SAYING = threading.Lock()


def say(text=""):
    """A line, whole: two readers echo at the same time, and print() writes a line and its end apart."""
    with SAYING:
        print(text, flush=True)


def run(command, seconds):
    try:
        done = subprocess.run([PYTHON, *command], capture_output=True, text=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired:
        raise Failed(f"{os.path.basename(command[0])} did not end within {seconds:g} s") from None
    if done.returncode != 0:
        raise Failed(f"{os.path.basename(command[0])}: {(done.stderr or done.stdout).strip()}")
    return done.stdout


def brokers_wanted(folder):
    """Three, or as many as there are: a cluster that has grown since the last time does not shrink."""
    try:
        return max(BROKERS, len(clusters.Cluster.open(folder).brokers))
    except clusters.ClusterError:
        return BROKERS  # none yet, or scripts/cluster says what is wrong with it


def start_cluster(given):
    """The cluster. Where a start fails scripts/cluster has ended what it began."""
    command = [os.path.join(SCRIPTS, "cluster"), "up", "--brokers", str(brokers_wanted(given.folder)), "--folder",
               given.folder]
    for option in ("port", "zookeeper_port", "wait"):
        if getattr(given, option) is not None:
            command += ["--" + option.replace("_", "-"), str(getattr(given, option))]
    done = subprocess.run([PYTHON, *command], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Failed(done.stderr.strip().removeprefix("error: ") + "\n" + advice(done.stderr))
    return clusters.Cluster.open(given.folder)


def advice(text):
    """What to do about a cluster that did not start."""
    if "No space left" in text:
        return "What to do: make room on that disk, or choose a folder on another one with --folder."
    if "cannot be made" in text or "ermission denied" in text or "not permitted" in text:
        return "What to do: choose a folder of your own with --folder, or begin as the user whose it is."
    if "is taken by" in text:
        return "What to do: end that process, or choose other ports with --port and --zookeeper-port."
    if "zookeeper-" in text:
        return ("What to do: read ZooKeeper's log, named above. It is a Java program: `java -version` must work and the"
                " packages zookeeper and libslf4j-java be whole (apt-get install --reinstall zookeeper libslf4j-java).")
    return "What to do: read the broker's log, named above; its last lines say what it could not do."


class Reader:
    """A demo script at work; its lines are echoed and kept."""

    def __init__(self, name, bootstrap, *more):
        command = [PYTHON, os.path.join(SCRIPTS, name), "--bootstrap-server", bootstrap, "--topic", TOPIC, *more]
        self.name = name
        self.places = set()
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.changed = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.process.stdout:
            say("   " + line.rstrip("\n"))
            place = PLACE.match(line)
            if place:
                self.places.add(place[1])
            self.changed.put(line)
        self.changed.put(None)

    def wait(self, condition, end):
        """Until condition(), looked at after each line. Failed when the time or the program ends before."""
        while not condition():
            try:
                line = self.changed.get(timeout=max(0.0, end - time.monotonic()))
            except queue.Empty:
                raise Failed(f"{self.name} has not done it within {DEMO_SECONDS:g} s") from None
            if line is None and not condition():
                raise Failed(f"{self.name} ended with status {self.process.wait()}")

    def end(self):
        """A consumer that is told to stop commits how far it was."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def partition_of(one):
    """The demo's partition as the brokers that run see it; None while none of them can tell."""
    try:
        topic = one.metadata([TOPIC])["topics"][0]
    except clusters.ClusterError:
        return None
    return next((p for p in topic["partitions"] if p["partition_index"] == PARTITION), None)


def wait_for_leader(one, but=None):
    """The broker that leads the demo's partition and is not `but`, as soon as another broker says so."""
    def leader():
        partition = partition_of(one)
        known = partition is not None and partition["leader_id"] >= 0 and partition["leader_id"] != but
        return one.broker(partition["leader_id"]) if known else None

    return clusters.wait_until(leader, f"a leader of partition {PARTITION} of {TOPIC}", DEMO_SECONDS, pause=0.005)


def log_end(one):
    """How many messages the demo's partition ever had."""
    partition = {"partition_index": PARTITION, "timestamp": LATEST}
    answer = wait_for_leader(one).call("ListOffsets", {"replica_id": -1, "topics": [
        {"name": TOPIC, "partitions": [partition]}]})["topics"][0]["partitions"][0]
    if answer["error_code"] != 0:
        raise Failed(f"the leader of partition {PARTITION} answers {wire.error_name(answer['error_code'])}")
    return answer["offset"]


def kill_leader(one):
    """The killed broker, once another one leads."""
    killed = wait_for_leader(one)
    say(f"   > broker {killed.id}, which leads partition {PARTITION}, is killed now: kill -9")
    begin = time.monotonic()
    killed.kill()
    leader = wait_for_leader(one, but=killed.id)
    say(f"   > broker {leader.id} leads partition {PARTITION} now, {(time.monotonic() - begin) * 1000:.0f} ms later")
    return killed


def demo(one):
    """Ten messages, and the death of a leader in their middle: the broker that was killed."""
    end = time.monotonic() + DEMO_SECONDS
    before = log_end(one)
    consumer = producer = None
    try:
        consumer = Reader("consumer.py", one.bootstrap, "--from-beginning")
        producer = Reader("producer.py", one.bootstrap, "--idempotent", "--partition", str(PARTITION),
                          "--count", str(MESSAGES), "--interval", str(INTERVAL_SECONDS))
        producer.wait(lambda: len(producer.places) >= MESSAGES // 2, end)
        killed = kill_leader(one)
        producer.wait(lambda: len(producer.places) == MESSAGES, end)
        consumer.wait(lambda: producer.places <= consumer.places, end)
    finally:
        for reader in (producer, consumer):
            if reader:
                reader.end()
    stored = log_end(one) - before
    if stored != MESSAGES:
        raise Failed(f"{MESSAGES} messages were acknowledged, but the log has {stored} more than before")
    say(f"   {MESSAGES} acknowledged, {stored} in the log, {len(producer.places & consumer.places)} consumed:"
        " none is lost, none is there twice")
    return killed


def is_whole(broker):
    """Whether this broker knows of the demo's topic, and of no replica that is not in sync."""
    try:
        topics = broker.call("Metadata", {"topics": None})["topics"]
    except wire.WireError:
        return False
    return TOPIC in [topic["name"] for topic in topics] and all(
        set(p["replica_nodes"]) == set(p["isr_nodes"]) for topic in topics for p in topic["partitions"])


def mend(one, killed, seconds):
    """Start the broker again, and wait until it has what it missed."""
    begin = time.monotonic()
    one.start(killed.id, seconds)
    one.wait(lambda: all(is_whole(broker) for broker in one.brokers), f"broker {killed.id} in sync again", DEMO_SECONDS)
    say(f"   it has caught up and is in sync again, {(time.monotonic() - begin) * 1000:.0f} ms after its start")


def next_steps(given, bootstrap):
    first = bootstrap.split(",")[0]
    server = "" if first == DEFAULT_SERVER else f" --bootstrap-server {first}"
    folder = "" if given.folder == clusters.default_folder() else f" --folder {given.folder}"
    say("The cluster is running. What to try next:\n")
    say(f"  scripts/topics --describe --topic {TOPIC}{server}")
    say(f"  scripts/consumer.py --from-beginning --group another --count {MESSAGES}{server}")
    say(f"  scripts/cluster kill 2{folder}; scripts/cluster status{folder}; scripts/cluster start 2{folder}\n")
    say(f"and scripts/quickstart --down{folder} ends it.")


def quickstart(given):
    say("3. ZooKeeper and three brokers")
    one = start_cluster(given)
    say(f"4. the topic {TOPIC}")
    run([os.path.join(SCRIPTS, "topics"), "--bootstrap-server", one.bootstrap, "--create", "--if-not-exists",
         "--topic", TOPIC, "--partitions", str(PARTITIONS), "--replication-factor", str(BROKERS),
         "--config", f"min.insync.replicas={IN_SYNC_MIN}"], TOPIC_SECONDS)
    say(f"5. the article's consumer and producer, {MESSAGES} messages; after {MESSAGES // 2} the leader is killed")
    killed = demo(one)
    say(f"6. broker {killed.id} again")
    mend(one, killed, given.wait or clusters.START_S)
    say()
    say(status(look(one)))
    say()
    next_steps(given, one.bootstrap)


class Ended(BaseException):
    """By a signal. No Exception: nobody may take it for a failure of something."""


def _end(number, _frame):
    for one in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(one, signal.SIG_IGN)  # the way out is not interrupted again
    raise Ended(number)


def end_cluster(folder):
    try:
        clusters.Cluster.open(folder).down()
    except (clusters.ClusterError, OSError):
        clusters.kill_all(folder)


def main():
    parser = argparse.ArgumentParser(prog="scripts/quickstart", allow_abbrev=False)
    parser.add_argument("--folder", default=clusters.default_folder(), type=os.path.abspath)
    parser.add_argument("--port", type=int)
    parser.add_argument("--zookeeper-port", type=int)
    parser.add_argument("--wait", type=float)
    parser.add_argument("--look-at-options", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.look_at_options:  # before anything is installed or built
        return 0
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:  # nohup
            signal.signal(number, _end)
    try:
        quickstart(given)
    except (Failed, clusters.ClusterError, wire.WireError, OSError, KeyboardInterrupt, Ended) as problem:
        end_cluster(given.folder)
        if isinstance(problem, KeyboardInterrupt):
            return 130
        if isinstance(problem, Ended):
            return 128 + problem.args[0]
        told = clusters.os_problem(problem, given.folder) if isinstance(problem, OSError) else problem
        print(f"\nerror: {told}\nNothing is left running.", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
