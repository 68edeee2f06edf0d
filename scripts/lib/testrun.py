"""Runs every test program, several at a time, and counts: what scripts/test does once the build is done.

    testrun.py BUILD [WORD...]      only the jobs whose names contain one of the words

A job is one program: a Criterion program or another test that ctest knows in BUILD, pytest over one file of
tests/, or a check of the tree. Its output goes to BUILD/test-logs/NAME.log
(or to the folder $BARNABAS_TEST_LOGS). How it is counted is read from what it
writes: Criterion's last line, pytest's junit file; any other program is one test, and status 77 skips it.

A job that takes too long is ended, with all its children, and is a failure that says so. So is one that leaves
processes behind: every process of a job has a mark in its environment, and is looked for after the job's end.
The last line reads "N passed, M failed, K skipped"; the status is 0 only when something ran and nothing failed.
"""
import concurrent.futures
import glob
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import xml.etree.ElementTree

import wire

PYTHON = "/usr/bin/python3"  # Debian's: the one that Debian's python3-* packages are for
# All of these only end what hangs: they are far beyond what anything takes on a machine that is slow and busy.
PYTEST_SECONDS, CTEST_SECONDS, CHECK_SECONDS, DEPLOY_SECONDS = 3600, 1800, 3600, 3600
LEFT_BEHIND_SECONDS = 60.0  # a keeper (see cluster.py) may still be at work for a moment
GONE_SECONDS = 60.0  # a killed process that is not gone by then never will be
TAIL_LINES = 60
MARK = "BARNABAS_TEST_JOB"
CRITERION_COUNTS = re.compile(r"Tested: (\d+) \| Passing: (\d+) \| Failing: (\d+) \| Crashing: (\d+)")
CRITERION_SKIP = re.compile(r"^\[SKIP\] (\S+?)(?:: (.*))?$", re.MULTILINE)
COLOURS = re.compile(r"\x1b\[[0-9;]*m")
STARTING = threading.RLock()  # held while a process is made; by whoever ends them all, for good


class Job:
    """One program. count() looks at what it left, once it is over."""

    def __init__(self, name, command, seconds, folder):
        self.name, self.command, self.seconds, self.folder = name, command, seconds, folder
        self.log = None
        self.passed = self.failed = 0
        self.skipped = []  # (test, reason)
        self.problems = []  # texts for people
        self.notes = []  # lines to show also when it passes
        self.took_seconds = 0.0

    def text(self):
        with open(self.log, encoding="utf-8", errors="replace") as log:
            return COLOURS.sub("", log.read())

    def fail(self, problem):
        self.problems.append(problem)
        self.failed = max(self.failed, 1)

    def count(self, status):
        if status == 0:
            self.passed = 1
        else:
            self.fail(f"ended with status {status}")


class CheckJob(Job):
    """One test. What it prints is shown also when it passes: sizes, times."""
    SKIPPED = 77

    def count(self, status):
        if status == self.SKIPPED:
            self.skipped = [(self.name, (self.text().strip().splitlines() or [""])[-1])]
        else:
            super().count(status)
            self.notes = [] if self.failed else self.text().splitlines()


class CriterionJob(Job):
    def count(self, status):
        found = CRITERION_COUNTS.findall(self.text())
        if not found:
            return self.fail(f"ended with status {status} and did not say how many tests passed")
        _, self.passed, failing, crashing = map(int, found[-1])
        self.failed = failing + crashing
        self.skipped = CRITERION_SKIP.findall(self.text())
        if status != 0 and self.failed == 0:
            self.fail(f"all tests passed, but the program ended with status {status}")
        return None


class PytestJob(Job):
    NOTHING_COLLECTED = 5  # also where all of a file is skipped

    def __init__(self, name, path, junit):
        command = [PYTHON, "-m", "pytest", path, "-v", "-rfE", "--tb=short", "-p", "no:cacheprovider",
                   f"--junitxml={junit}", f"--basetemp={junit.removesuffix('.xml')}.tmp"]
        super().__init__(name, command, PYTEST_SECONDS, wire.ROOT)
        self.junit = junit
        if os.path.exists(junit):
            os.unlink(junit)

    def count(self, status):
        try:
            cases = list(xml.etree.ElementTree.parse(self.junit).iter("testcase"))
        except (FileNotFoundError, xml.etree.ElementTree.ParseError):
            return self.fail(f"ended with status {status} before pytest could count")
        for case in cases:
            skip = case.find("skipped")
            if case.find("failure") is not None or case.find("error") is not None:
                self.failed += 1
            elif skip is not None:
                whole = skip.get("message") == "collection skipped"  # a file; then the text says why
                self.skipped.append((case.get("name"), skip.text if whole else skip.get("message")))
            else:
                self.passed += 1
        if status == self.NOTHING_COLLECTED and not self.skipped:
            self.fail("pytest found no test in it")
        elif status not in (0, self.NOTHING_COLLECTED) and self.failed == 0:
            self.fail(f"pytest ended with status {status}")
        return None


# ------------------------------------------------------------------ finding jobs


def ctest_jobs(build):
    listed = subprocess.run(["ctest", "--show-only=json-v1"], cwd=build, capture_output=True, check=True)
    for test in json.loads(listed.stdout)["tests"]:
        properties = {p["name"]: p["value"] for p in test.get("properties", [])}
        criterion = os.path.basename(os.path.dirname(test["command"][0])) == "unit"
        yield (CriterionJob if criterion else Job)(
            test["name"], test["command"] + (["--verbose"] if criterion else []),
            max(properties.get("TIMEOUT", 0.0), CTEST_SECONDS),
            properties.get("WORKING_DIRECTORY", build))


def pytest_jobs(logs):
    """One for each file: several run at once, and files of different folders may have the same name."""
    for path in sorted(glob.glob(os.path.join(wire.ROOT, "tests", "*", "test_*.py"))):
        name = os.path.relpath(path, wire.ROOT).removesuffix(".py")
        yield PytestJob(name, path, os.path.join(logs, name.replace("/", "-") + ".xml"))


def check_jobs():
    """What is true of the tree as it lies there, and that the other compiler has nothing to say."""
    clang = "cmake --preset clang >/dev/null && cmake --build build/clang -j1 -- -k 0 | grep -v '^\\[' ; exit ${PIPESTATUS[0]}"
    for name, command in (("scripts/fmt", ["scripts/fmt", "--check"]), ("scripts/tidy", ["scripts/tidy"]),
                          ("clang", ["bash", "-c", clang])):
        yield CheckJob(name, command, CHECK_SECONDS, wire.ROOT)


def deploy_jobs():
    """The containers: longer than all else, with much waiting for downloads, so it begins first."""
    yield CheckJob("tests/deploy", ["tests/deploy/run"], DEPLOY_SECONDS, wire.ROOT)


# ------------------------------------------------------------------ running


def marked_processes(mark):
    """{pid: command line} of the processes that have this mark in their environment; ending in "-": any that begins so."""
    found = {}
    wanted = f"{MARK}={mark}".encode()
    has = (lambda words: any(word.startswith(wanted) for word in words)) if mark.endswith("-") else (
        lambda words: wanted in words)
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/environ", "rb") as environ, open(f"/proc/{pid}/cmdline", "rb") as cmdline:
                if has(environ.read().split(b"\0")):
                    found[int(pid)] = cmdline.read().replace(b"\0", b" ").decode(errors="replace").strip()
        except OSError:
            continue  # gone, or another user's
    return found


def kill_marked(mark):
    """End them, and wait until they are gone: nothing of one job may be in the next one's way."""
    end = time.monotonic() + GONE_SECONDS
    while (left := marked_processes(mark)) and time.monotonic() < end:
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        time.sleep(0.02)


def processes_left(mark):
    """The marked processes that are still there after a moment of grace."""
    end = time.monotonic() + LEFT_BEHIND_SECONDS
    while (left := marked_processes(mark)) and time.monotonic() < end:
        time.sleep(0.05)
    return left


def run(job, logs):
    job.log = os.path.join(logs, job.name.replace("/", "-") + ".log")
    mark = f"{os.getpid()}-{job.name}"
    begin = time.monotonic()
    with open(job.log, "wb") as log:
        with STARTING:
            child = subprocess.Popen(job.command, cwd=job.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                     env={**os.environ, MARK: mark}, start_new_session=True)
        try:
            child.wait(job.seconds)
        except subprocess.TimeoutExpired:
            job.fail(f"it hangs: ended after {job.seconds:g} s; the last thing it wrote was:\n  "
                     + (job.text().strip().splitlines() or ["(nothing)"])[-1])
            kill_marked(mark)
            child.wait()
        else:
            job.count(child.returncode)
    job.took_seconds = time.monotonic() - begin
    left = processes_left(mark)
    if left:
        kill_marked(mark)
        job.fail("it left processes behind: " + "; ".join(f"{pid} {line[:200]}" for pid, line in left.items()))
    return job


def report(job):
    word = "FAILED" if job.failed else "ok"
    print(f"{word:6} {job.name:42} {job.passed:5} passed {job.took_seconds:7.1f} s", flush=True)
    for problem in job.problems:
        print(f"  {job.name}: {problem}")
    for note in job.notes:
        print(f"  {note}")
    if job.failed:
        print("\n".join("  | " + line for line in job.text().splitlines()[-TAIL_LINES:]))
        print(f"  all of it: {job.log}", flush=True)


def run_all(jobs, logs, workers):
    lock = threading.Lock()

    def run_and_report(job):
        run(job, logs)
        with lock:
            report(job)

    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        for outcome in [pool.submit(run_and_report, job) for job in jobs]:
            outcome.result()


def end_all_jobs(number, _frame):
    """Whoever ends us ends what we have started: brokers of tests would stay on the machine for good. And nothing is
    started any more: a job whose process is killed makes room for the next one."""
    STARTING.acquire()  # pylint: disable=consider-using-with
    kill_marked(f"{os.getpid()}-")
    os._exit(128 + number)  # without waiting for the threads that waited for them


def main(build, words):
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, end_all_jobs)
    logs = os.environ.get("BARNABAS_TEST_LOGS") or os.path.join(build, "test-logs")
    os.makedirs(logs, exist_ok=True)
    jobs = [*deploy_jobs(), *pytest_jobs(logs), *check_jobs(), *ctest_jobs(build)]  # the long ones first
    jobs = [job for job in jobs if not words or any(word in job.name for word in words)]
    if not jobs:
        print(f"error: no test has a name with {' or '.join(words)} in it", file=sys.stderr)
    run_all(jobs, logs, (os.cpu_count() or 1) + 1)  # tests of clusters mostly wait
    skipped = [(job.name, test, reason) for job in jobs for test, reason in job.skipped]
    for job_name, test, reason in skipped:
        print(f"skipped: {job_name}: {test}: {reason or 'no reason given'}")
    passed, failed = sum(job.passed for job in jobs), sum(job.failed for job in jobs)
    print(f"{passed} passed, {failed} failed, {len(skipped)} skipped", flush=True)
    return 0 if passed > 0 and failed == 0 else 1


if __name__ == "__main__":
    sys.exit(main(os.path.abspath(sys.argv[1]), sys.argv[2:]))
