"""Nothing that scripts/bench started outlives it, however it ends: by a signal, with its terminal, killed.

The work is done in a child. Its parent only waits: it passes signals on, so that the child ends in order, and then
kills whatever is left below it. Processes whose own parent is gone come to it, so that none is out of its sight.
When it is killed itself, the child is told by the kernel. It also owns the folder that the work is done in.
"""
import os
import shutil
import signal
import sys
import tempfile
import time

import machine

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
WATCHED = {*SIGNALS, signal.SIGCHLD}
ORDERLY_S = 20.0  # for the child to stop what it started; then everything is killed
PAUSE_S = 0.02


class Ended(BaseException):
    """Ended from outside. No Exception: nobody may take it for a failure of a workload."""


def _end(number, _frame):
    for one in SIGNALS:
        signal.signal(one, signal.SIG_IGN)  # the way out is not interrupted again
    raise Ended(number)


def descendants(pid):
    """Of a process: children, their children, and so on. Those that have ended are not counted."""
    children = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/stat", encoding="ascii", errors="replace") as file:
                words = file.read().rpartition(")")[2].split()
        except OSError:
            continue
        if words[0] not in "ZX":
            children.setdefault(int(words[1]), []).append(int(name))
    found, todo = [], [pid]
    while todo:
        below = children.get(todo.pop(), [])
        found += below
        todo += below
    return found


def _child(work, folder):
    """In a session of its own: a signal comes once, from the parent, and the load's share of the processors is that of
    a session, as each contestant's is."""
    os.setsid()
    machine.end_with_parent(signal.SIGTERM)
    for one in SIGNALS:
        signal.signal(one, _end)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, WATCHED)
    try:
        return work(folder)
    except Ended as ended:
        return 128 + ended.args[0]


def _reap(pid):
    """Bury whoever has ended; this child's exit status if it was among them."""
    status = None
    while True:
        try:
            done, how = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return status
        if done == 0:
            return status
        if done == pid:
            status = os.waitstatus_to_exitcode(how)


def _watch(pid):
    """The child's exit status. Once a signal came it has so long and no longer."""
    told, until = None, None
    while True:
        left = ORDERLY_S if until is None else until - time.monotonic()
        got = signal.sigtimedwait(WATCHED, left) if left > 0 else None
        if got is None:
            if told is not None:
                return 128 + told
        elif got.si_signo == signal.SIGCHLD:
            status = _reap(pid)
            if status is not None:
                return 128 - status if status < 0 else status
        elif told is None:
            told, until = got.si_signo, time.monotonic() + ORDERLY_S
            os.kill(pid, told)


def _kill_rest():
    while rest := descendants(os.getpid()):
        for pid in rest:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        time.sleep(PAUSE_S)


def run(work):
    """The status of work(folder), in a child and a new folder. The child returns from here, too: both then exit."""
    machine.adopt_orphans()
    folder = tempfile.mkdtemp(prefix="barnabas-bench-", dir=os.environ.get("TMPDIR"))
    sys.stdout.flush()
    signal.pthread_sigmask(signal.SIG_BLOCK, WATCHED)
    pid = os.fork()
    if pid == 0:
        return _child(work, folder)
    try:
        return _watch(pid)
    finally:
        _kill_rest()
        shutil.rmtree(folder, ignore_errors=True)
