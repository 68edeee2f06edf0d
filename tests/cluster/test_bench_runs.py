"""scripts/bench from start to end with a small load, and ended from outside in the middle of one."""
import json
import os
import signal
import subprocess
import xml.etree.ElementTree

import cluster as clusters
import pytest
import wire

BENCH = os.path.join(wire.ROOT, "scripts", "bench")
MARK = "BARNABAS_BENCH_TEST"
END_S = 800  # nothing takes so long


@pytest.fixture
def start(needs_cluster, tmp_path):
    """start("produce", "--mb", "5"): scripts/bench on the brokers under test, its folders under tmp_path. Whatever
    it starts has MARK in its environment."""
    build = os.path.dirname(clusters.default_binary())
    if not os.access(os.path.join(build, "bench", "bench_load"), os.X_OK):
        pytest.skip(f"no {build}/bench (build it first)")
    started = []

    def begin(*words):
        env = {**os.environ, "TMPDIR": str(tmp_path), MARK: str(tmp_path)}
        started.append(subprocess.Popen([BENCH, *words, "--no-build", "--build", build, "--quick"], env=env, text=True,
                                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT))
        return started[-1]

    yield begin
    for process in started:
        process.kill()
        process.communicate()


def marked(mark):
    """The processes with this mark, as {pid: its command}."""
    found = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/environ", "rb") as environ:
                if f"{MARK}={mark}".encode() not in environ.read().split(bytes(1)):
                    continue
            with open(f"/proc/{pid}/cmdline", "rb") as line:
                found[int(pid)] = line.read().replace(bytes(1), b" ").decode()
        except OSError:
            continue
    return {pid: command for pid, command in found.items() if command}  # one that has ended has none


def test_a_small_run_gives_a_table_figures_to_keep_and_a_chart(start, tmp_path):
    out = tmp_path / "figures"
    bench = start("--run", "produce,consume", "--peers", "barnabas,floor", "--mb", "5", "--out", str(out))
    text, _ = bench.communicate(timeout=END_S)
    assert bench.returncode == 0, text
    for name in ("produce", "consume"):
        kept = json.loads((out / f"{name}.json").read_text())
        assert list(kept["peers"]) == ["barnabas", "floor"]
        for peer in kept["peers"].values():
            run, = peer["runs"]
            assert run["mb_s"] > 0 and run["cpu_per_gb"] > 0 and run["loaded_pss_mb"] > 0
        if os.path.exists(out / f"{name}.svg"):
            xml.etree.ElementTree.parse(out / f"{name}.svg")
        else:
            assert f"no chart of {name}: no gnuplot" in text
    ratios = [line for line in text.splitlines() if line.startswith("CPU per GB, s")]
    assert len(ratios) == 2 and all(len(line.split()) == 7 for line in ratios)
    if os.geteuid() == 0 and subprocess.run(["unshare", "-n", "true"], check=False).returncode == 0:
        assert "a network namespace of its own, congestion control reno" in text
    assert os.listdir(tmp_path) == ["figures"] and marked(tmp_path) == {}


@pytest.mark.parametrize("peer, program, number", [
    ("barnabas", "barnabasd", signal.SIGTERM), ("floor", "bench_floor", signal.SIGTERM),
    ("floor", "bench_floor", signal.SIGINT), ("floor", "bench_floor", signal.SIGHUP),
    ("floor", "bench_floor", signal.SIGKILL)])
def test_when_it_is_ended_whatever_it_started_ends(start, tmp_path, peer, program, number):
    """bench_floor once went on for ever when scripts/bench was ended."""
    bench = start("latency", "--seconds", "600", "--peers", peer)
    clusters.wait_until(lambda: {word for word in (program, "bench_load") if word in " ".join(marked(tmp_path).values())}
                        == {program, "bench_load"}, "a load that runs")
    bench.send_signal(number)
    bench.communicate(timeout=END_S)
    assert bench.returncode == (-number if number == signal.SIGKILL else 128 + number)
    clusters.wait_until(lambda: not marked(tmp_path), f"the end of {marked(tmp_path)}")
    if number != signal.SIGKILL:
        assert os.listdir(tmp_path) == []


def test_kafka_is_measured_only_where_it_is_asked_for(start):
    """copies-client has it twice, under names of its own, and failed where it had not been brought."""
    if not os.access(os.path.join(os.path.dirname(clusters.default_binary()), "bench", "bench_rdkafka"), os.X_OK):
        pytest.skip("no bench_rdkafka (build it first, with librdkafka-dev)")
    bench = start("copies-client", "--mb", "2", "--cells", "100-none")
    text, _ = bench.communicate(timeout=END_S)
    assert bench.returncode == 0, text
    assert "kafka-one" not in text, text


def test_a_workload_that_fails_is_said_and_leaves_the_others_alone(start):
    bench = start("--run", "copies,produce", "--peers", "floor", "--mb", "5")
    text, _ = bench.communicate(timeout=END_S)
    assert bench.returncode == 1
    assert "copies failed: it knows no peer floor, only three, one, floor-three, floor-one" in text
    assert "throughput, MB/s" in text
