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
ALREADY_EXISTS, UNKNOWN_TOPIC, INVALID_CONFIG = 36, 3, 40


def topic_id_of(name):
    return wire.uuid_text(name.encode().ljust(16, b"-")[:16])


class FakeKafka:
    def __init__(self, brokers=1):
        self.lock = threading.Lock()
        self.topics = {}  # name -> {"partitions": [(replicas, isr)], "configs": [(name, value, source)]}
        self.dead = set()  # brokers that Metadata leaves out
        self.reassignments = []
        self.versions = dict(VERSIONS)
        self.controller_id = 1
        self.failures = {}  # API -> [what happens to the next requests]
        self.requests = []  # (broker, API, version, body)
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
            "brokers": [{"node_id": node, "host": "127.0.0.1", "port": port} for node, port in self.ports.items()
                        if node not in self.dead],
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
            "error_code": code or 0, "error_message": message, "resource_type": 2,
            "resource_name": resource["resource_name"], "configs": [
                {"name": name, "value": value, "config_source": source}
                for name, value, source in self.topics[resource["resource_name"]]["configs"]]}
            for resource in body["resources"]]}

    def _ListPartitionReassignments(self, body, code, message):
        return {"error_code": code or 0, "error_message": message, "topics": self.reassignments}
