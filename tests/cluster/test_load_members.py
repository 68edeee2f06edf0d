"""bench_load members against a real broker: what it measures happened, and it notices what it must."""
import json

import bench_load
import cluster as clusters
import pytest
import wire


@pytest.fixture(scope="module")
def one_broker(needs_cluster, tmp_path_factory):
    with clusters.Cluster(str(tmp_path_factory.mktemp("members") / "cluster"), brokers=1,
                          config={"offsets.topic.replication.factor": "1", "group.initial.rebalance.delay.ms": "0",
                                  "group.max.size": "25"}) as one:
        yield one
        assert one.reports() == []


@pytest.fixture
def members(one_broker, topic):
    """members(number of them, how many leave): a running generator, of a group of the test's name."""
    started = []

    def start(count, leaves, partitions=40):
        process = bench_load.start("members", one_broker.broker(1).address, topic, connections=count, requests=leaves,
                                   partitions=partitions)
        started.append(process)
        assert process.stdout.readline() == "ready\n", process.stderr.read()
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def go_on(process):
    process.stdin.write("\n")
    process.stdin.flush()


def describe(one_broker, group):
    described, = one_broker.broker(1).call("DescribeGroups", {"groups": [group]})["groups"]
    return described["group_state"], len(described["members"])


def test_a_group_joins_and_rebalances_when_members_leave(one_broker, members, topic):
    """What it tells after each step is what the broker says, too."""
    process = members(20, 3)
    go_on(process)
    assert process.stdout.readline() == "joined\n"
    assert describe(one_broker, topic) == ("Stable", 20)
    go_on(process)
    assert process.stdout.readline() == "left\n"
    assert describe(one_broker, topic) == ("Stable", 17)
    out, err = process.communicate("\n")
    assert process.returncode == 0, err
    report = json.loads(out)
    assert (report["members"], len(report["rebalance_ms"])) == (20, 3)
    assert report["generations"] >= 4
    assert report["requests"] >= 3 * 20 + 3 + 2 * (19 + 18 + 17)


def test_members_without_a_partition_are_members_all_the_same(members):
    process = members(6, 1, partitions=2)
    out, err = process.communicate("\n\n\n")
    assert process.returncode == 0, err
    assert json.loads(out.splitlines()[-1])["generations"] >= 2


def test_a_member_that_is_refused_ends_the_load(members):
    """group.max.size is 25."""
    process = members(26, 1)
    out, err = process.communicate("\n\n\n")
    assert (process.returncode, "joined" in out) == (1, False)
    assert "joins: " in err


def test_a_member_that_somebody_else_removes_ends_the_load(one_broker, members, topic):
    """Its heartbeat is refused, or the group is smaller than it must be: never a good report."""
    process = members(5, 1)
    go_on(process)
    assert process.stdout.readline() == "joined\n"
    described, = one_broker.broker(1).call("DescribeGroups", {"groups": [topic]})["groups"]
    victim = described["members"][0]["member_id"]
    answer = one_broker.broker(1).call("LeaveGroup", {"group_id": topic, "members": [{"member_id": victim}]})
    assert answer["members"][0]["error_code"] == 0
    out, err = process.communicate("\n\n")
    assert process.returncode == 1, out
    assert "member" in err


def test_a_stranger_in_the_group_ends_the_load(one_broker, members, topic):
    """A member that joins from elsewhere takes part of what is dealt out: then nothing was measured."""
    process = members(5, 1)
    go_on(process)
    assert process.stdout.readline() == "joined\n"
    stranger = {"group_id": topic, "session_timeout_ms": 6000, "rebalance_timeout_ms": 6000, "member_id": "",
                "protocol_type": "consumer", "protocols": [{"name": "range", "metadata": b"\0" * 10}]}
    given = one_broker.broker(1).call("JoinGroup", stranger)
    assert given["error_code"] == 79  # MEMBER_ID_REQUIRED
    with wire.Connection("127.0.0.1", one_broker.broker(1).port) as connection:
        connection.send("JoinGroup", {**stranger, "member_id": given["member_id"]})
        out, err = process.communicate("\n\n")
    assert process.returncode == 1, out
    assert "the leader is told" in err
