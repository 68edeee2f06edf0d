"""The load generator of scripts/bench against a real broker: it must notice what it is there to notice."""
import json
import signal
import time

import bench_load
import cluster as clusters
import pytest
import records
from bench_load import create


@pytest.fixture(scope="session")
def load(needs_cluster):
    """load("produce", cluster, topic, requests=10): (status, report or None, what it said)."""
    return bench_load.run


@pytest.fixture(scope="module")
def one_broker(needs_cluster, tmp_path_factory):
    with clusters.Cluster(str(tmp_path_factory.mktemp("load") / "cluster"), brokers=1,
                          config={"offsets.topic.replication.factor": "1"}) as one:
        yield one
        assert one.reports() == []


@pytest.mark.parametrize("acks", [0, 1, -1])
def test_what_is_produced_is_consumed(one_broker, load, topic, acks):
    create(one_broker, topic, 3)
    address = one_broker.broker(1).address
    status, made, text = load("produce", address, topic, partitions=3, connections=2, requests=100, records=7,
                              record_bytes=100, acks=acks)
    assert status == 0, text
    assert (made["requests"], made["records"]) == (100, 700)
    status, read, text = load("consume", address, topic, partitions=3, connections=2, fetch_bytes=5000)
    assert status == 0, text
    assert {k: read[k] for k in ("records", "bytes", "checksum")} == {k: made[k] for k in ("records", "bytes", "checksum")}


def test_a_cluster_is_written_and_read_by_way_of_all_leaders(shared_cluster, load, topic):
    controller = shared_cluster.broker(shared_cluster.controller())
    answer = controller.call("CreateTopics", {"timeout_ms": 30000, "topics": [
        {"name": topic, "num_partitions": 6, "replication_factor": 3}]})
    assert answer["topics"][0]["error_code"] == 0
    brokers = ",".join(f"{one.id}={one.port}" for one in shared_cluster.brokers)
    address = shared_cluster.broker(1).address
    status, _, text = load("await", address, topic, brokers=brokers, partitions=6, replicas=3, seconds=30)
    assert status == 0, text
    status, made, text = load("produce", address, topic, brokers=brokers, partitions=6, connections=2, requests=60,
                              records=5, acks=-1)
    assert status == 0, text
    status, read, text = load("consume", address, topic, brokers=brokers, partitions=6, connections=2)
    assert status == 0, text
    assert {k: read[k] for k in ("records", "bytes", "checksum")} == {k: made[k] for k in ("records", "bytes", "checksum")}
    status, _, text = load("consume", address, topic, brokers=f"1={shared_cluster.broker(1).port}", partitions=6)
    assert status == 1 and "is led by broker" in text


def test_batches_beyond_the_fetch_size_come_one_by_one(one_broker, load, topic):
    create(one_broker, topic, 1)
    address = one_broker.broker(1).address
    status, made, text = load("produce", address, topic, requests=5, records=10, record_bytes=1000)
    assert status == 0, text
    status, read, text = load("consume", address, topic, fetch_bytes=100)
    assert status == 0, text
    assert (read["requests"], read["checksum"]) == (5, made["checksum"])


def test_latency_reads_back_what_it_sent(one_broker, load, topic):
    create(one_broker, topic, 2)
    address = one_broker.broker(1).address
    status, report, text = load("latency", address, topic, partitions=2, connections=2, rate=200,
                                seconds=1, records=1, record_bytes=64)
    assert status == 0, text
    assert report["records"] == 200
    assert report["answer_us"]["count"] == report["end_to_end_us"]["count"] == 200


def test_latency_of_a_cluster_goes_to_the_leaders(needs_cluster, load, topic, tmp_path):
    """Partitions of three leaders; each broker's are sent to it and read back from it."""
    with clusters.Cluster(str(tmp_path / "cluster"), brokers=3) as three:
        answer = three.broker(three.controller()).call("CreateTopics", {"timeout_ms": 30000, "topics": [
            {"name": topic, "num_partitions": 6, "replication_factor": 3}]})
        assert answer["topics"][0]["error_code"] == 0

        def led():
            told = [b.call("Metadata", {"topics": [{"name": topic}]})["topics"][0]["partitions"] for b in three.brokers]
            return all(len(one) == 6 and {p["leader_id"] for p in one} == {1, 2, 3} for one in told)

        three.wait(led, f"leaders of {topic}")
        status, report, text = load("latency", three.broker(1).address, topic, partitions=6, rate=300, seconds=1, records=2,
                                    record_bytes=64, acks=-1,
                                    brokers=",".join(f"{b.id}={b.port}" for b in three.brokers))
        assert status == 0, text
        assert report["records"] == 600
        assert report["answer_us"]["count"] == report["end_to_end_us"]["count"] == 300
        assert three.reports() == []


@pytest.mark.parametrize("mode", ["produce", "consume", "latency", "follow"])
def test_a_load_that_is_to_meet_begins_when_it_is_told_to(one_broker, load, topic, mode):
    """What a broker has to do when a load connects was counted as the work that is measured."""
    create(one_broker, topic, 1)
    broker = one_broker.broker(1)
    status, _, text = load("produce", broker.address, topic, requests=3, records=1)
    assert status == 0, text

    def end():
        answer = broker.call("ListOffsets", {"topics": [{"name": topic, "partitions": [
            {"partition_index": 0, "timestamp": -1}]}]})
        return answer["topics"][0]["partitions"][0]["offset"]

    words = {"meet": 1, "requests": 4, "records": 1, "rate": 100, "seconds": 0.1}
    one = bench_load.start(mode, broker.address, topic, **words)
    assert one.stdout.readline() == "ready\n"
    assert end() == 3
    out, err = one.communicate("\n", timeout=60)
    assert one.returncode == 0 and json.loads(out)["seconds"] > 0, err
    assert end() == {"produce": 7, "consume": 3, "latency": 13, "follow": 13}[mode]
    one = bench_load.start(mode, broker.address, topic, **words)
    assert one.communicate(timeout=60) == ("ready\n", "load: nobody measures\n") and one.returncode == 1


def test_an_error_code_ends_the_load(one_broker, load, topic):
    create(one_broker, topic, 1)
    status, _, text = load("produce", one_broker.broker(1).address, topic, requests=3, records=2000)
    assert status == 1
    assert "error 10" in text  # MESSAGE_TOO_LARGE


def test_an_unknown_topic_ends_the_load(one_broker, load, topic):
    status, _, text = load("consume", one_broker.broker(1).address, topic)
    assert status == 1
    assert "error 3" in text


def test_await_ends_when_all_partitions_are_served_and_says_when_they_are_not(one_broker, load, topic):
    create(one_broker, topic, 3)
    address, brokers = one_broker.broker(1).address, f"1={one_broker.broker(1).port}"
    status, report, text = load("await", address, topic, brokers=brokers, partitions=3, replicas=1, seconds=30)
    assert status == 0, text
    assert report["done_ns"] > 0
    for missing in ({"partitions": 4, "replicas": 1}, {"partitions": 3, "replicas": 2}):
        status, _, text = load("await", address, topic, brokers=brokers, seconds=0.2, **missing)
        assert status == 1 and "are not served" in text


def stopped_under_load(one_broker, topic):
    """The broker, stopped; who writes to two partitions; and since when."""
    create(one_broker, topic, 2)
    broker = one_broker.broker(1)
    gaps = bench_load.start("gaps", broker.address, topic, brokers=f"1={broker.port}", partitions=2, acks=-1, records=1,
                            rate=100)
    assert gaps.stdout.readline() == "ready\n"
    broker.kill(signal.SIGSTOP)
    return broker, gaps, time.monotonic_ns()


def test_gaps_tells_how_long_each_partition_could_not_be_written(one_broker, topic):
    """The broker is stopped for a moment, which is a gap for all of them."""
    broker, gaps, stopped = stopped_under_load(one_broker, topic)
    clusters.wait_until(lambda: time.monotonic_ns() - stopped > 500e6, "a gap that is long enough")
    continued = time.monotonic_ns()
    broker.kill(signal.SIGCONT)
    end = one_broker.broker(1).call("ListOffsets", {"topics": [{"name": topic, "partitions": [
        {"partition_index": i, "timestamp": -1} for i in range(2)]}]})
    ends = [p["offset"] for p in end["topics"][0]["partitions"]]

    def written_again():
        now = one_broker.broker(1).call("ListOffsets", {"topics": [{"name": topic, "partitions": [
            {"partition_index": i, "timestamp": -1} for i in range(2)]}]})
        return all(p["offset"] > old + 1 for p, old in zip(now["topics"][0]["partitions"], ends))

    one_broker.wait(written_again, "writes after the gap")
    out, _ = gaps.communicate()
    report = json.loads(out)
    assert gaps.returncode == 0
    for one in report["partitions"]:
        assert one["gap_end_ns"] > continued
        assert one["gap_end_ns"] - one["gap_start_ns"] >= 100e6


def test_a_gap_that_is_not_over_when_the_run_ends_is_told_as_well(one_broker, topic):
    """A partition that could not be written to yet had no gap at all: failover and shutdown were told too short times."""
    broker, gaps, stopped = stopped_under_load(one_broker, topic)
    gaps.stdin.close()
    gaps.stdin = None
    clusters.wait_until(lambda: time.monotonic_ns() - stopped > 500e6, "a gap that is long enough")
    continued = time.monotonic_ns()
    broker.kill(signal.SIGCONT)
    out, err = gaps.communicate(timeout=60)
    assert (gaps.returncode, err) == (0, "")
    for one in json.loads(out)["partitions"]:
        assert one["gap_end_ns"] > continued
        assert one["gap_end_ns"] - one["gap_start_ns"] >= 100e6


def test_followers_each_get_everything_that_is_produced_meanwhile(one_broker, load, topic):
    """Five consumers of two partitions: three of one, two of the other."""
    create(one_broker, topic, 2)
    address = one_broker.broker(1).address
    status, report, text = load("follow", address, topic, partitions=2, connections=5, rate=200, seconds=1, records=3,
                                record_bytes=64)
    assert status == 0, text
    assert report["answer_us"]["count"] == 200
    assert report["end_to_end_us"]["count"] == 100 * 3 + 100 * 2
    assert report["records"] == 3 * (100 * 3 + 100 * 2)


def test_followers_of_more_partitions_than_there_are_consumers(one_broker, load, topic):
    create(one_broker, topic, 5)
    status, report, text = load("follow", one_broker.broker(1).address, topic, partitions=5, connections=2, rate=100,
                                seconds=1, records=1, record_bytes=64)
    assert status == 0, text
    assert report["end_to_end_us"]["count"] == 100


def test_followers_notice_records_of_somebody_else(one_broker, topic):
    """What another producer writes meanwhile is not what was sent."""
    create(one_broker, topic, 1)
    address = one_broker.broker(1).address
    follow = bench_load.start("follow", address, topic, rate=100, seconds=120, records=1)  # it ends when it notices

    def begun():
        end = one_broker.broker(1).call("ListOffsets", {"topics": [{"name": topic, "partitions": [
            {"partition_index": 0, "timestamp": -1}]}]})
        return end["topics"][0]["partitions"][0]["offset"] > 0

    one_broker.wait(begun, "the first record")
    answer = one_broker.broker(1).call("Produce", {"acks": 1, "timeout_ms": 30000, "topic_data": [
        {"name": topic, "partition_data": [{"index": 0, "records": records.make_batch([(None, b"else")])}]}]})
    assert answer["responses"][0]["partition_responses"][0]["error_code"] == 0
    _, err = follow.communicate(timeout=600)
    assert follow.returncode == 1
    assert "another size" in err or "not what was sent" in err


class Crowd:
    """bench_load crowd, step by step."""

    def __init__(self, address, topic, **options):
        self.process = bench_load.start("crowd", address, topic, **options)

    def line(self):
        return self.process.stdout.readline()

    def go_on(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def end(self):
        _, err = self.process.communicate(timeout=600)
        return self.process.returncode, err


def test_a_crowd_is_probed_alone_idle_and_active(one_broker, load, topic):
    create(one_broker, topic, 2)
    crowd = Crowd(one_broker.broker(1).address, topic, partitions=2, connections=30, active=10, rate=100, seconds=0.5,
                  records=1)
    assert crowd.line() == "ready\n"
    crowd.go_on()
    assert crowd.line() == "open\n"
    crowd.go_on()
    assert crowd.line() == "probed\n"
    crowd.go_on()
    report = json.loads(crowd.line())
    crowd.go_on()
    assert crowd.end() == (0, "")
    read = bench_load.report_of("consume", one_broker.broker(1).address, topic, partitions=2)
    assert report["all"] == {key: read[key] for key in ("records", "bytes", "checksum")}
    assert read["records"] == 50 + 3 * 100
    assert report["answer_us"]["count"] == 50
    assert report["requests"] == 50 + 100  # a probe is a request as well
    for key in ("probe_alone_us", "probe_idle_us", "probe_active_us"):
        assert report[key]["count"] == 100


def test_a_crowd_notices_that_its_connections_are_closed(needs_cluster, load, topic, tmp_path):
    with clusters.Cluster(str(tmp_path / "cluster"), brokers=1, config={"offsets.topic.replication.factor": "1"}) as one:
        create(one, topic, 1)
        crowd = Crowd(one.broker(1).address, topic, connections=3, active=1, seconds=0.5, records=1)
        assert crowd.line() == "ready\n"
        crowd.go_on()
        assert crowd.line() == "open\n"
        one.kill(1)
        crowd.go_on()
        status, err = crowd.end()
        assert status == 1
        assert "broke" in err.lower()
