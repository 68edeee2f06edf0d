"""Signals at moments that are awkward for a broker."""
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
