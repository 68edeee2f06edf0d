"""The table of a matrix is whole, whatever happens to its runs."""
import json
import os
import subprocess
import sys

import pytest

import main


@pytest.fixture
def here(tmp_path, monkeypatch):
    """No fault is done; all files are below this folder."""
    monkeypatch.setattr(main.tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(main.network, "enter", lambda: None)
    monkeypatch.setattr(main.run.clusters, "missing", lambda binary: None)
    monkeypatch.setattr(main.run.history, "built", lambda name, binary: name)
    monkeypatch.setattr(main.scenes, "why_not", lambda fault, known: None)
    return tmp_path


def test_a_fault_that_is_skipped_is_in_the_table(here, monkeypatch):
    """It was in none where all were skipped: who reads the table failed, instead of skipping, too."""
    table = here / "table.json"
    monkeypatch.setattr(main.scenes, "why_not", lambda fault, known: "it needs root")
    assert main.main(["--run", "cut-leader", "--json", str(table)]) == 0
    found = json.loads(table.read_text())
    assert (found["rows"], found["skipped"]) == ([], {"cut-leader": "it needs root"})
    assert list(here.iterdir()) == [table]  # every run left an empty folder once


ROW = {"fault": "kill-leader", "times": 1, "acknowledged": 7, "unknown": 0, "read": 7, "commits": 1, "problems": {}, "errors": [],
       "long": [], "unavailable_ms": {"count": 0}, "samples": {"kill": [], "shutdown": [], "hung": []}}


def test_what_is_done_when_somebody_has_seen_enough_is_in_the_table(here, monkeypatch, capsys):
    """Ctrl-C in the second hour left a trace of calls, and no table."""
    answers = iter([dict(ROW), KeyboardInterrupt()])

    def run_one(*_):
        answer = next(answers)
        if isinstance(answer, dict):
            return answer
        raise answer

    monkeypatch.setattr(main.run, "run_one", run_one)
    assert main.main(["--run", "kill-leader", "--run", "kill-all"]) == 130
    out = capsys.readouterr().out
    assert "ended in the middle" in out and out.endswith("1 passed, 0 failed, 0 skipped\n")


def test_what_cannot_be_taken_down_ends_its_run_and_no_other(here, monkeypatch, capsys):
    """A file system that was busy, or a device that had gone, ended the whole matrix with a trace of calls."""
    answers = iter([OSError("umount /there: target is busy."), dict(ROW)])

    def run_one(*_):
        answer = next(answers)
        if isinstance(answer, OSError):
            raise answer
        return answer

    monkeypatch.setattr(main.run, "run_one", run_one)
    assert main.main(["--run", "power-failure", "--run", "kill-leader"]) == 1
    out = capsys.readouterr().out
    assert f"{'power-failure':30} FAILED\numount /there: target is busy.\n" in out
    assert out.endswith("1 passed, 1 failed, 0 skipped\n")


def test_whoever_has_seen_enough_of_the_list_gets_no_trace():
    with subprocess.Popen([sys.executable, "-u", main.__file__, "--list"], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True) as one:
        one.stdout.close()
        assert one.stderr.read() == ""


def test_a_table_that_cannot_be_kept_is_told_before_anything_is_done(here, monkeypatch):
    monkeypatch.setattr(main.run, "run_one", lambda *_: pytest.fail("it has begun"))
    with pytest.raises(SystemExit, match=f"error: --json {here}/none/table.json: No such file or directory"):
        main.main(["--run", "kill-leader", "--json", str(here / "none" / "table.json")])


def test_without_the_clients_it_says_what_to_build(here, monkeypatch):
    """With a broker of another build it was a trace of calls."""
    monkeypatch.setattr(main.run.history, "built", lambda name, binary: None)
    with pytest.raises(SystemExit, match="no faults_client in build/asan(?s:.*)cmake --build build/asan"):
        main.main(["--run", "kill-leader"])


def test_a_leak_that_is_the_librarys_is_no_problem_of_a_run():
    """tests/cluster left it out, and here it would have been a sanitizer's report; seen at the end of a broker now and then."""
    options = dict(pair.split("=") for pair in os.environ["LSAN_OPTIONS"].split(":"))
    with open(options["suppressions"], encoding="utf-8") as file:
        assert "leak:libzookeeper_mt.so" in file.read()


@pytest.mark.parametrize("words", [["--run", "frob"], ["--all", "--seconds", "-1"], ["--all", "--rate", "0"]])
def test_a_wrong_command_line_does_nothing(here, words):
    with pytest.raises(SystemExit) as ended:
        main.main(words)
    assert ended.value.code == 2
