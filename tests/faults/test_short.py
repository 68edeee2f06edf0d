"""A short set of the faults, in every test run. The whole matrix: scripts/faults --all."""
import json
import os
import subprocess
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import run  # noqa: E402  pylint: disable=wrong-import-position

RUN_S = 200


@pytest.mark.parametrize("name", ["kill-leader", "stop-leader", "cut-from-zookeeper", "lost-tail"])
def test_nothing_is_lost(name, tmp_path):
    problem = run.clusters.missing()
    if problem:
        pytest.skip(problem)
    figures = tmp_path / "figures.json"
    command = [os.path.join(run.ROOT, "scripts", "faults"), "--run", name, "--seconds", "3", "--rate", "500"]
    done = subprocess.run([*command, "--json", str(figures)], capture_output=True, text=True, timeout=RUN_S,
                          check=False)
    found = json.loads(figures.read_text())
    if name in found["skipped"]:
        pytest.skip(found["skipped"][name])
    assert done.returncode == 0, done.stdout + done.stderr
    assert found["rows"][0]["acknowledged"] > 0 and found["rows"][0]["read"] > 0
