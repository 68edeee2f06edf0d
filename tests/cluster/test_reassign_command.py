"""scripts/reassign on real brokers, with messages that flow meanwhile. What it prints is tested in tests/scripts."""
import collections
import json
import os
import signal
import subprocess
import sys

import confluent_kafka
import pytest
import wire
from traffic import Traffic, assert_all_kept, create, in_sync, partitions_of, read_all
from znodes import Znodes

SCRIPTS = os.path.join(wire.ROOT, "scripts")
FILL_BYTES, FILL_SIZE = 10000000, 10000
END_S = 600  # nothing takes so long


Ask = collections.namedtuple("Ask", "bootstrap")  # some brokers of a cluster


def run(one, script, *words):
    """Standard output; the command succeeds."""
    done = subprocess.run([sys.executable, os.path.join(SCRIPTS, script), "--bootstrap-server", one.bootstrap, *words],
                          capture_output=True, text=True, timeout=END_S, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    return done.stdout


def replicas(one, topic):
    return [partition["replica_nodes"] for partition in partitions_of(one, topic)]


def holds(one):
    """{broker: replicas of all topics}"""
    return collections.Counter(broker for topic in one.metadata()["topics"] for partition in topic["partitions"]
                               for broker in partition["replica_nodes"])


def leads(one):
    return collections.Counter(partition["leader_id"] for topic in one.metadata()["topics"]
                               for partition in topic["partitions"])


def on_disk(broker, topic):
    data = os.path.join(broker.folder, "data")
    return sorted(name for name in os.listdir(data) if name.startswith(topic + "-"))


def fill(one, topic, size, partitions=1):
    """So many bytes of messages, in all replicas, and in every partition the same: a client that may choose gives most
    to one, and of a partition with less than a fetch brings a throttle stops nothing."""
    producer = confluent_kafka.Producer({"bootstrap.servers": one.bootstrap, "acks": "all"})
    for i in range(size // FILL_SIZE):
        producer.produce(topic, (b"filling %d" % i).ljust(FILL_SIZE), partition=i % partitions)
    assert producer.flush(END_S) == 0


@pytest.fixture
def file(tmp_path):
    """The option with a file of this text."""
    def make(text):
        (tmp_path / "moves.json").write_text(text)
        return ["--reassignment-json-file", str(tmp_path / "moves.json")]

    return make


def test_balance_after_a_broker_has_come_and_before_one_goes_loses_nothing(cluster, topic):
    one = cluster(3)
    create(one, topic, partitions=9, replicas=2)
    with Traffic(one, topic) as traffic:
        one.add_broker(one.ports.take())
        one.up()
        out = run(one, "reassign", "--balance")
        assert "\nDone in " in out
        # The broker that is asked may hear of the last move after the controller has told the command.
        one.wait(lambda: set(holds(one).values()) <= {4, 5} and sum(holds(one).values()) == 18, f"a balance: {out}")
        one.wait(lambda: set(leads(one).values()) <= {2, 3}, f"a balance of leaders: {out}")
        traffic.wait_more(50)
        out = run(one, "reassign", "--balance", "--without", "1")
        assert "broker 1 holds nothing any more and may be stopped." in out
        one.wait(lambda: on_disk(one.broker(1), topic) == [], "broker 1's copies being deleted")
        one.stop(1)
        traffic.wait_more(50)
    one.wait(lambda: "1" not in str(replicas(one, topic)) and set(map(len, in_sync(one, topic))) == {2}, "all in sync")
    assert_all_kept(one, topic, traffic)


def test_a_generated_plan_is_executed_under_load_and_verified(cluster, topic, file, tmp_path):
    one = cluster(4)
    create(one, topic, assignment=[[1, 2], [2, 1], [1, 2]])
    (tmp_path / "topics.json").write_text(json.dumps({"version": 1, "topics": [{"topic": topic}]}))
    with Traffic(one, topic) as traffic:
        out = run(one, "reassign", "--generate", "--topics-to-move-json-file", str(tmp_path / "topics.json"),
                  "--broker-list", "3,4")
        plan = out.splitlines()[out.splitlines().index("Proposed partition reassignment configuration") + 1]
        out = run(one, "reassign", "--execute", *file(plan))
        assert f"Successfully started partition reassignments for {topic}-0,{topic}-1,{topic}-2" in out
        one.wait(lambda: run(one, "reassign", "--verify", "--preserve-throttles", *file(plan)).count("is completed") == 3,
                 "all three moved")
        assert "Clearing broker-level throttles on brokers 1,2,3,4" in run(one, "reassign", "--verify", *file(plan))
        traffic.wait_more(50)
    one.wait(lambda: replicas(one, topic) == [[3, 4], [4, 3], [3, 4]], "the plan in everybody's metadata")
    one.wait(lambda: on_disk(one.broker(1), topic) + on_disk(one.broker(2), topic) == [], "old copies being deleted")
    assert_all_kept(one, topic, traffic)


def test_a_move_to_a_broker_that_hangs_is_listed_and_described_and_can_be_cancelled(cluster, topic, file):
    one = cluster(3, config={"zookeeper.session.timeout.ms": "600000"})
    controller = one.wait(one.controller, "a controller")
    hung = next(broker for broker in one.brokers if broker.id != controller)
    first, second = (broker for broker in one.brokers if broker is not hung)
    create(one, topic, assignment=[[first.id, second.id]])
    plan = json.dumps({"partitions": [{"topic": topic, "partition": 0, "replicas": [first.id, hung.id]}]})
    ask = Ask(f"{first.address},{second.address}")
    with Traffic(one, topic) as traffic:
        hung.kill(signal.SIGSTOP)
        try:
            run(ask, "reassign", "--execute", *file(plan))
            assert run(ask, "reassign", "--list") == (
                f"Current partition reassignments:\n{topic}-0: replicas: {first.id},{hung.id},{second.id}."
                f" adding: {hung.id}. removing: {second.id}.\n")
            assert f"Reassignment of partition {topic}-0 is still in progress." in run(
                ask, "reassign", "--verify", *file(plan))
            moving = f"\tAdding Replicas: {hung.id}\tRemoving Replicas: {second.id}\tElr: N/A"
            one.wait(lambda: "\tReplicationFactor: 2\t" in (out := run(ask, "topics", "--describe", "--topic", topic))
                     and moving in out, "the move in the description")
            assert run(ask, "topics", "--describe", "--under-replicated-partitions") == ""  # two of two are in sync
            traffic.wait_more(50)
            assert f"Successfully cancelled partition reassignment for: {topic}-0" in run(
                ask, "reassign", "--cancel", "--preserve-throttles", *file(plan))
            one.wait(lambda: run(ask, "reassign", "--list") == "No partition reassignments found.\n", "the end of it")
        finally:
            hung.kill(signal.SIGCONT)
        traffic.wait_more(50)
    one.wait(lambda: replicas(one, topic) == [[first.id, second.id]], "the replicas as before")
    assert_all_kept(one, topic, traffic)


def throttles(one):
    """Every configuration of a throttle that ZooKeeper holds."""
    with Znodes(one.zookeepers[0].address) as znodes:
        return {(kind, name, key): value for kind in ("topics", "brokers") for name in znodes.children(f"/config/{kind}")
                for key, value in znodes.json(f"/config/{kind}/{name}")["config"].items() if "throttled" in key}


def test_a_throttled_move_can_be_hurried_and_verify_removes_the_throttles(cluster, topic, file):
    one = cluster(3)
    create(one, topic, assignment=[[1, 2]])
    fill(one, topic, FILL_BYTES)
    plan = json.dumps({"version": 1, "partitions": [{"topic": topic, "partition": 0, "replicas": [3, 2]}]})
    with Traffic(one, topic) as traffic:
        out = run(one, "reassign", "--execute", "--throttle", str(FILL_BYTES // 1000), *file(plan))
        assert f"The inter-broker throttle limit was set to {FILL_BYTES // 1000} B/s" in out
        assert len(throttles(one)) == 2 + 2 * 3
        traffic.wait_more(50)
        assert "is still in progress" in run(one, "reassign", "--verify", *file(plan))
        run(one, "reassign", "--execute", "--additional", "--throttle", str(FILL_BYTES * 100), *file(plan))
        one.wait(lambda: "is completed" in run(one, "reassign", "--verify", *file(plan)), "the move")
        assert throttles(one) == {}
    one.wait(lambda: replicas(one, topic) == [[3, 2]], "the move in everybody's metadata")
    found = read_all(one, topic, 1)
    assert sum(value.startswith(b"filling ") for value in found) == FILL_BYTES // FILL_SIZE
    assert {value for value in found if not value.startswith(b"filling ")} >= set(traffic.acked)


def test_a_balance_goes_on_when_the_controller_dies_under_it(cluster, topic):
    one = cluster(3)
    create(one, topic, partitions=6, replicas=2)
    fill(one, topic, FILL_BYTES, 6)
    one.add_broker(one.ports.take())
    one.up()
    with subprocess.Popen([sys.executable, os.path.join(SCRIPTS, "reassign"), "--bootstrap-server", one.bootstrap,
                           "--balance", "--throttle", str(FILL_BYTES // 40)], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True) as balancing:
        try:
            one.wait(lambda: f"{topic}-" in run(one, "reassign", "--list"), "the moves under way")
            killed = one.wait(one.controller, "the controller")
            one.kill(killed)
            one.start(killed)
            out, _ = balancing.communicate(timeout=END_S)
        finally:
            balancing.kill()
    assert balancing.returncode == 0 and "\nDone in " in out, out
    assert throttles(one) == {}, out
    one.wait(lambda: set(holds(one).values()) == {3}, f"a balance: {out}")
    one.wait(lambda: set(map(len, in_sync(one, topic))) == {2}, "all in sync")
    assert len(read_all(one, topic, 6)) == FILL_BYTES // FILL_SIZE


def directory(broker, topic, index=0):
    """The broker's directories that have the partition: data, more."""
    return [name for name in ("data", "more") if os.path.isdir(os.path.join(broker.folder, name, f"{topic}-{index}"))]


def test_a_file_with_directories_moves_replicas_there_on_their_broker_and_to_another(cluster, topic, file):
    one = cluster(3, config={"log.dirs": "{folder}/data,{folder}/more"})
    create(one, topic, assignment=[[1, 2]])
    fill(one, topic, FILL_BYTES)
    first, third = one.broker(1), one.broker(3)
    other = {"data": "more", "more": "data"}[directory(first, topic)[0]]
    dirs = [os.path.join(first.folder, other), os.path.join(third.folder, "more")]
    plan = json.dumps({"version": 1, "partitions": [
        {"topic": topic, "partition": 0, "replicas": [1, 3], "log_dirs": dirs}]})
    with Traffic(one, topic) as traffic:
        out = run(one, "reassign", "--execute", "--timeout", "60000", *file(plan))
        for broker, path in zip((1, 3), dirs):
            assert f"Successfully started moving log directory to {path} for replica {topic}-0 with broker {broker} \n" in out
        done = [f"Reassignment of partition {topic}-0 is completed.",
                *(f"Reassignment of replica {topic}-0-{broker} completed successfully." for broker in (1, 3))]
        one.wait(lambda: all(line in run(one, "reassign", "--verify", *file(plan)) for line in done), "both moves")
        traffic.wait_more(50)
    one.wait(lambda: (directory(first, topic), directory(third, topic)) == ([other], ["more"]), "the old folders gone")
    assert {value for value in read_all(one, topic, 1) if not value.startswith(b"filling ")} >= set(traffic.acked)


def test_a_directory_that_is_none_of_the_brokers_is_told(cluster, topic, file):
    one = cluster(1)
    create(one, topic, assignment=[[1]])
    plan = json.dumps({"partitions": [{"topic": topic, "partition": 0, "replicas": [1], "log_dirs": ["/nowhere"]}]})
    done = subprocess.run([sys.executable, os.path.join(SCRIPTS, "reassign"), "--bootstrap-server", one.bootstrap,
                           "--execute", *file(plan)], capture_output=True, text=True, timeout=END_S, check=False)
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1] == (f"Error: Failed to alter dir for {topic}-0-1: The user-specified log directory"
                                            " is not found in the broker config.")


def test_mistakes_change_nothing_on_a_real_cluster_either(shared_cluster, topic, file):
    create(shared_cluster, topic, assignment=[[1, 2]])
    bad = {"Unknown broker id 9": [0, [1, 9]], f"Unable to find partition: {topic}-5": [5, [1]],
           "Partition replica list cannot be empty": [0, []]}
    for told, (index, wanted) in bad.items():
        text = json.dumps({"partitions": [{"topic": topic, "partition": index, "replicas": wanted}]})
        done = subprocess.run([sys.executable, os.path.join(SCRIPTS, "reassign"), "--bootstrap-server",
                               shared_cluster.bootstrap, "--execute", *file(text)], capture_output=True, text=True,
                              timeout=END_S, check=False)
        assert (done.returncode, done.stdout, done.stderr) == (1, f"Error: {told}\n", "")
    assert replicas(shared_cluster, topic) == [[1, 2]]
