"""Signals that are awkward for a broker, or come at such a moment."""
import signal

import cluster as clusters


def test_a_broker_stopped_as_it_becomes_ready_ends_cleanly(cluster):
    """SIGTERM comes while the main thread may be learning that the start has ended: the two once wrote the same
    memory. ThreadSanitizer's build shows that; every build must end with status 0, whichever came first."""
    one = cluster(brokers=1)
    broker = one.brokers[0]
    for _ in range(8):
        one.stop(1)
        broker.launch()
        child = broker.child
        one.wait(broker.ready, "an answer")
        broker.ask_to_stop()
        assert child.wait(clusters.STOP_S) == 0
        one.start(1)


def test_the_end_of_its_terminal_stops_a_broker_cleanly(cluster):
    """SIGHUP killed it at once: the next start had to recover, and was counted out of every ISR until it had caught up.
    Kafka's stops as by SIGTERM."""
    one = cluster(brokers=1)
    broker = one.broker(1)
    one.wait(lambda: "INFO started:" in broker.log_text(), "the end of the start")
    broker.kill(signal.SIGHUP)
    assert broker.child.wait(clusters.STOP_S) == 0
    assert "stopping: signal=Hangup" in broker.log_text() and "clean=yes" in broker.log_text()
    one.start(1)


def test_a_broker_that_was_begun_with_nohup_outlives_its_terminal(cluster):
    one = cluster(brokers=1)
    broker = one.broker(1)
    one.stop(1)
    broker.inside = ("nohup",)
    one.start(1)
    one.wait(lambda: "INFO started:" in broker.log_text().rpartition("INFO starting:")[2], "the end of the start")
    broker.kill(signal.SIGHUP)
    broker.ask_to_stop()
    assert broker.child.wait(clusters.STOP_S) == 0
    assert "signal=Hangup" not in broker.log_text()
    assert "stopping: signal=Terminated" in broker.log_text().rpartition("INFO starting:")[2]
