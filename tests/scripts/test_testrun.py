"""scripts/lib/testrun.py: what is counted, and what happens to programs that hang, crash or leave processes behind."""
import os
import signal
import subprocess
import sys
import time

import pytest
import testrun

TESTS = """
import pytest
def test_good(): pass
def test_bad(): assert 1 == 2
def test_unlucky(): pytest.skip("no such thing here")
@pytest.fixture
def broken(): raise ValueError("broken")
def test_of_a_broken_fixture(broken): pass
"""
HANGS_IN_A_TEST = """
import time
def test_that_waits_for_ever():
    while True: time.sleep(0.01)
def test_after_it(): pass
"""
CRITERION = r"""
echo '[SKIP] zk::with_a_server: no java'
printf '[\033[0;34m====\033[0m] \033[0;1mSynthesis: Tested: \033[0m5 | Passing: 3 | Failing: 1 | Crashing: 1\n'
exit 1
"""


def run(job, tmp_path):
    return testrun.run(job, str(tmp_path))


def shell(name, text, tmp_path, seconds=60.0, kind=testrun.Job):
    return run(kind(name, ["bash", "-c", text], seconds, str(tmp_path)), tmp_path)


def pytest_job(tmp_path, text):
    folder = tmp_path / "tests-of-tests"
    folder.mkdir()
    (folder / "test_some.py").write_text(text)
    with open(os.path.join(testrun.wire.ROOT, "tests", "conftest.py"), encoding="utf-8") as real:
        (folder / "conftest.py").write_text(real.read())
    return testrun.PytestJob("some", str(folder), str(tmp_path / "some.xml"))


def test_a_program_is_one_test_by_its_status(tmp_path):
    assert (shell("good", "true", tmp_path).passed, shell("bad", "exit 3", tmp_path).problems) == (
        1, ["ended with status 3"])


def test_a_check_shows_what_it_measured_and_status_77_skips_it_with_its_last_line(tmp_path, capsys):
    good = shell("good", "echo 3 s", tmp_path, kind=testrun.CheckJob)
    testrun.report(good)
    assert (good.passed, capsys.readouterr().out.splitlines()[-1]) == (1, "  3 s")
    skipped = shell("engine", "echo looking; echo skipped: no engine; exit 77", tmp_path, kind=testrun.CheckJob)
    assert (skipped.passed, skipped.failed, skipped.skipped) == (0, 0, [("engine", "skipped: no engine")])
    bad = shell("bad", "echo wrong; exit 1", tmp_path, kind=testrun.CheckJob)
    assert (bad.failed, bad.problems, bad.notes) == (1, ["ended with status 1"], [])


def test_criterion_is_counted_from_its_last_line_and_skips_have_reasons(tmp_path):
    job = shell("unit", CRITERION, tmp_path, kind=testrun.CriterionJob)
    assert (job.passed, job.failed, job.skipped) == (3, 2, [("zk::with_a_server", "no java")])


def test_a_criterion_program_that_says_nothing_or_lies_is_a_failure(tmp_path):
    silent = shell("silent", "exit 0", tmp_path, kind=testrun.CriterionJob)
    assert (silent.failed, silent.problems) == (1, ["ended with status 0 and did not say how many tests passed"])
    leaky = shell("leaky", "echo 'Tested: 2 | Passing: 2 | Failing: 0 | Crashing: 0'; exit 23", tmp_path,
                  kind=testrun.CriterionJob)
    assert (leaky.passed, leaky.failed) == (2, 1)


def test_a_file_without_tests_is_a_failure(tmp_path):
    job = run(pytest_job(tmp_path, "def helper(): pass"), tmp_path)
    assert (job.passed, job.failed, job.problems) == (0, 1, ["pytest found no test in it"])


def test_a_file_that_is_skipped_as_a_whole_is_one_skip(tmp_path):
    job = run(pytest_job(tmp_path, "import pytest\npytest.importorskip('no_such_module', reason='not here')"), tmp_path)
    assert (job.passed, job.failed, len(job.skipped)) == (0, 0, 1)
    assert "not here" in job.skipped[0][1]


def test_a_word_that_no_test_has_in_its_name_is_a_failure(tmp_path, monkeypatch, capsys):
    """A mistyped name passed."""
    monkeypatch.setattr(testrun, "ctest_jobs", lambda build: [])
    monkeypatch.setattr(testrun.signal, "signal", lambda *_: None)
    assert testrun.main(str(tmp_path), ["no-such-test"]) == 1
    assert capsys.readouterr().out == "0 passed, 0 failed, 0 skipped\n"


def test_pytest_is_counted_by_its_junit_file(tmp_path):
    job = run(pytest_job(tmp_path, TESTS), tmp_path)
    assert (job.passed, job.failed, job.skipped) == (1, 2, [("test_unlucky", "no such thing here")])


def test_pytest_that_ends_before_it_counts_is_a_failure(tmp_path):
    job = run(pytest_job(tmp_path, "import os\ndef test_it(): os._exit(0)"), tmp_path)
    assert job.problems == ["ended with status 0 before pytest could count"]


def test_a_test_in_python_that_hangs_fails_by_name_and_the_next_one_runs(tmp_path, monkeypatch):
    monkeypatch.setenv("BARNABAS_TEST_SECONDS", "3")
    job = run(pytest_job(tmp_path, HANGS_IN_A_TEST), tmp_path)
    assert (job.passed, job.failed) == (1, 1)
    assert "the test hangs: it took longer than 3 s" in job.text()
    assert "test_that_waits_for_ever" in job.text()


def test_a_program_that_hangs_is_ended_with_its_children_and_named(tmp_path):
    job = shell("slow", "echo at work; setsid sleep 3000 & wait", tmp_path, seconds=5.0)
    assert job.problems == ["it hangs: ended after 5 s; the last thing it wrote was:\n  at work"]
    assert (job.failed, testrun.marked_processes(f"{os.getpid()}-slow")) == (1, {})


def test_a_process_left_behind_is_a_failure_and_is_ended(tmp_path, monkeypatch):
    monkeypatch.setattr(testrun, "LEFT_BEHIND_SECONDS", 0.2)
    job = shell("messy", "setsid sleep 300 >/dev/null 2>&1 & until grep -q sleep /proc/$!/comm; do :; done", tmp_path)
    assert job.failed == 1
    assert "it left processes behind" in job.problems[0] and "sleep 300" in job.problems[0]
    assert testrun.marked_processes(f"{os.getpid()}-messy") == {}


def test_the_last_line_counts_and_skips_are_printed_with_reasons(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(testrun, "pytest_jobs", lambda logs: [])
    monkeypatch.setattr(testrun, "check_jobs", lambda: [])
    monkeypatch.setattr(testrun, "deploy_jobs", lambda: [])
    monkeypatch.setattr(testrun, "ctest_jobs", lambda build: [
        testrun.CriterionJob("unit", ["bash", "-c", CRITERION], 60.0, str(tmp_path)),
        testrun.Job("fuzz", [sys.executable, "-c", "pass"], 60.0, str(tmp_path))])
    assert testrun.main(str(tmp_path), []) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "4 passed, 2 failed, 1 skipped"
    assert lines[-2] == "skipped: unit: zk::with_a_server: no java"
    assert testrun.main(str(tmp_path), ["fuzz"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "1 passed, 0 failed, 0 skipped"


def test_what_is_skipped_as_a_whole_is_no_success(tmp_path, monkeypatch, capsys):
    """`scripts/test tsan` builds no such broker, skipped every test of it, and ended with status 0."""
    for others in ("pytest_jobs", "check_jobs", "deploy_jobs"):
        monkeypatch.setattr(testrun, others, lambda *_: [])
    monkeypatch.setattr(testrun, "ctest_jobs", lambda build: [
        testrun.CheckJob("engine", ["bash", "-c", "echo no engine; exit 77"], 60.0, str(tmp_path)),
        testrun.CriterionJob("empty", ["echo", "Tested: 0 | Passing: 0 | Failing: 0 | Crashing: 0"], 60.0, str(tmp_path))])
    assert testrun.main(str(tmp_path), []) == 1
    assert capsys.readouterr().out.splitlines()[-2:] == ["skipped: engine: engine: no engine", "0 passed, 0 failed, 1 skipped"]


@pytest.mark.parametrize("words, built", [
    (["no-such-test"], ["asan"]), (["cluster/test_none", "scripts/test_none"], ["asan"]),
    (["no-such-test", "tsan"], ["asan", "tsan"]), (["quickstart"], ["asan", "release"]), (["memory"], ["asan", "release"]),
    (["test_compose"], ["asan", "release"]), (["cluster"], ["asan", "tsan"]), ([], ["asan", "tsan"])])
def test_what_is_asked_for_has_the_builds_that_it_needs(tmp_path, words, built):
    """`scripts/test tsan` and `scripts/test quickstart` built neither, and skipped every test that they were asked for."""
    asked = tmp_path / "asked"
    fake = f"""#!/bin/sh
[ "$1" = --preset ] || exit 0
echo "$2" >>{asked}
[ "$2" = asan ]
"""
    for name, text in (("cmake", fake), ("ctest", "#!/bin/sh\necho '{\"tests\": []}'\n")):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    done = subprocess.run([os.path.join(testrun.wire.ROOT, "scripts", "test"), "--no-deps", *words], capture_output=True, text=True,
                          check=False, timeout=300, env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}",
                                                         "BARNABAS_TEST_LOGS": str(tmp_path / "logs")})
    assert asked.read_text().split() == built  # any other than asan cannot be configured: then it ends
    assert done.returncode == 1 and (built == ["asan"] or f"could not configure build/{built[-1]}" in done.stdout)


def test_when_it_is_ended_from_outside_its_jobs_and_their_children_end_too(tmp_path):
    program = f"""
import sys
sys.path.insert(0, {os.path.dirname(testrun.__file__)!r})
import signal, testrun
signal.signal(signal.SIGTERM, testrun.end_all_jobs)
testrun.run_all([testrun.Job("waits", ["bash", "-c", "setsid sleep 1000 & echo $! >child; wait"], 1000, {str(tmp_path)!r})],
                {str(tmp_path)!r}, 1)
"""
    child = tmp_path / "child"
    with subprocess.Popen([sys.executable, "-c", program], start_new_session=True) as running:
        end = time.monotonic() + 300
        while not (child.exists() and child.read_text()):
            assert time.monotonic() < end and running.poll() is None
            time.sleep(0.01)
        running.send_signal(signal.SIGTERM)
        assert running.wait(300) == 128 + signal.SIGTERM
    assert testrun.marked_processes(f"{running.pid}-") == {}
