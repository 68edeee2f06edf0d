"""How a broker starts and stops: its command line, what it says, what it refuses and how it says so, and what it does
about ZooKeeper sessions that end."""
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import tempfile

import cluster as clusters
import pytest
import records
import wire
from admin import Admin
from traffic import create
from znodes import Znodes

LINES_MAX = 12
NOBODY = 65534


def run(*words, env=None, seconds=300):
    """(status, stdout, stderr) of a barnabasd that ends by itself."""
    ran = subprocess.run([clusters.default_binary(), *words], capture_output=True, text=True, timeout=seconds,
                         env={"PATH": os.environ["PATH"], **(env or {})})
    return ran.returncode, ran.stdout, ran.stderr


def properties(tmp_path, **keys):
    """A file; underscores in names stand for dots."""
    path = tmp_path / "server.properties"
    defaults = {"zookeeper.connect": "127.0.0.1:1", "log.dirs": str(tmp_path / "data"),
                "listeners": "PLAINTEXT://127.0.0.1:0"}
    keys = {**defaults, **{name.replace("_", "."): value for name, value in keys.items()}}
    path.write_text("".join(f"{name}={value}\n" for name, value in keys.items() if value is not None))
    return str(path)


def start_lines(broker):
    """What it logged up to the line that says it is ready."""
    lines = []
    for line in broker.log_text().splitlines():
        lines.append(line)
        if "INFO started:" in line:
            return lines
    raise AssertionError(broker.log_text())


class Alone:
    """A broker that no cluster started: its lines up to the one that says it is ready; stopped at the end."""

    def __init__(self, *words, env=None):
        self.process = subprocess.Popen([clusters.default_binary(), *words], stdout=subprocess.PIPE, text=True,
                                        stderr=subprocess.STDOUT, env={"PATH": os.environ["PATH"], **(env or {})})
        self.lines = []
        for line in self.process.stdout:
            self.lines.append(line)
            if "INFO started:" in line:
                break

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        self.process.communicate(timeout=300)
        assert self.process.returncode == 0


def refused(one, number):
    """The log of a broker that is started, and ends by itself with status 1."""
    broker = one.start(number, wait=False)
    broker.wait_gone()
    assert broker.status == 1
    broker.child = None  # its status is as it should be
    return broker.log_text()


@pytest.fixture
def needs_binary(needs_cluster):
    """Skips where there is no broker."""


# ------------------------------------------------------------------ the command line


def test_version_and_help(needs_binary):
    status, out, _ = run("--version")
    assert (status, out.split()[0]) == (0, "barnabasd")
    status, out, _ = run("--help")
    assert status == 0
    assert "--override key=value" in out and "start [--config FILE]" in out


@pytest.mark.parametrize("words", [[], ["--nonsense"], ["a", "b"], ["a", "--override"], ["--config"]])
def test_a_wrong_command_line_is_told_with_the_usage(needs_binary, words):
    status, out, err = run(*words)
    assert (status, out) == (2, "")
    assert "usage: barnabasd FILE" in err


def test_check_config_prints_every_key_with_its_source_and_starts_nothing(needs_binary, tmp_path):
    path = properties(tmp_path, num_partitions=3)
    status, out, _ = run("--check-config", path, "--override", "broker.id=7")
    shown = dict(line.split("=", 1) for line in out.splitlines())
    assert (status, len(shown)) == (0, 331)
    assert shown["num.partitions"] == "3\t(file)"
    assert shown["broker.id"] == "7\t(file)"
    assert shown["default.replication.factor"] == "1\t(default)"
    assert run("--check-config", path, "--override=num.partitions=0")[0] == 1


def test_check_config_says_what_has_no_effect(needs_binary, tmp_path):
    """Who came with Kafka's file heard of it when the broker had started, and not before."""
    status, out, err = run("--check-config", properties(tmp_path, log_cleaner_threads=3, num_partition=2))
    assert status == 0 and all("\t(" in line for line in out.splitlines())
    assert "log.cleaner.threads" in err and "num.partition (did you mean num.partitions?)" in err


# ------------------------------------------------------------------ configurations that do not start


REFUSED = {
    "a bad value": ({"num_partitions": "many"}, ["E-CONFIG-01", "num.partitions=many", "at least 1", "line 4"]),
    "no zookeeper": ({"zookeeper_connect": None}, ["E-CONFIG-05", "zookeeper.connect", "localhost:2181"]),
    "kraft": ({"process_roles": "broker,controller"}, ["KRaft", "process.roles"]),
    "tls": ({"listeners": "SSL://:9093"}, ["E-LISTENER-08", "SSL"]),
    "advertised nowhere": ({"advertised_listeners": "PLAINTEXT://0.0.0.0:9092"}, ["E-LISTENER-09", "0.0.0.0"]),
    "two ways to name a listener": ({"listeners": "A://127.0.0.1:0", "listener_security_protocol_map": "A:PLAINTEXT",
                                     "inter_broker_listener_name": "A", "security_inter_broker_protocol": "PLAINTEXT"},
                                    ["E-LISTENER-11", "security.inter.broker.protocol"]),
    "an authorizer": ({"authorizer_class_name": "kafka.security.authorizer.AclAuthorizer"}, ["authorizer.class.name"]),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_bad_configuration_does_not_start_and_says_key_value_rule_and_example(needs_binary, tmp_path, case):
    keys, words = REFUSED[case]
    status, out, err = run(properties(tmp_path, **keys))
    assert (status, out) == (1, "")
    assert err.startswith("error[E-")
    assert [word for word in words if word not in err] == []
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("words, told", [
    (["{folder}/none.properties"], ["E-CONFIG-02", "none.properties: No such file or directory"]),
    (["{file}", "--override", "num.partitions"], ["E-CONFIG-03", "--override num.partitions has no value"]),
    (["start"], ["E-CONFIG-04", "KAFKA_ZOOKEEPER_CONNECT=zookeeper:2181"]),
    (["{file}", "--override", "log.dirs={file}/data"], ["E-DATA-05", "cannot use the log directory", "/data"]),
])
def test_what_cannot_be_started_with_is_told(needs_binary, tmp_path, words, told):
    names = {"folder": str(tmp_path), "file": properties(tmp_path)}
    status, _, err = run(*(word.format(**names) for word in words))
    assert status == 1 and [word for word in told if word not in err] == [], err


@pytest.fixture
def foreign_folder():
    """A folder that nobody reaches but its owner, and the user that the broker is to be: an id, or None for this one."""
    folder = tempfile.mkdtemp(prefix="barnabas-test-")
    os.chmod(folder, 0o755)
    os.mkdir(os.path.join(folder, "data"), 0o755 if os.geteuid() == 0 else 0o555)
    yield folder, NOBODY if os.geteuid() == 0 else None
    shutil.rmtree(folder)


def test_a_log_directory_of_somebody_else_is_told_with_its_owner_and_what_to_do(needs_binary, foreign_folder):
    folder, user = foreign_folder
    path = properties(pathlib.Path(folder))
    as_who = {} if user is None else {"user": user, "group": user, "extra_groups": []}
    try:
        ran = subprocess.run([clusters.default_binary(), path], capture_output=True, text=True, timeout=300, cwd="/",
                             env={"PATH": os.environ["PATH"]}, **as_who)
    except PermissionError:
        pytest.skip(f"user {user} may not run {clusters.default_binary()}")
    who = os.geteuid() if user is None else user
    assert ran.returncode == 1 and f"error[E-DATA-03]: cannot write to the log directory {folder}/data" in ran.stderr
    assert f"owner {os.geteuid()}:" in ran.stderr and f"runs as {who}:" in ran.stderr and f"chown -R {who}:" in ran.stderr


def test_without_zookeeper_the_start_ends_in_time_with_the_address(needs_binary, tmp_path):
    with clusters.socket.socket() as silent:  # nobody listens
        silent.bind((clusters.HOST, 0))
        address = f"{clusters.HOST}:{silent.getsockname()[1]}"
        status, _, err = run(properties(tmp_path, zookeeper_connect=address, zookeeper_connection_timeout_ms=500))
    assert status == 1
    assert f"error[E-ZK-01]: no ZooKeeper answered at {address} within 500 ms" in err


def test_sigterm_ends_a_start_that_waits_for_zookeeper(needs_binary, tmp_path):
    with socket.socket() as silent:
        silent.bind((clusters.HOST, 0))
        path = properties(tmp_path, zookeeper_connect=f"{clusters.HOST}:{silent.getsockname()[1]}")
        process = subprocess.Popen([clusters.default_binary(), path], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                   text=True)
        for line in process.stdout:
            if "starting" in line:
                break
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=300)
    assert process.returncode == 0


def test_a_directory_that_another_broker_uses_is_refused(cluster):
    one = cluster(brokers=1)
    folder = one.broker(1).folder
    status, _, err = run(os.path.join(folder, "server.properties"), "--override", "listeners=PLAINTEXT://127.0.0.1:0")
    assert status == 1
    assert f"{folder}/data" in err
    one.metadata()  # the first one is as before


@pytest.mark.parametrize("strange, told", [
    (lambda data: os.mkdir(os.path.join(data, "holiday")), ["E-DATA-08", "/data/holiday is not a partition's directory"]),
    (lambda data: shutil.copytree(os.path.join(data, "t-0"), os.path.join(data + "2", "t-0")),
     ["E-DATA-07", "partition t-0 is in two log directories"]),
])
def test_a_directory_in_which_something_is_that_does_not_belong_there_is_told(cluster, strange, told):
    one = cluster(brokers=1, config={"log.dirs": "{folder}/data,{folder}/data2"})
    create(one, "t")
    answer = one.broker(1).call("Produce", {"acks": 1, "timeout_ms": 10000, "topic_data": [
        {"name": "t", "partition_data": [{"index": 0, "records": records.make_batch([(None, b"v")])}]}]})
    assert answer["responses"][0]["partition_responses"][0]["error_code"] == 0
    one.stop(1)
    data = os.path.join(one.broker(1).folder, "data")
    if os.path.isdir(data + "2/t-0"):  # it was made there
        os.rename(data + "2/t-0", data + "/t-0")
    strange(data)
    log = refused(one, 1)
    assert [word for word in told if word not in log] == [], log


def test_a_file_that_says_whose_the_directory_is_and_cannot_be_read_is_told(cluster):
    one = cluster(brokers=1)
    one.stop(1)
    path = os.path.join(one.broker(1).folder, "data", "meta.properties")
    with open(path, "w", encoding="ascii") as file:
        file.write("broker.id=one\n")
    log = refused(one, 1)
    assert f"error[E-DATA-10]: {path} cannot be understood" in log


def test_a_broker_whose_only_directory_cannot_be_loaded_ends(cluster):
    """It said that it is ready, with a directory that serves nothing; only a failure that came later ended it."""
    one = cluster(brokers=1)
    create(one, "t")
    one.stop(1)
    data = os.path.join(one.broker(1).folder, "data")
    os.unlink(os.path.join(data, ".kafka_cleanshutdown"))
    epochs = os.path.join(data, "t-0", "leader-epoch-checkpoint")  # a read of it fails as on a bad disk
    if os.path.exists(epochs):
        os.unlink(epochs)
    os.mkdir(epochs)
    log = refused(one, 1)
    assert "cannot load logs: dir=" in log and "error[E-DATA-09]: every log directory has failed" in log


def test_an_address_that_is_not_this_machines_is_told(cluster):
    one = cluster(brokers=1)
    one.stop(1)
    one.broker(1).config["listeners"] = "PLAINTEXT://192.0.2.1:9092"  # one of those for documentation
    assert "error[E-LISTENER-02]: cannot listen on 192.0.2.1:9092: Cannot assign requested address" in refused(one, 1)


def test_a_port_that_is_taken_is_told(cluster):
    one = cluster(brokers=2)
    one.stop(2)
    one.broker(2).config["listeners"] = f"PLAINTEXT://{one.broker(1).address}"
    text = refused(one, 2)
    assert f"error[E-LISTENER-01]: port {one.broker(1).port} on 127.0.0.1 is taken by another process" in text


def test_a_start_that_finds_its_port_taken_stops_clean(cluster):
    """The logs had been loaded, and the mark of the last stop was used up: the next start was one after a crash."""
    one = cluster(brokers=2)
    one.stop(2)
    one.broker(2).config["listeners"] = f"PLAINTEXT://{one.broker(1).address}"
    assert "stopped: broker=2 clean=yes" in refused(one, 2)
    assert os.path.exists(os.path.join(one.broker(2).folder, "data", ".kafka_cleanshutdown"))


# ------------------------------------------------------------------ what a start says


def test_a_start_says_what_matters_in_twelve_lines_at_most(cluster):
    one = cluster(brokers=2, config={"background.threads": "5", "log.retention.hour": "3", "group.share.enable": "true"})
    for broker in one.brokers:
        one.wait(lambda broker=broker: "INFO started:" in broker.log_text(), "the last line of the start")
        lines = start_lines(broker)
        text = "\n".join(lines)
        assert len(lines) <= LINES_MAX, text
        cluster_id = one.metadata()["cluster_id"]
        for words in ("Barnabas", f"PLAINTEXT bound to {broker.address}, clients are told {broker.address}",
                      f"{broker.folder}/data", "connected to ZooKeeper", "background.threads",
                      "log.retention.hour (did you mean log.retention.hours?)", "group.share.enable",
                      f"of cluster {cluster_id} is ready in "):
            assert words in text


def test_a_listener_that_is_not_advertised_is_not_said_to_be(cluster):
    one = cluster(brokers=1, config={
        "listeners": "PLAINTEXT://127.0.0.1:{port},INSIDE://127.0.0.1:0", "advertised.listeners": "PLAINTEXT://127.0.0.1:{port}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,INSIDE:PLAINTEXT"})
    one.wait(lambda: "INFO started:" in one.broker(1).log_text(), "the last line of the start")
    line, = [line for line in start_lines(one.broker(1)) if " bound to " in line]
    assert re.search(r"INSIDE bound to 127\.0\.0\.1:\d+, clients are not told of it", line), line


def test_the_environment_alone_starts_a_broker_by_the_images_rules(cluster, tmp_path):
    one = cluster(brokers=1)
    port = one.ports.take()
    env = {"KAFKA_ZOOKEEPER_CONNECT": one.zookeeper_connect, "KAFKA_BROKER_ID": "9", "KAFKA_PORT": "tcp://10.0.0.1:9092",
           "KAFKA_ADVERTISED_LISTENERS": f"PLAINTEXT://localhost:{port}", "KAFKA_LOG_DIRS": str(tmp_path / "data"),
           "KAFKA_LISTENERS": f"PLAINTEXT://127.0.0.1:{port}", "KAFKA_HEAP_OPTS": "-Xmx1G"}
    with Alone("start", env=env) as alone:
        assert "broker 9 " in alone.lines[-1]
        assert any("KAFKA_PORT" in line and "WARN" in line for line in alone.lines)
        with wire.Connection("127.0.0.1", port) as kafka:
            brokers = kafka.call("Metadata", {"topics": []})["brokers"]
        assert ("localhost", port) in [(b["host"], b["port"]) for b in brokers if b["node_id"] == 9]


# ------------------------------------------------------------------ who may join


def test_another_clusters_directory_is_refused_with_both_ids(cluster):
    one = cluster(brokers=2)
    ours = one.metadata()["cluster_id"]
    one.stop(2)
    path = os.path.join(one.broker(2).folder, "data", "meta.properties")
    with open(path, encoding="ascii") as file:
        text = file.read()
    with open(path, "w", encoding="ascii") as file:
        file.write(text.replace(ours, "Xzl3J7H5R9KFPqhJwJjpww"))
    log = refused(one, 2)
    assert "error[E-DATA-01]" in log
    assert "Xzl3J7H5R9KFPqhJwJjpww" in log and ours in log


def test_another_brokers_directory_is_refused_with_both_ids(cluster):
    one = cluster(brokers=2)
    one.stop(2)
    one.broker(2).config["broker.id"] = "5"
    log = refused(one, 2)
    assert "error[E-DATA-02]" in log
    assert "broker 2's, but broker.id=5" in log


def test_an_id_that_a_live_broker_has_is_waited_for_with_one_line_and_then_refused(cluster):
    one = cluster(brokers=2)
    one.stop(2)
    two = one.broker(2)
    two.config.update({"broker.id": "1", "log.dirs": two.folder + "/other"})
    log = refused(one, 2)
    assert log.count("waiting: broker id 1 is still registered by an earlier session") == 1
    assert f"error[E-BROKER-01]: broker id 1 belongs to another live broker ({one.broker(1).address})" in log
    one.wait(lambda: one.broker_ids(one.broker(1)) == {1}, "the other one alone")


def test_a_broker_that_was_killed_waits_for_its_former_session_and_goes_on(cluster):
    one = cluster(brokers=1, config={"zookeeper.session.timeout.ms": "20000"})  # longer than it takes to start
    before = one.metadata([])["cluster_id"]
    one.kill(1)
    one.start(1)
    assert one.broker(1).log_text().count("waiting: broker id 1 is still registered") == 1
    assert one.metadata([])["cluster_id"] == before


def test_an_address_that_another_broker_advertises_is_refused_with_both(cluster):
    one = cluster(brokers=2)
    one.stop(2)
    one.broker(2).config["advertised.listeners"] = f"PLAINTEXT://{one.broker(1).address}"
    log = refused(one, 2)
    assert f"error[E-LISTENER-03]: broker 2 advertises {one.broker(1).address}, which broker 1 already advertises" in log


def test_a_broker_without_an_id_takes_one_above_the_reserved_and_keeps_it(cluster, tmp_path):
    one = cluster(brokers=1)
    path = properties(tmp_path, zookeeper_connect=one.zookeeper_connect)
    for _ in range(2):
        with Alone(path) as alone:
            assert "broker 1001 " in alone.lines[-1]


# ------------------------------------------------------------------ stopping, and sessions that end


def test_sigterm_is_a_clean_stop_and_says_so(cluster):
    one = cluster(brokers=1, config={"zookeeper.session.timeout.ms": "1200000"})
    one.broker(1).call("CreateTopics", {"topics": [{"name": "t", "num_partitions": 1, "replication_factor": 1}],
                                        "timeout_ms": 10000})
    with Znodes(one.zookeepers[0].address) as znodes:
        assert znodes.exists("/brokers/ids/1") and znodes.exists("/controller")
        one.stop(1)
        assert one.broker(1).status == 0
        # Gone with the stop, not with the session's timeout, which is far away.
        one.wait(lambda: not znodes.exists("/brokers/ids/1") and not znodes.exists("/controller"), "its nodes gone")
    assert "stopped: broker=1 clean=yes" in one.broker(1).log_text()
    assert os.path.exists(os.path.join(one.broker(1).folder, "data", ".kafka_cleanshutdown"))
    one.start(1)
    assert not os.path.exists(os.path.join(one.broker(1).folder, "data", ".kafka_cleanshutdown"))


def expire(one, broker):
    """End the broker's ZooKeeper session as ZooKeeper does when it has not heard of it for too long."""
    broker.kill(signal.SIGSTOP)
    with Znodes(one.zookeepers[0].address) as znodes:
        one.wait(lambda: not znodes.exists(f"/brokers/ids/{broker.id}"), "the session's end")
    broker.kill(signal.SIGCONT)


def test_an_expired_session_is_survived_registered_again_and_reelected(cluster):
    one = cluster(brokers=2)
    first = one.broker(one.wait(one.controller, "a controller"))
    with Znodes(one.zookeepers[0].address) as znodes:
        epoch = int(znodes.get("/controller_epoch")[0])
        expire(one, first)
        one.wait(lambda: znodes.exists(f"/brokers/ids/{first.id}"), "the broker registered again")
        one.wait_all_known()
        assert int(znodes.get("/controller_epoch")[0]) == epoch + 1
        # The other one is the controller now; when it goes, the first is elected again.
        assert znodes.json("/controller")["brokerid"] != first.id
        one.stop(3 - first.id)
        one.wait(lambda: znodes.exists("/controller") and znodes.json("/controller")["brokerid"] == first.id,
                 "its election")
    with Admin(first.address) as admin:  # it says that it is not the controller until it has read what there is
        result, = admin.call_controller("CreateTopics", lambda version, timeout_ms: {
            "topics": [{"name": "t", "num_partitions": 1, "replication_factor": 1}], "timeout_ms": timeout_ms})["topics"]
    assert result["error_code"] == 0
    assert "registered again" in first.log_text()


def test_a_registration_that_somebody_removed_is_made_again(cluster):
    one = cluster(brokers=2)
    one.wait(one.controller, "a controller")
    with Znodes(one.zookeepers[0].address) as znodes:
        for broker in one.brokers:  # one of them is the controller
            path = f"/brokers/ids/{broker.id}"
            znodes.delete(path)
            one.wait(lambda path=path: znodes.exists(path), "the broker registered again")
            one.wait(lambda broker=broker: "registered again" in broker.log_text(), "it says so")
            one.wait_all_known()


def test_a_broker_whose_id_was_taken_while_it_had_no_session_ends_and_says_why(cluster):
    one = cluster(brokers=1, config={"zookeeper.session.timeout.ms": "4000"})
    broker = one.broker(1)
    with Znodes(one.zookeepers[0].address) as znodes:
        node = znodes.get("/brokers/ids/1")[0]
        broker.kill(signal.SIGSTOP)
        one.wait(lambda: not znodes.exists("/brokers/ids/1"), "the session's end")
        znodes.create("/brokers/ids/1", node, ephemeral=True)
        broker.kill(signal.SIGCONT)
        broker.wait_gone()
    assert "error[E-BROKER-01]" in broker.log_text()
    assert broker.status == 1
    broker.child = None
