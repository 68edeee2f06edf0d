"""What scripts/reassign asks of a cluster and tells it: who is there, what moves, move this, throttle that.

Partitions, replicas and assignments are those of reassignment.py. Errors are raised as tool.CommandError.
"""
import collections
import time

import wire
from reassignment import brokers_of, name_of, throttled_replicas
from tool import CommandError, check_error, error_text

SET, DELETE = 0, 1
TOPIC, BROKER = 2, 4
LEADER_RATE, FOLLOWER_RATE = "leader.replication.throttled.rate", "follower.replication.throttled.rate"
LOG_DIR_RATE = "replica.alter.log.dirs.io.max.bytes.per.second"
LEADER_REPLICAS, FOLLOWER_REPLICAS = "leader.replication.throttled.replicas", "follower.replication.throttled.replicas"
PREFERRED = 0
HEARD_S, PAUSE_S = 10.0, 0.02


def by_topic(partitions):
    """{topic: [index, ...]}, in order."""
    topics = collections.defaultdict(list)
    for topic, index in sorted(partitions):
        topics[topic].append(index)
    return topics


class Reassigning:
    def __init__(self, admin):
        self.admin = admin

    def to_controller(self, name, body):
        return self.admin.call_controller(name, lambda _, timeout_ms: {**body, "timeout_ms": timeout_ms})

    # ---- looking

    def brokers(self):
        """{id: its entry in Metadata} of those that live."""
        return {broker["node_id"]: broker for broker in self.admin.call("Metadata", {"topics": []})["brokers"]}

    def racks(self):
        return {broker: entry["rack"] for broker, entry in self.brokers().items()}

    def partitions(self, topics=None):
        """{partition: its entry in Metadata}. Topics that do not exist are left out."""
        wanted = None if topics is None else [{"name": topic} for topic in sorted(set(topics))]
        found = {}
        for topic in self.admin.call("Metadata", {"topics": wanted, "allow_auto_topic_creation": False})["topics"]:
            if wire.error_name(topic["error_code"]) != "UNKNOWN_TOPIC_OR_PARTITION":
                check_error(topic)
                found.update({(topic["name"], entry["partition_index"]): entry for entry in topic["partitions"]})
        return found

    def assignment(self, topics=None):
        """{partition: replicas}. CommandError where one of these topics does not exist."""
        found = {partition: entry["replica_nodes"] for partition, entry in self.partitions(topics).items()}
        missing = set(topics or ()) - {topic for topic, _ in found}
        if missing:
            raise CommandError("\n".join(f"Topic {topic} not found." for topic in sorted(missing)))
        return found

    def ongoing(self):
        """{partition: its entry in ListPartitionReassignments} of all that move."""
        answer = self.to_controller("ListPartitionReassignments", {"topics": None})
        check_error(answer)
        return {(topic["name"], entry["partition_index"]): entry
                for topic in answer["topics"] for entry in topic["partitions"]}

    # ---- moving

    def alter(self, wanted):
        """Begin; None as replicas of a partition cancels what is under way. {partition: why not} of the refused."""
        topics = [{"name": topic, "partitions": [{"partition_index": index, "replicas": wanted[topic, index]}
                                                 for index in indexes]} for topic, indexes in by_topic(wanted).items()]
        answer = self.to_controller("AlterPartitionReassignments", {"topics": topics})
        check_error(answer)
        return {(topic["name"], entry["partition_index"]): error_text(entry)
                for topic in answer["responses"] for entry in topic["partitions"] if entry["error_code"] != 0}

    def elect_preferred(self, partitions):
        """The first replica of each shall lead. {partition: why not}; where it leads already nothing is wrong."""
        topics = [{"topic": topic, "partitions": indexes} for topic, indexes in by_topic(partitions).items()]
        answer = self.to_controller("ElectLeaders", {"election_type": PREFERRED, "topic_partitions": topics})
        check_error(answer)
        return {(topic["topic"], entry["partition_id"]): error_text(entry)
                for topic in answer["replica_election_results"] for entry in topic["partition_result"]
                if wire.error_name(entry["error_code"]) not in ("NONE", "ELECTION_NOT_NEEDED")}

    # ---- log directories

    def at_broker(self, broker, name, body):
        entry = self.brokers().get(broker)
        if entry is None:
            raise CommandError(f"broker {broker} is not running")
        try:
            return self.admin.call_at((entry["host"], entry["port"]), name, body)
        except wire.ConnectError as problem:
            raise CommandError(f"broker {broker} cannot be reached: {problem}") from None

    def log_dirs(self, replicas):
        """{replica: (directory, directory that it moves to)}, None where it is in none."""
        found = {replica: [None, None] for replica in replicas}
        for broker in sorted({replica[2] for replica in replicas}):
            topics = by_topic({replica[:2] for replica in replicas if replica[2] == broker})
            answer = self.at_broker(broker, "DescribeLogDirs", {"topics": [
                {"topic": topic, "partitions": indexes} for topic, indexes in topics.items()]})
            check_error(answer)
            for log_dir in answer["results"]:
                for topic in log_dir["topics"]:
                    for entry in topic["partitions"]:
                        replica = (topic["name"], entry["partition_index"], broker)
                        if replica in found:
                            found[replica][entry["is_future_key"]] = log_dir["log_dir"]
        return {replica: tuple(places) for replica, places in found.items()}

    def sizes(self, leaders):
        """Bytes of partitions, asked of their leaders: {partition: leader}. What cannot be told is left out."""
        found = {}
        for broker in sorted(set(leaders.values())):
            topics = by_topic({partition for partition, leader in leaders.items() if leader == broker})
            try:
                answer = self.at_broker(broker, "DescribeLogDirs", {"topics": [
                    {"topic": topic, "partitions": indexes} for topic, indexes in topics.items()]})
            except (CommandError, wire.WireError):
                continue
            found.update({(topic["name"], entry["partition_index"]): entry["partition_size"]
                          for log_dir in answer["results"] for topic in log_dir["topics"]
                          for entry in topic["partitions"] if not entry["is_future_key"]})
        return found

    def move_to_dirs(self, wanted):
        """Begin to move {replica: directory}; the replicas that do. Those that are not there yet may be asked again."""
        begun = []
        for broker in sorted({replica[2] for replica in wanted}):
            dirs = collections.defaultdict(list)
            for replica, path in wanted.items():
                if replica[2] == broker:
                    dirs[path].append(replica[:2])
            answer = self.at_broker(broker, "AlterReplicaLogDirs", {"dirs": [
                {"path": path, "topics": [{"name": topic, "partitions": indexes}
                                          for topic, indexes in by_topic(partitions).items()]}
                for path, partitions in sorted(dirs.items())]})
            for topic in answer["results"]:
                for entry in topic["partitions"]:
                    replica = (topic["topic_name"], entry["partition_index"], broker)
                    if wire.error_name(entry["error_code"]) == "REPLICA_NOT_AVAILABLE":
                        continue
                    if entry["error_code"] != 0:
                        raise CommandError(f"Failed to alter dir for {name_of(replica)}: {error_text(entry)}")
                    begun.append(replica)
        return begun

    # ---- configurations

    def alter_configs(self, kind, resources, send):
        """resources: {name: [(key, value or None to delete), ...]}"""
        answer = send({"resources": [{"resource_type": kind, "resource_name": str(name), "configs": [
            {"name": key, "config_operation": DELETE if value is None else SET, "value": value}
            for key, value in configs]} for name, configs in resources.items()]})
        for result in answer["responses"]:
            check_error(result)

    def alter_topics(self, resources):
        if resources:
            self.alter_configs(TOPIC, resources, lambda body: self.admin.call("IncrementalAlterConfigs", body))

    def alter_brokers(self, resources):
        """A broker's own are told to that broker."""
        for broker, configs in sorted(resources.items()):
            self.alter_configs(BROKER, {broker: configs}, lambda body, to=broker: self.at_broker(
                to, "IncrementalAlterConfigs", body))

    # ---- throttles

    def throttle_moves(self, moving, rate):
        """moving: of reassignment.moves(). Set, and heard of, before anything moves; bytes a second."""
        self.alter_topics({topic: [(LEADER_REPLICAS, leaders), (FOLLOWER_REPLICAS, followers)]
                           for topic, (leaders, followers) in throttled_replicas(moving).items()})
        brokers = brokers_of(moving)
        self.alter_brokers({broker: [(LEADER_RATE, str(rate)), (FOLLOWER_RATE, str(rate))] for broker in brokers})
        for broker in brokers:
            self.await_value(broker, FOLLOWER_RATE, str(rate))

    def await_value(self, broker, key, value):
        """Changes are notified of in their order: a broker that goes by this one has heard of all before it. Without
        that, megabytes would move before a throttle begins. A broker that is slow to hear is not waited for for ever."""
        end = time.monotonic() + HEARD_S
        asked = {"resources": [{"resource_type": BROKER, "resource_name": str(broker), "configuration_keys": [key]}]}
        while time.monotonic() < end:
            result, = self.at_broker(broker, "DescribeConfigs", asked)["results"]
            if any(one["name"] == key and one["value"] == value for one in result["configs"] or []):
                return
            time.sleep(PAUSE_S)

    def throttle_log_dirs(self, brokers, rate):
        self.alter_brokers({broker: [(LOG_DIR_RATE, str(rate))] for broker in brokers})

    def clear_throttles(self, brokers, topics):
        """Where a broker is down the others' are cleared, and CommandError names it."""
        alive = set(self.brokers())
        self.alter_brokers({broker: [(key, None) for key in (LEADER_RATE, FOLLOWER_RATE, LOG_DIR_RATE)]
                            for broker in brokers if broker in alive})
        exist = {topic for topic, _ in self.partitions(topics)} if topics else set()
        self.alter_topics({topic: [(LEADER_REPLICAS, None), (FOLLOWER_REPLICAS, None)] for topic in exist})
        gone = sorted(set(brokers) - alive)
        if gone:
            raise CommandError(f"not running, so not told: {', '.join(f'broker {broker}' for broker in gone)}. Where a"
                               " throttle was set there, it stays until this is run again with the broker up.")
