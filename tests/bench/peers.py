"""Who is measured: Barnabas, alone or as a cluster of three. The floor is in floors.py, Kafka in kafka_peer.py."""
import os
import time

import cluster as cluster_module
import machine

# What a run leaves is gone before the next one: neither its deletion nor its writing out is measured with that. A new
# group begins at once, as Kafka's shipped properties have it: waiting 3 s for more members is no part of reading.
CONFIG = {"log.retention.check.interval.ms": "600000", "log.segment.delete.delay.ms": "500",
          "group.initial.rebalance.delay.ms": "0"}
DROP_S = 5.0  # Kafka deletes nothing in its first half minute, which does not count
TOPIC = 2  # DescribeConfigs' type of resource
LATEST = -1  # ListOffsets' time
ALIKE = ("segment.bytes", "index.interval.bytes", "min.insync.replicas", "flush.messages", "flush.ms", "compression.type",
         "message.timestamp.type")  # what contestants' topics must have in common


class Brokers:
    """Release brokers and their ZooKeeper, in a fresh folder. A subclass says how many."""

    name = "barnabas"
    count = 1
    warm_s = 0  # how long it must be used before it is as fast as it will be

    def __init__(self, options, folder, config=None, count=None):
        count = count or self.count
        keys = {**CONFIG, "offsets.topic.replication.factor": str(min(count, 3)), **(config or {})}
        keys.update(pair.split("=", 1) for pair in options.override)
        self.cluster = self.make_cluster(options, os.path.join(folder, self.name), count, keys)
        self.broker = self.cluster.broker(1)
        self.port = self.broker.port
        self.topics = 0
        self.topic_config = None  # of the first topic, as the broker tells it
        try:
            self.cluster.up()
            cluster_module.wait_until(self.is_quiet, "the end of the start's own work")
        except BaseException:
            self.cluster.close()
            raise
        self.idle_mb = [machine.resident_mb(pid) for pid in self.pids]
        self.idle_pss_mb = sum(machine.pss_mb(pid) for pid in self.pids)

    def make_cluster(self, options, folder, count, keys):
        return cluster_module.Cluster(folder, brokers=count, config=keys, binary=os.path.join(options.build, "barnabasd"))

    @property
    def pids(self):
        return [broker.pid for broker in self.cluster.brokers]

    def is_quiet(self):
        """Nothing but waiting since the last look."""
        used = sum(machine.cpu_seconds(pid) for pid in self.pids)
        before, self.used = getattr(self, "used", 0), used
        return used - before < 1e-4

    @property
    def facts(self):
        starts = self.starts_ms()
        return {**self.common_facts(), **({"ready_ms": starts[0]} if starts else {})}

    def starts_ms(self):
        """Milliseconds, for each start whose end the broker's log tells. Kafka's has no such line."""
        lines = self.broker.log_text().splitlines()
        return [int(line.split(" ready in ")[1].split()[0]) for line in lines if " ready in " in line]

    def common_facts(self):
        return {"idle_mb": sum(self.idle_mb), "idle_pss_mb": self.idle_pss_mb,
                **({"topic_config": self.topic_config} if self.topic_config else {})}

    @property
    def bootstrap(self):
        """For bench_load: every broker's id and port."""
        return ",".join(f"{broker.id}={broker.port}" for broker in self.cluster.brokers)

    def new_topic(self, partitions, replicas=1, config=None):
        """Its name; every partition has a leader and its whole ISR when this returns."""
        self.topics += 1
        name = f"bench-{self.topics}"
        self.create(name, partitions, replicas, config)
        self.wait_complete(name, partitions, replicas)
        if self.topic_config is None:
            self.topic_config = {**self.describe_topic(name), "replicas": str(replicas)}
        return name

    def describe_topic(self, name):
        """{key: value} of what must be alike."""
        asked = {"resource_type": TOPIC, "resource_name": name, "configuration_keys": list(ALIKE)}
        result, = self.broker.call("DescribeConfigs", {"resources": [asked]})["results"]
        if result["error_code"] != 0:
            raise SystemExit(f"bench: cannot ask {self.name} for its topics' configuration: {result}")
        return {one["name"]: one["value"] for one in result["configs"]}

    def create(self, name, partitions, replicas, config=None):
        configs = [{"name": key, "value": value} for key, value in (config or {}).items()]
        controller = self.cluster.broker(self.cluster.controller())
        answer = controller.call("CreateTopics", {"topics": [
            {"name": name, "num_partitions": partitions, "replication_factor": replicas, "configs": configs}],
            "timeout_ms": 60000}, seconds=70)
        if answer["topics"][0]["error_code"] != 0:
            raise SystemExit(f"bench: cannot create a topic: {answer}")

    def wait_complete(self, name, partitions, replicas, seconds=60):
        def complete():
            for broker in self.cluster.brokers:
                topic = broker.call("Metadata", {"topics": [{"name": name}]})["topics"][0]
                if len(topic["partitions"]) != partitions or not all(
                        p["leader_id"] > 0 and len(p["isr_nodes"]) == replicas for p in topic["partitions"]):
                    return False
            return True

        self.cluster.wait(complete, f"leaders and followers of {name}", seconds)

    def drop_topic(self, name):
        self.cluster.broker(self.cluster.controller()).call(
            "DeleteTopics", {"topics": [{"name": name}], "topic_names": [name], "timeout_ms": 30000}, seconds=40)
        end = time.monotonic() + DROP_S
        while not self.is_gone(name) and time.monotonic() < end:
            time.sleep(cluster_module.PAUSE_S)

    def end_offsets(self, topic):
        """{partition: its end}, as its leader tells consumers."""
        led, ends = {}, {}
        for part in self.broker.call("Metadata", {"topics": [{"name": topic}]})["topics"][0]["partitions"]:
            led.setdefault(part["leader_id"], []).append({"partition_index": part["partition_index"], "timestamp": LATEST})
        for leader, asked in led.items():
            answer = self.cluster.broker(leader).call("ListOffsets", {"replica_id": -1, "topics": [
                {"name": topic, "partitions": asked}]}, seconds=30)
            for part in answer["topics"][0]["partitions"]:
                if part["error_code"] != 0:
                    raise SystemExit(f"bench: {self.name}: where does {topic} end? {part}")
                ends[part["partition_index"]] = part["offset"]
        return ends

    def log_files(self, topic):
        """Of a topic of one partition, all that hold records."""
        folder = os.path.join(self.broker.folder, "data", f"{topic}-0")
        return [os.path.join(folder, name) for name in sorted(os.listdir(folder)) if name.endswith(".log")]

    def is_gone(self, name):
        """Its files have no name any more, and nobody has them open: so long their space is not free."""
        named = (entry for broker in self.cluster.brokers for entry in os.listdir(os.path.join(broker.folder, "data")))
        return not any(entry.startswith(name + "-") for entry in named) and \
            not any(f"/{name}-" in path for pid in self.pids for path in machine.open_files(pid))

    def close(self):
        self.cluster.down()
        self.cluster.close()


class Three(Brokers):
    count = 3


class Renamed:
    """A peer under another name, where a workload compares two of a kind."""

    def __init__(self, brokers, name):
        self.brokers, self.name = brokers, name

    def __getattr__(self, name):
        return getattr(self.brokers, name)
