"""Workloads next to the floor: what is the same for all cells of a run, that a loss ends it, and who runs where."""
import argparse
import os
import subprocess
import sys

import pytest
import wire

sys.path.append(os.path.join(wire.ROOT, "tests", "bench"))
import batches  # noqa: E402  pylint: disable=wrong-import-position
import cells  # noqa: E402  pylint: disable=wrong-import-position
import neutral  # noqa: E402  pylint: disable=wrong-import-position
import replicas  # noqa: E402  pylint: disable=wrong-import-position
import report  # noqa: E402  pylint: disable=wrong-import-position
import small  # noqa: E402  pylint: disable=wrong-import-position

MESSAGE_MAX, BATCH_HEADER, RECORD = 1048588, 61, 1010  # a record of 1000 bytes with offsets of two bytes


def figures_of(workload, *names):
    return workload(argparse.Namespace(cells=names)).figures


def test_a_batch_of_one_mebibyte_is_as_large_as_brokers_take_one():
    load = batches.Batches.cells[0].load(argparse.Namespace(mb=2000))
    assert 0.99 * MESSAGE_MAX < BATCH_HEADER + load["records"] * RECORD <= MESSAGE_MAX
    assert load["requests"] * load["records"] * RECORD == pytest.approx(2e9, rel=0.01)


def test_each_cell_has_figures_of_its_own_and_a_run_what_is_worst_in_them():
    cell = {"bytes": 1e9, "cpu_s": 0.5, "foreign": 0.1, "loaded_mb": 5, "generator_bound": False}
    run = cells.together({"1m-1": cell, "64k-1": {**cell, "cpu_s": 0.7, "foreign": 0.2, "generator_bound": True}})
    assert (run["foreign"], run["loaded_mb"], run["generator_bound"]) == (0.2, 5, True)
    values = {figure.key: report.value_of(figure, run) for figure in figures_of(batches.Batches)}
    assert (values["1m-1-cpu_per_gb"], values["64k-1-cpu_per_gb"], values["1m-16-cpu_per_gb"]) == (0.5, 0.7, None)


def test_only_cells_that_are_asked_for_have_figures():
    """p1 and rf3 took no notice of --cells."""
    titles = {figure.title.split(":")[0] for figure in figures_of(batches.Batches, "64k-1", "1m-1") if ":" in figure.title}
    assert titles == {"64k-1", "1m-1"}
    with pytest.raises(SystemExit, match="rf3 has the cells 1m, 64k"):
        figures_of(replicas.Replicas, "2m")


def test_a_slow_machine_shows_in_what_the_generator_takes_for_a_gigabyte():
    def values(**run):
        cell = {"bytes": 2e9, "generator_core": 0.14, **run}
        return {figure.key: report.value_of(figure, cells.together({"64k": cell})) for figure in figures_of(replicas.Replicas)}

    assert values(seconds=2)["64k-generator_per_gb"] == pytest.approx(0.14)
    assert values(seconds=3)["64k-generator_per_gb"] == pytest.approx(0.21)
    assert values()["64k-generator_per_gb"] is None


@pytest.mark.parametrize("key", cells.CHECKED)
def test_a_run_ends_when_what_is_read_is_not_what_was_produced(key):
    made = {"records": 10, "bytes": 1000, "checksum": 7}
    cells.compare("somebody", made, dict(made))
    with pytest.raises(SystemExit, match=f"somebody: {key} read is"):
        cells.compare("somebody", made, {**made, key: made[key] + 1})
    cells.compare("two readers", {**made, "checksum": 2**63 + 1}, {"records": 20, "bytes": 2000, "checksum": 2}, 2)


def test_a_pinned_process_and_its_threads_have_one_processor():
    program = "import sys, threading; threading.Thread(target=sys.stdin.read).start(); print('started', flush=True)"
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as one:
        assert one.stdout.readline() == "started\n"
        last = max(os.sched_getaffinity(0))
        small.pin(one.pid, {last})
        tasks = os.listdir(f"/proc/{one.pid}/task")
        assert len(tasks) == 2 and all(os.sched_getaffinity(int(task)) == {last} for task in tasks)
        one.stdin.close()


def test_a_peer_that_is_sent_uncompressed_batches_is_not_compared_with_others():
    """librdkafka sent the floor no lz4 for it took it for a broker of long ago, and only its log said so."""
    neutral.check_compressed("floor", "lz4", {"disk_bytes": 3 * 60, "bytes": 100}, 3)
    neutral.check_compressed("floor", "none", {"disk_bytes": 110, "bytes": 100}, 1)
    with pytest.raises(SystemExit, match="floor: what was to be compressed with lz4 is not"):
        neutral.check_compressed("floor", "lz4", {"disk_bytes": 3 * 105, "bytes": 100}, 3)
