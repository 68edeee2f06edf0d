"""Clients that go on while faults happen, and write down what they did and saw (checker.py says in which form)."""
import threading
import time

import confluent_kafka

GROUP = "faults-group"
VALUE_BYTES = 100
COMMIT_EVERY = 50
PAUSE_S = 0.05


class Worker(threading.Thread):
    """Runs step() until told to stop; an exception ends it and is kept."""

    def __init__(self, history, bootstrap):
        super().__init__(daemon=True)
        self.history = history
        self.bootstrap = bootstrap
        self.over = threading.Event()
        self.problem = None

    def run(self):
        try:
            self.begin()
            while not self.over.is_set():
                self.step()
            self.finish()
        except Exception as problem:  # pylint: disable=broad-except
            self.problem = problem

    def begin(self):
        """Before the first step."""

    def finish(self):
        """After the last."""

    def stop(self, seconds=90):
        self.over.set()
        self.join(seconds)
        if self.is_alive():
            raise AssertionError(f"{type(self).__name__} does not end")
        if self.problem:
            raise self.problem


class Writer(Worker):
    """An idempotent producer with acks=all, to every partition in turn. When librdkafka gives it up, another
    incarnation goes on: what was under way is unknown then."""

    def __init__(self, history, bootstrap, topic, partitions, per_second):
        super().__init__(history, bootstrap)
        self.topic, self.partitions, self.per_second = topic, partitions, per_second
        self.incarnation = 0
        self.fatal = False

    def begin(self):
        self.incarnation += 1
        self.fatal = False
        self.numbers = [0] * self.partitions
        self.started, self.count = time.monotonic(), 0
        self.producer = confluent_kafka.Producer({
            "bootstrap.servers": self.bootstrap, "enable.idempotence": True, "linger.ms": 5,
            "message.timeout.ms": 120000, "socket.timeout.ms": 10000, "reconnect.backoff.max.ms": 500,
            "error_cb": self.on_error})

    def on_error(self, error):
        self.fatal = self.fatal or error.fatal()

    def on_delivery(self, error, message):
        value = message.value().decode().rstrip()
        if error is None:
            self.history.append(("ack", value, message.partition(), message.offset()))
        else:
            self.history.append(("unknown", value, message.partition()))

    def send(self, partition):
        value = f"w{self.incarnation}:{partition}:{self.numbers[partition]}"
        self.numbers[partition] += 1
        self.history.append(("send", value, partition))
        try:
            self.producer.produce(self.topic, value.ljust(VALUE_BYTES).encode(), partition=partition,
                                  on_delivery=self.on_delivery)
        except BufferError:
            self.history.append(("unknown", value, partition))
            self.producer.poll(PAUSE_S)
        except confluent_kafka.KafkaException:
            self.history.append(("unknown", value, partition))
            self.fatal = True

    def step(self):
        if self.fatal:
            self.producer.purge()
            self.producer.flush(1)
            self.begin()
        due = int((time.monotonic() - self.started) * self.per_second)
        while self.count < due and not self.fatal:
            self.send(self.count % self.partitions)
            self.count += 1
        self.producer.poll(0.002)

    def finish(self):
        if self.producer.flush(60) > 0:
            raise AssertionError("messages are neither acknowledged nor refused a minute after the last fault")


def consumer(bootstrap, group, **config):
    return confluent_kafka.Consumer({
        "bootstrap.servers": bootstrap, "group.id": group, "enable.auto.commit": False,
        "auto.offset.reset": "error", "socket.timeout.ms": 10000, "reconnect.backoff.max.ms": 500, **config})


class Reader(Worker):
    """Reads every partition from its beginning, without a group."""

    def __init__(self, history, bootstrap, topic, partitions):
        super().__init__(history, bootstrap)
        self.topic, self.partitions = topic, partitions

    def begin(self):
        self.consumer = consumer(self.bootstrap, "faults-reader")
        self.consumer.assign([confluent_kafka.TopicPartition(self.topic, p, 0) for p in range(self.partitions)])

    def step(self):
        for message in self.consumer.consume(500, timeout=PAUSE_S):
            if message.error() is None:
                self.history.append(("read", message.partition(), message.offset(),
                                     message.value().decode().rstrip()))
            elif message.error().code() == confluent_kafka.KafkaError._AUTO_OFFSET_RESET:  # pylint: disable=W0212
                raise AssertionError(f"the reader's offset is out of range: {message.error()}")

    def finish(self):
        self.consumer.close()


class EndWatcher(Worker):
    """Asks where each partition ends, again and again."""

    def __init__(self, history, bootstrap, topic, partitions):
        super().__init__(history, bootstrap)
        self.topic, self.partitions = topic, partitions

    def begin(self):
        self.consumer = consumer(self.bootstrap, "faults-ends")

    def step(self):
        for partition in range(self.partitions):
            try:
                _, end = self.consumer.get_watermark_offsets(
                    confluent_kafka.TopicPartition(self.topic, partition), timeout=1.0)
                self.history.append(("end", partition, end))
            except confluent_kafka.KafkaException:
                pass  # no leader just now, or none that knows
        self.over.wait(PAUSE_S)

    def finish(self):
        self.consumer.close()


class Group(Worker):
    """A member of a consumer group that commits what it has read."""

    def __init__(self, history, bootstrap, topic, partitions):
        super().__init__(history, bootstrap)
        self.topic, self.partitions = topic, partitions

    def begin(self):
        self.consumer = consumer(self.bootstrap, GROUP, **{"auto.offset.reset": "earliest",
                                                           "session.timeout.ms": 6000})
        self.consumer.subscribe([self.topic])
        self.read = {}
        self.pending = 0

    def commit(self):
        offsets = [confluent_kafka.TopicPartition(self.topic, p, o) for p, o in self.read.items()]
        self.read, self.pending = {}, 0
        try:
            done = self.consumer.commit(offsets=offsets, asynchronous=False)
        except confluent_kafka.KafkaException:
            return  # rebalancing, or no coordinator just now
        for one in done or []:
            if one.error is None:
                self.history.append(("commit", one.partition, one.offset))

    def look(self):
        wanted = [confluent_kafka.TopicPartition(self.topic, p) for p in range(self.partitions)]
        try:
            found = self.consumer.committed(wanted, timeout=2.0)
        except confluent_kafka.KafkaException:
            return
        for one in found:
            if one.error is None and one.offset >= 0:
                self.history.append(("committed", one.partition, one.offset))

    def step(self):
        for message in self.consumer.consume(COMMIT_EVERY, timeout=PAUSE_S):
            if message.error() is None:
                self.read[message.partition()] = message.offset() + 1
                self.pending += 1
        if self.pending >= COMMIT_EVERY:
            self.commit()
            self.look()

    def finish(self):
        self.look()
        self.consumer.close()


def read_all(history, bootstrap, topic, partitions, seconds=60):
    """The final reading: everything that is there."""
    reader = consumer(bootstrap, "faults-final", **{"enable.partition.eof": True})
    ended, deadline = set(), time.monotonic() + seconds
    reader.assign([confluent_kafka.TopicPartition(topic, p, 0) for p in range(partitions)])
    while len(ended) < partitions:
        if time.monotonic() > deadline:
            raise AssertionError(f"partitions {set(range(partitions)) - ended} cannot be read to their end")
        for message in reader.consume(1000, timeout=0.5):
            if message.error() is None:
                history.append(("final", message.partition(), message.offset(), message.value().decode().rstrip()))
            elif message.error().code() == confluent_kafka.KafkaError._PARTITION_EOF:  # pylint: disable=W0212
                ended.add(message.partition())
    reader.close()
