"""One screen about a cluster of scripts/lib/cluster.py: what runs, who leads what, what is offline, what moves.

    view = look(cluster)
    print(status(view))
    troubles(view)       # a sentence for each thing that is not as it should be; empty when all is well

Processes are told from their pid files, ZooKeepers by asking them, sessions from what ZooKeeper holds for the brokers,
topics from the metadata of the first broker that answers, moves from the controller. Partitions in trouble have a line
each; healthy ones too while all fit the screen, else a line per topic. Internal topics always have one line.
"""
import collections
import dataclasses
import os
import re

import cluster as clusters
import wire
from text import count, numbers, table

PARTITIONS_ON_SCREEN = 24
INTERNAL = ("__consumer_offsets", "__transaction_state")
TOPIC_RESOURCE = 2
ASK_S = 5.0


# ------------------------------------------------------------------ looking


@dataclasses.dataclass
class View:
    cluster: object
    modes: dict  # ZooKeeper's name -> standalone, leader, follower, or None where it does not serve
    sessions: dict  # broker id -> ms until it is over when nobody renews it, or None where nobody does any more
    metadata: dict  # None when no broker answers
    min_isr: dict  # topic -> min.insync.replicas; empty where it cannot be told
    moves: dict  # (topic, partition) -> its entry in ListPartitionReassignments

    @property
    def down(self):
        """Ids of brokers that do not run."""
        return {broker.id for broker in self.cluster.brokers if not broker.alive()}

    @property
    def topics(self):
        return sorted(self.metadata["topics"], key=lambda topic: topic["name"]) if self.metadata else []


def parse_sessions(dump, connections):
    """{broker id: ms or None} from ZooKeeper's answers to "dump" and "cons"."""
    timeouts = {int(sid, 16): int(ms) for sid, ms in re.findall(r"sid=(0x[0-9a-f]+),.*?\bto=(\d+)", connections)}
    found, session = {}, None
    for line in dump.partition("Sessions with Ephemerals")[2].splitlines():
        if head := re.fullmatch(r"(0x[0-9a-f]+):", line.strip()):
            session = int(head[1], 16)
        elif broker := re.fullmatch(r"\S*/brokers/ids/(\d+)", line.strip()):
            found[int(broker[1])] = timeouts.get(session)
    return found


def read_sessions(zookeepers):
    """Every ZooKeeper knows all sessions, but only the connections that are its own."""
    dumps = [clusters.ask_zookeeper(zookeeper.address, "dump", ASK_S) for zookeeper in zookeepers]
    connections = "".join(clusters.ask_zookeeper(zookeeper.address, "cons", ASK_S) for zookeeper in zookeepers)
    return parse_sessions(max(dumps, key=len, default=""), connections)


def read_metadata(cluster):
    try:
        return cluster.metadata()
    except clusters.ClusterError:
        return None


def read_min_isr(cluster, metadata):
    names = [topic["name"] for topic in metadata["topics"]] if metadata else []
    wanted = [{"resource_type": TOPIC_RESOURCE, "resource_name": name, "configuration_keys": ["min.insync.replicas"]}
              for name in names]
    for broker in cluster.brokers if wanted else []:
        try:
            results = broker.call("DescribeConfigs", {"resources": wanted}, seconds=ASK_S)["results"]
        except wire.WireError:
            continue
        return {result["resource_name"]: int(result["configs"][0]["value"]) for result in results if result["configs"]}
    return {}


def read_moves(cluster, metadata):
    controller = next((b for b in cluster.brokers if metadata and b.id == metadata["controller_id"]), None)
    try:
        topics = controller.call("ListPartitionReassignments", {"topics": None}, seconds=ASK_S)["topics"] if controller else []
    except wire.WireError:
        return {}
    return {(topic["name"], one["partition_index"]): one for topic in topics for one in topic["partitions"]}


def look(cluster):
    metadata = read_metadata(cluster)
    modes = {zookeeper.name: zookeeper.mode(ASK_S) if zookeeper.alive() else None for zookeeper in cluster.zookeepers}
    serving = [zookeeper for zookeeper in cluster.zookeepers if modes[zookeeper.name]]  # who hangs is asked once
    return View(cluster, modes, read_sessions(serving), metadata, read_min_isr(cluster, metadata),
                read_moves(cluster, metadata))


# ------------------------------------------------------------------ processes


def short(path):
    """The path as seen from here, where that is shorter."""
    return min(path, os.path.relpath(path), key=len)


def memory(process):
    """Resident memory, as text."""
    try:
        with open(f"/proc/{process.pid}/status", encoding="ascii", errors="replace") as lines:
            kib = next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))
    except (FileNotFoundError, StopIteration):
        return "-"
    return f"{kib / 1024:.0f} MB"


def zookeeper_state(view, zookeeper):
    if not zookeeper.alive():
        return "down"
    return view.modes[zookeeper.name] or "up, does not serve"


def zookeeper_rows(view):
    for zookeeper in view.cluster.zookeepers:
        yield [zookeeper.name, zookeeper.address, zookeeper_state(view, zookeeper), "", zookeeper.pid or "-",
               memory(zookeeper), "", "", short(zookeeper.folder)]


def broker_state(view, broker):
    if not broker.alive():
        return "down"
    if view.metadata is None:
        return "up, does not answer"
    if broker.id not in [one["node_id"] for one in view.metadata["brokers"]]:
        return "up, not in the cluster"
    return "up, controller" if broker.id == view.metadata["controller_id"] else "up"


def session_state(view, broker):
    """Of its session with ZooKeeper: how long it would outlive the broker."""
    if broker.id not in view.sessions:
        return "none"
    ms = view.sessions[broker.id]
    return "ends soon" if ms is None else f"{ms / 1000:g} s"


def broker_rows(view):
    partitions = [p for topic in view.topics for p in topic["partitions"]]
    leads = collections.Counter(p["leader_id"] for p in partitions)
    holds = collections.Counter(node for p in partitions for node in p["replica_nodes"])
    for broker in view.cluster.brokers:
        yield [broker.name, broker.address, broker_state(view, broker), session_state(view, broker), broker.pid or "-",
               memory(broker), leads[broker.id], holds[broker.id], short(broker.folder)]


# ------------------------------------------------------------------ partitions


OFFLINE, LEADER_DOWN, BEHIND, UNDER_MIN = "offline", "leader down", "behind", "under min ISR"


def what_is_wrong(view, topic, partition):
    """{kind: words} of one partition; empty when nothing is. What is being added need not be in sync."""
    move = view.moves.get((topic["name"], partition["partition_index"]), {"adding_replicas": []})
    replicas = [node for node in partition["replica_nodes"] if node not in move["adding_replicas"]]
    found = {}
    if partition["leader_id"] < 0:
        found[OFFLINE] = "OFFLINE: none of its replicas can lead"
    elif partition["leader_id"] in view.down:
        found[LEADER_DOWN] = "leader is down (its session is not over yet)"
    if len(replicas) > len(partition["isr_nodes"]):
        found[BEHIND] = f"not in sync: {numbers(node for node in replicas if node not in partition['isr_nodes'])}"
    needed = view.min_isr.get(topic["name"], 1)
    if len(partition["isr_nodes"]) < needed:
        found[UNDER_MIN] = f"{len(partition['isr_nodes'])} in sync, acks=all needs {needed}"
    return found


def move_words(move):
    adding, removing = (f" {sign}{numbers(move[key])}" if move[key] else ""
                        for sign, key in (("+", "adding_replicas"), ("-", "removing_replicas")))
    return f"moving:{adding}{removing}"


def remarks(view, topic, partition):
    """All that there is to say about a partition, in words."""
    move = view.moves.get((topic["name"], partition["partition_index"]))
    return "; ".join([*what_is_wrong(view, topic, partition).values(), *([move_words(move)] if move else [])])


def partition_row(view, topic, partition):
    leader = partition["leader_id"] if partition["leader_id"] >= 0 else "none"
    return [topic["name"], partition["partition_index"], leader, numbers(partition["replica_nodes"]),
            numbers(partition["isr_nodes"]), remarks(view, topic, partition)]


def topic_row(view, topic):
    """One line for all partitions of a topic."""
    leads = collections.Counter(p["leader_id"] for p in topic["partitions"])
    leaders = " ".join(f"{leader if leader >= 0 else 'none'}:{led}" for leader, led in sorted(leads.items()))
    said = collections.Counter(filter(None, (remarks(view, topic, p) for p in topic["partitions"])))
    replicas = len(topic["partitions"][0]["replica_nodes"]) if topic["partitions"] else 0
    return [topic["name"], f"all {len(topic['partitions'])}", leaders, f"{replicas} each", "",
            "; ".join(f"{found}x {text}" for text, found in said.most_common())]


def topic_rows(view):
    shown = sum(len(topic["partitions"]) for topic in view.topics if topic["name"] not in INTERNAL)
    room = PARTITIONS_ON_SCREEN
    for topic in view.topics:
        whole = shown <= PARTITIONS_ON_SCREEN and topic["name"] not in INTERNAL
        if not whole:
            yield topic_row(view, topic)
        for partition in sorted(topic["partitions"], key=lambda p: p["partition_index"]):
            remarkable = topic["name"] not in INTERNAL and remarks(view, topic, partition)
            if (whole or remarkable) and room > 0:
                room -= 1
                yield partition_row(view, topic, partition)


def summary(view):
    wrong = [what_is_wrong(view, topic, partition) for topic in view.topics for partition in topic["partitions"]]
    offline = sum(OFFLINE in one or LEADER_DOWN in one for one in wrong)
    behind, under_min = sum(BEHIND in one for one in wrong), sum(UNDER_MIN in one for one in wrong)
    return (f"{count(len(view.topics), 'topic')}, {count(len(wrong), 'partition')}: {offline} without a leader that runs,"
            f" {behind} with replicas that are not in sync, {under_min} under min.insync.replicas,"
            f" {len(view.moves)} being reassigned")


# ------------------------------------------------------------------ the whole


def troubles(view):
    """Sentences; a reassignment that is under way is none."""
    found = [f"{zookeeper.name} is {zookeeper_state(view, zookeeper)}" for zookeeper in view.cluster.zookeepers
             if view.modes[zookeeper.name] is None]
    found += [f"{broker.name} is {broker_state(view, broker)}" for broker in view.cluster.brokers
              if broker_state(view, broker) not in ("up", "up, controller")]
    if view.metadata is None:
        return found
    if view.metadata["controller_id"] < 0:
        found.append("there is no controller")
    kinds = collections.Counter(kind for topic in view.topics for partition in topic["partitions"]
                                for kind in what_is_wrong(view, topic, partition))
    words = {OFFLINE: "without a leader", LEADER_DOWN: "with a leader that is down", BEHIND: "with replicas not in sync",
             UNDER_MIN: "under min.insync.replicas"}
    return found + [f"{count(kinds[kind], 'partition')} {text}" for kind, text in words.items() if kinds[kind]]


def status(view):
    identity = view.metadata["cluster_id"] if view.metadata else "(no broker answers)"
    lines = [f"cluster {identity}, bootstrap servers {view.cluster.bootstrap}", ""]
    lines += table(["process", "address", "state", "session", "pid", "memory", "leads", "holds", "folder"],
                   [*zookeeper_rows(view), *broker_rows(view)])
    if view.topics:
        lines += ["", *table(["topic", "partition", "leader", "replicas", "in sync", ""], topic_rows(view))]
    if view.metadata is not None:
        lines += ["", summary(view)]
    wrong = troubles(view)
    return "\n".join([*lines, "", f"Not well: {'; '.join(wrong)}." if wrong else "All is well."])
