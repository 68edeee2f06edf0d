"""What the figures are made of: gaps between acknowledgements."""
import measure
import pytest


def acks(*spans):
    """Of partition 0, in milliseconds."""
    return lambda: iter([("ack", begin * 1000, end * 1000, 0, 0, 1, 0, 1) for begin, end in spans])


GAPS = measure.gaps_of(acks((0, 100), (105, 200), (700, 800), (1000, 1100)))


def test_a_gap_is_a_time_without_an_acknowledgement():
    assert GAPS == {0: [(0.2, 0.7), (0.8, 1.0)]}


def test_an_injection_is_charged_with_the_longest_gap_that_it_touches():
    assert measure.unavailable(GAPS, [(0.0, 0.15), (0.3, 0.9), (0.75, 0.9)]) == pytest.approx([0.0, 0.5, 0.2])


def test_a_partition_is_writable_again_at_the_end_of_the_gap_after_the_kill():
    kill = ("killed", 0.15, 1, [0])
    assert measure.after_kills(GAPS, [kill]) == pytest.approx([0.55])
    assert measure.after_kills(GAPS, [("killed", 1.05, 1, [0])]) == [0.0]
    assert measure.after_kills(GAPS, [kill, ("killed", 0.6, 2, [])]) == []


def test_a_controlled_shutdown_is_charged_with_the_gaps_of_what_it_led():
    notes = [("asked to stop", 0.1, 1, [0]), ("stopped", 0.25, 1, [0])]
    assert measure.after_shutdowns(GAPS, notes) == pytest.approx([0.5])
    assert measure.after_shutdowns(GAPS, [("asked to stop", 0.1, 1, []), ("stopped", 0.15, 1, [])]) == []


def test_the_spread_names_its_count_and_its_ends():
    assert measure.spread([]) == {"count": 0}
    assert measure.spread([0.1, 0.3, 0.2]) == {"count": 3, "min": 100.0, "median": 200.0, "p99": 300.0, "max": 300.0}


def test_a_long_gap_is_told_with_what_was_done_meanwhile():
    notes = [("killed", 0.1, 2, [0]), ("started", 0.45, 2), ("killed", 0.95, 3, [])]
    assert list(measure.said_of_long(GAPS, 0.3, notes)) == [
        "partition 0 could not be written to for 0.5 s: -0.1 s killed 2, 0.2 s started 2"]
    assert list(measure.said_of_long(GAPS, 0.5, notes)) == []


def test_a_writer_that_hears_late_is_told_of():
    both = [("ack", begin * 1000000, end * 1000000, 0, 0, writer, 0, 1)
            for begin, end, writer in ((0, 1, 1), (0, 1, 9), (4, 5, 9), (5, 12, 9), (8, 12, 1))]
    gaps = measure.gaps_of(lambda: iter(both))
    assert gaps == {0: [(1.0, 4.0)]}
    writer_gaps = measure.gaps_of(lambda: iter(both), lambda number: number < 9)
    assert list(measure.said_of_late(writer_gaps, gaps)) == [
        "the writer heard nothing of partition 0 for 7.0 s; 3.0 s of it nobody could write"]
    assert list(measure.said_of_late(gaps, gaps)) == []
