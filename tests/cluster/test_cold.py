"""Records that are on the disk and not in memory: read by the broker's readers, so that its loops go on meanwhile."""
import os

import cluster as clusters
import pytest
from bench_load import create, report_of


DROP_S = 30


@pytest.fixture(scope="module")
def one_broker(needs_cluster, tmp_path_factory):
    with clusters.Cluster(str(tmp_path_factory.mktemp("cold") / "cluster"), brokers=1,
                          config={"offsets.topic.replication.factor": "1", "log.segment.bytes": "4000000"}) as one:
        yield one
        assert one.reports() == []


def log_files(broker, topic):
    return [os.path.join(folder, name) for folder, _, names in os.walk(broker.folder)
            if os.path.basename(folder).startswith(f"{topic}-") for name in names if name.endswith(".log")]


def is_dropped(path):
    """Write a file out, then out of the page cache. The kernel leaves what it holds at the moment, as it does on a busy
    machine."""
    with open(path, "rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        try:
            os.preadv(file.fileno(), [bytearray(1)], 0, os.RWF_NOWAIT)
        except BlockingIOError:
            return True
    return False


def drop_cached(paths):
    """All of them; skips where that cannot be."""
    try:
        clusters.wait_until(lambda: all([is_dropped(path) for path in paths]), "files out of memory", DROP_S)
    except clusters.ClusterError:
        pytest.skip("files in this folder are always in memory")


def reader_switches(broker):
    """How often the broker's readers have waited."""
    total, found = 0, 0
    for task in os.listdir(f"/proc/{broker.pid}/task"):
        try:
            with open(f"/proc/{broker.pid}/task/{task}/status", encoding="ascii") as file:
                lines = file.read().splitlines()
        except (FileNotFoundError, ProcessLookupError):
            continue  # a thread that has ended: no reader
        if lines[0].split()[1] == "reader":
            found += 1
            total += sum(int(line.split()[1]) for line in lines if line.startswith("voluntary_ctxt"))
    assert found > 0
    return total


@pytest.mark.parametrize("fetch_bytes", [1 << 20, 20000, 100])
def test_what_is_cold_is_read_whole_by_the_readers(one_broker, topic, fetch_bytes):
    """Several segments of two partitions; fetches above and below the size of a batch. What it has just written a broker
    takes to be in memory, for a moment: what is dropped within it is read on a loop, whole as well."""
    broker = one_broker.broker(1)
    create(one_broker, topic, 2)
    made = report_of("produce", broker.address, topic, partitions=2, requests=300 if fetch_bytes > 100 else 50)
    files = log_files(broker, topic)
    assert len(files) >= 2

    def readers_read():
        drop_cached(files)
        before = reader_switches(broker)
        read = report_of("consume", broker.address, topic, partitions=2, connections=2, fetch_bytes=fetch_bytes)
        for key in ("records", "bytes", "checksum"):
            assert read[key] == made[key]
        return reader_switches(broker) > before

    clusters.wait_until(readers_read, "readers that read what is cold")


def test_after_a_restart_cold_indexes_are_read_by_the_readers(one_broker, topic):
    """The indexes of closed segments are read when first needed, which is a wait for the disk, too."""
    broker = one_broker.broker(1)
    create(one_broker, topic, 1)
    made = report_of("produce", broker.address, topic, requests=300)
    one_broker.stop(1)
    drop_cached(log_files(broker, topic))
    one_broker.start(1)

    def led():
        described = broker.call("Metadata", {"topics": [{"name": topic}]})["topics"][0]["partitions"]
        return len(described) == 1 and described[0]["leader_id"] == 1

    one_broker.wait(led, f"the leader of {topic}")
    drop_cached(log_files(broker, topic))
    before = reader_switches(broker)
    read = report_of("consume", broker.address, topic)
    assert read["checksum"] == made["checksum"]
    one_broker.wait(lambda: reader_switches(broker) > before, "readers that have read, and wait again")
