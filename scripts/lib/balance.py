"""Where replicas should be: pure functions, no connection, no clock, no chance.

An assignment is {partition: [broker, ...]}, where a partition is (topic, index) and the first broker is its preferred
leader. racks is {broker: rack or None}, of the brokers that may hold replicas. A broker without a rack counts as a rack
of its own.

    generate(current, racks)              from scratch, as kafka-reassign-partitions --generate spreads replicas
    balance(current, racks, without)      as few replicas elsewhere as will make all brokers hold equally many, and
                                          those of `without` none
    problems(current, racks, without)     why balance() cannot be asked

What balance() keeps to, and tests/scripts/test_balance.py holds it to:
  1. A partition keeps its number of replicas, never two on a broker, and none on a broker that is to have none.
  2. A partition's replicas stand in no fewer racks than before, as far as the brokers that stay have as many.
  3. No broker holds two replicas more than another, and none leads two partitions more than another, unless 1 and 2
     forbid it.
  4. No smaller number of replicas moved would do. Leaders change by the order of replicas, which copies nothing.
     (Where racks forbid every straight way, one move more than needed has been seen: once in 200,000 random clusters.)
  5. The same input gives the same output.
Among equals it prefers moves that spread each topic.
"""
import collections
import heapq

# ------------------------------------------------------------------ from scratch


def alternate(racks):
    """The brokers so that neighbours stand in different racks as far as possible."""
    by_rack = collections.defaultdict(list)
    for broker in sorted(racks):
        by_rack[racks[broker] or ""].append(broker)
    rows = [by_rack[rack] for rack in sorted(by_rack)]
    return [row[i] for i in range(max(map(len, rows), default=0)) for row in rows if i < len(row)]


def spread(brokers, racks, first, shift, factor):
    """Replicas of one partition: brokers[first], then on around the circle from `shift` further, in racks that have
    none yet for as long as there are such."""
    chosen = [brokers[first]]
    others = [brokers[(first + 1 + (shift + i) % (len(brokers) - 1)) % len(brokers)] for i in range(len(brokers) - 1)]
    while len(chosen) < factor:
        used = {racks[broker] for broker in chosen if racks[broker] is not None}
        free = [broker for broker in others if broker not in chosen]
        chosen.append(next((broker for broker in free if racks[broker] not in used), free[0]))
    return chosen


def generate(current, racks):
    """All partitions of `current` anew over the brokers of racks. Topics begin where the one before ended, so that
    topics of one partition do not all begin at one broker. ValueError when there are too few brokers."""
    brokers = alternate(racks)
    wanted, count = {}, 0
    for partition in sorted(current):
        factor = len(current[partition])
        if factor > len(brokers):
            raise ValueError(f"Replication factor: {factor} larger than available brokers: {len(brokers)}.")
        turns = count // len(brokers)  # once around, the others are shifted, so that pairs differ
        wanted[partition] = spread(brokers, racks, count % len(brokers), turns, factor)
        count += 1
    return wanted


# ------------------------------------------------------------------ balance


def problems(current, racks, without=()):
    """Sentences about what makes an even assignment impossible; empty when nothing does."""
    found, left = [], len(set(racks) - set(without))
    for partition, replicas in sorted(current.items()):
        if len(replicas) > left:
            found.append(f"{partition[0]}-{partition[1]} has {len(replicas)} replicas, and only {left} brokers are left"
                         " to hold them")
        if len(set(replicas)) != len(replicas):
            found.append(f"{partition[0]}-{partition[1]} names a broker twice: {replicas}")
    return found


class Placement:
    """Replicas on their way from where they are to where they should be."""

    def __init__(self, current, racks, without):
        self.racks = racks
        self.brokers = sorted(set(racks) - set(without))
        self.racks_left = len({racks[broker] or broker for broker in self.brokers})
        self.before = {partition: tuple(replicas) for partition, replicas in current.items()}
        self.replicas = {partition: list(replicas) for partition, replicas in sorted(current.items())}
        self.on = collections.defaultdict(dict)  # broker -> {partition: None}, as an ordered set
        self.topics = collections.Counter()  # (broker, topic) -> replicas
        for partition, replicas in self.replicas.items():
            for broker in replicas:
                self.on[broker][partition] = None
                self.topics[broker, partition[0]] += 1

    def load(self, broker):
        return len(self.on[broker])

    def racks_used(self, replicas):
        return len({self.racks.get(broker) or broker for broker in replicas})

    def may_move(self, partition, source, target):
        replicas = self.replicas[partition]
        if target in replicas:
            return False
        there = [target if broker == source else broker for broker in replicas]
        return self.racks_used(there) >= min(self.racks_used(self.before[partition]), self.racks_left)

    def cost(self, partition, source, target):
        """How many replicas more will have to be copied: -1 when one goes back, 0 when it had left home already."""
        before = self.before[partition]
        return (target not in before) - (source not in before)

    def skew(self, topic, source, target):
        """How much a move would unbalance the topic; negative where it evens it out."""
        return self.topics[target, topic] - self.topics[source, topic]

    def move(self, partition, source, target):
        replicas = self.replicas[partition]
        replicas[replicas.index(source)] = target
        del self.on[source][partition]
        self.on[target][partition] = None
        self.topics[source, partition[0]] -= 1
        self.topics[target, partition[0]] += 1

    def best(self, source, target):
        """The partition to move from one broker to the other, or None where none may."""
        allowed = [p for p in self.on[source] if self.may_move(p, source, target)]
        return min(allowed, default=None, key=lambda p: (
            self.cost(p, source, target), self.skew(p[0], source, target), p))


def leave(placement, broker):
    """Every replica of a broker that is to have none goes to one of those that have least. There is always one that it
    may go to: the replicas that stay use fewer racks than there are left, or one less will do."""
    for partition in list(placement.on[broker]):
        targets = [b for b in placement.brokers if placement.may_move(partition, broker, b)]
        placement.move(partition, broker, min(targets, key=lambda b: (
            placement.load(b), placement.topics[b, partition[0]], b)))


def path(placement, source, targets):
    """[(partition, from, to), ...] by which one replica less is on source and one more on the last, with every broker
    between as before; the cheapest such, or None. Bellman and Ford's search; a partition occurs at most once in it."""
    brokers = placement.brokers
    edges = {(a, b): placement.best(a, b) for a in brokers for b in brokers if a != b}
    known = {source: (0, [])}
    for _ in brokers:
        changed = False
        for (a, b), partition in edges.items():
            if a not in known or partition is None or partition in [step[0] for step in known[a][1]]:
                continue
            cost = known[a][0] + placement.cost(partition, a, b)
            if b != source and (b not in known or cost < known[b][0]) and b not in [step[1] for step in known[a][1]]:
                known[b] = (cost, [*known[a][1], (partition, a, b)])
                changed = True
        if not changed:
            break
    found = [(known[target][0], len(known[target][1]), target) for target in targets if target in known]
    return known[min(found)[2]][1] if found else None


def move_some(placement, source, target, most):
    """Up to so many replicas, the cheapest first and then from the topics that are spread worst. How many moved."""
    waiting = collections.defaultdict(list)  # (cost, topic) -> partitions that may move
    for partition in sorted(placement.on[source], reverse=True):
        if placement.may_move(partition, source, target):
            waiting[placement.cost(partition, source, target), partition[0]].append(partition)
    queue = [(cost, placement.skew(topic, source, target), topic) for cost, topic in waiting]
    heapq.heapify(queue)
    count = 0
    while count < most and queue:
        cost, skew, topic = heapq.heappop(queue)
        placement.move(waiting[cost, topic].pop(), source, target)
        count += 1
        if waiting[cost, topic]:
            heapq.heappush(queue, (cost, skew + 2, topic))
    return count


def even_out_directly(placement):
    """Replicas from the fullest broker to the emptiest, and to the next where racks forbid that; as many at once as
    both are off the mean. False when there is nothing to do or it may not be done."""
    mean = sum(map(placement.load, placement.brokers)) // len(placement.brokers)
    brokers = sorted(placement.brokers, key=lambda broker: (placement.load(broker), broker))
    for source in reversed(brokers):
        for target in brokers:
            high, low = placement.load(source), placement.load(target)
            if high - low < 2:
                break
            if move_some(placement, source, target, max(1, min(high - mean - 1, mean - low))):
                return True
    return False


def even_out_by_detours(placement):
    """Where no replica may go from a full broker to an empty one, some may go over a third. False when none can."""
    brokers = sorted(placement.brokers, key=lambda broker: (placement.load(broker), broker))
    for source in reversed(brokers):
        targets = [b for b in brokers if placement.load(source) - placement.load(b) >= 2]
        steps = path(placement, source, targets) if targets else None
        if steps:
            for step in steps:
                placement.move(*step)
            return True
    return False


def lead_evenly(replicas, brokers):
    """Put another broker first where that evens out who leads: along the shortest chain of partitions by which a broker
    hands one over to a broker that leads at least two less. When there is no such chain there is no better order."""
    led = {broker: {} for broker in brokers}
    for partition, (leader, *_) in sorted(replicas.items()):
        led[leader][partition] = None

    def chain(source):
        """To the nearest broker with fewer, breadth first."""
        came, queue = {source: None}, collections.deque([source])
        while queue:
            broker = queue.popleft()
            if len(led[source]) - len(led[broker]) >= 2:
                steps = []
                while came[broker] is not None:
                    steps.append((*came[broker], broker))
                    broker = came[broker][1]
                return steps
            for partition in led[broker]:
                for other in replicas[partition]:
                    if other not in came:
                        came[other] = (partition, broker)
                        queue.append(other)
        return None

    while True:
        for source in sorted(brokers, key=lambda broker: (-len(led[broker]), broker)):
            steps = chain(source)
            if steps:
                break
        else:
            return
        for partition, before, after in steps:
            del led[before][partition]
            led[after][partition] = None
            replicas[partition].remove(after)
            replicas[partition].insert(0, after)


def balance(current, racks, without=()):
    """{partition: replicas} of those that change, data or order."""
    placement = Placement(current, racks, without)
    for broker in sorted(set(placement.on) - set(placement.brokers)):
        leave(placement, broker)
    while even_out_directly(placement) or even_out_by_detours(placement):
        pass
    lead_evenly(placement.replicas, placement.brokers)
    return {partition: replicas for partition, replicas in placement.replicas.items()
            if replicas != list(current[partition])}


def moved(current, changes):
    """How many replicas have to be copied."""
    return sum(len(set(replicas) - set(current[partition])) for partition, replicas in changes.items())
