"""scripts/topics against a cluster in memory: options, output, exit status, and what it does when things fail.

Expected text is what Kafka 3.9's kafka-topics prints; the differences are those that the script's head names.
"""
import os
import socket
import subprocess
import sys

import admin
import pytest
import wire
from fake_kafka import CLOSE, FakeKafka, topic_id_of

TOPICS = os.path.join(wire.ROOT, "scripts", "topics")
ERROR = "Error while executing topic command : "
WARNING = ("WARNING: Due to limitations in metric names, topics with a period ('.') or underscore ('_') could collide."
           " To avoid issues it is best to use either, but not both.\n")
DEFAULT, TOPIC, STATIC_BROKER = 5, 1, 4


def run(*words):
    """(status, standard output, standard error)"""
    done = subprocess.run([sys.executable, TOPICS, *words], capture_output=True, text=True, timeout=120, check=False)
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def kafka():
    with FakeKafka(brokers=2) as cluster:
        yield cluster


def topics(kafka, *words):
    """Standard output; the command succeeds and is silent otherwise."""
    status, out, err = run("--bootstrap-server", kafka.bootstrap, *words)
    assert (status, err) == (0, ""), out
    return out


def failing(kafka, *words):
    """Standard output of a command that fails."""
    status, out, err = run("--bootstrap-server", kafka.bootstrap, *words)
    assert (status, err) == (1, "")
    return out


def client_config(tmp_path, text):
    path = tmp_path / "client.properties"
    path.write_text(text)
    return ["--command-config", str(path)]


# ------------------------------------------------------------------ --create


def test_create_says_so_and_sends_what_was_asked_for(kafka):
    assert topics(kafka, "--create", "--topic", "orders", "--partitions", "3", "--replication-factor", "2",
                  "--config", "retention.ms=1000", "--config", "cleanup.policy = compact") == "Created topic orders.\n"
    body = kafka.bodies("CreateTopics")[0]
    assert body["topics"] == [{
        "name": "orders", "num_partitions": 3, "replication_factor": 2, "assignments": [],
        "configs": [{"name": "retention.ms", "value": "1000"}, {"name": "cleanup.policy", "value": "compact"}]}]
    assert body["timeout_ms"] == 30000 and not body["validate_only"]


def test_create_leaves_to_the_broker_what_was_not_asked_for(kafka):
    assert topics(kafka, "--create", "--topic=t") == "Created topic t.\n"
    topic = kafka.bodies("CreateTopics")[0]["topics"][0]
    assert (topic["num_partitions"], topic["replication_factor"]) == (-1, -1)


def test_create_warns_of_names_that_could_collide(kafka):
    assert topics(kafka, "--create", "--topic", "a.b") == f"{WARNING}Created topic a.b.\n"
    assert topics(kafka, "--create", "--topic", "a_c") == f"{WARNING}Created topic a_c.\n"


def test_create_with_an_assignment(kafka):
    assert topics(kafka, "--create", "--topic", "t", "--replica-assignment", "1:2,2:1,1:2") == "Created topic t.\n"
    topic = kafka.bodies("CreateTopics")[0]["topics"][0]
    assert topic["assignments"] == [{"partition_index": 0, "broker_ids": [1, 2]},
                                    {"partition_index": 1, "broker_ids": [2, 1]},
                                    {"partition_index": 2, "broker_ids": [1, 2]}]
    assert (topic["num_partitions"], topic["replication_factor"]) == (-1, -1)


@pytest.mark.parametrize("words, text", [
    (["--replication-factor", "0"], "The replication factor must be between 1 and 32767 inclusive"),
    (["--replication-factor", "32768"], "The replication factor must be between 1 and 32767 inclusive"),
    (["--partitions", "0"], "The partitions must be greater than 0"),
    (["--replica-assignment", "1:1"], "Partition replica lists may not contain duplicate entries: 1"),
    (["--replica-assignment", "1:2,2"], "Partition 1 has different replication factor: [2]"),
    (["--replica-assignment", "1:x"], "--replica-assignment: '1:x' is no list of broker ids with colons"),
    (["--config", "a"], "requirement failed: Invalid topic config: all configs to be added must be in the format"
     ' "key=val".'),
    (["--config", "a=b=c"], "requirement failed: Invalid topic config: all configs to be added must be in the format"
     ' "key=val".'),
])
def test_create_refuses_by_itself_what_cannot_be(kafka, words, text):
    assert failing(kafka, "--create", "--topic", "t", *words) == f"{ERROR}{text}\n"
    assert kafka.bodies("CreateTopics") == []


def test_create_of_a_topic_that_exists_fails_unless_that_is_allowed(kafka):
    kafka.add_topic("t", [([1], [1])])
    assert failing(kafka, "--create", "--topic", "t") == f"{ERROR}Topic 't' already exists.\n"
    assert topics(kafka, "--create", "--topic", "t", "--if-not-exists") == ""


def test_create_tells_what_the_broker_says_and_kafkas_text_where_it_says_nothing(kafka):
    kafka.fail("CreateTopics", 40, "Unknown topic config name: frob")
    kafka.fail("CreateTopics", 38)
    kafka.fail("CreateTopics", 84)
    assert failing(kafka, "--create", "--topic", "t") == f"{ERROR}Unknown topic config name: frob\n"
    assert failing(kafka, "--create", "--topic", "t") == (
        f"{ERROR}Replication factor is below 1 or larger than the number of available brokers.\n")
    assert failing(kafka, "--create", "--topic", "t") == f"{ERROR}The broker answered ELECTION_NOT_NEEDED.\n"


# ------------------------------------------------------------------ the controller


def test_requests_for_the_controller_go_to_the_controller(kafka):
    kafka.controller_id = 2
    topics(kafka, "--create", "--topic", "t")
    topics(kafka, "--alter", "--topic", "t", "--partitions", "2")
    topics(kafka, "--delete", "--topic", "t")
    assert kafka.asked("CreateTopics") + kafka.asked("CreatePartitions") + kafka.asked("DeleteTopics") == [2, 2, 2]


def test_a_controller_that_has_moved_is_followed(kafka):
    kafka.fail("CreateTopics", 41)
    kafka.fail("CreateTopics", 41, moves_to=2)
    assert topics(kafka, "--create", "--topic", "t") == "Created topic t.\n"
    assert kafka.asked("CreateTopics") == [1, 1, 2]


def test_a_controller_that_closes_the_connection_is_tried_again(kafka):
    kafka.fail("DeleteTopics", CLOSE, moves_to=2)
    kafka.add_topic("t", [([1], [1])])
    assert topics(kafka, "--delete", "--topic", "t") == ""
    assert kafka.asked("DeleteTopics") == [1, 2] and kafka.topics == {}


def test_a_cluster_without_controller_is_waited_for(kafka):
    kafka.fail("Metadata", -1)
    kafka.fail("Metadata", -1)
    assert topics(kafka, "--create", "--topic", "t") == "Created topic t.\n"


def test_the_wait_for_a_controller_has_an_end(kafka, tmp_path):
    for _ in range(100):
        kafka.fail("CreateTopics", 41)
    config = client_config(tmp_path, "# short\ndefault.api.timeout.ms=4000\nrequest.timeout.ms = 3000\n")
    assert failing(kafka, *config, "--create", "--topic", "t") == (
        f"{ERROR}CreateTopics was not done within 4 s: the broker at {kafka.bootstrap} is the controller no more\n")
    assert 1 < len(kafka.asked("CreateTopics")) < 100
    assert all(body["timeout_ms"] <= 3000 for body in kafka.bodies("CreateTopics"))


def test_a_time_that_ends_while_the_controller_is_looked_up_does_not_hide_what_went_wrong(monkeypatch):
    """It said that Metadata was not answered, in the few milliseconds that were left."""
    one = admin.Admin("127.0.0.1:1", api_timeout=0.05)
    tries = iter([(None, "the broker at a:1 is the controller no more")])

    def attempt(*_):
        for result in tries:
            return result
        raise wire.Timeout("Metadata had no answer within 0.05 s")

    monkeypatch.setattr(one, "_try_controller", attempt)
    with pytest.raises(wire.Timeout, match="CreateTopics was not done within 0.05 s: the broker at a:1 is the controller"):
        one.call_controller("CreateTopics", None)


def test_a_controller_that_nobody_can_reach_is_waited_for_to_the_end(kafka, tmp_path):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # not listening: connections are refused
        kafka.ports[3] = unused.getsockname()[1]
        kafka.controller_id = 3
        config = client_config(tmp_path, "default.api.timeout.ms=3000\n")
        assert failing(kafka, *config, "--create", "--topic", "t") == (
            f"{ERROR}CreateTopics was not done within 3 s: the controller does not answer:"
            f" 127.0.0.1:{kafka.ports[3]}: Connection refused\n")


def test_old_brokers_are_spoken_to_in_their_versions(kafka):
    kafka.versions.update({"Metadata": (0, 1), "CreateTopics": (0, 1), "DeleteTopics": (0, 1),
                           "CreatePartitions": (0, 0), "DescribeConfigs": (0, 0)})
    kafka.add_topic("t", [([1], [1])])
    assert topics(kafka, "--create", "--topic", "u", "--partitions", "1", "--replication-factor", "1") == (
        "Created topic u.\n")
    assert topics(kafka, "--list") == "t\nu\n"
    topics(kafka, "--alter", "--topic", "t", "--partitions", "2")
    topics(kafka, "--delete", "--topic", "t")
    assert list(kafka.topics) == ["u"]


# ------------------------------------------------------------------ --list


def test_list_is_sorted_and_an_empty_cluster_is_an_empty_line(kafka):
    assert topics(kafka, "--list") == "\n"
    for name in ["b", "__consumer_offsets", "a"]:
        kafka.add_topic(name, [([1], [1])])
    assert topics(kafka, "--list") == "__consumer_offsets\na\nb\n"
    assert topics(kafka, "--list", "--exclude-internal") == "a\nb\n"


@pytest.mark.parametrize("expression, found", [
    ("orders", "orders"), ("orders,paid", "orders paid"), ("o.*", "orders orders2"), ("'orders'", "orders"),
    (" orders | paid ", "orders paid"), ("order", ""), ("o[a-z]+", "orders"), (r"a\.b", "a.b"), ("a.b", "a.b axb"),
])
def test_the_topic_is_a_regular_expression_for_the_whole_name(kafka, expression, found):
    for name in ["orders", "orders2", "paid", "a.b", "axb"]:
        kafka.add_topic(name, [([1], [1])])
    assert topics(kafka, "--list", "--topic", expression) == "\n".join(found.split()) + "\n"


def test_an_expression_that_is_none_is_told(kafka):
    assert failing(kafka, "--list", "--topic", "a(") == f"{ERROR}a( is an invalid regex.\n"


# ------------------------------------------------------------------ --describe


def partition_line(topic, index, leader, replicas, isr, more=""):
    return (f"\tTopic: {topic}\tPartition: {index}\tLeader: {leader}\tReplicas: {replicas}\tIsr: {isr}{more}"
            "\tElr: N/A\tLastKnownElr: N/A\n")


def test_describe(kafka):
    configs = [("segment.bytes", "1073741824", STATIC_BROKER), ("retention.ms", "5", TOPIC), ("secret", None, TOPIC),
               ("min.insync.replicas", "1", DEFAULT)]
    kafka.add_topic("b", [([1, 2], [1, 2]), ([2, 1], [2])], configs)
    kafka.add_topic("a", [([1], [])], configs[3:])
    a = (f"Topic: a\tTopicId: {topic_id_of('a')}\tPartitionCount: 1\tReplicationFactor: 1\tConfigs: \n"
         + partition_line("a", 0, "none", "1", ""))
    b = (f"Topic: b\tTopicId: {topic_id_of('b')}\tPartitionCount: 2\tReplicationFactor: 2"
         "\tConfigs: retention.ms=5,secret=null,segment.bytes=1073741824\n"
         + partition_line("b", 0, "1", "1,2", "1,2") + partition_line("b", 1, "2", "2,1", "2"))
    assert topics(kafka, "--describe") == a + b
    assert topics(kafka, "--describe", "--topic", "b") == b
    assert topics(kafka, "--describe", "--topic-id", topic_id_of("a")) == a
    assert topics(kafka, "--describe", "--topic-id", topic_id_of("a"), "--topic", "b") == a
    assert topics(kafka, "--describe", "--topic-id", wire.ZERO_UUID, "--topic", "b") == b
    assert topics(kafka, "--describe", "--topics-with-overrides") == b.splitlines(keepends=True)[0]


def test_describe_of_a_broker_without_topic_ids_leaves_them_out(kafka):
    kafka.versions["Metadata"] = (0, 9)
    kafka.versions["DescribeConfigs"] = (1, 1)
    kafka.add_topic("a", [([1], [1])], [("min.insync.replicas", "1", DEFAULT)])
    assert topics(kafka, "--describe") == (
        "Topic: a\tPartitionCount: 1\tReplicationFactor: 1\tConfigs: \n" + partition_line("a", 0, "1", "1", "1"))


def test_describe_shows_only_partitions_in_a_bad_state_when_asked(kafka):
    kafka.add_topic("t", [([1, 2, 3], [1, 2, 3]), ([1, 2, 3], [1, 2]), ([1, 2, 3], [1]), ([2, 3, 1], []),
                          ([3, 1, 2], [3, 1, 2])], [("min.insync.replicas", "2", DEFAULT)])
    lines = [partition_line("t", 0, "1", "1,2,3", "1,2,3"), partition_line("t", 1, "1", "1,2,3", "1,2"),
             partition_line("t", 2, "1", "1,2,3", "1"), partition_line("t", 3, "none", "2,3,1", ""),
             partition_line("t", 4, "none", "3,1,2", "3,1,2")]  # broker 3 is not there, so it does not lead
    shown = {
        "--under-replicated-partitions": [1, 2, 3],
        "--unavailable-partitions": [3, 4],
        "--under-min-isr-partitions": [2, 3, 4],
        "--at-min-isr-partitions": [1],
    }
    for option, indexes in shown.items():
        assert topics(kafka, "--describe", option) == "".join(lines[i] for i in indexes), option
    assert topics(kafka, "--describe", *shown) == "".join(lines[1:])


def test_describe_shows_replicas_that_move(kafka):
    kafka.versions["ListPartitionReassignments"] = (0, 0)
    kafka.controller_id = 2
    kafka.add_topic("t", [([1, 2, 3], [1, 2]), ([1], [1])], [("min.insync.replicas", "1", DEFAULT)])
    kafka.reassignments = [{"name": "t", "partitions": [
        {"partition_index": 0, "replicas": [1, 2, 3], "adding_replicas": [3], "removing_replicas": [1]}]}]
    head = f"Topic: t\tTopicId: {topic_id_of('t')}\tPartitionCount: 2\tReplicationFactor: 2\tConfigs: \n"
    assert topics(kafka, "--describe") == (
        head + partition_line("t", 0, "1", "1,2,3", "1,2", "\tAdding Replicas: 3\tRemoving Replicas: 1")
        + partition_line("t", 1, "1", "1", "1"))
    assert topics(kafka, "--describe", "--under-replicated-partitions") == ""
    assert kafka.asked("ListPartitionReassignments") == [2, 2]
    kafka.fail("ListPartitionReassignments", 31)
    assert "\tReplicationFactor: 3\t" in topics(kafka, "--describe")


def test_describe_of_what_does_not_exist_fails_unless_that_is_allowed(kafka):
    assert topics(kafka, "--describe") == ""
    assert failing(kafka, "--describe", "--topic", "t") == f"{ERROR}Topic 't' does not exist as expected\n"
    assert topics(kafka, "--describe", "--topic", "t", "--if-exists") == ""
    unknown = topic_id_of("t")
    assert failing(kafka, "--describe", "--topic-id", unknown) == (
        f"{ERROR}TopicId '{unknown}' does not exist as expected\n")
    assert topics(kafka, "--describe", "--topic-id", unknown, "--topic", "t", "--if-exists") == (
        "Only topic id will be used when both --topic and --topic-id are specified and topicId is not Uuid.ZERO_UUID\n")
    assert "too long to be decoded as a base64 UUID" in failing(kafka, "--describe", "--topic-id", "x" * 30)
    assert "is not a base64-encoded UUID" in failing(kafka, "--describe", "--topic-id", "x")


def test_describe_tells_an_error_of_the_configurations(kafka):
    kafka.add_topic("t", [([1], [1])])
    kafka.fail("DescribeConfigs", 29)
    assert failing(kafka, "--describe") == f"{ERROR}Topic authorization failed.\n"


# ------------------------------------------------------------------ --alter and --delete


def test_alter_adds_partitions_in_silence(kafka):
    kafka.add_topic("t", [([1], [1])])
    assert topics(kafka, "--alter", "--topic", "t", "--partitions", "3") == ""
    assert kafka.bodies("CreatePartitions")[0]["topics"] == [{"name": "t", "count": 3, "assignments": None}]


def test_alter_with_an_assignment_sends_that_of_the_new_partitions(kafka):
    kafka.add_topic("t", [([1], [1])])
    assert topics(kafka, "--alter", "--topic", "t", "--partitions", "3", "--replica-assignment", "1,2,1") == ""
    assert kafka.bodies("CreatePartitions")[0]["topics"] == [
        {"name": "t", "count": 3, "assignments": [{"broker_ids": [2]}, {"broker_ids": [1]}]}]


def test_alter_of_what_does_not_exist_or_cannot_be_fails(kafka):
    assert failing(kafka, "--alter", "--topic", "t", "--partitions", "3") == (
        f"{ERROR}Topic 't' does not exist as expected\n")
    assert topics(kafka, "--alter", "--topic", "t", "--partitions", "3", "--if-exists") == ""
    kafka.add_topic("t", [([1], [1])] * 4)
    text = "The topic t currently has 4 partition(s); 3 would not be an increase."
    kafka.fail("CreatePartitions", 37, text)
    assert failing(kafka, "--alter", "--topic", "t", "--partitions", "3") == f"{ERROR}{text}\n"


def test_delete_is_silent_and_takes_every_topic_that_the_expression_names(kafka):
    for name in ["a1", "a2", "b"]:
        kafka.add_topic(name, [([1], [1])])
    assert topics(kafka, "--delete", "--topic", "a.") == ""
    assert list(kafka.topics) == ["b"]


def test_delete_of_what_does_not_exist_fails_unless_that_is_allowed(kafka):
    assert failing(kafka, "--delete", "--topic", "t") == f"{ERROR}Topic 't' does not exist as expected\n"
    assert topics(kafka, "--delete", "--topic", "t", "--if-exists") == ""
    assert kafka.bodies("DeleteTopics") == []
    kafka.add_topic("t", [([1], [1])])
    kafka.fail("DeleteTopics", 73)
    assert failing(kafka, "--delete", "--topic", "t") == f"{ERROR}Topic deletion is disabled.\n"


# ------------------------------------------------------------------ the command line


@pytest.mark.parametrize("words, text", [
    ([], "Create, delete, describe, or change a topic."),
    (["--topic", "t"], "Command must include exactly one action: --list, --describe, --create, --alter or --delete"),
    (["--list", "--describe"],
     "Command must include exactly one action: --list, --describe, --create, --alter or --delete"),
    (["--create"], 'Missing required argument "[topic]"'),
    (["--alter", "--topic", "t"], 'Missing required argument "[partitions]"'),
    (["--describe", "--if-exists"], "--topic or --topic-id is required to describe a topic"),
    (["--alter", "--topic", "t", "--partitions", "1", "--config", "a=b"],
     'Option combination "[[bootstrap-server], [config]]" can\'t be used with option "[alter]" (the kafka-configs CLI'
     " supports altering topic configs with a --bootstrap-server option)"),
    (["--list", "--config", "a=b"], 'Option "[config]" can\'t be used with option "[list]"'),
    (["--alter", "--topic", "t", "--partitions", "1", "--delete-config", "a"],
     'Option "[delete-config]" can\'t be used with option "[bootstrap-server]"'),
    (["--describe", "--partitions", "1"], 'Option "[partitions]" can\'t be used with option "[describe]"'),
    (["--alter", "--topic", "t", "--partitions", "1", "--replication-factor", "1"],
     'Option "[replication-factor]" can\'t be used with option "[alter]"'),
    (["--create", "--topic", "t", "--replica-assignment", "1", "--partitions", "1"],
     'Option "[replica-assignment]" can\'t be used with option "[partitions]"'),
    (["--list", "--unavailable-partitions"], 'Option "[unavailable-partitions]" can\'t be used with option "[list]"'),
    (["--describe", "--at-min-isr-partitions", "--topics-with-overrides"],
     'Option "[at-min-isr-partitions]" can\'t be used with option "[topics-with-overrides]"'),
    (["--list", "--topics-with-overrides"], 'Option "[topics-with-overrides]" can\'t be used with option "[list]"'),
    (["--create", "--topic", "t", "--if-exists"], 'Option "[if-exists]" can\'t be used with option "[create]"'),
    (["--delete", "--topic", "t", "--if-not-exists"], 'Option "[if-not-exists]" can\'t be used with option "[delete]"'),
    (["--delete", "--topic", "t", "--exclude-internal"],
     'Option "[exclude-internal]" can\'t be used with option "[delete]"'),
])
def test_a_wrong_command_line_is_told_in_kafkas_words_with_the_help(words, text):
    status, out, err = run(*words)
    assert (status, out, err.splitlines()[0]) == (1, "", text)
    assert "\n--replication-factor" in err


@pytest.mark.parametrize("words, text", [
    (["--frob"], "frob is not a recognized option"),
    (["-list"], "list is not a recognized option"),
    (["--lis"], "lis is not a recognized option"),
    (["--list", "--topic"], "Option topic requires an argument"),
    (["--list", "--topic", "--exclude-internal"], "Option topic requires an argument"),
    (["--create", "--partitions", "x"], "Cannot parse argument 'x' of option partitions"),
    (["--list", "--topic", "a", "--topic", "b"],
     "Found multiple arguments for option topic, but you asked for only one"),
])
def test_a_command_line_that_cannot_be_read_is_told_in_kafkas_words(words, text):
    assert run(*words) == (1, "", text + "\n")


def test_help_goes_to_standard_error_and_fails_as_kafkas_does():
    status, out, err = run("--help")
    assert (status, out) == (1, "")
    assert err.startswith("This tool helps to create, delete, describe, or change a topic.\nOption")


def test_words_that_belong_to_no_option_are_told(kafka):
    status, out, err = run("--list", "--bootstrap-server", kafka.bootstrap, "frob")
    assert (status, out, err) == (0, "\n", "ignored, because it belongs to no option: frob\n")


# ------------------------------------------------------------------ connections


def test_where_nobody_listens_one_line_says_what_to_do():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{unused.getsockname()[1]}"
        assert run("--list", "--bootstrap-server", address) == (1, (
            f"{ERROR}cannot connect to a broker: {address}: Connection refused. Is the broker running and is {address}"
            " its address? Start it, or name another with --bootstrap-server host:port.\n"), "")


def test_the_first_broker_of_the_list_that_listens_is_used(kafka):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        addresses = f"127.0.0.1:{unused.getsockname()[1]},{kafka.bootstrap}"
        assert run("--list", "--bootstrap-server", addresses) == (0, "\n", "")


def test_a_connection_that_breaks_is_made_again(kafka):
    kafka.fail("Metadata", CLOSE)
    kafka.fail("ApiVersions", CLOSE)
    assert topics(kafka, "--list") == "\n"


def test_a_port_that_speaks_something_else_is_told(tmp_path):
    config = client_config(tmp_path, "default.api.timeout.ms=300\nrequest.timeout.ms=100\n")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        status, out, err = run("--list", "--bootstrap-server", address, *config)
    assert (status, err) == (1, "")
    assert out == f"{ERROR}Metadata had no answer within 0.3 s: no answer from {address} in time\n"


def test_client_configuration(kafka, tmp_path):
    config = client_config(tmp_path, f"client.id=me\nbootstrap.servers={kafka.bootstrap}\nretries=3\n")
    status, out, err = run("--list", *config)
    assert (status, out) == (0, "\n")
    assert err == f"{config[1]}: retries is not used by this tool\n"


@pytest.mark.parametrize("text, told", [
    ("security.protocol=SASL_SSL\n", "this tool speaks security.protocol=PLAINTEXT only"),
    ("request.timeout.ms=soon\n", "request.timeout.ms=soon is no number of milliseconds above 0"),
    ("request.timeout.ms=\u00b2\n", "request.timeout.ms=\u00b2 is no number of milliseconds above 0"),
])
def test_client_configuration_that_cannot_be_used(tmp_path, text, told):
    status, out, err = run("--list", *client_config(tmp_path, text))
    assert (status, err) == (1, "") and out.startswith(ERROR) and out.endswith(f"{told}\n")


def test_a_missing_client_configuration(tmp_path):
    path = str(tmp_path / "none")
    assert run("--list", "--command-config", path) == (1, f"{ERROR}{path}: No such file or directory\n", "")


def test_a_client_configuration_that_is_no_text(tmp_path):
    path = tmp_path / "latin"
    path.write_bytes(b"client.id=\xfc\n")
    assert run("--list", "--command-config", str(path)) == (1, f"{ERROR}{path}: not a text in UTF-8\n", "")


@pytest.mark.parametrize("address", ["host:port", "a:1:2", ",", "h:70000", "a..b:9092", "a" * 64 + ":9092"])
def test_an_address_that_is_none(address):
    status, out, err = run("--list", "--bootstrap-server", address)
    assert (status, err) == (1, "") and out.startswith(ERROR) and address in out
