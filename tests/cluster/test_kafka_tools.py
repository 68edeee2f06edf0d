"""Kafka's own kafka-topics and kafka-reassign-partitions on our brokers, and that ours print the same, byte for byte.

They are where scripts/bench has brought Kafka: skipped by name elsewhere. Each is a JVM, so there are few.
"""
import json
import os
import subprocess
import sys

import pytest
import wire
from traffic import create, partitions_of

sys.path.insert(0, os.path.join(wire.ROOT, "tests", "bench"))
import kafka_peer  # noqa: E402  pylint: disable=wrong-import-position

TOOLS = {"topics": "TopicCommand", "reassign": "reassign.ReassignPartitionsCommand"}
LOG4J = "log4j.rootLogger=OFF\n"


@pytest.fixture(scope="module")
def kafka(tmp_path_factory):
    """kafka(tool, cluster, words...): (status, standard output) of Kafka's."""
    if not os.path.isdir(kafka_peer.JARS):
        pytest.skip(f"no {kafka_peer.JARS} (scripts/bench --run produce --quick --peers kafka brings it)")
    log4j = tmp_path_factory.mktemp("kafka") / "log4j.properties"
    log4j.write_text(LOG4J)

    def run(tool, one, *words):
        done = subprocess.run(["java", f"-Dlog4j.configuration=file:{log4j}", "-XX:TieredStopAtLevel=1", "-cp",
                               kafka_peer.class_path(), "org.apache.kafka.tools." + TOOLS[tool], "--bootstrap-server",
                               one.bootstrap, *words], capture_output=True, text=True, timeout=120, check=False)
        return done.returncode, done.stdout

    return run


def ours(tool, one, *words):
    done = subprocess.run([sys.executable, os.path.join(wire.ROOT, "scripts", tool), "--bootstrap-server", one.bootstrap,
                           *words], capture_output=True, text=True, timeout=120, check=False)
    return done.returncode, done.stdout


def test_descriptions_are_the_same(kafka, shared_cluster, topic):
    create(shared_cluster, topic, assignment=[[1, 2], [2, 3], [3, 1]])
    for words in (["--topic", topic], ["--under-min-isr-partitions"], ["--at-min-isr-partitions", "--topic", topic]):
        assert kafka("topics", shared_cluster, "--describe", *words) == ours("topics", shared_cluster, "--describe", *words)


def test_reassignments_by_kafkas_tool_are_made_and_told_alike(kafka, shared_cluster, topic, tmp_path):
    create(shared_cluster, topic, assignment=[[1, 2], [2, 3]])
    path = tmp_path / "moves.json"
    path.write_text(json.dumps({"version": 1, "partitions": [
        {"topic": topic, "partition": 0, "replicas": [3, 1]}, {"topic": topic, "partition": 1, "replicas": [2, 3]}]}))
    file = ["--reassignment-json-file", str(path)]
    status, out = kafka("reassign", shared_cluster, "--execute", "--throttle", "10000000", *file)
    assert status == 0 and f"Successfully started partition reassignments for {topic}-0,{topic}-1" in out
    shared_cluster.wait(lambda: [p["replica_nodes"] for p in partitions_of(shared_cluster, topic)] == [[3, 1], [2, 3]],
                        "the move")
    shared_cluster.wait(lambda: ours("reassign", shared_cluster, "--list") == (0, "No partition reassignments found.\n"),
                        "the end of it")
    for words in (["--verify", *file], ["--list"], ["--execute", "--throttle", "5000", *file], ["--verify", *file]):
        assert kafka("reassign", shared_cluster, *words) == ours("reassign", shared_cluster, *words)


def test_mistakes_are_told_in_the_same_words(kafka, shared_cluster, topic, tmp_path):
    create(shared_cluster, topic, assignment=[[1, 2]])
    path = tmp_path / "moves.json"
    path.write_text(json.dumps({"partitions": [{"topic": topic, "partition": 0, "replicas": [1, 9]}]}))
    theirs = kafka("reassign", shared_cluster, "--execute", "--reassignment-json-file", str(path))
    status, out = ours("reassign", shared_cluster, "--execute", "--reassignment-json-file", str(path))
    assert (theirs[0], theirs[1].splitlines()[0]) == (status, out.strip()) == (1, "Error: Unknown broker id 9")
