"""The command line of scripts/bench, what its workloads check of themselves, and what is made of a load that fails."""
import argparse
import importlib.machinery
import importlib.util
import os
import subprocess
import sys
import types

import pytest
import wire

sys.path.insert(0, os.path.join(wire.ROOT, "tests", "bench"))
import clusters as cluster_workloads  # noqa: E402  pylint: disable=wrong-import-position
import consumers  # noqa: E402  pylint: disable=wrong-import-position
import copies  # noqa: E402  pylint: disable=wrong-import-position
import latencies  # noqa: E402  pylint: disable=wrong-import-position
import load_runner  # noqa: E402  pylint: disable=wrong-import-position
import many  # noqa: E402  pylint: disable=wrong-import-position
import streams  # noqa: E402  pylint: disable=wrong-import-position
import workloads  # noqa: E402  pylint: disable=wrong-import-position

BENCH = os.path.join(wire.ROOT, "scripts", "bench")
REPORT = {"records": 10, "bytes": 1000, "checksum": 7, "requests": 1, "seconds": 1.0, "generator_core": 0.1,
          "generator_bound": False}


def run(*words):
    """(status, standard output, standard error)"""
    done = subprocess.run([sys.executable, BENCH, *words], capture_output=True, text=True, timeout=60, check=False)
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout, done.stderr


def test_the_list_has_every_load_that_there_is_and_whom_it_can_measure():
    status, out, _ = run("--list")
    assert status == 0 and len(out.splitlines()) == len(workloads.ALL)
    text = " ".join(f"{one.text} " for one in workloads.ALL.values())
    assert [name for name in "P1 P2 P3 F1 F2 L1 S1 S2 G1 D1".split() if name not in text] == []
    assert all("barnabas" in line or "unflushed" in line or "three" in line for line in out.splitlines())


def test_whoever_has_seen_enough_of_the_list_gets_no_trace():
    with subprocess.Popen([sys.executable, "-u", BENCH, "--list"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          bufsize=1) as one:
        one.stdout.close()
        assert one.stderr.read() == ""


@pytest.mark.parametrize("words, told", [
    (["produce", "--override", "log.segment.bytes"], "log.segment.bytes is not KEY=VALUE"),
    (["produce", "--pairs", "0"], "--pairs"), (["produce", "--mb", "-1"], "--mb"), (["produce", "--acks", "2"], "--acks"),
    (["produce", "--seconds", "soon"], "--seconds"), (["latency", "--seconds", "inf"], "--seconds"),
    (["produse"], "produse is no workload"), ([], "which workload?"), (["--run", "p1", "--pear", "kafka"], "--pear"),
    (["--run", "p1,rf3", "--cells", "1m-1,2m"], "--cells 2m: there are 1m, 1m-1, 1m-16, 64k, 64k-1, 64k-16"),
    (["produce", "--peers", "barnabas,kafak"], "--peers kafak: there are barnabas, floor, "),
    (["produce", "--cells", "1m"], "--cells 1m: there are none"),
])
def test_a_wrong_command_line_is_told_before_anything_is_built_or_run(words, told):
    """A peer or a cell that there is not was left out in silence, and a key without a value was a trace of calls."""
    status, out, err = run(*words)
    assert (status, out) == (2, "") and told in err and "scripts/bench --help" in err


def test_a_folder_that_cannot_be_written_to_is_told_before_an_hour_is_spent(tmp_path):
    (tmp_path / "file").write_text("")
    status, out, err = run("produce", "--out", str(tmp_path / "file" / "figures"))
    assert (status, out) == (2, "") and f"--out {tmp_path}/file/figures: Not a directory" in err


def test_without_a_build_it_says_what_is_not_there(tmp_path):
    status, _, err = run("produce", "--no-build", "--build", str(tmp_path), "--peers", "floor")
    assert status == 1 and f"no {tmp_path}/bench/bench_load" in err


def test_a_workload_whose_broker_has_gone_fails_and_leaves_the_others_alone(monkeypatch, capsys):
    """Its processor time could not be read any more: that was a trace of calls, and the end of all other workloads."""
    loader = importlib.machinery.SourceFileLoader("scripts_bench", BENCH)
    bench = importlib.util.module_from_spec(importlib.util.spec_from_loader("scripts_bench", loader))
    loader.exec_module(bench)

    def run_workload(name, *_):
        if name == "g1":
            raise ProcessLookupError("process 5 has gone")
        return {"lost": {}}

    monkeypatch.setattr(bench, "run_workload", run_workload)
    assert bench.run_all(argparse.Namespace(wanted=["g1", "p1"], out=None), {}, "") == 1
    assert capsys.readouterr().out == "g1 failed: process 5 has gone\n\n"


# ------------------------------------------------------------------ the load


@pytest.fixture
def load(tmp_path):
    """load(script): options whose bench_load does this."""
    (tmp_path / "bench").mkdir()

    def make(script):
        program = tmp_path / "bench" / "bench_load"
        program.write_text("#!/bin/sh\n" + script)
        program.chmod(0o755)
        return types.SimpleNamespace(build=str(tmp_path))

    return make


@pytest.mark.parametrize("core, bound", [(0.79, False), (0.81, True)])
def test_a_generator_that_used_more_than_four_fifths_of_its_core_is_marked(load, core, bound):
    options = load(f"echo '{{\"generator_core\": {core}, \"records\": 1}}'\n")
    assert load_runner.load(options, "produce", "somebody")["generator_bound"] is bound


def test_a_load_that_lost_something_ends_the_workload_with_its_words(load):
    options = load("echo 't-0 ends at 5 where 6 is due' >&2; exit 1\n")
    with pytest.raises(SystemExit, match="somebody: produce failed\nt-0 ends at 5 where 6 is due"):
        load_runner.load(options, "produce", "somebody")


class Window:
    """usage.Window that notes whether it was there before the load began."""

    def __init__(self, peer, also):
        self.peer, self.also, self.early = peer, also, not os.path.exists(peer.begun)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def finish(self, report):
        return {**report, "early": self.early, "also": self.also}


def test_what_is_measured_begins_when_the_load_has_connected(load, tmp_path, monkeypatch):
    """Connections of 1,000 consumers, and what each asks first, were counted as the broker's work for their records."""
    monkeypatch.setattr(load_runner.usage, "Window", Window)
    peer = types.SimpleNamespace(name="one", begun=str(tmp_path / "begun"))
    options = load(f"test \"$*\" = 'produce --meet 1' && echo ready && read line && touch {peer.begun} &&"
                   " echo '{\"generator_core\": 0.1}'\n")
    report = load_runner.measured(options, "produce", peer)
    assert report["early"] and len(report["also"]) == 1 and os.path.exists(peer.begun)


@pytest.mark.parametrize("script, told", [("echo 'cannot connect' >&2; exit 1\n", "one: produce failed\ncannot connect"),
                                          ("echo ready; read line; echo 'error 6' >&2; exit 1\n", "one: produce failed\nerror 6"),
                                          ("true\n", "one: produce failed")])
def test_a_load_that_fails_while_it_is_measured_ends_the_workload_with_its_words(load, monkeypatch, tmp_path, script, told):
    monkeypatch.setattr(load_runner.usage, "Window", Window)
    with pytest.raises(SystemExit, match=told):
        load_runner.measured(load(script), "produce", types.SimpleNamespace(name="one", begun=str(tmp_path / "begun")))


# ------------------------------------------------------------------ what is produced is read


class Peer:
    name, port, bootstrap, topic, pids = "one", 1, "1=1", "t", ()

    @staticmethod
    def new_topic(*_):
        return "t"

    def drop_topic(self, _):
        pass


OPTIONS = argparse.Namespace(mb=1, partitions=1, connections=1, depth=1, acks=1, records=1, record_bytes=100, fetch_bytes=100,
                             requests=1, quick=True, rate=1, seconds=1)


def options():
    """Some workloads make them their own."""
    return argparse.Namespace(**vars(OPTIONS))


PRODUCING = [lambda: streams.Produce(OPTIONS).measure(Peer(), "t"), lambda: copies.Copies(OPTIONS).run(Peer()),
             lambda: many.Many1000(OPTIONS).check(Peer(), REPORT),
             lambda: latencies.OneByOne("one").measure(OPTIONS, Peer(), topic="t", brokers="1=1", acks=1),
             lambda: cluster_workloads.Partitions(options()).beside(Peer()),
             lambda: consumers.Crowd(options()).check(Peer(), "t", {"all": REPORT})]


@pytest.mark.parametrize("produce", PRODUCING)
@pytest.mark.parametrize("read, lost", [(REPORT, False), ({**REPORT, "checksum": 8}, True), ({**REPORT, "records": 9}, True)])
def test_what_was_produced_is_read_back_and_compared(monkeypatch, produce, read, lost):
    """produce, copies and s1, latency3's "one", partitions and crowd counted what was acknowledged, and nobody looked at
    what was written."""
    monkeypatch.setattr(load_runner, "measured", lambda *_, **__: dict(REPORT))
    monkeypatch.setattr(load_runner, "load", lambda *_, **__: dict(read))
    monkeypatch.setattr(copies, "prewarm", lambda _: None)
    if lost:
        with pytest.raises(SystemExit, match="one: (checksum|records) read is"):
            produce()
    else:
        produce()


def test_what_measuring_needs_is_among_the_packages_for_it():
    """After `scripts/deps bench` neutral, neutral3 and copies-client failed: their client was among the tests' packages."""
    done = subprocess.run(["bash", os.path.join(wire.ROOT, "scripts", "deps"), "list", "bench"], capture_output=True, text=True,
                          check=True)
    assert {"librdkafka-dev", "gnuplot-nox", "linux-perf", "maven", "iproute2"} <= set(done.stdout.split())


def test_what_a_run_of_its_own_cluster_finds_out_is_kept(monkeypatch, tmp_path):
    """s1 told neither how soon its brokers were ready nor what they have when idle, and did not compare their topics."""
    class Broker:
        facts = {"ready_ms": 7, "topic_config": {"segment.bytes": "1"}}

        def __init__(self, *_):
            pass

        def close(self):
            pass

    class Many(many.Many1000):
        peers = {"one": Broker}

        def measure(self, _):
            return {"partitions": 1}

    monkeypatch.setattr(many, "prewarm", lambda _: None)
    workload = Many(options())
    place = workload.open("one", str(tmp_path))
    assert (workload.run(place), place.facts) == ({"partitions": 1}, Broker.facts)


@pytest.mark.parametrize("connections, partitions, refused", [(1, 1, False), (2, 3, False), (6, 3, False), (4, 3, True)])
def test_connections_that_cannot_read_all_partitions_equally_often_are_refused(connections, partitions, refused):
    """It read everything, and failed: "records read is 300, produced 200 x 1"."""
    shape = argparse.Namespace(connections=connections, partitions=partitions)
    if refused:
        with pytest.raises(SystemExit, match="4 connections cannot share out 3 partitions"):
            streams.Consume(shape)
    else:
        streams.Consume(shape)


def test_a_partition_that_has_less_than_was_acknowledged_ends_the_run():
    gaps = [{"written": 5}, {"written": 0}]
    cluster_workloads.check_written("one", gaps, {0: 10, 1: 3}, {0: 16, 1: 3})  # one was sent again
    with pytest.raises(SystemExit, match="one: partition 0 has 4 records more than before, 5 were acknowledged"):
        cluster_workloads.check_written("one", gaps, {0: 10, 1: 3}, {0: 14, 1: 3})


@pytest.mark.parametrize("reader, producer, bound", [(0.5, 0.5, False), (0.9, 0.5, True), (0.5, 0.9, True)])
def test_a_reader_of_a_cold_log_or_the_producer_beside_it_may_be_the_bottleneck(monkeypatch, tmp_path, load, reader, producer,
                                                                                bound):
    """Whether one was, was counted and forgotten."""
    answer = '{"answer_us": {}, "late_us": {}, "generator_core": %s}' % producer
    options = load(f"echo '{answer}'\n")
    options.seconds, options.fetch_bytes = 0.01, 100
    report = {**REPORT, "generator_core": reader, "generator_bound": reader > load_runner.GENERATOR_BOUND}
    monkeypatch.setattr(load_runner, "load", lambda *_, **__: dict(report))
    cold = consumers.Cold(options)
    found = cold.read_cold(Peer(), "t", {"port": 1}, [], {**REPORT})
    assert found["generator_bound"] is bound


def test_a_crowds_cost_is_that_of_the_seconds_in_which_some_are_active(monkeypatch):
    """The seconds before, in which all others are idle and only the probe sends, were in it as well."""
    heard = []

    class Window:
        def __init__(self, *_, **__):
            heard.append("window begins")

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def finish(self, _):
            heard.append("window ends")

    class Crowd(consumers.Crowd):
        def idle(self, _):
            return {"wakes": 0, "kb": 0, "cpu_ms": 0}

        def next_line(self, _, wanted=None):
            heard.append(wanted or "report")
            return '{"generator_core": 0.1}'

        def go_on(self, _):
            heard.append("go on")

    monkeypatch.setattr(consumers.usage, "Window", Window)
    options = argparse.Namespace(quick=True, rate=1, acks=1)
    Crowd(options).measure(Peer(), types.SimpleNamespace(pid=1))
    assert heard == ["ready", "go on", "open", "go on", "probed", "window begins", "go on", "report", "window ends"]
