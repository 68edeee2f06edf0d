"""A short set of the faults, in every test run. The whole matrix: scripts/faults --all."""
import glob
import json
import os
import subprocess
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import run  # noqa: E402  pylint: disable=wrong-import-position

RUN_S = 800
FAULTS = os.path.join(run.ROOT, "scripts", "faults")


@pytest.mark.parametrize("name", ["kill-leader", "stop-leader", "rolling-restart", "cut-from-zookeeper", "lost-tail"])
def test_nothing_is_lost(name, tmp_path):
    problem = run.clusters.missing()
    if problem:
        pytest.skip(problem)
    figures = tmp_path / "figures.json"
    done = subprocess.run([FAULTS, "--run", name, "--seconds", "3", "--rate", "500", "--json", str(figures)],
                          capture_output=True, text=True, timeout=RUN_S, check=False)
    found = json.loads(figures.read_text())
    if name in found["skipped"]:
        pytest.skip(found["skipped"][name])
    assert done.returncode == 0, done.stdout + done.stderr
    assert found["rows"][0]["acknowledged"] > 0 and found["rows"][0]["read"] > 0


def processes_of(folder):
    found = []
    for path in glob.glob("/proc/[0-9]*/cmdline") + glob.glob("/proc/[0-9]*/environ"):
        try:
            with open(path, "rb") as file:
                if os.fsencode(folder) in file.read():
                    found.append(path.split("/")[2])
        except OSError:
            pass  # gone, or another user's
    return set(found) - {str(os.getpid())}


def mounts_of(folder):
    done = subprocess.run(["losetup", "--list", "--noheadings", "--output", "BACK-FILE"], capture_output=True,
                          text=True, check=False)
    return [line for line in done.stdout.splitlines() if folder in line]


@pytest.mark.parametrize("name", ["power-failure", "cut-leader"])
def test_a_run_that_is_killed_leaves_nothing_behind(name, tmp_path):
    problem = run.clusters.missing()
    if problem:
        pytest.skip(problem)
    folder = str(tmp_path)
    killed = subprocess.Popen([FAULTS, "--run", name, "--seconds", "60"], env={**os.environ, "TMPDIR": folder},
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    histories = os.path.join(folder, "*", name, "clients", "writer.history")
    run.clusters.wait_until(lambda: glob.glob(histories) or killed.poll() is not None, "clients")
    if killed.poll() is not None:
        text = killed.communicate()[0]
        assert "1 skipped" in text, text
        pytest.skip(next(line for line in text.splitlines() if "skipped: " in line))
    killed.kill()
    killed.communicate()
    run.clusters.wait_until(lambda: not processes_of(folder), "the end of all its processes")
    run.clusters.wait_until(lambda: not mounts_of(folder), "the end of its file systems")
