#!/usr/bin/python3
"""The article's consumer: reads the topic registred_user as a member of the group my_favorite_group.

  scripts/consumer.py
  scripts/consumer.py --from-beginning --group another --count 10

Prints each message with its partition and offset. Waits for a broker that is not up yet. A group goes on where it
was; one that is new begins with what comes from now on, or with --from-beginning at the oldest message.
"""
import os
import signal
import sys

sys.path.insert(1, os.path.join(os.path.dirname(os.path.realpath(__file__)), "lib"))

from demo import import_kafka, options, say, wait_for_broker  # noqa: E402

kafka = import_kafka()


def consume(given):
    consumer = wait_for_broker(kafka, given.bootstrap_server, lambda servers: kafka.KafkaConsumer(
        given.topic, group_id=given.group, bootstrap_servers=servers,
        auto_offset_reset="earliest" if given.from_beginning else "latest"))
    try:
        read = 0
        while given.count is None or read < given.count:
            message = next(consumer)
            say(f"consumed partition {message.partition} offset {message.offset}: "
                f"{message.value.decode(errors='replace')}")
            read += 1
    finally:
        consumer.close()  # tells the broker how far it was, and that the group has one member less


def stop(_signal, _frame):
    raise KeyboardInterrupt


def main():
    given = options(__doc__, ("--group", {"default": "my_favorite_group", "help": "(my_favorite_group)"}),
                    ("--from-beginning", {"action": "store_true", "help": "a new group begins at the oldest message"}))
    signal.signal(signal.SIGTERM, stop)
    try:
        consume(given)
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    return 0


if __name__ == "__main__":
    sys.exit(main())
