"""One screen about a cluster of scripts/lib/cluster.py: what runs, who leads what, what is offline.

    print(status(cluster))

Processes are told from their pid files, ZooKeepers by asking them, topics from the metadata of the first broker that
answers. Partitions in trouble have a line each; healthy ones too while all fit the screen, else a line per topic.
Internal topics always have one line.
"""
import collections
import os

PARTITIONS_ON_SCREEN = 24
INTERNAL = ("__consumer_offsets", "__transaction_state")


def table(head, rows):
    """Columns as wide as they need to be, two blanks apart."""
    rows = [[str(cell) for cell in row] for row in [head, *rows]]
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]


def short(path):
    """The path as seen from here, where that is shorter."""
    return min(path, os.path.relpath(path), key=len)


def memory(process):
    """Resident memory, as text."""
    try:
        with open(f"/proc/{process.pid}/status", encoding="ascii", errors="replace") as status:
            kib = next(int(line.split()[1]) for line in status if line.startswith("VmRSS:"))
    except (FileNotFoundError, StopIteration):
        return "-"
    return f"{kib / 1024:.0f} MB"


def zookeeper_rows(cluster):
    for zookeeper in cluster.zookeepers:
        state = (zookeeper.mode() or "up, does not serve") if zookeeper.alive() else "down"
        yield [zookeeper.name, zookeeper.address, state, zookeeper.pid or "-", memory(zookeeper), "", "",
               short(zookeeper.folder)]


def broker_state(broker, metadata):
    if not broker.alive():
        return "down"
    if metadata is None:
        return "up, does not answer"
    if broker.id not in [one["node_id"] for one in metadata["brokers"]]:
        return "up, not in the cluster"
    return "up, controller" if broker.id == metadata["controller_id"] else "up"


def broker_rows(cluster, metadata):
    partitions = [p for topic in (metadata or {"topics": []})["topics"] for p in topic["partitions"]]
    leads = collections.Counter(p["leader_id"] for p in partitions)
    holds = collections.Counter(node for p in partitions for node in p["replica_nodes"])
    for broker in cluster.brokers:
        yield [broker.name, broker.address, broker_state(broker, metadata), broker.pid or "-", memory(broker),
               leads[broker.id], holds[broker.id], short(broker.folder)]


def numbers(ids):
    return ",".join(map(str, ids)) or "-"


def trouble(partition, down):
    """What is wrong with a partition, in words; empty when nothing is. down: ids of brokers that do not run."""
    if partition["leader_id"] < 0:
        return "OFFLINE: none of its replicas can lead"
    if partition["leader_id"] in down:
        return "leader is down (its session is not over yet)"
    behind = [node for node in partition["replica_nodes"] if node not in partition["isr_nodes"]]
    return f"not in sync: {numbers(behind)}" if behind else ""


def partition_row(topic, partition, down):
    leader = partition["leader_id"] if partition["leader_id"] >= 0 else "none"
    return [topic["name"], partition["partition_index"], leader, numbers(partition["replica_nodes"]),
            numbers(partition["isr_nodes"]), trouble(partition, down)]


def topic_row(topic, down):
    """One line for all partitions of a topic."""
    leads = collections.Counter(p["leader_id"] for p in topic["partitions"])
    leaders = " ".join(f"{leader if leader >= 0 else 'none'}:{led}" for leader, led in sorted(leads.items()))
    troubles = collections.Counter(filter(None, (trouble(p, down) for p in topic["partitions"])))
    replicas = len(topic["partitions"][0]["replica_nodes"]) if topic["partitions"] else 0
    return [topic["name"], f"all {len(topic['partitions'])}", leaders, f"{replicas} each", "",
            "; ".join(f"{found}x {text}" for text, found in troubles.most_common())]


def topic_rows(topics, down):
    shown = sum(len(t["partitions"]) for t in topics if t["name"] not in INTERNAL)
    room = PARTITIONS_ON_SCREEN
    for topic in topics:
        whole = shown <= PARTITIONS_ON_SCREEN and topic["name"] not in INTERNAL
        if not whole:
            yield topic_row(topic, down)
        for partition in sorted(topic["partitions"], key=lambda p: p["partition_index"]):
            in_trouble = topic["name"] not in INTERNAL and trouble(partition, down)
            if (whole or in_trouble) and room > 0:
                room -= 1
                yield partition_row(topic, partition, down)


def count(number, word):
    return f"{number} {word}" + ("" if number == 1 else "s")


def summary(topics, down):
    partitions = [p for topic in topics for p in topic["partitions"]]
    offline = sum(1 for p in partitions if p["leader_id"] < 0 or p["leader_id"] in down)
    behind = sum(1 for p in partitions if trouble(p, down)) - offline
    return (f"{count(len(topics), 'topic')}, {count(len(partitions), 'partition')}: {offline} without a leader that "
            f"runs, {behind} with replicas that are not in sync")


def read_metadata(cluster):
    import cluster as clusters  # the module; imports the other way do not happen
    try:
        return cluster.metadata()
    except clusters.ClusterError:
        return None


def status(cluster):
    metadata = read_metadata(cluster)
    identity = metadata["cluster_id"] if metadata else "(no broker answers)"
    lines = [f"cluster {identity}, bootstrap servers {cluster.bootstrap}", ""]
    lines += table(["process", "address", "state", "pid", "memory", "leads", "holds", "folder"],
                   [*zookeeper_rows(cluster), *broker_rows(cluster, metadata)])
    if metadata is None:
        return "\n".join(lines)
    down = {broker.id for broker in cluster.brokers if not broker.alive()}
    topics = sorted(metadata["topics"], key=lambda topic: topic["name"])
    if topics:
        lines += ["", *table(["topic", "partition", "leader", "replicas", "in sync", ""], topic_rows(topics, down))]
    return "\n".join([*lines, "", summary(topics, down)])
