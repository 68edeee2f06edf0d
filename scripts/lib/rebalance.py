"""scripts/reassign --balance: plan, show, move a few partitions at a time, and clean up.

The plan is balance.py's. Moves are Kafka's reassignments, so they survive the end of this program, and of the
controller: whoever interrupts it is told how to go on and how to go back.
"""
import collections
import sys
import time

import balance
import reassignment
import wire
from reassignment import name_of
from text import count, numbers, table
from tool import CommandError

AT_ONCE = 50
LINES_MAX = 40
PAUSE_S, STALL_S, SETTLE_S = 0.1, 30.0, 30.0
MB = 1e6


# ------------------------------------------------------------------ the plan


def movable(entries, racks, without):
    """{partition: replicas} of those that may be moved now. Says which stay, and why."""
    current, led_by_none, on_dead = {}, [], collections.defaultdict(list)
    for partition, entry in sorted(entries.items()):
        dead = set(entry["replica_nodes"]) - set(racks) - set(without)
        if entry["leader_id"] < 0:
            led_by_none.append(partition)
        elif dead:
            on_dead[min(dead)].append(partition)
        else:
            current[partition] = entry["replica_nodes"]
    if led_by_none:
        print(f"{count(len(led_by_none), 'partition')} without a leader cannot be moved and stay:"
              f" {', '.join(map(name_of, led_by_none[:5]))}{' ...' if len(led_by_none) > 5 else ''}")
    for broker, partitions in on_dead.items():
        print(f"broker {broker} is not running: {count(len(partitions), 'partition')} with a replica on it stay as they"
              f" are. If it will not come back: --without {broker}")
    return current


def check(cluster, entries, racks, without):
    ongoing = cluster.ongoing()
    if ongoing:
        raise CommandError(f"{count(len(ongoing), 'reassignment')} under way already: wait until --list shows none, or"
                           " cancel.")
    holders = set().union(*(entry["replica_nodes"] for entry in entries.values())) if entries else set()
    for broker in without:
        if broker not in racks and broker not in holders:
            raise CommandError(f"broker {broker} of --without is not running and holds nothing."
                               f" The brokers are {numbers(sorted(racks))}.")
    if not set(racks) - set(without):
        raise CommandError("--without names every broker that runs")


def show_brokers(entries, changes, racks):
    """Replicas and leaders of every broker, now and then."""
    now = {partition: entry["replica_nodes"] for partition, entry in entries.items()}
    then = {**now, **changes}

    def holds(assignment):
        return collections.Counter(broker for replicas in assignment.values() for broker in replicas)

    led_now = collections.Counter(entry["leader_id"] for entry in entries.values())
    led_then = collections.Counter(replicas[0] for replicas in then.values() if replicas)
    rows = [[broker, racks.get(broker) or "-", holds(now)[broker], holds(then)[broker], led_now[broker],
             led_then[broker]] for broker in sorted(set(racks) | set(holds(now)))]
    print("\n".join(table(["broker", "rack", "holds", "then", "leads", "then"], rows)) + "\n")


def show_plan(cluster, entries, changes, racks):
    current = {partition: entries[partition]["replica_nodes"] for partition in changes}
    copies = balance.moved(current, changes)
    sizes = cluster.sizes({p: entries[p]["leader_id"] for p in changes if set(changes[p]) != set(current[p])})
    size = sum(sizes.get(p, 0) * len(set(changes[p]) - set(current[p])) for p in changes)
    print(f"The plan: {count(copies, 'replica')} to copy, {size / MB:.1f} MB; {count(len(changes), 'partition')} change\n")
    show_brokers(entries, changes, racks)
    rows = [[name_of(p), numbers(current[p]), numbers(changes[p])] for p in sorted(changes)]
    print("\n".join(table(["partition", "replicas", "then"], rows[:LINES_MAX])))
    if len(rows) > LINES_MAX:
        print(f"... and {len(rows) - LINES_MAX} more")
    print(f"\nThe way back, a file for --execute:\n{reassignment.to_json(current)}\n", flush=True)


# ------------------------------------------------------------------ carrying it out


class Progress:
    """One line that is written over on a terminal; elsewhere a line for every tenth."""

    def __init__(self, whole):
        self.whole, self.shown, self.live = whole, None, sys.stdout.isatty()

    def show(self, done):
        step = done if self.live else done * 10 // self.whole
        if step != self.shown:
            begin = "\r" if self.live else ""
            print(f"{begin}{done} of {self.whole} partitions moved",
                  end="" if self.live and done < self.whole else "\n", flush=True)
        self.shown = step


class Mover:
    def __init__(self, cluster, changes, at_once):
        self.cluster, self.changes, self.at_once = cluster, changes, at_once
        self.waiting = sorted(changes, reverse=True)
        self.moving, self.refused = set(), {}
        self.last_change = time.monotonic()

    def begin_more(self):
        batch = [self.waiting.pop() for _ in range(min(self.at_once - len(self.moving), len(self.waiting)))]
        if not batch:
            return
        refused = self.cluster.alter({partition: self.changes[partition] for partition in batch})
        self.refused.update(refused)
        self.moving |= set(batch) - set(refused)
        if self.refused:  # something is not as it was when the plan was made: end what has begun, and no more
            self.waiting = []

    def say_when_stalled(self, ongoing):
        if time.monotonic() - self.last_change < STALL_S:
            return
        self.last_change = time.monotonic()
        wanted = set().union(*(ongoing[p]["adding_replicas"] for p in self.moving if p in ongoing))
        dead = sorted(wanted - set(self.cluster.brokers()))
        why = f"broker {numbers(dead)} is not running" if dead else "copying takes its time"
        print(f"nothing has finished for {STALL_S:g} s: {why}", file=sys.stderr, flush=True)

    def run(self):
        progress = Progress(len(self.changes))
        while self.waiting or self.moving:
            self.begin_more()
            ongoing = self.cluster.ongoing()
            finished = {partition for partition in self.moving if partition not in ongoing}
            if finished:
                self.moving -= finished
                self.last_change = time.monotonic()
            progress.show(len(self.changes) - len(self.moving) - len(self.waiting) - len(self.refused))
            self.say_when_stalled(ongoing)
            if self.moving and not finished:
                time.sleep(PAUSE_S)

    def interrupted(self):
        """What whoever pressed Ctrl-C, or reads that the controller does not answer, should know."""
        moving = {partition: self.changes[partition] for partition in self.moving}
        print(f"\nInterrupted: {count(len(moving), 'partition')} are still moving, and will go on without this program;"
              f" {len(self.waiting)} have not begun. scripts/reassign --list shows them, --balance again goes on once"
              " they are done. To cancel them, or to remove throttles with --verify, the file:\n"
              f"{reassignment.to_json(moving)}", file=sys.stderr)


def wait_settled(cluster, changes):
    """Until what a broker says about the partitions is the plan. The partitions that are otherwise to the end."""
    end = time.monotonic() + SETTLE_S
    while True:
        now = cluster.partitions({topic for topic, _ in changes})
        other = [p for p, replicas in changes.items() if p not in now or now[p]["replica_nodes"] != replicas]
        if not other or time.monotonic() > end:
            return other
        time.sleep(PAUSE_S)


def lead_as_planned(cluster):
    """Every partition whose first replica is in sync and does not lead gets it as its leader. Those that did."""
    wanted = [p for p, entry in cluster.partitions().items()
              if entry["replica_nodes"] and entry["leader_id"] != entry["replica_nodes"][0]
              and entry["leader_id"] >= 0 and entry["replica_nodes"][0] in entry["isr_nodes"]]
    refused = cluster.elect_preferred(wanted) if wanted else {}
    for partition, why in sorted(refused.items()):
        print(f"{name_of(partition)}: {why}", file=sys.stderr)
    return [partition for partition in wanted if partition not in refused]


def throttle(cluster, moving, topics, rate):
    """Where it cannot be set everywhere, what has been set of it goes again: nothing has moved yet, and nothing will."""
    try:
        cluster.throttle_moves(moving, rate)
    except (KeyboardInterrupt, CommandError, wire.WireError):
        try:
            cluster.clear_throttles(reassignment.brokers_of(moving), topics)
        except (CommandError, wire.WireError) as problem:
            print(f"the throttle could not be taken back everywhere: {problem}", file=sys.stderr)
        raise


def move(cluster, current, changes, rate, at_once):
    moving, topics = reassignment.moves({}, changes, current), sorted({topic for topic, _ in changes})
    if rate is not None:
        throttle(cluster, moving, topics, rate)
    mover = Mover(cluster, changes, at_once)
    try:
        mover.run()
    except (KeyboardInterrupt, CommandError, wire.WireError):  # what has begun goes on, and a throttle stays
        mover.interrupted()
        raise
    if rate is not None:
        cluster.clear_throttles(reassignment.brokers_of(moving), topics)
    if mover.refused:
        raise CommandError("not everything was moved. Refused:\n" + "\n".join(
            f"{name_of(partition)}: {why}" for partition, why in sorted(mover.refused.items())))
    other = wait_settled(cluster, changes)
    if other:
        raise CommandError("somebody else has changed or cancelled these meanwhile: " + ", ".join(map(name_of, other)))


def rebalance(cluster, racks, without, rate=None, at_once=None, dry_run=False):
    """racks: {broker: rack} of all that run. rate: bytes a second between brokers. CommandError when it cannot be."""
    begin = time.monotonic()
    entries = cluster.partitions()
    check(cluster, entries, racks, without)
    current = movable(entries, racks, without)
    problems = balance.problems(current, racks, without)
    if problems:
        raise CommandError("\n".join(problems[:LINES_MAX]))
    changes = balance.balance(current, racks, without)
    if changes:
        show_plan(cluster, entries, changes, racks)
    else:
        print("Nothing has to move.\n")
        show_brokers(entries, changes, racks)
    if dry_run:
        return
    if changes:
        move(cluster, current, changes, rate, at_once or AT_ONCE)
    led = lead_as_planned(cluster)
    print(f"Done in {time.monotonic() - begin:.1f} s: {count(len(changes), 'partition')} changed,"
          f" {count(len(led), 'leader')} moved.")
    for broker in without:
        left = sum(broker in entry["replica_nodes"] for entry in cluster.partitions().values())
        print(f"broker {broker} holds nothing any more and may be stopped." if not left else
              f"broker {broker} still holds {count(left, 'partition')}.")
