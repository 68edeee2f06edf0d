"""scripts/lib/cluster_status.py: what it makes of what brokers and ZooKeepers say. No process is needed for that."""
import types

import pytest
from cluster_status import View, parse_sessions, status, summary, troubles

DUMP = """SessionTracker dump:
Session Sets (2)/(3):
0 expire at Thu Nov 26 14:27:27 UTC 2026:
ephemeral nodes dump:
Sessions with Ephemerals (3):
0x10000cdcb990000:
	/chroot/brokers/ids/1
	/chroot/controller
0x10000cdcb990001:
	/chroot/brokers/ids/12
0x10000cdcb990007:
	/somebody/else
Connections dump:
"""
CONS = """ /127.0.0.1:50514[1](queued=0,recved=8,sent=8,sid=0x10000cdcb990000,lop=PING,est=1795703028,to=10000,lcxid=0x1)
 /127.0.0.1:50515[0](queued=0,recved=1,sent=0)
"""


def process(name, alive=True):
    return types.SimpleNamespace(name=name, id=int(name.rpartition("-")[2]), address=f"host:{name[-1]}", folder=f"/{name}",
                                 pid=None, alive=lambda: alive)


def partition(index, leader, replicas, isr):
    return {"partition_index": index, "leader_id": leader, "replica_nodes": replicas, "isr_nodes": isr}


@pytest.fixture
def view():
    """Three brokers with a topic of one healthy partition."""
    brokers = [process(f"broker-{i}") for i in (1, 2, 3)]
    one = types.SimpleNamespace(zookeepers=[process("zookeeper-1")], brokers=brokers, bootstrap="b")
    metadata = {"cluster_id": "id", "controller_id": 1, "brokers": [{"node_id": broker.id} for broker in brokers],
                "topics": [{"name": "t", "partitions": [partition(0, 1, [1, 2], [1, 2])]}]}
    return View(one, {"zookeeper-1": "standalone"}, {1: 3000, 2: 3000, 3: None}, metadata, {"t": 2}, {})


def line(view, begin):
    return next(line for line in status(view).splitlines() if line.startswith(begin))


def test_sessions_are_those_that_hold_a_brokers_node():
    assert parse_sessions(DUMP, CONS) == {1: 10000, 12: None}
    assert parse_sessions("", "") == {}


def test_all_is_well(view):
    assert troubles(view) == []
    assert status(view).splitlines()[-1] == "All is well."
    assert line(view, "t ").split() == ["t", "0", "1", "1,2", "1,2"]
    assert summary(view) == ("1 topic, 1 partition: 0 without a leader that runs, 0 with replicas that are not in sync,"
                             " 0 under min.insync.replicas, 0 being reassigned")


@pytest.mark.parametrize("state, words, counts", [
    (partition(0, 1, [1, 2], [1]), "not in sync: 2; 1 in sync, acks=all needs 2", "0, 1, 1, 0"),
    (partition(0, 1, [1, 2, 3], [1, 2]), "not in sync: 3", "0, 1, 0, 0"),
    (partition(0, -1, [1, 2], [2]), "OFFLINE: none of its replicas can lead; not in sync: 1; 1 in sync, acks=all needs 2",
     "1, 1, 1, 0"),
    (partition(0, 3, [3, 2], [3, 2]), "leader is down (its session is not over yet)", "1, 0, 0, 0"),
])
def test_what_is_wrong_with_a_partition_is_said_and_counted(view, state, words, counts):
    view.metadata["topics"][0]["partitions"] = [state]
    view.cluster.brokers[2] = process("broker-3", alive=False)
    assert line(view, "t ").endswith(f"  {words}")
    found = summary(view).partition(": ")[2]
    assert ", ".join(part.split()[0] for part in found.split(", ")) == counts
    assert troubles(view)[0] == "broker-3 is down"


def test_a_move_is_shown_and_is_no_trouble(view):
    """The replica that comes is not in sync for as long as it is being copied."""
    view.metadata["topics"][0]["partitions"] = [partition(0, 1, [1, 3, 2], [1, 2])]
    view.moves = {("t", 0): {"replicas": [1, 3, 2], "adding_replicas": [3], "removing_replicas": [2]}}
    assert line(view, "t ").endswith("  moving: +3 -2")
    assert summary(view).endswith(" 1 being reassigned")
    assert troubles(view) == []


def test_sessions_are_shown(view):
    assert " 3 s " in line(view, "broker-2") and " ends soon " in line(view, "broker-3")
    view.sessions.pop(3)
    assert " none " in line(view, "broker-3")


@pytest.mark.parametrize("change, told", [
    (lambda view: view.modes.update({"zookeeper-1": None}), ["zookeeper-1 is up, does not serve"]),
    (lambda view: view.metadata.update(controller_id=-1), ["there is no controller"]),
    (lambda view: view.metadata["brokers"].pop(), ["broker-3 is up, not in the cluster"]),
    (lambda view: setattr(view, "metadata", None), [f"broker-{i} is up, does not answer" for i in (1, 2, 3)]),
])
def test_what_is_wrong_with_the_cluster_is_the_last_line(view, change, told):
    change(view)
    assert troubles(view) == told
    assert status(view).splitlines()[-1] == f"Not well: {'; '.join(told)}."


def test_many_partitions_have_a_line_for_their_topic_and_one_for_each_in_trouble(view):
    parts = [partition(i, 1, [1, 2], [1, 2]) for i in range(40)]
    parts[7]["isr_nodes"] = [1]
    view.metadata["topics"][0]["partitions"] = parts
    lines = [text for text in status(view).splitlines() if text.startswith("t ")]
    assert [text.split()[1] for text in lines] == ["all", "7"]
    assert "1x not in sync: 2" in lines[0]
