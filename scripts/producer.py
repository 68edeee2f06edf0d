#!/usr/bin/python3
"""The article's producer: every three seconds a made-up user, as JSON, into the topic registred_user.

  scripts/producer.py
  scripts/producer.py --count 10 --interval 0 --bootstrap-server localhost:9092,localhost:9093
  scripts/producer.py --idempotent --partition 0

Prints each message once the broker has it, with its partition and offset. Waits for a broker that is not up yet.

As in the article it is kafka-python's, told by the leader alone (acks=1), and what it is not told about it sends again.
With --idempotent it is librdkafka's (package python3-confluent-kafka): told when every replica in sync has the message
(acks=all), and what it sends again is numbered, so that no message is there twice, whatever broker dies meanwhile.
"""
import json
import os
import signal
import sys
import time

sys.path.insert(1, os.path.join(os.path.dirname(os.path.realpath(__file__)), "lib"))

import data  # noqa: E402
from demo import import_kafka, options, partition_number, say, seconds, wait_for_broker  # noqa: E402

kafka = import_kafka()
ANSWER_S = 30
PAUSE_S = 0.5


class Plain:
    """The article's."""

    def __init__(self, given):
        self.topic, self.partition = given.topic, given.partition
        self.producer = wait_for_broker(kafka, given.bootstrap_server, lambda servers: kafka.KafkaProducer(
            bootstrap_servers=servers, retries=5))

    def send(self, message):
        """Until the broker has it: (partition, offset)."""
        while True:
            try:
                done = self.producer.send(self.topic, message, partition=self.partition).get(timeout=ANSWER_S)
                return done.partition, done.offset
            except AssertionError as problem:  # so kafka-python says what it will not try: a partition that is not there
                sys.exit(f"error: not delivered to {self.topic}: {problem}")
            except kafka.errors.KafkaError as problem:
                print(f"not delivered, trying again: {problem!r}", file=sys.stderr, flush=True)
                time.sleep(PAUSE_S)

    def close(self):
        self.producer.close()


class Idempotent:
    """kafka-python has such a producer only in versions that are newer than Debian's."""

    SETTINGS = {"enable.idempotence": True, "acks": "all", "linger.ms": 0, "reconnect.backoff.max.ms": 500,
                "log_level": 2}  # that a broker has gone is not worth a line here: another one takes over

    def __init__(self, given):
        try:
            import confluent_kafka
        except ImportError as problem:
            sys.exit(f"error: --idempotent: {sys.executable} cannot import confluent_kafka: {problem}\n"
                     "  Install it:  apt-get install python3-confluent-kafka")
        self.topic, self.partition = given.topic, -1 if given.partition is None else given.partition
        self.producer = wait_for_broker(kafka, given.bootstrap_server, lambda servers: confluent_kafka.Producer(
            {**self.SETTINGS, "bootstrap.servers": ",".join(servers)}))

    def send(self, message):
        """Until all replicas in sync have it: (partition, offset). librdkafka repeats what it has to, for minutes; what
        it has given up may be there or not, so sending it once more would be the one way to have it twice."""
        answers = []
        self.producer.produce(self.topic, message, partition=self.partition,
                              on_delivery=lambda *answer: answers.append(answer))
        while not answers:
            self.producer.poll(PAUSE_S)
        error, done = answers[0]
        if error is not None:
            sys.exit(f"error: not delivered to {self.topic}, as far as can be told: {error.str()}")
        return done.partition(), done.offset()

    def close(self):
        self.producer.flush(ANSWER_S)


def produce(given):
    producer = Idempotent(given) if given.idempotent else Plain(given)
    sent = 0
    while given.count is None or sent < given.count:
        if sent > 0:
            time.sleep(given.interval)
        message = json.dumps(data.data_faker())
        partition, offset = producer.send(message.encode())
        say(f"produced partition {partition} offset {offset}: {message}")
        sent += 1
    producer.close()


def main():
    given = options(__doc__, ("--interval", {"type": seconds, "default": 3.0, "metavar": "SECONDS",
                                             "help": "pause between messages (3)"}),
                    ("--partition", {"type": partition_number, "metavar": "N", "help": "all into this one; any without"}),
                    ("--idempotent", {"action": "store_true", "help": "each message is there exactly once"}))
    try:
        produce(given)
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    return 0


if __name__ == "__main__":
    sys.exit(main())
