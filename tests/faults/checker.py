"""What a run must not have done. Pure: a history in, problems out.

A history is a list of tuples in the order of the observer's clock:

    ("send", value, partition)               a producer was asked to send; every value is sent once
    ("ack", value, partition, offset)        acknowledged with acks=all; offset None: the client does not know it
                                             (librdkafka, when a later batch of the sequence was acknowledged first)
    ("unknown", value, partition)            no acknowledgement: it may be there or not
    ("read", partition, offset, value)       seen by a consumer while faults went on
    ("end", partition, offset)               the latest offset, as ListOffsets told it
    ("commit", partition, offset)            an offset commit of the group was acknowledged
    ("committed", partition, offset)         the group's offset, as OffsetFetch told it
    ("final", partition, offset, value)      what is there after everything has healed

A value is "producer:partition:number": one producer (an incarnation of it) numbers what it sends to a partition.
"""
import collections

EXAMPLES = 5  # of each kind of problem


class Problems:
    """Counts by kind, with some examples of each."""

    def __init__(self):
        self.counts = collections.Counter()
        self.examples = collections.defaultdict(list)

    def add(self, kind, text):
        self.counts[kind] += 1
        if len(self.examples[kind]) < EXAMPLES:
            self.examples[kind].append(text)

    def __bool__(self):
        return bool(self.counts)

    def lines(self):
        for kind, count in sorted(self.counts.items()):
            yield f"{kind}: {count}"
            for text in self.examples[kind]:
                yield f"    {text}"


def _check_final(history, final, problems):
    """Everything acknowledged is there, where it was said to be, once; and nothing else than what was sent."""
    sent = {event[1] for event in history if event[0] == "send"}
    places = collections.defaultdict(list)
    for (partition, offset), value in final.items():
        places[value].append((partition, offset))
        if value not in sent:
            problems.add("invented", f"{value} at {partition}@{offset} was never sent")
    for value, found in places.items():
        if len(found) > 1:
            problems.add("duplicated", f"{value} at {sorted(found)}")
    for event in history:
        if event[0] != "ack":
            continue
        _, value, partition, offset = event
        if value not in places:
            problems.add("lost", f"{value}, acknowledged at {partition}@{offset}")
        elif offset is not None and (partition, offset) not in places[value]:
            problems.add("moved", f"{value}, acknowledged at {partition}@{offset}, is at {places[value]}")


def _check_order(final, problems):
    """What one producer sent to a partition is there in the order of sending."""
    last = {}
    for partition, offset in sorted(final):
        producer, _, number = final[partition, offset].rsplit(":", 2)
        before = last.get((producer, partition), -1)
        if int(number) <= before:
            problems.add("reordered", f"{final[partition, offset]} at {partition}@{offset} after number {before}")
        last[producer, partition] = int(number)


def _check_reads(history, final, problems):
    """What a consumer saw stays, unchanged, at its offset."""
    for event in history:
        if event[0] != "read":
            continue
        _, partition, offset, value = event
        there = final.get((partition, offset))
        if there is None:
            problems.add("vanished", f"{value} was read at {partition}@{offset}")
        elif there != value:
            problems.add("changed", f"{partition}@{offset} was {value}, is {there}")


def _check_never_back(history, kinds, problem, problems):
    """Each partition's offsets only grow. kinds: {event kind: whether it must not be below those before it}."""
    highest = {}
    for event in history:
        if event[0] not in kinds:
            continue
        kind, partition, offset = event
        before = highest.get(partition, -1)
        if kinds[kind] and offset < before:
            problems.add(problem, f"partition {partition}: {offset} after {before}")
        highest[partition] = max(before, offset)


def check(history):
    """The Problems of a history."""
    problems = Problems()
    final = {(event[1], event[2]): event[3] for event in history if event[0] == "final"}
    _check_final(history, final, problems)
    _check_order(final, problems)
    _check_reads(history, final, problems)
    _check_never_back(history, {"end": True}, "end went back", problems)
    # A commit that is acknowledged moves the group's offset; one read must not show less.
    _check_never_back(history, {"commit": False, "committed": True}, "committed offset went back", problems)
    return problems


def counts(history):
    return collections.Counter(event[0] for event in history)
