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

from demo import NobodyReads, import_kafka, options, say, wait_for_broker  # noqa: E402

kafka = import_kafka()


POLL_MS = 500  # so long it takes at most until a signal is heeded
POLL_RECORDS = 500


class Stop:
    """Whether a signal has come. Never an exception from it: one inside of kafka-python would leave it in pieces, and
    it could not tell the broker any more how far it was."""

    def __init__(self):
        self.signal = None
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._caught)

    def _caught(self, number, _frame):
        if self.signal is not None:
            sys.exit(128 + number)  # the second time, in earnest
        self.signal = number


def consume(given, stop):
    consumer = wait_for_broker(kafka, given.bootstrap_server, lambda servers: kafka.KafkaConsumer(
        given.topic, group_id=given.group, bootstrap_servers=servers,
        auto_offset_reset="earliest" if given.from_beginning else "latest"), stop)
    if consumer is None:
        return
    try:
        print_messages(consumer, given.count, stop)
    except NobodyReads:
        consumer.close(autocommit=False)  # what was fetched was not all printed
        raise
    consumer.close()  # tells the broker how far it was, and that the group has one member less


def print_messages(consumer, left, stop):
    while stop.signal is None and left != 0:
        wanted = POLL_RECORDS if left is None else min(POLL_RECORDS, left)
        for messages in consumer.poll(timeout_ms=POLL_MS, max_records=wanted).values():
            for message in messages:
                say(f"consumed partition {message.partition} offset {message.offset}: "
                    + ("null" if message.value is None else message.value.decode(errors="replace")))
                left = left if left is None else left - 1


def main():
    given = options(__doc__, ("--group", {"default": "my_favorite_group", "help": "(my_favorite_group)"}),
                    ("--from-beginning", {"action": "store_true", "help": "a new group begins at the oldest message"}))
    stop = Stop()
    consume(given, stop)
    return 0 if stop.signal is None else 128 + stop.signal


if __name__ == "__main__":
    sys.exit(main())
