"""A short set of the faults, in every test run. The whole matrix: scripts/faults --all."""
import os
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import run  # noqa: E402  pylint: disable=wrong-import-position


@pytest.mark.parametrize("name", ["kill-leader", "stop-leader"])
def test_nothing_is_lost(name, tmp_path):
    problem = run.clusters.missing()
    if problem:
        pytest.skip(problem)
    row = run.run_one(name, seconds=5, seed=1, per_second=300, folder=str(tmp_path / name))
    assert row["acknowledged"] > 0 and row["read"] > 0
