#!/usr/bin/python3
"""The article's producer: every three seconds a made-up user, as JSON, into the topic registred_user.

  scripts/producer.py
  scripts/producer.py --count 10 --interval 0 --bootstrap-server localhost:9092,localhost:9093

Prints each message once the broker has it, with its partition and offset. Waits for a broker that is not up yet.
"""
import json
import os
import signal
import sys
import time

sys.path.insert(1, os.path.join(os.path.dirname(os.path.realpath(__file__)), "lib"))

import data  # noqa: E402
from demo import import_kafka, options, say, wait_for_broker  # noqa: E402

kafka = import_kafka()
ANSWER_S = 30
PAUSE_S = 0.5


def send(producer, topic, message):
    """Until the broker has it: (partition, offset)."""
    while True:
        try:
            done = producer.send(topic, message).get(timeout=ANSWER_S)
            return done.partition, done.offset
        except kafka.errors.KafkaError as problem:
            print(f"not delivered, trying again: {problem!r}", file=sys.stderr, flush=True)
            time.sleep(PAUSE_S)


def produce(given):
    producer = wait_for_broker(kafka, given.bootstrap_server, lambda servers: kafka.KafkaProducer(
        bootstrap_servers=servers, retries=5))
    sent = 0
    while given.count is None or sent < given.count:
        if sent > 0:
            time.sleep(given.interval)
        message = json.dumps(data.data_faker())
        partition, offset = send(producer, given.topic, message.encode())
        say(f"produced partition {partition} offset {offset}: {message}")
        sent += 1
    producer.close()


def main():
    given = options(__doc__, ("--interval", {"type": float, "default": 3.0, "metavar": "SECONDS",
                                             "help": "pause between messages (3)"}))
    try:
        produce(given)
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    return 0


if __name__ == "__main__":
    sys.exit(main())
