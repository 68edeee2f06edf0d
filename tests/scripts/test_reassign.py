"""scripts/reassign against a cluster in memory: options, output, exit status, and that a mistake changes nothing.

Expected text is what Kafka 3.9's kafka-reassign-partitions prints; the differences are those that the script's head
names. --balance is ours alone.
"""
import json
import os
import signal
import subprocess
import sys

import pytest
import wire
from fake_kafka import REASSIGNING, FakeKafka

REASSIGN = os.path.join(wire.ROOT, "scripts", "reassign")
BROKER, TOPIC = 4, 2
CHANGES = ["AlterPartitionReassignments", "IncrementalAlterConfigs", "AlterReplicaLogDirs", "ElectLeaders"]


def run(*words):
    """(status, standard output, standard error)"""
    done = subprocess.run([sys.executable, REASSIGN, *words], capture_output=True, text=True, timeout=120, check=False)
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def kafka():
    with FakeKafka(brokers=4) as cluster:
        cluster.versions.update(REASSIGNING)
        cluster.controller_id = 2
        yield cluster


def reassign(kafka, *words):
    """Standard output; the command succeeds and is silent otherwise."""
    status, out, err = run("--bootstrap-server", kafka.bootstrap, *words)
    assert (status, err) == (0, ""), out + err
    return out


def failing(kafka, *words):
    """Standard output of a command that fails."""
    status, out, err = run("--bootstrap-server", kafka.bootstrap, *words)
    assert (status, err) == (1, ""), out + err
    return out


def partition(topic, index, replicas, log_dirs=None):
    return {"topic": topic, "partition": index, "replicas": replicas, **({"log_dirs": log_dirs} if log_dirs else {})}


@pytest.fixture
def file(tmp_path):
    """The option with a file of these partitions; of this text, if it is one."""
    def make(*partitions):
        text = partitions[0] if isinstance(partitions[0], str) else json.dumps({"partitions": partitions, "version": 1})
        (tmp_path / "moves.json").write_text(text)
        return ["--reassignment-json-file", str(tmp_path / "moves.json")]

    return make


def assert_nothing_changed(kafka):
    assert [name for name in CHANGES if kafka.asked(name)] == []


# ------------------------------------------------------------------ --generate


@pytest.fixture
def topics(tmp_path):
    def make(text):
        (tmp_path / "topics.json").write_text(text)
        return ["--generate", "--topics-to-move-json-file", str(tmp_path / "topics.json"), "--broker-list"]

    return make


def test_generate_prints_both_files_and_changes_nothing(kafka, topics):
    kafka.add_topic("t", [([1, 2], [1, 2]), ([2, 1], [2, 1])])
    assert reassign(kafka, *topics('{"topics": [{"topic": "t"}], "version": 1}'), "3,4") == (
        "Current partition replica assignment\n"
        '{"version":1,"partitions":[{"topic":"t","partition":0,"replicas":[1,2],"log_dirs":["any","any"]},'
        '{"topic":"t","partition":1,"replicas":[2,1],"log_dirs":["any","any"]}]}\n\n'
        "Proposed partition reassignment configuration\n"
        '{"version":1,"partitions":[{"topic":"t","partition":0,"replicas":[3,4],"log_dirs":["any","any"]},'
        '{"topic":"t","partition":1,"replicas":[4,3],"log_dirs":["any","any"]}]}\n')
    assert_nothing_changed(kafka)


def test_generate_uses_as_many_racks_as_it_can(kafka, topics):
    kafka.racks = {1: "a", 2: "a", 3: "b", 4: "b"}
    kafka.add_topic("t", [([1, 2], [1, 2])] * 8)
    out = reassign(kafka, *topics('{"topics": [{"topic": "t"}]}'), "1,2,3,4")
    proposed = json.loads(out.splitlines()[4])["partitions"]
    assert len(proposed) == 8
    assert {tuple(sorted(kafka.racks[broker] for broker in one["replicas"])) for one in proposed} == {("a", "b")}


def test_generate_where_some_brokers_have_racks_wants_to_be_told_not_to_look(kafka, topics):
    kafka.racks = {1: "a"}
    kafka.add_topic("t", [([1, 2], [1, 2])])
    words = [*topics('{"topics": [{"topic": "t"}]}'), "1,2"]
    assert failing(kafka, *words) == (
        "Error: Not all brokers have rack information. Add --disable-rack-aware in command line to make replica"
        " assignment without rack information.\n")
    assert "Proposed" in reassign(kafka, *words, "--disable-rack-aware")


@pytest.mark.parametrize("text, brokers, told", [
    ('{"topics": [{"topic": "no"}]}', "1", "Topic no not found."),
    ('{"topics": [{"topic": "t"}]}', "1", "Replication factor: 2 larger than available brokers: 1."),
    ('{"topics": [{"topic": "t"}]}', "1,1", "Broker list contains duplicate entries: [1]"),
    ('{"topics": [{"topic": "t"}]}', "all", "--broker-list all: broker ids with commas, such as 1,2,3"),
    ('{"topics": [', "1", "The input string is not a valid JSON: line 1, column 13: Expecting value"),
])
def test_generate_of_what_cannot_be(kafka, topics, text, brokers, told):
    kafka.add_topic("t", [([1, 2], [1, 2])])
    assert failing(kafka, *topics(text), brokers) == f"Error: {told}\n"


# ------------------------------------------------------------------ --execute


def test_execute_shows_the_way_back_and_begins(kafka, file):
    kafka.add_topic("t", [([1, 2], [1, 2]), ([2, 1], [2, 1])])
    out = reassign(kafka, "--execute", *file(partition("t", 1, [3, 1]), partition("t", 0, [4])))
    assert out == (
        "Current partition replica assignment\n\n"
        '{"version":1,"partitions":[{"topic":"t","partition":0,"replicas":[1,2],"log_dirs":["any","any"]},'
        '{"topic":"t","partition":1,"replicas":[2,1],"log_dirs":["any","any"]}]}\n\n'
        "Save this to use as the --reassignment-json-file option during rollback\n"
        "Successfully started partition reassignments for t-0,t-1\n")
    assert kafka.topics["t"]["partitions"] == [([4], [4]), ([3, 1], [3, 1])]
    assert kafka.asked("AlterPartitionReassignments") == [2]
    assert kafka.asked("IncrementalAlterConfigs") == []


def test_execute_with_throttles_sets_them_before_anything_moves(kafka, file):
    kafka.add_topic("t", [([1, 2], [1, 2])])
    kafka.log_dirs["t", 0, 3] = ["/a", None]
    out = reassign(kafka, "--execute", *file(partition("t", 0, [1, 3], ["any", "/b"])), "--throttle", "5000",
                   "--replica-alter-log-dirs-throttle=7000")
    assert out.split("rollback\n")[1] == (
        "Warning: You must run --verify periodically, until the reassignment completes, to ensure the throttle is"
        " removed.\n"
        "The inter-broker throttle limit was set to 5000 B/s\n"
        "The replica-alter-dir throttle limit was set to 7000 B/s\n"
        "Successfully started partition reassignment for t-0\n"
        "Successfully started moving log directory to /b for replica t-0 with broker 3 \n")
    rates = {"leader.replication.throttled.rate": "5000", "follower.replication.throttled.rate": "5000"}
    assert kafka.settings == {
        (TOPIC, "t"): {"leader.replication.throttled.replicas": "0:1,0:2",
                       "follower.replication.throttled.replicas": "0:3"},
        (BROKER, "1"): rates, (BROKER, "2"): rates,
        (BROKER, "3"): {**rates, "replica.alter.log.dirs.io.max.bytes.per.second": "7000"}}
    names = [name for _, name, _, _ in kafka.requests if name in CHANGES]
    assert names.index("AlterPartitionReassignments") == len(names) - 2
    begun = [name for _, name, _, _ in kafka.requests].index("AlterPartitionReassignments")
    asked = [node for node, name, _, _ in kafka.requests[:begun] if name == "DescribeConfigs"]
    assert asked == [1, 1, 2, 2, 3, 3]  # until they went by it: what moved before was not throttled
    told = [(node, body["resources"][0]["resource_name"]) for node, name, _, body in kafka.requests
            if name == "IncrementalAlterConfigs" and body["resources"][0]["resource_type"] == BROKER]
    assert told and all(str(node) == name for node, name in told)  # a broker's configurations are told to that broker


def test_execute_while_others_move_needs_additional(kafka, file):
    kafka.add_topic("t", [([1], [1]), ([2], [2])])
    kafka.moving["t", 1] = [[2], [3], 100]
    words = ["--execute", *file(partition("t", 0, [4]))]
    assert failing(kafka, *words).startswith("Cannot execute because there is an existing partition assignment.  Use")
    assert_nothing_changed(kafka)
    assert "Successfully started" in reassign(kafka, *words, "--additional")


@pytest.mark.parametrize("partitions, told", [
    ([partition("t", 0, [9])], "Error: Unknown broker id 9"),
    ([partition("t", 0, [3])], "Error: Unknown broker id 3"),  # it is not running
    ([partition("no", 0, [1])], "Error: Topic no not found."),
    ([partition("t", 5, [1]), partition("t", 4, [1])], "Error: Unable to find partition: t-4, t-5"),
    ([partition("t", 0, [1]), partition("t", 0, [2])],
     "Error: Partition reassignment contains duplicate topic partitions: t-0"),
    ([partition("t", 0, [2, 2])],
     "Error: Partition replica lists may not contain duplicate entries: t-0 contains multiple entries for 2"),
    ([partition("t", 0, [])], "Error: Partition replica list cannot be empty"),
    (['{"partitions": [}'], "Error: The input string is not a valid JSON: line 1, column 17: Expecting value"),
    (['{"partitions": []}'], "Error: Partition reassignment list cannot be empty"),
])
def test_execute_of_what_cannot_be_changes_nothing_at_all(kafka, file, partitions, told):
    kafka.add_topic("t", [([1], [1])])
    kafka.dead = {3}
    assert failing(kafka, "--execute", *file(*partitions), "--throttle", "1000") == f"{told}\n"
    assert_nothing_changed(kafka)


def test_execute_tells_what_the_broker_refuses(kafka, file):
    kafka.add_topic("t", [([1], [1]), ([1], [1])])
    kafka.fail("AlterPartitionReassignments", 39, "broker 2 is shutting down")
    out = failing(kafka, "--execute", *file(partition("t", 0, [2]), partition("t", 1, [2])))
    assert out.split("rollback\n")[1] == (
        "Error reassigning partition(s):\nt-0: broker 2 is shutting down\nt-1: broker 2 is shutting down\n")


def test_execute_asks_again_for_a_directory_until_the_replica_is_there_and_gives_up_in_time(kafka, file):
    kafka.add_topic("t", [([1], [1])])
    kafka.log_dirs["t", 0, 2] = ["/a", None]
    kafka.fail("AlterReplicaLogDirs", 9)
    words = ["--execute", *file(partition("t", 0, [2], ["/b"]))]
    assert "moving log directory to /b for replica t-0 with broker 2 \n" in reassign(kafka, *words)
    assert kafka.asked("AlterReplicaLogDirs") == [2, 2]
    kafka.log_dirs.clear()
    assert failing(kafka, *words, "--timeout", "0").endswith(
        "Timed out before log directory move could be started for: t-0-2\n")
    kafka.fail("AlterReplicaLogDirs", 57)
    assert failing(kafka, *words).endswith(
        "Error: Failed to alter dir for t-0-2: The user-specified log directory is not found in the broker config.\n")


# ------------------------------------------------------------------ --verify, --cancel, --list


def test_verify_says_what_is_done_and_removes_the_throttles_only_when_all_is(kafka, file):
    kafka.add_topic("t", [([2], [2]), ([1], [1]), ([1], [1])])
    kafka.settings = {(BROKER, "1"): {"leader.replication.throttled.rate": "1", "other": "2"},
                      (TOPIC, "t"): {"follower.replication.throttled.replicas": "0:2"}}
    kafka.moving["t", 2] = [[1], [3], 1]
    words = ["--verify", *file(partition("t", 2, [3]), partition("t", 0, [2]), partition("t", 1, [2, 3]),
                               partition("t", 7, [1]))]
    states = ("Status of partition reassignment:\nReassignment of partition t-0 is completed.\n"
              "There is no active reassignment of partition t-1, but replica set is 1 rather than 2,3.\n%s\n"
              "There is no active reassignment of partition t-7, but replica set is  rather than 1.\n\n")
    assert reassign(kafka, *words) == states % "Reassignment of partition t-2 is still in progress."
    assert_nothing_changed(kafka)
    done = states % "Reassignment of partition t-2 is completed."
    assert reassign(kafka, *words, "--preserve-throttles") == done
    assert_nothing_changed(kafka)
    assert reassign(kafka, *words) == done + ("Clearing broker-level throttles on brokers 1,2,3,4\n"
                                              "Clearing topic-level throttles on topic t\n")
    assert kafka.settings[BROKER, "1"] == {"other": "2"} and kafka.settings[TOPIC, "t"] == {}


def test_verify_looks_at_directories(kafka, file):
    kafka.add_topic("t", [([1, 2, 3, 4], [1, 2, 3, 4])])
    kafka.add_topic("u", [([1], [1])])
    kafka.log_dirs = {("t", 0, 1): ["/a", "/b"], ("t", 0, 2): ["/b", None], ("t", 0, 3): ["/a", None],
                      ("u", 0, 1): ["/a", "/c"]}
    words = ["--verify", *file(partition("t", 0, [1, 2, 3, 4], ["/b"] * 4), partition("u", 0, [1], ["/b"]))]
    assert reassign(kafka, *words) == (
        "Status of partition reassignment:\nReassignment of partition t-0 is completed.\n"
        "Reassignment of partition u-0 is completed.\n"
        "Reassignment of replica t-0-1 is still in progress.\n"
        "Partition u-0 on broker 1 is being moved to log dir /c instead of /b.\n"
        "Reassignment of replica t-0-2 completed successfully.\n"
        "Partition t-0 on broker 3 is not being moved from log dir /a to /b.\n"
        "Partition t-0 is not found in any live log dir on broker 4. There is likely an offline log directory on the"
        " broker.\n")
    assert_nothing_changed(kafka)  # a directory is still being moved to, so the throttles stay


def test_verify_with_a_broker_that_is_down_does_the_others_and_says_so(kafka, file):
    kafka.add_topic("t", [([1], [1])])
    kafka.dead = {4}
    out = failing(kafka, "--verify", *file(partition("t", 0, [1]), partition("gone", 0, [4])))
    assert out.endswith("Clearing topic-level throttles on topics gone,t\nError: not running, so not told: broker 4. Where"
                        " a throttle was set there, it stays until this is run again with the broker up.\n")
    assert (BROKER, "3") in kafka.settings and (TOPIC, "t") in kafka.settings and (TOPIC, "gone") not in kafka.settings


def test_cancel_stops_what_the_file_names_and_nothing_else(kafka, file):
    kafka.add_topic("t", [([1], [1]), ([1], [1]), ([1], [1])])
    kafka.moving = {("t", 0): [[1], [2], 100], ("t", 1): [[1], [1, 2], 100], ("t", 2): [[1], [3], 100]}
    words = ["--cancel", *file(partition("t", 0, [2]), partition("t", 1, [1, 2]))]
    assert reassign(kafka, *words) == (
        "Successfully cancelled partition reassignments for: t-0,t-1\nNone of the specified partition moves are active.\n"
        "Clearing broker-level throttles on brokers 1,2,3,4\nClearing topic-level throttles on topic t\n")
    assert list(kafka.moving) == [("t", 2)]
    assert reassign(kafka, *words, "--preserve-throttles") == (
        "None of the specified partition reassignments are active.\nNone of the specified partition moves are active.\n")


def test_cancel_takes_a_replica_back_to_the_directory_where_it_is(kafka, file):
    kafka.add_topic("t", [([1], [1])])
    kafka.log_dirs["t", 0, 1] = ["/a", "/b"]
    assert reassign(kafka, "--cancel", "--preserve-throttles", *file(partition("t", 0, [1], ["/b"]))) == (
        "None of the specified partition reassignments are active.\n"
        "Successfully started moving log directory to /a for replica t-0 with broker 1 \n")
    assert kafka.log_dirs["t", 0, 1] == ["/a", None]


def test_cancel_tells_what_the_broker_refuses(kafka, file):
    kafka.add_topic("t", [([1], [1])])
    kafka.moving["t", 0] = [[1], [2], 100]
    kafka.fail("AlterPartitionReassignments", 85)
    assert failing(kafka, "--cancel", *file(partition("t", 0, [2]))) == (
        "Error cancelling partition reassignment for:\nt-0: No partition reassignment is in progress.\n")


def test_list(kafka):
    assert reassign(kafka, "--list") == "No partition reassignments found.\n"
    kafka.moving = {("b", 0): [[1], [1, 2], 100], ("a", 10): [[1, 2], [3], 100], ("a", 9): [[1], [2], 100]}
    assert reassign(kafka, "--list") == (
        "Current partition reassignments:\na-9: replicas: 2,1. adding: 2. removing: 1.\n"
        "a-10: replicas: 3,1,2. adding: 3. removing: 1,2.\nb-0: replicas: 1,2. adding: 2.\n")


# ------------------------------------------------------------------ --balance


def test_balance_shows_its_plan_moves_a_few_at_a_time_and_ends_when_all_is_even(kafka):
    kafka.add_topic("t", [([1, 2], [1, 2]), ([2, 3], [2, 3]), ([3, 1], [3, 1])] * 4)
    kafka.listed_before_done = 2
    out = reassign(kafka, "--balance", "--at-once", "2", "--throttle", "9000")
    assert out.startswith("The plan: 6 replicas to copy, 0.0 MB; ")
    assert ("broker  rack  holds  then  leads  then\n1       -     8      6     4      3\n2       -     8      6     4      3\n"
            "3       -     8      6     4      3\n4       -     0      6     0      3\n") in out
    assert "\nThe way back, a file for --execute:\n{" in out
    assert "partitions moved\n" in out and "\nDone in " in out
    assert max(len(topic["partitions"]) for body in kafka.bodies("AlterPartitionReassignments")
               for topic in body["topics"]) <= 2
    replicas = [one[0] for one in kafka.topics["t"]["partitions"]]
    assert [sum(broker in one for one in replicas) for broker in (1, 2, 3, 4)] == [6, 6, 6, 6]
    assert [sum(broker == one[0] for one in replicas) for broker in (1, 2, 3, 4)] == [3, 3, 3, 3]
    assert kafka.settings[BROKER, "4"] == {} and kafka.settings[TOPIC, "t"] == {}  # throttled, and not any more
    assert reassign(kafka, "--balance").startswith("Nothing has to move.\n")


def test_balance_takes_a_negative_throttle_for_none_as_execute_does(kafka):
    """It gave the topics their lists of throttled replicas, which stayed, and failed when it gave brokers a rate of -1."""
    kafka.add_topic("t", [([1, 2], [1, 2])] * 4)
    assert "\nDone in " in reassign(kafka, "--balance", "--throttle", "-1")
    assert kafka.asked("IncrementalAlterConfigs") == []


def test_a_balance_whose_throttle_is_refused_takes_back_what_was_set_of_it_and_moves_nothing(kafka):
    kafka.add_topic("t", [([1, 2], [1, 2])] * 4)
    kafka.fail("IncrementalAlterConfigs", 0)  # the topic's
    kafka.fail("IncrementalAlterConfigs", 40, "no such rate")  # the first broker's
    assert failing(kafka, "--balance", "--throttle", "5").endswith("\nError: no such rate\n")
    removed = {(resource["resource_type"], resource["resource_name"]) for body in kafka.bodies("IncrementalAlterConfigs")
               for resource in body["resources"] if all(one["config_operation"] == 1 for one in resource["configs"])}
    assert removed == {(TOPIC, "t"), (BROKER, "1"), (BROKER, "2"), (BROKER, "3"), (BROKER, "4")}
    assert kafka.asked("AlterPartitionReassignments") == []


def test_balance_with_a_dry_run_changes_nothing(kafka):
    kafka.add_topic("t", [([1, 2], [1, 2])] * 4)
    assert "The plan: 4 replicas to copy" in reassign(kafka, "--balance", "--dry-run")
    assert_nothing_changed(kafka)


def test_balance_without_a_broker_empties_it(kafka):
    kafka.add_topic("t", [([1, 2], [1, 2]), ([3, 4], [3, 4]), ([4, 1], [4, 1])])
    out = reassign(kafka, "--balance", "--without", "4")
    assert out.endswith("broker 4 holds nothing any more and may be stopped.\n")
    assert all(4 not in replicas for replicas, _ in kafka.topics["t"]["partitions"])


def test_balance_leaves_what_has_a_replica_on_a_dead_broker_unless_it_is_named(kafka):
    kafka.add_topic("t", [([3, 1], [1]), ([1, 2], [1, 2])])
    kafka.add_topic("u", [([3], [])])
    kafka.dead = {3}
    out = reassign(kafka, "--balance")
    assert "broker 3 is not running: 1 partition with a replica on it stay as they are. If it will not come back:" in out
    assert "1 partition without a leader cannot be moved and stay: u-0" in out
    assert kafka.topics["t"]["partitions"][0] == ([3, 1], [1])
    out = reassign(kafka, "--balance", "--without", "3")
    assert 3 not in kafka.topics["t"]["partitions"][0][0]
    assert out.endswith("broker 3 still holds 1 partition.\n")


def test_balance_lets_the_first_replica_lead(kafka):
    kafka.add_topic("t", [([2, 1], [1, 2]), ([1, 2], [1, 2])])  # the fake's leader is the first in sync
    kafka.dead = {3, 4}
    assert "1 leader moved" in reassign(kafka, "--balance")
    assert kafka.bodies("ElectLeaders")[0]["topic_partitions"] == [{"topic": "t", "partitions": [0]}]


def test_a_controller_that_has_moved_is_asked_for_leaders_again(kafka):
    """What says so stands with each partition, where nobody looked: no leader moved, and it said that all had."""
    kafka.add_topic("t", [([2, 1], [1, 2]), ([1, 2], [1, 2])])
    kafka.dead = {3, 4}
    kafka.fail("ElectLeaders", 41, moves_to=1)
    assert "1 leader moved" in reassign(kafka, "--balance")
    assert kafka.asked("ElectLeaders") == [2, 1]


def test_a_leader_that_was_refused_is_told_and_not_counted(kafka):
    kafka.add_topic("t", [([2, 1], [1, 2]), ([1, 2], [1, 2])])
    kafka.dead = {3, 4}
    kafka.fail("ElectLeaders", 80, "not now")
    status, out, err = run("--bootstrap-server", kafka.bootstrap, "--balance")
    assert (status, err) == (0, "t-0: not now\n") and "0 leaders moved" in out


@pytest.mark.parametrize("words, told", [
    (["--without", "9"], "broker 9 of --without is not running and holds nothing. The brokers are 1,2,3,4."),
    (["--without", "1,2,3,4"], "--without names every broker that runs"),
    (["--without", "1,2,3"], "t-0 has 2 replicas, and only 1 brokers are left to hold them"),
    (["--without", "three"], "--without three: broker ids with commas, such as 1,2,3"),
])
def test_balance_of_what_cannot_be_changes_nothing(kafka, words, told):
    kafka.add_topic("t", [([1, 2], [1, 2])])
    assert failing(kafka, "--balance", *words) == f"Error: {told}\n"
    assert_nothing_changed(kafka)


def test_balance_waits_for_no_other_reassignment(kafka):
    kafka.add_topic("t", [([1], [1]), ([1], [1])])
    kafka.moving["t", 0] = [[1], [2], 100]
    assert failing(kafka, "--balance").startswith("Error: 1 reassignment under way already: wait")
    assert_nothing_changed(kafka)


def test_balance_ends_with_what_was_refused(kafka):
    kafka.add_topic("t", [([1], [1])] * 4)
    kafka.fail("AlterPartitionReassignments", 39, "no such broker")
    out = failing(kafka, "--balance")
    assert "Error: not everything was moved. Refused:\nt-" in out and ": no such broker\n" in out


def test_an_interrupted_balance_says_how_to_go_on_and_back(kafka):
    kafka.add_topic("t", [([1], [1])] * 4)
    kafka.listed_before_done = 10**9
    with subprocess.Popen([sys.executable, REASSIGN, "--bootstrap-server", kafka.bootstrap, "--balance"],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as one:
        lines = iter(one.stdout.readline, "")
        assert any("0 of 3 partitions moved" in line for line in lines)
        one.send_signal(signal.SIGINT)
        _, err = one.communicate(timeout=60)
    assert one.returncode == 130
    assert "3 partitions are still moving, and will go on without this program" in err
    assert json.loads(err.splitlines()[-1])["partitions"][0]["topic"] == "t"


def test_a_balance_that_fails_half_way_says_what_goes_on_and_that_its_throttle_is_still_there(kafka):
    """It said why it had ended and nothing else, and every later copy of these topics was as slow."""
    kafka.add_topic("t", [([1], [1])] * 4)
    kafka.listed_before_done = 10**9
    with subprocess.Popen([sys.executable, REASSIGN, "--bootstrap-server", kafka.bootstrap, "--balance", "--throttle", "5000"],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as one:
        lines = iter(one.stdout.readline, "")
        assert any("0 of 3 partitions moved" in line for line in lines)
        kafka.fail("ListPartitionReassignments", 31)
        out, err = one.communicate(timeout=60)
    assert (one.returncode, out) == (1, "Error: Cluster authorization failed.\n")
    assert "3 partitions are still moving, and will go on without this program" in err
    assert "to remove throttles with --verify, the file:" in err
    assert json.loads(err.splitlines()[-1])["partitions"][0]["topic"] == "t"


# ------------------------------------------------------------------ the command line


@pytest.mark.parametrize("words, text", [
    ([], "This tool helps to move topic partitions between replicas."),
    (["--throttle", "1"], "Command must include exactly one action: --generate, --execute, --verify, --cancel, --list,"
     " --balance"),
    (["--list", "--verify"], "Command must include exactly one action: --generate, --execute, --verify, --cancel, --list,"
     " --balance"),
    (["--execute"], 'Missing required argument "[reassignment-json-file]"'),
    (["--generate", "--broker-list", "1"], 'Missing required argument "[topics-to-move-json-file]"'),
    (["--list", "--throttle", "1"], 'Option "[throttle]" can\'t be used with action "[list]"'),
    (["--balance", "--reassignment-json-file", "x"],
     'Option "[reassignment-json-file]" can\'t be used with action "[balance]"'),
    (["--execute", "--reassignment-json-file", "x", "--preserve-throttles"],
     'Option "[preserve-throttles]" can\'t be used with action "[execute]"'),
    (["--balance", "--at-once", "0"], "--at-once is 1 or more"),
])
def test_a_wrong_command_line_is_told_with_the_help(words, text):
    status, out, err = run(*words)
    assert (status, out, err.splitlines()[0]) == (1, "", text)
    assert "\n--reassignment-json-file" in err


def test_a_file_that_cannot_be_read_is_told(kafka, tmp_path):
    assert failing(kafka, "--verify", "--reassignment-json-file", str(tmp_path / "none")) == (
        f"Error: {tmp_path}/none: No such file or directory\n")
    (tmp_path / "odd").write_bytes(b"\xff\xfe")
    assert failing(kafka, "--verify", "--reassignment-json-file", str(tmp_path / "odd")) == (
        f"Error: {tmp_path}/odd: not a text in UTF-8\n")


def test_a_broker_that_cannot_reassign_is_told(kafka, file):
    kafka.versions.pop("ListPartitionReassignments")
    assert failing(kafka, "--list") == (
        f"Error: the broker at 127.0.0.1:{kafka.ports[2]} does not offer ListPartitionReassignments\n")
