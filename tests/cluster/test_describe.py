"""scripts/topics --describe with its four questions, on a cluster that lost a broker."""
import os
import subprocess
import sys

import wire
from traffic import create, in_sync

TOPICS = os.path.join(wire.ROOT, "scripts", "topics")


def described(one, *words):
    """{(topic, partition)} of the lines printed."""
    done = subprocess.run([sys.executable, TOPICS, "--bootstrap-server", one.broker(1).address, "--describe",
                           "--exclude-internal", *words], capture_output=True, text=True, timeout=300, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    fields = [dict(field.split(": ", 1) for field in line.strip().split("\t") if ": " in field)
              for line in done.stdout.splitlines()]
    return {(one["Topic"], int(one["Partition"])) for one in fields if "Partition" in one}


def test_each_question_names_the_partitions_that_it_is_about(cluster):
    one = cluster(3, config={"min.insync.replicas": "2"})
    create(one, "two", assignment=[[1, 2], [1, 3]])
    create(one, "three", assignment=[[1, 2, 3]])
    create(one, "single", assignment=[[3], [1]])
    questions = ["--under-replicated-partitions", "--unavailable-partitions", "--under-min-isr-partitions",
                 "--at-min-isr-partitions"]
    assert [described(one, question) for question in questions] == [
        set(), set(), {("single", 0), ("single", 1)}, {("two", 0), ("two", 1)}]
    one.kill(3)
    one.wait(lambda: in_sync(one, "three") == [[1, 2]] and in_sync(one, "two") == [[1, 2], [1]], "broker 3 being missed")
    one.wait(lambda: ("single", 0) in described(one, "--unavailable-partitions"), "its partition without a leader")
    assert [described(one, question) for question in questions] == [
        {("two", 1), ("three", 0)}, {("single", 0)}, {("single", 0), ("single", 1), ("two", 1)},
        {("two", 0), ("three", 0)}]
    assert described(one) == {("two", 0), ("two", 1), ("three", 0), ("single", 0), ("single", 1)}
