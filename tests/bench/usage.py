"""What a peer's processes used of the machine in a window of time, and who else was at work meanwhile.

    with usage.Window(peer) as window:   # peer.pids; peer.cluster.zookeepers, where it has a ZooKeeper
        ... the load ...
        window.finish(report)            # adds to a run's report:

    cpu_s             user and system, all threads of all processes of the peer
    switches          context switches
    page_faults       of memory that it did not have, or had given back
    disk_bytes        bytes that it made the kernel write to disk, at once or later; not where the kernel does not say
    loaded_mb, loaded_pss_mb     resident at the end; Pss shares out what several processes have in common
    zookeeper_cpu_s   of its ZooKeeper, where it has one
    kernel_cpu_s      of the kernel's threads, which write the page cache out, for whomever
    foreign           the share of the machine that was used by anybody else, stolen time included
    syscalls          system calls, in a run that counts them (see `counting`), and in no other: counting costs

Processor time comes from a cpuacct group where there is cgroup v1 and we may make one: it counts what processes start,
too. Elsewhere it comes from the processes' own clocks. SOURCE says which.
"""
import os
import shutil
import signal
import subprocess
import tempfile
import time

import machine

TICK_S = 1.0 / os.sysconf("SC_CLK_TCK")
FOREIGN_MAX = 0.15  # more, and others took part in the measuring
FOREIGN_WINDOW_S = 0.5  # of a shorter one, ticks cannot say
KERNEL_THREAD = 0x00200000  # PF_KTHREAD
PERF_S = 10


# ------------------------------------------------------------------ a group for processor time


def cpuacct_folder():
    """Where a group can be made: beside the one that we are in, or None."""
    try:
        with open("/proc/self/mounts", encoding="ascii") as mounts:
            place = next(words[1] for words in map(str.split, mounts)
                         if words[2] == "cgroup" and "cpuacct" in words[3].split(","))
        with open("/proc/self/cgroup", encoding="ascii") as groups:
            own = next(line.split(":", 2)[2].strip() for line in groups if "cpuacct" in line.split(":", 2)[1].split(","))
    except (OSError, StopIteration):
        return None
    folder = os.path.join(place, own.lstrip("/"))
    folder = folder if os.path.isdir(folder) else place
    return folder if os.access(folder, os.W_OK) and os.access(os.path.join(folder, "cgroup.procs"), os.W_OK) else None


class Group:
    """A cpuacct group with these processes in it, until close()."""

    made = 0

    def __init__(self, folder, pids):
        Group.made += 1
        self.folder, self.path = folder, os.path.join(folder, f"barnabas-bench-{os.getpid()}-{Group.made}")
        os.mkdir(self.path)
        self.pids = list(pids)
        self._move(self.path)

    def _move(self, to):
        for pid in self.pids:
            try:
                with open(os.path.join(to, "cgroup.procs"), "w", encoding="ascii") as procs:
                    procs.write(str(pid))
            except ProcessLookupError:
                pass  # it has ended

    def seconds(self):
        with open(os.path.join(self.path, "cpuacct.usage"), encoding="ascii") as usage:
            return int(usage.read()) / 1e9

    def close(self):
        if os.path.isdir(self.path):
            self._move(self.folder)
            os.rmdir(self.path)


class Clocks:
    """The same by the processes' clocks, where there is no group to be had."""

    def __init__(self, pids):
        self.pids = list(pids)
        self.before = sum(map(machine.cpu_seconds, self.pids))

    def seconds(self):
        return sum(map(machine.cpu_seconds, self.pids)) - self.before

    def close(self):
        pass


def remove_stale(folder):
    """Groups of benches that were killed, which could not remove them."""
    for name in os.listdir(folder):
        words = name.split("-")
        if name.startswith("barnabas-bench-") and not os.path.exists(f"/proc/{words[2]}"):
            try:
                os.rmdir(os.path.join(folder, name))
            except OSError:
                pass  # somebody is in it


def find_source():
    """(folder or None, what to say of it)"""
    folder = cpuacct_folder()
    try:
        if folder:
            remove_stale(folder)
            Group(folder, []).close()
            return folder, "a cpuacct group"
    except OSError:
        pass
    return None, "the processes' clocks (no cpuacct group can be made here)"


FOLDER, SOURCE = find_source()


def processor_time(pids):
    return Group(FOLDER, pids) if FOLDER else Clocks(pids)


# ------------------------------------------------------------------ who else is at work


def busy_seconds():
    """Of all processors together since boot, with what the host took away."""
    with open("/proc/stat", encoding="ascii") as file:
        user, nice, system, _, _, irq, softirq, steal = map(int, file.readline().split()[1:9])
    return (user + nice + system + irq + softirq + steal) * TICK_S


def kernel_threads():
    """Of each of the kernel's own threads, by its id: the seconds since it began."""
    threads = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
                if int(file.read().rpartition(")")[2].split()[6]) & KERNEL_THREAD:
                    threads[pid] = machine.cpu_seconds(int(pid))
        except (OSError, IndexError):
            pass  # gone
    return threads


def kernel_seconds(before):
    """Of the kernel's threads, since kernel_threads() said `before`. Workers come and go: what one that is not there any
    more had used is not known, and is not to be taken away."""
    return sum(max(0.0, seconds - before.get(pid, 0.0)) for pid, seconds in kernel_threads().items())


def own_seconds():
    """Of this process, and of those that it started and waited for: the load generators."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


class Gate:
    """Lets nobody begin while the machine is busy with something else, as long as its patience lasts."""

    BUSY, WINDOW_S = 0.10, 0.25

    def __init__(self, patience_s, each_s=15.0):
        self.left_s, self.each_s, self.timeouts = patience_s, each_s, 0

    def wait(self):
        """True when there was a window with hardly any work in it; False when patience ended."""
        begin = time.monotonic()
        while True:
            then, before = time.monotonic(), busy_seconds()
            if then - begin >= min(self.left_s, self.each_s):
                break
            time.sleep(self.WINDOW_S)
            now = time.monotonic()
            if busy_seconds() - before < self.BUSY * (now - then) * os.cpu_count() + TICK_S:
                self.left_s -= now - begin
                return True
        self.left_s -= then - begin
        self.timeouts += 1
        return False


# ------------------------------------------------------------------ system calls


class Calls:
    """perf counting the system calls of processes. Its slowness must not be part of any other figure."""

    def __init__(self, pids):
        self.file = tempfile.NamedTemporaryFile(prefix="barnabas-perf-", mode="r")
        commands, answers = os.pipe(), os.pipe()
        self.process = subprocess.Popen(
            ["perf", "stat", "-x,", "-o", self.file.name, "-e", "raw_syscalls:sys_enter", "-D", "-1",
             "--control", f"fd:{commands[0]},{answers[1]}", "-p", ",".join(map(str, pids))],
            pass_fds=(commands[0], answers[1]), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE, text=True, preexec_fn=machine.end_with_parent)
        os.close(commands[0])
        os.close(answers[1])
        os.write(commands[1], b"enable\n")
        self.ready = os.read(answers[0], 16).startswith(b"ack")  # at once, or the end when perf may not
        self.pipes = commands[1], answers[0]

    def finish(self):
        """How many, or None where perf may not."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        self.process.communicate(timeout=PERF_S)
        for pipe in self.pipes:
            os.close(pipe)
        with self.file:
            counts = [line.split(",")[0] for line in self.file if "raw_syscalls" in line]
        return int(counts[0]) if counts and counts[0].isdigit() else None


counting = False  # runner.py turns it on for a run of its own
calls_wanted = True  # scripts/bench turns it off where perf may not


def why_no_calls():
    """Why system calls cannot be counted here, or None."""
    if shutil.which("perf") is None:
        return "no perf (package linux-perf)"
    calls = Calls([os.getpid()])
    os.getppid()
    return None if calls.finish() else "perf may not count them here (raw_syscalls:sys_enter)"


# ------------------------------------------------------------------ the window


def switches(pids):
    return sum(map(machine.context_switches, pids))


def page_faults(pids):
    return sum(map(machine.page_faults, pids))


def disk_bytes(pids):
    each = [machine.disk_bytes(pid) for pid in pids]
    return None if None in each else sum(each)


def seconds_of(pid):
    """Of one of ours, which may have ended and been waited for: then own_seconds() has it."""
    try:
        return machine.cpu_seconds(pid)
    except ProcessLookupError:
        return 0.0


class Window:
    """`also`: processes that belong to the measuring and were there before it, such as the load's."""

    def __init__(self, peer, also=()):
        self.pids, self.also = list(peer.pids), list(also)
        self.zookeepers = [z.pid for z in getattr(getattr(peer, "cluster", None), "zookeepers", []) if z.pid]
        self.calls = Calls(self.pids) if counting else None
        self.before, self.kernel_before = self._look(), kernel_threads()
        self.cpu = processor_time(self.pids)
        self.began = time.monotonic()

    def _look(self):
        return {"switches": switches(self.pids), "page_faults": page_faults(self.pids),
                "disk_bytes": disk_bytes(self.pids), "busy": busy_seconds(),
                "own": own_seconds() + sum(map(seconds_of, self.also)),
                "zookeeper_cpu_s": sum(map(machine.cpu_seconds, self.zookeepers))}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.cpu.close()

    def finish(self, report):
        report["cpu_s"] = self.cpu.seconds()
        took = time.monotonic() - self.began
        used = {key: value - self.before[key] for key, value in self._look().items()
                if None not in (value, self.before[key])}
        used["kernel_cpu_s"] = kernel_seconds(self.kernel_before)
        if self.calls:
            report["syscalls"] = self.calls.finish()
        ours = report["cpu_s"] + used["own"] + used["zookeeper_cpu_s"] + used["kernel_cpu_s"]
        if took >= FOREIGN_WINDOW_S:
            report["foreign"] = max(0.0, used["busy"] - ours) / (took * os.cpu_count())
        kept = ("switches", "page_faults", "disk_bytes", "kernel_cpu_s", *(["zookeeper_cpu_s"] if self.zookeepers else []))
        report.update({key: used[key] for key in kept if key in used})
        report["loaded_mb"] = sum(map(machine.resident_mb, self.pids))
        report["loaded_pss_mb"] = sum(map(machine.pss_mb, self.pids))
        return report
