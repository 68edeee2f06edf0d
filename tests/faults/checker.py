"""What a run must not have done. Pure: a history in, problems out.

A history is what the clients wrote down (client/client.h), as tuples in any order. Records come as runs: `count`
neighbours, of which the first has this number and this offset.

    ("began", us, writer)                                       a producer (an incarnation of it) that numbers what it
    ("sent", us, partition, writer, count)                      sends to each partition; it used the numbers below count
    ("ack", us, us, partition, offset, writer, number, count)   acknowledged with acks=all; offset -1: the client does
                                                                not know it (librdkafka, when a later batch of the
                                                                sequence was acknowledged first)
    ("unknown" or "failed", ... as ack)                         no acknowledgement: may be there or not
    ("read", ... as ack)                                        seen by a consumer while faults went on
    ("final", ... as ack)                                       what is there after everything has healed
    ("end", us, us, partition, offset)                          asked, answered: the latest offset
    ("commit", us, us, partition, offset)                       asked, answered: a commit of the group was acknowledged
    ("committed", us, us, partition, offset)                    asked, answered: the group's offset
    ("garbled", us, partition, offset)                          a record that no writer made
    ("refused", us, partition, offset)                          a reader was told that there is no such offset
    ("error", us, text)                                         a client could not go on as it should

Only the final reading and the offsets are kept, the rest streams by: memory is that of the runs, not of the records.
"""
import bisect
import collections

EXAMPLES = 5  # of each kind of problem


class Problems:
    """Counts by kind, with some examples of each."""

    def __init__(self):
        self.counts = collections.Counter()
        self.examples = collections.defaultdict(list)

    def add(self, kind, text, count=1):
        self.counts[kind] += count
        if len(self.examples[kind]) < EXAMPLES:
            self.examples[kind].append(text)

    def take(self, others):
        """All of other Problems."""
        for kind, count in others.counts.items():
            for text in others.examples[kind]:
                self.add(kind, text, 0)
            self.counts[kind] += count

    def __bool__(self):
        return bool(self.counts)

    def lines(self):
        for kind, count in sorted(self.counts.items()):
            yield f"{kind}: {count}"
            for text in self.examples[kind]:
                yield f"    {text}"


class Final:
    """The final reading, to be looked up by offset and by number. A row is (offset, writer, number, count)."""

    def __init__(self):
        self.rows = collections.defaultdict(list)  # partition -> rows
        self.by_number = collections.defaultdict(list)  # (writer, partition) -> rows
        self.twice = set()  # (writer, partition) with numbers that are in more than one row

    def add(self, partition, row):
        self.rows[partition].append(row)

    def sort(self):
        for partition, rows in self.rows.items():
            rows.sort()
            for row in rows:
                self.by_number[row[1], partition].append(row)
        for key, rows in self.by_number.items():
            rows.sort(key=lambda row: row[2])
            if any(row[2] + row[3] > following[2] for row, following in zip(rows, rows[1:])):
                self.twice.add(key)

    @staticmethod
    def _overlapping(rows, column, first, count, at=None):
        """Rows that share a value of this column with first, first + 1, ...; and of each the shared part."""
        if at is None:
            at = max(0, bisect.bisect_right(rows, first, key=lambda row: row[column]) - 1)
        while at < len(rows) and rows[at][column] < first + count:
            begin = max(first, rows[at][column])
            end = min(first + count, rows[at][column] + rows[at][3])
            if begin < end:
                yield rows[at], begin, end
            at += 1

    def at_offsets(self, partition, offset, count):
        return self._overlapping(self.rows.get(partition, []), 0, offset, count)

    def with_numbers(self, writer, partition, number, count):
        at = 0 if (writer, partition) in self.twice else None
        return self._overlapping(self.by_number.get((writer, partition), []), 2, number, count, at)


def _holes(parts, first, count):
    """What of first, first + 1, ... is in none of the parts, which are sorted (begin, end)."""
    at = first
    for begin, end in parts:
        if at < min(begin, first + count):
            yield at, min(begin, first + count)
        at = max(at, end)
    if at < first + count:
        yield at, first + count


def _overlap(one, other):
    """The numbers that two rows share: (first, how many)."""
    first = max(one[2], other[2])
    return first, min(one[2] + one[3], other[2] + other[3]) - first


def _sent_twice(partition, row, others, producer_of):
    """Of a row whose numbers are in others, too: how many records the client itself sent twice. A broker may take a
    record of one producer epoch once only. But librdkafka, when it had to skip sequence numbers, begins a new epoch,
    and sends in it again what was under way and may have been taken."""
    count = 0
    for other in others:
        first, shared = _overlap(row, other)
        for number in range(first, first + shared):
            places = (partition, row[0] + number - row[2]), (partition, other[0] + number - other[2])
            count += producer_of(*places[0]) != producer_of(*places[1])
    return count


def _check_order(final, sent, problems, producer_of):
    """What one producer sent to a partition is there in the order of sending, once, and nothing else is there."""
    for partition, rows in final.rows.items():
        after = {}  # writer -> the next number that may come
        for offset, writer, number, count in rows:
            where = f"w{writer}:{partition}:{number} at {partition}@{offset}"
            limit = sent.get((writer, partition), 0)
            if number + count > limit:
                problems.add("invented", f"{where}, {count} records; only numbers below {limit} were sent",
                             number + count - max(limit, number))
            if number < after.get(writer, 0):
                row = (offset, writer, number, count)
                others = [other for other in final.by_number[writer, partition]
                          if other[0] < offset and _overlap(row, other)[1] > 0]
                twice = sum(_overlap(row, other)[1] for other in others)
                excused = _sent_twice(partition, row, others, producer_of) if producer_of else 0
                if twice > excused:
                    problems.add("duplicated", f"{where}, {twice - excused} records, after {after[writer] - 1}",
                                 twice - excused)
                elif not others:
                    problems.add("reordered", f"{where}, {count} records, after number {after[writer] - 1}", count)
            after[writer] = max(after.get(writer, 0), number + count)


def _check_ack(event, final, problems):
    """What was acknowledged is there, where it was said to be."""
    _, _, _, partition, offset, writer, number, count = event
    rows = list(final.with_numbers(writer, partition, number, count))
    right = [(begin, end) for row, begin, end in rows if offset < 0 or row[0] - row[2] == offset - number]
    for row, begin, end in rows:
        for first, last in _holes(right, begin, end - begin):
            problems.add("moved", f"w{writer}:{partition}:{first}, acknowledged at {partition}@"
                         f"{offset - number + first}, is at {row[0] - row[2] + first}", last - first)
    for begin, end in _holes(sorted((begin, end) for _, begin, end in rows), number, count):
        place = f" at {partition}@{offset - number + begin}" if offset >= 0 else ""
        problems.add("lost", f"w{writer}:{partition}:{begin} to {end - 1}, acknowledged{place}", end - begin)


def _check_gone(event, final, problems):
    """What was written to a topic that was deleted then is not there."""
    _, _, _, partition, _, writer, number, count = event
    for row, begin, end in final.with_numbers(writer, partition, number, count):
        problems.add("resurrected", f"w{writer}:{partition}:{begin} at {partition}@{row[0] - row[2] + begin}, of a "
                     "topic that was deleted", end - begin)


def _check_read(event, final, problems):
    """What a consumer saw stays, unchanged, at its offset."""
    _, _, _, partition, offset, writer, number, count = event
    parts = []
    for row, begin, end in final.at_offsets(partition, offset, count):
        parts.append((begin, end))
        if row[1] != writer or row[2] - row[0] != number - offset:
            problems.add("changed", f"{partition}@{begin} was w{writer}:{partition}:{number - offset + begin}, "
                         f"is w{row[1]}:{partition}:{row[2] - row[0] + begin}", end - begin)
    for begin, end in _holes(parts, offset, count):
        problems.add("vanished", f"w{writer}:{partition}:{number - offset + begin} was read at {partition}@{begin}, "
                     f"and {end - begin - 1} more", end - begin)


def _check_never_back(events, problem, problems):
    """Each partition's offset, once it was known, is never told smaller by an answer that was asked for later."""
    told = collections.defaultdict(list)  # partition -> (time, not what is asked for but what is known, offset)
    for kind, asked_us, answered_us, partition, offset in events:
        told[partition].append((answered_us, 1, offset))
        if kind != "commit":  # one that comes late is no problem; one that is acknowledged moves the offset
            told[partition].append((asked_us, 0, (answered_us, offset)))
    for partition, moments in told.items():
        known, asked = -1, []
        for moment in sorted(moments, key=lambda m: m[:2]):
            if moment[1] == 0:
                asked.append((*moment[2], known))
            else:
                known = max(known, moment[2])
        for answered_us, offset, least in asked:
            if offset < least:
                problems.add(problem, f"partition {partition}: {offset} after {least}, at {answered_us} us")


def check(history, deleted_us=None, born_us=None, producer_of=None):
    """The Problems of a history. history() gives an iterator, twice. deleted_us, born_us: when the topic was last
    deleted (before it was asked for) and created again (after it was answered): what was acknowledged before is gone,
    and writers that began between may have written to either. producer_of(partition, offset): the id and epoch of the
    producer of a record that is there; it is asked for records that are there twice."""
    problems, final = Problems(), Final()
    sent, began, offsets = {}, {}, collections.defaultdict(list)
    for event in history():
        if event[0] == "final":
            final.add(event[3], event[4:])
        elif event[0] == "sent":
            sent[event[3], event[2]] = event[4]
        elif event[0] == "began":
            began[event[2]] = event[1]
        elif event[0] in ("end", "commit", "committed"):
            offsets["end" if event[0] == "end" else "committed"].append(event)
        elif event[0] in ("garbled", "refused"):
            problems.add(event[0], f"at {event[2]}@{event[3]}")
    final.sort()
    _check_order(final, sent, problems, producer_of)
    for event in history():
        if event[0] == "read":
            _check_read(event, final, problems)
        elif event[0] == "ack" and (born_us is None or began[event[5]] >= born_us):
            _check_ack(event, final, problems)
        elif event[0] == "ack" and event[2] < deleted_us:
            _check_gone(event, final, problems)
    _check_never_back(offsets["end"], "end went back", problems)
    _check_never_back(offsets["committed"], "committed offset went back", problems)
    return problems


def counts(history):
    """How many records, or events, of each kind."""
    found = collections.Counter()
    for event in history():
        found[event[0]] += event[7] if len(event) == 8 else 1
    return found


def given_up(history):
    """(how many records or clients saw an error that trying again did not mend, what clients said of it)."""
    found = counts(history)
    return (found["unknown"] + found["failed"] + found["error"],
            [event[2] for event in history() if event[0] == "error"])


def silent(history, partitions, since_us, kind="ack"):
    """Those of so many partitions of which nothing of this kind was heard since then."""
    heard = {event[3] for event in history() if event[0] == kind and event[2] >= since_us}
    return [partition for partition in range(partitions) if partition not in heard]


def difference(contents):
    """contents: {broker: an iterator of blocks of bytes of one size, the last one shorter}. Text where they differ for
    the first time, or None when they are the same to the end."""
    names, at = list(contents), 0
    readers = [iter(contents[name]) for name in names]
    while True:
        blocks = [next(reader, b"") for reader in readers]
        for name, block in zip(names[1:], blocks[1:]):
            if block != blocks[0]:
                same = next((i for i, (a, b) in enumerate(zip(block, blocks[0])) if a != b),
                            min(len(block), len(blocks[0])))
                return f"{names[0]} and {name} differ at byte {at + same}"
        if not blocks[0]:
            return None
        at += len(blocks[0])
