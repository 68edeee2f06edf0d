"""What scripts/quickstart echoes from several programs at once, and what it says when something fails in the middle."""
import argparse
import errno
import os
import signal
import subprocess
import sys

import cluster as clusters
import pytest
import quickstart
import wire

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

TALK = """
import sys, threading
sys.path.insert(0, "scripts/lib")
import quickstart
sys.setswitchinterval(1e-6)
def talk(word):
    for _ in range(2000):
        quickstart.say(word * 20)
threads = [threading.Thread(target=talk, args=(word,)) for word in ("consumed", "produced")]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""


def test_lines_of_two_programs_do_not_run_into_each_other():
    """A line that was consumed was taken for one that was not, because its end came after the next line's begin."""
    out = subprocess.run([sys.executable, "-c", TALK], cwd=ROOT, capture_output=True, text=True, check=True,
                         timeout=60).stdout
    assert sorted(set(out.split("\n"))) == ["", "consumed" * 20, "produced" * 20]
    assert out.count("\n") == 4000


@pytest.mark.parametrize("problem, told", [
    (wire.ConnectError("127.0.0.1:9092: Connection refused"), "error: 127.0.0.1:9092: Connection refused"),
    (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), "error: {}: No space left on device"),
    (PermissionError(errno.EACCES, os.strerror(errno.EACCES), "/there"), "error: /there: Permission denied"),
])
def test_what_fails_in_the_middle_is_told_and_the_cluster_is_ended(monkeypatch, capsys, tmp_path, problem, told):
    """A leader that did not answer was a trace of calls, and three brokers that nobody ended."""
    ended = []

    def fail(_):
        raise problem

    monkeypatch.setattr(quickstart, "quickstart", fail)
    monkeypatch.setattr(quickstart, "end_cluster", ended.append)
    monkeypatch.setattr(sys, "argv", ["quickstart", "--folder", str(tmp_path)])
    assert quickstart.main() == 1
    assert ended == [str(tmp_path)]
    assert capsys.readouterr().err == f"\n{told.format(tmp_path)}\nNothing is left running.\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_what_is_ended_from_outside_ends_the_cluster(monkeypatch, tmp_path, number):
    """Four processes stayed when it was ended in the middle, as by a CI job that takes too long."""
    ended = []
    handlers = {one: signal.getsignal(one) for one in (signal.SIGTERM, signal.SIGHUP)}
    monkeypatch.setattr(quickstart, "quickstart", lambda _: os.kill(os.getpid(), number))
    monkeypatch.setattr(quickstart, "end_cluster", ended.append)
    monkeypatch.setattr(sys, "argv", ["quickstart", "--folder", str(tmp_path)])
    try:
        assert (quickstart.main(), ended) == (128 + number, [str(tmp_path)])
    finally:
        for one, handler in handlers.items():
            signal.signal(one, handler)


def cluster_of(folder, brokers, port=9092):
    """The record of a cluster that was made here."""
    clusters.Cluster(str(folder), brokers, port=port, zookeeper_port=2181)._save()  # pylint: disable=protected-access


@pytest.mark.parametrize("there, asked", [(0, 3), (1, 3), (3, 3), (4, 4)])
def test_a_cluster_that_has_grown_stays_as_large(monkeypatch, tmp_path, there, asked):
    """After `scripts/cluster up --brokers 4`, which README.md shows, it said that a cluster cannot shrink, and ended it."""
    commands = []

    def run(command, **_):
        commands.append(command)
        cluster_of(tmp_path, asked)
        return subprocess.CompletedProcess(command, 0, "", "")

    if there:
        cluster_of(tmp_path, there)
    monkeypatch.setattr(quickstart.subprocess, "run", run)
    given = argparse.Namespace(folder=str(tmp_path), port=None, zookeeper_port=None, wait=None)
    assert len(quickstart.start_cluster(given).brokers) == asked
    command, = commands
    assert command[command.index("--brokers") + 1] == str(asked)


@pytest.mark.parametrize("asked, port, server", [(None, 9092, ""), (None, 19092, " --bootstrap-server 127.0.0.1:19092"),
                                                 (9092, 9092, ""), (0, 11111, " --bootstrap-server 127.0.0.1:11111")])
def test_what_to_try_next_names_the_broker_where_it_is_elsewhere(capsys, tmp_path, asked, port, server):
    """A second run goes on with the ports of the first; what it said to try next asked port 9092."""
    given = argparse.Namespace(folder=str(tmp_path), port=asked)
    quickstart.next_steps(given, f"127.0.0.1:{port},127.0.0.1:{port + 1}")
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith(("  scripts/topics", "  scripts/consumer"))]
    assert [line.endswith(server) and ("--bootstrap-server" in line) == bool(server) for line in lines] == [True, True]


def test_a_broker_that_comes_back_has_as_long_as_was_asked_for(monkeypatch):
    """--wait was for the first start only."""
    begun = []
    broker = argparse.Namespace(id=2)
    one = argparse.Namespace(start=lambda *words: begun.append(words), wait=lambda *_: None, brokers=[])
    monkeypatch.setattr(quickstart, "say", lambda *_: None)
    quickstart.mend(one, broker, 300)
    assert begun == [(2, 300)]
