"""The machine that is measured on: its network, its memory, what a process used of it."""
import ctypes
import mmap
import os
import signal
import subprocess
import sys
import time

NAMESPACE_VARIABLE = "BARNABAS_BENCH_NAMESPACE"
MB = 1e6
BUSY_LOAD = 0.5  # beyond it, others take part in the measuring
_libc = ctypes.CDLL(None, use_errno=True)


def enter_namespace():
    """Begin again inside a network namespace of our own, where root may. What there is to say about it."""
    if os.environ.get(NAMESPACE_VARIABLE):
        return "a network namespace of its own"
    if os.geteuid() == 0 and subprocess.run(["unshare", "-n", "true"], stderr=subprocess.DEVNULL, check=False).returncode == 0:
        os.environ[NAMESPACE_VARIABLE] = "1"
        os.execvp("unshare", ["unshare", "-n", "sh", "-c",
                              "ip link set lo up && sysctl -qw net.ipv4.tcp_congestion_control=reno; exec \"$@\"",
                              "bench", sys.executable, os.path.abspath(sys.argv[0]), *sys.argv[1:]])
    return "the machine's own network (no root, or no unshare)"


def congestion_control():
    with open("/proc/sys/net/ipv4/tcp_congestion_control", encoding="ascii") as file:
        return file.read().strip()


def describe(network):
    """What a reader of figures must know of where they were made."""
    return {"cpus": os.cpu_count(), "kernel": os.uname().release, "load": round(os.getloadavg()[0], 2),
            "network": network, "congestion_control": congestion_control()}


def prewarm(megabytes):
    """Touch memory and give it back, as much as the run will need, so that the host has backed it. MB done."""
    with open("/proc/meminfo", encoding="ascii") as file:
        free_kb = next(int(line.split()[1]) for line in file if line.startswith("MemAvailable"))
    size = int(min(megabytes * MB, free_kb * 1024 * 0.6))
    memory = mmap.mmap(-1, size)
    view = (ctypes.c_char * size).from_buffer(memory)
    ctypes.memset(ctypes.addressof(view), 1, size)
    del view
    memory.close()
    return size / MB


def sync_disk(folder):
    """Wait until all that was written to this folder's file system is on the disk."""
    place = os.open(folder, os.O_RDONLY)
    try:
        if _libc.syncfs(place) != 0:
            raise OSError(ctypes.get_errno(), "syncfs")
    finally:
        os.close(place)


CPUCLOCK_SCHED = 2  # the kind of clock, in the lowest bits of what clock_getcpuclockid(3) makes of a pid


def cpu_seconds(pid):
    """Of all threads that a process has or had, in nanosecond steps, by its own clock. To add up the threads that there
    are would take away what those had used that end meanwhile."""
    try:
        return time.clock_gettime(~pid << 3 | CPUCLOCK_SCHED)
    except OSError:
        raise ProcessLookupError(f"process {pid} has gone") from None


def context_switches(pid):
    """Of the threads that it has."""
    total = 0
    for task in os.listdir(f"/proc/{pid}/task"):
        try:
            with open(f"/proc/{pid}/task/{task}/status", encoding="ascii") as file:
                total += sum(int(line.split()[1]) for line in file if "ctxt_switches" in line)
        except (FileNotFoundError, ProcessLookupError):
            pass  # it has ended meanwhile, as those of a JVM do
    return total


def page_faults(pid):
    """That needed no disk: memory that it did not have, or had given back."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        return int(file.read().rpartition(")")[2].split()[7])


def resident_mb(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmRSS")) * 1024 / MB


def pss_mb(pid):
    """Resident memory, of what several processes share only this one's part."""
    try:
        with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
            return next(int(line.split()[1]) for line in file if line.startswith("Pss:")) * 1024 / MB
    except (OSError, StopIteration):
        return resident_mb(pid)  # an older kernel, or another user's


def open_files(pid):
    paths = []
    for fd in os.listdir(f"/proc/{pid}/fd"):
        try:
            paths.append(os.readlink(f"/proc/{pid}/fd/{fd}"))
        except FileNotFoundError:
            pass  # closed meanwhile
    return paths


def disk_bytes(pid):
    """That this process made the kernel write to disk, sooner or later: pages that it made dirty. None where the kernel
    does not say."""
    try:
        with open(f"/proc/{pid}/io", encoding="ascii") as file:
            return next(int(line.split()[1]) for line in file if line.startswith("write_bytes"))
    except (OSError, StopIteration):
        return None


FIRST_NICE = "-20"
first = False  # runner.py turns it on when --first is asked for and can be had


def put_first(pids):
    """Let the sessions of these processes run before all others, so that a busy machine disturbs less. Whether it was
    possible: for root, where the kernel shares processors out by session (autogroup)."""
    try:
        for pid in pids:
            with open(f"/proc/{pid}/autogroup", "w", encoding="ascii") as file:
                file.write(FIRST_NICE)
    except OSError:
        return False
    return True


def also_first(pid):
    """A process that has just been started in a session of its own, which begins as any other."""
    if first:
        put_first([pid])


REALTIME, REALTIME_ABOVE = 1, 2


def put_realtime(pids):
    """All threads of these processes, and what they start, run before everything that is not real-time. Whether it was
    possible."""
    try:
        for pid in pids:
            for task in os.listdir(f"/proc/{pid}/task"):
                os.sched_setscheduler(int(task), os.SCHED_FIFO, os.sched_param(REALTIME))
    except OSError:
        return False
    return True


PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36


def end_with_parent(signal_number=signal.SIGKILL):
    """In a child: end when its parent does, however that ends. As preexec_fn of what is started to measure with."""
    _libc.prctl(PR_SET_PDEATHSIG, int(signal_number), 0, 0, 0)


def adopt_orphans():
    """In a parent: children of children that have ended become its own, so that none is out of its sight."""
    _libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
