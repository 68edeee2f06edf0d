"""One member of a consumer group, as a process of its own that a test may kill. Tests use Member (below); the
process is this file run with one argument, a JSON object:

    client       "kafka-python" or "confluent"
    bootstrap, topic, group
    config       the client's own settings
    commit       commit after each message (else never)

It prints one JSON object per line:
    {"event": "owned", "partitions": [...]}            what it owns, whenever that has changed
    {"event": "revoked", "partitions": [...]}          what was taken from it just before
    {"event": "message", "partition": P, "offset": O, "value": "..."}
    {"event": "error", "text": "..."}                  and it goes on, or ends with status 1

SIGTERM: it closes its consumer (a dynamic member leaves the group by that) and ends with status 0.
"""
import json
import os
import signal
import subprocess
import sys
import threading

STOP_S = 120


class Member:
    """Runs this file, and keeps what it has printed."""

    def __init__(self, bootstrap, topic, group, client="kafka-python", config=None, commit=True):
        self.wanted = {"client": client, "bootstrap": bootstrap, "topic": topic, "group": group,
                       "config": config or {}, "commit": commit}
        self.events = []
        self.process = subprocess.Popen([sys.executable, os.path.abspath(__file__), json.dumps(self.wanted)],
                                        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for line in self.process.stdout:
            self.events.append(json.loads(line))

    def of_kind(self, kind):
        return [event for event in list(self.events) if event["event"] == kind]

    @property
    def owned(self):
        """The partitions that it owns, or None before its first assignment."""
        owned = self.of_kind("owned")
        return owned[-1]["partitions"] if owned else None

    @property
    def revoked(self):
        return [event["partitions"] for event in self.of_kind("revoked")]

    @property
    def messages(self):
        return [event["value"] for event in self.of_kind("message")]

    @property
    def errors(self):
        return [event["text"] for event in self.of_kind("error")]

    def kill(self):
        self.process.kill()
        self.process.wait(STOP_S)
        self.reader.join(STOP_S)
        self.process.stdout.close()

    def stop(self):
        """As its user would. The exit status."""
        self.process.terminate()
        try:
            status = self.process.wait(STOP_S)
        finally:
            self.kill()
        return status


# ------------------------------------------------------------------ the process

stopping = threading.Event()


def say(event, **fields):
    print(json.dumps({"event": event, **fields}), flush=True)


def run_kafka_python(wanted):
    import kafka  # pylint: disable=import-outside-toplevel
    import patience  # pylint: disable=import-outside-toplevel

    patience.teach_kafka_python()

    class Listener(kafka.ConsumerRebalanceListener):
        def on_partitions_revoked(self, revoked):
            if revoked:
                say("revoked", partitions=sorted(p.partition for p in revoked))

        def on_partitions_assigned(self, assigned):
            say("owned", partitions=sorted(p.partition for p in assigned))

    config = {"enable_auto_commit": False, "auto_offset_reset": "earliest", **wanted["config"]}
    if "assignor" in config:
        from kafka.coordinator.assignors.range import RangePartitionAssignor  # pylint: disable=C0415
        from kafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor  # pylint: disable=C0415
        known = {"range": RangePartitionAssignor, "roundrobin": RoundRobinPartitionAssignor}
        config["partition_assignment_strategy"] = [known[config.pop("assignor")]]
    consumer = kafka.KafkaConsumer(bootstrap_servers=wanted["bootstrap"].split(","), group_id=wanted["group"], **config)
    consumer.subscribe([wanted["topic"]], listener=Listener())
    while not stopping.is_set():
        for records in consumer.poll(timeout_ms=100, max_records=1).values():
            for record in records:
                say("message", partition=record.partition, offset=record.offset, value=record.value.decode())
                if wanted["commit"]:
                    try:
                        consumer.commit()
                    except kafka.errors.CommitFailedError as problem:
                        say("error", text=str(problem))
    consumer.close(autocommit=False)


def run_confluent(wanted):
    import confluent_kafka  # pylint: disable=import-outside-toplevel

    owned = set()
    cooperative = wanted["config"].get("partition.assignment.strategy") == "cooperative-sticky"

    def on_assign(consumer, partitions):
        if cooperative:
            consumer.incremental_assign(partitions)
        else:
            consumer.assign(partitions)
        owned.update(p.partition for p in partitions)
        say("owned", partitions=sorted(owned))

    def on_revoke(consumer, partitions):
        owned.difference_update(p.partition for p in partitions)
        if partitions:
            say("revoked", partitions=sorted(p.partition for p in partitions))
        if cooperative:
            consumer.incremental_unassign(partitions)
            say("owned", partitions=sorted(owned))
        else:
            consumer.unassign()

    consumer = confluent_kafka.Consumer({"bootstrap.servers": wanted["bootstrap"], "group.id": wanted["group"],
                                         "enable.auto.commit": False, "auto.offset.reset": "earliest",
                                         **wanted["config"]})
    consumer.subscribe([wanted["topic"]], on_assign=on_assign, on_revoke=on_revoke)
    while not stopping.is_set():
        message = consumer.poll(0.1)
        if message is None:
            continue
        if message.error():
            say("error", text=str(message.error()))
            continue
        say("message", partition=message.partition(), offset=message.offset(), value=message.value().decode())
        if wanted["commit"]:
            try:
                consumer.commit(message, asynchronous=False)
            except confluent_kafka.KafkaException as problem:
                say("error", text=str(problem))
    consumer.close()


def main():
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    wanted = json.loads(sys.argv[1])
    try:
        {"kafka-python": run_kafka_python, "confluent": run_confluent}[wanted["client"]](wanted)
    except Exception as problem:  # pylint: disable=broad-except
        say("error", text=f"{type(problem).__name__}: {problem}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
