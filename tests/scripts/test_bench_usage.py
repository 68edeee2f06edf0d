"""What scripts/bench counts of a process, compared with what that process knows of itself; and its gate."""
import os
import subprocess
import sys
import types

import pytest
import wire

sys.path.insert(0, os.path.join(wire.ROOT, "tests", "bench"))
import machine  # noqa: E402  pylint: disable=wrong-import-position
import usage  # noqa: E402  pylint: disable=wrong-import-position

WORK = """
import os, sys, threading, time
def burn(seconds):
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass
print("ready", flush=True)
for line in sys.stdin:
    if line == "calls\\n":
        for _ in range(5000):
            os.getppid()
        print(0, flush=True)
        continue
    begin = time.process_time()
    thread = threading.Thread(target=burn, args=(0.15,))  # it has ended before anybody looks
    thread.start()
    thread.join()
    burn(0.05)
    with open(sys.argv[1], "wb") as file:
        file.write(bytes(1 << 20))
    print(time.process_time() - begin, flush=True)
"""


class Worker:
    """A process with threads that end, a file that it writes, and a known number of system calls."""

    def __init__(self, path):
        self.process = subprocess.Popen([sys.executable, "-c", WORK, str(path)], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True, bufsize=1)
        self.pids = [self.process.pid]
        assert self.process.stdout.readline() == "ready\n"

    def work(self, what="work"):
        """The processor time of it, in its own words."""
        self.process.stdin.write(what + "\n")
        return float(self.process.stdout.readline())

    def close(self):
        self.process.communicate()


@pytest.fixture
def worker(tmp_path):
    one = Worker(tmp_path / "file")
    yield one
    one.close()


def test_a_window_has_what_the_process_used(worker):
    with usage.Window(worker) as window:
        used = worker.work()
        report = window.finish({})
    assert report["cpu_s"] == pytest.approx(used, abs=0.02)
    assert report["switches"] >= 1 and report["loaded_mb"] >= report["loaded_pss_mb"] > 1
    # 0: a file system in memory. Twice: somebody had it synced while it was being written
    assert report["disk_bytes"] == 0 or 1 << 20 <= report["disk_bytes"] < 5 << 19
    assert "syscalls" not in report


def test_what_the_kernel_does_not_say_is_not_nothing(worker, monkeypatch):
    """Bytes to disk were 0 where /proc/PID/io could not be read, and so was a ratio of them."""
    monkeypatch.setattr(machine, "disk_bytes", lambda pid: None)
    with usage.Window(worker) as window:
        report = window.finish({})
    assert "disk_bytes" not in report and "switches" in report


def test_a_thread_of_the_kernel_that_has_ended_takes_nothing_away(monkeypatch):
    """Its whole life was subtracted: the kernel had used -0.1 s."""
    monkeypatch.setattr(usage, "kernel_threads", lambda: {"7": 3.5, "9": 0.25})
    assert usage.kernel_seconds({"7": 3.0, "8": 100.0}) == 0.75


def test_without_a_group_threads_that_have_ended_are_counted(worker, monkeypatch):
    """Those that there were at both ends were added up: where a JVM's ended meanwhile, what they had used before was
    taken away from it."""
    monkeypatch.setattr(usage, "FOLDER", None)
    with usage.Window(worker) as window:
        used = worker.work()
        assert window.finish({})["cpu_s"] == pytest.approx(used, abs=0.02)


def test_a_start_is_charged_for_threads_that_have_ended(worker):
    """What recovered the logs of a broker had ended when it served: its start seemed to cost nothing."""
    before = machine.cpu_seconds(worker.process.pid)
    used = worker.work()
    assert machine.cpu_seconds(worker.process.pid) - before == pytest.approx(used, abs=0.02)


def test_a_thread_that_ends_while_switches_are_counted_is_left_out(monkeypatch):
    """It ended scripts/bench, with all workloads that were still to come."""
    listed = os.listdir
    monkeypatch.setattr(machine.os, "listdir", lambda path: [*listed(path), "999999999"])
    assert machine.context_switches(os.getpid()) > 0


def test_the_clock_of_a_process_that_has_gone_is_told_as_such():
    done = subprocess.Popen(["true"])
    done.wait()
    with pytest.raises(ProcessLookupError):
        machine.cpu_seconds(done.pid)


def test_groups_do_not_stay(worker):
    if usage.FOLDER is None:
        pytest.skip(f"processor time comes from {usage.SOURCE}")
    with usage.Window(worker):
        made = [name for name in os.listdir(usage.FOLDER) if name.startswith(f"barnabas-bench-{os.getpid()}-")]
        assert len(made) == 1
    assert not os.path.exists(os.path.join(usage.FOLDER, made[0]))


def test_system_calls_are_counted(worker, monkeypatch):
    problem = usage.why_no_calls()
    if problem:
        pytest.skip(problem)
    monkeypatch.setattr(usage, "counting", True)
    with usage.Window(worker) as window:
        worker.work("calls")
        assert 5000 < window.finish({})["syscalls"] < 5100


def test_without_perf_the_reason_is_given(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert usage.why_no_calls() == "no perf (package linux-perf)"


# ------------------------------------------------------------------ the gate, on a clock of its own


@pytest.fixture
def machine_load(monkeypatch):
    """machine_load(share, share, ...): how busy all processors are in one window after the other."""
    clock = types.SimpleNamespace(now=0.0, busy=0.0, shares=[])

    def sleep(seconds):
        share = clock.shares.pop(0) if len(clock.shares) > 1 else clock.shares[0]
        clock.now += seconds
        clock.busy += share * seconds * os.cpu_count()

    monkeypatch.setattr(usage, "time", types.SimpleNamespace(monotonic=lambda: clock.now, sleep=sleep))
    monkeypatch.setattr(usage, "busy_seconds", lambda: clock.busy)
    return clock.shares.extend


def test_the_gate_opens_when_the_machine_becomes_idle(machine_load):
    machine_load([0.9, 0.5, 0.9, 0.01])
    gate = usage.Gate(10)
    assert gate.wait() and gate.left_s == 9 and gate.timeouts == 0


def test_the_gate_opens_when_patience_ends_and_counts_that(machine_load):
    machine_load([0.9])
    gate = usage.Gate(5, each_s=3)
    assert [gate.wait() for _ in range(4)] == [False] * 4
    assert gate.timeouts == 4 and gate.left_s == 0


def test_memory_is_touched_and_given_back():
    before = machine.resident_mb(os.getpid())
    assert machine.prewarm(30) == pytest.approx(30, abs=0.1)
    assert machine.resident_mb(os.getpid()) < before + 15
