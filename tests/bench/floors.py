"""The floor as a peer: tests/bench/floor alone, and as a leader with two followers."""
import os
import subprocess

import cluster as cluster_module
import machine
import wire

LEADER_ID = 1
PROGRAM = "bench_floor"


class FloorProcess:
    """One process of bench_floor, in a session of its own, as a broker is: Linux shares processors out by session
    first, and on a busy machine a contestant in the load's session was eight times as fast as one beside it. It ends
    when its standard input does, so it outlives nobody."""

    def __init__(self, program, folder, follow=None):
        os.makedirs(folder)
        self.folder = folder
        words = [program, folder] + ([] if follow is None else [str(follow[0]), str(follow[1])])
        self.process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                        start_new_session=True, preexec_fn=machine.end_with_parent)
        machine.also_first(self.process.pid)
        self.port = int(self.process.stdout.readline().split()[1])
        self.pid = self.process.pid
        self.connection = wire.Connection("127.0.0.1", self.port)

    def create(self, topic, partitions, replicas, config=None):
        answer = self.connection.call("CreateTopics", {"topics": [
            {"name": topic, "num_partitions": partitions, "replication_factor": replicas,
             "configs": [{"name": key, "value": value} for key, value in (config or {}).items()]}]})
        if answer["topics"][0]["error_code"] != 0:
            raise SystemExit(f"bench: the floor cannot create a topic: {answer}")

    def delete(self, topic):
        self.connection.call("DeleteTopics", {"topic_names": [topic]})

    def is_complete(self, topic, replicas):
        described = self.connection.call("Metadata", {"topics": [{"name": topic}]})["topics"][0]
        return all(len(part["isr_nodes"]) == replicas for part in described["partitions"])

    def end_offsets(self, topic, partitions):
        """As a replica sees them: what is written, whether or not it is copied."""
        answer = self.connection.call("ListOffsets", {"replica_id": LEADER_ID, "topics": [{"name": topic, "partitions": [
            {"partition_index": i, "timestamp": -1} for i in range(partitions)]}]})
        return [part["offset"] for part in answer["topics"][0]["partitions"]]

    def close(self):
        """Its exit status."""
        self.connection.close()
        self.process.stdin.close()
        status = self.process.wait()
        self.process.stdout.close()
        return status


class Floor:
    """One floor, which does for a request only what no broker can avoid."""

    name = "floor"
    warm_s = 0

    def __init__(self, options, folder):
        self.program = os.path.join(options.build, "bench", PROGRAM)
        self.folder = os.path.join(folder, self.name)
        self.leader = FloorProcess(self.program, os.path.join(self.folder, "1"))
        self.followers = []
        self.port = self.leader.port
        self.idle = {"idle_mb": machine.resident_mb(self.leader.pid), "idle_pss_mb": machine.pss_mb(self.leader.pid)}
        self.topics = 0

    @property
    def pids(self):
        return [one.pid for one in (self.leader, *self.followers)]

    @property
    def facts(self):
        return self.idle

    @property
    def bootstrap(self):
        return f"{LEADER_ID}={self.port}"

    def new_topic(self, partitions, replicas=1, config=None):
        """Its name; every follower reads it when this returns."""
        self.topics += 1
        name = f"bench-{self.topics}"
        for one in (self.leader, *(self.followers if replicas > 1 else ())):
            one.create(name, partitions, replicas, config)
        cluster_module.wait_until(lambda: self.leader.is_complete(name, replicas), f"followers of {name}")
        return name

    def drop_topic(self, name):
        for one in (*self.followers, self.leader):
            one.delete(name)

    def log_files(self, topic):
        """Of a topic of one partition."""
        return [os.path.join(self.leader.folder, f"{topic}-0.log")]

    def close(self):
        """The exit statuses."""
        return [one.close() for one in (*self.followers, self.leader)]


class FloorApart(Floor):
    """Two that share nothing but the machine: `beside` is for a load that is to be served by nobody else."""

    def __init__(self, options, folder):
        super().__init__(options, folder)
        self.beside = Floor(options, os.path.join(folder, "beside"))

    @property
    def pids(self):
        return [*super().pids, *self.beside.pids]

    def close(self):
        return [*super().close(), *self.beside.close()]


class FloorThree(Floor):
    """A leader and two followers that pull from it."""

    name = "floor three"

    def __init__(self, options, folder):
        super().__init__(options, folder)
        for broker_id in (2, 3):
            self.follow(broker_id)

    def follow(self, broker_id):
        """Start a follower; its process."""
        one = FloorProcess(self.program, os.path.join(self.folder, str(broker_id)), (broker_id, self.port))
        self.followers.append(one)
        return one
