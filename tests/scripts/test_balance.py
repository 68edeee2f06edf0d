"""scripts/lib/balance.py: where replicas should be. Instances come from seeds; small ones are compared with the best of
all assignments there are.
"""
import collections
import itertools
import random

import balance
import pytest

SMALL, LARGE = range(400), range(60)


def loads(assignment, brokers):
    counts = collections.Counter(broker for replicas in assignment.values() for broker in replicas)
    return [counts[broker] for broker in sorted(brokers)]


def leads(assignment, brokers):
    counts = collections.Counter(replicas[0] for replicas in assignment.values())
    return [counts[broker] for broker in sorted(brokers)]


def racks_used(replicas, racks):
    return len({racks.get(broker) or broker for broker in replicas})


def instance(seed, brokers_max, partitions_max, with_racks):
    """(current, racks, without) at random: lopsided as clusters are that have grown."""
    chance = random.Random(seed)
    brokers = list(range(1, chance.randint(2, brokers_max) + 1))
    without = set(chance.sample(brokers, chance.randint(0, len(brokers) - 1))) if chance.random() < 0.5 else set()
    left = len(brokers) - len(without)
    kinds = chance.randint(1, 3)
    racks = {broker: f"rack {broker % kinds}" if with_racks else None for broker in brokers}
    used = brokers[:chance.randint(left, len(brokers))]  # the others are new
    current = {}
    for topic in "abc"[:chance.randint(1, 3)]:
        factor = chance.randint(1, min(3, left))
        for index in range(chance.randint(1, max(1, partitions_max // 3))):
            current[topic, index] = chance.sample(used, factor)
    return current, racks, without


def after(current, changes):
    return {**{partition: list(replicas) for partition, replicas in current.items()}, **changes}


def rules_broken(current, result, racks, without):
    """Rules 1 and 2 of balance.py."""
    stay = set(racks) - without
    racks_left = len({racks[broker] or broker for broker in stay})
    for partition, replicas in result.items():
        before = current[partition]
        if len(replicas) != len(before) or len(set(replicas)) != len(replicas) or not set(replicas) <= stay:
            yield partition, replicas
        if racks_used(replicas, racks) < min(racks_used(before, racks), racks_left):
            yield partition, replicas, "racks"


def best_of_all(current, racks, without):
    """(the smallest sum of squared loads, the smallest number of replicas moved with it) over every assignment."""
    stay = sorted(set(racks) - without)
    partitions = sorted(current)
    choices = [[chosen for chosen in itertools.combinations(stay, len(current[partition]))
                if not list(rules_broken({0: current[partition]}, {0: list(chosen)}, racks, without))]
               for partition in partitions]
    return min((sum(load * load for load in loads(dict(enumerate(all_of_them)), stay)),
                sum(len(set(chosen) - set(current[partition])) for partition, chosen in zip(partitions, all_of_them)))
               for all_of_them in itertools.product(*choices))


@pytest.mark.parametrize("with_racks", [False, True])
def test_the_plan_is_as_even_as_can_be_with_as_few_moves_as_can_be(with_racks):
    for seed in SMALL:
        current, racks, without = instance(seed, 4, 6, with_racks)
        changes = balance.balance(current, racks, without)
        result = after(current, changes)
        stay = set(racks) - without
        assert list(rules_broken(current, result, racks, without)) == [], seed
        squares = sum(load * load for load in loads(result, stay))
        assert (squares, balance.moved(current, changes)) == best_of_all(current, racks, without), seed


@pytest.mark.parametrize("with_racks", [False, True])
def test_leaders_are_as_even_as_the_replicas_allow(with_racks):
    for seed in SMALL:
        current, racks, without = instance(seed, 4, 6, with_racks)
        result = after(current, balance.balance(current, racks, without))
        stay = set(racks) - without
        best = min(sum(led * led for led in collections.Counter(leaders).values())
                   for leaders in itertools.product(*result.values()))
        assert sum(led * led for led in leads(result, stay)) == best, seed


def test_large_plans_keep_the_rules_and_are_even():
    for seed in LARGE:
        current, racks, without = instance(seed, 12, 300, with_racks=False)
        changes = balance.balance(current, racks, without)
        result = after(current, changes)
        stay = set(racks) - without
        assert list(rules_broken(current, result, racks, without)) == [], seed
        assert max(loads(result, stay)) - min(loads(result, stay)) <= 1, seed
        there, leaving = loads(current, stay), sum(loads(current, without))
        low, more = divmod(sum(there) + leaving, len(stay))
        target = [low + (rank < more) for rank in range(len(stay))]
        needed = sum(max(0, want - have) for want, have in zip(target, sorted(there, reverse=True)))
        assert balance.moved(current, changes) == needed, seed


def test_where_racks_forbid_the_straight_way_there_may_be_one_over_a_third_broker():
    """Broker 3 has two replicas too many for broker 2, and none of them may go there."""
    racks = {1: "b", 2: "b", 3: "a", 4: "a"}
    current = {("t", 0): [3, 1], ("t", 1): [4], ("t", 2): [1, 3], ("t", 3): [3, 2, 4]}
    changes = balance.balance(current, racks)
    result = after(current, changes)
    assert list(rules_broken(current, result, racks, set())) == []
    assert loads(result, racks) == [2, 2, 2, 2]
    assert balance.moved(current, changes) == best_of_all(current, racks, set())[1]


def test_the_same_question_has_the_same_answer_whatever_the_order_of_its_parts():
    for seed in LARGE:
        current, racks, without = instance(seed, 9, 90, with_racks=True)
        shuffled = list(current)
        random.Random(seed).shuffle(shuffled)
        backwards = {partition: current[partition] for partition in shuffled}, dict(reversed(racks.items())), without
        assert balance.balance(*backwards) == balance.balance(current, racks, without), seed


def test_what_is_even_stays_as_it_is():
    for seed in LARGE:
        current, racks, without = instance(seed, 9, 90, with_racks=True)
        result = after(current, balance.balance(current, racks, without))
        assert balance.balance(result, racks, without) == {}, seed


def test_a_new_broker_gets_its_share_of_every_topic():
    current = balance.generate({(topic, i): [0] * 3 for topic in "abcd" for i in range(12)}, dict.fromkeys([1, 2, 3]))
    changes = balance.balance(current, dict.fromkeys([1, 2, 3, 4]))
    result = after(current, changes)
    assert loads(result, [1, 2, 3, 4]) == [36] * 4 and leads(result, [1, 2, 3, 4]) == [12] * 4
    assert balance.moved(current, changes) == 36
    for topic in "abcd":
        assert loads({p: r for p, r in result.items() if p[0] == topic}, [4]) == [9]


def test_a_broker_is_emptied():
    current = balance.generate({("t", i): [0] * 2 for i in range(10)}, dict.fromkeys([1, 2, 3]))
    result = after(current, balance.balance(current, dict.fromkeys([1, 2, 3]), without={3}))
    assert loads(result, [1, 2, 3]) == [10, 10, 0]


def test_a_broker_that_is_gone_for_good_is_emptied_too():
    """It is not among the brokers, so nobody knows its rack."""
    changes = balance.balance({("t", 0): [1, 9], ("t", 1): [9, 1]}, {1: "a", 2: "b"}, without={9})
    assert changes == {("t", 0): [1, 2], ("t", 1): [2, 1]}


def test_leaders_alone_are_evened_out_without_a_move():
    current = {("t", i): [1, 2, 3] for i in range(6)}
    changes = balance.balance(current, dict.fromkeys([1, 2, 3]))
    assert leads(after(current, changes), [1, 2, 3]) == [2, 2, 2]
    assert balance.moved(current, changes) == 0 and len(changes) == 4


def test_what_cannot_be_is_said():
    assert balance.problems({("t", 0): [1, 2, 3]}, dict.fromkeys([1, 2, 3]), without={3}) == [
        "t-0 has 3 replicas, and only 2 brokers are left to hold them"]
    assert balance.problems({("t", 0): [1, 1]}, dict.fromkeys([1, 2])) == ["t-0 names a broker twice: [1, 1]"]
    assert balance.problems({("t", 0): [1, 2]}, dict.fromkeys([1, 2])) == []


# ------------------------------------------------------------------ from scratch


def test_generated_assignments_are_even_and_use_all_racks():
    for seed in LARGE:
        chance = random.Random(seed)
        count = chance.randint(1, 4) * 3
        racks = {broker: f"rack {broker % 3}" for broker in range(1, count + 1)}
        current = {(topic, i): [0] * chance.choice([1, 2, 3]) for topic in "ab" for i in range(chance.randint(1, 40))}
        wanted = balance.generate(current, racks)
        assert wanted.keys() == current.keys()
        for partition, replicas in wanted.items():
            assert len(set(replicas)) == len(replicas) == len(current[partition])
            assert racks_used(replicas, racks) == len(replicas)
        assert max(leads(wanted, racks)) - min(leads(wanted, racks)) <= 1


def test_generating_for_too_few_brokers_is_refused():
    with pytest.raises(ValueError, match="Replication factor: 2 larger than available brokers: 1."):
        balance.generate({("t", 0): [1, 2]}, {3: None})
    assert balance.generate({("t", 0): [1], ("t", 1): [2]}, {3: None}) == {("t", 0): [3], ("t", 1): [3]}
