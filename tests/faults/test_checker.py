"""Every kind of problem is found, and a good history has none."""
import tracemalloc

import checker
import pytest

# Runs of ten records at partition 0, offset = number, but for 10 to 19, which are unknown and there.
GOOD = [
    ("began", 1, 1), ("sent", 99, 0, 1, 30),
    ("ack", 10, 11, 0, 0, 1, 0, 10), ("unknown", 12, 13, 0, -1, 1, 10, 10), ("ack", 20, 21, 0, 20, 1, 20, 10),
    ("read", 14, 15, 0, 0, 1, 0, 15),
    ("end", 10, 11, 0, 10), ("end", 20, 21, 0, 30),
    ("commit", 30, 31, 0, 5), ("committed", 32, 33, 0, 5), ("commit", 40, 41, 0, 9),
    ("final", 90, 91, 0, 0, 1, 0, 30),
]


def check(history, **arguments):
    return checker.check(lambda: iter(history), **arguments)


def final(*rows):
    """GOOD with another final reading. Rows: (offset, writer, number, count)."""
    return [*[e for e in GOOD if e[0] != "final"], *[("final", 90, 91, 0, *row) for row in rows]]


def test_a_good_history_has_no_problem():
    assert not check(GOOD), list(check(GOOD).lines())


def test_what_trying_again_did_not_mend_is_counted():
    """A run of rolling-restart told 454 such records and was said to have passed."""
    good = [event for event in GOOD if event[0] != "unknown"]
    assert checker.given_up(lambda: iter(good)) == (0, [])
    bad = [*GOOD, ("failed", 12, 13, 0, -1, 1, 20, 3), ("error", 50, "OUT_OF_ORDER_SEQUENCE_NUMBER")]
    assert checker.given_up(lambda: iter(bad)) == (10 + 3 + 1, ["OUT_OF_ORDER_SEQUENCE_NUMBER"])


def test_what_was_not_acknowledged_may_be_missing():
    history = [e for e in final((0, 1, 0, 10), (20, 1, 20, 10)) if e[0] != "read"]
    assert not check(history), list(check(history).lines())


@pytest.mark.parametrize("kind, count, history", [
    ("lost", 4, final((0, 1, 0, 26))),
    ("lost", 2, final((0, 1, 0, 3), (5, 1, 5, 25))),
    ("moved", 10, final((0, 1, 0, 20), (21, 1, 20, 10))),
    ("duplicated", 3, final((0, 1, 0, 30), (30, 1, 7, 3))),
    ("duplicated", 1, [e for e in final((0, 1, 0, 20), (20, 1, 19, 11)) if e[0] != "ack"]),
    ("invented", 5, final((0, 1, 0, 35))),
    ("invented", 7, final((0, 1, 0, 30), (30, 9, 0, 7))),
    ("reordered", 10, final((0, 1, 0, 10), (20, 1, 20, 10), (30, 1, 10, 10))),
    ("vanished", 6, [*GOOD, ("read", 50, 51, 0, 28, 1, 28, 8)]),
    ("vanished", 3, [*GOOD, ("read", 50, 51, 7, 0, 1, 0, 3)]),
    ("changed", 2, [*GOOD, ("read", 50, 51, 0, 4, 1, 5, 2)]),
    ("changed", 2, [*GOOD, ("read", 50, 51, 0, 4, 2, 4, 2)]),
    ("garbled", 1, [*GOOD, ("garbled", 50, 0, 3)]),
    ("refused", 1, [*GOOD, ("refused", 50, 0, 3)]),
    ("end went back", 1, [*GOOD, ("end", 30, 31, 0, 29)]),
    ("committed offset went back", 1, [*GOOD, ("committed", 50, 51, 0, 8)]),
    ("committed offset went back", 1, [*GOOD, ("committed", 50, 51, 0, -1)]),
])
def test_a_problem_is_found_and_counted(kind, count, history):
    assert check(history).counts[kind] == count


def test_what_the_client_sent_in_two_epochs_is_not_the_brokers_duplicate():
    history = final((0, 1, 0, 30), (30, 1, 7, 3))
    assert not check(history, producer_of=lambda _, offset: (1, 0 if offset < 30 else 1))
    assert check(history, producer_of=lambda _, offset: (1, 0 if offset < 32 else 1)).counts["duplicated"] == 2


def test_an_acknowledgement_without_an_offset_still_means_that_the_record_is_there():
    history = [e for e in GOOD if e[0] != "ack"] + [("ack", 10, 11, 0, -1, 1, 0, 10)]
    assert not check(history)
    assert check([*[e for e in history if e[0] != "final"], ("final", 90, 91, 0, 1, 1, 1, 29)]).counts["lost"] == 1


def test_a_commit_that_comes_late_is_no_problem():
    assert not check([*GOOD, ("commit", 50, 51, 0, 3), ("committed", 52, 53, 0, 9)])


def test_answers_that_were_asked_for_at_the_same_time_may_come_in_any_order():
    assert not check([*GOOD, ("end", 50, 60, 0, 40), ("end", 55, 58, 0, 35)])


REBORN = [
    ("began", 1, 1), ("sent", 99, 0, 1, 30), ("began", 60, 2), ("sent", 99, 0, 2, 10),
    ("ack", 10, 11, 0, 0, 1, 0, 10),  # before the deletion
    ("ack", 52, 53, 0, 3, 1, 13, 2),  # between the deletion and the creation
    ("ack", 61, 62, 0, 5, 2, 0, 10),
    ("final", 90, 91, 0, 0, 1, 20, 5), ("final", 90, 91, 0, 5, 2, 0, 10),
]


def test_what_was_written_before_a_deletion_is_gone_and_what_was_after_is_there():
    times = {"deleted_us": 50, "born_us": 60}
    assert not check(REBORN, **times)
    assert check([*REBORN, ("final", 90, 91, 0, 15, 1, 9, 1)], **times).counts["resurrected"] == 1
    assert check([e for e in REBORN if e[0] != "final"], **times).counts["lost"] == 10


def test_partitions_that_take_nothing_any_more_are_found():
    """A cluster that looked healed and acknowledged nothing lost nothing, and passed."""
    history = [*GOOD, ("ack", 5, 40, 2, 0, 1, 0, 10)]
    assert checker.silent(lambda: iter(history), 3, 15) == [1]
    assert checker.silent(lambda: iter(history), 3, 30) == [0, 1]


def test_a_reader_that_hears_nothing_any_more_is_found():
    """One whose broker had stopped to answer it was not missed, as long as the writer was heard."""
    assert checker.silent(lambda: iter(GOOD), 1, 15, "read") == []
    assert checker.silent(lambda: iter(GOOD), 1, 16, "read") == [0]


def test_examples_are_few_and_counts_are_whole():
    problems = check([*GOOD, *(("garbled", 1, 0, i) for i in range(20))])
    assert problems.counts["garbled"] == 20
    assert len(list(problems.lines())) == 1 + checker.EXAMPLES


def test_ten_million_records_are_checked_in_little_memory():
    run, runs = 500, 20000

    def history():
        yield ("sent", 1, 0, 1, run * runs)
        for i in range(runs):
            for kind in ("ack", "read", "final"):
                yield (kind, i, i, 0, i * run, 1, i * run, run)

    tracemalloc.start()
    try:
        assert not checker.check(history)
        assert checker.counts(history)["ack"] == 10_000_000
        assert tracemalloc.get_traced_memory()[1] < 50e6
    finally:
        tracemalloc.stop()


def blocks(*parts):
    return iter(parts)


def test_replicas_that_differ_are_found_at_their_first_byte():
    same = {1: blocks(b"abcd", b"ef"), 2: blocks(b"abcd", b"ef"), 3: blocks(b"abcd", b"ef")}
    assert checker.difference(same) is None
    assert "1 and 3 differ at byte 5" in checker.difference({1: blocks(b"abcd", b"ef"), 2: blocks(b"abcd", b"ef"),
                                                             3: blocks(b"abcd", b"eg")})
    assert "differ at byte 4" in checker.difference({1: blocks(b"abcd"), 2: blocks(b"abcd", b"e")})
    assert "differ at byte 0" in checker.difference({1: blocks(), 2: blocks(b"abcd")})
