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
