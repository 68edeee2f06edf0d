"""What scripts/lib/cluster.py promises to every other test: ports are kept, failures speak, nothing is left behind."""
import os
import re
import signal
import socket
import subprocess
import sys

import cluster as clusters
import pytest
import wire

OWNER = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored, where all of this runs in the background
sys.path.insert(0, sys.argv[1])
import cluster
with cluster.Cluster(sys.argv[2], brokers=1) as one:
    print("up", flush=True)
    if sys.argv[3] == "fail":
        raise RuntimeError("as told")
    time.sleep(600)
"""


def owner(folder, how):
    """A process that owns a cluster in this folder."""
    lib = os.path.join(wire.ROOT, "scripts", "lib")
    process = subprocess.Popen([sys.executable, "-c", OWNER, lib, str(folder), how], stdout=subprocess.PIPE, text=True,
                               stderr=subprocess.PIPE)
    assert process.stdout.readline() == "up\n", process.stderr.read()
    return process


def running(folder):
    opened = clusters.Cluster.open(str(folder))
    return [process.name for process in opened.processes if process.alive()]


@pytest.mark.parametrize("signal_number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_when_its_owner_is_killed_the_cluster_goes_with_it(needs_cluster, tmp_path, signal_number):
    process = owner(tmp_path, "wait")
    assert running(tmp_path) == ["zookeeper-1", "broker-1"]
    process.send_signal(signal_number)
    process.communicate(timeout=300)
    clusters.wait_until(lambda: not running(tmp_path), "the keeper ends the cluster")


def test_an_exception_ends_the_cluster(needs_cluster, tmp_path):
    process = owner(tmp_path, "fail")
    assert "as told" in process.communicate(timeout=300)[1]
    assert running(tmp_path) == []


def test_a_start_that_fails_names_the_process_shows_its_log_and_leaves_nothing(needs_cluster, tmp_path):
    with pytest.raises(clusters.ClusterError) as problem:
        with clusters.Cluster(str(tmp_path), brokers=2, broker_config={2: {"log.segment.bytes": "few"}}):
            pass
    assert "broker-2 ended while starting (status 1)" in str(problem.value)
    assert "log.segment.bytes" in str(problem.value)
    assert running(tmp_path) == []


def test_a_killed_broker_keeps_its_port_and_its_data(cluster, topic):
    one = cluster(brokers=2)
    one.metadata()
    before = one.broker(2).port
    one.kill(2)
    with pytest.raises(OSError), socket.socket() as stranger:
        stranger.bind((clusters.HOST, before))
    one.start(2)
    assert one.broker(2).port == before
    one.wait_all_known()


def test_a_stopped_broker_ends_in_order_and_one_that_hangs_is_let_go_on_first(cluster):
    one = cluster(brokers=2)
    one.kill(1, signal.SIGSTOP)
    one.stop(1)
    one.stop(2)
    assert [broker.status for broker in one.brokers] == [0, 0]


def test_another_process_can_take_over_a_cluster_that_was_detached(cluster):
    one = cluster(brokers=1)
    other = clusters.Cluster.open(one.folder)
    assert other.bootstrap == one.bootstrap
    other.down()
    assert [process.name for process in one.processes if process.alive()] == []


def test_a_pid_that_now_belongs_to_a_stranger_is_left_alone(tmp_path):
    stranger = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    (tmp_path / "broker-1").mkdir()
    (tmp_path / "broker-1" / "pid").write_text(f"{stranger.pid} 0\n")  # it began later
    clusters.kill_all(str(tmp_path))
    stranger.communicate(b"\n", timeout=300)
    assert stranger.returncode == 0


def formats(name):
    """What a C file prints before it aborts, each up to what it fills in."""
    with open(os.path.join(clusters.wire.ROOT, "common", "base", name), encoding="utf-8") as file:
        return re.findall(r'fprintf\(stderr, "([^%"]+)', file.read())


@pytest.mark.parametrize("text, number, told", [
    *[(text, 6, [text, "ended by signal 6"]) for name in ("must.c", "mem.c") for text in formats(name)],
    ("==1==ERROR: AddressSanitizer: heap-use-after-free", 0, ["==1==ERROR: AddressSanitizer: heap-use-after-free"]),
    ("a.c:1:2: runtime error: overflow", 0, ["a.c:1:2: runtime error: overflow"]),
    ("", 11, ["ended by signal 11"]), ("", 9, []), ("", 15, []), ("INFO all is well", 0, [])])
def test_a_broker_that_has_crashed_is_reported_also_when_it_was_started_again(tmp_path, text, number, told):
    """An assertion that failed was looked for under words that nobody prints. Where a fault of tests/faults restarts a
    broker whether it runs or not, it went unnoticed, and so did a crash that says nothing."""
    (tmp_path / "broker-1").mkdir()
    one = clusters.Cluster(str(tmp_path), 1, port=9092)
    broker = one.broker(1)
    broker.spawn(["bash", "-c", 'printf "%s" "$1"; [ "$2" = 0 ] || kill -"$2" $$', "bash", text, str(number)])
    broker.wait_gone()
    assert [line.strip() for line in one.reports()] == [f"broker-1: {line}".strip() for line in told]
    broker.spawn(["true"])
    broker.wait_gone()
    assert [line.strip() for line in one.reports()] == [f"broker-1: {line}".strip() for line in told]
    one.close()


def test_a_process_whose_first_thread_has_ended_still_runs(tmp_path):
    """A killed broker was taken for gone while its other threads still held its lock, and could not be started."""
    (tmp_path / "broker-1").mkdir()
    one = clusters.Process("broker-1", str(tmp_path))
    one.spawn([sys.executable, "-c", "import ctypes, threading, time; threading.Thread(target=time.sleep, args=[600])"
                                     ".start(); ctypes.CDLL(None).pthread_exit(None)"])

    def first_thread_has_ended():
        with open(f"/proc/{one.child.pid}/stat", encoding="ascii") as stat:
            return stat.read().rpartition(")")[2].split()[0] == "Z"

    clusters.wait_until(first_thread_has_ended, "the first thread's end")
    assert one.alive()
    one.kill()
    assert not one.alive()


def test_a_condition_that_never_comes_true_is_named_with_the_logs(cluster):
    one = cluster(brokers=1)
    with pytest.raises(clusters.ClusterError, match="not within 0.1 s: the impossible") as problem:
        one.wait(lambda: False, "the impossible", seconds=0.1)
    assert one.broker(1).log_path in str(problem.value)
