"""How long partitions could not be written to, from the writer's acknowledgements and the notes of a scene.

A gap is a time without an acknowledgement from one partition; the writer sends at a steady rate, so in peace there
are none of more than a few milliseconds. All times are seconds of CLOCK_MONOTONIC.
"""
import collections
import statistics

Gap = collections.namedtuple("Gap", "begin end")
SHORTEST_S = 0.010
LEARNS_S = 2.0  # a client that hears so much later that a partition can be written to is told of
UNTIL_STOP_S = 0.5  # a killed leader is not written to any more after this time at the latest


def gaps_of(history, writers=lambda number: True):
    """partition -> its gaps in the order of time; of acknowledgements to these writers."""
    spans = collections.defaultdict(list)
    for event in history():
        if event[0] == "ack" and writers(event[5]):
            spans[event[3]].append((event[1] / 1e6, event[2] / 1e6))
    found = {}
    for partition, ones in spans.items():
        ones.sort()
        gaps, last = [], ones[0][1]
        for begin, end in ones:
            if begin - last > SHORTEST_S:
                gaps.append(Gap(last, begin))
            last = max(last, end)
        found[partition] = gaps
    return found


def longest_between(gaps, begin, end):
    """The longest gap of one partition that touches the time from begin to end; 0.0 when there is none."""
    return max((gap.end - gap.begin for gap in gaps if gap.end > begin and gap.begin < end), default=0.0)


def writable_again(gaps, moment):
    """How long after the moment the partition was acknowledged to again: it may take a little until it stops."""
    touched = [gap.end - moment for gap in gaps if gap.end > moment and gap.begin < moment + UNTIL_STOP_S]
    return max(touched, default=0.0)


def unavailable(gaps, injections):
    """For each injection, a (begin, end), the longest gap of any partition."""
    return [max((longest_between(ones, *times) for ones in gaps.values()), default=0.0) for times in injections]


def _longest_first(gaps):
    """(partition, gap) of each."""
    found = [(partition, gap) for partition, ones in gaps.items() for gap in ones]
    return sorted(found, key=lambda one: one[1].begin - one[1].end)


def said_of_long(gaps, longer_s, notes):
    """A line for each gap that is longer, the longest first: what the run did meanwhile. Whoever reads it sees whether
    enough replicas were alive: a broker that was killed is back no sooner than its session has ended."""
    for partition, gap in _longest_first(gaps):
        if gap.end - gap.begin > longer_s:
            done = [f"{note[1] - gap.begin:.1f} s " + " ".join(map(str, (note[0], *note[2:3])))
                    for note in notes if gap.begin - UNTIL_STOP_S <= note[1] < gap.end]
            yield (f"partition {partition} could not be written to for {gap.end - gap.begin:.1f} s: "
                   + (", ".join(done) or "nothing was done to it"))


def said_of_late(writer_gaps, gaps):
    """A line for each gap that was one to the writer long after others could write."""
    for partition, gap in _longest_first(writer_gaps):
        seconds, away = gap.end - gap.begin, longest_between(gaps.get(partition, []), *gap)
        if seconds > away + LEARNS_S:
            yield (f"the writer heard nothing of partition {partition} for {seconds:.1f} s; {away:.1f} s of it nobody "
                   "could write")


def after_kills(gaps, notes):
    """For each kill -9 of a broker in peace and each partition that it led: until that could be written to again. Where
    another broker was killed before that, it is no measure of the one."""
    kills = [note for note in notes if note[0] == "killed"]
    found = []
    for kill, following in zip(kills, [*kills[1:], None]):
        times = [writable_again(gaps.get(partition, []), kill[1]) for partition in kill[3]]
        found += [s for s in times if following is None or kill[1] + s < following[1]]
    return found


def after_shutdowns(gaps, notes):
    """For each controlled shutdown and each partition that the broker led: the longest gap that begins before the
    broker is gone. What its return costs afterwards is another matter."""
    found, begun = [], None
    for note in notes:
        if note[0] == "asked to stop":
            begun = note[1]
        elif note[0] == "stopped":
            found += [longest_between(gaps.get(partition, []), begun, note[1]) for partition in note[3]]
    return found


def given_up(notes):
    """For each disk that hung, how long until others led."""
    return [note[4] for note in notes if note[0] == "given up" and "hangs" in note[3]]


def spread(seconds):
    """Milliseconds: {count, min, median, p99, max}."""
    if not seconds:
        return {"count": 0}
    ordered = sorted(1000 * s for s in seconds)
    return {"count": len(ordered), "min": round(ordered[0], 1), "median": round(statistics.median(ordered), 1),
            "p99": round(ordered[min(len(ordered) - 1, int(0.99 * len(ordered)))], 1), "max": round(ordered[-1], 1)}
