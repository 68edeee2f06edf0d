"""The parts of scripts/bench that only compute: order, ratios, what figures are worth, what is drawn."""
import json
import os
import shutil
import sys
import types
import xml.etree.ElementTree

import pytest
import wire

sys.path.insert(0, os.path.join(wire.ROOT, "tests", "bench"))
import chart  # noqa: E402  pylint: disable=wrong-import-position
import cluster as cluster_module  # noqa: E402  pylint: disable=wrong-import-position
import load_runner  # noqa: E402  pylint: disable=wrong-import-position
import machine  # noqa: E402  pylint: disable=wrong-import-position
import order  # noqa: E402  pylint: disable=wrong-import-position
import report  # noqa: E402  pylint: disable=wrong-import-position
import runner  # noqa: E402  pylint: disable=wrong-import-position
from report import Figure  # noqa: E402  pylint: disable=wrong-import-position

RATE = Figure("rate", "throughput", "MB/s", lambda r: r["rate"], main=True)
CPU = Figure("cpu_per_gb", "CPU per GB", "s", lambda r: r["cpu"], "floor <= 1.25; ratio <= 0.5", main=True)


def runs_of(**rates):
    return {name: [{"rate": value} for value in values] for name, values in rates.items()}


# ------------------------------------------------------------------ the order


def flat(visits):
    return "".join(name * count for name, count in visits)


def test_every_second_pair_is_the_mirror_image_of_the_first():
    assert flat(order.visits("AKF", 4)) == "AKF" "FKA" "AKF" "FKA"


def test_each_run_is_a_visit_of_its_own_so_that_nobody_is_fresher_than_another():
    """Where neighbours were put together, a peer's second self, which never is its own neighbour, was always fresh."""
    assert order.visits("AF", 3) == [("A", 1), ("F", 1), ("F", 1), ("A", 1), ("A", 1), ("F", 1)]


def test_who_is_alone_is_visited_once():
    assert order.visits("A", 5) == [("A", 5)]


def test_who_is_slow_to_warm_up_is_started_least_often():
    visits = order.visits("AKF", 5, last="K")
    assert flat(visits) == "AFK" "KFA" "AFK" "KFA" "AFK"
    assert [name for name, _ in visits].count("K") == 3


# ------------------------------------------------------------------ ratios


def test_a_ratio_is_made_pair_by_pair():
    runs = runs_of(a=[10, 30, 50], b=[10, 10, 100])
    assert report.ratios_of(RATE, runs["a"], runs["b"]) == [1, 3, 0.5]


def test_runs_of_one_visit_are_one_half_of_a_pair():
    first = [{"rate": rate, "block": block} for rate, block in ((1, 0), (9, 0), (2, 0), (8, 1))]
    second = [{"rate": rate, "block": block} for rate, block in ((4, 0), (4, 1), (4, 1))]
    assert report.ratios_of(RATE, first, second) == [0.5, 2]


def test_a_pair_of_which_one_run_lacks_the_figure_has_no_ratio():
    assert report.ratios_of(RATE, [{"rate": 4}, {}, {"rate": 6}], [{"rate": 2}, {"rate": 2}, {"rate": 0}]) == [2]


def test_the_table_has_a_column_for_each_peer_and_each_ratio_and_one_for_the_peer_itself():
    lines = list(report.table([RATE], runs_of(a=[10, 20, 30], **{"a again": [10, 10, 30]}, b=[5, 5, 5]), "a again"))
    assert lines[0].split() == ["a", "b", "to", "b", "to", "itself"]
    assert lines[1].split() == "throughput, MB/s 20.0 [10.0 .. 30.0] 5.000 4.000 [2.000 .. 6.000] 1.000".split()


def test_goals_are_judged_against_the_peer_that_they_name():
    runs = {"ours": [{"cpu": 12}], "floor": [{"cpu": 10}], "kafka": [{"cpu": 20}]}
    assert list(report.table([CPU], runs))[1].endswith("floor <= 1.25: yes, ratio <= 0.5: NO")


@pytest.mark.parametrize("goal, values, holds", [("<= 5", [4, 5, 6], True), (">= 5", [4, 4, 6], False), ("<= 5", [], None)])
def test_a_goal_of_a_value_is_judged_by_its_median(goal, values, holds):
    assert report.goal_holds(goal, values, []) is holds


def test_system_calls_come_from_the_run_that_counted_them():
    calls = Figure("syscalls", "calls", "", lambda r: r["syscalls"], counted=True)
    counted = {"a": {"syscalls": 6, "rate": 1}, "b": {"syscalls": 3, "rate": 1}}
    lines = list(report.table([RATE, calls], runs_of(a=[8], b=[8]), counted=counted))
    assert lines[1].split() == "throughput, MB/s 8.000 8.000 1.000".split()
    assert lines[2].split() == "calls 6.000 3.000 2.000".split()


# ------------------------------------------------------------------ what they are worth


def cpu_runs(values):
    return [{"cpu": value, "rate": 1} for value in values]


def test_a_peer_that_is_like_itself_is_steady():
    steady, said = report.against_itself([RATE, CPU], "a", cpu_runs([1.0, 1.1, 0.9]), cpu_runs([1.0, 1.0, 1.0]))
    assert steady and said == "a against itself: CPU per GB 1.000 [0.900 .. 1.100] in 3 pairs: steady"


def test_a_run_in_which_a_peer_differs_from_itself_by_more_than_five_in_a_hundred_says_so():
    steady, said = report.against_itself([RATE, CPU], "a", cpu_runs([1.2, 1.07, 1.0]), cpu_runs([1.0, 1.0, 1.0]))
    assert not steady and "differs from itself by 7 %" in said


def test_without_processor_time_the_first_figure_judges():
    assert report.judge([RATE, CPU], [{"rate": 1}]) is RATE


def test_no_ratio_is_printed_with_a_peer_that_lost_or_refused_something():
    runs = {"a": [{"rate": 4}], "b": [{"rate": 2, "lost": 2}, {"rate": 2, "lost": 1, "refused": 5}], "c": [{"rate": 1}]}
    lines = list(report.table([RATE], runs))
    assert lines[1].split() == "throughput, MB/s 4.000 2.000 1.000 - 4.000".split()
    assert lines[2:] == ["no ratio with b: 3 lost and 5 refused"]


def test_when_the_first_peer_lost_something_there_are_no_ratios_at_all():
    lines = list(report.table([RATE], {"a": [{"rate": 4, "lost": 1}], "b": [{"rate": 2}], "c": [{"rate": 1}]}))
    assert lines[1].split() == "throughput, MB/s 4.000 2.000 1.000 - -".split()


def test_a_figure_of_that_name_is_no_refusal():
    """scripts/bench --run shutdown once ended with status 1: it counts refusals, which are to be retried."""
    refusals = Figure("refused", "retriable refusals", "", lambda r: r["gaps"]["refused"])
    reports = {"a": [{"gaps": {"refused": 3}}]}
    assert report.document("x", {}, {}, [refusals], reports, {})["lost"] == {}
    assert report.document("x", {}, {}, [RATE], {"a": [{"rate": 1, "lost": 2}]}, {})["lost"] == {"a": "2 lost"}


def test_configurations_that_are_not_alike_are_told():
    configs = {"a": {"segment.bytes": "1", "flush.ms": "9"}, "b": {"segment.bytes": "2", "flush.ms": "9"}}
    assert report.unequal(configs) == ["unequal configuration: segment.bytes is 1 for a, 2 for b"]
    assert report.unequal({"a": configs["a"]}) == []


def test_a_generator_that_was_the_bottleneck_and_others_at_work_are_told():
    runs = {"a": [{"generator_bound": True, "foreign": 0.2}, {"generator_bound": False, "foreign": 0.1}], "b": [{}]}
    bound, = report.generator_bound(runs)
    assert bound.startswith("a: in 1 of 2 runs the load generator used more than 80 % of its core")
    assert list(report.disturbed(runs, 0.15)) == ["a: in 1 of 2 runs others used more than 15 % of the machine, up to 20 %"]


def test_a_rate_that_was_too_high_for_a_peer_is_told():
    """Its figures were a dash in the table, its goals without an answer, and nobody said why."""
    runs = {"a": [{"too_slow": ["200MB"]}, {"too_slow": []}], "b": [{}]}
    assert list(report.too_slow(runs)) == ["a: in 1 of 2 runs the rate of 200MB was too high for it: no figure says so"]


# ------------------------------------------------------------------ a workload from start to end


class Peer:
    facts = {"ready_ms": 1}

    def __init__(self, name, log):
        self.name, self.log = name, log
        log.append(("open", name))

    def close(self):
        self.log.append(("close", self.name))


class Workload:
    name = "made-up"
    figures = [RATE]
    peers = {"a": Peer, "b": Peer}

    def __init__(self, pairs, rate=lambda name: {"rate": 1}, each=1):
        self.options = types.SimpleNamespace(runs=pairs, each=each, quick=True, patience=0, first=False, realtime=False)
        self.log, self.rate = [], rate

    def open(self, name, folder):
        assert os.listdir(folder) == []
        return Peer(name, self.log)

    def run(self, peer):
        self.log.append(("run", peer.name))
        return self.rate(peer.name)


@pytest.fixture
def go(tmp_path):
    def start(workload, names):
        run = runner.Runner(workload, names, str(tmp_path), lambda text: None)
        run.run()
        assert os.listdir(tmp_path) == []
        return run
    return start


def test_what_is_started_later_is_put_first_as_well(go, monkeypatch, tmp_path_factory):
    """Of restart, shutdown, failover and s1 the brokers that came back, and all of s1, competed with everything else that
    ran, while the load had been put before it."""
    put = []
    monkeypatch.setattr(machine, "first", False)
    monkeypatch.setattr(machine, "put_first", lambda pids: put.append(list(pids)) or True)
    monkeypatch.setattr(cluster_module.Process, "on_start", None)
    workload = Workload(1)
    workload.options.first = True
    later = cluster_module.Process("broker-1", str(tmp_path_factory.mktemp("first")))
    os.mkdir(later.folder)

    def run(_):
        later.spawn(["sleep", "1000"])
        assert later.pid in put[-1]
        later.kill()
        return {"rate": 1}

    workload.run = run
    go(workload, ["a"])
    assert put[0][0] == os.getpid() and len(put) == 2


def test_only_one_peer_is_there_at_a_time_and_the_first_is_measured_against_itself(go):
    workload = Workload(3)
    run = go(workload, ["a", "b"])
    there = 0
    for what, _ in workload.log:
        there += {"open": 1, "close": -1, "run": 0}[what]
        assert there in (0, 1)
    assert {name: len(reports) for name, reports in run.runs.items()} == {"a": 3, "a again": 3, "b": 3}
    assert [what for what in workload.log if what[0] == "open"] == [("open", n) for n in "aab" "baa" "aab"]
    assert any(note.startswith("a against itself") for note in run.notes)


def test_the_first_run_after_a_start_does_not_count(go):
    rates = iter(range(1, 100))
    workload = Workload(1, lambda name: {"rate": next(rates)})
    workload.options.quick = False
    run = go(workload, ["a", "b"])
    assert {name: [one["rate"] for one in reports] for name, reports in run.runs.items()} == {"a": [2], "b": [4]}
    workload.warm_run = False
    run = go(workload, ["a", "b"])
    assert {name: [one["rate"] for one in reports] for name, reports in run.runs.items()} == {"a": [5], "b": [6]}


def test_of_few_pairs_nothing_is_measured_against_itself(go):
    run = go(Workload(2, each=3), ["a", "b"])
    assert {name: [one["block"] for one in reports] for name, reports in run.runs.items()} == {
        "a": [0, 0, 0, 1, 1, 1], "b": [0, 0, 0, 1, 1, 1]}


def test_a_peer_that_cannot_be_had_is_left_out_with_its_reason(go):
    workload = Workload(1)
    workload.open = lambda name, folder: (Peer(name, workload.log) if name == "a" else skip())

    def skip():
        raise load_runner.Skip("no such thing")

    run = go(workload, ["a", "b"])
    assert list(run.runs) == ["a"] and "b is left out: no such thing" in run.notes


def test_runs_beside_which_others_were_at_work_are_done_again_but_not_for_ever(go):
    shares = iter([0.5, 0.0] + [0.5] * 3 + [0.4] * 4)
    workload = Workload(3, lambda name: {"rate": 1, "foreign": next(shares)}, each=2)
    workload.again = False
    workload.options.quick = False
    run = go(workload, ["a"])
    assert [one["foreign"] for one in run.runs["a"]] == [0.0, 0.5, 0.4, 0.4, 0.4, 0.4]
    assert "a: 3 runs were done again, because others used more than 15 % of the machine" in run.notes


# ------------------------------------------------------------------ charts


def document(**peers):
    figures = [RATE, Figure("p50", "answer p50", "us", lambda r: r["p50"], group="answer", label="p50"),
               Figure("p99", "answer p99", "us", lambda r: r["p99"], group="answer", label="p99"),
               Figure("other", "not to be drawn", "", lambda r: r["rate"])]
    runs = {name: [{"rate": rate, "p50": rate, "p99": rate * 10} for rate in rates] for name, rates in peers.items()}
    return report.document("made-up", {}, {}, figures, runs, {}, again="a_again", text="it's a load")


def test_in_real_time_the_client_whose_answers_are_timed_is_above_all_others():
    options = types.SimpleNamespace(build="b", realtime=True)
    assert load_runner.command(options, "latency", {"rate": 5}) == ["chrt", "-f", "2", "b/bench/bench_load", "latency", "--rate", "5"]
    assert load_runner.command(options, "consume", {}) == ["b/bench/bench_load", "consume"]
    options.realtime = False
    assert load_runner.command(options, "latency", {}) == ["b/bench/bench_load", "latency"]


def test_a_chart_has_bars_of_main_figures_and_lines_of_groups():
    bars, lines = chart.panels(document(a=[3, 1, 2], a_again=[7, 7, 7], b=[5, 5, 9]))
    assert (bars.title, bars.is_line, bars.points) == ("throughput, MB/s", False, {"a": [("", 2, 1, 3)], "b": [("", 5, 5, 9)]})
    assert (lines.title, lines.is_line) == ("answer, us", True)
    assert lines.points["b"] == [("p50", 5, 5, 9), ("p99", 50, 50, 90)]


def test_without_main_figures_all_plain_ones_are_bars():
    made = document(a=[1])
    for figure in made["figures"]:
        figure["main"] = False
    assert [panel.title for panel in chart.panels(made)] == ["throughput, MB/s", "not to be drawn", "answer, us"]


def test_a_group_of_main_figures_is_one_panel_of_bars():
    figures = [Figure(f"cpu-{cell}", f"{cell}: CPU", "s", lambda r, c=cell: r[c], group="CPU", label=cell, main=True)
               for cell in ("small", "large")]
    runs = {"a": [{"small": 1, "large": 2}], "b": [{"small": 3, "large": 4}]}
    panel, = chart.panels(report.document("x", {}, {}, figures, runs, {}))
    assert (panel.title, panel.is_line, panel.labels) == ("CPU, s", False, ["small", "large"])
    assert panel.points["b"] == [("small", 3, 3, 3), ("large", 4, 4, 4)]


def test_without_figures_there_is_no_chart(tmp_path):
    assert chart.script(document(a=[]), "x.svg") is None
    assert not os.path.exists(tmp_path / "x.svg")


def test_a_chart_is_an_svg_with_the_names_and_numbers(tmp_path):
    if shutil.which("gnuplot") is None:
        pytest.skip("no gnuplot (package gnuplot-nox)")
    path = tmp_path / "a chart's.svg"
    assert chart.draw(document(a=[1234, 1234, 2000], b=[5, 5, 9]), str(path)) is None
    words = {"".join(one.itertext()).strip() for one in xml.etree.ElementTree.parse(path).iter()
             if one.tag.endswith("text")}
    assert {"throughput, MB/s", "a", "b", "1,234", "5", "p50", "p99", "made-up: it's a load"} <= words


def test_where_gnuplot_is_not_the_chart_is_left_out_with_the_reason(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert chart.draw(document(a=[1]), str(tmp_path / "x.svg")) == "no gnuplot (package gnuplot-nox)"


def test_what_is_kept_can_be_read_again(tmp_path):
    made = document(a=[1, 2], b=[3])
    report.save(tmp_path / "x.json", made)
    assert json.loads((tmp_path / "x.json").read_text()) == made
