"""Every kind of problem is found, and a good history has none."""
import checker
import pytest

GOOD = [
    ("send", "w1:0:0", 0), ("ack", "w1:0:0", 0, 0), ("read", 0, 0, "w1:0:0"), ("end", 0, 1),
    ("send", "w1:0:1", 0), ("unknown", "w1:0:1", 0), ("commit", 0, 1), ("committed", 0, 1),
    ("send", "w1:0:2", 0), ("ack", "w1:0:2", 0, 2), ("end", 0, 3),
    ("final", 0, 0, "w1:0:0"), ("final", 0, 1, "w1:0:1"), ("final", 0, 2, "w1:0:2"),
]


def without(event):
    return [one for one in GOOD if one != event]


def test_a_good_history_has_no_problem():
    assert not checker.check(GOOD)


def test_what_was_not_acknowledged_may_be_missing():
    history = without(("final", 0, 1, "w1:0:1"))
    assert not checker.check(history)


@pytest.mark.parametrize("kind, history", [
    ("lost", without(("final", 0, 2, "w1:0:2"))),
    ("moved", [*without(("final", 0, 2, "w1:0:2")), ("final", 0, 3, "w1:0:2")]),
    ("duplicated", [*GOOD, ("final", 0, 3, "w1:0:2")]),
    ("invented", [*GOOD, ("final", 0, 3, "w9:0:0")]),
    ("reordered", [*without(("final", 0, 1, "w1:0:1")), ("final", 0, 3, "w1:0:1")]),
    ("vanished", [*GOOD, ("read", 0, 7, "w1:0:7")]),
    ("changed", [*GOOD, ("read", 0, 1, "w1:0:2")]),
    ("end went back", [*GOOD, ("end", 0, 2)]),
    ("committed offset went back", [*GOOD, ("committed", 0, 0)]),
])
def test_a_problem_is_found(kind, history):
    assert kind in checker.check(history).counts


def test_an_acknowledgement_without_an_offset_still_means_that_the_record_is_there():
    history = [*without(("ack", "w1:0:2", 0, 2)), ("ack", "w1:0:2", 0, None)]
    assert not checker.check(history)
    assert "lost" in checker.check([e for e in history if e != ("final", 0, 2, "w1:0:2")]).counts


def test_a_commit_that_comes_late_is_no_problem():
    assert not checker.check([*GOOD, ("commit", 0, 0), ("committed", 0, 1)])


def test_examples_are_few_and_counts_are_whole():
    problems = checker.check([*GOOD, *(("final", 0, 10 + i, f"x:0:{i}") for i in range(20))])
    assert problems.counts["invented"] == 20
    assert len([line for line in problems.lines() if line.startswith("    ")]) <= 2 * checker.EXAMPLES
