"""Fixtures for tests on real processes. See README.md.

cluster          a factory: cluster(brokers=3, zookeepers=1, config={...}, broker_config={2: {...}}, binary=...)
shared_cluster   three brokers and one ZooKeeper that all tests share: for tests that only add topics and groups
topic            a topic name of the test's own
"""
import os
import shutil
import sys

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "scripts", "lib"))
os.environ.setdefault("LSAN_OPTIONS", f"suppressions={ROOT}/tests/lsan.supp:print_suppressions=0")

import cluster as clusters  # noqa: E402  pylint: disable=wrong-import-position
import patience  # noqa: E402  pylint: disable=wrong-import-position
import private_network  # noqa: E402  pylint: disable=wrong-import-position

patience.teach_kafka_python()

TEST_CONFIG = {
    "offsets.topic.num.partitions": "5",
    "group.initial.rebalance.delay.ms": "0",
    "zookeeper.session.timeout.ms": "6000",
    "zookeeper.connection.timeout.ms": "120000",  # of a start; it would be as long as a session, which some tests cut
}
# Where no broker is killed: then none is to be taken for dead, either, when the machine is busy.
LONG_SESSION = {"zookeeper.session.timeout.ms": "60000"}


def test_config(brokers):
    """What every test cluster has unless it says otherwise: small and quick where Kafka's defaults are patient."""
    return {**TEST_CONFIG, "offsets.topic.replication.factor": str(min(3, brokers))}


test_config.__test__ = False  # not one of pytest's


@pytest.fixture(scope="session")
def needs_cluster():
    """Skips, saying what is missing, where no cluster can run."""
    problem = clusters.missing()
    if problem:
        pytest.skip(problem)


def make(folder, brokers=3, zookeepers=1, config=None, **more):
    return clusters.Cluster(str(folder), brokers, zookeepers, {**test_config(brokers), **(config or {})}, **more)


def end(one):
    """Stop a cluster as its user would, and look at what the brokers said on the way: a sanitizer's report, or a
    broker that has to be killed, fails the test."""
    try:
        one.down()
        assert one.reports() == []
        assert {b.name: b.status for b in one.brokers if b.status not in (None, 0, -9)} == {}
    finally:
        one.close()
    shutil.rmtree(one.folder)  # kept where something is wrong


@pytest.fixture
def cluster(needs_cluster, tmp_path):
    """Start clusters; each is stopped after the test."""
    made = []

    def factory(brokers=3, zookeepers=1, config=None, **more):
        one = make(tmp_path / f"cluster-{len(made) + 1}", brokers, zookeepers, config, **more)
        made.append(one)
        return one.up()

    yield factory
    problems = []
    for one in made:
        try:
            end(one)
        except (clusters.ClusterError, AssertionError) as problem:
            problems.append(str(problem))
    if problems:
        pytest.fail("\n".join(problems))


@pytest.fixture(scope="session")
def shared_cluster(needs_cluster, tmp_path_factory):
    """Do not kill, stop or reconfigure any of its brokers."""
    one = make(tmp_path_factory.mktemp("shared") / "cluster", config=LONG_SESSION)
    try:
        one.up()
    except BaseException:
        one.close()
        raise
    yield one
    end(one)


@pytest.fixture
def topic(request):
    """A name that no other test uses."""
    return "".join(c if c.isalnum() or c in "-_." else "-" for c in request.node.nodeid.rpartition("::")[2])


@pytest.fixture
def needs_command():
    """needs_command("kcat", "package kcat"): the path of a program, or a skip that names it."""
    def find(name, where):
        path = shutil.which(name)
        if path is None:
            pytest.skip(f"no {name} ({where})")
        return path

    return find


@pytest.fixture
def network():
    """A loopback of the test's own, where ports 9092 and 2181 are free."""
    try:
        with private_network.PrivateNetwork() as one:
            yield one
    except private_network.Unavailable as problem:
        pytest.skip(str(problem))
