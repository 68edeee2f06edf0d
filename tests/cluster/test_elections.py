"""ElectLeaders: leadership goes back to where it belongs, when asked for, and by itself."""
import pytest
from admin import Admin
from test_replication import create, partitions_of

QUIET = {"auto.leader.rebalance.enable": "false"}


def elect(cluster, topic_partitions, version, election_type=0):
    body = {"topic_partitions": topic_partitions, "timeout_ms": 20000}
    if version >= 1:
        body["election_type"] = election_type
    return Admin(cluster.bootstrap).call_controller("ElectLeaders", lambda _version, _timeout: body)


def leaders(cluster, topic):
    return [p["leader_id"] for p in partitions_of(cluster, topic)]


def preferred(cluster, topic):
    return [p["replica_nodes"][0] for p in partitions_of(cluster, topic)]


def moved_cluster(cluster, topic):
    """A cluster where some leaders are not the preferred ones."""
    c = cluster(config=QUIET)
    create(c, topic, partitions=3, replication=3)
    c.stop(1)
    c.start(1)
    c.wait(lambda: all(len(p["isr_nodes"]) == 3 for p in partitions_of(c, topic)), "everybody in sync")
    assert leaders(c, topic) != preferred(c, topic)
    return c


@pytest.mark.parametrize("version", [0, 1, 2])
def test_preferred_leaders_are_elected(cluster, topic, version):
    c = moved_cluster(cluster, topic)
    answer = elect(c, [{"topic": topic, "partitions": [0, 1, 2]}], version)
    codes = sorted(p["error_code"] for p in answer["replica_election_results"][0]["partition_result"])
    assert codes[0] == 0 and set(codes) <= {0, 84}  # 84: that one was led by the right broker already
    c.wait(lambda: leaders(c, topic) == preferred(c, topic), "preferred leaders everywhere")


def test_null_means_all_and_leaves_out_what_needs_nothing(cluster, topic):
    c = moved_cluster(cluster, topic)
    answer = elect(c, None, 2)
    assert all(p["error_code"] == 0 for t in answer["replica_election_results"] for p in t["partition_result"])
    c.wait(lambda: leaders(c, topic) == preferred(c, topic), "preferred leaders everywhere")
    assert elect(c, None, 2)["replica_election_results"] == []


def test_errors_are_the_partitions_own(cluster, topic):
    c = cluster(config=QUIET)
    create(c, topic, partitions=1, replication=3)
    answer = elect(c, [{"topic": topic, "partitions": [0, 7]}, {"topic": "nowhere", "partitions": [0]}], 2)
    codes = {(t["topic"], p["partition_id"]): p["error_code"]
             for t in answer["replica_election_results"] for p in t["partition_result"]}
    assert codes == {(topic, 0): 84, (topic, 7): 3, ("nowhere", 0): 3}
    assert elect(c, [{"topic": topic, "partitions": [0]}], 2, 1)["replica_election_results"][0][
        "partition_result"][0]["error_code"] == 84


def test_leaders_go_back_by_themselves(cluster, topic):
    c = cluster(config={"leader.imbalance.check.interval.seconds": "1"})
    create(c, topic, partitions=3, replication=3)
    c.stop(1)
    c.start(1)
    c.wait(lambda: leaders(c, topic) == preferred(c, topic), "preferred leaders everywhere")
