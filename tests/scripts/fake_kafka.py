"""A cluster that exists in the memory of the test: brokers that answer the requests of admin tools, and fail on demand.

    with FakeKafka(brokers=2) as kafka:
        kafka.add_topic("t", [([1, 2], [1])])              # partition 0: replicas 1 and 2, in sync 1; led by the first
        kafka.fail("CreateTopics", 41, moves_to=2)         # the next CreateTopics: NOT_CONTROLLER, then 2 is it
        kafka.fail("CreateTopics", CLOSE)                  # the one after that: the connection is closed
        ...
        assert kafka.asked("CreateTopics") == [1, 2]       # which brokers were asked, in order

A failure of the fake itself, such as a request that it does not know, is raised when the cluster is left.
"""
import socket
import struct
import threading

import wire

CLOSE = "close"
INT32_MIN = -2**31
VERSIONS = {"ApiVersions": (0, 4), "Metadata": (0, 12), "CreateTopics": (0, 7), "DeleteTopics": (0, 6),
            "CreatePartitions": (0, 3), "DescribeConfigs": (0, 4)}
REASSIGNING = {"ListPartitionReassignments": (0, 0), "AlterPartitionReassignments": (0, 0), "ElectLeaders": (0, 2),
               "IncrementalAlterConfigs": (0, 1), "DescribeLogDirs": (0, 4), "AlterReplicaLogDirs": (0, 2)}
ALREADY_EXISTS, UNKNOWN_TOPIC, INVALID_CONFIG, NO_REASSIGNMENT = 36, 3, 40, 85
REPLICA_NOT_AVAILABLE = 9
DELETE = 1
BROKER, DYNAMIC_BROKER = 4, 2


def topic_id_of(name):
    return wire.uuid_text(name.encode().ljust(16, b"-")[:16])


class FakeKafka:
    def __init__(self, brokers=1):
        self.lock = threading.Lock()
        self.topics = {}  # name -> {"partitions": [(replicas, isr)], "configs": [(name, value, source)]}
        self.dead = set()  # brokers that Metadata leaves out
        self.reassignments = []  # topics of ListPartitionReassignments, beside those that were asked for
        self.racks = {}
        self.moving = {}  # (topic, index) -> [replicas before, replicas asked for, how often it is listed before it is done]
        self.listed_before_done = 0  # of the moves that begin from now on
        self.settings = {}  # (4 for a broker or 2 for a topic, its name) -> {key: value}, as set with IncrementalAlterConfigs
        self.heard = {}  # a broker's name -> what of its settings it goes by
        self.log_dirs = {}  # (topic, index, broker) -> [directory, directory that it moves to or None]
        self.versions = dict(VERSIONS)
        self.controller_id = 1
        self.failures = {}  # API -> [what happens to the next requests]
        self.requests = []  # (broker, API, version, body)
        self.answering = None  # the broker whose answer is being made
        self.problems = []
        self.threads = []
        self.connections = []
        self.listeners = {node: socket.create_server(("127.0.0.1", 0)) for node in range(1, brokers + 1)}
        self.ports = {node: listener.getsockname()[1] for node, listener in self.listeners.items()}
        self.bootstrap = f"127.0.0.1:{self.ports[1]}"

    def __enter__(self):
        for node, listener in self.listeners.items():
            self._start(self._accept, node, listener)
        return self

    def __exit__(self, kind, *_):
        for listener in self.listeners.values():
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        with self.lock:
            connections = list(self.connections)
        for connection in connections:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # closed already
        for thread in self.threads:
            thread.join(30)
        if kind is None and self.problems:
            raise self.problems[0]

    # ---- what tests set and ask

    def add_topic(self, name, partitions, configs=()):
        self.topics[name] = {"partitions": list(partitions), "configs": list(configs)}

    def fail(self, api, what, message=None, moves_to=None):
        self.failures.setdefault(api, []).append((what, message, moves_to))

    def asked(self, api):
        return [node for node, name, _, _ in self.requests if name == api]

    def bodies(self, api):
        return [body for _, name, _, body in self.requests if name == api]

    # ---- threads

    def _start(self, run, *arguments):
        thread = threading.Thread(target=run, args=arguments)
        self.threads.append(thread)
        thread.start()

    def _accept(self, node, listener):
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return  # the cluster is left
            with self.lock:
                self.connections.append(connection)
            self._start(self._serve, node, connection)

    def _serve(self, node, connection):
        with connection:
            stream = connection.makefile("rb")
            try:
                while size := stream.read(4):
                    header, body = wire.parse_request(stream.read(struct.unpack(">i", size)[0]))
                    answer = self._answer(node, header, body)
                    if answer is None:
                        return
                    connection.sendall(answer)
            except OSError:
                return
            except Exception as problem:
                self.problems.append(problem)

    def _answer(self, node, header, body):
        name, version = wire.api(header["request_api_key"]).name, header["request_api_version"]
        with self.lock:
            self.requests.append((node, name, version, body))
            self.answering = node
            what, message, moves_to = self.failures[name].pop(0) if self.failures.get(name) else (None, None, None)
            if moves_to is not None:
                self.controller_id = moves_to
            if what == CLOSE:
                return None
            answer = getattr(self, "_" + name)(body, what, message)
        return wire.response_frame(name, answer, version, header["correlation_id"])

    # ---- answers; `code` and `message` are those of a failure that was asked for

    def _ApiVersions(self, body, code, message):
        return {"api_keys": [{"api_key": wire.api(name).key, "min_version": low, "max_version": high}
                             for name, (low, high) in self.versions.items()]}

    def _Metadata(self, body, code, message):
        wanted = sorted(self.topics) if body["topics"] is None else [topic["name"] for topic in body["topics"]]
        return {
            "brokers": [{"node_id": node, "host": "127.0.0.1", "port": port, "rack": self.racks.get(node)}
                        for node, port in self.ports.items() if node not in self.dead],
            "cluster_id": "fake", "controller_id": self.controller_id if code is None else code,
            "topics": [self._topic(name) for name in wanted],
        }

    def _topic(self, name):
        if name not in self.topics:
            return {"error_code": UNKNOWN_TOPIC, "name": name}
        return {"name": name, "topic_id": topic_id_of(name), "is_internal": name.startswith("__"), "partitions": [
            {"partition_index": index, "leader_id": isr[0] if isr else -1, "replica_nodes": replicas, "isr_nodes": isr}
            for index, (replicas, isr) in enumerate(self.topics[name]["partitions"])]}

    def _CreateTopics(self, body, code, message):
        return {"topics": [self._create(topic, code, message) for topic in body["topics"]]}

    def _create(self, topic, code, message):
        name = topic["name"]
        if code is None and name in self.topics:
            code, message = ALREADY_EXISTS, f"Topic '{name}' already exists."
        if code is None:
            self.add_topic(name, [([1], [1])] * max(topic["num_partitions"], 1))
        return {"name": name, "error_code": code or 0, "error_message": message}

    def _DeleteTopics(self, body, code, message):
        names = [topic["name"] for topic in body["topics"]] or body["topic_names"]
        return {"responses": [{"name": name, "error_message": message, "error_code": code or (
            0 if self.topics.pop(name, None) else UNKNOWN_TOPIC)} for name in names]}

    def _CreatePartitions(self, body, code, message):
        for topic in body["topics"] if code is None else []:
            partitions = self.topics[topic["name"]]["partitions"]
            partitions += [([1], [1])] * (topic["count"] - len(partitions))
        return {"results": [{"name": topic["name"], "error_code": code or 0, "error_message": message}
                            for topic in body["topics"]]}

    def _DescribeConfigs(self, body, code, message):
        return {"results": [{
            "error_code": code or 0, "error_message": message, "resource_type": resource["resource_type"],
            "resource_name": resource["resource_name"], "configs": [
                {"name": name, "value": value, "config_source": source}
                for name, value, source in self._described(resource)]}
            for resource in body["resources"]]}

    def _described(self, resource):
        """A broker goes by what was set from the second time on that it is asked: it hears of it a little later."""
        name = resource["resource_name"]
        if resource["resource_type"] == BROKER:
            settings, heard = self.settings.get((BROKER, name), {}), self.heard.get(name, {})
            self.heard[name] = dict(settings)
            return [(key, value, DYNAMIC_BROKER) for key, value in heard.items()]
        return self.topics[name]["configs"]

    def _ListPartitionReassignments(self, body, code, message):
        topics = list(self.reassignments)
        for (name, index), move in list(self.moving.items()):
            before, wanted, times = move
            if times == 0:
                self._done(name, index)
                continue
            move[2] -= 1
            topics.append({"name": name, "partitions": [{
                "partition_index": index, "replicas": wanted + [node for node in before if node not in wanted],
                "adding_replicas": [node for node in wanted if node not in before],
                "removing_replicas": [node for node in before if node not in wanted]}]})
        return {"error_code": code or 0, "error_message": message, "topics": topics}

    def _done(self, name, index):
        _, wanted, _ = self.moving.pop((name, index))
        self.topics[name]["partitions"][index] = (wanted, wanted)

    def _AlterPartitionReassignments(self, body, code, message):
        return {"responses": [{"name": topic["name"], "partitions": [
            self._reassign(topic["name"], partition, code, message) for partition in topic["partitions"]]}
            for topic in body["topics"]]}

    def _reassign(self, name, partition, code, message):
        index, wanted = partition["partition_index"], partition["replicas"]
        if code is None and wanted is None:
            code = 0 if self.moving.pop((name, index), None) else NO_REASSIGNMENT
        elif code is None:
            self.moving[name, index] = [self.topics[name]["partitions"][index][0], wanted, self.listed_before_done]
            if self.listed_before_done == 0:
                self._done(name, index)
        return {"partition_index": index, "error_code": code or 0, "error_message": message}

    def _ElectLeaders(self, body, code, message):
        return {"replica_election_results": [{"topic": topic["topic"], "partition_result": [
            {"partition_id": index, "error_code": code or 0, "error_message": message} for index in topic["partitions"]]}
            for topic in body["topic_partitions"]]}

    def _IncrementalAlterConfigs(self, body, code, message):
        return {"responses": [self._set(resource, code, message) for resource in body["resources"]]}

    def _set(self, resource, code, message):
        kind, name = resource["resource_type"], resource["resource_name"]
        settings = self.settings.setdefault((kind, name), {})
        for config in resource["configs"] if code is None else []:
            if config["config_operation"] == DELETE:
                settings.pop(config["name"], None)
            else:
                settings[config["name"]] = config["value"]
        return {"resource_type": kind, "resource_name": name, "error_code": code or 0, "error_message": message}

    def _DescribeLogDirs(self, body, code, message):
        asked = {(topic["topic"], index) for topic in body["topics"] for index in topic["partitions"]}
        places = [(path, name, index, is_future) for (name, index, node), both in self.log_dirs.items()
                  if (name, index) in asked and node == self.answering for is_future, path in enumerate(both) if path is not None]
        return {"error_code": code or 0, "results": [{"log_dir": path, "topics": [{"name": name, "partitions": [
            {"partition_index": index, "partition_size": 1000000, "is_future_key": bool(is_future)}]}]}
            for path, name, index, is_future in places]}

    def _AlterReplicaLogDirs(self, body, code, message):
        return {"results": [{"topic_name": topic["name"], "partitions": [
            {"partition_index": index, "error_code": code or self._move_dir(topic["name"], index, wanted["path"])}
            for index in topic["partitions"]]} for wanted in body["dirs"] for topic in wanted["topics"]]}

    def _move_dir(self, name, index, path):
        places = self.log_dirs.get((name, index, self.answering))
        if places is None:
            return REPLICA_NOT_AVAILABLE
        places[1] = None if path == places[0] else path
        return 0
