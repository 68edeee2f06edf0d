"""What partitions that nobody uses take of a broker's memory: of the release, because a sanitizer's memory is another."""
import os

import cluster as clusters
import pytest
import wire

RELEASE = os.path.join(wire.ROOT, "build", "release", "barnabasd")
PARTITIONS = 1000
EACH_KB = 2.8  # 2.55 when this was written; 2.94 when each log had for itself what it now shares


def private_kb(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("RssAnon:"))


def served(broker):
    topic, = broker.call("Metadata", {"topics": [{"name": "many"}]})["topics"]
    return len(topic["partitions"]) == PARTITIONS and all(one["leader_id"] > 0 for one in topic["partitions"])


@pytest.mark.skipif(not os.path.exists(RELEASE), reason="there is no build/release")
def test_idle_partitions_take_little_memory_after_a_start():
    """What a start needs besides is given back soon after it."""
    with clusters.Cluster(binary=RELEASE) as cluster:
        broker = cluster.broker(1)
        empty_kb = private_kb(broker.pid)
        broker.call("CreateTopics", {"topics": [{"name": "many", "num_partitions": PARTITIONS, "replication_factor": 1}],
                                     "timeout_ms": 30000}, seconds=40)
        cluster.wait(lambda: served(broker), "leaders")
        broker.ask_to_stop()
        broker.wait_gone()
        broker.launch()
        cluster.wait(broker.ready, "the start")
        cluster.wait(lambda: served(broker), "leaders after the start")
        cluster.wait(lambda: private_kb(broker.pid) - empty_kb <= PARTITIONS * EACH_KB, "memory to be given back")
