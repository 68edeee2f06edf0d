"""scripts/cluster: what it prints and what it leaves."""
import os
import socket
import subprocess
import sys

import cluster as clusters
import pytest
import wire

COMMAND = os.path.join(wire.ROOT, "scripts", "cluster")
TOPICS = os.path.join(wire.ROOT, "scripts", "topics")


def run(*words, env=None):
    """(status, standard output, standard error)"""
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, timeout=800, check=False,
                          env={**os.environ, **(env or {})})
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout, done.stderr


def command(folder, *words, env=None):
    return run(COMMAND, *words, "--folder", str(folder), env=env)


def up(folder, *words):
    return command(folder, "up", "--port", "0", "--zookeeper-port", "0", "--binary", clusters.default_binary(), *words)


@pytest.fixture
def folder(needs_cluster, tmp_path):
    """Where the command's cluster lives; all that runs there is ended after the test."""
    yield tmp_path / "cluster"
    clusters.kill_all(str(tmp_path / "cluster"))


def rows(out):
    """The first words of each line -> the line."""
    return {" ".join(line.split()[:2]) if not line.startswith(("broker-", "zookeeper-")) else line.split()[0]: line
            for line in out.splitlines() if line}


def running(folder):
    return [process.name for process in clusters.Cluster.open(str(folder)).processes if process.alive()]


def test_up_status_kill_start_down(folder):
    status, out, err = up(folder, "--brokers", "2", "--config", "zookeeper.session.timeout.ms=4000")
    assert (status, err) == (0, "")
    assert out.count("up, controller") == 1 and "standalone" in out
    assert out.endswith("\n\nAll is well.\n") and command(folder, "status")[0] == 0
    assert rows(out)["broker-2"].count(" 4 s ") == 1  # its session
    bootstrap = clusters.Cluster.open(str(folder)).bootstrap
    made = run(TOPICS, "--create", "--topic", "t", "--partitions", "2", "--replication-factor", "1",
               "--bootstrap-server", bootstrap)
    assert made[0] == 0, made

    assert command(folder, "kill", "2") == (0, "killed: broker-2\n", "")
    assert " down " in rows(command(folder, "status")[1])["broker-2"]
    status, out, err = clusters.wait_until(lambda: (now := command(folder, "status")) and "OFFLINE" in now[1] and now,
                                           "status says what is offline")
    assert (status, err) == (3, "")
    assert "1 without a leader that runs" in out
    assert out.endswith("\n\nNot well: broker-2 is down; 1 partition without a leader.\n")
    assert rows(out)["broker-2"].split()[3] == "none"

    assert command(folder, "start", "2")[1].startswith("started: broker-2 at ")
    clusters.wait_until(lambda: "0 without a leader that runs" in command(folder, "status")[1], "its leader is back")
    assert command(folder, "down") == (0, "stopped: zookeeper-1, broker-1, broker-2\n", "")
    assert running(folder) == []


def test_sessions_are_as_long_as_was_asked_for(folder):
    """They were cut to twenty of ZooKeeper's ticks without a word."""
    status, out, _ = up(folder, "--brokers", "1", "--config", "zookeeper.session.timeout.ms=18000")
    assert status == 0 and " 18 s " in rows(out)["broker-1"]
    assert command(folder, "down")[0] == 0


def test_a_configuration_for_brokers_that_run_counts_from_their_next_start_and_that_is_said(folder):
    assert up(folder, "--brokers", "1")[0] == 0
    pair = "message.max.bytes=4242"
    status, _, err = command(folder, "up", "--config", pair)
    assert (status, err) == (0, "note: brokers that run take message.max.bytes when they are started next\n")
    assert command(folder, "up", "--config", pair)[2] == ""
    path = folder / "broker-1" / "server.properties"
    assert pair not in path.read_text()
    assert command(folder, "kill", "1")[0] == 0 and command(folder, "start", "1")[0] == 0
    assert pair in path.read_text()
    assert command(folder, "down")[0] == 0


def test_up_again_keeps_the_topics_and_may_add_brokers(folder):
    assert up(folder, "--brokers", "1")[0] == 0
    bootstrap = clusters.Cluster.open(str(folder)).bootstrap
    assert run(TOPICS, "--create", "--topic", "kept", "--bootstrap-server", bootstrap)[0] == 0
    assert command(folder, "down")[0] == 0
    status, out, err = command(folder, "up", "--brokers", "2")
    assert (status, err) == (0, "")
    assert "kept" in out and "broker-2" in out
    status, _, err = command(folder, "up", "--zookeepers", "3")
    assert status == 1 and "has --zookeepers 1, not 3" in err and "--wipe" in err
    assert running(folder) == ["zookeeper-1", "broker-1", "broker-2"]
    assert command(folder, "down", "--wipe")[0] == 0
    assert not folder.exists()


def test_status_of_a_cluster_that_is_dead_says_what_still_runs(folder):
    assert up(folder, "--brokers", "1")[0] == 0
    assert command(folder, "kill", "1")[0] == 0
    status, out, err = command(folder, "status")
    assert (status, err) == (3, "")
    assert "(no broker answers)" in out and " standalone " in out and " down " in rows(out)["broker-1"]
    assert command(folder, "kill", "zookeeper-1")[0] == 0
    assert " down " in rows(command(folder, "status")[1])["zookeeper-1"]
    assert command(folder, "down") == (0, "stopped: nothing was running\n", "")


def test_three_zookeepers_have_one_leader(folder):
    status, out, _ = up(folder, "--brokers", "1", "--zookeepers", "3")
    assert status == 0
    assert (out.count(" leader "), out.count(" follower ")) == (2, 2)  # one leader of each is in the table's head
    assert command(folder, "down")[0] == 0


def test_a_taken_port_is_named_with_who_has_it_and_nothing_is_left_running(folder):
    with socket.socket() as taken:
        taken.bind((clusters.HOST, 0))
        taken.listen()
        port = taken.getsockname()[1]
        status, out, err = command(folder, "up", "--port", str(port), "--zookeeper-port", "0", "--brokers", "1",
                                   "--binary", clusters.default_binary())
    assert (status, out) == (1, "")
    assert f"port {port}, for broker-1, is taken by process {os.getpid()}" in err
    assert not folder.exists() or running(folder) == []


def test_a_broker_that_cannot_start_is_shown_with_its_log_and_nothing_is_left_running(folder):
    status, _, err = up(folder, "--brokers", "2", "--config", "num.network.threads=none")
    assert status == 1
    assert "broker-1 ended while starting" in err and "num.network.threads" in err
    assert running(folder) == []


def test_what_is_not_the_clusters_stays_in_its_folder(folder):
    """All of a folder went that somebody had named who had other things in it."""
    folder.mkdir()
    (folder / "letters").write_text("mine")
    clusters.Cluster(str(folder), 1, port=9092, zookeeper_port=2181)._save()  # pylint: disable=protected-access
    (folder / "broker-1").mkdir()
    (folder / "broker-1" / "log").write_text("its")
    assert command(folder, "down", "--wipe") == (0, (
        f"stopped: nothing was running\nremoved: {folder}, but for what is not the cluster's: letters\n"), "")
    assert [one.name for one in folder.iterdir()] == ["letters"]


def test_a_start_has_as_long_as_was_asked_for(folder, tmp_path):
    """--wait was for up alone, and nobody said so."""
    binary = tmp_path / "barnabasd"
    os.symlink(clusters.default_binary(), binary)
    assert command(folder, "up", "--port", "0", "--zookeeper-port", "0", "--brokers", "1", "--binary", str(binary))[0] == 0
    assert command(folder, "kill", "1")[0] == 0
    binary.unlink()
    binary.write_text("#!/bin/sh\nexec sleep 1000\n")
    binary.chmod(0o755)
    status, out, err = command(folder, "start", "1", "--wait", "0.5")
    assert (status, out) == (1, "") and "not within 0.5 s: broker-1 serving" in err
    assert command(folder, "down")[0] == 0


@pytest.mark.parametrize("words, option", [
    (["start", "1", "--config", "log.segment.bytes=1000"], "--config"), (["kill", "1", "--brokers", "2"], "--brokers"),
    (["status", "--zookeeper-port", "2181"], "--zookeeper-port"), (["start", "1", "--binary", "x"], "--binary")])
def test_an_option_that_would_change_nothing_is_no_success(tmp_path, words, option):
    """`start 1 --config KEY=VALUE` started the broker as it was before."""
    status, out, err = command(tmp_path, *words)
    assert (status, out) == (2, "") and f"{option} is for up" in err


@pytest.mark.parametrize("words", [[], ["dance"], ["kill"], ["up", "7"], ["up", "--brokers", "0"],
                                   ["up", "--config", "x"], ["status", "--no-such-option"], ["up", "--port", "70000"],
                                   ["up", "--zookeeper-port", "-1"]])
def test_a_wrong_command_line_shows_the_right_ones(folder, words):
    status, out, err = command(folder, *words)
    assert (status, out) == (2, "")
    assert "usage: scripts/cluster up" in err


@pytest.mark.parametrize("words", [["status"], ["down"], ["kill", "1"], ["start", "1"]])
def test_where_there_is_no_cluster_it_says_so(tmp_path, words):
    status, out, err = command(tmp_path, *words)
    assert (status, out) == (1, "")
    assert err == f"error: there is no cluster in {tmp_path}\n"


@pytest.mark.parametrize("text", ["{", "[]", '{"config": {}}'])
def test_a_damaged_record_of_the_cluster_is_named(tmp_path, text):
    (tmp_path / "cluster.json").write_text(text)
    status, out, err = command(tmp_path, "status")
    assert (status, out) == (1, "")
    assert err.startswith(f"error: {tmp_path}/cluster.json is not what a cluster is kept as (")


def test_a_folder_that_cannot_be_made_is_named(needs_cluster, tmp_path):
    (tmp_path / "file").write_text("")
    status, _, err = up(tmp_path / "file" / "cluster", "--brokers", "1")
    assert status == 1 and err == f"error: the cluster's folder cannot be made: {tmp_path}/file/cluster: Not a directory\n"


def test_a_file_in_the_way_is_named_and_nothing_is_left_running(folder):
    """It was a trace of calls, as a full disk and a folder of somebody else's were."""
    folder.mkdir()
    (folder / "broker-1").write_text("")
    status, out, err = up(folder, "--brokers", "1")
    assert (status, out) == (1, "") and err.startswith(f"error: {folder}/broker-1")
    assert running(folder) == []


def test_a_broker_whose_program_has_gone_is_named(folder, tmp_path):
    binary = tmp_path / "barnabasd"
    os.symlink(clusters.default_binary(), binary)
    assert command(folder, "up", "--port", "0", "--zookeeper-port", "0", "--brokers", "1", "--binary", str(binary))[0] == 0
    assert command(folder, "kill", "1")[0] == 0
    binary.unlink()
    assert command(folder, "start", "1") == (
        1, "", f"error: broker-1 cannot be started: {binary}: No such file or directory\n")
    assert command(folder, "down")[0] == 0


def test_a_process_that_is_not_there_is_named_with_those_that_are(folder):
    assert up(folder, "--brokers", "1")[0] == 0
    status, _, err = command(folder, "kill", "9")
    assert status == 1
    assert "there is no broker-9" in err and "zookeeper-1, broker-1" in err
    status, _, err = command(folder, "start", "1")
    assert status == 1 and "broker-1 is running already" in err
    assert command(folder, "down")[0] == 0
