"""The article's producer and consumer, as they stand in it but for their spacing, and the project's versions of them.

The article's scripts know one address, localhost:9092, so they run in a network of their own.
"""
import ast
import json
import os
import signal
import subprocess
import sys

import cluster as clusters
import patience
import pytest
import records
import wire
from traffic import create

SCRIPTS = os.path.join(wire.ROOT, "scripts")
ARTICLE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "article")
LIMIT_S = 300  # for a script that ends by itself, on a machine that is slow and busy
USER_KEYS = {"name", "email", "address", "registered_on"}
ENV = {**os.environ, "PYTHONPATH": SCRIPTS, "PYTHONUNBUFFERED": "1"}


class Script:
    """A script at work, its output in a file."""

    def __init__(self, tmp_path, command, **env):
        self.path = tmp_path / f"{os.path.basename(command[-1] if command[-1][0] == '/' else command[0])}.out"
        with open(self.path, "wb") as out:
            self.process = subprocess.Popen(command, stdout=out, stderr=out, stdin=subprocess.DEVNULL, env={**ENV, **env})

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    def lines(self):
        return self.path.read_text(errors="replace").splitlines()

    def wait(self, condition, what):
        try:
            clusters.wait_until(lambda: condition(self.lines()), what)
        except clusters.ClusterError as problem:
            pytest.fail(f"{problem}\n" + "\n".join(self.lines()[-20:]))


def script(name, one, *more):
    return [sys.executable, os.path.join(SCRIPTS, name), "--bootstrap-server", one.bootstrap, *more]


def users(lines, word):
    """{(partition, offset): user} of the lines that begin with this word."""
    found = {}
    for line in lines:
        if line.startswith(word + " "):
            words, _, user = line.partition(": ")
            _, _, partition, _, offset = words.split()
            found[int(partition), int(offset)] = json.loads(user)
    return found


def up_in(network, folder, binary):
    subprocess.run(network.command([sys.executable, os.path.join(SCRIPTS, "cluster"), "up", "--folder", folder,
                                    "--brokers", "1", "--binary", binary]), check=True, timeout=LIMIT_S)


def has_user(lines):
    """A line that print(msg.value) wrote: the repr of bytes, and in it a user as JSON."""
    return any(line.startswith("b'{") and set(json.loads(ast.literal_eval(line))) == USER_KEYS for line in lines)


@pytest.mark.parametrize("first", ["consumer", "producer"])
def test_the_articles_own_scripts_work_whichever_is_started_first(needs_cluster, network, tmp_path, first):
    folder = str(tmp_path / "cluster")
    second = {"consumer": "producer", "producer": "consumer"}[first]
    env = {"PYTHONPATH": f"{patience.FOLDER}:{ENV['PYTHONPATH']}"}
    try:
        up_in(network, folder, clusters.default_binary())
        with Script(tmp_path, network.command([sys.executable, os.path.join(ARTICLE, first + ".py")]), **env) as one:
            if first == "producer":
                one.wait(lambda lines: "here" in lines, "the producer at work")
            with Script(tmp_path, network.command([sys.executable, os.path.join(ARTICLE, second + ".py")]), **env) as other:
                consumer = one if first == "consumer" else other
                consumer.wait(has_user, "a message that the article's consumer prints")
    finally:
        clusters.kill_all(folder)


def test_the_scripts_produce_and_consume_and_a_group_goes_on_where_it_was(shared_cluster, topic, tmp_path):
    def produce(count):
        done = subprocess.run(script("producer.py", shared_cluster, "--topic", topic, "--count", str(count),
                                     "--interval", "0"), capture_output=True, text=True, timeout=LIMIT_S, check=True)
        return users(done.stdout.splitlines(), "produced")

    def consume(count, *more):
        done = subprocess.run(script("consumer.py", shared_cluster, "--topic", topic, "--group", topic, "--count",
                                     str(count), *more), capture_output=True, text=True, timeout=LIMIT_S, check=True)
        return users(done.stdout.splitlines(), "consumed")

    first = produce(7)
    assert len(first) == 7
    assert all(set(user) == USER_KEYS for user in first.values())
    assert consume(7, "--from-beginning") == first
    second = produce(3)
    assert consume(3) == second


def test_the_consumer_prints_messages_without_a_value(shared_cluster, topic):
    create(shared_cluster, topic)
    with wire.Connection("127.0.0.1", shared_cluster.brokers[0].port) as any_broker:
        leader = any_broker.call("Metadata", {"topics": [{"name": topic}]})["topics"][0]["partitions"][0]["leader_id"]
    batch = records.make_batch([(b"gone", None), (b"there", b"yes")])
    answer = shared_cluster.broker(leader).call("Produce", {"acks": -1, "timeout_ms": 10000, "topic_data": [
        {"name": topic, "partition_data": [{"index": 0, "records": batch}]}]}, 7)
    assert answer["responses"][0]["partition_responses"][0]["error_code"] == 0
    done = subprocess.run(script("consumer.py", shared_cluster, "--topic", topic, "--group", topic, "--count", "2",
                                 "--from-beginning"), capture_output=True, text=True, timeout=LIMIT_S, check=False)
    assert (done.stdout.splitlines(), done.returncode) == (
        ["consumed partition 0 offset 0: null", "consumed partition 0 offset 1: yes"], 0), done.stderr


def test_the_idempotent_producer_keeps_to_its_partition(shared_cluster, topic):
    create(shared_cluster, topic, partitions=3)
    done = subprocess.run(script("producer.py", shared_cluster, "--topic", topic, "--count", "5", "--interval", "0",
                                 "--idempotent", "--partition", "1"), capture_output=True, text=True, timeout=LIMIT_S,
                          check=True)
    assert list(users(done.stdout.splitlines(), "produced")) == [(1, offset) for offset in range(5)]
    assert done.stderr == ""


@pytest.mark.parametrize("name, words, told", [
    ("producer.py", ["--topic", "a b"], "'a b' is no name for a topic"),
    ("consumer.py", ["--topic", ".."], "'..' is no name for a topic"),
    ("producer.py", ["--partition", "-1"], "'-1' is no partition: they are counted from 0"),
    ("producer.py", ["--partition", "7"], "error: not delivered to registred_user: Unrecognized partition"),
    ("producer.py", ["--partition", "7", "--idempotent"],
     "error: not delivered to registred_user, as far as can be told: Local: Unknown partition"),
    ("producer.py", ["--interval", "-1"], "'-1' is no time to wait"),
    ("producer.py", ["--interval", "nan"], "'nan' is no time to wait"),
    ("producer.py", ["--count", "-1"], "'-1' is no number of messages"),
    ("consumer.py", ["--count", "-1"], "'-1' is no number of messages"),
    ("consumer.py", ["--bootstrap-server", "localhost:70000"], "localhost:70000: not HOST:PORT"),
])
def test_what_cannot_be_produced_or_consumed_is_told_in_a_line(shared_cluster, name, words, told):
    done = subprocess.run(script(name, shared_cluster, *words), capture_output=True, text=True, timeout=LIMIT_S, check=False)
    assert done.returncode != 0 and told in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_an_idempotent_producer_without_librdkafka_says_what_to_install(tmp_path):
    (tmp_path / "confluent_kafka.py").write_text("raise ImportError('none here')\n")
    done = subprocess.run([sys.executable, os.path.join(SCRIPTS, "producer.py"), "--idempotent"], capture_output=True,
                          text=True, timeout=LIMIT_S, check=False, env={**ENV, "PYTHONPATH": str(tmp_path)})
    assert done.returncode == 1
    assert "none here" in done.stderr and "apt-get install python3-confluent-kafka" in done.stderr


def test_a_consumer_that_is_told_to_stop_says_how_far_it_was(shared_cluster, topic, tmp_path):
    """A second run of the quick start read everything again: the signal came in the middle of kafka-python's work."""
    def consume(first, last):
        with Script(tmp_path, script("consumer.py", shared_cluster, "--topic", topic, "--group", topic,
                                     "--from-beginning")) as consumer:
            consumer.wait(lambda lines: (0, last) in users(lines, "consumed"), "the last message")
            consumer.process.terminate()
            assert consumer.process.wait(LIMIT_S) == 128 + 15
            assert sorted(users(consumer.lines(), "consumed")) == [(0, offset) for offset in range(first, last + 1)]

    create(shared_cluster, topic)
    for begin in (0, 5, 10):
        subprocess.run(script("producer.py", shared_cluster, "--topic", topic, "--count", "5", "--interval", "0"),
                       check=True, timeout=LIMIT_S, stdout=subprocess.DEVNULL)
        consume(begin, begin + 4)


@pytest.mark.parametrize("name", ["producer.py", "consumer.py"])
def test_a_script_whose_output_nobody_reads_any_more_ends_without_a_trace(shared_cluster, topic, name):
    """`scripts/consumer.py --from-beginning | head -1` was one, and left its group to wait for a member that had gone."""
    def produce(*more):
        return script("producer.py", shared_cluster, "--topic", topic, "--interval", "0", *more)

    create(shared_cluster, topic)
    subprocess.run(produce("--count", "1"), check=True, timeout=LIMIT_S, stdout=subprocess.DEVNULL)
    words = produce() if name == "producer.py" else script("consumer.py", shared_cluster, "--topic", topic, "--group", topic,
                                                           "--from-beginning")
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENV) as one:
        try:
            assert one.stdout.readline().split()[1:2] == ["partition"]
            one.stdout.close()
            subprocess.run(produce("--count", "1"), check=True, timeout=LIMIT_S, stdout=subprocess.DEVNULL)
            assert (one.wait(LIMIT_S), one.stderr.read()) == (128 + signal.SIGPIPE, "")
        finally:
            one.kill()
    told = [broker.call("DescribeGroups", {"groups": [topic]})["groups"] for broker in shared_cluster.brokers]
    assert [group["members"] for group, in told] == [[]] * 3  # whoever coordinates it, too


@pytest.mark.parametrize("name", ["producer.py", "consumer.py"])
def test_a_script_waits_for_a_broker_that_is_not_up_yet(cluster, topic, tmp_path, name):
    one = cluster(brokers=1)
    one.stop(1)
    more = ["--interval", "0"] if name == "producer.py" else ["--from-beginning"]
    with Script(tmp_path, script(name, one, "--topic", topic, *more)) as early:
        early.wait(lambda lines: lines and "waiting for a broker" in lines[0], "the script waiting")
        assert early.process.poll() is None
        one.start(1)
        if name == "consumer.py":
            subprocess.run(script("producer.py", one, "--topic", topic, "--count", "1"), check=True, timeout=LIMIT_S)
        word = "produced" if name == "producer.py" else "consumed"
        early.wait(lambda lines: users(lines, word), f"the first message {word}")


def test_the_producer_goes_on_when_its_broker_comes_back(cluster, topic, tmp_path):
    one = cluster(brokers=1)
    with Script(tmp_path, script("producer.py", one, "--topic", topic, "--interval", "0")) as producer:
        producer.wait(lambda lines: users(lines, "produced"), "a message")
        one.kill(1)
        one.start(1)
        before = len(users(producer.lines(), "produced"))
        producer.wait(lambda lines: len(users(lines, "produced")) > before + 5, "messages after the restart")


def test_where_no_python_has_kafka_the_script_says_what_to_install(tmp_path):
    env = {**ENV, "BARNABAS_PYTHON_TRIED": "another", "PYTHONPATH": str(tmp_path)}
    (tmp_path / "kafka.py").write_text("raise ImportError(\"No module named 'kafka'\")\n")
    done = subprocess.run([sys.executable, os.path.join(SCRIPTS, "producer.py")], capture_output=True, text=True,
                          env=env, timeout=LIMIT_S, check=False)
    assert done.returncode == 1
    assert "apt-get install python3-kafka" in done.stderr
    assert sys.executable in done.stderr


def test_another_python_without_kafka_hands_over_to_debians(tmp_path):
    """What happens on machines where `python3` is not Debian's."""
    other = tmp_path / "python3"
    other.symlink_to(sys.executable)
    (tmp_path / "kafka.py").write_text("import sys\nif sys.executable.startswith(%r):\n"
                                       "    raise ImportError('not in this one')\n"
                                       "sys.exit('handed over')\n" % str(tmp_path))
    done = subprocess.run([str(other), os.path.join(SCRIPTS, "consumer.py")], capture_output=True, text=True,
                          env={**ENV, "PYTHONPATH": str(tmp_path)}, timeout=LIMIT_S, check=False)
    assert done.stderr == "handed over\n"
