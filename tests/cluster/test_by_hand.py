"""What somebody does to a topic in ZooKeeper, past every tool."""
import json
import os

import pytest
from test_admin import created, directories, latest_offset, leader_of, partitions_of, write
from znodes import Znodes


@pytest.fixture
def znodes(shared_cluster):
    with Znodes(shared_cluster.zookeepers[0].address) as found:
        yield found


def remove(znodes, path):
    for name in znodes.children(path):
        remove(znodes, f"{path}/{name}")
    znodes.delete(path)


def test_a_topic_that_was_removed_there_can_be_made_again(shared_cluster, topic, znodes):
    """No broker took the new one's partitions before it was restarted: it had those of the topic before."""
    created(shared_cluster, topic, 2, 2)
    write(shared_cluster, topic, 0, 5)
    remove(znodes, f"/brokers/topics/{topic}")
    shared_cluster.wait(lambda: all(partitions_of(shared_cluster, topic, broker) == {}
                                    for broker in shared_cluster.brokers), "no broker knowing it")
    created(shared_cluster, topic, 2, 2)
    write(shared_cluster, topic, 0, 3)
    assert latest_offset(shared_cluster, topic, 0) == 3
    assert sum(name.startswith(f"{topic}-0.") and name.endswith("-stray") for name in directories(shared_cluster)) == 2


def test_the_only_copy_stays_when_somebody_writes_another_broker_into_the_node(shared_cluster, topic, znodes):
    """It was deleted at once, before the other one had anything."""
    path = f"/brokers/topics/{topic}"
    created(shared_cluster, topic, 1, 1)
    write(shared_cluster, topic, 0, 5)
    old = leader_of(shared_cluster, topic, 0)
    new = next(broker for broker in shared_cluster.brokers if broker.id != old.id)
    node = znodes.json(path)
    znodes.set(path, json.dumps({**node, "partitions": {"0": [new.id]}}))
    shared_cluster.wait(lambda: all(partitions_of(shared_cluster, topic, broker)[0]["replica_nodes"] == [new.id]
                                    for broker in shared_cluster.brokers), "every broker hearing of it")
    write(shared_cluster, topic, 0, 1)
    assert f"{topic}-0" in os.listdir(os.path.join(old.folder, "data"))
    assert latest_offset(shared_cluster, topic, 0) == 6
    znodes.set(path, json.dumps(node))
    shared_cluster.wait(lambda: partitions_of(shared_cluster, topic)[0]["leader_epoch"] == 1, "the node as it was")
    write(shared_cluster, topic, 0, 1)
    assert latest_offset(shared_cluster, topic, 0) == 7
