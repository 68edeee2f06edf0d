"""scripts/quickstart, on the ports that everybody uses, in a network of the test's own; and what it says when it fails.

The packages are there already when tests run, and so is the build: what takes a while on a fresh machine is short.
"""
import os
import re
import socket
import stat
import subprocess

import cluster as clusters
import pytest
import wire

QUICKSTART = os.path.join(wire.ROOT, "scripts", "quickstart")
RELEASE = os.path.join(wire.ROOT, "build", "release", "barnabasd")
RUN_SECONDS = 800  # nothing takes so long
FAILOVER_MS = 60000  # the session's three seconds, and much room for a busy machine


@pytest.fixture
def folder(needs_cluster, tmp_path):
    if not os.access(RELEASE, os.X_OK):
        pytest.skip(f"no {RELEASE} (scripts/test builds it)")
    yield tmp_path / "cluster"
    clusters.kill_all(str(tmp_path / "cluster"))


def quickstart(network, folder, *words, path=None):
    """(status, standard output, standard error)"""
    env = {**os.environ, "BARNABAS_CLUSTER": str(folder)}
    if path is not None:
        env["PATH"] = f"{path}:{env['PATH']}"
    done = subprocess.run(network.command([QUICKSTART, *words]), capture_output=True, text=True, env=env, timeout=RUN_SECONDS,
                          check=False)
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout, done.stderr


def program(folder, name, text):
    """A program of this name that comes first on the path."""
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return folder


def running(folder):
    if not (folder / "cluster.json").exists():
        return []
    return [process.name for process in clusters.Cluster.open(str(folder)).processes if process.alive()]


def places(out, word):
    return sorted(re.findall(rf"^ +{word} (partition \d+ offset \d+): {{", out, re.MULTILINE))


def assert_a_leader_died_in_the_middle(out):
    """Half of the messages, then the kill and its successor, in plain words, then the others."""
    died = re.search(r"^   > broker (\d), which leads partition 0, is killed now: kill -9$", out, re.MULTILINE)
    next_one = re.search(r"^   > broker (\d) leads partition 0 now, (\d+) ms later$", out, re.MULTILINE)
    assert died and next_one and died[1] != next_one[1], out
    assert 5 <= len(places(out[:next_one.start()], "produced")) < 10, out
    assert int(next_one[2]) < FAILOVER_MS
    assert f"\n6. broker {died[1]} again\n   it has caught up and is in sync again" in out
    assert " 0 with replicas that are not in sync" in out


def test_ten_messages_survive_their_leader_and_the_cluster_stays_and_a_second_run_is_quick(network, folder):
    status, out, err = quickstart(network, folder)
    assert (status, err) == (0, "")
    assert len(places(out, "produced")) == 10
    assert places(out, "consumed") == places(out, "produced")
    assert_a_leader_died_in_the_middle(out)
    assert running(folder) == ["zookeeper-1", "broker-1", "broker-2", "broker-3"]
    for port in (9092, 9093, 9094):
        assert f"127.0.0.1:{port}" in out
    assert len(re.findall(r"^  scripts/", out, re.MULTILINE)) == 3

    status, out, err = quickstart(network, folder)
    assert (status, err) == (0, "")
    assert "1. packages\n   nothing is missing\n" in out
    assert len(places(out, "consumed")) == 10
    assert_a_leader_died_in_the_middle(out)

    status, out, _ = quickstart(network, folder, "--down")
    assert (status, out) == (0, "stopped: zookeeper-1, broker-1, broker-2, broker-3\n")
    assert running(folder) == []


@pytest.mark.parametrize("option, whose", [("--port", "broker-1"), ("--zookeeper-port", "zookeeper-1")])
def test_a_taken_port_is_named_with_what_to_do(folder, option, whose):
    class NoNetwork:
        @staticmethod
        def command(words):
            return words

    with socket.socket() as taken:
        taken.bind((clusters.HOST, 0))
        taken.listen()
        port = taken.getsockname()[1]
        status, _, err = quickstart(NoNetwork, folder, "--no-deps", option, str(port))
    assert status == 1
    assert f"port {port}, for {whose}, is taken by process {os.getpid()}" in err
    assert "choose other ports with --port and --zookeeper-port" in err
    assert running(folder) == []


def test_a_disk_without_room_is_named_with_what_to_do(network, folder):
    folder.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8k", "barnabas-test", str(folder)], capture_output=True,
                          text=True, check=False)
    if made.returncode != 0:
        pytest.skip(f"cannot mount a tmpfs: {made.stderr.strip()}")
    try:
        status, _, err = quickstart(network, folder, "--no-deps")
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)
    assert status == 1 and f"error: {folder}" in err and "No space left on device" in err
    assert "make room on that disk, or choose a folder on another one with --folder" in err
    assert "Nothing is left running." in err


def test_a_package_that_cannot_be_had_is_named(network, folder, tmp_path):
    path = program(tmp_path / "bin", "dpkg-query", 'for last; do :; done; case "$*" in *zookeeper*) exit 1;; esac\n'
                                                   "echo 'install ok installed'\n")
    program(path, "apt-get", "echo 'E: Unable to locate package zookeeper'; exit 100\n")
    status, _, err = quickstart(network, folder, path=path)
    assert status == 1
    assert "E: Unable to locate package zookeeper" in err
    assert re.search(r"could not install: .*zookeeper", err)
    assert "sources.list" in err  # what to do
    assert running(folder) == []


def test_packages_that_are_there_are_not_installed_again(network, folder, tmp_path):
    path = program(tmp_path / "bin", "apt-get", f"echo \"$*\" >{tmp_path}/asked\n")
    status, out, err = quickstart(network, folder, path=path)
    assert (status, err) == (0, "")
    assert "nothing is missing" in out
    assert not (tmp_path / "asked").exists()
    assert quickstart(network, folder, "--down")[0] == 0


@pytest.mark.parametrize("java", ["echo no heap for you >&2; exit 3", "exec sleep 600"])
def test_a_zookeeper_that_does_not_come_up_is_named_with_its_log_and_what_to_do(network, folder, tmp_path, java):
    path = program(tmp_path / "bin", "java", java + "\n")
    status, _, err = quickstart(network, folder, "--wait", "1", path=path)
    assert status == 1
    assert "zookeeper-1" in err and f"{folder}/zookeeper-1/log" in err
    assert "java -version" in err
    assert "Nothing is left running." in err
    assert running(folder) == []
